/* Attributes, extended ones, and what a filesystem says of itself. The inode is held EXCLUSIVE by
 * who changes it. */
#include "mounts/served/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* What statfs() says it is: "Hold" */
#define SERVED_MAGIC 0x486f6c64

/* ---- set ---- */

/* With the mutex, and the attributes known. An inode that lost its last name since it was found may be
 * gone, which only the server can say. */
static int tell_to_set(struct sb_node *node, const struct wire_operation *operation)
{
    if (node->attributes.links == 0) {
        return (int)sb_ask(node->served, operation);
    }
    return client_store_tell(&node->served->store, operation, 0, 0);
}

static int check_writable(const struct sb *served)
{
    return (served->flags & WIRE_STORE_READ_ONLY) != 0 ? -EROFS : 0;
}

int sb_set_mode(struct backend *backend, intptr_t node, mode_t mode)
{
    struct sb *served = sb_of(backend);
    struct sb_node *inode = sb_node_of(node);
    struct wire_operation operation = {
        .code = WIRE_OP_SET,
        .inode = inode->number,
        .mask = SERVED_SET_MODE,
        .mode = mode & 07777,
        .now = sb_now(),
    };
    int result = check_writable(served);
    if (result < 0) {
        return result;
    }
    pthread_mutex_lock(&inode->mutex);
    result = sb_refresh(inode, false);
    struct wire_attributes *attributes = &inode->attributes;
    const struct permissions of = sb_permissions(attributes);
    if (result == 0) {
        result = S_ISLNK(attributes->mode) ? -EOPNOTSUPP : permit_owner(&of, &served->who);
    }
    if (result == 0) {
        operation.mode = permit_mode(&served->who, operation.mode, attributes->group);
        result = tell_to_set(inode, &operation);
    }
    if (result == 0) {
        attributes->mode = (attributes->mode & S_IFMT) | operation.mode;
        attributes->ctime = operation.now;
    }
    pthread_mutex_unlock(&inode->mutex);
    return result;
}

int sb_set_owner(struct backend *backend, intptr_t node, uid_t owner, gid_t group)
{
    struct sb_node *inode = sb_node_of(node);
    const struct wire_operation operation = {
        .code = WIRE_OP_SET,
        .inode = inode->number,
        .mask = SERVED_SET_OWNER,
        .owner = owner,
        .group = group,
        .now = sb_now(),
    };
    const int result = (int)sb_ask(sb_of(backend), &operation);
    sb_forget_attributes(inode);
    return result;
}

/* The times that utimensat(2) was given: what it asks for. Return: 0; -EINVAL, -EFAULT. */
static int take_times(const struct sb *served, const struct timespec *given,
                      struct wire_operation *operation, bool *is_present)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    static const uint32_t masks[2] = {SERVED_SET_ATIME, SERVED_SET_MTIME};
    if (given != NULL && sb_get(served, times, given, sizeof times) < sizeof times) {
        return -EFAULT;
    }
    for (int i = 0; i < 2; i++) {
        const long nanoseconds = times[i].tv_nsec;
        if (nanoseconds == UTIME_OMIT) {
            continue;
        }
        if (nanoseconds != UTIME_NOW && (nanoseconds < 0 || nanoseconds > 999999999)) {
            return -EINVAL;
        }
        operation->mask |= masks[i];
        *(i == 0 ? &operation->atime : &operation->mtime) =
            nanoseconds == UTIME_NOW ? operation->now : times[i];
    }
    *is_present = times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW;
    return 0;
}

int sb_set_times(struct backend *backend, intptr_t node, const struct timespec times[2])
{
    struct sb *served = sb_of(backend);
    struct sb_node *inode = sb_node_of(node);
    struct wire_operation operation = {
        .code = WIRE_OP_SET, .inode = inode->number, .now = sb_now()};
    bool is_present;
    int result = take_times(served, times, &operation, &is_present);
    if (result < 0 || operation.mask == 0) {
        return result;
    }
    result = check_writable(served);
    if (result < 0) {
        return result;
    }
    pthread_mutex_lock(&inode->mutex);
    result = sb_refresh(inode, false);
    if (result == 0) {
        const struct permissions of = sb_permissions(&inode->attributes);
        result = permit_times(&of, &served->who, is_present);
    }
    if (result == 0) {
        result = tell_to_set(inode, &operation);
    }
    if (result == 0) {
        struct wire_attributes *attributes = &inode->attributes;
        if ((operation.mask & SERVED_SET_ATIME) != 0) {
            attributes->atime = operation.atime;
        }
        if ((operation.mask & SERVED_SET_MTIME) != 0) {
            attributes->mtime = operation.mtime;
        }
        attributes->ctime = operation.now;
    }
    pthread_mutex_unlock(&inode->mutex);
    return result;
}

