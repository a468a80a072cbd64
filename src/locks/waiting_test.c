/*
 * Who waits, who goes on first, and what is a deadlock: a claim a test.
 */
#include "lib/locks_stage.h"

#define WAIT WIRE_LOCK_WAIT
#define R LOCK_TYPE_READ
#define W LOCK_TYPE_WRITE
#define U LOCK_NONE

static struct stage stage;

static int begin(void **state)
{
    assert_int_equal(stage_begin(&stage, NULL), 0);
    stage.server.limits.tables = 0;
    return 0;
}

static int end(void **state)
{
    stage_end(&stage);
    return 0;
}

/* Those that wait for the same are served in the order in which they came. */
static void test_first_come_first_served(void **state)
{
    stage_hold(&stage, 0, 1, W, 0, 0);
    for (int peer = 1; peer < STAGE_PEERS; peer++) {
        stage_ask_range(&stage, peer, 1, 1, W, 0, 0, WAIT);
    }
    for (int peer = 1; peer < STAGE_PEERS; peer++) {
        stage_silent(&stage);
        stage_unlock(&stage, peer - 1, 1, 0, 0);
        stage_answered(&stage, peer, 1, 0);
    }
}

/* A reader waits behind a writer that waits for another reader, and is served after it; one that does
 * not want to wait is told what is held only. */
static void test_writer_is_not_starved(void **state)
{
    stage_hold(&stage, A, 1, R, 0, 9);
    stage_ask_range(&stage, B, 1, 1, W, 5, 5, WAIT);
    stage_ask_range(&stage, C, 1, 1, R, 0, 9, WAIT);
    stage_silent(&stage);
    stage_hold(&stage, D, 1, R, 5, 5);
    stage_unlock(&stage, D, 1, 5, 5);
    stage_ask_range(&stage, D, 1, 1, R, 6, 9, WAIT); /* not what the writer wants */
    stage_answered(&stage, D, 1, 0);
    stage_unlock(&stage, A, 1, 0, 9);
    stage_answered(&stage, B, 1, 0);
    stage_silent(&stage);
    stage_unlock(&stage, B, 1, 5, 5);
    stage_answered(&stage, C, 1, 0);
}

/* Giving up a part lets exactly those go on that wanted that part; so does going down to reading. */
static void test_parts_are_given_up(void **state)
{
    stage_hold(&stage, A, 1, W, 0, 9);
    stage_ask_range(&stage, B, 1, 1, W, 0, 4, WAIT);
    stage_ask_range(&stage, C, 1, 1, R, 5, 9, WAIT);
    stage_unlock(&stage, A, 1, 0, 3);
    stage_silent(&stage);
    stage_unlock(&stage, A, 1, 4, 4);
    stage_answered(&stage, B, 1, 0);
    stage_hold(&stage, A, 1, R, 5, 9);
    stage_answered(&stage, C, 1, 0);
}

/* Who has what a waiting one needs does not wait behind it. */
static void test_holder_overtakes_who_waits_for_it(void **state)
{
    stage_hold(&stage, A, 1, R, 0, 0);
    stage_ask_range(&stage, B, 1, 1, W, 0, 9, WAIT);
    stage_ask_range(&stage, A, 1, 1, W, 0, 5, WAIT);
    stage_answered(&stage, A, 1, 0);
    stage_silent(&stage);
    stage_unlock(&stage, A, 1, 0, 5);
    stage_answered(&stage, B, 1, 0);
}

