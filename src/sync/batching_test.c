/*
 * How long a recalled hold stays: for a use in progress and no longer, except where threads of
 * the client have shown that they are in a tight loop, and then for a bounded time.
 */
#include "lib/sync_world.h"
#include "lib/test.h"

#include <errno.h>

enum { A, B, C, D };

#define QUANTUM_NS UINT64_C(200000)
#define TURN_MIN_NS UINT64_C(100000)
#define SOON_NS UINT64_C(1000)    /* a thread in a loop is back after this */
#define LONG_NS UINT64_C(1000000) /* and one that is not, after this */
#define CHECK_NS UINT64_C(20000)  /* between two looks at whether the hold is in use */

static void begin(struct world *world, uint64_t quantum_ns)
{
    world_begin(world, 4, NULL);
    world_open_all(world, LOCK);
    world->clients[A].core.quantum_ns = quantum_ns;
}

/* Client A was recalled by B, asked again after @pause_ns, and has it; its thread has left. */
static void come_back_after(struct world *world, uint64_t pause_ns)
{
    struct world_thread a = world_thread(world, A, LOCK);
    struct world_thread b = world_thread(world, B, LOCK);
    thread_hold(&a, HF_EXCLUSIVE);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(world);
    thread_release(&a); /* obeys */
    world->now_ns += pause_ns;
    assert_false(thread_acquire(&a, HF_EXCLUSIVE));
    world_settle(world);
    assert_true(b.uses);
    thread_release(&b);
    world_settle(world);
    assert_true(a.uses);
    thread_release(&a);
    assert_int_equal(world_hold(world, A, LOCK)->eager, pause_ns < 5000);
}

/* An idle holder gives up the hold as soon as it is recalled. */
static void test_idle_holder_releases_at_once(void **state)
{
    struct world world;
    begin(&world, QUANTUM_NS);
    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    thread_hold(&a, HF_EXCLUSIVE);
    thread_release(&a);
    world_forget(&world);
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_to_server(&world, B);
    world_to_client(&world, A);
    assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 1);
    assert_int_equal(world_hold(&world, A, LOCK)->tick_ns, 0);
    world_settle(&world);
    assert_true(b.uses);
    thread_release(&b);
    world_end(&world);
}

/* So does one that was eager and has gone idle since. */
static void test_eager_holder_gone_idle_releases_at_once(void **state)
{
    struct world world;
    begin(&world, QUANTUM_NS);
    come_back_after(&world, SOON_NS);
    world.now_ns += LONG_NS;
    struct world_thread b = world_thread(&world, B, LOCK);
    thread_hold(&b, HF_EXCLUSIVE);
    thread_release(&b);
    world_end(&world);
}

/* A hold in use is given back when the use ends, not later, by a client that did not come back
 * at once the last time; and always when batching is off. */
static void test_no_lingering_unless_eager_and_allowed(void **state)
{
    for (int eager = 0; eager < 2; eager++) {
        struct world world;
        begin(&world, eager ? 0 : QUANTUM_NS);
        come_back_after(&world, eager ? SOON_NS : LONG_NS);
        struct world_thread a = world_thread(&world, A, LOCK);
        struct world_thread b = world_thread(&world, B, LOCK);
        assert_true(thread_acquire(&a, HF_EXCLUSIVE));
        assert_false(thread_acquire(&b, HF_EXCLUSIVE));
        world_settle(&world);
        assert_false(world_hold(&world, A, LOCK)->lingering);
        thread_release(&a);
        world_settle(&world);
        assert_true(b.uses);
        thread_release(&b);
        world_end(&world);
    }
}

/* Use the hold of A without a message, every microsecond until @end_ns or until it is gone.
 * Return: how often. */
static unsigned use_until(struct world *world, uint64_t end_ns)
{
    unsigned uses = 0;
    struct world_thread a = world_thread(world, A, LOCK);
    while (world->now_ns < end_ns && world_hold(world, A, LOCK)->mode == HF_EXCLUSIVE) {
        assert_true(thread_acquire(&a, HF_EXCLUSIVE));
        thread_release(&a);
        uses++;
        world_tick(world, world->now_ns + SOON_NS);
        world_settle(world);
    }
    return uses;
}

/* An eager client that is busy goes on without messages while others wait, and for no longer
 * than the quantum divided by their number, or the shortest turn. */
static void test_lingering_is_bounded_by_quantum_and_waiters(void **state)
{
    for (unsigned waiting = 1; waiting <= 3; waiting++) {
        struct world world;
        begin(&world, QUANTUM_NS);
        come_back_after(&world, SOON_NS);

        /* All of them are there when the RECALL is sent: B holds, the others queue behind A. */
        struct world_thread a = world_thread(&world, A, LOCK);
        struct world_thread others[3];
        for (unsigned i = 0; i < 3; i++) {
            others[i] = world_thread(&world, B + i, LOCK);
        }
        struct sync_hold *hold = world_hold(&world, A, LOCK);
        const struct wire_message recall = {
            .kind = WIRE_RECALL,
            .id = hold->node.id,
            .grant = hold->grant,
            .mode = HF_INVALID,
            .waiting = waiting,
        };
        assert_true(thread_acquire(&a, HF_EXCLUSIVE));
        assert_true(sync_hold_input(&world.clients[A].core, hold, &recall, world.now_ns));
        for (unsigned i = 0; i < waiting; i++) {
            assert_false(thread_acquire(&others[i], HF_EXCLUSIVE));
        }
        world_settle(&world);
        thread_release(&a);
        assert_true(hold->lingering);
        assert_int_equal(hold->waiting, waiting);

        const uint64_t begin_ns = world.now_ns;
        const uint64_t share_ns = QUANTUM_NS / waiting;
        const uint64_t bound_ns = share_ns > TURN_MIN_NS ? share_ns : TURN_MIN_NS;
        world_forget(&world);
        unsigned uses = use_until(&world, begin_ns + 10 * QUANTUM_NS);
        assert_in_range(world.now_ns - begin_ns, bound_ns, bound_ns + SOON_NS);
        assert_in_range(uses, bound_ns / SOON_NS, bound_ns / SOON_NS + 1);
        assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 1);
        assert_true(others[0].uses);
        for (unsigned i = 0; i < waiting; i++) {
            thread_release(&others[i]);
            world_settle(&world);
        }
        world_end(&world);
    }
}

