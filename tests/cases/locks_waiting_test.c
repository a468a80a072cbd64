/*
 * Waiting for file locks: in order of arrival, until it is ended; and what becomes of the locks and
 * the waits of processes that are killed, or stopped.
 */
#include "base/clock.h"
#include "lib/lock_players.h"
#include "lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>

#define WAITERS 8
#define HOLDER WAITERS /* the seat of who has the lock at first */
#define SHORT_NS UINT64_C(50000000)
#define LONG_NS UINT64_C(1500000000) /* longer than RECALL_SECONDS */
#define RECALL_SECONDS 1

struct stage {
    struct fs_world world;
    struct lock_players players;
};

static void set_limits(hf_limits *limits)
{
    limits->recall_seconds = RECALL_SECONDS;
}

/* Players on the first @count seats, all with file 0 in slot 0. */
static void stage_init(struct stage *stage, int count)
{
    fs_world_init_with(&stage->world, set_limits);
    lock_players_init(&stage->players, &stage->world);
    for (int seat = 0; seat < count; seat++) {
        lock_players_seat(&stage->players, seat);
        if (seat == 0) {
            assert_int_equal(lock_players_do(&stage->players, 0, lock_order_make(0, 64))->result,
                             0);
        }
        assert_int_equal(lock_players_do(&stage->players, seat, lock_order_open(0, 0))->result, 0);
    }
}

static void stage_deinit(struct stage *stage)
{
    lock_players_deinit(&stage->players);
    fs_world_deinit(&stage->world);
}

static int do_it(struct stage *stage, int seat, struct lock_order order)
{
    return lock_players_do(&stage->players, seat, order)->result;
}

static bool waits(const struct stage *stage, int seat)
{
    return stage->players.seats[seat].is_busy;
}

/* It has to wait. */
static void start_waiting(struct stage *stage, int seat, struct lock_order order)
{
    lock_players_start(&stage->players, seat, order);
    assert_true(waits(stage, seat));
}

/* It was given what it waited for. */
static void check_granted(struct stage *stage, int seat)
{
    assert_int_equal(lock_players_hear(&stage->players, seat)->result, 0);
}

/* How many the server's list has in this state. */
static unsigned count_listed(struct stage *stage, int seat, hf_lock_state state)
{
    const struct lock_order list = {.verb = ORDER_LIST_ALL};
    const struct lock_answer *answer = lock_players_do(&stage->players, seat, list);
    unsigned count = 0;
    assert_int_equal(answer->result, 0);
    assert_true(answer->listed_count <= LOCK_LISTED_MAX);
    for (unsigned i = 0; i < answer->listed_count; i++) {
        count += answer->listed[i].state == state;
    }
    return count;
}

static struct lock_order write_lock(void)
{
    return lock_order_record(0, F_SETLKW, F_WRLCK, 0, 1);
}

static struct lock_order read_lock(void)
{
    return lock_order_record(0, F_SETLKW, F_RDLCK, 0, 1);
}

static struct lock_order unlock(void)
{
    return lock_order_record(0, F_SETLK, F_UNLCK, 0, 1);
}

static struct lock_order without_waiting(struct lock_order order)
{
    order.value = F_SETLK;
    return order;
}

static struct lock_order until(struct lock_order order, uint64_t patience_ns)
{
    order.patience_ns = patience_ns;
    return order;
}

/* ---- order ---- */

static void take_turns(struct lock_order lock, struct lock_order free)
{
    struct stage stage;
    stage_init(&stage, WAITERS + 1);
    assert_int_equal(do_it(&stage, HOLDER, lock), 0);
    for (int i = 0; i < WAITERS; i++) {
        /* Not in the order in which they came to be. */
        start_waiting(&stage, (i * 5) % WAITERS, lock);
    }
    int before = HOLDER;
    for (int i = 0; i < WAITERS; i++) {
        const int next = (i * 5) % WAITERS;
        lock_players_start(&stage.players, before, free);
        check_granted(&stage, next);
        for (int later = i + 1; later < WAITERS; later++) {
            assert_true(waits(&stage, (later * 5) % WAITERS));
        }
        before = next;
    }
    stage_deinit(&stage);
}

