/*
 * Served mounts with a store in a directory of the host, which has a say in what can be done.
 */
#include "lib/served_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static struct served_stage stage;
static struct raw_client client;

static char traced[4096];

static void keep_trace(void *context, const hf_trace_event *event)
{
    const size_t length = strlen(traced);
    if (strcmp(event->message, "OPERATION") == 0 || strcmp(event->message, "FAILED") == 0) {
        snprintf(traced + length, sizeof(traced) - length, "%s ", event->remark);
    }
}

static int set_up(void **state)
{
    traced[0] = '\0';
    served_stage_init(&stage);
    stage.test.config.trace = keep_trace;
    served_stage_start(&stage, &(struct served_stage_options){.mode = 0755, .in_directory = true});
    raw_join(&client, stage.test.address, "client");
    raw_hold_inode(&client, stage.store, STORE_ROOT, HF_EXCLUSIVE);
    return 0;
}

static int tear_down(void **state)
{
    raw_close(&client);
    test_server_await_clients(&stage.test, 0);
    assert_int_equal(test_server_stats(&stage.test).cut_off, 0);
    served_stage_deinit(&stage);
    return 0;
}

/* What is done without answers is in the directory when a later answer is there. */
static void test_files(void **state)
{
    char path[FOLDER_PATH_BYTES + 16];
    char data[8];
    const struct wire_reservation had = served_reserve_for(&stage, &client, 1000, 1000, true);
    assert_int_equal(had.pages, 1000);
    raw_tell(&client,
             stage.store,
             OP(WIRE_OP_MAKE,
                .inode = STORE_ROOT,
                .number = had.number,
                .mode = S_IFREG | 0600,
                .now = served_now(),
                .name = raw_name("file")));
    raw_hold_inode(&client, stage.store, had.number, HF_EXCLUSIVE);
    raw_tell(&client,
             stage.store,
             OP(WIRE_OP_WRITE,
                .inode = had.number,
                .now = served_now(),
                .data = (const uint8_t *)"data",
                .data_size = 4));
    assert_int_equal(raw_ask(&client, stage.store, OP(WIRE_OP_SYNC)).error, 0);
    snprintf(path, sizeof(path), "%s/file", stage.path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, data, sizeof(data)), 4);
    assert_memory_equal(data, "data", 4);
    close(fd);
    assert_string_equal(traced, "RESERVE MAKE WRITE SYNC ");
}

/* The host's own answer to what a client could not know is no reason to cut it off. */
static void test_what_the_host_refuses(void **state)
{
    const struct wire_attributes made = raw_attributes(raw_ask(&client,
                                                               stage.store,
                                                               OP(WIRE_OP_MAKE,
                                                                  .inode = STORE_ROOT,
                                                                  .mode = S_IFLNK | 0777,
                                                                  .now = served_now(),
                                                                  .name = raw_name("link"),
                                                                  .data = (const uint8_t *)"x",
                                                                  .data_size = 1)));
    raw_hold_inode(&client, stage.store, made.number, HF_EXCLUSIVE);
    raw_tell(&client,
             stage.store,
             OP(WIRE_OP_SET,
                .inode = made.number,
                .mask = STORE_SET_MODE,
                .mode = 0600,
                .now = served_now()));
    const struct wire_message failed = raw_expect(&client, WIRE_FAILED);
    assert_int_equal(failed.error, EOPNOTSUPP);
    assert_int_equal(failed.inode, made.number);
    assert_string_equal(traced, "MAKE SET EOPNOTSUPP ");
}

/* There is as much as the host has. */
static void test_usage(void **state)
{
    struct wire_usage usage;
    struct statvfs host;
    served_reserve_for(&stage, &client, 1000, 1000, false);
    const struct raw_answer answer = raw_ask(&client, stage.store, OP(WIRE_OP_USAGE));
    assert_true(wire_get_usage(answer.data, answer.size, &usage) == answer.size);
    assert_int_equal(statvfs(stage.path, &host), 0);
    assert_int_equal(usage.pages, host.f_blocks * host.f_frsize / STORE_PAGE_SIZE);
    assert_true(usage.free_pages <= usage.pages);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_files),
        TEST(test_what_the_host_refuses),
        TEST(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
