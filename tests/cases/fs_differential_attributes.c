/* The differential test: operations on attributes, and on what the process has. */
#include "cases/fs_differential.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

void stat_path(struct player *player)
{
    struct stat found;
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path_or_empty(player);
    const int flags = choose_at_flags(player);
    long result;
    calls(player, "fstatat(%d, \"%.60s\", %#x)", at, path, flags);
    if (at == HF_AT_FDCWD && flags == 0) {
        result = CALL(fs, hf_stat(fs, path, &found), stat(path, &found));
    } else if (at == HF_AT_FDCWD && flags == AT_SYMLINK_NOFOLLOW) {
        result = CALL(fs, hf_lstat(fs, path, &found), lstat(path, &found));
    } else {
        result =
            CALL(fs, hf_fstatat(fs, at, path, &found, flags), fstatat(at, path, &found, flags));
    }
    sees_attributes(player, result, &found);
}

void stat_fd(struct player *player)
{
    struct stat found;
    const int fd = choose_fd(player);
    calls(player, "fstat(%d)", fd);
    sees_attributes(
        player, CALL(player->fs, hf_fstat(player->fs, fd, &found), fstat(fd, &found)), &found);
}

void statx_path(struct player *player)
{
    struct statx found;
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path_or_empty(player);
    static const int syncs[] = {0, 0, 0, AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC, 0x6000};
    const int flags = choose_at_flags(player) | CHOOSE(player, syncs);
    const unsigned masks[] = {STATX_BASIC_STATS, STATX_ALL, (unsigned)dice_next(&player->dice), 0};
    const unsigned mask = CHOOSE(player, masks);
    calls(player, "statx(%d, \"%.60s\", %#x, %#x)", at, path, flags, mask);
    long result =
        CALL(fs, hf_statx(fs, at, path, flags, mask, &found), statx(at, path, flags, mask, &found));
    sees_result(player, result);
    if (result == 0) {
        const struct timespec modified = {found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec};
        const bool has_time = (mask & STATX_MTIME) != 0;
        const unsigned known = player->sequence->served ? STATX_BASIC_STATS : UINT_MAX;
        sees(player,
             " mask %x mode %o links %u owner %u:%u size %ld modified %s",
             found.stx_mask & mask & known,
             found.stx_mode,
             found.stx_nlink,
             found.stx_uid,
             found.stx_gid,
             (long)found.stx_size,
             has_time ? time_text(&modified).text : "");
    }
}

void access_path(struct player *player)
{
    static const int usual[] = {0, 0, AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH};
    hf_fs *fs = player->fs;
    const int at = choose_at(player);
    const char *path = choose_path_or_empty(player);
    const int flags = below(player, 30) == 0 ? choose_at_flags(player) : CHOOSE(player, usual);
    const int mode = (int)below(player, 9);
    calls(player, "faccessat(%d, \"%.60s\", %d, %#x)", at, path, mode, flags);
    if (at == HF_AT_FDCWD && flags == 0) {
        sees_result(player, CALL(fs, hf_access(fs, path, mode), access(path, mode)));
    } else {
        sees_result(
            player,
            CALL(fs, hf_faccessat(fs, at, path, mode, flags), faccessat(at, path, mode, flags)));
    }
}

