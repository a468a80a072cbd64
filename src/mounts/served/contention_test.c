/* When operations on a file are sent to the server, and when its hold is worked with. */
#include "mounts/served/contention.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* A round trip. */
#define TRIP_NS 50000

struct client {
    struct contention contention;
    uint64_t grant;
    uint64_t now_ns;
    uint32_t waiting;
};

static struct client client_init(uint32_t waiting)
{
    return (struct client){.grant = 1, .now_ns = 1000000000, .waiting = waiting};
}

/* A hold comes, serves so many operations, and is lost. */
static void hold(struct client *client, unsigned uses)
{
    client->grant++;
    for (unsigned i = 0; i < uses; i++) {
        contention_held(&client->contention, client->grant, client->waiting);
    }
}

/* The number of such holds until operations are sent, at most @most. */
static unsigned hold_until_sent(struct client *client, unsigned uses, unsigned most)
{
    unsigned holds = 0;
    while (!contention_is_sent(&client->contention) && holds < most) {
        hold(client, uses);
        holds++;
    }
    return holds;
}

/* The same the other way round: operations with so much time between two of them. */
static unsigned send_until_held(struct client *client, uint64_t between_ns, bool alone,
                                unsigned most)
{
    unsigned operations = 0;
    while (contention_is_sent(&client->contention) && operations < most) {
        const uint64_t begun_ns = client->now_ns + between_ns;
        client->now_ns = begun_ns + TRIP_NS;
        contention_sent(&client->contention, begun_ns, client->now_ns, alone);
        operations++;
    }
    return operations;
}

static void test_holds_that_serve_many_operations_are_kept(void **state)
{
    struct client client = client_init(1);
    assert_int_equal(hold_until_sent(&client, CONTENTION_FEW_USES + 1, 1000), 1000);
}

/* One of many serves several: that is enough. */
static void test_only_short_holds_in_a_row_count(void **state)
{
    struct client client = client_init(1);
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j < CONTENTION_SHORT_HOLDS - 1; j++) {
            hold(&client, 1);
        }
        hold(&client, CONTENTION_FEW_USES + 1);
    }
    assert_false(contention_is_sent(&client.contention));
}

static void test_a_file_that_bounces_is_left_at_the_server(void **state)
{
    struct client client = client_init(1);
    /* That a hold was short shows when the next one comes. */
    assert_int_equal(hold_until_sent(&client, 1, 1000), CONTENTION_SHORT_HOLDS + 1);
    assert_int_equal(send_until_held(&client, CONTENTION_TIGHT_NS, false, 1000), 1000);
}

static void test_it_comes_back_when_nobody_else_is_there(void **state)
{
    struct client client = client_init(1);
    hold_until_sent(&client, 1, 1000);
    assert_int_equal(send_until_held(&client, TRIP_NS, true, 1000), CONTENTION_ALONE);
    /* And goes again as soon as before. */
    assert_int_equal(hold_until_sent(&client, 1, 1000), CONTENTION_SHORT_HOLDS + 1);
}

static void test_a_loop_works_with_holds(void **state)
{
    struct client client = client_init(1);
    hold_until_sent(&client, 1, 1000);
    assert_int_equal(send_until_held(&client, 100, false, 1000), CONTENTION_TIGHT + 1);
}

/* The more wait for a holder that does something else, the sooner it is better not to hold. */
static void test_what_is_a_loop_depends_on_how_many_wait(void **state)
{
    struct client one = client_init(1);
    struct client three = client_init(3);
    hold_until_sent(&one, 1, 1000);
    hold_until_sent(&three, 1, 1000);
    const uint64_t between_ns = CONTENTION_TIGHT_NS / 2;
    assert_int_equal(send_until_held(&one, between_ns, false, 1000), CONTENTION_TIGHT + 1);
    assert_int_equal(send_until_held(&three, between_ns, false, 1000), 1000);
}

/* Each time that a loop was left at the server it takes longer until that is done again, for it costs
 * more than short holds do; but not for ever, as it may have become something else. */
static void test_a_loop_is_seldom_left_at_the_server(void **state)
{
    struct client client = client_init(1);
    unsigned before = hold_until_sent(&client, 1, 10000);
    for (int i = 0; i < 20; i++) {
        send_until_held(&client, 100, false, 1000);
        const unsigned holds = hold_until_sent(&client, 1, 10000);
        assert_true(holds > before || holds == CONTENTION_SHORT_HOLDS_MAX + 1);
        assert_true(holds <= CONTENTION_SHORT_HOLDS_MAX + 1);
        before = holds;
    }
    assert_int_equal(before, CONTENTION_SHORT_HOLDS_MAX + 1);
}

/* Threads of one client overlap: an operation begins before the last one is over. */
static void test_threads_that_overlap_are_a_loop(void **state)
{
    struct client client = client_init(1);
    hold_until_sent(&client, 1, 1000);
    contention_sent(&client.contention, 1000, 90000, false);
    contention_sent(&client.contention, 2000, 91000, false);
    contention_sent(&client.contention, 3000, 92000, false);
    assert_false(contention_is_sent(&client.contention));
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds_that_serve_many_operations_are_kept),
        cmocka_unit_test(test_only_short_holds_in_a_row_count),
        cmocka_unit_test(test_a_file_that_bounces_is_left_at_the_server),
        cmocka_unit_test(test_it_comes_back_when_nobody_else_is_there),
        cmocka_unit_test(test_a_loop_works_with_holds),
        cmocka_unit_test(test_what_is_a_loop_depends_on_how_many_wait),
        cmocka_unit_test(test_a_loop_is_seldom_left_at_the_server),
        cmocka_unit_test(test_threads_that_overlap_are_a_loop),
    };
    return cmocka_run_group_tests_name("contention", tests, NULL, NULL);
}
