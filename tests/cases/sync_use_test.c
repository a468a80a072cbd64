/*
 * What clients see of each other's use of a handle: values, changes, modes; and what it costs, in
 * messages and system calls.
 */
#include "lib/process.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

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
    stage_deinit(&stage);
    return 0;
}

static void use(hf_sync *handle, hf_mode mode, int expected)
{
    assert_int_equal(hf_sync_acquire(handle, mode, NULL), expected);
    assert_int_equal(hf_sync_release(handle), 0);
}

/* ---- a held handle costs nothing ---- */

static void test_a_held_handle_costs_no_message(void **state)
{
    hf_sync *handle = open_value(a, 1);
    use(handle, HF_EXCLUSIVE, HF_CHANGED);
    const uint64_t before = client_messages(a);
    const uint64_t epoch = hf_sync_epoch(handle);
    for (int i = 0; i < 1000; i++) {
        use(handle, HF_EXCLUSIVE, HF_UNCHANGED);
        use(handle, HF_SHARED, HF_UNCHANGED);
        /* What was asked for and changed nothing is not said either. */
        assert_int_equal(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL), HF_UNCHANGED);
        assert_int_equal(hf_sync_publish(handle), 0);
        assert_int_equal(hf_sync_downgrade(handle), 0);
        assert_int_equal(hf_sync_upgrade(handle, NULL), HF_UNCHANGED);
        assert_int_equal(hf_sync_release(handle), 0);
    }
    assert_int_equal(client_messages(a), before);
    assert_int_equal(hf_sync_epoch(handle), epoch);
    hf_sync_close(handle);
}

static bool forbid_system_calls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0 &&
           prctl(PR_SET_SECCOMP, (unsigned long)SECCOMP_MODE_FILTER, &filter, 0UL, 0UL) == 0;
}

enum { NO_FILTER = 77 };

/* Any system call of this thread from here on but the last one kills the process. */
static int use_without_system_calls(const struct child *self, void *context)
{
    const bool make_one = *(const bool *)context;
    hf_client *client = NULL;
    hf_sync *handle = NULL;
    uint64_t value = 1;
    if (hf_client_connect(stage.server.address, NULL, &client) != 0 ||
        hf_sync_open(client, (hf_id){7, 1}, 0, &handle) != 0 ||
        hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) < 0 ||
        hf_sync_set_value(handle, &value, sizeof(value)) != 0 || hf_sync_release(handle) != 0) {
        return 1;
    }
    if (!forbid_system_calls()) {
        return NO_FILTER;
    }
    if (make_one) {
        syscall(SYS_getppid);
    }
    int wrong = 0;
    for (int i = 0; i < 10000; i++) {
        wrong |= hf_sync_acquire(handle, HF_SHARED, NULL);
        wrong |= hf_sync_get_value(handle, &value, sizeof(value)) != sizeof(value);
        wrong |= hf_sync_release(handle);
        wrong |= hf_sync_acquire(handle, HF_EXCLUSIVE, NULL);
        wrong |= hf_sync_epoch(handle) == 0;
        wrong |= hf_sync_release(handle);
    }
    syscall(SYS_exit_group, wrong != 0 ? 2 : 0);
    return 3;
}

static void test_a_held_handle_costs_no_system_call(void **state)
{
    skip_without_forks();
    struct child child;
    bool make_one = true;
    child_start(&child, use_without_system_calls, &make_one);
    const int killed = child_end(&child);
    if (killed == NO_FILTER || !test_is_plain()) {
        skip(); /* no seccomp here, or an instrumented program that makes calls of its own */
    }
    assert_int_equal(killed, -SIGSYS); /* the filter bites */
    make_one = false;
    child_start(&child, use_without_system_calls, &make_one);
    assert_int_equal(child_end(&child), 0);
}

/* ---- values and changes ---- */

