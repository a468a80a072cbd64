/*
 * The store in the server's memory: what its files share.
 *
 * Inodes are found by number in one map, entries by directory and name in another, so an empty
 * directory or file costs its inode alone. What a file or directory has is in a radix tree: a file's
 * pages by index, a directory's entries by position.
 */
#ifndef HF_STORE_RAM_RAM_H
#define HF_STORE_RAM_RAM_H

#include "base/id_map.h"
#include "store/parts.h"
#include "base/radix.h"

#include <sys/stat.h>

struct ram_store {
    struct store store;
    struct id_map inodes;   /* space 0 */
    struct id_map dentries; /* space: the directory; object: the hash of the name */
    uint64_t hash_key[2];
};

/* One of an inode's extended attributes. */
struct ram_xattr {
    struct ram_xattr *next;
    uint32_t value_size;
    uint8_t name_length;
    char bytes[]; /* the name, a NUL, the value */
};

struct ram_inode {
    struct id_map_node node; /* id.object is the number */
    uint32_t mode;
    uint32_t links; /* 0: goes with the last use */
    uint32_t owner;
    uint32_t group;
    uint64_t uses;
    uint64_t size;
    uint64_t pages; /* of data or target */
    uint64_t device;
    struct timespec atime, mtime, ctime, btime;
    struct ram_xattr *xattrs;
    uint32_t xattr_bytes; /* names with their NUL, values */
    uint32_t xattr_list_bytes;
    bool linkable; /* has no name yet and may get one */
    union {
        struct radix data; /* regular file; see data.c */
        char *target;      /* link; without a NUL */
        struct {
            struct radix entries;
            struct ram_inode *parent; /* once it is removed, one of its uses */
            uint64_t next_position;   /* never used twice */
        };                            /* directory */
    };
};

struct ram_dentry {
    struct id_map_node node;
    struct ram_inode *inode;
    uint64_t position;
    uint8_t length;
    char name[];
};

static inline struct ram_store *ram_of(struct store *store)
{
    return (struct ram_store *)(void *)((char *)store - offsetof(struct ram_store, store));
}

static inline uint64_t ram_number(const struct ram_inode *inode)
{
    return inode->node.id.object;
}

/* ---- inodes: inode.c ---- */

/* NULL when there is none. */
struct ram_inode *ram_find_inode(const struct ram_store *ram, uint64_t number);
/* Return: 0 with *out; -ESTALE, -ENOTDIR. */
int ram_find_directory(const struct ram_store *ram, uint64_t number, struct ram_inode **out);
/* Return: 0 with *out; -ESTALE, -EISDIR for a directory, -EINVAL for what is no regular file. */
int ram_find_file(const struct ram_store *ram, uint64_t number, struct ram_inode **out);

/* An inode as @what says, made in @directory (NULL: as it stands there), without links, which costs
 * what it costs. Return: 0 with *out; -EINVAL, -ENOENT, -ENAMETOOLONG, -EPROTO, -ENOSPC, -ENOMEM. */
int ram_new_inode(struct ram_store *ram, const struct store_call *call,
                  const struct ram_inode *directory, const struct store_new *what,
                  struct ram_inode **out);
/* Free it and its space, when it has neither links nor uses. */
void ram_drop_inode(struct ram_store *ram, struct ram_inode *inode);

void ram_show(const struct ram_inode *inode, struct store_attributes *out);
/* It was read: relatime. */
void ram_touch_inode(struct ram_inode *inode, const struct store_call *call);
/* Its data or entries changed. */
void ram_changed(struct ram_inode *inode, const struct store_call *call);
/* The data of a file changes: what it let its callers do by privilege goes. */
void ram_drop_privileges(struct ram_store *ram, struct ram_inode *inode,
                         const struct store_call *call);

/* ---- entries: directory.c ---- */

/* NULL when there is none. */
struct ram_dentry *ram_find_dentry(const struct ram_store *ram, const struct ram_inode *directory,
                                   struct store_name name);
