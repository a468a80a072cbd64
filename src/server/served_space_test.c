/*
 * Space that clients have ahead of their operations, and give back when others need it: nobody fails
 * for want of what another does not need.
 */
#include "lib/served_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 64
#define INODES 64

static struct served_stage stage;
static struct raw_client one;
static struct raw_client two;
static uint64_t first;  /* a file that `one` holds */
static uint64_t second; /* and `two` */

static uint64_t file_of(struct raw_client *client, const char *name)
{
    const uint64_t root = raw_hold_inode(client, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    const uint64_t number = served_make_in(&stage, client, STORE_ROOT, name, S_IFREG | 0600);
    raw_hold_inode(client, stage.store, number, HF_EXCLUSIVE);
    raw_release_inode(client, stage.store, STORE_ROOT, root, HF_INVALID);
    return number;
}

static void start(uint32_t reclaim_seconds, uint64_t waiting_bytes)
{
    served_stage_init(&stage);
    stage.test.config.limits.reclaim_seconds = reclaim_seconds;
    stage.test.config.limits.waiting_bytes = waiting_bytes;
    served_stage_start(
        &stage, &(struct served_stage_options){.pages = PAGES, .inodes = INODES, .mode = 0777});
    raw_join(&one, stage.test.address, "one");
    raw_join(&two, stage.test.address, "two");
    first = file_of(&one, "first");
    second = file_of(&two, "second");
}

static int set_up(void **state)
{
    start(3600, 1 << 20);
    return 0;
}

static int set_up_impatient(void **state)
{
    start(1, 1 << 20);
    return 0;
}

static int set_up_without_waiting(void **state)
{
    start(3600, 0);
    return 0;
}

static int tear_down(void **state)
{
    raw_close(&one);
    raw_close(&two);
    test_server_await_clients(&stage.test, 0);
    served_stage_deinit(&stage);
    return 0;
}

static const uint8_t data[WIRE_DATA_MAX];

static const struct wire_operation *write_pages(uint64_t file, uint64_t at, uint64_t pages)
{
    static struct wire_operation op;
    op = *OP(WIRE_OP_WRITE,
             .inode = file,
             .offset = at * STORE_PAGE_SIZE,
             .now = served_now(),
             .data = data,
             .data_size = (uint32_t)(pages * STORE_PAGE_SIZE));
    return &op;
}

/* An operation that waits: it is sent, and answered later. */
static uint32_t begin(struct raw_client *client, const struct wire_operation *op)
{
    const uint32_t seq = ++client->last_seq;
    raw_send_operation(client, stage.store, seq, op, (struct raw_how){0});
    return seq;
}

static void give_back(struct raw_client *client, uint64_t pages, uint64_t inodes)
{
    raw_tell(client, stage.store, OP(WIRE_OP_RETURN, .pages = pages, .inodes = inodes));
}

static void expect_reclaim(struct raw_client *client)
{
    assert_int_equal(raw_expect(client, WIRE_RECLAIM).store, stage.store);
}

static struct wire_usage usage(struct raw_client *client)
{
    struct wire_usage record;
    const struct raw_answer answer = raw_ask(client, stage.store, OP(WIRE_OP_USAGE));
    assert_true(wire_get_usage(answer.data, answer.size, &record) == answer.size);
    return record;
}

static void fill(struct raw_client *client, uint64_t file, uint64_t pages)
{
    for (uint64_t at = 0; at < pages; at += 8) {
        const uint64_t count = pages - at < 8 ? pages - at : 8;
        assert_int_equal(raw_count(raw_ask(client, stage.store, write_pages(file, at, count))),
                         count * STORE_PAGE_SIZE);
    }
}

/* ---- reserving ---- */

/* As much as there is of each, whatever was asked for. */
static void test_reserve(void **state)
{
    struct wire_reservation had = served_reserve_for(&stage, &one, 10, UINT64_MAX, false);
    assert_int_equal(had.pages, 10);
    assert_int_equal(had.inodes, INODES - 3);
    assert_int_equal(had.number, 0);
    had = served_reserve_for(&stage, &one, UINT64_MAX, 0, true);
    assert_int_equal(had.pages, PAGES);
    assert_true(had.number > 0);
    assert_int_equal(usage(&two).free_pages, PAGES);
    assert_int_equal(usage(&two).free_inodes, INODES - 3);
    had = served_reserve_for(&stage, &one, 5, 5, false);
    assert_int_equal(had.pages, PAGES); /* nobody else has any */
    give_back(&one, UINT64_MAX, 1);
    had = served_reserve_for(&stage, &two, 5, 1, false);
    assert_int_equal(had.pages, 5);
    assert_int_equal(had.inodes, 1);
}

/* What was reserved is for what is told: who asks has as much left as it counts. */
static void test_reserved_space_pays_for_what_is_told(void **state)
{
    served_reserve_for(&stage, &one, 10, 0, false);
    raw_tell(&one, stage.store, write_pages(first, 0, 4));
    assert_int_equal(usage(&one).free_pages, PAGES - 4);
    assert_int_equal(test_server_stats(&stage.test).reserved_pages, 6);
    assert_int_equal(raw_count(raw_ask(&one, stage.store, write_pages(first, 4, 8))),
                     8 * STORE_PAGE_SIZE);
    assert_int_equal(test_server_stats(&stage.test).reserved_pages, 6);
}

static void test_reservations_end_with_the_client(void **state)
{
    served_reserve_for(&stage, &two, PAGES, 10, true);
    raw_close(&two);
    test_server_await_clients(&stage.test, 1);
    assert_int_equal(test_server_stats(&stage.test).reserved_pages, 0);
    fill(&one, first, PAGES);
    raw_join(&two, stage.test.address, "two");
}

/* ---- reclaiming ---- */

static void test_a_write_gets_what_another_does_not_need(void **state)
{
    served_reserve_for(&stage, &two, 60, 0, false);
    const uint32_t seq = begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&two);
    give_back(&two, 40, 0);
    assert_int_equal(raw_count(raw_expect_answer(&one, seq)), 10 * STORE_PAGE_SIZE);
    assert_int_equal(test_server_stats(&stage.test).reserved_pages, 20);
}

