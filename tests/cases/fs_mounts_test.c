/*
 * The namespace: all clients of a server see the same mounts, which come and go under them.
 */
#include "cases/fs_mounts.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fs_world world;

static int set_up(void **state)
{
    fs_world_init(&world);
    return 0;
}

static int tear_down(void **state)
{
    fs_world_deinit(&world);
    return 0;
}

/* ---- what the actors do ---- */

static void make_directory_outside(const struct fs_world *here, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", here->outside, name);
    CHECK_EQUAL(mkdir(path, 0755), 0);
}

static void check_cwd(hf_fs *fs, const char *expected)
{
    char path[PATH_MAX];
    CHECK_EQUAL(hf_getcwd(fs, path, sizeof path), strlen(expected) + 1);
    CHECK(strcmp(path, expected) == 0);
}

/* One of two processes does each part, and the other waits for it to be done. */
static void take_turns(struct fs_world *here, int role,
                       void (*const parts[])(struct fs_world *here))
{
    for (int i = 0; parts[i] != NULL; i++) {
        if (i % 2 == role) {
            parts[i](here);
        }
        fs_world_meet(here);
    }
}

static void play_turns(fs_world_act *act)
{
    static int first = 0;
    static int second = 1;
    pid_t pid = fs_world_start(&world, act, &first);
    fs_world_play(&world, act, &second);
    fs_world_wait(pid);
}

/* ---- the same for all ---- */

static void one_makes_the_place(struct fs_world *here)
{
    CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
    make_file(here->fs, "/m/below");
    make_directory_outside(here, "inner");
}

static void other_looks_before(struct fs_world *here)
{
    CHECK_EQUAL(look(here->fs, "/m/below"), 0);
    CHECK_EQUAL(look(here->fs, "/m/above"), -ENOENT);
    CHECK_EQUAL(look(here->fs, "/m/inner/deep"), -ENOENT);
}

static void one_mounts(struct fs_world *here)
{
    CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", 0), 0);
    make_file(here->fs, "/m/above");
    CHECK_EQUAL(hf_mkdir(here->fs, "/elsewhere", 0755), 0);
    make_file(here->fs, "/elsewhere/deep");
}

static void other_sees_it_and_mounts_in_it(struct fs_world *here)
{
    char source[160];
    CHECK_EQUAL(look(here->fs, "/m/above"), 0);
    CHECK_EQUAL(look(here->fs, "/m/below"), -ENOENT);
    snprintf(source, sizeof source, "%s/elsewhere", here->root);
    CHECK_EQUAL(mount_direct(here->fs, source, "/m/inner", MS_RDONLY), 0);
}

static void one_sees_both(struct fs_world *here)
{
    hf_mount_info *mounts;
    char source[160];
    CHECK_EQUAL(look(here->fs, "/m/inner/deep"), 0);
    CHECK_EQUAL(hf_mounts(here->fs, &mounts), 3);
    CHECK(strcmp(mounts[0].path, "/") == 0 && mounts[0].parent == 0);
    CHECK(strcmp(mounts[0].source, here->root) == 0);
    CHECK(strcmp(mounts[1].path, "/m") == 0 && mounts[1].parent == mounts[0].number);
    CHECK(strcmp(mounts[1].source, here->outside) == 0);
    CHECK(strcmp(mounts[2].path, "/m/inner") == 0 && mounts[2].parent == mounts[1].number);
    snprintf(source, sizeof source, "%s/elsewhere", here->root);
    CHECK(strcmp(mounts[2].source, source) == 0);
    CHECK_EQUAL(mounts[1].flags, 0);
    CHECK_EQUAL(mounts[2].flags, MS_RDONLY);
    CHECK(strcmp(mounts[2].type, "direct") == 0);
    free(mounts);
}

static void other_unmounts(struct fs_world *here)
{
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY); /* there is one in it */
    CHECK_EQUAL(hf_umount2(here->fs, "/m/inner", 0), 0);
    CHECK_EQUAL(look(here->fs, "/m/inner/deep"), -ENOENT);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
}

static void one_sees_what_was_below(struct fs_world *here)
{
    CHECK_EQUAL(look(here->fs, "/m/below"), 0);
    CHECK_EQUAL(look(here->fs, "/m/above"), -ENOENT);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EINVAL);
}

