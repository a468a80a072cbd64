/*
 * What the host sees of us, and does to us: which descriptors we leave to programs that we start,
 * and what it puts under our feet in place of what we know.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <holdfast/export.h>
#include <holdfast/mount.h>

static void play(fs_world_act *act)
{
    struct fs_world world;
    fs_world_init(&world);
    world.patience_seconds = 20;
    fs_world_play(&world, act, NULL);
    fs_world_deinit(&world);
}

/* ---- descriptors ---- */

#define DESCRIPTORS 256

/* Those of this process that a program it starts would have. */
static void find_inherited(bool inherited[DESCRIPTORS])
{
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        const int flags = fcntl(fd, F_GETFD);
        inherited[fd] = flags >= 0 && (flags & FD_CLOEXEC) == 0;
    }
}

static int count_leaked(const bool before[DESCRIPTORS])
{
    bool now[DESCRIPTORS];
    int count = 0;
    find_inherited(now);
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        char link[40], path[PATH_MAX] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (now[fd] && !before[fd] && readlink(link, path, sizeof path - 1) >= 0) {
            print_message("# pid %d: not closed by exec: %d, %s\n", (int)getpid(), fd, path);
            count++;
        }
    }
    return count;
}

/* Open everything that can be open, and let it be open. */
static void open_all(struct fs_world *world)
{
    static const int flags[] = {
        O_RDONLY,
        O_RDWR | O_TRUNC,
        O_WRONLY | O_APPEND,
        O_PATH,
    };
    hf_fs *fs = world->fs;
    CHECK(hf_open(fs, "new", O_CREAT | O_EXCL | O_RDWR, 0644) >= 0);
    CHECK_EQUAL(hf_symlink(fs, "new", "link"), 0);
    CHECK_EQUAL(hf_mkdir(fs, "directory", 0755), 0);
    CHECK_EQUAL(hf_mkfifo(fs, "pipe", 0644), 0);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        CHECK(hf_open(fs, "link", flags[i], 0) >= 0);
    }
    CHECK(hf_open(fs, "directory", O_RDONLY | O_DIRECTORY, 0) >= 0);
    CHECK(hf_open(fs, "directory", O_PATH, 0) >= 0);
    CHECK(hf_open(fs, "/", O_TMPFILE | O_RDWR, 0644) >= 0);
    CHECK(hf_open(fs, "pipe", O_RDWR, 0) >= 0);
    CHECK(hf_dup(fs, 0) >= 0);
}

/* What takes a descriptor of the host besides. */
static void use_all(struct fs_world *world)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    hf_dirent entry;
    char path[PATH_MAX];
    int fd = hf_open(fs, "new", O_RDWR, 0);
    CHECK_EQUAL(hf_fchmod(fs, fd, 0600), 0); /* needs a node of what is open */
    CHECK_EQUAL(hf_fsetxattr(fs, fd, "user.a", "1", 1, 0), 0);
    snprintf(path, sizeof path, "%s/sub", world->outside);
    CHECK_EQUAL(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/sub/deep", world->outside);
    CHECK_EQUAL(mkdir(path, 0755), 0);
    CHECK_EQUAL(hf_mount(fs, world->outside, "directory", "direct", MS_RDONLY, NULL), 0);
    CHECK_EQUAL(hf_chdir(fs, "directory/sub/deep"), 0);
    CHECK_EQUAL(hf_stat(fs, "..", &attributes), 0);
    CHECK(hf_getcwd(fs, path, sizeof path) > 0);
    fd = hf_open(fs, ".", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_readdir(fs, fd, &entry), 1);
}

/* How large the bytes of the export are, and they, one in each slot. */
enum { SLOT_SIZE, SLOT_BYTES };

