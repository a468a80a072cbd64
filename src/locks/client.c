/*
 * Invariants (locks_client_check() asserts them):
 *  1. A view is in the list of idle ones exactly when it has no locks and no requests.
 *  2. lock_count is the number of locks in all views, LOCKS_CLIENT_MAX at most.
 *  3. A view HERE has no lock of an open file that others share.
 *
 * event                        view            function
 * lock, unlock                 HERE            locks_client_try()
 * all requests                 AT THE SERVER   locks_client_ask()
 * LOCKED                       AT THE SERVER   on_locked()
 * LOCK_RECALL                  HERE            give_back()
 */
#include "locks/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a LOCK record takes at most; and what one LOCK_RETURN carries of them. */
#define RECORD_MAX (64 + LOCK_PATH_MAX)
#define RETURN_SIZE 4096

/* A request leaves at most two locks more than there were. */
#define GROWTH_MAX 2

int locks_client_init(struct locks_client *client, const struct locks_client_ops *ops,
                      void *context)
{
    memset(client, 0, sizeof *client);
    list_init(&client->idle);
    list_init(&client->requests);
    client->ops = ops;
    client->context = context;
    return id_map_init(&client->views);
}

/* ---- views ---- */

static struct lock_view *view_from_node(struct id_map_node *node)
{
    return (struct lock_view *)(void *)((char *)node - offsetof(struct lock_view, node));
}

static struct lock_view *find_view(const struct locks_client *client, hf_id file)
{
    struct id_map_node *node = id_map_find(&client->views, file);
    return node == NULL ? NULL : view_from_node(node);
}

static void free_view(struct locks_client *client, struct lock_view *view)
{
    if (!list_is_empty(&view->idle_link)) {
        list_remove(&view->idle_link);
        client->idle_count--;
    }
    client->lock_count -= view->table.count;
    id_map_remove(&client->views, &view->node);
    lock_table_deinit(&view->table);
    free(view->path);
    free(view);
}

static struct lock_view *make_view(struct locks_client *client, hf_id file)
{
    struct lock_view *view = find_view(client, file);
    if (view == NULL) {
        view = calloc(1, sizeof *view);
        if (view == NULL) {
            return NULL;
        }
        view->node.id = file;
        list_init(&view->idle_link);
        id_map_insert(&client->views, &view->node);
    }
    return view;
}

/* Remember where it is; if that is not known now, what was known before is as good. */
static void set_path(struct lock_view *view, const char *path)
{
    const size_t length = strlen(path);
    const char *end = length <= LOCK_PATH_MAX ? path : path + length - LOCK_PATH_MAX;
    if (length == 0 || (view->path != NULL && strcmp(view->path, end) == 0)) {
        return;
    }
    char *copy = strdup(end);
    if (copy != NULL) { /* without memory nobody is shown it */
        free(view->path);
        view->path = copy;
    }
}

static int change(struct locks_client *client, struct lock_view *view, const struct lock *lock)
{
    const size_t before = view->table.count;
    const int result = lock_table_apply(&view->table, lock);
    client->lock_count += view->table.count - before;
    return result;
}

static void remove_owner(struct locks_client *client, struct lock_view *view, hf_id owner,
                         enum lock_kind kind)
{
    const size_t before = view->table.count;
    (void)lock_table_remove_owner(&view->table, owner, kind);
    client->lock_count -= before - view->table.count;
}

/* What its owner has of it already; NULL: nothing. */
static const struct lock *find_own(const struct lock_view *view, const struct lock *lock)
{
    size_t count;
    const struct lock *held = lock_table_of_owner(&view->table, lock->owner, lock->kind, &count);
    for (size_t i = 0; i < count; i++) {
        if (held[i].start <= lock->end && lock->start <= held[i].end) {
            return &held[i];
        }
    }
    return NULL;
}

/* Would there be too many? Those under way may leave more each. */
static bool is_too_much(const struct locks_client *client, const struct lock_view *view,
                        const struct lock *lock)
{
    const size_t most = client->lock_count + (size_t)GROWTH_MAX * client->request_count;
    if (most + GROWTH_MAX <= LOCKS_CLIENT_MAX) {
        return false;
    }
    const size_t after = lock_table_count_after(&view->table, lock);
    return after > view->table.count && most + (after - view->table.count) > LOCKS_CLIENT_MAX;
}

