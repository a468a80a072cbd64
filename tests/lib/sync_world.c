#include "lib/sync_world.h"

#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

/* A message under way, as its frame. */
struct parcel {
    struct list link;
    size_t size;
    uint8_t bytes[];
};

const struct sync_server_limits world_limits = {
    .handles = 1000,
    .queued = 1000,
    .value_bytes = HF_VALUE_MAX,
    .owner_died_marks = 10,
};

/* ---- channels ---- */

static hf_id handle_id(enum world_handle handle)
{
    return (hf_id){.space = 7, .object = 100 + (uint64_t)handle};
}

static void post(struct world *world, unsigned client, struct list *channel,
                 const struct wire_message *message)
{
    if (world->said_count < WORLD_SAID) {
        world->said[world->said_count] = (struct world_said){client, *message};
        world->said[world->said_count].message.data = NULL;
    }
    world->said_count++;

    struct parcel *parcel = malloc(sizeof(*parcel) + wire_size(message));
    assert_non_null(parcel);
    parcel->size = wire_encode(message, parcel->bytes);
    list_append(channel, &parcel->link);
}

static struct parcel *take(struct list *channel, enum wire_direction direction,
                           struct wire_message *message)
{
    struct list *link = list_first(channel);
    if (link == NULL) {
        return NULL;
    }
    list_remove(link);
    struct parcel *parcel = list_entry(link, struct parcel, link);
    size_t consumed = 0;
    enum wire_verdict verdict =
        wire_decode(parcel->bytes, parcel->size, WIRE_FRAME_MAX, direction, message, &consumed);
    assert_int_equal(verdict, WIRE_OK);
    assert_int_equal(consumed, parcel->size);
    return parcel;
}

static void drop_all(struct list *channel)
{
    struct list *link;
    while ((link = list_first(channel)) != NULL) {
        list_remove(link);
        free(list_entry(link, struct parcel, link));
    }
}

static unsigned client_number(const struct world_client *client)
{
    return (unsigned)(client - client->world->clients);
}

static void send_to_server(void *context, const struct wire_message *message)
{
    struct world_client *client = context;
    post(client->world, client_number(client), &client->to_server, message);
}

static void send_to_client(void *context, struct sync_peer *peer,
                           const struct wire_message *message)
{
    struct world_client *client = list_entry(peer, struct world_client, peer);
    assert_true(client->alive);
    post(context, client_number(client), &client->to_client, message);
}

static void wake(void *context, struct sync_waiter *waiter)
{
    struct world_thread *thread = list_entry(waiter, struct world_thread, waiter);
    assert_int_not_equal(waiter->state, SYNC_WAITER_QUEUED);
    thread->wakes++;
    thread->waits = false;
    thread->uses = waiter->state == SYNC_WAITER_GRANTED;
    thread->result = waiter->result;
}

/* Ticks are looked for, not scheduled. */
static void arm(void *context, struct sync_hold *hold)
{
}

/* ---- the world ---- */

void world_begin(struct world *world, unsigned clients, const struct sync_server_limits *limits)
{
    assert_in_range(clients, 1, WORLD_CLIENTS);
    memset(world, 0, sizeof(*world));
    world->client_count = clients;
    world->now_ns = 1000000;
    limits = limits == NULL ? &world_limits : limits;
    assert_int_equal(sync_server_init(&world->server, limits, send_to_client, world), 0);
    world->empty_bytes = world->server.counters.bytes;
    for (unsigned i = 0; i < clients; i++) {
        struct world_client *client = &world->clients[i];
        client->world = world;
        client->alive = true;
        client->core = (struct sync_client){
            .send = send_to_server,
            .wake = wake,
            .arm = arm,
            .context = client,
        };
        sync_peer_init(&client->peer);
        list_init(&client->to_server);
        list_init(&client->to_client);
    }
}

