#include "lib/process.h"

#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 30000

static int reap(pid_t pid)
{
    int status = 0;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    assert_int_equal(got, pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- a program ---- */

void program_start(struct program *program, const char *const *arguments)
{
    int out[2], err[2];
    *program = (struct program){.pid = -1};
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    /* A program that says more than that cannot be over before its test has listened. */
    assert_int_equal(fcntl(out[0], F_SETPIPE_SZ, PROGRAM_PIPE_BYTES), PROGRAM_PIPE_BYTES);
    program->pid = fork();
    if (program->pid == 0) {
        /* execv() takes what it does not change as if it might. */
        char *copies[32] = {NULL};
        for (size_t i = 0; i < 31 && arguments[i] != NULL; i++) {
            copies[i] = strdup(arguments[i]);
        }
        if (dup2(out[1], STDOUT_FILENO) >= 0 && dup2(err[1], STDERR_FILENO) >= 0) {
            execv(copies[0], copies);
        }
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    assert_true(program->pid > 0);
    program->out = out[0];
    program->err = err[0];
}

/* Append what is there. False at the end. */
static bool read_more(int fd, char *text, size_t size)
{
    const size_t length = strlen(text);
    char rest[512];
    const size_t room = size - length - 1;
    const ssize_t got = room > 0 ? read(fd, text + length, room) : read(fd, rest, sizeof(rest));
    if (got > 0 && room > 0) {
        text[length + (size_t)got] = '\0';
    }
    return got > 0;
}

static bool has_line(const char *text, const char *line)
{
    const size_t length = strlen(line);
    for (const char *at = text; at != NULL; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        if (strncmp(at, line, length) == 0 && at[length] == '\n') {
            return true;
        }
    }
    return false;
}

void program_expect_line(struct program *program, const char *line)
{
    while (!has_line(program->output, line)) {
        struct pollfd readable = {.fd = program->out, .events = POLLIN};
        if (poll(&readable, 1, PATIENCE_MS) <= 0 ||
            !read_more(program->out, program->output, sizeof(program->output))) {
            kill(program->pid, SIGKILL);
            program_wait(program);
            fail_msg(
                "expected '%s'; output '%s', errors '%s'", line, program->output, program->errors);
        }
    }
}

int program_wait(struct program *program)
{
    bool out_open = program->out >= 0, err_open = program->err >= 0;
    while (out_open || err_open) {
        struct pollfd readable[2] = {
            {.fd = out_open ? program->out : -1, .events = POLLIN},
            {.fd = err_open ? program->err : -1, .events = POLLIN},
        };
        if (poll(readable, 2, PATIENCE_MS) == 0) {
            kill(program->pid, SIGKILL);
            reap(program->pid);
            fail_msg("it does not end; output '%s'", program->output);
        }
        if (readable[0].revents != 0) {
            out_open = read_more(program->out, program->output, sizeof(program->output));
        }
        if (readable[1].revents != 0) {
            err_open = read_more(program->err, program->errors, sizeof(program->errors));
        }
    }
    if (program->out >= 0) {
        close(program->out);
    }
    if (program->err >= 0) {
        close(program->err);
    }
    return reap(program->pid);
}

int program_run(struct program *program, const char *const *arguments)
{
    program_start(program, arguments);
    return program_wait(program);
}

/* ---- a child ---- */

void child_start(struct child *child, int (*play)(const struct child *self, void *context),
                 void *context)
{
    int reports[2], hold[2];
    assert_int_equal(pipe2(reports, O_CLOEXEC), 0);
    assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
    child->pid = fork();
    if (child->pid == 0) {
        close(reports[0]);
        close(hold[1]);
        const struct child self = {.pid = getpid(), .reports = reports[1], .hold = hold[0]};
        _exit(play(&self, context));
    }
    close(reports[1]);
    close(hold[0]);
    assert_true(child->pid > 0);
    child->reports = reports[0];
    child->hold = hold[1];
}

void child_report(const struct child *self, char what)
{
    if (write(self->reports, &what, 1) != 1) {
        _exit(101);
    }
}

void child_wait_to_end(const struct child *self)
{
    char byte;
    while (read(self->hold, &byte, 1) < 0 && errno == EINTR) {
    }
}

void child_expect(struct child *child, char what)
{
    char got = '-';
    struct pollfd readable = {.fd = child->reports, .events = POLLIN};
    if (poll(&readable, 1, PATIENCE_MS) != 1 || read(child->reports, &got, 1) != 1 || got != what) {
        child_kill(child);
        fail_msg("expected report '%c', got '%c'", what, got);
    }
}

static int finish(struct child *child)
{
    close(child->hold);
    close(child->reports);
    return reap(child->pid);
}

void child_kill(struct child *child)
{
    kill(child->pid, SIGKILL);
    finish(child);
}

int child_end(struct child *child)
{
    return finish(child);
}
