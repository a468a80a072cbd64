#include "mounts/served/contention.h"

static uint32_t get(const _Atomic uint32_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void set(_Atomic uint32_t *count, uint32_t value)
{
    atomic_store_explicit(count, value, memory_order_relaxed);
}

/* So many short holds in a row are contention. */
static uint32_t patience(const struct contention *contention)
{
    return (uint32_t)CONTENTION_SHORT_HOLDS << get(&contention->doublings);
}

static void begin(struct contention *contention)
{
    set(&contention->alone, 0);
    set(&contention->tight, 0);
    atomic_store_explicit(&contention->last_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&contention->is_sent, true, memory_order_relaxed);
}

static void end(struct contention *contention)
{
    set(&contention->short_holds, 0);
    set(&contention->uses, 0);
    atomic_store_explicit(&contention->is_sent, false, memory_order_relaxed);
}

void contention_held(struct contention *contention, uint64_t grant, uint32_t waiting)
{
    if (atomic_load_explicit(&contention->grant, memory_order_relaxed) == grant) {
        set(&contention->uses, get(&contention->uses) + 1);
        return;
    }
    const uint32_t uses = get(&contention->uses);
    const bool was_short = uses > 0 && uses <= CONTENTION_FEW_USES;
    const uint32_t in_a_row = was_short ? get(&contention->short_holds) + 1 : 0;
    set(&contention->short_holds, in_a_row);
    set(&contention->uses, 1);
    if (waiting > get(&contention->others)) {
        set(&contention->others, waiting);
    }
    atomic_store_explicit(&contention->grant, grant, memory_order_relaxed);
    if (in_a_row >= patience(contention)) {
        begin(contention);
    }
}

void contention_sent(struct contention *contention, uint64_t begun_ns, uint64_t ended_ns,
                     bool alone)
{
    const uint64_t last_ns = atomic_load_explicit(&contention->last_ns, memory_order_relaxed);
    const uint32_t others = get(&contention->others);
    const uint32_t alone_so_far = alone ? get(&contention->alone) + 1 : 0;
    /* Threads of this client may overlap. */
    const int64_t between_ns = (int64_t)(begun_ns - last_ns);
    const bool is_tight = between_ns * (others > 0 ? others : 1) < CONTENTION_TIGHT_NS;
    const uint32_t tight_so_far = is_tight ? get(&contention->tight) + 1 : 0;
    set(&contention->alone, alone_so_far);
    set(&contention->tight, tight_so_far);
    atomic_store_explicit(&contention->last_ns, ended_ns, memory_order_relaxed);
    if (alone_so_far >= CONTENTION_ALONE) {
        set(&contention->others, 0);
        set(&contention->doublings, 0);
        end(contention);
    } else if (tight_so_far >= CONTENTION_TIGHT) {
        if (patience(contention) < CONTENTION_SHORT_HOLDS_MAX) {
            set(&contention->doublings, get(&contention->doublings) + 1);
        }
        end(contention);
    }
}
