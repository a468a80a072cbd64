/*
 * What a process gave up, by any way at all, is free for whoever knows that it has: a try without waiting
 * succeeds at once, although the server hears of the two over different connections.
 */
#include "fs_locks.h"

#include <signal.h>
#include <sys/wait.h>

#define ROUNDS 200
#define MUCH 150000

/* ---- by being killed ---- */

/* Locks, and writes much that the server may not have read when the end comes. */
static void hold_and_be_killed(struct fs_world *world, void *argument)
{
    static const char data[MUCH];
    const int *kind = argument;
    const int fd = open_file(world->fs, "file");
    CHECK_EQUAL(try_lock(world->fs, fd, *kind, F_WRLCK), 0);
    fs_world_meet(world);
    for (;;) {
        CHECK_EQUAL(hf_pwrite(world->fs, fd, data, sizeof data, 0), MUCH);
    }
}

static void test_what_a_killed_process_had(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    for (int round = 0; round < ROUNDS / 4; round++) {
        int kind = kinds[round % KINDS];
        int status;
        pid_t holder = fs_world_start(&world, hold_and_be_killed, &kind);
        fs_world_meet(&world);
        hf_fs *fs = fs_world_visit(&world);
        const int fd = open_file(fs, "file");
        if (round % 2 == 0) {
            assert_int_equal(try_lock(fs, fd, kind, F_WRLCK),
                             -EAGAIN); /* now it is at the server */
        }
        assert_int_equal(kill(holder, SIGKILL), 0);
        assert_int_equal(waitpid(holder, &status, 0), holder);
        assert_int_equal(try_lock(fs, fd, kind, F_WRLCK), 0);
        hf_fs_detach(fs);
    }
    fs_world_deinit(&world);
}

/* ---- by closing it last ---- */

static void close_after_all(struct fs_world *world, void *argument)
{
    hf_fs *other = fs_world_visit(world);
    const int theirs = open_file(other, "file");
    int ends[2];
    char byte;
    for (int round = 0; round < ROUNDS; round++) {
        const int kind = round % 2 == 0 ? 0 : F_OFD_SETLK;
        const int fd = open_file(world->fs, "file");
        CHECK_EQUAL(pipe(ends), 0);
        CHECK_EQUAL(try_lock(world->fs, fd, kind, F_WRLCK), 0);
        const pid_t child = hf_fork();
        CHECK(child >= 0);
        if (child == 0) {
            close(ends[1]);
            if (round % 3 == 0) { /* the parent closes it first */
                CHECK_EQUAL(read(ends[0], &byte, 1), 0);
            }
            CHECK_EQUAL(hf_close(world->fs, fd), 0);
            _exit(0);
        }
        close(ends[0]);
        if (round % 3 == 0) {
            CHECK_EQUAL(hf_close(world->fs, fd), 0);
            CHECK_EQUAL(try_lock(other, theirs, kind, F_WRLCK), -EAGAIN);
        }
        close(ends[1]);
        CHECK_EQUAL(waitpid(child, NULL, 0), child);
        if (round % 3 != 0) {
            CHECK_EQUAL(try_lock(other, theirs, kind, F_WRLCK), -EAGAIN);
            CHECK_EQUAL(hf_close(world->fs, fd), 0);
        }
        CHECK_EQUAL(try_lock(other, theirs, kind, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(other, theirs, kind, F_UNLCK), 0);
    }
    hf_fs_detach(other);
}

static void test_what_the_last_of_several_closed(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, close_after_all, NULL);
    fs_world_deinit(&world);
}

/* ---- and is no deadlock ---- */

static void wait_for_the_other(struct fs_world *world, void *argument)
{
    const int mine = open_file(world->fs, "mine"), other = open_file(world->fs, "file");
    CHECK_EQUAL(try_lock(world->fs, mine, F_SETLK, F_WRLCK), 0);
    fs_world_meet(world);
    CHECK_EQUAL(wait_lock(world->fs, other, F_SETLK, F_WRLCK, NULL), 0);
}

/* Whoever waited for us is dead: we do not wait for each other. */
static void test_a_dead_process_waits_for_nobody(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    for (int round = 0; round < ROUNDS / 4; round++) {
        hf_wait_opts opts = {.deadline_ns = 0};
        pid_t waiter = fs_world_start(&world, wait_for_the_other, NULL);
        hf_fs *fs = fs_world_visit(&world);
        const int fd = open_file(fs, "file"), theirs = open_file(fs, "mine");
        assert_int_equal(try_lock(fs, fd, F_SETLK, F_WRLCK), 0);
        fs_world_meet(&world);
        await_waiting(fs->client, 1);
        assert_int_equal(kill(waiter, SIGKILL), 0);
        assert_int_equal(waitpid(waiter, NULL, 0), waiter);
        assert_int_equal(wait_lock(fs, theirs, F_SETLK, F_WRLCK, &opts), 0);
        hf_fs_detach(fs);
    }
    fs_world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_killed_process_had),
        cmocka_unit_test(test_what_the_last_of_several_closed),
        cmocka_unit_test(test_a_dead_process_waits_for_nobody),
    };
    return cmocka_run_group_tests_name("locks before", tests, NULL, NULL);
}
