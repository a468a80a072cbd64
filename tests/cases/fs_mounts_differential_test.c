/*
 * Random operations on a tree with mounts, and on the same tree with bind mounts of the kernel:
 * the same results and the same errors.
 *
 * Two processes make the same random choices. One does each step on the filesystem; the other,
 * with a mount namespace of its own and its root in the other tree, by system calls. Run with a
 * number to replay that seed alone, with every step printed; with a second number for so many
 * seeds from there on.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <holdfast/mount.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SEEDS 25
#define STEPS 1000
#define FILES 6
#define PATH_SIZE 64

/* One of the two processes. */
struct side {
    struct fs_world *world;
    hf_fs *fs; /* NULL: the kernel's */
    uint64_t seed;
    uint64_t random;
    bool verbose;
    int step;
    int below_fd;     /* the kernel's tree without what is mounted there */
    int files[FILES]; /* -1: none */
    const char *what;
    long seen; /* what the step found out, besides its result */
    char path[PATH_SIZE];
    char second[PATH_SIZE];
};

/* splitmix64 */
static unsigned below(struct side *side, unsigned limit)
{
    uint64_t bits = side->random += UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((bits ^ (bits >> 31)) >> 32) % limit;
}

static long kernel(long result)
{
    return result < 0 ? -errno : result;
}

/* This, or the same of the kernel's. */
#define BOTH(ours, kernels) (side->fs != NULL ? (long)(ours) : kernel(kernels))

static void choose_path(struct side *side, char path[PATH_SIZE])
{
    static const char *const names[] = {
        "a", "b", "c", "d", "a", "b", "c", "d", "e", "up", "abs", "rel", ".", "..", ".."};
    const int components = 1 + (int)below(side, 4);
    size_t length = 0;
    if (below(side, 3) == 0) {
        path[length++] = '/';
        path[length] = '\0';
    }
    for (int i = 0; i < components; i++) {
        const char *name = names[below(side, sizeof names / sizeof names[0])];
        const char *gap = i < components - 1 || below(side, 12) == 0 ? "/" : "";
        length += (size_t)snprintf(path + length, PATH_SIZE - length, "%s%s", name, gap);
    }
}

/* Links stay, so that not everything becomes one. */
static bool ends_in_link(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash == NULL ? path : slash + 1;
    return strcmp(last, "up") == 0 || strcmp(last, "abs") == 0 || strcmp(last, "rel") == 0;
}

/* What can be compared of a file, as its number cannot. */
static long digest(const struct stat *attributes)
{
    return (long)attributes->st_mode * 1000 + (long)attributes->st_nlink +
           (S_ISREG(attributes->st_mode) ? (long)attributes->st_size * 100000000 : 0);
}

static int choose_base(struct side *side)
{
    const int file = below(side, 3) == 0 ? side->files[below(side, FILES)] : -1;
    return file >= 0 ? file : AT_FDCWD;
}

/* ---- names ---- */

static long step_mkdir(struct side *side)
{
    const mode_t mode = 0700 | below(side, 0100);
    side->what = "mkdir";
    return BOTH(hf_mkdir(side->fs, side->path, mode), mkdir(side->path, mode));
}

static long step_rmdir(struct side *side)
{
    side->what = "rmdir";
    return BOTH(hf_rmdir(side->fs, side->path), rmdir(side->path));
}

static long step_unlink(struct side *side)
{
    side->what = "unlink";
    return ends_in_link(side->path) ? 0 : BOTH(hf_unlink(side->fs, side->path), unlink(side->path));
}

static long step_rename(struct side *side)
{
    static const unsigned flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    const unsigned chosen = flags[below(side, 5)];
    side->what = "renameat2";
    if (ends_in_link(side->path) || ends_in_link(side->second)) {
        return 0;
    }
    return BOTH(hf_renameat2(side->fs, HF_AT_FDCWD, side->path, HF_AT_FDCWD, side->second, chosen),
                renameat2(AT_FDCWD, side->path, AT_FDCWD, side->second, chosen));
}

