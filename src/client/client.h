/*
 * A connection to a server: the socket, the helper thread that reads it, the open handles.
 *
 * One mutex, client->lock, guards everything here that is not marked otherwise, the slow path
 * of every handle included. It is held for microseconds and never while waiting for anybody:
 * a slow step ends in a message on this connection's one socket, where it would queue anyway.
 * The fast path of a held handle does not take it.
 *
 * Lock order: fork registry, open_lock, lock.
 */
#ifndef HF_CLIENT_CLIENT_H
#define HF_CLIENT_CLIENT_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/id_map.h"
#include "base/list.h"
#include "locks/client.h"
#include "sync/client.h"

#include <limits.h>
#include <pthread.h>
#include <sys/types.h>

/*
 * Who reads the socket: a thread that waits for an answer, so that a grant wakes that thread
 * and no other (the leader); else the helper. Both wait on an epoll descriptor with the socket
 * in it as EPOLLEXCLUSIVE, the leader's first: the kernel wakes the first that has a waiter.
 */
struct ready {
    int lead_fd;      /* -1: not to be had here; then the helper always reads */
    int lead_wake_fd; /* an eventfd in lead_fd: wakes the leader for other reasons */
    int follow_fd;
};

struct sleeper;

struct hf_client {
    pthread_mutex_t lock;
    pthread_mutex_t open_lock; /* one open at a time registers a handle at the server */
    uint32_t references;       /* the user's, and one for each handle and cancel token */
    int fd;                    /* non-blocking */
    bool is_socket;
    int wake_fd; /* an eventfd: makes the helper look at the fields below */
    struct ready ready;
    struct sleeper *leader; /* the thread that reads, if one does */
    bool stopping;
    bool write_pending; /* the helper waits for room in the socket */
    pthread_t helper;
    bool has_helper;              /* false in a child that could not start one */
    int error;                    /* why the connection ended; 0 while it stands */
    uint64_t number;              /* that the server gave */
    _Atomic uint64_t heard_ns;    /* when the socket was read last, on the coarse clock */
    _Atomic uint64_t last_object; /* given by client_next_object() */
    struct sync_client core;
    struct id_map handles;
    int out_error;      /* a message could not be queued: the connection must end */
    struct buffer out;  /* frames that the socket had no room for yet */
    uint64_t out_total; /* bytes ever put into @out */
    uint64_t out_sent;  /* of these, bytes the kernel has */
    struct buffer in;
    struct list armed;         /* handles that want a tick */
    struct list cancellable;   /* waits with a cancel token */
    struct list park_requests; /* see park.c */
    uint32_t park_seq;
    pthread_cond_t park_changed; /* a request was answered, or the connection ended */
    struct list stores;          /* see store.h */
    struct list requests;
    struct list idle_uses;
    uint32_t operation_seq;
    struct locks_client locks; /* see locks.h */
    struct list lock_lists;
    pid_t pid; /* to tell others whose locks these are */
    struct list fork_hooks;
    struct list registry_link;
    hf_client_stats stats;
    hf_client_config config; /* name and address point into the strings below */
    char *name;
    char *address;               /* NULL: made from a descriptor */
    atomic_flag claimed;         /* see client_claim_holds() */
    struct fork_copy *fork_copy; /* during a fork: the child's connection */
};

struct hf_sync {
    struct sync_hold hold; /* first: the core's hold is found by it */
    hf_client *client;
    struct list armed_link;
    uint32_t references; /* 0: closed, waits for the server's last answer */
    bool inherited;      /* SHARED use of it goes on in the child of a fork, as one use */
};

/* Does any thread use it SHARED now? */
static inline bool handle_is_shared(const struct hf_sync *handle)
{
    return (atomic_load_explicit(&handle->hold.word, memory_order_relaxed) & SYNC_READERS) != 0;
}

/* It is held for microseconds, often to hand the kernel a message whose answer wakes the helper: so
 * whoever meets it looks again for a moment before it sleeps. */
static inline void client_init_lock(hf_client *client)
{
    client->lock = (pthread_mutex_t)PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
}

struct hf_cancel {
    hf_client *client;
    _Atomic int fired;
};

static inline struct hf_sync *handle_from_hold(struct sync_hold *hold)
{
    return (struct hf_sync *)(void *)hold;
}

static inline struct hf_sync *handle_from_node(struct id_map_node *node)
{
    return (struct hf_sync *)(void *)((char *)node - offsetof(struct hf_sync, hold.node));
}