void world_end(struct world *world)
{
    for (unsigned i = 0; i < world->client_count; i++) {
        for (unsigned handle = 0; handle < WORLD_HANDLES; handle++) {
            if (world->clients[i].open[handle]) {
                world_close(world, i, (enum world_handle)handle);
            }
        }
    }
    world_settle(world);
    for (unsigned i = 0; i < world->client_count; i++) {
        struct world_client *client = &world->clients[i];
        assert_int_equal(client->peer.hold_count, 0);
        assert_int_equal(client->peer.queued_count, 0);
        if (client->alive) {
            world_depart(world, i);
        }
    }
    assert_int_equal(world->server.counters.holds, 0);
    assert_int_equal(world->server.counters.queued, 0);
    assert_int_equal(world->server.counters.handles, world->server.mark_count);
    if (world->server.mark_count == 0) {
        assert_int_equal(world->server.counters.bytes, world->empty_bytes);
    }
    sync_server_deinit(&world->server);
}

struct sync_hold *world_hold(struct world *world, unsigned client, enum world_handle handle)
{
    assert_true(world->clients[client].open[handle]);
    return &world->clients[client].holds[handle];
}

struct sync_peer_view world_view(const struct world *world, unsigned client,
                                 enum world_handle handle)
{
    return sync_server_view(&world->server, &world->clients[client].peer, handle_id(handle));
}

void world_open(struct world *world, unsigned client, enum world_handle handle)
{
    struct world_client *opener = &world->clients[client];
    assert_false(opener->open[handle]);
    opener->open[handle] = true;
    sync_hold_init(&opener->holds[handle], handle_id(handle), handle == LOCK);
    if (handle != LOCK) {
        struct world_thread thread = world_thread(world, client, handle);
        sync_hold_reference(&opener->core, &opener->holds[handle], &thread.waiter);
        world_settle(world);
        assert_int_equal(thread.waiter.state, SYNC_WAITER_GRANTED);
    }
}

void world_open_all(struct world *world, enum world_handle handle)
{
    for (unsigned client = 0; client < world->client_count; client++) {
        world_open(world, client, handle);
    }
}

void world_ask(struct world *world, unsigned client, enum world_handle handle, hf_mode mode)
{
    sync_hold_ask(&world->clients[client].core, world_hold(world, client, handle), mode);
    world_check(world);
}

/* A hold that is closed goes once no answer is to come. */
static void reap(struct world_client *client, enum world_handle handle)
{
    struct sync_hold *hold = &client->holds[handle];
    if (client->open[handle] && sync_hold_is_done(hold)) {
        sync_hold_deinit(hold);
        client->open[handle] = false;
    }
}

void world_close(struct world *world, unsigned client, enum world_handle handle)
{
    struct world_client *closer = &world->clients[client];
    sync_hold_close(&closer->core, world_hold(world, client, handle));
    sync_hold_check(&closer->holds[handle]);
    reap(closer, handle);
}

static void end_client(struct world *world, unsigned number, bool orderly)
{
    struct world_client *client = &world->clients[number];
    while (world_to_server(world, number)) {
    }
    sync_peer_leave(&world->server, &client->peer, orderly);
    client->alive = false;
    drop_all(&client->to_client);
    for (unsigned handle = 0; handle < WORLD_HANDLES; handle++) {
        if (client->open[handle]) {
            /* Nothing runs in a dead process: take its memory away as it is. */
            list_init(&client->holds[handle].waiters);
            sync_hold_deinit(&client->holds[handle]);
            client->open[handle] = false;
        }
    }
    world_check(world);
}

void world_kill(struct world *world, unsigned client)
{
    end_client(world, client, false);
}

void world_depart(struct world *world, unsigned client)
{
    end_client(world, client, true);
}

bool world_to_server(struct world *world, unsigned number)
{
    struct world_client *client = &world->clients[number];
    struct wire_message message;
    struct parcel *parcel = take(&client->to_server, TO_SERVER, &message);
    if (parcel == NULL) {
        return false;
    }
    enum wire_reason reason = sync_server_input(&world->server, &client->peer, &message);
    assert_int_equal(reason, WIRE_REASON_NONE);
    free(parcel);
    world_check(world);
    return true;
}

bool world_to_client(struct world *world, unsigned number)
{
    struct world_client *client = &world->clients[number];
    struct wire_message message;
    struct parcel *parcel = take(&client->to_client, TO_CLIENT, &message);
    if (parcel == NULL) {
        return false;
    }
    enum world_handle handle = (enum world_handle)(message.id.object - 100);
    if (client->open[handle]) {
        assert_true(
            sync_hold_input(&client->core, &client->holds[handle], &message, world->now_ns));
        reap(client, handle);
    } else {
        /* A client may free a hold right after its RELEASE: only this may come then. */
        assert_int_equal(message.kind, WIRE_RECALL);
    }
    free(parcel);
    world_check(world);
    return true;
}

