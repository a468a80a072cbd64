/*
 * File locks and other processes: what a child of a fork has, what goes with an open file that is
 * exported, and what is left of a process that was killed.
 */
#include "fs_locks.h"

#include <holdfast/export.h>
#include <signal.h>
#include <sys/wait.h>

/* What the parent and its child tell each other, by pipes that end when one of them does. */
struct talk {
    int to_child[2];
    int to_parent[2];
};

static void talk_begin(struct talk *talk)
{
    CHECK_EQUAL(pipe(talk->to_child), 0);
    CHECK_EQUAL(pipe(talk->to_parent), 0);
}

static void talk_end(struct talk *talk)
{
    for (int i = 0; i < 2; i++) {
        close(talk->to_child[i]);
        close(talk->to_parent[i]);
    }
}

static void tell(const int ends[2])
{
    CHECK_EQUAL(write(ends[1], "", 1), 1);
}

static void hear(const int ends[2])
{
    char byte;
    CHECK_EQUAL(read(ends[0], &byte, 1), 1);
}

static pid_t fork_as(bool plain)
{
    const pid_t pid = plain ? fork() : hf_fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(FS_WORLD_PATIENCE_SECONDS);
    }
    return pid;
}

static void expect_end(pid_t pid, int expected)
{
    int status;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, expected);
}

/* ---- fork ---- */

/* POSIX locks are the parent's alone: they are in the child's way, with the parent's pid, and stay
 * when the child closes the file. */
static void posix_is_not_inherited(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int round = 0; round < 4; round++) {
        CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_WRLCK, 0, 10), 0);
        if (round >= 2) { /* the table is at the server */
            CHECK_EQUAL(set_range(pair.b, pair.b_fd, F_SETLK, F_RDLCK, 0, 10), -EAGAIN);
        }
        const pid_t parent = getpid();
        const pid_t pid = fork_as(round % 2 == 0);
        if (pid == 0) {
            CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_RDLCK, 0, 10), -EAGAIN);
            CHECK_EQUAL(get_range(pair.a, pair.a_fd, F_GETLK, F_RDLCK, 0, 0).l_pid, parent);
            CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_WRLCK, 20, 10), 0);
            CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_UNLCK, 0, 10), 0);
            CHECK_EQUAL(hf_close(pair.a, pair.a_fd), 0);
            _exit(0);
        }
        expect_end(pid, 0);
        const struct flock found = get_range(pair.b, pair.b_fd, F_GETLK, F_RDLCK, 0, 0);
        CHECK_EQUAL(found.l_type, F_WRLCK);
        CHECK_EQUAL(found.l_len, 10);
        CHECK_EQUAL(found.l_pid, parent);
        CHECK_EQUAL(set_range(pair.b, pair.b_fd, F_SETLK, F_WRLCK, 20, 10), 0);
        CHECK_EQUAL(set_range(pair.b, pair.b_fd, F_SETLK, F_UNLCK, 20, 10), 0);
        CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_UNLCK, 0, 0), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(posix_is_not_inherited)

/* The others are of the open file, which both have: either gives them up for both, and they end when
 * both have closed it. */
static void open_files_are_inherited(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int round = 0; round < 8; round++) {
        const int kind = kinds[1 + round % 2];
        const int fd = open_file(pair.a, "file");
        struct talk talk;
        talk_begin(&talk);
        CHECK_EQUAL(try_lock(pair.a, fd, kind, F_WRLCK), 0);
        if (round >= 4) { /* the table is at the server */
            CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_RDLCK), -EAGAIN);
        }
        const pid_t pid = fork_as(round % 4 >= 2);
        if (pid == 0) {
            CHECK_EQUAL(try_lock(pair.a, fd, kind, F_WRLCK), 0); /* it has it */
            tell(talk.to_parent);
            hear(talk.to_child);
            CHECK_EQUAL(try_lock(pair.a, fd, kind, F_UNLCK), 0);
            tell(talk.to_parent);
            hear(talk.to_child);
            CHECK_EQUAL(try_lock(pair.a, fd, kind, F_RDLCK), 0);
            tell(talk.to_parent);
            hear(talk.to_child);
            _exit(0);
        }
        hear(talk.to_parent);
        CHECK_EQUAL(try_lock(pair.a, fd, kind, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_RDLCK), -EAGAIN);
        tell(talk.to_child);
        hear(talk.to_parent);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_UNLCK), 0);
        tell(talk.to_child);
        hear(talk.to_parent);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_WRLCK), -EAGAIN);
        CHECK_EQUAL(hf_close(pair.a, fd), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_WRLCK), -EAGAIN);
        tell(talk.to_child);
        /* The child exits without a word: its connection's end is. */
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kind, F_WRLCK, NULL), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_UNLCK), 0);
        expect_end(pid, 0);
        talk_end(&talk);
    }
    pair_end(&pair);
}
LOCKS_TEST(open_files_are_inherited)

/* Also those that are taken after the fork, by whichever process; the other may be killed then. */
static void a_killed_child_leaves_them(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int i = 1; i < KINDS; i++) {
        const int kind = kinds[i];
        const int fd = open_file(pair.a, "file");
        struct talk talk;
        talk_begin(&talk);
        const pid_t pid = fork_as(false);
        if (pid == 0) {
            CHECK_EQUAL(try_lock(pair.a, fd, kind, F_WRLCK), 0);
            CHECK_EQUAL(set_range(pair.a, fd, F_SETLK, F_UNLCK, 0, 0), 0);
            tell(talk.to_parent);
            pause();
        }
        hear(talk.to_parent);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_RDLCK), -EAGAIN);
        CHECK_EQUAL(kill(pid, SIGKILL), 0);
        expect_end(pid, SIGKILL);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_RDLCK), -EAGAIN);
        CHECK_EQUAL(try_lock(pair.a, fd, kind, F_RDLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_RDLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_UNLCK), 0);
        CHECK_EQUAL(hf_close(pair.a, fd), 0);
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kind, F_WRLCK, NULL), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_UNLCK), 0);
        talk_end(&talk);
    }
    pair_end(&pair);
}
LOCKS_TEST(a_killed_child_leaves_them)

