/*
 * The public functions, config.c's apart: arguments, threads, and what reaches the loop from
 * outside of it.
 */
#include "server/mounts.h"
#include "server/server.h"
#include "wire/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Dispatching once may leave something that can be done at once, as watching a new peer. More
 * than a few rounds is work that came meanwhile, and the caller's turn. */
#define DISPATCH_ROUNDS 4

static void send_to_peer(void *context, struct sync_peer *sync, const struct wire_message *message)
{
    struct hf_server *server = context;
    if (sync == &server->served.taker) {
        served_granted(server, message);
    } else {
        peer_send(list_entry(sync, struct peer, sync), message);
    }
}

static void close_table(struct hf_server *server)
{
    park_deinit(server);
    file_locks_deinit(server);
    served_deinit(server);
    keeper_deinit(&server->keeper, &server->table);
    sync_server_deinit(&server->table);
}

static int open_table(struct hf_server *server)
{
    const hf_limits *limits = &server->settings.limits;
    const struct sync_server_limits table_limits = {
        .handles = limits->handles,
        .queued = limits->queued,
        .value_bytes = limits->value_bytes,
        .owner_died_marks = limits->owner_died_marks,
    };
    int failure = sync_server_init(&server->table, &table_limits, send_to_peer, server);
    if (failure != 0) {
        return failure;
    }
    failure = keeper_init(&server->keeper);
    if (failure != 0) {
        goto no_keeper;
    }
    failure = park_init(&server->park, limits->parked);
    if (failure != 0) {
        goto no_park;
    }
    failure = file_locks_init(server);
    if (failure != 0) {
        goto no_locks;
    }
    /* The mounts stay when no client is there. */
    failure = server_keep(server, WIRE_MOUNTS_ID);
    if (failure != 0) {
        close_table(server);
    }
    return failure;
no_locks:
    park_deinit(server);
no_park:
    keeper_deinit(&server->keeper, &server->table);
no_keeper:
    sync_server_deinit(&server->table);
    return failure;
}

static int init_locks(struct hf_server *server)
{
    if (pthread_mutex_init(&server->mutex, NULL) != 0) {
        return -ENOMEM;
    }
    if (pthread_mutex_init(&server->run_mutex, NULL) != 0) {
        pthread_mutex_destroy(&server->mutex);
        return -ENOMEM;
    }
    return 0;
}

/* The socket's mode keeps out whom the server would not admit, where that is one uid. */
static int open_listener(struct hf_server *server, const hf_server_config *config)
{
    if (config->listen == NULL) {
        return 0;
    }
    const mode_t mode = config->allow_uid_count > 0 ? 0666 : 0600;
    return listener_open(&server->listener, &server->guard, config->listen, mode);
}

static int open_server(struct hf_server *server, const hf_server_config *config)
{
    int failure = settings_init(&server->settings, config);
    if (failure != 0) {
        return failure;
    }
    failure = fork_guard_init(&server->guard);
    if (failure != 0) {
        goto no_guard;
    }
    failure = init_locks(server);
    if (failure != 0) {
        goto no_locks;
    }
    failure = open_table(server);
    if (failure != 0) {
        goto no_table;
    }
    failure = server_open_mounts(server, config);
    if (failure != 0) {
        goto no_mounts;
    }
    failure = open_listener(server, config);
    if (failure != 0) {
        goto no_mounts;
    }
    failure = server_open_loop(server);
    if (failure == 0) {
        /* Let the kernel know what to watch: an embedder may poll the descriptor next. */
        server_run(server, UV_RUN_NOWAIT);
        return 0;
    }
    server_close_loop(server);
    server->spare_fd = fork_guard_close(&server->guard, server->spare_fd);
    listener_close(&server->listener, &server->guard);
no_mounts:
    close_table(server);
no_table:
    pthread_mutex_destroy(&server->mutex);
    pthread_mutex_destroy(&server->run_mutex);
no_locks:
    fork_guard_deinit(&server->guard);
no_guard:
    settings_deinit(&server->settings);
    return failure;
}

