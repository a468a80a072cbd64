/*
 * The extended attributes that are known of one inode: values of the user's, and the list of
 * names. Nothing in here locks.
 *
 * Only `user.` values are kept: others depend on more than the inode, such as the privileges of
 * the process. Large values are not kept at all.
 */
#ifndef HF_FS_XATTR_CACHE_H
#define HF_FS_XATTR_CACHE_H

#include "fs/budget.h"

#include <stdint.h>
#include <sys/types.h>

/* The most bytes, names and values, that are kept of one inode. */
#define XATTR_CACHE_BYTES 4096

struct xattr_entry;

struct xattr_cache {
    struct budget *budget; /* takes what all of this takes */
    uint64_t epoch;        /* of the inode's handle, when it was filled; 0: nothing is known */
    struct xattr_entry *entries;
    size_t bytes;
};

void xattr_cache_init(struct xattr_cache *cache, struct budget *budget);
void xattr_cache_deinit(struct xattr_cache *cache);

/* Forget all that is not from @epoch. */
void xattr_cache_validate(struct xattr_cache *cache, uint64_t epoch);

/* Forget everything when next validated. */
static inline void xattr_cache_expire(struct xattr_cache *cache)
{
    cache->epoch = 0;
}

/* May the value of @name be kept? */
bool xattr_cache_takes(const char *name);

/* What is known of @name, or of the list for NULL. Return: the size with *value, -ENODATA when
 * it is known not to exist, -EAGAIN when nothing is known. */
ssize_t xattr_cache_find(const struct xattr_cache *cache, const char *name, const void **value);

/* Remember a value, or for a NULL name the list; @size < 0: there is no such attribute. Does
 * nothing without memory or room. The name is not known yet. */
void xattr_cache_add(struct xattr_cache *cache, const char *name, const void *value, ssize_t size);

#endif
