/* The store in the server's memory: made and freed, and what concerns one inode. */
#include "store/ram/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static int ram_get_attributes(struct store *store, uint64_t number, struct store_attributes *out)
{
    const struct ram_inode *inode = ram_find_inode(ram_of(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    ram_show(inode, out);
    return 0;
}

static int64_t ram_read_link(struct store *store, const struct store_call *call, uint64_t number,
                             char *buffer, size_t size)
{
    struct ram_inode *inode = ram_find_inode(ram_of(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    if (!S_ISLNK(inode->mode) || size == 0) {
        return -EINVAL;
    }
    const size_t length = size < inode->size ? size : inode->size;
    memcpy(buffer, inode->target, length);
    ram_touch_inode(inode, call);
    return (int64_t)length;
}

static int ram_hold(struct store *store, uint64_t number)
{
    struct ram_inode *inode = ram_find_inode(ram_of(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    inode->uses++;
    return 0;
}

static int ram_release(struct store *store, uint64_t number)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *inode = ram_find_inode(ram, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    if (inode->uses == 0) {
        return -EPROTO;
    }
    inode->uses--;
    ram_drop_inode(ram, inode);
    return 0;
}

static int ram_touch(struct store *store, const struct store_call *call, uint64_t number)
{
    struct ram_inode *inode = ram_find_inode(ram_of(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    ram_touch_inode(inode, call);
    return 0;
}

static void set_owner(struct ram_store *ram, const struct store_call *call, struct ram_inode *inode,
                      const struct store_attributes *values)
{
    if (values->owner != UINT32_MAX) {
        inode->owner = values->owner;
    }
    if (values->group != UINT32_MAX) {
        inode->group = values->group;
    }
    if (!S_ISDIR(inode->mode)) {
        struct store_call unprivileged = *call;
        unprivileged.drop_privileges = true;
        ram_drop_privileges(ram, inode, &unprivileged);
    }
}

static int ram_set_attributes(struct store *store, const struct store_call *call, uint64_t number,
                              uint32_t mask, const struct store_attributes *values)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *inode = ram_find_inode(ram, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    const int result = store_check_attributes(inode->mode, mask, values);
    if (result < 0 || mask == 0) {
        return result;
    }
    const bool changes_size = (mask & STORE_SET_SIZE) != 0 ||
                              ((mask & STORE_SET_NAMED_SIZE) != 0 && values->size != inode->size);
    if (changes_size) {
        inode->mtime = call->now;
    }
    if (changes_size || (mask & ~(uint32_t)STORE_SET_NAMED_SIZE) != 0) {
        inode->ctime = call->now;
    }
    if ((mask & STORE_SET_SIZES) != 0) {
        ram_set_size(ram, inode, values->size);
        ram_drop_privileges(ram, inode, call);
    }
    if ((mask & STORE_SET_OWNER) != 0) {
        set_owner(ram, call, inode, values);
    }
    if ((mask & STORE_SET_MODE) != 0) {
        inode->mode = (inode->mode & S_IFMT) | (values->mode & 07777);
    }
    if ((mask & STORE_SET_ATIME) != 0) {
        inode->atime = values->atime;
    }
    if ((mask & STORE_SET_MTIME) != 0) {
        inode->mtime = values->mtime;
    }
    return 0;
}

static int ram_sync(struct store *store, uint64_t number)
{
    return number == 0 || ram_find_inode(ram_of(store), number) != NULL ? 0 : -ESTALE;
}

static void free_entries(struct ram_store *ram, struct ram_inode *directory)
{
    uint64_t key = 0;
    void *item;
    while ((item = radix_next(&directory->entries, &key)) != NULL) {
        struct ram_dentry *dentry = item;
        radix_remove(&directory->entries, key);
        id_map_remove(&ram->dentries, &dentry->node);
        free(dentry);
    }
}

static void ram_destroy(struct store *store)
{
    struct ram_store *ram = ram_of(store);
    struct id_map_node *node = id_map_next(&ram->inodes, NULL);
    while (node != NULL) {
        struct ram_inode *inode = list_entry(node, struct ram_inode, node);
        node = id_map_next(&ram->inodes, node);
        if (S_ISDIR(inode->mode)) {
            free_entries(ram, inode);
            inode->parent = NULL; /* it is freed in its turn, or was */
        } else {
            /* So that freeing it gives back one inode for itself alone. */
            store_free_inodes(store, inode->links > 1 ? inode->links - 1 : 0);
        }
        inode->links = 0;
        inode->uses = 0;
        ram_drop_inode(ram, inode);
    }
    id_map_deinit(&ram->dentries);
    id_map_deinit(&ram->inodes);
    free(ram);
}

static const struct store_ops ram_ops = {
    .get_attributes = ram_get_attributes,
    .lookup = ram_lookup,
    .parent = ram_parent,
    .list = ram_list,
    .read_link = ram_read_link,
    .hold = ram_hold,
    .release = ram_release,
    .touch = ram_touch,
    .set_attributes = ram_set_attributes,
    .make = ram_make,
    .make_unnamed = ram_make_unnamed,
    .link = ram_link,
    .unlink = ram_unlink,
    .remove_directory = ram_remove_directory,
    .rename = ram_rename,
    .read = ram_read,
    .write = ram_write,
    .allocate = ram_allocate,
    .seek = ram_seek,
    .copy = ram_copy,
    .get_xattr = ram_get_xattr,
    .set_xattr = ram_set_xattr,
    .list_xattrs = ram_list_xattrs,
    .remove_xattr = ram_remove_xattr,
    .sync = ram_sync,
    .destroy = ram_destroy,
};

int ram_store_new(const struct store_limits *limits, const struct store_call *call, uint32_t mode,
                  uint32_t owner, uint32_t group, struct store **out)
{
    const struct store_new what = {
        .mode = S_IFDIR | (mode & 07777), .owner = owner, .group = group};
    struct ram_inode *root;
    if (limits->inodes == 0) {
        return -EINVAL;
    }
    struct ram_store *ram = calloc(1, sizeof(*ram));
    if (ram == NULL) {
        return -ENOMEM;
    }
    store_init(&ram->store, &ram_ops, limits);
    if (getrandom(ram->hash_key, sizeof(ram->hash_key), 0) != sizeof(ram->hash_key) ||
        id_map_init(&ram->inodes) < 0) {
        goto fail;
    }
    if (id_map_init(&ram->dentries) < 0) {
        goto fail;
    }
    if (ram_new_inode(ram, call, NULL, &what, &root) < 0) {
        goto fail;
    }
    root->parent = root;
    root->links = 2;
    *out = &ram->store;
    return 0;

fail:
    id_map_deinit(&ram->dentries);
    id_map_deinit(&ram->inodes);
    free(ram);
    return -ENOMEM;
}
