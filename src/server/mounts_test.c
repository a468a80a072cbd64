/*
 * The mounts that a server brings: what stands in the table that the first client finds, what was
 * made for it in the stores, and what is said when it cannot be.
 */
#include "server/mounts.h"

#include "client/client.h"
#include "lib/test.h"
#include "lib/test_server.h"
#include "server/mount_text.h"
#include "server/served/parts.h"
#include "server/server.h"
#include "wire/mounts.h"
#include "wire/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTS_MAX 80

static struct test_server test;
static char host[80]; /* a directory with a/b in it, and a link to that */
static hf_server_mount mounts[MOUNTS_MAX];
static size_t mount_count;

/* What the first client finds. */
static uint8_t bytes[HF_VALUE_MAX];
static struct wire_mounts table;

static int set_up(void **state)
{
    char path[128];
    test_server_init(&test);
    snprintf(host, sizeof(host), "%s/h", test.folder);
    assert_int_equal(mkdir(host, 0755), 0);
    snprintf(path, sizeof(path), "%s/a", host);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/a/b", host);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/link", host);
    assert_int_equal(symlink("a", path), 0);
    mount_count = 0;
    test.config.mounts = mounts;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"/link", "/a/b", "/a", ""};
    char path[128];
    while (mount_count > 0) {
        free(mounts[--mount_count].texts);
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s%s", host, names[i]);
        assert_int_equal(remove(path), 0);
    }
    test_server_deinit(&test);
    return 0;
}

/* One more mount for the server to come; an H in @text is the host's directory. */
static void add(const char *text)
{
    char whole[256];
    char error[512];
    const size_t length = strcspn(text, "H");
    snprintf(whole,
             sizeof(whole),
             "%.*s%s%s",
             (int)length,
             text,
             text[length] == 'H' ? host : "",
             text[length] == 'H' ? text + length + 1 : "");
    assert_true(mount_count < MOUNTS_MAX);
    if (hf_server_mount_parse(whole, &mounts[mount_count], error, sizeof(error)) != 0) {
        fail_msg("%s", error);
    }
    test.config.mount_count = ++mount_count;
}

/* Start the server, and read the table as a client does. */
static void start(void)
{
    hf_client *client;
    hf_sync *handle;
    test_server_start(&test);
    assert_int_equal(hf_client_connect(test.address, NULL, &client), 0);
    assert_int_equal(client_open_reserved(client, WIRE_MOUNTS_ID, 0, &handle), 0);
    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    const ssize_t size = hf_sync_get_value(handle, bytes, sizeof(bytes));
    assert_true(size >= 0);
    assert_int_equal(hf_sync_release(handle), 0);
    hf_sync_close(handle);
    hf_client_unref(client);
    assert_true(wire_mounts_decode(bytes, (size_t)size, &table));
}

static bool is_same(hf_id one, hf_id other)
{
    return one.space == other.space && one.object == other.object;
}

/* The store of a mount. Nobody changes it, so its thread is not in the way. */
static struct store *store_of(size_t index)
{
    const uint32_t store = wire_mount_backend(&table.mounts[index]);
    return test.server->served.stores[store - WIRE_STORE_FIRST]->store;
}

static struct store_attributes attributes_of(size_t index, uint64_t inode)
{
    struct store_attributes out;
    struct store *store = store_of(index);
    assert_int_equal(store->ops->get_attributes(store, inode, &out), 0);
    return out;
}

static hf_id entry_of(size_t index, uint64_t directory, const char *name)
{
    struct store_attributes out;
    struct store *store = store_of(index);
    const struct store_name wanted = {name, strlen(name)};
    assert_int_equal(store->ops->lookup(store, directory, wanted, &out), 0);
    return wire_store_id(wire_mount_backend(&table.mounts[index]), out.number);
}

static hf_id host_id(const char *name)
{
    char path[160];
    struct stat status;
    snprintf(path, sizeof(path), "%s%s", host, name);
    assert_int_equal(stat(path, &status), 0);
    return wire_inode_id(WIRE_BACKEND_DIRECT, status.st_dev, status.st_ino);
}

static void expect_mount(size_t index, uint64_t parent, const char *path, const char *source)
{
    const struct wire_mount *mount = &table.mounts[index];
    assert_int_equal(mount->number, index + 1);
    assert_int_equal(mount->parent, parent);
    assert_string_equal(mount->path, path);
    assert_string_equal(mount->source, source);
}

static void test_without_mounts_there_is_no_table(void **state)
{
    start();
    assert_int_equal(table.count, 0);
    assert_int_equal(table.last, 0);
}

