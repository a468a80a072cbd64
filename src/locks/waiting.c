/*
 * Who waits, for whom, and until when.
 *
 * A request in a file's queue waits
 *   - for the owners of the locks that are in its way, and
 *   - for the owners of the requests before it in the queue that are, except those that wait,
 *     through any number of others, for its own owner: fairness alone must not make a deadlock.
 * An owner waits for all that its requests wait for.
 *
 * So a request can go on when something in its file is given up or leaves the queue
 * (locks_file_mark), and when a path back to its owner comes to be: because an owner on that path
 * begins to wait, or is granted something while another of its requests waits (locks_owner_mark).
 *
 * A cycle of locks alone, and of processes alone, is a deadlock. The request that would close it is
 * refused; if a grant closes it, the one that waits for what was granted.
 */
#include "locks/server_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* So many of a deadlock are kept. */
#define CYCLE_ENTRIES_MAX 64

/* ---- searches ---- */

/* Owners, each looked at once, nearest first. */
struct search {
    struct locks_server *server;
    const struct locks_owner *target; /* NULL: all there are */
    bool processes_only;              /* and held locks only */
    struct locks_owner *first;
    struct locks_owner *last;
};

static void search_begin(struct search *search)
{
    search->server->last_search++;
}

/* Return: is it what is looked for? */
static bool see(struct search *search, struct locks_owner *owner, struct locks_waiter *by)
{
    if (owner == search->target) {
        return true;
    }
    if (owner->seen_in != search->server->last_search) {
        owner->seen_in = search->server->last_search;
        owner->seen_by = by;
        owner->next_seen = NULL;
        if (search->first == NULL) {
            search->first = owner;
        } else {
            search->last->next_seen = owner;
        }
        search->last = owner;
    }
    return false;
}

static struct locks_owner *next_seen(struct search *search)
{
    struct locks_owner *owner = search->first;
    if (owner != NULL) {
        search->first = owner->next_seen;
    }
    return owner;
}

/* See all that a request waits for: @by is that request, NULL if it is not in the queue yet. */
static bool see_waited_for(struct search *search, const struct locks_file *file,
                           const struct lock *lock, struct locks_waiter *by)
{
    const struct lock *held = NULL;
    const struct lock *before = NULL;
    while ((held = lock_table_next_conflict(&file->table, lock, held)) != NULL) {
        if (before != NULL && lock_is_same_owner(before, held)) {
            continue;
        }
        before = held;
        if (search->processes_only && held->kind != LOCK_POSIX) {
            continue;
        }
        if (see(search, locks_owner_find(search->server, held->owner), by)) {
            return true;
        }
    }
    if (search->processes_only || by == NULL) {
        return false;
    }
    for (struct list *link = file->waiting.next; link != &by->link; link = link->next) {
        struct locks_waiter *earlier = locks_waiter_at(link);
        if (lock_conflicts(&earlier->lock, lock) && see(search, earlier->owner, by)) {
            return true;
        }
    }
    return false;
}

/* Does a request wait for the target? Then *last is the request that waits for it itself, and each
 * one's owner was seen by the one before; NULL: the first. */
static bool reaches(struct search *search, const struct locks_file *file, const struct lock *lock,
                    struct locks_waiter *by, struct locks_waiter **last)
{
    search_begin(search);
    *last = NULL;
    if (see_waited_for(search, file, lock, by)) {
        return true;
    }
    struct locks_owner *owner;
    while ((owner = next_seen(search)) != NULL) {
        for (struct list *link = owner->waiting.next; link != &owner->waiting; link = link->next) {
            struct locks_waiter *waiter = list_entry(link, struct locks_waiter, of_owner);
            if (see_waited_for(search, waiter->file, &waiter->lock, waiter)) {
                *last = waiter;
                return true;
            }
        }
    }
    return false;
}

bool locks_is_behind(struct locks_server *server, struct locks_file *file, const struct lock *lock,
                     const struct locks_waiter *before)
{
    const struct list *end = before == NULL ? &file->waiting : &before->link;
    const struct locks_owner *owner = NULL;
    for (struct list *link = file->waiting.next; link != end; link = link->next) {
        struct locks_waiter *earlier = locks_waiter_at(link);
        if (!lock_conflicts(&earlier->lock, lock)) {
            continue;
        }
        owner = owner != NULL ? owner : locks_owner_find(server, lock->owner);
        struct search search = {.server = server, .target = owner};
        struct locks_waiter *last;
        if (owner == NULL || !reaches(&search, file, &earlier->lock, earlier, &last)) {
            return true;
        }
    }
    return false;
}

