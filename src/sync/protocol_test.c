/*
 * Why the protocol is right, claim by claim: the real client and server cores with a test that
 * chooses when each message arrives.
 */
#include "lib/sync_world.h"
#include "lib/test.h"

#include <errno.h>
#include <string.h>

enum { A, B, C };

/* Client @number of the world holds the handle in @mode, and no thread uses it. */
static void hold_idle(struct world *world, unsigned number, enum world_handle handle, hf_mode mode)
{
    struct world_thread thread = world_thread(world, number, handle);
    thread_hold(&thread, mode);
    thread_release(&thread);
    world_settle(world);
    assert_int_equal(world_view(world, number, handle).mode, mode);
}

/* ---- a RECALL or RELEASE about an earlier grant is ignored ---- */

/* A RECALL crosses the RELEASE of the hold that it is about: one of each, and no more. */
static void test_recall_crosses_release(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    hold_idle(&world, A, VALUE, HF_EXCLUSIVE);
    world_forget(&world);

    struct world_thread b = world_thread(&world, B, VALUE);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_to_server(&world, B); /* the RECALL is under way to A */
    sync_hold_yield(&world.clients[A].core, world_hold(&world, A, VALUE), HF_INVALID, 0);
    world_settle(&world);

    assert_true(b.uses);
    assert_int_equal(world_count(&world, WIRE_RECALL), 1);
    assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 1);
    thread_release(&b);
    world_end(&world);
}

/* A RECALL crosses a RELEASE to SHARED, which keeps the hold and its number: a reader has what it
 * wants by then, and for a writer the holder comes down the rest of the way. */
static void test_recall_crosses_release_to_shared(void **state)
{
    static const hf_mode wanted[] = {HF_SHARED, HF_EXCLUSIVE};
    for (unsigned i = 0; i < 2; i++) {
        struct world world;
        world_begin(&world, 2, NULL);
        world_open_all(&world, VALUE);
        hold_idle(&world, A, VALUE, HF_EXCLUSIVE);
        world_forget(&world);

        struct world_thread b = world_thread(&world, B, VALUE);
        assert_false(thread_acquire(&b, wanted[i]));
        world_to_server(&world, B); /* the RECALL is under way to A */
        sync_hold_yield(&world.clients[A].core, world_hold(&world, A, VALUE), HF_SHARED, 0);
        world_settle(&world);

        const bool reads = wanted[i] == HF_SHARED;
        assert_true(b.uses);
        assert_int_equal(world_count(&world, WIRE_RECALL), 1);
        assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), reads ? 1 : 2);
        assert_int_equal(world_hold(&world, A, VALUE)->mode, reads ? HF_SHARED : HF_INVALID);
        thread_release(&b);
        world_end(&world);
    }
}

/* A RECALL crosses the RELEASE that publishes a value: the hold goes on until its user leaves, as
 * if the RECALL had come later. */
static void test_recall_crosses_publication(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_set(&a, "published");
    world_forget(&world);

    assert_false(thread_acquire(&b, HF_SHARED));
    world_to_server(&world, B);
    thread_publish(&a);
    world_settle(&world);
    assert_true(a.uses);
    assert_false(b.uses);
    thread_release(&a);
    world_settle(&world);

    assert_true(b.uses);
    assert_true(thread_sees(&b, "published"));
    assert_int_equal(world_count(&world, WIRE_RECALL), 1);
    assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 2);
    thread_release(&b);
    world_end(&world);
}

/* A RECALL crosses the ACQUIRE with which its holder upgrades: the ACQUIRE has let go already,
 * so the RECALL asks for nothing more. */
static void test_recall_crosses_upgrade(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_SHARED);
    world_forget(&world);

    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_to_server(&world, B);
    assert_false(thread_upgrade(&a));
    assert_true(world_to_client(&world, A)); /* the RECALL */
    assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 0);
    world_settle(&world);
    assert_true(b.uses);
    assert_true(a.waits);

    thread_release(&b);
    world_settle(&world);
    assert_true(a.uses);
    assert_int_equal(a.result, HF_CHANGED);
    assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 0);
    thread_release(&a);
    world_end(&world);
}

