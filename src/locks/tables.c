/*
 * The files and owners that the server knows of, what is held, and where a file's table is.
 *
 * What one owner has in one file is a holding: it is in the lists of both, and of the peer that
 * answers for it. Files and owners are there as long as there is something to know of them.
 */
#include "locks/client.h"
#include "locks/server_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- files ---- */

struct locks_file *locks_file_find(const struct locks_server *server, hf_id id)
{
    struct id_map_node *node = id_map_find(&server->files, id);
    return node == NULL ? NULL : list_entry(node, struct locks_file, node);
}

static void not_remembered(struct locks_server *server, struct locks_file *file)
{
    if (!list_is_empty(&file->remembered_link)) {
        list_remove(&file->remembered_link);
        server->remembered_count--;
    }
}

struct locks_file *locks_file_get(struct locks_server *server, hf_id id)
{
    struct locks_file *file = locks_file_find(server, id);
    if (file != NULL) {
        not_remembered(server, file);
        return file;
    }
    file = calloc(1, sizeof(*file));
    if (file == NULL) {
        return NULL;
    }
    file->node.id = id;
    list_init(&file->holdings);
    list_init(&file->waiting);
    list_init(&file->held_up);
    list_init(&file->mark_link);
    list_init(&file->remembered_link);
    list_init(&file->peer_link);
    list_init(&file->granted_link);
    file->mark_start = 1;
    id_map_insert(&server->files, &file->node);
    server->counters.files++;
    return file;
}

void locks_file_name(struct locks_file *file, struct wire_name path)
{
    if (path.length == 0 || (file->path != NULL && file->path->length == path.length &&
                             memcmp(file->path->bytes, path.bytes, path.length) == 0)) {
        return;
    }
    struct locks_path *copy = malloc(sizeof(*copy) + path.length);
    if (copy == NULL) {
        return; /* it is for people */
    }
    copy->length = path.length;
    memcpy(copy->bytes, path.bytes, path.length);
    free(file->path);
    file->path = copy;
}

void locks_file_free(struct locks_server *server, struct locks_file *file)
{
    not_remembered(server, file);
    list_remove(&file->mark_link);
    id_map_remove(&server->files, &file->node);
    lock_table_deinit(&file->table);
    free(file->path);
    free(file);
    server->counters.files--;
}

void locks_file_mark(struct locks_server *server, struct locks_file *file, uint64_t start,
                     uint64_t end)
{
    if (file->mark_start > file->mark_end) {
        file->mark_start = start;
        file->mark_end = end;
    } else if (start <= end) {
        file->mark_start = start < file->mark_start ? start : file->mark_start;
        file->mark_end = end > file->mark_end ? end : file->mark_end;
    }
    if (list_is_empty(&file->mark_link)) {
        list_append(&server->marked_files, &file->mark_link);
    }
}

static bool has_something(const struct locks_file *file)
{
    return file->peer != NULL || !list_is_empty(&file->holdings) || !list_is_empty(&file->waiting);
}

void locks_file_settle(struct locks_server *server, struct locks_file *file)
{
    not_remembered(server, file);
    if (has_something(file)) {
        return;
    }
    if (!file->contended) {
        locks_file_free(server, file);
        return;
    }
    list_append(&server->remembered, &file->remembered_link);
    if (++server->remembered_count > LOCKS_REMEMBERED_MAX) {
        struct list *oldest = list_first(&server->remembered);
        locks_file_free(server, list_entry(oldest, struct locks_file, remembered_link));
    }
}

/* ---- owners ---- */

struct locks_owner *locks_owner_find(const struct locks_server *server, hf_id id)
{
    struct id_map_node *node = id_map_find(&server->owners, id);
    return node == NULL ? NULL : list_entry(node, struct locks_owner, node);
}

