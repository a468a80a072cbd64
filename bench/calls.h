/*
 * One process repeats one call, beside the system call that does the same. What is on our side is
 * on the directory where the kernel's side is, or on a mount that the server brings.
 */
#ifndef HF_BENCH_CALLS_H
#define HF_BENCH_CALLS_H

#include "fs.h"

#define CALLS_MAX 4
#define CALLS_COUNT 100000 /* of calls that take no messages, in a round */

struct calls_state;

/* A call on either side; @i counts them. Return: whether it did what it should. */
struct operation {
    bool (*ours)(struct calls_state *state, uint64_t i);
    bool (*kernels)(struct calls_state *state, uint64_t i);
};

extern const struct operation operation_stat, operation_stat_missing, operation_fstat;
extern const struct operation operation_open;
extern const struct operation operation_write_64_at_place, operation_write_64, operation_append_64;
extern const struct operation operation_write_page, operation_read_page;
/* Not ours: a page is sent to a process that reads it and does nothing with it. */
extern const struct operation operation_send_page;
extern const struct operation operation_create, operation_create_and_write;
extern const struct operation operation_lock_posix, operation_lock_ofd, operation_flock;

/* A row. */
struct call {
    const char *name;
    const char *yardstick_name;
    uint64_t count; /* in a round */
    struct bench_goal goal;
    bool takes_messages; /* then time passes that no thread of ours spends */
    const struct operation *operation;
};

/* Measure them one after the other, and add their rows. @mount: what the server brings, or NULL. */
bool calls_measure(struct bench *bench, const char *mount, const struct call *calls,
                   size_t call_count);

#endif
