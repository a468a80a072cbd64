/*
 * What every group of benchmarks uses: rounds, rows, and what is printed of them.
 *
 * A row is the median over its rounds. A round measures the subject and its yardstick one
 * right after the other, and the row's ratio is the median of the rounds' ratios: whatever
 * slows this machine down for a while slows both.
 */
#ifndef HF_BENCH_HARNESS_H
#define HF_BENCH_HARNESS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_ROUNDS_MAX 31
#define BENCH_ROWS_MAX 256

/* There is no such number for this row: null in JSON. */
#define BENCH_NONE ((double)NAN)

/* What a row should reach; 0 says nothing. It is shown and never decides an exit status. */
struct bench_goal {
    double ratio_at_most;
    double value_at_most;
    double messages_below;
    double messages_exactly;
};

struct bench_row {
    const char *name;           /* static; unique */
    const char *unit;           /* static */
    const char *yardstick_name; /* static; NULL: no yardstick */
    double value;
    double yardstick; /* in the same unit */
    double ratio;
    double messages_per_op;
    struct bench_goal goal;
};

struct bench {
    unsigned rounds;
    bool quick;         /* a short look: everything is run, and no time is worth reading */
    bool fs_place_told; /* the table says where files of the host are */
    struct bench_row rows[BENCH_ROWS_MAX];
    size_t row_count;
};

/* One benchmark of a group; it may add several rows. Its failures are complained of where they
 * happen. Return: whether it could run. */
struct bench_part {
    const char *name;
    const char *about;
    bool (*run)(struct bench *bench);
};

struct bench_group {
    const char *name;
    const struct bench_part *parts;
    size_t part_count;
};

/* The samples of one row, round by round. */
struct bench_series {
    double subject[BENCH_ROUNDS_MAX];
    double yardstick[BENCH_ROUNDS_MAX];
    unsigned count;
};

/* How often to do something: @count, or a small part of it for a short look. */
static inline uint64_t bench_scale(const struct bench *bench, uint64_t count)
{
    return bench->quick ? (count + 19) / 20 : count;
}

void bench_series_add(struct bench_series *series, double subject, double yardstick);

/* The median of @count numbers, of which there is at least one. They are left sorted. */
double bench_median(double *samples, unsigned count);

/* Fill in the row's value, yardstick and ratio from its rounds. */
void bench_row_measure(struct bench_row *row, const struct bench_series *series);

/* Add the row to the results and print its line of the table. */
void bench_row_add(struct bench *bench, const struct bench_row *row);

/* The line above the rows. */
void bench_print_header(const struct bench *bench);

/* All rows as a JSON array. Return: whether all of it was written. */
bool bench_write_json(const struct bench *bench, FILE *file);

/* One line on standard error: what could not be done. Always false, for `return`. */
bool bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Keep this process, and those it forks from now on, on one of its CPUs, the @number-th; or let
 * them run on all again. Of the calling thread only, where there are several. */
void bench_use_one_cpu(unsigned number);
void bench_use_all_cpus(void);

/* CPU time of the calling thread: what an operation costs that makes no system call, whoever
 * else is using this machine. */
uint64_t bench_thread_ns(void);

#endif