static void test_a_value_passes_from_client_to_client(void **state)
{
    hf_sync *in_a = open_value(a, 1), *in_b = open_value(b, 1);
    for (uint64_t value = 1; value <= 100; value++) {
        hf_sync *writer = value % 2 != 0 ? in_a : in_b;
        hf_sync *reader = value % 2 != 0 ? in_b : in_a;
        assert_true(hf_sync_acquire(writer, HF_EXCLUSIVE, NULL) >= 0);
        assert_int_equal(value_get(writer), value - 1);
        value_set(writer, value);
        assert_int_equal(value_get(writer), value);
        assert_int_equal(hf_sync_release(writer), 0);
        assert_int_equal(hf_sync_acquire(reader, HF_SHARED, NULL), HF_CHANGED);
        assert_int_equal(value_get(reader), value);
        assert_int_equal(hf_sync_release(reader), 0);
    }
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

enum { INCREMENTS = 500 };

static int increment_in_process(const struct child *self, void *context)
{
    hf_client *client = NULL;
    hf_sync *handle = NULL;
    if (hf_client_connect(stage.server.address, NULL, &client) != 0 ||
        hf_sync_open(client, (hf_id){7, 1}, 0, &handle) != 0) {
        return 1;
    }
    child_report(self, 'j');
    for (int i = 0; i < INCREMENTS; i++) {
        uint64_t value = 0;
        if (hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) < 0) {
            return 2;
        }
        hf_sync_get_value(handle, &value, sizeof(value));
        value++;
        if (hf_sync_set_value(handle, &value, sizeof(value)) != 0 || hf_sync_release(handle) != 0) {
            return 3;
        }
    }
    hf_sync_close(handle);
    hf_client_unref(client);
    return 0;
}

static void test_a_value_passes_from_process_to_process(void **state)
{
    skip_without_forks();
    struct child children[3];
    hf_sync *handle = open_value(a, 1); /* so that the value outlives the processes */
    for (int i = 0; i < 3; i++) {
        child_start(&children[i], increment_in_process, NULL);
        child_expect(&children[i], 'j');
    }
    for (int i = 0; i < INCREMENTS; i++) {
        assert_true(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
        value_set(handle, value_get(handle) + 1);
        assert_int_equal(hf_sync_release(handle), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(child_end(&children[i]), 0);
    }
    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    assert_int_equal(value_get(handle), 4 * INCREMENTS);
    assert_int_equal(hf_sync_release(handle), 0);
    hf_sync_close(handle);
}

static void test_changed_says_that_another_client_held_it_exclusive(void **state)
{
    hf_sync *in_a = open_value(a, 1), *in_b = open_value(b, 1);
    use(in_a, HF_EXCLUSIVE, HF_CHANGED); /* never held before: anything may have happened */
    const uint64_t first = hf_sync_epoch(in_a);
    assert_true(first != 0);
    use(in_b, HF_SHARED, HF_CHANGED);
    use(in_a, HF_EXCLUSIVE, HF_UNCHANGED); /* only read meanwhile, though it went away and came */
    assert_int_equal(hf_sync_epoch(in_a), first);
    use(in_b, HF_EXCLUSIVE, HF_CHANGED);
    use(in_a, HF_SHARED, HF_CHANGED); /* what the handle protects may be changed, not the value */
    assert_true(hf_sync_epoch(in_a) != first);
    use(in_a, HF_SHARED, HF_UNCHANGED);
    use(in_b, HF_SHARED, HF_UNCHANGED);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

static void test_publish_shows_the_value_and_keeps_the_hold(void **state)
{
    hf_sync *in_a = open_value(a, 1), *in_b = open_value(b, 1);
    assert_true(hf_sync_acquire(in_a, HF_EXCLUSIVE, NULL) >= 0);
    value_set(in_a, 1);
    const uint64_t before = client_messages(a);
    assert_int_equal(hf_sync_publish(in_a), 0);
    assert_int_equal(client_messages(a), before + 1);
    assert_int_equal(hf_sync_publish(in_a), 0); /* nothing was set since */
    assert_int_equal(client_messages(a), before + 1);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &(hf_wait_opts){.flags = HF_NOWAIT}),
                     -EAGAIN);
    value_set(in_a, 2); /* and this is never published */
    hf_client_disconnect(a);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, NULL), HF_CHANGED | HF_OWNER_DIED);
    assert_int_equal(value_get(in_b), 1);
    assert_int_equal(hf_sync_release(in_b), 0);
    assert_int_equal(hf_sync_release(in_a), -ENOTCONN);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

/* ---- modes ---- */

static void test_upgrading_alone_takes_no_recall(void **state)
{
    hf_sync *in_a = open_value(a, 1);
    assert_true(hf_sync_acquire(in_a, HF_SHARED, NULL) >= 0);
    const uint64_t before = client_messages(a);
    assert_int_equal(hf_sync_upgrade(in_a, NULL), HF_UNCHANGED);
    assert_int_equal(client_messages(a), before + 2);
    value_set(in_a, 1);
    assert_int_equal(hf_sync_release(in_a), 0);
    hf_sync_close(in_a);
}

