/*
 * Servers that are not as they should be: of another version, slow, silent, wrong or hostile. The
 * client ends the connection, says why, and none of its threads waits on.
 */
#include "base/clock.h"
#include "lib/fake_server.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the handshake ---- */

static void handshake_fails(const void *answer, size_t size, int error)
{
    struct fake fake;
    fake_init(&fake);
    fake_write(&fake, answer, size);
    hf_client *client = NULL;
    assert_int_equal(hf_client_from_fd(fake.client_fd, NULL, &client), error);
    assert_null(client);
    fake_deinit(&fake);
}

static void hello_is_answered_by(const struct wire_message *message, int error)
{
    uint8_t frame[FAKE_FRAME_ROOM];
    handshake_fails(frame, wire_encode(message, frame), error);
}

static void goodbye_means(uint8_t reason, int error)
{
    hello_is_answered_by(&(struct wire_message){.kind = WIRE_GOODBYE, .reason = reason}, error);
}

static void test_a_server_of_another_version(void **state)
{
    struct wire_message answer = fake_welcome;
    answer.wire_version++;
    hello_is_answered_by(&answer, -EPROTONOSUPPORT);
    goodbye_means(WIRE_REASON_BAD_VERSION, -EPROTONOSUPPORT);
}

static void test_a_server_that_refuses_says_why(void **state)
{
    goodbye_means(WIRE_REASON_NOT_ADMITTED, -EACCES);
    goodbye_means(WIRE_REASON_TOO_MANY_CLIENTS, -EUSERS);
    goodbye_means(WIRE_REASON_SHUTDOWN, -ESHUTDOWN);
    goodbye_means(WIRE_REASON_NO_MEMORY, -ENOMEM);
}

static void test_a_server_that_refuses_for_no_known_reason(void **state)
{
    goodbye_means(200, -EPROTO);
    goodbye_means(WIRE_REASON_NONE, -EPROTO);
}

static void test_a_wrong_answer_to_hello(void **state)
{
    struct wire_message answer = fake_welcome;
    answer.client = 0;
    hello_is_answered_by(&answer, -EPROTO);
    hello_is_answered_by(&(struct wire_message){.kind = WIRE_GRANT, .seq = 1}, -EPROTO);
    hello_is_answered_by(&(struct wire_message){.kind = WIRE_HELLO}, -EPROTO);
    hello_is_answered_by(&(struct wire_message){.kind = WIRE_ACQUIRE}, -EPROTO);
    const char garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    handshake_fails(garbage, sizeof(garbage), -EPROTO);
    handshake_fails("\0\0\0\0\0", 5, -EPROTO);

    /* Nothing may follow before the client has asked for something. */
    uint8_t frames[2 * FAKE_FRAME_ROOM];
    const size_t size = wire_encode(&fake_welcome, frames);
    handshake_fails(frames, size + wire_encode(&fake_welcome, frames + size), -EPROTO);
    handshake_fails(frames, size + 1, -EPROTO);
}

static void test_a_server_that_hangs_up_in_the_handshake(void **state)
{
    uint8_t frame[FAKE_FRAME_ROOM];
    wire_encode(&fake_welcome, frame);
    for (size_t size = 0; size < wire_size(&fake_welcome); size++) {
        struct fake fake;
        hf_client *client = NULL;
        fake_init(&fake);
        if (size > 0) {
            fake_write(&fake, frame, size);
        }
        fake_hang_up(&fake);
        assert_int_equal(hf_client_from_fd(fake.client_fd, NULL, &client), -ECONNRESET);
        fake_deinit(&fake);
    }
}

static void test_a_server_that_never_answers_hello(void **state)
{
    uint8_t frame[FAKE_FRAME_ROOM];
    const size_t whole = wire_encode(&fake_welcome, frame);
    const size_t sizes[] = {0, 4, whole - 1};
    for (int i = 0; i < 3; i++) {
        hf_client_config config = HF_CLIENT_CONFIG_INIT;
        config.connect_timeout_ns = UINT64_C(20000000);
        struct fake fake;
        hf_client *client = NULL;
        fake_init(&fake);
        if (sizes[i] > 0) {
            fake_write(&fake, frame, sizes[i]);
        }
        const uint64_t begin_ns = clock_now_ns();
        assert_int_equal(hf_client_from_fd(fake.client_fd, &config, &client), -ETIMEDOUT);
        assert_true(clock_now_ns() - begin_ns >= config.connect_timeout_ns);
        fake_deinit(&fake);
    }
}

/* Connecting in a thread, so that the answer can come after the question. */
struct connecting {
    struct acquirer thread;
    struct fake fake;
};

