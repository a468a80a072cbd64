/* Open files, and what is done to them besides reading and writing. */
#include "mounts/served/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- open and close ---- */

static uint8_t rights_of(int flags)
{
    switch (flags & O_ACCMODE) {
    case O_RDONLY:
        return WIRE_USE_READ;
    case O_WRONLY:
        return WIRE_USE_WRITE;
    default:
        return WIRE_USE_READ | WIRE_USE_WRITE;
    }
}

/* The file takes a reference of its own. */
static int new_file(struct sb_node *node, int flags, intptr_t *out)
{
    struct sb *served = node->served;
    struct sb_node *same;
    struct sb_file *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        return -ENOMEM;
    }
    int result = client_store_use(&served->store, &node->use, node->number, rights_of(flags));
    if (result == 0) {
        result = sb_get_node(served, node->number, &same); /* it is there: that cannot fail */
    }
    if (result < 0) {
        free(file);
        return result;
    }
    file->node = same;
    file->access_mode = flags & O_ACCMODE;
    file->pipe = -1;
    atomic_init(&file->flags, flags & O_NOATIME);
    *out = (intptr_t)file;
    return 0;
}

int sb_open_asked(struct sb_node *node, struct wire_operation *asked, int flags, intptr_t *file)
{
    struct sb *served = node->served;
    asked->rights = rights_of(flags);
    /* What is told already must not be untold meanwhile. */
    const bool is_told = client_store_use_again(&served->store, &node->use);
    int result = (int)sb_ask(served, asked);
    if (result == 0) {
        client_store_used(&served->store, &node->use, node->number, asked->rights);
        result = new_file(node, flags, file);
        client_store_unuse(&served->store, &node->use, true);
    }
    if (is_told) {
        client_store_unuse(&served->store, &node->use, true);
    }
    return result;
}

int sb_open_made(struct sb_node *node, int flags, intptr_t *file)
{
    return new_file(node, flags, file);
}

int sb_may_open(const struct sb *served, const struct wire_attributes *attributes, int flags)
{
    const uint8_t rights = rights_of(flags);
    const bool writes = (rights & WIRE_USE_WRITE) != 0 || (flags & O_TRUNC) != 0;
    return sb_may(served,
                  attributes,
                  ((rights & WIRE_USE_READ) != 0 ? MAY_READ : 0) | (writes ? MAY_WRITE : 0));
}

static int check_open(struct sb_node *node, int flags, bool *is_directory)
{
    struct wire_attributes attributes;
    const struct sb *served = node->served;
    const uint8_t rights = rights_of(flags);
    int result = sb_attributes_to_judge(node, &attributes);
    if (result < 0) {
        return result;
    }
    *is_directory = S_ISDIR(attributes.mode);
    if ((rights & WIRE_USE_WRITE) != 0 || (flags & O_TRUNC) != 0) {
        if (S_ISDIR(attributes.mode)) {
            return -EISDIR;
        }
        if ((served->flags & WIRE_STORE_READ_ONLY) != 0) {
            return -EROFS;
        }
    }
    const struct permissions of = sb_permissions(&attributes);
    result = sb_may_open(served, &attributes, flags);
    if (result == 0 && (flags & O_NOATIME) != 0) {
        result = permit_owner(&of, &served->who);
    }
    return result;
}

/* The inode is held, EXCLUSIVE with O_TRUNC. */
static int open_node(struct sb_node *node, int flags, intptr_t *file)
{
    bool is_directory;
    int result = check_open(node, flags, &is_directory);
    if (result == 0) {
        result = new_file(node, flags, file);
    }
    if (result == 0) {
        sb_file_of(*file)->is_directory = is_directory;
    }
    if (result == 0 && (flags & O_TRUNC) != 0) {
        result = sb_set_size(node, SERVED_SET_SIZE, 0);
        if (result < 0) {
            sb_close(&node->served->backend, *file);
        }
    }
    return result;
}

int sb_open(struct backend *backend, intptr_t directory, const char *name, ino_t number, int flags,
            intptr_t *file)
{
    struct sb_node *node;
    int result = sb_get_node(
        sb_of(backend), strcmp(name, ".") == 0 ? sb_node_of(directory)->number : number, &node);
    if (result == 0) {
        result = open_node(node, flags, file);
        sb_put_node(node);
    }
    return result;
}

bool sb_has_name(struct sb_node *node)
{
    pthread_mutex_lock(&node->mutex);
    const bool known = node->born_in != NULL ||
                       (node->attributes_epoch == hf_sync_epoch(node->handle) && sb_is_held(node));
    const bool named = known && node->attributes.links > 0;
    pthread_mutex_unlock(&node->mutex);
    return named;
}

