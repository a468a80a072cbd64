/*
 * fork() and hf_fork() of processes with clients: the child is a client of its own that has open
 * what its parent has open, and neither can take a value away from the other.
 */
#include "lib/fake_server.h"
#include "lib/process.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct stage stage;
static hf_client *client, *other;
static hf_sync *handle, *others, *lock;

static int set_up(void **state)
{
    stage_init(&stage);
    stage_start(&stage);
    client = stage_client(&stage, "client");
    handle = open_value(client, 1);
    lock = open_lock(client, 2);
    other = NULL;
    others = NULL;
    return 0;
}

static int tear_down(void **state)
{
    hf_sync_close(handle);
    hf_sync_close(lock);
    hf_sync_close(others);
    hf_client_unref(client);
    hf_client_unref(other);
    stage_await_clients(&stage, 0);
    assert_int_equal(stage_stats(&stage).holds, 0);
    stage_deinit(&stage);
    return 0;
}

typedef pid_t forking(void);

static forking *const ways[] = {hf_fork, fork};

#define FOR_BOTH_WAYS(way)                                                                         \
    for (forking *const *way = ways; way < ways + sizeof(ways) / sizeof(ways[0]); way++)

/* In a child: end with the number of the claim that does not hold. */
#define CLAIM(number, condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            _exit(number);                                                                         \
        }                                                                                          \
    } while (0)

