/*
 * Pipes between processes: they wait for each other as in Linux, who may not gets none, and a killed
 * process leaves its end.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINES 2000

static void start_world(struct fs_world *world, mode_t mode)
{
    fs_world_init(world);
    hf_fs *fs = fs_world_visit(world);
    assert_int_equal(hf_mkfifo(fs, "there", 0666), 0);
    assert_int_equal(hf_mkfifo(fs, "back", 0666), 0);
    assert_int_equal(hf_chmod(fs, "there", mode), 0);
    hf_fs_detach(fs);
}

static int open_pipe(struct fs_world *world, const char *name, int flags)
{
    const int fd = hf_open(world->fs, name, flags, 0);
    CHECK(fd >= 0);
    return fd;
}

/* ---- exchange ---- */

static void read_line(hf_fs *fs, int fd, char line[8])
{
    for (int got = 0; got < 8;) {
        const ssize_t one = hf_read(fs, fd, line + got, (size_t)(8 - got));
        CHECK(one > 0);
        got += (int)one;
    }
}

/* Opening waits for the other; so does reading. */
static void act_ask(struct fs_world *world, void *argument)
{
    char line[8];
    char answer[8];
    const int there = open_pipe(world, "there", O_WRONLY);
    const int back = open_pipe(world, "back", O_RDONLY);
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "%07d", i);
        CHECK_EQUAL(hf_write(world->fs, there, line, 8), 8);
        read_line(world->fs, back, answer);
        CHECK_EQUAL(memcmp(line, answer, 8), 0);
    }
    CHECK_EQUAL(hf_close(world->fs, there), 0);
    CHECK_EQUAL(hf_read(world->fs, back, answer, 8), 0); /* the other has closed its end, too */
}

static void act_answer(struct fs_world *world, void *argument)
{
    char line[8];
    const int there = open_pipe(world, "there", O_RDONLY);
    const int back = open_pipe(world, "back", O_WRONLY);
    for (int i = 0; i < LINES; i++) {
        read_line(world->fs, there, line);
        CHECK_EQUAL(hf_write(world->fs, back, line, 8), 8);
    }
    CHECK_EQUAL(hf_read(world->fs, there, line, 8), 0);
    CHECK_EQUAL(hf_close(world->fs, back), 0);
}

static void test_two_processes_talk_through_pipes(void **state)
{
    struct fs_world world;
    start_world(&world, 0666);
    const pid_t pids[2] = {fs_world_start(&world, act_ask, NULL),
                           fs_world_start(&world, act_answer, NULL)};
    fs_world_wait_for_both(pids);
    fs_world_deinit(&world);
}

/* ---- without waiting ---- */

static void act_without_waiting(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    char bytes[4];
    CHECK_EQUAL(hf_open(fs, "there", O_WRONLY | O_NONBLOCK, 0), -ENXIO);
    const int reader = open_pipe(world, "there", O_RDONLY | O_NONBLOCK);
    CHECK_EQUAL(hf_read(fs, reader, bytes, 1), 0);
    const int writer = open_pipe(world, "there", O_WRONLY | O_NONBLOCK);
    CHECK_EQUAL(hf_read(fs, reader, bytes, 1), -EAGAIN);
    CHECK_EQUAL(hf_write(fs, writer, "abc", 3), 3);
    CHECK_EQUAL(hf_close(fs, reader), 0);
    CHECK_EQUAL(hf_close(fs, writer), 0);
    /* Nobody had it open: what was in it is gone. */
    const int both = open_pipe(world, "there", O_RDWR | O_NONBLOCK);
    CHECK_EQUAL(hf_read(fs, both, bytes, 3), -EAGAIN);
    /* It goes on without a name, and a new one of that name is another. */
    CHECK_EQUAL(hf_write(fs, both, "abc", 3), 3);
    CHECK_EQUAL(hf_unlink(fs, "there"), 0);
    CHECK_EQUAL(hf_mkfifo(fs, "there", 0666), 0);
    const int other = open_pipe(world, "there", O_RDONLY | O_NONBLOCK);
    CHECK_EQUAL(hf_read(fs, other, bytes, 3), 0);
    CHECK_EQUAL(hf_read(fs, both, bytes, 4), 3);
    CHECK_EQUAL(hf_close(fs, both), 0);
    CHECK_EQUAL(hf_close(fs, other), 0);
}

static void test_opening_need_not_wait(void **state)
{
    struct fs_world world;
    start_world(&world, 0666);
    fs_world_play(&world, act_without_waiting, NULL);
    fs_world_deinit(&world);
}

