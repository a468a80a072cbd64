/*
 * Many threads of two clients at one handle, in all modes and with every way to leave a wait: no
 * increment is lost, and nobody reads what is half written.
 */
#include "base/clock.h"
#include "lib/process.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { THREADS = 8, CLIENTS = 2 };

/* What the handle protects, in memory that the processes of the test share. Not atomic on purpose:
 * the handle is what keeps it right, and the thread sanitizer sees whether it does. */
struct shared {
    uint64_t first;
    uint64_t second; /* follows first within each EXCLUSIVE use */
    char apart[64];
    atomic_ullong increments; /* that were completed */
    atomic_ullong reads;
    atomic_ullong gave_up;
    atomic_uint ready; /* clients that wait for the start */
    atomic_bool go;
};

/* The value, which goes through the server. */
struct counters {
    uint64_t first;
    uint64_t second;
};

struct worker {
    struct shared *shared;
    hf_sync *handle;
    hf_cancel *token;
    uint64_t random;
    int rounds;
    const char *wrong; /* NULL: all is well */
    pthread_t thread;
};

static uint64_t next_random(struct worker *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random;
}

static bool get(hf_sync *handle, struct counters *counters)
{
    *counters = (struct counters){0, 0};
    const ssize_t size = hf_sync_get_value(handle, counters, sizeof(*counters));
    return size == 0 || size == sizeof(*counters);
}

/* Holding EXCLUSIVE. In between, the value is one that nobody may ever see. */
static const char *increment(struct worker *self)
{
    struct shared *shared = self->shared;
    struct counters counters;
    if (!get(self->handle, &counters)) {
        return "the value has another size";
    }
    if (shared->first != shared->second || counters.first != counters.second ||
        counters.first != shared->first) {
        return "a writer came in between a writer's steps";
    }
    counters.first++;
    shared->first++;
    if (hf_sync_set_value(self->handle, &counters, sizeof(counters)) != 0) {
        return "set_value failed";
    }
    counters.second++;
    shared->second++;
    if (hf_sync_set_value(self->handle, &counters, sizeof(counters)) != 0) {
        return "set_value failed";
    }
    atomic_fetch_add(&shared->increments, 1);
    return NULL;
}

/* Holding SHARED or more. */
static const char *look(struct worker *self)
{
    struct counters counters;
    if (!get(self->handle, &counters) || counters.first != counters.second ||
        self->shared->first != self->shared->second || counters.first != self->shared->first) {
        return "a reader saw what was half done, or old";
    }
    atomic_fetch_add(&self->shared->reads, 1);
    return NULL;
}

/* A way of waiting, chosen at random. */
static int acquire(struct worker *self, hf_mode mode)
{
    const uint64_t choice = next_random(self) % 16;
    hf_wait_opts opts = {0};
    if (choice == 0) {
        opts.flags = HF_NOWAIT;
    } else if (choice == 1) {
        opts.deadline_ns = clock_now_ns() + next_random(self) % 200000;
    } else if (choice == 2) {
        opts.cancel = self->token;
    }
    return hf_sync_acquire(self->handle, mode, choice < 3 ? &opts : NULL);
}

static bool gave_up(int result)
{
    return result == -EAGAIN || result == -ETIMEDOUT || result == -ECANCELED;
}

static const char *write_once(struct worker *self)
{
    const int result = acquire(self, HF_EXCLUSIVE);
    if (result < 0) {
        return gave_up(result) ? "" : "acquire failed";
    }
    if ((result & HF_OWNER_DIED) != 0) {
        return "nobody died";
    }
    const char *wrong = increment(self);
    if (wrong == NULL && next_random(self) % 4 == 0 && hf_sync_publish(self->handle) != 0) {
        return "publish failed";
    }
    if (wrong == NULL && next_random(self) % 4 == 0) {
        if (hf_sync_downgrade(self->handle) != 0) {
            return "downgrade failed";
        }
        wrong = look(self);
    }
    return hf_sync_release(self->handle) == 0 ? wrong : "release failed";
}

