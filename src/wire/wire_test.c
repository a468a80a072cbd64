#include "wire/operations.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a generator of numbers and of messages ---- */

static uint64_t next_random(uint64_t *seed)
{
    *seed += UINT64_C(0x9d1f3c6b5a7e8d45);
    uint64_t mixed = *seed;
    mixed = (mixed ^ (mixed >> 31)) * UINT64_C(0xd6e8feb86659fd93);
    mixed = (mixed ^ (mixed >> 29)) * UINT64_C(0xb5ad4eceda1ce2a9);
    return mixed ^ (mixed >> 32);
}

static uint8_t flags_of(enum wire_kind kind)
{
    switch (kind) {
    case WIRE_ACQUIRE:
        return WIRE_ACQUIRE_FLAGS;
    case WIRE_RELEASE:
        return WIRE_RELEASE_FLAGS;
    case WIRE_GRANT:
        return WIRE_GRANT_FLAGS;
    case WIRE_OPERATION:
        return WIRE_OPERATION_FLAGS;
    case WIRE_ANSWER:
        return WIRE_ANSWER_FLAGS;
    default:
        return 0;
    }
}

struct kind_info {
    enum wire_kind kind;
    enum wire_direction direction;
    bool has_rest; /* data without a length of its own */
};

#define U8(field)
#define U16(field)
#define U32(field)
#define U64(field)
#define ID(field)
#define BYTES(field)
#define REST(field) +1
static const struct kind_info kinds[] = {
#define MESSAGE(name, number, direction, fields) {WIRE_##name, direction, (0 fields) != 0},
#include "wire/messages.def"
#undef MESSAGE
};
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

#define EACH_NUMBER_FIELD(NUMBER)                                                                  \
    NUMBER(id.space);                                                                              \
    NUMBER(id.object);                                                                             \
    NUMBER(ticket.space);                                                                          \
    NUMBER(ticket.object);                                                                         \
    NUMBER(index);                                                                                 \
    NUMBER(seq);                                                                                   \
    NUMBER(mode);                                                                                  \
    NUMBER(flags);                                                                                 \
    NUMBER(reason);                                                                                \
    NUMBER(wire_version);                                                                          \
    NUMBER(magic);                                                                                 \
    NUMBER(waiting);                                                                               \
    NUMBER(grant);                                                                                 \
    NUMBER(version);                                                                               \
    NUMBER(client);                                                                                \
    NUMBER(inode);                                                                                 \
    NUMBER(store);                                                                                 \
    NUMBER(credentials);                                                                           \
    NUMBER(error);

/* Fill every field there is, those that the kind does not carry as well. */
static struct wire_message make_message(enum wire_kind kind, uint64_t *seed, const uint8_t *data,
                                        uint32_t data_size)
{
    struct wire_message message = {.kind = kind, .data = data, .data_size = data_size};
    uint64_t number;
#define NUMBER(field)                                                                              \
    number = next_random(seed);                                                                    \
    memcpy(&message.field, &number, sizeof(message.field))
    EACH_NUMBER_FIELD(NUMBER)
#undef NUMBER
    message.mode %= 3;
    message.flags &= flags_of(kind);
    return message;
}

/* What decoding makes of @sent: the fields of its kind, and zeros. */
static void assert_carries_its_fields_only(const struct wire_message *got,
                                           const struct wire_message *sent)
{
    struct wire_message expected = {.kind = sent->kind};
#define U8(field) expected.field = sent->field;
#define U16(field) expected.field = sent->field;
#define U32(field) expected.field = sent->field;
#define U64(field) expected.field = sent->field;
#define ID(field) expected.field = sent->field;
#define BYTES(field)                                                                               \
    expected.field = sent->field;                                                                  \
    expected.field##_size = sent->field##_size;
#define REST(field) BYTES(field)
#define MESSAGE(name, number, direction, fields)                                                   \
    case WIRE_##name:                                                                              \
        fields break;
    switch (sent->kind) {
#include "wire/messages.def"
    }
#undef MESSAGE
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8

    assert_int_equal(got->kind, expected.kind);
#define NUMBER(field) assert_true(got->field == expected.field)
    EACH_NUMBER_FIELD(NUMBER)
#undef NUMBER
    assert_int_equal(got->data_size, expected.data_size);
    if (expected.data_size > 0) {
        assert_memory_equal(got->data, expected.data, expected.data_size);
    } else {
        assert_null(got->data);
    }
}

