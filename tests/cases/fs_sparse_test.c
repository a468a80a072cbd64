/*
 * Large files with holes, and time stamps: what one process makes of them another sees, and a limited
 * store counts, to the page and to the nanosecond.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PAGE INT64_C(4096)
#define LARGE (INT64_C(8) << 30)
#define MIDDLE (LARGE / 2)
#define LIMIT (INT64_C(64) << 20) /* of the served mount: the file would never fit */

static const off_t with_data[] = {0, MIDDLE, LARGE - PAGE};

/* Of a served mount; -1: the host's, which others use too. */
static int64_t used_pages(hf_fs *fs)
{
    struct statfs usage;
    CHECK_EQUAL(hf_statfs(fs, "/", &usage), 0);
    return fs_world_is_served() ? (int64_t)(usage.f_blocks - usage.f_bfree) : -1;
}

static void write_page(hf_fs *fs, int fd, off_t at)
{
    char page[PAGE];
    memset(page, 'a' + (int)(at / MIDDLE), sizeof page);
    CHECK_EQUAL(hf_pwrite(fs, fd, page, sizeof page, at), PAGE);
}

static void act_make_large(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    const int64_t before = used_pages(fs);
    const int fd = hf_open(fs, "large", O_CREAT | O_EXCL | O_RDWR, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_ftruncate(fs, fd, LARGE), 0);
    CHECK(before < 0 || used_pages(fs) == before);
    for (int i = 0; i < 3; i++) {
        write_page(fs, fd, with_data[i]);
        CHECK(before < 0 || used_pages(fs) == before + i + 1);
    }
    CHECK_EQUAL(hf_fsync(fs, fd), 0);
    CHECK_EQUAL(hf_fstat(fs, fd, &attributes), 0);
    CHECK_EQUAL(attributes.st_size, LARGE);
    CHECK_EQUAL(attributes.st_blocks, 3 * PAGE / 512);
}

/* Another process: it has cached nothing of it. */
static void act_look_at_large(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    char page[PAGE];
    const int64_t before = used_pages(fs);
    const int fd = hf_open(fs, "large", O_RDWR, 0);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_END), LARGE);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_DATA), 0);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_HOLE), PAGE);
    CHECK_EQUAL(hf_lseek(fs, fd, PAGE, SEEK_DATA), MIDDLE);
    CHECK_EQUAL(hf_lseek(fs, fd, MIDDLE + 5, SEEK_DATA), MIDDLE + 5);
    CHECK_EQUAL(hf_lseek(fs, fd, MIDDLE, SEEK_HOLE), MIDDLE + PAGE);
    CHECK_EQUAL(hf_lseek(fs, fd, MIDDLE + PAGE, SEEK_DATA), LARGE - PAGE);
    CHECK_EQUAL(hf_lseek(fs, fd, LARGE - 1, SEEK_HOLE), LARGE);
    CHECK_EQUAL(hf_lseek(fs, fd, LARGE, SEEK_DATA), -ENXIO);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(hf_pread(fs, fd, page, sizeof page, with_data[i]), PAGE);
        CHECK_EQUAL(page[0], 'a' + with_data[i] / MIDDLE);
        CHECK_EQUAL(page[PAGE - 1], page[0]);
    }
    /* Reading holes leaves them holes. */
    CHECK_EQUAL(hf_pread(fs, fd, page, sizeof page, MIDDLE - PAGE), PAGE);
    for (int64_t i = 0; i < PAGE; i++) {
        CHECK_EQUAL(page[i], 0);
    }
    CHECK(before < 0 || used_pages(fs) == before);
    /* A hole more, and then no data at all. */
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    CHECK_EQUAL(hf_fallocate(fs, fd, punch, MIDDLE, PAGE), 0);
    CHECK(before < 0 || used_pages(fs) == before - 1);
    CHECK_EQUAL(hf_lseek(fs, fd, PAGE, SEEK_DATA), LARGE - PAGE);
    CHECK_EQUAL(hf_ftruncate(fs, fd, LARGE - PAGE), 0);
    CHECK_EQUAL(hf_lseek(fs, fd, PAGE, SEEK_DATA), -ENXIO);
    CHECK_EQUAL(hf_ftruncate(fs, fd, 0), 0);
    CHECK(before < 0 || used_pages(fs) == before - 3);
}