/* What the other needs it keeps: then there is no space, to the page. */
static void test_no_space_exactly(void **state)
{
    served_reserve_for(&stage, &two, 60, 0, false);
    fill(&one, first, 4);
    uint32_t seq = begin(&one, write_pages(first, 4, 1));
    expect_reclaim(&two);
    give_back(&two, 1, 0);
    assert_int_equal(raw_count(raw_expect_answer(&one, seq)), STORE_PAGE_SIZE);
    seq = begin(&one, write_pages(first, 5, 1));
    expect_reclaim(&two);
    give_back(&two, 0, 0);
    assert_int_equal(raw_expect_answer(&one, seq).error, ENOSPC);
    for (uint64_t at = 0; at < 59; at++) {
        raw_tell(&two, stage.store, write_pages(second, at, 1));
    }
    assert_int_equal(usage(&two).free_pages, 0);
    assert_int_equal(raw_ask(&two, stage.store, write_pages(second, 59, 1)).error, ENOSPC);
    assert_int_equal(raw_ask(&one, stage.store, write_pages(first, 5, 1)).error, ENOSPC);
}

/* A write of which only a part fits waits, and then is as long as there is space. */
static void test_a_long_write(void **state)
{
    served_reserve_for(&stage, &two, 60, 0, false);
    const uint32_t seq = begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&two);
    give_back(&two, 3, 0);
    assert_int_equal(raw_count(raw_expect_answer(&one, seq)), 7 * STORE_PAGE_SIZE);
    give_back(&two, 60, 0);
    served_reserve_for(&stage, &two, 55, 0, false); /* two are left */
    struct wire_appended appended;
    struct wire_operation append = *write_pages(first, 0, 4);
    append.code = WIRE_OP_APPEND;
    const uint32_t third = begin(&one, &append);
    expect_reclaim(&two);
    give_back(&two, 60, 0);
    const struct raw_answer answer = raw_expect_answer(&one, third);
    assert_true(wire_get_appended(answer.data, answer.size, &appended) == answer.size);
    assert_int_equal(appended.count, 4 * STORE_PAGE_SIZE);
    assert_int_equal(appended.end, 11 * STORE_PAGE_SIZE);
}

