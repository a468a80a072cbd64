/*
 * What operations cost: going on with what this client holds sends nothing, a first use costs
 * one message pair, and a write costs one system call. On a served mount what changes something
 * sends that, and what only the server can tell is asked.
 */
#include "cases/fs_messages.h"

#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <holdfast/mount.h>
#include <limits.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPEATS 1000

static uint64_t messages(const struct fs_world *world)
{
    hf_client_stats stats;
    hf_client_get_stats(world->client, &stats);
    return stats.acquires_sent + stats.releases_sent + stats.cancels_sent + stats.grants_received +
           stats.recalls_received;
}

/* On a served mount: of them, those that were answered. */
static uint64_t operations(const struct fs_world *world, uint64_t *answers)
{
    hf_client_stats stats;
    hf_client_get_stats(world->client, &stats);
    *answers = stats.answers_received;
    return stats.operations_sent;
}

static void again_stat(struct cached *cached)
{
    struct stat attributes;
    CHECK_EQUAL(hf_stat(cached->fs, "a/b/file", &attributes), 0);
    CHECK_EQUAL(hf_lstat(cached->fs, "/a/b/../b/./file", &attributes), 0);
    CHECK_EQUAL(hf_fstat(cached->fs, cached->file, &attributes), 0);
    CHECK_EQUAL(hf_stat(cached->fs, "a/b/missing", &attributes), -ENOENT);
    CHECK_EQUAL(hf_stat(cached->fs, "a/missing/file", &attributes), -ENOENT);
}

static void again_open(struct cached *cached)
{
    int fd = hf_open(cached->fs, "a/b/file", O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(cached->fs, fd), 0);
    CHECK_EQUAL(hf_open(cached->fs, "a/b/missing", O_RDWR, 0), -ENOENT);
}

static void again_write(struct cached *cached)
{
    CHECK_EQUAL(hf_write(cached->fs, cached->file, "0123456789", 10), 10);
    CHECK_EQUAL(hf_pwrite(cached->fs, cached->file, "0123456789", 10, 5), 10);
    CHECK_EQUAL(hf_write(cached->fs, cached->log, "line\n", 5), 5);
}

static void again_read(struct cached *cached)
{
    char bytes[10];
    CHECK_EQUAL(hf_lseek(cached->fs, cached->file, 0, SEEK_SET), 0);
    CHECK_EQUAL(hf_read(cached->fs, cached->file, bytes, 10), 10);
    CHECK_EQUAL(hf_pread(cached->fs, cached->file, bytes, 10, 0), 10);
    CHECK(hf_lseek(cached->fs, cached->file, 0, SEEK_END) >= 10);
}

static void again_readdir(struct cached *cached)
{
    hf_dirent entry;
    CHECK_EQUAL(hf_lseek(cached->fs, cached->directory, 0, SEEK_SET), 0);
    while (hf_readdir(cached->fs, cached->directory, &entry) == 1) {
    }
}

static void again_truncate(struct cached *cached)
{
    CHECK_EQUAL(hf_ftruncate(cached->fs, cached->file, 50), 0);
    CHECK_EQUAL(hf_truncate(cached->fs, "a/b/file", 60), 0);
}

/* ---- data and descriptors ---- */

static void again_vectors(struct cached *cached)
{
    char bytes[2][5];
    const struct iovec vectors[2] = {{bytes[0], 5}, {bytes[1], 5}};
    memset(bytes, 'x', sizeof bytes);
    CHECK_EQUAL(hf_writev(cached->fs, cached->log, vectors, 2), 10);
    CHECK_EQUAL(hf_pwritev(cached->fs, cached->file, vectors, 2, 0), 10);
    CHECK_EQUAL(hf_preadv(cached->fs, cached->file, vectors, 2, 0), 10);
    CHECK_EQUAL(hf_lseek(cached->fs, cached->file, 0, SEEK_DATA), 0);
    CHECK_EQUAL(hf_readv(cached->fs, cached->file, vectors, 2), 10);
    CHECK(hf_lseek(cached->fs, cached->file, 0, SEEK_HOLE) > 0);
}

