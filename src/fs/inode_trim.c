/*
 * Letting go of what nobody uses, when the caches are over a budget.
 *
 * Nodes: those with one take turns; whoever was not used since its last turn and has no users
 * loses the node, and stays.
 *
 * Bytes: directories take turns and let go of what was not used since their last one: dentries,
 * what they know to be absent, their whole listing. The inodes that are thereby left without
 * references go, longest unused first.
 *
 * One thread does it at a time; the others go on meanwhile.
 */
#include "fs/filesystem.h"
#include "fs/inode_table.h"

#include <assert.h>
#include <stdlib.h>

#define RELEASES_SENT_TOGETHER 64

/* ---- parents ---- */

/* What @directory refers to as its parent: the reference is the caller's. Under fs->inodes_mutex. */
static struct inode *take_parent(struct inode *directory)
{
    struct inode *parent = directory->parent;
    directory->parent = NULL;
    directory->parent_epoch = 0;
    return parent;
}

/* ---- nodes ---- */

/* The next inode that loses its node, which then is the caller's. Of @turns are left. Under
 * fs->inodes_mutex. */
static struct inode *take_next_node(struct hf_fs *fs, size_t *turns)
{
    while (*turns > 0 && !list_is_empty(&fs->with_nodes)) {
        struct list *link = list_first(&fs->with_nodes);
        struct inode *inode = list_entry(link, struct inode, with_node_link);
        --*turns;
        list_remove(link);
        list_append(&fs->with_nodes, link);
        if (!atomic_exchange_explicit(&inode->recently_used, false, memory_order_relaxed) &&
            inode_take_node(inode)) {
            return inode;
        }
    }
    return NULL;
}

static void trim_nodes(struct hf_fs *fs)
{
    const size_t goal = budget_goal(&fs->nodes);
    /* The first turn may only find what was used since the one before it. */
    size_t turns = 2 * budget_used(&fs->nodes);
    struct inode *inode;

    pthread_mutex_lock(&fs->inodes_mutex);
    while (budget_used(&fs->nodes) > goal && (inode = take_next_node(fs, &turns)) != NULL) {
        struct backend *backend = inode->backend;
        const intptr_t node = inode->backend_node;
        struct inode *parent = take_parent(inode);
        inode_free_target(inode, atomic_exchange(&inode->link_target, NULL));
        list_remove(&inode->unreferenced_link);
        inode_ref(inode);
        pthread_mutex_unlock(&fs->inodes_mutex);
        inode_unpinned(inode, node, backend->ops->get_attributes);
        backend->ops->forget(backend, node);
        inode_unref(inode);
        inode_unref(parent);
        pthread_mutex_lock(&fs->inodes_mutex);
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    budget_trimmed(&fs->nodes);
}

/* ---- bytes ---- */

/* Free inodes without references until @goal bytes are left, if there are enough of them. What
 * they held goes to the server many at a time. */
static void drop_unreferenced(struct hf_fs *fs, size_t goal)
{
    size_t dropped = 0;
    pthread_mutex_lock(&fs->inodes_mutex);
    while (budget_used(&fs->bytes) > goal && !list_is_empty(&fs->unreferenced)) {
        struct inode *inode =
            list_entry(list_first(&fs->unreferenced), struct inode, unreferenced_link);
        inode_leave_table(inode);
        pthread_mutex_unlock(&fs->inodes_mutex);
        inode_free(inode);
        if (++dropped % RELEASES_SENT_TOGETHER == 0) {
            client_send_queued(fs->client);
        }
        pthread_mutex_lock(&fs->inodes_mutex);
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    if (dropped > 0) {
        client_send_queued(fs->client);
    }
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
        list_remove(&directory->unreferenced_link);
        inode_ref(directory);
    }
    pthread_mutex_unlock(&fs->inodes_mutex);
    return directory;
}

static void trim_directory(struct inode *directory)
{
    struct hf_fs *fs = directory->fs;
    pthread_mutex_lock(&fs->inodes_mutex);
    /* Those that are out of date may go round in a circle, and would keep all on it. */
    struct inode *parent = take_parent(directory);
    pthread_mutex_unlock(&fs->inodes_mutex);
    inode_unref(parent);

    /* Somebody may be reading it, and would have to list it again for each entry. */
    const bool is_open = atomic_load_explicit(&directory->open_files, memory_order_relaxed) > 0;
    pthread_mutex_lock(&directory->mutex);
    directory_trim(directory->entries, is_open);
    pthread_mutex_unlock(&directory->mutex);
}

static void trim_bytes(struct hf_fs *fs)
{
    const size_t goal = budget_goal(&fs->bytes);
    pthread_mutex_lock(&fs->inodes_mutex);
    size_t turns = 2 * fs->directory_count;
    pthread_mutex_unlock(&fs->inodes_mutex);

    drop_unreferenced(fs, goal);
    while (budget_used(&fs->bytes) > goal && turns-- > 0) {
        struct inode *directory = next_directory(fs);
        if (directory == NULL) {
            break;
        }
        trim_directory(directory);
        inode_unref(directory);
        drop_unreferenced(fs, goal);
    }
    budget_trimmed(&fs->bytes);
}

void inodes_trim(struct hf_fs *fs)
{
    const bool over_nodes = budget_is_over(&fs->nodes);
    const bool over_bytes = budget_is_over(&fs->bytes);
    if ((!over_nodes && !over_bytes) || atomic_flag_test_and_set(&fs->trimming)) {
        return;
    }
    if (over_bytes) {
        trim_bytes(fs);
    }
    if (over_nodes) {
        trim_nodes(fs);
    }
    atomic_flag_clear(&fs->trimming);
}

void inodes_drop_all(struct hf_fs *fs)
{
    struct list *link = fs->directories.next;
    for (; link != &fs->directories; link = link->next) {
        struct inode *directory = list_entry(link, struct inode, directory_link);
        directory_flush(directory->entries);
        inode_unref(take_parent(directory));
    }
    drop_unreferenced(fs, 0);
    assert(fs->inodes.count == 0 && budget_used(&fs->nodes) == 0 && budget_used(&fs->bytes) == 0);
}
