/*
 * Threads that wait. The first of them reads the socket itself (the leader), so that the
 * answer wakes it and nobody else. The others sleep on a futex each, so that a grant wakes
 * exactly the thread it is for. Deadlines are kept by the thread that sleeps, cancel tokens by
 * the helper.
 */
#include "base/clock.h"
#include "client/client.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PHASE_AWAKE, PHASE_ASLEEP, PHASE_LEADING, PHASE_FINAL };

static struct wait *wait_from_waiter(struct sync_waiter *waiter)
{
    return (struct wait *)(void *)waiter;
}

/* ---- sleeping ---- */

void sleeper_init(struct sleeper *sleeper)
{
    atomic_init(&sleeper->phase, PHASE_AWAKE);
}

void sleeper_wake(hf_client *client, struct sleeper *sleeper)
{
    uint32_t before = atomic_exchange_explicit(&sleeper->phase, PHASE_FINAL, memory_order_acq_rel);
    if (before == PHASE_ASLEEP) {
        /* The thread may see the phase and be gone by now; then this wakes nobody, or somebody
         * whose own loop looks again. */
        syscall(SYS_futex, &sleeper->phase, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    } else if (before == PHASE_LEADING) {
        ready_wake_leader(&client->ready);
    }
}

static bool is_final(const struct sleeper *sleeper)
{
    return atomic_load_explicit(&sleeper->phase, memory_order_acquire) == PHASE_FINAL;
}

/* Sleep until the phase is final or the deadline has passed. */
static void sleep_until_final(struct sleeper *sleeper, uint64_t deadline_ns)
{
    const struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / UINT64_C(1000000000)),
        .tv_nsec = (long)(deadline_ns % UINT64_C(1000000000)),
    };
    uint32_t phase = PHASE_AWAKE;
    atomic_compare_exchange_strong(&sleeper->phase, &phase, PHASE_ASLEEP);
    while (!is_final(sleeper)) {
        /* FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC. */
        long result = syscall(SYS_futex,
                              &sleeper->phase,
                              FUTEX_WAIT_BITSET_PRIVATE,
                              PHASE_ASLEEP,
                              deadline_ns == 0 ? NULL : &deadline,
                              NULL,
                              FUTEX_BITSET_MATCH_ANY);
        if (result != 0 && errno == ETIMEDOUT) {
            return;
        }
    }
}

/* Wait as the leader. With the lock held. */
static void lead(hf_client *client, struct sleeper *sleeper, uint64_t deadline_ns)
{
    client->leader = sleeper;
    while (!is_final(sleeper) && (deadline_ns == 0 || clock_now_ns() < deadline_ns)) {
        atomic_store_explicit(&sleeper->phase, PHASE_LEADING, memory_order_release);
        pthread_mutex_unlock(&client->lock);
        ready_lead(&client->ready, deadline_ns);
        pthread_mutex_lock(&client->lock);
        /* What we read ourselves need not wake us. */
        uint32_t leading = PHASE_LEADING;
        atomic_compare_exchange_strong(&sleeper->phase, &leading, PHASE_AWAKE);
        client_receive(client);
    }
    client->leader = NULL;
}

bool sleeper_wait(hf_client *client, struct sleeper *sleeper, uint64_t deadline_ns)
{
    if (is_final(sleeper)) {
        return true;
    }
    if (client->leader == NULL && client->ready.lead_fd >= 0) {
        lead(client, sleeper, deadline_ns);
    } else {
        pthread_mutex_unlock(&client->lock);
        sleep_until_final(sleeper, deadline_ns);
        pthread_mutex_lock(&client->lock);
    }
    return is_final(sleeper);
}

/* ---- waiting for a hold ---- */

void wait_init(struct wait *wait, hf_sync *handle, hf_mode mode, const hf_wait_opts *opts)
{
    memset(wait, 0, sizeof(*wait));
    list_init(&wait->waiter.link);
    list_init(&wait->cancel_link);
    sleeper_init(&wait->sleeper);
    wait->handle = handle;
    wait->queued_before = handle->client->out_total;
    wait->cancel = opts == NULL ? NULL : opts->cancel;
    wait->waiter.mode = (uint8_t)mode;
    wait->waiter.nowait = opts != NULL && (opts->flags & HF_NOWAIT) != 0;
}

void wait_wake(void *context, struct sync_waiter *waiter)
{
    sleeper_wake(context, &wait_from_waiter(waiter)->sleeper);
}

int wait_finish(struct wait *wait, const hf_wait_opts *opts)
{
    hf_client *client = wait->handle->client;
    struct sync_waiter *waiter = &wait->waiter;
    /* What others left to go with the next message still does, if there is none. */
    if (waiter->state == SYNC_WAITER_QUEUED || client->out_total != wait->queued_before) {
        client_flush(client);
    }
    if (waiter->state == SYNC_WAITER_QUEUED) {
        if (wait->cancel != NULL) {
            list_append(&client->cancellable, &wait->cancel_link);
            /* A token that was fired before had nobody to wake. */
            wait_check_cancelled(client, clock_now_ns());
            client_flush(client);
        }
        if (!sleeper_wait(client, &wait->sleeper, opts == NULL ? 0 : opts->deadline_ns)) {
            sync_hold_give_up(
                &client->core, &wait->handle->hold, waiter, -ETIMEDOUT, clock_now_ns());
            client_flush(client);
        }
        list_remove(&wait->cancel_link);
    }
    pthread_mutex_unlock(&client->lock);
    return waiter->result;
}

void wait_check_cancelled(hf_client *client, uint64_t now_ns)
{
    for (struct list *link = client->cancellable.next; link != &client->cancellable;) {
        struct wait *wait = list_entry(link, struct wait, cancel_link);
        link = link->next;
        if (atomic_load_explicit(&wait->cancel->fired, memory_order_acquire) &&
            wait->waiter.state == SYNC_WAITER_QUEUED) {
            sync_hold_give_up(
                &client->core, &wait->handle->hold, &wait->waiter, -ECANCELED, now_ns);
            wait_wake(client, &wait->waiter); /* giving up does not */
        }
    }
}
