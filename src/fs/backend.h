/*
 * What is behind the inodes: the operations that a backend gives the filesystem.
 *
 * A backend names an inode by a `node` and opened data by a `file`, numbers that mean something
 * to it alone (the direct one uses descriptors of the host). Names are single components, never
 * empty, `..` or with a slash in them; `.` is the directory itself and only open() gets it.
 *
 * The filesystem holds the sync handles an operation needs while it calls; the backend needs no
 * locks of its own, and is called by many threads at once. Results are 0 or more, or a
 * negative errno.
 *
 * Some that go by name are told what the filesystem knows of the inode's number, or
 * BACKEND_NO_NUMBER; where something is made they say which number it has, if they know.
 */
#ifndef HF_FS_BACKEND_H
#define HF_FS_BACKEND_H

#include <holdfast/sync.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct backend;
struct statfs;

/* In place of a node. */
#define BACKEND_NO_NODE ((intptr_t)-1)
/* In place of an inode's number. */
#define BACKEND_NO_NUMBER ((ino_t)0)
/* In place of a file: nothing is open. */
#define BACKEND_NO_FILE ((intptr_t)-1)

#define BACKEND_THERE_MAX 65536

/* Takes one entry of a listing; a negative result ends it and becomes its result. */
typedef int backend_entry_function(void *context, const char *name, ino_t number,
                                   unsigned char type);

typedef int backend_get_attributes(struct backend *backend, intptr_t node_or_file,
                                   struct stat *attributes);

struct backend_ops {
    /* The directory that a mount's source names; of a store its root, whatever the source. The
     * caller owes forget(), here and in lookup(). */
    int (*open_root)(struct backend *backend, const char *source, intptr_t *node,
                     struct stat *attributes);
    /* An entry of a directory, itself and not what it links to; -ENOENT. The node keeps the
     * inode's number from being given to another. */
    int (*lookup)(struct backend *backend, intptr_t directory, const char *name, intptr_t *node,
                  struct stat *attributes);
    void (*forget)(struct backend *backend, intptr_t node);
    /* The attributes that lookup() would give, without a node. */
    int (*stat_entry)(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                      struct stat *attributes);
    /* These two may be NULL where a node is enough for that: @node, which is held, lives although it
     * may lose its last name, until unkeep(). Return: 0; -ENOENT when it has none. */
    int (*keep)(struct backend *backend, intptr_t node);
    void (*unkeep)(struct backend *backend, intptr_t node);
    /* What is open as @file, by name or not. The caller owes forget(). */
    int (*node_of_file)(struct backend *backend, intptr_t file, intptr_t *node);

    backend_get_attributes *get_attributes; /* of a node */
    backend_get_attributes *get_attributes_of_file;
    /* Return: the length; no NUL is added. */
    ssize_t (*read_link)(struct backend *backend, intptr_t node, char *buffer, size_t size);

    /* A new regular file, opened with those of OPEN_BACKEND_FLAGS but O_TRUNC; -EEXIST. */
    int (*create)(struct backend *backend, intptr_t directory, const char *name, int flags,
                  mode_t mode, intptr_t *file);
    int (*make_directory)(struct backend *backend, intptr_t directory, const char *name,
                          mode_t mode, ino_t *number);
    int (*unlink)(struct backend *backend, intptr_t directory, const char *name, ino_t number);
    int (*remove_directory)(struct backend *backend, intptr_t directory, const char *name,
                            ino_t number);

    /* A regular file or directory that is there. @flags: those of OPEN_BACKEND_FLAGS and
     * O_DIRECTORY. Never follows a link. The caller owes close(), here and in create(). */
    int (*open)(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                int flags, intptr_t *file);
    void (*close)(struct backend *backend, intptr_t file);
    /* A descriptor of it is closed: what went wrong since somebody was told last. NULL: nothing ever
     * does. */
    int (*flush)(struct backend *backend, intptr_t file);
    /* All entries of an open directory but `.`. The caller sees to it that nobody else lists the
     * same @file meanwhile, in another process that shares it neither. */
    int (*list)(struct backend *backend, intptr_t file, backend_entry_function *entry,
                void *context);

