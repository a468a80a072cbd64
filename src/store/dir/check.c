/* Everything the store in a directory keeps count of, counted again, on the host too. */
#include "store/dir/dir.h"

#include <assert.h>
#include <errno.h>

/* The host has what is in memory, under that name. */
static void check_name(struct dir_store *dir, const struct dir_name *name)
{
    struct statx status;
    struct dir_inode *directory = dir_find_inode(dir, name->node.id.space);
    assert(directory != NULL);
    const int fd = dir_open(dir, directory, DIR_PATH);
    assert(fd >= 0 && dir_stat_at(dir, fd, name->text, &status) == 0);
    assert(dir_is_host(name->inode, &status));
}

static void check_names(struct dir_store *dir)
{
    size_t attached = 0;
    for (struct id_map_node *node = id_map_next(&dir->inodes, NULL); node != NULL;
         node = id_map_next(&dir->inodes, node)) {
        const struct dir_inode *inode = list_entry(node, struct dir_inode, by_number);
        for (const struct dir_name *name = inode->names; name != NULL; name = name->next) {
            assert(name->inode == inode);
            check_name(dir, name);
            dir->operation++; /* so that nothing has to stay open for it */
            attached++;
        }
        assert(inode->names == NULL || inode->names->next == NULL || !S_ISDIR(inode->mode));
    }
    /* Each name leads to an inode, and there are no others. */
    assert(attached == dir->names.count);
}

static void check_index(const struct dir_store *dir, const struct dir_inode *directory)
{
    uint64_t key = 0;
    uint64_t entries = 0;
    const void *item;
    while ((item = radix_next(&directory->entries, &key)) != NULL) {
        const struct dir_name *name = item;
        assert(name->position == key && key > 0 && key < directory->next_position);
        assert(name->node.id.space == dir_number(directory));
        assert(dir_find_name(dir, directory, (struct store_name){name->text, name->length}) ==
               name);
        entries++;
        key++;
    }
    assert(directory->is_indexed || entries == 0);
    assert(!directory->is_indexed || !directory->is_counted || directory->entry_count == entries);
}

/* What is held and has no name is counted too, though no listing finds it. */
static void check_inodes(struct dir_store *dir, uint64_t *pages, uint64_t *inodes)
{
    unsigned open = 0;
    for (struct id_map_node *node = id_map_next(&dir->inodes, NULL); node != NULL;
         node = id_map_next(&dir->inodes, node)) {
        const struct dir_inode *inode = list_entry(node, struct dir_inode, by_number);
        struct statx status;
        assert(inode->names != NULL || inode->uses > 0 || inode == dir->root);
        assert(dir_find_inode(dir, dir_number(inode)) == inode);
        assert(dir_number(inode) < dir->store.next_number);
        const bool is_open = inode->fd >= 0 && inode->names != NULL;
        assert(is_open == !list_is_empty(&inode->open));
        open += is_open ? 1 : 0;
        if (inode->is_removed) {
            assert(inode->names == NULL && inode->fd >= 0);
            assert(dir_stat_descriptor(inode->fd, &status) == 0);
            *pages += dir_pages_of(dir, inode->fd, inode->access != DIR_PATH, &status);
            ++*inodes;
        }
        if (S_ISDIR(inode->mode)) {
            check_index(dir, inode);
        }
    }
    assert(open == dir->open_count && open <= dir->max_open);
}

void dir_check(struct store *store, struct store_holder *const *holders, size_t holder_count)
{
    struct dir_store *dir = dir_begin(store);
    uint64_t pages = 0;
    uint64_t inodes = 0;
    check_names(dir);
    check_inodes(dir, &pages, &inodes);
    if (dir->limits_pages || dir->limits_inodes) {
        uint64_t tree_pages;
        uint64_t tree_inodes;
        assert(dir_count_tree(dir, &tree_pages, &tree_inodes) == 0);
        assert(!dir->limits_pages || store->pages.used == pages + tree_pages);
        assert(!dir->limits_inodes || store->inodes.used == inodes + tree_inodes);
    }
    pages = 0;
    inodes = 0;
    for (size_t i = 0; i < holder_count; i++) {
        pages += holders[i]->pages;
        inodes += holders[i]->inodes;
    }
    assert(store->pages.reserved == pages && store->inodes.reserved == inodes);
    assert(pages <= store->pages.limit - store->pages.used);
    assert(inodes <= store->inodes.limit - store->inodes.used);
}
