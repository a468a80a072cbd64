/*
 * The group `sync`: what sync handles cost. One function a part; see sync.c.
 */
#ifndef HF_BENCH_SYNC_H
#define HF_BENCH_SYNC_H

#include "harness.h"
#include "process.h"

extern const struct bench_group sync_group;

bool bench_sync_held(struct bench *bench);
bool bench_sync_readers(struct bench *bench);
bool bench_sync_handoff(struct bench *bench);
bool bench_sync_batching(struct bench *bench);
bool bench_sync_grants(struct bench *bench);
bool bench_sync_memory(struct bench *bench);
bool bench_sync_fairness(struct bench *bench);

/* The handle that the processes of a benchmark compete for. */
#define CONTESTED_NAME "bench.contested"

/* A client on a connected socket, which it takes over, and a pure lock open in it. Complains on
 * failure. bench_client_close() ends both. */
struct bench_client {
    hf_client *client;
    hf_sync *handle;
};
bool bench_client_open(struct bench_client *client, int socket, uint64_t quantum_ns);
void bench_client_close(struct bench_client *client);

/* All messages of this client so far, both ways. */
uint64_t bench_client_messages(const struct bench_client *client);

/* Batching as users get it. */
uint64_t default_quantum_ns(void);

#endif