int sb_set_size(struct sb_node *node, uint32_t mask, uint64_t size)
{
    const struct wire_operation operation = {
        .code = WIRE_OP_SET,
        .inode = node->number,
        .mask = mask,
        .size = size,
        .now = sb_now(),
    };
    int result = check_writable(node->served);
    if (result < 0) {
        return result;
    }
    pthread_mutex_lock(&node->mutex);
    result = sb_refresh(node, false);
    if (result == 0) {
        result = tell_to_set(node, &operation);
    }
    if (result == 0) {
        struct wire_attributes *attributes = &node->attributes;
        sb_validate_pages(node);
        if (mask == SERVED_SET_SIZE || attributes->size != size) {
            attributes->mtime = operation.now;
            attributes->ctime = operation.now;
            sb_drop_privileges(node->served, attributes);
        }
        sb_cut_pages(node, size);
        attributes->size = size;
        node->pages_unsure |= (node->served->flags & WIRE_STORE_EXACT) == 0;
    }
    pthread_mutex_unlock(&node->mutex);
    return result;
}

/* ---- look ---- */

int sb_access(struct backend *backend, intptr_t node, int mode, int flags)
{
    struct wire_attributes attributes;
    const int result = sb_attributes_to_judge(sb_node_of(node), &attributes);
    if (result < 0) {
        return result;
    }
    if ((mode & W_OK) != 0 && (sb_of(backend)->flags & WIRE_STORE_READ_ONLY) != 0 &&
        (S_ISREG(attributes.mode) || S_ISDIR(attributes.mode) || S_ISLNK(attributes.mode))) {
        return -EROFS;
    }
    return sb_may(sb_of(backend), &attributes, (unsigned)mode);
}

static struct statx_timestamp statx_time(const struct timespec *from)
{
    return (struct statx_timestamp){
        .tv_sec = from->tv_sec,
        .tv_nsec = (uint32_t)from->tv_nsec,
    };
}

int sb_statx(struct backend *backend, intptr_t node, int flags, unsigned mask, struct statx *out)
{
    const struct sb *served = sb_of(backend);
    struct wire_attributes from;
    const int result = sb_attributes(sb_node_of(node), &from);
    if (result < 0) {
        return result;
    }
    const struct statx all = {
        .stx_mask = STATX_BASIC_STATS | STATX_BTIME,
        .stx_blksize = SERVED_PAGE,
        .stx_nlink = from.links,
        .stx_uid = from.owner,
        .stx_gid = from.group,
        .stx_mode = (uint16_t)from.mode,
        .stx_ino = from.number,
        .stx_size = from.size,
        .stx_blocks = from.pages * (SERVED_PAGE / 512),
        .stx_atime = statx_time(&from.atime),
        .stx_btime = statx_time(&from.btime),
        .stx_ctime = statx_time(&from.ctime),
        .stx_mtime = statx_time(&from.mtime),
        .stx_rdev_major = major(from.device),
        .stx_rdev_minor = minor(from.device),
        .stx_dev_major = major(served->device),
        .stx_dev_minor = minor(served->device),
    };
    return sb_give(served, out, &all, sizeof all) < sizeof all ? -EFAULT : 0;
}

static int64_t take_usage(void *context, const uint8_t *data, size_t size)
{
    return wire_get_usage(data, size, context) == size ? 0 : -EPROTO;
}

