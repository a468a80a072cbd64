/*
 * One path, one server: what may be replaced, what may not, and what is left afterwards.
 */
#include "server/listener.h"

#include "lib/folder.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fork_guard guard;
static char folder[FOLDER_PATH_BYTES];
static char address[96];
#define PATH (address + 5) /* what comes after "unix:" */

static int set_up(void **state)
{
    if (folder_make(folder) != 0) {
        return -1;
    }
    snprintf(address, sizeof(address), "unix:%s/socket", folder);
    return fork_guard_init(&guard);
}

static int tear_down(void **state)
{
    fork_guard_deinit(&guard);
    return folder_remove(folder); /* fails when a file is left */
}

/* A socket file whose server was killed. */
static void leave_stale_socket(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", PATH);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(fd, 1), 0);
    close(fd);
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_both_files_are_removed_at_the_end(void **state)
{
    struct listener listener;
    char lock[160];
    snprintf(lock, sizeof(lock), "%s.lock", PATH);
    assert_int_equal(listener_open(&listener, &guard, address, 0600), 0);
    assert_int_equal(access(PATH, F_OK), 0);
    assert_int_equal(access(lock, F_OK), 0);
    listener_close(&listener, &guard);
    assert_int_equal(access(PATH, F_OK), -1);
    assert_int_equal(access(lock, F_OK), -1);
}

static void test_a_stale_socket_is_replaced(void **state)
{
    struct listener listener;
    leave_stale_socket();
    assert_int_equal(listener_open(&listener, &guard, address, 0600), 0);
    listener_close(&listener, &guard);
}

static void test_a_live_server_is_left_alone(void **state)
{
    struct listener first, second;
    assert_int_equal(listener_open(&first, &guard, address, 0600), 0);
    assert_int_equal(listener_open(&second, &guard, address, 0600), -EADDRINUSE);
    assert_int_equal(access(PATH, F_OK), 0);
    listener_close(&first, &guard);
}

/* As when a cleaner of temporary files took the lock file. */
static void test_a_live_server_without_its_lock_file_is_left_alone(void **state)
{
    struct listener first, second;
    char lock[160];
    snprintf(lock, sizeof(lock), "%s.lock", PATH);
    assert_int_equal(listener_open(&first, &guard, address, 0600), 0);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(listener_open(&second, &guard, address, 0600), -EADDRINUSE);
    listener_close(&first, &guard);
}

/* A server that lost its files to a later one does not take away that one's. */
static void test_the_socket_of_a_successor_is_left_alone(void **state)
{
    struct listener first, second;
    char lock[160];
    snprintf(lock, sizeof(lock), "%s.lock", PATH);
    assert_int_equal(listener_open(&first, &guard, address, 0600), 0);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(unlink(PATH), 0);
    assert_int_equal(listener_open(&second, &guard, address, 0600), 0);
    listener_close(&first, &guard);
    assert_int_equal(access(PATH, F_OK), 0);
    assert_int_equal(access(lock, F_OK), 0);
    listener_close(&second, &guard);
}

static void test_what_is_not_a_socket_stays(void **state)
{
    struct listener listener;
    make_file(PATH, "precious");
    assert_int_equal(listener_open(&listener, &guard, address, 0600), -EEXIST);
    assert_int_equal(unlink(PATH), 0);
    assert_int_equal(mkdir(PATH, 0700), 0);
    assert_int_equal(listener_open(&listener, &guard, address, 0600), -EEXIST);
    assert_int_equal(rmdir(PATH), 0);
}

static void test_a_lock_file_that_is_not_ours_stays(void **state)
{
    struct listener listener;
    char lock[160];
    snprintf(lock, sizeof(lock), "%s.lock", PATH);
    make_file(lock, "precious");
    assert_int_equal(listener_open(&listener, &guard, address, 0600), -EEXIST);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(symlink("elsewhere", lock), 0);
    assert_int_equal(listener_open(&listener, &guard, address, 0600), -EEXIST);
    assert_int_equal(unlink(lock), 0);
}

static void test_addresses_that_cannot_be(void **state)
{
    struct listener listener;
    char longest[160];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "unix:", 5);
    longest[5 + 108] = '\0';
    assert_int_equal(listener_open(&listener, &guard, longest, 0600), -ENAMETOOLONG);
    assert_int_equal(listener_open(&listener, &guard, "unix:", 0600), -EINVAL);
    assert_int_equal(listener_open(&listener, &guard, "unix:/tmp/", 0600), -EINVAL);
    assert_int_equal(listener_open(&listener, &guard, "tcp:1", 0600), -EINVAL);
    assert_int_equal(listener_open(&listener, &guard, "", 0600), -EINVAL);
    assert_int_equal(listener_open(&listener, &guard, "unix:/nonexistent/socket", 0600), -ENOENT);
}

