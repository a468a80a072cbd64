/*
 * The coder is made of operations.def and records.def: each pass below gives the field types
 * another meaning. What has a REST is known by its type, so nothing need be said of it here.
 */
#include "wire/operations.h"

#include <assert.h>
#include <string.h>

#define NANOSECONDS 1000000000

/* ---- encoding ---- */

static uint8_t *put(uint8_t *out, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
    return out + size;
}

static uint8_t *put_time(uint8_t *out, const struct timespec *time)
{
    return put(put(out, (uint64_t)time->tv_sec, 8), (uint64_t)time->tv_nsec, 4);
}

static uint8_t *put_name(uint8_t *out, const struct wire_name *name)
{
    out = put(out, name->length, 1);
    if (name->length > 0) {
        memcpy(out, name->bytes, name->length);
    }
    return out + name->length;
}

#define U8(field) out = put(out, in->field, 1);
#define U32(field) out = put(out, in->field, 4);
#define U64(field) out = put(out, in->field, 8);
#define TIME(field) out = put_time(out, &in->field);
#define NAME(field) out = put_name(out, &in->field);
#define REST(field)

#define OPERATION(name, number, answer, fields)                                                    \
    case WIRE_OP_##name:                                                                           \
        fields break;

size_t wire_operation_encode(const struct wire_operation *in, uint8_t *out)
{
    const uint8_t *const begin = out;
    out = put(out, in->code, 1);
    switch (in->code) {
#include "wire/operations.def"
    }
    assert(out - begin > 0 && out - begin <= WIRE_OPERATION_HEAD_MAX);
    return (size_t)(out - begin);
}

#undef OPERATION

#define RECORD(NAME, name, fields)                                                                 \
    size_t wire_put_##name(const struct wire_##name *in, uint8_t *out)                             \
    {                                                                                              \
        const uint8_t *const begin = out;                                                          \
        fields return (size_t)(out - begin);                                                       \
    }
#include "wire/records.def"
#undef RECORD

#undef REST
#undef NAME
#undef TIME
#undef U64
#undef U32
#undef U8

/* ---- sizes ---- */

#define U8(field) +1
#define U32(field) +4
#define U64(field) +8
#define TIME(field) +12
#define NAME(field) +1 + in->field.length
#define REST(field)
#define OPERATION(name, number, answer, fields)                                                    \
    case WIRE_OP_##name:                                                                           \
        return 1 fields;

size_t wire_operation_head_size(const struct wire_operation *in)
{
    switch (in->code) {
#include "wire/operations.def"
    }
    assert(false);
    return 0;
}

#undef OPERATION
#undef REST
#undef NAME
#undef TIME
#undef U64
#undef U32
#undef U8

/* ---- decoding ---- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool malformed; /* fields read as zero from here on */
};

static uint64_t get(struct reader *reader, size_t size)
{
    uint64_t value = 0;
    if (reader->malformed || reader->left < size) {
        reader->malformed = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)reader->at[i] << (8 * i);
    }
    reader->at += size;
    reader->left -= size;
    return value;
}

static struct timespec get_time(struct reader *reader)
{
    const struct timespec time = {
        .tv_sec = (time_t)get(reader, 8),
        .tv_nsec = (long)get(reader, 4),
    };
    if (time.tv_nsec >= NANOSECONDS) {
        reader->malformed = true;
    }
    return time;
}

static struct wire_name get_name(struct reader *reader)
{
    struct wire_name name = {.length = (uint8_t)get(reader, 1)};
    if (reader->malformed || reader->left < name.length) {
        reader->malformed = true;
        return (struct wire_name){.bytes = NULL};
    }
    name.bytes = (const char *)reader->at;
    reader->at += name.length;
    reader->left -= name.length;
    return name;
}

static const uint8_t *get_rest(struct reader *reader, uint32_t *size)
{
    const uint8_t *const at = reader->at;
    if (reader->malformed || reader->left > UINT32_MAX) {
        reader->malformed = true;
        return NULL;
    }
    *size = (uint32_t)reader->left;
    reader->at += reader->left;
    reader->left = 0;
    return *size > 0 ? at : NULL;
}

#define U8(field) out->field = (uint8_t)get(reader, 1);
#define U32(field) out->field = (uint32_t)get(reader, 4);
#define U64(field) out->field = get(reader, 8);
#define TIME(field) out->field = get_time(reader);
#define NAME(field) out->field = get_name(reader);
#define REST(field) out->field = get_rest(reader, &out->field##_size);

#define OPERATION(name, number, answer, fields)                                                    \
    case WIRE_OP_##name:                                                                           \
        fields return true;

static bool get_fields(struct reader *reader, struct wire_operation *out)
{
    switch (out->code) {
#include "wire/operations.def"
    }
    return false;
}

#undef OPERATION

bool wire_operation_decode(const uint8_t *bytes, size_t size, struct wire_operation *operation)
{
    struct reader reader = {.at = bytes, .left = size};
    *operation = (struct wire_operation){.code = (enum wire_operation_code)get(&reader, 1)};
    return get_fields(&reader, operation) && !reader.malformed && reader.left == 0;
}

#define RECORD(NAME, name, fields)                                                                 \
    size_t wire_get_##name(const uint8_t *bytes, size_t size, struct wire_##name *out)             \
    {                                                                                              \
        struct reader whole = {.at = bytes, .left = size};                                         \
        struct reader *const reader = &whole;                                                      \
        *out = (struct wire_##name){0};                                                            \
        fields return reader->malformed ? 0 : size - reader->left;                                 \
    }
#include "wire/records.def"
#undef RECORD

#undef REST
#undef NAME
#undef TIME
#undef U64
#undef U32
#undef U8

/* ---- names ---- */

const char *wire_operation_name(enum wire_operation_code code)
{
    switch (code) {
#define OPERATION(name, number, answer, fields)                                                    \
    case WIRE_OP_##name:                                                                           \
        return #name;
#include "wire/operations.def"
#undef OPERATION
    }
    return "unknown";
}
