/*
 * Waiting for file locks: in order, with deadlines and cancel tokens, through a fork, and to the
 * end of the connection; and deadlocks.
 */
#include "fs_locks.h"

#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define ROUNDS 300

static struct waiter waiter_of(const struct pair *pair, int kind, short type)
{
    return (struct waiter){.fs = pair->b, .fd = pair->b_fd, .kind = kind, .type = type};
}

/* Who waits gets it when it is given up, and not before; the table was here, or at the server. */
static void handing_over(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int i = 0; i < KINDS; i++) {
        for (int round = 0; round < 3; round++) {
            struct waiter waiter = waiter_of(&pair, kinds[i], round == 1 ? F_RDLCK : F_WRLCK);
            CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), 0);
            waiter_start(&waiter);
            await_waiting(world->client, 1);
            CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
            CHECK_EQUAL(waiter_join(&waiter), 0);
            CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), -EAGAIN);
            CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_UNLCK), 0);
        }
    }
    pair_end(&pair);
}
LOCKS_TEST(handing_over)

/* Owners of one process wait for each other too. */
static void waiting_for_oneself(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    pair.b = pair.a;
    const int other = open_file(pair.a, "file");
    for (int i = 1; i < KINDS; i++) {
        struct waiter waiter = {.fs = pair.a, .fd = other, .kind = kinds[i], .type = F_WRLCK};
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), 0);
        waiter_start(&waiter);
        await_waiting(world->client, 1);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
        CHECK_EQUAL(waiter_join(&waiter), 0);
        CHECK_EQUAL(try_lock(pair.a, other, kinds[i], F_UNLCK), 0);
    }
}

static void test_waiting_for_oneself(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, waiting_for_oneself, NULL);
    fs_world_deinit(&world);
}

#define COUNTERS 3

/* One record in the file for each kind of lock. */
static void count_up(struct fs_world *world, void *argument)
{
    const int fd = open_file(world->fs, "file");
    fs_world_meet(world);
    for (int i = 0; i < ROUNDS; i++) {
        const int which = i % KINDS;
        uint64_t value = 0;
        CHECK_EQUAL(wait_lock(world->fs, fd, kinds[which], F_WRLCK, NULL), 0);
        CHECK(hf_pread(world->fs, fd, &value, sizeof value, 8 * which) >= 0);
        value++;
        CHECK_EQUAL(hf_pwrite(world->fs, fd, &value, sizeof value, 8 * which), sizeof value);
        CHECK_EQUAL(try_lock(world->fs, fd, kinds[which], F_UNLCK), 0);
    }
}

/* What one process wrote under a lock, the next one reads under it: nothing that was counted is lost. */
static void test_processes_count_together(void **state)
{
    struct fs_world world;
    pid_t pids[COUNTERS];
    uint64_t values[KINDS];
    size_t size;
    fs_world_init(&world);
    fs_world_set_meeting(&world, COUNTERS);
    for (int i = 0; i < COUNTERS; i++) {
        pids[i] = fs_world_start(&world, count_up, NULL);
    }
    for (int i = 0; i < COUNTERS; i++) {
        fs_world_wait(pids[i]);
    }
    char *content = fs_world_read_file(&world, "file", &size);
    assert_int_equal(size, sizeof values);
    memcpy(values, content, sizeof values);
    free(content);
    for (int i = 0; i < KINDS; i++) {
        assert_int_equal(values[i], COUNTERS * ROUNDS / KINDS);
    }
    fs_world_deinit(&world);
}

/* ---- ends of waits ---- */

