/*
 * Operations and records arrive as they were sent, and nothing else passes for one.
 */
#include "wire/operations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REST_MAX 300
#define ROUNDS 500

static uint64_t next_random(uint64_t *seed)
{
    *seed += UINT64_C(0x9d1f3c6b5a7e8d45);
    uint64_t mixed = *seed;
    mixed = (mixed ^ (mixed >> 31)) * UINT64_C(0xd6e8feb86659fd93);
    mixed = (mixed ^ (mixed >> 29)) * UINT64_C(0xb5ad4eceda1ce2a9);
    return mixed ^ (mixed >> 32);
}

/* ---- values for any field ---- */

static uint8_t pool[REST_MAX];

static void fill_pool(uint64_t *seed)
{
    for (size_t i = 0; i < sizeof(pool); i++) {
        pool[i] = (uint8_t)next_random(seed);
    }
}

static struct timespec any_time(uint64_t *seed)
{
    return (struct timespec){
        .tv_sec = (time_t)next_random(seed),
        .tv_nsec = (long)(next_random(seed) % 1000000000),
    };
}

/* Of no bytes, of the most, or in between. */
static struct wire_name any_name(uint64_t *seed)
{
    static const uint8_t lengths[] = {0, 1, 17, 255};
    return (struct wire_name){
        .bytes = (const char *)pool + next_random(seed) % 40,
        .length = lengths[next_random(seed) % sizeof(lengths)],
    };
}

static void assert_time_equal(struct timespec a, struct timespec b)
{
    assert_true(a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec);
}

static void assert_name_equal(struct wire_name a, struct wire_name b)
{
    assert_int_equal(a.length, b.length);
    if (a.length > 0) {
        assert_memory_equal(a.bytes, b.bytes, a.length);
    }
}

static void assert_rest_equal(const uint8_t *a, const uint8_t *b, uint32_t size)
{
    if (size > 0) {
        assert_memory_equal(a, b, size);
    } else {
        assert_null(a);
    }
}

/* ---- each field of an operation or a record, in turn filled and compared ---- */

#define FILL_U8(field) out->field = (uint8_t)next_random(seed);
#define FILL_U32(field) out->field = (uint32_t)next_random(seed);
#define FILL_U64(field) out->field = next_random(seed);
#define FILL_TIME(field) out->field = any_time(seed);
#define FILL_NAME(field) out->field = any_name(seed);
#define FILL_REST(field)                                                                           \
    out->field##_size = (uint32_t)(next_random(seed) % 3 * (REST_MAX / 2));                        \
    out->field = pool;
