/*
 * The yardsticks of everything that crosses a socket: processes that pass messages of the same
 * sizes over the same kind of sockets and do nothing else.
 */
#ifndef HF_BENCH_RELAY_H
#define HF_BENCH_RELAY_H

#include "process.h"

/* The sizes of our frames, in bytes; the values they could carry are empty. */
struct frame_sizes {
    size_t acquire, release, grant, recall;
};
struct frame_sizes frame_sizes(void);

/*
 * A → S → B → S → A, the way of a contested hand-off: ACQUIRE, RECALL, RELEASE, GRANT. A and B take
 * turns in starting it, and tell each other through shared memory whose turn it is, as the subject's
 * processes do: processes that are woken elsewhere run elsewhere, which changes the time of a trip
 * more than anything else. Each has two threads that block in read(), the one that asks and the one
 * that is asked. S waits with epoll on all sockets, and reads and writes once a message.
 */
struct relay_memory;

struct relay {
    struct child s;
    struct child ends[2];
    struct relay_memory *memory;
};
bool relay_start(struct relay *relay);

/* Make @count trips, an even number; *trip_ns is what one takes, the turn's passing left out. */
bool relay_round(const struct relay *relay, uint64_t count, double *trip_ns);
bool relay_end(struct relay *relay);

/*
 * S alone, with many sockets: it answers each RELEASE and ACQUIRE, which come together, with a
 * GRANT; whatever one read() brings is answered in one write().
 */
struct echo {
    struct child child;
    int sockets[BENCH_SOCKETS_MAX];
    unsigned socket_count;
};
bool echo_start(struct echo *echo, unsigned sockets);
bool echo_end(struct echo *echo);

#endif
