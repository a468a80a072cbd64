/*
 * A file that its maker alone knows is removed without a hold on it. Whoever else got to know it,
 * by name, by another name or by inheriting it, sees it go nevertheless.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t messages(const struct fs_world *world)
{
    hf_client_stats stats;
    hf_client_get_stats(world->client, &stats);
    return stats.acquires_sent + stats.releases_sent + stats.grants_received +
           stats.recalls_received;
}

static void make(hf_fs *fs, const char *path)
{
    /* What is to be written on a served mount is asked for ahead. */
    const int flags = O_CREAT | O_EXCL | (fs_world_is_served() ? O_RDONLY : O_WRONLY);
    int fd = hf_open(fs, path, flags, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void check_links(hf_fs *fs, int fd, nlink_t links)
{
    struct stat attributes;
    CHECK_EQUAL(hf_fstat(fs, fd, &attributes), 0);
    CHECK_EQUAL(attributes.st_nlink, links);
}

static void make_directory(const struct fs_world *world, const char *path)
{
    hf_fs *fs = fs_world_visit(world);
    assert_int_equal(hf_mkdir(fs, path, 0755), 0);
    hf_fs_detach(fs);
}

/* ---- nobody knows it ---- */

static void act_make_and_remove(struct fs_world *world, void *argument)
{
    make(world->fs, "first");
    CHECK_EQUAL(hf_unlink(world->fs, "first"), 0);
    const uint64_t before = messages(world);
    for (int i = 0; i < 1000; i++) {
        make(world->fs, "x");
        CHECK_EQUAL(hf_unlink(world->fs, "x"), 0);
        CHECK_EQUAL(hf_symlink(world->fs, "target", "x"), 0);
        CHECK_EQUAL(hf_unlink(world->fs, "x"), 0);
    }
    CHECK_EQUAL(messages(world) - before, 0);
}

/* Making and removing files in a directory that is held sends nothing. */
static void test_nobody_is_told_of_what_nobody_saw(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_make_and_remove, NULL);
    fs_world_deinit(&world);
}

/* ---- another process knows it ---- */

#define ROUNDS 200

enum seen { SEEN_BY_NAME, SEEN_OPENED, SEEN_BY_ANOTHER_NAME, SEEN_LISTED, SEEN_WAYS };

/* The maker has the directory to itself when it makes and when it removes, not in between. */
static void act_make(struct fs_world *world, void *argument)
{
    for (int round = 0; round < ROUNDS; round++) {
        make(world->fs, "x");
        if (round % SEEN_WAYS == SEEN_BY_ANOTHER_NAME) {
            CHECK_EQUAL(hf_link(world->fs, "x", "other/y"), 0);
        }
        fs_world_meet(world);
        fs_world_meet(world);
        CHECK_EQUAL(hf_unlink(world->fs, "x"), 0);
        fs_world_meet(world);
        fs_world_meet(world);
    }
}

static void act_see(struct fs_world *world, void *argument)
{
    struct stat attributes;
    for (int round = 0; round < ROUNDS; round++) {
        const enum seen way = (enum seen)(round % SEEN_WAYS);
        const char *path = way == SEEN_BY_ANOTHER_NAME ? "other/y" : "x";
        int fd = -1;
        fs_world_meet(world);
        if (way == SEEN_LISTED) {
            hf_dirent entry;
            fd = hf_open(world->fs, "/", O_RDONLY | O_DIRECTORY, 0);
            while (hf_readdir(world->fs, fd, &entry) == 1) {
            }
            CHECK_EQUAL(hf_close(world->fs, fd), 0);
        }
        CHECK_EQUAL(hf_stat(world->fs, path, &attributes), 0);
        if (way == SEEN_OPENED) {
            fd = hf_open(world->fs, path, O_RDWR, 0);
            check_links(world->fs, fd, 1);
        }
        fs_world_meet(world);
        fs_world_meet(world);
        if (way == SEEN_BY_ANOTHER_NAME) {
            CHECK_EQUAL(hf_stat(world->fs, path, &attributes), 0);
            CHECK_EQUAL(attributes.st_nlink, 1);
            CHECK_EQUAL(hf_unlink(world->fs, path), 0);
        } else {
            CHECK_EQUAL(hf_stat(world->fs, path, &attributes), -ENOENT);
        }
        if (way == SEEN_OPENED) {
            check_links(world->fs, fd, 0);
            CHECK_EQUAL(hf_close(world->fs, fd), 0);
        }
        fs_world_meet(world);
    }
}

