/*
 * Threads of two clients on one tree, with caches that hold next to nothing: inodes come and go,
 * and lose and get their nodes, while others look them up, open, link, rename and remove them.
 *
 * What is at a name tells which name it is, so an answer about another file does not go unnoticed;
 * and that every reference and every byte is given back is checked when the clients detach.
 */
#include "fs/filesystem.h"

#include "lib/fs_world.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 8
#define CLIENTS 2
#define DIRECTORIES 4
#define NAMES 24

/* The first names are of files, then come links, and at last directories. */
#define FIRST_LINK 16
#define FIRST_DIRECTORY 20

struct world {
    struct test_server server;
    char root[80];
    hf_client *clients[CLIENTS];
    hf_fs *fs[CLIENTS];
    _Atomic int failures; /* assertions are for the main thread */
};

struct worker {
    struct world *world;
    hf_fs *fs;
    unsigned random;
};

static void expect(struct worker *worker, bool condition, const char *text, int line)
{
    if (!condition && atomic_fetch_add(&worker->world->failures, 1) < 10) {
        print_message("# line %d: not true: %s\n", line, text);
    }
}
#define EXPECT(worker, condition) expect(worker, condition, #condition, __LINE__)

static unsigned below(struct worker *worker, unsigned limit)
{
    worker->random = worker->random * 1103515245 + 12345;
    return (worker->random >> 16) % limit;
}

struct path {
    char text[24];
};

static struct path path_in_some_directory(struct worker *worker, unsigned name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "d%u/n%u", below(worker, DIRECTORIES), name);
    return path;
}

static mode_t type_of(unsigned name)
{
    return name < FIRST_LINK ? S_IFREG : name < FIRST_DIRECTORY ? S_IFLNK : S_IFDIR;
}

/* ---- what threads do with a name ---- */

