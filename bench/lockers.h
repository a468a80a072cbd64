/*
 * Processes that compete for record locks of one file, on a server in a process of its own or on
 * the kernel's side.
 */
#ifndef HF_BENCH_LOCKERS_H
#define HF_BENCH_LOCKERS_H

#include "process.h"
#include "side.h"

#define LOCKERS_MAX 8

enum lockers_kind {
    /* They take turns, `amount` in all: each locks and unlocks a byte once, which is timed. */
    LOCKERS_ALTERNATE,
    /* The same, but then the process goes on until it has the file's locks to itself. Timed is the
     * locking that takes them from the other one. */
    LOCKERS_ALTERNATE_TABLE,
    /* All lock and unlock one byte for `amount` nanoseconds. */
    LOCKERS_LOOP,
    /* On one byte more than there are processes, each locks the next and then unlocks the one before,
     * for `amount` nanoseconds. */
    LOCKERS_RING,
    /* The same, with a number beside each byte that is read, and written one higher. */
    LOCKERS_RING_DATA,
};

/* The sums over all processes, for one round. */
struct lockers_result {
    uint64_t operations; /* locks */
    uint64_t messages;   /* of what is timed, at all processes */
    uint64_t wait_sum_ns;
    uint64_t wait_max_ns;
};

struct lockers_memory;

struct lockers {
    struct server_child server;
    struct child children[LOCKERS_MAX];
    unsigned count;
    struct lockers_memory *memory;
};

/* In the working directory, see fs_place_make(). @mount: what the server brings, or NULL. */
bool lockers_start(struct lockers *lockers, unsigned count, const char *mount);
bool lockers_round(struct lockers *lockers, enum side side, enum lockers_kind kind, uint64_t amount,
                   struct lockers_result *result);
bool lockers_end(struct lockers *lockers);

#endif
