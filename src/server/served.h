/*
 * Served mounts, the server's side: stores, and what its clients do with them by OPERATION.
 *
 * For the loop's thread, or before there is one.
 */
#ifndef HF_SERVER_SERVED_H
#define HF_SERVER_SERVED_H

#include "base/id_map.h"
#include "base/permissions.h"
#include "store/store.h"
#include "sync/server.h"

#include <uv.h>

struct hf_server;
struct peer;
struct served_store;
struct served_client;
struct served_turn;

struct served {
    struct served_store **stores; /* the first has the number WIRE_STORE_FIRST */
    uint32_t count;
    struct sync_peer taker; /* has the holds for SERVED operations */
    struct id_map takings;  /* the inodes that it asks for or has */
    struct list granted;    /* of these, those that it was granted or denied just now */
    struct served_turn *turns;
    bool is_due;              /* operations that wait for space can be tried again */
    uint8_t *answer;          /* where answers are put together: room for the largest */
    uint64_t operations;      /* so far */
    uint64_t uses;            /* now */
    uint32_t pipes;           /* now */
    uv_timer_t reclaim_timer; /* runs while somebody has to answer a RECLAIM */
};

/* A peer as far as stores go. */
struct served_peer {
    struct served_client *clients; /* what it is to each store that it used */
    struct credentials own;        /* groups NULL until its first operation */
    struct id_map stated;          /* object: the slot; no buckets until the first */
    struct list waiting;           /* its operations that wait */
    uint64_t waiting_bytes;
    uint32_t use_count;
    bool has_own;
};

void served_init(struct served *served);
/* The loop has begun; who ends it closes all its handles. */
void served_open_loop(struct hf_server *server);
/* All peers are gone. */
void served_deinit(struct hf_server *server);

/*
 * Serve @store under the next number, which *number is set to; before the server runs.
 * @flags: WIRE_STORE_EXACT or 0. Takes @store over on success.
 *
 * Return: 0; -ENOMEM; -ENOSPC when there are too many; -EINVAL when the limits do not let the longest
 * operation or answer pass.
 */
int served_add(struct hf_server *server, struct store *store, bool read_only, uint32_t flags,
               uint32_t *number);

void served_peer_init(struct served_peer *served);
/* The peer goes: what it uses and has reserved is free again. The sync table has it still. */
void served_peer_leave(struct peer *peer);

/* Handle an OPERATION. Return: WIRE_REASON_NONE, or why @peer must be cut off. */
enum wire_reason served_input(struct hf_server *server, struct peer *peer,
                              const struct wire_message *message);

struct park_loan;

/* An inode that was lent is not used by that any more. */
void served_give_back(struct hf_server *server, const struct park_loan *loan);

/* The pipe of a FIFO that @peer uses, whose sync handle is @id; *fd stays the server's. Return:
 * WIRE_REASON_NONE; or what to refuse with, UNKNOWN_TICKET also when the host lets us have no pipe. */
enum wire_reason served_claim_pipe(struct peer *peer, hf_id id, int *fd);

/* What the sync table says to the taker. */
void served_granted(struct hf_server *server, const struct wire_message *message);

/* Do what has become possible; after a batch of input. */
void served_settle(struct hf_server *server);

/* Pages and inodes reserved now, over all stores. */
void served_count_reserved(const struct hf_server *server, uint64_t *pages, uint64_t *inodes);

#endif
