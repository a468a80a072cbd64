/*
 * Input that no client of ours sends: the offender is told why and cut off, the reason is
 * logged, and another client of the same server notices nothing.
 */
#include "lib/raw_client.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static struct test_server test;
static struct raw_client good;

static int set_up(void **state)
{
    test_server_init(&test);
    test.config.limits.value_bytes = 100;
    test_server_start(&test);
    raw_join(&good, test.address, "good");
    return 0;
}

/* For silence that is waited out. */
static int set_up_impatient(void **state)
{
    test_server_init(&test);
    test.config.limits.handshake_seconds = 1;
    test_server_start(&test);
    raw_join(&good, test.address, "good");
    return 0;
}

static int tear_down(void **state)
{
    raw_round_trip(&good);
    raw_close(&good);
    test_server_deinit(&test);
    return 0;
}

/* The offender is gone for @reason, in its own eyes, in the log and in the counters, while the
 * other one gets its answer in one message as ever. */
static void expect_cut_off(struct raw_client *offender, enum wire_reason reason)
{
    raw_expect_goodbye(offender, reason);
    raw_close(offender);
    test_server_expect_log(&test, "cut off: %s", wire_reason_text((uint8_t)reason));
    raw_round_trip(&good);
    const hf_server_stats stats = test_server_stats(&test);
    assert_int_equal(stats.cut_off, 1);
    assert_int_equal(stats.clients, 1);
}

static void hello_is_answered_with(const void *bytes, size_t size, enum wire_reason reason)
{
    struct raw_client offender;
    raw_init(&offender, raw_dial(test.address));
    assert_true(raw_write(&offender, bytes, size));
    expect_cut_off(&offender, reason);
}

static void frame_is_answered_with(const void *bytes, size_t size, enum wire_reason reason)
{
    struct raw_client offender;
    raw_join(&offender, test.address, "evil");
    assert_true(raw_write(&offender, bytes, size));
    expect_cut_off(&offender, reason);
    test_server_expect_log(&test,
                           "client 2 (evil, pid %d, uid %u): cut off: %s",
                           getpid(),
                           getuid(),
                           wire_reason_text((uint8_t)reason));
}

static void message_is_answered_with(const struct wire_message *message, enum wire_reason reason)
{
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_SMALL_FRAME_MAX];
    frame_is_answered_with(frame, wire_encode(message, frame), reason);
}

/* The message comes with @count descriptors. */
static void message_with_is_answered_with(const struct wire_message *message, const int *fds,
                                          size_t count, enum wire_reason reason)
{
    struct raw_client offender;
    raw_join(&offender, test.address, "evil");
    assert_true(raw_send_with(&offender, message, fds, count));
    expect_cut_off(&offender, reason);
}

/* ---- instead of a hello ---- */

static const char web_request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void test_another_protocol_instead_of_hello(void **state)
{
    hello_is_answered_with(web_request, strlen(web_request), WIRE_REASON_FRAME_TOO_LONG);
}

static void test_hello_with_wrong_magic(void **state)
{
    const struct wire_message hello = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC + 1, .wire_version = WIRE_VERSION};
    uint8_t frame[64];
    hello_is_answered_with(frame, wire_encode(&hello, frame), WIRE_REASON_BAD_FRAME);
}

static void test_hello_of_another_version(void **state)
{
    const struct wire_message hello = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION + 1};
    uint8_t frame[64];
    hello_is_answered_with(frame, wire_encode(&hello, frame), WIRE_REASON_BAD_VERSION);
}

/* Its fields after the version are not known here, and need not be. */
static void test_hello_of_another_version_and_shape(void **state)
{
    const uint8_t hello[] = {21,   0,    0,    0,    WIRE_HELLO, 0x48, 0x4c, 0x46, 0x31,
                             0xff, 0xff, 0xff, 0xff, 0xff,       0xff, 0xff, 0xff, 0xff,
                             0xff, 0xff, 0xff, 0xff, 0xff,       0xff, 0xff};
    hello_is_answered_with(hello, sizeof(hello), WIRE_REASON_BAD_VERSION);
}

static void test_another_message_before_hello(void **state)
{
    const struct wire_message acquire = {.kind = WIRE_ACQUIRE, .id = {1, 1}, .mode = HF_SHARED};
    uint8_t frame[64];
    hello_is_answered_with(frame, wire_encode(&acquire, frame), WIRE_REASON_BAD_MESSAGE);
}

