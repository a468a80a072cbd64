#include "server/locks.h"

#include "server/server.h"
#include "wire/ids.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct peer *peer_from_locks(struct locks_peer *locks)
{
    return list_entry(locks, struct peer, locks.core);
}

/* ---- patience ---- */

static void watch_recalled(struct hf_server *server);
static void expect_answer(struct peer *peer);

static void on_recall_time(uv_timer_t *timer)
{
    struct hf_server *server = timer->data;
    const uint64_t now = uv_now(server->loop);
    struct list *first;
    while ((first = list_first(&server->locks.recalled)) != NULL) {
        struct peer *peer = list_entry(first, struct peer, locks.recalled_link);
        if (peer->locks.recall_deadline_ms > now) {
            break;
        }
        list_remove(first);
        /* A loop that was held up may find the answer there, or a part of it, still unread. */
        const uint32_t before = peer->locks.core.recalled;
        peer_on_event(peer, 0, UV_READABLE);
        if (peer->locks.core.recalled < before) {
            expect_answer(peer);
        } else {
            peer_cut_off(peer, WIRE_REASON_TOO_SLOW);
        }
    }
    watch_recalled(server);
    server_settle(server);
}

static void watch_recalled(struct hf_server *server)
{
    struct list *first = list_first(&server->locks.recalled);
    if (first == NULL) {
        uv_timer_stop(&server->locks.recall_timer);
        return;
    }
    const struct peer *peer = list_entry(first, struct peer, locks.recalled_link);
    const uint64_t now = uv_now(server->loop);
    const uint64_t due = peer->locks.recall_deadline_ms;
    uv_timer_start(&server->locks.recall_timer, on_recall_time, due > now ? due - now : 0, 0);
}

/* All have the same time from now on, so the newest is due last. */
static void expect_answer(struct peer *peer)
{
    struct hf_server *server = peer->server;
    list_remove(&peer->locks.recalled_link);
    if (peer->locks.core.recalled > 0) {
        peer->locks.recall_deadline_ms =
            uv_now(server->loop) + UINT64_C(1000) * server->settings.limits.recall_seconds;
        list_append(&server->locks.recalled, &peer->locks.recalled_link);
    }
    watch_recalled(server);
}

/* ---- doubt ---- */

/*
 * A process gives up a lock, or dies, and somebody who knows of it asks for that lock. The first is in
 * the kernel before the second, but sockets are read in any order. So who is to be refused waits until
 * all sockets that were ready by then have been read.
 */
struct doubtful {
    struct list link;    /* file_locks.doubtful */
    struct list of_peer; /* file_locks_peer.doubtful */
    struct peer *peer;
    bool is_due; /* it was there when the loop slept last */
    struct wire_message message;
    uint8_t data[];
};

/* There is nothing to be done: while the handle runs the loop polls without sleeping. */
static void on_no_sleep(uv_idle_t *idle)
{
}

static bool doubt(struct peer *peer, const struct wire_message *message)
{
    struct hf_server *server = peer->server;
    if (peer->locks.doubtful_count >= server->settings.limits.waiting_locks) {
        return false;
    }
    struct doubtful *doubtful = malloc(sizeof(*doubtful) + message->data_size);
    if (doubtful == NULL) {
        return false;
    }
    *doubtful = (struct doubtful){.peer = peer, .message = *message};
    memcpy(doubtful->data, message->data, message->data_size);
    doubtful->message.data = doubtful->data;
    list_append(&server->locks.doubtful, &doubtful->link);
    list_append(&peer->locks.doubtful, &doubtful->of_peer);
    peer->locks.doubtful_count++;
    uv_idle_start(&server->locks.no_sleep, on_no_sleep);
    return true;
}

static void forget_doubt(struct doubtful *doubtful)
{
    list_remove(&doubtful->link);
    list_remove(&doubtful->of_peer);
    doubtful->peer->locks.doubtful_count--;
    free(doubtful);
}

static void decide(struct doubtful *doubtful)
{
    struct peer *peer = doubtful->peer;
    struct locks_server *core = &peer->server->locks.core;
    const enum wire_reason reason = locks_server_input(core, &peer->locks.core, &doubtful->message);
    if (reason == WIRE_REASON_NOT_PERMITTED) {
        /* It was, when it came: the open file has been closed since. */
        locks_server_refuse(core, &peer->locks.core, &doubtful->message, ECANCELED);
    } else if (reason != WIRE_REASON_NONE) {
        peer_cut_off(peer, reason);
    }
}

