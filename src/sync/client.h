/*
 * One client's side of one sync handle: what the client holds, the threads that use it and
 * the threads that wait for it. No I/O, no clock, no threads of its own: the caller passes
 * messages and the time in, and gets messages, wake-ups and timer requests through callbacks.
 *
 * The fast path (the inline functions below) is one atomic operation on `word` and may run in
 * any thread at any time. Every other function needs the caller's lock, one for all holds of a
 * connection.
 */
#ifndef HF_SYNC_CLIENT_H
#define HF_SYNC_CLIENT_H

#include "base/id_map.h"
#include "base/list.h"
#include "wire/wire.h"

#include <stdatomic.h>

struct sync_hold;
struct sync_waiter;

/* What a connection gives its holds. */
struct sync_client {
    uint64_t quantum_ns;        /* 0: no batching */
    uint32_t last_seq;          /* numbers ACQUIREs */
    struct sync_waiter *caller; /* whose thread is in the call now: it is not woken */
    /* Queue a message to the server. A failure shows up later as sync_hold_disconnect(). */
    void (*send)(void *context, const struct wire_message *message);
    /* waiter->state has become final; its thread may go on, and the waiter may be gone
     * as soon as the caller's lock is dropped. */
    void (*wake)(void *context, struct sync_waiter *waiter);
    /* Call sync_hold_tick() at hold->tick_ns (0: no longer needed). */
    void (*arm)(void *context, struct sync_hold *hold);
    void *context;
};

enum sync_waiter_state {
    SYNC_WAITER_QUEUED,
    SYNC_WAITER_GRANTED, /* the thread uses the hold; result is HF_UNCHANGED, HF_CHANGED... */
    SYNC_WAITER_FAILED,  /* result is a negative errno */
};

/* A thread that wants the hold. Lives on that thread's stack. */
struct sync_waiter {
    struct list link; /* hold->waiters */
    uint8_t mode;
    bool nowait;
    bool upgrades; /* set by sync_hold_upgrade(): other threads' writes count as changes */
    enum sync_waiter_state state;
    int result;
    uint64_t epoch; /* the hold's when the thread queued */
    uint32_t local_writes;
};

/*
 * The word: who uses the hold, and whether a new user must take the slow path.
 *
 *   bit 0  READ_OK    a thread may use it SHARED
 *   bit 1  WRITE_OK   a thread may use it EXCLUSIVE (when nobody else does)
 *   bit 2  WRITER     a thread uses it EXCLUSIVE
 *   bit 3  ATTENTION  the last user that leaves must call sync_hold_left()
 *   bit 4  DIRTY      the writer has set the value and not published it
 *   bit 5  DEAD       the connection ended
 *   bits 8-31         threads that use it SHARED
 *   bits 32-63        uses so far; wraps
 */
#define SYNC_READ_OK UINT64_C(0x01)
#define SYNC_WRITE_OK UINT64_C(0x02)
#define SYNC_WRITER UINT64_C(0x04)
#define SYNC_ATTENTION UINT64_C(0x08)
#define SYNC_DIRTY UINT64_C(0x10)
#define SYNC_DEAD UINT64_C(0x20)
#define SYNC_READER UINT64_C(0x100)
#define SYNC_READERS UINT64_C(0xffffff00)
#define SYNC_USE (UINT64_C(1) << 32)

