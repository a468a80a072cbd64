/* How the public functions of the filesystem begin. */
#ifndef HF_API_FS_GATE_H
#define HF_API_FS_GATE_H

#include "fs/filesystem.h"
#include "fs/inode.h"

/* For operations with a path, which may add inodes: begin with room for them. */
static inline void fs_enter_with_room(hf_fs *fs)
{
    gate_enter(&fs->gate);
    inodes_trim(fs);
}

#endif
