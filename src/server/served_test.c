/*
 * Served mounts from outside: each operation through a real server, with a store in memory.
 */
#include "lib/raw_store.h"
#include "lib/test.h"
#include "lib/test_server.h"
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PAGES 1024
#define INODES 1000

static struct test_server test;
static struct raw_client client;
static uint32_t store;

static int set_up(void **state)
{
    const struct store_limits limits = {.bytes = PAGES * STORE_PAGE_SIZE, .inodes = INODES};
    const struct store_call call = {.now = {.tv_sec = time(NULL)}};
    struct store *ram;
    test_server_init(&test);
    test_server_new(&test);
    assert_int_equal(ram_store_new(&limits, &call, 0755, geteuid(), getegid(), &ram), 0);
    assert_int_equal(served_add(test.server, ram, false, WIRE_STORE_EXACT, &store), 0);
    assert_int_equal(hf_server_start(test.server), 0);
    raw_join(&client, test.address, "client");
    return 0;
}

static int tear_down(void **state)
{
    raw_round_trip(&client);
    assert_int_equal(test_server_stats(&test).cut_off, 0);
    raw_close(&client);
    test_server_await_clients(&test, 0);
    const hf_server_stats stats = test_server_stats(&test);
    assert_int_equal(stats.uses, 0);
    assert_int_equal(stats.reserved_pages, 0);
    assert_int_equal(stats.reserved_inodes, 0);
    test_server_deinit(&test);
    return 0;
}

#define OP(...) (&(struct wire_operation){.code = __VA_ARGS__})

static struct timespec now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

/* A regular file of the client's, which holds the root and the file EXCLUSIVE. */
static uint64_t make_file(const char *name)
{
    const struct wire_attributes made = raw_attributes(raw_ask(&client,
                                                               store,
                                                               OP(WIRE_OP_MAKE,
                                                                  .inode = STORE_ROOT,
                                                                  .mode = S_IFREG | 0644,
                                                                  .now = now(),
                                                                  .name = raw_name(name))));
    raw_hold_inode(&client, store, made.number, HF_EXCLUSIVE);
    return made.number;
}

/* ---- what each does ---- */

static void test_attach(void **state)
{
    struct wire_identity identity;
    const struct raw_answer answer = raw_ask(&client, store, OP(WIRE_OP_ATTACH));
    assert_int_equal(answer.error, 0);
    assert_true(wire_get_identity(answer.data, answer.size, &identity) == answer.size);
    assert_int_equal(identity.root, STORE_ROOT);
    assert_int_equal(identity.flags, WIRE_STORE_EXACT | WIRE_STORE_PRIVILEGED);
    assert_int_equal(identity.owner, geteuid());
    assert_int_equal(identity.group, getegid());
}

static void test_make_and_look(void **state)
{
    raw_hold_inode(&client, store, STORE_ROOT, HF_EXCLUSIVE);
    const struct timespec when = now();
    const struct wire_attributes made = raw_attributes(raw_ask(&client,
                                                               store,
                                                               OP(WIRE_OP_MAKE,
                                                                  .inode = STORE_ROOT,
                                                                  .mode = S_IFREG | 0640,
                                                                  .now = when,
                                                                  .name = raw_name("file"))));
    assert_int_equal(made.mode, S_IFREG | 0640);
    assert_int_equal(made.owner, geteuid());
    assert_int_equal(made.mtime.tv_sec, when.tv_sec);
    assert_int_equal(made.mtime.tv_nsec, when.tv_nsec);

    const struct wire_attributes found = raw_attributes(
        raw_ask(&client, store, OP(WIRE_OP_LOOKUP, .inode = STORE_ROOT, .name = raw_name("file"))));
    assert_memory_equal(&found, &made, sizeof(made));
    const struct wire_attributes got =
        raw_attributes(raw_ask(&client, store, OP(WIRE_OP_GET, .inode = made.number)));
    assert_memory_equal(&got, &made, sizeof(made));
    assert_int_equal(
        raw_ask(&client, store, OP(WIRE_OP_LOOKUP, .inode = STORE_ROOT, .name = raw_name("none")))
            .error,
        ENOENT);
}

static void test_data(void **state)
{
    raw_hold_inode(&client, store, STORE_ROOT, HF_EXCLUSIVE);
    const uint64_t file = make_file("file");
    assert_int_equal(raw_count(raw_ask(&client,
                                       store,
                                       OP(WIRE_OP_WRITE,
                                          .inode = file,
                                          .offset = 10,
                                          .now = now(),
                                          .data = (const uint8_t *)"hello",
                                          .data_size = 5))),
                     5);
    const struct raw_answer answer =
        raw_ask(&client, store, OP(WIRE_OP_READ, .inode = file, .offset = 8, .size = 100));
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.size, 7);
    assert_memory_equal(answer.data, "\0\0hello", 7);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_attach),
        TEST(test_make_and_look),
        TEST(test_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
