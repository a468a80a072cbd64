/*
 * Operations that wait: for space that others give back, or for the server to have a hold.
 *
 * Only operations with an answer wait. Later messages of the same client are handled meanwhile: what
 * depends on the operation comes after its answer, and what the operation depends on, a hold above
 * all, is looked at again when it is done.
 */
#include "server/served/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct served_waiting *served_waiting_new(const struct work *work)
{
    struct served_peer *served = &work->peer->served;
    const uint32_t size = work->message->data_size;
    const uint64_t bytes = served_waiting_bytes(work->message);
    if (served->waiting_bytes + bytes > work->server->settings.limits.waiting_bytes) {
        return NULL;
    }
    struct served_waiting *waiting = malloc(sizeof(*waiting) + size);
    if (waiting == NULL) {
        return NULL;
    }
    *waiting = (struct served_waiting){
        .client = work->client,
        .message = *work->message,
        .was_asked = work->is_last_try,
    };
    memcpy(waiting->data, work->message->data, size);
    waiting->message.data = waiting->data;
    list_init(&waiting->link);
    list_init(&waiting->peer_link);
    list_append(&served->waiting, &waiting->peer_link);
    served->waiting_bytes += bytes;
    return waiting;
}

void served_waiting_free(struct served_waiting *waiting)
{
    list_remove(&waiting->link);
    list_remove(&waiting->peer_link);
    waiting->client->peer->served.waiting_bytes -= served_waiting_bytes(&waiting->message);
    free(waiting);
}

void served_waiting_run(struct served_waiting *waiting, enum served_event event)
{
    struct peer *peer = waiting->client->peer;
    struct work work = {
        .is_last_try = waiting->was_asked,
        .is_taken = event == SERVED_TAKEN,
    };
    enum wire_reason reason = WIRE_REASON_NONE;
    if (event == SERVED_DENIED) {
        work.peer = peer;
        work.seq = waiting->message.seq;
        reason = served_finish(&work, -ENOBUFS);
    } else if (!peer->ended) {
        reason = served_begin(&work, waiting->client, &waiting->message);
    }
    if (reason != WIRE_REASON_NONE) {
        peer_cut_off(peer, reason);
    }
    served_waiting_free(waiting);
}
