/*
 * Asking ahead and closing quietly, many at once, through a connection to a real server.
 */
#include "client/client.h"
#include "lib/fake_server.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <stdlib.h>
#include <sys/socket.h>

enum { MANY = 500 };

static struct stage stage;
static hf_client *a;
static hf_sync *handles[MANY];

static void open_all(void)
{
    for (int i = 0; i < MANY; i++) {
        handles[i] = open_lock(a, 10 + (uint64_t)i);
    }
}

static int set_up(void **state)
{
    stage_init(&stage);
    stage_start(&stage);
    a = stage_client(&stage, "a");
    open_all();
    return 0;
}

static int tear_down(void **state)
{
    for (int i = 0; i < MANY; i++) {
        hf_sync_close(handles[i]);
    }
    hf_client_unref(a);
    stage_await_clients(&stage, 0);
    assert_int_equal(stage_stats(&stage).cut_off, 0);
    stage_deinit(&stage);
    return 0;
}

static void ask_all(hf_mode mode)
{
    for (int i = 0; i < MANY; i++) {
        client_ask_ahead(handles[i], mode);
    }
}

static hf_client_stats stats_of(hf_client *client)
{
    hf_client_stats stats;
    hf_client_get_stats(client, &stats);
    return stats;
}

static void use_all(hf_mode mode)
{
    for (int i = 0; i < MANY; i++) {
        assert_true(hf_sync_acquire(handles[i], mode, NULL) >= 0);
        assert_int_equal(hf_sync_release(handles[i]), 0);
    }
}

static void close_all(void)
{
    for (int i = 0; i < MANY; i++) {
        client_close_quietly(handles[i]);
        handles[i] = NULL;
    }
}

/* The helper sends what is queued whenever it is awake, and it may be woken late for what is long
 * done. But not again and again. */
#define TRIES 100

/* All of it leaves at the end, and the uses cost nothing more. Return: did nothing leave before? */
static bool asks_together(void)
{
    const uint64_t before = stage_stats(&stage).acquires;
    const uint64_t sent = stats_of(a).acquires_sent;
    const uint64_t received = stats_of(a).grants_received;
    ask_all(HF_SHARED);
    const bool stayed = stage_stats(&stage).acquires == before;
    client_send_queued(a);
    assert_int_equal(stage_stats(&stage).acquires, before + MANY);
    use_all(HF_SHARED);
    assert_int_equal(stats_of(a).acquires_sent, sent + MANY);
    assert_int_equal(stats_of(a).grants_received, received + MANY);
    ask_all(HF_SHARED); /* they are held */
    assert_int_equal(stats_of(a).acquires_sent, sent + MANY);
    return stayed;
}

static void test_many_are_asked_for_together(void **state)
{
    int tries = 0;
    while (!asks_together()) {
        assert_in_range(++tries, 1, TRIES);
        close_all();
        open_all();
    }
}

/* What others use is not to be had so, they do not hear of it, and a thread gets it as ever. */
static void test_others_are_left_alone(void **state)
{
    hf_client *b = stage_client(&stage, "b");
    hf_sync *in_b = open_lock(b, 10);
    assert_true(hf_sync_acquire(in_b, HF_EXCLUSIVE, NULL) >= 0);
    assert_int_equal(hf_sync_release(in_b), 0);
    const uint64_t before = client_messages(b);
    client_ask_ahead(handles[0], HF_SHARED);
    client_send_queued(a);
    assert_int_equal(stage_stats(&stage).denials, 1);
    assert_int_equal(client_messages(b), before);
    assert_int_equal(hf_sync_acquire(handles[0], HF_SHARED, NULL), HF_CHANGED);
    assert_int_equal(hf_sync_release(handles[0]), 0);
    hf_sync_close(in_b);
    hf_client_unref(b);
}

/* One message each, all sent at the end. Return: did nothing leave before? */
static bool closes_together(void)
{
    use_all(HF_EXCLUSIVE);
    const uint64_t released = stage_stats(&stage).releases;
    close_all();
    const bool stayed = stage_stats(&stage).releases == released;
    client_send_queued(a);
    assert_int_equal(stage_stats(&stage).releases, released + MANY);
    assert_int_equal(stage_stats(&stage).holds, 0);
    return stayed;
}

