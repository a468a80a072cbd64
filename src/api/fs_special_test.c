/*
 * Pipes and devices: what Linux answers, and nobody else has to wait for who waits in one. The
 * server is in this process, and so is another client.
 */
#include "fs/filesystem.h"

#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

struct world {
    struct test_server server;
    char root[80];
    char outside[80]; /* the kernel's own */
    hf_client *clients[2];
    hf_fs *fs[2];
};

static int set_up(void **state)
{
    static struct world world;
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_server_mount mount;
    test_server_init(&world.server);
    snprintf(world.root, sizeof world.root, "%s/r", world.server.folder);
    snprintf(world.outside, sizeof world.outside, "%s/o", world.server.folder);
    assert_int_equal(mkdir(world.root, 0755), 0);
    assert_int_equal(mkdir(world.outside, 0755), 0);
    config.root = fs_world_mount(&world.server, world.root, &mount);
    test_server_start(&world.server);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_client_connect(world.server.address, NULL, &world.clients[i]), 0);
        assert_int_equal(hf_fs_attach(world.clients[i], &config, &world.fs[i]), 0);
    }
    assert_int_equal(hf_mkfifo(world.fs[0], "pipe", 0644), 0);
    assert_int_equal(chdir(world.outside), 0);
    assert_int_equal(mkfifo("pipe", 0644), 0);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    assert_int_equal(hf_unlink(world->fs[0], "pipe"), 0);
    for (int i = 0; i < 2; i++) {
        hf_fs_detach(world->fs[i]);
        hf_client_unref(world->clients[i]);
    }
    world->server.server = hf_server_free(world->server.server);
    assert_int_equal(unlink("pipe"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(world->root), 0);
    assert_int_equal(rmdir(world->outside), 0);
    test_server_deinit(&world->server);
    return 0;
}

/* ---- as the kernel ---- */

static long kernel(long result)
{
    return result < 0 ? -errno : result;
}

#define SAME(ours, theirs) assert_int_equal((long)(ours), kernel((long)(theirs)))

/* What makes no sense with a pipe, or with a device, says so as in Linux. @ours and @theirs are
 * open for reading and writing. */
static void use_badly(hf_fs *fs, int ours, int theirs)
{
    hf_dirent entry;
    char buffer[8] = "";
    void *address;
    struct stat st, expected;
    const struct iovec vector = {.iov_base = buffer, .iov_len = 1};

    SAME(hf_lseek(fs, ours, 5, SEEK_SET), lseek(theirs, 5, SEEK_SET));
    SAME(hf_lseek(fs, ours, 0, SEEK_CUR), lseek(theirs, 0, SEEK_CUR));
    SAME(hf_lseek(fs, ours, 0, SEEK_END), lseek(theirs, 0, SEEK_END));
    SAME(hf_lseek(fs, ours, 0, 99), lseek(theirs, 0, 99));
    SAME(hf_pread(fs, ours, buffer, 1, 0), pread(theirs, buffer, 1, 0));
    SAME(hf_pread(fs, ours, buffer, 1, -1), pread(theirs, buffer, 1, -1));
    SAME(hf_pwrite(fs, ours, buffer, 1, 0), pwrite(theirs, buffer, 1, 0));
    SAME(hf_preadv(fs, ours, &vector, 1, 0), preadv(theirs, &vector, 1, 0));
    SAME(hf_pwritev(fs, ours, &vector, 1, 0), pwritev(theirs, &vector, 1, 0));
    SAME(hf_ftruncate(fs, ours, 0), ftruncate(theirs, 0));
    SAME(hf_fallocate(fs, ours, 0, 0, 1), fallocate(theirs, 0, 0, 1));
    SAME(hf_copy_file_range(fs, ours, NULL, ours, NULL, 1, 0),
         copy_file_range(theirs, NULL, theirs, NULL, 1, 0));
    SAME(hf_fsync(fs, ours), fsync(theirs));
    SAME(hf_fdatasync(fs, ours), fdatasync(theirs));
    SAME(hf_syncfs(fs, ours), syncfs(theirs));
    assert_int_equal(hf_readdir(fs, ours, &entry), -ENOTDIR);
    SAME(hf_read(fs, ours, NULL, 0), read(theirs, NULL, 0));
    assert_int_equal(hf_fstat(fs, ours, &st), 0);
    assert_int_equal(fstat(theirs, &expected), 0);
    if (S_ISFIFO(st.st_mode)) {
        SAME(hf_mmap(fs, NULL, 1, PROT_READ, MAP_PRIVATE, ours, 0, &address),
             mmap(NULL, 1, PROT_READ, MAP_PRIVATE, theirs, 0));
    }
    assert_int_equal(st.st_mode, expected.st_mode);
    assert_int_equal(st.st_size, expected.st_size);
    assert_int_equal(st.st_rdev, expected.st_rdev);
}

