/*
 * What a thread is told, and how: each change once to somebody, each end of a wait once.
 */
#include "sync/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const hf_id ID = {.space = 1, .object = 1};

struct fixture {
    struct sync_client client;
    struct sync_hold hold;
    struct wire_message sent; /* the last one */
    unsigned wakes;
};

static void record_send(void *context, const struct wire_message *message)
{
    struct fixture *fixture = context;
    fixture->sent = *message;
}

static void record_wake(void *context, struct sync_waiter *waiter)
{
    struct fixture *fixture = context;
    assert_int_not_equal(waiter->state, SYNC_WAITER_QUEUED);
    fixture->wakes++;
}

static void ignore_arm(void *context, struct sync_hold *hold)
{
}

static void setup(struct fixture *fixture)
{
    *fixture = (struct fixture){
        .client = {.send = record_send, .wake = record_wake, .arm = ignore_arm},
    };
    fixture->client.context = fixture;
    sync_hold_init(&fixture->hold, ID, true);
}

static void acquire(struct fixture *fixture, struct sync_waiter *waiter, hf_mode mode)
{
    *waiter = (struct sync_waiter){.mode = (uint8_t)mode};
    sync_hold_acquire(&fixture->client, &fixture->hold, waiter, 1);
}

static void get_grant(struct fixture *fixture, hf_mode mode, uint64_t version)
{
    const struct wire_message message = {
        .kind = WIRE_GRANT,
        .id = ID,
        .seq = fixture->hold.seq,
        .grant = version + 1,
        .mode = (uint8_t)mode,
        .version = version,
    };
    assert_true(sync_hold_input(&fixture->client, &fixture->hold, &message, 1));
}

/* A GRANT that crosses the CANCEL of its request finds nobody to tell that the value changed:
 * the next thread is told, and it has to come through the slow path for that. */
static void test_a_change_that_nobody_waited_for_is_told_to_the_next(void **state)
{
    struct fixture fixture;
    setup(&fixture);
    struct sync_waiter impatient;
    acquire(&fixture, &impatient, HF_SHARED);
    sync_hold_give_up(&fixture.client, &fixture.hold, &impatient, -ECANCELED, 1);
    assert_int_equal(fixture.sent.kind, WIRE_CANCEL);
    get_grant(&fixture, HF_SHARED, 5);

    bool left_attention = false;
    assert_false(sync_hold_try_shared(&fixture.hold, &left_attention));
    struct sync_waiter next;
    acquire(&fixture, &next, HF_SHARED);
    assert_int_equal(next.state, SYNC_WAITER_GRANTED);
    assert_int_equal(next.result, HF_CHANGED);

    struct sync_waiter after;
    assert_true(sync_hold_try_shared(&fixture.hold, &left_attention));
    acquire(&fixture, &after, HF_SHARED);
    assert_int_equal(after.result, HF_UNCHANGED);
    sync_hold_deinit(&fixture.hold);
}

/* A thread that is served inside its own call is not woken as well: nobody sleeps there. */
static void test_who_is_served_at_once_is_not_woken(void **state)
{
    struct fixture fixture;
    setup(&fixture);
    struct sync_waiter first;
    acquire(&fixture, &first, HF_SHARED);
    assert_int_equal(first.state, SYNC_WAITER_QUEUED);
    get_grant(&fixture, HF_SHARED, 5);
    assert_int_equal(first.state, SYNC_WAITER_GRANTED);
    assert_int_equal(fixture.wakes, 1);

    struct sync_waiter second;
    acquire(&fixture, &second, HF_SHARED);
    assert_int_equal(second.state, SYNC_WAITER_GRANTED);
    assert_int_equal(fixture.wakes, 1);
    sync_hold_deinit(&fixture.hold);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_that_nobody_waited_for_is_told_to_the_next),
        cmocka_unit_test(test_who_is_served_at_once_is_not_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
