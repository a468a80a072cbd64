#include "lockers.h"

#include "base/clock.h"
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>

/* So often in a row that the server lets a process have the file's locks to itself. */
#define ALONE 32

struct lockers_memory {
    _Atomic uint32_t turn;
    _Atomic uint32_t ready; /* counts those who have come to the beginning of a round */
};

struct lockers_order {
    enum side side;
    enum lockers_kind kind;
    uint64_t amount;
};

struct locker_arguments {
    struct lockers_memory *memory;
    const char *mount;
    int socket;
    unsigned number, count;
};

struct locker {
    const struct locker_arguments *arguments;
    struct fs_subject subject;
    int files[SIDES];
    uint32_t first_turn;
    uint32_t ready;
    uint64_t messages;            /* counted so far */
    struct lockers_result result; /* of the round */
};

/* ---- one process ---- */

static bool open_files(struct locker *locker)
{
    locker->files[OURS] = side_open(locker->subject.fs, "locked", O_RDWR | O_CREAT, 0644);
    locker->files[KERNELS] = side_open(NULL, "locked-kernel", O_RDWR | O_CREAT, 0644);
    return (locker->files[OURS] >= 0 && locker->files[KERNELS] >= 0) ||
           bench_fail("cannot open the files");
}

static bool lock(struct locker *locker, enum side side, short type, off_t byte)
{
    hf_fs *fs = side == OURS ? locker->subject.fs : NULL;
    const int command = type == F_UNLCK ? F_SETLK : F_SETLKW;
    const int error = side_lock(fs, locker->files[side], command, type, byte);
    return error == 0 || bench_fail("cannot lock: %s", strerror(-error));
}

static void add_wait(struct locker *locker, uint64_t wait_ns)
{
    struct lockers_result *result = &locker->result;
    result->operations++;
    result->wait_sum_ns += wait_ns;
    result->wait_max_ns = wait_ns > result->wait_max_ns ? wait_ns : result->wait_max_ns;
}

static bool timed_lock(struct locker *locker, enum side side, off_t byte)
{
    const uint64_t begin_ns = clock_now_ns();
    if (!lock(locker, side, F_WRLCK, byte)) {
        return false;
    }
    add_wait(locker, clock_now_ns() - begin_ns);
    return true;
}

static bool timed_lock_and_unlock(struct locker *locker, enum side side)
{
    const uint64_t begin_ns = clock_now_ns();
    if (!lock(locker, side, F_WRLCK, 0) || !lock(locker, side, F_UNLCK, 0)) {
        return false;
    }
    add_wait(locker, clock_now_ns() - begin_ns);
    return true;
}

/* Those since the last time; they count or not. */
static uint64_t take_messages(struct locker *locker)
{
    const uint64_t before = locker->messages;
    locker->messages = client_messages(locker->subject.client);
    return locker->messages - before;
}

static bool go_on_alone(struct locker *locker, enum side side)
{
    for (unsigned i = 0; i < ALONE; i++) {
        if (!lock(locker, side, F_WRLCK, 0) || !lock(locker, side, F_UNLCK, 0)) {
            return false;
        }
    }
    return true;
}

/* What comes between two turns of a process is part of the other one's hand-off. */
static bool take_turn(struct locker *locker, const struct lockers_order *order)
{
    if (order->kind == LOCKERS_ALTERNATE) {
        const bool done = timed_lock_and_unlock(locker, order->side);
        locker->result.messages += take_messages(locker);
        return done;
    }
    if (!timed_lock(locker, order->side, 0)) {
        return false;
    }
    locker->result.messages += take_messages(locker);
    const bool done = lock(locker, order->side, F_UNLCK, 0) && go_on_alone(locker, order->side);
    take_messages(locker);
    return done;
}

static bool alternate(struct locker *locker, const struct lockers_order *order)
{
    const struct locker_arguments *arguments = locker->arguments;
    _Atomic uint32_t *turn = &arguments->memory->turn;
    for (uint64_t i = arguments->number; i < order->amount; i += arguments->count) {
        if (!turn_wait(turn, locker->first_turn + (uint32_t)i) || !take_turn(locker, order)) {
            return false;
        }
        turn_pass(turn);
    }
    locker->first_turn += (uint32_t)order->amount;
    return turn_wait(turn, locker->first_turn);
}

/* Wait until all have come here. */
static bool meet(struct locker *locker)
{
    _Atomic uint32_t *ready = &locker->arguments->memory->ready;
    locker->ready += locker->arguments->count;
    turn_pass(ready);
    return turn_wait(ready, locker->ready);
}

