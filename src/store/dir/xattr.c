/*
 * Extended attributes: the host's. They are reached through /proc, since O_PATH descriptors are no
 * good for the calls that take one.
 */
#include "store/dir/dir.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char capability[] = "security.capability";

/* Names that are not an inode's matter here: access lists and other system. attributes. */
static bool is_ours(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strncmp(name, "security.", 9) == 0;
}

/* The names, each with its NUL, are in dir->xattr_names. Return: their length; a negative errno. */
static int64_t list_names(struct dir_store *dir, const struct dir_proc_path *path)
{
    char *names = dir->xattr_names;
    const ssize_t length = listxattr(path->bytes, names, sizeof(dir->xattr_names));
    if (length < 0) {
        return errno == EOPNOTSUPP ? 0 : -errno;
    }
    size_t kept = 0;
    for (size_t at = 0; at < (size_t)length;) {
        const size_t size = strlen(names + at) + 1;
        if (is_ours(names + at)) {
            memmove(names + kept, names + at, size);
            kept += size;
        }
        at += size;
    }
    return (int64_t)kept;
}

/* What all attributes fill, and their names alone. */
static int measure(struct dir_store *dir, const struct dir_proc_path *path, uint64_t *bytes,
                   uint64_t *list_bytes)
{
    const int64_t length = list_names(dir, path);
    if (length < 0) {
        return (int)length;
    }
    *list_bytes = (uint64_t)length;
    *bytes = (uint64_t)length;
    for (size_t at = 0; at < (size_t)length; at += strlen(dir->xattr_names + at) + 1) {
        const ssize_t size = getxattr(path->bytes, dir->xattr_names + at, NULL, 0);
        *bytes += size > 0 ? (uint64_t)size : 0;
    }
    return 0;
}

uint64_t dir_xattr_pages(struct dir_store *dir, int fd)
{
    const struct dir_proc_path path = dir_proc_path(fd);
    uint64_t bytes;
    uint64_t list_bytes;
    return measure(dir, &path, &bytes, &list_bytes) < 0 ? 0 : store_xattr_pages(bytes);
}

/* An inode and one of its attributes, for an operation. */
struct attribute {
    struct dir_store *dir;
    struct dir_inode *inode;
    struct dir_proc_path path;
    struct dir_text name;
};

/* Return: 0 with *out; a negative errno. @no_user: as store_check_xattr_name() takes it. */
static int find_attribute(struct dir_store *dir, uint64_t number, struct store_name name,
                          int no_user, struct attribute *out)
{
    out->dir = dir;
    out->inode = dir_find_inode(dir, number);
    if (out->inode == NULL) {
        return -ESTALE;
    }
    const int result = store_check_xattr_name(out->inode->mode, name, no_user);
    if (result < 0) {
        return result;
    }
    const int fd = dir_open(dir, out->inode, DIR_PATH);
    if (fd < 0) {
        return fd;
    }
    out->path = dir_proc_path(fd);
    out->name = dir_text_of(name);
    return 0;
}

int64_t dir_get_xattr(struct store *store, uint64_t number, struct store_name name, void *value,
                      size_t size)
{
    struct attribute attribute;
    const int result = find_attribute(dir_begin(store), number, name, -ENODATA, &attribute);
    if (result < 0) {
        return result;
    }
    const ssize_t length = getxattr(attribute.path.bytes, attribute.name.bytes, value, size);
    return length < 0 ? -errno : length;
}