/* The time for the handshake ends this one; closing is the event that is waited for. */
static void test_half_a_hello_and_then_silence(void **state)
{
    const struct wire_message hello = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION};
    uint8_t frame[64];
    hello_is_answered_with(frame, wire_encode(&hello, frame) / 2, WIRE_REASON_TOO_SLOW);
}

static void test_silence(void **state)
{
    hello_is_answered_with("", 0, WIRE_REASON_TOO_SLOW);
}

/* ---- after the hello ---- */

static void test_garbage(void **state)
{
    frame_is_answered_with("\x05\x00\x00\x00garbage", 11, WIRE_REASON_BAD_FRAME);
}

static void test_longest_length_there_is(void **state)
{
    frame_is_answered_with("\xff\xff\xff\xff", 4, WIRE_REASON_FRAME_TOO_LONG);
}

static void test_length_one_over_the_limit(void **state)
{
    const uint32_t length = WIRE_FRAME_MAX + 1;
    const uint8_t frame[] = {
        length & 0xff, (length >> 8) & 0xff, (length >> 16) & 0xff, length >> 24};
    frame_is_answered_with(frame, sizeof(frame), WIRE_REASON_FRAME_TOO_LONG);
}

static void test_empty_frame(void **state)
{
    frame_is_answered_with("\0\0\0\0", 4, WIRE_REASON_BAD_FRAME);
}

static void test_unknown_message(void **state)
{
    frame_is_answered_with("\x01\x00\x00\x00\x63", 5, WIRE_REASON_BAD_FRAME);
}

static void test_message_in_the_wrong_direction(void **state)
{
    message_is_answered_with(&(struct wire_message){.kind = WIRE_RECALL, .id = {1, 1}, .grant = 1},
                             WIRE_REASON_BAD_FRAME);
}

static void test_field_left_over(void **state)
{
    const struct wire_message cancel = {.kind = WIRE_CANCEL, .id = {1, 1}, .seq = 1};
    uint8_t frame[64];
    const size_t size = wire_encode(&cancel, frame);
    frame[0]++;
    frame[size] = 0;
    frame_is_answered_with(frame, size + 1, WIRE_REASON_BAD_FRAME);
}

static void test_mode_that_does_not_exist(void **state)
{
    message_is_answered_with(&(struct wire_message){.kind = WIRE_ACQUIRE, .id = {1, 1}, .mode = 3},
                             WIRE_REASON_BAD_FRAME);
}

static void test_flag_that_does_not_exist(void **state)
{
    message_is_answered_with(
        &(struct wire_message){
            .kind = WIRE_ACQUIRE, .id = {1, 1}, .mode = HF_SHARED, .flags = 0x80},
        WIRE_REASON_BAD_FRAME);
}

static void test_second_hello(void **state)
{
    message_is_answered_with(&(struct wire_message){.kind = WIRE_HELLO,
                                                    .magic = WIRE_MAGIC,
                                                    .wire_version = WIRE_VERSION},
                             WIRE_REASON_BAD_MESSAGE);
}

static void test_release_of_a_handle_never_opened(void **state)
{
    message_is_answered_with(&(struct wire_message){.kind = WIRE_RELEASE, .id = {1, 1}, .grant = 1},
                             WIRE_REASON_UNKNOWN_HANDLE);
}

static void test_release_with_a_number_never_granted(void **state)
{
    struct raw_client offender;
    raw_join(&offender, test.address, "evil");
    const uint64_t grant = raw_hold(&offender, 1, HF_SHARED);
    raw_release(&offender, 1, grant + 1000, HF_INVALID);
    expect_cut_off(&offender, WIRE_REASON_BAD_MESSAGE);
}

static void test_value_over_the_limit(void **state)
{
    struct raw_client offender;
    uint8_t value[101] = {0};
    raw_join(&offender, test.address, "evil");
    raw_acquire(&offender, 1, HF_EXCLUSIVE, WIRE_REFERENCE);
    const uint64_t grant = raw_expect(&offender, WIRE_GRANT).grant;
    raw_send(&offender,
             &(struct wire_message){.kind = WIRE_RELEASE,
                                    .id = {1, 1},
                                    .grant = grant,
                                    .mode = HF_EXCLUSIVE,
                                    .flags = WIRE_VALUE,
                                    .data = value,
                                    .data_size = sizeof(value)});
    expect_cut_off(&offender, WIRE_REASON_FRAME_TOO_LONG);
}

