/*
 * Caches have budgets: however many files are looked up, memory stays inside them, nothing breaks,
 * and what another process changes is seen.
 */
#include "lib/folder.h"
#include "lib/fs_call.h"
#include "lib/fs_world.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEBIBYTE ((size_t)1024 * 1024)

/* Forks, the heap's fragments, what an operation needs. */
#define ROOM (24 * MEBIBYTE)

/* A million files by default: so many directories with so many files each. */
static unsigned directories = 1000;
#define FILES 1000

#define BUDGET (16 * MEBIBYTE)

/* One of so many is compared, changed, or removed. */
#define SAMPLE 997

static size_t memory_in_use(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file != NULL);
    CHECK_EQUAL(fscanf(file, "%*u %lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void check_budget(const struct fs_world *world)
{
    hf_fs_stats stats;
    hf_fs_get_stats(world->fs, &stats);
    /* Trimming comes before an operation, which then takes what it needs. */
    CHECK(stats.bytes <= stats.bytes_limit + (size_t)64 * 1024);
    CHECK(stats.nodes <= stats.nodes_limit + 16);
}

/* ---- a million files ---- */

/* Half of the directories each: this takes longer than anything that is tested. Done by the host, in
 * the working directory; on a served mount by @fs. */
static void make_directories(hf_fs *fs, unsigned first)
{
    char path[32];
    for (unsigned i = first; i < directories; i += 2) {
        snprintf(path, sizeof path, "d%u", i);
        CHECK_EQUAL(CALL(fs, hf_mkdir(fs, path, 0755), mkdir(path, 0755)), 0);
        for (unsigned k = 0; k < FILES; k++) {
            snprintf(path, sizeof path, "d%u/f%u", i, k);
            CHECK_EQUAL(CALL(fs, hf_mknod(fs, path, 0644, 0), mknod(path, 0644, 0)), 0);
        }
    }
}

static void remove_directories(hf_fs *fs, unsigned first)
{
    char path[32];
    for (unsigned i = first; i < directories; i += 2) {
        for (unsigned k = 0; k < FILES; k++) {
            snprintf(path, sizeof path, "d%u/f%u", i, k);
            const long result = CALL(fs, hf_unlink(fs, path), unlink(path));
            CHECK(result == 0 || result == -ENOENT);
        }
        snprintf(path, sizeof path, "d%u", i);
        CHECK_EQUAL(CALL(fs, hf_rmdir(fs, path), rmdir(path)), 0);
    }
}

static void do_in_two_processes(const struct fs_world *world,
                                void (*work)(hf_fs *fs, unsigned first))
{
    pid_t pids[2];
    fflush(NULL);
    for (unsigned i = 0; i < 2; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            hf_fs *fs = fs_world_is_served() ? fs_world_visit(world) : NULL;
            CHECK_EQUAL(chdir(world->root), 0);
            work(fs, i);
            hf_fs_detach(fs);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        fs_world_wait(pids[i]);
    }
}

static void name_of(unsigned file, char path[32])
{
    snprintf(path, 32, "d%u/f%u", file / FILES, file % FILES);
}

static void check_against_others(const struct fs_world *world, const char *path,
                                 const struct stat *seen)
{
    struct stat real;
    CHECK_EQUAL(fs_world_stat(world, path, &real), 0);
    CHECK_EQUAL(seen->st_ino, real.st_ino);
    CHECK_EQUAL(seen->st_dev, real.st_dev);
    CHECK_EQUAL(seen->st_size, real.st_size);
    CHECK_EQUAL(seen->st_mode, real.st_mode);
}

/* As find(1) does: every entry that is read is looked at. */
static void look_at_directory(struct fs_world *world, unsigned directory)
{
    char path[32];
    hf_dirent entry;
    struct stat attributes;
    unsigned seen = 0;
    snprintf(path, sizeof path, "d%u", directory);
    int fd = hf_open(world->fs, path, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(world->fs, fd, &entry) == 1) {
        if (entry.name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "d%u/%.16s", directory, entry.name);
        CHECK_EQUAL(hf_stat(world->fs, path, &attributes), 0);
        CHECK(S_ISREG(attributes.st_mode));
        if (++seen % SAMPLE == 0) {
            check_against_others(world, path, &attributes);
        }
    }
    CHECK_EQUAL(seen, FILES);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

static void look_at_all(struct fs_world *world)
{
    for (unsigned directory = 0; directory < directories; directory++) {
        look_at_directory(world, directory);
        check_budget(world);
    }
}

/* What has become of a file of the sample, after the other process was there. */
static void look_at_sample(struct fs_world *world)
{
    char path[32];
    struct stat attributes;
    for (unsigned file = 0; file < directories * FILES; file += SAMPLE) {
        name_of(file, path);
        int result = hf_stat(world->fs, path, &attributes);
        CHECK_EQUAL(result, file % 2 == 0 ? 0 : -ENOENT);
        if (result == 0) {
            CHECK_EQUAL(attributes.st_size, file);
            check_against_others(world, path, &attributes);
        }
    }
}

static void act_look(struct fs_world *world, void *argument)
{
    const size_t before = memory_in_use();
    look_at_all(world);
    fs_world_meet(world);
    fs_world_meet(world);
    look_at_sample(world);
    check_budget(world);
    const size_t grown = memory_in_use() - before;
    print_message(
        "# %u files looked up, %zu MiB of memory more\n", directories * FILES, grown / MEBIBYTE);
    CHECK(grown <= BUDGET + ROOM);
}

static void act_change(struct fs_world *world, void *argument)
{
    char path[32];
    fs_world_meet(world);
    for (unsigned file = 0; file < directories * FILES; file += SAMPLE) {
        name_of(file, path);
        CHECK_EQUAL(file % 2 == 0 ? hf_truncate(world->fs, path, file) : hf_unlink(world->fs, path),
                    0);
    }
    fs_world_meet(world);
}

/* Where there is room for so many files. */
static const char *parent_with_room(void)
{
    struct statvfs host;
    const char *parent = folder_fast_parent();
    const bool has_room =
        statvfs(parent, &host) == 0 && host.f_favail > 2 * (fsfilcnt_t)directories * FILES;
    return has_room ? parent : "/tmp";
}

/* A million files are looked up inside a budget that has room for a small part of them. */
static void test_a_million_files(void **state)
{
    struct fs_world world;
    pid_t pids[2];

    fs_world_init_in(&world, parent_with_room());
    do_in_two_processes(&world, make_directories);
    world.patience_seconds = 4 * FS_WORLD_PATIENCE_SECONDS;
    world.cache_bytes = BUDGET;
    pids[0] = fs_world_start(&world, act_look, NULL);
    pids[1] = fs_world_start(&world, act_change, NULL);
    fs_world_wait_for_both(pids);
    do_in_two_processes(&world, remove_directories);
    fs_world_deinit(&world);
}

/* ---- one large directory ---- */

#define ENTRIES_MAX 100000

/* Each of them is asked for where that costs a round trip. */
static unsigned count_entries(void)
{
    return fs_world_is_served() ? ENTRIES_MAX / 5 : ENTRIES_MAX;
}

static void make_entries(const struct fs_world *world)
{
    char path[16];
    hf_fs *fs = fs_world_visit(world);
    for (unsigned i = 0; i < count_entries(); i++) {
        snprintf(path, sizeof path, "e%u", i);
        assert_int_equal(hf_mknod(fs, path, 0644, 0), 0);
    }
    hf_fs_detach(fs);
}

/* Each entry is read once; @look at it too, while the directory is open. */
static void read_and_look(struct fs_world *world, unsigned char *seen, bool look)
{
    hf_dirent entry;
    struct stat attributes;
    int fd = hf_open(world->fs, "/", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    memset(seen, 0, ENTRIES_MAX);
    while (hf_readdir(world->fs, fd, &entry) == 1) {
        if (entry.name[0] != 'e') {
            continue;
        }
        unsigned long number = strtoul(entry.name + 1, NULL, 10);
        CHECK(number < count_entries() && seen[number] == 0);
        seen[number] = 1;
        if (look) {
            CHECK_EQUAL(hf_lstat(world->fs, entry.name, &attributes), 0);
            CHECK_EQUAL(attributes.st_ino, entry.ino);
        }
    }
    CHECK(memchr(seen, 0, count_entries()) == NULL);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

static void act_read_large(struct fs_world *world, void *argument)
{
    struct stat attributes;
    unsigned char *seen = malloc(ENTRIES_MAX);
    CHECK(seen != NULL);
    for (int pass = 0; pass < 2; pass++) {
        read_and_look(world, seen, pass == 0);
        /* Closed, the listing goes after a while. */
        for (int i = 0; i < 2000; i++) {
            CHECK_EQUAL(hf_lstat(world->fs, "e0", &attributes), 0);
            CHECK_EQUAL(hf_lstat(world->fs, "missing", &attributes), -ENOENT);
        }
        check_budget(world);
    }
    free(seen);
}

/* A directory that is larger than the budget can be read and looked up, and goes when closed. */
static void test_a_large_directory(void **state)
{
    struct fs_world world;
    fs_world_init_in(&world, folder_fast_parent());
    make_entries(&world);
    world.cache_bytes = MEBIBYTE;
    fs_world_play(&world, act_read_large, NULL);
    fs_world_deinit(&world);
}

/* ---- numbers that are used again ---- */

enum kind { A_FILE, A_DIRECTORY, A_LINK, KINDS };

/* What is at "x" in a round: everything that can be seen of it tells which round. */
struct round {
    enum kind kind;
    unsigned number;
    char text[16];
};

static struct round round_of(unsigned number, unsigned kind)
{
    struct round round = {.kind = kind % KINDS, .number = number};
    snprintf(round.text, sizeof round.text, "r%u", number);
    return round;
}

static void make_x(hf_fs *fs, const struct round *round)
{
    char path[32];
    if (round->kind == A_DIRECTORY) {
        CHECK_EQUAL(hf_mkdir(fs, "x", 0755), 0);
        snprintf(path, sizeof path, "x/%s", round->text);
        CHECK_EQUAL(hf_mkdir(fs, path, 0755), 0);
    } else if (round->kind == A_LINK) {
        CHECK_EQUAL(hf_symlink(fs, round->text, "x"), 0);
    } else {
        CHECK_EQUAL(hf_mknod(fs, "x", S_IFREG | 0644, 0), 0);
        CHECK_EQUAL(hf_truncate(fs, "x", round->number), 0);
        int result = hf_setxattr(fs, "x", "user.round", round->text, strlen(round->text), 0);
        CHECK(result == 0 || result == -EOPNOTSUPP);
    }
}

static void remove_x(hf_fs *fs, const struct round *round)
{
    char path[32];
    if (round->kind == A_DIRECTORY) {
        snprintf(path, sizeof path, "x/%s", round->text);
        CHECK_EQUAL(hf_rmdir(fs, path), 0);
        CHECK_EQUAL(hf_rmdir(fs, "x"), 0);
    } else {
        CHECK_EQUAL(hf_unlink(fs, "x"), 0);
    }
}

static void look_at_x(hf_fs *fs, const struct round *round)
{
    static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK};
    struct stat attributes;
    char path[32];
    char value[16];
    CHECK_EQUAL(hf_lstat(fs, "x", &attributes), 0);
    CHECK_EQUAL(attributes.st_mode & S_IFMT, types[round->kind]);
    const ssize_t length = (ssize_t)strlen(round->text);
    if (round->kind == A_DIRECTORY) {
        snprintf(path, sizeof path, "x/r%u", round->number - 1);
        CHECK_EQUAL(hf_lstat(fs, path, &attributes), -ENOENT);
        snprintf(path, sizeof path, "x/%s/..", round->text);
        CHECK_EQUAL(hf_lstat(fs, path, &attributes), 0);
    } else if (round->kind == A_LINK) {
        CHECK_EQUAL(hf_readlink(fs, "x", value, sizeof value), length);
        CHECK_EQUAL(memcmp(value, round->text, (size_t)length), 0);
    } else {
        CHECK_EQUAL(attributes.st_size, round->number);
        CHECK_EQUAL(attributes.st_nlink, 1);
        ssize_t size = hf_getxattr(fs, "x", "user.round", value, sizeof value);
        CHECK(size == length || size == -EOPNOTSUPP);
        CHECK(size < 0 || memcmp(value, round->text, (size_t)length) == 0);
    }
}

#define ROUNDS 400

struct reuser {
    int number;
};

/* Each round one of the two removes what is there and one makes something else, which on many
 * hosts has the same number; then both look. */
static void act_reuse(struct fs_world *world, void *argument)
{
    const struct reuser *reuser = argument;
    struct round round = round_of(0, 0);
    unsigned random = 1;
    if (reuser->number == 0) {
        make_x(world->fs, &round);
    }
    fs_world_meet(world);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        random = random * 1103515245 + 12345;
        look_at_x(world->fs, &round);
        fs_world_meet(world);
        if ((random >> 16) % 2 == (unsigned)reuser->number) {
            remove_x(world->fs, &round);
        }
        fs_world_meet(world);
        round = round_of(i, random >> 20);
        if ((random >> 17) % 2 == (unsigned)reuser->number) {
            make_x(world->fs, &round);
        }
        fs_world_meet(world);
    }
}

static void act_reuse_with_small_caches(struct fs_world *world, void *argument)
{
    world->small_caches = true;
    fs_world_leave(world);
    fs_world_join(world);
    act_reuse(world, argument);
}

static void play_reuse(fs_world_act *second)
{
    struct fs_world world;
    struct reuser reusers[2] = {{.number = 0}, {.number = 1}};
    pid_t pids[2];
    fs_world_init(&world); /* on a disk: in memory the host would use no number again */
    pids[0] = fs_world_start(&world, act_reuse, &reusers[0]);
    pids[1] = fs_world_start(&world, second, &reusers[1]);
    fs_world_wait_for_both(pids);
    fs_world_deinit(&world);
}

/* What is known of a file is not taken for what is known of the next one with its number. */
static void test_a_number_used_again_is_another_file(void **state)
{
    play_reuse(act_reuse);
    play_reuse(act_reuse_with_small_caches);
}

/* ---- what a listing says ---- */

#define EXIT_MAY_NOT_MOUNT 77

/* Mount one file over another, for this process alone. */
static void mount_over(const struct fs_world *world, const char *file, const char *place)
{
    char from[96];
    char to[96];
    snprintf(from, sizeof from, "%s/%s", world->root, file);
    snprintf(to, sizeof to, "%s/%s", world->root, place);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(from, to, NULL, MS_BIND, NULL) != 0) {
        _exit(EXIT_MAY_NOT_MOUNT);
    }
}

/* The listing has the number of what lies below. */
static void act_look_at_mounted(struct fs_world *world, void *argument)
{
    hf_dirent entry;
    struct stat attributes;
    char path[8];
    fs_world_leave(world);
    mount_over(world, "f0", "f3");
    fs_world_join(world);

    int fd = hf_open(world->fs, "/", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_lstat(world->fs, "f0", &attributes), 0);
    while (hf_readdir(world->fs, fd, &entry) == 1) {
    }
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < 5; i++) {
            snprintf(path, sizeof path, "f%u", i);
            CHECK_EQUAL(hf_lstat(world->fs, path, &attributes), 0);
            check_against_others(world, path, &attributes);
        }
    }
    fd = hf_open(world->fs, "f3", O_WRONLY | O_TRUNC, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
    CHECK_EQUAL(hf_lstat(world->fs, "f0", &attributes), 0);
    CHECK_EQUAL(attributes.st_size, 0);
}

/* What a listing says of a file is compared with the file. */
static void test_a_listing_is_not_believed_blindly(void **state)
{
    struct fs_world world;
    char path[96];
    int status;
    FS_WORLD_DIRECT_ONLY("nothing of the host's can be mounted there");
    fs_world_init(&world);
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/f%d", world.root, i);
        assert_int_equal(mknod(path, S_IFREG | 0644, 0), 0);
        assert_int_equal(truncate(path, i + 1), 0);
    }
    pid_t pid = fs_world_start(&world, act_look_at_mounted, NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fs_world_deinit(&world);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MAY_NOT_MOUNT) {
        skip();
    }
    assert_int_equal(status, 0);
}

