/*
 * Processes that use the public API and are killed with SIGKILL: the others go on at once, what a
 * completed call published is there, and who comes next is told of an owner that died.
 */
#include "base/clock.h"
#include "lib/process.h"
#include "lib/sync_stage.h"
#include "lib/test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct stage stage;
static hf_client *a, *b;
static hf_sync *in_a, *in_b;

static int set_up(void **state)
{
    stage_init(&stage);
    stage_start(&stage);
    a = stage_client(&stage, "a");
    b = stage_client(&stage, "b");
    in_a = open_value(a, 1);
    in_b = open_value(b, 1);
    return 0;
}

static int tear_down(void **state)
{
    hf_sync_close(in_a);
    hf_sync_close(in_b);
    hf_client_unref(a);
    hf_client_unref(b);
    stage_await_clients(&stage, 0);
    assert_int_equal(stage_stats(&stage).holds, 0);
    assert_int_equal(stage_stats(&stage).queued, 0);
    stage_deinit(&stage);
    return 0;
}

/* ---- one that is killed ---- */

struct part {
    hf_mode mode;
    bool uses;     /* a thread is at it when the kill comes */
    uint64_t sets; /* this value, and releases; 0: none */
    uint64_t half; /* and then this one, which it does not publish; 0: none */
};

/* A connection of its own; what a fork copied of the test's is left alone. */
static hf_sync *join_in_child(void)
{
    hf_client *client = NULL;
    hf_sync *handle = NULL;
    if (hf_client_connect(stage.server.address, NULL, &client) != 0 ||
        hf_sync_open(client, (hf_id){7, 1}, 0, &handle) != 0) {
        _exit(1);
    }
    return handle;
}

static int play_victim(const struct child *self, void *context)
{
    const struct part *part = context;
    hf_sync *handle = join_in_child();
    if (part->sets != 0 && (hf_sync_acquire(handle, HF_EXCLUSIVE, NULL) < 0 ||
                            hf_sync_set_value(handle, &part->sets, sizeof(part->sets)) != 0 ||
                            hf_sync_release(handle) != 0)) {
        return 2;
    }
    if (hf_sync_acquire(handle, part->mode, NULL) < 0 ||
        (part->half != 0 && hf_sync_set_value(handle, &part->half, sizeof(part->half)) != 0) ||
        (!part->uses && hf_sync_release(handle) != 0)) {
        return 3;
    }
    child_report(self, 'h');
    child_wait_to_end(self);
    return 4;
}

/* What the next two who want it are told, and the value that they see. */
static void killed_while(struct part part, int told_first, int told_second, uint64_t value)
{
    skip_without_forks();
    struct child victim;
    child_start(&victim, play_victim, &part);
    child_expect(&victim, 'h');
    struct acquirer next = {.handle = in_a, .mode = HF_EXCLUSIVE};
    if (part.uses) {
        acquirer_start(&next);
        stage_await_queued(&stage, 1);
        child_kill(&victim);
        assert_int_equal(acquirer_join(&next), told_first);
    } else {
        child_kill(&victim);
        assert_int_equal(hf_sync_acquire(in_a, HF_EXCLUSIVE, NULL), told_first);
    }
    assert_int_equal(value_get(in_a), value);
    assert_int_equal(hf_sync_release(in_a), 0);
    assert_int_equal(hf_sync_acquire(in_b, HF_EXCLUSIVE, NULL), told_second);
    assert_int_equal(value_get(in_b), value);
    assert_int_equal(hf_sync_release(in_b), 0);
    assert_int_equal(hf_sync_yield(in_b, HF_INVALID), 0);
}

static void test_killed_while_it_reads(void **state)
{
    killed_while((struct part){.mode = HF_SHARED, .uses = true}, HF_CHANGED, HF_CHANGED, 0);
}

static void test_killed_while_it_holds_shared_idle(void **state)
{
    killed_while((struct part){.mode = HF_SHARED}, HF_CHANGED, HF_CHANGED, 0);
}

static void test_killed_while_it_writes_is_told_once(void **state)
{
    const struct part part = {.mode = HF_EXCLUSIVE, .uses = true};
    killed_while(part, HF_CHANGED | HF_OWNER_DIED, HF_CHANGED, 0);
    killed_while(part, HF_CHANGED | HF_OWNER_DIED, HF_CHANGED, 0); /* and again when it is again */
}

