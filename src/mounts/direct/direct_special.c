/* Pipes and devices are the host's. */
#include "mounts/direct/direct_ops.h"
#include "mounts/special.h"

int direct_open_special(struct backend *backend, intptr_t node, int flags, intptr_t *file)
{
    /* The inode itself, whatever has its name by now. */
    const int fd = special_open_host((int)node, flags);
    if (fd < 0) {
        return fd;
    }
    *file = fd;
    return 0;
}

ssize_t direct_read_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset)
{
    return special_read_host((int)file, vectors, count, offset);
}

ssize_t direct_write_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset)
{
    return special_write_host((int)file, vectors, count, offset);
}

int direct_get_special_status(struct backend *backend, intptr_t file)
{
    return special_get_host_status((int)file);
}

int direct_set_special_status(struct backend *backend, intptr_t file, int flags)
{
    return special_set_host_status((int)file, flags);
}

int direct_host_descriptor(struct backend *backend, intptr_t file)
{
    return (int)file;
}
