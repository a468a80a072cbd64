/*
 * One client's side of one sync handle.
 *
 *             ACQUIRE                GRANT
 *    IDLE ──────────────► WAITING ──────────► HELD(mode) ──┐ ACQUIRE more
 *     ▲  ▲                 │   ▲                │          │ (lets go first)
 *     │  └── DENIED ───────┘   └────────────────┼──────────┘
 *     └──────────── RELEASE: recalled, yielded ─┘
 *
 * WAITING is `outstanding`; HELD is mode > HF_INVALID. pump() is the one place that decides:
 * after every input it gives the hold to waiting threads, obeys a RECALL, or asks the server
 * for more, and then sets the gate (READ_OK, WRITE_OK, ATTENTION) for the fast path.
 *
 * Invariants (sync_hold_check() asserts them; pump() does after every input):
 *  1. At most one ACQUIRE is outstanding, and then mode == HF_INVALID.
 *  2. A thread uses the hold only in a mode that is held: writer ⇒ EXCLUSIVE, reader ⇒ at
 *     least SHARED; a writer excludes readers.
 *  3. The gate is open only for modes held, while no thread waits, no RECALL is in force and
 *     nothing is to be told to the next user.
 *  4. A waiting thread, a RECALL in force or a dead connection sets ATTENTION while the hold
 *     is used, so that the last user comes through pump().
 *  5. mode > HF_INVALID ⇒ grant != 0; a pure lock has grant == 0 ⇔ mode == HF_INVALID.
 *  6. requester != NULL ⇒ outstanding, and it is the first of the waiters. (An ACQUIRE that was
 *     sent ahead, or whose thread gave up, has none.)
 *
 * A RECALL for which nobody waits is never in force: it is answered when it comes, by letting
 * go or, when a thread uses the hold or waits for it, by saying so.
 *
 * input              function
 * GRANT              on_grant(), on_denied()
 * RECALL             on_recall(), on_asked()
 * time               sync_hold_tick()
 * a thread           sync_hold_acquire(), _upgrade(), _give_up(), _left(), _ask() ...
 * connection ended   sync_hold_disconnect()
 */
#include "sync/client.h"

#include "sync/client_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A thread that comes back this soon after its hold was recalled is in a tight loop. */
#define EAGER_WINDOW_NS UINT64_C(20000)

/* However many wait, a turn is this long (or the quantum, if that is shorter): a hand-off has
 * to be worth its messages. */
#define LINGER_MIN_NS UINT64_C(100000)

/* While lingering: a hold that nobody used for this long goes at once. */
#define LINGER_CHECK_NS UINT64_C(20000)

/* ---- waiters ---- */

static void finish_waiter(struct sync_client *client, struct sync_hold *hold,
                          struct sync_waiter *waiter, enum sync_waiter_state state, int result)
{
    if (hold->requester == waiter) {
        hold->requester = NULL;
    }
    list_remove(&waiter->link);
    waiter->state = state;
    waiter->result = result;
    if (waiter != client->caller) {
        client->wake(client->context, waiter);
    }
}

/* The first waiter gets the hold, which allows it: from here on its thread is a user. */
static void admit(struct sync_client *client, struct sync_hold *hold, struct sync_waiter *waiter)
{
    int result = HF_UNCHANGED;
    bool wrote_meanwhile = waiter->upgrades && waiter->local_writes != hold->local_writes;
    if (hold->changed || waiter->epoch != hold->epoch || wrote_meanwhile) {
        result |= HF_CHANGED;
        hold->changed = false;
    }
    if (hold->owner_died) {
        result |= HF_OWNER_DIED;
        hold->owner_died = false;
    }
    if (waiter->mode == HF_EXCLUSIVE) {
        hold->local_writes++;
        atomic_fetch_add_explicit(&hold->word, SYNC_WRITER + SYNC_USE, memory_order_acq_rel);
    } else {
        atomic_fetch_add_explicit(&hold->word, SYNC_READER + SYNC_USE, memory_order_acq_rel);
    }
    finish_waiter(client, hold, waiter, SYNC_WAITER_GRANTED, result);
}

/* Could a thread use the hold in @mode now? The gate is closed, so no new user can come. */
static bool usable(const struct sync_hold *hold, hf_mode mode)
{
    if (mode == HF_INVALID || hold->mode < mode || has_writer(hold)) {
        return false;
    }
    return mode == HF_SHARED || !has_readers(hold);
}

/*
 * Decide what comes next. Those who wait when a GRANT comes are users before any RECALL that
 * is on its heels is read: that is the progress everybody gets.
 */
