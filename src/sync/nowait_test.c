/*
 * NOWAIT fails exactly if somebody uses the handle or waits for it: the real client and server
 * cores with a test that chooses when each message arrives.
 */
#include "lib/sync_world.h"
#include "lib/test.h"

#include <errno.h>

enum { A, B, C };

/* The client holds the handle in @mode, and no thread uses it. */
static void hold_idle(struct world *world, unsigned client, enum world_handle handle, hf_mode mode)
{
    struct world_thread thread = world_thread(world, client, handle);
    thread_hold(&thread, mode);
    thread_release(&thread);
    world_settle(world);
    assert_int_equal(world_view(world, client, handle).mode, mode);
}

static void begin(struct world *world, unsigned clients, enum world_handle handle)
{
    world_begin(world, clients, NULL);
    world_open_all(world, handle);
}

static void assert_refused(const struct world_thread *thread)
{
    assert_false(thread->waits || thread->uses);
    assert_int_equal(thread->result, -EAGAIN);
}

/* ---- what nobody uses is had ---- */

/* A hold that no thread uses goes to who asks for it, for the four messages of a hand-off, and
 * as far down as it must. */
static void test_what_is_idle_is_had(void **state)
{
    for (enum world_handle handle = VALUE; handle < WORLD_HANDLES; handle++) {
        for (hf_mode mode = HF_SHARED; mode <= HF_EXCLUSIVE; mode++) {
            struct world world;
            begin(&world, 2, handle);
            hold_idle(&world, A, handle, HF_EXCLUSIVE);
            world_forget(&world);
            struct world_thread b = world_thread(&world, B, handle);
            assert_false(thread_acquire_nowait(&b, mode));
            world_settle(&world);
            assert_true(b.uses);
            assert_int_equal(world.said_count, 4);
            assert_int_equal(world_last(&world, A, WIRE_RECALL)->waiting, 0);
            assert_int_equal(world_view(&world, A, handle).mode,
                             mode == HF_SHARED ? HF_SHARED : HF_INVALID);
            thread_release(&b);
            world_end(&world);
        }
    }
}

/* Readers do not exclude a reader: a writer's hold with readers in it comes down to SHARED. */
static void test_readers_let_a_reader_in(void **state)
{
    struct world world;
    begin(&world, 2, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_downgrade(&a);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_EXCLUSIVE);
    thread_acquire_nowait(&b, HF_SHARED);
    world_settle(&world);
    assert_true(a.uses && b.uses);
    thread_release(&a);
    thread_release(&b);
    world_end(&world);
}

/* An upgrade without waiting, of a handle that others hold and do not use. */
static void test_an_upgrade_over_idle_holders(void **state)
{
    struct world world;
    begin(&world, 3, VALUE);
    hold_idle(&world, B, VALUE, HF_SHARED);
    hold_idle(&world, C, VALUE, HF_SHARED);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_SHARED);
    assert_false(thread_upgrade_nowait(&a));
    world_settle(&world);
    assert_true(a.uses);
    assert_int_equal(a.result, HF_UNCHANGED);
    thread_release(&a);
    world_end(&world);
}

/* A client whose threads batch does not linger on what none of them uses at the moment. */
static void test_nobody_lingers_for_it(void **state)
{
    struct world world;
    begin(&world, 2, VALUE);
    hold_idle(&world, A, VALUE, HF_EXCLUSIVE);
    world.clients[A].core.quantum_ns = 200000;
    world_hold(&world, A, VALUE)->eager = true;
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_acquire_nowait(&b, HF_EXCLUSIVE);
    world_settle(&world);
    assert_true(b.uses);
    thread_release(&b);
    world_end(&world);
}

