/*
 * What a client makes of the table of mounts: which mounts it keeps, for how long, and what their
 * uses cost.
 */
#include "fs/mount.h"

#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/walk.h"

#include "lib/folder.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static struct test_server server;
static hf_client *client;
static hf_fs *fs;

static const char *const directories[] = {"", "/a", "/a/b", "/c"};

static int set_up(void **state)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    char root[160];
    test_server_init(&server);
    test_server_start(&server);
    for (size_t i = 0; i < 4; i++) {
        snprintf(root, sizeof root, "%s/r%s", server.folder, directories[i]);
        assert_int_equal(mkdir(root, 0755), 0);
    }
    snprintf(root, sizeof root, "%s/r", server.folder);
    config.root = root;
    assert_int_equal(hf_client_connect(server.address, NULL, &client), 0);
    assert_int_equal(hf_fs_attach(client, &config, &fs), 0);
    return 0;
}

static int tear_down(void **state)
{
    char path[160];
    hf_fs_detach(fs);
    hf_client_unref(client);
    for (size_t i = 4; i-- > 0;) {
        snprintf(path, sizeof path, "%s/r%s", server.folder, directories[i]);
        assert_int_equal(rmdir(path), 0);
    }
    test_server_deinit(&server);
    return 0;
}

static void mount_c(const char *target)
{
    char source[160];
    snprintf(source, sizeof source, "%s/r/c", server.folder);
    assert_int_equal(hf_mount(fs, source, target, "direct", 0, NULL), 0);
}

/* Where @path leads; the reference is not kept, as everything here stays cached. */
static struct place place_of(const char *path)
{
    struct place place;
    assert_int_equal(mounts_hold(fs, HF_SHARED), 0);
    assert_int_equal(walk_to_place(fs, HF_AT_FDCWD, path, WALK_FOLLOW, &place), 0);
    assert_int_equal(mounts_release(fs), 0);
    inode_unref(place.inode);
    return place;
}

static size_t count_known(void)
{
    size_t count = 0;
    for (struct list *link = fs->mounts.all.next; link != &fs->mounts.all; link = link->next) {
        count++;
    }
    return count;
}

static void test_a_mount_is_one_object_while_it_is_in_the_table(void **state)
{
    mount_c("/a");
    struct mount *mount = place_of("/a").mount;
    assert_ptr_equal(mount->parent, fs->mounts.root);
    assert_true(mount->in_table);
    mount_c("/a"); /* on top */
    assert_ptr_equal(place_of("/a").mount->parent, mount);
    assert_int_equal(hf_umount2(fs, "/a", 0), 0);
    assert_ptr_equal(place_of("/a").mount, mount);
    assert_int_equal(hf_umount2(fs, "/a", 0), 0);
    assert_ptr_equal(place_of("/a").mount, fs->mounts.root);
    assert_int_equal(count_known(), 1);
}

static void test_numbers_are_not_used_again(void **state)
{
    mount_c("/a");
    const uint64_t first = place_of("/a").mount->number;
    assert_int_equal(hf_umount2(fs, "/a", 0), 0);
    mount_c("/a");
    assert_int_equal(place_of("/a").mount->number, first + 1);
}

static void test_a_detached_mount_stays_until_it_is_not_used(void **state)
{
    mount_c("/a");
    int fd = hf_open(fs, "/a", O_RDONLY | O_DIRECTORY, 0);
    struct mount *mount = place_of("/a").mount;
    assert_int_equal(atomic_load(&mount->uses), 1);
    assert_int_equal(hf_umount2(fs, "/a", MNT_DETACH), 0);
    assert_int_equal(count_known(), 2);
    assert_false(mount->in_table);
    assert_null(mount->parent);
    mount_c("/a/b"); /* loads the table */
    assert_int_equal(count_known(), 3);
    assert_int_equal(hf_close(fs, fd), 0);
    assert_int_equal(hf_umount2(fs, "/a/b", 0), 0);
    assert_int_equal(count_known(), 1);
}

