/*
 * A server with clients of the public API around it, and a raw client that sees to it that the
 * server has come to a point: no test has to guess how long something takes.
 */
#ifndef HF_TESTS_LIB_SYNC_STAGE_H
#define HF_TESTS_LIB_SYNC_STAGE_H

#include "lib/raw_client.h"
#include "lib/test_server.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Longer than anything takes that is going to happen. */
#define STAGE_PATIENCE_NS UINT64_C(20000000000)

struct stage {
    struct test_server server;
    struct raw_client control;
    uint64_t control_grant;
    uint64_t trips; /* of the control to the server */
};

/* Between init and start the configuration may be changed: stage->server.config. */
void stage_init(struct stage *stage);
void stage_start(struct stage *stage);
void stage_deinit(struct stage *stage);

/* A client that gives a recalled handle up after the use in progress, or one that batches. */
hf_client *stage_client(struct stage *stage, const char *name);
hf_client *stage_batching_client(struct stage *stage, const char *name);

/* The server's counters once it has handled all that arrived before; the control's own messages
 * and its connection are not counted. */
hf_server_stats stage_stats(struct stage *stage);

/* Wait until that many requests wait at the server, or that many clients are connected. */
void stage_await_queued(struct stage *stage, uint64_t queued);
void stage_await_clients(struct stage *stage, uint64_t clients);

/* Messages that the client has sent and received since it began. */
uint64_t client_messages(hf_client *client);

/* Wait until the connection has ended. Return: hf_client_error(). */
int await_client_error(hf_client *client);

/* Wait until the client has read so many recalls; only then must it obey them. */
void await_recalls(hf_client *client, uint64_t recalls);
void await_grants(hf_client *client, uint64_t grants);

hf_sync *open_value(hf_client *client, uint64_t object);
hf_sync *open_lock(hf_client *client, uint64_t object);

/* The value as a number; 0: none yet. The handle is held. */
uint64_t value_get(hf_sync *handle);
void value_set(hf_sync *handle, uint64_t value);

/* On the clock that deadlines are on. */
uint64_t after_ms(uint64_t milliseconds);

/* An assertion for threads that are not the test's own, where cmocka has none. */
#define SURE(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "# line %d: %s\n", __LINE__, #condition);                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A thread that acquires, and keeps what it got. */
struct acquirer {
    hf_sync *handle;
    hf_mode mode;
    hf_wait_opts opts;
    int (*call)(struct acquirer *self); /* NULL: hf_sync_acquire() */
    int result;
    pthread_t thread;
};
void acquirer_start(struct acquirer *acquirer);
int acquirer_join(struct acquirer *acquirer);

/* Under TSan the children of a process with threads cannot be watched: skip the test there. */
bool can_watch_forks(void);
void skip_without_forks(void);

/* Threads that this process has. */
int count_threads(void);

/* Wait until the process has no more threads than that; one that was joined is counted for a
 * moment. */
void await_threads(int most);

#endif
