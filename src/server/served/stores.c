/*
 * The stores of a server.
 */
#include "server/served/parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void served_init(struct served *served)
{
    *served = (struct served){.count = 0};
    sync_peer_init(&served->taker);
    list_init(&served->granted);
}

void served_open_loop(struct hf_server *server)
{
    uv_timer_init(server->loop, &server->served.reclaim_timer);
    server->served.reclaim_timer.data = server;
}

void served_settle(struct hf_server *server)
{
    served_settle_taken(server);
    served_settle_space(server);
}

void served_deinit(struct hf_server *server)
{
    struct served *served = &server->served;
    for (uint32_t i = 0; i < served->count; i++) {
        struct served_store *of = served->stores[i];
        assert(list_is_empty(&of->clients) && of->pipes.count == 0);
        id_map_deinit(&of->pipes);
        of->store->ops->destroy(of->store);
        free(of);
    }
    served_close_taking(served);
    free(served->stores);
    free(served->answer);
}

int served_add(struct hf_server *server, struct store *store, bool read_only, uint32_t flags,
               uint32_t *number)
{
    struct served *served = &server->served;
    const hf_limits *limits = &server->settings.limits;
    if (limits->frame_bytes < WIRE_FRAME_MAX ||
        limits->unsent_bytes < WIRE_LENGTH_BYTES + WIRE_FRAME_MAX) {
        return -EINVAL;
    }
    if (served->count > WIRE_STORE_LAST - WIRE_STORE_FIRST) {
        return -ENOSPC;
    }
    if (served->answer == NULL) {
        served->answer = malloc(WIRE_OPERATION_HEAD_MAX + WIRE_DATA_MAX);
    }
    struct served_store **stores =
        realloc(served->stores, (served->count + 1) * sizeof(struct served_store *));
    if (stores != NULL) {
        served->stores = stores;
    }
    struct served_store *of = calloc(1, sizeof(*of));
    if (served->answer == NULL || stores == NULL || of == NULL || served_open_taking(served) != 0) {
        free(of);
        return -ENOMEM;
    }
    of->store = store;
    of->number = WIRE_STORE_FIRST + served->count;
    of->flags = flags | (read_only ? WIRE_STORE_READ_ONLY : 0);
    list_init(&of->clients);
    list_init(&of->space_queue);
    served->stores[served->count++] = of;
    *number = of->number;
    return 0;
}

void served_count_reserved(const struct hf_server *server, uint64_t *pages, uint64_t *inodes)
{
    *pages = 0;
    *inodes = 0;
    for (uint32_t i = 0; i < server->served.count; i++) {
        const struct store *store = server->served.stores[i]->store;
        *pages += store->pages.reserved;
        *inodes += store->inodes.reserved;
    }
}
