/*
 * A small world for filesystem tests: a server, a directory, and processes that share it, each a
 * client of its own.
 *
 * The test's own process has the server and no client. Actors are forked from it; what fails
 * in one of them ends it with status 1, and the test fails when it is waited for. Every
 * process gives up after a number of seconds.
 *
 * The directory is one of the host's, mounted directly; or with HF_TEST_MOUNT=ram or =dir in the
 * environment, a served mount of that kind, where the same holds.
 */
#ifndef HF_TESTS_LIB_FS_WORLD_H
#define HF_TESTS_LIB_FS_WORLD_H

#include "lib/test_server.h"

#include <holdfast/fs.h>
#include <pthread.h>
#include <stdatomic.h>

#define FS_WORLD_PATIENCE_SECONDS 50
#define FS_WORLD_SLOTS 4096

/* Memory that all actors share. */
struct fs_world_shared {
    pthread_barrier_t barrier;
    _Atomic uint64_t slots[FS_WORLD_SLOTS];
};

enum fs_world_kind {
    FS_WORLD_DIRECT,
    FS_WORLD_RAM,
    FS_WORLD_DIR,
};

struct fs_world {
    struct test_server server;
    enum fs_world_kind kind;   /* of what is mounted at "/" */
    unsigned patience_seconds; /* FS_WORLD_PATIENCE_SECONDS; change it after init */
    char folder[FOLDER_PATH_BYTES];
    char root[80];    /* DIRECT and DIR: mounted at "/", with DIR only the server may touch it */
    char outside[80]; /* a directory of the host beside it */
    struct fs_world_shared *shared;
    bool small_caches;  /* actors keep next to nothing: everything is looked up all the time */
    size_t cache_bytes; /* else: as in hf_fs_config */
    size_t page_bytes;  /* the same */
    /* On a served mount there is no system call that looks at the callers' pointers: actors have
     * them checked. Change it after init. */
    bool bad_pointers;
    uint64_t cut_off;  /* clients that the server will have cut off; 0 unless told after init */
    hf_client *client; /* an actor's own */
    hf_fs *fs;
};

typedef void fs_world_act(struct fs_world *world, void *argument);

/* With HF_TEST_SMALL_CACHES in the environment the actors have small caches. */
void fs_world_init(struct fs_world *world);

/* The kind of mount that fs_world_init() will have. */
enum fs_world_kind fs_world_kind(void);

static inline bool fs_world_is_served(void)
{
    return fs_world_kind() != FS_WORLD_DIRECT;
}

/* Before @server starts: have it bring a mount of that kind at "/", which for DIR is @directory, and
 * @mount says what it is. Return: the root to attach with; for DIRECT that is @directory, and nothing is
 * mounted yet. */
const char *fs_world_mount(struct test_server *server, const char *directory,
                           hf_server_mount *mount);

/* With HF_TEST_SENDS_ALWAYS in the environment, what reads or writes on a served mount is always sent
 * to the server, as if each file were contended. */
bool fs_world_sends_always(void);

/* At the beginning of a test: on served mounts there is nothing to be tested, and @why. */
#define FS_WORLD_DIRECT_ONLY(why)                                                                  \
    do {                                                                                           \
        if (fs_world_is_served()) {                                                                \
            print_message("# not on a served mount: %s\n", why);                                   \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* The same with both directories in a folder below @parent. */
void fs_world_init_in(struct fs_world *world, const char *parent);

/* With room for @size bytes of data, where the mount is a served one. */
void fs_world_init_limited(struct fs_world *world, uint64_t size);

/* The same as fs_world_init() with other limits: @set changes the defaults. */
void fs_world_init_with(struct fs_world *world, void (*set)(hf_limits *limits));

/* Fails the test if anything but files in the two directories is left. */
void fs_world_deinit(struct fs_world *world);

/* What a client of this world attaches with; and the root in that. */
hf_fs_config fs_world_config(const struct fs_world *world);
static inline const char *fs_world_root(const struct fs_world *world)
{
    return world->kind == FS_WORLD_DIRECT ? world->root : NULL;
}

/* As hf_fs_attach(), with caches as @world wants them. */
int fs_world_attach_client(const struct fs_world *world, hf_client *client,
                           const hf_fs_config *config, hf_fs **out);

/* Connect and attach, in this process. */
void fs_world_join(struct fs_world *world);
void fs_world_leave(struct fs_world *world);

/* From here on this process may not do everything, if it ever might: it is nobody. On a served
 * mount it connects anew for that, since the server takes from the connection who a client is. */
void fs_world_become_nobody(struct fs_world *world);

/* One more client of the server, which ends when its filesystem object is detached. */
hf_fs *fs_world_attach(const struct fs_world *world, const hf_fs_config *config);

/* The same with what this world is attached with; in the test's own process too, where it is to be
 * detached before anything is forked. */
hf_fs *fs_world_visit(const struct fs_world *world);

/* Fork an actor, which joins, acts and leaves. */
pid_t fs_world_start(struct fs_world *world, fs_world_act *act, void *argument);

/* Fork @count actors, the i-th with arguments[i], and let them join when all are there: a sanitizer's
 * allocator must not be in use by the server's thread while this process forks. fs_world_meet() is for
 * so many from then on. */
void fs_world_start_all(struct fs_world *world, fs_world_act *act, void *const *arguments,
                        unsigned count, pid_t *pids);

/* Wait for an actor; it must have ended well. */
void fs_world_wait(pid_t pid);

/* Wait for two that wait for each other: when one fails the other is ended. */
void fs_world_wait_for_both(const pid_t pids[2]);

/* One actor does all of it. */
void fs_world_play(struct fs_world *world, fs_world_act *act, void *argument);

/* Times of files are the coarse clock's: until it moves, a change may not be seen in them, and on a
 * served mount reading may move the time of access once more. Wait for that. */
void fs_world_wait_for_the_clock(void);

/* So many processes take part in fs_world_meet(); each waits there for the others. */
void fs_world_set_meeting(struct fs_world *world, unsigned count);
void fs_world_meet(struct fs_world *world);

/* stat(2) of a file as others see it: the host, or on a served mount another client. */
int fs_world_stat(const struct fs_world *world, const char *name, struct stat *attributes);

/* The whole of a file, as nobody has it cached, with a NUL behind it; free() it. In the test's own
 * process. */
char *fs_world_read_file(const struct fs_world *world, const char *name, size_t *size);

/* In an actor: end this process with status 1 unless @condition holds. */
#define CHECK(condition) fs_world_check((condition), #condition, __FILE__, __LINE__)
void fs_world_check(bool condition, const char *text, const char *file, int line);

/* The same for two numbers, which are shown. */
#define CHECK_EQUAL(left, right)                                                                   \
    fs_world_check_equal(                                                                          \
        (long long)(left), (long long)(right), #left " == " #right, __FILE__, __LINE__)
void fs_world_check_equal(long long left, long long right, const char *text, const char *file,
                          int line);

#endif
