/*
 * The direct backend: a directory of the host, reached by system calls of the client itself.
 *
 * The host has the truth. It is asked with one component at a time, relative to a descriptor of
 * the directory, and never follows a link; so nothing that happens to the tree beside us can
 * lead out of it.
 */
#ifndef HF_MOUNTS_DIRECT_DIRECT_H
#define HF_MOUNTS_DIRECT_DIRECT_H

#include "fs/backend.h"

/* @number: the same for this backend in all clients. @is_checked: others change the directory
 * without us. Free it with its destroy().
 * Return: 0; -ENOENT, -ENOTDIR, -EACCES, -EMFILE, -ENOMEM, -ENOSYS (no openat2()). */
int direct_backend_new(const char *root, uint32_t number, bool is_checked, struct backend **out);

#endif
