/*
 * Beginning and end of one client's side of one sync handle, and its invariants.
 */
#include "sync/client_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void sync_hold_init(struct sync_hold *hold, hf_id id, bool lock_only)
{
    memset(hold, 0, sizeof(*hold));
    atomic_init(&hold->word, 0);
    hold->node.id = id;
    hold->lock_only = lock_only;
    atomic_init(&hold->epoch, 1);
    hold->recalled_to = HF_EXCLUSIVE;
    list_init(&hold->waiters);
}

void sync_hold_deinit(struct sync_hold *hold)
{
    assert(list_is_empty(&hold->waiters));
    free(hold->value);
    hold->value = NULL;
}

void sync_hold_close(struct sync_client *client, struct sync_hold *hold)
{
    assert(list_is_empty(&hold->waiters));
    hold->closing = true;
    gate_close(hold);
    if (!hold->outstanding && hold->grant != 0 && !is_dead(hold)) {
        sync_send_release(client, hold, HF_INVALID, true);
    }
}

void sync_hold_reopen(struct sync_hold *hold)
{
    hold->closing = false;
    gate_set(hold);
}

bool sync_hold_is_done(const struct sync_hold *hold)
{
    return hold->closing && (is_dead(hold) || (!hold->outstanding && hold->grant == 0));
}

void sync_hold_reset(struct sync_hold *hold)
{
    atomic_store_explicit(&hold->word, 0, memory_order_relaxed);
    list_init(&hold->waiters);
    hold->requester = NULL;
    hold->grant = 0;
    hold->epoch++;
    hold->version = 0;
    hold->mode = HF_INVALID;
    hold->recalled_to = HF_EXCLUSIVE;
    hold->outstanding = false;
    hold->canceled = false;
    hold->owner_died = false;
    hold->changed = false;
    hold->eager = false;
    hold->lingering = false;
    hold->gave_back_ns = 0;
    hold->tick_ns = 0;
}

void sync_hold_inherit(struct sync_hold *hold, uint64_t grant)
{
    assert(hold->mode == HF_INVALID && hold->grant == 0);
    hold->grant = grant;
    hold->mode = HF_SHARED;
    atomic_store_explicit(&hold->word, SYNC_READER + SYNC_USE, memory_order_relaxed);
    gate_set(hold);
}

void sync_hold_check(const struct sync_hold *hold)
{
    uint64_t word = word_now(hold);
    bool dead = (word & SYNC_DEAD) != 0;
    bool writer = (word & SYNC_WRITER) != 0;
    bool readers = (word & SYNC_READERS) != 0;
    bool waiters = !list_is_empty(&hold->waiters);

    assert(!hold->outstanding || hold->mode == HF_INVALID);
    assert(!writer || !readers);
    assert(dead || !writer || hold->mode == HF_EXCLUSIVE);
    assert(dead || !readers || hold->mode >= HF_SHARED);
    assert((word & SYNC_READ_OK) == 0 || hold->mode >= HF_SHARED);
    assert((word & SYNC_WRITE_OK) == 0 || hold->mode == HF_EXCLUSIVE);
    assert((word & (SYNC_READ_OK | SYNC_WRITE_OK)) == 0 ||
           (!waiters && !recall_in_force(hold) && !dead && !hold->closing && !hold->changed &&
            !hold->owner_died));
    assert((word & SYNC_ATTENTION) != 0 || (!waiters && !recall_in_force(hold) && !dead));
    assert((word & SYNC_DIRTY) == 0 || writer);
    assert(hold->mode == HF_INVALID || hold->grant != 0);
    assert(!hold->lock_only || (hold->grant == 0) == (hold->mode == HF_INVALID));
    assert(hold->requester == NULL || (hold->outstanding && hold->requester == first_waiter(hold)));
    assert(hold->lingering == (hold->tick_ns != 0));
    /* Whatever can be done has been done. */
    assert(dead || !recall_in_force(hold) || !can_come_down(hold, (hf_mode)hold->recalled_to));
    assert(dead || !waiters || hold->outstanding || writer || readers);
}
