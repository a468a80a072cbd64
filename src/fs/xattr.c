/*
 * Extended attributes. The inode's handle covers them: SHARED to look, EXCLUSIVE to change.
 */
#include "fs/filesystem.h"
#include "fs/io.h"
#include "fs/walk.h"

#include <errno.h>
#include <limits.h>
#include <linux/xattr.h>
#include <string.h>

/* What may be done to an inode; the name is checked already. */
struct xattr_request {
    const char *name; /* NULL: all names */
    void *value;
    const void *new_value;
    size_t size;
    int flags;
    bool changes;
};

typedef ssize_t xattr_operation(struct inode *inode, const struct xattr_request *request);

/* ---- looking ---- */

static ssize_t ask_backend(struct inode *inode, const char *name, void *value, size_t size)
{
    const struct backend_ops *ops = inode->backend->ops;
    if (name == NULL) {
        return ops->list_xattrs(inode->backend, inode->backend_node, value, size);
    }
    return ops->get_xattr(inode->backend, inode->backend_node, name, value, size);
}

/* As the system call gives it to its caller. */
static ssize_t give(const struct inode *inode, const struct xattr_request *request,
                    const void *value, ssize_t size)
{
    if (size <= 0 || request->size == 0) {
        return size;
    }
    if ((size_t)size > request->size) {
        return -ERANGE;
    }
    int result = fs_give(inode->fs, request->value, value, (size_t)size);
    return result < 0 ? result : size;
}

/* With the mutex, the inode held. */
static ssize_t look_in_cache(struct inode *inode, const struct xattr_request *request)
{
    const void *value;
    char buffer[XATTR_CACHE_BYTES];

    xattr_cache_validate(&inode->xattrs, hf_sync_epoch(inode->handle));
    ssize_t size = xattr_cache_find(&inode->xattrs, request->name, &value);
    if (size == -EAGAIN) {
        size = ask_backend(inode, request->name, buffer, sizeof buffer);
        if (size == -ERANGE) {
            return -EAGAIN; /* too large to be kept */
        }
        if (size >= 0 || size == -ENODATA) {
            xattr_cache_add(&inode->xattrs, request->name, buffer, size);
        }
        value = buffer;
    }
    return give(inode, request, value, size);
}

static ssize_t look(struct inode *inode, const struct xattr_request *request)
{
    ssize_t result = -EAGAIN;

    int acquired = inode_acquire(inode, HF_SHARED);
    if (acquired < 0) {
        return acquired;
    }
    if (!inode_is_checked(inode) && (request->name == NULL || xattr_cache_takes(request->name))) {
        pthread_mutex_lock(&inode->mutex);
        result = look_in_cache(inode, request);
        pthread_mutex_unlock(&inode->mutex);
    }
    if (result == -EAGAIN) {
        result = ask_backend(inode, request->name, request->value, request->size);
    }
    return first_error(result, inode_release(inode));
}

/* ---- changing ---- */

/* The caller holds the inode EXCLUSIVE. */
static void note_change(struct inode *inode, const char *name)
{
    inode_attributes_changed(inode);
    if (inode->type == S_IFDIR && !xattr_cache_takes(name)) {
        /* An access list says who may search it. */
        inode_search_changed(inode);
    }
}

