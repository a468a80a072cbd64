/*
 * What may be done in a mount, who is in the way of unmounting it, and that nobody gets out of it.
 */
#include "cases/fs_mounts.h"
#include "client/client.h"
#include "fs/ids.h"
#include "lib/test.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct fs_world world;

static int set_up(void **state)
{
    fs_world_init(&world);
    return 0;
}

static int tear_down(void **state)
{
    fs_world_deinit(&world);
    return 0;
}

/* ---- what the actors do ---- */

/* The directory outside, mounted at /m. */
static void mount_outside(struct fs_world *here, unsigned long flags)
{
    CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
    CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", flags), 0);
}

/* ---- read-only ---- */

static void expect_names_refused(hf_fs *fs)
{
    /* What is found first is what Linux finds first. */
    CHECK_EQUAL(hf_mkdir(fs, "/ro/new", 0755), -EROFS);
    CHECK_EQUAL(hf_mkdir(fs, "/ro/file", 0755), -EEXIST);
    CHECK_EQUAL(hf_mkdir(fs, "/ro/missing/new", 0755), -ENOENT);
    CHECK_EQUAL(hf_mknod(fs, "/ro/new", S_IFREG | 0644, 0), -EROFS);
    CHECK_EQUAL(hf_mknod(fs, "/ro/new/", S_IFREG | 0644, 0), -ENOENT);
    CHECK_EQUAL(hf_mkfifo(fs, "/ro/file", 0644), -EEXIST);
    CHECK_EQUAL(hf_symlink(fs, "x", "/ro/new"), -EROFS);
    CHECK_EQUAL(hf_symlink(fs, "x", "/ro/link"), -EEXIST);
    CHECK_EQUAL(hf_link(fs, "/ro/file", "/ro/new"), -EROFS);
    CHECK_EQUAL(hf_link(fs, "/file", "/ro/new"), -EROFS);
    CHECK_EQUAL(hf_link(fs, "/file", "/ro/file"), -EEXIST);
    CHECK_EQUAL(hf_link(fs, "/ro/file", "/new"), -EXDEV);
    CHECK_EQUAL(hf_link(fs, "/ro/dir", "/new"), -EXDEV);
    CHECK_EQUAL(hf_link(fs, "/ro/missing", "/ro/new"), -ENOENT);
    CHECK_EQUAL(hf_unlink(fs, "/ro/file"), -EROFS);
    CHECK_EQUAL(hf_unlink(fs, "/ro/missing"), -EROFS);
    CHECK_EQUAL(hf_unlink(fs, "/ro/dir"), -EROFS);
    CHECK_EQUAL(hf_unlink(fs, "/ro/dir/."), -EISDIR);
    CHECK_EQUAL(hf_rmdir(fs, "/ro/dir"), -EROFS);
    CHECK_EQUAL(hf_rmdir(fs, "/ro/missing"), -EROFS);
    CHECK_EQUAL(hf_rmdir(fs, "/ro/dir/."), -EINVAL);
    CHECK_EQUAL(hf_rename(fs, "/ro/file", "/ro/new"), -EROFS);
    CHECK_EQUAL(hf_rename(fs, "/ro/missing", "/ro/new"), -EROFS);
    CHECK_EQUAL(hf_rename(fs, "/ro/file", "/new"), -EXDEV);
    CHECK_EQUAL(hf_rename(fs, "/ro/.", "/ro/new"), -EBUSY);
    CHECK_EQUAL(hf_rename(fs, "/file", "/ro/."), -EXDEV);
}