static const char *read_once(struct worker *self)
{
    const int result = acquire(self, HF_SHARED);
    if (result < 0) {
        return gave_up(result) ? "" : "acquire failed";
    }
    struct counters before, after;
    const char *wrong = look(self);
    if (wrong == NULL && next_random(self) % 8 == 0) {
        get(self->handle, &before);
        const int upgraded = hf_sync_upgrade(self->handle, NULL);
        if (upgraded < 0) {
            return "upgrade failed";
        }
        get(self->handle, &after);
        if (upgraded == HF_UNCHANGED && after.first != before.first) {
            return "an upgrade did not tell of a change";
        }
        wrong = increment(self);
    }
    return hf_sync_release(self->handle) == 0 ? wrong : "release failed";
}

static const char *work_once(struct worker *self)
{
    const uint64_t choice = next_random(self) % 32;
    if (choice == 0) {
        const int result = hf_sync_yield(self->handle, choice % 2 != 0 ? HF_SHARED : HF_INVALID);
        return result == 0 || result == -EBUSY ? NULL : "yield failed";
    }
    if (choice == 1) {
        hf_cancel_fire(self->token);
        hf_cancel_reset(self->token);
        return NULL;
    }
    return choice < 12 ? write_once(self) : read_once(self);
}

static void *work(void *argument)
{
    struct worker *self = argument;
    for (int round = 0; round < self->rounds; round++) {
        const char *wrong = work_once(self);
        if (wrong != NULL && *wrong == '\0') {
            atomic_fetch_add(&self->shared->gave_up, 1);
        } else if (wrong != NULL) {
            self->wrong = wrong;
            break;
        }
    }
    return NULL;
}

/* All threads of one client. Return: what went wrong, or NULL. */
static const char *run_client(struct shared *shared, const char *address, uint64_t quantum_ns,
                              int rounds, uint64_t seed)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    config.quantum_ns = quantum_ns;
    hf_client *client = NULL;
    hf_sync *handle = NULL;
    hf_cancel *token = NULL;
    struct worker workers[THREADS];
    if (hf_client_connect(address, &config, &client) != 0 ||
        hf_sync_open(client, (hf_id){7, 1}, 0, &handle) != 0 ||
        hf_cancel_new(client, &token) != 0) {
        return "cannot begin";
    }
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load(&shared->go)) {
    }
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){shared, handle, token, seed + (uint64_t)i, rounds, NULL, 0};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            return "no thread";
        }
    }
    const char *wrong = NULL;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        wrong = wrong == NULL ? workers[i].wrong : wrong;
    }
    hf_sync_close(handle);
    hf_cancel_free(token);
    if (hf_client_error(client) != 0) {
        wrong = "the connection ended";
    }
    hf_client_unref(client);
    return wrong;
}

/* ---- the stage around it ---- */

static struct stage stage;

static int set_up(void **state)
{
    stage_init(&stage);
    stage_start(&stage);
    return 0;
}

static int tear_down(void **state)
{
    stage_deinit(&stage);
    return 0;
}

struct run {
    struct shared *shared;
    uint64_t quantum_ns;
    int rounds;
    uint64_t seed;
    const char *wrong;
};

static void *run_in_thread(void *argument)
{
    struct run *run = argument;
    run->wrong =
        run_client(run->shared, stage.server.address, run->quantum_ns, run->rounds, run->seed);
    return NULL;
}

static int run_in_process(const struct child *self, void *context)
{
    struct run *run = context;
    run_in_thread(run);
    if (run->wrong != NULL) {
        fprintf(stderr, "# in a child: %s\n", run->wrong);
    }
    return run->wrong != NULL;
}

/* Rounds that a run has time for. */
static int rounds_for(uint64_t quantum_ns)
{
    return test_is_plain() ? (quantum_ns == 0 ? 300 : 2000) : 250;
}

