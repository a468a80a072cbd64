/*
 * Descriptors of the host, and the way down to what has none.
 *
 *   named, without      open by name from its directory, which is opened first; verified
 *   named, with         in the list `open`; the longest unused are closed over the bound
 *   nameless, with      outside of the list, until it is dropped: nothing else leads there
 *   nameless, without   somebody else removed it: -ESTALE
 *
 * Nothing is closed that the operation in progress has asked for (used_in).
 */
#include "store/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

struct dir_proc_path dir_proc_path(int fd)
{
    struct dir_proc_path path;
    snprintf(path.bytes, sizeof(path.bytes), "/proc/self/fd/%d", fd);
    return path;
}

/* ---- who keeps one ---- */

void dir_close(struct dir_store *dir, struct dir_inode *inode)
{
    if (inode->fd < 0) {
        return;
    }
    dir_flush_times(dir, inode);
    if (!list_is_empty(&inode->open)) {
        list_remove(&inode->open);
        dir->open_count--;
    }
    fork_guard_close(&dir->guard, inode->fd);
    inode->fd = -1;
}

/* The longest unused loses its descriptor. Return: false when all are in use. */
static bool close_one(struct dir_store *dir)
{
    for (struct list *node = dir->open.next; node != &dir->open; node = node->next) {
        struct dir_inode *inode = list_entry(node, struct dir_inode, open);
        if (inode->used_in != dir->operation) {
            dir_close(dir, inode);
            return true;
        }
    }
    return false;
}

void dir_is_named(struct dir_store *dir, struct dir_inode *inode, bool named)
{
    if (inode->fd < 0 || inode == dir->root) {
        return;
    }
    list_remove(&inode->open);
    if (!named) {
        dir->open_count--;
        return;
    }
    list_append(&dir->open, &inode->open);
    dir->open_count++;
    while (dir->open_count > dir->max_open && close_one(dir)) {
    }
}

void dir_keep(struct dir_store *dir, struct dir_inode *inode, int fd, enum dir_access access)
{
    if (inode->fd >= 0) {
        fork_guard_close(&dir->guard, inode->fd);
        inode->fd = fd;
        inode->access = access;
        return;
    }
    inode->fd = fd;
    inode->access = access;
    if (inode->names != NULL) {
        dir_is_named(dir, inode, true);
    }
}

/* ---- opening ---- */

static int open_path(struct dir_store *dir, const char *path, int flags)
{
    for (;;) {
        fork_guard_lock();
        const int fd = fork_guard_keep(&dir->guard, open(path, flags));
        fork_guard_unlock();
        if ((fd != -EMFILE && fd != -ENFILE) || !close_one(dir)) {
            return fd;
        }
    }
}

int dir_open_at(struct dir_store *dir, int directory, const char *name, uint64_t flags)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC | O_NOFOLLOW,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    for (;;) {
        fork_guard_lock();
        const int fd = fork_guard_keep(
            &dir->guard, (int)syscall(SYS_openat2, directory, name, &how, sizeof(how)));
        fork_guard_unlock();
        if (fd == -EPERM && (how.flags & O_NOATIME) != 0) {
            how.flags &= ~(uint64_t)O_NOATIME; /* somebody else's file: the host moves the time */
        } else if ((fd != -EMFILE && fd != -ENFILE) || !close_one(dir)) {
            return fd;
        }
    }
}

void dir_close_stream(struct dir_store *dir, DIR *stream)
{
    fork_guard_lock();
    fork_guard_forget(&dir->guard, dirfd(stream));
    closedir(stream);
    fork_guard_unlock();
}

/* O_NONBLOCK: whoever put a pipe in a file's place shall not make us wait. */
static int flags_of(enum dir_access access)
{
    static const int flags[] = {
        [DIR_PATH] = O_PATH,
        [DIR_READ] = O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOCTTY,
        [DIR_WRITE] = O_RDWR | O_NOATIME | O_NONBLOCK | O_NOCTTY,
    };
    return flags[access];
}

int dir_open_entries(struct dir_store *dir, struct dir_inode *directory)
{
    const int fd = dir_open(dir, directory, DIR_PATH);
    return fd < 0 ? fd : dir_open_at(dir, fd, ".", O_RDONLY | O_DIRECTORY | O_NOATIME);
}

int dir_stat_descriptor(int fd, struct statx *status)
{
    return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, status) < 0 ? -errno : 0;
}

int dir_stat_at(const struct dir_store *dir, int directory, const char *name, struct statx *status)
{
    const unsigned mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
    if (statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, mask, status) < 0) {
        return -errno;
    }
    const bool is_here =
        status->stx_dev_major == dir->device[0] && status->stx_dev_minor == dir->device[1] &&
        ((status->stx_mask & STATX_MNT_ID) == 0 || status->stx_mnt_id == dir->mount);
    return is_here ? 0 : -EXDEV;
}

