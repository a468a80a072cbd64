/*
 * The server's table, spoken to in hand-made messages: limits, answers, and peers that do not
 * keep to the protocol.
 */
#include "lib/test.h"
#include "sync/server.h"
#include "sync/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A million handles may cost 160 bytes each while one client holds them: what malloc takes for
 * the two records, and the two words that the map's table has for each handle at worst. */
#define ALLOCATED(type) ((sizeof(type) + sizeof(size_t) + 15) / 16 * 16)
static_assert(ALLOCATED(struct handle) + ALLOCATED(struct hold) + 2 * sizeof(void *) <= 160,
              "a held handle costs more than 160 bytes");
static_assert(sizeof(struct handle) <= 56 && sizeof(struct hold) <= 56,
              "a record is larger than the allocation it is to fill");

#define PEERS 4
#define SAID 32

enum { A, B, C, D };

static const hf_id ID = {1, 2};

struct said {
    struct sync_peer *peer;
    struct wire_message message;
};

struct table {
    struct sync_server server;
    struct sync_peer peers[PEERS];
    struct said said[SAID]; /* what the server sent since the test last looked */
    unsigned said_count;
    uint64_t empty_bytes;
    uint32_t last_seq;
};

static void note(void *context, struct sync_peer *peer, const struct wire_message *message)
{
    struct table *table = context;
    assert_in_range(table->said_count, 0, SAID - 1);
    table->said[table->said_count++] = (struct said){peer, *message};
}

static const struct sync_server_limits wide = {
    .handles = 100,
    .queued = 100,
    .value_bytes = HF_VALUE_MAX,
    .owner_died_marks = 3,
};

static void table_begin(struct table *table, const struct sync_server_limits *limits)
{
    memset(table, 0, sizeof(*table));
    assert_int_equal(sync_server_init(&table->server, limits, note, table), 0);
    for (int i = 0; i < PEERS; i++) {
        sync_peer_init(&table->peers[i]);
    }
    table->empty_bytes = table->server.counters.bytes;
}

static void table_end(struct table *table)
{
    for (int i = 0; i < PEERS; i++) {
        sync_peer_leave(&table->server, &table->peers[i], true);
        sync_server_check(&table->server);
        assert_int_equal(table->peers[i].hold_count, 0);
        assert_int_equal(table->peers[i].queued_count, 0);
    }
    if (table->server.mark_count == 0) {
        assert_int_equal(table->server.counters.bytes, table->empty_bytes);
    }
    sync_server_deinit(&table->server);
}

static enum wire_reason say(struct table *table, int peer, const struct wire_message *message)
{
    table->said_count = 0;
    enum wire_reason reason = sync_server_input(&table->server, &table->peers[peer], message);
    sync_server_check(&table->server);
    return reason;
}

/* Say something that is right. */
static void tell(struct table *table, int peer, const struct wire_message *message)
{
    assert_int_equal(say(table, peer, message), WIRE_REASON_NONE);
}

static struct wire_message acquire(struct table *table, hf_id id, hf_mode mode, uint8_t flags)
{
    return (struct wire_message){
        .kind = WIRE_ACQUIRE,
        .id = id,
        .seq = ++table->last_seq,
        .mode = (uint8_t)mode,
        .flags = flags,
    };
}

static struct wire_message release(uint64_t grant, hf_mode mode)
{
    return (struct wire_message){
        .kind = WIRE_RELEASE, .id = ID, .grant = grant, .mode = (uint8_t)mode};
}

static void ask(struct table *table, int peer, hf_mode mode, uint8_t flags)
{
    const struct wire_message message = acquire(table, ID, mode, flags);
    tell(table, peer, &message);
}

static void give(struct table *table, int peer, hf_mode mode)
{
    const struct wire_message message =
        release(sync_server_view(&table->server, &table->peers[peer], ID).grant, mode);
    tell(table, peer, &message);
}

static hf_mode mode_of(const struct table *table, int peer)
{
    return sync_server_view(&table->server, &table->peers[peer], ID).mode;
}

static uint64_t grant_of(const struct table *table, int peer)
{
    return sync_server_view(&table->server, &table->peers[peer], ID).grant;
}

