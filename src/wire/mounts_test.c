/*
 * The table of mounts as bytes: they are these and no others, what is encoded is decoded, and
 * nothing else is.
 */
#include "lib/test.h"
#include "wire/mounts.h"
#include "wire/operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct wire_mounts two = {
    .last = 7,
    .count = 2,
    .mounts =
        {
            {
                .number = 1,
                .root = {0x0102030405060708, 0x1112131415161718},
                .type = WIRE_MOUNT_DIRECT,
                .path = "/",
                .source = "/srv",
            },
            {
                .number = 7,
                .parent = 1,
                .point = {0x2122232425262728, 0x3132333435363738},
                .root = {0x4142434445464748, 0x5152535455565758},
                .type = WIRE_MOUNT_DIRECT,
                .flags = WIRE_MOUNT_READ_ONLY | WIRE_MOUNT_CHECKED,
                .path = "/a",
                .source = "/b",
            },
        },
};

static const uint8_t two_encoded[] = {
    2,
    0,
    2,
    0,
    7,
    0,
    0,
    0,
    0,
    0,
    0,
    0, /* version, count, last */
    /* number, parent, point, root */
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0, /* */
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0, /* */
    8,
    7,
    6,
    5,
    4,
    3,
    2,
    1, /* */
    0x18,
    0x17,
    0x16,
    0x15,
    0x14,
    0x13,
    0x12,
    0x11, /* */
    1,
    0,
    '/',
    0,
    '/',
    's',
    'r',
    'v',
    0, /* type, flags, texts */
    7,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    0, /* */
    0x28,
    0x27,
    0x26,
    0x25,
    0x24,
    0x23,
    0x22,
    0x21, /* */
    0x38,
    0x37,
    0x36,
    0x35,
    0x34,
    0x33,
    0x32,
    0x31, /* */
    0x48,
    0x47,
    0x46,
    0x45,
    0x44,
    0x43,
    0x42,
    0x41, /* */
    0x58,
    0x57,
    0x56,
    0x55,
    0x54,
    0x53,
    0x52,
    0x51, /* */
    1,
    3,
    '/',
    'a',
    0,
    '/',
    'b',
    0,
};

static void test_the_bytes_are_these(void **state)
{
    uint8_t bytes[HF_VALUE_MAX];
    assert_int_equal(wire_mounts_encode(&two, bytes), sizeof two_encoded);
    assert_memory_equal(bytes, two_encoded, sizeof two_encoded);
    assert_int_equal(WIRE_MOUNTS_ID.space >> 56, 0x84);
}

static void assert_same_mount(const struct wire_mount *one, const struct wire_mount *other)
{
    assert_int_equal(one->number, other->number);
    assert_int_equal(one->parent, other->parent);
    assert_memory_equal(&one->point, &other->point, sizeof one->point);
    assert_memory_equal(&one->root, &other->root, sizeof one->root);
    assert_int_equal(one->type, other->type);
    assert_int_equal(one->flags, other->flags);
    assert_string_equal(one->path, other->path);
    assert_string_equal(one->source, other->source);
}

static void test_what_is_encoded_is_decoded(void **state)
{
    struct wire_mounts decoded;
    assert_true(wire_mounts_decode(two_encoded, sizeof two_encoded, &decoded));
    assert_int_equal(decoded.last, 7);
    assert_int_equal(decoded.count, 2);
    assert_same_mount(&decoded.mounts[0], &two.mounts[0]);
    assert_same_mount(&decoded.mounts[1], &two.mounts[1]);

    assert_true(wire_mounts_decode(NULL, 0, &decoded));
    assert_int_equal(decoded.count, 0);
}

/* In memory of just that size, so that a sanitizer finds any byte that is read behind it. */
static bool decodes(const uint8_t *bytes, size_t size)
{
    struct wire_mounts decoded;
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    const bool result = wire_mounts_decode(copy, size, &decoded);
    free(copy);
    return result;
}

