/*
 * The server's side of file locks; server.h says where a file's locks are, waiting.c who waits.
 *
 * Invariants (locks_server_check() walks them):
 *  1. A file at a client has no holdings and no waiting requests; one that is here has no request
 *     that is held up, and a grant of 0.
 *  2. No two locks of a file are in each other's way.
 *  3. Each holding counts the locks of its owner in its file, and is there exactly while there are
 *     some; each peer counts those of its holdings.
 *  4. No waiting request could be granted: a lock is in its way, or an earlier request that does not
 *     wait for it.
 *  5. No processes wait for each other's locks in a circle.
 *  6. A file has something in it or is remembered; an owner has or wants something.
 *  7. A listing waits for a table that was recalled.
 *
 * message      function
 * LOCK         on_lock() → locks_decide() → locks_grant(), locks_enqueue(), or an error;
 *              for a table at a client: hold_up()
 * LOCK_CANCEL  on_cancel()
 * LOCK_RETURN  locks_on_return() → locks_file_come_back() → locks_decide() for what was held up
 * LOCK_LIST    locks_on_list()
 * (leaves)     locks_peer_give_up(), locks_peer_leave()
 */
#include "locks/server_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ---- answers ---- */

void locks_answer(struct locks_server *server, struct locks_peer *peer, hf_id file, uint32_t seq,
                  uint64_t grant, int error)
{
    server->ops->send(server->context,
                      peer,
                      &(struct wire_message){
                          .kind = WIRE_LOCKED,
                          .id = file,
                          .seq = seq,
                          .grant = grant,
                          .error = (uint32_t)error,
                      });
}

/* To a test: what is in the way, if anything. */
static void answer_test(struct locks_server *server, const struct locks_file *file,
                        const struct locks_ask *ask)
{
    uint8_t bytes[WIRE_OPERATION_HEAD_MAX];
    struct wire_message message = {.kind = WIRE_LOCKED, .id = file->node.id, .seq = ask->seq};
    const struct lock *conflict = lock_table_find_conflict(&file->table, &ask->lock);
    if (conflict != NULL) {
        const struct wire_lock record = {
            .kind = (uint8_t)conflict->kind,
            .type = (uint8_t)conflict->type,
            .start = conflict->start,
            .end = conflict->end,
            .owner_space = conflict->owner.space,
            .owner_object = conflict->owner.object,
            .pid = conflict->pid,
        };
        message.data = bytes;
        message.data_size = (uint32_t)wire_put_lock(&record, bytes);
    }
    server->ops->send(server->context, ask->peer, &message);
}

/* ---- requests that wait ---- */

struct locks_waiter *locks_waiter_new(struct locks_server *server, struct locks_peer *peer,
                                      uint32_t seq)
{
    struct locks_waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL) {
        return NULL;
    }
    waiter->node.id = locks_waiter_id(peer, seq);
    waiter->peer = peer;
    waiter->seq = seq;
    list_init(&waiter->link);
    list_init(&waiter->of_owner);
    list_append(&peer->requests, &waiter->of_peer);
    id_map_insert(&server->waiters, &waiter->node);
    peer->request_count++;
    server->counters.waiting++;
    return waiter;
}

void locks_waiter_free(struct locks_server *server, struct locks_waiter *waiter)
{
    waiter->peer->request_count--;
    server->counters.waiting--;
    id_map_remove(&server->waiters, &waiter->node);
    list_remove(&waiter->link);
    list_remove(&waiter->of_peer);
    list_remove(&waiter->of_owner);
    if (waiter->owner != NULL) {
        locks_owner_settle(server, waiter->owner);
    }
    free(waiter);
}

/* Those behind it may go on. */
static void mark_behind(struct locks_server *server, const struct locks_waiter *waiter)
{
    if (waiter->owner != NULL) {
        locks_file_mark(server, waiter->file, waiter->lock.start, waiter->lock.end);
    }
}

void locks_waiter_refuse(struct locks_server *server, struct locks_waiter *waiter, int error)
{
    locks_answer(server, waiter->peer, waiter->file->node.id, waiter->seq, 0, error);
    mark_behind(server, waiter);
    locks_waiter_free(server, waiter);
}

/* ---- decisions ---- */

