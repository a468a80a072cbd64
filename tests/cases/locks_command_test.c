/*
 * `holdfast locks` shows who has which locks, who waits for what and which deadlock there was; and says
 * what is wrong when it cannot.
 */
#include "fs_locks.h"

#include "lib/process.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_A, CLIENT_B, PID };

/* Writes to all of "/d/two" but its first ten bytes are waited for. */
static void *wait_for_two(void *argument)
{
    const struct pair *pair = argument;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10};
    CHECK_EQUAL(hf_lock(pair->a, pair->a_fd, F_SETLKW, &lock, NULL), 0);
    return NULL;
}

/*
 * A has 0-99 of "/d/one" and waits for B, which has all of "/d/two" and would not get a byte of
 * "/d/one". A flock is there too.
 */
static void play(struct fs_world *world, void *argument)
{
    pthread_t thread;
    hf_fs *a = world->fs, *b = fs_world_visit(world);
    CHECK_EQUAL(hf_mkdir(a, "/d", 0755), 0);
    const int one = open_file(a, "/d/one"), one_of_b = open_file(b, "/d/one");
    const int two = open_file(a, "/d/two"), two_of_b = open_file(b, "/d/two");
    struct pair waiting = {.a = a, .a_fd = two};
    CHECK_EQUAL(set_range(a, one, F_SETLK, F_WRLCK, 0, 100), 0);
    CHECK_EQUAL(set_range(b, two_of_b, F_SETLK, F_RDLCK, 0, 0), 0);
    CHECK_EQUAL(hf_flock(b, two_of_b, LOCK_SH, NULL), 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_for_two, &waiting), 0);
    await_waiting(world->client, 1);
    struct flock byte = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1};
    CHECK_EQUAL(hf_lock(b, one_of_b, F_SETLKW, &byte, NULL), -EDEADLK);

    atomic_store(&world->shared->slots[CLIENT_A], hf_client_number(a->client));
    atomic_store(&world->shared->slots[CLIENT_B], hf_client_number(b->client));
    atomic_store(&world->shared->slots[PID], (uint64_t)getpid());
    fs_world_meet(world); /* it is looked at */
    fs_world_meet(world);
    hf_fs_detach(b);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(hf_close(a, two), 0);
    CHECK_EQUAL(hf_close(a, one), 0);
    fs_world_meet(world); /* and again */
    fs_world_meet(world);
}

static void expect_line(const char *output, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void expect_line(const char *output, const char *format, ...)
{
    char line[256], found[258];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    snprintf(found, sizeof found, "%s\n", line);
    if (strstr(output, found) == NULL) {
        fail_msg("no line \"%s\" in:\n%s", line, output);
    }
}

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;
    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}

static void run_it(const struct fs_world *world, struct program *program)
{
    const char *arguments[] = {getenv("HOLDFAST"), "locks", world->server.address, NULL};
    assert_non_null(arguments[0]);
    assert_int_equal(program_run(program, arguments), 0);
    assert_string_equal(program->errors, "");
}

static void test_it_shows_who_has_and_who_waits(void **state)
{
    struct fs_world world;
    struct program program;
    fs_world_init(&world);
    pid_t actor = fs_world_start(&world, play, NULL);
    fs_world_meet(&world);
    const unsigned long a = atomic_load(&world.shared->slots[CLIENT_A]);
    const unsigned long b = atomic_load(&world.shared->slots[CLIENT_B]);
    const unsigned long pid = atomic_load(&world.shared->slots[PID]);

    run_it(&world, &program);
    expect_line(program.output,
                "/d/one\n  holds   posix write 0-99              client %lu, pid %lu",
                a,
                pid);
    expect_line(
        program.output, "  holds   posix read 0-                 client %lu, pid %lu", b, pid);
    expect_line(
        program.output, "  holds   flock read                    client %lu, pid %lu", b, pid);
    expect_line(
        program.output,
        "  waits   posix write 10-               client %lu, pid %lu; in its way: client %lu, "
        "pid %lu",
        a,
        pid,
        b,
        pid);
    expect_line(program.output,
                "deadlock 1, each waiting for the next and the last for the first\n"
                "  refused posix write 5-5               client %lu, pid %lu, /d/one\n"
                "  waited  posix write 10-               client %lu, pid %lu, /d/two",
                b,
                pid,
                a,
                pid);
    assert_int_equal(lines_of(program.output), 9);
    fs_world_meet(&world);

    fs_world_meet(&world);
    run_it(&world, &program);
    assert_int_equal(lines_of(program.output), 3); /* the deadlock is remembered */
    fs_world_meet(&world);
    fs_world_wait(actor);
    fs_world_deinit(&world);
}

static void test_without_locks_it_says_so(void **state)
{
    struct fs_world world;
    struct program program;
    fs_world_init(&world);
    run_it(&world, &program);
    assert_string_equal(program.output, "no file locks\n");
    fs_world_deinit(&world);
}

static void test_what_is_wrong_is_said(void **state)
{
    struct program program;
    const char *arguments[] = {getenv("HOLDFAST"), "locks", "unix:/nowhere/socket", NULL};
    assert_int_equal(program_run(&program, arguments), 1);
    assert_string_equal(program.output, "");
    assert_non_null(strstr(program.errors, "unix:/nowhere/socket: No such file or directory"));
    arguments[2] = NULL;
    assert_int_equal(program_run(&program, arguments), 2);
    assert_non_null(strstr(program.errors, "an address is missing"));
    assert_non_null(strstr(program.errors, "usage: holdfast locks unix:PATH"));
    const char *help[] = {getenv("HOLDFAST"), "locks", "--help", NULL};
    assert_int_equal(program_run(&program, help), 0);
    assert_non_null(strstr(program.output, "usage: holdfast locks unix:PATH"));
    const char *two[] = {getenv("HOLDFAST"), "locks", "unix:a", "unix:b", NULL};
    assert_int_equal(program_run(&program, two), 2);
    const char *unknown[] = {getenv("HOLDFAST"), "locks", "--what", NULL};
    assert_int_equal(program_run(&program, unknown), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_shows_who_has_and_who_waits),
        cmocka_unit_test(test_without_locks_it_says_so),
        cmocka_unit_test(test_what_is_wrong_is_said),
    };
    return cmocka_run_group_tests_name("locks command", tests, NULL, NULL);
}
