/*
 * Any text file is dealt out line by line, and every line can be known again.
 */
#include "cli/demo_workload.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_line(const struct workload *workload, unsigned client, uint64_t number,
                        const char *expected)
{
    char line[256];
    const struct line_name name = {client - 1, number - 1};
    const size_t size = workload_compose(workload, name, line);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(line, expected, size);
    assert_int_equal(workload_line_size(workload, name), size);
    assert_true(workload_is_line(workload, name, line, size));
    assert_false(workload_is_line(workload, name, line, size - 1));
}

static void test_lines_are_dealt_out_in_turn(void **state)
{
    static const char text[] = "a\nb\n\nd\ne\nf\ng\n";
    struct workload workload;
    assert_int_equal(workload_from_text(&workload, 3, text, strlen(text)), 0);
    assert_int_equal(workload.total, 7);
    assert_int_equal(workload_count(&workload, 0), 3);
    assert_int_equal(workload_count(&workload, 1), 2);
    assert_int_equal(workload_count(&workload, 2), 2);
    assert_line(&workload, 1, 1, "a\n");
    assert_line(&workload, 2, 1, "b\n");
    assert_line(&workload, 3, 1, "\n");
    assert_line(&workload, 3, 2, "f\n");
    assert_line(&workload, 1, 3, "g\n");
    workload_deinit(&workload);
}

static void test_a_last_line_without_newline_gets_one(void **state)
{
    struct workload workload;
    assert_int_equal(workload_from_text(&workload, 1, "a\nb", 3), 0);
    assert_int_equal(workload.total, 2);
    assert_line(&workload, 1, 2, "b\n");
    workload_deinit(&workload);
}

static void test_fewer_lines_than_clients_leave_some_without(void **state)
{
    struct workload workload;
    assert_int_equal(workload_from_text(&workload, 8, "a\n", 2), 0);
    assert_int_equal(workload_count(&workload, 0), 1);
    for (unsigned client = 1; client < 8; client++) {
        assert_int_equal(workload_count(&workload, client), 0);
    }
    workload_deinit(&workload);
}

static void test_a_tagged_line_is_known_again(void **state)
{
    struct workload workload;
    assert_int_equal(workload_from_text(&workload, 2, "a\nb\nc\nd\n", 8), 0);
    workload.tagged = true;
    assert_line(&workload, 2, 2, "2.2 d\n");

    struct line_name name;
    assert_true(workload_identify(&workload, "2.2 d\n", 6, &name));
    assert_int_equal(name.client, 1);
    assert_int_equal(name.number, 1);
    static const char *const others[] = {"2.2 c\n",
                                         "2.2 d",
                                         "2.3 d\n",
                                         "3.1 d\n",
                                         "0.1 d\n",
                                         "2.0 d\n",
                                         "2.2d\n",
                                         "d\n",
                                         "2.2 dd\n",
                                         "",
                                         "2.",
                                         ".2 d\n",
                                         "2.2",
                                         "99999999999999999999.1 d\n"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(workload_identify(&workload, others[i], strlen(others[i]), &name));
    }
    workload_deinit(&workload);
}

static void test_generated_lines_differ_in_length_and_tell_who_they_are(void **state)
{
    struct workload workload;
    assert_int_equal(workload_generate(&workload, 3, 1000), 0);
    assert_int_equal(workload.total, 3000);
    uint64_t shortest = UINT64_MAX;
    for (uint64_t number = 0; number < 1000; number++) {
        size_t size;
        const char *body = workload_body(&workload, (struct line_name){1, number}, &size);
        char beginning[40];
        snprintf(beginning, sizeof(beginning), "client 2 line %06d ", (int)number + 1);
        assert_memory_equal(body, beginning, strlen(beginning));
        shortest = size < shortest ? size : shortest;
    }
    assert_true(workload.longest > shortest + 100);
    workload_deinit(&workload);
}

static void test_a_pipe_can_be_the_input(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x\ny\n", 4), 4);
    close(ends[1]);
    char path[40];
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
    struct workload workload;
    assert_int_equal(workload_load(&workload, 1, path), 0);
    close(ends[0]);
    assert_int_equal(workload.total, 2);
    assert_line(&workload, 1, 2, "y\n");
    workload_deinit(&workload);
}

static void test_a_line_may_be_longer_than_a_page(void **state)
{
    char path[] = "/tmp/holdfast-test-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    enum { SIZE = 3000000 };
    char *text = malloc(SIZE);
    assert_non_null(text);
    memset(text, 'x', SIZE);
    text[SIZE / 2] = '\n';
    assert_int_equal(write(file, text, SIZE), SIZE);
    close(file);

    struct workload workload;
    const int result = workload_load(&workload, 2, path);
    unlink(path);
    assert_int_equal(result, 0);
    assert_int_equal(workload.total, 2);
    assert_int_equal(workload.longest, SIZE / 2);
    char *line = malloc(workload_room(&workload));
    assert_non_null(line);
    assert_int_equal(workload_compose(&workload, (struct line_name){1, 0}, line), SIZE / 2);
    assert_memory_equal(line, text + SIZE / 2 + 1, SIZE / 2 - 1);
    free(line);
    free(text);
    workload_deinit(&workload);
}

static void test_what_cannot_be_read_is_an_error(void **state)
{
    struct workload workload;
    assert_int_equal(workload_load(&workload, 1, "/nowhere/at/all"), -ENOENT);
    assert_int_equal(workload_load(&workload, 1, "/"), -EISDIR);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_dealt_out_in_turn),
        cmocka_unit_test(test_a_last_line_without_newline_gets_one),
        cmocka_unit_test(test_fewer_lines_than_clients_leave_some_without),
        cmocka_unit_test(test_a_tagged_line_is_known_again),
        cmocka_unit_test(test_generated_lines_differ_in_length_and_tell_who_they_are),
        cmocka_unit_test(test_a_pipe_can_be_the_input),
        cmocka_unit_test(test_a_line_may_be_longer_than_a_page),
        cmocka_unit_test(test_what_cannot_be_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