static void test_who_came_first_is_served_first(void **state)
{
    take_turns(write_lock(), unlock());
    take_turns(lock_order_record(0, F_OFD_SETLKW, F_WRLCK, 0, 0),
               lock_order_record(0, F_OFD_SETLK, F_UNLCK, 0, 0));
    take_turns(lock_order_whole(0, LOCK_EX), lock_order_whole(0, LOCK_UN));
}

/* Readers that come while a writer waits wait behind it. */
static void test_a_writer_is_not_starved(void **state)
{
    struct stage stage;
    stage_init(&stage, 4);
    assert_int_equal(do_it(&stage, 0, read_lock()), 0);
    start_waiting(&stage, 1, write_lock());
    start_waiting(&stage, 2, read_lock());
    start_waiting(&stage, 3, read_lock());
    lock_players_start(&stage.players, 0, unlock());
    check_granted(&stage, 1);
    assert_true(waits(&stage, 2) && waits(&stage, 3));
    start_waiting(&stage, 0, read_lock());
    lock_players_start(&stage.players, 1, unlock());
    check_granted(&stage, 0);
    check_granted(&stage, 2);
    check_granted(&stage, 3);
    stage_deinit(&stage);
}

/* But who does not wait for anybody, or is waited for, does not wait for the writer either. */
static void test_who_need_not_wait_does_not(void **state)
{
    struct stage stage;
    stage_init(&stage, 3);
    assert_int_equal(do_it(&stage, 0, read_lock()), 0);
    start_waiting(&stage, 1, lock_order_record(0, F_SETLKW, F_WRLCK, 0, 4));
    assert_int_equal(do_it(&stage, 2, without_waiting(read_lock())), 0);
    assert_int_equal(do_it(&stage, 2, unlock()), 0);
    assert_int_equal(do_it(&stage, 2, lock_order_record(0, F_SETLKW, F_WRLCK, 4, 1)), 0);
    assert_int_equal(do_it(&stage, 0, lock_order_record(0, F_SETLKW, F_WRLCK, 2, 1)), 0);
    assert_true(waits(&stage, 1));
    lock_players_start(&stage.players, 0, lock_order_record(0, F_SETLK, F_UNLCK, 0, 0));
    check_granted(&stage, 1);
    stage_deinit(&stage);
}

/* ---- the end of a wait ---- */

static void test_a_deadline_ends_a_wait(void **state)
{
    struct stage stage;
    stage_init(&stage, 3);
    assert_int_equal(do_it(&stage, 0, read_lock()), 0);
    assert_int_equal(do_it(&stage, 1, until(write_lock(), SHORT_NS)), -ETIMEDOUT);
    assert_int_equal(count_listed(&stage, 1, HF_LOCK_WAITING), 0);
    /* Whoever waited behind it goes on. */
    lock_players_start(&stage.players, 1, until(write_lock(), SHORT_NS));
    lock_players_start(&stage.players, 2, read_lock());
    assert_int_equal(lock_players_hear(&stage.players, 1)->result, -ETIMEDOUT);
    if (waits(&stage, 2)) {
        check_granted(&stage, 2);
    }
    assert_int_equal(stage.players.seats[2].answer.result, 0);
    /* One that has passed already is a try without waiting. */
    assert_int_equal(do_it(&stage, 1, until(write_lock(), 1)), -ETIMEDOUT);
    assert_int_equal(do_it(&stage, 1, until(lock_order_whole(0, LOCK_EX), SHORT_NS)), 0);
    assert_int_equal(do_it(&stage, 2, until(lock_order_whole(0, LOCK_SH), SHORT_NS)), -ETIMEDOUT);
    stage_deinit(&stage);
}