static void act_open_all(struct fs_world *world, void *before)
{
    uint8_t bytes[FS_WORLD_SLOTS - SLOT_BYTES];
    open_all(world);
    use_all(world);
    const ssize_t size = hf_export(world->fs, bytes, sizeof bytes);
    CHECK(size > 0);
    CHECK_EQUAL(count_leaked(before), 0);
    world->shared->slots[SLOT_SIZE] = (uint64_t)size;
    for (ssize_t i = 0; i < size; i++) {
        world->shared->slots[SLOT_BYTES + i] = bytes[i];
    }
}

/* All of it comes from the server, and then a child has it too. */
static void act_take_all(struct fs_world *world, void *before)
{
    uint8_t bytes[FS_WORLD_SLOTS - SLOT_BYTES];
    const size_t size = world->shared->slots[SLOT_SIZE];
    int status;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)world->shared->slots[SLOT_BYTES + i];
    }
    struct stat attributes;
    CHECK_EQUAL(hf_import(world->fs, bytes, size), 0);
    CHECK_EQUAL(hf_stat(world->fs, "..", &attributes), 0); /* what it is in is not known yet */
    const pid_t child = hf_fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(hf_open(world->fs, "/new", O_RDONLY, 0) >= 0);
        _exit(count_leaked(before) == 0 ? 0 : 1);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(count_leaked(before), 0);
}

/* Every descriptor that we ever open is closed by exec: the client's, the server's, a child's. */
static void test_no_descriptor_survives_exec(void **state)
{
    struct fs_world world;
    bool before[DESCRIPTORS];
    find_inherited(before);
    fs_world_init(&world);
    fs_world_play(&world, act_open_all, before);
    assert_true(test_server_stats(&world.server).parked > 0);
    assert_int_equal(count_leaked(before), 0); /* the server's */
    fs_world_play(&world, act_take_all, before);
    fs_world_deinit(&world);
}

/* ---- something else in place of what we know ---- */

static const int ways_to_open[] = {
    O_RDONLY,
    O_RDWR,
    O_WRONLY | O_APPEND,
    O_WRONLY | O_TRUNC,
    O_WRONLY | O_CREAT,
    O_RDONLY | O_NOFOLLOW,
};

#define WAYS_TO_OPEN (sizeof ways_to_open / sizeof ways_to_open[0])

/* A file of the host's, which must stay as it is. */
static void make_secret(const char *path)
{
    const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, "secret", 6), 6);
    close(fd);
}

static void check_secret(const char *path)
{
    struct stat attributes;
    CHECK_EQUAL(stat(path, &attributes), 0);
    CHECK_EQUAL(attributes.st_size, 6);
    CHECK_EQUAL(attributes.st_mode, S_IFREG | 0644);
    CHECK_EQUAL(attributes.st_nlink, 1);
    CHECK_EQUAL(getxattr(path, "user.a", NULL, 0), -1);
}

/* We believe that @name is a file of ours; it is a link that leads out, planted a moment ago. */
static void use_planted_link(hf_fs *fs, const char *name)
{
    struct stat attributes;
    int fd;
    for (size_t i = 0; i < WAYS_TO_OPEN; i++) {
        fd = hf_open(fs, name, ways_to_open[i], 0644);
        CHECK_EQUAL(fd, -ELOOP);
    }
    CHECK(hf_truncate(fs, name, 0) < 0);
    /* It does not matter what these say of a file that is no longer there. */
    (void)hf_chmod(fs, name, 0600);
    (void)hf_setxattr(fs, name, "user.a", "1", 1, 0);
    (void)hf_link(fs, name, "hard");
    if (hf_stat(fs, name, &attributes) == 0) {
        CHECK(attributes.st_size != 6);
    }
}