static int reap(pid_t pid)
{
    int status = 0;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void set(hf_sync *to, uint64_t value)
{
    assert_true(hf_sync_acquire(to, HF_EXCLUSIVE, NULL) >= 0);
    value_set(to, value);
    assert_int_equal(hf_sync_release(to), 0);
}

/* UINT64_MAX: it cannot be read. */
static uint64_t get(hf_sync *from)
{
    uint64_t value = 0;
    if (hf_sync_acquire(from, HF_SHARED, NULL) < 0) {
        return UINT64_MAX;
    }
    hf_sync_get_value(from, &value, sizeof(value));
    return hf_sync_release(from) == 0 ? value : UINT64_MAX;
}

/* ---- what a child has ---- */

static void child_is_a_client_of_its_own(uint64_t parent_number)
{
    hf_sync *again = NULL;
    CLAIM(1, hf_client_error(client) == 0);
    CLAIM(2, hf_client_number(client) != 0 && hf_client_number(client) != parent_number);
    CLAIM(3, client_messages(client) == 0);
    CLAIM(4, hf_sync_release(handle) == -EPERM && hf_sync_release(lock) == -EPERM);
    /* The parent has it, not we, and no thread there uses it. */
    const hf_wait_opts nowait = {.flags = HF_NOWAIT};
    CLAIM(5, hf_sync_acquire(handle, HF_EXCLUSIVE, &nowait) >= 0);
    CLAIM(6, hf_sync_release(handle) == 0);
    CLAIM(7, get(handle) == 17);
    CLAIM(8, hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
    const uint64_t value = 18;
    CLAIM(9, hf_sync_set_value(handle, &value, sizeof(value)) == 0);
    CLAIM(10, hf_sync_release(handle) == 0);
    CLAIM(11, hf_sync_acquire(lock, HF_EXCLUSIVE, NULL) >= 0 && hf_sync_release(lock) == 0);
    CLAIM(12, hf_sync_open(client, (hf_id){7, 1}, 0, &again) == 0 && again == handle);
    hf_sync_close(again);
    hf_sync_close(lock);
    hf_sync_close(handle);
    CLAIM(13, hf_client_unref(client) == NULL);
    _exit(0);
}

static void test_the_child_is_a_client_of_its_own(void **state)
{
    const uint64_t number = hf_client_number(client);
    FOR_BOTH_WAYS(way)
    {
        set(handle, 17);
        assert_true(hf_sync_acquire(lock, HF_EXCLUSIVE, NULL) >= 0);
        assert_int_equal(hf_sync_release(lock), 0);
        const pid_t pid = (*way)();
        if (pid == 0) {
            child_is_a_client_of_its_own(number);
        }
        assert_int_equal(reap(pid), 0);
        assert_int_equal(hf_client_number(client), number);
        assert_int_equal(get(handle), 18);
        stage_await_clients(&stage, 1);
    }
}

static void test_the_child_waits_and_is_cancelled_as_its_parent(void **state)
{
    hf_cancel *token = NULL;
    assert_int_equal(hf_cancel_new(client, &token), 0);
    FOR_BOTH_WAYS(way)
    {
        other = other != NULL ? other : stage_client(&stage, "other");
        others = others != NULL ? others : open_value(other, 1);
        struct acquirer holder = {.handle = others, .mode = HF_EXCLUSIVE};
        acquirer_start(&holder);
        assert_true(acquirer_join(&holder) >= 0);
        const pid_t pid = (*way)();
        if (pid == 0) {
            const hf_wait_opts soon = {.deadline_ns = after_ms(5)};
            CLAIM(1, hf_sync_acquire(handle, HF_SHARED, &soon) == -ETIMEDOUT);
            hf_cancel_fire(token);
            CLAIM(2,
                  hf_sync_acquire(handle, HF_SHARED, &(hf_wait_opts){.cancel = token}) ==
                      -ECANCELED);
            hf_cancel_reset(token);
            _exit(0);
        }
        assert_int_equal(reap(pid), 0);
        assert_int_equal(hf_sync_release(others), 0);
    }
    hf_cancel_free(token);
}

/* ---- values that both have open ---- */

static void test_the_parent_closes_at_once_and_the_value_stays(void **state)
{
    FOR_BOTH_WAYS(way)
    {
        int go[2];
        char byte;
        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        set(handle, 21);
        const pid_t pid = (*way)();
        if (pid == 0) {
            CLAIM(1, read(go[0], &byte, 1) == 1);
            CLAIM(2, get(handle) == 21);
            _exit(0);
        }
        handle = hf_sync_close(handle);
        (void)stage_stats(&stage); /* the server has seen it */
        assert_int_equal(write(go[1], "", 1), 1);
        assert_int_equal(reap(pid), 0);
        close(go[0]);
        close(go[1]);
        stage_await_clients(&stage, 1);
        handle = open_value(client, 1);
        assert_int_equal(get(handle), 0); /* now nobody had it any more */
    }
}

static void test_the_child_closes_or_dies_at_once_and_the_value_stays(void **state)
{
    FOR_BOTH_WAYS(way)
    {
        set(handle, 22);
        pid_t pid = (*way)();
        if (pid == 0) {
            hf_sync_close(handle);
            hf_sync_close(lock);
            hf_client_unref(client);
            _exit(0);
        }
        assert_int_equal(reap(pid), 0);
        pid = (*way)();
        if (pid == 0) {
            for (;;) {
                pause();
            }
        }
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(reap(pid), -SIGKILL);
        stage_await_clients(&stage, 1);
        assert_int_equal(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL), HF_UNCHANGED);
        assert_int_equal(value_get(handle), 22);
        assert_int_equal(hf_sync_release(handle), 0);
    }
}

static void test_a_grandchild_has_what_its_parent_has(void **state)
{
    FOR_BOTH_WAYS(way)
    {
        set(handle, 1);
        const uint64_t number = hf_client_number(client);
        const pid_t pid = (*way)();
        if (pid == 0) {
            const uint64_t own = hf_client_number(client);
            const uint64_t value = 2;
            CLAIM(1, hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
            CLAIM(2, hf_sync_set_value(handle, &value, sizeof(value)) == 0);
            CLAIM(3, hf_sync_release(handle) == 0);
            const pid_t grandchild = (*way)();
            if (grandchild == 0) {
                CLAIM(11, hf_client_number(client) != own && hf_client_number(client) != number);
                CLAIM(12, hf_client_error(client) == 0);
                CLAIM(13, get(handle) == 2);
                _exit(0);
            }
            int status = -1;
            CLAIM(4, grandchild > 0 && waitpid(grandchild, &status, 0) == grandchild);
            CLAIM(5, get(handle) == 2);
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
        }
        assert_int_equal(reap(pid), 0);
        assert_int_equal(get(handle), 2);
    }
}

/* ---- clients that cannot be copied ---- */

static void test_a_client_that_cannot_dial(void **state)
{
    assert_int_equal(hf_client_from_fd(hf_server_connect(stage.server.server), NULL, &other), 0);
    others = open_value(other, 5);
    set(others, 3);
    assert_int_equal(hf_fork(), -ENOTSUP);
    assert_int_equal(get(others), 3); /* nothing has happened */
    const pid_t pid = fork();
    if (pid == 0) {
        CLAIM(1, hf_client_error(other) == -ENOTSUP);
        CLAIM(2, hf_sync_acquire(others, HF_SHARED, NULL) == -ENOTCONN);
        hf_sync_close(others);
        CLAIM(3, hf_client_unref(other) == NULL);
        CLAIM(4, hf_client_error(client) == 0); /* each for itself */
        CLAIM(5, hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
        _exit(0);
    }
    assert_int_equal(reap(pid), 0);
    assert_int_equal(get(others), 3);
}

static void test_a_fork_that_the_server_refuses(void **state)
{
    struct stage small;
    hf_client *only = NULL;
    stage_init(&small);
    small.server.config.limits.clients = 2;
    stage_start(&small);
    only = stage_client(&small, "only");
    const int descriptors = test_count_descriptors();
    assert_int_equal(hf_fork(), -EUSERS);
    const pid_t pid = fork();
    if (pid == 0) {
        CLAIM(1, hf_client_error(only) == -EUSERS);
        _exit(0);
    }
    assert_int_equal(reap(pid), 0);
    assert_int_equal(hf_client_error(only), 0);
    stage_await_clients(&stage, 1); /* the copy of the other client is gone */
    assert_int_equal(test_count_descriptors(), descriptors);
    hf_client_unref(only);
    stage_deinit(&small);
}

static void test_a_client_whose_connection_is_over_is_no_reason_not_to_fork(void **state)
{
    hf_client_disconnect(client);
    FOR_BOTH_WAYS(way)
    {
        const pid_t pid = (*way)();
        if (pid == 0) {
            CLAIM(1, hf_client_error(client) != 0);
            CLAIM(2, hf_sync_acquire(handle, HF_SHARED, NULL) == -ENOTCONN);
            hf_sync_close(handle);
            hf_sync_close(lock);
            CLAIM(3, hf_client_unref(client) == NULL);
            _exit(0);
        }
        assert_int_equal(reap(pid), 0);
    }
}

/* ---- nothing is left behind ---- */

static void test_forks_leave_no_descriptor_and_no_thread(void **state)
{
    const int descriptors = test_count_descriptors();
    const int threads = count_threads();
    for (int i = 0; i < 10; i++) {
        FOR_BOTH_WAYS(way)
        {
            const pid_t pid = (*way)();
            if (pid == 0) {
                CLAIM(1, count_threads() <= threads - 1); /* the server's is not there */
                CLAIM(2, test_count_descriptors() <= descriptors);
                _exit(0);
            }
            assert_int_equal(reap(pid), 0);
        }
    }
    stage_await_clients(&stage, 1);
    await_threads(threads);
    assert_int_equal(test_count_descriptors(), descriptors);
}

/* A thread connects while another one forks: the child must not keep the connection open when its
 * parent has gone. */
struct connecting {
    struct acquirer thread;
    char address[128];
};

static int connect_to(struct acquirer *self)
{
    hf_client *made = NULL;
    return hf_client_connect(((struct connecting *)(void *)self)->address, NULL, &made);
}

static void test_a_fork_while_another_thread_connects(void **state)
{
    FOR_BOTH_WAYS(way)
    {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        struct connecting connecting = {.thread = {.call = connect_to}};
        uint8_t hello[FAKE_FRAME_ROOM];
        char byte;
        int go[2];
        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        snprintf(name.sun_path, sizeof(name.sun_path), "%s-stuck", stage.server.path);
        snprintf(connecting.address, sizeof(connecting.address), "unix:%s", name.sun_path);
        const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(listener, (const struct sockaddr *)&name, sizeof(name)), 0);
        assert_int_equal(listen(listener, 4), 0);
        acquirer_start(&connecting.thread);
        const int end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(recv(end, hello, sizeof(hello), 0) > 0); /* and now it waits for WELCOME */

        const pid_t pid = (*way)();
        if (pid == 0) {
            CLAIM(1, read(go[0], &byte, 1) == 1);
            _exit(0);
        }
        assert_int_equal(send(end, "\0\0\0\0", 4, MSG_NOSIGNAL), 4);
        assert_int_equal(acquirer_join(&connecting.thread), -EPROTO);
        struct pollfd over = {.fd = end, .events = POLLIN};
        assert_int_equal(poll(&over, 1, RAW_PATIENCE_MS), 1);
        assert_int_equal(recv(end, hello, sizeof(hello), 0), 0); /* though the child lives */
        assert_int_equal(write(go[1], "", 1), 1);
        assert_int_equal(reap(pid), 0);
        close(end);
        close(listener);
        unlink(name.sun_path);
        close(go[0]);
        close(go[1]);
    }
}

/* ---- forks while other threads are in the middle of something ---- */

enum { BUSY_THREADS = 4, FORKS = 200 };

static atomic_bool enough;

static void *keep_busy(void *argument)
{
    const uint64_t which = (uint64_t)(uintptr_t)argument;
    hf_client *own = which % 2 == 0 ? client : other;
    for (uint64_t round = 0; !atomic_load(&enough); round++) {
        hf_sync *value = NULL;
        uint64_t number = 0;
        SURE(hf_sync_open(
                 own, (hf_id){7, 1 + round % 3}, round % 3 == 1 ? HF_SYNC_LOCK : 0, &value) == 0);
        const hf_wait_opts soon = {.deadline_ns = after_ms(0) + 20000};
        const hf_mode mode = round % 2 == 0 ? HF_EXCLUSIVE : HF_SHARED;
        const int result = hf_sync_acquire(value, mode, round % 5 == 0 ? &soon : NULL);
        if (result >= 0) {
            if (mode == HF_EXCLUSIVE && round % 3 != 1) {
                hf_sync_get_value(value, &number, sizeof(number));
                number++;
                SURE(hf_sync_set_value(value, &number, sizeof(number)) == 0);
            }
            SURE(hf_sync_release(value) == 0);
        }
        if (round % 7 == 0) {
            (void)hf_sync_yield(value, HF_INVALID);
        }
        hf_sync_close(value);
    }
    return NULL;
}

static void test_forks_while_other_threads_are_busy(void **state)
{
    pthread_t threads[BUSY_THREADS];
    other = stage_batching_client(&stage, "other");
    others = open_value(other, 1);
    atomic_store(&enough, false);
    for (uintptr_t i = 0; i < BUSY_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, keep_busy, (void *)i), 0);
    }
    for (int i = 0; i < (test_is_plain() ? FORKS : FORKS / 4); i++) {
        const pid_t pid = i % 2 == 0 ? hf_fork() : fork();
        if (pid == 0) {
            CLAIM(1, hf_client_error(client) == 0 && hf_client_error(other) == 0);
            CLAIM(2, get(handle) != UINT64_MAX);
            CLAIM(3, hf_sync_acquire(others, HF_EXCLUSIVE, NULL) >= 0);
            CLAIM(4, hf_sync_release(others) == 0);
            _exit(0);
        }
        assert_int_equal(reap(pid), 0);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < BUSY_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(hf_client_error(client), 0);
    assert_int_equal(hf_client_error(other), 0);
}

static void *fork_often(void *argument)
{
    for (int i = 0; i < 20; i++) {
        const pid_t pid = hf_fork();
        if (pid == 0) {
            CLAIM(1, hf_client_error(client) == 0 && get(handle) == 4);
            _exit(0);
        }
        *(int *)argument |= pid < 0 ? pid : reap(pid);
    }
    return NULL;
}

static void test_forks_of_many_threads(void **state)
{
    pthread_t threads[BUSY_THREADS];
    int wrong[BUSY_THREADS] = {0};
    set(handle, 4);
    for (int i = 0; i < BUSY_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fork_often, &wrong[i]), 0);
    }
    for (int i = 0; i < BUSY_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
}

