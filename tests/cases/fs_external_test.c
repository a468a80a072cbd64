/*
 * Directories that other programs change too (external=check): what they append stays, and what
 * they move is found where it is.
 */
#include "lib/test.h"
#include "lib/fs_world.h"

#include <errno.h>
#include <holdfast/export.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static hf_fs *attach(struct fs_world *world)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    config.root = world->root;
    config.external = HF_EXTERNAL_CHECK;
    return fs_world_attach(world, &config);
}

static void play(fs_world_act *act)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act, NULL);
    fs_world_deinit(&world);
}

/* ---- appending ---- */

#define RECORDS 50000
#define RECORD 8

static void make_record(char record[RECORD + 1], char who, int number)
{
    snprintf(record, RECORD + 1, "%c%06u\n", who, (unsigned)number % 1000000);
}

/* How far the other program is. */
enum { STARTED, ENDED };

/* Another program, which knows nothing of us. */
static pid_t start_other_program(const struct fs_world *world)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char path[160], record[RECORD + 1];
        alarm(FS_WORLD_PATIENCE_SECONDS);
        snprintf(path, sizeof path, "%s/log", world->root);
        int fd = open(path, O_WRONLY | O_APPEND);
        CHECK(fd >= 0);
        atomic_store(&world->shared->slots[STARTED], 1);
        for (int i = 0; i < RECORDS; i++) {
            make_record(record, 't', i);
            CHECK_EQUAL(write(fd, record, RECORD), RECORD);
        }
        atomic_store(&world->shared->slots[ENDED], 1);
        _exit(0);
    }
    while (atomic_load(&world->shared->slots[STARTED]) == 0) {
        sched_yield();
    }
    return pid;
}

/* With and without the offset, from one buffer and from two. */
static void append(hf_fs *fs, int fd, int number)
{
    char record[RECORD + 1], found[RECORD + 1] = "";
    make_record(record, 'o', number);
    const struct iovec halves[2] = {{record, 3}, {record + 3, RECORD - 3}};
    switch (number % 4) {
    case 0:
        CHECK_EQUAL(hf_pwrite(fs, fd, record, RECORD, 0), RECORD);
        return;
    case 1:
        CHECK_EQUAL(hf_pwritev(fs, fd, halves, 2, 0), RECORD);
        return;
    case 2:
        CHECK_EQUAL(hf_write(fs, fd, record, RECORD), RECORD);
        break;
    default:
        CHECK_EQUAL(hf_writev(fs, fd, halves, 2), RECORD);
        break;
    }
    const off_t end = hf_lseek(fs, fd, 0, SEEK_CUR);
    CHECK_EQUAL(hf_pread(fs, fd, found, RECORD, end - RECORD), RECORD);
    CHECK_EQUAL(strcmp(found, record), 0);
}

static void act_append(struct fs_world *world, void *argument)
{
    hf_fs *fs = attach(world);
    char record[RECORD + 1] = "", expected[RECORD + 1];
    int next[2] = {0, 0};
    int count = 0;
    int status;

    int fd = hf_open(fs, "log", O_CREAT | O_RDWR | O_APPEND, 0644);
    CHECK(fd >= 0);
    pid_t pid = start_other_program(world);
    while (atomic_load(&world->shared->slots[ENDED]) == 0 || count < 4) {
        append(fs, fd, count++);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);

    /* Every record of both, in the order of each. */
    for (off_t at = 0; hf_pread(fs, fd, record, RECORD, at) == RECORD; at += RECORD) {
        const int who = record[0] == 'o';
        make_record(expected, "to"[who], next[who]++);
        CHECK_EQUAL(strcmp(record, expected), 0);
    }
    CHECK_EQUAL(next[0], RECORDS);
    CHECK_EQUAL(next[1], count);
    hf_fs_detach(fs);
}

static void test_appends_of_others_are_never_overwritten(void **state)
{
    play(act_append);
}

/* ---- moving ---- */

static void host_rename(const char *path, const char *new_path)
{
    CHECK_EQUAL(rename(path, new_path), 0);
}

static ino_t number_of(hf_fs *fs, const char *path)
{
    struct stat st;
    CHECK_EQUAL(hf_lstat(fs, path, &st), 0);
    return st.st_ino;
}

/* The number of `..` as a listing of @path has it. */
static ino_t listed_parent(hf_fs *fs, const char *path)
{
    hf_dirent entry;
    int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_readdir(fs, fd, &entry), 1);
    CHECK_EQUAL(hf_readdir(fs, fd, &entry), 1);
    CHECK_EQUAL(strcmp(entry.name, ".."), 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return entry.ino;
}

