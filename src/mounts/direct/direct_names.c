/* The direct backend's operations on names. */
#include "mounts/direct/direct_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int result_of(int result)
{
    return result < 0 ? -errno : 0;
}

/* ---- parents ---- */

/* Return: a descriptor of what is above @directory, or a negative errno. */
static int open_parent(int directory, struct stat *attributes)
{
    int fd = openat(directory, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, attributes) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* Go up from @directory, which has @attributes, until the root is met. Return: 0; -ENOENT when
 * it is not, so a rename has moved @directory out of it. */
static int check_below_root(int root, int directory, const struct stat *attributes)
{
    struct stat here = *attributes;
    struct stat top;
    int result = 0;
    int fd = directory;

    if (fstat(root, &top) < 0) {
        return -errno;
    }
    while (here.st_ino != top.st_ino || here.st_dev != top.st_dev) {
        struct stat above;
        int parent = open_parent(fd, &above);
        if (fd != directory) {
            close(fd);
        }
        fd = parent;
        if (fd < 0) {
            return fd;
        }
        if (above.st_ino == here.st_ino && above.st_dev == here.st_dev) {
            result = -ENOENT; /* the root of the host */
            break;
        }
        here = above;
    }
    if (fd != directory) {
        close(fd);
    }
    return result;
}

int direct_parent(struct backend *backend, intptr_t directory, intptr_t root, intptr_t *node,
                  struct stat *attributes)
{
    int fd = open_parent((int)directory, attributes);
    if (fd < 0) {
        return fd;
    }
    int result = check_below_root((int)root, fd, attributes);
    if (result < 0) {
        close(fd);
        return result;
    }
    *node = fd;
    return 0;
}

/* ---- making ---- */

int direct_make_directory(struct backend *backend, intptr_t directory, const char *name,
                          mode_t mode)
{
    return result_of(mkdirat((int)directory, name, mode));
}

int direct_make_node(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                     dev_t device)
{
    return result_of(mknodat((int)directory, name, mode, device));
}

int direct_make_symlink(struct backend *backend, intptr_t directory, const char *name,
                        const char *target)
{
    return result_of(symlinkat(target, (int)directory, name));
}

int direct_link(struct backend *backend, intptr_t node, intptr_t directory, const char *name)
{
    if (linkat((int)node, "", (int)directory, name, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    if (errno != ENOENT) {
        return -errno;
    }
    /* That takes a privilege with older kernels, which say ENOENT. This does not. */
    const struct direct_path path = direct_path_of(node);
    return result_of(linkat(AT_FDCWD, path.text, (int)directory, name, AT_SYMLINK_FOLLOW));
}

/* ---- moving and removing ---- */

int direct_rename(struct backend *backend, intptr_t directory, const char *name,
                  intptr_t new_directory, const char *new_name, unsigned flags)
{
    return result_of(renameat2((int)directory, name, (int)new_directory, new_name, flags));
}

int direct_unlink(struct backend *backend, intptr_t directory, const char *name)
{
    return result_of(unlinkat((int)directory, name, 0));
}

int direct_remove_directory(struct backend *backend, intptr_t directory, const char *name)
{
    return result_of(unlinkat((int)directory, name, AT_REMOVEDIR));
}
