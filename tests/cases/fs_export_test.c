/*
 * Open files that move to another program: both sides go on with one open file, as POSIX has it
 * for a fork.
 */
#include "fs_export.h"

#include "base/clock.h"

#include <errno.h>
#include <holdfast/mount.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fs_world world;
static struct puppet one;
static struct puppet other;
static int descriptors; /* of this process, the server's among them, with nothing parked */

/* But for those of a store in a directory, which has open what it likes. */
static int count_descriptors(void)
{
    int count = test_count_descriptors();
    for (int fd = 0; fd < 1024 && world.kind == FS_WORLD_DIR; fd++) {
        char link[40], path[PATH_MAX] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, path, sizeof path - 1) > 0 && strstr(path, world.root) == path) {
            count--;
        }
    }
    return count;
}

static int set_up(void **state)
{
    int ends[2];
    fs_world_init(&world);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    puppet_start(&one, world.server.address, fs_world_root(&world), ends[0]);
    puppet_start(&other, world.server.address, fs_world_root(&world), ends[1]);
    close(ends[0]);
    close(ends[1]);
    descriptors = count_descriptors();
    return 0;
}

/* The server may be about to close what it has said to be gone. */
static void await_descriptors(void)
{
    const uint64_t end_ns = clock_now_ns() + UINT64_C(20000000000);
    while (count_descriptors() != descriptors && clock_now_ns() < end_ns) {
        sched_yield();
    }
    assert_int_equal(count_descriptors(), descriptors);
}

/* Whatever was moved, nothing of it is left at the server. */
static int tear_down(void **state)
{
    test_server_await_clients(&world.server, 2);
    await_descriptors();
    assert_int_equal(test_server_stats(&world.server).parked, 0);
    puppet_end(&one);
    puppet_end(&other);
    fs_world_deinit(&world);
    return 0;
}

static void move_all(void)
{
    const struct bytes bytes = tell_export(&one);
    assert_int_equal(tell_import(&other, &bytes), 0);
}

static void test_the_offset_is_shared_both_ways(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "one "), 4);
    move_all();
    assert_int_equal(tell_offset(&other, 0), 4);
    assert_int_equal(tell_write(&other, 0, "two "), 4);
    assert_int_equal(tell_offset(&one, 0), 8);
    assert_int_equal(tell_write(&one, 0, "three"), 5);
    assert_int_equal(tell_write(&other, 0, " four"), 5);
    expect_file(&world, "file", "one two three four");
    assert_int_equal(tell_seek(&one, 0, 4, SEEK_SET), 4);
    expect_read(&other, 0, 4, "two ");
    expect_read(&one, 0, 100, "three four");
    expect_read(&other, 0, 100, "");
    /* Who closes it first makes no difference. */
    assert_int_equal(tell_close(&one, 0), 0);
    assert_int_equal(tell_write(&other, 0, "!"), 1);
    expect_file(&world, "file", "one two three four!");
}

static void test_status_flags_are_shared_both_ways(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_WRONLY | O_DSYNC), 0);
    assert_int_equal(tell_control(&one, 0, F_SETFL, O_APPEND), 0);
    move_all();
    assert_int_equal(tell_control(&other, 0, F_GETFL, 0), O_WRONLY | O_DSYNC | O_APPEND);
    assert_int_equal(tell_control(&other, 0, F_SETFL, 0), 0);
    assert_int_equal(tell_control(&one, 0, F_GETFL, 0), O_WRONLY | O_DSYNC);
    assert_int_equal(tell_write(&one, 0, "aaaa"), 4);
    assert_int_equal(tell_control(&one, 0, F_SETFL, O_APPEND | O_NONBLOCK), 0);
    assert_int_equal(tell_seek(&other, 0, 0, SEEK_SET), 0);
    assert_int_equal(tell_write(&other, 0, "bb"), 2);
    assert_int_equal(tell_control(&other, 0, F_GETFL, 0),
                     O_WRONLY | O_DSYNC | O_APPEND | O_NONBLOCK);
    expect_file(&world, "file", "aaaabb");
}