/* The only message the server said was a GRANT that refuses, for this reason. */
static void assert_denied(const struct table *table, int peer, enum wire_reason reason)
{
    assert_int_equal(table->said_count, 1);
    const struct said *said = &table->said[0];
    assert_ptr_equal(said->peer, &table->peers[peer]);
    assert_int_equal(said->message.kind, WIRE_GRANT);
    assert_int_equal(said->message.flags, WIRE_DENIED);
    assert_int_equal(said->message.reason, reason);
    assert_int_equal(said->message.seq, table->last_seq);
    assert_int_equal(said->message.grant, 0);
    assert_int_equal(said->message.mode, HF_INVALID);
}

/* ---- limits ---- */

/* A peer over its limit of handles is denied; giving one up makes room; others are not
 * concerned. References and waiting requests count as holds do. */
static void test_limit_of_handles(void **state)
{
    const struct sync_server_limits limits = {.handles = 2, .queued = 9, .value_bytes = 9};
    struct table table;
    table_begin(&table, &limits);
    struct wire_message message = acquire(&table, (hf_id){9, 1}, HF_SHARED, 0);
    tell(&table, A, &message);
    message = acquire(&table, (hf_id){9, 2}, HF_INVALID, WIRE_REFERENCE);
    tell(&table, A, &message);
    const uint64_t bytes = table.server.counters.bytes;
    ask(&table, A, HF_SHARED, 0);
    assert_denied(&table, A, WIRE_REASON_HANDLE_LIMIT);
    assert_int_equal(table.server.counters.bytes, bytes);
    assert_int_equal(wire_reason_errno(WIRE_REASON_HANDLE_LIMIT), EDQUOT);

    /* More of what it has is not one more. */
    message = acquire(&table, (hf_id){9, 1}, HF_EXCLUSIVE, 0);
    tell(&table, A, &message);
    assert_int_equal(table.said[0].message.flags, 0);
    ask(&table, B, HF_SHARED, 0);
    assert_int_equal(mode_of(&table, B), HF_SHARED);

    message = (struct wire_message){
        .kind = WIRE_RELEASE, .id = {9, 1}, .grant = table.server.last_grant, .mode = HF_INVALID};
    message.grant = sync_server_view(&table.server, &table.peers[A], message.id).grant;
    tell(&table, A, &message);
    ask(&table, A, HF_SHARED, 0);
    assert_int_equal(mode_of(&table, A), HF_SHARED);
    table_end(&table);
}

/* A peer over its limit of queued requests is denied, and what it held less of is gone. */
static void test_limit_of_queued_requests(void **state)
{
    const struct sync_server_limits limits = {.handles = 9, .queued = 1, .value_bytes = 9};
    struct table table;
    table_begin(&table, &limits);
    const hf_id other = {5, 5};
    struct wire_message message = acquire(&table, other, HF_EXCLUSIVE, 0);
    tell(&table, A, &message);
    ask(&table, A, HF_SHARED, 0);
    ask(&table, B, HF_SHARED, 0);
    message = acquire(&table, other, HF_EXCLUSIVE, 0);
    tell(&table, B, &message); /* waits */

    ask(&table, B, HF_EXCLUSIVE, 0);
    assert_denied(&table, B, WIRE_REASON_QUEUE_LIMIT);
    assert_int_equal(wire_reason_errno(WIRE_REASON_QUEUE_LIMIT), ENOBUFS);
    assert_int_equal(mode_of(&table, B), HF_INVALID);
    assert_int_equal(grant_of(&table, B), 0);
    ask(&table, C, HF_EXCLUSIVE, 0); /* others may still wait */
    assert_int_equal(table.server.counters.queued, 2);
    table_end(&table);
}

/* An owner-died mark is forgotten when there are too many: the oldest first. */
static void test_limit_of_owner_died_marks(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    for (uint64_t i = 0; i < 4; i++) {
        struct wire_message message = acquire(&table, (hf_id){8, i}, HF_EXCLUSIVE, 0);
        tell(&table, A, &message);
        sync_peer_leave(&table.server, &table.peers[A], false);
        sync_server_check(&table.server);
        assert_int_equal(table.server.mark_count, i < 3 ? i + 1 : 3);
    }
    assert_int_equal(table.server.counters.handles, 3);
    for (uint64_t i = 0; i < 4; i++) {
        struct wire_message message = acquire(&table, (hf_id){8, i}, HF_SHARED, 0);
        tell(&table, B, &message);
        assert_int_equal(table.said[0].message.flags, i == 0 ? 0 : WIRE_OWNER_DIED);
    }
    assert_int_equal(table.server.mark_count, 0);
    table_end(&table);
}

