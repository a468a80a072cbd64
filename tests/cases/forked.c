/*
 * A process that serves and forks. Its children keep nothing of the server, so that its death is
 * seen by all; and the server in their memory is a dead letter that does no harm.
 */
#include "lib/process.h"
#include "lib/raw_client.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3 };

/* Between the test and the workers, past the process that serves. */
struct stage {
    char address[96];
    int reports;
    int leave; /* one byte of it lets one worker go */
};

static void report(const struct stage *stage, char what)
{
    if (write(stage->reports, &what, 1) != 1) {
        _exit(101);
    }
}

static bool join(struct raw_client *client, int fd)
{
    struct wire_message message;
    raw_init(client, fd);
    return raw_send(client,
                    &(struct wire_message){
                        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION}) &&
           raw_next(client, &message) == RAW_MESSAGE && message.kind == WIRE_WELCOME;
}

static int work(const struct stage *stage, int fd)
{
    struct raw_client client;
    struct wire_message message;
    char byte;
    if (!join(&client, fd)) {
        return 1;
    }
    report(stage, 'j');
    if (raw_next(&client, &message) != RAW_END) {
        return 1;
    }
    report(stage, 'e');
    return read(stage->leave, &byte, 1) == 1 ? 0 : 1;
}

/* Serves, forks the workers, and is killed. Half of them come by the socket, and each is forked
 * while the connections of those before are open. */
static int serve_and_fork(const struct child *self, void *context)
{
    const struct stage *stage = context;
    hf_server_config config;
    hf_server *server = NULL;
    hf_server_config_init(&config);
    config.listen = stage->address;
    if (hf_server_new(&config, &server) != 0 || hf_server_start(server) != 0) {
        return 1;
    }
    for (int i = 0; i < WORKERS; i++) {
        const int brought = i % 2 == 0 ? hf_server_connect(server) : -1;
        const pid_t pid = fork();
        if (pid == 0) {
            close(self->reports);
            _exit(work(stage, brought >= 0 ? brought : raw_dial(stage->address)));
        }
        if (brought >= 0) {
            close(brought);
        }
        char byte;
        if (read(self->hold, &byte, 1) != 1) { /* until the test has heard of this one */
            return 1;
        }
    }
    for (;;) {
        pause();
    }
}

static void expect_report(int reports, char what)
{
    char got = '-';
    assert_int_equal(read(reports, &got, 1), 1);
    assert_int_equal(got, what);
}