/* ---- deadlocks ---- */

static void set_entry(struct locks_cycle_entry *entry, enum lock_state state,
                      const struct lock *lock, const struct locks_file *file,
                      const struct locks_peer *peer)
{
    entry->listed = locks_listed(state, lock, file, peer);
    if (file->path != NULL) {
        memcpy(entry->path, file->path->bytes, file->path->length);
    }
    entry->listed.path.bytes = entry->path;
}

/* The request by which the owner of @waiter was found; NULL: it begins with this one. */
static struct locks_waiter *seen_before(const struct locks_waiter *waiter,
                                        const struct locks_owner *target)
{
    return waiter->owner == target ? NULL : waiter->owner->seen_by;
}

/* Keep a cycle for listings: the refused one, and then who waits for whom up to @last, which waits
 * for the owner of the refused one. */
static void remember_cycle(struct locks_server *server, const struct locks_file *file,
                           const struct locks_ask *refused, const struct locks_waiter *last,
                           const struct locks_owner *target)
{
    server->counters.deadlocks++;
    size_t count = 1;
    for (const struct locks_waiter *it = last; it != NULL && count < CYCLE_ENTRIES_MAX;
         it = seen_before(it, target)) {
        count++;
    }
    struct locks_cycle *cycle = malloc(sizeof(*cycle) + count * sizeof(cycle->entries[0]));
    if (cycle == NULL) {
        return; /* it is for people */
    }
    set_entry(&cycle->entries[0], LOCK_GOT_EDEADLK, &refused->lock, file, refused->peer);
    const struct locks_waiter *it = last;
    for (size_t i = count - 1; i > 0; i--) {
        set_entry(&cycle->entries[i], LOCK_WAS_WAITING, &it->lock, it->file, it->peer);
        it = seen_before(it, target);
    }
    cycle->count = count;
    uint32_t number = ++server->last_cycle;
    for (size_t i = 0; i < count; i++) {
        cycle->entries[i].listed.cycle = number;
    }
    struct locks_cycle **place = &server->cycles[number % LOCKS_CYCLES];
    free(*place);
    *place = cycle;
}

/* *last: as of reaches(); who is in the cycle too. */
static bool closes_cycle(struct search *search, const struct locks_file *file,
                         const struct locks_ask *ask, struct locks_waiter **last)
{
    search->target = locks_owner_find(search->server, ask->lock.owner);
    search->processes_only = true;
    return search->target != NULL && !list_is_empty(&search->target->holdings) &&
           reaches(search, file, &ask->lock, NULL, last);
}

bool locks_closes_cycle(struct locks_server *server, struct locks_file *file,
                        const struct locks_ask *ask)
{
    struct search search = {.server = server};
    struct locks_waiter *last;
    return closes_cycle(&search, file, ask, &last);
}

bool locks_finds_deadlock(struct locks_server *server, struct locks_file *file,
                          const struct locks_ask *ask)
{
    struct search search = {.server = server};
    struct locks_waiter *last;
    if (!closes_cycle(&search, file, ask, &last)) {
        return false;
    }
    remember_cycle(server, file, ask, last, search.target);
    return true;
}

/* Has a process that waits been granted what closes a cycle? The one that waits for it is refused. */
static bool refuse_closing(struct locks_server *server, struct locks_waiter *waiter)
{
    struct search search = {.server = server, .target = waiter->owner, .processes_only = true};
    struct locks_waiter *last;
    if (!reaches(&search, waiter->file, &waiter->lock, waiter, &last)) {
        return false;
    }
    const struct locks_ask refused = {.peer = last->peer, .lock = last->lock};
    remember_cycle(server, last->file, &refused, last->owner->seen_by, search.target);
    locks_waiter_refuse(server, last, EDEADLK);
    return true;
}

/* ---- the queue ---- */