struct sync_hold {
    _Atomic uint64_t word;
    struct id_map_node node;       /* the handle's identifier */
    uint64_t grant;                /* 0: the server has nothing of ours */
    uint64_t version;              /* the last one known here; 0: none */
    _Atomic uint64_t epoch;        /* moves when another client may have changed things */
    struct list waiters;           /* first come, first served */
    struct sync_waiter *requester; /* the waiter the outstanding ACQUIRE is for, if it waits */
    uint32_t seq;                  /* of the outstanding ACQUIRE */
    uint32_t local_writes;         /* EXCLUSIVE uses given to waiters; wraps */
    uint8_t mode;                  /* what we hold */
    uint8_t asked;                 /* the mode in the outstanding ACQUIRE */
    uint8_t recalled_to;           /* HF_EXCLUSIVE: no RECALL to obey */
    bool outstanding;              /* an ACQUIRE has not been answered */
    bool canceled;                 /* and a CANCEL was sent after it */
    bool lock_only;                /* a pure lock: no value, no reference */
    bool owner_died;               /* the next user is to be told */
    bool changed;                  /* the same, of the epoch's last move */
    bool closing;                  /* closed; waits for the answer to a canceled ACQUIRE */
    bool eager;                    /* came back at once after the last recall: batching pays */
    bool lingering;                /* recalled, within the quantum, gate still open */
    uint16_t value_size;
    uint8_t *value;        /* NULL: none */
    uint64_t granted_ns;   /* when the last GRANT came */
    uint64_t gave_back_ns; /* when the last RECALL was obeyed; 0: never */
    uint64_t linger_until_ns;
    uint64_t tick_ns; /* 0: no tick wanted */
    uint32_t uses_at_tick;
    _Atomic uint32_t waiting; /* how many waited, as the last RECALL says; 0: there was none */
};

void sync_hold_init(struct sync_hold *hold, hf_id id, bool lock_only);

/* Frees the value. The hold is done (sync_hold_is_done()) or its connection is gone. */
void sync_hold_deinit(struct sync_hold *hold);

/* ---- the fast path: no lock ---- */

/* True: the calling thread uses the hold SHARED now. On false the caller takes the slow path,
 * but first calls sync_hold_left() under the lock if *left_attention says so. */
static inline bool sync_hold_try_shared(struct sync_hold *hold, bool *left_attention)
{
    uint64_t before =
        atomic_fetch_add_explicit(&hold->word, SYNC_READER + SYNC_USE, memory_order_acquire);
    if ((before & (SYNC_READ_OK | SYNC_WRITER)) == SYNC_READ_OK) {
        return true;
    }
    before = atomic_fetch_sub_explicit(&hold->word, SYNC_READER, memory_order_release);
    *left_attention =
        (before & (SYNC_ATTENTION | SYNC_READERS | SYNC_WRITER)) == (SYNC_ATTENTION | SYNC_READER);
    return false;
}

