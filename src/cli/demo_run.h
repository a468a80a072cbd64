/*
 * The workers of one demo as the parent sees them: start them, kill some, watch them to the end.
 */
#ifndef HF_CLI_DEMO_RUN_H
#define HF_CLI_DEMO_RUN_H

#include "cli/demo_worker.h"

struct run {
    struct worker_task task;
    pid_t pids[DEMO_CLIENTS_MAX]; /* 0: this worker has ended */
    unsigned alive;
    uint64_t kills_planned;
    uint64_t kills_done;
    uint64_t random; /* state of the generator */
    uint64_t begin_ns;
    uint64_t end_ns;
    uint64_t seen_lines; /* written, at the last look */
    uint64_t idle_ns;    /* how long nothing has happened */
    uint64_t last_look_ns;
    uint64_t last_print_ns; /* of the progress line */
    bool terminal;          /* stderr is one: show progress */
};

/* How many kills suit the options and the lines. */
uint64_t run_plan_kills(const struct demo_options *options, const struct workload *workload);

/*
 * run_workers() - let the workers write all their lines
 * @run: task (go_pipe and alarm apart), kills_planned; the rest is filled in
 *
 * The file is there, and the task's fd open. When this returns no worker is left, whatever
 * happened. Blocks until all lines are written, until a worker fails, until nothing has happened
 * for options->patience_seconds, or until a signal says to end.
 *
 * Return: 0; 1 after the reason was printed; 128 and the number of the signal.
 */
int run_workers(struct run *run);

#endif