/* Newer than some C libraries, whose own way needs /proc. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static bool has_mode_flags(void)
{
    return syscall(SYS_fchmodat2, -1, "", 0, 0) < 0 && errno != ENOSYS;
}

void change_mode(struct player *player)
{
    hf_fs *fs = player->fs;
    const mode_t mode = choose_mode(player);
    if (below(player, 4) == 0) {
        const int fd = choose_fd(player);
        calls(player, "fchmod(%d, %#o)", fd, mode);
        sees_result(player, CALL(fs, hf_fchmod(fs, fd, mode), fchmod(fd, mode)));
        return;
    }
    const int flags = has_mode_flags() ? choose_at_flags(player) : 0;
    const int at = choose_at(player);
    const char *path = choose_path_or_empty(player);
    calls(player, "fchmodat(%d, \"%.60s\", %#o, %#x)", at, path, mode, flags);
    if (at == HF_AT_FDCWD && flags == 0) {
        sees_result(player, CALL(fs, hf_chmod(fs, path, mode), chmod(path, mode)));
    } else {
        sees_result(player,
                    CALL(fs,
                         hf_fchmodat(fs, at, path, mode, flags),
                         flags == 0 ? fchmodat(at, path, mode, 0)
                                    : syscall(SYS_fchmodat2, at, path, mode, flags)));
    }
}

void change_owner(struct player *player)
{
    hf_fs *fs = player->fs;
    const uid_t owner = choose_id(player);
    const gid_t group = choose_id(player);
    if (below(player, 4) == 0) {
        const int fd = choose_fd(player);
        calls(player, "fchown(%d, %d, %d)", fd, (int)owner, (int)group);
        sees_result(player, CALL(fs, hf_fchown(fs, fd, owner, group), fchown(fd, owner, group)));
        return;
    }
    const int flags = choose_at_flags(player);
    const int at = choose_at(player);
    const char *path = choose_path_or_empty(player);
    calls(player, "fchownat(%d, \"%.60s\", %d, %d, %#x)", at, path, (int)owner, (int)group, flags);
    if (at == HF_AT_FDCWD && flags == 0) {
        sees_result(player, CALL(fs, hf_chown(fs, path, owner, group), chown(path, owner, group)));
    } else if (at == HF_AT_FDCWD && flags == AT_SYMLINK_NOFOLLOW) {
        sees_result(player,
                    CALL(fs, hf_lchown(fs, path, owner, group), lchown(path, owner, group)));
    } else {
        sees_result(player,
                    CALL(fs,
                         hf_fchownat(fs, at, path, owner, group, flags),
                         fchownat(at, path, owner, group, flags)));
    }
}

static void call_times(struct player *player, const char *what, const struct timespec *times)
{
    if (times == NULL) {
        calls(player, "%s, NULL)", what);
    } else {
        calls(player,
              "%s, %ld.%ld %ld.%ld)",
              what,
              (long)times[0].tv_sec,
              times[0].tv_nsec,
              (long)times[1].tv_sec,
              times[1].tv_nsec);
    }
}

void change_times(struct player *player)
{
    struct timespec chosen[2];
    char what[CALL_TEXT / 2];
    hf_fs *fs = player->fs;
    const struct timespec *times = choose_times(player, chosen);
    if (below(player, 4) == 0) {
        const int fd = choose_fd(player);
        snprintf(what, sizeof what, "futimens(%d", fd);
        call_times(player, what, times);
        sees_result(player, CALL(fs, hf_futimens(fs, fd, times), futimens(fd, times)));
        return;
    }
    const int flags = choose_at_flags(player);
    const int at = choose_at(player);
    const char *path = choose_path_or_empty(player);
    snprintf(what, sizeof what, "utimensat(%d, \"%.60s\", %#x", at, path, flags);
    call_times(player, what, times);
    sees_result(
        player,
        CALL(fs, hf_utimensat(fs, at, path, times, flags), utimensat(at, path, times, flags)));
}

void statfs_it(struct player *player)
{
    struct statfs found = {0};
    hf_fs *fs = player->fs;
    if (below(player, 2) == 0) {
        const int fd = choose_fd(player);
        calls(player, "fstatfs(%d)", fd);
        sees_result(player, CALL(fs, hf_fstatfs(fs, fd, &found), fstatfs(fd, &found)));
    } else {
        const char *path = choose_path(player);
        calls(player, "statfs(\"%.60s\")", path);
        sees_result(player, CALL(fs, hf_statfs(fs, path, &found), statfs(path, &found)));
    }
    if (!player->sequence->served) {
        sees(player, " type %lx", (unsigned long)found.f_type);
    }
}

/* ---- the process ---- */

void change_cwd(struct player *player)
{
    hf_fs *fs = player->fs;
    if (below(player, 3) == 0) {
        const int fd = choose_fd(player);
        calls(player, "fchdir(%d)", fd);
        sees_result(player, CALL(fs, hf_fchdir(fs, fd), fchdir(fd)));
        return;
    }
    const char *path = choose_path(player);
    calls(player, "chdir(\"%.60s\")", path);
    sees_result(player, CALL(fs, hf_chdir(fs, path), chdir(path)));
}

