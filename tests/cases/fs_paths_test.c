/*
 * Paths and arguments, good and bad: every answer is the one that Linux gives in a directory
 * of its own, and no path leads out of the mount.
 */
#include "lib/fs_call.h"
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long kernel(long result)
{
    return result < 0 ? -errno : result;
}

/* ---- the same paths, here and in a directory of the host ---- */

static const char long_name_255[] =
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static void make_link(hf_fs *fs, const char *target, const char *name)
{
    assert_int_equal(CALL(fs, hf_symlink(fs, target, name), symlink(target, name)), 0);
}

/* A tree of one of each, in both directories; without @fs in the working directory. */
static void make_tree(hf_fs *fs)
{
    static const char *const directories[] = {"dir", "dir/sub", "empty"};
    char target[16];
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        const char *name = directories[i];
        assert_int_equal(CALL(fs, hf_mkdir(fs, name, 0755), mkdir(name, 0755)), 0);
    }
    assert_int_equal(CALL(fs, hf_mknod(fs, "file", 0644, 0), mknod("file", 0644, 0)), 0);
    make_link(fs, "dir", "to_dir");
    make_link(fs, "file", "to_file");
    make_link(fs, "nowhere", "dangling");
    make_link(fs, "dir/", "to_dir_slash");
    make_link(fs, "file/", "to_file_slash");
    make_link(fs, "self", "self");
    make_link(fs, "../to_dir/sub/.", "dir/round");
    assert_int_equal(CALL(fs, hf_mkfifo(fs, "pipe", 0644), mkfifo("pipe", 0644)), 0);
    for (int i = 0; i < 45; i++) {
        char name[16];
        snprintf(name, sizeof name, "chain%d", i);
        snprintf(target, sizeof target, "chain%d", i + 1);
        make_link(fs, i == 44 ? "file" : target, name);
    }
}

static const char *const paths[] = {
    "",
    ".",
    "..",
    "/",
    "//",
    "./",
    "../..",
    "file",
    "file/",
    "file/.",
    "file/x",
    "./file",
    "dir",
    "dir/",
    "dir//",
    "dir/.",
    "dir/..",
    "dir/sub/../..",
    "dir/./sub",
    "missing",
    "missing/",
    "missing/x",
    "missing/.",
    "missing/..",
    "to_dir",
    "to_dir/",
    "to_dir/.",
    "to_dir/sub",
    "to_file",
    "to_file/",
    "dangling",
    "dangling/",
    "to_dir_slash",
    "to_dir_slash/",
    "to_file_slash",
    "self",
    "self/",
    "self/x",
    "dir/round",
    "dir/round/..",
    "dir/round/x",
    "chain4",
    "chain5",
    "chain6",
    "chain3/x",
    "empty",
    "empty/",
    "empty/.",
    "empty/..",
    " ",
    "\xff\xfe",
    "new\nline",
    "a\\b",
    "*",
    long_name_255,
};

struct trial {
    hf_fs *fs;
    const char *path;
    const char *what;
    int directory; /* the kernel's, to which its paths are relative */
    int failures;
};

static void compare(struct trial *trial, long ours, long theirs)
{
    if (ours != theirs) {
        fprintf(stderr,
                "# %s(\"%s\"): %ld here, %ld from the kernel\n",
                trial->what,
                trial->path,
                ours,
                theirs);
        trial->failures++;
    }
}

static void try_open(struct trial *trial, int flags)
{
    char what[32];
    snprintf(what, sizeof what, "open %#o", (unsigned)flags);
    trial->what = what;
    int ours = hf_open(trial->fs, trial->path, flags | O_NONBLOCK, 0644);
    int theirs = (int)kernel(openat(trial->directory, trial->path, flags | O_NONBLOCK, 0644));
    compare(trial, ours < 0 ? ours : 0, theirs < 0 ? theirs : 0);
    if (ours >= 0) {
        CHECK_EQUAL(hf_close(trial->fs, ours), 0);
    }
    if (theirs >= 0) {
        close(theirs);
    }
}

