#include "lib/raw_client.h"

#include "lib/test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define INPUT_LIMIT ((size_t)1 << 20)

int raw_dial(const char *address)
{
    struct sockaddr_un peer = {.sun_family = AF_UNIX};
    snprintf(peer.sun_path, sizeof(peer.sun_path), "%s", address + strlen("unix:"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&peer, sizeof(peer)) != 0) {
        const int failure = -errno;
        close(fd);
        return failure;
    }
    return fd >= 0 ? fd : -errno;
}

void raw_init(struct raw_client *client, int fd)
{
    *client = (struct raw_client){.fd = fd};
    buffer_init(&client->input, INPUT_LIMIT);
}

void raw_close(struct raw_client *client)
{
    close(client->fd);
    client->fd = -1;
    buffer_deinit(&client->input);
}

bool raw_write(struct raw_client *client, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        const ssize_t sent = send(client->fd, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        }
    }
    return true;
}

bool raw_send(struct raw_client *client, const struct wire_message *message)
{
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_FRAME_MAX];
    return raw_write(client, frame, wire_encode(message, frame));
}

bool raw_write_with(struct raw_client *client, const void *bytes, size_t size, const int *fds,
                    size_t count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(253 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec data = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    const struct msghdr header = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(count * sizeof(int)),
    };
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
                                      .cmsg_level = SOL_SOCKET,
                                      .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    return sendmsg(client->fd, &header, MSG_NOSIGNAL) == (ssize_t)size;
}

bool raw_send_with(struct raw_client *client, const struct wire_message *message, const int *fds,
                   size_t count)
{
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_FRAME_MAX];
    return raw_write_with(client, frame, wire_encode(message, frame), fds, count);
}

int raw_receive_descriptor(int socket)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    int fd = -1;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    const ssize_t size = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size == 1 && header.msg_controllen >= CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
    }
    return fd;
}

enum raw_event raw_next(struct raw_client *client, struct wire_message *out)
{
    buffer_consume(&client->input, client->used);
    client->used = 0;
    for (;;) {
        switch (wire_decode(buffer_data(&client->input),
                            client->input.length,
                            WIRE_FRAME_MAX,
                            TO_CLIENT,
                            out,
                            &client->used)) {
        case WIRE_OK:
            return RAW_MESSAGE;
        case WIRE_INCOMPLETE:
            break;
        default:
            return RAW_MALFORMED;
        }
        struct pollfd readable = {.fd = client->fd, .events = POLLIN};
        if (poll(&readable, 1, RAW_PATIENCE_MS) == 0) {
            return RAW_TIMEOUT;
        }
        uint8_t *room = buffer_reserve(&client->input, 65536);
        const ssize_t size = room == NULL ? -1 : recv(client->fd, room, 65536, 0);
        if (size <= 0) {
            return RAW_END;
        }
        buffer_commit(&client->input, (size_t)size);
    }
}

void raw_join_fd(struct raw_client *client, int fd, const char *name)
{
    raw_init(client, fd);
    assert_true(raw_send(client,
                         &(struct wire_message){
                             .kind = WIRE_HELLO,
                             .magic = WIRE_MAGIC,
                             .wire_version = WIRE_VERSION,
                             .data = (const uint8_t *)name,
                             .data_size = (uint16_t)strlen(name),
                         }));
    const struct wire_message welcome = raw_expect(client, WIRE_WELCOME);
    assert_int_equal(welcome.wire_version, WIRE_VERSION);
    assert_true(welcome.client != 0);
    client->number = welcome.client;
}

void raw_join(struct raw_client *client, const char *address, const char *name)
{
    const int fd = raw_dial(address);
    assert_true(fd >= 0);
    raw_join_fd(client, fd, name);
}

struct wire_message raw_expect(struct raw_client *client, enum wire_kind kind)
{
    struct wire_message message = {0};
    const enum raw_event event = raw_next(client, &message);
    if (event != RAW_MESSAGE || message.kind != kind) {
        fail_msg("expected %s, got %s (event %d, reason %s)",
                 wire_kind_name(kind),
                 event == RAW_MESSAGE ? wire_kind_name(message.kind) : "none",
                 (int)event,
                 wire_reason_text(message.reason));
    }
    return message;
}

