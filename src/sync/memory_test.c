/*
 * Memory that runs out, at every allocation in turn: the one who caused it hears of it, the
 * table stays consistent, and nothing leaks.
 */
#include <stdbool.h>
#include <stdlib.h>

/* The sources that allocate are included, so that their allocations can be made to fail. */
static unsigned allocations_left;
static bool memory_ended;
static bool memory_returns; /* after one allocation has failed */

static bool allocation_fails(void)
{
    if (allocations_left == 0) {
        const bool fails = !memory_ended || !memory_returns;
        memory_ended = true;
        return fails;
    }
    allocations_left--;
    return false;
}

static void *calloc_or_fail(size_t count, size_t size)
{
    return allocation_fails() ? NULL : calloc(count, size);
}

static void *realloc_or_fail(void *memory, size_t size)
{
    return allocation_fails() ? NULL : realloc(memory, size);
}

#define calloc calloc_or_fail
#define realloc realloc_or_fail
#include "base/id_map.c"
#include "sync/client.c"
#include "sync/table.c"
#undef calloc
#undef realloc

#include "lib/test.h"

#define UNLIMITED 1000000
#define PEERS 3

enum { A, B, C };

struct table {
    struct sync_server server;
    struct sync_peer peers[PEERS];
    bool cut_off[PEERS];
    uint32_t last_seq;
    unsigned refused; /* messages answered with NO_MEMORY, and peers cut off for it */
    unsigned answers; /* to the ACQUIRE being handled */
    struct sync_peer *asker;
};

static void take_note(void *context, struct sync_peer *peer, const struct wire_message *message)
{
    struct table *table = context;
    if (message->kind == WIRE_GRANT && peer == table->asker && message->seq == table->last_seq) {
        table->answers++;
    }
    if (message->kind == WIRE_GRANT && (message->flags & WIRE_DENIED) != 0) {
        assert_int_equal(message->reason, WIRE_REASON_NO_MEMORY);
        table->refused++;
    }
}

/* As the owner of the table does: who is told a reason is cut off. */
static void say(struct table *table, int peer, const struct wire_message *message)
{
    if (table->cut_off[peer]) {
        return;
    }
    table->answers = 0;
    table->asker = &table->peers[peer];
    enum wire_reason reason = sync_server_input(&table->server, &table->peers[peer], message);
    sync_server_check(&table->server);
    if (reason != WIRE_REASON_NONE) {
        assert_int_equal(reason, WIRE_REASON_NO_MEMORY);
        table->refused++;
        table->cut_off[peer] = true;
        sync_peer_leave(&table->server, &table->peers[peer], false);
        sync_server_check(&table->server);
    } else if (message->kind == WIRE_ACQUIRE) {
        /* Answered once, or waiting. */
        bool waits = sync_server_view(&table->server, &table->peers[peer], message->id).waiting;
        assert_int_equal(table->answers, waits ? 0 : 1);
    }
}

static const hf_id ID = {3, 3};

static void ask(struct table *table, int peer, hf_id id, hf_mode mode)
{
    const struct sync_peer_view view = sync_server_view(&table->server, &table->peers[peer], id);
    if (view.mode >= mode && view.grant != 0) {
        return;
    }
    const struct wire_message message = {
        .kind = WIRE_ACQUIRE,
        .id = id,
        .seq = ++table->last_seq,
        .mode = (uint8_t)mode,
        .flags = WIRE_REFERENCE,
    };
    say(table, peer, &message);
}

/* Give up what the peer has, with a value where that is allowed. */
static void give(struct table *table, int peer, hf_mode mode, const char *value)
{
    const struct sync_peer_view view = sync_server_view(&table->server, &table->peers[peer], ID);
    if (view.waiting || view.mode <= mode) {
        return;
    }
    struct wire_message message = {
        .kind = WIRE_RELEASE, .id = ID, .grant = view.grant, .mode = (uint8_t)mode};
    if (view.mode == HF_EXCLUSIVE && value != NULL) {
        message.flags = WIRE_VALUE;
        message.data = (const uint8_t *)value;
        message.data_size = (uint16_t)strlen(value);
    }
    say(table, peer, &message);
}

/* A life of handles with a bit of everything that allocates. Return: the table could not even
 * be made. */
static bool run_script(struct table *table)
{
    const struct sync_server_limits limits = {
        .handles = 100, .queued = 10, .value_bytes = 100, .owner_died_marks = 2};
    memset(table, 0, sizeof(*table));
    if (sync_server_init(&table->server, &limits, take_note, table) != 0) {
        return true;
    }
    const uint64_t empty_bytes = table->server.counters.bytes;
    for (int i = 0; i < PEERS; i++) {
        sync_peer_init(&table->peers[i]);
    }

    ask(table, A, ID, HF_EXCLUSIVE);
    ask(table, B, ID, HF_SHARED);
    ask(table, C, ID, HF_EXCLUSIVE);
    give(table, A, HF_SHARED, "the first value");
    give(table, A, HF_INVALID, NULL);
    give(table, B, HF_INVALID, NULL);
    give(table, C, HF_INVALID, "another value");
    for (uint64_t i = 0; i < 20; i++) { /* makes the map grow */
        ask(table, B, (hf_id){4, i}, HF_SHARED);
    }
    for (uint64_t i = 0; i < 3; i++) { /* one mark too many */
        ask(table, A, (hf_id){5, i}, HF_EXCLUSIVE);
    }
    sync_peer_leave(&table->server, &table->peers[A], false);
    sync_server_check(&table->server);
    ask(table, C, (hf_id){5, 2}, HF_SHARED); /* picks a mark up */

    for (int i = 0; i < PEERS; i++) {
        sync_peer_leave(&table->server, &table->peers[i], true);
        sync_server_check(&table->server);
        assert_int_equal(table->peers[i].hold_count, 0);
        assert_int_equal(table->peers[i].queued_count, 0);
    }
    uint64_t marks = table->server.mark_count * (sizeof(struct mark) + sizeof(struct handle));
    uint64_t grown = id_map_bytes(&table->server.handles) - empty_bytes;
    assert_int_equal(table->server.counters.bytes, empty_bytes + marks + grown);
    sync_server_deinit(&table->server);
    return false;
}

