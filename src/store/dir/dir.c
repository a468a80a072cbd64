/* The store in a directory of the host: made and freed, and what concerns one inode. */
#include "store/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int dir_get_attributes(struct store *store, uint64_t number, struct store_attributes *out)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode = dir_find_inode(dir, number);
    struct statx status;
    const int result = inode == NULL ? -ESTALE : dir_stat(dir, inode, &status);
    if (result == 0) {
        dir_show(dir, inode, &status, out);
    }
    return result;
}

static int dir_parent(struct store *store, uint64_t directory, uint64_t *out)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode;
    const int result = dir_find_directory(dir, directory, &inode);
    if (result < 0) {
        return result;
    }
    if (inode == dir->root) {
        *out = STORE_ROOT;
    } else if (inode->names != NULL) {
        *out = inode->names->node.id.space;
    } else if (inode->was_in != NULL) {
        *out = dir_number(inode->was_in);
    } else {
        return -ENOENT; /* somebody else removed it */
    }
    return 0;
}

static int64_t dir_read_link(struct store *store, const struct store_call *call, uint64_t number,
                             char *buffer, size_t size)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode = dir_find_inode(dir, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    if (!S_ISLNK(inode->mode) || size == 0) {
        return -EINVAL;
    }
    const int fd = dir_open(dir, inode, DIR_PATH);
    const ssize_t length = fd < 0 ? fd : readlinkat(fd, "", buffer, size);
    if (length < 0) {
        return fd < 0 ? fd : -errno;
    }
    dir_touch_inode(dir, call, inode);
    dir_mark_changed(dir, inode); /* the host has moved the access time by its own rules */
    return length;
}

