/*
 * A server inside another program: in a thread of its own or in the program's loop, with
 * connections that the program brings.
 */
#include "lib/raw_client.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
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

/* ---- driving it ---- */

/* What an embedder does that knows nothing but the descriptor and the time limit. */
static void serve_until(const atomic_bool *done)
{
    while (!atomic_load(done)) {
        struct pollfd readable = {.fd = hf_server_fd(test.server), .events = POLLIN};
        const int timeout = hf_server_timeout_ms(test.server);
        const int ready = poll(&readable, 1, timeout < 0 ? RAW_PATIENCE_MS : timeout);
        assert_true(ready > 0 || timeout >= 0); /* else it has stalled */
        assert_int_equal(hf_server_dispatch(test.server), 0);
    }
}

struct visitor {
    pthread_t thread;
    void (*visit)(void);
    atomic_bool done;
};

static void *run_visitor(void *argument)
{
    struct visitor *visitor = argument;
    visitor->visit();
    atomic_store(&visitor->done, true);
    /* One more connection, so that the server's descriptor becomes readable. */
    const int fd = hf_server_connect(test.server);
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

static void serve_visitor(void (*visit)(void))
{
    struct visitor visitor = {.visit = visit};
    assert_int_equal(pthread_create(&visitor.thread, NULL, run_visitor, &visitor), 0);
    serve_until(&visitor.done);
    pthread_join(visitor.thread, NULL);
}

static void visit_by_both_doors(void)
{
    struct raw_client first, second;
    raw_join(&first, test.address, "first");
    raw_join_fd(&second, hf_server_connect(test.server), "second");
    for (int i = 0; i < 100; i++) {
        raw_round_trip(&first);
        const uint64_t grant = raw_hold(&first, 1, HF_EXCLUSIVE);
        raw_acquire(&second, 1, HF_EXCLUSIVE, 0);
        assert_int_equal(raw_expect(&first, WIRE_RECALL).grant, grant);
        raw_release(&first, 1, grant, HF_INVALID);
        raw_release(&second, 1, raw_expect(&second, WIRE_GRANT).grant, HF_INVALID);
    }
    raw_close(&first);
    raw_close(&second);
}

static void test_descriptor_and_timeout_are_enough_to_drive_it(void **state)
{
    test_server_new(&test);
    serve_visitor(visit_by_both_doors);
}

static void visit_in_silence(void)
{
    struct raw_client silent;
    raw_init(&silent, raw_dial(test.address));
    raw_expect_goodbye(&silent, WIRE_REASON_TOO_SLOW);
    raw_close(&silent);
}

static void test_the_timeout_carries_the_handshakes_limit(void **state)
{
    test.config.limits.handshake_seconds = 1;
    test_server_new(&test);
    assert_int_equal(hf_server_timeout_ms(test.server), -1);
    serve_visitor(visit_in_silence);
}

/* A machine that is busy, or an embedder that is, does not cut off a client that was in time. */
static void test_a_hello_in_time_is_heard_by_a_late_loop(void **state)
{
    struct raw_client client;
    test.config.limits.handshake_seconds = 1;
    test_server_new(&test);
    raw_init(&client, hf_server_connect(test.server));
    assert_int_equal(hf_server_dispatch(test.server), 0);
    raw_send(&client,
             &(struct wire_message){
                 .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION});
    int left_ms;
    while ((left_ms = hf_server_timeout_ms(test.server)) > 0) {
        poll(NULL, 0, left_ms);
    }
    assert_int_equal(hf_server_dispatch(test.server), 0);
    raw_expect(&client, WIRE_WELCOME);
    raw_close(&client);
}

static void test_what_one_request_causes_is_sent_at_once(void **state)
{
    struct raw_client client;
    uint8_t bytes[256];
    test_server_new(&test);
    raw_init(&client, hf_server_connect(test.server));
    const struct wire_message hello = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION};
    const struct wire_message one = {.kind = WIRE_ACQUIRE, .id = {1, 1}, .seq = 1, .mode = 1};
    const struct wire_message two = {.kind = WIRE_ACQUIRE, .id = {1, 2}, .seq = 2, .mode = 1};
    size_t size = wire_encode(&hello, bytes);
    size += wire_encode(&one, bytes + size);
    size += wire_encode(&two, bytes + size);
    raw_write(&client, bytes, size);
    assert_int_equal(hf_server_dispatch(test.server), 0);
    const struct wire_message welcome = {.kind = WIRE_WELCOME}, grant = {.kind = WIRE_GRANT};
    assert_int_equal(recv(client.fd, bytes, sizeof(bytes), 0),
                     wire_size(&welcome) + 2 * wire_size(&grant));
    raw_close(&client);
}

