/*
 * locks_server_check(): the invariants at the top of server.c, one function each or so.
 */
#include "locks/server_parts.h"

#include <assert.h>

static void check_table(const struct locks_file *file)
{
    for (size_t i = 0; i < file->table.count; i++) {
        const struct lock *lock = &file->table.locks[i];
        assert(lock_is_valid(lock) && lock->type != LOCK_NONE);
        assert(lock_table_next_conflict(&file->table, lock, NULL) == NULL);
    }
}

static size_t check_holdings(const struct locks_file *file)
{
    size_t locks = 0;
    for (struct list *it = file->holdings.next; it != &file->holdings; it = it->next) {
        const struct locks_holding *holding = list_entry(it, struct locks_holding, of_file);
        size_t records;
        size_t flocks;
        lock_table_of_owner(&file->table, holding->owner->node.id, LOCK_POSIX, &records);
        lock_table_of_owner(&file->table, holding->owner->node.id, LOCK_FLOCK, &flocks);
        assert(holding->file == file && holding->count > 0);
        assert(holding->count == records + flocks);
        assert(holding->peer != NULL || !holding->owner->is_process);
        locks += holding->count;
    }
    assert(locks == file->table.count);
    return locks;
}

static size_t check_waiting(struct locks_server *server, struct locks_file *file)
{
    size_t count = 0;
    for (struct list *it = file->waiting.next; it != &file->waiting; it = it->next) {
        struct locks_waiter *waiter = locks_waiter_at(it);
        const struct lock *lock = &waiter->lock;
        assert(waiter->file == file && hf_id_equal(waiter->owner->node.id, lock->owner));
        bool in_the_way = lock_table_next_conflict(&file->table, lock, NULL) != NULL;
        assert(in_the_way || locks_is_behind(server, file, lock, waiter));
        const struct locks_ask ask = {.peer = waiter->peer, .lock = *lock};
        assert(lock->kind != LOCK_POSIX || !locks_closes_cycle(server, file, &ask));
        count++;
    }
    return count;
}

static size_t check_held_up(const struct locks_file *file)
{
    size_t count = 0;
    for (struct list *it = file->held_up.next; it != &file->held_up; it = it->next) {
        assert(locks_waiter_at(it)->file == file && locks_waiter_at(it)->owner == NULL);
        count++;
    }
    assert(count == 0 || file->recalled);
    return count;
}

static void check_files(struct locks_server *server)
{
    size_t locks = 0;
    size_t waiting = 0;
    size_t tables = 0;
    size_t remembered = 0;
    struct id_map_node *node = NULL;
    while ((node = id_map_next(&server->files, node)) != NULL) {
        struct locks_file *file = list_entry(node, struct locks_file, node);
        bool is_empty = list_is_empty(&file->holdings) && list_is_empty(&file->waiting);
        bool is_remembered = !list_is_empty(&file->remembered_link);
        assert((file->peer != NULL) == (file->grant != 0));
        assert(list_is_empty(&file->mark_link));
        assert(is_remembered == (is_empty && file->peer == NULL));
        assert(!is_remembered || file->contended);
        if (file->peer != NULL) {
            assert(is_empty);
            tables++;
        } else {
            assert(list_is_empty(&file->held_up));
            check_table(file);
            locks += check_holdings(file);
        }
        waiting += check_held_up(file) + check_waiting(server, file);
        remembered += is_remembered;
    }
    for (struct list *it = server->listings.next; it != &server->listings; it = it->next) {
        waiting++;
    }
    assert(locks == server->counters.locks && tables == server->counters.granted_tables);
    assert(waiting == server->waiters.count && waiting == server->counters.waiting);
    assert(server->files.count == server->counters.files);
    assert(remembered == server->remembered_count && remembered <= LOCKS_REMEMBERED_MAX);
}

static void check_grants(const struct locks_server *server)
{
    uint64_t last = 0;
    for (struct list *it = server->granted.next; it != &server->granted; it = it->next) {
        const struct locks_file *file = list_entry(it, struct locks_file, granted_link);
        assert(file->grant > last && file->grant <= server->last_grant);
        last = file->grant;
    }
    struct list *link = list_first(&server->listings);
    if (link != NULL) {
        const struct locks_file *oldest =
            list_entry(server->granted.next, struct locks_file, granted_link);
        assert(!list_is_empty(&server->granted) && oldest->recalled);
    }
}

static void check_owners(const struct locks_server *server)
{
    struct id_map_node *node = NULL;
    while ((node = id_map_next(&server->owners, node)) != NULL) {
        const struct locks_owner *owner = list_entry(node, struct locks_owner, node);
        assert(!list_is_empty(&owner->holdings) || !list_is_empty(&owner->waiting));
        assert(list_is_empty(&owner->mark_link));
    }
}

void locks_server_check(struct locks_server *server)
{
    check_files(server);
    check_grants(server);
    check_owners(server);
}

void locks_peer_check(const struct locks_peer *peer)
{
    size_t locks = 0;
    uint32_t requests = 0;
    uint32_t tables = 0;
    uint32_t recalled = 0;
    for (struct list *it = peer->holdings.next; it != &peer->holdings; it = it->next) {
        const struct locks_holding *holding = list_entry(it, struct locks_holding, of_peer);
        assert(holding->peer == peer);
        locks += holding->count;
    }
    for (struct list *it = peer->requests.next; it != &peer->requests; it = it->next) {
        requests++;
    }
    for (struct list *it = peer->tables.next; it != &peer->tables; it = it->next) {
        const struct locks_file *file = list_entry(it, struct locks_file, peer_link);
        assert(file->peer == peer);
        tables++;
        recalled += file->recalled;
    }
    assert(locks == peer->lock_count && requests == peer->request_count);
    assert(tables == peer->table_count && recalled == peer->recalled);
}
