/*
 * holdfast demo, from outside: it is right when all is well, says so when not, and leaves
 * nothing behind however it ends. Its workers have its stdout too, so the end of the output is
 * the end of them all.
 */
#include "lib/folder.h"
#include "lib/process.h"
#include "lib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16
#define PATIENCE_MS 30000

static char directory[FOLDER_PATH_BYTES]; /* the demos' TMPDIR; empty before and after each test */

static const char *holdfast(void)
{
    const char *path = getenv("HOLDFAST");
    assert_non_null(path);
    return path;
}

static int set_up(void **state)
{
    assert_int_equal(folder_make(directory), 0);
    setenv("TMPDIR", directory, 1);
    setenv("LC_ALL", "C", 1);
    return 0;
}

/* Fails if anything is left in it. */
static int tear_down(void **state)
{
    return folder_remove(directory);
}

/* Split @line at its spaces and start `holdfast demo` with it. */
static void start_demo(struct program *program, const char *line)
{
    char copy[256];
    const char *arguments[ARGUMENTS_MAX] = {holdfast(), "demo"};
    size_t count = 2;
    char *rest = NULL;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        assert_true(count < ARGUMENTS_MAX - 1);
        arguments[count++] = word;
    }
    program_start(program, arguments);
}

static int run_demo(struct program *program, const char *line)
{
    start_demo(program, line);
    return program_wait(program);
}

static void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", part, text);
    }
}

/* Read on until the output tells the workers' processes, of which @workers are returned: they
 * have just been told to go. */
static void await_workers(struct program *program, pid_t *workers, size_t count)
{
    static const char before[] = "the clients are processes ";
    const char *at = NULL;
    while (at == NULL || strchr(at, '\n') == NULL) {
        struct pollfd readable = {.fd = program->out, .events = POLLIN};
        const size_t length = strlen(program->output);
        assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
        const ssize_t got =
            read(program->out, program->output + length, sizeof(program->output) - length - 1);
        assert_true(got > 0);
        program->output[length + (size_t)got] = '\0';
        at = strstr(program->output, before);
    }
    at += sizeof(before) - 1;
    for (size_t i = 0; i < count; i++) {
        char *end;
        workers[i] = (pid_t)strtol(at, &end, 10);
        assert_true(workers[i] > 1);
        at = end;
    }
}

/* A run long enough to be interfered with. */
#define LONG_RUN "shared-handle --clients 2 --lines 200000"

/* ---- all is well ---- */

static void test_each_demo_ends_well_and_leaves_nothing(void **state)
{
    static const char *const lines[] = {
        "simple",
        "append --clients 3 --lines 500",
        "shared-handle --clients 3 --lines 500",
        "append --clients 1 --lines 1",
        "shared-handle --clients 1 --lines 1",
        "append --clients 8 --input /dev/null",
        "all --mount direct --clients 3 --lines 500",
        "shared-handle --mount direct --clients 4 --lines 500 --kill=5",
        "all --mount ram --clients 3 --lines 500",
        "all --mount dir --clients 3 --lines 500",
        "append --mount dir --clients 4 --lines 500 --kill=5",
        "append --mount ram:/x/y,size=64M --clients 4 --lines 500 --kill=5",
        "shared-handle --mount ram --clients 4 --lines 500 --kill=5",
        "shared-handle --mount dir --clients 4 --lines 500 --kill=5",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct program program;
        assert_int_equal(run_demo(&program, lines[i]), 0);
        assert_says(program.output, ": checked ");
        assert_string_equal(program.errors, "");
    }
}

static void test_all_runs_the_three(void **state)
{
    struct program program;
    assert_int_equal(run_demo(&program, "all --clients 2 --lines 200"), 0);
    assert_says(program.output, "simple: checked ");
    assert_says(program.output, "append: checked 400 lines: every line there once");
    assert_says(program.output, "shared-handle: checked 400 lines: every line there once");
    assert_says(program.output, "all: all three are right\n");
}

static void test_killed_clients_lose_nothing(void **state)
{
    static const char *const lines[] = {
        "append --clients 4 --lines 3000 --kill=30",
        "shared-handle --clients 4 --lines 3000 --kill=30",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct program program;
        assert_int_equal(run_demo(&program, lines[i]), 0);
        assert_says(program.output, "killed and replaced, ");
        assert_says(program.output, "checked 12,000 lines: every line there once, none torn");
        assert_string_equal(program.errors, "");
    }
}

