/* Every allocation and every change at the host fails in turn. */
#include "lib/stores.h"
#include "store/dir/dir.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#define STEPS 1500
#define PAGES 60
#define INODES 40

/* ---- what the linker takes for the C library's ---- */

static unsigned calls_left = 0; /* counts down to the one that fails; 0: none does */
static int64_t allocations = 0; /* that are there */

static bool fails(int error)
{
    if (calls_left == 0 || --calls_left > 0) {
        return false;
    }
    errno = error;
    return true;
}

/* A function that fails in its turn, or else does what the C library's own does. */
#define FAILING(result, name, parameters, arguments)                                               \
    result name parameters                                                                         \
    {                                                                                              \
        result(*next) parameters;                                                                  \
        void *symbol = dlsym(RTLD_NEXT, #name);                                                    \
        memcpy(&next, &symbol, sizeof(next));                                                      \
        return fails(EIO) ? -1 : next arguments;                                                   \
    }

FAILING(int, mkdirat, (int at, const char *name, mode_t mode), (at, name, mode))
FAILING(int, mknodat, (int at, const char *name, mode_t mode, dev_t device),
        (at, name, mode, device))
FAILING(int, symlinkat, (const char *target, int at, const char *name), (target, at, name))
FAILING(int, linkat, (int from, const char *name, int to, const char *new_name, int flags),
        (from, name, to, new_name, flags))
FAILING(int, unlinkat, (int at, const char *name, int flags), (at, name, flags))
FAILING(int, renameat2, (int from, const char *name, int to, const char *new_name, unsigned flags),
        (from, name, to, new_name, flags))
FAILING(int, fchownat, (int at, const char *name, uid_t owner, gid_t group, int flags),
        (at, name, owner, group, flags))
FAILING(int, fchmod, (int fd, mode_t mode), (fd, mode))
FAILING(int, ftruncate, (int fd, off_t size), (fd, size))
FAILING(int, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
FAILING(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t offset),
        (fd, data, size, offset))
FAILING(int, statx,
        (int at, const char *restrict name, int flags, unsigned mask, struct statx *restrict out),
        (at, name, flags, mask, out))
FAILING(int, setxattr,
        (const char *path, const char *name, const void *value, size_t size, int flags),
        (path, name, value, size, flags))
FAILING(int, removexattr, (const char *path, const char *name), (path, name))

static unsigned syncs = 0;

int fsync(int fd)
{
    syncs++;
    return fails(EIO) ? -1 : fdatasync(fd);
}

/* openat2() is the only one that goes this way. */
long syscall(long number, ...)
{
    long (*next)(long, ...);
    void *symbol = dlsym(RTLD_NEXT, "syscall");
    memcpy(&next, &symbol, sizeof(next));
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        arguments[i] = va_arg(list, long);
    }
    va_end(list);
    return fails(EIO) ? -1
                      : next(number,
                             arguments[0],
                             arguments[1],
                             arguments[2],
                             arguments[3],
                             arguments[4],
                             arguments[5]);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS false
#else
#define COUNTS_ALLOCATIONS true

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *pointer);

void *malloc(size_t size)
{
    void *pointer = fails(ENOMEM) ? NULL : __libc_malloc(size);
    allocations += pointer != NULL;
    return pointer;
}

void *calloc(size_t count, size_t size)
{
    void *pointer = fails(ENOMEM) ? NULL : __libc_calloc(count, size);
    allocations += pointer != NULL;
    return pointer;
}

void *realloc(void *old, size_t size)
{
    void *pointer = fails(ENOMEM) ? NULL : __libc_realloc(old, size);
    allocations += old == NULL && pointer != NULL;
    return pointer;
}

void free(void *pointer)
{
    allocations -= pointer != NULL;
    __libc_free(pointer);
}
#endif

/* ---- what anybody can see, as one number ---- */

struct world {
    struct any_store any;
    struct store_holder holder;
    struct store_call call;
    uint64_t random;
    unsigned failures;
    uint8_t data[8 * STORE_PAGE_SIZE];
};

