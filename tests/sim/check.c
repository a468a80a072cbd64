/*
 * What threads must see, and what clients must see of each other. The clients are asked as they
 * see themselves; the model of the server is used only for who was granted what, and for the
 * value last published.
 */
#include "world.h"

#include <errno.h>
#include <string.h>

void value_fill(uint64_t stamp, uint8_t *bytes, uint16_t *size)
{
    if (stamp == 0) {
        *size = 0;
        return;
    }
    *size = (uint16_t)(sizeof(stamp) + stamp * 11 % (SIM_VALUE_MAX - sizeof(stamp) + 1));
    memset(bytes, (int)(stamp & 0xff), *size);
    memcpy(bytes, &stamp, sizeof(stamp));
}

/* Its word counts: the connection stands, as far as both ends know. */
static bool is_in_touch(const struct client *client)
{
    return client->process && client->link == LINK_UP && !client->told;
}

static bool is_using(const struct thread *thread, int handle)
{
    return thread->state == THREAD_USES && thread->handle == handle;
}

static bool is_waiting(const struct thread *thread, int handle)
{
    return thread->state == THREAD_WAITS && thread->handle == handle && !thread->woken;
}

static bool excludes(uint8_t mode, uint8_t other)
{
    return mode == HF_EXCLUSIVE || other == HF_EXCLUSIVE;
}

/* ---- after every step ---- */

static void check_quiet_holds(struct client *client, int handle)
{
    for (int i = 0; i < client->thread_count; i++) {
        const struct thread *thread = &client->threads[i];
        if (thread->handle == handle &&
            (thread->state == THREAD_BACKS_OUT || thread->state == THREAD_LEFT)) {
            return;
        }
    }
    sync_hold_check(&client->holds[handle].hold);
}

static void check_threads(struct world *world, const struct client *client, int handle)
{
    int shared = 0;
    int exclusive = 0;
    for (int i = 0; i < client->thread_count; i++) {
        if (is_using(&client->threads[i], handle)) {
            const bool is_exclusive = client->threads[i].mode == HF_EXCLUSIVE;
            exclusive += is_exclusive;
            shared += !is_exclusive;
        }
    }
    if (exclusive > 1 || (exclusive == 1 && shared > 0)) {
        sim_fail(world, "rule 2: a thread inside EXCLUSIVE is not alone in its client");
    }
    const uint8_t needed = exclusive > 0 ? HF_EXCLUSIVE : shared > 0 ? HF_SHARED : HF_INVALID;
    if (needed > client->holds[handle].hold.mode && is_in_touch(client)) {
        sim_fail(world, "a thread uses h%d in more than the client holds", handle);
    }
}

/* For NOWAIT: who waits and is not alone. */
static void note_contended(struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        struct client *client = &world->clients[i];
        for (int t = 0; client->process && t < client->thread_count; t++) {
            struct thread *thread = &client->threads[t];
            if (thread->state == THREAD_WAITS && thread->nowait && !thread->contended) {
                thread->contended = check_is_contended(world, i, t);
            }
        }
    }
}

void check_clients(struct world *world)
{
    note_contended(world);
    for (int handle = 0; handle < world->handle_count; handle++) {
        int shared = 0;
        int exclusive = 0;
        for (int i = 0; i < SIM_CLIENTS; i++) {
            struct client *client = &world->clients[i];
            const struct sim_hold *hold = &client->holds[handle];
            if (!client->process || !hold->exists) {
                continue;
            }
            if (hold->armed_ns != hold->hold.tick_ns && !client->told) {
                sim_fail(world, "the tick of h%d moved without a call to arm()", handle);
            }
            check_threads(world, client, handle);
            check_quiet_holds(client, handle);
            if (!is_in_touch(client)) {
                continue;
            }
            if (hold->hold.mode > world->models[handle].entries[i].mode) {
                sim_fail(
                    world, "c%d takes itself for a holder of h%d, the server does not", i, handle);
            }
            exclusive += hold->hold.mode == HF_EXCLUSIVE;
            shared += hold->hold.mode == HF_SHARED;
        }
        if (exclusive > 1 || (exclusive == 1 && shared > 0)) {
            sim_fail(world,
                     "rule 2: h%d has %d EXCLUSIVE and %d SHARED holders",
                     handle,
                     exclusive,
                     shared);
        }
    }
}

