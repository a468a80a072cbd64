/*
 * The client's side of file locks: what this process has, and the tables that it has to itself. No
 * I/O, no clock, no threads: whoever uses it serialises the calls.
 *
 * For each file that it locks the client keeps a view: its own locks, except those of open files
 * that other processes share, which only the server knows. A view is in one of two states:
 *
 *              LOCKED with a grant, no other request under way
 *   AT THE SERVER ──────────────────────────────────────────► HERE
 *                 ◄──────────────────────────────────────────
 *      LOCK_RECALL; a request that must wait, or whose open file is shared;
 *      an open file with locks becomes shared; too many empty ones
 *
 * HERE the view is the file's table, and there are no others' locks: nothing is sent. AT THE SERVER
 * every request goes there, and the view follows the answers, in their order. Giving up a lock is asked
 * too, so that it is free for all when the call returns; what is not held needs no asking.
 */
#ifndef HF_LOCKS_CLIENT_H
#define HF_LOCKS_CLIENT_H

#include "base/id_map.h"
#include "base/list.h"
#include "locks/lock.h"
#include "wire/operations.h"

#include <stdatomic.h>

/* Locks that one client has in all its views; more is -ENOLCK. The server cuts off who returns more. */
#define LOCKS_CLIENT_MAX 65536
/* Views without locks that are kept for the next time, with their tables. */
#define LOCKS_CLIENT_IDLE_MAX 1024

/* For people: the end of a path, as far as it fits. */
#define LOCK_PATH_MAX 255

/* One file. */
struct lock_view {
    struct id_map_node node; /* its id is that of the inode's sync handle */
    struct list idle_link;   /* in client->idle: there are neither locks nor requests */
    struct lock_table table;
    uint64_t grant;     /* 0: the table is at the server */
    uint32_t in_flight; /* requests that the server has not answered */
    char *path;         /* NULL: not known; owned */
};

/* One that the server is to answer. Embedded in what waits for that. */
struct lock_request {
    struct list link; /* client->requests */
    uint32_t seq;
    bool is_shared; /* its owner is an open file that others share: the view does not follow */
    bool is_test;   /* nothing is to change: what is in the way goes to `conflict` */
    bool is_canceled;
    bool gives_up; /* it was canceled, and now gives up what it wanted to change */
    hf_id file;
    struct lock lock;
    struct lock conflict; /* of a test: type LOCK_NONE: nothing */
    int result;           /* once it is done: 0, or a negative errno */
};

struct locks_client_ops {
    void (*send)(void *context, const struct wire_message *message);
    /* @request has its result, and is no longer known here. */
    void (*done)(void *context, struct lock_request *request);
};

struct locks_client {
    struct id_map views;
    struct list idle; /* the one longest so first */
    struct list requests;
    uint32_t idle_count;
    uint32_t request_count;
    uint32_t last_seq;
    _Atomic size_t lock_count; /* in all views; may be read by anybody */
    const struct locks_client_ops *ops;
    void *context;
};

/* Return: 0, -ENOMEM. */
int locks_client_init(struct locks_client *client, const struct locks_client_ops *ops,
                      void *context);
void locks_client_deinit(struct locks_client *client);

/* How a request is meant. */
#define LOCKS_WAIT 0x01   /* until it can be had */
#define LOCKS_SHARED 0x02 /* its owner is an open file that other processes have too */

/* What locks_client_try() says to what is the server's to decide. */
#define LOCKS_ASK 1

/* Do @lock, or give up what it names with LOCK_NONE, without waiting for the server. Return: 0; -EAGAIN
 * (without LOCKS_WAIT), -ENOLCK, -ENOMEM, and nothing is changed, but that a flock(2) lock of the
 * other type is given up as in Linux; LOCKS_ASK: ask. */
int locks_client_try(struct locks_client *client, hf_id file, const struct lock *lock,
                     unsigned flags);

/* Find what is in the way of @lock; *conflict has the type LOCK_NONE if nothing is. Return: 0; LOCKS_ASK. */
int locks_client_try_test(struct locks_client *client, hf_id file, const struct lock *lock,
                          struct lock *conflict);

/* Ask the server: request->lock and is_test are set. @path: of the file, may be empty; the end of it is
 * kept. ops->done() follows, later, unless this fails. Return: 0, -ENOLCK, -ENOMEM. */
int locks_client_ask(struct locks_client *client, hf_id file, unsigned flags, const char *path,
                     struct lock_request *request);

/* For a message about locks that is no request: another number than those have. */
uint32_t locks_client_next_seq(struct locks_client *client);

/* It need not go on: the server answers at once, with -ECANCELED if it still waits. */
void locks_client_cancel(struct locks_client *client, struct lock_request *request);

/* Handle a LOCKED or LOCK_RECALL. Return: 0; -EPROTO when it breaks the protocol, -ENOMEM: the
 * connection must end. */
int locks_client_input(struct locks_client *client, const struct wire_message *message);

/* The open file @owner has other processes from now on: the server is told of its locks on @file, and
 * they are no longer known here. */
void locks_client_share(struct locks_client *client, hf_id file, hf_id owner);

/* The connection has ended: all requests are done with @error, and no lock is left. */
void locks_client_lost(struct locks_client *client, int error);

/* In the child of a fork: those who asked are not here, and nothing is locked. */
void locks_client_reset(struct locks_client *client);

/* Assert the invariants at the top of client.c; for tests. */
void locks_client_check(const struct locks_client *client);

#endif
