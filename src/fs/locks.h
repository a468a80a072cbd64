/*
 * File locks: whose they are, and when they end.
 *
 * POSIX record locks belong to the process, which is this filesystem object, and end when any
 * descriptor of the file is closed. The others belong to the open file: while that is PRIVATE they
 * are this client's, and its last close gives them up; when it becomes SHARED they are the server's to
 * know, which gives them up when no process has the open file's handle any more.
 *
 * Open files of pipes and devices are never SHARED: after a fork the child's has locks of its own.
 */
#ifndef HF_FS_LOCKS_H
#define HF_FS_LOCKS_H

#include "fs/open_file.h"
#include "locks/client.h"

/* A descriptor of @file was closed, and is no longer in the table. */
void locks_descriptor_closed(struct open_file *file);

/* The last reference to @file is gone. */
void locks_file_closed(struct open_file *file);

/* @file has just become SHARED, in this process only so far. Return: 0, -ENOTCONN. */
int locks_file_shared(struct open_file *file);

/* lock_path.c: the path of an open file, or as much of its end as is known or fits. */
void lock_path_find(const struct open_file *file, char out[LOCK_PATH_MAX + 1]);

#endif