static void test_only_the_first_use_and_the_last_reach_the_handle(void **state)
{
    const hf_wait_opts now = {.flags = HF_NOWAIT};
    mount_c("/a");
    struct mount *mount = place_of("/a").mount;
    assert_int_equal(mount_use(mount), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(mount_use(mount), 0);
    }
    for (int i = 0; i < 10; i++) {
        mount_unuse(mount);
    }
    assert_int_equal(hf_sync_acquire(mount->use_handle, HF_EXCLUSIVE, &now), -EAGAIN);
    assert_int_equal(hf_umount2(fs, "/a", 0), -EBUSY);
    mount_unuse(mount);
    assert_true(hf_sync_acquire(mount->use_handle, HF_EXCLUSIVE, &now) >= 0);
    assert_int_equal(hf_sync_release(mount->use_handle), 0);
    assert_int_equal(hf_umount2(fs, "/a", 0), 0);
}

static void test_up_and_down_through_mounts(void **state)
{
    mount_c("/a");
    mount_c("/a");
    struct place top = place_of("/a");
    struct place parent;
    assert_true(mount_is_root(&top));
    assert_ptr_equal(top.inode, place_of("/c").inode); /* one inode in two places */
    assert_false(mounts_is_root(fs, &top));

    assert_int_equal(mounts_hold(fs, HF_SHARED), 0);
    assert_int_equal(mounts_parent(fs, &top, &parent), 0);
    assert_true(mounts_is_root(fs, &parent));
    inode_unref(parent.inode);
    struct place covered;
    assert_int_equal(mount_get_point(top.mount->parent, &covered), 0);
    assert_true(mounts_are_on(fs, covered.inode));
    assert_ptr_equal(mounts_top(fs, &covered), top.mount);
    inode_ref(covered.inode);
    assert_int_equal(mounts_cross(fs, &covered), 0);
    assert_ptr_equal(covered.mount, top.mount);
    inode_unref(covered.inode);
    assert_int_equal(mounts_release(fs), 0);
}

/* ---- threads ---- */

#define WALKERS 3
#define ROUNDS 200

static atomic_bool is_over;

static void *walk_on(void *argument)
{
    hf_fs *own = argument;
    struct stat attributes;
    hf_mount_info *mounts;
    while (!atomic_load(&is_over)) {
        int fd = hf_open(own, "/a", O_PATH | O_DIRECTORY, 0);
        assert_true(fd >= 0);
        int result = hf_fstatat(own, fd, "b/..", &attributes, 0);
        assert_true(result == 0 || result == -ENOENT);
        result = hf_fstatat(own, fd, "../c", &attributes, 0);
        assert_true(result == 0 || result == -ENOENT); /* it may be detached */
        result = hf_chdir(own, "/a/b");
        assert_true(result == 0 || result == -ENOENT);
        assert_int_equal(hf_chdir(own, "/"), 0);
        assert_int_equal(hf_close(own, fd), 0);
        assert_true(hf_mounts(own, &mounts) >= 1);
        free(mounts);
    }
    return NULL;
}

/* Mounts that are in use go out of the table while threads of two clients walk, and are freed when
 * nobody can be there any more. */
static void test_threads_walk_while_mounts_come_and_go(void **state)
{
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    pthread_t threads[2 * WALKERS];
    hf_client *other;
    hf_fs *others;
    assert_int_equal(hf_client_connect(server.address, NULL, &other), 0);
    assert_int_equal(hf_fs_attach(other, &config, &others), 0);
    atomic_store(&is_over, false);
    for (int i = 0; i < 2 * WALKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, walk_on, i % 2 == 0 ? fs : others), 0);
    }
    for (int i = 0; i < (test_is_plain() ? ROUNDS : ROUNDS / 10); i++) {
        mount_c("/a");
        int result = hf_umount2(fs, "/a", 0);
        assert_true(result == 0 || result == -EBUSY);
        if (result == -EBUSY) {
            assert_int_equal(hf_umount2(fs, "/a", MNT_DETACH), 0);
        }
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2 * WALKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    mount_c("/a"); /* loads the table */
    assert_int_equal(count_known(), 2);
    hf_fs_detach(others);
    hf_client_unref(other);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        CASE(test_a_mount_is_one_object_while_it_is_in_the_table),
        CASE(test_numbers_are_not_used_again),
        CASE(test_a_detached_mount_stays_until_it_is_not_used),
        CASE(test_only_the_first_use_and_the_last_reach_the_handle),
        CASE(test_up_and_down_through_mounts),
        CASE(test_threads_walk_while_mounts_come_and_go),
    };
    return cmocka_run_group_tests_name("mount", tests, NULL, NULL);
}
