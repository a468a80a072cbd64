#include "relay.h"

#include "base/clock.h"
#include "harness.h"
#include "wire/wire.h"

#include <errno.h>
#include <pthread.h>
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

struct relay_memory {
    _Atomic uint32_t turn;
};

struct relay_end_arguments {
    struct relay_memory *memory;
    unsigned number;
    int sockets[2]; /* of the thread that asks, and of the one that is asked */
};

/* Whoever is asked gives. */
static void *give_main(void *context)
{
    const int socket = *(const int *)context;
    const struct frame_sizes sizes = frame_sizes();
    while (receive_message(socket, sizes.recall) && send_message(socket, sizes.release)) {
    }
    return NULL;
}

static bool take_trips(const struct relay_end_arguments *arguments, uint32_t first_turn,
                       uint64_t count, uint64_t *sum_ns)
{
    const struct frame_sizes sizes = frame_sizes();
    _Atomic uint32_t *turn = &arguments->memory->turn;
    for (uint64_t i = arguments->number; i < count; i += 2) {
        if (!turn_wait(turn, first_turn + (uint32_t)i)) {
            return false;
        }
        const uint64_t begin = clock_now_ns();
        if (!send_message(arguments->sockets[0], sizes.acquire) ||
            !receive_message(arguments->sockets[0], sizes.grant)) {
            return bench_fail("the relay is broken");
        }
        *sum_ns += clock_now_ns() - begin;
        turn_pass(turn);
    }
    return true;
}

static bool relay_end_main(int channel, void *context)
{
    struct relay_end_arguments *arguments = context;
    uint64_t count;
    uint32_t first_turn = 0;
    pthread_t giver;
    if (pthread_create(&giver, NULL, give_main, &arguments->sockets[1]) != 0) {
        return bench_fail("cannot start a thread");
    }
    while (channel_receive(channel, &count, sizeof(count))) {
        uint64_t sum_ns = 0;
        if (!take_trips(arguments, first_turn, count, &sum_ns) ||
            !channel_send(channel, &sum_ns, sizeof(sum_ns))) {
            return false;
        }
        first_turn += (uint32_t)count;
    }
    /* The other thread goes with the process. */
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

/* The sockets lead to: A asking, A asked, B asking, B asked. It ends when any is gone. */
static bool relay_s(int channel, void *context)
{
    const int *sockets = context;
    const struct frame_sizes sizes = frame_sizes();
    const size_t expected[2] = {sizes.acquire, sizes.release};
    const size_t passed_on[2] = {sizes.recall, sizes.grant};
    const int epoll = watch(sockets, 4);
    if (epoll < 0) {
        return false;
    }
    for (;;) {
        struct epoll_event events[4];
        const int ready = epoll_wait(epoll, events, 4, -1);
        for (int i = 0; i < ready; i++) {
            const uint32_t from = events[i].data.u32, kind = from % 2, to = 3 - from;
            char message[MESSAGE_MAX];
            if (read(sockets[from], message, sizeof(message)) != (ssize_t)expected[kind] ||
                !send_message(sockets[to], passed_on[kind])) {
                close(epoll);
                return true;
            }
        }
    }
}

bool relay_start(struct relay *relay)
{
    int near[4], far[4];
    *relay = (struct relay){.memory = shared_memory_new(sizeof(*relay->memory))};
    if (relay->memory == NULL || !sockets_make(near, far, 4)) {
        relay_end(relay);
        return false;
    }
    bool started = child_start(&relay->s, relay_s, near, near, 4);
    for (unsigned i = 0; started && i < 2; i++) {
        struct relay_end_arguments arguments = {
            .memory = relay->memory, .number = i, .sockets = {far[2 * i], far[2 * i + 1]}};
        started = child_start(&relay->ends[i], relay_end_main, &arguments, &far[2 * i], 2);
    }
    sockets_close(near, 4);
    sockets_close(far, 4);
    if (!started) {
        relay_end(relay);
    }
    return started;
}

bool relay_round(const struct relay *relay, uint64_t count, double *trip_ns)
{
    uint64_t sum_ns = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (!channel_send(relay->ends[i].channel, &count, sizeof(count))) {
            return bench_fail("the relay is gone");
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        uint64_t one_ns;
        if (!channel_receive(relay->ends[i].channel, &one_ns, sizeof(one_ns))) {
            return bench_fail("the relay is gone");
        }
        sum_ns += one_ns;
    }
    *trip_ns = (double)sum_ns / (double)count;
    return true;
}

bool relay_end(struct relay *relay)
{
    bool ended = child_end(&relay->ends[0]);
    ended = child_end(&relay->ends[1]) && ended;
    /* S sees their end. */
    ended = child_end(&relay->s) && ended;
    shared_memory_free(relay->memory, sizeof(*relay->memory));
    relay->memory = NULL;
    return ended;
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
