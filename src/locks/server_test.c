/*
 * Where a file's table is, and what the server says to whom, a claim a test. Who waits for whom is
 * in waiting_test.c.
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
    return 0;
}

static int end(void **state)
{
    stage_end(&stage);
    return 0;
}

/* Who is alone has the table from the first answer on. When another one comes it is recalled, once, and
 * the other is answered from what came back. */
static void test_table_moves_to_one_and_back(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 9, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    assert_true(grant > 0);
    stage_ask_range(&stage, B, 1, 1, W, 5, 5, 0);
    stage_ask_range(&stage, B, 2, 1, W, 20, 20, 0);
    stage_ask_range(&stage, C, 1, 1, R, 5, 5, WAIT);
    stage_recalled(&stage, A, 1, grant);
    assert_int_equal(stage.peers[A].recalled, 1);
    stage_silent(&stage);
    /* A has 0 to 5 now, and read only from 6 on. */
    const struct lock locks[] = {stage_lock(A, W, 0, 5), stage_lock(A, R, 6, 9)};
    assert_int_equal(stage_return(&stage, A, 1, grant, locks, 2, 0), WIRE_REASON_NONE);
    assert_int_equal(stage.peers[A].recalled, 0);
    stage_answered(&stage, B, 1, EAGAIN);
    assert_int_equal(stage_answered(&stage, B, 2, 0), 0);
    stage_silent(&stage);
    stage_unlock(&stage, A, 1, 0, 5);
    assert_int_equal(stage_answered(&stage, C, 1, 0), 0);
}

/* A large table comes back in several messages; it is there with the last one. */
static void test_table_comes_back_in_parts(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    stage_ask_range(&stage, B, 1, 1, W, 2, 2, 0);
    stage_recalled(&stage, A, 1, grant);
    const struct lock locks[] = {stage_lock(A, W, 0, 0), stage_lock(A, W, 2, 2)};
    assert_int_equal(stage_return(&stage, A, 1, grant, locks, 1, WIRE_MORE), WIRE_REASON_NONE);
    stage_silent(&stage);
    assert_int_equal(stage_return(&stage, A, 1, grant, locks + 1, 1, WIRE_MORE), WIRE_REASON_NONE);
    assert_int_equal(stage_return(&stage, A, 1, grant, NULL, 0, 0), WIRE_REASON_NONE);
    stage_answered(&stage, B, 1, EAGAIN);
}

/* After a table had to be recalled, a client has it again once it was alone for eight requests. */
static void test_table_stays_after_it_was_contended(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    stage_ask_range(&stage, B, 1, 1, W, 1, 1, 0);
    stage_recalled(&stage, A, 1, grant);
    assert_int_equal(stage_return(&stage, A, 1, grant, NULL, 0, 0), WIRE_REASON_NONE);
    assert_int_equal(stage_answered(&stage, B, 1, 0), 0);
    stage_unlock(&stage, B, 1, 1, 1);
    for (uint32_t i = 0; i < 7; i++) {
        stage_ask_range(&stage, A, 5, 1, i % 2 == 0 ? W : U, 0, 0, 0);
        assert_int_equal(stage_answered(&stage, A, 5, 0), 0);
    }
    stage_ask_range(&stage, B, 2, 1, W, 1, 1, 0); /* between */
    assert_int_equal(stage_answered(&stage, B, 2, 0), 0);
    stage_unlock(&stage, B, 1, 1, 1);
    for (uint32_t i = 0; i < 8; i++) {
        stage_ask_range(&stage, A, 5, 1, i % 2 == 0 ? W : U, 0, 0, 0);
        uint64_t again = stage_answered(&stage, A, 5, 0);
        assert_int_equal(again > 0, i == 7);
        grant = again > 0 ? again : grant;
    }
    assert_int_equal(stage_return(&stage, A, 1, grant, NULL, 0, 0), WIRE_REASON_NONE);
}

/* Nobody is let have a table in which others have locks, or that they wait for; nor more of them
 * than the limit. */
