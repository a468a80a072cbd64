/*
 * Inodes: what this client knows of a file, and the sync handle that says for how long it is
 * true.
 *
 * Every cache below is valid exactly while the epoch it was filled in is the epoch of the
 * inode's handle, seen by a thread that holds the handle. Losing the hold to a client that may
 * change something moves the epoch; nothing has to be dropped at that moment.
 *
 * References are of users (walks, open files, the working directory, directories below) and of
 * entries (dentries). An inode without any stays in the table of its filesystem, where the next
 * lookup finds it, until memory is short; unless its last name was removed here.
 *
 * What an inode is named by, its number, is given to another file once the file is gone. So:
 *
 *  - a node of the backend, or an open file, *pins* the inode: the number stays what it is;
 *  - a user of an inode that is not pinned holds a directory where the inode has an entry, and
 *    the entry keeps the number. Directories are pinned for all users who let the directory go;
 *  - between users, an inode that is not pinned may come to stand for another file with its
 *    number. That is right because all that is kept of it goes by the epoch: a client that
 *    removed the file held the handle EXCLUSIVE. What does not go by the epoch needs a node and
 *    is dropped with it: a link's target, a directory's parent. And where the epoch says nothing,
 *    because this client itself removed the file, or learned something after its name was gone,
 *    or the type is another one, or others change files behind our back, the next lookup puts a
 *    new inode in place of the old one.
 */
#ifndef HF_FS_INODE_H
#define HF_FS_INODE_H

#include "base/id_map.h"
#include "base/list.h"
#include "fs/backend.h"
#include "fs/directory.h"
#include "fs/xattr_cache.h"

#include <holdfast/fs.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

struct hf_fs;

/* inode.references: what one reference of either kind counts, and a bit. */
#define INODE_USER UINT64_C(1)
#define INODE_ENTRY (UINT64_C(1) << 32)
#define INODE_HAS_NODE (UINT64_C(1) << 63)
#define INODE_USERS (INODE_ENTRY - 1)
#define INODE_REFERENCES (INODE_HAS_NODE - 1)

struct inode {
    struct id_map_node node;       /* fs->inodes */
    struct list unreferenced_link; /* fs->unreferenced; fs->inodes_mutex */
    struct list directory_link;    /* fs->directories; fs->inodes_mutex */
    struct list with_node_link;    /* fs->with_nodes; fs->inodes_mutex */
    _Atomic uint64_t references;   /* from and to no references under fs->inodes_mutex */
    _Atomic uint32_t open_files;   /* of the backend */
    _Atomic bool recently_used;    /* looked up since it was last considered for dropping */
    _Atomic bool removed;          /* its last name was removed by this client, or seen to be */
    _Atomic uint64_t named_epoch;  /* in which it had a name; 0: nobody looked */
    _Atomic bool is_checked; /* others change it behind our back: what is cached is not believed */
    _Atomic uint64_t born_with; /* the grant of the directory it was made in; or 0 */
    _Atomic ino_t seen_in;      /* the number of the directory it was looked up in last; a hint */
    bool in_table;              /* not replaced by another one; fs->inodes_mutex */
    struct hf_fs *fs;
    struct backend *backend;
    intptr_t backend_node; /* INODE_HAS_NODE: stays while there are users */
    hf_sync *handle;
    dev_t device;
    ino_t number;
    mode_t type;           /* the S_IFMT bits of its mode; they never change */
    struct inode *parent;  /* of a directory with a node, a user or NULL; fs->inodes_mutex */
    uint64_t parent_epoch; /* that @parent is from; fs->inodes_mutex */
    pthread_mutex_t mutex; /* filling what is below, under SHARED */

    /* Read under SHARED; changed with the mutex, or under EXCLUSIVE. */
    _Atomic uint64_t attributes_epoch; /* 0: not valid */
    struct stat attributes;
    uint64_t size_epoch; /* 0: not valid. A write leaves the size valid alone. */
    off_t size;

    _Atomic(char *) link_target; /* of a symbolic link with a node; never changes while it has */
    struct xattr_cache xattrs;   /* the mutex, or under EXCLUSIVE */
    struct directory *entries;   /* of a directory, behind this struct; the mutex */
};

