/* A server that is killed in the middle of anything leaves a directory that needs no repair. */
#include "lib/process.h"
#include "lib/stores.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 25
#define REPLACED 4 /* files that are replaced all the time */
#define RECORDS 64 /* files that are made once and synced */
#define ANYTHING 12
#define SIZE (3 * STORE_PAGE_SIZE)
#define PAGES 2000
#define INODES 400

/* What the server has promised; it outlives it. */
struct promises {
    uint32_t replaced[REPLACED]; /* this version was renamed into place, or a later one */
    uint32_t records;            /* so many were synced */
};

struct server {
    const char *path;
    struct promises *promises;
    uint64_t random;
    struct store *store;
    struct store_call call;
    uint32_t version;
};

static const struct store_limits limits = {PAGES * STORE_PAGE_SIZE, INODES};

static uint64_t below(struct server *server, uint64_t bound)
{
    server->random ^= server->random << 13;
    server->random ^= server->random >> 7;
    server->random ^= server->random << 17;
    return (server->random >> 11) % bound;
}

static struct store_name named(const char *text)
{
    return (struct store_name){text, strlen(text)};
}

/* A number that is there; else the root's. */
static uint64_t look_up(struct server *server, uint64_t directory, const char *name)
{
    struct store_attributes out;
    return server->store->ops->lookup(server->store, directory, named(name), &out) == 0
               ? out.number
               : STORE_ROOT;
}

/* A file that is full of its version. Return: its number. */
static uint64_t make_full(struct server *server, const char *name, uint32_t version)
{
    static uint32_t data[SIZE / sizeof(uint32_t)];
    const struct store_new what = {.mode = S_IFREG | 0640, .owner = geteuid(), .group = getegid()};
    const struct store_ops *ops = server->store->ops;
    struct store_attributes out;
    if (ops->make(server->store, &server->call, STORE_ROOT, named(name), &what, &out) < 0) {
        return 0;
    }
    for (size_t i = 0; i < SIZE / sizeof(uint32_t); i++) {
        data[i] = version;
    }
    const bool is_full =
        ops->write(server->store, &server->call, out.number, 0, data, SIZE) == SIZE;
    return is_full ? out.number : 0;
}

static void replace_one(struct server *server)
{
    const struct store_ops *ops = server->store->ops;
    const unsigned which = (unsigned)below(server, REPLACED);
    char name[16];
    snprintf(name, sizeof(name), "r%u", which);
    ops->unlink(server->store, &server->call, STORE_ROOT, named("new"));
    const uint32_t version = ++server->version;
    if (make_full(server, "new", version) != 0 &&
        ops->rename(
            server->store, &server->call, STORE_ROOT, named("new"), STORE_ROOT, named(name), 0) ==
            0) {
        server->promises->replaced[which] = version;
    }
}

static void record_one(struct server *server)
{
    char name[16];
    const uint32_t next = server->promises->records;
    if (next == RECORDS) {
        return;
    }
    snprintf(name, sizeof(name), "s%u", next);
    server->store->ops->unlink(server->store, &server->call, STORE_ROOT, named(name));
    const uint64_t number = make_full(server, name, next);
    if (number != 0 && server->store->ops->sync(server->store, number) == 0) {
        server->promises->records = next + 1;
    }
}

/* On names that nobody has promised anything of. */
static void do_anything(struct server *server)
{
    static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFDIR, S_IFIFO};
    const struct store_ops *ops = server->store->ops;
    struct store *store = server->store;
    const struct store_call *call = &server->call;
    char a[8];
    char b[8];
    snprintf(a, sizeof(a), "x%u", (unsigned)below(server, ANYTHING));
    snprintf(b, sizeof(b), "x%u", (unsigned)below(server, ANYTHING));
    const uint64_t number = look_up(server, STORE_ROOT, a);
    const struct store_new what = {
        .mode = types[below(server, 4)] | 0755, .owner = geteuid(), .group = getegid()};
    const struct store_attributes values = {.size = below(server, SIZE)};
    switch (below(server, 10)) {
    case 0:
    case 1:
        ops->make(store, call, below(server, 2) == 0 ? STORE_ROOT : number, named(b), &what, NULL);
        break;
    case 2:
        ops->link(store, call, number, STORE_ROOT, named(b));
        break;
    case 3:
        ops->unlink(store, call, below(server, 2) == 0 ? STORE_ROOT : number, named(b));
        break;
    case 4:
        ops->remove_directory(store, call, STORE_ROOT, named(b));
        break;
    case 5:
        ops->rename(store, call, STORE_ROOT, named(a), look_up(server, STORE_ROOT, b), named(a), 0);
        break;
    case 6:
        ops->hold(store, number); /* so that some lose their names while they are held */
        break;
    case 7:
        ops->set_attributes(store, call, number, STORE_SET_SIZE, &values);
        break;
    case 8:
        ops->set_xattr(store, call, number, named("user.a"), a, sizeof(a), 0);
        break;
    default:
        ops->write(store, call, number, (int64_t)below(server, 1 << 20), a, sizeof(a));
    }
}

