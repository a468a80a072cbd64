/*
 * Threads of one process on one filesystem object, and caches that are too small. The server
 * is in this process, another client of it disturbs.
 */
#include "fs/filesystem.h"

#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4

struct world {
    struct test_server server;
    char root[80];
    hf_client *clients[2];
    hf_fs *fs[2];
    _Atomic int failures; /* assertions are for the main thread */
};

static int rounds(int plain)
{
    return test_is_plain() ? plain : plain / 4;
}

static int set_up(void **state)
{
    static struct world world;
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_server_mount mount;
    world = (struct world){.failures = 0};
    test_server_init(&world.server);
    snprintf(world.root, sizeof world.root, "%s/r", world.server.folder);
    assert_int_equal(mkdir(world.root, 0755), 0);
    config.root = fs_world_mount(&world.server, world.root, &mount);
    test_server_start(&world.server);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_client_connect(world.server.address, NULL, &world.clients[i]), 0);
        assert_int_equal(hf_fs_attach(world.clients[i], &config, &world.fs[i]), 0);
    }
    *state = &world;
    return 0;
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

static int tear_down(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 2; i++) {
        hf_fs_detach(world->fs[i]);
        hf_client_unref(world->clients[i]);
    }
    world->server.server = hf_server_free(world->server.server);
    assert_int_equal(nftw(world->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
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
    int number;
    int fd;
};

static void run(struct world *world, int count, void *(*work)(void *worker), int fd)
{
    pthread_t threads[2 * THREADS];
    struct worker workers[2 * THREADS];
    for (int i = 0; i < count; i++) {
        workers[i] = (struct worker){.world = world, .number = i, .fd = fd};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&world->failures), 0);
}

/* ---- one open file ---- */

static void *write_through_one_offset(void *argument)
{
    const struct worker *worker = argument;
    struct world *world = worker->world;
    char record[9];
    for (int i = 0; i < rounds(2000); i++) {
        snprintf(record, sizeof record, "%02d %04d\n", worker->number, i);
        EXPECT(world, hf_write(world->fs[0], worker->fd, record, 8) == 8);
    }
    return NULL;
}

/* Threads that write through one descriptor write one after the other. */
static void test_threads_share_an_offset(void **state)
{
    struct world *world = *state;
    int next[THREADS] = {0};
    char record[9] = "";
    int fd = hf_open(world->fs[0], "file", O_CREAT | O_RDWR, 0644);
    run(world, THREADS, write_through_one_offset, fd);
    assert_int_equal(hf_lseek(world->fs[0], fd, 0, SEEK_SET), 0);
    while (hf_read(world->fs[0], fd, record, 8) == 8) {
        long number = strtol(record, NULL, 10);
        assert_true(number >= 0 && number < THREADS);
        assert_int_equal(strtol(record + 3, NULL, 10), next[number]);
        next[number]++;
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(next[i], rounds(2000));
    }
}

/* ---- one tree, two clients ---- */

/* Everything at once on a few names: results may be many, but only these. */
static void *hammer_tree(void *argument)
{
    const struct worker *worker = argument;
    struct world *world = worker->world;
    hf_fs *fs = world->fs[worker->number % 2];
    unsigned seed = (unsigned)worker->number * 7919 + 1;
    for (int i = 0; i < rounds(1500); i++) {
        char path[16];
        struct stat attributes;
        hf_dirent entry;
        seed = seed * 1664525 + 1013904223;
        snprintf(path, sizeof path, "d%u/f%u", (seed >> 10) % 2, (seed >> 12) % 3);
        int result = 0;
        int fd = -1;
        switch ((seed >> 16) % 6) {
        case 0:
            path[2] = '\0';
            result = hf_mkdir(fs, path, 0755);
            EXPECT(world, result == 0 || result == -EEXIST);
            break;
        case 1:
            path[2] = '\0';
            result = hf_rmdir(fs, path);
            EXPECT(world, result == 0 || result == -ENOENT || result == -ENOTEMPTY);
            break;
        case 2:
            result = hf_unlink(fs, path);
            EXPECT(world, result == 0 || result == -ENOENT);
            break;
        case 3:
            result = hf_stat(fs, path, &attributes);
            EXPECT(world, result == 0 || result == -ENOENT);
            break;
        case 4:
            fd = hf_open(fs, path, O_CREAT | O_RDWR | O_APPEND, 0644);
            EXPECT(world, fd >= 0 || fd == -ENOENT);
            EXPECT(world, fd < 0 || hf_write(fs, fd, "x", 1) == 1);
            break;
        default:
            path[2] = '\0';
            fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
            EXPECT(world, fd >= 0 || fd == -ENOENT);
            while (fd >= 0 && (result = hf_readdir(fs, fd, &entry)) == 1) {
            }
            EXPECT(world, result == 0 || result == -ENOENT);
            break;
        }
        EXPECT(world, fd < 0 || hf_close(fs, fd) == 0);
    }
    return NULL;
}

