/*
 * The filesystem object, and the operations behind the public functions.
 *
 * Locks, each taken before those below it:
 *   the gate                     counted, around every operation
 *   the table of mounts          SHARED around every operation with a path, once; or EXCLUSIVE
 *   a sync handle of an open file, or its mutex while it is private
 *   the backend's rename handle  EXCLUSIVE: no directory gets another parent but by the holder;
 *                                of several, the one with the lowest number first
 *   sync handles of directories, ancestors first; of two of which neither is the other's
 *                                ancestor, either first, with the rename handle
 *   sync handles of other files, of two the one with the lower id first
 *   the mutex of the mounts, one of a mount
 *   an inode's mutex             one at a time
 *   fs->inodes_mutex, fs->files_mutex, fs->waits_mutex, fs->cwd_mutex, fs->backends_mutex, the mutex
 *   of the descriptors
 */
#ifndef HF_FS_FILESYSTEM_H
#define HF_FS_FILESYSTEM_H

#include "base/id_map.h"
#include "base/list.h"
#include "client/client.h"
#include "fs/backend.h"
#include "fs/budget.h"
#include "fs/descriptors.h"
#include "fs/gate.h"
#include "fs/mount.h"
#include "fs/user_memory.h"

#include <errno.h>
#include <holdfast/mount.h>
#include <string.h>
#include <sys/vfs.h>

/* Make the backend of one of the server's stores, which has its number. Return: 0, -ENOMEM, or what
 * the server says. @page_bytes: what its cached data may take. @check_pointers: as in hf_fs_config. */
typedef int fs_served_backend(hf_client *client, uint32_t store, size_t page_bytes,
                              bool check_pointers, struct backend **out);

struct hf_fs {
    hf_client *client; /* a reference */
    struct mounts mounts;
    struct gate gate;
    struct client_fork_hook fork_hook;
    bool check_pointers; /* the caller's may be bad; never changes once in use */

    pthread_mutex_t inodes_mutex; /* the next five, nodes, parents, and references going to 0 */
    struct id_map inodes;
    struct list directories;  /* inodes that are directories; the next to be trimmed first */
    struct list unreferenced; /* inodes without references, the one longest so first */
    struct list with_nodes;   /* inodes with a node; the next to be considered first */
    size_t directory_count;
    struct budget bytes; /* of all caches */
    struct budget nodes;
    atomic_flag trimming; /* a thread is in inodes_trim() */

    pthread_mutex_t files_mutex;
    struct list files; /* open files; files_mutex */

    pthread_mutex_t waits_mutex; /* the next one */
    struct list waits;           /* of threads in pipes and devices, see special.h */

    struct descriptors descriptors;

    /* All direct mounts have one backend, so that a file of the host is one inode. */
    pthread_mutex_t backends_mutex;
    struct backend *backends; /* that were needed so far */
    fs_served_backend *new_served;
    size_t page_bytes; /* that each of them may have */

    pthread_mutex_t cwd_mutex;
    _Atomic(struct inode *) cwd; /* a reference; NULL: the root; set under the mutex */
    struct mount *cwd_mount;     /* used; NULL with that */
    _Atomic mode_t umask;
};

struct fs_config {
    struct backend *direct;
    fs_served_backend *new_served; /* NULL: there are no served mounts */
    size_t bytes;                  /* that the caches may take */
    size_t page_bytes;             /* that cached data may take, for each served mount */
    size_t nodes;                  /* of the backends */
};

/* Takes over the direct backend, on failure too. fs_attach() comes next. Return: 0; -ENOMEM, or what
 * opening a sync handle says. */
int fs_new(hf_client *client, const struct fs_config *config, struct hf_fs **out);

/* The backend of that number, which stays; made if need be. Return: 0; -ENODEV when there can be
 * none, -ENOMEM, or what making it says. */
int fs_get_backend(struct hf_fs *fs, uint32_t number, struct backend **out);

void fs_get_stats(struct hf_fs *fs, hf_fs_stats *out);

/* Close all descriptors and free everything. No other thread uses it. */
void fs_free(struct hf_fs *fs);

/* Put a result where the caller wants it. Return: 0, -EFAULT. */
static inline int fs_give(const struct hf_fs *fs, void *to, const void *from, size_t size)
{
    if (to == NULL) {
        return -EFAULT;
    }
    if (fs->check_pointers) {
        return user_memory_write(to, from, size);
    }
    memcpy(to, from, size);
    return 0;
}

