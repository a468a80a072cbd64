/*
 * Names and attributes where two processes, open files or the surroundings of a process come
 * in: what the comparisons with the kernel and the matrix do not show.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static void make_file(hf_fs *fs, const char *path, const char *content)
{
    int fd = hf_open(fs, path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, content, strlen(content)), strlen(content));
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void check_content(hf_fs *fs, int fd, const char *content)
{
    char bytes[100];
    const size_t size = strlen(content);
    CHECK_EQUAL(hf_pread(fs, fd, bytes, sizeof bytes, 0), size);
    CHECK_EQUAL(memcmp(bytes, content, size), 0);
}

static void check_cwd(hf_fs *fs, const char *path)
{
    char cwd[PATH_MAX];
    CHECK_EQUAL(hf_getcwd(fs, cwd, sizeof cwd), strlen(path) + 1);
    CHECK_EQUAL(strcmp(cwd, path), 0);
}

static void play(fs_world_act *one, fs_world_act *other)
{
    struct fs_world world;
    fs_world_init(&world);
    pid_t first = fs_world_start(&world, one, NULL);
    pid_t second = other != NULL ? fs_world_start(&world, other, NULL) : 0;
    fs_world_wait(first);
    if (other != NULL) {
        fs_world_wait(second);
    }
    fs_world_deinit(&world);
}

/* ---- open files ---- */

static void act_have_open(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    make_file(fs, "moved", "moved");
    make_file(fs, "replaced", "replaced");
    int moved = hf_open(fs, "moved", O_RDWR, 0);
    int replaced = hf_open(fs, "replaced", O_RDWR, 0);
    CHECK(moved >= 0 && replaced >= 0);
    fs_world_meet(world);
    fs_world_meet(world); /* the other has renamed one over the other */
    check_content(fs, moved, "moved");
    check_content(fs, replaced, "replaced");
    CHECK_EQUAL(hf_fstat(fs, moved, &attributes), 0);
    CHECK_EQUAL(attributes.st_nlink, 1);
    CHECK_EQUAL(hf_fstat(fs, replaced, &attributes), 0);
    CHECK_EQUAL(attributes.st_nlink, 0);
    CHECK_EQUAL(hf_pwrite(fs, moved, "M", 1, 0), 1);
    CHECK_EQUAL(hf_pwrite(fs, replaced, "R", 1, 0), 1);
    int now = hf_open(fs, "replaced", O_RDONLY, 0);
    check_content(fs, now, "Moved");
    check_content(fs, replaced, "Replaced");
    CHECK_EQUAL(hf_open(fs, "moved", O_RDONLY, 0), -ENOENT);
}

static void act_rename_over(struct fs_world *world, void *argument)
{
    struct stat attributes;
    fs_world_meet(world);
    CHECK_EQUAL(hf_stat(world->fs, "moved", &attributes), 0);
    CHECK_EQUAL(hf_rename(world->fs, "moved", "replaced"), 0);
    fs_world_meet(world);
}

static void test_open_files_go_on_when_they_are_renamed_and_replaced(void **state)
{
    play(act_have_open, act_rename_over);
}

/* A file made without a name gets one, and then more. */
static void act_name_the_unnamed(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    int fd = hf_open(fs, ".", O_TMPFILE | O_RDWR, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, "text", 4), 4);
    CHECK_EQUAL(hf_linkat(fs, fd, "", HF_AT_FDCWD, "named", AT_EMPTY_PATH), 0);
    CHECK_EQUAL(hf_link(fs, "named", "again"), 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    CHECK_EQUAL(hf_stat(fs, "named", &attributes), 0);
    CHECK_EQUAL(attributes.st_nlink, 2);
    CHECK_EQUAL(hf_unlink(fs, "named"), 0);
    fd = hf_open(fs, "again", O_RDONLY, 0);
    check_content(fs, fd, "text");
}

