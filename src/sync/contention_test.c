/*
 * Clients that want the same handle, and clients that die: the real client and server cores.
 */
#include "lib/sync_world.h"
#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { A, B, C, D };

/* ---- upgrades ---- */

/* Two shared holders both upgrade: neither deadlocks, exactly one goes first, and the other is
 * told that the value changed. */
static void test_two_upgraders_take_turns(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_SHARED);
    thread_hold(&b, HF_SHARED);

    assert_false(thread_upgrade(&a));
    assert_false(thread_upgrade(&b));
    world_settle(&world);
    assert_true(a.uses);
    assert_int_equal(a.result, HF_UNCHANGED);
    assert_true(b.waits);
    thread_set(&a, "by a");
    thread_release(&a);
    world_settle(&world);
    assert_true(b.uses);
    assert_int_equal(b.result, HF_CHANGED);
    assert_true(thread_sees(&b, "by a"));
    thread_release(&b);
    world_end(&world);
}

/* One run of two upgraders with messages delivered and threads going on in an order that the
 * dice choose; sometimes a third client reads in between. */
static void race_upgraders(struct world *world, uint64_t *dice)
{
    struct world_thread upgraders[2] = {
        world_thread(world, A, VALUE),
        world_thread(world, B, VALUE),
    };
    struct world_thread bystander = world_thread(world, C, VALUE);
    thread_hold(&upgraders[0], HF_SHARED);
    thread_hold(&upgraders[1], HF_SHARED);
    bool upgrades[2] = {false, false};
    bool done[2] = {false, false};
    unsigned unchanged = 0;
    unsigned turns = 0;
    const char *const written[] = {"by a", "by b"};
    unsigned last = 0;
    if (world_roll(dice, 2) == 0) {
        thread_acquire(&bystander, HF_SHARED);
    }

    for (unsigned steps = 0; !done[0] || !done[1]; steps++) {
        assert_true(steps < 1000);
        unsigned i = world_roll(dice, 2);
        if (world_roll(dice, 3) > 0) {
            world_step(world, dice);
        } else if (bystander.uses && world_roll(dice, 2) == 0) {
            thread_release(&bystander);
        } else if (!upgrades[i]) {
            upgrades[i] = true;
            thread_upgrade(&upgraders[i]);
        } else if (upgraders[i].uses && !done[i]) {
            assert_false(upgraders[1 - i].uses);
            if (turns++ > 0) {
                assert_int_equal(upgraders[i].result, HF_CHANGED);
                assert_true(thread_sees(&upgraders[i], written[last]));
            }
            unchanged += upgraders[i].result == HF_UNCHANGED;
            thread_set(&upgraders[i], written[i]);
            thread_release(&upgraders[i]);
            last = i;
            done[i] = true;
        }
    }
    assert_int_equal(turns, 2);
    assert_int_equal(unchanged, 1);

    world_settle(world);
    if (bystander.uses) {
        thread_release(&bystander);
        world_settle(world);
    }
    assert_false(bystander.waits);
}

/* The same 100,000 times, each with another interleaving of messages and threads. */
static void test_two_upgraders_take_turns_in_every_order(void **state)
{
    const char *variant = getenv("HF_TEST_VARIANT");
    const bool slow = variant != NULL && strcmp(variant, "plain") != 0;
    struct world world;
    world_begin(&world, 3, NULL);
    world_open_all(&world, VALUE);
    for (uint64_t seed = 0; seed < (slow ? 10000 : 100000); seed++) {
        uint64_t dice = seed;
        race_upgraders(&world, &dice);
    }
    world_end(&world);
}

/* ---- fairness ---- */

/* A reader storm does not starve a writer: six clients read without pause, yet no reader is
 * granted between the arrival of the writer's ACQUIRE and its GRANT. */
