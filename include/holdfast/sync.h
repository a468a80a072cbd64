/*
 * Sync handles: distributed locks with a small value.
 *
 * A process connects to a Holdfast server as a client and opens sync handles in it. A handle
 * is held in SHARED or EXCLUSIVE mode. What a client holds stays with it after release, so
 * that the next acquire costs no message and no system call; when another client needs the
 * handle the server recalls it. Between the threads of one process a handle is a
 * readers-writer lock.
 *
 * Every function here may be called from any thread. None may be called from a signal
 * handler, hf_cancel_fire() apart. Errors are negative errno values. A call that may block
 * says so; all others return at once.
 */
#ifndef HOLDFAST_SYNC_H
#define HOLDFAST_SYNC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_PUBLIC __attribute__((visibility("default")))

/* The largest value a sync handle carries, in bytes. */
#define HF_VALUE_MAX 4096

/* The longest name hf_sync_open_name() takes, in bytes without the NUL. */
#define HF_NAME_MAX 255

/* Identifiers whose space has this bit set belong to Holdfast itself (names, files). */
#define HF_SPACE_RESERVED (UINT64_C(1) << 63)

/* The process's connection to a server, with its helper thread. Reference counted. */
typedef struct hf_client hf_client;

/* A sync handle as this client sees it. Reference counted. */
typedef struct hf_sync hf_sync;

/* Something that ends waits early; see hf_cancel_new(). */
typedef struct hf_cancel hf_cancel;

/* What a sync handle is called: 128 bits that mean the same to every client of a server. */
typedef struct hf_id {
    uint64_t space;
    uint64_t object;
} hf_id;

typedef enum hf_mode {
    HF_INVALID = 0,
    HF_SHARED = 1,
    HF_EXCLUSIVE = 2,
} hf_mode;

/* What a successful acquire says. HF_CHANGED and HF_OWNER_DIED are bits. */
#define HF_UNCHANGED 0
#define HF_CHANGED 1
#define HF_OWNER_DIED 2

/* hf_sync_open(): the handle is a pure lock; it carries no value. */
#define HF_SYNC_LOCK 1u

/* hf_wait_opts.flags: do not wait for other threads, here or in another client, to finish. */
#define HF_NOWAIT 1u

typedef struct hf_wait_opts {
    uint64_t deadline_ns; /* on CLOCK_MONOTONIC; 0: no deadline */
    hf_cancel *cancel;    /* of the same client; NULL: not cancellable */
    unsigned flags;       /* HF_NOWAIT or 0 */
} hf_wait_opts;

/* Initialise with HF_CLIENT_CONFIG_INIT, then change what you need. */
typedef struct hf_client_config {
    size_t size;      /* sizeof(hf_client_config), so that the struct may grow */
    const char *name; /* shown in logs and traces; NULL: "pid N". Copied. */
    /*
     * How long threads of this process may go on with a handle that another client waits
     * for, in nanoseconds, while they keep using it; divided among those who wait, but no less
     * than 100 us of it. 0 turns batching off: a recalled handle goes after the use in progress.
     */
    uint64_t quantum_ns;
    uint64_t connect_timeout_ns; /* for connecting and the handshake together */
    /*
     * Makes another connection to the same server, for the child of a fork(): returns a
     * connected descriptor or a negative errno. Called in the parent, before the fork. NULL:
     * connect to the same address again; a client made by hf_client_from_fd() has none, and
     * its copy in a child is disconnected.
     */
    int (*dial)(void *context);
    void *dial_context;
} hf_client_config;

#define HF_CLIENT_CONFIG_INIT                                                                      \
    {                                                                                              \
        sizeof(hf_client_config), NULL, UINT64_C(200000), UINT64_C(5000000000), NULL, NULL         \
    }

/**
 * hf_client_connect() - connect to a server
 * @address: "unix:PATH"
 * @config:  NULL for the defaults
 * @out:     the client, with one reference; unchanged on failure
 *
 * Blocks until the server has answered the handshake, at most connect_timeout_ns. Starts
 * one helper thread, which serves recalls and blocks all signals.
 *
 * Return: 0; -EINVAL (address or config), -ENAMETOOLONG, -ECONNREFUSED or -ENOENT (nobody
 * serves there), -EACCES (the server does not admit this uid), -EUSERS (it has too many
 * clients), -EPROTONOSUPPORT (the server speaks another version), -ESHUTDOWN or -ECONNRESET (it
 * goes away meanwhile), -EPROTO, -ETIMEDOUT, -ENOMEM, -EMFILE, -EAGAIN (no thread).
 */
