/*
 * The server's side of the sync protocol.
 *
 * A handle has holds (one a peer: a mode, a mere reference, or nothing yet) and a queue of
 * requests, first come, first served. For one hold:
 *
 *                 ACQUIRE, can be granted
 *        ┌──────────────────────────────────────┐
 *        │        ACQUIRE, must wait            ▼        RELEASE lower
 *   (no hold) ──────────► WAITING ────────► HELD(mode) ─────────────► HELD(SHARED)
 *        ▲                  │  ▲   grant        │ │                        │
 *        │ CANCEL, DENIED   │  └───────────────┘ │ RELEASE INVALID        │
 *        ├──────────────────┘  ACQUIRE more      ▼                        ▼
 *        └──────────────────── close ─── REFERENCED (mode INVALID) ◄──────┘
 *
 * A pure lock has no REFERENCED state: its hold goes when it comes down to INVALID.
 *
 * Invariants (sync_server_check() walks them):
 *  1. A handle has at most one EXCLUSIVE hold, and then no SHARED one.
 *  2. grant == 0 exactly when the hold was never granted: it waits for its first grant.
 *  3. A hold that waits has mode INVALID: who asks for more lets go first.
 *  4. The first request in a queue cannot be granted now, and every hold that is in its way
 *     has been recalled to a mode that is not, or asked (below) and has yet to answer.
 *  5. A hold is SHARED, EXCLUSIVE, referenced or waiting; else it is gone.
 *  6. A handle has a hold, or an owner-died mark; else it is gone.
 *  7. A NOWAIT is first in its queue.
 *
 * A NOWAIT that cannot be granted asks: the holds in its way get a RECALL that says that nobody
 * waits (hold->asked_to). Each is answered, by coming down or by "in use", which denies the
 * NOWAIT. Until then the hold gets no other RECALL, and an answer that comes when its NOWAIT has
 * gone says nothing about the next one: then the hold is recalled, or asked, afresh.
 *
 * message    function
 * ACQUIRE    on_acquire() → grant(), deny() or request_enqueue()
 * RELEASE    on_release() → hold_come_down(), serve_queue(); on_in_use()
 * CANCEL     on_cancel() → deny(), serve_queue()
 * (leaves)   sync_peer_leave()
 */
#include "sync/server.h"

#include "sync/mistake.h"
#include "sync/table.h"

#include <assert.h>
#include <string.h>

/* ---- answers ---- */

static void deny(struct sync_server *server, struct sync_peer *peer, hf_id id, uint32_t seq,
                 enum wire_reason reason)
{
    server->counters.denials++;
    server->send(server->send_context,
                 peer,
                 &(struct wire_message){
                     .kind = WIRE_GRANT,
                     .id = id,
                     .seq = seq,
                     .flags = WIRE_DENIED,
                     .reason = (uint8_t)reason,
                 });
}

static void grant(struct sync_server *server, struct hold *hold, uint32_t seq, hf_mode mode,
                  uint64_t known_version)
{
    struct handle *handle = hold->handle;
    hold->grant = ++server->last_grant;
    hold->mode = (uint8_t)mode;
    hold->recalled_to = HF_EXCLUSIVE;
    hold->asked_to = HF_EXCLUSIVE;

    struct wire_message message = {
        .kind = WIRE_GRANT,
        .id = handle->node.id,
        .seq = seq,
        .grant = hold->grant,
        .mode = (uint8_t)mode,
        .version = handle->version,
    };
    if (mode != HF_INVALID) {
        if (handle->value != NULL && known_version != handle->version) {
            message.flags |= WIRE_VALUE;
            message.data = handle->value->bytes;
            message.data_size = handle->value->size;
        }
        if (handle->owner_died) {
            message.flags |= WIRE_OWNER_DIED;
            handle->owner_died = false;
        }
    }
    server->counters.grants++;
    server->send(server->send_context, hold->peer, &message);
}

/* Have all that are in the way of the first request come down, each told once. */
static void recall_for_first(struct sync_server *server, struct handle *handle)
{
    const struct request *first = handle->queue->first;
    hf_mode mode = (hf_mode)first->mode;
    hf_mode target = mode == HF_EXCLUSIVE ? HF_INVALID : HF_SHARED;
    for (struct hold *other = handle->holds; other != NULL; other = other->next) {
        if (!hold_in_the_way(other, first->hold, mode) || other->asked_to != HF_EXCLUSIVE ||
            (!first->nowait && other->recalled_to <= target)) {
            continue;
        }
        if (first->nowait) {
            other->asked_to = (uint8_t)target;
            other->asked_for_first = true;
        } else {
            other->recalled_to = (uint8_t)target;
        }
        server->counters.recalls++;
        server->send(server->send_context,
                     other->peer,
                     &(struct wire_message){
                         .kind = WIRE_RECALL,
                         .id = handle->node.id,
                         .grant = other->grant,
                         .mode = (uint8_t)target,
                         .waiting = first->nowait ? 0 : handle->queue->count,
                     });
    }
}

