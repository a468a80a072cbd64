/* A pre-fork server: its workers share DIRECTORY/log, one open file with O_APPEND. */
#include <holdfast/fs.h>
#include <holdfast/server.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
enum { WORKERS = 4, REQUESTS = 400 };

static int work(hf_fs *fs, int log, int requests)
{
    int number;
    char line[64];
    while (recv(requests, &number, sizeof(number), 0) == sizeof(number)) {
        int length = snprintf(line, sizeof(line), "request %d, worker %d\n", number, getpid());
        ssize_t logged = hf_write(fs, log, line, (size_t)length); /* whole, behind all others */
        send(requests, &logged, sizeof(logged), 0);
    }
    return 0;
}

int main(int argc, char **argv)
{
    hf_server *server;
    hf_client *client;
    hf_fs *fs;
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    hf_fs_config fs_config = HF_FS_CONFIG_INIT;
    fs_config.root = argc > 1 ? argv[1] : ".";
    if (hf_server_new(NULL, &server) != 0 || hf_server_start(server) != 0) {
        return 1;
    }
    config.dial = hf_server_dial; /* how a forked worker gets a connection of its own */
    config.dial_context = server;
    int requests[2]; /* the callers have the one end, all workers serve the other */
    if (hf_client_from_fd(hf_server_connect(server), &config, &client) != 0 ||
        hf_fs_attach(client, &fs_config, &fs) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, requests) != 0) {
        return 1;
    }
    int log = hf_open(fs, "log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (int i = 0; i < WORKERS; i++) {
        if (hf_fork() == 0) {
            close(requests[0]);
            return work(fs, log, requests[1]);
        }
    }
    ssize_t logged = 0, size = 0;
    for (int i = 0; i < REQUESTS; i++) {
        send(requests[0], &i, sizeof(i), 0);
        logged += recv(requests[0], &size, sizeof(size), 0) == sizeof(size) && size > 0;
    }
    close(requests[0]); /* the workers end; had they been killed, the log would be the same */
    while (wait(NULL) > 0) {
    }
    return printf("%d requests, %zd in the log\n", REQUESTS, logged) < 0;
}
