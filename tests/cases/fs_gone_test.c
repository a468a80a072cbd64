/*
 * What has lost its last name goes, with all that we had of it; and what has not stays, with all
 * that we know of it.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <holdfast/export.h>
#include <limits.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static void play(fs_world_act *act)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act, NULL);
    fs_world_deinit(&world);
}

static void make(hf_fs *fs, const char *path)
{
    int fd = hf_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

/* ---- without a name ---- */

/* Descriptors that keep a removed file on the host, its space included: of this process, or of the
 * server's that is its parent; in memory, the files that the server has but for the root. */
static int count_removed(hf_fs *fs)
{
    int count = 0;
    struct statfs usage;
    const pid_t owner = fs_world_is_served() ? getppid() : getpid();
    if (fs_world_is_served()) {
        CHECK_EQUAL(hf_statfs(fs, "/", &usage), 0); /* the server has done all that came before */
    }
    if (fs_world_kind() == FS_WORLD_RAM) {
        return (int)(usage.f_files - usage.f_ffree) - 1;
    }
    for (int fd = 0; fd < 256; fd++) {
        char link[40], path[PATH_MAX] = "";
        snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)owner, fd);
        count += readlink(link, path, sizeof path - 1) >= 0 && strstr(path, " (deleted)") != NULL;
    }
    return count;
}

/* A file with a descriptor of the host that is kept for it. */
static void make_with_node(hf_fs *fs, const char *path)
{
    make(fs, path);
    CHECK_EQUAL(hf_chmod(fs, path, 0600), 0);
}

static void lose_by_unlink(hf_fs *fs)
{
    make_with_node(fs, "f");
    CHECK_EQUAL(hf_unlink(fs, "f"), 0);
}

static void lose_by_rmdir(hf_fs *fs)
{
    CHECK_EQUAL(hf_mkdir(fs, "d", 0755), 0);
    CHECK_EQUAL(hf_chmod(fs, "d", 0700), 0);
    CHECK_EQUAL(hf_rmdir(fs, "d"), 0);
}

static void lose_by_rename(hf_fs *fs)
{
    make_with_node(fs, "f");
    make_with_node(fs, "g");
    CHECK_EQUAL(hf_rename(fs, "g", "f"), 0);
    CHECK_EQUAL(hf_unlink(fs, "f"), 0);
}

static void lose_directory_by_rename(hf_fs *fs)
{
    CHECK_EQUAL(hf_mkdir(fs, "d", 0755), 0);
    CHECK_EQUAL(hf_chmod(fs, "d", 0700), 0);
    CHECK_EQUAL(hf_mkdir(fs, "e", 0755), 0);
    CHECK_EQUAL(hf_rename(fs, "e", "d"), 0);
    CHECK_EQUAL(hf_rmdir(fs, "d"), 0);
}

static void never_have_one(hf_fs *fs)
{
    int fd = hf_open(fs, "/", O_TMPFILE | O_RDWR, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_fchmod(fs, fd, 0600), 0);
    CHECK_EQUAL(count_removed(fs) > 0, true);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void lose_while_open(hf_fs *fs)
{
    make_with_node(fs, "f");
    int fd = hf_open(fs, "f", O_RDWR, 0);
    CHECK_EQUAL(hf_unlink(fs, "f"), 0);
    CHECK_EQUAL(hf_fchmod(fs, fd, 0644), 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void act_lose_names(struct fs_world *world, void *argument)
{
    static void (*const ways[])(hf_fs * fs) = {
        lose_by_unlink,
        lose_by_rmdir,
        lose_by_rename,
        lose_directory_by_rename,
        never_have_one,
        lose_while_open,
    };
    hf_fs_stats before, after;
    struct stat attributes;
    CHECK_EQUAL(hf_stat(world->fs, "/", &attributes), 0);
    hf_fs_get_stats(world->fs, &before);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        ways[i](world->fs);
        hf_fs_get_stats(world->fs, &after);
        CHECK_EQUAL(after.inodes, before.inodes);
        CHECK_EQUAL(after.nodes, before.nodes);
        CHECK_EQUAL(count_removed(world->fs), 0);
    }
}

/* It had no name any more when it came. */
static void act_import_removed(struct fs_world *world, void *argument)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *importer = fs_world_attach(world, &config);
    uint8_t bytes[256];
    int fd = hf_open(world->fs, "f", O_CREAT | O_RDWR, 0644);
    const ssize_t size = hf_export_file(world->fs, fd, bytes, sizeof bytes);
    CHECK(size > 0);
    CHECK_EQUAL(hf_unlink(world->fs, "f"), 0);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
    fd = hf_import_file(importer, bytes, (size_t)size, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_fchmod(importer, fd, 0600), 0);
    CHECK_EQUAL(hf_close(importer, fd), 0);
    CHECK_EQUAL(count_removed(world->fs), 0);
    hf_fs_detach(importer);
}

/* The host gives its space back at once, not when our caches are full. */
static void test_nothing_is_kept_of_what_has_no_name(void **state)
{
    play(act_lose_names);
    play(act_import_removed);
}

/* A removed directory that somebody has open has no entries, not even `.`, whatever was listed. */
static void act_read_removed(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    hf_dirent entry;
    CHECK_EQUAL(hf_mkdir(fs, "d", 0755), 0);
    int fd = hf_open(fs, "d", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_readdir(fs, fd, &entry), 1);
    CHECK_EQUAL(hf_rmdir(fs, "d"), 0);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_SET), 0);
    CHECK_EQUAL(hf_readdir(fs, fd, &entry), -ENOENT); /* as getdents(2) */
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void test_a_removed_directory_has_no_entries(void **state)
{
    play(act_read_removed);
}

