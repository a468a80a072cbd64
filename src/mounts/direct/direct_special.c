/*
 * Pipes and devices. They are the host's, with offset and status flags, and whatever shares the
 * open file shares the host's. A signal that interrupts a wait ends it, as in the system calls.
 */
#include "mounts/direct/direct_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

int direct_open_special(struct backend *backend, intptr_t node, int flags, intptr_t *file)
{
    /* The inode itself, whatever has its name by now. */
    const struct direct_path path = direct_path_of(node);
    int fd = open(path.text, flags | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        /* The inode is there: if the path is not, it is /proc that is missing. */
        return errno == ENOENT || errno == ENOTDIR ? -EOPNOTSUPP : -errno;
    }
    *file = fd;
    return 0;
}

ssize_t direct_read_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset)
{
    ssize_t done =
        offset < 0 ? readv((int)file, vectors, count) : preadv((int)file, vectors, count, offset);
    return done < 0 ? -errno : done;
}

ssize_t direct_write_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset)
{
    ssize_t done =
        offset < 0 ? writev((int)file, vectors, count) : pwritev((int)file, vectors, count, offset);
    return done < 0 ? -errno : done;
}

int direct_get_special_status(struct backend *backend, intptr_t file)
{
    int flags = fcntl((int)file, F_GETFL);
    return flags < 0 ? -errno : flags;
}

int direct_set_special_status(struct backend *backend, intptr_t file, int flags)
{
    return fcntl((int)file, F_SETFL, flags) < 0 ? -errno : 0;
}

int direct_host_descriptor(struct backend *backend, intptr_t file)
{
    return (int)file;
}
