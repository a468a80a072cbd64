/* What the host allows and refuses: limits, owners, mounts. */
#include "lib/process.h"
#include "lib/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE STORE_PAGE_SIZE
#define NOBODY 65534

static const struct store_limits no_limits = {STORE_NO_LIMIT, STORE_NO_LIMIT};
static const struct store_call call = {.now.tv_sec = 100};

static struct store_name named(const char *text)
{
    return (struct store_name){text, strlen(text)};
}

static int make(struct store *store, const char *name, uint32_t mode, uint32_t owner,
                struct store_attributes *out)
{
    const struct store_new what = {.mode = mode, .owner = owner, .group = getegid()};
    return store->ops->make(store, &call, STORE_ROOT, named(name), &what, out);
}

/* ---- limits ---- */

/* What is there when a store begins is counted, each file once; and if it is more than the limits
 * allow, there is no store. */
static void test_what_is_there_counts(void **state)
{
    static const uint8_t data[3 * PAGE];
    struct store_limits limits = {100 * PAGE, 100};
    struct any_store any;
    struct store_attributes file;
    struct store_usage usage;
    struct store *other;
    any_store_make(&any, true, &limits, &call);
    assert_int_equal(make(any.store, "a", S_IFREG | 0644, geteuid(), &file), 0);
    const struct store_ops *ops = any.store->ops;
    assert_int_equal(ops->write(any.store, &call, file.number, PAGE, data, sizeof(data)),
                     sizeof(data));
    assert_int_equal(ops->link(any.store, &call, file.number, STORE_ROOT, named("b")), 0);
    assert_int_equal(make(any.store, "d", S_IFDIR | 0755, geteuid(), NULL), 0);
    for (int round = 0; round < 2; round++) {
        store_get_usage(any.store, &usage);
        assert_int_equal(usage.pages, 100);
        assert_int_equal(usage.free_pages, 97);
        assert_int_equal(usage.inodes, 100);
        assert_int_equal(usage.free_inodes, 96);
        any_store_check(&any, NULL, 0);
        any.store->ops->destroy(any.store);
        any_store_open(&any, &limits);
    }
    const int fd = open(any.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    limits = (struct store_limits){2 * PAGE, 100};
    assert_int_equal(dir_store_new(fd, &limits, &other), -ENOSPC);
    limits = (struct store_limits){3 * PAGE, 3};
    assert_int_equal(dir_store_new(fd, &limits, &other), -ENOSPC);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC); /* still ours */
    close(fd);
    any_store_end(&any);
}

/* Overwriting costs nothing, filling a hole does; the limit is met to the page, and nothing is
 * written beyond. */
static void test_limit_is_exact(void **state)
{
    static const uint8_t data[20 * PAGE];
    const struct store_limits limits = {10 * PAGE, 10};
    struct any_store any;
    struct store_attributes file;
    any_store_make(&any, true, &limits, &call);
    struct store *store = any.store;
    const struct store_ops *ops = store->ops;
    assert_int_equal(make(store, "a", S_IFREG | 0644, geteuid(), &file), 0);
    assert_int_equal(ops->write(store, &call, file.number, 2 * PAGE, data, 3 * PAGE), 3 * PAGE);
    assert_int_equal(ops->write(store, &call, file.number, 2 * PAGE, data, 3 * PAGE), 3 * PAGE);
    assert_int_equal(ops->write(store, &call, file.number, 100, data, sizeof(data)),
                     10 * PAGE - 100);
    assert_int_equal(ops->get_attributes(store, file.number, &file), 0);
    assert_int_equal(file.size, 10 * PAGE);
    assert_int_equal(ops->write(store, &call, file.number, 10 * PAGE, data, 1), -ENOSPC);
    assert_int_equal(ops->allocate(store, &call, file.number, 0, 0, 11 * PAGE), -ENOSPC);
    any_store_check(&any, NULL, 0);
    assert_int_equal(
        ops->allocate(
            store, &call, file.number, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 2 * PAGE),
        0);
    any_store_check(&any, NULL, 0);
    assert_int_equal(ops->write(store, &call, file.number, 10 * PAGE, data, 3 * PAGE), 2 * PAGE);
    any_store_check(&any, NULL, 0);
    any_store_end(&any);
}

