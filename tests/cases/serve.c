/*
 * holdfast serve, from outside.
 */
#include "lib/folder.h"
#include "lib/process.h"
#include "lib/raw_client.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534

static const char *holdfast;
static char folder[FOLDER_PATH_BYTES];
static char address[96];
static char serving[128];  /* the line that says so */
#define PATH (address + 5) /* what comes after "unix:" */

static int set_up(void **state)
{
    holdfast = getenv("HOLDFAST");
    if (holdfast == NULL || folder_make(folder) != 0) {
        return -1;
    }
    chmod(folder, 0755); /* other users come here too */
    snprintf(address, sizeof(address), "unix:%s/socket", folder);
    snprintf(serving, sizeof(serving), "holdfast: serving %s", address);
    return 0;
}

static int tear_down(void **state)
{
    return folder_remove(folder); /* fails when a file is left */
}

static void serve_with(struct program *program, const char *option, const char *argument)
{
    const char *const arguments[] = {
        holdfast, "serve", "--listen", address, option, argument, NULL};
    program_start(program, arguments);
    program_expect_line(program, serving);
}

static void serve(struct program *program)
{
    serve_with(program, NULL, NULL);
}

static void end_with(struct program *program, int number)
{
    kill(program->pid, number);
    assert_int_equal(program_wait(program), 0);
    assert_int_equal(access(PATH, F_OK), -1);
}

static void test_signals_end_it_and_leave_no_file(void **state)
{
    const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < 3; i++) {
        struct program program;
        struct raw_client client;
        serve(&program);
        raw_join(&client, address, "client");
        raw_round_trip(&client);
        end_with(&program, numbers[i]);
        raw_expect_goodbye(&client, WIRE_REASON_SHUTDOWN);
        raw_close(&client);
        assert_string_equal(program.errors, "");
    }
}

static void test_a_stale_socket_is_replaced(void **state)
{
    struct program program;
    struct raw_client client;
    serve(&program);
    kill(program.pid, SIGKILL);
    assert_int_equal(program_wait(&program), -SIGKILL);
    assert_int_equal(access(PATH, F_OK), 0);

    serve(&program);
    raw_join(&client, address, "client");
    raw_round_trip(&client);
    raw_close(&client);
    end_with(&program, SIGTERM);
}

static void expect_failure(const char *listen, const char *complaint)
{
    struct program program;
    const char *const arguments[] = {holdfast, "serve", "--listen", listen, NULL};
    assert_int_equal(program_run(&program, arguments), 1);
    assert_string_equal(program.output, "");
    if (strstr(program.errors, complaint) == NULL) {
        fail_msg("expected '%s' in: %s", complaint, program.errors);
    }
}

static void test_a_live_server_is_left_alone(void **state)
{
    struct program program;
    struct raw_client client;
    char complaint[160];
    serve(&program);
    raw_join(&client, address, "client");
    snprintf(complaint, sizeof(complaint), "holdfast serve: %s: another server is live", PATH);
    expect_failure(address, complaint);
    raw_round_trip(&client);
    raw_close(&client);
    end_with(&program, SIGTERM);
}