unsigned world_roll(uint64_t *dice, unsigned bound)
{
    *dice = *dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*dice >> 33) % bound;
}

bool world_step(struct world *world, uint64_t *dice)
{
    unsigned first = world_roll(dice, 2 * world->client_count);
    for (unsigned i = 0; i < 2 * world->client_count; i++) {
        unsigned channel = (first + i) % (2 * world->client_count);
        bool delivered = channel % 2 == 0 ? world_to_server(world, channel / 2)
                                          : world_to_client(world, channel / 2);
        if (delivered) {
            return true;
        }
    }
    return false;
}

void world_settle(struct world *world)
{
    bool delivered = true;
    for (unsigned rounds = 0; delivered; rounds++) {
        assert_true(rounds < 10000);
        delivered = false;
        for (unsigned client = 0; client < world->client_count; client++) {
            delivered = world_to_server(world, client) || delivered;
        }
        for (unsigned client = 0; client < world->client_count; client++) {
            delivered = world_to_client(world, client) || delivered;
        }
    }
}

void world_tick(struct world *world, uint64_t now_ns)
{
    world->now_ns = now_ns;
    for (unsigned i = 0; i < world->client_count; i++) {
        struct world_client *client = &world->clients[i];
        for (unsigned handle = 0; handle < WORLD_HANDLES; handle++) {
            struct sync_hold *hold = &client->holds[handle];
            if (client->open[handle] && hold->tick_ns != 0 && hold->tick_ns <= now_ns) {
                sync_hold_tick(&client->core, hold, now_ns);
            }
        }
    }
    world_check(world);
}

void world_check(const struct world *world)
{
    sync_server_check(&world->server);
    for (unsigned handle = 0; handle < WORLD_HANDLES; handle++) {
        unsigned shared = 0;
        unsigned exclusive = 0;
        for (unsigned i = 0; i < world->client_count; i++) {
            const struct world_client *client = &world->clients[i];
            if (client->open[handle]) {
                sync_hold_check(&client->holds[handle]);
                shared += client->holds[handle].mode == HF_SHARED;
                exclusive += client->holds[handle].mode == HF_EXCLUSIVE;
            }
        }
        assert_true(exclusive == 0 || (exclusive == 1 && shared == 0));
    }
}

void world_forget(struct world *world)
{
    world->said_count = 0;
}

static bool said_by(const struct world_said *said, unsigned client, enum wire_kind kind)
{
    return said->message.kind == kind && (client == WORLD_CLIENTS || said->client == client);
}

unsigned world_count_of(const struct world *world, unsigned client, enum wire_kind kind)
{
    assert_true(world->said_count <= WORLD_SAID);
    unsigned count = 0;
    for (unsigned i = 0; i < world->said_count; i++) {
        count += said_by(&world->said[i], client, kind);
    }
    return count;
}

unsigned world_count(const struct world *world, enum wire_kind kind)
{
    return world_count_of(world, WORLD_CLIENTS, kind);
}

const struct wire_message *world_last(const struct world *world, unsigned client,
                                      enum wire_kind kind)
{
    assert_true(world->said_count <= WORLD_SAID);
    for (unsigned i = world->said_count; i > 0; i--) {
        if (said_by(&world->said[i - 1], client, kind)) {
            return &world->said[i - 1].message;
        }
    }
    fail_msg("no %s of client %u", wire_kind_name(kind), client);
    return NULL;
}

/* ---- threads ---- */

struct world_thread world_thread(struct world *world, unsigned client, enum world_handle handle)
{
    return (struct world_thread){.world = world, .client = client, .handle = handle};
}

static struct sync_client *core_of(const struct world_thread *thread)
{
    return &thread->world->clients[thread->client].core;
}

static struct sync_hold *hold_of(const struct world_thread *thread)
{
    return world_hold(thread->world, thread->client, thread->handle);
}