static void test_a_token_ends_a_wait(void **state)
{
    struct stage stage;
    stage_init(&stage, 3);
    assert_int_equal(do_it(&stage, 0, read_lock()), 0);
    for (int i = 0; i < 20; i++) {
        start_waiting(&stage, 1, write_lock());
        start_waiting(&stage, 2, read_lock());
        lock_players_cancel(&stage.players, 1);
        assert_int_equal(lock_players_hear(&stage.players, 1)->result, -ECANCELED);
        check_granted(&stage, 2);
        assert_int_equal(count_listed(&stage, 1, HF_LOCK_WAITING), 0);
        assert_int_equal(do_it(&stage, 2, unlock()), 0);
    }
    assert_int_equal(do_it(&stage, 0, unlock()), 0);
    assert_int_equal(do_it(&stage, 1, write_lock()), 0);
    stage_deinit(&stage);
}

/* ---- who is killed ---- */

static void test_what_a_killed_process_had_is_free(void **state)
{
    struct stage stage;
    stage_init(&stage, 4);
    /* It had the table to itself, and nobody waited. */
    assert_int_equal(do_it(&stage, 0, write_lock()), 0);
    assert_int_equal(do_it(&stage, 0, lock_order_whole(0, LOCK_EX)), 0);
    lock_players_end(&stage.players, 0, ORDER_KILL);
    assert_int_equal(do_it(&stage, 1, without_waiting(write_lock())), 0);
    assert_int_equal(do_it(&stage, 1, lock_order_whole(0, LOCK_EX | LOCK_NB)), 0);
    /* Others wait for it. */
    start_waiting(&stage, 2, write_lock());
    start_waiting(&stage, 3, lock_order_whole(0, LOCK_SH));
    lock_players_end(&stage.players, 1, ORDER_KILL);
    check_granted(&stage, 2);
    check_granted(&stage, 3);
    stage_deinit(&stage);
}

static void test_a_killed_waiter_leaves_no_trace(void **state)
{
    struct stage stage;
    stage_init(&stage, 3);
    assert_int_equal(do_it(&stage, 0, read_lock()), 0);
    start_waiting(&stage, 1, write_lock());
    start_waiting(&stage, 2, read_lock());
    lock_players_end(&stage.players, 1, ORDER_KILL);
    check_granted(&stage, 2);
    assert_int_equal(count_listed(&stage, 0, HF_LOCK_WAITING), 0);
    assert_int_equal(count_listed(&stage, 0, HF_LOCK_HELD), 2);
    assert_int_equal(do_it(&stage, 2, unlock()), 0);
    assert_int_equal(do_it(&stage, 0, without_waiting(write_lock())), 0);
    stage_deinit(&stage);
}

/* What becomes free by its own death is not for its own wait: that would stay with the open file, which
 * another process has. */
static void test_a_killed_waiter_gets_nothing_of_its_own(void **state)
{
    struct stage stage;
    const struct lock_order close = {.verb = ORDER_CLOSE, .slot = 0};
    stage_init(&stage, 1);
    assert_int_equal(do_it(&stage, 0, lock_order_open(1, 0)), 0);
    assert_int_equal(lock_players_fork(&stage.players, 0, 1, true), 0);
    assert_int_equal(do_it(&stage, 1, lock_order_whole(0, LOCK_EX)), 0);
    start_waiting(&stage, 1, lock_order_whole(1, LOCK_EX));
    lock_players_start(&stage.players, 0, close);
    assert_true(waits(&stage, 1));
    lock_players_end(&stage.players, 1, ORDER_KILL);
    assert_int_equal(count_listed(&stage, 0, HF_LOCK_HELD), 0);
    stage_deinit(&stage);
}

/* ---- who is stopped ---- */

static void stop(struct stage *stage, int seat)
{
    const pid_t pid = stage->players.seats[seat].pid;
    int status;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
}

static void let_go_on(struct stage *stage, int seat)
{
    assert_int_equal(kill(stage->players.seats[seat].pid, SIGCONT), 0);
}

static struct lock_order write_byte(void)
{
    return (struct lock_order){.verb = ORDER_WRITE, .slot = 0, .value = 7};
}