static void test_the_mode_does_not_depend_on_the_umask(void **state)
{
    const mode_t masks[] = {0, 022, 0777};
    for (size_t i = 0; i < 3; i++) {
        struct listener listener;
        mode_t before = umask(masks[i]);
        assert_int_equal(listener_open(&listener, &guard, address, 0600), 0);
        assert_int_equal(mode_of(PATH), 0600);
        listener_close(&listener, &guard);
        assert_int_equal(listener_open(&listener, &guard, address, 0666), 0);
        assert_int_equal(mode_of(PATH), 0666);
        listener_close(&listener, &guard);
        umask(before);
    }
}

static void test_a_relative_path_is_found_again_from_elsewhere(void **state)
{
    struct listener listener;
    int home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(listener_open(&listener, &guard, "unix:socket", 0600), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(access(PATH, F_OK), 0);
    listener_close(&listener, &guard);
    assert_int_equal(fchdir(home), 0);
    close(home);
}

/* Many processes find the same stale socket at the same moment: one gets it, the others are told,
 * and that one is reachable. */
static void test_a_race_has_one_winner(void **state)
{
    enum { RACERS = 8, ROUNDS = 20 };
    for (int round = 0; round < ROUNDS; round++) {
        int start[2], results[2], finish[2];
        leave_stale_socket();
        assert_int_equal(pipe(start), 0);
        assert_int_equal(pipe(results), 0);
        assert_int_equal(pipe(finish), 0);
        pid_t children[RACERS];
        for (int i = 0; i < RACERS; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                struct listener listener;
                char byte;
                close(start[1]);
                close(finish[1]);
                (void)!read(start[0], &byte, 1); /* the end of the pipe is the signal */
                int result = listener_open(&listener, &guard, address, 0600);
                (void)!write(results[1], &result, sizeof(result));
                (void)!read(finish[0], &byte, 1);
                listener_close(&listener, &guard);
                _exit(0);
            }
        }
        close(start[0]);
        close(finish[0]);
        close(start[1]);
        int winners = 0;
        for (int i = 0; i < RACERS; i++) {
            int result = 1;
            assert_int_equal(read(results[0], &result, sizeof(result)), sizeof(result));
            assert_true(result == 0 || result == -EADDRINUSE);
            winners += result == 0;
        }
        assert_int_equal(winners, 1);
        close(finish[1]);
        for (int i = 0; i < RACERS; i++) {
            waitpid(children[i], NULL, 0);
        }
        close(results[0]);
        close(results[1]);
        assert_int_equal(access(PATH, F_OK), -1);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_both_files_are_removed_at_the_end),
        TEST(test_a_stale_socket_is_replaced),
        TEST(test_a_live_server_is_left_alone),
        TEST(test_a_live_server_without_its_lock_file_is_left_alone),
        TEST(test_the_socket_of_a_successor_is_left_alone),
        TEST(test_what_is_not_a_socket_stays),
        TEST(test_a_lock_file_that_is_not_ours_stays),
        TEST(test_addresses_that_cannot_be),
        TEST(test_the_mode_does_not_depend_on_the_umask),
        TEST(test_a_relative_path_is_found_again_from_elsewhere),
        TEST(test_a_race_has_one_winner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