static void act_share_mounts(struct fs_world *here, void *role)
{
    static void (*const parts[])(struct fs_world * here) = {
        one_makes_the_place,
        other_looks_before,
        one_mounts,
        other_sees_it_and_mounts_in_it,
        one_sees_both,
        other_unmounts,
        one_sees_what_was_below,
        NULL,
    };
    take_turns(here, *(int *)role, parts);
}

static void test_all_clients_see_the_same_mounts(void **state)
{
    play_turns(act_share_mounts);
}

/* ---- seen at once ---- */

#define TRIALS 500

/* All that tells whether the directory outside is mounted at /m, read-only. */
static void expect_mounted(hf_fs *fs, bool is_mounted)
{
    char path[PATH_MAX];
    CHECK_EQUAL(look(fs, "/m/above"), is_mounted ? 0 : -ENOENT);
    CHECK_EQUAL(look(fs, "/m/below"), is_mounted ? -ENOENT : 0);
    CHECK_EQUAL(hf_access(fs, "/m", W_OK), is_mounted ? -EROFS : 0);
    CHECK_EQUAL(hf_rename(fs, "/m", "/m"), 0);
    CHECK_EQUAL(hf_rename(fs, "/m", "/n"), is_mounted ? -EBUSY : 0);
    if (!is_mounted) {
        CHECK_EQUAL(hf_rename(fs, "/n", "/m"), 0);
    }
    int fd = hf_open(fs, "/m/below", O_RDONLY, 0);
    CHECK_EQUAL(fd < 0 ? fd : hf_close(fs, fd), is_mounted ? -ENOENT : 0);
    CHECK_EQUAL(hf_chdir(fs, "/m"), 0);
    CHECK_EQUAL(look(fs, "above"), is_mounted ? 0 : -ENOENT);
    CHECK_EQUAL(hf_getcwd(fs, path, sizeof path), 3);
    CHECK_EQUAL(hf_chdir(fs, ".."), 0);
}

static void act_change_and_look(struct fs_world *here, void *role)
{
    if (*(int *)role == 0) {
        CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
        make_file(here->fs, "/m/below");
        make_directory_outside(here, "above");
    }
    fs_world_meet(here);
    for (int trial = 0; trial < TRIALS; trial++) {
        if (trial / 2 % 2 == *(int *)role) {
            const int result = trial % 2 == 0
                                   ? mount_direct(here->fs, here->outside, "/m", MS_RDONLY)
                                   : hf_umount2(here->fs, "/m", 0);
            CHECK_EQUAL(result, 0);
            fs_world_meet(here); /* now the other looks */
        } else {
            fs_world_meet(here);
            expect_mounted(here->fs, trial % 2 == 0);
        }
        fs_world_meet(here);
    }
}

static void test_every_mount_and_unmount_is_seen_at_once(void **state)
{
    play_turns(act_change_and_look);
}

/* ---- paths across mounts ---- */

