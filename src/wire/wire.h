/*
 * Messages and their frames. One struct serves all kinds; messages.def says which fields a
 * kind carries, and the others are zero after decoding and ignored by encoding.
 */
#ifndef HF_WIRE_WIRE_H
#define HF_WIRE_WIRE_H

#include <holdfast/sync.h>
#include <stdbool.h>

#define WIRE_MAGIC UINT32_C(0x31464c48) /* "HLF1" on the wire */
#define WIRE_VERSION 4
#define WIRE_LENGTH_BYTES 4 /* in front of every frame, not counted in it */
/* The longest frame of this version, length field not counted; and the longest of those that are
 * about sync handles and parking. */
#define WIRE_FRAME_MAX 66560
#define WIRE_SMALL_FRAME_MAX 4608

enum wire_kind {
#define MESSAGE(name, number, direction, fields) WIRE_##name = number,
#include "wire/messages.def"
#undef MESSAGE
};

enum wire_direction { TO_SERVER, TO_CLIENT };

/* ACQUIRE.flags */
#define WIRE_NOWAIT 0x01    /* answer DENIED rather than wait for others to finish */
#define WIRE_REFERENCE 0x02 /* keep a reference when the hold goes down to INVALID */
#define WIRE_AHEAD 0x04     /* nobody needs it yet: answer DENIED rather than ask anybody */
#define WIRE_ACQUIRE_FLAGS 0x07
/* RELEASE.flags */
#define WIRE_VALUE 0x01  /* data is the new value */
#define WIRE_CLOSE 0x02  /* with mode INVALID: drop the reference too */
#define WIRE_IN_USE 0x04 /* at the mode it has: answers a RECALL for which nobody waits */
#define WIRE_RELEASE_FLAGS 0x07
/* GRANT.flags: WIRE_VALUE, and */
#define WIRE_OWNER_DIED 0x02
#define WIRE_DENIED 0x04 /* not granted; `reason` says why; grant and mode are 0 */
#define WIRE_GRANT_FLAGS 0x07
/* OPERATION.flags */
#define WIRE_SERVED 0x01 /* the client holds nothing: the server takes the hold, for this alone */
#define WIRE_OPERATION_FLAGS 0x01
/* ANSWER.flags */
#define WIRE_ALONE 0x01 /* to a SERVED one: nobody else had the inode since the client's last */
#define WIRE_ANSWER_FLAGS 0x01
/* LOCK.flags */
#define WIRE_LOCK_WAIT 0x01 /* until it can be had, or a LOCK_CANCEL */
#define WIRE_LOCK_TEST 0x02 /* change nothing: say whether it could be had, or what is in the way */
#define WIRE_LOCK_FLAGS 0x03
/* LOCK_RETURN.flags */
#define WIRE_MORE 0x01 /* another one follows, with more of the same */
#define WIRE_LOCK_RETURN_FLAGS 0x01
/* LOCK_LISTED.flags: WIRE_MORE */
#define WIRE_LOCK_LISTED_FLAGS 0x01

