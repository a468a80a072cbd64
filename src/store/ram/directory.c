/*
 * Entries of directories. Positions only grow, and a listing goes down from the newest, so it ends
 * whatever is made meanwhile. An entry that is renamed in its directory keeps its position.
 * Two names with one hash are harmless, and told apart.
 */
#include "store/ram/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static hf_id entry_id(const struct ram_store *ram, const struct ram_inode *directory,
                      struct store_name name)
{
    return (hf_id){ram_number(directory), store_hash_name(ram->hash_key, name)};
}

struct ram_dentry *ram_find_dentry(const struct ram_store *ram, const struct ram_inode *directory,
                                   struct store_name name)
{
    const hf_id id = entry_id(ram, directory, name);
    for (struct id_map_node *node = id_map_find(&ram->dentries, id); node != NULL;
         node = node->next) {
        struct ram_dentry *dentry = list_entry(node, struct ram_dentry, node);
        if (hf_id_equal(node->id, id) && dentry->length == name.length &&
            memcmp(dentry->name, name.bytes, name.length) == 0) {
            return dentry;
        }
    }
    return NULL;
}

struct ram_dentry *ram_new_dentry(const struct ram_store *ram, const struct ram_inode *directory,
                                  struct store_name name, struct ram_inode *inode)
{
    struct ram_dentry *dentry = malloc(sizeof(*dentry) + name.length);
    if (dentry == NULL) {
        return NULL;
    }
    *dentry = (struct ram_dentry){
        .node.id = entry_id(ram, directory, name),
        .inode = inode,
        .length = (uint8_t)name.length,
    };
    memcpy(dentry->name, name.bytes, name.length);
    return dentry;
}

int ram_insert_dentry(struct ram_store *ram, struct ram_inode *directory, struct ram_dentry *dentry)
{
    dentry->position = directory->next_position;
    if (radix_put(&directory->entries, dentry->position, dentry) < 0) {
        return -ENOMEM;
    }
    directory->next_position++;
    directory->size += STORE_ENTRY_SIZE;
    id_map_insert(&ram->dentries, &dentry->node);
    return 0;
}

void ram_replace_dentry(struct ram_store *ram, struct ram_inode *directory, struct ram_dentry *old,
                        struct ram_dentry *dentry)
{
    dentry->position = old->position;
    *radix_slot(&directory->entries, old->position) = dentry;
    id_map_remove(&ram->dentries, &old->node);
    id_map_insert(&ram->dentries, &dentry->node);
    free(old);
}

void ram_remove_dentry(struct ram_store *ram, struct ram_inode *directory,
                       struct ram_dentry *dentry)
{
    radix_remove(&directory->entries, dentry->position);
    directory->size -= STORE_ENTRY_SIZE;
    id_map_remove(&ram->dentries, &dentry->node);
    free(dentry);
}

int ram_lookup(struct store *store, uint64_t directory, struct store_name name,
               struct store_attributes *out)
{
    const struct ram_store *ram = ram_of(store);
    struct ram_inode *parent;
    int result = ram_find_directory(ram, directory, &parent);
    if (result == 0) {
        result = store_check_name(name);
    }
    if (result < 0) {
        return result;
    }
    const struct ram_dentry *dentry = ram_find_dentry(ram, parent, name);
    if (dentry == NULL) {
        return -ENOENT;
    }
    ram_show(dentry->inode, out);
    return 0;
}

int ram_parent(struct store *store, uint64_t directory, uint64_t *out)
{
    struct ram_inode *inode;
    const int result = ram_find_directory(ram_of(store), directory, &inode);
    if (result < 0) {
        return result;
    }
    *out = ram_number(inode->parent);
    return 0;
}

int ram_list(struct store *store, const struct store_call *call, uint64_t directory,
             uint64_t position, store_entry_function *entry, void *context)
{
    struct ram_inode *inode;
    int result = ram_find_directory(ram_of(store), directory, &inode);
    if (result < 0) {
        return result;
    }
    if (inode->links == 0) {
        return -ENOENT;
    }
    ram_touch_inode(inode, call);
    /* Position 0 is nobody's: as an end it is behind everything, as a beginning in front. */
    uint64_t key = position - 1;
    while (result == 0 && key != 0) {
        const struct ram_dentry *dentry = radix_previous(&inode->entries, &key);
        if (dentry == NULL) {
            break;
        }
        result = entry(context,
                       (struct store_name){dentry->name, dentry->length},
                       ram_number(dentry->inode),
                       dentry->inode->mode & S_IFMT,
                       key);
        key--;
    }
    return result;
}
