/* Inodes of the store in memory: made, found, shown and freed. */
#include "store/ram/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ram_inode *ram_find_inode(const struct ram_store *ram, uint64_t number)
{
    struct id_map_node *node = id_map_find(&ram->inodes, (hf_id){0, number});
    return node == NULL ? NULL : list_entry(node, struct ram_inode, node);
}

int ram_find_directory(const struct ram_store *ram, uint64_t number, struct ram_inode **out)
{
    *out = ram_find_inode(ram, number);
    if (*out == NULL) {
        return -ESTALE;
    }
    return S_ISDIR((*out)->mode) ? 0 : -ENOTDIR;
}

int ram_find_file(const struct ram_store *ram, uint64_t number, struct ram_inode **out)
{
    *out = ram_find_inode(ram, number);
    if (*out == NULL) {
        return -ESTALE;
    }
    if (S_ISDIR((*out)->mode)) {
        return -EISDIR;
    }
    return S_ISREG((*out)->mode) ? 0 : -EINVAL;
}

/* What @inode has besides itself is in @what; nothing was charged yet. */
static int charge_and_fill(struct ram_store *ram, const struct store_call *call,
                           const struct store_new *what, struct ram_inode *inode)
{
    struct store_charge inode_charge = {0};
    if (store_charge_inodes(&ram->store, call, 1, &inode_charge) < 0) {
        return -ENOSPC;
    }
    if (!S_ISLNK(inode->mode)) {
        return 0;
    }
    struct store_charge page_charge = {0};
    inode->size = what->target.length;
    inode->pages = inode->size >= STORE_SHORT_TARGET ? 1 : 0;
    if (store_charge_pages(&ram->store, call, inode->pages, &page_charge) < 0) {
        store_uncharge_inodes(&ram->store, call, inode_charge);
        return -ENOSPC;
    }
    inode->target = malloc(inode->size);
    if (inode->target == NULL) {
        store_uncharge_pages(&ram->store, call, page_charge);
        store_uncharge_inodes(&ram->store, call, inode_charge);
        return -ENOMEM;
    }
    memcpy(inode->target, what->target.bytes, inode->size);
    return 0;
}

int ram_new_inode(struct ram_store *ram, const struct store_call *call,
                  const struct ram_inode *directory, const struct store_new *what,
                  struct ram_inode **out)
{
    uint64_t number;
    int result = store_check_new(what);
    if (result == 0) {
        result = store_choose_number(&ram->store, call, what->number, &number);
    }
    if (result < 0) {
        return result;
    }
    struct ram_inode *inode = malloc(sizeof(*inode));
    if (inode == NULL) {
        return -ENOMEM;
    }
    *inode = (struct ram_inode){
        .node.id = {0, number},
        .mode = what->mode,
        .owner = what->owner,
        .group = what->group,
        .atime = call->now,
        .mtime = call->now,
        .ctime = call->now,
        .btime = call->now,
    };
    if (directory != NULL && (directory->mode & S_ISGID) != 0) {
        inode->group = directory->group;
        inode->mode |= S_ISDIR(inode->mode) ? S_ISGID : 0;
    }
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
        inode->device = what->device;
    }
    if (S_ISDIR(inode->mode)) {
        inode->size = STORE_DIRECTORY_SIZE;
        inode->next_position = 1;
    }
    result = charge_and_fill(ram, call, what, inode);
    if (result < 0) {
        free(inode);
        return result;
    }
    store_spend_number(&ram->store, call, what->number, number);
    id_map_insert(&ram->inodes, &inode->node);
    *out = inode;
    return 0;
}

static void free_inode(struct ram_store *ram, struct ram_inode *inode)
{
    ram_drop_xattrs(ram, inode);
    if (S_ISREG(inode->mode)) {
        ram_set_size(ram, inode, 0);
    } else if (S_ISLNK(inode->mode)) {
        store_free_pages(&ram->store, inode->pages);
        free(inode->target);
    }
    store_free_inodes(&ram->store, 1);
    id_map_remove(&ram->inodes, &inode->node);
    free(inode);
}

void ram_drop_inode(struct ram_store *ram, struct ram_inode *inode)
{
    while (inode != NULL && inode->links == 0 && inode->uses == 0) {
        struct ram_inode *parent = S_ISDIR(inode->mode) ? inode->parent : NULL;
        free_inode(ram, inode);
        if (parent != NULL) {
            parent->uses--;
        }
        inode = parent;
    }
}

void ram_show(const struct ram_inode *inode, struct store_attributes *out)
{
    *out = (struct store_attributes){
        .number = ram_number(inode),
        .size = inode->size,
        .pages = inode->pages,
        .device = inode->device,
        .mode = inode->mode,
        .links = inode->links,
        .owner = inode->owner,
        .group = inode->group,
        .atime = inode->atime,
        .mtime = inode->mtime,
        .ctime = inode->ctime,
        .btime = inode->btime,
    };
}

void ram_touch_inode(struct ram_inode *inode, const struct store_call *call)
{
    if (store_moves_atime(call, inode->atime, inode->mtime, inode->ctime)) {
        inode->atime = call->now;
    }
}

void ram_changed(struct ram_inode *inode, const struct store_call *call)
{
    inode->mtime = call->now;
    inode->ctime = call->now;
}

void ram_drop_privileges(struct ram_store *ram, struct ram_inode *inode,
                         const struct store_call *call)
{
    if (call->drop_privileges) {
        inode->mode = store_without_privileges(inode->mode);
    }
    ram_drop_capability(ram, inode);
}
