/*
 * Attributes, link targets and entries: what is cached of an inode while its handle is held.
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

/* With the mutex, or under EXCLUSIVE. */
static int fill_attributes(struct inode *inode, uint64_t epoch)
{
    int result = inode->backend->ops->get_attributes(
        inode->backend, inode->backend_node, &inode->attributes);
    if (result < 0) {
        return result;
    }
    inode->size = inode->attributes.st_size;
    inode->size_epoch = epoch;
    atomic_store_explicit(&inode->attributes_epoch, epoch, memory_order_release);
    return 0;
}

int inode_get_attributes(struct inode *inode, struct stat *out)
{
    if (inode->backend->is_checked) {
        return inode->backend->ops->get_attributes(inode->backend, inode->backend_node, out);
    }
    const uint64_t epoch = hf_sync_epoch(inode->handle);
    if (atomic_load_explicit(&inode->attributes_epoch, memory_order_acquire) != epoch) {
        int result = 0;
        pthread_mutex_lock(&inode->mutex);
        if (atomic_load_explicit(&inode->attributes_epoch, memory_order_relaxed) != epoch) {
            result = fill_attributes(inode, epoch);
        }
        pthread_mutex_unlock(&inode->mutex);
        if (result < 0) {
            return result;
        }
    }
    *out = inode->attributes;
    return 0;
}

int inode_get_size(struct inode *inode, off_t *size)
{
    const uint64_t epoch = hf_sync_epoch(inode->handle);
    if (inode->size_epoch != epoch || inode->backend->is_checked) {
        int result = fill_attributes(inode, epoch);
        if (result < 0) {
            return result;
        }
    }
    *size = inode->size;
    return 0;
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
    directory_flush(&directory->entries);
    pthread_mutex_unlock(&directory->mutex);
}

void inode_removed(struct inode *inode)
{
    atomic_store_explicit(&inode->removed, true, memory_order_relaxed);
    /* A removed directory has no entries, not even `.`; only the backend can say so. */
    inode_search_changed(inode);
}

int inode_link_target(struct inode *inode, const char **target)
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
        atomic_store_explicit(&inode->link_target, known, memory_order_release);
    }
    pthread_mutex_unlock(&inode->mutex);
    *target = known;
    return result;
}

/* Ask the backend. With the mutex. */
static int look_up_at_backend(struct inode *directory, const char *name, struct inode **child,
                              mode_t *mode)
{
    struct backend *backend = directory->backend;
    struct stat attributes;
    intptr_t node;
    int result = backend->ops->lookup(backend, directory->backend_node, name, &node, &attributes);
    if (result < 0) {
        return result;
    }
    *mode = attributes.st_mode;
    return inode_get(directory->fs, backend, node, &attributes, child);
}

/* With the mutex. */
static int look_up(struct inode *directory, const char *name, size_t length, struct inode **child)
{
    struct directory *entries = &directory->entries;
    const bool ask = directory->backend->is_checked;
    const struct dentry *dentry = ask ? NULL : directory_find(entries, name, length);

    if (dentry != NULL && dentry->kind == DENTRY_PRESENT) {
        *child = inode_ref(dentry->inode);
        return 0;
    }
    if (dentry != NULL ? dentry->kind == DENTRY_ABSENT
                       : entries->complete && entries->searchable && !ask) {
        return -ENOENT;
    }
    mode_t mode;
    char name_with_end[NAME_MAX + 1];
    memcpy(name_with_end, name, length);
    name_with_end[length] = '\0';

    int result = look_up_at_backend(directory, name_with_end, child, &mode);
    if (result == 0) {
        entries->searchable = true;
        directory_set_present(entries, name, length, *child);
    } else if (result == -ENOENT) {
        entries->searchable = true;
        directory_set_absent(entries, name, length);
    }
    return result;
}

int inode_lookup(struct inode *directory, const char *name, size_t length, struct inode **child)
{
    if (length > NAME_MAX) {
        return -ENAMETOOLONG;
    }
    pthread_mutex_lock(&directory->mutex);
    directory_validate(&directory->entries, hf_sync_epoch(directory->handle));
    int result = look_up(directory, name, length, child);
    pthread_mutex_unlock(&directory->mutex);
    if (result == 0 && !atomic_load_explicit(&(*child)->recently_used, memory_order_relaxed)) {
        atomic_store_explicit(&(*child)->recently_used, true, memory_order_relaxed);
    }
    return result;
}

void inode_restore_mode(struct inode *directory, intptr_t node, mode_t mode, mode_t made)
{
    struct backend *backend = directory->backend;
    const mode_t missing = mode & ~made & 0777;
    if (missing != 0) {
        backend->ops->restore_mode(
            backend, directory->backend_node, node, (made | missing) & 07777);
    }
}

int inode_entry_made(struct inode *directory, const char *name, mode_t mode, struct inode **child)
{
    const size_t length = strlen(name);
    mode_t made;

    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    directory_validate(&directory->entries, hf_sync_epoch(directory->handle));
    int result = look_up_at_backend(directory, name, child, &made);
    if (result == 0) {
        directory->entries.searchable = true;
        directory_set_present(&directory->entries, name, length, *child);
    } else {
        directory_forget(&directory->entries, name, length);
    }
    pthread_mutex_unlock(&directory->mutex);
    /* Nobody can look at it before the directory is released. */
    if (result == 0 && (*child)->type != S_IFLNK) {
        inode_restore_mode(directory, (*child)->backend_node, mode, made);
    }
    return result;
}

