/* Steps of the differential test: rename, links, nodes, attributes, working directory. */
#include "cases/fs_differential.h"
#include "lib/test.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Is this path of the kernel's DEEP, or below it? */
static bool is_deep(const struct player *player, const char *path)
{
    return strncmp(path, player->start, strlen(player->start)) == 0;
}

void go_home_if_lost(struct player *player)
{
    char ours[PATH_MAX];
    char kernels[PATH_MAX];
    player->what = "getcwd";
    long result = hf_getcwd(player->fs, ours, sizeof ours);
    long theirs = getcwd(kernels, sizeof kernels) == NULL ? -errno : (long)strlen(kernels) + 1;
    if (theirs > 0) {
        const size_t outside = strlen(player->world->outside);
        same(player, result, theirs - (long)outside);
        same(player, strcmp(ours, kernels + outside), 0);
    } else {
        same(player, result, theirs);
    }
    if (theirs < 0 || !is_deep(player, kernels)) {
        CHECK_EQUAL(chdir(player->start), 0);
        CHECK_EQUAL(hf_chdir(player->fs, "/" DEEP), 0);
    }
}

/* Where a relative path starts: mostly the working directory, else something that is open, or
 * nothing. */
static struct pair choose_base(struct player *player)
{
    const struct pair cwd = {HF_AT_FDCWD, AT_FDCWD};
    char name[40];
    char path[PATH_MAX];

    if (below(player, 3) != 0 || player->file_count == 0) {
        return below(player, 100) == 0 ? (struct pair){-1, -1} : cwd;
    }
    const struct pair pair = player->files[below(player, (unsigned)player->file_count)];
    snprintf(name, sizeof name, "/proc/self/fd/%d", pair.kernels);
    ssize_t length = readlink(name, path, sizeof path - 1);
    CHECK(length > 0);
    path[length] = '\0';
    return is_deep(player, path) ? pair : cwd;
}

/* Mostly one of the flags there are, now and then none that there is. */
static int choose_flags(struct player *player, const int *flags, size_t count)
{
    if (below(player, 30) == 0) {
        return 1 << (10 + below(player, 20));
    }
    return flags[below(player, (unsigned)count)];
}

#define CHOOSE_FLAGS(player, flags) choose_flags(player, flags, sizeof flags / sizeof flags[0])

static const int at_flags[] = {
    0, 0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW};

/* Flags that may be in play: now and then with an empty path, which they are about. */
static void maybe_empty(struct player *player)
{
    if (below(player, 8) == 0) {
        player->path[0] = '\0';
    }
}

/* ---- names ---- */

static void step_rename(struct player *player)
{
    static const int flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE, 3};
    const int chosen = CHOOSE_FLAGS(player, flags);
    const struct pair from = choose_base(player);
    const struct pair to = choose_base(player);
    player->what = "rename";
    if (ends_in_link(player->path) || ends_in_link(player->second)) {
        return;
    }
    if (chosen == 0) {
        same(player,
             hf_renameat(player->fs, from.ours, player->path, to.ours, player->second),
             kernel(renameat(from.kernels, player->path, to.kernels, player->second)));
        return;
    }
    player->what = "renameat2";
    same(player,
         hf_renameat2(
             player->fs, from.ours, player->path, to.ours, player->second, (unsigned)chosen),
         kernel(
             renameat2(from.kernels, player->path, to.kernels, player->second, (unsigned)chosen)));
}

static void step_link(struct player *player)
{
    static const int flags[] = {0, 0, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH};
    const int chosen = CHOOSE_FLAGS(player, flags);
    const struct pair from = choose_base(player);
    const struct pair to = choose_base(player);
    player->what = "linkat";
    if ((chosen & AT_EMPTY_PATH) != 0) {
        maybe_empty(player);
    }
    if (ends_in_link(player->path) || ends_in_link(player->second)) {
        return;
    }
    same(player,
         hf_linkat(player->fs, from.ours, player->path, to.ours, player->second, chosen),
         kernel(linkat(from.kernels, player->path, to.kernels, player->second, chosen)));
}

/* None of them leads up, but by the way of "up". */
static void step_symlink(struct player *player)
{
    static const char *const targets[] = {"a", "b/", "c/a", "d/./link", "up", "none", ".", "", "d"};
    const char *target = targets[below(player, sizeof targets / sizeof targets[0])];
    const struct pair base = choose_base(player);
    player->what = "symlink";
    if (!ends_in_link(player->path)) {
        same(player,
             hf_symlinkat(player->fs, target, base.ours, player->path),
             kernel(symlinkat(target, base.kernels, player->path)));
    }
}

static void step_readlink(struct player *player)
{
    char ours[32] = "";
    char kernels[32] = "";
    const size_t size = below(player, sizeof ours);
    const struct pair base = choose_base(player);
    player->what = "readlink";
    maybe_empty(player);
    same(player,
         hf_readlinkat(player->fs, base.ours, player->path, ours, size),
         kernel(readlinkat(base.kernels, player->path, kernels, size)));
    same(player, memcmp(ours, kernels, sizeof ours), 0);
}

