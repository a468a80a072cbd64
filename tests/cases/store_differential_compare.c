/* What both sides have, compared. */
#include "cases/store_differential.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

void empty_slot(struct sides *sides, struct slot *slot)
{
    if (slot->fd >= 0) {
        close(slot->fd);
        assert_int_equal(sides->store->ops->release(sides->store, slot->number), 0);
        slot->fd = -1;
    }
}

void let_removed_go(struct sides *sides)
{
    for (int i = 1; sides->is_limited && i < SLOTS; i++) {
        struct stat attributes;
        if (sides->slots[i].fd >= 0 && fstat(sides->slots[i].fd, &attributes) == 0 &&
            (i >= DIRECTORIES || attributes.st_nlink == 0)) {
            empty_slot(sides, &sides->slots[i]);
        }
    }
}

void same_attributes(const struct sides *sides, const struct store_attributes *ours,
                     const struct stat *theirs)
{
    same(sides, "mode", ours->mode, theirs->st_mode);
    same(sides, "links", ours->links, (int64_t)theirs->st_nlink);
    same(sides, "size", (int64_t)ours->size, theirs->st_size);
    if (!sides->any.in_directory || !S_ISREG(ours->mode)) {
        same(sides, "blocks", (int64_t)ours->pages * 8, theirs->st_blocks);
    }
    same(sides, "owner", ours->owner, theirs->st_uid);
    same(sides, "group", ours->group, theirs->st_gid);
    same(sides, "device", (int64_t)ours->device, (int64_t)theirs->st_rdev);
}

void same_space(const struct sides *sides)
{
    struct statfs theirs;
    struct store_usage ours;
    assert_int_equal(statfs(sides->path, &theirs), 0);
    store_get_usage(sides->store, &ours);
    if (sides->is_limited) {
        same(sides, "pages", (int64_t)ours.pages, (int64_t)theirs.f_blocks);
        same(sides, "free pages", (int64_t)ours.free_pages, (int64_t)theirs.f_bfree);
        same(sides, "inodes", (int64_t)ours.inodes, (int64_t)theirs.f_files);
        same(sides, "free inodes", (int64_t)ours.free_inodes, (int64_t)theirs.f_ffree);
    }
    if (!sides->any.in_directory || sides->step % 20 == 0) {
        any_store_check(&sides->any, NULL, 0);
    }
}

void same_slots(const struct sides *sides)
{
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &sides->slots[i];
        struct stat theirs;
        struct store_attributes ours;
        if (slot->fd >= 0) {
            assert_int_equal(fstat(slot->fd, &theirs), 0);
            assert_int_equal(sides->store->ops->get_attributes(sides->store, slot->number, &ours),
                             0);
            same_attributes(sides, &ours, &theirs);
        }
    }
}

static void same_data(struct sides *sides, uint64_t number, int fd, off_t size)
{
    const struct store_ops *ops = sides->store->ops;
    for (off_t at = 0; at < size;) {
        const int64_t ours = ops->seek(sides->store, number, at, SEEK_DATA);
        const int64_t data = result_of(lseek(fd, at, SEEK_DATA));
        const int64_t hole = lseek(fd, at, SEEK_HOLE);
        if (sides->allocations[number % NUMBERS] <= (sides->any.in_directory ? 0 : 1)) {
            same(sides, "data", ours, data);
            same(sides, "hole", ops->seek(sides->store, number, at, SEEK_HOLE), hole);
        }
        if (data < 0) {
            break;
        }
        for (int64_t i = 0; i < 2 && size - data > i * BUFFER; i++) {
            const int64_t from = data + i * BUFFER;
            const size_t room = fitting(from, BUFFER);
            const ssize_t theirs = pread(fd, sides->theirs, room, from);
            same(sides,
                 "read",
                 ops->read(sides->store, &sides->call, number, from, sides->ours, room),
                 theirs);
            assert_memory_equal(sides->ours, sides->theirs, (size_t)theirs);
        }
        at = data > at ? data : hole > at ? hole : at + 1;
    }
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

void same_times(struct sides *sides)
{
    static const char *const names[] = {"atime moved", "mtime moved", "ctime moved"};
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &sides->slots[i];
        struct stat status;
        struct store_attributes attributes;
        if (slot->fd < 0) {
            continue;
        }
        assert_int_equal(fstat(slot->fd, &status), 0);
        assert_int_equal(sides->store->ops->get_attributes(sides->store, slot->number, &attributes),
                         0);
        const struct timespec ours[] = {attributes.atime, attributes.mtime, attributes.ctime};
        const struct timespec theirs[] = {status.st_atim, status.st_mtim, status.st_ctim};
        for (int k = 0; slot->is_seen && k < 3; k++) {
            same(sides,
                 names[k],
                 !is_same_time(ours[k], slot->ours[k]),
                 !is_same_time(theirs[k], slot->theirs[k]));
        }
        memcpy(slot->ours, ours, sizeof(ours));
        memcpy(slot->theirs, theirs, sizeof(theirs));
        slot->is_seen = true;
    }
}

static int count_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                       uint64_t position)
{
    ++*(int *)context;
    return 0;
}

static void same_entry(struct sides *sides, int directory, uint64_t number, const char *name)
{
    const struct store_ops *ops = sides->store->ops;
    struct store_attributes ours;
    struct stat theirs;
    same(sides, name, ops->lookup(sides->store, number, named(name), &ours), 0);
    assert_int_equal(fstatat(directory, name, &theirs, AT_SYMLINK_NOFOLLOW), 0);
    same_attributes(sides, &ours, &theirs);
    if (S_ISLNK(ours.mode)) {
        const ssize_t length = readlinkat(directory, name, (char *)sides->theirs, BUFFER);
        same(sides,
             "target",
             ops->read_link(sides->store, &sides->call, ours.number, (char *)sides->ours, BUFFER),
             length);
        assert_memory_equal(sides->ours, sides->theirs, (size_t)length);
    } else if (S_ISREG(ours.mode) || S_ISDIR(ours.mode)) {
        const int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        if (S_ISREG(ours.mode)) {
            same_data(sides, ours.number, fd, theirs.st_size);
        } else {
            same_tree(sides, fd, ours.number);
        }
        close(fd);
    }
}

void same_tree(struct sides *sides, int directory, uint64_t number)
{
    int ours = 0;
    int theirs = 0;
    const int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fdopendir(fd);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            same_entry(sides, directory, number, entry->d_name);
            theirs++;
        }
    }
    closedir(stream);
    assert_int_equal(
        sides->store->ops->list(sides->store, &sides->call, number, 0, count_entry, &ours), 0);
    same(sides, "entries", ours, theirs);
}
