#include "base/radix.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 300

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* Keys of all sizes, so that the tree is high, low and empty in turn. */
static void fill_keys(uint64_t *keys, uint64_t *random)
{
    for (int i = 0; i < KEYS; i++) {
        keys[i] = i == 0 ? 0 : i == 1 ? UINT64_MAX : next_random(random) >> (i % 64);
        for (int k = 0; k < i; k++) {
            if (keys[k] == keys[i]) {
                keys[i] = next_random(random);
                k = -1;
            }
        }
    }
}

/* The key nearest to @from of those that are there. */
static int nearest(const uint64_t *keys, const char *there, uint64_t from, int upward)
{
    int best = -1;
    for (int i = 0; i < KEYS; i++) {
        if (there[i] && (upward ? keys[i] >= from : keys[i] <= from) &&
            (best < 0 || (upward ? keys[i] < keys[best] : keys[i] > keys[best]))) {
            best = i;
        }
    }
    return best;
}

/* What was put is found under its key and in order, and nothing else is, whatever the keys are. */
static void test_is_an_ordered_map(void **state)
{
    static uint64_t keys[KEYS];
    static char values[KEYS];
    static char there[KEYS];
    uint64_t random = 4711;
    struct radix tree = {0};
    fill_keys(keys, &random);
    for (int step = 0; step < 60000; step++) {
        /* More come than go, and then the other way round. */
        const int i = (int)(next_random(&random) % KEYS);
        if (there[i] && (step / 3000 % 2 != 0 || step % 4 == 0)) {
            radix_remove(&tree, keys[i]);
            there[i] = 0;
        } else if (!there[i] && (step / 3000 % 2 == 0 || step % 4 == 0)) {
            assert_int_equal(radix_put(&tree, keys[i], &values[i]), 0);
            there[i] = 1;
        }
        const int any = (int)(next_random(&random) % KEYS);
        void **slot = radix_slot(&tree, keys[any]);
        assert_ptr_equal(slot == NULL ? NULL : *slot, there[any] ? &values[any] : NULL);

        const uint64_t from = keys[any] + next_random(&random) % 3 - 1;
        uint64_t key = from;
        int best = nearest(keys, there, from, 1);
        assert_ptr_equal(radix_next(&tree, &key), best < 0 ? NULL : &values[best]);
        assert_true(best < 0 || key == keys[best]);
        key = from;
        best = nearest(keys, there, from, 0);
        assert_ptr_equal(radix_previous(&tree, &key), best < 0 ? NULL : &values[best]);
        assert_true(best < 0 || key == keys[best]);
    }
    for (int i = 0; i < KEYS; i++) {
        if (there[i]) {
            radix_remove(&tree, keys[i]);
        }
    }
    assert_null(tree.root);
    assert_int_equal(tree.height, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_an_ordered_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