/* One waits behind another only as long as that one does not come to wait for it. */
static void test_order_gives_way_to_a_circle(void **state)
{
    stage_hold(&stage, A, 2, W, 0, 0);
    stage_hold(&stage, B, 1, R, 0, 0);
    stage_ask_range(&stage, C, 1, 1, W, 0, 0, WAIT); /* for B */
    stage_ask_range(&stage, A, 1, 1, R, 0, 0, WAIT); /* behind C */
    stage_silent(&stage);
    stage_ask_range(&stage, B, 1, 2, W, 0, 0, WAIT); /* for A: it would never end */
    stage_answered(&stage, A, 1, 0);
    stage_silent(&stage);
    stage_unlock(&stage, A, 1, 0, 0);
    stage_unlock(&stage, A, 2, 0, 0);
    stage_answered(&stage, B, 1, 0);
    stage_unlock(&stage, B, 1, 0, 0);
    stage_answered(&stage, C, 1, 0);
}

/* As many processes as files, each waits for the next one's: the last one is refused, and all others
 * go on one after the other when it gives up. */
static void check_circle(int count)
{
    for (int peer = 0; peer < count; peer++) {
        stage_hold(&stage, peer, peer + 1, W, 0, 0);
    }
    for (int peer = 0; peer < count - 1; peer++) {
        stage_ask_range(&stage, peer, 1, peer + 2, W, 0, 0, WAIT);
    }
    stage_silent(&stage);
    stage_ask_range(&stage, count - 1, 1, 1, W, 0, 0, WAIT);
    stage_answered(&stage, count - 1, 1, EDEADLK);
    stage_silent(&stage);
    for (int peer = count - 1; peer > 0; peer--) {
        stage_unlock(&stage, peer, peer + 1, 0, 0);
        stage_answered(&stage, peer - 1, 1, 0);
    }
    assert_int_equal(stage.server.counters.deadlocks, 1);
}

static void test_deadlock_of_two(void **state)
{
    check_circle(2);
}

static void test_deadlock_of_three(void **state)
{
    check_circle(3);
}

static void test_deadlock_of_eight(void **state)
{
    check_circle(8);
}

/* Two readers of the same that both want to write. */
static void test_deadlock_of_two_upgraders(void **state)
{
    stage_hold(&stage, A, 1, R, 0, 0);
    stage_hold(&stage, B, 1, R, 0, 0);
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, WAIT);
    stage_ask_range(&stage, B, 1, 1, W, 0, 0, WAIT);
    stage_answered(&stage, B, 1, EDEADLK);
    stage_unlock(&stage, B, 1, 0, 0);
    stage_answered(&stage, A, 1, 0);
}

/* What is found to be a circle only when a table comes back is refused then. */
static void test_deadlock_over_a_table_that_comes_back(void **state)
{
    stage_hold(&stage, B, 2, W, 0, 0);
    stage.server.limits.tables = 10;
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    stage_ask_range(&stage, A, 2, 2, W, 0, 0, WAIT);
    stage_ask_range(&stage, B, 1, 1, W, 0, 0, WAIT);
    stage_recalled(&stage, A, 1, grant);
    stage_silent(&stage);
    const struct lock lock = stage_lock(A, W, 0, 0);
    assert_int_equal(stage_return(&stage, A, 1, grant, &lock, 1, 0), WIRE_REASON_NONE);
    stage_answered(&stage, B, 1, EDEADLK);
}

/* A process with two threads: one waits, the other is granted what closes a circle. Who waits for that
 * is refused. */
static void test_deadlock_closed_by_a_grant(void **state)
{
    stage_hold(&stage, B, 2, W, 0, 0);
    stage_hold(&stage, C, 1, W, 0, 0);
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, WAIT);
    stage_ask_range(&stage, A, 2, 2, W, 0, 0, WAIT);
    stage_ask_range(&stage, B, 1, 1, W, 0, 0, WAIT);
    stage_silent(&stage);
    stage_unlock(&stage, C, 1, 0, 0);
    stage_answered(&stage, A, 1, 0);
    stage_answered(&stage, B, 1, EDEADLK);
    stage_silent(&stage);
}