static void test_who_saw_it_sees_it_go(void **state)
{
    struct fs_world world;
    pid_t pids[2];
    fs_world_init(&world);
    make_directory(&world, "other");
    pids[0] = fs_world_start(&world, act_make, NULL);
    pids[1] = fs_world_start(&world, act_see, NULL);
    fs_world_wait_for_both(pids);
    fs_world_deinit(&world);
}

/* ---- a child knows it ---- */

/* As many nodes as there may be for the fewest descriptors go to others. */
static void use_all_nodes(hf_fs *fs)
{
    char path[24];
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof path, "other%d", i);
        int fd = hf_open(fs, path, O_CREAT | O_WRONLY, 0644);
        CHECK_EQUAL(hf_fchmod(fs, fd, 0600), 0);
        CHECK_EQUAL(hf_close(fs, fd), 0);
    }
}

static void inherit(struct fs_world *world, int flags)
{
    int told[2];
    char byte = 0;
    int status;
    CHECK_EQUAL(pipe(told), 0);
    make(world->fs, "x");
    int fd = hf_open(world->fs, "x", flags, 0);
    CHECK(fd >= 0);
    fs_world_set_meeting(world, 2);
    pid_t child = hf_fork();
    CHECK(child >= 0);
    if (child == 0) {
        check_links(world->fs, fd, 1);
        fs_world_meet(world);
        CHECK_EQUAL(read(told[0], &byte, 1), 1);
        check_links(world->fs, fd, 0);
        _exit(0);
    }
    fs_world_meet(world);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
    use_all_nodes(world->fs);
    CHECK_EQUAL(hf_unlink(world->fs, "x"), 0);
    CHECK_EQUAL(write(told[1], &byte, 1), 1);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    close(told[0]);
    close(told[1]);
}

/* How many there may be depends on the descriptors there may be. */
static void leave_few_nodes(struct fs_world *world)
{
    struct rlimit before;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    fs_world_leave(world);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &few), 0);
    fs_world_join(world);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void act_inherit(struct fs_world *world, void *argument)
{
    leave_few_nodes(world);
    inherit(world, O_RDWR);
    inherit(world, O_PATH);
}

static void test_who_inherited_it_sees_it_go(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act_inherit, NULL);
    fs_world_deinit(&world);
}

/* ---- another file gets its number ---- */

#define REUSE_ROUNDS 80
#define SLOT_REUSED 0

/* Make files that nobody is told of until one has @number; that one is "x". */
static bool make_with_number(hf_fs *fs, ino_t number)
{
    struct stat attributes;
    char path[24];
    bool found = false;
    int made = 0;
    while (!found && made < 50) {
        make(fs, "x");
        CHECK_EQUAL(hf_stat(fs, "x", &attributes), 0);
        found = attributes.st_ino == number;
        snprintf(path, sizeof path, "other/%d", made++);
        CHECK_EQUAL(found ? 0 : hf_rename(fs, "x", path), 0);
    }
    if (!found) {
        make(fs, "x");
    }
    for (int i = 0; i < made - found; i++) {
        snprintf(path, sizeof path, "other/%d", i);
        CHECK_EQUAL(hf_unlink(fs, path), 0);
    }
    return found;
}

struct reuse {
    const char *first; /* the name that goes; the next file is "x" */
    bool with_node;
};

/* The last name goes; then there is another file with the same number, if the host is willing. */
static void act_replace(struct fs_world *world, void *argument)
{
    const char *first = ((const struct reuse *)argument)->first;
    struct stat attributes;
    for (int round = 0; round < REUSE_ROUNDS; round++) {
        make(world->fs, first);
        CHECK_EQUAL(hf_stat(world->fs, first, &attributes), 0);
        fs_world_meet(world);
        fs_world_meet(world); /* it is open there */
        CHECK_EQUAL(hf_unlink(world->fs, first), 0);
        fs_world_meet(world);
        fs_world_meet(world); /* it was used there, and closed */
        world->shared->slots[SLOT_REUSED] += make_with_number(world->fs, attributes.st_ino);
        fs_world_meet(world);
        fs_world_meet(world);
        CHECK_EQUAL(hf_unlink(world->fs, "x"), 0);
    }
}

