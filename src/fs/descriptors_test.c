/* The table of descriptors. */
#include "fs/descriptors.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The table does not look into open files: any address will do. */
static _Alignas(16) char file_a[16], file_b[16];
#define FILE_A ((struct open_file *)(void *)file_a)
#define FILE_B ((struct open_file *)(void *)file_b)

static int set_up(void **state)
{
    static struct descriptors table;
    descriptors_init(&table);
    *state = &table;
    return 0;
}

static int tear_down(void **state)
{
    descriptors_deinit(*state);
    return 0;
}

static int open_one(struct descriptors *table, struct open_file *file)
{
    int fd = descriptors_reserve(table, 0);
    assert_true(fd >= 0);
    descriptors_fill(table, fd, file, false);
    return fd;
}

/* Nobody uses it. */
static void close_one(struct descriptors *table, int fd, struct open_file *file)
{
    struct descriptor_rest rest;
    assert_int_equal(descriptors_clear(table, fd, &rest), 0);
    assert_ptr_equal(rest.file, file);
    assert_int_equal(rest.references, DESCRIPTOR_REFERENCES);
}

/* Whoever goes through all that are open finds each of them, and no others. */
static void test_all_that_are_open(void **state)
{
    struct descriptors *table = *state;
    static const int numbers[] = {0, 5, DESCRIPTORS_CHUNK, HF_FS_DESCRIPTORS_MAX - 1};
    assert_int_equal(descriptors_next(table, 0), -EBADF);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(descriptors_reserve(table, numbers[i]), numbers[i]);
        assert_int_equal(descriptors_next(table, i == 0 ? 0 : numbers[i - 1] + 1), -EBADF);
        descriptors_fill(table, numbers[i], FILE_A, false);
    }
    int fd = 0;
    for (int i = 0; i < 4; i++) {
        fd = descriptors_next(table, fd);
        assert_int_equal(fd, numbers[i]);
        fd++;
    }
    assert_int_equal(descriptors_next(table, fd), -EBADF);
    for (int i = 0; i < 4; i++) {
        close_one(table, numbers[i], FILE_A);
    }
}

/* As POSIX wants it, open() gives the lowest number that is free. */
static void test_lowest_free_number_first(void **state)
{
    struct descriptors *table = *state;
    for (int i = 0; i < 2 * DESCRIPTORS_CHUNK; i++) {
        assert_int_equal(open_one(table, FILE_A), i);
    }
    close_one(table, 300, FILE_A);
    close_one(table, 7, FILE_A);
    close_one(table, 9, FILE_A);
    assert_int_equal(open_one(table, FILE_A), 7);
    assert_int_equal(open_one(table, FILE_A), 9);
    assert_int_equal(open_one(table, FILE_A), 300);
    assert_int_equal(open_one(table, FILE_A), 2 * DESCRIPTORS_CHUNK);
}

/* A number that nobody opened, or that is only reserved, is no descriptor. */
static void test_unknown_descriptors_are_refused(void **state)
{
    struct descriptors *table = *state;
    struct descriptor_rest rest;
    const int reserved = descriptors_reserve(table, 0);
    const int wrong[] = {-1, INT_MIN, reserved, 1, 5000, HF_FS_DESCRIPTORS_MAX, INT_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_null(descriptors_get(table, wrong[i]));
        assert_int_equal(descriptors_clear(table, wrong[i], &rest), -EBADF);
        assert_int_equal(descriptors_get_close_on_exec(table, wrong[i]), -EBADF);
        assert_int_equal(descriptors_set_close_on_exec(table, wrong[i], true), -EBADF);
    }
    descriptors_cancel(table, reserved);
    assert_int_equal(descriptors_reserve(table, 0), reserved);
    descriptors_cancel(table, reserved);
}

/* The number is free at once, and each operation in progress has a reference of its own. */
static void test_close_leaves_references_to_users(void **state)
{
    struct descriptors *table = *state;
    struct descriptor_rest rest;
    const int fd = open_one(table, FILE_A);

    assert_ptr_equal(descriptors_get(table, fd), FILE_A);
    assert_ptr_equal(descriptors_get(table, fd), FILE_A);
    assert_ptr_equal(descriptors_get(table, fd), FILE_A);
    assert_true(descriptors_put(table, fd, FILE_A));
    assert_int_equal(descriptors_clear(table, fd, &rest), 0);
    assert_ptr_equal(rest.file, FILE_A);
    assert_int_equal(rest.references, DESCRIPTOR_REFERENCES - 2);
    assert_null(descriptors_get(table, fd));
    assert_false(descriptors_put(table, fd, FILE_A));

    assert_int_equal(open_one(table, FILE_B), fd);
    assert_ptr_equal(descriptors_get(table, fd), FILE_B);
    assert_false(descriptors_put(table, fd, FILE_A));
    assert_true(descriptors_put(table, fd, FILE_B));
    close_one(table, fd, FILE_B);
}

