/*
 * File locks at a server, seen from the wire: who may lock in whose name, what the end of a
 * connection sets free, and how long the server waits for a table.
 */
#include "lib/raw_client.h"
#include "lib/test.h"
#include "lib/test_server.h"
#include "locks/lock.h"
#include "wire/ids.h"
#include "wire/operations.h"

#include <errno.h>

static struct test_server test;
static struct raw_client one, other;

static const hf_id file = {HF_SPACE_RESERVED | UINT64_C(1) << 56, 77};

static void start(uint32_t recall_seconds)
{
    test.config.limits.recall_seconds = recall_seconds;
    test_server_start(&test);
    raw_join(&one, test.address, "one");
    raw_join(&other, test.address, "other");
}

static int set_up(void **state)
{
    test_server_init(&test);
    return 0;
}

static int tear_down(void **state)
{
    raw_close(&one);
    raw_close(&other);
    test_server_deinit(&test);
    return 0;
}

/* ---- messages ---- */

static hf_id process_of(const struct raw_client *client)
{
    return (hf_id){wire_process_space(client->number), 0};
}

static hf_id open_file_of(const struct raw_client *client, uint64_t counter)
{
    return (hf_id){wire_open_file_space(client->number), counter};
}

static void send_lock(struct raw_client *client, uint8_t flags, enum lock_kind kind, hf_id owner,
                      enum lock_type type)
{
    const struct wire_lock lock = {
        .kind = (uint8_t)kind,
        .type = (uint8_t)type,
        .end = LOCK_LAST_BYTE,
        .owner_space = owner.space,
        .owner_object = owner.object,
        .pid = 5,
        .path = {"/file", 5},
    };
    uint8_t data[WIRE_OPERATION_HEAD_MAX];
    client->last_seq++;
    assert_true(raw_send(client,
                         &(struct wire_message){
                             .kind = WIRE_LOCK,
                             .seq = client->last_seq,
                             .id = file,
                             .flags = flags,
                             .data = data,
                             .data_size = (uint32_t)wire_put_lock(&lock, data),
                         }));
}

/* Return: the grant of the answer to the last LOCK. */
static uint64_t expect_locked(struct raw_client *client, uint32_t error)
{
    const struct wire_message answer = raw_expect(client, WIRE_LOCKED);
    assert_int_equal(answer.seq, client->last_seq);
    assert_int_equal(answer.error, error);
    return answer.grant;
}

static uint64_t lock_posix(struct raw_client *client)
{
    send_lock(client, 0, LOCK_POSIX, process_of(client), LOCK_TYPE_WRITE);
    return expect_locked(client, 0);
}

/* The server wants the table back: nothing is in it. */
static void expect_recall(struct raw_client *client, uint64_t grant)
{
    const struct wire_message recall = raw_expect(client, WIRE_LOCK_RECALL);
    assert_true(recall.grant == grant);
}

static void give_back(struct raw_client *client, uint64_t grant)
{
    assert_true(raw_send(
        client, &(struct wire_message){.kind = WIRE_LOCK_RETURN, .id = file, .grant = grant}));
}

/* ---- patience ---- */

static void test_who_does_not_give_back_a_table_is_cut_off(void **state)
{
    start(1);
    const uint64_t grant = lock_posix(&one);
    assert_true(grant != 0);
    send_lock(&other, WIRE_LOCK_WAIT, LOCK_POSIX, process_of(&other), LOCK_TYPE_WRITE);
    expect_recall(&one, grant);
    expect_locked(&other, 0); /* after a second, without an answer */
    raw_expect_goodbye(&one, WIRE_REASON_TOO_SLOW);
    test_server_expect_log(&test, "say hello or give back");
}

static void test_who_gives_it_back_is_not(void **state)
{
    start(1);
    const uint64_t grant = lock_posix(&one);
    send_lock(&other, WIRE_LOCK_WAIT, LOCK_POSIX, process_of(&other), LOCK_TYPE_WRITE);
    expect_recall(&one, grant);
    give_back(&one, grant);
    expect_locked(&other, 0);
    send_lock(&one, 0, LOCK_POSIX, process_of(&one), LOCK_TYPE_READ);
    expect_locked(&one, EAGAIN);
    assert_int_equal(test_server_stats(&test).cut_off, 0);
}

/* ---- in whose name ---- */

static void test_another_client_s_process(void **state)
{
    start(30);
    send_lock(&one, 0, LOCK_POSIX, process_of(&other), LOCK_TYPE_WRITE);
    raw_expect_end(&one);
    test_server_expect_log(&test, "cut off: ");
    lock_posix(&other);
}

static void test_another_client_s_open_file(void **state)
{
    start(30);
    send_lock(&one, 0, LOCK_OFD, open_file_of(&other, 1), LOCK_TYPE_WRITE);
    raw_expect_end(&one);
    test_server_expect_log(&test, "cut off: ");
    send_lock(&other, 0, LOCK_OFD, open_file_of(&other, 1), LOCK_TYPE_WRITE);
    expect_locked(&other, 0);
}

/* ---- open files that several processes have ---- */

static void refer_to(struct raw_client *client, hf_id id)
{
    client->last_seq++;
    assert_true(raw_send(client,
                         &(struct wire_message){.kind = WIRE_ACQUIRE,
                                                .id = id,
                                                .seq = client->last_seq,
                                                .mode = HF_INVALID,
                                                .flags = WIRE_REFERENCE}));
    raw_expect(client, WIRE_GRANT);
}

/* Its locks stay when one of the processes ends, whoever made them, and go with the last. */
static void test_locks_of_a_shared_open_file(void **state)
{
    struct raw_client third;
    start(30);
    raw_join(&third, test.address, "third");
    const hf_id shared = open_file_of(&one, 1);
    refer_to(&one, shared);
    refer_to(&other, shared);
    send_lock(&other, 0, LOCK_FLOCK, shared, LOCK_TYPE_WRITE);
    assert_true(expect_locked(&other, 0) == 0); /* the table stays at the server */
    send_lock(&third, WIRE_LOCK_WAIT, LOCK_FLOCK, open_file_of(&third, 1), LOCK_TYPE_WRITE);
    raw_close(&other);
    test_server_await_clients(&test, 2);
    send_lock(&one, WIRE_LOCK_TEST, LOCK_FLOCK, open_file_of(&one, 2), LOCK_TYPE_READ);
    const struct wire_message answer = raw_expect(&one, WIRE_LOCKED);
    assert_true(answer.data_size > 0);
    raw_close(&one);
    expect_locked(&third, 0);
    raw_close(&third);
    raw_join(&one, test.address, "one");
    raw_join(&other, test.address, "other");
}

static void test_locks_of_a_process_end_with_it(void **state)
{
    start(30);
    lock_posix(&one);
    send_lock(&other, WIRE_LOCK_WAIT, LOCK_POSIX, process_of(&other), LOCK_TYPE_WRITE);
    raw_close(&one);
    expect_locked(&other, 0);
    raw_join(&one, test.address, "one");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_does_not_give_back_a_table_is_cut_off),
        TEST(test_who_gives_it_back_is_not),
        TEST(test_another_client_s_process),
        TEST(test_another_client_s_open_file),
        TEST(test_locks_of_a_shared_open_file),
        TEST(test_locks_of_a_process_end_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
