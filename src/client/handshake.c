/*
 * Connecting and saying hello: blocking steps with a deadline, before the helper thread runs.
 */
#include "base/clock.h"
#include "client/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SCHEME "unix:"

uint64_t client_connect_deadline_ns(const hf_client_config *config)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t most_ns = UINT64_MAX - now_ns;
    return now_ns + (config->connect_timeout_ns < most_ns ? config->connect_timeout_ns : most_ns);
}

int client_goodbye_error(uint8_t reason)
{
    int error = wire_reason_errno(reason);
    return error != 0 ? -error : -EPROTO; /* nobody is sent away for no reason */
}

/* A local socket whose owner does not accept makes connect() wait, for as long as this says. */
static int limit_connect(int fd, uint64_t deadline_ns)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t left_us = deadline_ns > now_ns ? (deadline_ns - now_ns) / 1000 : 0;
    const struct timeval limit = {
        .tv_sec = (time_t)(left_us / 1000000),
        .tv_usec = left_us > 0 ? (suseconds_t)(left_us % 1000000) : 1, /* 0 would be no limit */
    };
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 ? 0 : -errno;
}

int client_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 ? fd : -errno;
}

int client_connect_socket(int fd, const char *address, uint64_t deadline_ns)
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

    for (;;) {
        int error = limit_connect(fd, deadline_ns);
        if (error != 0) {
            return error;
        }
        if (connect(fd, (const struct sockaddr *)&name, sizeof(name)) == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
    }
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
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_SMALL_FRAME_MAX];
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
            error = client_goodbye_error(answer.reason);
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