void locks_grant(struct locks_server *server, struct locks_file *file, const struct locks_ask *ask)
{
    const struct lock *lock = &ask->lock;
    int result = locks_change(server, file, ask->peer, lock);
    if (result != 0) {
        /* It may have been in the way of others only by being before them. */
        locks_file_mark(server, file, lock->start, lock->end);
        locks_answer(server, ask->peer, file->node.id, ask->seq, 0, -result);
        return;
    }
    struct locks_owner *owner = locks_owner_find(server, lock->owner);
    if (owner != NULL && !list_is_empty(&owner->waiting)) {
        locks_owner_mark(server, owner);
        for (struct list *it = owner->waiting.next; it != &owner->waiting; it = it->next) {
            const struct locks_waiter *waiter = list_entry(it, struct locks_waiter, of_owner);
            locks_file_mark(server, waiter->file, waiter->lock.start, waiter->lock.end);
        }
    }
    bool shared = lock->kind != LOCK_POSIX && server->ops->is_shared(server->context, lock->owner);
    uint64_t grant = shared ? 0 : locks_file_let_go(server, file, ask->peer);
    locks_answer(server, ask->peer, file->node.id, ask->seq, grant, 0);
}

/* flock(2) gives up the lock that it has before it asks for one of the other type. */
static void give_up_other_type(struct locks_server *server, struct locks_file *file,
                               struct locks_peer *peer, const struct lock *lock)
{
    size_t count;
    const struct lock *held = lock_table_of_owner(&file->table, lock->owner, LOCK_FLOCK, &count);
    if (held != NULL && held->type != lock->type) {
        struct lock unlock = *lock;
        unlock.type = LOCK_NONE;
        int result = locks_change(server, file, peer, &unlock);
        assert(result == 0); /* nothing is split */
    }
}

void locks_decide(struct locks_server *server, struct locks_file *file, const struct locks_ask *ask,
                  struct locks_waiter *waiter)
{
    const struct lock *lock = &ask->lock;
    bool is_test = (ask->flags & WIRE_LOCK_TEST) != 0;
    bool waits = (ask->flags & WIRE_LOCK_WAIT) != 0;
    int error = 0;
    locks_file_count_request(file, ask->peer);
    if (!is_test && lock->type != LOCK_NONE) {
        if (lock->kind == LOCK_FLOCK) {
            give_up_other_type(server, file, ask->peer, lock);
        }
        bool in_the_way = lock_table_next_conflict(&file->table, lock, NULL) != NULL;
        if (in_the_way && !waits) {
            error = EAGAIN;
        } else if (in_the_way && lock->kind == LOCK_POSIX &&
                   locks_finds_deadlock(server, file, ask)) {
            error = EDEADLK;
        } else if (waits && (in_the_way || locks_is_behind(server, file, lock, NULL))) {
            error = -locks_enqueue(server, file, ask, waiter);
            if (error == 0) {
                return;
            }
        }
    }
    if (waiter != NULL) {
        locks_waiter_free(server, waiter);
    }
    if (error != 0) {
        locks_answer(server, ask->peer, file->node.id, ask->seq, 0, error);
    } else if (is_test) {
        answer_test(server, file, ask);
    } else {
        locks_grant(server, file, ask);
    }
}

void locks_settle(struct locks_server *server)
{
    for (;;) {
        struct list *link = list_first(&server->marked_owners);
        if (link != NULL) {
            struct locks_owner *owner = list_entry(link, struct locks_owner, mark_link);
            list_remove(link);
            locks_owner_look(server, owner);
            continue;
        }
        link = list_first(&server->marked_files);
        if (link == NULL) {
            break;
        }
        struct locks_file *file = list_entry(link, struct locks_file, mark_link);
        list_remove(link);
        locks_file_serve(server, file);
        if (list_is_empty(&file->mark_link)) {
            locks_file_settle(server, file);
        }
    }
    locks_serve_listings(server);
}

/* ---- messages ---- */

size_t locks_decode(const uint8_t *bytes, size_t size, struct lock *lock, struct wire_name *path)
{
    struct wire_lock record;
    size_t taken = wire_get_lock(bytes, size, &record);
    if (taken == 0) {
        return 0;
    }
    *lock = (struct lock){
        .kind = (enum lock_kind)record.kind,
        .type = (enum lock_type)record.type,
        .start = record.start,
        .end = record.end,
        .owner = {.space = record.owner_space, .object = record.owner_object},
        .pid = record.pid,
    };
    *path = record.path;
    return lock_is_valid(lock) ? taken : 0;
}

bool locks_may_own(const struct locks_server *server, struct locks_peer *peer,
                   const struct lock *lock)
{
    /* Nobody is a process to one and an open file to the other. */
    const struct locks_owner *owner = locks_owner_find(server, lock->owner);
    return (owner == NULL || owner->is_process == (lock->kind == LOCK_POSIX)) &&
           server->ops->may_own(server->context, peer, lock->kind, lock->owner);
}

