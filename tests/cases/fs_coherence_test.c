/*
 * What one process changes, another sees at once, although it had it cached.
 *
 * Each pair is: how the change is undone, the change, and what an observer says before and
 * after. The observer looks twice before the change, so that the second time it looks into
 * its cache.
 */
#include "cases/fs_coherence.h"

#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define ROUNDS 100

static void make_file(hf_fs *fs, const char *path, const char *content)
{
    int fd = hf_open(fs, path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, content, strlen(content)), strlen(content));
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void remove_if_there(hf_fs *fs, const char *path)
{
    int result = hf_unlink(fs, path);
    CHECK(result == 0 || result == -ENOENT);
}

static off_t size_of(hf_fs *fs, const char *path)
{
    struct stat attributes;
    int result = hf_stat(fs, path, &attributes);
    return result < 0 ? result : attributes.st_size;
}

static bool lists(hf_fs *fs, const char *path, const char *name, unsigned char *type)
{
    hf_dirent entry;
    bool found = false;
    int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    int result;
    while ((result = hf_readdir(fs, fd, &entry)) == 1) {
        if (strcmp(entry.name, name) == 0) {
            found = true;
            *type = entry.type;
        }
    }
    CHECK_EQUAL(result, 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return found;
}

/* ---- changes, and how they are undone ---- */

static void undo_create(hf_fs *fs)
{
    remove_if_there(fs, "d/file");
}

static void do_create(hf_fs *fs)
{
    make_file(fs, "d/file", "");
}

static void undo_unlink(hf_fs *fs)
{
    make_file(fs, "d/file", "");
}

static void do_unlink(hf_fs *fs)
{
    CHECK_EQUAL(hf_unlink(fs, "d/file"), 0);
}

void make_ten_bytes(hf_fs *fs)
{
    make_file(fs, "d/file", "0123456789");
}

static void do_append(hf_fs *fs)
{
    int fd = hf_open(fs, "d/file", O_WRONLY | O_APPEND, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, "abcde", 5), 5);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void do_truncate(hf_fs *fs)
{
    CHECK_EQUAL(hf_truncate(fs, "d/file", 3), 0);
}

static void do_open_truncating(hf_fs *fs)
{
    CHECK_EQUAL(hf_close(fs, hf_open(fs, "d/file", O_RDWR | O_TRUNC, 0)), 0);
}

static void do_overwrite(hf_fs *fs)
{
    int fd = hf_open(fs, "d/file", O_RDWR, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_pwrite(fs, fd, "X", 1, 4), 1);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void undo_mkdir(hf_fs *fs)
{
    int result = hf_rmdir(fs, "d/sub");
    CHECK(result == 0 || result == -ENOENT);
}

static void do_mkdir(hf_fs *fs)
{
    CHECK_EQUAL(hf_mkdir(fs, "d/sub", 0755), 0);
}

static void undo_rmdir(hf_fs *fs)
{
    int result = hf_mkdir(fs, "d/sub", 0755);
    CHECK(result == 0 || result == -EEXIST);
}

static void do_rmdir(hf_fs *fs)
{
    CHECK_EQUAL(hf_rmdir(fs, "d/sub"), 0);
}

/* ---- what an observer sees; each returns one number ---- */

long see_size(hf_fs *fs)
{
    return size_of(fs, "d/file");
}

long see_size_through_a_descriptor(hf_fs *fs)
{
    struct stat attributes;
    int fd = hf_open(fs, "d/file", O_RDONLY, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_fstat(fs, fd, &attributes), 0);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_END), attributes.st_size);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return attributes.st_size;
}

long see_fifth_byte(hf_fs *fs)
{
    char bytes[20];
    int fd = hf_open(fs, "d/file", O_RDONLY, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_read(fs, fd, bytes, sizeof bytes), 10);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return bytes[4];
}

