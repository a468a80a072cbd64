/*
 * The table's invariants, as asserts, and a look inside for tests.
 */
#include "sync/table.h"

#include <assert.h>

static void check_queue(const struct handle *handle)
{
    const struct queue *queue = handle->queue;
    uint32_t count = 0;
    for (const struct request *request = queue->first; request != NULL; request = request->next) {
        assert(request->hold->handle == handle && request->hold->waiting);
        assert(request->mode == HF_SHARED || request->mode == HF_EXCLUSIVE);
        assert(request->next != NULL || queue->last == request);
        assert(!request->nowait || request == queue->first);
        count++;
    }
    assert(count > 0 && count == queue->count);

    const struct request *first = queue->first;
    hf_mode target = first->mode == HF_EXCLUSIVE ? HF_INVALID : HF_SHARED;
    assert(!handle_can_grant(handle, first->hold, (hf_mode)first->mode));
    for (const struct hold *hold = handle->holds; hold != NULL; hold = hold->next) {
        bool asked = hold->asked_to != HF_EXCLUSIVE;
        assert(!hold_in_the_way(hold, first->hold, (hf_mode)first->mode) || asked ||
               (!first->nowait && hold->recalled_to <= target));
        assert(!hold->asked_for_first || !asked || first->nowait);
    }
}

static void check_handle(const struct handle *handle, uint64_t *holds, uint64_t *queued)
{
    unsigned shared = 0;
    unsigned exclusive = 0;
    uint32_t waiting = 0;
    for (const struct hold *hold = handle->holds; hold != NULL; hold = hold->next) {
        assert(hold->handle == handle);
        assert(hold->grant != 0 || hold->waiting);
        assert(!hold->waiting || hold->mode == HF_INVALID);
        assert(hold->mode != HF_INVALID || hold->referenced || hold->waiting);
        assert(hold->asked_to == HF_EXCLUSIVE || hold->asked_to < hold->mode);
        shared += hold->mode == HF_SHARED;
        exclusive += hold->mode == HF_EXCLUSIVE;
        waiting += hold->waiting;
        (*holds)++;
    }
    assert(exclusive <= 1 && (exclusive == 0 || shared == 0));
    if (handle->marked) {
        assert(handle->holds == NULL && handle->owner_died && handle->value == NULL);
        assert(handle->mark->handle == handle);
        return;
    }
    assert(handle->holds != NULL);
    assert((waiting > 0) == (handle->queue != NULL));
    if (handle->queue != NULL) {
        check_queue(handle);
        assert(handle->queue->count == waiting);
    }
    *queued += waiting;
}

void sync_server_check(const struct sync_server *server)
{
    uint64_t handles = 0;
    uint64_t holds = 0;
    uint64_t queued = 0;
    struct id_map_node *node = NULL;
    while ((node = id_map_next(&server->handles, node)) != NULL) {
        check_handle(handle_from_node(node), &holds, &queued);
        handles++;
    }
    assert(handles == server->counters.handles);
    assert(holds == server->counters.holds);
    assert(queued == server->counters.queued);
}
