/*
 * The server's side of file locks: who has and who waits for what. No I/O, no clock, no threads:
 * messages come in through locks_server_input() and go out through a callback.
 *
 * A file's locks are in one of three places:
 *
 *            LOCK, nobody else there                another's LOCK, a listing
 *   NOBODY ─────────────────────────► AT A CLIENT ─────────────────────────────► AT THE SERVER
 *      ▲                                 │    ▲        RECALL ... RETURN                  │
 *      └─────────────────────────────────┘    └───────────────────────────────────────────┘
 *        RETURN of nothing, or its end          LOCKED with a grant: one client alone,
 *                                               several times in a row
 *
 * AT A CLIENT it locks and unlocks without a message. It may not wait there: who must, gives the table
 * back and asks, so all waiting, and with it every deadlock, is seen here. A table with a lock
 * of an open file that several processes share, or which somebody waits for, stays at the server.
 *
 * When the server lets a client have a table, the client knows already what is in it: its own locks,
 * all of which it was told of in the order of the answers.
 */
#ifndef HF_LOCKS_SERVER_H
#define HF_LOCKS_SERVER_H

#include "base/id_map.h"
#include "base/list.h"
#include "locks/lock.h"
#include "wire/operations.h"

struct locks_peer;
struct locks_cycle;

/* LISTED.state */
enum lock_state {
    LOCK_HELD = 1,
    LOCK_WAITING = 2,
    LOCK_WAS_WAITING = 3, /* a part of a deadlock that was found; `cycle` says which */
    LOCK_GOT_EDEADLK = 4, /* the request that would have closed it */
};

struct locks_limits {
    uint32_t locks;   /* held at the server per peer; more is -ENOLCK */
    uint32_t waiting; /* requests per peer */
    uint32_t tables;  /* files whose table a peer has; more stay at the server */
};

struct locks_counters {
    uint64_t files, locks, waiting, granted_tables; /* now */
    uint64_t requests, waits, recalls, deadlocks;   /* so far */
};

struct locks_server_ops {
    /* Takes a message for @peer; it may fail only by cutting the peer off later. */
    void (*send)(void *context, struct locks_peer *peer, const struct wire_message *message);
    /* Does any process have this open file by its sync handle, or is it on its way to one? */
    bool (*is_shared)(void *context, hf_id owner);
    /* May @peer lock in the name of this owner? For open files: it opened it, or has its handle. */
    bool (*may_own)(void *context, struct locks_peer *peer, enum lock_kind kind, hf_id owner);
};

#define LOCKS_CYCLES 8 /* so many deadlocks are remembered */

struct locks_server {
    struct id_map files;
    struct id_map owners;
    struct id_map waiters;  /* requests that are not answered, by peer and seq */
    struct list listings;   /* that wait for tables */
    struct list granted;    /* files whose table a client has, oldest grant first */
    struct list remembered; /* files with nothing in them, oldest first */
    struct list marked_files;
    struct list marked_owners;
    uint32_t remembered_count;
    uint32_t last_cycle;
    struct locks_cycle *cycles[LOCKS_CYCLES];
    uint64_t last_grant;
    uint64_t last_search;
    struct locks_limits limits;
    struct locks_counters counters;
    const struct locks_server_ops *ops;
    void *context;
};

struct locks_peer {
    struct list holdings, requests, tables;
    size_t lock_count; /* at the server */
    uint32_t request_count, table_count;
    uint64_t number; /* of the client, for LISTED; no two have the same */
    /* Tables that were recalled from it and have not come back; who does not answer for as long as
     * the server's patience lasts is cut off. */
    uint32_t recalled;
};

/* Return: 0, -ENOMEM. */
int locks_server_init(struct locks_server *server, const struct locks_limits *limits,
                      const struct locks_server_ops *ops, void *context);
/* Every peer has left before. */
void locks_server_deinit(struct locks_server *server);

void locks_peer_init(struct locks_peer *peer, uint64_t number);

/* It is going: its requests. Called before the sync table forgets it: what becomes free by that is not
 * for who is going. */
void locks_peer_give_up(struct locks_server *server, struct locks_peer *peer);

/* It is gone: its tables with all that was in them, its process's locks and those of its open
 * files that no other process has. Called when the sync table has forgotten it already. */
void locks_peer_leave(struct locks_server *server, struct locks_peer *peer);

/* No process has that open file any more. */
void locks_server_owner_gone(struct locks_server *server, hf_id owner);

/* Handle a LOCK, LOCK_CANCEL, LOCK_RETURN or LOCK_LIST. Return: WIRE_REASON_NONE, or why the peer
 * must be cut off; nothing of the message has had an effect then. */
enum wire_reason locks_server_input(struct locks_server *server, struct locks_peer *peer,
                                    const struct wire_message *message);

/*
 * Would this LOCK be refused for what others have or wait for, or, as a test, be told of it? Then what
 * these did before it was sent may still be on its way, and better comes first. Changes nothing.
 */
bool locks_server_would_refuse(struct locks_server *server, struct locks_peer *peer,
                               const struct wire_message *message);

/* Answer a LOCK with an error, whatever it says. */
void locks_server_refuse(struct locks_server *server, struct locks_peer *peer,
                         const struct wire_message *message, int error);

/* Assert the invariants at the top of server.c over everything; for tests. */
void locks_server_check(struct locks_server *server);
void locks_peer_check(const struct locks_peer *peer);

#endif
