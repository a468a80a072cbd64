/*
 * One schedule: the dice draw a profile, then 20 to 200 steps by it, then everything comes to
 * its end and nothing may be left.
 */
#include "world.h"

#include <string.h>

enum {
    ATTEMPTS = 8,            /* to find something that can happen */
    STEPS_TO_FINISH = 20000, /* far more than any schedule needs: else somebody runs in circles */
};

static uint32_t one_of(struct world *world, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const uint32_t choices[] = {a, b, c, d};
    return choices[dice_below(&world->dice, 4)];
}

static void draw_profile(struct world *world)
{
    world->profile = (struct profile){
        .deliver = one_of(world, 15, 40, 40, 80),
        .act = 40,
        .time = one_of(world, 0, 4, 8, 8),
        .kill = one_of(world, 0, 0, 1, 3),
        .disconnect = one_of(world, 0, 0, 0, 1),
        .cut = one_of(world, 0, 0, 0, 1),
        .birth = one_of(world, 1, 1, 2, 4),
        .stale = one_of(world, 0, 0, 1, 2),
        .exclusive = one_of(world, 20, 50, 50, 90),
        .nowait = one_of(world, 0, 5, 10, 40),
        .ahead = one_of(world, 0, 0, 5, 20),
        .upgrade = one_of(world, 0, 20, 30, 60),
        .downgrade = one_of(world, 0, 10, 20, 40),
        .set = one_of(world, 10, 30, 50, 50),
        .publish = one_of(world, 0, 5, 10, 30),
        .give_up = one_of(world, 0, 5, 10, 30),
        .yield = one_of(world, 0, 5, 5, 20),
        .close = one_of(world, 0, 2, 5, 15),
        .linger = one_of(world, 0, 20, 50, 80),
        .split = one_of(world, 0, 20, 50, 100),
        .steps = 20 + dice_below(&world->dice, 181),
        .quantum_ns = one_of(world, 0, 0, 50000, 200000),
        .tight = dice_percent(&world->dice, 10),
        .few_marks = dice_percent(&world->dice, 5),
        .late_ticks = dice_percent(&world->dice, 30),
        .opened = dice_percent(&world->dice, 70),
    };
}

/* ---- steps ---- */

/* A random one of those that exist; -1: none. */
static int any_process(struct world *world)
{
    const uint32_t first = dice_below(&world->dice, SIM_CLIENTS);
    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        const uint32_t index = (first + i) % SIM_CLIENTS;
        if (world->clients[index].process) {
            return (int)index;
        }
    }
    return -1;
}

static bool can_deliver_up(const struct client *client)
{
    return client->link == LINK_CLOSING ||
           (client->link == LINK_UP && !channel_is_empty(&client->up));
}

static bool can_deliver_down(const struct client *client)
{
    return client->process && ((client->link == LINK_UP && !channel_is_empty(&client->down)) ||
                               client->link == LINK_CUT);
}

static bool step_deliver(struct world *world)
{
    const uint32_t first = dice_below(&world->dice, SIM_CLIENTS * 2);
    for (uint32_t i = 0; i < SIM_CLIENTS * 2; i++) {
        const uint32_t way = (first + i) % (SIM_CLIENTS * 2);
        const int index = (int)(way / 2);
        if (way % 2 == 0 && can_deliver_up(&world->clients[index])) {
            deliver_to_server(world, index);
            return true;
        }
        if (way % 2 == 1 && can_deliver_down(&world->clients[index])) {
            deliver_to_client(world, index);
            return true;
        }
    }
    return false;
}

static bool step_act(struct world *world)
{
    const int index = any_process(world);
    if (index < 0) {
        return false;
    }
    const struct client *client = &world->clients[index];
    const int first = (int)dice_below(&world->dice, client->thread_count);
    bool acted = false;
    for (int i = 0; i < client->thread_count && !acted; i++) {
        acted = thread_step(world, index, (first + i) % client->thread_count);
    }
    if (!acted && client->told) {
        acted = client_winds_up(world, index);
    }
    publications_commit(world);
    return acted;
}