int hf_server_new(const hf_server_config *config, hf_server **out)
{
    hf_server_config defaults;
    if (config == NULL) {
        hf_server_config_init(&defaults);
        config = &defaults;
    }
    struct hf_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return -ENOMEM;
    }
    served_init(&server->served);
    server->listener = (struct listener){.fd = -1, .folder_fd = -1, .lock_fd = -1};
    server->spare_fd = -1;
    list_init(&server->peers);
    list_init(&server->greeting);
    list_init(&server->to_flush);
    list_init(&server->ended);
    list_init(&server->arrivals);
    server->scratch = malloc(PEER_SCRATCH_BYTES);
    int failure = server->scratch != NULL ? open_server(server, config) : -ENOMEM;
    if (failure != 0) {
        free(server->scratch);
        free(server);
        return failure;
    }
    *out = server;
    return 0;
}

/* ---- driving it ---- */

/* A directory that is made in one of the host's gets its mode at once, so that none is left without if
 * the process is killed. The umask of the other threads stays what it is. */
static void have_no_umask(void)
{
    if (unshare(CLONE_FS) == 0) {
        umask(0);
    }
}

static void *run_thread(void *argument)
{
    have_no_umask();
    server_run(argument, UV_RUN_DEFAULT);
    return NULL;
}

static bool is_stopping(struct hf_server *server)
{
    pthread_mutex_lock(&server->mutex);
    const bool stopping = server->stopping;
    pthread_mutex_unlock(&server->mutex);
    return stopping;
}

static int start_thread(struct hf_server *server)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&server->thread, NULL, run_thread, server);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        return -EAGAIN;
    }
    pthread_setname_np(server->thread, "holdfast-server");
    server->has_thread = true;
    return 0;
}

int hf_server_start(hf_server *server)
{
    if (server->guard.in_child) {
        return -ESHUTDOWN;
    }
    pthread_mutex_lock(&server->run_mutex);
    int result = -EBUSY;
    if (!server->has_thread) {
        result = is_stopping(server) ? -ESHUTDOWN : start_thread(server);
    }
    pthread_mutex_unlock(&server->run_mutex);
    return result;
}

int hf_server_fd(const hf_server *server)
{
    return server->guard.in_child ? -ESHUTDOWN : uv_backend_fd(server->loop);
}

int hf_server_timeout_ms(const hf_server *server)
{
    if (server->guard.in_child) {
        return -1;
    }
    /* The time left counts from the loop's idea of now, which may be that of its last turn. */
    uv_update_time(server->loop);
    return uv_backend_timeout(server->loop);
}

int hf_server_dispatch(hf_server *server)
{
    if (server->guard.in_child) {
        return -ESHUTDOWN;
    }
    if (server_is_running_here(server)) {
        return -EBUSY;
    }
    pthread_mutex_lock(&server->run_mutex);
    int result = 0;
    if (server->has_thread) {
        result = -EBUSY;
    } else if (server->closed) {
        result = -ESHUTDOWN;
    } else {
        for (int round = 0; round < DISPATCH_ROUNDS; round++) {
            server_run(server, UV_RUN_NOWAIT);
            if (server->closed || uv_backend_timeout(server->loop) != 0) {
                break;
            }
        }
        if (is_stopping(server)) {
            server_run(server, UV_RUN_DEFAULT);
            result = -ESHUTDOWN;
        }
    }
    pthread_mutex_unlock(&server->run_mutex);
    return result;
}

void hf_server_stop(hf_server *server)
{
    if (server->guard.in_child) {
        return;
    }
    pthread_mutex_lock(&server->mutex);
    if (!server->stopping) {
        server->stopping = true;
        uv_async_send(&server->wake);
    }
    pthread_mutex_unlock(&server->mutex);
    if (server_is_running_here(server)) {
        return; /* called back from the loop, which ends after this */
    }

    pthread_mutex_lock(&server->run_mutex);
    if (server->has_thread) {
        pthread_join(server->thread, NULL);
        server->has_thread = false;
    } else if (!server->closed) {
        server_run(server, UV_RUN_DEFAULT);
    }
    pthread_mutex_unlock(&server->run_mutex);
}