static void again_space(struct cached *cached)
{
    off_t from = 0;
    off_t to = 100;
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    CHECK_EQUAL(hf_fallocate(cached->fs, cached->file, 0, 0, 50), 0);
    CHECK_EQUAL(hf_fallocate(cached->fs, cached->file, mode, 10, 20), 0);
    CHECK_EQUAL(hf_copy_file_range(cached->fs, cached->file, &from, cached->file, &to, 50, 0), 50);
}

static void again_control(struct cached *cached)
{
    CHECK_EQUAL(hf_fcntl(cached->fs, cached->file, F_SETFL, O_APPEND), 0);
    CHECK_EQUAL(hf_fcntl(cached->fs, cached->file, F_GETFL), O_RDWR | O_APPEND);
    CHECK_EQUAL(hf_fcntl(cached->fs, cached->file, F_SETFL, 0), 0);
    CHECK_EQUAL(hf_fcntl(cached->fs, cached->file, F_SETFD, FD_CLOEXEC), 0);
    CHECK_EQUAL(hf_fcntl(cached->fs, cached->file, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(hf_dup2(cached->fs, cached->file, 30), 30);
    CHECK_EQUAL(hf_dup3(cached->fs, cached->log, 30, O_CLOEXEC), 30);
    CHECK_EQUAL(hf_fcntl(cached->fs, cached->file, F_DUPFD, 30), 31);
    CHECK_EQUAL(hf_close(cached->fs, 30), 0);
    CHECK_EQUAL(hf_close(cached->fs, 31), 0);
}

static void again_open_specially(struct cached *cached)
{
    int path = hf_open(cached->fs, "a/b/file", O_PATH | O_NOFOLLOW, 0);
    CHECK(path >= 0);
    CHECK_EQUAL(hf_close(cached->fs, path), 0);
    int unnamed = hf_open(cached->fs, "a/b", O_TMPFILE | O_RDWR, 0644);
    CHECK(unnamed >= 0);
    CHECK_EQUAL(hf_close(cached->fs, unnamed), 0);
}

static void again_map(struct cached *cached)
{
    void *mapping;
    const int kind = fs_world_is_served() ? MAP_PRIVATE : MAP_SHARED;
    CHECK_EQUAL(hf_mmap(cached->fs, NULL, 10, PROT_READ, kind, cached->file, 0, &mapping), 0);
    CHECK_EQUAL(hf_munmap(cached->fs, mapping, 10), 0);
}

static void again_sync(struct cached *cached)
{
    CHECK_EQUAL(hf_fdatasync(cached->fs, cached->directory), 0);
}

void again_set_xattr(struct cached *cached)
{
    CHECK_EQUAL(hf_setxattr(cached->fs, "a/b/file", "user.a", "value", 5, 0), 0);
    CHECK_EQUAL(hf_fsetxattr(cached->fs, cached->file, "user.b", "value", 5, 0), 0);
    CHECK_EQUAL(hf_removexattr(cached->fs, "a/b/file", "user.b"), 0);
}

void again_get_xattr(struct cached *cached)
{
    char value[100];
    CHECK_EQUAL(hf_getxattr(cached->fs, "a/b/file", "user.a", value, sizeof value), 5);
    CHECK_EQUAL(hf_fgetxattr(cached->fs, cached->file, "user.b", value, 10), -ENODATA);
    CHECK(hf_llistxattr(cached->fs, "a/b/file", value, sizeof value) >= 7);
}

/* ---- names and attributes ---- */

static void again_names(struct cached *cached)
{
    hf_fs *fs = cached->fs;
    CHECK_EQUAL(hf_rename(fs, "a/b/file", "a/b/file2"), 0);
    CHECK_EQUAL(hf_rename(fs, "a/b/file2", "a/file"), 0);
    CHECK_EQUAL(hf_rename(fs, "a/file", "a/b/file"), 0);
    CHECK_EQUAL(hf_rename(fs, "a/b", "a/c"), 0);
    CHECK_EQUAL(hf_rename(fs, "a/c", "a/b"), 0);
    CHECK_EQUAL(hf_link(fs, "a/b/file", "a/link"), 0);
    CHECK_EQUAL(hf_unlink(fs, "a/link"), 0);
    for (int twice = 0; twice < 2; twice++) {
        CHECK_EQUAL(
            hf_renameat2(fs, HF_AT_FDCWD, "a/b/file", HF_AT_FDCWD, "a/b/log", RENAME_EXCHANGE), 0);
    }
    CHECK_EQUAL(hf_rename(fs, "a/b", "a/b/c"), -EINVAL);
}

static void again_attributes(struct cached *cached)
{
    hf_fs *fs = cached->fs;
    struct statx attributes;
    char target[PATH_MAX];
    CHECK_EQUAL(hf_chmod(fs, "a/b/file", 0640), 0);
    CHECK_EQUAL(hf_chown(fs, "a/b/file", (uid_t)-1, (gid_t)-1), 0);
    CHECK_EQUAL(hf_utimensat(fs, HF_AT_FDCWD, "a/b/file", NULL, 0), 0);
    CHECK_EQUAL(hf_fchmod(fs, cached->file, 0644), 0);
    CHECK_EQUAL(hf_futimens(fs, cached->file, NULL), 0);
    CHECK_EQUAL(hf_statx(fs, HF_AT_FDCWD, "a/b/file", 0, STATX_ALL, &attributes), 0);
    CHECK_EQUAL(hf_access(fs, "a/b/file", R_OK), 0);
    CHECK_EQUAL(hf_fstatat(fs, cached->directory, "file", &(struct stat){0}, 0), 0);
    CHECK_EQUAL(hf_readlink(fs, "a/to_file", target, sizeof target), 6);
    CHECK_EQUAL(hf_chdir(fs, "a/b"), 0);
    CHECK_EQUAL(hf_getcwd(fs, target, sizeof target), 5);
    CHECK_EQUAL(hf_chdir(fs, "../.."), 0);
}

void cached_open(struct fs_world *world, struct cached *cached)
{
    cached->fs = world->fs;
    CHECK_EQUAL(hf_mkdir(world->fs, "a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(world->fs, "a/b", 0755), 0);
    CHECK_EQUAL(hf_symlink(world->fs, "b/file", "a/to_file"), 0);
    cached->file = hf_open(world->fs, "a/b/file", O_RDWR | O_CREAT, 0644);
    cached->log = hf_open(world->fs, "a/b/log", O_WRONLY | O_APPEND | O_CREAT, 0644);
    cached->directory = hf_open(world->fs, "a/b", O_RDONLY | O_DIRECTORY, 0);
    CHECK(cached->file >= 0 && cached->log >= 0 && cached->directory >= 0);
}

/* What a served mount asks the server. */
#define ASKS UINT64_MAX

static const struct repeated {
    void (*again)(struct cached *cached);
    uint64_t told; /* so many operations on a served mount, none of them waited for; or ASKS */
} repeated[] = {
    {again_write, 3},
    {again_stat, 0},
    {again_open, 0},
    {again_read, 0},
    {again_readdir, 0},
    {again_truncate, 2},
    {again_vectors, ASKS},
    {again_space, ASKS},
    {again_control, 0},
    {again_open_specially, ASKS},
    {again_map, 0},
    {again_sync, ASKS},
    {again_set_xattr, ASKS},
    {again_get_xattr, 0},
    {again_names, ASKS},
    {again_attributes, ASKS},
};

static void act_repeat(struct fs_world *world, void *argument)
{
    struct cached cached;
    cached_open(world, &cached);
    for (size_t i = 0; i < sizeof repeated / sizeof repeated[0]; i++) {
        const struct repeated *now = &repeated[i];
        struct statfs usage;
        uint64_t answers;
        uint64_t answers_after;
        now->again(&cached);
        fs_world_wait_for_the_clock();
        now->again(&cached);
        CHECK_EQUAL(hf_statfs(world->fs, "/", &usage),
                    0); /* what was asked ahead has come by then */
        const uint64_t before = messages(world);
        const uint64_t operations_before = operations(world, &answers);
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            now->again(&cached);
        }
        CHECK_EQUAL(messages(world) - before, 0);
        if (fs_world_is_served() && now->told != ASKS) {
            CHECK_EQUAL(operations(world, &answers_after) - operations_before, now->told * REPEATS);
            CHECK_EQUAL(answers_after, answers);
        }
    }
}

/* Uncontested means no messages, whatever the operation. */
static void test_repeating_sends_nothing(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_repeat, NULL);
    fs_world_deinit(&world);
}

/* On a served mount the handles of files that may be made next are asked for ahead, so many. */
#define AHEAD 64

static void act_use_first(struct fs_world *world, void *argument)
{
    struct stat attributes;
    char name[24];
    struct cached cached;
    const unsigned files = 20;
    cached_open(world, &cached);

    /* The directories are held; the inode is new. */
    const uint64_t first = messages(world);
    for (unsigned i = 0; i < files; i++) {
        snprintf(name, sizeof name, "a/b/new%u", i);
        int fd = hf_open(world->fs, name, O_CREAT | O_WRONLY, 0644);
        CHECK(fd >= 0);
        const uint64_t before = messages(world);
        CHECK_EQUAL(hf_stat(world->fs, name, &attributes), 0);
        CHECK(fs_world_is_served() || messages(world) - before == 2);
        CHECK_EQUAL(hf_stat(world->fs, name, &attributes), 0);
        CHECK_EQUAL(hf_close(world->fs, fd), 0);
        CHECK(fs_world_is_served() || messages(world) - before == 2);
    }
    if (fs_world_is_served()) {
        CHECK(messages(world) - first <= 2 * (files + AHEAD));
        return;
    }
    /* In a directory that is held, a new file costs nothing before it is used itself. */
    const uint64_t before = messages(world);
    int fd = hf_open(world->fs, "a/b/unused", O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
    CHECK_EQUAL(messages(world) - before, 0);
}

static void test_a_first_use_costs_one_pair(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_use_first, NULL);
    fs_world_deinit(&world);
}

#define WALKED 300

unsigned walk_in_order(hf_fs *fs)
{
    unsigned seen = 0;
    char path[280];
    hf_dirent entry;
    struct stat attributes;
    int fd = hf_open(fs, "tree", O_RDONLY | O_DIRECTORY, 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        snprintf(path, sizeof path, "tree/%s", entry.name);
        if (entry.name[0] != '.') {
            CHECK_EQUAL(hf_lstat(fs, path, &attributes), 0);
            seen++;
        }
    }
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return seen;
}

static void act_walk(struct fs_world *world, void *argument)
{
    struct stat attributes;
    CHECK_EQUAL(hf_stat(world->fs, "/", &attributes), 0);
    uint64_t before = messages(world);
    CHECK_EQUAL(walk_in_order(world->fs), WALKED);
    CHECK_EQUAL(messages(world) - before, 2 * (WALKED + 1));
    before = messages(world);
    CHECK_EQUAL(walk_in_order(world->fs), WALKED);
    CHECK_EQUAL(messages(world) - before, 0);
}

/* Some of many, with the listing known but not in its order: nothing is asked for but these. */
static void act_look_here_and_there(struct fs_world *world, void *argument)
{
    char path[24];
    hf_dirent entry;
    struct stat attributes;
    int fd = hf_open(world->fs, "tree", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_lseek(world->fs, fd, 1, SEEK_SET), 1);
    CHECK_EQUAL(hf_readdir(world->fs, fd, &entry), 1);
    const uint64_t before = messages(world);
    CHECK_EQUAL(hf_readdir(world->fs, fd, &entry), 1);
    const char *const first = entry.name;
    unsigned looked = 0;
    for (unsigned i = 0; i < WALKED && looked < 20; i += 7) {
        snprintf(path, sizeof path, "tree/f%u", i);
        if (strcmp(path + strlen("tree/"), first) != 0) {
            CHECK_EQUAL(hf_lstat(world->fs, path, &attributes), 0);
            looked++;
        }
    }
    CHECK_EQUAL(messages(world) - before, 2 * looked);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

/* Files that nobody else has looked at yet. */
void make_tree(const struct fs_world *world, unsigned count)
{
    char path[24];
    hf_fs *fs = fs_world_visit(world);
    CHECK_EQUAL(hf_mkdir(fs, "tree", 0755), 0);
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof path, "tree/f%u", i);
        CHECK_EQUAL(hf_mknod(fs, path, S_IFREG | 0644, 0), 0);
    }
    hf_fs_detach(fs);
}

/* Asking ahead costs no file more than its pair, and only who goes in order asks ahead. */
static void test_a_walk_costs_one_pair_for_each_file(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    make_tree(&world, WALKED);
    fs_world_play(&world, act_walk, NULL);
    fs_world_play(&world, act_look_here_and_there, NULL);
    fs_world_deinit(&world);
}

static void act_move_shared(struct fs_world *world, void *argument)
{
    char byte;
    struct cached cached;
    cached_open(world, &cached);
    CHECK_EQUAL(hf_write(world->fs, cached.file, "x", 1), 1);
    pid_t child = hf_fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(0);
    }
    CHECK_EQUAL(waitpid(child, NULL, 0), child);

    CHECK_EQUAL(hf_lseek(world->fs, cached.file, 0, SEEK_SET), 0);
    uint64_t before = messages(world);
    for (int i = 0; i < REPEATS; i++) {
        CHECK_EQUAL(hf_write(world->fs, cached.file, "x", 1), 1);
    }
    CHECK_EQUAL(messages(world) - before, REPEATS);

    before = messages(world);
    for (int i = 0; i < REPEATS; i++) {
        CHECK_EQUAL(hf_read(world->fs, cached.file, &byte, 1), 0);
        CHECK_EQUAL(hf_lseek(world->fs, cached.file, 0, SEEK_CUR), REPEATS);
        CHECK_EQUAL(hf_pread(world->fs, cached.file, &byte, 1, 0), 1);
    }
    CHECK_EQUAL(messages(world) - before, 0);
}

