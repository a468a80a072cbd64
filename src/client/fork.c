/*
 * fork(): the child gets a connection of its own, on which every handle that is registered for
 * the parent has been registered before the child exists. So a value that both share cannot
 * be closed away between them.
 *
 * The steps run inside the pthread_atfork() handlers, so plain fork() does all of it; hf_fork()
 * runs the first step itself to be able to report its failure. prepare() takes every lock a
 * child will need and leaves them to parent() and child(); it needs the server, which may be a
 * thread of this very process, so it must come before the server's own handler. Handlers are
 * called in reverse order of registration: the server's is registered when its library is
 * loaded, these with the first client that is made.
 */
#include "base/clock.h"
#include "client/client.h"
#include "client/locks.h"
#include "client/park.h"
#include "client/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct fork_grant {
    hf_sync *handle;
    bool is_use;    /* of a pure lock, which goes on in the child; else it is a reference */
    uint64_t grant; /* 0: the use could not be had at once */
};

/* The connection made for the child. */
struct fork_copy {
    int fd;
    int wake_fd;
    struct ready ready;
    int error; /* why there is none */
    uint64_t number;
    uint32_t seq;
    struct buffer in;
    struct buffer later; /* messages that came meanwhile and are the child's to handle */
    struct fork_grant *grants;
    size_t grant_count;
};

/* The clients of this process: pthread_atfork() passes no argument, so they must be found. */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list registry = {&registry, &registry};

/* This thread is in hf_fork(), which does what the handlers would. */
static _Thread_local bool in_hf_fork;

/* ---- making the child's connection ---- */

static int copy_dial(const hf_client *client, struct fork_copy *copy, uint64_t deadline_ns)
{
    int error = 0;
    if (client->config.dial != NULL) {
        copy->fd = client->config.dial(client->config.dial_context);
    } else {
        copy->fd = client->address != NULL ? client_socket() : -ENOTSUP;
    }
    if (copy->fd < 0) {
        error = copy->fd;
        copy->fd = -1;
        return error;
    }
    if (client->config.dial == NULL) {
        error = client_connect_socket(copy->fd, client->address, deadline_ns);
    }
    if (error == 0) {
        error = client_prepare_descriptor(copy->fd);
    }
    if (error == 0) {
        copy->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        error = copy->wake_fd < 0 ? -errno : ready_init(&copy->ready, copy->fd, copy->wake_fd);
    }
    return error;
}

/* What the child must have a reference to: all that the parent has registered. And what it is to
 * go on using. */
static int copy_list_handles(const hf_client *client, struct fork_copy *copy)
{
    copy->grants = calloc(client->handles.count + 1, sizeof(*copy->grants));
    if (copy->grants == NULL) {
        return -ENOMEM;
    }
    struct id_map_node *node = NULL;
    while ((node = id_map_next(&client->handles, node)) != NULL) {
        hf_sync *handle = handle_from_node(node);
        const bool is_use = handle->inherited && handle_is_shared(handle);
        if (is_use ||
            (handle->references > 0 && !handle->hold.lock_only && handle->hold.grant != 0)) {
            copy->grants[copy->grant_count++] = (struct fork_grant){handle, is_use, 0};
        }
    }
    return 0;
}

/* The next message but RECALLs of what the child has already: these are for it to obey. */
static int copy_read_answer(struct fork_copy *copy, uint64_t deadline_ns,
                            struct wire_message *answer)
{
    for (;;) {
        int error = client_read_message(copy->fd, &copy->in, deadline_ns, answer);
        if (error != 0 || answer->kind != WIRE_RECALL) {
            return error;
        }
        uint8_t *room = buffer_reserve(&copy->later, wire_size(answer));
        if (room == NULL) {
            return -ENOMEM;
        }
        buffer_commit(&copy->later, wire_encode(answer, room));
    }
}

/* A use is asked for AHEAD: it is free unless somebody waits for this process to answer, which it
 * cannot now. Then the child asks for itself. */
