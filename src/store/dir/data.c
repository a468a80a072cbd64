/*
 * The data of regular files: the host's. Where pages are limited, an operation pays for those that are
 * missing before the host is asked, and what did not come to be is given back.
 */
#include "store/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

/* A change of a file's data, from page @first to the one before @end. */
struct change {
    struct dir_store *dir;
    const struct store_call *call;
    struct dir_inode *inode;
    int fd;
    uint64_t first, end;
    uint64_t missing; /* of those, before */
    struct store_charge charge;
};

static uint64_t pages_up_to(uint64_t bytes)
{
    return bytes / STORE_PAGE_SIZE + (bytes % STORE_PAGE_SIZE != 0);
}

static int open_file(struct change *change, struct store *store, const struct store_call *call,
                     uint64_t number)
{
    change->dir = dir_begin(store);
    change->call = call;
    return dir_find_file(change->dir, number, &change->inode);
}

/* Pay for @size bytes at @offset, or with @partly for as many of them as there is space for. Return:
 * for how many; -ENOSPC. */
static int64_t pay(struct change *change, uint64_t offset, uint64_t size, bool partly)
{
    struct dir_store *dir = change->dir;
    change->first = offset / STORE_PAGE_SIZE;
    change->end = pages_up_to(offset + size);
    if (!dir->limits_pages) {
        return (int64_t)size;
    }
    const uint64_t budget = store_available_pages(&dir->store, change->call);
    const uint64_t wanted = change->end;
    change->missing = dir_missing_pages(change->fd, change->first, &change->end, budget);
    if (change->end < wanted && (!partly || change->end == change->first)) {
        return -ENOSPC;
    }
    if (dir_charge_pages(dir, change->call, change->missing, &change->charge) < 0) {
        return -ENOSPC;
    }
    return change->end < wanted ? (int64_t)(change->end * STORE_PAGE_SIZE - offset) : (int64_t)size;
}

/* The host did it, or a part or nothing: what it costs is what there is more than before. */
static void settle(struct change *change)
{
    if (!change->dir->limits_pages) {
        return;
    }
    const uint64_t before = change->end - change->first - change->missing;
    const uint64_t after = dir_count_pages(change->fd, change->first, change->end);
    const uint64_t more = after > before ? after - before : 0;
    const uint64_t charged = change->charge.free + change->charge.reserved;
    dir_settle_pages(change->dir, change->call, change->charge, more < charged ? more : charged);
    dir_free_pages(change->dir, before > after ? before - after : 0);
}

static void finish(struct change *change, bool happened)
{
    dir_end_change(change->dir, change->call, change->inode, change->fd, happened);
    if (happened) {
        dir_changed(change->dir, change->call, change->inode);
    }
}

int64_t dir_read(struct store *store, const struct store_call *call, uint64_t number,
                 int64_t offset, void *buffer, size_t size)
{
    struct change file;
    const int result = open_file(&file, store, call, number);
    if (result < 0) {
        return result;
    }
    if (offset < 0) {
        return -EINVAL;
    }
    const int fd = dir_open(file.dir, file.inode, DIR_READ);
    if (fd < 0) {
        return fd;
    }
    const uint64_t room = (uint64_t)(STORE_MAX_SIZE - offset);
    const size_t most = size < room ? size : (size_t)room;
    size_t done = 0;
    while (done < most) {
        const ssize_t got = pread(fd, (uint8_t *)buffer + done, most - done, offset + (off_t)done);
        if (got < 0 && done == 0) {
            return -errno;
        }
        if (got <= 0) {
            break;
        }
        done += (size_t)got;
    }
    dir_touch_inode(file.dir, call, file.inode);
    return (int64_t)done;
}

int64_t dir_write(struct store *store, const struct store_call *call, uint64_t number,
                  int64_t offset, const void *data, size_t size)
{
    struct change change = {0};
    const int result = open_file(&change, store, call, number);
    if (result < 0) {
        return result;
    }
    if (offset < 0) {
        return -EINVAL;
    }
    if (size == 0) {
        return 0;
    }
    const uint64_t room = (uint64_t)(STORE_MAX_SIZE - offset);
    if (room == 0) {
        return -EFBIG;
    }
    change.fd = dir_open(change.dir, change.inode, DIR_WRITE);
    if (change.fd < 0) {
        return change.fd;
    }
    int64_t error = dir_begin_change(change.dir, call, change.inode, change.fd);
    if (error < 0) {
        return error;
    }
    const int64_t fits = pay(&change, (uint64_t)offset, size < room ? size : room, true);
    int64_t done = 0;
    error = fits < 0 ? fits : 0;
    while (error == 0 && done < fits) {
        const ssize_t put =
            pwrite(change.fd, (const uint8_t *)data + done, (size_t)(fits - done), offset + done);
        error = put < 0 ? -errno : 0;
        done += put > 0 ? put : 0;
    }
    if (fits >= 0 && done < fits) {
        settle(&change);
    }
    finish(&change, done > 0);
    return done > 0 ? done : error;
}

/* With limits nothing is set aside behind the end of a file: it would be space that nothing counts.
 * Return: the length that is left, maybe 0. */
static int64_t clip(int fd, int64_t offset, int64_t length)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    const uint64_t end = pages_up_to((uint64_t)status.st_size) * STORE_PAGE_SIZE;
    const uint64_t left = (uint64_t)offset < end ? end - (uint64_t)offset : 0;
    return left < (uint64_t)length ? (int64_t)left : length;
}

