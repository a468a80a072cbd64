/*
 * The locks of one file, in an array.
 *
 * Its order makes the locks of an owner neighbours; they do not overlap, so that their ends grow as
 * their starts do, and one search finds where a request of the owner begins to touch them. A change
 * replaces those that it touches by what is left of the first and the last of them and the new one
 * between: three at most.
 */
#include "locks/lock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Enough for most files, for good. */
#define FIRST_CAPACITY 4

static bool is_flock(enum lock_kind kind)
{
    return kind == LOCK_FLOCK;
}

/* The order of the table, up to the owner. */
static int compare_owners(const struct lock *one, enum lock_kind kind, hf_id owner)
{
    if (is_flock(one->kind) != is_flock(kind)) {
        return is_flock(one->kind) ? 1 : -1;
    }
    if (one->owner.space != owner.space) {
        return one->owner.space < owner.space ? -1 : 1;
    }
    if (one->owner.object != owner.object) {
        return one->owner.object < owner.object ? -1 : 1;
    }
    return 0;
}

/* Where the first lock is that comes behind the owner's, or is the owner's and ends at @byte or
 * later. */
static size_t find_place(const struct lock_table *table, enum lock_kind kind, hf_id owner,
                         uint64_t byte)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct lock *lock = &table->locks[middle];
        int order = compare_owners(lock, kind, owner);
        if (order < 0 || (order == 0 && lock->end < byte)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool lock_is_valid(const struct lock *lock)
{
    bool known_kind =
        lock->kind == LOCK_POSIX || lock->kind == LOCK_OFD || lock->kind == LOCK_FLOCK;
    bool known_type =
        lock->type == LOCK_NONE || lock->type == LOCK_TYPE_READ || lock->type == LOCK_TYPE_WRITE;
    bool is_whole = lock->start == 0 && lock->end == LOCK_LAST_BYTE;
    return known_kind && known_type && lock->start <= lock->end && lock->end <= LOCK_LAST_BYTE &&
           (lock->kind != LOCK_FLOCK || is_whole);
}

bool lock_is_same_owner(const struct lock *one, const struct lock *other)
{
    return compare_owners(one, other->kind, other->owner) == 0;
}

bool lock_conflicts(const struct lock *one, const struct lock *other)
{
    return is_flock(one->kind) == is_flock(other->kind) && one->start <= other->end &&
           other->start <= one->end && one->type != LOCK_NONE && other->type != LOCK_NONE &&
           (one->type == LOCK_TYPE_WRITE || other->type == LOCK_TYPE_WRITE) &&
           !lock_is_same_owner(one, other);
}

const struct lock *lock_table_next_conflict(const struct lock_table *table,
                                            const struct lock *request, const struct lock *after)
{
    size_t i = after == NULL ? 0 : (size_t)(after - table->locks) + 1;
    while (i < table->count) {
        const struct lock *lock = &table->locks[i];
        if (lock_conflicts(lock, request)) {
            return lock;
        }
        /* Of an owner with many, those before and behind the request are passed by at once. */
        bool more = i + 1 < table->count && lock_is_same_owner(lock, lock + 1);
        if (more && lock->end < request->start) {
            i = find_place(table, lock->kind, lock->owner, request->start);
        } else if (more && lock->start > request->end) {
            i = find_place(table, lock->kind, lock->owner, UINT64_MAX);
        } else {
            i++;
        }
    }
    return NULL;
}

const struct lock *lock_table_find_conflict(const struct lock_table *table,
                                            const struct lock *request)
{
    const struct lock *first = NULL;
    const struct lock *lock = NULL;
    while ((lock = lock_table_next_conflict(table, request, lock)) != NULL) {
        if (first == NULL || lock->start < first->start) {
            first = lock;
        }
    }
    return first;
}

const struct lock *lock_table_conflict_with(const struct lock_table *table, hf_id owner,
                                            const struct lock *request)
{
    for (size_t i = find_place(table, request->kind, owner, request->start); i < table->count;
         i++) {
        const struct lock *lock = &table->locks[i];
        if (compare_owners(lock, request->kind, owner) != 0 || lock->start > request->end) {
            break;
        }
        if (lock_conflicts(lock, request)) {
            return lock;
        }
    }
    return NULL;
}

const struct lock *lock_table_of_owner(const struct lock_table *table, hf_id owner,
                                       enum lock_kind kind, size_t *count)
{
    size_t first = find_place(table, kind, owner, 0);
    *count = find_place(table, kind, owner, UINT64_MAX) - first;
    return *count > 0 ? &table->locks[first] : NULL;
}

/* ---- changing it ---- */

struct change {
    size_t first; /* the locks from here ... */
    size_t last;  /* ... to before this one give way to the pieces */
    struct lock pieces[3];
    size_t piece_count;
};

static struct change plan(const struct lock_table *table, const struct lock *request)
{
    /* A neighbour of the same type becomes one with it. */
    uint64_t touches_from = request->start > 0 ? request->start - 1 : 0;
    struct change change = {
        .first = find_place(table, request->kind, request->owner, touches_from),
    };
    struct lock added = *request;
    struct lock before = {.type = LOCK_NONE};
    struct lock behind = {.type = LOCK_NONE};
    change.last = change.first;
    while (change.last < table->count) {
        const struct lock *old = &table->locks[change.last];
        if (!lock_is_same_owner(old, request) || old->start > request->end + 1) {
            break;
        }
        if (old->type == added.type) {
            added.start = old->start < added.start ? old->start : added.start;
            added.end = old->end > added.end ? old->end : added.end;
        } else {
            if (old->start < request->start) {
                before = *old;
                before.end = old->end < request->start ? old->end : request->start - 1;
            }
            if (old->end > request->end) {
                behind = *old;
                behind.start = old->start > request->end ? old->start : request->end + 1;
            }
        }
        change.last++;
    }
    if (before.type != LOCK_NONE) {
        change.pieces[change.piece_count++] = before;
    }
    if (added.type != LOCK_NONE) {
        change.pieces[change.piece_count++] = added;
    }
    if (behind.type != LOCK_NONE) {
        change.pieces[change.piece_count++] = behind;
    }
    return change;
}

static bool set_capacity(struct lock_table *table, size_t capacity)
{
    struct lock *locks = realloc(table->locks, capacity * sizeof(*locks));
    if (locks == NULL) {
        return false;
    }
    table->locks = locks;
    table->capacity = capacity;
    return true;
}

/* Memory that was needed once goes back, so that what all tables take is bounded by what is in them. */
static void shrink(struct lock_table *table)
{
    size_t half = table->capacity / 2;
    if (half > FIRST_CAPACITY && table->count < half / 2) {
        set_capacity(table, half); /* else it stays as large */
    }
}

static void splice(struct lock_table *table, const struct change *change)
{
    struct lock *gap = table->locks + change->first;
    memmove(gap + change->piece_count,
            table->locks + change->last,
            (table->count - change->last) * sizeof(*gap));
    memcpy(gap, change->pieces, change->piece_count * sizeof(*gap));
    table->count += change->piece_count;
    table->count -= change->last - change->first;
}

int lock_table_apply(struct lock_table *table, const struct lock *request)
{
    assert(lock_is_valid(request));
    struct change change = plan(table, request);
    size_t count = table->count + change.piece_count - (change.last - change.first);
    if (count > table->capacity &&
        !set_capacity(table, table->capacity > 0 ? table->capacity * 2 : FIRST_CAPACITY)) {
        return -ENOMEM;
    }
    if (count > 0 || table->count > 0) { /* else there may be no array yet */
        splice(table, &change);
    }
    shrink(table);
    return 0;
}

int lock_table_append(struct lock_table *table, const struct lock *lock)
{
    if (table->count > 0) {
        const struct lock *last = &table->locks[table->count - 1];
        int order = compare_owners(last, lock->kind, lock->owner);
        bool touches = lock->start <= last->end + 1 && lock->type == last->type;
        if (order > 0 || (order == 0 && (lock->start <= last->end || touches))) {
            return -EINVAL;
        }
    }
    if (table->count == table->capacity &&
        !set_capacity(table, table->capacity > 0 ? table->capacity * 2 : FIRST_CAPACITY)) {
        return -ENOMEM;
    }
    table->locks[table->count++] = *lock;
    return 0;
}

static int compare_starts(const void *one, const void *other)
{
    const struct lock *a = *(const struct lock *const *)one;
    const struct lock *b = *(const struct lock *const *)other;
    bool flock_a = is_flock(a->kind);
    bool flock_b = is_flock(b->kind);
    if (flock_a != flock_b) {
        return flock_a ? 1 : -1;
    }
    return a->start < b->start ? -1 : a->start > b->start;
}

int lock_table_check_conflicts(const struct lock_table *table)
{
    if (table->count < 2 || lock_is_same_owner(&table->locks[0], &table->locks[table->count - 1])) {
        return 0;
    }
    const struct lock **by_start = calloc(table->count, sizeof(*by_start));
    if (by_start == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < table->count; i++) {
        by_start[i] = &table->locks[i];
    }
    qsort(by_start, table->count, sizeof(*by_start), compare_starts);

    /* Those of one owner do not overlap: two that do, of which one writes, are in conflict. */
    const struct lock *longest = by_start[0];
    const struct lock *longest_write = NULL;
    int result = 0;
    for (size_t i = 0; i < table->count && result == 0; i++) {
        const struct lock *lock = by_start[i];
        if (is_flock(lock->kind) != is_flock(longest->kind)) {
            longest = lock;
            longest_write = NULL;
        }
        bool writes = lock->type == LOCK_TYPE_WRITE;
        if ((writes && longest != lock && lock->start <= longest->end) ||
            (longest_write != NULL && lock->start <= longest_write->end)) {
            result = -EINVAL;
        }
        longest = lock->end > longest->end ? lock : longest;
        if (writes && (longest_write == NULL || lock->end > longest_write->end)) {
            longest_write = lock;
        }
    }
    free(by_start);
    return result;
}

size_t lock_table_count_after(const struct lock_table *table, const struct lock *request)
{
    struct change change = plan(table, request);
    return table->count + change.piece_count - (change.last - change.first);
}

bool lock_table_remove_owner(struct lock_table *table, hf_id owner, enum lock_kind kind)
{
    struct change change = {
        .first = find_place(table, kind, owner, 0),
        .last = find_place(table, kind, owner, UINT64_MAX),
    };
    if (change.first == change.last) {
        return false;
    }
    splice(table, &change);
    shrink(table);
    return true;
}

void lock_table_deinit(struct lock_table *table)
{
    free(table->locks);
    *table = (struct lock_table){0};
}
