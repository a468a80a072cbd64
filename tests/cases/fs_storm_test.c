/*
 * SIGKILL storm: processes do random operations on a served mount, each on a part of the tree of its
 * own and on one that all share, and one after the other is killed and replaced, every few
 * milliseconds. After each round of a second or two every completed operation is there, each that
 * was in doubt wholly or not at all, and what is in use adds up; at the end, when everything is
 * removed, nothing is in use.
 *
 *   process-fs_storm [OPTION ...]
 *
 *   --seconds N      how long; 10
 *   --seed N         the same seed gives each worker the same operations; when it dies is chance
 *   --processes N    workers; 8
 *   --kind KIND      ram; dir: in a directory of the host; restart: there too, and it is the server
 *                    that is killed, and started again on the same directory
 *   --folder PATH    where the directory of the host is; in memory
 *   --pause          when something is wrong, stop with everybody alive (kill -CONT goes on)
 *
 * For example --seconds 600 --seed 7. Every other round there is too little space.
 */
#include "cases/fs_storm.h"

#include "lib/folder.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUND_NS UINT64_C(1500000000)
#define KILL_NS_LEAST 2000000
#define KILL_NS_MOST 5000000

/* Of a server that is killed. */
#define LIFE_NS_LEAST 50000000
#define LIFE_NS_MOST 400000000

/* Whoever gets nothing done for so long hangs. */
#define PATIENCE_NS UINT64_C(30000000000)

/* At the end of a round, without kills, everybody gets so many operations done. */
#define CALM_OPERATIONS 20

static struct {
    uint64_t seconds, seed;
    unsigned workers;
    const char *kind;
    const char *folder;
    bool pauses;
} options = {.seconds = 10, .seed = 1, .workers = 8, .kind = "ram"};

static struct storm *storm;
static char folder[FOLDER_PATH_BYTES];
static pid_t server;
static pid_t workers[STORM_WORKERS_MAX];
static struct storm_random random_state;
static uint64_t kills, calm_since[STORM_WORKERS_MAX], progress_then[STORM_WORKERS_MAX];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- when something is wrong ---- */

static void show_log(void)
{
    char path[128], line[512];
    snprintf(path, sizeof path, "%s/log", folder);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        print_message("# server: %s", line);
    }
    if (file != NULL) {
        fclose(file);
    }
}

static void show_workers(void)
{
    const char *const steps[] = {"before", "in", "after"};
    for (unsigned i = 0; i < storm->workers; i++) {
        const struct storm_worker *worker = &storm->worker[i];
        print_message("# worker %u, pid %d: %s operation %" PRIu64 " (%s, file %u, value %u)\n",
                      i,
                      (int)workers[i],
                      steps[atomic_load(&worker->step)],
                      worker->operation.number,
                      storm_kind_name(worker->operation.kind),
                      worker->operation.file,
                      worker->operation.value);
    }
}

static void show_history(const struct storm_worker *worker)
{
    char text[512];
    for (uint64_t i = worker->number + 1; i <= worker->number + STORM_HISTORY; i++) {
        if (worker->history[i % STORM_HISTORY].operation.number == 0) {
            continue;
        }
        storm_describe(&worker->history[i % STORM_HISTORY].operation,
                       worker->history[i % STORM_HISTORY].result,
                       text,
                       sizeof text);
        print_message("#   by %d: %s\n", (int)worker->history[i % STORM_HISTORY].pid, text);
    }
}

static void kill_worker(unsigned index);

_Noreturn static void give_up(void)
{
    for (unsigned i = 0; i <= storm->workers; i++) {
        if (storm->worker[i].failure[0] != '\0') {
            if (i < storm->workers) {
                show_history(&storm->worker[i]);
            }
            print_message("#   %s\n", storm->worker[i].failure);
        }
    }
    print_message("# --kind %s --seed %" PRIu64 ", round %u%s, the server is %d\n",
                  options.kind,
                  options.seed,
                  storm->round,
                  atomic_load(&storm->is_tight) ? " (tight)" : "",
                  (int)server);
    show_workers();
    show_log();
    if (options.pauses) {
        raise(SIGSTOP);
    }
    for (unsigned i = 0; i < storm->workers; i++) {
        kill_worker(i);
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    fail();
    abort(); /* not reached */
}

/* ---- processes ---- */

/* They die with this one, whatever happens. */
static pid_t start_process(void)
{
    const pid_t self = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != self) {
            _exit(1);
        }
    }
    assert_true(pid >= 0);
    return pid;
}

static void start_worker(unsigned index)
{
    const pid_t pid = start_process();
    if (pid == 0) {
        setpgid(0, 0);
        storm_work(storm, index);
    }
    setpgid(pid, pid);
    workers[index] = pid;
    progress_then[index] = atomic_load(&storm->worker[index].progress);
    calm_since[index] = now_ns();
}