static int check_allocation(int mode, int64_t offset, int64_t length)
{
    const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
    const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
    if (offset < 0 || length <= 0) {
        return -EINVAL;
    }
    if (kind != 0 && kind != FALLOC_FL_ZERO_RANGE && !(kind == FALLOC_FL_PUNCH_HOLE && keep_size)) {
        return -EOPNOTSUPP;
    }
    return length > STORE_MAX_SIZE - offset ? -EFBIG : 0;
}

/* What is to be allocated is checked; @length is what is left of it. */
static int allocate(struct change *change, int mode, int64_t offset, int64_t length)
{
    int64_t result = dir_begin_change(change->dir, change->call, change->inode, change->fd);
    if (result < 0) {
        return (int)result;
    }
    if (length > 0 && (mode & FALLOC_FL_PUNCH_HOLE) == 0) {
        result = pay(change, (uint64_t)offset, (uint64_t)length, false);
    } else if (length > 0 && change->dir->limits_pages) {
        change->first = (uint64_t)offset / STORE_PAGE_SIZE;
        change->end = pages_up_to((uint64_t)offset + (uint64_t)length);
        const uint64_t there = dir_count_pages(change->fd, change->first, change->end);
        change->missing = change->end - change->first - there;
    }
    if (result >= 0 && length > 0) {
        result = fallocate(change->fd, mode, offset, length) < 0 ? -errno : 0;
        settle(change);
    }
    finish(change, result >= 0);
    return result < 0 ? (int)result : 0;
}

int dir_allocate(struct store *store, const struct store_call *call, uint64_t number, int mode,
                 int64_t offset, int64_t length)
{
    struct change change = {0};
    int64_t result = open_file(&change, store, call, number);
    if (result == 0) {
        result = check_allocation(mode, offset, length);
    }
    if (result < 0) {
        return (int)result;
    }
    change.fd = dir_open(change.dir, change.inode, DIR_WRITE);
    if (change.fd < 0) {
        return change.fd;
    }
    const bool punches = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
    if (change.dir->limits_pages && !punches && !dir_knows_allocated(change.fd)) {
        return -EOPNOTSUPP; /* it could not be counted again */
    }
    if (change.dir->limits_pages && !punches && (mode & FALLOC_FL_KEEP_SIZE) != 0) {
        result = clip(change.fd, offset, length);
        if (result < 0) {
            return (int)result;
        }
        length = result;
    }
    return allocate(&change, mode, offset, length);
}

int64_t dir_seek(struct store *store, uint64_t number, int64_t offset, int whence)
{
    struct change file;
    const int result = open_file(&file, store, NULL, number);
    if (result < 0) {
        return result;
    }
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
        return -EINVAL;
    }
    if (offset < 0) {
        return -ENXIO;
    }
    const int fd = dir_open(file.dir, file.inode, DIR_READ);
    if (fd < 0) {
        return fd;
    }
    const off_t found = lseek(fd, offset, whence);
    return found < 0 ? -errno : found;
}

/* Return: how much of @from there is to copy; 0; a negative errno. */
static int64_t copyable(int from, uint64_t begin, uint64_t to_begin, uint64_t size, bool same_file)
{
    struct stat status;
    if (fstat(from, &status) < 0) {
        return -errno;
    }
    const uint64_t end = (uint64_t)status.st_size;
    const uint64_t room = (uint64_t)STORE_MAX_SIZE - to_begin;
    uint64_t left = begin < end ? end - begin : 0;
    left = left < size ? left : size;
    if (left > 0 && room == 0) {
        return -EFBIG;
    }
    left = left < room ? left : room;
    if (same_file && to_begin < begin + left && begin < to_begin + left) {
        return -EINVAL;
    }
    return (int64_t)left;
}

int64_t dir_copy(struct store *store, const struct store_call *call, uint64_t from,
                 int64_t from_offset, uint64_t to, int64_t to_offset, size_t size)
{
    struct change change = {0};
    struct dir_inode *source;
    int result = dir_find_file(dir_begin(store), from, &source);
    if (result == 0) {
        result = open_file(&change, store, call, to);
    }
    if (result < 0) {
        return result;
    }
    if (from_offset < 0 || to_offset < 0) {
        return -EINVAL;
    }
    const bool same_file = source == change.inode;
    const int from_fd = dir_open(change.dir, source, same_file ? DIR_WRITE : DIR_READ);
    change.fd = from_fd < 0 ? from_fd : dir_open(change.dir, change.inode, DIR_WRITE);
    if (change.fd < 0) {
        return change.fd;
    }
    const int64_t left =
        copyable(from_fd, (uint64_t)from_offset, (uint64_t)to_offset, size, same_file);
    if (left <= 0) {
        return left;
    }
    int64_t error = dir_begin_change(change.dir, call, change.inode, change.fd);
    if (error < 0) {
        return error;
    }
    const int64_t fits = pay(&change, (uint64_t)to_offset, (uint64_t)left, true);
    int64_t done = 0;
    error = fits < 0 ? fits : 0;
    while (error == 0 && done < fits) {
        const ssize_t copied =
            copy_file_range(from_fd, &from_offset, change.fd, &to_offset, (size_t)(fits - done), 0);
        if (copied == 0) {
            break;
        }
        error = copied < 0 ? -errno : 0;
        done += copied > 0 ? copied : 0;
    }
    if (fits >= 0) {
        settle(&change);
    }
    finish(&change, done > 0);
    if (done > 0) {
        dir_touch_inode(change.dir, call, source);
    }
    return done > 0 ? done : error;
}
