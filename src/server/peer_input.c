#include "server/peer.h"

#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a socket of the other end's can still hold is a few reads; more than this is somebody who
 * goes on sending while refusing to read. */
#define DRAIN_READS 64

enum read_result {
    READ_SOMETHING,
    READ_NOTHING, /* for now */
    READ_END,
};

static void keep_name(struct peer *peer, const struct wire_message *hello)
{
    if (hello->data_size == 0) {
        return;
    }
    size_t length = hello->data_size;
    if (length >= sizeof(peer->name)) {
        length = sizeof(peer->name) - 1;
    }
    for (size_t i = 0; i < length; i++) {
        /* Parentheses frame the name in log lines. */
        const uint8_t byte = hello->data[i];
        const bool plain = byte >= 0x20 && byte < 0x7f && byte != '(' && byte != ')';
        peer->name[i] = plain ? (char)byte : '?';
    }
    peer->name[length] = '\0';
}

static enum wire_reason take_hello(struct peer *peer, const struct wire_message *message)
{
    struct hf_server *server = peer->server;
    if (message->kind != WIRE_HELLO) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    if (message->magic != WIRE_MAGIC) {
        return WIRE_REASON_BAD_FRAME;
    }
    assert(message->wire_version == WIRE_VERSION); /* another_version() came first */
    keep_name(peer, message);
    peer->welcomed = true;
    list_remove(&peer->greeting_link);
    server_watch_handshakes(server);
    peer_log(peer, HF_LOG_INFO, "connected", "");
    peer_send(peer,
              &(struct wire_message){
                  .kind = WIRE_WELCOME, .wire_version = WIRE_VERSION, .client = peer->number});
    return WIRE_REASON_NONE;
}

/* The HELLO of another version may be laid out otherwise from its third field on, so it is known
 * by what comes before. */
static bool another_version(const uint8_t *bytes, size_t size)
{
    const struct wire_message ours = {
        .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION};
    uint8_t hello[WIRE_LENGTH_BYTES + 16];
    const size_t version_at = WIRE_LENGTH_BYTES + 1 + 4;
    assert(wire_size(&ours) <= sizeof(hello));
    wire_encode(&ours, hello);
    return size >= version_at + 2 &&
           memcmp(bytes + WIRE_LENGTH_BYTES,
                  hello + WIRE_LENGTH_BYTES,
                  version_at - WIRE_LENGTH_BYTES) == 0 &&
           memcmp(bytes + version_at, hello + version_at, 2) != 0;
}

static enum wire_reason take_message(struct peer *peer, const struct wire_message *message)
{
    if (!peer->welcomed) {
        return take_hello(peer, message);
    }
    if (message->kind == WIRE_HELLO) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    server_trace(peer->server, peer, message, TO_SERVER);
    if (message->kind >= WIRE_LOCK) {
        return file_locks_input(peer, message);
    }
    if (message->kind >= WIRE_OPERATION) {
        return served_input(peer->server, peer, message);
    }
    if (message->kind >= WIRE_PARK) {
        return park_input(peer->server, peer, message);
    }
    return sync_server_input(&peer->server->table, &peer->sync, message);
}

/* Return: the bytes of whole frames at the beginning of @bytes, all handled unless the peer was
 * cut off. */
static size_t take_frames(struct peer *peer, const uint8_t *bytes, size_t size)
{
    const size_t frame_limit = peer->server->settings.limits.frame_bytes;
    size_t taken = 0;
    while (!peer->ended) {
        if (!peer->welcomed && another_version(bytes + taken, size - taken)) {
            peer_cut_off(peer, WIRE_REASON_BAD_VERSION);
            break;
        }
        struct wire_message message;
        size_t frame = 0;
        enum wire_reason reason = WIRE_REASON_NONE;
        switch (
            wire_decode(bytes + taken, size - taken, frame_limit, TO_SERVER, &message, &frame)) {
        case WIRE_OK:
            reason = take_message(peer, &message);
            break;
        case WIRE_INCOMPLETE:
            return taken;
        case WIRE_TOO_LONG:
            reason = WIRE_REASON_FRAME_TOO_LONG;
            break;
        case WIRE_MALFORMED:
            reason = WIRE_REASON_BAD_FRAME;
            break;
        }
        if (reason != WIRE_REASON_NONE) {
            peer_cut_off(peer, reason);
        }
        taken += frame;
    }
    return taken;
}

