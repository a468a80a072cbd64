#include "cli/demo_worker.h"

#include "cli/demo_fragment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct worker {
    const struct worker_task *task;
    hf_fs *fs;
    struct board_slot *slot;
    unsigned client;
    int fd;
};

/* Leave the reason where the parent finds it. Return: false, for the caller to return. */
__attribute__((format(printf, 2, 3))) static bool fail(const struct worker *worker,
                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(worker->slot->error, sizeof(worker->slot->error), format, arguments);
    va_end(arguments);
    return false;
}

/* ---- a line in doubt ---- */

/* Read [from, to) of the file into new memory. Return: NULL after fail(). */
static char *read_range(const struct worker *worker, uint64_t from, uint64_t to)
{
    char *bytes = malloc(to - from);
    if (bytes == NULL) {
        fail(worker, "no memory for what stands behind the line in doubt");
        return NULL;
    }
    for (uint64_t done = from; done < to;) {
        const ssize_t got =
            hf_pread(worker->fs, worker->fd, bytes + (done - from), to - done, (off_t)done);
        if (got <= 0) {
            fail(worker,
                 "cannot read the file back at byte %" PRIu64 ": %s",
                 done,
                 got == 0 ? "it ends there" : strerror((int)-got));
            free(bytes);
            return NULL;
        }
        done += (uint64_t)got;
    }
    return bytes;
}

/* Is @name the line that ends what stands between two newlines, perhaps behind fragments? */
static bool ends_with_line(const struct worker *worker, struct line_name name, const char *bytes,
                           size_t size)
{
    const struct workload *workload = worker->task->workload;
    const size_t line_size = workload_line_size(workload, name);
    if (size < line_size ||
        !workload_is_line(workload, name, bytes + (size - line_size), line_size)) {
        return false;
    }
    if (size == line_size || worker->task->kind != DEMO_APPEND) {
        return size == line_size;
    }
    /* It could also be the end of a longer line that looks like this one. */
    struct line_name *doubts;
    struct fragment_split split;
    const size_t count = board_possible_fragments(worker->task->board, workload->clients, &doubts);
    const bool is_split = fragment_split(workload, doubts, count, bytes, size, &split);
    free(doubts);
    return is_split && split.has_line && split.line.client == name.client &&
           split.line.number == name.number;
}

/* Look for the line in [from, to), which begins and ends where lines do. Return: 1 it is there,
 * 0 it is not, -1 after fail(). */
static int look_for_line(const struct worker *worker, struct line_name name, uint64_t from,
                         uint64_t to)
{
    if (from >= to) {
        return 0;
    }
    char *const bytes = read_range(worker, from, to);
    if (bytes == NULL) {
        return -1;
    }
    bool found = false;
    const char *at = bytes;
    const char *const end = bytes + (to - from);
    while (at < end && !found) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline == NULL ? end : newline + 1;
        found = ends_with_line(worker, name, at, (size_t)(next - at));
        at = next;
    }
    free(bytes);
    return found;
}

/*
 * Up to where may the line in doubt stand, and before where can our next line not begin?
 *
 * With a shared offset that is the offset: whoever has a line before it has moved it, and what
 * stands behind it is overwritten by the next writer. With O_APPEND it is the size: who was
 * killed does not write any more once the inode is ours to look at.
 */
static off_t settled_end(const struct worker *worker)
{
    if (worker->task->kind == DEMO_SHARED_HANDLE) {
        return hf_lseek(worker->fs, worker->fd, 0, SEEK_CUR);
    }
    struct stat status;
    const int result = hf_fstat(worker->fs, worker->fd, &status);
    return result < 0 ? result : status.st_size;
}

static uint64_t *end_of_line(const struct worker *worker, uint64_t number)
{
    const struct board *board = worker->task->board;
    return &board->ends[worker->client * board->most + number];
}

static void settle(const struct worker *worker, enum doubt_outcome outcome)
{
    struct board *board = worker->task->board;
    const struct line_name line = {worker->client, atomic_load(&worker->slot->returned)};
    for (uint64_t i = atomic_load(&board->doubt_count); i > 0; i--) {
        struct board_doubt *doubt = &board->doubts[i - 1];
        if (doubt->line.client == line.client && doubt->line.number == line.number) {
            atomic_store(&doubt->outcome, (int)outcome);
            return;
        }
    }
}

