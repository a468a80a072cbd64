/*
 * Random operations on a store and, by system calls, on a tmpfs: same results, errnos, attributes,
 * listings, contents and free space. The tmpfs is mounted small for it, in a mount namespace of its
 * own, where that is allowed; else it is a directory in /dev/shm, and neither side has limits.
 */
#include "store/ram/differential.h"

#include <dirent.h>
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

static void set_up_sides(struct sides *sides, uint64_t seed)
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
        sides->is_limited ? PAGES * STORE_PAGE_SIZE : INT64_MAX,
        sides->is_limited ? INODES : UINT64_MAX,
    };
    sides->call.now.tv_sec = 1;
    for (int i = 0; i < SLOTS; i++) {
        sides->slots[i].fd = -1;
    }
    assert_int_equal(chmod(sides->path, 0755), 0);
    assert_int_equal(
        ram_store_new(&limits, &sides->call, 0755, geteuid(), getegid(), &sides->store), 0);
    const int root = open(sides->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    sides->slots[0] = (struct slot){.fd = root, .number = STORE_ROOT};
    assert_int_equal(sides->store->ops->hold(sides->store, STORE_ROOT), 0);
}

static void remove_tree(int directory)
{
    DIR *stream = fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            unlinkat(directory, entry->d_name, 0) == 0) {
            continue;
        }
        const int fd = openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        remove_tree(fd);
        close(fd);
        unlinkat(directory, entry->d_name, AT_REMOVEDIR);
    }
    closedir(stream);
}

static void tear_down_sides(struct sides *sides)
{
    if (!sides->is_mounted) {
        remove_tree(sides->slots[0].fd);
    }
    for (int i = 0; i < SLOTS; i++) {
        empty_slot(sides, &sides->slots[i]);
    }
    if (sides->is_mounted) {
        assert_int_equal(umount(sides->path), 0);
    } else {
        assert_int_equal(rmdir(sides->path), 0);
    }
    sides->store->ops->destroy(sides->store);
}

/* Any sequence of operations gives what tmpfs gives, down to the free space after each. */
static void test_does_what_tmpfs_does(void **state)
{
    static struct sides sides;
    if (geteuid() != 0) {
        skip(); /* others are refused what a store leaves to its caller to refuse */
    }
    const char *wanted = getenv("HF_SEED");
    const uint64_t first = wanted == NULL ? 1 : strtoull(wanted, NULL, 10);
    const uint64_t last = wanted == NULL ? 60 : first;
    mode_t mask = umask(0);
    for (uint64_t seed = first; seed <= last; seed++) {
        set_up_sides(&sides, seed);
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
static void test_times_move_as_on_tmpfs(void **state)
{
    static struct sides sides;
    if (geteuid() != 0) {
        skip();
    }
    mode_t mask = umask(0);
    const char *wanted = getenv("HF_SEED");
    /* An even one: without limits, with extended attributes. */
    set_up_sides(&sides, wanted == NULL ? 4 : 2 * strtoull(wanted, NULL, 10));
    for (sides.step = 0; sides.step < 500; sides.step++) {
        sides.call.now.tv_sec++;
        wait_for_tick();
        do_anything(&sides);
        same_times(&sides);
    }
    tear_down_sides(&sides);
    umask(mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_does_what_tmpfs_does),
        cmocka_unit_test(test_times_move_as_on_tmpfs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
