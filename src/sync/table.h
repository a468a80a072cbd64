/*
 * The records of the server's table: handles, holds, queued requests. What they mean, and the
 * rules they obey, is at the top of server.c.
 */
#ifndef HF_SYNC_TABLE_H
#define HF_SYNC_TABLE_H

#include "sync/server.h"

struct hold;

struct request {
    struct request *next;
    struct hold *hold;
    uint64_t version; /* the one the client has */
    uint32_t seq;
    uint8_t mode;
    bool reference; /* the hold is to keep a reference once granted */
    bool nowait;    /* waits only until those in the way have said whether they use it */
};

struct queue {
    struct request *first;
    struct request *last;
    uint32_t count;
};

struct value {
    uint16_t size;
    uint8_t bytes[];
};

/* An owner-died mark whose handle has nothing else; see invariant 6. */
struct mark {
    struct list link; /* server->marks */
    struct handle *handle;
};

/* Sized to fill an allocation of 64 bytes, as is struct hold: a server may have a million. */
struct handle {
    struct id_map_node node;
    uint64_t owner_died : 1;
    uint64_t marked : 1;
    uint64_t version : 62; /* grant of the EXCLUSIVE hold that last ended or published */
    struct hold *holds;
    union {
        struct queue *queue; /* NULL: nobody waits */
        struct mark *mark;   /* when marked */
    };
    struct value *value; /* NULL: none */
};

struct hold {
    struct list link; /* peer->holds */
    struct handle *handle;
    struct sync_peer *peer;
    struct hold *next; /* handle->holds */
    uint64_t grant;
    uint8_t mode;
    uint8_t recalled_to;  /* HF_EXCLUSIVE: no RECALL sent for this grant */
    uint8_t asked_to;     /* the same of a RECALL for a NOWAIT, until it is answered */
    bool asked_for_first; /* and that is the first request in the queue */
    bool referenced;      /* stays when it comes down to INVALID */
    bool waiting;         /* has a request in the queue */
};

/* Zeroed memory that counts as the table's; freed by the functions below. NULL: none. */
void *table_alloc(struct sync_server *server, size_t size);

struct handle *handle_from_node(struct id_map_node *node);
struct handle *handle_find(const struct sync_server *server, hf_id id);

/* Find or make. A made one has nothing yet: give it a hold, or settle it. NULL: no memory. */
struct handle *handle_get(struct sync_server *server, hf_id id);

/* Nobody holds, references or waits for it any more? Then it goes, or becomes a mark. */
void handle_settle(struct sync_server *server, struct handle *handle);

/* It has no hold. */
void handle_free(struct sync_server *server, struct handle *handle);

/* Could @asker have @mode now, as far as the other holds go? */
bool handle_can_grant(const struct handle *handle, const struct hold *asker, hf_mode mode);

void value_free(struct sync_server *server, struct handle *handle);

struct hold *hold_find(const struct handle *handle, const struct sync_peer *peer);
struct hold *hold_new(struct sync_server *server, struct handle *handle, struct sync_peer *peer);
void hold_free(struct sync_server *server, struct hold *hold);

/* Come down to @mode, at most the mode it has. The end of EXCLUSIVE makes a new version. */
void hold_come_down(struct sync_server *server, struct hold *hold, hf_mode mode);

/* Free it if it neither holds, references nor waits. */
void hold_settle(struct sync_server *server, struct hold *hold);

/* Does @other's mode exclude @mode for @asker? */
bool hold_in_the_way(const struct hold *other, const struct hold *asker, hf_mode mode);

/* Queue what the ACQUIRE asks for. Return: 0, -ENOMEM. */
int request_enqueue(struct sync_server *server, struct hold *hold,
                    const struct wire_message *message);

/* Take the request out and free it; its hold no longer waits. What holders were asked for a
 * NOWAIT is then asked for nobody, until they answer. */
void request_dequeue(struct sync_server *server, struct request *request);

/* The request of a hold that waits. */
struct request *request_find(const struct hold *hold);

#endif
