/*
 * What the server must do. The model stands at the server's door and knows nothing of its
 * insides: it reads the messages that go in and come out, keeps what they say, and compares.
 *
 *   ACQUIRE    what the client held less is gone; the request stands in the queue
 *   GRANT      answers the request in the queue; nobody who excludes it holds or stands before it
 *   RECALL     goes to a holder that somebody is waiting for, and names its grant; for a NOWAIT
 *              it says that nobody waits, and is answered before any other is sent
 *   RELEASE    counts when it names the current grant, else nothing happens at all; "in use"
 *              denies the NOWAIT for which the holder was asked, and no other
 *   AHEAD      is granted or denied at once, and nobody else hears of it
 *   a leave    takes all of the client's away; after a death in EXCLUSIVE the next one is told
 *
 * After each message nobody may be left waiting who could be granted, and everybody in the way
 * of the first in the queue must have been recalled, or asked without having answered.
 */
#include "world.h"

#include <string.h>

static bool is_present(const struct entry *entry)
{
    return entry->reference || entry->waiting || entry->mode != HF_INVALID;
}

static bool excludes(uint8_t mode, uint8_t other)
{
    return (mode == HF_EXCLUSIVE && other != HF_INVALID) ||
           (other == HF_EXCLUSIVE && mode != HF_INVALID);
}

int model_handle_of(struct world *world, const struct wire_message *message)
{
    uint64_t handle = message->id.object - 1;
    if (message->id.space != sim_id(0).space || handle >= world->handle_count) {
        sim_fail(world, "a message names a handle that does not exist");
    }
    return (int)handle;
}

static bool is_held_against(const struct model *model, const struct entry *request)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct entry *other = &model->entries[i];
        if (other != request && excludes(request->wants, other->mode)) {
            return true;
        }
    }
    return false;
}

static bool is_queued_behind(const struct model *model, const struct entry *request)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct entry *other = &model->entries[i];
        if (other != request && other->waiting && other->order < request->order &&
            excludes(request->wants, other->wants)) {
            return true;
        }
    }
    return false;
}

static const struct entry *first_in_queue(const struct model *model)
{
    const struct entry *first = NULL;
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct entry *entry = &model->entries[i];
        if (entry->waiting && (first == NULL || entry->order < first->order)) {
            first = entry;
        }
    }
    return first;
}

static uint32_t queue_length(const struct model *model)
{
    uint32_t length = 0;
    for (int i = 0; i < SIM_CLIENTS; i++) {
        length += model->entries[i].waiting;
    }
    return length;
}

/* The request leaves the queue. If it is a NOWAIT, what was asked for it is for nobody now. */
static void stop_waiting(struct model *model, struct entry *entry)
{
    if (entry->waiting && entry->nowait && entry == first_in_queue(model)) {
        for (int i = 0; i < SIM_CLIENTS; i++) {
            model->entries[i].asked_for_first = false;
        }
    }
    entry->waiting = false;
}

struct entry model_no_entry(void)
{
    return (struct entry){.recalled_to = HF_EXCLUSIVE, .asked_to = HF_EXCLUSIVE};
}

/* How many handles the server has something of this client on, or a request that waits. */
static uint32_t entries_of(const struct world *world, int client, bool waiting)
{
    uint32_t count = 0;
    for (int handle = 0; handle < world->handle_count; handle++) {
        const struct entry *entry = &world->models[handle].entries[client];
        count += waiting ? entry->waiting : is_present(entry);
    }
    return count;
}

uint64_t model_others(const struct world *world, int client, int handle)
{
    const struct model *model = &world->models[handle];
    return model->exclusive_grants - model->entries[client].exclusive_grants;
}

/* ---- the server's end: what comes in ---- */

static bool names_current_grant(const struct entry *entry, const struct wire_message *message)
{
    return is_present(entry) && entry->grant != 0 && message->grant == entry->grant;
}

/* The server keeps nothing of it: its grant is of the past. */
static void forget_if_gone(struct entry *entry)
{
    if (!is_present(entry) && entry->grant != 0) {
        entry->old_grant = entry->grant;
        entry->grant = 0;
    }
}

