/*
 * Open files: an inode, an offset and status flags, which descriptors share.
 *
 *          fork, export: register, publish
 *   PRIVATE ──────────────────────────► SHARED ◄── import
 *   offset under the mutex              offset is the value of a sync handle,
 *                                       used under EXCLUSIVE
 *
 * A private one has no state at the server. A shared one publishes its offset with each
 * operation that moves it, after the operation is done and before the call returns; so a
 * process that is killed has either moved the offset past what it wrote, or has not returned.
 *
 * A filesystem object has one struct for each open file, so that locking two of them is locking
 * two handles; another one of the same client may have one for the same handle.
 */
#ifndef HF_FS_OPEN_FILE_H
#define HF_FS_OPEN_FILE_H

#include "base/list.h"

#include <fcntl.h>
#include <holdfast/sync.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct hf_fs;
struct inode;
struct mount;
struct place;

/* The status flags that F_SETFL changes. */
#define OPEN_FILE_STATUS (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

/* Of open()'s flags, those that it uses up. */
#define OPEN_FILE_USED_UP (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)

struct open_file {
    struct list link; /* fs->files; fs->files_mutex */
    struct hf_fs *fs;
    _Atomic uint64_t references; /* DESCRIPTOR_REFERENCES for each descriptor, and others */
    struct mount *mount;         /* that it was opened in; used */
    struct inode *inode;         /* a reference */
    intptr_t backend_file;       /* BACKEND_NO_FILE with O_PATH */
    int access_mode;             /* O_RDONLY, O_WRONLY, O_RDWR, or 3 for neither */
    int open_flags;              /* what else F_GETFL tells and nothing changes, as O_PATH */
    pthread_mutex_t mutex;       /* PRIVATE: covers the offset, and changing the flags */
    hf_sync *handle;             /* SHARED: covers them. NULL: PRIVATE. Set with the gate closed. */
    _Atomic uint64_t number;     /* PRIVATE: in its name; 0: it needed none yet */
    off_t offset;                /* of a SHARED one as the value said when it was locked */
    _Atomic int flags;    /* of OPEN_FILE_STATUS; while PRIVATE it may be read without the mutex */
    uint32_t export_item; /* see export.c; with the gate closed */
    char name[];          /* by which it was opened, for people; "" if it was not known */
};

/* An open file with one reference, opened by the last name in @path; private, unless there is a @handle. Takes over the reference to
 * @place's inode, @handle and @backend_file, which inode_file_opened() was told of, on failure too.
 * With O_PATH in @flags @backend_file is BACKEND_NO_FILE, and the inode has a node.
 * Return: 0, -ENOMEM, or what mount_use() says. */
int open_file_new(struct hf_fs *fs, const struct place *place, const char *path,
                  intptr_t backend_file, int flags, hf_sync *handle, struct open_file **out);

/* The last reference closes it. @file may be NULL. */
void open_file_unref(struct open_file *file);
void open_file_drop(struct open_file *file, uint64_t references);

/* Make @file what the reserved descriptor @fd stands for. Takes over the reference. */
void open_file_fill(struct open_file *file, int fd, bool close_on_exec);

/* The open file of @fd, until open_file_put(). Return: NULL when there is none. */
struct open_file *open_file_get(struct hf_fs *fs, int fd);
void open_file_put(struct hf_fs *fs, int fd, struct open_file *file);

/* The same, but NULL for one that was opened with O_PATH, which is good for paths only. */
struct open_file *open_file_get_opened(struct hf_fs *fs, int fd);

static inline bool open_file_is_path(const struct open_file *file)
{
    return (file->open_flags & O_PATH) != 0;
}

/* See to it that its inode has a node. Return: 0, or what the backend says. */
int open_file_give_node(struct open_file *file);

/* What it is called by the server: its handle, and what it has locked. Inside the gate. */
hf_id open_file_id(struct open_file *file);

/* The size of its inode, which the caller does not hold. */
int open_file_get_size(const struct open_file *file, off_t *size);

/* The attributes of its inode, which the caller holds. */
int open_file_get_attributes(const struct open_file *file, struct stat *out);

/* May it be used so? @access_mode is O_RDONLY or O_WRONLY. */
static inline bool open_file_is_for(const struct open_file *file, int access_mode)
{
    return file->access_mode == O_RDWR || file->access_mode == access_mode;
}

/* Have the offset and flags to oneself. Return: 0, or a negative errno and nothing is held. */
int open_file_lock(struct open_file *file);

/* Two of them, which may be the same one. */
int open_file_lock_two(struct open_file *one, struct open_file *other);

/* @moved: the offset or the flags have changed and others are to see it. Return: 0; a negative errno when
 * they may not. */
int open_file_unlock(struct open_file *file, bool moved);

/* The flags alone, for operations that leave the offset alone. */
int open_file_get_flags(struct open_file *file, int *flags);

/* Make one, or every open file of @fs, shared. The gate is closed. Return: 0 (also when it is, or
 * there is nothing of it to be shared), or a negative errno. */
int open_file_share(struct open_file *file);
int open_files_share(struct hf_fs *fs);

/* The open file that has this handle. The gate is closed. Return: NULL when there is none. */
struct open_file *open_files_find(struct hf_fs *fs, hf_id id);

#endif
