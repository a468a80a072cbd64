/*
 * Memory that the parent and its workers share: how far each worker has come. It outlives a
 * worker that is killed, and the one that takes its place goes on from it.
 *
 * A line is in doubt when its writer was killed while started > returned: the write may or may
 * not have happened.
 */
#ifndef HF_CLI_DEMO_BOARD_H
#define HF_CLI_DEMO_BOARD_H

#include "cli/demo_workload.h"

#include <stdatomic.h>

#define BOARD_ERROR_SIZE 256

/* One worker's. Only the worker writes, and the parent while the worker is dead. */
struct board_slot {
    _Alignas(128) _Atomic uint64_t started; /* lines whose writing has begun */
    _Atomic uint64_t returned;              /* lines known to be written */
    _Atomic uint64_t floor;       /* the worker's next line cannot begin before this offset */
    _Atomic uint64_t client;      /* the number of its connection; 0: not known yet */
    char error[BOARD_ERROR_SIZE]; /* why it exited with a failure */
};

enum doubt_outcome { DOUBT_OPEN, DOUBT_WRITTEN, DOUBT_NOT_WRITTEN };

/* One line in doubt. The parent adds it, the new worker finds out. */
struct board_doubt {
    struct line_name line;
    _Atomic int outcome;
};

struct board {
    _Alignas(128) _Atomic uint64_t written; /* lines of all; a killed worker's last one may miss */
    _Atomic uint64_t alarm_at; /* the worker that makes `written` this many wakes the parent */
    _Alignas(128) _Atomic uint64_t doubt_count;
    uint64_t doubt_room;
    struct board_doubt *doubts;
    struct board_slot *slots; /* one for each client */
    uint64_t *ends;           /* see struct verify_task */
    uint64_t most;            /* lines of one client, for indices into ends */
    size_t memory_size;       /* of all of this */
};

/* For the lines of @workload and up to @kills kills. Return: NULL when there is no memory. */
struct board *board_new(const struct workload *workload, uint64_t kills);

/* @board may be NULL. Return: NULL. */
struct board *board_free(struct board *board);

/* The worker is dead: note its line in doubt, if it has one. */
void board_note_doubt(struct board *board, unsigned client);

/* Every line that may have left a fragment by now: those noted, and those being written.
 * Return: how many; *out is to be freed, NULL without memory. */
size_t board_possible_fragments(const struct board *board, unsigned clients,
                                struct line_name **out);

/* How many lines in doubt came to @outcome. */
uint64_t board_count_doubts(const struct board *board, enum doubt_outcome outcome);

#endif