/* A request for a table that a client has. */
static enum wire_reason hold_up(struct locks_server *server, struct locks_file *file,
                                const struct locks_ask *ask)
{
    bool too_many = ask->peer->request_count >= server->limits.waiting;
    struct locks_waiter *waiter = too_many ? NULL : locks_waiter_new(server, ask->peer, ask->seq);
    if (waiter == NULL) {
        if (ask->peer == file->peer && ask->lock.kind == LOCK_FLOCK) {
            /* The answer would say that the other type is given up, which only a table that is here
             * can be made to say. */
            return too_many ? WIRE_REASON_QUEUE_LIMIT : WIRE_REASON_NO_MEMORY;
        }
        int error = too_many ? ENOBUFS : ENOMEM;
        locks_answer(server, ask->peer, file->node.id, ask->seq, 0, error);
        return WIRE_REASON_NONE;
    }
    waiter->file = file;
    waiter->lock = ask->lock;
    waiter->flags = ask->flags;
    list_append(&file->held_up, &waiter->link);
    if (ask->peer != file->peer) {
        file->contended = true;
        file->in_a_row = 0;
    }
    locks_file_recall(server, file);
    return WIRE_REASON_NONE;
}

/* Is it one that a client may send? */
static bool is_sensible(const struct locks_server *server, const struct locks_peer *peer,
                        const struct wire_message *message, const struct lock *lock)
{
    bool is_test = (message->flags & WIRE_LOCK_TEST) != 0;
    bool waits = (message->flags & WIRE_LOCK_WAIT) != 0;
    return message->seq != 0 && !(is_test && (waits || lock->type == LOCK_NONE)) &&
           id_map_find(&server->waiters, locks_waiter_id(peer, message->seq)) == NULL;
}

bool locks_server_would_refuse(struct locks_server *server, struct locks_peer *peer,
                               const struct wire_message *message)
{
    struct locks_ask ask = {.peer = peer, .seq = message->seq, .flags = message->flags};
    struct wire_name path;
    struct locks_file *file = locks_file_find(server, message->id);
    if (message->kind != WIRE_LOCK || file == NULL || file->peer != NULL ||
        locks_decode(message->data, message->data_size, &ask.lock, &path) == 0 ||
        ask.lock.type == LOCK_NONE || !is_sensible(server, peer, message, &ask.lock) ||
        !locks_may_own(server, peer, &ask.lock) ||
        lock_table_next_conflict(&file->table, &ask.lock, NULL) == NULL) {
        return false;
    }
    return (ask.flags & WIRE_LOCK_WAIT) == 0 ||
           (ask.lock.kind == LOCK_POSIX && locks_closes_cycle(server, file, &ask));
}

void locks_server_refuse(struct locks_server *server, struct locks_peer *peer,
                         const struct wire_message *message, int error)
{
    locks_answer(server, peer, message->id, message->seq, 0, error);
}

static enum wire_reason on_lock(struct locks_server *server, struct locks_peer *peer,
                                const struct wire_message *message)
{
    struct locks_ask ask = {.peer = peer, .seq = message->seq, .flags = message->flags};
    struct wire_name path;
    size_t taken = locks_decode(message->data, message->data_size, &ask.lock, &path);
    if (taken == 0 || taken != message->data_size ||
        !is_sensible(server, peer, message, &ask.lock)) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    if (!locks_may_own(server, peer, &ask.lock)) {
        return WIRE_REASON_NOT_PERMITTED;
    }
    server->counters.requests++;
    struct locks_file *file = locks_file_get(server, message->id);
    if (file == NULL) {
        locks_answer(server, peer, message->id, ask.seq, 0, ENOMEM);
        return WIRE_REASON_NONE;
    }
    locks_file_name(file, path);
    locks_file_mark(server, file, 1, 0);
    enum wire_reason reason = WIRE_REASON_NONE;
    if (file->peer != NULL) {
        reason = hold_up(server, file, &ask);
    } else {
        locks_decide(server, file, &ask, NULL);
    }
    locks_settle(server);
    return reason;
}

