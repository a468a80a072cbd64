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
 * A → S → B → S → A, the way of a contested hand-off: ACQUIRE, RECALL, RELEASE, GRANT. A and B
 * block in read(); S waits with epoll on both sockets, and reads and writes once a message.
 */
struct relay {
    struct child s, b, a;
};
bool relay_start(struct relay *relay);

/* Send @count messages around, one after the other; *trip_ns is what one takes. */
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
