/*
 * holdfast serve --mount: what its clients find, and what they may do with it.
 */
#include "lib/folder.h"
#include "lib/process.h"
#include "lib/test.h"

#include <holdfast/export.h>
#include <holdfast/mount.h>

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
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

/* ---- what the server has itself ---- */

static mode_t mode_of(const char *path)
{
    struct stat attributes;
    assert_int_equal(hf_stat(fs, path, &attributes), 0);
    return attributes.st_mode;
}

/* As in its manual: nothing is at "/", so the server makes what the mount points need. */
static void test_three_kinds_beside_each_other(void **state)
{
    struct statfs space;
    hf_mount_info *mounts;
    SERVE("ram:/tmp,size=1M,inodes=100", "ram:/a/b,ro,mode=0750", "direct:F/one:/src,ro");
    attach();
    assert_int_equal(hf_mounts(fs, &mounts), 4);
    assert_string_equal(mounts[0].path, "/");
    assert_string_equal(mounts[0].type, "ram");
    assert_string_equal(mounts[0].source, "ram");
    assert_int_equal(mounts[0].flags, MS_RDONLY);
    assert_string_equal(mounts[1].path, "/tmp");
    assert_string_equal(mounts[1].type, "ram");
    assert_int_equal(mounts[1].flags, 0);
    assert_string_equal(mounts[2].path, "/a/b");
    assert_int_equal(mounts[2].flags, MS_RDONLY);
    assert_string_equal(mounts[3].type, "direct");
    free(mounts);

    assert_int_equal(mode_of("/"), S_IFDIR | 0755);
    assert_int_equal(mode_of("/tmp"), S_IFDIR | 01777);
    assert_int_equal(mode_of("/a"), S_IFDIR | 0755);
    assert_int_equal(mode_of("/a/b"), S_IFDIR | 0750);
    make_file("/tmp/file");
    assert_int_equal(mode_of("/a/../tmp/file"), S_IFREG | 0644);
    assert_int_equal(mode_of("/src/point/deep/../../../tmp/file"), S_IFREG | 0644);
    assert_int_equal(hf_open(fs, "/file", O_CREAT | O_WRONLY, 0644), -EROFS);
    assert_int_equal(hf_mkdir(fs, "/a/b/directory", 0755), -EROFS);
    assert_int_equal(hf_mkdir(fs, "/src/directory", 0755), -EROFS);
    assert_int_equal(hf_statfs(fs, "/tmp", &space), 0);
    assert_int_equal(space.f_blocks * (uint64_t)space.f_bsize, 1 << 20);
    assert_int_equal(space.f_files, 100);
    assert_int_equal(space.f_files - space.f_ffree, 2);
}

static void test_nothing_goes_from_mount_to_mount_but_what_is_copied(void **state)
{
    int fd, other;
    SERVE("ram:/", "ram:/a", "ram:/b", "direct:F/one:/c");
    attach();
    make_file("/a/file");
    make_file("/c/file");
    assert_int_equal(hf_rename(fs, "/a/file", "/b/file"), -EXDEV);
    assert_int_equal(hf_rename(fs, "/a/file", "/c/other"), -EXDEV);
    assert_int_equal(hf_rename(fs, "/c/file", "/a/other"), -EXDEV);
    assert_int_equal(hf_link(fs, "/a/file", "/b/file"), -EXDEV);
    assert_int_equal(hf_link(fs, "/c/file", "/b/file"), -EXDEV);
    fd = hf_open(fs, "/a/file", O_RDONLY, 0);
    other = hf_open(fs, "/c/file", O_WRONLY, 0);
    assert_true(fd >= 0 && other >= 0);
    assert_int_equal(hf_copy_file_range(fs, fd, NULL, other, NULL, 1, 0), -EXDEV);
    assert_int_equal(hf_close(fs, fd), 0);
    assert_int_equal(hf_close(fs, other), 0);
    assert_int_equal(hf_rename(fs, "/a", "/a2"), -EBUSY);
    assert_int_equal(hf_rmdir(fs, "/b"), -EBUSY);
}

/* Up and down through backends: each directory knows the way by the mount that it was reached by. */
static void test_a_working_directory_has_its_path_through_all_kinds(void **state)
{
    static const char *const paths[] = {
        "/", "/in", "/in/one", "/in/one/point", "/in/one/point/x", "/in/one/point/x/y"};
    char path[128];
    SERVE("ram:/", "direct:F/one:/in/one", "ram:/in/one/point", "direct:F/two:/in/one/point/x");
    attach();
    assert_int_equal(hf_mkdir(fs, "/in/one/point/x/y", 0755), 0);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(hf_chdir(fs, paths[i]), 0);
        assert_int_equal(hf_getcwd(fs, path, sizeof path), strlen(paths[i]) + 1);
        assert_string_equal(path, paths[i]);
    }
    for (size_t i = sizeof paths / sizeof paths[0] - 1; i > 0; i--) {
        assert_int_equal(hf_chdir(fs, ".."), 0);
        assert_true(hf_getcwd(fs, path, sizeof path) > 0);
        assert_string_equal(path, paths[i - 1]);
    }
}