static void try_stat(struct trial *trial, bool follow)
{
    struct stat ours;
    struct stat theirs;
    trial->what = follow ? "stat" : "lstat";
    int result =
        follow ? hf_stat(trial->fs, trial->path, &ours) : hf_lstat(trial->fs, trial->path, &ours);
    compare(
        trial,
        result,
        kernel(fstatat(trial->directory, trial->path, &theirs, follow ? 0 : AT_SYMLINK_NOFOLLOW)));
    if (result == 0) {
        compare(trial, ours.st_mode, theirs.st_mode);
        compare(trial, (long)ours.st_nlink, (long)theirs.st_nlink);
    }
}

static void try_path(struct trial *trial)
{
    static const int flags[] = {
        O_RDONLY,
        O_WRONLY,
        O_RDWR,
        O_RDONLY | O_DIRECTORY,
        O_WRONLY | O_DIRECTORY,
        O_CREAT | O_EXCL | O_RDWR,
        O_CREAT | O_WRONLY,
        O_CREAT | O_RDONLY | O_TRUNC,
        O_RDONLY | O_TRUNC,
        O_WRONLY | O_APPEND,
        O_RDONLY | O_CLOEXEC,
    };

    try_stat(trial, true);
    try_stat(trial, false);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        try_open(trial, flags[i]);
    }
    trial->what = "truncate";
    compare(trial, hf_truncate(trial->fs, trial->path, 5), kernel(truncate(trial->path, 5)));
    compare(trial, hf_truncate(trial->fs, trial->path, -1), kernel(truncate(trial->path, -1)));
    trial->what = "mkdir";
    compare(trial,
            hf_mkdir(trial->fs, trial->path, 0750),
            kernel(mkdirat(trial->directory, trial->path, 0750)));
    trial->what = "unlink";
    compare(trial,
            hf_unlink(trial->fs, trial->path),
            kernel(unlinkat(trial->directory, trial->path, 0)));
    trial->what = "rmdir";
    compare(trial,
            hf_rmdir(trial->fs, trial->path),
            kernel(unlinkat(trial->directory, trial->path, AT_REMOVEDIR)));
}

/* For every path the kernel's directory must not be its root, where `..` is itself: the tree
 * is compared below "in", and paths that climb out of it are left to the next test. */
static void act_compare_paths(struct fs_world *world, void *argument)
{
    struct trial trial = {.fs = world->fs};
    char inside[PATH_MAX];
    trial.directory = open(world->outside, O_RDONLY | O_DIRECTORY);
    CHECK(trial.directory >= 0);
    CHECK_EQUAL(fchdir(trial.directory), 0);
    CHECK_EQUAL(strlen(long_name_255), NAME_MAX);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        trial.path = paths[i];
        const bool climbs = strncmp(paths[i], "..", 2) == 0 || paths[i][0] == '/' ||
                            strcmp(paths[i], ".") == 0 || strcmp(paths[i], "./") == 0;
        if (!climbs) {
            try_path(&trial);
        }
    }
    /* One longer, and as long as a path can be. */
    snprintf(inside, sizeof inside, "%sa", long_name_255);
    trial.path = inside;
    try_path(&trial);
    memset(inside, '/', sizeof inside - 1);
    memcpy(inside, "dir", 3);
    inside[sizeof inside - 1] = '\0';
    try_stat(&trial, true);
    char *too_long = calloc(1, PATH_MAX + 1);
    CHECK(too_long != NULL);
    memset(too_long, '/', PATH_MAX);
    memcpy(too_long, "dir", 3);
    trial.path = too_long;
    try_stat(&trial, true);
    CHECK_EQUAL(hf_stat(world->fs, too_long, &(struct stat){0}), -ENAMETOOLONG);
    free(too_long);
    close(trial.directory);
    CHECK_EQUAL(trial.failures, 0);
}

static void test_paths_are_resolved_as_the_kernel_does(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    hf_fs *fs = fs_world_visit(&world);
    make_tree(fs);
    hf_fs_detach(fs);
    assert_int_equal(chdir(world.outside), 0);
    make_tree(NULL);
    assert_int_equal(chdir("/"), 0);
    fs_world_play(&world, act_compare_paths, NULL);
    fs_world_deinit(&world);
}