/* After a call of the slow path. */
static bool slow_path_ended(struct world_thread *thread)
{
    thread->waits = thread->waiter.state == SYNC_WAITER_QUEUED;
    thread->uses = thread->waiter.state == SYNC_WAITER_GRANTED;
    thread->result = thread->waits ? 0 : thread->waiter.result;
    world_check(thread->world);
    return thread->uses;
}

static bool acquire(struct world_thread *thread, hf_mode mode, bool nowait)
{
    assert_false(thread->waits || thread->uses);
    struct sync_hold *hold = hold_of(thread);
    bool attention = false;
    thread->mode = mode;
    thread->wakes = 0;
    thread->result = HF_UNCHANGED;
    thread->uses =
        mode == HF_SHARED ? sync_hold_try_shared(hold, &attention) : sync_hold_try_exclusive(hold);
    if (thread->uses) {
        return true;
    }
    if (attention) {
        sync_hold_left(core_of(thread), hold, thread->world->now_ns);
    }
    thread->waiter = (struct sync_waiter){.mode = (uint8_t)mode, .nowait = nowait};
    sync_hold_acquire(core_of(thread), hold, &thread->waiter, thread->world->now_ns);
    assert_int_equal(thread->wakes, 0); /* who has its answer on return is not woken as well */
    return slow_path_ended(thread);
}

bool thread_acquire(struct world_thread *thread, hf_mode mode)
{
    return acquire(thread, mode, false);
}

bool thread_acquire_nowait(struct world_thread *thread, hf_mode mode)
{
    return acquire(thread, mode, true);
}

static bool upgrade(struct world_thread *thread, bool nowait)
{
    assert_true(thread->uses && thread->mode == HF_SHARED);
    thread->mode = HF_EXCLUSIVE;
    thread->wakes = 0;
    thread->waiter = (struct sync_waiter){.mode = HF_EXCLUSIVE, .nowait = nowait};
    sync_hold_upgrade(core_of(thread), hold_of(thread), &thread->waiter, thread->world->now_ns);
    assert_int_equal(thread->wakes, 0);
    return slow_path_ended(thread);
}

bool thread_upgrade(struct world_thread *thread)
{
    return upgrade(thread, false);
}

bool thread_upgrade_nowait(struct world_thread *thread)
{
    return upgrade(thread, true);
}

void thread_downgrade(struct world_thread *thread)
{
    assert_true(thread->uses && thread->mode == HF_EXCLUSIVE);
    sync_hold_downgrade(core_of(thread), hold_of(thread), thread->world->now_ns);
    thread->mode = HF_SHARED;
    world_check(thread->world);
}

void thread_release(struct world_thread *thread)
{
    assert_true(thread->uses);
    thread->uses = false;
    struct sync_client *core = core_of(thread);
    struct sync_hold *hold = hold_of(thread);
    if (thread->mode == HF_EXCLUSIVE && (atomic_load(&hold->word) & SYNC_DIRTY) != 0) {
        sync_hold_leave_dirty(core, hold, thread->world->now_ns);
    } else if (thread->mode == HF_EXCLUSIVE ? sync_hold_leave_exclusive(hold)
                                            : sync_hold_leave_shared(hold)) {
        sync_hold_left(core, hold, thread->world->now_ns);
    }
    world_check(thread->world);
}

void thread_give_up(struct world_thread *thread, int error)
{
    sync_hold_give_up(
        core_of(thread), hold_of(thread), &thread->waiter, error, thread->world->now_ns);
    slow_path_ended(thread);
}

void thread_hold(struct world_thread *thread, hf_mode mode)
{
    if (!thread_acquire(thread, mode)) {
        world_settle(thread->world);
    }
    assert_true(thread->uses);
}

void thread_set(struct world_thread *thread, const char *text)
{
    assert_true(thread->uses && thread->mode == HF_EXCLUSIVE);
    assert_int_equal(sync_hold_set_value(hold_of(thread), text, (uint16_t)strlen(text)), 0);
}

void thread_publish(struct world_thread *thread)
{
    sync_hold_publish(core_of(thread), hold_of(thread));
    world_check(thread->world);
}

bool thread_sees(const struct world_thread *thread, const char *text)
{
    const struct sync_hold *hold = hold_of(thread);
    assert_true(thread->uses);
    return hold->value_size == strlen(text) &&
           (hold->value_size == 0 || memcmp(hold->value, text, hold->value_size) == 0);
}
