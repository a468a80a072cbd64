/*
 * Threads of two clients that do all there is to data and descriptors at the same time, for the
 * sanitizers to watch, and so that wrong orders of locks would show as a hang.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <holdfast/fs.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 8
#define FILES 2

struct world {
    struct test_server server;
    char root[80];
    hf_client *clients[2];
    hf_fs *fs[2];
    _Atomic int failures; /* assertions are for the main thread */
};

struct worker {
    struct world *world;
    hf_fs *fs;
    uint32_t random;
};

/* The descriptors of FILES files are the first, the next one is replaced all the time. */
#define REPLACED FILES

static int rounds(void)
{
    return test_is_plain() ? 4000 : 1000;
}

static uint32_t below(struct worker *worker, uint32_t limit)
{
    worker->random = worker->random * UINT32_C(1664525) + UINT32_C(1013904223);
    return (worker->random >> 8) % limit;
}

static void expect(struct world *world, bool condition, const char *text, int line)
{
    if (!condition && atomic_fetch_add(&world->failures, 1) < 10) {
        print_message("# line %d: not true: %s\n", line, text);
    }
}
#define EXPECT(worker, condition) expect((worker)->world, condition, #condition, __LINE__)

static void work_on_data(struct worker *worker, int fd)
{
    char bytes[2][8];
    const struct iovec vectors[2] = {{bytes[0], 8}, {bytes[1], 8}};
    memset(bytes, 'd', sizeof bytes);
    EXPECT(worker, hf_pwritev(worker->fs, fd, vectors, 2, below(worker, 100)) == 16);
    EXPECT(worker, hf_readv(worker->fs, fd, vectors, 2) >= 0);
    EXPECT(worker, hf_lseek(worker->fs, fd, 0, SEEK_HOLE) >= 0);
    EXPECT(worker, hf_lseek(worker->fs, fd, below(worker, 100), SEEK_SET) >= 0);
}

static void work_on_space(struct worker *worker, int fd)
{
    const int mode = FALLOC_FL_KEEP_SIZE | (below(worker, 2) == 0 ? FALLOC_FL_PUNCH_HOLE : 0);
    const off_t at = below(worker, 10000);
    EXPECT(worker, hf_fallocate(worker->fs, fd, mode, at, 1 + below(worker, 10000)) == 0);
    EXPECT(worker, hf_fallocate(worker->fs, fd, 0, 0, 200) == 0);
}

/* From one file to the other, in both directions, at offsets of the open files or given ones. */
static void work_on_copies(struct worker *worker, int fd)
{
    off_t offset = below(worker, 100);
    off_t *given = below(worker, 2) == 0 ? &offset : NULL;
    const int other = below(worker, 4) == 0 ? REPLACED : 1 - fd;
    ssize_t result = hf_copy_file_range(worker->fs, fd, NULL, other, given, 10, 0);
    EXPECT(worker, result >= 0 || result == -EINVAL); /* -EINVAL: the same place of one file */
}

static void work_on_flags(struct worker *worker, int fd)
{
    EXPECT(worker, hf_fcntl(worker->fs, fd, F_SETFL, below(worker, 2) * O_NONBLOCK) == 0);
    EXPECT(worker, (hf_fcntl(worker->fs, fd, F_GETFL) & ~O_NONBLOCK) == O_RDWR);
    EXPECT(worker, hf_dup2(worker->fs, fd, REPLACED) == REPLACED);
    EXPECT(worker, hf_fcntl(worker->fs, REPLACED, F_SETFD, (int)below(worker, 2)) == 0);
    EXPECT(worker, hf_fcntl(worker->fs, REPLACED, F_GETFD) >= 0);
    int copy = hf_fcntl(worker->fs, REPLACED, F_DUPFD, 300);
    EXPECT(worker, copy >= 300 && hf_close(worker->fs, copy) == 0);
}

