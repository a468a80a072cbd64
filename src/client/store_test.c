/*
 * A client of a store, and a server that says what it wants.
 */
#include "client/store.h"
#include "lib/fake_server.h"
#include "lib/test.h"

#include <errno.h>

#define STORE_NUMBER WIRE_STORE_FIRST

static struct fake fake;
static struct client_store store;

static void no_failure(struct client_store *of, uint64_t inode, int error)
{
    fail_msg("inode %d failed with %d", (int)inode, error);
}

static int set_up(void **state)
{
    fake_init(&fake);
    fake_join(&fake);
    client_store_open(fake.client, STORE_NUMBER, no_failure, &store);
    return 0;
}

static int tear_down(void **state)
{
    client_store_close(&store);
    fake_deinit(&fake);
    return 0;
}

static const struct wire_message reclaim = {.kind = WIRE_RECLAIM, .store = STORE_NUMBER};

static void test_what_is_reclaimed_is_given_back(void **state)
{
    struct wire_operation operation;
    fake_send(&fake, &reclaim);
    const struct wire_message message = fake_expect(&fake, WIRE_OPERATION);
    assert_int_equal(message.store, STORE_NUMBER);
    assert_int_equal(message.seq, 0);
    assert_true(wire_operation_decode(message.data, message.data_size, &operation));
    assert_int_equal(operation.code, WIRE_OP_RETURN);
}

/* The client reads it when there is nobody to answer any more. */
static void test_the_last_word_is_a_reclaim(void **state)
{
    const struct wire_operation sync = {.code = WIRE_OP_SYNC};
    pthread_mutex_lock(&fake.client->lock); /* so that it comes together with the end */
    fake_send(&fake, &reclaim);
    fake_hang_up(&fake);
    pthread_mutex_unlock(&fake.client->lock);
    assert_int_equal(client_store_ask(&store, &sync, 0, NULL, NULL), -ENOTCONN);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_reclaimed_is_given_back),
        TEST(test_the_last_word_is_a_reclaim),
    };
    return cmocka_run_group_tests_name("client store", tests, NULL, NULL);
}
