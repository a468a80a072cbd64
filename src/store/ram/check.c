/* Everything the store in memory keeps count of, counted again. */
#include "store/ram/ram.h"

#include <assert.h>
#include <errno.h>

struct recount {
    uint64_t pages, inodes, dentries;
};

static void check_file(struct ram_inode *inode, struct recount *count)
{
    uint64_t pages = 0;
    uint64_t key = 0;
    const void *item;
    while ((item = radix_next(&inode->data, &key)) != NULL) {
        assert(((uintptr_t)item & 2) == 0); /* no operation is under way */
        pages++;
        key++;
    }
    assert(inode->pages == pages);
    count->pages += pages;
}

static void check_directory(const struct ram_store *ram, struct ram_inode *inode,
                            struct recount *count)
{
    uint64_t entries = 0;
    uint32_t directories = 0;
    uint64_t key = 0;
    const void *item;
    while ((item = radix_next(&inode->entries, &key)) != NULL) {
        const struct ram_dentry *dentry = item;
        assert(dentry->position == key && key > 0 && key < inode->next_position);
        assert(ram_find_dentry(ram, inode, (struct store_name){dentry->name, dentry->length}) ==
               dentry);
        assert(ram_find_inode(ram, ram_number(dentry->inode)) == dentry->inode);
        assert(dentry->inode->links > 0);
        if (S_ISDIR(dentry->inode->mode)) {
            assert(dentry->inode->parent == inode);
            directories++;
        }
        entries++;
        key++;
    }
    assert(inode->size == STORE_DIRECTORY_SIZE + entries * STORE_ENTRY_SIZE);
    assert(inode->links == 0 ? entries == 0 : inode->links == directories + 2);
    assert(ram_find_inode(ram, ram_number(inode->parent)) == inode->parent);
    assert(inode->links > 0 || inode->parent->uses > 0);
    count->dentries += entries;
}

static void check_xattrs(const struct ram_inode *inode, struct recount *count)
{
    uint32_t bytes = 0;
    uint32_t list = 0;
    for (const struct ram_xattr *xattr = inode->xattrs; xattr != NULL; xattr = xattr->next) {
        list += xattr->name_length + UINT32_C(1);
        bytes += xattr->name_length + UINT32_C(1) + xattr->value_size;
    }
    assert(inode->xattr_bytes == bytes && inode->xattr_list_bytes == list);
    count->pages += store_xattr_pages(bytes);
}

void ram_check(struct store *store, struct store_holder *const *holders, size_t holder_count)
{
    const struct ram_store *ram = ram_of(store);
    struct recount count = {0};
    uint64_t names = 0;
    for (struct id_map_node *node = id_map_next(&ram->inodes, NULL); node != NULL;
         node = id_map_next(&ram->inodes, node)) {
        struct ram_inode *inode = list_entry(node, struct ram_inode, node);
        assert(inode->links > 0 || inode->uses > 0);
        assert(ram_number(inode) < store->next_number);
        count.inodes++;
        if (S_ISDIR(inode->mode)) {
            check_directory(ram, inode, &count);
            names += inode->links > 0 && inode->parent != inode;
        } else {
            count.inodes += inode->links > 1 ? inode->links - 1 : 0;
            names += inode->links;
        }
        if (S_ISREG(inode->mode)) {
            check_file(inode, &count);
        } else if (S_ISLNK(inode->mode)) {
            count.pages += inode->size >= STORE_SHORT_TARGET;
        }
        check_xattrs(inode, &count);
    }
    /* Each entry is one of its inode's names, and there are no other names. */
    assert(names == count.dentries && ram->dentries.count == count.dentries);
    assert(store->pages.used == count.pages && store->inodes.used == count.inodes);

    uint64_t pages = 0;
    uint64_t inodes = 0;
    for (size_t i = 0; i < holder_count; i++) {
        pages += holders[i]->pages;
        inodes += holders[i]->inodes;
    }
    assert(store->pages.reserved == pages && store->inodes.reserved == inodes);
    assert(pages <= store->pages.limit - count.pages);
    assert(inodes <= store->inodes.limit - count.inodes);
}
