/*
 * make and make_unnamed. A file is made without a name, gets its owner and mode, and then its name,
 * so that it is never seen half made. The host has no such way for anything else: that has its name
 * first, and what cannot be made as it should be is removed again. Where the umask leaves the mode alone and
 * the owner is this process's, it is made in one step.
 */
#include "store/dir/dir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* What is being made. */
struct making {
    struct dir_store *dir;
    const struct store_call *call;
    const struct store_new *what;
    struct dir_inode *parent;
    int directory;    /* its descriptor */
    const char *text; /* NULL: it gets no name */
    uint32_t mode;
    uint32_t group;
    uint64_t number;
    struct store_charge inodes, pages;
    int fd; /* what was made */
    struct statx status;
};

/* Owner, group and mode, where they are not yet as they shall be; the umask, access lists and
 * set-group-id directories of the host have had their say. */
static int finish(struct making *making)
{
    struct statx *status = &making->status;
    const uint32_t owner = making->what->owner;
    int result = dir_stat_descriptor(making->fd, status);
    if (result < 0) {
        return result;
    }
    if (status->stx_uid != owner || status->stx_gid != making->group) {
        if (fchownat(making->fd, "", owner, making->group, AT_EMPTY_PATH) < 0) {
            return -errno;
        }
        status->stx_uid = owner;
        status->stx_gid = making->group;
        status->stx_mode &= (uint16_t) ~(S_ISUID | S_ISGID); /* or so it may be */
    }
    if (!S_ISLNK(status->stx_mode) && status->stx_mode != making->mode) {
        result = dir_set_mode(making->fd, making->mode);
        status->stx_mode = (uint16_t)making->mode;
    }
    return result;
}