/* With too few descriptors at each point in turn: an error, and nothing is left behind. */
static void test_making_it_fails_cleanly_without_descriptors(void **state)
{
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const int first = dup(0);
    close(first);
    tight = before;
    int failures = 0;
    for (tight.rlim_cur = (rlim_t)first;; tight.rlim_cur++) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        const int result = hf_server_new(&test.config, &test.server);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        if (result == 0) {
            break;
        }
        failures++;
        assert_int_equal(result, -EMFILE);
        assert_int_equal(access(test.path, F_OK), -1);
        assert_int_equal(test_count_descriptors(), test.descriptors_before);
    }
    assert_in_range(failures, 5, 20);
}

static void test_only_one_may_drive_it(void **state)
{
    test_server_start(&test);
    assert_int_equal(hf_server_start(test.server), -EBUSY);
    assert_int_equal(hf_server_dispatch(test.server), -EBUSY);
}

/* ---- stopping it ---- */

static void expect_stopped(void)
{
    int ends[2];
    assert_int_equal(hf_server_start(test.server), -ESHUTDOWN);
    assert_int_equal(hf_server_dispatch(test.server), -ESHUTDOWN);
    assert_int_equal(hf_server_connect(test.server), -ESHUTDOWN);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(hf_server_adopt(test.server, ends[0]), -ESHUTDOWN);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(test_server_stats(&test).clients, 0);
    assert_int_equal(access(test.path, F_OK), -1);
    hf_server_stop(test.server);
}

static void test_stopping_says_goodbye_to_all(void **state)
{
    struct raw_client first, second;
    test_server_start(&test);
    raw_join(&first, test.address, "first");
    raw_join(&second, test.address, "second");
    raw_hold(&first, 1, HF_EXCLUSIVE);
    raw_acquire(&second, 1, HF_EXCLUSIVE, 0);
    raw_expect(&first, WIRE_RECALL);
    hf_server_stop(test.server);
    raw_expect_goodbye(&first, WIRE_REASON_SHUTDOWN);
    raw_expect_goodbye(&second, WIRE_REASON_SHUTDOWN);
    raw_close(&first);
    raw_close(&second);
    assert_int_equal(test_server_stats(&test).cut_off, 0);
    expect_stopped();
}

static void test_stopping_a_server_that_never_ran(void **state)
{
    struct raw_client client;
    test_server_new(&test);
    raw_init(&client, hf_server_connect(test.server));
    hf_server_stop(test.server);
    raw_expect_goodbye(&client, WIRE_REASON_SHUTDOWN);
    raw_close(&client);
    expect_stopped();
}

static void stop_at_message(void *context, const hf_trace_event *event)
{
    hf_server_stop(test.server);
}

static void test_stopping_from_a_callback_in_its_thread(void **state)
{
    struct raw_client client;
    test.config.trace = stop_at_message;
    test_server_start(&test);
    raw_join(&client, test.address, "client");
    raw_acquire(&client, 1, HF_SHARED, 0);
    raw_expect_end(&client);
    raw_close(&client);
    hf_server_stop(test.server);
    expect_stopped();
}

static void test_stopping_from_a_callback_of_dispatch(void **state)
{
    struct raw_client client;
    test.config.trace = stop_at_message;
    test_server_new(&test);
    raw_init(&client, hf_server_connect(test.server));
    raw_send(&client,
             &(struct wire_message){
                 .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION});
    raw_acquire(&client, 1, HF_SHARED, 0);
    assert_int_equal(hf_server_dispatch(test.server), -ESHUTDOWN);
    raw_expect_end(&client);
    raw_close(&client);
    expect_stopped();
}

/* ---- many threads ---- */

enum { VISITORS = 4, VISITS = 25 };