static void expect_opens_refused(hf_fs *fs)
{
    int fd;
    CHECK_EQUAL(hf_open(fs, "/ro/file", O_WRONLY, 0), -EROFS);
    CHECK_EQUAL(hf_open(fs, "/ro/file", O_RDWR, 0), -EROFS);
    CHECK_EQUAL(hf_open(fs, "/ro/file", O_RDONLY | O_TRUNC, 0), -EROFS);
    CHECK_EQUAL(hf_open(fs, "/ro/file", O_RDWR | O_CREAT, 0644), -EROFS);
    CHECK_EQUAL(hf_open(fs, "/ro/file", O_RDWR | O_CREAT | O_EXCL, 0644), -EEXIST);
    CHECK_EQUAL(hf_open(fs, "/ro/new", O_RDONLY | O_CREAT, 0644), -EROFS);
    CHECK_EQUAL(hf_open(fs, "/ro/new", O_RDWR, 0), -ENOENT);
    CHECK_EQUAL(hf_open(fs, "/ro/dir", O_RDWR, 0), -EISDIR);
    CHECK_EQUAL(hf_open(fs, "/ro/dir", O_RDONLY | O_CREAT, 0644), -EISDIR);
    CHECK_EQUAL(hf_open(fs, "/ro/dir", O_RDWR | O_TMPFILE, 0644), -EROFS);
    CHECK_EQUAL(hf_open(fs, "/ro/file", O_RDWR | O_TMPFILE, 0644), -ENOTDIR);
    fd = hf_open(fs, "/ro/file", O_RDONLY | O_CREAT, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_fchmod(fs, fd, 0600), -EROFS);
    CHECK_EQUAL(hf_fchown(fs, fd, (uid_t)-1, (gid_t)-1), -EROFS);
    CHECK_EQUAL(hf_futimens(fs, fd, NULL), -EROFS);
    CHECK_EQUAL(hf_fsetxattr(fs, fd, "user.a", "x", 1, 0), -EROFS);
    CHECK_EQUAL(hf_fremovexattr(fs, fd, "user.a"), -EROFS);
    CHECK_EQUAL(hf_ftruncate(fs, fd, 0), -EINVAL);
    CHECK_EQUAL(hf_write(fs, fd, "x", 1), -EBADF);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void expect_changes_refused(hf_fs *fs)
{
    const struct timespec bad_times[2] = {{.tv_nsec = -5}, {.tv_nsec = 0}};
    struct statfs numbers;
    CHECK_EQUAL(hf_chmod(fs, "/ro/file", 0600), -EROFS);
    CHECK_EQUAL(hf_chmod(fs, "/ro/missing", 0600), -ENOENT);
    CHECK_EQUAL(hf_lchown(fs, "/ro/link", (uid_t)-1, (gid_t)-1), -EROFS);
    CHECK_EQUAL(hf_utimensat(fs, HF_AT_FDCWD, "/ro/file", NULL, 0), -EROFS);
    CHECK_EQUAL(hf_utimensat(fs, HF_AT_FDCWD, "/ro/file", bad_times, 0), -EINVAL);
    CHECK_EQUAL(hf_truncate(fs, "/ro/file", 0), -EROFS);
    CHECK_EQUAL(hf_truncate(fs, "/ro/dir", 0), -EISDIR);
    CHECK_EQUAL(hf_truncate(fs, "/ro/missing", 0), -ENOENT);
    CHECK_EQUAL(hf_setxattr(fs, "/ro/file", "user.a", "x", 1, 0), -EROFS);
    CHECK_EQUAL(hf_removexattr(fs, "/ro/file", "user.a"), -EROFS);
    CHECK_EQUAL(hf_access(fs, "/ro/file", W_OK), -EROFS);
    CHECK_EQUAL(hf_access(fs, "/ro/dir", W_OK), -EROFS);
    CHECK_EQUAL(hf_access(fs, "/ro/fifo", W_OK), 0);
    CHECK_EQUAL(hf_access(fs, "/ro/file", R_OK), 0);
    CHECK_EQUAL(hf_statfs(fs, "/ro/file", &numbers), 0);
    CHECK((numbers.f_flags & ST_RDONLY) != 0);
    CHECK_EQUAL(hf_statfs(fs, "/file", &numbers), 0);
    CHECK((numbers.f_flags & ST_RDONLY) == 0);
}

static void act_read_only(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    char source[160];
    CHECK_EQUAL(hf_mkdir(fs, "/rw", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/rw/dir", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/ro", 0755), 0);
    make_file(fs, "/file");
    make_file(fs, "/rw/file");
    CHECK_EQUAL(hf_mkfifo(fs, "/rw/fifo", 0644), 0);
    CHECK_EQUAL(hf_symlink(fs, "file", "/rw/link"), 0);
    snprintf(source, sizeof source, "%s/rw", here->root);
    CHECK_EQUAL(mount_direct(fs, source, "/ro", MS_RDONLY), 0);

    expect_names_refused(fs);
    expect_opens_refused(fs);
    expect_changes_refused(fs);

    /* The same directory through a mount that is not read-only. */
    make_file(fs, "/rw/new");
    CHECK_EQUAL(look(fs, "/ro/new"), 0);
    CHECK_EQUAL(hf_unlink(fs, "/rw/new"), 0);
    CHECK_EQUAL(look(fs, "/ro/new"), -ENOENT);
    CHECK_EQUAL(number_of(fs, "/ro/file"), number_of(fs, "/rw/file"));
}

static void test_a_read_only_mount_says_so_where_linux_does(void **state)
{
    fs_world_play(&world, act_read_only, NULL);
}

static void act_cross(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    mount_outside(here, 0);
    make_file(fs, "/m/file");
    make_file(fs, "/file");
    CHECK_EQUAL(hf_rename(fs, "/file", "/m/other"), -EXDEV);
    CHECK_EQUAL(hf_rename(fs, "/m/file", "/other"), -EXDEV);
    CHECK_EQUAL(hf_link(fs, "/file", "/m/other"), -EXDEV);
    CHECK_EQUAL(hf_link(fs, "/file", "/m/file"), -EEXIST);
    CHECK_EQUAL(hf_rename(fs, "/m/file", "/m/other"), 0);
    CHECK_EQUAL(hf_link(fs, "/m/other", "/m/file"), 0);
    /* Two mounts of one directory are two. */
    CHECK_EQUAL(hf_mkdir(fs, "/n", 0755), 0);
    CHECK_EQUAL(mount_direct(fs, here->outside, "/n", 0), 0);
    CHECK_EQUAL(hf_rename(fs, "/m/file", "/n/third"), -EXDEV);
    CHECK_EQUAL(number_of(fs, "/n/file"), number_of(fs, "/m/file"));
    CHECK_EQUAL(hf_unlink(fs, "/n/file"), 0);
    CHECK_EQUAL(look(fs, "/m/file"), -ENOENT);
    /* A file without a name gets one in its own mount only. */
    int fd = hf_open(fs, "/m", O_TMPFILE | O_RDWR, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_linkat(fs, fd, "", HF_AT_FDCWD, "/n/named", AT_EMPTY_PATH), -EXDEV);
    CHECK_EQUAL(hf_linkat(fs, fd, "", HF_AT_FDCWD, "/m/named", AT_EMPTY_PATH), 0);
    CHECK_EQUAL(look(fs, "/n/named"), 0);
}

static void test_names_do_not_go_from_mount_to_mount(void **state)
{
    fs_world_play(&world, act_cross, NULL);
}

/* ---- no way out ---- */

/* /all is the whole root again and /part its directory inner. What is moved out of inner through
 * one of the others has left /part with those that are in it. */
static void act_escape(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    char source[160];
    CHECK_EQUAL(hf_mkdir(fs, "/all", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/part", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/inner", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/inner/up", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/inner/up/down", 0755), 0);
    make_file(fs, "/secret");
    snprintf(source, sizeof source, "%s/inner", here->root);
    CHECK_EQUAL(mount_direct(fs, here->root, "/all", 0), 0);
    CHECK_EQUAL(mount_direct(fs, source, "/part", 0), 0);
    CHECK_EQUAL(number_of(fs, "/part/up/.."), number_of(fs, "/inner"));

    int up = hf_open(fs, "/part/up", O_PATH | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_chdir(fs, "/part/up/down"), 0);
    CHECK_EQUAL(look(fs, "../../.."), 0);
    CHECK_EQUAL(hf_rename(fs, "/all/inner/up", "/all/moved"), 0);
    struct stat attributes;
    char path[PATH_MAX];
    CHECK_EQUAL(hf_fstatat(fs, up, "..", &attributes, 0), -ENOENT);
    CHECK_EQUAL(hf_fstatat(fs, up, "../secret", &attributes, 0), -ENOENT);
    /* What was known of `down` has not changed, but where that leads to has. */
    CHECK_EQUAL(look(fs, ".."), -ENOENT);
    CHECK_EQUAL(look(fs, "../../secret"), -ENOENT);
    CHECK_EQUAL(hf_getcwd(fs, path, sizeof path), -ENOENT);
    CHECK_EQUAL(look(fs, "."), 0);
    CHECK_EQUAL(hf_rename(fs, "/all/moved", "/inner/back"), -EXDEV);
    CHECK_EQUAL(hf_rename(fs, "/moved", "/inner/back"), 0);
    CHECK_EQUAL(number_of(fs, ".."), number_of(fs, "/part/back"));
    CHECK_EQUAL(hf_getcwd(fs, path, sizeof path), strlen("/part/back/down") + 1);
    CHECK_EQUAL(hf_close(fs, up), 0);

    /* Links start at the top of all, and end there. */
    CHECK_EQUAL(hf_symlink(fs, "../../../../secret", "/part/back/out"), 0);
    CHECK_EQUAL(number_of(fs, "/part/back/out"), number_of(fs, "/secret"));
}

static void test_nothing_leads_out_of_a_mount(void **state)
{
    fs_world_play(&world, act_escape, NULL);
}

/* ---- busy ---- */

static int use_by_file(hf_fs *fs)
{
    return hf_open(fs, "/m/file", O_RDWR, 0) < 0;
}

static int use_by_path_file(hf_fs *fs)
{
    return hf_open(fs, "/m", O_PATH, 0) < 0;
}

static int use_by_directory(hf_fs *fs)
{
    return hf_chdir(fs, "/m");
}

static int stop_closing(hf_fs *fs)
{
    return hf_close(fs, 0);
}

static int stop_leaving(hf_fs *fs)
{
    return hf_chdir(fs, "/");
}

/* Two open files, one of them closed again, and a copy of the other's descriptor. */
static int use_by_several(hf_fs *fs)
{
    CHECK_EQUAL(hf_open(fs, "/m/file", O_RDWR, 0), 0);
    CHECK_EQUAL(hf_open(fs, "/m/file", O_RDWR, 0), 1);
    CHECK_EQUAL(hf_close(fs, 0), 0);
    CHECK_EQUAL(hf_dup(fs, 1), 0);
    return hf_close(fs, 1);
}

static const struct {
    int (*use)(hf_fs *fs);
    int (*stop)(hf_fs *fs);
} uses[] = {
    {use_by_file, stop_closing},
    {use_by_path_file, stop_closing},
    {use_by_directory, stop_leaving},
    {use_by_several, stop_closing},
};

#define USES (sizeof uses / sizeof uses[0])

static void act_use(struct fs_world *here, void *argument)
{
    mount_outside(here, 0);
    make_file(here->fs, "/m/file");
    for (size_t i = 0; i < USES; i++) {
        CHECK_EQUAL(uses[i].use(here->fs), 0);
        CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
        fs_world_meet(here); /* the other tries too */
        fs_world_meet(here);
        CHECK_EQUAL(uses[i].stop(here->fs), 0);
        fs_world_meet(here); /* and again */
        fs_world_meet(here);
        CHECK_EQUAL(look(here->fs, "/m/file"), -ENOENT);
        CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", 0), 0);
    }
}

static void act_try_to_unmount(struct fs_world *here, void *argument)
{
    for (size_t i = 0; i < USES; i++) {
        fs_world_meet(here);
        CHECK_EQUAL(look(here->fs, "/m/file"), 0);
        CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
        CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
        CHECK_EQUAL(look(here->fs, "/m/file"), 0);
        fs_world_meet(here);
        fs_world_meet(here);
        /* The other has used it and would again, but does not now. */
        CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
        fs_world_meet(here);
    }
}

static void test_a_mount_in_use_is_busy_in_all_clients(void **state)
{
    pid_t pid = fs_world_start(&world, act_use, NULL);
    fs_world_play(&world, act_try_to_unmount, NULL);
    fs_world_wait(pid);
}

/* A child that has inherited an open file and does nothing is in the way as its parent was. */
static void act_fork(struct fs_world *here, void *plain)
{
    int ready[2];
    int done[2];
    char byte = 0;
    mount_outside(here, 0);
    make_file(here->fs, "/m/file");
    CHECK_EQUAL(hf_open(here->fs, "/m/file", O_RDWR, 0), 0);
    CHECK_EQUAL(pipe(ready), 0);
    CHECK_EQUAL(pipe(done), 0);
    pid_t pid = *(bool *)plain ? fork() : hf_fork();
    if (pid == 0) {
        alarm(FS_WORLD_PATIENCE_SECONDS);
        CHECK_EQUAL(write(ready[1], "r", 1), 1);
        CHECK_EQUAL(read(done[0], &byte, 1), 1);
        CHECK_EQUAL(hf_write(here->fs, 0, "child", 5), 5);
        fs_world_leave(here);
        _exit(0);
    }
    CHECK_EQUAL(read(ready[0], &byte, 1), 1);
    CHECK_EQUAL(hf_close(here->fs, 0), 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
    CHECK_EQUAL(write(done[1], "d", 1), 1);
    int status;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(done[i]);
    }
}

static void test_a_child_that_inherits_a_use_is_in_the_way(void **state)
{
    bool plain = false;
    fs_world_play(&world, act_fork, &plain);
}

static void test_so_is_one_of_a_plain_fork(void **state)
{
    bool plain = true;
    fs_world_play(&world, act_fork, &plain);
}

/* ---- a child that has not come back from fork() yet ---- */

static int held_back = -1; /* a pipe's end: the child goes on when something can be read */

static void hold_child_back(void)
{
    char byte;
    if (held_back >= 0) {
        CHECK_EQUAL(read(held_back, &byte, 1), 1);
    }
}

static uint64_t count_requests(hf_client *client)
{
    hf_client_stats stats;
    hf_client_get_stats(client, &stats);
    return stats.acquires_sent;
}

struct release {
    hf_client *client;
    uint64_t requests_before;
    int fd;
};

/* Let the child go on when another request has gone to the server: what the child asks for itself
 * comes after it. */
static void *release_child(void *argument)
{
    const struct release *release = argument;
    while (count_requests(release->client) == release->requests_before) {
        sched_yield();
    }
    CHECK_EQUAL(write(release->fd, "g", 1), 1);
    return NULL;
}

static hf_sync *open_use_handle(struct fs_world *here)
{
    hf_mount_info *mounts;
    hf_sync *handle;
    CHECK_EQUAL(hf_mounts(here->fs, &mounts), 2);
    const hf_id id = fs_id_of_mount_use(mounts[1].number);
    free(mounts);
    CHECK_EQUAL(client_open_reserved(here->client, id, HF_SYNC_LOCK, &handle), 0);
    return handle;
}

static void act_fork_slowly(struct fs_world *here, void *argument)
{
    const hf_wait_opts now = {.flags = HF_NOWAIT};
    struct release release = {.client = here->client};
    pthread_t thread;
    int go[2];
    int done[2];
    int status;
    char byte;
    mount_outside(here, 0);
    make_file(here->fs, "/m/file");
    CHECK_EQUAL(hf_open(here->fs, "/m/file", O_RDWR, 0), 0);
    hf_sync *use_handle = open_use_handle(here);
    CHECK_EQUAL(pipe(go), 0);
    CHECK_EQUAL(pipe(done), 0);
    held_back = go[0];
    pid_t pid = hf_fork();
    if (pid == 0) {
        alarm(FS_WORLD_PATIENCE_SECONDS);
        CHECK_EQUAL(read(done[0], &byte, 1), 1);
        CHECK_EQUAL(hf_write(here->fs, 0, "child", 5), 5);
        CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
        CHECK_EQUAL(hf_close(here->fs, 0), 0);
        CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
        hf_sync_close(use_handle);
        fs_world_leave(here);
        _exit(0);
    }
    CHECK_EQUAL(hf_close(here->fs, 0), 0);
    release.fd = go[1];
    release.requests_before = count_requests(here->client);
    CHECK_EQUAL(pthread_create(&thread, NULL, release_child, &release), 0);
    CHECK_EQUAL(hf_sync_acquire(use_handle, HF_EXCLUSIVE, &now), -EAGAIN);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(write(done[1], "d", 1), 1);
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EINVAL);
    hf_sync_close(use_handle);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(done[i]);
    }
}

