/*
 * Attributes and link targets: what is cached of an inode while its handle is held.
 *
 * Threads that hold SHARED read attributes without the mutex: attributes_epoch is written
 * after what it vouches for. It is set back under EXCLUSIVE only, when nobody reads.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int inode_acquire(struct inode *inode, hf_mode mode)
{
    if (mode == HF_EXCLUSIVE) {
        client_catch_up(inode->fs->client);
    }
    /* Whether something changed, or who died, is in the epoch: caches look at that. */
    int result = hf_sync_acquire(inode->handle, mode, NULL);
    return result < 0 ? result : 0;
}

int inode_release(struct inode *inode)
{
    return hf_sync_release(inode->handle);
}

int inode_upgrade(struct inode *inode)
{
    int result = hf_sync_upgrade(inode->handle, NULL);
    return result < 0 ? result : 0;
}

static bool comes_before(const struct inode *one, const struct inode *other)
{
    if ((one->type == S_IFDIR) != (other->type == S_IFDIR)) {
        return one->type == S_IFDIR;
    }
    const hf_id left = one->node.id;
    const hf_id right = other->node.id;
    return left.space != right.space ? left.space < right.space : left.object < right.object;
}

int inode_acquire_two(struct inode *one, hf_mode one_mode, struct inode *other, hf_mode other_mode)
{
    if (one == other) {
        return inode_acquire(one, one_mode > other_mode ? one_mode : other_mode);
    }
    const bool one_first = comes_before(one, other);
    struct inode *first = one_first ? one : other;
    int result = inode_acquire(first, one_first ? one_mode : other_mode);
    if (result < 0) {
        return result;
    }
    result = inode_acquire(one_first ? other : one, one_first ? other_mode : one_mode);
    if (result < 0) {
        inode_release(first);
    }
    return result;
}

int inode_release_two(struct inode *one, struct inode *other)
{
    int result = inode_release(one);
    int second = one == other ? 0 : inode_release(other);
    return result < 0 ? result : second;
}

/* ---- attributes ---- */

/* Where a held inode is to be found: with a node, nothing need be said. */
struct finder {
    struct inode *directory; /* held, and has the entry @name; or NULL */
    const char *name;
    intptr_t file; /* if neither: it is open so */
};

/* One that is always asked is asked by its node: that is what it was found by. */
static int ask_for_attributes(const struct inode *inode, const struct finder *finder,
                              struct stat *attributes)
{
    struct backend *backend = inode->backend;
    if (inode_has_node(inode)) {
        return backend->ops->get_attributes(backend, inode->backend_node, attributes);
    }
    if (finder->directory == NULL) {
        return backend->ops->get_attributes_of_file(backend, finder->file, attributes);
    }
    int result = backend->ops->stat_entry(
        backend, finder->directory->backend_node, finder->name, inode->number, attributes);
    return result == 0 && !inode_is(inode, attributes) ? -ESTALE : result;
}

/* With the mutex, or under EXCLUSIVE. */
static void set_attributes(struct inode *inode, const struct stat *attributes, uint64_t epoch)
{
    inode->attributes = *attributes;
    inode->size = attributes->st_size;
    inode->size_epoch = epoch;
    if (attributes->st_nlink > 0) {
        inode_had_name(inode, epoch);
    }
    atomic_store_explicit(&inode->attributes_epoch, epoch, memory_order_release);
}

static bool has_attributes(const struct inode *inode, uint64_t epoch, memory_order order)
{
    return atomic_load_explicit(&inode->attributes_epoch, order) == epoch;
}

void inode_told_attributes(struct inode *inode, const struct stat *attributes)
{
    const uint64_t epoch = hf_sync_epoch(inode->handle);
    pthread_mutex_lock(&inode->mutex);
    if (!has_attributes(inode, epoch, memory_order_relaxed)) {
        set_attributes(inode, attributes, epoch);
    }
    pthread_mutex_unlock(&inode->mutex);
}

static int get_attributes(struct inode *inode, const struct finder *finder, struct stat *out)
{
    const uint64_t epoch = hf_sync_epoch(inode->handle);
    const bool is_believed = !inode_is_checked(inode) && !inode_is_special(inode);
    if (has_attributes(inode, epoch, memory_order_acquire) && is_believed) {
        *out = inode->attributes;
        return 0;
    }
    int result = ask_for_attributes(inode, finder, out);
    if (result == 0 && is_believed) {
        inode_told_attributes(inode, out);
    }
    return result;
}

