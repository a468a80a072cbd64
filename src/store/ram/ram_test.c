#include "store/ram/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE STORE_PAGE_SIZE

struct world {
    struct store *store;
    const struct store_ops *ops;
    struct store_call call;
};

static int set_up(void **state)
{
    static struct world world;
    const struct store_limits limits = {INT64_C(1) << 40, 3000000};
    world = (struct world){.call.now.tv_sec = 100};
    assert_int_equal(ram_store_new(&limits, &world.call, 0755, 1, 1, &world.store), 0);
    world.ops = world.store->ops;
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    ram_check(world->store, NULL, 0);
    world->ops->destroy(world->store);
    return 0;
}

static struct store_name named(const char *text)
{
    return (struct store_name){text, strlen(text)};
}

static uint64_t make(struct world *world, uint64_t directory, const char *name, uint32_t mode)
{
    const struct store_new what = {.mode = mode};
    struct store_attributes out;
    assert_int_equal(
        world->ops->make(world->store, &world->call, directory, named(name), &what, &out), 0);
    return out.number;
}

static struct store_attributes attributes_of(struct world *world, uint64_t number)
{
    struct store_attributes out;
    assert_int_equal(world->ops->get_attributes(world->store, number, &out), 0);
    return out;
}

static uint64_t free_pages(struct world *world)
{
    struct store_usage usage;
    store_get_usage(world->store, &usage);
    return usage.free_pages;
}

/* Huge offsets cost the pages that are written and no others, holes are zeros, and what is cut off
 * comes back. */
static void test_sparse_files_cost_what_exists(void **state)
{
    static const int64_t offsets[] = {0, INT64_C(8) << 30, INT64_C(1) << 45, INT64_MAX - 5};
    struct world *world = *state;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    char text[5];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(
            world->ops->write(world->store, &world->call, number, offsets[i], "there", 5), 5);
        assert_int_equal(attributes_of(world, number).pages, i + 1);
    }
    assert_true(attributes_of(world, number).size == INT64_MAX);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(world->ops->read(world->store, &world->call, number, offsets[i], text, 5),
                         5);
        assert_memory_equal(text, "there", 5);
    }
    assert_int_equal(world->ops->read(world->store, &world->call, number, 1 << 20, text, 5), 5);
    assert_memory_equal(text, "\0\0\0\0\0", 5);
    assert_true(world->ops->seek(world->store, number, PAGE, SEEK_DATA) == offsets[1]);
    assert_true(world->ops->seek(world->store, number, offsets[1], SEEK_HOLE) == offsets[1] + PAGE);

    assert_int_equal(world->ops->write(world->store, &world->call, number, INT64_MAX, "x", 1),
                     -EFBIG);
    assert_int_equal(world->ops->write(world->store, &world->call, number, INT64_MAX - 2, "abc", 3),
                     2);
    assert_int_equal(world->ops->write(world->store, &world->call, number, -1, "x", 1), -EINVAL);
    assert_int_equal(world->ops->allocate(world->store, &world->call, number, 0, INT64_MAX, 1),
                     -EFBIG);
    assert_int_equal(world->ops->allocate(world->store, &world->call, number, 0, 0, INT64_MAX),
                     -ENOSPC);
    struct store_attributes values = {.size = (uint64_t)INT64_MAX + 1};
    assert_int_equal(
        world->ops->set_attributes(world->store, &world->call, number, STORE_SET_SIZE, &values),
        -EINVAL);
    values.size = 3;
    assert_int_equal(
        world->ops->set_attributes(world->store, &world->call, number, STORE_SET_SIZE, &values), 0);
    assert_int_equal(attributes_of(world, number).pages, 1);
}

static int count_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                       uint64_t position)
{
    ++*(unsigned *)context;
    return 0;
}