/* With a limit of no marks at all, none is kept. */
static void test_no_owner_died_marks(void **state)
{
    const struct sync_server_limits limits = {.handles = 9, .queued = 9, .value_bytes = 9};
    struct table table;
    table_begin(&table, &limits);
    ask(&table, A, HF_EXCLUSIVE, 0);
    sync_peer_leave(&table.server, &table.peers[A], false);
    sync_server_check(&table.server);
    assert_int_equal(table.server.counters.bytes, table.empty_bytes);
    table_end(&table);
}

/* ---- peers that do not keep to the protocol ---- */

struct violation {
    const char *what;
    int peer;
    enum wire_reason reason;
    struct wire_message message;
};

/* The numbers of everything there is, and who has what. */
struct snapshot {
    struct sync_server_counters counters;
    struct sync_peer_view views[PEERS];
    uint64_t last_grant;
    uint16_t value_size;
    uint64_t version;
};

static struct snapshot snapshot_of(const struct table *table)
{
    struct snapshot snapshot;
    memset(&snapshot, 0, sizeof(snapshot));
    snapshot.counters = table->server.counters;
    snapshot.last_grant = table->server.last_grant;
    for (int i = 0; i < PEERS; i++) {
        struct sync_peer_view view = sync_server_view(&table->server, &table->peers[i], ID);
        snapshot.views[i].mode = view.mode;
        snapshot.views[i].grant = view.grant;
        snapshot.views[i].waiting = view.waiting;
    }
    const struct handle *handle = handle_find(&table->server, ID);
    snapshot.value_size = handle->value == NULL ? 0 : handle->value->size;
    snapshot.version = handle->version;
    return snapshot;
}

/* Every message that is not allowed where it comes is refused with its reason, and has no
 * effect: no answer, and the table is as it was before. */