static void test_many_are_closed_together(void **state)
{
    int tries = 0;
    while (!closes_together()) {
        assert_in_range(++tries, 1, TRIES);
        open_all();
    }
}

/* A handle is closed, and opened again, before its answer has come. */
static void test_closing_before_the_answer(void **state)
{
    ask_all(HF_EXCLUSIVE);
    for (int i = 0; i < MANY; i++) {
        client_close_quietly(handles[i]);
        handles[i] = i % 2 == 0 ? open_lock(a, 10 + (uint64_t)i) : NULL;
    }
    client_send_queued(a);
    for (int i = 0; i < MANY; i += 2) {
        assert_true(hf_sync_acquire(handles[i], HF_EXCLUSIVE, NULL) >= 0);
        assert_int_equal(hf_sync_release(handles[i]), 0);
    }
    assert_int_equal(stage_stats(&stage).holds, MANY / 2);
}

/* A first use under a hold that came ahead has something to be told, and nothing to say: what is queued
 * goes with a message of its own. */
static void test_a_use_sends_nothing_for_others(void **state)
{
    struct fake fake;
    char byte;
    fake_join(&fake);
    hf_sync *held = open_lock(fake.client, 1);
    hf_sync *next = open_lock(fake.client, 2);
    client_ask_ahead(held, HF_EXCLUSIVE);
    client_send_queued(fake.client);
    struct wire_message asked = fake_expect(&fake, WIRE_ACQUIRE);
    const struct wire_message granted = fake_answer(&asked, 7);
    fake_send(&fake, &granted);
    await_grants(fake.client, 1);

    client_ask_ahead(next, HF_EXCLUSIVE);
    assert_int_equal(hf_sync_acquire(held, HF_EXCLUSIVE, NULL), HF_CHANGED);
    assert_int_equal(hf_sync_release(held), 0);
    assert_int_equal(recv(fake.fd, &byte, 1, MSG_DONTWAIT), -1);
    client_send_queued(fake.client);
    asked = fake_expect(&fake, WIRE_ACQUIRE);
    assert_int_equal(asked.id.object, 2);

    client_close_quietly(held);
    client_close_quietly(next);
    fake_deinit(&fake);
}

/* The server does not read: asking neither blocks nor piles up, and says nothing of it. */
static void test_a_full_socket_is_not_filled_further(void **state)
{
    enum { ENOUGH = 100000 };
    struct fake fake;
    fake_join(&fake);
    hf_sync **asked = calloc(ENOUGH, sizeof(*asked));
    assert_non_null(asked);
    uint64_t sent = 0;
    int count = 0;
    while (stats_of(fake.client).acquires_sent == sent && count < ENOUGH) {
        asked[count] = open_lock(fake.client, 1 + (uint64_t)count);
        client_ask_ahead(asked[count++], HF_SHARED);
        client_send_queued(fake.client);
        sent++;
    }
    const uint64_t full = stats_of(fake.client).acquires_sent;
    assert_true(count < ENOUGH && full == sent - 1);

    /* Once it reads again all is as before. */
    for (uint64_t i = 0; i < full; i++) {
        fake_expect(&fake, WIRE_ACQUIRE);
    }
    client_ask_ahead(asked[count - 1], HF_SHARED);
    assert_int_equal(stats_of(fake.client).acquires_sent, full + 1);
    for (int i = 0; i < count; i++) {
        client_close_quietly(asked[i]);
    }
    free(asked);
    fake_deinit(&fake);
}

/* Without a connection nothing happens. */
static void test_without_a_connection(void **state)
{
    hf_client_disconnect(a);
    ask_all(HF_SHARED);
    client_send_queued(a);
    assert_int_equal(stats_of(a).acquires_sent, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        TEST(test_many_are_asked_for_together),
        TEST(test_others_are_left_alone),
        TEST(test_many_are_closed_together),
        TEST(test_closing_before_the_answer),
        cmocka_unit_test(test_a_use_sends_nothing_for_others),
        cmocka_unit_test(test_a_full_socket_is_not_filled_further),
        TEST(test_without_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
