/*
 * The parts of the group `fs` in which one process repeats one call.
 */
#include "calls.h"

#define CREATE_COUNT 5000

bool bench_fs_stat(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "stat, cached, three deep",
         .yardstick_name = "stat",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 0.25},
         .operation = &operation_stat},
        {.name = "stat of a missing name, three deep",
         .yardstick_name = "stat",
         .count = CALLS_COUNT,
         .operation = &operation_stat_missing},
        {.name = "fstat",
         .yardstick_name = "fstat",
         .count = CALLS_COUNT,
         .operation = &operation_fstat},
    };
    return calls_measure(bench, NULL, calls, sizeof(calls) / sizeof(calls[0]));
}

bool bench_fs_open(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "open+close, three deep",
         .yardstick_name = "open",
         .count = CALLS_COUNT,
         .operation = &operation_open},
    };
    return calls_measure(bench, NULL, calls, sizeof(calls) / sizeof(calls[0]));
}

bool bench_fs_write(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "write of 64 bytes at a place",
         .yardstick_name = "pwrite",
         .count = CALLS_COUNT,
         .goal = {.ratio_at_most = 1.15},
         .operation = &operation_write_64_at_place},
        {.name = "write of 64 bytes at the offset",
         .yardstick_name = "write",
         .count = CALLS_COUNT,
         .operation = &operation_write_64},
        {.name = "append of 64 bytes",
         .yardstick_name = "O_APPEND",
         .count = CALLS_COUNT,
         .operation = &operation_append_64},
    };
    return calls_measure(bench, NULL, calls, sizeof(calls) / sizeof(calls[0]));
}

bool bench_fs_read(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "read of 4 KiB at a place",
         .yardstick_name = "pread",
         .count = CALLS_COUNT,
         .operation = &operation_read_page},
    };
    return calls_measure(bench, NULL, calls, sizeof(calls) / sizeof(calls[0]));
}

bool bench_fs_create(struct bench *bench)
{
    static const struct call calls[] = {
        {.name = "create+unlink",
         .yardstick_name = "kernel",
         .count = CREATE_COUNT,
         .takes_messages = true,
         .operation = &operation_create},
    };
    return calls_measure(bench, NULL, calls, sizeof(calls) / sizeof(calls[0]));
}
