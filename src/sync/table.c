/*
 * The table's records: allocation, look-up, and when each may go.
 */
#include "sync/table.h"

#include "sync/mistake.h"

#include <errno.h>
#include <stdlib.h>

/* ---- allocation, counted ---- */

void *table_alloc(struct sync_server *server, size_t size)
{
    void *memory = calloc(1, size);
    if (memory != NULL) {
        server->counters.bytes += size;
    }
    return memory;
}

static void table_free(struct sync_server *server, void *memory, size_t size)
{
    if (memory != NULL) {
        server->counters.bytes -= size;
        free(memory);
    }
}

void value_free(struct sync_server *server, struct handle *handle)
{
    if (handle->value != NULL) {
        table_free(server, handle->value, sizeof(struct value) + handle->value->size);
        handle->value = NULL;
    }
}

/* ---- handles ---- */

struct handle *handle_from_node(struct id_map_node *node)
{
    return (struct handle *)(void *)((char *)node - offsetof(struct handle, node));
}

struct handle *handle_find(const struct sync_server *server, hf_id id)
{
    struct id_map_node *node = id_map_find(&server->handles, id);
    return node == NULL ? NULL : handle_from_node(node);
}

static void handle_unmark(struct sync_server *server, struct handle *handle)
{
    if (handle->marked) {
        struct mark *mark = handle->mark;
        handle->marked = false;
        handle->queue = NULL;
        list_remove(&mark->link);
        server->mark_count--;
        table_free(server, mark, sizeof(*mark));
    }
}

void handle_free(struct sync_server *server, struct handle *handle)
{
    size_t table_before = id_map_bytes(&server->handles);
    handle_unmark(server, handle);
    value_free(server, handle);
    id_map_remove(&server->handles, &handle->node);
    server->counters.bytes += id_map_bytes(&server->handles) - table_before;
    server->counters.handles--;
    table_free(server, handle, sizeof(*handle));
}

/* Keep an owner-died mark for whoever comes; the oldest goes when there are too many. */
static void handle_mark(struct sync_server *server, struct handle *handle)
{
    struct mark *mark = table_alloc(server, sizeof(*mark));
    if (mark == NULL || server->limits.owner_died_marks == 0) {
        table_free(server, mark, sizeof(*mark));
        handle_free(server, handle);
        return;
    }
    mark->handle = handle;
    handle->mark = mark;
    handle->marked = true;
    list_append(&server->marks, &mark->link);
    if (++server->mark_count > server->limits.owner_died_marks) {
        struct mark *oldest = list_entry(list_first(&server->marks), struct mark, link);
        handle_free(server, oldest->handle);
    }
}

/* Nobody holds, references or waits for it any more? Then its value goes too. */
void handle_settle(struct sync_server *server, struct handle *handle)
{
    if (handle->holds != NULL || handle->marked) {
        return;
    }
    const hf_id id = handle->node.id;
    value_free(server, handle);
    if (handle->owner_died) {
        handle_mark(server, handle);
    } else {
        handle_free(server, handle);
    }
    if (server->unused != NULL) {
        server->unused(server->send_context, id);
    }
}

struct handle *handle_get(struct sync_server *server, hf_id id)
{
    struct handle *handle = handle_find(server, id);
    if (handle != NULL) {
        handle_unmark(server, handle);
        return handle;
    }
    handle = table_alloc(server, sizeof(*handle));
    if (handle == NULL) {
        return NULL;
    }
    size_t table_before = id_map_bytes(&server->handles);
    handle->node.id = id;
    /* A number nobody has seen, so that no client takes what it remembers for current. */
    handle->version = ++server->last_grant;
    id_map_insert(&server->handles, &handle->node);
    server->counters.bytes += id_map_bytes(&server->handles) - table_before;
    server->counters.handles++;
    return handle;
}

/* ---- holds ---- */

struct hold *hold_find(const struct handle *handle, const struct sync_peer *peer)
{
    for (struct hold *hold = handle->holds; hold != NULL; hold = hold->next) {
        if (hold->peer == peer) {
            return hold;
        }
    }
    return NULL;
}

struct hold *hold_new(struct sync_server *server, struct handle *handle, struct sync_peer *peer)
{
    struct hold *hold = table_alloc(server, sizeof(*hold));
    if (hold == NULL) {
        return NULL;
    }
    hold->handle = handle;
    hold->peer = peer;
    hold->next = handle->holds;
    handle->holds = hold;
    hold->recalled_to = HF_EXCLUSIVE;
    hold->asked_to = HF_EXCLUSIVE;
    list_append(&peer->holds, &hold->link);
    peer->hold_count++;
    server->counters.holds++;
    return hold;
}

