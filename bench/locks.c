/*
 * The group `locks`.
 */
#include "locks.h"

#include "calls.h"
#include "lockers.h"
#include "relay.h"

#define TURNS 2000
#define TURNS_PER_SLICE 50
#define LOOP_SLICE_NS UINT64_C(2000000)
#define ROUND_NS UINT64_C(100000000)
#define CONTENDERS 8

/* ---- nobody else is there ---- */

static bool bench_locks_alone(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "lock+unlock of a byte, alone",
         .yardstick_name = "fcntl",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 0.25},
         .operation = &operation_lock_posix},
        {.name = "the same in an open file's name",
         .yardstick_name = "fcntl",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 0.25},
         .operation = &operation_lock_ofd},
        {.name = "flock+unlock, alone",
         .yardstick_name = "flock",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 0.25},
         .operation = &operation_flock},
    };
    return calls_measure(bench, NULL, calls, sizeof(calls) / sizeof(calls[0]));
}

/* ---- two in turn ---- */

struct handoff_row {
    const char *name;
    enum lockers_kind kind;
    struct bench_goal goal;
};

static void add_up(struct lockers_result *sum, const struct lockers_result *result)
{
    sum->operations += result->operations;
    sum->messages += result->messages;
    sum->wait_sum_ns += result->wait_sum_ns;
    sum->wait_max_ns =
        result->wait_max_ns > sum->wait_max_ns ? result->wait_max_ns : sum->wait_max_ns;
}

/* In slices, one of either right after the other: see sync_contended.c. */
static bool hand_over(struct lockers *lockers, const struct relay *relay, enum lockers_kind kind,
                      uint64_t turns, struct bench_series *series, struct lockers_result *total)
{
    const bool is_loop = kind == LOCKERS_LOOP;
    struct lockers_result sum = {0};
    double trip_sum = 0;
    uint64_t slices = 0;
    for (uint64_t done = 0; done < turns; done += TURNS_PER_SLICE) {
        struct lockers_result result;
        double trip_ns;
        if (!lockers_round(
                lockers, OURS, kind, is_loop ? LOOP_SLICE_NS : TURNS_PER_SLICE, &result) ||
            !relay_round(relay, TURNS_PER_SLICE, &trip_ns)) {
            return false;
        }
        add_up(&sum, &result);
        trip_sum += trip_ns;
        slices++;
    }
    const double sum_ns = (double)(is_loop ? slices * LOOP_SLICE_NS : sum.wait_sum_ns);
    bench_series_add(
        series, sum_ns / (double)sum.operations / 1000, trip_sum / (double)slices / 1000);
    add_up(total, &sum);
    return true;
}

static bool handoff_rounds(struct bench *bench, struct lockers *lockers, const struct relay *relay,
                           const struct handoff_row *wanted)
{
    struct bench_series series = {0};
    struct lockers_result total = {0};
    struct lockers_result ignored;
    /* Who is first, and what the server remembers of the file, is as it will be from then on. */
    bool done = lockers_round(
        lockers, OURS, wanted->kind, wanted->kind == LOCKERS_LOOP ? LOOP_SLICE_NS : 4, &ignored);
    for (unsigned round = 0; done && round < bench->rounds; round++) {
        done = hand_over(lockers, relay, wanted->kind, bench_scale(bench, TURNS), &series, &total);
    }
    if (!done) {
        return false;
    }
    struct bench_row row = {.name = wanted->name,
                            .unit = "us",
                            .yardstick_name = "relay",
                            .messages_per_op = (double)total.messages / (double)total.operations,
                            .goal = wanted->goal};
    bench_row_measure(&row, &series);
    bench_row_add(bench, &row);
    return true;
}

/* Two in turn: one locks and unlocks what the server has; or takes what the other one has to itself;
 * or both do so in a loop, and wait for each other. */
static bool handoff_run(struct bench *bench, const struct handoff_row *rows, size_t row_count)
{
    struct lockers lockers;
    struct relay relay;
    if (!relay_start(&relay)) {
        return false;
    }
    bool done = lockers_start(&lockers, 2, NULL);
    if (done) {
        for (size_t i = 0; done && i < row_count; i++) {
            done = handoff_rounds(bench, &lockers, &relay, &rows[i]);
        }
        done = lockers_end(&lockers) && done;
    }
    return relay_end(&relay) && done;
}

static bool in_a_place(struct bench *bench, bool (*run)(struct bench *bench))
{
    struct fs_place place;
    return fs_place_make(bench, &place) && fs_place_remove(&place, run(bench));
}

