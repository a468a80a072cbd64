/*
 * hf-bench: what Holdfast costs, each thing beside a yardstick measured in the same run.
 *
 * Exit status: 0 when everything asked for was measured, whatever the numbers; 1 when something
 * could not run; 2 for a wrong command line.
 */
#include "fs.h"
#include "harness.h"
#include "locks.h"
#include "served.h"
#include "sync.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_CANNOT_RUN 1
#define EXIT_USAGE 2

#define FULL_ROUNDS 7
#define QUICK_ROUNDS 3

/* Later groups are added here. */
static const struct bench_group *const groups[] = {
    &sync_group, &fs_group, &served_group, &locks_group};

#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

static void print_usage(FILE *file)
{
    fprintf(file,
            "usage: hf-bench [--json FILE] [--rounds N] [--quick] [GROUP | GROUP/PART]...\n"
            "\n"
            "  --json FILE   also write the rows to FILE as a JSON array\n"
            "  --rounds N    rounds of each measurement, 3 to 31; 7 unless told\n"
            "  --quick       a short look: everything is run, times mean nothing\n"
            "  --help        this text\n"
            "\n"
            "groups and their parts (all of them unless told):\n");
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (size_t j = 0; j < groups[i]->part_count; j++) {
            fprintf(file,
                    "  %s/%-10s  %s\n",
                    groups[i]->name,
                    groups[i]->parts[j].name,
                    groups[i]->parts[j].about);
        }
    }
}

/* Whether @wanted, GROUP or GROUP/PART, means this part. */
static bool names_part(const char *wanted, const struct bench_group *group,
                       const struct bench_part *part)
{
    const size_t length = strlen(group->name);
    if (strncmp(wanted, group->name, length) != 0) {
        return false;
    }
    return wanted[length] == '\0' ||
           (wanted[length] == '/' && strcmp(wanted + length + 1, part->name) == 0);
}

static bool is_wanted(char **wanted, int wanted_count, const struct bench_group *group,
                      const struct bench_part *part)
{
    for (int i = 0; i < wanted_count; i++) {
        if (names_part(wanted[i], group, part)) {
            return true;
        }
    }
    return wanted_count == 0;
}

static bool is_known(const char *wanted)
{
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (size_t j = 0; j < groups[i]->part_count; j++) {
            if (names_part(wanted, groups[i], &groups[i]->parts[j])) {
                return true;
            }
        }
    }
    return false;
}

static bool run_wanted(struct bench *bench, char **wanted, int wanted_count)
{
    bool all = true;
    bench_print_header(bench);
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (size_t j = 0; j < groups[i]->part_count; j++) {
            const struct bench_part *part = &groups[i]->parts[j];
            if (is_wanted(wanted, wanted_count, groups[i], part) && !part->run(bench)) {
                bench_fail("%s/%s could not run", groups[i]->name, part->name);
                all = false;
            }
        }
    }
    return all;
}

static bool parse_rounds(const char *text, unsigned *rounds)
{
    char *end;
    errno = 0;
    const unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < QUICK_ROUNDS ||
        number > BENCH_ROUNDS_MAX) {
        return false;
    }
    *rounds = (unsigned)number;
    return true;
}

int main(int argc, char **argv)
{
    enum { OPTION_JSON = 1, OPTION_ROUNDS, OPTION_QUICK, OPTION_HELP };
    static const struct option options[] = {
        {"json", required_argument, NULL, OPTION_JSON},
        {"rounds", required_argument, NULL, OPTION_ROUNDS},
        {"quick", no_argument, NULL, OPTION_QUICK},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
    };
    static struct bench bench;
    const char *json_path = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case OPTION_JSON:
            json_path = optarg;
            break;
        case OPTION_ROUNDS:
            if (!parse_rounds(optarg, &bench.rounds)) {
                bench_fail("--rounds takes a number from %d to %d", QUICK_ROUNDS, BENCH_ROUNDS_MAX);
                return EXIT_USAGE;
            }
            break;
        case OPTION_QUICK:
            bench.quick = true;
            break;
        case OPTION_HELP:
            print_usage(stdout);
            return 0;
        default:
            print_usage(stderr);
            return EXIT_USAGE;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (!is_known(argv[i])) {
            bench_fail("no such group: %s", argv[i]);
            print_usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (bench.rounds == 0) {
        bench.rounds = bench.quick ? QUICK_ROUNDS : FULL_ROUNDS;
    }

    /* Opened first: a wrong path should not cost a minute of measuring. */
    FILE *json = json_path != NULL ? fopen(json_path, "we") : NULL;
    if (json_path != NULL && json == NULL) {
        bench_fail("%s: %s", json_path, strerror(errno));
        return EXIT_CANNOT_RUN;
    }
    bench_use_all_cpus();
    bool done = run_wanted(&bench, argv + optind, argc - optind);
    if (json != NULL) {
        const bool written = bench_write_json(&bench, json);
        if (fclose(json) != 0 || !written) {
            done = bench_fail("%s: could not be written", json_path);
        }
    }
    return done ? 0 : EXIT_CANNOT_RUN;
}