static long step_link(struct side *side)
{
    side->what = "link";
    if (ends_in_link(side->path) || ends_in_link(side->second)) {
        return 0;
    }
    return BOTH(hf_link(side->fs, side->path, side->second), link(side->path, side->second));
}

static long step_symlink(struct side *side)
{
    side->what = "symlink";
    return BOTH(hf_symlink(side->fs, "/a/b", side->path), symlink("/a/b", side->path));
}

static long step_mknod(struct side *side)
{
    const mode_t mode = S_IFREG | 0600 | below(side, 0100);
    side->what = "mknod";
    return BOTH(hf_mknod(side->fs, side->path, mode, 0), mknod(side->path, mode, 0));
}

/* ---- looking ---- */

static long step_stat(struct side *side)
{
    struct stat attributes;
    const int base = choose_base(side);
    const int flags = below(side, 2) == 0 ? 0 : AT_SYMLINK_NOFOLLOW;
    side->what = "fstatat";
    long result = BOTH(hf_fstatat(side->fs, base, side->path, &attributes, flags),
                       fstatat(base, side->path, &attributes, flags));
    side->seen = result == 0 ? digest(&attributes) : 0;
    return result;
}

static long step_access(struct side *side)
{
    const int mode = (int)below(side, 8);
    side->what = "access";
    return BOTH(hf_access(side->fs, side->path, mode), access(side->path, mode));
}

static long step_statfs(struct side *side)
{
    struct statfs numbers = {0};
    side->what = "statfs";
    long result = BOTH(hf_statfs(side->fs, side->path, &numbers), statfs(side->path, &numbers));
    side->seen = numbers.f_flags & ST_RDONLY;
    return result;
}

static long sum_of_name(const char *name, unsigned char type)
{
    return 1000 + type * name[0] + (long)strlen(name);
}

static long list_ours(struct side *side, int fd)
{
    hf_dirent entry;
    int result;
    while ((result = hf_readdir(side->fs, fd, &entry)) == 1) {
        side->seen += sum_of_name(entry.name, entry.type);
    }
    return result;
}

static long list_kernels(struct side *side, int fd)
{
    const struct dirent *entry;
    DIR *directory = fdopendir(dup(fd));
    errno = 0;
    while ((entry = readdir(directory)) != NULL) {
        side->seen += sum_of_name(entry->d_name, entry->d_type);
    }
    const long result = -errno;
    closedir(directory);
    return result;
}

static long step_list(struct side *side)
{
    side->what = "readdir";
    const long fd = BOTH(hf_open(side->fs, side->path, O_RDONLY | O_DIRECTORY, 0),
                         open(side->path, O_RDONLY | O_DIRECTORY));
    if (fd < 0) {
        return fd;
    }
    const long result = side->fs != NULL ? list_ours(side, (int)fd) : list_kernels(side, (int)fd);
    (void)BOTH(hf_close(side->fs, (int)fd), close((int)fd));
    return result;
}

/* ---- changing ---- */

static long step_chmod(struct side *side)
{
    const mode_t mode = 0700 | below(side, 0100);
    side->what = "chmod";
    return BOTH(hf_chmod(side->fs, side->path, mode), chmod(side->path, mode));
}

static long step_utimens(struct side *side)
{
    const struct timespec times[2] = {
        {.tv_nsec = below(side, 5) == 0 ? -1 : 1},
        {.tv_nsec = below(side, 5) == 0 ? UTIME_OMIT : 1},
    };
    side->what = "utimensat";
    return BOTH(hf_utimensat(side->fs, HF_AT_FDCWD, side->path, times, 0),
                utimensat(AT_FDCWD, side->path, times, 0));
}

static long step_truncate(struct side *side)
{
    const off_t size = (off_t)below(side, 50) - 1;
    side->what = "truncate";
    return BOTH(hf_truncate(side->fs, side->path, size), truncate(side->path, size));
}