static void mix(uint64_t *digest, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        *digest = (*digest ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    }
}

static uint64_t digest_data(int fd)
{
    static uint8_t data[STORE_PAGE_SIZE];
    uint64_t digest = 1;
    off_t at = 0;
    while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
        const ssize_t size = pread(fd, data, sizeof(data), at);
        mix(&digest, &at, sizeof(at));
        mix(&digest, data, (size_t)size);
        at += size;
    }
    return digest;
}

static uint64_t digest_directory(int directory);

static uint64_t digest_entry(int directory, const char *name)
{
    uint64_t digest = 1;
    struct stat status;
    assert_int_equal(fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW), 0);
    const uint64_t seen[] = {status.st_mode,
                             status.st_uid,
                             status.st_gid,
                             S_ISDIR(status.st_mode) ? 0 : status.st_nlink,
                             S_ISDIR(status.st_mode) ? 0 : (uint64_t)status.st_size};
    mix(&digest, name, strlen(name));
    mix(&digest, seen, sizeof(seen));
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
        const int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
        const uint64_t inside = S_ISDIR(status.st_mode) ? digest_directory(fd) : digest_data(fd);
        const ssize_t xattr = fgetxattr(fd, "user.a", NULL, 0);
        mix(&digest, &inside, sizeof(inside));
        mix(&digest, &xattr, sizeof(xattr));
        close(fd);
    }
    return digest;
}

static uint64_t digest_directory(int directory)
{
    uint64_t digest = 0;
    DIR *stream = fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            digest += digest_entry(directory, entry->d_name);
        }
    }
    closedir(stream);
    return digest;
}

static uint64_t digest_of(const struct world *world)
{
    const int fd = open(world->any.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    uint64_t digest = digest_directory(fd);
    close(fd);
    mix(&digest, &world->any.store->pages, sizeof(world->any.store->pages));
    mix(&digest, &world->any.store->inodes, sizeof(world->any.store->inodes));
    mix(&digest, &world->holder.pages, sizeof(world->holder.pages));
    mix(&digest, &world->holder.inodes, sizeof(world->holder.inodes));
    return digest;
}

/* ---- operations ---- */

static uint64_t below(struct world *world, uint64_t bound)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (world->random >> 11) % bound;
}

static struct store_name any_name(struct world *world)
{
    return (struct store_name){&"abcdefgh"[below(world, 8)], 1};
}

/* A number that leads somewhere, more often than not. */
static uint64_t any_number(struct world *world)
{
    const uint64_t number = 1 + below(world, world->any.store->own_number);
    return below(world, 4) == 0 ? STORE_ROOT : number;
}

static int64_t any_make(struct world *world)
{
    static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
    static char target[200];
    memset(target, 't', sizeof(target));
    const struct store_new what = {
        .mode = types[below(world, 5)] | (below(world, 4) == 0 ? 06755 : 0750),
        .owner = geteuid(),
        .group = geteuid() == 0 ? (uint32_t)below(world, 2) : getegid(),
        .target = {target, 1 + below(world, sizeof(target))},
    };
    const struct store_ops *ops = world->any.store->ops;
    const uint64_t directory = below(world, 2) == 0 ? STORE_ROOT : any_number(world);
    if (below(world, 10) == 0) {
        return ops->make_unnamed(world->any.store, &world->call, directory, &what, true, NULL);
    }
    return ops->make(world->any.store, &world->call, directory, any_name(world), &what, NULL);
}

