/*
 * Every wait ends: at its deadline, by a cancel token, at once with HF_NOWAIT; and nothing is left
 * of it, here or at the server.
 */
#include "base/clock.h"
#include "lib/fake_server.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static struct stage stage;
static hf_client *a, *b;
static hf_sync *in_a, *in_b;
static hf_cancel *token; /* of b */

static const hf_wait_opts nowait = {.flags = HF_NOWAIT};

static int set_up(void **state)
{
    stage_init(&stage);
    stage_start(&stage);
    a = stage_client(&stage, "a");
    b = stage_client(&stage, "b");
    in_a = open_lock(a, 1);
    in_b = open_lock(b, 1);
    assert_int_equal(hf_cancel_new(b, &token), 0);
    return 0;
}

static int tear_down(void **state)
{
    hf_cancel_free(token);
    hf_sync_close(in_a);
    hf_sync_close(in_b);
    hf_client_unref(a);
    hf_client_unref(b);
    stage_await_clients(&stage, 0);
    const hf_server_stats stats = stage_stats(&stage);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.handles, 0);
    assert_int_equal(stats.holds, 0);
    assert_int_equal(stats.cut_off, 0);
    stage_deinit(&stage);
    return 0;
}

static void hold(hf_sync *handle, hf_mode mode)
{
    assert_true(hf_sync_acquire(handle, mode, NULL) >= 0);
}

static void let_go(hf_sync *handle)
{
    assert_int_equal(hf_sync_release(handle), 0);
}

/* Nobody holds it in @handle's client or waits for it anywhere, and it can still be had. */
static void nothing_is_left(hf_sync *handle)
{
    assert_int_equal(hf_sync_release(handle), -EPERM);
    assert_int_equal(stage_stats(&stage).queued, 0);
    hold(handle, HF_EXCLUSIVE);
    let_go(handle);
}

/* ---- deadlines ---- */

static void test_a_deadline_that_has_passed_does_not_wait(void **state)
{
    const hf_wait_opts past = {.deadline_ns = 1};
    hold(in_a, HF_EXCLUSIVE);
    assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, &past), -ETIMEDOUT);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &past), -ETIMEDOUT);
    let_go(in_a);
    nothing_is_left(in_b);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &past), HF_UNCHANGED); /* no need to wait */
    let_go(in_b);
}

static void test_a_deadline_ends_the_wait_not_before(void **state)
{
    for (uint64_t ms = 1; ms <= 30; ms += 29) {
        hold(in_a, HF_SHARED);
        const hf_wait_opts opts = {.deadline_ns = after_ms(ms)};
        assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, &opts), -ETIMEDOUT);
        assert_true(clock_now_ns() >= opts.deadline_ns);
        assert_int_equal(stage_stats(&stage).queued, 0);
        let_go(in_a);
        nothing_is_left(in_b);
    }
}

static void test_the_farthest_deadline_is_none(void **state)
{
    hold(in_a, HF_EXCLUSIVE);
    struct acquirer threads[2] = {
        {.handle = in_b, .mode = HF_SHARED, .opts = {.deadline_ns = UINT64_MAX}},
        {.handle = in_b, .mode = HF_SHARED, .opts = {.deadline_ns = UINT64_MAX}},
    };
    acquirer_start(&threads[0]);
    acquirer_start(&threads[1]);
    stage_await_queued(&stage, 1);
    let_go(in_a);
    for (int i = 0; i < 2; i++) {
        assert_true(acquirer_join(&threads[i]) >= 0);
        let_go(in_b);
    }
}

static void test_a_deadline_among_the_threads_of_one_client(void **state)
{
    hold(in_b, HF_SHARED);
    const uint64_t before = client_messages(b);
    struct acquirer writer = {.handle = in_b, .mode = HF_EXCLUSIVE};
    writer.opts.deadline_ns = after_ms(5);
    acquirer_start(&writer);
    assert_int_equal(acquirer_join(&writer), -ETIMEDOUT);
    assert_int_equal(client_messages(b), before);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, NULL),
                     HF_UNCHANGED); /* not closed for good */
    let_go(in_b);
    let_go(in_b);
    nothing_is_left(in_b);
}

