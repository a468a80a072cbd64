/*
 * The table of mounts as it lies at the server: how long it may get, and what a client does with
 * one that another client has made up.
 */
#include "cases/fs_mounts.h"
#include "client/client.h"
#include "lib/test.h"
#include "wire/mounts.h"
#include "wire/operations.h"

#include <errno.h>
#include <string.h>

static struct fs_world world;

static int set_up(void **state)
{
    fs_world_init(&world);
    return 0;
}

static int tear_down(void **state)
{
    fs_world_deinit(&world);
    return 0;
}

static void act_fill(struct fs_world *here, void *argument)
{
    char path[256];
    int count = 0;
    int result = 0;
    CHECK_EQUAL(hf_mkdir(here->fs, "/d", 0755), 0);
    while (result == 0) {
        CHECK(count < WIRE_MOUNTS_MAX);
        snprintf(path, sizeof path, "/d/%d", count++);
        CHECK_EQUAL(hf_mkdir(here->fs, path, 0755), 0);
        result = mount_direct(here->fs, here->outside, path, 0);
    }
    CHECK_EQUAL(result, -ENOSPC);
    CHECK(count > 30);
    CHECK_EQUAL(hf_umount2(here->fs, "/d/0", 0), 0);
    CHECK_EQUAL(mount_direct(here->fs, here->outside, path, 0), 0);
    for (int i = 1; i < count; i++) {
        snprintf(path, sizeof path, "/d/%d", i);
        CHECK_EQUAL(hf_umount2(here->fs, path, 0), 0);
    }
}

static void test_the_table_has_an_end(void **state)
{
    fs_world_play(&world, act_fill, NULL);
}

/* What a client can publish that keeps to the protocol, and to nothing else. */
static void publish(hf_client *client, const void *value, size_t size)
{
    hf_sync *handle;
    CHECK_EQUAL(client_open_reserved(client, WIRE_MOUNTS_ID, 0, &handle), 0);
    CHECK(hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) >= 0);
    CHECK_EQUAL(hf_sync_set_value(handle, value, size), 0);
    CHECK_EQUAL(hf_sync_release(handle), 0);
    hf_sync_close(handle);
}

static void act_publish_garbage(struct fs_world *here, void *argument)
{
    struct wire_mounts table;
    uint8_t right[HF_VALUE_MAX];
    uint8_t bytes[HF_VALUE_MAX];
    hf_client *hostile;
    hf_sync *handle;
    char byte;

    CHECK_EQUAL(hf_client_connect(here->server.address, NULL, &hostile), 0);
    CHECK_EQUAL(hf_mkdir(here->fs, "/m", 0755), 0);
    CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", 0), 0);
    make_file(here->fs, "/m/file");
    int fd = hf_open(here->fs, "/m/file", O_RDWR, 0);
    CHECK_EQUAL(client_open_reserved(hostile, WIRE_MOUNTS_ID, 0, &handle), 0);
    CHECK(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    const ssize_t size = hf_sync_get_value(handle, right, sizeof right);
    CHECK_EQUAL(hf_sync_release(handle), 0);
    CHECK(wire_mounts_decode(right, (size_t)size, &table));

    publish(hostile, "garbage", 7);
    CHECK_EQUAL(look(here->fs, "/"), -EIO);
    CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", 0), -EIO);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), -EIO);
    CHECK_EQUAL(hf_read(here->fs, fd, &byte, 1), 0); /* what is open is not concerned */
    memset(bytes, 0xff, sizeof bytes);
    publish(hostile, bytes, sizeof bytes);
    CHECK_EQUAL(look(here->fs, "/m/file"), -EIO);

    /* Tables that are right as such: no mount at all, another one at "/", the same number with
     * another source, the mounts the other way round. */
    publish(hostile, "", 0);
    CHECK_EQUAL(look(here->fs, "/"), -ENODEV);
    CHECK_EQUAL(mount_direct(here->fs, here->outside, "/m", 0), -ENODEV);
    struct wire_mounts strange = table;
    strange.mounts[0].source = "/";
    strange.mounts[0].number = 9;
    strange.mounts[1].parent = 9;
    strange.last = 9;
    publish(hostile, bytes, wire_mounts_encode(&strange, bytes));
    CHECK_EQUAL(look(here->fs, "/m/file"), -ESTALE);
    strange = table;
    strange.mounts[1].source = "/missing";
    publish(hostile, bytes, wire_mounts_encode(&strange, bytes));
    CHECK_EQUAL(look(here->fs, "/m/file"), -ENOENT);
    strange = table;
    strange.mounts[1].type = WIRE_MOUNT_SERVED; /* a store that is not there */
    strange.mounts[1].root = wire_store_id(WIRE_STORE_LAST, 1);
    strange.mounts[1].source = WIRE_MOUNT_RAM;
    publish(hostile, bytes, wire_mounts_encode(&strange, bytes));
    CHECK_EQUAL(look(here->fs, "/m/file"), -ENODEV);
    CHECK_EQUAL(look(here->fs, "/"), 0);
    strange = table;
    strange.mounts[0].number = 2;
    strange.mounts[1].number = 1;
    strange.mounts[1].parent = 2;
    publish(hostile, bytes, wire_mounts_encode(&strange, bytes));
    CHECK_EQUAL(look(here->fs, "/m/file"), 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", MNT_DETACH), 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/", MNT_DETACH), -EBUSY);

    publish(hostile, right, (size_t)size);
    CHECK_EQUAL(look(here->fs, "/m/file"), 0);
    CHECK_EQUAL(hf_write(here->fs, fd, "x", 1), 1);
    CHECK_EQUAL(hf_close(here->fs, fd), 0);
    CHECK_EQUAL(hf_umount2(here->fs, "/m", 0), 0);
    hf_sync_close(handle);
    hf_client_unref(hostile);
}

static void test_a_strange_table_does_no_harm(void **state)
{
    fs_world_play(&world, act_publish_garbage, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        CASE(test_the_table_has_an_end),
        CASE(test_a_strange_table_does_no_harm),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("fs mounts table", tests, NULL, NULL);
}