/* The worker before us may have been killed between a write and its return. */
static bool settle_doubt(const struct worker *worker)
{
    struct board_slot *slot = worker->slot;
    const uint64_t number = atomic_load(&slot->returned);
    if (atomic_load(&slot->started) == number) {
        return true;
    }
    const off_t end = settled_end(worker);
    if (end < 0) {
        return fail(worker, "cannot find the end of the file: %s", strerror((int)-end));
    }
    const struct line_name name = {worker->client, number};
    const int found = look_for_line(worker, name, atomic_load(&slot->floor), (uint64_t)end);
    if (found < 0) {
        return false;
    }
    settle(worker, found ? DOUBT_WRITTEN : DOUBT_NOT_WRITTEN);
    if (found) {
        *end_of_line(worker, number) = (uint64_t)end;
        atomic_store(&slot->floor, (uint64_t)end);
        atomic_store(&slot->returned, number + 1);
    }
    return true;
}

/* ---- writing ---- */

static void count_line(const struct worker *worker)
{
    struct board *board = worker->task->board;
    const uint64_t written = atomic_fetch_add(&board->written, 1) + 1;
    if (written == atomic_load_explicit(&board->alarm_at, memory_order_relaxed)) {
        const uint64_t one = 1;
        /* It cannot fail: the counter is far from full. */
        const ssize_t ignored = write(worker->task->alarm, &one, sizeof(one));
        (void)ignored;
    }
}

static bool write_line(const struct worker *worker, uint64_t number, char *buffer)
{
    struct board_slot *slot = worker->slot;
    const struct line_name name = {worker->client, number};
    const size_t size = workload_compose(worker->task->workload, name, buffer);

    atomic_store(&slot->started, number + 1);
    const ssize_t done = hf_write(worker->fs, worker->fd, buffer, size);
    if (done < 0) {
        return fail(worker, "cannot write line %" PRIu64 ": %s", number + 1, strerror((int)-done));
    }
    if ((size_t)done != size) {
        return fail(worker,
                    "only %zd of %zu bytes of line %" PRIu64 " could be written: is there a limit, "
                    "or is the disk full?",
                    done,
                    size,
                    number + 1);
    }
    /* Nearly always the end of this line. Somebody may have gone further; nobody back. */
    const off_t end = hf_lseek(worker->fs, worker->fd, 0, SEEK_CUR);
    if (end < 0) {
        return fail(worker, "cannot tell the offset: %s", strerror((int)-end));
    }
    *end_of_line(worker, number) = (uint64_t)end;
    atomic_store(&slot->floor, (uint64_t)end);
    atomic_store(&slot->returned, number + 1);
    count_line(worker);
    return true;
}

static bool write_lines(const struct worker *worker)
{
    const struct workload *workload = worker->task->workload;
    char *buffer = malloc(workload_room(workload));
    if (buffer == NULL) {
        return fail(worker, "no memory for a line");
    }
    const uint64_t count = workload_count(workload, worker->client);
    bool good = true;
    for (uint64_t number = atomic_load(&worker->slot->returned); good && number < count; number++) {
        good = write_line(worker, number, buffer);
    }
    free(buffer);
    return good;
}

/* Return once the parent and all other workers have closed the pipe's other end. */
static void wait_for_go(const struct worker_task *task)
{
    char byte;
    while (read(task->go_pipe[0], &byte, 1) < 0 && errno == EINTR) {
    }
}

static bool work(struct worker *worker, bool replaces)
{
    const struct worker_task *task = worker->task;
    if (task->kind == DEMO_APPEND) {
        worker->fd = hf_open(worker->fs, task->path, O_RDWR | O_APPEND, 0);
        if (worker->fd < 0) {
            return fail(worker, "cannot open %s: %s", task->path, strerror(-worker->fd));
        }
    }
    if (!replaces) {
        wait_for_go(task);
    } else if (!settle_doubt(worker)) {
        return false;
    }
    if (!write_lines(worker)) {
        return false;
    }
    const int result = hf_close(worker->fs, worker->fd);
    return result == 0 || fail(worker, "cannot close %s: %s", task->path, strerror(-result));
}

_Noreturn void worker_run(const struct worker_task *task, unsigned client, bool replaces)
{
    struct worker worker = {
        .task = task,
        .fs = task->stage->fs,
        .slot = &task->board->slots[client],
        .client = client,
        .fd = task->fd,
    };
    atomic_store(&worker.slot->client, hf_client_number(task->stage->client));
    if (!replaces) {
        close(task->go_pipe[1]);
    }
    const bool good = work(&worker, replaces);
    stage_leave(task->stage);
    _exit(good ? 0 : 1);
}