/* The inode that the backend says has @attributes, with a reference; made if it is not known.
 * It cannot go meanwhile: it has @node, or is open, or is an entry of a directory that is held.
 * Takes over @node, which may be BACKEND_NO_NODE, on failure too. Return: 0, -ENOMEM, or what
 * opening a sync handle says. */
int inode_get(struct hf_fs *fs, struct backend *backend, intptr_t node,
              const struct stat *attributes, struct inode **out);

/* The same by what a listing says, which may be wrong. Return: also -EAGAIN: something else is
 * known by that number. */
int inode_get_listed(struct inode *directory, ino_t number, mode_t type, struct inode **out);

static inline struct inode *inode_ref(struct inode *inode)
{
    atomic_fetch_add_explicit(&inode->references, INODE_USER, memory_order_acquire);
    return inode;
}

/* A pipe or a device, with data that is not the inode's, and times that follow that data; or a
 * socket. */
static inline bool inode_is_special(const struct inode *inode)
{
    return inode->type != S_IFREG && inode->type != S_IFDIR && inode->type != S_IFLNK;
}

/* @inode may be NULL. Return: NULL. */
struct inode *inode_unref(struct inode *inode);

static inline bool inode_is_checked(const struct inode *inode)
{
    return atomic_load_explicit(&inode->is_checked, memory_order_relaxed);
}

/* From now on it is checked, and so are all that are found below it. */
static inline void inode_set_checked(struct inode *inode)
{
    atomic_store_explicit(&inode->is_checked, true, memory_order_relaxed);
}

/* The reference of a dentry. */
static inline void inode_ref_entry(struct inode *inode)
{
    atomic_fetch_add_explicit(&inode->references, INODE_ENTRY, memory_order_relaxed);
}

void inode_unref_entry(struct inode *inode);

/* Has it a node, which will stay as long as the caller's reference? */
static inline bool inode_has_node(const struct inode *inode)
{
    return (atomic_load_explicit(&inode->references, memory_order_acquire) & INODE_HAS_NODE) != 0;
}

/* A file of the backend was opened on it, and is to be closed by inode_close_file(). */
static inline void inode_file_opened(struct inode *inode)
{
    atomic_fetch_add_explicit(&inode->open_files, 1, memory_order_relaxed);
}

void inode_close_file(struct inode *inode, intptr_t file);

/* Somebody is there, or has it open with O_PATH: it stays although it may lose its last name, until
 * inode_unkeep(). It has a node; the caller holds no inode. Return: 0; -ENOENT when it has lost that
 * meanwhile; or what acquiring it says. */
int inode_keep(struct inode *inode);
void inode_unkeep(struct inode *inode);

/* It has a name, or had one in @epoch: if another client has removed that since, the epoch will be
 * another one when the inode is held again. */
static inline void inode_had_name(struct inode *inode, uint64_t epoch)
{
    atomic_store_explicit(&inode->named_epoch, epoch, memory_order_relaxed);
}

/* A file that was made while its directory was held EXCLUSIVE is not known to any other client
 * before that hold ends; unless it has got a node, another name, or is open in a child. */
static inline void inode_known_elsewhere(struct inode *inode)
{
    atomic_store_explicit(&inode->born_with, 0, memory_order_relaxed);
}

/* The caller holds @directory EXCLUSIVE and found @inode there, which is no directory: is it known
 * to nobody else, no thread of this process either? Then it has one name, and nobody holds it. */
bool inode_is_private(struct inode *inode, struct inode *directory);

/* It is open as @file: give it a node, if it has none. Return: 0, or what the backend says. */
int inode_give_node_of_file(struct inode *inode, intptr_t file);

/* The directory that a directory is in, with a reference; of @root, the root of its mount, itself.
 * The caller of the second one holds @directory. Return: 0; -ENOENT when the backend was asked and
 * found it no longer below @root, or what it says. */
int inode_parent(struct inode *directory, struct inode *root, struct inode **parent);
int inode_parent_held(struct inode *directory, struct inode *root, struct inode **parent);

/* The directory that it was looked up in last, with a reference; NULL: that is not in the table. It may
 * have lost it since. */
struct inode *inode_find_seen_in(const struct inode *inode);

static inline void inode_seen_in(struct inode *inode, const struct inode *directory)
{
    atomic_store_explicit(&inode->seen_in, directory->number, memory_order_relaxed);
}

