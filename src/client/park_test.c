/*
 * The client's side of parking: who waits gets the answer that is for it, or learns that there
 * will be none.
 */
#include "client/park.h"

#include "lib/fake_server.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const hf_id none = {0, 0};

static struct test_server test;
static hf_client *client;

static int set_up(void **state)
{
    test_server_init(&test);
    test.config.limits.parked = 100;
    test_server_start(&test);
    assert_int_equal(hf_client_connect(test.address, NULL, &client), 0);
    return 0;
}

static int tear_down(void **state)
{
    client = hf_client_unref(client);
    test_server_deinit(&test);
    return 0;
}

/* A file without a name that says @number. */
static int make_file(uint32_t number)
{
    int fd = open(test.folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, &number, sizeof(number)), sizeof(number));
    return fd;
}

static struct park_item make_item(uint32_t number)
{
    struct park_item item = {.fd = make_file(number), .size = sizeof(number)};
    memcpy(item.data, &number, sizeof(number));
    return item;
}

static void expect_item(struct park_item *item, uint32_t number)
{
    uint32_t found = number + 1;
    assert_int_equal(pread(item->fd, &found, sizeof(found), 0), sizeof(found));
    assert_int_equal(found, number);
    assert_int_equal(item->size, sizeof(number));
    assert_memory_equal(item->data, &number, sizeof(number));
    assert_int_equal(fcntl(item->fd, F_GETFD), FD_CLOEXEC);
    close(item->fd);
}

static void test_what_is_parked_comes_back_until_it_is_dropped(void **state)
{
    hf_id ticket = none;
    hf_client_stats stats;
    for (uint32_t i = 0; i < 3; i++) {
        struct park_item item = make_item(i);
        assert_int_equal(park_put(client, &ticket, &item), 0);
        close(item.fd);
    }
    struct park_item item;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(park_claim(client, ticket, i, &item), 0);
        expect_item(&item, i);
    }
    assert_int_equal(park_claim(client, ticket, 3, &item), -ESTALE);
    assert_int_equal(park_drop(client, ticket), 0);
    assert_int_equal(park_drop(client, ticket), -ESTALE);
    assert_int_equal(park_claim(client, ticket, 0, &item), -ESTALE);

    hf_client_get_stats(client, &stats);
    assert_int_equal(stats.parks_sent, 10);
    assert_int_equal(stats.parked_received, 10);
    assert_int_equal(stats.cancels_sent, 0);
}

#define THREADS 8
#define ROUNDS 12

static void *park_and_claim(void *argument)
{
    const uint32_t first = *(uint32_t *)argument;
    hf_id ticket = none;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct park_item item = make_item(first + i);
        assert_int_equal(park_put(client, &ticket, &item), 0);
        close(item.fd);
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct park_item item;
        assert_int_equal(park_claim(client, ticket, i, &item), 0);
        expect_item(&item, first + i);
    }
    assert_int_equal(park_drop(client, ticket), 0);
    return NULL;
}

static void test_every_thread_gets_the_answer_that_is_for_it(void **state)
{
    pthread_t threads[THREADS];
    uint32_t first[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        first[i] = i * 1000;
        assert_int_equal(pthread_create(&threads[i], NULL, park_and_claim, &first[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(test_server_stats(&test).parked, 0);
}

static void test_a_refusal_is_an_errno(void **state)
{
    hf_id ticket = none;
    struct park_item item = make_item(1);
    item.size = PARK_DATA_MAX;
    assert_int_equal(park_put(client, &ticket, &item), 0);
    for (int i = 1; i < 100; i++) {
        assert_int_equal(park_put(client, &ticket, &item), 0);
    }
    assert_int_equal(park_put(client, &ticket, &item), -EDQUOT);
    assert_int_equal(park_drop(client, ticket), 0);
    ticket.object++;
    assert_int_equal(park_put(client, &ticket, &item), -ESTALE);
    close(item.fd);
}

/* ---- a server that does not do as it should ---- */

static struct fake fake;

static int set_up_fake(void **state)
{
    fake_init(&fake);
    fake_join(&fake);
    return 0;
}

static int tear_down_fake(void **state)
{
    fake_deinit(&fake);
    return 0;
}

static void *drop(void *result)
{
    *(int *)result = park_drop(fake.client, (hf_id){1, 2});
    return NULL;
}

static pthread_t start_drop(int *result, uint32_t *seq)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drop, result), 0);
    *seq = fake_expect(&fake, WIRE_DROP).seq;
    return thread;
}

static void test_the_end_of_the_connection_ends_the_wait(void **state)
{
    int result = 0;
    uint32_t seq;
    pthread_t thread = start_drop(&result, &seq);
    fake_hang_up(&fake);
    pthread_join(thread, NULL);
    assert_int_equal(result, -ENOTCONN);
    assert_int_equal(park_drop(fake.client, (hf_id){1, 2}), -ENOTCONN);
}

static void wrong_answer(const struct wire_message *answer)
{
    int result = 0;
    uint32_t seq;
    pthread_t thread = start_drop(&result, &seq);
    struct wire_message message = *answer;
    message.kind = WIRE_PARKED;
    message.seq += seq;
    fake_send(&fake, &message);
    pthread_join(thread, NULL);
    assert_int_equal(result, -ENOTCONN);
    assert_int_equal(hf_client_error(fake.client), -EPROTO);
}

static void test_an_answer_that_nobody_asked_for(void **state)
{
    wrong_answer(&(struct wire_message){.seq = 1});
}

static void test_an_answer_with_more_than_was_asked_for(void **state)
{
    wrong_answer(&(struct wire_message){.data = (const uint8_t *)"x", .data_size = 1});
}

static void *claim(void *result)
{
    struct park_item item;
    *(int *)result = park_claim(fake.client, (hf_id){1, 2}, 0, &item);
    return NULL;
}

static void test_an_answer_without_the_descriptor(void **state)
{
    int result = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, claim, &result), 0);
    const uint32_t seq = fake_expect(&fake, WIRE_CLAIM).seq;
    fake_send(&fake, &(struct wire_message){.kind = WIRE_PARKED, .seq = seq});
    pthread_join(thread, NULL);
    assert_int_equal(result, -EPROTO);
}