struct locks_owner *locks_owner_get(struct locks_server *server, const struct lock *lock)
{
    struct locks_owner *owner = locks_owner_find(server, lock->owner);
    if (owner != NULL) {
        return owner;
    }
    owner = calloc(1, sizeof(*owner));
    if (owner == NULL) {
        return NULL;
    }
    owner->node.id = lock->owner;
    owner->is_process = lock->kind == LOCK_POSIX;
    list_init(&owner->holdings);
    list_init(&owner->waiting);
    list_init(&owner->mark_link);
    id_map_insert(&server->owners, &owner->node);
    return owner;
}

void locks_owner_settle(struct locks_server *server, struct locks_owner *owner)
{
    if (list_is_empty(&owner->holdings) && list_is_empty(&owner->waiting)) {
        list_remove(&owner->mark_link);
        id_map_remove(&server->owners, &owner->node);
        free(owner);
    }
}

/* ---- what is held ---- */

/* An owner has few files, or a file has few owners: the shorter list says it. */
static struct locks_holding *holding_find(const struct locks_file *file,
                                          const struct locks_owner *owner)
{
    struct list *of_file = file->holdings.next;
    struct list *of_owner = owner->holdings.next;
    while (of_file != &file->holdings && of_owner != &owner->holdings) {
        struct locks_holding *one = list_entry(of_file, struct locks_holding, of_file);
        struct locks_holding *other = list_entry(of_owner, struct locks_holding, of_owner);
        if (one->owner == owner) {
            return one;
        }
        if (other->file == file) {
            return other;
        }
        of_file = of_file->next;
        of_owner = of_owner->next;
    }
    return NULL;
}

static struct locks_holding *holding_new(struct locks_file *file, struct locks_owner *owner,
                                         struct locks_peer *peer)
{
    struct locks_holding *holding = calloc(1, sizeof(*holding));
    if (holding == NULL) {
        return NULL;
    }
    holding->file = file;
    holding->owner = owner;
    holding->peer = peer;
    list_append(&file->holdings, &holding->of_file);
    list_append(&owner->holdings, &holding->of_owner);
    list_append(&peer->holdings, &holding->of_peer);
    return holding;
}

/* It has so many locks now. */
static void holding_count(struct locks_server *server, struct locks_holding *holding, size_t count)
{
    server->counters.locks += count - holding->count;
    if (holding->peer != NULL) {
        holding->peer->lock_count += count - holding->count;
    }
    holding->count = count;
}

static void holding_free(struct locks_server *server, struct locks_holding *holding)
{
    struct locks_owner *owner = holding->owner;
    holding_count(server, holding, 0);
    list_remove(&holding->of_file);
    list_remove(&holding->of_owner);
    list_remove(&holding->of_peer);
    free(holding);
    locks_owner_settle(server, owner);
}

void locks_holding_orphan(struct locks_holding *holding)
{
    holding->peer->lock_count -= holding->count;
    holding->peer = NULL;
    list_remove(&holding->of_peer);
}

/* Another peer answers for it from now on. */
static void holding_move(struct locks_holding *holding, struct locks_peer *peer)
{
    if (holding->peer == peer) {
        return;
    }
    if (holding->peer != NULL) {
        locks_holding_orphan(holding);
    }
    holding->peer = peer;
    peer->lock_count += holding->count;
    list_append(&peer->holdings, &holding->of_peer);
}

void locks_holding_drop(struct locks_server *server, struct locks_holding *holding)
{
    struct locks_file *file = holding->file;
    hf_id owner = holding->owner->node.id;
    lock_table_remove_owner(&file->table, owner, LOCK_POSIX);
    lock_table_remove_owner(&file->table, owner, LOCK_FLOCK);
    locks_file_mark(server, file, 0, LOCK_LAST_BYTE);
    holding_free(server, holding);
}

