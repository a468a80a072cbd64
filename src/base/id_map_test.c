#include <stdbool.h>
#include <stdlib.h>

/* The map's own source is included so that its allocations can be made to fail. */
static bool memory_is_gone;
static void *calloc_or_fail(size_t count, size_t size)
{
    return memory_is_gone ? NULL : calloc(count, size);
}
#define calloc calloc_or_fail
#include "base/id_map.c"
#undef calloc

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MANY 1000000

static struct id_map_node *make_nodes(size_t count)
{
    struct id_map_node *nodes = calloc(count, sizeof(*nodes));
    assert_non_null(nodes);
    return nodes;
}

/* What was inserted is found under its identifier, and nothing is under any other. */
static void test_finds_what_is_there_and_nothing_else(void **state)
{
    struct id_map map;
    assert_int_equal(id_map_init(&map), 0);
    struct id_map_node nodes[4] = {
        {.id = {0, 0}},
        {.id = {1, 0}},
        {.id = {0, 1}},
        {.id = {UINT64_MAX, UINT64_MAX}},
    };
    for (int i = 0; i < 4; i++) {
        assert_null(id_map_find(&map, nodes[i].id));
        id_map_insert(&map, &nodes[i]);
        assert_ptr_equal(id_map_find(&map, nodes[i].id), &nodes[i]);
    }
    assert_int_equal(map.count, 4);
    assert_null(id_map_find(&map, (hf_id){1, 1}));

    id_map_remove(&map, &nodes[1]);
    assert_null(id_map_find(&map, nodes[1].id));
    assert_ptr_equal(id_map_find(&map, nodes[0].id), &nodes[0]);
    assert_ptr_equal(id_map_find(&map, nodes[2].id), &nodes[2]);
    assert_int_equal(map.count, 3);
    id_map_deinit(&map);
}

/* The k-th identifier of a pattern that real identifiers follow. */
typedef hf_id id_pattern(uint64_t k);

static hf_id one_space(uint64_t k)
{
    return (hf_id){7, k};
}

static hf_id one_object(uint64_t k)
{
    return (hf_id){k, 7};
}

static hf_id thousand_spaces(uint64_t k)
{
    return (hf_id){k % 1000, k / 1000};
}

static hf_id diagonal(uint64_t k)
{
    return (hf_id){k, k};
}

static hf_id opposite(uint64_t k)
{
    return (hf_id){k, UINT64_MAX - k};
}

static hf_id high_bits_only(uint64_t k)
{
    return (hf_id){HF_SPACE_RESERVED, k << 44};
}

static size_t longest_chain(const struct id_map *map)
{
    size_t longest = 0;
    for (size_t i = 0; i < map->bucket_count; i++) {
        size_t length = 0;
        for (const struct id_map_node *node = map->buckets[i]; node != NULL; node = node->next) {
            length++;
        }
        longest = length > longest ? length : longest;
    }
    return longest;
}

static size_t used_buckets(const struct id_map *map)
{
    size_t used = 0;
    for (size_t i = 0; i < map->bucket_count; i++) {
        used += map->buckets[i] != NULL;
    }
    return used;
}

/* A million identifiers fill the buckets as chance would: with 2^20 buckets it leaves about
 * exp(-1000000 / 2^20) = 38.5% of them empty, and hardly ever puts 12 nodes in one. */
static void test_a_million_sequential_identifiers_spread(void **state)
{
    static id_pattern *const patterns[] = {
        one_space, one_object, thousand_spaces, diagonal, opposite, high_bits_only};
    struct id_map_node *nodes = make_nodes(MANY);
    for (size_t p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++) {
        struct id_map map;
        assert_int_equal(id_map_init(&map), 0);
        for (uint64_t k = 0; k < MANY; k++) {
            nodes[k].id = patterns[p](k);
            id_map_insert(&map, &nodes[k]);
        }
        assert_int_equal(map.bucket_count, 1 << 20);
        assert_in_range(longest_chain(&map), 1, 12);
        assert_in_range(used_buckets(&map), 637000, 653000);
        id_map_deinit(&map);
    }
    free(nodes);
}

