/*
 * The check of the demos finds what is wrong with a file, and nothing that is right.
 */
#include "cli/demo_verify.h"

#include "cli/demo_fragment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_MAX 4096

/* A file as three clients would write it, and what they would note. */
struct fixture {
    struct workload workload;
    char bytes[FILE_MAX];
    size_t size;
    uint64_t *ends;
    uint64_t next[8]; /* line of each client */
    struct line_name doubts[4];
    size_t doubt_count;
    bool fragments_allowed;
    struct verify_result result;
};

static void begin(struct fixture *fixture, unsigned clients, const char *text)
{
    *fixture = (struct fixture){0};
    assert_int_equal(workload_from_text(&fixture->workload, clients, text, strlen(text)), 0);
    fixture->ends = calloc(clients * workload_most(&fixture->workload) + 1, sizeof(uint64_t));
    assert_non_null(fixture->ends);
}

static void end(struct fixture *fixture)
{
    workload_deinit(&fixture->workload);
    free(fixture->ends);
}

static void add_bytes(struct fixture *fixture, const char *bytes, size_t size)
{
    assert_true(fixture->size + size <= FILE_MAX);
    memcpy(fixture->bytes + fixture->size, bytes, size);
    fixture->size += size;
}

/* Client @client (from 1) notes that its next line is in the file by now. */
static void note(struct fixture *fixture, unsigned client)
{
    const uint64_t number = fixture->next[client - 1]++;
    fixture->ends[(client - 1) * workload_most(&fixture->workload) + number] = fixture->size;
}

static size_t compose(struct fixture *fixture, unsigned client, uint64_t number, char *out)
{
    return workload_compose(&fixture->workload, (struct line_name){client - 1, number - 1}, out);
}

/* The clients named by the digits of @order write their next lines. */
static void write_in_order(struct fixture *fixture, const char *order)
{
    for (; *order != '\0'; order++) {
        const unsigned client = (unsigned)(*order - '0');
        char line[256];
        const size_t size = compose(fixture, client, fixture->next[client - 1] + 1, line);
        add_bytes(fixture, line, size);
        note(fixture, client);
    }
}

/* Put @bytes in place of the @count lines from line @index (from 0) of the file on. */
static void replace_lines(struct fixture *fixture, unsigned index, unsigned count,
                          const char *bytes)
{
    char *from = fixture->bytes;
    for (; index > 0; index--) {
        from = (char *)memchr(from, '\n', FILE_MAX) + 1;
    }
    char *to = from;
    for (; count > 0; count--) {
        to = (char *)memchr(to, '\n', FILE_MAX) + 1;
    }
    const size_t tail = (size_t)(fixture->bytes + fixture->size - to);
    memmove(from + strlen(bytes), to, tail);
    memcpy(from, bytes, strlen(bytes));
    fixture->size = (size_t)(from - fixture->bytes) + strlen(bytes) + tail;
}

static bool check(struct fixture *fixture)
{
    const struct verify_task task = {
        .workload = &fixture->workload,
        .bytes = fixture->bytes,
        .size = fixture->size,
        .ends = fixture->ends,
        .doubts = fixture->doubts,
        .doubt_count = fixture->doubt_count,
        .fragments_allowed = fixture->fragments_allowed,
    };
    assert_int_equal(verify_file(&task, &fixture->result), 0);
    return verify_passed(&fixture->result);
}

static void assert_found(const struct fixture *fixture, uint64_t lost, uint64_t torn,
                         uint64_t doubled, uint64_t misplaced)
{
    assert_int_equal(fixture->result.lost, lost);
    assert_int_equal(fixture->result.torn, torn);
    assert_int_equal(fixture->result.doubled, doubled);
    assert_int_equal(fixture->result.misplaced, misplaced);
    assert_true(fixture->result.example_count > 0);
}

#define SIX "one\ntwo\nthree\nfour\nfive\nsix\n" /* of clients 1 2 3 1 2 3 */

/* ---- what is right ---- */

static void test_any_interleaving_that_keeps_each_clients_order_passes(void **state)
{
    static const char *const orders[] = {"123123", "112233", "332211", "321321", "213132"};
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        struct fixture fixture;
        begin(&fixture, 3, SIX);
        write_in_order(&fixture, orders[i]);
        assert_true(check(&fixture));
        assert_int_equal(fixture.result.lines, 6);
        end(&fixture);
    }
}

