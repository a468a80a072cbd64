#include "client/store.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* What is asked for beyond what is needed. */
#define PAGES_AHEAD 4096
#define INODES_AHEAD 256

/* As store.h says: in a block. */
#define NUMBERS_GRANTED 64

void client_store_open(hf_client *client, uint32_t number,
                       void (*failed)(struct client_store *, uint64_t, int),
                       struct client_store *store)
{
    *store = (struct client_store){.client = client, .number = number, .failed = failed};
    pthread_mutex_init(&store->reserve_lock, NULL);
    list_init(&store->uses);
    pthread_mutex_lock(&client->lock);
    list_append(&client->stores, &store->link);
    pthread_mutex_unlock(&client->lock);
}

void client_store_close(struct client_store *store)
{
    pthread_mutex_lock(&store->client->lock);
    list_remove(&store->link);
    assert(list_is_empty(&store->uses));
    pthread_mutex_unlock(&store->client->lock);
    pthread_mutex_destroy(&store->reserve_lock);
}

/* ---- sending; with the lock held ---- */

/* Return: 0, -ENOTCONN, -ENOMEM. */
static int queue(const struct client_store *store, uint32_t seq, uint8_t flags,
                 const struct wire_operation *operation)
{
    hf_client *client = store->client;
    const size_t head_size = wire_operation_head_size(operation);
    const struct wire_message message = {
        .kind = WIRE_OPERATION,
        .seq = seq,
        .store = store->number,
        .flags = flags,
        .data_size = (uint32_t)head_size + operation->data_size,
    };
    if (client->error != 0 || client->out_error != 0) {
        return -ENOTCONN;
    }
    const size_t size = wire_size(&message);
    uint8_t *room = buffer_reserve(&client->out, size);
    if (room == NULL) {
        return -ENOMEM;
    }
    wire_encode(&message, room);
    uint8_t *const rest = room + size - operation->data_size;
    wire_operation_encode(operation, rest - head_size);
    if (operation->data_size > 0) {
        memcpy(rest, operation->data, operation->data_size);
    }
    buffer_commit(&client->out, size);
    client->out_total += size;
    client->stats.operations_sent++;
    return 0;
}

/* ---- asking ---- */

/* With the lock held. */
static void start(struct client_store *store, const struct wire_operation *operation, uint8_t flags,
                  client_answer_function *answer, void *context, struct client_request *request)
{
    hf_client *client = store->client;
    *request = (struct client_request){.answer = answer, .context = context};
    sleeper_init(&request->sleeper);
    list_init(&request->link);
    request->seq = ++client->operation_seq;
    if (request->seq == 0) {
        request->seq = ++client->operation_seq; /* 0 means that no answer is wanted */
    }
    request->result = queue(store, request->seq, flags, operation);
    if (request->result == 0) {
        list_append(&client->requests, &request->link);
    }
}

/* With the lock held, which is dropped meanwhile. */
static int64_t wait_for(hf_client *client, struct client_request *request)
{
    if (!list_is_empty(&request->link)) {
        client_flush(client);
    }
    if (!list_is_empty(&request->link)) {
        (void)sleeper_wait(client, &request->sleeper, 0);
    }
    return request->result;
}

static int64_t ask(struct client_store *store, const struct wire_operation *operation,
                   uint8_t flags, client_answer_function *answer, void *context)
{
    struct client_request request;
    start(store, operation, flags, answer, context, &request);
    return wait_for(store->client, &request);
}

int64_t client_store_ask(struct client_store *store, const struct wire_operation *operation,
                         uint8_t flags, client_answer_function *answer, void *context)
{
    pthread_mutex_lock(&store->client->lock);
    const int64_t result = ask(store, operation, flags, answer, context);
    pthread_mutex_unlock(&store->client->lock);
    return result;
}

void client_store_start(struct client_store *store, const struct wire_operation *operation,
                        uint8_t flags, client_answer_function *answer, void *context,
                        struct client_request *request)
{
    pthread_mutex_lock(&store->client->lock);
    start(store, operation, flags, answer, context, request);
    pthread_mutex_unlock(&store->client->lock);
}

int64_t client_store_finish(struct client_store *store, struct client_request *request)
{
    pthread_mutex_lock(&store->client->lock);
    const int64_t result = wait_for(store->client, request);
    pthread_mutex_unlock(&store->client->lock);
    return result;
}

static void finish(hf_client *client, struct client_request *request, int64_t result)
{
    request->result = result;
    list_remove(&request->link);
    sleeper_wake(client, &request->sleeper);
}

static bool answered(hf_client *client, const struct wire_message *message)
{
    for (struct list *link = client->requests.next; link != &client->requests; link = link->next) {
        struct client_request *request = list_entry(link, struct client_request, link);
        if (request->seq != message->seq) {
            continue;
        }
        int64_t result = 0;
        request->alone = (message->flags & WIRE_ALONE) != 0;
        if (message->error > INT32_MAX) {
            result = -EPROTO;
        } else if (message->error != 0) {
            result = -(int64_t)message->error;
        } else if (request->answer != NULL) {
            result = request->answer(request->context, message->data, message->data_size);
        }
        finish(client, request, result);
        return result != -EPROTO;
    }
    return false;
}