static void test_reader_storm_does_not_starve_a_writer(void **state)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t dice = seed;
        struct world world;
        world_begin(&world, 7, NULL);
        world_open_all(&world, LOCK);
        struct world_thread readers[6];
        for (unsigned i = 0; i < 6; i++) {
            readers[i] = world_thread(&world, 1 + i, LOCK);
            thread_hold(&readers[i], HF_SHARED);
        }
        struct world_thread writer = world_thread(&world, A, LOCK);
        assert_false(thread_acquire(&writer, HF_EXCLUSIVE));
        assert_true(world_to_server(&world, A));

        const uint64_t grants = world.server.counters.grants;
        for (unsigned steps = 0; world_view(&world, A, LOCK).mode != HF_EXCLUSIVE; steps++) {
            assert_true(steps < 1000); /* bounded by the queue, whatever the readers do */
            struct world_thread *reader = &readers[world_roll(&dice, 6)];
            if (reader->uses) {
                thread_release(reader);
            } else if (!reader->waits) {
                thread_acquire(reader, HF_SHARED);
            }
            world_step(&world, &dice);
        }
        assert_int_equal(world.server.counters.grants, grants + 1);

        world_settle(&world);
        thread_release(&writer);
        world_settle(&world);
        for (unsigned i = 0; i < 6; i++) {
            assert_false(readers[i].waits);
            if (readers[i].uses) {
                thread_release(&readers[i]);
            }
        }
        world_end(&world);
    }
}

/* The queue is FIFO: the readers that came before the writer go before it, together, and those
 * that came after it go after it. */
static void test_readers_ahead_go_first_and_readers_behind_last(void **state)
{
    struct world world;
    world_begin(&world, 7, NULL);
    world_open_all(&world, LOCK);
    struct world_thread holder = world_thread(&world, A, LOCK);
    thread_hold(&holder, HF_EXCLUSIVE);
    struct world_thread queued[6];
    for (unsigned i = 0; i < 6; i++) {
        queued[i] = world_thread(&world, 1 + i, LOCK);
        assert_false(thread_acquire(&queued[i], i == 3 ? HF_EXCLUSIVE : HF_SHARED));
        world_settle(&world);
    }

    thread_release(&holder);
    world_settle(&world);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(queued[i].uses, i < 3);
    }
    for (unsigned i = 0; i < 3; i++) {
        thread_release(&queued[i]);
        world_settle(&world);
    }
    for (unsigned i = 3; i < 6; i++) {
        assert_int_equal(queued[i].uses, i == 3);
    }
    thread_release(&queued[3]);
    world_settle(&world);
    assert_true(queued[4].uses && queued[5].uses);
    thread_release(&queued[4]);
    thread_release(&queued[5]);
    world_end(&world);
}

/* ---- death ---- */

/* A SHARED holder dies: its hold is gone, nobody hears of a dead owner. */
static void test_death_of_a_shared_holder(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_SHARED);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(&world);
    world_kill(&world, A);
    world_settle(&world);
    assert_true(b.uses);
    assert_int_equal(b.result & HF_OWNER_DIED, 0);
    thread_release(&b);
    world_end(&world);
}

/* An EXCLUSIVE holder dies: the next one is told, once, and finds the value that was last
 * released or published. */
static void test_death_of_an_exclusive_holder(void **state)
{
    for (int publishes = 0; publishes < 2; publishes++) {
        struct world world;
        world_begin(&world, 3, NULL);
        world_open_all(&world, VALUE);
        struct world_thread a = world_thread(&world, A, VALUE);
        struct world_thread b = world_thread(&world, B, VALUE);
        struct world_thread c = world_thread(&world, C, VALUE);
        thread_hold(&a, HF_EXCLUSIVE);
        thread_set(&a, "released");
        thread_release(&a);
        assert_true(thread_acquire(&a, HF_EXCLUSIVE));
        thread_set(&a, "published");
        if (publishes) {
            thread_publish(&a);
        }
        thread_set(&a, "never seen");
        assert_false(thread_acquire(&b, HF_SHARED));
        assert_false(thread_acquire(&c, HF_SHARED));
        world_settle(&world);
        assert_true(b.waits && c.waits);

        world_kill(&world, A);
        world_settle(&world);
        assert_int_equal(b.result, HF_CHANGED | HF_OWNER_DIED);
        assert_int_equal(c.result, HF_CHANGED);
        assert_true(thread_sees(&b, publishes ? "published" : "released"));
        assert_true(thread_sees(&c, publishes ? "published" : "released"));
        thread_release(&b);
        thread_release(&c);
        world_end(&world);
    }
}

