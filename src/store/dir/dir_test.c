/* What only the store in a directory promises: how it stands to its host. */
#include "lib/stores.h"
#include "store/dir/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct any_store any;
    struct store *store;
    const struct store_ops *ops;
    struct store_call call;
    int host; /* the directory, as anybody else has it */
};

static const struct store_limits no_limits = {STORE_NO_LIMIT, STORE_NO_LIMIT};

static int set_up_at(void **state, const char *parent)
{
    static struct world world;
    world = (struct world){.any.in_directory = true,
                           .call.now = {.tv_sec = 1000, .tv_nsec = 123456789}};
    assert_int_equal(folder_make_in(parent, world.any.path), 0);
    any_store_open(&world.any, &no_limits);
    world.store = world.any.store;
    world.ops = world.store->ops;
    world.host = open(world.any.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(world.host >= 0);
    *state = &world;
    return 0;
}

static int set_up(void **state)
{
    return set_up_at(state, "/tmp");
}

/* For what makes many files. */
static int set_up_fast(void **state)
{
    return set_up_at(state, folder_fast_parent());
}

static int tear_down(void **state)
{
    struct world *world = *state;
    dir_check(world->store, NULL, 0);
    close(world->host);
    any_store_end(&world->any);
    return 0;
}

static void end(struct world *world)
{
    dir_check(world->store, NULL, 0);
    world->ops->destroy(world->store);
}

static void begin(struct world *world, const struct store_limits *limits)
{
    any_store_open(&world->any, limits);
    world->store = world->any.store;
}

static struct store_name named(const char *text)
{
    return (struct store_name){text, strlen(text)};
}

static uint64_t make(struct world *world, uint64_t directory, const char *name, uint32_t mode)
{
    const struct store_new what = {
        .mode = mode, .owner = geteuid(), .group = getegid(), .target = named("/etc/passwd")};
    struct store_attributes out;
    assert_int_equal(
        world->ops->make(world->store, &world->call, directory, named(name), &what, &out), 0);
    assert_int_equal(out.links, S_ISDIR(mode) ? 2 : 1);
    return out.number;
}

static struct store_attributes look_up(struct world *world, uint64_t directory, const char *name)
{
    struct store_attributes out;
    assert_int_equal(world->ops->lookup(world->store, directory, named(name), &out), 0);
    return out;
}

static void write_text(struct world *world, uint64_t number, const char *text)
{
    const size_t size = strlen(text);
    assert_int_equal(world->ops->write(world->store, &world->call, number, 0, text, size), size);
}

static void expect_text(struct world *world, uint64_t number, const char *text)
{
    char bytes[64] = {0};
    assert_int_equal(world->ops->read(world->store, &world->call, number, 0, bytes, sizeof(bytes)),
                     strlen(text));
    assert_string_equal(bytes, text);
}

static void host_write(int directory, const char *name, const char *text)
{
    const int fd = openat(directory, name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *stream = opendir("/proc/self/fd");
    while (readdir(stream) != NULL) {
        count++;
    }
    closedir(stream);
    return count;
}

/* As it may be at any time, when others are opened. */
static void close_descriptor(struct world *world, uint64_t number)
{
    struct dir_store *dir = dir_begin(world->store);
    dir_close(dir, dir_find_inode(dir, number));
}

/* ---- the mirror ---- */

/* A tree with something of everything, made in the store. */
static void make_tree(struct world *world)
{
    const struct store_attributes times = {.atime = {.tv_sec = 5, .tv_nsec = 6},
                                           .mtime = {.tv_sec = 7, .tv_nsec = 89}};
    const uint64_t directory = make(world, STORE_ROOT, "d", S_IFDIR | 0751);
    const uint64_t file = make(world, directory, "file", S_IFREG | 0640);
    write_text(world, file, "some text");
    assert_int_equal(
        world->ops->link(world->store, &world->call, file, STORE_ROOT, named("other name")), 0);
    assert_int_equal(
        world->ops->set_xattr(world->store, &world->call, file, named("user.a"), "value", 5, 0), 0);
    assert_int_equal(
        world->ops->set_attributes(
            world->store, &world->call, file, STORE_SET_ATIME | STORE_SET_MTIME, &times),
        0);
    make(world, directory, "link", S_IFLNK | 0777);
    make(world, directory, "pipe", S_IFIFO | 0622);
    make(world, directory, "below", S_IFDIR | 01700);
    const uint64_t sparse = make(world, STORE_ROOT, "sparse", S_IFREG | 04755);
    assert_int_equal(
        world->ops->write(world->store, &world->call, sparse, INT64_C(8) << 30, "end", 3), 3);
}

static void expect_on_host(int directory, const char *name, mode_t mode, off_t size)
{
    struct stat status;
    assert_int_equal(fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(status.st_mode, mode);
    if (!S_ISDIR(mode)) {
        assert_true(status.st_size == size);
        assert_int_equal(status.st_mtim.tv_sec, S_ISREG(mode) && size == 9 ? 7 : 1000);
        assert_int_equal(status.st_mtim.tv_nsec, S_ISREG(mode) && size == 9 ? 89 : 123456789);
    }
}

/* What is made in the store is on the host, under the same names and with the same attributes, and
 * nothing else is. */
static void test_host_has_what_was_made(void **state)
{
    struct world *world = *state;
    char text[16] = {0};
    make_tree(world);
    end(world);
    const int directory = openat(world->host, "d", O_PATH | O_CLOEXEC);
    expect_on_host(world->host, "d", S_IFDIR | 0751, 0);
    expect_on_host(world->host, "other name", S_IFREG | 0640, 9);
    expect_on_host(directory, "file", S_IFREG | 0640, 9);
    expect_on_host(directory, "link", S_IFLNK | 0777, 11);
    expect_on_host(directory, "pipe", S_IFIFO | 0622, 0);
    expect_on_host(directory, "below", S_IFDIR | 01700, 0);
    expect_on_host(world->host, "sparse", S_IFREG | 04755, (INT64_C(8) << 30) + 3);
    const int file = openat(world->host, "other name", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(file, "user.a", text, sizeof(text)), 5);
    assert_string_equal(text, "value");
    assert_int_equal(read(file, text, sizeof(text)), 9);
    assert_string_equal(text, "some text");
    close(file);
    close(directory);

    unsigned entries = 0;
    DIR *stream = opendir(world->any.path);
    while (readdir(stream) != NULL) {
        entries++;
    }
    closedir(stream);
    assert_int_equal(entries, 2 + 3); /* ".", ".." */
    begin(world, &no_limits);
}

/* All that a walk through the store finds, but for the numbers and the times that a host has for
 * itself, as text. */
struct walk {
    struct world *world;
    uint64_t numbers[32];
    char names[32][STORE_MAX_NAME + 1];
    size_t count;
};

static int take_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                      uint64_t position)
{
    struct walk *walk = context;
    assert_true(walk->count < 32);
    walk->numbers[walk->count] = number;
    memcpy(walk->names[walk->count], name.bytes, name.length);
    walk->names[walk->count][name.length] = '\0';
    walk->count++;
    return 0;
}

static uint64_t digest_text(uint64_t digest, const char *text)
{
    for (; *text != '\0'; text++) {
        digest = (digest ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    }
    return digest;
}

/* The sum of its entries' digests, whatever their order. */
static uint64_t digest_of(struct world *world, uint64_t directory)
{
    struct walk walk = {.world = world};
    const struct store_ops *ops = world->store->ops;
    uint64_t sum = 0;
    world->call.no_atime = true;
    assert_int_equal(ops->list(world->store, &world->call, directory, 0, take_entry, &walk), 0);
    for (size_t i = 0; i < walk.count; i++) {
        struct store_attributes a;
        char text[512] = {0};
        char data[64] = {0};
        char xattrs[64] = {0};
        assert_int_equal(ops->get_attributes(world->store, walk.numbers[i], &a), 0);
        if (S_ISREG(a.mode)) {
            ops->read(world->store, &world->call, a.number, 0, data, sizeof(data) - 1);
        } else if (S_ISLNK(a.mode)) {
            ops->read_link(world->store, &world->call, a.number, data, sizeof(data) - 1);
        }
        ops->list_xattrs(world->store, a.number, xattrs, sizeof(xattrs));
        snprintf(text,
                 sizeof(text),
                 "%s %o %u %u %u %" PRIu64 " %" PRIu64 " %ld.%ld %s %s",
                 walk.names[i],
                 a.mode,
                 a.links,
                 a.owner,
                 a.group,
                 a.size,
                 a.pages,
                 (long)a.mtime.tv_sec,
                 a.mtime.tv_nsec,
                 data,
                 xattrs);
        uint64_t digest = digest_text(UINT64_C(0xcbf29ce484222325), text);
        if (S_ISDIR(a.mode)) {
            digest = digest * 31 + digest_of(world, a.number);
        }
        sum += digest;
    }
    return sum;
}

/* A store that is ended and made again shows the same tree; a file with two names is one. */
static void test_same_tree_when_made_again(void **state)
{
    struct world *world = *state;
    make_tree(world);
    const uint64_t before = digest_of(world, STORE_ROOT);
    end(world);
    begin(world, &no_limits);
    assert_true(digest_of(world, STORE_ROOT) == before);
    const uint64_t directory = look_up(world, STORE_ROOT, "d").number;
    const struct store_attributes file = look_up(world, directory, "file");
    assert_true(look_up(world, STORE_ROOT, "other name").number == file.number);
    assert_int_equal(file.links, 2);
    assert_int_equal(file.atime.tv_sec, 5);
    assert_int_equal(file.atime.tv_nsec, 6);
}

/* Modes are as the client says whatever the umask is, which is the process's own. */
static void test_umask_is_left_alone(void **state)
{
    struct world *world = *state;
    const mode_t mask = umask(077);
    static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK};
    for (size_t i = 0; i < 4; i++) {
        const char name[] = {(char)('a' + i), '\0'};
        make(world, STORE_ROOT, name, types[i] | 0666);
        assert_int_equal(look_up(world, STORE_ROOT, name).mode, types[i] | 0666);
    }
    assert_int_equal(umask(mask), 077);
}

/* An exact time is on the host once the file is synced, closed there, or released. */
static void test_times_reach_the_host(void **state)
{
    struct world *world = *state;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    struct stat status;
    for (time_t second = 10; second < 14; second++) {
        world->call.now.tv_sec = second;
        write_text(world, number, "x");
        if (second == 10) {
            assert_int_equal(world->ops->sync(world->store, number), 0);
        } else if (second == 11) {
            assert_int_equal(world->ops->sync(world->store, 0), 0);
        } else if (second == 12) {
            close_descriptor(world, number);
        } else {
            assert_int_equal(world->ops->hold(world->store, number), 0);
            assert_int_equal(world->ops->release(world->store, number), 0);
        }
        assert_int_equal(fstatat(world->host, "a", &status, 0), 0);
        assert_int_equal(status.st_mtim.tv_sec, second);
        assert_int_equal(status.st_mtim.tv_nsec, 123456789);
    }
}

/* ---- names ---- */

/* A file goes on under whichever of its names is left, and is the same to those who have its number. */
static void test_any_name_is_as_good(void **state)
{
    struct world *world = *state;
    const uint64_t number = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    const uint64_t directory = make(world, STORE_ROOT, "d", S_IFDIR | 0755);
    const struct store_ops *ops = world->ops;
    write_text(world, number, "text");
    assert_int_equal(ops->link(world->store, &world->call, number, directory, named("b")), 0);
    assert_int_equal(ops->unlink(world->store, &world->call, STORE_ROOT, named("a")), 0);
    close_descriptor(world, number);
    expect_text(world, number, "text");
    assert_int_equal(ops->link(world->store, &world->call, number, STORE_ROOT, named("c")), 0);
    assert_int_equal(ops->unlink(world->store, &world->call, STORE_ROOT, named("c")), 0);
    assert_int_equal(
        ops->rename(world->store, &world->call, STORE_ROOT, named("d"), STORE_ROOT, named("e"), 0),
        0);
    close_descriptor(world, number);
    expect_text(world, number, "text");
    assert_true(look_up(world, directory, "b").number == number);
}

/* What is removed while it is held is nowhere on the host, and can still be used. */
static void test_no_hidden_orphans(void **state)
{
    struct world *world = *state;
    const struct store_ops *ops = world->ops;
    const uint64_t file = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    const uint64_t directory = make(world, STORE_ROOT, "d", S_IFDIR | 0755);
    write_text(world, file, "old");
    assert_int_equal(ops->hold(world->store, file), 0);
    assert_int_equal(ops->hold(world->store, directory), 0);
    close_descriptor(world, file);
    close_descriptor(world, directory);
    assert_int_equal(ops->unlink(world->store, &world->call, STORE_ROOT, named("a")), 0);
    assert_int_equal(ops->remove_directory(world->store, &world->call, STORE_ROOT, named("d")), 0);
    struct dirent *entry;
    DIR *stream = opendir(world->any.path);
    while ((entry = readdir(stream)) != NULL) {
        assert_int_equal(entry->d_name[0], '.');
    }
    closedir(stream);
    const uint64_t other = make(world, STORE_ROOT, "a", S_IFREG | 0644);
    assert_true(other != file);
    write_text(world, other, "new");
    expect_text(world, file, "old");
    expect_text(world, other, "new");
    struct store_attributes out;
    assert_int_equal(ops->lookup(world->store, directory, named("x"), &out), -ENOENT);
    assert_int_equal(ops->release(world->store, file), 0);
    assert_int_equal(ops->release(world->store, directory), 0);
    assert_int_equal(ops->get_attributes(world->store, file, &out), -ESTALE);
    assert_int_equal(ops->get_attributes(world->store, directory, &out), -ESTALE);
}

/* ---- what somebody else does ---- */

/* A link is a link: nothing is ever done to what it leads to, whoever put it there and whenever. */
static void test_links_are_not_followed(void **state)
{
    struct world *world = *state;
    const struct store_ops *ops = world->ops;
    char outside[FOLDER_PATH_BYTES];
    char text[FOLDER_PATH_BYTES];
    struct store_attributes out;
    assert_int_equal(folder_make(outside), 0);
    assert_int_equal(symlinkat(outside, world->host, "out"), 0);
    const uint64_t link = look_up(world, STORE_ROOT, "out").number;
    const struct store_new what = {.mode = S_IFREG, .owner = geteuid(), .group = getegid()};
    assert_int_equal(ops->lookup(world->store, link, named("x"), &out), -ENOTDIR);
    assert_int_equal(ops->make(world->store, &world->call, link, named("x"), &what, NULL),
                     -ENOTDIR);
    assert_int_equal(ops->read_link(world->store, &world->call, link, text, sizeof(text)),
                     strlen(outside));
    assert_int_equal(ops->write(world->store, &world->call, link, 0, "x", 1), -EINVAL);

    make(world, STORE_ROOT, "d", S_IFDIR | 0755);
    make(world, STORE_ROOT, "f", S_IFREG | 0644);
    end(world);
    begin(world, &no_limits);
    const uint64_t directory = look_up(world, STORE_ROOT, "d").number;
    const uint64_t file = look_up(world, STORE_ROOT, "f").number;
    close_descriptor(world, directory);
    assert_int_equal(unlinkat(world->host, "d", AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat(outside, world->host, "d"), 0);
    assert_int_equal(unlinkat(world->host, "f", 0), 0);
    assert_int_equal(symlinkat("/etc/passwd", world->host, "f"), 0);
    assert_int_equal(ops->make(world->store, &world->call, directory, named("x"), &what, NULL),
                     -ESTALE);
    assert_int_equal(ops->read(world->store, &world->call, file, 0, text, 1), -ESTALE);
    assert_int_equal(folder_remove(outside), 0); /* nothing was made in it */
    assert_true(S_ISLNK(look_up(world, STORE_ROOT, "d").mode));
    assert_true(S_ISLNK(look_up(world, STORE_ROOT, "f").mode));
}

/* A file that somebody else replaced is gone, even when the new one has its number on the host. */
static void test_replaced_is_stale(void **state)
{
    struct world *world = *state;
    const struct store_ops *ops = world->ops;
    struct store_attributes out;
    char text[8];
    host_write(world->host, "a", "first");
    const uint64_t first = look_up(world, STORE_ROOT, "a").number;
    assert_int_equal(unlinkat(world->host, "a", 0), 0);
    host_write(world->host, "a", "second");
    assert_int_equal(ops->read(world->store, &world->call, first, 0, text, 8), -ESTALE);
    assert_int_equal(ops->get_attributes(world->store, first, &out), -ESTALE);
    assert_int_equal(ops->write(world->store, &world->call, first, 0, text, 8), -ESTALE);
    const uint64_t second = look_up(world, STORE_ROOT, "a").number;
    assert_true(second != first);
    expect_text(world, second, "second");

    /* Nor does a pipe in a file's place make anybody wait. */
    end(world);
    begin(world, &no_limits);
    const uint64_t file = look_up(world, STORE_ROOT, "a").number;
    assert_int_equal(unlinkat(world->host, "a", 0), 0);
    assert_int_equal(mkfifoat(world->host, "a", 0644), 0);
    assert_int_equal(ops->read(world->store, &world->call, file, 0, text, 8), -ESTALE);
    assert_int_equal(ops->write(world->store, &world->call, file, 0, text, 8), -ESTALE);
    assert_true(S_ISFIFO(look_up(world, STORE_ROOT, "a").mode));
}

/* Directories that somebody else moved about, each into the other, lead nowhere instead of round and
 * round. */
static void test_moved_into_each_other(void **state)
{
    struct world *world = *state;
    assert_int_equal(mkdirat(world->host, "a", 0755), 0);
    assert_int_equal(mkdirat(world->host, "a/b", 0755), 0);
    host_write(world->host, "a/b/f", "text");
    const uint64_t a = look_up(world, STORE_ROOT, "a").number;
    const uint64_t b = look_up(world, a, "b").number;
    const uint64_t file = look_up(world, b, "f").number;
    /* Below b, which is open here, a appears; b is still thought to be below a. */
    assert_int_equal(renameat(world->host, "a/b", world->host, "b"), 0);
    assert_int_equal(renameat(world->host, "a", world->host, "b/a"), 0);
    assert_true(look_up(world, b, "a").number == a);
    close_descriptor(world, a);
    close_descriptor(world, b);
    char text[8];
    assert_int_equal(world->ops->read(world->store, &world->call, file, 0, text, 8), -ESTALE);
    assert_true(look_up(world, STORE_ROOT, "b").number == b);
    expect_text(world, file, "text");
}

/* ---- descriptors ---- */

/* Thousands of files can be held and used; only so many are open at the host. */
static void test_descriptors_stay_bounded(void **state)
{
    struct world *world = *state;
    const unsigned count = 5000;
    const unsigned before = count_descriptors();
    uint64_t first = 0;
    uint64_t last = 0;
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        last = make(world, STORE_ROOT, name, S_IFREG | 0644);
        first = i == 0 ? last : first;
        assert_int_equal(world->ops->hold(world->store, last), 0);
        write_text(world, last, name);
    }
    assert_true(last - first == count - 1);
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        expect_text(world, first + i, name);
    }
    assert_true(count_descriptors() <= before + DIR_MAX_OPEN);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(world->ops->release(world->store, first + i), 0);
    }
}

