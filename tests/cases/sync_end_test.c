/*
 * The end of the connection: the server is killed or stops, its process dies, or the client
 * disconnects. Waits end, what was not published is reported as lost, and what remains can be
 * freed.
 */
#include "lib/process.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a server in another process ---- */

/* `holdfast serve`, or a process that embeds a server. */
struct elsewhere {
    struct test_server folder; /* only its folder and address are used */
    struct program program;
    struct child host;
    bool embedded;
};

static int host_a_server(const struct child *self, void *context)
{
    struct elsewhere *elsewhere = context;
    hf_server *server = NULL;
    if (hf_server_new(&elsewhere->folder.config, &server) != 0 || hf_server_start(server) != 0) {
        return 1;
    }
    child_report(self, 's');
    child_wait_to_end(self);
    hf_server_free(server);
    return 0;
}

static void elsewhere_start(struct elsewhere *elsewhere, bool embedded)
{
    elsewhere->embedded = embedded;
    test_server_init(&elsewhere->folder);
    if (embedded) {
        child_start(&elsewhere->host, host_a_server, elsewhere);
        child_expect(&elsewhere->host, 's');
        return;
    }
    char line[128];
    const char *const arguments[] = {
        getenv("HOLDFAST"), "serve", "--listen", elsewhere->folder.address, "--quiet", NULL};
    snprintf(line, sizeof(line), "holdfast: serving %s", elsewhere->folder.address);
    program_start(&elsewhere->program, arguments);
    program_expect_line(&elsewhere->program, line);
}

static void elsewhere_kill(struct elsewhere *elsewhere)
{
    if (elsewhere->embedded) {
        child_kill(&elsewhere->host);
    } else {
        assert_int_equal(kill(elsewhere->program.pid, SIGKILL), 0);
        assert_int_equal(program_wait(&elsewhere->program), -SIGKILL);
    }
}

static void elsewhere_stop(struct elsewhere *elsewhere)
{
    if (elsewhere->embedded) {
        assert_int_equal(child_end(&elsewhere->host), 0);
    } else {
        assert_int_equal(kill(elsewhere->program.pid, SIGTERM), 0);
        assert_int_equal(program_wait(&elsewhere->program), 0);
    }
}

/* What a killed server left behind goes, too. */
static void elsewhere_deinit(struct elsewhere *elsewhere)
{
    char lock[100];
    snprintf(lock, sizeof(lock), "%s.lock", elsewhere->folder.path);
    unlink(elsewhere->folder.path);
    unlink(lock);
    test_server_deinit(&elsewhere->folder);
}

static hf_client *join(const char *address)
{
    hf_client *client = NULL;
    assert_int_equal(hf_client_connect(address, NULL, &client), 0);
    return client;
}

/* Nothing works any more, nothing hangs, and all can be freed. */
static void expect_dead(hf_client *client, hf_sync *handle, int error)
{
    hf_sync *other = NULL;
    hf_cancel *token = NULL;
    assert_int_equal(hf_client_error(client), error);
    assert_int_equal(hf_sync_acquire(handle, HF_SHARED, NULL), -ENOTCONN);
    assert_int_equal(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL), -ENOTCONN);
    assert_int_equal(hf_sync_acquire(handle, HF_SHARED, &(hf_wait_opts){.flags = HF_NOWAIT}),
                     -ENOTCONN);
    assert_int_equal(hf_sync_release(handle), -EPERM);
    assert_int_equal(hf_sync_yield(handle, HF_INVALID), -ENOTCONN);
    assert_int_equal(hf_sync_open(client, (hf_id){7, 99}, 0, &other), -ENOTCONN);
    assert_int_equal(hf_sync_open(client, (hf_id){7, 99}, HF_SYNC_LOCK, &other), -ENOTCONN);
    assert_int_equal(hf_sync_open_name(client, "name", 0, &other), -ENOTCONN);
    assert_int_equal(hf_cancel_new(client, &token), 0);
    hf_cancel_fire(token);
    hf_cancel_free(token);
    assert_true(hf_client_number(client) != 0);
    hf_client_disconnect(client);
    assert_int_equal(hf_client_error(client), error); /* the first reason stays */
}