static void before_acquire(struct world *world, struct entry *entry,
                           const struct wire_message *message)
{
    if (entry->waiting) {
        sim_fail(world, "an ACQUIRE arrives while one waits");
    }
    entry->mode = HF_INVALID;
    entry->recalled_to = HF_EXCLUSIVE;
    entry->asked_to = HF_EXCLUSIVE;
    entry->waiting = true;
    entry->wants = message->mode;
    entry->nowait = (message->flags & WIRE_NOWAIT) != 0;
    entry->ahead = (message->flags & WIRE_AHEAD) != 0;
    entry->wants_reference = (message->flags & WIRE_REFERENCE) != 0;
    entry->seq = message->seq;
    entry->order = ++world->last_order;
}

static void before_in_use(struct world *world, struct model *model, struct entry *entry)
{
    if (entry->asked_to == HF_EXCLUSIVE) {
        sim_fail(world, "a client answers what it was not asked");
    }
    entry->asked_to = HF_EXCLUSIVE;
    if (entry->asked_for_first) {
        world->refused = (int)(first_in_queue(model) - model->entries);
    } else {
        cover(world, COVER_asked_in_use_late);
    }
}

static void before_release(struct world *world, struct model *model, struct entry *entry,
                           const struct wire_message *message)
{
    if (!names_current_grant(entry, message)) {
        cover(world, is_present(entry) ? COVER_stale_release : COVER_release_of_nothing);
        return;
    }
    if (message->mode > entry->mode) {
        sim_fail(world, "a RELEASE up to a higher mode");
    }
    if ((message->flags & WIRE_VALUE) != 0) {
        if (entry->mode != HF_EXCLUSIVE) {
            sim_fail(world, "rule 2: a value published without EXCLUSIVE");
        }
        model->server_value = 0;
        if (message->data_size != 0) {
            memcpy(&model->server_value, message->data, sizeof(model->server_value));
        }
    }
    if ((message->flags & WIRE_IN_USE) != 0) {
        before_in_use(world, model, entry);
        return;
    }
    entry->mode = message->mode;
    if (entry->asked_to >= entry->mode) {
        entry->asked_to = HF_EXCLUSIVE;
    }
    if (entry->recalled_to >= entry->mode) {
        entry->recalled_to = HF_EXCLUSIVE;
    }
    if ((message->flags & WIRE_CLOSE) != 0) {
        entry->reference = false;
    }
    forget_if_gone(entry);
}

void model_before_input(struct world *world, int client, const struct wire_message *message)
{
    const int handle = model_handle_of(world, message);
    struct model *model = &world->models[handle];
    struct entry *entry = &model->entries[client];
    world->asking = client;
    world->asking_handle = (uint8_t)handle;
    world->replies = 0;
    world->refused = -1;
    entry->stale = false;
    entry->unknown = false;
    entry->too_long = false;
    if (message->kind == WIRE_ACQUIRE) {
        before_acquire(world, entry, message);
    } else if (message->kind == WIRE_RELEASE) {
        entry->unknown = !is_present(entry);
        entry->stale = !names_current_grant(entry, message);
        entry->too_long = message->data_size > world->server.limits.value_bytes;
        if (!entry->too_long) {
            before_release(world, model, entry, message);
        }
    } else {
        entry->stale = !entry->waiting || entry->seq != message->seq;
        cover(world, entry->stale ? COVER_cancel_late : COVER_cancel_in_time);
    }
}

/* ---- the server's end: what goes out ---- */

/* Whoever stands in the way of @request has been told to go. */
static void check_recalled_for(struct world *world, const struct model *model,
                               const struct entry *request)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct entry *other = &model->entries[i];
        if (other != request && excludes(request->wants, other->mode) &&
            other->asked_to == HF_EXCLUSIVE &&
            (request->nowait || excludes(request->wants, other->recalled_to))) {
            sim_fail(world, "rule 4: c%d is in the way of a request and was not recalled", i);
        }
    }
}

/* A NOWAIT is denied when others wait already, or when one in its way says "in use". */
static void check_would_block(struct world *world, const struct model *model, int client,
                              bool blocked)
{
    const struct entry *entry = &model->entries[client];
    if (entry->ahead) {
        if (!blocked && !model->mark) {
            sim_fail(world, "WOULD_BLOCK for asking ahead for what is free");
        }
        cover(world, COVER_ahead_denied);
    } else if (world->refused == client) {
        cover(world, COVER_denied_in_use);
    } else if (!entry->nowait || queue_length(model) == 1) {
        sim_fail(world, "WOULD_BLOCK for a request that waits, or that nobody waits before");
    } else {
        cover(world, COVER_denied_would_block);
    }
}

