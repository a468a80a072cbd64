/*
 * Several clients and the server, each message delivered at some later time in the order of its
 * connection, clients that die, open files that become shared, listings: nobody ever has what is in
 * the way of what another one has, every request is answered, and nothing is left at the end.
 */
#include "locks/client.h"
#include "locks/server.h"

#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS 4
#define FILES 3
#define BYTES 6
#define OWNERS 3 /* of each client: a process and two open files */
#define ALL_OWNERS (CLIENTS * OWNERS)

struct packet {
    struct list link;
    struct wire_message message;
    uint8_t data[];
};

/* A request of an owner for a file. */
struct slot {
    struct lock_request request;
    bool under_way;
};

struct member {
    struct world *world;
    struct locks_client client;
    struct locks_peer peer;
    struct list to_server, to_client;
};

struct owner {
    hf_id id;
    bool shared;
    enum lock_type record[FILES][BYTES]; /* what its users may count on */
    enum lock_type flock[FILES];
    struct slot slots[FILES];
    struct member *slot_of[FILES]; /* who asked */
};

struct world {
    struct locks_server server;
    struct member members[CLIENTS];
    struct owner owners[ALL_OWNERS];
    uint64_t last_number;
    uint32_t list_seq;
    uint64_t seed;
    uint64_t here, asked, granted, refused, canceled, deaths, listings;
};

