/*
 * One client's side: its threads among themselves, the value it changes, what it makes of a
 * server that breaks the protocol, and the end of the connection.
 */
#include "lib/sync_world.h"
#include "lib/test.h"

#include <errno.h>
#include <string.h>

enum { A, B };

/* ---- threads of one client ---- */

/* What a client holds, any thread gets again without a message: readers share, in any number,
 * and after EXCLUSIVE also SHARED. */
static void test_local_reacquire_sends_nothing(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = world_thread(&world, A, VALUE);
    }
    thread_hold(&threads[0], HF_EXCLUSIVE);
    thread_release(&threads[0]);
    world_forget(&world);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++) {
            assert_true(thread_acquire(&threads[i], HF_SHARED));
            assert_int_equal(threads[i].result, HF_UNCHANGED);
        }
        for (int i = 0; i < 4; i++) {
            thread_release(&threads[i]);
        }
        assert_true(thread_acquire(&threads[round % 4], HF_EXCLUSIVE));
        thread_release(&threads[round % 4]);
    }
    assert_int_equal(world.said_count, 0);
    world_end(&world);
}

/* A writer excludes readers and writers, readers exclude a writer, and who waits is served in
 * order: two readers that came together go together, a reader does not overtake a writer. */
static void test_threads_are_served_in_order(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    const hf_mode modes[] = {
        HF_EXCLUSIVE, HF_SHARED, HF_SHARED, HF_EXCLUSIVE, HF_SHARED, HF_EXCLUSIVE, HF_EXCLUSIVE};
    const int turn_of[] = {0, 1, 1, 2, 3, 4, 5};
    struct world_thread threads[7];
    for (int i = 0; i < 7; i++) {
        threads[i] = world_thread(&world, A, VALUE);
        assert_int_equal(thread_acquire(&threads[i], modes[i]), false);
        world_settle(&world); /* the first one gets it here */
    }
    world_forget(&world);
    for (int turn = 0; turn < 6; turn++) {
        for (int i = 0; i < 7; i++) {
            assert_int_equal(threads[i].uses, turn_of[i] == turn);
        }
        for (int i = 0; i < 7; i++) {
            if (threads[i].uses && turn_of[i] == turn) {
                thread_release(&threads[i]);
            }
        }
    }
    assert_int_equal(world.said_count, 0);
    world_end(&world);
}

/* A thread that does not want to wait is refused by threads in its way, and by those who came
 * before it, with -EAGAIN and without a message. */
static void test_nowait_gives_way_to_threads_silently(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread user = world_thread(&world, A, VALUE);
    struct world_thread other = world_thread(&world, A, VALUE);
    struct world_thread waiter = world_thread(&world, A, VALUE);
    thread_hold(&user, HF_EXCLUSIVE);
    world_forget(&world);
    assert_false(thread_acquire_nowait(&other, HF_SHARED));
    assert_int_equal(other.result, -EAGAIN);
    assert_false(thread_acquire_nowait(&other, HF_EXCLUSIVE));
    assert_int_equal(other.result, -EAGAIN);
    thread_downgrade(&user);
    assert_false(thread_acquire_nowait(&other, HF_EXCLUSIVE));
    assert_int_equal(other.result, -EAGAIN);
    assert_true(thread_acquire_nowait(&other, HF_SHARED));

    assert_false(thread_upgrade_nowait(&other));
    assert_int_equal(other.result, -EAGAIN);
    assert_false(other.uses);
    assert_false(thread_acquire(&waiter, HF_EXCLUSIVE));
    assert_false(thread_acquire_nowait(&other, HF_SHARED));
    assert_int_equal(other.result, -EAGAIN);
    assert_int_equal(world.said_count, 0);
    thread_release(&user);
    assert_true(waiter.uses);
    thread_release(&waiter);
    world_end(&world);
}

/* Two threads of one client upgrade: one goes first, unchanged; the other is told, as a thread
 * of its own process may have written. */