static bool loop(struct locker *locker, const struct lockers_order *order)
{
    if (!meet(locker)) {
        return false;
    }
    const uint64_t end_ns = clock_now_ns() + order->amount;
    while (clock_now_ns() < end_ns) {
        if (!timed_lock(locker, order->side, 0) || !lock(locker, order->side, F_UNLCK, 0)) {
            return false;
        }
        sched_yield();
    }
    return true;
}

static bool add_one(const struct locker *locker, enum side side, off_t place)
{
    hf_fs *fs = side == OURS ? locker->subject.fs : NULL;
    const off_t offset = place * (off_t)sizeof(uint64_t);
    uint64_t number = 0;
    if (side_pread(fs, locker->files[side], &number, sizeof(number), offset) < 0) {
        return bench_fail("cannot read");
    }
    number++;
    return side_pwrite(fs, locker->files[side], &number, sizeof(number), offset) ==
               (ssize_t)sizeof(number) ||
           bench_fail("cannot write");
}

static bool go_round(struct locker *locker, const struct lockers_order *order)
{
    const off_t places = (off_t)locker->arguments->count + 1;
    off_t place = (off_t)locker->arguments->number;
    if (!lock(locker, order->side, F_WRLCK, place) || !meet(locker)) {
        return false;
    }
    const uint64_t end_ns = clock_now_ns() + order->amount;
    while (clock_now_ns() < end_ns) {
        const off_t next = (place + 1) % places;
        if (!timed_lock(locker, order->side, next) ||
            (order->kind == LOCKERS_RING_DATA && !add_one(locker, order->side, next)) ||
            !lock(locker, order->side, F_UNLCK, place)) {
            return false;
        }
        place = next;
    }
    return lock(locker, order->side, F_UNLCK, place);
}

static bool carry_out(struct locker *locker, const struct lockers_order *order)
{
    if (order->kind == LOCKERS_ALTERNATE || order->kind == LOCKERS_ALTERNATE_TABLE) {
        return alternate(locker, order);
    }
    take_messages(locker);
    const bool done = order->kind == LOCKERS_LOOP ? loop(locker, order) : go_round(locker, order);
    locker->result.messages = take_messages(locker);
    return done;
}

static bool locker_main(int channel, void *context)
{
    const struct locker_arguments *arguments = context;
    struct locker locker = {.arguments = arguments};
    struct lockers_order order;
    if (!fs_subject_connect(&locker.subject, arguments->socket, arguments->mount) ||
        !fs_subject_attach(&locker.subject) || !open_files(&locker)) {
        return false;
    }
    while (channel_receive(channel, &order, sizeof(order))) {
        locker.result = (struct lockers_result){0};
        if (!carry_out(&locker, &order) ||
            !channel_send(channel, &locker.result, sizeof(locker.result))) {
            return false;
        }
    }
    fs_subject_close(&locker.subject);
    return true;
}

/* ---- all of them ---- */

bool lockers_start(struct lockers *lockers, unsigned count, const char *mount)
{
    *lockers = (struct lockers){.count = count};
    lockers->memory = shared_memory_new(sizeof(*lockers->memory));
    bool started = lockers->memory != NULL && server_child_start(&lockers->server, count, mount);
    for (unsigned i = 0; started && i < count; i++) {
        struct locker_arguments arguments = {.memory = lockers->memory,
                                             .mount = mount,
                                             .socket = lockers->server.sockets[i],
                                             .number = i,
                                             .count = count};
        started = child_start(
            &lockers->children[i], locker_main, &arguments, &lockers->server.sockets[i], 1);
    }
    if (!started) {
        lockers_end(lockers);
    }
    return started;
}

bool lockers_round(struct lockers *lockers, enum side side, enum lockers_kind kind, uint64_t amount,
                   struct lockers_result *result)
{
    const struct lockers_order order = {.side = side, .kind = kind, .amount = amount};
    *result = (struct lockers_result){0};
    for (unsigned i = 0; i < lockers->count; i++) {
        if (!channel_send(lockers->children[i].channel, &order, sizeof(order))) {
            return bench_fail("process %u is gone", i);
        }
    }
    for (unsigned i = 0; i < lockers->count; i++) {
        struct lockers_result one;
        if (!channel_receive(lockers->children[i].channel, &one, sizeof(one))) {
            return bench_fail("process %u is gone", i);
        }
        result->operations += one.operations;
        result->messages += one.messages;
        result->wait_sum_ns += one.wait_sum_ns;
        if (one.wait_max_ns > result->wait_max_ns) {
            result->wait_max_ns = one.wait_max_ns;
        }
    }
    return true;
}

bool lockers_end(struct lockers *lockers)
{
    bool ended = true;
    for (unsigned i = 0; i < lockers->count; i++) {
        ended = child_end(&lockers->children[i]) && ended;
    }
    ended = server_child_end(&lockers->server) && ended;
    shared_memory_free(lockers->memory, sizeof(*lockers->memory));
    return ended;
}
