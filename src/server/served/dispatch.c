/*
 * An OPERATION from its frame to its answer.
 */
#include "server/served/parts.h"

#include <errno.h>
#include <time.h>

/* A client whose clock is further away is not believed. */
#define MAX_CLOCK_DIFFERENCE_SECONDS 60

/* ---- which operations there are ---- */

struct shape {
    int64_t (*run)(struct work *work);
    bool needs_answer;  /* it has no other use */
    bool changes;       /* the store: not a read-only one */
    hf_mode taken_mode; /* that the server takes for a SERVED one; INVALID: it cannot be one */
};

static const struct shape shapes[] = {
    [WIRE_OP_ATTACH] = {.run = served_attach, .needs_answer = true},
    [WIRE_OP_LOOKUP] = {.run = served_lookup, .needs_answer = true},
    [WIRE_OP_GET] = {.run = served_get, .needs_answer = true, .taken_mode = HF_SHARED},
    [WIRE_OP_PARENT] = {.run = served_parent, .needs_answer = true},
    [WIRE_OP_LIST] = {.run = served_list, .needs_answer = true},
    [WIRE_OP_READ_LINK] = {.run = served_read_link, .needs_answer = true},
    [WIRE_OP_READ] = {.run = served_read, .needs_answer = true, .taken_mode = HF_SHARED},
    [WIRE_OP_SEEK] = {.run = served_seek, .needs_answer = true},
    [WIRE_OP_USAGE] = {.run = served_usage, .needs_answer = true},
    [WIRE_OP_GET_XATTR] = {.run = served_get_xattr, .needs_answer = true},
    [WIRE_OP_LIST_XATTRS] = {.run = served_list_xattrs, .needs_answer = true},
    [WIRE_OP_USE] = {.run = served_use},
    [WIRE_OP_UNUSE] = {.run = served_unuse},
    [WIRE_OP_LEND] = {.run = served_lend, .needs_answer = true},
    [WIRE_OP_BORROW] = {.run = served_borrow, .needs_answer = true},
    [WIRE_OP_TOUCH] = {.run = served_touch},
    [WIRE_OP_SYNC] = {.run = served_sync},
    [WIRE_OP_RESERVE] = {.run = served_reserve, .needs_answer = true},
    [WIRE_OP_RETURN] = {.run = served_return},
    [WIRE_OP_CREDENTIALS] = {.run = served_state_credentials},
    [WIRE_OP_SET] = {.run = served_set, .changes = true, .taken_mode = HF_EXCLUSIVE},
    [WIRE_OP_MAKE] = {.run = served_make, .changes = true},
    [WIRE_OP_MAKE_UNNAMED] = {.run = served_make_unnamed, .changes = true},
    [WIRE_OP_LINK] = {.run = served_link, .changes = true},
    [WIRE_OP_UNLINK] = {.run = served_unlink, .changes = true},
    [WIRE_OP_REMOVE_DIRECTORY] = {.run = served_remove_directory, .changes = true},
    [WIRE_OP_RENAME] = {.run = served_rename, .changes = true},
    [WIRE_OP_WRITE] = {.run = served_write, .changes = true, .taken_mode = HF_EXCLUSIVE},
    [WIRE_OP_APPEND] = {.run = served_append,
                        .needs_answer = true,
                        .changes = true,
                        .taken_mode = HF_EXCLUSIVE},
    [WIRE_OP_ALLOCATE] = {.run = served_allocate, .changes = true},
    [WIRE_OP_COPY] = {.run = served_copy, .changes = true},
    [WIRE_OP_SET_XATTR] = {.run = served_set_xattr, .changes = true},
    [WIRE_OP_REMOVE_XATTR] = {.run = served_remove_xattr, .changes = true},
};

/* ---- the end of an operation ---- */

static void answer(const struct work *work, int error)
{
    peer_send(work->peer,
              &(struct wire_message){
                  .kind = WIRE_ANSWER,
                  .seq = work->seq,
                  .error = (uint32_t)error,
                  .flags = work->flags,
                  .data = work->is_in_place ? NULL : work->answer,
                  .data_size = error == 0 ? (uint32_t)work->answer_size : 0,
              });
}

/* Could a client that has checked everything it can not have foreseen this? */
static bool is_surprise(const struct work *work, int error)
{
    switch (error) {
    case EIO:
    case ENOMEM:
    case EDQUOT:
        return true;
    case EPROTO:
        return false;
    case EACCES:
    case EPERM:
    case EROFS:
    case EINVAL:
    case EISDIR:
        if (!work->is_permitted) {
            return false;
        }
        break;
    }
    /* In a store that is not exact the host has a say, and others may change it. */
    return (work->client->of->flags & WIRE_STORE_EXACT) == 0;
}