static void test_a_child_uses_what_it_inherits_from_its_first_moment(void **state)
{
    fs_world_play(&world, act_fork_slowly, NULL);
}

/* Nothing is open there when the child is made, so the child is not in the way, whether it answers
 * or not. */
static void act_fork_without_use(struct fs_world *here, void *argument)
{
    const hf_wait_opts now = {.flags = HF_NOWAIT};
    int go[2];
    int status;
    alarm(10);
    mount_outside(here, 0);
    make_file(here->fs, "/m/file");
    hf_sync *use_handle = open_use_handle(here);
    CHECK_EQUAL(pipe(go), 0);
    held_back = go[0];
    pid_t pid = hf_fork();
    if (pid == 0) {
        _exit(0);
    }
    CHECK(hf_sync_acquire(use_handle, HF_EXCLUSIVE, &now) >= 0);
    CHECK_EQUAL(hf_sync_release(use_handle), 0);
    CHECK_EQUAL(write(go[1], "g", 1), 1);
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);
    hf_sync_close(use_handle);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
    close(go[0]);
    close(go[1]);
}

static void test_a_child_uses_nothing_that_its_parent_does_not_use(void **state)
{
    fs_world_play(&world, act_fork_without_use, NULL);
}

struct waiter {
    hf_sync *use_handle;
    hf_cancel *cancel;
};