static void hammer(uint64_t quantum_ns, bool processes)
{
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    struct run runs[CLIENTS];
    struct child children[CLIENTS];
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        runs[i] = (struct run){shared,
                               quantum_ns,
                               rounds_for(quantum_ns),
                               UINT64_C(88172645463325252) + 100 * (uint64_t)i,
                               NULL};
        if (processes) {
            child_start(&children[i], run_in_process, &runs[i]);
        } else {
            assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, &runs[i]), 0);
        }
    }
    /* Opened here too, or the value would be forgotten at the end. */
    while (atomic_load(&shared->ready) < CLIENTS) {
    }
    hf_client *client = stage_client(&stage, "last");
    hf_sync *handle = open_value(client, 1);
    atomic_store(&shared->go, true);
    for (int i = 0; i < CLIENTS; i++) {
        if (processes) {
            assert_int_equal(child_end(&children[i]), 0);
        } else {
            pthread_join(threads[i], NULL);
            assert_string_equal(runs[i].wrong != NULL ? runs[i].wrong : "right", "right");
        }
    }
    struct counters counters;
    assert_true(hf_sync_acquire(handle, HF_SHARED, NULL) >= 0);
    assert_true(get(handle, &counters));
    assert_int_equal(hf_sync_release(handle), 0);
    assert_true(shared->increments > 0 && shared->reads > 0);
    assert_int_equal(counters.first, shared->increments);
    assert_int_equal(counters.second, shared->increments);
    hf_sync_close(handle);
    hf_client_unref(client);
    stage_await_clients(&stage, 0);
    const hf_server_stats stats = stage_stats(&stage);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.holds, 0);
    assert_int_equal(stats.cut_off, 0);
    munmap(shared, sizeof(*shared));
}

static const hf_client_config defaults = HF_CLIENT_CONFIG_INIT;

static void test_threads_of_two_clients_without_batching(void **state)
{
    hammer(0, false);
}

static void test_threads_of_two_clients_that_batch(void **state)
{
    hammer(defaults.quantum_ns, false);
}

static void test_threads_of_two_processes_without_batching(void **state)
{
    skip_without_forks();
    hammer(0, true);
}

static void test_threads_of_two_processes_that_batch(void **state)
{
    skip_without_forks();
    hammer(defaults.quantum_ns, true);
}

/* ---- opening and closing by many threads ---- */

static hf_client *churned;

static void *open_and_close(void *argument)
{
    const uint64_t rounds = test_is_plain() ? 500 : 100;
    for (uint64_t round = 0; round < rounds; round++) {
        hf_sync *value = NULL, *lock = NULL;
        uint64_t number = 0;
        SURE(hf_sync_open(churned, (hf_id){7, round % 3}, 0, &value) == 0);
        SURE(hf_sync_open(churned, (hf_id){7, 10 + round % 3}, HF_SYNC_LOCK, &lock) == 0);
        SURE(hf_sync_acquire(lock, HF_EXCLUSIVE, NULL) >= 0);
        SURE(hf_sync_acquire(value, HF_EXCLUSIVE, NULL) >= 0);
        SURE(hf_sync_get_value(value, &number, sizeof(number)) >= 0);
        number++;
        SURE(hf_sync_set_value(value, &number, sizeof(number)) == 0);
        SURE(hf_sync_release(value) == 0);
        hf_sync_close(value);
        SURE(hf_sync_release(lock) == 0);
        hf_sync_close(lock);
    }
    return NULL;
}

static void test_handles_that_many_threads_open_and_close(void **state)
{
    pthread_t threads[THREADS];
    churned = stage_client(&stage, "churned");
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(hf_client_error(churned), 0);
    assert_int_equal(stage_stats(&stage).holds, 0);
    hf_client_unref(churned);
}

static void *churn_clients(void *argument)
{
    for (int round = 0; round < 20; round++) {
        hf_client *client = NULL;
        hf_sync *lock = NULL;
        SURE(hf_client_connect(stage.server.address, NULL, &client) == 0);
        SURE(hf_sync_open(client, (hf_id){7, 1}, HF_SYNC_LOCK, &lock) == 0);
        SURE(hf_sync_acquire(lock, HF_EXCLUSIVE, NULL) >= 0);
        SURE(hf_sync_release(lock) == 0);
        hf_client_unref(client);
        hf_sync_close(lock);
    }
    return NULL;
}

static void test_clients_that_many_threads_make_and_drop(void **state)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn_clients, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    stage_await_clients(&stage, 0);
    assert_int_equal(stage_stats(&stage).holds, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        TEST(test_threads_of_two_clients_without_batching),
        TEST(test_threads_of_two_clients_that_batch),
        TEST(test_threads_of_two_processes_without_batching),
        TEST(test_threads_of_two_processes_that_batch),
        TEST(test_handles_that_many_threads_open_and_close),
        TEST(test_clients_that_many_threads_make_and_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