/* With its child, if it has one: that comes to be ours. */
static void kill_worker(unsigned index)
{
    const pid_t group = workers[index];
    if (group <= 0) {
        return;
    }
    kill(-group, SIGKILL);
    while (waitpid(-group, NULL, 0) > 0 || errno == EINTR) {
    }
    workers[index] = 0;
}

/* Nobody may end by himself. */
static void check_alive(void)
{
    for (unsigned i = 0; i < storm->workers; i++) {
        if (workers[i] > 0 && waitpid(workers[i], NULL, WNOHANG) == workers[i]) {
            workers[i] = 0;
            give_up();
        }
        if (storm->worker[i].failure[0] != '\0') {
            give_up();
        }
    }
    if (waitpid(server, NULL, WNOHANG) == server) {
        print_message("# the server ended\n");
        server = 0;
        give_up();
    }
}

/* Let a process without any part in the storm look at it, or prepare it. */
static void check_with(void (*look)(struct storm_actor *))
{
    static struct storm_actor actor;
    int status = 0;
    const uint64_t deadline = now_ns() + 4 * PATIENCE_NS;
    const pid_t pid = start_process();
    if (pid == 0) {
        actor = (struct storm_actor){.storm = storm,
                                     .worker = &storm->worker[storm->workers],
                                     .index = storm->workers,
                                     .is_checker = true};
        storm_attach(&actor);
        look(&actor);
        storm_detach(&actor);
        _exit(0);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ns() > deadline) {
            print_message("# the checker, pid %d, hangs\n", (int)pid);
            give_up();
        }
        (void)poll(NULL, 0, 1);
    }
    if (status != 0) {
        print_message("# the checker's status is %d\n", status);
        give_up();
    }
}

/* ---- the server ---- */