/* ---- others ---- */

static void act_as_another_user(struct fs_world *world, void *argument)
{
    if (geteuid() != 0) {
        return;
    }
    fs_world_become_nobody(world);
    CHECK_EQUAL(hf_open(world->fs, "there", O_WRONLY | O_NONBLOCK, 0), -EACCES);
    CHECK_EQUAL(hf_open(world->fs, "there", O_RDWR, 0), -EACCES);
    const int reader = open_pipe(world, "there", O_RDONLY | O_NONBLOCK);
    /* Not by way of the host's either. */
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", hf_host_fd(world->fs, reader));
    CHECK_EQUAL(open(path, O_WRONLY | O_NONBLOCK) < 0 ? errno : 0, EACCES);
    CHECK_EQUAL(hf_close(world->fs, reader), 0);
}

static void test_another_user_gets_what_the_mode_says(void **state)
{
    struct fs_world world;
    start_world(&world, 0644);
    fs_world_play(&world, act_as_another_user, NULL);
    fs_world_deinit(&world);
}

/* ---- killed ---- */

static void act_write_and_stay(struct fs_world *world, void *argument)
{
    const int writer = open_pipe(world, "there", O_WRONLY);
    CHECK_EQUAL(hf_write(world->fs, writer, "last", 4), 4);
    fs_world_meet(world);
    for (;;) {
        pause();
    }
}

static void act_read_to_the_end(struct fs_world *world, void *argument)
{
    char bytes[8];
    const pid_t writer = *(const pid_t *)argument;
    const int reader = open_pipe(world, "there", O_RDONLY);
    fs_world_meet(world);
    struct pollfd ready = {.fd = hf_host_fd(world->fs, reader), .events = POLLIN};
    CHECK_EQUAL(poll(&ready, 1, -1), 1);
    CHECK_EQUAL(kill(writer, SIGKILL), 0);
    CHECK_EQUAL(hf_read(world->fs, reader, bytes, 8), 4);
    CHECK_EQUAL(hf_read(world->fs, reader, bytes, 8), 0);
    CHECK_EQUAL(hf_close(world->fs, reader), 0);
}

static void test_a_killed_process_closes_its_end(void **state)
{
    struct fs_world world;
    int status;
    start_world(&world, 0666);
    pid_t writer = fs_world_start(&world, act_write_and_stay, NULL);
    fs_world_play(&world, act_read_to_the_end, &writer);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fs_world_deinit(&world);
}

/* One that waits to open holds up nobody, and is forgotten when it is killed. */
static void act_wait_to_open(struct fs_world *world, void *argument)
{
    fs_world_meet(world);
    (void)hf_open(world->fs, "there", O_RDONLY, 0);
}

static void act_kill_who_waits(struct fs_world *world, void *argument)
{
    const pid_t reader = *(const pid_t *)argument;
    fs_world_meet(world);
    /* From when it waits until it is dead a writer finds it, and then nobody. */
    int writer;
    do {
        writer = hf_open(world->fs, "there", O_WRONLY | O_NONBLOCK, 0);
        CHECK(writer >= 0 || writer == -ENXIO);
    } while (writer < 0);
    CHECK_EQUAL(kill(reader, SIGKILL), 0);
    CHECK_EQUAL(hf_close(world->fs, writer), 0);
    do {
        writer = hf_open(world->fs, "there", O_WRONLY | O_NONBLOCK, 0);
        CHECK(writer < 0 || hf_close(world->fs, writer) == 0);
    } while (writer >= 0);
    CHECK_EQUAL(writer, -ENXIO);
    CHECK_EQUAL(hf_unlink(world->fs, "there"), 0);
}

static void test_a_process_is_killed_while_it_waits_to_open(void **state)
{
    struct fs_world world;
    int status;
    start_world(&world, 0666);
    pid_t reader = fs_world_start(&world, act_wait_to_open, NULL);
    fs_world_play(&world, act_kill_who_waits, &reader);
    assert_int_equal(waitpid(reader, &status, 0), reader);
    fs_world_deinit(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_processes_talk_through_pipes),
        cmocka_unit_test(test_opening_need_not_wait),
        cmocka_unit_test(test_another_user_gets_what_the_mode_says),
        cmocka_unit_test(test_a_killed_process_closes_its_end),
        cmocka_unit_test(test_a_process_is_killed_while_it_waits_to_open),
    };
    return cmocka_run_group_tests_name("fs pipes", tests, NULL, NULL);
}