static void test_killed_while_it_holds_exclusive_idle(void **state)
{
    const struct part part = {.mode = HF_EXCLUSIVE};
    killed_while(part, HF_CHANGED | HF_OWNER_DIED, HF_CHANGED, 0);
}

static void test_what_was_released_survives_and_what_was_only_set_does_not(void **state)
{
    const struct part part = {.mode = HF_EXCLUSIVE, .uses = true, .sets = 7, .half = 8};
    killed_while(part, HF_CHANGED | HF_OWNER_DIED, HF_CHANGED, 7);
}

static void test_the_last_value_of_a_reader_survives(void **state)
{
    killed_while((struct part){.mode = HF_SHARED, .uses = true, .sets = 9},
                 HF_CHANGED | HF_OWNER_DIED,
                 HF_CHANGED,
                 9);
}

static int play_waiter(const struct child *self, void *context)
{
    hf_sync *handle = join_in_child();
    child_report(self, 'w');
    hf_sync_acquire(handle, *(const hf_mode *)context, NULL);
    return 4;
}

static void killed_while_it_waits(hf_mode mode)
{
    skip_without_forks();
    struct child victim;
    assert_true(hf_sync_acquire(in_a, HF_EXCLUSIVE, NULL) >= 0);
    value_set(in_a, 5);
    child_start(&victim, play_waiter, &mode);
    child_expect(&victim, 'w');
    stage_await_queued(&stage, 1);
    struct acquirer behind = {.handle = in_b, .mode = HF_SHARED};
    acquirer_start(&behind);
    stage_await_queued(&stage, 2);
    child_kill(&victim);
    stage_await_queued(&stage, 1);
    assert_int_equal(hf_sync_release(in_a), 0);
    assert_int_equal(acquirer_join(&behind), HF_CHANGED);
    assert_int_equal(value_get(in_b), 5);
    assert_int_equal(hf_sync_release(in_b), 0);
}

static void test_killed_while_it_waits(void **state)
{
    killed_while_it_waits(HF_SHARED);
    killed_while_it_waits(HF_EXCLUSIVE);
}

/* ---- many that are killed at any moment ---- */

enum { WORKERS = 3, KILLS = 200, MOST = 1 << 20 };

struct slot {
    _Atomic uint64_t in_doubt; /* it may or may not have made the value this; 0: no */
    _Atomic uint64_t uses;
    atomic_bool joined;
};

/* In memory that the processes of the test share. */
struct tally {
    struct slot slots[WORKERS];
    _Atomic uint64_t owners_died;
    atomic_bool enough;
    _Atomic uint8_t claims[MOST]; /* how many completed the increment to this value */
};

static struct tally *tally;

/* The next value is n + 1, and a worker says so before it may become true; once release() has
 * returned it claims it. */
static bool increment(hf_sync *handle, struct slot *slot)
{
    uint64_t value = 0;
    const int result = hf_sync_acquire(handle, HF_EXCLUSIVE, NULL);
    if (result < 0) {
        return false;
    }
    if ((result & HF_OWNER_DIED) != 0) {
        atomic_fetch_add(&tally->owners_died, 1);
    }
    hf_sync_get_value(handle, &value, sizeof(value));
    value++;
    if (value >= MOST) {
        return hf_sync_release(handle) == 0;
    }
    atomic_store(&slot->in_doubt, value);
    if (hf_sync_set_value(handle, &value, sizeof(value)) != 0 || hf_sync_release(handle) != 0) {
        return false;
    }
    atomic_fetch_add(&tally->claims[value], 1);
    atomic_store(&slot->in_doubt, 0);
    return true;
}

static int work(int which, uint64_t quantum_ns)
{
    struct slot *slot = &tally->slots[which];
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    hf_client *client = NULL;
    hf_sync *handle = NULL;
    config.quantum_ns = quantum_ns;
    prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL);
    if (hf_client_connect(stage.server.address, &config, &client) != 0 ||
        hf_sync_open(client, (hf_id){7, 1}, 0, &handle) != 0) {
        return 1;
    }
    atomic_store(&slot->joined, true);
    for (uint64_t round = 0; !atomic_load(&tally->enough); round++) {
        if (round % 4 != 3) {
            if (!increment(handle, slot)) {
                return 2;
            }
        } else if (hf_sync_acquire(handle, HF_SHARED, NULL) < 0 || hf_sync_release(handle) != 0) {
            return 3;
        }
        atomic_fetch_add(&slot->uses, 1);
    }
    hf_sync_close(handle);
    hf_client_unref(client);
    return 0;
}