static void test_table_stays_while_others_need_it(void **state)
{
    stage.server.limits.tables = 1;
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    assert_true(stage_answered(&stage, A, 1, 0) > 0);
    stage_hold(&stage, A, 2, W, 0, 0);
    stage.server.limits.tables = 10;
    stage_hold(&stage, B, 2, W, 1, 1);
    stage_hold(&stage, A, 2, W, 5, 5);
    for (uint32_t i = 0; i < 20; i++) {
        stage_hold(&stage, A, 2, i % 2 == 0 ? U : W, 0, 0);
    }
    stage_ask_range(&stage, B, 3, 2, W, 0, 9, WAIT);
    stage_unlock(&stage, B, 2, 1, 1);
    for (uint32_t i = 0; i < 20; i++) {
        stage_hold(&stage, A, 2, i % 2 == 0 ? U : W, 0, 0);
    }
    stage_silent(&stage);
}

/* A file with a lock of an open file that several processes have stays at the server, and so does
 * one that such an open file was just unlocked in. */
static void test_table_with_a_shared_open_file_stays(void **state)
{
    stage.shared = 50;
    struct lock lock = stage_lock(50, R, 0, LOCK_LAST_BYTE);
    lock.kind = LOCK_FLOCK;
    assert_int_equal(stage_ask(&stage, A, 1, 1, &lock, 0), WIRE_REASON_NONE);
    assert_int_equal(stage_answered(&stage, A, 1, 0), 0);
    stage_hold(&stage, A, 1, W, 0, 0);
    for (uint32_t i = 0; i < 20; i++) {
        stage_hold(&stage, A, 1, i % 2 == 0 ? U : W, 0, 0);
    }
    stage_hold(&stage, A, 1, U, 0, 0);
    lock.type = U;
    assert_int_equal(stage_ask(&stage, A, 2, 1, &lock, 0), WIRE_REASON_NONE);
    assert_int_equal(stage_answered(&stage, A, 2, 0), 0);
    stage_ask_range(&stage, A, 3, 1, W, 0, 0, 0);
    stage_answered(&stage, A, 3, 0);
}

/* A client that gives a table back by itself, and is asked for it before that arrives, has no more to
 * do; what is said of grants that are over is ignored. */
static void test_return_crosses_recall(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    stage_ask_range(&stage, B, 1, 1, W, 0, 0, WAIT);
    stage_recalled(&stage, A, 1, grant);
    const struct lock lock = stage_lock(A, W, 0, 0);
    assert_int_equal(stage_return(&stage, A, 1, grant, &lock, 1, 0), WIRE_REASON_NONE);
    assert_int_equal(stage_return(&stage, A, 1, grant, NULL, 0, 0), WIRE_REASON_NONE);
    assert_int_equal(stage_return(&stage, B, 1, grant, NULL, 0, 0), WIRE_REASON_NONE);
    stage_silent(&stage);
    stage_unlock(&stage, A, 1, 0, 0);
    assert_int_equal(stage_answered(&stage, B, 1, 0), 0);
}

/* Two requests of one client, of which the first is answered with the table before the second
 * arrives: the table comes back, the second is answered, and that does not count as contention. */
static void test_lock_crosses_its_own_clients_grant(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    stage_ask_range(&stage, A, 2, 1, W, 5, 5, WAIT);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    stage_recalled(&stage, A, 1, grant);
    stage_silent(&stage);
    const struct lock lock = stage_lock(A, W, 0, 0);
    assert_int_equal(stage_return(&stage, A, 1, grant, &lock, 1, 0), WIRE_REASON_NONE);
    assert_true(stage_answered(&stage, A, 2, 0) > grant);
}

