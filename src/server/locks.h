/*
 * File locks, the server's side: the core of src/locks between the peers, and the patience with
 * those who do not give a table back.
 *
 * For the loop's thread, or before there is one.
 */
#ifndef HF_SERVER_LOCKS_H
#define HF_SERVER_LOCKS_H

#include "locks/server.h"

#include <uv.h>

struct hf_server;
struct peer;

struct file_locks {
    struct locks_server core;
    struct list
        doubtful;       /* requests that would be refused, if nothing else were to be read first */
    uv_idle_t no_sleep; /* runs while there are some: the loop looks for more at once */
    struct list recalled;    /* peers that have to give back a table, who is due first in front */
    uv_timer_t recall_timer; /* runs while there is one */
};

/* A peer as far as file locks go. */
struct file_locks_peer {
    struct locks_peer core;
    struct list doubtful;
    uint32_t doubtful_count;
    struct list recalled_link;
    uint64_t recall_deadline_ms; /* on the loop's clock */
};

/* Return: 0, -ENOMEM. The sync table is there already. */
int file_locks_init(struct hf_server *server);
/* The loop has begun; who ends it closes all its handles. */
void file_locks_open_loop(struct hf_server *server);
/* All peers are gone. */
void file_locks_deinit(struct hf_server *server);

/* The peer has got its number. */
void file_locks_peer_join(struct peer *peer);
/* The peer goes: first what it waits for, and the rest when the sync table has it no more. */
void file_locks_peer_give_up(struct peer *peer);
void file_locks_peer_leave(struct peer *peer);

/* All that was ready when the loop last slept has been read: decide what was in doubt before that. */
void file_locks_decide(struct hf_server *server);

/* Is something in doubt, so that peers are to be read to the end? */
static inline bool file_locks_doubt(const struct file_locks *locks)
{
    return !list_is_empty(&locks->doubtful);
}

/* Handle a message about file locks. Return: WIRE_REASON_NONE, or why @peer must be cut off. */
enum wire_reason file_locks_input(struct peer *peer, const struct wire_message *message);

#endif