/* Waits that give up just about when they are granted: each has the handle or has it not. */
static void test_deadlines_that_cross_the_grant(void **state)
{
    int granted = 0, timed_out = 0;
    for (uint64_t round = 0; round < 400; round++) {
        hold(in_a, HF_EXCLUSIVE);
        let_go(in_a);
        const hf_wait_opts opts = {.deadline_ns = clock_now_ns() + round * 500};
        const int result = hf_sync_acquire(in_b, HF_EXCLUSIVE, &opts);
        if (result >= 0) {
            granted++;
            let_go(in_b);
        } else {
            timed_out++;
            assert_int_equal(result, -ETIMEDOUT);
            assert_int_equal(hf_sync_release(in_b), -EPERM);
        }
    }
    assert_int_equal(granted + timed_out, 400);
    assert_true(timed_out > 0);
    nothing_is_left(in_a);
    nothing_is_left(in_b);
}

/* ---- cancel tokens ---- */

static void test_a_token_fired_by_another_thread(void **state)
{
    hold(in_a, HF_EXCLUSIVE);
    struct acquirer thread = {.handle = in_b, .mode = HF_SHARED, .opts = {.cancel = token}};
    acquirer_start(&thread);
    stage_await_queued(&stage, 1);
    hf_cancel_fire(token);
    assert_int_equal(acquirer_join(&thread), -ECANCELED);
    assert_int_equal(stage_stats(&stage).queued, 0);
    let_go(in_a);
    nothing_is_left(in_b);
}

static hf_cancel *volatile fired_by_signal;
static atomic_int errno_kept;

static void on_signal(int number)
{
    const int before = errno;
    errno = 4711;
    hf_cancel_fire(fired_by_signal);
    atomic_store(&errno_kept, errno == 4711);
    errno = before;
}

/* The signal comes to the thread that waits, or to another one. */
static void test_a_token_fired_by_a_signal_handler(void **state)
{
    struct sigaction action = {.sa_handler = on_signal}, before;
    fired_by_signal = token;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    for (int i = 0; i < 4; i++) {
        hold(in_a, HF_EXCLUSIVE);
        struct acquirer first = {.handle = in_b, .mode = HF_SHARED, .opts = {.cancel = token}};
        struct acquirer second = first;
        acquirer_start(&first);
        stage_await_queued(&stage, 1);
        acquirer_start(&second); /* the first reads the socket, and this one sleeps */
        atomic_store(&errno_kept, 0);
        const pthread_t targets[] = {first.thread, second.thread, pthread_self(), first.thread};
        assert_int_equal(pthread_kill(targets[i], SIGUSR1), 0);
        assert_int_equal(acquirer_join(&first), -ECANCELED);
        assert_int_equal(acquirer_join(&second), -ECANCELED);
        assert_true(atomic_load(&errno_kept));
        let_go(in_a);
        hf_cancel_reset(token);
        nothing_is_left(in_b);
    }
    sigaction(SIGUSR1, &before, NULL);
}

/* Signals that do nothing end no wait. */
static void on_nothing(int number)
{
}

static void test_a_signal_alone_ends_no_wait(void **state)
{
    struct sigaction action = {.sa_handler = on_nothing}, before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    hold(in_a, HF_EXCLUSIVE);
    struct acquirer thread = {.handle = in_b, .mode = HF_SHARED};
    acquirer_start(&thread);
    stage_await_queued(&stage, 1);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pthread_kill(thread.thread, SIGUSR1), 0);
        assert_int_equal(stage_stats(&stage).queued, 1);
    }
    let_go(in_a);
    assert_true(acquirer_join(&thread) >= 0);
    let_go(in_b);
    sigaction(SIGUSR1, &before, NULL);
}

static void test_a_token_fired_before_the_wait(void **state)
{
    const hf_wait_opts opts = {.cancel = token};
    hold(in_a, HF_EXCLUSIVE);
    hf_cancel_fire(token);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &opts), -ECANCELED);
    assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, &opts), -ECANCELED); /* now and later */
    assert_int_equal(stage_stats(&stage).queued, 0);
    let_go(in_a);
    nothing_is_left(in_b);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &opts), HF_UNCHANGED); /* no need to wait */
    let_go(in_b);
}

