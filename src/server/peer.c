#include "server/peer.h"

#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DESCRIPTION_BYTES (PEER_NAME_BYTES + 96)

struct peer *peer_new(struct hf_server *server, int fd, bool is_socket)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        return NULL;
    }
    peer->server = server;
    peer->fd = fd;
    peer->is_socket = is_socket;
    peer->attachment = -1;
    sync_peer_init(&peer->sync);
    served_peer_init(&peer->served);
    list_init(&peer->link);
    list_init(&peer->greeting_link);
    list_init(&peer->flush_link);
    list_init(&peer->ended_link);
    buffer_init(&peer->input, WIRE_LENGTH_BYTES + server->settings.limits.frame_bytes);
    buffer_init(&peer->output, server->settings.limits.unsent_bytes);
    snprintf(peer->name, sizeof(peer->name), "unnamed");
    return peer;
}

void peer_identify(struct peer *peer)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(peer->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 &&
        credentials.pid > 0) {
        peer->pid = credentials.pid;
        peer->uid = credentials.uid;
    }
}

static void describe(const struct peer *peer, char *out)
{
    char credentials[48] = "";
    if (peer->pid != 0) {
        snprintf(credentials, sizeof(credentials), ", pid %d, uid %u", peer->pid, peer->uid);
    }
    snprintf(out,
             DESCRIPTION_BYTES,
             "client %llu (%s%s)",
             (unsigned long long)peer->number,
             peer->name,
             credentials);
}

void peer_log(const struct peer *peer, hf_log_level level, const char *what, const char *detail)
{
    const struct log *log = &peer->server->settings.log;
    if (level <= log->level) {
        char description[DESCRIPTION_BYTES];
        describe(peer, description);
        log_line(log, level, "%s: %s%s", description, what, detail);
    }
}

static void free_peer(struct peer *peer)
{
    buffer_deinit(&peer->input);
    buffer_deinit(&peer->output);
    free(peer);
}

void peer_discard(struct peer *peer)
{
    assert(peer->number == 0);
    peer->fd = fork_guard_close(&peer->server->guard, peer->fd);
    free_peer(peer);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct peer *peer = poll->data;
    peer_on_event(peer, status, events);
    struct hf_server *server = peer->server;
    /* Not after every read, so that answers go out together; but many peers at once must not
     * wait for the last of them. */
    if (++server->unsettled >= 64) {
        server_settle(server);
    }
}

void peer_watch(struct peer *peer, int events)
{
    if (peer->watched == events) {
        return;
    }
    int failure = uv_poll_start(&peer->poll, events, on_poll);
    assert(failure == 0);
    peer->watched = events;
}

void peer_refuse(struct peer *peer, enum wire_reason reason)
{
    struct hf_server *server = peer->server;
    peer->number = ++server->last_client;
    server->cut_off++;
    peer_log(peer, HF_LOG_WARNING, "refused: ", wire_reason_text((uint8_t)reason));
    peer_send_goodbye(peer, reason);
    peer->fd = fork_guard_close(&server->guard, peer->fd);
    free_peer(peer);
}

void peer_join(struct peer *peer)
{
    struct hf_server *server = peer->server;
    if (server->peer_count >= server->settings.limits.clients) {
        peer_refuse(peer, WIRE_REASON_TOO_MANY_CLIENTS);
        return;
    }
    if (uv_poll_init(server->loop, &peer->poll, peer->fd) != 0) {
        peer_refuse(peer, WIRE_REASON_NO_MEMORY);
        return;
    }
    peer->poll.data = peer;
    peer->number = ++server->last_client;
    file_locks_peer_join(peer);
    server->peer_count++;
    list_append(&server->peers, &peer->link);
    peer->greeting_deadline_ms =
        uv_now(server->loop) + UINT64_C(1000) * server->settings.limits.handshake_seconds;
    list_append(&server->greeting, &peer->greeting_link);
    server_watch_handshakes(server);
    peer_watch(peer, UV_READABLE);
}

static void end(struct peer *peer, enum wire_reason reason)
{
    if (peer->ended) {
        return;
    }
    peer->ended = true;
    peer->end_reason = reason;
    list_remove(&peer->flush_link);
    list_append(&peer->server->ended, &peer->ended_link);
}

void peer_cut_off(struct peer *peer, enum wire_reason reason)
{
    end(peer, reason);
}

void peer_left(struct peer *peer)
{
    end(peer, WIRE_REASON_NONE);
}

void peer_part(struct peer *peer)
{
    struct hf_server *server = peer->server;
    assert(peer->ended);
    if (peer->end_reason == WIRE_REASON_SHUTDOWN) {
        peer_log(peer, HF_LOG_DEBUG, "the server stops", "");
    } else if (peer->end_reason != WIRE_REASON_NONE) {
        server->cut_off++;
        peer_log(peer, HF_LOG_WARNING, "cut off: ", wire_reason_text((uint8_t)peer->end_reason));
    } else if (peer->input.length > 0) {
        peer_log(peer, HF_LOG_WARNING, "left in the middle of a frame", "");
    } else {
        peer_log(peer, HF_LOG_INFO, "left", "");
    }

    list_remove(&peer->link);
    list_remove(&peer->greeting_link);
    server->peer_count--;
    server_watch_handshakes(server);
    served_peer_leave(peer);
    file_locks_peer_give_up(peer);
    /* A client that goes on purpose has released what it held before; the connection's end itself
     * looks the same as that of a killed process. */
    sync_peer_leave(&server->table, &peer->sync, false);
    file_locks_peer_leave(peer);
}

static void on_closed(uv_handle_t *handle)
{
    free_peer(handle->data);
}

void peer_close(struct peer *peer)
{
    if (peer->end_reason != WIRE_REASON_NONE && !peer->send_failed) {
        if (!peer->blocked) {
            peer_write(peer);
        }
        if (peer->output.length == 0) {
            peer_send_goodbye(peer, peer->end_reason);
        }
    }
    peer_forget_output(peer);
    uv_close((uv_handle_t *)&peer->poll, on_closed);
    if (peer->attachment >= 0) {
        park_spoil_linger(peer->attachment);
        peer->attachment = fork_guard_close(&peer->server->guard, peer->attachment);
    }
    peer->fd = fork_guard_close(&peer->server->guard, peer->fd);
}