/* A RECALL crosses an upgrade that is canceled at once: both let go, nobody keeps anything. */
static void test_recall_crosses_cancel(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_SHARED);

    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_to_server(&world, B);
    assert_false(thread_upgrade(&a));
    thread_give_up(&a, -ECANCELED);
    assert_int_equal(a.result, -ECANCELED);
    world_settle(&world);

    assert_true(b.uses);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_INVALID);
    assert_false(world_view(&world, A, VALUE).waiting);
    assert_false(world_hold(&world, A, VALUE)->outstanding);
    thread_release(&b);
    world_end(&world);
}

/* A RECALL crosses the close of its handle, which the client frees without waiting for an
 * answer; also when it opens the handle anew before the RECALL arrives. */
static void test_recall_crosses_close(void **state)
{
    for (int reopens = 0; reopens < 2; reopens++) {
        for (enum world_handle handle = VALUE; handle < WORLD_HANDLES; handle++) {
            struct world world;
            world_begin(&world, 2, NULL);
            world_open_all(&world, handle);
            hold_idle(&world, A, handle, HF_EXCLUSIVE);

            struct world_thread b = world_thread(&world, B, handle);
            assert_false(thread_acquire(&b, HF_EXCLUSIVE));
            world_to_server(&world, B);
            world_close(&world, A, handle);
            assert_false(world.clients[A].open[handle]);
            if (reopens) {
                world_open(&world, A, handle);
                assert_int_equal(world_hold(&world, A, handle)->mode, HF_INVALID);
            }
            world_settle(&world);
            assert_true(b.uses);
            thread_release(&b);
            world_end(&world);
        }
    }
}

/* A RECALL crosses a RELEASE and the ACQUIRE of a later hold: it is not about that one. */
static void test_recall_of_an_earlier_hold_spares_the_later(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, LOCK);
    hold_idle(&world, A, LOCK, HF_EXCLUSIVE);

    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    assert_false(thread_acquire(&b, HF_SHARED));
    world_to_server(&world, B);
    uint64_t recalled = world_last(&world, A, WIRE_RECALL)->grant;
    sync_hold_yield(&world.clients[A].core, world_hold(&world, A, LOCK), HF_INVALID, 0);
    assert_false(thread_acquire(&a, HF_SHARED));
    world_forget(&world);
    world_settle(&world);

    assert_true(a.uses);
    assert_true(b.uses);
    assert_true(world_view(&world, A, LOCK).grant > recalled);
    assert_int_equal(world_count(&world, WIRE_RELEASE), 0);
    thread_release(&a);
    thread_release(&b);
    world_end(&world);
}

/* ---- at most one ACQUIRE is outstanding ---- */

/* Five threads of a client want more than it holds: one asks, the others queue locally, and
 * they are served in the order they came. */
static void test_one_acquire_is_outstanding(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    hold_idle(&world, B, VALUE, HF_EXCLUSIVE);
    world_forget(&world);

    struct world_thread threads[5];
    for (int i = 0; i < 5; i++) {
        threads[i] = world_thread(&world, A, VALUE);
        assert_false(thread_acquire(&threads[i], HF_EXCLUSIVE));
    }
    assert_int_equal(world_count_of(&world, A, WIRE_ACQUIRE), 1);
    world_settle(&world);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) {
            assert_int_equal(threads[j].uses, j == i);
        }
        thread_release(&threads[i]);
    }
    world_settle(&world);
    assert_int_equal(world_count_of(&world, A, WIRE_ACQUIRE), 1);
    world_end(&world);
}

/* ---- a CANCEL ---- */

/* A canceled wait leaves no trace, at the server or at the client. */
static void test_cancel_leaves_no_trace(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    thread_hold(&b, HF_EXCLUSIVE);
    const uint64_t bytes = world.server.counters.bytes;

    struct world_thread a = world_thread(&world, A, LOCK);
    assert_false(thread_acquire(&a, HF_SHARED));
    world_settle(&world);
    assert_true(world_view(&world, A, LOCK).waiting);
    thread_give_up(&a, -ETIMEDOUT);
    assert_int_equal(a.result, -ETIMEDOUT);
    assert_false(a.waits);
    world_settle(&world);

    assert_int_equal(world.server.counters.bytes, bytes);
    assert_int_equal(world.server.counters.queued, 0);
    assert_int_equal(world.clients[A].peer.hold_count, 0);
    const struct sync_hold *hold = world_hold(&world, A, LOCK);
    assert_true(list_is_empty(&hold->waiters));
    assert_null(hold->requester);
    assert_false(hold->outstanding);
    assert_int_equal(hold->mode, HF_INVALID);
    assert_int_equal(hold->grant, 0);
    assert_int_equal(atomic_load(&hold->word) % SYNC_USE, 0);
    thread_release(&b);
    world_end(&world);
}

