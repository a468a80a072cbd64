/*
 * Random lock programs of several processes, on the filesystem and on the kernel's side by side: the
 * same grants, the same errors, the same answers of F_GETLK, the same who wait. A sequence
 * that fails is made as short as it can be, and shown.
 *
 *   process-locks_differential [--seed N] [--count N] [--steps N] [-v]
 *
 *   --seed N    the first sequence; 1
 *   --count N   how many, from there on; 1 with --seed, else 300
 *   --steps N   in each, at most 2000; 100
 *   -v          show each
 *
 * With a sanitizer a tenth of that.
 *
 * With HF_TEST_MOUNT=ram in the environment on a served mount.
 */
#include "cases/locks_differential_play.h"

#include "base/clock.h"
#include "lib/test.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 2000
#define OPENS_FIRST 12 /* without open files there is nothing to lock */

static uint64_t first_seed = 1;
static uint64_t count = 300;
static size_t step_count = 100;
static bool is_verbose;

static void make_steps(uint64_t seed, struct step *steps)
{
    struct dice dice = {.state = seed};
    for (size_t i = 0; i < step_count; i++) {
        steps[i] = (struct step){
            .seat = (uint8_t)dice_below(&dice, SEATS),
            .kind = (uint8_t)(i < OPENS_FIRST ? STEP_OPENS : dice_below(&dice, 100)),
            .random = dice_next(&dice),
        };
    }
}

static void show(const struct stage *stage)
{
    const char *line = stage_lines(stage);
    while (*line != '\0') {
        const int length = (int)strcspn(line, "\n");
        print_message("# %.*s\n", length, line);
        line += length + (line[length] == '\n');
    }
}

/* In new processes. */
static bool fails(const struct step *steps)
{
    struct stage *stage = stage_new();
    if (stage_play(stage, steps, step_count)) {
        stage_free(stage);
        return false;
    }
    stage_abandon(stage);
    return true;
}

/* Leave out what makes no difference. */
static void shrink(struct step *steps)
{
    bool any = fails(steps);
    if (!any) {
        print_message("# alone, in new processes, it does well\n");
        return;
    }
    while (any) {
        any = false;
        for (size_t i = step_count; i-- > 0;) {
            if (!steps[i].left_out) {
                steps[i].left_out = true;
                steps[i].left_out = fails(steps);
                any = any || steps[i].left_out;
            }
        }
    }
    struct stage *stage = stage_new();
    stage_play(stage, steps, step_count);
    print_message("# made short:\n");
    show(stage);
    stage_abandon(stage);
}

static void test_locks_are_as_the_kernels(void **state)
{
    static struct step steps[STEPS_MAX];
    struct stage *stage = stage_new();
    count = test_is_plain() ? count : (count + 9) / 10;
    const uint64_t begin_ns = clock_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        make_steps(first_seed + i, steps);
        if (is_verbose) {
            print_message("# seed %llu\n", (unsigned long long)(first_seed + i));
        }
        const bool same = stage_play(stage, steps, step_count);
        if (is_verbose || !same) {
            show(stage);
        }
        if (!same) {
            print_message("# seed %llu differs\n", (unsigned long long)(first_seed + i));
            stage_abandon(stage);
            shrink(steps);
            fail();
        }
    }
    const struct stage_counts *counts = stage_counts(stage);
    print_message(
        "# %llu sequences, %llu steps in %.1f s: %llu waits, %llu granted later, %llu "
        "refused, %llu deadlocks (%llu found first, %llu by the kernel alone), %llu other conflicts told\n",
        (unsigned long long)count,
        (unsigned long long)counts->steps,
        (double)(clock_now_ns() - begin_ns) / 1e9,
        (unsigned long long)counts->waits,
        (unsigned long long)counts->granted_later,
        (unsigned long long)counts->refused,
        (unsigned long long)counts->deadlocks,
        (unsigned long long)counts->found_first,
        (unsigned long long)counts->kernels_alone,
        (unsigned long long)counts->others_told);
    stage_free(stage);
}

static bool parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'c'},
        {"steps", required_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    bool has_count = false;
    int option;
    while ((option = getopt_long(argc, argv, "v", known, NULL)) >= 0) {
        if (option == 's') {
            first_seed = strtoull(optarg, NULL, 10);
            count = has_count ? count : 1;
        } else if (option == 'c') {
            count = strtoull(optarg, NULL, 10);
            has_count = true;
        } else if (option == 'n') {
            step_count = strtoull(optarg, NULL, 10);
        } else if (option == 'v') {
            is_verbose = true;
        } else {
            return false;
        }
    }
    return optind == argc && step_count > 0 && step_count <= STEPS_MAX;
}

int main(int argc, char **argv)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: %s [--seed N] [--count N] [--steps N] [-v]\n", argv[0]);
        return 2;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locks_are_as_the_kernels),
    };
    return cmocka_run_group_tests_name("locks differential", tests, NULL, NULL);
}
