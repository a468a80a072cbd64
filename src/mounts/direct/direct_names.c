/* The direct backend's operations on names. */
#include "mounts/direct/direct_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int result_of(int result)
{
    return result < 0 ? -errno : 0;
}

/* ---- parents ---- */

/* Where @directory is on the host now. Who has it open is told, whatever is above it. */
static int path_of(int directory, char path[PATH_MAX])
{
    const struct direct_path link = direct_path_of(directory);
    const ssize_t length = readlink(link.text, path, PATH_MAX - 1);
    if (length < 0) {
        return -errno;
    }
    path[length] = '\0';
    return 0;
}

/* Are these two the same directory? */
static bool is_same(const struct stat *one, const struct stat *other)
{
    return one->st_ino == other->st_ino && one->st_dev == other->st_dev;
}

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

int direct_way_down(struct backend *backend, intptr_t ancestor, intptr_t directory,
                    char name[NAME_MAX + 1])
{
    char top[PATH_MAX];
    char path[PATH_MAX];
    if (path_of((int)ancestor, top) < 0 || path_of((int)directory, path) < 0) {
        return -EACCES;
    }
    const size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(path, top, length) != 0 || path[length] != '/') {
        return -ENOENT;
    }
    const char *first = path + length + 1;
    const size_t size = strcspn(first, "/");
    if (size == 0 || size > NAME_MAX) {
        return -ENOENT;
    }
    memcpy(name, first, size);
    name[size] = '\0';
    return 0;
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
    while (!is_same(&here, &top)) {
        struct stat above;
        int parent = open_parent(fd, &above);
        if (fd != directory) {
            close(fd);
        }
        fd = parent;
        if (fd == -EACCES) { /* to search what is above takes more than `..` does */
            char name[NAME_MAX + 1];
            return direct_way_down(NULL, root, directory, name) < 0 ? -EACCES : 0;
        }
        if (fd < 0) {
            return fd;
        }
        if (is_same(&above, &here)) {
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
                          mode_t mode, ino_t *number)
{
    return result_of(mkdirat((int)directory, name, mode));
}

int direct_make_node(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                     dev_t device, ino_t *number)
{
    return result_of(mknodat((int)directory, name, mode, device));
}

int direct_make_symlink(struct backend *backend, intptr_t directory, const char *name,
                        const char *target, ino_t *number)
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

int direct_rename(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                  intptr_t new_directory, const char *new_name, ino_t replaced, unsigned flags)
{
    return result_of(renameat2((int)directory, name, (int)new_directory, new_name, flags));
}

int direct_unlink(struct backend *backend, intptr_t directory, const char *name, ino_t number)
{
    return result_of(unlinkat((int)directory, name, 0));
}

int direct_remove_directory(struct backend *backend, intptr_t directory, const char *name,
                            ino_t number)
{
    return result_of(unlinkat((int)directory, name, AT_REMOVEDIR));
}
