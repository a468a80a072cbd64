#include "mounts/special.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

int special_open_host(int path, int flags)
{
    char text[32];
    snprintf(text, sizeof text, "/proc/self/fd/%d", path);
    int fd = open(text, flags | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        /* The inode is there: if its path is not, it is /proc that is missing. */
        return errno == ENOENT || errno == ENOTDIR ? -EOPNOTSUPP : -errno;
    }
    return fd;
}

ssize_t special_read_host(int fd, const struct iovec *vectors, int count, off_t offset)
{
    ssize_t done = offset < 0 ? readv(fd, vectors, count) : preadv(fd, vectors, count, offset);
    return done < 0 ? -errno : done;
}

ssize_t special_write_host(int fd, const struct iovec *vectors, int count, off_t offset)
{
    ssize_t done = offset < 0 ? writev(fd, vectors, count) : pwritev(fd, vectors, count, offset);
    return done < 0 ? -errno : done;
}

int special_get_host_status(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : flags;
}

int special_set_host_status(int fd, int flags)
{
    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}