/* Get what the caller has there. Return: 0, -EFAULT. */
static inline int fs_take(const struct hf_fs *fs, void *to, const void *from, size_t size)
{
    if (from == NULL) {
        return -EFAULT;
    }
    if (fs->check_pointers) {
        return user_memory_read_part(to, from, size) == size ? 0 : -EFAULT;
    }
    memcpy(to, from, size);
    return 0;
}

/*
 * The operations, with arguments that are not NULL, inside the gate. They return what the
 * public functions say. A relative @path starts at @at, as in walk_begin(); @walk_flags are
 * those of walk_to_inode().
 */

/* mounting.c; all but the last one take the table themselves. */

/* Mount @source at "/" if nothing is mounted there, else it must be what is. NULL: whatever is.
 * @is_checked: believe no cache of what is there, whoever mounted it. */
int fs_attach(struct hf_fs *fs, const char *source, bool is_checked);
/* @source is canonical. */
int fs_mount(struct hf_fs *fs, const char *source, const char *target, bool read_only,
             bool is_checked);
int fs_unmount(struct hf_fs *fs, const char *target, unsigned walk_flags, bool detach);
ssize_t fs_list_mounts(struct hf_fs *fs, hf_mount_info **out);

/* names.c */
struct open_file;
struct special_wait;
/* A pipe or device is not open yet, but *wait is set: then the caller leaves the gate, and calls
 * special_finish_opening(). */
int fs_open(struct hf_fs *fs, int at, const char *path, int flags, mode_t mode,
            struct special_wait **wait);
/* Without a descriptor; the caller drops the reference. Of a pipe or device there is no backend's
 * file yet. */
int fs_open_file(struct hf_fs *fs, int at, const char *path, int flags, mode_t mode,
                 struct open_file **out);
int fs_unlink(struct hf_fs *fs, int at, const char *path);
int fs_remove_directory(struct hf_fs *fs, int at, const char *path);

/* make.c */
int fs_make_directory(struct hf_fs *fs, int at, const char *path, mode_t mode);
int fs_make_node(struct hf_fs *fs, int at, const char *path, mode_t mode, dev_t device);

/* links.c */
int fs_link(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, int new_at,
            const char *new_path);
int fs_make_symlink(struct hf_fs *fs, const char *target, int at, const char *path);
ssize_t fs_read_link(struct hf_fs *fs, int at, const char *path, char *buffer, size_t size);

/* rename.c */
int fs_rename(struct hf_fs *fs, int at, const char *path, int new_at, const char *new_path,
              unsigned flags);

/* cwd.c */
int fs_working_directory(struct hf_fs *fs, struct place *out); /* a reference */
/* See to it that somebody can be in @place, which is not the root: fs_leave_directory() gives that
 * back, and the reference too. Return: 0; -ENOENT when it was removed meanwhile; or what
 * mount_use() says. */
int fs_stay_in(const struct place *directory);
void fs_leave_directory(struct inode *inode, struct mount *mount); /* NULL: the root */
/* Takes over the reference and what fs_stay_in() has done, and leaves the one before. Without a
 * directory it is the root. */
void fs_set_working_directory(struct hf_fs *fs, const struct place *directory);
int fs_change_directory(struct hf_fs *fs, int at, const char *path, unsigned walk_flags);
ssize_t fs_get_working_directory(struct hf_fs *fs, char *buffer, size_t size);
/* The path of a directory, with a NUL. Return: its length, that counted; or what getcwd() says. */
ssize_t fs_get_path(const struct place *directory, char *buffer, size_t size);
mode_t fs_set_umask(struct hf_fs *fs, mode_t mask);
/* What a new file's permissions are when @mode was asked for. */
mode_t fs_masked(const struct hf_fs *fs, mode_t mode);
mode_t fs_process_umask(void);

/* change.c */
int fs_set_mode(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, mode_t mode);
int fs_set_mode_of_file(struct hf_fs *fs, int fd, mode_t mode);
int fs_set_owner(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, uid_t owner,
                 gid_t group);
int fs_set_owner_of_file(struct hf_fs *fs, int fd, uid_t owner, gid_t group);
int fs_set_times(struct hf_fs *fs, int at, const char *path, unsigned walk_flags,
                 const struct timespec times[2]);
int fs_set_times_of_file(struct hf_fs *fs, int fd, const struct timespec times[2]);

/* attributes.c */
int fs_stat(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, struct stat *out);
int fs_stat_file(struct hf_fs *fs, int fd, struct stat *out);
int fs_statx(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, int flags,
             unsigned mask, struct statx *out);
