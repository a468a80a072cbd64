/*
 * A server played by the test, on one end of a socketpair: it says what a test wants, right or
 * wrong, when the test wants it. What is not as expected fails the test.
 */
#ifndef HF_TESTS_LIB_FAKE_SERVER_H
#define HF_TESTS_LIB_FAKE_SERVER_H

#include "base/buffer.h"
#include "wire/wire.h"

#define FAKE_FRAME_ROOM (WIRE_LENGTH_BYTES + WIRE_FRAME_MAX)

struct fake {
    int fd;
    int client_fd; /* the other end, until a client owns it */
    struct buffer in;
    size_t used; /* bytes of the message that fake_expect() gave last */
    hf_client *client;
};

/* The right answer to HELLO; the client's number is 9. */
extern const struct wire_message fake_welcome;

/* The two ends, with nobody connected; or with a client of quantum 0. */
void fake_init(struct fake *fake);
void fake_join(struct fake *fake);

/* Drops the client, too. */
void fake_deinit(struct fake *fake);

void fake_hang_up(struct fake *fake);
void fake_write(struct fake *fake, const void *bytes, size_t size);
void fake_send(struct fake *fake, const struct wire_message *message);

/* The next message of the client's, which has to be of this kind. Its data is valid until the
 * next call. */
struct wire_message fake_expect(struct fake *fake, enum wire_kind kind);

/* The right answer to an ACQUIRE. */
struct wire_message fake_answer(const struct wire_message *asked, uint64_t grant);

/* Have a thread acquire the handle, and grant it. */
void fake_grant(struct fake *fake, hf_sync *handle, hf_mode mode, uint64_t grant);

#endif