static void compare_flags(hf_fs *fs, int ours, int theirs)
{
    assert_int_equal(hf_fcntl(fs, ours, F_GETFL), fcntl(theirs, F_GETFL) & ~0100000);
}

static void test_a_pipe_answers_as_the_kernels(void **state)
{
    struct world *world = *state;
    hf_fs *fs = world->fs[0];
    char ours_buffer[8] = "", theirs_buffer[8] = "";

    /* Nobody reads. */
    SAME(hf_open(fs, "pipe", O_WRONLY | O_NONBLOCK, 0), open("pipe", O_WRONLY | O_NONBLOCK));
    SAME(hf_open(fs, "pipe", O_CREAT | O_EXCL, 0), open("pipe", O_CREAT | O_EXCL, 0));
    SAME(hf_open(fs, "pipe", O_RDONLY | O_DIRECTORY, 0), open("pipe", O_RDONLY | O_DIRECTORY));
    SAME(hf_truncate(fs, "pipe", 0), truncate("pipe", 0));

    int reader = hf_open(fs, "pipe", O_RDONLY | O_NONBLOCK, 0);
    int theirs_reader = open("pipe", O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0 && theirs_reader >= 0);
    SAME(hf_read(fs, reader, ours_buffer, 8), read(theirs_reader, theirs_buffer, 8));
    int writer = hf_open(world->fs[1], "pipe", O_WRONLY | O_TRUNC | O_CREAT, 0);
    int theirs_writer = open("pipe", O_WRONLY | O_TRUNC | O_CREAT, 0);
    assert_true(writer >= 0 && theirs_writer >= 0);
    SAME(hf_read(fs, reader, ours_buffer, 8), read(theirs_reader, theirs_buffer, 8));
    compare_flags(fs, reader, theirs_reader);
    compare_flags(world->fs[1], writer, theirs_writer);
    SAME(hf_fcntl(fs, reader, F_SETFL, O_APPEND), fcntl(theirs_reader, F_SETFL, O_APPEND));
    compare_flags(fs, reader, theirs_reader);
    SAME(hf_write(world->fs[1], writer, "abcdef", 6), write(theirs_writer, "abcdef", 6));
    SAME(hf_read(fs, reader, ours_buffer, 4), read(theirs_reader, theirs_buffer, 4));
    assert_string_equal(ours_buffer, "abcd");
    SAME(hf_write(fs, reader, "x", 1), write(theirs_reader, "x", 1));
    SAME(hf_read(world->fs[1], writer, ours_buffer, 1), read(theirs_writer, theirs_buffer, 1));
    SAME(hf_pread(world->fs[1], writer, ours_buffer, 1, 0),
         pread(theirs_writer, ours_buffer, 1, 0));
    SAME(hf_pwrite(fs, reader, "x", 1, 0), pwrite(theirs_reader, "x", 1, 0));
    assert_int_equal(hf_close(world->fs[1], writer), 0);
    assert_int_equal(close(theirs_writer), 0);
    SAME(hf_read(fs, reader, ours_buffer, 8), read(theirs_reader, theirs_buffer, 8));
    assert_memory_equal(ours_buffer, "ef", 2);
    SAME(hf_read(fs, reader, ours_buffer, 8), read(theirs_reader, theirs_buffer, 8));
    assert_int_equal(hf_close(fs, reader), 0);
    assert_int_equal(close(theirs_reader), 0);

    int both = hf_open(fs, "pipe", O_RDWR, 0);
    int theirs_both = open("pipe", O_RDWR);
    use_badly(fs, both, theirs_both);
    assert_int_equal(hf_close(fs, both), 0);
    assert_int_equal(close(theirs_both), 0);
}

