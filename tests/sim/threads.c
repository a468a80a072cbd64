/*
 * What a thread of a client does, one step at a time. A step ends wherever another thread could
 * run: after each operation on the atomic word, and after each call under the client's lock.
 *
 *   IDLE ──fast path──► USES ──leaves──► IDLE, or LEFT first when sync_hold_left() is due
 *    │                   ▲ │upgrade
 *    └► (BACKS_OUT) ► ENTERS ──sync_hold_acquire()──► WAITS ──► USES or IDLE
 */
#include "world.h"

#include <errno.h>
#include <string.h>

static struct sim_hold *hold_of(struct world *world, int client, const struct thread *thread)
{
    return &world->clients[client].holds[thread->handle];
}

static void note(struct world *world, const char *what, int client, int thread, int result)
{
    const struct thread *actor = &world->clients[client].threads[thread];
    trace_note(world, what, client, thread, actor->handle, actor->mode, result);
}

/* A call under the client's lock begins, and ends. */
static struct sync_client *core_of(struct world *world, int client)
{
    world->acting = client;
    return &world->clients[client].core;
}

static void call_ends(struct world *world, int client)
{
    collect_woken(world, client);
    reap_done(world, client);
}

/* ---- how waits end ---- */

static void use_begins(struct world *world, int client, int thread, int result)
{
    struct thread *actor = &world->clients[client].threads[thread];
    actor->state = THREAD_USES;
    actor->set = false;
    note(world, "uses", client, thread, result);
    check_use_begins(world, client, thread, result);
    actor->upgrades = false;
}

static void open_ends(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    hold->opening = false;
    actor->state = THREAD_IDLE;
    if (actor->waiter.state == SYNC_WAITER_GRANTED) {
        hold->open = true;
        cover(world, COVER_open_value);
        note(world, "has opened", client, thread, 0);
        return;
    }
    cover(world, COVER_open_refused);
    note(world, "is refused to open", client, thread, actor->waiter.result);
    if (actor->waiter.result != -ENOTCONN || !world->clients[client].told) {
        if (!world->profile.tight || actor->waiter.result != -EDQUOT) {
            sim_fail(world, "an open fails with %d for no reason", actor->waiter.result);
        }
        sync_hold_close(core_of(world, client), &hold->hold);
        reap_done(world, client);
    }
}

/* It gave up just as its wait ended, and came too late to the client's lock. */
static void give_up_late(struct world *world, int client, struct thread *actor)
{
    const struct sync_waiter before = actor->waiter;
    const uint64_t sent_before = world->clients[client].sent;
    sync_hold_give_up(core_of(world, client),
                      &hold_of(world, client, actor)->hold,
                      &actor->waiter,
                      -ECANCELED,
                      world->now_ns);
    if (actor->waiter.state != before.state || actor->waiter.result != before.result ||
        world->clients[client].sent != sent_before) {
        sim_fail(world, "giving up after the end of the wait has an effect");
    }
    cover(world, COVER_gave_up_late);
}

static void wait_ends(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    if (actor->state == THREAD_WAITS && actor->gave_up == 0 && dice_percent(&world->dice, 5)) {
        give_up_late(world, client, actor);
    }
    if (actor->state == THREAD_OPENS) {
        open_ends(world, client, thread);
    } else if (actor->waiter.state == SYNC_WAITER_GRANTED) {
        if (actor->gave_up != 0) {
            sim_fail(world, "a thread that gave up is granted");
        }
        cover(world, actor->upgrades ? COVER_use_upgraded : COVER_use_waited);
        use_begins(world, client, thread, actor->waiter.result);
    } else {
        note(world, "fails", client, thread, actor->waiter.result);
        actor->state = THREAD_IDLE;
        actor->upgrades = false;
        check_failure(world, client, thread, actor->waiter.result);
    }
}

void collect_woken(struct world *world, int client)
{
    /* In the order in which they queued: those who were let in together may not have been. */
    for (;;) {
        int first = -1;
        for (int i = 0; i < world->clients[client].thread_count; i++) {
            const struct thread *thread = &world->clients[client].threads[i];
            if (thread->woken &&
                (first < 0 || thread->order < world->clients[client].threads[first].order)) {
                first = i;
            }
        }
        if (first < 0) {
            return;
        }
        world->clients[client].threads[first].woken = false;
        wait_ends(world, client, first);
    }
}

/* ---- opening and closing ---- */