static void check_denial(struct world *world, const struct model *model, int client,
                         const struct wire_message *message)
{
    const struct entry *entry = &model->entries[client];
    if (message->grant != 0 || message->mode != HF_INVALID) {
        sim_fail(world, "a DENIED that carries a grant");
    }
    const bool blocked = is_held_against(model, entry) || is_queued_behind(model, entry);
    if (world->asking != client && world->refused != client) {
        sim_fail(world, "a request is denied for what another client did");
    }
    switch (message->reason) {
    case WIRE_REASON_WOULD_BLOCK:
        check_would_block(world, model, client, blocked);
        break;
    case WIRE_REASON_CANCELED:
        if (entry->stale) {
            sim_fail(world, "a request is CANCELED that no CANCEL named");
        }
        cover(world, COVER_denied_canceled);
        break;
    case WIRE_REASON_HANDLE_LIMIT:
        if (entries_of(world, client, false) - 1 < world->server.limits.handles) {
            sim_fail(world, "HANDLE_LIMIT below the limit");
        }
        cover(world, COVER_denied_handle_limit);
        break;
    case WIRE_REASON_QUEUE_LIMIT:
        if (!blocked || entry->ahead ||
            entries_of(world, client, true) - 1 < world->server.limits.queued) {
            sim_fail(world, "QUEUE_LIMIT below the limit, or for a request that need not wait");
        }
        cover(world, COVER_denied_queue_limit);
        break;
    default:
        sim_fail(world, "denied: %s", wire_reason_text(message->reason));
    }
}

static void check_owner_died(struct world *world, struct model *model,
                             const struct wire_message *message)
{
    const bool said = (message->flags & WIRE_OWNER_DIED) != 0;
    if (message->mode == HF_INVALID) {
        if (said) {
            sim_fail(world, "owner-died is told to one who only wants a reference");
        }
        return;
    }
    if (said && !model->mark) {
        sim_fail(world, "owner-died is told though nobody died, or twice");
    }
    if (!said && model->mark && !world->profile.few_marks) {
        sim_fail(world, "owner-died is not told to the first one who gets the handle");
    }
    if (said) {
        cover(world, COVER_owner_died_granted);
    }
    model->mark = false;
}

static void check_granted_value(struct world *world, const struct model *model,
                                const struct wire_message *message)
{
    if ((message->flags & WIRE_VALUE) == 0) {
        return;
    }
    uint8_t bytes[SIM_VALUE_MAX];
    uint16_t size = 0;
    value_fill(model->server_value, bytes, &size);
    if (model->lock_only || message->data_size != size ||
        (size != 0 && memcmp(message->data, bytes, size) != 0)) {
        sim_fail(world, "rule 2: a GRANT carries another value than the last one published");
    }
    cover(world, COVER_value_granted);
}

static void server_grants(struct world *world, struct model *model, int client,
                          const struct wire_message *message)
{
    struct entry *entry = &model->entries[client];
    if (!entry->waiting || entry->seq != message->seq) {
        sim_fail(world, "a GRANT that nobody asked for, or a second one");
    }
    if ((message->flags & WIRE_DENIED) != 0) {
        check_denial(world, model, client, message);
        stop_waiting(model, entry);
        forget_if_gone(entry);
        return;
    }
    if (message->mode != entry->wants) {
        sim_fail(world, "a GRANT of another mode than was asked for");
    }
    if (is_held_against(model, entry)) {
        sim_fail(world, "rule 2: a GRANT though another client holds the handle against it");
    }
    if (is_queued_behind(model, entry)) {
        sim_fail(world, "rule 4: a request overtakes an earlier one that excludes it");
    }
    if (message->grant <= world->last_grant) {
        sim_fail(world, "a grant number is used again");
    }
    world->last_grant = message->grant;
    check_owner_died(world, model, message);
    check_granted_value(world, model, message);
    if (entry->ahead && (message->flags & WIRE_OWNER_DIED) != 0) {
        sim_fail(world, "owner-died is told to one who does not need the handle yet");
    }
    cover(world, world->asking == client ? COVER_granted_at_once : COVER_granted_later);
    if (entry->ahead) {
        cover(world, COVER_ahead_granted);
    }
    if (entry->nowait && world->asking != client) {
        cover(world, COVER_granted_nowait);
    }
    stop_waiting(model, entry);
    entry->reference = entry->reference || entry->wants_reference;
    entry->mode = message->mode;
    entry->old_grant = entry->grant;
    entry->grant = message->grant;
    entry->recalled_to = HF_EXCLUSIVE;
    entry->asked_to = HF_EXCLUSIVE;
    if (message->mode == HF_EXCLUSIVE) {
        entry->exclusive_grants++;
        model->exclusive_grants++;
    }
}