/* A cancel ends what waits, for a lock or for a table; one that crosses the answer does nothing. */
static void test_cancel(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    stage_ask_range(&stage, B, 1, 1, W, 0, 0, WAIT);
    stage_recalled(&stage, A, 1, grant);
    stage_cancel(&stage, B, 1, 1);
    stage_answered(&stage, B, 1, ECANCELED);
    const struct lock lock = stage_lock(A, W, 0, 0);
    assert_int_equal(stage_return(&stage, A, 1, grant, &lock, 1, 0), WIRE_REASON_NONE);
    stage_ask_range(&stage, B, 2, 1, W, 0, 0, WAIT);
    stage_ask_range(&stage, C, 2, 1, W, 0, 0, WAIT);
    stage_cancel(&stage, B, 2, 1);
    stage_answered(&stage, B, 2, ECANCELED);
    stage_unlock(&stage, A, 1, 0, 0);
    stage_answered(&stage, C, 2, 0);
    stage_cancel(&stage, C, 2, 1);
    stage_silent(&stage);
}

/* A test says what is in the way, the first byte first, and changes nothing. */
static void test_test(void **state)
{
    stage.server.limits.tables = 0;
    stage_hold(&stage, B, 1, W, 30, 39);
    stage_hold(&stage, C, 1, R, 10, 19);
    stage_ask_range(&stage, A, 1, 1, W, 0, 99, WIRE_LOCK_TEST);
    const struct wire_message *message = stage_next(&stage, A);
    struct wire_lock record;
    assert_int_equal(wire_get_lock(message->data, message->data_size, &record), message->data_size);
    assert_int_equal(message->error, 0);
    assert_true(record.type == R && record.start == 10 && record.end == 19);
    assert_int_equal(record.pid, 1000 + C);
    stage_ask_range(&stage, A, 2, 1, R, 0, 29, WIRE_LOCK_TEST);
    message = stage_next(&stage, A);
    assert_true(message->kind == WIRE_LOCKED && message->data_size == 0);
    assert_int_equal(stage.server.counters.locks, 2);
}

/* flock(2) and record locks of one open file do not see each other; a change of the type gives up
 * the old one first, and it stays given up when the new one cannot be had. */
static void test_flock(void **state)
{
    stage.server.limits.tables = 0;
    struct lock a = stage_lock(A, R, 0, LOCK_LAST_BYTE);
    struct lock b = stage_lock(B, R, 0, LOCK_LAST_BYTE);
    a.kind = b.kind = LOCK_FLOCK;
    struct lock record = stage_lock(B, W, 0, 9);
    record.kind = LOCK_OFD;
    assert_int_equal(stage_ask(&stage, A, 1, 1, &a, 0), WIRE_REASON_NONE);
    assert_int_equal(stage_ask(&stage, B, 1, 1, &b, 0), WIRE_REASON_NONE);
    assert_int_equal(stage_ask(&stage, B, 2, 1, &record, 0), WIRE_REASON_NONE);
    stage_answered(&stage, A, 1, 0);
    stage_answered(&stage, B, 1, 0);
    stage_answered(&stage, B, 2, 0);
    a.type = W;
    assert_int_equal(stage_ask(&stage, A, 2, 1, &a, 0), WIRE_REASON_NONE);
    stage_answered(&stage, A, 2, EAGAIN);
    b.type = W;
    assert_int_equal(stage_ask(&stage, B, 3, 1, &b, 0), WIRE_REASON_NONE);
    stage_answered(&stage, B, 3, 0);
    assert_int_equal(stage.server.counters.locks, 2);
}

/* Who dies takes along its table and all in it, its locks and its requests; whoever waited goes on. */
static void test_death(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    stage_ask_range(&stage, B, 1, 1, W, 0, 0, WAIT);
    stage_recalled(&stage, A, 1, grant);
    const struct lock lock = stage_lock(A, W, 0, 0);
    assert_int_equal(stage_return(&stage, A, 1, grant, &lock, 1, WIRE_MORE), WIRE_REASON_NONE);
    stage_leave(&stage, A); /* in the middle of its RETURN */
    assert_int_equal(stage_answered(&stage, B, 1, 0), 0);
    stage_ask_range(&stage, C, 1, 1, W, 0, 0, WAIT);
    stage_ask_range(&stage, D, 1, 1, R, 0, 0, WAIT);
    stage_silent(&stage);
    stage_leave(&stage, C); /* that waits, and D behind it */
    stage_silent(&stage);
    stage_leave(&stage, B); /* that holds */
    stage_answered(&stage, D, 1, 0);
    stage_silent(&stage);
}

