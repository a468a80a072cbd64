#include <stdbool.h>
#include <stdlib.h>

/* The sources themselves are included, so that their allocations can be made to fail. */
static unsigned allocations_left = 0; /* counts down to the one that fails; 0: none does */

static bool memory_is_gone(void)
{
    return allocations_left > 0 && --allocations_left == 0;
}

static void *malloc_or_fail(size_t size)
{
    return memory_is_gone() ? NULL : malloc(size);
}

static void *calloc_or_fail(size_t count, size_t size)
{
    return memory_is_gone() ? NULL : calloc(count, size);
}

#define malloc malloc_or_fail
#define calloc calloc_or_fail
#include "base/id_map.c"
#include "store/ram/check.c"
#include "store/ram/data.c"
#include "store/ram/directory.c"
#include "store/ram/inode.c"
#include "store/ram/names.c"
#include "base/radix.c"
#include "store/ram/rename.c"
#include "store/ram/xattr.c"
#include "store/ram/ram.c"
#include "store/rules.c"
#include "store/store.c"
#undef malloc
#undef calloc

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define STEPS 3000
#define PAGES 60
#define INODES 40

struct world {
    struct store *store;
    struct store_holder holder;
    struct store_call call;
    uint64_t random;
    unsigned failures;
    uint8_t data[8 * STORE_PAGE_SIZE];
};

/* ---- everything that can be seen, as one number ---- */

static void mix(uint64_t *digest, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        *digest = (*digest ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    }
}

static void mix_inode(uint64_t *digest, struct ram_inode *inode)
{
    struct store_attributes attributes;
    ram_show(inode, &attributes);
    mix(digest, &attributes, sizeof(attributes));
    mix(digest, &inode->uses, sizeof(inode->uses));
    for (const struct ram_xattr *xattr = inode->xattrs; xattr != NULL; xattr = xattr->next) {
        mix(digest, xattr->bytes, xattr->name_length + 1 + xattr->value_size);
    }
    uint64_t key = 0;
    void *item;
    if (S_ISLNK(inode->mode)) {
        mix(digest, inode->target, inode->size);
        return;
    }
    while ((S_ISREG(inode->mode) || S_ISDIR(inode->mode)) &&
           (item = radix_next(&inode->data, &key)) != NULL) {
        mix(digest, &key, sizeof(key));
        if (S_ISDIR(inode->mode)) {
            const struct ram_dentry *dentry = item;
            mix(digest, dentry->name, dentry->length);
            mix(digest, &dentry->inode->node.id.object, sizeof(uint64_t));
        } else if (bytes_of(item) != NULL) {
            mix(digest, bytes_of(item), STORE_PAGE_SIZE);
        }
        key++;
    }
}

static uint64_t digest_of(struct world *world)
{
    uint64_t digest = 1;
    for (uint64_t number = 1; number < world->store->next_number; number++) {
        struct ram_inode *inode = ram_find_inode(ram_of(world->store), number);
        if (inode != NULL) {
            mix_inode(&digest, inode);
        }
    }
    mix(&digest, &world->store->pages, sizeof(world->store->pages));
    mix(&digest, &world->store->inodes, sizeof(world->store->inodes));
    mix(&digest, &world->store->next_number, sizeof(world->store->next_number));
    mix(&digest, &world->store->own_number, sizeof(world->store->own_number));
    mix(&digest, &world->holder.pages, sizeof(world->holder.pages));
    mix(&digest, &world->holder.inodes, sizeof(world->holder.inodes));
    for (struct list *node = world->holder.numbers.next; node != &world->holder.numbers;
         node = node->next) {
        const struct number_block *block = list_entry(node, struct number_block, node);
        mix(&digest, &block->first, sizeof(block->first));
        mix(&digest, &block->left, sizeof(block->left));
    }
    return digest;
}

/* ---- any operation ---- */

static uint64_t below(struct world *world, uint64_t bound)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (world->random >> 11) % bound;
}

/* One that is likely to exist. */
static uint64_t any_number(struct world *world)
{
    uint64_t found = STORE_ROOT;
    for (int tries = 0; tries < 20; tries++) {
        const uint64_t number = 1 + below(world, world->store->next_number - 1);
        if (ram_find_inode(ram_of(world->store), number) != NULL) {
            found = number;
            break;
        }
    }
    return found;
}

static struct store_name any_name(struct world *world)
{
    return (struct store_name){&"abcdefgh"[below(world, 8)], 1};
}

static int64_t any_make(struct world *world)
{
    static char target[200];
    memset(target, 't', sizeof(target));
    static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFDIR, S_IFLNK};
    const struct store_new what = {.mode = types[below(world, 4)] | 0644,
                                   .number = below(world, 2) == 0 ? 0 : any_number(world) + 1,
                                   .target = {target, 1 + below(world, sizeof(target))}};
    const struct store_ops *ops = world->store->ops;
    const uint64_t directory = below(world, 2) == 0 ? STORE_ROOT : any_number(world);
    if (below(world, 10) == 0) {
        return ops->make_unnamed(world->store, &world->call, directory, &what, true, NULL);
    }
    return ops->make(world->store, &world->call, directory, any_name(world), &what, NULL);
}

