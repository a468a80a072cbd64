/*
 * What the steps of the differential test share. A step chooses numbers with below(), does one
 * operation on both sides and says with same() what must be equal.
 */
#ifndef HF_TESTS_CASES_FS_DIFFERENTIAL_H
#define HF_TESTS_CASES_FS_DIFFERENTIAL_H

#include "lib/fs_world.h"

#define FILES 8 /* open at one time, per process */

struct pair {
    int ours;
    int kernels;
};

struct player {
    struct fs_world *world;
    hf_fs *fs;
    uint64_t seed;
    uint64_t random;
    int number; /* which of the two this is */
    bool verbose;
    struct pair files[FILES];
    int file_count;
    int step;
    const char *what;
    char what_text[80];
    char path[200]; /* for the kernel */
    char our_path[240];
};

/* A random number below @limit. */
unsigned below(struct player *player, unsigned limit);

/* The result of a system call as ours are. */
long kernel(long result);

/* End the test unless both are equal. */
void same(const struct player *player, long ours, long kernels);
void same_attributes(const struct player *player, const struct stat *ours,
                     const struct stat *kernels);

/* Open the path in both; what is open is kept, if need be in place of another. */
void open_both(struct player *player, int flags);
void keep_pair(struct player *player, struct pair pair);

/* fs_differential_data.c: operations on data and descriptors. */
#define DATA_STEPS 12
void step_on_data(struct player *player, unsigned which);

#endif
