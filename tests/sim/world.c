/*
 * Clients, channels, deliveries, deaths.
 *
 * A killed client's frames are with the kernel once its call to send() has returned, so the
 * server reads all of them before it sees the connection end; only the frames of the very call
 * in which the client dies may be cut, at any byte.
 */
#include "world.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define container(pointer, type, member)                                                           \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* ---- channels ---- */

void channel_put(struct world *world, struct channel *channel, const struct wire_message *message)
{
    const size_t size = wire_size(message);
    if (channel->tail + size > SIM_CHANNEL_BYTES) {
        sim_fail(world, "a channel is full: more than %u bytes under way", channel->tail);
    }
    if (wire_encode(message, channel->bytes + channel->tail) != size) {
        sim_fail(world, "wire_encode() writes other than wire_size() says");
    }
    channel->tail += (uint32_t)size;
}

static void channel_clear(struct channel *channel)
{
    channel->head = 0;
    channel->tail = 0;
}

static void channel_consume(struct channel *channel, size_t size)
{
    channel->head += (uint32_t)size;
    if (channel_is_empty(channel)) {
        channel_clear(channel);
    }
}

/* ---- what the cores call ---- */

static void server_sends(void *context, struct sync_peer *peer, const struct wire_message *message)
{
    struct world *world = context;
    struct client *client = container(peer, struct client, peer);
    const int index = (int)(client - world->clients);
    trace_message(world, "<- server sends", index, message);
    model_server_sends(world, index, message);
    if (client->link == LINK_UP) {
        channel_put(world, &client->down, message);
    }
}

static void note_publication(struct world *world, const struct client *client,
                             const struct wire_message *message)
{
    const uint32_t slots = sizeof(world->publications) / sizeof(world->publications[0]);
    if (world->publication_count == slots) {
        sim_fail(world, "one call publishes more than %u values", slots);
    }
    struct publication *publication = &world->publications[world->publication_count++];
    publication->handle = (uint8_t)(message->id.object - 1);
    publication->frame_end = client->up.tail;
    publication->stamp = 0;
    if (message->data_size != 0) {
        memcpy(&publication->stamp, message->data, sizeof(publication->stamp));
    }
}

static void client_sends(void *context, const struct wire_message *message)
{
    struct world *world = context;
    const int index = world->acting;
    struct client *client = &world->clients[index];
    client->sent++;
    if (client->link != LINK_UP) {
        return;
    }
    trace_message(world, "-> client sends", index, message);
    model_client_sends(world, index, message);
    channel_put(world, &client->up, message);
    if (message->kind == WIRE_RELEASE && (message->flags & WIRE_VALUE) != 0) {
        note_publication(world, client, message);
    }
}

static void client_wakes(void *context, struct sync_waiter *waiter)
{
    struct world *world = context;
    struct thread *thread = container(waiter, struct thread, waiter);
    if (waiter->state == SYNC_WAITER_QUEUED) {
        sim_fail(world, "a waiter is woken before its state is final");
    }
    if ((thread->state != THREAD_WAITS && thread->state != THREAD_OPENS) || thread->woken) {
        sim_fail(world, "a thread is woken that does not wait, or twice");
    }
    thread->woken = true;
}

static void client_arms(void *context, struct sync_hold *hold)
{
    (void)context;
    struct sim_hold *sim_hold = container(hold, struct sim_hold, hold);
    sim_hold->armed_ns = hold->tick_ns;
}

/* ---- the world ---- */