static int dir_hold(struct store *store, uint64_t number)
{
    struct dir_inode *inode = dir_find_inode(dir_begin(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    inode->uses++;
    return 0;
}

/* Of what has no name and is held no more. */
static void free_space(struct dir_store *dir, struct dir_inode *inode)
{
    struct statx status;
    dir_free_inodes(dir, 1);
    if (dir->limits_pages && dir_stat_descriptor(inode->fd, &status) == 0) {
        dir_free_pages(dir, dir_pages_of(dir, inode->fd, inode->access != DIR_PATH, &status));
    }
}

static int dir_release(struct store *store, uint64_t number)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode = dir_find_inode(dir, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    if (inode->uses == 0) {
        return -EPROTO;
    }
    while (inode != NULL && --inode->uses == 0) {
        struct dir_inode *was_in = inode->was_in;
        if (inode->is_removed) {
            free_space(dir, inode);
        } else {
            dir_flush_times(dir, inode);
        }
        dir_drop_inode(dir, inode);
        inode = was_in;
    }
    return 0;
}

static int dir_touch(struct store *store, const struct store_call *call, uint64_t number)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode = dir_find_inode(dir, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    dir_touch_inode(dir, call, inode);
    return 0;
}

/* ---- what outlives the server ---- */

static int sync_directory(struct dir_store *dir, struct dir_inode *directory)
{
    const int fd = dir_open_entries(dir, directory);
    if (fd < 0) {
        return fd;
    }
    const int result = fsync(fd) < 0 ? -errno : 0;
    fork_guard_close(&dir->guard, fd);
    if (result == 0) {
        directory->synced_in = dir->operation;
    }
    return result;
}

/* A name that was made since its directory was synced, and then the name of that, and so on. */
static int sync_name(struct dir_store *dir, const struct dir_name *name)
{
    int result = 0;
    while (result == 0 && name != NULL && name->made_in > dir->synced) {
        struct dir_inode *directory = dir_find_inode(dir, name->node.id.space);
        if (directory == NULL) {
            break;
        }
        if (name->made_in > directory->synced_in) {
            result = sync_directory(dir, directory);
        }
        name = directory->names;
    }
    return result;
}

static void flush_all_times(struct dir_store *dir)
{
    while (!list_is_empty(&dir->changed)) {
        dir->operation++; /* so that not all of them stay open until the end */
        dir_flush_times(dir, list_entry(list_first(&dir->changed), struct dir_inode, changed));
    }
}

static int sync_all(struct dir_store *dir)
{
    flush_all_times(dir);
    const int fd = dir_open_entries(dir, dir->root);
    if (fd < 0) {
        return fd;
    }
    const int result = syncfs(fd) < 0 ? -errno : 0;
    fork_guard_close(&dir->guard, fd);
    if (result == 0) {
        dir->synced = dir->operation;
    }
    return result;
}

static int dir_sync(struct store *store, uint64_t number)
{
    struct dir_store *dir = dir_begin(store);
    if (number == 0) {
        return sync_all(dir);
    }
    struct dir_inode *inode = dir_find_inode(dir, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    dir_flush_times(dir, inode);
    int result = 0;
    if (S_ISDIR(inode->mode) && !inode->is_removed) {
        result = sync_directory(dir, inode);
    } else if (S_ISREG(inode->mode)) {
        const int fd = dir_open(dir, inode, DIR_READ);
        result = fd < 0 ? fd : fsync(fd) < 0 ? -errno : 0;
    }
    for (struct dir_name *name = inode->names; name != NULL && result == 0; name = name->next) {
        result = sync_name(dir, name);
    }
    return result;
}

/* ---- the store ---- */

/* Without limits there is what the host has. */
static void dir_get_host_usage(const struct store *store, struct store_usage *usage)
{
    const struct dir_store *dir =
        (const struct dir_store *)(const void *)((const char *)store -
                                                 offsetof(struct dir_store, store));
    struct statvfs host;
    if ((dir->limits_pages && dir->limits_inodes) || fstatvfs(dir->root->fd, &host) < 0) {
        return;
    }
    if (!dir->limits_pages) {
        usage->pages = (uint64_t)host.f_blocks * host.f_frsize / STORE_PAGE_SIZE;
        usage->free_pages = (uint64_t)host.f_bavail * host.f_frsize / STORE_PAGE_SIZE;
    }
    if (!dir->limits_inodes) {
        usage->inodes = host.f_files;
        usage->free_inodes = host.f_favail;
    }
}

static void free_names(struct dir_store *dir)
{
    struct id_map_node *node = id_map_next(&dir->names, NULL);
    while (node != NULL) {
        struct dir_name *name = list_entry(node, struct dir_name, node);
        node = id_map_next(&dir->names, node);
        id_map_remove(&dir->names, &name->node);
        free(name);
    }
}

static void free_inodes(struct dir_store *dir)
{
    struct id_map_node *node = id_map_next(&dir->inodes, NULL);
    while (node != NULL) {
        struct dir_inode *inode = list_entry(node, struct dir_inode, by_number);
        node = id_map_next(&dir->inodes, node);
        dir_drop_index(inode);
        if (inode->fd >= 0) {
            fork_guard_close(&dir->guard, inode->fd);
        }
        id_map_remove(&dir->inodes, &inode->by_number);
        free(inode);
    }
}

static void free_store(struct dir_store *dir)
{
    free_inodes(dir);
    free_names(dir);
    id_map_deinit(&dir->names);
    id_map_deinit(&dir->hosts);
    id_map_deinit(&dir->inodes);
    fork_guard_deinit(&dir->guard);
    free(dir);
}

static void dir_destroy(struct store *store)
{
    struct dir_store *dir = dir_begin(store);
    flush_all_times(dir);
    free_store(dir);
}

static const struct store_ops dir_ops = {
    .get_attributes = dir_get_attributes,
    .lookup = dir_lookup,
    .parent = dir_parent,
    .list = dir_list,
    .read_link = dir_read_link,
    .hold = dir_hold,
    .release = dir_release,
    .touch = dir_touch,
    .set_attributes = dir_set_attributes,
    .make = dir_make,
    .make_unnamed = dir_make_unnamed,
    .link = dir_link,
    .unlink = dir_unlink,
    .remove_directory = dir_remove_directory,
    .rename = dir_rename,
    .read = dir_read,
    .write = dir_write,
    .allocate = dir_allocate,
    .seek = dir_seek,
    .copy = dir_copy,
    .get_xattr = dir_get_xattr,
    .set_xattr = dir_set_xattr,
    .list_xattrs = dir_list_xattrs,
    .remove_xattr = dir_remove_xattr,
    .sync = dir_sync,
    .get_host_usage = dir_get_host_usage,
    .destroy = dir_destroy,
};

/* A quarter of the descriptors that this process may have, but not too few to work with. */
static unsigned choose_max_open(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 4 >= DIR_MAX_OPEN) {
        return DIR_MAX_OPEN;
    }
    return limit.rlim_cur / 4 < 16 ? 16 : (unsigned)(limit.rlim_cur / 4);
}

/* The root directory gets its number, and @fd. */
static int make_root(struct dir_store *dir, int fd)
{
    struct statx status;
    const unsigned mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
    uint64_t number;
    if (statx(fd, "", AT_EMPTY_PATH, mask, &status) < 0) {
        return -errno;
    }
    if (!S_ISDIR(status.stx_mode)) {
        return -ENOTDIR;
    }
    dir->root = dir_new_inode();
    if (dir->root == NULL) {
        return -ENOMEM;
    }
    store_choose_number(&dir->store, NULL, 0, &number);
    store_spend_number(&dir->store, NULL, 0, number);
    dir_insert_inode(dir, dir->root, number, &status);
    dir->root->fd = fd;
    dir->root->access = DIR_PATH;
    dir->device[0] = status.stx_dev_major;
    dir->device[1] = status.stx_dev_minor;
    dir->mount = status.stx_mnt_id;
    return 0;
}

/* What is there already counts. */
static int count_used(struct dir_store *dir)
{
    uint64_t pages;
    uint64_t inodes;
    if (!dir->limits_pages && !dir->limits_inodes) {
        return 0;
    }
    const int result = dir_count_tree(dir, &pages, &inodes);
    if (result < 0) {
        return result;
    }
    struct store *store = &dir->store;
    store->pages.used = dir->limits_pages ? pages : 0;
    store->inodes.used = dir->limits_inodes ? inodes : 0;
    const bool fits =
        store->pages.used <= store->pages.limit && store->inodes.used <= store->inodes.limit;
    return fits ? 0 : -ENOSPC;
}

int dir_store_new(int directory, const struct store_limits *limits, struct store **out)
{
    struct dir_store *dir = calloc(1, sizeof(*dir));
    if (dir == NULL) {
        return -ENOMEM;
    }
    store_init(&dir->store, &dir_ops, limits);
    list_init(&dir->open);
    list_init(&dir->changed);
    dir->max_open = choose_max_open();
    dir->limits_pages = limits->bytes != STORE_NO_LIMIT;
    dir->limits_inodes = limits->inodes != STORE_NO_LIMIT;
    int result = fork_guard_init(&dir->guard);
    if (result < 0) {
        free(dir);
        return result;
    }
    result = -ENOMEM;
    if (getrandom(dir->hash_key, sizeof(dir->hash_key), 0) != sizeof(dir->hash_key) ||
        id_map_init(&dir->inodes) < 0) {
        goto fail_inodes;
    }
    if (id_map_init(&dir->hosts) < 0) {
        goto fail_hosts;
    }
    if (id_map_init(&dir->names) < 0) {
        goto fail_names;
    }
    fork_guard_lock();
    result = fork_guard_adopt(&dir->guard, directory);
    fork_guard_unlock();
    if (result < 0) {
        free_store(dir);
        return result;
    }
    result = make_root(dir, directory);
    if (result == 0) {
        result = count_used(dir);
    }
    if (result < 0) {
        if (dir->root != NULL) {
            dir->root->fd = -1; /* it stays the caller's */
        }
        fork_guard_lock();
        fork_guard_forget(&dir->guard, directory);
        fork_guard_unlock();
        free_store(dir);
        return result;
    }
    *out = &dir->store;
    return 0;

fail_names:
    id_map_deinit(&dir->hosts);
fail_hosts:
    id_map_deinit(&dir->inodes);
fail_inodes:
    fork_guard_deinit(&dir->guard);
    free(dir);
    return result;
}