static void pump(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns)
{
    gate_close(hold);

    struct sync_waiter *waiter;
    while ((waiter = first_waiter(hold)) != NULL && !recall_in_force(hold) &&
           usable(hold, (hf_mode)waiter->mode)) {
        admit(client, hold, waiter);
    }

    if (recall_in_force(hold) && can_come_down(hold, (hf_mode)hold->recalled_to)) {
        hold->gave_back_ns = now_ns;
        sync_send_release(client, hold, (hf_mode)hold->recalled_to, false);
        while ((waiter = first_waiter(hold)) != NULL && usable(hold, (hf_mode)waiter->mode)) {
            admit(client, hold, waiter);
        }
    }

    waiter = first_waiter(hold);
    if (waiter != NULL && !hold->outstanding && !is_dead(hold) && hold->mode < waiter->mode &&
        can_come_down(hold, HF_INVALID)) {
        hold->eager = hold->gave_back_ns != 0 && now_ns - hold->gave_back_ns < EAGER_WINDOW_NS;
        hold->requester = waiter;
        sync_send_acquire(client, hold, (hf_mode)waiter->mode, waiter->nowait ? WIRE_NOWAIT : 0);
    }
    gate_set(hold);
}

static void queue_waiter(struct sync_hold *hold, struct sync_waiter *waiter)
{
    waiter->state = SYNC_WAITER_QUEUED;
    waiter->epoch = hold->epoch;
    waiter->local_writes = hold->local_writes;
    list_append(&hold->waiters, &waiter->link);
}

static void refuse(struct sync_waiter *waiter, int result)
{
    list_init(&waiter->link);
    waiter->state = SYNC_WAITER_FAILED;
    waiter->result = result;
}

void sync_hold_acquire(struct sync_client *client, struct sync_hold *hold,
                       struct sync_waiter *waiter, uint64_t now_ns)
{
    if (is_dead(hold)) {
        refuse(waiter, -ENOTCONN);
        return;
    }
    if (waiter->nowait) {
        bool others_wait = !list_is_empty(&hold->waiters);
        bool threads_in_the_way =
            has_writer(hold) || (waiter->mode == HF_EXCLUSIVE && has_readers(hold));
        if (others_wait || threads_in_the_way || recall_in_force(hold)) {
            refuse(waiter, -EAGAIN);
            return;
        }
    }
    waiter->upgrades = false;
    queue_waiter(hold, waiter);
    client->caller = waiter;
    pump(client, hold, now_ns);
    client->caller = NULL;
}

void sync_hold_upgrade(struct sync_client *client, struct sync_hold *hold,
                       struct sync_waiter *waiter, uint64_t now_ns)
{
    /* Close the gate first, so that no other thread writes unseen in between. */
    gate_close(hold);
    atomic_fetch_sub_explicit(&hold->word, SYNC_READER, memory_order_release);
    if (is_dead(hold)) {
        refuse(waiter, -ENOTCONN);
        pump(client, hold, now_ns);
        return;
    }
    if (waiter->nowait && (!list_is_empty(&hold->waiters) || has_readers(hold))) {
        refuse(waiter, -EAGAIN);
        pump(client, hold, now_ns);
        return;
    }
    waiter->upgrades = true;
    queue_waiter(hold, waiter);
    client->caller = waiter;
    pump(client, hold, now_ns);
    client->caller = NULL;
}

void sync_hold_give_up(struct sync_client *client, struct sync_hold *hold,
                       struct sync_waiter *waiter, int result, uint64_t now_ns)
{
    if (waiter->state != SYNC_WAITER_QUEUED) {
        return;
    }
    bool requested = hold->requester == waiter;
    if (requested) {
        hold->requester = NULL;
    }
    list_remove(&waiter->link);
    waiter->state = SYNC_WAITER_FAILED;
    waiter->result = result;
    if (requested && !hold->canceled) {
        sync_send_cancel(client, hold);
    }
    pump(client, hold, now_ns);
}

void sync_hold_left(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns)
{
    pump(client, hold, now_ns);
}

void sync_hold_leave_dirty(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns)
{
    gate_close(hold);
    if (is_dead(hold)) {
        atomic_fetch_and_explicit(&hold->word, ~SYNC_DIRTY, memory_order_relaxed);
    } else if (!recall_in_force(hold) || has_readers(hold)) {
        sync_send_release(client, hold, HF_EXCLUSIVE, false);
    }
    /* else the RELEASE that obeys the RECALL carries the value */
    atomic_fetch_and_explicit(&hold->word, ~SYNC_WRITER, memory_order_release);
    pump(client, hold, now_ns);
    if ((word_now(hold) & SYNC_DIRTY) != 0) {
        /* A reader passing through kept the hold from going: publish by itself. */
        sync_send_release(client, hold, HF_EXCLUSIVE, false);
    }
}

