/*
 * The table of mounts: the value of one sync handle, which the server keeps.
 *
 * Little-endian and without padding:
 *
 *   u16 version    WIRE_MOUNTS_VERSION
 *   u16 count      of mounts
 *   u64 last       the last number that was given to a mount; none is given twice
 *   and count times, parents before their children:
 *   u64 number     1 or more
 *   u64 parent     the mount it lies in; 0: it is mounted at "/"
 *   id  point      the directory of the parent that it is mounted on; 0:0 at "/"
 *   id  root       the directory that is seen there
 *   u8  type, u8 flags
 *   path, source   texts with a NUL behind each; see below
 *
 * A handle without a value is a table without mounts.
 */
#ifndef HF_WIRE_MOUNTS_H
#define HF_WIRE_MOUNTS_H

#include <holdfast/sync.h>
#include <stdbool.h>
#include <sys/sysmacros.h>
#include <sys/types.h>

#define WIRE_MOUNTS_VERSION 2

/* In one table at most: a mount is so many bytes and two texts of two or more. */
#define WIRE_MOUNTS_HEAD_BYTES 12
#define WIRE_MOUNT_BYTES 50
#define WIRE_MOUNTS_MAX ((HF_VALUE_MAX - WIRE_MOUNTS_HEAD_BYTES) / (WIRE_MOUNT_BYTES + 4))

/* wire_mount.type */
#define WIRE_MOUNT_DIRECT 1
#define WIRE_MOUNT_SERVED 2

/* wire_mount.flags; nobody but the server changes what it serves, so that is never CHECKED. */
#define WIRE_MOUNT_READ_ONLY 0x01
#define WIRE_MOUNT_CHECKED 0x02
#define WIRE_MOUNT_FLAGS 0x03

/* wire_mount.source of what the server has in memory. */
#define WIRE_MOUNT_RAM "ram"

/* The backend that all direct mounts have; that of a served one has the number of its store. */
#define WIRE_BACKEND_DIRECT 1

struct wire_mount {
    uint64_t number;
    uint64_t parent;
    hf_id point;
    hf_id root;
    uint8_t type;
    uint8_t flags;
    const char *path;   /* where it was mounted, for people: directories may be renamed since */
    const char *source; /* the host's directory: the client's, or the server's; or WIRE_MOUNT_RAM */
};

struct wire_mounts {
    uint64_t last;
    size_t count;
    struct wire_mount mounts[WIRE_MOUNTS_MAX];
};

/* The handle that has the table as its value. */
#define WIRE_MOUNTS_ID ((hf_id){HF_SPACE_RESERVED | (UINT64_C(4) << 56), 0})

/* The sync handle of an inode, whatever its backend: bits 61..56 of the space say what kind of handle
 * it is, 55..32 are the number of the backend, 31..0 the device. The kernel's device numbers have
 * 12 and 20 bits; what a larger one would lose by folding is a handle of its own, not exclusion. */
static inline hf_id wire_inode_id(uint32_t backend, dev_t device, uint64_t number)
{
    return (hf_id){
        .space = HF_SPACE_RESERVED | UINT64_C(1) << 56 | (uint64_t)(backend & 0xffffff) << 32 |
                 (((uint32_t)major(device) << 20) ^ (uint32_t)minor(device)),
        .object = number,
    };
}

/* The number of the backend that has its files. */
uint32_t wire_mount_backend(const struct wire_mount *mount);

/* Encode into @out, which has HF_VALUE_MAX bytes of room. Our own bugs (a table that decoding
 * would refuse) are asserted. Return: the bytes written; 0 when they are too many. */
size_t wire_mounts_encode(const struct wire_mounts *mounts, uint8_t *out);

/* Decode a value, whoever set it. The texts in *mounts are those in @bytes. Return: false when it
 * is no table of mounts; *mounts is then unspecified. */
bool wire_mounts_decode(const uint8_t *bytes, size_t size, struct wire_mounts *mounts);

#endif
