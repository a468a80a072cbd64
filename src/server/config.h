/*
 * The configuration of a server: defaults, what is allowed, and the server's copy of it.
 */
#ifndef HF_SERVER_CONFIG_H
#define HF_SERVER_CONFIG_H

#include "base/log.h"

#include <holdfast/server.h>
#include <stdbool.h>

/* Every limit there is: LIMIT(name, least, most, default, what it is for people) */
#define SERVER_LIMITS(LIMIT)                                                                       \
    LIMIT(clients, 1, 1000000, 4096, "connections at one time")                                    \
    LIMIT(handles, 1, UINT32_MAX, 4000000, "handles open or held by one client")                   \
    LIMIT(queued, 1, UINT32_MAX, 100000, "waiting requests of one client")                         \
    LIMIT(frame_bytes, 64, 66560, 66560, "longest frame accepted")                                 \
    LIMIT(value_bytes, 0, HF_VALUE_MAX, HF_VALUE_MAX, "longest value accepted")                    \
    LIMIT(unsent_bytes, 16384, UINT64_C(1) << 40, 64 << 20, "waiting for a client to read")        \
    LIMIT(owner_died_marks, 0, UINT32_MAX, 65536, "kept for handles nobody has open")              \
    LIMIT(handshake_seconds, 1, 86400, 10, "for a client to say hello in")                         \
    LIMIT(parked, 0, 1000000, 4096, "open files on their way to another process")                  \
    LIMIT(parked_bytes, 0, 4096, 256, "of data with each of these")                                \
    LIMIT(uses, 0, UINT32_MAX, 1000000, "files of served mounts that one client has open")         \
    LIMIT(stated_credentials, 0, 1000000, 4096, "that a privileged client states")                 \
    LIMIT(waiting_bytes, 0, UINT64_C(1) << 40, 16 << 20, "of operations of one client that wait")  \
    LIMIT(reclaim_seconds, 1, 86400, 5, "for a client to give back space that others need")        \
    LIMIT(locks, 1, UINT32_MAX, 65536, "file locks of one client, at the server")                  \
    LIMIT(waiting_locks, 1, UINT32_MAX, 4096, "file locks that one client waits for")              \
    LIMIT(lock_tables, 0, UINT32_MAX, 65536, "files whose locks one client has to itself")         \
    LIMIT(recall_seconds, 1, 86400, 30, "for a client to give these back when another asks")

struct limit_range {
    const char *name;
    const char *meaning;
    size_t offset; /* in hf_limits */
    size_t width;  /* 4 or 8 bytes */
    uint64_t least;
    uint64_t most;
    uint64_t initial;
};

extern const struct limit_range limit_ranges[];
extern const size_t limit_range_count;

/* NULL: there is no limit of that name. */
const struct limit_range *limit_find(const char *name);

uint64_t limit_get(const hf_limits *limits, const struct limit_range *range);
void limit_set(hf_limits *limits, const struct limit_range *range, uint64_t value);

/* The server's copy. Constant while the server lives. */
struct settings {
    hf_limits limits;
    struct log log;
    uid_t own_uid;
    uid_t *allow_uids;
    size_t allow_uid_count;
    void (*trace)(void *context, const hf_trace_event *event);
    void *trace_context;
};

/* Return: 0, -EINVAL, -ENOMEM. */
int settings_init(struct settings *settings, const hf_server_config *config);
void settings_deinit(struct settings *settings);

bool settings_admit(const struct settings *settings, uid_t uid);

#endif
