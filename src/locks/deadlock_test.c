/*
 * Random requests of a few processes on a few files, each answer held against a reckoning that knows
 * every lock and every request and searches all that waits for all: a deadlock is said exactly
 * where there is one, nobody waits who need not, and nobody is overtaken but who waits for the other.
 *
 * HF_LOCKS_TRIES says how many requests have to wait until it ends.
 */
#include "locks/server.h"

#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OWNERS 8
#define THREADS 2 /* requests that one owner may have at once */
#define FILES 4
#define BYTES 4

struct request {
    bool waits;
    int file;
    struct lock lock;
    uint32_t seq;
    uint64_t since;
};

struct world {
    struct locks_server server;
    struct locks_peer peers[OWNERS];
    enum lock_type held[FILES][OWNERS][BYTES];
    struct request requests[OWNERS][THREADS];
    struct request asked; /* the one that is being handled; waits until it is answered */
    int asker;
    uint32_t last_seq;
    uint64_t now;
    uint64_t seed;
    uint64_t tries, deadlocks, overtakings;
};

static uint64_t next_random(struct world *world)
{
    world->seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = (world->seed ^ (world->seed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static hf_id file_id(int file)
{
    return (hf_id){.space = 1, .object = (uint64_t)file + 1};
}

/* ---- the reckoning ---- */

static bool is_process(int owner)
{
    return owner < OWNERS - 2;
}

static int owner_of(const struct lock *lock)
{
    return (int)lock->owner.object - 1;
}

static bool holds_in_the_way(const struct world *world, int owner, const struct request *request)
{
    for (uint64_t byte = request->lock.start; byte <= request->lock.end; byte++) {
        enum lock_type type = world->held[request->file][owner][byte];
        if (type == LOCK_TYPE_WRITE ||
            (type == LOCK_TYPE_READ && request->lock.type == LOCK_TYPE_WRITE)) {
            return owner != owner_of(&request->lock);
        }
    }
    return false;
}

static bool is_held(const struct world *world, const struct request *request)
{
    for (int owner = 0; owner < OWNERS; owner++) {
        if (holds_in_the_way(world, owner, request)) {
            return true;
        }
    }
    return false;
}

static bool comes_before(const struct request *earlier, const struct request *request)
{
    return earlier->waits && earlier->since < request->since && earlier->file == request->file &&
           lock_conflicts(&earlier->lock, &request->lock);
}

/* All owners that a request waits for, through others too; @processes: and through their locks. */
static void reach(const struct world *world, const struct request *request, bool processes,
                  bool reached[OWNERS])
{
    for (int other = 0; other < OWNERS; other++) {
        bool is_next = holds_in_the_way(world, other, request) && (!processes || is_process(other));
        for (int i = 0; i < THREADS && !processes; i++) {
            is_next = is_next || comes_before(&world->requests[other][i], request);
        }
        if (!is_next || reached[other]) {
            continue;
        }
        reached[other] = true;
        for (int i = 0; i < THREADS; i++) {
            if (world->requests[other][i].waits) {
                reach(world, &world->requests[other][i], processes, reached);
            }
        }
    }
}

static bool waits_for(const struct world *world, const struct request *request, int owner,
                      bool processes)
{
    bool reached[OWNERS] = {false};
    reach(world, request, processes, reached);
    return reached[owner];
}

static bool is_deadlock(const struct world *world, const struct request *request)
{
    int owner = owner_of(&request->lock);
    return is_process(owner) && waits_for(world, request, owner, true);
}

/* Is one in front of it that it may not overtake? */
static bool is_behind(struct world *world, const struct request *request, bool count)
{
    for (int other = 0; other < OWNERS; other++) {
        for (int i = 0; i < THREADS; i++) {
            const struct request *earlier = &world->requests[other][i];
            if (!comes_before(earlier, request)) {
                continue;
            }
            if (!waits_for(world, earlier, owner_of(&request->lock), false)) {
                return true;
            }
            world->overtakings += count;
        }
    }
    return false;
}

static void hold(struct world *world, int owner, const struct request *request)
{
    for (uint64_t byte = request->lock.start; byte <= request->lock.end; byte++) {
        world->held[request->file][owner][byte] = request->lock.type;
    }
}

/* ---- the server ---- */

static void take(void *context, struct locks_peer *peer, const struct wire_message *message)
{
    struct world *world = context;
    int owner = (int)(peer - world->peers);
    struct request *request = &world->asked;
    for (int i = 0; i < THREADS; i++) {
        if (world->requests[owner][i].waits && world->requests[owner][i].seq == message->seq) {
            request = &world->requests[owner][i];
        }
    }
    assert_int_equal(message->kind, WIRE_LOCKED);
    assert_true(request->waits && request->seq == message->seq);
    assert_int_equal(message->grant, 0);
    switch (message->error) {
    case 0:
        if (request->lock.type != LOCK_NONE) {
            assert_false(is_held(world, request));
            assert_false(request->since > 0 && is_behind(world, request, true));
        }
        hold(world, owner, request);
        break;
    case EAGAIN:
        assert_true(request == &world->asked && request->since == 0 && is_held(world, request));
        break;
    case EDEADLK:
        assert_true(is_deadlock(world, request));
        world->deadlocks++;
        break;
    default:
        assert_int_equal(message->error, ECANCELED);
    }
    request->waits = false;
}

static bool is_shared(void *context, hf_id owner)
{
    return false;
}

static bool may_own(void *context, struct locks_peer *peer, enum lock_kind kind, hf_id owner)
{
    return true;
}

/* Nobody waits in vain, or in a circle. */
static void check(struct world *world)
{
    locks_server_check(&world->server);
    for (int owner = 0; owner < OWNERS; owner++) {
        for (int i = 0; i < THREADS; i++) {
            const struct request *request = &world->requests[owner][i];
            if (request->waits) {
                assert_true(is_held(world, request) || is_behind(world, request, false));
                assert_false(is_deadlock(world, request));
            }
        }
    }
}

/* ---- what is asked ---- */

static void ask(struct world *world, int owner, struct request *slot)
{
    int first = (int)(next_random(world) % BYTES);
    int last = first + (int)(next_random(world) % 2);
    static const enum lock_type types[] = {
        LOCK_NONE, LOCK_TYPE_READ, LOCK_TYPE_WRITE, LOCK_TYPE_WRITE};
    struct request *asked = &world->asked;
    bool waits = next_random(world) % 8 != 0;
    *asked = (struct request){
        .waits = true,
        .file = (int)(next_random(world) % FILES),
        .seq = ++world->last_seq,
        .since = waits ? ++world->now : 0,
        .lock =
            {
                .kind = is_process(owner) ? LOCK_POSIX : LOCK_OFD,
                .type = types[next_random(world) % 4],
                .start = (uint64_t)first,
                .end = (uint64_t)(last < BYTES ? last : BYTES - 1),
                .owner = {.space = 2, .object = (uint64_t)owner + 1},
            },
    };
    uint8_t bytes[WIRE_OPERATION_HEAD_MAX];
    const struct wire_lock record = {
        .kind = (uint8_t)asked->lock.kind,
        .type = (uint8_t)asked->lock.type,
        .start = asked->lock.start,
        .end = asked->lock.end,
        .owner_space = asked->lock.owner.space,
        .owner_object = asked->lock.owner.object,
    };
    bool unlocks = asked->lock.type == LOCK_NONE;
    bool expected = !unlocks && waits && (is_held(world, asked) || is_behind(world, asked, false));
    bool deadlock = expected && is_held(world, asked) && is_deadlock(world, asked);
    uint64_t deadlocks = world->deadlocks;
    const struct wire_message message = {
        .kind = WIRE_LOCK,
        .seq = asked->seq,
        .id = file_id(asked->file),
        .flags = waits && !unlocks ? WIRE_LOCK_WAIT : 0,
        .data = bytes,
        .data_size = (uint32_t)wire_put_lock(&record, bytes),
    };
    /* It waits from the moment that others can be told something because of it. */
    if (expected && !deadlock) {
        *slot = *asked;
        asked->waits = false;
    }
    assert_int_equal(locks_server_input(&world->server, &world->peers[owner], &message),
                     WIRE_REASON_NONE);
    assert_false(asked->waits);
    if (expected) {
        world->tries++;
        assert_true(!deadlock || world->deadlocks > deadlocks);
    }
}

static void cancel(struct world *world, int owner, struct request *request)
{
    const struct wire_message message = {
        .kind = WIRE_LOCK_CANCEL, .seq = request->seq, .id = file_id(request->file)};
    assert_int_equal(locks_server_input(&world->server, &world->peers[owner], &message),
                     WIRE_REASON_NONE);
    assert_false(request->waits);
}

/* The process is killed, and another one takes its place. */
static void die(struct world *world, int owner)
{
    for (int i = 0; i < THREADS; i++) {
        world->requests[owner][i].waits = false;
    }
    for (int file = 0; file < FILES; file++) {
        memset(world->held[file][owner], 0, sizeof(world->held[file][owner]));
    }
    locks_peer_give_up(&world->server, &world->peers[owner]);
    locks_peer_leave(&world->server, &world->peers[owner]);
}

static void step(struct world *world, int threads)
{
    int owner = (int)(next_random(world) % OWNERS);
    struct request *request = &world->requests[owner][next_random(world) % (unsigned)threads];
    if (!request->waits) {
        ask(world, owner, request);
    } else if (next_random(world) % 20 == 0) {
        cancel(world, owner, request);
    }
    if (next_random(world) % 200 == 0) {
        die(world, owner);
    }
}

static uint64_t tries_wanted(void)
{
    const char *text = getenv("HF_LOCKS_TRIES");
    const char *variant = getenv("HF_TEST_VARIANT");
    bool is_slow = variant != NULL && strcmp(variant, "plain") != 0;
    return text != NULL ? strtoull(text, NULL, 10) : is_slow ? 4000 : 40000;
}

static void run(int threads, uint64_t seed)
{
    static const struct locks_server_ops ops = {take, is_shared, may_own};
    const struct locks_limits limits = {.locks = 1000, .waiting = 100};
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->seed = seed;
    assert_int_equal(locks_server_init(&world->server, &limits, &ops, world), 0);
    for (int owner = 0; owner < OWNERS; owner++) {
        locks_peer_init(&world->peers[owner], (uint64_t)owner + 1);
    }
    uint64_t wanted = tries_wanted();
    while (world->tries < wanted) {
        step(world, threads);
        check(world);
    }
    print_message("# %llu had to wait, %llu deadlocks, %llu overtakings\n",
                  (unsigned long long)world->tries,
                  (unsigned long long)world->deadlocks,
                  (unsigned long long)world->overtakings);
    assert_true(world->deadlocks > wanted / 200 && world->overtakings > wanted / 2000);
    for (int owner = 0; owner < OWNERS; owner++) {
        die(world, owner);
        check(world);
    }
    assert_int_equal(world->server.counters.locks, 0);
    assert_int_equal(world->server.counters.waiting, 0);
    locks_server_deinit(&world->server);
    free(world);
}

/* Processes that wait for one thing at a time. */
static void test_deadlocks_are_those_that_there_are(void **state)
{
    run(1, 1);
}

/* Processes of several threads: one may be granted what closes a circle while another one waits. */
static void test_deadlocks_of_processes_with_threads(void **state)
{
    run(THREADS, 2);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlocks_are_those_that_there_are),
        cmocka_unit_test(test_deadlocks_of_processes_with_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