#define ROUNDS 1500

/* A client of its own, which does one thing in turn. */
struct busy {
    pthread_t thread;
    const char *where; /* where it is, and asks for its path; or NULL: it renames */
    const char *from;
    const char *to;
};

static void *be_busy(void *argument)
{
    const struct busy *busy = argument;
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    char path[128];
    hf_client *own;
    hf_fs *own_fs;
    assert_int_equal(hf_client_connect(address, NULL, &own), 0);
    assert_int_equal(hf_fs_attach(own, &config, &own_fs), 0);
    if (busy->where != NULL) {
        assert_int_equal(hf_chdir(own_fs, busy->where), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        if (busy->where != NULL) {
            assert_true(hf_getcwd(own_fs, path, sizeof path) > 0);
            assert_string_equal(path, busy->where);
        } else {
            assert_int_equal(hf_rename(own_fs, busy->from, busy->to), 0);
            assert_int_equal(hf_rename(own_fs, busy->to, busy->from), 0);
        }
    }
    hf_fs_detach(own_fs);
    hf_client_unref(own);
    return NULL;
}

/* Two are where the same two backends lie in each other the one way and the other, and others rename
 * directories in both: nobody waits for ever. */
static void test_paths_through_two_backends_and_renames_in_both(void **state)
{
    struct busy busy[] = {
        {.where = "/d/point/x"},       /* in the store, in the host's directory */
        {.where = "/d/point/t/point"}, /* in the host's directory, in the store */
        {.from = "/d/point/r1/x", .to = "/d/point/r2/x"},
        {.from = "/d/r1/x", .to = "/d/r2/x"},
    };
    SERVE("ram:/", "direct:F/one:/d", "ram:/d/point", "direct:F/two:/d/point/t");
    attach();
    static const char *const made[] = {"/d/point/x",
                                       "/d/point/t/point",
                                       "/d/point/r1",
                                       "/d/point/r2",
                                       "/d/point/r1/x",
                                       "/d/r1",
                                       "/d/r2",
                                       "/d/r1/x"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        assert_int_equal(hf_mkdir(fs, made[i], 0755), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&busy[i].thread, NULL, be_busy, &busy[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(busy[i].thread, NULL), 0);
    }
}

static void test_clients_mount_on_what_is_served_and_below(void **state)
{
    hf_mount_info *mounts;
    char source[128];
    SERVE("ram:/tmp");
    attach();
    snprintf(source, sizeof source, "%s/three", folder);
    assert_int_equal(hf_mkdir(fs, "/tmp/d", 0755), 0);
    assert_int_equal(hf_mount(fs, source, "/tmp/d", "direct", 0, NULL), 0);
    make_file("/tmp/d/file");
    assert_true(is_on_host("/three/file"));
    assert_int_equal(hf_mounts(fs, &mounts), 3);
    assert_string_equal(mounts[1].type, "ram"); /* as the server had put it */
    assert_string_equal(mounts[2].type, "direct");
    assert_int_equal(mounts[2].parent, mounts[1].number);
    free(mounts);
    assert_int_equal(hf_rmdir(fs, "/tmp/d"), -EBUSY);
    assert_int_equal(hf_umount2(fs, "/tmp/d", 0), 0);
    assert_int_equal(hf_rmdir(fs, "/tmp/d"), 0);

    int fd = hf_open(fs, "/tmp", O_RDONLY | O_DIRECTORY, 0);
    assert_true(fd >= 0);
    assert_int_equal(hf_umount2(fs, "/tmp", 0), -EBUSY);
    assert_int_equal(hf_close(fs, fd), 0);
    assert_int_equal(hf_umount2(fs, "/tmp", 0), 0);
    assert_int_equal(hf_open(fs, "/tmp/file", O_CREAT | O_WRONLY, 0644), -EROFS);
}

static void test_a_detached_served_mount_goes_on_for_who_is_there(void **state)
{
    char path[128];
    SERVE("ram:/tmp");
    attach();
    int fd = hf_open(fs, "/tmp/file", O_CREAT | O_RDWR, 0644);
    assert_true(fd >= 0);
    assert_int_equal(hf_chdir(fs, "/tmp"), 0);
    assert_int_equal(hf_umount2(fs, "/tmp", MNT_DETACH), 0);
    assert_int_equal(hf_write(fs, fd, "x", 1), 1);
    assert_int_equal(hf_getcwd(fs, path, sizeof path), -ENOENT);
    assert_int_equal(mode_of("file"), S_IFREG | 0644);
    assert_int_equal(hf_close(fs, fd), 0);
    assert_int_equal(hf_chdir(fs, "/tmp"), 0);
    assert_int_equal(hf_getcwd(fs, path, sizeof path), 5);
}

static void write_file(const char *path, const char *text)
{
    int fd = hf_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0640);
    assert_true(fd >= 0);
    assert_int_equal(hf_write(fs, fd, text, strlen(text)), strlen(text));
    assert_int_equal(hf_fsync(fs, fd), 0); /* until then it may be on its way */
    assert_int_equal(hf_close(fs, fd), 0);
}

static void expect_host_file(const char *name, const char *text)
{
    char path[128];
    char found[32] = "";
    snprintf(path, sizeof path, "%s%s", folder, name);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(found, sizeof found, file));
    assert_string_equal(found, text);
    fclose(file);
}

