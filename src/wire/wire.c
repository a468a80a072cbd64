/*
 * The coder is made of messages.def: each pass below gives the field types another meaning.
 */
#include "wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- what messages.def says about each kind ---- */

struct shape {
    const char *name;    /* NULL: no such kind */
    uint16_t fixed_size; /* all fields; of BYTES the length only, of REST nothing */
    bool has_data;
    enum wire_direction direction;
};

#define U8(field) +1
#define U16(field) +2
#define U32(field) +4
#define U64(field) +8
#define ID(field) +16
#define BYTES(field) +2
#define REST(field)
#define MESSAGE(name, number, direction, fields) FIXED_SIZE_##name = 0 fields,
enum {
#include "wire/messages.def"
};
#undef MESSAGE
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8

#define U8(field)
#define U16(field)
#define U32(field)
#define U64(field)
#define ID(field)
#define BYTES(field) +1
#define REST(field) +1
#define MESSAGE(kind, number, way, fields)                                                         \
    [number] = {.name = #kind,                                                                     \
                .fixed_size = FIXED_SIZE_##kind,                                                   \
                .has_data = (0 fields) != 0,                                                       \
                .direction = way},
static const struct shape shapes[] = {
#include "wire/messages.def"
};
#undef MESSAGE
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8

#define SHAPE_COUNT (sizeof(shapes) / sizeof(shapes[0]))

static const struct shape *find_shape(unsigned kind)
{
    return kind < SHAPE_COUNT && shapes[kind].name != NULL ? &shapes[kind] : NULL;
}

static uint8_t known_flags(enum wire_kind kind)
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
    case WIRE_LOCK:
        return WIRE_LOCK_FLAGS;
    case WIRE_LOCK_RETURN:
        return WIRE_LOCK_RETURN_FLAGS;
    case WIRE_LOCK_LISTED:
        return WIRE_LOCK_LISTED_FLAGS;
    default:
        return 0;
    }
}

/* ---- encoding ---- */

static uint8_t *put(uint8_t *out, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
    return out + size;
}

size_t wire_size(const struct wire_message *message)
{
    const struct shape *shape = find_shape((unsigned)message->kind);
    assert(shape != NULL);
    const size_t data_size = shape->has_data ? message->data_size : 0;
    const size_t frame_size = 1 + shape->fixed_size + data_size;
    assert(frame_size <= WIRE_FRAME_MAX);
    return WIRE_LENGTH_BYTES + frame_size;
}

static uint8_t *put_rest(uint8_t *out, const uint8_t *data, size_t size)
{
    if (size > 0 && data != NULL) {
        memcpy(out, data, size);
    }
    return out + size;
}

static uint8_t *put_data(uint8_t *out, const uint8_t *data, size_t size)
{
    assert(size <= UINT16_MAX);
    return put_rest(put(out, size, 2), data, size);
}

#define U8(field) out = put(out, message->field, 1);
#define U16(field) out = put(out, message->field, 2);
#define U32(field) out = put(out, message->field, 4);
#define U64(field) out = put(out, message->field, 8);
#define ID(field) out = put(put(out, message->field.space, 8), message->field.object, 8);
#define BYTES(field) out = put_data(out, message->field, message->field##_size);
#define REST(field) out = put_rest(out, message->field, message->field##_size);
#define MESSAGE(name, number, direction, fields)                                                   \
    case WIRE_##name:                                                                              \
        fields break;

size_t wire_encode(const struct wire_message *message, uint8_t *out)
{
    const size_t size = wire_size(message);
    const uint8_t *const begin = out;
    out = put(out, size - WIRE_LENGTH_BYTES, WIRE_LENGTH_BYTES);
    out = put(out, message->kind, 1);
    switch (message->kind) {
#include "wire/messages.def"
    }
    assert((size_t)(out - begin) == size);
    return size;
}

#undef MESSAGE
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8

/* ---- decoding ---- */

/* The fields of a frame of which some bytes, at the end, may not have arrived. Fields that are
 * not there yet stay zero, which is good in every field that is checked. */
struct reader {
    const uint8_t *at;
    size_t arrived; /* bytes at @at */
    size_t left;    /* bytes from @at to the end of the frame; the fixed fields fit */
    bool malformed;
};

static uint64_t get(struct reader *reader, size_t size)
{
    uint64_t value = 0;
    if (reader->arrived < size) {
        reader->arrived = 0;
    } else {
        for (size_t i = 0; i < size; i++) {
            value |= (uint64_t)reader->at[i] << (8 * i);
        }
        reader->at += size;
        reader->arrived -= size;
    }
    reader->left -= size;
    return value;
}

