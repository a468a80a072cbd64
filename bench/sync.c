/*
 * The group `sync`: its parts, and what does not leave a process: acquiring and releasing a handle
 * that the client holds already.
 */
#include "sync.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const struct bench_part parts[] = {
    {"held", "acquire and release of a held handle, in one thread", bench_sync_held},
    {"readers", "the same in two reader threads", bench_sync_readers},
    {"handoff", "a handle goes from one process to another, batching off", bench_sync_handoff},
    {"batching", "two processes compete in a tight loop, batching on", bench_sync_batching},
    {"grants", "grants per second of a server with 64 connections", bench_sync_grants},
    {"fairness", "the longest wait among 8 processes that compete", bench_sync_fairness},
    {"memory", "bytes per held handle", bench_sync_memory},
};

const struct bench_group sync_group = {
    .name = "sync",
    .parts = parts,
    .part_count = sizeof(parts) / sizeof(parts[0]),
};

#define HELD_OPERATIONS 400000

/* ---- clients ---- */

bool bench_client_open(struct bench_client *client, int socket, uint64_t quantum_ns)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    config.quantum_ns = quantum_ns;
    *client = (struct bench_client){0};
    int error = hf_client_from_fd(socket, &config, &client->client);
    if (error < 0) {
        return bench_fail("cannot connect: %s", strerror(-error));
    }
    error = hf_sync_open_name(client->client, CONTESTED_NAME, HF_SYNC_LOCK, &client->handle);
    if (error < 0) {
        bench_client_close(client);
        return bench_fail("cannot open a handle: %s", strerror(-error));
    }
    return true;
}

void bench_client_close(struct bench_client *client)
{
    client->handle = hf_sync_close(client->handle);
    client->client = hf_client_unref(client->client);
}

uint64_t bench_client_messages(const struct bench_client *client)
{
    return client_messages(client->client);
}

uint64_t default_quantum_ns(void)
{
    const hf_client_config config = HF_CLIENT_CONFIG_INIT;
    return config.quantum_ns;
}

/* ---- what is timed ---- */

/* The yardsticks, each on cache lines of its own. */
struct locks {
    _Alignas(128) pthread_rwlock_t rwlock;
    _Alignas(128) pthread_mutex_t mutex;
    _Alignas(128) char end;
};

static void locks_init(struct locks *locks)
{
    pthread_rwlock_init(&locks->rwlock, NULL);
    pthread_mutex_init(&locks->mutex, NULL);
}

static void locks_deinit(struct locks *locks)
{
    pthread_rwlock_destroy(&locks->rwlock);
    pthread_mutex_destroy(&locks->mutex);
}

/* Nanoseconds of this thread's CPU time per acquire and release. */
static double time_handle(hf_sync *handle, hf_mode mode, uint64_t count)
{
    const uint64_t begin = bench_thread_ns();
    for (uint64_t i = 0; i < count; i++) {
        int result = hf_sync_acquire(handle, mode, NULL);
        assert(result >= 0);
        result = hf_sync_release(handle);
        assert(result == 0);
    }
    return (double)(bench_thread_ns() - begin) / (double)count;
}

static double time_rwlock(pthread_rwlock_t *lock, hf_mode mode, uint64_t count)
{
    const uint64_t begin = bench_thread_ns();
    for (uint64_t i = 0; i < count; i++) {
        int error = mode == HF_SHARED ? pthread_rwlock_rdlock(lock) : pthread_rwlock_wrlock(lock);
        assert(error == 0);
        error = pthread_rwlock_unlock(lock);
        assert(error == 0);
    }
    return (double)(bench_thread_ns() - begin) / (double)count;
}

static double time_mutex(pthread_mutex_t *lock, uint64_t count)
{
    const uint64_t begin = bench_thread_ns();
    for (uint64_t i = 0; i < count; i++) {
        int error = pthread_mutex_lock(lock);
        assert(error == 0);
        error = pthread_mutex_unlock(lock);
        assert(error == 0);
    }
    return (double)(bench_thread_ns() - begin) / (double)count;
}

/* ---- one thread ---- */

enum { HELD_EXCLUSIVE, HELD_SHARED, HELD_MODES };

struct held_results {
    struct bench_series rwlock[HELD_MODES];
    struct bench_series mutex[HELD_MODES];
    double messages_per_op[HELD_MODES];
};

struct held_arguments {
    unsigned rounds;
    uint64_t count;
    int socket;
};

static void measure_held(const struct held_arguments *arguments, struct bench_client *client,
                         struct locks *locks, struct held_results *results)
{
    static const hf_mode modes[HELD_MODES] = {HF_EXCLUSIVE, HF_SHARED};
    const uint64_t count = arguments->count;
    for (int m = 0; m < HELD_MODES; m++) {
        time_handle(client->handle, modes[m], 1);
        const uint64_t messages = bench_client_messages(client);
        for (unsigned round = 0; round < arguments->rounds; round++) {
            const double handle = time_handle(client->handle, modes[m], count);
            bench_series_add(
                &results->rwlock[m], handle, time_rwlock(&locks->rwlock, modes[m], count));
            bench_series_add(&results->mutex[m], handle, time_mutex(&locks->mutex, count));
        }
        results->messages_per_op[m] = (double)(bench_client_messages(client) - messages) /
                                      ((double)count * arguments->rounds);
    }
}