/* A value is a letter so many times as its place in the alphabet: nobody sees half of one. */
static void work_on_xattrs(struct worker *worker, int fd)
{
    char value[27];
    const uint32_t place = 1 + below(worker, 26);
    memset(value, 'a' + (int)place - 1, sizeof value);
    if (below(worker, 4) == 0) {
        EXPECT(worker, hf_fsetxattr(worker->fs, fd, "user.a", value, place, 0) == 0);
    }
    ssize_t size = hf_getxattr(worker->fs, fd == 0 ? "0" : "1", "user.a", value, sizeof value);
    EXPECT(worker, size == -ENODATA || (size >= 1 && value[size - 1] == 'a' + size - 1));
    EXPECT(worker, size <= 0 || value[0] == value[size - 1]);
    EXPECT(worker, hf_flistxattr(worker->fs, fd, NULL, 0) >= 0);
    if (below(worker, 20) == 0) {
        int removed = hf_fremovexattr(worker->fs, fd, "user.a");
        EXPECT(worker, removed == 0 || removed == -ENODATA);
    }
}

static void work_on_opens(struct worker *worker, int fd)
{
    void *mapping;
    int unnamed = hf_open(worker->fs, "/", O_TMPFILE | O_RDWR, 0600);
    EXPECT(worker, unnamed >= 0 && hf_write(worker->fs, unnamed, "x", 1) == 1);
    EXPECT(worker, unnamed >= 0 && hf_close(worker->fs, unnamed) == 0);
    int path = hf_open(worker->fs, "0", O_PATH, 0);
    EXPECT(worker, path >= 0 && hf_close(worker->fs, path) == 0);
    const int sharing = fs_world_is_served() ? MAP_PRIVATE : MAP_SHARED;
    int mapped = hf_mmap(worker->fs, NULL, 10, PROT_READ, sharing, fd, 0, &mapping);
    EXPECT(worker, mapped == 0 && hf_munmap(worker->fs, mapping, 10) == 0);
}

static void *work(void *argument)
{
    static void (*const works[])(struct worker * worker, int fd) = {
        work_on_data,
        work_on_space,
        work_on_copies,
        work_on_flags,
        work_on_xattrs,
        work_on_opens,
    };
    struct worker *worker = argument;
    for (int i = 0; i < rounds(); i++) {
        works[below(worker, sizeof works / sizeof works[0])](worker, (int)below(worker, FILES));
    }
    return NULL;
}

static void open_world(struct world *world)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_server_mount mount;
    test_server_init(&world->server);
    snprintf(world->root, sizeof world->root, "%s/r", world->server.folder);
    assert_int_equal(mkdir(world->root, 0755), 0);
    config.root = fs_world_mount(&world->server, world->root, &mount);
    test_server_start(&world->server);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_client_connect(world->server.address, NULL, &world->clients[i]), 0);
        assert_int_equal(hf_fs_attach(world->clients[i], &config, &world->fs[i]), 0);
        for (int file = 0; file < FILES; file++) {
            const char *name = file == 0 ? "0" : "1";
            assert_int_equal(hf_open(world->fs[i], name, O_RDWR | O_CREAT, 0644), file);
        }
        assert_int_equal(hf_dup(world->fs[i], 0), REPLACED);
    }
}

static void close_world(struct world *world)
{
    assert_int_equal(hf_unlink(world->fs[0], "0"), 0);
    assert_int_equal(hf_unlink(world->fs[0], "1"), 0);
    for (int i = 0; i < 2; i++) {
        hf_fs_detach(world->fs[i]);
        hf_client_unref(world->clients[i]);
    }
    world->server.server = hf_server_free(world->server.server);
    assert_int_equal(rmdir(world->root), 0);
    test_server_deinit(&world->server);
}

static void test_threads_do_everything_at_once(void **state)
{
    struct world world = {.failures = 0};
    struct worker workers[THREADS];
    pthread_t threads[THREADS];

    open_world(&world);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.world = &world, .fs = world.fs[i % 2], .random = (uint32_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&world.failures), 0);
    /* Every descriptor that was opened on the way is free again. */
    assert_int_equal(hf_dup(world.fs[0], 0), REPLACED + 1);
    close_world(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_do_everything_at_once),
    };
    return cmocka_run_group_tests_name("fs data threads", tests, NULL, NULL);
}
