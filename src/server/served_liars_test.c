/*
 * Operations that no client of ours sends: the offender is cut off and told why, the tree stays as it
 * is, and another client of the same store goes on.
 */
#include "lib/served_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 64
#define INODES 64

static struct served_stage stage;
static struct raw_client good;
static struct raw_client liar;
static uint64_t file;      /* of the good one's, in the root, with this in it */
static uint64_t directory; /* likewise */

static void start(bool is_inexact)
{
    served_stage_init(&stage);
    stage.test.config.limits.uses = 3;
    stage.test.config.limits.stated_credentials = 2;
    stage.test.config.limits.unsent_bytes = 1 << 20;
    served_stage_start(
        &stage,
        &(struct served_stage_options){
            .pages = PAGES, .inodes = INODES, .mode = 0777, .is_inexact = is_inexact});
    raw_join(&good, stage.test.address, "good");
    const uint64_t root = raw_hold_inode(&good, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    file = served_make_in(&stage, &good, STORE_ROOT, "file", S_IFREG | 0644);
    directory = served_make_in(&stage, &good, STORE_ROOT, "directory", S_IFDIR | 0755);
    const uint64_t grant = raw_hold_inode(&good, stage.store, file, HF_EXCLUSIVE);
    assert_int_equal(raw_ask(&good,
                             stage.store,
                             OP(WIRE_OP_WRITE,
                                .inode = file,
                                .now = served_now(),
                                .data = (const uint8_t *)"data",
                                .data_size = 4))
                         .error,
                     0);
    raw_release_inode(&good, stage.store, file, grant, HF_INVALID);
    raw_release_inode(&good, stage.store, STORE_ROOT, root, HF_INVALID);
    raw_join(&liar, stage.test.address, "liar");
}

static int set_up(void **state)
{
    start(false);
    return 0;
}

static int set_up_inexact(void **state)
{
    start(true);
    return 0;
}

/* All is as it was, and works. */
static int tear_down(void **state)
{
    struct wire_usage usage;
    struct raw_answer answer =
        raw_ask(&good, stage.store, OP(WIRE_OP_READ, .inode = file, .size = 100));
    assert_int_equal(answer.size, 4);
    assert_memory_equal(answer.data, "data", 4);
    answer = raw_ask(&good, stage.store, OP(WIRE_OP_USAGE));
    assert_true(wire_get_usage(answer.data, answer.size, &usage) == answer.size);
    assert_int_equal(usage.free_pages, PAGES - 1);
    assert_int_equal(usage.free_inodes, INODES - 3);
    answer = raw_ask(&good, stage.store, OP(WIRE_OP_LIST, .inode = STORE_ROOT, .size = 10000));
    struct wire_entry first, second;
    const size_t size = wire_get_entry(answer.data, answer.size, &first);
    assert_true(size + wire_get_entry(answer.data + size, answer.size - size, &second) ==
                answer.size);
    raw_hold_inode(&good, stage.store, file, HF_EXCLUSIVE); /* the liar has nothing any more */
    raw_close(&good);
    test_server_await_clients(&stage.test, 0);
    served_stage_deinit(&stage);
    return 0;
}

static void expect_cut_off(struct raw_client *offender, enum wire_reason reason)
{
    raw_expect_goodbye(offender, reason);
    raw_close(offender);
    test_server_expect_log(&stage.test, "cut off: %s", wire_reason_text((uint8_t)reason));
    test_server_await_clients(&stage.test, 1);
    assert_int_equal(test_server_stats(&stage.test).cut_off, 1);
}

/* An operation without an answer. */
static void is_answered_with(const struct wire_operation *op, enum wire_reason reason)
{
    raw_tell(&liar, stage.store, op);
    expect_cut_off(&liar, reason);
}

static void hold(uint64_t inode, hf_mode mode)
{
    raw_hold_inode(&liar, stage.store, inode, mode);
}

static const struct wire_operation *write_to(uint64_t number)
{
    static struct wire_operation op;
    op = *OP(WIRE_OP_WRITE,
             .inode = number,
             .now = served_now(),
             .data = (const uint8_t *)"evil",
             .data_size = 4);
    return &op;
}

/* A file that the liar has and holds. */
static uint64_t its_file(void)
{
    const struct wire_reservation had = served_reserve_for(&stage, &liar, 1, 1, true);
    hold(directory, HF_EXCLUSIVE);
    raw_tell(&liar,
             stage.store,
             OP(WIRE_OP_MAKE_UNNAMED,
                .inode = directory,
                .number = had.number,
                .mode = 0600,
                .now = served_now()));
    hold(had.number, HF_EXCLUSIVE);
    return had.number;
}

/* ---- what is not held ---- */

static void test_write_without_a_hold(void **state)
{
    is_answered_with(write_to(file), WIRE_REASON_NOT_HELD);
}

static void test_answered_write_without_a_hold(void **state)
{
    raw_send_operation(&liar, stage.store, 7, write_to(file), (struct raw_how){0});
    expect_cut_off(&liar, WIRE_REASON_NOT_HELD);
}

static void test_write_under_shared(void **state)
{
    hold(file, HF_SHARED);
    is_answered_with(write_to(file), WIRE_REASON_NOT_HELD);
}

static void test_write_after_release(void **state)
{
    const uint64_t grant = raw_hold_inode(&liar, stage.store, file, HF_EXCLUSIVE);
    raw_release_inode(&liar, stage.store, file, grant, HF_SHARED);
    is_answered_with(write_to(file), WIRE_REASON_NOT_HELD);
}

static void test_make_without_the_directory(void **state)
{
    is_answered_with(OP(WIRE_OP_MAKE,
                        .inode = STORE_ROOT,
                        .mode = S_IFREG | 0600,
                        .now = served_now(),
                        .name = raw_name("evil")),
                     WIRE_REASON_NOT_HELD);
}

static void test_unlink_of_what_another_holds(void **state)
{
    hold(STORE_ROOT, HF_EXCLUSIVE);
    raw_hold_inode(&good, stage.store, file, HF_SHARED);
    raw_tell(&liar,
             stage.store,
             OP(WIRE_OP_UNLINK,
                .inode = STORE_ROOT,
                .number = file,
                .now = served_now(),
                .name = raw_name("file")));
    raw_expect_goodbye(&liar, WIRE_REASON_NOT_HELD);
    raw_close(&liar);
    test_server_await_clients(&stage.test, 1);
}

/* What it made was its own until it got a name where others look. */
static void test_unlink_of_what_others_may_know_by_now(void **state)
{
    hold(STORE_ROOT, HF_EXCLUSIVE);
    const uint64_t grant = raw_hold_inode(&liar, stage.store, directory, HF_EXCLUSIVE);
    const uint64_t own = served_make_in(&stage, &liar, STORE_ROOT, "own", S_IFREG | 0600);
    assert_int_equal(raw_ask(&liar,
                             stage.store,
                             OP(WIRE_OP_LINK,
                                .inode = directory,
                                .number = own,
                                .now = served_now(),
                                .name = raw_name("shown")))
                         .error,
                     0);
    struct wire_operation unlink = *OP(WIRE_OP_UNLINK,
                                       .inode = directory,
                                       .number = own,
                                       .now = served_now(),
                                       .name = raw_name("shown"));
    const struct wire_operation *const from_root = OP(WIRE_OP_UNLINK,
                                                      .inode = STORE_ROOT,
                                                      .number = own,
                                                      .now = served_now(),
                                                      .name = raw_name("own"));
    raw_release_inode(&liar, stage.store, directory, grant, HF_INVALID);
    raw_round_trip(&liar);
    raw_hold_inode(&good, stage.store, own, HF_SHARED);
    is_answered_with(from_root, WIRE_REASON_NOT_HELD);

    /* The good one, which did not make it, cleans up. */
    raw_hold_inode(&good, stage.store, directory, HF_EXCLUSIVE);
    assert_int_equal(raw_ask(&good, stage.store, &unlink).error, 0);
    raw_hold_inode(&good, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    assert_int_equal(raw_ask(&good, stage.store, from_root).error, 0);
}

static void test_unlink_of_what_went_to_another_directory(void **state)
{
    hold(STORE_ROOT, HF_EXCLUSIVE);
    uint64_t grant = raw_hold_inode(&liar, stage.store, directory, HF_EXCLUSIVE);
    const uint64_t own = served_make_in(&stage, &liar, STORE_ROOT, "own", S_IFREG | 0600);
    raw_tell(&liar,
             stage.store,
             OP(WIRE_OP_RENAME,
                .inode = STORE_ROOT,
                .other = directory,
                .number = own,
                .now = served_now(),
                .name = raw_name("own"),
                .new_name = raw_name("shown")));
    raw_release_inode(&liar, stage.store, directory, grant, HF_INVALID);
    raw_round_trip(&liar);
    raw_hold_inode(&good, stage.store, own, HF_SHARED);
    grant = raw_hold_inode(&liar, stage.store, directory, HF_EXCLUSIVE);
    const struct wire_operation *const unlink = OP(WIRE_OP_UNLINK,
                                                   .inode = directory,
                                                   .number = own,
                                                   .now = served_now(),
                                                   .name = raw_name("shown"));
    is_answered_with(unlink, WIRE_REASON_NOT_HELD);
    raw_hold_inode(&good, stage.store, directory, HF_EXCLUSIVE);
    assert_int_equal(raw_ask(&good, stage.store, unlink).error, 0);
}

static void test_rename_over_what_another_holds(void **state)
{
    hold(STORE_ROOT, HF_EXCLUSIVE);
    hold(directory, HF_EXCLUSIVE);
    raw_hold_inode(&good, stage.store, file, HF_SHARED);
    is_answered_with(OP(WIRE_OP_RENAME,
                        .inode = STORE_ROOT,
                        .other = STORE_ROOT,
                        .number = directory,
                        .replaced = file,
                        .mask = 2,
                        .now = served_now(),
                        .name = raw_name("directory"),
                        .new_name = raw_name("file")),
                     WIRE_REASON_NOT_HELD);
}

static void test_copy_from_what_is_not_held(void **state)
{
    const uint64_t own = its_file();
    is_answered_with(OP(WIRE_OP_COPY, .inode = file, .other = own, .size = 4, .now = served_now()),
                     WIRE_REASON_NOT_HELD);
}

static void test_set_without_a_hold(void **state)
{
    is_answered_with(OP(WIRE_OP_SET, .inode = file, .mask = STORE_SET_SIZE, .now = served_now()),
                     WIRE_REASON_NOT_HELD);
}

static void test_set_xattr_without_a_hold(void **state)
{
    is_answered_with(
        OP(WIRE_OP_SET_XATTR, .inode = file, .now = served_now(), .name = raw_name("user.evil")),
        WIRE_REASON_NOT_HELD);
}

/* ---- numbers and space that it was not given ---- */

static void make_with(uint64_t number)
{
    raw_tell(&liar,
             stage.store,
             OP(WIRE_OP_MAKE,
                .inode = STORE_ROOT,
                .number = number,
                .mode = S_IFREG | 0600,
                .now = served_now(),
                .name = raw_name("evil")));
}

static void test_the_number_of_another(void **state)
{
    const struct wire_reservation theirs = served_reserve_for(&stage, &good, 0, 0, true);
    served_reserve_for(&stage, &liar, 0, 1, true);
    hold(STORE_ROOT, HF_EXCLUSIVE);
    make_with(theirs.number);
    expect_cut_off(&liar, WIRE_REASON_NOT_RESERVED);
}

static void test_a_number_that_is_spent(void **state)
{
    const uint64_t spent = its_file();
    served_reserve_for(&stage, &liar, 0, 5, false);
    hold(STORE_ROOT, HF_EXCLUSIVE);
    make_with(spent);
    expect_cut_off(&liar, WIRE_REASON_NOT_RESERVED);
}

static void test_an_inode_over_its_reservation(void **state)
{
    const struct wire_reservation had = served_reserve_for(&stage, &liar, 0, 0, true);
    hold(STORE_ROOT, HF_EXCLUSIVE);
    make_with(had.number);
    expect_cut_off(&liar, WIRE_REASON_NOT_RESERVED);
}

static void test_data_over_its_reservation(void **state)
{
    const uint64_t own = its_file();
    const uint8_t data[2 * STORE_PAGE_SIZE] = {0};
    is_answered_with(OP(WIRE_OP_WRITE,
                        .inode = own,
                        .now = served_now(),
                        .data = data,
                        .data_size = sizeof(data)),
                     WIRE_REASON_NOT_RESERVED);
}

/* A store that cannot know beforehand what fits says so later, and the client goes on. */
static void test_no_space_in_an_inexact_store(void **state)
{
    const uint64_t own = its_file();
    const uint8_t data[2 * STORE_PAGE_SIZE] = {0};
    raw_tell(&liar,
             stage.store,
             OP(WIRE_OP_WRITE,
                .inode = own,
                .now = served_now(),
                .data = data,
                .data_size = sizeof(data)));
    const struct wire_message failed = raw_expect(&liar, WIRE_FAILED);
    assert_int_equal(failed.store, stage.store);
    assert_int_equal(failed.inode, own);
    assert_int_equal(failed.error, ENOSPC);
    /* And so does what builds on that. */
    raw_tell(&liar, stage.store, OP(WIRE_OP_USE, .inode = 54321));
    assert_int_equal(raw_expect(&liar, WIRE_FAILED).error, ESTALE);
    raw_round_trip(&liar);
    raw_close(&liar);
    test_server_await_clients(&stage.test, 1);
}

/* ---- what does not exist, or is no operation ---- */

static void test_an_unknown_inode(void **state)
{
    hold(12345, HF_EXCLUSIVE);
    is_answered_with(write_to(12345), WIRE_REASON_NOT_PERMITTED);
}

static void test_an_unknown_store(void **state)
{
    raw_tell(&liar, stage.store + 1, write_to(file));
    expect_cut_off(&liar, WIRE_REASON_BAD_MESSAGE);
}

static void test_unuse_of_what_it_does_not_use(void **state)
{
    is_answered_with(OP(WIRE_OP_UNUSE, .inode = file), WIRE_REASON_NOT_PERMITTED);
}

static void test_no_operation(void **state)
{
    const uint8_t bytes[] = {WIRE_OP_GET, 1, 2};
    raw_send(&liar,
             &(struct wire_message){.kind = WIRE_OPERATION,
                                    .seq = 1,
                                    .store = stage.store,
                                    .data = bytes,
                                    .data_size = sizeof(bytes)});
    expect_cut_off(&liar, WIRE_REASON_BAD_MESSAGE);
}

static void test_looking_without_an_answer(void **state)
{
    is_answered_with(OP(WIRE_OP_GET, .inode = file), WIRE_REASON_BAD_MESSAGE);
}

static void test_more_data_than_an_operation_has(void **state)
{
    static uint8_t data[WIRE_DATA_MAX + 1];
    uint8_t bytes[WIRE_OPERATION_HEAD_MAX + sizeof(data)];
    const size_t head = wire_operation_encode(write_to(file), bytes);
    memcpy(bytes + head, data, sizeof(data));
    raw_send(&liar,
             &(struct wire_message){.kind = WIRE_OPERATION,
                                    .seq = 1,
                                    .store = stage.store,
                                    .data = bytes,
                                    .data_size = (uint32_t)(head + sizeof(data))});
    expect_cut_off(&liar, WIRE_REASON_BAD_MESSAGE);
}

static void test_killed_in_the_middle_of_a_frame(void **state)
{
    uint8_t bytes[64];
    uint8_t frame[128];
    const size_t size = wire_operation_encode(write_to(file), bytes);
    hold(file, HF_EXCLUSIVE);
    const size_t whole = wire_encode(&(struct wire_message){.kind = WIRE_OPERATION,
                                                            .store = stage.store,
                                                            .data = bytes,
                                                            .data_size = (uint32_t)size},
                                     frame);
    raw_write(&liar, frame, whole - 3);
    raw_close(&liar);
    test_server_await_clients(&stage.test, 1);
}

/* Answers are kept for a client that does not read them up to the limit. */
static void test_answers_that_it_does_not_read(void **state)
{
    const uint64_t own = its_file();
    raw_tell(&liar,
             stage.store,
             OP(WIRE_OP_SET,
                .inode = own,
                .mask = STORE_SET_SIZE,
                .size = WIRE_DATA_MAX,
                .now = served_now()));
    for (uint32_t seq = 1; seq <= 200; seq++) {
        raw_send_operation(&liar,
                           stage.store,
                           seq,
                           OP(WIRE_OP_READ, .inode = own, .size = WIRE_DATA_MAX),
                           (struct raw_how){0});
    }
    test_server_await_clients(&stage.test, 1); /* before anything is read */
    raw_expect_end(&liar);
    raw_close(&liar);
    test_server_expect_log(&stage.test, "cut off: client does not read");
}

/* ---- credentials ---- */

#define USER 4242

static void be_another_user(void)
{
    if (geteuid() != 0) {
        raw_close(&liar);
        test_server_await_clients(&stage.test, 1);
        skip();
    }
    raw_close(&liar);
    test_server_await_clients(&stage.test, 1);
    served_stage_join_as(&stage, &liar, USER, USER);
}

static void test_use_of_what_it_may_not_open(void **state)
{
    be_another_user();
    assert_int_equal(
        raw_ask(&liar, stage.store, OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_WRITE)).error,
        EACCES);
    assert_int_equal(
        raw_ask(&liar, stage.store, OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_READ)).error,
        0);
    is_answered_with(OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_WRITE),
                     WIRE_REASON_NOT_PERMITTED);
}

