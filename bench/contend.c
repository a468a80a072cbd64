#include "contend.h"

#include "base/clock.h"
#include "harness.h"
#include "sync.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* An untimed operation is so short that looking at the clock after each would be most of it. */
#define OPERATIONS_PER_LOOK 32

struct contend_memory {
    _Alignas(128) _Atomic uint32_t turn; /* goes up by one each time; wraps */
    _Alignas(128) pthread_mutex_t mutex;
};

struct order {
    enum contend_kind kind;
    uint64_t amount;
    uint64_t begin_ns;
};

struct contender_arguments {
    struct contend_memory *memory;
    int socket;
    unsigned number;
    unsigned count;
    uint64_t quantum_ns;
};

struct contender {
    const struct contender_arguments *arguments;
    struct bench_client client;
    uint32_t first_turn; /* of the next round of turns */
    uint64_t messages; /* when the last round ended: another process may begin the next before us */
};

/* ---- one process ---- */

/* Acquire and time it, and count it if the handle came from another process. */
static bool timed_acquire(hf_sync *handle, struct contend_result *result)
{
    const uint64_t begin = clock_now_ns();
    const int acquired = hf_sync_acquire(handle, HF_EXCLUSIVE, NULL);
    const uint64_t wait = clock_now_ns() - begin;
    if (acquired < 0) {
        return bench_fail("acquire: %s", strerror(-acquired));
    }
    if ((acquired & HF_CHANGED) != 0) {
        result->waits++;
        result->wait_sum_ns += wait;
        if (wait > result->wait_max_ns) {
            result->wait_max_ns = wait;
        }
    }
    return true;
}

static bool alternate(struct contender *contender, uint64_t turns, struct contend_result *result)
{
    _Atomic uint32_t *turn = &contender->arguments->memory->turn;
    for (uint64_t i = 0; i < turns; i++) {
        const uint32_t mine = contender->first_turn + (uint32_t)i;
        if (mine % contender->arguments->count != contender->arguments->number) {
            continue;
        }
        if (!turn_wait(turn, mine) || !timed_acquire(contender->client.handle, result) ||
            hf_sync_release(contender->client.handle) != 0) {
            return false;
        }
        result->operations++;
        turn_pass(turn);
    }
    contender->first_turn += (uint32_t)turns;
    /* Only then is every message sent that belongs to this round. */
    return turn_wait(turn, contender->first_turn);
}

static bool loop(struct contender *contender, uint64_t end_ns, struct contend_result *result)
{
    hf_sync *handle = contender->client.handle;
    while (clock_now_ns() < end_ns) {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK; i++) {
            if (hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) < 0 || hf_sync_release(handle) != 0) {
                return bench_fail("the handle cannot be used");
            }
        }
        result->operations += OPERATIONS_PER_LOOK;
    }
    return true;
}

/* Processes that spin on what they hold make the others wait for the scheduler, not for the handle:
 * here each gives way after every operation, so that those who want the handle can ask for it. */
static bool loop_timed(struct contender *contender, uint64_t end_ns, struct contend_result *result)
{
    while (clock_now_ns() < end_ns) {
        if (!timed_acquire(contender->client.handle, result) ||
            hf_sync_release(contender->client.handle) != 0) {
            return false;
        }
        result->operations++;
        sched_yield();
    }
    return true;
}

static bool loop_mutex(pthread_mutex_t *mutex, uint64_t end_ns, struct contend_result *result)
{
    while (clock_now_ns() < end_ns) {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK; i++) {
            if (pthread_mutex_lock(mutex) != 0 || pthread_mutex_unlock(mutex) != 0) {
                return bench_fail("the mutex cannot be used");
            }
        }
        result->operations += OPERATIONS_PER_LOOK;
    }
    return true;
}

static bool carry_out(struct contender *contender, const struct order *order,
                      struct contend_result *result)
{
    const uint64_t end_ns = order->begin_ns + order->amount;
    bool done = false;
    switch (order->kind) {
    case CONTEND_ALTERNATE:
        done = alternate(contender, order->amount, result);
        break;
    case CONTEND_LOOP:
        done = loop(contender, end_ns, result);
        break;
    case CONTEND_LOOP_TIMED:
        done = loop_timed(contender, end_ns, result);
        break;
    case CONTEND_LOOP_MUTEX:
        done = loop_mutex(&contender->arguments->memory->mutex, end_ns, result);
        break;
    }
    const uint64_t messages = bench_client_messages(&contender->client);
    result->messages = messages - contender->messages;
    contender->messages = messages;
    return done;
}

static bool contender_main(int channel, void *context)
{
    struct contender contender = {.arguments = context};
    if (!bench_client_open(
            &contender.client, contender.arguments->socket, contender.arguments->quantum_ns)) {
        return false;
    }
    struct order order;
    while (channel_receive(channel, &order, sizeof(order))) {
        struct contend_result result = {0};
        if (!carry_out(&contender, &order, &result) ||
            !channel_send(channel, &result, sizeof(result))) {
            return false;
        }
    }
    bench_client_close(&contender.client);
    return true;
}

/* ---- all of them ---- */

static bool mutex_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    const int error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error == 0 || bench_fail("cannot make a mutex: %s", strerror(error));
}

bool contenders_start(struct contenders *contenders, unsigned count, uint64_t quantum_ns)
{
    *contenders = (struct contenders){.count = count};
    contenders->memory = shared_memory_new(sizeof(*contenders->memory));
    bool started = contenders->memory != NULL && mutex_init(&contenders->memory->mutex) &&
                   server_child_start(&contenders->server, count, NULL);
    for (unsigned i = 0; started && i < count; i++) {
        struct contender_arguments arguments = {.memory = contenders->memory,
                                                .socket = contenders->server.sockets[i],
                                                .number = i,
                                                .count = count,
                                                .quantum_ns = quantum_ns};
        started = child_start(&contenders->children[i],
                              contender_main,
                              &arguments,
                              &contenders->server.sockets[i],
                              1);
    }
    if (!started) {
        contenders_end(contenders);
    }
    return started;
}

bool contenders_round(struct contenders *contenders, enum contend_kind kind, uint64_t amount,
                      struct contend_result *result)
{
    const struct order order = {.kind = kind, .amount = amount, .begin_ns = clock_now_ns()};
    *result = (struct contend_result){0};
    for (unsigned i = 0; i < contenders->count; i++) {
        if (!channel_send(contenders->children[i].channel, &order, sizeof(order))) {
            return bench_fail("process %u is gone", i);
        }
    }
    for (unsigned i = 0; i < contenders->count; i++) {
        struct contend_result one;
        if (!channel_receive(contenders->children[i].channel, &one, sizeof(one))) {
            return bench_fail("process %u is gone", i);
        }
        result->operations += one.operations;
        result->messages += one.messages;
        result->waits += one.waits;
        result->wait_sum_ns += one.wait_sum_ns;
        if (one.wait_max_ns > result->wait_max_ns) {
            result->wait_max_ns = one.wait_max_ns;
        }
    }
    return true;
}

bool contenders_end(struct contenders *contenders)
{
    bool ended = true;
    for (unsigned i = 0; i < contenders->count; i++) {
        ended = child_end(&contenders->children[i]) && ended;
    }
    ended = server_child_end(&contenders->server) && ended;
    shared_memory_free(contenders->memory, sizeof(*contenders->memory));
    return ended;
}