/* What is learned of a file after its last name has gone is not told of the next one. */
static void act_use_what_has_no_name(struct fs_world *world, void *argument)
{
    const struct reuse *reuse = argument;
    hf_fs *fs = world->fs;
    struct stat attributes;
    char value[8];
    if (reuse->with_node) {
        leave_few_nodes(world);
        fs = world->fs;
    }
    for (int round = 0; round < REUSE_ROUNDS; round++) {
        fs_world_meet(world);
        int fd = hf_open(fs, reuse->first, O_RDWR, 0);
        CHECK(fd >= 0);
        if (reuse->with_node) {
            CHECK_EQUAL(hf_fchmod(fs, fd, 0644), 0);
        }
        fs_world_meet(world);
        fs_world_meet(world);
        switch (round % 4) {
        case 0:
            check_links(fs, fd, 0);
            break;
        case 1:
            CHECK_EQUAL(hf_ftruncate(fs, fd, 100), 0);
            break;
        case 2:
            CHECK_EQUAL(hf_pwrite(fs, fd, "text", 4, 10), 4);
            check_links(fs, fd, 0);
            break;
        default:
            CHECK_EQUAL(hf_fsetxattr(fs, fd, "user.a", "1", 1, 0), 0);
            CHECK_EQUAL(hf_fgetxattr(fs, fd, "user.a", value, sizeof value), 1);
            break;
        }
        CHECK_EQUAL(hf_close(fs, fd), 0);
        if (reuse->with_node) {
            use_all_nodes(fs);
        }
        fs_world_meet(world);
        fs_world_meet(world);
        fd = hf_open(fs, "x", O_WRONLY | O_APPEND, 0);
        CHECK(fd >= 0);
        CHECK_EQUAL(hf_write(fs, fd, "x", 1), 1);
        CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), 1);
        CHECK_EQUAL(hf_close(fs, fd), 0);
        CHECK_EQUAL(hf_stat(fs, "x", &attributes), 0);
        CHECK_EQUAL(attributes.st_nlink, 1);
        CHECK_EQUAL(attributes.st_size, 1);
        CHECK_EQUAL(hf_getxattr(fs, "x", "user.a", value, sizeof value), -ENODATA);
        fs_world_meet(world);
    }
}

static void number_is_used_again(struct reuse reuse)
{
    struct fs_world world;
    pid_t pids[2];
    fs_world_init(&world);
    make_directory(&world, "other");
    make_directory(&world, "aside");
    pids[0] = fs_world_start(&world, act_replace, &reuse);
    pids[1] = fs_world_start(&world, act_use_what_has_no_name, &reuse);
    fs_world_wait_for_both(pids);
    print_message("# %d of %d times the next file got the number\n",
                  (int)world.shared->slots[SLOT_REUSED],
                  REUSE_ROUNDS);
    fs_world_deinit(&world);
}

static void test_the_next_file_with_its_number_is_another_one(void **state)
{
    number_is_used_again((struct reuse){.first = "x"});
}

/* What it was found by the first time is not looked at again meanwhile. */
static void test_the_next_file_is_another_one_in_another_directory(void **state)
{
    number_is_used_again((struct reuse){.first = "aside/x"});
}

static void test_the_next_file_is_another_one_after_a_node_was_dropped(void **state)
{
    number_is_used_again((struct reuse){.first = "x", .with_node = true});
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_told_of_what_nobody_saw),
        cmocka_unit_test(test_who_saw_it_sees_it_go),
        cmocka_unit_test(test_who_inherited_it_sees_it_go),
        cmocka_unit_test(test_the_next_file_with_its_number_is_another_one),
        cmocka_unit_test(test_the_next_file_is_another_one_in_another_directory),
        cmocka_unit_test(test_the_next_file_is_another_one_after_a_node_was_dropped),
    };
    return cmocka_run_group_tests_name("fs private", tests, NULL, NULL);
}
