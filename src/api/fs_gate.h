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

/* How a path is walked with these AT_ flags, where links are followed by default. */
static inline unsigned api_walk_flags(int flags)
{
    return ((flags & AT_SYMLINK_NOFOLLOW) == 0 ? WALK_FOLLOW : 0U) |
           ((flags & AT_EMPTY_PATH) != 0 ? WALK_EMPTY : 0U);
}

#endif