static void test_a_table_cut_short_or_with_more_behind_it_is_none(void **state)
{
    uint8_t longer[sizeof two_encoded + 1] = {0};
    for (size_t size = 1; size < sizeof two_encoded; size++) {
        assert_false(decodes(two_encoded, size));
    }
    memcpy(longer, two_encoded, sizeof two_encoded);
    assert_false(decodes(longer, sizeof longer));
}

static void test_a_table_that_does_not_hold_together_is_none(void **state)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t byte;
    } mistakes[] = {
        {"another version", 0, 1},
        {"fewer mounts than there are", 2, 1},
        {"more mounts than there are", 2, 3},
        {"many more", 3, 0xff},
        {"a number above the last", 4, 6},
        {"number 0", 12, 0},
        {"the first is not at /", 20, 7},
        {"a mount point for /", 28, 1},
        {"an unknown type", 60, 3},
        {"a served mount of no store", 60, 2},
        {"unknown flags", 61, 4},
        {"a path that is not absolute", 62, 'x'},
        {"a source that is not absolute", 64, 'x'},
        {"the same number twice", 69, 1},
        {"a parent that is not there", 77, 2},
        {"its own parent", 77, 7},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        uint8_t bytes[sizeof two_encoded];
        memcpy(bytes, two_encoded, sizeof bytes);
        assert_true(bytes[mistakes[i].at] != mistakes[i].byte);
        bytes[mistakes[i].at] = mistakes[i].byte;
        if (decodes(bytes, sizeof bytes)) {
            fail_msg("taken for a table: %s", mistakes[i].what);
        }
    }

    uint8_t bytes[HF_VALUE_MAX];
    struct wire_mounts one = two;
    one.count = 1;
    assert_true(decodes(bytes, wire_mounts_encode(&one, bytes)));
    one.mounts[0].number = 0;
    assert_false(decodes(bytes, wire_mounts_encode(&one, bytes)));

    /* Two mounts on one directory. */
    struct wire_mounts three = two;
    three.count = 3;
    three.mounts[2] = three.mounts[1];
    three.mounts[2].number = 5;
    assert_false(decodes(bytes, wire_mounts_encode(&three, bytes)));
    three.mounts[2].parent = 7;
    assert_true(decodes(bytes, wire_mounts_encode(&three, bytes)));
}

/* What the server has itself: its root says which store that is. */
static void test_served_mounts(void **state)
{
    const struct wire_mount good = {
        .number = 1,
        .root = wire_store_id(WIRE_STORE_FIRST, 1),
        .type = WIRE_MOUNT_SERVED,
        .flags = WIRE_MOUNT_READ_ONLY,
        .path = "/",
        .source = WIRE_MOUNT_RAM,
    };
    struct wire_mounts table = {.last = 1, .count = 1};
    struct wire_mounts decoded;
    uint8_t bytes[HF_VALUE_MAX];
#define DECODES() decodes(bytes, wire_mounts_encode(&table, bytes))

    table.mounts[0] = good;
    assert_true(wire_mounts_decode(bytes, wire_mounts_encode(&table, bytes), &decoded));
    assert_same_mount(&decoded.mounts[0], &good);
    assert_int_equal(wire_mount_backend(&decoded.mounts[0]), WIRE_STORE_FIRST);
    table.mounts[0].source = "/srv";
    assert_true(DECODES());
    table.mounts[0].root = wire_store_id(WIRE_STORE_LAST, 7);
    assert_true(DECODES());
    assert_int_equal(wire_mount_backend(&table.mounts[0]), WIRE_STORE_LAST);

    table.mounts[0].root = wire_store_id(WIRE_STORE_LAST + 1, 1);
    assert_false(DECODES());
    table.mounts[0].root = wire_store_id(WIRE_BACKEND_DIRECT, 1);
    assert_false(DECODES());
    table.mounts[0].root = wire_inode_id(WIRE_STORE_FIRST, 1, 1); /* of another device */
    assert_false(DECODES());
    table.mounts[0] = good;
    table.mounts[0].source = "rams";
    assert_false(DECODES());
    table.mounts[0].source = "";
    assert_false(DECODES());
    table.mounts[0] = good;
    table.mounts[0].flags = WIRE_MOUNT_CHECKED;
    assert_false(DECODES());
    table.mounts[0] = good;
    table.mounts[0].type = WIRE_MOUNT_DIRECT; /* which has no source of that kind */
    assert_false(DECODES());
#undef DECODES

    /* The inodes of stores are called as all inodes are, by a device of their own. */
    const hf_id id = wire_inode_id(5, makedev(WIRE_STORE_MAJOR, 5), 9);
    const hf_id same = wire_store_id(5, 9);
    assert_memory_equal(&id, &same, sizeof id);
    table.mounts[0] = two.mounts[0];
    assert_int_equal(wire_mount_backend(&table.mounts[0]), WIRE_BACKEND_DIRECT);
}

