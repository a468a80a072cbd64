/*
 * The table of inodes, their references, and letting go of those that nobody uses.
 *
 * An inode can gain its first reference only through the table, under fs->inodes_mutex; its
 * last goes under that mutex too. So whoever finds references == 0 there may free it.
 *
 * Each cached inode keeps a node of its backend, for the direct one a descriptor of the host.
 * Over the limit, directories one after the other drop the dentries that were not used since
 * their last turn, and the inodes that are thereby left without references go, longest unused
 * first.
 */
#include "fs/inode.h"

#include "fs/filesystem.h"
#include "fs/ids.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static struct inode *inode_of(struct id_map_node *node)
{
    return list_entry(node, struct inode, node);
}

/* It is in no table any more. */
static void inode_free(struct inode *inode)
{
    assert(atomic_load(&inode->references) == 0);
    struct inode *parent = inode->parent;
    if (inode->type == S_IFDIR) {
        directory_deinit(&inode->entries);
    }
    xattr_cache_deinit(&inode->xattrs);
    hf_sync_close(inode->handle);
    inode->backend->ops->forget(inode->backend, inode->backend_node);
    free(atomic_load(&inode->link_target));
    pthread_mutex_destroy(&inode->mutex);
    free(inode);
    inode_unref(parent);
}

static int inode_new(struct hf_fs *fs, struct backend *backend, intptr_t node,
                     const struct stat *attributes, hf_id id, struct inode **out)
{
    struct inode *inode = calloc(1, sizeof *inode);
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
    atomic_init(&inode->references, 1);
    atomic_init(&inode->recently_used, true);
    inode->fs = fs;
    inode->backend = backend;
    inode->backend_node = node;
    inode->number = attributes->st_ino;
    inode->type = attributes->st_mode & S_IFMT;
    pthread_mutex_init(&inode->mutex, NULL);
    directory_init(&inode->entries);
    xattr_cache_init(&inode->xattrs);
    *out = inode;
    return 0;
}

/* Under fs->inodes_mutex. */
static void table_insert(struct hf_fs *fs, struct inode *inode)
{
    id_map_insert(&fs->inodes, &inode->node);
    atomic_store_explicit(&fs->inode_count, fs->inodes.count, memory_order_relaxed);
    if (inode->type == S_IFDIR) {
        list_append(&fs->directories, &inode->directory_link);
        fs->directory_count++;
    }
}

/* Under fs->inodes_mutex. */
static void table_remove(struct hf_fs *fs, struct inode *inode)
{
    id_map_remove(&fs->inodes, &inode->node);
    atomic_store_explicit(&fs->inode_count, fs->inodes.count, memory_order_relaxed);
    if (inode->type == S_IFDIR) {
        list_remove(&inode->directory_link);
        fs->directory_count--;
    }
    if (!list_is_empty(&inode->unreferenced_link)) {
        list_remove(&inode->unreferenced_link);
        fs->unreferenced_count--;
    }
}

