/*
 * Served mounts from outside: what each operation does, through a real server with a store in
 * memory.
 */
#include "lib/served_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAGES 1024
#define INODES 1000

static struct served_stage stage;
static struct raw_client client;

static void start(bool read_only)
{
    served_stage_init(&stage);
    served_stage_start(&stage,
                       &(struct served_stage_options){
                           .pages = PAGES, .inodes = INODES, .mode = 0755, .read_only = read_only});
    raw_join(&client, stage.test.address, "client");
}

static int set_up(void **state)
{
    start(false);
    raw_hold_inode(&client, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    return 0;
}

static int set_up_read_only(void **state)
{
    start(true);
    return 0;
}

static int tear_down(void **state)
{
    raw_round_trip(&client);
    assert_int_equal(test_server_stats(&stage.test).cut_off, 0);
    raw_close(&client);
    test_server_await_clients(&stage.test, 0);
    served_stage_deinit(&stage);
    return 0;
}

static struct raw_answer ask(const struct wire_operation *op)
{
    return raw_ask(&client, stage.store, op);
}

static uint32_t error_of(const struct wire_operation *op)
{
    return ask(op).error;
}

static void expect_done(const struct wire_operation *op)
{
    assert_int_equal(error_of(op), 0);
}

/* A file of the client's that it holds EXCLUSIVE. */
static uint64_t make_file(const char *name)
{
    const uint64_t number = served_make_in(&stage, &client, STORE_ROOT, name, S_IFREG | 0644);
    raw_hold_inode(&client, stage.store, number, HF_EXCLUSIVE);
    return number;
}

static struct wire_attributes attributes_of(uint64_t number)
{
    return raw_attributes(ask(OP(WIRE_OP_GET, .inode = number)));
}

static void write_text(uint64_t number, uint64_t offset, const char *text)
{
    const uint32_t size = (uint32_t)strlen(text);
    assert_int_equal(raw_count(ask(OP(WIRE_OP_WRITE,
                                      .inode = number,
                                      .offset = offset,
                                      .now = served_now(),
                                      .data = (const uint8_t *)text,
                                      .data_size = size))),
                     size);
}

static void expect_data(uint64_t number, uint64_t offset, const char *bytes, size_t size)
{
    const struct raw_answer answer =
        ask(OP(WIRE_OP_READ, .inode = number, .offset = offset, .size = WIRE_DATA_MAX));
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.size, size);
    assert_memory_equal(answer.data, bytes, size);
}

static bool exists(const char *name)
{
    return error_of(OP(WIRE_OP_LOOKUP, .inode = STORE_ROOT, .name = raw_name(name))) == 0;
}

/* ---- looking ---- */

static void test_attach(void **state)
{
    struct wire_identity identity;
    const struct raw_answer answer = ask(OP(WIRE_OP_ATTACH));
    assert_int_equal(answer.error, 0);
    assert_true(wire_get_identity(answer.data, answer.size, &identity) == answer.size);
    assert_int_equal(identity.root, STORE_ROOT);
    assert_int_equal(identity.flags, WIRE_STORE_EXACT | WIRE_STORE_PRIVILEGED);
    assert_int_equal(identity.owner, geteuid());
    assert_int_equal(identity.group, getegid());
    gid_t groups[100];
    const int count = getgroups(100, groups);
    assert_int_equal(identity.data_size, (unsigned)count * 4);
}

