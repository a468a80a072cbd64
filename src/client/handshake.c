/*
 * Connecting and saying hello: blocking steps with a deadline, before the helper thread runs.
 */
#include "base/clock.h"
#include "client/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SCHEME "unix:"

int client_dial_address(const char *address)
{
    size_t scheme_size = strlen(SCHEME);
    if (strncmp(address, SCHEME, scheme_size) != 0 || address[scheme_size] == '\0') {
        return -EINVAL;
    }
    const char *path = address + scheme_size;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof(name.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(name.sun_path, path, size);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int result;
    do {
        result = connect(fd, (const struct sockaddr *)&name, sizeof(name));
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* Return: 0 when @fd is ready, -ETIMEDOUT, or another negative errno. */
static int wait_ready(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        if (now_ns >= deadline_ns) {
            return -ETIMEDOUT;
        }
        struct timespec left = {
            .tv_sec = (time_t)((deadline_ns - now_ns) / UINT64_C(1000000000)),
            .tv_nsec = (long)((deadline_ns - now_ns) % UINT64_C(1000000000)),
        };
        struct pollfd item = {.fd = fd, .events = events};
        int ready = ppoll(&item, 1, &left, NULL);
        if (ready > 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

int client_write_message(int fd, const struct wire_message *message, uint64_t deadline_ns)
{
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_FRAME_MAX];
    size_t size = wire_encode(message, frame);
    size_t sent = 0;
    while (sent < size) {
        ssize_t now = send(fd, frame + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (now < 0 && errno == ENOTSOCK) {
            now = write(fd, frame + sent, size - sent);
        }
        if (now >= 0) {
            sent += (size_t)now;
        } else if (errno == EAGAIN) {
            int error = wait_ready(fd, POLLOUT, deadline_ns);
            if (error != 0) {
                return error;
            }
        } else if (errno != EINTR) {
            return errno == EPIPE ? -ECONNRESET : -errno;
        }
    }
    return 0;
}

int client_read_message(int fd, struct buffer *in, uint64_t deadline_ns,
                        struct wire_message *message)
{
    for (;;) {
        size_t consumed = 0;
        enum wire_verdict verdict =
            wire_decode(buffer_data(in), in->length, WIRE_FRAME_MAX, TO_CLIENT, message, &consumed);
        if (verdict == WIRE_OK) {
            /* Consuming moves no bytes, so message->data stays where it is. */
            buffer_consume(in, consumed);
            return 0;
        }
        if (verdict != WIRE_INCOMPLETE) {
            return -EPROTO;
        }
        uint8_t *room = buffer_reserve(in, WIRE_LENGTH_BYTES + WIRE_FRAME_MAX);
        if (room == NULL) {
            return -ENOMEM;
        }
        ssize_t got = read(fd, room, WIRE_LENGTH_BYTES + WIRE_FRAME_MAX);
        if (got > 0) {
            buffer_commit(in, (size_t)got);
        } else if (got == 0) {
            return -ECONNRESET;
        } else if (errno == EAGAIN) {
            int error = wait_ready(fd, POLLIN, deadline_ns);
            if (error != 0) {
                return error;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

int client_handshake(int fd, const char *name, uint64_t deadline_ns, uint64_t *number)
{
    int error = client_write_message(fd,
                                     &(struct wire_message){
                                         .kind = WIRE_HELLO,
                                         .magic = WIRE_MAGIC,
                                         .wire_version = WIRE_VERSION,
                                         .data = (const uint8_t *)name,
                                         .data_size = (uint16_t)strlen(name),
                                     },
                                     deadline_ns);
    /* A server that refuses may close before it reads: what it said still counts. */
    if (error != 0 && error != -ECONNRESET) {
        return error;
    }
    struct buffer in;
    buffer_init(&in, 2 * (WIRE_LENGTH_BYTES + WIRE_FRAME_MAX));
    struct wire_message answer;
    error = client_read_message(fd, &in, deadline_ns, &answer);
    if (error == 0) {
        if (answer.kind == WIRE_GOODBYE) {
            error = -wire_reason_errno(answer.reason);
        } else if (answer.kind != WIRE_WELCOME || answer.client == 0 || in.length != 0) {
            error = -EPROTO; /* nothing may follow before we ask */
        } else if (answer.wire_version != WIRE_VERSION) {
            error = -EPROTONOSUPPORT;
        } else {
            *number = answer.client;
        }
    }
    buffer_deinit(&in);
    return error;
}