static void expect_working_directory(hf_fs *fs, const char *path)
{
    char cwd[PATH_MAX];
    CHECK_EQUAL(hf_getcwd(fs, cwd, sizeof cwd), (long long)strlen(path) + 1);
    CHECK_EQUAL(strcmp(cwd, path), 0);
}

static void act_move_directories(struct fs_world *world, void *argument)
{
    hf_fs *fs = attach(world);
    char outside[160], cwd[PATH_MAX];
    struct stat st;

    CHECK_EQUAL(chdir(world->root), 0);
    CHECK_EQUAL(hf_mkdir(fs, "a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "a/b", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "a/b/c", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "d", 0755), 0);
    CHECK_EQUAL(hf_chdir(fs, "a/b/c"), 0);
    expect_working_directory(fs, "/a/b/c");
    CHECK_EQUAL(number_of(fs, ".."), number_of(fs, "/a/b"));
    CHECK_EQUAL(listed_parent(fs, "."), number_of(fs, "/a/b"));

    host_rename("a/b/c", "d/e");
    CHECK_EQUAL(number_of(fs, ".."), number_of(fs, "/d"));
    CHECK_EQUAL(listed_parent(fs, "."), number_of(fs, "/d"));
    expect_working_directory(fs, "/d/e");
    host_rename("d", "a/b/d");
    CHECK_EQUAL(number_of(fs, "../.."), number_of(fs, "/a/b"));
    expect_working_directory(fs, "/a/b/d/e");

    /* Out of the root: nothing above it is there any more, until it comes back. */
    snprintf(outside, sizeof outside, "%s/d", world->outside);
    host_rename("a/b/d", outside);
    CHECK_EQUAL(hf_stat(fs, "..", &st), -ENOENT);
    CHECK_EQUAL(hf_stat(fs, "../../r", &st), -ENOENT);
    CHECK_EQUAL(hf_getcwd(fs, cwd, sizeof cwd), -ENOENT);
    host_rename(outside, "d");
    CHECK_EQUAL(number_of(fs, "../.."), number_of(fs, "/"));
    expect_working_directory(fs, "/d/e");
    hf_fs_detach(fs);
}

static void test_directories_are_where_others_moved_them(void **state)
{
    play(act_move_directories);
}

static void make_file(const char *path, const char *content)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, content, strlen(content)), (long long)strlen(content));
    close(fd);
}

static off_t size_at_host(const char *path)
{
    struct stat st;
    return lstat(path, &st) < 0 ? -errno : st.st_size;
}

static void act_rename(struct fs_world *world, void *argument)
{
    hf_fs *fs = attach(world);
    struct stat st;

    CHECK_EQUAL(chdir(world->root), 0);
    CHECK_EQUAL(hf_mkdir(fs, "p", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "p/q", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "p/q/r", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "s", 0755), 0);
    CHECK_EQUAL(hf_mknod(fs, "p/f", 0644, 0), 0);
    CHECK_EQUAL(hf_stat(fs, "s/f", &st), -ENOENT);

    /* What the names stand for by now is what is renamed and replaced. */
    CHECK_EQUAL(unlink("p/f"), 0);
    make_file("p/f", "another");
    make_file("s/f", "here now");
    CHECK_EQUAL(hf_renameat2(fs, HF_AT_FDCWD, "p/f", HF_AT_FDCWD, "s/f", RENAME_NOREPLACE),
                -EEXIST);
    CHECK_EQUAL(hf_rename(fs, "p/f", "s/f"), 0);
    CHECK_EQUAL(size_at_host("s/f"), 7);
    CHECK_EQUAL(size_at_host("p/f"), -ENOENT);
    CHECK_EQUAL(hf_stat(fs, "s/f", &st), 0);
    CHECK_EQUAL(st.st_size, 7);
    host_rename("s/f", "p/f");
    CHECK_EQUAL(hf_rename(fs, "s/f", "s/g"), -ENOENT);
    CHECK_EQUAL(hf_rename(fs, "p/f", "s/f"), 0);

    /* Who is above whom has changed: r and p change places. */
    host_rename("p/q/r", "r");
    host_rename("p", "r/p");
    CHECK_EQUAL(hf_rename(fs, "r", "r/p/q/x"), -EINVAL);
    CHECK_EQUAL(hf_rename(fs, "r/p/q", "r"), -ENOTEMPTY);
    CHECK_EQUAL(hf_rename(fs, "r/p/q", "s/q"), 0);
    CHECK_EQUAL(number_of(fs, "s/q/.."), number_of(fs, "s"));
    CHECK_EQUAL(hf_renameat2(fs, HF_AT_FDCWD, "r/p", HF_AT_FDCWD, "s/q", RENAME_EXCHANGE), 0);
    CHECK_EQUAL(number_of(fs, "r/p/.."), number_of(fs, "r"));
    CHECK_EQUAL(access("s/q", F_OK), 0);

    /* The directory that a name is in went elsewhere, or away. */
    int directory = hf_open(fs, "r/p", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_mkdir(fs, "r/p/z", 0755), 0);
    host_rename("r/p", "t");
    CHECK_EQUAL(hf_renameat(fs, directory, "z", HF_AT_FDCWD, "s/z"), 0);
    CHECK_EQUAL(access("s/z", F_OK), 0);
    CHECK_EQUAL(rmdir("t"), 0);
    CHECK_EQUAL(hf_renameat(fs, HF_AT_FDCWD, "s/z", directory, "z"), -ENOENT);
    CHECK_EQUAL(access("s/z", F_OK), 0);
    hf_fs_detach(fs);
}

