/* The client's side of file locks, against a server that is a list of what was sent to it. */
#include "lib/test.h"
#include "locks/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SENT_MAX 4096
#define FILE_A ((hf_id){HF_SPACE_RESERVED, 1})
#define FILE_B ((hf_id){HF_SPACE_RESERVED, 2})
#define LAST LOCK_LAST_BYTE

static const hf_id process = {HF_SPACE_RESERVED | UINT64_C(6) << 56 | 1, 0};
static const hf_id open_file = {HF_SPACE_RESERVED | UINT64_C(2) << 56 | 1, 7};
static const hf_id other_open_file = {HF_SPACE_RESERVED | UINT64_C(2) << 56 | 1, 8};

struct sent {
    struct wire_message message; /* without the data */
    size_t lock_count;
    struct wire_lock first; /* the first record, if there is one */
    char path[LOCK_PATH_MAX + 1];
};

struct world {
    struct locks_client client;
    struct sent sent[SENT_MAX];
    size_t sent_count;
    size_t done_count;
};

static void note_sent(void *context, const struct wire_message *message)
{
    struct world *world = context;
    assert_true(world->sent_count < SENT_MAX);
    assert_true(wire_size(message) <= WIRE_LENGTH_BYTES + WIRE_FRAME_MAX);
    struct sent *sent = &world->sent[world->sent_count++];
    *sent = (struct sent){.message = *message};
    size_t at = 0;
    while (at < message->data_size) {
        struct wire_lock record;
        const size_t size = wire_get_lock(message->data + at, message->data_size - at, &record);
        assert_true(size > 0);
        if (sent->lock_count++ == 0) {
            sent->first = record;
            memcpy(sent->path, record.path.bytes, record.path.length);
        }
        at += size;
    }
    sent->message.data = NULL;
}

static void note_done(void *context, struct lock_request *request)
{
    struct world *world = context;
    assert_true(list_is_empty(&request->link));
    world->done_count++;
}

static struct world *world_new(void)
{
    static const struct locks_client_ops ops = {.send = note_sent, .done = note_done};
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    assert_int_equal(locks_client_init(&world->client, &ops, world), 0);
    return world;
}

static void world_free(struct world *world)
{
    locks_client_check(&world->client);
    locks_client_deinit(&world->client);
    free(world);
}

static struct lock record_lock(hf_id owner, enum lock_type type, uint64_t start, uint64_t end)
{
    return (struct lock){
        .kind = hf_id_equal(owner, process) ? LOCK_POSIX : LOCK_OFD,
        .type = type,
        .start = start,
        .end = end,
        .owner = owner,
        .pid = 77,
    };
}

static struct lock whole_lock(hf_id owner, enum lock_type type)
{
    return (struct lock){.kind = LOCK_FLOCK, .type = type, .end = LAST, .owner = owner};
}

static int try(struct world *world, hf_id file, struct lock lock, unsigned flags)
{
    const int result = locks_client_try(&world->client, file, &lock, flags);
    locks_client_check(&world->client);
    return result;
}

static int ask(struct world *world, hf_id file, struct lock lock, unsigned flags,
               struct lock_request *request)
{
    *request = (struct lock_request){.lock = lock};
    const int result = locks_client_ask(&world->client, file, flags, "/dir/file", request);
    locks_client_check(&world->client);
    return result;
}

static int locked(struct world *world, const struct lock_request *request, uint64_t grant,
                  uint32_t error)
{
    const int result = locks_client_input(&world->client,
                                          &(struct wire_message){
                                              .kind = WIRE_LOCKED,
                                              .seq = request->seq,
                                              .id = request->file,
                                              .grant = grant,
                                              .error = error,
                                          });
    locks_client_check(&world->client);
    return result;
}

static void recall(struct world *world, hf_id file, uint64_t grant)
{
    const struct wire_message message = {.kind = WIRE_LOCK_RECALL, .id = file, .grant = grant};
    assert_int_equal(locks_client_input(&world->client, &message), 0);
    locks_client_check(&world->client);
}

/* Ask for @lock and get it, and maybe the table. */
static void get(struct world *world, hf_id file, struct lock lock, uint64_t grant)
{
    struct lock_request request;
    assert_int_equal(try(world, file, lock, 0), LOCKS_ASK);
    assert_int_equal(ask(world, file, lock, 0, &request), 0);
    assert_int_equal(locked(world, &request, grant, 0), 0);
    assert_int_equal(request.result, 0);
    world->sent_count = 0;
}