static void test_devices_answer_as_the_kernels(void **state)
{
    struct world *world = *state;
    hf_fs *fs = world->fs[0];
    if (geteuid() != 0) {
        skip();
    }
    for (unsigned minor = 3; minor <= 9; minor += 2) { /* null, zero, full, urandom */
        char buffer[8] = "", expected[8] = "";
        const dev_t device = makedev(1, minor);
        SAME(hf_mknod(fs, "device", S_IFCHR | 0644, device),
             mknod("device", S_IFCHR | 0644, device));
        int ours = hf_open(fs, "device", O_RDWR, 0);
        int theirs = open("device", O_RDWR);
        if (fs_world_is_served()) {
            assert_int_equal(ours, -EACCES); /* as if it were mounted so */
            close(theirs);
        } else if (theirs < 0) {
            assert_int_equal(ours, -errno); /* mounted without devices */
        } else {
            compare_flags(fs, ours, theirs);
            use_badly(fs, ours, theirs);
            SAME(hf_write(fs, ours, "abc", 3), write(theirs, "abc", 3));
            SAME(hf_read(fs, ours, buffer, 8), read(theirs, expected, 8));
            if (minor != 9) {
                assert_memory_equal(buffer, expected, 8);
            }
            assert_int_equal(hf_close(fs, ours), 0);
            assert_int_equal(close(theirs), 0);
        }
        assert_int_equal(hf_unlink(fs, "device"), 0);
        assert_int_equal(unlink("device"), 0);
    }
    /* A number that no driver has. */
    const dev_t none = makedev(4000, 1);
    SAME(hf_mknod(fs, "device", S_IFBLK | 0644, none), mknod("device", S_IFBLK | 0644, none));
    if (!fs_world_is_served()) {
        SAME(hf_open(fs, "device", O_RDONLY, 0), open("device", O_RDONLY));
    }
    assert_int_equal(hf_unlink(fs, "device"), 0);
    assert_int_equal(unlink("device"), 0);
}

static void test_poll_on_the_descriptor_of_the_host(void **state)
{
    struct world *world = *state;
    hf_fs *fs = world->fs[0];
    int fd = hf_open(fs, "pipe", O_RDWR, 0);
    struct pollfd ready = {.fd = hf_host_fd(fs, fd), .events = POLLIN};
    assert_true(ready.fd >= 0);
    assert_int_equal(poll(&ready, 1, 0), 0);
    assert_int_equal(hf_write(fs, fd, "x", 1), 1);
    assert_int_equal(poll(&ready, 1, 0), 1);
    int directory = hf_open(fs, "/", O_RDONLY, 0);
    assert_int_equal(hf_host_fd(fs, directory), -EINVAL);
    assert_int_equal(hf_host_fd(fs, 77), -EBADF);
}