/* ---- round trips ---- */

/* Whatever a message carries arrives, and what its kind does not carry is zero there. */
static void test_every_kind_round_trips(void **state)
{
    static const uint16_t sizes[] = {0, 1, 2, 255, 256, 257, HF_VALUE_MAX};
    uint8_t data[HF_VALUE_MAX];
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_FRAME_MAX];
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)next_random(&seed);
    }
    for (size_t k = 0; k < KIND_COUNT; k++) {
        for (int round = 0; round < 700; round++) {
            const uint16_t data_size = sizes[round % 7];
            const struct wire_message sent = make_message(kinds[k].kind, &seed, data, data_size);
            const size_t size = wire_size(&sent);
            assert_true(size <= sizeof(frame));
            assert_int_equal(wire_encode(&sent, frame), size);

            struct wire_message got;
            size_t consumed = 0;
            assert_int_equal(
                wire_decode(frame, size, WIRE_FRAME_MAX, kinds[k].direction, &got, &consumed),
                WIRE_OK);
            assert_int_equal(consumed, size);
            assert_carries_its_fields_only(&got, &sent);
        }
    }
}

/* Frames stand one behind the other, and what follows a frame does not matter to it. */
static void test_frames_follow_each_other(void **state)
{
    uint8_t stream[1024];
    size_t size = 0;
    uint64_t seed = 2;
    for (uint32_t seq = 1; seq <= 5; seq++) {
        struct wire_message sent = make_message(WIRE_CANCEL, &seed, NULL, 0);
        sent.seq = seq;
        size += wire_encode(&sent, stream + size);
    }
    stream[size++] = 0xff;

    size_t at = 0;
    size_t consumed = 0;
    struct wire_message got;
    for (uint32_t seq = 1; seq <= 5; seq++) {
        assert_int_equal(
            wire_decode(stream + at, size - at, WIRE_FRAME_MAX, TO_SERVER, &got, &consumed),
            WIRE_OK);
        assert_int_equal(got.seq, seq);
        at += consumed;
    }
    assert_int_equal(
        wire_decode(stream + at, size - at, WIRE_FRAME_MAX, TO_SERVER, &got, &consumed),
        WIRE_INCOMPLETE);
}

/* A frame of exactly the limit is good; one byte more is too long. */
static void test_the_frame_limit_is_exact(void **state)
{
    uint8_t frame[256];
    const uint8_t data[100] = {0};
    uint64_t seed = 3;
    const struct wire_message sent = make_message(WIRE_GRANT, &seed, data, sizeof(data));
    const size_t size = wire_encode(&sent, frame);
    const size_t length = size - WIRE_LENGTH_BYTES;
    struct wire_message got;
    size_t consumed;
    assert_int_equal(wire_decode(frame, size, length, TO_CLIENT, &got, &consumed), WIRE_OK);
    assert_int_equal(wire_decode(frame, size, length - 1, TO_CLIENT, &got, &consumed),
                     WIRE_TOO_LONG);
    assert_int_equal(wire_decode(frame, WIRE_LENGTH_BYTES, length - 1, TO_CLIENT, &got, &consumed),
                     WIRE_TOO_LONG);
}

/* Every message about sync handles fits a small frame with the largest value, and an operation fits
 * any frame with all it may carry. */
static void test_the_largest_data_fits_a_frame(void **state)
{
    static const uint8_t data[WIRE_OPERATION_HEAD_MAX + WIRE_DATA_MAX];
    uint64_t seed = 4;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        const size_t limit = kinds[k].has_rest ? WIRE_FRAME_MAX : WIRE_SMALL_FRAME_MAX;
        const uint32_t data_size = kinds[k].has_rest ? sizeof(data) : HF_VALUE_MAX;
        const struct wire_message message = make_message(kinds[k].kind, &seed, data, data_size);
        assert_true(wire_size(&message) - WIRE_LENGTH_BYTES <= limit);
    }
}

