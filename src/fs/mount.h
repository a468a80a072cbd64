/*
 * What is behind the inodes: the operations that a mount gives the filesystem.
 *
 * A mount names an inode by a `node` and opened data by a `file`, numbers that mean something
 * to it alone (a direct mount uses descriptors of the host). Names are single components, never
 * empty, `..` or with a slash in them; `.` is the directory itself and only open() gets it.
 *
 * The filesystem holds the sync handles an operation needs while it calls; the mount needs no
 * locks of its own, and is called by many threads at once. Results are 0 or more, or a
 * negative errno.
 */
#ifndef HF_FS_MOUNT_H
#define HF_FS_MOUNT_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct mount;

/* Takes one entry of a listing; a negative result ends it and becomes its result. */
typedef int mount_entry_function(void *context, const char *name, ino_t number, unsigned char type);

struct mount_ops {
    /* The root directory. The caller owes forget(), here and in lookup(). */
    int (*root)(struct mount *mount, intptr_t *node, struct stat *attributes);
    /* An entry of a directory, itself and not what it links to; -ENOENT. The node keeps the
     * inode's number from being given to another. */
    int (*lookup)(struct mount *mount, intptr_t directory, const char *name, intptr_t *node,
                  struct stat *attributes);
    void (*forget)(struct mount *mount, intptr_t node);

    int (*get_attributes)(struct mount *mount, intptr_t node, struct stat *attributes);
    /* Return: the length; no NUL is added. */
    ssize_t (*read_link)(struct mount *mount, intptr_t node, char *buffer, size_t size);

    /* A new regular file, opened with the access mode in @flags; -EEXIST. */
    int (*create)(struct mount *mount, intptr_t directory, const char *name, int flags, mode_t mode,
                  intptr_t *file);
    int (*make_directory)(struct mount *mount, intptr_t directory, const char *name, mode_t mode);
    int (*unlink)(struct mount *mount, intptr_t directory, const char *name);
    int (*remove_directory)(struct mount *mount, intptr_t directory, const char *name);

    /* A regular file or directory that is there. @flags: the access mode, O_TRUNC,
     * O_DIRECTORY. Never follows a link. The caller owes close(), here and in create(). */
    int (*open)(struct mount *mount, intptr_t directory, const char *name, int flags,
                intptr_t *file);
    void (*close)(struct mount *mount, intptr_t file);
    /* All entries of an open directory but `.` and `..`. */
    int (*list)(struct mount *mount, intptr_t file, mount_entry_function *entry, void *context);

    ssize_t (*read)(struct mount *mount, intptr_t file, void *buffer, size_t size, off_t offset);
    /* Writes all of it unless the backend has no room: then what fitted, if anything. */
    ssize_t (*write)(struct mount *mount, intptr_t file, const void *buffer, size_t size,
                     off_t offset);
    int (*truncate)(struct mount *mount, intptr_t file, off_t size);

    /* All nodes and files are given back. Frees the mount. */
    void (*destroy)(struct mount *mount);
};

/* Embedded in what the mount keeps of itself. */
struct mount {
    const struct mount_ops *ops;
    uint32_t number; /* the same for all clients of a server; part of the inodes' ids */
};

#endif
