/*
 * What a process has besides its descriptors: a working directory and a umask.
 *
 * The working directory is an inode, so it survives whatever happens to its names. Its path is
 * found from the bottom up, with the backend's rename handle held: then no directory on the way
 * can get another parent.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/walk.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct inode *fs_working_directory(struct hf_fs *fs)
{
    /* It starts as the root, and often stays that: no mutex for it then. */
    if (atomic_load_explicit(&fs->cwd, memory_order_relaxed) == NULL) {
        return inode_ref(fs->root);
    }
    pthread_mutex_lock(&fs->cwd_mutex);
    struct inode *cwd = atomic_load_explicit(&fs->cwd, memory_order_relaxed);
    inode_ref(cwd != NULL ? cwd : fs->root);
    pthread_mutex_unlock(&fs->cwd_mutex);
    return cwd != NULL ? cwd : fs->root;
}

/* May this process search it? */
static int check_searchable(struct inode *directory)
{
    if (directory->type != S_IFDIR) {
        return -ENOTDIR;
    }
    int result = inode_acquire(directory, HF_SHARED);
    if (result < 0) {
        return result;
    }
    struct backend *backend = directory->backend;
    result = backend->ops->access(backend, directory->backend_node, X_OK, AT_EACCESS);
    int released = inode_release(directory);
    return result < 0 ? result : released;
}

int fs_change_directory(struct hf_fs *fs, int at, const char *path, unsigned walk_flags)
{
    struct inode *directory;
    int result = walk_to_inode(fs, at, path, walk_flags, &directory);
    if (result < 0) {
        return result;
    }
    result = check_searchable(directory);
    if (result < 0) {
        inode_unref(directory);
        return result;
    }
    if (directory == fs->root) {
        directory = inode_unref(directory);
    }
    pthread_mutex_lock(&fs->cwd_mutex);
    struct inode *before = atomic_exchange_explicit(&fs->cwd, directory, memory_order_relaxed);
    pthread_mutex_unlock(&fs->cwd_mutex);
    inode_unref(before);
    return 0;
}

/* ---- getcwd ---- */

struct path_builder {
    size_t start; /* of what there is so far, which ends with the buffer */
    char buffer[PATH_MAX];
};

static int put_in_front(struct path_builder *builder, const char *name)
{
    const size_t length = strlen(name);
    if (builder->start < length + 1) {
        return -ENAMETOOLONG;
    }
    builder->start -= length;
    memcpy(builder->buffer + builder->start, name, length);
    builder->buffer[--builder->start] = '/';
    return 0;
}

static int add_name(struct path_builder *builder, struct inode *parent, struct inode *directory)
{
    char name[NAME_MAX + 1];
    int result = inode_acquire(parent, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_entry_name(parent, directory, name);
    int released = inode_release(parent);
    if (result == 0) {
        result = put_in_front(builder, name);
    }
    return result < 0 ? result : released;
}

/* The rename handle is held. */
static int build_path(struct path_builder *builder, struct inode *directory)
{
    struct inode *root = directory->fs->root;
    struct inode *parent;
    int result = 0;

    inode_ref(directory);
    while (result == 0 && directory != root) {
        result = inode_parent(directory, &parent);
        if (result == 0) {
            result = add_name(builder, parent, directory);
            inode_unref(directory);
            directory = parent;
        }
    }
    inode_unref(directory);
    return result;
}

ssize_t fs_get_working_directory(struct hf_fs *fs, char *buffer, size_t size)
{
    struct path_builder builder;
    struct inode *directory = fs_working_directory(fs);
    int result = 0;

    builder.start = sizeof builder.buffer - 1;
    builder.buffer[builder.start] = '\0';
    if (directory == fs->root) {
        builder.buffer[--builder.start] = '/';
    } else {
        result = hf_sync_acquire(directory->backend->rename_handle, HF_SHARED, NULL);
        if (result >= 0) {
            result = build_path(&builder, directory);
            int released = hf_sync_release(directory->backend->rename_handle);
            result = result < 0 ? result : released;
        }
    }
    inode_unref(directory);
    if (result < 0) {
        return result;
    }
    const size_t length = sizeof builder.buffer - builder.start;
    if (length > size) {
        return -ERANGE;
    }
    memcpy(buffer, builder.buffer + builder.start, length);
    return (ssize_t)length;
}

/* ---- umask ---- */

mode_t fs_set_umask(struct hf_fs *fs, mode_t mask)
{
    return atomic_exchange_explicit(&fs->umask, mask & 0777, memory_order_relaxed);
}

mode_t fs_masked(const struct hf_fs *fs, mode_t mode)
{
    return mode & ~atomic_load_explicit(&fs->umask, memory_order_relaxed);
}

/* umask() can only be asked by changing it for all threads. */
mode_t fs_process_umask(void)
{
    static const char key[] = "Umask:";
    char line[128];
    bool found = false;
    mode_t mask = 0;

    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && !found && fgets(line, sizeof line, status) != NULL) {
        found = strncmp(line, key, strlen(key)) == 0;
        mask = found ? (mode_t)strtoul(line + strlen(key), NULL, 8) : 0;
    }
    if (status != NULL) {
        fclose(status);
    }
    if (!found) {
        mask = umask(0);
        umask(mask);
    }
    return mask & 0777;
}