static int copy_register_one(struct fork_copy *copy, struct fork_grant *item, uint64_t deadline_ns)
{
    struct wire_message answer;
    int error = client_write_message(copy->fd,
                                     &(struct wire_message){
                                         .kind = WIRE_ACQUIRE,
                                         .id = item->handle->hold.node.id,
                                         .seq = ++copy->seq,
                                         .mode = item->is_use ? HF_SHARED : HF_INVALID,
                                         .flags = item->is_use ? WIRE_AHEAD : WIRE_REFERENCE,
                                     },
                                     deadline_ns);
    if (error == 0) {
        error = copy_read_answer(copy, deadline_ns, &answer);
    }
    if (error != 0) {
        return error;
    }
    if (answer.kind == WIRE_GRANT && (answer.flags & WIRE_DENIED) != 0 && item->is_use) {
        return 0;
    }
    if (answer.kind == WIRE_GOODBYE || (answer.flags & WIRE_DENIED) != 0) {
        return client_goodbye_error(answer.reason);
    }
    if (answer.kind != WIRE_GRANT || answer.grant == 0 || answer.seq != copy->seq ||
        !hf_id_equal(answer.id, item->handle->hold.node.id)) {
        return -EPROTO;
    }
    item->grant = answer.grant;
    return 0;
}

/* The files that are open here are open there. */
static int copy_use(struct fork_copy *copy, const struct client_use *use, uint64_t parent,
                    uint64_t deadline_ns)
{
    const struct wire_operation operation = {
        .code = WIRE_OP_USE,
        .inode = use->inode,
        .rights = use->told & (WIRE_USE_READ | WIRE_USE_WRITE),
        .other = parent,
    };
    uint8_t data[WIRE_OPERATION_HEAD_MAX];
    struct wire_message answer;
    int error =
        client_write_message(copy->fd,
                             &(struct wire_message){
                                 .kind = WIRE_OPERATION,
                                 .seq = ++copy->seq,
                                 .store = use->store->number,
                                 .data = data,
                                 .data_size = (uint32_t)wire_operation_encode(&operation, data),
                             },
                             deadline_ns);
    if (error == 0) {
        error = copy_read_answer(copy, deadline_ns, &answer);
    }
    if (error != 0) {
        return error;
    }
    if (answer.kind == WIRE_GOODBYE) {
        return client_goodbye_error(answer.reason);
    }
    if (answer.kind != WIRE_ANSWER || answer.seq != copy->seq || answer.error > INT32_MAX) {
        return -EPROTO;
    }
    return -(int)answer.error;
}

static int copy_uses(const hf_client *client, struct fork_copy *copy, uint64_t deadline_ns)
{
    int error = 0;
    for (struct list *at = client->stores.next; at != &client->stores; at = at->next) {
        const struct client_store *store = list_entry(at, struct client_store, link);
        for (struct list *link = store->uses.next; error == 0 && link != &store->uses;
             link = link->next) {
            const struct client_use *use = list_entry(link, struct client_use, link);
            if (use->count > 0) {
                error = copy_use(copy, use, client->number, deadline_ns);
            }
        }
    }
    return error;
}

static int copy_fill(hf_client *client, struct fork_copy *copy)
{
    uint64_t deadline_ns = client_connect_deadline_ns(&client->config);
    int error = copy_dial(client, copy, deadline_ns);
    if (error == 0) {
        error = client_handshake(copy->fd, client->name, deadline_ns, &copy->number);
    }
    if (error == 0) {
        error = copy_list_handles(client, copy);
    }
    for (size_t i = 0; error == 0 && i < copy->grant_count; i++) {
        error = copy_register_one(copy, &copy->grants[i], deadline_ns);
    }
    return error == 0 ? copy_uses(client, copy, deadline_ns) : error;
}

static void copy_free(struct fork_copy *copy)
{
    if (copy->fd >= 0) {
        close(copy->fd);
    }
    if (copy->wake_fd >= 0) {
        close(copy->wake_fd);
    }
    ready_deinit(&copy->ready);
    buffer_deinit(&copy->in);
    buffer_deinit(&copy->later);
    free(copy->grants);
    free(copy);
}

/* ---- the three steps, for one client ---- */

/* Not connected yet or any more, or in the middle of being freed: the child gets no connection,
 * and that is no reason not to fork. */
static bool is_over(const hf_client *client)
{
    return client->error != 0 || client->references == 0;
}