HF_PUBLIC int hf_client_connect(const char *address, const hf_client_config *config,
                                hf_client **out);

/**
 * hf_client_from_fd() - use a connected stream socket (or similar) as the transport
 * @fd:     ordered, reliable, both ways; the client owns it from here on success, and
 *          the caller still owns it on failure
 *
 * Blocks and fails as hf_client_connect() does.
 */
HF_PUBLIC int hf_client_from_fd(int fd, const hf_client_config *config, hf_client **out);

/**
 * hf_client_ref() - one more reference to a client
 *
 * Return: @client.
 */
HF_PUBLIC hf_client *hf_client_ref(hf_client *client);

/**
 * hf_client_unref() - drop a reference; the last one disconnects
 * @client: may be NULL
 *
 * Every open handle and every cancel token holds a reference of its own, so the connection
 * ends when these are gone too. The last call gives back what is held, as
 * hf_client_disconnect() does, and waits for the helper thread to end, which waits for nobody.
 *
 * Return: NULL.
 */
HF_PUBLIC hf_client *hf_client_unref(hf_client *client);

/**
 * hf_client_disconnect() - end the connection now
 *
 * All that this client holds goes back to the server as if the process had died, except
 * that no handle is marked owner-died by handles that no thread holds EXCLUSIVE. Waits in
 * progress end with -ENOTCONN, and so does every later call that needs the server.
 */
HF_PUBLIC void hf_client_disconnect(hf_client *client);

/**
 * hf_client_error() - why the connection ended
 *
 * Return: 0 while it stands, else a negative errno: -ENOTCONN after hf_client_disconnect(),
 * -ECONNRESET when the server went away, -EPROTO when the server said something it must not,
 * or the reason the server gave for cutting this client off.
 */
HF_PUBLIC int hf_client_error(hf_client *client);

/**
 * hf_client_number() - the number the server gave this connection; never 0, never reused
 */
HF_PUBLIC uint64_t hf_client_number(const hf_client *client);

/* Messages since the connection began, both ways. The handshake is not counted. */
typedef struct hf_client_stats {
    uint64_t acquires_sent;
    uint64_t releases_sent;
    uint64_t cancels_sent;
    uint64_t grants_received; /* DENIED included */
    uint64_t recalls_received;
    uint64_t parks_sent; /* PARK, CLAIM and DROP: open files exported and imported */
    uint64_t parked_received;
    uint64_t operations_sent; /* on served mounts: asked and told */
    uint64_t answers_received;
    uint64_t locks_sent; /* about file locks */
    uint64_t locked_received;
} hf_client_stats;

/**
 * hf_client_get_stats() - read the message counters
 */
HF_PUBLIC void hf_client_get_stats(hf_client *client, hf_client_stats *out);

/**
 * hf_fork() - fork() for a process with clients
 *
 * The child gets, for each client of this process, a connection of its own, made and
 * registered at the server before the fork: it has every handle open that its parent has
 * open, and holds none of them. Threads of the parent do not exist in the child, so their
 * uses and waits do not either. Plain fork() does the same through pthread_atfork(), but
 * where the connection cannot be made it leaves the child with disconnected clients; this
 * call fails instead. Must not be called while holding a handle in this thread, nor from the
 * thread that dispatches the server a client is connected to: nobody would answer.
 *
 * Blocks for a few message pairs.
 *
 * Return: as fork(), but a negative errno on failure: -EAGAIN, -ENOMEM, -ENOTSUP (a client has
 * no way to dial), or that of the connection.
 */
HF_PUBLIC pid_t hf_fork(void);

/**
 * hf_cancel_new() - make a token that ends waits early
 * @out: the token; free it with hf_cancel_free(). It holds a reference to @client.
 *
 * Return: 0, -ENOMEM.
 */