/* Open files go to clients that never walked there, and cannot any more. */
static void test_an_open_file_goes_to_another_client(void **state)
{
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    char bytes[256];
    char text[8] = "";
    hf_client *other;
    hf_fs *others;
    SERVE("direct:F/one:/", "ram:/point");
    attach();
    int fd = hf_open(fs, "/point/file", O_CREAT | O_RDWR, 0644);
    assert_true(fd >= 0);
    assert_int_equal(hf_write(fs, fd, "text", 4), 4);
    const ssize_t size = hf_export_file(fs, fd, bytes, sizeof bytes);
    assert_true(size > 0);
    assert_int_equal(hf_close(fs, fd), 0);
    assert_int_equal(hf_umount2(fs, "/point", MNT_DETACH), 0);

    assert_int_equal(hf_client_connect(address, NULL, &other), 0);
    assert_int_equal(hf_fs_attach(other, &config, &others), 0);
    fd = hf_import_file(others, bytes, (size_t)size, 0);
    assert_true(fd >= 0);
    assert_int_equal(hf_lseek(others, fd, 0, SEEK_CUR), 4);
    assert_int_equal(hf_pread(others, fd, text, sizeof text, 0), 4);
    assert_string_equal(text, "text");
    assert_int_equal(hf_close(others, fd), 0);
    hf_fs_detach(others);
    hf_client_unref(other);
}

/* The directory has what is in the mount, so another server goes on with it. */
static void test_a_directory_of_the_server_is_there_again(void **state)
{
    hf_mount_info *mounts;
    char source[128];
    SERVE("dir:F/one:/data", "ram:/data/point/deep");
    attach();
    snprintf(source, sizeof source, "%s/one", folder);
    assert_int_equal(hf_mounts(fs, &mounts), 3);
    assert_string_equal(mounts[1].type, "dir");
    assert_string_equal(mounts[1].source, source);
    assert_int_equal(mounts[2].parent, mounts[1].number);
    free(mounts);
    write_file("/data/point/file", "kept");
    write_file("/data/point/deep/file", "not kept");
    expect_host_file("/one/point/file", "kept");
    assert_false(is_on_host("/one/point/deep/file"));

    fs = hf_fs_detach(fs);
    client = hf_client_unref(client);
    kill(server.pid, SIGKILL);
    assert_int_equal(program_wait(&server), -SIGKILL);
    SERVE("dir:F/one:/,ro");
    attach();
    assert_int_equal(mode_of("/point/file"), S_IFREG | 0640);
    assert_int_equal(mode_of("/point/deep"), S_IFDIR | 0755);
    assert_int_equal(hf_open(fs, "/point/file", O_WRONLY, 0), -EROFS);
    assert_int_equal(hf_unlink(fs, "/point/file"), -EROFS);
}

/* A client cannot name a directory of its own where the server has something. */
static void test_a_served_root_is_no_directory_of_a_client(void **state)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    SERVE("ram:/");
    assert_int_equal(hf_client_connect(address, NULL, &client), 0);
    config.root = folder;
    assert_int_equal(hf_fs_attach(client, &config, &fs), -EBUSY);
    config.root = NULL;
    config.external = HF_EXTERNAL_CHECK; /* nobody but the server changes it */
    assert_int_equal(hf_fs_attach(client, &config, &fs), 0);
    make_file("/file");
    assert_int_equal(mode_of("/file"), S_IFREG | 0644);
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
        CASE(test_three_kinds_beside_each_other),
        CASE(test_nothing_goes_from_mount_to_mount_but_what_is_copied),
        CASE(test_a_working_directory_has_its_path_through_all_kinds),
        CASE(test_paths_through_two_backends_and_renames_in_both),
        CASE(test_clients_mount_on_what_is_served_and_below),
        CASE(test_a_detached_served_mount_goes_on_for_who_is_there),
        CASE(test_an_open_file_goes_to_another_client),
        CASE(test_a_directory_of_the_server_is_there_again),
        CASE(test_a_served_root_is_no_directory_of_a_client),
    };
    return cmocka_run_group_tests_name("serve mounts", tests, NULL, NULL);
}