static void test_upgrade_hears_of_local_writers(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread first = world_thread(&world, A, VALUE);
    struct world_thread second = world_thread(&world, A, VALUE);
    thread_hold(&first, HF_EXCLUSIVE);
    thread_downgrade(&first);
    assert_true(thread_acquire(&second, HF_SHARED));
    assert_false(thread_upgrade(&first));
    assert_true(first.waits);
    assert_false(thread_upgrade(&second));
    assert_true(first.uses);
    assert_int_equal(first.result, HF_UNCHANGED);
    thread_release(&first);
    assert_true(second.uses);
    assert_int_equal(second.result, HF_CHANGED);

    /* And nobody wrote in between: not told, with and without the help of the server. */
    thread_downgrade(&second);
    world_forget(&world);
    assert_true(thread_upgrade(&second));
    assert_int_equal(second.result, HF_UNCHANGED);
    assert_int_equal(world.said_count, 0);
    thread_release(&second);
    sync_hold_yield(&world.clients[A].core, world_hold(&world, A, VALUE), HF_SHARED, 0);
    world_settle(&world);
    assert_true(thread_acquire(&second, HF_SHARED));
    assert_false(thread_upgrade(&second));
    world_settle(&world);
    assert_true(second.uses);
    assert_int_equal(second.result, HF_UNCHANGED);
    thread_release(&second);
    world_end(&world);
}

/* A thread that merely waited for another thread to write is told nothing: for it only what
 * other clients did is news. */
static void test_acquire_hears_of_other_clients_only(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread threads[3];
    for (int i = 0; i < 3; i++) {
        threads[i] = world_thread(&world, A, VALUE);
    }
    thread_hold(&threads[0], HF_EXCLUSIVE);
    assert_false(thread_acquire(&threads[1], HF_EXCLUSIVE));
    assert_false(thread_acquire(&threads[2], HF_SHARED));
    thread_release(&threads[0]);
    assert_int_equal(threads[1].result, HF_UNCHANGED);
    thread_release(&threads[1]);
    assert_true(threads[2].uses);
    assert_int_equal(threads[2].result, HF_UNCHANGED);
    thread_release(&threads[2]);
    world_end(&world);
}

/* A writer that queued before the upgrader goes first, and the upgrader hears of it. */
static void test_upgrader_queues_behind_a_writer(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, LOCK);
    struct world_thread reader = world_thread(&world, A, LOCK);
    struct world_thread writer = world_thread(&world, A, LOCK);
    thread_hold(&reader, HF_SHARED);
    assert_false(thread_acquire(&writer, HF_EXCLUSIVE));
    assert_false(thread_upgrade(&reader));
    world_settle(&world);
    assert_true(writer.uses);
    assert_true(reader.waits);
    thread_release(&writer);
    assert_true(reader.uses);
    assert_int_equal(reader.result, HF_CHANGED);
    thread_release(&reader);
    world_end(&world);
}

/* After a downgrade readers come in and writers stay out, of this client and of others. */
static void test_downgrade_keeps_writers_out(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread user = world_thread(&world, A, VALUE);
    struct world_thread local = world_thread(&world, A, VALUE);
    struct world_thread remote = world_thread(&world, B, VALUE);
    thread_hold(&user, HF_EXCLUSIVE);
    assert_false(thread_acquire(&remote, HF_EXCLUSIVE));
    assert_false(thread_acquire(&local, HF_EXCLUSIVE));
    world_settle(&world);
    thread_downgrade(&user);
    world_settle(&world);
    assert_true(user.uses);
    assert_false(local.uses || remote.uses);
    thread_release(&user);
    world_settle(&world);
    assert_true(remote.uses);
    assert_true(local.waits);
    thread_release(&remote);
    world_settle(&world);
    assert_true(local.uses);
    thread_release(&local);
    world_end(&world);
}

/* A thread that gives up when it has been served already keeps what it got. */
static void test_giving_up_too_late_changes_nothing(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    world_forget(&world);
    thread_give_up(&a, -ETIMEDOUT);
    assert_true(a.uses);
    assert_int_equal(a.waiter.state, SYNC_WAITER_GRANTED);
    assert_int_equal(world.said_count, 0);
    thread_release(&a);
    world_end(&world);
}

/* ---- the value ---- */

