/*
 * hf-sim: runs schedules and says in TAP what came of them.
 *
 *   hf-sim [--schedules N] [--first-seed N] [-v]   so many schedules, one seed each
 *   hf-sim --seed N [-v]                           exactly that one
 *   hf-sim --expect-failure                        a mistake is planted: it must be found
 *
 * The schedules run in a forked child, so that a crash or an assert in the cores has a seed
 * like any broken rule: it stands in memory that both share.
 */
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCKS = 8,
    FULL_SIZE = 100000, /* so many schedules must have met everything that must occur */
    STRETCH = 1000,     /* schedules that take milliseconds each at the very worst */
    STRETCH_SECONDS = 60,
};

struct shared {
    uint64_t seed; /* of the schedule that runs */
    uint64_t covered[COVER_COUNT];
};

struct options {
    uint64_t schedules;
    uint64_t first_seed;
    bool one_seed;
    bool verbose;
    bool expect_failure;
};

static struct world world;

static void on_abort(int signal_number)
{
    (void)signal_number;
    sim_fail_assert(&world);
}

static void usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--schedules N] [--first-seed N] [--seed N] [--expect-failure] [-v]\n",
            program);
    exit(2);
}

static uint64_t parse_number(const char *program, const char *text)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(text == NULL ? "" : text, &end, 0);
    if (text == NULL || text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        usage(program);
    }
    return number;
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.schedules = 200000, .first_seed = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--schedules") == 0) {
            options.schedules = parse_number(argv[0], value);
            i++;
        } else if (strcmp(argv[i], "--first-seed") == 0) {
            options.first_seed = parse_number(argv[0], value);
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            options.first_seed = parse_number(argv[0], value);
            options.one_seed = true;
            i++;
        } else if (strcmp(argv[i], "--expect-failure") == 0) {
            options.expect_failure = true;
        } else if (strcmp(argv[i], "-v") == 0) {
            options.verbose = true;
        } else {
            usage(argv[0]);
        }
    }
    if (options.one_seed) {
        options.schedules = 1;
    }
    return options;
}

/* Run @count schedules in a child. Return: true, or false with shared->seed at the bad one. */
static bool run_block(struct shared *shared, const struct options *options, uint64_t first_seed,
                      uint64_t count)
{
    fflush(stdout);
    shared->seed = first_seed;
    const pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(1);
    }
    if (child == 0) {
        signal(SIGABRT, on_abort);
        if (options->expect_failure) {
            /* What an assert says about a mistake that we planted only worries the reader. */
            (void)!freopen("/dev/null", "w", stderr);
        }
        world.covered = shared->covered;
        for (uint64_t seed = first_seed; seed < first_seed + count; seed++) {
            shared->seed = seed;
            if ((seed - first_seed) % STRETCH == 0) {
                alarm(STRETCH_SECONDS); /* a core that runs in circles ends here */
            }
            schedule_run(&world, seed);
        }
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        printf("# seed %llu: killed by signal %d; to see it again: %s --seed %llu -v\n",
               (unsigned long long)shared->seed,
               WTERMSIG(status),
               world.program,
               (unsigned long long)shared->seed);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool report_coverage(const struct shared *shared, bool full_size)
{
    static const struct {
        const char *name;
        bool must;
        const char *text;
    } entries[] = {
#define COVER(name, must, text) {#name, must, text},
#include "coverage.def"
#undef COVER
    };
    bool complete = true;
    for (int i = 0; i < COVER_COUNT; i++) {
        const bool missed = entries[i].must && shared->covered[i] == 0;
        printf("# %12llu %s%s\n",
               (unsigned long long)shared->covered[i],
               entries[i].text,
               missed && full_size ? "   <- must occur" : "");
        complete = complete && !missed;
    }
    return complete || !full_size;
}

static int run_expecting_failure(struct shared *shared, const struct options *options)
{
    printf("1..1\n");
    const bool passed = run_block(shared, options, options->first_seed, options->schedules);
    printf("%s 1 - the planted mistake is found", passed ? "not ok" : "ok");
    if (passed) {
        printf(" (not in %llu schedules)\n", (unsigned long long)options->schedules);
        return 1;
    }
    printf(" after %llu schedules, seed %llu\n",
           (unsigned long long)(shared->seed - options->first_seed + 1),
           (unsigned long long)shared->seed);
    return 0;
}

static int run_expecting_success(struct shared *shared, const struct options *options)
{
    const uint32_t blocks = options->schedules < BLOCKS ? 1 : BLOCKS;
    const bool full_size = options->schedules >= FULL_SIZE;
    bool good = true;
    printf("1..%u\n", blocks + 1);
    for (uint32_t block = 0; block < blocks; block++) {
        const uint64_t begin = options->schedules * block / blocks;
        const uint64_t end = options->schedules * (block + 1) / blocks;
        const uint64_t first_seed = options->first_seed + begin;
        const bool passed = run_block(shared, options, first_seed, end - begin);
        printf("%s %u - rules 1 to 5 hold in schedules %llu to %llu\n",
               passed ? "ok" : "not ok",
               block + 1,
               (unsigned long long)first_seed,
               (unsigned long long)(first_seed + (end - begin) - 1));
        good = good && passed;
    }
    printf("# in %llu schedules:\n", (unsigned long long)options->schedules);
    const bool covered = report_coverage(shared, full_size);
    if (full_size) {
        printf("%s %u - everything that must occur did\n", covered ? "ok" : "not ok", blocks + 1);
    } else {
        printf("ok %u - everything that must occur did # SKIP too few schedules to tell\n",
               blocks + 1);
    }
    return good && covered ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct options options = parse_options(argc, argv);
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    world.program = argv[0];
    world.verbose = options.verbose;
    world.brief = options.expect_failure;
    const int status = options.expect_failure ? run_expecting_failure(shared, &options)
                                              : run_expecting_success(shared, &options);
    munmap(shared, sizeof(*shared));
    return status;
}