static void test_holes_of_a_large_file_stay_holes(void **state)
{
    struct fs_world world;
    fs_world_init_limited(&world, LIMIT);
    fs_world_play(&world, act_make_large, NULL);
    fs_world_play(&world, act_look_at_large, NULL);
    fs_world_deinit(&world);
}

/* ---- times ---- */

#define CLIENTS 3

static bool is_same(const struct statx_timestamp *one, const struct statx_timestamp *other)
{
    return one->tv_sec == other->tv_sec && one->tv_nsec == other->tv_nsec;
}

/* All clients say the same, whoever is asked first. Return: what they say. */
static struct statx agree(hf_fs *const clients[CLIENTS], const char *path)
{
    struct statx said[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQUAL(hf_statx(clients[i],
                             HF_AT_FDCWD,
                             path,
                             AT_SYMLINK_NOFOLLOW,
                             STATX_BASIC_STATS | STATX_BTIME,
                             &said[i]),
                    0);
        CHECK(is_same(&said[i].stx_atime, &said[0].stx_atime));
        CHECK(is_same(&said[i].stx_mtime, &said[0].stx_mtime));
        CHECK(is_same(&said[i].stx_ctime, &said[0].stx_ctime));
        CHECK(is_same(&said[i].stx_btime, &said[0].stx_btime));
    }
    return said[0];
}