/* Locks of an open file that others have survive a process, until nobody has it any more; then whoever
 * asks in its name is told so. */
static void test_shared_open_file_outlives_a_process(void **state)
{
    stage.server.limits.tables = 0;
    stage.shared = 50;
    struct lock lock = stage_lock(50, W, 0, 9);
    lock.kind = LOCK_OFD;
    assert_int_equal(stage_ask(&stage, A, 1, 1, &lock, 0), WIRE_REASON_NONE);
    stage_answered(&stage, A, 1, 0);
    stage_leave(&stage, A);
    stage_ask_range(&stage, B, 1, 1, W, 5, 5, 0);
    stage_answered(&stage, B, 1, EAGAIN);
    /* Another process gives up a part, and answers for the rest. */
    lock.type = U;
    lock.start = 5;
    lock.end = 5;
    assert_int_equal(stage_ask(&stage, C, 1, 1, &lock, 0), WIRE_REASON_NONE);
    stage_answered(&stage, C, 1, 0);
    assert_int_equal(stage.peers[C].lock_count, 2);
    stage_hold(&stage, B, 1, W, 5, 5);
    lock.type = W;
    assert_int_equal(stage_ask(&stage, C, 2, 1, &lock, WAIT), WIRE_REASON_NONE);
    stage_ask_range(&stage, D, 1, 1, W, 0, 0, WAIT);
    stage_silent(&stage);
    locks_server_owner_gone(&stage.server, lock.owner);
    stage_check(&stage);
    stage_answered(&stage, C, 2, ECANCELED);
    stage_answered(&stage, D, 1, 0);
    assert_int_equal(stage.peers[C].lock_count, 0);
}

/* ---- limits ---- */

/* More locks or requests than the limit are refused, and change nothing. */
static void test_limits(void **state)
{
    stage.server.limits = (struct locks_limits){.locks = 3, .waiting = 2};
    for (uint64_t i = 0; i < 3; i++) {
        stage_hold(&stage, A, 1, W, i * 2, i * 2);
    }
    stage_ask_range(&stage, A, 1, 1, W, 50, 50, 0);
    stage_answered(&stage, A, 1, ENOLCK);
    stage_hold(&stage, A, 1, W, 1, 1); /* joins two */
    stage_hold(&stage, A, 1, W, 0, 10);
    stage_hold(&stage, A, 1, U, 3, 3);
    stage_hold(&stage, A, 1, U, 5, 5);
    stage_ask_range(&stage, A, 2, 1, U, 7, 7, 0);
    stage_answered(&stage, A, 2, ENOLCK);
    for (uint32_t seq = 1; seq <= 2; seq++) {
        stage_ask_range(&stage, B, seq, 1, W, 0, 0, WAIT);
    }
    stage_ask_range(&stage, B, 3, 1, W, 0, 0, WAIT);
    stage_answered(&stage, B, 3, ENOBUFS);
    stage_silent(&stage);
    assert_int_equal(stage.server.counters.locks, 3);
}

/* Files that were contended are remembered, the last of them. */
static void test_only_so_many_files_are_remembered(void **state)
{
    for (int file = 1; file <= 1100; file++) {
        stage_ask_range(&stage, A, 1, file, W, 0, 0, 0);
        uint64_t grant = stage_answered(&stage, A, 1, 0);
        assert_true(grant > 0);
        stage_ask_range(&stage, B, 1, file, W, 1, 1, 0);
        stage_recalled(&stage, A, file, grant);
        assert_int_equal(stage_return(&stage, A, file, grant, NULL, 0, 0), WIRE_REASON_NONE);
        assert_int_equal(stage_answered(&stage, B, 1, 0), 0);
        stage_unlock(&stage, B, file, 1, 1);
    }
    assert_int_equal(stage.server.counters.files, 1024);
    stage_hold(&stage, A, 1100, W, 0, 0);
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    assert_true(stage_answered(&stage, A, 1, 0) > 0);
}

