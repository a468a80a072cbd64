/*
 * Several processes write to one file, with O_APPEND or through one open file, and some are
 * killed: nothing that a completed write wrote is lost.
 */
#include "lib/test.h"
#include "lib/fs_world.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITERS 4
#define LINES 1500

/* Lines of different lengths, so that a wrong place tears some. */
static void write_lines(hf_fs *fs, int fd, int writer)
{
    char line[80];
    for (int i = 0; i < LINES; i++) {
        int length = snprintf(line,
                              sizeof line,
                              "%d %d %.*s\n",
                              writer,
                              i,
                              (i * 7 + writer) % 40,
                              "........................................");
        CHECK_EQUAL(hf_write(fs, fd, line, (size_t)length), length);
    }
}

/* Every line is there, whole, once, and each writer's in their order. */
static void check_lines(const struct fs_world *world, const char *name)
{
    size_t size;
    int next[WRITERS] = {0};
    char *content = fs_world_read_file(world, name, &size);
    char *line = content;
    while (line < content + size) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        char *rest;
        long writer = strtol(line, &rest, 10);
        long number = strtol(rest, &rest, 10);
        assert_true(writer >= 0 && writer < WRITERS);
        assert_int_equal(number, next[writer]);
        assert_int_equal(strspn(rest + 1, "."), (number * 7 + writer) % 40);
        assert_int_equal(strlen(rest + 1), (number * 7 + writer) % 40);
        next[writer]++;
        line = end + 1;
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(next[i], LINES);
    }
    free(content);
}

static void act_append(struct fs_world *world, void *argument)
{
    const int *writer = argument;
    fs_world_meet(world);
    int fd = hf_open(world->fs, "log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    CHECK(fd >= 0);
    write_lines(world->fs, fd, *writer);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

static void test_appending_processes_lose_nothing(void **state)
{
    struct fs_world world;
    pid_t pids[WRITERS];

    fs_world_init(&world);
    fs_world_set_meeting(&world, WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fs_world_start(&world, act_append, &i);
    }
    for (int i = 0; i < WRITERS; i++) {
        fs_world_wait(pids[i]);
    }
    check_lines(&world, "log");
    fs_world_deinit(&world);
}

/* Fork a child that runs on its own. Return: its pid, 0 in the child. */
static pid_t fork_writer(bool plain)
{
    pid_t pid = plain ? fork() : hf_fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(FS_WORLD_PATIENCE_SECONDS);
    }
    return pid;
}

static void wait_for_child(pid_t pid)
{
    int status;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);
}

static void act_share_offset(struct fs_world *world, void *argument)
{
    pid_t pids[WRITERS];
    int fd = hf_open(world->fs, "shared", O_WRONLY | O_CREAT, 0644);
    CHECK(fd >= 0);
    for (int i = 0; i < WRITERS - 1; i++) {
        pids[i] = fork_writer(i % 2 == 0);
        if (pids[i] == 0) {
            write_lines(world->fs, fd, i);
            CHECK_EQUAL(hf_close(world->fs, fd), 0);
            fs_world_leave(world);
            _exit(0);
        }
    }
    write_lines(world->fs, fd, WRITERS - 1);
    for (int i = 0; i < WRITERS - 1; i++) {
        wait_for_child(pids[i]);
    }
    struct stat attributes;
    CHECK_EQUAL(hf_fstat(world->fs, fd, &attributes), 0);
    CHECK_EQUAL(hf_lseek(world->fs, fd, 0, SEEK_CUR), attributes.st_size);
}

static void test_an_offset_shared_by_forks_loses_nothing(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_share_offset, NULL);
    check_lines(&world, "shared");
    fs_world_deinit(&world);
}

/* A grandchild shares with its grandparent, a descriptor closed here stays open there, and the
 * value outlives the process that set it last. */
static void act_pass_on(struct fs_world *world, void *argument)
{
    char bytes[20] = "";
    int fd = hf_open(world->fs, "file", O_RDWR | O_CREAT, 0644);
    int copy = hf_dup(world->fs, fd);
    CHECK(fd >= 0 && copy >= 0);
    CHECK_EQUAL(hf_write(world->fs, fd, "ab", 2), 2);
    pid_t child = fork_writer(false);
    if (child == 0) {
        CHECK_EQUAL(hf_close(world->fs, fd), 0);
        pid_t grandchild = fork_writer(true);
        if (grandchild == 0) {
            CHECK_EQUAL(hf_write(world->fs, copy, "cd", 2), 2);
            _exit(0); /* without a word to anybody */
        }
        wait_for_child(grandchild);
        CHECK_EQUAL(hf_write(world->fs, copy, "ef", 2), 2);
        raise(SIGKILL);
    }
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    CHECK_EQUAL(hf_lseek(world->fs, copy, 0, SEEK_CUR), 6);
    CHECK_EQUAL(hf_write(world->fs, fd, "gh", 2), 2);
    CHECK_EQUAL(hf_lseek(world->fs, copy, 0, SEEK_SET), 0);
    CHECK_EQUAL(hf_read(world->fs, fd, bytes, sizeof bytes), 8);
    CHECK_EQUAL(memcmp(bytes, "abcdefgh", 8), 0);
}

