/* What is the same for all stores, on each of them. */
#include "lib/stores.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct any_store any;
    struct store *store;
    const struct store_ops *ops;
    struct store_call call;
};

static int set_up(void **state, bool in_directory)
{
    static struct world world;
    const struct store_limits limits = {INT64_C(1) << 40, 3000000};
    world = (struct world){.call.now.tv_sec = 100};
    any_store_make(&world.any, in_directory, &limits, &world.call);
    world.store = world.any.store;
    world.ops = world.store->ops;
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
    any_store_check(&world->any, NULL, 0);
    any_store_end(&world->any);
    return 0;
}

static struct store_name named(const char *text)
{
    return (struct store_name){text, strlen(text)};
}

static uint64_t make(struct world *world, uint64_t directory, const char *name, uint32_t mode)
{
    const struct store_new what = {.mode = mode, .owner = geteuid(), .group = getegid()};
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

/* An unlinked inode that is in use can be read and written; its space returns with the last use. */
static void test_unlinked_lives_while_it_is_held(void **state)
{
    struct world *world = *state;
    const uint64_t before = free_pages(world);
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    assert_int_equal(world->ops->hold(world->store, number), 0);
    assert_int_equal(world->ops->hold(world->store, number), 0);
    assert_int_equal(world->ops->unlink(world->store, &world->call, STORE_ROOT, named("a")), 0);
    assert_int_equal(world->ops->write(world->store, &world->call, number, 0, "data", 4), 4);
    assert_int_equal(world->ops->link(world->store, &world->call, number, STORE_ROOT, named("b")),
                     -ENOENT);
    assert_int_equal(world->ops->release(world->store, number), 0);
    char text[4];
    assert_int_equal(world->ops->read(world->store, &world->call, number, 0, text, 4), 4);
    assert_memory_equal(text, "data", 4);
    assert_true(free_pages(world) == before - 1);
    assert_int_equal(world->ops->release(world->store, number), 0);
    assert_true(free_pages(world) == before);
    assert_int_equal(world->ops->release(world->store, number), -ESTALE);
    assert_int_equal(world->ops->release(world->store, STORE_ROOT), -EPROTO);
}

struct listing {
    uint64_t position;
    unsigned most;
    unsigned seen[1000];
};

static int take_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                      uint64_t position)
{
    struct listing *listing = context;
    if (listing->most == 0) {
        return 1;
    }
    listing->most--;
    listing->position = position;
    if (name.bytes[0] == 'e') {
        char digits[8] = {0};
        memcpy(digits, name.bytes + 1, name.length - 1);
        listing->seen[strtoul(digits, NULL, 10)]++;
    }
    return 0;
}

/* While others come, go and are renamed around it, what stays is listed exactly once; and the
 * listing ends though it is followed by a new entry for each that it gives. */
static void test_listing_in_parts_while_entries_change(void **state)
{
    struct world *world = *state;
    static struct listing listing;
    listing = (struct listing){0};
    char name[16];
    char new_name[16];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "e%u", i);
        make(world, STORE_ROOT, name, S_IFREG | 0600);
    }
    int more = 1;
    for (unsigned round = 0; more == 1; round++) {
        assert_true(round < 1000);
        listing.most = 7;
        more = world->ops->list(
            world->store, &world->call, STORE_ROOT, listing.position, take_entry, &listing);
        /* Multiples of ten go, where the listing stands among others. */
        if (round < 100) {
            snprintf(name, sizeof(name), "e%u", (99 - round) * 10);
            assert_int_equal(
                world->ops->unlink(world->store, &world->call, STORE_ROOT, named(name)), 0);
            snprintf(name, sizeof(name), "e%u", round * 10 + 1);
            snprintf(new_name, sizeof(new_name), "e%u ", round * 10 + 1);
            assert_int_equal(world->ops->rename(world->store,
                                                &world->call,
                                                STORE_ROOT,
                                                named(name),
                                                STORE_ROOT,
                                                named(new_name),
                                                0),
                             0);
        }
        for (unsigned i = 0; i < 7; i++) {
            snprintf(name, sizeof(name), "new%u.%u", round, i);
            make(world, STORE_ROOT, name, S_IFREG | 0600);
        }
    }
    assert_int_equal(more, 0);
    for (unsigned i = 0; i < 1000; i++) {
        if (i % 10 == 0) {
            assert_true(listing.seen[i] <= 1);
        } else {
            assert_int_equal(listing.seen[i], 1);
        }
    }
}