int locks_enqueue(struct locks_server *server, struct locks_file *file, const struct locks_ask *ask,
                  struct locks_waiter *waiter)
{
    if (waiter == NULL && ask->peer->request_count >= server->limits.waiting) {
        return -ENOBUFS;
    }
    struct locks_owner *owner = locks_owner_get(server, &ask->lock);
    if (owner == NULL) {
        return -ENOMEM;
    }
    if (waiter == NULL) {
        waiter = locks_waiter_new(server, ask->peer, ask->seq);
    }
    if (waiter == NULL) {
        locks_owner_settle(server, owner);
        return -ENOMEM;
    }
    waiter->file = file;
    waiter->lock = ask->lock;
    waiter->flags = ask->flags;
    waiter->owner = owner;
    list_append(&file->waiting, &waiter->link);
    list_append(&owner->waiting, &waiter->of_owner);
    server->counters.waits++;
    locks_owner_mark(server, owner);
    return 0;
}

void locks_file_serve(struct locks_server *server, struct locks_file *file)
{
    uint64_t start = file->mark_start;
    uint64_t end = file->mark_end;
    file->mark_start = 1;
    file->mark_end = 0;
    struct list *next;
    for (struct list *link = file->waiting.next; link != &file->waiting; link = next) {
        struct locks_waiter *waiter = locks_waiter_at(link);
        next = link->next;
        if (waiter->lock.start > end || waiter->lock.end < start ||
            lock_table_next_conflict(&file->table, &waiter->lock, NULL) != NULL ||
            locks_is_behind(server, file, &waiter->lock, waiter)) {
            continue;
        }
        const struct locks_ask ask = {
            .peer = waiter->peer,
            .lock = waiter->lock,
            .seq = waiter->seq,
            .flags = waiter->flags,
        };
        locks_waiter_free(server, waiter);
        locks_grant(server, file, &ask);
    }
}

/* ---- what a new edge means ---- */

void locks_owner_mark(struct locks_server *server, struct locks_owner *owner)
{
    if (list_is_empty(&owner->mark_link)) {
        list_append(&server->marked_owners, &owner->mark_link);
    }
}

/* See all that wait for an owner. */
static void see_waiting_for(struct search *search, const struct locks_owner *owner)
{
    for (struct list *it = owner->holdings.next; it != &owner->holdings; it = it->next) {
        struct locks_file *file = list_entry(it, struct locks_holding, of_owner)->file;
        for (struct list *link = file->waiting.next; link != &file->waiting; link = link->next) {
            struct locks_waiter *waiter = locks_waiter_at(link);
            if (lock_table_conflict_with(&file->table, owner->node.id, &waiter->lock) != NULL) {
                see(search, waiter->owner, NULL);
            }
        }
    }
    for (struct list *it = owner->waiting.next; it != &owner->waiting; it = it->next) {
        struct locks_waiter *earlier = list_entry(it, struct locks_waiter, of_owner);
        for (struct list *link = earlier->link.next; link != &earlier->file->waiting;
             link = link->next) {
            struct locks_waiter *waiter = locks_waiter_at(link);
            if (lock_conflicts(&earlier->lock, &waiter->lock)) {
                see(search, waiter->owner, NULL);
            }
        }
    }
}

void locks_owner_look(struct locks_server *server, struct locks_owner *owner)
{
    for (struct list *link = owner->waiting.next; link != &owner->waiting; link = link->next) {
        struct locks_waiter *waiter = list_entry(link, struct locks_waiter, of_owner);
        if (owner->is_process && refuse_closing(server, waiter)) {
            locks_owner_mark(server, owner);
            return;
        }
    }
    struct search search = {.server = server};
    search_begin(&search);
    owner->seen_in = server->last_search; /* what was begun or granted says nothing new of itself */
    see_waiting_for(&search, owner);
    const struct locks_owner *seen;
    while ((seen = next_seen(&search)) != NULL) {
        for (struct list *it = seen->waiting.next; it != &seen->waiting; it = it->next) {
            const struct locks_waiter *waiter = list_entry(it, struct locks_waiter, of_owner);
            if (lock_table_next_conflict(&waiter->file->table, &waiter->lock, NULL) == NULL) {
                locks_file_mark(server, waiter->file, waiter->lock.start, waiter->lock.end);
            }
        }
        see_waiting_for(&search, seen);
    }
}
