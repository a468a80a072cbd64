/*
 * What the steps of the differential test share. A step chooses numbers with below(), does one
 * operation on both sides and says with same() what must be equal.
 */
#ifndef HF_TESTS_CASES_FS_DIFFERENTIAL_H
#define HF_TESTS_CASES_FS_DIFFERENTIAL_H

#include "lib/fs_world.h"

#include <limits.h>

#define FILES 8 /* open at one time, per process */
#define PATH_SIZE 200
#define TIMES_SET 1000 /* times below this many seconds were set by a step */

/* Paths start deep in both trees, so that none climbs out of the kernel's: each component goes
 * up one level at most, there are at most four, and they start at this directory or below. */
#define DEEP "1/2/3/4/5/6/7/8/9"

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
    char path[PATH_SIZE];
    char second[PATH_SIZE]; /* for operations with two */
    char start[PATH_MAX];   /* the kernel's directory that is DEEP */
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

/* Some links stay what they are, so that paths cannot climb further than they are meant to. */
bool ends_in_link(const char *path);

/* Is this path the kernel's, and of something that cannot be opened here? */
bool is_special(const char *path);

/* fs_differential_names.c: operations on names and attributes. */
#define NAME_STEPS 24
void step_on_names(struct player *player, unsigned which);

/* Compare the working directories, and go back to DEEP from one that is not below it. */
void go_home_if_lost(struct player *player);

/* fs_differential_data.c: operations on data and descriptors. */
#define DATA_STEPS 12
void step_on_data(struct player *player, unsigned which);

#endif