static void server_asks(struct world *world, const struct model *model, struct entry *entry,
                        const struct wire_message *message)
{
    const struct entry *first = first_in_queue(model);
    if (first == NULL || !first->nowait || !excludes(first->wants, entry->mode) ||
        message->mode != (first->wants == HF_EXCLUSIVE ? HF_INVALID : HF_SHARED)) {
        sim_fail(world, "a RECALL that says that nobody waits, for no NOWAIT");
    }
    entry->asked_to = message->mode;
    entry->asked_for_first = true;
}

static void server_recalls(struct world *world, struct model *model, int client,
                           const struct wire_message *message)
{
    struct entry *entry = &model->entries[client];
    if (entry->grant != message->grant || entry->mode <= message->mode) {
        sim_fail(world, "a RECALL to one who does not hold so much");
    }
    if (entry->asked_to != HF_EXCLUSIVE) {
        sim_fail(world, "a RECALL to one who has yet to answer");
    }
    if (message->waiting == 0) {
        server_asks(world, model, entry, message);
        return;
    }
    uint8_t needed = HF_EXCLUSIVE;
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct entry *other = &model->entries[i];
        if (i != client && other->waiting && excludes(other->wants, entry->mode)) {
            const uint8_t leaves = other->wants == HF_EXCLUSIVE ? HF_INVALID : HF_SHARED;
            needed = leaves < needed ? leaves : needed;
        }
    }
    if (message->waiting != queue_length(model) || first_in_queue(model)->nowait) {
        sim_fail(world, "a RECALL that miscounts those who wait");
    }
    if (message->mode < needed) {
        sim_fail(world, "a RECALL to less than anybody else needs");
    }
    if (message->mode >= entry->recalled_to) {
        cover(world, COVER_recall_repeated);
    }
    if (message->mode < entry->recalled_to) {
        entry->recalled_to = message->mode;
    }
    cover(world, message->mode == HF_SHARED ? COVER_recall_to_shared : COVER_recall_to_invalid);
}

void model_server_sends(struct world *world, int client, const struct wire_message *message)
{
    const int handle = model_handle_of(world, message);
    world->replies++;
    if (client == world->leaving || world->clients[client].link == LINK_NONE ||
        world->clients[client].link == LINK_CUT) {
        sim_fail(world, "the server sends to a client that is gone");
    }
    if (world->asking >= 0 && handle != world->asking_handle) {
        sim_fail(world, "the server speaks of another handle than it was asked about");
    }
    if (message->kind == WIRE_GRANT) {
        server_grants(world, &world->models[handle], client, message);
    } else if (message->kind == WIRE_RECALL) {
        server_recalls(world, &world->models[handle], client, message);
    } else {
        sim_fail(world, "the server sends a %s", wire_kind_name(message->kind));
    }
}

/* ---- after it ---- */

static void check_view(struct world *world, int handle)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct client *client = &world->clients[i];
        if (client->link == LINK_NONE || client->link == LINK_CUT || i == world->leaving) {
            continue;
        }
        const struct entry *entry = &world->models[handle].entries[i];
        const struct sync_peer_view view =
            sync_server_view(&world->server, &client->peer, sim_id((uint32_t)handle));
        if (view.mode != entry->mode || view.waiting != entry->waiting ||
            (entry->mode != HF_INVALID && view.grant != entry->grant)) {
            sim_fail(world,
                     "the server's table says other than its messages: c%d h%d is %d%s",
                     i,
                     handle,
                     view.mode,
                     view.waiting ? " waiting" : "");
        }
    }
}