static void start_server(void)
{
    char mount[192], path[128];
    snprintf(storm->address, sizeof storm->address, "unix:%s/socket", folder);
    snprintf(path, sizeof path, "%s/log", folder);
    if (strcmp(options.kind, "ram") != 0) {
        snprintf(storm->host, sizeof storm->host, "%s/data", folder);
    }
    /* Enough for all, in a round without ballast. */
    snprintf(mount,
             sizeof mount,
             "%s%s:/,size=%uK,inodes=%u",
             storm->host[0] == '\0' ? "ram" : "dir:",
             storm->host,
             storm->workers * 1600 + 10000,
             storm->workers * STORM_NODES * STORM_NAMES + 100);
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    server = start_process();
    if (server == 0) {
        const int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(out[1], STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execl(getenv("HOLDFAST"),
              "holdfast",
              "serve",
              "--listen",
              storm->address,
              "--mount",
              mount,
              (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    char line[256];
    assert_true(read(out[0], line, sizeof line) > 0); /* it says that it serves */
    close(out[0]);
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return at->level > 0 ? remove(path) : 0;
}

/* ---- rounds ---- */

static void let_pass(uint64_t ns)
{
    const struct timespec time = {.tv_nsec = (long)ns};
    (void)ppoll(NULL, 0, &time, NULL);
}

/* Sometimes it does not answer for a while before it dies: then others wait for it. */
static void kill_somebody(void)
{
    static int stopped = -1;
    if (stopped >= 0) {
        kill_worker((unsigned)stopped);
        start_worker((unsigned)stopped);
        stopped = -1;
        kills++;
        return;
    }
    const unsigned index = storm_pick(&random_state, storm->workers);
    if (storm_pick(&random_state, 4) == 0) {
        stopped = (int)index;
        kill(-workers[index], SIGSTOP);
        return;
    }
    kill_worker(index);
    start_worker(index);
    kills++;
}

/* Nobody is killed, until everybody has got something done. */
static void calm_down(void)
{
    bool is_calm = false;
    for (unsigned i = 0; i < storm->workers; i++) {
        kill_worker(i); /* it may have been stopped */
        start_worker(i);
    }
    while (!is_calm) {
        is_calm = true;
        check_alive();
        for (unsigned i = 0; i < storm->workers; i++) {
            const uint64_t done = atomic_load(&storm->worker[i].progress) - progress_then[i];
            is_calm = is_calm && done >= CALM_OPERATIONS;
            if (done < CALM_OPERATIONS && now_ns() - calm_since[i] > PATIENCE_NS) {
                print_message("# worker %u hangs\n", i);
                give_up();
            }
        }
        let_pass(KILL_NS_LEAST);
    }
}

static void play_round(void)
{
    storm->round++;
    atomic_store(&storm->is_tight, storm->round % 2 == 0);
    check_with(storm_begin_round);
    for (unsigned i = 0; i < storm->workers; i++) {
        start_worker(i);
    }
    const uint64_t end = now_ns() + ROUND_NS;
    while (now_ns() < end) {
        let_pass(KILL_NS_LEAST + storm_pick(&random_state, KILL_NS_MOST - KILL_NS_LEAST));
        check_alive();
        kill_somebody();
    }
    calm_down();
    for (unsigned i = 0; i < storm->workers; i++) {
        kill_worker(i);
    }
    check_with(storm_check_all);
}

/* The server has gone: so do the workers. */
static void expect_ends(void)
{
    const uint64_t deadline = now_ns() + PATIENCE_NS;
    for (unsigned i = 0; i < storm->workers; i++) {
        int status = 0;
        while (waitpid(workers[i], &status, WNOHANG) == 0) {
            if (now_ns() > deadline) {
                print_message("# worker %u hangs without a server\n", i);
                give_up();
            }
            let_pass(KILL_NS_LEAST);
        }
        workers[i] = 0;
        if (status != 0) {
            print_message("# worker %u's status is %d\n", i, status);
            give_up();
        }
    }
}

static void play_restart(void)
{
    storm->round++;
    check_with(storm_begin_round);
    for (unsigned i = 0; i < storm->workers; i++) {
        start_worker(i);
    }
    const uint64_t end = now_ns() + LIFE_NS_LEAST + storm_pick(&random_state, LIFE_NS_MOST);
    while (now_ns() < end) {
        let_pass(KILL_NS_LEAST);
        check_alive();
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    kills++;
    expect_ends();
    start_server();
    check_with(storm_check_restarted);
}

static void show_figures(double seconds)
{
    static struct storm_worker sum; /* it is large */
    uint64_t all = 0;
    for (unsigned i = 0; i < storm->workers; i++) {
        const struct storm_worker *worker = &storm->worker[i];
        for (unsigned j = 0; j < STORM_KINDS; j++) {
            sum.counts[j] += worker->counts[j];
            all += worker->counts[j];
        }
        sum.in_doubt += worker->in_doubt;
        sum.in_doubt_done += worker->in_doubt_done;
        sum.lacked_space += worker->lacked_space;
        sum.forks += worker->forks;
        sum.lost += worker->lost;
    }
    print_message("# %u rounds in %.1f s: %" PRIu64 " operations, %" PRIu64 " kills, %" PRIu64
                  " operations in doubt (%" PRIu64 " done), %" PRIu64 " times no space, %" PRIu64
                  " forks, %" PRIu64 " operations lost with the server\n",
                  storm->round,
                  seconds,
                  all,
                  kills,
                  sum.in_doubt,
                  sum.in_doubt_done,
                  sum.lacked_space,
                  sum.forks,
                  sum.lost);
    for (unsigned j = 0; j < STORM_KINDS; j++) {
        print_message("#   %-16s %" PRIu64 "\n", storm_kind_name(j), sum.counts[j]);
    }
}

/* ---- the test ---- */

static int set_up(void **state)
{
    storm = mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (storm == MAP_FAILED || getenv("HOLDFAST") == NULL ||
        folder_make_in(options.folder, folder) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return -1;
    }
    storm->seed = options.seed;
    storm->workers = options.workers;
    storm->restarts = strcmp(options.kind, "restart") == 0;
    random_state = storm_random_of(options.seed, 0, 0);
    char path[128];
    snprintf(path, sizeof path, "%s/data", folder);
    return mkdir(path, 0755);
}

static int tear_down(void **state)
{
    munmap(storm, sizeof *storm);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return folder_remove(folder);
}

static void test_what_the_killed_completed_is_there(void **state)
{
    int status;
    const uint64_t begin = now_ns();
    start_server();
    check_with(storm_make_all);
    check_with(storm_check_all);
    while (now_ns() - begin < options.seconds * 1000000000) {
        if (storm->restarts) {
            play_restart();
        } else {
            play_round();
        }
    }
    check_with(storm_check_end);
    show_figures((double)(now_ns() - begin) / 1e9);
    kill(server, SIGTERM);
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_int_equal(status, 0);
}

static bool parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"seconds", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},
        {"processes", required_argument, NULL, 'p'},
        {"kind", required_argument, NULL, 'k'},
        {"folder", required_argument, NULL, 'f'},
        {"pause", no_argument, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    int option;
    options.folder = folder_fast_parent();
    while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (option == 't') {
            options.seconds = strtoull(optarg, NULL, 10);
        } else if (option == 's') {
            options.seed = strtoull(optarg, NULL, 10);
        } else if (option == 'p') {
            options.workers = (unsigned)strtoul(optarg, NULL, 10);
        } else if (option == 'k') {
            options.kind = optarg;
        } else if (option == 'f') {
            options.folder = optarg;
        } else if (option == 'w') {
            options.pauses = true;
        } else {
            return false;
        }
    }
    return optind == argc && options.workers >= 1 && options.workers <= STORM_WORKERS_MAX;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_the_killed_completed_is_there, set_up, tear_down),
    };
    if (!parse(argc, argv)) {
        fprintf(stderr, "see the top of fs_storm_test.c for the options\n");
        return 2;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("fs storm", tests, NULL, NULL);
}
