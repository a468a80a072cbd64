#include "server/keep.h"

#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct kept {
    struct id_map_node node;
    uint64_t count;
};

static struct kept *kept_of(struct id_map_node *node)
{
    return list_entry(node, struct kept, node);
}

int keeper_init(struct keeper *keeper)
{
    sync_peer_init(&keeper->peer);
    return id_map_init(&keeper->kept);
}

void keeper_deinit(struct keeper *keeper, struct sync_server *table)
{
    sync_peer_leave(table, &keeper->peer, true);
    struct id_map_node *node = id_map_next(&keeper->kept, NULL);
    while (node != NULL) {
        struct kept *kept = kept_of(node);
        node = id_map_next(&keeper->kept, node);
        free(kept);
    }
    id_map_deinit(&keeper->kept);
}

int server_keep(struct hf_server *server, hf_id id)
{
    struct keeper *keeper = &server->keeper;
    struct id_map_node *node = id_map_find(&keeper->kept, id);
    if (node != NULL) {
        kept_of(node)->count++;
        return 0;
    }
    struct kept *kept = malloc(sizeof(*kept));
    if (kept == NULL) {
        return -ENOMEM;
    }
    const enum wire_reason refused = sync_server_reference(&server->table, &keeper->peer, id);
    if (refused != WIRE_REASON_NONE) {
        free(kept);
        return -wire_reason_errno((uint8_t)refused);
    }
    *kept = (struct kept){.node = {.id = id}, .count = 1};
    id_map_insert(&keeper->kept, &kept->node);
    return 0;
}

int server_set_kept_value(struct hf_server *server, hf_id id, const void *bytes, size_t size)
{
    const enum wire_reason refused =
        sync_server_set_value(&server->table, &server->keeper.peer, id, bytes, size);
    return refused == WIRE_REASON_NONE ? 0 : -wire_reason_errno((uint8_t)refused);
}

void server_unkeep(struct hf_server *server, hf_id id)
{
    struct keeper *keeper = &server->keeper;
    struct id_map_node *node = id_map_find(&keeper->kept, id);
    assert(node != NULL);
    struct kept *kept = kept_of(node);
    if (--kept->count > 0) {
        return;
    }
    sync_server_unreference(&server->table, &keeper->peer, id);
    id_map_remove(&keeper->kept, node);
    free(kept);
}
