/*
 * For tests of the server's side of file locks: a server, its peers, and what they were sent.
 */
#ifndef HF_TESTS_LIB_LOCKS_STAGE_H
#define HF_TESTS_LIB_LOCKS_STAGE_H

#include "locks/server.h"

#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STAGE_PEERS 10
#define STAGE_SENT_MAX 64

enum { A, B, C, D };

struct stage_sent {
    struct wire_message message;
    uint8_t data[4096];
};

struct stage {
    struct locks_server server;
    struct locks_peer peers[STAGE_PEERS];
    bool gone[STAGE_PEERS];
    struct stage_sent sent[STAGE_PEERS][STAGE_SENT_MAX];
    int sent_count[STAGE_PEERS];
    uint64_t shared;    /* the object of the open file that is */
    uint64_t forbidden; /* the object of the owner that nobody may be */
};

static inline hf_id stage_file(int file)
{
    return (hf_id){.space = 1, .object = (uint64_t)file};
}

static inline struct lock stage_lock(int owner, enum lock_type type, uint64_t start, uint64_t end)
{
    return (struct lock){
        .kind = LOCK_POSIX,
        .type = type,
        .start = start,
        .end = end,
        .owner = {.space = 2, .object = (uint64_t)owner},
        .pid = (uint32_t)owner + 1000,
    };
}

static inline void stage_take(void *context, struct locks_peer *peer,
                              const struct wire_message *message)
{
    struct stage *stage = context;
    ptrdiff_t i = peer - stage->peers;
    assert_false(stage->gone[i]);
    assert_true(stage->sent_count[i] < STAGE_SENT_MAX);
    struct stage_sent *sent = &stage->sent[i][stage->sent_count[i]++];
    sent->message = *message;
    sent->message.data = sent->data;
    assert_true(message->data_size <= sizeof(sent->data));
    if (message->data_size > 0) {
        memcpy(sent->data, message->data, message->data_size);
    }
}

static inline bool stage_is_shared(void *context, hf_id owner)
{
    const struct stage *stage = context;
    return owner.object == stage->shared;
}

static inline bool stage_may_own(void *context, struct locks_peer *peer, enum lock_kind kind,
                                 hf_id owner)
{
    const struct stage *stage = context;
    return owner.object != stage->forbidden;
}

static inline int stage_begin(struct stage *stage, const struct locks_limits *limits)
{
    static const struct locks_server_ops ops = {stage_take, stage_is_shared, stage_may_own};
    static const struct locks_limits usual = {.locks = 100, .waiting = 20, .tables = 10};
    memset(stage, 0, sizeof(*stage));
    stage->shared = UINT64_MAX;
    stage->forbidden = UINT64_MAX;
    for (int i = 0; i < STAGE_PEERS; i++) {
        locks_peer_init(&stage->peers[i], (uint64_t)i + 1);
    }
    return locks_server_init(&stage->server, limits != NULL ? limits : &usual, &ops, stage);
}

static inline void stage_check(struct stage *stage)
{
    locks_server_check(&stage->server);
    for (int i = 0; i < STAGE_PEERS; i++) {
        locks_peer_check(&stage->peers[i]);
    }
}

static inline void stage_leave(struct stage *stage, int peer)
{
    stage->gone[peer] = true;
    locks_peer_give_up(&stage->server, &stage->peers[peer]);
    locks_peer_leave(&stage->server, &stage->peers[peer]);
    stage_check(stage);
}

static inline void stage_end(struct stage *stage)
{
    for (int i = 0; i < STAGE_PEERS; i++) {
        stage_leave(stage, i);
        assert_int_equal(stage->peers[i].lock_count, 0);
        assert_int_equal(stage->peers[i].request_count, 0);
        assert_int_equal(stage->peers[i].table_count, 0);
    }
    assert_int_equal(stage->server.counters.waiting, 0);
    assert_int_equal(stage->server.counters.granted_tables, 0);
    locks_server_deinit(&stage->server);
}

static inline enum wire_reason stage_say(struct stage *stage, int peer,
                                         const struct wire_message *message)
{
    enum wire_reason reason = locks_server_input(&stage->server, &stage->peers[peer], message);
    stage_check(stage);
    return reason;
}

