/*
 * Parking open files at the server, and getting them back; see server/park.h and
 * docs/protocol.md. Each call here is one message pair. Any thread may call, and waits until the
 * answer is there or the connection ends.
 *
 * Results are 0 or a negative errno: -ESTALE (nothing is parked under the ticket), -EDQUOT (too
 * much is parked), -EMFILE (the server, or this process, has no descriptor left), -EOPNOTSUPP (the
 * connection is no local socket, and carries no descriptors), -ENOMEM, -ENOTCONN.
 */
#ifndef HF_CLIENT_PARK_H
#define HF_CLIENT_PARK_H

#include "client/client.h"

/* What there is room for with each; a server may take less. */
#define PARK_DATA_MAX 256

/* What was parked. */
struct park_item {
    hf_id id; /* of a sync handle; {0, 0}: none */
    int fd;
    uint16_t size;
    uint8_t data[PARK_DATA_MAX];
};

/* Under *ticket, or a new one if that is {0, 0}, which is then told in *ticket. The client has
 * @item->id open; from here on the server keeps it too. The descriptor stays the caller's. */
int park_put(hf_client *client, hf_id *ticket, const struct park_item *item);

/* The item of this number under @ticket; it stays parked. On success @item->fd is the caller's. */
int park_claim(hf_client *client, hf_id ticket, uint32_t index, struct park_item *item);

/* Forget all that is parked under @ticket. */
int park_drop(hf_client *client, hf_id ticket);

/* ---- for the connection, with the lock held ---- */

/* Return: false when nobody asked for it. */
bool park_answered(hf_client *client, const struct wire_message *answer);

/* The connection has ended: so do all waits. */
void park_lost(hf_client *client);

/* In a forked child, where nobody waits. */
void park_reset(hf_client *client);

#endif
