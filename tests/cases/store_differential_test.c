/*
 * Random operations on a store and, by system calls, on a tmpfs: same results, errnos, attributes,
 * listings, contents and free space. The tmpfs is mounted small for it, in a mount namespace of its
 * own, where that is allowed; else it is a directory in /dev/shm, and neither side has limits.
 */
#include "cases/store_differential.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

static void do_anything(struct sides *sides)
{
    static name_operation *const on_names[] = {do_make,
                                               do_make,
                                               do_make,
                                               do_make_unnamed,
                                               do_open,
                                               do_open,
                                               do_open,
                                               do_link,
                                               do_unlink,
                                               do_rename,
                                               do_rename,
                                               do_unlink,
                                               do_open,
                                               do_remove_directory};
    static file_operation *const on_files[] = {
        do_write, do_write, do_read, do_set_size, do_allocate, do_copy, do_attributes, do_xattr};
    if (below(sides, 2) == 0) {
        on_names[below(sides, sizeof(on_names) / sizeof(on_names[0]))](sides);
        return;
    }
    const struct slot *slot = any_file(sides);
    if (slot->fd >= 0) {
        on_files[below(sides, sizeof(on_files) / sizeof(on_files[0]))](sides, slot);
    }
}

/* ---- both sides ---- */

static void set_up_sides(struct sides *sides, bool in_directory, uint64_t seed)
{
    memset(sides, 0, sizeof(*sides));
    sides->seed = seed;
    sides->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    char options[64];
    if (seed % 2 != 0) {
        snprintf(options, sizeof(options), "size=%d,nr_inodes=%d", PAGES * STORE_PAGE_SIZE, INODES);
    } else {
        snprintf(options, sizeof(options), "size=0,nr_inodes=0");
    }
    /* What is mounted for the test is seen by the test alone, and goes with it. */
    snprintf(sides->path, sizeof(sides->path), "/dev/shm");
    sides->is_mounted = unshare(CLONE_NEWNS) == 0 &&
                        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                        mount("store", sides->path, "tmpfs", 0, options) == 0;
    if (!sides->is_mounted) {
        snprintf(sides->path, sizeof(sides->path), "/dev/shm/hf-store-XXXXXX");
        assert_non_null(mkdtemp(sides->path));
    }
    sides->is_limited = sides->is_mounted && seed % 2 != 0;
    const struct store_limits limits = {
        sides->is_limited ? PAGES * STORE_PAGE_SIZE
        : in_directory    ? STORE_NO_LIMIT
                          : INT64_MAX,
        sides->is_limited ? INODES : STORE_NO_LIMIT,
    };
    sides->call.now.tv_sec = 1;
    for (int i = 0; i < SLOTS; i++) {
        sides->slots[i].fd = -1;
    }
    assert_int_equal(chmod(sides->path, 0755), 0);
    any_store_make(&sides->any, in_directory, &limits, &sides->call);
    sides->store = sides->any.store;
    const int root = open(sides->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    sides->slots[0] = (struct slot){.fd = root, .number = STORE_ROOT};
    assert_int_equal(sides->store->ops->hold(sides->store, STORE_ROOT), 0);
}

static void tear_down_sides(struct sides *sides)
{
    if (!sides->is_mounted) {
        any_store_empty(sides->path);
    }
    for (int i = 0; i < SLOTS; i++) {
        empty_slot(sides, &sides->slots[i]);
    }
    if (sides->is_mounted) {
        assert_int_equal(umount(sides->path), 0);
    } else {
        assert_int_equal(rmdir(sides->path), 0);
    }
    any_store_end(&sides->any);
}

/* Any sequence of operations gives what tmpfs gives, down to the free space after each. */
static void do_what_tmpfs_does(bool in_directory, uint64_t seeds)
{
    static struct sides sides;
    if (geteuid() != 0) {
        skip(); /* others are refused what a store leaves to its caller to refuse */
    }
    const char *wanted = getenv("HF_SEED");
    const uint64_t first = wanted == NULL ? 1 : strtoull(wanted, NULL, 10);
    const uint64_t last = wanted == NULL ? seeds : first;
    mode_t mask = umask(0);
    for (uint64_t seed = first; seed <= last; seed++) {
        set_up_sides(&sides, in_directory, seed);
        for (sides.step = 0; sides.step < 1000; sides.step++) {
            sides.call.now.tv_sec++;
            do_anything(&sides);
            same_slots(&sides);
            same_space(&sides);
            if (sides.step % 50 == 0) {
                same_tree(&sides, sides.slots[0].fd, STORE_ROOT);
            }
        }
        tear_down_sides(&sides);
    }
    umask(mask);
}

static void test_memory_does_what_tmpfs_does(void **state)
{
    do_what_tmpfs_does(false, 60);
}

static void test_directory_does_what_tmpfs_does(void **state)
{
    do_what_tmpfs_does(true, 12);
}

/* The kernel's clock for files stands still for some milliseconds: a new tick, so that a time that
 * is set is seen to move. */
static void wait_for_tick(void)
{
    struct timespec first;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &first);
    do {
        sched_yield();
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_nsec == first.tv_nsec && now.tv_sec == first.tv_sec);
}

/* Each operation moves the times that it moves on tmpfs. */
static void move_times_as_on_tmpfs(bool in_directory)
{
    static struct sides sides;
    if (geteuid() != 0) {
        skip();
    }
    mode_t mask = umask(0);
    const char *wanted = getenv("HF_SEED");
    /* An even one: without limits, with extended attributes. */
    set_up_sides(&sides, in_directory, wanted == NULL ? 4 : 2 * strtoull(wanted, NULL, 10));
    for (sides.step = 0; sides.step < 500; sides.step++) {
        sides.call.now.tv_sec++;
        wait_for_tick();
        do_anything(&sides);
        same_times(&sides);
    }
    tear_down_sides(&sides);
    umask(mask);
}

static void test_memory_moves_times_as_tmpfs(void **state)
{
    move_times_as_on_tmpfs(false);
}

static void test_directory_moves_times_as_tmpfs(void **state)
{
    move_times_as_on_tmpfs(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_does_what_tmpfs_does),
        cmocka_unit_test(test_directory_does_what_tmpfs_does),
        cmocka_unit_test(test_memory_moves_times_as_tmpfs),
        cmocka_unit_test(test_directory_moves_times_as_tmpfs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