static const struct sent *only_sent(const struct world *world, enum wire_kind kind)
{
    assert_int_equal(world->sent_count, 1);
    assert_int_equal(world->sent[0].message.kind, kind);
    return &world->sent[0];
}

static struct lock conflict_with(struct world *world, hf_id file, struct lock lock)
{
    struct lock conflict;
    assert_int_equal(locks_client_try_test(&world->client, file, &lock, &conflict), 0);
    return conflict;
}

/* ---- */

/* The first lock of a file is asked for, with its path; with the table here nothing is sent. */
static void test_with_the_table_nothing_is_sent(void **state)
{
    struct world *world = world_new();
    struct lock_request request;
    const struct lock lock = record_lock(process, LOCK_TYPE_WRITE, 0, 9);
    assert_int_equal(try(world, FILE_A, lock, 0), LOCKS_ASK);
    assert_int_equal(ask(world, FILE_A, lock, 0, &request), 0);
    const struct sent *sent = only_sent(world, WIRE_LOCK);
    assert_int_not_equal(sent->message.seq, 0);
    assert_int_equal(sent->message.flags, 0);
    assert_int_equal(sent->lock_count, 1);
    assert_int_equal(sent->first.pid, 77);
    assert_string_equal(sent->path, "/dir/file");
    assert_int_equal(world->client.lock_count, 0);
    assert_int_equal(locked(world, &request, 5, 0), 0);
    assert_int_equal(world->done_count, 1);
    assert_int_equal(world->client.lock_count, 1);

    world->sent_count = 0;
    for (uint64_t i = 1; i < 100; i++) {
        assert_int_equal(
            try(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 20 * i, 20 * i + 9), 0), 0);
    }
    assert_int_equal(world->client.lock_count, 100);
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_NONE, 0, LAST), 0), 0);
    assert_int_equal(try(world, FILE_A, record_lock(open_file, LOCK_TYPE_READ, 0, LAST), 0), 0);
    assert_int_equal(try(world, FILE_A, record_lock(open_file, LOCK_NONE, 5, 6), 0), 0);
    assert_int_equal(world->client.lock_count, 2);
    assert_int_equal(world->sent_count, 0);
    world_free(world);
}

/* What conflicts between owners of this process is decided here; only waiting is the server's. */
static void test_conflicts_among_our_own_are_found_here(void **state)
{
    struct world *world = world_new();
    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 10, 19), 5);
    const struct lock wanted = record_lock(open_file, LOCK_TYPE_READ, 0, LAST);
    assert_int_equal(try(world, FILE_A, wanted, 0), -EAGAIN);
    const struct lock conflict = conflict_with(world, FILE_A, wanted);
    assert_int_equal(conflict.start, 10);
    assert_int_equal(conflict.kind, LOCK_POSIX);
    assert_int_equal(world->sent_count, 0);

    struct lock_request request;
    assert_int_equal(try(world, FILE_A, wanted, LOCKS_WAIT), LOCKS_ASK);
    assert_int_equal(ask(world, FILE_A, wanted, LOCKS_WAIT, &request), 0);
    assert_int_equal(world->sent_count, 2);
    assert_int_equal(world->sent[0].message.kind, WIRE_LOCK_RETURN);
    assert_int_equal(world->sent[0].message.grant, 5);
    assert_int_equal(world->sent[0].lock_count, 1);
    assert_string_equal(world->sent[0].path, "/dir/file");
    assert_int_equal(world->sent[1].message.kind, WIRE_LOCK);
    assert_int_equal(world->sent[1].message.flags, WIRE_LOCK_WAIT);

    locks_client_cancel(&world->client, &request);
    locks_client_cancel(&world->client, &request);
    assert_int_equal(world->sent_count, 3);
    assert_int_equal(world->sent[2].message.kind, WIRE_LOCK_CANCEL);
    assert_int_equal(world->sent[2].message.seq, request.seq);
    assert_int_equal(locked(world, &request, 0, ECANCELED), 0);
    assert_int_equal(request.result, -ECANCELED);
    assert_int_equal(world->client.lock_count, 1);
    world_free(world);
}