static void test_no_lines_in_an_empty_file_pass(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, "");
    assert_true(check(&fixture));
    assert_int_equal(fixture.result.lines, 0);
    end(&fixture);
}

/* Which blank line is whose cannot be seen: none of the ways to take them is an error. */
static void test_lines_that_are_the_same_pass_in_any_interleaving(void **state)
{
    static const char *const orders[] = {"121212", "112122", "221112", "111222", "222111"};
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        struct fixture fixture;
        begin(&fixture, 2, "\n\na\nb\n\n\n"); /* client 1: "", a, ""; client 2: "", b, "" */
        write_in_order(&fixture, orders[i]);
        assert_true(check(&fixture));
        assert_int_equal(fixture.result.lines, 6);
        end(&fixture);
    }
}

static void test_a_client_may_note_its_offset_late(void **state)
{
    struct fixture fixture;
    begin(&fixture, 2, "\n\n\n\n");
    char line[8];
    /* Client 1 writes, then client 2 does twice, and only now client 1 looks at the offset. */
    add_bytes(&fixture, line, compose(&fixture, 1, 1, line));
    write_in_order(&fixture, "22");
    note(&fixture, 1);
    write_in_order(&fixture, "1");
    assert_true(check(&fixture));
    end(&fixture);
}

static void test_bytes_of_any_kind_make_a_line(void **state)
{
    static const char text[] = "a\0b\n\r\n\xff\xfe\n\0\nlast";
    struct fixture fixture = {0};
    assert_int_equal(workload_from_text(&fixture.workload, 2, text, sizeof(text) - 1), 0);
    uint64_t ends[8] = {0};
    fixture.ends = ends;
    write_in_order(&fixture, "12121");
    assert_true(check(&fixture));
    assert_int_equal(fixture.result.lines, 5);
    workload_deinit(&fixture.workload);
}

static void test_all_lines_the_same_take_no_longer(void **state)
{
    enum { LINES = 200000 };
    char *text = malloc(2 * LINES);
    uint64_t *ends = calloc(LINES, sizeof(*ends));
    assert_non_null(text);
    assert_non_null(ends);
    for (size_t i = 0; i < LINES; i++) {
        memcpy(text + 2 * i, "x\n", 2);
    }
    struct workload workload;
    assert_int_equal(workload_from_text(&workload, 4, text, 2 * (size_t)LINES), 0);
    /* One after the other, all of client 4 first. */
    for (size_t i = 0; i < LINES; i++) {
        ends[(3 - i / (LINES / 4)) * (LINES / 4) + i % (LINES / 4)] = 2 * (i + 1);
    }
    const struct verify_task task = {
        .workload = &workload, .bytes = text, .size = 2 * (size_t)LINES, .ends = ends};
    struct verify_result result;
    assert_int_equal(verify_file(&task, &result), 0);
    assert_true(verify_passed(&result));
    assert_int_equal(result.lines, LINES);
    workload_deinit(&workload);
    free(ends);
    free(text);
}

/* ---- what is wrong ---- */

static void test_a_lost_line_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, SIX);
    write_in_order(&fixture, "123123");
    replace_lines(&fixture, 5, 1, "");
    assert_false(check(&fixture));
    assert_found(&fixture, 1, 0, 0, 0);
    assert_non_null(strstr(fixture.result.examples[0], "lost: line 2 of client 3: \"six\""));
    end(&fixture);
}

static void test_a_lost_line_is_found_among_others_of_its_text(void **state)
{
    struct fixture fixture;
    begin(&fixture, 2, "\n\n\n\n\n\n");
    write_in_order(&fixture, "121212");
    fixture.size--;
    assert_false(check(&fixture));
    assert_found(&fixture, 1, 0, 0, 0);
    end(&fixture);
}

static void test_a_doubled_line_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, SIX);
    write_in_order(&fixture, "123123");
    add_bytes(&fixture, "six\n", 4);
    assert_false(check(&fixture));
    assert_found(&fixture, 0, 0, 1, 0);
    end(&fixture);
}