static void *wait_for_the_use(void *argument)
{
    const struct waiter *waiter = argument;
    const hf_wait_opts opts = {.cancel = waiter->cancel};
    CHECK_EQUAL(hf_sync_acquire(waiter->use_handle, HF_EXCLUSIVE, &opts), -ECANCELED);
    return NULL;
}

static uint64_t count_recalls(hf_client *client)
{
    hf_client_stats stats;
    hf_client_get_stats(client, &stats);
    return stats.recalls_received;
}

/* Somebody waits for what the parent uses, and is first: the child has its use when that is over. */
static void act_fork_before_waiter(struct fs_world *here, void *argument)
{
    struct waiter waiter;
    hf_client *other;
    pthread_t thread;
    int status;
    mount_outside(here, 0);
    make_file(here->fs, "/m/file");
    CHECK_EQUAL(hf_open(here->fs, "/m/file", O_RDWR, 0), 0);
    hf_sync *use_handle = open_use_handle(here);
    CHECK_EQUAL(hf_client_connect(here->server.address, NULL, &other), 0);
    CHECK_EQUAL(
        client_open_reserved(other, hf_sync_id(use_handle), HF_SYNC_LOCK, &waiter.use_handle), 0);
    CHECK_EQUAL(hf_cancel_new(other, &waiter.cancel), 0);
    const uint64_t recalls = count_recalls(here->client);
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_for_the_use, &waiter), 0);
    while (count_recalls(here->client) == recalls) {
        sched_yield();
    }
    pid_t pid = hf_fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_EQUAL(hf_write(here->fs, 0, "child", 5), 5);
        CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
        _exit(0);
    }
    hf_cancel_fire(waiter.cancel);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(hf_close(here->fs, 0), 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
    hf_cancel_free(waiter.cancel);
    hf_sync_close(waiter.use_handle);
    hf_client_unref(other);
    hf_sync_close(use_handle);
}