    ssize_t (*read)(struct backend *backend, intptr_t file, void *buffer, size_t size,
                    off_t offset);
    /* Writes all of it unless the backend has no room: then what fitted, if anything. */
    ssize_t (*write)(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                     off_t offset);
    /* At the end that the file has at that moment, whoever else writes it; *end: the end then. Used
     * where others change the files behind our back. */
    ssize_t (*append)(struct backend *backend, intptr_t file, const struct iovec *vectors,
                      int count, off_t *end);
    /* @as_named: as truncate(2), which leaves the times of a file that has the size already. */
    int (*truncate)(struct backend *backend, intptr_t file, off_t size, bool as_named);

    /* ---- data ---- */

    /* As read and write; the vectors are the caller's and not checked. */
    ssize_t (*read_vectors)(struct backend *backend, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset);
    ssize_t (*write_vectors)(struct backend *backend, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset);
    /* A regular file without a name; O_EXCL in @flags: it never gets one. The caller owes
     * close(). */
    int (*create_unnamed)(struct backend *backend, intptr_t directory, int flags, mode_t mode,
                          intptr_t *file);
    /* lseek() as if the file had that offset: SEEK_SET, SEEK_DATA, SEEK_HOLE. */
    off_t (*seek)(struct backend *backend, intptr_t file, off_t offset, int whence);
    /* As fallocate(). */
    int (*allocate)(struct backend *backend, intptr_t file, int mode, off_t offset, off_t length);
    /* As copy_file_range(), which moves both offsets; they may be the caller's, and not checked. */
    ssize_t (*copy)(struct backend *backend, intptr_t from, off_t *from_offset, intptr_t to,
                    off_t *to_offset, size_t size);
    int (*sync)(struct backend *backend, intptr_t file, bool data_only);
    int (*sync_all)(struct backend *backend, intptr_t file);
    /* As mmap(). */
    int (*map)(struct backend *backend, intptr_t file, void *address, size_t length, int protection,
               int flags, off_t offset, void **out);
    /* The status flags O_DIRECT and O_NOATIME. */
    int (*set_status)(struct backend *backend, intptr_t file, int flags);

    /* ---- pipes and devices: their offset and status flags are the backend's ----
     *
     * These may wait for another process; the filesystem holds nothing meanwhile. A signal ends
     * the wait with -EINTR. seek() takes every whence for them. */

    /* As open(2) with @flags; the caller owes close(). What takes more than a system call is done by
     * start_special(), inside the gate; it makes *file, for which close() is owed whatever
     * open_special() makes of it. NULL: there is nothing to be done. */
    int (*start_special)(struct backend *backend, intptr_t node, int flags, intptr_t *file);
    int (*open_special)(struct backend *backend, intptr_t node, int flags, intptr_t *file);
    /* At @offset, as preadv(2), or if that is negative as readv(2). The vectors are not checked. */
    ssize_t (*read_special)(struct backend *backend, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset);
    ssize_t (*write_special)(struct backend *backend, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset);
    /* As F_GETFL and F_SETFL. */
    int (*get_special_status)(struct backend *backend, intptr_t file);
    int (*set_special_status)(struct backend *backend, intptr_t file, int flags);
    /* A descriptor of the host, for poll(2) and its like. */
    int (*host_descriptor)(struct backend *backend, intptr_t file);

    /* ---- extended attributes, as getxattr() and so on ---- */

    ssize_t (*get_xattr)(struct backend *backend, intptr_t node, const char *name, void *value,
                         size_t size);
    int (*set_xattr)(struct backend *backend, intptr_t node, const char *name, const void *value,
                     size_t size, int flags);
    ssize_t (*list_xattrs)(struct backend *backend, intptr_t node, char *names, size_t size);
    int (*remove_xattr)(struct backend *backend, intptr_t node, const char *name);

    /* ---- names ---- */

    /* The directory that a directory other than @root is in; -ENOENT when it has come to be
     * outside of @root. The caller owes forget(). */
    int (*parent)(struct backend *backend, intptr_t directory, intptr_t root, intptr_t *node,
                  struct stat *attributes);
    /* Which entry of @ancestor leads down to @directory, without any permission to search what lies
     * between. Return: 0; -ENOENT when none does; -EACCES when that is not to be had. */
    int (*way_down)(struct backend *backend, intptr_t ancestor, intptr_t directory,
                    char name[NAME_MAX + 1]);
    /* A file of any type but a directory or a symbolic link. */
    int (*make_node)(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                     dev_t device, ino_t *number);
    int (*make_symlink)(struct backend *backend, intptr_t directory, const char *name,
                        const char *target, ino_t *number);
    /* One more name for @node. */
    int (*link)(struct backend *backend, intptr_t node, intptr_t directory, const char *name);
    /* As renameat2(2), with its flags. @replaced: what @new_name was. */
    int (*rename)(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                  intptr_t new_directory, const char *new_name, ino_t replaced, unsigned flags);