int sb_statfs(struct backend *backend, intptr_t node, struct statfs *out)
{
    struct sb *served = sb_of(backend);
    const struct wire_operation operation = {.code = WIRE_OP_USAGE};
    struct wire_usage usage;
    const int64_t result = client_store_ask(&served->store, &operation, 0, take_usage, &usage);
    if (result < 0) {
        return (int)result;
    }
    const struct statfs all = {
        .f_type = SERVED_MAGIC,
        .f_bsize = SERVED_PAGE,
        .f_frsize = SERVED_PAGE,
        .f_blocks = usage.pages,
        .f_bfree = usage.free_pages,
        .f_bavail = usage.free_pages,
        .f_files = usage.inodes,
        .f_ffree = usage.free_inodes,
        .f_namelen = NAME_MAX,
        .f_fsid = {.__val = {(int)served->store.number, SERVED_MAGIC}},
    };
    return sb_give(served, out, &all, sizeof all) < sizeof all ? -EFAULT : 0;
}

/* ---- extended attributes ---- */

struct value {
    uint8_t *bytes;
    size_t size; /* 0: only the length is asked for */
};

static int64_t take_value(void *context, const uint8_t *data, size_t size)
{
    const struct value *value = context;
    if (size > WIRE_DATA_MAX) {
        return -EPROTO;
    }
    if (value->size != 0 && size > value->size) {
        return -ERANGE;
    }
    if (value->size != 0 && size > 0) {
        memcpy(value->bytes, data, size);
    }
    return (int64_t)size;
}

/* Ask for what goes into @size bytes of the caller's. */
static ssize_t ask_for_value(struct sb *served, const struct wire_operation *operation, void *to,
                             size_t size)
{
    struct value value = {.size = size < WIRE_DATA_MAX ? size : WIRE_DATA_MAX};
    value.bytes = malloc(value.size + 1);
    if (value.bytes == NULL) {
        return -ENOMEM;
    }
    const int64_t got =
        sb_as_missing(client_store_ask(&served->store, operation, 0, take_value, &value));
    const bool is_given =
        got <= 0 || size == 0 || sb_give(served, to, value.bytes, (size_t)got) == (size_t)got;
    free(value.bytes);
    return is_given ? (ssize_t)got : -EFAULT;
}

static int xattr_name(const char *name, struct wire_name *out)
{
    const size_t length = strlen(name);
    if (length == 0 || length > 255) {
        return -ERANGE;
    }
    *out = (struct wire_name){.bytes = name, .length = (uint8_t)length};
    return 0;
}

ssize_t sb_get_xattr(struct backend *backend, intptr_t node, const char *name, void *value,
                     size_t size)
{
    struct wire_operation operation = {.code = WIRE_OP_GET_XATTR,
                                       .inode = sb_node_of(node)->number};
    const int result = xattr_name(name, &operation.name);
    return result < 0 ? result : ask_for_value(sb_of(backend), &operation, value, size);
}

ssize_t sb_list_xattrs(struct backend *backend, intptr_t node, char *names, size_t size)
{
    const struct wire_operation operation = {.code = WIRE_OP_LIST_XATTRS,
                                             .inode = sb_node_of(node)->number};
    return ask_for_value(sb_of(backend), &operation, names, size);
}

static int ask_to_change_xattr(struct sb_node *node, const struct wire_operation *operation)
{
    const int result = (int)sb_ask(node->served, operation);
    sb_forget_attributes(node);
    return result;
}

int sb_set_xattr(struct backend *backend, intptr_t node, const char *name, const void *value,
                 size_t size, int flags)
{
    struct wire_operation operation = {
        .code = WIRE_OP_SET_XATTR,
        .inode = sb_node_of(node)->number,
        .mask = (uint32_t)flags,
        .now = sb_now(),
    };
    size_t length = size;
    void *copy;
    int result = xattr_name(name, &operation.name);
    if (result < 0 || size > WIRE_DATA_MAX) {
        return result < 0 ? result : -E2BIG;
    }
    operation.data = sb_borrow(sb_of(backend), value, &length, &copy);
    operation.data_size = (uint32_t)length;
    result = length < size ? -EFAULT : ask_to_change_xattr(sb_node_of(node), &operation);
    free(copy);
    return result;
}

int sb_remove_xattr(struct backend *backend, intptr_t node, const char *name)
{
    struct wire_operation operation = {
        .code = WIRE_OP_REMOVE_XATTR,
        .inode = sb_node_of(node)->number,
        .now = sb_now(),
    };
    const int result = xattr_name(name, &operation.name);
    return result < 0 ? result : ask_to_change_xattr(sb_node_of(node), &operation);
}