void get_cwd(struct player *player)
{
    char cwd[PATH_MAX] = "";
    const size_t size = below(player, 6) == 0 ? below(player, 5) : sizeof cwd;
    calls(player, "getcwd(%zu)", size);
    /* As the system call: the C library's makes something of a size of 0. */
    if (size == 0 && player->fs == NULL) {
        sees(player, " -EINVAL");
    } else if (player->fs != NULL) {
        sees_result(player, hf_getcwd(player->fs, cwd, size));
    } else {
        sees_result(player, getcwd(cwd, size) == NULL ? -errno : (long)strlen(cwd) + 1);
    }
    sees(player, " %.100s", cwd);
}

void change_umask(struct player *player)
{
    static const mode_t masks[] = {022, 022, 0, 077, 027, 07022, 0777};
    const mode_t mask = CHOOSE(player, masks);
    calls(player, "umask(%#o)", mask);
    sees(player, " %#lo", CALL(player->fs, hf_umask(player->fs, mask), umask(mask)));
}

/* ---- extended attributes ---- */

#define TEXT_60 "012345678901234567890123456789012345678901234567890123456789"
#define TEXT_240 TEXT_60 TEXT_60 TEXT_60 TEXT_60

static const char *const xattr_names[] = {"user.a",
                                          "user.b",
                                          "user.a",
                                          "user.longer_than_the_others",
                                          "trusted.a",
                                          "user.",
                                          "a",
                                          "",
                                          "none.a",
                                          "security.a",
                                          "user.255_" TEXT_240 "bytes_",
                                          "user.256_" TEXT_240 "bytes__",
                                          "system.posix_acl_access",
                                          "system.posix_acl_default"};

static const char *choose_xattr_name(struct player *player)
{
    const char *name = CHOOSE(player, xattr_names);
    const bool is_list = strncmp(name, "system.", 7) == 0;
    return is_list && player->sequence->served ? "user.b" : name;
}

/* By path, by path without following, or by descriptor. */
struct xattr_target {
    const char *path; /* NULL: @fd */
    int fd;
    bool follow;
};

static struct xattr_target choose_xattr_target(struct player *player)
{
    struct xattr_target target = {.follow = below(player, 3) != 0};
    if (below(player, 3) == 0) {
        target.fd = choose_fd(player);
        /* With -100 newer kernels mean the working directory, as with an empty path: an accident
         * of how these calls are made. */
        target.fd = target.fd == AT_FDCWD ? -1 : target.fd;
    } else {
        target.path = choose_path(player);
    }
    return target;
}

/* What is called, but for the rest of the arguments. */
struct xattr_text {
    char text[100];
};

static struct xattr_text xattr_text(const char *what, const struct xattr_target *target)
{
    struct xattr_text out;
    if (target->path != NULL) {
        snprintf(out.text,
                 sizeof out.text,
                 "%s%s(\"%.60s\"",
                 target->follow ? "" : "l",
                 what,
                 target->path);
    } else {
        snprintf(out.text, sizeof out.text, "f%s(%d", what, target->fd);
    }
    return out;
}

/* Values that lead to the limits now and then: of what is cached, and of the host. */
static size_t choose_value_size(struct player *player)
{
    static const size_t odd[] = {0, 3000, 4090, 5000, XATTR_SIZE_MAX + 1};
    return below(player, 8) == 0 ? CHOOSE(player, odd) : below(player, 60);
}

/* An access list for nobody and a group, as it is kept; any bits may be in it. */
static size_t make_access_list(struct player *player, void *out)
{
    struct {
        uint32_t version;
        struct {
            uint16_t tag;
            uint16_t permissions;
            uint32_t id;
        } entries[6];
    } list = {2,
              {{0x01, 6, (uint32_t)-1},
               {0x02, 6, NOBODY},
               {0x04, 4, (uint32_t)-1},
               {0x08, 4, 1000},
               {0x10, 6, (uint32_t)-1},
               {0x20, 4, (uint32_t)-1}}};
    for (size_t i = 0; i < 6; i++) {
        list.entries[i].permissions = (uint16_t)below(player, 8);
    }
    memcpy(out, &list, sizeof list);
    return sizeof list;
}