/* One process holds, in every way, and waits, in every way, when the server goes. */
struct scene {
    hf_client *holder;
    hf_client *waiter;
    hf_sync *dirty, *clean, *read, *downgraded, *published, *wanted[2];
    struct acquirer waits[5];
};

static void scene_begin(struct scene *scene, const char *address)
{
    memset(scene, 0, sizeof(*scene));
    scene->holder = join(address);
    scene->waiter = join(address);
    scene->dirty = open_value(scene->holder, 1);
    scene->clean = open_value(scene->holder, 2);
    scene->read = open_lock(scene->holder, 3);
    scene->downgraded = open_value(scene->holder, 4);
    scene->published = open_value(scene->holder, 5);
    assert_true(hf_sync_acquire(scene->dirty, HF_EXCLUSIVE, NULL) >= 0);
    assert_true(hf_sync_acquire(scene->clean, HF_EXCLUSIVE, NULL) >= 0);
    assert_true(hf_sync_acquire(scene->read, HF_SHARED, NULL) >= 0);
    assert_true(hf_sync_acquire(scene->downgraded, HF_EXCLUSIVE, NULL) >= 0);
    assert_true(hf_sync_acquire(scene->published, HF_EXCLUSIVE, NULL) >= 0);
    value_set(scene->dirty, 1);
    value_set(scene->published, 1);
    scene->wanted[0] = open_value(scene->waiter, 1);
    scene->wanted[1] = open_value(scene->waiter, 2);
    for (int i = 0; i < 4; i++) {
        scene->waits[i] = (struct acquirer){.handle = scene->wanted[i % 2],
                                            .mode = i < 2 ? HF_EXCLUSIVE : HF_SHARED};
        scene->waits[i].opts.deadline_ns = i == 0 ? after_ms(60000) : 0;
        acquirer_start(&scene->waits[i]);
    }
    /* The holder has been asked by the server, so the requests are there. */
    await_recalls(scene->holder, 2);
}

static void scene_end(struct scene *scene, int error)
{
    for (int i = 0; i < 4; i++) {
        assert_int_equal(acquirer_join(&scene->waits[i]), -ENOTCONN);
    }
    assert_int_equal(await_client_error(scene->holder), error);
    assert_int_equal(hf_sync_release(scene->dirty), -ENOTCONN); /* and the value is lost */
    assert_int_equal(hf_sync_release(scene->clean), -ENOTCONN);
    assert_int_equal(hf_sync_release(scene->read), -ENOTCONN);
    assert_int_equal(hf_sync_downgrade(scene->downgraded), -ENOTCONN);
    assert_int_equal(hf_sync_release(scene->downgraded), -EPERM); /* nothing was held any more */
    assert_int_equal(hf_sync_publish(scene->published), -ENOTCONN);
    assert_int_equal(hf_sync_upgrade(scene->read, NULL), -EPERM);
    assert_int_equal(hf_sync_release(scene->published), -ENOTCONN);
    expect_dead(scene->holder, scene->dirty, error);
    expect_dead(scene->holder, scene->published, error);
    expect_dead(scene->waiter, scene->wanted[0], error);
    hf_sync_close(scene->dirty);
    hf_sync_close(scene->clean);
    hf_sync_close(scene->read);
    hf_sync_close(scene->downgraded);
    hf_sync_close(scene->published);
    hf_sync_close(scene->wanted[0]);
    hf_sync_close(scene->wanted[1]);
    hf_client_unref(scene->holder);
    hf_client_unref(scene->waiter);
}

static void server_ends(bool embedded, void (*end)(struct elsewhere *elsewhere), int error)
{
    skip_without_forks();
    struct elsewhere elsewhere;
    struct scene scene;
    elsewhere_start(&elsewhere, embedded);
    scene_begin(&scene, elsewhere.folder.address);
    end(&elsewhere);
    scene_end(&scene, error);
    elsewhere_deinit(&elsewhere);
}

static void test_serve_is_killed(void **state)
{
    server_ends(false, elsewhere_kill, -ECONNRESET);
}

static void test_serve_is_stopped(void **state)
{
    server_ends(false, elsewhere_stop, -ESHUTDOWN);
}

static void test_the_process_that_embeds_the_server_is_killed(void **state)
{
    server_ends(true, elsewhere_kill, -ECONNRESET);
}