static void test_a_token_that_was_reset(void **state)
{
    const hf_wait_opts opts = {.cancel = token};
    hf_cancel_fire(token);
    hf_cancel_fire(token);
    hold(in_a, HF_EXCLUSIVE);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &opts), -ECANCELED);
    hf_cancel_reset(token);
    struct acquirer thread = {.handle = in_b, .mode = HF_SHARED, .opts = opts};
    acquirer_start(&thread);
    stage_await_queued(&stage, 1);
    let_go(in_a);
    assert_true(acquirer_join(&thread) >= 0);
    let_go(in_b);
}

static void test_one_token_ends_its_waits_and_no_others(void **state)
{
    enum { HANDLES = 3 };
    hf_sync *held[HANDLES], *wanted[HANDLES];
    struct acquirer cancelled[HANDLES], others[HANDLES];
    for (uint64_t i = 0; i < HANDLES; i++) {
        held[i] = open_value(a, 10 + i);
        wanted[i] = open_value(b, 10 + i);
        hold(held[i], HF_EXCLUSIVE);
        /* On one handle the one that asked is cancelled, on the others one behind it. */
        cancelled[i] =
            (struct acquirer){.handle = wanted[i], .mode = HF_EXCLUSIVE, .opts = {.cancel = token}};
        others[i] = (struct acquirer){.handle = wanted[i], .mode = HF_SHARED};
        acquirer_start(i == 0 ? &cancelled[i] : &others[i]);
        stage_await_queued(&stage, i + 1);
        acquirer_start(i == 0 ? &others[i] : &cancelled[i]);
    }
    hf_cancel_fire(token);
    for (int i = 0; i < HANDLES; i++) {
        assert_int_equal(acquirer_join(&cancelled[i]), -ECANCELED);
    }
    stage_await_queued(&stage, HANDLES); /* the one behind asks for itself */
    for (int i = 0; i < HANDLES; i++) {
        let_go(held[i]);
        assert_true(acquirer_join(&others[i]) >= 0);
        let_go(wanted[i]);
        hf_sync_close(held[i]);
        hf_sync_close(wanted[i]);
    }
}

/* The GRANT was on its way when the CANCEL went out: the hold is kept for the next who wants it,
 * who is told what it brought. */
static void test_a_cancel_that_crosses_the_grant(void **state)
{
    struct fake fake;
    fake_join(&fake);
    hf_sync *lock = open_lock(fake.client, 1);
    hf_cancel *own = NULL;
    assert_int_equal(hf_cancel_new(fake.client, &own), 0);
    struct acquirer thread = {.handle = lock, .mode = HF_EXCLUSIVE, .opts = {.cancel = own}};
    acquirer_start(&thread);
    const struct wire_message asked = fake_expect(&fake, WIRE_ACQUIRE);
    hf_cancel_fire(own);
    const struct wire_message cancelled = fake_expect(&fake, WIRE_CANCEL);
    assert_int_equal(cancelled.seq, asked.seq);
    assert_int_equal(acquirer_join(&thread), -ECANCELED);
    struct wire_message answer = fake_answer(&asked, 5);
    answer.flags = WIRE_OWNER_DIED;
    fake_send(&fake, &answer);
    assert_int_equal(hf_sync_acquire(lock, HF_SHARED, NULL), HF_CHANGED | HF_OWNER_DIED);
    let_go(lock);
    assert_int_equal(hf_sync_acquire(lock, HF_EXCLUSIVE, NULL), HF_UNCHANGED);
    let_go(lock);
    assert_int_equal(client_messages(fake.client), 3);

    /* And a refusal that crosses it is no news either. */
    assert_int_equal(hf_sync_yield(lock, HF_INVALID), 0);
    hf_cancel_reset(own);
    acquirer_start(&thread);
    const struct wire_message again = fake_expect(&fake, WIRE_RELEASE);
    assert_int_equal(again.mode, HF_INVALID);
    const struct wire_message asked_again = fake_expect(&fake, WIRE_ACQUIRE);
    hf_cancel_fire(own);
    fake_expect(&fake, WIRE_CANCEL);
    assert_int_equal(acquirer_join(&thread), -ECANCELED);
    fake_send(&fake,
              &(struct wire_message){.kind = WIRE_GRANT,
                                     .id = asked_again.id,
                                     .seq = asked_again.seq,
                                     .flags = WIRE_DENIED,
                                     .reason = WIRE_REASON_CANCELED});
    struct acquirer next = {.handle = lock, .mode = HF_SHARED};
    acquirer_start(&next);
    const struct wire_message wanted = fake_expect(&fake, WIRE_ACQUIRE);
    answer = fake_answer(&wanted, 6);
    fake_send(&fake, &answer);
    assert_true(acquirer_join(&next) >= 0);
    let_go(lock);
    hf_sync_close(lock);
    hf_cancel_free(own);
    fake_deinit(&fake);
}