static int64_t any_data(struct world *world, uint64_t number)
{
    static const int modes[] = {
        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
    static const int64_t bases[] = {0, 0, 0, 1 << 20, INT64_C(8) << 30, INT64_C(1) << 60};
    const struct store_ops *ops = world->store->ops;
    const int64_t offset = bases[below(world, 6)] + (int64_t)below(world, 6 * STORE_PAGE_SIZE);
    const size_t size = below(world, sizeof(world->data));
    switch (below(world, 4)) {
    case 0:
    case 1:
        return ops->write(world->store, &world->call, number, offset, world->data, size);
    case 2:
        return ops->allocate(
            world->store, &world->call, number, modes[below(world, 4)], offset, (int64_t)size + 1);
    default:
        return ops->copy(world->store, &world->call, number, 0, any_number(world), offset, size);
    }
}

static int64_t any_operation(struct world *world)
{
    const struct store_ops *ops = world->store->ops;
    const uint64_t number = any_number(world);
    uint64_t first;
    struct store_attributes values = {.size = below(world, 1 << 16)};
    switch (below(world, 13)) {
    case 0:
    case 1:
    case 2:
        return any_make(world);
    case 3:
        return ops->link(world->store, &world->call, number, STORE_ROOT, any_name(world));
    case 4:
        return ops->unlink(world->store, &world->call, number, any_name(world));
    case 5:
        return ops->unlink(world->store, &world->call, STORE_ROOT, any_name(world));
    case 6:
        return ops->rename(world->store,
                           &world->call,
                           STORE_ROOT,
                           any_name(world),
                           number,
                           any_name(world),
                           below(world, 3) == 0 ? RENAME_EXCHANGE : 0);
    case 7:
        return ops->set_xattr(world->store,
                              &world->call,
                              number,
                              (struct store_name){below(world, 2) == 0 ? "user.a" : "trusted.b", 6},
                              world->data,
                              below(world, 9000),
                              0);
    case 8:
        return ops->set_attributes(world->store, &world->call, number, STORE_SET_SIZE, &values);
    case 9:
        return ops->release(world->store, number);
    case 10:
        return below(world, 8) == 0 ? store_grant_numbers(&world->holder, &first)
                                    : store_reserve(&world->holder, below(world, 30000), 2);
    default:
        return any_data(world, number);
    }
}

/* An operation for which there is no memory changes nothing that anybody can see, whichever of its
 * allocations it is that fails; and it can be tried again. */
static void test_without_memory_nothing_happens(void **state)
{
    static struct world world = {.random = 88172645463325252};
    const char *variant = getenv("HF_TEST_VARIANT");
    const unsigned steps = variant == NULL || strcmp(variant, "plain") == 0 ? STEPS : STEPS / 3;
    const struct store_limits limits = {PAGES * STORE_PAGE_SIZE, INODES};
    struct store_holder *const holders[] = {&world.holder};
    assert_int_equal(ram_store_new(&limits, &world.call, 0755, 0, 0, &world.store), 0);
    store_holder_init(&world.holder, world.store);
    for (unsigned step = 0; step < steps; step++) {
        world.call.now.tv_sec++;
        world.call.holder = below(&world, 3) == 0 ? NULL : &world.holder;
        world.call.from_reserved = world.call.holder != NULL && below(&world, 2) == 0;
        const uint64_t random = world.random;
        const uint64_t before = digest_of(&world);
        for (unsigned nth = 1;; nth++) {
            world.random = random;
            allocations_left = nth;
            const int64_t result = any_operation(&world);
            allocations_left = 0;
            ram_check(world.store, holders, 1);
            if (result != -ENOMEM) {
                if (result < 0) {
                    assert_true(digest_of(&world) == before);
                }
                break;
            }
            assert_true(digest_of(&world) == before);
            world.failures++;
        }
        if (step % 500 == 499) {
            store_holder_deinit(&world.holder);
            store_holder_init(&world.holder, world.store);
        }
    }
    assert_true(world.failures > steps / 4);
    store_holder_deinit(&world.holder);
    world.store->ops->destroy(world.store);
}

/* A store for which there is no memory leaves nothing behind. */
static void test_no_store_without_memory(void **state)
{
    const struct store_limits limits = {STORE_PAGE_SIZE, 1};
    const struct store_call call = {0};
    struct store *store = NULL;
    int result = -ENOMEM;
    for (unsigned nth = 1; result == -ENOMEM; nth++) {
        allocations_left = nth;
        result = ram_store_new(&limits, &call, 0755, 0, 0, &store);
        allocations_left = 0;
    }
    assert_int_equal(result, 0);
    store->ops->destroy(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_memory_nothing_happens),
        cmocka_unit_test(test_no_store_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