/* Those who build on the client make ready, which may take messages and other threads. */
static int client_call_hooks(hf_client *client)
{
    int error = 0;
    for (struct list *link = client->fork_hooks.next; link != &client->fork_hooks;
         link = link->next) {
        struct client_fork_hook *hook = list_entry(link, struct client_fork_hook, link);
        int result = hook->prepare(hook);
        error = error == 0 ? result : error;
    }
    return error;
}

/* Leaves the client locked and with a copy; the copy's error is also returned. */
static int client_prepare(hf_client *client, int hook_error)
{
    pthread_mutex_lock(&client->open_lock);
    pthread_mutex_lock(&client->lock);
    struct fork_copy *copy = calloc(1, sizeof(*copy));
    client->fork_copy = copy;
    if (copy == NULL) {
        return -ENOMEM;
    }
    copy->fd = -1;
    copy->wake_fd = -1;
    copy->ready = (struct ready){-1, -1, -1};
    buffer_init(&copy->in, 2 * (WIRE_LENGTH_BYTES + WIRE_FRAME_MAX));
    buffer_init(&copy->later, SIZE_MAX);
    copy->error = hook_error;
    if (copy->error == 0) {
        copy->error = is_over(client) ? -ENOTCONN : copy_fill(client, copy);
    }
    return is_over(client) ? 0 : copy->error;
}