static void test_renames_of_what_others_change(void **state)
{
    play(act_rename);
}

/* ---- looking again ---- */

static unsigned entries_of(hf_fs *fs, int fd)
{
    hf_dirent entry;
    unsigned count = 0;
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_SET), 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        count++;
    }
    return count;
}

/* Nothing of ours that would empty a cache comes between their change and our look. */
static void act_look_again(struct fs_world *world, void *argument)
{
    hf_fs *fs = attach(world);
    char value[8];

    CHECK_EQUAL(chdir(world->root), 0);
    make_file("f", "text");
    int root = hf_open(fs, "/", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(entries_of(fs, root), 3);
    make_file("g", "more");
    CHECK_EQUAL(entries_of(fs, root), 4);
    CHECK_EQUAL(unlink("g"), 0);
    CHECK_EQUAL(entries_of(fs, root), 3);

    CHECK_EQUAL(hf_getxattr(fs, "f", "user.a", value, sizeof value), -ENODATA);
    CHECK_EQUAL(setxattr("f", "user.a", "1", 1, 0), 0);
    CHECK_EQUAL(hf_getxattr(fs, "f", "user.a", value, sizeof value), 1);
    CHECK_EQUAL(hf_listxattr(fs, "f", value, sizeof value), 7);
    CHECK_EQUAL(setxattr("f", "user.a", "22", 2, 0), 0);
    CHECK_EQUAL(hf_getxattr(fs, "f", "user.a", value, sizeof value), 2);
    CHECK_EQUAL(removexattr("f", "user.a"), 0);
    CHECK_EQUAL(hf_listxattr(fs, "f", value, sizeof value), 0);
    hf_fs_detach(fs);
}

/* The file comes by itself, and nobody has walked there. */
static void act_import(struct fs_world *world, void *argument)
{
    hf_fs *const fs[2] = {attach(world), attach(world)};
    struct stat st;
    uint8_t bytes[256];

    CHECK_EQUAL(chdir(world->root), 0);
    make_file("f", "text");
    const int fd = hf_open(fs[0], "f", O_RDONLY, 0);
    const ssize_t size = hf_export_file(fs[0], fd, bytes, sizeof bytes);
    CHECK(size > 0);
    const int copy = hf_import_file(fs[1], bytes, (size_t)size, 0);
    CHECK(copy >= 0);
    CHECK_EQUAL(hf_fstat(fs[1], copy, &st), 0);
    CHECK_EQUAL(st.st_size, 4);
    make_file("f", "longer text");
    CHECK_EQUAL(hf_fstat(fs[1], copy, &st), 0);
    CHECK_EQUAL(st.st_size, 11);

    /* What fails to come takes no descriptor. */
    CHECK_EQUAL(hf_import_file(fs[1], bytes, (size_t)size, 0), -ESTALE);
    CHECK_EQUAL(hf_open(fs[1], "f", O_RDONLY, 0), copy + 1);
    hf_fs_detach(fs[0]);
    hf_fs_detach(fs[1]);
}

static void test_what_is_imported_is_looked_at_again(void **state)
{
    play(act_import);
}

static void test_what_others_changed_is_seen_at_once(void **state)
{
    play(act_look_again);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_of_others_are_never_overwritten),
        cmocka_unit_test(test_directories_are_where_others_moved_them),
        cmocka_unit_test(test_renames_of_what_others_change),
        cmocka_unit_test(test_what_others_changed_is_seen_at_once),
        cmocka_unit_test(test_what_is_imported_is_looked_at_again),
    };
    return cmocka_run_group_tests_name("fs external", tests, NULL, NULL);
}