static bool step_time(struct world *world)
{
    if (world->profile.late_ticks && dice_percent(&world->dice, 50)) {
        return fire_due_ticks(world);
    }
    world->now_ns += 1 + dice_below(&world->dice, 60000);
    if (!world->profile.late_ticks) {
        fire_due_ticks(world);
    }
    return true;
}

static bool step_kill(struct world *world)
{
    const int index = any_process(world);
    if (index < 0) {
        return false;
    }
    const struct client *client = &world->clients[index];
    if (dice_percent(&world->dice, 50)) {
        client_killed(world, index, SIZE_MAX);
        return true;
    }
    /* Rather in a call that has something to lose. */
    int thread = (int)dice_below(&world->dice, client->thread_count);
    for (int i = 0; i < client->thread_count; i++) {
        if (client->threads[i].set) {
            thread = i;
        }
    }
    const size_t sent_from = client->up.tail;
    thread_step(world, index, thread);
    client_killed(world, index, sent_from);
    return true;
}

static bool step_disconnect(struct world *world)
{
    const int index = any_process(world);
    if (index < 0 || world->clients[index].link != LINK_UP) {
        return false;
    }
    client_disconnects(world, index);
    return true;
}

static bool step_cut(struct world *world)
{
    const int index = any_process(world);
    if (index < 0 || world->clients[index].link != LINK_UP) {
        return false;
    }
    server_cuts_off(world, index, "is cut off");
    return true;
}

static bool step_birth(struct world *world)
{
    for (int index = 0; index < SIM_CLIENTS; index++) {
        const struct client *client = &world->clients[index];
        if (!client->process && client->link == LINK_NONE) {
            client_born(world, index);
            return true;
        }
    }
    return false;
}

/* A peer that speaks well and lies: it repeats an old RELEASE of its own. */
static bool step_stale(struct world *world)
{
    const int index = any_process(world);
    if (index < 0 || world->clients[index].link != LINK_UP) {
        return false;
    }
    const uint32_t handle = dice_below(&world->dice, world->handle_count);
    const struct entry *entry = &world->models[handle].entries[index];
    if (entry->old_grant == 0) {
        return false;
    }
    static const uint8_t lie[16] = "a stale value..";
    struct wire_message message = {.kind = WIRE_RELEASE,
                                   .id = sim_id(handle),
                                   .grant = entry->old_grant,
                                   .mode = (uint8_t)dice_below(&world->dice, 2)};
    if (dice_percent(&world->dice, 30)) {
        message.flags |= WIRE_VALUE;
        message.data = lie;
        message.data_size = sizeof(lie);
    }
    if (message.mode == HF_INVALID && dice_percent(&world->dice, 30)) {
        message.flags |= WIRE_CLOSE;
    }
    trace_message(world, "-> repeats an old", index, &message);
    channel_put(world, &world->clients[index].up, &message);
    return true;
}

static bool step_of_kind(struct world *world)
{
    const struct profile *profile = &world->profile;
    const struct {
        uint32_t weight;
        bool (*run)(struct world *world);
    } kinds[] = {
        {profile->deliver, step_deliver},
        {profile->act, step_act},
        {profile->time, step_time},
        {profile->kill, step_kill},
        {profile->disconnect, step_disconnect},
        {profile->cut, step_cut},
        {profile->birth, step_birth},
        {profile->stale, step_stale},
    };
    const uint32_t count = sizeof(kinds) / sizeof(kinds[0]);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += kinds[i].weight;
    }
    uint32_t drawn = dice_below(&world->dice, sum);
    uint32_t kind = 0;
    while (drawn >= kinds[kind].weight) {
        drawn -= kinds[kind].weight;
        kind++;
    }
    return kinds[kind].run(world);
}

static void step(struct world *world)
{
    world->step++;
    cover(world, COVER_steps);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (step_of_kind(world)) {
            break;
        }
    }
    check_clients(world);
}

/* ---- the end ---- */