/* The holder vanishes before it has answered. */
static void test_a_holder_that_vanishes(void **state)
{
    struct world world;
    begin(&world, 2, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_acquire_nowait(&b, HF_EXCLUSIVE);
    world_to_server(&world, B);
    world_kill(&world, A);
    world_settle(&world);
    assert_true(b.uses);
    assert_int_equal(b.result & HF_OWNER_DIED, HF_OWNER_DIED);
    thread_release(&b);
    world_end(&world);
}

/* ---- what somebody uses is not ---- */

/* Each try asks the holder once; the holder keeps the hold, and its use of it costs as little as
 * before. */
static void test_what_is_in_use_is_refused(void **state)
{
    for (enum world_handle handle = VALUE; handle < WORLD_HANDLES; handle++) {
        struct world world;
        begin(&world, 2, handle);
        struct world_thread a = world_thread(&world, A, handle);
        struct world_thread b = world_thread(&world, B, handle);
        thread_hold(&a, HF_EXCLUSIVE);
        world_forget(&world);
        for (unsigned tries = 1; tries <= 3; tries++) {
            assert_false(thread_acquire_nowait(&b, HF_SHARED));
            world_settle(&world);
            assert_refused(&b);
            assert_int_equal(world.said_count, 4 * tries);
            assert_int_equal(world_last(&world, A, WIRE_RELEASE)->flags, WIRE_IN_USE);
            assert_false(world_view(&world, B, handle).waiting);
        }
        thread_release(&a);
        assert_true(thread_acquire(&a, HF_EXCLUSIVE));
        assert_int_equal(world.said_count, 12);
        assert_int_equal(world_view(&world, A, handle).mode, HF_EXCLUSIVE);
        thread_release(&a);
        world_end(&world);
    }
}

/* One of two holders uses it: that is enough, whichever answers first. */
static void test_one_user_of_several_holders_is_enough(void **state)
{
    for (unsigned first = A; first <= B; first++) {
        struct world world;
        begin(&world, 3, VALUE);
        struct world_thread a = world_thread(&world, A, VALUE);
        struct world_thread c = world_thread(&world, C, VALUE);
        thread_hold(&a, HF_SHARED);
        hold_idle(&world, B, VALUE, HF_SHARED);
        thread_acquire_nowait(&c, HF_EXCLUSIVE);
        world_to_server(&world, C);
        world_to_client(&world, first);
        world_to_server(&world, first);
        world_settle(&world);
        assert_refused(&c);
        assert_int_equal(world_view(&world, A, VALUE).mode, HF_SHARED);
        assert_int_equal(world_view(&world, B, VALUE).mode, HF_INVALID);
        thread_release(&a);
        world_end(&world);
    }
}

/* An upgrade with NOWAIT that another client is in the way of ends holding nothing. */
static void test_an_upgrade_that_fails_holds_nothing(void **state)
{
    for (enum world_handle handle = VALUE; handle < WORLD_HANDLES; handle++) {
        struct world world;
        begin(&world, 2, handle);
        struct world_thread a = world_thread(&world, A, handle);
        struct world_thread b = world_thread(&world, B, handle);
        thread_hold(&a, HF_SHARED);
        thread_hold(&b, HF_SHARED);
        assert_false(thread_upgrade_nowait(&a));
        world_settle(&world);
        assert_refused(&a);
        assert_int_equal(world_view(&world, A, handle).mode, HF_INVALID);
        assert_true(b.uses);
        thread_release(&b);
        world_end(&world);
    }
}

/* Who waits is before it, a NOWAIT that is being asked for included, and nobody is asked. */
static void test_it_does_not_wait_behind_others(void **state)
{
    for (int nowait = 0; nowait <= 1; nowait++) {
        struct world world;
        begin(&world, 3, VALUE);
        struct world_thread a = world_thread(&world, A, VALUE);
        struct world_thread b = world_thread(&world, B, VALUE);
        struct world_thread c = world_thread(&world, C, VALUE);
        thread_hold(&a, HF_EXCLUSIVE);
        assert_false(nowait ? thread_acquire_nowait(&b, HF_SHARED) : thread_acquire(&b, HF_SHARED));
        world_to_server(&world, B);
        world_forget(&world);
        thread_acquire_nowait(&c, HF_SHARED);
        world_to_server(&world, C);
        world_to_client(&world, C);
        assert_refused(&c);
        assert_int_equal(world.said_count, 2);
        thread_release(&a);
        world_settle(&world);
        assert_true(b.uses);
        thread_release(&b);
        world_end(&world);
    }
}

/* ---- answers, and what is none ---- */

/* A request behind a NOWAIT waits for the answer, and is then recalled for: of two RECALLs of a
 * hold one is never under way with the other. */
static void test_who_comes_behind_it_is_served(void **state)
{
    struct world world;
    begin(&world, 3, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    struct world_thread c = world_thread(&world, C, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    world_forget(&world);
    thread_acquire_nowait(&b, HF_SHARED);
    world_to_server(&world, B);
    assert_false(thread_acquire(&c, HF_EXCLUSIVE));
    world_to_server(&world, C);
    assert_int_equal(world_count_of(&world, A, WIRE_RECALL), 1);
    world_settle(&world);
    assert_refused(&b);
    assert_int_equal(world_count_of(&world, A, WIRE_RECALL), 2);
    assert_int_equal(world_last(&world, A, WIRE_RECALL)->mode, HF_INVALID);
    assert_int_equal(world_last(&world, A, WIRE_RECALL)->waiting, 1);
    thread_release(&a);
    world_settle(&world);
    assert_true(c.uses);
    thread_release(&c);
    world_end(&world);
}

/* A value that is published as the question comes says nothing of whether the hold is used. */
static void test_a_publication_is_no_answer(void **state)
{
    struct world world;
    begin(&world, 2, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_acquire_nowait(&b, HF_EXCLUSIVE);
    world_to_server(&world, B); /* the RECALL is under way */
    thread_set(&a, "published");
    thread_publish(&a);
    world_to_server(&world, A);
    assert_true(b.waits);
    thread_release(&a);
    world_settle(&world);
    assert_true(b.uses);
    assert_true(thread_sees(&b, "published"));
    thread_release(&b);
    world_end(&world);
}

/* "In use" that was meant for a NOWAIT which has given up does not refuse the next one: by then
 * nobody uses the handle. */
static void test_an_answer_is_for_one_question(void **state)
{
    struct world world;
    begin(&world, 3, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    struct world_thread c = world_thread(&world, C, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    world_forget(&world);
    thread_acquire_nowait(&b, HF_EXCLUSIVE);
    world_to_server(&world, B);
    world_to_client(&world, A); /* "in use" is under way */
    thread_give_up(&b, -ETIMEDOUT);
    world_to_server(&world, B);
    thread_release(&a);
    thread_acquire_nowait(&c, HF_EXCLUSIVE);
    world_to_server(&world, C);
    assert_int_equal(world_count_of(&world, A, WIRE_RECALL), 1); /* it has yet to answer that */
    world_settle(&world);
    assert_true(c.uses);
    assert_int_equal(world_count_of(&world, A, WIRE_RECALL), 2);
    thread_release(&c);
    world_end(&world);
}

/* A client that asks and vanishes leaves nothing behind but the hold as it was. */
static void test_an_asker_that_vanishes(void **state)
{
    struct world world;
    begin(&world, 3, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    struct world_thread c = world_thread(&world, C, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_acquire_nowait(&b, HF_SHARED);
    world_to_server(&world, B);
    world_kill(&world, B);
    assert_false(thread_acquire(&c, HF_SHARED));
    world_settle(&world);
    assert_true(a.uses && c.waits);
    thread_release(&a);
    world_settle(&world);
    assert_true(c.uses);
    thread_release(&c);
    world_end(&world);
}

/* What the holder sends as the question comes answers it, if it is lower or asks for more. */
static void test_what_crosses_the_question(void **state)
{
    for (int upgrades = 0; upgrades <= 1; upgrades++) {
        struct world world;
        begin(&world, 2, LOCK);
        struct world_thread a = world_thread(&world, A, LOCK);
        struct world_thread b = world_thread(&world, B, LOCK);
        thread_hold(&a, HF_SHARED);
        world_forget(&world);
        thread_acquire_nowait(&b, HF_EXCLUSIVE);
        world_to_server(&world, B); /* the RECALL is under way */
        if (upgrades) {
            assert_false(thread_upgrade(&a));
        } else {
            thread_release(&a);
            sync_hold_yield(&world.clients[A].core, world_hold(&world, A, LOCK), HF_INVALID, 0);
        }
        world_settle(&world);
        assert_true(b.uses);
        assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), upgrades ? 0 : 1);
        thread_release(&b);
        world_settle(&world);
        if (upgrades) {
            assert_true(a.uses);
            thread_release(&a);
        }
        world_end(&world);
    }
}

/* A hold is recalled to SHARED and used; who waited gives up, and a NOWAIT for EXCLUSIVE asks: the
 * holder answers that, and obeys the first RECALL when its user leaves. */
static void test_a_question_on_top_of_a_recall(void **state)
{
    struct world world;
    begin(&world, 3, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    struct world_thread c = world_thread(&world, C, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    assert_false(thread_acquire(&b, HF_SHARED));
    world_settle(&world);
    thread_give_up(&b, -ECANCELED);
    world_settle(&world);
    thread_acquire_nowait(&c, HF_EXCLUSIVE);
    world_settle(&world);
    assert_refused(&c);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_EXCLUSIVE);
    thread_release(&a);
    world_settle(&world);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_SHARED);
    thread_acquire_nowait(&c, HF_EXCLUSIVE);
    world_settle(&world);
    assert_true(c.uses);
    thread_release(&c);
    world_end(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_idle_is_had),
        cmocka_unit_test(test_readers_let_a_reader_in),
        cmocka_unit_test(test_an_upgrade_over_idle_holders),
        cmocka_unit_test(test_nobody_lingers_for_it),
        cmocka_unit_test(test_a_holder_that_vanishes),
        cmocka_unit_test(test_what_is_in_use_is_refused),
        cmocka_unit_test(test_one_user_of_several_holders_is_enough),
        cmocka_unit_test(test_an_upgrade_that_fails_holds_nothing),
        cmocka_unit_test(test_it_does_not_wait_behind_others),
        cmocka_unit_test(test_who_comes_behind_it_is_served),
        cmocka_unit_test(test_a_publication_is_no_answer),
        cmocka_unit_test(test_an_answer_is_for_one_question),
        cmocka_unit_test(test_an_asker_that_vanishes),
        cmocka_unit_test(test_what_crosses_the_question),
        cmocka_unit_test(test_a_question_on_top_of_a_recall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