/* A value that was set is published when its thread leaves: one message, and the hold stays. */
static void test_release_publishes_in_one_message(void **state)
{
    struct world world;
    world_begin(&world, 2, NULL);
    world_open_all(&world, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    world_forget(&world);
    thread_set(&a, "first");
    thread_set(&a, "second");
    assert_int_equal(world.said_count, 0);
    thread_release(&a);
    assert_int_equal(world.said_count, 1);
    const struct wire_message *message = world_last(&world, A, WIRE_RELEASE);
    assert_int_equal(message->mode, HF_EXCLUSIVE);
    assert_int_equal(message->flags, WIRE_VALUE);
    assert_int_equal(message->data_size, strlen("second"));

    /* Nothing was set since, so there is nothing to send. */
    assert_true(thread_acquire(&a, HF_EXCLUSIVE));
    thread_release(&a);
    assert_int_equal(world.said_count, 1);
    world_settle(&world);
    world_end(&world);
}

/* The RELEASE that obeys a RECALL carries the value along: still one message. */
static void test_obeying_a_recall_publishes_in_the_same_message(void **state)
{
    for (hf_mode wanted = HF_SHARED; wanted <= HF_EXCLUSIVE; wanted++) {
        struct world world;
        world_begin(&world, 2, NULL);
        world_open_all(&world, VALUE);
        struct world_thread a = world_thread(&world, A, VALUE);
        struct world_thread b = world_thread(&world, B, VALUE);
        thread_hold(&a, HF_EXCLUSIVE);
        thread_set(&a, "along");
        assert_false(thread_acquire(&b, wanted));
        world_settle(&world);
        world_forget(&world);
        thread_release(&a);
        assert_int_equal(world_count_of(&world, A, WIRE_RELEASE), 1);
        const struct wire_message *message = world_last(&world, A, WIRE_RELEASE);
        assert_int_equal(message->mode, wanted == HF_SHARED ? HF_SHARED : HF_INVALID);
        assert_int_equal(message->flags, WIRE_VALUE);
        world_settle(&world);
        assert_true(thread_sees(&b, "along"));
        thread_release(&b);
        world_end(&world);
    }
}

/* Downgrade and publish send the value that was set, once, and the use goes on. */
static void test_downgrade_and_publish_send_the_value(void **state)
{
    for (int downgrades = 0; downgrades < 2; downgrades++) {
        struct world world;
        world_begin(&world, 2, NULL);
        world_open_all(&world, VALUE);
        struct world_thread a = world_thread(&world, A, VALUE);
        thread_hold(&a, HF_EXCLUSIVE);
        world_forget(&world);
        thread_publish(&a);
        assert_int_equal(world.said_count, 0);
        thread_set(&a, "now");
        if (downgrades) {
            thread_downgrade(&a);
        } else {
            thread_publish(&a);
            thread_publish(&a);
        }
        assert_int_equal(world.said_count, 1);
        assert_int_equal(world_last(&world, A, WIRE_RELEASE)->mode, HF_EXCLUSIVE);
        assert_int_equal(world_last(&world, A, WIRE_RELEASE)->data_size, 3);
        assert_true(a.uses);
        thread_release(&a);
        assert_int_equal(world.said_count, 1);
        world_end(&world);
    }
}

/* ---- giving back ---- */

/* A hold is given back when no thread is in the way, and not from under anybody. */
static void test_yield_gives_way_to_threads(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct sync_client *core = &world.clients[A].core;
    struct sync_hold *hold = world_hold(&world, A, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    assert_int_equal(sync_hold_yield(core, hold, HF_INVALID, 0), 0);
    thread_hold(&a, HF_EXCLUSIVE);
    assert_int_equal(sync_hold_yield(core, hold, HF_SHARED, 0), -EBUSY);
    thread_downgrade(&a);
    assert_int_equal(sync_hold_yield(core, hold, HF_INVALID, 0), -EBUSY);
    assert_int_equal(sync_hold_yield(core, hold, HF_SHARED, 0), 0);
    world_settle(&world);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_SHARED);
    thread_release(&a);
    assert_int_equal(sync_hold_yield(core, hold, HF_INVALID, 0), 0);
    world_settle(&world);
    assert_int_equal(world_view(&world, A, VALUE).mode, HF_INVALID);
    world_end(&world);
}

/* A handle closed while a canceled request is still to be answered goes when the answer comes,
 * whichever it is; opened again before that, it works. */
static void test_close_waits_for_the_answer_to_a_cancel(void **state)
{
    for (int granted = 0; granted < 2; granted++) {
        for (int reopens = 0; reopens < 2; reopens++) {
            struct world world;
            world_begin(&world, 2, NULL);
            world_open_all(&world, LOCK);
            struct world_thread a = world_thread(&world, A, LOCK);
            struct world_thread b = world_thread(&world, B, LOCK);
            if (!granted) {
                thread_hold(&b, HF_EXCLUSIVE);
            }
            assert_false(thread_acquire(&a, HF_SHARED));
            world_to_server(&world, A);
            thread_give_up(&a, -ECANCELED);
            world_close(&world, A, LOCK);
            assert_true(world.clients[A].open[LOCK]);
            if (reopens) {
                sync_hold_reopen(world_hold(&world, A, LOCK));
            }
            world_settle(&world);
            assert_int_equal(world.clients[A].open[LOCK], reopens);
            if (!granted) {
                thread_release(&b);
            }
            if (reopens) {
                thread_hold(&a, HF_EXCLUSIVE);
                thread_release(&a);
            }
            world_end(&world);
        }
    }
}

/* ---- a server that breaks the protocol ---- */

static bool hear(struct world *world, enum world_handle handle, struct wire_message message)
{
    struct sync_hold *hold = world_hold(world, A, handle);
    message.id = hold->node.id;
    return sync_hold_input(&world->clients[A].core, hold, &message, world->now_ns);
}

/* A GRANT that answers no request, or another one, that gives another mode than was asked for,
 * that has no number, or that brings a pure lock a value, ends the connection. */
static void test_wrong_grants_are_refused(void **state)
{
    const struct wire_message wrong[] = {
        {.kind = WIRE_GRANT, .seq = 2, .grant = 9, .mode = HF_EXCLUSIVE, .version = 1},
        {.kind = WIRE_GRANT, .seq = 0, .grant = 9, .mode = HF_EXCLUSIVE, .version = 1},
        {.kind = WIRE_GRANT, .seq = 2, .flags = WIRE_DENIED, .reason = WIRE_REASON_NO_MEMORY},
        {.kind = WIRE_GRANT, .seq = 1, .flags = WIRE_DENIED, .reason = WIRE_REASON_NONE},
        {.kind = WIRE_GRANT, .seq = 1, .grant = 0, .mode = HF_EXCLUSIVE, .version = 1},
        {.kind = WIRE_GRANT, .seq = 1, .grant = 9, .mode = HF_SHARED, .version = 1},
        {.kind = WIRE_GRANT, .seq = 1, .grant = 9, .mode = HF_INVALID, .version = 1},
        {.kind = WIRE_GRANT,
         .seq = 1,
         .grant = 9,
         .mode = HF_EXCLUSIVE,
         .version = 1,
         .flags = WIRE_VALUE},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct world world;
        world_begin(&world, 1, NULL);
        world_open(&world, A, LOCK);
        assert_false(hear(&world, LOCK, wrong[i])); /* nothing was asked for */
        world_check(&world);

        struct world_thread a = world_thread(&world, A, LOCK);
        assert_false(thread_acquire(&a, HF_EXCLUSIVE));
        if (hear(&world, LOCK, wrong[i])) {
            fail_msg("wrong GRANT %zu was taken", i);
        }
        struct sync_hold *hold = world_hold(&world, A, LOCK);
        sync_hold_disconnect(&world.clients[A].core, hold, -EPROTO);
        sync_hold_check(hold);
        assert_int_equal(a.result, -EPROTO);
        assert_false(a.uses || a.waits);
        world_kill(&world, A);
        world_end(&world);
    }
}

/* A reference that was asked for is no reason to give more. */
static void test_grant_for_a_reference_gives_no_mode(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world.clients[A].open[VALUE] = true;
    struct sync_hold *hold = world_hold(&world, A, VALUE);
    sync_hold_init(hold, (hf_id){7, 100}, false);
    struct world_thread a = world_thread(&world, A, VALUE);
    sync_hold_reference(&world.clients[A].core, hold, &a.waiter);
    const struct wire_message grant = {
        .kind = WIRE_GRANT, .seq = hold->seq, .grant = 9, .mode = HF_SHARED, .version = 1};
    assert_false(hear(&world, VALUE, grant));
    sync_hold_disconnect(&world.clients[A].core, hold, -EPROTO);
    assert_int_equal(a.waiter.result, -EPROTO);
    world_kill(&world, A);
    world_end(&world);
}

/* A RECALL to the mode one has, to a higher one, with another grant, or twice, does nothing. */
static void test_pointless_recalls_are_ignored(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    assert_true(hear(&world, VALUE, (struct wire_message){.kind = WIRE_RECALL}));
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_SHARED);
    world_forget(&world);
    const uint64_t grant = world_hold(&world, A, VALUE)->grant;
    const struct wire_message recalls[] = {
        {.kind = WIRE_RECALL, .grant = grant, .mode = HF_SHARED},
        {.kind = WIRE_RECALL, .grant = grant, .mode = HF_EXCLUSIVE},
        {.kind = WIRE_RECALL, .grant = grant - 1, .mode = HF_INVALID},
        {.kind = WIRE_RECALL, .grant = grant + 1, .mode = HF_INVALID},
    };
    for (size_t i = 0; i < sizeof(recalls) / sizeof(recalls[0]); i++) {
        assert_true(hear(&world, VALUE, recalls[i]));
        world_check(&world);
    }
    thread_release(&a);
    assert_int_equal(world.said_count, 0);

    assert_true(thread_acquire(&a, HF_SHARED));
    for (int i = 0; i < 2; i++) {
        const struct wire_message recall = {.kind = WIRE_RECALL, .grant = grant, .waiting = 1};
        assert_true(hear(&world, VALUE, recall));
    }
    thread_release(&a);
    assert_int_equal(world.said_count, 1);
    world_end(&world);
}