int inode_get_attributes(struct inode *inode, struct stat *out)
{
    const struct finder nowhere = {.directory = NULL};
    assert(inode_has_node(inode));
    return get_attributes(inode, &nowhere, out);
}

int inode_get_attributes_at(struct inode *inode, struct inode *directory, const char *name,
                            struct stat *out)
{
    const struct finder finder = {.directory = directory, .name = name};
    return get_attributes(inode, &finder, out);
}

int inode_get_attributes_of_file(struct inode *inode, intptr_t file, struct stat *out)
{
    const struct finder finder = {.file = file};
    return get_attributes(inode, &finder, out);
}

int inode_get_size(struct inode *inode, intptr_t file, off_t *size)
{
    struct stat attributes;
    if (inode->size_epoch == hf_sync_epoch(inode->handle)) {
        *size = inode->size;
        return 0;
    }
    int result = inode_get_attributes_of_file(inode, file, &attributes);
    *size = attributes.st_size;
    return result;
}

void inode_attributes_changed(struct inode *inode)
{
    atomic_store_explicit(&inode->attributes_epoch, 0, memory_order_relaxed);
    /* Writing takes away some, and a mode may be one too. */
    xattr_cache_expire(&inode->xattrs);
}

void inode_grew(struct inode *inode, off_t end)
{
    inode_attributes_changed(inode);
    if (inode->size < end) {
        inode->size = end;
    }
}

void inode_resized(struct inode *inode, off_t size)
{
    inode_attributes_changed(inode);
    inode->size = size;
    inode->size_epoch = hf_sync_epoch(inode->handle);
}

void inode_size_changed(struct inode *inode)
{
    inode_attributes_changed(inode);
    inode->size_epoch = 0;
}

void inode_search_changed(struct inode *directory)
{
    pthread_mutex_lock(&directory->mutex);
    directory_flush(directory->entries);
    pthread_mutex_unlock(&directory->mutex);
}

void inode_removed(struct inode *inode)
{
    atomic_store_explicit(&inode->removed, true, memory_order_relaxed);
    if (inode->type == S_IFDIR) {
        /* A removed directory has no entries, not even `.`; only the backend can say so. */
        inode_search_changed(inode);
    }
}

/* It is read or followed, which moves its time of access, as relatime says. */
static int note_link_use(struct inode *link)
{
    struct backend *backend = link->backend;
    if (backend->link_use_changes == NULL) {
        return 0;
    }
    int result = inode_acquire(link, HF_SHARED);
    if (result == 0 && backend->link_use_changes(backend, link->backend_node)) {
        result = inode_upgrade(link);
        if (result == 0) {
            inode_attributes_changed(link);
            backend->link_used(backend, link->backend_node);
        }
    }
    return result < 0 ? result : inode_release(link);
}

static int get_link_target(struct inode *inode, const char **target)
{
    int result = 0;
    char *known = atomic_load_explicit(&inode->link_target, memory_order_acquire);
    if (known != NULL) {
        *target = known;
        return 0;
    }
    char buffer[PATH_MAX];
    pthread_mutex_lock(&inode->mutex);
    known = atomic_load_explicit(&inode->link_target, memory_order_relaxed);
    if (known == NULL) {
        ssize_t length = inode->backend->ops->read_link(
            inode->backend, inode->backend_node, buffer, sizeof buffer - 1);
        if (length < 0) {
            result = (int)length;
        } else {
            known = strndup(buffer, (size_t)length);
            result = known == NULL ? -ENOMEM : 0;
        }
        if (known != NULL) {
            budget_take(&inode->fs->bytes, budget_bytes(strlen(known) + 1));
        }
        atomic_store_explicit(&inode->link_target, known, memory_order_release);
    }
    pthread_mutex_unlock(&inode->mutex);
    *target = known;
    return result;
}

int inode_link_target(struct inode *inode, const char **target)
{
    assert(inode_has_node(inode));
    const int result = note_link_use(inode);
    return result < 0 ? result : get_link_target(inode, target);
}
