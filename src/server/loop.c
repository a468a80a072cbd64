/*
 * The loop's own part: what happens in one turn of it, and how it begins and ends.
 *
 * One turn: wait; read once from each peer that has sent something, which gathers messages for
 * it and others; settle, which sends to each peer once. So a hand-off costs one wait, one read
 * and one send for each message, and nothing is registered anew with the kernel.
 */
#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static _Thread_local const struct hf_server *running_here;

bool server_is_running_here(const struct hf_server *server)
{
    return running_here == server;
}

void server_run(struct hf_server *server, uv_run_mode mode)
{
    const struct hf_server *const outer = running_here;
    running_here = server;
    uv_run(server->loop, mode);
    running_here = outer;
}

/* ---- settling ---- */

static void publish_stats(struct hf_server *server)
{
    const struct sync_server_counters *counters = &server->table.counters;
    struct hf_server_stats stats = {
        .clients = server->peer_count,
        .handles = counters->handles,
        .holds = counters->holds - server->keeper.peer.hold_count - server->served.taker.hold_count,
        .queued = counters->queued,
        .table_bytes = counters->bytes,
        .acquires = counters->acquires,
        .releases = counters->releases,
        .cancels = counters->cancels,
        .grants = counters->grants,
        .denials = counters->denials,
        .recalls = counters->recalls,
        .cut_off = server->cut_off,
        .parked = server->park.count,
        .operations = server->served.operations,
        .uses = server->served.uses,
    };
    served_count_reserved(server, &stats.reserved_pages, &stats.reserved_inodes);
    pthread_mutex_lock(&server->mutex);
    server->stats = stats; /* unsent_bytes is read where it is kept */
    pthread_mutex_unlock(&server->mutex);
}

/* Parting with one may be the end of others, who cannot take what they are granted. */
static void part_with_ended(struct hf_server *server, struct list *parted)
{
    struct list *first;
    while ((first = list_first(&server->ended)) != NULL) {
        struct peer *peer = list_entry(first, struct peer, ended_link);
        list_remove(&peer->ended_link);
        peer_part(peer);
        list_append(parted, &peer->ended_link);
    }
}

void server_settle(struct hf_server *server)
{
    server->unsettled = 0;
    do {
        struct list parted;
        list_init(&parted);
        part_with_ended(server, &parted);
        served_settle(server);
        publish_stats(server);

        struct list *first;
        while ((first = list_first(&parted)) != NULL) {
            struct peer *peer = list_entry(first, struct peer, ended_link);
            list_remove(&peer->ended_link);
            peer_close(peer);
        }
        while ((first = list_first(&server->to_flush)) != NULL) {
            struct peer *peer = list_entry(first, struct peer, flush_link);
            list_remove(&peer->flush_link);
            peer_flush(peer);
        }
    } while (!list_is_empty(&server->ended));
}

static void after_poll(uv_check_t *check)
{
    struct hf_server *server = check->data;
    server_settle(server);
    if (file_locks_doubt(&server->locks)) {
        file_locks_decide(server); /* those who have gone have been parted with */
        server_settle(server);
    }
}

/* ---- the handshake's time limit ---- */

static void on_handshake_time(uv_timer_t *timer)
{
    struct hf_server *server = timer->data;
    const uint64_t now = uv_now(server->loop);
    struct list *first;
    while ((first = list_first(&server->greeting)) != NULL) {
        struct peer *peer = list_entry(first, struct peer, greeting_link);
        if (peer->greeting_deadline_ms > now) {
            break;
        }
        list_remove(&peer->greeting_link);
        /* A loop that was held up finds the time over and the HELLO there, still unread: then the
         * delay was not the peer's. */
        peer_on_event(peer, 0, UV_READABLE);
        if (!peer->welcomed) {
            peer_cut_off(peer, WIRE_REASON_TOO_SLOW);
        }
    }
    server_watch_handshakes(server);
    server_settle(server);
}

void server_watch_handshakes(struct hf_server *server)
{
    struct list *first = list_first(&server->greeting);
    if (first == NULL) {
        uv_timer_stop(&server->handshake_timer);
    } else if (!uv_is_active((uv_handle_t *)&server->handshake_timer)) {
        /* All have the same time, so the one that is here longest is due first. */
        const struct peer *peer = list_entry(first, struct peer, greeting_link);
        const uint64_t now = uv_now(server->loop);
        const uint64_t due = peer->greeting_deadline_ms;
        uv_timer_start(&server->handshake_timer, on_handshake_time, due > now ? due - now : 0, 0);
    }
}

/* ---- what other threads ask for ---- */

static void close_handle(uv_handle_t *handle, void *context)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* Every connection ends; the loop ends when its handles are closed. */
static void shut_down(struct hf_server *server)
{
    for (struct list *at = server->peers.next; at != &server->peers; at = at->next) {
        peer_cut_off(list_entry(at, struct peer, link), WIRE_REASON_SHUTDOWN);
    }
    server_settle(server);
    assert(server->peer_count == 0);

    uv_walk(server->loop, close_handle, NULL);
    server->spare_fd = fork_guard_close(&server->guard, server->spare_fd);
    listener_close(&server->listener, &server->guard);
    server->closed = true;
}

static void on_wake(uv_async_t *wake)
{
    struct hf_server *server = wake->data;
    struct list arrivals;
    list_init(&arrivals);
    pthread_mutex_lock(&server->mutex);
    const bool stopping = server->stopping;
    struct list *first;
    while ((first = list_first(&server->arrivals)) != NULL) {
        list_remove(first);
        list_append(&arrivals, first);
    }
    pthread_mutex_unlock(&server->mutex);

    while ((first = list_first(&arrivals)) != NULL) {
        struct peer *peer = list_entry(first, struct peer, link);
        list_remove(&peer->link);
        if (stopping) {
            peer_refuse(peer, WIRE_REASON_SHUTDOWN);
        } else {
            peer_join(peer);
        }
    }
    if (stopping && !server->closed) {
        shut_down(server);
    }
}

/* ---- beginning and end ---- */

int server_open_loop(struct hf_server *server)
{
    server->loop = malloc(sizeof(*server->loop));
    if (server->loop == NULL) {
        return -ENOMEM;
    }
    int failure = uv_loop_init(server->loop);
    if (failure != 0) {
        /* libuv 1.44 leaves this one open. */
        if (uv_version() < 0x012d00 && uv_backend_fd(server->loop) > 0) {
            close(uv_backend_fd(server->loop));
        }
        free(server->loop);
        server->loop = NULL;
        return failure;
    }
    failure = uv_async_init(server->loop, &server->wake, on_wake);
    if (failure != 0) {
        return failure;
    }
    server->wake.data = server;
    uv_check_init(server->loop, &server->after_poll);
    server->after_poll.data = server;
    uv_check_start(&server->after_poll, after_poll);
    uv_timer_init(server->loop, &server->handshake_timer);
    server->handshake_timer.data = server;
    served_open_loop(server);
    file_locks_open_loop(server);
    uv_timer_init(server->loop, &server->accept_pause);
    server->accept_pause.data = server;
    if (server->listener.fd >= 0) {
        failure = server_open_accept(server);
    }
    return failure;
}

void server_close_loop(struct hf_server *server)
{
    if (server->loop == NULL) {
        return;
    }
    uv_walk(server->loop, close_handle, NULL);
    uv_run(server->loop, UV_RUN_DEFAULT);
    int failure = uv_loop_close(server->loop);
    assert(failure == 0);
    free(server->loop);
    server->loop = NULL;
}
