/*
 * The server's side of the sync protocol: the table of sync handles. No I/O, no clock, no
 * threads: messages come in through sync_server_input() and go out through a callback.
 */
#ifndef HF_SYNC_SERVER_H
#define HF_SYNC_SERVER_H

#include "base/id_map.h"
#include "base/list.h"
#include "wire/wire.h"

struct sync_peer;

struct sync_server_limits {
    uint32_t handles;          /* holds and references per peer */
    uint32_t queued;           /* waiting requests per peer */
    uint32_t value_bytes;      /* longest value */
    uint32_t owner_died_marks; /* kept for handles that have no other state */
};

struct sync_server_counters {
    uint64_t handles; /* with any state, now */
    uint64_t holds;   /* holds and references, now */
    uint64_t queued;  /* requests waiting, now */
    uint64_t bytes;   /* allocated for all of it, now; the hash table included */
    uint64_t acquires, releases, cancels, grants, denials, recalls; /* so far */
};

struct sync_server {
    struct id_map handles;
    struct list marks; /* owner-died marks without other state, oldest first */
    uint32_t mark_count;
    uint64_t last_grant; /* numbers holds, and versions of fresh handles; never reused */
    struct sync_server_limits limits;
    struct sync_server_counters counters;
    /* Takes a message for @peer. It may fail only by cutting the peer off later: it must
     * not call back into this table. @message and its data are valid during the call. */
    void (*send)(void *context, struct sync_peer *peer, const struct wire_message *message);
    void *send_context;
    /* NULL, or told, with send_context, of each handle that nobody holds, references or waits for any
     * more. Of this table it may only ask sync_server_view() and sync_server_is_used(). */
    void (*unused)(void *context, hf_id id);
};

/* One client, as the table sees it. Embedded in whatever the owner keeps of a client. */
struct sync_peer {
    struct list holds; /* every hold, reference and waiting request of this peer */
    uint32_t hold_count;
    uint32_t queued_count;
};

/* Return: 0, -ENOMEM. */
int sync_server_init(struct sync_server *server, const struct sync_server_limits *limits,
                     void (*send)(void *context, struct sync_peer *peer,
                                  const struct wire_message *message),
                     void *send_context);

/* Every peer has left before. */
void sync_server_deinit(struct sync_server *server);

void sync_peer_init(struct sync_peer *peer);

/* The peer vanished or is cut off: all it holds, references and waits for goes, handles that
 * it held EXCLUSIVE are marked owner-died, and those who wait are granted. An @orderly
 * departure marks nothing. */
void sync_peer_leave(struct sync_server *server, struct sync_peer *peer, bool orderly);

/*
 * Handle an ACQUIRE, RELEASE or CANCEL from @peer.
 *
 * Return: WIRE_REASON_NONE, or why the peer must be cut off; the caller then calls
 * sync_peer_leave(), and nothing of the message has had an effect.
 */
enum wire_reason sync_server_input(struct sync_server *server, struct sync_peer *peer,
                                   const struct wire_message *message);

/*
 * Reference @id for @peer, as its ACQUIRE of INVALID would, but without any message: for a peer
 * of the owner's own, which has no client behind it. It has nothing on @id yet.
 *
 * Return: WIRE_REASON_NONE, WIRE_REASON_HANDLE_LIMIT, WIRE_REASON_NO_MEMORY.
 */
enum wire_reason sync_server_reference(struct sync_server *server, struct sync_peer *peer,
                                       hf_id id);

/* What @peer alone references, nobody else having anything on it, gets that value, as if an
 * EXCLUSIVE holder had left it. At most HF_VALUE_MAX bytes. Return: WIRE_REASON_NONE,
 * WIRE_REASON_NO_MEMORY. */
enum wire_reason sync_server_set_value(struct sync_server *server, const struct sync_peer *peer,
                                       hf_id id, const void *bytes, size_t size);

/* Drop that reference. */
void sync_server_unreference(struct sync_server *server, struct sync_peer *peer, hf_id id);

/* What @peer has on @id now. */
struct sync_peer_view {
    hf_mode mode;
    uint64_t grant; /* 0: the server has nothing of this peer on this handle */
    bool waiting;
};
struct sync_peer_view sync_server_view(const struct sync_server *server,
                                       const struct sync_peer *peer, hf_id id);

/* Nobody holds, references or waits for @id but @peer, if anybody: what it does counts as done under
 * EXCLUSIVE, so what others remember of the handle is out of date from here on. Return: false, and
 * nothing happened, when somebody else has anything on it. */
bool sync_server_use_alone(struct sync_server *server, const struct sync_peer *peer, hf_id id);

/* Does anybody hold, reference or wait for @id? */
bool sync_server_is_used(const struct sync_server *server, hf_id id);

/* Assert the invariants at the top of server.c over the whole table; for tests. */
void sync_server_check(const struct sync_server *server);

#endif
