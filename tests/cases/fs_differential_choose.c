/*
 * The differential test: arguments. Mostly those that lead somewhere, now and then any others.
 *
 * What is never chosen, because the two sides are known to differ or the result is not theirs to
 * say:
 * - the sticky bit together with writing for all: whether links and files in such a directory may
 *   be followed and opened is up to settings of the machine (fs.protected_*);
 * - sizes between a few pages and more than any disk has: they would be taken;
 * - fcntl() commands for locks, leases, signals and pipes: here they are -EINVAL, as fs.h says;
 * - flags of open() that Linux ignores: here they are -EINVAL, as fs.h says;
 * - O_DIRECT: what it asks of addresses and sizes is up to the host;
 * - positions in a directory, but for those that a pass came by.
 *
 * And on served mounts, see sequence->served: opening pipes, devices and sockets; shared mappings;
 * whiteouts; access lists; FALLOC_FL_ZERO_RANGE, which tmpfs does not have; what statfs() and statx()
 * say of the filesystem itself.
 */
#include "cases/fs_differential.h"

#include <limits.h>
#include <string.h>

/* ---- paths ---- */

static const char name_255[] =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
    "4567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
    "8901234567890123456789012345678901234567890123456789012345678901234";

static const char *choose_name(struct player *player)
{
    static const char *const usual[] = {"a", "b", "c", "d", "a", "b", "c", "d", "e"};
    static const char *const links[] = {
        "link", "up", "dangling", "self", "slash", "absolute", "far", "here"};
    static const char *const odd[] = {
        "longer_name", "\xff\x01 \n\\", "...", "a ", name_255, "none", "d/", "a/"};
    const unsigned kind = below(player, 16);
    if (kind < 10) {
        return CHOOSE(player, usual);
    }
    if (kind < 12) {
        return CHOOSE(player, links);
    }
    if (kind == 12) {
        return CHOOSE(player, odd);
    }
    return kind == 13 ? ".." : kind == 14 ? "." : "c";
}

static size_t add(char *path, size_t length, const char *part)
{
    const size_t size = strlen(part);
    if (length + size < PATH_ROOM) {
        memcpy(path + length, part, size + 1);
        return length + size;
    }
    return length;
}

/* The limits: of a name, of a path, and of the links that a path may lead through. */
static void choose_extreme_path(struct player *player, char *path)
{
    const unsigned kind = below(player, 6);
    size_t length = 0;
    if (kind == 0) {
        length = add(path, add(path, length, name_255), "6"); /* 256 bytes */
        if (below(player, 2) == 0) {
            add(path, length, "/a");
        }
    } else if (kind == 1) {
        const size_t wanted = PATH_MAX - 3 + below(player, 5);
        while (length + 2 <= wanted) {
            length = add(path, length, "./");
        }
        add(path, length, length < wanted ? "a" : "");
    } else if (kind == 2) {
        const unsigned links = 38 + below(player, 5);
        for (unsigned i = 0; i < links; i++) {
            length = add(path, length, "here/");
        }
        add(path, length, below(player, 2) == 0 ? "a" : "link");
    } else if (kind == 3) {
        add(path, 0, "/");
    } else if (kind == 4) {
        add(path, 0, "//..///./../c//");
    } else {
        path[0] = '\0';
    }
}

const char *choose_path(struct player *player)
{
    char *path = player->paths[player->path_count++];
    size_t length = 0;
    path[0] = '\0';
    if (below(player, 40) == 0) {
        choose_extreme_path(player, path);
        return path;
    }
    const unsigned components = below(player, 2) == 0 ? 1 : 1 + below(player, 4);
    if (below(player, 8) == 0) {
        length = add(path, length, "/");
    }
    for (unsigned i = 0; i < components; i++) {
        const bool slash = i + 1 < components || below(player, 12) == 0;
        length = add(path, length, choose_name(player));
        length = add(path, length, !slash ? "" : below(player, 12) == 0 ? "//" : "/");
    }
    return path;
}

const char *choose_path_or_empty(struct player *player)
{
    const char *path = choose_path(player);
    if (below(player, 8) == 0) {
        player->paths[player->path_count - 1][0] = '\0';
    }
    return path;
}

/* ---- descriptors ---- */

