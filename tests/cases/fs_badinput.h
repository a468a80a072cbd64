/*
 * Bad input: the parts of the test, and the two trees that it compares. One is ours, the other a
 * plain directory of the host, which is the working directory of the process.
 */
#ifndef HF_TESTS_FS_BADINPUT_H
#define HF_TESTS_FS_BADINPUT_H

#include "lib/fs_world.h"

#define BADINPUT_CONTENT "0123456789"

/* What the calls are made with, beside what is bad about them. */
struct badinput {
    hf_fs *fs;
    int ours_fd; /* "file", open for reading and writing */
    int theirs_fd;
    int ours_to; /* "other", the same */
    int theirs_to;
    int ours_directory; /* the root, for reading */
    int theirs_directory;
    char *writable; /* a page; behind it are those that are not */
    int failures;
};

/* The result of a system call, as ours are. */
long badinput_kernel(long result);

/* Count a difference, and say so. */
void badinput_compare(struct badinput *bad, const char *what, const char *how, long ours,
                      long theirs);

/* Every pointer of every function, bad in every way. Those that are documented as only read and
 * written here are left out unless @checked: then the hf_fs checks pointers. */
void badinput_try_pointers(struct badinput *bad, bool checked);

/* Descriptors that there are not, and flags that mean nothing. */
void badinput_try_descriptors(struct badinput *bad, int fd, const char *how);
void badinput_try_flags(struct badinput *bad);

#endif
