/*
 * The parts of the group `sync` in which processes compete for one handle.
 */
#include "contend.h"
#include "relay.h"
#include "sync.h"

#define TURNS 2000
#define TURNS_PER_SLICE 50
#define ROUND_NS UINT64_C(200000000)
#define FAIRNESS_PROCESSES 8
#define MEETING_TRIES 100

/* A round of processes in a loop in which they met at least once. On a busy machine one may not get
 * to run at all; then the round says nothing and is repeated. */
static bool round_of_meetings(struct contenders *contenders, uint64_t round_ns,
                              struct contend_result *result)
{
    for (int tries = 0; tries < MEETING_TRIES; tries++) {
        if (!contenders_round(contenders, CONTEND_LOOP_TIMED, round_ns, result)) {
            return false;
        }
        if (result->waits > 0) {
            return true;
        }
    }
    return bench_fail("%u processes in a loop never met", contenders->count);
}

/* ---- hand-off, batching off ---- */

struct handoff {
    struct contenders contenders;
    struct relay relay;
    struct bench_series alternating, looping;
    struct contend_result alternating_sum, looping_sum;
};

static void add_up(struct contend_result *sum, const struct contend_result *result)
{
    sum->operations += result->operations;
    sum->messages += result->messages;
    sum->waits += result->waits;
    sum->wait_sum_ns += result->wait_sum_ns;
}

/* One round, in slices: where the scheduler puts three processes that wake each other changes the
 * time of a trip by a factor of four, and it changes its mind several times a second. */
static bool take_turns(struct handoff *handoff, uint64_t turns, double *trip_ns)
{
    struct contend_result sum = {0};
    double trip_sum = 0;
    uint64_t done = 0;
    for (; done < turns; done += TURNS_PER_SLICE) {
        struct contend_result result;
        double trip;
        if (!contenders_round(&handoff->contenders, CONTEND_ALTERNATE, TURNS_PER_SLICE, &result) ||
            !relay_round(&handoff->relay, TURNS_PER_SLICE, &trip)) {
            return false;
        }
        add_up(&sum, &result);
        trip_sum += trip * TURNS_PER_SLICE;
    }
    if (sum.waits != sum.operations) {
        return bench_fail("%llu of %llu turns found the handle at home",
                          (unsigned long long)(sum.operations - sum.waits),
                          (unsigned long long)sum.operations);
    }
    *trip_ns = trip_sum / (double)done;
    bench_series_add(
        &handoff->alternating, (double)sum.wait_sum_ns / (double)sum.waits / 1000, *trip_ns / 1000);
    add_up(&handoff->alternating_sum, &sum);
    return true;
}

static bool compete(struct handoff *handoff, uint64_t round_ns, double trip_ns)
{
    struct contend_result result;
    if (!round_of_meetings(&handoff->contenders, round_ns, &result)) {
        return false;
    }
    bench_series_add(
        &handoff->looping, (double)round_ns / (double)result.waits / 1000, trip_ns / 1000);
    add_up(&handoff->looping_sum, &result);
    return true;
}

static bool handoff_rounds(struct bench *bench, struct handoff *handoff)
{
    const uint64_t turns = bench_scale(bench, TURNS);
    struct contend_result ignored;
    for (unsigned round = 0; round < bench->rounds; round++) {
        double trip_ns = 0;
        /* At first nobody holds it, and after a loop either may; the turns begin with process 0. */
        if (!contenders_round(&handoff->contenders, CONTEND_ALTERNATE, 2, &ignored) ||
            !take_turns(handoff, turns, &trip_ns) ||
            !compete(handoff, bench_scale(bench, ROUND_NS), trip_ns)) {
            return false;
        }
    }
    return true;
}

static bool handoff_run(struct bench *bench, struct handoff *handoff)
{
    *handoff = (struct handoff){0};
    if (!relay_start(&handoff->relay)) {
        return false;
    }
    bool done = contenders_start(&handoff->contenders, 2, 0);
    if (done) {
        done = handoff_rounds(bench, handoff);
        done = contenders_end(&handoff->contenders) && done;
    }
    return relay_end(&handoff->relay) && done;
}

static void add_handoff_row(struct bench *bench, const char *name, struct bench_goal goal,
                            const struct bench_series *series, const struct contend_result *sum)
{
    /* An operation of these rows is a hand-off: what a process does before the RECALL is there costs
     * nothing and counts for nothing. */
    struct bench_row row = {.name = name,
                            .unit = "us",
                            .yardstick_name = "relay",
                            .messages_per_op = (double)sum->messages / (double)sum->waits,
                            .goal = goal};
    bench_row_measure(&row, series);
    bench_row_add(bench, &row);
}

bool bench_sync_handoff(struct bench *bench)
{
    const struct bench_goal goal = {.ratio_at_most = 1.3, .messages_exactly = 4};
    const struct bench_goal no_goal = {0};
    struct handoff handoff;
    if (!handoff_run(bench, &handoff)) {
        return false;
    }
    add_handoff_row(bench,
                    "hand-off, taking turns, batching off",
                    goal,
                    &handoff.alternating,
                    &handoff.alternating_sum);
    add_handoff_row(bench,
                    "hand-off, both in a loop, batching off",
                    no_goal,
                    &handoff.looping,
                    &handoff.looping_sum);

    /* Where no idle CPU has to be woken, what is left is system calls and our own work. */
    bench_use_one_cpu(0);
    const bool done = handoff_run(bench, &handoff);
    bench_use_all_cpus();
    if (!done) {
        return false;
    }
    add_handoff_row(bench,
                    "hand-off, taking turns, all on one CPU",
                    goal,
                    &handoff.alternating,
                    &handoff.alternating_sum);
    add_handoff_row(bench,
                    "hand-off, both in a loop, all on one CPU",
                    no_goal,
                    &handoff.looping,
                    &handoff.looping_sum);
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
        done = round_of_meetings(&contenders, bench_scale(bench, ROUND_NS), &result);
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