void world_init(struct world *world)
{
    static const struct sync_server_limits roomy = {
        .handles = 64, .queued = 64, .value_bytes = HF_VALUE_MAX, .owner_died_marks = 16};
    struct sync_server_limits limits = roomy;
    if (world->profile.tight) {
        limits.handles = 1 + dice_below(&world->dice, 2);
        limits.queued = dice_below(&world->dice, 2);
        limits.value_bytes = SIM_VALUE_MAX - dice_below(&world->dice, 8);
    }
    if (world->profile.few_marks) {
        limits.owner_died_marks = dice_below(&world->dice, 2);
    }
    if (sync_server_init(&world->server, &limits, server_sends, world) != 0) {
        sim_fail(world, "out of memory");
    }
    world->server_bytes = world->server.counters.bytes;
    world->leaving = -1;
    world->asking = -1;
    world->refused = -1;
    world->acting = -1;
    world->letting_go = false;
    for (int i = 0; i < SIM_CLIENTS; i++) {
        memset(&world->clients[i], 0, offsetof(struct client, up));
        channel_clear(&world->clients[i].up);
        channel_clear(&world->clients[i].down);
    }
    memset(world->models, 0, sizeof(world->models));
}

void world_deinit(struct world *world)
{
    sync_server_deinit(&world->server);
}

void client_born(struct world *world, int index)
{
    struct client *client = &world->clients[index];
    memset(client, 0, offsetof(struct client, up));
    channel_clear(&client->up);
    channel_clear(&client->down);
    client->process = true;
    client->link = LINK_UP;
    client->thread_count = (uint8_t)(1 + dice_below(&world->dice, SIM_THREADS));
    client->core = (struct sync_client){.quantum_ns = world->profile.quantum_ns,
                                        .send = client_sends,
                                        .wake = client_wakes,
                                        .arm = client_arms,
                                        .context = world};
    sync_peer_init(&client->peer);
    for (int handle = 0; handle < SIM_HANDLES; handle++) {
        world->models[handle].entries[index] = model_no_entry();
    }
    cover(world, COVER_born);
    trace_note(world, "is born", index, -1, -1, 0, client->thread_count);
}

void publications_commit(struct world *world)
{
    for (uint32_t i = 0; i < world->publication_count; i++) {
        const struct publication *publication = &world->publications[i];
        world->models[publication->handle].value = publication->stamp;
        cover(world, COVER_published);
    }
    world->publication_count = 0;
}

/* ---- the client's process ---- */

static void hold_freed(struct world *world, struct sim_hold *hold)
{
    if (hold->died_untold) {
        cover(world, COVER_owner_died_lost);
    }
    sync_hold_deinit(&hold->hold);
    hold->exists = false;
    hold->open = false;
    hold->opening = false;
}

void reap_done(struct world *world, int index)
{
    for (int handle = 0; handle < world->handle_count; handle++) {
        struct sim_hold *hold = &world->clients[index].holds[handle];
        if (hold->exists && !hold->open && !hold->opening && sync_hold_is_done(&hold->hold)) {
            hold_freed(world, hold);
        }
    }
}

/* The layer above learns that there is no connection any more. */
static void holds_disconnect(struct world *world, int index)
{
    struct client *client = &world->clients[index];
    client->told = true;
    world->acting = index;
    for (int handle = 0; handle < world->handle_count; handle++) {
        if (client->holds[handle].exists) {
            sync_hold_disconnect(&client->core, &client->holds[handle].hold, -ENOTCONN);
        }
    }
    for (int i = 0; i < client->thread_count; i++) {
        const struct thread *thread = &client->threads[i];
        if ((thread->state == THREAD_WAITS || thread->state == THREAD_OPENS) && !thread->woken) {
            sim_fail(world, "a thread still waits though the connection has ended");
        }
    }
    collect_woken(world, index);
}

static void cover_killed(struct world *world, const struct client *client)
{
    cover(world, COVER_killed);
    for (int i = 0; i < client->thread_count; i++) {
        if (client->threads[i].state == THREAD_USES) {
            cover(world, COVER_death_in_use);
            return;
        }
    }
}

/* The client's end is gone: what it has sent stays, what was sent to it vanishes. */
static void close_link(struct client *client)
{
    if (client->link == LINK_UP) {
        client->link = LINK_CLOSING;
    } else if (client->link == LINK_CUT) {
        client->link = LINK_NONE;
    }
    channel_clear(&client->down);
}