/* ---- values ---- */

/* What was last published; by a call still in progress, too. */
static uint64_t last_published(const struct world *world, int handle)
{
    for (uint32_t i = world->publication_count; i > 0; i--) {
        if (world->publications[i - 1].handle == handle) {
            return world->publications[i - 1].stamp;
        }
    }
    return world->models[handle].value;
}

void check_value(struct world *world, int index, int thread_index)
{
    const struct client *client = &world->clients[index];
    const struct thread *thread = &client->threads[thread_index];
    const struct sync_hold *hold = &client->holds[thread->handle].hold;
    if (world->models[thread->handle].lock_only || !is_in_touch(client)) {
        return;
    }
    uint8_t bytes[SIM_VALUE_MAX];
    uint16_t size = 0;
    const uint64_t stamp = thread->set ? thread->stamp : last_published(world, thread->handle);
    value_fill(stamp, bytes, &size);
    if (hold->value_size != size || (size != 0 && memcmp(hold->value, bytes, size) != 0)) {
        uint64_t seen = 0;
        if (hold->value_size >= sizeof(seen)) {
            memcpy(&seen, hold->value, sizeof(seen));
        }
        sim_fail(world,
                 "rule 2: c%d.t%d sees value %llu of h%d, it is %llu",
                 index,
                 thread_index,
                 (unsigned long long)seen,
                 thread->handle,
                 (unsigned long long)stamp);
    }
}

void check_published(struct world *world, int handle, uint64_t stamp)
{
    for (uint32_t i = 0; i < world->publication_count; i++) {
        if (world->publications[i].handle == handle && world->publications[i].stamp == stamp) {
            return;
        }
    }
    sim_fail(world, "rule 3: a call returns without having sent the value that was set");
}

/* ---- a use begins ---- */

static void check_order(struct world *world, const struct client *client,
                        const struct thread *thread)
{
    for (int i = 0; i < client->thread_count; i++) {
        const struct thread *other = &client->threads[i];
        if (other != thread && is_waiting(other, thread->handle) && other->order < thread->order &&
            excludes(other->mode, thread->mode)) {
            sim_fail(world, "rule 4: a thread overtakes t%d, which has waited longer", i);
        }
    }
}

static void check_told_changes(struct world *world, int index, struct thread *thread, int result)
{
    struct sim_hold *hold = &world->clients[index].holds[thread->handle];
    const struct model *model = &world->models[thread->handle];
    const uint64_t others = model_others(world, index, thread->handle);
    const bool first = hold->told == SIM_NEVER;
    bool needed = first ? others != 0 : others != hold->told;
    needed = needed || others != thread->others_before;
    if (thread->upgrades && hold->exclusive_uses != thread->exclusive_before) {
        needed = true;
    }
    if (needed && (result & HF_CHANGED) == 0) {
        sim_fail(world,
                 "rule 2: HF_UNCHANGED, but another %s held EXCLUSIVE in between",
                 others != thread->others_before || others != hold->told ? "client" : "thread");
    }
    if (!needed && (result & HF_CHANGED) != 0) {
        /* Who queued before the client was told may hear it, too. */
        if (!model->lock_only && others == thread->told_before) {
            sim_fail(world, "HF_CHANGED, but nobody else held EXCLUSIVE in between");
        }
        if (!first) {
            cover(world, COVER_changed_spurious);
        }
    }
    if (thread->upgrades) {
        cover(world, (result & HF_CHANGED) != 0 ? COVER_upgrade_changed : COVER_upgrade_unchanged);
    }
    hold->told = others;
}