/* Flipping any one bit of an identifier flips half of the hash's low bits, within chance. */
static void test_every_bit_of_both_words_counts(void **state)
{
    for (int bit = 0; bit < 128; bit++) {
        int flipped[20] = {0};
        for (uint64_t k = 0; k < 1000; k++) {
            const hf_id id = {k * 3, k * 5 + 1};
            hf_id other = id;
            *(bit < 64 ? &other.space : &other.object) ^= UINT64_C(1) << (bit % 64);
            const uint64_t difference = hash_id(id) ^ hash_id(other);
            for (int i = 0; i < 20; i++) {
                flipped[i] += (difference >> i) & 1;
            }
        }
        for (int i = 0; i < 20; i++) {
            assert_in_range(flipped[i], 400, 600);
        }
    }
}

/* A walk meets each node once, also when it removes those it has met. */
static void test_a_walk_may_remove_the_node_it_stands_on(void **state)
{
    enum { COUNT = 1000 };
    struct id_map map;
    assert_int_equal(id_map_init(&map), 0);
    struct id_map_node *nodes = make_nodes(COUNT);
    for (uint64_t k = 0; k < COUNT; k++) {
        nodes[k].id = one_space(k);
        id_map_insert(&map, &nodes[k]);
    }

    bool met[COUNT] = {false};
    size_t count = 0;
    for (struct id_map_node *node = id_map_next(&map, NULL); node != NULL;) {
        struct id_map_node *next = id_map_next(&map, node);
        assert_false(met[node - nodes]);
        met[node - nodes] = true;
        count++;
        id_map_remove(&map, node);
        node = next;
    }
    assert_int_equal(count, COUNT);
    assert_int_equal(map.count, 0);
    assert_null(id_map_next(&map, NULL));
    free(nodes);
    id_map_deinit(&map);
}

/* Memory follows the number of nodes, up and down. */
static void test_the_table_shrinks_again(void **state)
{
    enum { COUNT = 100000 };
    struct id_map map;
    assert_int_equal(id_map_init(&map), 0);
    const size_t first = id_map_bytes(&map);
    struct id_map_node *nodes = make_nodes(COUNT);
    for (uint64_t k = 0; k < COUNT; k++) {
        nodes[k].id = one_space(k);
        id_map_insert(&map, &nodes[k]);
    }
    assert_true(id_map_bytes(&map) >= COUNT * sizeof(void *));
    assert_true(id_map_bytes(&map) <= 2 * COUNT * sizeof(void *));

    for (uint64_t k = 1; k < COUNT; k++) {
        id_map_remove(&map, &nodes[k]);
    }
    for (int i = 0; i < 100; i++) {
        id_map_insert(&map, &nodes[1]);
        assert_ptr_equal(id_map_find(&map, nodes[0].id), &nodes[0]);
        id_map_remove(&map, &nodes[1]);
    }
    assert_int_equal(id_map_bytes(&map), first);
    free(nodes);
    id_map_deinit(&map);
}

/* Without memory for a larger table everything still works, slower. */
static void test_growing_may_fail(void **state)
{
    enum { COUNT = 500 };
    struct id_map map;
    memory_is_gone = true;
    assert_int_equal(id_map_init(&map), -ENOMEM);
    memory_is_gone = false;
    assert_int_equal(id_map_init(&map), 0);
    const size_t first = id_map_bytes(&map);

    struct id_map_node *nodes = make_nodes(COUNT);
    memory_is_gone = true;
    for (uint64_t k = 0; k < COUNT; k++) {
        nodes[k].id = one_space(k);
        id_map_insert(&map, &nodes[k]);
    }
    memory_is_gone = false;
    assert_int_equal(id_map_bytes(&map), first);
    for (uint64_t k = 0; k < COUNT; k++) {
        assert_ptr_equal(id_map_find(&map, one_space(k)), &nodes[k]);
    }
    for (uint64_t k = 0; k < COUNT; k++) {
        id_map_remove(&map, &nodes[k]);
    }
    assert_int_equal(map.count, 0);
    free(nodes);
    id_map_deinit(&map);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_what_is_there_and_nothing_else),
        cmocka_unit_test(test_a_million_sequential_identifiers_spread),
        cmocka_unit_test(test_every_bit_of_both_words_counts),
        cmocka_unit_test(test_a_walk_may_remove_the_node_it_stands_on),
        cmocka_unit_test(test_the_table_shrinks_again),
        cmocka_unit_test(test_growing_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
