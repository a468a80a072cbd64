/* Links: further names of a file, and symbolic ones. */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/make.h"
#include "fs/walk.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* ---- link ---- */

static int link_held(struct inode *directory, const char *name, struct inode *inode)
{
    struct backend *backend = directory->backend;
    int result = backend->ops->link(backend, inode->backend_node, directory->backend_node, name);
    if (result < 0) {
        return result;
    }
    /* A file without a name may get one again. */
    atomic_store_explicit(&inode->removed, false, memory_order_relaxed);
    inode_attributes_changed(inode);
    inode_entry_set(directory, name, inode);
    return 0;
}

static int make_link(const struct walk *walk, const void *context)
{
    const struct place *source = context;
    struct inode *inode = source->inode;
    struct inode *directory = walk->directory;

    if (source->mount != walk->mount) {
        return -EXDEV;
    }
    if (inode->type == S_IFDIR) {
        /* It fails, and could not be held: it may be the directory, or above it. */
        struct backend *backend = directory->backend;
        int result =
            backend->ops->link(backend, inode->backend_node, directory->backend_node, walk->name);
        return result < 0 ? result : -EPERM;
    }
    int result = inode_acquire(inode, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = link_held(directory, walk->name, inode);
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

int fs_link(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, int new_at,
            const char *new_path)
{
    struct place source;
    int result = walk_to_place(fs, at, path, walk_flags, &source);
    if (result < 0) {
        return result;
    }
    result = make_entry(fs, new_at, new_path, false, make_link, &source);
    inode_unref(source.inode);
    return result;
}

/* ---- symlink and readlink ---- */

static int make_symlink(const struct walk *walk, const void *target)
{
    struct inode *child;
    struct inode *directory = walk->directory;
    struct backend *backend = directory->backend;
    ino_t number = BACKEND_NO_NUMBER;
    int result =
        backend->ops->make_symlink(backend, directory->backend_node, walk->name, target, &number);
    if (result == 0 && inode_entry_made(directory, walk->name, number, S_IFLNK, &child) == 0) {
        inode_unref(child);
    }
    return result;
}

int fs_make_symlink(struct hf_fs *fs, const char *target, int at, const char *path)
{
    if (target[0] == '\0') {
        return -ENOENT;
    }
    if (strnlen(target, PATH_MAX) == PATH_MAX) {
        return -ENAMETOOLONG;
    }
    return make_entry(fs, at, path, false, make_symlink, target);
}

ssize_t fs_read_link(struct hf_fs *fs, int at, const char *path, char *buffer, size_t size)
{
    struct inode *inode;
    const char *target;

    int result = walk_to_inode(fs, at, path, WALK_EMPTY, &inode);
    if (result < 0) {
        return result;
    }
    if (inode->type != S_IFLNK) {
        result = path[0] == '\0' ? -ENOENT : -EINVAL;
    } else {
        result = inode_link_target(inode, &target);
    }
    size_t length = 0;
    if (result == 0) {
        length = strnlen(target, size);
        result = fs_give(fs, buffer, target, length);
    }
    inode_unref(inode);
    return result < 0 ? result : (ssize_t)length;
}