static void test_a_reservation_waits_for_another(void **state)
{
    struct wire_reservation had = {0};
    served_reserve_for(&stage, &two, PAGES, INODES, false);
    const uint32_t seq = begin(&one, OP(WIRE_OP_RESERVE, .pages = 8, .count = 1));
    expect_reclaim(&two);
    give_back(&two, 6, 0);
    const struct raw_answer answer = raw_expect_answer(&one, seq);
    assert_true(wire_get_reservation(answer.data, answer.size, &had) == answer.size);
    assert_int_equal(had.pages, 6);
    assert_true(had.number > 0);
}

static void test_an_inode_is_reclaimed_too(void **state)
{
    served_reserve_for(&stage, &two, 0, INODES, false);
    raw_hold_inode(&one, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    const uint32_t seq = begin(&one,
                               OP(WIRE_OP_MAKE,
                                  .inode = STORE_ROOT,
                                  .mode = S_IFREG | 0600,
                                  .now = served_now(),
                                  .name = raw_name("third")));
    expect_reclaim(&two);
    give_back(&two, 0, 1);
    raw_attributes(raw_expect_answer(&one, seq));
}

/* Both want what both have, at the same time: each gives back and is answered. */
static void test_two_reclaim_from_each_other(void **state)
{
    struct wire_reservation had;
    served_reserve_for(&stage, &one, 32, 0, false);
    served_reserve_for(&stage, &two, 32, 0, false);
    const uint32_t of_one = begin(&one, OP(WIRE_OP_RESERVE, .pages = 10));
    expect_reclaim(&two);
    const uint32_t of_two = begin(&two, OP(WIRE_OP_RESERVE, .pages = 10));
    give_back(&two, 4, 0);
    struct raw_answer answer = raw_expect_answer(&one, of_one);
    wire_get_reservation(answer.data, answer.size, &had);
    assert_int_equal(had.pages, 36);
    expect_reclaim(&one);
    give_back(&one, 8, 0);
    answer = raw_expect_answer(&two, of_two);
    wire_get_reservation(answer.data, answer.size, &had);
    assert_int_equal(had.pages, 36);
    assert_int_equal(usage(&one).free_pages, PAGES);
}

/* Two that wait at the same time: the later one has a round of its own, in which the first, which has
 * got more than it needs meanwhile, is asked. */
static void test_two_wait(void **state)
{
    struct raw_client third;
    raw_join(&third, stage.test.address, "third");
    served_reserve_for(&stage, &third, 64, 0, false);
    const uint32_t of_one = begin(&one, OP(WIRE_OP_RESERVE, .pages = 20));
    expect_reclaim(&third);
    const uint32_t of_two = begin(&two, write_pages(second, 0, 16));
    raw_round_trip(&two); /* it waits */
    give_back(&third, 10, 0);
    raw_expect_answer(&one, of_one);
    expect_reclaim(&one);
    expect_reclaim(&third);
    give_back(&one, 5, 0);
    give_back(&third, 30, 0);
    assert_int_equal(raw_count(raw_expect_answer(&two, of_two)), 16 * STORE_PAGE_SIZE);
    assert_int_equal(test_server_stats(&stage.test).reserved_pages, 5 + 24);
    raw_close(&third);
    test_server_await_clients(&stage.test, 2);
}

/* What a client asks for is not paid for from what it has reserved, until it gives that back. */
static void test_who_asks_may_give_back_its_own(void **state)
{
    served_reserve_for(&stage, &one, 60, 0, false);
    const uint32_t seq = begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&one);
    give_back(&one, 50, 0);
    assert_int_equal(raw_count(raw_expect_answer(&one, seq)), 10 * STORE_PAGE_SIZE);
    assert_int_equal(test_server_stats(&stage.test).reserved_pages, 10);
}