static int64_t any_data(struct world *world, uint64_t number)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE};
    const struct store_ops *ops = world->any.store->ops;
    struct store *store = world->any.store;
    const int64_t offset = (int64_t)below(world, 6 * STORE_PAGE_SIZE);
    const size_t size = below(world, sizeof(world->data));
    const struct store_attributes values = {.size = below(world, 1 << 16),
                                            .mode = below(world, 2) == 0 ? 04755 : 0700,
                                            .owner = UINT32_MAX,
                                            .group = getegid()};
    switch (below(world, 5)) {
    case 0:
        return ops->write(store, &world->call, number, offset, world->data, size);
    case 1:
        return ops->allocate(
            store, &world->call, number, modes[below(world, 3)], offset, (int64_t)size + 1);
    case 2:
        return ops->set_attributes(store, &world->call, number, (uint32_t)below(world, 8), &values);
    case 3:
        return below(world, 2) == 0
                   ? ops->set_xattr(store,
                                    &world->call,
                                    number,
                                    (struct store_name){"user.a", 6},
                                    world->data,
                                    below(world, 2500),
                                    0)
                   : ops->remove_xattr(
                         store, &world->call, number, (struct store_name){"user.a", 6});
    default:
        return ops->copy(store, &world->call, number, 0, any_number(world), offset, size);
    }
}

static int count_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                       uint64_t position)
{
    return 0;
}

/* Which cannot fail: what the host tells of an open file is in its memory. */
static int64_t release(struct world *world, uint64_t number)
{
    const unsigned left = calls_left;
    calls_left = 0;
    const int64_t result = world->any.store->ops->release(world->any.store, number);
    calls_left = left;
    return result;
}

static int64_t any_operation(struct world *world)
{
    static const unsigned flags[] = {0, 0, RENAME_EXCHANGE, RENAME_NOREPLACE};
    const struct store_ops *ops = world->any.store->ops;
    struct store *store = world->any.store;
    const uint64_t number = any_number(world);
    struct store_attributes out;
    switch (below(world, 14)) {
    case 0:
    case 1:
    case 2:
        return any_make(world);
    case 3:
        return ops->link(store, &world->call, number, any_number(world), any_name(world));
    case 4:
        return ops->unlink(store, &world->call, any_number(world), any_name(world));
    case 5:
        return ops->remove_directory(store, &world->call, STORE_ROOT, any_name(world));
    case 6:
    case 7:
        return ops->rename(store,
                           &world->call,
                           any_number(world),
                           any_name(world),
                           any_number(world),
                           any_name(world),
                           flags[below(world, 4)]);
    case 8:
        return ops->lookup(store, number, any_name(world), &out);
    case 9:
        return ops->list(store, &world->call, number, 0, count_entry, NULL);
    case 10:
        return below(world, 2) == 0 ? ops->hold(store, number) : release(world, number);
    default:
        return any_data(world, number);
    }
}

/* From the beginning, with what is on the host; what was held is not. */
static void begin_again(struct world *world, const struct store_limits *limits)
{
    store_holder_deinit(&world->holder);
    world->any.store->ops->destroy(world->any.store);
    any_store_open(&world->any, limits);
    store_holder_init(&world->holder, world->any.store);
    store_reserve(&world->holder, below(world, 10) * STORE_PAGE_SIZE, below(world, 4));
}

/* An operation that fails for want of memory, or since the host fails, changes nothing that anybody
 * can see, nor what is counted, wherever it was; and it can be tried again. */
static void test_what_fails_changes_nothing(void **state)
{
    static struct world world = {.random = 88172645463325252};
    const char *wanted = getenv("HF_SEED");
    const struct store_limits limits = {PAGES * STORE_PAGE_SIZE, INODES};
    struct store_holder *const holders[] = {&world.holder};
    world.random = wanted == NULL ? world.random : strtoull(wanted, NULL, 10);
    any_store_make(&world.any, true, &limits, &world.call);
    store_holder_init(&world.holder, world.any.store);
    const int64_t allocated = allocations;
    for (unsigned step = 0; step < STEPS; step++) {
        world.call.now.tv_sec++;
        world.call.holder = below(&world, 3) == 0 ? NULL : &world.holder;
        world.call.drop_privileges = below(&world, 2) == 0;
        const uint64_t before = digest_of(&world);
        const uint64_t random = world.random;
        for (unsigned nth = 1;; nth++) {
            world.random = random;
            errno = 0;
            calls_left = nth;
            const int64_t result = any_operation(&world);
            const bool failed = calls_left == 0;
            calls_left = 0;
            dir_check(world.any.store, holders, 1);
            if (result < 0 && digest_of(&world) != before) {
                fail_msg("step %u, call %u: %d", step, nth, (int)result);
            }
            if (result >= 0 || !failed) {
                break;
            }
            world.failures++;
        }
        if (step % 50 == 49) {
            begin_again(&world, &limits);
        }
    }
    assert_true(world.failures > STEPS / 2);
    begin_again(&world, &limits);
    assert_true(!COUNTS_ALLOCATIONS || allocations == allocated);
    store_holder_deinit(&world.holder);
    any_store_end(&world.any);
}

