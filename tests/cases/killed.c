/*
 * Clients that are killed with SIGKILL, at the worst moments: what they held moves on at once,
 * what they had said is kept, and nobody else hangs or fails.
 */
#include "lib/process.h"
#include "lib/raw_client.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <string.h>
#include <unistd.h>

static struct test_server test;
static struct raw_client survivor;

static int set_up(void **state)
{
    test_server_init(&test);
    test_server_start(&test);
    raw_join(&survivor, test.address, "survivor");
    return 0;
}

static int tear_down(void **state)
{
    raw_round_trip(&survivor);
    raw_close(&survivor);
    test_server_deinit(&test);
    return 0;
}

/* ---- what the victims do; each returns only if something is wrong ---- */

static bool victim_join(struct raw_client *client)
{
    struct wire_message message;
    raw_init(client, raw_dial(test.address));
    return raw_send(client,
                    &(struct wire_message){.kind = WIRE_HELLO,
                                           .magic = WIRE_MAGIC,
                                           .wire_version = WIRE_VERSION,
                                           .data = (const uint8_t *)"victim",
                                           .data_size = 6}) &&
           raw_next(client, &message) == RAW_MESSAGE && message.kind == WIRE_WELCOME;
}

static bool victim_ask(struct raw_client *client, uint64_t object, hf_mode mode)
{
    return raw_send(client,
                    &(struct wire_message){.kind = WIRE_ACQUIRE,
                                           .id = {1, object},
                                           .seq = ++client->last_seq,
                                           .mode = (uint8_t)mode,
                                           .flags = WIRE_REFERENCE});
}

static bool victim_hold(struct raw_client *client, uint64_t object, hf_mode mode, uint64_t *grant)
{
    struct wire_message message;
    if (!victim_ask(client, object, mode) || raw_next(client, &message) != RAW_MESSAGE ||
        message.kind != WIRE_GRANT || (message.flags & WIRE_DENIED) != 0) {
        return false;
    }
    *grant = message.grant;
    return true;
}

static struct wire_message publication(uint64_t grant, const uint32_t *value)
{
    return (struct wire_message){.kind = WIRE_RELEASE,
                                 .id = {1, 1},
                                 .grant = grant,
                                 .mode = HF_EXCLUSIVE,
                                 .flags = WIRE_VALUE,
                                 .data = (const uint8_t *)value,
                                 .data_size = sizeof(*value)};
}

static int hold_and_die(const struct child *self, void *context)
{
    struct raw_client client;
    uint64_t grant;
    const hf_mode *mode = context;
    if (victim_join(&client) && victim_hold(&client, 1, *mode, &grant)) {
        child_report(self, 'h');
        child_wait_to_end(self);
    }
    return 1;
}

static int wait_and_die(const struct child *self, void *context)
{
    struct raw_client client;
    if (victim_join(&client) && victim_ask(&client, 1, HF_EXCLUSIVE)) {
        /* The next answer comes only after the server has handled what came before. */
        uint64_t grant;
        if (victim_hold(&client, 2, HF_SHARED, &grant)) {
            child_report(self, 'w');
            child_wait_to_end(self);
        }
    }
    return 1;
}

/* Publishes, and dies with half of the next publication sent. */
static int publish_and_die(const struct child *self, void *context)
{
    struct raw_client client;
    uint64_t grant;
    const uint32_t *last = context;
    if (!victim_join(&client) || !victim_hold(&client, 1, HF_EXCLUSIVE, &grant)) {
        return 1;
    }
    for (uint32_t value = 1; value <= *last; value++) {
        const struct wire_message message = publication(grant, &value);
        if (!raw_send(&client, &message)) {
            return 1;
        }
        if (value == *last / 2) {
            /* From here on somebody waits, and the RECALL for that is never read. */
            child_report(self, 'p');
            child_wait_to_end(self);
        }
    }
    uint8_t frame[64];
    const uint32_t never = *last + 1;
    const struct wire_message message = publication(grant, &never);
    raw_write(&client, frame, wire_encode(&message, frame) - 1);
    child_report(self, 'd');
    for (;;) {
        pause();
    }
}

static int hold_many_and_die(const struct child *self, void *context)
{
    struct raw_client client;
    uint64_t grant;
    if (victim_join(&client)) {
        for (uint64_t object = 1; object <= 50; object++) {
            if (!victim_hold(&client, object, HF_SHARED, &grant)) {
                return 1;
            }
        }
        child_report(self, 'h');
        child_wait_to_end(self);
    }
    return 1;
}

/* ---- the tests ---- */