static void append(hf_fs *fs, const char *path)
{
    const int fd = hf_open(fs, path, O_WRONLY | O_APPEND, 0);
    CHECK_EQUAL(hf_write(fs, fd, "x", 1), 1);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void read_one(hf_fs *fs, const char *path)
{
    char byte;
    const int fd = hf_open(fs, path, O_RDONLY, 0);
    CHECK_EQUAL(hf_read(fs, fd, &byte, 1), 1);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

/* One after the other changes what the others have just looked at. */
static void act_change_times(struct fs_world *world, void *argument)
{
    static const struct timespec given[2] = {{.tv_sec = 1000000001, .tv_nsec = 123456789},
                                             {.tv_sec = 2000000002, .tv_nsec = 987654321}};
    hf_fs *const clients[CLIENTS] = {world->fs, fs_world_visit(world), fs_world_visit(world)};
    CHECK_EQUAL(hf_mkdir(clients[0], "d", 0755), 0);
    CHECK_EQUAL(hf_mknod(clients[0], "d/f", 0644, 0), 0);
    CHECK_EQUAL(hf_symlink(clients[0], "d/f", "link"), 0);
    for (int i = 0; i < 2 * CLIENTS; i++) {
        hf_fs *fs = clients[i % CLIENTS];
        struct statx before = agree(clients, "d/f");
        fs_world_wait_for_the_clock();
        append(fs, "d/f");
        struct statx after = agree(clients, "d/f");
        CHECK(!is_same(&after.stx_mtime, &before.stx_mtime));
        CHECK(is_same(&after.stx_ctime, &after.stx_mtime));
        CHECK(is_same(&after.stx_btime, &before.stx_btime));
        fs_world_wait_for_the_clock();
        read_one(clients[(i + 1) % CLIENTS], "link");
        (void)agree(clients, "d/f");
        (void)agree(clients, "link");
        CHECK_EQUAL(hf_utimensat(fs, HF_AT_FDCWD, "d/f", given, 0), 0);
        after = agree(clients, "d/f");
        CHECK_EQUAL(after.stx_atime.tv_sec, 1000000001);
        CHECK_EQUAL(after.stx_atime.tv_nsec, 123456789);
        CHECK_EQUAL(after.stx_mtime.tv_sec, 2000000002);
        CHECK_EQUAL(after.stx_mtime.tv_nsec, 987654321);
        before = agree(clients, "d");
        fs_world_wait_for_the_clock();
        CHECK_EQUAL(hf_rename(fs, "d/f", "d/g"), 0);
        CHECK_EQUAL(hf_rename(fs, "d/g", "d/f"), 0);
        const struct statx directory = agree(clients, "d");
        CHECK(!is_same(&directory.stx_mtime, &before.stx_mtime));
        const struct statx renamed = agree(clients, "d/f");
        CHECK(!is_same(&renamed.stx_ctime, &after.stx_ctime));
    }
    hf_fs_detach(clients[1]);
    hf_fs_detach(clients[2]);
}

/* How often a kernel's file and ours move their time of access, by the same calls: a link's is moved
 * by who follows it and by who reads it, the first after each change. */
#define LINK_STEPS 8

static void use_a_link(hf_fs *fs, int step)
{
    char target[8];
    struct stat attributes;
    if (step % 4 == 3) {
        CHECK_EQUAL(fs == NULL ? lchown("link", (uid_t)-1, getegid())
                               : hf_lchown(fs, "link", (uid_t)-1, getegid()),
                    0);
    } else if (step % 4 == 1) {
        CHECK_EQUAL(fs == NULL ? readlink("link", target, sizeof target)
                               : hf_readlink(fs, "link", target, sizeof target),
                    4);
    } else {
        CHECK_EQUAL(fs == NULL ? stat("link", &attributes) : hf_stat(fs, "link", &attributes), 0);
    }
}

static void act_use_links(struct fs_world *world, void *argument)
{
    hf_fs *const clients[CLIENTS] = {world->fs, fs_world_visit(world), fs_world_visit(world)};
    struct stat before, after;
    CHECK_EQUAL(chdir(world->outside), 0);
    CHECK_EQUAL(close(open("file", O_CREAT | O_WRONLY, 0644)), 0);
    CHECK_EQUAL(symlink("file", "link"), 0);
    CHECK_EQUAL(hf_mknod(world->fs, "file", 0644, 0), 0);
    CHECK_EQUAL(hf_symlink(world->fs, "file", "link"), 0);
    for (int step = 0; step < LINK_STEPS * CLIENTS; step++) {
        CHECK_EQUAL(lstat("link", &before), 0);
        const struct statx ours_before = agree(clients, "link");
        fs_world_wait_for_the_clock();
        use_a_link(clients[step % CLIENTS], step);
        use_a_link(NULL, step);
        const struct statx ours = agree(clients, "link");
        CHECK_EQUAL(lstat("link", &after), 0);
        CHECK_EQUAL(is_same(&ours.stx_atime, &ours_before.stx_atime),
                    after.st_atim.tv_sec == before.st_atim.tv_sec &&
                        after.st_atim.tv_nsec == before.st_atim.tv_nsec);
    }
    hf_fs_detach(clients[1]);
    hf_fs_detach(clients[2]);
}

/* Where nothing is asked of the host for a link that is known, its time stays as it was. */
static void test_using_a_link_moves_its_time(void **state)
{
    struct fs_world world;
    struct statvfs host;
    if (!fs_world_is_served()) {
        return;
    }
    fs_world_init(&world);
    assert_int_equal(statvfs(world.outside, &host), 0);
    if ((host.f_flag & ST_RELATIME) != 0) {
        fs_world_play(&world, act_use_links, NULL);
    }
    fs_world_deinit(&world);
}

static void test_all_clients_see_the_same_times(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_change_times, NULL);
    fs_world_deinit(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holes_of_a_large_file_stay_holes),
        cmocka_unit_test(test_all_clients_see_the_same_times),
        cmocka_unit_test(test_using_a_link_moves_its_time),
    };
    return cmocka_run_group_tests_name("fs sparse", tests, NULL, NULL);
}
