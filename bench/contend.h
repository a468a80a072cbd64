/*
 * Processes that compete for one sync handle, on a server in a process of its own.
 */
#ifndef HF_BENCH_CONTEND_H
#define HF_BENCH_CONTEND_H

#include "process.h"

#define CONTENDERS_MAX 8

/* What the processes share, besides the handle. */
struct contend_memory;

struct contenders {
    struct server_child server;
    struct child children[CONTENDERS_MAX];
    unsigned count;
    struct contend_memory *memory;
};

enum contend_kind {
    /* The processes take turns, `amount` in all: each acquires and releases EXCLUSIVE once a turn,
     * while the one before holds the handle idle. Whose turn it is they tell each other through
     * shared memory; only the acquire is timed. */
    CONTEND_ALTERNATE,
    /* Acquire and release in a loop, for `amount` nanoseconds. */
    CONTEND_LOOP,
    /* The same, but time each acquire, and give way to other processes between two of them. */
    CONTEND_LOOP_TIMED,
    /* The yardstick of CONTEND_LOOP: a pthread_mutex in memory that the processes share. */
    CONTEND_LOOP_MUTEX,
};

/* The sums over all processes, for one round. */
struct contend_result {
    uint64_t operations;
    uint64_t messages;
    uint64_t waits; /* acquires that took the handle over from another process, as timed */
    uint64_t wait_sum_ns;
    uint64_t wait_max_ns;
};

bool contenders_start(struct contenders *contenders, unsigned count, uint64_t quantum_ns);
bool contenders_round(struct contenders *contenders, enum contend_kind kind, uint64_t amount,
                      struct contend_result *result);
bool contenders_end(struct contenders *contenders);

#endif
