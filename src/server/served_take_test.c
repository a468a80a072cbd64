/*
 * SERVED operations: the server takes the hold that the client has not.
 */
#include "base/id_map.h"
#include "lib/served_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct served_stage stage;
static struct raw_client one;
static struct raw_client two;
static uint64_t file;

static const struct raw_how served = {.flags = WIRE_SERVED};

static int set_up(void **state)
{
    served_stage_init(&stage);
    served_stage_start(&stage,
                       &(struct served_stage_options){.pages = 64, .inodes = 64, .mode = 0777});
    raw_join(&one, stage.test.address, "one");
    raw_join(&two, stage.test.address, "two");
    raw_hold_inode(&one, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    file = served_make_in(&stage, &one, STORE_ROOT, "file", S_IFREG | 0666);
    return 0;
}

static int tear_down(void **state)
{
    raw_close(&one);
    raw_close(&two);
    test_server_await_clients(&stage.test, 0);
    assert_int_equal(test_server_stats(&stage.test).holds, 0);
    served_stage_deinit(&stage);
    return 0;
}

static const struct wire_operation *append(const char *text)
{
    static struct wire_operation op;
    op = *OP(WIRE_OP_APPEND,
             .inode = file,
             .now = served_now(),
             .data = (const uint8_t *)text,
             .data_size = (uint32_t)strlen(text));
    return &op;
}

static const struct wire_operation *read_all(void)
{
    static const struct wire_operation op = {.code = WIRE_OP_READ, .size = 100};
    static struct wire_operation filled;
    filled = op;
    filled.inode = file;
    return &filled;
}

static uint32_t begin(struct raw_client *client, const struct wire_operation *op)
{
    const uint32_t seq = ++client->last_seq;
    raw_send_operation(client, stage.store, seq, op, served);
    return seq;
}

static void expect_appended(struct raw_answer answer, uint64_t end)
{
    struct wire_appended appended;
    assert_int_equal(answer.error, 0);
    assert_true(wire_get_appended(answer.data, answer.size, &appended) == answer.size);
    assert_int_equal(appended.end, end);
}

static void expect_recall(struct raw_client *client, hf_mode mode)
{
    const struct wire_message recall = raw_expect(client, WIRE_RECALL);
    assert_true(hf_id_equal(recall.id, wire_store_id(stage.store, file)));
    assert_int_equal(recall.mode, mode);
}

/* Nobody holds it: it is done at once, and nobody holds it afterwards. */
static void test_at_once(void **state)
{
    expect_appended(raw_ask_how(&one, stage.store, append("one"), served), 3);
    expect_appended(raw_ask_how(&two, stage.store, append("two"), served), 6);
    const struct raw_answer answer = raw_ask_how(&one, stage.store, read_all(), served);
    assert_int_equal(answer.size, 6);
    assert_memory_equal(answer.data, "onetwo", 6);
    assert_int_equal(
        raw_ask_how(
            &two,
            stage.store,
            OP(WIRE_OP_SET, .inode = file, .mask = STORE_SET_SIZE, .size = 1, .now = served_now()),
            served)
            .error,
        0);
    assert_int_equal(
        raw_attributes(raw_ask_how(&one, stage.store, OP(WIRE_OP_GET, .inode = file), served)).size,
        1);
    raw_hold_inode(&two, stage.store, file, HF_EXCLUSIVE);
}

/* Who has it is asked for it, and what waits meanwhile is done under one hold, in order. */
static void test_after_others(void **state)
{
    const uint64_t grant = raw_hold_inode(&two, stage.store, file, HF_EXCLUSIVE);
    const uint64_t recalls = test_server_stats(&stage.test).recalls;
    const uint32_t first = begin(&one, append("a"));
    const uint32_t second = begin(&one, append("b"));
    const uint32_t third = begin(&one, read_all());
    expect_recall(&two, HF_INVALID);
    raw_round_trip(&one); /* other things go on */
    raw_release_inode(&two, stage.store, file, grant, HF_INVALID);
    expect_appended(raw_expect_answer(&one, first), 1);
    expect_appended(raw_expect_answer(&one, second), 2);
    assert_int_equal(raw_expect_answer(&one, third).size, 2);
    assert_int_equal(test_server_stats(&stage.test).recalls, recalls + 1);
}

/* A reader wants no more than others may have with it; a writer behind it does. */
static void test_readers_and_writers(void **state)
{
    const uint64_t grant = raw_hold_inode(&two, stage.store, file, HF_SHARED);
    const uint32_t first = begin(&one, read_all());
    assert_int_equal(raw_expect_answer(&one, first).size, 0);
    raw_release_inode(&two, stage.store, file, grant, HF_INVALID);
    const uint64_t again = raw_hold_inode(&two, stage.store, file, HF_EXCLUSIVE);
    const uint32_t reader = begin(&one, read_all());
    const uint32_t writer = begin(&one, append("x"));
    const uint32_t reader_behind = begin(&one, read_all());
    expect_recall(&two, HF_SHARED);
    raw_release_inode(&two, stage.store, file, again, HF_SHARED);
    assert_int_equal(raw_expect_answer(&one, reader).size, 0);
    expect_recall(&two, HF_INVALID);
    raw_release_inode(&two, stage.store, file, again, HF_INVALID);
    expect_appended(raw_expect_answer(&one, writer), 1);
    assert_int_equal(raw_expect_answer(&one, reader_behind).size, 1);
}

/* FIFO with clients that wait for the handle. */
static void test_in_the_queue_with_clients(void **state)
{
    struct raw_client three;
    raw_join(&three, stage.test.address, "three");
    const uint64_t grant = raw_hold_inode(&two, stage.store, file, HF_EXCLUSIVE);
    raw_send(&three,
             &(struct wire_message){.kind = WIRE_ACQUIRE,
                                    .id = wire_store_id(stage.store, file),
                                    .seq = 77,
                                    .mode = HF_EXCLUSIVE});
    raw_round_trip(&three);
    const uint32_t seq = begin(&one, append("x"));
    raw_round_trip(&one);
    expect_recall(&two, HF_INVALID);
    raw_release_inode(&two, stage.store, file, grant, HF_INVALID);
    const struct wire_message granted = raw_expect(&three, WIRE_GRANT);
    assert_int_equal(granted.seq, 77);
    expect_recall(&three, HF_INVALID);
    raw_release_inode(&three, stage.store, file, granted.grant, HF_INVALID);
    expect_appended(raw_expect_answer(&one, seq), 1);
    raw_close(&three);
    test_server_await_clients(&stage.test, 2);
}

/* What others remember of it is out of date afterwards. */
static void test_the_version_moves(void **state)
{
    const struct wire_message acquire = {.kind = WIRE_ACQUIRE,
                                         .id = wire_store_id(stage.store, file),
                                         .seq = 77,
                                         .mode = HF_SHARED,
                                         .flags = WIRE_REFERENCE};
    raw_send(&two, &acquire);
    const struct wire_message before = raw_expect(&two, WIRE_GRANT);
    const uint32_t seq = begin(&one, append("x"));
    expect_recall(&two, HF_INVALID);
    raw_release_inode(&two, stage.store, file, before.grant, HF_INVALID);
    raw_expect_answer(&one, seq);
    raw_send(&two, &acquire);
    const struct wire_message after = raw_expect(&two, WIRE_GRANT);
    assert_true(after.version != before.version);
}

/* A client is told when it could as well hold the file itself: nobody else wanted it since its last
 * operation. */
static void test_alone(void **state)
{
    assert_int_equal(raw_ask_how(&one, stage.store, append("x"), served).flags, 0);
    assert_int_equal(raw_ask_how(&one, stage.store, append("x"), served).flags, WIRE_ALONE);
    assert_int_equal(raw_ask_how(&two, stage.store, append("x"), served).flags, 0);
    assert_int_equal(raw_ask_how(&one, stage.store, append("x"), served).flags, 0);
    assert_int_equal(raw_ask_how(&one, stage.store, append("x"), served).flags, WIRE_ALONE);
    raw_hold_inode(&two, stage.store, file, HF_SHARED);
    assert_int_equal(raw_ask_how(&one, stage.store, read_all(), served).flags, 0);
}

/* With space to wait for, and the hold to be taken once more. */
static void test_without_space(void **state)
{
    static const uint8_t data[8 * STORE_PAGE_SIZE];
    served_reserve_for(&stage, &two, 64, 0, false);
    struct wire_operation op = *append("");
    op.data = data;
    op.data_size = sizeof(data);
    const uint32_t seq = begin(&one, &op);
    raw_expect(&two, WIRE_RECLAIM);
    const uint64_t grant = raw_hold_inode(&two, stage.store, file, HF_EXCLUSIVE);
    raw_tell(&two, stage.store, OP(WIRE_OP_RETURN, .pages = 64));
    expect_recall(&two, HF_INVALID);
    raw_release_inode(&two, stage.store, file, grant, HF_INVALID);
    expect_appended(raw_expect_answer(&one, seq), sizeof(data));
}

static void test_gone_while_it_waits(void **state)
{
    const uint64_t grant = raw_hold_inode(&two, stage.store, file, HF_EXCLUSIVE);
    begin(&one, append("x"));
    expect_recall(&two, HF_INVALID);
    raw_close(&one);
    test_server_await_clients(&stage.test, 1);
    raw_release_inode(&two, stage.store, file, grant, HF_INVALID);
    assert_int_equal(raw_ask(&two, stage.store, read_all()).size, 0);
    raw_join(&one, stage.test.address, "one");
    assert_int_equal(raw_ask_how(&one, stage.store, read_all(), served).size, 0);
}

/* The server ends while operations wait for holds and for space. */
static void test_the_server_ends_while_operations_wait(void **state)
{
    served_reserve_for(&stage, &two, 64, 0, false);
    raw_hold_inode(&two, stage.store, file, HF_EXCLUSIVE);
    begin(&one, append("x"));
    expect_recall(&two, HF_INVALID);
    raw_send_operation(&one, stage.store, 99, OP(WIRE_OP_RESERVE, .pages = 5), (struct raw_how){0});
    raw_expect(&two, WIRE_RECLAIM);
    hf_server_stop(stage.test.server);
    raw_expect_goodbye(&one, WIRE_REASON_SHUTDOWN);
    raw_expect_goodbye(&two, WIRE_REASON_SHUTDOWN);
}

static void test_what_cannot_be_served(void **state)
{
    raw_send_operation(&two, stage.store, 1, OP(WIRE_OP_ALLOCATE, .inode = file), served);
    raw_expect_goodbye(&two, WIRE_REASON_BAD_MESSAGE);
    raw_send_operation(&one, stage.store, 0, append("x"), served);
    raw_expect_goodbye(&one, WIRE_REASON_BAD_MESSAGE);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_at_once),
        TEST(test_after_others),
        TEST(test_readers_and_writers),
        TEST(test_in_the_queue_with_clients),
        TEST(test_the_version_moves),
        TEST(test_alone),
        TEST(test_without_space),
        TEST(test_gone_while_it_waits),
        TEST(test_the_server_ends_while_operations_wait),
        TEST(test_what_cannot_be_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
