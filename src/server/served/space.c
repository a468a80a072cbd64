/*
 * Space that clients have ahead of their operations.
 */
#include "server/served/parts.h"

#include <errno.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is free for whoever needs it: what is reserved and not used would be given back. */
static uint64_t unused(const struct store_quota *quota, uint64_t all, uint64_t free)
{
    const bool is_limited = all == quota->limit; /* or the host says how much there is */
    return is_limited ? quota->limit - quota->used : free;
}

int64_t served_usage(struct work *work)
{
    const struct store *store = work->store;
    struct store_usage usage;
    store_get_usage(store, &usage);
    const struct wire_usage record = {
        .pages = usage.pages,
        .free_pages = unused(&store->pages, usage.pages, usage.free_pages),
        .inodes = usage.inodes,
        .free_inodes = unused(&store->inodes, usage.inodes, usage.free_inodes),
    };
    work->answer_size = wire_put_usage(&record, work->answer);
    return 0;
}

static uint64_t available(const struct store_quota *quota)
{
    return quota->limit - quota->used - quota->reserved;
}

int64_t served_reserve(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct store_holder *holder = &work->client->holder;
    const uint64_t pages = smaller(op->pages, available(&work->store->pages));
    const uint64_t inodes = smaller(op->inodes, available(&work->store->inodes));
    struct wire_reservation record = {.number = 0};
    const bool is_nothing = (op->pages > 0 && pages == 0) || (op->inodes > 0 && inodes == 0);
    /* What is given back is for those who wait. */
    const bool is_behind = !work->is_last_try && op->pages + op->inodes > 0 &&
                           !list_is_empty(&work->client->of->space_queue);
    if ((is_nothing || is_behind) && served_can_reclaim(work)) {
        return -ENOSPC;
    }
    if (op->count != 0) {
        const int failure = store_grant_numbers(holder, &record.number);
        if (failure != 0) {
            return failure;
        }
    }
    int result = store_reserve(holder, pages * STORE_PAGE_SIZE, inodes);
    if (result == 0) {
        work->client->has_more = pages > 0 || inodes > 0 || work->client->has_more;
        record.pages = holder->pages;
        record.inodes = holder->inodes;
        work->answer_size = wire_put_reservation(&record, work->answer);
    }
    return result;
}

int64_t served_return(struct work *work)
{
    struct store_holder *holder = &work->client->holder;
    const uint64_t pages = smaller(work->op.pages, holder->pages);
    store_unreserve(holder, pages * STORE_PAGE_SIZE, work->op.inodes);
    work->client->has_more = false;
    served_reclaim_answered(work->client);
    return 0;
}

/* ---- reclaiming ---- */

/*
 * An operation that finds no space waits in the store's queue. In a round, all clients that have
 * something reserved get a RECLAIM, those that wait too; when the last has answered, the operations
 * that waited at the beginning of the round are done, or fail for good unless somebody was given space
 * meanwhile: then they are the first in the next round. Those that came later have the next round.
 */

static bool has_reserved(const struct served_client *client)
{
    return client->holder.pages != 0 || client->holder.inodes != 0;
}

static struct served_client *client_of(struct list *link)
{
    return list_entry(link, struct served_client, link);
}

/* A client that reserves more keeps what it has. */
static bool adds_to_its_own(const struct served_waiting *waiting)
{
    return waiting->message.data[0] == WIRE_OP_RESERVE; /* it was decoded before */
}

bool served_can_reclaim(const struct work *work)
{
    const struct served_store *of = work->client->of;
    if (work->seq == 0 || work->cannot_wait) {
        return false;
    }
    for (struct list *at = of->clients.next; at != &of->clients; at = at->next) {
        const struct served_client *other = client_of(at);
        const bool keeps = other == work->client && work->op.code == WIRE_OP_RESERVE;
        if (!keeps && has_reserved(other) && (other->has_more || !work->is_last_try)) {
            return true;
        }
    }
    return !work->is_last_try && !list_is_empty(&of->space_queue);
}

/* The client for whose own reservation alone all that waits is; NULL when there is none. */
static const struct served_client *only_keeper(const struct served_store *of)
{
    const struct served_client *keeper = NULL;
    for (struct list *at = of->space_queue.next; at != &of->space_queue; at = at->next) {
        const struct served_waiting *waiting = list_entry(at, struct served_waiting, link);
        if (!adds_to_its_own(waiting) || (keeper != NULL && keeper != waiting->client)) {
            return NULL;
        }
        keeper = waiting->client;
    }
    return keeper;
}

