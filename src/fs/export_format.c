#include "fs/export_format.h"

#include "base/id_map.h"

#include <errno.h>
#include <holdfast/fs.h>
#include <string.h>

#define EXPORT_MAGIC UINT32_C(0x31584648) /* "HFX1" */
#define EXPORT_VERSION 1

#define CLOSE_ON_EXEC UINT32_C(0x80000000)

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_KIND = 6,
    AT_ZERO = 7,
    AT_CHECK = 8,
    AT_TICKET = 16,
    AT_UMASK = 32,
    AT_ITEMS = 36,
    AT_DESCRIPTORS = 40,
    AT_HAS_DIRECTORY = 44,
};

static void put(uint8_t *bytes, size_t at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[at + i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *bytes, size_t at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)bytes[at + i] << (8 * i);
    }
    return value;
}

static uint32_t get_u32(const uint8_t *bytes, size_t at)
{
    return (uint32_t)get(bytes, at, 4);
}

/* FNV-1a, which finds damage and stops nobody who wants to deceive. */
static uint64_t make_check(const uint8_t *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) {
        if (i < AT_CHECK || i >= AT_TICKET) {
            hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

void export_set_descriptor(uint8_t *bytes, uint32_t index, const struct export_descriptor *value)
{
    const size_t at = export_size(index);
    put(bytes, at, value->number | (value->close_on_exec ? CLOSE_ON_EXEC : 0), 4);
    put(bytes, at + 4, value->item, 4);
}

struct export_descriptor export_get_descriptor(const uint8_t *bytes, uint32_t index)
{
    const size_t at = export_size(index);
    const uint32_t number = get_u32(bytes, at);
    return (struct export_descriptor){
        .number = number & ~CLOSE_ON_EXEC,
        .item = get_u32(bytes, at + 4),
        .close_on_exec = (number & CLOSE_ON_EXEC) != 0,
    };
}

void export_set_head(uint8_t *bytes, const struct export_head *head)
{
    put(bytes, AT_MAGIC, EXPORT_MAGIC, 4);
    put(bytes, AT_VERSION, EXPORT_VERSION, 2);
    put(bytes, AT_KIND, head->kind, 1);
    put(bytes, AT_ZERO, 0, 1);
    put(bytes, AT_TICKET, head->ticket.space, 8);
    put(bytes, AT_TICKET + 8, head->ticket.object, 8);
    put(bytes, AT_UMASK, head->umask, 4);
    put(bytes, AT_ITEMS, head->items, 4);
    put(bytes, AT_DESCRIPTORS, head->descriptors, 4);
    put(bytes, AT_HAS_DIRECTORY, head->has_directory, 4);
    put(bytes, AT_CHECK, make_check(bytes, export_size(head->descriptors)), 8);
}

/* Numbers go up, and each item but the working directory has its descriptors. */
static bool descriptors_are_good(const uint8_t *bytes, const struct export_head *head)
{
    uint32_t least = 0;
    uint32_t items = 0;
    for (uint32_t i = 0; i < head->descriptors; i++) {
        const struct export_descriptor descriptor = export_get_descriptor(bytes, i);
        if (descriptor.number < least || descriptor.number >= HF_FS_DESCRIPTORS_MAX ||
            descriptor.item > items) {
            return false;
        }
        least = descriptor.number + 1;
        items += descriptor.item == items;
    }
    return head->items == items + head->has_directory;
}

static bool head_is_good(const struct export_head *head)
{
    if ((head->items == 0) != hf_id_equal(head->ticket, (hf_id){0, 0})) {
        return false;
    }
    if (head->kind == EXPORT_FILE) {
        return head->descriptors == 1 && !head->has_directory && head->umask == 0;
    }
    return head->kind == EXPORT_ALL && head->umask <= 0777;
}

int export_get_head(const uint8_t *bytes, size_t size, struct export_head *head)
{
    if (size < EXPORT_HEAD_SIZE || get_u32(bytes, AT_MAGIC) != EXPORT_MAGIC ||
        get(bytes, AT_VERSION, 2) != EXPORT_VERSION || bytes[AT_ZERO] != 0) {
        return -EINVAL;
    }
    const uint32_t has_directory = get_u32(bytes, AT_HAS_DIRECTORY);
    *head = (struct export_head){
        .kind = (enum export_kind)bytes[AT_KIND],
        .ticket = {get(bytes, AT_TICKET, 8), get(bytes, AT_TICKET + 8, 8)},
        .umask = get_u32(bytes, AT_UMASK),
        .items = get_u32(bytes, AT_ITEMS),
        .descriptors = get_u32(bytes, AT_DESCRIPTORS),
        .has_directory = has_directory != 0,
    };
    const bool is_whole = has_directory <= 1 && head->descriptors <= HF_FS_DESCRIPTORS_MAX &&
                          size == export_size(head->descriptors) &&
                          get(bytes, AT_CHECK, 8) == make_check(bytes, size);
    if (!is_whole || !head_is_good(head) || !descriptors_are_good(bytes, head)) {
        return -EINVAL;
    }
    return 0;
}