static void deadlines(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int i = 0; i < KINDS; i++) {
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), 0);
        const uint64_t before_ns = clock_now_ns();
        hf_wait_opts opts = {.deadline_ns = before_ns + 20000000};
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kinds[i], F_WRLCK, &opts), -ETIMEDOUT);
        CHECK(clock_now_ns() >= before_ns + 20000000);
        opts.deadline_ns = 1; /* long ago */
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kinds[i], F_WRLCK, &opts), -ETIMEDOUT);
        opts = (hf_wait_opts){.flags = HF_NOWAIT};
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kinds[i], F_WRLCK, &opts), -EAGAIN);
        await_waiting(world->client, 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
        opts = (hf_wait_opts){.deadline_ns = clock_now_ns() + UINT64_C(40000000000)};
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kinds[i], F_WRLCK, &opts), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_UNLCK), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(deadlines)

static void cancelling(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    hf_cancel *token;
    CHECK_EQUAL(hf_cancel_new(pair.b->client, &token), 0);
    for (int i = 0; i < KINDS; i++) {
        struct waiter waiter = waiter_of(&pair, kinds[i], F_WRLCK);
        waiter.opts.cancel = token;
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), 0);
        waiter_start(&waiter);
        await_waiting(world->client, 1);
        hf_cancel_fire(token);
        CHECK_EQUAL(waiter_join(&waiter), -ECANCELED);
        await_waiting(world->client, 0);
        /* Fired before it begins. */
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kinds[i], F_WRLCK, &waiter.opts), -ECANCELED);
        hf_cancel_reset(token);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kinds[i], F_WRLCK, &waiter.opts), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_UNLCK), 0);
    }
    hf_wait_opts opts = {.cancel = token}; /* of another client */
    CHECK_EQUAL(wait_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK, &opts), -EINVAL);
    CHECK_EQUAL(wait_lock(pair.a, pair.a_fd, 0, F_WRLCK, &opts), -EINVAL);
    hf_cancel_free(token);
    pair_end(&pair);
}
LOCKS_TEST(cancelling)

static hf_cancel *signal_token;

static void on_signal(int number)
{
    hf_cancel_fire(signal_token);
}

/* A signal whose handler fires the token ends the wait of the thread that it interrupts. */
static void interrupting(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    CHECK_EQUAL(hf_cancel_new(pair.b->client, &signal_token), 0);
    struct waiter waiter = waiter_of(&pair, F_SETLK, F_WRLCK);
    waiter.opts.cancel = signal_token;
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK), 0);
    waiter_start(&waiter);
    await_waiting(world->client, 1);
    CHECK_EQUAL(pthread_kill(waiter.thread, SIGUSR1), 0);
    CHECK_EQUAL(waiter_join(&waiter), -ECANCELED);
    hf_cancel_free(signal_token);
    pair_end(&pair);
}
LOCKS_TEST(interrupting)

/* A grant and a token that cross: whatever the call says is true afterwards. */
static void crossing(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    hf_cancel *token;
    CHECK_EQUAL(hf_cancel_new(pair.b->client, &token), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct waiter waiter = waiter_of(&pair, kinds[i % KINDS], F_WRLCK);
        waiter.opts.cancel = token;
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, waiter.kind, F_WRLCK), 0);
        waiter_start(&waiter);
        if (i % 4 != 0) {
            await_waiting(world->client, 1);
        }
        if (i % 2 == 0) {
            CHECK_EQUAL(try_lock(pair.a, pair.a_fd, waiter.kind, F_UNLCK), 0);
            hf_cancel_fire(token);
        } else {
            hf_cancel_fire(token);
            CHECK_EQUAL(try_lock(pair.a, pair.a_fd, waiter.kind, F_UNLCK), 0);
        }
        const int result = waiter_join(&waiter);
        hf_cancel_reset(token);
        CHECK(result == 0 || result == -ECANCELED);
        const int expected = result == 0 ? -EAGAIN : 0;
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, waiter.kind, F_WRLCK), expected);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, waiter.kind, F_UNLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, waiter.kind, F_UNLCK), 0);
    }
    hf_cancel_free(token);
    pair_end(&pair);
}
LOCKS_TEST(crossing)

