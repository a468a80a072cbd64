#include "fs/mount.h"

#include "fs/filesystem.h"
#include "fs/ids.h"
#include "fs/inode.h"
#include "fs/walk.h"
#include "wire/mounts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct mount *mount_of(struct list *link)
{
    return list_entry(link, struct mount, link);
}

/* ---- one mount ---- */

/* It is in no list. Return: NULL without memory, or without a connection. */
static struct mount *mount_new(struct hf_fs *fs, const struct wire_mount *entry)
{
    const size_t path_size = strlen(entry->path) + 1;
    const size_t source_size = strlen(entry->source) + 1;
    struct mount *mount = calloc(1, sizeof *mount + path_size + source_size);
    if (mount == NULL) {
        return NULL;
    }
    if (entry->parent != 0 &&
        client_open_reserved(
            fs->client, fs_id_of_mount_use(entry->number), HF_SYNC_LOCK, &mount->use_handle) < 0) {
        free(mount);
        return NULL;
    }
    if (mount->use_handle != NULL) {
        mount->use_handle->inherited = true;
    }
    list_init(&mount->link);
    pthread_mutex_init(&mount->mutex, NULL);
    mount->fs = fs;
    mount->number = entry->number;
    mount->point_id = entry->point;
    mount->root_id = entry->root;
    mount->backend = wire_mount_backend(entry);
    mount->read_only = (entry->flags & WIRE_MOUNT_READ_ONLY) != 0;
    mount->is_checked = (entry->flags & WIRE_MOUNT_CHECKED) != 0;
    memcpy(mount->path, entry->path, path_size);
    memcpy(mount->path + path_size, entry->source, source_size);
    mount->source = mount->path + path_size;
    return mount;
}

static void mount_free(struct mount *mount)
{
    assert(atomic_load(&mount->uses) == 0);
    list_remove(&mount->link);
    inode_unref(atomic_load(&mount->root));
    inode_unref(atomic_load(&mount->point));
    hf_sync_close(mount->use_handle);
    pthread_mutex_destroy(&mount->mutex);
    free(mount);
}

/* Is it what @entry says? Numbers are not used again, but the table is only what some client of
 * the server says. */
static bool is_mount_of(const struct mount *mount, const struct wire_mount *entry)
{
    return mount->number == entry->number && hf_id_equal(mount->point_id, entry->point) &&
           hf_id_equal(mount->root_id, entry->root) && strcmp(mount->source, entry->source) == 0 &&
           (mount->use_handle == NULL) == (entry->parent == 0);
}

/* With the mount's mutex. */
static int open_root(struct mount *mount, struct inode **out)
{
    struct hf_fs *fs = mount->fs;
    struct backend *backend;
    struct stat attributes;
    intptr_t node;
    int result = fs_get_backend(fs, mount->backend, &backend);
    if (result == 0) {
        result = backend->ops->open_root(backend, mount->source, &node, &attributes);
    }
    if (result < 0) {
        return result;
    }
    result = inode_get(fs, backend, node, &attributes, out);
    if (result == 0 && !hf_id_equal((*out)->node.id, mount->root_id)) {
        *out = inode_unref(*out);
        result = -ESTALE;
    }
    return result;
}

/* With the mount's mutex. */
static void set_root(struct mount *mount, struct inode *root)
{
    if (mount->is_checked) {
        inode_set_checked(root);
    }
    atomic_store_explicit(&mount->root, root, memory_order_release);
}

bool mount_is_checked(const struct mount *mount)
{
    const struct inode *root = atomic_load_explicit(&mount->root, memory_order_acquire);
    return mount->is_checked || (root != NULL && inode_is_checked(root));
}

unsigned mount_flags(const struct mount *mount)
{
    return (mount->read_only ? WIRE_MOUNT_READ_ONLY : 0) |
           (mount->is_checked ? WIRE_MOUNT_CHECKED : 0);
}

void mount_set_root(struct mount *mount, struct inode *root)
{
    pthread_mutex_lock(&mount->mutex);
    if (atomic_load_explicit(&mount->root, memory_order_relaxed) == NULL) {
        set_root(mount, inode_ref(root));
    }
    pthread_mutex_unlock(&mount->mutex);
}

int mount_get_root(struct mount *mount, struct inode **out)
{
    int result = 0;
    *out = atomic_load_explicit(&mount->root, memory_order_acquire);
    if (*out != NULL) {
        return 0;
    }
    pthread_mutex_lock(&mount->mutex);
    *out = atomic_load_explicit(&mount->root, memory_order_relaxed);
    if (*out == NULL) {
        result = open_root(mount, out);
        if (result == 0) {
            set_root(mount, *out);
        }
    }
    pthread_mutex_unlock(&mount->mutex);
    return result;
}