void sync_hold_downgrade(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns)
{
    gate_close(hold);
    if ((word_now(hold) & SYNC_DIRTY) != 0 && !is_dead(hold)) {
        sync_send_release(client, hold, HF_EXCLUSIVE, false);
    }
    atomic_fetch_add_explicit(&hold->word, SYNC_READER, memory_order_acq_rel);
    atomic_fetch_and_explicit(&hold->word, ~(SYNC_WRITER | SYNC_DIRTY), memory_order_acq_rel);
    pump(client, hold, now_ns);
}

void sync_hold_publish(struct sync_client *client, struct sync_hold *hold)
{
    if ((word_now(hold) & SYNC_DIRTY) != 0 && !is_dead(hold)) {
        sync_send_release(client, hold, HF_EXCLUSIVE, false);
    }
}

static int keep_value(struct sync_hold *hold, const void *data, uint16_t size)
{
    /* Never smaller than the one before, so that a value that keeps its size costs nothing. */
    if (hold->value == NULL || size > hold->value_size) {
        uint8_t *value = realloc(hold->value, size > 0 ? size : 1);
        if (value == NULL) {
            return -ENOMEM;
        }
        hold->value = value;
    }
    if (size > 0) {
        memcpy(hold->value, data, size);
    }
    hold->value_size = size;
    return 0;
}

int sync_hold_set_value(struct sync_hold *hold, const void *data, uint16_t size)
{
    int error = keep_value(hold, data, size);
    if (error == 0) {
        atomic_fetch_or_explicit(&hold->word, SYNC_DIRTY, memory_order_relaxed);
    }
    return error;
}

void sync_hold_reference(struct sync_client *client, struct sync_hold *hold,
                         struct sync_waiter *waiter)
{
    assert(!hold->lock_only && hold->grant == 0 && !hold->outstanding);
    if (is_dead(hold)) {
        refuse(waiter, -ENOTCONN);
        return;
    }
    waiter->mode = HF_INVALID;
    waiter->nowait = false;
    waiter->upgrades = false;
    queue_waiter(hold, waiter);
    hold->requester = waiter;
    sync_send_acquire(client, hold, HF_INVALID, 0);
    gate_set(hold);
}

void sync_hold_ask(struct sync_client *client, struct sync_hold *hold, hf_mode mode)
{
    bool registered = hold->lock_only || hold->grant != 0;
    if (!registered || hold->mode != HF_INVALID || hold->outstanding || hold->closing ||
        is_dead(hold)) {
        return;
    }
    gate_close(hold);
    hold->eager = false; /* nobody is at it */
    sync_send_acquire(client, hold, mode, WIRE_AHEAD);
    gate_set(hold);
}

int sync_hold_yield(struct sync_client *client, struct sync_hold *hold, hf_mode mode,
                    uint64_t now_ns)
{
    if (hold->mode <= mode) {
        return 0;
    }
    gate_close(hold);
    bool possible = list_is_empty(&hold->waiters) && can_come_down(hold, mode);
    if (possible) {
        sync_send_release(client, hold, mode, false);
    }
    pump(client, hold, now_ns);
    return possible ? 0 : -EBUSY;
}

/* ---- messages in ---- */

static bool on_denied(struct sync_client *client, struct sync_hold *hold,
                      const struct wire_message *message, uint64_t now_ns)
{
    int result = -wire_reason_errno(message->reason);
    if (result == 0) {
        return false;
    }
    hold->outstanding = false;
    if (hold->requester != NULL) {
        finish_waiter(
            client, hold, hold->requester, SYNC_WAITER_FAILED, -wire_reason_errno(message->reason));
    }
    pump(client, hold, now_ns);
    return true;
}

static bool on_grant(struct sync_client *client, struct sync_hold *hold,
                     const struct wire_message *message, uint64_t now_ns)
{
    if (!hold->outstanding || message->seq != hold->seq) {
        return false;
    }
    if ((message->flags & WIRE_DENIED) != 0) {
        return on_denied(client, hold, message, now_ns);
    }
    bool has_value = (message->flags & WIRE_VALUE) != 0;
    if (message->grant == 0 || message->mode != hold->asked || (has_value && hold->lock_only)) {
        return false;
    }
    struct sync_waiter *requester = hold->requester;
    hold->outstanding = false;
    hold->requester = NULL;
    hold->grant = message->grant;
    hold->mode = message->mode;
    hold->recalled_to = HF_EXCLUSIVE;
    hold->granted_ns = now_ns;
    hold->uses_at_tick = uses_so_far(hold);

    if (message->mode == HF_INVALID) { /* a reference */
        if (requester != NULL) {
            finish_waiter(client, hold, requester, SYNC_WAITER_GRANTED, HF_UNCHANGED);
        }
    } else {
        if (message->version != hold->version) {
            hold->epoch++;
            hold->changed = true;
            if (!has_value) {
                hold->value_size = 0; /* there is none any more */
            } else if (keep_value(hold, message->data, message->data_size) != 0) {
                return false; /* no memory: to go on without it would be to go on with an old one */
            }
            hold->version = message->version;
        }
        hold->owner_died = hold->owner_died || (message->flags & WIRE_OWNER_DIED) != 0;
    }
    pump(client, hold, now_ns);
    return true;
}