static void test_make_and_look(void **state)
{
    const struct timespec when = served_now();
    const struct wire_attributes made = raw_attributes(ask(OP(WIRE_OP_MAKE,
                                                              .inode = STORE_ROOT,
                                                              .mode = S_IFREG | 0640,
                                                              .now = when,
                                                              .name = raw_name("file"))));
    assert_int_equal(made.mode, S_IFREG | 0640);
    assert_int_equal(made.owner, geteuid());
    assert_int_equal(made.mtime.tv_sec, when.tv_sec);
    assert_int_equal(made.mtime.tv_nsec, when.tv_nsec);
    const struct wire_attributes found =
        raw_attributes(ask(OP(WIRE_OP_LOOKUP, .inode = STORE_ROOT, .name = raw_name("file"))));
    assert_memory_equal(&found, &made, sizeof(made));
    const struct wire_attributes got = attributes_of(made.number);
    assert_memory_equal(&got, &made, sizeof(made));
    assert_int_equal(error_of(OP(WIRE_OP_LOOKUP, .inode = STORE_ROOT, .name = raw_name("none"))),
                     ENOENT);
    assert_int_equal(error_of(OP(WIRE_OP_LOOKUP, .inode = made.number, .name = raw_name("none"))),
                     ENOTDIR);
    assert_int_equal(error_of(OP(WIRE_OP_GET, .inode = 12345)), ESTALE);
}

static void test_parent(void **state)
{
    const uint64_t directory =
        served_make_in(&stage, &client, STORE_ROOT, "directory", S_IFDIR | 0755);
    const struct wire_attributes parent =
        raw_attributes(ask(OP(WIRE_OP_PARENT, .inode = directory)));
    assert_int_equal(parent.number, STORE_ROOT);
    assert_int_equal(raw_attributes(ask(OP(WIRE_OP_PARENT, .inode = STORE_ROOT))).number,
                     STORE_ROOT);
}

/* A listing goes on where the last one ended, and ends with nothing. */
static void test_list(void **state)
{
    char seen[100] = {0};
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "file%d", i);
        served_make_in(&stage, &client, STORE_ROOT, name, S_IFREG | 0644);
    }
    uint64_t position = 0;
    for (;;) {
        const struct raw_answer answer =
            ask(OP(WIRE_OP_LIST, .inode = STORE_ROOT, .offset = position, .size = 500));
        assert_int_equal(answer.error, 0);
        assert_true(answer.size <= 500);
        if (answer.size == 0) {
            break;
        }
        struct wire_entry entry;
        for (size_t at = 0; at < answer.size;) {
            const size_t size = wire_get_entry(answer.data + at, answer.size - at, &entry);
            assert_true(size > 0);
            assert_int_equal(entry.mode, S_IFREG);
            char digits[8] = "";
            memcpy(digits, entry.name.bytes + 4, entry.name.length - 4u);
            seen[strtoul(digits, NULL, 10)]++;
            at += size;
        }
        position = entry.offset;
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_int_equal(error_of(OP(WIRE_OP_LIST, .inode = STORE_ROOT, .size = 3)), EINVAL);
}

static void test_symbolic_link(void **state)
{
    const struct wire_attributes made = raw_attributes(ask(OP(WIRE_OP_MAKE,
                                                              .inode = STORE_ROOT,
                                                              .mode = S_IFLNK | 0777,
                                                              .now = served_now(),
                                                              .name = raw_name("link"),
                                                              .data = (const uint8_t *)"to/there",
                                                              .data_size = 8)));
    const struct raw_answer answer = ask(OP(WIRE_OP_READ_LINK, .inode = made.number));
    assert_int_equal(answer.size, 8);
    assert_memory_equal(answer.data, "to/there", 8);
}

static void test_usage(void **state)
{
    struct wire_usage usage;
    const uint64_t file = make_file("file");
    write_text(file, 0, "x");
    served_reserve_for(&stage, &client, 100, 50, false);
    const struct raw_answer answer = ask(OP(WIRE_OP_USAGE));
    assert_true(wire_get_usage(answer.data, answer.size, &usage) == answer.size);
    assert_int_equal(usage.pages, PAGES);
    assert_int_equal(usage.inodes, INODES);
    assert_int_equal(usage.free_pages, PAGES - 1);
    assert_int_equal(usage.free_inodes, INODES - 2);
}

/* ---- changing ---- */

