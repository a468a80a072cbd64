/*
 * What client.c, client_life.c and client_send.c share: a look at a hold's word, its gate, and
 * the messages it sends.
 */
#ifndef HF_SYNC_CLIENT_PARTS_H
#define HF_SYNC_CLIENT_PARTS_H

#include "sync/client.h"

/* ---- the word, and what follows from it ---- */

static inline uint64_t word_now(const struct sync_hold *hold)
{
    return atomic_load_explicit(&hold->word, memory_order_acquire);
}

static inline bool has_writer(const struct sync_hold *hold)
{
    return (word_now(hold) & SYNC_WRITER) != 0;
}

/* Counts readers that are about to find the gate closed, too: they leave at once, and that
 * brings them through sync_hold_left(). */
static inline bool has_readers(const struct sync_hold *hold)
{
    return (word_now(hold) & SYNC_READERS) != 0;
}

static inline uint32_t uses_so_far(const struct sync_hold *hold)
{
    return (uint32_t)(word_now(hold) >> 32);
}

static inline bool is_dead(const struct sync_hold *hold)
{
    return (word_now(hold) & SYNC_DEAD) != 0;
}

static inline struct sync_waiter *first_waiter(const struct sync_hold *hold)
{
    struct list *link = list_first(&hold->waiters);
    return link == NULL ? NULL : list_entry(link, struct sync_waiter, link);
}

static inline bool recall_in_force(const struct sync_hold *hold)
{
    return hold->recalled_to < hold->mode && !hold->lingering;
}

/* Do the threads that use it now allow to come down to @mode? */
static inline bool can_come_down(const struct sync_hold *hold, hf_mode mode)
{
    return !has_writer(hold) && (mode >= HF_SHARED || !has_readers(hold));
}

/* ---- the gate ---- */

static inline void gate_close(struct sync_hold *hold)
{
    atomic_fetch_and_explicit(&hold->word, ~(SYNC_READ_OK | SYNC_WRITE_OK), memory_order_acq_rel);
    atomic_fetch_or_explicit(&hold->word, SYNC_ATTENTION, memory_order_acq_rel);
}

/* Open it as far as the state allows. */
static inline void gate_set(struct sync_hold *hold)
{
    uint64_t open = 0;
    if (!recall_in_force(hold) && list_is_empty(&hold->waiters) && !hold->owner_died &&
        !hold->changed && !hold->closing && !is_dead(hold)) {
        open = (hold->mode >= HF_SHARED ? SYNC_READ_OK : 0) |
               (hold->mode == HF_EXCLUSIVE ? SYNC_WRITE_OK : 0);
    }
    const uint64_t gate = SYNC_READ_OK | SYNC_WRITE_OK | SYNC_ATTENTION;
    bool attention = recall_in_force(hold) || !list_is_empty(&hold->waiters) || is_dead(hold);
    uint64_t set = open | (attention ? SYNC_ATTENTION : 0);
    uint64_t word = word_now(hold);
    while (
        (word & gate) != set &&
        !atomic_compare_exchange_weak_explicit(
            &hold->word, &word, (word & ~gate) | set, memory_order_acq_rel, memory_order_acquire)) {
    }
}

/* ---- client_send.c ---- */

/* The hold lingers no longer, and wants no tick. */
void sync_send_disarm(struct sync_client *client, struct sync_hold *hold);

/* Come down to @mode (the mode we have: only publish), with the value if it was set. */
void sync_send_release(struct sync_client *client, struct sync_hold *hold, hf_mode mode,
                       bool closes);

/* A thread uses the hold: the answer to a RECALL for which nobody waits. */
void sync_send_in_use(struct sync_client *client, const struct sync_hold *hold);

/* @flags: WIRE_NOWAIT, WIRE_AHEAD or 0. */
void sync_send_acquire(struct sync_client *client, struct sync_hold *hold, hf_mode mode,
                       uint8_t flags);

void sync_send_cancel(struct sync_client *client, struct sync_hold *hold);

#endif