/* A RECALL that asks for less than the one before does not take that back. */
static void test_recalls_only_go_down(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread a = world_thread(&world, A, VALUE);
    thread_hold(&a, HF_EXCLUSIVE);
    const uint64_t grant = world_hold(&world, A, VALUE)->grant;
    const hf_mode asked[] = {HF_INVALID, HF_SHARED};
    for (int i = 0; i < 2; i++) {
        const struct wire_message recall = {
            .kind = WIRE_RECALL, .grant = grant, .mode = (uint8_t)asked[i], .waiting = 1};
        assert_true(hear(&world, VALUE, recall));
        world_check(&world);
    }
    thread_release(&a);
    assert_int_equal(world_last(&world, A, WIRE_RELEASE)->mode, HF_INVALID);
    world_settle(&world);
    world_end(&world);
}

/* ---- the end of the connection ---- */

/* Waiters fail with the error, users find out when they leave, nothing more is sent, and the
 * handle closes. */
static void test_disconnect_ends_every_wait(void **state)
{
    for (hf_mode used = HF_SHARED; used <= HF_EXCLUSIVE; used++) {
        struct world world;
        world_begin(&world, 1, NULL);
        world_open(&world, A, VALUE);
        struct world_thread user = world_thread(&world, A, VALUE);
        struct world_thread waiters[3];
        thread_hold(&user, used);
        if (used == HF_EXCLUSIVE) {
            thread_set(&user, "lost");
        }
        for (int i = 0; i < 3; i++) {
            waiters[i] = world_thread(&world, A, VALUE);
            assert_false(thread_acquire(&waiters[i], HF_EXCLUSIVE));
        }
        world_forget(&world);
        struct sync_hold *hold = world_hold(&world, A, VALUE);
        sync_hold_disconnect(&world.clients[A].core, hold, -ECONNRESET);
        sync_hold_check(hold);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(waiters[i].result, -ECONNRESET);
            assert_int_equal(waiters[i].wakes, 1);
            assert_false(waiters[i].uses || waiters[i].waits);
        }

        assert_true((atomic_load(&hold->word) & SYNC_DEAD) != 0);
        assert_false(thread_acquire(&waiters[0], HF_SHARED));
        assert_int_equal(waiters[0].result, -ENOTCONN);
        if (used == HF_EXCLUSIVE) {
            thread_publish(&user);
            thread_downgrade(&user);
        }
        assert_false(thread_upgrade(&user));
        assert_int_equal(user.result, -ENOTCONN);
        assert_int_equal(atomic_load(&hold->word) & (SYNC_READERS | SYNC_WRITER | SYNC_DIRTY), 0);
        assert_int_equal(sync_hold_yield(&world.clients[A].core, hold, HF_INVALID, 0), 0);
        sync_hold_close(&world.clients[A].core, hold);
        assert_true(sync_hold_is_done(hold));
        assert_int_equal(world.said_count, 0);
        world_kill(&world, A);
        world_end(&world);
    }
}

