/*
 * Extended attributes. The system calls that take a descriptor refuse O_PATH ones, which is what
 * nodes are; the link that /proc has for a descriptor leads to its very inode, a symbolic link
 * included, and nowhere else.
 */
#include "mounts/direct/direct_ops.h"

#include <errno.h>
#include <stdio.h>
#include <sys/xattr.h>

#define NODE_PATH_SIZE 40

static const char *path_of(char path[NODE_PATH_SIZE], intptr_t node)
{
    snprintf(path, NODE_PATH_SIZE, "/proc/self/fd/%d", (int)node);
    return path;
}

/* The inode is there: if the path is not, it is /proc that is missing. */
static ssize_t result_of(ssize_t result)
{
    if (result >= 0) {
        return result;
    }
    return errno == ENOENT || errno == ENOTDIR ? -EOPNOTSUPP : -errno;
}

ssize_t direct_get_xattr(struct backend *backend, intptr_t node, const char *name, void *value,
                         size_t size)
{
    char path[NODE_PATH_SIZE];
    return result_of(getxattr(path_of(path, node), name, value, size));
}

int direct_set_xattr(struct backend *backend, intptr_t node, const char *name, const void *value,
                     size_t size, int flags)
{
    char path[NODE_PATH_SIZE];
    return (int)result_of(setxattr(path_of(path, node), name, value, size, flags));
}

ssize_t direct_list_xattrs(struct backend *backend, intptr_t node, char *names, size_t size)
{
    char path[NODE_PATH_SIZE];
    return result_of(listxattr(path_of(path, node), names, size));
}

int direct_remove_xattr(struct backend *backend, intptr_t node, const char *name)
{
    char path[NODE_PATH_SIZE];
    return (int)result_of(removexattr(path_of(path, node), name));
}
