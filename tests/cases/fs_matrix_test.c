/*
 * Each operation that changes something against each that looks at something: one process does
 * the first, and another, which had everything cached, does the second at once. It must say
 * what a filesystem object says that was made this moment and has nothing cached.
 *
 * A new operation is one line in one of the two lists. Run with a number for so many trials
 * of each pair.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static long trials = 4;

/* ---- the tree that every trial begins with ---- */

static void make_file(hf_fs *fs, const char *path, const char *content)
{
    int fd = hf_open(fs, path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, content, strlen(content)), strlen(content));
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void remove_all(hf_fs *fs, const char *path)
{
    char inner[300];
    hf_dirent entry;
    struct stat attributes;
    int result = hf_lstat(fs, path, &attributes);
    if (result == -ENOENT) {
        return;
    }
    CHECK_EQUAL(result, 0);
    if (!S_ISDIR(attributes.st_mode)) {
        CHECK_EQUAL(hf_unlink(fs, path), 0);
        return;
    }
    int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        if (strcmp(entry.name, ".") != 0 && strcmp(entry.name, "..") != 0) {
            CHECK(snprintf(inner, sizeof inner, "%s/%s", path, entry.name) < (int)sizeof inner);
            remove_all(fs, inner);
        }
    }
    CHECK_EQUAL(hf_close(fs, fd), 0);
    CHECK_EQUAL(hf_rmdir(fs, path), 0);
}

static void make_tree(hf_fs *fs)
{
    static const struct timespec times[2] = {{.tv_sec = 100}, {.tv_sec = 200}};
    remove_all(fs, "m");
    CHECK_EQUAL(hf_mkdir(fs, "m", 0755), 0);
    make_file(fs, "m/file", "0123456789");
    make_file(fs, "m/other", "abc");
    CHECK_EQUAL(hf_mkdir(fs, "m/dir", 0755), 0);
    make_file(fs, "m/dir/inner", "inner");
    CHECK_EQUAL(hf_mkdir(fs, "m/empty", 0755), 0);
    CHECK_EQUAL(hf_symlink(fs, "file", "m/link"), 0);
    CHECK_EQUAL(hf_utimensat(fs, HF_AT_FDCWD, "m/file", times, 0), 0);
}

/* ---- changes ---- */

static int create(hf_fs *fs)
{
    return hf_close(fs, hf_open(fs, "m/new", O_CREAT | O_EXCL | O_WRONLY, 0644));
}

static int append(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_WRONLY | O_APPEND, 0);
    CHECK_EQUAL(hf_write(fs, fd, "append", 6), 6);
    return hf_close(fs, fd);
}

static int overwrite(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_WRONLY, 0);
    CHECK_EQUAL(hf_pwrite(fs, fd, "xyz", 3, 3), 3);
    return hf_close(fs, fd);
}

static int truncate_it(hf_fs *fs)
{
    return hf_truncate(fs, "m/file", 4);
}

static int open_truncating(hf_fs *fs)
{
    return hf_close(fs, hf_open(fs, "m/file", O_WRONLY | O_TRUNC, 0));
}

static int allocate(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_WRONLY, 0);
    CHECK_EQUAL(hf_fallocate(fs, fd, 0, 0, 50), 0);
    return hf_close(fs, fd);
}

static int make_directory(hf_fs *fs)
{
    return hf_mkdir(fs, "m/new", 0700);
}

static int make_fifo(hf_fs *fs)
{
    return hf_mkfifo(fs, "m/new", 0600);
}

static int make_symlink(hf_fs *fs)
{
    return hf_symlink(fs, "dir", "m/new");
}

static int make_link(hf_fs *fs)
{
    return hf_link(fs, "m/file", "m/new");
}

static int make_link_elsewhere(hf_fs *fs)
{
    return hf_link(fs, "m/file", "m/dir/new");
}

static int remove_file(hf_fs *fs)
{
    return hf_unlink(fs, "m/file");
}

static int remove_directory(hf_fs *fs)
{
    return hf_rmdir(fs, "m/empty");
}

static int replace_link(hf_fs *fs)
{
    CHECK_EQUAL(hf_unlink(fs, "m/link"), 0);
    return hf_symlink(fs, "dir/inner", "m/link");
}