static void test_descriptors_keep_what_they_are(void **state)
{
    assert_int_equal(tell_open(&one, "a", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_open(&one, "b", O_CREAT | O_RDWR | O_CLOEXEC), 1);
    assert_int_equal(tell_open(&one, "a", O_RDONLY), 2);
    assert_int_equal(puppet_tell(&one, PUPPET_DUP2, 0, 300, 0, NULL, 0), 300);
    assert_int_equal(puppet_tell(&one, PUPPET_DUP2, 1, 65535, 0, NULL, 0), 65535);
    assert_int_equal(tell_close(&one, 1), 0);
    assert_int_equal(tell_control(&one, 300, F_SETFD, FD_CLOEXEC), 0);
    move_all();

    assert_int_equal(tell_control(&other, 0, F_GETFD, 0), 0);
    assert_int_equal(tell_control(&other, 1, F_GETFD, 0), -EBADF);
    assert_int_equal(tell_control(&other, 300, F_GETFD, 0), FD_CLOEXEC);
    assert_int_equal(tell_control(&other, 65535, F_GETFD, 0), 0);
    /* 0 and 300 are one open file, 2 is another one of the same file. */
    assert_int_equal(tell_write(&other, 300, "text"), 4);
    assert_int_equal(tell_offset(&other, 0), 4);
    assert_int_equal(tell_offset(&one, 0), 4);
    assert_int_equal(tell_offset(&other, 2), 0);
    expect_read(&other, 2, 10, "text");
    assert_int_equal(tell_write(&other, 2, "x"), -EBADF);
    assert_int_equal(tell_open(&other, "b", O_RDONLY), 1);
    assert_int_equal(tell_stat(&other, 65535).st_ino, tell_stat(&other, 1).st_ino);
}

static void test_access_modes_are_those_of_the_open(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_WRONLY), 0);
    assert_int_equal(tell_open(&one, "file", O_RDONLY | O_NOFOLLOW), 1);
    assert_int_equal(tell_open(&one, "file", 3), 2);
    move_all();
    assert_int_equal(puppet_tell(&other, PUPPET_READ, 0, 1, 0, NULL, 0), -EBADF);
    assert_int_equal(tell_write(&other, 0, "x"), 1);
    expect_read(&other, 1, 5, "x");
    assert_int_equal(tell_write(&other, 1, "x"), -EBADF);
    assert_int_equal(tell_control(&other, 1, F_GETFL, 0), O_RDONLY | O_NOFOLLOW);
    assert_int_equal(tell_control(&other, 2, F_GETFL, 0), 3);
    assert_int_equal(tell_write(&other, 2, "x"), -EBADF);
}

static void make_directory(const char *path)
{
    hf_fs *fs = fs_world_visit(&world);
    assert_int_equal(hf_mkdir(fs, path, 0755), 0);
    hf_fs_detach(fs);
}

static void make_directories(void)
{
    make_directory("d");
    make_directory("d/e");
}

static void test_working_directory_and_umask_go_along(void **state)
{
    make_directories();
    assert_int_equal(tell_path(&one, PUPPET_CHDIR, "d/e"), 0);
    assert_int_equal(puppet_tell(&one, PUPPET_UMASK, 031, 0, 0, NULL, 0), 022);
    move_all();
    assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), sizeof "/d/e");
    assert_string_equal(other.text, "/d/e");
    assert_int_equal(tell_open(&other, "../file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_stat(&other, 0).st_mode, S_IFREG | 0646);
    /* Each has its own from then on; the root is one, too. */
    assert_int_equal(tell_path(&one, PUPPET_CHDIR, "/"), 0);
    assert_int_equal(puppet_tell(&other, PUPPET_UMASK, 022, 0, 0, NULL, 0), 031);
    assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), sizeof "/d/e");
    assert_int_equal(tell_close(&other, 0), 0);
    move_all();
    assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), sizeof "/");
    assert_int_equal(tell_open(&other, "file", O_RDONLY), -ENOENT);
}

/* Also one that was removed: there is nothing in it, and nothing above. */
static void test_a_working_directory_that_was_removed(void **state)
{
    make_directories();
    assert_int_equal(tell_path(&one, PUPPET_CHDIR, "d/e"), 0);
    hf_fs *fs = fs_world_visit(&world);
    assert_int_equal(hf_rmdir(fs, "d/e"), 0);
    hf_fs_detach(fs);
    move_all();
    assert_int_equal(tell_open(&other, "file", O_CREAT | O_RDWR), -ENOENT);
    assert_int_equal(tell_open(&other, ".", O_RDONLY), 0);
    assert_int_equal(tell_stat(&other, 0).st_nlink, 0);
}