static void test_violations_change_nothing(void **state)
{
    static const uint8_t bytes[100];
    struct table table;
    const struct sync_server_limits limits = {
        .handles = 9, .queued = 9, .value_bytes = 50, .owner_died_marks = 1};
    table_begin(&table, &limits);
    ask(&table, A, HF_EXCLUSIVE, WIRE_REFERENCE);
    ask(&table, B, HF_INVALID, WIRE_REFERENCE);
    ask(&table, C, HF_SHARED, 0); /* waits; A was recalled */
    const uint64_t a = grant_of(&table, A);
    const uint64_t b = grant_of(&table, B);
    const hf_id other = {77, 77};

#define ACQUIRE(...)                                                                               \
    {                                                                                              \
        .kind = WIRE_ACQUIRE, .id = ID, .seq = 99, __VA_ARGS__                                     \
    }
#define RELEASE(...)                                                                               \
    {                                                                                              \
        .kind = WIRE_RELEASE, .id = ID, __VA_ARGS__                                                \
    }
    const struct violation violations[] = {
        {"less than it has", A, WIRE_REASON_BAD_MESSAGE, ACQUIRE(.mode = HF_SHARED)},
        {"what it has", A, WIRE_REASON_BAD_MESSAGE, ACQUIRE(.mode = HF_EXCLUSIVE)},
        {"a second request", C, WIRE_REASON_BAD_MESSAGE, ACQUIRE(.mode = HF_EXCLUSIVE)},
        {"a second reference",
         B,
         WIRE_REASON_BAD_MESSAGE,
         ACQUIRE(.mode = HF_INVALID, .flags = WIRE_REFERENCE)},
        {"nothing at all", D, WIRE_REASON_BAD_MESSAGE, ACQUIRE(.mode = HF_INVALID)},
        {"no such handle",
         A,
         WIRE_REASON_UNKNOWN_HANDLE,
         {.kind = WIRE_RELEASE, .id = other, .grant = 1}},
        {"not a handle of its", D, WIRE_REASON_UNKNOWN_HANDLE, RELEASE(.grant = a)},
        {"no grant", A, WIRE_REASON_BAD_MESSAGE, RELEASE(.grant = 0)},
        {"a grant to come", A, WIRE_REASON_BAD_MESSAGE, RELEASE(.grant = UINT64_MAX)},
        {"the grant of a waiter", C, WIRE_REASON_BAD_MESSAGE, RELEASE(.grant = 0)},
        {"a value too long",
         A,
         WIRE_REASON_FRAME_TOO_LONG,
         RELEASE(.grant = a,
                 .mode = HF_EXCLUSIVE,
                 .flags = WIRE_VALUE,
                 .data = bytes,
                 .data_size = 51)},
        {"more than it has", B, WIRE_REASON_BAD_MESSAGE, RELEASE(.grant = b, .mode = HF_SHARED)},
        {"a value of one who only references",
         B,
         WIRE_REASON_BAD_MESSAGE,
         RELEASE(.grant = b, .flags = WIRE_VALUE, .data = bytes, .data_size = 1)},
        {"closed and kept",
         A,
         WIRE_REASON_BAD_MESSAGE,
         RELEASE(.grant = a, .mode = HF_EXCLUSIVE, .flags = WIRE_CLOSE)},
        {"closed and shared",
         A,
         WIRE_REASON_BAD_MESSAGE,
         RELEASE(.grant = a, .mode = HF_SHARED, .flags = WIRE_CLOSE)},
        {"in use, and not asked",
         A,
         WIRE_REASON_BAD_MESSAGE,
         RELEASE(.grant = a, .mode = HF_EXCLUSIVE, .flags = WIRE_IN_USE)},
        {"a server's message", A, WIRE_REASON_BAD_MESSAGE, {.kind = WIRE_GRANT, .id = ID}},
        {"a server's message", A, WIRE_REASON_BAD_MESSAGE, {.kind = WIRE_RECALL, .id = ID}},
        {"a handshake", A, WIRE_REASON_BAD_MESSAGE, {.kind = WIRE_HELLO}},
    };
#undef ACQUIRE
#undef RELEASE

    for (size_t i = 0; i < sizeof(violations) / sizeof(violations[0]); i++) {
        const struct violation *violation = &violations[i];
        const struct snapshot before = snapshot_of(&table);
        enum wire_reason reason = say(&table, violation->peer, &violation->message);
        const struct snapshot after = snapshot_of(&table);
        if (reason != violation->reason || table.said_count != 0 ||
            memcmp(&before, &after, sizeof(before)) != 0) {
            fail_msg("%s: reason %d, %u answers", violation->what, (int)reason, table.said_count);
        }
    }
    table_end(&table);
}

/* A pure lock carries no value, even from its EXCLUSIVE holder. */
static void test_value_of_a_pure_lock_is_refused(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_EXCLUSIVE, 0);
    struct wire_message message = release(grant_of(&table, A), HF_INVALID);
    message.flags = WIRE_VALUE;
    message.data = (const uint8_t *)"x";
    message.data_size = 1;
    assert_int_equal(say(&table, A, &message), WIRE_REASON_BAD_MESSAGE);
    assert_int_equal(mode_of(&table, A), HF_EXCLUSIVE);
    table_end(&table);
}

/* A SHARED holder cannot change the value. */
static void test_value_under_shared_is_refused(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_SHARED, WIRE_REFERENCE);
    struct wire_message message = release(grant_of(&table, A), HF_SHARED);
    message.flags = WIRE_VALUE;
    message.data = (const uint8_t *)"x";
    message.data_size = 1;
    assert_int_equal(say(&table, A, &message), WIRE_REASON_BAD_MESSAGE);
    assert_null(handle_find(&table.server, ID)->value);
    table_end(&table);
}

/* ---- stale messages ---- */

/* A RELEASE whose grant is not the current one is ignored, its value included. */
static void test_stale_release_is_ignored(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_EXCLUSIVE, WIRE_REFERENCE);
    const uint64_t stale = grant_of(&table, A);
    give(&table, A, HF_INVALID);
    ask(&table, A, HF_EXCLUSIVE, WIRE_REFERENCE);
    assert_true(grant_of(&table, A) > stale);

    struct wire_message message = release(stale, HF_INVALID);
    message.flags = WIRE_VALUE | WIRE_CLOSE;
    message.data = (const uint8_t *)"late write";
    message.data_size = 10;
    tell(&table, A, &message);
    assert_int_equal(table.said_count, 0);
    assert_int_equal(mode_of(&table, A), HF_EXCLUSIVE);
    assert_null(handle_find(&table.server, ID)->value);
    table_end(&table);
}

