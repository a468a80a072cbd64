/*
 * The connection's two directions: messages out, from any thread under the lock, and the
 * helper thread that reads what comes in, because recalls arrive unasked.
 */
#include "base/clock.h"
#include "client/client.h"
#include "client/locks.h"
#include "client/park.h"
#include "client/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Frames waiting for room in the socket: at most a few for each open handle. */
#define OUT_LIMIT ((size_t)1 << 30)

/* An orderly departure waits this long, in seconds, for a server that does not read. */
#define GIVE_BACK_PATIENCE 5

/* What one read takes. */
#define READ_SIZE ((size_t)65536)

static int read_once(hf_client *client, size_t *size);
static void dispatch(hf_client *client);

/* ---- out ---- */

static void count_sent(hf_client_stats *stats, enum wire_kind kind)
{
    switch (kind) {
    case WIRE_ACQUIRE:
        stats->acquires_sent++;
        break;
    case WIRE_RELEASE:
        stats->releases_sent++;
        break;
    case WIRE_LOCK:
    case WIRE_LOCK_CANCEL:
    case WIRE_LOCK_RETURN:
    case WIRE_LOCK_LIST:
        stats->locks_sent++;
        break;
    default:
        stats->cancels_sent++;
        break;
    }
}

void client_queue_message(void *context, const struct wire_message *message)
{
    hf_client *client = context;
    if (client->error != 0 || client->out_error != 0) {
        return;
    }
    size_t size = wire_size(message);
    uint8_t *room = buffer_reserve(&client->out, size);
    if (room == NULL) {
        client->out_error = -errno; /* to go on would be to break the protocol */
        return;
    }
    wire_encode(message, room);
    buffer_commit(&client->out, size);
    client->out_total += size;
    count_sent(&client->stats, message->kind);
}

