/*
 * Attributes that are asked for before anybody needs them. The hold is asked for first, and answers
 * come in order: so if the inode is held when its attributes come, they are true while it is.
 */
#include "mounts/served/parts.h"

#include <errno.h>

/* With the client's lock. */
static struct sb_ahead *find(struct sb *served, uint64_t number)
{
    for (size_t i = 0; i < SB_AHEAD; i++) {
        struct sb_ahead *ahead = &served->ahead[i];
        if (ahead->state != SB_AHEAD_FREE && ahead->number == number) {
            return ahead;
        }
    }
    return NULL;
}

/* One that nobody waits for, the one asked longest ago if need be. With the client's lock. */
static struct sb_ahead *find_room(struct sb *served)
{
    for (size_t i = 0; i < SB_AHEAD; i++) {
        struct sb_ahead *ahead = &served->ahead[served->next_ahead++ % SB_AHEAD];
        const bool has_failed =
            ahead->state == SB_AHEAD_ASKED && list_is_empty(&ahead->request.link);
        if (ahead->state == SB_AHEAD_FREE || ahead->state == SB_AHEAD_THERE || has_failed) {
            return ahead;
        }
    }
    return NULL;
}

/* The answer, with the client's lock. */
static int64_t take_attributes(void *context, const uint8_t *data, size_t size)
{
    struct sb_ahead *ahead = context;
    hf_client *client = ahead->served->client;
    ahead->state = SB_AHEAD_FREE;
    if (wire_get_attributes(data, size, &ahead->attributes) != size) {
        return -EPROTO;
    }
    const hf_id id = wire_store_id(ahead->served->store.number, ahead->number);
    struct id_map_node *node = id_map_find(&client->handles, id);
    if (node != NULL && handle_from_node(node)->hold.mode != HF_INVALID) {
        ahead->epoch = hf_sync_epoch(handle_from_node(node));
        ahead->state = SB_AHEAD_THERE;
    }
    return 0;
}

void sb_look_ahead(struct backend *backend, const ino_t *numbers, size_t count)
{
    struct sb *served = sb_of(backend);
    for (size_t i = 0; i < count; i++) {
        const struct wire_operation operation = {.code = WIRE_OP_GET, .inode = numbers[i]};
        pthread_mutex_lock(&served->client->lock);
        struct sb_ahead *ahead = find(served, numbers[i]) == NULL ? find_room(served) : NULL;
        if (ahead != NULL) {
            ahead->served = served;
            ahead->number = numbers[i];
            ahead->state = SB_AHEAD_AWAITED; /* by us, so far */
        }
        pthread_mutex_unlock(&served->client->lock);
        if (ahead == NULL) {
            continue;
        }
        client_store_start(&served->store, &operation, 0, take_attributes, ahead, &ahead->request);
        pthread_mutex_lock(&served->client->lock);
        if (ahead->state == SB_AHEAD_AWAITED) {
            ahead->state = SB_AHEAD_ASKED;
        }
        pthread_mutex_unlock(&served->client->lock);
    }
}

bool sb_take_ahead(struct sb_node *node, uint64_t epoch, struct wire_attributes *out)
{
    struct sb *served = node->served;
    bool taken = false;
    pthread_mutex_lock(&served->client->lock);
    struct sb_ahead *ahead = find(served, node->number);
    if (ahead != NULL && ahead->state == SB_AHEAD_ASKED) {
        /* It is on its way. Nobody else gets the place meanwhile. */
        ahead->state = SB_AHEAD_AWAITED;
        pthread_mutex_unlock(&served->client->lock);
        (void)client_store_finish(&served->store, &ahead->request);
        pthread_mutex_lock(&served->client->lock);
        if (ahead->state == SB_AHEAD_AWAITED) {
            ahead->state = SB_AHEAD_FREE;
        }
    }
    ahead = find(served, node->number);
    if (ahead != NULL && ahead->state == SB_AHEAD_THERE) {
        taken = ahead->epoch == epoch;
        *out = ahead->attributes;
        ahead->state = SB_AHEAD_FREE;
    }
    pthread_mutex_unlock(&served->client->lock);
    return taken;
}

void sb_drop_ahead(struct sb_node *node)
{
    pthread_mutex_lock(&node->served->client->lock);
    struct sb_ahead *ahead = find(node->served, node->number);
    if (ahead != NULL && ahead->state == SB_AHEAD_THERE) {
        ahead->state = SB_AHEAD_FREE;
    } else if (ahead != NULL) {
        ahead->number = 0; /* nobody's, when the answer comes */
    }
    pthread_mutex_unlock(&node->served->client->lock);
}

void sb_end_ahead(struct sb *served)
{
    for (size_t i = 0; i < SB_AHEAD; i++) {
        if (served->ahead[i].state == SB_AHEAD_ASKED) {
            (void)client_store_finish(&served->store, &served->ahead[i].request);
        }
    }
}

void sb_forget_ahead(struct sb *served)
{
    for (size_t i = 0; i < SB_AHEAD; i++) {
        served->ahead[i].state = SB_AHEAD_FREE;
    }
}