static void test_the_process_that_embeds_the_server_frees_it(void **state)
{
    server_ends(true, elsewhere_stop, -ESHUTDOWN);
}

/* ---- a parent that embeds the server, and its children ---- */

enum { CHILDREN = 2 };

struct family {
    int reports; /* what the children say, past their parent */
    int leave;   /* one byte of it lets one child go */
};

static int dial(void *context)
{
    return hf_server_connect(context);
}

/* Waits for what its parent holds. */
static int wait_for_parent(const struct family *family, hf_client *client, hf_sync *handle)
{
    char byte;
    if (write(family->reports, "j", 1) != 1) {
        return 11;
    }
    if (hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) != -ENOTCONN ||
        hf_client_error(client) != -ECONNRESET) {
        return 12;
    }
    hf_sync_close(handle);
    hf_client_unref(client);
    return write(family->reports, "e", 1) == 1 && read(family->leave, &byte, 1) == 1 ? 0 : 13;
}

/* Serves, forks, holds, and is killed. */
static int raise_a_family(const struct child *self, void *context)
{
    const struct family *family = context;
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    hf_server *server = NULL;
    hf_client *client = NULL;
    hf_sync *handle = NULL;
    if (hf_server_new(NULL, &server) != 0 || hf_server_start(server) != 0) {
        return 1;
    }
    config.dial = dial;
    config.dial_context = server;
    if (hf_client_from_fd(hf_server_connect(server), &config, &client) != 0 ||
        hf_sync_open(client, (hf_id){7, 1}, 0, &handle) != 0) {
        return 2;
    }
    struct acquirer holder = {.handle = handle, .mode = HF_EXCLUSIVE};
    acquirer_start(&holder); /* a thread that forks may hold nothing */
    acquirer_join(&holder);
    for (int i = 0; i < CHILDREN; i++) {
        const pid_t pid = i == 0 ? hf_fork() : fork();
        if (pid == 0) {
            close(self->reports);
            close(self->hold);
            _exit(wait_for_parent(family, client, handle));
        }
        if (pid < 0) {
            return 3;
        }
    }
    child_wait_to_end(self);
    return 4;
}

static void expect_byte(int fd, char wanted)
{
    char got = '-';
    assert_int_equal(read(fd, &got, 1), 1);
    assert_int_equal(got, wanted);
}

static void test_children_of_the_process_that_serves(void **state)
{
    skip_without_forks();
    int reports[2], leave[2];
    struct child parent;
    prctl(PR_SET_CHILD_SUBREAPER, 1UL); /* the children become this process's */
    assert_int_equal(pipe2(reports, O_CLOEXEC), 0);
    assert_int_equal(pipe2(leave, O_CLOEXEC), 0);
    struct family family = {.reports = reports[1], .leave = leave[0]};
    child_start(&parent, raise_a_family, &family);
    close(reports[1]); /* so that a child that dies early ends the wait */
    close(leave[0]);
    for (int i = 0; i < CHILDREN; i++) {
        expect_byte(reports[0], 'j');
    }
    child_kill(&parent);
    for (int i = 0; i < CHILDREN; i++) {
        expect_byte(reports[0], 'e');
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;
        assert_int_equal(write(leave[1], "", 1), 1);
        assert_true(waitpid(-1, &status, 0) > 0);
        assert_int_equal(status, 0);
    }
    close(leave[1]);
    close(reports[0]);
}

/* ---- disconnecting ---- */

static struct stage stage;
static hf_client *a, *b;

static int set_up(void **state)
{
    stage_init(&stage);
    stage_start(&stage);
    a = stage_client(&stage, "a");
    b = stage_client(&stage, "b");
    return 0;
}

static int tear_down(void **state)
{
    hf_client_unref(a);
    hf_client_unref(b);
    stage_await_clients(&stage, 0);
    assert_int_equal(stage_stats(&stage).holds, 0);
    stage_deinit(&stage);
    return 0;
}

