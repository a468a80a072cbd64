/* Inodes that have a number, and the names that lead to them. */
#include "store/dir/dir.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- inodes ---- */

struct dir_inode *dir_find_inode(const struct dir_store *dir, uint64_t number)
{
    struct id_map_node *node = id_map_find(&dir->inodes, (hf_id){0, number});
    return node == NULL ? NULL : list_entry(node, struct dir_inode, by_number);
}

int dir_find_directory(const struct dir_store *dir, uint64_t number, struct dir_inode **out)
{
    *out = dir_find_inode(dir, number);
    if (*out == NULL) {
        return -ESTALE;
    }
    return S_ISDIR((*out)->mode) ? 0 : -ENOTDIR;
}

int dir_find_file(const struct dir_store *dir, uint64_t number, struct dir_inode **out)
{
    *out = dir_find_inode(dir, number);
    if (*out == NULL) {
        return -ESTALE;
    }
    if (S_ISDIR((*out)->mode)) {
        return -EISDIR;
    }
    return S_ISREG((*out)->mode) ? 0 : -EINVAL;
}

static struct timespec time_of(struct statx_timestamp stamp)
{
    return (struct timespec){.tv_sec = stamp.tv_sec, .tv_nsec = stamp.tv_nsec};
}

bool dir_is_host(const struct dir_inode *inode, const struct statx *status)
{
    const struct timespec birth = time_of(status->stx_btime);
    return inode->is_host && inode->by_host.id.object == status->stx_ino &&
           (inode->mode & S_IFMT) == (status->stx_mode & S_IFMT) &&
           inode->birth.tv_sec == birth.tv_sec && inode->birth.tv_nsec == birth.tv_nsec;
}

/* The host has no such file any more: its number is never found again by the host's. */
static void forget_host(struct dir_store *dir, struct dir_inode *inode)
{
    if (inode->is_host) {
        id_map_remove(&dir->hosts, &inode->by_host);
        inode->is_host = false;
    }
}

struct dir_inode *dir_find_host(struct dir_store *dir, const struct statx *status)
{
    struct id_map_node *node = id_map_find(&dir->hosts, (hf_id){0, status->stx_ino});
    if (node == NULL) {
        return NULL;
    }
    struct dir_inode *inode = list_entry(node, struct dir_inode, by_host);
    if (dir_is_host(inode, status)) {
        inode->mode = status->stx_mode;
        return inode;
    }
    forget_host(dir, inode);
    return NULL;
}

struct dir_inode *dir_new_inode(void)
{
    struct dir_inode *inode = calloc(1, sizeof(*inode));
    if (inode != NULL) {
        inode->fd = -1;
        list_init(&inode->open);
        list_init(&inode->changed);
    }
    return inode;
}

void dir_insert_inode(struct dir_store *dir, struct dir_inode *inode, uint64_t number,
                      const struct statx *status)
{
    inode->by_number.id = (hf_id){0, number};
    inode->by_host.id = (hf_id){0, status->stx_ino};
    inode->mode = status->stx_mode;
    inode->atime = time_of(status->stx_atime);
    inode->mtime = time_of(status->stx_mtime);
    inode->ctime = time_of(status->stx_ctime);
    inode->btime = time_of(status->stx_btime);
    inode->birth = inode->btime;
    inode->next_position = 1;
    inode->is_host = true;
    /* What had the host's number before is gone, whoever removed it. */
    struct id_map_node *node = id_map_find(&dir->hosts, inode->by_host.id);
    if (node != NULL) {
        forget_host(dir, list_entry(node, struct dir_inode, by_host));
    }
    id_map_insert(&dir->inodes, &inode->by_number);
    id_map_insert(&dir->hosts, &inode->by_host);
}

void dir_drop_index(struct dir_inode *directory)
{
    uint64_t key = 0;
    void *item;
    while ((item = radix_next(&directory->entries, &key)) != NULL) {
        struct dir_name *name = item;
        name->position = 0;
        radix_remove(&directory->entries, key);
    }
    directory->is_indexed = false;
}

void dir_drop_inode(struct dir_store *dir, struct dir_inode *inode)
{
    if (inode->names != NULL || inode->uses > 0 || inode == dir->root) {
        return;
    }
    if (inode->is_removed) {
        list_remove(&inode->changed); /* nobody will ask for its times */
    }
    dir_close(dir, inode);
    list_remove(&inode->changed);
    forget_host(dir, inode);
    dir_drop_index(inode);
    id_map_remove(&dir->inodes, &inode->by_number);
    free(inode);
}

/* ---- names ---- */

static hf_id name_id(const struct dir_store *dir, const struct dir_inode *directory,
                     struct store_name name)
{
    return (hf_id){dir_number(directory), store_hash_name(dir->hash_key, name)};
}

struct dir_text dir_text_of(struct store_name name)
{
    struct dir_text text;
    assert(name.length < sizeof(text.bytes));
    memcpy(text.bytes, name.bytes, name.length);
    text.bytes[name.length] = '\0';
    return text;
}