static void test_an_offset_is_passed_on(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_pass_on, NULL);
    fs_world_deinit(&world);
}

/* O_APPEND belongs to the open file: what one process sets, the one that shares it does at once. */
#define FLAG_ROUNDS 200

static void act_share_flags(struct fs_world *world, void *argument)
{
    struct stat attributes;
    hf_fs *fs = world->fs;
    int fd = hf_open(fs, "file", O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, "0123456789", 10), 10);
    pid_t child = fork_writer(false);
    for (int round = 0; round < FLAG_ROUNDS; round++) {
        const bool mine = (round % 2 == 0) == (child == 0);
        const bool append = round % 4 < 2;
        if (mine) {
            CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, append ? O_APPEND | O_NONBLOCK : 0), 0);
        }
        fs_world_meet(world);
        if (!mine) {
            const int flags = append ? O_RDWR | O_APPEND | O_NONBLOCK : O_RDWR;
            CHECK_EQUAL(hf_fstat(fs, fd, &attributes), 0);
            CHECK_EQUAL(hf_pwrite(fs, fd, "x", 1, 0), 1);
            CHECK_EQUAL(hf_fcntl(fs, fd, F_GETFL), flags);
            CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_END), attributes.st_size + append);
        }
        fs_world_meet(world);
    }
    /* A descriptor's own flag is not shared. */
    if (child == 0) {
        CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFD, FD_CLOEXEC), 0);
        _exit(0);
    }
    wait_for_child(child);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_GETFD), 0);
}

static void test_flags_are_shared_by_forks(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_share_flags, NULL);
    fs_world_deinit(&world);
}

/* Two processes copy between two open files that they share, in opposite directions, at the open
 * files' own offsets: neither waits for the other for ever, and the offsets move together. */
static void act_copy_crosswise(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    int files[2];
    for (int i = 0; i < 2; i++) {
        files[i] = hf_open(fs, i == 0 ? "one" : "other", O_RDWR | O_CREAT, 0644);
        CHECK(files[i] >= 0);
        CHECK_EQUAL(hf_ftruncate(fs, files[i], 2 * LINES), 0);
    }
    pid_t child = fork_writer(false);
    const int first = child == 0;
    for (int i = 0; i < LINES; i++) {
        ssize_t done = hf_copy_file_range(fs, files[first], NULL, files[1 - first], NULL, 1, 0);
        CHECK_EQUAL(done, 1);
    }
    if (child == 0) {
        _exit(0);
    }
    wait_for_child(child);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(hf_lseek(fs, files[i], 0, SEEK_CUR), 2 * LINES);
    }
}

static void test_copies_between_shared_files_do_not_deadlock(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_copy_crosswise, NULL);
    fs_world_deinit(&world);
}

/* Both ends of a copy are one open file, with one offset: the host says what comes of it, and the
 * open file can be used afterwards as before. */
static void act_copy_to_itself(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    int fd = hf_open(fs, "one", O_RDWR | O_CREAT, 0644);
    CHECK_EQUAL(hf_write(fs, fd, "0123456789", 10), 10);
    for (int shared = 0; shared < 2; shared++) {
        if (shared) {
            pid_t child = fork_writer(false);
            if (child == 0) {
                _exit(0);
            }
            wait_for_child(child);
        }
        for (int i = 0; i < 2; i++) {
            CHECK_EQUAL(hf_lseek(fs, fd, 4, SEEK_SET), 4);
            CHECK_EQUAL(hf_copy_file_range(fs, fd, NULL, fd, NULL, 2, 0), -EINVAL);
            CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), 4);
            CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_END), 10);
            CHECK_EQUAL(hf_copy_file_range(fs, fd, NULL, fd, NULL, 2, 0), 0);
        }
    }
}

static void test_a_copy_within_one_open_file(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_copy_to_itself, NULL);
    fs_world_deinit(&world);
}

/* Two processes that read one directory through one open file divide its entries. */
static void act_divide_directory(struct fs_world *world, void *argument)
{
    char name[16];
    hf_dirent entry;
    CHECK_EQUAL(hf_mkdir(world->fs, "d", 0755), 0);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "d/%d", i);
        int made = hf_open(world->fs, name, O_CREAT | O_WRONLY, 0644);
        CHECK_EQUAL(hf_close(world->fs, made), 0);
    }
    int fd = hf_open(world->fs, "d", O_RDONLY | O_DIRECTORY, 0);
    pid_t child = fork_writer(false);
    _Atomic uint64_t *seen = world->shared->slots;
    while (hf_readdir(world->fs, fd, &entry) == 1) {
        if (entry.name[0] != '.') {
            atomic_fetch_add(&seen[strtol(entry.name, NULL, 10)], 1);
        }
    }
    if (child == 0) {
        _exit(0);
    }
    wait_for_child(child);
    for (int i = 0; i < 200; i++) {
        CHECK_EQUAL(atomic_load(&seen[i]), 1);
    }
}