/* ---- reading ---- */

/* Under the guard's lock. Return: false when there are more than may come at a time. */
static bool keep_descriptors(struct peer *peer, struct msghdr *header)
{
    size_t count = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL;
         part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t at = 0; CMSG_LEN(at) < part->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + at, sizeof(fd));
            if (count++ == 0 && peer->attachment < 0) {
                fd = fork_guard_keep(&peer->server->guard, fd);
                peer->attachment = fd < 0 ? -1 : fd;
                peer->attachment_lost = fd < 0;
            } else {
                park_spoil_linger(fd);
                close(fd);
                count = 2;
            }
        }
    }
    if (count == 0 && (header->msg_flags & MSG_CTRUNC) != 0) {
        peer->attachment_lost = true;
    }
    return count < 2 && (count == 0 || (header->msg_flags & MSG_CTRUNC) == 0);
}

/* A frame's descriptor is there with its first byte, and the kernel gives out no two messages with
 * descriptors at a time. */
static ssize_t receive(struct peer *peer, uint8_t *bytes)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {.iov_base = bytes, .iov_len = PEER_READ_BYTES};
    struct msghdr header = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    bool few = true;
    fork_guard_lock();
    const ssize_t size = recvmsg(peer->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const int failure = errno;
    if (size > 0) {
        few = keep_descriptors(peer, &header);
    }
    fork_guard_unlock();
    errno = failure;
    if (!few) {
        peer_cut_off(peer, WIRE_REASON_BAD_DESCRIPTOR);
    }
    return size;
}

/* What is new is read behind the place for what was left, so that nothing is copied as long as
 * frames arrive whole. */
static enum read_result read_once(struct peer *peer)
{
    uint8_t *const fresh = peer->server->scratch + PEER_SCRATCH_BYTES - PEER_READ_BYTES;
    const ssize_t size =
        peer->is_socket ? receive(peer, fresh) : read(peer->fd, fresh, PEER_READ_BYTES);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return READ_NOTHING;
    }
    if (size <= 0) {
        return READ_END;
    }

    const size_t left = peer->input.length;
    uint8_t *const begin = fresh - left;
    if (left > 0) {
        memcpy(begin, buffer_data(&peer->input), left);
        buffer_consume(&peer->input, left);
    }
    const size_t whole = left + (size_t)size;
    const size_t taken = take_frames(peer, begin, whole);
    if (!peer->ended && taken < whole &&
        buffer_append(&peer->input, begin + taken, whole - taken) != 0) {
        peer_cut_off(peer, WIRE_REASON_NO_MEMORY);
    }
    if (taken == whole && (peer->attachment >= 0 || peer->attachment_lost)) {
        peer_cut_off(peer, WIRE_REASON_BAD_DESCRIPTOR);
    }
    return READ_SOMETHING;
}

void peer_drain(struct peer *peer)
{
    for (int i = 0; i < DRAIN_READS && !peer->ended; i++) {
        if (read_once(peer) != READ_SOMETHING) {
            break;
        }
    }
    peer_left(peer);
}

/* Once, so that it is the others' turn; or to the end, if others wait to hear of that. */
static void read_some(struct peer *peer)
{
    enum read_result result = read_once(peer);
    for (int i = 0; i < DRAIN_READS && result == READ_SOMETHING && !peer->ended &&
                    file_locks_doubt(&peer->server->locks);
         i++) {
        result = read_once(peer);
    }
    if (result == READ_END) {
        peer_left(peer);
    }
}

void peer_on_event(struct peer *peer, int status, int events)
{
    if (peer->ended) {
        return;
    }
    if (status < 0) {
        /* The socket has an error, and libuv no longer watches it. */
        peer->watched = 0;
        peer->send_failed = true;
        peer_forget_output(peer);
        peer_drain(peer);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && peer->blocked) {
        peer->blocked = false;
        peer_flush(peer);
    }
    if ((events & UV_READABLE) != 0 && !peer->ended) {
        read_some(peer);
    }
}