/* What is given back is for who waits for it, and not for who asks for some ahead meanwhile. */
static void test_given_back_to_who_waits(void **state)
{
    struct wire_reservation had;
    struct raw_client third, fourth;
    raw_join(&third, stage.test.address, "third");
    raw_join(&fourth, stage.test.address, "fourth");
    served_reserve_for(&stage, &third, 60, 0, false);
    served_reserve_for(&stage, &fourth, 4, 0, false);
    const uint32_t of_one = begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&third);
    expect_reclaim(&fourth);
    give_back(&third, 60, 0);
    raw_round_trip(&third); /* it is free, and one still waits for the fourth */
    const uint32_t of_two = begin(&two, OP(WIRE_OP_RESERVE, .pages = 64));
    raw_round_trip(&two);
    give_back(&fourth, 4, 0);
    assert_int_equal(raw_count(raw_expect_answer(&one, of_one)), 10 * STORE_PAGE_SIZE);
    const struct raw_answer answer = raw_expect_answer(&two, of_two);
    assert_true(wire_get_reservation(answer.data, answer.size, &had) == answer.size);
    assert_int_equal(had.pages, 54);
    raw_close(&third);
    raw_close(&fourth);
    test_server_await_clients(&stage.test, 2);
}

/* Of two in one round the first reserves all there is: the second does not fail for that, but is the
 * first in the next round. */
static void test_another_got_it_meanwhile(void **state)
{
    struct raw_client third, fourth;
    raw_join(&third, stage.test.address, "third");
    raw_join(&fourth, stage.test.address, "fourth");
    served_reserve_for(&stage, &third, 64, 0, false);
    const uint32_t of_fourth = begin(&fourth, OP(WIRE_OP_RESERVE, .pages = 1));
    expect_reclaim(&third);
    const uint32_t of_one = begin(&one, OP(WIRE_OP_RESERVE, .pages = 64));
    raw_round_trip(&one);
    const uint32_t of_two = begin(&two, write_pages(second, 0, 10));
    raw_round_trip(&two);
    give_back(&third, 1, 0);
    raw_expect_answer(&fourth, of_fourth);
    expect_reclaim(&third);
    expect_reclaim(&fourth);
    give_back(&third, 63, 0);
    give_back(&fourth, 1, 0);
    raw_expect_answer(&one, of_one);
    expect_reclaim(&one);
    give_back(&one, 60, 0);
    assert_int_equal(raw_count(raw_expect_answer(&two, of_two)), 10 * STORE_PAGE_SIZE);
    raw_close(&third);
    raw_close(&fourth);
    test_server_await_clients(&stage.test, 2);
}

/* A copy is not shorter than it was to be for want of what another does not need. */
static void test_a_copy_waits_for_space(void **state)
{
    raw_hold_inode(&one, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    const uint64_t copy = served_make_in(&stage, &one, STORE_ROOT, "copy", S_IFREG | 0600);
    raw_hold_inode(&one, stage.store, copy, HF_EXCLUSIVE);
    fill(&one, first, 8);
    served_reserve_for(&stage, &two, PAGES - 8 - 3, 0, false);
    const uint32_t seq = begin(&one,
                               OP(WIRE_OP_COPY,
                                  .inode = first,
                                  .other = copy,
                                  .size = 100 * STORE_PAGE_SIZE,
                                  .now = served_now()));
    expect_reclaim(&two);
    give_back(&two, 10, 0);
    assert_int_equal(raw_count(raw_expect_answer(&one, seq)), 8 * STORE_PAGE_SIZE);
}

/* While it waits nothing of it is there: who is killed then leaves no half of it. */
static void test_nothing_is_written_before_all_of_it_fits(void **state)
{
    struct raw_client third;
    raw_join(&third, stage.test.address, "third");
    served_reserve_for(&stage, &two, 60, 0, false);
    begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&two);
    assert_int_equal(
        raw_attributes(raw_ask(&third, stage.store, OP(WIRE_OP_GET, .inode = first))).size, 0);
    raw_close(&one);
    test_server_await_clients(&stage.test, 2);
    give_back(&two, 60, 0);
    assert_int_equal(
        raw_attributes(raw_ask(&third, stage.store, OP(WIRE_OP_GET, .inode = first))).size, 0);
    raw_close(&third);
    raw_join(&one, stage.test.address, "one");
}

