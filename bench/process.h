/*
 * Processes of a benchmark. Each has a channel to the main one, which gives orders over it and
 * gets results; it dies with the main one.
 */
#ifndef HF_BENCH_PROCESS_H
#define HF_BENCH_PROCESS_H

#include <holdfast/server.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid; /* 0: not started */
    int channel;
};

/* The connections that the processes of one benchmark may need. */
#define BENCH_SOCKETS_MAX 64

/**
 * child_start() - fork a process that runs @main and exits
 * @main:    gets its end of the channel; true is success
 * @sockets: the @socket_count descriptors that it keeps; it closes all others, so that
 *           a process that ends is seen to end
 *
 * The caller owns @child on success and gives it to child_end().
 *
 * Return: whether it was started.
 */
bool child_start(struct child *child, bool (*main)(int channel, void *context), void *context,
                 const int *sockets, unsigned socket_count);

/* Close the channel, which tells the process to end, and wait for it; one that does not end is
 * killed. Return: whether it ended well. A child that was not started ends well. */
bool child_end(struct child *child);

/* Both ways, for both ends of a channel. They fail when the other end is gone or has been silent
 * for a minute; a channel that was closed is no failure worth a word. */
bool channel_send(int channel, const void *data, size_t size);
bool channel_receive(int channel, void *data, size_t size);

/* Pairs of connected stream sockets: ours[i] with theirs[i]. All or none. */
bool sockets_make(int *ours, int *theirs, unsigned count);
void sockets_close(const int *sockets, unsigned count);

/* Memory that processes forked after this share, zeroed; NULL on failure. */
void *shared_memory_new(size_t size);
void shared_memory_free(void *memory, size_t size);

/* A number in shared memory that goes up by one with each turn; whoever waits for it sleeps. */
bool turn_wait(_Atomic uint32_t *turn, uint32_t wanted);
void turn_pass(_Atomic uint32_t *turn);

/* ---- a server in a process of its own ---- */

struct server_child {
    struct child child;
    int sockets[BENCH_SOCKETS_MAX]; /* the clients' ends; closed by server_child_end() */
    unsigned socket_count;
};

struct server_report {
    hf_server_stats stats;
    uint64_t heap_bytes; /* allocated with malloc() and not freed */
    uint64_t rss_bytes;  /* resident */
};

/* Start a server with @clients connections, each a socket for hf_client_from_fd() or for frames
 * written by hand. The limits are raised to what a benchmark needs. @mount: what it brings, for
 * hf_server_mount_parse(); NULL: nothing. */
bool server_child_start(struct server_child *server, unsigned clients, const char *mount);
bool server_child_report(const struct server_child *server, struct server_report *report);
bool server_child_end(struct server_child *server);

/* Start a server and one process on it, which gets its connection in *socket, and receive the
 * @size bytes of results that it sends. */
bool client_child_run(const char *mount, bool (*main)(int channel, void *context), void *context,
                      int *socket, void *results, size_t size);

/* All messages of this client so far, both ways. */
uint64_t client_messages(hf_client *client);

/* What this process uses now. */
uint64_t memory_heap_bytes(void);
uint64_t memory_rss_bytes(void);

#endif
