/*
 * Open files on their way from one process to another.
 *
 * Whoever moves open files parks them here, under a ticket that nobody can guess, and tells the
 * ticket to the one that is to have them. Each is a descriptor of the host, so that the file lives
 * without a name and nobody has to look it up again; a sync handle, which the server keeps
 * meanwhile, so that offset and flags live; and data that means something to the clients only.
 *
 *            PARK                  DROP
 *   nothing ──────► parked, CLAIM ──────► nothing
 *                   as often as wanted
 *
 * What is parked is the server's: it stays when the one that parked it dies, and when one that
 * claimed it dies before it has dropped it.
 *
 * For the loop's thread, or when there is none.
 */
#ifndef HF_SERVER_PARK_H
#define HF_SERVER_PARK_H

#include "base/id_map.h"
#include "wire/wire.h"

struct hf_server;
struct peer;

struct park {
    struct id_map tickets;
    uint32_t count; /* what is parked, under all tickets */
    uint32_t limit; /* for these and for the pipes of stores */
};

/* Return: 0, -ENOMEM. */
int park_init(struct park *park, uint32_t limit);

/* What is still parked goes. The server's keeper and guard are still there. */
void park_deinit(struct hf_server *server);

/* Handle a PARK, CLAIM or DROP. Return: WIRE_REASON_NONE, or why @peer must be cut off. */
enum wire_reason park_input(struct hf_server *server, struct peer *peer,
                            const struct wire_message *message);

/* A use of an inode of a store, by what is parked under a ticket. */
struct served_pipe;
struct park_loan {
    struct park_loan *next;
    struct served_pipe *pipe; /* a reference; NULL: it has none */
    uint32_t store;
    uint64_t inode;
    uint8_t rights;
};

/* Lend it, for which the caller holds it in the store; served_give_back() lets go of it when the ticket
 * does. Return: 0; -ESTALE when nothing is parked under the ticket; -EDQUOT when all that is has been
 * lent something; -ENOMEM. */
int park_lend(struct hf_server *server, hf_id ticket, const struct park_loan *loan);

/* Is that lent to the ticket, with all these rights? */
bool park_is_lent(const struct hf_server *server, hf_id ticket, const struct park_loan *loan);

/* Before closing what a client sent, which may be anything: a socket must not wait for its last
 * data to go out. */
void park_spoil_linger(int fd);

#endif
