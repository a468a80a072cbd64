/* The data of files: each operation is the host's system call for it. */
#include "mounts/direct/direct_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* What Linux transfers in one call at most. */
#define TRANSFER_MAX ((size_t)0x7ffff000)

ssize_t direct_read(struct backend *backend, intptr_t file, void *buffer, size_t size, off_t offset)
{
    ssize_t done;
    do {
        done = pread((int)file, buffer, size, offset);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

ssize_t direct_write(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                     off_t offset)
{
    const size_t limit = size < TRANSFER_MAX ? size : TRANSFER_MAX;
    size_t total = 0;
    while (total < limit) {
        /* At first all of it, so that the host judges the buffer as it was given. */
        const size_t left = (total == 0 ? size : limit) - total;
        ssize_t done = pwrite((int)file, (const char *)buffer + total, left, offset + (off_t)total);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0 && total == 0) {
            return -errno;
        }
        if (done <= 0) {
            break; /* what did fit counts; the next call will meet the error */
        }
        total += (size_t)done;
    }
    return (ssize_t)total;
}

ssize_t direct_append(struct backend *backend, intptr_t file, const struct iovec *vectors,
                      int count, off_t *end)
{
    ssize_t done;
    do {
        /* At the host's own offset, which so is behind what was written: nobody else moves it, since
         * appends are made one at a time. */
        done = pwritev2((int)file, vectors, count, -1, RWF_APPEND);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        return -errno;
    }
    *end = lseek((int)file, 0, SEEK_CUR);
    return done;
}

int direct_truncate(struct backend *backend, intptr_t file, off_t size, bool as_named)
{
    int result;
    if (as_named) {
        const struct direct_path path = direct_path_of(file);
        if (truncate(path.text, size) == 0) {
            return 0;
        }
        if (errno != ENOENT && errno != ENOTDIR && errno != EINTR) {
            return -errno;
        }
        /* A host without /proc: then as an open file, which is almost the same. */
    }
    do {
        result = ftruncate((int)file, size);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

ssize_t direct_read_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset)
{
    ssize_t done;
    do {
        done = preadv((int)file, vectors, count, offset);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

/* Of a regular file the host writes all that there is room for. */
ssize_t direct_write_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset)
{
    ssize_t done;
    do {
        done = pwritev((int)file, vectors, count, offset);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

int direct_create_unnamed(struct backend *backend, intptr_t directory, int flags, mode_t mode,
                          intptr_t *file)
{
    int fd = direct_open_component((int)directory, ".", flags | O_TMPFILE, mode & 07777);
    if (fd < 0) {
        return fd;
    }
    *file = fd;
    return 0;
}

off_t direct_seek(struct backend *backend, intptr_t file, off_t offset, int whence)
{
    /* The host's own offset is used by nothing else, whoever shares it. */
    off_t found = lseek((int)file, offset, whence);
    return found < 0 ? -errno : found;
}

int direct_allocate(struct backend *backend, intptr_t file, int mode, off_t offset, off_t length)
{
    int result;
    do {
        result = fallocate((int)file, mode, offset, length);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

ssize_t direct_copy(struct backend *backend, intptr_t from, off_t *from_offset, intptr_t to,
                    off_t *to_offset, size_t size)
{
    ssize_t done;
    do {
        /* It moves the offsets only if something was copied. */
        done = copy_file_range((int)from, from_offset, (int)to, to_offset, size, 0);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

int direct_sync(struct backend *backend, intptr_t file, bool data_only)
{
    int result;
    do {
        result = data_only ? fdatasync((int)file) : fsync((int)file);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

int direct_sync_all(struct backend *backend, intptr_t file)
{
    return syncfs((int)file) < 0 ? -errno : 0;
}

int direct_map(struct backend *backend, intptr_t file, void *address, size_t length, int protection,
               int flags, off_t offset, void **out)
{
    void *mapping = mmap(address, length, protection, flags, (int)file, offset);
    if (mapping == MAP_FAILED) {
        return -errno;
    }
    *out = mapping;
    return 0;
}

int direct_set_status(struct backend *backend, intptr_t file, int flags)
{
    /* O_NONBLOCK as direct_open() has it. After a fork the host shares these flags as we do. */
    return fcntl((int)file, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}
