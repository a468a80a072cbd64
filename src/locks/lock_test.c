/*
 * The table of one file against a model that knows for each owner and byte what it has there.
 */
#include <stdlib.h>

/* The source that allocates is included, so that its allocations can be made to fail. */
#define UNLIMITED 1000000
static unsigned allocations_left = UNLIMITED;
static unsigned allocations;

static void *realloc_or_fail(void *memory, size_t size)
{
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left--;
    allocations++;
    return realloc(memory, size);
}

#define realloc realloc_or_fail
#include "locks/lock.c"
#undef realloc

#include "lib/test.h"

#define BYTES 64 /* the last one stands for all up to the end */
#define OWNERS 4 /* two processes, two open files */
#define PROGRAMS 400
#define STEPS 150

static uint64_t test_random(uint64_t *seed)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = (*seed ^ (*seed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

struct model {
    enum lock_type record[OWNERS][BYTES];
    enum lock_type flock[OWNERS];
};

static hf_id owner_id(int owner)
{
    return (hf_id){.space = 7, .object = (uint64_t)owner + 1};
}

static uint64_t end_of(int byte)
{
    return byte == BYTES - 1 ? LOCK_LAST_BYTE : (uint64_t)byte;
}

static struct lock lock_of(int owner, bool flock, enum lock_type type, int first, int last)
{
    enum lock_kind kind = owner < OWNERS / 2 ? LOCK_POSIX : LOCK_OFD;
    return (struct lock){
        .kind = flock ? LOCK_FLOCK : kind,
        .type = type,
        .start = flock ? 0 : (uint64_t)first,
        .end = flock ? LOCK_LAST_BYTE : end_of(last),
        .owner = owner_id(owner),
        .pid = (uint32_t)owner + 100,
    };
}

static struct lock any_request(uint64_t *seed, int *owner)
{
    *owner = (int)(test_random(seed) % OWNERS);
    int one = (int)(test_random(seed) % BYTES);
    int other = (int)(test_random(seed) % BYTES);
    bool flock = *owner >= OWNERS / 2 && test_random(seed) % 4 == 0;
    enum lock_type type = (enum lock_type)(test_random(seed) % 3);
    return lock_of(*owner, flock, type, one < other ? one : other, one < other ? other : one);
}

static void model_apply(struct model *model, int owner, const struct lock *request)
{
    if (request->kind == LOCK_FLOCK) {
        model->flock[owner] = request->type;
        return;
    }
    for (int byte = 0; byte < BYTES; byte++) {
        if ((uint64_t)byte >= request->start && end_of(byte) <= request->end) {
            model->record[owner][byte] = request->type;
        }
    }
}

/* The locks that the model makes, in the table's order. */
static size_t model_list(const struct model *model, struct lock *locks)
{
    size_t count = 0;
    for (int owner = 0; owner < OWNERS; owner++) {
        int first = 0;
        for (int byte = 0; byte < BYTES; byte++) {
            enum lock_type type = model->record[owner][byte];
            if (byte == BYTES - 1 || model->record[owner][byte + 1] != type) {
                if (type != LOCK_NONE) {
                    locks[count++] = lock_of(owner, false, type, first, byte);
                }
                first = byte + 1;
            }
        }
    }
    for (int owner = 0; owner < OWNERS; owner++) {
        if (model->flock[owner] != LOCK_NONE) {
            locks[count++] = lock_of(owner, true, model->flock[owner], 0, 0);
        }
    }
    return count;
}

static bool is_equal(const struct lock *one, const struct lock *other)
{
    return one->kind == other->kind && one->type == other->type && one->start == other->start &&
           one->end == other->end && lock_is_same_owner(one, other) && one->pid == other->pid;
}

static void check_table(const struct lock_table *table, const struct model *model)
{
    struct lock expected[(BYTES + 1) * OWNERS];
    size_t count = model_list(model, expected);
    assert_int_equal(table->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(is_equal(&table->locks[i], &expected[i]));
    }
}

static void check_conflicts(const struct lock_table *table, const struct lock *request)
{
    const struct lock *next = NULL;
    const struct lock *first = NULL;
    for (size_t i = 0; i < table->count; i++) {
        const struct lock *lock = &table->locks[i];
        bool overlaps = lock->start <= request->end && request->start <= lock->end;
        bool same_family = (lock->kind == LOCK_FLOCK) == (request->kind == LOCK_FLOCK);
        bool writes = lock->type == LOCK_TYPE_WRITE || request->type == LOCK_TYPE_WRITE;
        bool other = lock->owner.object != request->owner.object;
        if (overlaps && same_family && writes && other && request->type != LOCK_NONE) {
            next = lock_table_next_conflict(table, request, next);
            assert_ptr_equal(next, lock);
            first = first == NULL || lock->start < first->start ? lock : first;
        }
    }
    assert_null(lock_table_next_conflict(table, request, next));
    assert_ptr_equal(lock_table_find_conflict(table, request), first);
}

static void remove_owner(struct lock_table *table, struct model *model, int owner, bool flock)
{
    enum lock_kind kind = lock_of(owner, flock, LOCK_TYPE_READ, 0, 0).kind;
    bool had = model->flock[owner] != LOCK_NONE;
    if (!flock) {
        had = false;
        for (int byte = 0; byte < BYTES; byte++) {
            had = had || model->record[owner][byte] != LOCK_NONE;
        }
    }
    size_t count;
    assert_int_equal(lock_table_of_owner(table, owner_id(owner), kind, &count) != NULL, had);
    assert_int_equal(count > 0, had);
    assert_int_equal(lock_table_remove_owner(table, owner_id(owner), kind), had);
    if (flock) {
        model->flock[owner] = LOCK_NONE;
    } else {
        memset(model->record[owner], 0, sizeof(model->record[owner]));
    }
}

/* Whatever is locked and given up, each owner has each byte as it last said, in as few locks as that
 * takes, and is in the way of exactly those who want what it has. Without memory nothing changes. */
static void test_table_is_what_each_byte_says(void **state)
{
    uint64_t seed = 20;
    for (int i = 0; i < PROGRAMS; i++) {
        struct lock_table table = {0};
        struct model model = {0};
        for (int step = 0; step < STEPS; step++) {
            int owner;
            struct lock request = any_request(&seed, &owner);
            check_conflicts(&table, &request);
            size_t after = lock_table_count_after(&table, &request);
            if (test_random(&seed) % 40 == 0) {
                remove_owner(&table, &model, owner, request.kind == LOCK_FLOCK);
                check_table(&table, &model);
                continue;
            }
            allocations_left = test_random(&seed) % 2 == 0 ? 0 : UNLIMITED;
            bool must_grow = after > table.capacity;
            int result = lock_table_apply(&table, &request);
            assert_int_equal(result, must_grow && allocations_left == 0 ? -ENOMEM : 0);
            allocations_left = UNLIMITED;
            if (result == 0) {
                assert_int_equal(table.count, after);
                model_apply(&model, owner, &request);
            }
            check_table(&table, &model);
        }
        lock_table_deinit(&table);
        assert_int_equal(table.count, 0);
    }
}

/* A table that locks come and go in takes memory once; one that was large gives it back. */
static void test_memory_follows_what_is_in_it(void **state)
{
    struct lock_table table = {0};
    allocations = 0;
    for (int i = 0; i < 1000; i++) {
        struct lock request = lock_of(0, false, LOCK_TYPE_WRITE, i % 60, i % 60 + 2);
        assert_int_equal(lock_table_apply(&table, &request), 0);
        request.type = LOCK_NONE;
        assert_int_equal(lock_table_apply(&table, &request), 0);
    }
    assert_int_equal(allocations, 1);

    for (uint64_t i = 0; i < 10000; i++) {
        struct lock request = lock_of(0, false, LOCK_TYPE_WRITE, 0, 0);
        request.start = request.end = i * 2;
        assert_int_equal(lock_table_apply(&table, &request), 0);
    }
    assert_int_equal(table.count, 10000);
    for (uint64_t i = 0; i < 10000; i++) {
        struct lock request = lock_of(0, false, LOCK_NONE, 0, 0);
        request.start = request.end = i * 2;
        assert_int_equal(lock_table_apply(&table, &request), 0);
        assert_true(table.capacity <= 16 || table.capacity < 5 * (table.count + 1));
    }
    assert_int_equal(table.count, 0);
    lock_table_deinit(&table);
}

/* What is no lock of the kind it says is found out: every field, at its limits. */
static void test_only_locks_are_valid(void **state)
{
    const struct lock good = lock_of(0, false, LOCK_TYPE_READ, 3, BYTES - 1);
    assert_true(lock_is_valid(&good));
    struct lock lock = good;
    lock.end++;
    assert_false(lock_is_valid(&lock));
    lock = good;
    lock.end = 2;
    assert_false(lock_is_valid(&lock));
    lock.end = 3;
    assert_true(lock_is_valid(&lock));
    lock = good;
    lock.kind = (enum lock_kind)0;
    assert_false(lock_is_valid(&lock));
    lock.kind = (enum lock_kind)4;
    assert_false(lock_is_valid(&lock));
    lock = good;
    lock.type = (enum lock_type)3;
    assert_false(lock_is_valid(&lock));
    lock = good;
    lock.kind = LOCK_FLOCK;
    assert_false(lock_is_valid(&lock));
    lock.start = 0;
    assert_true(lock_is_valid(&lock));
    lock.end--;
    assert_false(lock_is_valid(&lock));
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_what_each_byte_says),
        cmocka_unit_test(test_memory_follows_what_is_in_it),
        cmocka_unit_test(test_only_locks_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