static void begin_wait(struct world *world, int client, struct thread *actor,
                       enum thread_state state)
{
    const struct sim_hold *hold = hold_of(world, client, actor);
    memset(&actor->waiter, 0, sizeof(actor->waiter));
    list_init(&actor->waiter.link);
    actor->waiter.mode = actor->mode;
    actor->waiter.nowait = actor->nowait;
    actor->waiter.state = SYNC_WAITER_QUEUED;
    actor->state = state;
    actor->order = ++world->last_order;
    actor->gave_up = 0;
    actor->contended = false;
    actor->exclusive_before = hold->exclusive_uses;
    actor->others_before = model_others(world, client, actor->handle);
    actor->told_before = hold->told;
}

static bool open_handle(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const bool lock_only = world->models[actor->handle].lock_only;
    if (hold->opening) {
        return false;
    }
    if (!hold->exists) {
        memset(hold, 0, sizeof(*hold));
        sync_hold_init(&hold->hold, sim_id(actor->handle), lock_only);
        hold->exists = true;
        hold->told = SIM_NEVER;
    } else {
        sync_hold_reopen(&hold->hold);
        cover(world, COVER_reopened);
    }
    actor->mode = HF_INVALID;
    actor->nowait = false;
    note(world, "opens", client, thread, 0);
    if (lock_only || hold->hold.outstanding || hold->hold.grant != 0) {
        hold->open = true;
        cover(world, COVER_open_lock);
        return true;
    }
    hold->opening = true;
    begin_wait(world, client, actor, THREAD_OPENS);
    sync_hold_reference(core_of(world, client), &hold->hold, &actor->waiter);
    call_ends(world, client);
    return true;
}

void handle_open_now(struct world *world, int client, int handle)
{
    struct client *opener = &world->clients[client];
    opener->threads[0].handle = (uint8_t)handle;
    open_handle(world, client, 0);
    while (opener->threads[0].state == THREAD_OPENS) {
        deliver_to_server(world, client);
        deliver_to_client(world, client);
    }
}

bool handle_is_quiet(const struct world *world, int client, int handle)
{
    for (int i = 0; i < world->clients[client].thread_count; i++) {
        const struct thread *thread = &world->clients[client].threads[i];
        if (thread->handle == handle && thread->state != THREAD_IDLE) {
            return false;
        }
    }
    return true;
}

void handle_close(struct world *world, int client, int handle)
{
    struct sim_hold *hold = &world->clients[client].holds[handle];
    trace_note(world, "closes", client, -1, handle, 0, 0);
    hold->open = false;
    world->letting_go = true;
    sync_hold_close(core_of(world, client), &hold->hold);
    world->letting_go = false;
    cover(world, COVER_closed);
    if (!sync_hold_is_done(&hold->hold)) {
        cover(world, COVER_closed_undone);
    }
    reap_done(world, client);
}

/* ---- acquiring ---- */

/* The slow path. */
static void enter(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const uint64_t sent_before = world->clients[client].sent;
    const bool is_free = check_is_free(world, client, thread, actor->handle, actor->mode);
    begin_wait(world, client, actor, THREAD_WAITS);
    note(world, "enters", client, thread, 0);
    actor->contended = check_is_contended(world, client, thread);
    if (world->models[actor->handle].entries[client].outstanding_ahead && hold->hold.outstanding) {
        cover(world, COVER_ahead_waited);
    }
    sync_hold_acquire(core_of(world, client), &hold->hold, &actor->waiter, world->now_ns);
    const bool final = actor->waiter.state != SYNC_WAITER_QUEUED;
    if (final && actor->woken) {
        sim_fail(world, "a waiter is final on return and woken besides");
    }
    if (is_free && (actor->waiter.state != SYNC_WAITER_GRANTED ||
                    world->clients[client].sent != sent_before)) {
        sim_fail(world, "rule 1: what the client holds and nobody uses is not had at once");
    }
    actor->woken = final;
    if (actor->waiter.state == SYNC_WAITER_GRANTED && world->clients[client].sent == sent_before) {
        cover(world, COVER_use_slow_no_message);
    }
    call_ends(world, client);
}

/* The two halves of sync_hold_try_shared(), for other threads to run in between. */
static bool try_shared_begins(struct sync_hold *hold)
{
    const uint64_t before = atomic_fetch_add(&hold->word, SYNC_READER + SYNC_USE);
    return (before & (SYNC_READ_OK | SYNC_WRITER)) == SYNC_READ_OK;
}

static bool try_shared_backs_out(struct sync_hold *hold)
{
    const uint64_t before = atomic_fetch_sub(&hold->word, SYNC_READER);
    return (before & (SYNC_ATTENTION | SYNC_READERS | SYNC_WRITER)) ==
           (SYNC_ATTENTION | SYNC_READER);
}

static void back_out(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    const bool left = try_shared_backs_out(&hold_of(world, client, actor)->hold);
    note(world, "backs out", client, thread, left);
    cover(world, COVER_backed_out);
    actor->state = left ? THREAD_LEFT : THREAD_ENTERS;
    actor->enters = true;
}