/* Names are bytes from anywhere: what no file may be called is refused by every operation. */
static void test_bad_names(void **state)
{
    static char text[256];
    memset(text, 'x', sizeof(text));
    const struct {
        struct store_name name;
        int result;
    } bad[] = {
        {{"", 0}, -ENOENT},
        {{text, 256}, -ENAMETOOLONG},
        {{".", 1}, -EINVAL},
        {{"..", 2}, -EINVAL},
        {{"a/b", 3}, -EINVAL},
        {{"a\0b", 3}, -EINVAL},
        {{"/", 1}, -EINVAL},
        {{"\0", 1}, -EINVAL},
        {{text, SIZE_MAX}, -ENAMETOOLONG},
    };
    struct world *world = *state;
    struct store *store = world->store;
    const struct store_ops *ops = world->ops;
    const struct store_new what = {.mode = S_IFREG, .owner = geteuid(), .group = getegid()};
    struct store_attributes out;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct store_name name = bad[i].name;
        const struct store_call *call = &world->call;
        const int want = bad[i].result;
        assert_int_equal(ops->lookup(store, STORE_ROOT, name, &out), want);
        assert_int_equal(ops->make(store, call, STORE_ROOT, name, &what, NULL), want);
        assert_int_equal(ops->link(store, call, number, STORE_ROOT, name), want);
        assert_int_equal(ops->unlink(store, call, STORE_ROOT, name), want);
        assert_int_equal(ops->remove_directory(store, call, STORE_ROOT, name), want);
        assert_int_equal(ops->rename(store, call, STORE_ROOT, name, STORE_ROOT, named("b"), 0),
                         want);
        assert_int_equal(ops->rename(store, call, STORE_ROOT, named("a"), STORE_ROOT, name, 0),
                         want);
    }
    const struct store_name good[] = {{text, 255}, {"...", 3}, {".a", 2}, {"\xff\n", 2}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ops->make(store, &world->call, STORE_ROOT, good[i], &what, NULL), 0);
        assert_int_equal(ops->lookup(store, STORE_ROOT, good[i], &out), 0);
    }
}

/* A file that changes loses what it let others do: always its capabilities; the set-id bits unless
 * the caller is privileged. */
static void test_changed_files_lose_privileges(void **state)
{
    struct world *world = *state;
    if (geteuid() != 0) {
        skip();
    }
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 06755);
    const struct store_name capability = named("security.capability");
    const uint8_t value[20] = {0, 0, 0, 2, 1}; /* revision 2, as the host wants it: CAP_CHOWN */
    assert_int_equal(world->ops->set_xattr(
                         world->store, &world->call, number, capability, value, sizeof(value), 0),
                     0);
    assert_int_equal(world->ops->write(world->store, &world->call, number, 0, "x", 1), 1);
    assert_int_equal(attributes_of(world, number).mode, S_IFREG | 06755);
    assert_int_equal(world->ops->get_xattr(world->store, number, capability, NULL, 0), -ENODATA);
    world->call.drop_privileges = true;
    assert_int_equal(world->ops->write(world->store, &world->call, number, 0, "x", 1), 1);
    assert_int_equal(attributes_of(world, number).mode, S_IFREG | 0755);
}

/* In a directory with S_ISGID what is made has its group, and directories the bit. */
static void test_directories_pass_on_their_group(void **state)
{
    struct world *world = *state;
    if (geteuid() != 0) {
        skip();
    }
    const uint64_t directory = make(world, STORE_ROOT, "d", S_IFDIR | 02755);
    const struct store_attributes values = {.owner = UINT32_MAX, .group = 77};
    assert_int_equal(
        world->ops->set_attributes(world->store, &world->call, directory, STORE_SET_OWNER, &values),
        0);
    const uint64_t file = make(world, directory, "f", S_IFREG | 0644);
    const uint64_t below = make(world, directory, "d", S_IFDIR | 0755);
    assert_int_equal(attributes_of(world, file).group, 77);
    assert_int_equal(attributes_of(world, file).mode, S_IFREG | 0644);
    assert_int_equal(attributes_of(world, below).group, 77);
    assert_int_equal(attributes_of(world, below).mode, S_IFDIR | 02755);
}

static int count_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                       uint64_t position)
{
    ++*(unsigned *)context;
    return 0;
}

/* The way up from a directory follows it through renames, and stays when it is removed: as long as it
 * is held, however much of it is removed too. */
