#include "fs/export.h"

#include "client/park.h"
#include "fs/export_format.h"
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/open_file.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define NOT_EXPORTED UINT32_MAX

/* ---- parking ---- */

/* Park @fd, and close it. A negative one is an error, which is passed through. */
static int park(struct export_head *head, const struct mount *mount, hf_id id, int open_flags,
                int fd)
{
    const struct export_data data = {
        .magic = htole32(EXPORT_DATA_MAGIC),
        .open_flags = htole32((uint32_t)open_flags),
        .mount = htole64(mount->number),
        .mount_flags = htole32(mount_flags(mount)),
        .backend = htole32(mount->backend),
    };
    struct park_item item = {.id = id, .fd = fd, .size = sizeof data};
    if (fd < 0) {
        return fd;
    }
    memcpy(item.data, &data, sizeof data);
    int result = park_put(mount->fs->client, &head->ticket, &item);
    close(fd);
    head->items += result == 0;
    return result;
}

static int park_node(struct export_head *head, const struct mount *mount, const struct inode *inode,
                     int open_flags)
{
    struct backend *backend = inode->backend;
    assert(inode_has_node(inode));
    const int fd = backend->ops->give_node(backend, inode->backend_node);
    int result = park(head, mount, (hf_id){0, 0}, open_flags, fd);
    if (result == 0 && backend->ops->lend != NULL) {
        result = backend->ops->lend(backend, inode->backend_node, true, head->ticket);
    }
    return result;
}

static int park_file(struct export_head *head, struct open_file *file)
{
    struct backend *backend = file->inode->backend;
    if (open_file_is_path(file)) {
        return park_node(head, file->mount, file->inode, file->open_flags);
    }
    int result = open_file_share(file);
    if (result < 0) {
        return result;
    }
    const int fd = backend->ops->give_file(backend, file->backend_file);
    const hf_id id = file->handle != NULL ? hf_sync_id(file->handle) : (hf_id){0, 0};
    result = park(head, file->mount, id, file->open_flags, fd);
    if (result == 0 && backend->ops->lend != NULL) {
        result = backend->ops->lend(backend, file->backend_file, false, head->ticket);
    }
    return result;
}

/* The caller is not told of the ticket. */
static void give_up(struct hf_fs *fs, const struct export_head *head)
{
    if (head->items > 0) {
        (void)park_drop(fs->client, head->ticket);
    }
}

/* ---- all ---- */

/* With the gate closed it stays what it is. */
static struct open_file *peek(struct hf_fs *fs, int fd)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file != NULL) {
        open_file_put(fs, fd, file);
    }
    return file;
}

static uint32_t count_descriptors(struct hf_fs *fs)
{
    uint32_t count = 0;
    for (int fd = 0; (fd = descriptors_next(&fs->descriptors, fd)) >= 0; fd++) {
        count++;
    }
    return count;
}

static int export_descriptors(struct hf_fs *fs, struct export_head *head, uint8_t *bytes)
{
    uint32_t index = 0;
    for (struct list *link = fs->files.next; link != &fs->files; link = link->next) {
        list_entry(link, struct open_file, link)->export_item = NOT_EXPORTED;
    }
    for (int fd = 0; (fd = descriptors_next(&fs->descriptors, fd)) >= 0; fd++) {
        struct open_file *file = peek(fs, fd);
        if (file->export_item == NOT_EXPORTED) {
            file->export_item = head->items;
            int result = park_file(head, file);
            if (result < 0) {
                return result;
            }
        }
        const struct export_descriptor descriptor = {
            .number = (uint32_t)fd,
            .item = file->export_item,
            .close_on_exec = descriptors_get_close_on_exec(&fs->descriptors, fd) > 0,
        };
        export_set_descriptor(bytes, index++, &descriptor);
    }
    return 0;
}

static int export_working_directory(struct hf_fs *fs, struct export_head *head)
{
    const struct inode *directory = atomic_load_explicit(&fs->cwd, memory_order_relaxed);
    if (directory == NULL) {
        return 0;
    }
    head->has_directory = true;
    return park_node(head, fs->cwd_mount, directory, O_PATH | O_DIRECTORY);
}

ssize_t fs_export(struct hf_fs *fs, void *buffer, size_t size)
{
    struct export_head head = {
        .kind = EXPORT_ALL,
        .umask = atomic_load_explicit(&fs->umask, memory_order_relaxed),
        .descriptors = count_descriptors(fs),
    };
    const size_t needed = export_size(head.descriptors);
    if (size < needed) {
        return size == 0 ? (ssize_t)needed : -ERANGE;
    }
    int result = export_descriptors(fs, &head, buffer);
    if (result == 0) {
        result = export_working_directory(fs, &head);
    }
    if (result < 0) {
        give_up(fs, &head);
        return result;
    }
    export_set_head(buffer, &head);
    return (ssize_t)needed;
}

/* ---- one open file ---- */

ssize_t fs_export_file(struct hf_fs *fs, int fd, void *buffer, size_t size)
{
    const struct export_descriptor descriptor = {.number = 0};
    struct export_head head = {.kind = EXPORT_FILE, .descriptors = 1};
    struct open_file *file = peek(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    const size_t needed = export_size(1);
    if (size < needed) {
        return size == 0 ? (ssize_t)needed : -ERANGE;
    }
    int result = park_file(&head, file);
    if (result < 0) {
        give_up(fs, &head);
        return result;
    }
    export_set_descriptor(buffer, 0, &descriptor);
    export_set_head(buffer, &head);
    return (ssize_t)needed;
}

int fs_export_drop(struct hf_fs *fs, const void *bytes, size_t size)
{
    struct export_head head;
    int result = export_get_head(bytes, size, &head);
    if (result == 0 && head.items > 0) {
        result = park_drop(fs->client, head.ticket);
    }
    return result;
}
