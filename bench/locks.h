/*
 * The group `locks`: file locks, beside the kernel's own and beside the bare relay.
 */
#ifndef HF_BENCH_LOCKS_H
#define HF_BENCH_LOCKS_H

#include "harness.h"

extern const struct bench_group locks_group;

#endif