/* Locks of open files belong to nobody who could be seen to wait: they wait until they are cancelled. */
static void test_open_files_wait_in_circles(void **state)
{
    struct lock a = stage_lock(A, W, 0, 0);
    struct lock b = stage_lock(B, W, 0, 0);
    a.kind = b.kind = LOCK_OFD;
    for (int file = 1; file <= 2; file++) {
        const struct lock *first = file == 1 ? &a : &b;
        assert_int_equal(stage_ask(&stage, A, 1, file, first, 0), WIRE_REASON_NONE);
        stage_answered(&stage, A, 1, 0);
    }
    assert_int_equal(stage_ask(&stage, A, 1, 2, &a, WAIT), WIRE_REASON_NONE);
    assert_int_equal(stage_ask(&stage, B, 1, 1, &b, WAIT), WIRE_REASON_NONE);
    stage_silent(&stage);
    stage_cancel(&stage, A, 1, 2);
    stage_answered(&stage, A, 1, ECANCELED);
    stage_silent(&stage);
}

/* ---- listings ---- */

static size_t next_listed(const struct wire_message *message, size_t at, struct wire_listed *out)
{
    size_t taken = wire_get_listed(message->data + at, message->data_size - at, out);
    assert_true(taken > 0);
    return at + taken;
}

static void list(int peer, uint32_t seq)
{
    assert_int_equal(
        stage_say(&stage, peer, &(struct wire_message){.kind = WIRE_LOCK_LIST, .seq = seq}),
        WIRE_REASON_NONE);
}

/* A listing waits until all tables are back that were out when it came, and tells of all that is held
 * and waits then. */
static void test_listing_waits_for_tables(void **state)
{
    stage.server.limits.tables = 10;
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant_a = stage_answered(&stage, A, 1, 0);
    stage_ask_range(&stage, B, 1, 2, W, 0, 0, 0);
    uint64_t grant_b = stage_answered(&stage, B, 1, 0);
    stage_ask_range(&stage, C, 1, 2, R, 0, 0, WAIT);
    stage_recalled(&stage, B, 2, grant_b);
    list(D, 9);
    stage_recalled(&stage, A, 1, grant_a);
    stage_silent(&stage);
    stage_ask_range(&stage, D, 3, 3, W, 0, 0, 0); /* nothing is let go of now */
    assert_int_equal(stage_answered(&stage, D, 3, 0), 0);
    stage_unlock(&stage, D, 3, 0, 0);
    const struct lock lock = stage_lock(B, W, 0, 0);
    assert_int_equal(stage_return(&stage, B, 2, grant_b, &lock, 1, 0), WIRE_REASON_NONE);
    stage_silent(&stage);
    stage_leave(&stage, A);
    const struct wire_message *message = stage_next(&stage, D);
    assert_true(message->kind == WIRE_LOCK_LISTED && message->seq == 9 && message->flags == 0);
    struct wire_listed listed;
    size_t at = next_listed(message, 0, &listed);
    assert_true(listed.state == LOCK_HELD && listed.client == B + 1 && listed.object == 2);
    assert_true(listed.pid == 1000 + B && listed.type == W && listed.cycle == 0);
    assert_int_equal(listed.path.length, strlen("/path"));
    at = next_listed(message, at, &listed);
    assert_true(listed.state == LOCK_WAITING && listed.client == C + 1 && listed.type == R);
    assert_int_equal(at, message->data_size);
}

