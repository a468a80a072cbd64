/*
 * The direct backend: directories of the host, reached by system calls of the client itself.
 *
 * The host has the truth. It is asked with one component at a time, relative to a descriptor of
 * the directory, and never follows a link; so nothing that happens to the tree beside us can
 * lead out of it.
 */
#ifndef HF_MOUNTS_DIRECT_DIRECT_H
#define HF_MOUNTS_DIRECT_DIRECT_H

#include "fs/backend.h"

#include <limits.h>

/* @number: the same for this backend in all clients. Free it with its destroy(). Return: 0,
 * -ENOMEM. */
int direct_backend_new(uint32_t number, struct backend **out);

/* The absolute path of a directory of the host, as all processes may know it. Return: 0, or what
 * realpath() says. */
int direct_canonical_source(const char *source, char path[PATH_MAX]);

#endif
