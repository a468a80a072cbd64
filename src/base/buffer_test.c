#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The queue's own source is included so that allocations can be made to fail, and bytes that
 * it moves can be counted. */
static bool memory_is_gone;
static size_t bytes_moved;

static void *malloc_or_fail(size_t size)
{
    return memory_is_gone ? NULL : malloc(size);
}

static void *counted_memmove(void *to, const void *from, size_t size)
{
    bytes_moved += size;
    return memmove(to, from, size);
}

#undef memmove
#define malloc malloc_or_fail
#define memmove counted_memmove
#include "base/buffer.c"
#undef malloc
#undef memmove

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What goes in comes out, in order, whatever the sizes of the pieces. */
static void test_bytes_come_out_in_order(void **state)
{
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    uint64_t seed = 1;
    size_t in = 0;
    size_t out = 0;
    for (int step = 0; step < 200000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const size_t size = (seed >> 33) % 300;
        if ((seed >> 60) & 1) {
            uint8_t piece[300];
            for (size_t i = 0; i < size; i++) {
                piece[i] = (uint8_t)(in + i);
            }
            const bool fits = in - out + size <= 1000;
            assert_int_equal(buffer_append(&buffer, piece, size), fits ? 0 : -ENOBUFS);
            in += fits ? size : 0;
        } else {
            const size_t part = size < in - out ? size : in - out;
            const uint8_t *data = buffer_data(&buffer);
            for (size_t i = 0; i < part; i++) {
                assert_int_equal(data[i], (uint8_t)(out + i));
            }
            buffer_consume(&buffer, part);
            out += part;
        }
        assert_int_equal(buffer.length, in - out);
    }
    buffer_deinit(&buffer);
}

/* The limit is exact, and going over it changes nothing. */
static void test_the_limit_is_exact(void **state)
{
    struct buffer buffer;
    buffer_init(&buffer, 5);
    assert_int_equal(buffer_append(&buffer, "abc", 3), 0);
    assert_int_equal(buffer_append(&buffer, "def", 3), -ENOBUFS);
    errno = 0;
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    assert_int_equal(errno, ENOBUFS);
    assert_int_equal(buffer_append(&buffer, "de", 2), 0);
    assert_int_equal(buffer_append(&buffer, "f", 1), -ENOBUFS);
    assert_int_equal(buffer.length, 5);
    assert_memory_equal(buffer_data(&buffer), "abcde", 5);

    buffer_consume(&buffer, 2);
    assert_int_equal(buffer_append(&buffer, "fg", 2), 0);
    assert_memory_equal(buffer_data(&buffer), "cdefg", 5);
    buffer_deinit(&buffer);

    buffer_init(&buffer, 0);
    assert_int_equal(buffer_append(&buffer, "x", 1), -ENOBUFS);
    assert_int_equal(buffer_append(&buffer, "", 0), 0);
    assert_non_null(buffer_reserve(&buffer, 0));
    buffer_deinit(&buffer);
}

/* Room that was reserved counts only as far as it was committed. */
static void test_reserved_room_counts_once_committed(void **state)
{
    struct buffer buffer;
    buffer_init(&buffer, 100000);
    uint8_t *room = buffer_reserve(&buffer, 50000);
    assert_non_null(room);
    memset(room, 'x', 50000);
    assert_int_equal(buffer.length, 0);
    buffer_commit(&buffer, 3);
    assert_int_equal(buffer.length, 3);
    assert_ptr_equal(buffer_reserve(&buffer, 10), room + 3);
    buffer_deinit(&buffer);
}

/* A peer that was slow once does not cost memory for ever. */
static void test_an_empty_large_buffer_gives_its_memory_back(void **state)
{
    struct buffer buffer;
    buffer_init(&buffer, 1 << 20);
    uint8_t *room = buffer_reserve(&buffer, 1 << 20);
    assert_non_null(room);
    memset(room, 0, 1 << 20);
    buffer_commit(&buffer, 1 << 20);
    buffer_consume(&buffer, (1 << 20) - 1);
    assert_true(buffer.capacity >= 1 << 20);
    buffer_consume(&buffer, 1);
    assert_int_equal(buffer.capacity, 0);
    assert_int_equal(buffer_append(&buffer, "x", 1), 0);
    assert_in_range(buffer.capacity, 1, 4096);
    buffer_deinit(&buffer);
}

/* A reader that takes a little at a time from a full queue does not make each append move all
 * of it: a byte is moved a few times at most. */
static void test_a_full_queue_is_not_moved_for_each_append(void **state)
{
    enum { LIMIT = 1 << 16, PIECE = 40, ROUNDS = 20000 };
    struct buffer buffer;
    const uint8_t piece[PIECE] = {0};
    buffer_init(&buffer, LIMIT);
    while (buffer.length + PIECE <= LIMIT) {
        assert_int_equal(buffer_append(&buffer, piece, PIECE), 0);
    }
    bytes_moved = 0;
    for (int i = 0; i < ROUNDS; i++) {
        buffer_consume(&buffer, PIECE);
        assert_int_equal(buffer_append(&buffer, piece, PIECE), 0);
    }
    assert_true(bytes_moved > 0);
    assert_true(bytes_moved <= (size_t)3 * ROUNDS * PIECE);
    assert_true(buffer.capacity <= LIMIT + LIMIT / 2);
    buffer_deinit(&buffer);
}

/* Without memory an append fails and nothing is lost. */
static void test_appending_may_fail(void **state)
{
    struct buffer buffer;
    buffer_init(&buffer, SIZE_MAX);
    memory_is_gone = true;
    assert_int_equal(buffer_append(&buffer, "x", 1), -ENOMEM);
    memory_is_gone = false;
    assert_int_equal(buffer_append(&buffer, "kept", 4), 0);
    memory_is_gone = true;
    errno = 0;
    assert_null(buffer_reserve(&buffer, 100000));
    assert_int_equal(errno, ENOMEM);
    memory_is_gone = false;
    assert_int_equal(buffer.length, 4);
    assert_memory_equal(buffer_data(&buffer), "kept", 4);
    buffer_deinit(&buffer);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_out_in_order),
        cmocka_unit_test(test_the_limit_is_exact),
        cmocka_unit_test(test_reserved_room_counts_once_committed),
        cmocka_unit_test(test_an_empty_large_buffer_gives_its_memory_back),
        cmocka_unit_test(test_a_full_queue_is_not_moved_for_each_append),
        cmocka_unit_test(test_appending_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
