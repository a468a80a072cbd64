/*
 * The simulator's world: one server core, a few clients with their cores and threads, and
 * between each client and the server two FIFO channels of encoded frames. Nothing here reads
 * a clock or a file; the dice decide everything.
 *
 *   schedule.c      one schedule: what happens next, and the end of the world
 *   threads.c       what a thread of a client does, one atomic step at a time
 *   world.c         clients, channels, deliveries, deaths
 *   model.c         what the server must do, kept by watching the messages at its door
 *   model_client.c  what a client may send, in the same way
 *   check.c         what a thread must see, and what clients must see of each other
 *   trace.c         the last events, and the report when a rule is broken
 */
#ifndef HF_TESTS_SIM_WORLD_H
#define HF_TESTS_SIM_WORLD_H

#include "dice.h"

#include "sync/client.h"
#include "sync/server.h"
#include "wire/wire.h"

enum {
    SIM_CLIENTS = 5,
    SIM_THREADS = 3,
    SIM_HANDLES = 3,
    SIM_VALUE_MAX = 48,
    SIM_CHANNEL_BYTES = 48 * 1024,
    SIM_TRACE_EVENTS = 64,
};

#define SIM_NEVER UINT64_MAX

enum cover {
#define COVER(name, must, text) COVER_##name,
#include "coverage.def"
#undef COVER
    COVER_COUNT
};

/* Frames under way. Linear: it starts again at 0 whenever it has run empty. */
struct channel {
    uint32_t head;
    uint32_t tail;
    uint8_t bytes[SIM_CHANNEL_BYTES];
};

enum thread_state {
    THREAD_IDLE,
    THREAD_BACKS_OUT, /* inside sync_hold_try_shared(), refused, still counted as a reader */
    THREAD_LEFT,      /* the fast path told it to call sync_hold_left() */
    THREAD_ENTERS,    /* on its way to the slow path */
    THREAD_OPENS,     /* waits for the reference of a handle with a value */
    THREAD_WAITS,
    THREAD_USES,
};

struct thread {
    enum thread_state state;
    uint8_t handle;
    uint8_t mode; /* wanted, or used */
    bool nowait;
    bool enters;               /* THREAD_LEFT: it was refused and goes on to the slow path */
    bool upgrades;             /* waits in an upgrade */
    bool woken;                /* the waiter became final in this step */
    bool set;                  /* has set the value and not published it */
    bool contended;            /* while it waited, somebody else used the handle or waited */
    int gave_up;               /* the result it gave up with, or 0 */
    uint64_t order;            /* of those waiting on one hold */
    uint64_t stamp;            /* of the value it set */
    uint64_t others_before;    /* EXCLUSIVE grants to other clients when it queued */
    uint64_t told_before;      /* the hold's .told when it queued */
    uint64_t exclusive_before; /* EXCLUSIVE uses within the client when it queued */
    struct sync_waiter waiter;
};

/* A handle as the layer above the client core keeps it. */
struct sim_hold {
    bool exists;      /* .hold is initialised */
    bool open;        /* threads may use it */
    bool opening;     /* a thread waits for its reference */
    bool died_untold; /* a GRANT said owner-died, and no thread was told yet */
    bool recall_met;  /* a RECALL for .recall_grant has arrived */
    bool asked;       /* the RECALL that is being read says that nobody waits */
    uint8_t asked_mode;
    uint8_t recall_mode;
    uint64_t recall_grant;
    uint64_t recall_ns;
    uint64_t told; /* EXCLUSIVE grants to others when a thread last began to use it */
    uint64_t exclusive_uses;
    uint64_t armed_ns;
    struct sync_hold hold;
};

enum link_state {
    LINK_NONE,
    LINK_UP,
    LINK_CLOSING, /* the client is gone; the server has yet to read what it sent */
    LINK_CUT,     /* the server cut it off; the client does not know yet */
};

struct client {
    bool process; /* exists; without it there are no threads and no holds */
    bool told;    /* knows that the connection ended */
    enum link_state link;
    uint8_t thread_count;
    uint64_t sent; /* frames */
    struct sync_client core;
    struct sync_peer peer;
    struct thread threads[SIM_THREADS];
    struct sim_hold holds[SIM_HANDLES];
    struct channel up;
    struct channel down;
};