/* A CANCEL of what no longer waits, or of another request, does nothing. */
static void test_stale_cancel_is_ignored(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_EXCLUSIVE, 0);
    const struct wire_message granted = {.kind = WIRE_CANCEL, .id = ID, .seq = table.last_seq};
    ask(&table, B, HF_SHARED, 0);
    const struct wire_message other = {.kind = WIRE_CANCEL, .id = ID, .seq = table.last_seq + 1};
    const struct wire_message unknown = {.kind = WIRE_CANCEL, .id = {4, 4}, .seq = 1};
    tell(&table, A, &granted);
    assert_int_equal(table.said_count, 0);
    tell(&table, B, &other);
    assert_int_equal(table.said_count, 0);
    tell(&table, C, &unknown);
    assert_int_equal(table.said_count, 0);
    assert_int_equal(mode_of(&table, A), HF_EXCLUSIVE);
    assert_int_equal(table.server.counters.queued, 1);
    table_end(&table);
}

/* ---- recalls ---- */

/* A waiting reader asks the writer down to SHARED, a waiting writer asks everybody off; each
 * holder is asked once for each, and hears how many wait. */
static void test_recalls_ask_for_what_is_needed_once(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_EXCLUSIVE, 0);
    ask(&table, B, HF_SHARED, 0);
    assert_int_equal(table.said_count, 1);
    assert_ptr_equal(table.said[0].peer, &table.peers[A]);
    assert_int_equal(table.said[0].message.kind, WIRE_RECALL);
    assert_int_equal(table.said[0].message.mode, HF_SHARED);
    assert_int_equal(table.said[0].message.grant, grant_of(&table, A));
    assert_int_equal(table.said[0].message.waiting, 1);
    ask(&table, C, HF_SHARED, 0);
    assert_int_equal(table.said_count, 0);

    give(&table, A, HF_SHARED); /* B and C come in */
    assert_int_equal(table.said_count, 2);
    ask(&table, D, HF_EXCLUSIVE, 0);
    assert_int_equal(table.said_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(table.said[i].message.kind, WIRE_RECALL);
        assert_int_equal(table.said[i].message.mode, HF_INVALID);
    }
    give(&table, A, HF_INVALID);
    give(&table, B, HF_INVALID);
    assert_int_equal(mode_of(&table, D), HF_INVALID);
    give(&table, C, HF_INVALID);
    assert_int_equal(mode_of(&table, D), HF_EXCLUSIVE);
    table_end(&table);
}

/* When the writer at the front cancels, the readers behind it come in at once. */
static void test_canceled_writer_lets_the_readers_in(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_SHARED, 0);
    ask(&table, B, HF_EXCLUSIVE, 0);
    const uint32_t seq = table.last_seq;
    ask(&table, C, HF_SHARED, 0);
    ask(&table, D, HF_SHARED, 0);
    assert_int_equal(table.server.counters.queued, 3);
    const struct wire_message cancel = {.kind = WIRE_CANCEL, .id = ID, .seq = seq};
    tell(&table, B, &cancel);
    assert_int_equal(table.said_count, 3); /* DENIED, and two GRANTs */
    assert_int_equal(table.said[0].message.reason, WIRE_REASON_CANCELED);
    assert_int_equal(mode_of(&table, C), HF_SHARED);
    assert_int_equal(mode_of(&table, D), HF_SHARED);
    assert_int_equal(table.server.counters.queued, 0);
    table_end(&table);
}

