/*
 * What operations cost: what the files of that test share.
 */
#ifndef HF_TESTS_CASES_FS_MESSAGES_H
#define HF_TESTS_CASES_FS_MESSAGES_H

#include "lib/fs_world.h"

struct cached {
    hf_fs *fs;
    int file; /* read and write */
    int log;  /* append */
    int directory;
};

/* Two files and a link in "a/b", open. */
void cached_open(struct fs_world *world, struct cached *cached);

void again_set_xattr(struct cached *cached);
void again_get_xattr(struct cached *cached);

/* "tree" with so many files that nobody else has looked at yet. */
void make_tree(const struct fs_world *world, unsigned count);

/* Look at each in the order of the listing. Return: how many that are. */
unsigned walk_in_order(hf_fs *fs);

/* fs_messages_calls.c */
void test_system_calls(void **state);

#endif
