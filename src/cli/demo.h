/*
 * `holdfast demo`: what the files of the three demos share.
 */
#ifndef HF_CLI_DEMO_H
#define HF_CLI_DEMO_H

#include <holdfast/server.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEMO_CLIENTS_MAX 256

struct demo_options {
    unsigned clients;
    uint64_t lines;        /* for each client, when there is no input */
    const char *input;     /* NULL: lines are made up */
    const char *directory; /* NULL: a temporary one */
    bool has_mount;        /* else the clients name the directory, and the server brings nothing */
    hf_server_mount mount; /* without a source it is of the directory */
    bool kill;
    uint64_t kills; /* with `kill`; 0: as many as suit the lines */
    bool trace;
    size_t trace_limit;        /* messages shown; 0: what suits the demo */
    unsigned patience_seconds; /* without any progress, before a demo fails */
};

/* Each returns 0, 1 when something went wrong (said on stderr or in the result), or 128 and
 * the number of the signal that ended it. */
int demo_simple(const struct demo_options *options);
int demo_append(const struct demo_options *options);
int demo_shared_handle(const struct demo_options *options);

#endif
