/*
 * Nodes and files are descriptors of the host: O_PATH ones for inodes, which keep the inode's
 * number from being used again and can be asked for attributes whatever happens to the name;
 * ordinary ones for open files, which the host has checked permissions for.
 */
#include "mounts/direct/direct.h"

#include "mounts/direct/direct_ops.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIST_BUFFER_SIZE ((size_t)64 * 1024)

int direct_open_component(int directory, const char *name, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    assert(strchr(name, '/') == NULL && strcmp(name, "..") != 0);
    for (;;) {
        long fd = syscall(SYS_openat2, directory, name, &how, sizeof how);
        if (fd >= 0) {
            return (int)fd;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

static int open_path(int directory, const char *name, intptr_t *node, struct stat *attributes)
{
    int fd = direct_open_component(directory, name, O_PATH, 0);
    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, attributes) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    *node = fd;
    return 0;
}

/* The embedder's own path: links in it are followed. */
static int direct_open_root(struct backend *backend, const char *source, intptr_t *node,
                            struct stat *attributes)
{
    int fd = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int result = open_path(fd, ".", node, attributes);
    close(fd);
    return result;
}

static int direct_lookup(struct backend *backend, intptr_t directory, const char *name,
                         intptr_t *node, struct stat *attributes)
{
    return open_path((int)directory, name, node, attributes);
}

static void direct_forget(struct backend *backend, intptr_t node)
{
    close((int)node);
}

static int direct_stat_entry(struct backend *backend, intptr_t directory, const char *name,
                             ino_t number, struct stat *attributes)
{
    assert(strchr(name, '/') == NULL && strcmp(name, "..") != 0);
    return fstatat((int)directory, name, attributes, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Any descriptor is as good as an O_PATH one. */
static int direct_node_of_file(struct backend *backend, intptr_t file, intptr_t *node)
{
    int fd = fcntl((int)file, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    *node = fd;
    return 0;
}

static ssize_t direct_read_link(struct backend *backend, intptr_t node, char *buffer, size_t size)
{
    ssize_t length = readlinkat((int)node, "", buffer, size);
    return length < 0 ? -errno : length;
}

static int direct_create(struct backend *backend, intptr_t directory, const char *name, int flags,
                         mode_t mode, intptr_t *file)
{
    int fd = direct_open_component((int)directory, name, flags | O_CREAT | O_EXCL, mode & 07777);
    if (fd < 0) {
        return fd;
    }
    *file = fd;
    return 0;
}

static int direct_open(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                       int flags, intptr_t *file)
{
    /* O_NONBLOCK: should a pipe stand there after all, opening it does not hang. */
    flags |= O_NONBLOCK | O_NOCTTY;
    int fd = direct_open_component((int)directory, name, flags, 0);
    if (fd == -EACCES && strcmp(name, ".") == 0) {
        /* To be read it need not be searched, as looking up `.` in it has it. */
        const struct direct_path path = direct_path_of(directory);
        fd = open(path.text, flags | O_CLOEXEC);
        fd = fd < 0 ? -EACCES : fd;
    }
    if (fd < 0) {
        return fd;
    }
    *file = fd;
    return 0;
}

static void direct_close(struct backend *backend, intptr_t file)
{
    close((int)file);
}

/* Pass on what one getdents64() brought. */
static int list_buffer(const char *buffer, size_t size, backend_entry_function *entry,
                       void *context)
{
    for (size_t at = 0; at < size;) {
        const struct dirent64 *found = (const struct dirent64 *)(const void *)(buffer + at);
        at += found->d_reclen;
        if (strcmp(found->d_name, ".") == 0) {
            continue;
        }
        int result = entry(context, found->d_name, found->d_ino, found->d_type);
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

static int direct_list(struct backend *backend, intptr_t file, backend_entry_function *entry,
                       void *context)
{
    /* Not opened anew: that might not be permitted any more. */
    if (lseek((int)file, 0, SEEK_SET) < 0) {
        return -errno;
    }
    int result = 0;
    char *buffer = malloc(LIST_BUFFER_SIZE);
    if (buffer == NULL) {
        result = -ENOMEM;
    }
    while (result == 0) {
        ssize_t size = getdents64((int)file, buffer, LIST_BUFFER_SIZE);
        if (size < 0) {
            result = -errno;
        }
        if (size <= 0) {
            break;
        }
        result = list_buffer(buffer, (size_t)size, entry, context);
    }
    free(buffer);
    return result;
}

static void direct_destroy(struct backend *backend)
{
    free(backend);
}

static const struct backend_ops direct_ops = {
    .open_root = direct_open_root,
    .lookup = direct_lookup,
    .forget = direct_forget,
    .stat_entry = direct_stat_entry,
    .node_of_file = direct_node_of_file,
    .get_attributes = direct_get_attributes,
    .get_attributes_of_file = direct_get_attributes,
    .read_link = direct_read_link,
    .create = direct_create,
    .make_directory = direct_make_directory,
    .unlink = direct_unlink,
    .remove_directory = direct_remove_directory,
    .open = direct_open,
    .close = direct_close,
    .list = direct_list,
    .read = direct_read,
    .write = direct_write,
    .append = direct_append,
    .truncate = direct_truncate,
    .read_vectors = direct_read_vectors,
    .write_vectors = direct_write_vectors,
    .create_unnamed = direct_create_unnamed,
    .seek = direct_seek,
    .allocate = direct_allocate,
    .copy = direct_copy,
    .sync = direct_sync,
    .sync_all = direct_sync_all,
    .map = direct_map,
    .set_status = direct_set_status,
    .open_special = direct_open_special,
    .read_special = direct_read_special,
    .write_special = direct_write_special,
    .get_special_status = direct_get_special_status,
    .set_special_status = direct_set_special_status,
    .host_descriptor = direct_host_descriptor,
    .get_xattr = direct_get_xattr,
    .set_xattr = direct_set_xattr,
    .list_xattrs = direct_list_xattrs,
    .remove_xattr = direct_remove_xattr,
    .parent = direct_parent,
    .way_down = direct_way_down,
    .make_node = direct_make_node,
    .make_symlink = direct_make_symlink,
    .link = direct_link,
    .rename = direct_rename,
    .set_mode = direct_set_mode,
    .has_default_access = direct_has_default_access,
    .restore_mode = direct_restore_mode,
    .set_owner = direct_set_owner,
    .set_times = direct_set_times,
    .access = direct_access,
    .statx = direct_statx,
    .statfs = direct_statfs,
    .give_file = direct_give_file,
    .give_node = direct_give_node,
    .take = direct_take,
    .destroy = direct_destroy,
};

int direct_backend_new(uint32_t number, struct backend **out)
{
    struct backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        return -ENOMEM;
    }
    backend->ops = &direct_ops;
    backend->number = number;
    *out = backend;
    return 0;
}

int direct_canonical_source(const char *source, char path[PATH_MAX])
{
    return realpath(source, path) == NULL ? -errno : 0;
}
