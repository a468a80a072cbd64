/*
 * Served mounts: what its files share. An operation comes in at dispatch.c, where everything is
 * checked that does not depend on what it is; rules.c says what the client must hold for it; look.c,
 * change.c, names.c and space.c do it; wait.c keeps it until there is space or a hold.
 */
#ifndef HF_SERVER_SERVED_PARTS_H
#define HF_SERVER_SERVED_PARTS_H

#include "server/server.h"
#include "wire/operations.h"

/* Inodes of its own making that are remembered of a client, the newest. */
#define SERVED_MADE 1024

struct served_store {
    struct store *store;
    uint32_t number;
    uint32_t flags; /* WIRE_STORE_EXACT, WIRE_STORE_READ_ONLY */
    struct list clients;
    struct list space_queue; /* operations that wait for space */
    struct id_map pipes;     /* of FIFOs that are used; no buckets until the first */
    uint32_t reclaims;       /* RECLAIMs that have not been answered */
    bool is_retrying;        /* a round is over, and what waited is being done */
};

/* It was made by this client while it held its directory under this grant: until that hold ends
 * nobody else can know of it. */
struct served_made {
    uint64_t number;
    uint64_t directory;
    uint64_t grant;
};

/* What a peer is to one store. */
struct served_client {
    struct served_client *next; /* the peer's */
    struct list link;           /* the store's */
    struct peer *peer;
    struct served_store *of;
    struct store_holder holder;
    struct id_map uses;        /* object: the inode */
    struct served_made *made;  /* by number modulo SERVED_MADE; NULL: none yet */
    uint64_t failed;           /* operations that failed without being the client's fault */
    uint64_t reclaim_until_ms; /* on the loop's clock: to answer a RECLAIM; 0: it has none */
    bool has_more;             /* reserved since it gave back last */
};

/* An inode that the client has open. Held once in the store. */
struct served_use {
    struct id_map_node node;
    struct served_pipe *pipe; /* a reference; NULL: none */
    uint8_t rights;
};

/* An operation that waits, with its frame. */
struct served_waiting {
    struct list link;      /* the queue it is in */
    struct list peer_link; /* the peer's */
    struct served_client *client;
    struct wire_message message;
    bool was_asked; /* a round of RECLAIMs has begun since it waits */
    uint8_t data[];
};

/* An operation on its way. */
struct work {
    const struct wire_message *message;
    struct hf_server *server;
    struct peer *peer;
    struct served_client *client;
    struct store *store;
    struct credentials who;
    struct store_call call;
    struct wire_operation op;
    uint32_t seq;      /* 0: no answer is wanted */
    bool is_last_try;  /* others were asked for space */
    bool cannot_wait;  /* there is no room to keep it in */
    bool is_permitted; /* the store was asked to do it */
    bool is_taken;     /* SERVED: the server has the hold */
    uint8_t flags;     /* of the ANSWER */
    uint8_t *answer;   /* the ANSWER's data goes here */
    size_t answer_size;
    bool is_in_place; /* where peer_send() wants it */
};

/* All is checked: what fails from here on fails in the store. */
static inline struct store *served_permitted(struct work *work)
{
    work->is_permitted = true;
    return work->store;
}

static inline struct store_name served_name(const struct wire_name *name)
{
    return (struct store_name){.bytes = name->bytes, .length = name->length};
}

/* ---- dispatch.c ---- */

/* Do what @message says for @client, or have it wait. What @work says already is how far it has come
 * in earlier tries. Return: why the peer must be cut off. */
enum wire_reason served_begin(struct work *work, struct served_client *client,
                              const struct wire_message *message);

/* What can be done is, now, and answered; else it waits. */
enum wire_reason served_run(struct work *work);
/* It was done with this result. */
enum wire_reason served_finish(const struct work *work, int64_t result);
/* The mode that the server takes for a SERVED operation; INVALID: it cannot be one. */
hf_mode served_taken_mode(const struct wire_message *message);

/* ---- rules.c ---- */

/* Does the client hold what it must? Return: WIRE_REASON_NONE, WIRE_REASON_NOT_HELD. */
enum wire_reason served_check_held(const struct work *work);

int served_attributes(const struct work *work, uint64_t number, struct store_attributes *out);
struct permissions served_permissions(const struct store_attributes *attributes);

/* With what the client uses the inode for, 0 if it does not. */
uint8_t served_rights(const struct served_client *client, uint64_t number);

/* May data be read (WIRE_USE_READ) or written? By a use, or else by the mode. Return: 0, -EACCES,
 * -ESTALE. */
int served_may_data(const struct work *work, uint64_t number, uint8_t right);

