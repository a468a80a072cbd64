/*
 * The bytes that stand for exported open files: what was parked, under which ticket, and which
 * descriptors were which of it. All integers are little-endian.
 *
 *    0  U32 magic     4  U16 version   6  U8 kind    7  U8 zero
 *    8  U64 check: of all other bytes
 *   16  ID ticket    32  U32 umask    36  U32 items
 *   40  U32 descriptors               44  U32 1 when the last item is the working directory
 *   48  for each descriptor U32 number, with bit 31 for FD_CLOEXEC, and U32 item
 *
 * Descriptors stand in the order of their numbers, and items in the order of the first descriptor
 * they have. So there is one way to say a thing, and decoding lets no other pass.
 */
#ifndef HF_FS_EXPORT_FORMAT_H
#define HF_FS_EXPORT_FORMAT_H

#include <holdfast/sync.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define EXPORT_HEAD_SIZE 48
#define EXPORT_DESCRIPTOR_SIZE 8

enum export_kind {
    EXPORT_ALL = 1,  /* what a child of a fork would get */
    EXPORT_FILE = 2, /* one open file: one descriptor, whose number is 0 and means nothing */
};

struct export_head {
    enum export_kind kind;
    hf_id ticket; /* {0, 0}: there are no items */
    mode_t umask;
    uint32_t items; /* under the ticket */
    uint32_t descriptors;
    bool has_directory; /* the last item is the working directory, which is not the root */
};

struct export_descriptor {
    uint32_t number;
    uint32_t item;
    bool close_on_exec;
};

static inline size_t export_size(uint32_t descriptors)
{
    return EXPORT_HEAD_SIZE + (size_t)descriptors * EXPORT_DESCRIPTOR_SIZE;
}

/* @bytes has export_size() of them. First the descriptors, then the head. */
void export_set_descriptor(uint8_t *bytes, uint32_t index, const struct export_descriptor *value);
void export_set_head(uint8_t *bytes, const struct export_head *head);

/* Everything is checked, the descriptors too. Return: 0, -EINVAL. */
int export_get_head(const uint8_t *bytes, size_t size, struct export_head *head);
struct export_descriptor export_get_descriptor(const uint8_t *bytes, uint32_t index);

#endif
