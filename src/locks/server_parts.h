/*
 * What the server's side of file locks is made of; for its own sources and tests.
 *
 *   server.c    messages, answers, the end of a peer
 *   tables.c    files and owners, what is held, and where a table is
 *   waiting.c   the queues, who waits for whom, deadlocks
 *   listing.c   LOCK_LIST
 *   check.c     the invariants
 *
 * A step changes what it is about and only marks what that may mean to others: a file whose waiters
 * may go on now (locks_file_mark), an owner that others wait for in another way than before
 * (locks_owner_mark). locks_settle() ends every step and sees to the marks.
 */
#ifndef HF_LOCKS_SERVER_PARTS_H
#define HF_LOCKS_SERVER_PARTS_H

#include "locks/server.h"

/* Files that nobody has locks in, and that are remembered because several had. */
#define LOCKS_REMEMBERED_MAX 1024
/* Once a table had to be recalled: so many requests in a row let a client have it again. */
#define LOCKS_ALONE_AFTER 8

struct locks_path {
    uint8_t length;
    char bytes[];
};

struct locks_file {
    struct id_map_node node;
    /* At the server: all locks. At a client: what has come back of it so far. */
    struct lock_table table;
    struct list holdings;    /* who has locks in it */
    struct list waiting;     /* requests, first come, first served */
    struct list held_up;     /* that came while a client has the table */
    struct locks_path *path; /* as it was told last; NULL: never */

    struct list mark_link;
    uint64_t mark_start,
        mark_end; /* waiting requests for these bytes may go on; none if start > end */
    struct list remembered_link; /* while there is nothing in it but that it was contended */

    /* The client that has the table; NULL and 0: none. */
    struct locks_peer *peer;
    uint64_t grant;
    struct list peer_link;
    struct list granted_link; /* server->granted, in the order of the grants */
    bool recalled;

    bool contended;   /* more than one client needed it */
    uint8_t in_a_row; /* so many requests were of the last client */
    uint64_t last_client;
};

/* That an owner has locks in a file. */
struct locks_holding {
    struct locks_file *file;
    struct locks_owner *owner;
    struct locks_peer *peer; /* who locked last in the owner's name; NULL: gone */
    struct list of_file, of_owner, of_peer;
    size_t count;
};

struct locks_owner {
    struct id_map_node node;
    bool is_process;
    struct list holdings;
    struct list waiting;
    struct list mark_link;
    /* A search through those that wait for each other. */
    uint64_t seen_in;
    struct locks_waiter *seen_by;
    struct locks_owner *next_seen;
};

/* A LOCK, with its file, or a LOCK_LIST, without. */
struct locks_waiter {
    struct id_map_node node; /* the peer and the seq */
    struct list link;        /* file->waiting, file->held_up, server->listings */
    struct list of_peer;
    struct list of_owner;
    struct locks_peer *peer;
    struct locks_file *file;
    struct locks_owner *owner; /* NULL unless it is in file->waiting */
    struct lock lock;
    uint32_t seq;
    uint8_t flags;
    uint64_t last_grant; /* of a listing: it waits for tables up to this one */
};

/* A LOCK that is looked at. */
struct locks_ask {
    struct locks_peer *peer;
    struct lock lock;
    uint32_t seq;
    uint8_t flags;
};

/* A deadlock that was found. */
struct locks_cycle {
    size_t count;
    struct locks_cycle_entry {
        struct wire_listed listed; /* its path is `path` */
        char path[UINT8_MAX];
    } entries[];
};

/* ---- server.c ---- */

void locks_answer(struct locks_server *server, struct locks_peer *peer, hf_id file, uint32_t seq,
                  uint64_t grant, int error);

/* NULL: no memory. It is in no list but the peer's. */
struct locks_waiter *locks_waiter_new(struct locks_server *server, struct locks_peer *peer,
                                      uint32_t seq);
void locks_waiter_free(struct locks_server *server, struct locks_waiter *waiter);

/* Take it out of its queue and answer. */
void locks_waiter_refuse(struct locks_server *server, struct locks_waiter *waiter, int error);

/* Decide on a request for a table that is here; @waiter is its own, or NULL. */
void locks_decide(struct locks_server *server, struct locks_file *file, const struct locks_ask *ask,
                  struct locks_waiter *waiter);

/* Do what a request says that can be had, and answer. */
void locks_grant(struct locks_server *server, struct locks_file *file, const struct locks_ask *ask);

