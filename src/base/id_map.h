/*
 * A hash map from identifiers to objects. The objects embed a node; the map allocates only
 * its table of buckets. It grows by doubling and never shrinks below its first size.
 */
#ifndef HF_BASE_ID_MAP_H
#define HF_BASE_ID_MAP_H

#include <holdfast/sync.h>
#include <stdbool.h>

struct id_map_node {
    struct id_map_node *next;
    hf_id id;
};

struct id_map {
    struct id_map_node **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
};

static inline bool hf_id_equal(hf_id a, hf_id b)
{
    return a.space == b.space && a.object == b.object;
}

/* Return: 0, -ENOMEM. */
int id_map_init(struct id_map *map);

/* The nodes still inside are not touched. */
void id_map_deinit(struct id_map *map);

struct id_map_node *id_map_find(const struct id_map *map, hf_id id);

/* node->id is set and not in the map yet. When the table cannot grow for want of memory it
 * stays as it is, and chains get longer. */
void id_map_insert(struct id_map *map, struct id_map_node *node);

/* The node is in the map. */
void id_map_remove(struct id_map *map, struct id_map_node *node);

/* Walk all nodes in no special order: start with NULL; NULL at the end. The map must not
 * change during the walk; @node itself may be removed if its successor was fetched first. */
struct id_map_node *id_map_next(const struct id_map *map, const struct id_map_node *node);

/* Bytes allocated for the table. */
size_t id_map_bytes(const struct id_map *map);

#endif