/* Whether to go on for a while although the hold is recalled: only for threads that came
 * back at once the last time and are at it now. */
static bool worth_lingering(const struct sync_client *client, const struct sync_hold *hold,
                            uint64_t now_ns)
{
    if (client->quantum_ns == 0 || !hold->eager) {
        return false;
    }
    return has_writer(hold) || has_readers(hold) || !list_is_empty(&hold->waiters) ||
           now_ns - hold->granted_ns < 4 * LINGER_CHECK_NS;
}

static uint64_t turn_ns(const struct sync_client *client, uint32_t waiting)
{
    uint64_t turn = client->quantum_ns / (waiting > 0 ? waiting : 1);
    uint64_t least = client->quantum_ns < LINGER_MIN_NS ? client->quantum_ns : LINGER_MIN_NS;
    return turn > least ? turn : least;
}

static void arm_tick(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns)
{
    uint64_t check_ns = now_ns + LINGER_CHECK_NS;
    hold->tick_ns = check_ns < hold->linger_until_ns ? check_ns : hold->linger_until_ns;
    hold->uses_at_tick = uses_so_far(hold);
    client->arm(client->context, hold);
}

/* The server asks, for a request that will not wait, whether a thread uses the hold. */
static void on_asked(struct sync_client *client, struct sync_hold *hold, hf_mode mode,
                     uint64_t now_ns)
{
    pump(client, hold, now_ns); /* a user may have left and not said so yet */
    if (mode >= hold->mode) {
        return; /* it has gone, or more has been asked for: that is the answer */
    }
    gate_close(hold);
    if (list_is_empty(&hold->waiters) && can_come_down(hold, mode)) {
        hold->gave_back_ns = now_ns;
        sync_send_release(client, hold, mode, false);
    } else {
        sync_send_in_use(client, hold);
    }
    gate_set(hold);
}

static void on_recall(struct sync_client *client, struct sync_hold *hold,
                      const struct wire_message *message, uint64_t now_ns)
{
    if (message->grant != hold->grant || message->mode >= hold->mode) {
        return; /* about an earlier hold, or already obeyed */
    }
    if (message->waiting == 0) {
        on_asked(client, hold, (hf_mode)message->mode, now_ns);
        return;
    }
    if (message->mode >= hold->recalled_to) {
        return; /* known */
    }
    bool first = hold->recalled_to == HF_EXCLUSIVE;
    hold->recalled_to = message->mode;
    atomic_store_explicit(&hold->waiting, message->waiting, memory_order_relaxed);
    if (first && worth_lingering(client, hold, now_ns)) {
        hold->lingering = true;
        hold->linger_until_ns = now_ns + turn_ns(client, message->waiting);
        arm_tick(client, hold, now_ns);
    }
    pump(client, hold, now_ns);
}

bool sync_hold_input(struct sync_client *client, struct sync_hold *hold,
                     const struct wire_message *message, uint64_t now_ns)
{
    bool right = true;
    if (message->kind == WIRE_GRANT) {
        right = on_grant(client, hold, message, now_ns);
    } else {
        on_recall(client, hold, message, now_ns);
    }
    if (right && hold->closing && !hold->outstanding) {
        sync_hold_close(client, hold);
    }
    return right;
}

void sync_hold_tick(struct sync_client *client, struct sync_hold *hold, uint64_t now_ns)
{
    if (hold->tick_ns == 0 || now_ns < hold->tick_ns) {
        return;
    }
    bool in_use = has_writer(hold) || has_readers(hold) || !list_is_empty(&hold->waiters) ||
                  uses_so_far(hold) != hold->uses_at_tick;
    if (in_use && now_ns < hold->linger_until_ns) {
        arm_tick(client, hold, now_ns);
        return;
    }
    sync_send_disarm(client, hold);
    pump(client, hold, now_ns);
}

void sync_hold_disconnect(struct sync_client *client, struct sync_hold *hold, int result)
{
    atomic_fetch_or_explicit(&hold->word, SYNC_DEAD, memory_order_acq_rel);
    gate_close(hold);
    hold->mode = HF_INVALID;
    hold->grant = 0;
    hold->outstanding = false;
    hold->recalled_to = HF_EXCLUSIVE;
    sync_send_disarm(client, hold);
    struct sync_waiter *waiter;
    while ((waiter = first_waiter(hold)) != NULL) {
        finish_waiter(client, hold, waiter, SYNC_WAITER_FAILED, result);
    }
}
