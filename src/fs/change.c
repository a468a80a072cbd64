/* Changing attributes: mode, owner, times; by path and by descriptor. */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/open_file.h"
#include "fs/walk.h"

#include <errno.h>

struct change {
    int (*apply)(struct inode *inode, const struct change *change);
    mode_t mode;
    uid_t owner;
    gid_t group;
    const struct timespec *times;
};

static int change_inode(struct inode *inode, const struct change *change)
{
    int result = inode_acquire(inode, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = change->apply(inode, change);
    if (result == 0) {
        inode_attributes_changed(inode);
    }
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

static bool are_times(const struct timespec *times)
{
    for (int i = 0; times != NULL && i < 2; i++) {
        const long nanoseconds = times[i].tv_nsec;
        if (nanoseconds != UTIME_NOW && nanoseconds != UTIME_OMIT &&
            (nanoseconds < 0 || nanoseconds > 999999999)) {
            return false;
        }
    }
    return true;
}

static int change_place(const struct place *place, const struct change *change)
{
    int result = mount_check_writable(place->mount);
    if (result < 0 && !are_times(change->times)) {
        return -EINVAL;
    }
    return result < 0 ? result : change_inode(place->inode, change);
}

static int change_path(struct hf_fs *fs, int at, const char *path, unsigned walk_flags,
                       const struct change *change)
{
    struct place place;
    int result = walk_to_place(fs, at, path, walk_flags, &place);
    if (result < 0) {
        return result;
    }
    result = change_place(&place, change);
    inode_unref(place.inode);
    return result;
}

static int change_file(struct hf_fs *fs, int fd, const struct change *change)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    const struct place place = {file->mount, file->inode};
    int result = open_file_give_node(file);
    if (result == 0) {
        result = change_place(&place, change);
    }
    open_file_put(fs, fd, file);
    return result;
}

/* ---- mode ---- */

static int apply_mode(struct inode *inode, const struct change *change)
{
    if (inode->type == S_IFLNK) {
        return -EOPNOTSUPP;
    }
    int result =
        inode->backend->ops->set_mode(inode->backend, inode->backend_node, change->mode & 07777);
    if (result == 0 && inode->type == S_IFDIR) {
        inode_search_changed(inode);
    }
    return result;
}

int fs_set_mode(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, mode_t mode)
{
    const struct change change = {.apply = apply_mode, .mode = mode};
    return change_path(fs, at, path, walk_flags, &change);
}

int fs_set_mode_of_file(struct hf_fs *fs, int fd, mode_t mode)
{
    const struct change change = {.apply = apply_mode, .mode = mode};
    return change_file(fs, fd, &change);
}

/* ---- owner ---- */

static int apply_owner(struct inode *inode, const struct change *change)
{
    int result = inode->backend->ops->set_owner(
        inode->backend, inode->backend_node, change->owner, change->group);
    if (result == 0 && inode->type == S_IFDIR) {
        inode_search_changed(inode);
    }
    return result;
}

int fs_set_owner(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, uid_t owner,
                 gid_t group)
{
    const struct change change = {.apply = apply_owner, .owner = owner, .group = group};
    return change_path(fs, at, path, walk_flags, &change);
}

int fs_set_owner_of_file(struct hf_fs *fs, int fd, uid_t owner, gid_t group)
{
    const struct change change = {.apply = apply_owner, .owner = owner, .group = group};
    return change_file(fs, fd, &change);
}

/* ---- times ---- */

static int apply_times(struct inode *inode, const struct change *change)
{
    return inode->backend->ops->set_times(inode->backend, inode->backend_node, change->times);
}

int fs_set_times(struct hf_fs *fs, int at, const char *path, unsigned walk_flags,
                 const struct timespec times[2])
{
    const struct change change = {.apply = apply_times, .times = times};
    return change_path(fs, at, path, walk_flags, &change);
}

int fs_set_times_of_file(struct hf_fs *fs, int fd, const struct timespec times[2])
{
    const struct change change = {.apply = apply_times, .times = times};
    return change_file(fs, fd, &change);
}