static bool handoff(struct bench *bench)
{
    static const struct handoff_row rows[] = {
        {"lock+unlock, taking turns", LOCKERS_ALTERNATE, {.ratio_at_most = 1.3}},
        {"lock what the other has to itself", LOCKERS_ALTERNATE_TABLE, {.ratio_at_most = 1.3}},
        {"lock+unlock, both in a loop", LOCKERS_LOOP, {.ratio_at_most = 1.3}},
    };
    static const struct handoff_row rows_on_one_cpu[] = {
        {"lock+unlock, taking turns, all on one CPU", LOCKERS_ALTERNATE, {.ratio_at_most = 1.3}},
        {"lock what the other has, all on one CPU",
         LOCKERS_ALTERNATE_TABLE,
         {.ratio_at_most = 1.3}},
        {"lock+unlock, both in a loop, all on one CPU", LOCKERS_LOOP, {.ratio_at_most = 1.3}},
    };
    if (!handoff_run(bench, rows, sizeof(rows) / sizeof(rows[0]))) {
        return false;
    }
    bench_use_one_cpu(0);
    const bool done =
        handoff_run(bench, rows_on_one_cpu, sizeof(rows_on_one_cpu) / sizeof(rows_on_one_cpu[0]));
    bench_use_all_cpus();
    return done;
}

static bool bench_locks_handoff(struct bench *bench)
{
    return in_a_place(bench, handoff);
}

/* ---- many at once ---- */

/* How many locks a second, beside the kernel's. */
static bool measure_rate(struct bench *bench, struct lockers *lockers, enum lockers_kind kind,
                         const char *name)
{
    struct bench_series series = {0};
    struct lockers_result total = {0};
    const uint64_t round_ns = bench_scale(bench, ROUND_NS);
    for (unsigned round = 0; round < bench->rounds; round++) {
        struct lockers_result ours, kernels;
        if (!lockers_round(lockers, OURS, kind, round_ns, &ours) ||
            !lockers_round(lockers, KERNELS, kind, round_ns, &kernels)) {
            return false;
        }
        const double seconds = (double)round_ns / 1e9;
        bench_series_add(
            &series, (double)ours.operations / seconds, (double)kernels.operations / seconds);
        add_up(&total, &ours);
    }
    struct bench_row row = {.name = name,
                            .unit = "ops/s",
                            .yardstick_name = "fcntl",
                            .messages_per_op = (double)total.messages / (double)total.operations};
    bench_row_measure(&row, &series);
    bench_row_add(bench, &row);
    return true;
}

struct ring {
    const char *name;
    unsigned processes;
    enum lockers_kind kind;
    const char *mount;
};

static bool ring(struct bench *bench)
{
    static const struct ring rings[] = {
        {"ring of 2 processes", 2, LOCKERS_RING, NULL},
        {"ring of 4 processes", 4, LOCKERS_RING, NULL},
        {"ring of 8 processes", 8, LOCKERS_RING, NULL},
        {"ring of 2, with data, direct", 2, LOCKERS_RING_DATA, NULL},
        {"ring of 8, with data, direct", 8, LOCKERS_RING_DATA, NULL},
        {"ring of 2, with data, served", 2, LOCKERS_RING_DATA, "ram:/"},
        {"ring of 8, with data, served", 8, LOCKERS_RING_DATA, "ram:/"},
    };
    for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
        struct lockers lockers;
        if (!lockers_start(&lockers, rings[i].processes, rings[i].mount)) {
            return false;
        }
        const bool done = measure_rate(bench, &lockers, rings[i].kind, rings[i].name);
        if (!lockers_end(&lockers) || !done) {
            return false;
        }
    }
    return true;
}

static bool bench_locks_ring(struct bench *bench)
{
    return in_a_place(bench, ring);
}

/* The longest wait of a round beside the mean one. */
static bool measure_fairness(struct bench *bench, struct lockers *lockers)
{
    struct bench_series series = {0};
    struct lockers_result total = {0};
    for (unsigned round = 0; round < bench->rounds; round++) {
        struct lockers_result result;
        if (!lockers_round(lockers, OURS, LOCKERS_LOOP, bench_scale(bench, ROUND_NS), &result)) {
            return false;
        }
        bench_series_add(&series,
                         (double)result.wait_max_ns / 1000,
                         (double)result.wait_sum_ns / (double)result.operations / 1000);
        add_up(&total, &result);
    }
    struct bench_row row = {.name = "longest wait of 8 processes for a lock",
                            .unit = "us",
                            .yardstick_name = "mean",
                            .messages_per_op = (double)total.messages / (double)total.operations};
    bench_row_measure(&row, &series);
    bench_row_add(bench, &row);
    return true;
}

static bool contenders(struct bench *bench)
{
    struct lockers lockers;
    if (!lockers_start(&lockers, CONTENDERS, NULL)) {
        return false;
    }
    const bool done =
        measure_fairness(bench, &lockers) &&
        measure_rate(bench, &lockers, LOCKERS_LOOP, "8 processes lock+unlock one byte");
    return lockers_end(&lockers) && done;
}

static bool bench_locks_contenders(struct bench *bench)
{
    return in_a_place(bench, contenders);
}

/* ---- the group ---- */

static const struct bench_part parts[] = {
    {"alone", "lock and unlock where nobody else does", bench_locks_alone},
    {"handoff", "two processes take turns", bench_locks_handoff},
    {"contenders", "eight processes want the same byte", bench_locks_contenders},
    {"ring", "each locks the next byte, then unlocks the one before", bench_locks_ring},
};

const struct bench_group locks_group = {
    .name = "locks",
    .parts = parts,
    .part_count = sizeof(parts) / sizeof(parts[0]),
};
