/*
 * A temporary folder of a test's own. A test that passes empties it, which is checked; one that
 * fails is left in the middle, and what it made goes when its process ends.
 */
#ifndef HF_TESTS_LIB_FOLDER_H
#define HF_TESTS_LIB_FOLDER_H

#include <stddef.h>

/* Enough for what folder_make() writes. */
#define FOLDER_PATH_BYTES 64

/* In /tmp. Return: 0, or -1 without a folder. */
int folder_make(char path[FOLDER_PATH_BYTES]);

/* The same below @parent. */
int folder_make_in(const char *parent, char path[FOLDER_PATH_BYTES]);

/* A parent for folders that many small files come and go in: in memory if there is such a one. */
const char *folder_fast_parent(void);

/* Return: 0, or -1 when something is left in it (or it is not there). */
int folder_remove(const char *path);

#endif