/* A tree may be deeper than there may be descriptors, or than a path may be long. */
static void test_deep_tree(void **state)
{
    struct world *world = *state;
    const unsigned depth = 600;
    const unsigned before = count_descriptors();
    uint64_t directory = STORE_ROOT;
    for (unsigned i = 0; i < depth; i++) {
        directory = make(world, directory, "directory", S_IFDIR | 0755);
    }
    uint64_t file = make(world, directory, "file", S_IFREG | 0644);
    write_text(world, file, "deep");
    make(world, make(world, STORE_ROOT, "other", S_IFDIR | 0755), "moved", S_IFREG | 0644);
    end(world);

    /* It is counted, and found, from nothing. */
    const struct store_limits limits = {INT64_C(1) << 30, depth + 1000};
    begin(world, &limits);
    struct store_usage usage;
    store_get_usage(world->store, &usage);
    assert_int_equal(usage.free_inodes, 1000 - 4);
    directory = STORE_ROOT;
    for (unsigned i = 0; i < depth; i++) {
        directory = look_up(world, directory, "directory").number;
    }
    file = look_up(world, directory, "file").number;
    /* Two ways down in one operation; the second is longer than the bound, and nothing of it is open
     * any more. */
    for (unsigned i = 0; i < DIR_MAX_OPEN; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        make(world, STORE_ROOT, name, S_IFREG | 0644);
    }
    const uint64_t other = look_up(world, STORE_ROOT, "other").number;
    assert_int_equal(
        world->ops->rename(
            world->store, &world->call, other, named("moved"), directory, named("moved"), 0),
        0);
    look_up(world, directory, "moved");
    expect_text(world, file, "deep");
    assert_true(count_descriptors() <= before + DIR_MAX_OPEN);
    end(world);
    begin(world, &no_limits);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_FAST(name) cmocka_unit_test_setup_teardown(name, set_up_fast, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_host_has_what_was_made),
        TEST(test_same_tree_when_made_again),
        TEST(test_umask_is_left_alone),
        TEST(test_times_reach_the_host),
        TEST(test_any_name_is_as_good),
        TEST(test_no_hidden_orphans),
        TEST(test_links_are_not_followed),
        TEST(test_replaced_is_stale),
        TEST(test_moved_into_each_other),
        TEST_FAST(test_descriptors_stay_bounded),
        TEST_FAST(test_deep_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
