/*
 * rename. Everything is decided, and all memory there, before anything changes:
 *
 *   exchange                        the two entries trade their inodes
 *   the new name is there           its entry gets the inode, the old entry goes
 *   a new name, same directory      takes the position of the old entry
 *   a new name, other directory     is inserted there, the old entry goes
 */
#include "store/ram/ram.h"

#include <errno.h>
#include <stdio.h> /* RENAME_x */
#include <stdlib.h>

struct renaming {
    struct ram_store *ram;
    const struct store_call *call;
    struct ram_inode *from, *to;     /* directories */
    struct ram_dentry *old, *victim; /* @victim: what is at the new name; may be NULL */
    struct store_name new_name;
};

/* Is @inode @directory, or a directory that it is in? */
static bool is_above(const struct ram_inode *inode, const struct ram_inode *directory)
{
    while (directory != inode) {
        if (directory->parent == directory) {
            return false;
        }
        directory = directory->parent;
    }
    return true;
}

/* The rules in the order in which Linux looks at them. */
static int check_rename(const struct renaming *rename, unsigned flags)
{
    const struct ram_dentry *victim = rename->victim;
    const struct ram_inode *inode = rename->old->inode;
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    if ((flags & RENAME_NOREPLACE) != 0 && victim != NULL) {
        return -EEXIST;
    }
    if (exchange && victim == NULL) {
        return -ENOENT;
    }
    if (is_above(inode, rename->to)) {
        return -EINVAL;
    }
    if (victim == NULL) {
        return 0;
    }
    if (is_above(victim->inode, rename->from)) {
        return exchange ? -EINVAL : -ENOTEMPTY;
    }
    if (exchange || victim->inode == inode) {
        return 0;
    }
    if (S_ISDIR(inode->mode) && !S_ISDIR(victim->inode->mode)) {
        return -ENOTDIR;
    }
    if (!S_ISDIR(inode->mode) && S_ISDIR(victim->inode->mode)) {
        return -EISDIR;
    }
    return S_ISDIR(inode->mode) && !ram_is_empty(victim->inode) ? -ENOTEMPTY : 0;
}

/* A directory that came to be in @parent counts there. */
static void move_up(struct ram_inode *inode, struct ram_inode *parent)
{
    if (S_ISDIR(inode->mode)) {
        inode->parent->links--;
        inode->parent = parent;
        parent->links++;
    }
}

static void exchange(const struct renaming *rename)
{
    struct ram_inode *moved = rename->old->inode;
    struct ram_inode *other = rename->victim->inode;
    rename->old->inode = other;
    rename->victim->inode = moved;
    move_up(moved, rename->to);
    move_up(other, rename->from);
    other->ctime = rename->call->now;
}

static void replace(const struct renaming *rename)
{
    struct ram_inode *moved = rename->old->inode;
    struct ram_inode *replaced = rename->victim->inode;
    rename->victim->inode = moved;
    ram_remove_dentry(rename->ram, rename->from, rename->old);
    ram_lose_link(rename->ram, rename->call, replaced);
    move_up(moved, rename->to);
}

static int move(const struct renaming *rename)
{
    struct ram_inode *moved = rename->old->inode;
    struct ram_dentry *dentry = ram_new_dentry(rename->ram, rename->to, rename->new_name, moved);
    if (dentry == NULL) {
        return -ENOMEM;
    }
    if (rename->from == rename->to) {
        ram_replace_dentry(rename->ram, rename->to, rename->old, dentry);
        return 0;
    }
    if (ram_insert_dentry(rename->ram, rename->to, dentry) < 0) {
        free(dentry);
        return -ENOMEM;
    }
    ram_remove_dentry(rename->ram, rename->from, rename->old);
    move_up(moved, rename->to);
    return 0;
}

int ram_rename(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name, uint64_t new_directory, struct store_name new_name,
               unsigned flags)
{
    struct ram_store *ram = ram_of(store);
    struct renaming rename = {.ram = ram, .call = call, .new_name = new_name};
    if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE) {
        return -EINVAL;
    }
    int result = ram_find_directory(ram, directory, &rename.from);
    if (result == 0) {
        result = ram_find_directory(ram, new_directory, &rename.to);
    }
    if (result == 0) {
        result = store_check_name(name);
    }
    if (result == 0) {
        result = store_check_name(new_name);
    }
    if (result < 0) {
        return result;
    }
    rename.old = ram_find_dentry(ram, rename.from, name);
    if (rename.old == NULL || rename.to->links == 0) {
        return -ENOENT;
    }
    rename.victim = ram_find_dentry(ram, rename.to, new_name);
    result = check_rename(&rename, flags);
    struct ram_inode *moved = rename.old->inode;
    if (result < 0 || (rename.victim != NULL && rename.victim->inode == moved)) {
        return result; /* two names of one file: nothing happens */
    }
    if ((flags & RENAME_EXCHANGE) != 0) {
        exchange(&rename);
    } else if (rename.victim != NULL) {
        replace(&rename);
    } else {
        result = move(&rename);
    }
    if (result == 0) {
        ram_changed(rename.from, call);
        ram_changed(rename.to, call);
        moved->ctime = call->now;
    }
    return result;
}
