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

/* How a path is walked with these AT_ flags, where links are followed by default. */
static inline unsigned api_walk_flags(int flags)
{
    return ((flags & AT_SYMLINK_NOFOLLOW) == 0 ? WALK_FOLLOW : 0U) |
           ((flags & AT_EMPTY_PATH) != 0 ? WALK_EMPTY : 0U);
}

#endif