static ssize_t write_some(const hf_client *client)
{
    const uint8_t *data = buffer_data(&client->out);
    size_t size = client->out.length;
    if (client->is_socket) {
        return send(client->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return write(client->fd, data, size);
}

/* The server has gone. What it said before, as the reason, may still be there to read. */
static void hear_last_words(hf_client *client)
{
    size_t got = 1;
    int reason = 0;
    while (client->error == 0 && reason == 0 && got > 0) {
        reason = read_once(client, &got);
        dispatch(client);
    }
    client_lost(client, reason != 0 ? reason : -ECONNRESET);
}

/* Hand the kernel what it takes. Return: false when it takes no more now. */
static bool flush_some(hf_client *client)
{
    if (client->out_error != 0) {
        client_lost(client, client->out_error);
    }
    if (client->out.length > 0) {
        client_stores_flush(client);
    }
    while (client->out.length > 0 && client->error == 0) {
        ssize_t sent = write_some(client);
        if (sent >= 0) {
            buffer_consume(&client->out, (size_t)sent);
            client->out_sent += (uint64_t)sent;
        } else if (errno == EAGAIN) {
            return false;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            hear_last_words(client);
        } else if (errno != EINTR) {
            client_lost(client, -errno);
        }
    }
    client->write_pending = false;
    return true;
}

void client_flush(hf_client *client)
{
    if (!flush_some(client) && !client->write_pending) {
        client->write_pending = true;
        client_wake(client);
    }
}

int client_flush_wait(hf_client *client, unsigned patience)
{
    uint64_t goal = client->out_total;
    bool room = flush_some(client);
    while (client->error == 0 && client->out_sent < goal && patience-- > 0) {
        struct pollfd item = {.fd = client->fd, .events = POLLOUT};
        pthread_mutex_unlock(&client->lock);
        (void)poll(&item, 1, 1000); /* another thread may flush first */
        pthread_mutex_lock(&client->lock);
        room = flush_some(client);
    }
    if (!room) {
        client_flush(client); /* what is left is the helper's */
    }
    /* What could not be queued is not in the goal. */
    return client->out_error == 0 && client->out_sent >= goal ? 0 : -ENOTCONN;
}

/* ---- the end ---- */

void client_lost(hf_client *client, int reason)
{
    if (client->error != 0) {
        return;
    }
    client->error = reason;
    shutdown(client->fd, SHUT_RDWR);
    struct id_map_node *node = id_map_next(&client->handles, NULL);
    while (node != NULL) {
        hf_sync *handle = handle_from_node(node);
        node = id_map_next(&client->handles, node);
        sync_hold_disconnect(&client->core, &handle->hold, -ENOTCONN);
        if (handle->references == 0) {
            client_reap(client, handle);
        }
    }
    park_lost(client);
    client_stores_lost(client);
    client_locks_lost(client);
    client_wake(client);
}

/* Give back what no thread uses, so that the server sees an orderly departure. */
static void give_back(hf_client *client)
{
    struct id_map_node *node = NULL;
    while ((node = id_map_next(&client->handles, node)) != NULL) {
        struct sync_hold *hold = &handle_from_node(node)->hold;
        if (sync_hold_yield(&client->core, hold, HF_INVALID, 0) != 0) {
            /* Threads that read must not make it look as if one wrote. */
            (void)sync_hold_yield(&client->core, hold, HF_SHARED, 0);
        }
    }
    (void)client_flush_wait(client, GIVE_BACK_PATIENCE);
}

void client_disconnect(hf_client *client)
{
    pthread_mutex_lock(&client->lock);
    if (client->error == 0) {
        give_back(client);
        client_lost(client, -ENOTCONN);
    }
    pthread_mutex_unlock(&client->lock);
}

/* The descriptors and the client's part in forks end together, so that no child keeps any. */
static void close_descriptors(hf_client *client)
{
    fork_bar();
    fork_forget(client);
    if (client->wake_fd >= 0) {
        close(client->wake_fd);
    }
    ready_deinit(&client->ready);
    if (client->fd >= 0) {
        close(client->fd);
    }
    fork_unbar();
}

static void client_free(hf_client *client)
{
    close_descriptors(client);
    pthread_cond_destroy(&client->park_changed);
    pthread_mutex_destroy(&client->lock);
    pthread_mutex_destroy(&client->open_lock);
    assert(client->handles.count == 0);
    id_map_deinit(&client->handles);
    locks_client_deinit(&client->locks);
    buffer_deinit(&client->in);
    buffer_deinit(&client->out);
    free(client->name);
    free(client->address);
    free(client);
}

void client_unref(hf_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool last = --client->references == 0;
    pthread_mutex_unlock(&client->lock);
    if (!last) {
        return;
    }
    client_disconnect(client);
    pthread_mutex_lock(&client->lock);
    client->stopping = true;
    pthread_mutex_unlock(&client->lock);
    if (client->has_helper) {
        client_wake(client);
        pthread_join(client->helper, NULL);
    }
    client_free(client);
}

/* ---- the helper thread ---- */

void client_wake(const hf_client *client)
{
    uint64_t one = 1;
    int saved_errno = errno;
    ssize_t written = write(client->wake_fd, &one, sizeof(one));
    (void)written; /* it fails only when the counter is full, and then it wakes anyway */
    errno = saved_errno;
}

/* The core's callback: keep the list of handles that want a tick. */
static void arm(void *context, struct sync_hold *hold)
{
    hf_client *client = context;
    hf_sync *handle = handle_from_hold(hold);
    list_remove(&handle->armed_link);
    if (hold->tick_ns != 0) {
        list_append(&client->armed, &handle->armed_link);
        if (client->leader != NULL) {
            client_wake(client); /* the helper may sleep past it */
        }
    }
}

static void run_ticks(hf_client *client, uint64_t now_ns)
{
    struct list due;
    list_init(&due);
    for (struct list *link = client->armed.next; link != &client->armed;) {
        hf_sync *handle = list_entry(link, hf_sync, armed_link);
        link = link->next;
        if (handle->hold.tick_ns <= now_ns) {
            list_remove(&handle->armed_link);
            list_append(&due, &handle->armed_link);
        }
    }
    struct list *link;
    while ((link = list_first(&due)) != NULL) {
        hf_sync *handle = list_entry(link, hf_sync, armed_link);
        list_remove(link);
        sync_hold_tick(&client->core, &handle->hold, now_ns);
    }
}

/* How long to wait for the next tick: NULL for ever. */
static struct timespec *next_tick(hf_client *client, struct timespec *timeout)
{
    uint64_t earliest_ns = 0;
    for (struct list *link = client->armed.next; link != &client->armed; link = link->next) {
        uint64_t tick_ns = list_entry(link, hf_sync, armed_link)->hold.tick_ns;
        if (earliest_ns == 0 || tick_ns < earliest_ns) {
            earliest_ns = tick_ns;
        }
    }
    if (earliest_ns == 0) {
        return NULL;
    }
    uint64_t now_ns = clock_now_ns();
    uint64_t left_ns = earliest_ns > now_ns ? earliest_ns - now_ns : 0;
    timeout->tv_sec = (time_t)(left_ns / UINT64_C(1000000000));
    timeout->tv_nsec = (long)(left_ns % UINT64_C(1000000000));
    return timeout;
}

static void on_message(hf_client *client, const struct wire_message *message, uint64_t now_ns)
{
    if (message->kind == WIRE_GOODBYE) {
        client_lost(client, client_goodbye_error(message->reason));
        return;
    }
    if (message->kind == WIRE_PARKED && park_answered(client, message)) {
        client->stats.parked_received++;
        return;
    }
    if (message->kind == WIRE_ANSWER || message->kind == WIRE_FAILED ||
        message->kind == WIRE_RECLAIM) {
        client->stats.answers_received++;
        if (!client_stores_input(client, message)) {
            client_lost(client, -EPROTO);
        }
        return;
    }
    if (message->kind == WIRE_LOCKED || message->kind == WIRE_LOCK_RECALL ||
        message->kind == WIRE_LOCK_LISTED) {
        client->stats.locked_received++;
        const int result = client_locks_input(client, message);
        if (result < 0) {
            client_lost(client, result);
        }
        return;
    }
    if (message->kind == WIRE_GRANT && message->data_size <= HF_VALUE_MAX) {
        client->stats.grants_received++;
    } else if (message->kind == WIRE_RECALL) {
        client->stats.recalls_received++;
    } else {
        client_lost(client, -EPROTO);
        return;
    }
    struct id_map_node *node = id_map_find(&client->handles, message->id);
    if (node == NULL) {
        if (message->kind == WIRE_GRANT) {
            client_lost(client, -EPROTO); /* an answer to a question nobody asked */
        }
        return; /* a RECALL that crossed our last RELEASE */
    }
    hf_sync *handle = handle_from_node(node);
    if (!sync_hold_input(&client->core, &handle->hold, message, now_ns)) {
        client_lost(client, -EPROTO);
    } else if (handle->references == 0 && sync_hold_is_done(&handle->hold)) {
        client_reap(client, handle);
    }
}

/* Handle all whole frames in client->in. With the lock held. */
static void dispatch(hf_client *client)
{
    uint64_t now_ns = clock_now_ns();
    while (client->error == 0 && client->in.length > 0) {
        struct wire_message message;
        size_t consumed = 0;
        enum wire_verdict verdict = wire_decode(buffer_data(&client->in),
                                                client->in.length,
                                                WIRE_FRAME_MAX,
                                                TO_CLIENT,
                                                &message,
                                                &consumed);
        if (verdict == WIRE_INCOMPLETE) {
            return;
        }
        if (verdict != WIRE_OK) {
            client_lost(client, -EPROTO);
            return;
        }
        on_message(client, &message, now_ns);
        buffer_consume(&client->in, consumed);
    }
}

/* Read once. Return: 0, or the reason why the connection is over. */
static int read_once(hf_client *client, size_t *size)
{
    *size = 0;
    uint8_t *room = buffer_reserve(&client->in, READ_SIZE);
    if (room == NULL) {
        return -errno;
    }
    ssize_t got = read(client->fd, room, READ_SIZE);
    if (got > 0) {
        buffer_commit(&client->in, (size_t)got);
        *size = (size_t)got;
        return 0;
    }
    if (got == 0) {
        return -ECONNRESET;
    }
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

void client_receive(hf_client *client)
{
    const uint64_t now_ns =
        clock_coarse_ns(); /* before: what comes later is not read for certain */
    size_t got = READ_SIZE;
    while (got == READ_SIZE && client->error == 0) {
        int reason = read_once(client, &got);
        dispatch(client);
        if (reason != 0) {
            client_lost(client, reason);
        }
    }
    atomic_store_explicit(&client->heard_ns, now_ns, memory_order_relaxed);
    client_flush(client);
}

void client_hear(hf_client *client)
{
    pthread_mutex_lock(&client->lock);
    client_receive(client);
    pthread_mutex_unlock(&client->lock);
}

/* The rarer waits of the helper: for room in the socket, or only to be told to stop. */
static void helper_poll(const hf_client *client, bool alive, bool write_pending,
                        const struct timespec *timeout)
{
    struct pollfd items[2] = {
        {.fd = alive ? client->ready.follow_fd : client->wake_fd, .events = POLLIN},
        {.fd = alive && write_pending ? client->fd : -1, .events = POLLOUT},
    };
    (void)ppoll(items, 2, timeout, NULL);
    ready_drain(client->wake_fd);
}

/* Sleep until there is something for the helper to do. With the lock held. */
static void helper_wait(hf_client *client)
{
    struct timespec timeout;
    struct timespec *left = next_tick(client, &timeout);
    bool alive = client->error == 0; /* a dead socket would be ready for ever */
    bool write_pending = client->write_pending;
    pthread_mutex_unlock(&client->lock);
    if (alive && !write_pending) {
        ready_follow(&client->ready, client->wake_fd, left);
    } else {
        helper_poll(client, alive, write_pending, left);
    }
    pthread_mutex_lock(&client->lock);
}

static void *helper_main(void *argument)
{
    hf_client *client = argument;
    /* Ticks are tens of microseconds; the default slack would double them. */
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    pthread_mutex_lock(&client->lock);
    while (!client->stopping) {
        helper_wait(client);
        client_receive(client);
        if (!list_is_empty(&client->cancellable)) {
            wait_check_cancelled(client, clock_now_ns());
        }
        client_locks_check_cancelled(client);
        if (!list_is_empty(&client->armed)) {
            run_ticks(client, clock_now_ns());
        }
        client_flush(client);
    }
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

int client_start_helper(hf_client *client)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&client->helper, NULL, helper_main, client);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? 0 : -EAGAIN;
}

/* ---- the beginning ---- */

static int copy_config(hf_client *client, const hf_client_config *config, const char *address)
{
    const hf_client_config defaults = HF_CLIENT_CONFIG_INIT;
    client->config = config == NULL ? defaults : *config;
    if (client->config.size != sizeof(hf_client_config) ||
        (config != NULL && config->name != NULL && strlen(config->name) > HF_NAME_MAX)) {
        return -EINVAL;
    }
    if (client->config.name != NULL) {
        client->name = strdup(client->config.name);
    } else if (asprintf(&client->name, "pid %d", (int)getpid()) < 0) {
        client->name = NULL;
    }
    client->address = address == NULL ? NULL : strdup(address);
    client->config.name = client->name;
    return client->name == NULL || (address != NULL && client->address == NULL) ? -ENOMEM : 0;
}

int client_prepare_descriptor(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return -errno;
    }
    return 0;
}

/* Everything but the connection. */
static int client_init(hf_client *client, const hf_client_config *config, const char *address)
{
    client->fd = -1;
    client->wake_fd = -1;
    client->ready = (struct ready){-1, -1, -1};
    client->references = 1;
    atomic_flag_clear(&client->claimed);
    client->error = -ENOTCONN; /* so far; and a child of a fork gets none */
    client_init_lock(client);
    pthread_mutex_init(&client->open_lock, NULL);
    list_init(&client->armed);
    list_init(&client->cancellable);
    park_reset(client);
    list_init(&client->stores);
    client_stores_reset(client);
    list_init(&client->fork_hooks);
    list_init(&client->registry_link);
    buffer_init(&client->out, OUT_LIMIT);
    buffer_init(&client->in, READ_SIZE + WIRE_LENGTH_BYTES + WIRE_FRAME_MAX);
    client->core = (struct sync_client){
        .send = client_queue_message,
        .wake = wait_wake,
        .arm = arm,
        .context = client,
    };
    int error = id_map_init(&client->handles);
    if (error == 0) {
        error = client_locks_init(client);
    }
    if (error == 0) {
        error = copy_config(client, config, address);
    }
    if (error == 0) {
        client->core.quantum_ns = client->config.quantum_ns;
        client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        error = client->wake_fd < 0 ? -errno : fork_register(client);
    }
    return error;
}

/* From here on children know of the descriptor and close it. */
static int get_descriptor(hf_client *client, int fd)
{
    fork_bar();
    client->fd = fd >= 0 ? fd : client_socket();
    int error = client->fd < 0 ? client->fd : 0;
    fork_unbar();
    return error;
}

static bool is_socket(int fd)
{
    int is_listening = 0;
    socklen_t size = sizeof(is_listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 ||
           errno != ENOTSOCK;
}

static int client_open(hf_client *client, int fd, const char *address)
{
    uint64_t deadline_ns = client_connect_deadline_ns(&client->config);
    int error = get_descriptor(client, fd);
    if (error == 0 && address != NULL) {
        error = client_connect_socket(client->fd, address, deadline_ns);
    }
    if (error == 0) {
        error = client_prepare_descriptor(client->fd);
    }
    if (error == 0) {
        error = ready_init(&client->ready, client->fd, client->wake_fd);
    }
    if (error == 0) {
        client->is_socket = is_socket(client->fd);
        error = client_handshake(client->fd, client->name, deadline_ns, &client->number);
    }
    if (error == 0) {
        /* One step for a fork: the connection stands, and somebody reads. */
        pthread_mutex_lock(&client->lock);
        error = client_start_helper(client);
        client->has_helper = error == 0;
        client->error = error == 0 ? 0 : client->error;
        pthread_mutex_unlock(&client->lock);
    }
    return error;
}

int client_new(int fd, const hf_client_config *config, const char *address, hf_client **out)
{
    hf_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return -ENOMEM;
    }
    int error = client_init(client, config, address);
    if (error == 0) {
        error = client_open(client, fd, address);
    }
    if (error != 0) {
        if (client->fd == fd) {
            client->fd = -1; /* it is the caller's */
        }
        client_free(client);
        return error;
    }
    *out = client;
    return 0;
}