static void test_a_directory_is_read_on_by_the_other(void **state)
{
    char name[8];
    char seen[26] = {0};
    assert_int_equal(tell_open(&one, ".", O_RDONLY | O_DIRECTORY), 0);
    for (int i = 0; i < 26; i++) {
        snprintf(name, sizeof name, "%c", 'a' + i);
        assert_int_equal(tell_open(&one, name, O_CREAT | O_RDWR), 1);
        assert_int_equal(tell_close(&one, 1), 0);
    }
    move_all();
    for (int turn = 0;; turn++) {
        struct puppet *reader = turn % 2 == 0 ? &one : &other;
        if (puppet_tell(reader, PUPPET_READDIR, 0, 0, 0, NULL, 0) == 0) {
            break;
        }
        if (reader->text[0] != '.') {
            seen[reader->text[0] - 'a']++;
        }
    }
    for (int i = 0; i < 26; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_int_equal(puppet_tell(&one, PUPPET_READDIR, 0, 0, 0, NULL, 0), 0);
    assert_int_equal(puppet_tell(&other, PUPPET_OPEN_AT, 0, O_RDONLY, 0, "q", 1), 1);
}

/* It begins with itself and the one above, though nobody there has come by it yet. */
static void test_a_directory_that_the_other_has_not_seen(void **state)
{
    make_directories();
    assert_int_equal(tell_open(&one, "d/e", O_RDONLY | O_DIRECTORY), 0);
    move_all();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(puppet_tell(&other, PUPPET_READDIR, 0, 0, 0, NULL, 0), 1);
        assert_string_equal(other.text, i == 0 ? "." : "..");
    }
    assert_int_equal(puppet_tell(&other, PUPPET_READDIR, 0, 0, 0, NULL, 0), 0);
}