/* ---- connection.c ---- */

/* Make a client of a connected descriptor, or of one to @address. Arguments and result as those
 * of hf_client_from_fd() and hf_client_connect(). */
int client_new(int fd, const hf_client_config *config, const char *address, hf_client **out);

/* Make a descriptor non-blocking and close-on-exec. Return: 0 or a negative errno. */
int client_prepare_descriptor(int fd);

/* The cores' callback, with @context the client: queue; client_flush() follows. With the lock held. */
void client_queue_message(void *context, const struct wire_message *message);

/* Send what the cores have queued. With the lock held. Blocks only in client_flush_wait(). */
void client_flush(hf_client *client);

/* Wait, dropping the lock meanwhile, until the kernel has all that was queued so far. Looks at
 * most @patience times, a second apart. Return: 0, -ENOTCONN. */
#define CLIENT_WAIT_FOR_EVER UINT_MAX
int client_flush_wait(hf_client *client, unsigned patience);

/* Read all that is there and handle it. With the lock held. */
void client_receive(hf_client *client);

/*
 * Before something is done that others must be able to rely on: after a pause, read first what the
 * server had to say meanwhile. A process that was stopped (SIGSTOP, a debugger, a snapshot of its
 * machine) for longer than the server has patience finds out here that it is no client any more. The
 * server waits for a second at least before it cuts anybody off.
 */
#define CLIENT_PAUSE_NS UINT64_C(500000000)
static inline bool client_paused(const hf_client *client)
{
    return clock_coarse_ns() - atomic_load_explicit(&client->heard_ns, memory_order_relaxed) >
           CLIENT_PAUSE_NS;
}
void client_hear(hf_client *client);
static inline void client_catch_up(hf_client *client)
{
    if (client_paused(client)) {
        client_hear(client);
    }
}

/* The connection is over. With the lock held; the first reason stays. */
void client_lost(hf_client *client, int reason);

void client_disconnect(hf_client *client);

/* Drop a reference without the lock; the last one frees. */
void client_unref(hf_client *client);

/* Make the helper thread look around. Async-signal-safe. */
void client_wake(const hf_client *client);

/* Start the helper thread, with all signals blocked. Return: 0, -EAGAIN. */
int client_start_helper(hf_client *client);

/* ---- handshake.c ---- */

/* A socket, and its connecting to "unix:PATH". Return: the descriptor; 0; or a negative errno. */
int client_socket(void);
int client_connect_socket(int fd, const char *address, uint64_t deadline_ns);

/* When connecting and the handshake, beginning now, must be done. */
uint64_t client_connect_deadline_ns(const hf_client_config *config);

/* What a GOODBYE for this reason means here: a negative errno. */
int client_goodbye_error(uint8_t reason);

/* Say hello on a non-blocking @fd, wait for the answer. Return: 0 with *number set. */
int client_handshake(int fd, const char *name, uint64_t deadline_ns, uint64_t *number);

/* Read one message of the server's, waiting for it. @in may have more than that
 * afterwards. The message's data is valid until @in is used again. */
int client_read_message(int fd, struct buffer *in, uint64_t deadline_ns,
                        struct wire_message *message);

/* Write it all, waiting for room. */
int client_write_message(int fd, const struct wire_message *message, uint64_t deadline_ns);

/* ---- handle.c ---- */

/* A number for something of this client's, never given twice. */
static inline uint64_t client_next_object(hf_client *client)
{
    return atomic_fetch_add_explicit(&client->last_object, 1, memory_order_relaxed) + 1;
}

/* Of those that cache by the client's holds there is one at most: two would share the holds, and not
 * hear of each other's changes. Return: false when there is one already. */
static inline bool client_claim_holds(hf_client *client)
{
    return !atomic_flag_test_and_set(&client->claimed);
}

static inline void client_unclaim_holds(hf_client *client)
{
    atomic_flag_clear(&client->claimed);
}

/* hf_sync_open() without the check for reserved spaces. */
int client_open_reserved(hf_client *client, hf_id id, unsigned flags, hf_sync **out);

void client_close(hf_sync *handle);

/* The number of the hold that the calling thread uses. EXCLUSIVE with the same number as before
 * is EXCLUSIVE ever since. */
static inline uint64_t client_grant(const hf_sync *handle)
{
    return handle->hold.grant;
}