/* ---- telling ---- */

/* With the lock held. */
static int spend_and_queue(struct client_store *store, const struct wire_operation *operation,
                           uint64_t pages, uint64_t inodes)
{
    if (pages > store->pages || inodes > store->inodes) {
        return -ENOSPC;
    }
    const int result = queue(store, 0, 0, operation);
    if (result == 0) {
        store->pages -= pages;
        store->inodes -= inodes;
        store->pages_spent += pages;
        store->inodes_spent += inodes;
    }
    return result;
}

int client_store_tell(struct client_store *store, const struct wire_operation *operation,
                      uint64_t pages, uint64_t inodes)
{
    hf_client *client = store->client;
    pthread_mutex_lock(&client->lock);
    int result = spend_and_queue(store, operation, pages, inodes);
    if (result == 0) {
        result = client_flush_wait(client, CLIENT_WAIT_FOR_EVER);
    }
    pthread_mutex_unlock(&client->lock);
    return result;
}

int client_store_queue(struct client_store *store, const struct wire_operation *operation,
                       uint64_t pages, uint64_t inodes)
{
    pthread_mutex_lock(&store->client->lock);
    const int result = spend_and_queue(store, operation, pages, inodes);
    pthread_mutex_unlock(&store->client->lock);
    return result;
}

int client_store_send(struct client_store *store)
{
    pthread_mutex_lock(&store->client->lock);
    const int result = client_flush_wait(store->client, CLIENT_WAIT_FOR_EVER);
    pthread_mutex_unlock(&store->client->lock);
    return result;
}

/* ---- space ---- */

static int64_t take_reservation(void *context, const uint8_t *data, size_t size)
{
    struct client_store *store = context;
    struct wire_reservation given;
    if (wire_get_reservation(data, size, &given) != size) {
        return -EPROTO;
    }
    /* What was told since is not deducted there yet; and what was given back is gone. */
    const bool kept = !store->returned;
    store->pages = kept && given.pages > store->pages_spent ? given.pages - store->pages_spent : 0;
    store->inodes =
        kept && given.inodes > store->inodes_spent ? given.inodes - store->inodes_spent : 0;
    if (given.number != 0) {
        store->next_number = given.number;
        store->number_end = given.number + NUMBERS_GRANTED;
    }
    return 0;
}

static bool is_enough(const struct client_store *store, uint64_t pages, uint64_t inodes,
                      const uint64_t *number)
{
    return store->pages >= pages && store->inodes >= inodes &&
           (number == NULL || store->next_number < store->number_end);
}

/* With both locks. */
static int64_t ask_for_space(struct client_store *store, uint64_t pages, uint64_t inodes,
                             const uint64_t *number)
{
    const bool wants_numbers = number != NULL && store->next_number == store->number_end;
    const struct wire_operation operation = {
        .code = WIRE_OP_RESERVE,
        .pages = store->pages < pages ? pages - store->pages + PAGES_AHEAD : 0,
        .inodes = store->inodes < inodes ? inodes - store->inodes + INODES_AHEAD : 0,
        .count = wants_numbers,
    };
    store->pages_spent = 0;
    store->inodes_spent = 0;
    store->returned = false;
    return ask(store, &operation, 0, take_reservation, store);
}

int client_store_reserve(struct client_store *store, uint64_t pages, uint64_t inodes,
                         uint64_t *number)
{
    hf_client *client = store->client;
    int64_t result = 0;
    pthread_mutex_lock(&client->lock);
    if (!is_enough(store, pages, inodes, number)) {
        pthread_mutex_unlock(&client->lock);
        pthread_mutex_lock(&store->reserve_lock);
        pthread_mutex_lock(&client->lock);
        if (!is_enough(store, pages, inodes, number)) {
            result = ask_for_space(store, pages, inodes, number);
        }
        if (result == 0 && !is_enough(store, pages, inodes, number)) {
            result = -ENOSPC;
        }
        pthread_mutex_unlock(&store->reserve_lock);
    }
    if (result == 0 && number != NULL) {
        *number = store->next_number++;
    }
    pthread_mutex_unlock(&client->lock);
    return (int)result;
}

uint64_t client_store_number_end(struct client_store *store, uint64_t number)
{
    pthread_mutex_lock(&store->client->lock);
    const uint64_t end = number < store->number_end && number + NUMBERS_GRANTED >= store->number_end
                             ? store->number_end
                             : number;
    pthread_mutex_unlock(&store->client->lock);
    return end;
}

/* Somebody needs what we do not. Whoever has read that sends the answer when all that came is handled:
 * to send here could be to find the connection at its end, and to handle the same once more. */
