#include "client/park.h"
#include "fs/export.h"
#include "fs/export_format.h"
#include "fs/filesystem.h"
#include "fs/ids.h"
#include "fs/inode.h"
#include "fs/open_file.h"
#include "fs/open_flags.h"
#include "wire/mounts.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- one item ---- */

/* What is said of an item. */
struct description {
    int flags; /* of the open */
    bool is_path;
    bool has_handle; /* of offset and flags: not with O_PATH, and not what is special */
    struct mount *mount;
    struct backend *backend;
};

/* Whoever parked it was some client of the server. Return: 0; -EINVAL, -ENOMEM, or what
 * fs_get_backend() says. */
static int describe(struct hf_fs *fs, const struct park_item *item, struct description *out)
{
    const int known = OPEN_FLAGS & ~(O_ACCMODE | OPEN_FILE_STATUS | OPEN_FILE_USED_UP);
    struct export_data data;
    if (item->size != sizeof data) {
        return -EINVAL;
    }
    memcpy(&data, item->data, sizeof data);
    const uint32_t mount_flags = le32toh(data.mount_flags);
    out->flags = (int)le32toh(data.open_flags);
    out->is_path = (out->flags & O_PATH) != 0;
    out->has_handle = fs_id_is_of_open_file(item->id);
    if (le32toh(data.magic) != EXPORT_DATA_MAGIC || data.mount == 0 ||
        (mount_flags & ~(uint32_t)WIRE_MOUNT_FLAGS) != 0 || (out->flags & ~known) != 0 ||
        (out->is_path && ((out->flags & ~OPEN_PATH_FLAGS) != 0 || out->has_handle)) ||
        (!out->has_handle && !hf_id_equal(item->id, (hf_id){0, 0}))) {
        return -EINVAL;
    }
    const uint32_t backend = le32toh(data.backend);
    int result = fs_get_backend(fs, backend, &out->backend);
    return result < 0 ? result
                      : mounts_get(fs, le64toh(data.mount), mount_flags, backend, &out->mount);
}

/* The inode of the node or file @taken, and its handle, if it has one. Takes over @taken, on
 * failure too. */
static int open_inode(struct hf_fs *fs, hf_id id, const struct description *from, intptr_t taken,
                      const struct stat *attributes, struct inode **inode, hf_sync **handle)
{
    const intptr_t node = from->is_path ? taken : BACKEND_NO_NODE;
    int result = inode_get(fs, from->backend, node, attributes, inode);
    if (result < 0) {
        if (!from->is_path) {
            from->backend->ops->close(from->backend, taken);
        }
        return result;
    }
    if (!from->is_path) {
        inode_file_opened(*inode);
    }
    if (!from->is_path && (*inode)->type == S_IFDIR) {
        result = inode_give_node_of_file(*inode, taken); /* an open directory is asked for `..` */
    }
    if (result == 0 && from->has_handle) {
        result = client_open_reserved(fs->client, id, 0, handle);
    }
    if (result < 0) {
        inode_close_file(*inode, taken);
        inode_unref(*inode);
    }
    return result;
}

/* Make an open file of what was claimed. Takes over its descriptor, on failure too. */
static int make_file(struct hf_fs *fs, hf_id ticket, const struct park_item *item,
                     struct description *from, struct open_file **out)
{
    struct backend *backend = from->backend;
    struct place place = {.mount = from->mount};
    struct stat attributes;
    hf_sync *handle = NULL;
    intptr_t taken;
    int access_mode;

    int result = backend->ops->take(
        backend, item->fd, ticket, from->is_path, &taken, &access_mode, &attributes);
    if (result < 0) {
        close(item->fd);
        return result;
    }
    const bool has_data = S_ISREG(attributes.st_mode) || S_ISDIR(attributes.st_mode);
    if (!from->is_path && has_data != from->has_handle) {
        backend->ops->close(backend, taken);
        return -EINVAL;
    }
    result = open_inode(fs, item->id, from, taken, &attributes, &place.inode, &handle);
    if (result < 0) {
        return result;
    }
    if (attributes.st_nlink == 0) {
        inode_removed(place.inode);
    }
    if (mount_is_checked(from->mount)) {
        inode_set_checked(place.inode);
    }
    return open_file_new(fs,
                         &place,
                         "",
                         from->is_path ? BACKEND_NO_FILE : taken,
                         from->is_path ? from->flags : from->flags | access_mode,
                         handle,
                         out);
}

/* A reference to the open file that was parked so: one that is here already, or a new one. */
static int claim(struct hf_fs *fs, hf_id ticket, uint32_t index, struct open_file **out)
{
    struct park_item item;
    struct description description;
    int result = park_claim(fs->client, ticket, index, &item);
    if (result < 0) {
        return result;
    }
    result = describe(fs, &item, &description);
    if (result < 0) {
        close(item.fd);
        return result;
    }
    *out = open_files_find(fs, item.id);
    if (*out == NULL) {
        return make_file(fs, ticket, &item, &description, out);
    }
    atomic_fetch_add_explicit(&(*out)->references, 1, memory_order_relaxed);
    close(item.fd);
    return 0;
}