/* The server refuses the request that it has no memory for, or cuts off the peer whose value
 * it cannot keep; each allocation of a whole script fails in turn, once, or from there on. */
static void test_server_survives_each_failed_allocation(void **state)
{
    struct table table;
    for (int returns = 0; returns < 2; returns++) {
        memory_returns = returns != 0;
        unsigned nth = 0;
        for (bool unharmed = false; !unharmed; nth++) {
            assert_true(nth < 1000);
            allocations_left = nth;
            memory_ended = false;
            bool not_made = run_script(&table);
            unharmed = !memory_ended;
            assert_int_equal(not_made, nth == 0);
            assert_true(!unharmed || table.refused == 0);
        }
        assert_true(nth > 40);
    }
    memory_returns = false;
    memory_ended = false;
    allocations_left = UNLIMITED;
}

/* The peer whose value cannot be kept is cut off: the next holder finds the value before, and
 * hears that the owner died. */
static void test_value_that_cannot_be_kept(void **state)
{
    struct table table;
    allocations_left = UNLIMITED;
    memset(&table, 0, sizeof(table));
    const struct sync_server_limits limits = {.handles = 9, .queued = 9, .value_bytes = 99};
    assert_int_equal(sync_server_init(&table.server, &limits, take_note, &table), 0);
    for (int i = 0; i < PEERS; i++) {
        sync_peer_init(&table.peers[i]);
    }
    ask(&table, A, ID, HF_EXCLUSIVE);
    ask(&table, B, ID, HF_SHARED);
    give(&table, A, HF_SHARED, "before");
    give(&table, B, HF_INVALID, NULL);
    ask(&table, A, ID, HF_EXCLUSIVE);

    allocations_left = 0;
    give(&table, A, HF_INVALID, "after");
    allocations_left = UNLIMITED;
    assert_true(table.cut_off[A]);
    const struct handle *handle = handle_find(&table.server, ID);
    assert_non_null(handle);
    assert_int_equal(handle->owner_died, 1);
    assert_int_equal(handle->value->size, strlen("before"));
    assert_memory_equal(handle->value->bytes, "before", strlen("before"));
    sync_peer_leave(&table.server, &table.peers[B], true);
    sync_server_deinit(&table.server);
}

/* ---- the client ---- */

static void ignore_message(void *context, const struct wire_message *message)
{
}

static void ignore_waiter(void *context, struct sync_waiter *waiter)
{
}

static void ignore_hold(void *context, struct sync_hold *hold)
{
}

/* A value that there is no memory for is not set, and the one before stands; one that comes
 * with a GRANT ends the connection, as going on would be to go on with an old one. */
static void test_client_without_memory_for_a_value(void **state)
{
    struct sync_client client = {.send = ignore_message, .wake = ignore_waiter, .arm = ignore_hold};
    struct sync_hold hold;
    struct sync_waiter waiter = {.mode = HF_EXCLUSIVE};
    allocations_left = UNLIMITED;
    sync_hold_init(&hold, ID, false);
    sync_hold_acquire(&client, &hold, &waiter, 1);
    struct wire_message message = {
        .kind = WIRE_GRANT, .id = ID, .seq = 1, .grant = 5, .mode = HF_EXCLUSIVE, .version = 4};
    assert_true(sync_hold_input(&client, &hold, &message, 2));
    assert_int_equal(waiter.state, SYNC_WAITER_GRANTED);
    assert_int_equal(sync_hold_set_value(&hold, "one", 3), 0);
    sync_hold_publish(&client, &hold);
    allocations_left = 0;
    assert_int_equal(sync_hold_set_value(&hold, "three", 5), -ENOMEM);
    sync_hold_check(&hold);
    assert_int_equal(hold.value_size, 3);
    assert_memory_equal(hold.value, "one", 3);
    assert_int_equal(atomic_load(&hold.word) & SYNC_DIRTY, 0);
    assert_int_equal(sync_hold_set_value(&hold, "two", 3), 0); /* fits */
    sync_hold_leave_dirty(&client, &hold, 3);

    assert_int_equal(sync_hold_yield(&client, &hold, HF_INVALID, 4), 0);
    waiter = (struct sync_waiter){.mode = HF_SHARED};
    sync_hold_acquire(&client, &hold, &waiter, 5);
    message = (struct wire_message){
        .kind = WIRE_GRANT,
        .id = ID,
        .seq = 2,
        .grant = 7,
        .mode = HF_SHARED,
        .version = 6,
        .flags = WIRE_VALUE,
        .data = (const uint8_t *)"longer",
        .data_size = 6,
    };
    assert_false(sync_hold_input(&client, &hold, &message, 6));
    assert_int_equal(waiter.state, SYNC_WAITER_QUEUED);
    sync_hold_disconnect(&client, &hold, -ENOMEM);
    sync_hold_check(&hold);
    assert_int_equal(waiter.state, SYNC_WAITER_FAILED);
    assert_int_equal(waiter.result, -ENOMEM);
    sync_hold_close(&client, &hold);
    assert_true(sync_hold_is_done(&hold));
    sync_hold_deinit(&hold);
    allocations_left = UNLIMITED;
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_survives_each_failed_allocation),
        cmocka_unit_test(test_value_that_cannot_be_kept),
        cmocka_unit_test(test_client_without_memory_for_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