/* ---- sending ---- */

static size_t put_record(const struct lock *lock, const char *path, uint8_t *out)
{
    const struct wire_lock record = {
        .kind = (uint8_t)lock->kind,
        .type = (uint8_t)lock->type,
        .start = lock->start,
        .end = lock->end,
        .owner_space = lock->owner.space,
        .owner_object = lock->owner.object,
        .pid = lock->pid,
        .path = {path, path == NULL ? 0 : (uint8_t)strlen(path)},
    };
    return wire_put_lock(&record, out);
}

static void send_lock(struct locks_client *client, const struct lock_view *view, uint32_t seq,
                      uint8_t flags, const struct lock *lock)
{
    uint8_t data[WIRE_OPERATION_HEAD_MAX];
    const struct wire_message message = {
        .kind = WIRE_LOCK,
        .seq = seq,
        .id = view->node.id,
        .flags = flags,
        .data = data,
        .data_size = (uint32_t)put_record(lock, view->path, data),
    };
    client->ops->send(client->context, &message);
}

/* The table is the server's from here on. The path goes with the first lock. */
static void give_back(struct locks_client *client, struct lock_view *view)
{
    uint8_t data[RETURN_SIZE + WIRE_OPERATION_HEAD_MAX];
    struct wire_message message = {
        .kind = WIRE_LOCK_RETURN,
        .id = view->node.id,
        .grant = view->grant,
        .flags = WIRE_MORE,
        .data = data,
    };
    for (size_t i = 0; i < view->table.count; i++) {
        message.data_size += (uint32_t)put_record(
            &view->table.locks[i], i == 0 ? view->path : NULL, data + message.data_size);
        if (message.data_size + RECORD_MAX > RETURN_SIZE && i + 1 < view->table.count) {
            client->ops->send(client->context, &message);
            message.data_size = 0;
        }
    }
    message.flags = 0;
    client->ops->send(client->context, &message);
    view->grant = 0;
}

/* After every change: is it idle, or no longer? */
static void settle(struct locks_client *client, struct lock_view *view)
{
    const bool was_idle = !list_is_empty(&view->idle_link);
    const bool is_idle = view->table.count == 0 && view->in_flight == 0;
    if (was_idle && !is_idle) {
        list_remove(&view->idle_link);
        client->idle_count--;
    } else if (is_idle && !was_idle) {
        list_append(&client->idle, &view->idle_link);
        client->idle_count++;
    }
    if (client->idle_count > LOCKS_CLIENT_IDLE_MAX) {
        struct lock_view *oldest =
            list_entry(list_first(&client->idle), struct lock_view, idle_link);
        if (oldest->grant != 0) {
            give_back(client, oldest);
        }
        free_view(client, oldest);
    }
}

/* ---- without asking ---- */

/* The view is HERE. */
static int lock_here(struct locks_client *client, struct lock_view *view, const struct lock *lock,
                     unsigned flags)
{
    if (lock->kind == LOCK_FLOCK && lock->type != LOCK_NONE) {
        const struct lock *held = find_own(view, lock);
        if (held != NULL && held->type == lock->type) {
            return 0;
        }
        remove_owner(client, view, lock->owner, LOCK_FLOCK);
    }
    if (lock->type != LOCK_NONE && lock_table_find_conflict(&view->table, lock) != NULL) {
        return (flags & LOCKS_WAIT) != 0 ? LOCKS_ASK : -EAGAIN;
    }
    return is_too_much(client, view, lock) ? -ENOLCK : change(client, view, lock);
}

int locks_client_try(struct locks_client *client, hf_id file, const struct lock *lock,
                     unsigned flags)
{
    struct lock_view *view = find_view(client, file);
    const bool is_here = view != NULL && view->grant != 0;
    int result = LOCKS_ASK;
    if ((flags & LOCKS_SHARED) != 0) {
        /* Where the table is here, such an open file has nothing. */
        result = is_here && lock->type == LOCK_NONE ? 0 : LOCKS_ASK;
    } else if (is_here) {
        result = lock_here(client, view, lock, flags);
    } else if (lock->type == LOCK_NONE) {
        const bool is_known = view == NULL || view->in_flight == 0;
        result = is_known && (view == NULL || find_own(view, lock) == NULL) ? 0 : LOCKS_ASK;
    }
    if (view != NULL) {
        settle(client, view);
    }
    return result;
}