static int upgrade(struct acquirer *self)
{
    const int result = hf_sync_upgrade(self->handle, NULL);
    if (result >= 0) {
        uint64_t value = 0;
        hf_sync_get_value(self->handle, &value, sizeof(value));
        value++;
        if (hf_sync_set_value(self->handle, &value, sizeof(value)) != 0 ||
            hf_sync_release(self->handle) != 0) {
            return -EIO;
        }
    }
    return result;
}

/* Two clients, and then two threads of one client, hold SHARED and upgrade: one goes first, and
 * the other is told that things changed. */
static void two_upgrade(hf_sync *first, hf_sync *second, uint64_t value_before)
{
    assert_true(hf_sync_acquire(first, HF_SHARED, NULL) >= 0);
    assert_true(hf_sync_acquire(second, HF_SHARED, NULL) >= 0);
    assert_int_equal(value_get(first), value_before);
    struct acquirer upgraders[2] = {
        {.handle = first, .call = upgrade},
        {.handle = second, .call = upgrade},
    };
    acquirer_start(&upgraders[0]);
    acquirer_start(&upgraders[1]);
    const int results[2] = {acquirer_join(&upgraders[0]), acquirer_join(&upgraders[1])};
    assert_in_range(results[0], HF_UNCHANGED, HF_CHANGED);
    assert_int_equal(results[0] + results[1], HF_UNCHANGED + HF_CHANGED);
    assert_true(hf_sync_acquire(first, HF_SHARED, NULL) >= 0);
    assert_int_equal(value_get(first), value_before + 2);
    assert_int_equal(hf_sync_release(first), 0);
}

