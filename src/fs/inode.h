/*
 * Inodes: what this client knows of a file, and the sync handle that says for how long it is
 * true.
 *
 * Every cache below is valid exactly while the epoch it was filled in is the epoch of the
 * inode's handle, seen by a thread that holds the handle. Losing the hold to a client that may
 * change something moves the epoch; nothing has to be dropped at that moment.
 *
 * References: dentries, open files, walks, and the cached subdirectories of a directory. An
 * inode without references stays in the table of its filesystem, where the next lookup finds
 * it, until the table is over its limit; unless its last name was removed here.
 */
#ifndef HF_FS_INODE_H
#define HF_FS_INODE_H

#include "base/id_map.h"
#include "base/list.h"
#include "fs/directory.h"
#include "fs/backend.h"
#include "fs/xattr_cache.h"

#include <holdfast/fs.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

struct hf_fs;

struct inode {
    struct id_map_node node;       /* fs->inodes */
    struct list unreferenced_link; /* fs->unreferenced; fs->inodes_mutex */
    struct list directory_link;    /* fs->directories; fs->inodes_mutex */
    _Atomic uint32_t references;   /* from and to 0 under fs->inodes_mutex */
    _Atomic bool recently_used;    /* looked up since it was last considered for dropping */
    _Atomic bool removed;          /* its last name was removed by this client */
    struct hf_fs *fs;
    struct backend *backend;
    intptr_t backend_node;
    hf_sync *handle;
    ino_t number;
    mode_t type;           /* the S_IFMT bits of its mode; they never change */
    struct inode *parent;  /* of a directory, a reference or NULL; fs->inodes_mutex */
    uint64_t parent_epoch; /* that @parent is from; fs->inodes_mutex */
    pthread_mutex_t mutex; /* filling what is below, under SHARED */

    /* Read under SHARED; changed with the mutex, or under EXCLUSIVE. */
    _Atomic uint64_t attributes_epoch; /* 0: not valid */
    struct stat attributes;
    uint64_t size_epoch; /* 0: not valid. A write leaves the size valid alone. */
    off_t size;

    _Atomic(char *) link_target; /* of a symbolic link; never changes once set */
    struct directory entries;    /* of a directory; the mutex */
    struct xattr_cache xattrs;   /* the mutex, or under EXCLUSIVE */
};

/* The inode of @node, which has @attributes, with a reference; made if it is not known. Takes
 * over @node, on failure too. Return: 0, -ENOMEM, or what opening a sync handle says. */
int inode_get(struct hf_fs *fs, struct backend *backend, intptr_t node,
              const struct stat *attributes, struct inode **out);

static inline struct inode *inode_ref(struct inode *inode)
{
    atomic_fetch_add_explicit(&inode->references, 1, memory_order_relaxed);
    return inode;
}

/* @inode may be NULL. Return: NULL. */
struct inode *inode_unref(struct inode *inode);

/* The directory that a directory is in, with a reference; of the root, the root. The caller
 * of the second one holds @directory. Return: 0; -ENOENT when it is no longer below the root,
 * or what the backend says. */
int inode_parent(struct inode *directory, struct inode **parent);
int inode_parent_held(struct inode *directory, struct inode **parent);

/* The caller holds @child, and it is in @directory now. */
void inode_set_parent(struct inode *child, struct inode *directory);

/* Drop inodes that nobody uses until the table is inside its limit, if it can be. The caller
 * holds no handle and no mutex. */
void inodes_trim(struct hf_fs *fs);

/* The filesystem ends: no references but those of dentries and subdirectories are left. */
void inodes_drop_all(struct hf_fs *fs);

/* Hold and release the inode's handle; see hf_sync_acquire(). Return: 0, or a negative errno. */
int inode_acquire(struct inode *inode, hf_mode mode);
int inode_release(struct inode *inode);

/* From SHARED to EXCLUSIVE; others may go first. On error nothing is held. */
int inode_upgrade(struct inode *inode);

/* Two files, which may be the same one: then the stronger mode counts for both. Of files that
 * are held together directories come first, and then the one with the lower identifier. */
int inode_acquire_two(struct inode *one, hf_mode one_mode, struct inode *other, hf_mode other_mode);
int inode_release_two(struct inode *one, struct inode *other);

/* Copy out the attributes. The caller holds the inode. */
int inode_get_attributes(struct inode *inode, struct stat *out);

/* The caller holds it EXCLUSIVE: the size of the file. */
int inode_get_size(struct inode *inode, off_t *size);

/* The caller holds it EXCLUSIVE and changed attributes, but not the size. */
void inode_attributes_changed(struct inode *inode);

/* The caller holds it EXCLUSIVE and wrote: the file now reaches to @end at least. */
void inode_grew(struct inode *inode, off_t end);

/* The caller holds it EXCLUSIVE and set the size. */
void inode_resized(struct inode *inode, off_t size);

/* The caller holds it EXCLUSIVE and did what may have changed the size in any way. */
void inode_size_changed(struct inode *inode);

/* The caller holds it EXCLUSIVE, it is a directory, and who may search it has changed. */
void inode_search_changed(struct inode *directory);

/* The caller holds it EXCLUSIVE and removed its last name: it goes with its last user. */
void inode_removed(struct inode *inode);

/* What a symbolic link points to; the string lives as long as the inode. A link's target
 * cannot change, so no hold is needed. */
int inode_link_target(struct inode *inode, const char **target);

/* Look up an entry, never `.` or `..`. The caller holds @directory. On success @child has a
 * reference. Return: 0, -ENOENT, -ENAMETOOLONG, or what the backend says. */
int inode_lookup(struct inode *directory, const char *name, size_t length, struct inode **child);

/* The caller holds @directory EXCLUSIVE and made a file of @mode there: bring its inode, with
 * a reference. Return: 0, or what the backend says; the entry is there all the same. */
int inode_entry_made(struct inode *directory, const char *name, mode_t mode, struct inode **child);

/* What was just made in @directory as @node has the mode @made: give it the permissions that
 * were asked for with @mode, if it was the process's umask that took them away. */
void inode_restore_mode(struct inode *directory, intptr_t node, mode_t mode, mode_t made);

/* The caller holds @directory EXCLUSIVE, where @name is now that of @child. */
void inode_entry_set(struct inode *directory, const char *name, struct inode *child);

/* The name of the entry that is @child, a directory, in @name. The caller holds @directory.
 * Return: 0; -ENOENT when there is none, or what the backend says. */
int inode_entry_name(struct inode *directory, const struct inode *child, char name[NAME_MAX + 1]);

/* The caller holds @directory EXCLUSIVE, tried to change an entry, and does not know how it went. */
void inode_entry_unknown(struct inode *directory, const char *name);

/* The caller holds @directory EXCLUSIVE and removed an entry. */
void inode_entry_removed(struct inode *directory, const char *name);

/* The entry at @position or the next one after it. The caller holds @directory, which is open
 * as @file. Return: 1 with *out, 0 at the end, or a negative errno. */
int inode_read_entry(struct inode *directory, intptr_t file, off_t position, hf_dirent *out);

#endif
