#include "server/peer.h"

#include "server/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes that are gathered for one peer before they go out without waiting for more. */
#define GATHER_BYTES 65536

static void change_unsent(struct hf_server *server, size_t added, size_t removed)
{
    const uint64_t before = atomic_load_explicit(&server->unsent_bytes, memory_order_relaxed);
    atomic_store_explicit(&server->unsent_bytes, before + added - removed, memory_order_relaxed);
}

static ssize_t send_now(const struct peer *peer, const void *bytes, size_t size)
{
    ssize_t sent;
    do {
        sent = peer->is_socket ? send(peer->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT)
                               : write(peer->fd, bytes, size);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

void peer_forget_output(struct peer *peer)
{
    change_unsent(peer->server, 0, peer->output.length);
    buffer_consume(&peer->output, peer->output.length);
}

void peer_write(struct peer *peer)
{
    const size_t size = peer->output.length;
    if (size == 0) {
        return;
    }
    /* Counted as gone beforehand: whoever has read them finds them not waiting any more. */
    change_unsent(peer->server, 0, size);
    const ssize_t sent = send_now(peer, buffer_data(&peer->output), size);
    if (sent > 0) {
        buffer_consume(&peer->output, (size_t)sent);
    }
    change_unsent(peer->server, peer->output.length, 0);
    if (sent < 0 && errno != EAGAIN) {
        peer->send_failed = true;
        peer_forget_output(peer);
        return;
    }
    peer->blocked = peer->output.length > 0;
    if (!peer->ended) {
        peer_watch(peer, peer->blocked ? UV_READABLE | UV_WRITABLE : UV_READABLE);
    }
}

void peer_flush(struct peer *peer)
{
    if (!peer->send_failed && !peer->blocked) {
        peer_write(peer);
    }
    if (peer->send_failed) {
        peer_drain(peer);
    }
}

/* Room for a message of @size bytes. What was gathered before goes out first if it is much. NULL, with
 * errno as of buffer_reserve(), or 0 when the peer does not read any more. */
static uint8_t *make_room(struct peer *peer, size_t size)
{
    const size_t limit = peer->output.limit < GATHER_BYTES ? peer->output.limit : GATHER_BYTES;
    if (!peer->blocked && peer->output.length + size > limit) {
        peer_write(peer);
        if (peer->send_failed) {
            errno = 0;
            return NULL; /* server_settle() comes to it: it is in to_flush */
        }
    }
    return buffer_reserve(&peer->output, size);
}

uint8_t *peer_answer_room(struct peer *peer, size_t size)
{
    const struct wire_message empty = {.kind = WIRE_ANSWER};
    if (peer->ended || peer->send_failed) {
        return NULL;
    }
    const size_t head = wire_size(&empty);
    uint8_t *const room = make_room(peer, head + size);
    return room == NULL ? NULL : room + head;
}

void peer_send(struct peer *peer, const struct wire_message *message)
{
    if (peer->ended || peer->send_failed) {
        return;
    }
    struct hf_server *server = peer->server;
    const size_t size = wire_size(message);
    uint8_t *const room = make_room(peer, size);
    if (room == NULL) {
        if (errno != 0) {
            peer_cut_off(peer, errno == ENOBUFS ? WIRE_REASON_TOO_SLOW : WIRE_REASON_NO_MEMORY);
        }
        return;
    }
    wire_encode(message, room);
    buffer_commit(&peer->output, size);
    change_unsent(server, size, 0);
    server_trace(server, peer, message, TO_CLIENT);
    if (!peer->blocked && list_is_empty(&peer->flush_link)) {
        list_append(&server->to_flush, &peer->flush_link);
    }
}

void peer_send_goodbye(struct peer *peer, enum wire_reason reason)
{
    const char *text = wire_reason_text((uint8_t)reason);
    const struct wire_message goodbye = {
        .kind = WIRE_GOODBYE,
        .reason = (uint8_t)reason,
        .data = (const uint8_t *)text,
        .data_size = (uint16_t)strlen(text),
    };
    uint8_t frame[WIRE_LENGTH_BYTES + 256];
    if (wire_size(&goodbye) <= sizeof(frame)) {
        const ssize_t sent = send_now(peer, frame, wire_encode(&goodbye, frame));
        (void)sent; /* the peer is let go in any case */
    }
}