/* ---- export ---- */

/* An open file that is exported takes its locks along; POSIX ones stay. */
static void exporting(struct fs_world *world, void *argument)
{
    char bytes[HF_EXPORT_FILE_SIZE];
    struct pair pair = pair_begin(world);
    hf_fs *third = fs_world_visit(world);
    const int third_fd = open_file(third, "file");
    for (int i = 0; i < KINDS; i++) {
        const int kind = kinds[i];
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kind, F_WRLCK), 0);
        CHECK_EQUAL(hf_export_file(pair.a, pair.a_fd, bytes, sizeof bytes), sizeof bytes);
        const int fd = hf_import_file(pair.b, bytes, sizeof bytes, 0);
        CHECK(fd >= 0);
        CHECK_EQUAL(try_lock(third, third_fd, kind, F_RDLCK), -EAGAIN);
        CHECK_EQUAL(try_lock(pair.b, fd, kind, F_WRLCK), kind == F_SETLK ? -EAGAIN : 0);
        CHECK_EQUAL(try_lock(pair.b, fd, kind, F_UNLCK), 0);
        CHECK_EQUAL(try_lock(third, third_fd, kind, F_RDLCK), kind == F_SETLK ? -EAGAIN : 0);
        CHECK_EQUAL(try_lock(third, third_fd, kind, F_UNLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kind, F_UNLCK), 0);
        CHECK_EQUAL(hf_close(pair.b, fd), 0);
    }
    hf_fs_detach(third);
    pair_end(&pair);
}
LOCKS_TEST(exporting)

/* On its way it has them still, although nobody has it open. */
static void on_its_way(struct fs_world *world, void *argument)
{
    char bytes[HF_EXPORT_FILE_SIZE];
    struct pair pair = pair_begin(world);
    for (int i = 1; i < KINDS; i++) {
        const int fd = open_file(pair.a, "file");
        CHECK_EQUAL(try_lock(pair.a, fd, kinds[i], F_WRLCK), 0);
        CHECK_EQUAL(hf_export_file(pair.a, fd, bytes, sizeof bytes), sizeof bytes);
        CHECK_EQUAL(hf_close(pair.a, fd), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_RDLCK), -EAGAIN);
        const int taken = hf_import_file(pair.a, bytes, sizeof bytes, 0);
        CHECK(taken >= 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_RDLCK), -EAGAIN);
        CHECK_EQUAL(hf_close(pair.a, taken), 0);
        CHECK_EQUAL(wait_lock(pair.b, pair.b_fd, kinds[i], F_RDLCK, NULL), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_UNLCK), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(on_its_way)

/* ---- killed ---- */

struct holder {
    struct talk talk;
    int kind;
    bool at_server;
};

static void hold(struct fs_world *world, void *argument)
{
    struct holder *holder = argument;
    const int fd = open_file(world->fs, "file");
    CHECK_EQUAL(try_lock(world->fs, fd, holder->kind, F_WRLCK), 0);
    tell(holder->talk.to_parent);
    pause();
}

static void wait_for_the_killed(struct fs_world *world, void *argument)
{
    struct holder *holder = argument;
    const int fd = open_file(world->fs, "file");
    hear(holder->talk.to_parent);
    if (holder->at_server) {
        CHECK_EQUAL(try_lock(world->fs, fd, holder->kind, F_RDLCK), -EAGAIN);
    }
    struct flock held = {.l_type = F_WRLCK};
    if (holder->kind == F_SETLK) {
        CHECK_EQUAL(hf_lock(world->fs, fd, F_GETLK, &held, NULL), 0);
        CHECK_EQUAL(held.l_pid, world->shared->slots[0]);
    }
    struct waiter waiter = {.fs = world->fs, .fd = fd, .kind = holder->kind, .type = F_WRLCK};
    waiter_start(&waiter);
    if (holder->at_server) {
        await_waiting(world->client, 1);
    }
    CHECK_EQUAL(kill((pid_t)world->shared->slots[0], SIGKILL), 0);
    CHECK_EQUAL(waiter_join(&waiter), 0);
}

/* A process that is killed has no locks any more, at once, whether its table is with it or not. */
static void test_a_killed_process_lets_go(void **state)
{
    for (int round = 0; round < 2 * KINDS; round++) {
        struct fs_world world;
        struct holder holder = {.kind = kinds[round % KINDS], .at_server = round >= KINDS};
        int status;
        fs_world_init(&world);
        talk_begin(&holder.talk);
        const pid_t killed = fs_world_start(&world, hold, &holder);
        world.shared->slots[0] = (uint64_t)killed;
        const pid_t other = fs_world_start(&world, wait_for_the_killed, &holder);
        fs_world_wait(other);
        assert_int_equal(waitpid(killed, &status, 0), killed);
        assert_int_equal(status, SIGKILL);
        talk_end(&holder.talk);
        fs_world_deinit(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posix_is_not_inherited),
        cmocka_unit_test(test_open_files_are_inherited),
        cmocka_unit_test(test_a_killed_child_leaves_them),
        cmocka_unit_test(test_exporting),
        cmocka_unit_test(test_on_its_way),
        cmocka_unit_test(test_a_killed_process_lets_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