/* A store that cannot be made leaves nothing behind, and the descriptor to its caller. */
static void test_no_store_that_fails(void **state)
{
    const struct store_limits limits = {PAGES * STORE_PAGE_SIZE, INODES};
    struct any_store any;
    any_store_make(&any, true, &limits, &(struct store_call){0});
    const struct store_new what = {.mode = S_IFDIR | 0755, .owner = geteuid(), .group = getegid()};
    assert_int_equal(any.store->ops->make(any.store,
                                          &(struct store_call){0},
                                          STORE_ROOT,
                                          (struct store_name){"d", 1},
                                          &what,
                                          NULL),
                     0);
    any.store->ops->destroy(any.store);
    const int fd = open(any.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int64_t allocated = allocations;
    int result = -ENOMEM;
    unsigned failures = 0;
    while (result < 0) {
        calls_left = ++failures;
        result = dir_store_new(fd, &limits, &any.store);
        calls_left = 0;
        assert_true(result == 0 || result == -ENOMEM || result == -EIO);
        assert_true(result == 0 || allocations == allocated);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    }
    assert_true(failures > 5);
    any_store_end(&any);
}

/* How many descriptors are synced for it. */
static unsigned count_syncs(struct store *store, uint64_t number)
{
    syncs = 0;
    assert_int_equal(store->ops->sync(store, number), 0);
    return syncs;
}

/* What is synced is found again: so are the directories where its name is new, up to one that was
 * synced since, and no others. */
static void test_names_are_synced_with_files(void **state)
{
    const struct store_limits limits = {STORE_NO_LIMIT, STORE_NO_LIMIT};
    const struct store_call call = {0};
    struct store_new what = {.mode = S_IFDIR | 0755, .owner = geteuid(), .group = getegid()};
    const struct store_name a = {"a", 1};
    const struct store_name b = {"b", 1};
    struct any_store any;
    struct store_attributes directory;
    struct store_attributes file;
    any_store_make(&any, true, &limits, &call);
    struct store *store = any.store;
    const struct store_ops *ops = store->ops;
    assert_int_equal(ops->make(store, &call, STORE_ROOT, a, &what, &directory), 0);
    what.mode = S_IFREG | 0644;
    assert_int_equal(ops->make(store, &call, directory.number, a, &what, &file), 0);
    assert_int_equal(count_syncs(store, file.number), 3);
    assert_int_equal(count_syncs(store, file.number), 1);
    assert_int_equal(ops->rename(store, &call, directory.number, a, directory.number, b, 0), 0);
    assert_int_equal(count_syncs(store, file.number), 2);
    assert_int_equal(ops->link(store, &call, file.number, STORE_ROOT, b), 0);
    assert_int_equal(count_syncs(store, file.number), 2);
    assert_int_equal(ops->link(store, &call, file.number, directory.number, a), 0);
    assert_int_equal(count_syncs(store, 0), 0); /* the whole filesystem of the host */
    assert_int_equal(count_syncs(store, file.number), 1);

    /* And what could not be synced is said. */
    calls_left = 1;
    assert_int_equal(ops->sync(store, file.number), -EIO);
    calls_left = 0;
    any_store_end(&any);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fails_changes_nothing),
        cmocka_unit_test(test_no_store_that_fails),
        cmocka_unit_test(test_names_are_synced_with_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