void client_killed(struct world *world, int index, size_t sent_from)
{
    struct client *client = &world->clients[index];
    trace_note(world, "is killed", index, -1, -1, 0, 0);
    cover_killed(world, client);
    if (sent_from != SIZE_MAX) {
        cover(world, COVER_killed_in_call);
        const uint32_t sent = client->up.tail - (uint32_t)sent_from;
        const uint32_t kept = dice_below(&world->dice, sent + 1);
        if (kept < sent) {
            cover(world, COVER_killed_in_frame);
        }
        client->up.tail = (uint32_t)sent_from + kept;
        while (world->publication_count > 0 &&
               world->publications[world->publication_count - 1].frame_end > client->up.tail) {
            world->publication_count--;
            cover(world, COVER_published_cut);
        }
    }
    publications_commit(world);
    close_link(client);
    holds_disconnect(world, index);
    for (int handle = 0; handle < world->handle_count; handle++) {
        if (client->holds[handle].exists) {
            hold_freed(world, &client->holds[handle]);
        }
    }
    client->process = false;
}

void client_disconnects(struct world *world, int index)
{
    struct client *client = &world->clients[index];
    trace_note(world, "disconnects", index, -1, -1, 0, 0);
    cover(world, COVER_disconnected);
    world->acting = index;
    world->letting_go = true;
    for (int handle = 0; handle < world->handle_count; handle++) {
        if (client->holds[handle].exists) {
            sync_hold_yield(&client->core, &client->holds[handle].hold, HF_INVALID, world->now_ns);
        }
    }
    world->letting_go = false;
    publications_commit(world);
    close_link(client);
    holds_disconnect(world, index);
}

bool client_winds_up(struct world *world, int index)
{
    struct client *client = &world->clients[index];
    for (int i = 0; i < client->thread_count; i++) {
        if (client->threads[i].state != THREAD_IDLE) {
            return false;
        }
    }
    for (int handle = 0; handle < world->handle_count; handle++) {
        if (client->holds[handle].exists) {
            hold_freed(world, &client->holds[handle]);
        }
    }
    client->process = false;
    trace_note(world, "is wound up", index, -1, -1, 0, 0);
    return true;
}

/* ---- deliveries ---- */

static void peer_leaves(struct world *world, int index, bool orderly)
{
    struct client *client = &world->clients[index];
    trace_note(world, orderly ? "leaves orderly" : "has vanished", index, -1, -1, 0, 0);
    model_before_leave(world, index, orderly);
    sync_peer_leave(&world->server, &client->peer, orderly);
    client->link = LINK_NONE;
    channel_clear(&client->up);
    model_after_leave(world, index);
}

void client_leaves_orderly(struct world *world, int index)
{
    world->clients[index].told = true;
    peer_leaves(world, index, true);
    holds_disconnect(world, index);
    cover(world, COVER_left_orderly);
}

void server_cuts_off(struct world *world, int index, const char *why)
{
    struct client *client = &world->clients[index];
    trace_note(world, why, index, -1, -1, 0, 0);
    cover(world, COVER_cut_off);
    /* What it published and the server has not read is lost, as its connection is. */
    for (int handle = 0; handle < world->handle_count; handle++) {
        struct model *model = &world->models[handle];
        if (model->entries[index].mode == HF_EXCLUSIVE) {
            model->value = model->server_value;
        }
    }
    const bool was_up = client->link == LINK_UP;
    peer_leaves(world, index, false);
    if (was_up) {
        client->link = LINK_CUT;
    }
}

void deliver_to_server(struct world *world, int index)
{
    struct client *client = &world->clients[index];
    struct channel *up = &client->up;
    struct wire_message message;
    size_t consumed = 0;
    const enum wire_verdict verdict = wire_decode(
        up->bytes + up->head, up->tail - up->head, WIRE_FRAME_MAX, TO_SERVER, &message, &consumed);
    if (verdict == WIRE_INCOMPLETE && client->link == LINK_CLOSING) {
        peer_leaves(world, index, false);
        return;
    }
    if (verdict != WIRE_OK) {
        sim_fail(world, "the server cannot decode what a client encoded");
    }
    cover(world, COVER_frames);
    trace_message(world, "-> server reads", index, &message);
    model_before_input(world, index, &message);
    const enum wire_reason reason = sync_server_input(&world->server, &client->peer, &message);
    model_after_input(world, index, &message, reason);
    channel_consume(up, consumed);
    if (reason != WIRE_REASON_NONE) {
        server_cuts_off(world, index, "is cut off for what it sent");
    }
}