/* ---- the queue ---- */

/* Grant from the front of the queue for as long as it goes, then recall for the next. */
static void serve_queue(struct sync_server *server, struct handle *handle)
{
    while (handle->queue != NULL && !handle->marked) {
        struct request *request = handle->queue->first;
        struct hold *hold = request->hold;
        hf_mode mode = (hf_mode)request->mode;
        if (!handle_can_grant(handle, hold, mode)) {
            recall_for_first(server, handle);
            return;
        }
        uint32_t seq = request->seq;
        uint64_t known_version = request->version;
        hold->referenced = hold->referenced || request->reference;
        request_dequeue(server, request);
        grant(server, hold, seq, mode, known_version);
    }
}

/* ---- messages ---- */

static bool must_wait(const struct handle *handle, const struct hold *hold, hf_mode mode)
{
    if (handle->queue != NULL &&
        !(mistake_planted(HF_MISTAKE_READER_OVERTAKES_WRITER) && mode == HF_SHARED)) {
        return true;
    }
    return !handle_can_grant(handle, hold, mode);
}

/* The hold that an ACQUIRE is about; a new one if need be. */
static enum wire_reason hold_get(struct sync_server *server, struct sync_peer *peer, hf_id id,
                                 struct hold **out)
{
    struct handle *handle = handle_find(server, id);
    struct hold *hold = handle == NULL ? NULL : hold_find(handle, peer);
    if (hold == NULL) {
        if (peer->hold_count >= server->limits.handles) {
            return WIRE_REASON_HANDLE_LIMIT;
        }
        handle = handle_get(server, id);
        if (handle == NULL) {
            return WIRE_REASON_NO_MEMORY;
        }
        hold = hold_new(server, handle, peer);
        if (hold == NULL) {
            handle_settle(server, handle);
            return WIRE_REASON_NO_MEMORY;
        }
    }
    *out = hold;
    return WIRE_REASON_NONE;
}

static enum wire_reason on_acquire(struct sync_server *server, struct sync_peer *peer,
                                   const struct wire_message *message)
{
    hf_mode mode = (hf_mode)message->mode;
    bool reference = (message->flags & WIRE_REFERENCE) != 0;
    bool nowait = (message->flags & WIRE_NOWAIT) != 0;
    bool ahead = (message->flags & WIRE_AHEAD) != 0;
    struct handle *handle = handle_find(server, message->id);
    struct hold *hold = handle == NULL ? NULL : hold_find(handle, peer);
    if (mode == HF_INVALID ? !reference || hold != NULL
                           : hold != NULL && (hold->waiting || hold->mode >= mode)) {
        return WIRE_REASON_BAD_MESSAGE; /* it has that much, or an answer to come */
    }

    server->counters.acquires++;
    enum wire_reason refused = hold_get(server, peer, message->id, &hold);
    if (refused != WIRE_REASON_NONE) {
        deny(server, peer, message->id, message->seq, refused);
        return WIRE_REASON_NONE;
    }
    handle = hold->handle;
    if (mode == HF_INVALID) {
        hold->referenced = true;
        grant(server, hold, message->seq, HF_INVALID, 0);
        return WIRE_REASON_NONE;
    }

    if (!mistake_planted(HF_MISTAKE_UPGRADE_KEEPS_SHARED)) {
        hold_come_down(server, hold, HF_INVALID);
    }
    /* That an owner died is told to one who needs the handle. */
    bool too_early = ahead && handle->owner_died;
    if (!must_wait(handle, hold, mode) && !too_early) {
        hold->referenced = hold->referenced || reference;
        grant(server, hold, message->seq, mode, message->version);
    } else {
        if (ahead || (nowait && handle->queue != NULL)) {
            refused = WIRE_REASON_WOULD_BLOCK;
        } else if (peer->queued_count >= server->limits.queued) {
            refused = WIRE_REASON_QUEUE_LIMIT;
        } else if (request_enqueue(server, hold, message) != 0) {
            refused = WIRE_REASON_NO_MEMORY;
        }
        if (refused != WIRE_REASON_NONE) {
            deny(server, peer, message->id, message->seq, refused);
            hold_settle(server, hold);
        }
    }
    serve_queue(server, handle);
    handle_settle(server, handle);
    return WIRE_REASON_NONE;
}

