/* A worker: one operation after the other, for as long as it lives. */
#include "cases/fs_storm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child of a fork lives for so many operations, or so long in microseconds. */
#define CHILD_OPERATIONS 40
#define CHILD_LIFE_US 4000

void storm_follow(struct storm_actor *actor)
{
    struct storm_worker *worker = actor->worker;
    const struct storm_operation *operation = &worker->operation;
    struct storm_tree tree = storm_tree_of(worker);
    if (operation->kind < STORM_APPEND) {
        storm_apply(&tree, actor->index, operation, worker->result);
    } else {
        storm_apply_shared(&worker->shared, operation, worker->result);
    }
    worker->history[operation->number % STORM_HISTORY].operation = *operation;
    worker->history[operation->number % STORM_HISTORY].result = worker->result;
    worker->history[operation->number % STORM_HISTORY].pid = getpid();
    worker->number = operation->number;
}

static void check_result(struct storm_actor *actor)
{
    struct storm_worker *worker = actor->worker;
    const struct storm_operation *operation = &worker->operation;
    const int64_t result = worker->result;
    const bool writes = operation->kind == STORM_WRITE || operation->kind == STORM_PWRITE ||
                        operation->kind == STORM_COPY;
    const bool lacks_space =
        operation->may_lack_space && atomic_load(&actor->storm->is_tight) &&
        (result == -ENOSPC || (writes && result > 0 && result < operation->expected));
    const bool opens = operation->kind <= STORM_OPEN_UNNAMED && operation->expected == 0;
    if (lacks_space) {
        worker->lacked_space++;
    } else if (opens ? result < 0 : result != operation->expected) {
        storm_fail(actor, "unexpected: %s", result < 0 ? strerror((int)-result) : "no error");
    }
}

static void do_one(struct storm_actor *actor)
{
    struct storm_worker *worker = actor->worker;
    struct storm_operation operation;
    storm_choose(actor, worker->number + 1, &operation);
    worker->operation = operation;
    worker->result = STORM_NOT_DONE;
    atomic_store(&worker->step, STORM_BEGUN);
    if (operation.kind < STORM_APPEND) {
        worker->result = storm_play(actor, &operation);
        check_result(actor);
    } else {
        worker->result = storm_play_shared(actor, &operation);
        worker->lacked_space += worker->result == -ENOSPC;
    }
    atomic_store(&worker->step, STORM_ENDED);
    storm_follow(actor);
    storm_note_operation(worker);
    worker->counts[operation.kind]++;
    atomic_store(&worker->step, STORM_FREE);
    atomic_fetch_add(&worker->progress, 1);
}

/* A child goes on with the inherited descriptors, and may die of it; then its parent goes on. */
static void let_child_go_on(struct storm_actor *actor, struct storm_random *random)
{
    const uint64_t end = actor->worker->number + 1 + storm_pick(random, CHILD_OPERATIONS);
    const bool dies = storm_pick(random, 2) == 0;
    const struct itimerval life = {.it_value.tv_usec = 1 + storm_pick(random, CHILD_LIFE_US)};
    int status;
    const pid_t child = hf_fork();
    if (child < 0) {
        storm_fail(actor, "fork: %s", strerror(-(int)child));
    }
    if (child == 0) {
        actor->is_child = true;
        if (dies) {
            setitimer(ITIMER_REAL, &life, NULL); /* whose signal nobody handles */
        }
        while (actor->worker->number < end) {
            do_one(actor);
        }
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        _exit(1);
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        for (;;) {
            pause(); /* it was killed with its parent, which has not noticed yet */
        }
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGALRM) {
        storm_fail(actor, "a child died of signal %d", WTERMSIG(status));
    }
    storm_recover(actor, true);
    actor->worker->forks++;
}

void storm_work(struct storm *storm, unsigned index)
{
    static struct storm_actor actor;
    actor = (struct storm_actor){.storm = storm, .worker = &storm->worker[index], .index = index};
    storm_attach(&actor);
    storm_recover(&actor, false);
    if (storm->restarts) {
        storm_sync(&actor);
    }
    while (!atomic_load(&storm->is_over)) {
        struct storm_random random =
            storm_random_of(storm->seed, index + STORM_WORKERS_MAX, actor.worker->number);
        /* What a child told would not be in one order with what its parent does. */
        if (storm_pick(&random, 150) == 0 && !storm->restarts) {
            let_child_go_on(&actor, &random);
        }
        if (storm->restarts && actor.worker->number % (STORM_UNSYNCED - 1) == 0) {
            storm_sync(&actor);
        }
        do_one(&actor);
    }
    storm_detach(&actor);
    exit(0);
}