static void begin_round(struct hf_server *server, struct served_store *of)
{
    const struct served_client *keeper = only_keeper(of);
    const uint64_t milliseconds = UINT64_C(1000) * server->settings.limits.reclaim_seconds;
    for (struct list *at = of->space_queue.next; at != &of->space_queue; at = at->next) {
        list_entry(at, struct served_waiting, link)->was_asked = true;
    }
    for (struct list *at = of->clients.next; at != &of->clients; at = at->next) {
        struct served_client *client = client_of(at);
        if (client == keeper || !has_reserved(client)) {
            continue; /* one that has ended answers by being parted with */
        }
        client->reclaim_until_ms = uv_now(server->loop) + milliseconds;
        of->reclaims++;
        peer_send(client->peer, &(struct wire_message){.kind = WIRE_RECLAIM, .store = of->number});
    }
    if (of->reclaims == 0) {
        server->served.is_due = true;
    } else if (!uv_is_active((uv_handle_t *)&server->served.reclaim_timer)) {
        uv_timer_start(&server->served.reclaim_timer, served_on_reclaim_time, milliseconds, 0);
    }
}

bool served_wait_for_space(const struct work *work)
{
    struct served_store *of = work->client->of;
    struct served_waiting *waiting = served_waiting_new(work);
    if (waiting == NULL) {
        return false;
    }
    waiting->was_asked = false;
    list_append(work->is_last_try ? of->space_queue.next : &of->space_queue, &waiting->link);
    if (of->reclaims == 0 && !of->is_retrying && !work->server->served.is_due) {
        begin_round(work->server, of);
    }
    return true;
}

void served_reclaim_answered(struct served_client *client)
{
    if (client->reclaim_until_ms != 0) {
        client->reclaim_until_ms = 0;
        if (--client->of->reclaims == 0) {
            client->peer->server->served.is_due = true;
        }
    }
}

/* A round is over. */
static void retry(struct hf_server *server, struct served_store *of)
{
    struct list *first;
    of->is_retrying = true;
    while ((first = list_first(&of->space_queue)) != NULL &&
           list_entry(first, struct served_waiting, link)->was_asked) {
        served_waiting_run(list_entry(first, struct served_waiting, link), SERVED_SPACE);
    }
    of->is_retrying = false;
    if (first != NULL) {
        begin_round(server, of);
    }
}

void served_settle_space(struct hf_server *server)
{
    struct served *served = &server->served;
    while (served->is_due) {
        served->is_due = false;
        for (uint32_t i = 0; i < served->count; i++) {
            struct served_store *of = served->stores[i];
            if (of->reclaims == 0 && !list_is_empty(&of->space_queue)) {
                retry(server, of);
            }
        }
    }
}

/* Cut off those whose time is over. Return: how long the others have; 0: there are none. */
static uint64_t look_at_deadlines(struct hf_server *server, struct served_store *of)
{
    const uint64_t now = uv_now(server->loop);
    uint64_t left = 0;
    for (struct list *at = of->clients.next; at != &of->clients; at = at->next) {
        struct served_client *client = client_of(at);
        if (client->reclaim_until_ms != 0 && client->reclaim_until_ms <= now) {
            /* A loop that was held up finds the time over and the answer there, still unread. */
            peer_on_event(client->peer, 0, UV_READABLE);
            if (client->reclaim_until_ms != 0) {
                peer_cut_off(client->peer, WIRE_REASON_TOO_SLOW);
            }
        } else if (client->reclaim_until_ms != 0 &&
                   (left == 0 || client->reclaim_until_ms - now < left)) {
            left = client->reclaim_until_ms - now;
        }
    }
    return left;
}

void served_on_reclaim_time(uv_timer_t *timer)
{
    struct hf_server *server = timer->data;
    uint64_t next = 0;
    for (uint32_t i = 0; i < server->served.count; i++) {
        const uint64_t left = look_at_deadlines(server, server->served.stores[i]);
        if (left != 0 && (next == 0 || left < next)) {
            next = left;
        }
    }
    if (next != 0) {
        uv_timer_start(timer, served_on_reclaim_time, next, 0);
    }
    server_settle(server);
}