void inode_entry_set(struct inode *directory, const char *name, struct inode *child)
{
    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    directory_validate(&directory->entries, hf_sync_epoch(directory->handle));
    directory_set_present(&directory->entries, name, strlen(name), child);
    pthread_mutex_unlock(&directory->mutex);
}

void inode_entry_removed(struct inode *directory, const char *name)
{
    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    directory_validate(&directory->entries, hf_sync_epoch(directory->handle));
    directory_set_absent(&directory->entries, name, strlen(name));
    pthread_mutex_unlock(&directory->mutex);
}

void inode_entry_unknown(struct inode *directory, const char *name)
{
    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    directory_forget(&directory->entries, name, strlen(name));
    pthread_mutex_unlock(&directory->mutex);
}

static int add_listed_entry(void *context, const char *name, ino_t number, unsigned char type)
{
    struct directory *entries = context;
    if (strcmp(name, "..") == 0) {
        entries->parent_number = number;
        return 0;
    }
    return directory_add_listed(entries, name, number, type);
}

/* With the mutex: list the directory unless that has been done. */
static int complete_entries(struct inode *directory, intptr_t file)
{
    struct directory *entries = &directory->entries;
    directory_validate(entries, hf_sync_epoch(directory->handle));
    if (entries->complete) {
        return 0;
    }
    int result = directory->backend->ops->list(directory->backend, file, add_listed_entry, entries);
    if (result == 0) {
        directory_set_complete(entries);
    }
    return result;
}

/* With the mutex: the same, without a file that is open. */
static int complete_entries_by_node(struct inode *directory)
{
    struct backend *backend = directory->backend;
    intptr_t file;
    int result =
        backend->ops->open(backend, directory->backend_node, ".", O_RDONLY | O_DIRECTORY, &file);
    if (result == 0) {
        result = complete_entries(directory, file);
        backend->ops->close(backend, file);
    }
    return result;
}

/* With the mutex: which entry is @child? */
static int find_name(struct inode *directory, const struct inode *child, char *name)
{
    struct inode *found;
    if (directory->backend->is_checked) {
        directory_flush(&directory->entries);
        directory_validate(&directory->entries, hf_sync_epoch(directory->handle));
    }
    const struct dentry *dentry = directory_find_inode(&directory->entries, child);
    if (dentry == NULL && !directory->entries.complete) {
        int result = complete_entries_by_node(directory);
        if (result < 0) {
            return result;
        }
        dentry = directory_find_inode(&directory->entries, child);
    }
    if (dentry == NULL) {
        return -ENOENT;
    }
    const size_t length = dentry->length;
    memcpy(name, dentry->name, length + 1);
    int result = look_up(directory, name, length, &found);
    if (result == 0) {
        result = found == child ? 0 : -ENOENT;
        inode_unref(found);
    }
    return result;
}

int inode_entry_name(struct inode *directory, const struct inode *child, char name[NAME_MAX + 1])
{
    pthread_mutex_lock(&directory->mutex);
    directory_validate(&directory->entries, hf_sync_epoch(directory->handle));
    int result = find_name(directory, child, name);
    pthread_mutex_unlock(&directory->mutex);
    return result;
}

static void fill_dirent(hf_dirent *out, const char *name, ino_t number, unsigned char type,
                        off_t position)
{
    const size_t length = strlen(name);
    assert(length < sizeof out->name);
    *out = (hf_dirent){.ino = number, .position = position + 1, .type = type};
    memcpy(out->name, name, length + 1);
}

int inode_read_entry(struct inode *directory, intptr_t file, off_t position, hf_dirent *out)
{
    const struct dentry *dentry;

    pthread_mutex_lock(&directory->mutex);
    if (position == 0 && directory->backend->is_checked) {
        directory_flush(&directory->entries); /* each pass begins with what is there now */
    }
    int result = complete_entries(directory, file);
    if (result == 0 && position >= DIRECTORY_FIRST_POSITION) {
        result = directory_entry_at(&directory->entries, position, &dentry);
        if (result > 0) {
            fill_dirent(out, dentry->name, dentry->number, dentry->type, dentry->position);
        }
    }
    const ino_t parent_number = directory->entries.parent_number;
    pthread_mutex_unlock(&directory->mutex);
    if (result < 0 || position >= DIRECTORY_FIRST_POSITION) {
        return result;
    }
    if (position == 0) {
        fill_dirent(out, ".", directory->number, DT_DIR, position);
        return 1;
    }
    struct inode *parent;
    result = inode_parent_held(directory, &parent);
    if (result == -EACCES) {
        /* It may be read, but not searched. */
        fill_dirent(out, "..", parent_number, DT_DIR, position);
        return 1;
    }
    if (result < 0) {
        return result;
    }
    fill_dirent(out, "..", parent->number, DT_DIR, position);
    inode_unref(parent);
    return 1;
}
