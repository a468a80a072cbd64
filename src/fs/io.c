/*
 * Reading and writing open files. Each operation locks what it moves: the open file first, if
 * its offset is used, then the inode.
 */
#include "fs/io.h"

#include "fs/filesystem.h"
#include "fs/special.h"

#include <errno.h>
#include <limits.h>

/* What one call moves. */
struct io_data {
    bool is_vectors; /* count of them, as the caller gave them, unchecked; else one buffer */
    int count;
    const struct iovec *vectors;
    union {
        void *to;
        const void *from;
    };
    size_t size;
};

/* One buffer without a byte; of vectors the backend says whether they are right. */
static bool is_empty(const struct io_data *data)
{
    return !data->is_vectors && data->size == 0;
}

/* Where appending goes is not asked for, but the offset is refused all the same when so many bytes
 * have no room behind it. */
static bool fits_behind(off_t offset, const struct io_data *data)
{
    size_t room = (size_t)(INT64_MAX - offset);
    if (!data->is_vectors) {
        return data->size <= room;
    }
    for (int i = 0; i < data->count && i < IOV_MAX; i++) {
        if (data->vectors[i].iov_len > room) {
            return false;
        }
        room -= data->vectors[i].iov_len;
    }
    return true;
}

/* Is it better done where the data is? Only what has no end in sight that it could meet. */
static bool goes_there(const struct open_file *file, const struct io_data *data, off_t offset,
                       bool writes)
{
    struct backend *backend = file->inode->backend;
    return backend->ops->is_contended != NULL && !data->is_vectors &&
           data->size <= BACKEND_THERE_MAX && offset < INT64_MAX - BACKEND_THERE_MAX &&
           backend->ops->is_contended(backend, file->backend_file, writes);
}

/* ---- the data ---- */

static ssize_t read_data(struct open_file *file, const struct io_data *data, off_t offset)
{
    struct inode *inode = file->inode;
    struct backend *backend = inode->backend;
    ssize_t done;

    if (goes_there(file, data, offset, false)) {
        return backend->ops->read_there(backend, file->backend_file, data->to, data->size, offset);
    }
    int acquired = inode_acquire(inode, HF_SHARED);
    if (acquired == 0 && backend->reading_changes != NULL &&
        backend->reading_changes(backend, file->backend_file)) {
        acquired = inode_upgrade(inode);
        if (acquired == 0) {
            inode_attributes_changed(inode);
        }
    }
    if (acquired < 0) {
        return acquired;
    }
    if (!data->is_vectors) {
        done = backend->ops->read(backend, file->backend_file, data->to, data->size, offset);
    } else {
        done = backend->ops->read_vectors(
            backend, file->backend_file, data->vectors, data->count, offset);
    }
    return first_error(done, inode_release(inode));
}

static ssize_t write_at_backend(struct open_file *file, const struct io_data *data, off_t offset)
{
    struct backend *backend = file->inode->backend;
    if (!data->is_vectors) {
        return backend->ops->write(backend, file->backend_file, data->from, data->size, offset);
    }
    return backend->ops->write_vectors(
        backend, file->backend_file, data->vectors, data->count, offset);
}

/* Others write to the file too, so that only the backend can tell where the end is. */
static ssize_t append_at_backend(struct open_file *file, const struct io_data *data, off_t *offset)
{
    struct backend *backend = file->inode->backend;
    const struct iovec vector = {.iov_base = data->to, .iov_len = data->size};
    off_t end;
    ssize_t done = backend->ops->append(backend,
                                        file->backend_file,
                                        data->is_vectors ? data->vectors : &vector,
                                        data->is_vectors ? data->count : 1,
                                        &end);
    if (done > 0) {
        *offset = end - done;
    }
    return done;
}

/* At the end of a file that is held EXCLUSIVE; *offset says where that was. */
static ssize_t append_data(struct open_file *file, const struct io_data *data, off_t *offset)
{
    if (!fits_behind(*offset, data)) {
        return -EINVAL;
    }
    if (inode_is_checked(file->inode)) {
        return append_at_backend(file, data, offset);
    }
    int result = inode_get_size(file->inode, file->backend_file, offset);
    if (result == 0 && !fits_behind(*offset, data)) {
        result = -EFBIG;
    }
    return result < 0 ? result : write_at_backend(file, data, *offset);
}

/* Write at *offset, or with O_APPEND in @flags at the end: then *offset says where that was. */
static ssize_t write_data(struct open_file *file, int flags, const struct io_data *data,
                          off_t *offset)
{
    struct inode *inode = file->inode;
    struct backend *backend = inode->backend;
    if (goes_there(file, data, *offset, true)) {
        return backend->ops->write_there(
            backend, file->backend_file, data->from, data->size, (flags & O_APPEND) != 0, offset);
    }
    int acquired = inode_acquire(inode, HF_EXCLUSIVE);
    if (acquired < 0) {
        return acquired;
    }
    ssize_t done = (flags & O_APPEND) != 0 ? append_data(file, data, offset)
                                           : write_at_backend(file, data, *offset);
    if (done > 0) {
        inode_grew(inode, *offset + done);
    }
    return first_error(done, inode_release(inode));
}

