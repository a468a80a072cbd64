/*
 * A world of one server and some clients: the real cores of src/sync, joined by channels that
 * keep what was sent in order until a test delivers it, one message at a time. Every message
 * goes through the wire coder, and after every step both cores assert their invariants.
 *
 * Time stands still unless a test moves world.now_ns. Everything is deterministic.
 */
#ifndef HF_TESTS_LIB_SYNC_WORLD_H
#define HF_TESTS_LIB_SYNC_WORLD_H

#include "sync/client.h"
#include "sync/server.h"

#define WORLD_CLIENTS 8
#define WORLD_SAID 64

/* The handles of the world: two with a value, and a pure lock. */
enum world_handle { VALUE, OTHER, LOCK, WORLD_HANDLES };

struct world;

struct world_client {
    struct world *world;
    struct sync_peer peer;
    struct sync_client core;
    struct sync_hold holds[WORLD_HANDLES];
    bool open[WORLD_HANDLES];
    bool alive;
    struct list to_server; /* messages under way, oldest first */
    struct list to_client;
};

/* A message that was sent; its data is not kept. */
struct world_said {
    unsigned client;
    struct wire_message message;
};

struct world {
    struct sync_server server;
    struct world_client clients[WORLD_CLIENTS];
    unsigned client_count;
    uint64_t now_ns;
    uint64_t empty_bytes;               /* of the server's table when there is nothing in it */
    unsigned said_count;                /* since world_forget() */
    struct world_said said[WORLD_SAID]; /* the first of them */
};

/* A thread of a client, as the layer above the core would run it. */
struct world_thread {
    struct world *world;
    unsigned client;
    enum world_handle handle;
    struct sync_waiter waiter;
    hf_mode mode;   /* what it asked for last */
    bool waits;     /* in the slow path */
    bool uses;      /* since when it may look and, with EXCLUSIVE, change */
    int result;     /* of the last acquire or upgrade, when neither waits */
    unsigned wakes; /* calls of wake() for it since it last asked */
};

/* ---- the world ---- */

extern const struct sync_server_limits world_limits;

/* @limits: NULL for world_limits, which are wide. */
void world_begin(struct world *world, unsigned clients, const struct sync_server_limits *limits);

/* No thread uses or waits. Closes everything, and nothing may be left at either side. */
void world_end(struct world *world);

/* The client opens the handle, and has a reference afterwards if it has a value. */
void world_open(struct world *world, unsigned client, enum world_handle handle);
void world_open_all(struct world *world, enum world_handle handle);

/* Asks ahead of any need. */
void world_ask(struct world *world, unsigned client, enum world_handle handle, hf_mode mode);

/* Sends what there is to send, and delivers nothing. */
void world_close(struct world *world, unsigned client, enum world_handle handle);

/* The client's process is killed: what it had sent still arrives, then it is gone. */
void world_kill(struct world *world, unsigned client);

/* The same for one that says goodbye. */
void world_depart(struct world *world, unsigned client);

/* Deliver the oldest message from, or to, the client. Return: false, there is none. */
bool world_to_server(struct world *world, unsigned client);
bool world_to_client(struct world *world, unsigned client);

/* Deliver the oldest message of one of the channels that have any, chosen by *dice. */
bool world_step(struct world *world, uint64_t *dice);

/* Deliver until nothing is under way. */
void world_settle(struct world *world);

/* Call sync_hold_tick() where its time has come. */
void world_tick(struct world *world, uint64_t now_ns);

/* Both cores' invariants, and rule 2: one exclusive holder, or any number of shared ones. */
void world_check(const struct world *world);

/* A number below @bound. */
unsigned world_roll(uint64_t *dice, unsigned bound);

/* What has been sent, by either side, since the last world_forget(). */
void world_forget(struct world *world);
unsigned world_count(const struct world *world, enum wire_kind kind);
unsigned world_count_of(const struct world *world, unsigned client, enum wire_kind kind);

/* The last such message; fails the test when there is none. */
const struct wire_message *world_last(const struct world *world, unsigned client,
                                      enum wire_kind kind);

struct sync_hold *world_hold(struct world *world, unsigned client, enum world_handle handle);
struct sync_peer_view world_view(const struct world *world, unsigned client,
                                 enum world_handle handle);

/* ---- threads ---- */

struct world_thread world_thread(struct world *world, unsigned client, enum world_handle handle);

/* The fast path, then the slow one. Return: the thread uses the hold now. */
bool thread_acquire(struct world_thread *thread, hf_mode mode);
bool thread_acquire_nowait(struct world_thread *thread, hf_mode mode);
bool thread_upgrade(struct world_thread *thread);
bool thread_upgrade_nowait(struct world_thread *thread);
void thread_downgrade(struct world_thread *thread);
void thread_release(struct world_thread *thread);
void thread_give_up(struct world_thread *thread, int error);

/* Acquire, and deliver whatever it takes. The thread must get it. */
void thread_hold(struct world_thread *thread, hf_mode mode);

void thread_set(struct world_thread *thread, const char *text);
void thread_publish(struct world_thread *thread);
bool thread_sees(const struct world_thread *thread, const char *text);

#endif