/* An entry that leads to @inode, in no directory; NULL without memory. */
struct ram_dentry *ram_new_dentry(const struct ram_store *ram, const struct ram_inode *directory,
                                  struct store_name name, struct ram_inode *inode);
/* At the newest position. Takes @dentry over on success. Return: 0, -ENOMEM. */
int ram_insert_dentry(struct ram_store *ram, struct ram_inode *directory,
                      struct ram_dentry *dentry);
/* At the position of @old, which is freed. Cannot fail. */
void ram_replace_dentry(struct ram_store *ram, struct ram_inode *directory, struct ram_dentry *old,
                        struct ram_dentry *dentry);
/* Frees @dentry. */
void ram_remove_dentry(struct ram_store *ram, struct ram_inode *directory,
                       struct ram_dentry *dentry);
static inline bool ram_is_empty(const struct ram_inode *directory)
{
    return directory->size == STORE_DIRECTORY_SIZE;
}

/* A name of @inode is gone, and with the last one the inode unless it is used: names.c. */
void ram_lose_link(struct ram_store *ram, const struct store_call *call, struct ram_inode *inode);

/* ---- data.c ---- */

/* Set a file's size; what is behind it goes. */
void ram_set_size(struct ram_store *ram, struct ram_inode *inode, uint64_t size);

/* ---- xattr.c ---- */

void ram_drop_xattrs(struct ram_store *ram, struct ram_inode *inode);
/* Remove security.capability, if it has it. */
void ram_drop_capability(struct ram_store *ram, struct ram_inode *inode);

/* ---- the operations ---- */

int ram_lookup(struct store *store, uint64_t directory, struct store_name name,
               struct store_attributes *out);
int ram_parent(struct store *store, uint64_t directory, uint64_t *out);
int ram_list(struct store *store, const struct store_call *call, uint64_t directory,
             uint64_t position, store_entry_function *entry, void *context);
int ram_make(struct store *store, const struct store_call *call, uint64_t directory,
             struct store_name name, const struct store_new *what, struct store_attributes *out);
int ram_make_unnamed(struct store *store, const struct store_call *call, uint64_t directory,
                     const struct store_new *what, bool linkable, struct store_attributes *out);
int ram_link(struct store *store, const struct store_call *call, uint64_t number,
             uint64_t directory, struct store_name name);
int ram_unlink(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name);
int ram_remove_directory(struct store *store, const struct store_call *call, uint64_t directory,
                         struct store_name name);
int ram_rename(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name, uint64_t new_directory, struct store_name new_name,
               unsigned flags);
int64_t ram_read(struct store *store, const struct store_call *call, uint64_t number,
                 int64_t offset, void *buffer, size_t size);
int64_t ram_write(struct store *store, const struct store_call *call, uint64_t number,
                  int64_t offset, const void *data, size_t size);
int ram_allocate(struct store *store, const struct store_call *call, uint64_t number, int mode,
                 int64_t offset, int64_t length);
int64_t ram_seek(struct store *store, uint64_t number, int64_t offset, int whence);
int64_t ram_copy(struct store *store, const struct store_call *call, uint64_t from,
                 int64_t from_offset, uint64_t to, int64_t to_offset, size_t size);
int64_t ram_get_xattr(struct store *store, uint64_t number, struct store_name name, void *value,
                      size_t size);
int ram_set_xattr(struct store *store, const struct store_call *call, uint64_t number,
                  struct store_name name, const void *value, size_t size, int flags);
int64_t ram_list_xattrs(struct store *store, uint64_t number, char *names, size_t size);
int ram_remove_xattr(struct store *store, const struct store_call *call, uint64_t number,
                     struct store_name name);

/* Count everything again and assert that it is as it is kept; for tests. @holders: all there are,
 * and how many. */
void ram_check(struct store *store, struct store_holder *const *holders, size_t count);

#endif