int locks_client_try_test(struct locks_client *client, hf_id file, const struct lock *lock,
                          struct lock *conflict)
{
    const struct lock_view *view = find_view(client, file);
    if (view == NULL || view->grant == 0) {
        return LOCKS_ASK;
    }
    const struct lock *found = lock_table_find_conflict(&view->table, lock);
    *conflict = found != NULL ? *found : (struct lock){.type = LOCK_NONE};
    return 0;
}

/* ---- asking ---- */

uint32_t locks_client_next_seq(struct locks_client *client)
{
    if (++client->last_seq == 0) {
        ++client->last_seq; /* 0 means that no answer is wanted */
    }
    return client->last_seq;
}

static void send_request(struct locks_client *client, const struct lock_view *view, uint8_t flags,
                         struct lock_request *request)
{
    request->seq = locks_client_next_seq(client);
    send_lock(client, view, request->seq, flags, &request->lock);
}

int locks_client_ask(struct locks_client *client, hf_id file, unsigned flags, const char *path,
                     struct lock_request *request)
{
    struct lock_view *view = make_view(client, file);
    if (view == NULL) {
        return -ENOMEM;
    }
    set_path(view, path);
    if (view->grant != 0) {
        give_back(client, view);
    }
    request->is_shared = (flags & LOCKS_SHARED) != 0;
    if (!request->is_shared && !request->is_test && is_too_much(client, view, &request->lock)) {
        settle(client, view);
        return -ENOLCK;
    }
    request->file = file;
    request->is_canceled = false;
    request->gives_up = false;
    list_append(&client->requests, &request->link);
    client->request_count++;
    view->in_flight++;
    settle(client, view);
    send_request(client,
                 view,
                 (request->is_test ? WIRE_LOCK_TEST : 0) |
                     ((flags & LOCKS_WAIT) != 0 ? WIRE_LOCK_WAIT : 0),
                 request);
    return 0;
}

void locks_client_cancel(struct locks_client *client, struct lock_request *request)
{
    if (!request->is_canceled) {
        request->is_canceled = true;
        client->ops->send(client->context,
                          &(struct wire_message){
                              .kind = WIRE_LOCK_CANCEL,
                              .seq = request->seq,
                              .id = request->file,
                          });
    }
}

static void finish(struct locks_client *client, struct lock_request *request, int result)
{
    list_remove(&request->link);
    client->request_count--;
    request->result = result;
    client->ops->done(client->context, request);
}

/* ---- what the server says ---- */

static struct lock_request *find_request(const struct locks_client *client,
                                         const struct wire_message *message)
{
    for (struct list *link = client->requests.next; link != &client->requests; link = link->next) {
        struct lock_request *request = list_entry(link, struct lock_request, link);
        if (request->seq == message->seq && hf_id_equal(request->file, message->id)) {
            return request;
        }
    }
    return NULL;
}

/* Return: false when it is no lock. */
static bool read_conflict(const struct wire_message *message, struct lock *out)
{
    struct wire_lock record;
    *out = (struct lock){.type = LOCK_NONE};
    if (message->data_size == 0) {
        return true;
    }
    if (wire_get_lock(message->data, message->data_size, &record) != message->data_size) {
        return false;
    }
    *out = (struct lock){
        .kind = (enum lock_kind)record.kind,
        .type = (enum lock_type)record.type,
        .start = record.start,
        .end = record.end,
        .owner = {record.owner_space, record.owner_object},
        .pid = record.pid,
    };
    return lock_is_valid(out) && out->type != LOCK_NONE;
}

/* Does it change an flock(2) lock into the other type? That is given up first. */
static bool is_conversion(const struct lock_view *view, const struct lock_request *request)
{
    const struct lock *held = NULL;
    if (request->lock.kind == LOCK_FLOCK && request->lock.type != LOCK_NONE &&
        !request->is_shared) {
        held = find_own(view, &request->lock);
    }
    return held != NULL && held->type != request->lock.type;
}

/* The view does what the server has done. */
static int follow(struct locks_client *client, struct lock_view *view,
                  const struct lock_request *request, uint32_t error)
{
    if (request->is_test || request->is_shared) {
        return 0;
    }
    if (error == 0) {
        return change(client, view, &request->lock);
    }
    if (is_conversion(view, request)) {
        remove_owner(client, view, request->lock.owner, LOCK_FLOCK);
    }
    return 0;
}