    /* ---- attributes; @node may be of any type ---- */

    int (*set_mode)(struct backend *backend, intptr_t node, mode_t mode);
    /* Does a default access list of the directory take the place of the umask? */
    bool (*has_default_access)(struct backend *backend, intptr_t directory);
    /* @node was just made in @directory, with fewer permissions than was asked for: set @mode,
     * if they were lost to something that the filesystem does by itself, as the umask. */
    void (*restore_mode)(struct backend *backend, intptr_t directory, intptr_t node, mode_t mode);
    /* -1 for no change. */
    int (*set_owner)(struct backend *backend, intptr_t node, uid_t owner, gid_t group);
    /* As utimensat(2); @times may be NULL. */
    int (*set_times)(struct backend *backend, intptr_t node, const struct timespec times[2]);
    /* As faccessat(2); @flags: 0 or AT_EACCESS. */
    int (*access)(struct backend *backend, intptr_t node, int mode, int flags);
    int (*statx)(struct backend *backend, intptr_t node, int flags, unsigned mask,
                 struct statx *out);
    int (*statfs)(struct backend *backend, intptr_t node, struct statfs *out);

    /* Is it known, without asking anybody, that a directory which is held has no entries, and may be
     * searched? NULL: it is not. */
    bool (*is_empty)(struct backend *backend, intptr_t directory);
    /* The inodes of these numbers are likely to be looked at, and their holds have been asked for.
     * It must not wait; what it sends goes with them. NULL: it makes no difference. */
    void (*look_ahead)(struct backend *backend, const ino_t *numbers, size_t count);

    /* ---- contended files ----
     *
     * Where clients take a file from each other for each operation, it is faster to have single
     * operations done where the data is. The inode is not held then. NULL: never. */

    bool (*is_contended)(struct backend *backend, intptr_t file, bool writes);
    /* As read() and write(), for BACKEND_THERE_MAX bytes at most. With @append at the end: *offset
     * says where that was. */
    ssize_t (*read_there)(struct backend *backend, intptr_t file, void *buffer, size_t size,
                          off_t offset);
    ssize_t (*write_there)(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                           bool append, off_t *offset);

    /* ---- moving to another process ---- */

    /* A descriptor of the host that stands for an open file, or for a node alone; the caller closes
     * it. Another process that gets it passes it to take(). */
    int (*give_file)(struct backend *backend, intptr_t file);
    int (*give_node)(struct backend *backend, intptr_t node);
    /* What was given is parked under @ticket, and must not go before that: a node if @is_path, else a
     * file. NULL where the descriptor sees to it. */
    int (*lend)(struct backend *backend, intptr_t given, bool is_path, hf_id ticket);
    /* With @is_path the node that @fd stands for, for which the caller owes forget(); else the
     * file, open for *access_mode, for which it owes close(). It was parked under @ticket. Takes over
     * @fd on success. -EINVAL when it is not what it should be. */
    int (*take)(struct backend *backend, int fd, hf_id ticket, bool is_path, intptr_t *taken,
                int *access_mode, struct stat *attributes);

    /* All nodes and files are given back. Frees the backend. */
    void (*destroy)(struct backend *backend);
};

/* Embedded in what the backend keeps of itself. */
struct backend {
    const struct backend_ops *ops;
    struct backend *next;   /* fs->backends */
    hf_sync *rename_handle; /* the filesystem's: see the order of locks there */
    uint32_t number;        /* the same for all clients of a server; part of the inodes' ids */
    /* It judges permissions by attributes, so an inode is to be held while it is opened. */
    bool opens_held;
    bool numbers_are_final; /* none is given to a second inode */
    /* Reading may change attributes: is the inode to be held EXCLUSIVE for that? It is held SHARED
     * at least. NULL: never. */
    bool (*reading_changes)(struct backend *backend, intptr_t file);
    /* The same for the target of a link; and it was used, with the link held EXCLUSIVE. Both NULL: nothing
     * comes of it. */
    bool (*link_use_changes)(struct backend *backend, intptr_t node);
    void (*link_used)(struct backend *backend, intptr_t node);
};

#endif
