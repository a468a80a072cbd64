/* The table of descriptors. */
#include "fs/descriptors.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The table does not look into open files: any address will do. */
static char file_a, file_b;
#define FILE_A ((struct open_file *)(void *)&file_a)
#define FILE_B ((struct open_file *)(void *)&file_b)

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
    int fd = descriptors_reserve(table);
    assert_true(fd >= 0);
    descriptors_fill(table, fd, file);
    return fd;
}

static struct open_file *close_one(struct descriptors *table, int fd)
{
    struct open_file *file = NULL;
    assert_int_equal(descriptors_clear(table, fd, &file), 0);
    return file;
}

/* As POSIX wants it, open() gives the lowest number that is free. */
static void test_lowest_free_number_first(void **state)
{
    struct descriptors *table = *state;
    for (int i = 0; i < 2 * DESCRIPTORS_CHUNK; i++) {
        assert_int_equal(open_one(table, FILE_A), i);
    }
    close_one(table, 300);
    close_one(table, 7);
    close_one(table, 9);
    assert_int_equal(open_one(table, FILE_A), 7);
    assert_int_equal(open_one(table, FILE_A), 9);
    assert_int_equal(open_one(table, FILE_A), 300);
    assert_int_equal(open_one(table, FILE_A), 2 * DESCRIPTORS_CHUNK);
}

/* A number that nobody opened, or that is only reserved, is no descriptor. */
static void test_unknown_descriptors_are_refused(void **state)
{
    struct descriptors *table = *state;
    struct open_file *file;
    const int reserved = descriptors_reserve(table);
    const int wrong[] = {-1, INT_MIN, reserved, 1, 5000, HF_FS_DESCRIPTORS_MAX, INT_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_null(descriptors_get(table, wrong[i]));
        assert_int_equal(descriptors_clear(table, wrong[i], &file), -EBADF);
    }
    descriptors_cancel(table, reserved);
    assert_int_equal(descriptors_reserve(table), reserved);
    descriptors_cancel(table, reserved);
}

/* The number is refused at once, but the open file stays until its last user has left. */
static void test_close_waits_for_users_to_leave(void **state)
{
    struct descriptors *table = *state;
    const int fd = open_one(table, FILE_A);

    assert_ptr_equal(descriptors_get(table, fd), FILE_A);
    assert_ptr_equal(descriptors_get(table, fd), FILE_A);
    assert_null(close_one(table, fd));
    assert_null(descriptors_get(table, fd));
    assert_null(descriptors_put(table, fd));

    const int other = open_one(table, FILE_B);
    assert_int_not_equal(other, fd);
    assert_ptr_equal(descriptors_put(table, fd), FILE_A);
    assert_int_equal(open_one(table, FILE_A), fd);

    assert_ptr_equal(close_one(table, other), FILE_B);
    assert_ptr_equal(close_one(table, fd), FILE_A);
}

/* Full is full, and one close makes room for one. */
static void test_the_table_has_an_end(void **state)
{
    struct descriptors *table = *state;
    for (int i = 0; i < HF_FS_DESCRIPTORS_MAX; i++) {
        assert_int_equal(open_one(table, FILE_A), i);
    }
    assert_int_equal(descriptors_reserve(table), -EMFILE);
    close_one(table, 4321);
    assert_int_equal(open_one(table, FILE_A), 4321);
    assert_int_equal(descriptors_reserve(table), -EMFILE);
}

#define RACE_ROUNDS 20000

struct race {
    struct descriptors *table;
    _Atomic int handed_back;
};

static void *use_and_close(void *argument)
{
    struct race *race = argument;
    for (int i = 0; i < RACE_ROUNDS; i++) {
        struct open_file *file = NULL;
        if (descriptors_get(race->table, 0) != NULL && descriptors_put(race->table, 0) != NULL) {
            atomic_fetch_add(&race->handed_back, 1);
        }
        if (descriptors_clear(race->table, 0, &file) == 0 && file != NULL) {
            atomic_fetch_add(&race->handed_back, 1);
        }
        int fd = descriptors_reserve(race->table);
        if (fd == 0) {
            descriptors_fill(race->table, fd, FILE_A);
        } else {
            descriptors_cancel(race->table, fd);
        }
    }
    return NULL;
}

/* However threads race to use and close one number, each open is handed back once. */
static void test_each_open_file_is_handed_back_once(void **state)
{
    struct race race = {.table = *state};
    pthread_t threads[2];
    struct open_file *file = NULL;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use_and_close, &race), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    descriptors_clear(race.table, 0, &file);
    int fd = descriptors_reserve(race.table);
    assert_int_equal(fd, 0);
    assert_true(atomic_load(&race.handed_back) > 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lowest_free_number_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_descriptors_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_waits_for_users_to_leave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_table_has_an_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_open_file_is_handed_back_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