/* Moving a shared offset publishes it with one message; what moves nothing publishes nothing. */
static void test_a_shared_offset_is_published_when_it_moves(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_move_shared, NULL);
    fs_world_deinit(&world);
}

/* ---- contended files ---- */

#define PAGE 4096
/* Many more than it takes until a file is left at the server, or is not. */
#define TURNS 10000
#define SETTLED 50

static void write_page(hf_fs *fs, int fd)
{
    static const char page[PAGE];
    CHECK_EQUAL(hf_pwrite(fs, fd, page, PAGE, 0), PAGE);
}

/* Return: was that asked of the server, and nothing held for it? */
static bool writes_there(const struct fs_world *world, int fd)
{
    uint64_t answers, answers_before;
    const uint64_t before = messages(world);
    (void)operations(world, &answers_before);
    write_page(world->fs, fd);
    (void)operations(world, &answers);
    return messages(world) == before && answers == answers_before + 1;
}

static void act_contend(struct fs_world *world, void *argument)
{
    hf_fs *other = fs_world_visit(world);
    const int ours = hf_open(world->fs, "contended", O_RDWR | O_CREAT, 0644);
    const int others = hf_open(other, "contended", O_RDWR, 0);
    uint64_t answers, answers_before;
    int turns = 0;
    CHECK(ours >= 0 && others >= 0);
    while (!writes_there(world, ours)) {
        CHECK(++turns < TURNS);
        write_page(other, others);
    }
    hf_fs_detach(other);

    for (int i = 0; i < SETTLED; i++) {
        write_page(world->fs, ours);
    }
    const uint64_t before = messages(world);
    const uint64_t sent = operations(world, &answers_before);
    for (int i = 0; i < REPEATS; i++) {
        write_page(world->fs, ours);
    }
    CHECK_EQUAL(messages(world) - before, 0);
    CHECK_EQUAL(operations(world, &answers) - sent, REPEATS);
    CHECK_EQUAL(answers - answers_before, 0);
}