static void test_threads_of_two_clients_on_one_tree(void **state)
{
    run(*state, 2 * THREADS, hammer_tree, -1);
}

/* ---- descriptors that are closed under way ---- */

static void *use_and_close(void *argument)
{
    const struct worker *worker = argument;
    struct world *world = worker->world;
    char byte;
    for (int i = 0; i < rounds(2000); i++) {
        int fd = hf_open(world->fs[0], "file", O_RDWR, 0);
        EXPECT(world, fd >= 0);
        int copy = hf_dup(world->fs[0], fd);
        EXPECT(world, copy >= 0 || copy == -EBADF);
        /* Other threads' descriptors too, which may go at any moment. */
        for (int other = 0; other < THREADS; other++) {
            ssize_t result = hf_read(world->fs[0], other, &byte, 1);
            EXPECT(world, result == 1 || result == 0 || result == -EBADF);
        }
        EXPECT(world, copy < 0 || hf_close(world->fs[0], copy) == 0);
        EXPECT(world, hf_close(world->fs[0], fd) == 0);
    }
    return NULL;
}

static void test_descriptors_closed_while_others_use_them(void **state)
{
    struct world *world = *state;
    int fd = hf_open(world->fs[0], "file", O_CREAT | O_RDWR, 0644);
    assert_int_equal(hf_write(world->fs[0], fd, "0123456789", 10), 10);
    assert_int_equal(hf_close(world->fs[0], fd), 0);
    run(world, THREADS, use_and_close, -1);
    assert_int_equal(hf_open(world->fs[0], "file", O_RDONLY, 0), 0);
}

/* ---- forks ---- */

static void *write_until_told(void *argument)
{
    const struct worker *worker = argument;
    struct world *world = worker->world;
    for (int i = 0; i < rounds(2000); i++) {
        EXPECT(world, hf_write(world->fs[0], worker->fd, "........", 8) == 8);
        struct stat attributes;
        EXPECT(world, hf_stat(world->fs[0], "d/none", &attributes) == -ENOENT);
    }
    return NULL;
}

/* A thread that forks finds the others between two operations: the child can use everything
 * at once, and the offset they share stays right. */
static void test_forks_amid_busy_threads(void **state)
{
    struct world *world = *state;
    struct worker workers[2];
    pthread_t threads[2];
    int status;
    const int forks = test_is_plain() ? 20 : 5;

    assert_int_equal(hf_mkdir(world->fs[0], "d", 0755), 0);
    int fd = hf_open(world->fs[0], "file", O_CREAT | O_RDWR, 0644);
    for (int i = 0; i < 2; i++) {
        workers[i] = (struct worker){.world = world, .number = i, .fd = fd};
        assert_int_equal(pthread_create(&threads[i], NULL, write_until_told, &workers[i]), 0);
    }
    for (int i = 0; i < forks; i++) {
        pid_t pid = hf_fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(30);
            struct stat attributes;
            _exit(hf_write(world->fs[0], fd, "########", 8) == 8 &&
                          hf_stat(world->fs[0], "d/none", &attributes) == -ENOENT &&
                          hf_open(world->fs[0], "file", O_RDONLY, 0) > 0
                      ? 0
                      : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&world->failures), 0);
    assert_int_equal(hf_lseek(world->fs[0], fd, 0, SEEK_CUR), 8 * (2 * rounds(2000) + forks));
    assert_int_equal(hf_lseek(world->fs[0], fd, 0, SEEK_END), 8 * (2 * rounds(2000) + forks));
}

/* ---- caches that are too small ---- */

/* However many files are looked at, the caches stay inside their budgets but for what is in use,
 * and all answers right. */
