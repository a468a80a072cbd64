/*
 * The table of inodes, their references and their nodes.
 *
 * An inode can gain its first reference only through the table, under fs->inodes_mutex; its
 * last goes under that mutex too. So whoever finds no references there may free it.
 *
 * A node is given under that mutex, and taken away under it by one compare-and-swap that finds no
 * users. So a user who once saw INODE_HAS_NODE has the node as long as its reference.
 */
#include "fs/inode_table.h"

#include "fs/filesystem.h"
#include "fs/ids.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct inode *inode_of(struct id_map_node *node)
{
    return list_entry(node, struct inode, node);
}

static size_t size_of(mode_t type)
{
    return sizeof(struct inode) + (type == S_IFDIR ? sizeof(struct directory) : 0);
}

/* With its sync handle, and its places in two tables. */
static size_t bytes_of(const struct inode *inode)
{
    return budget_bytes(size_of(inode->type)) + budget_bytes(sizeof(struct hf_sync)) +
           2 * sizeof(void *);
}

static int inode_new(struct hf_fs *fs, struct backend *backend, const struct stat *attributes,
                     hf_id id, struct inode **out)
{
    const mode_t type = attributes->st_mode & S_IFMT;
    struct inode *inode = calloc(1, size_of(type));
    if (inode == NULL) {
        return -ENOMEM;
    }
    int result = client_open_reserved(fs->client, id, HF_SYNC_LOCK, &inode->handle);
    if (result < 0) {
        free(inode);
        return result;
    }
    inode->node.id = id;
    list_init(&inode->unreferenced_link);
    list_init(&inode->directory_link);
    list_init(&inode->with_node_link);
    atomic_init(&inode->references, 0);
    atomic_init(&inode->recently_used, true);
    inode->fs = fs;
    inode->backend = backend;
    inode->device = attributes->st_dev;
    inode->number = attributes->st_ino;
    inode->type = type;
    pthread_mutex_init(&inode->mutex, NULL);
    xattr_cache_init(&inode->xattrs, &fs->bytes);
    if (type == S_IFDIR) {
        inode->entries = (struct directory *)(inode + 1);
        directory_init(inode->entries, &fs->bytes);
    }
    budget_take(&fs->bytes, bytes_of(inode));
    *out = inode;
    return 0;
}

void inode_free_target(struct inode *inode, char *target)
{
    if (target != NULL) {
        budget_give_back(&inode->fs->bytes, budget_bytes(strlen(target) + 1));
        free(target);
    }
}

void inode_free(struct inode *inode)
{
    struct budget *bytes = &inode->fs->bytes;
    struct inode *parent = inode->parent;

    assert((atomic_load(&inode->references) & INODE_REFERENCES) == 0);
    if (inode->type == S_IFDIR) {
        directory_deinit(inode->entries);
    }
    xattr_cache_deinit(&inode->xattrs);
    client_close_quietly(inode->handle);
    if (inode_has_node(inode)) {
        inode->backend->ops->forget(inode->backend, inode->backend_node);
    }
    inode_free_target(inode, atomic_load(&inode->link_target));
    pthread_mutex_destroy(&inode->mutex);
    budget_give_back(bytes, bytes_of(inode));
    free(inode);
    inode_unref(parent);
}

/* ---- the table; all of this under fs->inodes_mutex ---- */

static void table_insert(struct hf_fs *fs, struct inode *inode)
{
    id_map_insert(&fs->inodes, &inode->node);
    inode->in_table = true;
    if (inode->type == S_IFDIR) {
        list_append(&fs->directories, &inode->directory_link);
        fs->directory_count++;
    }
}

void inode_leave_table(struct inode *inode)
{
    struct hf_fs *fs = inode->fs;
    if (inode->in_table) {
        id_map_remove(&fs->inodes, &inode->node);
        inode->in_table = false;
        fs->directory_count -= inode->type == S_IFDIR;
    }
    list_remove(&inode->directory_link);
    list_remove(&inode->unreferenced_link);
    if (!list_is_empty(&inode->with_node_link)) {
        list_remove(&inode->with_node_link);
        budget_give_back(&fs->nodes, 1);
    }
}

/* Return: false when it has one already. */
static bool give_node(struct inode *inode, intptr_t node)
{
    if (inode_has_node(inode)) {
        return false;
    }
    inode->backend_node = node;
    inode_known_elsewhere(inode);
    list_append(&inode->fs->with_nodes, &inode->with_node_link);
    budget_take(&inode->fs->nodes, 1);
    atomic_fetch_or_explicit(&inode->references, INODE_HAS_NODE, memory_order_release);
    return true;
}

static bool is_pinned(const struct inode *inode)
{
    return inode_has_node(inode) ||
           atomic_load_explicit(&inode->open_files, memory_order_relaxed) > 0;
}

/* May @inode, which the table has, be another file than the one of its number now, with nothing
 * in its caches to say so? */
static bool is_outdated(const struct inode *inode)
{
    return !is_pinned(inode) &&
           (inode_is_checked(inode) || atomic_load_explicit(&inode->removed, memory_order_relaxed));
}