/* GRANT.reason with WIRE_DENIED, PARKED.reason, and GOODBYE.reason. REASON(name, number, errno, text) */
#define WIRE_REASONS(REASON)                                                                       \
    REASON(NONE, 0, 0, "none")                                                                     \
    REASON(WOULD_BLOCK, 1, EAGAIN, "another client has it")                                        \
    REASON(CANCELED, 2, ECANCELED, "canceled")                                                     \
    REASON(HANDLE_LIMIT, 3, EDQUOT, "too many handles")                                            \
    REASON(QUEUE_LIMIT, 4, ENOBUFS, "too many waiting requests")                                   \
    REASON(NO_MEMORY, 5, ENOMEM, "the server is out of memory")                                    \
    REASON(UNKNOWN_TICKET, 6, ESTALE, "nothing is parked under this ticket")                       \
    REASON(PARK_LIMIT, 7, EDQUOT, "too many open files are parked")                                \
    REASON(NO_DESCRIPTOR, 8, EMFILE, "the server has no descriptor left")                          \
    REASON(BAD_VERSION, 16, EPROTONOSUPPORT, "protocol version not supported")                     \
    REASON(NOT_ADMITTED, 17, EACCES, "this user is not admitted")                                  \
    REASON(TOO_MANY_CLIENTS, 18, EUSERS, "too many clients")                                       \
    REASON(BAD_FRAME, 19, EPROTO, "malformed frame")                                               \
    REASON(FRAME_TOO_LONG, 20, EMSGSIZE, "frame or value over the limit")                          \
    REASON(BAD_MESSAGE, 21, EPROTO, "message not allowed here")                                    \
    REASON(UNKNOWN_HANDLE, 22, EPROTO, "handle not open")                                          \
    REASON(TOO_SLOW, 23, ETIMEDOUT, "client does not read, say hello or give back")                \
    REASON(SHUTDOWN, 24, ESHUTDOWN, "the server stops")                                            \
    REASON(BAD_DESCRIPTOR, 25, EPROTO, "a descriptor is missing, left over or of the wrong kind")  \
    REASON(NOT_HELD, 26, EPROTO, "an operation on what the client does not hold")                  \
    REASON(NOT_PERMITTED, 27, EPROTO, "an operation that the client may not do")                   \
    REASON(NOT_RESERVED, 28, EPROTO, "more space or numbers than the client was given")

enum wire_reason {
#define REASON(name, number, error, text) WIRE_REASON_##name = number,
    WIRE_REASONS(REASON)
#undef REASON
};

struct wire_message {
    enum wire_kind kind;
    hf_id id;
    hf_id ticket; /* what was parked together; {0, 0}: none */
    uint32_t seq;
    uint32_t index; /* of what was parked under the ticket */
    uint8_t mode;   /* hf_mode; the decoder has checked it */
    uint8_t flags;
    uint8_t reason;
    uint16_t wire_version;
    uint32_t magic;
    uint32_t waiting;
    uint64_t grant;
    uint64_t version; /* of the value */
    uint64_t client;
    uint64_t inode;
    uint32_t store;       /* that an operation is about: the number of its backend */
    uint32_t credentials; /* 0: the peer's own, else as defined by an operation */
    uint32_t error;       /* a positive errno, or 0 */
    uint32_t data_size;
    const uint8_t *data; /* not NUL-terminated; points into the decoded frame */
};

/* Decoding: what is wrong with a frame. */
enum wire_verdict {
    WIRE_OK = 0,
    WIRE_INCOMPLETE, /* more bytes are needed */
    WIRE_TOO_LONG,   /* the length field says more than the limit */
    WIRE_MALFORMED,  /* unknown kind, fields cut short or left over, bad mode or flags */
};

/* Bytes @message takes on the wire, length field included. */
size_t wire_size(const struct wire_message *message);

/* Encode into @out, which has wire_size() bytes of room. Our own bugs (a bad kind, data too
 * long) are asserted. Of a REST without a pointer, the bytes are the caller's to write.
 * Return: the bytes written, these included. */
size_t wire_encode(const struct wire_message *message, uint8_t *out);

/*
 * Decode the first frame of @bytes. On WIRE_OK, *consumed is its whole size and
 * message->data, if any, points into @bytes. @frame_limit bounds the length field. Only
 * messages going @direction are known; all others are malformed.
 * Never reads past @size. Once the length field is there, WIRE_INCOMPLETE is said only when the
 * rest could still be good. On all but WIRE_OK, *message is unspecified, *consumed unchanged.
 */
enum wire_verdict wire_decode(const uint8_t *bytes, size_t size, size_t frame_limit,
                              enum wire_direction direction, struct wire_message *message,
                              size_t *consumed);

const char *wire_kind_name(enum wire_kind kind);
const char *wire_reason_text(uint8_t reason);

/* The positive errno for a reason; EPROTO for one that is not in the table. */
int wire_reason_errno(uint8_t reason);

#endif