static inline size_t stage_put(const struct lock *lock, const char *path, uint8_t *out)
{
    const struct wire_lock record = {
        .kind = (uint8_t)lock->kind,
        .type = (uint8_t)lock->type,
        .start = lock->start,
        .end = lock->end,
        .owner_space = lock->owner.space,
        .owner_object = lock->owner.object,
        .pid = lock->pid,
        .path = {path, (uint8_t)strlen(path)},
    };
    return wire_put_lock(&record, out);
}

static inline enum wire_reason stage_ask(struct stage *stage, int peer, uint32_t seq, int file,
                                         const struct lock *lock, uint8_t flags)
{
    uint8_t data[WIRE_OPERATION_HEAD_MAX];
    return stage_say(stage,
                     peer,
                     &(struct wire_message){
                         .kind = WIRE_LOCK,
                         .seq = seq,
                         .id = stage_file(file),
                         .flags = flags,
                         .data = data,
                         .data_size = (uint32_t)stage_put(lock, "/path", data),
                     });
}

/* The owner of peer n is n, unless the test says otherwise. */
static inline void stage_ask_range(struct stage *stage, int peer, uint32_t seq, int file,
                                   enum lock_type type, uint64_t start, uint64_t end, uint8_t flags)
{
    const struct lock lock = stage_lock(peer, type, start, end);
    assert_int_equal(stage_ask(stage, peer, seq, file, &lock, flags), WIRE_REASON_NONE);
}

static inline enum wire_reason stage_return(struct stage *stage, int peer, int file, uint64_t grant,
                                            const struct lock *locks, size_t count, uint8_t flags)
{
    uint8_t data[8 * WIRE_OPERATION_HEAD_MAX];
    struct wire_message message = {
        .kind = WIRE_LOCK_RETURN,
        .id = stage_file(file),
        .grant = grant,
        .flags = flags,
        .data = data,
    };
    for (size_t i = 0; i < count; i++) {
        message.data_size += (uint32_t)stage_put(&locks[i], "", data + message.data_size);
    }
    return stage_say(stage, peer, &message);
}

static inline void stage_cancel(struct stage *stage, int peer, uint32_t seq, int file)
{
    assert_int_equal(stage_say(stage,
                               peer,
                               &(struct wire_message){
                                   .kind = WIRE_LOCK_CANCEL,
                                   .seq = seq,
                                   .id = stage_file(file),
                               }),
                     WIRE_REASON_NONE);
}

/* The next message that the peer was sent; in static memory. */
static inline const struct wire_message *stage_next(struct stage *stage, int peer)
{
    static struct stage_sent next;
    assert_true(stage->sent_count[peer] > 0);
    next = stage->sent[peer][0];
    next.message.data = next.data;
    stage->sent_count[peer]--;
    memmove(&stage->sent[peer][0],
            &stage->sent[peer][1],
            (size_t)stage->sent_count[peer] * sizeof(next));
    return &next.message;
}

/* Return: the grant. */
static inline uint64_t stage_answered(struct stage *stage, int peer, uint32_t seq, int error)
{
    const struct wire_message *message = stage_next(stage, peer);
    assert_int_equal(message->kind, WIRE_LOCKED);
    assert_int_equal(message->seq, seq);
    assert_int_equal(message->error, error);
    assert_true(error == 0 || message->grant == 0);
    return message->grant;
}

static inline void stage_recalled(struct stage *stage, int peer, int file, uint64_t grant)
{
    const struct wire_message *message = stage_next(stage, peer);
    assert_int_equal(message->kind, WIRE_LOCK_RECALL);
    assert_true(hf_id_equal(message->id, stage_file(file)));
    assert_int_equal(message->grant, grant);
}

static inline void stage_silent(const struct stage *stage)
{
    for (int i = 0; i < STAGE_PEERS; i++) {
        assert_int_equal(stage->sent_count[i], 0);
    }
}

/* Have @peer lock at the server at once. */
static inline void stage_hold(struct stage *stage, int peer, int file, enum lock_type type,
                              uint64_t start, uint64_t end)
{
    stage_ask_range(stage, peer, 77, file, type, start, end, 0);
    assert_int_equal(stage_answered(stage, peer, 77, 0), 0);
}

/* Have @peer give that up. */
static inline void stage_unlock(struct stage *stage, int peer, int file, uint64_t start,
                                uint64_t end)
{
    stage_ask_range(stage, peer, 78, file, LOCK_NONE, start, end, 0);
    assert_int_equal(stage_answered(stage, peer, 78, 0), 0);
}

#endif
