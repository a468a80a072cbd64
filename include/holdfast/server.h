/*
 * The Holdfast server: the table of sync handles, and what its clients are told.
 *
 * A server is driven either by a thread of its own (hf_server_start()) or by the caller's
 * loop (hf_server_fd(), hf_server_timeout_ms(), hf_server_dispatch()). hf_server_connect(),
 * hf_server_adopt(), hf_server_get_stats() and hf_server_stop() may be called from any thread;
 * the rest from the thread that owns the server. Errors are negative errno values.
 */
#ifndef HOLDFAST_SERVER_H
#define HOLDFAST_SERVER_H

#include <holdfast/sync.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_server hf_server;

typedef enum hf_log_level {
    HF_LOG_ERROR = 0,
    HF_LOG_WARNING = 1,
    HF_LOG_INFO = 2,
    HF_LOG_DEBUG = 3,
} hf_log_level;

/* One message as it passed through the server, in the order the server saw it. */
typedef struct hf_trace_event {
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint64_t client;  /* its number */
    const char *client_name;
    int to_server;       /* 1: client to server, 0: server to client */
    const char *message; /* "ACQUIRE" and so on, as in docs/protocol.md */
    hf_id id;            /* zeros when the message is about none */
    hf_mode mode;
    uint64_t grant;
    size_t value_size;  /* 0: no value carried */
    const char *remark; /* "", or for example "DENIED would-block", "closes", "owner died" */
} hf_trace_event;

/* What one client may use. Over it, that client gets an error or is cut off. */
typedef struct hf_limits {
    uint32_t clients;      /* connections at one time, of all */
    uint32_t handles;      /* open or held per client; then -EDQUOT */
    uint32_t queued;       /* waiting requests per client; then -ENOBUFS */
    uint32_t frame_bytes;  /* longest frame accepted; then cut off. Mounts need all there may be */
    uint32_t value_bytes;  /* longest value accepted, at most HF_VALUE_MAX; then cut off */
    uint64_t unsent_bytes; /* waiting for a client that does not read; then cut off */
    uint32_t owner_died_marks;  /* kept for handles nobody has open; the oldest go first */
    uint32_t handshake_seconds; /* to say hello in; then cut off */
    /* Open files that were exported and not yet imported, and pipes of served mounts that are open, of
     * all clients; then -EDQUOT. Never more than half of the descriptors that the server's process may
     * have. */
    uint32_t parked;
    uint32_t parked_bytes;       /* of data with each of these; then -EDQUOT */
    uint32_t uses;               /* files of served mounts that one client has open; then -EDQUOT */
    uint32_t stated_credentials; /* of others that a privileged client acts for; then -EDQUOT */
    uint64_t waiting_bytes;      /* of its operations that wait for others; more fail at once */
    uint32_t reclaim_seconds;    /* to give back space that others need; then cut off */
    uint32_t locks;              /* file locks, at the server; then -ENOLCK */
    uint32_t waiting_locks;      /* file locks that it waits for; then -ENOBUFS */
    uint32_t lock_tables;    /* files whose locks a client has to itself; of more it has to ask */
    uint32_t recall_seconds; /* to give these back when another one asks; then cut off */
} hf_limits;

/* Where the data of a mount is. */
typedef enum hf_mount_kind {
    HF_MOUNT_RAM = 1,    /* in the server's memory */
    HF_MOUNT_DIR = 2,    /* in a directory of the server's host, which nobody else touches */
    HF_MOUNT_DIRECT = 3, /* in a directory that each client opens itself, as with hf_mount() */
} hf_mount_kind;

/* A mount that the server brings. Initialise with HF_SERVER_MOUNT_INIT. */
typedef struct hf_server_mount {
    hf_mount_kind kind;
    const char *source; /* DIR and DIRECT: a directory of the host; RAM: NULL */
    const char *path;   /* where clients see it; begins with a slash, no `.` or `..` in it */
    /* Bytes of data and files that there may be, not for DIRECT. 0: in RAM as tmpfs has it, half of
     * the machine's memory and a file for each such page; in DIR as much as the host has. */
    uint64_t size;
    uint64_t inodes;
    mode_t mode; /* of RAM's root directory */
    uid_t uid;   /* its owner and group; -1: the server's own */
    gid_t gid;
    int read_only; /* not 0: clients cannot change anything, and get -EROFS */
    int check;     /* DIRECT, not 0: other programs change the files too, see HF_EXTERNAL_CHECK */
    char *texts;   /* see hf_server_mount_parse(); nobody else looks at it */
} hf_server_mount;