static void *come_and_go(void *argument)
{
    for (int i = 0; i < VISITS; i++) {
        struct raw_client client;
        hf_server_stats stats;
        raw_join_fd(&client, hf_server_connect(test.server), "visitor");
        raw_round_trip(&client);
        hf_server_get_stats(test.server, &stats);
        if (stats.clients < 1 || stats.grants < 1) {
            abort(); /* what a client has seen, the counters have too */
        }
        raw_close(&client);
    }
    return NULL;
}

static void *stop_it(void *argument)
{
    hf_server_stop(test.server);
    return NULL;
}

static void test_threads_connect_and_stop_as_they_like(void **state)
{
    pthread_t threads[VISITORS];
    test_server_start(&test);
    for (int i = 0; i < VISITORS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    }
    for (int i = 0; i < VISITORS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(test_server_stats(&test).acquires, VISITORS * VISITS);
    for (int i = 0; i < VISITORS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, stop_it, NULL), 0);
    }
    for (int i = 0; i < VISITORS; i++) {
        pthread_join(threads[i], NULL);
    }
    expect_stopped();
}

/* ---- connections that the embedder brings ---- */

static void test_a_socketpair_is_adopted(void **state)
{
    int ends[2];
    struct raw_client client;
    test_server_start(&test);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(hf_server_adopt(test.server, ends[0]), 0);
    assert_true((fcntl(ends[0], F_GETFD) & FD_CLOEXEC) != 0);
    raw_join_fd(&client, ends[1], "pair");
    raw_round_trip(&client);
    raw_close(&client);
}