/* ---- no way out ---- */

static void act_try_to_escape(struct fs_world *world, void *argument)
{
    static const char *const ways[] = {
        "up/secret",
        "absolute/secret",
        "../o/secret",
        "/../../o/secret",
        "dir/up_twice/o/secret",
        "dir/../../o/secret",
        "up_file",
        "chained/secret",
        "up/../o/secret",
    };
    struct stat attributes;
    struct stat root;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        CHECK_EQUAL(hf_stat(world->fs, ways[i], &attributes), -ENOENT);
        CHECK_EQUAL(hf_open(world->fs, ways[i], O_RDONLY, 0), -ENOENT);
        CHECK_EQUAL(hf_unlink(world->fs, ways[i]), strcmp(ways[i], "up_file") == 0 ? 0 : -ENOENT);
        int result = hf_open(world->fs, ways[i], O_CREAT | O_WRONLY, 0644);
        CHECK(result == -ENOENT || strcmp(ways[i], "up_file") == 0);
        CHECK(hf_truncate(world->fs, ways[i], 0) < 0 || strcmp(ways[i], "up_file") == 0);
    }
    /* At the root, `..` and absolute links lead to the root. */
    CHECK_EQUAL(hf_stat(world->fs, "/", &root), 0);
    static const char *const home[] = {".", "..", "../..", "/..", "dir/../..", "home", "home/.."};
    for (size_t i = 0; i < sizeof home / sizeof home[0]; i++) {
        CHECK_EQUAL(hf_stat(world->fs, home[i], &attributes), 0);
        CHECK_EQUAL(attributes.st_ino, root.st_ino);
    }
    CHECK_EQUAL(hf_mkdir(world->fs, "/../made", 0755), 0);
    CHECK_EQUAL(hf_stat(world->fs, "home/made", &attributes), 0);

    CHECK_EQUAL(hf_rmdir(world->fs, "/"), -EBUSY);
    CHECK_EQUAL(hf_rmdir(world->fs, "."), -EINVAL);
    CHECK_EQUAL(hf_rmdir(world->fs, ".."), -ENOTEMPTY);
    CHECK_EQUAL(hf_unlink(world->fs, "/"), -EISDIR);
    CHECK_EQUAL(hf_mkdir(world->fs, "/", 0755), -EEXIST);
    CHECK_EQUAL(hf_open(world->fs, "/", O_RDWR, 0), -EISDIR);
    CHECK_EQUAL(hf_open(world->fs, "..", O_CREAT | O_RDONLY, 0), -EISDIR);
}

static void test_no_path_leads_out_of_the_mount(void **state)
{
    struct fs_world world;
    struct stat attributes;
    char path[160];

    fs_world_init(&world);
    hf_fs *fs = fs_world_visit(&world);
    assert_int_equal(hf_mkdir(fs, "dir", 0755), 0);
    make_link(fs, "../o", "up");
    make_link(fs, world.outside, "absolute");
    make_link(fs, "../..", "dir/up_twice");
    make_link(fs, "../o/secret", "up_file");
    make_link(fs, "up", "chained");
    make_link(fs, "/", "home");
    hf_fs_detach(fs);
    snprintf(path, sizeof path, "%s/secret", world.outside);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    assert_int_equal(write(fd, "secret", 6), 6);
    assert_int_equal(close(fd), 0);

    fs_world_play(&world, act_try_to_escape, NULL);

    assert_int_equal(stat(path, &attributes), 0);
    assert_int_equal(attributes.st_size, 6);
    assert_int_equal(attributes.st_nlink, 1);
    snprintf(path, sizeof path, "%s/made", world.outside);
    assert_int_equal(access(path, F_OK), -1);
    fs_world_deinit(&world);
}

/* ---- arguments ---- */