/* A recall is obeyed at once, once, and by its number; what is here stays known. */
static void test_a_recall_takes_the_table(void **state)
{
    struct world *world = world_new();
    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 5);
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_TYPE_READ, 20, 29), 0), 0);
    recall(world, FILE_A, 4);
    recall(world, FILE_B, 5);
    assert_int_equal(world->sent_count, 0);
    recall(world, FILE_A, 5);
    const struct sent *sent = only_sent(world, WIRE_LOCK_RETURN);
    assert_int_equal(sent->lock_count, 2);
    assert_int_equal(sent->message.flags, 0);
    assert_int_equal(sent->message.grant, 5);
    recall(world, FILE_A, 5);
    assert_int_equal(world->sent_count, 1);
    assert_int_equal(world->client.lock_count, 2);

    /* From here on all is asked, but for giving up what is not held. */
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_TYPE_READ, 0, 9), 0), LOCKS_ASK);
    struct lock conflict;
    const struct lock test = record_lock(open_file, LOCK_TYPE_READ, 0, 9);
    assert_int_equal(locks_client_try_test(&world->client, FILE_A, &test, &conflict), LOCKS_ASK);
    get(world, FILE_A, record_lock(process, LOCK_NONE, 0, 9), 0);
    assert_int_equal(world->client.lock_count, 1);
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_NONE, 0, 9), 0), 0);
    assert_int_equal(try(world, FILE_A, record_lock(open_file, LOCK_NONE, 0, LAST), 0), 0);
    assert_int_equal(try(world, FILE_B, record_lock(process, LOCK_NONE, 0, LAST), 0), 0);
    assert_int_equal(world->sent_count, 0);
    world_free(world);
}

/* A table with many locks goes in several frames, all but the last with WIRE_MORE. */
static void test_a_large_table_goes_in_several_frames(void **state)
{
    struct world *world = world_new();
    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 0, 0), 5);
    for (uint64_t i = 1; i < 1000; i++) {
        assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 2 * i, 2 * i), 0),
                         0);
    }
    recall(world, FILE_A, 5);
    size_t locks = 0;
    for (size_t i = 0; i < world->sent_count; i++) {
        const struct sent *sent = &world->sent[i];
        const bool is_last = i + 1 == world->sent_count;
        assert_int_equal(sent->message.kind, WIRE_LOCK_RETURN);
        assert_int_equal(sent->message.flags, is_last ? 0 : WIRE_MORE);
        assert_true(wire_size(&sent->message) <= WIRE_LENGTH_BYTES + WIRE_SMALL_FRAME_MAX);
        locks += sent->lock_count;
    }
    assert_true(world->sent_count > 1);
    assert_int_equal(locks, 1000);
    world_free(world);
}

/* While a request is under way, giving up is asked too; the view follows the answers. And a table that
 * comes with the first of two answers goes back, for the server decides the second. */
static void test_what_is_under_way_is_decided_at_the_server(void **state)
{
    struct world *world = world_new();
    struct lock_request first;
    struct lock_request second;
    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 0);
    assert_int_equal(ask(world, FILE_A, record_lock(process, LOCK_TYPE_READ, 5, 9), 0, &first), 0);
    const struct lock unlock = record_lock(process, LOCK_NONE, 0, LAST);
    assert_int_equal(try(world, FILE_A, unlock, 0), LOCKS_ASK);
    assert_int_equal(ask(world, FILE_A, unlock, 0, &second), 0);
    assert_int_equal(world->client.lock_count, 1);
    world->sent_count = 0;
    assert_int_equal(locked(world, &first, 9, 0), 0);
    assert_int_equal(world->client.lock_count, 2);
    assert_int_equal(only_sent(world, WIRE_LOCK_RETURN)->lock_count, 2);
    assert_int_equal(locked(world, &second, 0, 0), 0);
    assert_int_equal(world->client.lock_count, 0);
    assert_int_equal(world->sent_count, 1);
    world_free(world);
}