static enum wire_reason on_cancel(struct locks_server *server, struct locks_peer *peer,
                                  const struct wire_message *message)
{
    struct id_map_node *node = id_map_find(&server->waiters, locks_waiter_id(peer, message->seq));
    if (node == NULL) {
        return message->seq == 0 ? WIRE_REASON_BAD_MESSAGE
                                 : WIRE_REASON_NONE; /* it crossed the answer */
    }
    struct locks_waiter *waiter = list_entry(node, struct locks_waiter, node);
    if (waiter->file == NULL || !hf_id_equal(waiter->file->node.id, message->id)) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    locks_waiter_refuse(server, waiter, ECANCELED);
    locks_settle(server);
    return WIRE_REASON_NONE;
}

enum wire_reason locks_server_input(struct locks_server *server, struct locks_peer *peer,
                                    const struct wire_message *message)
{
    enum wire_reason reason;
    switch (message->kind) {
    case WIRE_LOCK:
        return on_lock(server, peer, message);
    case WIRE_LOCK_CANCEL:
        return on_cancel(server, peer, message);
    case WIRE_LOCK_RETURN:
        reason = locks_on_return(server, peer, message);
        break;
    case WIRE_LOCK_LIST:
        reason = locks_on_list(server, peer, message);
        break;
    default:
        return WIRE_REASON_BAD_MESSAGE;
    }
    locks_settle(server);
    return reason;
}

/* ---- ends ---- */

void locks_peer_give_up(struct locks_server *server, struct locks_peer *peer)
{
    struct list *link;
    while ((link = list_first(&peer->requests)) != NULL) {
        struct locks_waiter *waiter = list_entry(link, struct locks_waiter, of_peer);
        mark_behind(server, waiter);
        locks_waiter_free(server, waiter);
    }
    locks_settle(server);
}

void locks_peer_leave(struct locks_server *server, struct locks_peer *peer)
{
    struct list *link;
    assert(list_is_empty(&peer->requests));
    while ((link = list_first(&peer->holdings)) != NULL) {
        struct locks_holding *holding = list_entry(link, struct locks_holding, of_peer);
        const struct locks_owner *owner = holding->owner;
        if (!owner->is_process && server->ops->is_shared(server->context, owner->node.id)) {
            locks_holding_orphan(holding);
        } else {
            locks_holding_drop(server, holding);
        }
    }
    while ((link = list_first(&peer->tables)) != NULL) {
        struct locks_file *file = list_entry(link, struct locks_file, peer_link);
        lock_table_deinit(&file->table);
        locks_file_come_back(server, file);
    }
    locks_settle(server);
}

void locks_server_owner_gone(struct locks_server *server, hf_id id)
{
    struct locks_owner *owner;
    struct list *link;
    while ((owner = locks_owner_find(server, id)) != NULL &&
           (link = list_first(&owner->waiting)) != NULL) {
        locks_waiter_refuse(server, list_entry(link, struct locks_waiter, of_owner), ECANCELED);
    }
    while ((owner = locks_owner_find(server, id)) != NULL &&
           (link = list_first(&owner->holdings)) != NULL) {
        locks_holding_drop(server, list_entry(link, struct locks_holding, of_owner));
    }
    locks_settle(server);
}

void locks_peer_init(struct locks_peer *peer, uint64_t number)
{
    *peer = (struct locks_peer){.number = number};
    list_init(&peer->holdings);
    list_init(&peer->requests);
    list_init(&peer->tables);
}

int locks_server_init(struct locks_server *server, const struct locks_limits *limits,
                      const struct locks_server_ops *ops, void *context)
{
    *server = (struct locks_server){.limits = *limits, .ops = ops, .context = context};
    list_init(&server->listings);
    list_init(&server->granted);
    list_init(&server->remembered);
    list_init(&server->marked_files);
    list_init(&server->marked_owners);
    if (id_map_init(&server->files) == 0) {
        if (id_map_init(&server->owners) == 0) {
            if (id_map_init(&server->waiters) == 0) {
                return 0;
            }
            id_map_deinit(&server->owners);
        }
        id_map_deinit(&server->files);
    }
    return -ENOMEM;
}

void locks_server_deinit(struct locks_server *server)
{
    /* An open file that is parked may be left with its locks. */
    struct id_map_node *node;
    while ((node = id_map_next(&server->owners, NULL)) != NULL) {
        locks_server_owner_gone(server, node->id);
    }
    struct list *link;
    while ((link = list_first(&server->remembered)) != NULL) {
        locks_file_free(server, list_entry(link, struct locks_file, remembered_link));
    }
    assert(server->files.count == 0 && server->waiters.count == 0);
    for (size_t i = 0; i < LOCKS_CYCLES; i++) {
        free(server->cycles[i]);
    }
    id_map_deinit(&server->files);
    id_map_deinit(&server->owners);
    id_map_deinit(&server->waiters);
}
