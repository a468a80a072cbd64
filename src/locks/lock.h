/*
 * File locks: what they are, and the locks of one file.
 *
 * Two families that do not see each other, as in Linux: record locks (POSIX and open-file-description
 * locks together, each on a range of bytes) and flock(2)'s on the whole file. Within a family a
 * lock conflicts with another owner's that overlaps it, if one of the two is for writing.
 */
#ifndef HF_LOCKS_LOCK_H
#define HF_LOCKS_LOCK_H

#include <holdfast/sync.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers are those of LOCK records. */
enum lock_kind {
    LOCK_POSIX = 1, /* owned by a process */
    LOCK_OFD = 2,   /* owned by an open file */
    LOCK_FLOCK = 3, /* likewise; always the whole file */
};

enum lock_type {
    LOCK_NONE = 0, /* in a request: give up what is there */
    LOCK_TYPE_READ = 1,
    LOCK_TYPE_WRITE = 2,
};

/* The last byte there can be: a lock up to here has no end. */
#define LOCK_LAST_BYTE ((uint64_t)INT64_MAX)

struct lock {
    enum lock_kind kind;
    enum lock_type type;
    uint64_t start;
    uint64_t end; /* included */
    /* An open file's is that of its sync handle (fs/ids.h), registered at the server or not. A
     * process's is unlike all those, and has its client's number in the same bits of `space`. */
    hf_id owner;
    uint32_t pid; /* to tell others; says nothing about who may do what */
};

/* The locks of one file: no two of an owner and family overlap or could be one. */
struct lock_table {
    struct lock *locks; /* by family, owner, start; owned */
    size_t count;
    size_t capacity;
};

/* All zero is an empty one, which owns nothing. */
void lock_table_deinit(struct lock_table *table);

/* Is it a lock at all, or a request: kind and type, start <= end <= LOCK_LAST_BYTE, and the whole file
 * for LOCK_FLOCK? */
bool lock_is_valid(const struct lock *lock);

bool lock_is_same_owner(const struct lock *one, const struct lock *other);

/* Do they belong to different owners, and would one have to wait for the other? */
bool lock_conflicts(const struct lock *one, const struct lock *other);

/* The first one, by start, that is in the way of @request; NULL if none is. Valid until the next
 * change. */
const struct lock *lock_table_find_conflict(const struct lock_table *table,
                                            const struct lock *request);

/* All of them, in the order of the table: the one behind @after, or the first if that is NULL; NULL at
 * the end. */
const struct lock *lock_table_next_conflict(const struct lock_table *table,
                                            const struct lock *request, const struct lock *after);

/* One of @owner's that is in the way of @request; NULL if none is. */
const struct lock *lock_table_conflict_with(const struct lock_table *table, hf_id owner,
                                            const struct lock *request);

/* Where the locks of @owner are, of the family of @kind: *count of them, by start. NULL: none. Valid
 * until the next change. */
const struct lock *lock_table_of_owner(const struct lock_table *table, hf_id owner,
                                       enum lock_kind kind, size_t *count);

/*
 * Give @request's owner that range as the type says: what it has there is replaced, split and merged
 * as fcntl(2) has it; LOCK_NONE takes it away. Conflicts are not looked at.
 *
 * Return: 0, also when nothing changes; -ENOMEM, and nothing changed. Giving something up may need
 * memory too, where a lock is split.
 */
int lock_table_apply(struct lock_table *table, const struct lock *request);

/* How many locks there would be after lock_table_apply(). */
size_t lock_table_count_after(const struct lock_table *table, const struct lock *request);

/* Add one that comes behind all others in the table's order. Return: 0, -ENOMEM; -EINVAL: it does not,
 * or is one with the last. */
int lock_table_append(struct lock_table *table, const struct lock *lock);

/* Is none in the way of another? Return: 0, -ENOMEM, -EINVAL. */
int lock_table_check_conflicts(const struct lock_table *table);

/* Take away all that @owner has of @kind; of both record kinds if it is one of them. Return: was
 * there anything? Never fails. */
bool lock_table_remove_owner(struct lock_table *table, hf_id owner, enum lock_kind kind);

#endif
