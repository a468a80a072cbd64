#include "fs/xattr_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct xattr_entry {
    struct xattr_entry *next;
    size_t name_length; /* 0: this is the list */
    ssize_t size;       /* -1: absent */
    char bytes[];       /* the name, then the value */
};

static size_t bytes_of(const struct xattr_entry *entry)
{
    return sizeof *entry + entry->name_length + (entry->size < 0 ? 0 : (size_t)entry->size);
}

void xattr_cache_init(struct xattr_cache *cache, struct budget *budget)
{
    *cache = (struct xattr_cache){.budget = budget};
}

static void free_entries(struct xattr_cache *cache)
{
    while (cache->entries != NULL) {
        struct xattr_entry *entry = cache->entries;
        cache->entries = entry->next;
        budget_give_back(cache->budget, budget_bytes(bytes_of(entry)));
        free(entry);
    }
    cache->bytes = 0;
}

void xattr_cache_deinit(struct xattr_cache *cache)
{
    free_entries(cache);
    cache->epoch = 0;
}

void xattr_cache_validate(struct xattr_cache *cache, uint64_t epoch)
{
    if (cache->epoch != epoch) {
        free_entries(cache);
        cache->epoch = epoch;
    }
}

bool xattr_cache_takes(const char *name)
{
    return strncmp(name, "user.", 5) == 0 && name[5] != '\0';
}

ssize_t xattr_cache_find(const struct xattr_cache *cache, const char *name, const void **value)
{
    const size_t length = name == NULL ? 0 : strlen(name);
    for (const struct xattr_entry *entry = cache->entries; entry != NULL; entry = entry->next) {
        if (entry->name_length == length &&
            memcmp(entry->bytes, name == NULL ? "" : name, length) == 0) {
            *value = entry->bytes + length;
            return entry->size < 0 ? -ENODATA : entry->size;
        }
    }
    return -EAGAIN;
}

void xattr_cache_add(struct xattr_cache *cache, const char *name, const void *value, ssize_t size)
{
    const size_t name_length = name == NULL ? 0 : strlen(name);
    const size_t value_size = size < 0 ? 0 : (size_t)size;
    const size_t bytes = sizeof(struct xattr_entry) + name_length + value_size;

    if (bytes > XATTR_CACHE_BYTES) {
        return;
    }
    if (cache->bytes + bytes > XATTR_CACHE_BYTES) {
        free_entries(cache);
    }
    struct xattr_entry *entry = malloc(bytes);
    if (entry == NULL) {
        return;
    }
    entry->next = cache->entries;
    entry->name_length = name_length;
    entry->size = size < 0 ? -1 : size;
    if (name_length > 0) {
        memcpy(entry->bytes, name, name_length);
    }
    if (value_size > 0) {
        memcpy(entry->bytes + name_length, value, value_size);
    }
    cache->entries = entry;
    cache->bytes += bytes;
    budget_take(cache->budget, budget_bytes(bytes));
}
