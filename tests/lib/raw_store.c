#include "lib/raw_store.h"

#include "lib/test.h"

#include <string.h>

void raw_send_operation(struct raw_client *client, uint32_t store, uint32_t seq,
                        const struct wire_operation *op, struct raw_how how)
{
    uint8_t bytes[WIRE_OPERATION_HEAD_MAX + WIRE_DATA_MAX];
    size_t size = wire_operation_encode(op, bytes);
    const bool has_data = op->code == WIRE_OP_MAKE || op->code == WIRE_OP_WRITE ||
                          op->code == WIRE_OP_APPEND || op->code == WIRE_OP_SET_XATTR ||
                          op->code == WIRE_OP_CREDENTIALS;
    if (has_data && op->data_size > 0) {
        memcpy(bytes + size, op->data, op->data_size);
        size += op->data_size;
    }
    raw_send(client,
             &(struct wire_message){
                 .kind = WIRE_OPERATION,
                 .seq = seq,
                 .store = store,
                 .credentials = how.credentials,
                 .flags = how.flags,
                 .data = bytes,
                 .data_size = (uint32_t)size,
             });
}

void raw_tell(struct raw_client *client, uint32_t store, const struct wire_operation *op)
{
    raw_send_operation(client, store, 0, op, (struct raw_how){0});
}

struct raw_answer raw_expect_answer(struct raw_client *client, uint32_t seq)
{
    const struct wire_message message = raw_expect(client, WIRE_ANSWER);
    assert_int_equal(message.seq, seq);
    return (struct raw_answer){
        .error = message.error,
        .flags = message.flags,
        .data = message.data,
        .size = message.data_size,
    };
}

struct raw_answer raw_ask_how(struct raw_client *client, uint32_t store,
                              const struct wire_operation *op, struct raw_how how)
{
    const uint32_t seq = ++client->last_seq;
    raw_send_operation(client, store, seq, op, how);
    return raw_expect_answer(client, seq);
}

struct raw_answer raw_ask(struct raw_client *client, uint32_t store,
                          const struct wire_operation *op)
{
    return raw_ask_how(client, store, op, (struct raw_how){0});
}

uint64_t raw_hold_inode(struct raw_client *client, uint32_t store, uint64_t inode, hf_mode mode)
{
    const uint32_t seq = ++client->last_seq;
    raw_send(client,
             &(struct wire_message){
                 .kind = WIRE_ACQUIRE,
                 .id = wire_store_id(store, inode),
                 .seq = seq,
                 .mode = (uint8_t)mode,
             });
    const struct wire_message granted = raw_expect(client, WIRE_GRANT);
    assert_int_equal(granted.seq, seq);
    assert_int_equal(granted.flags & WIRE_DENIED, 0);
    return granted.grant;
}

void raw_release_inode(struct raw_client *client, uint32_t store, uint64_t inode, uint64_t grant,
                       hf_mode mode)
{
    raw_send(client,
             &(struct wire_message){
                 .kind = WIRE_RELEASE,
                 .id = wire_store_id(store, inode),
                 .grant = grant,
                 .mode = (uint8_t)mode,
             });
}

struct wire_attributes raw_attributes(struct raw_answer answer)
{
    struct wire_attributes attributes;
    assert_int_equal(answer.error, 0);
    assert_true(wire_get_attributes(answer.data, answer.size, &attributes) == answer.size);
    return attributes;
}

uint64_t raw_count(struct raw_answer answer)
{
    struct wire_count count;
    assert_int_equal(answer.error, 0);
    assert_true(wire_get_count(answer.data, answer.size, &count) == answer.size);
    return count.count;
}