/* MAY_x in a directory, with its attributes. Return: 0, -EACCES, -ESTALE. */
int served_may_in(const struct work *work, uint64_t directory, unsigned wanted,
                  struct permissions *out);

/* The client has made @number in @directory, which it holds EXCLUSIVE. */
void served_note_made(const struct work *work, uint64_t number, uint64_t directory);
/* It got a name elsewhere. */
void served_forget_made(const struct work *work, uint64_t number);
/* It made the inode, and nobody else can know of it yet. */
bool served_is_private(const struct work *work, uint64_t number);

/* ---- client.c ---- */

/* The peer's client of that store, made at need. NULL: no memory. */
struct served_client *served_client_get(struct peer *peer, struct served_store *of);

struct served_use *served_use_find(const struct served_client *client, uint64_t number);

/* Whom the operations of the peer with these credentials are for. Return: 0, -EINVAL (never stated),
 * -ENOMEM. */
int served_credentials(struct peer *peer, uint32_t slot, struct credentials *out);
bool served_is_privileged(const struct peer *peer);

/* ---- what operations do: look.c, change.c, names.c, client.c, space.c. Return: 0 or more, with an
 * answer; or a negative errno ---- */

int64_t served_attach(struct work *work);
int64_t served_lookup(struct work *work);
int64_t served_get(struct work *work);
int64_t served_parent(struct work *work);
int64_t served_list(struct work *work);
int64_t served_read_link(struct work *work);
int64_t served_read(struct work *work);
int64_t served_seek(struct work *work);
int64_t served_get_xattr(struct work *work);
int64_t served_list_xattrs(struct work *work);

int64_t served_touch(struct work *work);
int64_t served_sync(struct work *work);
int64_t served_set(struct work *work);
int64_t served_write(struct work *work);
int64_t served_append(struct work *work);
int64_t served_allocate(struct work *work);
int64_t served_copy(struct work *work);
int64_t served_set_xattr(struct work *work);
int64_t served_remove_xattr(struct work *work);

int64_t served_make(struct work *work);
int64_t served_make_unnamed(struct work *work);
int64_t served_link(struct work *work);
int64_t served_unlink(struct work *work);
int64_t served_remove_directory(struct work *work);
int64_t served_rename(struct work *work);

int64_t served_use(struct work *work);
int64_t served_unuse(struct work *work);
int64_t served_lend(struct work *work);
int64_t served_borrow(struct work *work);
int64_t served_state_credentials(struct work *work);

int64_t served_usage(struct work *work);
int64_t served_reserve(struct work *work);
int64_t served_return(struct work *work);

/* ---- wait.c ---- */

/* What it takes to keep it, as far as the limit goes. */
static inline uint64_t served_waiting_bytes(const struct wire_message *message)
{
    return sizeof(struct served_waiting) + message->data_size;
}

/* Keep the operation; in no queue yet. NULL: no memory, or too much of this client's waits. */
struct served_waiting *served_waiting_new(const struct work *work);
void served_waiting_free(struct served_waiting *waiting);
/* What has become of it meanwhile. */
enum served_event {
    SERVED_SPACE,  /* others have been asked for space */
    SERVED_TAKEN,  /* the server has the hold */
    SERVED_DENIED, /* and cannot have it */
};
/* Go on with it, and free it. */
void served_waiting_run(struct served_waiting *waiting, enum served_event event);

/* ---- pipe.c ---- */

/* The pipe of an inode, if it has one, with a reference. */
struct served_pipe *served_pipe_join(const struct served_store *of, uint64_t number);
/* @pipe may be NULL. */
struct served_pipe *served_pipe_ref(struct served_pipe *pipe);
void served_pipe_unref(struct hf_server *server, struct served_pipe *pipe);

/* ---- take.c ---- */

/* Return: 0, -ENOMEM. */
int served_open_taking(struct served *served);
void served_close_taking(struct served *served);
/* Do a SERVED operation, or have it wait for its hold. */
enum wire_reason served_take(struct work *work);
void served_settle_taken(struct hf_server *server);

/* ---- space.c ---- */

/* An operation with an answer finds no space: would others give back what they do not need? */
bool served_can_reclaim(const struct work *work);
/* Ask them, and keep the operation meanwhile. Return: false when it cannot be kept. */
bool served_wait_for_space(const struct work *work);
/* The client has answered a RECLAIM, if it had one, or is gone. */
void served_reclaim_answered(struct served_client *client);
void served_settle_space(struct hf_server *server);
void served_on_reclaim_time(uv_timer_t *timer);

/* The answer to what says what an inode is. */
void served_answer_attributes(struct work *work, const struct store_attributes *attributes);
void served_answer_count(struct work *work, uint64_t count);

#endif
