/* Operations on names, on both sides. */
#include "cases/store_differential.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void do_make(struct sides *sides)
{
    static const mode_t types[] = {
        S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR};
    const struct slot *directory = any_directory(sides);
    const char *name = any_name(sides);
    char target[256];
    memset(target, 't', sizeof(target));
    struct store_new what = {
        .mode = types[below(sides, 8)] | any_mode(sides), .owner = geteuid(), .group = getegid()};
    int theirs;
    if (S_ISLNK(what.mode)) {
        what.mode = S_IFLNK | 0777;
        what.target = (struct store_name){target, 1 + below(sides, 200)};
        target[what.target.length] = '\0';
        theirs = symlinkat(target, directory->fd, name);
    } else if (S_ISDIR(what.mode)) {
        /* mkdir(2) takes these bits and no others. */
        what.mode &= S_IFMT | 01777;
        theirs = mkdirat(directory->fd, name, what.mode);
    } else {
        what.device = S_ISCHR(what.mode) ? makedev(1, 3) : 0;
        theirs = mknodat(directory->fd, name, what.mode, what.device);
    }
    sides->operation = "make";
    const int64_t result = result_of(theirs);
    same(sides,
         "result",
         sides->store->ops->make(
             sides->store, &sides->call, directory->number, named(name), &what, NULL),
         result);
}

void do_make_unnamed(struct sides *sides)
{
    const struct slot *directory = any_directory(sides);
    struct slot *slot = any_file(sides);
    const bool linkable = below(sides, 3) != 0;
    const struct store_new what = {
        .mode = S_IFREG | any_mode(sides), .owner = geteuid(), .group = getegid()};
    struct store_attributes attributes;
    sides->operation = "make_unnamed";
    empty_slot(sides, slot);
    const int fd = openat(directory->fd,
                          ".",
                          O_TMPFILE | O_RDWR | O_CLOEXEC | (linkable ? 0 : O_EXCL),
                          what.mode & 07777);
    const int64_t theirs = result_of(fd < 0 ? -1 : 0);
    same(sides,
         "result",
         sides->store->ops->make_unnamed(
             sides->store, &sides->call, directory->number, &what, linkable, &attributes),
         theirs);
    if (fd >= 0) {
        *slot = (struct slot){.fd = fd, .number = attributes.number};
    }
}

/* Both sides come to use what is under a name. */
void do_open(struct sides *sides)
{
    const struct slot *directory = any_directory(sides);
    const char *name = any_name(sides);
    struct store_attributes ours;
    struct stat theirs;
    sides->operation = "lookup";
    const int64_t found = result_of(fstatat(directory->fd, name, &theirs, AT_SYMLINK_NOFOLLOW));
    same(sides,
         "result",
         sides->store->ops->lookup(sides->store, directory->number, named(name), &ours),
         found);
    if (found < 0) {
        return;
    }
    same_attributes(sides, &ours, &theirs);
    if (S_ISREG(theirs.st_mode) || S_ISDIR(theirs.st_mode)) {
        struct slot *slot = S_ISREG(theirs.st_mode)
                                ? any_file(sides)
                                : &sides->slots[1 + below(sides, DIRECTORIES - 1)];
        const int fd =
            openat(directory->fd, name, (S_ISREG(theirs.st_mode) ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        if (fd >= 0) {
            assert_int_equal(sides->store->ops->hold(sides->store, ours.number), 0);
            empty_slot(sides, slot);
            *slot = (struct slot){.fd = fd, .number = ours.number};
        }
    }
}

void do_link(struct sides *sides)
{
    const struct slot *directory = any_directory(sides);
    const struct slot *slot = &sides->slots[below(sides, SLOTS)];
    const char *name = any_name(sides);
    char path[40];
    if (slot->fd < 0) {
        return;
    }
    sides->operation = "link";
    snprintf(path, sizeof(path), "/proc/self/fd/%d", slot->fd);
    const int64_t theirs =
        result_of(linkat(AT_FDCWD, path, directory->fd, name, AT_SYMLINK_FOLLOW));
    same(sides,
         "result",
         sides->store->ops->link(
             sides->store, &sides->call, slot->number, directory->number, named(name)),
         theirs);
}

void do_unlink(struct sides *sides)
{
    const struct slot *directory = any_directory(sides);
    const char *name = any_name(sides);
    sides->operation = "unlink";
    const int64_t theirs = result_of(unlinkat(directory->fd, name, 0));
    same(sides,
         "result",
         sides->store->ops->unlink(sides->store, &sides->call, directory->number, named(name)),
         theirs);
}

void do_remove_directory(struct sides *sides)
{
    const struct slot *directory = any_directory(sides);
    const char *name = any_name(sides);
    sides->operation = "remove_directory";
    const int64_t theirs = result_of(unlinkat(directory->fd, name, AT_REMOVEDIR));
    same(sides,
         "result",
         sides->store->ops->remove_directory(
             sides->store, &sides->call, directory->number, named(name)),
         theirs);
    if (theirs == 0) {
        let_removed_go(sides);
    }
}

void do_rename(struct sides *sides)
{
    static const unsigned flags[] = {
        0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_NOREPLACE | RENAME_EXCHANGE};
    const struct slot *from = any_directory(sides);
    const struct slot *to = any_directory(sides);
    const char *name = any_name(sides);
    const char *new_name = any_name(sides);
    const unsigned flag = flags[below(sides, 5)];
    sides->operation = "rename";
    const int64_t theirs = result_of(renameat2(from->fd, name, to->fd, new_name, flag));
    same(sides,
         "result",
         sides->store->ops->rename(sides->store,
                                   &sides->call,
                                   from->number,
                                   named(name),
                                   to->number,
                                   named(new_name),
                                   flag),
         theirs);
    if (theirs == 0) {
        let_removed_go(sides);
    }
}
