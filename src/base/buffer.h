/*
 * A queue of bytes with a limit: appended at the end, consumed at the front.
 */
#ifndef HF_BASE_BUFFER_H
#define HF_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *bytes; /* allocation; the content is bytes[start .. start + length) */
    size_t start;
    size_t length;
    size_t capacity;
    size_t limit; /* the content never gets longer than this */
};

void buffer_init(struct buffer *buffer, size_t limit);
void buffer_deinit(struct buffer *buffer);

/* The content; may be NULL while there is none. Valid until the next call that is not const. */
static inline const uint8_t *buffer_data(const struct buffer *buffer)
{
    return buffer->length == 0 ? buffer->bytes : buffer->bytes + buffer->start;
}

/* Make room for @size more bytes and return where to put them; they count once
 * buffer_commit() says so. NULL, with errno set to ENOBUFS (limit) or ENOMEM. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);

/* @size bytes were put at the place buffer_reserve() gave, which had at least that room. */
void buffer_commit(struct buffer *buffer, size_t size);

/* Return: 0, -ENOBUFS over the limit, -ENOMEM; on failure nothing was appended. */
int buffer_append(struct buffer *buffer, const void *data, size_t size);

/* Drop @size bytes, at most the length, from the front. An empty buffer that grew large
 * gives its memory back. */
void buffer_consume(struct buffer *buffer, size_t size);

#endif
