/* Operations on what is in files, on both sides. */
#include "cases/store_differential.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

static off_t any_offset(struct sides *sides)
{
    static const off_t far[] = {INT64_C(8) << 30, INT64_C(1) << 43};
    static const off_t farther[] = {INT64_C(1) << 45, INT64_MAX - 65535};
    switch (below(sides, 8)) {
    case 0:
        /* The host's files may end much earlier than those of tmpfs. */
        return below(sides, 2) == 0 || sides->any.in_directory ? far[below(sides, 2)]
                                                               : farther[below(sides, 2)];
    case 1:
    case 2:
    case 3:
        return (off_t)below(sides, 16) * STORE_PAGE_SIZE;
    default:
        return (off_t)below(sides, 12 * STORE_PAGE_SIZE);
    }
}

static size_t any_size(struct sides *sides)
{
    switch (below(sides, 4)) {
    case 0:
        return (1 + below(sides, 6)) * STORE_PAGE_SIZE;
    case 1:
        return below(sides, 6 * STORE_PAGE_SIZE);
    default:
        return below(sides, 3000);
    }
}

void do_write(struct sides *sides, const struct slot *slot)
{
    const off_t offset = any_offset(sides);
    const size_t size = fitting(offset, any_size(sides));
    sides->operation = "write";
    memset(sides->data, 1 + (int)below(sides, 255), size);
    const int64_t theirs = result_of(pwrite(slot->fd, sides->data, size, offset));
    same(sides,
         "result",
         sides->store->ops->write(
             sides->store, &sides->call, slot->number, offset, sides->data, size),
         theirs);
}

void do_read(struct sides *sides, const struct slot *slot)
{
    const off_t offset = any_offset(sides);
    const size_t size = fitting(offset, 1 + below(sides, 8191));
    sides->operation = "read";
    const int64_t theirs = result_of(pread(slot->fd, sides->theirs, size, offset));
    same(sides,
         "result",
         sides->store->ops->read(
             sides->store, &sides->call, slot->number, offset, sides->ours, size),
         theirs);
    assert_memory_equal(sides->ours, sides->theirs, (size_t)theirs);
}

void do_set_size(struct sides *sides, const struct slot *slot)
{
    const struct store_attributes values = {.size = (uint64_t)any_offset(sides)};
    const bool as_named = below(sides, 2) == 0;
    struct stat status;
    char path[40];
    assert_int_equal(fstat(slot->fd, &status), 0);
    if (as_named && status.st_size == (off_t)values.size) {
        return; /* tmpfs moves the times then if the file has any pages */
    }
    sides->operation = as_named ? "set size as named" : "set size";
    snprintf(path, sizeof(path), "/proc/self/fd/%d", slot->fd);
    const int64_t theirs = result_of(as_named ? truncate(path, (off_t)values.size)
                                              : ftruncate(slot->fd, (off_t)values.size));
    same(sides,
         "result",
         sides->store->ops->set_attributes(sides->store,
                                           &sides->call,
                                           slot->number,
                                           as_named ? STORE_SET_NAMED_SIZE : STORE_SET_SIZE,
                                           &values),
         theirs);
}

/* What a directory with a limit does not set aside; what the host lets go of at the end of a file that
 * tmpfs keeps. Both would be seen in the free pages. */
static bool differs_in_directory(const struct slot *slot, int mode, off_t end)
{
    struct stat status;
    assert_int_equal(fstat(slot->fd, &status), 0);
    const off_t page = STORE_PAGE_SIZE;
    if (mode == FALLOC_FL_KEEP_SIZE) {
        return end > (status.st_size + page - 1) / page * page;
    }
    return (mode & FALLOC_FL_PUNCH_HOLE) != 0 && end >= status.st_size && end % page != 0;
}

