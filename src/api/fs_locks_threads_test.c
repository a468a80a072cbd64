/*
 * Threads that lock, of two clients of a server in this process: through open files of their own and
 * shared ones, in all three ways, with waits that are given up, and with forks meanwhile.
 */
#include "base/clock.h"
#include "fs/filesystem.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <errno.h>
#include <holdfast/lock.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS 2
#define THREADS 3 /* of each */
#define RECORDS 4

struct world {
    struct test_server server;
    char root[80];
    hf_fs *fs[CLIENTS];
    _Atomic int inside[RECORDS + 1];
    _Atomic uint64_t got[RECORDS + 1];
    _Atomic int failures; /* assertions are for the main thread */
};

static int set_up(void **state)
{
    static struct world world;
    world = (struct world){.failures = 0};
    test_server_init(&world.server);
    snprintf(world.root, sizeof world.root, "%s/r", world.server.folder);
    assert_int_equal(mkdir(world.root, 0755), 0);
    test_server_start(&world.server);
    for (int i = 0; i < CLIENTS; i++) {
        hf_client *client;
        hf_fs_config config = HF_FS_CONFIG_INIT;
        config.root = world.root;
        assert_int_equal(hf_client_connect(world.server.address, NULL, &client), 0);
        assert_int_equal(hf_fs_attach(client, &config, &world.fs[i]), 0);
        hf_client_unref(client);
    }
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    char path[100];
    for (int i = 0; i < CLIENTS; i++) {
        hf_fs_detach(world->fs[i]);
    }
    snprintf(path, sizeof path, "%s/file", world->root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(world->root), 0);
    test_server_deinit(&world->server);
    return 0;
}

static void expect(struct world *world, bool condition, const char *text, int line)
{
    if (!condition && atomic_fetch_add(&world->failures, 1) < 10) {
        print_message("# line %d: not true: %s\n", line, text);
    }
}
#define EXPECT(world, condition) expect(world, condition, #condition, __LINE__)

struct worker {
    struct world *world;
    hf_fs *fs;
    int number;
    int fd;
    pthread_t thread;
};