/* True: the calling thread uses the hold EXCLUSIVE now. */
static inline bool sync_hold_try_exclusive(struct sync_hold *hold)
{
    const uint64_t in_the_way = SYNC_WRITER | SYNC_READERS | SYNC_DEAD;
    uint64_t before = atomic_load_explicit(&hold->word, memory_order_relaxed);
    while ((before & SYNC_WRITE_OK) != 0 && (before & in_the_way) == 0) {
        if (atomic_compare_exchange_weak_explicit(&hold->word,
                                                  &before,
                                                  (before | SYNC_WRITER) + SYNC_USE,
                                                  memory_order_acquire,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* The calling thread used it SHARED. True: call sync_hold_left() under the lock. */
static inline bool sync_hold_leave_shared(struct sync_hold *hold)
{
    uint64_t before = atomic_fetch_sub_explicit(&hold->word, SYNC_READER, memory_order_release);
    return (before & (SYNC_ATTENTION | SYNC_READERS)) == (SYNC_ATTENTION | SYNC_READER);
}

/* The calling thread used it EXCLUSIVE and SYNC_DIRTY is not set; with SYNC_DIRTY it calls
 * sync_hold_leave_dirty() under the lock instead. True: call sync_hold_left() under the lock. */
static inline bool sync_hold_leave_exclusive(struct sync_hold *hold)
{
    uint64_t before = atomic_fetch_and_explicit(&hold->word, ~SYNC_WRITER, memory_order_release);
    return (before & (SYNC_ATTENTION | SYNC_READERS)) == SYNC_ATTENTION;
}

/* ---- the slow path: under the caller's lock ---- */

/* A thread wants the hold in waiter->mode (waiter->nowait says whether it may wait). On return
 * waiter->state is final, or it is queued and wake() will be called once it is final; not both. */
void sync_hold_acquire(struct sync_client *client, struct sync_hold *hold,
                       struct sync_waiter *waiter, uint64_t now_ns);

/* The same for a thread that uses the hold SHARED and gives that up for EXCLUSIVE. */
void sync_hold_upgrade(struct sync_client *client, struct sync_hold *hold,
                       struct sync_waiter *waiter, uint64_t now_ns);

/* The waiter gives up with @result, a negative errno. Nothing happens if its state is final
 * already: look at it afterwards. wake() is not called for it. */
void sync_hold_give_up(struct sync_client *client, struct sync_hold *hold,
                       struct sync_waiter *waiter, int result, uint64_t now_ns);

/* A thread left and the fast path said to call this. */
void sync_hold_left(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns);

/* The EXCLUSIVE user leaves after setting the value: publishes it. */
void sync_hold_leave_dirty(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns);

/* The EXCLUSIVE user goes on SHARED; a value that was set is published. */
void sync_hold_downgrade(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns);

/* The EXCLUSIVE user sends the value, if it was set, and goes on. */
void sync_hold_publish(struct sync_client *client, struct sync_hold *hold);

/* The EXCLUSIVE user sets the value. Return: 0, -ENOMEM. */
int sync_hold_set_value(struct sync_hold *hold, const void *data, uint16_t size);

/* Ask for a reference that keeps the value alive; @waiter is told when it stands. Only for a
 * hold that is not lock_only and that the server has nothing of (grant == 0, nothing outstanding). */
void sync_hold_reference(struct sync_client *client, struct sync_hold *hold,
                         struct sync_waiter *waiter);

/* Ask for @mode before any thread needs it: the server grants it if it can at once, and asks
 * nobody to let go. A grant becomes a hold that nobody uses; a thread that comes meanwhile waits
 * for the answer, and asks for itself if that did not bring what it wants. Nothing happens when
 * something is held or outstanding, or the connection is gone. */
void sync_hold_ask(struct sync_client *client, struct sync_hold *hold, hf_mode mode);

/* Go down to @mode if threads allow. Return: 0, -EBUSY. */
int sync_hold_yield(struct sync_client *client, struct sync_hold *hold, hf_mode mode,
                    uint64_t now_ns);

/* A GRANT or RECALL for this handle. Return: false when the server broke the protocol; the
 * caller disconnects. Afterwards the hold may be done: see sync_hold_is_done(). */
bool sync_hold_input(struct sync_client *client, struct sync_hold *hold,
                     const struct wire_message *message, uint64_t now_ns);

/* hold->tick_ns has come. */
void sync_hold_tick(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns);

/* No thread uses it, waits for it or will: give everything back. */
void sync_hold_close(struct sync_client *client, struct sync_hold *hold);

/* It is opened again before it was done. */
void sync_hold_reopen(struct sync_hold *hold);

/* Closed, and no answer from the server is to be expected: it may be freed. */
bool sync_hold_is_done(const struct sync_hold *hold);

/* The connection ended: every waiter fails with @result, users find out when they leave. */
void sync_hold_disconnect(struct sync_client *client, struct sync_hold *hold, int result);

/* This is a child after fork(): nobody uses the hold, nobody waits, and the (new) connection
 * has nothing of it. The value is kept as a value last seen. */
void sync_hold_reset(struct sync_hold *hold);

/* After that: the connection has it SHARED as @grant, and one use of it goes on in the child. */
void sync_hold_inherit(struct sync_hold *hold, uint64_t grant);

/* Assert the invariants at the top of client.c; the fast path must be quiet. */
void sync_hold_check(const struct sync_hold *hold);

#endif