static void act_walk(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    char target[16];
    hf_dirent entry;

    make_directory_outside(here, "sub");
    CHECK_EQUAL(hf_mkdir(fs, "/a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/a/m", 0755), 0);
    make_file(fs, "/top");
    const ino_t covered = number_of(fs, "/a/m");
    CHECK_EQUAL(mount_direct(fs, here->outside, "/a/m", 0), 0);
    CHECK(number_of(fs, "/a/m") != covered);
    CHECK_EQUAL(number_of(fs, "/a/m/.."), number_of(fs, "/a"));
    CHECK_EQUAL(number_of(fs, "/a/m/sub/../.."), number_of(fs, "/a"));
    CHECK_EQUAL(number_of(fs, "/a/m/../m/."), number_of(fs, "/a/m"));
    CHECK_EQUAL(number_of(fs, "/a/m/../../../.."), number_of(fs, "/"));

    /* A link with an absolute target begins at "/", in whatever mount it is; another one goes
     * through `..` as any path does. */
    CHECK_EQUAL(hf_symlink(fs, "/top", "/a/m/sub/absolute"), 0);
    CHECK_EQUAL(hf_symlink(fs, "../../../top", "/a/m/sub/relative"), 0);
    CHECK_EQUAL(number_of(fs, "/a/m/sub/absolute"), number_of(fs, "/top"));
    CHECK_EQUAL(number_of(fs, "/a/m/sub/relative"), number_of(fs, "/top"));
    CHECK_EQUAL(hf_readlink(fs, "/a/m/sub/absolute", target, sizeof target), 4);
    CHECK_EQUAL(hf_symlink(fs, "a/m", "/to-mount"), 0);
    CHECK_EQUAL(number_of(fs, "/to-mount"), number_of(fs, "/a/m"));

    CHECK_EQUAL(hf_chdir(fs, "/a/m/sub"), 0);
    check_cwd(fs, "/a/m/sub");
    CHECK_EQUAL(look(fs, "../../../top"), 0);
    CHECK_EQUAL(hf_chdir(fs, ".."), 0);
    check_cwd(fs, "/a/m");
    CHECK_EQUAL(hf_chdir(fs, ".."), 0);
    check_cwd(fs, "/a");

    /* From open directories, and with names that are opened themselves. */
    int root = hf_open(fs, "m", O_RDONLY | O_DIRECTORY, 0);
    CHECK(root >= 0);
    CHECK_EQUAL(hf_readdir(fs, root, &entry), 1);
    CHECK_EQUAL(entry.ino, number_of(fs, "/a/m"));
    CHECK_EQUAL(hf_openat(fs, root, "..", O_RDONLY, 0), 1);
    CHECK_EQUAL(hf_fchdir(fs, 1), 0);
    check_cwd(fs, "/a");
    CHECK_EQUAL(hf_close(fs, root), 0);
    CHECK_EQUAL(hf_close(fs, 1), 0);

    /* Mounted on the root of a mount it covers that. */
    CHECK_EQUAL(mount_direct(fs, here->root, "/a/m", 0), 0);
    CHECK_EQUAL(number_of(fs, "/a/m"), number_of(fs, "/"));
    CHECK_EQUAL(number_of(fs, "/a/m/.."), number_of(fs, "/a"));
    CHECK_EQUAL(number_of(fs, "/a/m/a/m"), covered); /* nothing is mounted in the second one */
    CHECK_EQUAL(hf_umount2(fs, "/a/m", 0), 0);
    CHECK_EQUAL(hf_umount2(fs, "/a/m", 0), 0);
    CHECK_EQUAL(number_of(fs, "/a/m"), covered);
}

static void test_paths_go_through_mounts_as_on_linux(void **state)
{
    fs_world_play(&world, act_walk, NULL);
}