static bool any_tick(const struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        for (int handle = 0; handle < world->handle_count; handle++) {
            const struct sim_hold *hold = &world->clients[i].holds[handle];
            if (world->clients[i].process && hold->exists && hold->hold.tick_ns != 0) {
                return true;
            }
        }
    }
    return false;
}

/* Every thread ends its use, every frame arrives, every tick fires; nothing new begins. */
static void finish(struct world *world)
{
    for (uint32_t i = 0; i < STEPS_TO_FINISH; i++) {
        bool moved = false;
        world->step++;
        if (dice_percent(&world->dice, 50)) {
            moved = step_deliver(world) || step_act(world);
        } else {
            moved = step_act(world) || step_deliver(world);
        }
        /* step_act() looks at one client; the others may still have something to do. */
        for (int index = 0; index < SIM_CLIENTS && !moved; index++) {
            struct client *client = &world->clients[index];
            for (int t = 0; client->process && t < client->thread_count && !moved; t++) {
                moved = thread_step(world, index, t);
            }
            moved = moved || (client->process && client->told && client_winds_up(world, index));
            publications_commit(world);
        }
        if (!moved && any_tick(world)) {
            step_time(world);
            moved = true;
        }
        check_clients(world);
        if (!moved) {
            return;
        }
    }
    sim_fail(world, "rule 4: the messages do not come to an end");
}

static void check_nobody_waits(struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct client *client = &world->clients[i];
        for (int t = 0; client->process && t < client->thread_count; t++) {
            if (client->threads[t].state != THREAD_IDLE) {
                sim_fail(world,
                         "rule 4: c%d.t%d waits for ever for h%d",
                         i,
                         t,
                         client->threads[t].handle);
            }
        }
    }
}

static void close_everything(struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        struct client *client = &world->clients[i];
        for (int handle = 0; client->process && handle < world->handle_count; handle++) {
            if (client->holds[handle].open) {
                handle_close(world, i, handle);
            }
        }
    }
    finish(world);
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct client *client = &world->clients[i];
        for (int handle = 0; client->process && handle < world->handle_count; handle++) {
            if (client->holds[handle].exists) {
                sim_fail(world, "c%d has closed h%d and is never done with it", i, handle);
            }
        }
    }
    if (world->server.counters.holds != 0) {
        sim_fail(world,
                 "everything is closed, and the server counts %llu holds",
                 (unsigned long long)world->server.counters.holds);
    }
}

static void everybody_leaves(struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        if (!world->clients[i].process) {
            continue;
        }
        switch (dice_below(&world->dice, 3)) {
        case 0:
            client_killed(world, i, SIZE_MAX);
            break;
        case 1:
            client_disconnects(world, i);
            break;
        default:
            client_leaves_orderly(world, i);
            break;
        }
    }
    finish(world);
}

void schedule_run(struct world *world, uint64_t seed)
{
    world->seed = seed;
    world->dice.state = seed;
    world->step = 0;
    world->now_ns = UINT64_C(1000000000);
    world->last_stamp = 0;
    world->last_order = 0;
    world->last_grant = 0;
    world->finishing = false;
    world->publication_count = 0;
    world->trace_count = 0;
    draw_profile(world);
    world_init(world);

    world->handle_count = (uint8_t)one_of(world, 1, 1, 2, SIM_HANDLES);
    for (int handle = 0; handle < world->handle_count; handle++) {
        world->models[handle].lock_only = dice_percent(&world->dice, 40);
    }
    const uint32_t births = 2 + dice_below(&world->dice, 3);
    for (uint32_t i = 0; i < births; i++) {
        step_birth(world);
        for (int handle = 0; world->profile.opened && handle < world->handle_count; handle++) {
            handle_open_now(world, (int)i, handle);
        }
    }
    while (world->step < world->profile.steps) {
        step(world);
    }
    world->finishing = true;
    finish(world);
    check_nobody_waits(world);
    if (dice_percent(&world->dice, 50)) {
        close_everything(world);
    }
    everybody_leaves(world);
    model_check_empty(world);
    world_deinit(world);
}