static void make_file(hf_fs *fs, const char *path)
{
    int fd = hf_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void act_meet_links(struct fs_world *world, void *argument)
{
    char secret[160];
    hf_fs *fs = world->fs;
    CHECK_EQUAL(chdir(world->root), 0);
    snprintf(secret, sizeof secret, "%s/secret", world->outside);
    make_secret(secret);
    make_file(fs, "f");
    CHECK_EQUAL(unlink("f"), 0);
    CHECK_EQUAL(symlink(secret, "f"), 0);
    use_planted_link(fs, "f");
    check_secret(secret);

    /* A directory on the way, the working directory, and what is open of it. */
    CHECK_EQUAL(hf_mkdir(fs, "d", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "d/e", 0755), 0);
    make_file(fs, "d/e/secret");
    const int directory = hf_open(fs, "d/e", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(rename("d/e", "kept"), 0);
    CHECK_EQUAL(symlink(world->outside, "d/e"), 0);
    int fd = hf_open(fs, "d/e/secret", O_WRONLY | O_TRUNC, 0);
    CHECK(fd < 0 || hf_close(fs, fd) == 0);
    fd = hf_openat(fs, directory, "secret", O_WRONLY | O_TRUNC, 0);
    CHECK(fd < 0 || hf_close(fs, fd) == 0);
    CHECK_EQUAL(hf_unlink(fs, "d/e/secret"), 0); /* it went with the directory */
    check_secret(secret);
    CHECK_EQUAL(access("kept/secret", F_OK), -1);
}

static void test_a_planted_link_leads_nowhere(void **state)
{
    play(act_meet_links);
}

/* A directory that others moved out of the mount is what it was, but has nothing above it. */
static void act_be_moved_out(struct fs_world *world, void *argument)
{
    char moved[160];
    struct stat attributes;
    hf_fs_config config = HF_FS_CONFIG_INIT;
    config.root = world->root;
    config.external = HF_EXTERNAL_CHECK;
    hf_fs *fs = fs_world_attach(world, &config);
    CHECK_EQUAL(chdir(world->root), 0);
    snprintf(moved, sizeof moved, "%s/secret", world->outside);
    make_secret(moved);
    snprintf(moved, sizeof moved, "%s/d", world->outside);
    CHECK_EQUAL(hf_mkdir(fs, "d", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "d/e", 0755), 0);
    const int directory = hf_open(fs, "d/e", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(rename("d", moved), 0);
    CHECK_EQUAL(hf_openat(fs, directory, "../../secret", O_RDONLY, 0), -ENOENT);
    CHECK_EQUAL(hf_openat(fs, directory, "../new", O_CREAT | O_RDWR, 0644), -ENOENT);
    CHECK_EQUAL(hf_fstatat(fs, directory, "../..", &attributes, 0), -ENOENT);
    CHECK_EQUAL(hf_renameat(fs, directory, "../../secret", HF_AT_FDCWD, "mine"), -ENOENT);
    CHECK_EQUAL(hf_fchdir(fs, directory), 0);
    CHECK_EQUAL(hf_unlink(fs, "../../secret"), -ENOENT);
    CHECK_EQUAL(hf_stat(fs, "/d", &attributes), -ENOENT);
    hf_fs_detach(fs);
}

static void test_a_directory_moved_out_is_no_way_out(void **state)
{
    play(act_be_moved_out);
}

/* A pipe without another end stands where a file stood: to open it does not wait for one. */
static void act_meet_pipe(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    char byte;
    CHECK_EQUAL(chdir(world->root), 0);
    make_file(fs, "f");
    CHECK_EQUAL(unlink("f"), 0);
    CHECK_EQUAL(mkfifo("f", 0644), 0);
    CHECK_EQUAL(hf_open(fs, "f", O_WRONLY, 0), -ENXIO);
    const int fd = hf_open(fs, "f", O_RDONLY, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_read(fs, fd, &byte, 1), -ESPIPE);
}

static void test_a_planted_pipe_is_not_waited_for(void **state)
{
    play(act_meet_pipe);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_descriptor_survives_exec),
        cmocka_unit_test(test_a_planted_link_leads_nowhere),
        cmocka_unit_test(test_a_directory_moved_out_is_no_way_out),
        cmocka_unit_test(test_a_planted_pipe_is_not_waited_for),
    };
    return cmocka_run_group_tests_name("fs host", tests, NULL, NULL);
}
