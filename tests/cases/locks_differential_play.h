/*
 * Both sides, and sequences of steps played on them.
 */
#ifndef HF_TESTS_CASES_LOCKS_DIFFERENTIAL_PLAY_H
#define HF_TESTS_CASES_LOCKS_DIFFERENTIAL_PLAY_H

#include "cases/locks_differential.h"

struct stage;

struct stage_counts {
    uint64_t steps;
    uint64_t waits, granted_later;
    uint64_t refused;       /* -EAGAIN */
    uint64_t deadlocks;     /* -EDEADLK, on both sides */
    uint64_t found_first;   /* by ours, of these */
    uint64_t kernels_alone; /* that lead through open files */
    uint64_t others_told;   /* tests for a lock that told of different ones, both in the way */
};

struct stage *stage_new(void);
struct stage *stage_free(struct stage *stage);

/* After a sequence that was not the same: nothing is expected of the players any more. */
void stage_abandon(struct stage *stage);

/* Return: were both sides the same? */
bool stage_play(struct stage *stage, const struct step *steps, size_t count);

/* What the last sequence did, a line for each step. */
const char *stage_lines(const struct stage *stage);
const struct stage_counts *stage_counts(const struct stage *stage);

#endif