void sb_close(struct backend *backend, intptr_t file)
{
    struct sb_file *closed = sb_file_of(file);
    struct sb_node *node = closed->node;
    const bool is_pipe = closed->pipe >= 0;
    if (is_pipe) {
        close(closed->pipe);
    }
    /* The server has something open for a pipe: it hears at once that it need not. */
    client_store_unuse(&sb_of(backend)->store, &node->use, !is_pipe && sb_has_name(node));
    free(closed);
    sb_put_node(node);
}

/* What the server has found out so far; fsync() waits for it. */
int sb_flush(struct backend *backend, intptr_t file)
{
    return sb_take_error(sb_of(backend), sb_file_of(file)->node->number);
}

int sb_set_status(struct backend *backend, intptr_t file, int flags)
{
    struct sb_file *opened = sb_file_of(file);
    const struct sb *served = sb_of(backend);
    struct wire_attributes attributes;
    if ((flags & O_NOATIME) != 0) {
        int result = sb_attributes_to_judge(opened->node, &attributes);
        if (result == 0) {
            const struct permissions of = sb_permissions(&attributes);
            result = permit_owner(&of, &served->who);
        }
        if (result < 0) {
            return result;
        }
    }
    atomic_store_explicit(&opened->flags, flags & O_NOATIME, memory_order_relaxed);
    return 0;
}

/* ---- size and space ---- */

int sb_truncate(struct backend *backend, intptr_t file, off_t size, bool as_named)
{
    return sb_set_size(
        sb_file_of(file)->node, as_named ? SERVED_SET_NAMED_SIZE : SERVED_SET_SIZE, (uint64_t)size);
}

static int64_t take_place(void *context, const uint8_t *data, size_t size)
{
    struct wire_count count;
    if (wire_get_count(data, size, &count) != size || count.count > INT64_MAX) {
        return -EPROTO;
    }
    return (int64_t)count.count;
}

off_t sb_seek(struct backend *backend, intptr_t file, off_t offset, int whence)
{
    const struct wire_operation operation = {
        .code = WIRE_OP_SEEK,
        .inode = sb_file_of(file)->node->number,
        .offset = (uint64_t)offset,
        .whence = (uint8_t)whence,
    };
    if (sb_file_of(file)->pipe >= 0) {
        return lseek(sb_file_of(file)->pipe, offset, whence) < 0 ? -errno : 0;
    }
    if (whence == SEEK_SET) {
        return offset < 0 ? -EINVAL : offset;
    }
    if (offset < 0) {
        return -ENXIO;
    }
    return client_store_ask(&sb_of(backend)->store, &operation, 0, take_place, NULL);
}

/* What fallocate(2) finds in this order, before the store judges the rest. */
static int check_allocate(const struct sb_file *file, int mode, off_t offset, off_t length)
{
    const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
    const bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
    off_t end;
    if (offset < 0 || length <= 0) {
        return -EINVAL;
    }
    switch (kind) {
    case 0:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_UNSHARE_RANGE:
        break;
    case FALLOC_FL_PUNCH_HOLE:
        if (!keeps_size) {
            return -EOPNOTSUPP;
        }
        break;
    case FALLOC_FL_COLLAPSE_RANGE:
    case FALLOC_FL_INSERT_RANGE:
        if (keeps_size) {
            return -EOPNOTSUPP;
        }
        break;
    default:
        return -EOPNOTSUPP;
    }
    if (file->access_mode != O_WRONLY && file->access_mode != O_RDWR) {
        return -EBADF;
    }
    if (file->pipe >= 0) {
        return -ESPIPE;
    }
    return __builtin_add_overflow(offset, length, &end) ? -EFBIG : 0;
}

int sb_allocate(struct backend *backend, intptr_t file, int mode, off_t offset, off_t length)
{
    struct sb_node *node = sb_file_of(file)->node;
    const struct wire_operation operation = {
        .code = WIRE_OP_ALLOCATE,
        .inode = node->number,
        .mask = (uint32_t)mode,
        .offset = (uint64_t)offset,
        .size = (uint64_t)length,
        .now = sb_now(),
    };
    const int refused = check_allocate(sb_file_of(file), mode, offset, length);
    if (refused < 0) {
        return refused;
    }
    pthread_mutex_lock(&node->mutex);
    const int result = (int)sb_ask(sb_of(backend), &operation);
    sb_drop_pages(node);
    sb_forget_held(node);
    pthread_mutex_unlock(&node->mutex);
    return result;
}

