/* The value of a shared open file comes from whoever set it last: it is not believed blindly. */
#include "fs/open_file.h"

#include "fs/filesystem.h"

#include "lib/test.h"
#include "lib/test_server.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct raw_value {
    uint64_t offset;
    uint32_t flags;
    uint32_t zero;
};

static void set_value(hf_sync *handle, const void *value, size_t size)
{
    assert_true(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
    assert_int_equal(hf_sync_set_value(handle, value, size), 0);
    assert_int_equal(hf_sync_release(handle), 0);
}

static void set_offset(hf_sync *handle, uint64_t offset, uint32_t flags, uint32_t zero)
{
    const struct raw_value value = {
        .offset = htole64(offset),
        .flags = htole32(flags),
        .zero = htole32(zero),
    };
    set_value(handle, &value, sizeof value);
}

static hf_sync *open_handle_of(hf_fs *fs, int fd, hf_client *other)
{
    hf_sync *handle = NULL;
    struct open_file *file = open_file_get(fs, fd);
    assert_non_null(file);
    assert_non_null(file->handle);
    assert_int_equal(client_open_reserved(other, hf_sync_id(file->handle), 0, &handle), 0);
    open_file_put(fs, fd, file);
    return handle;
}

/* Make the open files of @fs shared, as a fork does. */
static void share_by_fork(void)
{
    int status;
    pid_t pid = hf_fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* A value that makes no sense is an error for the one who meets it, and a right one mends it. */
static void refuse_strange_values(hf_fs *fs, int fd, hf_sync *handle)
{
    char byte;
    static const struct raw_value strange[] = {
        {UINT64_C(1) << 63, 0, 0},
        {UINT64_MAX, 0, 0},
        {0, 16, 0},
        {0, UINT32_MAX, 0},
        {0, 0, 1},
    };
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        set_offset(handle, strange[i].offset, strange[i].flags, strange[i].zero);
        assert_int_equal(hf_write(fs, fd, "x", 1), -EIO);
        assert_int_equal(hf_lseek(fs, fd, 0, SEEK_CUR), -EIO);
        assert_int_equal(hf_pwrite(fs, fd, "x", 1, 0), -EIO);
    }
    const struct raw_value longer[2] = {{3, 0, 0}};
    set_value(handle, longer, sizeof longer[0] + 1);
    assert_int_equal(hf_read(fs, fd, &byte, 1), -EIO);
    set_value(handle, "short", 5);
    assert_int_equal(hf_read(fs, fd, &byte, 1), -EIO);
    set_value(handle, NULL, 0);
    assert_int_equal(hf_read(fs, fd, &byte, 1), -EIO);

    set_offset(handle, 3, 0, 0);
    assert_int_equal(hf_read(fs, fd, &byte, 1), 1);
    assert_int_equal(byte, '3');
    assert_int_equal(hf_lseek(fs, fd, 0, SEEK_CUR), 4);

    /* Status flags are shared as the offset is. */
    set_offset(handle, 0, 1, 0);
    assert_int_equal(hf_write(fs, fd, "end", 3), 3);
    assert_int_equal(hf_lseek(fs, fd, 0, SEEK_CUR), 13);
}

static void test_a_strange_value_is_refused(void **state)
{
    struct test_server server;
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_client *clients[2];
    hf_fs *fs = NULL;
    char path[96];

    test_server_init(&server);
    test_server_start(&server);
    config.root = server.folder;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_client_connect(server.address, NULL, &clients[i]), 0);
    }
    assert_int_equal(hf_fs_attach(clients[0], &config, &fs), 0);
    int fd = hf_open(fs, "file", O_CREAT | O_RDWR, 0644);
    assert_int_equal(hf_write(fs, fd, "0123456789", 10), 10);
    share_by_fork();
    hf_sync *handle = open_handle_of(fs, fd, clients[1]);

    refuse_strange_values(fs, fd, handle);

    hf_sync_close(handle);
    hf_fs_detach(fs);
    for (int i = 0; i < 2; i++) {
        hf_client_unref(clients[i]);
    }
    snprintf(path, sizeof path, "%s/file", server.folder);
    assert_int_equal(unlink(path), 0);
    test_server_deinit(&server);
}

/* As many open files as a client may have handles cannot all be shared. */
static void test_a_fork_that_cannot_share_all_open_files(void **state)
{
    struct test_server server;
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_client *client;
    hf_fs *fs = NULL;
    char path[96];
    int status;

    test_server_init(&server);
    server.config.limits.handles = 20;
    test_server_start(&server);
    config.root = server.folder;
    assert_int_equal(hf_client_connect(server.address, NULL, &client), 0);
    assert_int_equal(hf_fs_attach(client, &config, &fs), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(hf_open(fs, "file", O_CREAT | O_RDWR, 0644), i);
    }

    /* The one says so, and the other leaves the child without a connection. */
    assert_int_equal(hf_write(fs, 0, "012", 3), 3);
    assert_int_equal(hf_fork(), -EDQUOT);
    assert_int_equal(hf_write(fs, 0, "3", 1), 1);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(hf_write(fs, 0, "4", 1) < 0 && hf_write(fs, 19, "4", 1) < 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(hf_lseek(fs, 0, 0, SEEK_CUR), 4);

    hf_fs_detach(fs);
    hf_client_unref(client);
    snprintf(path, sizeof path, "%s/file", server.folder);
    assert_int_equal(unlink(path), 0);
    test_server_deinit(&server);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_strange_value_is_refused),
        cmocka_unit_test(test_a_fork_that_cannot_share_all_open_files),
    };
    return cmocka_run_group_tests_name("open file", tests, NULL, NULL);
}