static void step_mknod(struct player *player)
{
    static const mode_t types[] = {
        S_IFIFO, S_IFIFO, S_IFREG, 0, S_IFSOCK, S_IFCHR, S_IFDIR, S_IFMT};
    const mode_t mode = types[below(player, sizeof types / sizeof types[0])] | below(player, 01000);
    const dev_t device = S_ISCHR(mode) ? makedev(1, 3) : 0;
    const struct pair base = choose_base(player);
    player->what = "mknod";
    same(player,
         hf_mknodat(player->fs, base.ours, player->path, mode, device),
         kernel(mknodat(base.kernels, player->path, mode, device)));
}

static void step_mkdir_at(struct player *player)
{
    const struct pair base = choose_base(player);
    const mode_t mode = 0700 | below(player, 0100);
    player->what = "mkdirat";
    same(player,
         hf_mkdirat(player->fs, base.ours, player->path, mode),
         kernel(mkdirat(base.kernels, player->path, mode)));
}

static void step_unlink_at(struct player *player)
{
    static const int flags[] = {0, AT_REMOVEDIR};
    const int chosen = CHOOSE_FLAGS(player, flags);
    const struct pair base = choose_base(player);
    player->what = "unlinkat";
    if (!ends_in_link(player->path)) {
        same(player,
             hf_unlinkat(player->fs, base.ours, player->path, chosen),
             kernel(unlinkat(base.kernels, player->path, chosen)));
    }
}

static void step_open_at(struct player *player)
{
    struct stat attributes;
    const struct pair base = choose_base(player);
    const int flags = (int)below(player, 3) | (below(player, 2) == 0 ? O_CREAT : 0);
    player->what = "openat";
    if (fstatat(base.kernels, player->path, &attributes, 0) == 0 && !S_ISREG(attributes.st_mode) &&
        !S_ISDIR(attributes.st_mode)) {
        return;
    }
    const mode_t mode = 0600 | below(player, 0100);
    const int ours = hf_openat(player->fs, base.ours, player->path, flags, mode);
    const int kernels = (int)kernel(openat(base.kernels, player->path, flags, mode));
    same(player, ours < 0 ? ours : 0, kernels < 0 ? kernels : 0);
    if (ours >= 0) {
        same(player, hf_close(player->fs, ours), kernel(close(kernels)));
    }
}

/* ---- attributes ---- */

static void step_stat_at(struct player *player)
{
    struct stat ours;
    struct stat kernels;
    const int flags = CHOOSE_FLAGS(player, at_flags);
    const struct pair base = choose_base(player);
    player->what = "fstatat";
    maybe_empty(player);
    int result = hf_fstatat(player->fs, base.ours, player->path, &ours, flags);
    same(player, result, kernel(fstatat(base.kernels, player->path, &kernels, flags)));
    if (result == 0) {
        same_attributes(player, &ours, &kernels);
    }
}

static void step_statx(struct player *player)
{
    struct statx ours;
    struct statx kernels;
    const int flags = CHOOSE_FLAGS(player, at_flags);
    const unsigned mask = below(player, 2) == 0 ? STATX_BASIC_STATS : STATX_ALL;
    const struct pair base = choose_base(player);
    player->what = "statx";
    maybe_empty(player);
    int result = hf_statx(player->fs, base.ours, player->path, flags, mask, &ours);
    same(player, result, kernel(statx(base.kernels, player->path, flags, mask, &kernels)));
    if (result == 0) {
        same(player, ours.stx_mask & mask, kernels.stx_mask & mask);
        same(player, ours.stx_mode, kernels.stx_mode);
        same(player, ours.stx_nlink, kernels.stx_nlink);
        same(player, ours.stx_uid, kernels.stx_uid);
        same(player, ours.stx_gid, kernels.stx_gid);
        same(player, ours.stx_dev_minor, kernels.stx_dev_minor);
        same(player, ours.stx_rdev_minor, kernels.stx_rdev_minor);
        if (!S_ISDIR(ours.stx_mode)) {
            same(player, (long)ours.stx_size, (long)kernels.stx_size);
        }
    }
}

static void step_access(struct player *player)
{
    static const int flags[] = {0, 0, AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH};
    const int chosen = CHOOSE_FLAGS(player, flags);
    const int mode = (int)below(player, 9);
    const struct pair base = choose_base(player);
    player->what = "faccessat";
    maybe_empty(player);
    same(player,
         hf_faccessat(player->fs, base.ours, player->path, mode, chosen),
         kernel(faccessat(base.kernels, player->path, mode, chosen)));
}