/* ---- a parent that serves as well ---- */

static int dial(void *context)
{
    return hf_server_connect(context);
}

static hf_client *join_own(hf_server *server)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    hf_client *made = NULL;
    config.dial = dial;
    config.dial_context = server;
    assert_int_equal(hf_client_from_fd(hf_server_connect(server), &config, &made), 0);
    return made;
}

/* A client of a server elsewhere, made before this process's own server or after it, beside one
 * that dials to its own. */
static void a_parent_that_serves(bool client_first)
{
    struct test_server folder;
    struct program serve;
    char line[128];
    hf_server *own = NULL;
    test_server_init(&folder); /* only its folder is used */
    const char *const arguments[] = {
        getenv("HOLDFAST"), "serve", "--listen", folder.address, "--quiet", NULL};
    snprintf(line, sizeof(line), "holdfast: serving %s", folder.address);
    program_start(&serve, arguments);
    program_expect_line(&serve, line);

    hf_client *far = NULL;
    if (client_first) {
        assert_int_equal(hf_client_connect(folder.address, NULL, &far), 0);
    }
    assert_int_equal(hf_server_new(NULL, &own), 0);
    assert_int_equal(hf_server_start(own), 0);
    hf_client *near = join_own(own);
    if (!client_first) {
        assert_int_equal(hf_client_connect(folder.address, NULL, &far), 0);
    }
    hf_sync *in_far = open_value(far, 1), *in_near = open_value(near, 1);
    FOR_BOTH_WAYS(way)
    {
        set(in_far, 31);
        set(in_near, 32);
        const pid_t pid = (*way)();
        if (pid == 0) {
            CLAIM(1, hf_client_error(far) == 0 && hf_client_error(near) == 0);
            CLAIM(2, get(in_far) == 31 && get(in_near) == 32);
            _exit(0);
        }
        assert_int_equal(reap(pid), 0);
    }
    hf_sync_close(in_far);
    hf_sync_close(in_near);
    hf_client_unref(far);
    hf_client_unref(near);
    hf_server_free(own);
    assert_int_equal(kill(serve.pid, SIGTERM), 0);
    assert_int_equal(program_wait(&serve), 0);
    test_server_deinit(&folder);
}