/* A file that two write in turns is left at the server; when one is gone, the other has the hold
 * again and waits for nothing. */
static void test_contention_ends(void **state)
{
    struct fs_world world;
    if (!fs_world_is_served() || fs_world_sends_always()) {
        print_message("# only where operations are sent if a file is contended\n");
        return;
    }
    fs_world_init(&world);
    fs_world_play(&world, act_contend, NULL);
    fs_world_deinit(&world);
}

/* ---- mounts ---- */

static void use_mount(hf_fs *fs)
{
    struct stat attributes;
    int fd = hf_open(fs, "/m", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    CHECK_EQUAL(hf_chdir(fs, "/m"), 0);
    CHECK_EQUAL(hf_stat(fs, "..", &attributes), 0);
    CHECK_EQUAL(hf_chdir(fs, "/"), 0);
}

static void act_mount(struct fs_world *world, void *argument)
{
    CHECK_EQUAL(hf_mkdir(world->fs, "/m", 0755), 0);
    fs_world_meet(world);
    fs_world_meet(world); /* the other has looked */
    CHECK_EQUAL(hf_mount(world->fs, world->outside, "/m", "direct", 0, NULL), 0);
    fs_world_meet(world);
    fs_world_meet(world); /* the other uses it */
}

static void act_see_mount(struct fs_world *world, void *argument)
{
    struct stat attributes;
    fs_world_meet(world);
    CHECK_EQUAL(hf_stat(world->fs, "/", &attributes), 0);
    uint64_t before = messages(world);
    fs_world_meet(world);
    fs_world_meet(world); /* the other has mounted */
    for (int i = 0; i < REPEATS; i++) {
        CHECK_EQUAL(hf_stat(world->fs, "/", &attributes), 0);
    }
    /* A recall and its release when the other mounted, and one pair to see what. */
    CHECK_EQUAL(messages(world) - before, 4);

    use_mount(world->fs);
    before = messages(world);
    for (int i = 0; i < REPEATS; i++) {
        use_mount(world->fs);
    }
    CHECK_EQUAL(messages(world) - before, 0);
    fs_world_meet(world);
}

/* A mount elsewhere costs each client one pair; using it again and again costs nothing. */
static void test_mounts_are_cached(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    pid_t pid = fs_world_start(&world, act_mount, NULL);
    fs_world_play(&world, act_see_mount, NULL);
    fs_world_wait(pid);
    fs_world_deinit(&world);
}

/* ---- the working directory ---- */

/* Each of two clients has been there. */
static void act_ask_where_it_is(struct fs_world *world, void *argument)
{
    char path[64];
    CHECK_EQUAL(hf_chdir(world->fs, "a/b"), 0);
    CHECK(hf_getcwd(world->fs, path, sizeof path) > 0);
    fs_world_meet(world);
    CHECK(hf_getcwd(world->fs, path, sizeof path) > 0);
    fs_world_meet(world);
    const uint64_t before = messages(world);
    for (int i = 0; i < 100; i++) {
        CHECK(hf_getcwd(world->fs, path, sizeof path) > 0);
    }
    fs_world_meet(world);
    CHECK_EQUAL(messages(world) - before, 0);
}

/* However many clients ask for their working directory, none is in the way of another. */
static void test_asking_for_the_working_directory_sends_nothing(void **state)
{
    struct fs_world world;
    pid_t pids[2];
    fs_world_init(&world);
    hf_fs *fs = fs_world_visit(&world);
    assert_int_equal(hf_mkdir(fs, "a", 0755), 0);
    assert_int_equal(hf_mkdir(fs, "a/b", 0755), 0);
    hf_fs_detach(fs);
    pids[0] = fs_world_start(&world, act_ask_where_it_is, NULL);
    pids[1] = fs_world_start(&world, act_ask_where_it_is, NULL);
    fs_world_wait_for_both(pids);
    fs_world_deinit(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeating_sends_nothing),
        cmocka_unit_test(test_a_first_use_costs_one_pair),
        cmocka_unit_test(test_a_walk_costs_one_pair_for_each_file),
        cmocka_unit_test(test_a_shared_offset_is_published_when_it_moves),
        cmocka_unit_test(test_contention_ends),
        cmocka_unit_test(test_mounts_are_cached),
        cmocka_unit_test(test_asking_for_the_working_directory_sends_nothing),
        cmocka_unit_test(test_system_calls),
    };
    return cmocka_run_group_tests_name("fs messages", tests, NULL, NULL);
}