/* The frame's length says how much data there must be; what has arrived of the data's own
 * length has to agree. */
static const uint8_t *get_data(struct reader *reader, uint32_t *size)
{
    const size_t expected = reader->left - 2;
    if (expected > UINT16_MAX || (reader->arrived > 0 && reader->at[0] != (expected & 0xff)) ||
        (reader->arrived > 1 && reader->at[1] != expected >> 8)) {
        reader->malformed = true;
        return NULL;
    }
    *size = (uint32_t)get(reader, 2);
    return *size > 0 ? reader->at : NULL;
}

static const uint8_t *get_rest(const struct reader *reader, uint32_t *size)
{
    *size = (uint32_t)reader->left;
    return *size > 0 ? reader->at : NULL;
}

#define U8(field) message->field = (uint8_t)get(reader, 1);
#define U16(field) message->field = (uint16_t)get(reader, 2);
#define U32(field) message->field = (uint32_t)get(reader, 4);
#define U64(field) message->field = get(reader, 8);
#define ID(field)                                                                                  \
    message->field.space = get(reader, 8);                                                         \
    message->field.object = get(reader, 8);
#define BYTES(field) message->field = get_data(reader, &message->field##_size);
#define REST(field) message->field = get_rest(reader, &message->field##_size);
#define MESSAGE(name, number, direction, fields)                                                   \
    case WIRE_##name:                                                                              \
        fields break;

static void get_fields(struct reader *reader, struct wire_message *message)
{
    switch (message->kind) {
#include "wire/messages.def"
    }
}

#undef MESSAGE
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8

static bool length_fits(const struct shape *shape, size_t length)
{
    const size_t least = 1 + (size_t)shape->fixed_size;
    return length == least || (shape->has_data && length > least);
}

static bool length_fits_any(enum wire_direction direction, size_t length)
{
    for (unsigned kind = 0; kind < SHAPE_COUNT; kind++) {
        const struct shape *shape = find_shape(kind);
        if (shape != NULL && shape->direction == direction && length_fits(shape, length)) {
            return true;
        }
    }
    return false;
}

enum wire_verdict wire_decode(const uint8_t *bytes, size_t size, size_t frame_limit,
                              enum wire_direction direction, struct wire_message *message,
                              size_t *consumed)
{
    if (size < WIRE_LENGTH_BYTES) {
        return WIRE_INCOMPLETE;
    }
    struct reader length_reader = {bytes, size, WIRE_LENGTH_BYTES, false};
    const size_t length = (size_t)get(&length_reader, WIRE_LENGTH_BYTES);
    if (length > frame_limit) {
        return WIRE_TOO_LONG;
    }
    if (size == WIRE_LENGTH_BYTES) {
        return length_fits_any(direction, length) ? WIRE_INCOMPLETE : WIRE_MALFORMED;
    }

    const unsigned kind = bytes[WIRE_LENGTH_BYTES];
    const struct shape *shape = length > 0 ? find_shape(kind) : NULL;
    if (shape == NULL || shape->direction != direction || !length_fits(shape, length)) {
        return WIRE_MALFORMED;
    }

    const size_t after_length = size - WIRE_LENGTH_BYTES;
    const size_t arrived = after_length < length ? after_length : length;
    struct reader reader = {bytes + WIRE_LENGTH_BYTES + 1, arrived - 1, length - 1, false};
    *message = (struct wire_message){.kind = (enum wire_kind)kind};
    get_fields(&reader, message);
    if (reader.malformed || message->mode > HF_EXCLUSIVE ||
        (message->flags & ~known_flags(message->kind)) != 0) {
        return WIRE_MALFORMED;
    }
    if (arrived < length) {
        return WIRE_INCOMPLETE;
    }
    *consumed = WIRE_LENGTH_BYTES + length;
    return WIRE_OK;
}

/* ---- names ---- */

const char *wire_kind_name(enum wire_kind kind)
{
    const struct shape *shape = find_shape((unsigned)kind);
    return shape != NULL ? shape->name : "unknown";
}

const char *wire_reason_text(uint8_t reason)
{
    switch (reason) {
#define REASON(name, number, error, text)                                                          \
    case number:                                                                                   \
        return text;
        WIRE_REASONS(REASON)
#undef REASON
    default:
        return "unknown reason";
    }
}

int wire_reason_errno(uint8_t reason)
{
    switch (reason) {
#define REASON(name, number, error, text)                                                          \
    case number:                                                                                   \
        return error;
        WIRE_REASONS(REASON)
#undef REASON
    default:
        return EPROTO;
    }
}