static long see_open(hf_fs *fs)
{
    int fd = hf_open(fs, "d/file", O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    return hf_close(fs, fd);
}

static long see_file_listed(hf_fs *fs)
{
    unsigned char type = 0;
    return lists(fs, "d", "file", &type) ? type : 0;
}

static long see_directory_listed(hf_fs *fs)
{
    unsigned char type = 0;
    return lists(fs, "d", "sub", &type) ? type : 0;
}

static long see_path_through(hf_fs *fs)
{
    return size_of(fs, "d/sub/../sub/none") == -ENOENT && size_of(fs, "d/sub") >= 0;
}

static long see_links_of_parent(hf_fs *fs)
{
    struct stat attributes;
    CHECK_EQUAL(hf_stat(fs, "d", &attributes), 0);
    return (long)attributes.st_nlink;
}

static const struct pair pairs[] = {
    {"create, stat", undo_create, do_create, see_size, -ENOENT, 0},
    {"create, open", undo_create, do_create, see_open, -ENOENT, 0},
    {"create, readdir", undo_create, do_create, see_file_listed, 0, DT_REG},
    {"unlink, stat", undo_unlink, do_unlink, see_size, 0, -ENOENT},
    {"unlink, open", undo_unlink, do_unlink, see_open, 0, -ENOENT},
    {"unlink, readdir", undo_unlink, do_unlink, see_file_listed, DT_REG, 0},
    {"append, stat", make_ten_bytes, do_append, see_size, 10, 15},
    {"append, fstat", make_ten_bytes, do_append, see_size_through_a_descriptor, 10, 15},
    {"truncate, stat", make_ten_bytes, do_truncate, see_size, 10, 3},
    {"truncate, fstat", make_ten_bytes, do_truncate, see_size_through_a_descriptor, 10, 3},
    {"open O_TRUNC, stat", make_ten_bytes, do_open_truncating, see_size, 10, 0},
    {"write, read", make_ten_bytes, do_overwrite, see_fifth_byte, '4', 'X'},
    {"mkdir, readdir", undo_mkdir, do_mkdir, see_directory_listed, 0, DT_DIR},
    {"mkdir, walk", undo_mkdir, do_mkdir, see_path_through, 0, 1},
    {"mkdir, stat of parent", undo_mkdir, do_mkdir, see_links_of_parent, 2, 3},
    {"rmdir, readdir", undo_rmdir, do_rmdir, see_directory_listed, DT_DIR, 0},
    {"rmdir, walk", undo_rmdir, do_rmdir, see_path_through, 1, 0},
};

static void act_change(struct fs_world *world, void *argument)
{
    const struct pair *pair = argument;
    for (int round = 0; round < ROUNDS; round++) {
        pair->undo(world->fs);
        fs_world_meet(world); /* the observer fills its cache */
        fs_world_meet(world);
        pair->change(world->fs);
        fs_world_meet(world); /* and looks again */
        fs_world_meet(world);
    }
}

static void act_observe(struct fs_world *world, void *argument)
{
    const struct pair *pair = argument;
    for (int round = 0; round < ROUNDS; round++) {
        fs_world_meet(world);
        CHECK_EQUAL(pair->see(world->fs), pair->before);
        CHECK_EQUAL(pair->see(world->fs), pair->before);
        fs_world_meet(world);
        fs_world_meet(world);
        CHECK_EQUAL(pair->see(world->fs), pair->after);
        fs_world_meet(world);
    }
}

static void act_prepare(struct fs_world *world, void *argument)
{
    CHECK_EQUAL(hf_mkdir(world->fs, "d", 0755), 0);
}

static void play_pair(const struct pair *played)
{
    struct fs_world world;
    union { /* an argument is not const */
        const struct pair *in;
        void *out;
    } pair = {.in = played};

    print_message("# %s\n", played->what);
    fs_world_init(&world);
    fs_world_play(&world, act_prepare, NULL);
    pid_t changer = fs_world_start(&world, act_change, pair.out);
    pid_t observer = fs_world_start(&world, act_observe, pair.out);
    fs_world_wait(observer);
    fs_world_wait(changer);
    fs_world_deinit(&world);
}

static void test_a_change_is_seen_at_once(void **state)
{
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        play_pair(&pairs[i]);
    }
}

