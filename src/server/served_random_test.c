/*
 * Several clients do anything at all with one store, most of it allowed: after each step everything
 * is counted over again. One seed is one run.
 */
#include "lib/served_stage.h"
#include "lib/test.h"
#include "server/served/parts.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLAYERS 5
#define PAGES 48
#define INODES 40
#define KNOWN 24 /* inodes that the players know of */

struct player {
    struct raw_client client;
    uint64_t grants[KNOWN]; /* of what it holds; 0: nothing */
    uint8_t modes[KNOWN];
    bool waits[KNOWN];
    uint64_t numbers; /* the first of a block it was given, or 0 */
    uint32_t spent;
};

static struct served_stage stage;
static struct player players[PLAYERS];
static uint64_t known[KNOWN];
static uint64_t seed;
static uint64_t answers, refusals, failures, cut_off, reclaims;

static uint64_t random_below(uint64_t limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % limit;
}

static bool one_in(uint64_t count)
{
    return random_below(count) == 0;
}

static void dispatch(void)
{
    assert_int_equal(hf_server_dispatch(stage.test.server), 0);
}

/* ---- the players' side of the messages ---- */

static void join(struct player *player)
{
    const int fd = hf_server_connect(stage.test.server);
    assert_true(fd >= 0);
    memset(player, 0, sizeof(*player));
    raw_init(&player->client, fd);
    raw_send(&player->client,
             &(struct wire_message){
                 .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION});
    dispatch();
    raw_expect(&player->client, WIRE_WELCOME);
}

static size_t index_of(hf_id id)
{
    for (size_t i = 0; i < KNOWN; i++) {
        if (known[i] == id.object && known[i] != 0) {
            return i;
        }
    }
    return KNOWN;
}

static void release(struct player *player, size_t i, hf_mode mode)
{
    raw_release_inode(&player->client, stage.store, known[i], player->grants[i], mode);
    player->modes[i] = (uint8_t)mode;
    player->grants[i] = mode == HF_INVALID ? 0 : player->grants[i];
}

/* Somebody has a slot for another inode: all let go of what was there. */
static void forget(size_t i)
{
    for (size_t p = 0; p < PLAYERS; p++) {
        if (players[p].grants[i] != 0) {
            release(&players[p], i, HF_INVALID);
        }
    }
}

static bool is_waited_for(size_t i)
{
    for (size_t p = 0; p < PLAYERS; p++) {
        if (players[p].waits[i]) {
            return true;
        }
    }
    return false;
}

static void learn(const struct wire_message *answer)
{
    struct wire_attributes attributes;
    if (wire_get_attributes(answer->data, answer->data_size, &attributes) == answer->data_size &&
        index_of((hf_id){.object = attributes.number}) == KNOWN) {
        const size_t i = 1 + random_below(KNOWN - 1);
        if (!is_waited_for(i)) {
            forget(i);
            known[i] = attributes.number;
        }
    }
}

static void take_message(struct player *player, const struct wire_message *message)
{
    const size_t i = index_of(message->id);
    struct wire_reservation reservation;
    switch (message->kind) {
    case WIRE_GRANT:
        assert_true(i < KNOWN);
        player->waits[i] = false;
        player->grants[i] = message->grant;
        player->modes[i] = message->mode;
        break;
    case WIRE_RECALL:
        if (i < KNOWN && player->grants[i] == message->grant && player->modes[i] > message->mode) {
            release(player, i, (hf_mode)message->mode);
        }
        break;
    case WIRE_RECLAIM:
        reclaims++;
        raw_tell(&player->client,
                 stage.store,
                 OP(WIRE_OP_RETURN, .pages = random_below(20), .inodes = random_below(20)));
        break;
    case WIRE_FAILED:
        failures++;
        break;
    default:
        assert_int_equal(message->kind, WIRE_ANSWER);
        answers += message->error == 0;
        refusals += message->error != 0;
        if (message->error == 0 && message->data_size == 24 &&
            wire_get_reservation(message->data, 24, &reservation) == 24 &&
            reservation.number != 0) {
            player->numbers = reservation.number;
            player->spent = 0;
        } else if (message->error == 0) {
            learn(message);
        }
    }
}

