/*
 * The filesystem object, and the operations behind the public functions.
 *
 * Locks, each taken before those below it:
 *   the gate                     counted, around every operation
 *   a sync handle of an open file, or its mutex while it is private
 *   sync handles of directories, ancestors first
 *   the sync handle of the file
 *   an inode's mutex             one at a time
 *   fs->inodes_mutex, fs->files_mutex, the mutex of the descriptors
 */
#ifndef HF_FS_FILESYSTEM_H
#define HF_FS_FILESYSTEM_H

#include "base/id_map.h"
#include "base/list.h"
#include "client/client.h"
#include "fs/descriptors.h"
#include "fs/gate.h"
#include "fs/mount.h"

#include <holdfast/fs.h>

struct hf_fs {
    hf_client *client; /* a reference */
    struct mount *mount;
    struct inode *root; /* a reference */
    struct gate gate;
    struct client_fork_hook fork_hook;

    pthread_mutex_t inodes_mutex; /* the next seven, inode->parent, and references going to 0 */
    struct id_map inodes;
    struct list directories;  /* inodes that are directories; the next to be trimmed first */
    struct list unreferenced; /* inodes without references, the one longest so first */
    size_t directory_count;
    size_t unreferenced_count;
    _Atomic size_t inode_count; /* inodes.count; read without the mutex */
    size_t inode_limit;         /* never changes */

    pthread_mutex_t files_mutex; /* the next two */
    struct list files;           /* open files */
    uint64_t file_counter;       /* for their ids */

    struct descriptors descriptors;
};

/* Takes over @mount, on failure too. @inode_limit is how many inodes are cached, about.
 * Return: 0; -ENOMEM, or what the mount's root() says. */
int fs_new(hf_client *client, struct mount *mount, size_t inode_limit, struct hf_fs **out);

/* Close all descriptors and free everything. No other thread uses it. */
void fs_free(struct hf_fs *fs);

/*
 * The operations, with arguments that are not NULL, inside the gate. They return what the
 * public functions say.
 */

/* names.c */
struct open_file;
int fs_open(struct hf_fs *fs, const char *path, int flags, mode_t mode);
/* Without a descriptor; the caller drops the reference. */
int fs_open_file(struct hf_fs *fs, const char *path, int flags, mode_t mode,
                 struct open_file **out);
int fs_make_directory(struct hf_fs *fs, const char *path, mode_t mode);
int fs_unlink(struct hf_fs *fs, const char *path);
int fs_remove_directory(struct hf_fs *fs, const char *path);

/* attributes.c */
int fs_stat(struct hf_fs *fs, const char *path, bool follow, struct stat *out);
int fs_stat_file(struct hf_fs *fs, int fd, struct stat *out);
int fs_truncate(struct hf_fs *fs, const char *path, off_t size);
int fs_truncate_file(struct hf_fs *fs, int fd, off_t size);

/* io.c */
ssize_t fs_read(struct hf_fs *fs, int fd, void *buffer, size_t size);
ssize_t fs_read_at(struct hf_fs *fs, int fd, void *buffer, size_t size, off_t offset);
ssize_t fs_write(struct hf_fs *fs, int fd, const void *buffer, size_t size);
ssize_t fs_write_at(struct hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset);
off_t fs_seek(struct hf_fs *fs, int fd, off_t offset, int whence);
int fs_read_directory(struct hf_fs *fs, int fd, hf_dirent *out);

/* open_file.c */
int fs_close(struct hf_fs *fs, int fd);
int fs_duplicate(struct hf_fs *fs, int fd);

#endif