static void test_a_tcp_connection_is_adopted(void **state)
{
    struct raw_client client;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t size = sizeof(address);
    test_server_start(&test);
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(door, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(door, 1), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(hf_server_adopt(test.server, accept(door, NULL, NULL)), 0);
    raw_join_fd(&client, fd, "far");
    raw_round_trip(&client);
    test_server_expect_log(&test, "(far): connected"); /* no pid, no uid */
    raw_close(&client);
    close(door);
}

/* Not a socket: what a serial line of a virtual machine is like. */
static void test_a_terminal_is_adopted(void **state)
{
    struct termios raw;
    uint8_t frame[64];
    test_server_start(&test);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_int_equal(tcgetattr(slave, &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
    assert_int_equal(hf_server_adopt(test.server, slave), 0);

    const struct wire_message hello = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION};
    const size_t size = wire_encode(&hello, frame);
    assert_int_equal(write(master, frame, size), size);
    struct pollfd readable = {.fd = master, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, RAW_PATIENCE_MS), 1);
    assert_true(read(master, frame, sizeof(frame)) > WIRE_LENGTH_BYTES);
    assert_int_equal(frame[WIRE_LENGTH_BYTES], WIRE_WELCOME);
    close(master);
}

static void expect_refused(int fd, int failure)
{
    assert_int_equal(hf_server_adopt(test.server, fd), failure);
    assert_true(fcntl(fd, F_GETFD) >= 0); /* still the caller's */
    close(fd);
}

static void test_what_is_not_a_stream_is_refused(void **state)
{
    int ends[2];
    test_server_start(&test);
    assert_int_equal(hf_server_adopt(test.server, -1), -EBADF);
    assert_int_equal(hf_server_adopt(test.server, 1 << 20), -EBADF);
    assert_int_equal(pipe(ends), 0);
    expect_refused(ends[0], -EINVAL);
    expect_refused(ends[1], -EINVAL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    expect_refused(ends[0], -EINVAL);
    expect_refused(ends[1], -EINVAL);
    expect_refused(open("/proc/self/statm", O_RDONLY), -EINVAL);
    expect_refused(open("/dev/null", O_RDWR), -EINVAL);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(listen(door, 1), 0);
    expect_refused(door, -EINVAL);
}

/* ---- watching it ---- */

static char traced[1024];

static void keep_trace(void *context, const hf_trace_event *event)
{
    const size_t length = strlen(traced);
    snprintf(traced + length,
             sizeof(traced) - length,
             "%s%s%s %d %zu %s\n",
             event->client_name,
             event->to_server ? ">" : "<",
             event->message,
             event->mode,
             event->value_size,
             event->remark);
}

static void test_the_trace_has_every_message_in_order(void **state)
{
    struct raw_client a, b;
    traced[0] = '\0';
    test.config.trace = keep_trace;
    test_server_start(&test);
    raw_join(&a, test.address, "a");
    raw_join(&b, test.address, "b");
    raw_acquire(&a, 1, HF_EXCLUSIVE, WIRE_REFERENCE);
    const uint64_t grant = raw_expect(&a, WIRE_GRANT).grant;
    raw_acquire(&b, 1, HF_SHARED, WIRE_AHEAD);
    raw_expect(&b, WIRE_GRANT);
    raw_acquire(&b, 1, HF_SHARED, WIRE_NOWAIT);
    raw_expect(&a, WIRE_RECALL);
    raw_send(&a,
             &(struct wire_message){.kind = WIRE_RELEASE,
                                    .id = {1, 1},
                                    .grant = grant,
                                    .mode = HF_EXCLUSIVE,
                                    .flags = WIRE_IN_USE});
    raw_expect(&b, WIRE_GRANT);
    raw_acquire(&b, 1, HF_SHARED, 0);
    raw_expect(&a, WIRE_RECALL);
    raw_send(&a,
             &(struct wire_message){.kind = WIRE_RELEASE,
                                    .id = {1, 1},
                                    .grant = grant,
                                    .mode = HF_EXCLUSIVE,
                                    .flags = WIRE_VALUE,
                                    .data = (const uint8_t *)"new",
                                    .data_size = 3});
    raw_close(&a);
    assert_int_equal(raw_expect(&b, WIRE_GRANT).flags, WIRE_OWNER_DIED | WIRE_VALUE);
    raw_close(&b);
    hf_server_stop(test.server);
    assert_string_equal(traced,
                        "a>ACQUIRE 2 0 \n"
                        "a<GRANT 2 0 \n"
                        "b>ACQUIRE 1 0 ahead\n"
                        "b<GRANT 0 0 DENIED another client has it\n"
                        "b>ACQUIRE 1 0 no wait\n"
                        "a<RECALL 1 0 \n"
                        "a>RELEASE 2 0 in use\n"
                        "b<GRANT 0 0 DENIED another client has it\n"
                        "b>ACQUIRE 1 0 \n"
                        "a<RECALL 1 0 \n"
                        "a>RELEASE 2 3 \n"
                        "b<GRANT 1 3 owner died\n");
}

/* Its thread makes what it makes in exactly the mode wanted; the program's own umask stays. */
static void umask_of_a_trace(void *context, const hf_trace_event *event)
{
    char line[256];
    FILE *status = fopen("/proc/thread-self/status", "re");
    assert_non_null(status);
    while (fgets(line, sizeof(line), status) != NULL) {
        sscanf(line, "Umask: %o", (unsigned *)context);
    }
    fclose(status);
}

static void test_its_thread_has_no_umask(void **state)
{
    unsigned seen = 07777;
    const mode_t before = umask(027);
    struct raw_client client;
    test.config.trace = umask_of_a_trace;
    test.config.trace_context = &seen;
    test_server_start(&test);
    raw_join(&client, test.address, "client");
    raw_round_trip(&client);
    raw_close(&client);
    hf_server_stop(test.server);
    assert_int_equal(seen, 0);
    assert_int_equal(umask(before), 027);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_descriptor_and_timeout_are_enough_to_drive_it),
        TEST(test_the_timeout_carries_the_handshakes_limit),
        TEST(test_a_hello_in_time_is_heard_by_a_late_loop),
        TEST(test_what_one_request_causes_is_sent_at_once),
        TEST(test_making_it_fails_cleanly_without_descriptors),
        TEST(test_only_one_may_drive_it),
        TEST(test_stopping_says_goodbye_to_all),
        TEST(test_stopping_a_server_that_never_ran),
        TEST(test_stopping_from_a_callback_in_its_thread),
        TEST(test_stopping_from_a_callback_of_dispatch),
        TEST(test_threads_connect_and_stop_as_they_like),
        TEST(test_a_socketpair_is_adopted),
        TEST(test_a_tcp_connection_is_adopted),
        TEST(test_a_terminal_is_adopted),
        TEST(test_what_is_not_a_stream_is_refused),
        TEST(test_its_thread_has_no_umask),
        TEST(test_the_trace_has_every_message_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