static void act_use_badly(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    char byte = 'x';
    hf_dirent entry;

    CHECK_EQUAL(hf_open(fs, NULL, O_RDONLY, 0), -EFAULT);
    CHECK_EQUAL(hf_stat(fs, NULL, &attributes), -EFAULT);
    CHECK_EQUAL(hf_lstat(fs, "/", NULL), -EFAULT);
    CHECK_EQUAL(hf_mkdir(fs, NULL, 0), -EFAULT);
    CHECK_EQUAL(hf_unlink(fs, NULL), -EFAULT);
    CHECK_EQUAL(hf_rmdir(fs, NULL), -EFAULT);
    CHECK_EQUAL(hf_truncate(fs, NULL, 0), -EFAULT);

    static const int bad_flags[] = {O_TMPFILE,
                                    O_TMPFILE | O_CREAT | O_RDWR,
                                    (O_TMPFILE & ~O_DIRECTORY) | O_RDWR,
                                    O_CREAT | O_DIRECTORY,
                                    O_PATH | 1 << 30,
                                    1 << 30,
                                    -1};
    for (size_t i = 0; i < sizeof bad_flags / sizeof bad_flags[0]; i++) {
        CHECK_EQUAL(hf_open(fs, "file", bad_flags[i], 0644), -EINVAL);
    }
    static const int bad_descriptors[] = {-1, 0, 12, HF_FS_DESCRIPTORS_MAX, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof bad_descriptors / sizeof bad_descriptors[0]; i++) {
        const int fd = bad_descriptors[i];
        CHECK_EQUAL(hf_close(fs, fd), -EBADF);
        CHECK_EQUAL(hf_dup(fs, fd), -EBADF);
        CHECK_EQUAL(hf_read(fs, fd, &byte, 1), -EBADF);
        CHECK_EQUAL(hf_write(fs, fd, &byte, 1), -EBADF);
        CHECK_EQUAL(hf_pread(fs, fd, &byte, 1, 0), -EBADF);
        CHECK_EQUAL(hf_pwrite(fs, fd, &byte, 1, 0), -EBADF);
        CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_SET), -EBADF);
        CHECK_EQUAL(hf_fstat(fs, fd, &attributes), -EBADF);
        CHECK_EQUAL(hf_ftruncate(fs, fd, 0), -EBADF);
        CHECK_EQUAL(hf_readdir(fs, fd, &entry), -EBADF);
    }

    CHECK_EQUAL(hf_open(fs, "file", O_RDWR | O_CREAT, 0644), 0);
    CHECK_EQUAL(hf_open(fs, "file", O_RDONLY, 0), 1);
    CHECK_EQUAL(hf_open(fs, "file", O_WRONLY, 0), 2);
    CHECK_EQUAL(hf_open(fs, "/", O_RDONLY, 0), 3);
    CHECK_EQUAL(hf_write(fs, 1, &byte, 1), -EBADF);
    CHECK_EQUAL(hf_write(fs, 1, &byte, 0), -EBADF);
    CHECK_EQUAL(hf_pwrite(fs, 1, &byte, 1, 0), -EBADF);
    CHECK_EQUAL(hf_ftruncate(fs, 1, 0), -EINVAL);
    CHECK_EQUAL(hf_read(fs, 2, &byte, 1), -EBADF);
    CHECK_EQUAL(hf_pread(fs, 2, &byte, 1, 0), -EBADF);
    CHECK_EQUAL(hf_read(fs, 3, &byte, 1), -EISDIR);
    CHECK_EQUAL(hf_pread(fs, 3, &byte, 1, 0), -EISDIR);
    CHECK_EQUAL(hf_write(fs, 3, &byte, 1), -EBADF);
    CHECK_EQUAL(hf_ftruncate(fs, 3, 0), -EINVAL);
    CHECK_EQUAL(hf_readdir(fs, 0, &entry), -ENOTDIR);
    CHECK_EQUAL(hf_readdir(fs, 3, NULL), -EFAULT);
    CHECK_EQUAL(hf_fstat(fs, 0, NULL), -EFAULT);
    CHECK_EQUAL(hf_write(fs, 0, NULL, 1), -EFAULT);
    CHECK_EQUAL(hf_read(fs, 0, NULL, 1), 0); /* at the end nothing is copied */
    CHECK_EQUAL(hf_write(fs, 0, &byte, 1), 1);
    CHECK_EQUAL(hf_pread(fs, 0, NULL, 1, 0), -EFAULT);
    CHECK_EQUAL(hf_pread(fs, 0, &byte, 1, -1), -EINVAL);
    CHECK_EQUAL(hf_pwrite(fs, 0, &byte, 1, -1), -EINVAL);
    CHECK_EQUAL(hf_ftruncate(fs, 0, -1), -EINVAL);
    CHECK_EQUAL(hf_lseek(fs, 0, -1, SEEK_SET), -EINVAL);
    CHECK_EQUAL(hf_lseek(fs, 0, -2, SEEK_END), -EINVAL);
    CHECK_EQUAL(hf_lseek(fs, 0, 0, 99), -EINVAL);
    CHECK_EQUAL(hf_lseek(fs, 0, INT64_MAX, SEEK_CUR), -EINVAL);
    CHECK_EQUAL(hf_lseek(fs, 0, 0, SEEK_CUR), 1); /* none of these has moved it */
    CHECK_EQUAL(hf_open(fs, "pipe", O_WRONLY | O_NONBLOCK, 0), -ENXIO);
    CHECK_EQUAL(hf_open(fs, "socket", O_RDONLY, 0), -ENXIO);
}

