/*
 * A worker: a child process that writes one client's lines to the file, one hf_write() a line.
 */
#ifndef HF_CLI_DEMO_WORKER_H
#define HF_CLI_DEMO_WORKER_H

#include "cli/demo_board.h"
#include "cli/demo_stage.h"

enum demo_kind {
    DEMO_APPEND,        /* every worker opens the file with O_APPEND */
    DEMO_SHARED_HANDLE, /* all write through the open file that the parent opened */
};

struct worker_task {
    struct demo_stage *stage;
    const struct workload *workload;
    struct board *board;
    enum demo_kind kind;
    const char *path; /* of the file, in the filesystem */
    int fd;           /* of the shared open file; -1 in DEMO_APPEND */
    int go_pipe[2];   /* its end, once everybody has closed [1], says go */
    int alarm;        /* eventfd: written when board->alarm_at is reached */
};

/*
 * Write the lines of @client from the one on that its slot says. A worker that takes the place
 * of a killed one first finds out about the line in doubt, and does not wait for go.
 *
 * Does not return: exits 0 when all lines are written, else 1 with the slot's error set.
 */
_Noreturn void worker_run(const struct worker_task *task, unsigned client, bool replaces);

#endif