static void acquire(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const bool is_free = check_is_free(world, client, thread, actor->handle, actor->mode);
    bool left = false;
    bool entered = false;
    actor->order = ++world->last_order;
    actor->others_before = model_others(world, client, actor->handle);
    actor->told_before = hold->told;
    actor->state = THREAD_ENTERS;
    actor->enters = true;
    if (actor->mode == HF_EXCLUSIVE) {
        entered = sync_hold_try_exclusive(&hold->hold);
    } else if (dice_percent(&world->dice, world->profile.split)) {
        entered = try_shared_begins(&hold->hold);
        if (!entered) {
            actor->state = THREAD_BACKS_OUT;
            note(world, "is refused, about to back out", client, thread, 0);
            return;
        }
    } else {
        entered = sync_hold_try_shared(&hold->hold, &left);
    }
    if (entered) {
        cover(world, COVER_use_fast);
        use_begins(world, client, thread, HF_UNCHANGED);
    } else if (left) {
        note(world, "is refused, and the last to leave", client, thread, 0);
        actor->state = THREAD_LEFT;
    } else if (is_free) {
        enter(world, client, thread);
    } else {
        note(world, "is refused", client, thread, 0);
    }
}

static void give_up(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const int result = dice_percent(&world->dice, 50) ? -ECANCELED : -ETIMEDOUT;
    note(world, "gives up", client, thread, result);
    actor->gave_up = result;
    sync_hold_give_up(core_of(world, client), &hold->hold, &actor->waiter, result, world->now_ns);
    if (actor->waiter.state != SYNC_WAITER_FAILED || actor->waiter.result != result) {
        sim_fail(world, "a thread gives up and still waits");
    }
    if (actor->woken) {
        sim_fail(world, "a thread is woken by its own giving up");
    }
    actor->woken = true;
    check_canceled(world, client, actor->handle);
    call_ends(world, client);
}

/* ---- using ---- */

static void release(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const bool connected = world->clients[client].link == LINK_UP && !world->clients[client].told;
    bool left = false;
    check_value(world, client, thread);
    note(world, "leaves", client, thread, 0);
    actor->state = THREAD_IDLE;
    if (actor->mode == HF_SHARED) {
        left = sync_hold_leave_shared(&hold->hold);
    } else if ((atomic_load(&hold->hold.word) & SYNC_DIRTY) != 0) {
        sync_hold_leave_dirty(core_of(world, client), &hold->hold, world->now_ns);
        if (connected) {
            check_published(world, actor->handle, actor->stamp);
        }
        call_ends(world, client);
    } else if (actor->set && connected) {
        sim_fail(world, "rule 3: a value was set and the hold is not dirty");
    } else {
        left = sync_hold_leave_exclusive(&hold->hold);
    }
    actor->set = false;
    if (left) {
        actor->state = THREAD_LEFT;
        actor->enters = false;
    }
}

static void call_left(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    note(world, "says that it was the last to leave", client, thread, 0);
    cover(world, COVER_late_left);
    actor->state = actor->enters ? THREAD_ENTERS : THREAD_IDLE;
    sync_hold_left(core_of(world, client), &hold->hold, world->now_ns);
    call_ends(world, client);
}

static void upgrade(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const uint64_t sent_before = world->clients[client].sent;
    check_value(world, client, thread);
    actor->mode = HF_EXCLUSIVE;
    actor->nowait = dice_percent(&world->dice, world->profile.nowait);
    const bool is_free = check_is_free(world, client, thread, actor->handle, HF_EXCLUSIVE);
    begin_wait(world, client, actor, THREAD_WAITS);
    actor->upgrades = true;
    note(world, "upgrades", client, thread, 0);
    actor->contended = check_is_contended(world, client, thread);
    sync_hold_upgrade(core_of(world, client), &hold->hold, &actor->waiter, world->now_ns);
    if (is_free && (actor->waiter.state != SYNC_WAITER_GRANTED ||
                    world->clients[client].sent != sent_before)) {
        sim_fail(world,
                 "rule 1: an upgrade of a hold that is EXCLUSIVE already is not had at once");
    }
    if (actor->waiter.state != SYNC_WAITER_QUEUED) {
        actor->woken = true;
    }
    call_ends(world, client);
}

static void downgrade(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const bool connected = world->clients[client].link == LINK_UP && !world->clients[client].told;
    actor->mode = HF_SHARED;
    note(world, "downgrades", client, thread, 0);
    cover(world, COVER_downgraded);
    sync_hold_downgrade(core_of(world, client), &hold->hold, world->now_ns);
    if (actor->set && connected) {
        check_published(world, actor->handle, actor->stamp);
    }
    actor->set = false;
    call_ends(world, client);
}