static void test_a_line_that_overwrote_another_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 2, "aaa\nbbb\nccc\nddd\n");
    write_in_order(&fixture, "1212");
    replace_lines(&fixture, 2, 1, "bbb\n");
    assert_false(check(&fixture));
    assert_found(&fixture, 1, 0, 1, 0);
    end(&fixture);
}

static void test_a_torn_line_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, SIX);
    write_in_order(&fixture, "123123");
    replace_lines(&fixture, 2, 1, "thxxe\n");
    assert_false(check(&fixture));
    assert_found(&fixture, 1, 1, 0, 0);
    end(&fixture);
}

static void test_two_lines_run_into_each_other_are_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, SIX);
    write_in_order(&fixture, "123123");
    replace_lines(&fixture, 2, 2, "threfour\ne\n");
    assert_false(check(&fixture));
    assert_found(&fixture, 2, 2, 0, 0);
    end(&fixture);
}

static void test_a_file_cut_short_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, SIX);
    write_in_order(&fixture, "123123");
    fixture.size -= 2;
    assert_false(check(&fixture));
    assert_found(&fixture, 1, 1, 0, 0);
    end(&fixture);
}

static void test_a_line_from_elsewhere_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, SIX);
    write_in_order(&fixture, "123123");
    add_bytes(&fixture, "seven\n", 6);
    assert_false(check(&fixture));
    assert_found(&fixture, 0, 1, 0, 0);
    assert_non_null(strstr(fixture.result.examples[0], "torn: at byte 28: \"seven\\n\""));
    end(&fixture);
}

static void test_lines_of_one_client_in_the_wrong_order_are_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 2, "aaa\nbbb\nccc\nddd\n");
    write_in_order(&fixture, "1212");
    replace_lines(&fixture, 0, 3, "ccc\nbbb\naaa\n");
    assert_false(check(&fixture));
    assert_found(&fixture, 0, 0, 0, 2);
    end(&fixture);
}

static void test_the_wrong_order_is_found_though_the_lines_exist_elsewhere_too(void **state)
{
    struct fixture fixture;
    /* Client 1 has a, x, b; client 2 has the same, but writes it all later. */
    begin(&fixture, 2, "aaa\naaa\nxxx\nxxx\nbbb\nbbb\n");
    write_in_order(&fixture, "111222");
    replace_lines(&fixture, 0, 3, "bbb\nxxx\naaa\n");
    assert_false(check(&fixture));
    assert_found(&fixture, 0, 0, 0, 2);
    end(&fixture);
}

static void test_an_offset_that_goes_back_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 2, "aaa\nbbb\nccc\nddd\n");
    write_in_order(&fixture, "1212");
    fixture.ends[1] = 1; /* client 1's second line */
    assert_false(check(&fixture));
    assert_non_null(strstr(fixture.result.examples[0], "the offset went back: line 2 of client 1"));
    end(&fixture);
}

static void test_a_hole_of_zeros_is_found(void **state)
{
    struct fixture fixture;
    begin(&fixture, 3, SIX);
    write_in_order(&fixture, "123");
    add_bytes(&fixture, "\0\0\0\0", 4);
    write_in_order(&fixture, "123");
    assert_false(check(&fixture));
    assert_int_equal(fixture.result.torn, 1);
    assert_int_equal(fixture.result.lost, 1);
    end(&fixture);
}

/* ---- killed writers ---- */

/* Client 1 is killed in its second line, leaving @left of it, and its successor writes it
 * again after one more line of client 2. */
static void write_with_fragment(struct fixture *fixture, const char *left)
{
    begin(fixture, 2, "aaa\nbbb\nccc\nddd\neee\nfff\n");
    fixture->workload.tagged = true;
    write_in_order(fixture, "12");
    add_bytes(fixture, left, strlen(left));
    write_in_order(fixture, "2112");
    fixture->doubts[0] = (struct line_name){0, 1};
    fixture->doubt_count = 1;
    fixture->fragments_allowed = true;
}

static void test_a_fragment_of_a_line_in_doubt_is_no_error(void **state)
{
    static const char *const fragments[] = {"1", "1.2", "1.2 ", "1.2 c", "1.2 ccc"};
    for (size_t i = 0; i < sizeof(fragments) / sizeof(fragments[0]); i++) {
        struct fixture fixture;
        write_with_fragment(&fixture, fragments[i]);
        assert_true(check(&fixture));
        assert_int_equal(fixture.result.fragments, 1);
        assert_int_equal(fixture.result.lines, 6);
        end(&fixture);
    }
}

