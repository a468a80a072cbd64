/*
 * A server: one libuv loop, the table of sync handles, and the peers.
 *
 * Everything runs in the loop's thread, whoever that is at the moment, except for what the
 * comments below put under `mutex`. Locks are taken in the order run_mutex, mutex; the lock of
 * fork_guard.h is taken alone.
 */
#ifndef HF_SERVER_SERVER_H
#define HF_SERVER_SERVER_H

#include "server/config.h"
#include "base/fork_guard.h"
#include "server/keep.h"
#include "server/listener.h"
#include "server/locks.h"
#include "server/park.h"
#include "server/peer.h"
#include "server/served.h"
#include "sync/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

struct hf_server {
    struct settings settings;
    struct fork_guard guard;

    uv_loop_t *loop;
    uv_check_t after_poll;
    uv_timer_t handshake_timer; /* runs while a peer has not said hello */

    struct listener listener;
    uv_poll_t listener_poll;
    uv_timer_t accept_pause; /* runs while there are no descriptors to accept with */
    int spare_fd;            /* given up to refuse a connection when there is no other */

    struct sync_server table;
    struct keeper keeper;
    struct park park;
    struct served served;
    struct file_locks locks;
    struct list peers;    /* all, in order of arrival */
    struct list greeting; /* those that have not said hello, the longest here first */
    struct list to_flush; /* those with bytes gathered and a socket that may take them */
    struct list ended;    /* those to part with */
    uint32_t peer_count;
    uint32_t unsettled; /* reads since the last server_settle() */
    uint64_t last_client;
    uint64_t cut_off;
    uint8_t *scratch; /* where bytes are read to: PEER_SCRATCH_BYTES */

    _Atomic uint64_t unsent_bytes; /* written by the loop's thread only */

    pthread_mutex_t mutex;
    uv_async_t wake;              /* sent under mutex, and not after `stopping` was set */
    struct list arrivals;         /* under mutex: peers from other threads */
    bool stopping;                /* under mutex */
    struct hf_server_stats stats; /* under mutex */

    pthread_mutex_t run_mutex; /* who holds it may run the loop, or start or join the thread */
    pthread_t thread;          /* under run_mutex */
    bool has_thread;           /* under run_mutex */
    bool closed;               /* all handles of the loop are; under run_mutex or by the thread */
};

/* ---- loop.c ---- */

/* Make the loop and its handles; the listener is open already, or its fd is -1.
 * Return: 0 or a negative errno; server_close_loop() is due in both cases. */
int server_open_loop(struct hf_server *server);

/* Close what is left of the loop and free it. */
void server_close_loop(struct hf_server *server);

/* Run the loop in the calling thread. */
void server_run(struct hf_server *server, uv_run_mode mode);

/* Is the calling thread inside server_run() of this server, that is in one of its callbacks? */
bool server_is_running_here(const struct hf_server *server);

/* Deliver what a batch of input led to: part with peers that ended, make the counters public,
 * send what was gathered. Whoever sees a message or the end of a connection finds the counters
 * include it. */
void server_settle(struct hf_server *server);

/* A peer began or ended to be waited for in the handshake. */
void server_watch_handshakes(struct hf_server *server);

/* ---- accept.c ---- */

/* Watch the listening socket. Return: 0 or a negative errno. */
int server_open_accept(struct hf_server *server);

/* ---- trace.c ---- */

void server_trace(const struct hf_server *server, const struct peer *peer,
                  const struct wire_message *message, enum wire_direction direction);

#endif
