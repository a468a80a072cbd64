/*
 * Threads that wait: each sleeps on a futex of its own, so that a grant wakes exactly the
 * thread it is for. Deadlines are kept by the sleeping thread, cancel tokens by the helper.
 */
#include "base/clock.h"
#include "client/client.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PHASE_AWAKE, PHASE_ASLEEP, PHASE_FINAL };

static struct wait *wait_from_waiter(struct sync_waiter *waiter)
{
    return (struct wait *)(void *)waiter;
}

void wait_init(struct wait *wait, hf_sync *handle, hf_mode mode, const hf_wait_opts *opts)
{
    memset(wait, 0, sizeof(*wait));
    list_init(&wait->waiter.link);
    list_init(&wait->cancel_link);
    atomic_init(&wait->phase, PHASE_AWAKE);
    wait->handle = handle;
    wait->cancel = opts == NULL ? NULL : opts->cancel;
    wait->waiter.mode = (uint8_t)mode;
    wait->waiter.nowait = opts != NULL && (opts->flags & HF_NOWAIT) != 0;
}

void wait_wake(void *client, struct sync_waiter *waiter)
{
    (void)client;
    struct wait *wait = wait_from_waiter(waiter);
    uint32_t before = atomic_exchange_explicit(&wait->phase, PHASE_FINAL, memory_order_acq_rel);
    if (before == PHASE_ASLEEP) {
        /* The thread may see the phase and be gone by now; then this wakes nobody, or somebody
         * whose own loop looks again. */
        syscall(SYS_futex, &wait->phase, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

/* Sleep until the phase is final or the deadline has passed. Return: whether it is final. */
static bool sleep_until_final(struct wait *wait, uint64_t deadline_ns)
{
    const struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / UINT64_C(1000000000)),
        .tv_nsec = (long)(deadline_ns % UINT64_C(1000000000)),
    };
    uint32_t phase = PHASE_AWAKE;
    atomic_compare_exchange_strong(&wait->phase, &phase, PHASE_ASLEEP);
    while (atomic_load_explicit(&wait->phase, memory_order_acquire) != PHASE_FINAL) {
        /* FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC. */
        long result = syscall(SYS_futex,
                              &wait->phase,
                              FUTEX_WAIT_BITSET_PRIVATE,
                              PHASE_ASLEEP,
                              deadline_ns == 0 ? NULL : &deadline,
                              NULL,
                              FUTEX_BITSET_MATCH_ANY);
        if (result != 0 && errno == ETIMEDOUT) {
            return atomic_load_explicit(&wait->phase, memory_order_acquire) == PHASE_FINAL;
        }
    }
    return true;
}

int wait_finish(struct wait *wait, const hf_wait_opts *opts)
{
    hf_client *client = wait->handle->client;
    struct sync_waiter *waiter = &wait->waiter;
    bool waits = waiter->state == SYNC_WAITER_QUEUED;
    bool cancellable = waits && wait->cancel != NULL;
    if (cancellable) {
        list_append(&client->cancellable, &wait->cancel_link);
        /* A token that was fired before had nobody to wake. */
        wait_check_cancelled(client, clock_now_ns());
    }
    client_flush(client);
    pthread_mutex_unlock(&client->lock);
    if (!waits) {
        return waiter->result;
    }

    uint64_t deadline_ns = opts == NULL ? 0 : opts->deadline_ns;
    if (!sleep_until_final(wait, deadline_ns)) {
        pthread_mutex_lock(&client->lock);
        sync_hold_give_up(&client->core, &wait->handle->hold, waiter, -ETIMEDOUT, clock_now_ns());
        client_flush(client);
        pthread_mutex_unlock(&client->lock);
    }
    if (cancellable) {
        pthread_mutex_lock(&client->lock);
        list_remove(&wait->cancel_link);
        pthread_mutex_unlock(&client->lock);
    }
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