/* A client may cancel what was answered meanwhile, so this is no offence. */
static void test_cancel_of_a_handle_never_opened_is_ignored(void **state)
{
    struct raw_client client;
    raw_join(&client, test.address, "innocent");
    raw_send(&client, &(struct wire_message){.kind = WIRE_CANCEL, .id = {1, 1}, .seq = 7});
    raw_round_trip(&client);
    assert_int_equal(test_server_stats(&test).cut_off, 0);
    raw_close(&client);
}

/* What is good before the bad frame counts; nothing after it does. */
static void test_messages_before_the_bad_one_are_handled(void **state)
{
    struct raw_client offender;
    uint8_t bytes[256];
    const struct wire_message acquire = {
        .kind = WIRE_ACQUIRE, .id = {1, 1}, .seq = 1, .mode = HF_EXCLUSIVE};
    const struct wire_message later = {
        .kind = WIRE_ACQUIRE, .id = {1, 2}, .seq = 2, .mode = HF_EXCLUSIVE};
    size_t size = wire_encode(&acquire, bytes);
    memset(bytes + size, 0, WIRE_LENGTH_BYTES);
    size += WIRE_LENGTH_BYTES;
    size += wire_encode(&later, bytes + size);

    raw_join(&offender, test.address, "evil");
    assert_true(raw_write(&offender, bytes, size));
    assert_int_equal(raw_expect(&offender, WIRE_GRANT).seq, 1);
    expect_cut_off(&offender, WIRE_REASON_BAD_FRAME);
    raw_hold(&good, 2, HF_EXCLUSIVE);
    raw_acquire(&good, 1, HF_EXCLUSIVE, 0);
    assert_int_equal(raw_expect(&good, WIRE_GRANT).flags, WIRE_OWNER_DIED);
}

static void test_gone_in_the_middle_of_a_frame(void **state)
{
    struct raw_client offender;
    const struct wire_message acquire = {.kind = WIRE_ACQUIRE, .id = {1, 1}, .mode = HF_SHARED};
    uint8_t frame[64];
    raw_join(&offender, test.address, "evil");
    raw_hold(&offender, 5, HF_EXCLUSIVE);
    assert_true(raw_write(&offender, frame, wire_encode(&acquire, frame) / 2));
    raw_acquire(&good, 5, HF_EXCLUSIVE, 0);
    raw_close(&offender);
    raw_expect(&good, WIRE_GRANT);
    test_server_expect_log(&test,
                           "client 2 (evil, pid %d, uid %u): left in the middle of a frame",
                           getpid(),
                           getuid());
    assert_int_equal(test_server_stats(&test).clients, 1);
}

/* Frames that come byte by byte are as good as any. */
static void test_a_frame_in_many_pieces(void **state)
{
    struct raw_client client;
    const struct wire_message acquire = {
        .kind = WIRE_ACQUIRE, .id = {1, 1}, .seq = 1, .mode = HF_SHARED};
    uint8_t frame[64];
    raw_join(&client, test.address, "slow");
    const size_t size = wire_encode(&acquire, frame);
    for (size_t i = 0; i < size; i++) {
        assert_true(raw_write(&client, &frame[i], 1));
    }
    assert_int_equal(raw_expect(&client, WIRE_GRANT).seq, 1);
    raw_close(&client);
}

/* A name is shown, not obeyed. */
static void test_control_characters_in_a_name(void **state)
{
    struct raw_client client;
    raw_join(&client, test.address, "a\nb\033[2J) cut off");
    test_server_expect_log(&test, "client 2 (a?b?[2J? cut off, pid");
    raw_close(&client);
}

/* ---- descriptors ---- */

static const struct wire_message park = {.kind = WIRE_PARK, .seq = 1};
static const struct wire_message claim = {.kind = WIRE_CLAIM, .seq = 1, .ticket = {1, 1}};

