/*
 * The public sync API, function by function: what each says when all is well, and each error
 * that its description names.
 */
#include "lib/process.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct stage stage;

static int set_up(void **state)
{
    stage_init(&stage);
    stage_start(&stage);
    return 0;
}

static int set_up_with_small_limits(void **state)
{
    stage_init(&stage);
    stage.server.config.limits.clients = 3; /* the control is one */
    stage.server.config.limits.handles = 4;
    stage.server.config.limits.queued = 1;
    stage.server.config.limits.value_bytes = 100;
    stage_start(&stage);
    return 0;
}

static int tear_down(void **state)
{
    stage_deinit(&stage);
    return 0;
}

/* ---- connecting ---- */

static void connecting_fails(const char *address, const hf_client_config *config, int error)
{
    hf_client *const untouched = (hf_client *)&stage;
    hf_client *client = untouched;
    assert_int_equal(hf_client_connect(address, config, &client), error);
    assert_ptr_equal(client, untouched);
}

static void test_connect_refuses_wrong_arguments(void **state)
{
    const char *address = stage.server.address;
    char long_name[HF_NAME_MAX + 2];
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    hf_client_config config = HF_CLIENT_CONFIG_INIT;

    assert_int_equal(hf_client_connect(address, NULL, NULL), -EINVAL);
    connecting_fails(NULL, NULL, -EINVAL);
    connecting_fails("", NULL, -EINVAL);
    connecting_fails("unix:", NULL, -EINVAL);
    connecting_fails(stage.server.path, NULL, -EINVAL);
    connecting_fails("tcp:127.0.0.1:1", NULL, -EINVAL);
    config.size--;
    connecting_fails(address, &config, -EINVAL);
    config.size++;
    config.name = long_name;
    connecting_fails(address, &config, -EINVAL);
}

static void test_connect_takes_the_longest_name(void **state)
{
    char name[HF_NAME_MAX + 1];
    hf_client *client = NULL;
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    memset(name, 'n', HF_NAME_MAX);
    name[HF_NAME_MAX] = '\0';
    config.name = name;
    assert_int_equal(hf_client_connect(stage.server.address, &config, &client), 0);
    hf_client_unref(client);
}

static void test_connect_where_nobody_serves(void **state)
{
    char address[256];
    memset(address, 'x', sizeof(address));
    memcpy(address, "unix:/", strlen("unix:/"));
    address[sizeof(address) - 1] = '\0';
    connecting_fails(address, NULL, -ENAMETOOLONG);

    snprintf(address, sizeof(address), "%s-not", stage.server.address);
    connecting_fails(address, NULL, -ENOENT);

    /* A socket file that a server left behind. */
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s-not", stage.server.path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
    close(fd);
    connecting_fails(address, NULL, -ECONNREFUSED);
    unlink(name.sun_path);
}

/* Plays another user; exits with the error that connecting gives. */
static int connect_as_nobody(const struct child *self, void *context)
{
    hf_client *client = NULL;
    if (setresuid(65534, 65534, 65534) != 0) {
        return 0;
    }
    return -hf_client_connect(context, NULL, &client);
}

static void test_a_user_who_is_not_admitted_is_told(void **state)
{
    if (getuid() != 0) {
        skip();
    }
    struct child child;
    child_start(&child, connect_as_nobody, stage.server.address);
    assert_int_equal(child_end(&child), EACCES); /* from the kernel: the folder is ours */

    const uid_t somebody_else = 12345;
    struct stage open_stage;
    stage_init(&open_stage);
    open_stage.server.config.allow_uids = &somebody_else;
    open_stage.server.config.allow_uid_count = 1;
    assert_int_equal(chmod(open_stage.server.folder, 0755), 0);
    stage_start(&open_stage);
    child_start(&child, connect_as_nobody, open_stage.server.address);
    assert_int_equal(child_end(&child), EACCES); /* from the server */
    test_server_expect_log(&open_stage.server, "refused: this user is not admitted");
    stage_deinit(&open_stage);
}