static void test_write_to_what_it_may_only_read(void **state)
{
    be_another_user();
    hold(file, HF_EXCLUSIVE);
    raw_tell(&liar, stage.store, OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_READ));
    is_answered_with(write_to(file), WIRE_REASON_NOT_PERMITTED);
}

static void test_make_where_it_may_not(void **state)
{
    be_another_user();
    hold(directory, HF_EXCLUSIVE);
    is_answered_with(OP(WIRE_OP_MAKE,
                        .inode = directory,
                        .mode = S_IFREG | 0600,
                        .now = served_now(),
                        .name = raw_name("evil")),
                     WIRE_REASON_NOT_PERMITTED);
}

static void test_chmod_of_what_is_not_its_own(void **state)
{
    be_another_user();
    hold(file, HF_EXCLUSIVE);
    const struct wire_operation *op =
        OP(WIRE_OP_SET, .inode = file, .mask = STORE_SET_MODE, .mode = 0777, .now = served_now());
    assert_int_equal(raw_ask(&liar, stage.store, op).error, EPERM);
    is_answered_with(op, WIRE_REASON_NOT_PERMITTED);
}

static const struct wire_operation *state_user_0(void)
{
    static struct wire_operation op;
    op = *OP(WIRE_OP_CREDENTIALS, .slot = 1, .owner = 0, .group = 0);
    return &op;
}

