/*
 * The part `memory` of the group `sync`: bytes per held handle, at the server and at the client,
 * when one client holds a million. Pure locks, held SHARED.
 *
 * Measured once: memory does not vary from round to round.
 */
#include "sync.h"

#include <pthread.h>
#include <string.h>

#define HANDLES 1000000
#define THREADS 8 /* that acquire: their messages are under way together */
#define GOAL_BYTES 160

struct memory_arguments {
    int socket;
    uint64_t handles;
};

struct memory_use {
    uint64_t heap_bytes, rss_bytes;
};

struct acquirer {
    pthread_t thread;
    hf_client *client;
    uint64_t first, count;
    int error;
};

/* ---- the client ---- */

static struct memory_use memory_use_now(void)
{
    return (struct memory_use){.heap_bytes = memory_heap_bytes(), .rss_bytes = memory_rss_bytes()};
}

/* The handles are never closed: they go with the process. */
static void *acquire_all(void *context)
{
    struct acquirer *acquirer = context;
    for (uint64_t i = 0; i < acquirer->count && acquirer->error >= 0; i++) {
        const hf_id id = {.space = 1, .object = acquirer->first + i};
        hf_sync *handle;
        acquirer->error = hf_sync_open(acquirer->client, id, HF_SYNC_LOCK, &handle);
        if (acquirer->error >= 0) {
            acquirer->error = hf_sync_acquire(handle, HF_SHARED, NULL);
        }
        if (acquirer->error >= 0) {
            acquirer->error = hf_sync_release(handle);
        }
    }
    return NULL;
}

/* Hold @count handles that were not held before. */
static bool hold(hf_client *client, uint64_t first, uint64_t count)
{
    struct acquirer acquirers[THREADS];
    unsigned started = 0;
    int error = 0;
    for (; error == 0 && started < THREADS; started++) {
        struct acquirer *acquirer = &acquirers[started];
        const uint64_t begin = count * started / THREADS, end = count * (started + 1) / THREADS;
        *acquirer =
            (struct acquirer){.client = client, .first = first + begin, .count = end - begin};
        error = pthread_create(&acquirer->thread, NULL, acquire_all, acquirer);
        if (error != 0) {
            break;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(acquirers[i].thread, NULL);
        if (acquirers[i].error < 0) {
            error = -acquirers[i].error;
        }
    }
    return error == 0 || bench_fail("cannot hold so many handles: %s", strerror(error));
}

static bool memory_main(int channel, void *context)
{
    const struct memory_arguments *arguments = context;
    struct bench_client client;
    if (!bench_client_open(&client, arguments->socket, default_quantum_ns())) {
        return false;
    }
    /* Threads have come and gone, and left behind what they do. */
    if (!hold(client.client, arguments->handles, THREADS)) {
        return false;
    }
    char order;
    uint64_t held = 0;
    struct memory_use use = memory_use_now();
    while (channel_send(channel, &use, sizeof(use)) && channel_receive(channel, &order, 1)) {
        if (held == 0 && !hold(client.client, 0, arguments->handles)) {
            return false;
        }
        held = arguments->handles;
        use = memory_use_now();
    }
    return true;
}

/* ---- the rows ---- */

static void add_row(struct bench *bench, const char *name, uint64_t before, uint64_t after,
                    uint64_t handles, double goal)
{
    const struct bench_row row = {
        .name = name,
        .unit = "bytes",
        .value = ((double)after - (double)before) / (double)handles,
        .yardstick = BENCH_NONE,
        .ratio = BENCH_NONE,
        .messages_per_op = BENCH_NONE,
        .goal = {.value_at_most = goal},
    };
    bench_row_add(bench, &row);
}

static bool measure(struct bench *bench, const struct server_child *server,
                    const struct child *client, uint64_t handles)
{
    struct memory_use client_before, client_after;
    struct server_report before, after;
    const char order = 'h';
    if (!channel_receive(client->channel, &client_before, sizeof(client_before)) ||
        !server_child_report(server, &before) || !channel_send(client->channel, &order, 1) ||
        !channel_receive(client->channel, &client_after, sizeof(client_after)) ||
        !server_child_report(server, &after)) {
        return bench_fail("the client is gone");
    }
    if (after.stats.holds - before.stats.holds != handles) {
        return bench_fail("%llu handles are held",
                          (unsigned long long)(after.stats.holds - before.stats.holds));
    }
    add_row(bench,
            "server: heap per held handle",
            before.heap_bytes,
            after.heap_bytes,
            handles,
            GOAL_BYTES);
    add_row(bench,
            "server: resident memory per held handle",
            before.rss_bytes,
            after.rss_bytes,
            handles,
            0);
    add_row(bench,
            "server: its own count per held handle",
            before.stats.table_bytes,
            after.stats.table_bytes,
            handles,
            0);
    add_row(bench,
            "client: heap per held handle",
            client_before.heap_bytes,
            client_after.heap_bytes,
            handles,
            0);
    add_row(bench,
            "client: resident memory per held handle",
            client_before.rss_bytes,
            client_after.rss_bytes,
            handles,
            0);
    return true;
}

bool bench_sync_memory(struct bench *bench)
{
    struct memory_arguments arguments = {.handles = bench_scale(bench, HANDLES)};
    struct server_child server;
    if (!server_child_start(&server, 1, NULL)) {
        return false;
    }
    struct child client = {0};
    arguments.socket = server.sockets[0];
    bool done = child_start(&client, memory_main, &arguments, server.sockets, 1) &&
                measure(bench, &server, &client, arguments.handles);
    done = child_end(&client) && done;
    return server_child_end(&server) && done;
}