static void *fire(void *argument)
{
    hf_cancel_fire(argument);
    return NULL;
}

static void test_cancels_that_race_with_the_grant(void **state)
{
    const hf_wait_opts opts = {.cancel = token};
    for (int round = 0; round < 200; round++) {
        pthread_t thread;
        hold(in_a, HF_EXCLUSIVE);
        let_go(in_a);
        hf_cancel_reset(token);
        assert_int_equal(pthread_create(&thread, NULL, fire, token), 0);
        const int result = hf_sync_acquire(in_b, HF_EXCLUSIVE, &opts);
        if (result >= 0) {
            let_go(in_b);
        } else {
            assert_int_equal(result, -ECANCELED);
            assert_int_equal(hf_sync_release(in_b), -EPERM);
        }
        pthread_join(thread, NULL);
    }
    nothing_is_left(in_a);
    nothing_is_left(in_b);
}

/* ---- HF_NOWAIT ---- */

static void test_nowait_takes_what_is_free(void **state)
{
    assert_true(hf_sync_acquire(in_b, HF_SHARED, &nowait) >= 0);
    assert_true(hf_sync_acquire(in_a, HF_SHARED, &nowait) >= 0);
    let_go(in_a);
    let_go(in_b);
    assert_int_equal(client_messages(a), 2);
    assert_int_equal(client_messages(b), 2);
}

static void test_nowait_does_not_wait_for_a_client_that_uses_it(void **state)
{
    hold(in_a, HF_EXCLUSIVE);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &nowait), -EAGAIN);
        assert_int_equal(hf_sync_release(in_b), -EPERM);
    }
    const hf_server_stats stats = stage_stats(&stage);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.denials, 5);
    assert_int_equal(client_messages(b), 5 * 2);
    assert_int_equal(client_messages(a), 2 + 5 * 2); /* it is asked each time, and says so */
    let_go(in_a);
    hold(in_a, HF_EXCLUSIVE); /* and has kept the hold */
    let_go(in_a);
    assert_int_equal(client_messages(a), 2 + 5 * 2);
}

/* Another client may hold it: what counts is that no thread uses it. */
static void test_nowait_takes_what_nobody_uses(void **state)
{
    hold(in_a, HF_EXCLUSIVE);
    let_go(in_a);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &nowait), HF_CHANGED);
    assert_int_equal(client_messages(b), 2);
    assert_int_equal(client_messages(a), 2 + 2);
    assert_int_equal(hf_sync_upgrade(in_b, &nowait), HF_UNCHANGED);
    let_go(in_b);
    assert_int_equal(hf_sync_acquire(in_a, HF_EXCLUSIVE, &nowait), HF_CHANGED);
    let_go(in_a);
    assert_int_equal(stage_stats(&stage).denials, 0);
}

/* A batching client whose threads are between two uses lets go, too. */
static void test_nowait_takes_what_nobody_uses_at_the_moment(void **state)
{
    hf_client *c = stage_batching_client(&stage, "c");
    hf_sync *in_c = open_lock(c, 1);
    for (int i = 0; i < 100; i++) {
        hold(in_c, HF_EXCLUSIVE);
        let_go(in_c);
        assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, &nowait), HF_CHANGED);
        let_go(in_b);
    }
    hf_sync_close(in_c);
    hf_client_unref(c);
}

/* A holder that does not answer: the deadline ends this wait as any other. */
static void test_nowait_has_a_deadline(void **state)
{
    struct raw_client mute;
    raw_join(&mute, stage.server.address, "mute");
    raw_hold(&mute, 1, HF_SHARED);
    hf_sync *mutes = NULL; /* the raw client's handle */
    assert_int_equal(hf_sync_open(b, (hf_id){1, 1}, HF_SYNC_LOCK, &mutes), 0);
    const hf_wait_opts soon = {.flags = HF_NOWAIT, .deadline_ns = after_ms(5)};
    assert_int_equal(hf_sync_acquire(mutes, HF_EXCLUSIVE, &soon), -ETIMEDOUT);
    assert_int_equal(stage_stats(&stage).queued, 0);
    assert_int_equal(raw_expect(&mute, WIRE_RECALL).waiting, 0);
    hf_sync_close(mutes);
    raw_close(&mute);
}