/* Take what has come. Return: whether anything has. */
static bool drain(struct player *player)
{
    struct raw_client *client = &player->client;
    bool any = false;
    for (;;) {
        struct pollfd readable = {.fd = client->fd, .events = POLLIN};
        struct wire_message message;
        if (client->input.length == client->used && poll(&readable, 1, 0) == 0) {
            return any;
        }
        any = true;
        if (raw_next(client, &message) != RAW_MESSAGE || message.kind == WIRE_GOODBYE) {
            cut_off++;
            raw_close(client);
            join(player);
            return true;
        }
        take_message(player, &message);
    }
}

static void settle(void)
{
    bool any = true;
    while (any) {
        dispatch();
        any = false;
        for (size_t p = 0; p < PLAYERS; p++) {
            any = drain(&players[p]) || any;
        }
    }
}

/* ---- what they do ---- */

static uint64_t some_inode(void)
{
    const uint64_t number = known[random_below(KNOWN)];
    return one_in(50) ? random_below(3000) : one_in(4) || number == 0 ? STORE_ROOT : number;
}

static void acquire(struct player *player)
{
    const size_t i = random_below(KNOWN);
    const hf_mode mode = one_in(3) ? HF_SHARED : HF_EXCLUSIVE;
    if (known[i] != 0 && !player->waits[i] && player->modes[i] < mode) {
        player->waits[i] = true;
        player->grants[i] = 0;
        player->modes[i] = HF_INVALID;
        raw_send(&player->client,
                 &(struct wire_message){.kind = WIRE_ACQUIRE,
                                        .id = wire_store_id(stage.store, known[i]),
                                        .seq = 1,
                                        .mode = (uint8_t)mode});
    }
}

/* What is needed for it is acquired before, mostly. */
static void acquire_for(struct player *player, uint64_t number)
{
    const size_t i = index_of((hf_id){.object = number});
    if (i < KNOWN && !player->waits[i] && player->modes[i] < HF_EXCLUSIVE && !one_in(200)) {
        player->waits[i] = true;
        raw_send(&player->client,
                 &(struct wire_message){.kind = WIRE_ACQUIRE,
                                        .id = wire_store_id(stage.store, number),
                                        .seq = 1,
                                        .mode = HF_EXCLUSIVE});
        settle();
    }
}

static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "..", ""};

static struct wire_name some_name(void)
{
    return raw_name(names[random_below(one_in(30) ? 9 : 7)]);
}

/* The inode of a name, as the store has it. */
static uint64_t inode_of(uint64_t directory, struct wire_name name)
{
    struct store_attributes found;
    const struct store_name text = {.bytes = name.bytes, .length = name.length};
    return stage.backing->ops->lookup(stage.backing, directory, text, &found) == 0 && !one_in(100)
               ? found.number
               : 0;
}

static struct wire_operation some_operation(struct player *player)
{
    static const enum wire_operation_code codes[] = {
#define OPERATION(name, number, answer, fields) WIRE_OP_##name,
#include "wire/operations.def"
#undef OPERATION
    };
    static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO};
    static const uint8_t data[8 * STORE_PAGE_SIZE] = {'x'};
    struct wire_operation op = {
        .code = codes[random_below(sizeof(codes) / sizeof(codes[0]))],
        .inode = some_inode(),
        .other = some_inode(),
        .offset = random_below(one_in(20) ? UINT64_MAX : 10 * STORE_PAGE_SIZE),
        .other_offset = random_below(10 * STORE_PAGE_SIZE),
        .size = random_below(one_in(20) ? UINT32_MAX : 10 * STORE_PAGE_SIZE),
        .pages = random_below(12),
        .inodes = random_below(6),
        .mask = (uint32_t)random_below(one_in(10) ? 64 : 3),
        .mode = types[random_below(6)] | (uint32_t)random_below(01000),
        .owner = (uint32_t)random_below(3),
        .slot = 1 + (uint32_t)random_below(3),
        .whence = (uint8_t)(3 + random_below(2)),
        .rights = (uint8_t)random_below(one_in(30) ? 5 : 4),
        .count = (uint8_t)random_below(2),
        .now = served_now(),
        .name = some_name(),
        .new_name = some_name(),
        .data = data,
        .data_size = (uint32_t)random_below(sizeof(data)),
    };
    if (op.code == WIRE_OP_MAKE || op.code == WIRE_OP_MAKE_UNNAMED) {
        op.number = player->numbers != 0 && player->spent < 64 && one_in(2)
                        ? player->numbers + player->spent++
                        : 0;
        op.data_size = S_ISLNK(op.mode) ? op.data_size % 5000 : 0;
    } else if (op.code == WIRE_OP_LINK) {
        op.number = some_inode();
    } else if (op.code >= WIRE_OP_UNLINK && op.code <= WIRE_OP_RENAME) {
        op.number = inode_of(op.inode, op.name);
        op.replaced = inode_of(op.other, op.new_name);
    } else if (op.code == WIRE_OP_SET_XATTR || op.code == WIRE_OP_REMOVE_XATTR) {
        op.name = raw_name(one_in(2) ? "user.a" : "user.b");
        op.mask = 0;
    } else if (op.code == WIRE_OP_CREDENTIALS) {
        op.data_size = 4 * (uint32_t)random_below(4);
    }
    return op;
}