/* Writing to a pipe or a device changes nothing of the mount. */
static void test_pipes_on_a_read_only_mount(void **state)
{
    struct world *world = *state;
    hf_fs *fs = world->fs[0];
    char byte;

    FS_WORLD_DIRECT_ONLY("a store is mounted once");
    assert_int_equal(hf_mknod(fs, "file", 0644, 0), 0);
    assert_int_equal(hf_mkdir(fs, "mounted", 0755), 0);
    assert_int_equal(hf_mount(fs, world->root, "mounted", "direct", MS_RDONLY, NULL), 0);
    assert_int_equal(hf_open(fs, "mounted/file", O_RDWR, 0), -EROFS);
    int fd = hf_open(fs, "mounted/pipe", O_RDWR, 0);
    assert_true(fd >= 0);
    assert_int_equal(hf_write(fs, fd, "x", 1), 1);
    assert_int_equal(hf_read(fs, fd, &byte, 1), 1);
    assert_int_equal(hf_umount2(fs, "mounted", 0), -EBUSY);
    assert_int_equal(hf_close(fs, fd), 0);
    assert_int_equal(hf_umount2(fs, "mounted", 0), 0);
    assert_int_equal(hf_rmdir(fs, "mounted"), 0);
    assert_int_equal(hf_unlink(fs, "file"), 0);
}

/* ---- waiting ---- */

struct waiter {
    hf_fs *fs;
    int flags; /* to open it with; else it is open */
    int fd;
    char byte;
    ssize_t result;
    pthread_t thread;
};

static void *open_pipe(void *argument)
{
    struct waiter *waiter = argument;
    waiter->fd = hf_open(waiter->fs, "pipe", waiter->flags, 0);
    return NULL;
}

static void *read_pipe(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = hf_read(waiter->fs, waiter->fd, &waiter->byte, 1);
    return NULL;
}

static bool someone_waits(hf_fs *fs)
{
    pthread_mutex_lock(&fs->waits_mutex);
    const bool found = !list_is_empty(&fs->waits);
    pthread_mutex_unlock(&fs->waits_mutex);
    return found;
}

static void start(struct waiter *waiter, void *(*wait)(void *))
{
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait, waiter), 0);
    while (!someone_waits(waiter->fs)) {
        sched_yield();
    }
}

/* In a child of a fork: all works, and nothing is left of threads that are not here. */
static int use_in_child(struct world *world)
{
    struct stat st;
    alarm(30);
    const bool right = hf_stat(world->fs[0], "pipe", &st) == 0 &&
                       hf_mkdir(world->fs[0], "by_child", 0755) == 0 &&
                       hf_rmdir(world->fs[0], "by_child") == 0 && !someone_waits(world->fs[0]);
    hf_fs_detach(world->fs[0]); /* which asserts that all is given back */
    return right ? 0 : 1;
}