/* What the server has of a client on a handle, as its messages say. */
struct entry {
    bool reference;
    bool waiting;
    bool nowait;
    bool ahead;
    bool wants_reference;
    bool asked_for_first; /* asked for the NOWAIT that waits now */
    uint8_t mode;
    uint8_t wants;
    uint8_t recalled_to; /* HF_EXCLUSIVE: not recalled */
    uint8_t asked_to;    /* HF_EXCLUSIVE: no answer to come to a RECALL for which nobody waits */
    uint32_t seq;
    uint64_t order;
    uint64_t grant;
    uint64_t old_grant; /* one that was current before; 0: none */
    uint64_t exclusive_grants;
    /* at the client's end */
    bool outstanding; /* an ACQUIRE was sent and no answer has arrived */
    bool outstanding_ahead;
    uint32_t outstanding_seq;
    bool cancel_sent;      /* for it */
    uint8_t client_mode;   /* what the client has, by the messages at its end */
    uint64_t client_grant; /* the last that arrived */
    /* of the message just handled */
    bool stale;    /* it names a grant or a request that is not current: nothing may happen */
    bool too_long; /* it carries a value over the limit */
    bool unknown;  /* it speaks of a handle that the client has nothing of */
};

struct model {
    bool lock_only;
    bool mark; /* the next GRANT says owner-died */
    uint64_t marked_at;
    uint64_t value;        /* the stamp of what was last published; 0: none */
    uint64_t server_value; /* the stamp of what the server has read of that */
    uint64_t exclusive_grants;
    struct entry entries[SIM_CLIENTS];
};

/* A published value whose frame may yet be cut by the death of its sender. */
struct publication {
    uint8_t handle;
    uint32_t frame_end;
    uint64_t stamp;
};

/* How often what happens, of a hundred; drawn once a schedule so that schedules differ. */
struct profile {
    uint32_t deliver, act, time, kill, disconnect, cut, birth, stale; /* weights */
    uint32_t exclusive, nowait, ahead, upgrade, downgrade, set, publish, give_up, yield, close,
        linger;
    uint32_t split; /* fast path calls taken apart */
    uint32_t steps;
    uint64_t quantum_ns;
    bool tight; /* the server's limits are so small that it denies */
    bool few_marks;
    bool late_ticks; /* ticks fire when it pleases them */
    bool opened;     /* everything is open from the start */
};

struct trace_event {
    uint32_t step;
    const char *what;
    int8_t client, thread, handle; /* -1: none */
    uint8_t mode;
    bool is_message;
    struct wire_message message; /* .data is not valid any more */
    int result;
};

struct world {
    uint64_t seed;
    struct dice dice;
    struct profile profile;
    uint32_t step;
    uint64_t now_ns;
    uint64_t last_stamp;
    uint64_t last_order;
    uint64_t last_grant; /* the highest the server gave */
    uint8_t handle_count;
    bool finishing;

    struct sync_server server;
    uint64_t server_bytes; /* counters.bytes of the empty table */
    bool server_ready;
    int acting;      /* the client whose core runs */
    bool letting_go; /* a thread yields or closes, or the client disconnects */
    int leaving;     /* the client whose sync_peer_leave() runs, or -1 */
    int asking;      /* the client whose message the server handles, or -1 */
    uint8_t asking_handle;
    uint32_t replies; /* messages the server sent in this step */
    int refused;      /* the client whose NOWAIT is to be denied in this step, or -1 */

    struct client clients[SIM_CLIENTS];
    struct model models[SIM_HANDLES];
    struct publication publications[8];
    uint32_t publication_count;

    uint64_t *covered; /* [COVER_COUNT], counts over all schedules */
    bool verbose;
    bool brief; /* a broken rule is expected: one line says it all */
    const char *program;
    uint32_t trace_count;
    struct trace_event trace[SIM_TRACE_EVENTS];
};

static inline void cover(struct world *world, enum cover what)
{
    world->covered[what]++;
}

static inline hf_id sim_id(uint32_t handle)
{
    return (hf_id){.space = 7, .object = handle + 1};
}

/* trace.c */

void trace_note(struct world *world, const char *what, int client, int thread, int handle, int mode,
                int result);
void trace_message(struct world *world, const char *what, int client,
                   const struct wire_message *message);