/* A GRANT that crosses a CANCEL is kept as a cached hold: the next thread sends nothing. */
static void test_grant_that_crosses_a_cancel_is_kept(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    assert_false(thread_acquire(&a, HF_EXCLUSIVE));
    world_to_server(&world, A); /* the GRANT is under way */
    thread_give_up(&a, -ECANCELED);
    world_settle(&world);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_EXCLUSIVE);
    assert_int_equal(world_hold(&world, A, VALUE)->mode, HF_EXCLUSIVE);

    world_forget(&world);
    assert_true(thread_acquire(&a, HF_EXCLUSIVE));
    assert_int_equal(world.said_count, 0);
    thread_release(&a);
    world_end(&world);
}

/* Such a GRANT told nobody that the value is newer than the one last seen here: the next
 * thread hears it, and only that one. */
static void test_what_a_canceled_grant_said_is_told_to_the_next(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_SHARED);
    thread_release(&a);
    thread_hold(&b, HF_EXCLUSIVE);
    thread_set(&b, "newer");
    thread_release(&b);
    world_settle(&world);

    assert_false(thread_acquire(&a, HF_SHARED));
    world_to_server(&world, A);
    world_to_client(&world, B);
    world_to_server(&world, B); /* the GRANT is under way */
    thread_give_up(&a, -ETIMEDOUT);
    world_settle(&world);
    assert_int_equal(a.result, -ETIMEDOUT);

    world_forget(&world);
    assert_true(thread_acquire(&a, HF_SHARED));
    assert_int_equal(a.result, HF_CHANGED);
    assert_true(thread_sees(&a, "newer"));
    thread_release(&a);
    assert_true(thread_acquire(&a, HF_SHARED));
    assert_int_equal(a.result, HF_UNCHANGED);
    assert_int_equal(world.said_count, 0);
    thread_release(&a);
    world_end(&world);
}

/* A RECALL on the heels of a GRANT that crossed a CANCEL is obeyed at once. */
static void test_canceled_grant_is_given_back_when_recalled(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, LOCK);
    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    assert_false(thread_acquire(&a, HF_EXCLUSIVE));
    world_to_server(&world, A);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_to_server(&world, B);
    thread_give_up(&a, -ECANCELED);
    world_settle(&world);
    assert_true(b.uses);
    assert_int_equal(world_view(&world, A, LOCK).grant, 0);
    thread_release(&b);
    world_end(&world);
}

/* A thread that waits behind a canceled one is served, whichever of the two the server's
 * answer to the first request turns out to be. */
static void test_thread_behind_a_canceled_one_is_served(void **state)
{
    for (int granted = 0; granted < 2; granted++) {
        for (hf_mode second = HF_SHARED; second <= HF_EXCLUSIVE; second++) {
            struct world world;
            world_begin(&world, 2, NULL);
            world_open_all(&world, VALUE);
            struct world_thread b = world_thread(&world, B, VALUE);
            thread_hold(&b, HF_EXCLUSIVE);

            struct world_thread first = world_thread(&world, A, VALUE);
            struct world_thread behind = world_thread(&world, A, VALUE);
            assert_false(thread_acquire(&first, HF_SHARED));
            assert_false(thread_acquire(&behind, second));
            world_settle(&world);
            if (granted) {
                thread_release(&b);
                world_to_server(&world, B);
            }
            thread_give_up(&first, -ECANCELED);
            world_settle(&world);
            if (!granted) {
                assert_true(behind.waits);
                thread_release(&b);
                world_settle(&world);
            }
            assert_true(behind.uses);
            assert_int_equal(behind.result, HF_CHANGED);
            assert_int_equal(first.wakes, 0);
            thread_release(&behind);
            world_end(&world);
        }
    }
}

