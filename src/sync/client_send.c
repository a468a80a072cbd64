/*
 * The messages of one client's side of one sync handle, and what sending them changes here.
 */
#include "sync/client_parts.h"

void sync_send_disarm(struct sync_client *client, struct sync_hold *hold)
{
    hold->lingering = false;
    if (hold->tick_ns != 0) {
        hold->tick_ns = 0;
        client->arm(client->context, hold);
    }
}

void sync_send_release(struct sync_client *client, struct sync_hold *hold, hf_mode mode,
                       bool closes)
{
    struct wire_message message = {
        .kind = WIRE_RELEASE,
        .id = hold->node.id,
        .grant = hold->grant,
        .mode = (uint8_t)mode,
        .flags = closes ? WIRE_CLOSE : 0,
    };
    bool dirty = (word_now(hold) & SYNC_DIRTY) != 0;
    if (dirty) {
        message.flags |= WIRE_VALUE;
        message.data = hold->value;
        message.data_size = hold->value_size;
        atomic_fetch_and_explicit(&hold->word, ~SYNC_DIRTY, memory_order_relaxed);
    }
    /* The server numbers the value the same way. */
    if (hold->mode == HF_EXCLUSIVE && (dirty || mode < HF_EXCLUSIVE)) {
        hold->version = hold->grant;
    }
    hold->mode = (uint8_t)mode;
    if (mode == HF_INVALID) {
        hold->recalled_to = HF_EXCLUSIVE;
        sync_send_disarm(client, hold);
    }
    if (mode == HF_INVALID && (hold->lock_only || closes)) {
        hold->grant = 0;
    }
    client->send(client->context, &message);
}

void sync_send_in_use(struct sync_client *client, const struct sync_hold *hold)
{
    client->send(client->context,
                 &(struct wire_message){
                     .kind = WIRE_RELEASE,
                     .id = hold->node.id,
                     .grant = hold->grant,
                     .mode = hold->mode,
                     .flags = WIRE_IN_USE,
                 });
}

void sync_send_acquire(struct sync_client *client, struct sync_hold *hold, hf_mode mode,
                       uint8_t flags)
{
    hold->seq = ++client->last_seq;
    hold->asked = (uint8_t)mode;
    hold->outstanding = true;
    hold->canceled = false;
    hold->mode = HF_INVALID; /* who asks for more lets go first */
    hold->recalled_to = HF_EXCLUSIVE;
    sync_send_disarm(client, hold);
    if (hold->lock_only) {
        hold->grant = 0;
    }
    client->send(client->context,
                 &(struct wire_message){
                     .kind = WIRE_ACQUIRE,
                     .id = hold->node.id,
                     .seq = hold->seq,
                     .mode = (uint8_t)mode,
                     .flags = (uint8_t)(flags | (hold->lock_only ? 0 : WIRE_REFERENCE)),
                     .version = hold->version,
                 });
}

void sync_send_cancel(struct sync_client *client, struct sync_hold *hold)
{
    hold->canceled = true;
    client->send(client->context,
                 &(struct wire_message){
                     .kind = WIRE_CANCEL,
                     .id = hold->node.id,
                     .seq = hold->seq,
                 });
}