static void set_value(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    uint8_t bytes[SIM_VALUE_MAX];
    uint16_t size = 0;
    actor->stamp = dice_percent(&world->dice, 10) ? 0 : ++world->last_stamp;
    value_fill(actor->stamp, bytes, &size);
    note(world, "sets the value", client, thread, (int)actor->stamp);
    if (sync_hold_set_value(&hold->hold, bytes, size) != 0) {
        sim_fail(world, "sync_hold_set_value() fails");
    }
    actor->set = true;
    check_value(world, client, thread);
}

static void publish(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    struct sim_hold *hold = hold_of(world, client, actor);
    const bool connected = world->clients[client].link == LINK_UP && !world->clients[client].told;
    note(world, "publishes", client, thread, 0);
    sync_hold_publish(core_of(world, client), &hold->hold);
    if (actor->set && connected) {
        check_published(world, actor->handle, actor->stamp);
    }
    /* What was set in a connection that is gone is lost, and seen by this thread alone. */
    actor->set = actor->set && !connected;
    call_ends(world, client);
}

static bool use(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    const struct profile *profile = &world->profile;
    if (world->finishing || world->clients[client].told) {
        release(world, client, thread);
        return true;
    }
    check_value(world, client, thread);
    if (dice_percent(&world->dice, profile->linger)) {
        return false;
    }
    if (actor->mode == HF_SHARED) {
        if (dice_percent(&world->dice, profile->upgrade)) {
            upgrade(world, client, thread);
            return true;
        }
    } else {
        const bool has_value = !world->models[actor->handle].lock_only;
        if (has_value && dice_percent(&world->dice, profile->set)) {
            set_value(world, client, thread);
            return true;
        }
        if (has_value && dice_percent(&world->dice, profile->publish)) {
            publish(world, client, thread);
            return true;
        }
        if (dice_percent(&world->dice, profile->downgrade)) {
            downgrade(world, client, thread);
            return true;
        }
    }
    release(world, client, thread);
    return true;
}

static void ask_ahead(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    actor->mode = dice_percent(&world->dice, 50) ? HF_EXCLUSIVE : HF_SHARED;
    note(world, "asks ahead", client, thread, 0);
    sync_hold_ask(
        core_of(world, client), &hold_of(world, client, actor)->hold, (hf_mode)actor->mode);
    call_ends(world, client);
}

static bool begin(struct world *world, int client, int thread)
{
    struct thread *actor = &world->clients[client].threads[thread];
    const struct profile *profile = &world->profile;
    if (world->finishing || world->clients[client].told) {
        return false;
    }
    actor->handle = (uint8_t)dice_below(&world->dice, world->handle_count);
    struct sim_hold *hold = hold_of(world, client, actor);
    if (!hold->open) {
        return open_handle(world, client, thread);
    }
    if (dice_percent(&world->dice, profile->yield)) {
        actor->mode = dice_percent(&world->dice, 50) ? HF_INVALID : HF_SHARED;
        world->letting_go = true;
        const int result =
            sync_hold_yield(core_of(world, client), &hold->hold, actor->mode, world->now_ns);
        world->letting_go = false;
        note(world, "yields", client, thread, result);
        cover(world, result == 0 ? COVER_yielded : COVER_yield_busy);
        call_ends(world, client);
        return true;
    }
    if (dice_percent(&world->dice, profile->close) &&
        handle_is_quiet(world, client, actor->handle)) {
        handle_close(world, client, actor->handle);
        return true;
    }
    if (dice_percent(&world->dice, profile->ahead)) {
        ask_ahead(world, client, thread);
        return true;
    }
    actor->mode = dice_percent(&world->dice, profile->exclusive) ? HF_EXCLUSIVE : HF_SHARED;
    actor->nowait = dice_percent(&world->dice, profile->nowait);
    acquire(world, client, thread);
    return true;
}

bool thread_step(struct world *world, int client, int thread)
{
    switch (world->clients[client].threads[thread].state) {
    case THREAD_IDLE:
        return begin(world, client, thread);
    case THREAD_BACKS_OUT:
        back_out(world, client, thread);
        return true;
    case THREAD_LEFT:
        call_left(world, client, thread);
        return true;
    case THREAD_ENTERS:
        enter(world, client, thread);
        return true;
    case THREAD_OPENS:
        return false;
    case THREAD_WAITS:
        if (world->finishing || !dice_percent(&world->dice, world->profile.give_up)) {
            return false;
        }
        give_up(world, client, thread);
        return true;
    case THREAD_USES:
        return use(world, client, thread);
    }
    return false;
}
