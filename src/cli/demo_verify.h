/*
 * Is every line that was dealt out in the file, whole, once, and in its client's order?
 */
#ifndef HF_CLI_DEMO_VERIFY_H
#define HF_CLI_DEMO_VERIFY_H

#include "cli/demo_workload.h"

#define VERIFY_EXAMPLES 6
#define VERIFY_EXAMPLE_SIZE 160

struct verify_task {
    const struct workload *workload;
    const char *bytes; /* the whole file */
    size_t size;
    /*
     * An offset of the file for every line, ends[client * workload_most() + number]: at or
     * behind the line's end, and not behind the start of the same client's next line. One that
     * is before the same client's last one makes its line misplaced, and is raised to it.
     */
    uint64_t *ends;
    /* Lines that were in doubt when their writers were killed, the same one once for each
     * time. They may have left fragments, at most one each time. */
    const struct line_name *doubts;
    size_t doubt_count;
    bool fragments_allowed;
};

struct verify_result {
    uint64_t lines;     /* right ones */
    uint64_t fragments; /* of lines in doubt; not an error */
    uint64_t lost;      /* dealt out, and not in the file */
    uint64_t torn;      /* in the file, and not a line that was dealt out */
    uint64_t doubled;   /* in the file more often than dealt out */
    uint64_t misplaced; /* not where its client's order puts it */
    unsigned example_count;
    char examples[VERIFY_EXAMPLES][VERIFY_EXAMPLE_SIZE];
};

/* Return: 0 when the check was made, whatever it found; -ENOMEM. */
int verify_file(const struct verify_task *task, struct verify_result *out);

/* True: nothing is lost, torn, doubled or misplaced. */
bool verify_passed(const struct verify_result *result);

#endif