/* Before the core reads it. */
static void recall_arrives(struct world *world, struct sim_hold *hold,
                           const struct wire_message *message)
{
    const bool stale = message->grant != hold->hold.grant || hold->hold.mode <= message->mode;
    if (message->waiting == 0) {
        cover(world, stale ? COVER_asked_stale : COVER_asked);
        hold->asked = !stale;
        hold->asked_mode = message->mode;
    } else if (stale) {
        cover(world, COVER_recall_stale);
    } else {
        check_recall_arrives(world, hold, message);
    }
}

static void hold_input(struct world *world, int index, const struct wire_message *message)
{
    struct client *client = &world->clients[index];
    struct sim_hold *hold = &client->holds[message->id.object - 1];
    if (client->link == LINK_UP) {
        model_client_gets(world, index, message);
    }
    if (!hold->exists) {
        if (message->kind != WIRE_RECALL) {
            sim_fail(world, "an answer for a handle that was freed");
        }
        cover(world, COVER_recall_of_freed);
        return;
    }
    if (message->kind == WIRE_RECALL) {
        recall_arrives(world, hold, message);
    } else if ((message->flags & WIRE_OWNER_DIED) != 0) {
        hold->died_untold = true;
    }
    const struct thread *next = check_next_waiter(client, (int)message->id.object - 1);
    const uint64_t sent_before = client->sent;
    world->acting = index;
    if (!sync_hold_input(&client->core, &hold->hold, message, world->now_ns)) {
        sim_fail(world, "the client takes the server's message for a breach of the protocol");
    }
    if (hold->asked) {
        check_asked_answered(world, index, (int)message->id.object - 1, sent_before);
        hold->asked = false;
    }
    if (message->kind == WIRE_GRANT && (message->flags & WIRE_DENIED) == 0) {
        check_granted_is_used(world, client, next, message);
    }
    publications_commit(world);
    collect_woken(world, index);
    reap_done(world, index);
}

void deliver_to_client(struct world *world, int index)
{
    struct client *client = &world->clients[index];
    struct channel *down = &client->down;
    if (channel_is_empty(down)) {
        trace_note(world, "finds its connection ended", index, -1, -1, 0, 0);
        client->link = LINK_NONE;
        holds_disconnect(world, index);
        return;
    }
    struct wire_message message;
    size_t consumed = 0;
    if (wire_decode(down->bytes + down->head,
                    down->tail - down->head,
                    WIRE_FRAME_MAX,
                    TO_CLIENT,
                    &message,
                    &consumed) != WIRE_OK) {
        sim_fail(world, "a client cannot decode what the server encoded");
    }
    cover(world, COVER_frames);
    trace_message(world, "<- client reads", index, &message);
    hold_input(world, index, &message);
    channel_consume(down, consumed);
}

bool fire_due_ticks(struct world *world)
{
    bool fired = false;
    for (int i = 0; i < SIM_CLIENTS; i++) {
        struct client *client = &world->clients[i];
        for (int handle = 0; client->process && handle < world->handle_count; handle++) {
            struct sim_hold *hold = &client->holds[handle];
            if (!hold->exists || hold->hold.tick_ns == 0 || hold->hold.tick_ns > world->now_ns) {
                continue;
            }
            trace_note(world, "tick", i, -1, handle, 0, 0);
            cover(world, COVER_ticks);
            fired = true;
            world->acting = i;
            sync_hold_tick(&client->core, &hold->hold, world->now_ns);
            publications_commit(world);
            collect_woken(world, i);
            reap_done(world, i);
        }
    }
    return fired;
}