/* Lines of every kind there is; the file must come out with the bytes that went in. */
static void test_any_file_is_a_legal_input_and_dir_keeps_the_result(void **state)
{
    char input[96];
    char output[96];
    char line[256];
    snprintf(input, sizeof(input), "%s/input", directory);
    snprintf(output, sizeof(output), "%s/demo-shared.txt", directory);
    FILE *file = fopen(input, "w");
    assert_non_null(file);
    fputs("\n\n\nplain\n\r\nwith\r\n\n", file);
    fwrite("nul\0nul\n", 1, 8, file);
    for (int i = 0; i < 20000; i++) {
        fputs(i % 7000 == 6999 ? "x\n" : "longer than pages ", file);
    }
    fputs("\nno newline at the end", file);
    const off_t size = ftello(file);
    assert_int_equal(fclose(file), 0);

    snprintf(line, sizeof(line), "shared-handle --clients 3 --input %s --dir %s", input, directory);
    struct program program;
    const int status = run_demo(&program, line);
    struct stat result;
    const int found = stat(output, &result);
    unlink(output);
    snprintf(line, sizeof(line), "append --clients 3 --kill --input %s", input);
    struct program killing;
    const int killing_status = run_demo(&killing, line);
    unlink(input);

    assert_int_equal(status, 0);
    assert_int_equal(found, 0);
    assert_int_equal(result.st_size, size + 1); /* the newline that was missing */
    assert_int_equal(killing_status, 0);
}

/* ---- the trace ---- */

/* Find @message on a line of its own behind @at. Return: behind that line. */
static const char *next_message(const char *at, const char *message)
{
    char words[16];
    snprintf(words, sizeof(words), "|  %s ", message);
    const char *found = strstr(at, words);
    const char *end = strchr(at, '\n');
    if (found == NULL || end == NULL || found > end) {
        fail_msg("expected %s, got \"%.*s\"", message, end == NULL ? 0 : (int)(end - at), at);
    }
    return end == NULL ? at : end + 1;
}

static void test_the_trace_shows_the_four_messages_of_a_hand_off_in_order(void **state)
{
    struct program program;
    assert_int_equal(run_demo(&program, "simple --trace"), 0);
    const char *at = strstr(program.output, "B appends \"Hello");
    assert_non_null(at);
    at = strchr(at, '\n') + 1;
    at = next_message(at, "ACQUIRE");
    at = next_message(at, "RECALL");
    at = next_message(at, "RELEASE");
    at = next_message(at, "GRANT");
    assert_says(at, "A looks for");
    assert_true(strstr(at, "A looks for") < strchr(at, '\n'));
}

/* ---- something is wrong ---- */

static void test_a_wrong_command_line_is_refused(void **state)
{
    static const char *const lines[] = {
        "",
        "nothing",
        "append extra",
        "append --clients",
        "append --clients 0",
        "append --clients 257",
        "append --clients -1",
        "append --clients four",
        "append --lines 0",
        "append --lines 99999999999999999999",
        "append --kill=0",
        "append --trace=x",
        "append --patience 0",
        "append --unknown",
        "append --lines 5 --input /dev/null",
        "simple --clients 2",
        "simple --lines 2",
        "simple --kill",
        "simple --input /dev/null",
        "simple --mount",
        "simple --mount tmp",
        "simple --mount ram:tmp",
        "simple --mount ram --dir /tmp",
        "simple --mount dir:/tmp:/ --dir /tmp",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct program program;
        assert_int_equal(run_demo(&program, lines[i]), 2);
        assert_says(program.errors, "usage: holdfast demo ");
        assert_string_equal(program.output, "");
    }
}

static void test_help_is_no_error(void **state)
{
    struct program program;
    assert_int_equal(run_demo(&program, "--help"), 0);
    assert_says(program.output, "usage: holdfast demo ");
    assert_string_equal(program.errors, "");
}

static void test_what_cannot_be_used_is_named(void **state)
{
    struct program program;
    assert_int_equal(run_demo(&program, "append --input /nowhere/at/all"), 1);
    assert_says(program.errors, "/nowhere/at/all: No such file");
    assert_int_equal(run_demo(&program, "append --dir /dev/null"), 1);
    assert_says(program.errors, "/dev/null");
    assert_int_equal(run_demo(&program, "append --mount direct:/nowhere/at/all:/"), 1);
    assert_says(program.errors, "mount at \"/\": SOURCE \"/nowhere/at/all\": No such file");
    assert_int_equal(run_demo(&program, "append --dir /nowhere/at/all"), 1);
    assert_says(program.errors, "/nowhere/at/all");
}

