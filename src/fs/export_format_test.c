/*
 * The bytes of an export say what was put into them, and nothing but right ones pass.
 */
#include "fs/export_format.h"

#include "lib/test.h"

#include <errno.h>
#include <holdfast/export.h>
#include <string.h>

#define DESCRIPTORS 5

static const struct export_descriptor descriptors[DESCRIPTORS] = {
    {.number = 0, .item = 0},
    {.number = 1, .item = 1, .close_on_exec = true},
    {.number = 7, .item = 0},
    {.number = 300, .item = 2},
    {.number = HF_FS_DESCRIPTORS_MAX - 1, .item = 1, .close_on_exec = true},
};

static const struct export_head all = {
    .kind = EXPORT_ALL,
    .ticket = {UINT64_C(0x0102030405060708), UINT64_C(0x1112131415161718)},
    .umask = 027,
    .items = 4,
    .descriptors = DESCRIPTORS,
    .has_directory = true,
};

static const struct export_head one = {
    .kind = EXPORT_FILE, .ticket = {1, 2}, .items = 1, .descriptors = 1};

/* Return: how many bytes it has. */
static size_t encode(uint8_t *bytes, const struct export_head *head,
                     const struct export_descriptor *list)
{
    for (uint32_t i = 0; i < head->descriptors; i++) {
        export_set_descriptor(bytes, i, &list[i]);
    }
    export_set_head(bytes, head);
    return export_size(head->descriptors);
}

static void test_what_was_put_in_comes_out(void **state)
{
    uint8_t bytes[256];
    struct export_head head;
    const size_t size = encode(bytes, &all, descriptors);
    assert_int_equal(size, 48 + 5 * 8);
    assert_int_equal(export_get_head(bytes, size, &head), 0);
    assert_int_equal(head.kind, all.kind);
    assert_memory_equal(&head.ticket, &all.ticket, sizeof head.ticket);
    assert_int_equal(head.umask, all.umask);
    assert_int_equal(head.items, all.items);
    assert_int_equal(head.descriptors, all.descriptors);
    assert_true(head.has_directory);
    for (uint32_t i = 0; i < DESCRIPTORS; i++) {
        const struct export_descriptor found = export_get_descriptor(bytes, i);
        assert_int_equal(found.number, descriptors[i].number);
        assert_int_equal(found.item, descriptors[i].item);
        assert_int_equal(found.close_on_exec, descriptors[i].close_on_exec);
    }
    assert_int_equal(export_get_head(bytes, encode(bytes, &one, descriptors), &head), 0);
    assert_int_equal(head.kind, EXPORT_FILE);
    assert_false(head.has_directory);
}

/* They may be kept for long: other versions read them too, or know that they cannot. */
static void test_the_bytes_are_these(void **state)
{
    static const uint8_t expected[] = {
        'H', 'F', 'X', '1', 1, 0, 2, 0, 0x60, 0x3d, 0xf9, 0x23, 0x3c, 0x30, 0x93, 0x93, 1, 0, 0,
        0,   0,   0,   0,   0, 2, 0, 0, 0,    0,    0,    0,    0,    0,    0,    0,    0, 1, 0,
        0,   0,   1,   0,   0, 0, 0, 0, 0,    0,    0,    0,    0,    0,    0,    0,    0, 0,
    };
    uint8_t bytes[256];
    const size_t size = encode(bytes, &one, descriptors);
    assert_int_equal(size, sizeof expected);
    assert_int_equal(size, HF_EXPORT_FILE_SIZE);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void test_any_damage_is_found(void **state)
{
    uint8_t bytes[256];
    struct export_head head;
    const size_t size = encode(bytes, &all, descriptors);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(export_get_head(bytes, size, &head), -EINVAL);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t shorter = 0; shorter < size; shorter++) {
        assert_int_equal(export_get_head(bytes, shorter, &head), -EINVAL);
    }
    assert_int_equal(export_get_head(bytes, size + 1, &head), -EINVAL);
    assert_int_equal(export_get_head(bytes, size, &head), 0);
}

static void head_is_refused(struct export_head head)
{
    uint8_t bytes[256];
    struct export_head found;
    const size_t size = encode(bytes, &head, descriptors);
    assert_int_equal(export_get_head(bytes, size, &found), -EINVAL);
}

/* Somebody who knows how the check is made has tampered with them. */
static void test_a_head_that_makes_no_sense(void **state)
{
    struct export_head head = all;
    head.kind = (enum export_kind)3;
    head_is_refused(head);
    head = all;
    head.kind = EXPORT_FILE;
    head_is_refused(head);
    head = all;
    head.umask = 01000;
    head_is_refused(head);
    head = all;
    head.items = 3;
    head_is_refused(head);
    head.items = 5;
    head_is_refused(head);
    head = all;
    head.has_directory = false;
    head_is_refused(head);
    head = all;
    head.ticket = (hf_id){0, 0};
    head_is_refused(head);
    head = one;
    head.descriptors = 0;
    head_is_refused(head);
    head.items = 0;
    head.ticket = (hf_id){0, 0};
    head_is_refused(head);
    head = one;
    head.umask = 022;
    head_is_refused(head);
}

static void descriptors_are_refused(uint32_t index, uint32_t number, uint32_t item)
{
    uint8_t bytes[256];
    struct export_head head;
    struct export_descriptor list[DESCRIPTORS];
    memcpy(list, descriptors, sizeof list);
    list[index].number = number;
    list[index].item = item;
    const size_t size = encode(bytes, &all, list);
    assert_int_equal(export_get_head(bytes, size, &head), -EINVAL);
}

static void test_descriptors_that_make_no_sense(void **state)
{
    descriptors_are_refused(0, 0, 1);                     /* the first item comes first */
    descriptors_are_refused(1, 0, 1);                     /* one number twice */
    descriptors_are_refused(2, 1, 0);                     /* not in order */
    descriptors_are_refused(4, HF_FS_DESCRIPTORS_MAX, 1); /* there is none such */
    descriptors_are_refused(4, 0x7fffffff, 1);
    descriptors_are_refused(3, 300, 3); /* the working directory is no open file */
    descriptors_are_refused(3, 300, UINT32_MAX);
    descriptors_are_refused(3, 300, 1); /* nobody has the item */
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_in_comes_out),
        cmocka_unit_test(test_the_bytes_are_these),
        cmocka_unit_test(test_any_damage_is_found),
        cmocka_unit_test(test_a_head_that_makes_no_sense),
        cmocka_unit_test(test_descriptors_that_make_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
