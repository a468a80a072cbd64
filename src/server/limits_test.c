/*
 * Every limit bites the one who goes over it, and nobody else.
 */
#include "lib/raw_client.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct test_server test;

static int set_up(void **state)
{
    test_server_init(&test);
    return 0;
}

static int tear_down(void **state)
{
    test_server_deinit(&test);
    return 0;
}

static void expect_denied(struct raw_client *client, enum wire_reason reason)
{
    const struct wire_message answer = raw_expect(client, WIRE_GRANT);
    assert_int_equal(answer.flags, WIRE_DENIED);
    assert_string_equal(wire_reason_text(answer.reason), wire_reason_text((uint8_t)reason));
}

static void test_one_handle_too_many_is_denied(void **state)
{
    struct raw_client greedy, other;
    test.config.limits.handles = 3;
    test_server_start(&test);
    raw_join(&greedy, test.address, "greedy");
    raw_join(&other, test.address, "other");
    uint64_t grant = 0;
    for (uint64_t object = 1; object <= 3; object++) {
        grant = raw_hold(&greedy, object, HF_SHARED);
    }
    raw_acquire(&greedy, 4, HF_SHARED, 0);
    expect_denied(&greedy, WIRE_REASON_HANDLE_LIMIT);

    for (uint64_t object = 1; object <= 3; object++) {
        raw_hold(&other, object, HF_SHARED);
    }
    raw_release(&greedy, 3, grant, HF_INVALID);
    raw_hold(&greedy, 4, HF_SHARED);
    assert_int_equal(test_server_stats(&test).denials, 1);
    assert_int_equal(test_server_stats(&test).cut_off, 0);
    raw_close(&greedy);
    raw_close(&other);
}

static void test_one_waiting_request_too_many_is_denied(void **state)
{
    struct raw_client holder, greedy, other;
    test.config.limits.queued = 2;
    test_server_start(&test);
    raw_join(&holder, test.address, "holder");
    raw_join(&greedy, test.address, "greedy");
    raw_join(&other, test.address, "other");
    for (uint64_t object = 1; object <= 3; object++) {
        raw_hold(&holder, object, HF_EXCLUSIVE);
    }
    for (uint64_t object = 1; object <= 3; object++) {
        raw_acquire(&greedy, object, HF_SHARED, 0);
    }
    expect_denied(&greedy, WIRE_REASON_QUEUE_LIMIT);
    raw_acquire(&other, 3, HF_SHARED, 0);

    /* Those that wait are served as if nothing had happened. */
    raw_close(&holder);
    raw_expect(&greedy, WIRE_GRANT);
    raw_expect(&greedy, WIRE_GRANT);
    assert_int_equal(raw_expect(&other, WIRE_GRANT).id.object, 3);
    assert_int_equal(test_server_stats(&test).queued, 0);
    raw_close(&greedy);
    raw_close(&other);
}

static void test_one_client_too_many_is_refused(void **state)
{
    struct raw_client first, second, third;
    test.config.limits.clients = 2;
    test_server_start(&test);
    raw_join(&first, test.address, "first");
    raw_join(&second, test.address, "second");
    raw_init(&third, raw_dial(test.address));
    raw_expect_goodbye(&third, WIRE_REASON_TOO_MANY_CLIENTS);
    raw_close(&third);
    test_server_expect_log(&test, "refused: too many clients");
    raw_round_trip(&first);

    /* There is room again once one has gone. */
    raw_hold(&second, 1, HF_EXCLUSIVE);
    raw_acquire(&first, 1, HF_EXCLUSIVE, 0);
    raw_close(&second);
    raw_expect(&first, WIRE_GRANT);
    raw_join(&third, test.address, "third");
    raw_close(&third);
    raw_close(&first);
}

/* In pages, as the kernel counts. */
static long resident_pages(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    long total = 0, resident = 0;
    assert_int_equal(sscanf(text, "%ld %ld", &total, &resident), 2);
    return resident;
}

/* Asks and asks, and never takes an answer: what waits for it stays below the limit, and then it
 * is cut off. */
