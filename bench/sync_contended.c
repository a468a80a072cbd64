/*
 * The parts of the group `sync` in which processes compete for one handle.
 */
#include "contend.h"
#include "relay.h"
#include "sync.h"

#define TURNS 2000
#define ROUND_NS UINT64_C(200000000)
#define FAIRNESS_PROCESSES 8

/* ---- hand-off, batching off ---- */

struct handoff {
    struct contenders contenders;
    struct relay relay;
    struct bench_series alternating, looping;
    uint64_t alternating_operations, alternating_messages;
    uint64_t looping_operations, looping_messages;
};

static bool handoff_round(struct handoff *handoff, uint64_t turns, uint64_t loop_ns)
{
    struct contend_result result;
    double trip_ns;
    if (!contenders_round(&handoff->contenders, CONTEND_ALTERNATE, turns, &result) ||
        !relay_round(&handoff->relay, turns, &trip_ns)) {
        return false;
    }
    if (result.waits != result.operations) {
        return bench_fail("%llu of %llu turns found the handle at home",
                          (unsigned long long)(result.operations - result.waits),
                          (unsigned long long)result.operations);
    }
    bench_series_add(&handoff->alternating,
                     (double)result.wait_sum_ns / (double)result.waits / 1000,
                     trip_ns / 1000);
    handoff->alternating_operations += result.operations;
    handoff->alternating_messages += result.messages;

    if (!contenders_round(&handoff->contenders, CONTEND_LOOP_TIMED, loop_ns, &result)) {
        return false;
    }
    if (result.waits == 0) {
        return bench_fail("two processes in a loop never met");
    }
    bench_series_add(
        &handoff->looping, (double)loop_ns / (double)result.waits / 1000, trip_ns / 1000);
    handoff->looping_operations += result.operations;
    handoff->looping_messages += result.messages;
    return true;
}

static bool handoff_rounds(struct bench *bench, struct handoff *handoff)
{
    const uint64_t turns = bench_scale(bench, TURNS);
    struct contend_result ignored;
    /* The first turn of all finds the handle held by nobody. */
    if (!contenders_round(&handoff->contenders, CONTEND_ALTERNATE, turns, &ignored)) {
        return false;
    }
    for (unsigned round = 0; round < bench->rounds; round++) {
        /* After a loop either may hold it; the turns begin with process 0. */
        if (!contenders_round(&handoff->contenders, CONTEND_ALTERNATE, 2, &ignored) ||
            !handoff_round(handoff, turns, bench_scale(bench, ROUND_NS))) {
            return false;
        }
    }
    return true;
}

bool bench_sync_handoff(struct bench *bench)
{
    struct handoff handoff = {0};
    bool done = relay_start(&handoff.relay);
    if (done) {
        done = contenders_start(&handoff.contenders, 2, 0);
        if (done) {
            done = handoff_rounds(bench, &handoff);
            done = contenders_end(&handoff.contenders) && done;
        }
        done = relay_end(&handoff.relay) && done;
    }
    if (!done) {
        return false;
    }
    struct bench_row row = {
        .name = "hand-off, taking turns, batching off",
        .unit = "us",
        .yardstick_name = "relay",
        .messages_per_op =
            (double)handoff.alternating_messages / (double)handoff.alternating_operations,
        .goal = {.ratio_at_most = 1.3, .messages_exactly = 4},
    };
    bench_row_measure(&row, &handoff.alternating);
    bench_row_add(bench, &row);
    row = (struct bench_row){
        .name = "hand-off, both in a loop, batching off",
        .unit = "us",
        .yardstick_name = "relay",
        .messages_per_op = (double)handoff.looping_messages / (double)handoff.looping_operations,
    };
    bench_row_measure(&row, &handoff.looping);
    bench_row_add(bench, &row);
    return true;
}

/* ---- batching on ---- */

bool bench_sync_batching(struct bench *bench)
{
    const uint64_t round_ns = bench_scale(bench, ROUND_NS);
    const double seconds = (double)round_ns / 1e9;
    struct bench_series series = {0};
    struct contenders contenders;
    if (!contenders_start(&contenders, 2, default_quantum_ns())) {
        return false;
    }
    bool done = true;
    uint64_t operations = 0, messages = 0;
    for (unsigned round = 0; done && round < bench->rounds; round++) {
        struct contend_result ours, mutex;
        done = contenders_round(&contenders, CONTEND_LOOP, round_ns, &ours) &&
               contenders_round(&contenders, CONTEND_LOOP_MUTEX, round_ns, &mutex);
        if (done) {
            bench_series_add(
                &series, (double)ours.operations / seconds, (double)mutex.operations / seconds);
            operations += ours.operations;
            messages += ours.messages;
        }
    }
    done = contenders_end(&contenders) && done;
    if (!done) {
        return false;
    }
    struct bench_row row = {
        .name = "both in a loop, batching on",
        .unit = "ops/s",
        .yardstick_name = "mutex",
        .messages_per_op = (double)messages / (double)operations,
        .goal = {.messages_below = 0.1},
    };
    bench_row_measure(&row, &series);
    bench_row_add(bench, &row);
    return true;
}

/* ---- fairness ---- */

/* The longest wait of a round beside the mean one, in which only acquires count that had to get
 * the handle from another process. */
static bool measure_fairness(struct bench *bench, const char *name, uint64_t quantum_ns)
{
    struct bench_series series = {0};
    struct contenders contenders;
    if (!contenders_start(&contenders, FAIRNESS_PROCESSES, quantum_ns)) {
        return false;
    }
    bool done = true;
    uint64_t operations = 0, messages = 0;
    for (unsigned round = 0; done && round < bench->rounds; round++) {
        struct contend_result result;
        done = contenders_round(
            &contenders, CONTEND_LOOP_TIMED, bench_scale(bench, ROUND_NS), &result);
        if (done && result.waits == 0) {
            done = bench_fail("%d processes in a loop never met", FAIRNESS_PROCESSES);
        }
        if (done) {
            bench_series_add(&series,
                             (double)result.wait_max_ns / 1000,
                             (double)result.wait_sum_ns / (double)result.waits / 1000);
            operations += result.operations;
            messages += result.messages;
        }
    }
    done = contenders_end(&contenders) && done;
    if (!done) {
        return false;
    }
    struct bench_row row = {
        .name = name,
        .unit = "us",
        .yardstick_name = "mean",
        .messages_per_op = (double)messages / (double)operations,
    };
    bench_row_measure(&row, &series);
    bench_row_add(bench, &row);
    return true;
}

bool bench_sync_fairness(struct bench *bench)
{
    return measure_fairness(bench, "longest wait of 8 processes, batching off", 0) &&
           measure_fairness(
               bench, "longest wait of 8 processes, batching on", default_quantum_ns());
}
