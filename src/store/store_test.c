#include "lib/stores.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE STORE_PAGE_SIZE
#define PAGES 10
#define INODES 6

struct world {
    struct any_store any;
    struct store *store;
    const struct store_ops *ops;
    struct store_holder a, b;
    uint64_t file; /* takes one inode, besides the root */
};

static const struct store_call by_nobody = {.now.tv_sec = 1};

static int make(struct world *world, const struct store_call *call, uint64_t number,
                const char *name)
{
    const struct store_new what = {
        .number = number, .mode = S_IFREG, .owner = geteuid(), .group = getegid()};
    return world->ops->make(
        world->store, call, STORE_ROOT, (struct store_name){name, strlen(name)}, &what, NULL);
}

static int set_up(void **state, bool in_directory)
{
    static struct world world;
    const struct store_limits limits = {PAGES * PAGE - 1, INODES};
    struct store_attributes out;
    any_store_make(&world.any, in_directory, &limits, &by_nobody);
    world.store = world.any.store;
    world.ops = world.store->ops;
    store_holder_init(&world.a, world.store);
    store_holder_init(&world.b, world.store);
    assert_int_equal(make(&world, &by_nobody, 0, "file"), 0);
    assert_int_equal(
        world.ops->lookup(world.store, STORE_ROOT, (struct store_name){"file", 4}, &out), 0);
    world.file = out.number;
    *state = &world;
    return 0;
}

static int set_up_in_memory(void **state)
{
    return set_up(state, false);
}

static int set_up_in_directory(void **state)
{
    return set_up(state, true);
}

static int tear_down(void **state)
{
    struct world *world = *state;
    struct store_holder *const holders[] = {&world->a, &world->b};
    any_store_check(&world->any, holders, 2);
    store_holder_deinit(&world->a);
    store_holder_deinit(&world->b);
    any_store_check(&world->any, NULL, 0);
    any_store_end(&world->any);
    return 0;
}

static void assert_free(struct world *world, uint64_t pages, uint64_t inodes)
{
    struct store_usage usage;
    store_get_usage(world->store, &usage);
    assert_int_equal(usage.pages, PAGES);
    assert_int_equal(usage.inodes, INODES);
    assert_int_equal(usage.free_pages, pages);
    assert_int_equal(usage.free_inodes, inodes);
}

static int64_t write_pages(struct world *world, const struct store_call *call, int64_t first,
                           size_t count)
{
    static const uint8_t data[2 * PAGES * PAGE];
    return world->ops->write(world->store, call, world->file, first * PAGE, data, count * PAGE);
}

/* What one reserved is nobody else's, and is counted as used; it alone gets it. */
static void test_reserved_space_is_the_holders_alone(void **state)
{
    struct world *world = *state;
    const struct store_call by_a = {.holder = &world->a, .from_reserved = true};
    const struct store_call by_b = {.holder = &world->b};
    assert_int_equal(store_reserve(&world->a, 5 * PAGE + 1, 2), 0);
    assert_free(world, 4, 2);
    assert_int_equal(store_reserve(&world->b, 5 * PAGE, 0), -ENOSPC);
    assert_int_equal(store_reserve(&world->b, 0, 3), -ENOSPC);
    assert_int_equal(store_reserve(&world->b, UINT64_MAX, UINT64_MAX), -ENOSPC);
    assert_free(world, 4, 2);

    assert_int_equal(write_pages(world, &by_b, 0, 5), 4 * PAGE);
    assert_int_equal(write_pages(world, &by_nobody, 4, 1), -ENOSPC);
    assert_int_equal(write_pages(world, &by_a, 4, 7), 6 * PAGE);
    assert_int_equal(write_pages(world, &by_a, 10, 1), -ENOSPC);
    assert_int_equal(world->a.pages, 0);

    assert_int_equal(make(world, &by_b, 0, "b1"), 0);
    assert_int_equal(make(world, &by_b, 0, "b2"), 0);
    assert_int_equal(make(world, &by_b, 0, "b3"), -ENOSPC);
    assert_int_equal(make(world, &by_a, 0, "a1"), 0);
    assert_int_equal(make(world, &by_a, 0, "a2"), 0);
    assert_int_equal(make(world, &by_a, 0, "a3"), -ENOSPC);
    assert_free(world, 0, 0);
}

/* An operation is paid for from the one or from the other: who has reserved space and counts what it
 * spends of it knows what is left, whatever else it does. */
static void test_what_is_reserved_and_what_is_free_are_apart(void **state)
{
    struct world *world = *state;
    struct store_call by_a = {.holder = &world->a, .from_reserved = true};
    assert_int_equal(store_reserve(&world->a, 2 * PAGE, 0), 0);
    assert_int_equal(write_pages(world, &by_a, 0, 3), 2 * PAGE);
    assert_int_equal(write_pages(world, &by_a, 2, 1), -ENOSPC);
    assert_int_equal(write_pages(world, &by_a, 0, 2), 2 * PAGE);
    assert_int_equal(store_reserve(&world->a, 3 * PAGE, 1), 0);
    by_a.from_reserved = false;
    assert_int_equal(write_pages(world, &by_a, 2, 6), 5 * PAGE);
    assert_int_equal(make(world, &by_a, 0, "a1"), 0);
    assert_free(world, 0, 2);
    assert_int_equal(world->a.pages, 3);
    assert_int_equal(world->a.inodes, 1);
}

/* What was reserved and not used is free again when the holder says so or is gone; what its
 * operations freed is free at once. */