static void test_paths_that_cannot_be_served(void **state)
{
    char too_long[200];
    memset(too_long, 'x', sizeof(too_long) - 1);
    memcpy(too_long, "unix:", 5);
    too_long[sizeof(too_long) - 1] = '\0';
    expect_failure(too_long, "too long for a socket");
    expect_failure("unix:/nonexistent/socket", "no such directory");

    int fd = open(PATH, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    expect_failure(address, "remove it");
    assert_int_equal(unlink(PATH), 0);
}

static void test_mounts_that_cannot_be_made(void **state)
{
    struct program program;
    const char *const arguments[] = {
        holdfast, "serve", "--listen", address, "--mount", "direct:/nonexistent:/src", NULL};
    assert_int_equal(program_run(&program, arguments), 1);
    assert_string_equal(program.output, "");
    assert_string_equal(program.errors,
                        "holdfast serve: mount at \"/src\": SOURCE \"/nonexistent\": No such file "
                        "or directory; it must be a directory that is there\n");
    assert_int_equal(access(PATH, F_OK), -1);
}

static void expect_usage(const char *const *arguments, const char *complaint)
{
    struct program program;
    assert_int_equal(program_run(&program, arguments), 2);
    assert_string_equal(program.output, "");
    assert_non_null(strstr(program.errors, "usage: holdfast"));
    if (strstr(program.errors, complaint) == NULL) {
        fail_msg("expected '%s' in: %s", complaint, program.errors);
    }
}

static void test_wrong_command_lines(void **state)
{
#define USAGE(complaint, ...) expect_usage((const char *[]){holdfast, __VA_ARGS__, NULL}, complaint)
    expect_usage((const char *[]){holdfast, NULL}, "usage: holdfast SUBCOMMAND");
    USAGE("holdfast: sevre: no such subcommand", "sevre");
    USAGE("holdfast: --sevre: no such option", "--sevre");
    USAGE("holdfast: more: what is this?", "--version", "more");
    USAGE("holdfast serve: --listen is missing", "serve");
    USAGE("must be unix:PATH", "serve", "--listen", "tcp:80");
    USAGE("must be unix:PATH", "serve", "--listen", "unix:");
    USAGE("unrecognized option '--port'", "serve", "--port", "80");
    USAGE("requires an argument", "serve", "--listen");
    USAGE("holdfast serve: more: what is this?", "serve", "--listen", address, "more");
    USAGE("holdfast serve: --limit handles=abc: not a number", "serve", "-L", "handles=abc");
    USAGE("--limit handles=-1: not a number", "serve", "-L", "handles=-1");
    USAGE("--limit handles=0: must be 1 to 4294967295", "serve", "-L", "handles=0");
    USAGE("--limit handles=: not a number", "serve", "-L", "handles=");
    USAGE("--limit handles: must be NAME=VALUE", "serve", "-L", "handles");
    USAGE("--limit hands=1: no limit of that name", "serve", "-L", "hands=1");
    USAGE("must be 0 to 4096", "serve", "-L", "value_bytes=4097");
    USAGE("not a number", "serve", "-L", "clients=9x");
    USAGE("must be", "serve", "-L", "clients=99999999999999999999999");
    USAGE("holdfast serve: --mount \"ram:tmp\": PATH must begin with a slash",
          "serve",
          "--mount",
          "ram:tmp");
    USAGE("--mount \"ram:/a,sizes=1\": sizes: no such option", "serve", "-m", "ram:/a,sizes=1");
    USAGE("--mount \"tmp\": must begin with ram: or dir: or direct:", "serve", "-m", "tmp");
    USAGE("--allow-uid root: not a number", "serve", "--allow-uid", "root");
    USAGE("--allow-uid 4294967295: must be 0 to", "serve", "--allow-uid", "4294967295");
#undef USAGE
}

static void expect_help(const char *const *arguments, const char *text)
{
    struct program program;
    assert_int_equal(program_run(&program, arguments), 0);
    assert_non_null(strstr(program.output, text));
    assert_string_equal(program.errors, "");
}

static void test_help_and_version(void **state)
{
    expect_help((const char *[]){holdfast, "--help", NULL}, "run a server in the foreground");
    expect_help((const char *[]){holdfast, "--version", NULL}, "holdfast " HF_VERSION "\n");
    expect_help((const char *[]){holdfast, "serve", "--help", NULL}, "--allow-uid UID");
    expect_help((const char *[]){holdfast, "serve", "-h", NULL}, "handles=4000000");
    expect_help((const char *[]){holdfast, "serve", "--help", NULL}, "  dir:SOURCE:PATH  ");
}

static void test_a_limit_from_the_command_line(void **state)
{
    struct program program;
    struct raw_client client;
    serve_with(&program, "--limit", "handles=1");
    raw_join(&client, address, "client");
    raw_hold(&client, 1, HF_SHARED);
    raw_acquire(&client, 2, HF_SHARED, 0);
    assert_int_equal(raw_expect(&client, WIRE_GRANT).reason, WIRE_REASON_HANDLE_LIMIT);
    raw_close(&client);
    end_with(&program, SIGTERM);
}

/* ---- who is admitted ---- */

/* A client of another user reports how far it comes: connected, welcomed, sent away. */
static int come_as_nobody(const struct child *self, void *context)
{
    struct raw_client client;
    struct wire_message message;
    if (setresuid(NOBODY, NOBODY, NOBODY) != 0) {
        return 1;
    }
    const int fd = raw_dial(address);
    if (fd < 0) {
        child_report(self, fd == -EACCES ? 'a' : '?');
        return 0;
    }
    raw_init(&client, fd);
    raw_send(&client,
             &(struct wire_message){
                 .kind = WIRE_HELLO, .magic = WIRE_MAGIC, .wire_version = WIRE_VERSION});
    if (raw_next(&client, &message) != RAW_MESSAGE) {
        child_report(self, '?');
    } else if (message.kind == WIRE_WELCOME) {
        child_report(self, 'w');
    } else {
        child_report(
            self,
            message.kind == WIRE_GOODBYE && message.reason == WIRE_REASON_NOT_ADMITTED ? 'n' : '?');
    }
    raw_close(&client);
    return 0;
}

static void expect_of_nobody(char what)
{
    struct child child;
    child_start(&child, come_as_nobody, NULL);
    child_expect(&child, what);
    assert_int_equal(child_end(&child), 0);
}

static void test_other_users_are_refused_unless_named(void **state)
{
    struct program program;
    if (geteuid() != 0) {
        skip(); /* only root can become another user */
    }
    serve(&program);
    expect_of_nobody('a'); /* by the mode of the socket */
    end_with(&program, SIGTERM);

    serve_with(&program, "--allow-uid", "12345");
    expect_of_nobody('n'); /* by the server */
    end_with(&program, SIGTERM);
    assert_non_null(strstr(program.errors, "uid 65534): refused: this user is not admitted"));

    serve_with(&program, "--allow-uid", "65534");
    expect_of_nobody('w');
    struct raw_client own;
    raw_join(&own, address, "own");
    raw_close(&own);
    end_with(&program, SIGTERM);
}

/* ---- its log ---- */

static void test_connections_are_logged_when_asked_for(void **state)
{
    struct program program;
    struct raw_client client;
    serve_with(&program, "--verbose", NULL);
    raw_join(&client, address, "somebody");
    raw_close(&client);
    end_with(&program, SIGTERM);
    assert_non_null(strstr(program.errors, "client 1 (somebody, pid"));
    assert_non_null(strstr(program.errors, "): connected\n"));
}

static void test_it_outlives_the_reader_of_its_log(void **state)
{
    struct program program;
    struct raw_client client;
    serve_with(&program, "-v", NULL);
    close(program.err);
    program.err = -1;
    for (int i = 0; i < 3; i++) {
        raw_join(&client, address, "client");
        raw_round_trip(&client);
        raw_close(&client);
    }
    end_with(&program, SIGTERM);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_signals_end_it_and_leave_no_file),
        TEST(test_a_stale_socket_is_replaced),
        TEST(test_a_live_server_is_left_alone),
        TEST(test_paths_that_cannot_be_served),
        TEST(test_mounts_that_cannot_be_made),
        TEST(test_wrong_command_lines),
        TEST(test_help_and_version),
        TEST(test_a_limit_from_the_command_line),
        TEST(test_other_users_are_refused_unless_named),
        TEST(test_connections_are_logged_when_asked_for),
        TEST(test_it_outlives_the_reader_of_its_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
