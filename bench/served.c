/*
 * The group `served`: its parts, and those of them that other groups have too.
 */
#include "served.h"

#include "appenders.h"
#include "calls.h"
#include "trees.h"

#define CREATE_COUNT 5000
#define WALK_FILES 10000
#define PAUSE_NS 50000

/* ---- one process repeats one call ---- */

static bool bench_served_stat(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "served: stat, cached, three deep",
         .yardstick_name = "stat",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 0.25},
         .operation = &operation_stat},
        {.name = "served: fstat",
         .yardstick_name = "fstat",
         .count = CALLS_COUNT,
         .operation = &operation_fstat},
        {.name = "served: open+close, three deep",
         .yardstick_name = "open",
         .count = CALLS_COUNT,
         .operation = &operation_open},
    };
    return calls_measure(bench, SERVED_MOUNT, calls, sizeof(calls) / sizeof(calls[0]));
}

static bool bench_served_read(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "served: read of 4 KiB, cached",
         .yardstick_name = "pread",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 0.5},
         .operation = &operation_read_page},
    };
    return calls_measure(bench, SERVED_MOUNT, calls, sizeof(calls) / sizeof(calls[0]));
}

static bool bench_served_write(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "served: write of 4 KiB at a place",
         .yardstick_name = "pwrite",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 3},
         .takes_messages = true,
         .operation = &operation_write_page},
        {.name = "for comparison: a bare send of 4 KiB",
         .yardstick_name = "pwrite",
         .count = CALLS_COUNT,
         .takes_messages = true,
         .operation = &operation_send_page},
        {.name = "served: write of 64 bytes at a place",
         .yardstick_name = "pwrite",
         .count = CALLS_COUNT,
         .takes_messages = true,
         .operation = &operation_write_64_at_place},
        {.name = "served: append of 64 bytes",
         .yardstick_name = "O_APPEND",
         .count = CALLS_COUNT,
         .takes_messages = true,
         .operation = &operation_append_64},
    };
    return calls_measure(bench, SERVED_MOUNT, calls, sizeof(calls) / sizeof(calls[0]));
}

static bool bench_served_create(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "served: create+write+close+unlink",
         .yardstick_name = "kernel",
         .count = CREATE_COUNT,
         .takes_messages = true,
         .operation = &operation_create_and_write},
    };
    return calls_measure(bench, SERVED_MOUNT, calls, sizeof(calls) / sizeof(calls[0]));
}

/* ---- a tree ---- */

static bool bench_served_walk(struct bench *bench)
{
    const struct trees trees = {
        .mount = SERVED_MOUNT,
        .names = {"served: walk of a tree, cold, per file",
                  "served: walk of a tree, warm, per file"},
        .items = WALK_FILES,
        .rounds = bench->rounds,
    };
    return trees_measure_walk(bench, &trees);
}

/* ---- several processes append ---- */

static bool bench_served_appenders(struct bench *bench)
{
    enum { CASES = 4 };
    static const struct appenders_row rows[CASES][APPENDERS_ROWS_MAX] = {
        {{"served: 2 append, holds move", SERVED_SENDS_NEVER},
         {"served: 2 append, operations are sent", SERVED_SENDS_ALWAYS},
         {"served: 2 append, by itself", SERVED_SENDS_CONTENDED}},
        {{"served: 4 append, holds move", SERVED_SENDS_NEVER},
         {"served: 4 append, operations are sent", SERVED_SENDS_ALWAYS},
         {"served: 4 append, by itself", SERVED_SENDS_CONTENDED}},
        {{"served: 2 append and work, holds move", SERVED_SENDS_NEVER},
         {"served: 2 append and work, operations are sent", SERVED_SENDS_ALWAYS},
         {"served: 2 append and work, by itself", SERVED_SENDS_CONTENDED}},
        {{"served: 4 append and work, holds move", SERVED_SENDS_NEVER},
         {"served: 4 append and work, operations are sent", SERVED_SENDS_ALWAYS},
         {"served: 4 append and work, by itself", SERVED_SENDS_CONTENDED}},
    };
    bool done = true;
    for (unsigned i = 0; done && i < CASES; i++) {
        const struct appenders appenders = {
            .mount = SERVED_MOUNT,
            .process_count = i % 2 == 0 ? 2 : 4,
            .pause_ns = i < 2 ? 0 : PAUSE_NS,
            .rows = rows[i],
            .row_count = APPENDERS_ROWS_MAX,
        };
        done = appenders_measure(bench, &appenders);
    }
    return done;
}

/* ---- the group ---- */

static const struct bench_part parts[] = {
    {"stat", "attributes that are cached; open and close", bench_served_stat},
    {"read", "4 KiB at a place, cached", bench_served_read},
    {"write", "4 KiB and 64 bytes at a place, 64 bytes at the end", bench_served_write},
    {"create", "create, write, close and unlink", bench_served_create},
    {"untar", "a tree of 5,000 files, written and removed", bench_served_untar},
    {"walk", "a tree of 10,000 files, first and again", bench_served_walk},
    {"streams", "64 MiB written and read, first and again", bench_served_streams},
    {"follower", "one process reads what another appends", bench_served_follower},
    {"appenders", "processes append to one file", bench_served_appenders},
};

const struct bench_group served_group = {
    .name = "served",
    .parts = parts,
    .part_count = sizeof(parts) / sizeof(parts[0]),
};