/* dup2(): the number never stops being a descriptor, and its users keep what they have. */
static void test_replacing(void **state)
{
    struct descriptors *table = *state;
    struct descriptor_rest rest;

    assert_int_equal(descriptors_replace(table, 500, FILE_A, false, &rest), 0);
    assert_null(rest.file);
    assert_ptr_equal(descriptors_get(table, 500), FILE_A);
    assert_int_equal(descriptors_replace(table, 500, FILE_B, true, &rest), 0);
    assert_ptr_equal(rest.file, FILE_A);
    assert_int_equal(rest.references, DESCRIPTOR_REFERENCES - 1);
    assert_false(descriptors_put(table, 500, FILE_A));
    assert_int_equal(descriptors_get_close_on_exec(table, 500), 1);

    /* By itself: whoever leaves first, one user leaves the slot and one a reference. */
    assert_ptr_equal(descriptors_get(table, 500), FILE_B);
    assert_int_equal(descriptors_replace(table, 500, FILE_B, false, &rest), 0);
    assert_int_equal(rest.references, DESCRIPTOR_REFERENCES - 1);
    assert_ptr_equal(descriptors_get(table, 500), FILE_B);
    assert_true(descriptors_put(table, 500, FILE_B));
    assert_false(descriptors_put(table, 500, FILE_B));
    close_one(table, 500, FILE_B);

    const int reserved = descriptors_reserve(table, 0);
    assert_int_equal(descriptors_replace(table, reserved, FILE_A, false, &rest), -EBUSY);
    assert_int_equal(descriptors_replace(table, -1, FILE_A, false, &rest), -EBADF);
    assert_int_equal(descriptors_replace(table, HF_FS_DESCRIPTORS_MAX, FILE_A, false, &rest),
                     -EBADF);
    descriptors_cancel(table, reserved);
}

/* F_DUPFD: the lowest free number from another on, which leaves those below it free. */
static void test_numbers_from_a_minimum_on(void **state)
{
    struct descriptors *table = *state;
    assert_int_equal(open_one(table, FILE_A), 0);
    assert_int_equal(descriptors_reserve(table, 300), 300);
    assert_int_equal(descriptors_reserve(table, 300), 301);
    assert_int_equal(descriptors_reserve(table, 0), 1);
    descriptors_cancel(table, 300);
    assert_int_equal(descriptors_reserve(table, 2), 2);
    assert_int_equal(descriptors_reserve(table, 300), 300);
    assert_int_equal(descriptors_reserve(table, HF_FS_DESCRIPTORS_MAX - 1),
                     HF_FS_DESCRIPTORS_MAX - 1);
    assert_int_equal(descriptors_reserve(table, HF_FS_DESCRIPTORS_MAX - 1), -EMFILE);
}

/* FD_CLOEXEC is the descriptor's, and users of it do not disturb it. */
static void test_close_on_exec(void **state)
{
    struct descriptors *table = *state;
    const int fd = open_one(table, FILE_A);
    assert_int_equal(descriptors_get_close_on_exec(table, fd), 0);
    assert_ptr_equal(descriptors_get(table, fd), FILE_A);
    assert_int_equal(descriptors_set_close_on_exec(table, fd, true), 0);
    assert_true(descriptors_put(table, fd, FILE_A));
    assert_int_equal(descriptors_get_close_on_exec(table, fd), 1);
    assert_int_equal(descriptors_set_close_on_exec(table, fd, false), 0);
    assert_int_equal(descriptors_get_close_on_exec(table, fd), 0);
    close_one(table, fd, FILE_A);
}

/* Full is full, and one close makes room for one. */
static void test_the_table_has_an_end(void **state)
{
    struct descriptors *table = *state;
    for (int i = 0; i < HF_FS_DESCRIPTORS_MAX; i++) {
        assert_int_equal(open_one(table, FILE_A), i);
    }
    assert_int_equal(descriptors_reserve(table, 0), -EMFILE);
    close_one(table, 4321, FILE_A);
    assert_int_equal(open_one(table, FILE_A), 4321);
    assert_int_equal(descriptors_reserve(table, 0), -EMFILE);
}

#define RACE_ROUNDS 20000

struct race {
    struct descriptors *table;
    _Atomic uint64_t given; /* references to FILE_A that slots took over */
    _Atomic uint64_t back;  /* and that came back, from slots and from users */
};

static void take_back(struct race *race, struct descriptor_rest rest)
{
    if (rest.file != NULL) {
        atomic_fetch_add(&race->back, rest.references);
    }
}

static void *use_and_close(void *argument)
{
    struct race *race = argument;
    struct descriptor_rest rest;
    for (int i = 0; i < RACE_ROUNDS; i++) {
        struct open_file *file = descriptors_get(race->table, 0);
        if (i % 3 == 0 && descriptors_clear(race->table, 0, &rest) == 0) {
            take_back(race, rest);
        }
        if (i % 3 == 1 && descriptors_replace(race->table, 0, FILE_A, i % 2, &rest) == 0) {
            atomic_fetch_add(&race->given, DESCRIPTOR_REFERENCES);
            take_back(race, rest);
        }
        if (file != NULL && !descriptors_put(race->table, 0, file)) {
            atomic_fetch_add(&race->back, 1);
        }
        int fd = descriptors_reserve(race->table, 0);
        if (fd == 0) {
            atomic_fetch_add(&race->given, DESCRIPTOR_REFERENCES);
            descriptors_fill(race->table, fd, FILE_A, false);
        } else {
            descriptors_cancel(race->table, fd);
        }
    }
    return NULL;
}

/* However threads race to use, replace and close one number, every reference comes back once. */
static void test_references_are_handed_back_once(void **state)
{
    struct race race = {.table = *state};
    pthread_t threads[2];
    struct descriptor_rest rest;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use_and_close, &race), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    if (descriptors_clear(race.table, 0, &rest) == 0) {
        take_back(&race, rest);
    }
    assert_true(atomic_load(&race.given) > 0);
    assert_int_equal(atomic_load(&race.given), atomic_load(&race.back));
    assert_int_equal(descriptors_reserve(race.table, 0), 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lowest_free_number_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_that_are_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_descriptors_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_leaves_references_to_users, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replacing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_from_a_minimum_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_on_exec, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_table_has_an_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_references_are_handed_back_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