static void test_data(void **state)
{
    const uint64_t file = make_file("file");
    write_text(file, 10, "hello");
    expect_data(file, 8, "\0\0hello", 7);
    struct wire_appended appended;
    const struct raw_answer answer = ask(OP(WIRE_OP_APPEND,
                                            .inode = file,
                                            .now = served_now(),
                                            .data = (const uint8_t *)" you",
                                            .data_size = 4));
    assert_true(wire_get_appended(answer.data, answer.size, &appended) == answer.size);
    assert_int_equal(appended.count, 4);
    assert_int_equal(appended.end, 19);
    expect_data(file, 10, "hello you", 9);
    assert_int_equal(error_of(OP(WIRE_OP_READ, .inode = file, .size = WIRE_DATA_MAX + 1)), EINVAL);
}

static void test_allocate_seek_and_copy(void **state)
{
    const uint64_t from = make_file("from");
    const uint64_t to = make_file("to");
    write_text(from, 3 * STORE_PAGE_SIZE, "data");
    assert_int_equal(
        raw_count(ask(OP(WIRE_OP_SEEK, .inode = from, .offset = 1, .whence = SEEK_DATA))),
        3 * STORE_PAGE_SIZE);
    assert_int_equal(error_of(OP(WIRE_OP_SEEK, .inode = to, .whence = SEEK_DATA)), ENXIO);
    assert_int_equal(raw_count(ask(OP(WIRE_OP_COPY,
                                      .inode = from,
                                      .offset = 3 * STORE_PAGE_SIZE,
                                      .other = to,
                                      .other_offset = 2,
                                      .size = 100,
                                      .now = served_now()))),
                     4);
    expect_data(to, 0, "\0\0data", 6);
    expect_done(OP(WIRE_OP_ALLOCATE,
                   .inode = to,
                   .mask = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   .size = 4,
                   .now = served_now()));
    expect_data(to, 0, "\0\0\0\0ta", 6);
}

static void test_set(void **state)
{
    const uint64_t file = make_file("file");
    write_text(file, 0, "0123456789");
    const struct timespec then = {.tv_sec = 1000, .tv_nsec = 5};
    expect_done(OP(WIRE_OP_SET,
                   .inode = file,
                   .mask = STORE_SET_MODE | STORE_SET_SIZE | STORE_SET_MTIME,
                   .mode = 0600,
                   .size = 4,
                   .mtime = then,
                   .now = served_now()));
    const struct wire_attributes attributes = attributes_of(file);
    assert_int_equal(attributes.mode, S_IFREG | 0600);
    assert_int_equal(attributes.size, 4);
    assert_int_equal(attributes.mtime.tv_sec, 1000);
    assert_int_equal(attributes.mtime.tv_nsec, 5);
}

/* A client shows its callers the time of an operation before the server hears of it. One whose clock
 * is wrong does not leave that in the store. */
static void test_the_time_is_the_clients_unless_it_is_wrong(void **state)
{
    const uint64_t file = make_file("file");
    const struct timespec present = served_now();
    const struct timespec some[] = {
        {present.tv_sec - 50, 7},
        {present.tv_sec + 50, 8},
        {5, 9},
        {present.tv_sec + 5000, 10},
        {INT64_MIN, 11},
        {INT64_MAX, 12},
    };
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        expect_done(
            OP(WIRE_OP_SET, .inode = file, .mask = STORE_SET_MODE, .mode = 0644, .now = some[i]));
        const struct timespec ctime = attributes_of(file).ctime;
        if (i < 2) {
            assert_int_equal(ctime.tv_sec, some[i].tv_sec);
            assert_int_equal(ctime.tv_nsec, some[i].tv_nsec);
        } else {
            assert_true(ctime.tv_sec >= present.tv_sec - 1 && ctime.tv_sec <= present.tv_sec + 60);
        }
    }
}

