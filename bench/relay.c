#include "relay.h"

#include "base/clock.h"
#include "harness.h"
#include "wire/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX 256
#define ECHO_BYTES 65536

static size_t frame_size(enum wire_kind kind)
{
    const struct wire_message message = {.kind = kind};
    return wire_size(&message);
}

struct frame_sizes frame_sizes(void)
{
    return (struct frame_sizes){
        .acquire = frame_size(WIRE_ACQUIRE),
        .release = frame_size(WIRE_RELEASE),
        .grant = frame_size(WIRE_GRANT),
        .recall = frame_size(WIRE_RECALL),
    };
}

/* The other end blocks until a message is whole, and so nothing here needs a queue. */
static bool send_message(int socket, size_t size)
{
    static const char message[MESSAGE_MAX];
    return send(socket, message, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static bool receive_message(int socket, size_t size)
{
    char message[MESSAGE_MAX];
    return recv(socket, message, size, MSG_WAITALL) == (ssize_t)size;
}

/* ---- A → S → B → S → A ---- */

static bool relay_a(int channel, void *context)
{
    const int socket = *(const int *)context;
    const struct frame_sizes sizes = frame_sizes();
    uint64_t count;
    while (channel_receive(channel, &count, sizeof(count))) {
        const uint64_t begin = clock_now_ns();
        for (uint64_t i = 0; i < count; i++) {
            if (!send_message(socket, sizes.acquire) || !receive_message(socket, sizes.grant)) {
                return bench_fail("the relay is broken");
            }
        }
        const double trip_ns = (double)(clock_now_ns() - begin) / (double)count;
        if (!channel_send(channel, &trip_ns, sizeof(trip_ns))) {
            return false;
        }
    }
    return true;
}

static bool relay_b(int channel, void *context)
{
    const int socket = *(const int *)context;
    const struct frame_sizes sizes = frame_sizes();
    while (receive_message(socket, sizes.recall)) {
        if (!send_message(socket, sizes.release)) {
            return false;
        }
    }
    return true;
}

static int watch(const int *sockets, unsigned count)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; epoll >= 0 && i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event) != 0) {
            close(epoll);
            epoll = -1;
        }
    }
    if (epoll < 0) {
        bench_fail("cannot watch sockets: %s", strerror(errno));
    }
    return epoll;
}

/* sockets[0] leads to A, sockets[1] to B. It ends when either is gone. */
static bool relay_s(int channel, void *context)
{
    const int *sockets = context;
    const struct frame_sizes sizes = frame_sizes();
    const size_t expected[2] = {sizes.acquire, sizes.release};
    const size_t passed_on[2] = {sizes.recall, sizes.grant};
    const int epoll = watch(sockets, 2);
    if (epoll < 0) {
        return false;
    }
    for (;;) {
        struct epoll_event events[2];
        const int ready = epoll_wait(epoll, events, 2, -1);
        for (int i = 0; i < ready; i++) {
            const uint32_t from = events[i].data.u32;
            char message[MESSAGE_MAX];
            if (read(sockets[from], message, sizeof(message)) != (ssize_t)expected[from] ||
                !send_message(sockets[1 - from], passed_on[from])) {
                close(epoll);
                return true;
            }
        }
    }
}

bool relay_start(struct relay *relay)
{
    int near[2], far[2];
    *relay = (struct relay){0};
    if (!sockets_make(near, far, 2)) {
        return false;
    }
    const bool started = child_start(&relay->s, relay_s, near, near, 2) &&
                         child_start(&relay->b, relay_b, &far[1], &far[1], 1) &&
                         child_start(&relay->a, relay_a, &far[0], &far[0], 1);
    sockets_close(near, 2);
    sockets_close(far, 2);
    if (!started) {
        relay_end(relay);
    }
    return started;
}

bool relay_round(const struct relay *relay, uint64_t count, double *trip_ns)
{
    return (channel_send(relay->a.channel, &count, sizeof(count)) &&
            channel_receive(relay->a.channel, trip_ns, sizeof(*trip_ns))) ||
           bench_fail("the relay is gone");
}

bool relay_end(struct relay *relay)
{
    /* A's end is seen by S, and S's by B. */
    const bool a = child_end(&relay->a), s = child_end(&relay->s), b = child_end(&relay->b);
    return a && s && b;
}

/* ---- S with many sockets ---- */

struct echo_arguments {
    const int *sockets;
    unsigned count;
};

/* The answers that one write() takes. */
static size_t make_grants(uint8_t *out, size_t size)
{
    const struct wire_message grant = {
        .kind = WIRE_GRANT, .id = {.space = 1}, .grant = 1, .mode = HF_EXCLUSIVE};
    size_t used = 0;
    while (used + wire_size(&grant) <= size) {
        used += wire_encode(&grant, out + used);
    }
    return used;
}

static bool echo_main(int channel, void *context)
{
    const struct echo_arguments *arguments = context;
    const struct frame_sizes sizes = frame_sizes();
    static uint8_t requests[ECHO_BYTES], grants[ECHO_BYTES];
    size_t carried[BENCH_SOCKETS_MAX] = {0}; /* bytes of a request that is not whole yet */
    make_grants(grants, sizeof(grants));
    const int epoll = watch(arguments->sockets, arguments->count);
    if (epoll < 0) {
        return false;
    }
    for (;;) {
        struct epoll_event events[BENCH_SOCKETS_MAX];
        const int ready = epoll_wait(epoll, events, BENCH_SOCKETS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            const uint32_t from = events[i].data.u32;
            const ssize_t got = read(arguments->sockets[from], requests, sizeof(requests));
            if (got <= 0) {
                close(epoll);
                return true;
            }
            const size_t have = carried[from] + (size_t)got;
            const size_t answers = have / (sizes.release + sizes.acquire) * sizes.grant;
            carried[from] = have % (sizes.release + sizes.acquire);
            if (answers > 0 &&
                send(arguments->sockets[from], grants, answers, MSG_NOSIGNAL) != (ssize_t)answers) {
                close(epoll);
                return true;
            }
        }
    }
}

bool echo_start(struct echo *echo, unsigned sockets)
{
    int theirs[BENCH_SOCKETS_MAX];
    if (!sockets_make(echo->sockets, theirs, sockets)) {
        return false;
    }
    echo->socket_count = sockets;
    struct echo_arguments arguments = {.sockets = theirs, .count = sockets};
    const bool started = child_start(&echo->child, echo_main, &arguments, theirs, sockets);
    sockets_close(theirs, sockets);
    if (!started) {
        sockets_close(echo->sockets, sockets);
    }
    return started;
}

bool echo_end(struct echo *echo)
{
    sockets_close(echo->sockets, echo->socket_count);
    return child_end(&echo->child);
}
