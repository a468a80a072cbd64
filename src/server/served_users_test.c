/*
 * Served mounts and users: who may do what, and whose is what they make. Each client is a process of
 * another user as far as the kernel tells the server.
 */
#include "lib/served_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWNER 4001
#define OTHER 4002
#define GROUP 5001

static struct served_stage stage;
static struct raw_client root;
static struct raw_client owner;
static struct raw_client other; /* in the same group */

static int set_up(void **state)
{
    if (geteuid() != 0) {
        return 0;
    }
    served_stage_init(&stage);
    served_stage_start(&stage,
                       &(struct served_stage_options){.pages = 64, .inodes = 64, .mode = 01777});
    raw_join(&root, stage.test.address, "root");
    served_stage_join_as(&stage, &owner, OWNER, GROUP);
    served_stage_join_as(&stage, &other, OTHER, GROUP);
    return 0;
}

static int tear_down(void **state)
{
    if (geteuid() != 0) {
        return 0;
    }
    assert_int_equal(test_server_stats(&stage.test).cut_off, 0);
    raw_close(&root);
    raw_close(&owner);
    raw_close(&other);
    test_server_await_clients(&stage.test, 0);
    served_stage_deinit(&stage);
    return 0;
}

static uint32_t ask(struct raw_client *client, const struct wire_operation *op)
{
    return raw_ask(client, stage.store, op).error;
}

static struct wire_attributes attributes_of(uint64_t number)
{
    return raw_attributes(raw_ask(&root, stage.store, OP(WIRE_OP_GET, .inode = number)));
}

/* As the client, holding what it takes only meanwhile. */
static uint64_t make(struct raw_client *client, uint64_t directory, const char *name, uint32_t mode)
{
    const uint64_t grant = raw_hold_inode(client, stage.store, directory, HF_EXCLUSIVE);
    const uint64_t number = served_make_in(&stage, client, directory, name, mode);
    raw_release_inode(client, stage.store, directory, grant, HF_INVALID);
    return number;
}

static uint32_t change(struct raw_client *client, const struct wire_operation *op)
{
    const uint64_t grant = raw_hold_inode(client, stage.store, op->inode, HF_EXCLUSIVE);
    const uint32_t error = ask(client, op);
    raw_release_inode(client, stage.store, op->inode, grant, HF_INVALID);
    return error;
}

#define ONLY_AS_ROOT()                                                                             \
    if (geteuid() != 0) {                                                                          \
        skip();                                                                                    \
    }

static void test_whose_is_what_they_make(void **state)
{
    ONLY_AS_ROOT();
    const struct wire_attributes made =
        attributes_of(make(&owner, STORE_ROOT, "a", S_IFREG | 0600));
    assert_int_equal(made.owner, OWNER);
    assert_int_equal(made.group, GROUP);
    const uint64_t shared = make(&root, STORE_ROOT, "shared", S_IFDIR | 02777);
    const struct wire_attributes below = attributes_of(make(&owner, shared, "b", S_IFREG | 02755));
    assert_int_equal(below.group, 0);
    assert_int_equal(below.mode, S_IFREG | 0755); /* not of the group that it would run as */
    struct wire_identity identity;
    const struct raw_answer answer = raw_ask(&owner, stage.store, OP(WIRE_OP_ATTACH));
    assert_true(wire_get_identity(answer.data, answer.size, &identity) == answer.size);
    assert_int_equal(identity.owner, OWNER);
    assert_int_equal(identity.flags & WIRE_STORE_PRIVILEGED, 0);
}

static void test_reading_and_writing(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 0640);
    const struct wire_operation write = *OP(WIRE_OP_WRITE,
                                            .inode = file,
                                            .now = served_now(),
                                            .data = (const uint8_t *)"x",
                                            .data_size = 1);
    assert_int_equal(change(&owner, &write), 0);
    assert_int_equal(change(&other, &write), EACCES);
    assert_int_equal(change(&root, &write), 0);
    const struct wire_operation *const read = OP(WIRE_OP_READ, .inode = file, .size = 1);
    assert_int_equal(ask(&other, read), 0);
    assert_int_equal(change(&owner,
                            OP(WIRE_OP_SET,
                               .inode = file,
                               .mask = STORE_SET_MODE,
                               .mode = 0600,
                               .now = served_now())),
                     0);
    assert_int_equal(ask(&other, read), EACCES);
    assert_int_equal(ask(&other, OP(WIRE_OP_SEEK, .inode = file, .whence = SEEK_DATA)), EACCES);
    assert_int_equal(ask(&other, OP(WIRE_OP_GET, .inode = file)), 0);
}

