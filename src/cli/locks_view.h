/*
 * File locks as text: a table by file, and the deadlocks that were found.
 */
#ifndef HF_CLI_LOCKS_VIEW_H
#define HF_CLI_LOCKS_VIEW_H

#include <holdfast/lock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What hf_lock_list() told. */
struct locks_view {
    hf_lock_info *infos; /* the paths are copies, owned */
    size_t count;
    size_t capacity;
};

/* All zero is an empty one. */
void locks_view_deinit(struct locks_view *view);

/* Return: 0, -ENOMEM. */
int locks_view_add(struct locks_view *view, const hf_lock_info *info);

/* Sorts it, then prints it. */
void locks_view_print(struct locks_view *view, FILE *out);

#endif