static void operate(struct player *player)
{
    const struct wire_operation op = some_operation(player);
    const bool can_be_served = op.code == WIRE_OP_READ || op.code == WIRE_OP_GET ||
                               op.code == WIRE_OP_SET || op.code == WIRE_OP_WRITE ||
                               op.code == WIRE_OP_APPEND;
    const bool is_served = can_be_served && one_in(3);
    const bool looks = op.code < WIRE_OP_USE || op.code == WIRE_OP_RESERVE;
    struct raw_how how = {.flags = is_served ? WIRE_SERVED : 0};
    if (!looks && !is_served && op.code >= WIRE_OP_SET) {
        acquire_for(player, op.inode);
        acquire_for(player, op.other);
        acquire_for(player, op.number);
        acquire_for(player, op.replaced);
    }
    const bool answered = looks || is_served || op.code == WIRE_OP_APPEND || !one_in(40);
    const uint32_t seq = answered && !one_in(500) ? ++player->client.last_seq : 0;
    raw_send_operation(&player->client, stage.store, seq, &op, how);
}

/* ---- the run ---- */

static void check(void)
{
    const struct hf_server *server = stage.test.server;
    uint64_t uses = 0;
    served_stage_check(&stage);
    sync_server_check(&server->table);
    for (struct list *at = server->peers.next; at != &server->peers; at = at->next) {
        const struct peer *peer = list_entry(at, struct peer, link);
        const struct served_client *client = peer->served.clients;
        assert_int_equal(peer->served.use_count, client == NULL ? 0 : client->uses.count);
        uses += peer->served.use_count;
        uint64_t bytes = 0;
        for (struct list *w = peer->served.waiting.next; w != &peer->served.waiting; w = w->next) {
            bytes +=
                served_waiting_bytes(&list_entry(w, struct served_waiting, peer_link)->message);
        }
        assert_int_equal(bytes, peer->served.waiting_bytes);
    }
    assert_int_equal(uses, server->served.uses);
    assert_int_equal(server->served.taker.hold_count, server->served.takings.count);
}

static void play(uint64_t first_seed, int steps)
{
    seed = first_seed;
    memset(known, 0, sizeof(known));
    known[0] = STORE_ROOT;
    served_stage_init(&stage);
    stage.test.config.log_level = HF_LOG_ERROR;
    served_stage_start(&stage,
                       &(struct served_stage_options){
                           .pages = PAGES, .inodes = INODES, .mode = 0777, .no_thread = true});
    for (size_t p = 0; p < PLAYERS; p++) {
        join(&players[p]);
    }
    for (int step = 0; step < steps; step++) {
        struct player *player = &players[random_below(PLAYERS)];
        if (one_in(6)) {
            acquire(player);
        } else if (one_in(400)) {
            raw_close(&player->client); /* killed */
            join(player);
        } else {
            operate(player);
        }
        settle();
        check();
    }
    for (size_t p = 0; p < PLAYERS; p++) {
        raw_close(&players[p].client);
    }
    dispatch();
    served_stage_deinit(&stage);
}

static void test_anything_at_all(void **state)
{
    const int steps = test_is_plain() ? 6000 : 800;
    for (uint64_t run = 1; run <= 4; run++) {
        play(run * UINT64_C(88172645463325252), steps);
    }
    /* There was enough of everything. */
    assert_true(answers > (uint64_t)steps);
    assert_true(refusals > (uint64_t)steps / 10);
    assert_true(cut_off > (uint64_t)steps / 100);
    assert_true(reclaims > 10);
    print_message("# %llu done, %llu refused, %llu failed, %llu cut off, %llu reclaims\n",
                  (unsigned long long)answers,
                  (unsigned long long)refusals,
                  (unsigned long long)failures,
                  (unsigned long long)cut_off,
                  (unsigned long long)reclaims);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_anything_at_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
