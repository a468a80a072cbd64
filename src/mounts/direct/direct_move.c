/* The direct backend's open files and nodes on their way to another process, as descriptors. */
#include "mounts/direct/direct_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int copy_descriptor(int fd)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -errno : copy;
}

int direct_give_file(struct backend *backend, intptr_t file)
{
    return copy_descriptor((int)file);
}

int direct_give_node(struct backend *backend, intptr_t node)
{
    const struct direct_path path = direct_path_of(node);
    const int flags = fcntl((int)node, F_GETFL);
    if (flags < 0) {
        return -errno;
    }
    if ((flags & O_PATH) != 0) {
        return copy_descriptor((int)node);
    }
    /* That of an open file can do more than a node should. */
    const int fd = open(path.text, O_PATH | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* By us: sockets are not, and some descriptors are of nothing that has a name. */
static bool can_be_open(mode_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISFIFO(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

int direct_take(struct backend *backend, int fd, hf_id ticket, bool is_path, intptr_t *taken,
                int *access_mode, struct stat *attributes)
{
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, attributes) < 0) {
        return -errno;
    }
    if (is_path != ((flags & O_PATH) != 0) || (!is_path && !can_be_open(attributes->st_mode))) {
        return -EINVAL;
    }
    *taken = fd;
    *access_mode = flags & O_ACCMODE;
    return 0;
}