/* ---- any bytes at all ---- */

/* There is a good frame that begins with these bytes: nothing but zeros needs to follow, and the
 * right length in front of the data. */
static bool can_become_good(const uint8_t *bytes, size_t size, enum wire_direction direction)
{
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_FRAME_MAX];
    struct wire_message got;
    size_t consumed;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        memset(frame, 0, sizeof(frame));
        memcpy(frame, bytes, size);
        if (size == WIRE_LENGTH_BYTES) {
            frame[WIRE_LENGTH_BYTES] = (uint8_t)kinds[k].kind;
        }
        const size_t whole =
            WIRE_LENGTH_BYTES + frame[0] + 256 * (size_t)frame[1] + 65536 * (size_t)frame[2];
        const struct wire_message empty = {.kind = kinds[k].kind};
        const size_t fixed = wire_size(&empty);
        for (size_t i = fixed - 2; i < fixed && whole > fixed; i++) {
            if (i >= size && !kinds[k].has_rest) {
                frame[i] = (uint8_t)((whole - fixed) >> (8 * (i - fixed + 2)));
            }
        }
        if (wire_decode(frame, whole, WIRE_FRAME_MAX, direction, &got, &consumed) == WIRE_OK) {
            return true;
        }
    }
    return false;
}

/* A short input: any bytes, but mostly with a length and a kind that lead somewhere. */
static size_t make_input(uint64_t *seed, uint8_t *input, size_t room)
{
    const uint64_t choice = next_random(seed);
    size_t size = choice % (room + 1);
    for (size_t i = 0; i < room; i++) {
        input[i] = (uint8_t)next_random(seed);
    }
    if ((choice >> 32) % 8 == 0) {
        return size;
    }
    const enum wire_kind kind = kinds[(choice >> 36) % KIND_COUNT].kind;
    struct wire_message message = make_message(kind, seed, input, (choice >> 40) % 24);
    uint8_t frame[128];
    const size_t encoded = wire_encode(&message, frame);
    assert_true(encoded <= sizeof(frame));
    memcpy(input, frame, encoded < room ? encoded : room);
    if ((choice >> 48) % 4 != 0) {
        input[(choice >> 50) % (encoded < room ? encoded : room)] ^= 1u << ((choice >> 60) % 8);
    }
    if ((choice >> 56) % 2 == 0 && encoded <= room) {
        size = encoded;
    }
    return size;
}

static void check_verdict(const uint8_t *input, size_t size, enum wire_direction direction,
                          int *counts)
{
    struct wire_message message;
    size_t consumed = 0;
    const enum wire_verdict verdict =
        wire_decode(input, size, WIRE_FRAME_MAX, direction, &message, &consumed);
    counts[verdict]++;
    if (verdict == WIRE_OK) {
        uint8_t frame[WIRE_LENGTH_BYTES + WIRE_FRAME_MAX];
        assert_true(consumed <= size);
        assert_int_equal(wire_encode(&message, frame), consumed);
        assert_memory_equal(frame, input, consumed);
    } else {
        assert_int_equal(consumed, 0);
    }
    if (verdict == WIRE_INCOMPLETE && size >= WIRE_LENGTH_BYTES) {
        assert_true(can_become_good(input, size, direction));
    }
}

/* A million short inputs, each in an allocation of its own size: nothing is read outside of it.
 * What is good encodes to the same bytes again, so there is one way only to say a thing; what is
 * incomplete can be completed. */
static void test_any_bytes_get_the_right_verdict(void **state)
{
    enum { INPUTS = 1000000, ROOM = 80 };
    uint64_t seed = 5;
    int counts[4] = {0};
    for (int i = 0; i < INPUTS; i++) {
        uint8_t input[ROOM];
        const size_t size = make_input(&seed, input, ROOM);
        uint8_t *exact = malloc(size > 0 ? size : 1);
        assert_non_null(exact);
        memcpy(exact, input, size);
        check_verdict(exact, size, i % 2 == 0 ? TO_SERVER : TO_CLIENT, counts);
        free(exact);
    }
    for (int verdict = 0; verdict < 4; verdict++) {
        assert_true(counts[verdict] > INPUTS / 100);
    }
}