#define HF_SERVER_MOUNT_INIT                                                                       \
    {                                                                                              \
        HF_MOUNT_RAM, NULL, NULL, 0, 0, 01777, (uid_t)-1, (gid_t)-1, 0, 0, NULL                    \
    }

/* Initialise with hf_server_config_init(), then change what you need. */
typedef struct hf_server_config {
    size_t size;             /* sizeof(hf_server_config) */
    const char *listen;      /* "unix:PATH", or NULL: only hf_server_connect() and _adopt() */
    const uid_t *allow_uids; /* admitted besides the server's own effective uid */
    size_t allow_uid_count;
    hf_limits limits;
    hf_log_level log_level;
    /* Called for each line at or above log_level, from the server's thread; NULL: stderr. */
    void (*log)(void *context, hf_log_level level, const char *line);
    void *log_context;
    /* Called for each message; NULL: none. The event is valid during the call only. */
    void (*trace)(void *context, const hf_trace_event *event);
    void *trace_context;
    /*
     * The mounts that are there before any client is. The one at "/" is mounted first, the others in
     * this order, each on a directory of what is there by then; hf_mount() and hf_umount2() come on
     * top of them. Without one at "/" there is an empty read-only directory. In it, and in RAM, the
     * mount points are made; elsewhere they must be there. Two DIR may not overlap, nor may a DIR
     * and a DIRECT. Without any mount clients say what is mounted, see hf_fs_attach().
     */
    const hf_server_mount *mounts;
    size_t mount_count;
    /* Where hf_server_new() says what is wrong with a mount, in a line without a newline; NULL: in
     * the log. */
    char *mount_error;
    size_t mount_error_size;
} hf_server_config;

/**
 * hf_server_config_init() - fill in the defaults
 */
HF_PUBLIC void hf_server_config_init(hf_server_config *config);

/**
 * hf_server_mount_parse() - a mount as people write it, for example on a command line
 * @text:       "ram:PATH", "dir:SOURCE:PATH" or "direct:SOURCE:PATH", and then any of ",size=BYTES"
 *              with K, M, G or T behind it, or for ram a percentage of the machine's memory;
 *              ",inodes=COUNT"; for ram ",mode=OCTAL", ",uid=UID", ",gid=GID"; ",ro"; for direct
 *              ",check". In SOURCE and PATH a backslash stands before each ':', ',' and backslash
 *              that is part of it.
 * @out:        filled in on success. Its texts are in one block: free(out->texts) when no longer
 *              needed.
 * @error:      what is wrong, in a line without a newline; may be NULL
 * @error_size: of @error
 *
 * Nothing is looked at but the text: whether SOURCE is there is hf_server_new()'s matter.
 *
 * Return: 0, -EINVAL with @error, -ENOMEM.
 */
HF_PUBLIC int hf_server_mount_parse(const char *text, hf_server_mount *out, char *error,
                                    size_t error_size);

/**
 * hf_server_new() - make a server, and listen if the configuration says so
 * @config: copied; NULL for the defaults
 * @out:    free it with hf_server_free(); unchanged on failure
 *
 * A socket file that nobody serves any more is replaced. The socket's path with ".lock"
 * added is a lock file that keeps two servers from serving one path; both are removed at the
 * end. Relative paths, those of mounts too, are relative to the working directory of this moment.
 *
 * Return: 0; -EINVAL, -ENAMETOOLONG, -EADDRINUSE (a live server is there), -EEXIST (something
 * that is not a socket is there), -EACCES, -ENOENT (no such directory), -ENOMEM, -EMFILE. With
 * mount_error written to: why a mount cannot be made, these and others.
 */
HF_PUBLIC int hf_server_new(const hf_server_config *config, hf_server **out);