static int rename_file(hf_fs *fs)
{
    return hf_rename(fs, "m/file", "m/new");
}

static int rename_over(hf_fs *fs)
{
    return hf_rename(fs, "m/other", "m/file");
}

static int rename_into(hf_fs *fs)
{
    return hf_rename(fs, "m/file", "m/dir/new");
}

static int rename_out_of(hf_fs *fs)
{
    return hf_rename(fs, "m/dir/inner", "m/file");
}

static int rename_directory(hf_fs *fs)
{
    return hf_rename(fs, "m/dir", "m/new");
}

static int rename_directory_over(hf_fs *fs)
{
    return hf_rename(fs, "m/dir", "m/empty");
}

static int rename_directory_into(hf_fs *fs)
{
    return hf_rename(fs, "m/dir", "m/empty/new");
}

static int rename_noreplace(hf_fs *fs)
{
    return hf_renameat2(fs, HF_AT_FDCWD, "m/link", HF_AT_FDCWD, "m/new", RENAME_NOREPLACE);
}

static int exchange_files(hf_fs *fs)
{
    return hf_renameat2(fs, HF_AT_FDCWD, "m/file", HF_AT_FDCWD, "m/dir/inner", RENAME_EXCHANGE);
}

static int exchange_directories(hf_fs *fs)
{
    return hf_renameat2(fs, HF_AT_FDCWD, "m/dir", HF_AT_FDCWD, "m/empty", RENAME_EXCHANGE);
}

static int exchange_both(hf_fs *fs)
{
    return hf_renameat2(fs, HF_AT_FDCWD, "m/dir", HF_AT_FDCWD, "m/file", RENAME_EXCHANGE);
}

static int change_mode(hf_fs *fs)
{
    return hf_chmod(fs, "m/link", 0711);
}

static int change_mode_of_directory(hf_fs *fs)
{
    return hf_chmod(fs, "m/dir", 0711);
}

static int change_owner(hf_fs *fs)
{
    /* Without privileges to the same, which is a change of the time of change. */
    return hf_chown(fs, "m/file", (uid_t)-1, geteuid() == 0 ? 1000 : (gid_t)-1);
}

static int change_times(hf_fs *fs)
{
    static const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 300}};
    return hf_utimensat(fs, HF_AT_FDCWD, "m/file", times, 0);
}

static int set_xattr(hf_fs *fs)
{
    int result = hf_setxattr(fs, "m/file", "user.matrix", "value", 5, 0);
    return result == -EOPNOTSUPP ? 0 : result;
}

struct change {
    const char *what;
    int (*make)(hf_fs *fs);
};

static const struct change changes[] = {
    {"create", create},
    {"append", append},
    {"pwrite", overwrite},
    {"truncate", truncate_it},
    {"open O_TRUNC", open_truncating},
    {"fallocate", allocate},
    {"mkdir", make_directory},
    {"mkfifo", make_fifo},
    {"symlink", make_symlink},
    {"link", make_link},
    {"link into another directory", make_link_elsewhere},
    {"unlink", remove_file},
    {"rmdir", remove_directory},
    {"symlink again", replace_link},
    {"rename", rename_file},
    {"rename over", rename_over},
    {"rename into", rename_into},
    {"rename out of, over", rename_out_of},
    {"rename directory", rename_directory},
    {"rename directory over", rename_directory_over},
    {"rename directory into", rename_directory_into},
    {"renameat2 NOREPLACE", rename_noreplace},
    {"renameat2 EXCHANGE files", exchange_files},
    {"renameat2 EXCHANGE directories", exchange_directories},
    {"renameat2 EXCHANGE both kinds", exchange_both},
    {"chmod", change_mode},
    {"chmod of directory", change_mode_of_directory},
    {"chown", change_owner},
    {"utimensat", change_times},
    {"setxattr", set_xattr},
};

/* ---- what an observer sees: one number made of all of it ---- */

static uint64_t mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ (sum >> 29);
}

static uint64_t mix_bytes(uint64_t sum, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        sum = mix(sum, (unsigned char)bytes[i]);
    }
    return sum;
}