/* It has the file's table to itself and does not give it back: then it is no client any more. */
static void test_a_stopped_owner_of_a_table_is_cut_off(void **state)
{
    struct stage stage;
    size_t size;
    stage_init(&stage, 3);
    assert_int_equal(do_it(&stage, 0, write_lock()), 0);
    stop(&stage, 0);
    assert_int_equal(do_it(&stage, 1, write_lock()), 0);
    stage.world.cut_off = 1;
    test_server_expect_log(&stage.world.server, "cut off");
    let_go_on(&stage, 0);
    assert_int_equal(do_it(&stage, 0, write_byte()), -ENOTCONN);
    assert_int_equal(do_it(&stage, 0, (struct lock_order){.verb = ORDER_LIST_ALL}), -ENOTCONN);
    assert_int_equal(do_it(&stage, 0, write_byte()), -ENOTCONN);
    assert_int_equal(do_it(&stage, 0, without_waiting(write_lock())), -ENOTCONN);
    assert_int_equal(do_it(&stage, 0, lock_order_whole(0, LOCK_EX)), -ENOTCONN);
    assert_int_equal(do_it(&stage, 0, until(write_lock(), SHORT_NS)), -ENOTCONN);
    /* The lock is the other one's, and so is the file. */
    assert_int_equal(do_it(&stage, 2, without_waiting(write_lock())), -EAGAIN);
    assert_int_equal(count_listed(&stage, 1, HF_LOCK_HELD), 1);
    lock_players_end(&stage.players, 0, ORDER_KILL);
    char *content = fs_world_read_file(&stage.world, "f0", &size);
    assert_int_equal(content[7], 0);
    free(content);
    stage_deinit(&stage);
}

/* A listing needs the table as well. */
static void test_a_stopped_owner_does_not_hold_up_a_listing(void **state)
{
    struct stage stage;
    stage_init(&stage, 2);
    assert_int_equal(do_it(&stage, 0, write_lock()), 0);
    stop(&stage, 0);
    assert_int_equal(count_listed(&stage, 1, HF_LOCK_HELD), 0);
    stage.world.cut_off = 1;
    let_go_on(&stage, 0);
    lock_players_end(&stage.players, 0, ORDER_KILL);
    stage_deinit(&stage);
}

/* Nobody needs an answer of it: it keeps its locks, as with the kernel. */
static void test_a_stopped_process_keeps_its_locks(void **state)
{
    struct stage stage;
    stage_init(&stage, 2);
    assert_int_equal(do_it(&stage, 0, write_lock()), 0);
    assert_int_equal(do_it(&stage, 1, without_waiting(write_lock())), -EAGAIN);
    stop(&stage, 0);
    assert_int_equal(do_it(&stage, 1, without_waiting(write_lock())), -EAGAIN);
    assert_int_equal(do_it(&stage, 1, until(write_lock(), LONG_NS)), -ETIMEDOUT);
    assert_int_equal(count_listed(&stage, 1, HF_LOCK_HELD), 1);
    start_waiting(&stage, 1, write_lock());
    let_go_on(&stage, 0);
    lock_players_start(&stage.players, 0, unlock());
    check_granted(&stage, 1);
    assert_int_equal(do_it(&stage, 1, write_byte()), 1);
    stage_deinit(&stage);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_came_first_is_served_first),
        cmocka_unit_test(test_a_writer_is_not_starved),
        cmocka_unit_test(test_who_need_not_wait_does_not),
        cmocka_unit_test(test_a_deadline_ends_a_wait),
        cmocka_unit_test(test_a_token_ends_a_wait),
        cmocka_unit_test(test_what_a_killed_process_had_is_free),
        cmocka_unit_test(test_a_killed_waiter_leaves_no_trace),
        cmocka_unit_test(test_a_killed_waiter_gets_nothing_of_its_own),
        cmocka_unit_test(test_a_stopped_owner_of_a_table_is_cut_off),
        cmocka_unit_test(test_a_stopped_owner_does_not_hold_up_a_listing),
        cmocka_unit_test(test_a_stopped_process_keeps_its_locks),
    };
    return cmocka_run_group_tests_name("locks waiting", tests, NULL, NULL);
}