/* ---- who does not answer ---- */

static void test_gone_instead_of_an_answer(void **state)
{
    served_reserve_for(&stage, &two, PAGES, 0, false);
    const uint32_t seq = begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&two);
    raw_close(&two);
    assert_int_equal(raw_count(raw_expect_answer(&one, seq)), 10 * STORE_PAGE_SIZE);
    raw_join(&two, stage.test.address, "two");
}

static void test_no_answer(void **state)
{
    served_reserve_for(&stage, &two, PAGES, 0, false);
    const uint32_t seq = begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&two);
    raw_expect_goodbye(&two, WIRE_REASON_TOO_SLOW);
    assert_int_equal(raw_count(raw_expect_answer(&one, seq)), 10 * STORE_PAGE_SIZE);
    raw_close(&two);
    raw_join(&two, stage.test.address, "two");
}

static void test_gone_while_it_waits(void **state)
{
    served_reserve_for(&stage, &two, PAGES, 0, false);
    begin(&one, write_pages(first, 0, 10));
    expect_reclaim(&two);
    raw_close(&one);
    test_server_await_clients(&stage.test, 1);
    give_back(&two, PAGES, 0);
    raw_round_trip(&two);
    assert_int_equal(usage(&two).free_pages, PAGES);
    raw_join(&one, stage.test.address, "one");
}

/* Whoever lets go of what an operation needs, while that waits, is cut off when its turn comes. */
static void test_released_while_it_waits(void **state)
{
    served_reserve_for(&stage, &two, PAGES, 0, false);
    const uint64_t third = file_of(&one, "third");
    struct raw_client *const client = &one;
    raw_release_inode(client, stage.store, third, 0, HF_INVALID);
    raw_expect_goodbye(client, WIRE_REASON_BAD_MESSAGE);
    raw_close(client);
    raw_join(client, stage.test.address, "one");
    const uint64_t grant = raw_hold_inode(client, stage.store, third, HF_EXCLUSIVE);
    begin(client, write_pages(third, 0, 10));
    expect_reclaim(&two);
    raw_release_inode(client, stage.store, third, grant, HF_INVALID);
    raw_round_trip(client);
    give_back(&two, PAGES, 0);
    raw_expect_goodbye(client, WIRE_REASON_NOT_HELD);
    raw_close(client);
    assert_int_equal(usage(&two).free_pages, PAGES);
    raw_join(client, stage.test.address, "one");
}

/* What may not wait fails at once, and a write is as long as there is space. */
static void test_nothing_may_wait(void **state)
{
    served_reserve_for(&stage, &two, 60, 0, false);
    assert_int_equal(raw_count(raw_ask(&one, stage.store, write_pages(first, 0, 10))),
                     4 * STORE_PAGE_SIZE);
    assert_int_equal(raw_ask(&one, stage.store, write_pages(first, 4, 1)).error, ENOSPC);
    assert_int_equal(served_reserve_for(&stage, &one, 5, 5, false).inodes, 5);
    raw_round_trip(&two); /* nobody asks it */
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_reserve),
        TEST(test_reserved_space_pays_for_what_is_told),
        TEST(test_reservations_end_with_the_client),
        TEST(test_a_write_gets_what_another_does_not_need),
        TEST(test_no_space_exactly),
        TEST(test_a_long_write),
        TEST(test_a_reservation_waits_for_another),
        TEST(test_who_asks_may_give_back_its_own),
        TEST(test_an_inode_is_reclaimed_too),
        TEST(test_two_reclaim_from_each_other),
        TEST(test_two_wait),
        TEST(test_given_back_to_who_waits),
        TEST(test_another_got_it_meanwhile),
        TEST(test_a_copy_waits_for_space),
        TEST(test_nothing_is_written_before_all_of_it_fits),
        TEST(test_gone_instead_of_an_answer),
        cmocka_unit_test_setup_teardown(test_no_answer, set_up_impatient, tear_down),
        TEST(test_gone_while_it_waits),
        TEST(test_released_while_it_waits),
        cmocka_unit_test_setup_teardown(test_nothing_may_wait, set_up_without_waiting, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