/* All but the time of access. */
static uint64_t of_attributes(int result, const struct stat *attributes)
{
    if (result < 0) {
        return (uint64_t)result;
    }
    uint64_t sum = mix(attributes->st_ino, attributes->st_mode);
    sum = mix(sum, attributes->st_nlink);
    sum = mix(sum, attributes->st_uid);
    sum = mix(sum, attributes->st_gid);
    sum = mix(sum, (uint64_t)attributes->st_size);
    sum = mix(sum, (uint64_t)attributes->st_mtim.tv_sec);
    sum = mix(sum, (uint64_t)attributes->st_mtim.tv_nsec);
    sum = mix(sum, (uint64_t)attributes->st_ctim.tv_sec);
    return mix(sum, (uint64_t)attributes->st_ctim.tv_nsec);
}

static uint64_t see_stat(hf_fs *fs, const char *path)
{
    struct stat attributes;
    return of_attributes(hf_stat(fs, path, &attributes), &attributes);
}

static uint64_t see_lstat(hf_fs *fs, const char *path)
{
    struct stat attributes;
    return of_attributes(hf_lstat(fs, path, &attributes), &attributes);
}

static uint64_t see_statx(hf_fs *fs, const char *path)
{
    struct statx attributes;
    int result = hf_statx(fs, HF_AT_FDCWD, path, 0, STATX_BASIC_STATS, &attributes);
    return result < 0 ? (uint64_t)result
                      : mix(mix(attributes.stx_ino, attributes.stx_size), attributes.stx_nlink);
}

static uint64_t see_open(hf_fs *fs, const char *path)
{
    struct stat attributes;
    int fd = hf_open(fs, path, O_RDONLY, 0);
    if (fd < 0) {
        return (uint64_t)fd;
    }
    uint64_t sum = of_attributes(hf_fstat(fs, fd, &attributes), &attributes);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return sum;
}

static uint64_t see_data(hf_fs *fs, const char *path)
{
    char bytes[100];
    int fd = hf_open(fs, path, O_RDONLY, 0);
    if (fd < 0) {
        return (uint64_t)fd;
    }
    ssize_t size = hf_read(fs, fd, bytes, sizeof bytes);
    uint64_t sum = mix(0, (uint64_t)size);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return mix_bytes(sum, bytes, size < 0 ? 0 : (size_t)size);
}

static uint64_t see_end(hf_fs *fs, const char *path)
{
    int fd = hf_open(fs, path, O_RDONLY, 0);
    if (fd < 0) {
        return (uint64_t)fd;
    }
    uint64_t end = (uint64_t)hf_lseek(fs, fd, 0, SEEK_END);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return end;
}

static uint64_t see_entries(hf_fs *fs, const char *path)
{
    hf_dirent entry;
    uint64_t sum = 0;
    int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return (uint64_t)fd;
    }
    while (hf_readdir(fs, fd, &entry) == 1) {
        sum += mix_bytes(mix(entry.ino, entry.type), entry.name, strlen(entry.name));
    }
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return sum;
}

static uint64_t see_target(hf_fs *fs, const char *path)
{
    char target[100];
    ssize_t size = hf_readlink(fs, path, target, sizeof target);
    return size < 0 ? (uint64_t)size : mix_bytes(0, target, (size_t)size);
}

static uint64_t see_access(hf_fs *fs, const char *path)
{
    return mix((uint64_t)hf_access(fs, path, X_OK), (uint64_t)hf_access(fs, path, F_OK));
}

static uint64_t see_cwd(hf_fs *fs, const char *path)
{
    char cwd[PATH_MAX];
    int result = hf_chdir(fs, path);
    if (result < 0) {
        return (uint64_t)result;
    }
    ssize_t size = hf_getcwd(fs, cwd, sizeof cwd);
    CHECK_EQUAL(hf_chdir(fs, "/"), 0);
    return size < 0 ? (uint64_t)size : mix_bytes(0, cwd, (size_t)size);
}

static uint64_t see_xattr(hf_fs *fs, const char *path)
{
    char value[20];
    ssize_t size = hf_getxattr(fs, path, "user.matrix", value, sizeof value);
    return size < 0 ? (uint64_t)size : mix_bytes(0, value, (size_t)size);
}

struct observer {
    const char *what;
    uint64_t (*see)(hf_fs *fs, const char *path);
    const char *path;
};