static void test_what_was_opened_with_o_path(void **state)
{
    make_directories();
    hf_fs *fs = fs_world_visit(&world);
    assert_int_equal(hf_symlink(fs, "where/it/leads", "link"), 0);
    hf_fs_detach(fs);
    assert_int_equal(tell_open(&one, "d/e/file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_close(&one, 0), 0);
    assert_int_equal(tell_open(&one, "d/e", O_PATH | O_DIRECTORY), 0);
    assert_int_equal(tell_open(&one, "link", O_PATH | O_NOFOLLOW), 1);
    assert_int_equal(tell_open(&one, "d/e/file", O_PATH), 2);
    move_all();
    assert_int_equal(tell_control(&other, 0, F_GETFL, 0), O_PATH | O_DIRECTORY);
    assert_int_equal(puppet_tell(&other, PUPPET_OPEN_AT, 0, O_RDWR, 0, "file", 4), 3);
    assert_int_equal(puppet_tell(&other, PUPPET_OPEN_AT, 0, O_RDWR, 0, "../link", 7), -ENOENT);
    assert_int_equal(puppet_tell(&other, PUPPET_READLINK, 1, 0, 0, NULL, 0), 14);
    assert_string_equal(other.text, "where/it/leads");
    assert_int_equal(puppet_tell(&other, PUPPET_READ, 2, 1, 0, NULL, 0), -EBADF);
    assert_int_equal(tell_stat(&other, 2).st_ino, tell_stat(&other, 3).st_ino);
}

static void test_files_without_a_name(void **state)
{
    assert_int_equal(tell_open(&one, "gone", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "still here"), 10);
    assert_int_equal(tell_path(&one, PUPPET_UNLINK, "gone"), 0);
    assert_int_equal(tell_open(&one, ".", O_TMPFILE | O_RDWR), 1);
    assert_int_equal(tell_write(&one, 1, "never named"), 11);
    const struct bytes bytes = tell_export(&one);
    assert_int_equal(tell_close(&one, 0), 0);
    assert_int_equal(tell_close(&one, 1), 0);

    assert_int_equal(tell_import(&other, &bytes), 0);
    assert_int_equal(tell_stat(&other, 0).st_nlink, 0);
    assert_int_equal(tell_seek(&other, 0, -4, SEEK_CUR), 6);
    expect_read(&other, 0, 10, "here");
    assert_int_equal(tell_write(&other, 1, ", so far"), 8);
    assert_int_equal(tell_control(&other, 1, F_GETFL, 0), O_TMPFILE | O_RDWR);
    assert_int_equal(tell_path(&other, PUPPET_CHDIR, "/"), 0);
    assert_int_equal(puppet_tell(&other, PUPPET_LINK, 1, 0, 0, "named", 5), 0);
    expect_file(&world, "named", "never named, so far");
}

/* Pipes and devices, whose offset and flags are the host's, which both have of it. */
static void test_what_is_special(void **state)
{
    hf_fs *fs = fs_world_visit(&world);
    assert_int_equal(hf_mkfifo(fs, "pipe", 0644), 0);
    hf_fs_detach(fs);
    assert_int_equal(tell_open(&one, "pipe", O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "through the pipe"), 16);
    move_all();
    expect_read(&other, 0, 8, "through ");
    assert_int_equal(tell_control(&other, 0, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(tell_control(&one, 0, F_GETFL, 0), O_RDWR | O_NONBLOCK);
    assert_int_equal(tell_close(&one, 0), 0);
    expect_read(&other, 0, 20, "the pipe");
    assert_int_equal(puppet_tell(&other, PUPPET_READ, 0, 1, 0, NULL, 0), -EAGAIN);
    assert_int_equal(tell_offset(&other, 0), -ESPIPE);
    assert_int_equal(tell_stat(&other, 0).st_mode & S_IFMT, S_IFIFO);
    /* The server has heard that it is closed when it has answered. */
    assert_int_equal(tell_close(&other, 0), 0);
    assert_int_equal(tell_open(&other, ".", O_TMPFILE | O_RDWR), 0);
    assert_int_equal(tell_close(&other, 0), 0);
}

/* Nobody removed it: its number may be another file's as soon as it is closed everywhere. */
static void test_the_number_of_a_file_without_a_name_is_given_away(void **state)
{
    for (int round = 0; round < 20; round++) {
        assert_int_equal(tell_open(&one, ".", O_TMPFILE | O_RDWR), 0);
        assert_int_equal(tell_write(&one, 0, "12345"), 5);
        move_all();
        assert_int_equal(tell_stat(&other, 0).st_size, 5);
        assert_int_equal(tell_close(&one, 0), 0);
        assert_int_equal(tell_close(&other, 0), 0);
        assert_int_equal(tell_open(&one, "next", O_CREAT | O_RDWR), 0);
        assert_int_equal(tell_open(&other, "next", O_RDONLY), 0);
        assert_int_equal(tell_stat(&other, 0).st_size, 0);
        assert_int_equal(tell_stat(&other, 0).st_nlink, 1);
        assert_int_equal(tell_close(&other, 0), 0);
        assert_int_equal(tell_close(&one, 0), 0);
        assert_int_equal(tell_path(&one, PUPPET_UNLINK, "next"), 0);
    }
}

static void test_it_moves_on_by_fork_and_by_export(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "one "), 4);
    move_all();
    assert_int_equal(puppet_tell(&other, PUPPET_FORK_WRITE, 0, 0, 0, "child ", 6), 0);
    struct puppet third;
    puppet_start(&third, world.server.address, fs_world_root(&world), -1);
    const struct bytes bytes = tell_export(&other);
    assert_int_equal(tell_import(&third, &bytes), 0);
    assert_int_equal(tell_write(&third, 0, "third "), 6);
    assert_int_equal(tell_write(&one, 0, "one"), 3);
    assert_int_equal(tell_offset(&other, 0), 19);
    puppet_end(&third);
    expect_file(&world, "file", "one child third one");
}

/* ---- mounts ---- */

static void mount_outside(const char *target, unsigned long flags)
{
    char text[200];
    const int length = snprintf(text, sizeof text, "%s%c%s", world.outside, '\0', target);
    make_directory(target);
    assert_int_equal(
        puppet_tell(&one, PUPPET_MOUNT, (int64_t)flags, 0, 0, text, (size_t)length + 1), 0);
}

static int64_t tell_unmount(const char *target)
{
    return tell_path(&one, PUPPET_UNMOUNT, target);
}

static void close_all(struct puppet *puppet, int count)
{
    for (int fd = 0; fd < count; fd++) {
        assert_int_equal(tell_close(puppet, fd), 0);
    }
}

static void test_an_open_file_is_in_its_mount(void **state)
{
    mount_outside("m", 0);
    mount_outside("r", MS_RDONLY);
    assert_int_equal(tell_open(&one, "m/file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_open(&one, "r/file", O_RDONLY), 1);
    assert_int_equal(tell_open(&one, "m", O_RDONLY), 2);
    assert_int_equal(tell_path(&one, PUPPET_CHDIR, "m"), 0);
    move_all();
    close_all(&one, 3);
    assert_int_equal(tell_path(&one, PUPPET_CHDIR, "/"), 0);

    assert_int_equal(puppet_tell(&other, PUPPET_CHMOD, 0, 0600, 0, NULL, 0), 0);
    assert_int_equal(puppet_tell(&other, PUPPET_CHMOD, 1, 0600, 0, NULL, 0), -EROFS);
    assert_int_equal(puppet_tell(&other, PUPPET_OPEN_AT, 2, O_RDONLY, 0, "../m/file", 9), 3);
    assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), sizeof "/m");
    assert_int_equal(tell_unmount("r"), -EBUSY);
    assert_int_equal(tell_close(&other, 1), 0);
    assert_int_equal(tell_unmount("r"), 0);
    assert_int_equal(tell_close(&other, 0), 0);
    assert_int_equal(tell_close(&other, 2), 0);
    assert_int_equal(tell_close(&other, 3), 0);
    assert_int_equal(tell_unmount("m"), -EBUSY);
    assert_int_equal(tell_path(&other, PUPPET_CHDIR, "/"), 0);
    assert_int_equal(tell_unmount("m"), 0);
}

/* On its way it uses none, so that can be taken away: the file is as in a detached one. */
static void test_a_mount_that_was_taken_away_meanwhile(void **state)
{
    mount_outside("m", 0);
    mount_outside("r", MS_RDONLY);
    assert_int_equal(tell_open(&one, "m/file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "text"), 4);
    assert_int_equal(tell_open(&one, "r/file", O_RDONLY), 1);
    assert_int_equal(tell_open(&one, "m", O_RDONLY), 2);
    assert_int_equal(tell_path(&one, PUPPET_CHDIR, "m"), 0);
    const struct bytes bytes = tell_export(&one);
    close_all(&one, 3);
    assert_int_equal(tell_path(&one, PUPPET_CHDIR, "/"), 0);
    assert_int_equal(tell_unmount("m"), 0);
    assert_int_equal(tell_unmount("r"), 0);

    assert_int_equal(tell_import(&other, &bytes), 0);
    assert_int_equal(tell_write(&other, 0, " and more"), 9);
    expect_read(&other, 1, 20, "text and more");
    assert_int_equal(puppet_tell(&other, PUPPET_CHMOD, 1, 0600, 0, NULL, 0), -EROFS);
    assert_int_equal(tell_open(&other, "file", O_RDONLY), 3);
    assert_int_equal(puppet_tell(&other, PUPPET_OPEN_AT, 2, O_RDONLY, 0, "file", 4), 4);
    assert_int_equal(puppet_tell(&other, PUPPET_OPEN_AT, 2, O_RDONLY, 0, "..", 2), -ENOENT);
    assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), -ENOENT);
    assert_int_equal(tell_path(&other, PUPPET_CHDIR, "/"), 0);
    close_all(&other, 5);
}

/* ---- one open file ---- */

static void test_one_open_file_gets_the_lowest_descriptor(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_open(&other, "file", O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "12"), 2);
    struct bytes bytes = tell_export_file(&one, 0);
    assert_int_equal(bytes.size, HF_EXPORT_FILE_SIZE);
    assert_int_equal(puppet_tell(&other, PUPPET_IMPORT_FILE, O_CLOEXEC, 0, 0, bytes.at, bytes.size),
                     1);
    assert_int_equal(tell_control(&other, 1, F_GETFD, 0), FD_CLOEXEC);
    assert_int_equal(tell_write(&other, 1, "34"), 2);
    assert_int_equal(tell_offset(&one, 0), 4);
    assert_int_equal(tell_offset(&other, 0), 0);
    expect_file(&world, "file", "1234");
    assert_int_equal(puppet_tell(&one, PUPPET_EXPORT_FILE, 7, 0, 0, NULL, 0), -EBADF);
}

/* One filesystem object has it once, however often it comes: else it would wait for itself. */
static void test_an_open_file_that_is_here_already(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "abcdef"), 6);
    struct bytes bytes = tell_export_file(&one, 0);
    assert_int_equal(tell_bytes(&one, PUPPET_IMPORT_FILE, &bytes), 1);
    bytes = tell_export_file(&one, 1);
    assert_int_equal(tell_bytes(&other, PUPPET_IMPORT_FILE, &bytes), 0);
    bytes = tell_export_file(&other, 0);
    assert_int_equal(tell_bytes(&one, PUPPET_IMPORT_FILE, &bytes), 2);

    assert_int_equal(tell_seek(&one, 2, 3, SEEK_SET), 3);
    assert_int_equal(tell_offset(&one, 1), 3);
    assert_int_equal(tell_offset(&other, 0), 3);
    assert_int_equal(puppet_tell(&one, PUPPET_COPY, 0, 2, 2, NULL, 0), -EINVAL); /* overlap */
    assert_int_equal(tell_open(&one, "copy", O_CREAT | O_RDWR), 3);
    assert_int_equal(puppet_tell(&one, PUPPET_COPY, 2, 3, 10, NULL, 0), 3);
    assert_int_equal(tell_offset(&one, 0), 6);
    expect_file(&world, "copy", "def");
    assert_int_equal(tell_close(&one, 0), 0);
    assert_int_equal(tell_close(&one, 1), 0);
    assert_int_equal(tell_offset(&one, 2), 6);
}

