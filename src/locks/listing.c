/*
 * LOCK_LIST: everything that is held and waited for, and the last deadlocks.
 *
 * It is answered from the tables that are here, so all others are recalled first, and none is let go
 * of until the answer is sent. What a client does in its own tables until it gives them back comes
 * before the answer.
 */
#include "locks/server_parts.h"

#include <string.h>

/* Records are sent in frames of about this size. */
#define FRAME_BYTES 16384

struct listing {
    struct locks_server *server;
    struct locks_peer *peer;
    uint32_t seq;
    size_t size;
    uint8_t bytes[FRAME_BYTES];
};

static void flush(struct listing *listing, uint8_t flags)
{
    listing->server->ops->send(listing->server->context,
                               listing->peer,
                               &(struct wire_message){
                                   .kind = WIRE_LOCK_LISTED,
                                   .seq = listing->seq,
                                   .flags = flags,
                                   .data = listing->bytes,
                                   .data_size = (uint32_t)listing->size,
                               });
    listing->size = 0;
}

static void add(struct listing *listing, const struct wire_listed *listed)
{
    if (listing->size + WIRE_OPERATION_HEAD_MAX > sizeof(listing->bytes)) {
        flush(listing, WIRE_MORE);
    }
    listing->size += wire_put_listed(listed, listing->bytes + listing->size);
}

struct wire_listed locks_listed(enum lock_state state, const struct lock *lock,
                                const struct locks_file *file, const struct locks_peer *peer)
{
    struct wire_listed listed = {
        .state = (uint8_t)state,
        .kind = (uint8_t)lock->kind,
        .type = (uint8_t)lock->type,
        .start = lock->start,
        .end = lock->end,
        .owner_space = lock->owner.space,
        .owner_object = lock->owner.object,
        .pid = lock->pid,
        .space = file->node.id.space,
        .object = file->node.id.object,
        .client = peer != NULL ? peer->number : 0,
    };
    if (file->path != NULL) {
        listed.path = (struct wire_name){file->path->bytes, file->path->length};
    }
    return listed;
}

static void add_held(struct listing *listing, const struct locks_holding *holding,
                     enum lock_kind kind)
{
    const struct locks_file *file = holding->file;
    size_t count;
    const struct lock *lock =
        lock_table_of_owner(&file->table, holding->owner->node.id, kind, &count);
    for (size_t i = 0; i < count; i++) {
        struct wire_listed listed = locks_listed(LOCK_HELD, &lock[i], file, holding->peer);
        add(listing, &listed);
    }
}

static void add_file(struct listing *listing, struct locks_file *file)
{
    for (struct list *it = file->holdings.next; it != &file->holdings; it = it->next) {
        const struct locks_holding *holding = list_entry(it, struct locks_holding, of_file);
        add_held(listing, holding, LOCK_POSIX);
        add_held(listing, holding, LOCK_FLOCK);
    }
    for (struct list *it = file->waiting.next; it != &file->waiting; it = it->next) {
        const struct locks_waiter *waiter = locks_waiter_at(it);
        struct wire_listed listed = locks_listed(LOCK_WAITING, &waiter->lock, file, waiter->peer);
        add(listing, &listed);
    }
}

static void answer(struct locks_server *server, struct locks_peer *peer, uint32_t seq)
{
    struct listing listing;
    listing.server = server;
    listing.peer = peer;
    listing.seq = seq;
    listing.size = 0;
    struct id_map_node *node = NULL;
    while ((node = id_map_next(&server->files, node)) != NULL) {
        add_file(&listing, list_entry(node, struct locks_file, node));
    }
    for (uint32_t i = 1; i <= LOCKS_CYCLES; i++) { /* oldest first */
        const struct locks_cycle *cycle = server->cycles[(server->last_cycle + i) % LOCKS_CYCLES];
        for (size_t entry = 0; cycle != NULL && entry < cycle->count; entry++) {
            add(&listing, &cycle->entries[entry].listed);
        }
    }
    flush(&listing, 0);
}

/* Is a table out that a listing waits for? */
static bool must_wait(const struct locks_server *server, uint64_t last_grant)
{
    struct list *oldest = list_first(&server->granted);
    return oldest != NULL &&
           list_entry(oldest, struct locks_file, granted_link)->grant <= last_grant;
}

void locks_serve_listings(struct locks_server *server)
{
    struct list *link;
    while ((link = list_first(&server->listings)) != NULL) {
        struct locks_waiter *waiter = locks_waiter_at(link);
        if (must_wait(server, waiter->last_grant)) {
            return; /* those behind it wait for no less */
        }
        answer(server, waiter->peer, waiter->seq);
        locks_waiter_free(server, waiter);
    }
}

enum wire_reason locks_on_list(struct locks_server *server, struct locks_peer *peer,
                               const struct wire_message *message)
{
    if (message->seq == 0 ||
        id_map_find(&server->waiters, locks_waiter_id(peer, message->seq)) != NULL) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    if (!must_wait(server, server->last_grant)) {
        answer(server, peer, message->seq);
        return WIRE_REASON_NONE;
    }
    if (peer->request_count >= server->limits.waiting) {
        return WIRE_REASON_QUEUE_LIMIT; /* there is no other way to refuse it */
    }
    struct locks_waiter *waiter = locks_waiter_new(server, peer, message->seq);
    if (waiter == NULL) {
        return WIRE_REASON_NO_MEMORY;
    }
    waiter->last_grant = server->last_grant;
    list_append(&server->listings, &waiter->link);
    for (struct list *it = server->granted.next; it != &server->granted; it = it->next) {
        struct locks_file *file = list_entry(it, struct locks_file, granted_link);
        file->contended = true;
        file->in_a_row = 0;
        locks_file_recall(server, file);
    }
    return WIRE_REASON_NONE;
}