/* A file of that name has so many bytes, as soon as it is done. */
static void make(struct worker *worker, unsigned name)
{
    const struct path path = path_in_some_directory(worker, name);
    char bytes[NAMES];
    int result;
    if (type_of(name) == S_IFLNK) {
        char target[8];
        snprintf(target, sizeof target, "t%u", name);
        result = hf_symlink(worker->fs, target, path.text);
    } else if (type_of(name) == S_IFDIR) {
        result = hf_mkdir(worker->fs, path.text, 0755);
    } else {
        result = hf_open(worker->fs, path.text, O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (result >= 0) {
            memset(bytes, 'a' + (int)name, sizeof bytes);
            EXPECT(worker, hf_write(worker->fs, result, bytes, name + 1) == (ssize_t)name + 1);
            EXPECT(worker, hf_close(worker->fs, result) == 0);
            result = 0;
        }
    }
    EXPECT(worker, result == 0 || result == -EEXIST);
}

static void take_away(struct worker *worker, unsigned name)
{
    const struct path path = path_in_some_directory(worker, name);
    int result = type_of(name) == S_IFDIR ? hf_rmdir(worker->fs, path.text)
                                          : hf_unlink(worker->fs, path.text);
    EXPECT(worker, result == 0 || result == -ENOENT);
}

static void look(struct worker *worker, unsigned name)
{
    const struct path path = path_in_some_directory(worker, name);
    struct stat attributes;
    int result = hf_lstat(worker->fs, path.text, &attributes);
    EXPECT(worker, result == 0 || result == -ENOENT);
    if (result == 0) {
        /* Between being found and being asked it may have lost its name, as on Linux. */
        EXPECT(worker, (attributes.st_mode & S_IFMT) == type_of(name));
    }
    if (result == 0 && type_of(name) == S_IFREG) {
        EXPECT(worker, attributes.st_size == 0 || attributes.st_size == name + 1);
    }
}

static void look_inside(struct worker *worker, unsigned name)
{
    const struct path path = path_in_some_directory(worker, name);
    char bytes[NAMES + 1] = "";
    char target[8];
    if (type_of(name) == S_IFLNK) {
        ssize_t length = hf_readlink(worker->fs, path.text, bytes, sizeof bytes - 1);
        EXPECT(worker, length > 0 || length == -ENOENT);
        snprintf(target, sizeof target, "t%u", name);
        EXPECT(worker, length < 0 || strcmp(bytes, target) == 0);
    } else if (type_of(name) == S_IFREG) {
        struct stat attributes;
        int fd = hf_open(worker->fs, path.text, O_RDWR, 0);
        EXPECT(worker, fd >= 0 || fd == -ENOENT);
        if (fd < 0) {
            return;
        }
        ssize_t size = hf_pread(worker->fs, fd, bytes, sizeof bytes, 0);
        EXPECT(worker, size == 0 || size == (ssize_t)name + 1);
        EXPECT(worker, size == 0 || bytes[size - 1] == 'a' + (char)name);
        EXPECT(worker, hf_fstat(worker->fs, fd, &attributes) == 0);
        EXPECT(worker, attributes.st_size == 0 || attributes.st_size == name + 1);
        EXPECT(worker, hf_fchmod(worker->fs, fd, 0600) == 0);
        EXPECT(worker, hf_close(worker->fs, fd) == 0);
    }
}

static bool is_usual(int result)
{
    return result == 0 || result == -ENOENT || result == -EEXIST || result == -EMLINK;
}

static void give_another_name(struct worker *worker, unsigned name)
{
    const struct path from = path_in_some_directory(worker, name);
    const struct path to = path_in_some_directory(worker, name);
    if (type_of(name) != S_IFDIR && below(worker, 2) == 0) {
        EXPECT(worker, is_usual(hf_link(worker->fs, from.text, to.text)));
    } else {
        EXPECT(worker, is_usual(hf_rename(worker->fs, from.text, to.text)));
    }
}

static void change(struct worker *worker, unsigned name)
{
    const struct path path = path_in_some_directory(worker, name);
    char value[8];
    if (type_of(name) == S_IFREG) {
        EXPECT(worker, is_usual(hf_chmod(worker->fs, path.text, 0644)));
        ssize_t size = hf_getxattr(worker->fs, path.text, "user.none", value, sizeof value);
        EXPECT(worker, size == -ENODATA || size == -ENOENT || size == -EOPNOTSUPP);
    } else if (type_of(name) == S_IFDIR) {
        struct stat attributes;
        char parent[sizeof path.text + 4];
        snprintf(parent, sizeof parent, "%s/..", path.text);
        int result = hf_stat(worker->fs, parent, &attributes);
        EXPECT(worker, result == 0 || result == -ENOENT);
    }
}

static void read_a_directory(struct worker *worker, unsigned name)
{
    struct path path;
    hf_dirent entry;
    struct stat attributes;
    snprintf(path.text, sizeof path.text, "d%u", name % DIRECTORIES);
    int fd = hf_open(worker->fs, path.text, O_RDONLY | O_DIRECTORY, 0);
    EXPECT(worker, fd >= 0);
    while (fd >= 0 && hf_readdir(worker->fs, fd, &entry) == 1) {
        if (entry.name[0] == 'n') {
            const unsigned long number = strtoul(entry.name + 1, NULL, 10);
            EXPECT(worker, (mode_t)DTTOIF(entry.type) == type_of((unsigned)number));
            int result = hf_fstatat(worker->fs, fd, entry.name, &attributes, AT_SYMLINK_NOFOLLOW);
            EXPECT(worker, result == 0 || result == -ENOENT);
        }
    }
    EXPECT(worker, hf_close(worker->fs, fd) == 0);
}

static void *hammer(void *argument)
{
    static void (*const doings[])(struct worker * worker, unsigned name) = {
        make,
        make,
        make,
        take_away,
        look,
        look,
        look,
        look_inside,
        give_another_name,
        change,
    };
    struct worker *worker = argument;
    const int rounds = test_is_plain() ? 3000 : 400;
    for (int i = 0; i < rounds; i++) {
        const unsigned name = below(worker, NAMES);
        doings[below(worker, sizeof doings / sizeof doings[0])](worker, name);
        if (i % 50 == 0) {
            read_a_directory(worker, name);
        }
    }
    return NULL;
}

/* ---- the world ---- */

static void attach(struct world *world, const char *root, int client, size_t cache_bytes)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    config.root = root;
    config.cache_bytes = cache_bytes;
    config.page_bytes = cache_bytes;
    assert_int_equal(hf_client_connect(world->server.address, NULL, &world->clients[client]), 0);
    assert_int_equal(hf_fs_attach(world->clients[client], &config, &world->fs[client]), 0);
    world->fs[client]->nodes.limit = 4;
    budget_trimmed(&world->fs[client]->nodes);
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

static void play(size_t cache_bytes)
{
    struct world world = {.failures = 0};
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    hf_server_mount mount;
    char path[8];

    test_server_init(&world.server);
    snprintf(world.root, sizeof world.root, "%s/r", world.server.folder);
    assert_int_equal(mkdir(world.root, 0755), 0);
    const char *const root = fs_world_mount(&world.server, world.root, &mount);
    test_server_start(&world.server);
    for (int i = 0; i < CLIENTS; i++) {
        attach(&world, root, i, cache_bytes);
    }
    for (unsigned i = 0; i < DIRECTORIES; i++) {
        snprintf(path, sizeof path, "d%u", i);
        assert_int_equal(hf_mkdir(world.fs[0], path, 0755), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){
            .world = &world, .fs = world.fs[i % CLIENTS], .random = i + (unsigned)cache_bytes};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&world.failures), 0);
    for (int i = 0; i < CLIENTS; i++) {
        hf_fs_detach(world.fs[i]);
        hf_client_unref(world.clients[i]);
    }
    world.server.server = hf_server_free(world.server.server);
    assert_int_equal(nftw(world.root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    test_server_deinit(&world.server);
}

/* Nothing stays cached for longer than it is used. */
static void test_threads_without_caches(void **state)
{
    play(1);
}

/* A part of it stays, so that what goes and what is found again meet. */
static void test_threads_with_small_caches(void **state)
{
    play((size_t)24 * 1024);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_without_caches),
        cmocka_unit_test(test_threads_with_small_caches),
    };
    return cmocka_run_group_tests_name("fs budget threads", tests, NULL, NULL);
}