static void test_credentials_by_an_unprivileged_peer(void **state)
{
    be_another_user();
    is_answered_with(state_user_0(), WIRE_REASON_NOT_PERMITTED);
}

static void test_credentials_that_nobody_stated(void **state)
{
    raw_send_operation(
        &liar, stage.store, 1, OP(WIRE_OP_GET, .inode = file), (struct raw_how){.credentials = 1});
    expect_cut_off(&liar, WIRE_REASON_BAD_MESSAGE);
}

/* Whoever may act for others has no more rights than they have. */
static void test_stated_credentials(void **state)
{
    const uint8_t groups[] = {5, 0, 0, 0, 0x92, 0x10, 0, 0};
    const struct raw_how as_user = {.credentials = 7};
    raw_ask(&liar, stage.store, OP(WIRE_OP_ATTACH));
    raw_tell(&liar,
             stage.store,
             OP(WIRE_OP_CREDENTIALS,
                .slot = 7,
                .owner = USER,
                .group = USER,
                .data = groups,
                .data_size = sizeof(groups)));
    const struct raw_answer answer = raw_ask_how(&liar, stage.store, OP(WIRE_OP_ATTACH), as_user);
    struct wire_identity identity;
    assert_true(wire_get_identity(answer.data, answer.size, &identity) == answer.size);
    assert_int_equal(identity.owner, USER);
    assert_int_equal(identity.data_size, sizeof(groups));
    assert_memory_equal(identity.data, groups, sizeof(groups));
    hold(file, HF_EXCLUSIVE);
    const uint32_t error = raw_ask_how(&liar, stage.store, write_to(file), as_user).error;
    assert_int_equal(error, geteuid() == USER ? 0 : EACCES);

    /* There are so many slots and no more; those that are taken can be stated anew. */
    assert_int_equal(
        raw_ask(&liar, stage.store, OP(WIRE_OP_CREDENTIALS, .slot = 9, .owner = 1)).error, 0);
    assert_int_equal(
        raw_ask(&liar, stage.store, OP(WIRE_OP_CREDENTIALS, .slot = 10, .owner = 1)).error, EDQUOT);
    assert_int_equal(
        raw_ask(&liar, stage.store, OP(WIRE_OP_CREDENTIALS, .slot = 7, .owner = 1)).error, 0);
    raw_close(&liar);
    test_server_await_clients(&stage.test, 1);
}