static void test_a_directory_read_by_two_is_divided(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_divide_directory, NULL);
    fs_world_deinit(&world);
}

/* ---- writers that are killed ---- */

#define KILLS 40
#define RECORD 16

static uint32_t next_random(uint32_t *state)
{
    *state = *state * UINT32_C(1664525) + UINT32_C(1013904223);
    return *state >> 8;
}

/* One record, and word of it once the write has returned. */
static void write_record(struct fs_world *world, int fd, int writer)
{
    char record[RECORD + 1];
    _Atomic uint64_t *completed = &world->shared->slots[writer];
    snprintf(record, sizeof record, "%06d %08lu\n", writer, (unsigned long)atomic_load(completed));
    CHECK_EQUAL(hf_write(world->fs, fd, record, RECORD), RECORD);
    atomic_fetch_add(completed, 1);
}

static pid_t start_writer(struct fs_world *world, int fd, int writer)
{
    pid_t pid = fork_writer(writer % 2 == 0);
    if (pid == 0) {
        for (;;) {
            write_record(world, fd, writer);
        }
    }
    return pid;
}

/* Kill writers at moments that have nothing to do with what they are at, and replace them. */
static void act_kill_writers(struct fs_world *world, void *argument)
{
    const int *flags = argument;
    pid_t pids[3];
    int numbers[3];
    int last = 0;
    uint32_t seed = 4711;
    int fd = hf_open(world->fs, "records", O_WRONLY | O_CREAT | *flags, 0644);
    CHECK(fd >= 0);
    for (int i = 0; i < 3; i++) {
        numbers[i] = ++last;
        pids[i] = start_writer(world, fd, numbers[i]);
    }
    for (int kills = 0; kills < KILLS; kills++) {
        for (uint32_t writes = next_random(&seed) % 60; writes > 0; writes--) {
            write_record(world, fd, 0);
        }
        uint32_t victim = next_random(&seed) % 3;
        CHECK_EQUAL(kill(pids[victim], SIGKILL), 0);
        CHECK_EQUAL(waitpid(pids[victim], NULL, 0), pids[victim]);
        numbers[victim] = ++last;
        pids[victim] = start_writer(world, fd, numbers[victim]);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(kill(pids[i], SIGKILL), 0);
        CHECK_EQUAL(waitpid(pids[i], NULL, 0), pids[i]);
    }
    write_record(world, fd, 0);
}

/* Each record is whole, none is there twice, and each whose write returned is there. */
static void check_records(const struct fs_world *world)
{
    size_t size;
    uint64_t found[KILLS + 4] = {0};
    char *content = fs_world_read_file(world, "records", &size);
    assert_int_equal(size % RECORD, 0);
    for (size_t at = 0; at < size; at += RECORD) {
        char *rest;
        long writer = strtol(content + at, &rest, 10);
        uint64_t number = strtoul(rest, NULL, 10);
        assert_int_equal(content[at + RECORD - 1], '\n');
        assert_true(writer >= 0 && writer < KILLS + 4);
        assert_int_equal(number, found[writer]); /* in order: none lost, none doubled */
        found[writer]++;
    }
    uint64_t total = 0;
    for (int i = 0; i < KILLS + 4; i++) {
        const uint64_t completed = atomic_load(&world->shared->slots[i]);
        assert_true(found[i] == completed || found[i] == completed + 1);
        total += completed;
    }
    print_message("# %d writers killed, %lu completed writes\n", KILLS + 3, (unsigned long)total);
    free(content);
}

static void test_killed_writers_lose_no_completed_write(void **state)
{
    int flags[] = {0, O_APPEND};
    for (int i = 0; i < 2; i++) {
        struct fs_world world;
        fs_world_init(&world);
        fs_world_play(&world, act_kill_writers, &flags[i]);
        check_records(&world);
        fs_world_deinit(&world);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appending_processes_lose_nothing),
        cmocka_unit_test(test_an_offset_shared_by_forks_loses_nothing),
        cmocka_unit_test(test_an_offset_is_passed_on),
        cmocka_unit_test(test_flags_are_shared_by_forks),
        cmocka_unit_test(test_copies_between_shared_files_do_not_deadlock),
        cmocka_unit_test(test_a_copy_within_one_open_file),
        cmocka_unit_test(test_a_directory_read_by_two_is_divided),
        cmocka_unit_test(test_killed_writers_lose_no_completed_write),
    };
    return cmocka_run_group_tests_name("fs sharing", tests, NULL, NULL);
}