void file_locks_decide(struct hf_server *server)
{
    struct list *next;
    for (struct list *link = server->locks.doubtful.next; link != &server->locks.doubtful;
         link = next) {
        struct doubtful *doubtful = list_entry(link, struct doubtful, link);
        next = link->next;
        if (!doubtful->is_due) {
            doubtful->is_due = true;
            continue;
        }
        if (!doubtful->peer->ended) {
            decide(doubtful);
        }
        forget_doubt(doubtful);
    }
    if (list_is_empty(&server->locks.doubtful)) {
        uv_idle_stop(&server->locks.no_sleep);
    }
}

/* ---- what the core asks for ---- */

static void send_to_peer(void *context, struct locks_peer *locks,
                         const struct wire_message *message)
{
    struct peer *peer = peer_from_locks(locks);
    peer_send(peer, message);
    if (message->kind == WIRE_LOCK_RECALL && list_is_empty(&peer->locks.recalled_link)) {
        assert(locks->recalled > 0);
        expect_answer(peer);
    }
}

static bool is_shared(void *context, hf_id owner)
{
    const struct hf_server *server = context;
    return sync_server_is_used(&server->table, owner);
}

static bool may_own(void *context, struct locks_peer *locks, enum lock_kind kind, hf_id owner)
{
    const struct hf_server *server = context;
    const struct peer *peer = peer_from_locks(locks);
    if (kind == LOCK_POSIX) {
        return owner.space == wire_process_space(peer->number);
    }
    return owner.space == wire_open_file_space(peer->number) ||
           (wire_id_is_of_open_file(owner) &&
            sync_server_view(&server->table, &peer->sync, owner).grant != 0);
}

static const struct locks_server_ops core_ops = {
    .send = send_to_peer,
    .is_shared = is_shared,
    .may_own = may_own,
};

/* ---- for the server ---- */

static void forget_owner(void *context, hf_id id)
{
    struct hf_server *server = context;
    if (wire_id_is_of_open_file(id)) {
        locks_server_owner_gone(&server->locks.core, id);
    }
}

int file_locks_init(struct hf_server *server)
{
    const hf_limits *limits = &server->settings.limits;
    const struct locks_limits core_limits = {
        .locks = limits->locks,
        .waiting = limits->waiting_locks,
        .tables = limits->lock_tables,
    };
    const int result = locks_server_init(&server->locks.core, &core_limits, &core_ops, server);
    if (result == 0) {
        list_init(&server->locks.recalled);
        list_init(&server->locks.doubtful);
        server->table.unused = forget_owner;
    }
    return result;
}

void file_locks_open_loop(struct hf_server *server)
{
    uv_timer_init(server->loop, &server->locks.recall_timer);
    server->locks.recall_timer.data = server;
    uv_idle_init(server->loop, &server->locks.no_sleep);
}

void file_locks_deinit(struct hf_server *server)
{
    server->table.unused = NULL;
    locks_server_deinit(&server->locks.core);
}

void file_locks_peer_join(struct peer *peer)
{
    locks_peer_init(&peer->locks.core, peer->number);
    list_init(&peer->locks.doubtful);
    list_init(&peer->locks.recalled_link);
}

void file_locks_peer_give_up(struct peer *peer)
{
    struct list *first;
    while ((first = list_first(&peer->locks.doubtful)) != NULL) {
        forget_doubt(list_entry(first, struct doubtful, of_peer));
    }
    locks_peer_give_up(&peer->server->locks.core, &peer->locks.core);
}

void file_locks_peer_leave(struct peer *peer)
{
    locks_peer_leave(&peer->server->locks.core, &peer->locks.core);
    list_remove(&peer->locks.recalled_link);
    watch_recalled(peer->server);
}

enum wire_reason file_locks_input(struct peer *peer, const struct wire_message *message)
{
    struct locks_server *core = &peer->server->locks.core;
    if (locks_server_would_refuse(core, &peer->locks.core, message) && doubt(peer, message)) {
        return WIRE_REASON_NONE;
    }
    const enum wire_reason reason = locks_server_input(core, &peer->locks.core, message);
    if (message->kind == WIRE_LOCK_RETURN && reason == WIRE_REASON_NONE &&
        !list_is_empty(&peer->locks.recalled_link)) {
        expect_answer(peer); /* it goes on, so the time begins again */
    }
    return reason;
}