/* ---- progress ---- */

/* A RECALL directly behind its GRANT is obeyed after the waiting thread had its use, then at
 * once; a thread that comes in between waits, and goes behind the other client. */
static void test_recall_behind_its_grant_leaves_one_use(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread late = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    assert_false(thread_acquire(&a, HF_EXCLUSIVE));
    world_to_server(&world, A);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_to_server(&world, B); /* GRANT and RECALL are under way to A */
    world_forget(&world);
    world_settle(&world);

    assert_true(a.uses);
    assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 0);
    assert_false(thread_acquire(&late, HF_SHARED));
    world_settle(&world);
    assert_true(late.waits);
    assert_true(b.waits);

    thread_release(&a);
    assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 1);
    world_settle(&world);
    assert_true(b.uses);
    assert_true(late.waits);
    thread_release(&b);
    world_settle(&world);
    assert_true(late.uses);
    thread_release(&late);
    world_end(&world);
}

/* ---- the only upgrader ---- */

/* The only holder upgrades without a RECALL, and gets no value, as it has the newest. */
static void test_only_holder_upgrades_with_two_messages(void **state)
{
    struct world world;
    world_begin(&world, 3, NULL);
    world_open_all(&world, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&b, HF_EXCLUSIVE);
    thread_set(&b, "a value");
    thread_release(&b);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_SHARED);
    sync_hold_yield(&world.clients[B].core, world_hold(&world, B, VALUE), HF_INVALID, 0);
    world_settle(&world);

    world_forget(&world);
    assert_false(thread_upgrade(&a));
    world_settle(&world);
    assert_true(a.uses);
    assert_int_equal(a.result, HF_UNCHANGED);
    assert_true(thread_sees(&a, "a value"));
    assert_int_equal(world.said_count, 2);
    const struct wire_message *grant = world_last(&world, A, WIRE_GRANT);
    assert_int_equal(grant->flags, 0);
    assert_int_equal(grant->mode, HF_EXCLUSIVE);
    assert_int_equal(grant->data_size, 0);
    thread_release(&a);
    world_end(&world);
}

/* ---- values ---- */

/* A value outlives all holds while one client references the handle, and goes with the last
 * reference; whoever comes then starts without one. */
static void test_value_lives_while_referenced(void **state)
{
    struct world world;
    world_begin(&world, 3, NULL);
    world_open(&world, A, VALUE);
    world_open(&world, B, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_set(&a, "survivor");
    thread_release(&a);
    world_close(&world, A, VALUE);
    world_settle(&world);
    assert_int_equal(world_view(&world, B, VALUE).mode, HF_INVALID);

    world_open(&world, C, VALUE);
    struct world_thread c = world_thread(&world, C, VALUE);
    thread_hold(&c, HF_SHARED);
    assert_true(thread_sees(&c, "survivor"));
    thread_release(&c);
    world_close(&world, C, VALUE);
    world_close(&world, B, VALUE);
    world_settle(&world);
    assert_int_equal(world.server.counters.bytes, world.empty_bytes);

    world_open(&world, A, VALUE);
    a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_SHARED);
    assert_true(thread_sees(&a, ""));
    thread_release(&a);
    world_end(&world);
}

/* Nor does a client that remembers a value from before see it again. */
static void test_forgotten_value_stays_forgotten(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open(&world, A, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_set(&a, "old");
    thread_release(&a);
    const struct sync_hold *hold = world_hold(&world, A, VALUE);
    const uint64_t version = hold->version;
    assert_int_not_equal(version, 0);
    world_close(&world, A, VALUE);
    world_settle(&world);

    world_open(&world, A, VALUE);
    struct sync_hold *again = world_hold(&world, A, VALUE);
    again->version = version; /* as a client would that keeps a closed hold around */
    thread_hold(&a, HF_SHARED);
    assert_int_equal(a.result, HF_CHANGED);
    assert_true(thread_sees(&a, ""));
    assert_true(again->version > version);
    thread_release(&a);
    world_end(&world);
}

/* A pure lock costs the server nothing, to the byte, once nobody holds it; and it carries no
 * value and no reference. */
static void test_pure_lock_costs_nothing_when_not_held(void **state)
{
    struct world world;
    world_begin(&world, 3, NULL);
    world_open_all(&world, LOCK);
    assert_int_equal(world.said_count, 0);
    assert_int_equal(world.server.counters.bytes, world.empty_bytes);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 3; i++) {
            hold_idle(&world, i, LOCK, round == 0 ? HF_SHARED : HF_EXCLUSIVE);
        }
        for (unsigned i = 0; i < 3; i++) {
            struct sync_hold *hold = world_hold(&world, i, LOCK);
            assert_int_equal(sync_hold_yield(&world.clients[i].core, hold, HF_INVALID, 0), 0);
        }
        world_settle(&world);
        assert_int_equal(world.server.counters.handles, 0);
        assert_int_equal(world.server.counters.bytes, world.empty_bytes);
    }
    world_end(&world);
}