static void test_one_client_too_many_is_told(void **state)
{
    hf_client *first = stage_client(&stage, "first");
    hf_client *second = stage_client(&stage, "second");
    connecting_fails(stage.server.address, NULL, -EUSERS);
    hf_client_unref(first);
    stage_await_clients(&stage, 1);
    first = stage_client(&stage, "first again");
    hf_client_unref(first);
    hf_client_unref(second);
}

static void test_a_descriptor_belongs_to_the_client_only_on_success(void **state)
{
    hf_client *client = NULL;
    int pair[2];
    assert_int_equal(hf_client_from_fd(-1, NULL, &client), -EINVAL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(hf_client_from_fd(pair[0], NULL, NULL), -EINVAL);
    close(pair[1]);
    assert_int_equal(hf_client_from_fd(pair[0], NULL, &client), -ECONNRESET);
    assert_null(client);
    assert_int_equal(close(pair[0]), 0); /* still ours */

    const int fd = hf_server_connect(stage.server.server);
    assert_true(fd >= 0);
    assert_int_equal(hf_client_from_fd(fd, NULL, &client), 0);
    hf_client_unref(client);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_numbers_are_never_0_and_never_used_again(void **state)
{
    uint64_t last = 0;
    for (int i = 0; i < 10; i++) {
        hf_client *client = stage_client(&stage, "client");
        assert_true(hf_client_number(client) > last);
        last = hf_client_number(client);
        assert_int_equal(hf_client_error(client), 0);
        hf_client_unref(client);
    }
}

static void test_clients_leave_no_descriptor_and_no_thread(void **state)
{
    const int descriptors = test_count_descriptors();
    const int threads = count_threads();
    for (int i = 0; i < 20; i++) {
        hf_client *client = stage_client(&stage, "client");
        hf_cancel *token = NULL;
        hf_sync *handle = open_value(client, 1);
        assert_int_equal(hf_cancel_new(client, &token), 0);
        assert_true(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
        value_set(handle, 1);
        assert_int_equal(hf_sync_release(handle), 0);
        hf_sync_close(handle);
        hf_cancel_free(token);
        hf_client_unref(client);
        connecting_fails("unix:/nowhere", NULL, -ENOENT);
    }
    stage_await_clients(&stage, 0); /* the server has closed its ends */
    await_threads(threads);
    assert_int_equal(test_count_descriptors(), descriptors);
}

/* ---- references ---- */

static void test_nothing_is_freed_by_freeing_nothing(void **state)
{
    assert_null(hf_client_unref(NULL));
    assert_null(hf_sync_close(NULL));
    assert_null(hf_cancel_free(NULL));
}

static void test_handles_and_tokens_keep_their_client(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_cancel *token = NULL;
    assert_int_equal(hf_cancel_new(client, &token), 0);
    hf_sync *handle = open_value(client, 1);
    assert_ptr_equal(hf_client_ref(client), client);
    assert_null(hf_client_unref(client));
    assert_null(hf_client_unref(client));

    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    assert_int_equal(hf_sync_release(handle), 0);
    assert_int_equal(stage_stats(&stage).clients, 1);
    assert_null(hf_sync_close(handle));
    assert_int_equal(stage_stats(&stage).clients, 1);
    assert_null(hf_cancel_free(token));
    stage_await_clients(&stage, 0);
}

static void test_a_handle_is_open_until_its_last_reference_goes(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *handle = open_value(client, 1);
    assert_ptr_equal(open_value(client, 1), handle);
    assert_ptr_equal(hf_sync_ref(handle), handle);
    assert_true(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
    value_set(handle, 42);
    assert_int_equal(hf_sync_release(handle), 0);
    hf_sync_close(handle);
    hf_sync_close(handle);
    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    assert_int_equal(value_get(handle), 42);
    assert_int_equal(hf_sync_release(handle), 0);
    hf_sync_close(handle);

    /* Nobody had it open any more: its value is forgotten. */
    handle = open_value(client, 1);
    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    assert_int_equal(hf_sync_get_value(handle, NULL, 0), 0);
    assert_int_equal(hf_sync_release(handle), 0);
    hf_sync_close(handle);
    hf_client_unref(client);
}

/* ---- opening ---- */

static void test_open_refuses_wrong_arguments(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *const untouched = (hf_sync *)&stage;
    hf_sync *handle = untouched;
    assert_int_equal(hf_sync_open(client, (hf_id){7, 1}, 2, &handle), -EINVAL);
    assert_int_equal(hf_sync_open(client, (hf_id){7, 1}, 0x100, &handle), -EINVAL);
    assert_int_equal(hf_sync_open(client, (hf_id){HF_SPACE_RESERVED, 1}, 0, &handle), -EINVAL);
    assert_int_equal(hf_sync_open(client, (hf_id){7, 1}, 0, NULL), -EINVAL);
    assert_int_equal(hf_sync_open_name(client, NULL, 0, &handle), -EINVAL);
    assert_int_equal(hf_sync_open_name(client, "", 0, &handle), -EINVAL);
    assert_int_equal(hf_sync_open_name(client, "name", 2, &handle), -EINVAL);
    assert_int_equal(hf_sync_open_name(client, "name", 0, NULL), -EINVAL);
    char name[HF_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[HF_NAME_MAX + 1] = '\0';
    assert_int_equal(hf_sync_open_name(client, name, 0, &handle), -ENAMETOOLONG);
    assert_ptr_equal(handle, untouched);
    name[HF_NAME_MAX] = '\0';
    assert_int_equal(hf_sync_open_name(client, name, 0, &handle), 0);
    hf_sync_close(handle);
    hf_client_unref(client);
}

static void test_a_handle_has_the_same_flags_for_all_who_open_it_here(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *other = NULL;
    hf_sync *value = open_value(client, 1);
    assert_int_equal(hf_sync_open(client, (hf_id){7, 1}, HF_SYNC_LOCK, &other), -EBUSY);
    hf_sync *lock = open_lock(client, 2);
    assert_int_equal(hf_sync_open(client, (hf_id){7, 2}, 0, &other), -EBUSY);
    assert_null(other);
    hf_sync_close(value);
    hf_sync_close(lock);
    value = open_value(client, 2); /* closed, it may be opened otherwise */
    hf_sync_close(value);
    hf_client_unref(client);
}

static void test_a_name_is_the_same_handle_for_every_client(void **state)
{
    hf_client *clients[2] = {stage_client(&stage, "a"), stage_client(&stage, "b")};
    hf_sync *handles[2], *other = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_sync_open_name(clients[i], "a name", 0, &handles[i]), 0);
    }
    assert_int_equal(hf_sync_open_name(clients[0], "a namf", 0, &other), 0);
    const hf_id ids[2] = {hf_sync_id(handles[0]), hf_sync_id(handles[1])};
    assert_memory_equal(&ids[0], &ids[1], sizeof(hf_id));
    assert_true(hf_sync_id(handles[0]).object != hf_sync_id(other).object);
    assert_true((hf_sync_id(other).space & HF_SPACE_RESERVED) != 0); /* nobody else can have it */

    assert_true(hf_sync_acquire(handles[0], HF_EXCLUSIVE, NULL) >= 0);
    value_set(handles[0], 5);
    assert_int_equal(hf_sync_release(handles[0]), 0);
    assert_true(hf_sync_acquire(handles[1], HF_SHARED, NULL) >= 0);
    assert_int_equal(value_get(handles[1]), 5);
    assert_int_equal(hf_sync_release(handles[1]), 0);
    hf_sync_close(other);
    for (int i = 0; i < 2; i++) {
        hf_sync_close(handles[i]);
        hf_client_unref(clients[i]);
    }
}

static void test_a_lock_is_opened_without_a_message_and_a_value_with_two(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *lock = open_lock(client, 1);
    assert_int_equal(client_messages(client), 0);
    hf_sync *value = open_value(client, 2);
    assert_int_equal(client_messages(client), 2);
    assert_int_equal(hf_sync_id(value).space, 7);
    assert_int_equal(hf_sync_id(value).object, 2);
    open_value(client, 2);
    assert_int_equal(client_messages(client), 2);
    hf_sync_close(value);
    hf_sync_close(value);
    hf_sync_close(lock);
    hf_client_unref(client);
}

/* ---- limits ---- */

static void test_over_the_limit_of_handles(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_client *other = stage_client(&stage, "other");
    hf_sync *values[4], *lock = open_lock(client, 10), *fifth = NULL;
    for (uint64_t i = 0; i < 4; i++) {
        values[i] = open_value(client, i);
    }
    assert_int_equal(hf_sync_open(client, (hf_id){7, 4}, 0, &fifth), -EDQUOT);
    assert_null(fifth);
    assert_int_equal(hf_sync_acquire(lock, HF_SHARED, NULL), -EDQUOT);
    assert_int_equal(hf_sync_release(lock), -EPERM);
    hf_sync *others = open_value(other, 4); /* the limit is one client's */

    hf_sync_close(values[3]);
    assert_true(hf_sync_acquire(lock, HF_SHARED, NULL) >= 0);
    assert_int_equal(hf_sync_release(lock), 0);
    hf_sync_close(lock);
    for (int i = 0; i < 3; i++) {
        hf_sync_close(values[i]);
    }
    hf_sync_close(others);
    hf_client_unref(client);
    hf_client_unref(other);
}

static void test_over_the_limit_of_queued_requests(void **state)
{
    hf_client *holder = stage_client(&stage, "holder");
    hf_client *client = stage_client(&stage, "client");
    hf_sync *held[2], *wanted[2];
    for (uint64_t i = 0; i < 2; i++) {
        held[i] = open_lock(holder, i);
        wanted[i] = open_lock(client, i);
        assert_true(hf_sync_acquire(held[i], HF_EXCLUSIVE, NULL) >= 0);
    }
    struct acquirer first = {.handle = wanted[0], .mode = HF_SHARED};
    acquirer_start(&first);
    stage_await_queued(&stage, 1);
    assert_int_equal(hf_sync_acquire(wanted[1], HF_SHARED, NULL), -ENOBUFS);
    assert_int_equal(hf_sync_release(held[0]), 0);
    assert_true(acquirer_join(&first) >= 0);
    assert_int_equal(hf_sync_release(wanted[0]), 0);
    assert_int_equal(hf_sync_release(held[1]), 0);
    for (int i = 0; i < 2; i++) {
        hf_sync_close(held[i]);
        hf_sync_close(wanted[i]);
    }
    hf_client_unref(holder);
    hf_client_unref(client);
}

static void test_over_the_server_s_limit_of_a_value(void **state)
{
    const char value[101] = "long";
    hf_client *client = stage_client(&stage, "client");
    hf_client *other = stage_client(&stage, "other");
    hf_sync *handle = open_value(client, 1), *others = open_value(other, 1);
    assert_true(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
    assert_int_equal(hf_sync_set_value(handle, value, sizeof(value)), 0);
    assert_int_equal(hf_sync_release(handle),
                     0); /* the kernel has it; the server does not like it */
    assert_int_equal(hf_sync_acquire(others, HF_EXCLUSIVE, NULL), HF_CHANGED | HF_OWNER_DIED);
    assert_int_equal(hf_sync_get_value(others, NULL, 0), 0);
    assert_int_equal(hf_sync_release(others), 0);
    assert_int_equal(await_client_error(client), -EMSGSIZE);
    assert_int_equal(hf_sync_acquire(handle, HF_SHARED, NULL), -ENOTCONN);
    hf_sync_close(handle);
    hf_sync_close(others);
    hf_client_unref(client);
    hf_client_unref(other);
}

/* ---- using ---- */

static void test_acquire_refuses_wrong_arguments(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_client *other = stage_client(&stage, "other");
    hf_sync *handle = open_value(client, 1);
    hf_cancel *token = NULL;
    assert_int_equal(hf_cancel_new(other, &token), 0);
    assert_int_equal(hf_sync_acquire(handle, HF_INVALID, NULL), -EINVAL);
    assert_int_equal(hf_sync_acquire(handle, (hf_mode)3, NULL), -EINVAL);
    const hf_wait_opts unknown_flag = {.flags = 2};
    const hf_wait_opts foreign_token = {.cancel = token};
    for (int mode = HF_SHARED; mode <= HF_EXCLUSIVE; mode++) {
        assert_int_equal(hf_sync_acquire(handle, (hf_mode)mode, &unknown_flag), -EINVAL);
        assert_int_equal(hf_sync_acquire(handle, (hf_mode)mode, &foreign_token), -EINVAL);
    }
    assert_int_equal(hf_sync_release(handle), -EPERM); /* on error nothing is held */

    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    assert_int_equal(hf_sync_upgrade(handle, &unknown_flag), -EINVAL);
    hf_sync_close(handle);
    hf_cancel_free(token);
    hf_client_unref(client);
    hf_client_unref(other);
}

static void test_who_holds_nothing_is_refused(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *handle = open_value(client, 1);
    char byte = 0;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(hf_sync_release(handle), -EPERM);
        assert_int_equal(hf_sync_upgrade(handle, NULL), -EPERM);
        assert_int_equal(hf_sync_downgrade(handle), -EPERM);
        assert_int_equal(hf_sync_publish(handle), -EPERM);
        assert_int_equal(hf_sync_set_value(handle, &byte, 1), -EPERM);
        assert_int_equal(hf_sync_get_value(handle, &byte, 1), -EPERM);
        assert_int_equal(hf_sync_yield(handle, HF_INVALID), 0);
        /* Now held by the client, but by no thread. */
        assert_true(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
        assert_int_equal(hf_sync_release(handle), 0);
    }
    assert_int_equal(client_messages(client), 7); /* open, acquire, yield, acquire again */
    hf_sync_close(handle);
    hf_client_unref(client);
}

static void test_who_holds_shared_changes_nothing(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *handle = open_value(client, 1);
    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    assert_int_equal(hf_sync_downgrade(handle), -EPERM);
    assert_int_equal(hf_sync_publish(handle), -EPERM);
    assert_int_equal(hf_sync_set_value(handle, "x", 1), -EPERM);
    assert_int_equal(hf_sync_get_value(handle, NULL, 0), 0);
    assert_int_equal(hf_sync_release(handle), 0);
    hf_sync_close(handle);
    hf_client_unref(client);
}

static void test_a_pure_lock_has_no_value(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *lock = open_lock(client, 1);
    char byte = 0;
    assert_true(hf_sync_acquire(lock, HF_EXCLUSIVE, NULL) >= 0);
    assert_int_equal(hf_sync_set_value(lock, &byte, 1), -ENOTSUP);
    assert_int_equal(hf_sync_get_value(lock, &byte, 1), -ENOTSUP);
    assert_int_equal(hf_sync_publish(lock), 0); /* nothing was set */
    assert_int_equal(hf_sync_release(lock), 0);
    hf_sync_close(lock);
    hf_client_unref(client);
}

static void test_a_value_of_any_size_up_to_the_largest(void **state)
{
    hf_client *writer = stage_client(&stage, "writer"), *reader = stage_client(&stage, "reader");
    hf_sync *written = open_value(writer, 1), *seen = open_value(reader, 1);
    static const size_t sizes[] = {1, HF_VALUE_MAX, 0, 17, HF_VALUE_MAX - 1, 100};
    uint8_t value[HF_VALUE_MAX + 1], got[HF_VALUE_MAX];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(value, 'a' + (int)i, sizeof(value));
        assert_true(hf_sync_acquire(written, HF_EXCLUSIVE, NULL) >= 0);
        assert_int_equal(hf_sync_set_value(written, value, sizeof(value)), -EMSGSIZE);
        assert_int_equal(hf_sync_set_value(written, value, sizes[i]), 0);
        assert_int_equal(hf_sync_get_value(written, NULL, 0), sizes[i]);
        assert_int_equal(hf_sync_release(written), 0);

        assert_int_equal(hf_sync_acquire(seen, HF_SHARED, NULL), HF_CHANGED);
        memset(got, 0, sizeof(got));
        assert_int_equal(hf_sync_get_value(seen, got, sizeof(got)), sizes[i]);
        assert_memory_equal(got, value, sizes[i]);
        /* Into a buffer that is too small comes what fits. */
        memset(got, 0, sizeof(got));
        assert_int_equal(hf_sync_get_value(seen, got, 10), sizes[i]);
        assert_memory_equal(got, value, sizes[i] < 10 ? sizes[i] : 10);
        assert_int_equal(got[10], 0);
        assert_int_equal(hf_sync_release(seen), 0);
    }
    hf_sync_close(written);
    hf_sync_close(seen);
    hf_client_unref(writer);
    hf_client_unref(reader);
}

static void test_yield_only_what_nobody_uses(void **state)
{
    hf_client *client = stage_client(&stage, "client");
    hf_sync *handle = open_value(client, 1);
    assert_int_equal(hf_sync_yield(handle, HF_EXCLUSIVE), -EINVAL);
    assert_int_equal(hf_sync_yield(handle, (hf_mode)3), -EINVAL);
    assert_true(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
    assert_int_equal(hf_sync_yield(handle, HF_INVALID), -EBUSY);
    assert_int_equal(hf_sync_yield(handle, HF_SHARED), -EBUSY);
    assert_int_equal(hf_sync_downgrade(handle), 0);
    assert_int_equal(hf_sync_yield(handle, HF_INVALID), -EBUSY);
    const uint64_t before = client_messages(client);
    assert_int_equal(hf_sync_yield(handle, HF_SHARED), 0);
    assert_int_equal(hf_sync_yield(handle, HF_SHARED), 0);
    assert_int_equal(client_messages(client), before + 1);
    assert_int_equal(hf_sync_release(handle), 0);
    hf_sync_close(handle);
    hf_client_unref(client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_LIMIT(name) cmocka_unit_test_setup_teardown(name, set_up_with_small_limits, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        TEST(test_connect_refuses_wrong_arguments),
        TEST(test_connect_takes_the_longest_name),
        TEST(test_connect_where_nobody_serves),
        TEST(test_a_user_who_is_not_admitted_is_told),
        TEST_LIMIT(test_one_client_too_many_is_told),
        TEST(test_a_descriptor_belongs_to_the_client_only_on_success),
        TEST(test_numbers_are_never_0_and_never_used_again),
        TEST(test_clients_leave_no_descriptor_and_no_thread),
        TEST(test_nothing_is_freed_by_freeing_nothing),
        TEST(test_handles_and_tokens_keep_their_client),
        TEST(test_a_handle_is_open_until_its_last_reference_goes),
        TEST(test_open_refuses_wrong_arguments),
        TEST(test_a_handle_has_the_same_flags_for_all_who_open_it_here),
        TEST(test_a_name_is_the_same_handle_for_every_client),
        TEST(test_a_lock_is_opened_without_a_message_and_a_value_with_two),
        TEST_LIMIT(test_over_the_limit_of_handles),
        TEST_LIMIT(test_over_the_limit_of_queued_requests),
        TEST_LIMIT(test_over_the_server_s_limit_of_a_value),
        TEST(test_acquire_refuses_wrong_arguments),
        TEST(test_who_holds_nothing_is_refused),
        TEST(test_who_holds_shared_changes_nothing),
        TEST(test_a_pure_lock_has_no_value),
        TEST(test_a_value_of_any_size_up_to_the_largest),
        TEST(test_yield_only_what_nobody_uses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