/* ---- liars ---- */

struct lie {
    const char *what;
    enum wire_reason reason;
    int peer;
    struct wire_message message;
    struct lock locks[3];
    size_t count;
};

/* A has the table of file 1; in file 2 B has a lock, and C waits for it. */
static void prepare_for_lie(void)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    assert_int_equal(stage_answered(&stage, A, 1, 0), 1);
    stage.server.limits.tables = 0;
    stage_hold(&stage, B, 2, W, 0, 9);
    stage_ask_range(&stage, C, 5, 2, W, 0, 0, WAIT);
    stage.forbidden = 66;
}

/* What no client does that keeps to the protocol is answered by a reason to cut it off, and has changed
 * nothing. */
static void test_liars(void **state)
{
    const uint64_t grant = 1;
    struct lock good = stage_lock(A, W, 0, 9);
    struct lock bad_kind = good, bad_type = good, bad_range = good, bad_flock = good;
    bad_kind.kind = (enum lock_kind)9;
    bad_type.type = (enum lock_type)3;
    bad_range.start = 10;
    bad_flock.kind = LOCK_FLOCK;
    struct lock foreign = stage_lock(66, W, 0, 9);
    struct lock is_process = stage_lock(B, W, 0, 9);
    is_process.kind = LOCK_OFD;
    struct lock unlock = stage_lock(A, U, 0, 9);
    struct lock beside = stage_lock(A, W, 10, 10);
    struct lock above = stage_lock(A, R, 9, 20);
    struct lock other = stage_lock(D, R, 9, 9);
#define LOCK_MESSAGE(s, f)                                                                         \
    {                                                                                              \
        .kind = WIRE_LOCK, .id = stage_file(2), .seq = (s), .flags = (f)                           \
    }
#define RETURN_MESSAGE(g, f)                                                                       \
    {                                                                                              \
        .kind = WIRE_LOCK_RETURN, .id = stage_file(1), .grant = (g), .flags = (f)                  \
    }
    const struct lie lies[] = {
        {"no record", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(1, 0), {good}, 0},
        {"two records", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(1, 0), {good, good}, 2},
        {"kind", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(1, 0), {bad_kind}, 1},
        {"type", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(1, 0), {bad_type}, 1},
        {"range", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(1, 0), {bad_range}, 1},
        {"flock range", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(1, 0), {bad_flock}, 1},
        {"another's", WIRE_REASON_NOT_PERMITTED, A, LOCK_MESSAGE(1, 0), {foreign}, 1},
        {"a process", WIRE_REASON_NOT_PERMITTED, A, LOCK_MESSAGE(1, 0), {is_process}, 1},
        {"seq in use", WIRE_REASON_BAD_MESSAGE, C, LOCK_MESSAGE(5, 0), {good}, 1},
        {"no seq", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(0, 0), {good}, 1},
        {"test and wait",
         WIRE_REASON_BAD_MESSAGE,
         A,
         LOCK_MESSAGE(1, WIRE_LOCK_TEST | WAIT),
         {good},
         1},
        {"test of none", WIRE_REASON_BAD_MESSAGE, A, LOCK_MESSAGE(1, WIRE_LOCK_TEST), {unlock}, 1},
        {"cancel of 0",
         WIRE_REASON_BAD_MESSAGE,
         C,
         {.kind = WIRE_LOCK_CANCEL, .id = stage_file(2)},
         {good},
         0},
        {"cancel for another file",
         WIRE_REASON_BAD_MESSAGE,
         C,
         {.kind = WIRE_LOCK_CANCEL, .id = stage_file(3), .seq = 5},
         {good},
         0},
        {"grant 0", WIRE_REASON_BAD_MESSAGE, A, RETURN_MESSAGE(0, 0), {good}, 0},
        {"grant to come", WIRE_REASON_BAD_MESSAGE, A, RETURN_MESSAGE(grant + 1, 0), {good}, 0},
        {"list 0", WIRE_REASON_BAD_MESSAGE, A, {.kind = WIRE_LOCK_LIST}, {good}, 0},
        {"list in use", WIRE_REASON_BAD_MESSAGE, C, {.kind = WIRE_LOCK_LIST, .seq = 5}, {good}, 0},
        {"LOCKED", WIRE_REASON_BAD_MESSAGE, A, {.kind = WIRE_LOCKED}, {good}, 0},
        {"return none", WIRE_REASON_BAD_MESSAGE, A, RETURN_MESSAGE(grant, 0), {unlock}, 1},
        {"return bad", WIRE_REASON_BAD_MESSAGE, A, RETURN_MESSAGE(grant, 0), {bad_range}, 1},
        {"return another's", WIRE_REASON_NOT_PERMITTED, A, RETURN_MESSAGE(grant, 0), {foreign}, 1},
        {"return in conflict",
         WIRE_REASON_BAD_MESSAGE,
         A,
         RETURN_MESSAGE(grant, 0),
         {good, other},
         2},
        {"return one in two",
         WIRE_REASON_BAD_MESSAGE,
         A,
         RETURN_MESSAGE(grant, 0),
         {good, beside},
         2},
        {"return overlapping",
         WIRE_REASON_BAD_MESSAGE,
         A,
         RETURN_MESSAGE(grant, 0),
         {good, above},
         2},
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint8_t data[4 * WIRE_OPERATION_HEAD_MAX];
        struct wire_message message = lies[i].message;
        prepare_for_lie();
        message.data = data;
        for (size_t j = 0; j < lies[i].count; j++) {
            message.data_size +=
                (uint32_t)stage_put(&lies[i].locks[j], "", data + message.data_size);
        }
        const struct locks_counters before = stage.server.counters;
        enum wire_reason reason = stage_say(&stage, lies[i].peer, &message);
        if (reason != lies[i].reason) {
            fail_msg("%s: %s", lies[i].what, wire_reason_text((uint8_t)reason));
        }
        stage_silent(&stage);
        assert_memory_equal(&stage.server.counters, &before, sizeof(before));
        stage_end(&stage);
        assert_int_equal(stage_begin(&stage, NULL), 0);
    }
}

