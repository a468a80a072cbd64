/*
 * A client without a library: bytes and messages on a socket, right ones and wrong ones.
 *
 * Every wait is for an event and gives up after RAW_PATIENCE_MS. What fails fails the test
 * (cmocka), so these are for the test's own process; a child that plays a part uses raw_dial(),
 * raw_write() and the like, which only return what happened.
 */
#ifndef HF_TESTS_LIB_RAW_CLIENT_H
#define HF_TESTS_LIB_RAW_CLIENT_H

#include "base/buffer.h"
#include "wire/wire.h"

#include <stdbool.h>

#define RAW_PATIENCE_MS 20000

struct raw_client {
    int fd;
    uint64_t number; /* from WELCOME */
    struct buffer input;
    size_t used; /* bytes of the message that raw_next() gave last */
    uint32_t last_seq;
};

/* ---- these return what happened ---- */

/* A socket connected to "unix:PATH", or a negative errno. */
int raw_dial(const char *address);

/* Use a connected descriptor; raw_close() closes it. */
void raw_init(struct raw_client *client, int fd);
void raw_close(struct raw_client *client);

/* Send all of it. False: the connection is broken. */
bool raw_write(struct raw_client *client, const void *bytes, size_t size);
bool raw_send(struct raw_client *client, const struct wire_message *message);

/* Send it all at once with @count descriptors, 253 at most. */
bool raw_send_with(struct raw_client *client, const struct wire_message *message, const int *fds,
                   size_t count);
bool raw_write_with(struct raw_client *client, const void *bytes, size_t size, const int *fds,
                    size_t count);

/* What came with a byte on a socket that is to have both by now. Return: -1: none. */
int raw_receive_descriptor(int socket);

enum raw_event { RAW_MESSAGE, RAW_END, RAW_TIMEOUT, RAW_MALFORMED };

/* Wait for the next message. Its data is valid until the next call. */
enum raw_event raw_next(struct raw_client *client, struct wire_message *out);

/* ---- these fail the test ---- */

/* Connect, say hello, be welcomed. */
void raw_join(struct raw_client *client, const char *address, const char *name);

/* The same on a connected descriptor. */
void raw_join_fd(struct raw_client *client, int fd, const char *name);

/* The next message is of this kind. */
struct wire_message raw_expect(struct raw_client *client, enum wire_kind kind);

/* The next is GOODBYE for this reason, and then the connection ends. */
void raw_expect_goodbye(struct raw_client *client, enum wire_reason reason);

/* The connection ends; messages before that are skipped. */
void raw_expect_end(struct raw_client *client);

/* Park @fd with this data, under @ticket or a new one ({0, 0}). Return: the answer, whose data is
 * valid until the next message. */
struct wire_message raw_park(struct raw_client *client, hf_id ticket, hf_id id, const char *data,
                             int fd);

/* Claim what was parked; *fd is it, or -1 when it was refused. Return: the answer. */
struct wire_message raw_claim(struct raw_client *client, hf_id ticket, uint32_t index, int *fd);

/* Return: the answer's reason. */
uint8_t raw_drop(struct raw_client *client, hf_id ticket);

/* Send an ACQUIRE with the next seq, which is returned. */
uint32_t raw_acquire(struct raw_client *client, uint64_t object, hf_mode mode, uint8_t flags);

/* Acquire and be granted at once. Return: the grant's number. */
uint64_t raw_hold(struct raw_client *client, uint64_t object, hf_mode mode);

void raw_release(struct raw_client *client, uint64_t object, uint64_t grant, hf_mode mode);

/* One acquire and one release of a handle of its own, answered in the fewest messages: what a
 * client sees that nobody disturbs. */
void raw_round_trip(struct raw_client *client);

#endif