int locks_change(struct locks_server *server, struct locks_file *file, struct locks_peer *peer,
                 const struct lock *request)
{
    struct locks_owner *owner = locks_owner_find(server, request->owner);
    struct locks_holding *holding = owner == NULL ? NULL : holding_find(file, owner);
    bool is_new = holding == NULL;
    if (is_new && request->type == LOCK_NONE) {
        return 0;
    }
    size_t before = file->table.count;
    size_t after = lock_table_count_after(&file->table, request);
    bool moves = is_new || request->type != LOCK_NONE || holding->peer == NULL;
    if (after > before) {
        const struct locks_peer *charged = moves ? peer : holding->peer;
        size_t more = is_new || holding->peer == charged ? 0 : holding->count;
        if (charged->lock_count + more + after - before > server->limits.locks) {
            return -ENOLCK;
        }
    }
    if (is_new) {
        owner = locks_owner_get(server, request);
        if (owner == NULL) {
            return -ENOMEM;
        }
        holding = holding_new(file, owner, peer);
        if (holding == NULL) {
            locks_owner_settle(server, owner);
            return -ENOMEM;
        }
    }
    int result = lock_table_apply(&file->table, request);
    if (result == 0) {
        if (moves) {
            holding_move(holding, peer);
        }
        holding_count(server, holding, holding->count + after - before);
        if (!is_new) { /* it may be less than before */
            locks_file_mark(server, file, request->start, request->end);
        }
    }
    if (holding->count == 0) {
        holding_free(server, holding);
    }
    return result;
}

/* ---- where the table is ---- */

void locks_file_count_request(struct locks_file *file, const struct locks_peer *peer)
{
    if (file->last_client != peer->number) {
        file->last_client = peer->number;
        file->in_a_row = 0;
    }
    if (file->in_a_row < LOCKS_ALONE_AFTER) {
        file->in_a_row++;
    }
}

/* Is all that is held in it this peer's, and will be? */
static bool is_of_one(const struct locks_server *server, const struct locks_file *file,
                      const struct locks_peer *peer)
{
    for (struct list *link = file->holdings.next; link != &file->holdings; link = link->next) {
        const struct locks_holding *holding = list_entry(link, struct locks_holding, of_file);
        const struct locks_owner *owner = holding->owner;
        if (holding->peer != peer ||
            (!owner->is_process && server->ops->is_shared(server->context, owner->node.id))) {
            return false;
        }
    }
    return true;
}

uint64_t locks_file_let_go(struct locks_server *server, struct locks_file *file,
                           struct locks_peer *peer)
{
    if (peer->table_count >= server->limits.tables || !list_is_empty(&file->waiting) ||
        !list_is_empty(&file->held_up) || !list_is_empty(&server->listings) ||
        (file->contended && file->in_a_row < LOCKS_ALONE_AFTER)) {
        return 0;
    }
    if (!is_of_one(server, file, peer)) {
        file->contended = true; /* so that this is looked at now and then only */
        file->in_a_row = 0;
        return 0;
    }
    struct list *link;
    while ((link = list_first(&file->holdings)) != NULL) {
        holding_free(server, list_entry(link, struct locks_holding, of_file));
    }
    lock_table_deinit(&file->table);
    file->peer = peer;
    file->grant = ++server->last_grant;
    file->recalled = false;
    file->contended = false;
    list_append(&peer->tables, &file->peer_link);
    list_append(&server->granted, &file->granted_link);
    peer->table_count++;
    server->counters.granted_tables++;
    return file->grant;
}

void locks_file_recall(struct locks_server *server, struct locks_file *file)
{
    if (file->recalled) {
        return;
    }
    file->recalled = true;
    file->peer->recalled++;
    server->counters.recalls++;
    server->ops->send(server->context,
                      file->peer,
                      &(struct wire_message){
                          .kind = WIRE_LOCK_RECALL,
                          .id = file->node.id,
                          .grant = file->grant,
                      });
}

void locks_file_come_back(struct locks_server *server, struct locks_file *file)
{
    file->peer->recalled -= file->recalled;
    file->peer->table_count--;
    server->counters.granted_tables--;
    file->peer = NULL;
    file->grant = 0;
    list_remove(&file->peer_link);
    list_remove(&file->granted_link);
    locks_file_mark(server, file, 1, 0);

    struct list *link;
    while ((link = list_first(&file->held_up)) != NULL) {
        struct locks_waiter *waiter = locks_waiter_at(link);
        const struct locks_ask ask = {
            .peer = waiter->peer,
            .lock = waiter->lock,
            .seq = waiter->seq,
            .flags = waiter->flags,
        };
        list_remove(link);
        locks_decide(server, file, &ask, waiter);
    }
}