void xattr_get(struct player *player)
{
    char value[6000] = "";
    hf_fs *fs = player->fs;
    const struct xattr_target on = choose_xattr_target(player);
    const char *name = choose_xattr_name(player);
    const size_t size = below(player, 4) == 0 ? below(player, 10) : sizeof value;
    long result;
    calls(player, "%s, \"%.60s\", %zu)", xattr_text("getxattr", &on).text, name, size);
    if (on.path == NULL) {
        result = CALL(
            fs, hf_fgetxattr(fs, on.fd, name, value, size), fgetxattr(on.fd, name, value, size));
    } else if (on.follow) {
        result = CALL(
            fs, hf_getxattr(fs, on.path, name, value, size), getxattr(on.path, name, value, size));
    } else {
        result = CALL(fs,
                      hf_lgetxattr(fs, on.path, name, value, size),
                      lgetxattr(on.path, name, value, size));
    }
    sees_result(player, result);
    sees_bytes(player, value, result > 60 ? (size_t)result : 60);
}

void xattr_set(struct player *player)
{
    char value[XATTR_SIZE_MAX + 1];
    hf_fs *fs = player->fs;
    const struct xattr_target on = choose_xattr_target(player);
    const char *name = choose_xattr_name(player);
    const bool is_list = strncmp(name, "system.", 7) == 0 && below(player, 4) != 0;
    size_t size = choose_value_size(player);
    const int flags = below(player, 2) == 0 ? 0 : (int)below(player, 5);
    long result;
    memset(value, 'a' + (int)below(player, 26), size);
    size = is_list ? make_access_list(player, value) : size;
    calls(player, "%s, \"%.60s\", %zu, %d)", xattr_text("setxattr", &on).text, name, size, flags);
    if (on.path == NULL) {
        result = CALL(fs,
                      hf_fsetxattr(fs, on.fd, name, value, size, flags),
                      fsetxattr(on.fd, name, value, size, flags));
    } else if (on.follow) {
        result = CALL(fs,
                      hf_setxattr(fs, on.path, name, value, size, flags),
                      setxattr(on.path, name, value, size, flags));
    } else {
        result = CALL(fs,
                      hf_lsetxattr(fs, on.path, name, value, size, flags),
                      lsetxattr(on.path, name, value, size, flags));
    }
    sees_result(player, result);
}

void xattr_list(struct player *player)
{
    char names[700] = "";
    uint64_t sum = 0;
    hf_fs *fs = player->fs;
    const struct xattr_target on = choose_xattr_target(player);
    const size_t size = below(player, 4) == 0 ? below(player, 10) : sizeof names;
    long result;
    calls(player, "%s, %zu)", xattr_text("listxattr", &on).text, size);
    if (on.path == NULL) {
        result = CALL(fs, hf_flistxattr(fs, on.fd, names, size), flistxattr(on.fd, names, size));
    } else if (on.follow) {
        result = CALL(fs, hf_listxattr(fs, on.path, names, size), listxattr(on.path, names, size));
    } else {
        result =
            CALL(fs, hf_llistxattr(fs, on.path, names, size), llistxattr(on.path, names, size));
    }
    for (const char *name = names; name < names + sizeof names; name += strlen(name) + 1) {
        sum += call_mix_bytes(0, name, strlen(name)); /* in any order */
    }
    sees_result(player, result);
    sees(player, " sum %016lx", (unsigned long)sum);
}

void xattr_remove(struct player *player)
{
    hf_fs *fs = player->fs;
    const struct xattr_target on = choose_xattr_target(player);
    const char *name = choose_xattr_name(player);
    long result;
    calls(player, "%s, \"%.60s\")", xattr_text("removexattr", &on).text, name);
    if (on.path == NULL) {
        result = CALL(fs, hf_fremovexattr(fs, on.fd, name), fremovexattr(on.fd, name));
    } else if (on.follow) {
        result = CALL(fs, hf_removexattr(fs, on.path, name), removexattr(on.path, name));
    } else {
        result = CALL(fs, hf_lremovexattr(fs, on.path, name), lremovexattr(on.path, name));
    }
    sees_result(player, result);
}