static const struct observer observers[] = {
    {"stat", see_stat, "m/file"},
    {"stat of what is replaced or moved", see_stat, "m/other"},
    {"stat of a new name", see_stat, "m/new"},
    {"stat below a new name", see_stat, "m/new/inner"},
    {"stat of the parent", see_stat, "m"},
    {"stat of a directory", see_stat, "m/dir"},
    {"stat of another directory", see_stat, "m/empty"},
    {"stat in a directory", see_stat, "m/dir/inner"},
    {"stat by way of ..", see_stat, "m/dir/../file"},
    {"stat of ..", see_stat, "m/empty/new/.."},
    {"stat through a link", see_stat, "m/link"},
    {"lstat", see_lstat, "m/link"},
    {"statx", see_statx, "m/file"},
    {"open, fstat", see_open, "m/file"},
    {"read", see_data, "m/file"},
    {"lseek SEEK_END", see_end, "m/file"},
    {"readdir", see_entries, "m"},
    {"readdir of a directory", see_entries, "m/dir"},
    {"readdir of another directory", see_entries, "m/empty"},
    {"readdir of what was moved", see_entries, "m/empty/new"},
    {"readlink", see_target, "m/link"},
    {"access", see_access, "m/file"},
    {"chdir, getcwd", see_cwd, "m/dir/."},
    {"chdir, getcwd elsewhere", see_cwd, "m/empty/new"},
    {"getxattr", see_xattr, "m/file"},
};

#define CHANGES (sizeof changes / sizeof changes[0])
#define OBSERVERS (sizeof observers / sizeof observers[0])

/* ---- trials ---- */

static void act_change(struct fs_world *world, void *argument)
{
    for (size_t i = 0; i < CHANGES * OBSERVERS * (size_t)trials; i++) {
        make_tree(world->fs);
        fs_world_meet(world); /* the observer fills its cache */
        fs_world_meet(world);
        CHECK_EQUAL(changes[i % CHANGES].make(world->fs), 0);
        fs_world_meet(world); /* and looks again */
        fs_world_meet(world);
    }
}

static uint64_t see_afresh(struct fs_world *world, const struct observer *observer)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *fresh;
    config.root = world->root;
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fresh), 0);
    uint64_t seen = observer->see(fresh, observer->path);
    hf_fs_detach(fresh);
    return seen;
}

static void act_observe(struct fs_world *world, void *argument)
{
    static bool made_a_difference[CHANGES];
    static bool saw_a_difference[OBSERVERS];
    for (size_t i = 0; i < CHANGES * OBSERVERS * (size_t)trials; i++) {
        const size_t change = i % CHANGES;
        const size_t number = i / CHANGES % OBSERVERS;
        const struct observer *observer = &observers[number];
        fs_world_meet(world);
        for (size_t other = 0; other < OBSERVERS; other++) {
            observers[other].see(world->fs, observers[other].path);
        }
        const uint64_t before = observer->see(world->fs, observer->path);
        fs_world_meet(world);
        fs_world_meet(world);
        const uint64_t after = observer->see(world->fs, observer->path);
        if (after != see_afresh(world, observer)) {
            fprintf(stderr, "# stale: %s, %s\n", changes[change].what, observer->what);
            _exit(1);
        }
        if (before != after) {
            made_a_difference[change] = true;
            saw_a_difference[number] = true;
        }
        fs_world_meet(world);
    }
    /* Else the lists would prove less than they seem to. */
    for (size_t i = 0; i < CHANGES; i++) {
        CHECK(made_a_difference[i] || changes[i].make == set_xattr);
    }
    for (size_t i = 0; i < OBSERVERS; i++) {
        CHECK(saw_a_difference[i] || observers[i].see == see_xattr);
    }
}

static void test_every_change_is_seen_by_every_observer(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    print_message(
        "# %d changes x %d observers, %ld trials each\n", (int)CHANGES, (int)OBSERVERS, trials);
    pid_t changer = fs_world_start(&world, act_change, NULL);
    pid_t observer = fs_world_start(&world, act_observe, NULL);
    fs_world_wait(observer);
    fs_world_wait(changer);
    fs_world_deinit(&world);
}

int main(int argc, char **argv)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_change_is_seen_by_every_observer),
    };
    if (argc > 1) {
        trials = strtol(argv[1], NULL, 10);
    }
    return cmocka_run_group_tests_name("fs matrix", tests, NULL, NULL);
}