static void check_recall_obeyed(struct world *world, const struct sim_hold *hold, uint8_t mode)
{
    if (!hold->recall_met || hold->recall_grant != hold->hold.grant || mode <= hold->recall_mode) {
        return;
    }
    if (!world->profile.late_ticks && world->now_ns > hold->recall_ns + world->profile.quantum_ns) {
        sim_fail(world,
                 "rule 4: a use begins %llu ns after the RECALL of its hold",
                 (unsigned long long)(world->now_ns - hold->recall_ns));
    }
    if (world->profile.quantum_ns == 0) {
        sim_fail(world, "rule 4: a use begins after the RECALL of its hold, without batching");
    }
    cover(world, COVER_use_lingering);
}

void check_use_begins(struct world *world, int index, int thread_index, int result)
{
    struct client *client = &world->clients[index];
    struct thread *thread = &client->threads[thread_index];
    struct sim_hold *hold = &client->holds[thread->handle];
    cover(world, thread->mode == HF_EXCLUSIVE ? COVER_use_exclusive : COVER_use_shared);
    check_threads(world, client, thread->handle);
    if ((result & ~(HF_CHANGED | HF_OWNER_DIED)) != 0) {
        sim_fail(world, "an acquire succeeds with the result %d", result);
    }
    cover(world, (result & HF_CHANGED) != 0 ? COVER_changed : COVER_unchanged);
    if (!is_in_touch(client)) {
        return;
    }
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct client *other = &world->clients[i];
        for (int t = 0; i != index && is_in_touch(other) && t < other->thread_count; t++) {
            if (is_using(&other->threads[t], thread->handle) &&
                excludes(other->threads[t].mode, thread->mode)) {
                sim_fail(world,
                         "rule 2: c%d.t%d and c%d.t%d both use h%d",
                         index,
                         thread_index,
                         i,
                         t,
                         thread->handle);
            }
        }
    }
    check_order(world, client, thread);
    check_value(world, index, thread_index);
    check_told_changes(world, index, thread, result);
    check_recall_obeyed(world, hold, thread->mode);
    const bool told_died = (result & HF_OWNER_DIED) != 0;
    if (told_died != hold->died_untold) {
        sim_fail(world,
                 told_died ? "a thread is told owner-died, and no GRANT said so"
                           : "the first thread after the GRANT is not told owner-died");
    }
    hold->died_untold = false;
    if (told_died) {
        cover(world, COVER_owner_died);
    }
    hold->exclusive_uses += thread->mode == HF_EXCLUSIVE;
}

void check_failure(struct world *world, int index, int thread_index, int result)
{
    const struct client *client = &world->clients[index];
    const struct thread *thread = &client->threads[thread_index];
    bool expected = false;
    switch (result) {
    case -EAGAIN:
        expected = thread->nowait && thread->contended;
        cover(world, COVER_failed_nowait);
        break;
    case -ECANCELED:
    case -ETIMEDOUT:
        expected = thread->gave_up == result;
        cover(world, result == -ECANCELED ? COVER_failed_canceled : COVER_failed_timed_out);
        break;
    case -EDQUOT:
    case -ENOBUFS:
        expected = world->profile.tight;
        cover(world, COVER_failed_limit);
        break;
    case -ENOTCONN:
        expected = client->told;
        cover(world, COVER_failed_disconnected);
        break;
    default:
        break;
    }
    if (!expected) {
        sim_fail(world, "c%d.t%d fails with %d for no reason", index, thread_index, result);
    }
}

/* ---- progress, and the price of it ---- */

bool check_is_free(const struct world *world, int index, int thread_index, int handle, int mode)
{
    const struct client *client = &world->clients[index];
    const struct sim_hold *hold = &client->holds[handle];
    if (!is_in_touch(client) || hold->hold.mode < mode || hold->hold.outstanding) {
        return false;
    }
    if (hold->recall_met && hold->recall_grant == hold->hold.grant) {
        return false;
    }
    for (int i = 0; i < client->thread_count; i++) {
        const struct thread *other = &client->threads[i];
        if (i == thread_index || other->handle != handle || other->state == THREAD_IDLE ||
            other->state == THREAD_ENTERS) {
            continue;
        }
        if (other->state != THREAD_USES || excludes(other->mode, (uint8_t)mode)) {
            return false;
        }
    }
    return true;
}