static void test_two_upgraders_take_turns(void **state)
{
    hf_sync *in_a = open_value(a, 1), *in_b = open_value(b, 1);
    for (uint64_t round = 0; round < 200; round++) {
        two_upgrade(in_a, in_b, 4 * round);
        two_upgrade(in_a, in_a, 4 * round + 2);
    }
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

static void test_an_upgrade_that_fails_leaves_nothing_held(void **state)
{
    hf_sync *in_a = open_value(a, 1), *in_b = open_value(b, 1);
    const hf_wait_opts nowait = {.flags = HF_NOWAIT};
    const hf_wait_opts soon = {.deadline_ns = after_ms(1)};
    assert_true(hf_sync_acquire(in_b, HF_SHARED, NULL) >= 0);
    assert_true(hf_sync_acquire(in_a, HF_SHARED, NULL) >= 0);
    assert_int_equal(hf_sync_upgrade(in_a, &nowait), -EAGAIN);
    assert_int_equal(hf_sync_release(in_a), -EPERM);
    assert_int_equal(hf_sync_release(in_b), 0);
    assert_true(hf_sync_acquire(in_b, HF_SHARED, NULL) >= 0);
    assert_true(hf_sync_acquire(in_a, HF_SHARED, NULL) >= 0);
    assert_int_equal(hf_sync_upgrade(in_a, &soon), -ETIMEDOUT);
    assert_int_equal(hf_sync_release(in_a), -EPERM);
    assert_int_equal(stage_stats(&stage).queued, 0);
    assert_int_equal(hf_sync_release(in_b), 0);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

static void test_downgrade_shows_the_value_and_lets_no_writer_in(void **state)
{
    hf_sync *in_a = open_value(a, 1), *in_b = open_value(b, 1);
    assert_true(hf_sync_acquire(in_a, HF_EXCLUSIVE, NULL) >= 0);
    value_set(in_a, 1);
    struct acquirer reader = {.handle = in_b, .mode = HF_SHARED};
    acquirer_start(&reader);
    stage_await_queued(&stage, 1);
    assert_int_equal(hf_sync_downgrade(in_a), 0);
    assert_int_equal(acquirer_join(&reader), HF_CHANGED);
    assert_int_equal(value_get(in_b), 1);
    assert_int_equal(value_get(in_a), 1);
    assert_int_equal(hf_sync_release(in_b), 0);

    struct acquirer writer = {.handle = in_b, .mode = HF_EXCLUSIVE};
    acquirer_start(&writer);
    stage_await_queued(&stage, 1);
    assert_int_equal(stage_stats(&stage).queued, 1); /* for as long as it is read here */
    assert_int_equal(hf_sync_release(in_a), 0);
    assert_int_equal(acquirer_join(&writer), HF_UNCHANGED);
    assert_int_equal(hf_sync_release(in_b), 0);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

static void test_what_was_yielded_is_not_recalled(void **state)
{
    hf_sync *in_a = open_lock(a, 1), *in_b = open_lock(b, 1);
    use(in_a, HF_EXCLUSIVE, HF_CHANGED);
    assert_int_equal(hf_sync_yield(in_a, HF_SHARED), 0);
    (void)stage_stats(&stage); /* the server has read that */
    uint64_t before = client_messages(a);
    use(in_b, HF_SHARED, HF_CHANGED);
    use(in_a, HF_SHARED, HF_UNCHANGED);
    assert_int_equal(client_messages(a), before);
    assert_int_equal(hf_sync_yield(in_a, HF_INVALID), 0);
    (void)stage_stats(&stage);
    before = client_messages(a);
    use(in_b, HF_EXCLUSIVE, HF_UNCHANGED);
    assert_int_equal(client_messages(a), before);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

/* ---- what a contested handle costs ---- */

static void test_a_hand_off_takes_four_messages(void **state)
{
    hf_sync *in_a = open_lock(a, 1), *in_b = open_lock(b, 1);
    use(in_a, HF_EXCLUSIVE, HF_CHANGED);
    const uint64_t before = client_messages(a) + client_messages(b);
    for (int i = 0; i < 200; i++) {
        use(i % 2 == 0 ? in_b : in_a, HF_EXCLUSIVE, HF_CHANGED);
    }
    assert_int_equal(client_messages(a) + client_messages(b), before + 200 * 4);

    hf_client_stats in_both = {0};
    for (int i = 0; i < 2; i++) {
        hf_client_stats stats;
        hf_client_get_stats(i == 0 ? a : b, &stats);
        in_both.acquires_sent += stats.acquires_sent;
        in_both.grants_received += stats.grants_received;
        in_both.recalls_received += stats.recalls_received;
        in_both.releases_sent += stats.releases_sent;
        in_both.cancels_sent += stats.cancels_sent;
    }
    assert_int_equal(in_both.acquires_sent, 201);
    assert_int_equal(in_both.grants_received, 201);
    assert_int_equal(in_both.recalls_received, 200);
    assert_int_equal(in_both.releases_sent, 200);
    assert_int_equal(in_both.cancels_sent, 0);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

static void test_readers_of_one_handle_do_not_disturb_each_other(void **state)
{
    hf_sync *in_a = open_value(a, 1), *in_b = open_value(b, 1);
    use(in_a, HF_SHARED, HF_CHANGED);
    use(in_b, HF_SHARED, HF_CHANGED);
    const uint64_t before = client_messages(a) + client_messages(b);
    for (int i = 0; i < 100; i++) {
        use(in_a, HF_SHARED, HF_UNCHANGED);
        use(in_b, HF_SHARED, HF_UNCHANGED);
    }
    assert_int_equal(client_messages(a) + client_messages(b), before);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

static void test_a_writer_that_is_asked_by_a_reader_goes_on_reading(void **state)
{
    hf_sync *in_a = open_lock(a, 1), *in_b = open_lock(b, 1);
    use(in_a, HF_EXCLUSIVE, HF_CHANGED);
    const uint64_t before = client_messages(a) + client_messages(b);
    use(in_b, HF_SHARED, HF_CHANGED);
    use(in_a, HF_SHARED, HF_UNCHANGED);
    use(in_b, HF_SHARED, HF_UNCHANGED);
    assert_int_equal(client_messages(a) + client_messages(b), before + 4);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        TEST(test_a_held_handle_costs_no_message),
        TEST(test_a_held_handle_costs_no_system_call),
        TEST(test_a_value_passes_from_client_to_client),
        TEST(test_a_value_passes_from_process_to_process),
        TEST(test_changed_says_that_another_client_held_it_exclusive),
        TEST(test_publish_shows_the_value_and_keeps_the_hold),
        TEST(test_upgrading_alone_takes_no_recall),
        TEST(test_two_upgraders_take_turns),
        TEST(test_an_upgrade_that_fails_leaves_nothing_held),
        TEST(test_downgrade_shows_the_value_and_lets_no_writer_in),
        TEST(test_what_was_yielded_is_not_recalled),
        TEST(test_a_hand_off_takes_four_messages),
        TEST(test_readers_of_one_handle_do_not_disturb_each_other),
        TEST(test_a_writer_that_is_asked_by_a_reader_goes_on_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
