/*
 * Space. Counted is what store.h says and what can be counted again at any time: the pages of files
 * that have data or were allocated, up to the file's size, as FIEMAP says or else SEEK_DATA; long
 * targets; attributes; names. What the host takes for its own purposes is not: it changes without
 * anybody's doing.
 *
 * Somebody else may have changed what is on the host, so what comes back is at most what was used.
 */
#include "store/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- the pages of a file ---- */

static uint64_t pages_up_to(uint64_t bytes)
{
    return bytes / STORE_PAGE_SIZE + (bytes % STORE_PAGE_SIZE != 0);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Bytes from *begin to *end, the first from @from on. Return: 1; 0 when there are no more; a negative
 * errno where FIEMAP is not known. */
static int next_extent(int fd, uint64_t from, uint64_t *begin, uint64_t *end)
{
    union {
        struct fiemap map;
        uint8_t bytes[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
    } request = {.map = {.fm_start = from, .fm_length = INT64_MAX - from, .fm_extent_count = 1}};
    if (ioctl(fd, FS_IOC_FIEMAP, &request) < 0) {
        return -errno;
    }
    if (request.map.fm_mapped_extents == 0) {
        return 0;
    }
    struct fiemap_extent extent;
    memcpy(&extent, request.bytes + sizeof(struct fiemap), sizeof(extent));
    *begin = extent.fe_logical;
    *end = extent.fe_logical + extent.fe_length;
    return *end > from;
}

static int next_data(int fd, uint64_t from, uint64_t *begin, uint64_t *end)
{
    const off_t data = lseek(fd, (off_t)from, SEEK_DATA);
    const off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    if (hole < 0) {
        return 0;
    }
    *begin = (uint64_t)data;
    *end = (uint64_t)hole;
    return 1;
}

/* The next pages that exist, from @page on. Return: false when there are none below @limit. */
static bool next_pages(int fd, uint64_t page, uint64_t limit, uint64_t *first, uint64_t *end)
{
    if (page >= limit) {
        return false;
    }
    uint64_t from = 0;
    uint64_t to = 0;
    int found = next_extent(fd, page * STORE_PAGE_SIZE, &from, &to);
    if (found < 0) {
        found = next_data(fd, page * STORE_PAGE_SIZE, &from, &to);
    }
    if (found == 0 || from / STORE_PAGE_SIZE >= limit) {
        return false;
    }
    *first = from / STORE_PAGE_SIZE < page ? page : from / STORE_PAGE_SIZE;
    *end = smaller(pages_up_to(to), limit);
    return true;
}

/* The page behind the end of a file. */
static uint64_t end_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) < 0 ? 0 : pages_up_to((uint64_t)status.st_size);
}

uint64_t dir_count_pages(int fd, uint64_t first, uint64_t end)
{
    uint64_t count = 0;
    uint64_t from = 0;
    uint64_t to = first;
    end = smaller(end, end_of(fd));
    while (next_pages(fd, to, end, &from, &to)) {
        count += to - from;
    }
    return count;
}

uint64_t dir_missing_pages(int fd, uint64_t first, uint64_t *end, uint64_t budget)
{
    const uint64_t limit = smaller(*end, end_of(fd));
    uint64_t missing = 0;
    uint64_t page = first;
    while (page < *end) {
        uint64_t from = *end;
        uint64_t to = *end;
        if (page < limit && !next_pages(fd, page, limit, &from, &to)) {
            from = to = *end;
        }
        if (from - page > budget - missing) {
            *end = page + (budget - missing);
            return budget;
        }
        missing += from - page;
        page = to;
    }
    return missing;
}

bool dir_knows_allocated(int fd)
{
    uint64_t begin;
    uint64_t end;
    return next_extent(fd, 0, &begin, &end) >= 0;
}

uint64_t dir_pages_of(struct dir_store *dir, int fd, bool is_readable, const struct statx *status)
{
    uint64_t pages = dir_xattr_pages(dir, fd);
    if (S_ISLNK(status->stx_mode)) {
        pages += status->stx_size >= STORE_SHORT_TARGET ? 1 : 0;
    } else if (S_ISREG(status->stx_mode)) {
        pages += is_readable ? dir_count_pages(fd, 0, UINT64_MAX)
                             : smaller((status->stx_blocks + 7) / 8, pages_up_to(status->stx_size));
    }
    return pages;
}

int dir_pages_at(struct dir_store *dir, int directory, const char *name, const struct statx *status,
                 uint64_t *pages)
{
    int fd = -EACCES;
    *pages = 0;
    if (S_ISREG(status->stx_mode)) {
        fd = dir_open_at(dir, directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    }
    const bool is_readable = fd >= 0;
    if (fd == -EACCES) {
        fd = dir_open_at(dir, directory, name, O_PATH);
    }
    if (fd < 0) {
        return fd;
    }
    *pages = dir_pages_of(dir, fd, is_readable, status);
    fork_guard_close(&dir->guard, fd);
    return 0;
}

/* ---- limits ---- */

int dir_charge_inodes(struct dir_store *dir, const struct store_call *call, uint64_t count,
                      struct store_charge *charge)
{
    return dir->limits_inodes ? store_charge_inodes(&dir->store, call, count, charge) : 0;
}

void dir_uncharge_inodes(struct dir_store *dir, const struct store_call *call,
                         struct store_charge charge)
{
    store_uncharge_inodes(&dir->store, call, charge);
}

int dir_charge_pages(struct dir_store *dir, const struct store_call *call, uint64_t count,
                     struct store_charge *charge)
{
    return dir->limits_pages ? store_charge_pages(&dir->store, call, count, charge) : 0;
}

void dir_settle_pages(struct dir_store *dir, const struct store_call *call,
                      struct store_charge charge, uint64_t used)
{
    /* What was reserved is spent first, so it is what came from there that stays spent. */
    const uint64_t from_reserved = smaller(used, charge.reserved);
    const uint64_t from_free = smaller(used - from_reserved, charge.free);
    charge.reserved -= from_reserved;
    charge.free -= from_free;
    store_uncharge_pages(&dir->store, call, charge);
}

void dir_free_pages(struct dir_store *dir, uint64_t count)
{
    if (dir->limits_pages) {
        store_free_pages(&dir->store, smaller(count, dir->store.pages.used));
    }
}

void dir_free_inodes(struct dir_store *dir, uint64_t count)
{
    if (dir->limits_inodes) {
        store_free_inodes(&dir->store, smaller(count, dir->store.inodes.used));
    }
}