/* An acquire returns with the value last released or published, and says whether that is
 * news; a hand-off takes four messages, and the GRANT brings the value along. */
static void test_hand_off_brings_the_newest_value(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread threads[2] = {
        world_thread(&world, A, VALUE),
        world_thread(&world, B, VALUE),
    };
    const char *values[] = {"zero", "one", "two", "", "a longer value than all before it"};
    const char *before = "";
    for (int round = 0; round < 5; round++) {
        struct world_thread *thread = &threads[round % 2];
        world_forget(&world);
        thread_hold(thread, HF_EXCLUSIVE);
        if (round > 0) {
            assert_int_equal(thread->result, HF_CHANGED);
            assert_int_equal(world.said_count, 4);
        }
        assert_true(thread_sees(thread, before));
        before = values[round];
        thread_set(thread, before);
        thread_release(thread);
    }
    world_end(&world);
}

/* A GRANT carries no value that the client has: SHARED, down to INVALID, and back again. */
static void test_grant_carries_the_value_only_if_newer(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_set(&a, "value");
    thread_release(&a);
    thread_hold(&b, HF_SHARED);
    assert_int_equal(world_last(&world, B, WIRE_GRANT)->flags, WIRE_VALUE);
    thread_release(&b);

    struct world_thread *both[] = {&a, &b};
    for (unsigned i = 0; i < 2; i++) {
        struct sync_hold *hold = world_hold(&world, i, VALUE);
        assert_int_equal(sync_hold_yield(&world.clients[i].core, hold, HF_INVALID, 0), 0);
        world_settle(&world);
        world_forget(&world);
        thread_hold(both[i], HF_SHARED);
        assert_int_equal(both[i]->result, HF_UNCHANGED);
        assert_int_equal(world_last(&world, i, WIRE_GRANT)->flags, 0);
        assert_true(thread_sees(both[i], "value"));
        thread_release(both[i]);
    }
    world_end(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recall_crosses_release),
        cmocka_unit_test(test_recall_crosses_release_to_shared),
        cmocka_unit_test(test_recall_crosses_publication),
        cmocka_unit_test(test_recall_crosses_upgrade),
        cmocka_unit_test(test_recall_crosses_cancel),
        cmocka_unit_test(test_recall_crosses_close),
        cmocka_unit_test(test_recall_of_an_earlier_hold_spares_the_later),
        cmocka_unit_test(test_one_acquire_is_outstanding),
        cmocka_unit_test(test_cancel_leaves_no_trace),
        cmocka_unit_test(test_grant_that_crosses_a_cancel_is_kept),
        cmocka_unit_test(test_what_a_canceled_grant_said_is_told_to_the_next),
        cmocka_unit_test(test_canceled_grant_is_given_back_when_recalled),
        cmocka_unit_test(test_thread_behind_a_canceled_one_is_served),
        cmocka_unit_test(test_recall_behind_its_grant_leaves_one_use),
        cmocka_unit_test(test_only_holder_upgrades_with_two_messages),
        cmocka_unit_test(test_value_lives_while_referenced),
        cmocka_unit_test(test_forgotten_value_stays_forgotten),
        cmocka_unit_test(test_pure_lock_costs_nothing_when_not_held),
        cmocka_unit_test(test_hand_off_brings_the_newest_value),
        cmocka_unit_test(test_grant_carries_the_value_only_if_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