static void test_more_uses_than_allowed(void **state)
{
    raw_tell(&liar, stage.store, OP(WIRE_OP_USE, .inode = file));
    raw_tell(&liar, stage.store, OP(WIRE_OP_USE, .inode = file)); /* is the same one */
    raw_tell(&liar, stage.store, OP(WIRE_OP_USE, .inode = directory));
    its_file();
    assert_int_equal(raw_ask(&liar, stage.store, OP(WIRE_OP_USE, .inode = STORE_ROOT)).error,
                     EDQUOT);
    raw_tell(&liar, stage.store, OP(WIRE_OP_UNUSE, .inode = file));
    assert_int_equal(raw_ask(&liar, stage.store, OP(WIRE_OP_USE, .inode = STORE_ROOT)).error, 0);
    raw_close(&liar);
    test_server_await_clients(&stage.test, 1);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_write_without_a_hold),
        TEST(test_answered_write_without_a_hold),
        TEST(test_write_under_shared),
        TEST(test_write_after_release),
        TEST(test_make_without_the_directory),
        TEST(test_unlink_of_what_another_holds),
        TEST(test_unlink_of_what_others_may_know_by_now),
        TEST(test_unlink_of_what_went_to_another_directory),
        TEST(test_rename_over_what_another_holds),
        TEST(test_copy_from_what_is_not_held),
        TEST(test_set_without_a_hold),
        TEST(test_set_xattr_without_a_hold),
        TEST(test_the_number_of_another),
        TEST(test_a_number_that_is_spent),
        TEST(test_an_inode_over_its_reservation),
        TEST(test_data_over_its_reservation),
        cmocka_unit_test_setup_teardown(
            test_no_space_in_an_inexact_store, set_up_inexact, tear_down),
        TEST(test_an_unknown_inode),
        TEST(test_an_unknown_store),
        TEST(test_unuse_of_what_it_does_not_use),
        TEST(test_no_operation),
        TEST(test_looking_without_an_answer),
        TEST(test_more_data_than_an_operation_has),
        TEST(test_killed_in_the_middle_of_a_frame),
        TEST(test_answers_that_it_does_not_read),
        TEST(test_use_of_what_it_may_not_open),
        TEST(test_write_to_what_it_may_only_read),
        TEST(test_make_where_it_may_not),
        TEST(test_chmod_of_what_is_not_its_own),
        TEST(test_credentials_by_an_unprivileged_peer),
        TEST(test_credentials_that_nobody_stated),
        TEST(test_stated_credentials),
        TEST(test_more_uses_than_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