/* Somebody overwrites a byte that is already written. */
static void test_a_damaged_file_is_noticed(void **state)
{
    char path[96];
    char line[160];
    snprintf(path, sizeof(path), "%s/demo-shared.txt", directory);
    /* It is run to its end, so not for longer than it takes to do the damage. */
    snprintf(line, sizeof(line), "shared-handle --clients 2 --lines 50000 --dir %s", directory);
    const int watch = inotify_init1(IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, directory, IN_MODIFY) >= 0);

    struct program program;
    start_demo(&program, line);
    struct pollfd readable = {.fd = watch, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
    close(watch);
    const int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, "X", 1, 0), 1);
    close(file);
    const int status = program_wait(&program);
    unlink(path);
    assert_int_equal(status, 1);
    assert_says(program.errors, "the file is wrong: 1 lost, 1 torn, 0 doubled, 0 out of order");
    assert_says(program.errors, "torn: at byte 0: \"Xlient ");
}

static void test_a_client_that_is_killed_from_outside_fails_the_demo(void **state)
{
    struct program program;
    pid_t worker;
    start_demo(&program, LONG_RUN);
    await_workers(&program, &worker, 1);
    kill(worker, SIGKILL);
    assert_int_equal(program_wait(&program), 1);
    assert_says(program.errors, "client 1 (process ");
    assert_says(program.errors, "was ended by signal 9");
}

/* One is stopped, perhaps with the handle that all others wait for. */
static void test_a_client_that_hangs_does_not_hang_the_demo(void **state)
{
    struct program program;
    pid_t workers[2];
    start_demo(&program, LONG_RUN " --patience 1");
    await_workers(&program, workers, 2);
    kill(workers[0], SIGSTOP);
    kill(workers[1], SIGSTOP);
    assert_int_equal(program_wait(&program), 1);
    assert_says(program.errors, "no line was written for 1 s; waiting no longer");
    assert_says(program.errors, "client 2 (process ");
}

static void test_a_signal_ends_it_and_leaves_nothing(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct program program;
        pid_t worker;
        start_demo(&program, LONG_RUN);
        await_workers(&program, &worker, 1);
        kill(program.pid, signals[i]);
        assert_int_equal(program_wait(&program), -signals[i]);
        assert_null(strstr(program.output, "checked"));
    }
}

/* Also the demo that takes no time: it cannot end before its output has been read. */
static void test_a_signal_ends_simple_as_that_signal_does(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct program program;
        start_demo(&program, "simple --trace");
        struct pollfd readable = {.fd = program.out, .events = POLLIN};
        assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
        kill(program.pid, signals[i]);
        assert_int_equal(program_wait(&program), -signals[i]);
        assert_null(strstr(program.output, "checked"));
    }
}

/* Nothing can remove the directory then; it is given, so that the test can. */
static void test_its_workers_die_with_it(void **state)
{
    char path[96];
    char line[160];
    snprintf(path, sizeof(path), "%s/demo-shared.txt", directory);
    snprintf(line, sizeof(line), LONG_RUN " --dir %s", directory);
    struct program program;
    pid_t worker;
    start_demo(&program, line);
    await_workers(&program, &worker, 1);
    kill(program.pid, SIGKILL);
    assert_int_equal(program_wait(&program), -SIGKILL);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_each_demo_ends_well_and_leaves_nothing),
        TEST(test_all_runs_the_three),
        TEST(test_killed_clients_lose_nothing),
        TEST(test_any_file_is_a_legal_input_and_dir_keeps_the_result),
        TEST(test_the_trace_shows_the_four_messages_of_a_hand_off_in_order),
        TEST(test_a_wrong_command_line_is_refused),
        TEST(test_help_is_no_error),
        TEST(test_what_cannot_be_used_is_named),
        TEST(test_a_damaged_file_is_noticed),
        TEST(test_a_client_that_is_killed_from_outside_fails_the_demo),
        TEST(test_a_client_that_hangs_does_not_hang_the_demo),
        TEST(test_a_signal_ends_it_and_leaves_nothing),
        TEST(test_a_signal_ends_simple_as_that_signal_does),
        TEST(test_its_workers_die_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