/* What was opened stays open for what it was opened for, whatever the mode is later. */
static void test_open_files_keep_their_rights(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 0644);
    assert_int_equal(ask(&other, OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_READ)), 0);
    assert_int_equal(
        change(
            &owner,
            OP(WIRE_OP_SET, .inode = file, .mask = STORE_SET_MODE, .mode = 0, .now = served_now())),
        0);
    assert_int_equal(ask(&other, OP(WIRE_OP_READ, .inode = file, .size = 1)), 0);
    assert_int_equal(ask(&other, OP(WIRE_OP_UNUSE, .inode = file)), 0);
    assert_int_equal(ask(&other, OP(WIRE_OP_READ, .inode = file, .size = 1)), EACCES);
}

/* Only who makes a file may open it against its mode, and only until others can know of it. */
static void test_a_mode_is_for_those_who_come_later(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t grant = raw_hold_inode(&owner, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    const uint64_t file = served_make_in(&stage, &owner, STORE_ROOT, "file", S_IFREG | 0);
    const struct wire_operation *const use =
        OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_READ | WIRE_USE_WRITE);
    assert_int_equal(ask(&other, use), EACCES);
    assert_int_equal(ask(&owner, use), 0);
    assert_int_equal(ask(&owner, OP(WIRE_OP_UNUSE, .inode = file)), 0);
    raw_release_inode(&owner, stage.store, STORE_ROOT, grant, HF_SHARED);
    assert_int_equal(ask(&owner, use), EACCES);
}

/* ---- what is parked ---- */

/* Something is parked by @client. Return: its ticket. */
static hf_id park_something(struct raw_client *client)
{
    const int fd = memfd_create("something", MFD_CLOEXEC);
    assert_true(fd >= 0);
    const struct wire_message answer = raw_park(client, (hf_id){0, 0}, (hf_id){0, 0}, "", fd);
    close(fd);
    assert_int_equal(answer.reason, WIRE_REASON_NONE);
    return answer.ticket;
}

static uint32_t move(struct raw_client *client, enum wire_operation_code code, uint64_t inode,
                     uint8_t rights, hf_id ticket)
{
    return ask(client,
               &(struct wire_operation){.code = code,
                                        .inode = inode,
                                        .rights = rights,
                                        .ticket_space = ticket.space,
                                        .ticket_object = ticket.object});
}

/* Who has the ticket may do with the file what was lent to it, and nothing else. */
static void test_loans(void **state)
{
    ONLY_AS_ROOT();
    const uint8_t both = WIRE_USE_READ | WIRE_USE_WRITE;
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 0600);
    const uint64_t unused = make(&owner, STORE_ROOT, "unused", S_IFREG | 0600);
    const hf_id ticket = park_something(&owner);
    assert_int_equal(ask(&owner, OP(WIRE_OP_USE, .inode = file, .rights = WIRE_USE_READ)), 0);
    assert_int_equal(move(&owner, WIRE_OP_LEND, file, WIRE_USE_READ, (hf_id){1, 2}), ESTALE);
    assert_int_equal(move(&owner, WIRE_OP_LEND, unused, 0, ticket), EINVAL);
    assert_int_equal(move(&owner, WIRE_OP_LEND, file, both, ticket), EACCES);
    assert_int_equal(move(&owner, WIRE_OP_LEND, file, 4, ticket), EINVAL);
    assert_int_equal(move(&other, WIRE_OP_BORROW, file, WIRE_USE_READ, ticket), ESTALE);
    assert_int_equal(move(&owner, WIRE_OP_LEND, file, WIRE_USE_READ, ticket), 0);
    assert_int_equal(move(&owner, WIRE_OP_LEND, file, WIRE_USE_READ, ticket), EDQUOT);

    assert_int_equal(ask(&other, OP(WIRE_OP_READ, .inode = file, .size = 1)), EACCES);
    assert_int_equal(move(&other, WIRE_OP_BORROW, file, both, ticket), ESTALE);
    assert_int_equal(move(&other, WIRE_OP_BORROW, unused, 0, ticket), ESTALE);
    assert_int_equal(move(&other, WIRE_OP_BORROW, file, 4, ticket), EINVAL);
    assert_int_equal(move(&other, WIRE_OP_BORROW, file, WIRE_USE_READ, ticket), 0);
    assert_int_equal(ask(&other, OP(WIRE_OP_READ, .inode = file, .size = 1)), 0);
    assert_int_equal(raw_drop(&other, ticket), WIRE_REASON_NONE);
    assert_int_equal(move(&owner, WIRE_OP_BORROW, file, WIRE_USE_READ, ticket), ESTALE);
    assert_int_equal(ask(&other, OP(WIRE_OP_READ, .inode = file, .size = 1)), 0);
}