/* Attributes are paid for as in any store, as far as the host takes them. */
static void test_attributes_cost_pages(void **state)
{
    static const uint8_t value[2000];
    const struct store_limits limits = {1 * PAGE, 10};
    struct any_store any;
    struct store_attributes file;
    struct store_usage usage;
    any_store_make(&any, true, &limits, &call);
    struct store *store = any.store;
    const struct store_ops *ops = store->ops;
    assert_int_equal(make(store, "a", S_IFREG | 0644, geteuid(), &file), 0);
    assert_int_equal(ops->set_xattr(store, &call, file.number, named("user.a"), value, 1024 - 7, 0),
                     0);
    store_get_usage(store, &usage);
    assert_int_equal(usage.free_pages, 1);
    assert_int_equal(
        ops->set_xattr(store, &call, file.number, named("user.a"), value, sizeof(value), 0), 0);
    store_get_usage(store, &usage);
    assert_int_equal(usage.free_pages, 0);
    any_store_check(&any, NULL, 0);
    assert_int_equal(ops->write(store, &call, file.number, 0, "x", 1), -ENOSPC);
    assert_int_equal(ops->unlink(store, &call, STORE_ROOT, named("a")), 0);
    store_get_usage(store, &usage);
    assert_int_equal(usage.free_pages, 1);
    any_store_check(&any, NULL, 0);
    any_store_end(&any);
}

/* Without limits there is what the host says. */
static void test_without_limits_the_host_says(void **state)
{
    struct any_store any;
    struct store_usage usage;
    struct statvfs host;
    any_store_make(&any, true, &no_limits, &call);
    store_get_usage(any.store, &usage);
    assert_int_equal(statvfs(any.path, &host), 0);
    assert_true(usage.pages == (uint64_t)host.f_blocks * host.f_frsize / PAGE);
    assert_true(usage.inodes == host.f_files);
    assert_true(usage.free_pages <= usage.pages && usage.free_inodes <= usage.inodes);
    any_store_end(&any);
}

/* ---- owners ---- */

#define CHECK(condition)                                                                           \
    if (!(condition)) {                                                                            \
        fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                    \
        return 1;                                                                                  \
    }

/* A server without privileges in a directory of its own. */
static int serve_without_privileges(const struct child *self, void *context)
{
    struct store *store;
    struct store_attributes file;
    struct store_attributes out;
    const uint32_t other = NOBODY - 1;
    struct store_attributes values = {.owner = other, .group = UINT32_MAX, .mode = 0};
    if (geteuid() == 0) {
        CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    }
    const int fd = open(context, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(dir_store_new(fd, &no_limits, &store) == 0);
    const struct store_ops *ops = store->ops;

    static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFIFO};
    for (size_t i = 0; i < 3; i++) {
        CHECK(make(store, "x", types[i] | 0644, other, NULL) == -EPERM);
        CHECK(ops->lookup(store, STORE_ROOT, named("x"), &out) == -ENOENT);
    }
    CHECK(make(store, "a", S_IFREG | 06755, geteuid(), &file) == 0);
    CHECK(ops->write(store, &call, file.number, 0, "text", 4) == 4);
    /* The kernel took them from its mode, since this process may not have them: they are back. */
    CHECK(ops->get_attributes(store, file.number, &out) == 0 && out.mode == (S_IFREG | 06755));
    CHECK(ops->link(store, &call, file.number, STORE_ROOT, named("b")) == 0);
    CHECK(ops->set_attributes(
              store, &call, file.number, STORE_SET_OWNER | STORE_SET_MODE, &values) == -EPERM);
    CHECK(ops->get_attributes(store, file.number, &out) == 0 && out.mode == (S_IFREG | 06755));
    CHECK(ops->set_attributes(store, &call, file.number, STORE_SET_MODE, &values) == 0);

    ops->destroy(store);
    CHECK(dir_store_new(open(context, O_PATH | O_DIRECTORY | O_CLOEXEC), &no_limits, &store) == 0);
    char text[4];
    CHECK(ops->lookup(store, STORE_ROOT, named("a"), &file) == 0);
    CHECK(ops->read(store, &call, file.number, 0, text, 4) == -EACCES);
    CHECK(ops->write(store, &call, file.number, 0, text, 4) == -EACCES);
    values.mode = 0600;
    CHECK(ops->set_attributes(store, &call, file.number, STORE_SET_MODE, &values) == 0);
    CHECK(ops->read(store, &call, file.number, 0, text, 4) == 4);
    ops->destroy(store);
    return 0;
}