int inode_get(struct hf_fs *fs, struct backend *backend, intptr_t node,
              const struct stat *attributes, struct inode **out)
{
    const hf_id id = fs_id_of_inode(backend->number, attributes->st_dev, attributes->st_ino);
    int result = 0;

    pthread_mutex_lock(&fs->inodes_mutex);
    struct id_map_node *found = id_map_find(&fs->inodes, id);
    if (found == NULL) {
        result = inode_new(fs, backend, node, attributes, id, out);
        if (result == 0) {
            table_insert(fs, *out);
            pthread_mutex_unlock(&fs->inodes_mutex);
            return 0;
        }
    } else {
        struct inode *inode = inode_ref(inode_of(found));
        if (!list_is_empty(&inode->unreferenced_link)) {
            list_remove(&inode->unreferenced_link);
            fs->unreferenced_count--;
        }
        *out = inode;
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    backend->ops->forget(backend, node);
    return result;
}

struct inode *inode_unref(struct inode *inode)
{
    if (inode == NULL) {
        return NULL;
    }
    uint32_t references = atomic_load_explicit(&inode->references, memory_order_relaxed);
    while (references > 1) {
        if (atomic_compare_exchange_weak_explicit(&inode->references,
                                                  &references,
                                                  references - 1,
                                                  memory_order_release,
                                                  memory_order_relaxed)) {
            return NULL;
        }
    }
    struct hf_fs *fs = inode->fs;
    bool gone = false;
    pthread_mutex_lock(&fs->inodes_mutex);
    references = atomic_fetch_sub_explicit(&inode->references, 1, memory_order_acq_rel);
    assert(references > 0);
    if (references == 1) {
        gone = atomic_load_explicit(&inode->removed, memory_order_relaxed);
        if (gone) {
            table_remove(fs, inode);
        } else {
            list_append(&fs->unreferenced, &inode->unreferenced_link);
            fs->unreferenced_count++;
        }
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    if (gone) {
        inode_free(inode);
    }
    return NULL;
}

/* What was known of it in @epoch, with a reference. Return: NULL when nothing is. */
static struct inode *known_parent(struct inode *directory, uint64_t epoch)
{
    struct inode *parent = NULL;
    pthread_mutex_lock(&directory->fs->inodes_mutex);
    if (directory->parent_epoch == epoch && !directory->backend->is_checked) {
        parent = inode_ref(directory->parent);
    }
    pthread_mutex_unlock(&directory->fs->inodes_mutex);
    return parent;
}

static int ask_for_parent(struct inode *directory, struct inode **parent)
{
    struct backend *backend = directory->backend;
    struct stat attributes;
    intptr_t node;
    int result = backend->ops->parent(backend, directory->backend_node, &node, &attributes);
    if (result < 0) {
        return result;
    }
    return inode_get(directory->fs, backend, node, &attributes, parent);
}

int inode_parent_held(struct inode *directory, struct inode **parent)
{
    if (directory == directory->fs->root) {
        *parent = inode_ref(directory);
        return 0;
    }
    *parent = known_parent(directory, hf_sync_epoch(directory->handle));
    if (*parent != NULL) {
        return 0;
    }
    int result = ask_for_parent(directory, parent);
    if (result == 0) {
        inode_set_parent(directory, *parent);
    }
    return result;
}

int inode_parent(struct inode *directory, struct inode **parent)
{
    int result = inode_acquire(directory, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_parent_held(directory, parent);
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

/* Free inodes without references until @limit inodes are left. Return: how many are left. */
static size_t drop_unreferenced(struct hf_fs *fs, size_t limit)
{
    pthread_mutex_lock(&fs->inodes_mutex);
    while (fs->inodes.count > limit && !list_is_empty(&fs->unreferenced)) {
        struct inode *inode =
            list_entry(list_first(&fs->unreferenced), struct inode, unreferenced_link);
        table_remove(fs, inode);
        pthread_mutex_unlock(&fs->inodes_mutex);
        inode_free(inode);
        pthread_mutex_lock(&fs->inodes_mutex);
    }
    size_t count = fs->inodes.count;
    pthread_mutex_unlock(&fs->inodes_mutex);
    return count;
}

/* The directory whose turn it is, with a reference; it goes to the end of the queue. */
static struct inode *next_directory(struct hf_fs *fs)
{
    struct inode *directory = NULL;
    pthread_mutex_lock(&fs->inodes_mutex);
    struct list *link = list_first(&fs->directories);
    if (link != NULL) {
        directory = list_entry(link, struct inode, directory_link);
        list_remove(link);
        list_append(&fs->directories, link);
        if (!list_is_empty(&directory->unreferenced_link)) {
            list_remove(&directory->unreferenced_link);
            fs->unreferenced_count--;
        }
        inode_ref(directory);
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    return directory;
}

void inodes_trim(struct hf_fs *fs)
{
    if (atomic_load_explicit(&fs->inode_count, memory_order_relaxed) <= fs->inode_limit) {
        return;
    }
    pthread_mutex_lock(&fs->inodes_mutex);
    /* The first turn of a directory may only find what was used since the one before it. */
    size_t turns = 2 * fs->directory_count;
    pthread_mutex_unlock(&fs->inodes_mutex);
    /* A quarter more than need be, so as not to come back for each new inode. */
    const size_t goal = fs->inode_limit - fs->inode_limit / 4;
    while (drop_unreferenced(fs, goal) > goal && turns-- > 0) {
        struct inode *directory = next_directory(fs);
        if (directory == NULL) {
            return;
        }
        pthread_mutex_lock(&directory->mutex);
        directory_trim(&directory->entries);
        pthread_mutex_unlock(&directory->mutex);
        inode_unref(directory);
    }
}

void inodes_drop_all(struct hf_fs *fs)
{
    struct list *link = fs->directories.next;
    for (; link != &fs->directories; link = link->next) {
        struct inode *directory = list_entry(link, struct inode, directory_link);
        directory_flush(&directory->entries);
    }
    size_t left = drop_unreferenced(fs, 0);
    assert(left == 0);
    (void)left;
}