static long step_setxattr(struct side *side)
{
    side->what = "setxattr";
    return BOTH(hf_setxattr(side->fs, side->path, "user.a", "x", 1, 0),
                setxattr(side->path, "user.a", "x", 1, 0));
}

/* ---- open files and the working directory ---- */

static void close_file(struct side *side, int *file)
{
    if (*file >= 0) {
        (void)BOTH(hf_close(side->fs, *file), close(*file));
        *file = -1;
    }
}

static long step_open(struct side *side)
{
    static const int extra[] = {0,
                                0,
                                O_CREAT,
                                O_CREAT | O_EXCL,
                                O_CREAT | O_TRUNC,
                                O_TRUNC,
                                O_DIRECTORY,
                                O_PATH,
                                O_PATH | O_DIRECTORY,
                                O_NOFOLLOW};
    const int flags = extra[below(side, 10)] | (int)below(side, 3);
    int *file = &side->files[below(side, FILES)];
    side->what = "open";
    close_file(side, file);
    const long fd = BOTH(hf_open(side->fs, side->path, flags, 0644), open(side->path, flags, 0644));
    *file = (int)fd;
    return fd < 0 ? fd : 0;
}

static long step_close(struct side *side)
{
    side->what = "close";
    close_file(side, &side->files[below(side, FILES)]);
    return 0;
}

static long step_use_file(struct side *side)
{
    struct stat attributes;
    const int file = side->files[below(side, FILES)];
    const unsigned which = below(side, 5);
    if (file < 0) {
        return 0;
    }
    if (which == 0) {
        side->what = "fchmod";
        return BOTH(hf_fchmod(side->fs, file, 0755), fchmod(file, 0755));
    }
    if (which == 1) {
        side->what = "write";
        return BOTH(hf_write(side->fs, file, "data", 4), write(file, "data", 4));
    }
    if (which == 2) {
        side->what = "fsetxattr";
        return BOTH(hf_fsetxattr(side->fs, file, "user.a", "x", 1, 0),
                    fsetxattr(file, "user.a", "x", 1, 0));
    }
    if (which == 3) {
        side->what = "fchdir";
        return BOTH(hf_fchdir(side->fs, file), fchdir(file));
    }
    side->what = "fstat";
    const long result = BOTH(hf_fstat(side->fs, file, &attributes), fstat(file, &attributes));
    side->seen = digest(&attributes);
    return result;
}

static long step_chdir(struct side *side)
{
    side->what = "chdir";
    return BOTH(hf_chdir(side->fs, side->path), chdir(side->path));
}

static long step_getcwd(struct side *side)
{
    char path[PATH_MAX] = "";
    side->what = "getcwd";
    long result =
        BOTH(hf_getcwd(side->fs, path, sizeof path), syscall(SYS_getcwd, path, sizeof path));
    if (result > 0 && path[0] == '(') {
        return -ENOENT; /* as the C library says it */
    }
    for (const char *at = path; result > 0 && *at != '\0'; at++) {
        side->seen = side->seen * 31 + *at;
    }
    return result;
}

/* ---- mounts ---- */

/* A directory of this side's tree as it is without mounts; false: there is none of that name. */
static bool choose_source(struct side *side, char source[PATH_SIZE])
{
    static const char *const names[] = {"a", "b", "c", "d", "a/b", "b/c", "c/d", "d/a", "a/b/c"};
    struct stat attributes;
    snprintf(source, PATH_SIZE, "%s", names[below(side, 9)]);
    for (char *slash = source; slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        const int result = fstatat(side->below_fd, source, &attributes, AT_SYMLINK_NOFOLLOW);
        if (slash != NULL) {
            *slash = '/';
        }
        if (result < 0 || !S_ISDIR(attributes.st_mode)) {
            return false;
        }
    }
    return true;
}

