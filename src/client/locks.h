/*
 * File locks on the connection: src/locks with threads, messages and waits.
 *
 * Everything is guarded by the client's lock, which the functions take: a lock that needs nobody
 * else costs one mutex. What needs the server is done in two steps, so that a caller can get out of
 * the way of others before it waits.
 */
#ifndef HF_CLIENT_LOCKS_H
#define HF_CLIENT_LOCKS_H

#include "client/client.h"
#include "locks/client.h"

/* Does this client hold any lock? Without its lock: others may be getting one. */
static inline bool client_has_locks(const hf_client *client)
{
    return atomic_load_explicit(&client->locks.lock_count, memory_order_acquire) > 0;
}

/* As locks_client_try(). Return: also -ENOTCONN. */
int client_lock_try(hf_client *client, hf_id file, const struct lock *lock, unsigned flags);

/* A thread that waits for the server's answer. Its user sets nothing but request.lock and is_test. */
struct client_lock_wait {
    struct lock_request request;
    struct sleeper sleeper;
    uint64_t deadline_ns;
    hf_cancel *cancel;
    int given_up; /* -ECANCELED or -ETIMEDOUT: the server was told so */
};

/* The same for wait->request.lock, or what is in its way for wait->request.conflict; and if need be ask
 * the server. @path: of the file, for people, or ""; @opts: for LOCKS_WAIT, or NULL. Return: as above;
 * LOCKS_ASK: the answer is to be waited for. */
int client_lock_start(hf_client *client, hf_id file, unsigned flags, const char *path,
                      const hf_wait_opts *opts, struct client_lock_wait *wait);

/* Return: 0; -EAGAIN, -EDEADLK, -ENOLCK, -ENOBUFS, -ETIMEDOUT, -ECANCELED, -ENOTCONN, -ENOMEM. */
int client_lock_finish(hf_client *client, struct client_lock_wait *wait);

/* The open file @owner of @file has other processes from now on. Return: 0 when the kernel has what
 * there was to tell the server; -ENOTCONN. */
int client_lock_share(hf_client *client, hf_id file, hf_id owner);

/* All locks of all clients, and who waits, as LISTED records, appended. Return: 0; -ENOTCONN, -ENOMEM. */
int client_lock_list(hf_client *client, struct buffer *records);

/* ---- for the connection, with the lock held ---- */

/* Return: 0, -ENOMEM. */
int client_locks_init(hf_client *client);

/* A LOCKED, LOCK_RECALL or LOCK_LISTED. Return: 0; why the connection must end. */
int client_locks_input(hf_client *client, const struct wire_message *message);

/* Tell the server of those who no longer want to wait. */
void client_locks_check_cancelled(hf_client *client);

/* The connection has ended: so do all waits. */
void client_locks_lost(hf_client *client);

/* In a forked child: nobody waits, and nothing is locked. */
void client_locks_reset(hf_client *client);

#endif