static int choose_number(struct player *player)
{
    static const int odd[] = {-1, 30, 77, 100000, INT_MIN, INT_MAX, HF_AT_FDCWD};
    return below(player, 16) == 0 ? CHOOSE(player, odd) : (int)below(player, 6);
}

int choose_fd(struct player *player)
{
    const int fd = choose_number(player);
    player->fds[player->fd_count++] = fd;
    return fd;
}

int choose_at(struct player *player)
{
    const int at = below(player, 3) != 0 ? HF_AT_FDCWD : choose_number(player);
    player->ats[player->path_count] = at;
    return at;
}

/* ---- numbers ---- */

mode_t choose_mode(struct player *player)
{
    static const mode_t usual[] = {0644, 0755, 0700, 0600, 0777, 0, 0111, 0400, 0500, 0222};
    mode_t mode = below(player, 2) == 0 ? CHOOSE(player, usual) : below(player, 010000);
    if ((mode & S_ISVTX) != 0) {
        mode &= ~(mode_t)S_IWOTH;
    }
    return mode;
}

off_t choose_offset(struct player *player)
{
    static const off_t odd[] = {
        -1, 4095, 4096, 9000, INT64_C(1) << 45, INT64_MAX - 5, INT64_MAX, INT64_MIN};
    return below(player, 8) == 0 ? CHOOSE(player, odd) : (off_t)below(player, 90);
}

off_t choose_size(struct player *player)
{
    static const off_t odd[] = {0, -1, 4096, 8192, 5000, INT64_MAX, INT64_MIN};
    return below(player, 6) == 0 ? CHOOSE(player, odd) : (off_t)below(player, 100);
}

int choose_open_flags(struct player *player)
{
    static const int extra[] = {
        0,
        0,
        O_CREAT,
        O_CREAT,
        O_CREAT,
        O_CREAT | O_EXCL,
        O_CREAT | O_TRUNC,
        O_TRUNC,
        O_CREAT | O_APPEND,
        O_APPEND,
        O_DIRECTORY,
        O_PATH,
        O_PATH | O_NOFOLLOW,
        O_PATH | O_NOFOLLOW | O_CLOEXEC,
        O_PATH | O_DIRECTORY,
        O_PATH | O_CREAT | O_TRUNC,
        O_NOFOLLOW,
        O_NOFOLLOW | O_CREAT,
        O_NOFOLLOW | O_CREAT | O_EXCL,
        O_NOFOLLOW | O_DIRECTORY,
        O_TMPFILE,
        O_TMPFILE | O_EXCL | O_CLOEXEC,
        O_TMPFILE | O_NOFOLLOW | O_APPEND,
        O_TMPFILE | O_CREAT,
        O_DIRECTORY | O_CREAT,
        O_CLOEXEC | O_NONBLOCK | O_NOATIME,
        O_CREAT | O_SYNC,
        O_DSYNC | O_NOCTTY | O_TRUNC | O_APPEND,
    };
    static const int all = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                           O_NONBLOCK | O_SYNC | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |
                           O_PATH | O_TMPFILE;
    if (below(player, 12) == 0) {
        return (int)(dice_next(&player->dice) & dice_next(&player->dice)) & all;
    }
    return CHOOSE(player, extra) | (int)below(player, below(player, 8) == 0 ? 4 : 3);
}

uid_t choose_id(struct player *player)
{
    static const uid_t ids[] = {0, NOBODY, (uid_t)-1, 1000};
    return CHOOSE(player, ids);
}

int choose_at_flags(struct player *player)
{
    static const int flags[] = {
        0, 0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW};
    return below(player, 30) == 0 ? 1 << (10 + below(player, 20)) : CHOOSE(player, flags);
}

const struct timespec *choose_times(struct player *player, struct timespec times[2])
{
    static const long nanoseconds[] = {0, 500, 999999999, UTIME_OMIT, UTIME_NOW, 1000000000, -5};
    for (int i = 0; i < 2; i++) {
        times[i].tv_sec = (time_t)below(player, TIMES_SET);
        times[i].tv_nsec = nanoseconds[below(player, below(player, 5) == 0 ? 7 : 5)];
    }
    return below(player, 5) == 0 ? NULL : times;
}