/* A deadlock that was found is told of later: the one that was refused, then who waited for whom. */
static void test_listing_tells_of_deadlocks(void **state)
{
    for (int i = 0; i < 10; i++) {
        stage_hold(&stage, A, 1, W, 0, 0);
        stage_hold(&stage, B, 2, W, 0, 0);
        stage_hold(&stage, C, 3, W, 0, 0);
        stage_ask_range(&stage, B, 1, 3, W, 0, 0, WAIT);
        stage_ask_range(&stage, C, 1, 1, W, 0, 0, WAIT);
        stage_ask_range(&stage, A, 1, 2, W, 0, 0, WAIT);
        stage_answered(&stage, A, 1, EDEADLK);
        stage_unlock(&stage, A, 1, 0, 0);
        stage_answered(&stage, C, 1, 0);
        stage_unlock(&stage, C, 1, 0, 0);
        stage_unlock(&stage, C, 3, 0, 0);
        stage_answered(&stage, B, 1, 0);
        stage_unlock(&stage, B, 2, 0, 0);
        stage_unlock(&stage, B, 3, 0, 0);
    }
    list(A, 1);
    const struct wire_message *message = stage_next(&stage, A);
    size_t at = 0;
    static const int clients[] = {A, B, C};
    static const int files[] = {2, 3, 1};
    for (uint32_t cycle = 3; cycle <= 10; cycle++) { /* the last eight */
        for (int i = 0; i < 3; i++) {
            struct wire_listed listed;
            at = next_listed(message, at, &listed);
            assert_int_equal(listed.state, i == 0 ? LOCK_GOT_EDEADLK : LOCK_WAS_WAITING);
            assert_int_equal(listed.client, clients[i] + 1);
            assert_int_equal(listed.object, files[i]);
            assert_int_equal(listed.cycle, cycle);
            assert_int_equal(listed.path.length, strlen("/path"));
        }
    }
    assert_int_equal(at, message->data_size);
}

/* ---- many ---- */

/* Thousands that wait for one lock and thousands of locks: each step is quick, which the test's own
 * time says. */
static void test_thousands(void **state)
{
    enum { COUNT = 3000 };
    stage.server.limits = (struct locks_limits){.locks = 10000, .waiting = COUNT};
    for (uint64_t i = 0; i < COUNT; i++) {
        const struct lock lock = stage_lock(100 + (int)i, W, i, i);
        struct wire_message message = {.kind = WIRE_LOCK, .id = stage_file(1), .seq = 1};
        uint8_t data[WIRE_OPERATION_HEAD_MAX];
        message.data = data;
        message.data_size = (uint32_t)stage_put(&lock, "", data);
        assert_int_equal(locks_server_input(&stage.server, &stage.peers[A], &message), 0);
        assert_int_equal(stage_answered(&stage, A, 1, 0), 0);
        struct lock wanted = lock;
        wanted.owner.object += COUNT;
        wanted.end = wanted.start = i / 2 * 2; /* two wait for each other one */
        message.seq = (uint32_t)i + 1;
        message.flags = WAIT;
        message.data_size = (uint32_t)stage_put(&wanted, "", data);
        assert_int_equal(locks_server_input(&stage.server, &stage.peers[B], &message), 0);
        stage_silent(&stage);
    }
    for (uint32_t i = 0; i < COUNT; i += 2) {
        const struct lock lock = stage_lock(100 + (int)i, U, i, i);
        struct wire_message message = {.kind = WIRE_LOCK, .id = stage_file(1), .seq = 1};
        uint8_t data[WIRE_OPERATION_HEAD_MAX];
        message.data = data;
        message.data_size = (uint32_t)stage_put(&lock, "", data);
        assert_int_equal(locks_server_input(&stage.server, &stage.peers[A], &message), 0);
        stage_answered(&stage, A, 1, 0);
        stage_answered(&stage, B, i + 1, 0);
        stage_silent(&stage);
    }
    stage_check(&stage);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_first_come_first_served),
        TEST(test_writer_is_not_starved),
        TEST(test_parts_are_given_up),
        TEST(test_holder_overtakes_who_waits_for_it),
        TEST(test_order_gives_way_to_a_circle),
        TEST(test_deadlock_of_two),
        TEST(test_deadlock_of_three),
        TEST(test_deadlock_of_eight),
        TEST(test_deadlock_of_two_upgraders),
        TEST(test_deadlock_over_a_table_that_comes_back),
        TEST(test_deadlock_closed_by_a_grant),
        TEST(test_open_files_wait_in_circles),
        TEST(test_listing_waits_for_tables),
        TEST(test_listing_tells_of_deadlocks),
        TEST(test_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
