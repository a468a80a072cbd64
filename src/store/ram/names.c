/* Names come and go: make, link, unlink and remove_directory. */
#include "store/ram/ram.h"

#include <errno.h>
#include <stdlib.h>

/* @directory is to get the entry @name. */
static int check_new_name(const struct ram_store *ram, uint64_t directory, struct store_name name,
                          struct ram_inode **out)
{
    int result = ram_find_directory(ram, directory, out);
    if (result == 0) {
        result = store_check_name(name);
    }
    if (result < 0) {
        return result;
    }
    if ((*out)->links == 0) {
        return -ENOENT;
    }
    return ram_find_dentry(ram, *out, name) != NULL ? -EEXIST : 0;
}

/* The entry @name that leads to @inode, which may be told later. Return: 0 with *out; -ENOMEM. */
static int add_name(struct ram_store *ram, struct ram_inode *directory, struct store_name name,
                    struct ram_inode *inode, struct ram_dentry **out)
{
    *out = ram_new_dentry(ram, directory, name, inode);
    if (*out == NULL) {
        return -ENOMEM;
    }
    const int result = ram_insert_dentry(ram, directory, *out);
    if (result < 0) {
        free(*out);
    }
    return result;
}

int ram_make(struct store *store, const struct store_call *call, uint64_t directory,
             struct store_name name, const struct store_new *what, struct store_attributes *out)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *parent;
    struct ram_dentry *dentry = NULL;
    int result = check_new_name(ram, directory, name, &parent);
    if (result == 0) {
        /* First, since it can be undone: a number is spent for ever. */
        result = add_name(ram, parent, name, NULL, &dentry);
    }
    if (result < 0) {
        return result;
    }
    result = ram_new_inode(ram, call, parent, what, &dentry->inode);
    if (result < 0) {
        ram_remove_dentry(ram, parent, dentry);
        return result;
    }
    struct ram_inode *inode = dentry->inode;
    inode->links = 1;
    if (S_ISDIR(inode->mode)) {
        inode->links = 2;
        inode->parent = parent;
        parent->links++;
    }
    ram_changed(parent, call);
    if (out != NULL) {
        ram_show(inode, out);
    }
    return 0;
}

int ram_make_unnamed(struct store *store, const struct store_call *call, uint64_t directory,
                     const struct store_new *what, bool linkable, struct store_attributes *out)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *parent;
    struct ram_inode *inode;
    int result = ram_find_directory(ram, directory, &parent);
    if (result == 0 && !S_ISREG(what->mode)) {
        result = -EINVAL;
    }
    if (result == 0) {
        result = ram_new_inode(ram, call, parent, what, &inode);
    }
    if (result < 0) {
        return result;
    }
    inode->uses = 1;
    inode->linkable = linkable;
    if (out != NULL) {
        ram_show(inode, out);
    }
    return 0;
}

int ram_link(struct store *store, const struct store_call *call, uint64_t number,
             uint64_t directory, struct store_name name)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *inode = ram_find_inode(ram, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    struct ram_inode *parent;
    const int result = check_new_name(ram, directory, name, &parent);
    if (result < 0) {
        return result;
    }
    if (S_ISDIR(inode->mode)) {
        return -EPERM;
    }
    if (inode->links == 0 && !inode->linkable) {
        return -ENOENT;
    }
    if (inode->links == UINT32_MAX) {
        return -EMLINK;
    }
    struct store_charge charge = {0};
    if (store_charge_inodes(store, call, inode->links > 0 ? 1 : 0, &charge) < 0) {
        return -ENOSPC;
    }
    struct ram_dentry *dentry;
    if (add_name(ram, parent, name, inode, &dentry) < 0) {
        store_uncharge_inodes(store, call, charge);
        return -ENOMEM;
    }
    inode->links++;
    inode->linkable = false;
    inode->ctime = call->now;
    ram_changed(parent, call);
    return 0;
}

/* The entry @name that is to go. */
static int find_old_name(const struct ram_store *ram, uint64_t directory, struct store_name name,
                         struct ram_inode **parent, struct ram_dentry **dentry)
{
    int result = ram_find_directory(ram, directory, parent);
    if (result == 0) {
        result = store_check_name(name);
    }
    if (result < 0) {
        return result;
    }
    *dentry = ram_find_dentry(ram, *parent, name);
    return *dentry == NULL ? -ENOENT : 0;
}

void ram_lose_link(struct ram_store *ram, const struct store_call *call, struct ram_inode *inode)
{
    inode->ctime = call->now;
    if (S_ISDIR(inode->mode)) {
        inode->parent->links--;
        inode->parent->uses++; /* until it is freed */
        inode->links = 0;
    } else {
        inode->links--;
        if (inode->links > 0) {
            store_free_inodes(&ram->store, 1);
        }
    }
    ram_drop_inode(ram, inode);
}

int ram_unlink(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *parent;
    struct ram_dentry *dentry;
    const int result = find_old_name(ram, directory, name, &parent, &dentry);
    if (result < 0) {
        return result;
    }
    struct ram_inode *inode = dentry->inode;
    if (S_ISDIR(inode->mode)) {
        return -EISDIR;
    }
    ram_remove_dentry(ram, parent, dentry);
    ram_changed(parent, call);
    ram_lose_link(ram, call, inode);
    return 0;
}

int ram_remove_directory(struct store *store, const struct store_call *call, uint64_t directory,
                         struct store_name name)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *parent;
    struct ram_dentry *dentry;
    const int result = find_old_name(ram, directory, name, &parent, &dentry);
    if (result < 0) {
        return result;
    }
    struct ram_inode *inode = dentry->inode;
    if (!S_ISDIR(inode->mode)) {
        return -ENOTDIR;
    }
    if (!ram_is_empty(inode)) {
        return -ENOTEMPTY;
    }
    ram_remove_dentry(ram, parent, dentry);
    ram_changed(parent, call);
    ram_lose_link(ram, call, inode);
    return 0;
}