static void test_nowait_does_not_overtake(void **state)
{
    hf_client *c = stage_client(&stage, "c");
    hf_sync *in_c = open_lock(c, 1);
    hold(in_a, HF_SHARED);
    struct acquirer writer = {.handle = in_b, .mode = HF_EXCLUSIVE};
    acquirer_start(&writer);
    stage_await_queued(&stage, 1);
    await_recalls(a, 1);
    assert_int_equal(hf_sync_acquire(in_c, HF_SHARED, &nowait), -EAGAIN);
    /* Nor within a client: the handle has been recalled, and then another thread waits. */
    assert_int_equal(hf_sync_acquire(in_a, HF_SHARED, &nowait), -EAGAIN);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &nowait), -EAGAIN);
    let_go(in_a);
    assert_true(acquirer_join(&writer) >= 0);
    let_go(in_b);
    hf_sync_close(in_c);
    hf_client_unref(c);
}

static void test_nowait_among_the_threads_of_one_client(void **state)
{
    hold(in_b, HF_EXCLUSIVE);
    const uint64_t before = client_messages(b);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &nowait), -EAGAIN);
    assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, &nowait), -EAGAIN);
    assert_int_equal(hf_sync_downgrade(in_b), 0);
    assert_int_equal(hf_sync_acquire(in_b, HF_SHARED, &nowait), HF_UNCHANGED);
    assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, &nowait), -EAGAIN);
    let_go(in_b);
    let_go(in_b);
    assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, &nowait), HF_UNCHANGED);
    let_go(in_b);
    assert_int_equal(client_messages(b), before);
}

/* ---- order ---- */

static void test_a_reader_does_not_overtake_a_waiting_writer(void **state)
{
    hf_client *c = stage_client(&stage, "c");
    hf_sync *in_c = open_lock(c, 1);
    hold(in_a, HF_SHARED);
    struct acquirer writer = {.handle = in_b, .mode = HF_EXCLUSIVE};
    struct acquirer reader = {.handle = in_c, .mode = HF_SHARED};
    struct acquirer second = {.handle = in_a, .mode = HF_SHARED}; /* of the client that holds it */
    acquirer_start(&writer);
    stage_await_queued(&stage, 1);
    acquirer_start(&reader);
    stage_await_queued(&stage, 2);
    await_recalls(a, 1);
    acquirer_start(&second);
    let_go(in_a);
    assert_true(acquirer_join(&writer) >= 0);
    stage_await_queued(&stage, 2);
    let_go(in_b);
    assert_int_equal(acquirer_join(&reader), HF_CHANGED);
    assert_int_equal(acquirer_join(&second), HF_CHANGED);
    let_go(in_c);
    let_go(in_a);
    hf_sync_close(in_c);
    hf_client_unref(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        TEST(test_a_deadline_that_has_passed_does_not_wait),
        TEST(test_a_deadline_ends_the_wait_not_before),
        TEST(test_the_farthest_deadline_is_none),
        TEST(test_a_deadline_among_the_threads_of_one_client),
        TEST(test_deadlines_that_cross_the_grant),
        TEST(test_a_token_fired_by_another_thread),
        TEST(test_a_token_fired_by_a_signal_handler),
        TEST(test_a_signal_alone_ends_no_wait),
        TEST(test_a_token_fired_before_the_wait),
        TEST(test_a_token_that_was_reset),
        TEST(test_one_token_ends_its_waits_and_no_others),
        TEST(test_a_cancel_that_crosses_the_grant),
        TEST(test_cancels_that_race_with_the_grant),
        TEST(test_nowait_takes_what_is_free),
        TEST(test_nowait_does_not_wait_for_a_client_that_uses_it),
        TEST(test_nowait_takes_what_nobody_uses),
        TEST(test_nowait_takes_what_nobody_uses_at_the_moment),
        TEST(test_nowait_has_a_deadline),
        TEST(test_nowait_does_not_overtake),
        TEST(test_nowait_among_the_threads_of_one_client),
        TEST(test_a_reader_does_not_overtake_a_waiting_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