/* A rule is broken: report it with all that is needed to see it again, and end the process. */
_Noreturn void sim_fail(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for an assert in the cores, from a handler of SIGABRT. */
_Noreturn void sim_fail_assert(struct world *world);

/* world.c */

void world_init(struct world *world);
void world_deinit(struct world *world);

void client_born(struct world *world, int client);

/* SIGKILL. @sent_from: where the frames of the call in progress begin in the channel to the
 * server; one of them, or none, is cut. SIZE_MAX when no call is in progress. */
void client_killed(struct world *world, int client, size_t sent_from);
void client_disconnects(struct world *world, int client);
/* As when the server closes an idle client's connection itself. No thread holds EXCLUSIVE. */
void client_leaves_orderly(struct world *world, int client);
/* A client without a connection winds up: true once nothing is left of its process. */
bool client_winds_up(struct world *world, int client);

/* The server reads one frame of @client, or sees that there is nothing more to come. */
void deliver_to_server(struct world *world, int client);
void deliver_to_client(struct world *world, int client);
void server_cuts_off(struct world *world, int client, const char *why);

/* The call that published has completed. */
void publications_commit(struct world *world);

/* Put a frame of the client's making into the channel to the server. */
void channel_put(struct world *world, struct channel *channel, const struct wire_message *message);

/* Free what is closed and waits for no answer any more. */
void reap_done(struct world *world, int client);
/* Return: whether any was due. */
bool fire_due_ticks(struct world *world);

static inline bool channel_is_empty(const struct channel *channel)
{
    return channel->head == channel->tail;
}

/* threads.c */

/* One step of one thread. False: it had nothing to do. */
bool thread_step(struct world *world, int client, int thread);

/* Open a handle for @client at once, with all the messages it takes. */
void handle_open_now(struct world *world, int client, int handle);

/* Close a handle that no thread uses. */
void handle_close(struct world *world, int client, int handle);
bool handle_is_quiet(const struct world *world, int client, int handle);
/* Take the results of waits that have ended. */
void collect_woken(struct world *world, int client);

/* model.c, model_client.c: what the server must do, and what a client may */

int model_handle_of(struct world *world, const struct wire_message *message);
struct entry model_no_entry(void);
void model_client_sends(struct world *world, int client, const struct wire_message *message);
void model_before_input(struct world *world, int client, const struct wire_message *message);
void model_after_input(struct world *world, int client, const struct wire_message *message,
                       enum wire_reason verdict);
void model_server_sends(struct world *world, int client, const struct wire_message *message);
void model_before_leave(struct world *world, int client, bool orderly);
void model_after_leave(struct world *world, int client);
void model_client_gets(struct world *world, int client, const struct wire_message *message);
void model_check_empty(struct world *world);
uint64_t model_others(const struct world *world, int client, int handle);

/* check.c: what clients and threads must see */

void value_fill(uint64_t stamp, uint8_t *bytes, uint16_t *size);
void check_clients(struct world *world);
/* A thread begins to use a handle; @result is what its acquire returned. */
void check_use_begins(struct world *world, int client, int thread, int result);
void check_failure(struct world *world, int client, int thread, int result);
/* The thread that has waited longest; NULL: none. */
const struct thread *check_next_waiter(const struct client *client, int handle);
/* @next waited longest when this GRANT came. */
void check_granted_is_used(struct world *world, const struct client *client,
                           const struct thread *next, const struct wire_message *message);
void check_recall_arrives(struct world *world, struct sim_hold *hold,
                          const struct wire_message *message);
/* What a client has said to a RECALL for which nobody waits. */
void check_asked_answered(struct world *world, int client, int handle, uint64_t sent_before);
/* Does anybody else use the handle, in a mode that excludes the thread's, or wait for it? */
bool check_is_contended(const struct world *world, int client, int thread);
/* A thread that uses a handle sees the value that it must. */
void check_value(struct world *world, int client, int thread);
/* A thread has given up: what nobody waits for any more is not requested any more. */
void check_canceled(struct world *world, int client, int handle);
/* A call that publishes @stamp is about to return. */
void check_published(struct world *world, int handle, uint64_t stamp);
/* Could @thread have the hold at once, without a message? */
bool check_is_free(const struct world *world, int client, int thread, int handle, int mode);

/* schedule.c */

void schedule_run(struct world *world, uint64_t seed);

#endif