static bool held_main(int channel, void *context)
{
    const struct held_arguments *arguments = context;
    static struct held_results results;
    static struct locks locks;
    struct bench_client client;
    if (!bench_client_open(&client, arguments->socket, default_quantum_ns())) {
        return false;
    }
    locks_init(&locks);
    measure_held(arguments, &client, &locks, &results);
    locks_deinit(&locks);
    bench_client_close(&client);
    return channel_send(channel, &results, sizeof(results));
}

bool bench_sync_held(struct bench *bench)
{
    static struct held_results results;
    struct held_arguments arguments = {.rounds = bench->rounds,
                                       .count = bench_scale(bench, HELD_OPERATIONS)};
    if (!client_child_run(
            NULL, held_main, &arguments, &arguments.socket, &results, sizeof(results))) {
        return false;
    }
    static const char *const names[HELD_MODES][2] = {
        {"held EXCLUSIVE, acquire+release", "held EXCLUSIVE, against a mutex"},
        {"held SHARED, acquire+release", "held SHARED, against a mutex"},
    };
    for (int m = 0; m < HELD_MODES; m++) {
        struct bench_row row = {.name = names[m][0],
                                .unit = "ns",
                                .yardstick_name = "rwlock",
                                .messages_per_op = results.messages_per_op[m],
                                .goal = {.ratio_at_most = 1.5}};
        bench_row_measure(&row, &results.rwlock[m]);
        bench_row_add(bench, &row);
        row = (struct bench_row){.name = names[m][1],
                                 .unit = "ns",
                                 .yardstick_name = "mutex",
                                 .messages_per_op = results.messages_per_op[m]};
        bench_row_measure(&row, &results.mutex[m]);
        bench_row_add(bench, &row);
    }
    return true;
}

/* ---- two reader threads ---- */

#define READERS 2

struct reader {
    pthread_t thread;
    unsigned number;
    hf_sync *handle; /* NULL: the yardstick is timed */
    pthread_rwlock_t *rwlock;
    uint64_t count;
    _Atomic unsigned *ready; /* counts the readers that have come */
    double result;
};

static void *reader_main(void *context)
{
    struct reader *reader = context;
    /* A CPU for each: two threads that take turns on one do not get into each other's way. */
    bench_use_one_cpu(reader->number);
    atomic_fetch_add(reader->ready, 1);
    while (atomic_load(reader->ready) < READERS) {
        sched_yield();
    }
    reader->result = reader->handle != NULL ? time_handle(reader->handle, HF_SHARED, reader->count)
                                            : time_rwlock(reader->rwlock, HF_SHARED, reader->count);
    return NULL;
}

/* The mean over the readers of what an operation costs each. */
static double time_readers(hf_sync *handle, pthread_rwlock_t *rwlock, uint64_t count)
{
    struct reader readers[READERS];
    _Atomic unsigned ready = 0;
    double sum = 0;
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){
            .number = i, .handle = handle, .rwlock = rwlock, .count = count, .ready = &ready};
        int error = pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]);
        assert(error == 0);
    }
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        sum += readers[i].result;
    }
    return sum / READERS;
}

struct readers_results {
    struct bench_series series;
    double messages_per_op;
};

static bool readers_main(int channel, void *context)
{
    const struct held_arguments *arguments = context;
    static struct readers_results results;
    static struct locks locks;
    struct bench_client client;
    if (!bench_client_open(&client, arguments->socket, default_quantum_ns())) {
        return false;
    }
    locks_init(&locks);
    time_handle(client.handle, HF_SHARED, 1);
    const uint64_t messages = bench_client_messages(&client);
    for (unsigned round = 0; round < arguments->rounds; round++) {
        const double handle = time_readers(client.handle, NULL, arguments->count);
        bench_series_add(
            &results.series, handle, time_readers(NULL, &locks.rwlock, arguments->count));
    }
    results.messages_per_op = (double)(bench_client_messages(&client) - messages) /
                              ((double)arguments->count * READERS * arguments->rounds);
    locks_deinit(&locks);
    bench_client_close(&client);
    return channel_send(channel, &results, sizeof(results));
}

bool bench_sync_readers(struct bench *bench)
{
    static struct readers_results results;
    struct held_arguments arguments = {.rounds = bench->rounds,
                                       .count = bench_scale(bench, HELD_OPERATIONS)};
    if (!client_child_run(
            NULL, readers_main, &arguments, &arguments.socket, &results, sizeof(results))) {
        return false;
    }
    struct bench_row row = {.name = "held SHARED, 2 reader threads, per thread",
                            .unit = "ns",
                            .yardstick_name = "rwlock",
                            .messages_per_op = results.messages_per_op,
                            .goal = {.ratio_at_most = 1.0}};
    bench_row_measure(&row, &results.series);
    bench_row_add(bench, &row);
    return true;
}