/* Open @inode as @name says. What somebody else did to that name is all the same: -ESTALE. */
static int open_name(struct dir_store *dir, int directory, const struct dir_name *name,
                     struct dir_inode *inode, enum dir_access access)
{
    struct statx status;
    const int fd = dir_open_at(dir, directory, name->text, (uint64_t)flags_of(access));
    if (fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR || fd == -EISDIR || fd == -ENXIO) {
        return -ESTALE;
    }
    if (fd < 0) {
        return fd;
    }
    const int result = dir_stat_descriptor(fd, &status);
    if (result < 0 || !dir_is_host(inode, &status)) {
        fork_guard_close(&dir->guard, fd);
        return result < 0 ? result : -ESTALE;
    }
    dir_keep(dir, inode, fd, access);
    return fd;
}

/* Up to a directory with a descriptor, and down again. What somebody else moved about may go in
 * circles in memory; then there are more steps than inodes. */
static int open_directory(struct dir_store *dir, struct dir_inode *directory)
{
    struct dir_inode *at = directory;
    for (size_t steps = 0; at->fd < 0; steps++) {
        struct dir_inode *parent =
            at->names == NULL ? NULL : dir_find_inode(dir, at->names->node.id.space);
        if (parent == NULL || steps > dir->inodes.count) {
            return -ESTALE;
        }
        parent->below = at;
        at = parent;
    }
    while (at != directory) {
        struct dir_inode *next = at->below;
        const int fd = open_name(dir, at->fd, next->names, next, DIR_PATH);
        if (fd < 0) {
            return fd;
        }
        at = next;
    }
    return directory->fd;
}

/* It has a descriptor, which is not good enough. */
static int open_again(struct dir_store *dir, struct dir_inode *inode, enum dir_access access)
{
    const struct dir_proc_path path = dir_proc_path(inode->fd);
    int fd = open_path(dir, path.bytes, flags_of(access) | O_CLOEXEC);
    if (fd == -EPERM) {
        fd = open_path(dir, path.bytes, (flags_of(access) & ~O_NOATIME) | O_CLOEXEC);
    }
    if (fd >= 0) {
        dir_keep(dir, inode, fd, access);
    }
    return fd;
}

int dir_open(struct dir_store *dir, struct dir_inode *inode, enum dir_access access)
{
    inode->used_in = dir->operation;
    if (inode->fd >= 0) {
        if (!list_is_empty(&inode->open)) {
            list_remove(&inode->open);
            list_append(&dir->open, &inode->open);
        }
        return inode->access >= access ? inode->fd : open_again(dir, inode, access);
    }
    if (S_ISDIR(inode->mode)) {
        return open_directory(dir, inode);
    }
    int result = -ESTALE;
    for (struct dir_name *name = inode->names; name != NULL && result == -ESTALE;
         name = name->next) {
        struct dir_inode *directory = dir_find_inode(dir, name->node.id.space);
        result = directory == NULL ? -ESTALE : open_directory(dir, directory);
        if (result >= 0) {
            result = open_name(dir, result, name, inode, access);
        }
    }
    return result;
}

int dir_pin(struct dir_store *dir, struct dir_inode *inode)
{
    if (inode->fd >= 0 && inode->access == DIR_WRITE) {
        inode->used_in = dir->operation;
        return 0;
    }
    int result = -EACCES;
    if (S_ISREG(inode->mode)) {
        result = dir_open(dir, inode, DIR_WRITE);
        if (result == -EACCES || result == -EROFS || result == -ETXTBSY || result == -EPERM) {
            result = dir_open(dir, inode, DIR_READ);
        }
    }
    if (result == -EACCES) {
        result = dir_open(dir, inode, DIR_PATH);
    }
    return result < 0 ? result : 0;
}

int dir_stat(struct dir_store *dir, struct dir_inode *inode, struct statx *status)
{
    if (inode->fd >= 0) {
        return dir_stat_descriptor(inode->fd, status);
    }
    int result = -ESTALE;
    for (struct dir_name *name = inode->names; name != NULL && result == -ESTALE;
         name = name->next) {
        struct dir_inode *directory = dir_find_inode(dir, name->node.id.space);
        result = directory == NULL ? -ESTALE : dir_open(dir, directory, DIR_PATH);
        if (result >= 0) {
            result = dir_stat_at(dir, result, name->text, status);
            if (result == -ENOENT || (result == 0 && !dir_is_host(inode, status))) {
                result = -ESTALE;
            }
        }
    }
    return result;
}