static void test_parent(void **state)
{
    struct world *world = *state;
    const uint64_t a = make(world, STORE_ROOT, "a", S_IFDIR | 0755);
    const uint64_t b = make(world, a, "b", S_IFDIR | 0755);
    uint64_t parent;
    assert_int_equal(world->ops->parent(world->store, b, &parent), 0);
    assert_true(parent == a);
    assert_int_equal(
        world->ops->rename(world->store, &world->call, a, named("b"), STORE_ROOT, named("c"), 0),
        0);
    assert_int_equal(world->ops->parent(world->store, b, &parent), 0);
    assert_true(parent == STORE_ROOT);
    assert_int_equal(world->ops->hold(world->store, b), 0);
    assert_int_equal(
        world->ops->remove_directory(world->store, &world->call, STORE_ROOT, named("c")), 0);
    assert_int_equal(world->ops->parent(world->store, b, &parent), 0);
    assert_true(parent == STORE_ROOT);
    unsigned count;
    assert_int_equal(world->ops->list(world->store, &world->call, b, 0, count_entry, &count),
                     -ENOENT);
    assert_int_equal(world->ops->release(world->store, b), 0);

    const uint64_t c = make(world, a, "c", S_IFDIR);
    struct store_attributes attributes;
    assert_int_equal(world->ops->hold(world->store, c), 0);
    assert_int_equal(world->ops->remove_directory(world->store, &world->call, a, named("c")), 0);
    assert_int_equal(
        world->ops->remove_directory(world->store, &world->call, STORE_ROOT, named("a")), 0);
    assert_int_equal(world->ops->parent(world->store, c, &parent), 0);
    assert_true(parent == a);
    assert_int_equal(world->ops->parent(world->store, a, &parent), 0);
    assert_true(parent == STORE_ROOT);
    assert_int_equal(world->ops->get_attributes(world->store, a, &attributes), 0);
    assert_int_equal(attributes.links, 0);
    assert_int_equal(world->ops->release(world->store, c), 0);
    assert_int_equal(world->ops->get_attributes(world->store, a, &attributes), -ESTALE);
}

/* What is read once more within a day has its access time moved only by the first read. */
static void test_relatime(void **state)
{
    struct world *world = *state;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    static const struct {
        time_t now, atime;
    } steps[] = {{200, 200}, {300, 200}, {200 + 86399, 200}, {200 + 86400, 200 + 86400}};
    for (size_t i = 0; i < 4; i++) {
        world->call.now.tv_sec = steps[i].now;
        world->call.no_atime = true;
        assert_int_equal(world->ops->touch(world->store, &world->call, number), 0);
        world->call.no_atime = false;
        assert_int_equal(world->ops->touch(world->store, &world->call, number), 0);
        assert_int_equal(attributes_of(world, number).atime.tv_sec, steps[i].atime);
    }
}

/* truncate(2) to the size that a file has leaves its times, ftruncate(2) does not. */
static void test_same_size(void **state)
{
    struct world *world = *state;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    const struct store_attributes values = {.size = 3};
    assert_int_equal(world->ops->write(world->store, &world->call, number, 0, "abc", 3), 3);
    world->call.now.tv_sec++;
    assert_int_equal(world->ops->set_attributes(
                         world->store, &world->call, number, STORE_SET_NAMED_SIZE, &values),
                     0);
    assert_int_equal(attributes_of(world, number).mtime.tv_sec, 100);
    assert_int_equal(attributes_of(world, number).ctime.tv_sec, 100);
    assert_int_equal(
        world->ops->set_attributes(world->store, &world->call, number, STORE_SET_SIZE, &values), 0);
    assert_int_equal(attributes_of(world, number).mtime.tv_sec, 101);
    assert_int_equal(attributes_of(world, number).ctime.tv_sec, 101);
}

/* Nothing of it is done, whatever else was to be set. */
static void test_links_have_no_mode(void **state)
{
    struct world *world = *state;
    const struct store_new what = {.mode = S_IFLNK | 0777, .target = {"target", 6}};
    const struct store_attributes values = {.mode = 0600, .owner = UINT32_MAX, .group = getegid()};
    struct store_attributes out;
    assert_int_equal(
        world->ops->make(world->store, &world->call, STORE_ROOT, named("link"), &what, &out), 0);
    world->call.now.tv_sec++;
    assert_int_equal(
        world->ops->set_attributes(
            world->store, &world->call, out.number, STORE_SET_MODE | STORE_SET_OWNER, &values),
        -EOPNOTSUPP);
    assert_int_equal(attributes_of(world, out.number).ctime.tv_sec, 100);
    assert_int_equal(attributes_of(world, out.number).mode, S_IFLNK | 0777);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH_STORES(test_unlinked_lives_while_it_is_held),
        IN_BOTH_STORES(test_listing_in_parts_while_entries_change),
        IN_BOTH_STORES(test_bad_names),
        IN_BOTH_STORES(test_changed_files_lose_privileges),
        IN_BOTH_STORES(test_directories_pass_on_their_group),
        IN_BOTH_STORES(test_parent),
        IN_BOTH_STORES(test_relatime),
        IN_BOTH_STORES(test_same_size),
        IN_BOTH_STORES(test_links_have_no_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