/* The last user of a dead hold leaves: a value that was set is dropped, not sent. */
static void test_users_leave_a_dead_hold(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread user = world_thread(&world, A, VALUE);
    thread_hold(&user, HF_EXCLUSIVE);
    thread_set(&user, "lost");
    world_forget(&world);
    struct sync_hold *hold = world_hold(&world, A, VALUE);
    sync_hold_disconnect(&world.clients[A].core, hold, -ECONNRESET);
    thread_release(&user);
    assert_int_equal(atomic_load(&hold->word) & (SYNC_WRITER | SYNC_DIRTY), 0);
    assert_int_equal(world.said_count, 0);
    world_kill(&world, A);
    world_end(&world);
}

/* In the child after a fork nobody uses the hold and nothing of it is at the (new) server; its
 * next user is told that things may have changed, and the epoch has moved. */
static void test_reset_starts_anew(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, LOCK);
    struct world_thread user = world_thread(&world, A, LOCK);
    struct world_thread waiter = world_thread(&world, A, LOCK);
    thread_hold(&user, HF_EXCLUSIVE);
    assert_false(thread_acquire(&waiter, HF_SHARED));
    struct sync_hold *hold = world_hold(&world, A, LOCK);
    const uint64_t epoch = hold->epoch;
    sync_peer_leave(&world.server, &world.clients[A].peer, true);
    sync_hold_reset(hold);
    sync_hold_check(hold);
    assert_true(hold->epoch > epoch);

    struct world_thread child = world_thread(&world, A, LOCK);
    thread_hold(&child, HF_SHARED);
    assert_int_equal(child.result, HF_CHANGED);
    thread_release(&child);
    world_end(&world);
}

