/*
 * What the filesystem's sync handles are called.
 *
 *   space   63      HF_SPACE_RESERVED
 *           62      0: identifiers of named handles have it set
 *           61..56  the kind of handle, below
 *     inode:        55..32  the number of the backend, 31..0  the device, folded
 *     open file:    55..0   the number of the client that opened the file
 *   object
 *     inode:        st_ino
 *     open file:    a counter of that client
 *   A backend's rename handle is named as an inode of device and number 0, and the handle that says
 *   whether a mount is in use by the mount's number as the object.
 *
 * An open file keeps its name in processes that inherit it, whose clients have other numbers.
 */
#ifndef HF_FS_IDS_H
#define HF_FS_IDS_H

#include "wire/ids.h"
#include "wire/mounts.h"

#include <holdfast/sync.h>
#include <stdbool.h>
#include <sys/types.h>

enum fs_id_kind {
    FS_ID_INODE = 1, /* wire_inode_id() */
    FS_ID_OPEN_FILE = WIRE_ID_OPEN_FILE,
    FS_ID_RENAME = 3,
    FS_ID_MOUNTS = 4, /* WIRE_MOUNTS_ID */
    FS_ID_MOUNT_USE = 5,
    FS_ID_PROCESS = WIRE_ID_PROCESS, /* no handle, but an owner of locks */
};

static inline hf_id fs_id_of_inode(uint32_t backend, dev_t device, ino_t number)
{
    return wire_inode_id(backend, device, number);
}

static inline hf_id fs_id_of_rename(uint32_t backend)
{
    return (hf_id){
        .space = HF_SPACE_RESERVED | ((uint64_t)FS_ID_RENAME << 56) |
                 ((uint64_t)(backend & 0xffffff) << 32),
        .object = 0,
    };
}

static inline hf_id fs_id_of_mount_use(uint64_t mount)
{
    return (hf_id){
        .space = HF_SPACE_RESERVED | ((uint64_t)FS_ID_MOUNT_USE << 56),
        .object = mount,
    };
}

static inline hf_id fs_id_of_open_file(uint64_t client, uint64_t counter)
{
    return (hf_id){wire_open_file_space(client), counter};
}

static inline bool fs_id_is_of_open_file(hf_id id)
{
    return wire_id_is_of_open_file(id);
}

#endif