static void test_names(void **state)
{
    const uint64_t file = make_file("a");
    expect_done(OP(WIRE_OP_LINK,
                   .inode = STORE_ROOT,
                   .number = file,
                   .now = served_now(),
                   .name = raw_name("b")));
    assert_int_equal(attributes_of(file).links, 2);
    expect_done(OP(WIRE_OP_UNLINK,
                   .inode = STORE_ROOT,
                   .number = file,
                   .now = served_now(),
                   .name = raw_name("a")));
    assert_false(exists("a"));
    const uint64_t directory =
        served_make_in(&stage, &client, STORE_ROOT, "directory", S_IFDIR | 0755);
    raw_hold_inode(&client, stage.store, directory, HF_EXCLUSIVE);
    expect_done(OP(WIRE_OP_RENAME,
                   .inode = STORE_ROOT,
                   .other = directory,
                   .number = file,
                   .now = served_now(),
                   .name = raw_name("b"),
                   .new_name = raw_name("c")));
    assert_false(exists("b"));
    assert_int_equal(
        raw_attributes(ask(OP(WIRE_OP_LOOKUP, .inode = directory, .name = raw_name("c")))).number,
        file);
    assert_int_equal(error_of(OP(WIRE_OP_REMOVE_DIRECTORY,
                                 .inode = STORE_ROOT,
                                 .number = directory,
                                 .now = served_now(),
                                 .name = raw_name("directory"))),
                     ENOTEMPTY);
}

/* Which inode a name is of is part of the operation. */
static void test_a_name_of_something_else(void **state)
{
    const uint64_t file = make_file("file");
    const uint64_t other = make_file("other");
    assert_int_equal(error_of(OP(WIRE_OP_UNLINK,
                                 .inode = STORE_ROOT,
                                 .number = other,
                                 .now = served_now(),
                                 .name = raw_name("file"))),
                     ESTALE);
    assert_int_equal(error_of(OP(WIRE_OP_RENAME,
                                 .inode = STORE_ROOT,
                                 .other = STORE_ROOT,
                                 .number = file,
                                 .now = served_now(),
                                 .name = raw_name("file"),
                                 .new_name = raw_name("other"))),
                     ESTALE);
    assert_true(exists("file") && exists("other"));
    expect_done(OP(WIRE_OP_RENAME,
                   .inode = STORE_ROOT,
                   .other = STORE_ROOT,
                   .number = file,
                   .replaced = other,
                   .now = served_now(),
                   .name = raw_name("file"),
                   .new_name = raw_name("other")));
    assert_false(exists("file"));
}

static void test_xattrs(void **state)
{
    const uint64_t file = make_file("file");
    expect_done(OP(WIRE_OP_SET_XATTR,
                   .inode = file,
                   .mask = XATTR_CREATE,
                   .now = served_now(),
                   .name = raw_name("user.a"),
                   .data = (const uint8_t *)"value",
                   .data_size = 5));
    struct raw_answer answer =
        ask(OP(WIRE_OP_GET_XATTR, .inode = file, .name = raw_name("user.a")));
    assert_int_equal(answer.size, 5);
    assert_memory_equal(answer.data, "value", 5);
    answer = ask(OP(WIRE_OP_LIST_XATTRS, .inode = file));
    assert_int_equal(answer.size, 7);
    assert_memory_equal(answer.data, "user.a", 7);
    expect_done(
        OP(WIRE_OP_REMOVE_XATTR, .inode = file, .now = served_now(), .name = raw_name("user.a")));
    assert_int_equal(error_of(OP(WIRE_OP_GET_XATTR, .inode = file, .name = raw_name("user.a"))),
                     ENODATA);
}

static void test_touch_and_sync(void **state)
{
    const uint64_t file = make_file("file");
    struct timespec later = served_now();
    later.tv_sec += 10;
    write_text(file, 0, "x");
    expect_done(OP(WIRE_OP_TOUCH, .inode = file, .now = later));
    assert_int_equal(attributes_of(file).atime.tv_sec, later.tv_sec);
    expect_done(OP(WIRE_OP_SYNC, .inode = file));
    expect_done(OP(WIRE_OP_SYNC));
    /* What was read may be gone when that is said. */
    raw_tell(&client, stage.store, OP(WIRE_OP_TOUCH, .inode = 12345, .now = later));
}

