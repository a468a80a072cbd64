#include "process.h"

#include "harness.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHANNEL_TIMEOUT_SECONDS 60
#define TURN_TIMEOUT_SECONDS 10
#define END_TIMEOUT_MS 10000

/* ---- channels and sockets ---- */

bool channel_send(int channel, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(channel, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

bool channel_receive(int channel, void *data, size_t size)
{
    char *at = data;
    while (size > 0) {
        ssize_t received = recv(channel, at, size, MSG_WAITALL);
        if (received < 0 && errno == EINTR) {
            continue;
        }
        if (received < 0 && errno == EAGAIN) {
            return bench_fail("no answer within %d s", CHANNEL_TIMEOUT_SECONDS);
        }
        if (received <= 0) {
            return false;
        }
        at += received;
        size -= (size_t)received;
    }
    return true;
}

bool sockets_make(int *ours, int *theirs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
            bench_fail("cannot make a socket: %s", strerror(errno));
            sockets_close(ours, i);
            sockets_close(theirs, i);
            return false;
        }
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    return true;
}

void sockets_close(const int *sockets, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        close(sockets[i]);
    }
}

/* ---- processes ---- */

static void close_all_but(const int *kept, unsigned count)
{
    unsigned first = STDERR_FILENO + 1;
    for (;;) {
        /* The next one that stays; what lies in between is closed. */
        unsigned next = ~0u;
        for (unsigned i = 0; i < count; i++) {
            if ((unsigned)kept[i] >= first && (unsigned)kept[i] < next) {
                next = (unsigned)kept[i];
            }
        }
        if (next > first) {
            syscall(SYS_close_range, first, next == ~0u ? ~0u : next - 1, 0);
        }
        if (next == ~0u) {
            return;
        }
        first = next + 1;
    }
}

