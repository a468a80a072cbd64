/*
 * What a client may send, kept by watching the messages at its end of the channels.
 */
#include "world.h"

/* A client sends no RELEASE without a reason. */
static void check_release(struct world *world, int client, int handle,
                          const struct wire_message *message)
{
    const struct entry *entry = &world->models[handle].entries[client];
    const struct sim_hold *hold = &world->clients[client].holds[handle];
    if (message->grant != entry->client_grant || message->grant == 0) {
        sim_fail(world, "a RELEASE does not name the grant that the client got last");
    }
    if ((message->flags & WIRE_IN_USE) != 0) {
        if (!hold->asked || message->flags != WIRE_IN_USE || message->mode != entry->client_mode) {
            sim_fail(world, "a client says that it uses a hold, and nobody asks");
        }
        return;
    }
    if (world->letting_go || !hold->open || (hold->asked && message->mode == hold->asked_mode)) {
        return;
    }
    if (message->mode == entry->client_mode) {
        if ((message->flags & WIRE_VALUE) == 0) {
            sim_fail(world, "a RELEASE that says nothing");
        }
    } else if (!hold->recall_met || hold->recall_grant != message->grant ||
               message->mode < hold->recall_mode) {
        sim_fail(world, "a RELEASE that no RECALL and no thread asked for");
    }
}

void model_client_sends(struct world *world, int client, const struct wire_message *message)
{
    const int handle = model_handle_of(world, message);
    struct entry *entry = &world->models[handle].entries[client];
    switch (message->kind) {
    case WIRE_ACQUIRE:
        if (entry->outstanding) {
            sim_fail(world, "a second ACQUIRE while one is outstanding");
        }
        entry->outstanding = true;
        entry->outstanding_seq = message->seq;
        entry->outstanding_ahead = (message->flags & WIRE_AHEAD) != 0;
        entry->cancel_sent = false;
        entry->client_mode = HF_INVALID;
        if (entry->outstanding_ahead) {
            cover(world, COVER_ahead_sent);
        }
        cover(world, message->mode == HF_INVALID ? COVER_reference_asked : COVER_acquire_sent);
        break;
    case WIRE_RELEASE:
        check_release(world, client, handle, message);
        entry->client_mode = message->mode;
        cover(world, COVER_release_sent);
        break;
    case WIRE_CANCEL:
        if (!entry->outstanding || message->seq != entry->outstanding_seq || entry->cancel_sent) {
            sim_fail(world, "a CANCEL for no outstanding request, or a second one");
        }
        entry->cancel_sent = true;
        cover(world, COVER_cancel_sent);
        break;
    default:
        sim_fail(world, "a client sends a %s", wire_kind_name(message->kind));
    }
}

void model_client_gets(struct world *world, int client, const struct wire_message *message)
{
    const int handle = model_handle_of(world, message);
    struct entry *entry = &world->models[handle].entries[client];
    if (message->kind != WIRE_GRANT) {
        return;
    }
    if (!entry->outstanding || message->seq != entry->outstanding_seq) {
        sim_fail(world, "a GRANT answers no outstanding ACQUIRE");
    }
    entry->outstanding = false;
    if ((message->flags & WIRE_DENIED) == 0) {
        entry->client_grant = message->grant;
        entry->client_mode = message->mode;
    }
}