/* Nobody waits or has the handle open when the owner dies: whoever comes first is told. */
static void test_owner_died_waits_for_the_first_to_come(void **state)
{
    for (enum world_handle handle = VALUE; handle < WORLD_HANDLES; handle++) {
        struct world world;
        world_begin(&world, 3, NULL);
        world_open(&world, A, handle);
        struct world_thread a = world_thread(&world, A, handle);
        thread_hold(&a, HF_EXCLUSIVE);
        world_kill(&world, A);
        assert_int_equal(world.server.mark_count, 1);

        world_open(&world, B, handle);
        struct world_thread b = world_thread(&world, B, handle);
        thread_hold(&b, HF_EXCLUSIVE);
        assert_int_equal(b.result & HF_OWNER_DIED, HF_OWNER_DIED);
        assert_int_equal(world.server.mark_count, 0);
        thread_release(&b);
        world_open(&world, C, handle);
        struct world_thread c = world_thread(&world, C, handle);
        thread_hold(&c, HF_EXCLUSIVE);
        assert_int_equal(c.result & HF_OWNER_DIED, 0);
        thread_release(&c);
        world_end(&world);
    }
}

/* What a GRANT said of a dead owner is not lost when it crosses a CANCEL. */
static void test_owner_died_survives_a_cancel(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, LOCK);
    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    thread_hold(&a, HF_EXCLUSIVE);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(&world);
    world_kill(&world, A); /* the GRANT is under way */
    thread_give_up(&b, -ECANCELED);
    world_settle(&world);

    world_forget(&world);
    assert_true(thread_acquire(&b, HF_EXCLUSIVE));
    assert_int_equal(b.result, HF_CHANGED | HF_OWNER_DIED);
    assert_int_equal(world.said_count, 0);
    thread_release(&b);
    assert_true(thread_acquire(&b, HF_EXCLUSIVE));
    assert_int_equal(b.result, HF_UNCHANGED);
    thread_release(&b);
    world_end(&world);
}

/* A client dies while it waits, first, in the middle, or last in the queue: its request goes,
 * the others are served in their order, and no owner has died. */
static void test_death_in_the_queue(void **state)
{
    for (unsigned victim = 1; victim <= 4; victim++) {
        struct world world;
        world_begin(&world, 5, NULL);
        world_open_all(&world, VALUE);
        struct world_thread threads[5];
        for (unsigned i = 0; i < 5; i++) {
            threads[i] = world_thread(&world, i, VALUE);
        }
        thread_hold(&threads[0], HF_EXCLUSIVE);
        for (unsigned i = 1; i < 5; i++) {
            assert_false(thread_acquire(&threads[i], HF_EXCLUSIVE));
            world_settle(&world);
        }
        world_kill(&world, victim);
        for (unsigned i = 0; i < 5; i++) {
            if (i == victim) {
                continue;
            }
            world_settle(&world);
            assert_true(threads[i].uses);
            assert_int_equal(threads[i].result & HF_OWNER_DIED, 0);
            thread_release(&threads[i]);
        }
        world_end(&world);
    }
}

/* The holder dies right after it was recalled, and with its RELEASE on the way: once it has
 * arrived, nothing was held, and nobody hears of a dead owner. */
static void test_death_behind_a_release(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(&world);
    thread_set(&a, "last words");
    thread_release(&a);
    world_kill(&world, A);
    world_settle(&world);
    assert_int_equal(b.result, HF_CHANGED);
    assert_true(thread_sees(&b, "last words"));
    thread_release(&b);
    world_end(&world);
}

/* A departure in good order marks nothing, whatever was held. */
static void test_orderly_departure_marks_nothing(void **state)
{
    struct world world;
    world_begin(&world, 3, NULL);
    world_open_all(&world, VALUE);
    world_open(&world, A, LOCK);
    struct world_thread a = world_thread(&world, A, VALUE);
    struct world_thread lock = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_hold(&lock, HF_EXCLUSIVE);
    thread_release(&a);
    thread_release(&lock);
    world_depart(&world, A);
    assert_int_equal(world.server.mark_count, 0);
    thread_hold(&b, HF_EXCLUSIVE);
    assert_int_equal(b.result & HF_OWNER_DIED, 0);
    thread_release(&b);
    world_end(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_upgraders_take_turns),
        cmocka_unit_test(test_two_upgraders_take_turns_in_every_order),
        cmocka_unit_test(test_reader_storm_does_not_starve_a_writer),
        cmocka_unit_test(test_readers_ahead_go_first_and_readers_behind_last),
        cmocka_unit_test(test_death_of_a_shared_holder),
        cmocka_unit_test(test_death_of_an_exclusive_holder),
        cmocka_unit_test(test_owner_died_waits_for_the_first_to_come),
        cmocka_unit_test(test_owner_died_survives_a_cancel),
        cmocka_unit_test(test_death_in_the_queue),
        cmocka_unit_test(test_death_behind_a_release),
        cmocka_unit_test(test_orderly_departure_marks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
