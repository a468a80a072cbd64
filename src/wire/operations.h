/*
 * Operations on a store and their answers: the data of OPERATION and ANSWER. One struct serves all
 * operations; operations.def says which fields each carries, and the others are zero after decoding
 * and ignored by encoding.
 */
#ifndef HF_WIRE_OPERATIONS_H
#define HF_WIRE_OPERATIONS_H

#include "wire/wire.h"

#include <time.h>

/* Bytes of data in one READ, WRITE or APPEND, and of a value of an extended attribute. */
#define WIRE_DATA_MAX 65536

/* More than any operation or record takes without its REST. */
#define WIRE_OPERATION_HEAD_MAX 640

enum wire_operation_code {
#define OPERATION(name, number, answer, fields) WIRE_OP_##name = number,
#include "wire/operations.def"
#undef OPERATION
};

/* USE.rights: what it was opened for. */
#define WIRE_USE_READ 1
#define WIRE_USE_WRITE 2

/* IDENTITY.flags */
/* Numbers of pages, and sizes of directories, are what store.h says, so that a client can reckon
 * what a change makes of them. */
#define WIRE_STORE_EXACT 1
#define WIRE_STORE_READ_ONLY 2
/* The client may state other credentials than its own. */
#define WIRE_STORE_PRIVILEGED 4

/* The sync handle of an inode of a store is called as that of any inode: see fs/ids.h. A store's
 * inodes have this device; stores are numbered from 2 on, as backends (1: the direct one). */
#define WIRE_STORE_FIRST 2
#define WIRE_STORE_LAST 0xfff
#define WIRE_STORE_MAJOR 0xfff
static inline hf_id wire_store_id(uint32_t store, uint64_t inode)
{
    return (hf_id){
        .space = HF_SPACE_RESERVED | UINT64_C(1) << 56 | (uint64_t)store << 32 |
                 ((uint32_t)WIRE_STORE_MAJOR << 20 ^ store),
        .object = inode,
    };
}

/* A FIFO of a store has the data of one of the host's that had a name which begins so, with the store's
 * number and the inode's: what a descriptor of it that comes from elsewhere stands for, if that is lent. */
#define WIRE_PIPE_NAME ".holdfast-pipe-%u-%llu-"

/* Not ended by a NUL. */
struct wire_name {
    const char *bytes;
    uint8_t length;
};

struct wire_operation {
    enum wire_operation_code code;
    uint64_t inode;
    uint64_t other;
    uint64_t number;
    uint64_t replaced;
    uint64_t offset;
    uint64_t other_offset;
    uint64_t size;
    uint64_t pages;
    uint64_t inodes;
    uint64_t device;
    uint64_t ticket_space, ticket_object;
    uint32_t mask;
    uint32_t mode;
    uint32_t owner;
    uint32_t group;
    uint32_t slot;
    uint8_t whence;
    uint8_t rights;
    uint8_t count;
    struct timespec now, atime, mtime;
    struct wire_name name;
    struct wire_name new_name;
    const uint8_t *data; /* points into what was decoded */
    uint32_t data_size;
};

struct wire_identity {
    uint64_t root;
    uint32_t flags;
    uint32_t owner;
    uint32_t group;
    const uint8_t *data;
    uint32_t data_size;
};

struct wire_attributes {
    uint64_t number;
    uint64_t size;
    uint64_t pages;
    uint64_t device;
    uint32_t mode;
    uint32_t links;
    uint32_t owner;
    uint32_t group;
    struct timespec atime, mtime, ctime, btime;
};

struct wire_entry {
    uint64_t number;
    uint32_t mode; /* the S_IFMT bits */
    uint64_t offset;
    struct wire_name name;
};

struct wire_count {
    uint64_t count;
};

struct wire_appended {
    uint64_t count;
    uint64_t end;
};

struct wire_usage {
    uint64_t pages, free_pages;
    uint64_t inodes, free_inodes;
};

struct wire_lock {
    uint8_t kind; /* the decoder checks neither these nor the range */
    uint8_t type;
    uint64_t start, end;
    uint64_t owner_space, owner_object;
    uint32_t pid;
    struct wire_name path;
};

struct wire_listed {
    uint8_t state;
    uint8_t kind;
    uint8_t type;
    uint64_t start, end;
    uint64_t owner_space, owner_object;
    uint32_t pid;
    uint64_t space, object;
    uint64_t client;
    uint32_t cycle;
    struct wire_name path;
};

struct wire_reservation {
    uint64_t pages, inodes;
    uint64_t number;
};

/* Bytes without the REST; at most WIRE_OPERATION_HEAD_MAX. */
size_t wire_operation_head_size(const struct wire_operation *operation);

/* Encode all but the REST, which the caller lets follow. Return: the bytes written. */
size_t wire_operation_encode(const struct wire_operation *operation, uint8_t *out);

/* Decode the data of an OPERATION; names and data point into @bytes. Return: false when it is none:
 * an unknown number, fields cut short or left over, a time that is none. */
bool wire_operation_decode(const uint8_t *bytes, size_t size, struct wire_operation *operation);

const char *wire_operation_name(enum wire_operation_code code);

/* For each record: wire_put_NAME() encodes all but the REST into @out, which has
 * WIRE_OPERATION_HEAD_MAX bytes of room, and returns how many bytes that are. wire_get_NAME()
 * decodes from the beginning of @bytes and returns how many it took, the REST included; 0 when that
 * is none. */
#define RECORD(NAME, name, fields)                                                                 \
    size_t wire_put_##name(const struct wire_##name *record, uint8_t *out);                        \
    size_t wire_get_##name(const uint8_t *bytes, size_t size, struct wire_##name *record);
#include "wire/records.def"
#undef RECORD

#endif