/* The value that the child remembers is dropped when the server has none any more. */
static void test_remembered_value_is_dropped_with_the_servers(void **state)
{
    struct world world;
    world_begin(&world, 1, NULL);
    world_open(&world, A, VALUE);
    struct world_thread user = world_thread(&world, A, VALUE);
    thread_hold(&user, HF_EXCLUSIVE);
    thread_set(&user, "of the parent");
    thread_release(&user);
    world_settle(&world);
    sync_peer_leave(&world.server, &world.clients[A].peer, true);
    sync_hold_reset(world_hold(&world, A, VALUE));

    thread_hold(&user, HF_SHARED);
    assert_int_equal(user.result, HF_CHANGED);
    assert_true(thread_sees(&user, ""));
    thread_release(&user);
    world_end(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_reacquire_sends_nothing),
        cmocka_unit_test(test_threads_are_served_in_order),
        cmocka_unit_test(test_nowait_gives_way_to_threads_silently),
        cmocka_unit_test(test_upgrade_hears_of_local_writers),
        cmocka_unit_test(test_acquire_hears_of_other_clients_only),
        cmocka_unit_test(test_upgrader_queues_behind_a_writer),
        cmocka_unit_test(test_downgrade_keeps_writers_out),
        cmocka_unit_test(test_giving_up_too_late_changes_nothing),
        cmocka_unit_test(test_release_publishes_in_one_message),
        cmocka_unit_test(test_obeying_a_recall_publishes_in_the_same_message),
        cmocka_unit_test(test_downgrade_and_publish_send_the_value),
        cmocka_unit_test(test_yield_gives_way_to_threads),
        cmocka_unit_test(test_close_waits_for_the_answer_to_a_cancel),
        cmocka_unit_test(test_wrong_grants_are_refused),
        cmocka_unit_test(test_grant_for_a_reference_gives_no_mode),
        cmocka_unit_test(test_pointless_recalls_are_ignored),
        cmocka_unit_test(test_recalls_only_go_down),
        cmocka_unit_test(test_disconnect_ends_every_wait),
        cmocka_unit_test(test_users_leave_a_dead_hold),
        cmocka_unit_test(test_reset_starts_anew),
        cmocka_unit_test(test_remembered_value_is_dropped_with_the_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