/* flock(2): the same again is nothing, the other type gives up the first one even if it fails. */
static void test_flock_changes_by_giving_up(void **state)
{
    struct world *world = world_new();
    struct lock_request request;
    get(world, FILE_A, whole_lock(open_file, LOCK_TYPE_READ), 5);
    assert_int_equal(try(world, FILE_A, whole_lock(open_file, LOCK_TYPE_READ), 0), 0);
    assert_int_equal(try(world, FILE_A, whole_lock(other_open_file, LOCK_TYPE_READ), 0), 0);
    assert_int_equal(world->client.lock_count, 2);
    assert_int_equal(try(world, FILE_A, whole_lock(open_file, LOCK_TYPE_WRITE), 0), -EAGAIN);
    assert_int_equal(world->client.lock_count, 1);
    assert_int_equal(try(world, FILE_A, whole_lock(other_open_file, LOCK_TYPE_WRITE), 0), 0);
    assert_int_equal(world->client.lock_count, 1);
    assert_int_equal(world->sent_count, 0);

    /* At the server: what it has given up there is given up here. */
    recall(world, FILE_A, 5);
    assert_int_equal(ask(world, FILE_A, whole_lock(other_open_file, LOCK_TYPE_WRITE), 0, &request),
                     0);
    assert_int_equal(locked(world, &request, 0, EAGAIN), 0);
    assert_int_equal(world->client.lock_count, 1); /* it has it: nothing happened */
    assert_int_equal(ask(world, FILE_A, whole_lock(other_open_file, LOCK_TYPE_READ), 0, &request),
                     0);
    assert_int_equal(locked(world, &request, 0, EAGAIN), 0);
    assert_int_equal(world->client.lock_count, 0);
    world_free(world);
}

/* A change of type that is canceled: whether it was given up by then only the server knows, so it is
 * given up now. */
static void test_a_canceled_flock_leaves_nothing(void **state)
{
    struct world *world = world_new();
    struct lock_request request;
    get(world, FILE_A, whole_lock(open_file, LOCK_TYPE_READ), 0);
    const struct lock wanted = whole_lock(open_file, LOCK_TYPE_WRITE);
    assert_int_equal(ask(world, FILE_A, wanted, LOCKS_WAIT, &request), 0);
    locks_client_cancel(&world->client, &request);
    world->sent_count = 0;
    world->done_count = 0;
    assert_int_equal(locked(world, &request, 0, ECANCELED), 0);
    assert_int_equal(world->done_count, 0);
    const struct sent *sent = only_sent(world, WIRE_LOCK);
    assert_int_equal(sent->message.seq, request.seq);
    assert_int_equal(sent->message.flags, 0);
    assert_int_equal(sent->first.type, LOCK_NONE);
    assert_int_equal(locked(world, &request, 0, 0), 0);
    assert_int_equal(world->done_count, 1);
    assert_int_equal(request.result, -ECANCELED);
    assert_int_equal(world->client.lock_count, 0);
    world_free(world);
}

/* An open file that becomes shared: the table goes to the server, what it has is forgotten here, and
 * what it is just asking for is not followed. The others' locks stay. */
static void test_a_shared_open_file_is_the_servers(void **state)
{
    struct world *world = world_new();
    struct lock_request request;
    get(world, FILE_A, record_lock(open_file, LOCK_TYPE_WRITE, 0, 9), 5);
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 20, 29), 0), 0);
    assert_int_equal(try(world, FILE_A, whole_lock(open_file, LOCK_TYPE_READ), 0), 0);
    get(world, FILE_B, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 6);
    assert_int_equal(
        ask(world, FILE_A, record_lock(open_file, LOCK_TYPE_READ, 40, 49), LOCKS_WAIT, &request),
        0);
    assert_int_equal(world->sent[0].message.kind, WIRE_LOCK_RETURN);
    world->sent_count = 0;
    locks_client_share(&world->client, FILE_A, open_file);
    locks_client_check(&world->client);
    assert_int_equal(world->sent_count, 0); /* it is at the server already */
    assert_int_equal(world->client.lock_count, 2);
    assert_int_equal(locked(world, &request, 0, 0), 0);
    assert_int_equal(request.result, 0);
    assert_int_equal(world->client.lock_count, 2);

    locks_client_share(&world->client, FILE_B, open_file);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(try(world, FILE_B, record_lock(open_file, LOCK_NONE, 0, 9), LOCKS_SHARED), 0);
    const struct lock wanted = record_lock(open_file, LOCK_TYPE_READ, 20, 29);
    assert_int_equal(try(world, FILE_B, wanted, LOCKS_SHARED), LOCKS_ASK);
    assert_int_equal(ask(world, FILE_B, wanted, LOCKS_SHARED, &request), 0);
    assert_int_equal(world->sent_count, 2);
    assert_int_equal(world->sent[0].message.kind, WIRE_LOCK_RETURN);
    assert_int_equal(world->sent[1].message.kind, WIRE_LOCK);
    assert_int_equal(locked(world, &request, 0, 0), 0);
    assert_int_equal(world->client.lock_count, 2);
    /* And its unlock is asked, although nothing of it is known here. */
    assert_int_equal(try(world, FILE_B, record_lock(open_file, LOCK_NONE, 0, 9), LOCKS_SHARED),
                     LOCKS_ASK);
    world_free(world);
}

