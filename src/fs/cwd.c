/*
 * What a process has besides its descriptors: a working directory and a umask.
 *
 * The working directory is an inode, so it survives whatever happens to its names. Its path is
 * found from the bottom up, with the rename handles of the backends on the way held: then no
 * directory there can get another parent.
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

int fs_working_directory(struct hf_fs *fs, struct place *out)
{
    /* It starts as the root, and often stays that: no mutex for it then. */
    if (atomic_load_explicit(&fs->cwd, memory_order_relaxed) == NULL) {
        return mounts_root(fs, out);
    }
    pthread_mutex_lock(&fs->cwd_mutex);
    struct inode *cwd = atomic_load_explicit(&fs->cwd, memory_order_relaxed);
    if (cwd != NULL) {
        *out = (struct place){fs->cwd_mount, inode_ref(cwd)};
    }
    pthread_mutex_unlock(&fs->cwd_mutex);
    return cwd != NULL ? 0 : mounts_root(fs, out);
}

void fs_set_working_directory(struct hf_fs *fs, const struct place *directory)
{
    pthread_mutex_lock(&fs->cwd_mutex);
    struct mount *mount = fs->cwd_mount;
    struct inode *before =
        atomic_exchange_explicit(&fs->cwd, directory->inode, memory_order_relaxed);
    fs->cwd_mount = directory->mount;
    pthread_mutex_unlock(&fs->cwd_mutex);
    fs_leave_directory(before, mount);
}

void fs_leave_directory(struct inode *inode, struct mount *mount)
{
    if (inode != NULL) {
        inode_unkeep(inode);
        inode_unref(inode);
        mount_unuse(mount);
    }
}

int fs_stay_in(const struct place *directory)
{
    int result = inode_keep(directory->inode);
    if (result == 0) {
        result = mount_use(directory->mount);
        if (result < 0) {
            inode_unkeep(directory->inode);
        }
    }
    return result;
}

int fs_change_directory(struct hf_fs *fs, int at, const char *path, unsigned walk_flags)
{
    struct place directory;
    int result = walk_to_place(fs, at, path, walk_flags, &directory);
    if (result < 0) {
        return result;
    }
    result = directory.inode->type == S_IFDIR ? inode_check_search(directory.inode) : -ENOTDIR;
    if (result == 0 && mounts_is_root(fs, &directory)) {
        inode_unref(directory.inode);
        directory = (struct place){NULL, NULL};
    } else if (result == 0) {
        result = fs_stay_in(&directory);
    }
    if (result < 0) {
        inode_unref(directory.inode);
        return result;
    }
    fs_set_working_directory(fs, &directory);
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

/* Go up to the directory that @here is in, and put the name in front. */
static int build_step(struct path_builder *builder, struct place *here)
{
    struct inode *root;
    struct inode *parent;
    int result = mount_get_root(here->mount, &root);
    if (result == 0) {
        result = inode_parent(here->inode, root, &parent);
    }
    if (result == 0) {
        result = add_name(builder, parent, here->inode);
        inode_unref(here->inode);
        here->inode = parent;
    }
    return result;
}

/* The rename handles are held. */
static int build_path(struct path_builder *builder, const struct place *directory)
{
    struct place here = {directory->mount, inode_ref(directory->inode)};
    struct hf_fs *fs = here.inode->fs;
    int result = 0;

    while (result == 0 && !mounts_is_root(fs, &here)) {
        if (mount_is_root(&here)) {
            struct place point;
            result = mount_get_point(here.mount, &point);
            if (result == 0) {
                inode_unref(here.inode);
                here = (struct place){point.mount, inode_ref(point.inode)};
            }
        } else {
            result = build_step(builder, &here);
        }
    }
    inode_unref(here.inode);
    return result;
}

/* The lowest number above @number of a backend on the way from @mount to "/"; 0: there is none. */
static uint32_t next_backend(const struct mount *mount, uint32_t number)
{
    uint32_t next = 0;
    for (; mount != NULL; mount = mount->parent) {
        if (mount->backend > number && (next == 0 || mount->backend < next)) {
            next = mount->backend;
        }
    }
    return next;
}

/* Of those backends on the way with numbers below @end. Return: 0, or what went wrong first. */
static int release_renames(const struct mount *mount, uint32_t end)
{
    struct backend *backend;
    int result = 0;
    for (uint32_t number = next_backend(mount, 0); number != 0 && number < end;
         number = next_backend(mount, number)) {
        int released = fs_get_backend(mount->fs, number, &backend);
        if (released == 0) {
            released = hf_sync_release(backend->rename_handle);
        }
        result = result < 0 ? result : released;
    }
    return result;
}

/* The rename handles of all backends on the way from @mount to "/", in the order of their numbers, so
 * that of two who take several neither has what the other waits for. */
static int acquire_renames(const struct mount *mount)
{
    struct backend *backend;
    for (uint32_t number = next_backend(mount, 0); number != 0;
         number = next_backend(mount, number)) {
        int result = fs_get_backend(mount->fs, number, &backend);
        if (result == 0) {
            result = hf_sync_acquire(backend->rename_handle, HF_SHARED, NULL);
        }
        if (result < 0) {
            (void)release_renames(mount, number);
            return result;
        }
    }
    return 0;
}

ssize_t fs_get_path(const struct place *directory, char *buffer, size_t size)
{
    struct path_builder builder;
    int result = 0;

    builder.start = sizeof builder.buffer - 1;
    builder.buffer[builder.start] = '\0';
    if (mounts_is_root(directory->inode->fs, directory)) {
        builder.buffer[--builder.start] = '/';
    } else {
        result = acquire_renames(directory->mount);
        if (result == 0) {
            result = build_path(&builder, directory);
            int released = release_renames(directory->mount, UINT32_MAX);
            result = result < 0 ? result : released;
        }
    }
    if (result < 0) {
        return result;
    }
    const size_t length = sizeof builder.buffer - builder.start;
    if (length > size) {
        return -ERANGE;
    }
    result = fs_give(directory->inode->fs, buffer, builder.buffer + builder.start, length);
    return result < 0 ? result : (ssize_t)length;
}

ssize_t fs_get_working_directory(struct hf_fs *fs, char *buffer, size_t size)
{
    struct place directory;
    int found = fs_working_directory(fs, &directory);
    if (found < 0) {
        return found;
    }
    ssize_t result = fs_get_path(&directory, buffer, size);
    inode_unref(directory.inode);
    return result;
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