/* Set or remove (@value NULL, @size 0) one that has @old bytes now, -1 when it is not there. */
static int change(const struct attribute *attribute, const struct store_call *call,
                  const void *value, size_t size, int flags, int64_t old)
{
    struct dir_store *dir = attribute->dir;
    const uint64_t name_bytes = strlen(attribute->name.bytes) + 1;
    uint64_t had = 0;
    uint64_t list_bytes = 0;
    const int result = measure(dir, &attribute->path, &had, &list_bytes);
    if (result < 0) {
        return result;
    }
    uint64_t has = had - (old < 0 ? 0 : name_bytes + (uint64_t)old);
    if (value != NULL) {
        has += name_bytes + size;
        list_bytes += old < 0 ? name_bytes : 0;
    }
    if (list_bytes > STORE_MAX_XATTR_LIST) {
        return -ENOSPC;
    }
    const uint64_t had_pages = store_xattr_pages(had);
    const uint64_t has_pages = store_xattr_pages(has);
    struct store_charge charge = {0};
    if (has_pages > had_pages && dir_charge_pages(dir, call, has_pages - had_pages, &charge) < 0) {
        return -ENOSPC;
    }
    const char *path = attribute->path.bytes;
    const char *name = attribute->name.bytes;
    if ((value != NULL ? setxattr(path, name, value, size, flags) : removexattr(path, name)) < 0) {
        const int error = -errno;
        dir_settle_pages(dir, call, charge, 0);
        return error;
    }
    if (has_pages < had_pages) {
        dir_free_pages(dir, had_pages - has_pages);
    }
    return 0;
}

int dir_set_xattr(struct store *store, const struct store_call *call, uint64_t number,
                  struct store_name name, const void *value, size_t size, int flags)
{
    struct dir_store *dir = dir_begin(store);
    struct attribute attribute;
    if (dir_find_inode(dir, number) == NULL) {
        return -ESTALE;
    }
    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) {
        return -EINVAL;
    }
    if (size > STORE_MAX_XATTR_VALUE) {
        return -E2BIG;
    }
    int result = find_attribute(dir, number, name, -EPERM, &attribute);
    if (result < 0) {
        return result;
    }
    const ssize_t old = getxattr(attribute.path.bytes, attribute.name.bytes, NULL, 0);
    if (old >= 0 && (flags & XATTR_CREATE) != 0) {
        return -EEXIST;
    }
    if (old < 0 && (flags & XATTR_REPLACE) != 0) {
        return -ENODATA;
    }
    result = change(&attribute, call, value == NULL ? "" : value, size, flags, old);
    if (result == 0) {
        dir_attributes_changed(dir, call, attribute.inode);
    }
    return result;
}

int64_t dir_list_xattrs(struct store *store, uint64_t number, char *names, size_t size)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode = dir_find_inode(dir, number);
    const int fd = inode == NULL ? -ESTALE : dir_open(dir, inode, DIR_PATH);
    if (fd < 0) {
        return fd;
    }
    const struct dir_proc_path path = dir_proc_path(fd);
    const int64_t length = list_names(dir, &path);
    if (length > 0 && size > 0) {
        if (size < (size_t)length) {
            return -ERANGE;
        }
        memcpy(names, dir->xattr_names, (size_t)length);
    }
    return length;
}

int dir_remove_xattr(struct store *store, const struct store_call *call, uint64_t number,
                     struct store_name name)
{
    struct dir_store *dir = dir_begin(store);
    struct attribute attribute;
    int result = find_attribute(dir, number, name, -EPERM, &attribute);
    if (result < 0) {
        return result;
    }
    const ssize_t old = getxattr(attribute.path.bytes, attribute.name.bytes, NULL, 0);
    if (old < 0) {
        return -errno;
    }
    result = change(&attribute, call, NULL, 0, 0, old);
    if (result == 0) {
        dir_attributes_changed(dir, call, attribute.inode);
    }
    return result;
}

int dir_drop_capability(struct dir_store *dir, int fd)
{
    const struct dir_proc_path path = dir_proc_path(fd);
    const ssize_t old = getxattr(path.bytes, capability, NULL, 0);
    if (old < 0) {
        return 0;
    }
    const struct store_call nobody = {0};
    struct attribute attribute = {.dir = dir, .path = path};
    memcpy(attribute.name.bytes, capability, sizeof(capability));
    return change(&attribute, &nobody, NULL, 0, 0, old);
}