/* A file without a name lives while it is lent, though its client is gone; and not longer. */
static void test_a_loan_keeps_the_file(void **state)
{
    ONLY_AS_ROOT();
    const struct wire_attributes made = raw_attributes(raw_ask(&owner,
                                                               stage.store,
                                                               OP(WIRE_OP_MAKE_UNNAMED,
                                                                  .inode = STORE_ROOT,
                                                                  .mode = S_IFREG | 0600,
                                                                  .now = served_now())));
    const hf_id ticket = park_something(&owner);
    assert_int_equal(move(&owner, WIRE_OP_LEND, made.number, WIRE_USE_READ, ticket), 0);
    raw_close(&owner);
    test_server_await_clients(&stage.test, 2);
    assert_int_equal(attributes_of(made.number).links, 0);
    assert_int_equal(move(&other, WIRE_OP_BORROW, made.number, WIRE_USE_READ, ticket), 0);
    assert_int_equal(ask(&other, OP(WIRE_OP_UNUSE, .inode = made.number)), 0);
    assert_int_equal(attributes_of(made.number).links, 0);
    assert_int_equal(raw_drop(&other, ticket), WIRE_REASON_NONE);
    assert_int_equal(ask(&root, OP(WIRE_OP_GET, .inode = made.number)), ESTALE);
    served_stage_join_as(&stage, &owner, OWNER, GROUP);
}

static void test_directories(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t directory = make(&owner, STORE_ROOT, "directory", S_IFDIR | 0710);
    make(&owner, directory, "file", S_IFREG | 0644);
    const struct wire_operation *const lookup =
        OP(WIRE_OP_LOOKUP, .inode = directory, .name = raw_name("file"));
    const struct wire_operation *const list = OP(WIRE_OP_LIST, .inode = directory, .size = 1000);
    assert_int_equal(ask(&other, lookup), 0);
    assert_int_equal(ask(&other, list), EACCES);
    assert_int_equal(change(&other,
                            OP(WIRE_OP_MAKE,
                               .inode = directory,
                               .mode = S_IFREG | 0600,
                               .now = served_now(),
                               .name = raw_name("mine"))),
                     EACCES);
    assert_int_equal(change(&other,
                            OP(WIRE_OP_MAKE,
                               .inode = STORE_ROOT,
                               .mode = S_IFBLK | 0600,
                               .now = served_now(),
                               .name = raw_name("device"))),
                     EPERM);
}

/* The root is sticky: only owners remove and rename there. */
static void test_sticky(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 0666);
    struct wire_operation unlink = *OP(WIRE_OP_UNLINK,
                                       .inode = STORE_ROOT,
                                       .number = file,
                                       .now = served_now(),
                                       .name = raw_name("file"));
    const struct wire_operation *const rename = OP(WIRE_OP_RENAME,
                                                   .inode = STORE_ROOT,
                                                   .other = STORE_ROOT,
                                                   .number = file,
                                                   .now = served_now(),
                                                   .name = raw_name("file"),
                                                   .new_name = raw_name("renamed"));
    assert_int_equal(change(&other, &unlink), EPERM);
    assert_int_equal(change(&other, rename), EPERM);
    assert_int_equal(change(&owner, rename), 0);
    unlink.name = raw_name("renamed");
    assert_int_equal(change(&owner, &unlink), 0);
}

/* A directory that goes elsewhere has its `..` written. */
static void test_moving_a_directory(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t from = make(&owner, STORE_ROOT, "from", S_IFDIR | 0777);
    const uint64_t to = make(&owner, STORE_ROOT, "to", S_IFDIR | 0777);
    const uint64_t moved = make(&owner, from, "moved", S_IFDIR | 0755);
    const uint64_t grant = raw_hold_inode(&other, stage.store, to, HF_EXCLUSIVE);
    const struct wire_operation *const rename = OP(WIRE_OP_RENAME,
                                                   .inode = from,
                                                   .other = to,
                                                   .number = moved,
                                                   .now = served_now(),
                                                   .name = raw_name("moved"),
                                                   .new_name = raw_name("moved"));
    assert_int_equal(change(&other, rename), EACCES);
    raw_release_inode(&other, stage.store, to, grant, HF_INVALID);
    raw_hold_inode(&owner, stage.store, to, HF_EXCLUSIVE);
    assert_int_equal(change(&owner, rename), 0);
}

