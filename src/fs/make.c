#include "fs/make.h"

#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/walk.h"

#include <errno.h>

/* The caller holds the directory EXCLUSIVE. */
static int make_last_held(struct walk *walk, bool slashes, make_function *make, const void *context)
{
    struct inode *child;
    int result = inode_find(walk->directory, walk->name, walk->name_length, &child);
    if (result == 0) {
        inode_unref(child);
        return -EEXIST;
    }
    if (result != -ENOENT) {
        return result;
    }
    if (walk->must_be_directory && !slashes) {
        return -ENOENT;
    }
    result = mount_check_writable(walk->mount);
    return result < 0 ? result : make(walk, context);
}

int make_entry(struct hf_fs *fs, int at, const char *path, bool slashes, make_function *make,
               const void *context)
{
    struct walk walk;

    int result = walk_begin(&walk, fs, at, path);
    if (result == 0 && walk.last != WALK_LAST_NAME) {
        result = -EEXIST;
    }
    if (result == 0) {
        result = inode_acquire(walk.directory, HF_EXCLUSIVE);
    }
    if (result == 0) {
        result = make_last_held(&walk, slashes, make, context);
        int released = inode_release(walk.directory);
        result = result < 0 ? result : released;
    }
    walk_end(&walk);
    return result;
}

/* ---- mkdir and mknod ---- */

struct new_node {
    mode_t mode; /* that was asked for */
    dev_t device;
};

/* It was made; what is known of it may come later. */
static void entry_made(struct inode *directory, const char *name, ino_t number, mode_t mode)
{
    struct inode *child;
    if (inode_entry_made(directory, name, number, mode, &child) == 0) {
        inode_unref(child);
    }
}

static int make_directory(const struct walk *walk, const void *context)
{
    const struct new_node *new_node = context;
    struct inode *directory = walk->directory;
    struct backend *backend = directory->backend;
    const mode_t mode = inode_mode_of_new(directory, new_node->mode);
    ino_t number = BACKEND_NO_NUMBER;
    int result =
        backend->ops->make_directory(backend, directory->backend_node, walk->name, mode, &number);
    if (result == 0) {
        entry_made(directory, walk->name, number, mode);
    }
    return result;
}

int fs_make_directory(struct hf_fs *fs, int at, const char *path, mode_t mode)
{
    const struct new_node new_node = {.mode = mode};
    return make_entry(fs, at, path, true, make_directory, &new_node);
}

static int make_node(const struct walk *walk, const void *context)
{
    const struct new_node *new_node = context;
    struct inode *directory = walk->directory;
    struct backend *backend = directory->backend;
    const mode_t mode = inode_mode_of_new(directory, new_node->mode);
    ino_t number = BACKEND_NO_NUMBER;
    int result = backend->ops->make_node(
        backend, directory->backend_node, walk->name, mode, new_node->device, &number);
    if (result == 0) {
        entry_made(directory, walk->name, number, mode);
    }
    return result;
}

int fs_make_node(struct hf_fs *fs, int at, const char *path, mode_t mode, dev_t device)
{
    const struct new_node new_node = {.mode = mode, .device = device};
    switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
        return make_entry(fs, at, path, false, make_node, &new_node);
    case S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
}
