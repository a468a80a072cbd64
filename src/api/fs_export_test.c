/*
 * Moving open files inside one process, which is server, exporter and importer: bad arguments,
 * and threads that use the files meanwhile.
 */
#include "fs/filesystem.h"

#include "lib/test.h"
#include "lib/test_server.h"

#include <errno.h>
#include <ftw.h>
#include <holdfast/export.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS 4

static struct test_server server;
static char root[80];
static hf_fs *fs[2];

static hf_fs *attach(void)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_client *client;
    hf_fs *attached;
    config.root = root;
    assert_int_equal(hf_client_connect(server.address, NULL, &client), 0);
    assert_int_equal(hf_fs_attach(client, &config, &attached), 0);
    hf_client_unref(client);
    return attached;
}

static int set_up(void **state)
{
    test_server_init(&server);
    snprintf(root, sizeof root, "%s/r", server.folder);
    assert_int_equal(mkdir(root, 0755), 0);
    test_server_start(&server);
    for (int i = 0; i < 2; i++) {
        fs[i] = attach();
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

/* Nothing is parked, or open at the host. */
static int tear_down(void **state)
{
    assert_int_equal(test_server_stats(&server).parked, 0);
    for (int i = 0; i < 2; i++) {
        hf_fs_detach(fs[i]);
    }
    assert_int_equal(nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    test_server_deinit(&server);
    return 0;
}

static void move_file(hf_fs *from, int fd, hf_fs *to, int expected)
{
    char bytes[HF_EXPORT_FILE_SIZE];
    assert_int_equal(hf_export_file(from, fd, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(hf_import_file(to, bytes, sizeof bytes, 0), expected);
}

/* ---- arguments ---- */

static void test_bad_arguments(void **state)
{
    char bytes[256] = {0};
    assert_int_equal(hf_export(fs[0], NULL, 1), -EFAULT);
    assert_int_equal(hf_export_file(fs[0], 0, NULL, 1), -EFAULT);
    assert_int_equal(hf_export_file(fs[0], 0, bytes, sizeof bytes), -EBADF);
    assert_int_equal(hf_export_file(fs[0], -1, bytes, sizeof bytes), -EBADF);
    assert_int_equal(hf_export_file(fs[0], INT_MAX, NULL, 0), -EBADF);
    assert_int_equal(hf_import(fs[0], NULL, 0), -EFAULT);
    assert_int_equal(hf_import(fs[0], bytes, 0), -EINVAL);
    assert_int_equal(hf_import(fs[0], bytes, sizeof bytes), -EINVAL);
    assert_int_equal(hf_import_file(fs[0], NULL, 0, 0), -EFAULT);
    assert_int_equal(hf_import_file(fs[0], bytes, sizeof bytes, 0), -EINVAL);
    assert_int_equal(hf_import_file(fs[0], bytes, sizeof bytes, O_RDWR), -EINVAL);
    assert_int_equal(hf_export_drop(fs[0], NULL, 0), -EFAULT);
    assert_int_equal(hf_export_drop(fs[0], bytes, sizeof bytes), -EINVAL);
    assert_int_equal(hf_send_file(fs[0], -1, 0), -EBADF);
    assert_int_equal(hf_receive_file(fs[0], -1, 0), -EBADF);
    assert_int_equal(hf_receive_file(fs[0], 0, O_RDWR), -EINVAL);

    assert_int_equal(hf_open(fs[0], "file", O_CREAT | O_RDWR, 0644), 0);
    assert_int_equal(hf_send_file(fs[0], -1, 0), -EBADF);
}

/* Asking how long it will be exports nothing, and nor does too little room. */
static void test_lengths(void **state)
{
    char bytes[256];
    assert_int_equal(hf_export(fs[0], NULL, 0), 48);
    assert_int_equal(hf_open(fs[0], "file", O_CREAT | O_RDWR, 0644), 0);
    assert_int_equal(hf_dup(fs[0], 0), 1);
    assert_int_equal(hf_export(fs[0], NULL, 0), 48 + 2 * 8);
    assert_int_equal(hf_export(fs[0], bytes, 48 + 2 * 8 - 1), -ERANGE);
    assert_int_equal(hf_export(fs[0], bytes, 1), -ERANGE);
    assert_int_equal(hf_export_file(fs[0], 0, NULL, 0), HF_EXPORT_FILE_SIZE);
    assert_int_equal(hf_export_file(fs[0], 0, bytes, HF_EXPORT_FILE_SIZE - 1), -ERANGE);
    assert_int_equal(test_server_stats(&server).parked, 0);
    assert_int_equal(hf_export(fs[0], bytes, sizeof bytes), 48 + 2 * 8);
    assert_int_equal(test_server_stats(&server).parked, 1);
    assert_int_equal(hf_export_drop(fs[1], bytes, 48 + 2 * 8), 0);
}

/* ---- datagrams, and sockets that do not wait ---- */

static void test_sockets_of_other_kinds(void **state)
{
    int ends[2];
    assert_int_equal(hf_open(fs[0], "file", O_CREAT | O_RDWR, 0644), 0);
    assert_int_equal(hf_write(fs[0], 0, "abc", 3), 3);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(hf_receive_file(fs[1], ends[1], 0), -EAGAIN);
    assert_int_equal(hf_send_file(fs[0], ends[0], 0), 0);
    assert_int_equal(hf_receive_file(fs[1], ends[1], 0), 0);
    assert_int_equal(hf_lseek(fs[1], 0, 0, SEEK_CUR), 3);

    int result = 0, sent = -1;
    for (; result == 0; sent++) {
        result = hf_send_file(fs[0], ends[0], 0);
    }
    assert_int_equal(result, -EAGAIN);
    assert_int_equal(test_server_stats(&server).parked, sent); /* what was not sent is not */
    for (int i = 0; i < sent; i++) {
        assert_int_equal(hf_receive_file(fs[1], ends[1], 0), i + 1);
    }
    assert_int_equal(hf_receive_file(fs[1], ends[1], 0), -EAGAIN);
    assert_int_equal(send(ends[0], "something else", 14, 0), 14);
    assert_int_equal(hf_receive_file(fs[1], ends[1], 0), -EINVAL);
    close(ends[0]);
    assert_int_equal(hf_receive_file(fs[1], ends[1], 0), -ECONNRESET);
    close(ends[1]);
}

/* ---- threads ---- */

struct writer {
    pthread_t thread;
    hf_fs *fs;
    int number;
    _Atomic int failures; /* assertions are for the main thread */
};

static int rounds(void)
{
    return test_is_plain() ? 1000 : 150;
}

/* Lines to an open file that all share, and opens and closes of others, which come and go in the
 * middle of an export. */
static void *write_lines(void *argument)
{
    struct writer *writer = argument;
    char line[32], name[16];
    snprintf(name, sizeof name, "own %d", writer->number);
    for (int i = 0; i < rounds(); i++) {
        const int length = snprintf(line, sizeof line, "%d %d\n", writer->number, i);
        writer->failures += hf_write(writer->fs, 0, line, (size_t)length) != length;
        const int fd = hf_open(writer->fs, name, O_CREAT | O_RDWR, 0644);
        writer->failures += fd <= 0 || hf_write(writer->fs, fd, "x", 1) != 1;
        writer->failures += hf_close(writer->fs, fd) != 0;
    }
    return NULL;
}

static void check_lines(void)
{
    int next[THREADS] = {0};
    char path[96], line[32];
    snprintf(path, sizeof path, "%s/file", root);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *rest;
        const long number = strtol(line, &rest, 10);
        assert_in_range(number, 0, THREADS - 1);
        assert_int_equal(strtol(rest, &rest, 10), next[number]++);
        assert_string_equal(rest, "\n");
    }
    fclose(file);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(next[i], rounds());
    }
}

/* All of it goes to another client again and again, while it is used on both sides. */
static void test_exports_while_threads_use_the_files(void **state)
{
    struct writer writers[THREADS];
    char bytes[1024];
    hf_fs *copies[8];
    assert_int_equal(hf_open(fs[0], "file", O_CREAT | O_RDWR, 0644), 0);
    move_file(fs[0], 0, fs[1], 0);
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.fs = fs[i % 2 == 0 ? 0 : 1], .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_lines, &writers[i]), 0);
    }
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 8; i++) {
            const ssize_t size = hf_export(fs[i % 2 == 0 ? 0 : 1], bytes, sizeof bytes);
            assert_true(size >= 56);
            copies[i] = attach();
            assert_int_equal(hf_import(copies[i], bytes, (size_t)size), 0);
            assert_true(hf_lseek(copies[i], 0, 0, SEEK_CUR) >= 0);
        }
        for (int i = 0; i < 8; i++) {
            hf_fs_detach(copies[i]);
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].failures, 0);
    }
    check_lines();
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_bad_arguments),
        TEST(test_lengths),
        TEST(test_sockets_of_other_kinds),
        TEST(test_exports_while_threads_use_the_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