bool check_is_contended(const struct world *world, int index, int thread_index)
{
    const struct thread *thread = &world->clients[index].threads[thread_index];
    const struct sync_hold *hold = &world->clients[index].holds[thread->handle].hold;
    if (hold->recalled_to < hold->mode && !hold->lingering) {
        return true; /* the client has been told that somebody waits */
    }
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct client *client = &world->clients[i];
        if (i != index && world->models[thread->handle].entries[i].waiting) {
            return true;
        }
        for (int t = 0; client->process && t < client->thread_count; t++) {
            const struct thread *other = &client->threads[t];
            if (other == thread || other->handle != thread->handle) {
                continue;
            }
            const bool uses = other->state == THREAD_USES && excludes(other->mode, thread->mode);
            const bool wants = other->state == THREAD_WAITS || other->state == THREAD_ENTERS ||
                               other->state == THREAD_BACKS_OUT ||
                               (other->state == THREAD_LEFT && other->enters);
            if (uses || wants) {
                return true;
            }
        }
    }
    return false;
}

void check_asked_answered(struct world *world, int index, int handle, uint64_t sent_before)
{
    const struct client *client = &world->clients[index];
    const struct sim_hold *hold = &client->holds[handle];
    bool used = false;
    bool wanted = false;
    for (int i = 0; i < client->thread_count; i++) {
        const struct thread *thread = &client->threads[i];
        if (is_using(thread, handle)) {
            used = used || thread->mode == HF_EXCLUSIVE || hold->asked_mode == HF_INVALID;
        }
        /* Some may just have been let in, and some pass through as readers. */
        wanted = wanted || (thread->handle == handle &&
                            (thread->state == THREAD_WAITS || thread->state == THREAD_BACKS_OUT));
    }
    const bool in_use = hold->hold.mode > hold->asked_mode;
    cover(world, in_use ? COVER_asked_in_use : COVER_asked_idle);
    if (client->sent == sent_before) {
        sim_fail(world, "a RECALL for which nobody waits is not answered at once");
    }
    if (used && !in_use) {
        sim_fail(world, "a client gives up for a NOWAIT what a thread uses");
    }
    if (in_use && !used && !wanted) {
        sim_fail(world, "a client keeps from a NOWAIT what no thread uses or waits for");
    }
}

const struct thread *check_next_waiter(const struct client *client, int handle)
{
    const struct thread *next = NULL;
    for (int i = 0; i < client->thread_count; i++) {
        const struct thread *thread = &client->threads[i];
        if (thread->state == THREAD_BACKS_OUT && thread->handle == handle) {
            return NULL; /* it still counts as a reader and may be in the way for an instant */
        }
        if (is_waiting(thread, handle) && (next == NULL || thread->order < next->order)) {
            next = thread;
        }
    }
    return next;
}

void check_canceled(struct world *world, int index, int handle)
{
    const struct client *client = &world->clients[index];
    const struct entry *entry = &world->models[handle].entries[index];
    if (!is_in_touch(client) || !entry->outstanding || entry->outstanding_ahead ||
        entry->cancel_sent) {
        return;
    }
    for (int i = 0; i < client->thread_count; i++) {
        if (is_waiting(&client->threads[i], handle)) {
            return;
        }
    }
    sim_fail(world, "nobody waits any more for what was requested, and no CANCEL is sent");
}

void check_granted_is_used(struct world *world, const struct client *client,
                           const struct thread *next, const struct wire_message *message)
{
    if (next == NULL || client->link != LINK_UP || message->mode < next->mode) {
        return;
    }
    if (next->waiter.state != SYNC_WAITER_GRANTED) {
        sim_fail(world,
                 "progress: a GRANT comes and t%d, which has waited longest, is not let in",
                 (int)(next - client->threads));
    }
}

void check_recall_arrives(struct world *world, struct sim_hold *hold,
                          const struct wire_message *message)
{
    if (hold->recall_met && hold->recall_grant == message->grant) {
        if (message->mode < hold->recall_mode) {
            hold->recall_mode = message->mode;
        }
        return;
    }
    hold->recall_met = true;
    hold->recall_grant = message->grant;
    hold->recall_mode = message->mode;
    hold->recall_ns = world->now_ns;
}