static int serve(const struct child *self, void *context)
{
    struct server *server = context;
    struct any_store any = {.in_directory = true};
    snprintf(any.path, sizeof(any.path), "%s", server->path);
    any_store_open(&any, &limits);
    server->store = any.store;
    for (uint64_t i = 0; i < UINT64_MAX; i++) {
        const uint64_t what = below(server, 8);
        if (what == 0) {
            replace_one(server);
        } else if (what == 1 && below(server, 4) == 0) {
            record_one(server);
        } else {
            do_anything(server);
        }
        child_report(self, '.');
    }
    return 1; /* nobody killed it */
}

/* ---- what is found afterwards ---- */

/* Return: the version that all of it is of; UINT32_MAX when it is not there. */
static uint32_t version_of(struct server *server, const char *name)
{
    static uint32_t data[SIZE / sizeof(uint32_t) + 1];
    struct store_attributes out;
    const struct store_ops *ops = server->store->ops;
    if (ops->lookup(server->store, STORE_ROOT, named(name), &out) == -ENOENT) {
        return UINT32_MAX;
    }
    assert_int_equal(ops->read(server->store, &server->call, out.number, 0, data, sizeof(data)),
                     SIZE);
    for (size_t i = 1; i < SIZE / sizeof(uint32_t); i++) {
        assert_int_equal(data[i], data[0]);
    }
    assert_int_equal(out.mode, S_IFREG | 0640);
    return data[0];
}

static int check_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                       uint64_t position)
{
    /* Only what was made is there, under its own name. */
    assert_true(memchr("rsxn", name.bytes[0], 4) != NULL && name.length <= 3);
    return 0;
}

static void check(struct server *server)
{
    struct any_store any = {.in_directory = true};
    char name[16];
    snprintf(any.path, sizeof(any.path), "%s", server->path);
    any_store_open(&any, &limits);
    server->store = any.store;
    any_store_check(&any, NULL, 0);
    for (uint32_t i = 0; i < REPLACED; i++) {
        snprintf(name, sizeof(name), "r%u", i);
        const uint32_t version = version_of(server, name);
        const uint32_t promised = server->promises->replaced[i];
        assert_true(promised == 0 || (version != UINT32_MAX && version >= promised));
        server->version =
            version != UINT32_MAX && version > server->version ? version : server->version;
    }
    for (uint32_t i = 0; i < server->promises->records; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        assert_int_equal(version_of(server, name), i);
    }
    assert_int_equal(
        any.store->ops->list(any.store, &server->call, STORE_ROOT, 0, check_entry, NULL), 0);
    any_store_check(&any, NULL, 0);
    any.store->ops->destroy(any.store);
}

/* After SIGKILL at any time: it begins again as it is, counts what it had counted, everything that was
 * completed is there, and a name leads to what it led to before a rename or after, whole. */
static void test_killed_at_any_time(void **state)
{
    const char *wanted = getenv("HF_SEED");
    const char *variant = getenv("HF_TEST_VARIANT");
    const int rounds = variant == NULL || strcmp(variant, "plain") == 0 ? ROUNDS : ROUNDS / 5;
    struct any_store any;
    any_store_make(&any, true, &limits, &(struct store_call){0});
    any.store->ops->destroy(any.store);
    struct promises *promises =
        mmap(NULL, sizeof(*promises), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(promises != MAP_FAILED);
    struct server server = {
        .path = any.path,
        .promises = promises,
        .random = wanted == NULL ? 88172645463325252 : strtoull(wanted, NULL, 10),
        .call.now.tv_sec = 1,
    };
    for (int round = 0; round < rounds; round++) {
        struct child child;
        const uint64_t steps = 1 + below(&server, 300);
        child_start(&child, serve, &server);
        for (uint64_t i = 0; i < steps; i++) {
            child_expect(&child, '.');
        }
        child_kill(&child);
        check(&server);
        below(&server, 2);
    }
    assert_true(promises->records > 0);
    munmap(promises, sizeof(*promises));
    any_store_open(&any, &limits);
    any_store_end(&any);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_at_any_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