HF_PUBLIC int hf_cancel_new(hf_client *client, hf_cancel **out);

/**
 * hf_cancel_fire() - end every wait that uses the token, now and later
 *
 * The waits return -ECANCELED. May be called from another thread and from a signal handler
 * (it is async-signal-safe and leaves errno alone).
 */
HF_PUBLIC void hf_cancel_fire(hf_cancel *token);

/**
 * hf_cancel_reset() - make a fired token usable again
 */
HF_PUBLIC void hf_cancel_reset(hf_cancel *token);

/**
 * hf_cancel_free() - free a token that no wait uses any more
 * @token: may be NULL
 *
 * Return: NULL.
 */
HF_PUBLIC hf_cancel *hf_cancel_free(hf_cancel *token);

/**
 * hf_sync_open() - open a sync handle by identifier
 * @client: keeps a reference until the handle is closed
 * @id:     its space must not have HF_SPACE_RESERVED set
 * @flags:  HF_SYNC_LOCK for a pure lock, or 0 for a handle with a value
 * @out:    the handle, with one reference; unchanged on failure
 *
 * A handle that this client has open already gains a reference; its flags must be the same.
 * A pure lock is opened without a message. A handle with a value is registered at the
 * server, so that the value lives while anybody has it open: this blocks for one message
 * pair.
 *
 * Return: 0; -EINVAL (flags or reserved space), -EBUSY (open with other flags), -EDQUOT
 * (the server's limit of handles for this client), -ENOMEM, -ENOTCONN.
 */
HF_PUBLIC int hf_sync_open(hf_client *client, hf_id id, unsigned flags, hf_sync **out);

/**
 * hf_sync_open_name() - open a sync handle by name
 * @name: 1 to HF_NAME_MAX bytes; the same name is the same handle for every client
 *
 * The name is turned into an identifier of 126 bits without asking the server. Otherwise
 * as hf_sync_open(); -ENAMETOOLONG or -EINVAL for a name too long or empty.
 */
HF_PUBLIC int hf_sync_open_name(hf_client *client, const char *name, unsigned flags, hf_sync **out);

/**
 * hf_sync_ref() - one more reference to an open handle
 *
 * Return: @handle.
 */
HF_PUBLIC hf_sync *hf_sync_ref(hf_sync *handle);

/**
 * hf_sync_close() - drop a reference; the last one closes the handle
 * @handle: may be NULL. On the last call no thread may hold it, wait for it, or be in
 *          another call on it.
 *
 * What the client still holds goes back to the server. When no client has the handle open
 * any more its value is forgotten.
 *
 * Return: NULL.
 */
HF_PUBLIC hf_sync *hf_sync_close(hf_sync *handle);

/**
 * hf_sync_acquire() - hold a handle in a mode, waiting for it if need be
 * @handle: from hf_sync_open(); this thread must not hold it
 * @mode:   HF_SHARED or HF_EXCLUSIVE
 * @opts:   deadline, cancel token, HF_NOWAIT; NULL waits for ever
 *
 * Costs no system call when the client still holds @mode and no thread is in the way. Any
 * number of threads may hold HF_SHARED together. Blocks while other threads or clients hold
 * the handle in a mode that excludes @mode; who waits is served in order of arrival. Pair it
 * with hf_sync_release().
 *
 * HF_NOWAIT fails with -EAGAIN exactly if somebody uses the handle in a mode that excludes @mode,
 * or waits for it: another thread, or a thread of another client. A client that merely keeps the
 * handle since its last use lets go; asking it takes as long as a hand-off between clients, and a
 * deadline or token ends that, too, should it not answer.
 *
 * Return: HF_UNCHANGED: no other client held the handle EXCLUSIVE since this client last
 * held it. HF_CHANGED: one may have; the value, and whatever the handle protects, may be
 * newer. With HF_OWNER_DIED: a client that held it EXCLUSIVE vanished without releasing it;
 * the value is the one it last released or published, and what the handle protects may be
 * half done. Told once, to the first client that acquires the handle afterwards.
 * Else -EINVAL, -ETIMEDOUT, -ECANCELED, -EAGAIN, -EDQUOT or -ENOBUFS (over the server's
 * limit of handles or of queued requests for this client), -ENOTCONN. On error nothing is
 * held.
 */