static void test_a_change_of_data_is_seen_at_once(void **state)
{
    for (size_t i = 0; i < data_pair_count; i++) {
        play_pair(&data_pairs[i]);
    }
}

static void test_a_store_in_a_mapping_is_seen_at_once(void **state)
{
    FS_WORLD_DIRECT_ONLY("it has no memory that processes could share");
    play_pair(&mapping_pair);
}

/* A file that another process removed goes on for those who have it open. */
static void act_keep_open(struct fs_world *world, void *argument)
{
    char bytes[10];
    struct stat attributes;
    make_file(world->fs, "file", "0123456789");
    int fd = hf_open(world->fs, "file", O_RDWR, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_fstat(world->fs, fd, &attributes), 0);
    CHECK_EQUAL(attributes.st_nlink, 1);
    fs_world_meet(world);
    fs_world_meet(world);
    CHECK_EQUAL(hf_stat(world->fs, "file", &attributes), -ENOENT);
    CHECK_EQUAL(hf_fstat(world->fs, fd, &attributes), 0);
    CHECK_EQUAL(attributes.st_nlink, 0);
    CHECK_EQUAL(hf_pwrite(world->fs, fd, "abc", 3, 2), 3);
    CHECK_EQUAL(hf_pread(world->fs, fd, bytes, 10, 0), 10);
    CHECK_EQUAL(memcmp(bytes, "01abc56789", 10), 0);
    make_file(world->fs, "file", "another");
    CHECK_EQUAL(size_of(world->fs, "file"), 7);
    CHECK_EQUAL(hf_fstat(world->fs, fd, &attributes), 0);
    CHECK_EQUAL(attributes.st_size, 10);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

static void act_remove(struct fs_world *world, void *argument)
{
    fs_world_meet(world);
    CHECK_EQUAL(hf_unlink(world->fs, "file"), 0);
    fs_world_meet(world);
}

static void test_a_removed_file_lives_while_it_is_open(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    pid_t keeper = fs_world_start(&world, act_keep_open, NULL);
    pid_t remover = fs_world_start(&world, act_remove, NULL);
    fs_world_wait(keeper);
    fs_world_wait(remover);
    fs_world_deinit(&world);
}

/* A directory that another process removed has no entries, and nothing can be made in it. */
static void act_stay_in_directory(struct fs_world *world, void *argument)
{
    hf_dirent entry;
    CHECK_EQUAL(hf_mkdir(world->fs, "gone", 0755), 0);
    int fd = hf_open(world->fs, "gone", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_readdir(world->fs, fd, &entry), 1);
    fs_world_meet(world);
    fs_world_meet(world);
    CHECK_EQUAL(hf_readdir(world->fs, fd, &entry), -ENOENT);
    CHECK_EQUAL(hf_lseek(world->fs, fd, 0, SEEK_SET), 0);
    CHECK_EQUAL(hf_readdir(world->fs, fd, &entry), -ENOENT);
    CHECK_EQUAL(hf_open(world->fs, "gone/x", O_CREAT | O_WRONLY, 0644), -ENOENT);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

static void act_remove_directory(struct fs_world *world, void *argument)
{
    fs_world_meet(world);
    CHECK_EQUAL(hf_rmdir(world->fs, "gone"), 0);
    fs_world_meet(world);
}

static void test_a_removed_directory_is_empty(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    pid_t keeper = fs_world_start(&world, act_stay_in_directory, NULL);
    pid_t remover = fs_world_start(&world, act_remove_directory, NULL);
    fs_world_wait(keeper);
    fs_world_wait(remover);
    fs_world_deinit(&world);
}

/* Entries that stay are read exactly once while another process makes and removes others. */
#define STAYING 300

static void act_read_directory(struct fs_world *world, void *argument)
{
    _Atomic uint64_t *stop = &world->shared->slots[0];
    char name[24];
    CHECK_EQUAL(hf_mkdir(world->fs, "busy", 0755), 0);
    for (int i = 0; i < STAYING; i++) {
        snprintf(name, sizeof name, "busy/stay%d", i);
        make_file(world->fs, name, "");
    }
    fs_world_meet(world);
    for (int pass = 0; pass < 5; pass++) {
        bool seen[STAYING] = {false};
        hf_dirent entry;
        int result;
        int fd = hf_open(world->fs, "busy", O_RDONLY | O_DIRECTORY, 0);
        CHECK(fd >= 0);
        while ((result = hf_readdir(world->fs, fd, &entry)) == 1) {
            if (strncmp(entry.name, "stay", 4) == 0) {
                long number = strtol(entry.name + 4, NULL, 10);
                CHECK(!seen[number]);
                seen[number] = true;
            }
        }
        CHECK_EQUAL(result, 0);
        for (int i = 0; i < STAYING; i++) {
            CHECK(seen[i]);
        }
        CHECK_EQUAL(hf_close(world->fs, fd), 0);
    }
    atomic_store(stop, 1);
}

static void act_disturb_directory(struct fs_world *world, void *argument)
{
    char name[24];
    fs_world_meet(world);
    for (int i = 0; atomic_load(&world->shared->slots[0]) == 0; i++) {
        snprintf(name, sizeof name, "busy/come%d", i % 50);
        make_file(world->fs, name, "");
        snprintf(name, sizeof name, "busy/come%d", (i + 25) % 50);
        remove_if_there(world->fs, name);
    }
}

static void test_reading_a_directory_that_changes(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    pid_t reader = fs_world_start(&world, act_read_directory, NULL);
    pid_t other = fs_world_start(&world, act_disturb_directory, NULL);
    fs_world_wait(reader);
    fs_world_wait(other);
    fs_world_deinit(&world);
}

/* What a process did before it was killed is done, and what it held goes to others. */
static void act_change_and_die(struct fs_world *world, void *argument)
{
    fs_world_meet(world);
    do_append(world->fs);
    CHECK_EQUAL(hf_mkdir(world->fs, "d/sub", 0755), 0);
    CHECK_EQUAL(hf_unlink(world->fs, "d/other"), 0);
    raise(SIGKILL);
}

static void act_look_after_death(struct fs_world *world, void *argument)
{
    const pid_t *victim = argument;
    unsigned char type;
    CHECK_EQUAL(size_of(world->fs, "d/file"), 10);
    CHECK_EQUAL(size_of(world->fs, "d/other"), 0);
    CHECK(!lists(world->fs, "d", "sub", &type));
    fs_world_meet(world);
    /* The test's process is its parent: until that has seen it die, wait for the last change. */
    while (kill(*victim, 0) == 0) {
        sched_yield();
    }
    CHECK_EQUAL(size_of(world->fs, "d/file"), 15);
    CHECK_EQUAL(size_of(world->fs, "d/other"), -ENOENT);
    CHECK(lists(world->fs, "d", "sub", &type));
    do_append(world->fs);
    CHECK_EQUAL(size_of(world->fs, "d/file"), 20);
}

static void act_make_files(struct fs_world *world, void *argument)
{
    act_prepare(world, NULL);
    make_ten_bytes(world->fs);
    make_file(world->fs, "d/other", "");
}

static void test_changes_outlive_the_process_that_made_them(void **state)
{
    struct fs_world world;
    int status;
    fs_world_init(&world);
    fs_world_play(&world, act_make_files, NULL);
    pid_t victim = fs_world_start(&world, act_change_and_die, NULL);
    pid_t observer = fs_world_start(&world, act_look_after_death, &victim);
    assert_int_equal(waitpid(victim, &status, 0), victim);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fs_world_wait(observer);
    fs_world_deinit(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_is_seen_at_once),
        cmocka_unit_test(test_a_change_of_data_is_seen_at_once),
        cmocka_unit_test(test_a_store_in_a_mapping_is_seen_at_once),
        cmocka_unit_test(test_a_removed_file_lives_while_it_is_open),
        cmocka_unit_test(test_a_removed_directory_is_empty),
        cmocka_unit_test(test_reading_a_directory_that_changes),
        cmocka_unit_test(test_changes_outlive_the_process_that_made_them),
    };
    return cmocka_run_group_tests_name("fs coherence", tests, NULL, NULL);
}