static void test_disconnecting_ends_the_waits(void **state)
{
    hf_sync *in_a = open_lock(a, 1), *in_b = open_lock(b, 1), *other = open_value(b, 2);
    assert_true(hf_sync_acquire(in_a, HF_EXCLUSIVE, NULL) >= 0);
    assert_true(hf_sync_acquire(other, HF_EXCLUSIVE, NULL) >= 0);
    value_set(other, 1);
    struct acquirer waits[4] = {
        {.handle = in_b, .mode = HF_EXCLUSIVE},
        {.handle = in_b, .mode = HF_SHARED},
        {.handle = other, .mode = HF_SHARED}, /* for a thread of this client */
        {.handle = in_b, .mode = HF_SHARED, .opts = {.deadline_ns = after_ms(60000)}},
    };
    for (int i = 0; i < 4; i++) {
        acquirer_start(&waits[i]);
    }
    stage_await_queued(&stage, 1);
    hf_client_disconnect(b);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(acquirer_join(&waits[i]), -ENOTCONN);
    }
    assert_int_equal(hf_sync_release(other), -ENOTCONN);
    expect_dead(b, in_b, -ENOTCONN);
    stage_await_queued(&stage, 0);
    assert_int_equal(hf_sync_release(in_a), 0);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
    hf_sync_close(other);
}

/* What the others are told when a client has gone that held it like this. */
static void departure_is_told_as(hf_mode held, hf_mode used, bool unref, int told)
{
    hf_client *client = stage_client(&stage, "leaves");
    hf_sync *handle = open_lock(client, 1), *in_a = open_lock(a, 1);
    if (held != HF_INVALID) {
        assert_true(hf_sync_acquire(handle, held, NULL) >= 0);
        assert_int_equal(hf_sync_release(handle), 0);
    }
    if (used != HF_INVALID) {
        assert_int_equal(hf_sync_acquire(handle, used, NULL), HF_UNCHANGED);
    }
    if (unref) {
        hf_sync_close(handle);
        hf_client_unref(client);
    } else {
        hf_client_disconnect(client);
    }
    assert_int_equal(hf_sync_acquire(in_a, HF_EXCLUSIVE, NULL), told);
    assert_int_equal(hf_sync_release(in_a), 0);
    assert_int_equal(hf_sync_yield(in_a, HF_INVALID), 0);
    if (!unref) {
        assert_int_equal(hf_sync_release(handle), used != HF_INVALID ? -ENOTCONN : -EPERM);
        hf_sync_close(handle);
        hf_client_unref(client);
    }
    hf_sync_close(in_a);
}

static void test_an_orderly_departure_is_no_death(void **state)
{
    for (int unref = 0; unref < 2; unref++) {
        departure_is_told_as(HF_EXCLUSIVE, HF_INVALID, unref != 0, HF_CHANGED);
        departure_is_told_as(HF_SHARED, HF_INVALID, unref != 0, HF_CHANGED);
        departure_is_told_as(HF_INVALID, HF_INVALID, unref != 0, HF_CHANGED);
    }
    /* Threads that only read do not write, whatever mode the client has. */
    departure_is_told_as(HF_EXCLUSIVE, HF_SHARED, false, HF_CHANGED);
    departure_is_told_as(HF_SHARED, HF_SHARED, false, HF_CHANGED);
}

static void test_who_disconnects_while_a_thread_writes_is_told_as_a_death(void **state)
{
    departure_is_told_as(HF_EXCLUSIVE, HF_EXCLUSIVE, false, HF_CHANGED | HF_OWNER_DIED);
}

static void *disconnect(void *argument)
{
    hf_client_disconnect(argument);
    return NULL;
}

static void test_many_threads_disconnect_at_once(void **state)
{
    pthread_t threads[4];
    hf_sync *in_a = open_value(a, 1);
    assert_true(hf_sync_acquire(in_a, HF_EXCLUSIVE, NULL) >= 0);
    assert_int_equal(hf_sync_release(in_a), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, disconnect, a), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    expect_dead(a, in_a, -ENOTCONN);
    hf_sync_close(in_a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serve_is_killed),
        cmocka_unit_test(test_serve_is_stopped),
        cmocka_unit_test(test_the_process_that_embeds_the_server_is_killed),
        cmocka_unit_test(test_the_process_that_embeds_the_server_frees_it),
        cmocka_unit_test(test_children_of_the_process_that_serves),
        TEST(test_disconnecting_ends_the_waits),
        TEST(test_an_orderly_departure_is_no_death),
        TEST(test_who_disconnects_while_a_thread_writes_is_told_as_a_death),
        TEST(test_many_threads_disconnect_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
