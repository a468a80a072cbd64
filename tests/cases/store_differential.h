/* What the parts of the differential test share. */
#ifndef HF_TESTS_CASES_STORE_DIFFERENTIAL_H
#define HF_TESTS_CASES_STORE_DIFFERENTIAL_H

#include "lib/stores.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define DIRECTORIES 5
#define FILES 6
#define SLOTS (DIRECTORIES + FILES)
#define NAMES 7
#define PAGES 48
#define INODES 24
#define NUMBERS 4096
#define BUFFER (16 * STORE_PAGE_SIZE)

/* An inode that both sides have in use. */
struct slot {
    int fd; /* -1: nothing */
    uint64_t number;
    struct timespec ours[3], theirs[3]; /* as same_times() saw them last */
    bool is_seen;
};

struct sides {
    struct any_store any;
    struct store *store; /* of any */
    struct store_call call;
    char path[32];
    bool is_limited;
    bool is_mounted;
    struct slot slots[SLOTS]; /* directories, the root first; then files */
    /* How often an inode was given pages ahead: with the second time tmpfs takes them for data. */
    unsigned allocations[NUMBERS];
    uint64_t random;
    uint64_t seed;
    unsigned step;
    const char *operation;
    uint8_t data[BUFFER], ours[BUFFER], theirs[BUFFER];
};

static inline uint64_t below(struct sides *sides, uint64_t bound)
{
    sides->random ^= sides->random << 13;
    sides->random ^= sides->random >> 7;
    sides->random ^= sides->random << 17;
    return (sides->random >> 11) % bound;
}

static inline void same(const struct sides *sides, const char *what, int64_t ours, int64_t theirs)
{
    if (ours != theirs) {
        fail_msg("seed %" PRIu64 ", step %u, %s: %s is %" PRId64 ", tmpfs has %" PRId64,
                 sides->seed,
                 sides->step,
                 sides->operation,
                 what,
                 ours,
                 theirs);
    }
}

static inline int64_t result_of(int64_t result)
{
    return result < 0 ? -errno : result;
}

static inline struct store_name named(const char *text)
{
    return (struct store_name){text, strlen(text)};
}

static inline const char *any_name(struct sides *sides)
{
    static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f", "a longer name"};
    return names[below(sides, NAMES)];
}

static inline struct slot *any_directory(struct sides *sides)
{
    struct slot *slot = &sides->slots[below(sides, DIRECTORIES)];
    return slot->fd < 0 ? &sides->slots[0] : slot;
}

static inline struct slot *any_file(struct sides *sides)
{
    return &sides->slots[DIRECTORIES + below(sides, FILES)];
}

/* The system calls refuse by themselves what ends too far. */
static inline size_t fitting(off_t offset, size_t size)
{
    return offset > INT64_MAX - (off_t)size ? (size_t)(INT64_MAX - offset) : size;
}

static inline mode_t any_mode(struct sides *sides)
{
    static const mode_t modes[] = {0644, 0600, 0755, 06755, 02644, 0000, 01777};
    return modes[below(sides, sizeof(modes) / sizeof(modes[0]))];
}

void empty_slot(struct sides *sides, struct slot *slot);
/* Linux keeps a removed directory for as long as something is open that once had a name in it: its
 * own matter, but it would be seen in the free inodes. So nothing is open any more, but the
 * directories that are there, when a directory went. */
void let_removed_go(struct sides *sides);

void same_attributes(const struct sides *sides, const struct store_attributes *ours,
                     const struct stat *theirs);
void same_space(const struct sides *sides);
void same_slots(const struct sides *sides);
/* Which times of what is in use have changed since the last call. */
void same_times(struct sides *sides);
void same_tree(struct sides *sides, int directory, uint64_t number);

typedef void name_operation(struct sides *sides);
typedef void file_operation(struct sides *sides, const struct slot *slot);

name_operation do_make, do_make_unnamed, do_open, do_link, do_unlink, do_remove_directory,
    do_rename;
file_operation do_write, do_read, do_set_size, do_allocate, do_copy, do_attributes, do_xattr;

#endif
