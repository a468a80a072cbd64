/*
 * SERVED operations: the server takes the hold for them, as a peer of the table that has no
 * connection.
 *
 *            used by others            granted
 *   nothing ───────────────► asking ───────────► runs what waits, lets go, and asks again
 *      │                                         if something is left that needs more
 *      └── else: runs it at once
 *
 * All operations that wait for an inode are in one queue, and there is one request for them in the
 * handle's queue, FIFO with those of clients.
 */
#include "server/served/parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Who had an inode last by a SERVED operation; of so many inodes. */
#define TURNS 1024

struct served_turn {
    hf_id id;
    uint64_t client;
};

/* An inode that the server asks for, or has. */
struct taking {
    struct id_map_node node; /* served->takings */
    struct list granted;     /* served->granted, when it is */
    struct list queue;       /* of struct served_waiting */
    uint64_t grant;          /* 0: it was denied */
    hf_mode mode;
};

static struct taking *taking_of(struct id_map_node *node)
{
    return list_entry(node, struct taking, node);
}

int served_open_taking(struct served *served)
{
    if (served->turns != NULL) {
        return 0;
    }
    served->turns = calloc(TURNS, sizeof(*served->turns));
    if (served->turns == NULL || id_map_init(&served->takings) != 0) {
        free(served->turns);
        served->turns = NULL;
        return -ENOMEM;
    }
    return 0;
}

void served_close_taking(struct served *served)
{
    if (served->turns != NULL) {
        assert(served->takings.count == 0 && served->taker.hold_count == 0);
        id_map_deinit(&served->takings);
        free(served->turns);
    }
}

/* It is this client's turn. Return: whether the last was, too. */
static bool take_turn(struct served *served, hf_id id, const struct peer *peer)
{
    struct served_turn *turn = &served->turns[(id.object ^ id.space) % TURNS];
    const bool again = hf_id_equal(turn->id, id) && turn->client == peer->number;
    *turn = (struct served_turn){.id = id, .client = peer->number};
    return again;
}

/* The table answers by served_granted(), now or later. */
static void ask(struct hf_server *server, struct taking *taking, hf_mode mode)
{
    taking->mode = mode;
    const enum wire_reason reason = sync_server_input(
        &server->table,
        &server->served.taker,
        &(struct wire_message){.kind = WIRE_ACQUIRE, .id = taking->node.id, .mode = (uint8_t)mode});
    assert(reason == WIRE_REASON_NONE);
}

static void let_go(struct hf_server *server, const struct taking *taking)
{
    const enum wire_reason reason =
        sync_server_input(&server->table,
                          &server->served.taker,
                          &(struct wire_message){
                              .kind = WIRE_RELEASE, .id = taking->node.id, .grant = taking->grant});
    assert(reason == WIRE_REASON_NONE);
}

void served_granted(struct hf_server *server, const struct wire_message *message)
{
    if (message->kind != WIRE_GRANT) {
        return; /* a RECALL of what is given back in this very turn of the loop */
    }
    struct taking *taking = taking_of(id_map_find(&server->served.takings, message->id));
    taking->grant = message->grant;
    list_append(&server->served.granted, &taking->granted);
}

static struct taking *taking_new(struct served *served, hf_id id)
{
    struct taking *taking = calloc(1, sizeof(*taking));
    if (taking != NULL) {
        taking->node.id = id;
        list_init(&taking->granted);
        list_init(&taking->queue);
        id_map_insert(&served->takings, &taking->node);
    }
    return taking;
}

static void taking_free(struct served *served, struct taking *taking)
{
    list_remove(&taking->granted);
    id_map_remove(&served->takings, &taking->node);
    free(taking);
}

/* It was granted, or denied: do what waits. */
static void run_queue(struct hf_server *server, struct taking *taking)
{
    struct list *first;
    list_remove(&taking->granted);
    while ((first = list_first(&taking->queue)) != NULL) {
        struct served_waiting *waiting = list_entry(first, struct served_waiting, link);
        const hf_mode mode = served_taken_mode(&waiting->message);
        if (taking->grant != 0 && mode > taking->mode) {
            let_go(server, taking);
            ask(server, taking, mode);
            return;
        }
        take_turn(&server->served, taking->node.id, waiting->client->peer);
        served_waiting_run(waiting, taking->grant != 0 ? SERVED_TAKEN : SERVED_DENIED);
    }
    if (taking->grant != 0) {
        let_go(server, taking);
    }
    taking_free(&server->served, taking);
}

/* Nobody has the handle: it is granted at once, and nothing need be kept. */
static enum wire_reason run_alone(struct work *work, hf_id id)
{
    struct served *served = &work->server->served;
    struct taking *taking = taking_new(served, id);
    if (taking == NULL) {
        return served_finish(work, -ENOMEM);
    }
    ask(work->server, taking, served_taken_mode(work->message));
    enum wire_reason reason;
    if (taking->grant == 0) {
        reason = served_finish(work, -ENOBUFS);
    } else {
        work->flags = take_turn(served, id, work->peer) ? WIRE_ALONE : 0;
        work->is_taken = true;
        reason = served_run(work);
        let_go(work->server, taking);
    }
    taking_free(served, taking);
    return reason;
}

enum wire_reason served_take(struct work *work)
{
    struct served *served = &work->server->served;
    const hf_id id = wire_store_id(work->client->of->number, work->op.inode);
    struct id_map_node *node = id_map_find(&served->takings, id);
    if (node == NULL && !sync_server_is_used(&work->server->table, id)) {
        return run_alone(work, id);
    }
    struct served_waiting *waiting = served_waiting_new(work);
    if (waiting == NULL) {
        return served_finish(work, -ENOBUFS);
    }
    struct taking *taking = node != NULL ? taking_of(node) : taking_new(served, id);
    if (taking == NULL) {
        served_waiting_free(waiting);
        return served_finish(work, -ENOMEM);
    }
    list_append(&taking->queue, &waiting->link);
    if (node == NULL) {
        ask(work->server, taking, served_taken_mode(work->message));
    }
    return WIRE_REASON_NONE;
}

void served_settle_taken(struct hf_server *server)
{
    struct list *first;
    while ((first = list_first(&server->served.granted)) != NULL) {
        run_queue(server, list_entry(first, struct taking, granted));
    }
}
