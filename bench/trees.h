/*
 * A pass over many files, ours and the kernel's, twice: "first" and "cold" are about what our client
 * knows, for it attaches anew before. The kernel has everything in memory all the time.
 */
#ifndef HF_BENCH_TREES_H
#define HF_BENCH_TREES_H

#include "harness.h"

enum { FIRST, AGAIN, PASSES };

struct trees {
    const char *mount; /* what the server brings; NULL: both sides have one directory of the host */
    const char *names[PASSES];
    uint64_t items; /* entries or files */
    unsigned rounds;
};

/* Read a directory with so many entries. */
bool trees_measure_readdir(struct bench *bench, const struct trees *trees);

/* Ask each file of a tree for its attributes, in the order of the listings: directories of 100
 * files, 100 of them in each directory at the top. */
bool trees_measure_walk(struct bench *bench, const struct trees *trees);

#endif
