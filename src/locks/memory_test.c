/*
 * Memory that runs out, at every allocation of the server's side in turn: who asked hears of it, or is
 * cut off where that cannot be said; the tables stay consistent, and nothing leaks.
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

static void *malloc_or_fail(size_t size)
{
    return allocation_fails() ? NULL : malloc(size);
}

static void *calloc_or_fail(size_t count, size_t size)
{
    return allocation_fails() ? NULL : calloc(count, size);
}

static void *realloc_or_fail(void *memory, size_t size)
{
    return allocation_fails() ? NULL : realloc(memory, size);
}

#define malloc malloc_or_fail
#define calloc calloc_or_fail
#define realloc realloc_or_fail
#include "base/id_map.c"
#include "locks/lock.c"
#include "locks/server.c"
#include "locks/tables.c"
#include "locks/waiting.c"
#undef malloc
#undef calloc
#undef realloc

#include "lib/locks_stage.h"

#define WAIT WIRE_LOCK_WAIT
#define R LOCK_TYPE_READ
#define W LOCK_TYPE_WRITE
#define U LOCK_NONE

static struct stage stage;
static unsigned refused; /* requests with ENOMEM, and peers that were cut off for it */

/* As the owner of the server does: who is told a reason is cut off. */
static void say(int peer, const struct wire_message *message)
{
    if (stage.gone[peer]) {
        return;
    }
    enum wire_reason reason = stage_say(&stage, peer, message);
    if (reason != WIRE_REASON_NONE) {
        assert_int_equal(reason, WIRE_REASON_NO_MEMORY);
        refused++;
        stage_leave(&stage, peer);
    }
}

static void ask(int peer, uint32_t seq, int file, const struct lock *lock, uint8_t flags)
{
    uint8_t data[WIRE_OPERATION_HEAD_MAX];
    say(peer,
        &(struct wire_message){
            .kind = WIRE_LOCK,
            .seq = seq,
            .id = stage_file(file),
            .flags = flags,
            .data = data,
            .data_size = (uint32_t)stage_put(lock, "/path", data),
        });
}

static void ask_range(int peer, uint32_t seq, int file, enum lock_type type, uint64_t start,
                      uint64_t last, uint8_t flags)
{
    const struct lock lock = stage_lock(peer, type, start, last);
    ask(peer, seq, file, &lock, flags);
}

/* Whatever they were sent: the answers to what was asked, each once. */
static void read_all(void)
{
    for (int peer = 0; peer < STAGE_PEERS; peer++) {
        while (stage.sent_count[peer] > 0) {
            const struct wire_message *message = stage_next(&stage, peer);
            if (message->kind == WIRE_LOCKED && message->error == ENOMEM) {
                refused++;
            }
        }
    }
}

/* Give back all tables that were recalled, with two locks of two owners in each. */
static void return_all(void)
{
    for (int file = 1; file <= 40; file++) {
        struct locks_file *found = locks_file_find(&stage.server, stage_file(file));
        if (found == NULL || found->peer == NULL || !found->recalled) {
            continue;
        }
        int peer = (int)(found->peer - stage.peers);
        const struct lock locks[] = {stage_lock(peer, W, 0, 0), stage_lock(peer + 50, W, 1, 1)};
        uint8_t data[2 * WIRE_OPERATION_HEAD_MAX];
        struct wire_message message = {
            .kind = WIRE_LOCK_RETURN,
            .id = stage_file(file),
            .grant = found->grant,
            .data = data,
        };
        message.data_size = (uint32_t)stage_put(&locks[0], "", data);
        message.data_size += (uint32_t)stage_put(&locks[1], "", data + message.data_size);
        say(peer, &message);
    }
}

/* A life of files with a bit of everything that allocates. Return: the server could not even be
 * made. */
static bool run_script(void)
{
    if (stage_begin(&stage, NULL) != 0) {
        return true;
    }
    for (int file = 1; file <= 30; file++) { /* makes the maps grow */
        ask_range(A, 1, file, W, 0, 0, 0);
    }
    ask_range(B, 1, 1, W, 0, 0, WAIT); /* held up */
    ask_range(B, 2, 1, R, 5, 5, 0);
    say(D, &(struct wire_message){.kind = WIRE_LOCK_LIST, .seq = 9});
    return_all();
    stage.server.limits.tables = 0;
    for (uint32_t i = 0; i < 6; i++) { /* makes a table grow */
        ask_range(C, 10 + i, 40, W, i * 2, i * 2, 0);
    }
    ask_range(B, 3, 40, W, 2, 2, WAIT);
    stage.server.limits.tables = 10;
    ask_range(B, 4, 41, W, 0, 0, 0);
    ask_range(C, 2, 41, W, 0, 0, WAIT); /* a deadlock, once the table is back */
    return_all();
    read_all();
    ask_range(C, 3, 40, U, 2, 2, 0);
    ask_range(A, 5, 1, U, 0, 0, 0);
    struct lock flock = stage_lock(60, R, 0, LOCK_LAST_BYTE);
    flock.kind = LOCK_FLOCK;
    ask(A, 6, 1, &flock, 0);
    flock.type = W;
    ask(A, 7, 1, &flock, 0);
    read_all();
    stage_end(&stage);
    return false;
}

/* Each allocation of the whole script fails in turn, once, or from there on. */
static void test_server_survives_each_failed_allocation(void **state)
{
    for (int returns = 0; returns < 2; returns++) {
        memory_returns = returns != 0;
        unsigned nth = 0;
        for (bool unharmed = false; !unharmed; nth++) {
            assert_true(nth < 1000);
            allocations_left = nth;
            memory_ended = false;
            refused = 0;
            bool not_made = run_script();
            unharmed = !memory_ended;
            assert_int_equal(not_made, nth < 3);
            assert_true(!unharmed || refused == 0);
        }
        assert_true(nth > 100);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