static void run(struct world *world, void *(*work)(void *worker))
{
    struct worker workers[CLIENTS * THREADS];
    for (int i = 0; i < CLIENTS * THREADS; i++) {
        hf_fs *fs = world->fs[i % CLIENTS];
        workers[i] = (struct worker){.world = world, .fs = fs, .number = i};
        workers[i].fd = hf_open(fs, "file", O_RDWR | O_CREAT, 0666);
        assert_true(workers[i].fd >= 0);
    }
    for (int i = 0; i < CLIENTS * THREADS; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < CLIENTS * THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    for (int i = 0; i < CLIENTS * THREADS; i++) {
        assert_int_equal(hf_close(workers[i].fs, workers[i].fd), 0);
    }
    assert_int_equal(world->failures, 0);
}

static int rounds(void)
{
    return test_is_plain() ? 600 : 100;
}

/* The record, or with RECORDS the whole file by flock(2). Some do not wait, some not for long. */
static int take(const struct worker *worker, int record, unsigned how)
{
    const hf_wait_opts opts = {.deadline_ns = how == 1 ? clock_now_ns() + 200000 : 0};
    struct flock lock = {.l_type = F_WRLCK, .l_start = record * 10, .l_len = 10};
    if (record == RECORDS) {
        return hf_flock(worker->fs, worker->fd, how == 2 ? LOCK_EX | LOCK_NB : LOCK_EX, &opts);
    }
    return hf_lock(worker->fs, worker->fd, how == 2 ? F_OFD_SETLK : F_OFD_SETLKW, &lock, &opts);
}

static int give_up(const struct worker *worker, int record)
{
    struct flock lock = {.l_type = F_UNLCK, .l_start = record * 10, .l_len = 10};
    return record == RECORDS ? hf_flock(worker->fs, worker->fd, LOCK_UN, NULL)
                             : hf_lock(worker->fs, worker->fd, F_OFD_SETLK, &lock, NULL);
}

static void *work_exclusively(void *argument)
{
    const struct worker *worker = argument;
    struct world *world = worker->world;
    uint32_t random = (uint32_t)worker->number * 2654435761U + 1;
    for (int i = 0; i < rounds(); i++) {
        random = random * 1664525 + 1013904223;
        const int record = (int)(random >> 16) % (RECORDS + 1);
        const unsigned how = (random >> 24) % 4;
        const int result = take(worker, record, how);
        if (result == 0) {
            EXPECT(world, atomic_fetch_add(&world->inside[record], 1) == 0);
            atomic_fetch_add(&world->got[record], 1);
            EXPECT(world, atomic_fetch_sub(&world->inside[record], 1) == 1);
            EXPECT(world, give_up(worker, record) == 0);
        } else {
            EXPECT(world, (result == -EAGAIN && how == 2) || (result == -ETIMEDOUT && how == 1));
        }
    }
    return NULL;
}

/* Six open files of two clients, and locks on four records and the whole: nobody is inside with another. */
static void test_locks_exclude_threads(void **state)
{
    struct world *world = *state;
    run(world, work_exclusively);
    for (int i = 0; i <= RECORDS; i++) {
        assert_true(world->got[i] > 0);
    }
}

static void *work_as_process(void *argument)
{
    const struct worker *worker = argument;
    struct world *world = worker->world;
    for (int i = 0; i < rounds(); i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_start = worker->number, .l_len = 1};
        const int got = hf_lock(worker->fs, worker->fd, F_SETLKW, &lock, NULL);
        /* Two threads of each process can wait for what the other's have. */
        EXPECT(world, got == 0 || got == -EDEADLK);
        lock.l_type = F_UNLCK;
        EXPECT(world, hf_lock(worker->fs, worker->fd, F_SETLK, &lock, NULL) == 0);
        if (i % 16 == 0) { /* which gives up those of all threads of this client */
            const int fd = hf_open(worker->fs, "file", O_RDWR, 0);
            EXPECT(world, fd >= 0 && hf_close(worker->fs, fd) == 0);
        }
        if (i % 64 == 0) {
            lock = (struct flock){.l_type = F_RDLCK};
            const int result = hf_lock(worker->fs, worker->fd, F_SETLK, &lock, NULL);
            EXPECT(world, result == 0 || result == -EAGAIN);
        }
    }
    return NULL;
}

static int refuse_any(void *context, const hf_lock_info *info)
{
    return info->state == HF_LOCK_HELD ? 1 : 0;
}

/* Locks of processes, which any close ends: in the end there is none. */
static void test_closing_beside_locking(void **state)
{
    struct world *world = *state;
    run(world, work_as_process);
    assert_int_equal(hf_lock_list(world->fs[0]->client, refuse_any, NULL), 0);
}

static void *work_and_fork(void *argument)
{
    const struct worker *worker = argument;
    struct world *world = worker->world;
    for (int i = 0; i < rounds() / 4; i++) {
        if (worker->number == 0 && i % 25 == 0) {
            const pid_t pid = hf_fork();
            if (pid == 0) {
                _exit(0);
            }
            int status = -1;
            EXPECT(world, pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
        }
        const int record = (worker->number + i) % (RECORDS + 1);
        EXPECT(world, take(worker, record, 0) == 0);
        EXPECT(world, atomic_fetch_add(&world->inside[record], 1) == 0);
        EXPECT(world, atomic_fetch_sub(&world->inside[record], 1) == 1);
        EXPECT(world, give_up(worker, record) == 0);
    }
    return NULL;
}

/* A fork in the middle of it shares all open files, whatever they have and wait for. */
static void test_forks_beside_locking(void **state)
{
    run(*state, work_and_fork);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_locks_exclude_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closing_beside_locking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forks_beside_locking, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