/* In three steps, as after it was mounted @target may lead elsewhere. */
static long mount_kernels(struct side *side, const char *source, const char *target, bool read_only)
{
    struct mount_attr read_only_attribute = {.attr_set = MOUNT_ATTR_RDONLY};
    struct stat attributes;
    if (stat(target, &attributes) < 0) {
        return -errno;
    }
    if (!S_ISDIR(attributes.st_mode)) {
        return -ENOTDIR; /* as mount(2) says; move_mount(2) says EINVAL */
    }
    const int tree = open_tree(side->below_fd, source, OPEN_TREE_CLONE);
    CHECK(tree >= 0);
    if (read_only) {
        CHECK_EQUAL(mount_setattr(
                        tree, "", AT_EMPTY_PATH, &read_only_attribute, sizeof read_only_attribute),
                    0);
    }
    const long result = kernel(
        move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS));
    close(tree);
    return result;
}

static bool names_root(struct side *side, const char *path)
{
    struct stat root;
    struct stat named;
    if (side->fs != NULL) {
        return hf_stat(side->fs, path, &named) == 0 && hf_stat(side->fs, "/", &root) == 0 &&
               named.st_ino == root.st_ino;
    }
    return stat(path, &named) == 0 && stat("/", &root) == 0 && named.st_ino == root.st_ino;
}

static long step_mount(struct side *side)
{
    char source[PATH_SIZE];
    char host[PATH_MAX];
    char target[PATH_SIZE + 1];
    const bool read_only = below(side, 3) == 0;
    side->what = "mount";
    snprintf(target, sizeof target, "/%s", side->path);
    if (!choose_source(side, source) || names_root(side, target)) {
        return 0;
    }
    if (side->fs == NULL) {
        return mount_kernels(side, source, target, read_only);
    }
    snprintf(host, sizeof host, "%s/%s", side->world->root, source);
    return hf_mount(side->fs, host, target, "direct", read_only ? MS_RDONLY : 0, NULL);
}

static long step_umount(struct side *side)
{
    const int flags =
        (below(side, 3) == 0 ? MNT_DETACH : 0) | (below(side, 3) == 0 ? UMOUNT_NOFOLLOW : 0);
    side->what = "umount2";
    return names_root(side, side->path)
               ? 0
               : BOTH(hf_umount2(side->fs, side->path, flags), umount2(side->path, flags));
}

/* ---- the sequence ---- */

static long step(struct side *side)
{
    static long (*const steps[])(struct side * side) = {
        step_mkdir,   step_mkdir,    step_mkdir,    step_rmdir,    step_unlink, step_rename,
        step_rename,  step_rename,   step_link,     step_symlink,  step_mknod,  step_stat,
        step_stat,    step_stat,     step_access,   step_statfs,   step_list,   step_chmod,
        step_utimens, step_truncate, step_setxattr, step_open,     step_open,   step_open,
        step_close,   step_close,    step_use_file, step_use_file, step_chdir,  step_chdir,
        step_getcwd,  step_getcwd,   step_mount,    step_mount,    step_mount,  step_umount,
        step_umount,  step_umount};
    side->random = (side->seed << 32) + (uint64_t)side->step;
    side->seen = 0;
    side->what = "?";
    choose_path(side, side->path);
    choose_path(side, side->second);
    return steps[below(side, sizeof steps / sizeof steps[0])](side);
}

static void play(struct side *side)
{
    const int own = side->fs != NULL ? 0 : 2;
    for (int i = 0; i < FILES; i++) {
        side->files[i] = -1;
    }
    for (side->step = 0; side->step < STEPS; side->step++) {
        const long result = step(side);
        _Atomic uint64_t *slots = side->world->shared->slots + (side->step % 2 == 0 ? 0 : 4);
        atomic_store(&slots[own], (uint64_t)result);
        atomic_store(&slots[own + 1], (uint64_t)side->seen);
        fs_world_meet(side->world);
        if (side->verbose && side->fs != NULL) {
            printf("# %d: %s(\"%s\", \"%s\"): %ld\n",
                   side->step,
                   side->what,
                   side->path,
                   side->second,
                   result);
            fflush(stdout);
        }
        if (atomic_load(&slots[0]) != atomic_load(&slots[2]) ||
            atomic_load(&slots[1]) != atomic_load(&slots[3])) {
            if (side->fs != NULL) {
                fprintf(stderr,
                        "# seed %lu, step %d: %s(\"%s\", \"%s\"): %ld (%ld) here, %ld (%ld) from "
                        "the kernel\n",
                        (unsigned long)side->seed,
                        side->step,
                        side->what,
                        side->path,
                        side->second,
                        (long)atomic_load(&slots[0]),
                        (long)atomic_load(&slots[1]),
                        (long)atomic_load(&slots[2]),
                        (long)atomic_load(&slots[3]));
            }
            _exit(1);
        }
    }
    for (int i = 0; i < FILES; i++) {
        close_file(side, &side->files[i]);
    }
}