/* Keep the value that came with a RELEASE. Without memory for it the peer is cut off: its
 * value stays the one before, and the next holder hears that the owner died. */
static bool keep_value(struct sync_server *server, struct handle *handle,
                       const struct wire_message *message)
{
    struct value *value = table_alloc(server, sizeof(*value) + message->data_size);
    if (value == NULL) {
        return false;
    }
    value->size = message->data_size;
    if (message->data_size > 0) {
        memcpy(value->bytes, message->data, message->data_size);
    }
    value_free(server, handle);
    handle->value = value;
    return true;
}

/* A thread of the holder uses it, the answer to having been asked. */
static enum wire_reason on_in_use(struct sync_server *server, struct hold *hold,
                                  const struct wire_message *message)
{
    struct handle *handle = hold->handle;
    if (message->flags != WIRE_IN_USE || message->mode != hold->mode ||
        hold->asked_to == HF_EXCLUSIVE) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    server->counters.releases++;
    hold->asked_to = HF_EXCLUSIVE;
    if (hold->asked_for_first) {
        struct request *request = handle->queue->first;
        struct hold *asker = request->hold;
        uint32_t seq = request->seq;
        request_dequeue(server, request);
        deny(server, asker->peer, handle->node.id, seq, WIRE_REASON_WOULD_BLOCK);
        hold_settle(server, asker);
    }
    serve_queue(server, handle);
    return WIRE_REASON_NONE;
}

static enum wire_reason on_release(struct sync_server *server, struct sync_peer *peer,
                                   const struct wire_message *message)
{
    hf_mode mode = (hf_mode)message->mode;
    bool has_value = (message->flags & WIRE_VALUE) != 0;
    bool closes = (message->flags & WIRE_CLOSE) != 0;
    struct handle *handle = handle_find(server, message->id);
    struct hold *hold = handle == NULL ? NULL : hold_find(handle, peer);
    if (hold == NULL) {
        return WIRE_REASON_UNKNOWN_HANDLE;
    }
    if (message->grant == 0 || message->grant > server->last_grant) {
        return WIRE_REASON_BAD_MESSAGE; /* a number that was never given */
    }
    if (has_value && message->data_size > server->limits.value_bytes) {
        return WIRE_REASON_FRAME_TOO_LONG;
    }
    if (message->grant != hold->grant && !mistake_planted(HF_MISTAKE_STALE_RELEASE_ACCEPTED)) {
        server->counters.releases++;
        return WIRE_REASON_NONE; /* stale: it was about an earlier hold */
    }
    if (hold->waiting || mode > hold->mode || (closes && mode != HF_INVALID) ||
        (has_value && (hold->mode != HF_EXCLUSIVE || !hold->referenced))) {
        if (!mistake_planted(HF_MISTAKE_STALE_RELEASE_ACCEPTED)) {
            return WIRE_REASON_BAD_MESSAGE;
        }
    }
    if ((message->flags & WIRE_IN_USE) != 0) {
        if (!mistake_planted(HF_MISTAKE_IN_USE_TAKEN_FOR_COMING_DOWN)) {
            return on_in_use(server, hold, message);
        }
        mode = (hf_mode)hold->asked_to;
    }
    if (has_value) {
        if (!keep_value(server, handle, message)) {
            return WIRE_REASON_NO_MEMORY;
        }
        handle->version = hold->grant;
    }
    server->counters.releases++;
    hold_come_down(server, hold, mode);
    hold->referenced = hold->referenced && !closes;
    hold_settle(server, hold);
    serve_queue(server, handle);
    handle_settle(server, handle);
    return WIRE_REASON_NONE;
}

static enum wire_reason on_cancel(struct sync_server *server, struct sync_peer *peer,
                                  const struct wire_message *message)
{
    server->counters.cancels++;
    struct handle *handle = handle_find(server, message->id);
    struct hold *hold = handle == NULL ? NULL : hold_find(handle, peer);
    if (hold == NULL || !hold->waiting) {
        return WIRE_REASON_NONE; /* it crossed the answer */
    }
    struct request *request = request_find(hold);
    if (request->seq != message->seq) {
        return WIRE_REASON_NONE;
    }
    request_dequeue(server, request);
    deny(server, peer, message->id, message->seq, WIRE_REASON_CANCELED);
    hold_settle(server, hold);
    serve_queue(server, handle);
    handle_settle(server, handle);
    return WIRE_REASON_NONE;
}