/* See to all marks. */
void locks_settle(struct locks_server *server);

/* May it ask for that in this owner's name? */
bool locks_may_own(const struct locks_server *server, struct locks_peer *peer,
                   const struct lock *lock);

/* The first record of @bytes. Return: how many bytes it takes; 0: it is no lock. */
size_t locks_decode(const uint8_t *bytes, size_t size, struct lock *lock, struct wire_name *path);

static inline hf_id locks_waiter_id(const struct locks_peer *peer, uint32_t seq)
{
    return (hf_id){.space = (uintptr_t)peer, .object = seq};
}

static inline struct locks_waiter *locks_waiter_at(struct list *link)
{
    return list_entry(link, struct locks_waiter, link);
}

/* ---- tables.c ---- */

struct locks_file *locks_file_find(const struct locks_server *server, hf_id id);
/* NULL: no memory. A new one has to be marked before the step ends. */
struct locks_file *locks_file_get(struct locks_server *server, hf_id id);
void locks_file_name(struct locks_file *file, struct wire_name path);
/* The step looks at it again; at requests for those bytes, if there are any. */
void locks_file_mark(struct locks_server *server, struct locks_file *file, uint64_t start,
                     uint64_t end);
/* It goes if there is nothing in it. */
void locks_file_settle(struct locks_server *server, struct locks_file *file);
void locks_file_free(struct locks_server *server, struct locks_file *file);

struct locks_owner *locks_owner_find(const struct locks_server *server, hf_id id);
/* NULL: no memory. */
struct locks_owner *locks_owner_get(struct locks_server *server, const struct lock *lock);
/* It goes if it has and wants nothing. */
void locks_owner_settle(struct locks_server *server, struct locks_owner *owner);

/* Make @request true, which is @peer's. Return: 0, -ENOLCK, -ENOMEM. */
int locks_change(struct locks_server *server, struct locks_file *file, struct locks_peer *peer,
                 const struct lock *request);

/* Give up all of it. */
void locks_holding_drop(struct locks_server *server, struct locks_holding *holding);
/* Its peer is gone, and others have the open file. */
void locks_holding_orphan(struct locks_holding *holding);

/* The peer has asked for something in it once more. */
void locks_file_count_request(struct locks_file *file, const struct locks_peer *peer);
/* Let @peer have the table, if that is right now. Return: the grant, 0: it is not. */
uint64_t locks_file_let_go(struct locks_server *server, struct locks_file *file,
                           struct locks_peer *peer);
/* Ask for the table that a client has, once. */
void locks_file_recall(struct locks_server *server, struct locks_file *file);
enum wire_reason locks_on_return(struct locks_server *server, struct locks_peer *peer,
                                 const struct wire_message *message);
/* The table is here again, with what there is in it: go on with what was held up. */
void locks_file_come_back(struct locks_server *server, struct locks_file *file);

/* ---- waiting.c ---- */

/* Must it wait for one that came before? @before: NULL: it is the last one. */
bool locks_is_behind(struct locks_server *server, struct locks_file *file, const struct lock *lock,
                     const struct locks_waiter *before);

/* Would it close a cycle of processes if it waited? */
bool locks_closes_cycle(struct locks_server *server, struct locks_file *file,
                        const struct locks_ask *ask);
/* The same, and the cycle is kept for listings. */
bool locks_finds_deadlock(struct locks_server *server, struct locks_file *file,
                          const struct locks_ask *ask);

/* Let it wait behind all others. @waiter: its own, or NULL. Return: 0, -ENOMEM, -ENOBUFS. */
int locks_enqueue(struct locks_server *server, struct locks_file *file, const struct locks_ask *ask,
                  struct locks_waiter *waiter);

/* Grant what can be had now of what is marked, in order. */
void locks_file_serve(struct locks_server *server, struct locks_file *file);

/* The owner waits for something new, or has something new while it waits. */
void locks_owner_mark(struct locks_server *server, struct locks_owner *owner);
void locks_owner_look(struct locks_server *server, struct locks_owner *owner);

/* ---- listing.c ---- */

enum wire_reason locks_on_list(struct locks_server *server, struct locks_peer *peer,
                               const struct wire_message *message);

/* Answer those that need not wait any more. */
void locks_serve_listings(struct locks_server *server);

/* @peer: NULL: it is gone. */
struct wire_listed locks_listed(enum lock_state state, const struct lock *lock,
                                const struct locks_file *file, const struct locks_peer *peer);

#endif