static void step_chmod(struct player *player)
{
    static const int flags[] = {0, 0, AT_SYMLINK_NOFOLLOW};
    /* The C library has AT_EMPTY_PATH only where the kernel does. */
    const int chosen = CHOOSE_FLAGS(player, flags) & ~AT_EMPTY_PATH;
    /* Everybody may go on here, whoever runs the test. */
    const mode_t mode = 0700 | below(player, 010000);
    const struct pair base = choose_base(player);
    player->what = "fchmodat";
    same(player,
         hf_fchmodat(player->fs, base.ours, player->path, mode, chosen),
         kernel(fchmodat(base.kernels, player->path, mode, chosen)));
}

static uid_t choose_id(struct player *player)
{
    static const uid_t ids[] = {0, 1000, (uid_t)-1};
    return geteuid() == 0 ? ids[below(player, 3)] : below(player, 2) == 0 ? geteuid() : (uid_t)-1;
}

static void step_chown(struct player *player)
{
    const int flags = CHOOSE_FLAGS(player, at_flags);
    const uid_t owner = choose_id(player);
    const gid_t group = (gid_t)choose_id(player);
    const struct pair base = choose_base(player);
    player->what = "fchownat";
    maybe_empty(player);
    same(player,
         hf_fchownat(player->fs, base.ours, player->path, owner, group, flags),
         kernel(fchownat(base.kernels, player->path, owner, group, flags)));
}

static void choose_times(struct player *player, struct timespec times[2])
{
    static const long nanoseconds[] = {0, 500, 999999999, UTIME_OMIT, UTIME_NOW, 1000000000, -5};
    for (int i = 0; i < 2; i++) {
        times[i].tv_sec = (time_t)below(player, TIMES_SET);
        times[i].tv_nsec = nanoseconds[below(player, below(player, 5) == 0 ? 7 : 5)];
    }
}

static void step_utimens(struct player *player)
{
    struct timespec times[2];
    const int flags = CHOOSE_FLAGS(player, at_flags);
    const struct timespec *chosen = below(player, 5) == 0 ? NULL : times;
    const struct pair base = choose_base(player);
    player->what = "utimensat";
    choose_times(player, times);
    maybe_empty(player);
    same(player,
         hf_utimensat(player->fs, base.ours, player->path, chosen, flags),
         kernel(utimensat(base.kernels, player->path, chosen, flags)));
}

static void step_change_file(struct player *player)
{
    struct timespec times[2];
    if (player->file_count == 0) {
        return;
    }
    const struct pair pair = player->files[below(player, (unsigned)player->file_count)];
    const mode_t mode = 0700 | below(player, 010000);
    const uid_t owner = choose_id(player);
    switch (below(player, 3)) {
    case 0:
        player->what = "fchmod";
        same(player, hf_fchmod(player->fs, pair.ours, mode), kernel(fchmod(pair.kernels, mode)));
        break;
    case 1:
        player->what = "fchown";
        same(player,
             hf_fchown(player->fs, pair.ours, owner, (gid_t)-1),
             kernel(fchown(pair.kernels, owner, (gid_t)-1)));
        break;
    default:
        player->what = "futimens";
        choose_times(player, times);
        same(player,
             hf_futimens(player->fs, pair.ours, times),
             kernel(futimens(pair.kernels, times)));
        break;
    }
}

/* ---- the process ---- */

static void step_chdir(struct player *player)
{
    const struct pair base = choose_base(player);
    if (below(player, 2) == 0 && base.ours != HF_AT_FDCWD) {
        player->what = "fchdir";
        same(player, hf_fchdir(player->fs, base.ours), kernel(fchdir(base.kernels)));
    } else {
        player->what = "chdir";
        same(player, hf_chdir(player->fs, player->path), kernel(chdir(player->path)));
    }
}

static void step_umask(struct player *player)
{
    static const mode_t masks[] = {022, 022, 0, 077, 027, 07022};
    const mode_t mask = masks[below(player, sizeof masks / sizeof masks[0])];
    player->what = "umask";
    same(player, hf_umask(player->fs, mask), umask(mask));
}

static void step_statfs(struct player *player)
{
    struct statfs ours = {0};
    struct statfs kernels = {0};
    player->what = "statfs";
    same(
        player, hf_statfs(player->fs, player->path, &ours), kernel(statfs(player->path, &kernels)));
    same(player, ours.f_type, kernels.f_type);
}

void step_on_names(struct player *player, unsigned which)
{
    static void (*const steps[NAME_STEPS])(struct player *) = {
        step_rename,  step_rename,    step_rename,      step_rename, step_rename,   step_link,
        step_link,    step_symlink,   step_symlink,     step_mknod,  step_readlink, step_mkdir_at,
        step_open_at, step_unlink_at, step_stat_at,     step_statx,  step_access,   step_chmod,
        step_chown,   step_utimens,   step_change_file, step_chdir,  step_umask,    step_statfs,
    };
    steps[which](player);
}