enum wire_reason sync_server_input(struct sync_server *server, struct sync_peer *peer,
                                   const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_ACQUIRE:
        return on_acquire(server, peer, message);
    case WIRE_RELEASE:
        return on_release(server, peer, message);
    case WIRE_CANCEL:
        return on_cancel(server, peer, message);
    default:
        return WIRE_REASON_BAD_MESSAGE;
    }
}

void sync_peer_leave(struct sync_server *server, struct sync_peer *peer, bool orderly)
{
    struct list *link;
    while ((link = list_first(&peer->holds)) != NULL) {
        struct hold *hold = list_entry(link, struct hold, link);
        struct handle *handle = hold->handle;
        if (hold->waiting) {
            request_dequeue(server, request_find(hold));
            if (mistake_planted(HF_MISTAKE_GRANT_TO_DEAD_COUNTED)) {
                hold->mode = HF_SHARED;
                list_remove(&hold->link);
                continue;
            }
        }
        if (hold->mode == HF_EXCLUSIVE && !orderly) {
            handle->owner_died = true;
        }
        hold_come_down(server, hold, HF_INVALID);
        hold_free(server, hold);
        serve_queue(server, handle);
        handle_settle(server, handle);
    }
}

/* ---- without messages ---- */

enum wire_reason sync_server_reference(struct sync_server *server, struct sync_peer *peer, hf_id id)
{
    struct hold *hold;
    enum wire_reason refused = hold_get(server, peer, id, &hold);
    if (refused == WIRE_REASON_NONE) {
        assert(!hold->referenced);
        hold->referenced = true;
        hold->grant = ++server->last_grant;
    }
    return refused;
}

enum wire_reason sync_server_set_value(struct sync_server *server, const struct sync_peer *peer,
                                       hf_id id, const void *bytes, size_t size)
{
    struct handle *handle = handle_find(server, id);
    assert(handle != NULL && handle->holds->peer == peer && handle->holds->next == NULL);
    assert(size <= HF_VALUE_MAX);
    const struct wire_message carried = {.data = bytes, .data_size = (uint16_t)size};
    if (!keep_value(server, handle, &carried)) {
        return WIRE_REASON_NO_MEMORY;
    }
    handle->version = ++server->last_grant;
    return WIRE_REASON_NONE;
}

void sync_server_unreference(struct sync_server *server, struct sync_peer *peer, hf_id id)
{
    struct handle *handle = handle_find(server, id);
    hold_free(server, hold_find(handle, peer));
    handle_settle(server, handle);
}

/* ---- looking ---- */

struct sync_peer_view sync_server_view(const struct sync_server *server,
                                       const struct sync_peer *peer, hf_id id)
{
    struct sync_peer_view view = {HF_INVALID, 0, false};
    const struct handle *handle = handle_find(server, id);
    const struct hold *hold = handle == NULL ? NULL : hold_find(handle, peer);
    if (hold != NULL) {
        view.mode = (hf_mode)hold->mode;
        view.grant = hold->grant;
        view.waiting = hold->waiting;
    }
    return view;
}

bool sync_server_use_alone(struct sync_server *server, const struct sync_peer *peer, hf_id id)
{
    struct handle *handle = handle_find(server, id);
    if (handle == NULL) {
        return true; /* it will be made with a version that nobody has seen */
    }
    for (const struct hold *hold = handle->holds; hold != NULL; hold = hold->next) {
        if (hold->peer != peer) {
            return false;
        }
    }
    handle->version = ++server->last_grant;
    return true;
}

bool sync_server_is_used(const struct sync_server *server, hf_id id)
{
    const struct handle *handle = handle_find(server, id);
    return handle != NULL && handle->holds != NULL;
}

/* ---- life ---- */

int sync_server_init(struct sync_server *server, const struct sync_server_limits *limits,
                     void (*send)(void *context, struct sync_peer *peer,
                                  const struct wire_message *message),
                     void *send_context)
{
    memset(server, 0, sizeof(*server));
    int error = id_map_init(&server->handles);
    if (error != 0) {
        return error;
    }
    list_init(&server->marks);
    server->limits = *limits;
    server->send = send;
    server->send_context = send_context;
    server->counters.bytes = id_map_bytes(&server->handles);
    return 0;
}

void sync_server_deinit(struct sync_server *server)
{
    struct list *link;
    while ((link = list_first(&server->marks)) != NULL) {
        handle_free(server, list_entry(link, struct mark, link)->handle);
    }
    assert(server->counters.handles == 0);
    id_map_deinit(&server->handles);
}

void sync_peer_init(struct sync_peer *peer)
{
    list_init(&peer->holds);
    peer->hold_count = 0;
    peer->queued_count = 0;
}