/**
 * hf_server_start() - run the server in a thread of its own, with all signals blocked
 *
 * That thread has a umask of its own, 0, so that directories on mounts of kind DIR are made in one
 * step. With hf_server_dispatch() the process's umask should be 0 for that: a server that is killed
 * may else leave the directory it is just making with fewer permissions.
 *
 * Return: 0, -EAGAIN (no thread), -EBUSY (it runs already), -ESHUTDOWN after hf_server_stop().
 */
HF_PUBLIC int hf_server_start(hf_server *server);

/**
 * hf_server_fd() - the descriptor that is readable when there is something to dispatch
 */
HF_PUBLIC int hf_server_fd(const hf_server *server);

/**
 * hf_server_timeout_ms() - dispatch at the latest after this long; -1: no need
 */
HF_PUBLIC int hf_server_timeout_ms(const hf_server *server);

/**
 * hf_server_dispatch() - handle what has arrived, without blocking
 *
 * Return: 0; -ESHUTDOWN after hf_server_stop(), which may be called from a callback during it;
 * -EBUSY when the server has a thread of its own, or from such a callback.
 */
HF_PUBLIC int hf_server_dispatch(hf_server *server);

/**
 * hf_server_connect() - a new connection to this server
 *
 * Return: a connected socket for hf_client_from_fd(), owned by the caller, close-on-exec;
 * -EMFILE, -ENOMEM, -ESHUTDOWN. The peer is trusted to be this process's own.
 */
HF_PUBLIC int hf_server_connect(hf_server *server);

/**
 * hf_server_dial() - hf_server_connect() in the form of hf_client_config.dial
 * @server: the hf_server, as dial_context
 *
 * For the clients of the process that runs the server: with it they survive a fork.
 */
HF_PUBLIC int hf_server_dial(void *server);

/**
 * hf_server_adopt() - serve a connected descriptor that the embedder brings
 * @fd: a stream socket, or a character device that can be polled and carries bytes unchanged.
 *      Owned by the server on success, by the caller on failure. Becomes non-blocking and
 *      close-on-exec.
 *
 * Whether its peer may connect is for the embedder to decide; no uid is checked.
 *
 * Return: 0, -EBADF, -EINVAL, -ENOMEM, -ESHUTDOWN.
 */
HF_PUBLIC int hf_server_adopt(hf_server *server, int fd);

typedef struct hf_server_stats {
    uint64_t clients;      /* connected now */
    uint64_t handles;      /* sync handles with any state now; one is the table of mounts */
    uint64_t holds;        /* holds and references now, over all clients */
    uint64_t queued;       /* requests waiting now */
    uint64_t table_bytes;  /* allocated for handles, holds, requests and values now */
    uint64_t unsent_bytes; /* waiting to be written, over all clients, now */
    uint64_t acquires, releases, cancels, grants, denials, recalls; /* messages so far */
    uint64_t cut_off;    /* clients disconnected by the server for a reason, so far */
    uint64_t parked;     /* open files that were exported and not yet imported, now */
    uint64_t operations; /* on served mounts, so far */
    uint64_t uses;       /* files of served mounts that clients have open, now */
    uint64_t reserved_pages, reserved_inodes; /* space set aside for clients, and not used, now */
} hf_server_stats;

/**
 * hf_server_get_stats() - counters as of the last time the server was idle or dispatched
 *
 * Whoever has seen a message of the server, or the end of a connection, finds all that led to
 * it counted.
 */
HF_PUBLIC void hf_server_get_stats(hf_server *server, hf_server_stats *out);

/**
 * hf_server_stop() - stop serving
 *
 * Every connection ends. Blocks until the server's own thread has ended, if it has one; called
 * back from that thread it returns at once, and the server stops after the callback. Calling it
 * again does nothing.
 */
HF_PUBLIC void hf_server_stop(hf_server *server);

/**
 * hf_server_free() - stop, and free everything
 * @server: may be NULL
 *
 * Not to be called from a callback of the server.
 *
 * In a child after fork() the server does not run: its descriptors are closed there, all calls
 * return -ESHUTDOWN or do nothing, and this one touches neither the socket file nor the clients.
 * The copy's memory stays allocated until the child ends or calls exec.
 *
 * Return: NULL.
 */
HF_PUBLIC hf_server *hf_server_free(hf_server *server);

#ifdef __cplusplus
}
#endif

#endif