static void test_bad_arguments(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    hf_fs *fs = fs_world_visit(&world);
    assert_int_equal(hf_mkfifo(fs, "pipe", 0644), 0);
    assert_int_equal(hf_mknod(fs, "socket", S_IFSOCK | 0644, 0), 0);
    hf_fs_detach(fs);
    fs_world_play(&world, act_use_badly, NULL);
    fs_world_deinit(&world);
}

static void act_attach_badly(struct fs_world *world, void *argument)
{
    hf_fs *fs = NULL;
    hf_fs_config config = HF_FS_CONFIG_INIT;
    world->fs = hf_fs_detach(world->fs);
    CHECK_EQUAL(hf_fs_attach(world->client, NULL, &fs), -EINVAL);
    config.root = "/missing/directory";
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), -ENOENT);
    CHECK_EQUAL(hf_fs_attach(NULL, &config, &fs), -EINVAL);
    config.root = "/dev/null";
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), -ENOTDIR);
    config.root = world->outside; /* not what is mounted at "/" */
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), -EBUSY);
    config = fs_world_config(world);
    config.size = 1;
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), -EINVAL);
    CHECK(fs == NULL);
    CHECK(hf_fs_detach(NULL) == NULL);
    config.size = sizeof config;
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &world->fs), 0);

    /* One connection has one object; two objects are two tables of descriptors. */
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), -EBUSY);
    CHECK(fs == NULL);
    fs = fs_world_attach(world, &config);
    CHECK_EQUAL(hf_open(fs, "file", O_CREAT | O_WRONLY, 0644), 0);
    CHECK_EQUAL(hf_open(world->fs, "file", O_RDONLY, 0644), 0);
    CHECK_EQUAL(hf_write(fs, 0, "x", 1), 1);
    CHECK_EQUAL(hf_lseek(world->fs, 0, 0, SEEK_END), 1);
    CHECK(hf_fs_detach(fs) == NULL);

    /* Without the server everything ends with a clear error. */
    hf_client_disconnect(world->client);
    CHECK_EQUAL(hf_open(world->fs, "new", O_CREAT | O_WRONLY, 0644), -ENOTCONN);
    CHECK_EQUAL(hf_lseek(world->fs, 0, 0, SEEK_END), -ENOTCONN);
    CHECK_EQUAL(hf_close(world->fs, 0), 0);
}

static void test_attaching(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_attach_badly, NULL);
    fs_world_deinit(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_are_resolved_as_the_kernel_does),
        cmocka_unit_test(test_no_path_leads_out_of_the_mount),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_attaching),
    };
    return cmocka_run_group_tests_name("fs paths", tests, NULL, NULL);
}
