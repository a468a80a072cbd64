/*
 * Reading and writing open files. Each operation locks what it moves: the open file first, if
 * its offset is used, then the inode.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/open_file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

/* What Linux transfers in one call at most. */
#define IO_SIZE_MAX ((size_t)0x7ffff000)

static size_t bounded(size_t size)
{
    return size < IO_SIZE_MAX ? size : IO_SIZE_MAX;
}

/* An error while letting go counts only if the operation itself went well. */
static ssize_t first_error(ssize_t result, int released)
{
    return result < 0 || released == 0 ? result : released;
}

/* ---- the data ---- */

static ssize_t read_data(struct open_file *file, void *buffer, size_t size, off_t offset)
{
    struct inode *inode = file->inode;
    int acquired = inode_acquire(inode, HF_SHARED);
    if (acquired < 0) {
        return acquired;
    }
    ssize_t done = inode->mount->ops->read(inode->mount, file->mount_file, buffer, size, offset);
    return first_error(done, inode_release(inode));
}

/* Write at *offset, or with O_APPEND in @flags at the end: then *offset says where that was. */
static ssize_t write_data(struct open_file *file, int flags, const void *buffer, size_t size,
                          off_t *offset)
{
    struct inode *inode = file->inode;
    int acquired = inode_acquire(inode, HF_EXCLUSIVE);
    if (acquired < 0) {
        return acquired;
    }
    ssize_t done = 0;
    if ((flags & O_APPEND) != 0) {
        done = inode_get_size(inode, offset);
    }
    if (done == 0) {
        done = inode->mount->ops->write(inode->mount, file->mount_file, buffer, size, *offset);
    }
    if (done > 0) {
        inode_grew(inode, *offset + done);
    }
    return first_error(done, inode_release(inode));
}

static bool is_open_for(const struct open_file *file, int access_mode)
{
    return file->access_mode == O_RDWR || file->access_mode == access_mode;
}

static ssize_t check_readable(const struct open_file *file)
{
    if (!is_open_for(file, O_RDONLY)) {
        return -EBADF;
    }
    return file->inode->type == S_IFDIR ? -EISDIR : 0;
}

/* ---- at the offset ---- */

static ssize_t read_and_move(struct open_file *file, void *buffer, size_t size)
{
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    ssize_t done = read_data(file, buffer, bounded(size), file->offset);
    if (done > 0) {
        file->offset += done;
    }
    return first_error(done, open_file_unlock(file, done > 0));
}

ssize_t fs_read(struct hf_fs *fs, int fd, void *buffer, size_t size)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    ssize_t result = check_readable(file);
    if (result == 0 && size > 0) {
        result = read_and_move(file, buffer, size);
    }
    open_file_put(fs, fd);
    return result;
}

static ssize_t write_and_move(struct open_file *file, const void *buffer, size_t size)
{
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    off_t offset = file->offset;
    ssize_t done = write_data(file, file->flags, buffer, bounded(size), &offset);
    if (done > 0) {
        file->offset = offset + done;
    }
    return first_error(done, open_file_unlock(file, done > 0));
}

ssize_t fs_write(struct hf_fs *fs, int fd, const void *buffer, size_t size)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    ssize_t result = is_open_for(file, O_WRONLY) ? 0 : -EBADF;
    if (result == 0 && size > 0) {
        result = write_and_move(file, buffer, size);
    }
    open_file_put(fs, fd);
    return result;
}

/* ---- at a place ---- */

ssize_t fs_read_at(struct hf_fs *fs, int fd, void *buffer, size_t size, off_t offset)
{
    if (offset < 0) {
        return -EINVAL;
    }
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    ssize_t result = check_readable(file);
    if (result == 0 && size > 0) {
        result = read_data(file, buffer, bounded(size), offset);
    }
    open_file_put(fs, fd);
    return result;
}

ssize_t fs_write_at(struct hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset)
{
    if (offset < 0) {
        return -EINVAL;
    }
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int flags = 0;
    ssize_t result = is_open_for(file, O_WRONLY) ? 0 : -EBADF;
    if (result == 0 && size > 0) {
        result = open_file_get_flags(file, &flags);
    }
    if (result == 0 && size > 0) {
        result = write_data(file, flags, buffer, bounded(size), &offset);
    }
    open_file_put(fs, fd);
    return result;
}

/* ---- the offset ---- */

static int size_of(struct inode *inode, off_t *size)
{
    struct stat attributes;
    int result = inode_acquire(inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_get_attributes(inode, &attributes);
    int released = inode_release(inode);
    *size = attributes.st_size;
    return result < 0 ? result : released;
}

/* With the open file locked: where @whence and @offset lead. */
static off_t seek_target(struct open_file *file, off_t offset, int whence)
{
    off_t base = 0;
    off_t target;

    if (whence == SEEK_CUR) {
        base = file->offset;
    } else if (whence == SEEK_END) {
        int result = size_of(file->inode, &base);
        if (result < 0) {
            return result;
        }
    }
    if (__builtin_add_overflow(base, offset, &target)) {
        return -EOVERFLOW;
    }
    return target < 0 ? -EINVAL : target;
}

static off_t seek(struct open_file *file, off_t offset, int whence)
{
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    const off_t target = seek_target(file, offset, whence);
    const bool moved = target >= 0 && target != file->offset;
    if (moved) {
        file->offset = target;
    }
    return first_error(target, open_file_unlock(file, moved));
}

off_t fs_seek(struct hf_fs *fs, int fd, off_t offset, int whence)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    off_t result = -EINVAL;
    if (whence == SEEK_SET || whence == SEEK_CUR ||
        (whence == SEEK_END && file->inode->type != S_IFDIR)) {
        result = seek(file, offset, whence);
    }
    open_file_put(fs, fd);
    return result;
}

/* ---- directories ---- */

static int read_directory(struct open_file *file, hf_dirent *out)
{
    struct inode *directory = file->inode;

    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    result = inode_acquire(directory, HF_SHARED);
    if (result == 0) {
        result = inode_read_entry(directory, file->mount_file, file->offset, out);
        result = (int)first_error(result, inode_release(directory));
    }
    if (result > 0) {
        file->offset = out->position;
    }
    return (int)first_error(result, open_file_unlock(file, result > 0));
}

int fs_read_directory(struct hf_fs *fs, int fd, hf_dirent *out)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = -ENOTDIR;
    if (file->inode->type == S_IFDIR) {
        result = read_directory(file, out);
    }
    open_file_put(fs, fd);
    return result;
}