/* ---- using ---- */

/* What is open lives without a name; what it had is free with its last use. */
static void test_unlinked_in_use(void **state)
{
    struct wire_usage usage;
    const uint64_t file = make_file("file");
    write_text(file, 0, "data");
    expect_done(OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_READ));
    expect_done(OP(WIRE_OP_UNLINK,
                   .inode = STORE_ROOT,
                   .number = file,
                   .now = served_now(),
                   .name = raw_name("file")));
    expect_data(file, 0, "data", 4);
    assert_int_equal(test_server_stats(&stage.test).uses, 1);
    expect_done(OP(WIRE_OP_UNUSE, .inode = file));
    assert_int_equal(error_of(OP(WIRE_OP_GET, .inode = file)), ESTALE);
    const struct raw_answer answer = ask(OP(WIRE_OP_USAGE));
    wire_get_usage(answer.data, answer.size, &usage);
    assert_int_equal(usage.free_pages, PAGES);
    assert_int_equal(usage.free_inodes, INODES - 1);
}

static void test_gone_with_files_in_use(void **state)
{
    struct raw_client other;
    struct wire_usage usage;
    const uint64_t file = make_file("file");
    write_text(file, 0, "data");
    expect_done(OP(WIRE_OP_UNLINK,
                   .inode = STORE_ROOT,
                   .number = file,
                   .now = served_now(),
                   .name = raw_name("file")));
    assert_int_equal(error_of(OP(WIRE_OP_GET, .inode = file)), ESTALE);

    raw_join(&other, stage.test.address, "other");
    const uint64_t second = make_file("second");
    write_text(second, 0, "data");
    assert_int_equal(
        raw_ask(&other, stage.store, OP(WIRE_OP_USE, .inode = second, .rights = WIRE_USE_WRITE))
            .error,
        0);
    raw_attributes(raw_ask(&other, stage.store, OP(WIRE_OP_GET, .inode = second)));
    expect_done(OP(WIRE_OP_UNLINK,
                   .inode = STORE_ROOT,
                   .number = second,
                   .now = served_now(),
                   .name = raw_name("second")));
    assert_int_equal(attributes_of(second).links, 0);
    served_reserve_for(&stage, &other, 10, 10, true);
    raw_close(&other);
    test_server_await_clients(&stage.test, 1);
    assert_int_equal(error_of(OP(WIRE_OP_GET, .inode = second)), ESTALE);
    const struct raw_answer answer = ask(OP(WIRE_OP_USAGE));
    wire_get_usage(answer.data, answer.size, &usage);
    assert_int_equal(usage.free_pages, PAGES);
    assert_int_equal(test_server_stats(&stage.test).reserved_pages, 0);
}

static void test_a_file_without_a_name(void **state)
{
    const struct wire_attributes made = raw_attributes(ask(OP(
        WIRE_OP_MAKE_UNNAMED, .inode = STORE_ROOT, .mode = 0400, .count = 1, .now = served_now())));
    raw_hold_inode(&client, stage.store, made.number, HF_EXCLUSIVE);
    write_text(made.number, 0, "data");
    expect_done(OP(WIRE_OP_LINK,
                   .inode = STORE_ROOT,
                   .number = made.number,
                   .now = served_now(),
                   .name = raw_name("now")));
    expect_done(OP(WIRE_OP_UNUSE, .inode = made.number));
    assert_true(exists("now"));
}

/* ---- without answers ---- */

