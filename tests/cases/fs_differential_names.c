/* The differential test: operations on names. */
#include "cases/fs_differential.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool is_special(struct player *player, int at, const char *path, int flags)
{
    struct stat found;
    const long result = CALL(player->fs,
                             hf_fstatat(player->fs, at, path, &found, flags),
                             fstatat(at, path, &found, flags));
    return result == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode);
}

void open_file_at(struct player *player)
{
    hf_fs *fs = player->fs;
    const bool is_plain = below(player, 3) != 0;
    const int at = is_plain ? HF_AT_FDCWD : choose_at(player);
    const char *path = choose_path(player);
    const int chosen = choose_open_flags(player);
    const mode_t mode = choose_mode(player);
    const bool special = (chosen & O_PATH) == 0 && is_special(player, at, path, 0);
    const int flags = chosen | (special ? O_NONBLOCK : 0);
    if (special && player->sequence->served) {
        return;
    }
    calls(player, "openat(%d, \"%.60s\", %#o, %#o)", at, path, (unsigned)flags, mode);
    if (is_plain) {
        sees_result(player, CALL(fs, hf_open(fs, path, flags, mode), open(path, flags, mode)));
    } else {
        sees_result(player,
                    CALL(fs, hf_openat(fs, at, path, flags, mode), openat(at, path, flags, mode)));
    }
}

void make_directory(struct player *player)
{
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path(player);
    const mode_t mode = choose_mode(player);
    calls(player, "mkdirat(%d, \"%.60s\", %#o)", at, path, mode);
    if (at == HF_AT_FDCWD) {
        sees_result(player, CALL(fs, hf_mkdir(fs, path, mode), mkdir(path, mode)));
    } else {
        sees_result(player, CALL(fs, hf_mkdirat(fs, at, path, mode), mkdirat(at, path, mode)));
    }
}

void make_node(struct player *player)
{
    static const mode_t types[] = {
        S_IFIFO, S_IFREG, 0, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR, S_IFLNK, S_IFMT};
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path(player);
    const mode_t mode = CHOOSE(player, types) | choose_mode(player);
    static const unsigned devices[] = {3, 3, 5, 7, 250}; /* null, zero, full, none */
    const dev_t device = S_ISCHR(mode) ? makedev(1, CHOOSE(player, devices)) : 0;
    calls(player, "mknodat(%d, \"%.60s\", %#o)", at, path, mode);
    if (S_ISFIFO(mode) && at == HF_AT_FDCWD) {
        sees_result(player, CALL(fs, hf_mkfifo(fs, path, mode), mkfifo(path, mode)));
    } else if (S_ISFIFO(mode)) {
        sees_result(player, CALL(fs, hf_mkfifoat(fs, at, path, mode), mkfifoat(at, path, mode)));
    } else if (at == HF_AT_FDCWD) {
        sees_result(player, CALL(fs, hf_mknod(fs, path, mode, device), mknod(path, mode, device)));
    } else {
        sees_result(
            player,
            CALL(fs, hf_mknodat(fs, at, path, mode, device), mknodat(at, path, mode, device)));
    }
}

void make_symlink(struct player *player)
{
    hf_fs *fs = player->fs;
    static const char *const usual[] = {"a", "b/", "c/a", "d/./link", "up", "none", ".", "", "/c"};
    const int at = choose_at(player);
    const char *path = choose_path(player);
    char chosen[PATH_ROOM];
    const char *target = CHOOSE(player, usual);
    if (below(player, 8) == 0) {
        snprintf(chosen, sizeof chosen, "%s", choose_path(player));
        player->path_count--; /* nothing that the call touches */
        target = chosen;
    }
    calls(player, "symlinkat(\"%.60s\", %d, \"%.60s\")", target, at, path);
    if (at == HF_AT_FDCWD) {
        sees_result(player, CALL(fs, hf_symlink(fs, target, path), symlink(target, path)));
    } else {
        sees_result(player,
                    CALL(fs, hf_symlinkat(fs, target, at, path), symlinkat(target, at, path)));
    }
}