/* ---- all ---- */

struct import {
    struct hf_fs *fs;
    struct export_head head;
    const uint8_t *bytes;
    struct open_file **items; /* a reference to each that was claimed; NULL: not yet */
    uint32_t placed;          /* descriptors */
};

static int claim_all(struct import *import)
{
    int result = 0;
    for (uint32_t i = 0; i < import->head.items && result == 0; i++) {
        result = claim(import->fs, import->head.ticket, i, &import->items[i]);
    }
    if (result == 0 && import->head.has_directory &&
        import->items[import->head.items - 1]->inode->type != S_IFDIR) {
        result = -EINVAL;
    }
    return result;
}

static int place_all(struct import *import)
{
    struct hf_fs *fs = import->fs;
    for (; import->placed < import->head.descriptors; import->placed++) {
        const struct export_descriptor descriptor =
            export_get_descriptor(import->bytes, import->placed);
        struct open_file *file = import->items[descriptor.item];
        struct descriptor_rest before;
        int result = descriptors_replace(
            &fs->descriptors, (int)descriptor.number, file, descriptor.close_on_exec, &before);
        if (result < 0) {
            return result;
        }
        atomic_fetch_add_explicit(&file->references, DESCRIPTOR_REFERENCES, memory_order_relaxed);
    }
    return 0;
}

static void take_back(struct import *import)
{
    while (import->placed > 0) {
        const struct export_descriptor descriptor =
            export_get_descriptor(import->bytes, --import->placed);
        fs_close(import->fs, (int)descriptor.number);
    }
}

/* In the working directory that came along. */
static int stay_in_directory(const struct import *import, struct place *directory)
{
    *directory = (struct place){.inode = NULL}; /* the root */
    if (!import->head.has_directory) {
        return 0;
    }
    const struct open_file *file = import->items[import->head.items - 1];
    const struct place place = {file->mount, file->inode};
    int result = fs_stay_in(&place);
    if (result == 0) {
        *directory = (struct place){place.mount, inode_ref(place.inode)};
    }
    return result;
}

static int import_all(struct import *import)
{
    struct place directory = {.inode = NULL};
    int result = claim_all(import);
    if (result == 0) {
        result = place_all(import);
    }
    if (result == 0) {
        result = stay_in_directory(import, &directory);
    }
    if (result == 0 && import->head.items > 0) {
        /* From here on it is here, and nowhere else. */
        result = park_drop(import->fs->client, import->head.ticket);
    }
    if (result < 0) {
        fs_leave_directory(directory.inode, directory.mount);
        take_back(import);
        return result;
    }
    fs_set_working_directory(import->fs, &directory);
    fs_set_umask(import->fs, import->head.umask);
    return 0;
}

int fs_import(struct hf_fs *fs, const void *bytes, size_t size)
{
    struct import import = {.fs = fs, .bytes = bytes};
    int result = export_get_head(bytes, size, &import.head);
    if (result < 0 || import.head.kind != EXPORT_ALL) {
        return -EINVAL;
    }
    if (!list_is_empty(&fs->files)) {
        return -EBUSY;
    }
    import.items = calloc(import.head.items + 1, sizeof(struct open_file *));
    if (import.items == NULL) {
        return -ENOMEM;
    }
    result = mounts_hold(fs, HF_SHARED);
    if (result == 0) {
        result = import_all(&import);
        (void)mounts_release(fs); /* what is here is here */
    }
    for (uint32_t i = 0; i < import.head.items; i++) {
        open_file_unref(import.items[i]);
    }
    free(import.items);
    return result;
}

/* ---- one open file ---- */

static int import_one(struct hf_fs *fs, hf_id ticket, struct open_file **out)
{
    int result = mounts_hold(fs, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = claim(fs, ticket, 0, out);
    (void)mounts_release(fs); /* if that fails, so does what follows */
    if (result == 0) {
        result = park_drop(fs->client, ticket);
        if (result < 0) {
            open_file_unref(*out);
        }
    }
    return result;
}

int fs_import_file(struct hf_fs *fs, const void *bytes, size_t size, bool close_on_exec)
{
    struct export_head head;
    struct open_file *file;
    int result = export_get_head(bytes, size, &head);
    if (result < 0 || head.kind != EXPORT_FILE) {
        return -EINVAL;
    }
    int fd = descriptors_reserve(&fs->descriptors, 0);
    if (fd < 0) {
        return fd;
    }
    result = import_one(fs, head.ticket, &file);
    if (result < 0) {
        descriptors_cancel(&fs->descriptors, fd);
        return result;
    }
    open_file_fill(file, fd, close_on_exec);
    return fd;
}