static void test_a_root_of_its_own_holds_the_mount_points(void **state)
{
    struct store_usage usage;
    add("ram:/tmp,size=1G,inodes=100");
    add("ram:/a/b//c/,ro,mode=0700,uid=5,gid=6");
    start();
    assert_int_equal(table.count, 3);
    assert_int_equal(table.last, 3);
    expect_mount(0, 0, "/", "ram");
    expect_mount(1, 1, "/tmp", "ram");
    expect_mount(2, 1, "/a/b/c", "ram");
    assert_int_equal(table.mounts[0].flags, WIRE_MOUNT_READ_ONLY);
    assert_int_equal(table.mounts[1].flags, 0);
    assert_int_equal(table.mounts[2].flags, WIRE_MOUNT_READ_ONLY);

    const struct store_attributes root = attributes_of(0, STORE_ROOT);
    assert_int_equal(root.mode, S_IFDIR | 0755);
    assert_int_equal(root.owner, geteuid());
    assert_true(is_same(table.mounts[1].point, entry_of(0, STORE_ROOT, "tmp")));
    const hf_id b = entry_of(0, entry_of(0, STORE_ROOT, "a").object, "b");
    assert_true(is_same(table.mounts[2].point, entry_of(0, b.object, "c")));
    assert_int_equal(attributes_of(0, table.mounts[2].point.object).mode, S_IFDIR | 0755);

    assert_int_equal(attributes_of(1, STORE_ROOT).mode, S_IFDIR | 01777);
    assert_int_equal(attributes_of(1, STORE_ROOT).owner, geteuid());
    store_get_usage(store_of(1), &usage);
    assert_int_equal(usage.pages, (1 << 30) / STORE_PAGE_SIZE);
    assert_int_equal(usage.inodes, 100);
    assert_int_equal(attributes_of(2, STORE_ROOT).mode, S_IFDIR | 0700);
    assert_int_equal(attributes_of(2, STORE_ROOT).owner, 5);
    assert_int_equal(attributes_of(2, STORE_ROOT).group, 6);
}

static void test_the_defaults_are_those_of_tmpfs(void **state)
{
    struct store_usage usage;
    add("ram:/");
    start();
    store_get_usage(store_of(0), &usage);
    const uint64_t pages = mount_memory_bytes() / STORE_PAGE_SIZE;
    assert_in_range(usage.pages, pages / 2, pages / 2 + 1);
    assert_int_equal(usage.inodes, pages / 2);
}

static void test_direct_mounts_are_called_as_clients_call_them(void **state)
{
    add("direct:H/a:/src,ro,check");
    start();
    expect_mount(1, 1, "/src", table.mounts[1].source);
    assert_true(is_same(table.mounts[1].root, host_id("/a")));
    assert_int_equal(table.mounts[1].type, WIRE_MOUNT_DIRECT);
    assert_int_equal(table.mounts[1].flags, WIRE_MOUNT_READ_ONLY | WIRE_MOUNT_CHECKED);
}

static void test_a_relative_source_is_made_absolute(void **state)
{
    char expected[128];
    const int before = open(".", O_PATH | O_CLOEXEC);
    assert_int_equal(chdir(host), 0);
    add("direct:link/../a/.:/");
    start();
    assert_int_equal(fchdir(before), 0);
    close(before);
    snprintf(expected, sizeof(expected), "%s/a", host);
    expect_mount(0, 0, "/", expected);
}

static void test_mounts_lie_in_what_was_mounted_before(void **state)
{
    add("direct:H:/in/h"); /* the one at "/" is mounted first */
    add("ram:/in/h/a/b");
    add("direct:H/a:/in/h/a/b/x/y");
    add("ram:/");
    add("ram:/in/h/a/b"); /* on top */
    start();
    assert_int_equal(table.count, 5);
    expect_mount(0, 0, "/", "ram");
    assert_int_equal(table.mounts[0].flags, 0);
    expect_mount(1, 1, "/in/h", table.mounts[1].source);
    expect_mount(2, 2, "/in/h/a/b", "ram");
    assert_true(is_same(table.mounts[2].point, host_id("/a/b")));
    expect_mount(3, 3, "/in/h/a/b/x/y", table.mounts[3].source);
    expect_mount(4, 3, "/in/h/a/b", "ram");
    assert_true(is_same(table.mounts[4].point, table.mounts[2].root));
}

static void test_a_directory_is_served_with_what_is_in_it(void **state)
{
    struct store_usage usage;
    char source[128];
    add("ram:/");
    add("dir:H/link:/data,ro");
    add("ram:/data/b");
    start();
    snprintf(source, sizeof(source), "%s/a", host);
    expect_mount(1, 1, "/data", source);
    assert_int_equal(table.mounts[1].type, WIRE_MOUNT_SERVED);
    assert_int_equal(table.mounts[1].flags, WIRE_MOUNT_READ_ONLY);
    assert_int_equal(attributes_of(1, STORE_ROOT).mode, S_IFDIR | 0755);
    assert_true(is_same(table.mounts[2].point, entry_of(1, STORE_ROOT, "b")));
    store_get_usage(store_of(1), &usage);
    assert_true(usage.pages > 0); /* what the host has */
}

