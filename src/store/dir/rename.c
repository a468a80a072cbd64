/*
 * rename. The host does it, all or nothing, and knows the rules. What is in memory about the two names
 * is made ready before, and follows afterwards:
 *
 *   exchange                        the two names trade their inodes
 *   the new name is there           it gets the inode, the old name goes
 *   a new name, same directory      takes the position of the old one
 *   a new name, other directory     is at its newest position, the old one goes
 */
#include "store/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

struct renaming {
    struct dir_store *dir;
    const struct store_call *call;
    struct dir_inode *from, *to; /* directories */
    int from_fd, to_fd;
    struct dir_text old_text, new_text;
    struct dir_name *old, *victim; /* @victim: what is at the new name; may be NULL */
    struct dir_name *added;        /* the new name, if there is no victim */
    struct dir_inode *moved;
};

/* What is under a name now. Return: 0 with *out; -ENOENT, or another negative errno. */
static int see(struct dir_store *dir, struct dir_inode *directory, int fd, struct store_name name,
               const struct dir_text *text, struct statx *status, struct dir_name **out)
{
    struct dir_inode *inode;
    int result = dir_stat_at(dir, fd, text->bytes, status);
    if (result == -ENOENT) {
        dir_lose_name(dir, directory, name);
    }
    if (result == 0) {
        result = dir_see(dir, directory, name, status, &inode);
    }
    if (result == 0) {
        *out = dir_find_name(dir, directory, name);
    }
    return result;
}

static void exchange(const struct renaming *rename)
{
    struct dir_inode *moved = rename->moved;
    struct dir_inode *other = rename->victim->inode;
    dir_detach_name(rename->dir, rename->old);
    dir_detach_name(rename->dir, rename->victim);
    dir_attach_name(rename->dir, rename->victim, moved);
    dir_attach_name(rename->dir, rename->old, other);
    rename->old->made_in = rename->dir->operation;
    rename->victim->made_in = rename->dir->operation;
    dir_attributes_changed(rename->dir, rename->call, other);
}

static void replace(const struct renaming *rename, const struct dir_victim *victim)
{
    dir_detach_name(rename->dir, rename->old);
    dir_detach_name(rename->dir, rename->victim);
    dir_attach_name(rename->dir, rename->victim, rename->moved);
    rename->victim->made_in = rename->dir->operation;
    dir_free_name(rename->dir, rename->from, rename->old);
    dir_entries_changed(rename->from, -1);
    dir_commit_victim(rename->dir, rename->call, victim);
}

static void move(const struct renaming *rename)
{
    dir_detach_name(rename->dir, rename->old);
    dir_attach_name(rename->dir, rename->added, rename->moved);
    rename->added->made_in = rename->dir->operation;
    if (rename->from == rename->to) {
        dir_replace_name(rename->dir, rename->to, rename->old, rename->added);
        return;
    }
    dir_free_name(rename->dir, rename->from, rename->old);
    dir_entries_changed(rename->from, -1);
    dir_entries_changed(rename->to, 1);
}

/* The host's part, and then that of memory, where nothing can fail any more. */
static int do_rename(struct renaming *rename, const struct statx *victim_status, unsigned flags,
                     bool same_inode)
{
    struct dir_store *dir = rename->dir;
    struct dir_victim victim;
    const bool replaces = rename->victim != NULL && (flags & RENAME_EXCHANGE) == 0 && !same_inode;
    int result = 0;
    if (replaces) {
        result = dir_prepare_victim(
            dir, rename->to, rename->to_fd, rename->new_text.bytes, victim_status, &victim);
    }
    if (result == 0 &&
        renameat2(
            rename->from_fd, rename->old_text.bytes, rename->to_fd, rename->new_text.bytes, flags) <
            0) {
        result = -errno;
    }
    if (result < 0 || same_inode) {
        return result; /* two names of one file: nothing happens */
    }
    if ((flags & RENAME_EXCHANGE) != 0) {
        exchange(rename);
    } else if (replaces) {
        replace(rename, &victim);
    } else {
        move(rename);
    }
    dir_changed(dir, rename->call, rename->from);
    dir_changed(dir, rename->call, rename->to);
    dir_attributes_changed(dir, rename->call, rename->moved);
    return 0;
}

int dir_rename(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name, uint64_t new_directory, struct store_name new_name,
               unsigned flags)
{
    struct dir_store *dir = dir_begin(store);
    struct renaming rename = {.dir = dir, .call = call};
    struct statx status;
    struct statx victim_status;
    if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE) {
        return -EINVAL;
    }
    int result = dir_find_directory(dir, directory, &rename.from);
    if (result == 0) {
        result = dir_find_directory(dir, new_directory, &rename.to);
    }
    if (result == 0) {
        result = store_check_name(name);
    }
    if (result == 0) {
        result = store_check_name(new_name);
    }
    if (result == 0 && (rename.from->is_removed || rename.to->is_removed)) {
        result = -ENOENT;
    }
    if (result < 0) {
        return result;
    }
    rename.from_fd = dir_open(dir, rename.from, DIR_PATH);
    rename.to_fd = rename.from_fd < 0 ? -1 : dir_open(dir, rename.to, DIR_PATH);
    if (rename.from_fd < 0 || rename.to_fd < 0) {
        return rename.from_fd < 0 ? rename.from_fd : rename.to_fd;
    }
    rename.old_text = dir_text_of(name);
    rename.new_text = dir_text_of(new_name);
    result = see(dir, rename.from, rename.from_fd, name, &rename.old_text, &status, &rename.old);
    if (result < 0) {
        return result;
    }
    result = see(
        dir, rename.to, rename.to_fd, new_name, &rename.new_text, &victim_status, &rename.victim);
    if (result < 0 && result != -ENOENT) {
        return result;
    }
    rename.old = dir_find_name(dir, rename.from, name);
    if (rename.old == NULL) {
        return -ESTALE; /* somebody else moved it meanwhile, to the new name */
    }
    rename.moved = rename.old->inode;
    if (rename.victim == NULL) {
        rename.added = dir_add_name(dir, rename.to, new_name);
        if (rename.added == NULL) {
            return -ENOMEM;
        }
    }
    const bool same_inode = rename.victim != NULL && rename.victim->inode == rename.moved;
    result = do_rename(&rename, &victim_status, flags, same_inode);
    if (result < 0 && rename.added != NULL) {
        dir_free_name(dir, rename.to, rename.added);
    }
    return result;
}
