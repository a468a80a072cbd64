/*
 * Processes append to one file, each through an open file of its own; beside it, the same processes
 * with O_APPEND of the kernel.
 */
#ifndef HF_BENCH_APPENDERS_H
#define HF_BENCH_APPENDERS_H

#include "harness.h"
#include "mounts/served/served.h"

#include <stdint.h>

#define APPENDERS_MAX 4
#define APPENDERS_ROWS_MAX 3

/* One way of appending, with a file of its own. */
struct appenders_row {
    const char *name;
    enum served_sending sending;
};

struct appenders {
    const char *mount; /* what the server brings; NULL: they are in a directory of the host */
    unsigned process_count;
    uint64_t pause_ns; /* that each works after an append */
    const struct appenders_row *rows;
    unsigned row_count;
};

/* Measure and add the rows. In each round all of them come after one yardstick. */
bool appenders_measure(struct bench *bench, const struct appenders *appenders);

#endif
