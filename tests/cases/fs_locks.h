/* What the tests of file locks share: two clients of one actor, that lock the same file. */
#ifndef HF_TESTS_CASES_FS_LOCKS_H
#define HF_TESTS_CASES_FS_LOCKS_H

#include "lib/test.h"
#include "lib/fs_world.h"

#include "fs/filesystem.h"

#include <errno.h>
#include <holdfast/lock.h>
#include <sched.h>
#include <sys/file.h>
#include <unistd.h>

/* The three kinds, as the command that takes a lock. */
#define KINDS 3
static const int kinds[KINDS] = {F_SETLK, F_OFD_SETLK, 0};

/* fcntl(2) with a range; all errors as they come. */
static inline int set_range(hf_fs *fs, int fd, int command, short type, off_t start, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return hf_lock(fs, fd, command, &lock, NULL);
}

static inline struct flock get_range(hf_fs *fs, int fd, int command, short type, off_t start,
                                     off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    CHECK_EQUAL(hf_lock(fs, fd, command, &lock, NULL), 0);
    return lock;
}

/* The whole file, by one of kinds[], without waiting or with @opts. */
static inline int try_lock(hf_fs *fs, int fd, int kind, short type)
{
    if (kind != 0) {
        return set_range(fs, fd, kind, type, 0, 0);
    }
    const int operation = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
    return hf_flock(fs, fd, operation | LOCK_NB, NULL);
}

static inline int wait_lock(hf_fs *fs, int fd, int kind, short type, const hf_wait_opts *opts)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
    if (kind != 0) {
        return hf_lock(fs, fd, kind == F_SETLK ? F_SETLKW : F_OFD_SETLKW, &lock, opts);
    }
    return hf_flock(fs, fd, type == F_RDLCK ? LOCK_SH : LOCK_EX, opts);
}

static inline int open_file(hf_fs *fs, const char *name)
{
    const int fd = hf_open(fs, name, O_RDWR | O_CREAT, 0666);
    CHECK(fd >= 0);
    return fd;
}

/* Two clients, with "file" open in each. */
struct pair {
    hf_fs *a, *b;
    int a_fd, b_fd;
};

static inline struct pair pair_begin(struct fs_world *world)
{
    struct pair pair = {.a = world->fs, .b = fs_world_visit(world)};
    pair.a_fd = open_file(pair.a, "file");
    pair.b_fd = open_file(pair.b, "file");
    return pair;
}

static inline void pair_end(struct pair *pair)
{
    hf_fs_detach(pair->b);
    (void)hf_close(pair->a, pair->a_fd);
}

static inline int count_waiting(void *context, const hf_lock_info *info)
{
    *(unsigned *)context += info->state == HF_LOCK_WAITING;
    return 0;
}

/* Wait until so many requests wait at the server. */
static inline void await_waiting(hf_client *client, unsigned count)
{
    unsigned waiting = 0;
    do {
        sched_yield();
        waiting = 0;
        CHECK_EQUAL(hf_lock_list(client, count_waiting, &waiting), 0);
    } while (waiting != count);
}

/* A thread that waits for the whole file. */
struct waiter {
    pthread_t thread;
    hf_fs *fs;
    int fd;
    int kind;
    short type;
    hf_wait_opts opts;
    int result;
};

static inline void *waiter_main(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = wait_lock(waiter->fs, waiter->fd, waiter->kind, waiter->type, &waiter->opts);
    return NULL;
}

static inline void waiter_start(struct waiter *waiter)
{
    CHECK_EQUAL(pthread_create(&waiter->thread, NULL, waiter_main, waiter), 0);
}

static inline int waiter_join(struct waiter *waiter)
{
    CHECK_EQUAL(pthread_join(waiter->thread, NULL), 0);
    return waiter->result;
}

/* One test: one actor does all of it. */
#define LOCKS_TEST(name)                                                                           \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        struct fs_world world;                                                                     \
        fs_world_init(&world);                                                                     \
        fs_world_play(&world, name, NULL);                                                         \
        fs_world_deinit(&world);                                                                   \
    }

#endif