static void client_parent(hf_client *client)
{
    if (client->fork_copy != NULL) {
        copy_free(client->fork_copy);
        client->fork_copy = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    pthread_mutex_unlock(&client->open_lock);
    for (struct list *link = client->fork_hooks.next; link != &client->fork_hooks;
         link = link->next) {
        struct client_fork_hook *hook = list_entry(link, struct client_fork_hook, link);
        hook->parent(hook);
    }
}

/* Nothing of the parent's connection is the child's. */
static void forget_connection(hf_client *client)
{
    if (client->fd >= 0) {
        close(client->fd);
    }
    close(client->wake_fd);
    ready_deinit(&client->ready);
    client->leader = NULL;
    buffer_deinit(&client->out);
    buffer_deinit(&client->in);
    client->out_total = 0;
    client->out_sent = 0;
    client->write_pending = false;
    client->stats = (hf_client_stats){0};
    list_init(&client->armed);
    list_init(&client->cancellable);
    struct id_map_node *node = id_map_next(&client->handles, NULL);
    while (node != NULL) {
        hf_sync *handle = handle_from_node(node);
        node = id_map_next(&client->handles, node);
        list_init(&handle->armed_link);
        sync_hold_reset(&handle->hold);
        if (handle->references == 0) {
            client_reap(client, handle);
        }
    }
}

/* In the child: what its connection has of the handles. */
static void take_grants(const struct fork_copy *copy)
{
    for (size_t i = 0; i < copy->grant_count; i++) {
        const struct fork_grant *item = &copy->grants[i];
        if (!item->is_use) {
            item->handle->hold.grant = item->grant;
        } else if (item->grant != 0) {
            sync_hold_inherit(&item->handle->hold, item->grant);
        }
    }
}

/* Behind what there is. Return: 0, -ENOMEM. */
static int append_input(hf_client *client, const struct buffer *part)
{
    if (part->length == 0) {
        return 0;
    }
    uint8_t *room = buffer_reserve(&client->in, part->length);
    if (room == NULL) {
        return -ENOMEM;
    }
    memcpy(room, buffer_data(part), part->length);
    buffer_commit(&client->in, part->length);
    return 0;
}

/* And what the server has said since. */
static int take_input(hf_client *client, const struct fork_copy *copy)
{
    pthread_mutex_lock(&client->lock);
    int error = append_input(client, &copy->later);
    if (error == 0) {
        error = append_input(client, &copy->in);
    }
    if (error == 0 && client->in.length > 0) {
        client_receive(client);
    }
    pthread_mutex_unlock(&client->lock);
    return error;
}

static void client_child(hf_client *client)
{
    struct fork_copy *copy = client->fork_copy;
    client->fork_copy = NULL;
    client_init_lock(client);
    pthread_mutex_init(&client->open_lock, NULL);
    park_reset(client);
    client_stores_reset(client);
    client_locks_reset(client);
    forget_connection(client);
    int error = copy == NULL ? -ENOMEM : copy->error;
    client->fd = copy == NULL ? -1 : copy->fd;
    client->wake_fd = copy == NULL ? -1 : copy->wake_fd;
    client->error = 0;
    if (copy != NULL) {
        client->ready = copy->ready;
        copy->fd = -1;
        copy->wake_fd = -1;
        copy->ready = (struct ready){-1, -1, -1};
    }
    if (error == 0) {
        client->number = copy->number;
        client->core.last_seq = copy->seq;
        take_grants(copy);
        error = take_input(client, copy);
        client->has_helper = error == 0 && client_start_helper(client) == 0;
        error = client->has_helper || error != 0 ? error : -EAGAIN;
    } else {
        client->has_helper = false;
    }
    if (copy != NULL) {
        copy_free(copy);
    }
    if (error != 0) {
        pthread_mutex_lock(&client->lock);
        client_lost(client, error);
        pthread_mutex_unlock(&client->lock);
    }
    for (struct list *link = client->fork_hooks.next; link != &client->fork_hooks;
         link = link->next) {
        struct client_fork_hook *hook = list_entry(link, struct client_fork_hook, link);
        hook->child(hook);
    }
}

/* ---- for all clients ---- */

static hf_client *client_from_registry(struct list *link)
{
    return list_entry(link, hf_client, registry_link);
}

/* First every hook, then every lock: a hook may need what another client of this process
 * holds, and only an unlocked client answers a recall. */
static int prepare_all(void)
{
    int hook_error = 0;
    pthread_mutex_lock(&registry_lock);
    for (struct list *link = registry.next; link != &registry; link = link->next) {
        int result = client_call_hooks(client_from_registry(link));
        hook_error = hook_error == 0 ? result : hook_error;
    }
    int error = hook_error;
    for (struct list *link = registry.next; link != &registry; link = link->next) {
        int result = client_prepare(client_from_registry(link), hook_error);
        error = error == 0 ? result : error;
    }
    return error;
}

static void parent_all(void)
{
    for (struct list *link = registry.next; link != &registry; link = link->next) {
        client_parent(client_from_registry(link));
    }
    pthread_mutex_unlock(&registry_lock);
}

static void child_all(void)
{
    pthread_mutex_init(&registry_lock, NULL);
    for (struct list *link = registry.next; link != &registry; link = link->next) {
        client_child(client_from_registry(link));
    }
}

static void on_prepare(void)
{
    if (!in_hf_fork) {
        (void)prepare_all(); /* plain fork() cannot fail for it: the child's client reports it */
    }
}

static void on_parent(void)
{
    if (!in_hf_fork) {
        parent_all();
    }
}

static void on_child(void)
{
    if (!in_hf_fork) {
        child_all();
    }
}

pid_t hf_fork(void)
{
    int error = prepare_all();
    if (error != 0) {
        parent_all();
        return error;
    }
    in_hf_fork = true;
    pid_t pid = fork();
    int fork_errno = errno;
    in_hf_fork = false;
    if (pid == 0) {
        child_all();
        return 0;
    }
    parent_all();
    return pid < 0 ? -fork_errno : pid;
}

static int handlers_error;

static void register_handlers(void)
{
    handlers_error = -pthread_atfork(on_prepare, on_parent, on_child);
}

void fork_bar(void)
{
    pthread_mutex_lock(&registry_lock);
}

void fork_unbar(void)
{
    pthread_mutex_unlock(&registry_lock);
}

int fork_register(hf_client *client)
{
    /* Not barred: some systems hold a lock of their own around the handlers. */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_handlers);
    if (handlers_error == 0) {
        fork_bar();
        list_append(&registry, &client->registry_link);
        fork_unbar();
    }
    return handlers_error;
}

void fork_forget(hf_client *client)
{
    list_remove(&client->registry_link);
}

void client_add_fork_hook(hf_client *client, struct client_fork_hook *hook)
{
    pthread_mutex_lock(&registry_lock);
    list_append(&client->fork_hooks, &hook->link);
    pthread_mutex_unlock(&registry_lock);
}

void client_remove_fork_hook(hf_client *client, struct client_fork_hook *hook)
{
    (void)client;
    pthread_mutex_lock(&registry_lock);
    list_remove(&hook->link);
    pthread_mutex_unlock(&registry_lock);
}