static void test_a_table_that_is_too_long_is_not_encoded(void **state)
{
    static struct wire_mounts full;
    static struct {
        struct wire_mounts mounts;
        uint8_t behind[sizeof(struct wire_mount)];
    } decoded;
    static const uint8_t nothing[sizeof decoded.behind];
    static char path[HF_VALUE_MAX + 1];
    uint8_t bytes[HF_VALUE_MAX] = {0};

    full = two;
    full.last = WIRE_MOUNTS_MAX;
    for (size_t i = 0; i < WIRE_MOUNTS_MAX; i++) {
        full.mounts[i] = two.mounts[0];
        full.mounts[i].number = i + 1;
        full.mounts[i].parent = i == 0 ? 0 : 1;
        full.mounts[i].point.object = i;
        full.mounts[i].source = "/";
    }
    full.count = WIRE_MOUNTS_MAX;
    const size_t size = wire_mounts_encode(&full, bytes);
    assert_true(size > 0 && size + WIRE_MOUNT_BYTES + 4 > HF_VALUE_MAX);
    assert_true(wire_mounts_decode(bytes, size, &decoded.mounts));

    /* One more than there is room for, and some bytes of it. */
    bytes[2]++;
    memset(bytes + size, 0xff, sizeof bytes - size);
    assert_false(wire_mounts_decode(bytes, sizeof bytes, &decoded.mounts));
    assert_memory_equal(decoded.behind, nothing, sizeof nothing);

    full.count = 1;
    full.mounts[0].source = path;
    memset(path, '/', HF_VALUE_MAX);
    const size_t room = HF_VALUE_MAX - WIRE_MOUNTS_HEAD_BYTES - WIRE_MOUNT_BYTES - 2;
    path[room - 1] = '\0';
    assert_int_equal(wire_mounts_encode(&full, bytes), HF_VALUE_MAX);
    path[room - 1] = '/';
    path[room] = '\0';
    assert_int_equal(wire_mounts_encode(&full, bytes), 0);
}

static void test_random_bytes_do_no_harm(void **state)
{
    uint8_t bytes[sizeof two_encoded];
    uint64_t dice = 1;
    for (int i = 0; i < 200000; i++) {
        memcpy(bytes, two_encoded, sizeof bytes);
        for (int change = 0; change < 3; change++) {
            dice = dice * UINT64_C(6364136223846793005) + 1;
            bytes[(dice >> 33) % sizeof bytes] = (uint8_t)(dice >> 56);
        }
        decodes(bytes, (dice >> 20) % 4 == 0 ? (dice >> 40) % sizeof bytes : sizeof bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_bytes_are_these),
        cmocka_unit_test(test_what_is_encoded_is_decoded),
        cmocka_unit_test(test_a_table_cut_short_or_with_more_behind_it_is_none),
        cmocka_unit_test(test_a_table_that_does_not_hold_together_is_none),
        cmocka_unit_test(test_served_mounts),
        cmocka_unit_test(test_a_table_that_is_too_long_is_not_encoded),
        cmocka_unit_test(test_random_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