/* The same, and ask the server for a hold in @mode before any thread needs it (see
 * sync_hold_ask()): what these have to say is sent with the next message of the connection, or
 * by client_send_queued(), so that many cost one system call. The caller has a reference to the
 * client. They never block; without memory or room in the socket nothing is asked. */
void client_close_quietly(hf_sync *handle);
void client_ask_ahead(hf_sync *handle, hf_mode mode);
void client_send_queued(hf_client *client);

/* The slow path of acquire; @left_attention as the fast path reported it. */
int client_acquire(hf_sync *handle, hf_mode mode, const hf_wait_opts *opts, bool left_attention);
int client_upgrade(hf_sync *handle, const hf_wait_opts *opts);

/* The other slow steps: each takes the lock, runs the core, sends what came of it. */
void client_left(hf_sync *handle);
int client_leave_dirty(hf_sync *handle);
int client_downgrade(hf_sync *handle);
int client_set_value(hf_sync *handle, const void *data, uint16_t size);
int client_publish(hf_sync *handle);
int client_yield(hf_sync *handle, hf_mode mode);

/* Free a handle that is closed and done. With the lock held. */
void client_reap(hf_client *client, hf_sync *handle);

/* ---- wait.c ---- */

/* A thread that waits until it is woken. Whoever waits first reads the socket meanwhile. */
struct sleeper {
    _Atomic uint32_t phase; /* a futex */
};

void sleeper_init(struct sleeper *sleeper);

/* With the lock held. What it waits for is there, so it has to be woken once. */
void sleeper_wake(hf_client *client, struct sleeper *sleeper);

/* Wait for that or the deadline (on CLOCK_MONOTONIC; 0: none). With the lock held, which is dropped
 * meanwhile. Return: false when it was not woken so far. */
bool sleeper_wait(hf_client *client, struct sleeper *sleeper, uint64_t deadline_ns);

/* A thread that waits for its sync_waiter to become final. */
struct wait {
    struct sync_waiter waiter; /* first: found by it */
    struct sleeper sleeper;
    struct list cancel_link; /* client->cancellable */
    hf_cancel *cancel;
    hf_sync *handle;
    uint64_t queued_before; /* client->out_total when it began */
};

/* With the lock held. */
void wait_init(struct wait *wait, hf_sync *handle, hf_mode mode, const hf_wait_opts *opts);

/* The core's callback. With the lock held. */
void wait_wake(void *client, struct sync_waiter *waiter);

/* Send what was queued since wait_init(), and wait until the waiter is final. Called with the lock
 * held, returns without it. Return: the waiter's result. */
int wait_finish(struct wait *wait, const hf_wait_opts *opts);

/* End the waits whose token was fired. With the lock held. */
void wait_check_cancelled(hf_client *client, uint64_t now_ns);

/* ---- ready.c ---- */

/* Return: 0, or a negative errno with nothing to deinit. @wake_fd wakes the helper. */
int ready_init(struct ready *ready, int socket_fd, int wake_fd);
void ready_deinit(struct ready *ready);

/* The helper: sleep until the socket can be read and no leader is there to do it, or @wake_fd
 * can be read, or @timeout (NULL: none) has passed. */
void ready_follow(const struct ready *ready, int wake_fd, const struct timespec *timeout);

/* Make an eventfd unreadable again. */
void ready_drain(int wake_fd);

/* The leader: sleep until the socket can be read, ready_wake_leader() or the deadline (on
 * CLOCK_MONOTONIC; 0: none). It must read the socket afterwards, whatever woke it: the helper
 * was not told. */
void ready_lead(const struct ready *ready, uint64_t deadline_ns);
void ready_wake_leader(const struct ready *ready);

/* ---- fork.c ---- */

/* Called around a fork: prepare in the parent, before anything is locked, so it may use the
 * client; then parent or child. */
struct client_fork_hook {
    struct list link;
    int (*prepare)(struct client_fork_hook *hook);
    void (*parent)(struct client_fork_hook *hook);
    void (*child)(struct client_fork_hook *hook);
};

void client_add_fork_hook(hf_client *client, struct client_fork_hook *hook);
void client_remove_fork_hook(hf_client *client, struct client_fork_hook *hook);

/* Make the client take part in forks. It does so from before it has a descriptor, so that no
 * child keeps one that it does not know of. */
int fork_register(hf_client *client);

/* No fork happens in between. What is made or closed here is in no child by accident. */
void fork_bar(void);
void fork_unbar(void);

/* Between these: the client takes part no longer. */
void fork_forget(hf_client *client);

#endif
