/*
 * Operations on a store from a client without a library. What fails fails the test.
 */
#ifndef HF_TESTS_LIB_RAW_STORE_H
#define HF_TESTS_LIB_RAW_STORE_H

#include "lib/raw_client.h"
#include "wire/operations.h"

struct raw_answer {
    uint32_t error;
    uint8_t flags;
    const uint8_t *data; /* valid until the next message */
    uint32_t size;
};

/* Some fields of an OPERATION; zeros for the usual ones. */
struct raw_how {
    uint32_t credentials;
    uint8_t flags;
};

/* Send it with this seq; 0: no answer is wanted. */
void raw_send_operation(struct raw_client *client, uint32_t store, uint32_t seq,
                        const struct wire_operation *op, struct raw_how how);

/* Send it and wait for nothing. */
void raw_tell(struct raw_client *client, uint32_t store, const struct wire_operation *op);

/* The next message is the ANSWER with this seq. */
struct raw_answer raw_expect_answer(struct raw_client *client, uint32_t seq);

/* Send it and get its answer, which is the next message. */
struct raw_answer raw_ask(struct raw_client *client, uint32_t store,
                          const struct wire_operation *op);
struct raw_answer raw_ask_how(struct raw_client *client, uint32_t store,
                              const struct wire_operation *op, struct raw_how how);

/* Acquire the handle of an inode and be granted at once. Return: the grant's number. */
uint64_t raw_hold_inode(struct raw_client *client, uint32_t store, uint64_t inode, hf_mode mode);
void raw_release_inode(struct raw_client *client, uint32_t store, uint64_t inode, uint64_t grant,
                       hf_mode mode);

/* The records of answers without an error. */
struct wire_attributes raw_attributes(struct raw_answer answer);
uint64_t raw_count(struct raw_answer answer);

static inline struct wire_name raw_name(const char *text)
{
    uint8_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    return (struct wire_name){.bytes = text, .length = length};
}

#endif