static enum wire_reason fail(const struct work *work, int error)
{
    struct served_client *client = work->client;
    /* What builds on an operation that failed fails too, and the client may not know yet. */
    if (!is_surprise(work, error) && client->failed == 0) {
        const bool beyond = error == ENOSPC || error == EPROTO;
        return beyond ? WIRE_REASON_NOT_RESERVED : WIRE_REASON_NOT_PERMITTED;
    }
    client->failed++;
    peer_send(work->peer,
              &(struct wire_message){
                  .kind = WIRE_FAILED,
                  .store = client->of->number,
                  .inode = work->op.inode,
                  .error = (uint32_t)error,
              });
    return WIRE_REASON_NONE;
}

enum wire_reason served_finish(const struct work *work, int64_t result)
{
    if (work->seq != 0) {
        answer(work, result < 0 ? (int)-result : 0);
        return WIRE_REASON_NONE;
    }
    const bool is_short =
        work->op.code == WIRE_OP_WRITE && result >= 0 && (uint64_t)result < work->op.data_size;
    if (result < 0 || is_short) {
        return fail(work, result < 0 ? (int)-result : ENOSPC);
    }
    return WIRE_REASON_NONE;
}

/* ---- its beginning ---- */

enum wire_reason served_run(struct work *work)
{
    const struct shape *shape = &shapes[work->op.code];
    if (shape->changes && (work->client->of->flags & WIRE_STORE_READ_ONLY) != 0) {
        return served_finish(work, -EROFS);
    }
    const enum wire_reason reason = served_check_held(work);
    if (reason != WIRE_REASON_NONE) {
        return reason;
    }
    int64_t result = shape->run(work);
    if (result == -ENOSPC && served_can_reclaim(work)) {
        if (served_wait_for_space(work)) {
            return WIRE_REASON_NONE;
        }
        work->cannot_wait = true;
        result = shape->run(work);
    }
    return served_finish(work, result);
}

static struct timespec believed(struct timespec now)
{
    struct timespec ours;
    clock_gettime(CLOCK_REALTIME_COARSE, &ours);
    /* Unsigned, so that no time is too far for the subtraction. */
    const uint64_t ahead = (uint64_t)now.tv_sec - (uint64_t)ours.tv_sec;
    const bool is_near = ahead + MAX_CLOCK_DIFFERENCE_SECONDS <= 2 * MAX_CLOCK_DIFFERENCE_SECONDS;
    return is_near ? now : ours;
}

hf_mode served_taken_mode(const struct wire_message *message)
{
    return shapes[message->data[0]].taken_mode; /* it was decoded before */
}

/* What can be told from the operation alone. */
static bool is_sound(const struct wire_message *message, const struct wire_operation *op)
{
    const struct shape *shape = &shapes[op->code];
    if ((shape->needs_answer && message->seq == 0) || op->data_size > WIRE_DATA_MAX) {
        return false;
    }
    if ((message->flags & WIRE_SERVED) != 0) {
        return shape->taken_mode != HF_INVALID && message->seq != 0;
    }
    return op->code != WIRE_OP_CREDENTIALS || (op->slot != 0 && op->data_size % 4 == 0);
}

/* Who has an inode in its cache says with TOUCH when it was read, and may know of it that it is not to
 * be seen. */
static bool moves_access_time(const struct work *work)
{
    return (work->client->of->flags & WIRE_STORE_READ_ONLY) == 0 &&
           (work->op.code == WIRE_OP_TOUCH || (work->message->flags & WIRE_SERVED) != 0);
}

enum wire_reason served_begin(struct work *work, struct served_client *client,
                              const struct wire_message *message)
{
    struct credentials own;
    work->message = message;
    work->server = client->peer->server;
    work->peer = client->peer;
    work->client = client;
    work->store = client->of->store;
    work->seq = message->seq;
    work->answer = work->server->served.answer;
    if (!wire_operation_decode(message->data, message->data_size, &work->op) ||
        !is_sound(message, &work->op)) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    if (served_credentials(client->peer, 0, &own) != 0) {
        return WIRE_REASON_NO_MEMORY;
    }
    if (served_credentials(client->peer, message->credentials, &work->who) != 0) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    if (work->op.code == WIRE_OP_CREDENTIALS && !served_is_privileged(client->peer)) {
        return WIRE_REASON_NOT_PERMITTED;
    }
    work->call = (struct store_call){
        .now = believed(work->op.now),
        .holder = &client->holder,
        .from_reserved = message->seq == 0,
        .drop_privileges = !permit_keeps_privileges(&work->who),
        .no_atime = !moves_access_time(work),
    };
    return (message->flags & WIRE_SERVED) != 0 && !work->is_taken ? served_take(work)
                                                                  : served_run(work);
}

enum wire_reason served_input(struct hf_server *server, struct peer *peer,
                              const struct wire_message *message)
{
    const uint32_t index = message->store - WIRE_STORE_FIRST;
    if (index < server->served.count) {
        struct served_client *client = served_client_get(peer, server->served.stores[index]);
        struct work work = {.seq = message->seq};
        server->served.operations++;
        return client == NULL ? WIRE_REASON_NO_MEMORY : served_begin(&work, client, message);
    }
    if (message->seq == 0) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    peer_send(peer,
              &(struct wire_message){.kind = WIRE_ANSWER, .seq = message->seq, .error = ENODEV});
    return WIRE_REASON_NONE;
}