/* As copy_file_range(2). */
static int check_copy(off_t from, off_t to, size_t size)
{
    if (size > UINT64_MAX - (uint64_t)from || size > UINT64_MAX - (uint64_t)to) {
        return -EOVERFLOW;
    }
    if (to == INT64_MAX) {
        return -EFBIG;
    }
    return from < 0 || to < 0 ? -EINVAL : 0;
}

ssize_t sb_copy(struct backend *backend, intptr_t from, off_t *from_offset, intptr_t to,
                off_t *to_offset, size_t size)
{
    struct sb *served = sb_of(backend);
    struct sb_node *node = sb_file_of(to)->node;
    off_t at[2];
    if (sb_get(served, &at[0], from_offset, sizeof at[0]) < sizeof at[0] ||
        sb_get(served, &at[1], to_offset, sizeof at[1]) < sizeof at[1]) {
        return -EFAULT;
    }
    const struct wire_operation operation = {
        .code = WIRE_OP_COPY,
        .inode = sb_file_of(from)->node->number,
        .offset = (uint64_t)at[0],
        .other = node->number,
        .other_offset = (uint64_t)at[1],
        .size = size,
        .now = sb_now(),
    };
    const int refused = check_copy(at[0], at[1], size);
    if (refused < 0) {
        return refused;
    }
    const int64_t done = client_store_ask(&served->store, &operation, 0, take_place, NULL);
    pthread_mutex_lock(&node->mutex);
    sb_drop_pages(node);
    sb_forget_held(node);
    pthread_mutex_unlock(&node->mutex);
    sb_forget_attributes(sb_file_of(from)->node);
    for (int i = 0; i < 2 && done > 0; i++) {
        at[i] += done;
        if (sb_give(served, i == 0 ? from_offset : to_offset, &at[i], sizeof at[i]) <
            sizeof at[i]) {
            return -EFAULT;
        }
    }
    return (ssize_t)done;
}

/* ---- sync ---- */

static int sync_inode(struct sb *served, uint64_t inode)
{
    const struct wire_operation operation = {.code = WIRE_OP_SYNC, .inode = inode};
    const int result = (int)sb_ask(served, &operation);
    const int earlier = sb_take_error(served, inode);
    return result < 0 ? result : earlier;
}

int sb_sync(struct backend *backend, intptr_t file, bool data_only)
{
    return sb_file_of(file)->pipe >= 0 ? -EINVAL
                                       : sync_inode(sb_of(backend), sb_file_of(file)->node->number);
}

int sb_sync_all(struct backend *backend, intptr_t file)
{
    return sync_inode(sb_of(backend), 0);
}

/* ---- mappings ---- */

/* Copy what is mapped; behind the end it is zeros already. The filesystem holds nothing for a mapping,
 * and one copy is to be of one moment. */
static int fill_mapping(struct backend *backend, intptr_t file, uint8_t *memory, size_t length,
                        off_t offset)
{
    hf_sync *handle = sb_file_of(file)->node->handle;
    ssize_t one = 1;
    int result = hf_sync_acquire(handle, HF_SHARED, NULL);
    if (result < 0) {
        return result;
    }
    for (size_t done = 0; done < length && one > 0; done += (size_t)one) {
        one = sb_read(backend, file, memory + done, length - done, offset + (off_t)done);
        if (one < 0) {
            break;
        }
    }
    result = hf_sync_release(handle);
    return one < 0 ? (int)one : result;
}