static void test_a_directory_has_the_limits_that_were_given(void **state)
{
    struct store_usage usage;
    add("dir:H/a:/,size=8M,inodes=50");
    start();
    store_get_usage(store_of(0), &usage);
    assert_int_equal(usage.pages, (8 << 20) / STORE_PAGE_SIZE);
    assert_int_equal(usage.inodes, 50);
}

/* hf_server_new() fails, and says why. */
static void expect_refused(int error, const char *reason)
{
    char line[512] = "";
    hf_server *server = NULL;
    test.config.mount_error = line;
    test.config.mount_error_size = sizeof(line);
    assert_int_equal(hf_server_new(&test.config, &server), error);
    assert_null(server);
    if (strstr(line, reason) == NULL) {
        fail_msg("expected '%s' in: %s", reason, line);
    }
    test.config.mount_error = NULL;
    while (mount_count > 0) {
        free(mounts[--mount_count].texts);
    }
}

static void test_what_cannot_be_mounted_is_explained(void **state)
{
    char text[240];
    add("direct:H/missing:/x");
    expect_refused(-ENOENT, "mount at \"/x\": SOURCE \"");
    add("direct:H/link:/");
    add("direct:/dev/null:/b");
    expect_refused(-ENOTDIR, "mount at \"/b\": SOURCE \"/dev/null\": Not a directory; it must be");
    add("direct:H:/");
    add("ram:/a/c/d");
    expect_refused(-ENOENT,
                   "mount at \"/a/c/d\": \"/a/c\" cannot be mounted on: No such file or directory; "
                   "it must be a directory of what is mounted before");
    add("direct:H:/");
    add("ram:/link/b");
    expect_refused(-ENOTDIR, "\"/link\" cannot be mounted on: Not a directory");
    add("ram:/");
    add("ram://");
    expect_refused(-EBUSY, "mount at \"/\": something is mounted there; \"/\" can be given once");
    add("ram:/,inodes=1");
    add("ram:/a");
    expect_refused(-ENOSPC, "\"/a\" cannot be mounted on: No space left on device");
    add("dir:H/a:/");
    add("ram:/x");
    expect_refused(-ENOENT, "\"/x\" cannot be mounted on: No such file or directory");
    add("dir:H:/,inodes=2");
    expect_refused(-ENOSPC, "than size= and inodes= allow");
    add("dir:H/a:/a");
    add("direct:H/a/b:/b");
    expect_refused(-EBUSY, "mount at \"/b\": SOURCE \"");
    add("direct:H:/a");
    add("dir:H/a:/b");
    expect_refused(-EBUSY, "overlaps that of the mount at \"/a\"; give a dir mount a directory of");
    for (int i = 0; i < MOUNTS_MAX; i++) {
        snprintf(text, sizeof(text), "ram:/%d", i);
        add(text);
    }
    expect_refused(-ENOSPC, "there are too many mounts");
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "ram:/%0200d%d", 0, i);
        mounts[mount_count] = (hf_server_mount)HF_SERVER_MOUNT_INIT;
        mounts[mount_count].texts = strdup(text + 4);
        mounts[mount_count].path = mounts[mount_count].texts;
        test.config.mount_count = ++mount_count;
    }
    expect_refused(-ENOSPC, "the table of mounts has room for 4096 bytes");
    add("ram:/x");
    mounts[0].kind = 7;
    expect_refused(-EINVAL, "mount at \"/x\": the kind must be ram, dir or direct");
    test.config.mounts = NULL;
    test.config.mount_count = 1;
    assert_int_equal(hf_server_new(&test.config, &test.server), -EINVAL);
    test.config.mount_count = 0;
}

static void test_without_a_place_for_it_the_reason_is_logged(void **state)
{
    hf_server *server = NULL;
    add("direct:/dev/null:/x");
    assert_int_equal(hf_server_new(&test.config, &server), -ENOTDIR);
    test_server_expect_log(&test, "mount at \"/x\": SOURCE \"/dev/null\": Not a directory");
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_without_mounts_there_is_no_table),
        CASE(test_a_root_of_its_own_holds_the_mount_points),
        CASE(test_the_defaults_are_those_of_tmpfs),
        CASE(test_direct_mounts_are_called_as_clients_call_them),
        CASE(test_a_relative_source_is_made_absolute),
        CASE(test_mounts_lie_in_what_was_mounted_before),
        CASE(test_a_directory_is_served_with_what_is_in_it),
        CASE(test_a_directory_has_the_limits_that_were_given),
        CASE(test_what_cannot_be_mounted_is_explained),
        CASE(test_without_a_place_for_it_the_reason_is_logged),
    };
    return cmocka_run_group_tests_name("server mounts", tests, NULL, NULL);
}