/* Lingering is over as soon as a look finds that nobody used the hold since the one before. */
static void test_lingering_ends_when_idle(void **state)
{
    struct world world;
    begin(&world, QUANTUM_NS);
    come_back_after(&world, SOON_NS);
    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    assert_true(thread_acquire(&a, HF_EXCLUSIVE));
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(&world);
    const uint64_t begin_ns = world.now_ns;
    thread_release(&a);
    use_until(&world, begin_ns + CHECK_NS / 2);
    assert_true(world_hold(&world, A, LOCK)->lingering);

    world_tick(&world, begin_ns + CHECK_NS); /* it was used */
    world_settle(&world);
    assert_true(b.waits);
    world_tick(&world, begin_ns + 2 * CHECK_NS); /* it was not */
    world_settle(&world);
    assert_true(b.uses);
    assert_int_equal(world_hold(&world, A, LOCK)->tick_ns, 0);
    thread_release(&b);
    world_end(&world);
}

/* A use that lasts longer than the quantum ends the batch: who comes during it, after the
 * quantum, waits behind the other client. */
static void test_long_use_ends_the_batch(void **state)
{
    struct world world;
    begin(&world, QUANTUM_NS);
    come_back_after(&world, SOON_NS);
    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread late = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    assert_true(thread_acquire(&a, HF_EXCLUSIVE));
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(&world);
    assert_true(world_hold(&world, A, LOCK)->lingering);
    world_tick(&world, world.now_ns + 2 * QUANTUM_NS);
    assert_false(world_hold(&world, A, LOCK)->lingering);
    assert_false(thread_acquire(&late, HF_EXCLUSIVE));
    thread_release(&a);
    assert_true(late.waits);
    world_settle(&world);
    assert_true(b.uses);
    thread_release(&b);
    world_settle(&world);
    assert_true(late.uses);
    thread_release(&late);
    world_end(&world);
}

/* A second RECALL does not buy more time, and each batch starts with a RECALL of its own. */
static void test_lingering_is_not_prolonged(void **state)
{
    struct world world;
    begin(&world, QUANTUM_NS);
    come_back_after(&world, SOON_NS);
    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread reader = world_thread(&world, B, LOCK);
    struct world_thread writer = world_thread(&world, C, LOCK);
    assert_true(thread_acquire(&a, HF_EXCLUSIVE));
    assert_false(thread_acquire(&reader, HF_SHARED));
    world_settle(&world);
    struct sync_hold *hold = world_hold(&world, A, LOCK);
    const uint64_t until_ns = hold->linger_until_ns;
    assert_int_equal(hold->recalled_to, HF_SHARED);
    world.now_ns += SOON_NS;
    thread_give_up(&reader, -ECANCELED);
    assert_false(thread_acquire(&writer, HF_EXCLUSIVE));
    world_settle(&world);
    assert_int_equal(hold->recalled_to, HF_INVALID);
    assert_true(hold->lingering);
    assert_int_equal(hold->linger_until_ns, until_ns);
    thread_release(&a);
    use_until(&world, until_ns + QUANTUM_NS);
    assert_in_range(world.now_ns, until_ns, until_ns + SOON_NS);
    assert_true(writer.uses);
    thread_release(&writer);
    world_end(&world);
}

/* The connection's end takes the tick away. */
static void test_disconnect_disarms(void **state)
{
    struct world world;
    begin(&world, QUANTUM_NS);
    come_back_after(&world, SOON_NS);
    struct world_thread a = world_thread(&world, A, LOCK);
    struct world_thread b = world_thread(&world, B, LOCK);
    assert_true(thread_acquire(&a, HF_EXCLUSIVE));
    assert_false(thread_acquire(&b, HF_EXCLUSIVE));
    world_settle(&world);
    struct sync_hold *hold = world_hold(&world, A, LOCK);
    assert_int_not_equal(hold->tick_ns, 0);
    sync_hold_disconnect(&world.clients[A].core, hold, -ECONNRESET);
    assert_int_equal(hold->tick_ns, 0);
    thread_release(&a);
    world_kill(&world, A);
    world_settle(&world);
    assert_int_equal(b.result & HF_OWNER_DIED, HF_OWNER_DIED);
    thread_release(&b);
    world_end(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_holder_releases_at_once),
        cmocka_unit_test(test_eager_holder_gone_idle_releases_at_once),
        cmocka_unit_test(test_no_lingering_unless_eager_and_allowed),
        cmocka_unit_test(test_lingering_is_bounded_by_quantum_and_waiters),
        cmocka_unit_test(test_lingering_ends_when_idle),
        cmocka_unit_test(test_long_use_ends_the_batch),
        cmocka_unit_test(test_lingering_is_not_prolonged),
        cmocka_unit_test(test_disconnect_disarms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
