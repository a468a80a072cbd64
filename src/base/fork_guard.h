/*
 * What a child of fork() must not keep: the descriptors of the parent's servers and of their stores.
 * While a copy of them is open somewhere, the clients of a dead server see no end of their
 * connections, and what a store has removed keeps its space.
 *
 * One lock guards the tables of all servers and stores, and fork() takes it too. Whoever makes or
 * closes such a descriptor does it under the lock, so that no child is made in between. Nothing is
 * called back under it, and nothing waits, but for the host to open a file.
 */
#ifndef HF_BASE_FORK_GUARD_H
#define HF_BASE_FORK_GUARD_H

#include "base/list.h"

#include <stdint.h>

struct fork_guard {
    struct list link;
    uint64_t *open; /* one bit for each descriptor number */
    size_t word_count;
    bool in_child; /* this process is a child of the one the server runs in */
};

/* Return: 0, -ENOMEM. */
int fork_guard_init(struct fork_guard *guard);

/* All descriptors have been closed or forgotten. */
void fork_guard_deinit(struct fork_guard *guard);

void fork_guard_lock(void);
void fork_guard_unlock(void);

/* Under the lock: from here on, children close their copy of @fd. A negative @fd is an error of
 * the call that made it, with errno set, and is passed through.
 * Return: @fd, or a negative errno after closing @fd. */
int fork_guard_keep(struct fork_guard *guard, int fd);

/* Under the lock: the same, but @fd is good and stays open. Return: 0, -ENOMEM. */
int fork_guard_adopt(struct fork_guard *guard, int fd);

/* Under the lock: @fd is somebody else's again. */
void fork_guard_forget(struct fork_guard *guard, int fd);

/* Takes the lock and closes @fd, which may be negative. Return: -1. */
int fork_guard_close(struct fork_guard *guard, int fd);

#endif