void make_link(struct player *player)
{
    static const int usual[] = {0, 0, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH};
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path(player);
    int flags = below(player, 30) == 0 ? choose_at_flags(player) : CHOOSE(player, usual);
    if (player->sequence->unprivileged && player->sequence->players > 1) {
        /* To link what it has open takes a privilege for who did not open it itself, as after a
         * fork; but not by way of /proc, which is how we do it. */
        flags &= ~AT_EMPTY_PATH;
    }
    if ((flags & AT_EMPTY_PATH) != 0 && below(player, 2) == 0) {
        player->paths[0][0] = '\0';
    }
    const int new_at = choose_at(player);
    const char *new_path = choose_path(player);
    calls(player, "linkat(%d, \"%.60s\", %d, \"%.60s\", %#x)", at, path, new_at, new_path, flags);
    if (flags == 0 && at == HF_AT_FDCWD && new_at == HF_AT_FDCWD) {
        sees_result(player, CALL(fs, hf_link(fs, path, new_path), link(path, new_path)));
    } else {
        sees_result(player,
                    CALL(fs,
                         hf_linkat(fs, at, path, new_at, new_path, flags),
                         linkat(at, path, new_at, new_path, flags)));
    }
}

void remove_name(struct player *player)
{
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path(player);
    const int flags = below(player, 30) == 0  ? choose_at_flags(player)
                      : below(player, 3) == 0 ? AT_REMOVEDIR
                                              : 0;
    calls(player, "unlinkat(%d, \"%.60s\", %#x)", at, path, flags);
    if (at == HF_AT_FDCWD && flags == 0) {
        sees_result(player, CALL(fs, hf_unlink(fs, path), unlink(path)));
    } else if (at == HF_AT_FDCWD && flags == AT_REMOVEDIR) {
        sees_result(player, CALL(fs, hf_rmdir(fs, path), rmdir(path)));
    } else {
        sees_result(player, CALL(fs, hf_unlinkat(fs, at, path, flags), unlinkat(at, path, flags)));
    }
}

void rename_it(struct player *player)
{
    static const unsigned usual[] = {0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, 3, 4};
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path(player);
    const int new_at = choose_at(player);
    const char *new_path = choose_path(player);
    unsigned flags = below(player, 40) == 0 ? 1U << below(player, 31) : CHOOSE(player, usual);
    flags &= player->sequence->served ? ~(unsigned)RENAME_WHITEOUT : UINT_MAX;
    calls(
        player, "renameat2(%d, \"%.60s\", %d, \"%.60s\", %#x)", at, path, new_at, new_path, flags);
    if (flags == 0 && at == HF_AT_FDCWD && new_at == HF_AT_FDCWD) {
        sees_result(player, CALL(fs, hf_rename(fs, path, new_path), rename(path, new_path)));
    } else if (flags == 0) {
        sees_result(player,
                    CALL(fs,
                         hf_renameat(fs, at, path, new_at, new_path),
                         renameat(at, path, new_at, new_path)));
    } else {
        sees_result(player,
                    CALL(fs,
                         hf_renameat2(fs, at, path, new_at, new_path, flags),
                         renameat2(at, path, new_at, new_path, flags)));
    }
}

void read_link(struct player *player)
{
    char target[200] = "";
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path_or_empty(player);
    const size_t size = below(player, 4) == 0 ? below(player, 5) : sizeof target;
    calls(player, "readlinkat(%d, \"%.60s\", %zu)", at, path, size);
    if (at == HF_AT_FDCWD) {
        sees_result(player,
                    CALL(fs, hf_readlink(fs, path, target, size), readlink(path, target, size)));
    } else {
        sees_result(player,
                    CALL(fs,
                         hf_readlinkat(fs, at, path, target, size),
                         readlinkat(at, path, target, size)));
    }
    sees_bytes(player, target, sizeof target);
}