/* What belongs to others needs privileges: it is refused, and nothing is left of the attempt. */
static void test_owners_without_privileges(void **state)
{
    struct any_store any;
    struct child child;
    any_store_make(&any, true, &no_limits, &call);
    if (geteuid() == 0) {
        assert_int_equal(chown(any.path, NOBODY, NOBODY), 0);
    }
    child_start(&child, serve_without_privileges, any.path);
    assert_int_equal(child_end(&child), 0);
    any_store_end(&any);
}

/* A server with them has files of anybody. */
static void test_any_owner_with_privileges(void **state)
{
    struct any_store any;
    struct store_attributes out;
    struct stat status;
    if (geteuid() != 0) {
        skip();
    }
    any_store_make(&any, true, &no_limits, &call);
    assert_int_equal(make(any.store, "a", S_IFREG | 04711, 1234, &out), 0);
    assert_int_equal(out.owner, 1234);
    assert_int_equal(out.mode, S_IFREG | 04711);
    char path[FOLDER_PATH_BYTES + 2];
    snprintf(path, sizeof(path), "%s/a", any.path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, 1234);
    assert_int_equal(status.st_mode, S_IFREG | 04711);
    any_store_end(&any);
}

/* ---- mounts ---- */

static int count_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                       uint64_t position)
{
    ++*(unsigned *)context;
    return 0;
}

static int look_below_mounts(const struct child *self, void *context)
{
    struct store *store;
    struct store_attributes out;
    unsigned count = 0;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return 0; /* not allowed here */
    }
    CHECK(chdir(context) == 0);
    CHECK(mkdir("mounted", 0755) == 0 && mkdir("bound", 0755) == 0 && mkdir("plain", 0755) == 0);
    CHECK(mount("none", "mounted", "tmpfs", 0, NULL) == 0);
    CHECK(mount("plain", "bound", NULL, MS_BIND, NULL) == 0);
    const int fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const struct store_limits limits = {100 * PAGE, 100};
    CHECK(dir_store_new(fd, &limits, &store) == 0);
    const struct store_ops *ops = store->ops;
    CHECK(ops->lookup(store, STORE_ROOT, named("mounted"), &out) == -EXDEV);
    CHECK(ops->lookup(store, STORE_ROOT, named("bound"), &out) == -EXDEV);
    CHECK(ops->lookup(store, STORE_ROOT, named("plain"), &out) == 0);
    CHECK(ops->list(store, &call, STORE_ROOT, 0, count_entry, &count) == 0 && count == 1);
    ops->destroy(store);
    return 0;
}

/* What is mounted below the directory, from elsewhere or from itself, is not in the store. */
static void test_stays_on_its_mount(void **state)
{
    struct any_store any;
    struct child child;
    if (geteuid() != 0) {
        skip();
    }
    any_store_make(&any, true, &no_limits, &call);
    child_start(&child, look_below_mounts, any.path);
    assert_int_equal(child_end(&child), 0);
    any_store_end(&any);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_there_counts),
        cmocka_unit_test(test_limit_is_exact),
        cmocka_unit_test(test_attributes_cost_pages),
        cmocka_unit_test(test_without_limits_the_host_says),
        cmocka_unit_test(test_owners_without_privileges),
        cmocka_unit_test(test_any_owner_with_privileges),
        cmocka_unit_test(test_stays_on_its_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
