#include "wire/mounts.h"

#include "wire/operations.h"

#include <assert.h>
#include <string.h>

uint32_t wire_mount_backend(const struct wire_mount *mount)
{
    return mount->type == WIRE_MOUNT_DIRECT ? WIRE_BACKEND_DIRECT
                                            : (uint32_t)(mount->root.space >> 32) & 0xffffff;
}

/* ---- encoding ---- */

static uint8_t *put_number(uint8_t *at, uint64_t number, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        *at++ = (uint8_t)(number >> (8 * i));
    }
    return at;
}

static uint8_t *put_id(uint8_t *at, hf_id id)
{
    return put_number(put_number(at, id.space, 8), id.object, 8);
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    const size_t size = strlen(text) + 1;
    memcpy(at, text, size);
    return at + size;
}

static size_t encoded_size(const struct wire_mounts *mounts)
{
    size_t size = WIRE_MOUNTS_HEAD_BYTES;
    for (size_t i = 0; i < mounts->count; i++) {
        size += WIRE_MOUNT_BYTES + strlen(mounts->mounts[i].path) + 1 +
                strlen(mounts->mounts[i].source) + 1;
    }
    return size;
}

size_t wire_mounts_encode(const struct wire_mounts *mounts, uint8_t *out)
{
    assert(mounts->count <= WIRE_MOUNTS_MAX);
    const size_t size = encoded_size(mounts);
    if (size > HF_VALUE_MAX) {
        return 0;
    }
    uint8_t *at = put_number(out, WIRE_MOUNTS_VERSION, 2);
    at = put_number(at, mounts->count, 2);
    at = put_number(at, mounts->last, 8);
    for (size_t i = 0; i < mounts->count; i++) {
        const struct wire_mount *mount = &mounts->mounts[i];
        at = put_number(at, mount->number, 8);
        at = put_number(at, mount->parent, 8);
        at = put_id(at, mount->point);
        at = put_id(at, mount->root);
        at = put_number(at, mount->type, 1);
        at = put_number(at, mount->flags, 1);
        at = put_text(at, mount->path);
        at = put_text(at, mount->source);
    }
    assert((size_t)(at - out) == size);
    return size;
}

/* ---- decoding ---- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static uint64_t take_number(struct reader *reader, size_t bytes)
{
    uint64_t number = 0;
    if (reader->left < bytes) {
        reader->failed = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) {
        number |= (uint64_t)reader->at[i] << (8 * i);
    }
    reader->at += bytes;
    reader->left -= bytes;
    return number;
}

static hf_id take_id(struct reader *reader)
{
    const uint64_t space = take_number(reader, 8);
    return (hf_id){space, take_number(reader, 8)};
}

static const char *take_text(struct reader *reader)
{
    const uint8_t *text = reader->at;
    const uint8_t *end = reader->left == 0 ? NULL : memchr(text, '\0', reader->left);
    if (end == NULL) {
        reader->failed = true;
        return NULL;
    }
    reader->left -= (size_t)(end + 1 - text);
    reader->at = end + 1;
    return (const char *)text;
}

static bool is_same_id(hf_id one, hf_id other)
{
    return one.space == other.space && one.object == other.object;
}

static bool is_good_source(const struct wire_mount *mount)
{
    if (mount->type == WIRE_MOUNT_DIRECT) {
        return mount->source[0] == '/';
    }
    const uint32_t store = wire_mount_backend(mount);
    return mount->type == WIRE_MOUNT_SERVED && (mount->flags & WIRE_MOUNT_CHECKED) == 0 &&
           store >= WIRE_STORE_FIRST && store <= WIRE_STORE_LAST &&
           is_same_id(mount->root, wire_store_id(store, mount->root.object)) &&
           (mount->source[0] == '/' || strcmp(mount->source, WIRE_MOUNT_RAM) == 0);
}

/* The last one is new: does it fit the ones before it? */
static bool fits(const struct wire_mounts *mounts)
{
    const size_t before = mounts->count - 1;
    const struct wire_mount *mount = &mounts->mounts[before];
    bool has_parent = false;

    if (mount->number == 0 || mount->number > mounts->last || mount->path[0] != '/' ||
        (mount->flags & ~WIRE_MOUNT_FLAGS) != 0 || !is_good_source(mount)) {
        return false;
    }
    for (size_t i = 0; i < before; i++) {
        const struct wire_mount *other = &mounts->mounts[i];
        if (other->number == mount->number ||
            (other->parent == mount->parent && is_same_id(other->point, mount->point))) {
            return false;
        }
        has_parent = has_parent || other->number == mount->parent;
    }
    /* There is one at "/", it is the first, and all others are in it. */
    if (before == 0) {
        return mount->parent == 0 && is_same_id(mount->point, (hf_id){0, 0});
    }
    return has_parent;
}

bool wire_mounts_decode(const uint8_t *bytes, size_t size, struct wire_mounts *mounts)
{
    struct reader reader = {.at = bytes, .left = size};
    mounts->last = 0;
    mounts->count = 0;
    if (size == 0) {
        return true;
    }
    const bool known = take_number(&reader, 2) == WIRE_MOUNTS_VERSION;
    const size_t count = take_number(&reader, 2);
    mounts->last = take_number(&reader, 8);
    if (reader.failed || !known || count > WIRE_MOUNTS_MAX) {
        return false;
    }
    while (mounts->count < count) {
        struct wire_mount *mount = &mounts->mounts[mounts->count++];
        mount->number = take_number(&reader, 8);
        mount->parent = take_number(&reader, 8);
        mount->point = take_id(&reader);
        mount->root = take_id(&reader);
        mount->type = (uint8_t)take_number(&reader, 1);
        mount->flags = (uint8_t)take_number(&reader, 1);
        mount->path = take_text(&reader);
        mount->source = take_text(&reader);
        if (reader.failed || !fits(mounts)) {
            return false;
        }
    }
    return reader.left == 0;
}
