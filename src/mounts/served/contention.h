/*
 * Whether a file is better worked on with its hold here, or by operations that are sent to the server.
 *
 * Moving a hold from client to client takes two round trips, and what is known of the file has to be
 * asked for again; an operation that is sent takes one. So a file whose hold was lost after an
 * operation or two, several times in a row, is left at the server. That ends when nobody else comes
 * between any more; and when this client turns out to be in a loop that does nothing else, for then a
 * hold serves many operations, and it takes twice as many short holds until the file is left again.
 *
 * Any thread may come at any time, and counts are guesses: all that depends on them is speed.
 */
#ifndef HF_MOUNTS_SERVED_CONTENTION_H
#define HF_MOUNTS_SERVED_CONTENTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* So few operations under a hold are few. */
#define CONTENTION_FEW_USES 2
/* So many such holds in a row are contention, at first and at most. */
#define CONTENTION_SHORT_HOLDS 4
#define CONTENTION_SHORT_HOLDS_MAX 256

/* So many operations in a row that nobody else came between are the end of it. */
#define CONTENTION_ALONE 8

/*
 * Operations that follow each other so fast are a loop, and so many of them make it one. While a client
 * that holds the file does something else between two of them all others wait, which costs more the
 * more they are; an operation that is sent costs a round trip in which the others go on. So with one
 * other holds are the faster up to about this time between two operations, with more up to a part of it.
 */
#define CONTENTION_TIGHT_NS 8000
#define CONTENTION_TIGHT 2

/* All zero to begin with. */
struct contention {
    _Atomic bool is_sent;         /* operations are */
    _Atomic uint64_t grant;       /* of the last operation under a hold */
    _Atomic uint32_t uses;        /* operations under that hold; 0: it does not count */
    _Atomic uint32_t short_holds; /* in a row, those with few */
    _Atomic uint32_t doublings;   /* of the number of those that makes it contended */
    _Atomic uint32_t alone;       /* in a row, operations at the server with nobody between */
    _Atomic uint32_t tight;       /* in a row, operations right after each other */
    _Atomic uint32_t others;      /* that waited for the file at one time, at most */
    _Atomic uint64_t last_ns;     /* when the last one was over */
};

static inline bool contention_is_sent(const struct contention *contention)
{
    return atomic_load_explicit(&contention->is_sent, memory_order_relaxed);
}

/* An operation was done under the hold of this number, for which so many @waiting were last known. */
void contention_held(struct contention *contention, uint64_t grant, uint32_t waiting);

/* An operation was sent, and answered: @alone if nobody came between it and the one before. */
void contention_sent(struct contention *contention, uint64_t begun_ns, uint64_t ended_ns,
                     bool alone);

#endif
