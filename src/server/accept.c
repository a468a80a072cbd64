/*
 * Letting clients in that come by the listening socket.
 */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Taken at one time before the peers that are here already get their turn. */
#define ACCEPT_BATCH 64

/* When accepting is not possible for want of descriptors or memory, try again after this. The
 * connections wait meanwhile, and the loop must not turn on an event that it cannot handle. */
#define ACCEPT_PAUSE_MS 100

static void on_connection(uv_poll_t *poll, int status, int events);

static void watch_listener(struct hf_server *server)
{
    uv_poll_start(&server->listener_poll, UV_READABLE, on_connection);
}

static void on_pause_over(uv_timer_t *timer)
{
    watch_listener(timer->data);
}

static void pause_accepting(struct hf_server *server, int failure)
{
    log_line(&server->settings.log,
             HF_LOG_ERROR,
             "cannot accept connections for the moment: %s",
             strerror(failure));
    uv_poll_stop(&server->listener_poll);
    uv_timer_start(&server->accept_pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

/* Return: a descriptor that the guard keeps, or a negative errno. */
static int accept_one(struct hf_server *server)
{
    fork_guard_lock();
    int fd = fork_guard_keep(
        &server->guard, accept4(server->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    fork_guard_unlock();
    return fd;
}

static void open_spare(struct hf_server *server)
{
    fork_guard_lock();
    server->spare_fd = fork_guard_keep(&server->guard, open("/dev/null", O_RDONLY | O_CLOEXEC));
    fork_guard_unlock();
}

/* There is a peer on @fd, or nothing is left of it. */
static void let_in(struct hf_server *server, int fd, enum wire_reason refusal)
{
    struct peer *peer = peer_new(server, fd, true);
    if (peer == NULL) {
        fork_guard_close(&server->guard, fd);
        log_line(&server->settings.log, HF_LOG_ERROR, "a connection was refused: out of memory");
        return;
    }
    peer_identify(peer);
    if (refusal == WIRE_REASON_NONE &&
        (peer->pid == 0 || !settings_admit(&server->settings, peer->uid))) {
        refusal = WIRE_REASON_NOT_ADMITTED;
    }
    if (refusal != WIRE_REASON_NONE) {
        peer_refuse(peer, refusal);
    } else {
        peer_join(peer);
    }
}

/* All descriptors are in use: with the one kept for this, tell one client so rather than let it
 * wait. Return: false when not even that is possible. */
static bool refuse_with_spare(struct hf_server *server)
{
    if (server->spare_fd < 0) {
        open_spare(server);
        return false;
    }
    server->spare_fd = fork_guard_close(&server->guard, server->spare_fd);
    const int fd = accept_one(server);
    if (fd >= 0) {
        let_in(server, fd, WIRE_REASON_TOO_MANY_CLIENTS);
    }
    open_spare(server);
    return fd >= 0;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct hf_server *server = poll->data;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        const int fd = accept_one(server);
        if (fd >= 0) {
            let_in(server, fd, WIRE_REASON_NONE);
        } else if (fd == -EAGAIN) {
            return;
        } else if (fd != -EINTR && fd != -ECONNABORTED) {
            const bool none_free = fd == -EMFILE || fd == -ENFILE;
            if (!none_free || !refuse_with_spare(server)) {
                pause_accepting(server, -fd);
                return;
            }
        }
    }
}

int server_open_accept(struct hf_server *server)
{
    open_spare(server);
    if (server->spare_fd < 0) {
        return server->spare_fd;
    }
    int failure = uv_poll_init(server->loop, &server->listener_poll, server->listener.fd);
    if (failure != 0) {
        return failure;
    }
    server->listener_poll.data = server;
    watch_listener(server);
    return 0;
}
