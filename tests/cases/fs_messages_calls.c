/* What operations cost: system calls, counted by tracing the process. */
#include "cases/fs_messages.h"

#include "lib/fs_world.h"
#include "lib/test.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)

#define TRACED_WRITES 100

/* The system calls of one thread, between two calls of getppid(). Without futex(2): whether it meets the
 * helper thread on a lock is up to the scheduler. */
struct traced {
    long total;
    long writes;
    long stats;
};

enum traced_operation {
    TRACE_WRITE,
    TRACE_APPEND,
    TRACE_STAT,
    TRACE_GET_XATTR,
    TRACE_OPEN,
    TRACE_MAKE_AND_REMOVE,
    TRACE_WALK,
};

static void open_and_close(hf_fs *fs, const char *path, int flags)
{
    int fd = hf_open(fs, path, flags, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void make_and_remove(hf_fs *fs)
{
    open_and_close(fs, "a/b/new", O_CREAT | O_EXCL | O_WRONLY);
    CHECK_EQUAL(hf_unlink(fs, "a/b/new"), 0);
}

static void act_traced(struct fs_world *world, void *argument)
{
    const enum traced_operation *operation = argument;
    struct stat attributes;
    struct cached cached;
    cached_open(world, &cached);
    CHECK_EQUAL(hf_write(world->fs, cached.file, "x", 1), 1);
    CHECK_EQUAL(hf_write(world->fs, cached.log, "x", 1), 1);
    again_set_xattr(&cached);
    again_get_xattr(&cached);
    CHECK_EQUAL(hf_stat(world->fs, "a/b/file", &attributes), 0);
    open_and_close(world->fs, "a/b/file", O_RDONLY);
    make_and_remove(world->fs);
    make_tree(world, TRACED_WRITES + 1);
    CHECK_EQUAL(hf_lstat(world->fs, "tree/f0", &attributes), 0);
    CHECK_EQUAL(hf_lstat(world->fs, "tree/..", &attributes), 0);
    CHECK_EQUAL(hf_stat(world->fs, "a/b/file", &attributes), 0); /* through the root again */
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) {
        _exit(77);
    }
    raise(SIGSTOP);
    syscall(SYS_getppid);
    for (int i = 0; i < TRACED_WRITES; i++) {
        if (*operation == TRACE_WRITE) {
            hf_write(world->fs, cached.file, "0123456789", 10);
        } else if (*operation == TRACE_APPEND) {
            hf_write(world->fs, cached.log, "0123456789", 10);
        } else if (*operation == TRACE_GET_XATTR) {
            again_get_xattr(&cached);
        } else if (*operation == TRACE_OPEN) {
            open_and_close(world->fs, "a/b/file", O_RDONLY);
        } else if (*operation == TRACE_MAKE_AND_REMOVE) {
            make_and_remove(world->fs);
        } else if (*operation == TRACE_WALK) {
            CHECK_EQUAL(walk_in_order(world->fs), TRACED_WRITES + 1);
        } else {
            hf_stat(world->fs, "a/b/file", &attributes);
        }
    }
    syscall(SYS_getppid);
    _exit(0);
}

static struct traced trace(pid_t pid)
{
    struct traced counted = {0};
    struct user_regs_struct registers;
    bool counting = false;
    int status;

    for (bool entry = true;; entry = !entry) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            fail_msg("the traced process ended too early");
        }
        if (!entry) {
            continue;
        }
        assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &registers), 0);
        if (registers.orig_rax == SYS_getppid) {
            if (counting) {
                return counted;
            }
            counting = true;
        } else if (counting && registers.orig_rax != SYS_futex) {
            counted.total++;
            counted.writes += registers.orig_rax == SYS_pwrite64;
            counted.stats += registers.orig_rax == SYS_newfstatat;
        }
    }
}

/* Return: false when this process may not trace. */
static bool count_system_calls(enum traced_operation operation, struct traced *counted)
{
    struct fs_world world;
    int status;

    fs_world_init(&world);
    pid_t pid = fs_world_start(&world, act_traced, &operation);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    const bool may_trace = WIFSTOPPED(status);
    if (may_trace) {
        *counted = trace(pid);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    fs_world_deinit(&world);
    return may_trace;
}

/* On a served mount: one send for what changes something, nothing for what is cached. New numbers for
 * inodes are asked for now and then. */
static void check_served_calls(void)
{
    static const struct {
        enum traced_operation operation;
        long least;
        long most;
    } expected[] = {
        {TRACE_WRITE, TRACED_WRITES, TRACED_WRITES},
        {TRACE_APPEND, TRACED_WRITES, TRACED_WRITES},
        {TRACE_STAT, 0, 0},
        {TRACE_GET_XATTR, 0, 0},
        {TRACE_OPEN, 0, 0},
        {TRACE_MAKE_AND_REMOVE, 2 * TRACED_WRITES, 2 * TRACED_WRITES + 20},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct traced counted = {0};
        assert_true(count_system_calls(expected[i].operation, &counted));
        assert_in_range(counted.total, expected[i].least, expected[i].most);
    }
}

/* One pwrite for a write or an append, nothing for a stat or for looking at attributes; an open and
 * a close for those; one call more to make a file and one to remove it. A first look at a file of
 * a directory that was read is one fstatat, and a second nothing. */
void test_system_calls(void **state)
{
    struct traced counted = {0};

    if (!test_is_plain() || !count_system_calls(TRACE_WRITE, &counted)) {
        skip(); /* the sanitizers make system calls of their own */
    }
    if (fs_world_is_served()) {
        check_served_calls();
        return;
    }
    assert_int_equal(counted.writes, TRACED_WRITES);
    assert_int_equal(counted.total, TRACED_WRITES);

    assert_true(count_system_calls(TRACE_APPEND, &counted));
    assert_int_equal(counted.writes, TRACED_WRITES);
    assert_int_equal(counted.total, TRACED_WRITES);

    assert_true(count_system_calls(TRACE_STAT, &counted));
    assert_int_equal(counted.total, 0);

    assert_true(count_system_calls(TRACE_GET_XATTR, &counted));
    assert_int_equal(counted.total, 0);

    assert_true(count_system_calls(TRACE_OPEN, &counted));
    assert_int_equal(counted.total, 2 * TRACED_WRITES);

    assert_true(count_system_calls(TRACE_MAKE_AND_REMOVE, &counted));
    assert_int_equal(counted.total, 4 * TRACED_WRITES);

    /* What takes messages waits for them in ways that cannot be foretold. */
    assert_true(count_system_calls(TRACE_WALK, &counted));
    assert_int_equal(counted.stats, TRACED_WRITES);
}

#else

void test_system_calls(void **state)
{
    skip(); /* the registers are read for one architecture only */
}

#endif