/* "In use" says that and nothing else, in the mode that the holder has. */
static void test_in_use_says_nothing_else(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_EXCLUSIVE, WIRE_REFERENCE);
    ask(&table, B, HF_SHARED, WIRE_NOWAIT);
    assert_int_equal(table.said_count, 1);
    assert_int_equal(table.said[0].message.kind, WIRE_RECALL);
    assert_int_equal(table.said[0].message.mode, HF_SHARED);
    assert_int_equal(table.said[0].message.waiting, 0);
    struct wire_message wrong = release(grant_of(&table, A), HF_SHARED);
    wrong.flags = WIRE_IN_USE;
    assert_int_equal(say(&table, A, &wrong), WIRE_REASON_BAD_MESSAGE);
    wrong = release(grant_of(&table, A), HF_EXCLUSIVE);
    wrong.flags = WIRE_IN_USE | WIRE_VALUE;
    assert_int_equal(say(&table, A, &wrong), WIRE_REASON_BAD_MESSAGE);
    wrong = release(grant_of(&table, A), HF_INVALID);
    wrong.flags = WIRE_IN_USE | WIRE_CLOSE;
    assert_int_equal(say(&table, A, &wrong), WIRE_REASON_BAD_MESSAGE);
    assert_int_equal(mode_of(&table, A), HF_EXCLUSIVE);
    assert_int_equal(table.server.counters.queued, 1);

    struct wire_message right = release(grant_of(&table, A), HF_EXCLUSIVE);
    right.flags = WIRE_IN_USE;
    tell(&table, A, &right);
    assert_denied(&table, B, WIRE_REASON_WOULD_BLOCK);
    assert_int_equal(say(&table, A, &right), WIRE_REASON_BAD_MESSAGE); /* one answer only */
    table_end(&table);
}

/* A request ahead of its need is granted what is free, and otherwise nobody hears of it and it
 * waits for nothing; that an owner died is kept for one who needs the handle. */
static void test_ahead_bothers_nobody(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    ask(&table, A, HF_SHARED, WIRE_AHEAD);
    assert_int_equal(mode_of(&table, A), HF_SHARED);
    ask(&table, B, HF_SHARED, WIRE_AHEAD);
    assert_int_equal(mode_of(&table, B), HF_SHARED);
    ask(&table, C, HF_EXCLUSIVE, WIRE_AHEAD);
    assert_denied(&table, C, WIRE_REASON_WOULD_BLOCK);
    ask(&table, C, HF_EXCLUSIVE, 0);
    ask(&table, D, HF_SHARED, WIRE_AHEAD); /* nor does it overtake */
    assert_denied(&table, D, WIRE_REASON_WOULD_BLOCK);
    assert_int_equal(table.server.counters.queued, 1);
    give(&table, A, HF_INVALID);
    give(&table, B, HF_INVALID);

    sync_peer_leave(&table.server, &table.peers[C], false);
    ask(&table, D, HF_SHARED, WIRE_AHEAD);
    assert_denied(&table, D, WIRE_REASON_WOULD_BLOCK);
    ask(&table, D, HF_SHARED, 0);
    assert_int_equal(table.said[0].message.flags, WIRE_OWNER_DIED);
    table_end(&table);
}

/* Grants and versions go up and are never used twice, over handles that come and go. */
static void test_grants_are_never_reused(void **state)
{
    struct table table;
    table_begin(&table, &wide);
    uint64_t last = 0;
    for (int i = 0; i < 10; i++) {
        ask(&table, i % PEERS, HF_EXCLUSIVE, 0);
        const struct wire_message *message = &table.said[0].message;
        assert_true(message->grant > last && message->version > last);
        last = message->grant;
        give(&table, i % PEERS, HF_INVALID);
        assert_int_equal(table.server.counters.handles, 0);
    }
    table_end(&table);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_of_handles),
        cmocka_unit_test(test_limit_of_queued_requests),
        cmocka_unit_test(test_limit_of_owner_died_marks),
        cmocka_unit_test(test_no_owner_died_marks),
        cmocka_unit_test(test_violations_change_nothing),
        cmocka_unit_test(test_value_of_a_pure_lock_is_refused),
        cmocka_unit_test(test_value_under_shared_is_refused),
        cmocka_unit_test(test_stale_release_is_ignored),
        cmocka_unit_test(test_stale_cancel_is_ignored),
        cmocka_unit_test(test_recalls_ask_for_what_is_needed_once),
        cmocka_unit_test(test_canceled_writer_lets_the_readers_in),
        cmocka_unit_test(test_in_use_says_nothing_else),
        cmocka_unit_test(test_ahead_bothers_nobody),
        cmocka_unit_test(test_grants_are_never_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
