/*
 * Mounts: where in the tree which directories of the backend are seen.
 *
 * The table of them is the value of one sync handle (wire/mounts.h), so all clients have the same.
 * Every operation with a path holds it SHARED from its beginning to its end, once; whoever mounts
 * or unmounts holds it EXCLUSIVE. So while a path is walked nothing is mounted or unmounted
 * anywhere, and what a client made of the table needs no lock to be read.
 *
 * A mount is used by open files and working directories. The first use in a process acquires the
 * mount's use handle SHARED, the last releases it; unmounting asks for it EXCLUSIVE without
 * waiting. The mount at "/" cannot be unmounted and has no such handle.
 *
 * A mount that is not in the table any more, detached or because it was not used, is freed when
 * the table is loaded next and finds it unused: walks, which know mounts by mere address, are not
 * under way then.
 */
#ifndef HF_FS_MOUNT_H
#define HF_FS_MOUNT_H

#include "base/list.h"

#include <errno.h>
#include <holdfast/sync.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct hf_fs;
struct inode;
struct wire_mounts;

#define MOUNT_POINT_BUCKETS 64

struct mount {
    struct list link; /* fs->mounts.all */
    struct hf_fs *fs;
    uint64_t number;
    bool in_table;
    bool read_only;
    bool is_checked;  /* others change its files behind our back */
    uint32_t backend; /* the number of the one that has its files */

    struct mount *parent; /* NULL: mounted at "/", or not in the table */
    hf_id point_id;       /* the directory of @parent that it is mounted on */
    struct mount *next_at_point;
    hf_id root_id; /* the directory that is seen there */

    hf_sync *use_handle; /* NULL at "/" */
    _Atomic uint32_t uses;
    pthread_mutex_t mutex;         /* uses from and to 0; setting the next two */
    _Atomic(struct inode *) root;  /* a reference; NULL: not walked into yet */
    _Atomic(struct inode *) point; /* a reference; the same */

    const char *source; /* in path[], behind it */
    char path[];        /* where it was mounted */
};

struct mounts {
    hf_sync *handle;
    _Atomic uint64_t epoch; /* of the handle, that all below is from; 0: of none */
    pthread_mutex_t mutex;  /* loading */
    struct list all;        /* those in the table, in its order, and others that are used */
    size_t count;           /* in the table */
    uint64_t last;          /* the last number given */
    struct mount *root;     /* NULL: nothing is mounted at "/" */
    struct mount *points[MOUNT_POINT_BUCKETS];
};

/* A file as it was reached: `..` and what may be written depend on it. */
struct place {
    struct mount *mount;
    struct inode *inode; /* mostly a reference */
};

/* ---- the table ---- */

/* Return: 0, or what opening a sync handle says. mounts_deinit() is due in both cases. */
int mounts_init(struct hf_fs *fs);

/* No open files, no working directory. */
void mounts_deinit(struct hf_fs *fs);

/* Hold the table SHARED or EXCLUSIVE, and know what is in it. Return: 0; -EIO when it is no table
 * of mounts, -ENOMEM, or what hf_sync_acquire() says: then nothing is held. */
int mounts_hold(struct hf_fs *fs, hf_mode mode);
int mounts_release(struct hf_fs *fs);

/* With the table EXCLUSIVE: what it has, and make it that. Return: 0, -ENOSPC, -ENOMEM. */
void mounts_describe(const struct hf_fs *fs, struct wire_mounts *out);
int mounts_replace(struct hf_fs *fs, const struct wire_mounts *table);

/* In the child of a fork, before anybody is inside: use there what is used here. */
void mounts_use_in_child(struct hf_fs *fs);

/* ---- one mount ---- */

/* Its root, for as long as it is there. The first time it is opened by its name. Return: 0; -ESTALE
 * when that is another directory than when it was mounted, or what opening it says; -ENODEV when
 * there can be no such backend here. */
int mount_get_root(struct mount *mount, struct inode **out);

/* Are its files? By the table, or because this client believes no cache there. */
bool mount_is_checked(const struct mount *mount);

/* What another client has to know of it: WIRE_MOUNT_READ_ONLY, WIRE_MOUNT_CHECKED. */
unsigned mount_flags(const struct mount *mount);

/* With the table held, and nobody else inside: the mount of this number. When it is not there any
 * more it is as if it had been detached, with these flags. Return: 0, -ENOMEM, -EINVAL when it has
 * another backend. */
int mounts_get(struct hf_fs *fs, uint64_t number, unsigned flags, uint32_t backend,
               struct mount **out);

/* That is @root, if it was not opened before. */
void mount_set_root(struct mount *mount, struct inode *root);

/* An open file or a working directory more or less. Return: 0, or what hf_sync_acquire() says. */
int mount_use(struct mount *mount);
void mount_unuse(struct mount *mount);

/* May what is reached through it be changed? Return: 0, -EROFS. */
static inline int mount_check_writable(const struct mount *mount)
{
    return mount->read_only ? -EROFS : 0;
}

/* ---- walking; the table is held ---- */

/* Is anything mounted on this directory, wherever that was reached? */
bool mounts_are_on(const struct hf_fs *fs, const struct inode *directory);

/* The topmost mount of those on @place, or of which it is the root. NULL: there is none. */
struct mount *mounts_top(const struct hf_fs *fs, const struct place *place);

/* Go into what is mounted on @place, if anything: what is there may be no directory. Takes over the
 * reference in it and leaves one, but on failure, which is what mount_get_root() says. */
int mounts_cross(struct hf_fs *fs, struct place *place);

/* The directory that @directory is in, `..` of "/" and of a detached mount being itself. Return: 0
 * with a reference in *out; -ENOENT when it is no longer below the root of its mount, or what the
 * backend says. */
int mounts_parent(struct hf_fs *fs, const struct place *directory, struct place *out);

/* From the root of a mount to the directory that it is mounted on, which @place borrows. Return: 0,
 * -ENOENT for a detached one, or what walking there says. The mount is not that at "/". */
int mount_get_point(const struct mount *mount, struct place *place);

/* The root of all. Return: 0 with a reference in *out; -ENODEV, or what opening it says. */
int mounts_root(struct hf_fs *fs, struct place *out);

bool mounts_is_root(const struct hf_fs *fs, const struct place *place);

/* Is it the root of its mount? */
bool mount_is_root(const struct place *place);

#endif