hf_server *hf_server_free(hf_server *server)
{
    /* In a child the loop's thread may have been anywhere at the fork: nothing of it may be
     * touched, so the memory stays until the child ends. */
    if (server == NULL || server->guard.in_child) {
        return NULL;
    }
    hf_server_stop(server);
    server_close_loop(server);
    close_table(server);
    fork_guard_deinit(&server->guard);
    settings_deinit(&server->settings);
    pthread_mutex_destroy(&server->mutex);
    pthread_mutex_destroy(&server->run_mutex);
    free(server->scratch);
    free(server);
    return NULL;
}

/* ---- connections that the embedder brings ---- */

/* Can the loop watch it, and bytes go both ways in order? */
static int check_stream(int fd, bool *is_socket)
{
    struct stat status;
    int type = 0, listening = 0;
    socklen_t size = sizeof(int);
    if (fstat(fd, &status) != 0) {
        return -EBADF;
    }
    *is_socket = S_ISSOCK(status.st_mode);
    if (*is_socket) {
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
        return type == SOCK_STREAM && listening == 0 ? 0 : -EINVAL;
    }
    if (!S_ISCHR(status.st_mode)) {
        return -EINVAL;
    }
    int probe = epoll_create1(EPOLL_CLOEXEC);
    if (probe < 0) {
        return -errno;
    }
    struct epoll_event event = {.events = EPOLLIN};
    int result = epoll_ctl(probe, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -EINVAL;
    close(probe);
    return result;
}

/* Hand a descriptor that the guard keeps to the loop. On failure it is the caller's. */
static int hand_over(struct hf_server *server, int fd, bool is_socket)
{
    struct peer *peer = peer_new(server, fd, is_socket);
    if (peer == NULL) {
        return -ENOMEM;
    }
    if (is_socket) {
        peer_identify(peer);
    }
    pthread_mutex_lock(&server->mutex);
    const bool stopping = server->stopping;
    if (!stopping) {
        list_append(&server->arrivals, &peer->link);
        uv_async_send(&server->wake);
    }
    pthread_mutex_unlock(&server->mutex);
    if (stopping) {
        free(peer);
        return -ESHUTDOWN;
    }
    return 0;
}

int hf_server_dial(void *server)
{
    return hf_server_connect(server);
}

int hf_server_adopt(hf_server *server, int fd)
{
    bool is_socket = false;
    if (server->guard.in_child) {
        return -ESHUTDOWN;
    }
    int result = check_stream(fd, &is_socket);
    if (result != 0) {
        return result;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (is_socket) {
        /* Messages are small and somebody waits for each; on other sockets than TCP it fails. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    }

    fork_guard_lock();
    result = fork_guard_adopt(&server->guard, fd);
    fork_guard_unlock();
    if (result != 0) {
        return result;
    }
    result = hand_over(server, fd, is_socket);
    if (result != 0) {
        fork_guard_lock();
        fork_guard_forget(&server->guard, fd);
        fork_guard_unlock();
    }
    return result;
}

int hf_server_connect(hf_server *server)
{
    int ends[2];
    if (server->guard.in_child) {
        return -ESHUTDOWN;
    }
    fork_guard_lock();
    int result = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : -errno;
    if (result == 0) {
        result = fork_guard_keep(&server->guard, ends[0]);
        if (result < 0) {
            close(ends[1]);
        }
    }
    fork_guard_unlock();
    if (result < 0) {
        return result;
    }
    result = hand_over(server, ends[0], true);
    if (result != 0) {
        close(ends[1]);
        fork_guard_close(&server->guard, ends[0]);
        return result;
    }
    return ends[1];
}

void hf_server_get_stats(hf_server *server, hf_server_stats *out)
{
    *out = (hf_server_stats){0};
    if (server->guard.in_child) {
        return;
    }
    pthread_mutex_lock(&server->mutex);
    *out = server->stats;
    pthread_mutex_unlock(&server->mutex);
    out->unsent_bytes = atomic_load_explicit(&server->unsent_bytes, memory_order_relaxed);
}