/* ---- at the offset ---- */

static ssize_t read_and_move(struct open_file *file, const struct io_data *data)
{
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    ssize_t done = read_data(file, data, file->offset);
    if (done > 0) {
        file->offset += done;
    }
    return first_error(done, open_file_unlock(file, done > 0));
}

static ssize_t write_and_move(struct open_file *file, const struct io_data *data)
{
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    off_t offset = file->offset;
    ssize_t done = write_data(file, file->flags, data, &offset);
    if (done > 0) {
        file->offset = offset + done;
    }
    return first_error(done, open_file_unlock(file, done > 0));
}

/* ---- at a place ---- */

/* In place of an offset: the open file's own. What is special knows it too, and is the host's to
 * judge: that it has no places comes before what it is open for. */
#define AT_OFFSET ((off_t)-1)

/* At @at, or at the open file's offset, which moves. */
static ssize_t read_file(struct hf_fs *fs, int fd, const struct io_data *data, off_t at)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    ssize_t result = 0;
    if (open_file_is_special(file)) {
        const struct iovec vector = {.iov_base = data->to, .iov_len = data->size};
        result = data->is_vectors ? special_read(fs, fd, file, data->vectors, data->count, at)
                                  : special_read(fs, fd, file, &vector, 1, at);
    } else if (!open_file_is_for(file, O_RDONLY)) {
        result = -EBADF;
    } else if (!data->is_vectors && file->inode->type == S_IFDIR) {
        result = at == AT_OFFSET || fits_behind(at, data) ? -EISDIR : -EINVAL;
    } else if (!is_empty(data)) {
        result = at == AT_OFFSET ? read_and_move(file, data) : read_data(file, data, at);
    }
    open_file_put(fs, fd, file);
    return result;
}

static ssize_t write_in_place(struct open_file *file, const struct io_data *data, off_t at)
{
    int flags;
    int result = open_file_get_flags(file, &flags);
    return result < 0 ? result : write_data(file, flags, data, &at);
}

static ssize_t write_file(struct hf_fs *fs, int fd, const struct io_data *data, off_t at)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    ssize_t result = 0;
    if (open_file_is_special(file)) {
        const struct iovec vector = {.iov_base = data->to, .iov_len = data->size};
        result = data->is_vectors ? special_write(fs, fd, file, data->vectors, data->count, at)
                                  : special_write(fs, fd, file, &vector, 1, at);
    } else if (!open_file_is_for(file, O_WRONLY)) {
        result = -EBADF;
    } else if (!is_empty(data)) {
        result = at == AT_OFFSET ? write_and_move(file, data) : write_in_place(file, data, at);
    }
    open_file_put(fs, fd, file);
    return result;
}

ssize_t fs_read(struct hf_fs *fs, int fd, void *buffer, size_t size)
{
    return read_file(fs, fd, &(struct io_data){.to = buffer, .size = size}, AT_OFFSET);
}

ssize_t fs_read_at(struct hf_fs *fs, int fd, void *buffer, size_t size, off_t offset)
{
    if (offset < 0) {
        return -EINVAL;
    }
    return read_file(fs, fd, &(struct io_data){.to = buffer, .size = size}, offset);
}

ssize_t fs_write(struct hf_fs *fs, int fd, const void *buffer, size_t size)
{
    return write_file(fs, fd, &(struct io_data){.from = buffer, .size = size}, AT_OFFSET);
}

ssize_t fs_write_at(struct hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset)
{
    if (offset < 0) {
        return -EINVAL;
    }
    return write_file(fs, fd, &(struct io_data){.from = buffer, .size = size}, offset);
}

/* ---- vectors ---- */

static struct io_data data_of(const struct iovec *vectors, int count)
{
    return (struct io_data){.is_vectors = true, .count = count, .vectors = vectors};
}

ssize_t fs_read_vectors(struct hf_fs *fs, int fd, const struct iovec *vectors, int count)
{
    const struct io_data data = data_of(vectors, count);
    return read_file(fs, fd, &data, AT_OFFSET);
}

ssize_t fs_read_vectors_at(struct hf_fs *fs, int fd, const struct iovec *vectors, int count,
                           off_t offset)
{
    const struct io_data data = data_of(vectors, count);
    return offset < 0 ? -EINVAL : read_file(fs, fd, &data, offset);
}

ssize_t fs_write_vectors(struct hf_fs *fs, int fd, const struct iovec *vectors, int count)
{
    const struct io_data data = data_of(vectors, count);
    return write_file(fs, fd, &data, AT_OFFSET);
}

ssize_t fs_write_vectors_at(struct hf_fs *fs, int fd, const struct iovec *vectors, int count,
                            off_t offset)
{
    const struct io_data data = data_of(vectors, count);
    return offset < 0 ? -EINVAL : write_file(fs, fd, &data, offset);
}