/* The directory, the pipe's inode and the gate are free: for threads, other clients, and forks. */
static void use_meanwhile(struct world *world)
{
    struct stat st;
    int status;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_mkdir(world->fs[i], "beside", 0755), 0);
        assert_int_equal(hf_chmod(world->fs[i], "pipe", 0600), 0);
        assert_int_equal(hf_stat(world->fs[1 - i], "pipe", &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(hf_rmdir(world->fs[i], "beside"), 0);
    }
    pid_t pid = hf_fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(use_in_child(world));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_others_go_on_while_one_waits_to_open(void **state)
{
    struct world *world = *state;
    struct waiter waiter = {.fs = world->fs[0], .flags = O_RDONLY};
    start(&waiter, open_pipe);
    use_meanwhile(world);
    int writer = hf_open(world->fs[1], "pipe", O_WRONLY, 0);
    assert_true(writer >= 0);
    pthread_join(waiter.thread, NULL);
    assert_int_equal(waiter.fd, 0);
    assert_int_equal(hf_write(world->fs[1], writer, "x", 1), 1);
    read_pipe(&waiter);
    assert_int_equal(waiter.byte, 'x');
}

static void test_others_go_on_while_one_waits_to_read(void **state)
{
    struct world *world = *state;
    struct waiter waiter = {.fs = world->fs[0]};
    waiter.fd = hf_open(world->fs[0], "pipe", O_RDONLY | O_NONBLOCK, 0);
    int writer = hf_open(world->fs[1], "pipe", O_WRONLY, 0);
    assert_int_equal(hf_fcntl(world->fs[0], waiter.fd, F_SETFL, 0), 0);
    start(&waiter, read_pipe);
    use_meanwhile(world);
    /* It goes on reading what it began with, also when the descriptor is closed. */
    assert_int_equal(hf_close(world->fs[0], waiter.fd), 0);
    use_meanwhile(world);
    assert_int_equal(hf_write(world->fs[1], writer, "x", 1), 1);
    pthread_join(waiter.thread, NULL);
    assert_int_equal(waiter.result, 1);
    assert_int_equal(waiter.byte, 'x');
}

static void do_nothing(int signal)
{
}

static void test_a_signal_ends_the_wait(void **state)
{
    struct world *world = *state;
    struct sigaction action = {.sa_handler = do_nothing}, before;
    struct waiter waiter = {.fs = world->fs[0], .flags = O_RDONLY};
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    start(&waiter, open_pipe);
    /* Until it was in the system call. */
    while (someone_waits(world->fs[0])) {
        pthread_kill(waiter.thread, SIGUSR1);
        sched_yield();
    }
    pthread_join(waiter.thread, NULL);
    assert_int_equal(waiter.fd, -EINTR);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

/* After a fork both have the same end of the pipe: it is open while one of them has it so. */
static void test_a_pipe_is_shared_by_a_fork(void **state)
{
    struct world *world = *state;
    hf_fs *fs = world->fs[0];
    char buffer[4];
    int status;
    int reader = hf_open(fs, "pipe", O_RDONLY | O_NONBLOCK, 0);
    int writer = hf_open(fs, "pipe", O_WRONLY, 0);
    assert_int_equal(hf_write(fs, writer, "abc", 3), 3);
    pid_t pid = hf_fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(hf_read(fs, reader, buffer, 1) == 1 && buffer[0] == 'a' &&
                      hf_write(fs, writer, "d", 1) == 1
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(hf_read(fs, reader, buffer, 4), 3);
    assert_memory_equal(buffer, "bcd", 3);
    assert_int_equal(hf_read(fs, reader, buffer, 4), -EAGAIN);
    assert_int_equal(hf_close(fs, writer), 0);
    assert_int_equal(hf_read(fs, reader, buffer, 4), 0);
}

/* Reading and writing move its times, and hold no handle: so nobody keeps them. */
static void test_the_times_of_a_pipe_are_the_hosts(void **state)
{
    static const struct timespec past[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct world *world = *state;
    struct stat st;
    char path[96];
    FS_WORLD_DIRECT_ONLY("what goes through the pipe moves no times there");
    int ours = hf_open(world->fs[0], "pipe", O_RDWR, 0);
    assert_true(ours >= 0);
    assert_int_equal(hf_futimens(world->fs[0], ours, past), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_stat(world->fs[i], "pipe", &st), 0);
        assert_int_equal(st.st_mtim.tv_sec, 1);
    }
    assert_int_equal(hf_write(world->fs[0], ours, "x", 1), 1);
    snprintf(path, sizeof path, "%s/pipe", world->root);
    for (int i = 0; i < 2; i++) {
        struct stat expected;
        assert_int_equal(hf_stat(world->fs[i], "pipe", &st), 0);
        assert_int_equal(stat(path, &expected), 0);
        assert_int_equal(st.st_mtim.tv_sec, expected.st_mtim.tv_sec);
        assert_true(st.st_mtim.tv_sec > 1);
    }
    assert_int_equal(hf_close(world->fs[0], ours), 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_pipe_answers_as_the_kernels),
        TEST(test_devices_answer_as_the_kernels),
        TEST(test_poll_on_the_descriptor_of_the_host),
        TEST(test_pipes_on_a_read_only_mount),
        TEST(test_others_go_on_while_one_waits_to_open),
        TEST(test_others_go_on_while_one_waits_to_read),
        TEST(test_a_signal_ends_the_wait),
        TEST(test_a_pipe_is_shared_by_a_fork),
        TEST(test_the_times_of_a_pipe_are_the_hosts),
    };
    return cmocka_run_group_tests_name("fs special", tests, NULL, NULL);
}