static void test_a_fork_does_not_fail_for_who_waits_for_the_mount(void **state)
{
    fs_world_play(&world, act_fork_before_waiter, NULL);
}

static void act_use_and_stay(struct fs_world *here, void *argument)
{
    mount_outside(here, 0);
    CHECK_EQUAL(hf_chdir(here->fs, "/m"), 0);
    fs_world_meet(here);
    for (;;) {
        pause();
    }
}

static void act_unmount_after_death(struct fs_world *here, void *pid)
{
    int status;
    fs_world_meet(here);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
    CHECK_EQUAL(kill(*(pid_t *)pid, SIGKILL), 0);
    fs_world_meet(here); /* it has been waited for */
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
    (void)status;
}

static void test_the_dead_are_in_nobodys_way(void **state)
{
    int status;
    fs_world_set_meeting(&world, 2);
    pid_t victim = fs_world_start(&world, act_use_and_stay, NULL);
    pid_t pid = fs_world_start(&world, act_unmount_after_death, &victim);
    assert_int_equal(waitpid(victim, &status, 0), victim);
    assert_true(WIFSIGNALED(status));
    fs_world_meet(&world);
    fs_world_wait(pid);
}

/* ---- detached ---- */

static void act_stay_inside(struct fs_world *here, void *argument)
{
    hf_fs *fs = here->fs;
    char path[PATH_MAX];
    char byte;
    mount_outside(here, 0);
    CHECK_EQUAL(hf_mkdir(fs, "/m/sub", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "/m/sub/n", 0755), 0);
    CHECK_EQUAL(mount_direct(fs, here->root, "/m/sub/n", 0), 0);
    make_file(fs, "/file");
    int fd = hf_open(fs, "/m/sub/log", O_CREAT | O_RDWR, 0644);
    int inner = hf_open(fs, "/m/sub/n", O_PATH, 0);
    CHECK_EQUAL(hf_chdir(fs, "/m/sub"), 0);
    const ino_t root = number_of(fs, "..");
    fs_world_meet(here); /* the other detaches it */
    fs_world_meet(here);
    CHECK_EQUAL(look(fs, "/m/sub"), -ENOENT);
    CHECK_EQUAL(hf_write(fs, fd, "x", 1), 1);
    CHECK_EQUAL(hf_pread(fs, fd, &byte, 1, 0), 1);
    CHECK_EQUAL(hf_getcwd(fs, path, sizeof path), -ENOENT);
    CHECK_EQUAL(look(fs, "log"), 0);
    make_file(fs, "new");
    CHECK_EQUAL(number_of(fs, ".."), root);
    CHECK_EQUAL(number_of(fs, "../../.."), root);
    CHECK_EQUAL(look(fs, "/file"), 0);
    /* What was mounted in it has gone with it, and is on its own. */
    CHECK_EQUAL(look(fs, "n/file"), -ENOENT);
    struct stat attributes;
    CHECK_EQUAL(hf_fstatat(fs, inner, "file", &attributes, 0), 0);
    CHECK_EQUAL(hf_fstatat(fs, inner, "..", &attributes, 0), 0);
    CHECK_EQUAL(attributes.st_ino, number_of(fs, "/"));
    CHECK_EQUAL(mount_direct(fs, here->outside, "n", 0), -EINVAL);
    CHECK_EQUAL(hf_umount2(fs, "..", MNT_DETACH), -EINVAL);
    CHECK_EQUAL(hf_rename(fs, "new", "/new"), -EXDEV);
    /* Not the same mount as one of the same directory in the same place. */
    CHECK_EQUAL(mount_direct(fs, here->outside, "/m", 0), 0);
    CHECK_EQUAL(hf_rename(fs, "new", "/m/new"), -EXDEV);
    CHECK_EQUAL(hf_getcwd(fs, path, sizeof path), -ENOENT);
    CHECK_EQUAL(look(fs, "/m/new"), -ENOENT);
    CHECK_EQUAL(look(fs, "/m/sub/new"), 0);
    CHECK_EQUAL(hf_umount2(fs, "/m", 0), 0);
    CHECK_EQUAL(hf_chdir(fs, "/"), 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    CHECK_EQUAL(hf_close(fs, inner), 0);
}

static void act_detach(struct fs_world *here, void *argument)
{
    fs_world_meet(here);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EBUSY);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", MNT_DETACH), 0);
    CHECK_EQUAL(look(here->fs, "/m/sub"), -ENOENT);
    CHECK_EQUAL(hf_rmdir(here->fs, "/m"), 0);
    CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
    fs_world_meet(here);
}

static void test_what_is_open_in_a_detached_mount_goes_on(void **state)
{
    pid_t pid = fs_world_start(&world, act_stay_inside, NULL);
    fs_world_play(&world, act_detach, NULL);
    fs_world_wait(pid);
}

int main(void)
{
    /* Before any client is made, so that it comes before what the clients do in a child. */
    assert_int_equal(pthread_atfork(NULL, NULL, hold_child_back), 0);
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        CASE(test_a_read_only_mount_says_so_where_linux_does),
        CASE(test_names_do_not_go_from_mount_to_mount),
        CASE(test_nothing_leads_out_of_a_mount),
        CASE(test_a_mount_in_use_is_busy_in_all_clients),
        CASE(test_a_child_that_inherits_a_use_is_in_the_way),
        CASE(test_so_is_one_of_a_plain_fork),
        CASE(test_a_child_uses_what_it_inherits_from_its_first_moment),
        CASE(test_a_child_uses_nothing_that_its_parent_does_not_use),
        CASE(test_a_fork_does_not_fail_for_who_waits_for_the_mount),
        CASE(test_the_dead_are_in_nobodys_way),
        CASE(test_what_is_open_in_a_detached_mount_goes_on),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("fs mounts in use", tests, NULL, NULL);
}