static void test_sharing_returns_the_table(void **state)
{
    struct world *world = world_new();
    get(world, FILE_A, whole_lock(open_file, LOCK_TYPE_WRITE), 5);
    locks_client_share(&world->client, FILE_A, open_file);
    assert_int_equal(only_sent(world, WIRE_LOCK_RETURN)->lock_count, 1);
    assert_int_equal(world->client.lock_count, 0);
    world_free(world);
}

/* Files without locks keep their tables, up to a number: then the one unused longest goes back. */
static void test_idle_tables_are_bounded(void **state)
{
    struct world *world = world_new();
    for (uint64_t i = 0; i < LOCKS_CLIENT_IDLE_MAX; i++) {
        const hf_id file = {HF_SPACE_RESERVED, 100 + i};
        get(world, file, record_lock(process, LOCK_TYPE_WRITE, 0, 9), i + 1);
        assert_int_equal(try(world, file, record_lock(process, LOCK_NONE, 0, LAST), 0), 0);
    }
    assert_int_equal(world->sent_count, 0);
    /* Use the first one again: now the second one is the oldest. */
    const hf_id used = {HF_SPACE_RESERVED, 100};
    assert_int_equal(try(world, used, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 0), 0);
    assert_int_equal(try(world, used, record_lock(process, LOCK_NONE, 0, 9), 0), 0);
    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 5000);
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_NONE, 0, 9), 0), 0);
    const struct sent *sent = only_sent(world, WIRE_LOCK_RETURN);
    assert_int_equal(sent->message.id.object, 101);
    assert_int_equal(sent->message.grant, 2);
    assert_int_equal(sent->lock_count, 0);
    world_free(world);
}

/* Too many locks are refused, here and at the server, before anything is sent; and giving up goes on. */
static void test_there_is_a_limit(void **state)
{
    struct world *world = world_new();
    struct lock_request request;
    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 0, 0), 5);
    uint64_t count = 1;
    int result = 0;
    while (result == 0) {
        const struct lock lock = record_lock(process, LOCK_TYPE_WRITE, 2 * count, 2 * count);
        result = locks_client_try(&world->client, FILE_A, &lock, 0);
        count += result == 0;
    }
    locks_client_check(&world->client);
    assert_int_equal(result, -ENOLCK);
    assert_int_equal(count, LOCKS_CLIENT_MAX);
    assert_int_equal(ask(world, FILE_B, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 0, &request),
                     -ENOLCK);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_NONE, 0, 9), 0), 0);
    assert_int_equal(try(world, FILE_A, record_lock(process, LOCK_TYPE_READ, 0, 0), 0), 0);
    world_free(world);
}

static struct wire_message answer_to(const struct lock_request *request)
{
    return (struct wire_message){.kind = WIRE_LOCKED, .seq = request->seq, .id = request->file};
}