void do_allocate(struct sides *sides, const struct slot *slot)
{
    static const int kinds[] = {0,
                                FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE,
                                FALLOC_FL_COLLAPSE_RANGE,
                                FALLOC_FL_INSERT_RANGE};
    const int mode = kinds[below(sides, 7)];
    const off_t offset = any_offset(sides);
    const off_t length = (off_t)any_size(sides);
    sides->operation = "allocate";
    if (sides->any.in_directory && sides->is_limited &&
        differs_in_directory(slot, mode, offset + length)) {
        return;
    }
    if ((mode & ~FALLOC_FL_KEEP_SIZE) == 0) {
        sides->allocations[slot->number % NUMBERS]++;
    }
    const int64_t theirs = result_of(fallocate(slot->fd, mode, offset, length));
    same(
        sides,
        "result",
        sides->store->ops->allocate(sides->store, &sides->call, slot->number, mode, offset, length),
        theirs);
}

void do_copy(struct sides *sides, const struct slot *slot)
{
    const struct slot *from = any_file(sides);
    off_t from_offset = (off_t)below(sides, 8 * STORE_PAGE_SIZE);
    off_t offset = (off_t)below(sides, 8 * STORE_PAGE_SIZE);
    const size_t size = any_size(sides);
    if (from->fd < 0) {
        return;
    }
    sides->operation = "copy";
    const int64_t ours = sides->store->ops->copy(
        sides->store, &sides->call, from->number, from_offset, slot->number, offset, size);
    same(sides,
         "result",
         ours,
         result_of(copy_file_range(from->fd, &from_offset, slot->fd, &offset, size, 0)));
}

void do_attributes(struct sides *sides, const struct slot *slot)
{
    struct store_attributes values = {.mode = any_mode(sides), .owner = UINT32_MAX};
    uint32_t mask = STORE_SET_MODE;
    int64_t theirs;
    sides->operation = "set mode";
    if (below(sides, 2) == 0 && geteuid() == 0) {
        mask = STORE_SET_OWNER;
        sides->operation = "set owner";
        values.owner = below(sides, 3) == 0 ? UINT32_MAX : (uint32_t)below(sides, 4);
        values.group = below(sides, 3) == 0 ? UINT32_MAX : (uint32_t)below(sides, 4);
        theirs = result_of(fchown(slot->fd, values.owner, values.group));
    } else {
        theirs = result_of(fchmod(slot->fd, values.mode));
    }
    same(sides,
         "result",
         sides->store->ops->set_attributes(sides->store, &sides->call, slot->number, mask, &values),
         theirs);
}

void do_xattr(struct sides *sides, const struct slot *slot)
{
    static const char *const names[] = {"trusted.a", "trusted.b", "user.", "other.a", "trusted."};
    const char *name = names[below(sides, 5)];
    const int flags = (int)below(sides, 4);
    const size_t size = below(sides, 60);
    const struct store_ops *ops = sides->store->ops;
    if (geteuid() != 0 || sides->is_limited) {
        return; /* tmpfs charges for them in its own way */
    }
    sides->operation = "set_xattr";
    memset(sides->data, 'x', size);
    int64_t theirs = result_of(fsetxattr(slot->fd, name, sides->data, size, flags));
    same(sides,
         "result",
         ops->set_xattr(
             sides->store, &sides->call, slot->number, named(name), sides->data, size, flags),
         theirs);
    if (below(sides, 3) == 0) {
        sides->operation = "remove_xattr";
        theirs = result_of(fremovexattr(slot->fd, name));
        same(sides,
             "result",
             ops->remove_xattr(sides->store, &sides->call, slot->number, named(name)),
             theirs);
    }
    sides->operation = "get_xattr";
    const size_t room = below(sides, 80);
    theirs = result_of(fgetxattr(slot->fd, name, sides->theirs, room));
    same(sides,
         "result",
         ops->get_xattr(sides->store, slot->number, named(name), sides->ours, room),
         theirs);
    if (theirs > 0 && room > 0) {
        assert_memory_equal(sides->ours, sides->theirs, (size_t)theirs);
    }
    sides->operation = "list_xattrs";
    same(sides,
         "length",
         ops->list_xattrs(sides->store, slot->number, NULL, 0),
         result_of(flistxattr(slot->fd, NULL, 0)));
}