/* A directory may have a million entries: what took longer with each would not come to an end. */
static void test_a_million_entries(void **state)
{
    struct world *world = *state;
    const char *variant = getenv("HF_TEST_VARIANT");
    const unsigned count = variant == NULL || strcmp(variant, "plain") == 0 ? 1000000 : 100000;
    const uint64_t number = make(world, STORE_ROOT, "file", S_IFREG | 0644);
    const uint64_t directory = make(world, STORE_ROOT, "directory", S_IFDIR | 0755);
    struct store_attributes out;
    char name[16];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%u", i);
        assert_int_equal(
            world->ops->link(world->store, &world->call, number, directory, named(name)), 0);
    }
    unsigned listed = 0;
    assert_int_equal(
        world->ops->list(world->store, &world->call, directory, 0, count_entry, &listed), 0);
    assert_int_equal(listed, count);
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%u", i);
        assert_int_equal(world->ops->lookup(world->store, directory, named(name), &out), 0);
        assert_int_equal(world->ops->unlink(world->store, &world->call, directory, named(name)), 0);
    }
    assert_int_equal(
        world->ops->remove_directory(world->store, &world->call, STORE_ROOT, named("directory")),
        0);
}

/* A range that is set to zero reads as zeros, is paid for, and no data is found in its whole
 * pages. */
static void test_zero_range(void **state)
{
    static uint8_t data[4 * PAGE];
    struct world *world = *state;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG);
    memset(data, 'x', sizeof(data));
    world->ops->write(world->store, &world->call, number, 0, data, 3 * PAGE);
    assert_int_equal(world->ops->allocate(world->store,
                                          &world->call,
                                          number,
                                          FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                          100,
                                          4 * PAGE),
                     0);
    assert_int_equal(attributes_of(world, number).size, 3 * PAGE);
    assert_int_equal(attributes_of(world, number).pages, 5);
    assert_int_equal(world->ops->read(world->store, &world->call, number, 0, data, sizeof(data)),
                     3 * PAGE);
    for (size_t i = 0; i < 3 * PAGE; i++) {
        assert_int_equal(data[i], i < 100 ? 'x' : 0);
    }
    assert_int_equal(world->ops->seek(world->store, number, 0, SEEK_HOLE), PAGE);
    assert_int_equal(world->ops->seek(world->store, number, PAGE, SEEK_DATA), -ENXIO);
}

/* Attributes cost pages by what they need, and never so many that they could not be listed. */
static void test_extended_attributes_have_bounds(void **state)
{
    static uint8_t value[STORE_MAX_XATTR_VALUE + 1];
    static char name[STORE_MAX_XATTR_NAME + 1];
    static char list[STORE_MAX_XATTR_LIST];
    struct world *world = *state;
    struct store *store = world->store;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG);
    const uint64_t before = free_pages(world);
    const struct store_call *call = &world->call;
    memset(name, 'n', sizeof(name));
    memcpy(name, "user.", 5);
    assert_int_equal(
        world->ops->set_xattr(store, call, number, named("user.a"), value, sizeof(value), 0),
        -E2BIG);
    assert_int_equal(
        world->ops->set_xattr(store, call, number, (struct store_name){name, 256}, value, 1, 0),
        -ERANGE);
    assert_int_equal(
        world->ops->set_xattr(store, call, number, named("user.a"), value, 1024 - 7, 0), 0);
    assert_true(free_pages(world) == before);
    assert_int_equal(
        world->ops->set_xattr(store, call, number, named("user.a"), value, 1024 - 6, 0), 0);
    assert_true(free_pages(world) == before - 1);
    assert_int_equal(world->ops->set_xattr(store, call, number, named("user.a"), value, 65536, 0),
                     0);
    assert_true(free_pages(world) == before - 17);
    assert_int_equal(world->ops->remove_xattr(store, call, number, named("user.a")), 0);
    assert_true(free_pages(world) == before);
    for (unsigned i = 0; i < 256; i++) {
        name[100] = (char)(1 + i % 255);
        name[101] = (char)(1 + i / 255);
        assert_int_equal(
            world->ops->set_xattr(store, call, number, (struct store_name){name, 255}, NULL, 0, 0),
            0);
    }
    assert_int_equal(world->ops->set_xattr(store, call, number, named("user.a"), NULL, 0, 0),
                     -ENOSPC);
    assert_int_equal(world->ops->list_xattrs(store, number, list, sizeof(list)), sizeof(list));
    assert_int_equal(world->ops->list_xattrs(store, number, list, 100), -ERANGE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_sparse_files_cost_what_exists),
        TEST(test_a_million_entries),
        TEST(test_zero_range),
        TEST(test_extended_attributes_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