static void test_over_a_socket(void **state)
{
    assert_int_equal(tell_open(&one, "a", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_open(&one, "b", O_CREAT | O_RDWR), 1);
    assert_int_equal(tell_write(&one, 1, "b"), 1);
    assert_int_equal(puppet_tell(&one, PUPPET_SEND, 1, 0, 0, NULL, 0), 0);
    assert_int_equal(puppet_tell(&one, PUPPET_SEND, 0, 0, 0, NULL, 0), 0);
    assert_int_equal(tell_close(&one, 0), 0);
    assert_int_equal(tell_close(&one, 1), 0);
    /* And one that is waited for. */
    assert_int_equal(puppet_tell(&other, PUPPET_RECEIVE, 0, 0, 0, NULL, 0), 0);
    assert_int_equal(puppet_tell(&other, PUPPET_RECEIVE, O_CLOEXEC, 0, 0, NULL, 0), 1);
    puppet_command(&other, PUPPET_RECEIVE, 0, 0, 0, NULL, 0);
    assert_int_equal(tell_open(&one, "c", O_CREAT | O_RDWR), 0);
    assert_int_equal(puppet_tell(&one, PUPPET_SEND, 0, 0, 0, NULL, 0), 0);
    assert_int_equal(puppet_answer(&other), 2);

    assert_int_equal(tell_offset(&other, 0), 1);
    assert_int_equal(tell_write(&other, 1, "a"), 1);
    assert_int_equal(tell_control(&other, 1, F_GETFD, 0), FD_CLOEXEC);
    expect_file(&world, "a", "a");
    assert_int_equal(puppet_tell(&one, PUPPET_SEND, 1, 0, 0, NULL, 0), -EBADF);
    assert_int_equal(puppet_tell(&other, PUPPET_RECEIVE, O_APPEND, 0, 0, NULL, 0), -EINVAL);
}

static void test_a_socket_whose_other_end_is_closed(void **state)
{
    assert_int_equal(tell_open(&one, "a", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "a"), 1);
    puppet_end(&other);
    assert_int_equal(puppet_tell(&one, PUPPET_SEND, 0, 0, 0, NULL, 0), -EPIPE);
    assert_int_equal(puppet_tell(&one, PUPPET_RECEIVE, 0, 0, 0, NULL, 0), -ECONNRESET);
    assert_int_equal(tell_offset(&one, 0), 1);
    puppet_start(&other, world.server.address, fs_world_root(&world), -1);
}

/* ---- what it costs, and what is seen ---- */

static void test_messages(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "text"), 4);
    int64_t before = puppet_tell(&one, PUPPET_SENT, 0, 0, 0, NULL, 0);
    /* Register, acquire, publish; park. */
    const struct bytes bytes = tell_export(&one);
    assert_int_equal(puppet_tell(&one, PUPPET_SENT, 0, 0, 0, NULL, 0) - before, 4);
    assert_int_equal(tell_close(&one, 0), 0);

    before = puppet_tell(&other, PUPPET_SENT, 0, 0, 0, NULL, 0);
    /* Claim, register; drop. */
    assert_int_equal(tell_import(&other, &bytes), 0);
    assert_int_equal(puppet_tell(&other, PUPPET_SENT, 0, 0, 0, NULL, 0) - before, 3);
    assert_int_equal(tell_seek(&other, 0, 0, SEEK_SET), 0);
    expect_read(&other, 0, 4, "text");
    before = puppet_tell(&other, PUPPET_SENT, 0, 0, 0, NULL, 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(tell_offset(&other, 0), 4);
        assert_int_equal(tell_control(&other, 0, F_GETFL, 0), O_RDWR);
        tell_stat(&other, 0);
    }
    assert_int_equal(puppet_tell(&other, PUPPET_SENT, 0, 0, 0, NULL, 0) - before, 0);
    assert_int_equal(tell_seek(&other, 0, 0, SEEK_SET), 0); /* what moves it publishes it */
    assert_int_equal(puppet_tell(&other, PUPPET_SENT, 0, 0, 0, NULL, 0) - before, 1);

    /* Of what is there to export nothing but the length is asked. */
    before = puppet_tell(&other, PUPPET_SENT, 0, 0, 0, NULL, 0);
    assert_int_equal(puppet_tell(&other, PUPPET_EXPORT, 55, 0, 0, NULL, 0), -ERANGE);
    assert_int_equal(puppet_tell(&other, PUPPET_SENT, 0, 0, 0, NULL, 0) - before, 0);
}