void hold_free(struct sync_server *server, struct hold *hold)
{
    struct hold **place = &hold->handle->holds;
    while (*place != hold) {
        place = &(*place)->next;
    }
    *place = hold->next;
    list_remove(&hold->link);
    hold->peer->hold_count--;
    server->counters.holds--;
    table_free(server, hold, sizeof(*hold));
}

/* Come down to @mode. The end of an EXCLUSIVE hold is a new version. */
void hold_come_down(struct sync_server *server, struct hold *hold, hf_mode mode)
{
    if (hold->mode == HF_EXCLUSIVE && mode < HF_EXCLUSIVE) {
        hold->handle->version = hold->grant;
    }
    hold->mode = (uint8_t)mode;
    if (mode <= hold->asked_to) {
        hold->asked_to = HF_EXCLUSIVE; /* that is an answer */
    }
    if (mistake_planted(HF_MISTAKE_VALUE_DROPPED_WITH_LAST_HOLD)) {
        bool held = false;
        for (const struct hold *other = hold->handle->holds; other != NULL; other = other->next) {
            held = held || other->mode != HF_INVALID;
        }
        if (!held) {
            value_free(server, hold->handle);
        }
    }
}

/* A hold with nothing left in it goes; invariant 5. */
void hold_settle(struct sync_server *server, struct hold *hold)
{
    if (hold->mode == HF_INVALID && !hold->referenced && !hold->waiting) {
        hold_free(server, hold);
    }
}

bool hold_in_the_way(const struct hold *other, const struct hold *asker, hf_mode mode)
{
    if (other == asker) {
        return false;
    }
    return mode == HF_EXCLUSIVE ? other->mode != HF_INVALID : other->mode == HF_EXCLUSIVE;
}

bool handle_can_grant(const struct handle *handle, const struct hold *asker, hf_mode mode)
{
    for (const struct hold *other = handle->holds; other != NULL; other = other->next) {
        if (hold_in_the_way(other, asker, mode)) {
            return false;
        }
    }
    return true;
}

/* ---- the queue ---- */

static void queue_free_if_empty(struct sync_server *server, struct handle *handle)
{
    if (handle->queue != NULL && handle->queue->first == NULL) {
        table_free(server, handle->queue, sizeof(*handle->queue));
        handle->queue = NULL;
    }
}

/* The NOWAIT for which they were asked has gone; their answers are about it alone. */
static void holds_asked_for_nobody(struct handle *handle)
{
    for (struct hold *hold = handle->holds; hold != NULL; hold = hold->next) {
        hold->asked_for_first = false;
    }
}

/* Take the request out; the hold no longer waits. */
void request_dequeue(struct sync_server *server, struct request *request)
{
    struct hold *hold = request->hold;
    struct queue *queue = hold->handle->queue;
    struct request *before = NULL;
    struct request **place = &queue->first;
    while (*place != request) {
        before = *place;
        place = &before->next;
    }
    *place = request->next;
    if (queue->last == request) {
        queue->last = before;
    }
    queue->count--;
    if (request->nowait) {
        holds_asked_for_nobody(hold->handle);
    }
    hold->waiting = false;
    hold->peer->queued_count--;
    server->counters.queued--;
    table_free(server, request, sizeof(*request));
    queue_free_if_empty(server, hold->handle);
}

struct request *request_find(const struct hold *hold)
{
    struct request *request = hold->handle->queue->first;
    while (request->hold != hold) {
        request = request->next;
    }
    return request;
}

int request_enqueue(struct sync_server *server, struct hold *hold,
                    const struct wire_message *message)
{
    struct handle *handle = hold->handle;
    if (handle->queue == NULL) {
        handle->queue = table_alloc(server, sizeof(*handle->queue));
        if (handle->queue == NULL) {
            return -ENOMEM;
        }
    }
    struct request *request = table_alloc(server, sizeof(*request));
    if (request == NULL) {
        queue_free_if_empty(server, handle);
        return -ENOMEM;
    }
    request->hold = hold;
    request->seq = message->seq;
    request->mode = message->mode;
    request->version = message->version;
    request->reference = (message->flags & WIRE_REFERENCE) != 0;
    request->nowait = (message->flags & WIRE_NOWAIT) != 0;

    struct queue *queue = handle->queue;
    if (queue->last == NULL) {
        queue->first = request;
    } else {
        queue->last->next = request;
    }
    queue->last = request;
    queue->count++;
    hold->waiting = true;
    hold->peer->queued_count++;
    server->counters.queued++;
    return 0;
}