static void test_what_is_not_used_comes_back(void **state)
{
    struct world *world = *state;
    const struct store_call by_a = {.holder = &world->a, .from_reserved = true};
    const struct store_attributes empty = {0};
    assert_int_equal(store_reserve(&world->a, 6 * PAGE, 3), 0);
    assert_int_equal(write_pages(world, &by_a, 0, 2), 2 * PAGE);
    assert_free(world, 4, 1);
    store_unreserve(&world->a, PAGE, 1);
    assert_free(world, 5, 2);
    assert_int_equal(
        world->ops->set_attributes(world->store, &by_a, world->file, STORE_SET_SIZE, &empty), 0);
    assert_free(world, 7, 2);
    assert_int_equal(world->a.pages, 3);
    store_holder_deinit(&world->a);
    assert_free(world, 10, 4);
    store_holder_init(&world->a, world->store);
}

/* Allocating is all or nothing, and pays only for what is not there. */
static void test_allocating_is_all_or_nothing(void **state)
{
    struct world *world = *state;
    assert_int_equal(write_pages(world, &by_nobody, 3, 2), 2 * PAGE);
    assert_int_equal(world->ops->allocate(world->store, &by_nobody, world->file, 0, 0, 11 * PAGE),
                     -ENOSPC);
    assert_free(world, 8, 4);
    assert_int_equal(world->ops->allocate(world->store, &by_nobody, world->file, 0, 0, 10 * PAGE),
                     0);
    assert_free(world, 0, 4);
    assert_int_equal(write_pages(world, &by_nobody, 0, 10), 10 * PAGE);
}

/* A number makes one inode, for the holder it was granted to and as long as there is one. */
static void test_numbers_are_used_once(void **state)
{
    struct world *world = *state;
    const struct store_call by_a = {.holder = &world->a};
    const struct store_call by_b = {.holder = &world->b};
    uint64_t first;
    uint64_t other;
    assert_int_equal(store_grant_numbers(&world->a, &first), 0);
    assert_int_equal(store_grant_numbers(&world->b, &other), 0);
    assert_true(other >= first + STORE_NUMBERS_GRANTED);

    assert_int_equal(make(world, &by_nobody, first, "a"), -EPROTO);
    assert_int_equal(make(world, &by_b, first, "a"), -EPROTO);
    assert_int_equal(make(world, &by_a, STORE_ROOT, "a"), -EPROTO);
    assert_int_equal(make(world, &by_a, world->file, "a"), -EPROTO);
    assert_int_equal(make(world, &by_a, other + STORE_NUMBERS_GRANTED, "a"), -EPROTO);
    assert_int_equal(make(world, &by_a, UINT64_MAX, "a"), -EPROTO);
    assert_int_equal(make(world, &by_a, first + 63, "a"), 0);
    assert_int_equal(make(world, &by_a, first + 63, "b"), -EPROTO);
    assert_int_equal(
        world->ops->unlink(world->store, &by_a, STORE_ROOT, (struct store_name){"a", 1}), 0);
    assert_int_equal(make(world, &by_a, first + 63, "b"), -EPROTO);

    /* One that fails does not spend it. */
    assert_int_equal(make(world, &by_a, first, "file"), -EEXIST);
    assert_int_equal(make(world, &by_a, first, "b"), 0);
    store_holder_deinit(&world->a);
    store_holder_init(&world->a, world->store);
    assert_int_equal(make(world, &by_a, first + 1, "c"), -EPROTO);
}

/* One holder does not get numbers without end while it uses none. */
static void test_numbers_have_a_bound(void **state)
{
    struct world *world = *state;
    uint64_t first;
    for (int i = 0; i < STORE_MAX_NUMBERS / STORE_NUMBERS_GRANTED; i++) {
        assert_int_equal(store_grant_numbers(&world->a, &first), 0);
    }
    assert_int_equal(store_grant_numbers(&world->a, &first), -EDQUOT);
    assert_int_equal(store_grant_numbers(&world->b, &first), 0);
}

/* The store's own numbers are not among those it grants, however many it takes. */
static void test_own_numbers_are_nobody_elses(void **state)
{
    struct world *world = *state;
    struct store_attributes out;
    const struct store_name name = {"x", 1};
    uint64_t last = world->file;
    uint64_t granted[30];
    for (int i = 0; i < 300; i++) {
        if (i % 10 == 0) {
            assert_int_equal(store_grant_numbers(&world->a, &granted[i / 10]), 0);
        }
        assert_int_equal(make(world, &by_nobody, 0, "x"), 0);
        assert_int_equal(world->ops->lookup(world->store, STORE_ROOT, name, &out), 0);
        assert_true(out.number > last);
        for (int k = 0; k <= i / 10; k++) {
            assert_false(out.number - granted[k] < STORE_NUMBERS_GRANTED);
        }
        last = out.number;
        assert_int_equal(world->ops->unlink(world->store, &by_nobody, STORE_ROOT, name), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH_STORES(test_reserved_space_is_the_holders_alone),
        IN_BOTH_STORES(test_what_is_reserved_and_what_is_free_are_apart),
        IN_BOTH_STORES(test_what_is_not_used_comes_back),
        IN_BOTH_STORES(test_allocating_is_all_or_nothing),
        IN_BOTH_STORES(test_numbers_are_used_once),
        IN_BOTH_STORES(test_numbers_have_a_bound),
        IN_BOTH_STORES(test_own_numbers_are_nobody_elses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
