/*
 * How much of something the caches of a filesystem have, and how much they may have: bytes, and
 * nodes of the backend.
 *
 * What is in use cannot be given back, so a budget may be exceeded. Then it is time to look again
 * at what can go when a quarter of the budget more is taken, or after some time, as what was in use
 * may not be any more; so looking costs little for each thing taken and for each operation.
 */
#ifndef HF_FS_BUDGET_H
#define HF_FS_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    size_t limit; /* never changes */
    _Atomic size_t used;
    _Atomic size_t trim_at; /* while over @limit: with more in use it is time to trim */
};

/* Exceeded, a budget is looked at again after a quarter of so many operations. */
#define BUDGET_PATIENCE 4096

static inline void budget_init(struct budget *budget, size_t limit)
{
    budget->limit = limit;
    atomic_init(&budget->used, 0);
    atomic_init(&budget->trim_at, limit);
}

static inline size_t budget_used(const struct budget *budget)
{
    return atomic_load_explicit(&budget->used, memory_order_relaxed);
}

static inline void budget_take(struct budget *budget, size_t amount)
{
    atomic_fetch_add_explicit(&budget->used, amount, memory_order_relaxed);
}

static inline void budget_give_back(struct budget *budget, size_t amount)
{
    atomic_fetch_sub_explicit(&budget->used, amount, memory_order_relaxed);
}

/* What a trim should leave: less than the limit, so as not to come back at once. */
static inline size_t budget_goal(const struct budget *budget)
{
    return budget->limit - budget->limit / 4;
}

/* A trim is done. */
static inline void budget_trimmed(struct budget *budget)
{
    const size_t next = budget_used(budget) + budget->limit / 4;
    atomic_store_explicit(
        &budget->trim_at, next > budget->limit ? next : budget->limit, memory_order_relaxed);
}

/* Is it time to trim? While the budget is exceeded, each time this is asked brings it nearer. */
static inline bool budget_is_over(struct budget *budget)
{
    const size_t used = budget_used(budget);
    const size_t trim_at = atomic_load_explicit(&budget->trim_at, memory_order_relaxed);
    if (used > trim_at) {
        return true;
    }
    if (trim_at > budget->limit) {
        const size_t nearer = trim_at - budget->limit / BUDGET_PATIENCE - 1;
        atomic_store_explicit(
            &budget->trim_at, used <= budget->limit ? budget->limit : nearer, memory_order_relaxed);
    }
    return false;
}

/* What so many bytes take of the heap. */
static inline size_t budget_bytes(size_t size)
{
    return (size + sizeof(size_t) + 15) & ~(size_t)15;
}

#endif
