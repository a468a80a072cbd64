/*
 * The content sits in the middle of one allocation. Consuming only moves its start; the bytes
 * are moved to the front when an append does not fit behind them and at least half as many
 * were consumed meanwhile, so a byte is moved a bounded number of times whatever the pattern.
 * For that the allocation may be half as long again as the limit.
 */
#include "base/buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The first allocation; and an empty buffer gives back more than BUFFER_KEEP. */
#define BUFFER_FIRST 256
#define BUFFER_KEEP 16384

void buffer_init(struct buffer *buffer, size_t limit)
{
    *buffer = (struct buffer){.limit = limit};
}

void buffer_deinit(struct buffer *buffer)
{
    free(buffer->bytes);
    buffer_init(buffer, buffer->limit);
}

static size_t capacity_max(const struct buffer *buffer)
{
    return buffer->limit > SIZE_MAX / 2 ? SIZE_MAX : buffer->limit + buffer->limit / 2;
}

/* Move the content to a larger allocation, or to the front of this one. */
static bool make_room(struct buffer *buffer, size_t needed)
{
    if (buffer->bytes != NULL && buffer->capacity >= needed &&
        buffer->start >= buffer->length / 2) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->length);
        buffer->start = 0;
        return true;
    }

    const size_t most = capacity_max(buffer);
    size_t capacity = buffer->capacity > most / 2 ? most : buffer->capacity * 2;
    if (capacity < BUFFER_FIRST) {
        capacity = BUFFER_FIRST < most ? BUFFER_FIRST : most;
    }
    if (capacity < needed) {
        capacity = needed;
    }
    uint8_t *bytes = malloc(capacity > 0 ? capacity : 1);
    if (bytes == NULL) {
        return false;
    }
    if (buffer->length > 0) {
        memcpy(bytes, buffer_data(buffer), buffer->length);
    }
    free(buffer->bytes);
    buffer->bytes = bytes;
    buffer->start = 0;
    buffer->capacity = capacity;
    return true;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t size)
{
    if (size > buffer->limit - buffer->length) {
        errno = ENOBUFS;
        return NULL;
    }
    const size_t behind = buffer->capacity - buffer->start - buffer->length;
    if ((size > behind || buffer->bytes == NULL) && !make_room(buffer, buffer->length + size)) {
        errno = ENOMEM;
        return NULL;
    }
    return buffer->bytes + buffer->start + buffer->length;
}

void buffer_commit(struct buffer *buffer, size_t size)
{
    assert(size <= buffer->capacity - buffer->start - buffer->length);
    assert(size <= buffer->limit - buffer->length);
    buffer->length += size;
}

int buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    uint8_t *room = buffer_reserve(buffer, size);
    if (room == NULL) {
        return -errno;
    }
    if (size > 0) {
        memcpy(room, data, size);
        buffer_commit(buffer, size);
    }
    return 0;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    assert(size <= buffer->length);
    buffer->start += size;
    buffer->length -= size;
    if (buffer->length > 0) {
        return;
    }
    buffer->start = 0;
    if (buffer->capacity > BUFFER_KEEP) {
        buffer_deinit(buffer);
    }
}
