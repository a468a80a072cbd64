/*
 * Lines that SIGKILL cut short.
 *
 * A process that is killed while it writes may leave only the first part of what it wrote in
 * the file: the kernel looks for a fatal signal between two pages. When an O_APPEND writer's
 * line ends so, the next line starts right behind the fragment, and no filesystem above the
 * kernel's can take the fragment back without an instant at which the line could be lost.
 * (With a shared offset there are no fragments: the offset moves only after a whole line.)
 *
 * So what stands between two newlines of such a file is one whole line, behind any number of
 * fragments, each a beginning of a line that was in doubt when its writer was killed: started,
 * and not known to have returned. Nothing else is accepted as a fragment.
 *
 * (Only if the input has lines that look like tagged ones, and only behind a fragment, can
 * there be two ways to take it apart. Then the one with the fewest fragments counts.)
 */
#ifndef HF_CLI_DEMO_FRAGMENT_H
#define HF_CLI_DEMO_FRAGMENT_H

#include "cli/demo_workload.h"

/* What stands between two newlines, taken apart. */
struct fragment_split {
    bool has_line; /* false: it is fragments only, as it can be at the end of the file */
    struct line_name line;
    size_t line_start; /* where the line begins, or the size */
    unsigned fragments;
};

/*
 * Take apart @bytes: what stands between two newlines, with the one at its end unless the
 * file ends without. @doubts are the lines that were in doubt. False: it cannot be made of
 * fragments and a line.
 */
bool fragment_split(const struct workload *workload, const struct line_name *doubts,
                    size_t doubt_count, const char *bytes, size_t size, struct fragment_split *out);

#endif