static void test_a_file_without_a_name_gets_one(void **state)
{
    play(act_name_the_unnamed, NULL);
}

/* ---- working directory ---- */

static void act_stay(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    char small[5];
    check_cwd(fs, "/");
    CHECK_EQUAL(hf_mkdir(fs, "a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "a/b", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "other", 0755), 0);
    CHECK_EQUAL(hf_chdir(fs, "a/b"), 0);
    check_cwd(fs, "/a/b");
    CHECK_EQUAL(hf_getcwd(fs, small, 4), -ERANGE);
    CHECK_EQUAL(hf_getcwd(fs, small, 5), 5);
    CHECK_EQUAL(hf_getcwd(fs, small, 0), -EINVAL);
    CHECK_EQUAL(hf_getcwd(fs, NULL, 5), -EFAULT);
    make_file(fs, "file", "text");
    CHECK_EQUAL(hf_stat(fs, "../../a/b/file", &attributes), 0);
    fs_world_meet(world);
    fs_world_meet(world); /* the other has moved it */
    check_cwd(fs, "/other/c");
    CHECK_EQUAL(hf_stat(fs, "file", &attributes), 0);
    CHECK_EQUAL(hf_stat(fs, "../c/file", &attributes), 0);
    CHECK_EQUAL(hf_stat(fs, "../b/file", &attributes), -ENOENT);
    fs_world_meet(world);
    fs_world_meet(world); /* the other has removed it */
    CHECK_EQUAL(hf_getcwd(fs, small, 5), -ENOENT);
    CHECK_EQUAL(hf_stat(fs, ".", &attributes), 0);
    CHECK_EQUAL(hf_stat(fs, "file", &attributes), -ENOENT);
    CHECK_EQUAL(hf_open(fs, "file", O_CREAT | O_WRONLY, 0644), -ENOENT);
    CHECK_EQUAL(hf_chdir(fs, ".."), 0);
    check_cwd(fs, "/other");
}

static void act_move_and_remove(struct fs_world *world, void *argument)
{
    fs_world_meet(world);
    CHECK_EQUAL(hf_rename(world->fs, "a/b", "other/c"), 0);
    fs_world_meet(world);
    fs_world_meet(world);
    CHECK_EQUAL(hf_unlink(world->fs, "other/c/file"), 0);
    CHECK_EQUAL(hf_rmdir(world->fs, "other/c"), 0);
    fs_world_meet(world);
}

static void test_the_working_directory_survives_its_names(void **state)
{
    play(act_stay, act_move_and_remove);
}

static void act_fork(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    CHECK_EQUAL(hf_mkdir(fs, "a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "a/b", 0755), 0);
    CHECK_EQUAL(hf_chdir(fs, "a"), 0);
    CHECK_EQUAL(hf_umask(fs, 0077), 022);
    pid_t child = hf_fork();
    CHECK(child >= 0);
    if (child == 0) {
        check_cwd(fs, "/a");
        CHECK_EQUAL(hf_umask(fs, 0), 0077);
        CHECK_EQUAL(hf_chdir(fs, "b"), 0);
        check_cwd(fs, "/a/b");
        _exit(0);
    }
    fs_world_wait(child);
    check_cwd(fs, "/a");
    CHECK_EQUAL(hf_umask(fs, 0), 0077);
}

static void test_working_directory_and_umask_are_inherited(void **state)
{
    umask(022);
    play(act_fork, NULL);
}

/* ---- permissions ---- */

/* What may not be searched is not found in the cache either. */
static void act_without_privileges(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    CHECK_EQUAL(hf_mkdir(fs, "private", 0700), 0);
    if (geteuid() == 0) {
        CHECK_EQUAL(hf_chown(fs, "private", 65534, 65534), 0);
        fs_world_become_nobody(world);
        fs = world->fs;
    }
    make_file(fs, "private/file", "text");
    CHECK_EQUAL(hf_stat(fs, "private/file", &attributes), 0);
    CHECK_EQUAL(hf_chmod(fs, "private", 0600), 0);
    CHECK_EQUAL(hf_stat(fs, "private/file", &attributes), -EACCES);
    CHECK_EQUAL(hf_stat(fs, "private/none", &attributes), -EACCES);
    CHECK_EQUAL(hf_chdir(fs, "private"), -EACCES);
    CHECK_EQUAL(hf_access(fs, "private", X_OK), -EACCES);
    CHECK_EQUAL(hf_access(fs, "private", R_OK), 0);
    CHECK_EQUAL(hf_rename(fs, "private/file", "private/x"), -EACCES);
    CHECK_EQUAL(hf_chmod(fs, "private", 0700), 0);
    CHECK_EQUAL(hf_stat(fs, "private/file", &attributes), 0);
    CHECK_EQUAL(hf_chdir(fs, "private"), 0);
    CHECK_EQUAL(hf_link(fs, "file", "link"), 0);
    CHECK_EQUAL(hf_chown(fs, "file", 0, 0), -EPERM);
}

static void test_permissions_are_the_hosts(void **state)
{
    play(act_without_privileges, NULL);
}

/* ---- umask ---- */

static mode_t mode_of(hf_fs *fs, const char *path)
{
    struct stat attributes;
    CHECK_EQUAL(hf_lstat(fs, path, &attributes), 0);
    return attributes.st_mode & 07777;
}

/* The host takes the process's umask off by itself. */
static void act_mask(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    int fd;
    CHECK_EQUAL(hf_umask(fs, 0002), 022);
    umask(077);
    make_file(fs, "file", "");
    fd = hf_open(fs, "shared", O_CREAT | O_WRONLY, 0666);
    CHECK(fd >= 0);
    CHECK_EQUAL(mode_of(fs, "shared"), 0664);
    CHECK_EQUAL(mode_of(fs, "file"), 0644);
    CHECK_EQUAL(hf_mkdir(fs, "directory", 01777), 0);
    CHECK_EQUAL(mode_of(fs, "directory"), 01775);
    CHECK_EQUAL(hf_mkfifo(fs, "pipe", 0666), 0);
    CHECK_EQUAL(mode_of(fs, "pipe"), 0664);
    fd = hf_open(fs, ".", O_TMPFILE | O_WRONLY, 0666);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_linkat(fs, fd, "", HF_AT_FDCWD, "unnamed", AT_EMPTY_PATH), 0);
    CHECK_EQUAL(mode_of(fs, "unnamed"), 0664);
    CHECK_EQUAL(hf_umask(fs, 0777), 0002);
    CHECK_EQUAL(hf_mkdir(fs, "closed", 0777), 0);
    CHECK_EQUAL(mode_of(fs, "closed"), 0);
}

static void test_the_umask_is_the_one_of_the_filesystem_object(void **state)
{
    umask(022);
    play(act_mask, NULL);
}

/* ---- no way out ---- */

/* Somebody outside moves our working directory out of the mount. */
static void act_be_moved_out(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    char cwd[PATH_MAX];
    char from[160];
    char to[160];
    CHECK_EQUAL(hf_mkdir(fs, "dir", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "dir/sub", 0755), 0);
    CHECK_EQUAL(hf_chdir(fs, "dir/sub"), 0);
    int sub = hf_open(fs, ".", O_RDONLY | O_DIRECTORY, 0);
    CHECK(sub >= 0);
    snprintf(from, sizeof from, "%s/dir/sub", world->root);
    snprintf(to, sizeof to, "%s/sub", world->outside);
    CHECK_EQUAL(rename(from, to), 0);
    CHECK_EQUAL(hf_stat(fs, "..", &attributes), -ENOENT);
    CHECK_EQUAL(hf_stat(fs, "../../o", &attributes), -ENOENT);
    CHECK_EQUAL(hf_fstatat(fs, sub, "../secret", &attributes, 0), -ENOENT);
    CHECK_EQUAL(hf_openat(fs, sub, "..", O_RDONLY, 0), -ENOENT);
    CHECK_EQUAL(hf_renameat(fs, sub, "../x", HF_AT_FDCWD, "/x"), -ENOENT);
    CHECK_EQUAL(hf_getcwd(fs, cwd, sizeof cwd), -ENOENT);
    CHECK_EQUAL(hf_chdir(fs, ".."), -ENOENT);
    CHECK_EQUAL(hf_chdir(fs, "/"), 0);
}

static void test_a_rename_under_our_feet_leads_nowhere(void **state)
{
    FS_WORLD_DIRECT_ONLY("nobody else can move them out");
    play(act_be_moved_out, NULL);
}

/* ---- renames that cross each other ---- */

#define CROSSINGS 3000

/* Two processes move directories into each other's way, up and down: none waits for ever, and
 * no directory ends up below itself. */
static void act_cross(struct fs_world *world, void *argument)
{
    static const char *const names[] = {
        "/a", "/b", "/a/x", "/b/x", "/a/y", "/b/y", "/a/x/z", "/b/y/z", "/a/b", "/b/a"};
    const unsigned count = sizeof names / sizeof names[0];
    hf_fs *fs = world->fs;
    uint64_t random = (uint64_t)getpid();
    long moved = 0;
    for (int i = 0; i < CROSSINGS; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const char *from = names[(random >> 33) % count];
        const char *to = names[(random >> 43) % count];
        const unsigned flags = (random >> 53) % 3 == 0 ? RENAME_EXCHANGE : 0;
        int result = hf_mkdir(fs, names[(random >> 56) % count], 0755);
        CHECK(result == 0 || result == -EEXIST || result == -ENOENT);
        result = hf_renameat2(fs, HF_AT_FDCWD, from, HF_AT_FDCWD, to, flags);
        CHECK(result == 0 || result == -ENOENT || result == -EINVAL || result == -ENOTEMPTY ||
              result == -EEXIST);
        moved += result == 0;
    }
    CHECK(moved > CROSSINGS / 100);
}

static void test_renames_that_cross_each_other_end(void **state)
{
    play(act_cross, act_cross);
}

/* A file with a name in the very directory that it changes places with: who removes that name
 * holds the directory and wants the file. */
static void act_exchange_with_directory(struct fs_world *world, void *argument)
{
    fs_world_meet(world);
    for (int i = 0; i < CROSSINGS; i++) {
        CHECK_EQUAL(hf_renameat2(world->fs, HF_AT_FDCWD, "f", HF_AT_FDCWD, "d", RENAME_EXCHANGE),
                    0);
    }
}

static void act_remove_names_in_directory(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    const int directory = hf_open(fs, "d", O_RDONLY | O_DIRECTORY, 0);
    CHECK(directory >= 0);
    fs_world_meet(world);
    for (int i = 0; i < CROSSINGS; i++) {
        CHECK_EQUAL(hf_linkat(fs, directory, "kept", directory, "name", 0), 0);
        CHECK_EQUAL(hf_unlinkat(fs, directory, "name", 0), 0);
    }
}

/* Whichever of the two was made first, and has the lower number. */
static void act_make_both(struct fs_world *world, void *argument)
{
    const bool *directory_first = argument;
    if (*directory_first) {
        CHECK_EQUAL(hf_mkdir(world->fs, "d", 0755), 0);
    }
    make_file(world->fs, "f", "");
    if (!*directory_first) {
        CHECK_EQUAL(hf_mkdir(world->fs, "d", 0755), 0);
    }
    CHECK_EQUAL(hf_link(world->fs, "f", "d/kept"), 0);
}

static void hold_both(bool directory_first)
{
    struct fs_world world;
    pid_t pids[2];
    fs_world_init(&world);
    world.patience_seconds = 20;
    fs_world_play(&world, act_make_both, &directory_first);
    pids[0] = fs_world_start(&world, act_remove_names_in_directory, NULL);
    pids[1] = fs_world_start(&world, act_exchange_with_directory, NULL);
    fs_world_wait_for_both(pids);
    fs_world_deinit(&world);
}

static void test_a_file_and_its_directory_are_held_in_one_order(void **state)
{
    hold_both(true);
    hold_both(false);
}

/* What a process remembers of parents may go round in a circle, where it is out of date: that must
 * not keep the directories on it. */
static void act_turn_around(struct fs_world *world, void *argument)
{
    CHECK_EQUAL(hf_mkdir(world->fs, "/a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(world->fs, "/a/b", 0755), 0);
    fs_world_meet(world);
    fs_world_meet(world); /* the other knows where /a/b is */
    CHECK_EQUAL(hf_rename(world->fs, "/a/b", "/b"), 0);
    CHECK_EQUAL(hf_rename(world->fs, "/a", "/b/a"), 0);
    fs_world_meet(world);
}

static void act_remember_both(struct fs_world *world, void *argument)
{
    struct stat attributes;
    fs_world_meet(world);
    CHECK_EQUAL(hf_stat(world->fs, "/a/b/..", &attributes), 0);
    fs_world_meet(world);
    fs_world_meet(world); /* turned around */
    CHECK_EQUAL(hf_stat(world->fs, "/b/a/..", &attributes), 0);
    /* Leaving checks that nothing is left. */
}

static void test_parents_in_a_circle_are_let_go(void **state)
{
    play(act_turn_around, act_remember_both);
}

/* ---- arguments ---- */

static void act_use_badly(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    struct statx more;
    struct statfs statfs;
    char text[PATH_MAX + 10];
    const struct timespec times[2] = {{.tv_nsec = -1}, {.tv_nsec = 0}};

    CHECK_EQUAL(hf_rename(fs, NULL, "x"), -EFAULT);
    CHECK_EQUAL(hf_rename(fs, "x", NULL), -EFAULT);
    CHECK_EQUAL(hf_link(fs, NULL, "x"), -EFAULT);
    CHECK_EQUAL(hf_symlink(fs, NULL, "x"), -EFAULT);
    CHECK_EQUAL(hf_readlink(fs, "x", NULL, 5), -ENOENT);
    CHECK_EQUAL(hf_readlink(fs, "x", text, 0), -EINVAL);
    CHECK_EQUAL(hf_mknod(fs, NULL, S_IFIFO, 0), -EFAULT);
    CHECK_EQUAL(hf_chmod(fs, NULL, 0), -EFAULT);
    CHECK_EQUAL(hf_chown(fs, NULL, 0, 0), -EFAULT);
    CHECK_EQUAL(hf_utimensat(fs, HF_AT_FDCWD, NULL, NULL, 0), -EINVAL);
    CHECK_EQUAL(hf_utimensat(fs, HF_AT_FDCWD, "/", times, 0), -EINVAL);
    CHECK_EQUAL(hf_access(fs, NULL, 0), -EFAULT);
    CHECK_EQUAL(hf_access(fs, "/", 8), -EINVAL);
    CHECK_EQUAL(hf_chdir(fs, NULL), -EFAULT);
    CHECK_EQUAL(hf_fchdir(fs, 0), -EBADF);
    CHECK_EQUAL(hf_fchdir(fs, HF_AT_FDCWD), -EBADF);
    CHECK_EQUAL(hf_fchmod(fs, 0, 0), -EBADF);
    CHECK_EQUAL(hf_fchown(fs, -1, 0, 0), -EBADF);
    CHECK_EQUAL(hf_futimens(fs, INT_MAX, NULL), -EBADF);
    CHECK_EQUAL(hf_fstatfs(fs, 0, &statfs), -EBADF);
    CHECK_EQUAL(hf_statfs(fs, "/", NULL), -EFAULT);
    CHECK_EQUAL(hf_statx(fs, HF_AT_FDCWD, "/", 0, STATX__RESERVED, &more), -EINVAL);
    CHECK_EQUAL(hf_fstatat(fs, 0, "x", &attributes, 0), -EBADF);
    CHECK_EQUAL(hf_fstatat(fs, 0, "/", &attributes, 0), 0);
    CHECK_EQUAL(hf_fstatat(fs, 0, "", &attributes, 0), -ENOENT);
    CHECK_EQUAL(hf_fstatat(fs, 0, "", &attributes, AT_EMPTY_PATH), -EBADF);
    CHECK_EQUAL(hf_rename(fs, "/", "x"), -EBUSY);
    CHECK_EQUAL(hf_rename(fs, "x", "/"), -EBUSY);
    CHECK_EQUAL(hf_link(fs, "/", "x"), -EPERM);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK_EQUAL(hf_symlink(fs, text, "x"), -ENAMETOOLONG);
    CHECK_EQUAL(hf_symlink(fs, "x", text), -ENAMETOOLONG);
    text[NAME_MAX + 1] = '\0';
    CHECK_EQUAL(hf_mkfifo(fs, text, 0644), -ENAMETOOLONG);
    CHECK_EQUAL(hf_rename(fs, "/x", text), -ENOENT);
    CHECK_EQUAL(hf_mkfifo(fs, text + 1, 0644), 0);
    CHECK_EQUAL(hf_rename(fs, text + 1, text), -ENAMETOOLONG);
    CHECK_EQUAL(hf_mkdir(fs, "gone", 0755), 0);
    int gone = hf_open(fs, "gone", O_PATH, 0);
    CHECK_EQUAL(hf_fstatat(fs, gone, text, &attributes, 0), -ENAMETOOLONG);
    CHECK_EQUAL(hf_rmdir(fs, "gone"), 0);
    CHECK_EQUAL(hf_fstatat(fs, gone, text, &attributes, 0), -ENOENT);
    CHECK_EQUAL(hf_close(fs, gone), 0);
    CHECK_EQUAL(hf_open(fs, text + 1, O_WRONLY | O_NONBLOCK, 0), -ENXIO);

    int path_only = hf_open(fs, text + 1, O_PATH, 0);
    CHECK(path_only >= 0);
    CHECK_EQUAL(hf_fchmod(fs, path_only, 0600), -EBADF);
    CHECK_EQUAL(hf_fchown(fs, path_only, (uid_t)-1, (gid_t)-1), -EBADF);
    CHECK_EQUAL(hf_futimens(fs, path_only, NULL), -EBADF);
    CHECK_EQUAL(hf_fstatfs(fs, path_only, &statfs), 0);
    CHECK_EQUAL(hf_fchdir(fs, path_only), -ENOTDIR);
    CHECK_EQUAL(hf_fchmodat(fs, path_only, "", 0600, AT_EMPTY_PATH), 0);
    CHECK_EQUAL(mode_of(fs, text + 1), 0600);
}

static void test_bad_arguments(void **state)
{
    play(act_use_badly, NULL);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_files_go_on_when_they_are_renamed_and_replaced),
        cmocka_unit_test(test_a_file_without_a_name_gets_one),
        cmocka_unit_test(test_the_working_directory_survives_its_names),
        cmocka_unit_test(test_working_directory_and_umask_are_inherited),
        cmocka_unit_test(test_permissions_are_the_hosts),
        cmocka_unit_test(test_the_umask_is_the_one_of_the_filesystem_object),
        cmocka_unit_test(test_a_rename_under_our_feet_leads_nowhere),
        cmocka_unit_test(test_renames_that_cross_each_other_end),
        cmocka_unit_test(test_a_file_and_its_directory_are_held_in_one_order),
        cmocka_unit_test(test_parents_in_a_circle_are_let_go),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests_name("fs names", tests, NULL, NULL);
}