/* ---- with one ---- */

static uint64_t messages(const struct fs_world *world)
{
    hf_client_stats stats;
    hf_client_get_stats(world->client, &stats);
    return stats.acquires_sent + stats.releases_sent + stats.grants_received +
           stats.recalls_received;
}

/* What is cached of the entries goes, what is cached of the files does not. */
static void forget_entries(hf_fs *fs)
{
    CHECK_EQUAL(hf_chmod(fs, "d", 0700), 0);
    CHECK_EQUAL(hf_chmod(fs, "d", 0755), 0);
}

static void expect_still_held(struct fs_world *world, const char *path)
{
    struct stat attributes;
    forget_entries(world->fs);
    const uint64_t before = messages(world);
    CHECK_EQUAL(hf_stat(world->fs, path, &attributes), 0);
    CHECK_EQUAL(messages(world) - before, 0);
}

/* Two names, made by others; one of them is known. */
static void make_two_names(struct fs_world *world)
{
    struct stat attributes;
    hf_fs *others = fs_world_visit(world);
    make(others, "d/one");
    CHECK_EQUAL(hf_link(others, "d/one", "d/other"), 0);
    hf_fs_detach(others);
    forget_entries(world->fs);
    CHECK_EQUAL(hf_stat(world->fs, "d/one", &attributes), 0);
}

/* Without privileges a directory that may not be written refuses the host's rename. */
static void fail_to_replace(struct fs_world *world)
{
    struct stat attributes;
    CHECK_EQUAL(hf_chown(world->fs, "d", NOBODY, NOBODY), 0);
    fs_world_become_nobody(world);
    CHECK_EQUAL(hf_chmod(world->fs, "d", 0555), 0);
    CHECK_EQUAL(hf_stat(world->fs, "d/b", &attributes), 0);
    CHECK_EQUAL(hf_rename(world->fs, "d/a", "d/b"), -EACCES);
}

static void act_keep_names(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    int status;
    CHECK_EQUAL(hf_mkdir(fs, "d", 0755), 0);

    make_two_names(world);
    CHECK_EQUAL(hf_unlink(fs, "d/one"), 0);
    expect_still_held(world, "d/other");
    CHECK_EQUAL(hf_unlink(fs, "d/other"), 0);

    make_two_names(world);
    make(fs, "d/new");
    CHECK_EQUAL(hf_rename(fs, "d/new", "d/one"), 0);
    expect_still_held(world, "d/other");

    /* A child gives it the first name it has. */
    int fd = hf_open(fs, "d", O_TMPFILE | O_RDWR, 0644);
    CHECK(fd >= 0);
    const pid_t child = hf_fork();
    if (child == 0) {
        _exit(hf_linkat(fs, fd, "", HF_AT_FDCWD, "d/named", AT_EMPTY_PATH) == 0 ? 0 : 1);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(hf_stat(fs, "d/named", &attributes), 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    expect_still_held(world, "d/named");

    make(fs, "d/a");
    make(fs, "d/b");
    fail_to_replace(world);
    expect_still_held(world, "d/b");
}

/* It lost a name, or might have, or has got one: what is held of it stays held. */
static void test_what_has_a_name_stays_held(void **state)
{
    play(act_keep_names);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_kept_of_what_has_no_name),
        cmocka_unit_test(test_a_removed_directory_has_no_entries),
        cmocka_unit_test(test_what_has_a_name_stays_held),
    };
    return cmocka_run_group_tests_name("fs gone", tests, NULL, NULL);
}