/* More locks than a client may have are not taken back. */
static void test_return_of_too_many(void **state)
{
    stage_ask_range(&stage, A, 1, 1, W, 0, 0, 0);
    uint64_t grant = stage_answered(&stage, A, 1, 0);
    enum { EACH = 7 };
    enum wire_reason reason = WIRE_REASON_NONE;
    size_t taken = 0;
    while (reason == WIRE_REASON_NONE) {
        struct lock locks[EACH];
        for (size_t i = 0; i < EACH; i++) {
            locks[i] = stage_lock(A, W, (taken + i) * 2, (taken + i) * 2);
        }
        reason = stage_return(&stage, A, 1, grant, locks, EACH, WIRE_MORE);
        taken += EACH;
        assert_true(taken <= 65536 + EACH);
    }
    assert_int_equal(reason, WIRE_REASON_BAD_MESSAGE);
    assert_true(taken > 65536);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_table_moves_to_one_and_back),
        TEST(test_table_comes_back_in_parts),
        TEST(test_table_stays_after_it_was_contended),
        TEST(test_table_stays_while_others_need_it),
        TEST(test_table_with_a_shared_open_file_stays),
        TEST(test_return_crosses_recall),
        TEST(test_lock_crosses_its_own_clients_grant),
        TEST(test_cancel),
        TEST(test_test),
        TEST(test_flock),
        TEST(test_death),
        TEST(test_shared_open_file_outlives_a_process),
        TEST(test_limits),
        TEST(test_only_so_many_files_are_remembered),
        TEST(test_liars),
        TEST(test_return_of_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
