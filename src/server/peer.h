/*
 * A peer: the connection to one client.
 *
 *   peer_new ─► peer_join ─► greeting ──HELLO──► welcomed
 *                    │           │                  │
 *                    │           ▼                  ▼  EOF, peer_cut_off()
 *                    └──────► ended ◄───────────────┘
 *                               │ server_settle()
 *                               ▼
 *                      peer_part ─► peer_close ─► freed by the loop
 *
 * Ending is in steps because it is mostly found out in the middle of the sync table's work, which
 * must not be changed under its feet: peer_cut_off() only takes the peer out of traffic, and
 * server_settle() does the rest.
 *
 * Invariants:
 *  1. ended: nothing more is read from it, or gathered for it.
 *  2. Bytes are gathered (output) and not blocked: it is in server->to_flush, or has ended.
 *  3. blocked: the loop watches for UV_WRITABLE, and nothing else sends.
 *  4. input is a beginning of a frame, never a whole one.
 *  5. attachment: between reads there is one only if input has a beginning of its frame.
 */
#ifndef HF_SERVER_PEER_H
#define HF_SERVER_PEER_H

#include "base/buffer.h"
#include "base/list.h"
#include "server/locks.h"
#include "server/served.h"
#include "sync/server.h"
#include "wire/wire.h"

#include <holdfast/server.h>
#include <sys/types.h>
#include <uv.h>

struct hf_server;

#define PEER_NAME_BYTES 64

/* Read from one peer before it is another's turn. */
#define PEER_READ_BYTES 65536

/* The beginning of a frame from last time, and what is read now. */
#define PEER_SCRATCH_BYTES (WIRE_LENGTH_BYTES + WIRE_FRAME_MAX + PEER_READ_BYTES)

struct peer {
    struct sync_peer sync;
    struct hf_server *server;
    uv_poll_t poll;
    int fd;
    int watched;    /* the events that the loop watches for */
    bool is_socket; /* send() works on it */
    bool welcomed;
    bool blocked;     /* the socket is full */
    bool send_failed; /* nobody reads any more; what was sent to us before is still good */
    bool ended;
    bool attachment_lost;        /* a descriptor came that there was no room for in this process */
    int attachment;              /* the guard's: came with the frame that is next; -1: none */
    enum wire_reason end_reason; /* why it was cut off; NONE: it left by itself */

    struct list link;          /* server->peers or arrivals */
    struct list greeting_link; /* server->greeting */
    struct list flush_link;    /* server->to_flush */
    struct list ended_link;    /* server->ended */

    struct served_peer served;
    struct file_locks_peer locks;

    struct buffer input;
    struct buffer output;

    uint64_t greeting_deadline_ms; /* on the loop's clock */
    uint64_t number;               /* what the client is called; 0 before it has joined */
    pid_t pid;                     /* 0: not known */
    uid_t uid;
    char name[PEER_NAME_BYTES]; /* from HELLO, printable */
};

/* ---- peer.c ---- */

/* A peer on @fd, which is the guard's and stays the caller's on failure. May be called from any
 * thread. NULL: no memory. */
struct peer *peer_new(struct hf_server *server, int fd, bool is_socket);

/* Ask the kernel who is at the other end of a local socket. */
void peer_identify(struct peer *peer);

/* Free a peer that never joined, and close its descriptor. */
void peer_discard(struct peer *peer);

/* Give it a number and begin to read from it. Where that fails, or there are too many, it is
 * refused: told so, logged, and gone. */
void peer_join(struct peer *peer);

/* Tell it @reason and let it go, though it never joined. */
void peer_refuse(struct peer *peer, enum wire_reason reason);

/* The server has had enough of it. */
void peer_cut_off(struct peer *peer, enum wire_reason reason);

/* It went away by itself. */
void peer_left(struct peer *peer);

/* Take it out of the table: others may be granted what it held. */
void peer_part(struct peer *peer);

/* Say goodbye, with end_reason, and close the connection. */
void peer_close(struct peer *peer);

/* Have the loop watch for @events. */
void peer_watch(struct peer *peer, int events);

/* A line that begins with who it is. */
void peer_log(const struct peer *peer, hf_log_level level, const char *what, const char *detail);

/* ---- peer_input.c ---- */

/* The loop says that something happened on the descriptor. */
void peer_on_event(struct peer *peer, int status, int events);

/* Nobody reads what we send. Handle what the peer sent before it went, then let it go. */
void peer_drain(struct peer *peer);

/* ---- peer_output.c ---- */

/* The sync table's and the handshake's way to a peer: gathered until server_settle(). */
void peer_send(struct peer *peer, const struct wire_message *message);

/* The room where the data of an ANSWER will stand if it is the very next message to the peer: what is
 * put there need not be copied. NULL: there is none now, peer_send() will say why. */
uint8_t *peer_answer_room(struct peer *peer, size_t size);

/* Hand what was gathered to the kernel, as much as it takes. May set blocked or send_failed. */
void peer_write(struct peer *peer);

/* The same from server_settle(), where a failure can be seen to. */
void peer_flush(struct peer *peer);

/* The last message, if the kernel takes it at once. */
void peer_send_goodbye(struct peer *peer, enum wire_reason reason);

/* Forget what was not sent. */
void peer_forget_output(struct peer *peer);

#endif
