/* Looking at attributes, and setting the size; by path and by descriptor. */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/open_file.h"
#include "fs/walk.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int stat_inode(struct inode *inode, struct stat *out)
{
    int result = inode_acquire(inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_get_attributes(inode, out);
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

int fs_stat_file(struct hf_fs *fs, int fd, struct stat *out)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = inode_acquire(file->inode, HF_SHARED);
    if (result == 0) {
        result = open_file_get_attributes(file, out);
        int released = inode_release(file->inode);
        result = result < 0 ? result : released;
    }
    open_file_put(fs, fd, file);
    return result;
}

/* Look the walk's last component up, and its attributes while its directory is held. Return: 0
 * with *out and place->inode NULL, or 0 with an inode that is to be asked. */
static int stat_last(struct walk *walk, bool follow, struct place *place, struct stat *out)
{
    if (walk->last != WALK_LAST_NAME) {
        return walk_last_directory(walk, place);
    }
    place->mount = walk->mount;
    int result = inode_acquire(walk->directory, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_stat_entry(
        walk->directory, walk->name, walk->name_length, follow, &place->inode, out);
    int released = inode_release(walk->directory);
    if (result == 0 && released < 0) {
        inode_unref(place->inode);
        result = released;
    }
    return result < 0 || place->inode == NULL ? result : mounts_cross(walk->fs, place);
}

static int stat_path(struct walk *walk, unsigned flags, struct stat *out)
{
    struct place place;
    int result = 0;

    while (result == 0) {
        const bool follow = (flags & WALK_FOLLOW) != 0 || walk->must_be_directory;
        result = stat_last(walk, follow, &place, out);
        if (result < 0) {
            break;
        }
        struct inode *inode = place.inode;
        if (inode == NULL) {
            return walk->must_be_directory ? -ENOTDIR : 0;
        }
        if (inode->type != S_IFLNK || !follow) {
            result = walk->must_be_directory && inode->type != S_IFDIR ? -ENOTDIR
                                                                       : stat_inode(inode, out);
            inode_unref(inode);
            break;
        }
        result = walk_follow(walk, inode);
        inode_unref(inode);
    }
    return result;
}

int fs_stat(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, struct stat *out)
{
    struct place place;
    struct walk walk;
    int result;

    if (path[0] == '\0' && (walk_flags & WALK_EMPTY) != 0) {
        if (at != HF_AT_FDCWD) {
            return fs_stat_file(fs, at, out);
        }
        result = fs_working_directory(fs, &place);
        if (result == 0) {
            result = stat_inode(place.inode, out);
            inode_unref(place.inode);
        }
        return result;
    }
    result = walk_begin(&walk, fs, at, path);
    if (result == 0) {
        result = stat_path(&walk, walk_flags, out);
    }
    walk_end(&walk);
    return result;
}

/* ---- statx ---- */

static struct statx_timestamp statx_time(const struct timespec *time)
{
    return (struct statx_timestamp){.tv_sec = time->tv_sec, .tv_nsec = (uint32_t)time->tv_nsec};
}

/* What every stat() tells. */
static void fill_basic(const struct stat *from, struct statx *out)
{
    *out = (struct statx){
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)from->st_blksize,
        .stx_nlink = (uint32_t)from->st_nlink,
        .stx_uid = from->st_uid,
        .stx_gid = from->st_gid,
        .stx_mode = (uint16_t)from->st_mode,
        .stx_ino = from->st_ino,
        .stx_size = (uint64_t)from->st_size,
        .stx_blocks = (uint64_t)from->st_blocks,
        .stx_atime = statx_time(&from->st_atim),
        .stx_ctime = statx_time(&from->st_ctim),
        .stx_mtime = statx_time(&from->st_mtim),
        .stx_rdev_major = major(from->st_rdev),
        .stx_rdev_minor = minor(from->st_rdev),
        .stx_dev_major = major(from->st_dev),
        .stx_dev_minor = minor(from->st_dev),
    };
}

/* More than that the backend is asked for. */
static int statx_inode(struct inode *inode, int flags, unsigned mask, struct statx *out)
{
    int result = inode_acquire(inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode->backend->ops->statx(inode->backend, inode->backend_node, flags, mask, out);
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

int fs_statx(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, int flags,
             unsigned mask, struct statx *out)
{
    struct inode *inode;
    struct stat attributes;
    int result;

    if ((mask & ~STATX_BASIC_STATS) == 0) {
        result = fs_stat(fs, at, path, walk_flags, &attributes);
        if (result == 0) {
            fill_basic(&attributes, out);
        }
        return result;
    }
    result = walk_to_inode(fs, at, path, walk_flags, &inode);
    if (result == 0) {
        result = statx_inode(inode, flags, mask, out);
        inode_unref(inode);
    }
    return result;
}

/* ---- access and statfs ---- */

static int access_inode(struct inode *inode, int mode, int flags)
{
    int result = inode_acquire(inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode->backend->ops->access(inode->backend, inode->backend_node, mode, flags);
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

/* Does what is written to it change the filesystem? */
static bool is_kept_there(const struct inode *inode)
{
    return inode->type == S_IFREG || inode->type == S_IFDIR || inode->type == S_IFLNK;
}

int fs_access(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, int mode, int flags)
{
    struct place place;
    int result = walk_to_place(fs, at, path, walk_flags, &place);
    if (result < 0) {
        return result;
    }
    if (mode != F_OK) {
        result = access_inode(place.inode, mode, flags);
    }
    if (result == 0 && (mode & W_OK) != 0 && is_kept_there(place.inode)) {
        result = mount_check_writable(place.mount);
    }
    inode_unref(place.inode);
    return result;
}

/* What it says changes all the time, so no hold makes it truer. */
static int statfs_place(const struct place *place, struct statfs *out)
{
    struct inode *inode = place->inode;
    int result = inode->backend->ops->statfs(inode->backend, inode->backend_node, out);
    if (result == 0 && place->mount->read_only) {
        out->f_flags |= ST_RDONLY;
    }
    return result;
}

int fs_statfs(struct hf_fs *fs, const char *path, struct statfs *out)
{
    struct place place;
    int result = walk_to_place(fs, HF_AT_FDCWD, path, WALK_FOLLOW, &place);
    if (result < 0) {
        return result;
    }
    result = statfs_place(&place, out);
    inode_unref(place.inode);
    return result;
}

int fs_statfs_file(struct hf_fs *fs, int fd, struct statfs *out)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    const struct place place = {file->mount, file->inode};
    int result = open_file_give_node(file);
    if (result == 0) {
        result = statfs_place(&place, out);
    }
    open_file_put(fs, fd, file);
    return result;
}

/* ---- size ---- */

static int truncate_file(struct open_file *file, off_t size, bool as_named)
{
    struct inode *inode = file->inode;
    int result = inode_acquire(inode, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = inode->backend->ops->truncate(inode->backend, file->backend_file, size, as_named);
    if (result == 0) {
        inode_resized(inode, size);
    }
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

int fs_truncate(struct hf_fs *fs, const char *path, off_t size)
{
    if (size < 0) {
        return -EINVAL;
    }
    /* Opening it for writing asks the same permissions. */
    struct open_file *file;
    int result = fs_open_file(fs, HF_AT_FDCWD, path, O_WRONLY, 0, &file);
    if (result < 0) {
        return result == -ENXIO ? -EINVAL : result; /* a socket has no size */
    }
    result = file->inode->type == S_IFREG ? truncate_file(file, size, true) : -EINVAL;
    open_file_unref(file);
    return result;
}

int fs_truncate_file(struct hf_fs *fs, int fd, off_t size)
{
    if (size < 0) {
        return -EINVAL;
    }
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = -EINVAL;
    if (file->inode->type == S_IFREG && open_file_is_for(file, O_WRONLY)) {
        result = truncate_file(file, size, false);
    }
    open_file_put(fs, fd, file);
    return result;
}
