/*
 * Other processes that a test starts: programs, and parts played by a forked child.
 */
#ifndef HF_TESTS_LIB_PROCESS_H
#define HF_TESTS_LIB_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* ---- a program, with its output caught ---- */

struct program {
    pid_t pid;
    int out; /* its stdout */
    int err; /* its stderr */
    char output[8192];
    char errors[8192];
};

/* How much its stdout takes before somebody reads it. */
#define PROGRAM_PIPE_BYTES 4096

/* Start arguments[0] with @arguments, which end with NULL. */
void program_start(struct program *program, const char *const *arguments);

/* Wait until its stdout has said @line, or fail the test. */
void program_expect_line(struct program *program, const char *line);

/* Wait for the end of its output and of itself; both outputs are complete then. Return: its exit
 * status, or minus the signal that killed it. */
int program_wait(struct program *program);

/* Start and wait. */
int program_run(struct program *program, const char *const *arguments);

/* ---- a part played by a child ---- */

struct child {
    pid_t pid;
    int reports; /* what it says with child_report() */
    int hold;    /* it waits until this is closed, in child_wait_to_end() */
};

/* Fork a child that runs @play and exits with what it returns. */
void child_start(struct child *child, int (*play)(const struct child *self, void *context),
                 void *context);

/* In the child: tell the test that a point is reached. */
void child_report(const struct child *self, char what);

/* In the child: do nothing until the test (or its death) ends that. */
void child_wait_to_end(const struct child *self);

/* In the test: wait for the next report, which has to be @what. */
void child_expect(struct child *child, char what);

/* In the test: kill it, which leaves nothing of it. */
void child_kill(struct child *child);

/* In the test: let it end, and return its exit status or minus the signal that killed it. */
int child_end(struct child *child);

#endif