static bool is_full(void)
{
    pthread_mutex_lock(&fake.client->lock);
    const bool full = fake.client->write_pending;
    pthread_mutex_unlock(&fake.client->lock);
    return full;
}

/* ACQUIRE and CANCEL of one handle more. The answer never comes. */
static void ask_in_vain(uint64_t object)
{
    const hf_wait_opts at_once = {.deadline_ns = 1};
    hf_sync *handle;
    assert_int_equal(hf_sync_open(fake.client, (hf_id){2, object}, HF_SYNC_LOCK, &handle), 0);
    assert_int_equal(hf_sync_acquire(handle, HF_SHARED, &at_once), -ETIMEDOUT);
    hf_sync_close(handle);
}

static bool somebody_waits(void)
{
    pthread_mutex_lock(&fake.client->lock);
    const bool waits = !list_is_empty(&fake.client->park_requests);
    pthread_mutex_unlock(&fake.client->lock);
    return waits;
}

/* The socket is full of what nobody reads. All that is queued goes before, also what others queue
 * meanwhile, and each byte once. */
static void test_a_full_socket_is_waited_for(void **state)
{
    int result = 1;
    uint64_t asked = 0;
    pthread_t thread;
    const int room = 4096;
    assert_int_equal(setsockopt(fake.client->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    while (!is_full()) {
        ask_in_vain(++asked);
    }
    assert_int_equal(pthread_create(&thread, NULL, drop, &result), 0);
    while (!somebody_waits()) {
        sched_yield();
    }
    for (uint64_t more = 20 * asked; more > 0; more--) {
        ask_in_vain(++asked);
    }
    for (uint64_t i = 1; i <= asked; i++) {
        assert_int_equal(fake_expect(&fake, WIRE_ACQUIRE).id.object, i);
        assert_int_equal(fake_expect(&fake, WIRE_CANCEL).id.object, i);
    }
    const uint32_t seq = fake_expect(&fake, WIRE_DROP).seq;
    fake_send(&fake, &(struct wire_message){.kind = WIRE_PARKED, .seq = seq});
    pthread_join(thread, NULL);
    assert_int_equal(result, 0);
}

/* Descriptors cannot go over it. */
static void test_other_transports_are_refused(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t size = sizeof(address);
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(door, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(door, 1), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(hf_server_adopt(test.server, accept(door, NULL, NULL)), 0);
    close(door);

    hf_client *remote;
    hf_id ticket = none;
    assert_int_equal(hf_client_from_fd(fd, NULL, &remote), 0);
    struct park_item item = make_item(1);
    assert_int_equal(park_put(remote, &ticket, &item), -EOPNOTSUPP);
    close(item.fd);
    assert_int_equal(park_claim(remote, ticket, 0, &item), -EOPNOTSUPP);
    assert_int_equal(park_drop(remote, ticket), -EOPNOTSUPP);
    assert_int_equal(hf_client_error(remote), 0);
    hf_client_unref(remote);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define FAKE_TEST(function) cmocka_unit_test_setup_teardown(function, set_up_fake, tear_down_fake)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_parked_comes_back_until_it_is_dropped),
        TEST(test_every_thread_gets_the_answer_that_is_for_it),
        TEST(test_a_refusal_is_an_errno),
        TEST(test_other_transports_are_refused),
        FAKE_TEST(test_the_end_of_the_connection_ends_the_wait),
        FAKE_TEST(test_an_answer_that_nobody_asked_for),
        FAKE_TEST(test_an_answer_with_more_than_was_asked_for),
        FAKE_TEST(test_an_answer_without_the_descriptor),
        FAKE_TEST(test_a_full_socket_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
