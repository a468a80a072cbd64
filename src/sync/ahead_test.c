/*
 * Asking ahead: a client gets what is free before a thread needs it, and nobody else notices. The
 * real client and server cores.
 */
#include "lib/sync_world.h"
#include "lib/test.h"

#include <errno.h>

enum { A, B };

static void begin(struct world *world, enum world_handle handle)
{
    world_begin(world, 2, NULL);
    world_open_all(world, handle);
    world_forget(world);
}

/* One pair of messages, and then a thread needs none. */
static void test_what_is_free_is_had_before_it_is_needed(void **state)
{
    for (enum world_handle handle = VALUE; handle < WORLD_HANDLES; handle++) {
        struct world world;
        begin(&world, handle);
        world_ask(&world, A, handle, HF_EXCLUSIVE);
        world_settle(&world);
        assert_int_equal(world.said_count, 2);
        struct world_thread a = world_thread(&world, A, handle);
        assert_true(thread_acquire(&a, HF_EXCLUSIVE));
        assert_int_equal(a.result, HF_CHANGED); /* as ever at the first use */
        assert_int_equal(world.said_count, 2);
        thread_release(&a);
        world_end(&world);
    }
}

/* The holder keeps its hold and hears of nothing. */
static void test_nobody_is_recalled_for_it(void **state)
{
    struct world world;
    begin(&world, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&b, HF_EXCLUSIVE);
    thread_release(&b);
    world_forget(&world);
    world_ask(&world, A, VALUE, HF_SHARED);
    world_settle(&world);
    assert_int_equal(world.said_count, 2);
    assert_int_equal(world_last(&world, A, WIRE_GRANT)->reason, WIRE_REASON_WOULD_BLOCK);
    assert_int_equal(world_view(&world, B, VALUE).mode, HF_EXCLUSIVE);
    world_end(&world);
}

/* A thread that comes before the answer sends nothing if that is what it wants, and else asks for
 * itself when it is there; without waiting, too. */
static void test_a_thread_that_comes_meanwhile(void **state)
{
    static const struct {
        hf_mode ahead, wanted, held_by_other;
        unsigned acquires;
    } cases[] = {
        {HF_EXCLUSIVE, HF_EXCLUSIVE, HF_INVALID, 1},
        {HF_EXCLUSIVE, HF_SHARED, HF_INVALID, 1},
        {HF_SHARED, HF_EXCLUSIVE, HF_INVALID, 2},
        {HF_SHARED, HF_SHARED, HF_EXCLUSIVE, 2},
    };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        begin(&world, VALUE);
        if (cases[i / 2].held_by_other != HF_INVALID) {
            struct world_thread b = world_thread(&world, B, VALUE);
            thread_hold(&b, cases[i / 2].held_by_other);
            thread_release(&b);
            world_forget(&world);
        }
        struct world_thread a = world_thread(&world, A, VALUE);
        world_ask(&world, A, VALUE, cases[i / 2].ahead);
        assert_false(i % 2 == 0 ? thread_acquire(&a, cases[i / 2].wanted)
                                : thread_acquire_nowait(&a, cases[i / 2].wanted));
        world_settle(&world);
        assert_true(a.uses);
        assert_int_equal(world_count_of(&world, A, WIRE_ACQUIRE), cases[i / 2].acquires);
        thread_release(&a);
        world_end(&world);
    }
}

/* One that gives up leaves the question as it is. */
static void test_a_thread_that_gives_up_cancels_nothing(void **state)
{
    struct world world;
    begin(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    world_ask(&world, A, VALUE, HF_SHARED);
    assert_false(thread_acquire(&a, HF_SHARED));
    thread_give_up(&a, -ETIMEDOUT);
    world_settle(&world);
    assert_int_equal(world_count(&world, WIRE_CANCEL), 0);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_SHARED);
    world_end(&world);
}

/* What nobody used is given back at once, also by a client whose threads batch. */
static void test_it_is_given_back_at_once(void **state)
{
    struct world world;
    begin(&world, VALUE);
    world.clients[A].core.quantum_ns = 200000;
    world_hold(&world, A, VALUE)->eager = true; /* when it was last held */
    world_ask(&world, A, VALUE, HF_EXCLUSIVE);
    world_settle(&world);
    struct world_thread b = world_thread(&world, B, VALUE);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(&world);
    assert_true(b.uses);
    thread_release(&b);
    world_end(&world);
}

/* Closed before the answer: the handle goes when that has come, granted or denied. */
static void test_closing_before_the_answer(void **state)
{
    for (enum world_handle handle = VALUE; handle < WORLD_HANDLES; handle++) {
        for (int held = 0; held <= 1; held++) {
            struct world world;
            begin(&world, handle);
            struct world_thread b = world_thread(&world, B, handle);
            if (held) {
                thread_hold(&b, HF_EXCLUSIVE);
            }
            world_ask(&world, A, handle, HF_EXCLUSIVE);
            world_close(&world, A, handle);
            world_settle(&world);
            assert_false(world.clients[A].open[handle]);
            assert_int_equal(world_view(&world, A, handle).grant, 0);
            if (held) {
                thread_release(&b);
            }
            world_end(&world);
        }
    }
}

/* Nothing is asked for what is held, or asked for, or closed, or beyond reach. */
static void test_when_nothing_is_asked(void **state)
{
    struct world world;
    begin(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_SHARED);
    world_forget(&world);
    world_ask(&world, A, VALUE, HF_EXCLUSIVE);
    thread_release(&a);
    world_ask(&world, A, VALUE, HF_SHARED);
    assert_int_equal(world.said_count, 0);
    assert_false(thread_acquire(&a, HF_EXCLUSIVE));
    assert_int_equal(world.said_count, 1);
    world_ask(&world, A, VALUE, HF_EXCLUSIVE);
    assert_int_equal(world.said_count, 1);
    world_settle(&world);
    thread_release(&a);

    struct sync_hold *hold = world_hold(&world, B, VALUE);
    world_forget(&world);
    sync_hold_disconnect(&world.clients[B].core, hold, -ENOTCONN);
    sync_hold_ask(&world.clients[B].core, hold, HF_SHARED);
    assert_int_equal(world.said_count, 0);
    world_kill(&world, B);
    world_settle(&world);
    world_end(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_free_is_had_before_it_is_needed),
        cmocka_unit_test(test_nobody_is_recalled_for_it),
        cmocka_unit_test(test_a_thread_that_comes_meanwhile),
        cmocka_unit_test(test_a_thread_that_gives_up_cancels_nothing),
        cmocka_unit_test(test_it_is_given_back_at_once),
        cmocka_unit_test(test_closing_before_the_answer),
        cmocka_unit_test(test_when_nothing_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