/* Closed while it waits: a POSIX lock that comes then is given up, as in Linux. */
static void closing(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    const int second = open_file(pair.b, "file");
    struct waiter waiter = waiter_of(&pair, F_SETLK, F_WRLCK);
    waiter.fd = second;
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK), 0);
    waiter_start(&waiter);
    await_waiting(world->client, 1);
    CHECK_EQUAL(hf_close(pair.b, second), 0);
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_UNLCK), 0);
    CHECK_EQUAL(waiter_join(&waiter), -EBADF);
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK), 0);
    pair_end(&pair);
}
LOCKS_TEST(closing)

/* The end of the connection ends the wait, and there are no locks any more. */
static void losing(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int i = 0; i < KINDS; i++) {
        hf_fs *fs = fs_world_visit(world);
        const int fd = open_file(fs, "file");
        struct waiter waiter = {.fs = fs, .fd = fd, .kind = kinds[i], .type = F_WRLCK};
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), 0);
        CHECK_EQUAL(set_range(fs, open_file(fs, "other"), F_SETLK, F_WRLCK, 0, 0), 0);
        waiter_start(&waiter);
        await_waiting(world->client, 1);
        hf_client_disconnect(fs->client);
        CHECK_EQUAL(waiter_join(&waiter), -ENOTCONN);
        CHECK_EQUAL(try_lock(fs, fd, kinds[i], F_RDLCK), -ENOTCONN);
        CHECK_EQUAL(try_lock(fs, fd, kinds[i], F_UNLCK), -ENOTCONN);
        CHECK_EQUAL(hf_close(fs, fd), 0);
        hf_fs_detach(fs);
        const hf_wait_opts opts = {.deadline_ns = 0};
        const int other = open_file(pair.a, "other");
        CHECK_EQUAL(wait_lock(pair.a, other, F_SETLK, F_WRLCK, &opts), 0);
        CHECK_EQUAL(hf_close(pair.a, other), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(losing)

/* ---- fork ---- */

/* A process forks while a thread of it waits: the fork does not wait for that, the wait goes on in the
 * parent and is not in the child, which has its own locks. */
static void forking(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int i = 0; i < KINDS; i++) {
        struct waiter waiter = waiter_of(&pair, kinds[i], F_WRLCK);
        int status;
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), 0);
        waiter_start(&waiter);
        await_waiting(world->client, 1);
        const pid_t pid = hf_fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            const int fd = open_file(pair.b, "other");
            CHECK_EQUAL(try_lock(pair.b, fd, kinds[i], F_WRLCK), 0);
            CHECK_EQUAL(hf_close(pair.b, fd), 0);
            CHECK_EQUAL(hf_close(pair.b, pair.b_fd), 0);
            _exit(0);
        }
        CHECK_EQUAL(waitpid(pid, &status, 0), pid);
        CHECK_EQUAL(status, 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
        CHECK_EQUAL(waiter_join(&waiter), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_RDLCK), -EAGAIN);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_UNLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_RDLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(forking)

/* ---- deadlocks ---- */

/* Two processes and two files: the one that would close the circle is refused, and only that. */
static void deadlock(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    const int a_other = open_file(pair.a, "other");
    const int b_other = open_file(pair.b, "other");
    for (int round = 0; round < 3; round++) {
        struct waiter waiter = {.fs = pair.b, .fd = pair.b_fd, .kind = F_SETLK, .type = F_WRLCK};
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, b_other, F_SETLK, F_WRLCK), 0);
        waiter_start(&waiter);
        await_waiting(world->client, 1);
        CHECK_EQUAL(wait_lock(pair.a, a_other, F_SETLK, F_WRLCK, NULL), -EDEADLK);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_UNLCK), 0);
        CHECK_EQUAL(waiter_join(&waiter), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_UNLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, b_other, F_SETLK, F_UNLCK), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(deadlock)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handing_over),
        cmocka_unit_test(test_waiting_for_oneself),
        cmocka_unit_test(test_processes_count_together),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_interrupting),
        cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_losing),
        cmocka_unit_test(test_forking),
        cmocka_unit_test(test_deadlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
