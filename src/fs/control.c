/* Descriptors and flags: what changes neither a file nor a name. */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/locks.h"
#include "fs/open_file.h"
#include "fs/open_flags.h"
#include "fs/special.h"

#include <errno.h>

int open_flags_check(int flags)
{
    if ((flags & ~OPEN_FLAGS) != 0) {
        return -EINVAL;
    }
    if ((flags & O_PATH) != 0) {
        return flags & OPEN_PATH_FLAGS;
    }
    if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY)) {
        return -EINVAL;
    }
    if ((flags & OPEN_UNNAMED) != 0 &&
        ((flags & O_DIRECTORY) == 0 || (flags & O_ACCMODE) == O_RDONLY)) {
        return -EINVAL;
    }
    /* The bit that O_SYNC has besides O_DSYNC means both. */
    if ((flags & O_SYNC & ~O_DSYNC) != 0) {
        flags |= O_DSYNC;
    }
    return flags & ~(O_NOCTTY | O_ASYNC | O_LARGEFILE);
}

/* The descriptor is closed in any case, as Linux has it. */
int fs_close(struct hf_fs *fs, int fd)
{
    struct descriptor_rest before;
    int result = descriptors_clear(&fs->descriptors, fd, &before);
    if (result == 0) {
        struct open_file *file = before.file;
        struct backend *backend = file->inode->backend;
        if (backend->ops->flush != NULL && file->backend_file != BACKEND_NO_FILE) {
            result = backend->ops->flush(backend, file->backend_file);
        }
        locks_descriptor_closed(file);
        open_file_drop(before.file, before.references);
    }
    return result;
}

/* ---- copies of descriptors ---- */

int fs_duplicate(struct hf_fs *fs, int fd, int minimum, bool close_on_exec)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int copy = -EINVAL;
    if (minimum >= 0 && minimum < HF_FS_DESCRIPTORS_MAX) {
        copy = descriptors_reserve(&fs->descriptors, minimum);
    }
    if (copy >= 0) {
        atomic_fetch_add_explicit(&file->references, 1, memory_order_relaxed);
        open_file_fill(file, copy, close_on_exec);
    }
    open_file_put(fs, fd, file);
    return copy;
}

int fs_duplicate_to(struct hf_fs *fs, int fd, int copy, bool close_on_exec)
{
    struct descriptor_rest before = {.file = NULL};
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    if (copy == fd) {
        open_file_put(fs, fd, file);
        return copy;
    }
    atomic_fetch_add_explicit(&file->references, DESCRIPTOR_REFERENCES, memory_order_relaxed);
    int result = descriptors_replace(&fs->descriptors, copy, file, close_on_exec, &before);
    if (result < 0) {
        open_file_drop(file, DESCRIPTOR_REFERENCES);
    } else if (before.file != NULL) {
        locks_descriptor_closed(before.file);
        open_file_drop(before.file, before.references);
    }
    open_file_put(fs, fd, file);
    return result < 0 ? result : copy;
}

/* ---- status flags ---- */

static int get_status(struct open_file *file)
{
    struct backend *backend = file->inode->backend;
    int flags = 0;
    int result = 0;
    if (!open_file_is_path(file) && open_file_is_special(file)) {
        result = backend->ops->get_special_status(backend, file->backend_file);
        flags = result & OPEN_FILE_STATUS;
    } else if (!open_file_is_path(file)) {
        result = open_file_get_flags(file, &flags);
    }
    return result < 0 ? result : (file->access_mode | file->open_flags | flags);
}

static int set_status(struct open_file *file, int flags)
{
    struct backend *backend = file->inode->backend;

    if (open_file_is_special(file)) {
        return backend->ops->set_special_status(
            backend, file->backend_file, flags & OPEN_FILE_STATUS);
    }
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    const int status = flags & OPEN_FILE_STATUS;
    const bool changed = status != file->flags;
    if (((status ^ file->flags) & (O_DIRECT | O_NOATIME)) != 0) {
        result =
            backend->ops->set_status(backend, file->backend_file, status & (O_DIRECT | O_NOATIME));
    }
    if (result == 0) {
        file->flags = status;
    }
    int released = open_file_unlock(file, result == 0 && changed);
    return result < 0 ? result : released;
}

int fs_get_status(struct hf_fs *fs, int fd)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = get_status(file);
    open_file_put(fs, fd, file);
    return result;
}

int fs_set_status(struct hf_fs *fs, int fd, int flags)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = set_status(file, flags);
    open_file_put(fs, fd, file);
    return result;
}

int fs_host_descriptor(struct hf_fs *fs, int fd)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    struct backend *backend = file->inode->backend;
    int result = -EINVAL;
    if (open_file_is_special(file)) {
        result = backend->ops->host_descriptor(backend, file->backend_file);
    }
    open_file_put(fs, fd, file);
    return result;
}

int fs_check_control(struct hf_fs *fs, int fd)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    open_file_put(fs, fd, file);
    return -EINVAL;
}