/* Is what came back a table that the peer may have had, and that it could have come to? */
static enum wire_reason check_returned(struct locks_server *server, struct locks_peer *peer,
                                       const struct lock_table *table)
{
    if (peer->lock_count + table->count > LOCKS_CLIENT_MAX + (size_t)server->limits.locks) {
        return WIRE_REASON_BAD_MESSAGE;
    }
    int result = lock_table_check_conflicts(table);
    if (result != 0) {
        return result == -ENOMEM ? WIRE_REASON_NO_MEMORY : WIRE_REASON_BAD_MESSAGE;
    }
    return WIRE_REASON_NONE;
}

/* Enter who has what in a table that came back. Return: -ENOMEM, and then nobody has anything. */
static int enter_holdings(struct locks_server *server, struct locks_file *file,
                          struct locks_peer *peer)
{
    for (size_t i = 0; i < file->table.count; i++) {
        const struct lock *lock = &file->table.locks[i];
        bool is_last = i + 1 == file->table.count || !lock_is_same_owner(lock, lock + 1);
        if (!is_last) {
            continue;
        }
        struct locks_owner *owner = locks_owner_get(server, lock);
        struct locks_holding *holding = owner == NULL ? NULL : holding_find(file, owner);
        if (owner != NULL && holding == NULL) {
            holding = holding_new(file, owner, peer);
        }
        if (holding == NULL) {
            if (owner != NULL) {
                locks_owner_settle(server, owner);
            }
            struct list *link;
            while ((link = list_first(&file->holdings)) != NULL) {
                holding_free(server, list_entry(link, struct locks_holding, of_file));
            }
            return -ENOMEM;
        }
        size_t count;
        lock_table_of_owner(&file->table, lock->owner, lock->kind, &count);
        holding_count(server, holding, holding->count + count);
    }
    return 0;
}

/* Add the records of one RETURN to what is there of the table. */
static enum wire_reason take_records(struct locks_server *server, struct locks_peer *peer,
                                     struct lock_table *table, const struct wire_message *message)
{
    for (size_t at = 0; at < message->data_size;) {
        struct lock lock;
        struct wire_name path;
        size_t taken = locks_decode(message->data + at, message->data_size - at, &lock, &path);
        if (taken == 0 || lock.type == LOCK_NONE || table->count >= LOCKS_CLIENT_MAX) {
            return WIRE_REASON_BAD_MESSAGE;
        }
        if (!locks_may_own(server, peer, &lock)) {
            return WIRE_REASON_NOT_PERMITTED;
        }
        int result = lock_table_append(table, &lock);
        if (result != 0) {
            return result == -ENOMEM ? WIRE_REASON_NO_MEMORY : WIRE_REASON_BAD_MESSAGE;
        }
        at += taken;
    }
    return WIRE_REASON_NONE;
}

enum wire_reason locks_on_return(struct locks_server *server, struct locks_peer *peer,
                                 const struct wire_message *message)
{
    if (message->grant == 0 || message->grant > server->last_grant) {
        return WIRE_REASON_BAD_MESSAGE; /* a number that was never given */
    }
    struct locks_file *file = locks_file_find(server, message->id);
    if (file == NULL || file->peer != peer || file->grant != message->grant) {
        return WIRE_REASON_NONE;
    }
    enum wire_reason wrong = take_records(server, peer, &file->table, message);
    if (wrong != WIRE_REASON_NONE || (message->flags & WIRE_MORE) != 0) {
        return wrong;
    }
    wrong = check_returned(server, peer, &file->table);
    if (wrong == WIRE_REASON_NONE && enter_holdings(server, file, peer) != 0) {
        wrong = WIRE_REASON_NO_MEMORY;
    }
    if (wrong == WIRE_REASON_NONE) {
        locks_file_come_back(server, file);
    }
    return wrong;
}