HF_PUBLIC int hf_sync_acquire(hf_sync *handle, hf_mode mode, const hf_wait_opts *opts);

/**
 * hf_sync_upgrade() - from SHARED, held by this thread, to EXCLUSIVE
 *
 * Lets go of SHARED first, so two threads or clients that upgrade cannot deadlock; the
 * return value says whether somebody else changed things meanwhile. Blocks, returns and
 * fails as hf_sync_acquire() does: on error nothing is held any more. HF_CHANGED is also
 * returned when another thread of this process held EXCLUSIVE in between. -EPERM: nobody
 * holds the handle SHARED (and nothing was done).
 */
HF_PUBLIC int hf_sync_upgrade(hf_sync *handle, const hf_wait_opts *opts);

/**
 * hf_sync_downgrade() - from EXCLUSIVE, held by this thread, to SHARED
 *
 * Publishes the value if it was set. Nobody else gets EXCLUSIVE in between.
 *
 * Return: 0; -EPERM: nobody holds the handle EXCLUSIVE; -ENOTCONN: the connection is gone
 * (nothing is held any more, and a value that was set is lost).
 */
HF_PUBLIC int hf_sync_downgrade(hf_sync *handle);

/**
 * hf_sync_release() - end this thread's use of the handle
 *
 * The client keeps the hold until another client needs it. A value set under EXCLUSIVE is
 * published: once the call has returned 0, the message is with the kernel and SIGKILL cannot
 * lose it. That send blocks only while the socket is full. No other release blocks.
 *
 * Return: 0; -EPERM: nobody holds it; -ENOTCONN: the connection ended while it was held, so
 * another client may have acquired it already, and a value that was set is lost.
 */
HF_PUBLIC int hf_sync_release(hf_sync *handle);

/**
 * hf_sync_yield() - give the hold back to the server, down to @mode
 * @mode: HF_INVALID or HF_SHARED
 *
 * For a handle that this process will not need soon. Does nothing while a thread holds the
 * handle in more than @mode or waits for it.
 *
 * Return: 0, -EINVAL, -EBUSY, -ENOTCONN.
 */
HF_PUBLIC int hf_sync_yield(hf_sync *handle, hf_mode mode);

/**
 * hf_sync_get_value() - copy out the value
 * @buffer: up to @size bytes are written; may be NULL when @size is 0
 *
 * Call it holding the handle. There is no way to change a value under SHARED.
 *
 * Return: the length of the value in bytes (it may be more than @size), 0 if none was ever
 * set; -EPERM when nobody holds the handle, -ENOTSUP on a pure lock.
 */
HF_PUBLIC ssize_t hf_sync_get_value(hf_sync *handle, void *buffer, size_t size);

/**
 * hf_sync_set_value() - change the value
 * @data: copied
 *
 * Call it holding the handle EXCLUSIVE. Others see it when they next acquire the handle
 * after this thread has released, downgraded or published it. If the process dies before
 * that, the change never happened.
 *
 * Return: 0; -EPERM: nobody holds EXCLUSIVE; -EMSGSIZE: over HF_VALUE_MAX; -ENOTSUP on a
 * pure lock; -ENOMEM.
 */
HF_PUBLIC int hf_sync_set_value(hf_sync *handle, const void *data, size_t size);

/**
 * hf_sync_publish() - send a value that was set, and go on holding the handle
 *
 * Return: 0 (also when nothing was set since), -EPERM, -ENOTCONN. Blocks as
 * hf_sync_release() does.
 */
HF_PUBLIC int hf_sync_publish(hf_sync *handle);

/**
 * hf_sync_epoch() - a number that moves each time another client may have changed things
 *
 * Call it holding the handle. A cache that several threads fill records the epoch it was
 * filled in, and is valid exactly while the two are equal. Never 0.
 */
HF_PUBLIC uint64_t hf_sync_epoch(const hf_sync *handle);

/**
 * hf_sync_id() - the identifier the handle was opened with
 */
HF_PUBLIC hf_id hf_sync_id(const hf_sync *handle);

#ifdef __cplusplus
}
#endif

#endif
