/*
 * The server is killed, and started again on the same directory. Its clients have lost their
 * connection, and with it what had not been done yet of what they told; but that is done in the order
 * in which it was told. So each worker's part of the tree is as after some operation that it
 * completed since it last synced, or after the one that it was in.
 */
#include "cases/fs_storm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BYTES 4096

/* What the model says is sure. */
static void set_synced(struct storm_worker *worker)
{
    struct storm_synced *synced = &worker->synced;
    synced->count = 0;
    synced->model = worker->model;
    for (unsigned i = 0; i < STORM_NODES; i++) {
        if (worker->model.nodes[i].type == STORM_FILE) {
            memcpy(synced->data[i], worker->data[i], STORM_FILE_MAX);
        }
    }
    memcpy(synced->appended, worker->shared.appended, sizeof synced->appended);
    synced->cell = worker->shared.cell;
}

void storm_sync(struct storm_actor *actor)
{
    struct storm_worker *worker = actor->worker;
    hf_fs *fs = actor->fs;
    char path[STORM_PATH];
    storm_own_path(actor->index, &worker->model, 0, STORM_NONE, path);
    const int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || hf_fsync(fs, fd) < 0 || hf_close(fs, fd) < 0) {
        storm_fail(actor, "cannot be synced");
    }
    set_synced(worker);
}

void storm_note_operation(struct storm_worker *worker)
{
    struct storm_synced *synced = &worker->synced;
    if (worker->operation.kind < STORM_APPEND && synced->count < STORM_UNSYNCED) {
        synced->operations[synced->count] = worker->operation;
        synced->results[synced->count++] = worker->result;
    }
}

/* ---- after the restart ---- */

/* Is the tree like that, when all files are closed? */
static bool is_like_this(struct storm_actor *actor, const struct storm_tree *tree, char *why,
                         size_t size)
{
    static struct storm_model closed;
    const struct storm_tree same = *tree;
    struct storm_tree without_files = same;
    closed = *tree->model;
    storm_lose_files(&closed);
    without_files.model = &closed;
    return storm_is_like(actor, &without_files, STORM_ALL_NODES, why, size);
}

/* The server may have been killed in the middle of a write: then it ends with a page. */
static bool is_like_part_of(struct storm_actor *actor, struct storm_tree *tree,
                            const struct storm_operation *operation, int64_t result)
{
    static struct storm_model model;
    static uint8_t data[STORM_FILE_MAX];
    if (operation->kind != STORM_WRITE && operation->kind != STORM_PWRITE &&
        operation->kind != STORM_COPY) {
        return false;
    }
    for (uint64_t size = PAGE_BYTES - operation->offset % PAGE_BYTES; (int64_t)size < result;
         size += PAGE_BYTES) {
        struct storm_tree part = *tree;
        model = *tree->model;
        part.model = &model;
        memcpy(data, tree->data[operation->node], sizeof data);
        part.data[operation->node] = data;
        storm_apply(&part, actor->index, operation, (int64_t)size);
        if (is_like_this(actor, &part, NULL, 0)) {
            *tree->model = model;
            memcpy(tree->data[operation->node], data, sizeof data);
            return true;
        }
    }
    return false;
}

/* Make the model what has become of it. */
static void find_state(struct storm_actor *actor)
{
    static char first[400], last[400];
    struct storm_worker *worker = actor->worker;
    struct storm_synced *synced = &worker->synced;
    struct storm_tree tree = {.model = &worker->model};
    worker->model = synced->model;
    for (unsigned i = 0; i < STORM_NODES; i++) {
        tree.data[i] = worker->data[i];
        memcpy(worker->data[i], synced->data[i], STORM_FILE_MAX);
    }
    if (atomic_load(&worker->step) == STORM_BEGUN && synced->count < STORM_UNSYNCED) {
        worker->result = worker->operation.expected;
        storm_note_operation(worker);
    }
    bool found = is_like_this(actor, &tree, first, sizeof first);
    uint32_t i = 0;
    for (; !found && i < synced->count; i++) {
        const struct storm_operation *operation = &synced->operations[i];
        found = is_like_part_of(actor, &tree, operation, synced->results[i]);
        if (!found) {
            storm_apply(&tree, actor->index, operation, synced->results[i]);
            found = is_like_this(actor, &tree, last, sizeof last);
        }
    }
    if (!found) {
        storm_fail(actor,
                   "after the restart it is like after none of the %u operations since the sync: "
                   "%s (first), %s (last)",
                   synced->count,
                   first,
                   last);
    }
    worker->lost += synced->count - i;
    storm_lose_files(&worker->model);
    set_synced(worker);
    atomic_store(&worker->step, STORM_FREE);
}

/* What was appended since is in doubt; of the cell any value since. */
static void find_shared(struct storm_actor *actor, bool was_in_one)
{
    struct storm_worker *worker = actor->worker;
    const struct storm_operation *operation = &worker->operation;
    const uint32_t last = worker->shared.cell + 1;
    if (was_in_one && operation->kind == STORM_APPEND) {
        storm_apply_shared(&worker->shared, operation, STORM_NOT_DONE);
    }
    for (unsigned i = 0; i < STORM_LOGS; i++) {
        for (uint32_t j = worker->synced.appended[i]; j < worker->shared.appended[i]; j++) {
            worker->shared.lengths[i][j] = STORM_NOT_DONE;
        }
    }
    worker->shared.cell = worker->synced.cell;
    while (!storm_is_cell_right(actor)) {
        if (worker->shared.cell++ == last) {
            storm_fail(actor, "after the restart no value since the sync is in the cell");
        }
    }
}

void storm_check_restarted(struct storm_actor *actor)
{
    struct storm *storm = actor->storm;
    struct storm_worker *const own = actor->worker;
    const unsigned index = actor->index;
    for (unsigned i = 0; i < storm->workers; i++) {
        actor->index = i;
        actor->worker = &storm->worker[i];
        const bool was_in_one = atomic_load(&actor->worker->step) == STORM_BEGUN;
        find_shared(actor, was_in_one);
        find_state(actor);
    }
    actor->index = index;
    actor->worker = own;
    storm_check_all(actor);
}