static int connect_patiently(struct acquirer *self)
{
    struct connecting *connecting = (struct connecting *)(void *)self;
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    config.connect_timeout_ns = UINT64_MAX;
    return hf_client_from_fd(connecting->fake.client_fd, &config, &connecting->fake.client);
}

static void test_the_longest_of_timeouts(void **state)
{
    struct connecting connecting = {.thread = {.call = connect_patiently}};
    fake_init(&connecting.fake);
    acquirer_start(&connecting.thread);
    fake_expect(&connecting.fake, WIRE_HELLO);
    struct pollfd hung_up = {.fd = connecting.fake.fd, .events = POLLIN};
    assert_int_equal(poll(&hung_up, 1, 20), 0); /* it waits */
    fake_send(&connecting.fake, &fake_welcome);
    assert_int_equal(acquirer_join(&connecting.thread), 0);
    connecting.fake.client_fd = -1;
    fake_deinit(&connecting.fake);
}

/* A listening socket whose owner does not accept, and that can take no more: connect(2) blocks. */
static void test_a_server_that_does_not_accept(void **state)
{
    struct test_server folder;
    test_server_init(&folder); /* for its folder; nobody serves there */
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", folder.path);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(listener, 0), 0);
    const int first = raw_dial(folder.address); /* this one fills it */
    assert_true(first >= 0);

    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    config.connect_timeout_ns = UINT64_C(20000000);
    hf_client *client = NULL;
    alarm(20); /* it did block for ever */
    assert_int_equal(hf_client_connect(folder.address, &config, &client), -ETIMEDOUT);
    alarm(0);
    close(first);
    close(listener);
    unlink(folder.path);
    test_server_deinit(&folder);
}

/* ---- afterwards ---- */

/* While a thread waits for an answer the server says this: the wait ends and so does the
 * connection, and everything later fails. */
static void waiting_is_answered_by(void (*say)(struct fake *fake, const struct wire_message *asked),
                                   int error)
{
    struct fake fake;
    fake_join(&fake);
    hf_sync *lock = open_lock(fake.client, 1);
    struct acquirer thread = {.handle = lock, .mode = HF_EXCLUSIVE};
    acquirer_start(&thread);
    const struct wire_message asked = fake_expect(&fake, WIRE_ACQUIRE);
    say(&fake, &asked);
    assert_int_equal(acquirer_join(&thread), -ENOTCONN);
    assert_int_equal(hf_client_error(fake.client), error);

    hf_sync *other = NULL;
    assert_int_equal(hf_sync_acquire(lock, HF_SHARED, NULL), -ENOTCONN);
    assert_int_equal(hf_sync_yield(lock, HF_INVALID), -ENOTCONN);
    assert_int_equal(hf_sync_release(lock), -EPERM);
    assert_int_equal(hf_sync_open(fake.client, (hf_id){7, 2}, HF_SYNC_LOCK, &other), -ENOTCONN);
    assert_int_equal(hf_sync_open(fake.client, (hf_id){7, 2}, 0, &other), -ENOTCONN);
    hf_sync_close(lock);
    fake_deinit(&fake);
}

static void say_answer(struct fake *fake, const struct wire_message *asked,
                       void (*spoil)(struct wire_message *answer))
{
    struct wire_message answer = fake_answer(asked, 5);
    spoil(&answer);
    fake_send(fake, &answer);
}