static int on_locked(struct locks_client *client, const struct wire_message *message)
{
    struct lock_request *request = find_request(client, message);
    struct lock_view *view = find_view(client, message->id);
    if (request == NULL || message->error > INT32_MAX) {
        return -EPROTO;
    }
    assert(view != NULL && view->in_flight > 0);
    if (view->grant != 0 ||
        (message->data_size > 0 && (!request->is_test || message->error != 0))) {
        return -EPROTO;
    }
    if (request->is_test && !read_conflict(message, &request->conflict)) {
        return -EPROTO;
    }
    if (message->error == ECANCELED && is_conversion(view, request)) {
        /* Whether the server had come to giving it up is not known: it is done now. */
        request->gives_up = true;
        request->lock.type = LOCK_NONE;
        send_request(client, view, 0, request);
        return 0;
    }
    const int result = follow(client, view, request, message->error);
    if (result < 0) {
        return result; /* what is here would no longer be true */
    }
    view->in_flight--;
    view->grant = message->grant;
    if (view->grant != 0 && view->in_flight > 0) {
        give_back(client, view); /* what is under way is decided there */
    }
    finish(client, request, request->gives_up ? -ECANCELED : -(int)message->error);
    settle(client, view);
    return 0;
}

int locks_client_input(struct locks_client *client, const struct wire_message *message)
{
    if (message->kind == WIRE_LOCKED) {
        return on_locked(client, message);
    }
    assert(message->kind == WIRE_LOCK_RECALL);
    struct lock_view *view = find_view(client, message->id);
    if (view != NULL && view->grant != 0 && view->grant == message->grant) {
        give_back(client, view);
    }
    return 0; /* else it crossed a LOCK_RETURN */
}

/* ---- other ends ---- */

void locks_client_share(struct locks_client *client, hf_id file, hf_id owner)
{
    struct lock_view *view = find_view(client, file);
    if (view == NULL) {
        return;
    }
    size_t records;
    size_t flocks;
    (void)lock_table_of_owner(&view->table, owner, LOCK_OFD, &records);
    (void)lock_table_of_owner(&view->table, owner, LOCK_FLOCK, &flocks);
    if (records + flocks > 0 && view->grant != 0) {
        give_back(client, view);
    }
    remove_owner(client, view, owner, LOCK_OFD);
    remove_owner(client, view, owner, LOCK_FLOCK);
    for (struct list *link = client->requests.next; link != &client->requests; link = link->next) {
        struct lock_request *request = list_entry(link, struct lock_request, link);
        if (request->lock.kind != LOCK_POSIX && hf_id_equal(request->lock.owner, owner)) {
            request->is_shared = true;
        }
    }
    settle(client, view);
}

static void free_views(struct locks_client *client)
{
    struct id_map_node *node;
    while ((node = id_map_next(&client->views, NULL)) != NULL) {
        free_view(client, view_from_node(node));
    }
}

void locks_client_lost(struct locks_client *client, int error)
{
    struct list *link;
    while ((link = list_first(&client->requests)) != NULL) {
        finish(client, list_entry(link, struct lock_request, link), error);
    }
    free_views(client);
}

void locks_client_reset(struct locks_client *client)
{
    list_init(&client->requests); /* they are on stacks of threads that do not exist */
    client->request_count = 0;
    free_views(client);
}

void locks_client_deinit(struct locks_client *client)
{
    assert(list_is_empty(&client->requests));
    free_views(client);
    id_map_deinit(&client->views);
}

void locks_client_check(const struct locks_client *client)
{
    size_t locks = 0;
    uint32_t idle = 0;
    uint32_t in_flight = 0;
    struct id_map_node *node = NULL;
    while ((node = id_map_next(&client->views, node)) != NULL) {
        const struct lock_view *view = view_from_node(node);
        const bool is_idle = !list_is_empty(&view->idle_link);
        assert(is_idle == (view->table.count == 0 && view->in_flight == 0));
        locks += view->table.count;
        in_flight += view->in_flight;
        idle += is_idle;
    }
    assert(locks == client->lock_count && locks <= LOCKS_CLIENT_MAX);
    assert(idle == client->idle_count && idle <= LOCKS_CLIENT_IDLE_MAX);
    assert(in_flight == client->request_count);
}
