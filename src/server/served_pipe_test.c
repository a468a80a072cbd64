/*
 * Pipes of stores at the server: who gets one, whose it is, and when it goes.
 */
#include "lib/served_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWNER 4001
#define OTHER 4002

static struct served_stage stage;
static struct raw_client client;
static uint64_t fifo;
static uint64_t file;
static int descriptors; /* of this process, without any pipe */

static int set_up(void **state)
{
    served_stage_init(&stage);
    stage.test.config.limits.parked = 2;
    served_stage_start(&stage,
                       &(struct served_stage_options){.pages = 64, .inodes = 64, .mode = 0777});
    raw_join(&client, stage.test.address, "client");
    const uint64_t root = raw_hold_inode(&client, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    fifo = served_make_in(&stage, &client, STORE_ROOT, "fifo", S_IFIFO | 0640);
    file = served_make_in(&stage, &client, STORE_ROOT, "file", S_IFREG | 0644);
    raw_release_inode(&client, stage.store, STORE_ROOT, root, HF_INVALID);
    descriptors = test_count_descriptors();
    return 0;
}

static int tear_down(void **state)
{
    assert_int_equal(test_server_stats(&stage.test).cut_off, 0);
    raw_close(&client);
    test_server_await_clients(&stage.test, 0);
    served_stage_deinit(&stage);
    return 0;
}

static uint32_t use(struct raw_client *user, uint64_t number, uint8_t rights)
{
    return raw_ask(user, stage.store, OP(WIRE_OP_USE, .inode = number, .rights = rights)).error;
}

static uint32_t unuse(struct raw_client *user, uint64_t number)
{
    return raw_ask(user, stage.store, OP(WIRE_OP_UNUSE, .inode = number)).error;
}

/* Return: the reason; with *fd. */
static uint8_t claim(struct raw_client *user, uint64_t number, int *fd)
{
    return raw_claim(user, wire_store_id(stage.store, number), 0, fd).reason;
}

static ino_t claim_inode(struct raw_client *user, uint64_t number)
{
    struct stat attributes;
    int fd = -1;
    assert_int_equal(claim(user, number, &fd), WIRE_REASON_NONE);
    assert_int_equal(fstat(fd, &attributes), 0);
    assert_true(S_ISFIFO(attributes.st_mode));
    assert_int_equal(fcntl(fd, F_GETFL) & O_PATH, O_PATH);
    close(fd);
    return attributes.st_ino;
}

/* All get the same pipe as long as one of them uses it; then the server has nothing of it. */
static void test_a_pipe_lives_as_long_as_it_is_used(void **state)
{
    struct raw_client second;
    raw_join(&second, stage.test.address, "second");
    const int before = test_count_descriptors();
    assert_int_equal(use(&client, fifo, WIRE_USE_READ), 0);
    assert_int_equal(use(&second, fifo, WIRE_USE_WRITE), 0);
    const ino_t pipe = claim_inode(&client, fifo);
    assert_int_equal(claim_inode(&second, fifo), pipe);
    assert_int_equal(test_count_descriptors(), before + 1);
    assert_int_equal(unuse(&client, fifo), 0);
    assert_int_equal(use(&client, fifo, WIRE_USE_READ), 0);
    assert_int_equal(claim_inode(&client, fifo), pipe);
    assert_int_equal(unuse(&client, fifo), 0);
    assert_int_equal(test_count_descriptors(), before + 1);
    raw_close(&second); /* as if it were killed */
    test_server_await_clients(&stage.test, 1);
    assert_int_equal(test_count_descriptors(), descriptors);
}

/* Who asks for a pipe that there is none of, or that it has not said to use, gets none. */
static void test_others_get_none(void **state)
{
    int fd;
    assert_int_equal(claim(&client, fifo, &fd), WIRE_REASON_UNKNOWN_TICKET);
    assert_int_equal(use(&client, fifo, 0), 0); /* as with O_PATH */
    assert_int_equal(claim(&client, fifo, &fd), WIRE_REASON_UNKNOWN_TICKET);
    assert_int_equal(use(&client, file, WIRE_USE_READ | WIRE_USE_WRITE), 0);
    assert_int_equal(claim(&client, file, &fd), WIRE_REASON_UNKNOWN_TICKET);
    assert_int_equal(claim(&client, 4711, &fd), WIRE_REASON_UNKNOWN_TICKET);
    assert_int_equal(raw_claim(&client, wire_store_id(stage.store, fifo), 1, &fd).reason,
                     WIRE_REASON_UNKNOWN_TICKET);
    assert_int_equal(raw_claim(&client, wire_store_id(stage.store + 1, fifo), 0, &fd).reason,
                     WIRE_REASON_UNKNOWN_TICKET);
    assert_int_equal(test_count_descriptors(), descriptors);
}

/* Each costs the server a descriptor, so there are no more than may be parked. */
static void test_there_is_a_limit(void **state)
{
    char name[8];
    int fd = -1;
    const uint64_t root = raw_hold_inode(&client, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "p%d", i);
        const uint64_t made = served_make_in(&stage, &client, STORE_ROOT, name, S_IFIFO | 0600);
        assert_int_equal(use(&client, made, WIRE_USE_READ), 0);
        assert_int_equal(claim(&client, made, &fd),
                         i < 2 ? WIRE_REASON_NONE : WIRE_REASON_PARK_LIMIT);
        if (i < 2) {
            close(fd);
        }
    }
    raw_release_inode(&client, stage.store, STORE_ROOT, root, HF_INVALID);
}

/* The kernel judges those who have its descriptor by the owner and mode that the store has now. */
static void test_it_has_the_owner_and_the_mode_of_the_inode(void **state)
{
    struct stat attributes;
    struct raw_client other;
    int fd = -1;
    if (geteuid() != 0) {
        skip();
    }
    served_stage_join_as(&stage, &other, OTHER, OTHER);
    assert_int_equal(use(&other, fifo, WIRE_USE_READ), EACCES);
    const uint64_t grant = raw_hold_inode(&client, stage.store, fifo, HF_EXCLUSIVE);
    assert_int_equal(raw_ask(&client,
                             stage.store,
                             OP(WIRE_OP_SET,
                                .inode = fifo,
                                .mask = STORE_SET_OWNER | STORE_SET_MODE,
                                .mode = 0604,
                                .owner = OWNER,
                                .group = OWNER,
                                .now = served_now()))
                         .error,
                     0);
    raw_release_inode(&client, stage.store, fifo, grant, HF_INVALID);
    assert_int_equal(use(&other, fifo, WIRE_USE_READ), 0);
    assert_int_equal(use(&other, fifo, WIRE_USE_WRITE), EACCES);
    assert_int_equal(claim(&other, fifo, &fd), WIRE_REASON_NONE);
    assert_int_equal(fstat(fd, &attributes), 0);
    assert_int_equal(attributes.st_mode, S_IFIFO | 0604);
    assert_int_equal(attributes.st_uid, OWNER);
    assert_int_equal(attributes.st_gid, OWNER);
    assert_int_equal(attributes.st_nlink, 0); /* and is found by no name */
    close(fd);
    raw_close(&other);
    test_server_await_clients(&stage.test, 1);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_pipe_lives_as_long_as_it_is_used),
        TEST(test_others_get_none),
        TEST(test_there_is_a_limit),
        TEST(test_it_has_the_owner_and_the_mode_of_the_inode),
    };
    return cmocka_run_group_tests_name("served pipes", tests, NULL, NULL);
}