static int any_file(void)
{
    const int fd = open(test.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void test_park_without_a_descriptor(void **state)
{
    message_is_answered_with(&park, WIRE_REASON_BAD_DESCRIPTOR);
}

static void test_claim_without_a_socket(void **state)
{
    message_is_answered_with(&claim, WIRE_REASON_BAD_DESCRIPTOR);
}

static void test_park_of_what_is_no_file(void **state)
{
    const int fd = eventfd(0, EFD_CLOEXEC);
    message_with_is_answered_with(&park, &fd, 1, WIRE_REASON_BAD_DESCRIPTOR);
    close(fd);
}

/* Its own connection, which then would not end with it. */
static void test_park_of_a_connection(void **state)
{
    struct raw_client offender;
    raw_join(&offender, test.address, "evil");
    assert_true(raw_send_with(&offender, &park, &offender.fd, 1));
    expect_cut_off(&offender, WIRE_REASON_BAD_DESCRIPTOR);
}

static void test_claim_with_a_file(void **state)
{
    const int fd = any_file();
    message_with_is_answered_with(&claim, &fd, 1, WIRE_REASON_BAD_DESCRIPTOR);
    close(fd);
}

static void test_a_descriptor_that_nobody_asked_for(void **state)
{
    const int fd = any_file();
    const struct wire_message acquire = {
        .kind = WIRE_ACQUIRE, .id = {1, 1}, .seq = 1, .mode = HF_SHARED};
    struct raw_client offender;
    raw_join(&offender, test.address, "evil");
    assert_true(raw_send_with(&offender, &acquire, &fd, 1));
    raw_expect(&offender, WIRE_GRANT);
    expect_cut_off(&offender, WIRE_REASON_BAD_DESCRIPTOR);
    close(fd);
}

static void test_a_descriptor_with_the_hello(void **state)
{
    const int fd = any_file();
    const struct wire_message hello = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION};
    struct raw_client offender;
    raw_init(&offender, raw_dial(test.address));
    assert_true(raw_send_with(&offender, &hello, &fd, 1));
    raw_expect(&offender, WIRE_WELCOME);
    expect_cut_off(&offender, WIRE_REASON_BAD_DESCRIPTOR);
    close(fd);
}

static void test_more_descriptors_than_one(void **state)
{
    int fds[253];
    fds[0] = any_file();
    for (size_t i = 1; i < 253; i++) {
        fds[i] = fds[0];
    }
    message_with_is_answered_with(&park, fds, 2, WIRE_REASON_BAD_DESCRIPTOR);
    close(fds[0]);
}

static void test_a_flood_of_descriptors(void **state)
{
    int fds[253];
    fds[0] = any_file();
    for (size_t i = 1; i < 253; i++) {
        fds[i] = fds[0];
    }
    message_with_is_answered_with(&park, fds, 253, WIRE_REASON_BAD_DESCRIPTOR);
    close(fds[0]);
}

/* One for the frame that has begun is kept for it; one more is too many. */
static void test_descriptors_in_the_middle_of_a_frame(void **state)
{
    struct raw_client offender;
    uint8_t frame[64];
    const int fd = any_file();
    const size_t size = wire_encode(&park, frame);
    raw_join(&offender, test.address, "evil");
    assert_true(raw_write_with(&offender, frame, 1, &fd, 1));
    assert_true(raw_write_with(&offender, frame + 1, size - 1, &fd, 1));
    expect_cut_off(&offender, WIRE_REASON_BAD_DESCRIPTOR);
    close(fd);
}

/* A connection over which nobody reads any more, and whose last close() is to wait for that. */
static int make_lingering_socket(int *unread)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t size = sizeof(address);
    const struct linger linger = {.l_onoff = 1, .l_linger = 1000};
    static const char bytes[4096];
    const int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(door, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(door, 1), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, size), 0);
    *unread = accept(door, NULL, NULL);
    close(door);
    while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    return fd;
}

static void test_descriptors_that_take_long_to_close(void **state)
{
    struct raw_client offender;
    uint8_t frame[64];
    int unread[3];
    wire_encode(&park, frame);
    for (int i = 0; i < 3; i++) {
        const int fds[2] = {make_lingering_socket(&unread[i]), any_file()};
        raw_join(&offender, test.address, "evil");
        if (i == 0) { /* refused; one too many; on its way */
            assert_true(raw_send_with(&offender, &park, fds, 1));
        } else if (i == 1) {
            const int wrong_order[2] = {fds[1], fds[0]};
            assert_true(raw_send_with(&offender, &park, wrong_order, 2));
        } else {
            assert_true(raw_write_with(&offender, frame, 1, fds, 1));
        }
        close(fds[0]);
        close(fds[1]);
        raw_close(&offender);
        raw_round_trip(&good);
    }
    raw_hold(&good, 5, HF_SHARED); /* all of them have been closed by now, and it goes on */
    for (int i = 0; i < 3; i++) {
        close(unread[i]);
    }
}