/* ---- data ---- */

#define PAGE_BUDGET (2 * MEBIBYTE)
#define DATA_FILES 48

static void check_data(const uint8_t *bytes, int file)
{
    for (size_t i = 0; i < MEBIBYTE; i += 509) {
        CHECK_EQUAL(bytes[i], (uint8_t)(i / 512 + (size_t)file));
    }
}

/* Several times as much as may be cached is written, and read again. */
static void act_move_data(struct fs_world *world, void *argument)
{
    static uint8_t bytes[MEBIBYTE];
    char path[16];
    const size_t before = memory_in_use();
    for (int file = 0; file < 2 * DATA_FILES; file++) {
        snprintf(path, sizeof path, "data%d", file % DATA_FILES);
        int fd = hf_open(world->fs, path, O_RDWR | O_CREAT, 0644);
        CHECK(fd >= 0);
        if (file < DATA_FILES) {
            for (size_t i = 0; i < MEBIBYTE; i++) {
                bytes[i] = (uint8_t)(i / 512 + (size_t)file);
            }
            CHECK_EQUAL(hf_write(world->fs, fd, bytes, MEBIBYTE), MEBIBYTE);
        }
        memset(bytes, 0, sizeof bytes);
        CHECK_EQUAL(hf_pread(world->fs, fd, bytes, MEBIBYTE, 0), MEBIBYTE);
        check_data(bytes, file % DATA_FILES);
        CHECK_EQUAL(hf_close(world->fs, fd), 0);
    }
    const size_t grown = memory_in_use() - before;
    print_message("# %d MiB of data, %zu MiB of memory more\n", DATA_FILES, grown / MEBIBYTE);
    CHECK(grown <= PAGE_BUDGET + 10 * MEBIBYTE);
}

/* On a direct mount it is the host that caches data. */
static void test_cached_data_has_a_budget(void **state)
{
    struct fs_world world;
    fs_world_init_in(&world, folder_fast_parent());
    world.page_bytes = PAGE_BUDGET;
    fs_world_play(&world, act_move_data, NULL);
    fs_world_deinit(&world);
}

int main(int argc, char **argv)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_number_used_again_is_another_file),
        cmocka_unit_test(test_a_listing_is_not_believed_blindly),
        cmocka_unit_test(test_a_large_directory),
        cmocka_unit_test(test_cached_data_has_a_budget),
        cmocka_unit_test(test_a_million_files),
    };
    if (argc > 1) {
        directories = (unsigned)strtoul(argv[1], NULL, 10);
    }
    return cmocka_run_group_tests_name("fs budget", tests, NULL, NULL);
}
