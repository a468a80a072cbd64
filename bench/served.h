/*
 * The group `served`: what a mount of the server's memory costs beside the kernel's tmpfs. The
 * server is a process of its own. One function a part; see served.c.
 */
#ifndef HF_BENCH_SERVED_H
#define HF_BENCH_SERVED_H

#include "harness.h"

#define SERVED_MOUNT "ram:/"

extern const struct bench_group served_group;

/* served_trees.c */
bool bench_served_untar(struct bench *bench);

/* served_streams.c */
bool bench_served_streams(struct bench *bench);

/* served_follower.c */
bool bench_served_follower(struct bench *bench);

#endif
