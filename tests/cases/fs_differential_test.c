/*
 * Random sequences of operations by one or several processes, on the filesystem and on a plain
 * directory of the kernel's side by side: the same results, the same errors, and at the end the
 * same tree. A sequence that fails is made as short as it can be, and shown.
 *
 *   process-fs_differential [OPTION ...]
 *
 *   --seed N         the first sequence; 1
 *   --count N        how many, from there on; 1 with --seed, else 1,000
 *   --steps N        in each; 0 for 20 to 60, which is what there is without
 *   --processes N    1 to 3, which share the tree and fork each other; 1
 *   --cpu N          all on one processor, which takes less of it; N counts round and round
 *   --folder PATH    where to make the files: on tmpfs or on the disk; in memory
 *   --plant          let the kernel's side lie, to see that it is found and made short
 *
 * For example --steps 100000 --processes 3 --seed 7, or --count 1000000 over night.
 *
 * What is compared, and what is known to differ: fs_differential_choose.c says what is never done,
 * fs_differential_tree.c what of times is compared. A new operation is one line in
 * fs_differential_operations.c.
 */
#include "cases/fs_differential.h"

#include "lib/folder.h"
#include "lib/test.h"

#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct options options = {.processes = 1};
static uint64_t first_seed = 1;
static uint64_t count = 1000;
static bool has_root;

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_both_sides_do_the_same(void **state)
{
    if (!has_root) {
        print_message("# no root directory of one's own to be had\n");
        skip();
    }
    struct stage *stage = stage_new(&options);
    const double begin = seconds_now();
    for (uint64_t i = 0; i < count; i++) {
        if (!stage_play(stage, first_seed + i)) {
            stage_shrink(stage);
            stage_free(stage);
            fail();
        }
    }
    const double seconds = seconds_now() - begin;
    print_message("# %lu sequences in %.1f s, %.0f a second\n",
                  (unsigned long)count,
                  seconds,
                  (double)count / seconds);
    stage_free(stage);
}

/* The lie is told of a file that was opened for writing: it takes two steps, and no more than
 * those are left. */
static void test_what_is_planted_is_found_and_made_short(void **state)
{
    if (!has_root) {
        skip();
    }
    struct stage *stage = stage_new(&options);
    uint64_t seed = first_seed;
    while (stage_play(stage, seed)) {
        assert_true(++seed < first_seed + count);
    }
    const size_t left = stage_shrink(stage);
    stage_free(stage);
    assert_in_range(left, 2, 3);
}

/* The kernel's side has the root directory for itself: that takes a privilege, which everybody has
 * in a namespace of his own. */
static bool get_root(void)
{
    char map[40];
    const int length = snprintf(map, sizeof map, "0 %d 1", (int)geteuid());
    if (geteuid() == 0) {
        return true;
    }
    if (unshare(CLONE_NEWUSER) < 0) {
        return false;
    }
    int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    const bool mapped = fd >= 0 && write(fd, map, (size_t)length) == length;
    close(fd);
    return mapped;
}

/* Return: false when it cannot be. */
static bool stay_on_cpu(unsigned long number)
{
    cpu_set_t all;
    cpu_set_t one;
    if (sched_getaffinity(0, sizeof all, &all) < 0) {
        return false;
    }
    number %= (unsigned long)CPU_COUNT(&all);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all) && number-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            return sched_setaffinity(0, sizeof one, &one) == 0;
        }
    }
    return false;
}

static bool parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'c'},
        {"steps", required_argument, NULL, 'n'},
        {"processes", required_argument, NULL, 'p'},
        {"cpu", required_argument, NULL, 'u'},
        {"folder", required_argument, NULL, 'f'},
        {"plant", no_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    bool has_count = false;
    int option;
    options.parent = folder_fast_parent();
    while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (option == 's') {
            first_seed = strtoull(optarg, NULL, 10);
            count = has_count ? count : 1;
        } else if (option == 'c') {
            count = strtoull(optarg, NULL, 10);
            has_count = true;
        } else if (option == 'n') {
            options.steps = strtoul(optarg, NULL, 10);
        } else if (option == 'p') {
            options.processes = (int)strtol(optarg, NULL, 10);
        } else if (option == 'u') {
            if (!stay_on_cpu(strtoul(optarg, NULL, 10))) {
                return false;
            }
        } else if (option == 'f') {
            options.parent = optarg;
        } else if (option == 'l') {
            options.planted = true;
        } else {
            return false;
        }
    }
    return optind == argc && options.processes >= 1 && options.processes <= PLAYERS_MAX;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest honest[] = {
        cmocka_unit_test(test_both_sides_do_the_same),
    };
    const struct CMUnitTest planted[] = {
        cmocka_unit_test(test_what_is_planted_is_found_and_made_short),
    };
    if (!parse(argc, argv)) {
        fprintf(stderr, "see the top of fs_differential_test.c for the options\n");
        return 2;
    }
    has_root = get_root();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (options.planted) {
        return cmocka_run_group_tests_name("fs differential, planted", planted, NULL, NULL);
    }
    return cmocka_run_group_tests_name("fs differential", honest, NULL, NULL);
}