int fs_access(struct hf_fs *fs, int at, const char *path, unsigned walk_flags, int mode, int flags);
int fs_statfs(struct hf_fs *fs, const char *path, struct statfs *out);
int fs_statfs_file(struct hf_fs *fs, int fd, struct statfs *out);
int fs_truncate(struct hf_fs *fs, const char *path, off_t size);
int fs_truncate_file(struct hf_fs *fs, int fd, off_t size);

/* io.c */
struct iovec;
ssize_t fs_read(struct hf_fs *fs, int fd, void *buffer, size_t size);
ssize_t fs_read_at(struct hf_fs *fs, int fd, void *buffer, size_t size, off_t offset);
ssize_t fs_read_vectors(struct hf_fs *fs, int fd, const struct iovec *vectors, int count);
ssize_t fs_read_vectors_at(struct hf_fs *fs, int fd, const struct iovec *vectors, int count,
                           off_t offset);
ssize_t fs_write(struct hf_fs *fs, int fd, const void *buffer, size_t size);
ssize_t fs_write_at(struct hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset);
ssize_t fs_write_vectors(struct hf_fs *fs, int fd, const struct iovec *vectors, int count);
ssize_t fs_write_vectors_at(struct hf_fs *fs, int fd, const struct iovec *vectors, int count,
                            off_t offset);

/* seek.c */
off_t fs_seek(struct hf_fs *fs, int fd, off_t offset, int whence);
int fs_read_directory(struct hf_fs *fs, int fd, hf_dirent *out);

/* space.c */
int fs_allocate(struct hf_fs *fs, int fd, int mode, off_t offset, off_t length);
ssize_t fs_copy(struct hf_fs *fs, int from, off_t *from_offset, int to, off_t *to_offset,
                size_t size, unsigned flags);
enum fs_sync { FS_SYNC_FILE, FS_SYNC_DATA, FS_SYNC_ALL };
int fs_sync(struct hf_fs *fs, int fd, enum fs_sync what);
int fs_map(struct hf_fs *fs, void *address, size_t length, int protection, int flags, int fd,
           off_t offset, void **out);

/* xattr.c. @follow: a link at the end of @path too. */
ssize_t fs_get_xattr(struct hf_fs *fs, const char *path, bool follow, const char *name, void *value,
                     size_t size);
ssize_t fs_get_xattr_of_file(struct hf_fs *fs, int fd, const char *name, void *value, size_t size);
int fs_set_xattr(struct hf_fs *fs, const char *path, bool follow, const char *name,
                 const void *value, size_t size, int flags);
int fs_set_xattr_of_file(struct hf_fs *fs, int fd, const char *name, const void *value, size_t size,
                         int flags);
ssize_t fs_list_xattrs(struct hf_fs *fs, const char *path, bool follow, char *names, size_t size);
ssize_t fs_list_xattrs_of_file(struct hf_fs *fs, int fd, char *names, size_t size);
int fs_remove_xattr(struct hf_fs *fs, const char *path, bool follow, const char *name);
int fs_remove_xattr_of_file(struct hf_fs *fs, int fd, const char *name);

/* export.c and import.c; with the gate closed */
ssize_t fs_export(struct hf_fs *fs, void *buffer, size_t size);
ssize_t fs_export_file(struct hf_fs *fs, int fd, void *buffer, size_t size);
int fs_import(struct hf_fs *fs, const void *bytes, size_t size);
/* Return: the lowest free descriptor. */
int fs_import_file(struct hf_fs *fs, const void *bytes, size_t size, bool close_on_exec);
/* The gate may be open. */
int fs_export_drop(struct hf_fs *fs, const void *bytes, size_t size);

/* locks.c. Inside the gate, which is left while they wait. @opts is checked. */
int fs_lock(struct hf_fs *fs, int fd, int command, struct flock *lock, const hf_wait_opts *opts);
int fs_flock(struct hf_fs *fs, int fd, int operation, const hf_wait_opts *opts);

/* control.c */
int fs_close(struct hf_fs *fs, int fd);
/* The lowest free descriptor from @minimum on. */
int fs_duplicate(struct hf_fs *fs, int fd, int minimum, bool close_on_exec);
/* @copy is closed first, if it is open, in the same step. @fd may be the same: nothing happens. */
int fs_duplicate_to(struct hf_fs *fs, int fd, int copy, bool close_on_exec);
int fs_get_status(struct hf_fs *fs, int fd);
int fs_set_status(struct hf_fs *fs, int fd, int flags);
int fs_host_descriptor(struct hf_fs *fs, int fd);
/* What fcntl() says to a command that there is not. */
int fs_check_control(struct hf_fs *fs, int fd);

#endif