static pid_t start_worker(int which, uint64_t quantum_ns)
{
    struct slot *slot = &tally->slots[which];
    atomic_store(&slot->in_doubt, 0);
    atomic_store(&slot->joined, false);
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(work(which, quantum_ns));
    }
    assert_true(pid > 0);
    return pid;
}

static void await_uses(int which, uint64_t more)
{
    struct slot *slot = &tally->slots[which];
    const uint64_t give_up_ns = clock_now_ns() + STAGE_PATIENCE_NS;
    const uint64_t goal = atomic_load(&slot->uses) + more;
    while (atomic_load(&slot->uses) < goal && clock_now_ns() < give_up_ns) {
        poll(NULL, 0, 0);
    }
    assert_true(atomic_load(&slot->uses) >= goal); /* nobody hangs */
}

static int reap(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Kill one after the other while the rest go on, and see that every increment that a worker
 * completed is there, once; the one it was at when it was killed may be there or not. */
static void kill_at_random(uint64_t quantum_ns, int kills)
{
    skip_without_forks();
    static uint64_t doubts[KILLS];
    int doubt_count = 0;
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15) + quantum_ns;
    pid_t pids[WORKERS];
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(tally, MAP_FAILED);
    for (int i = 0; i < WORKERS; i++) {
        pids[i] = start_worker(i, quantum_ns);
    }
    for (int i = 0; i < kills; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const int which = (int)((random >> 33) % WORKERS);
        await_uses(which, 1);
        const uint64_t moment_ns = clock_now_ns() + (random >> 40) % 300000;
        while (clock_now_ns() < moment_ns) {
        }
        kill(pids[which], SIGKILL);
        assert_int_equal(reap(pids[which]), -SIGKILL);
        if (atomic_load(&tally->slots[which].in_doubt) != 0) {
            doubts[doubt_count++] = atomic_load(&tally->slots[which].in_doubt);
        }
        await_uses((which + 1) % WORKERS, 2);
        pids[which] = start_worker(which, quantum_ns);
    }
    for (int i = 0; i < WORKERS; i++) {
        await_uses(i, 1);
    }
    atomic_store(&tally->enough, true);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(reap(pids[i]), 0);
    }

    assert_true(hf_sync_acquire(in_a, HF_SHARED, NULL) >= 0);
    const uint64_t value = value_get(in_a);
    assert_int_equal(hf_sync_release(in_a), 0);
    assert_true(value > 0 && value + WORKERS < MOST);
    for (uint64_t i = 1; i <= value + WORKERS; i++) {
        bool doubted = false;
        for (int k = 0; k < doubt_count; k++) {
            doubted = doubted || doubts[k] == i;
        }
        const int claims = atomic_load(&tally->claims[i]);
        if (i > value ? claims != 0 : claims > 1 || (claims == 0 && !doubted)) {
            fail_msg("%d claim the increment to %llu of %llu",
                     claims,
                     (unsigned long long)i,
                     (unsigned long long)value);
        }
    }
    assert_in_range(tally->owners_died, 0, kills);
    munmap(tally, sizeof(*tally));
    tally = NULL;
}

static void test_killed_at_random_moments_without_batching(void **state)
{
    kill_at_random(0, test_is_plain() ? KILLS : KILLS / 4);
}

static void test_killed_at_random_moments_with_batching(void **state)
{
    kill_at_random(UINT64_C(200000), KILLS / 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        TEST(test_killed_while_it_reads),
        TEST(test_killed_while_it_holds_shared_idle),
        TEST(test_killed_while_it_writes_is_told_once),
        TEST(test_killed_while_it_holds_exclusive_idle),
        TEST(test_what_was_released_survives_and_what_was_only_set_does_not),
        TEST(test_the_last_value_of_a_reader_survives),
        TEST(test_killed_while_it_waits),
        TEST(test_killed_at_random_moments_without_batching),
        TEST(test_killed_at_random_moments_with_batching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