#define SAME_U8(field) assert_int_equal(got->field, sent->field);
#define SAME_U32(field) assert_int_equal(got->field, sent->field);
#define SAME_U64(field) assert_true(got->field == sent->field);
#define SAME_TIME(field) assert_time_equal(got->field, sent->field);
#define SAME_NAME(field) assert_name_equal(got->field, sent->field);
#define SAME_REST(field)                                                                           \
    assert_int_equal(got->field##_size, sent->field##_size);                                       \
    assert_rest_equal(got->field, sent->field, sent->field##_size);

#define U8(field) FILL_U8(field)
#define U32(field) FILL_U32(field)
#define U64(field) FILL_U64(field)
#define TIME(field) FILL_TIME(field)
#define NAME(field) FILL_NAME(field)
#define REST(field) FILL_REST(field)
static void fill_operation(struct wire_operation *out, uint64_t *seed)
{
    switch (out->code) {
#define OPERATION(name, number, answer, fields)                                                    \
    case WIRE_OP_##name:                                                                           \
        fields break;
#include "wire/operations.def"
#undef OPERATION
    }
}

#define RECORD(NAME, name, fields)                                                                 \
    static void fill_##name(struct wire_##name *out, uint64_t *seed)                               \
    {                                                                                              \
        fields                                                                                     \
    }
#include "wire/records.def"
#undef RECORD
#undef REST
#undef NAME
#undef TIME
#undef U64
#undef U32
#undef U8

#define U8(field) SAME_U8(field)
#define U32(field) SAME_U32(field)
#define U64(field) SAME_U64(field)
#define TIME(field) SAME_TIME(field)
#define NAME(field) SAME_NAME(field)
#define REST(field) SAME_REST(field)
static void assert_operation_equal(const struct wire_operation *got,
                                   const struct wire_operation *sent)
{
    assert_int_equal(got->code, sent->code);
    switch (sent->code) {
#define OPERATION(name, number, answer, fields)                                                    \
    case WIRE_OP_##name:                                                                           \
        fields break;
#include "wire/operations.def"
#undef OPERATION
    }
}

#define RECORD(NAME, name, fields)                                                                 \
    static void assert_##name##_equal(const struct wire_##name *got,                               \
                                      const struct wire_##name *sent)                              \
    {                                                                                              \
        fields                                                                                     \
    }
#include "wire/records.def"
#undef RECORD
#undef REST
#undef NAME
#undef TIME
#undef U64
#undef U32
#undef U8

/* What can be cut off at the end without anybody noticing. */
#define U8(field)
#define U32(field)
#define U64(field)
#define TIME(field)
#define NAME(field)
#define REST(field) +1
static bool has_rest(enum wire_operation_code code)
{
    switch (code) {
#define OPERATION(name, number, answer, fields)                                                    \
    case WIRE_OP_##name:                                                                           \
        return (0 fields) != 0;
#include "wire/operations.def"
#undef OPERATION
    }
    return false;
}

#define RECORD(NAME, name, fields) static const bool has_rest_##name = (0 fields) != 0;
#include "wire/records.def"
#undef RECORD
#undef REST
#undef NAME
#undef TIME
#undef U64
#undef U32
#undef U8

static const enum wire_operation_code codes[] = {
#define OPERATION(name, number, answer, fields) WIRE_OP_##name,
#include "wire/operations.def"
#undef OPERATION
};
#define CODE_COUNT (sizeof(codes) / sizeof(codes[0]))

/* ---- operations ---- */

static bool decode_exact(const uint8_t *bytes, size_t size, struct wire_operation *operation)
{
    /* In an allocation of its own size, so that reading past it is found out. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    const bool good = wire_operation_decode(copy, size, operation);
    free(copy);
    return good;
}

static size_t encode(const struct wire_operation *operation, uint8_t *out)
{
    const size_t head = wire_operation_encode(operation, out);
    assert_int_equal(head, wire_operation_head_size(operation));
    assert_true(head <= WIRE_OPERATION_HEAD_MAX);
    const size_t rest = has_rest(operation->code) ? operation->data_size : 0;
    if (rest > 0) {
        memcpy(out + head, operation->data, rest);
    }
    return head + rest;
}

/* Whatever an operation carries arrives. Cut anywhere it is none, unless that shortens its REST. */
static void test_operations_round_trip(void **state)
{
    uint64_t seed = 1;
    fill_pool(&seed);
    for (size_t c = 0; c < CODE_COUNT; c++) {
        for (int round = 0; round < ROUNDS; round++) {
            uint8_t bytes[WIRE_OPERATION_HEAD_MAX + REST_MAX];
            struct wire_operation sent = {.code = codes[c]};
            struct wire_operation got;
            fill_operation(&sent, &seed);
            const size_t size = encode(&sent, bytes);
            assert_true(wire_operation_decode(bytes, size, &got));
            assert_operation_equal(&got, &sent);
            const size_t head = wire_operation_head_size(&sent);
            for (size_t cut = round % 7 == 0 ? 0 : size; cut < size; cut++) {
                assert_int_equal(decode_exact(bytes, cut, &got), has_rest(codes[c]) && cut >= head);
            }
            if (!has_rest(codes[c])) {
                bytes[size] = 0;
                assert_false(wire_operation_decode(bytes, size + 1, &got));
            }
        }
    }
}

/* Fields that an operation does not carry are zero when it arrives. */
static void test_other_fields_are_zero(void **state)
{
    uint8_t bytes[WIRE_OPERATION_HEAD_MAX];
    struct wire_operation sent, got;
    memset(&sent, 0xff, sizeof(sent));
    sent.code = WIRE_OP_UNUSE;
    const size_t size = wire_operation_encode(&sent, bytes);
    memset(&got, 0xff, sizeof(got));
    assert_true(wire_operation_decode(bytes, size, &got));
    assert_true(got.inode == UINT64_MAX);
    assert_true(got.other == 0 && got.size == 0 && got.mask == 0 && got.slot == 0);
    assert_true(got.now.tv_sec == 0 && got.name.bytes == NULL && got.data == NULL);
}

static void test_a_time_that_is_none(void **state)
{
    uint8_t bytes[WIRE_OPERATION_HEAD_MAX];
    struct wire_operation got;
    struct wire_operation sent = {.code = WIRE_OP_TOUCH, .now = {.tv_nsec = 999999999}};
    size_t size = wire_operation_encode(&sent, bytes);
    assert_true(wire_operation_decode(bytes, size, &got));
    sent.now.tv_nsec++;
    size = wire_operation_encode(&sent, bytes);
    assert_false(wire_operation_decode(bytes, size, &got));
}

/* Random bytes are good or not; those that are good encode to the same bytes again, so there is one
 * way only to say a thing. */
static void test_any_bytes_get_a_verdict(void **state)
{
    enum { INPUTS = 300000 };
    uint64_t seed = 2;
    int good = 0;
    for (int i = 0; i < INPUTS; i++) {
        uint8_t bytes[120];
        uint8_t again[WIRE_OPERATION_HEAD_MAX + REST_MAX];
        const size_t size = next_random(&seed) % (sizeof(bytes) + 1);
        for (size_t at = 0; at < size; at++) {
            /* Small numbers, so that names and times are often right. */
            const uint64_t random = next_random(&seed);
            bytes[at] = (uint8_t)(random % 4 == 0 ? random >> 8 : (random >> 8) % 6);
        }
        if (size > 0) {
            bytes[0] = (uint8_t)codes[next_random(&seed) % CODE_COUNT];
        }
        struct wire_operation operation;
        decode_exact(bytes, size, &operation);
        if (wire_operation_decode(bytes, size, &operation)) {
            good++;
            assert_int_equal(encode(&operation, again), size);
            assert_memory_equal(again, bytes, size);
        }
    }
    assert_true(good > INPUTS / 100);
    for (int code = 0; code < 256; code++) {
        const uint8_t bytes[100] = {(uint8_t)code};
        struct wire_operation operation;
        bool known = false;
        for (size_t c = 0; c < CODE_COUNT; c++) {
            known = known || (int)codes[c] == code;
        }
        bool accepted = false;
        for (size_t size = 1; size <= sizeof(bytes); size++) {
            accepted = accepted || wire_operation_decode(bytes, size, &operation);
        }
        assert_int_equal(accepted, known);
    }
}

static void test_names(void **state)
{
#define OPERATION(name, number, answer, fields)                                                    \
    assert_string_equal(wire_operation_name(WIRE_OP_##name), #name);
#include "wire/operations.def"
#undef OPERATION
    assert_string_equal(wire_operation_name((enum wire_operation_code)0), "unknown");
}

/* ---- records ---- */

/* wire_put_x() writes all but the REST, which follows. */
#define U8(field)
#define U32(field)
#define U64(field)
#define TIME(field)
#define NAME(field)
#define REST(field)                                                                                \
    sent->field = pool;                                                                            \
    sent->field##_size = REST_MAX;
#define RECORD(NAME, name, fields)                                                                 \
    static void set_rest_##name(struct wire_##name *sent)                                          \
    {                                                                                              \
        fields                                                                                     \
    }
#include "wire/records.def"
#undef RECORD
#undef REST
#undef NAME
#undef TIME
#undef U64
#undef U32
#undef U8

/* One function for each record: it arrives, and cut anywhere before its REST it is none. A record
 * without one leaves what follows it alone. */
#define RECORD(NAME, name, fields)                                                                 \
    static void test_##name##_round_trips(void **state)                                            \
    {                                                                                              \
        uint64_t seed = 3;                                                                         \
        fill_pool(&seed);                                                                          \
        for (int round = 0; round < ROUNDS; round++) {                                             \
            uint8_t bytes[WIRE_OPERATION_HEAD_MAX + REST_MAX] = {0};                               \
            struct wire_##name sent = {0}, got;                                                    \
            fill_##name(&sent, &seed);                                                             \
            const size_t head = wire_put_##name(&sent, bytes);                                     \
            assert_true(head > 0 && head <= WIRE_OPERATION_HEAD_MAX);                              \
            const size_t rest = has_rest_##name ? REST_MAX : 0;                                    \
            memcpy(bytes + head, pool, rest);                                                      \
            assert_int_equal(wire_get_##name(bytes, head + rest, &got), head + rest);              \
            set_rest_##name(&sent);                                                                \
            assert_##name##_equal(&got, &sent);                                                    \
            for (size_t cut = 0; cut < head; cut++) {                                              \
                assert_int_equal(wire_get_##name(bytes, cut, &got), 0);                            \
            }                                                                                      \
            if (!has_rest_##name) {                                                                \
                assert_int_equal(wire_get_##name(bytes, head + 9, &got), head);                    \
            }                                                                                      \
        }                                                                                          \
    }
#include "wire/records.def"
#undef RECORD

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations_round_trip),
        cmocka_unit_test(test_other_fields_are_zero),
        cmocka_unit_test(test_a_time_that_is_none),
        cmocka_unit_test(test_any_bytes_get_a_verdict),
        cmocka_unit_test(test_names),
#define RECORD(NAME, name, fields) cmocka_unit_test(test_##name##_round_trips),
#include "wire/records.def"
#undef RECORD
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
