/*
 * What the server keeps is there when no client has it any more, and goes when it is let go of.
 */
#include "lib/test.h"
#include "server/server.h"

#include <errno.h>
#include <string.h>

static const hf_id ID = {1, 2};

static struct hf_server server; /* of which only the table and the keeper are made */
static struct sync_peer client;
static struct wire_message answer; /* what the client was last sent */
static uint8_t answer_data[8];

static void note(void *context, struct sync_peer *peer, const struct wire_message *message)
{
    assert_ptr_equal(peer, &client); /* the keeper has nobody to be told */
    answer = *message;
    assert_true(message->data_size <= sizeof(answer_data));
    if (message->data_size > 0) {
        memcpy(answer_data, message->data, message->data_size);
    }
}

static int set_up(void **state)
{
    const struct sync_server_limits limits = {.handles = 2, .queued = 2, .value_bytes = 8};
    memset(&server, 0, sizeof(server));
    assert_int_equal(sync_server_init(&server.table, &limits, note, NULL), 0);
    assert_int_equal(keeper_init(&server.keeper), 0);
    sync_peer_init(&client);
    return 0;
}

static int tear_down(void **state)
{
    sync_peer_leave(&server.table, &client, true);
    keeper_deinit(&server.keeper, &server.table);
    assert_int_equal(server.table.counters.handles, 0);
    sync_server_deinit(&server.table);
    return 0;
}

static void hear(const struct wire_message *message)
{
    assert_int_equal(sync_server_input(&server.table, &client, message), WIRE_REASON_NONE);
    sync_server_check(&server.table);
}

static void acquire(void)
{
    hear(&(struct wire_message){
        .kind = WIRE_ACQUIRE, .id = ID, .seq = 1, .mode = HF_EXCLUSIVE, .flags = WIRE_REFERENCE});
    assert_int_equal(answer.mode, HF_EXCLUSIVE);
}

/* A client gives the handle a value and is gone. */
static void set_value_and_leave(void)
{
    acquire();
    hear(&(struct wire_message){.kind = WIRE_RELEASE,
                                .id = ID,
                                .grant = answer.grant,
                                .mode = HF_INVALID,
                                .flags = WIRE_VALUE,
                                .data = (const uint8_t *)"value",
                                .data_size = 5});
    sync_peer_leave(&server.table, &client, false);
}

static bool finds_value(void)
{
    acquire();
    const bool found = (answer.flags & WIRE_VALUE) != 0;
    assert_true(!found || (answer.data_size == 5 && memcmp(answer_data, "value", 5) == 0));
    sync_peer_leave(&server.table, &client, true);
    return found;
}

static void test_a_kept_value_outlives_its_clients(void **state)
{
    assert_int_equal(server_keep(&server, ID), 0);
    set_value_and_leave();
    sync_server_check(&server.table);
    assert_true(finds_value());
}

static void test_without_a_keep_it_goes_with_the_last_client(void **state)
{
    set_value_and_leave();
    assert_false(finds_value());
}

static void test_it_is_kept_as_often_as_it_was_asked(void **state)
{
    assert_int_equal(server_keep(&server, ID), 0);
    assert_int_equal(server_keep(&server, ID), 0);
    set_value_and_leave();
    server_unkeep(&server, ID);
    assert_true(finds_value());
    server_unkeep(&server, ID);
    assert_int_equal(server.table.counters.handles, 0);
    assert_false(finds_value());
}

/* A value that the server sets is what the first client finds, and replaces. */
static void test_the_server_sets_a_value(void **state)
{
    assert_int_equal(server_keep(&server, ID), 0);
    assert_int_equal(server_set_kept_value(&server, ID, "old", 3), 0);
    assert_int_equal(server_set_kept_value(&server, ID, "value", 5), 0);
    sync_server_check(&server.table);
    assert_true(finds_value());
    set_value_and_leave();
    assert_true(finds_value());
}

/* A client that comes again, with a version from before, gets the value all the same. */
static void test_a_value_that_is_set_has_a_version_of_its_own(void **state)
{
    assert_int_equal(server_keep(&server, ID), 0);
    set_value_and_leave();
    acquire();
    const uint64_t version = answer.version;
    sync_peer_leave(&server.table, &client, true);
    assert_int_equal(server_set_kept_value(&server, ID, "value", 5), 0);
    hear(&(struct wire_message){.kind = WIRE_ACQUIRE,
                                .id = ID,
                                .seq = 1,
                                .mode = HF_SHARED,
                                .flags = WIRE_REFERENCE,
                                .version = version});
    assert_true((answer.flags & WIRE_VALUE) != 0);
    assert_true(answer.version != version);
}

/* The keeper never holds, so nobody waits for it, and letting go leaves a client's hold alone. */
static void test_keeping_is_in_nobodys_way(void **state)
{
    acquire();
    assert_int_equal(server_keep(&server, ID), 0);
    server_unkeep(&server, ID);
    sync_server_check(&server.table);
    assert_int_equal(sync_server_view(&server.table, &client, ID).mode, HF_EXCLUSIVE);
}

static void test_there_is_a_limit(void **state)
{
    assert_int_equal(server_keep(&server, (hf_id){1, 1}), 0);
    assert_int_equal(server_keep(&server, (hf_id){1, 2}), 0);
    assert_int_equal(server_keep(&server, (hf_id){1, 3}), -EDQUOT);
    server_unkeep(&server, (hf_id){1, 2});
    assert_int_equal(server_keep(&server, (hf_id){1, 3}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_kept_value_outlives_its_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_without_a_keep_it_goes_with_the_last_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_it_is_kept_as_often_as_it_was_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_server_sets_a_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_value_that_is_set_has_a_version_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keeping_is_in_nobodys_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_there_is_a_limit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