static void test_killed_holding_shared(void **state)
{
    struct child victim;
    hf_mode mode = HF_SHARED;
    child_start(&victim, hold_and_die, &mode);
    child_expect(&victim, 'h');
    raw_acquire(&survivor, 1, HF_EXCLUSIVE, 0);
    child_kill(&victim);
    const struct wire_message granted = raw_expect(&survivor, WIRE_GRANT);
    assert_int_equal(granted.mode, HF_EXCLUSIVE);
    assert_int_equal(granted.flags, 0); /* it could not have changed anything */
    assert_int_equal(test_server_stats(&test).clients, 1);
    assert_int_equal(test_server_stats(&test).holds, 1);
}

static void test_killed_holding_exclusive(void **state)
{
    struct child victim;
    hf_mode mode = HF_EXCLUSIVE;
    child_start(&victim, hold_and_die, &mode);
    child_expect(&victim, 'h');
    raw_acquire(&survivor, 1, HF_SHARED, 0);
    child_kill(&victim);
    struct wire_message granted = raw_expect(&survivor, WIRE_GRANT);
    assert_int_equal(granted.flags, WIRE_OWNER_DIED);

    /* It is told once. */
    raw_acquire(&survivor, 1, HF_EXCLUSIVE, 0);
    granted = raw_expect(&survivor, WIRE_GRANT);
    assert_int_equal(granted.flags, 0);
    test_server_expect_log(&test, "client 2 (victim, pid %d", victim.pid);
}

static void test_killed_while_nobody_waits(void **state)
{
    struct child victim;
    hf_mode mode = HF_EXCLUSIVE;
    child_start(&victim, hold_and_die, &mode);
    child_expect(&victim, 'h');
    child_kill(&victim);
    raw_acquire(&survivor, 1, HF_SHARED, 0);
    assert_int_equal(raw_expect(&survivor, WIRE_GRANT).flags, WIRE_OWNER_DIED);
}

static void test_killed_while_waiting(void **state)
{
    struct child victim;
    struct raw_client next;
    const uint64_t grant = raw_hold(&survivor, 1, HF_EXCLUSIVE);
    child_start(&victim, wait_and_die, NULL);
    child_expect(&victim, 'w');
    raw_expect(&survivor, WIRE_RECALL);
    raw_join(&next, test.address, "next");
    raw_acquire(&next, 1, HF_SHARED, 0);
    raw_acquire(&next, 2, HF_EXCLUSIVE, 0); /* granted when the victim's end has been seen */
    child_kill(&victim);
    assert_int_equal(raw_expect(&next, WIRE_GRANT).id.object, 2);
    assert_int_equal(test_server_stats(&test).queued, 1);

    raw_release(&survivor, 1, grant, HF_INVALID);
    const struct wire_message granted = raw_expect(&next, WIRE_GRANT);
    assert_int_equal(granted.id.object, 1);
    assert_int_equal(granted.flags, 0);
    raw_close(&next);
}

/* All that it said counts, though it died with a message from us unread, which makes the kernel
 * report an error on the connection. The half message does not. */
static void test_killed_in_the_middle_of_a_frame(void **state)
{
    struct child victim;
    uint32_t last = 2000, value = 0;
    /* A reference keeps the value when the victim's is gone. */
    raw_acquire(&survivor, 1, HF_INVALID, WIRE_REFERENCE);
    raw_expect(&survivor, WIRE_GRANT);
    child_start(&victim, publish_and_die, &last);
    child_expect(&victim, 'p');
    raw_acquire(&survivor, 1, HF_EXCLUSIVE, 0);
    close(victim.hold);
    victim.hold = -1;
    child_expect(&victim, 'd');
    child_kill(&victim);

    const struct wire_message granted = raw_expect(&survivor, WIRE_GRANT);
    assert_int_equal(granted.flags, WIRE_OWNER_DIED | WIRE_VALUE);
    assert_int_equal(granted.data_size, sizeof(value));
    memcpy(&value, granted.data, sizeof(value));
    assert_int_equal(value, last);
    test_server_expect_log(&test, "left in the middle of a frame");
}

static void test_forty_killed_one_after_the_other(void **state)
{
    for (int i = 0; i < 40; i++) {
        struct child victim;
        child_start(&victim, hold_many_and_die, NULL);
        child_expect(&victim, 'h');
        raw_acquire(&survivor, 50, HF_EXCLUSIVE, 0);
        child_kill(&victim);
        const uint64_t grant = raw_expect(&survivor, WIRE_GRANT).grant;
        const hf_server_stats stats = test_server_stats(&test);
        assert_int_equal(stats.clients, 1);
        assert_int_equal(stats.holds, 1);
        assert_int_equal(stats.handles, 2); /* and the table of mounts */
        assert_int_equal(stats.unsent_bytes, 0);
        raw_release(&survivor, 50, grant, HF_INVALID);
    }
    assert_int_equal(test_server_stats(&test).cut_off, 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_killed_holding_shared),
        TEST(test_killed_holding_exclusive),
        TEST(test_killed_while_nobody_waits),
        TEST(test_killed_while_waiting),
        TEST(test_killed_in_the_middle_of_a_frame),
        TEST(test_forty_killed_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