int dir_link_descriptor(int fd, int directory, const char *text)
{
    if (linkat(fd, "", directory, text, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    if (errno != ENOENT) {
        return -errno;
    }
    /* Without privileges that is what it takes. */
    const struct dir_proc_path path = dir_proc_path(fd);
    return linkat(AT_FDCWD, path.bytes, directory, text, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* Where the host cannot make a file without a name. */
static int make_plain_file(struct making *making)
{
    making->fd = dir_open_at(making->dir,
                             making->directory,
                             making->text,
                             O_CREAT | O_EXCL | O_RDWR | O_NOATIME | O_NONBLOCK);
    if (making->fd < 0) {
        return making->fd;
    }
    const int result = finish(making);
    if (result < 0) {
        unlinkat(making->directory, making->text, 0);
    }
    return result;
}

static int make_file(struct making *making, bool linkable)
{
    making->fd = dir_open_at(making->dir,
                             making->directory,
                             ".",
                             O_TMPFILE | O_RDWR | O_NOATIME | (linkable ? 0U : O_EXCL));
    if (making->fd == -EOPNOTSUPP && making->text != NULL) {
        return make_plain_file(making);
    }
    if (making->fd < 0) {
        return making->fd;
    }
    const int result = finish(making);
    if (result < 0 || making->text == NULL) {
        return result;
    }
    making->status.stx_nlink = 1;
    return dir_link_descriptor(making->fd, making->directory, making->text);
}

static int make_other(struct making *making)
{
    int result;
    int remove_flags = 0;
    if (S_ISDIR(making->mode)) {
        result = mkdirat(making->directory, making->text, making->mode & 07777);
        remove_flags = AT_REMOVEDIR;
    } else if (S_ISLNK(making->mode)) {
        char target[STORE_MAX_TARGET + 1];
        snprintf(target,
                 sizeof(target),
                 "%.*s",
                 (int)making->what->target.length,
                 making->what->target.bytes);
        result = symlinkat(target, making->directory, making->text);
    } else {
        const dev_t device =
            S_ISCHR(making->mode) || S_ISBLK(making->mode) ? making->what->device : 0;
        result = mknodat(making->directory, making->text, making->mode, device);
    }
    if (result < 0) {
        return -errno;
    }
    making->fd = dir_open_at(making->dir, making->directory, making->text, O_PATH);
    result = making->fd < 0 ? making->fd : finish(making);
    if (result < 0) {
        unlinkat(making->directory, making->text, remove_flags);
    }
    return result;
}

/* What is decided and paid for before the host is touched. */
static int prepare(struct making *making)
{
    struct dir_store *dir = making->dir;
    const struct store_new *what = making->what;
    int result = store_check_new(what);
    if (result == 0) {
        result = store_choose_number(&dir->store, making->call, what->number, &making->number);
    }
    if (result < 0) {
        return result;
    }
    making->mode = what->mode;
    making->group = what->group;
    if ((making->parent->mode & S_ISGID) != 0) {
        struct statx status;
        result = dir_stat_descriptor(making->directory, &status);
        if (result < 0) {
            return result;
        }
        making->group = status.stx_gid;
        making->mode |= S_ISDIR(what->mode) ? S_ISGID : 0;
    }
    const bool is_long = S_ISLNK(what->mode) && what->target.length >= STORE_SHORT_TARGET;
    if (dir_charge_inodes(dir, making->call, 1, &making->inodes) < 0) {
        return -ENOSPC;
    }
    if (dir_charge_pages(dir, making->call, is_long ? 1 : 0, &making->pages) < 0) {
        dir_uncharge_inodes(dir, making->call, making->inodes);
        return -ENOSPC;
    }
    return 0;
}

/* It was not made after all. */
static void undo(struct making *making)
{
    if (making->fd >= 0) {
        fork_guard_close(&making->dir->guard, making->fd);
    }
    dir_settle_pages(making->dir, making->call, making->pages, 0);
    dir_uncharge_inodes(making->dir, making->call, making->inodes);
}

/* It was made: @inode is it. */
static void commit(struct making *making, struct dir_inode *inode)
{
    struct dir_store *dir = making->dir;
    store_spend_number(&dir->store, making->call, making->what->number, making->number);
    dir_insert_inode(dir, inode, making->number, &making->status);
    inode->atime = inode->mtime = inode->ctime = inode->btime = making->call->now;
    inode->is_counted = true;
    dir_keep(dir, inode, making->fd, S_ISREG(making->mode) ? DIR_WRITE : DIR_PATH);
    inode->used_in = dir->operation;
    dir_mark_changed(dir, inode);
}

int dir_make(struct store *store, const struct store_call *call, uint64_t directory,
             struct store_name name, const struct store_new *what, struct store_attributes *out)
{
    struct dir_store *dir = dir_begin(store);
    struct making making = {.dir = dir, .call = call, .what = what, .fd = -1};
    making.directory = dir_open_for_new(dir, directory, name, &making.parent);
    if (making.directory < 0) {
        return making.directory;
    }
    const struct dir_text text = dir_text_of(name);
    making.text = text.bytes;
    int result = prepare(&making);
    if (result < 0) {
        return dir_refuse(dir, making.directory, making.text, result);
    }
    struct dir_inode *inode = dir_new_inode();
    struct dir_name *added = inode == NULL ? NULL : dir_add_name(dir, making.parent, name);
    result = added == NULL ? -ENOMEM : 0;
    if (result == 0) {
        result = S_ISREG(what->mode) ? make_file(&making, true) : make_other(&making);
    }
    if (result < 0) {
        undo(&making);
        if (added != NULL) {
            dir_free_name(dir, making.parent, added);
        }
        free(inode);
        dir_mark_changed(dir, making.parent);
        return result;
    }
    commit(&making, inode);
    added->made_in = dir->operation;
    dir_attach_name(dir, added, inode);
    dir_entries_changed(making.parent, 1);
    dir_changed(dir, call, making.parent);
    if (out != NULL) {
        dir_show(dir, inode, &making.status, out);
    }
    return 0;
}

int dir_make_unnamed(struct store *store, const struct store_call *call, uint64_t directory,
                     const struct store_new *what, bool linkable, struct store_attributes *out)
{
    struct dir_store *dir = dir_begin(store);
    struct making making = {.dir = dir, .call = call, .what = what, .fd = -1};
    int result = dir_find_directory(dir, directory, &making.parent);
    if (result == 0 && !S_ISREG(what->mode)) {
        result = -EINVAL;
    }
    if (result < 0) {
        return result;
    }
    making.directory = dir_open(dir, making.parent, DIR_PATH);
    result = making.directory < 0 ? making.directory : prepare(&making);
    if (result < 0) {
        return result;
    }
    if (making.parent->is_removed) {
        making.directory = dir->root->fd; /* some hosts make nothing more there */
    }
    struct dir_inode *inode = dir_new_inode();
    result = inode == NULL ? -ENOMEM : make_file(&making, linkable);
    if (result < 0) {
        undo(&making);
        free(inode);
        return result;
    }
    commit(&making, inode);
    inode->uses = 1;
    inode->is_removed = true;
    inode->is_linkable = linkable;
    if (out != NULL) {
        dir_show(dir, inode, &making.status, out);
    }
    return 0;
}
