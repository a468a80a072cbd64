#include "lib/puppet.h"

#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/mount.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_SECONDS 50

static const char own_name[] = "puppet";

/* Where a puppet finds its sockets. */
enum { COMMANDS = 3, OTHER = 4 };

struct answer {
    int64_t result;
    size_t size;
    char text[PUPPET_TEXT_BYTES];
};

/* ---- in the puppet ---- */

static hf_client *client;
static hf_fs *fs;

static int64_t fork_and_write(int fd, const char *text, size_t size)
{
    int status;
    const pid_t pid = hf_fork();
    if (pid == 0) {
        _exit(hf_write(fs, fd, text, size) == (ssize_t)size ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static int64_t messages_sent(void)
{
    hf_client_stats stats;
    hf_client_get_stats(client, &stats);
    return (int64_t)(stats.acquires_sent + stats.releases_sent + stats.cancels_sent +
                     stats.parks_sent);
}

static int64_t set_limit(int64_t descriptors)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = descriptors > 0 ? (rlim_t)descriptors : limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}

/* What was put into the answer's text says its result. */
static int64_t with_text(struct answer *answer, ssize_t size)
{
    answer->size = size > 0 ? (size_t)size : 0;
    return size;
}

static int64_t obey_moving(const struct puppet_command *command, struct answer *answer)
{
    const int fd = (int)command->a;
    const size_t room = sizeof answer->text;
    switch (command->verb) {
    case PUPPET_EXPORT:
        return with_text(answer,
                         hf_export(fs, answer->text, command->a > 0 ? (size_t)command->a : room));
    case PUPPET_IMPORT:
        return hf_import(fs, command->text, command->size);
    case PUPPET_EXPORT_FILE:
        return with_text(answer, hf_export_file(fs, fd, answer->text, room));
    case PUPPET_IMPORT_FILE:
        return hf_import_file(fs, command->text, command->size, (int)command->a);
    case PUPPET_DROP:
        return hf_export_drop(fs, command->text, command->size);
    case PUPPET_SEND:
        return hf_send_file(fs, OTHER, fd);
    case PUPPET_RECEIVE:
        return hf_receive_file(fs, OTHER, (int)command->a);
    case PUPPET_FORK_WRITE:
        return fork_and_write(fd, command->text, command->size);
    case PUPPET_LIMIT:
        return set_limit(command->a);
    case PUPPET_SENT:
        return messages_sent();
    default:
        _exit(0);
    }
}

static int64_t obey_names(const struct puppet_command *command, struct answer *answer)
{
    const int fd = (int)command->a;
    hf_dirent entry;
    int64_t result;
    switch (command->verb) {
    case PUPPET_UNLINK:
        return hf_unlink(fs, command->text);
    case PUPPET_CHDIR:
        return hf_chdir(fs, command->text);
    case PUPPET_GETCWD:
        return with_text(answer, hf_getcwd(fs, answer->text, sizeof answer->text));
    case PUPPET_UMASK:
        return (int64_t)hf_umask(fs, (mode_t)command->a);
    case PUPPET_READDIR:
        result = hf_readdir(fs, fd, &entry);
        if (result > 0) {
            answer->size = strlen(entry.name);
            memcpy(answer->text, entry.name, answer->size);
        }
        return result;
    case PUPPET_READLINK:
        return with_text(answer, hf_readlinkat(fs, fd, "", answer->text, sizeof answer->text));
    case PUPPET_MOUNT:
        return hf_mount(fs,
                        command->text,
                        command->text + strlen(command->text) + 1,
                        "direct",
                        (unsigned long)command->a,
                        NULL);
    case PUPPET_UNMOUNT:
        return hf_umount2(fs, command->text, (int)command->a);
    case PUPPET_CHMOD:
        return hf_fchmod(fs, fd, (mode_t)command->b);
    case PUPPET_OPEN_AT:
        return hf_openat(fs, fd, command->text, (int)command->b, 0);
    case PUPPET_LINK:
        return hf_linkat(fs, fd, "", HF_AT_FDCWD, command->text, AT_EMPTY_PATH);
    default:
        return obey_moving(command, answer);
    }
}

static int64_t obey(const struct puppet_command *command, struct answer *answer)
{
    const int fd = (int)command->a;
    struct stat attributes;
    int64_t result;
    switch (command->verb) {
    case PUPPET_OPEN:
        return hf_open(fs, command->text, (int)command->a, (mode_t)command->b);
    case PUPPET_CLOSE:
        return hf_close(fs, fd);
    case PUPPET_READ:
        return with_text(answer, hf_read(fs, fd, answer->text, (size_t)command->b));
    case PUPPET_WRITE:
        return hf_write(fs, fd, command->text, command->size);
    case PUPPET_SEEK:
        return hf_lseek(fs, fd, command->b, (int)command->c);
    case PUPPET_CONTROL:
        return hf_fcntl(fs, fd, (int)command->b, (int)command->c);
    case PUPPET_DUP2:
        return hf_dup2(fs, fd, (int)command->b);
    case PUPPET_STAT:
        result = hf_fstat(fs, fd, &attributes);
        answer->size = sizeof attributes;
        memcpy(answer->text, &attributes, sizeof attributes);
        return result;
    case PUPPET_COPY:
        return hf_copy_file_range(fs, fd, NULL, (int)command->b, NULL, (size_t)command->c, 0);
    default:
        return obey_names(command, answer);
    }
}

bool puppet_play(int argc, char **argv, int *status)
{
    static struct puppet_command command;
    static struct answer answer;
    hf_fs_config config = HF_FS_CONFIG_INIT;

    if (argc != 4 || strcmp(argv[1], own_name) != 0) {
        return false;
    }
    alarm(PATIENCE_SECONDS);
    config.root = argv[3][0] != '\0' ? argv[3] : NULL;
    answer.result = hf_client_connect(argv[2], NULL, &client);
    if (answer.result == 0) {
        answer.result = hf_fs_attach(client, &config, &fs);
    }
    *status = 1;
    while (send(COMMANDS, &answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer) {
        if (recv(COMMANDS, &command, sizeof command, 0) != sizeof command) {
            *status = 0;
            break;
        }
        answer.size = 0;
        answer.result = obey(&command, &answer);
    }
    hf_fs_detach(fs);
    hf_client_unref(client);
    return true;
}

/* ---- in the test ---- */

void puppet_start(struct puppet *puppet, const char *address, const char *root, int other)
{
    int ends[2];
    *puppet = (struct puppet){.pid = -1};
    fflush(NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    puppet->pid = fork();
    if (puppet->pid == 0) {
        /* Out of the way first: either may have the other's number. */
        const int commands = fcntl(ends[1], F_DUPFD, 10);
        const int sockets = other >= 0 ? fcntl(other, F_DUPFD, 10) : -1;
        dup2(commands, COMMANDS);
        close(commands);
        if (sockets >= 0) {
            dup2(sockets, OTHER);
            close(sockets);
        }
        execl("/proc/self/exe", own_name, own_name, address, root != NULL ? root : "", NULL);
        _exit(127);
    }
    close(ends[1]);
    assert_true(puppet->pid > 0);
    puppet->fd = ends[0];
    assert_int_equal(puppet_answer(puppet), 0);
}

void puppet_command(struct puppet *puppet, enum puppet_verb verb, int64_t a, int64_t b, int64_t c,
                    const void *text, size_t size)
{
    struct puppet_command command = {.verb = verb, .a = a, .b = b, .c = c, .size = size};
    assert_true(size < sizeof command.text);
    if (size > 0) {
        memcpy(command.text, text, size);
    }
    assert_int_equal(send(puppet->fd, &command, sizeof command, MSG_NOSIGNAL), sizeof command);
}

int64_t puppet_answer(struct puppet *puppet)
{
    struct answer answer;
    struct pollfd readable = {.fd = puppet->fd, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, PATIENCE_SECONDS * 1000), 1);
    assert_int_equal(recv(puppet->fd, &answer, sizeof answer, 0), sizeof answer);
    puppet->size = answer.size;
    memcpy(puppet->text, answer.text, answer.size);
    puppet->text[answer.size] = '\0';
    return answer.result;
}

int64_t puppet_tell(struct puppet *puppet, enum puppet_verb verb, int64_t a, int64_t b, int64_t c,
                    const void *text, size_t size)
{
    puppet_command(puppet, verb, a, b, c, text, size);
    return puppet_answer(puppet);
}

static int reap(struct puppet *puppet)
{
    int status;
    while (waitpid(puppet->pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    close(puppet->fd);
    return status;
}

void puppet_end(struct puppet *puppet)
{
    shutdown(puppet->fd, SHUT_WR);
    const int status = reap(puppet);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void puppet_expect_killed(struct puppet *puppet)
{
    const int status = reap(puppet);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

void puppet_kill(struct puppet *puppet)
{
    kill(puppet->pid, SIGKILL);
    puppet_expect_killed(puppet);
}

void puppet_exit(struct puppet *puppet)
{
    puppet_command(puppet, PUPPET_EXIT, 0, 0, 0, NULL, 0);
    const int status = reap(puppet);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
