/*
 * Chained hashing. The table is resized by insertions alone, so that a walk may remove the
 * node it stands on: it doubles when there would be more nodes than buckets, and halves when
 * there is a node to eight buckets or fewer.
 */
#include "base/id_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define ID_MAP_FIRST 16

/*
 * Identifiers are mostly small counters in either word, or differ in a few high bits, and the
 * bucket is taken from the low bits: so high bits are folded down before each multiplication,
 * which carries differences upwards only. Two equal shifts in a row would undo each other.
 */
static uint64_t hash_id(hf_id id)
{
    uint64_t hash = id.space * UINT64_C(0xc85089f479d24b63);
    hash ^= hash >> 27;
    hash += id.object;
    hash ^= hash >> 32;
    hash *= UINT64_C(0xa16d4d3d919fc703);
    hash ^= hash >> 29;
    hash *= UINT64_C(0xfeeab73029a2909f);
    hash ^= hash >> 32;
    return hash;
}

static struct id_map_node **bucket_of(const struct id_map *map, hf_id id)
{
    return &map->buckets[hash_id(id) & (map->bucket_count - 1)];
}

int id_map_init(struct id_map *map)
{
    *map = (struct id_map){.bucket_count = ID_MAP_FIRST};
    map->buckets = calloc(map->bucket_count, sizeof(*map->buckets));
    return map->buckets == NULL ? -ENOMEM : 0;
}

void id_map_deinit(struct id_map *map)
{
    free(map->buckets);
    *map = (struct id_map){0};
}

struct id_map_node *id_map_find(const struct id_map *map, hf_id id)
{
    struct id_map_node *node = *bucket_of(map, id);
    while (node != NULL && !hf_id_equal(node->id, id)) {
        node = node->next;
    }
    return node;
}

static void link_node(struct id_map *map, struct id_map_node *node)
{
    struct id_map_node **bucket = bucket_of(map, node->id);
    node->next = *bucket;
    *bucket = node;
}

static void resize(struct id_map *map, size_t bucket_count)
{
    struct id_map_node **buckets = calloc(bucket_count, sizeof(*buckets));
    if (buckets == NULL) {
        return; /* the old table still works */
    }
    const struct id_map old = *map;
    map->buckets = buckets;
    map->bucket_count = bucket_count;
    for (size_t i = 0; i < old.bucket_count; i++) {
        struct id_map_node *node = old.buckets[i];
        while (node != NULL) {
            struct id_map_node *next = node->next;
            link_node(map, node);
            node = next;
        }
    }
    free(old.buckets);
}

void id_map_insert(struct id_map *map, struct id_map_node *node)
{
    if (map->count >= map->bucket_count) {
        resize(map, map->bucket_count * 2);
    } else if (map->count < map->bucket_count / 8 && map->bucket_count > ID_MAP_FIRST) {
        resize(map, map->bucket_count / 2);
    }
    link_node(map, node);
    map->count++;
}

void id_map_remove(struct id_map *map, struct id_map_node *node)
{
    struct id_map_node **link = bucket_of(map, node->id);
    while (*link != node) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    map->count--;
}

struct id_map_node *id_map_next(const struct id_map *map, const struct id_map_node *node)
{
    size_t i = 0;
    if (node != NULL) {
        if (node->next != NULL) {
            return node->next;
        }
        i = (hash_id(node->id) & (map->bucket_count - 1)) + 1;
    }
    while (i < map->bucket_count && map->buckets[i] == NULL) {
        i++;
    }
    return i < map->bucket_count ? map->buckets[i] : NULL;
}

size_t id_map_bytes(const struct id_map *map)
{
    return map->bucket_count * sizeof(*map->buckets);
}