/* The importer's inode is the same as that of everybody: it caches, and is told. */
static void test_nothing_stale_is_seen_through_an_imported_file(void **state)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    move_all();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tell_write(&one, 0, "x"), 1);
        assert_int_equal(tell_stat(&other, 0).st_size, 2 * i + 1);
        assert_int_equal(tell_offset(&other, 0), 2 * i + 1);
        assert_int_equal(tell_write(&other, 0, "y"), 1);
        assert_int_equal(tell_seek(&one, 0, 0, SEEK_END), 2 * i + 2);
    }
    assert_int_equal(tell_path(&one, PUPPET_UNLINK, "file"), 0);
    assert_int_equal(tell_stat(&other, 0).st_nlink, 0);
    assert_int_equal(tell_open(&other, "file", O_RDONLY), -ENOENT);
    assert_int_equal(puppet_tell(&other, PUPPET_LINK, 0, 0, 0, "again", 5), -ENOENT);
}

int main(int argc, char **argv)
{
    int status;
    if (puppet_play(argc, argv, &status)) {
        return status;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_offset_is_shared_both_ways),
        TEST(test_status_flags_are_shared_both_ways),
        TEST(test_descriptors_keep_what_they_are),
        TEST(test_access_modes_are_those_of_the_open),
        TEST(test_working_directory_and_umask_go_along),
        TEST(test_a_working_directory_that_was_removed),
        TEST(test_a_directory_is_read_on_by_the_other),
        TEST(test_a_directory_that_the_other_has_not_seen),
        TEST(test_what_was_opened_with_o_path),
        TEST(test_files_without_a_name),
        TEST(test_what_is_special),
        TEST(test_the_number_of_a_file_without_a_name_is_given_away),
        TEST(test_it_moves_on_by_fork_and_by_export),
        TEST(test_an_open_file_is_in_its_mount),
        TEST(test_a_mount_that_was_taken_away_meanwhile),
        TEST(test_one_open_file_gets_the_lowest_descriptor),
        TEST(test_an_open_file_that_is_here_already),
        TEST(test_over_a_socket),
        TEST(test_a_socket_whose_other_end_is_closed),
        TEST(test_messages),
        TEST(test_nothing_stale_is_seen_through_an_imported_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