static void test_a_client_made_before_the_server_of_its_process(void **state)
{
    a_parent_that_serves(true);
}

static void test_a_client_made_after_the_server_of_its_process(void **state)
{
    a_parent_that_serves(false);
}

static void test_forks(void **state)
{
    skip_without_forks();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_made_before_the_server_of_its_process),
        cmocka_unit_test(test_a_client_made_after_the_server_of_its_process),
        TEST(test_the_child_is_a_client_of_its_own),
        TEST(test_the_child_waits_and_is_cancelled_as_its_parent),
        TEST(test_the_parent_closes_at_once_and_the_value_stays),
        TEST(test_the_child_closes_or_dies_at_once_and_the_value_stays),
        TEST(test_a_grandchild_has_what_its_parent_has),
        TEST(test_a_client_that_cannot_dial),
        TEST(test_a_fork_that_the_server_refuses),
        TEST(test_a_client_whose_connection_is_over_is_no_reason_not_to_fork),
        TEST(test_forks_leave_no_descriptor_and_no_thread),
        TEST(test_a_fork_while_another_thread_connects),
        TEST(test_forks_while_other_threads_are_busy),
        TEST(test_forks_of_many_threads),
    };
    const struct CMUnitTest none[] = {cmocka_unit_test(test_forks)};
    if (!can_watch_forks()) {
        return cmocka_run_group_tests(none, NULL, NULL);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
