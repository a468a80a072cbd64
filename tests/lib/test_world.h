/*
 * A small world for filesystem tests: a server, a directory of the host, and processes that
 * share it, each a client of its own.
 *
 * The test's own process has the server and no client. Actors are forked from it; what fails
 * in one of them ends it with status 1, and the test fails when it is waited for. Every
 * process gives up after WORLD_PATIENCE_SECONDS.
 */
#ifndef HF_TESTS_LIB_TEST_WORLD_H
#define HF_TESTS_LIB_TEST_WORLD_H

#include "lib/test_server.h"

#include <holdfast/fs.h>
#include <pthread.h>
#include <stdatomic.h>

#define WORLD_PATIENCE_SECONDS 50
#define WORLD_SLOTS 4096

/* Memory that all actors share. */
struct world_shared {
    pthread_barrier_t barrier;
    _Atomic uint64_t slots[WORLD_SLOTS];
};

struct world {
    struct test_server server;
    char root[80];    /* mounted at "/" */
    char outside[80]; /* a directory beside it */
    struct world_shared *shared;
    hf_client *client; /* an actor's own */
    hf_fs *fs;
};

typedef void world_act(struct world *world, void *argument);

void world_init(struct world *world);

/* Fails the test if anything but files in the two directories is left. */
void world_deinit(struct world *world);

/* Connect and attach, in this process. */
void world_join(struct world *world);
void world_leave(struct world *world);

/* Fork an actor, which joins, acts and leaves. */
pid_t world_start(struct world *world, world_act *act, void *argument);

/* Wait for an actor; it must have ended well. */
void world_wait(pid_t pid);

/* One actor does all of it. */
void world_play(struct world *world, world_act *act, void *argument);

/* So many processes take part in world_meet(); each waits there for the others. */
void world_set_meeting(struct world *world, unsigned count);
void world_meet(struct world *world);

/* The whole of a file of the host's, with a NUL behind it; free() it. */
char *world_read_file(const struct world *world, const char *name, size_t *size);

/* In an actor: end this process with status 1 unless @condition holds. */
#define CHECK(condition) world_check((condition), #condition, __FILE__, __LINE__)
void world_check(bool condition, const char *text, const char *file, int line);

/* The same for two numbers, which are shown. */
#define CHECK_EQUAL(left, right)                                                                   \
    world_check_equal(                                                                             \
        (long long)(left), (long long)(right), #left " == " #right, __FILE__, __LINE__)
void world_check_equal(long long left, long long right, const char *text, const char *file,
                       int line);

#endif
