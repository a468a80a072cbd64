/*
 * What the server itself keeps referenced: handles whose values must outlive all clients. It
 * does so as a peer of the table that has no connection, and never holds any of them.
 *
 * For the loop's thread, or before there is one.
 */
#ifndef HF_SERVER_KEEP_H
#define HF_SERVER_KEEP_H

#include "base/id_map.h"
#include "sync/server.h"

struct hf_server;

struct keeper {
    struct sync_peer peer;
    struct id_map kept; /* how often each is kept */
};

/* Return: 0, -ENOMEM. */
int keeper_init(struct keeper *keeper);

/* Everything is let go of; the table is still there. */
void keeper_deinit(struct keeper *keeper, struct sync_server *table);

/* Keep @id until as many server_unkeep(): it has a record, and the value it was last given.
 * Return: 0, -ENOMEM, -EDQUOT (the limit on handles of one peer counts here too). */
int server_keep(struct hf_server *server, hf_id id);

/* Give what is kept, and no client has anything on, a value. Return: 0, -ENOMEM. */
int server_set_kept_value(struct hf_server *server, hf_id id, const void *bytes, size_t size);

/* @id is kept. */
void server_unkeep(struct hf_server *server, hf_id id);

#endif
