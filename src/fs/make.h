/*
 * Making an entry of a directory where there is none: what mkdir, mknod, symlink and link have
 * in common.
 */
#ifndef HF_FS_MAKE_H
#define HF_FS_MAKE_H

#include <stdbool.h>

struct hf_fs;
struct walk;

/* Make the walk's last name in its directory, which is held EXCLUSIVE, has no such entry and may
 * be written, and tell its cache so with inode_entry_made() or inode_entry_set(). */
typedef int make_function(const struct walk *walk, const void *context);

/* Call @make for the last component of @path. @slashes: it may have slashes behind it.
 * Return: what @make did, or -EEXIST, -ENOENT or what walk_begin() and a lookup say. */
int make_entry(struct hf_fs *fs, int at, const char *path, bool slashes, make_function *make,
               const void *context);

#endif