/* What the server may not say. */
static void test_a_server_that_breaks_the_protocol(void **state)
{
    struct world *world = world_new();
    struct lock_request request;
    const struct lock lock = record_lock(process, LOCK_TYPE_WRITE, 0, 9);
    const uint8_t junk[] = {1, 2, 3};
    assert_int_equal(ask(world, FILE_A, lock, 0, &request), 0);
    struct wire_message message = answer_to(&request);
    message.seq++;
    assert_int_equal(locks_client_input(&world->client, &message), -EPROTO);
    message = answer_to(&request);
    message.id = FILE_B;
    assert_int_equal(locks_client_input(&world->client, &message), -EPROTO);
    message = answer_to(&request);
    message.error = UINT32_MAX;
    assert_int_equal(locks_client_input(&world->client, &message), -EPROTO);
    message = answer_to(&request);
    message.data = junk;
    message.data_size = sizeof junk;
    assert_int_equal(locks_client_input(&world->client, &message), -EPROTO);
    assert_int_equal(locked(world, &request, 0, 0), 0);

    request = (struct lock_request){.lock = lock, .is_test = true};
    assert_int_equal(locks_client_ask(&world->client, FILE_A, 0, "", &request), 0);
    assert_int_equal(world->sent[world->sent_count - 1].message.flags, WIRE_LOCK_TEST);
    message = answer_to(&request);
    message.data = junk;
    message.data_size = sizeof junk;
    assert_int_equal(locks_client_input(&world->client, &message), -EPROTO);
    uint8_t data[WIRE_OPERATION_HEAD_MAX];
    struct wire_lock record = {.kind = 1, .type = 2, .start = 9, .end = 5, .pid = 3};
    message.data = data;
    message.data_size = (uint32_t)wire_put_lock(&record, data);
    assert_int_equal(locks_client_input(&world->client, &message), -EPROTO);
    record.end = 10;
    message.data_size = (uint32_t)wire_put_lock(&record, data);
    assert_int_equal(locks_client_input(&world->client, &message), 0);
    assert_int_equal(request.result, 0);
    assert_int_equal(request.conflict.start, 9);
    assert_int_equal(request.conflict.pid, 3);
    assert_int_equal(world->client.lock_count, 1);
    world_free(world);
}

/* The end of the connection ends all waits and all locks; in a child nobody waits. */
static void test_the_end_of_the_connection(void **state)
{
    struct world *world = world_new();
    struct lock_request requests[2];
    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 5);
    for (int i = 0; i < 2; i++) {
        const struct lock lock = record_lock(process, LOCK_TYPE_READ, 20, 29);
        assert_int_equal(ask(world, FILE_B, lock, LOCKS_WAIT, &requests[i]), 0);
    }
    world->done_count = 0;
    locks_client_lost(&world->client, -ENOTCONN);
    locks_client_check(&world->client);
    assert_int_equal(world->done_count, 2);
    assert_int_equal(requests[0].result, -ENOTCONN);
    assert_int_equal(requests[1].result, -ENOTCONN);
    assert_int_equal(world->client.lock_count, 0);

    get(world, FILE_A, record_lock(process, LOCK_TYPE_WRITE, 0, 9), 0);
    assert_int_equal(
        ask(world, FILE_A, record_lock(process, LOCK_TYPE_READ, 20, 29), 0, &requests[0]), 0);
    world->done_count = 0;
    world->sent_count = 0;
    locks_client_reset(&world->client);
    locks_client_check(&world->client);
    assert_int_equal(world->done_count, 0);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(world->client.lock_count, 0);
    world_free(world);
}

/* Of a long path the end is kept. */
static void test_the_end_of_a_path_is_what_matters(void **state)
{
    struct world *world = world_new();
    char path[400];
    memset(path, 'x', sizeof path);
    memcpy(path + sizeof path - 5, "/end", 5);
    struct lock_request request = {.lock = record_lock(process, LOCK_TYPE_WRITE, 0, 9)};
    assert_int_equal(locks_client_ask(&world->client, FILE_A, 0, path, &request), 0);
    const struct sent *sent = only_sent(world, WIRE_LOCK);
    assert_int_equal(strlen(sent->path), LOCK_PATH_MAX);
    assert_string_equal(sent->path + LOCK_PATH_MAX - 4, "/end");
    assert_int_equal(locked(world, &request, 0, 0), 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_the_table_nothing_is_sent),
        cmocka_unit_test(test_conflicts_among_our_own_are_found_here),
        cmocka_unit_test(test_a_recall_takes_the_table),
        cmocka_unit_test(test_a_large_table_goes_in_several_frames),
        cmocka_unit_test(test_what_is_under_way_is_decided_at_the_server),
        cmocka_unit_test(test_flock_changes_by_giving_up),
        cmocka_unit_test(test_a_canceled_flock_leaves_nothing),
        cmocka_unit_test(test_a_shared_open_file_is_the_servers),
        cmocka_unit_test(test_sharing_returns_the_table),
        cmocka_unit_test(test_idle_tables_are_bounded),
        cmocka_unit_test(test_there_is_a_limit),
        cmocka_unit_test(test_a_server_that_breaks_the_protocol),
        cmocka_unit_test(test_the_end_of_the_connection),
        cmocka_unit_test(test_the_end_of_a_path_is_what_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