static bool set_timeout(int channel)
{
    const struct timeval timeout = {.tv_sec = CHANNEL_TIMEOUT_SECONDS};
    return setsockopt(channel, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0;
}

bool child_start(struct child *child, bool (*main)(int channel, void *context), void *context,
                 const int *sockets, unsigned socket_count)
{
    int ours, theirs;
    if (!sockets_make(&ours, &theirs, 1)) {
        return false;
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        bench_fail("cannot fork: %s", strerror(errno));
        close(ours);
        close(theirs);
        return false;
    }
    if (pid == 0) {
        int kept[BENCH_SOCKETS_MAX + 1];
        for (unsigned i = 0; i < socket_count; i++) {
            kept[i] = sockets[i];
        }
        kept[socket_count] = theirs;
        close_all_but(kept, socket_count + 1);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        _exit(main(theirs, context) ? 0 : 1);
    }
    close(theirs);
    set_timeout(ours);
    *child = (struct child){.pid = pid, .channel = ours};
    return true;
}

/* Wait until the process has ended, at most so long. */
static bool wait_for_end(pid_t pid, int timeout_ms)
{
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    if (descriptor < 0) {
        return false;
    }
    struct pollfd ended = {.fd = descriptor, .events = POLLIN};
    int ready;
    do {
        ready = poll(&ended, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    close(descriptor);
    return ready > 0;
}

bool child_end(struct child *child)
{
    if (child->pid == 0) {
        return true;
    }
    shutdown(child->channel, SHUT_RDWR);
    close(child->channel);
    if (!wait_for_end(child->pid, END_TIMEOUT_MS)) {
        bench_fail("process %d does not end; killing it", (int)child->pid);
        kill(child->pid, SIGKILL);
    }
    int status = 0;
    const bool reaped = waitpid(child->pid, &status, 0) == child->pid;
    child->pid = 0;
    return reaped && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- memory ---- */

void *shared_memory_new(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        bench_fail("cannot share memory: %s", strerror(errno));
        return NULL;
    }
    return memory;
}

void shared_memory_free(void *memory, size_t size)
{
    if (memory != NULL) {
        munmap(memory, size);
    }
}

uint64_t memory_heap_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();
    return (uint64_t)info.uordblks + (uint64_t)info.hblkhd;
}

uint64_t memory_rss_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    unsigned long total = 0, resident = 0;
    const int found = fscanf(file, "%lu %lu", &total, &resident);
    fclose(file);
    return found == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* ---- turns ---- */

bool turn_wait(_Atomic uint32_t *turn, uint32_t wanted)
{
    const struct timespec timeout = {.tv_sec = TURN_TIMEOUT_SECONDS};
    for (;;) {
        const uint32_t now = atomic_load(turn);
        if (now == wanted) {
            return true;
        }
        if (syscall(SYS_futex, turn, FUTEX_WAIT, now, &timeout, NULL, 0) != 0 &&
            errno == ETIMEDOUT) {
            return bench_fail("no turn within %d s", TURN_TIMEOUT_SECONDS);
        }
    }
}

void turn_pass(_Atomic uint32_t *turn)
{
    atomic_fetch_add(turn, 1);
    syscall(SYS_futex, turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- the server ---- */

struct server_arguments {
    const int *sockets;
    unsigned socket_count;
    const char *mount;
};

static bool serve(hf_server *server, int channel, const struct server_arguments *arguments)
{
    for (unsigned i = 0; i < arguments->socket_count; i++) {
        int error = hf_server_adopt(server, arguments->sockets[i]);
        if (error < 0) {
            return bench_fail("the server takes no connection: %s", strerror(-error));
        }
    }
    int error = hf_server_start(server);
    if (error < 0) {
        return bench_fail("the server does not start: %s", strerror(-error));
    }
    char order;
    while (channel_receive(channel, &order, 1)) {
        struct server_report report = {.heap_bytes = memory_heap_bytes(),
                                       .rss_bytes = memory_rss_bytes()};
        hf_server_get_stats(server, &report.stats);
        if (!channel_send(channel, &report, sizeof(report))) {
            return false;
        }
    }
    return true;
}

static bool parse_mount(const char *text, hf_server_mount *mount)
{
    char reason[256];
    int error = hf_server_mount_parse(text, mount, reason, sizeof(reason));
    return error == 0 || bench_fail("%s: %s", text, reason);
}

static bool server_main(int channel, void *context)
{
    const struct server_arguments *arguments = context;
    hf_server_mount mount = HF_SERVER_MOUNT_INIT;
    hf_server_config config;
    hf_server_config_init(&config);
    config.log_level = HF_LOG_ERROR;
    config.limits.clients = BENCH_SOCKETS_MAX;
    config.limits.handles = 2000000;
    config.limits.queued = 2000000;
    config.limits.unsent_bytes = UINT64_C(256) << 20;
    if (arguments->mount != NULL) {
        if (!parse_mount(arguments->mount, &mount)) {
            return false;
        }
        config.mounts = &mount;
        config.mount_count = 1;
    }
    hf_server *server = NULL;
    int error = hf_server_new(&config, &server);
    if (error < 0) {
        return bench_fail("cannot make a server: %s", strerror(-error));
    }
    const bool served = serve(server, channel, arguments);
    hf_server_free(server);
    free(mount.texts);
    return served;
}

bool server_child_start(struct server_child *server, unsigned clients, const char *mount)
{
    int theirs[BENCH_SOCKETS_MAX];
    if (!sockets_make(server->sockets, theirs, clients)) {
        return false;
    }
    server->socket_count = clients;
    struct server_arguments arguments = {
        .sockets = theirs, .socket_count = clients, .mount = mount};
    const bool started = child_start(&server->child, server_main, &arguments, theirs, clients);
    sockets_close(theirs, clients);
    if (!started) {
        sockets_close(server->sockets, clients);
    }
    return started;
}

bool server_child_report(const struct server_child *server, struct server_report *report)
{
    const char order = 'r';
    return (channel_send(server->child.channel, &order, 1) &&
            channel_receive(server->child.channel, report, sizeof(*report))) ||
           bench_fail("the server is gone");
}

bool server_child_end(struct server_child *server)
{
    if (server->child.pid == 0) {
        return true;
    }
    sockets_close(server->sockets, server->socket_count);
    return child_end(&server->child);
}

/* ---- clients ---- */

bool client_child_run(const char *mount, bool (*main)(int channel, void *context), void *context,
                      int *socket, void *results, size_t size)
{
    struct server_child server;
    if (!server_child_start(&server, 1, mount)) {
        return false;
    }
    struct child child = {0};
    *socket = server.sockets[0];
    bool done = child_start(&child, main, context, server.sockets, 1) &&
                channel_receive(child.channel, results, size);
    done = child_end(&child) && done;
    return server_child_end(&server) && done;
}

uint64_t client_messages(hf_client *client)
{
    hf_client_stats stats;
    hf_client_get_stats(client, &stats);
    return stats.acquires_sent + stats.releases_sent + stats.cancels_sent + stats.grants_received +
           stats.recalls_received + stats.operations_sent + stats.answers_received +
           stats.locks_sent + stats.locked_received;
}