static void check_handle(struct world *world, int handle)
{
    struct model *model = &world->models[handle];
    bool any = false;
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct entry *entry = &model->entries[i];
        any = any || is_present(entry);
        if (entry->waiting && !is_held_against(model, entry) && !is_queued_behind(model, entry)) {
            sim_fail(world, "rule 4: c%d waits for h%d though nothing is in its way", i, handle);
        }
    }
    const struct entry *first = first_in_queue(model);
    if (first != NULL) {
        check_recalled_for(world, model, first);
    }
    check_view(world, handle);
    if (!any) {
        if (model->value != 0) {
            cover(world, COVER_value_forgotten);
        }
        model->value = 0;
        model->server_value = 0;
    }
}

static void check_counters(struct world *world)
{
    const struct sync_server_counters *counters = &world->server.counters;
    uint64_t entries = 0;
    uint64_t queued = 0;
    for (int i = 0; i < SIM_CLIENTS; i++) {
        entries += entries_of(world, i, false);
        queued += entries_of(world, i, true);
    }
    if (counters->holds != entries || counters->queued != queued) {
        sim_fail(world,
                 "the server counts %llu holds and %llu requests, there are %llu and %llu",
                 (unsigned long long)counters->holds,
                 (unsigned long long)counters->queued,
                 (unsigned long long)entries,
                 (unsigned long long)queued);
    }
}

void model_after_input(struct world *world, int client, const struct wire_message *message,
                       enum wire_reason verdict)
{
    const int handle = model_handle_of(world, message);
    const struct entry *entry = &world->models[handle].entries[client];
    if (entry->unknown) {
        if (verdict != WIRE_REASON_UNKNOWN_HANDLE && verdict != WIRE_REASON_NONE) {
            sim_fail(world, "a RELEASE of nothing: %s", wire_reason_text((uint8_t)verdict));
        }
    } else if (entry->too_long) {
        if (verdict != WIRE_REASON_FRAME_TOO_LONG) {
            sim_fail(world, "a value over the limit is taken");
        }
        cover(world, COVER_value_too_long);
    } else if (verdict != WIRE_REASON_NONE) {
        sim_fail(world,
                 "the server cuts off a client that did nothing wrong: %s",
                 wire_reason_text((uint8_t)verdict));
    }
    if ((entry->stale || entry->unknown) && world->replies != 0) {
        sim_fail(world, "a stale %s has an effect", wire_kind_name(message->kind));
    }
    if (world->refused >= 0 && world->models[handle].entries[world->refused].waiting) {
        sim_fail(world, "a NOWAIT waits on though another client uses the handle");
    }
    if (message->kind == WIRE_ACQUIRE && entry->ahead && world->replies != 1) {
        sim_fail(world, "somebody else hears of one who asks ahead");
    }
    check_handle(world, handle);
    check_counters(world);
    sync_server_check(&world->server);
    world->asking = -1;
}

/* ---- leaving ---- */

static void cover_leave(struct world *world, const struct entry *entry)
{
    if (entry->waiting) {
        cover(world, COVER_death_waiting);
    }
    if (entry->mode == HF_SHARED) {
        cover(world, COVER_death_shared);
    } else if (entry->mode == HF_EXCLUSIVE) {
        cover(world, COVER_death_exclusive);
    }
}

void model_before_leave(struct world *world, int client, bool orderly)
{
    world->leaving = client;
    for (int handle = 0; handle < world->handle_count; handle++) {
        struct model *model = &world->models[handle];
        struct entry *entry = &model->entries[client];
        if (!orderly) {
            cover_leave(world, entry);
            model->mark = model->mark || entry->mode == HF_EXCLUSIVE;
        }
        stop_waiting(model, entry);
        *entry = model_no_entry();
    }
}

void model_after_leave(struct world *world, int client)
{
    (void)client;
    for (int handle = 0; handle < world->handle_count; handle++) {
        check_handle(world, handle);
    }
    check_counters(world);
    sync_server_check(&world->server);
    world->leaving = -1;
}

void model_check_empty(struct world *world)
{
    const struct sync_server_counters *counters = &world->server.counters;
    if (counters->handles != world->server.mark_count || counters->holds != 0 ||
        counters->queued != 0) {
        sim_fail(world,
                 "the table is not empty at the end: %llu handles, %llu holds, %llu queued",
                 (unsigned long long)counters->handles,
                 (unsigned long long)counters->holds,
                 (unsigned long long)counters->queued);
    }
    if (world->server.mark_count == 0 && counters->bytes != world->server_bytes) {
        sim_fail(world,
                 "%lld bytes are left at the end",
                 (long long)(counters->bytes - world->server_bytes));
    }
}
