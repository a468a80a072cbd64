#include "base/fork_guard.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list guards = {&guards, &guards}; /* under the lock */

/* The thread between prepare() and the return of its fork() has the lock already; handlers of
 * others that run in between may open connections to a server. */
static _Thread_local bool forking_here;

static void prepare(void)
{
    pthread_mutex_lock(&lock);
    forking_here = true;
}

static void go_on_in_parent(void)
{
    forking_here = false;
    pthread_mutex_unlock(&lock);
}

static void close_all(struct fork_guard *guard)
{
    for (size_t word = 0; word < guard->word_count; word++) {
        for (int bit = 0; guard->open[word] != 0; bit++) {
            const uint64_t mask = UINT64_C(1) << bit;
            if ((guard->open[word] & mask) != 0) {
                guard->open[word] &= ~mask;
                close((int)(word * 64) + bit);
            }
        }
    }
}

static void go_on_in_child(void)
{
    for (struct list *at = guards.next; at != &guards; at = at->next) {
        struct fork_guard *guard = list_entry(at, struct fork_guard, link);
        guard->in_child = true;
        close_all(guard);
    }
    forking_here = false;
    pthread_mutex_unlock(&lock);
}

/*
 * At load time, that is before any other part of the process registers its handlers: prepare()
 * then runs after theirs. A client's handler waits for the server's thread, which in turn may
 * want the lock; the other order would be a deadlock.
 */
__attribute__((constructor)) static void register_handlers(void)
{
    pthread_atfork(prepare, go_on_in_parent, go_on_in_child);
}

void fork_guard_lock(void)
{
    if (!forking_here) {
        pthread_mutex_lock(&lock);
    }
}

void fork_guard_unlock(void)
{
    if (!forking_here) {
        pthread_mutex_unlock(&lock);
    }
}

int fork_guard_init(struct fork_guard *guard)
{
    *guard = (struct fork_guard){.word_count = 16};
    guard->open = calloc(guard->word_count, sizeof(*guard->open));
    if (guard->open == NULL) {
        return -ENOMEM;
    }
    fork_guard_lock();
    list_append(&guards, &guard->link);
    fork_guard_unlock();
    return 0;
}

void fork_guard_deinit(struct fork_guard *guard)
{
    fork_guard_lock();
    list_remove(&guard->link);
    for (size_t word = 0; word < guard->word_count; word++) {
        assert(guard->open[word] == 0);
    }
    fork_guard_unlock();
    free(guard->open);
}

static int grow(struct fork_guard *guard, size_t word_count)
{
    uint64_t *open = realloc(guard->open, word_count * sizeof(*open));
    if (open == NULL) {
        return -ENOMEM;
    }
    memset(open + guard->word_count, 0, (word_count - guard->word_count) * sizeof(*open));
    guard->open = open;
    guard->word_count = word_count;
    return 0;
}

int fork_guard_adopt(struct fork_guard *guard, int fd)
{
    const size_t word = (size_t)fd / 64;
    if (word >= guard->word_count) {
        int failure = grow(guard, 2 * word);
        if (failure != 0) {
            return failure;
        }
    }
    guard->open[word] |= UINT64_C(1) << (fd % 64);
    return 0;
}

int fork_guard_keep(struct fork_guard *guard, int fd)
{
    if (fd < 0) {
        return -errno;
    }
    int failure = fork_guard_adopt(guard, fd);
    if (failure != 0) {
        close(fd);
        return failure;
    }
    return fd;
}

void fork_guard_forget(struct fork_guard *guard, int fd)
{
    guard->open[fd / 64] &= ~(UINT64_C(1) << (fd % 64));
}

int fork_guard_close(struct fork_guard *guard, int fd)
{
    if (fd >= 0) {
        fork_guard_lock();
        fork_guard_forget(guard, fd);
        close(fd);
        fork_guard_unlock();
    }
    return -1;
}
