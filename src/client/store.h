/*
 * What a client has of a store of the server's: operations that it asks or tells, the space it was
 * given ahead, and which inodes it uses. See docs/protocol.md.
 *
 * Operations reach the server in the order of these calls, and before any message about a sync
 * handle that is sent later. Everything here is guarded by the client's lock, which the functions
 * take.
 */
#ifndef HF_CLIENT_STORE_H
#define HF_CLIENT_STORE_H

#include "client/client.h"
#include "wire/operations.h"

/* One store. Embedded in what the user keeps of it; constant from client_store_open() on are
 * number and failed. */
struct client_store {
    struct list link; /* client->stores */
    hf_client *client;
    uint32_t number;
    /* An operation that was told has failed. Called with the lock held. */
    void (*failed)(struct client_store *store, uint64_t inode, int error);

    uint64_t pages, inodes;             /* given, and not spent by what was told */
    uint64_t pages_spent, inodes_spent; /* since the last RESERVE was sent */
    bool returned;                      /* the same: everything was given back */
    uint64_t next_number, number_end;   /* for new inodes */
    pthread_mutex_t reserve_lock;       /* one thread asks for space at a time; taken first */
    struct list uses;                   /* those that the server was told of, or will be */
};

/* That an inode is open here. Embedded; all zero is not. */
struct client_use {
    struct client_store *store;
    struct list link;      /* store->uses */
    struct list idle_link; /* client->idle_uses: told, and open no more */
    uint64_t inode;
    uint32_t count;
    uint8_t told; /* WIRE_USE_x, and CLIENT_USE_TOLD */
};
#define CLIENT_USE_TOLD 0x80

void client_store_open(hf_client *client, uint32_t number,
                       void (*failed)(struct client_store *, uint64_t, int),
                       struct client_store *store);
void client_store_close(struct client_store *store);

/* Gets the data of an answer, without error, while the lock is held; it must not wait. Return: what
 * becomes the result of the call; -EPROTO when the server may not say that. */
typedef int64_t client_answer_function(void *context, const uint8_t *data, size_t size);

/* Ask and wait for the answer. @answer: NULL: it is not looked at. Return: what @answer returned or
 * 0; the operation's negative errno; -ENOTCONN, -ENOMEM. */
int64_t client_store_ask(struct client_store *store, const struct wire_operation *operation,
                         uint8_t flags, client_answer_function *answer, void *context);

/* The same in two steps, so that several are on their way at once: start each, then finish each, in
 * any thread; nothing is sent before the first is to be finished, or another message is. */
struct client_request {
    struct list link; /* client->requests */
    struct sleeper sleeper;
    uint32_t seq;
    bool alone; /* the answer says so, see WIRE_ALONE */
    int64_t result;
    client_answer_function *answer;
    void *context;
};
void client_store_start(struct client_store *store, const struct wire_operation *operation,
                        uint8_t flags, client_answer_function *answer, void *context,
                        struct client_request *request);
int64_t client_store_finish(struct client_store *store, struct client_request *request);

/* Tell, and wait only until the kernel has it; or with client_store_queue() not even that, so that
 * client_store_send() must follow before the caller returns. It costs so much at most, which is spent. Return: 0;
 * -ENOSPC when so much is not there: nothing was told; -ENOTCONN, -ENOMEM. */
int client_store_tell(struct client_store *store, const struct wire_operation *operation,
                      uint64_t pages, uint64_t inodes);
int client_store_queue(struct client_store *store, const struct wire_operation *operation,
                       uint64_t pages, uint64_t inodes);
/* All that was queued is the kernel's. Return: 0, -ENOTCONN. */
int client_store_send(struct client_store *store);

/* See to it that so much is there, and @number too if it is not NULL: one that nobody else has, for
 * a new inode. Asks the server for that and more if need be. Return: 0; -ENOSPC when there is not so
 * much; -EDQUOT, -ENOTCONN, -ENOMEM. */
int client_store_reserve(struct client_store *store, uint64_t pages, uint64_t inodes,
                         uint64_t *number);

/* Where the numbers end that will be given next, if they go on behind @number; else @number. */
uint64_t client_store_number_end(struct client_store *store, uint64_t number);

/* It is open here once more, for WIRE_USE_x. The server is told with the next message. */
int client_store_use(struct client_store *store, struct client_use *use, uint64_t inode,
                     uint8_t rights);
/* The same without any rights, if the server knows of it already. Return: does it? */
bool client_store_use_again(struct client_store *store, struct client_use *use);
/* The same, of which the server knows already. */
void client_store_used(struct client_store *store, struct client_use *use, uint64_t inode,
                       uint8_t rights);
/* Once for each. @named: as far as is known it has a name, so that there is no hurry. */
void client_store_unuse(struct client_store *store, struct client_use *use, bool named);
/* It is about to be freed, and not open. */
void client_use_deinit(struct client_store *store, struct client_use *use);

/* ---- for the connection, with the lock held ---- */

/* An ANSWER, FAILED or RECLAIM. Return: false when it breaks the protocol. */
bool client_stores_input(hf_client *client, const struct wire_message *message);

/* Something is about to be sent: what was left unsaid goes with it. */
void client_stores_flush(hf_client *client);

/* The connection has ended: so do all waits. */
void client_stores_lost(hf_client *client);

/* In a forked child: nobody waits, and nothing was given. */
void client_stores_reset(hf_client *client);

#endif