static void test_a_client_that_never_reads_is_cut_off(void **state)
{
    struct raw_client holder, other, deaf;
    const uint64_t limit = 256 << 10;
    test.config.limits.unsent_bytes = limit;
    test_server_start(&test);
    raw_join(&holder, test.address, "holder");
    raw_join(&other, test.address, "other");
    raw_join(&deaf, test.address, "deaf");
    raw_hold(&holder, 1, HF_EXCLUSIVE);
    const long pages_before = resident_pages();

    const struct wire_message ask = {
        .kind = WIRE_ACQUIRE, .id = {1, 1}, .seq = 1, .mode = HF_SHARED, .flags = WIRE_AHEAD};
    uint64_t most_unsent = 0;
    long most_pages = 0;
    int asked = 0;
    while (raw_send(&deaf, &ask)) {
        if (++asked % 1000 == 0) {
            raw_round_trip(&other);
            const uint64_t unsent = test_server_stats(&test).unsent_bytes;
            most_unsent = unsent > most_unsent ? unsent : most_unsent;
            const long pages = resident_pages();
            most_pages = pages > most_pages ? pages : most_pages;
        }
        assert_true(asked < 1000000);
    }
    raw_expect_end(&deaf);
    raw_close(&deaf);
    raw_round_trip(&other);
    test_server_expect_log(
        &test, "deaf, pid %d, uid %u): cut off: client does not read", getpid(), getuid());
    assert_true(most_unsent > 0);
    assert_true(most_unsent <= limit);
    assert_int_equal(test_server_stats(&test).unsent_bytes, 0);
    assert_int_equal(test_server_stats(&test).cut_off, 1);
    if (test_is_plain()) {
        assert_true((most_pages - pages_before) * sysconf(_SC_PAGESIZE) < 4 << 20);
    }
    raw_close(&holder);
    raw_close(&other);
}

/* One that reads late, but within the limit, gets every answer in order. */
static void test_a_client_that_reads_late_gets_everything(void **state)
{
    enum { REQUESTS = 20000 };
    struct raw_client holder, late;
    test_server_start(&test);
    raw_join(&holder, test.address, "holder");
    raw_join(&late, test.address, "late");
    raw_hold(&holder, 1, HF_EXCLUSIVE);
    for (int i = 0; i < REQUESTS; i++) {
        raw_acquire(&late, 1, HF_SHARED, WIRE_AHEAD);
    }
    for (uint32_t seq = 1; seq <= REQUESTS; seq++) {
        assert_int_equal(raw_expect(&late, WIRE_GRANT).seq, seq);
    }
    raw_round_trip(&late);
    assert_int_equal(test_server_stats(&test).unsent_bytes, 0);
    assert_int_equal(test_server_stats(&test).denials, REQUESTS);
    raw_close(&late);
    raw_close(&holder);
}

/* Whatever one client has sent, another's request is handled in the same turn of the loop. */
static void test_a_flood_does_not_delay_others(void **state)
{
    struct raw_client flood, other;
    test_server_new(&test); /* driven by this thread: so a turn is a turn */
    const int flood_fd = hf_server_connect(test.server);
    const int other_fd = hf_server_connect(test.server);
    raw_init(&flood, flood_fd);
    raw_init(&other, other_fd);
    const struct wire_message hello = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION};
    raw_send(&flood, &hello);
    raw_send(&other, &hello);
    assert_int_equal(hf_server_dispatch(test.server), 0);
    raw_expect(&flood, WIRE_WELCOME);
    raw_expect(&other, WIRE_WELCOME);

    uint8_t frames[16384];
    const struct wire_message cancel = {.kind = WIRE_CANCEL, .id = {1, 1}, .seq = 1};
    const size_t size = wire_size(&cancel);
    const size_t count = sizeof(frames) / size;
    for (size_t i = 0; i < count; i++) {
        wire_encode(&cancel, frames + i * size);
    }
    fcntl(flood.fd, F_SETFL, O_NONBLOCK);
    uint64_t flooded = 0;
    while (raw_write(&flood, frames, count * size)) {
        flooded += count;
    }
    raw_acquire(&other, 1, HF_EXCLUSIVE, 0);
    assert_int_equal(hf_server_dispatch(test.server), 0);
    raw_expect(&other, WIRE_GRANT);
    assert_true(flooded > 65536 / size); /* more than is read at one time */
    assert_true(test_server_stats(&test).cancels <= 65536 / size);
    raw_close(&flood);
    raw_close(&other);
}

/* Without a descriptor to accept with, a client is told so; and the loop does not spin. */
static void test_no_descriptors_left(void **state)
{
    struct raw_client first, late, again;
    struct rlimit before, tight;
    test_server_start(&test);
    raw_join(&first, test.address, "first");
    raw_init(&late, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    raw_init(&again, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = fcntl(again.fd, F_DUPFD_CLOEXEC, 0);
    close(next);
    tight = before;
    tight.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", test.path);
    assert_int_equal(connect(late.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    raw_expect_goodbye(&late, WIRE_REASON_TOO_MANY_CLIENTS);
    raw_round_trip(&first);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);

    assert_int_equal(connect(again.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    const int fd = again.fd;
    raw_join_fd(&again, fd, "again");
    raw_close(&late);
    raw_close(&again);
    raw_close(&first);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_one_handle_too_many_is_denied),
        TEST(test_one_waiting_request_too_many_is_denied),
        TEST(test_one_client_too_many_is_refused),
        TEST(test_a_client_that_never_reads_is_cut_off),
        TEST(test_a_client_that_reads_late_gets_everything),
        TEST(test_a_flood_does_not_delay_others),
        TEST(test_no_descriptors_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