/* The caller holds @child, and it is in @directory now. */
void inode_set_parent(struct inode *child, struct inode *directory);

/* inode_trim.c: if the caches are over a budget, let go of what nobody uses. The caller holds
 * no handle and no mutex. */
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

/* Copy out the attributes. The caller holds the inode, which has a node; or is an entry of
 * @directory, held too; or is open as @file. Return: 0; -ESTALE when the entry is another file by
 * now, changed behind our back; or what the backend says. */
int inode_get_attributes(struct inode *inode, struct stat *out);
int inode_get_attributes_at(struct inode *inode, struct inode *directory, const char *name,
                            struct stat *out);
int inode_get_attributes_of_file(struct inode *inode, intptr_t file, struct stat *out);

/* The caller holds the inode, and asked for its attributes itself: they may be kept. */
void inode_told_attributes(struct inode *inode, const struct stat *attributes);

/* Are these attributes those of @inode? */
static inline bool inode_is(const struct inode *inode, const struct stat *attributes)
{
    return inode->number == attributes->st_ino && inode->device == attributes->st_dev &&
           inode->type == (attributes->st_mode & S_IFMT);
}

/* The caller holds it EXCLUSIVE, it is open as @file, and is not checked: its size. */
int inode_get_size(struct inode *inode, intptr_t file, off_t *size);

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

/* The caller holds it EXCLUSIVE and removed its last name: it goes with its last user. A file
 * that is not pinned is to be told of it before that is done, and of a failure afterwards. */
void inode_removed(struct inode *inode);
static inline void inode_not_removed(struct inode *inode)
{
    atomic_store_explicit(&inode->removed, false, memory_order_relaxed);
}

/* What a symbolic link with a node points to; the string lives as long as the caller's reference.
 * A link's target cannot change, so no hold is needed for it; but where this moves its time of access it is
 * held for that, so the caller holds nothing behind it in the order of locks. Return: 0, or a negative errno. */
int inode_link_target(struct inode *inode, const char **target);

/* ---- inode_entries.c ---- */

/* May this process search a directory, which is held meanwhile? Looking up a name asks that too.
 * Return: 0, -EACCES. */
int inode_check_search(struct inode *directory);

/* Look up an entry, never `.` or `..`. The caller holds @directory. On success @child has a
 * reference and a node. Return: 0, -ENOENT, -ENAMETOOLONG, or what the backend says. */
int inode_lookup(struct inode *directory, const char *name, size_t length, struct inode **child);

/* The same, but a file that is not a directory may come without a node: it is good until the
 * caller lets @directory go, or opens it. */
int inode_find(struct inode *directory, const char *name, size_t length, struct inode **child);

/* Look up an entry and its attributes. The caller holds @directory SHARED. Return: 0 with *out and
 * *child NULL; or 0 with *child as from inode_lookup(), which is to be asked when @directory is let
 * go: a directory, or with @follow a link, or what happens to have a node. Errors as there. */
int inode_stat_entry(struct inode *directory, const char *name, size_t length, bool follow,
                     struct inode **child, struct stat *out);

/* The caller holds @directory EXCLUSIVE and made a file there: bring its inode, with a reference,
 * good until @directory is let go. @number: as the backend said. It has the permissions of @mode, if
 * only the process's umask has taken some away. Return: 0, or what the backend says; the entry is there all the same. */
int inode_entry_made(struct inode *directory, const char *name, ino_t number, mode_t mode,
                     struct inode **child);

/* The same for a file that is open as @file, which counts with inode_file_opened(). */
int inode_entry_created(struct inode *directory, const char *name, mode_t mode, intptr_t file,
                        struct inode **child);

/* What is left of @mode for something new in @directory, which the caller holds: the umask takes
 * its part, unless a default access list is in its place. */
mode_t inode_mode_of_new(struct inode *directory, mode_t mode);

/* @inode was just made in @directory, has the mode @made and is open as @file: give it the
 * permissions that were asked for with @mode, if it was the process's umask that took them. */
void inode_restore_mode(struct inode *directory, struct inode *inode, intptr_t file, mode_t mode,
                        mode_t made);

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
 * as @file in the mount with that @root. Return: 1 with *out, 0 at the end, or a negative errno. */
int inode_read_entry(struct inode *directory, struct inode *root, intptr_t file, off_t position,
                     hf_dirent *out);

#endif