static void test_gone_with_a_descriptor_on_its_way(void **state)
{
    struct raw_client offender;
    uint8_t frame[64];
    const int fd = any_file();
    const int before = test_count_descriptors();
    wire_encode(&park, frame);
    raw_join(&offender, test.address, "evil");
    raw_hold(&offender, 5, HF_EXCLUSIVE);
    assert_true(raw_write_with(&offender, frame, 1, &fd, 1));
    raw_acquire(&good, 5, HF_EXCLUSIVE, 0);
    raw_close(&offender);
    raw_expect(&good, WIRE_GRANT);
    raw_round_trip(&good); /* the connection is closed after others were answered */
    assert_int_equal(test_count_descriptors(), before);
    close(fd);
}

/* Anything at all, from one seed: every connection ends or goes on, and the server does. */
static void test_random_bytes(void **state)
{
    uint64_t random = 88172645463325252U;
    for (int round = 0; round < 300; round++) {
        struct raw_client offender;
        uint8_t bytes[200];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[i] = (uint8_t)random;
        }
        raw_join(&offender, test.address, "random");
        if ((round & 1) != 0) {
            /* A length and a message that exist, so that the fields are looked at. */
            const uint8_t lengths[] = {34, 34, 30, 30, 24, 50, 25, 21};
            const uint8_t kinds[] = {WIRE_ACQUIRE,
                                     18,
                                     WIRE_RELEASE,
                                     WIRE_RELEASE,
                                     WIRE_CANCEL,
                                     WIRE_PARK,
                                     WIRE_CLAIM,
                                     WIRE_DROP};
            memcpy(bytes, "\0\0\0\0", 4);
            bytes[0] = lengths[round % 8];
            bytes[4] = kinds[round % 8];
        }
        raw_write(&offender, bytes, sizeof(bytes));
        shutdown(offender.fd, SHUT_WR);
        raw_expect_end(&offender);
        raw_close(&offender);
        raw_round_trip(&good);
    }
    assert_int_equal(test_server_stats(&test).clients, 1);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_another_protocol_instead_of_hello),
        TEST(test_hello_with_wrong_magic),
        TEST(test_hello_of_another_version),
        TEST(test_hello_of_another_version_and_shape),
        TEST(test_another_message_before_hello),
        cmocka_unit_test_setup_teardown(
            test_half_a_hello_and_then_silence, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(test_silence, set_up_impatient, tear_down),
        TEST(test_garbage),
        TEST(test_longest_length_there_is),
        TEST(test_length_one_over_the_limit),
        TEST(test_empty_frame),
        TEST(test_unknown_message),
        TEST(test_message_in_the_wrong_direction),
        TEST(test_field_left_over),
        TEST(test_mode_that_does_not_exist),
        TEST(test_flag_that_does_not_exist),
        TEST(test_second_hello),
        TEST(test_release_of_a_handle_never_opened),
        TEST(test_release_with_a_number_never_granted),
        TEST(test_value_over_the_limit),
        TEST(test_cancel_of_a_handle_never_opened_is_ignored),
        TEST(test_messages_before_the_bad_one_are_handled),
        TEST(test_gone_in_the_middle_of_a_frame),
        TEST(test_a_frame_in_many_pieces),
        TEST(test_control_characters_in_a_name),
        TEST(test_park_without_a_descriptor),
        TEST(test_claim_without_a_socket),
        TEST(test_park_of_what_is_no_file),
        TEST(test_park_of_a_connection),
        TEST(test_claim_with_a_file),
        TEST(test_a_descriptor_that_nobody_asked_for),
        TEST(test_a_descriptor_with_the_hello),
        TEST(test_more_descriptors_than_one),
        TEST(test_a_flood_of_descriptors),
        TEST(test_descriptors_in_the_middle_of_a_frame),
        TEST(test_descriptors_that_take_long_to_close),
        TEST(test_gone_with_a_descriptor_on_its_way),
        TEST(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