static void give_back(struct client_store *store)
{
    const struct wire_operation operation = {
        .code = WIRE_OP_RETURN, .pages = UINT64_MAX, .inodes = UINT64_MAX};
    store->pages = 0;
    store->inodes = 0;
    store->returned = true;
    (void)queue(store, 0, 0, &operation); /* fails with the connection */
}

/* ---- uses ---- */

/* With the lock held. */
static void note_use(struct client_store *store, struct client_use *use, uint64_t inode,
                     uint8_t told)
{
    if (use->told == 0) {
        use->store = store;
        use->inode = inode;
        list_init(&use->idle_link);
        list_append(&store->uses, &use->link);
    }
    use->told |= told;
    use->count++;
    list_remove(&use->idle_link);
}

int client_store_use(struct client_store *store, struct client_use *use, uint64_t inode,
                     uint8_t rights)
{
    const struct wire_operation operation = {.code = WIRE_OP_USE, .inode = inode, .rights = rights};
    const uint8_t told = rights | CLIENT_USE_TOLD;
    int result = 0;
    pthread_mutex_lock(&store->client->lock);
    if ((told & ~use->told) != 0) {
        result = queue(store, 0, 0, &operation);
    }
    if (result == 0) {
        note_use(store, use, inode, told);
    }
    pthread_mutex_unlock(&store->client->lock);
    return result;
}

bool client_store_use_again(struct client_store *store, struct client_use *use)
{
    pthread_mutex_lock(&store->client->lock);
    const bool is_told = use->told != 0;
    if (is_told) {
        note_use(store, use, use->inode, 0);
    }
    pthread_mutex_unlock(&store->client->lock);
    return is_told;
}

void client_store_used(struct client_store *store, struct client_use *use, uint64_t inode,
                       uint8_t rights)
{
    pthread_mutex_lock(&store->client->lock);
    note_use(store, use, inode, rights | CLIENT_USE_TOLD);
    pthread_mutex_unlock(&store->client->lock);
}

/* With the lock held. */
static void forget_use(struct client_use *use)
{
    const struct wire_operation operation = {.code = WIRE_OP_UNUSE, .inode = use->inode};
    (void)queue(use->store, 0, 0, &operation); /* fails with the connection, and that forgets all */
    use->told = 0;
    list_remove(&use->link);
    list_remove(&use->idle_link);
}

void client_store_unuse(struct client_store *store, struct client_use *use, bool named)
{
    pthread_mutex_lock(&store->client->lock);
    if (--use->count == 0 && use->told != 0) {
        if (named) {
            list_append(&store->client->idle_uses, &use->idle_link);
        } else {
            forget_use(use);
            client_flush(store->client);
        }
    }
    pthread_mutex_unlock(&store->client->lock);
}

void client_use_deinit(struct client_store *store, struct client_use *use)
{
    pthread_mutex_lock(&store->client->lock);
    assert(use->count == 0);
    if (use->told != 0) {
        forget_use(use);
    }
    pthread_mutex_unlock(&store->client->lock);
}

/* ---- for the connection ---- */

static struct client_store *find_store(hf_client *client, uint32_t number)
{
    for (struct list *link = client->stores.next; link != &client->stores; link = link->next) {
        struct client_store *store = list_entry(link, struct client_store, link);
        if (store->number == number) {
            return store;
        }
    }
    return NULL;
}

bool client_stores_input(hf_client *client, const struct wire_message *message)
{
    if (message->kind == WIRE_ANSWER) {
        return answered(client, message);
    }
    /* What comes when a store has just been closed is nobody's. */
    struct client_store *store = find_store(client, message->store);
    if (message->kind == WIRE_FAILED && store != NULL && message->error <= INT32_MAX) {
        store->failed(store, message->inode, -(int)message->error);
    } else if (message->kind == WIRE_RECLAIM && store != NULL) {
        give_back(store);
    }
    return true;
}

void client_stores_flush(hf_client *client)
{
    struct list *link;
    while ((link = list_first(&client->idle_uses)) != NULL) {
        struct client_use *use = list_entry(link, struct client_use, idle_link);
        assert(use->count == 0);
        forget_use(use);
    }
}

void client_stores_lost(hf_client *client)
{
    struct list *link;
    while ((link = list_first(&client->requests)) != NULL) {
        finish(client, list_entry(link, struct client_request, link), -ENOTCONN);
    }
}

void client_stores_reset(hf_client *client)
{
    list_init(&client->requests);
    list_init(&client->idle_uses);
    for (struct list *link = client->stores.next; link != &client->stores; link = link->next) {
        struct client_store *store = list_entry(link, struct client_store, link);
        store->pages = 0;
        store->inodes = 0;
        store->next_number = store->number_end;
        pthread_mutex_init(&store->reserve_lock, NULL);
        for (struct list *at = store->uses.next; at != &store->uses;) {
            struct client_use *use = list_entry(at, struct client_use, link);
            at = at->next;
            list_init(&use->idle_link);
            if (use->count == 0) {
                use->told = 0;
                list_remove(&use->link);
            }
        }
    }
}