static void test_the_cache_stays_inside_its_limit(void **state)
{
    struct world *world = *state;
    char path[40];
    struct stat attributes;
    hf_fs *fs = world->fs[0];

    hf_fs_stats stats;
    fs->bytes.limit = (size_t)64 * 1024;
    fs->nodes.limit = 16;
    budget_trimmed(&fs->bytes);
    budget_trimmed(&fs->nodes);
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "d%d", i);
        assert_int_equal(hf_mkdir(fs, path, 0755), 0);
        for (int k = 0; k < 20; k++) {
            snprintf(path, sizeof path, "d%d/f%d", i, k);
            int fd = hf_open(fs, path, O_CREAT | O_WRONLY, 0644);
            assert_int_equal(hf_write(fs, fd, "0123456789", (size_t)(k % 10)), k % 10);
            assert_int_equal(hf_close(fs, fd), 0);
        }
    }
    int kept = hf_open(fs, "d3/f3", O_RDONLY, 0);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 20; i++) {
            for (int k = 0; k < 20; k++) {
                snprintf(path, sizeof path, "d%d/f%d", i, k);
                assert_int_equal(hf_stat(fs, path, &attributes), 0);
                assert_int_equal(attributes.st_size, k % 10);
                hf_fs_get_stats(fs, &stats);
                assert_true(stats.bytes <= stats.bytes_limit + 4096);
                assert_true(stats.nodes <= stats.nodes_limit + 3);
            }
        }
    }
    assert_int_equal(hf_fstat(fs, kept, &attributes), 0);
    assert_int_equal(attributes.st_size, 3);
}

/* ---- names ---- */

static bool is_one_of(int result, int error, int other_error)
{
    return result == 0 || result == -ENOENT || result == error || result == other_error;
}

/* On few names, so that they meet: both clients, some threads each. */
static void *rename_and_look(void *argument)
{
    static const char *const names[] = {"/p", "/q", "/p/a", "/p/b", "/q/a", "/q/a/b", "/f"};
    const struct worker *worker = argument;
    struct world *world = worker->world;
    hf_fs *fs = world->fs[worker->number % 2];
    unsigned random = (unsigned)worker->number + 1;
    struct stat attributes;
    char cwd[PATH_MAX];
    for (int i = 0; i < rounds(1000); i++) {
        random = random * 1103515245 + 12345;
        const char *name = names[(random >> 8) % 7];
        const char *other = names[(random >> 16) % 7];
        int result = hf_mkdir(fs, name, 0755);
        EXPECT(world, is_one_of(result, -EEXIST, -ENOTDIR));
        result = hf_mknod(fs, other, 0644, 0);
        EXPECT(world, is_one_of(result, -EEXIST, -ENOTDIR));
        result = hf_renameat2(
            fs, HF_AT_FDCWD, name, HF_AT_FDCWD, other, i % 4 == 0 ? RENAME_EXCHANGE : 0);
        EXPECT(world,
               is_one_of(result, -EINVAL, -ENOTEMPTY) || result == -ENOTDIR || result == -EISDIR);
        result = hf_link(fs, name, "/linked");
        EXPECT(world, is_one_of(result, -EEXIST, -EPERM) || result == -ENOTDIR);
        hf_unlink(fs, "/linked");
        hf_unlink(fs, name);
        EXPECT(world, is_one_of(hf_chmod(fs, other, 0755), -ENOTDIR, 0));
        EXPECT(world, is_one_of(hf_stat(fs, other, &attributes), -ENOTDIR, 0));
        EXPECT(world, is_one_of(hf_chdir(fs, name), -ENOTDIR, 0));
        ssize_t length = hf_getcwd(fs, cwd, sizeof cwd);
        EXPECT(world, length > 0 || length == -ENOENT);
        hf_stat(fs, "../a", &attributes);
    }
    return NULL;
}

static void test_threads_rename_what_others_use(void **state)
{
    run(*state, 2 * THREADS, rename_and_look, -1);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_threads_share_an_offset),
        TEST(test_threads_of_two_clients_on_one_tree),
        TEST(test_descriptors_closed_while_others_use_them),
        TEST(test_forks_amid_busy_threads),
        TEST(test_the_cache_stays_inside_its_limit),
        TEST(test_threads_rename_what_others_use),
    };
    return cmocka_run_group_tests_name("fs threads", tests, NULL, NULL);
}