static void test_workers_see_the_death_of_the_process_that_serves(void **state)
{
    struct test_server test;
    struct stage stage;
    struct child host;
    int reports[2], leave[2];
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* the workers become this process's children */
    test_server_init(&test);          /* for its folder */
    snprintf(stage.address, sizeof(stage.address), "%s", test.address);
    assert_int_equal(pipe2(reports, O_CLOEXEC), 0);
    assert_int_equal(pipe2(leave, O_CLOEXEC), 0);
    stage.reports = reports[1];
    stage.leave = leave[0];
    child_start(&host, serve_and_fork, &stage);
    close(reports[1]); /* so that a worker that dies early ends the wait */
    for (int i = 0; i < WORKERS; i++) {
        expect_report(reports[0], 'j');
        assert_int_equal(write(host.hold, "", 1), 1);
    }
    child_kill(&host);
    for (int i = 0; i < WORKERS; i++) {
        expect_report(reports[0], 'e');
    }
    /* The lock and the listening socket died with the process, though its children live, and what
     * it left is replaced. */
    assert_int_equal(raw_dial(test.address), -ECONNREFUSED);
    test_server_start(&test);
    for (int i = 0; i < WORKERS; i++) {
        int status = -1;
        assert_int_equal(write(leave[1], "", 1), 1);
        assert_true(waitpid(-1, &status, 0) > 0);
        assert_int_equal(status, 0);
    }
    close(reports[0]);
    close(leave[0]);
    close(leave[1]);
    test_server_deinit(&test);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Every function of the copy says that it is not the server, and none touches the real one. */
static int use_the_copy(const struct child *self, void *context)
{
    struct test_server *test = context;
    hf_server *server = test->server;
    hf_server_stats stats;
    int pair[2];
    if (hf_server_fd(server) != -ESHUTDOWN || hf_server_timeout_ms(server) != -1 ||
        hf_server_dispatch(server) != -ESHUTDOWN || hf_server_start(server) != -ESHUTDOWN ||
        hf_server_connect(server) != -ESHUTDOWN || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 ||
        hf_server_adopt(server, pair[0]) != -ESHUTDOWN || !is_open(pair[0])) {
        return 2;
    }
    hf_server_get_stats(server, &stats);
    hf_server_stop(server);
    if (stats.clients != 0 || hf_server_free(server) != NULL) {
        return 3;
    }
    return access(test->path, F_OK) == 0 ? 0 : 4;
}

static void test_the_copy_in_a_child_is_harmless(void **state)
{
    struct test_server test;
    struct child child;
    struct raw_client client;
    test_server_init(&test);
    test_server_start(&test);
    raw_join(&client, test.address, "client");
    const uint64_t grant = raw_hold(&client, 1, HF_EXCLUSIVE);
    child_start(&child, use_the_copy, &test);
    assert_int_equal(child_end(&child), 0);
    raw_release(&client, 1, grant, HF_INVALID);
    raw_round_trip(&client);
    raw_close(&client);
    test_server_deinit(&test);
}

static int serve_too(const struct child *self, void *context)
{
    struct test_server *test = context;
    struct raw_client client;
    hf_server *own = NULL;
    hf_server_free(test->server);
    if (hf_server_new(NULL, &own) != 0 || hf_server_start(own) != 0 ||
        !join(&client, hf_server_connect(own))) {
        return 1;
    }
    raw_close(&client);
    hf_server_free(own);
    return 0;
}

static void test_a_child_may_serve_too(void **state)
{
    struct test_server test;
    struct child child;
    test_server_init(&test);
    test_server_start(&test);
    child_start(&child, serve_too, &test);
    assert_int_equal(child_end(&child), 0);
    test_server_deinit(&test);
}

/* Sockets and files that a child has beyond those that it had when there was no server. */
static int count_sockets(const struct child *self, void *context)
{
    int sockets = 0;
    for (int fd = 0; fd < 256; fd++) {
        struct stat status;
        sockets += fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
    }
    return sockets;
}

static void test_a_child_has_no_socket_of_the_server(void **state)
{
    struct test_server test;
    struct child child;
    struct raw_client clients[5];
    test_server_init(&test);
    child_start(&child, count_sockets, NULL);
    const int before = child_end(&child);
    test_server_start(&test);
    for (int i = 0; i < 5; i++) {
        raw_join(&clients[i], test.address, "client");
    }
    const int idle = hf_server_connect(test.server); /* perhaps not yet seen by the loop */
    child_start(&child, count_sockets, NULL);
    assert_int_equal(child_end(&child), before + 5 + 1);
    close(idle);
    for (int i = 0; i < 5; i++) {
        raw_close(&clients[i]);
    }
    test_server_deinit(&test);
}

/* ---- forking while connections come and go ---- */

static atomic_bool enough;
static struct test_server busy;

static void *come_and_go(void *argument)
{
    while (!atomic_load(&enough)) {
        struct raw_client client;
        if (!join(&client, hf_server_connect(busy.server))) {
            abort();
        }
        raw_close(&client);
        if (!join(&client, raw_dial(busy.address))) {
            abort();
        }
        raw_close(&client);
    }
    return NULL;
}

/* Whenever the fork happens, no server's end of a connection is in the child: the ends of the
 * clients, of which at most two exist, are all the sockets there are. */
static void test_forks_among_connections_that_come_and_go(void **state)
{
    pthread_t threads[2];
    struct child child;
    test_server_init(&busy);
    child_start(&child, count_sockets, NULL);
    const int before = child_end(&child);
    test_server_start(&busy);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    }
    for (int i = 0; i < 200; i++) {
        child_start(&child, count_sockets, NULL);
        const int sockets = child_end(&child);
        assert_in_range(sockets, before, before + 2);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    test_server_deinit(&busy);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_see_the_death_of_the_process_that_serves),
        cmocka_unit_test(test_the_copy_in_a_child_is_harmless),
        cmocka_unit_test(test_a_child_may_serve_too),
        cmocka_unit_test(test_a_child_has_no_socket_of_the_server),
        cmocka_unit_test(test_forks_among_connections_that_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
