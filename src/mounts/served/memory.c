/*
 * The callers' memory. What comes from a cache is copied in this process, where a bad pointer ends
 * it; with check_pointers it is the kernel that copies, and says how far it came.
 */
#include "mounts/served/parts.h"

#include "fs/user_memory.h"

#include <stdlib.h>
#include <string.h>

size_t sb_give(const struct sb *served, void *to, const void *from, size_t size)
{
    if (to == NULL || size == 0) {
        return 0;
    }
    if (served->check_pointers) {
        return user_memory_write_part(to, from, size);
    }
    memcpy(to, from, size);
    return size;
}

size_t sb_get(const struct sb *served, void *to, const void *from, size_t size)
{
    if (from == NULL || size == 0) {
        return 0;
    }
    if (served->check_pointers) {
        return user_memory_read_part(to, from, size);
    }
    memcpy(to, from, size);
    return size;
}

bool sb_is_memory(const void *at, size_t size)
{
    /* The upper half of all addresses is the kernel's. */
    const uintptr_t end = UINTPTR_MAX / 2;
    return (uintptr_t)at <= end && size <= end - (uintptr_t)at;
}

const void *sb_borrow(const struct sb *served, const void *from, size_t *size, void **copy)
{
    *copy = NULL;
    if (from == NULL || *size == 0) {
        *size = 0;
        return NULL;
    }
    if (!served->check_pointers) {
        return from;
    }
    *copy = malloc(*size);
    *size = *copy == NULL ? 0 : user_memory_read_part(*copy, from, *size);
    if (*size == 0) {
        free(*copy);
        *copy = NULL;
    }
    return *copy;
}