void raw_expect_goodbye(struct raw_client *client, enum wire_reason reason)
{
    struct wire_message message = raw_expect(client, WIRE_GOODBYE);
    assert_string_equal(wire_reason_text(message.reason), wire_reason_text((uint8_t)reason));
    assert_int_equal(raw_next(client, &message), RAW_END);
}

void raw_expect_end(struct raw_client *client)
{
    struct wire_message message;
    enum raw_event event;
    while ((event = raw_next(client, &message)) == RAW_MESSAGE) {
    }
    assert_int_equal(event, RAW_END);
}

struct wire_message raw_park(struct raw_client *client, hf_id ticket, hf_id id, const char *data,
                             int fd)
{
    client->last_seq++;
    assert_true(raw_send_with(client,
                              &(struct wire_message){
                                  .kind = WIRE_PARK,
                                  .seq = client->last_seq,
                                  .ticket = ticket,
                                  .id = id,
                                  .data = (const uint8_t *)data,
                                  .data_size = (uint16_t)strlen(data),
                              },
                              &fd,
                              1));
    const struct wire_message answer = raw_expect(client, WIRE_PARKED);
    assert_int_equal(answer.seq, client->last_seq);
    return answer;
}

struct wire_message raw_claim(struct raw_client *client, hf_id ticket, uint32_t index, int *fd)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    client->last_seq++;
    assert_true(raw_send_with(client,
                              &(struct wire_message){
                                  .kind = WIRE_CLAIM,
                                  .seq = client->last_seq,
                                  .ticket = ticket,
                                  .index = index,
                              },
                              &ends[1],
                              1));
    close(ends[1]);
    const struct wire_message answer = raw_expect(client, WIRE_PARKED);
    assert_int_equal(answer.seq, client->last_seq);
    *fd = raw_receive_descriptor(ends[0]);
    assert_int_equal(*fd >= 0, answer.reason == WIRE_REASON_NONE);
    close(ends[0]);
    return answer;
}

uint8_t raw_drop(struct raw_client *client, hf_id ticket)
{
    client->last_seq++;
    assert_true(raw_send(
        client,
        &(struct wire_message){.kind = WIRE_DROP, .seq = client->last_seq, .ticket = ticket}));
    const struct wire_message answer = raw_expect(client, WIRE_PARKED);
    assert_int_equal(answer.seq, client->last_seq);
    return answer.reason;
}

uint32_t raw_acquire(struct raw_client *client, uint64_t object, hf_mode mode, uint8_t flags)
{
    client->last_seq++;
    assert_true(raw_send(client,
                         &(struct wire_message){
                             .kind = WIRE_ACQUIRE,
                             .id = {1, object},
                             .seq = client->last_seq,
                             .mode = (uint8_t)mode,
                             .flags = flags,
                         }));
    return client->last_seq;
}

uint64_t raw_hold(struct raw_client *client, uint64_t object, hf_mode mode)
{
    const uint32_t seq = raw_acquire(client, object, mode, 0);
    const struct wire_message granted = raw_expect(client, WIRE_GRANT);
    assert_int_equal(granted.seq, seq);
    assert_int_equal(granted.flags & WIRE_DENIED, 0);
    assert_int_equal(granted.mode, mode);
    return granted.grant;
}

void raw_release(struct raw_client *client, uint64_t object, uint64_t grant, hf_mode mode)
{
    assert_true(raw_send(client,
                         &(struct wire_message){
                             .kind = WIRE_RELEASE,
                             .id = {1, object},
                             .grant = grant,
                             .mode = (uint8_t)mode,
                         }));
}

void raw_round_trip(struct raw_client *client)
{
    const uint64_t own = UINT64_C(1000000) + client->number;
    const uint64_t grant = raw_hold(client, own, HF_EXCLUSIVE);
    raw_release(client, own, grant, HF_INVALID);
}