static void act_ours(struct fs_world *world, void *argument)
{
    struct side side = *(struct side *)argument;
    side.world = world;
    side.fs = world->fs;
    side.below_fd = open(world->root, O_PATH | O_DIRECTORY);
    umask(0);
    hf_umask(world->fs, 0);
    play(&side);
    CHECK_EQUAL(hf_chdir(world->fs, "/"), 0);
    close(side.below_fd);
}

/* A mount namespace of one's own, with root's rights in it. */
static bool enter_namespace(void)
{
    return (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void act_kernels(struct fs_world *world, void *argument)
{
    struct side side = *(struct side *)argument;
    side.world = world;
    fs_world_leave(world); /* its thread would be in the way of a namespace */
    CHECK(enter_namespace());
    side.below_fd = open(world->outside, O_PATH | O_DIRECTORY);
    CHECK_EQUAL(mount(world->outside, world->outside, NULL, MS_BIND, NULL), 0);
    CHECK_EQUAL(chroot(world->outside), 0);
    CHECK_EQUAL(chdir("/"), 0);
    umask(0);
    play(&side);
    _exit(0);
}

static void make_tree(const char *root)
{
    static const char *const directories[] = {
        "a", "a/b", "a/b/c", "b", "b/c", "c", "c/d", "d", "d/a"};
    static const char *const targets[][2] = {{"up", ".."}, {"abs", "/a/b"}, {"rel", "b/c"}};
    char path[PATH_MAX];
    umask(0);
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", root, directories[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        for (size_t link = 0; link < 3; link++) {
            snprintf(path, sizeof path, "%s/%s/%s", root, directories[i], targets[link][0]);
            assert_int_equal(symlink(targets[link][1], path), 0);
        }
    }
    umask(022);
}

static void play_seed(uint64_t seed, bool verbose)
{
    struct fs_world world;
    struct side side = {.seed = seed, .verbose = verbose};
    int status;

    print_message("# seed %lu\n", (unsigned long)seed);
    fs_world_init(&world);
    make_tree(world.root);
    make_tree(world.outside);
    const pid_t ours = fs_world_start(&world, act_ours, &side);
    const pid_t kernels = fs_world_start(&world, act_kernels, &side);
    pid_t first = waitpid(-1, &status, 0);
    if (status != 0) {
        kill(first == ours ? kernels : ours, SIGKILL);
    }
    assert_true(first == ours || first == kernels);
    fs_world_wait(first == ours ? kernels : ours);
    assert_int_equal(status, 0);
    fs_world_deinit(&world);
}

static bool are_namespaces_allowed(void)
{
    int status;
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(enter_namespace() ? 0 : 1);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static uint64_t first_seed = 1;
static uint64_t seed_count = SEEDS;

static void test_mounts_are_as_the_kernels_bind_mounts(void **state)
{
    if (!are_namespaces_allowed()) {
        print_message("# skipped: no mount namespaces for this user here\n");
        skip();
    }
    for (uint64_t i = 0; i < seed_count; i++) {
        play_seed(first_seed + i, seed_count == 1);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mounts_are_as_the_kernels_bind_mounts),
    };
    if (argc > 1) {
        first_seed = strtoull(argv[1], NULL, 10);
        seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("fs mounts differential", tests, NULL, NULL);
}