/* Who was in a directory before something was mounted on it mounts on top of that. */
static void act_mount_on_covered(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    make_directory_outside(here, "first");
    make_directory_outside(here, "second");
    char first[160], second[160];
    snprintf(first, sizeof first, "%s/first", here->outside);
    snprintf(second, sizeof second, "%s/second", here->outside);
    CHECK_EQUAL(hf_mkdir(fs, "/m", 0755), 0);
    CHECK_EQUAL(hf_chdir(fs, "/m"), 0);
    CHECK_EQUAL(mount_direct(fs, first, "/m", 0), 0);
    CHECK_EQUAL(mount_direct(fs, second, ".", 0), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/m/in-second", 0755), 0);
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *other = fs_world_attach(here, &config);
    CHECK_EQUAL(look(other, "/m/in-second"), 0);
    hf_fs_detach(other);
    CHECK_EQUAL(hf_umount2(fs, "/m", 0), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/m/in-first", 0755), 0);
    CHECK_EQUAL(hf_umount2(fs, "/m", 0), 0);
    CHECK_EQUAL(chdir(here->outside), 0);
    CHECK_EQUAL(access("second/in-second", F_OK), 0);
    CHECK_EQUAL(access("first/in-first", F_OK), 0);
}

static void test_a_mount_on_a_covered_directory_is_on_top(void **state)
{
    fs_world_play(&world, act_mount_on_covered, NULL);
}

static void act_use_badly(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    hf_mount_info *mounts;
    char file[160];

    CHECK_EQUAL(hf_mkdir(fs, "/m", 0755), 0);
    make_file(fs, "/file");
    snprintf(file, sizeof file, "%s/file", here->root);
    CHECK_EQUAL(mount_direct(fs, here->outside, "/file", 0), -ENOTDIR);
    CHECK_EQUAL(mount_direct(fs, here->outside, "/missing", 0), -ENOENT);
    CHECK_EQUAL(mount_direct(fs, here->outside, "", 0), -ENOENT);
    CHECK_EQUAL(mount_direct(fs, here->outside, "/", 0), -EBUSY);
    CHECK_EQUAL(mount_direct(fs, file, "/m", 0), -ENOTDIR);
    CHECK_EQUAL(mount_direct(fs, "/missing/directory", "/m", 0), -ENOENT);
    CHECK_EQUAL(mount_direct(fs, NULL, "/m", 0), -EFAULT);
    CHECK_EQUAL(mount_direct(fs, here->outside, NULL, 0), -EFAULT);
    CHECK_EQUAL(hf_mount(fs, here->outside, "/m", NULL, 0, NULL), -EFAULT);
    CHECK_EQUAL(hf_mount(fs, here->outside, "/m", "ext4", 0, NULL), -ENODEV);
    CHECK_EQUAL(mount_direct(fs, here->outside, "/m", MS_REMOUNT | MS_RDONLY), -EINVAL);
    CHECK_EQUAL(hf_mount(fs, here->outside, "/m", "direct", 0, "external"), -EINVAL);
    CHECK_EQUAL(hf_umount2(fs, "/", 0), -EBUSY);
    CHECK_EQUAL(hf_umount2(fs, "/", MNT_DETACH), -EBUSY);
    CHECK_EQUAL(hf_umount2(fs, "/m", 0), -EINVAL);
    CHECK_EQUAL(hf_umount2(fs, "/missing", 0), -ENOENT);
    CHECK_EQUAL(hf_umount2(fs, NULL, 0), -EFAULT);
    CHECK_EQUAL(hf_umount2(fs, "/m", MNT_FORCE), -EINVAL);
    CHECK_EQUAL(hf_mounts(fs, NULL), -EFAULT);
    CHECK_EQUAL(hf_mounts(fs, &mounts), 1);
    free(mounts);

    /* A link at the end is followed unless that is not wanted. */
    CHECK_EQUAL(hf_symlink(fs, "m", "/link"), 0);
    CHECK_EQUAL(hf_mount(fs, here->outside, "/link", "direct", 0, "external=check"), 0);
    CHECK_EQUAL(hf_mounts(fs, &mounts), 2);
    CHECK(strcmp(mounts[1].path, "/m") == 0);
    CHECK_EQUAL(mounts[1].external, HF_EXTERNAL_CHECK);
    free(mounts);
    CHECK_EQUAL(hf_umount2(fs, "/link", UMOUNT_NOFOLLOW), -EINVAL);
    CHECK_EQUAL(hf_umount2(fs, "/link", 0), 0);
}

static void test_what_cannot_be_mounted_is_refused(void **state)
{
    fs_world_play(&world, act_use_badly, NULL);
}

/* ---- checked ---- */

static void act_check(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    char path[160];
    CHECK_EQUAL(hf_mkdir(fs, "/checked", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/believed", 0755), 0);
    make_directory_outside(here, "sub");
    CHECK_EQUAL(hf_mount(fs, here->outside, "/checked", "direct", 0, "external=check"), 0);
    CHECK_EQUAL(look(fs, "/checked/sub/new"), -ENOENT);
    CHECK_EQUAL(look(fs, "/believed/new"), -ENOENT);
    snprintf(path, sizeof path, "%s/sub/new", here->outside);
    CHECK_EQUAL(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/believed/new", here->root);
    CHECK_EQUAL(mkdir(path, 0755), 0);
    CHECK_EQUAL(look(fs, "/checked/sub/new"), 0);
    CHECK_EQUAL(look(fs, "/believed/new"), -ENOENT); /* as nobody else was to make it */
}

static void test_only_a_checked_mount_is_checked(void **state)
{
    fs_world_play(&world, act_check, NULL);
}

/* ---- a mount point stays where it is ---- */

static void one_mounts_in_a(struct fs_world *here)
{
    CHECK_EQUAL(hf_mkdir(here->fs, "/a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(here->fs, "/a/m", 0755), 0);
    CHECK_EQUAL(hf_mkdir(here->fs, "/dir", 0755), 0);
    make_file(here->fs, "/file");
    CHECK_EQUAL(mount_direct(here->fs, here->outside, "/a/m", 0), 0);
    CHECK_EQUAL(hf_mkdir(here->fs, "/again", 0755), 0);
    CHECK_EQUAL(mount_direct(here->fs, here->root, "/again", 0), 0);
}

static void other_tries_to_move_it(struct fs_world *here)
{
    hf_fs *fs = here->fs;
    CHECK_EQUAL(hf_rmdir(fs, "/a/m"), -EBUSY);
    CHECK_EQUAL(hf_unlink(fs, "/a/m"), -EISDIR);
    CHECK_EQUAL(hf_rename(fs, "/a/m", "/a/n"), -EBUSY);
    CHECK_EQUAL(hf_rename(fs, "/dir", "/a/m"), -EBUSY);
    CHECK_EQUAL(hf_rename(fs, "/file", "/a/m"), -EISDIR);
    CHECK_EQUAL(hf_rename(fs, "/a/m", "/file"), -ENOTDIR);
    CHECK_EQUAL(hf_renameat2(fs, HF_AT_FDCWD, "/a/m", HF_AT_FDCWD, "/dir", RENAME_EXCHANGE),
                -EBUSY);
    CHECK_EQUAL(hf_mkdir(fs, "/a/m", 0755), -EEXIST);
    /* It is one directory, by whatever way it is reached. */
    CHECK_EQUAL(hf_rmdir(fs, "/again/a/m"), -EBUSY);
    CHECK_EQUAL(hf_rename(fs, "/again/a/m", "/again/n"), -EBUSY);
    /* Those above it may go elsewhere, and it goes with them. */
    CHECK_EQUAL(hf_rename(fs, "/a", "/b"), 0);
    CHECK_EQUAL(hf_chdir(fs, "/b/m"), 0);
    check_cwd(fs, "/b/m");
    CHECK_EQUAL(hf_chdir(fs, "/"), 0);
}

static void one_moves_it_in_the_end(struct fs_world *here)
{
    CHECK_EQUAL(hf_umount2(here->fs, "/b/m", 0), 0);
    CHECK_EQUAL(hf_rename(here->fs, "/b/m", "/b/n"), 0);
    CHECK_EQUAL(hf_rmdir(here->fs, "/b/n"), 0);
}

static void act_move_mount_points(struct fs_world *here, void *role)
{
    static void (*const parts[])(struct fs_world * here) = {
        one_mounts_in_a, other_tries_to_move_it, one_moves_it_in_the_end, NULL};
    take_turns(here, *(int *)role, parts);
}

static void test_a_mount_point_cannot_be_moved_or_removed(void **state)
{
    play_turns(act_move_mount_points);
}

/* ---- who has it, and for how long ---- */

static void act_mount_and_stay(struct fs_world *here, void *argument)
{
    CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
    CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", 0), 0);
    make_file(here->fs, "/m/file");
    CHECK_EQUAL(hf_chdir(here->fs, "/m"), 0);
    fs_world_meet(here);
    for (;;) {
        pause();
    }
}

static void act_find_and_unmount(struct fs_world *here, void *argument)
{
    CHECK_EQUAL(look(here->fs, "/m/file"), 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0); /* who was in it is dead */
    CHECK_EQUAL(look(here->fs, "/m/file"), -ENOENT);
}

static void test_a_mount_outlives_who_mounted_it_and_all_clients(void **state)
{
    pid_t pid = fs_world_start(&world, act_mount_and_stay, NULL);
    fs_world_meet(&world);
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fs_world_play(&world, act_find_and_unmount, NULL);
}

static void act_take_what_is_there(struct fs_world *here, void *argument)
{
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *fs;
    make_file(here->fs, "/file");
    fs = fs_world_attach(here, &config);
    CHECK_EQUAL(look(fs, "/file"), 0);
    hf_fs_detach(fs);
}

static void test_a_client_need_not_name_a_root(void **state)
{
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_client *client;
    hf_fs *fs;
    assert_int_equal(hf_client_connect(world.server.address, NULL, &client), 0);
    assert_int_equal(hf_fs_attach(client, &config, &fs), -ENODEV);
    hf_client_unref(client);
    fs_world_play(&world, act_take_what_is_there, NULL);
}

static void act_lose_source(struct fs_world *here, void *argument)
{
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *late; /* who has not been there before the source has moved */
    char path[160];
    char moved[160];
    make_directory_outside(here, "source");
    CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
    snprintf(path, sizeof path, "%s/source", here->outside);
    snprintf(moved, sizeof moved, "%s/moved", here->outside);
    CHECK_EQUAL(mount_direct(here->fs, path, "/m", 0), 0);
    CHECK_EQUAL(rename(path, moved), 0);
    late = fs_world_attach(here, &config);
    CHECK_EQUAL(look(here->fs, "/m"), 0);
    CHECK_EQUAL(look(late, "/m"), -ENOENT);
    CHECK_EQUAL(look(late, "/m/.."), -ENOENT);
    CHECK_EQUAL(hf_open(late, "/m", O_RDONLY, 0), -ENOENT);
    CHECK_EQUAL(hf_open(late, "/m", O_RDONLY | O_CREAT, 0644), -ENOENT);
    CHECK_EQUAL(look(late, "/"), 0);
    CHECK_EQUAL(mkdir(path, 0755), 0);
    CHECK_EQUAL(look(late, "/m"), -ESTALE);
    CHECK_EQUAL(rmdir(path), 0);
    CHECK_EQUAL(rename(moved, path), 0);
    CHECK_EQUAL(look(late, "/m"), 0);
    CHECK_EQUAL(hf_umount2(late, "/m", 0), 0);
    /* Who cannot go there can take it away. */
    CHECK_EQUAL(mount_direct(here->fs, path, "/m", 0), 0);
    CHECK_EQUAL(rename(path, moved), 0);
    CHECK_EQUAL(look(late, "/m"), -ENOENT);
    CHECK_EQUAL(hf_umount2(late, "/m", 0), 0);
    CHECK_EQUAL(look(late, "/m"), 0);
    hf_fs_detach(late);
}

static void test_a_source_that_cannot_be_opened_fails_only_who_walks_there(void **state)
{
    fs_world_play(&world, act_lose_source, NULL);
}

/* ---- coming and going under walkers ---- */

#define WALKERS 2

static void act_walk_on(struct fs_world *here, void *argument)
{
    uint64_t seen_below = 0;
    char path[PATH_MAX];
    fs_world_meet(here);
    while (atomic_load(&here->shared->slots[0]) == 0 || seen_below == 0) {
        int below = look(here->fs, "/m/below");
        int above = look(here->fs, "/m/inner/deep");
        CHECK(below == 0 || below == -ENOENT);
        CHECK(above == 0 || above == -ENOENT);
        CHECK_EQUAL(number_of(here->fs, "/m/inner/../.."), number_of(here->fs, "/"));
        seen_below += below == 0;
        if (hf_chdir(here->fs, "/m/inner") == 0) {
            ssize_t length = hf_getcwd(here->fs, path, sizeof path);
            CHECK(length == -ENOENT || strcmp(path, "/m/inner") == 0);
            CHECK_EQUAL(hf_chdir(here->fs, "/"), 0);
        }
    }
}

static void act_change_mounts(struct fs_world *here, void *argument)
{
    make_directory_outside(here, "inner");
    CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
    CHECK_EQUAL(hf_mkdir(here->fs, "/m/inner", 0755), 0);
    CHECK_EQUAL(hf_mkdir(here->fs, "/elsewhere", 0755), 0);
    make_file(here->fs, "/m/below");
    make_file(here->fs, "/elsewhere/deep");
    char source[160];
    snprintf(source, sizeof source, "%s/elsewhere", here->root);
    fs_world_meet(here);
    for (int i = 0; i < 200; i++) {
        CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", 0), 0);
        CHECK_EQUAL(mount_direct(here->fs, source, "/m/inner", 0), 0);
        int result = i % 2 == 0 ? -EBUSY : hf_umount2(here->fs, "/m/inner", 0);
        CHECK(result == 0 || result == -EBUSY);
        CHECK_EQUAL(hf_umount2(here->fs, "/m", MNT_DETACH), 0);
    }
    atomic_store(&here->shared->slots[0], 1);
}

static void test_mounts_come_and_go_under_walkers(void **state)
{
    pid_t pids[WALKERS];
    fs_world_set_meeting(&world, WALKERS + 1);
    for (int i = 0; i < WALKERS; i++) {
        pids[i] = fs_world_start(&world, act_walk_on, NULL);
    }
    fs_world_play(&world, act_change_mounts, NULL);
    for (int i = 0; i < WALKERS; i++) {
        fs_world_wait(pids[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        CASE(test_all_clients_see_the_same_mounts),
        CASE(test_every_mount_and_unmount_is_seen_at_once),
        CASE(test_paths_go_through_mounts_as_on_linux),
        CASE(test_what_cannot_be_mounted_is_refused),
        CASE(test_only_a_checked_mount_is_checked),
        CASE(test_a_mount_point_cannot_be_moved_or_removed),
        CASE(test_a_mount_outlives_who_mounted_it_and_all_clients),
        CASE(test_a_client_need_not_name_a_root),
        CASE(test_a_source_that_cannot_be_opened_fails_only_who_walks_there),
        CASE(test_a_mount_on_a_covered_directory_is_on_top),
        CASE(test_mounts_come_and_go_under_walkers),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("fs mounts", tests, NULL, NULL);
}