/* A private mapping is a copy; a shared one there cannot be, without memory that is shared. */
int sb_map(struct backend *backend, intptr_t file, void *address, size_t length, int protection,
           int flags, off_t offset, void **out)
{
    const struct sb_file *mapped = sb_file_of(file);
    const int type = flags & MAP_TYPE;
    const bool shared = type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
    if (length == 0 || offset < 0 || offset % (off_t)SERVED_PAGE != 0 ||
        (!shared && type != MAP_PRIVATE)) {
        return -EINVAL;
    }
    if ((mapped->access_mode != O_RDONLY && mapped->access_mode != O_RDWR) ||
        (shared && (protection & PROT_WRITE) != 0 && mapped->access_mode != O_RDWR)) {
        return -EACCES;
    }
    if (shared || mapped->is_directory || mapped->pipe >= 0) {
        return -ENODEV;
    }
    uint8_t *memory = mmap(address, length, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    int result = fill_mapping(backend, file, memory, length, offset);
    if (result == 0 && mprotect(memory, length, protection) < 0) {
        result = -errno;
    }
    if (result < 0) {
        munmap(memory, length);
        return result;
    }
    *out = memory;
    return 0;
}

/* ---- moving to another process ---- */

/* What stands for an inode there: a file in memory with this in it. */
struct stand_in {
    uint64_t magic;
    uint32_t store;
    int32_t access_mode; /* -1: a node */
    uint64_t inode;
    int32_t flags; /* O_NOATIME */
    int32_t zero;
};
#define STAND_IN_MAGIC UINT64_C(0x646e61747320666f)

static int give(struct sb *served, uint64_t inode, int access_mode, int flags)
{
    const struct stand_in stand_in = {
        .magic = STAND_IN_MAGIC,
        .store = served->store.number,
        .access_mode = access_mode,
        .inode = inode,
        .flags = flags,
    };
    const int fd = memfd_create("holdfast-inode", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (pwrite(fd, &stand_in, sizeof stand_in, 0) != sizeof stand_in) {
        close(fd);
        return -EIO;
    }
    return fd;
}

/* Others will know it. */
static void make_known(struct sb_node *node)
{
    pthread_mutex_lock(&node->mutex);
    sb_grown_up(node);
    pthread_mutex_unlock(&node->mutex);
}

int sb_give_file(struct backend *backend, intptr_t file)
{
    const struct sb_file *given = sb_file_of(file);
    make_known(given->node);
    if (given->pipe >= 0) {
        const int copy = fcntl(given->pipe, F_DUPFD_CLOEXEC, 0);
        return copy < 0 ? -errno : copy;
    }
    const int flags = atomic_load_explicit(&given->flags, memory_order_relaxed);
    return give(sb_of(backend), given->node->number, given->access_mode, flags);
}

int sb_give_node(struct backend *backend, intptr_t node)
{
    make_known(sb_node_of(node));
    return give(sb_of(backend), sb_node_of(node)->number, -1, 0);
}

int sb_lend(struct backend *backend, intptr_t given, bool is_path, hf_id ticket)
{
    const struct sb_node *node = is_path ? sb_node_of(given) : sb_file_of(given)->node;
    const struct wire_operation lend = {
        .code = WIRE_OP_LEND,
        .inode = node->number,
        .rights = is_path ? 0 : rights_of(sb_file_of(given)->access_mode),
        .ticket_space = ticket.space,
        .ticket_object = ticket.object,
    };
    return (int)sb_ask(sb_of(backend), &lend);
}

/* What @fd stands for. */
static bool get_stand_in(const struct sb *served, int fd, bool is_path, struct stand_in *out)
{
    *out = (struct stand_in){.access_mode = -1};
    if (!is_path && sb_is_pipe(served, fd, &out->inode, &out->access_mode)) {
        return true;
    }
    return pread(fd, out, sizeof *out, 0) == sizeof *out && out->magic == STAND_IN_MAGIC &&
           out->store == served->store.number && (out->access_mode < 0) == is_path &&
           out->access_mode <= O_ACCMODE;
}

/* For what it was lent for, whatever its permissions are by now. */
static int take_file(struct sb_node *node, const struct stand_in *from, hf_id ticket,
                     intptr_t *file)
{
    struct wire_operation borrow = {
        .code = WIRE_OP_BORROW,
        .inode = node->number,
        .ticket_space = ticket.space,
        .ticket_object = ticket.object,
    };
    return sb_open_asked(node, &borrow, from->access_mode | (from->flags & O_NOATIME), file);
}

int sb_take(struct backend *backend, int fd, hf_id ticket, bool is_path, intptr_t *taken,
            int *access_mode, struct stat *attributes)
{
    struct sb *served = sb_of(backend);
    struct sb_node *node;
    struct stand_in from;
    struct wire_attributes known;
    if (!get_stand_in(served, fd, is_path, &from)) {
        return -EINVAL;
    }
    int result = sb_get_node(served, from.inode, &node);
    if (result < 0) {
        return result;
    }
    result = sb_attributes(node, &known);
    if (result == 0 && !is_path && S_ISFIFO(known.mode) != (from.magic == 0)) {
        result = -EINVAL;
    }
    if (result == 0 && !is_path) {
        result = take_file(node, &from, ticket, taken);
        *access_mode = from.access_mode;
    }
    if (result == 0) {
        sb_fill_stat(served, &known, attributes);
    }
    if (result == 0 && !is_path) {
        sb_file_of(*taken)->is_directory = S_ISDIR(known.mode);
    }
    if (result == 0 && from.magic == 0) {
        sb_file_of(*taken)->pipe = fd;
    } else if (result == 0) {
        close(fd);
    }
    if (result == 0 && is_path) {
        *taken = (intptr_t)node;
    } else {
        sb_put_node(node);
    }
    return result;
}