static struct inode *reference_first(struct inode *inode)
{
    list_remove(&inode->unreferenced_link);
    return inode_ref(inode);
}

/* ---- finding and making ---- */

static int make(struct hf_fs *fs, struct backend *backend, const struct stat *attributes, hf_id id,
                struct inode **out)
{
    int result = inode_new(fs, backend, attributes, id, out);
    if (result == 0) {
        table_insert(fs, inode_ref(*out));
    }
    return result;
}

int inode_get(struct hf_fs *fs, struct backend *backend, intptr_t node,
              const struct stat *attributes, struct inode **out)
{
    const hf_id id = fs_id_of_inode(backend->number, attributes->st_dev, attributes->st_ino);
    struct inode *replaced = NULL;
    bool given = node == BACKEND_NO_NODE;
    int result = 0;

    pthread_mutex_lock(&fs->inodes_mutex);
    struct id_map_node *found = id_map_find(&fs->inodes, id);
    struct inode *inode = found == NULL ? NULL : inode_of(found);
    if (inode != NULL && (inode->type != (attributes->st_mode & S_IFMT) || is_outdated(inode))) {
        inode_leave_table(inode);
        if ((atomic_load(&inode->references) & INODE_REFERENCES) == 0) {
            replaced = inode;
        }
        inode = NULL;
    }
    if (inode != NULL) {
        reference_first(inode);
    } else {
        result = make(fs, backend, attributes, id, &inode);
    }
    if (result == 0 && !given) {
        given = give_node(inode, node);
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    if (!given) {
        backend->ops->forget(backend, node);
    }
    if (replaced != NULL) {
        inode_free(replaced);
    }
    if (result == 0) {
        *out = inode;
    }
    return result;
}

int inode_get_listed(struct inode *directory, ino_t number, mode_t type, struct inode **out)
{
    struct hf_fs *fs = directory->fs;
    struct backend *backend = directory->backend;
    const hf_id id = fs_id_of_inode(backend->number, directory->device, number);
    const struct stat listed = {.st_dev = directory->device, .st_ino = number, .st_mode = type};
    int result = 0;

    pthread_mutex_lock(&fs->inodes_mutex);
    struct id_map_node *found = id_map_find(&fs->inodes, id);
    if (found == NULL) {
        result = make(fs, backend, &listed, id, out);
    } else if (inode_of(found)->type == type && !is_outdated(inode_of(found))) {
        *out = reference_first(inode_of(found));
    } else {
        result = -EAGAIN;
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    return result;
}

struct inode *inode_find_seen_in(const struct inode *inode)
{
    const hf_id id = {inode->node.id.space,
                      atomic_load_explicit(&inode->seen_in, memory_order_relaxed)};
    struct inode *directory = NULL;
    pthread_mutex_lock(&inode->fs->inodes_mutex);
    struct id_map_node *found = id_map_find(&inode->fs->inodes, id);
    if (found != NULL && inode_of(found)->type == S_IFDIR) {
        directory = reference_first(inode_of(found));
    }
    pthread_mutex_unlock(&inode->fs->inodes_mutex);
    return directory;
}

/* ---- references ---- */

/* @reference: INODE_USER or INODE_ENTRY. */
static void drop_reference(struct inode *inode, uint64_t reference)
{
    uint64_t references = atomic_load_explicit(&inode->references, memory_order_relaxed);
    while ((references & INODE_REFERENCES) != reference) {
        if (atomic_compare_exchange_weak_explicit(&inode->references,
                                                  &references,
                                                  references - reference,
                                                  memory_order_release,
                                                  memory_order_relaxed)) {
            return;
        }
    }
    struct hf_fs *fs = inode->fs;
    bool gone = false;
    pthread_mutex_lock(&fs->inodes_mutex);
    references = atomic_fetch_sub_explicit(&inode->references, reference, memory_order_acq_rel);
    assert((references & INODE_REFERENCES) >= reference);
    if ((references & INODE_REFERENCES) == reference) {
        gone = !inode->in_table || atomic_load_explicit(&inode->removed, memory_order_relaxed);
        if (gone) {
            inode_leave_table(inode);
        } else {
            list_append(&fs->unreferenced, &inode->unreferenced_link);
        }
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    if (gone) {
        inode_free(inode);
    }
}

struct inode *inode_unref(struct inode *inode)
{
    if (inode != NULL) {
        drop_reference(inode, INODE_USER);
    }
    return NULL;
}

void inode_unref_entry(struct inode *inode)
{
    drop_reference(inode, INODE_ENTRY);
}

void inode_unpinned(struct inode *inode, intptr_t pin, backend_get_attributes *get_attributes)
{
    const uint64_t epoch = hf_sync_epoch(inode->handle);
    struct stat attributes;
    if (inode->backend->numbers_are_final ||
        atomic_load_explicit(&inode->named_epoch, memory_order_relaxed) == epoch) {
        return;
    }
    if (get_attributes(inode->backend, pin, &attributes) == 0 && attributes.st_nlink > 0) {
        inode_had_name(inode, epoch);
    } else {
        atomic_store_explicit(&inode->removed, true, memory_order_relaxed);
    }
}

void inode_close_file(struct inode *inode, intptr_t file)
{
    /* First: its number may be given away as soon as it is closed. */
    if (atomic_fetch_sub_explicit(&inode->open_files, 1, memory_order_acq_rel) == 1 &&
        !inode_has_node(inode)) {
        inode_unpinned(inode, file, inode->backend->ops->get_attributes_of_file);
    }
    inode->backend->ops->close(inode->backend, file);
}

int inode_keep(struct inode *inode)
{
    struct backend *backend = inode->backend;
    if (backend->ops->keep == NULL) {
        return 0;
    }
    int result = inode_acquire(inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = backend->ops->keep(backend, inode->backend_node);
    int released = inode_release(inode);
    if (result == 0 && released < 0) {
        backend->ops->unkeep(backend, inode->backend_node);
    }
    return result < 0 ? result : released;
}

void inode_unkeep(struct inode *inode)
{
    struct backend *backend = inode->backend;
    if (backend->ops->keep != NULL) {
        backend->ops->unkeep(backend, inode->backend_node);
    }
}

int inode_give_node_of_file(struct inode *inode, intptr_t file)
{
    struct backend *backend = inode->backend;
    intptr_t node;

    if (inode_has_node(inode)) {
        return 0;
    }
    int result = backend->ops->node_of_file(backend, file, &node);
    if (result < 0) {
        return result;
    }
    pthread_mutex_lock(&inode->fs->inodes_mutex);
    const bool given = give_node(inode, node);
    pthread_mutex_unlock(&inode->fs->inodes_mutex);
    if (!given) {
        backend->ops->forget(backend, node);
    }
    return 0;
}

bool inode_is_private(struct inode *inode, struct inode *directory)
{
    pthread_mutex_lock(&inode->fs->inodes_mutex);
    const uint64_t references = atomic_load_explicit(&inode->references, memory_order_acquire);
    const uint64_t grant = atomic_load_explicit(&inode->born_with, memory_order_relaxed);
    pthread_mutex_unlock(&inode->fs->inodes_mutex);
    return grant == client_grant(directory->handle) &&
           (references & INODE_REFERENCES) == INODE_USER + INODE_ENTRY;
}

bool inode_take_node(struct inode *inode)
{
    uint64_t references = atomic_load_explicit(&inode->references, memory_order_relaxed);
    while ((references & INODE_USERS) == 0) {
        if (atomic_compare_exchange_weak_explicit(&inode->references,
                                                  &references,
                                                  references & ~INODE_HAS_NODE,
                                                  memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            list_remove(&inode->with_node_link);
            budget_give_back(&inode->fs->nodes, 1);
            return true;
        }
    }
    return false;
}

/* ---- parents ---- */

/* What was known of it in @epoch, with a reference. Return: NULL when nothing is. */
static struct inode *known_parent(struct inode *directory, uint64_t epoch)
{
    struct inode *parent = NULL;
    pthread_mutex_lock(&directory->fs->inodes_mutex);
    if (directory->parent_epoch == epoch && !inode_is_checked(directory)) {
        parent = inode_ref(directory->parent);
    }
    pthread_mutex_unlock(&directory->fs->inodes_mutex);
    return parent;
}

static int ask_for_parent(struct inode *directory, struct inode *root, struct inode **parent)
{
    struct backend *backend = directory->backend;
    struct stat attributes;
    intptr_t node;
    assert(inode_has_node(directory) && inode_has_node(root));
    int result = backend->ops->parent(
        backend, directory->backend_node, root->backend_node, &node, &attributes);
    if (result < 0) {
        return result;
    }
    return inode_get(directory->fs, backend, node, &attributes, parent);
}

int inode_parent_held(struct inode *directory, struct inode *root, struct inode **parent)
{
    if (directory == root) {
        *parent = inode_ref(directory);
        return 0;
    }
    *parent = known_parent(directory, hf_sync_epoch(directory->handle));
    if (*parent != NULL) {
        return 0;
    }
    int result = ask_for_parent(directory, root, parent);
    if (result == 0) {
        inode_set_parent(directory, *parent);
    }
    return result;
}

int inode_parent(struct inode *directory, struct inode *root, struct inode **parent)
{
    int result = inode_acquire(directory, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_parent_held(directory, root, parent);
    int released = inode_release(directory);
    if (result == 0 && released < 0) {
        *parent = inode_unref(*parent);
        result = released;
    }
    return result;
}

void inode_set_parent(struct inode *child, struct inode *directory)
{
    struct inode *before = NULL;
    pthread_mutex_lock(&child->fs->inodes_mutex);
    if (child->parent != directory) {
        before = child->parent;
        child->parent = inode_ref(directory);
    }
    child->parent_epoch = hf_sync_epoch(child->handle);
    pthread_mutex_unlock(&child->fs->inodes_mutex);
    inode_unref(before);
}
