/*
 * holdfast serve --mount: what its clients find, and what they may do with it.
 */
#include "lib/folder.h"
#include "lib/process.h"
#include "lib/test.h"

#include <holdfast/mount.h>

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[FOLDER_PATH_BYTES];
static char address[96];
static struct program server;
static hf_client *client;
static hf_fs *fs;

/* Directories of the host, in the folder. */
static const char *const directories[] = {
    "/one", "/one/point", "/one/point/deep", "/two", "/three"};

static int set_up(void **state)
{
    char path[128];
    if (getenv("HOLDFAST") == NULL || folder_make(folder) != 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        snprintf(path, sizeof path, "%s%s", folder, directories[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    snprintf(address, sizeof address, "unix:%s/socket", folder);
    return 0;
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return at->level > 0 ? remove(path) : 0;
}

static int tear_down(void **state)
{
    fs = hf_fs_detach(fs);
    client = hf_client_unref(client);
    kill(server.pid, SIGTERM);
    assert_int_equal(program_wait(&server), 0);
    assert_string_equal(server.errors, "");
    assert_int_equal(nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    return folder_remove(folder);
}

/* Serve up to four mounts; an F in one is the folder. */
static void serve(const char *const *mounts)
{
    static char texts[4][192];
    char line[128];
    const char *arguments[16] = {getenv("HOLDFAST"), "serve", "--listen", address};
    size_t count = 4;
    for (size_t i = 0; mounts[i] != NULL; i++) {
        const size_t length = strcspn(mounts[i], "F");
        const char *rest = mounts[i][length] == 'F' ? mounts[i] + length + 1 : "";
        snprintf(texts[i],
                 sizeof texts[i],
                 "%.*s%s%s",
                 (int)length,
                 mounts[i],
                 mounts[i][length] == 'F' ? folder : "",
                 rest);
        arguments[count++] = "--mount";
        arguments[count++] = texts[i];
    }
    program_start(&server, arguments);
    snprintf(line, sizeof line, "holdfast: serving %s", address);
    program_expect_line(&server, line);
}
#define SERVE(...) serve((const char *const[]){__VA_ARGS__, NULL})

/* A client that says nothing of mounts. */
static void attach(void)
{
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    assert_int_equal(hf_client_connect(address, NULL, &client), 0);
    assert_int_equal(hf_fs_attach(client, &config, &fs), 0);
}

static void make_file(const char *path)
{
    int fd = hf_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    assert_true(fd >= 0);
    assert_int_equal(hf_close(fs, fd), 0);
}

static bool is_on_host(const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s%s", folder, name);
    return access(path, F_OK) == 0;
}

static void test_clients_find_the_mounts(void **state)
{
    struct stat attributes;
    hf_mount_info *mounts;
    char source[128];
    SERVE("direct:F/one:/", "direct:F/two:/point,ro");
    attach();
    assert_int_equal(hf_mounts(fs, &mounts), 2);
    assert_string_equal(mounts[0].path, "/");
    assert_int_equal(mounts[0].parent, 0);
    assert_int_equal(mounts[0].flags, 0);
    assert_string_equal(mounts[1].path, "/point");
    assert_int_equal(mounts[1].parent, mounts[0].number);
    assert_int_equal(mounts[1].flags, MS_RDONLY);
    assert_string_equal(mounts[1].type, "direct");
    snprintf(source, sizeof source, "%s/two", folder);
    assert_string_equal(mounts[1].source, source);
    free(mounts);

    make_file("/file");
    assert_true(is_on_host("/one/file"));
    assert_int_equal(hf_stat(fs, "/point/deep", &attributes), -ENOENT); /* it is covered */
    assert_int_equal(hf_stat(fs, "/point/..", &attributes), 0);
}

static void test_a_read_only_mount_cannot_be_changed(void **state)
{
    struct stat attributes;
    SERVE("direct:F/one:/,ro", "direct:F/two:/point");
    attach();
    assert_int_equal(hf_open(fs, "/file", O_CREAT | O_WRONLY, 0644), -EROFS);
    assert_int_equal(hf_mkdir(fs, "/directory", 0755), -EROFS);
    assert_int_equal(hf_chmod(fs, "/", 0700), -EROFS);
    make_file("/point/file");
    assert_int_equal(hf_rename(fs, "/point/file", "/file"), -EXDEV);
    assert_int_equal(hf_stat(fs, "/point/file", &attributes), 0);
}

static void test_the_root_that_a_client_names_is_the_one_there(void **state)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    char root[128];
    SERVE("direct:F/one:/", "direct:F/two:/point");
    assert_int_equal(hf_client_connect(address, NULL, &client), 0);
    snprintf(root, sizeof root, "%s/two", folder);
    config.root = root;
    assert_int_equal(hf_fs_attach(client, &config, &fs), -EBUSY);
    snprintf(root, sizeof root, "%s/one", folder);
    assert_int_equal(hf_fs_attach(client, &config, &fs), 0);
}

static void test_clients_mount_and_unmount_as_ever(void **state)
{
    struct stat attributes;
    char source[128];
    SERVE("direct:F/one:/", "direct:F/two:/point");
    attach();
    snprintf(source, sizeof source, "%s/three", folder);
    assert_int_equal(hf_mkdir(fs, "/point/inner", 0755), 0);
    assert_int_equal(hf_mount(fs, source, "/point/inner", "direct", 0, NULL), 0);
    make_file("/point/inner/file");
    assert_true(is_on_host("/three/file"));
    assert_int_equal(hf_umount2(fs, "/point", 0), -EBUSY);
    assert_int_equal(hf_umount2(fs, "/point/inner", 0), 0);
    assert_int_equal(hf_umount2(fs, "/point", 0), 0);
    assert_int_equal(hf_stat(fs, "/point/deep", &attributes), 0);
    assert_int_equal(hf_umount2(fs, "/", 0), -EBUSY);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_clients_find_the_mounts),
        CASE(test_a_read_only_mount_cannot_be_changed),
        CASE(test_the_root_that_a_client_names_is_the_one_there),
        CASE(test_clients_mount_and_unmount_as_ever),
    };
    return cmocka_run_group_tests_name("serve mounts", tests, NULL, NULL);
}