static uint64_t next_random(struct world *world)
{
    world->seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = (world->seed ^ (world->seed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static bool one_in(struct world *world, unsigned n)
{
    return next_random(world) % n == 0;
}

static hf_id file_id(int file)
{
    return (hf_id){.space = 1, .object = (uint64_t)file + 1};
}

/* ---- what the owners may count on ---- */

static bool is_process(int owner)
{
    return owner % OWNERS == 0;
}

static enum lock_type weaker(enum lock_type one, enum lock_type other)
{
    return one < other ? one : other;
}

/* From now on it has @type there; @less: if it had no less. */
static void set(struct owner *owner, int file, const struct lock *lock, bool less)
{
    if (lock->kind == LOCK_FLOCK) {
        owner->flock[file] =
            less && owner->flock[file] != lock->type ? LOCK_NONE : owner->flock[file];
        owner->flock[file] = less ? owner->flock[file] : lock->type;
        return;
    }
    for (uint64_t byte = lock->start; byte <= lock->end; byte++) {
        enum lock_type *type = &owner->record[file][byte];
        *type = less ? weaker(*type, lock->type) : lock->type;
    }
}

static bool is_conflict(enum lock_type one, enum lock_type other)
{
    return one != LOCK_NONE && other != LOCK_NONE &&
           (one == LOCK_TYPE_WRITE || other == LOCK_TYPE_WRITE);
}

static void check_alone(const struct world *world, int owner, int file)
{
    const struct owner *mine = &world->owners[owner];
    for (int i = 0; i < ALL_OWNERS; i++) {
        const struct owner *other = &world->owners[i];
        if (i == owner) {
            continue;
        }
        assert_false(is_conflict(mine->flock[file], other->flock[file]));
        for (int byte = 0; byte < BYTES; byte++) {
            assert_false(is_conflict(mine->record[file][byte], other->record[file][byte]));
        }
    }
}

static void forget(struct owner *owner)
{
    memset(owner->record, 0, sizeof(owner->record));
    memset(owner->flock, 0, sizeof(owner->flock));
}

/* ---- messages on their way ---- */

static void post(struct list *queue, const struct wire_message *message)
{
    struct packet *packet = malloc(sizeof(*packet) + message->data_size);
    assert_non_null(packet);
    packet->message = *message;
    packet->message.data = packet->data;
    if (message->data_size > 0) {
        memcpy(packet->data, message->data, message->data_size);
    }
    list_append(queue, &packet->link);
}

static void to_server(void *context, const struct wire_message *message)
{
    post(&((struct member *)context)->to_server, message);
}

static void to_client(void *context, struct locks_peer *peer, const struct wire_message *message)
{
    post(&list_entry(peer, struct member, peer)->to_client, message);
}

static struct packet *take(struct list *queue)
{
    struct list *link = list_first(queue);
    if (link == NULL) {
        return NULL;
    }
    list_remove(link);
    return list_entry(link, struct packet, link);
}

static void drop(struct list *queue)
{
    struct packet *packet;
    while ((packet = take(queue)) != NULL) {
        free(packet);
    }
}

static bool deliver_to_server(struct world *world, struct member *member)
{
    struct packet *packet = take(&member->to_server);
    if (packet == NULL) {
        return false;
    }
    assert_int_equal(locks_server_input(&world->server, &member->peer, &packet->message),
                     WIRE_REASON_NONE);
    locks_server_check(&world->server);
    locks_peer_check(&member->peer);
    free(packet);
    return true;
}

static bool deliver_to_client(struct world *world, struct member *member)
{
    struct packet *packet = take(&member->to_client);
    if (packet == NULL) {
        return false;
    }
    if (packet->message.kind == WIRE_LOCK_LISTED) {
        world->listings++;
    } else {
        assert_int_equal(locks_client_input(&member->client, &packet->message), 0);
        locks_client_check(&member->client);
    }
    free(packet);
    return true;
}

static void deliver_all(struct world *world)
{
    bool any = true;
    while (any) {
        any = false;
        for (int i = 0; i < CLIENTS; i++) {
            any = deliver_to_server(world, &world->members[i]) || any;
            any = deliver_to_client(world, &world->members[i]) || any;
        }
    }
}

/* ---- the server's questions ---- */

static struct owner *find_owner(struct world *world, hf_id id)
{
    for (int i = 0; i < ALL_OWNERS; i++) {
        if (hf_id_equal(world->owners[i].id, id)) {
            return &world->owners[i];
        }
    }
    return NULL;
}

static bool is_shared(void *context, hf_id id)
{
    const struct owner *owner = find_owner(context, id);
    return owner != NULL && owner->shared;
}

static bool may_own(void *context, struct locks_peer *peer, enum lock_kind kind, hf_id id)
{
    const struct owner *owner = find_owner(context, id);
    return owner != NULL && (owner->shared || id.space == peer->number);
}

/* ---- what clients do ---- */

static void on_done(void *context, struct lock_request *request)
{
    struct world *world = ((struct member *)context)->world;
    int file = (int)request->file.object - 1;
    struct owner *owner = find_owner(world, request->lock.owner);
    assert_non_null(owner);
    owner->slots[file].under_way = false;
    if (request->is_test) {
        return;
    }
    switch (request->result) {
    case 0:
        world->granted++;
        set(owner, file, &request->lock, false);
        check_alone(world, (int)(owner - world->owners), file);
        break;
    case -ECANCELED:
        world->canceled++;
        break;
    default:
        assert_true(request->result == -EAGAIN || request->result == -EDEADLK);
        world->refused++;
    }
}

static void lock(struct world *world, struct member *member, int owner_index, int file)
{
    struct owner *owner = &world->owners[owner_index];
    struct slot *slot = &owner->slots[file];
    if (slot->under_way) {
        if (one_in(world, 4)) {
            locks_client_cancel(&owner->slot_of[file]->client, &slot->request);
        }
        return;
    }
    int first = (int)(next_random(world) % BYTES);
    int last = first + (int)(next_random(world) % 3);
    bool flock = !is_process(owner_index) && one_in(world, 3);
    static const enum lock_kind kinds[] = {LOCK_OFD, LOCK_POSIX};
    struct lock request = {
        .kind = flock ? LOCK_FLOCK : kinds[is_process(owner_index)],
        .type = (enum lock_type)(next_random(world) % 3),
        .start = flock ? 0 : (uint64_t)first,
        .end = flock ? LOCK_LAST_BYTE : (uint64_t)(last < BYTES ? last : BYTES - 1),
        .owner = owner->id,
    };
    bool waits = request.type != LOCK_NONE && one_in(world, 2);
    unsigned flags = (waits ? LOCKS_WAIT : 0) | (owner->shared ? LOCKS_SHARED : 0);
    bool test = !waits && request.type != LOCK_NONE && one_in(world, 4);
    int result;
    if (test) {
        struct lock conflict;
        result = locks_client_try_test(&member->client, file_id(file), &request, &conflict);
        if (result == 0) {
            return;
        }
    } else {
        set(owner, file, &request, true);
        result = locks_client_try(&member->client, file_id(file), &request, flags);
        world->here += result == 0;
    }
    if (result == LOCKS_ASK) {
        slot->request = (struct lock_request){.lock = request, .is_test = test};
        slot->under_way = true;
        owner->slot_of[file] = member;
        world->asked++;
        assert_int_equal(locks_client_ask(&member->client,
                                          file_id(file),
                                          flags,
                                          one_in(world, 2) ? "/a/path" : "",
                                          &slot->request),
                         0);
    } else if (result == 0) {
        set(owner, file, &request, false);
        check_alone(world, owner_index, file);
    } else {
        assert_int_equal(result, -EAGAIN);
    }
    locks_client_check(&member->client);
}

/* Another process gets one of its open files: its sync handle is registered, which is a message and
 * an answer in the order of all others, and then it is shared. */
static void share(struct world *world, struct member *member, struct owner *owner)
{
    if (owner->shared) {
        return;
    }
    while (deliver_to_server(world, member)) {
    }
    owner->shared = true;
    while (deliver_to_client(world, member)) {
    }
    for (int file = 0; file < FILES; file++) {
        locks_client_share(&member->client, file_id(file), owner->id);
    }
    locks_client_check(&member->client);
}

static void begin(struct world *world, struct member *member)
{
    static const struct locks_client_ops ops = {to_server, on_done};
    int first = (int)(member - world->members) * OWNERS;
    member->world = world;
    assert_int_equal(locks_client_init(&member->client, &ops, member), 0);
    locks_peer_init(&member->peer, ++world->last_number);
    list_init(&member->to_server);
    list_init(&member->to_client);
    for (int i = 0; i < OWNERS; i++) {
        struct owner *owner = &world->owners[first + i];
        if (!owner->shared || owner->id.object == 0) {
            memset(owner, 0, sizeof(*owner));
            owner->id = (hf_id){.space = world->last_number, .object = (uint64_t)i + 1};
        }
    }
}

/* It is killed: some of what it has sent arrives still. What it asked for in the name of an open
 * file that others share may be had, or not. */
static void end(struct world *world, struct member *member)
{
    int first = (int)(member - world->members) * OWNERS;
    for (int i = 0; i < ALL_OWNERS; i++) {
        struct owner *owner = &world->owners[i];
        bool dies = i >= first && i < first + OWNERS && !owner->shared;
        for (int file = 0; file < FILES; file++) {
            bool asked = owner->slots[file].under_way && owner->slot_of[file] == member;
            if (asked) {
                owner->slots[file].under_way = false;
                list_remove(&owner->slots[file].request.link);
                member->client.request_count--;
            }
        }
        if (dies) {
            forget(owner);
        }
    }
    while (!one_in(world, 3) && deliver_to_server(world, member)) {
    }
    drop(&member->to_server);
    drop(&member->to_client);
    locks_peer_give_up(&world->server, &member->peer);
    locks_peer_leave(&world->server, &member->peer);
    locks_server_check(&world->server);
    locks_client_reset(&member->client);
    locks_client_deinit(&member->client);
    world->deaths++;
}

/* No process has that open file any more. */
static void close_shared(struct world *world, struct owner *owner)
{
    for (int file = 0; file < FILES; file++) {
        if (owner->slots[file].under_way) {
            return;
        }
    }
    forget(owner);
    owner->shared = false;
    hf_id id = owner->id;
    owner->id.object += 100; /* it is another one from here on, of a client that may be gone */
    locks_server_owner_gone(&world->server, id);
    locks_server_check(&world->server);
}

static void list(struct world *world, struct member *member)
{
    post(&member->to_server,
         &(struct wire_message){
             .kind = WIRE_LOCK_LIST,
             .seq = locks_client_next_seq(&member->client),
         });
    world->list_seq++;
}

static void step(struct world *world)
{
    struct member *member = &world->members[next_random(world) % CLIENTS];
    int mine = (int)(member - world->members) * OWNERS + (int)(next_random(world) % OWNERS);
    int any = (int)(next_random(world) % ALL_OWNERS);
    bool others = world->owners[any].shared;
    switch (next_random(world) % 200) {
    case 0:
        if (!is_process(mine) && world->owners[mine].id.space == member->peer.number) {
            share(world, member, &world->owners[mine]);
        }
        break;
    case 1:
        if (others && one_in(world, 2)) {
            close_shared(world, &world->owners[any]);
        }
        break;
    case 2:
        if (one_in(world, 4)) {
            end(world, member);
            begin(world, member);
        }
        break;
    case 3:
        if (one_in(world, 4)) {
            list(world, member);
        }
        break;
    default:
        switch (next_random(world) % 4) {
        case 0:
            deliver_to_server(world, member);
            break;
        case 1:
            deliver_to_client(world, member);
            break;
        default: {
            int owner = others && one_in(world, 2) ? any : mine;
            if (world->owners[owner].shared ||
                world->owners[owner].id.space == member->peer.number) {
                lock(world, member, owner, (int)(next_random(world) % FILES));
            }
        }
        }
    }
}

/* With all messages delivered, all that is not answered waits; and the server has what the owners
 * count on. */
static void check_quiet(struct world *world)
{
    deliver_all(world);
    size_t under_way = 0;
    for (int owner = 0; owner < ALL_OWNERS; owner++) {
        for (int file = 0; file < FILES; file++) {
            const struct slot *slot = &world->owners[owner].slots[file];
            under_way += slot->under_way;
            assert_true(!slot->under_way || !slot->request.is_test);
            assert_true(!slot->under_way || slot->request.lock.type != LOCK_NONE);
        }
    }
    assert_int_equal(under_way, world->server.counters.waiting);
}

static void run(uint64_t seed, int steps, struct world *totals)
{
    static const struct locks_server_ops ops = {to_client, is_shared, may_own};
    const struct locks_limits limits = {
        .locks = 100000, .waiting = 1000, .tables = seed % 3 == 0 ? 1 : 100};
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->seed = seed;
    assert_int_equal(locks_server_init(&world->server, &limits, &ops, world), 0);
    for (int i = 0; i < CLIENTS; i++) {
        begin(world, &world->members[i]);
    }
    for (int i = 0; i < steps; i++) {
        step(world);
        if (i % 500 == 499) {
            check_quiet(world);
        }
    }
    check_quiet(world);
    for (int i = 0; i < ALL_OWNERS; i++) {
        for (int file = 0; file < FILES; file++) {
            struct slot *slot = &world->owners[i].slots[file];
            if (slot->under_way) {
                locks_client_cancel(&world->owners[i].slot_of[file]->client, &slot->request);
            }
        }
    }
    deliver_all(world);
    assert_int_equal(world->server.counters.waiting, 0);
    for (int i = 0; i < ALL_OWNERS; i++) {
        if (world->owners[i].shared) {
            close_shared(world, &world->owners[i]);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(world->members[i].client.request_count, 0);
        end(world, &world->members[i]);
    }
    assert_int_equal(world->server.counters.locks, 0);
    assert_int_equal(world->server.counters.granted_tables, 0);
    assert_int_equal(world->server.owners.count, 0);
    locks_server_deinit(&world->server);
    totals->here += world->here;
    totals->asked += world->asked;
    totals->granted += world->granted;
    totals->refused += world->refused;
    totals->canceled += world->canceled;
    totals->deaths += world->deaths;
    totals->listings += world->listings;
    free(world);
}

/* How many runs; HF_LOCKS_RUNS says another number. */
static uint64_t runs_wanted(void)
{
    const char *text = getenv("HF_LOCKS_RUNS");
    const char *variant = getenv("HF_TEST_VARIANT");
    bool is_slow = variant != NULL && strcmp(variant, "plain") != 0;
    return text != NULL ? strtoull(text, NULL, 10) : is_slow ? 20 : 200;
}

static void test_clients_that_do_anything(void **state)
{
    struct world *totals = calloc(1, sizeof(*totals));
    assert_non_null(totals);
    const char *only = getenv("HF_LOCKS_SEED");
    uint64_t runs = runs_wanted();
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    for (uint64_t seed = first; seed < (only != NULL ? first + 1 : 1 + runs); seed++) {
        run(seed, 5000, totals);
    }
    print_message(
        "# here %llu, asked %llu, granted %llu, refused %llu, canceled %llu, deaths %llu, "
        "listings %llu\n",
        (unsigned long long)totals->here,
        (unsigned long long)totals->asked,
        (unsigned long long)totals->granted,
        (unsigned long long)totals->refused,
        (unsigned long long)totals->canceled,
        (unsigned long long)totals->deaths,
        (unsigned long long)totals->listings);
    free(totals);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_that_do_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