struct dir_name *dir_find_name(const struct dir_store *dir, const struct dir_inode *directory,
                               struct store_name name)
{
    const hf_id id = name_id(dir, directory, name);
    struct id_map_node *node = id_map_find(&dir->names, id);
    for (; node != NULL; node = node->next) {
        struct dir_name *found = list_entry(node, struct dir_name, node);
        if (hf_id_equal(node->id, id) && found->length == name.length &&
            memcmp(found->text, name.bytes, name.length) == 0) {
            return found;
        }
    }
    return NULL;
}

struct dir_name *dir_add_name(struct dir_store *dir, struct dir_inode *directory,
                              struct store_name name)
{
    struct dir_name *added = malloc(sizeof(*added) + name.length + 1);
    if (added == NULL) {
        return NULL;
    }
    *added = (struct dir_name){
        .node.id = name_id(dir, directory, name),
        .length = (uint8_t)name.length,
    };
    memcpy(added->text, name.bytes, name.length);
    added->text[name.length] = '\0';
    if (directory->is_indexed) {
        added->position = directory->next_position;
        if (radix_put(&directory->entries, added->position, added) < 0) {
            free(added);
            return NULL;
        }
        directory->next_position++;
    }
    id_map_insert(&dir->names, &added->node);
    return added;
}

void dir_attach_name(struct dir_store *dir, struct dir_name *name, struct dir_inode *inode)
{
    const bool is_first = inode->names == NULL;
    name->inode = inode;
    name->next = inode->names;
    inode->names = name;
    if (is_first) {
        dir_is_named(dir, inode, true);
    }
}

void dir_detach_name(struct dir_store *dir, struct dir_name *name)
{
    struct dir_inode *inode = name->inode;
    struct dir_name **link = &inode->names;
    while (*link != name) {
        link = &(*link)->next;
    }
    *link = name->next;
    name->inode = NULL;
    if (inode->names == NULL) {
        dir_is_named(dir, inode, false);
    }
}

void dir_free_name(struct dir_store *dir, struct dir_inode *directory, struct dir_name *name)
{
    assert(name->inode == NULL);
    if (name->position != 0) {
        radix_remove(&directory->entries, name->position);
    }
    id_map_remove(&dir->names, &name->node);
    free(name);
}

void dir_replace_name(struct dir_store *dir, struct dir_inode *directory, struct dir_name *old,
                      struct dir_name *name)
{
    if (old->position != 0) {
        radix_remove(&directory->entries, name->position);
        name->position = old->position;
        *radix_slot(&directory->entries, old->position) = name;
        old->position = 0;
    }
    dir_free_name(dir, directory, old);
}

void dir_lose_name(struct dir_store *dir, struct dir_inode *directory, struct store_name name)
{
    struct dir_name *lost = dir_find_name(dir, directory, name);
    if (lost == NULL) {
        return;
    }
    struct dir_inode *inode = lost->inode;
    dir_detach_name(dir, lost);
    dir_free_name(dir, directory, lost);
    directory->is_counted = false;
    dir_drop_inode(dir, inode);
}

/* A directory that is found where it was not before has left the place where it was. */
static void leave_old_place(struct dir_store *dir, struct dir_inode *inode)
{
    struct dir_name *old = inode->names;
    if (S_ISDIR(inode->mode) && old != NULL) {
        dir_detach_name(dir, old);
        dir_free_name(dir, dir_find_inode(dir, old->node.id.space), old);
    }
}

int dir_see(struct dir_store *dir, struct dir_inode *directory, struct store_name name,
            const struct statx *status, struct dir_inode **out)
{
    struct dir_name *seen = dir_find_name(dir, directory, name);
    struct dir_inode *inode = dir_find_host(dir, status);
    if (seen != NULL && inode == seen->inode) {
        *out = inode;
        return 0;
    }
    struct dir_inode *found = inode == NULL ? dir_new_inode() : inode;
    if (found == NULL) {
        return -ENOMEM;
    }
    struct dir_inode *old = seen == NULL ? NULL : seen->inode;
    if (seen == NULL) {
        seen = dir_add_name(dir, directory, name);
    }
    if (seen == NULL) {
        if (inode == NULL) {
            free(found);
        }
        return -ENOMEM;
    }
    if (old != NULL) {
        dir_detach_name(dir, seen);
        dir_drop_inode(dir, old);
    } else if (directory->is_indexed) {
        directory->is_counted = false; /* somebody else made it */
    }
    if (inode == NULL) {
        uint64_t number;
        store_choose_number(&dir->store, NULL, 0, &number);
        store_spend_number(&dir->store, NULL, 0, number);
        dir_insert_inode(dir, found, number, status);
    } else {
        leave_old_place(dir, found);
    }
    dir_attach_name(dir, seen, found);
    found->is_removed = false;
    *out = found;
    return 0;
}
