/*
 * What comes after a death. The operation that was under way is in doubt: the tree is compared with
 * what it is like without it and with it. One of both it has to be, and that is what happened. A
 * write may also have been done in part: up to the end of a message, if it takes several, and while
 * there may be too little space up to the end of a page.
 */
#include "cases/fs_storm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As docs/protocol.md says, of one message. */
#define MESSAGE_BYTES 65536
#define PAGE_BYTES 4096

struct doubt {
    struct storm_actor *actor;
    const struct storm_operation *operation;
    bool same_process; /* a child died, and its open files are here too */
    char why[2][400];
};

static uint32_t bit(uint8_t node)
{
    return node < STORM_NODES ? 1u << node : 0;
}

/* Is the tree as if @result had come of it? */
static bool may_be(struct doubt *doubt, int64_t result, char *why)
{
    static uint8_t data[STORM_FILE_MAX];
    const struct storm_operation *operation = doubt->operation;
    struct storm_model model = doubt->actor->worker->model;
    struct storm_tree tree = storm_tree_of(doubt->actor->worker);
    const uint32_t mask = bit(operation->directory) | bit(operation->new_directory) |
                          bit(operation->node) | bit(operation->replaced);
    tree.model = &model;
    if (operation->node < STORM_NODES) {
        memcpy(data, tree.data[operation->node], sizeof data);
        tree.data[operation->node] = data;
    }
    storm_apply(&tree, doubt->actor->index, operation, result);
    if (!doubt->same_process) {
        storm_lose_files(&model);
    }
    return storm_is_like(doubt->actor, &tree, mask, why, sizeof doubt->why[0]);
}

/* Up to where may a write have come? In @unit from the page on in which it begins. */
static bool find_part(struct doubt *doubt, uint64_t unit, int64_t *result)
{
    const struct storm_operation *operation = doubt->operation;
    for (uint64_t size = unit - operation->offset % PAGE_BYTES; size < operation->size;
         size += unit) {
        if (may_be(doubt, (int64_t)size, NULL)) {
            *result = (int64_t)size;
            return true;
        }
    }
    return false;
}

static bool changes_nothing(const struct storm_operation *operation)
{
    return operation->expected < 0 || operation->kind == STORM_FSYNC ||
           operation->kind == STORM_LOOK || operation->kind == STORM_CLOSE ||
           operation->kind == STORM_READ || operation->kind == STORM_SEEK;
}

static bool is_writing(const struct storm_operation *operation)
{
    return operation->kind == STORM_WRITE || operation->kind == STORM_PWRITE ||
           operation->kind == STORM_COPY;
}

static int64_t outcome(struct doubt *doubt)
{
    const struct storm_operation *operation = doubt->operation;
    int64_t part;
    if (operation->kind >= STORM_APPEND) {
        return storm_recover_shared(doubt->actor, operation);
    }
    if (changes_nothing(operation)) {
        return STORM_NOT_DONE;
    }
    if (may_be(doubt, operation->expected, doubt->why[0])) {
        return operation->expected;
    }
    if (may_be(doubt, STORM_NOT_DONE, doubt->why[1])) {
        return STORM_NOT_DONE;
    }
    if (is_writing(operation) &&
        (find_part(doubt, MESSAGE_BYTES, &part) ||
         (atomic_load(&doubt->actor->storm->is_tight) && find_part(doubt, PAGE_BYTES, &part)))) {
        return part;
    }
    storm_fail(doubt->actor,
               "in doubt, and neither done (%s) nor not done (%s)",
               doubt->why[0],
               doubt->why[1]);
}

/* The offset of an open file that a child had too stands where it was before the operation or where
 * that was to leave it; and there only if the operation was done. */
static uint64_t offset_after(struct doubt *doubt, int64_t result)
{
    const struct storm_operation *operation = doubt->operation;
    struct storm_actor *actor = doubt->actor;
    const struct storm_file *file = &actor->worker->model.files[operation->file];
    const off_t offset = hf_lseek(actor->fs, file->fd, 0, SEEK_CUR);
    const bool moves = operation->kind == STORM_WRITE || operation->kind == STORM_READ ||
                       operation->kind == STORM_SEEK;
    uint64_t moved = operation->offset;
    if (operation->kind == STORM_READ) {
        moved += (uint64_t)operation->expected;
    } else if (operation->kind == STORM_WRITE) {
        moved += result > 0 ? (uint64_t)result : 0;
    }
    if (offset != (off_t)file->offset && !(moves && offset == (off_t)moved)) {
        storm_fail(actor,
                   "the offset is %lld, and neither %llu nor %llu",
                   (long long)offset,
                   (unsigned long long)file->offset,
                   (unsigned long long)moved);
    }
    return (uint64_t)offset;
}

static void settle(struct storm_actor *actor, bool same_process)
{
    struct storm_worker *worker = actor->worker;
    const struct storm_operation *operation = &worker->operation;
    struct doubt doubt = {.actor = actor, .operation = operation, .same_process = same_process};
    const int64_t result = outcome(&doubt);
    const bool has_file = same_process && operation->kind < STORM_APPEND &&
                          worker->model.files[operation->file].is_open;
    const uint64_t offset = has_file ? offset_after(&doubt, result) : 0;
    worker->in_doubt++;
    worker->in_doubt_done += result >= 0;
    worker->result = result;
    atomic_store(&worker->step, STORM_ENDED);
    storm_follow(actor);
    if (has_file) {
        worker->model.files[operation->file].offset = offset;
    }
}

void storm_recover(struct storm_actor *actor, bool same_process)
{
    struct storm_worker *worker = actor->worker;
    const int step = atomic_load(&worker->step);
    if (step == STORM_BEGUN) {
        settle(actor, same_process);
    } else if (step == STORM_ENDED) {
        storm_follow(actor);
    }
    if (!same_process) {
        storm_lose_files(&worker->model);
    }
    atomic_store(&worker->step, STORM_FREE);
}