/* Numbers and space are had ahead, so nothing needs an answer; what was done is seen at once. */
static void test_without_answers(void **state)
{
    const struct wire_reservation had = served_reserve_for(&stage, &client, 10, 10, true);
    assert_int_equal(had.pages, 10);
    assert_int_equal(had.inodes, 10);
    assert_true(had.number != 0);
    raw_tell(&client,
             stage.store,
             OP(WIRE_OP_MAKE,
                .inode = STORE_ROOT,
                .number = had.number + 5,
                .mode = S_IFREG | 0400,
                .now = served_now(),
                .name = raw_name("file")));
    /* As open(2) does it, the new mode is for those who come later. */
    raw_tell(&client,
             stage.store,
             OP(WIRE_OP_USE, .inode = had.number + 5, .rights = WIRE_USE_READ | WIRE_USE_WRITE));
    raw_hold_inode(&client, stage.store, had.number + 5, HF_EXCLUSIVE);
    raw_tell(&client,
             stage.store,
             OP(WIRE_OP_WRITE,
                .inode = had.number + 5,
                .now = served_now(),
                .data = (const uint8_t *)"data",
                .data_size = 4));
    expect_data(had.number + 5, 0, "data", 4);
    const hf_server_stats stats = test_server_stats(&stage.test);
    assert_int_equal(stats.reserved_pages, 9);
    assert_int_equal(stats.reserved_inodes, 9);
    assert_int_equal(stats.uses, 1);
    assert_true(stats.operations >= 4);
}

/* A file that nobody else can know of is removed without a hold of its own. */
static void test_a_private_file_need_not_be_held(void **state)
{
    const uint64_t file = served_make_in(&stage, &client, STORE_ROOT, "file", S_IFREG | 0644);
    struct raw_client guesser;
    raw_join(&guesser, stage.test.address, "guesser");
    raw_hold_inode(&guesser, stage.store, file, HF_EXCLUSIVE);
    raw_tell(&client,
             stage.store,
             OP(WIRE_OP_UNLINK,
                .inode = STORE_ROOT,
                .number = file,
                .now = served_now(),
                .name = raw_name("file")));
    assert_false(exists("file"));
    raw_close(&guesser);
    test_server_await_clients(&stage.test, 1);
}

/* ---- other stores ---- */

static void test_read_only(void **state)
{
    struct wire_identity identity;
    const struct raw_answer answer = ask(OP(WIRE_OP_ATTACH));
    wire_get_identity(answer.data, answer.size, &identity);
    assert_int_equal(identity.flags & WIRE_STORE_READ_ONLY, WIRE_STORE_READ_ONLY);
    assert_int_equal(error_of(OP(WIRE_OP_MAKE,
                                 .inode = STORE_ROOT,
                                 .mode = S_IFREG | 0600,
                                 .now = served_now(),
                                 .name = raw_name("file"))),
                     EROFS);
    assert_int_equal(error_of(OP(WIRE_OP_USE, .inode = STORE_ROOT, .rights = WIRE_USE_READ)), 0);
    const struct timespec before = attributes_of(STORE_ROOT).atime;
    assert_int_equal(error_of(OP(WIRE_OP_LIST, .inode = STORE_ROOT, .size = 1000)), 0);
    const struct timespec after = attributes_of(STORE_ROOT).atime;
    assert_true(before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec);
}

static void test_an_unknown_store(void **state)
{
    assert_int_equal(raw_ask(&client, stage.store + 1, OP(WIRE_OP_ATTACH)).error, ENODEV);
    assert_int_equal(raw_ask(&client, 0, OP(WIRE_OP_ATTACH)).error, ENODEV);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_attach),
        TEST(test_make_and_look),
        TEST(test_parent),
        TEST(test_list),
        TEST(test_symbolic_link),
        TEST(test_usage),
        TEST(test_data),
        TEST(test_allocate_seek_and_copy),
        TEST(test_set),
        TEST(test_the_time_is_the_clients_unless_it_is_wrong),
        TEST(test_names),
        TEST(test_a_name_of_something_else),
        TEST(test_xattrs),
        TEST(test_touch_and_sync),
        TEST(test_unlinked_in_use),
        TEST(test_gone_with_files_in_use),
        TEST(test_a_file_without_a_name),
        TEST(test_without_answers),
        TEST(test_a_private_file_need_not_be_held),
        cmocka_unit_test_setup_teardown(test_read_only, set_up_read_only, tear_down),
        TEST(test_an_unknown_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