/* ---- names ---- */

/* Kinds and reasons have names, and numbers that are none get one that says so. */
static void test_names(void **state)
{
#define MESSAGE(name, number, direction, fields)                                                   \
    assert_string_equal(wire_kind_name(WIRE_##name), #name);
#include "wire/messages.def"
#undef MESSAGE
    assert_string_equal(wire_kind_name((enum wire_kind)0), "unknown");
    assert_string_equal(wire_kind_name((enum wire_kind)255), "unknown");

#define REASON(name, number, error, text)                                                          \
    assert_string_equal(wire_reason_text(WIRE_REASON_##name), text);                               \
    assert_int_equal(wire_reason_errno(WIRE_REASON_##name), error);
    WIRE_REASONS(REASON)
#undef REASON
    assert_string_equal(wire_reason_text(255), "unknown reason");
    assert_int_equal(wire_reason_errno(255), EPROTO);
}

/* ---- the drift guard ---- */

/* FNV-1a. */
static uint64_t digest(const char *const *lines, size_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        for (const char *text = lines[i]; *text != '\0'; text++) {
            hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

/* What each version looked like. Once a version is released its line stays as it is. */
static const struct {
    int wire_version;
    uint64_t digest;
} history[] = {
    {1, UINT64_C(0x9561dbaef21f98d9)},
    {2, UINT64_C(0x0969771d1c559871)}, /* flags AHEAD and IN_USE, parking */
    {3, UINT64_C(0x5e9984be1f89bf83)}, /* operations on stores */
    {4, UINT64_C(0x7b6a7a221c798e8e)}, /* file locks */
};

/* Two builds of one WIRE_VERSION understand each other: whoever changes a message, a flag or a
 * reason also raises the version and adds a line to the history. */
static void test_the_wire_changes_only_with_its_version(void **state)
{
    static const char *const lines[] = {
#define MESSAGE(name, number, direction, fields) #name " " #number " " #direction " " #fields "\n",
#include "wire/messages.def"
#undef MESSAGE
#define REASON(name, number, error, text) #name " " #number "\n",
        WIRE_REASONS(REASON)
#undef REASON
#define OPERATION(name, number, answer, fields) #name " " #number " " #answer " " #fields "\n",
#include "wire/operations.def"
#undef OPERATION
#define RECORD(NAME, name, fields) #name " " #fields "\n",
#include "wire/records.def"
#undef RECORD
    };
    static const uint8_t flags[] = {
        WIRE_NOWAIT,
        WIRE_REFERENCE,
        WIRE_AHEAD,
        WIRE_VALUE,
        WIRE_CLOSE,
        WIRE_IN_USE,
        WIRE_OWNER_DIED,
        WIRE_DENIED,
        WIRE_SERVED,
        WIRE_ALONE,
        WIRE_LOCK_WAIT,
        WIRE_LOCK_TEST,
        WIRE_MORE,
    };
    assert_memory_equal(flags, "\1\2\4\1\2\4\2\4\1\1\1\2\1", sizeof(flags));
    assert_int_equal(WIRE_MAGIC, 0x31464c48);
    const size_t last = sizeof(history) / sizeof(history[0]) - 1;
    const uint64_t now = digest(lines, sizeof(lines) / sizeof(lines[0]));
    if (history[last].wire_version != WIRE_VERSION || history[last].digest != now) {
        fail_msg("this is not version %d of the wire: raise WIRE_VERSION, and add to the history "
                 "{version, UINT64_C(0x%016" PRIx64 ")}",
                 history[last].wire_version,
                 now);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_round_trips),
        cmocka_unit_test(test_frames_follow_each_other),
        cmocka_unit_test(test_the_frame_limit_is_exact),
        cmocka_unit_test(test_the_largest_data_fits_a_frame),
        cmocka_unit_test(test_any_bytes_get_the_right_verdict),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_the_wire_changes_only_with_its_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