static ssize_t set(struct inode *inode, const struct xattr_request *request)
{
    struct backend *backend = inode->backend;
    int result = inode_acquire(inode, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = backend->ops->set_xattr(backend,
                                     inode->backend_node,
                                     request->name,
                                     request->new_value,
                                     request->size,
                                     request->flags);
    if (result == 0) {
        note_change(inode, request->name);
    }
    return first_error(result, inode_release(inode));
}

static ssize_t remove_one(struct inode *inode, const struct xattr_request *request)
{
    struct backend *backend = inode->backend;
    int result = inode_acquire(inode, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = backend->ops->remove_xattr(backend, inode->backend_node, request->name);
    if (result == 0) {
        note_change(inode, request->name);
    }
    return first_error(result, inode_release(inode));
}

/* ---- by path and by descriptor ---- */

static ssize_t at_path(struct hf_fs *fs, const char *path, bool follow, xattr_operation *operation,
                       const struct xattr_request *request)
{
    struct place place;
    int found = walk_to_place(fs, HF_AT_FDCWD, path, follow ? WALK_FOLLOW : 0, &place);
    if (found < 0) {
        return found;
    }
    ssize_t result = request->changes ? mount_check_writable(place.mount) : 0;
    if (result == 0) {
        result = operation(place.inode, request);
    }
    inode_unref(place.inode);
    return result;
}

static ssize_t at_file(struct hf_fs *fs, int fd, xattr_operation *operation,
                       const struct xattr_request *request)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    ssize_t result = request->changes ? mount_check_writable(file->mount) : 0;
    if (result == 0) {
        result = open_file_give_node(file);
    }
    if (result == 0) {
        result = operation(file->inode, request);
    }
    open_file_put(fs, fd, file);
    return result;
}

static int check_name(const struct hf_fs *fs, const char *name)
{
    if (name == NULL ||
        (fs->check_pointers && user_memory_check_string(name, XATTR_NAME_MAX + 1) < 0)) {
        return -EFAULT;
    }
    const size_t length = strnlen(name, XATTR_NAME_MAX + 1);
    return length == 0 || length > XATTR_NAME_MAX ? -ERANGE : 0;
}

static int check_new(const struct hf_fs *fs, const struct xattr_request *request)
{
    if ((request->flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) {
        return -EINVAL;
    }
    int result = check_name(fs, request->name);
    if (result == 0 && request->size > XATTR_SIZE_MAX) {
        result = -E2BIG;
    }
    return result;
}

ssize_t fs_get_xattr(struct hf_fs *fs, const char *path, bool follow, const char *name, void *value,
                     size_t size)
{
    const struct xattr_request request = {.name = name, .value = value, .size = size};
    int result = check_name(fs, name);
    return result < 0 ? result : at_path(fs, path, follow, look, &request);
}

ssize_t fs_get_xattr_of_file(struct hf_fs *fs, int fd, const char *name, void *value, size_t size)
{
    const struct xattr_request request = {.name = name, .value = value, .size = size};
    int result = check_name(fs, name);
    return result < 0 ? result : at_file(fs, fd, look, &request);
}

int fs_set_xattr(struct hf_fs *fs, const char *path, bool follow, const char *name,
                 const void *value, size_t size, int flags)
{
    const struct xattr_request request = {
        .name = name, .new_value = value, .size = size, .flags = flags, .changes = true};
    int result = check_new(fs, &request);
    return result < 0 ? result : (int)at_path(fs, path, follow, set, &request);
}

int fs_set_xattr_of_file(struct hf_fs *fs, int fd, const char *name, const void *value, size_t size,
                         int flags)
{
    const struct xattr_request request = {
        .name = name, .new_value = value, .size = size, .flags = flags, .changes = true};
    int result = check_new(fs, &request);
    return result < 0 ? result : (int)at_file(fs, fd, set, &request);
}

ssize_t fs_list_xattrs(struct hf_fs *fs, const char *path, bool follow, char *names, size_t size)
{
    const struct xattr_request request = {.value = names, .size = size};
    return at_path(fs, path, follow, look, &request);
}

ssize_t fs_list_xattrs_of_file(struct hf_fs *fs, int fd, char *names, size_t size)
{
    const struct xattr_request request = {.value = names, .size = size};
    return at_file(fs, fd, look, &request);
}

int fs_remove_xattr(struct hf_fs *fs, const char *path, bool follow, const char *name)
{
    const struct xattr_request request = {.name = name, .changes = true};
    int result = check_name(fs, name);
    return result < 0 ? result : (int)at_path(fs, path, follow, remove_one, &request);
}

int fs_remove_xattr_of_file(struct hf_fs *fs, int fd, const char *name)
{
    const struct xattr_request request = {.name = name, .changes = true};
    int result = check_name(fs, name);
    return result < 0 ? result : (int)at_file(fs, fd, remove_one, &request);
}