static void test_changing_owners_and_modes(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 0666);
    struct wire_operation set = *OP(WIRE_OP_SET,
                                    .inode = file,
                                    .mask = STORE_SET_OWNER,
                                    .owner = OTHER,
                                    .group = UINT32_MAX,
                                    .now = served_now());
    assert_int_equal(change(&owner, &set), EPERM);
    set.owner = UINT32_MAX;
    set.group = 77;
    assert_int_equal(change(&owner, &set), EPERM);
    set.group = GROUP;
    assert_int_equal(change(&owner, &set), 0);
    set.group = 77;
    assert_int_equal(change(&root, &set), 0);
    set.mask = STORE_SET_MODE;
    set.mode = 06755;
    assert_int_equal(change(&other, &set), EPERM);
    assert_int_equal(change(&owner, &set), 0);
    assert_int_equal(attributes_of(file).mode, S_IFREG | 04755); /* not in group 77 */
    assert_int_equal(change(&root, &set), 0);
    assert_int_equal(attributes_of(file).mode, S_IFREG | 06755);
}

/* Whoever may not set these bits takes them away by writing. */
static void test_writing_takes_privileges_away(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 06777);
    const struct wire_operation *const write = OP(WIRE_OP_WRITE,
                                                  .inode = file,
                                                  .now = served_now(),
                                                  .data = (const uint8_t *)"x",
                                                  .data_size = 1);
    assert_int_equal(change(&root, write), 0);
    assert_int_equal(attributes_of(file).mode, S_IFREG | 06777);
    assert_int_equal(change(&other, write), 0);
    assert_int_equal(attributes_of(file).mode, S_IFREG | 0777);
}

/* To the present: who may write. To another time: the owner. */
static void test_times(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 0666);
    const struct timespec present = served_now();
    struct wire_operation set = *OP(WIRE_OP_SET,
                                    .inode = file,
                                    .mask = STORE_SET_ATIME | STORE_SET_MTIME,
                                    .atime = present,
                                    .mtime = present,
                                    .now = present);
    assert_int_equal(change(&other, &set), 0);
    set.atime.tv_sec = 1000;
    assert_int_equal(change(&other, &set), EPERM);
    assert_int_equal(change(&owner, &set), 0);
    assert_int_equal(attributes_of(file).atime.tv_sec, 1000);
    /* The present is what the server believes that it is. */
    set.now.tv_sec += 5000;
    set.atime = set.mtime = set.now;
    assert_int_equal(change(&other, &set), 0);
    const int64_t shown = attributes_of(file).mtime.tv_sec;
    assert_true(shown >= present.tv_sec - 1 && shown < present.tv_sec + 60);
}

static void test_xattrs(void **state)
{
    ONLY_AS_ROOT();
    const uint64_t file = make(&owner, STORE_ROOT, "file", S_IFREG | 0644);
    struct wire_operation set = *OP(WIRE_OP_SET_XATTR,
                                    .inode = file,
                                    .now = served_now(),
                                    .name = raw_name("trusted.a"),
                                    .data = (const uint8_t *)"x",
                                    .data_size = 1);
    assert_int_equal(change(&owner, &set), EPERM);
    assert_int_equal(change(&root, &set), 0);
    set.name = raw_name("user.a");
    assert_int_equal(change(&other, &set), EACCES);
    assert_int_equal(change(&owner, &set), 0);
    const struct wire_operation *const list = OP(WIRE_OP_LIST_XATTRS, .inode = file);
    assert_int_equal(raw_ask(&root, stage.store, list).size, 10 + 7);
    const struct raw_answer answer = raw_ask(&owner, stage.store, list);
    assert_int_equal(answer.size, 7);
    assert_memory_equal(answer.data, "user.a", 7);
    assert_int_equal(
        ask(&owner, OP(WIRE_OP_GET_XATTR, .inode = file, .name = raw_name("trusted.a"))), ENODATA);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_whose_is_what_they_make),
        TEST(test_reading_and_writing),
        TEST(test_open_files_keep_their_rights),
        TEST(test_a_mode_is_for_those_who_come_later),
        TEST(test_loans),
        TEST(test_a_loan_keeps_the_file),
        TEST(test_directories),
        TEST(test_sticky),
        TEST(test_moving_a_directory),
        TEST(test_changing_owners_and_modes),
        TEST(test_writing_takes_privileges_away),
        TEST(test_times),
        TEST(test_xattrs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
