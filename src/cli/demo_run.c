#include "cli/demo_run.h"

#include "base/clock.h"
#include "cli/demo_text.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLS_PER_CLIENT 20
#define LINES_PER_KILL 50 /* at least, on average */

#define PRINT_INTERVAL_NS UINT64_C(100000000)
#define SECOND_NS UINT64_C(1000000000)

uint64_t run_plan_kills(const struct demo_options *options, const struct workload *workload)
{
    if (!options->kill) {
        return 0;
    }
    if (options->kills > 0) {
        return options->kills;
    }
    const uint64_t for_clients = (uint64_t)KILLS_PER_CLIENT * workload->clients;
    const uint64_t for_lines = workload->total / LINES_PER_KILL + 1;
    return for_clients < for_lines ? for_clients : for_lines;
}

/* splitmix64 */
static uint64_t next_random(struct run *run)
{
    run->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mix = run->random;
    mix = (mix ^ (mix >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mix = (mix ^ (mix >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mix ^ (mix >> 31);
}

static uint64_t lines_written(const struct run *run)
{
    uint64_t lines = 0;
    for (unsigned client = 0; client < run->task.workload->clients; client++) {
        lines += atomic_load(&run->task.board->slots[client].returned);
    }
    return lines;
}

/* ---- starting ---- */

static int start_worker(struct run *run, unsigned client, bool replaces)
{
    struct board_slot *slot = &run->task.board->slots[client];
    atomic_store(&slot->client, 0);
    const pid_t pid = stage_fork(run->task.stage);
    if (pid == 0) {
        worker_run(&run->task, client, replaces);
    }
    if (pid < 0) {
        stage_complain(run->task.stage, "cannot start client %u: %s", client + 1, strerror(-pid));
        return 1;
    }
    run->pids[client] = pid;
    run->alive++;
    return 0;
}

static void print_processes(const struct run *run)
{
    const unsigned clients = run->task.workload->clients;
    printf("%s: the server is in process %d, the client%s %s process%s",
           run->task.stage->demo,
           (int)getpid(),
           demo_plural(clients),
           clients == 1 ? "is" : "are",
           clients == 1 ? "" : "es");
    for (unsigned client = 0; client < clients; client++) {
        printf(" %d", (int)run->pids[client]);
    }
    printf("\n");
    fflush(stdout);
}

/* Fork all workers, which wait for each other before the first line. */
static int start_workers(struct run *run)
{
    struct worker_task *task = &run->task;
    int result = 0;
    for (unsigned client = 0; client < task->workload->clients && result == 0; client++) {
        result = start_worker(run, client, false);
    }
    if (result == 0) {
        print_processes(run);
    }
    run->begin_ns = run->last_look_ns = clock_now_ns();
    close(task->go_pipe[1]);
    close(task->go_pipe[0]);
    return result;
}

/* ---- ending ---- */

/* Note what a worker that has ended leaves behind. */
static void forget_worker(struct run *run, unsigned client)
{
    const struct demo_stage *stage = run->task.stage;
    const uint64_t number = atomic_load(&run->task.board->slots[client].client);
    run->pids[client] = 0;
    run->alive--;
    if (stage->trace != NULL && number != 0) {
        trace_view_place_client(stage->trace, number, (int)client + 1);
    }
}

static void end_workers(struct run *run)
{
    for (unsigned client = 0; client < run->task.workload->clients; client++) {
        const pid_t pid = run->pids[client];
        if (pid != 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            forget_worker(run, client);
        }
    }
}

/* A worker has ended by itself. Return: 0 if it may, 1 after saying why it may not. */
static int judge_end(struct run *run, unsigned client, pid_t pid, int status)
{
    const struct demo_stage *stage = run->task.stage;
    const struct board_slot *slot = &run->task.board->slots[client];
    if (WIFSIGNALED(status)) {
        stage_complain(stage,
                       "client %u (process %d) was ended by signal %d (%s)",
                       client + 1,
                       (int)pid,
                       WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
        return 1;
    }
    if (WEXITSTATUS(status) != 0) {
        stage_complain(stage,
                       "client %u (process %d): %s",
                       client + 1,
                       (int)pid,
                       slot->error[0] != '\0' ? slot->error : "failed");
        return 1;
    }
    return 0;
}

static int reap_workers(struct run *run)
{
    int result = 0;
    for (unsigned client = 0; client < run->task.workload->clients; client++) {
        const pid_t pid = run->pids[client];
        int status;
        if (pid != 0 && waitpid(pid, &status, WNOHANG) == pid) {
            forget_worker(run, client);
            result |= judge_end(run, client, pid, status);
        }
    }
    return result;
}

/* ---- killing ---- */

static void set_alarm(struct run *run)
{
    struct board *board = run->task.board;
    const uint64_t spacing = run->task.workload->total / (run->kills_planned + 1);
    const uint64_t ahead = 1 + next_random(run) % (2 * spacing + 1);
    atomic_store(&board->alarm_at, atomic_load(&board->written) + ahead);
}

static bool kill_is_due(const struct run *run)
{
    const struct board *board = run->task.board;
    return run->kills_done < run->kills_planned && run->alive > 0 &&
           atomic_load(&board->written) >= atomic_load(&board->alarm_at);
}

/* Kill one worker, any, and start another in its place. */
static int kill_one(struct run *run)
{
    unsigned client = 0;
    for (uint64_t skip = next_random(run) % run->alive;; client++) {
        if (run->pids[client] != 0 && skip-- == 0) {
            break;
        }
    }
    const pid_t pid = run->pids[client];
    int status = 0;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    forget_worker(run, client);
    set_alarm(run);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        return judge_end(run, client, pid, status); /* it was done before */
    }
    run->kills_done++;
    board_note_doubt(run->task.board, client);
    return start_worker(run, client, true);
}

/* ---- watching ---- */

static void print_progress(struct run *run, uint64_t now_ns)
{
    if (!run->terminal || now_ns - run->last_print_ns < PRINT_INTERVAL_NS) {
        return;
    }
    run->last_print_ns = now_ns;
    const uint64_t elapsed_ms = (now_ns - run->begin_ns) / 1000000 + 1;
    fprintf(stderr,
            "\r%s: %s of %s lines, %s lines/s",
            run->task.stage->demo,
            demo_number(run->seen_lines).text,
            demo_number(run->task.workload->total).text,
            demo_number(run->seen_lines * 1000 / elapsed_ms).text);
    if (run->kills_planned > 0) {
        fprintf(stderr, ", %s killed", demo_number(run->kills_done).text);
    }
    fprintf(stderr, "\033[K");
}

static void clear_progress(const struct run *run)
{
    if (run->terminal && run->last_print_ns != 0) {
        fprintf(stderr, "\r\033[K");
    }
}

/* Return: 1, after saying so, when nothing has happened for too long. */
static int look_for_progress(struct run *run, bool something_happened)
{
    const uint64_t now_ns = clock_now_ns();
    const uint64_t elapsed_ns = now_ns - run->last_look_ns;
    const uint64_t lines = lines_written(run);
    if (lines != run->seen_lines || something_happened) {
        run->idle_ns = 0;
    } else {
        /* More than that since the last look, and it is we who were stopped. */
        run->idle_ns += elapsed_ns < 2 * SECOND_NS ? elapsed_ns : 2 * SECOND_NS;
    }
    run->last_look_ns = now_ns;
    run->seen_lines = lines;
    print_progress(run, now_ns);

    const struct demo_stage *stage = run->task.stage;
    if (run->idle_ns < stage->options->patience_seconds * SECOND_NS) {
        return 0;
    }
    clear_progress(run);
    stage_complain(
        stage, "no line was written for %u s; waiting no longer", stage->options->patience_seconds);
    for (unsigned client = 0; client < run->task.workload->clients; client++) {
        if (run->pids[client] != 0) {
            stage_complain(stage,
                           "client %u (process %d) has written %" PRIu64 " of %" PRIu64 " lines",
                           client + 1,
                           (int)run->pids[client],
                           atomic_load(&run->task.board->slots[client].returned),
                           workload_count(run->task.workload, client));
        }
    }
    return 1;
}

/* Wait for something to do, and do it. Return: as run_workers(), or -1 to go on. */
static int watch_once(struct run *run)
{
    struct pollfd fds[] = {
        {.fd = run->task.stage->signals, .events = POLLIN},
        {.fd = run->task.alarm, .events = POLLIN},
    };
    const int timeout_ms = kill_is_due(run) ? 0 : run->terminal ? 100 : 500;
    poll(fds, 2, timeout_ms);
    uint64_t count;
    const bool alarmed = read(run->task.alarm, &count, sizeof(count)) == (ssize_t)sizeof(count);

    int number;
    const enum stage_signal what = stage_read_signals(run->task.stage, &number);
    if (what == STAGE_END) {
        return 128 + number;
    }
    if (what == STAGE_CHILD && reap_workers(run) != 0) {
        return 1;
    }
    if (kill_is_due(run) && kill_one(run) != 0) {
        return 1;
    }
    if (run->alive == 0) {
        return 0;
    }
    return look_for_progress(run, alarmed || what == STAGE_CHILD) != 0 ? 1 : -1;
}

int run_workers(struct run *run)
{
    struct worker_task *task = &run->task;
    if (getrandom(&run->random, sizeof(run->random), 0) < 0) {
        run->random = clock_now_ns();
    }
    run->terminal = isatty(STDERR_FILENO) != 0;
    task->alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (task->alarm < 0 || pipe2(task->go_pipe, O_CLOEXEC) < 0) {
        stage_complain(task->stage, "%s", strerror(errno));
        if (task->alarm >= 0) {
            close(task->alarm);
        }
        return 1;
    }
    set_alarm(run);
    int result = start_workers(run);
    if (result == 0) {
        do {
            result = watch_once(run);
        } while (result < 0);
    }
    run->end_ns = clock_now_ns();
    clear_progress(run);
    end_workers(run);
    close(task->alarm);
    return result;
}