static void test_a_fragment_of_another_line_is_torn(void **state)
{
    static const char *const fragments[] = {"2", "1.3 ", "1.2 cx", "1.2 cccc", "x", "1.2 ccc\n1"};
    for (size_t i = 0; i < sizeof(fragments) / sizeof(fragments[0]); i++) {
        struct fixture fixture;
        write_with_fragment(&fixture, fragments[i]);
        assert_false(check(&fixture));
        assert_true(fixture.result.torn > 0 || fixture.result.doubled > 0);
        end(&fixture);
    }
}

static void test_a_fragment_is_torn_where_none_can_be(void **state)
{
    struct fixture fixture;
    write_with_fragment(&fixture, "1.2 c");
    fixture.fragments_allowed = false;
    assert_false(check(&fixture));
    assert_found(&fixture, 1, 1, 0, 0);
    end(&fixture);
}

static void test_a_kill_leaves_no_second_fragment(void **state)
{
    struct fixture fixture;
    write_with_fragment(&fixture, "1.2 c");
    add_bytes(&fixture, "1.2", 3);
    assert_false(check(&fixture));
    assert_found(&fixture, 0, 1, 0, 0);
    /* A second kill at the same line may. */
    fixture.doubts[fixture.doubt_count++] = fixture.doubts[0];
    assert_true(check(&fixture));
    assert_int_equal(fixture.result.fragments, 2);
    end(&fixture);
}

static void test_fragments_of_two_clients_may_follow_each_other(void **state)
{
    struct fixture fixture;
    write_with_fragment(&fixture, "1.2 c2.2 dd");
    fixture.doubts[fixture.doubt_count++] = (struct line_name){1, 1};
    assert_true(check(&fixture));
    assert_int_equal(fixture.result.fragments, 2);
    end(&fixture);
}

static void test_a_line_in_doubt_that_is_there_twice_is_doubled(void **state)
{
    struct fixture fixture;
    write_with_fragment(&fixture, "1.2 ccc\n");
    assert_false(check(&fixture));
    assert_found(&fixture, 0, 0, 1, 0);
    end(&fixture);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_interleaving_that_keeps_each_clients_order_passes),
        cmocka_unit_test(test_no_lines_in_an_empty_file_pass),
        cmocka_unit_test(test_lines_that_are_the_same_pass_in_any_interleaving),
        cmocka_unit_test(test_a_client_may_note_its_offset_late),
        cmocka_unit_test(test_bytes_of_any_kind_make_a_line),
        cmocka_unit_test(test_all_lines_the_same_take_no_longer),
        cmocka_unit_test(test_a_lost_line_is_found),
        cmocka_unit_test(test_a_lost_line_is_found_among_others_of_its_text),
        cmocka_unit_test(test_a_doubled_line_is_found),
        cmocka_unit_test(test_a_line_that_overwrote_another_is_found),
        cmocka_unit_test(test_a_torn_line_is_found),
        cmocka_unit_test(test_two_lines_run_into_each_other_are_found),
        cmocka_unit_test(test_a_file_cut_short_is_found),
        cmocka_unit_test(test_a_line_from_elsewhere_is_found),
        cmocka_unit_test(test_lines_of_one_client_in_the_wrong_order_are_found),
        cmocka_unit_test(test_the_wrong_order_is_found_though_the_lines_exist_elsewhere_too),
        cmocka_unit_test(test_an_offset_that_goes_back_is_found),
        cmocka_unit_test(test_a_hole_of_zeros_is_found),
        cmocka_unit_test(test_a_fragment_of_a_line_in_doubt_is_no_error),
        cmocka_unit_test(test_a_fragment_of_another_line_is_torn),
        cmocka_unit_test(test_a_fragment_is_torn_where_none_can_be),
        cmocka_unit_test(test_a_kill_leaves_no_second_fragment),
        cmocka_unit_test(test_fragments_of_two_clients_may_follow_each_other),
        cmocka_unit_test(test_a_line_in_doubt_that_is_there_twice_is_doubled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