#define SPOILT(name, statement)                                                                    \
    static void spoil_##name(struct wire_message *answer)                                          \
    {                                                                                              \
        statement;                                                                                 \
    }                                                                                              \
    static void say_##name(struct fake *fake, const struct wire_message *asked)                    \
    {                                                                                              \
        say_answer(fake, asked, spoil_##name);                                                     \
    }

SPOILT(unknown_handle, answer->id.object++)
SPOILT(next_seq, answer->seq++)
SPOILT(old_seq, answer->seq--)
SPOILT(less, answer->mode = HF_SHARED)
SPOILT(no_mode, answer->mode = HF_INVALID)
SPOILT(no_grant, answer->grant = 0)
SPOILT(wrong_way, answer->kind = WIRE_ACQUIRE)
SPOILT(hello, answer->kind = WIRE_HELLO)
SPOILT(welcome, answer->kind = WIRE_WELCOME)
SPOILT(denied_for_nothing, answer->flags = WIRE_DENIED)
SPOILT(goodbye_for_nothing, answer->kind = WIRE_GOODBYE)
SPOILT(goodbye_unknown, *answer = ((struct wire_message){.kind = WIRE_GOODBYE, .reason = 200}))
SPOILT(shutdown,
       *answer = ((struct wire_message){.kind = WIRE_GOODBYE, .reason = WIRE_REASON_SHUTDOWN}))
SPOILT(too_slow,
       *answer = ((struct wire_message){.kind = WIRE_GOODBYE, .reason = WIRE_REASON_TOO_SLOW}))

/* What the encoder refuses to write. */
static void say_mode_3(struct fake *fake, const struct wire_message *asked)
{
    uint8_t frame[FAKE_FRAME_ROOM];
    const struct wire_message answer = fake_answer(asked, 5);
    const size_t size = wire_encode(&answer, frame);
    frame[33] = 3;
    fake_write(fake, frame, size);
}

static void say_length(struct fake *fake, const struct wire_message *asked)
{
    fake_write(fake, "\xff\xff\xff\x7f", 4);
}

static void say_garbage(struct fake *fake, const struct wire_message *asked)
{
    char garbage[1000];
    memset(garbage, 0xa5, sizeof(garbage));
    fake_write(fake, garbage, sizeof(garbage));
}

static void say_value_for_a_lock(struct fake *fake, const struct wire_message *asked)
{
    struct wire_message answer = fake_answer(asked, 5);
    answer.flags = WIRE_VALUE;
    answer.data = (const uint8_t *)"value";
    answer.data_size = 5;
    fake_send(fake, &answer);
}

static void say_nothing_any_more(struct fake *fake, const struct wire_message *asked)
{
    fake_hang_up(fake);
}

static void say_half_and_hang_up(struct fake *fake, const struct wire_message *asked)
{
    uint8_t frame[FAKE_FRAME_ROOM];
    const struct wire_message answer = fake_answer(asked, 5);
    fake_write(fake, frame, wire_encode(&answer, frame) / 2);
    fake_hang_up(fake);
}

static void test_a_grant_nobody_asked_for(void **state)
{
    waiting_is_answered_by(say_unknown_handle, -EPROTO);
    waiting_is_answered_by(say_next_seq, -EPROTO);
    waiting_is_answered_by(say_old_seq, -EPROTO);
    waiting_is_answered_by(say_less, -EPROTO);
    waiting_is_answered_by(say_no_mode, -EPROTO);
    waiting_is_answered_by(say_no_grant, -EPROTO);
    waiting_is_answered_by(say_denied_for_nothing, -EPROTO);
    waiting_is_answered_by(say_value_for_a_lock, -EPROTO);
}

static void test_messages_that_a_server_does_not_send(void **state)
{
    waiting_is_answered_by(say_wrong_way, -EPROTO);
    waiting_is_answered_by(say_hello, -EPROTO);
    waiting_is_answered_by(say_welcome, -EPROTO);
}

static void test_bytes_that_are_no_message(void **state)
{
    waiting_is_answered_by(say_mode_3, -EPROTO);
    waiting_is_answered_by(say_length, -EPROTO);
    waiting_is_answered_by(say_garbage, -EPROTO);
}

static void test_a_server_that_cuts_off_says_why(void **state)
{
    waiting_is_answered_by(say_shutdown, -ESHUTDOWN);
    waiting_is_answered_by(say_too_slow, -ETIMEDOUT);
    waiting_is_answered_by(say_goodbye_unknown, -EPROTO);
    waiting_is_answered_by(say_goodbye_for_nothing, -EPROTO);
}

static void test_a_server_that_goes_away(void **state)
{
    waiting_is_answered_by(say_nothing_any_more, -ECONNRESET);
    waiting_is_answered_by(say_half_and_hang_up, -ECONNRESET);
}

static void test_a_second_answer_to_one_question(void **state)
{
    struct fake fake;
    fake_join(&fake);
    hf_sync *lock = open_lock(fake.client, 1);
    struct acquirer thread = {.handle = lock, .mode = HF_SHARED};
    acquirer_start(&thread);
    const struct wire_message asked = fake_expect(&fake, WIRE_ACQUIRE);
    const struct wire_message answer = fake_answer(&asked, 5);
    fake_send(&fake, &answer);
    assert_true(acquirer_join(&thread) >= 0);
    fake_send(&fake, &answer);
    assert_int_equal(await_client_error(fake.client), -EPROTO);
    assert_int_equal(hf_sync_release(lock), -ENOTCONN); /* it was held when the connection ended */
    assert_int_equal(hf_sync_release(lock), -EPERM);
    hf_sync_close(lock);
    fake_deinit(&fake);
}

/* Opening a handle with a value, which asks the server. */
struct opening {
    struct acquirer thread;
    hf_client *client;
    hf_sync *handle;
};

static int open_in_thread(struct acquirer *self)
{
    struct opening *opening = (struct opening *)(void *)self;
    return hf_sync_open(opening->client, (hf_id){7, 1}, 0, &opening->handle);
}

static hf_sync *fake_open_value(struct fake *fake)
{
    struct opening opening = {.thread = {.call = open_in_thread}, .client = fake->client};
    acquirer_start(&opening.thread);
    const struct wire_message asked = fake_expect(fake, WIRE_ACQUIRE);
    assert_int_equal(asked.flags, WIRE_REFERENCE);
    const struct wire_message answer = fake_answer(&asked, 3);
    fake_send(fake, &answer);
    assert_int_equal(acquirer_join(&opening.thread), 0);
    return opening.handle;
}

static void granted_with_a_value_of(uint16_t size, int result, int error)
{
    static const uint8_t value[HF_VALUE_MAX + 1];
    struct fake fake;
    fake_join(&fake);
    struct acquirer thread = {.handle = fake_open_value(&fake), .mode = HF_SHARED};
    acquirer_start(&thread);
    const struct wire_message asked = fake_expect(&fake, WIRE_ACQUIRE);
    struct wire_message answer = fake_answer(&asked, 5);
    answer.version = 2;
    answer.flags = WIRE_VALUE;
    answer.data = value;
    answer.data_size = size;
    fake_send(&fake, &answer);
    assert_int_equal(acquirer_join(&thread), result);
    assert_int_equal(hf_client_error(fake.client), error);
    hf_sync_close(thread.handle);
    fake_deinit(&fake);
}

static void test_a_value_over_the_largest(void **state)
{
    granted_with_a_value_of(HF_VALUE_MAX, HF_CHANGED, 0);
    granted_with_a_value_of(HF_VALUE_MAX + 1, -ENOTCONN, -EPROTO);
}

static void test_a_recall_of_what_is_not_held_does_nothing(void **state)
{
    struct fake fake;
    fake_join(&fake);
    hf_sync *lock = open_lock(fake.client, 1);
    fake_grant(&fake, lock, HF_EXCLUSIVE, 5);
    struct wire_message recall = {.kind = WIRE_RECALL, .id = {7, 1}, .grant = 4, .waiting = 1};
    fake_send(&fake, &recall); /* of an earlier grant */
    recall.grant = 6;
    fake_send(&fake, &recall); /* of one that was never given */
    recall.grant = 5;
    recall.mode = HF_EXCLUSIVE;
    fake_send(&fake, &recall); /* to what it is */
    recall.id.object = 2;
    fake_send(&fake, &recall); /* of a handle that is not open */
    recall = (struct wire_message){.kind = WIRE_RECALL, .id = {7, 1}, .grant = 5, .waiting = 0};
    assert_int_equal(hf_sync_release(lock), 0);
    fake_send(&fake, &recall); /* and this one counts */
    const struct wire_message released = fake_expect(&fake, WIRE_RELEASE);
    assert_int_equal(released.grant, 5);
    assert_int_equal(released.mode, HF_INVALID);
    assert_int_equal(hf_client_error(fake.client), 0);
    hf_sync_close(lock);
    fake_deinit(&fake);
}

/* The server says why it cuts the client off and is gone, just when the client sends it
 * something, which fails: the reason is still what is reported. */
static void test_the_reason_is_heard_although_sending_fails(void **state)
{
    for (int round = 0; round < 300; round++) {
        struct fake fake;
        fake_join(&fake);
        hf_sync *lock = open_lock(fake.client, 1);
        fake_grant(&fake, lock, HF_EXCLUSIVE, 5);
        assert_int_equal(hf_sync_release(lock), 0);
        fake_send(
            &fake,
            &(struct wire_message){.kind = WIRE_GOODBYE, .reason = WIRE_REASON_FRAME_TOO_LONG});
        fake_hang_up(&fake);
        (void)hf_sync_yield(lock, HF_INVALID);
        assert_int_equal(await_client_error(fake.client), -EMSGSIZE);
        hf_sync_close(lock);
        fake_deinit(&fake);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_of_another_version),
        cmocka_unit_test(test_a_server_that_refuses_says_why),
        cmocka_unit_test(test_a_server_that_refuses_for_no_known_reason),
        cmocka_unit_test(test_a_wrong_answer_to_hello),
        cmocka_unit_test(test_a_server_that_hangs_up_in_the_handshake),
        cmocka_unit_test(test_a_server_that_never_answers_hello),
        cmocka_unit_test(test_the_longest_of_timeouts),
        cmocka_unit_test(test_a_server_that_does_not_accept),
        cmocka_unit_test(test_a_grant_nobody_asked_for),
        cmocka_unit_test(test_messages_that_a_server_does_not_send),
        cmocka_unit_test(test_bytes_that_are_no_message),
        cmocka_unit_test(test_a_server_that_cuts_off_says_why),
        cmocka_unit_test(test_a_server_that_goes_away),
        cmocka_unit_test(test_a_second_answer_to_one_question),
        cmocka_unit_test(test_a_value_over_the_largest),
        cmocka_unit_test(test_a_recall_of_what_is_not_held_does_nothing),
        cmocka_unit_test(test_the_reason_is_heard_although_sending_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