static void set_point(struct mount *mount, struct inode *point)
{
    if (atomic_load_explicit(&mount->point, memory_order_acquire) != NULL) {
        return;
    }
    pthread_mutex_lock(&mount->mutex);
    if (atomic_load_explicit(&mount->point, memory_order_relaxed) == NULL) {
        atomic_store_explicit(&mount->point, inode_ref(point), memory_order_release);
    }
    pthread_mutex_unlock(&mount->mutex);
}

bool mount_is_root(const struct place *place)
{
    return place->inode == atomic_load_explicit(&place->mount->root, memory_order_acquire);
}

/* ---- uses ---- */

int mount_use(struct mount *mount)
{
    uint32_t uses = atomic_load_explicit(&mount->uses, memory_order_relaxed);
    int result = 0;
    while (uses > 0) {
        if (atomic_compare_exchange_weak_explicit(
                &mount->uses, &uses, uses + 1, memory_order_relaxed, memory_order_relaxed)) {
            return 0;
        }
    }
    pthread_mutex_lock(&mount->mutex);
    if (mount->use_handle != NULL &&
        atomic_load_explicit(&mount->uses, memory_order_relaxed) == 0) {
        result = hf_sync_acquire(mount->use_handle, HF_SHARED, NULL);
    }
    if (result >= 0) {
        atomic_fetch_add_explicit(&mount->uses, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&mount->mutex);
    return result < 0 ? result : 0;
}

void mount_unuse(struct mount *mount)
{
    uint32_t uses = atomic_load_explicit(&mount->uses, memory_order_relaxed);
    while (uses > 1) {
        if (atomic_compare_exchange_weak_explicit(
                &mount->uses, &uses, uses - 1, memory_order_release, memory_order_relaxed)) {
            return;
        }
    }
    pthread_mutex_lock(&mount->mutex);
    uses = atomic_fetch_sub_explicit(&mount->uses, 1, memory_order_acq_rel);
    assert(uses > 0);
    if (uses == 1 && mount->use_handle != NULL) {
        hf_sync_release(mount->use_handle);
    }
    pthread_mutex_unlock(&mount->mutex);
}

void mounts_use_in_child(struct hf_fs *fs)
{
    struct list *link = fs->mounts.all.next;
    for (; link != &fs->mounts.all; link = link->next) {
        const struct mount *mount = mount_of(link);
        /* Mostly the client has seen to it before the fork. */
        if (mount->use_handle != NULL && atomic_load(&mount->uses) > 0 &&
            !handle_is_shared(mount->use_handle)) {
            /* Where it fails the connection is lost, and nothing else works either. */
            (void)hf_sync_acquire(mount->use_handle, HF_SHARED, NULL);
        }
    }
}

/* ---- the table ---- */

static unsigned bucket_of(hf_id point)
{
    return (unsigned)((point.object ^ (point.object >> 6)) % MOUNT_POINT_BUCKETS);
}

static struct mount *find_by_number(const struct hf_fs *fs, uint64_t number)
{
    struct list *link = fs->mounts.all.next;
    for (; link != &fs->mounts.all; link = link->next) {
        if (mount_of(link)->number == number && mount_of(link)->in_table) {
            return mount_of(link);
        }
    }
    return NULL;
}

/* The mount that @entry was made of before, or a new one. */
static struct mount *find_or_make(struct hf_fs *fs, const struct wire_mount *entry)
{
    struct list *link = fs->mounts.all.next;
    for (; link != &fs->mounts.all; link = link->next) {
        if (is_mount_of(mount_of(link), entry)) {
            return mount_of(link);
        }
    }
    return mount_new(fs, entry);
}

int mounts_get(struct hf_fs *fs, uint64_t number, unsigned flags, uint32_t backend,
               struct mount **out)
{
    const struct wire_mount gone = {
        .number = number, .parent = 1, .flags = (uint8_t)flags, .path = "", .source = ""};
    struct list *link = fs->mounts.all.next;
    for (; link != &fs->mounts.all; link = link->next) {
        if (mount_of(link)->number == number) {
            *out = mount_of(link);
            return (*out)->backend == backend ? 0 : -EINVAL;
        }
    }
    *out = mount_new(fs, &gone);
    if (*out == NULL) {
        return -ENOMEM;
    }
    (*out)->backend = backend;
    list_append(&fs->mounts.all, &(*out)->link);
    return 0;
}

/* Put a mount into what was made of the table so far. */
static void insert(struct hf_fs *fs, struct mount *mount, const struct wire_mount *entry)
{
    struct mounts *mounts = &fs->mounts;
    mount->in_table = true;
    list_remove(&mount->link);
    list_append(&mounts->all, &mount->link);
    mounts->count++;
    if (entry->parent == 0) {
        mounts->root = mount;
        return;
    }
    struct mount **bucket = &mounts->points[bucket_of(mount->point_id)];
    mount->parent = find_by_number(fs, entry->parent);
    mount->next_at_point = *bucket;
    *bucket = mount;
}

static void empty(struct hf_fs *fs)
{
    struct mounts *mounts = &fs->mounts;
    struct list *link = mounts->all.next;
    for (; link != &mounts->all; link = link->next) {
        mount_of(link)->in_table = false;
        mount_of(link)->parent = NULL;
    }
    memset(mounts->points, 0, sizeof mounts->points);
    mounts->root = NULL;
    mounts->count = 0;
}

static void free_unused(struct hf_fs *fs)
{
    struct list *link = fs->mounts.all.next;
    while (link != &fs->mounts.all) {
        struct mount *mount = mount_of(link);
        link = link->next;
        if (!mount->in_table && atomic_load_explicit(&mount->uses, memory_order_acquire) == 0) {
            /* Its last user may just be leaving mount_unuse(). */
            pthread_mutex_lock(&mount->mutex);
            pthread_mutex_unlock(&mount->mutex);
            mount_free(mount);
        }
    }
}

/* With the mutex, or with the table EXCLUSIVE. */
static int apply(struct hf_fs *fs, const struct wire_mounts *table)
{
    struct mounts *mounts = &fs->mounts;
    empty(fs);
    for (size_t i = 0; i < table->count; i++) {
        struct mount *mount = find_or_make(fs, &table->mounts[i]);
        if (mount == NULL) {
            atomic_store_explicit(&mounts->epoch, 0, memory_order_relaxed);
            return -ENOMEM;
        }
        insert(fs, mount, &table->mounts[i]);
    }
    free_unused(fs);
    mounts->last = table->last;
    atomic_store_explicit(&mounts->epoch, hf_sync_epoch(mounts->handle), memory_order_release);
    return 0;
}

/* With the mutex and the table held. */
static int load(struct hf_fs *fs)
{
    struct wire_mounts table;
    uint8_t bytes[HF_VALUE_MAX];
    ssize_t size = hf_sync_get_value(fs->mounts.handle, bytes, sizeof bytes);
    if (size < 0) {
        return (int)size;
    }
    return wire_mounts_decode(bytes, (size_t)size, &table) ? apply(fs, &table) : -EIO;
}

static bool is_loaded(const struct hf_fs *fs)
{
    return atomic_load_explicit(&fs->mounts.epoch, memory_order_acquire) ==
           hf_sync_epoch(fs->mounts.handle);
}

int mounts_hold(struct hf_fs *fs, hf_mode mode)
{
    struct mounts *mounts = &fs->mounts;
    int result = hf_sync_acquire(mounts->handle, mode, NULL);
    if (result < 0) {
        return result;
    }
    if (is_loaded(fs)) {
        return 0;
    }
    pthread_mutex_lock(&mounts->mutex);
    result = is_loaded(fs) ? 0 : load(fs);
    pthread_mutex_unlock(&mounts->mutex);
    if (result < 0) {
        hf_sync_release(mounts->handle);
    }
    return result;
}

int mounts_release(struct hf_fs *fs)
{
    return hf_sync_release(fs->mounts.handle);
}

void mounts_describe(const struct hf_fs *fs, struct wire_mounts *out)
{
    out->last = fs->mounts.last;
    out->count = 0;
    struct list *link = fs->mounts.all.next;
    for (; link != &fs->mounts.all; link = link->next) {
        const struct mount *mount = mount_of(link);
        if (mount->in_table) {
            out->mounts[out->count++] = (struct wire_mount){
                .number = mount->number,
                .parent = mount->parent != NULL ? mount->parent->number : 0,
                .point = mount->point_id,
                .root = mount->root_id,
                .type =
                    mount->backend == WIRE_BACKEND_DIRECT ? WIRE_MOUNT_DIRECT : WIRE_MOUNT_SERVED,
                .flags = (uint8_t)mount_flags(mount),
                .path = mount->path,
                .source = mount->source,
            };
        }
    }
}

int mounts_replace(struct hf_fs *fs, const struct wire_mounts *table)
{
    uint8_t bytes[HF_VALUE_MAX];
    const size_t size = wire_mounts_encode(table, bytes);
    if (size == 0) {
        return -ENOSPC;
    }
    int result = hf_sync_set_value(fs->mounts.handle, bytes, size);
    return result < 0 ? result : apply(fs, table);
}

int mounts_init(struct hf_fs *fs)
{
    list_init(&fs->mounts.all);
    pthread_mutex_init(&fs->mounts.mutex, NULL);
    return client_open_reserved(fs->client, WIRE_MOUNTS_ID, 0, &fs->mounts.handle);
}

void mounts_deinit(struct hf_fs *fs)
{
    empty(fs);
    free_unused(fs);
    assert(list_is_empty(&fs->mounts.all));
    hf_sync_close(fs->mounts.handle);
    pthread_mutex_destroy(&fs->mounts.mutex);
}

/* ---- walking ---- */

static struct mount *mount_on(const struct hf_fs *fs, const struct mount *parent, hf_id point)
{
    struct mount *mount = fs->mounts.points[bucket_of(point)];
    while (mount != NULL && (mount->parent != parent || !hf_id_equal(mount->point_id, point))) {
        mount = mount->next_at_point;
    }
    return mount;
}

struct mount *mounts_top(const struct hf_fs *fs, const struct place *place)
{
    struct mount *top = mount_is_root(place) ? place->mount : NULL;
    struct mount *next = mount_on(fs, place->mount, place->inode->node.id);
    while (next != NULL) {
        top = next;
        next = mount_on(fs, top, top->root_id);
    }
    return top;
}

bool mounts_are_on(const struct hf_fs *fs, const struct inode *directory)
{
    const hf_id id = directory->node.id;
    const struct mount *mount = fs->mounts.points[bucket_of(id)];
    while (mount != NULL && !hf_id_equal(mount->point_id, id)) {
        mount = mount->next_at_point;
    }
    return mount != NULL;
}

int mounts_cross(struct hf_fs *fs, struct place *place)
{
    struct mount *mount;
    while ((mount = mount_on(fs, place->mount, place->inode->node.id)) != NULL) {
        struct inode *root;
        int result = mount_get_root(mount, &root);
        if (result < 0) {
            place->inode = inode_unref(place->inode);
            return result;
        }
        set_point(mount, place->inode);
        inode_unref(place->inode);
        *place = (struct place){mount, inode_ref(root)};
    }
    return 0;
}

int mounts_root(struct hf_fs *fs, struct place *out)
{
    struct inode *root;
    struct mount *mount = fs->mounts.root;
    if (mount == NULL) {
        return -ENODEV;
    }
    int result = mount_get_root(mount, &root);
    if (result == 0) {
        *out = (struct place){mount, inode_ref(root)};
    }
    return result;
}

bool mounts_is_root(const struct hf_fs *fs, const struct place *place)
{
    return place->mount == fs->mounts.root && mount_is_root(place);
}

int mount_get_point(const struct mount *mount, struct place *place)
{
    if (mount->parent == NULL) {
        return -ENOENT;
    }
    struct inode *point = atomic_load_explicit(&mount->point, memory_order_acquire);
    if (point == NULL) {
        /* Nobody here came by: an open file of it was handed over. Then go and look. */
        struct inode *root;
        int result = walk_to_inode(mount->fs, HF_AT_FDCWD, mount->path, WALK_FOLLOW, &root);
        if (result < 0) {
            return result;
        }
        inode_unref(root);
        point = atomic_load_explicit(&mount->point, memory_order_acquire);
    }
    *place = (struct place){mount->parent, point};
    return point != NULL ? 0 : -ENOENT;
}

/* Has no rename, through another mount of the same directories, taken @directory out of the mount
 * with that @root? What is known of its parents does not say that. */
static int check_below(struct inode *directory, struct inode *root)
{
    int result = 0;
    inode_ref(directory);
    while (result == 0 && directory != root) {
        struct inode *parent;
        result = inode_parent(directory, root, &parent);
        if (result == -EACCES) { /* to search what is above takes more than `..` does */
            char name[NAME_MAX + 1];
            struct backend *backend = root->backend;
            result =
                backend->ops->way_down(backend, root->backend_node, directory->backend_node, name);
            break;
        }
        if (result == 0) {
            inode_unref(directory);
            directory = parent;
        }
    }
    inode_unref(directory);
    return result;
}

int mounts_parent(struct hf_fs *fs, const struct place *directory, struct place *out)
{
    struct place here = *directory;
    struct inode *root;
    int result = mount_get_root(here.mount, &root);
    while (result == 0 && here.inode == root && here.mount->parent != NULL) {
        result = mount_get_point(here.mount, &here);
        if (result == 0) {
            result = mount_get_root(here.mount, &root);
        }
    }
    if (result < 0) {
        return result;
    }
    out->mount = here.mount;
    if (here.inode == root) {
        out->inode = inode_ref(root);
        return 0;
    }
    result = inode_parent(here.inode, root, &out->inode);
    if (result == 0 && fs->mounts.count > 1) {
        result = check_below(out->inode, root);
        if (result < 0) {
            out->inode = inode_unref(out->inode);
        }
    }
    return result < 0 ? result : mounts_cross(fs, out);
}
