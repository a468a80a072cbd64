/* What the public functions of the filesystem share. */
#ifndef HF_API_FS_GATE_H
#define HF_API_FS_GATE_H

#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/walk.h"

/* For operations with a path, which may add inodes: begin with room for them. */
static inline void fs_enter_with_room(hf_fs *fs)
{
    gate_enter(&fs->gate);
    inodes_trim(fs);
}

/* The same, and hold the table of mounts until fs_leave_path(). Return: 0, or what mounts_hold()
 * says: then nothing was entered. */
static inline int fs_enter_path(hf_fs *fs)
{
    fs_enter_with_room(fs);
    int result = mounts_hold(fs, HF_SHARED);
    if (result < 0) {
        gate_leave(&fs->gate);
    }
    return result;
}

static inline void fs_leave_path(hf_fs *fs)
{
    /* A connection that is lost is for the operation to report, if it needed it. */
    (void)mounts_release(fs);
    gate_leave(&fs->gate);
}

/* Can a path or another string that the caller gave be read? Return: 0, -EFAULT. */
static inline int api_check_path(const hf_fs *fs, const char *path)
{
    if (path == NULL) {
        return -EFAULT;
    }
    return fs->check_pointers ? user_memory_check_string(path, PATH_MAX) : 0;
}

static inline int api_check_paths(const hf_fs *fs, const char *path, const char *other)
{
    int result = api_check_path(fs, path);
    return result < 0 ? result : api_check_path(fs, other);
}

/* Enter with a path, or with two. Return: as fs_enter_path(); -EFAULT. */
static inline int api_enter_path(hf_fs *fs, const char *path)
{
    int result = api_check_path(fs, path);
    return result < 0 ? result : fs_enter_path(fs);
}

static inline int api_enter_paths(hf_fs *fs, const char *path, const char *other)
{
    int result = api_check_paths(fs, path, other);
    return result < 0 ? result : fs_enter_path(fs);
}

/* May a result be written to @out at once? If not it goes through memory of ours: only when there
 * is a result does it matter that @out is bad. */
static inline bool api_is_good(const hf_fs *fs, const void *out)
{
    return out != NULL && !fs->check_pointers;
}

/* The end of it: with a @result of 0 copy @from to an @out that is not known to be good. */
static inline int api_give(const hf_fs *fs, int result, void *out, const void *from, size_t size)
{
    return result < 0 || api_is_good(fs, out) ? result : fs_give(fs, out, from, size);
}

/* How a path is walked with these AT_ flags, where links are followed by default. */
static inline unsigned api_walk_flags(int flags)
{
    return ((flags & AT_SYMLINK_NOFOLLOW) == 0 ? WALK_FOLLOW : 0U) |
           ((flags & AT_EMPTY_PATH) != 0 ? WALK_EMPTY : 0U);
}

#endif
