/*
 * The sequence diagram shows who said what to whom, in order, in 100 columns.
 */
#include "cli/trace_view.h"

#include "fs/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static hf_trace_event event(uint64_t client, bool to_server, const char *message, hf_id id,
                            hf_mode mode)
{
    return (hf_trace_event){
        .time_ns = 1000000,
        .client = client,
        .client_name = "pid 1",
        .to_server = to_server,
        .message = message,
        .id = id,
        .mode = mode,
        .grant = 7,
        .remark = "",
    };
}

/* Print titles and messages. The text is to be freed. */
static char *print(struct trace_view *view)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    trace_view_print_titles(view, out);
    trace_view_print(view, out);
    fclose(out);
    return text;
}

static void add_hand_off(struct trace_view *view, hf_id id)
{
    const hf_trace_event events[] = {
        event(2, true, "ACQUIRE", id, HF_EXCLUSIVE),
        event(1, false, "RECALL", id, HF_INVALID),
        event(1, true, "RELEASE", id, HF_INVALID),
        event(2, false, "GRANT", id, HF_EXCLUSIVE),
    };
    for (size_t i = 0; i < 4; i++) {
        trace_view_event(view, &events[i]);
    }
}

static void test_a_hand_off_reads_as_four_arrows(void **state)
{
    struct trace_view *view = NULL;
    assert_int_equal(trace_view_new(100, false, &view), 0);
    assert_int_equal(trace_view_place_client(view, 1, trace_view_add_column(view, "A")), 0);
    assert_int_equal(trace_view_place_client(view, 2, trace_view_add_column(view, "B")), 0);
    assert_int_equal(trace_view_name_inode(view, 77, "notes.txt"), 0);
    add_hand_off(view, fs_id_of_inode(1, 5, 77));

    char *text = print(view);
    assert_string_equal(text,
                        " time, ms     A         B       server\n"
                        "    0.000     |         |-------->|  ACQUIRE notes.txt       EXCLUSIVE\n"
                        "    0.000     |<--------+---------|  RECALL  notes.txt       to INVALID\n"
                        "    0.000     |---------+-------->|  RELEASE notes.txt       to INVALID\n"
                        "    0.000     |         |<--------|  GRANT   notes.txt       EXCLUSIVE\n");
    free(text);
    trace_view_free(view);
}

static void test_what_was_printed_is_not_printed_again(void **state)
{
    struct trace_view *view = NULL;
    assert_int_equal(trace_view_new(100, false, &view), 0);
    trace_view_place_client(view, 1, trace_view_add_column(view, "A"));
    trace_view_place_client(view, 2, trace_view_add_column(view, "B"));
    add_hand_off(view, fs_id_of_inode(1, 5, 77));
    char *first = print(view);
    char *second = print(view);
    assert_null(strstr(second, "GRANT"));
    free(first);
    free(second);
    trace_view_free(view);
}

static void test_handles_have_readable_names(void **state)
{
    struct trace_view *view = NULL;
    assert_int_equal(trace_view_new(100, true, &view), 0);
    trace_view_place_client(view, 1, trace_view_add_column(view, "A"));
    hf_trace_event opens = event(1, true, "ACQUIRE", fs_id_of_open_file(1, 3), HF_INVALID);
    opens.remark = "opens";
    hf_trace_event publishes = event(1, true, "RELEASE", fs_id_of_open_file(1, 3), HF_EXCLUSIVE);
    publishes.value_size = 8;
    hf_trace_event denied = event(1, false, "GRANT", fs_id_of_inode(1, 5, 1234), HF_INVALID);
    denied.remark = "DENIED another client has it";
    hf_trace_event other = event(1, true, "ACQUIRE", (hf_id){0xab, 0xcd}, HF_SHARED);
    trace_view_event(view, &opens);
    trace_view_event(view, &publishes);
    trace_view_event(view, &denied);
    trace_view_event(view, &other);
    char *text = print(view);
    assert_non_null(strstr(text, "├────────►│  ACQUIRE open file 1:3   opens\n"));
    assert_non_null(strstr(text, "  RELEASE open file 1:3   stays EXCLUSIVE, value\n"));
    assert_non_null(strstr(text, "│◄────────┤  GRANT   inode 1234      DENIED another client"));
    assert_non_null(strstr(text, "  ACQUIRE ab:cd           SHARED\n"));
    free(text);
    trace_view_free(view);
}

static void test_five_columns_and_the_longest_label_fit_100_columns(void **state)
{
    struct trace_view *view = NULL;
    assert_int_equal(trace_view_new(100, false, &view), 0);
    static const char *const titles[] = {"parent", "c1", "c2", "c3", "c4"};
    for (size_t i = 0; i < 5; i++) {
        trace_view_place_client(view, i + 1, trace_view_add_column(view, titles[i]));
    }
    trace_view_name_inode(view, 77, "demo-append.txt");
    hf_trace_event longest = event(5, false, "GRANT", fs_id_of_inode(1, 5, 77), HF_EXCLUSIVE);
    longest.value_size = 8;
    longest.remark = "owner died";
    trace_view_event(view, &longest);
    char *text = print(view);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert_true(strcspn(line, "\n") <= 100);
    }
    free(text);
    trace_view_free(view);
}

static void test_messages_that_are_the_same_share_an_arrow(void **state)
{
    struct trace_view *view = NULL;
    assert_int_equal(trace_view_new(1, false, &view), 0);
    trace_view_place_client(view, 1, trace_view_add_column(view, "A"));
    hf_trace_event publishes = event(1, true, "RELEASE", fs_id_of_open_file(1, 3), HF_EXCLUSIVE);
    for (int i = 0; i < 5; i++) {
        trace_view_event(view, &publishes);
    }
    assert_int_equal(trace_view_left_out(view), 0);
    char *text = print(view);
    assert_non_null(strstr(text, "stays EXCLUSIVE (5 times)\n"));
    free(text);
    trace_view_free(view);
}

static void test_messages_over_the_limit_are_counted_only(void **state)
{
    struct trace_view *view = NULL;
    assert_int_equal(trace_view_new(2, false, &view), 0);
    trace_view_place_client(view, 1, trace_view_add_column(view, "A"));
    trace_view_place_client(view, 2, trace_view_add_column(view, "B"));
    add_hand_off(view, fs_id_of_inode(1, 5, 77));
    assert_int_equal(trace_view_left_out(view), 2);
    char *text = print(view);
    assert_non_null(strstr(text, "RECALL"));
    assert_null(strstr(text, "RELEASE"));
    free(text);
    trace_view_free(view);
}

static void test_a_connection_that_nobody_placed_has_a_column_too(void **state)
{
    struct trace_view *view = NULL;
    assert_int_equal(trace_view_new(100, false, &view), 0);
    trace_view_place_client(view, 2, trace_view_add_column(view, "B"));
    add_hand_off(view, fs_id_of_inode(1, 5, 77));
    char *text = print(view);
    assert_non_null(strstr(text, "RECALL"));
    assert_non_null(strstr(text, "GRANT"));
    free(text);
    trace_view_free(view);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hand_off_reads_as_four_arrows),
        cmocka_unit_test(test_what_was_printed_is_not_printed_again),
        cmocka_unit_test(test_handles_have_readable_names),
        cmocka_unit_test(test_five_columns_and_the_longest_label_fit_100_columns),
        cmocka_unit_test(test_messages_that_are_the_same_share_an_arrow),
        cmocka_unit_test(test_messages_over_the_limit_are_counted_only),
        cmocka_unit_test(test_a_connection_that_nobody_placed_has_a_column_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
