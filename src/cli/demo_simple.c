/*
 * The demo `simple`: two processes and one file. Each step is done by one of them, at the
 * parent's word, and what it saw is compared with what must be seen. A step marked FREE only
 * repeats what its process already knows and must not cost it a message.
 */
#include "cli/demo.h"
#include "cli/demo_stage.h"
#include "cli/demo_text.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_NAME "demo-simple.txt"
#define TEXT_SIZE 64

/* More than the demo takes. */
#define TRACE_LIMIT 1000

enum actor { A, B, ACTORS };

enum action {
    LIST,     /* read the directory */
    LOOK,     /* stat the file */
    CREATE,   /* open with O_CREAT | O_EXCL */
    WRITE,    /* append a text */
    READ,     /* open and read it all */
    TRUNCATE, /* to a size */
    REMOVE,
    COUNT, /* only say how many messages there were */
};

#define FREE true

struct step {
    enum actor actor;
    enum action action;
    const char *text; /* to write, or that must be read */
    int result;       /* that must come out: 0 or a negative errno; in LIST, files of our name */
    int size;         /* to truncate to, or that must be seen */
    bool free;
};

static const char greeting[] = "Hello, A. This is B.";
static const char answer[] = "Hello, A. Good to see you, B.";

static const struct step steps[] = {
    {A, LIST, NULL, 0, 0, false},
    {A, LOOK, NULL, -ENOENT, 0, false},
    {A, LOOK, NULL, -ENOENT, 0, FREE},
    {B, CREATE, NULL, 0, 0, false},
    {A, LOOK, NULL, 0, 0, false},
    {A, LIST, NULL, 1, 0, false},
    {B, WRITE, greeting, 0, sizeof(greeting) - 1, false},
    {A, LOOK, NULL, 0, sizeof(greeting) - 1, false},
    {A, LOOK, NULL, 0, sizeof(greeting) - 1, FREE},
    {A, READ, greeting, 0, sizeof(greeting) - 1, false},
    {A, READ, greeting, 0, sizeof(greeting) - 1, FREE},
    {B, TRUNCATE, NULL, 0, 9, false},
    {A, READ, "Hello, A.", 0, 9, false},
    {A, WRITE, " Good to see you, B.", 0, 20, false},
    {B, LOOK, NULL, 0, sizeof(answer) - 1, false},
    {B, READ, answer, 0, sizeof(answer) - 1, false},
    {B, REMOVE, NULL, 0, 0, false},
    {A, LOOK, NULL, -ENOENT, 0, false},
    {A, LIST, NULL, 0, 0, false},
    {A, LIST, NULL, 0, 0, FREE},
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* What an actor is told, and what it answers. */
struct order {
    enum action action;
    int size;
    char text[TEXT_SIZE];
};

struct report {
    int result;
    int size;
    int entries;       /* LIST: of the directory, `.` and `..` apart */
    uint64_t client;   /* the actor's number */
    uint64_t messages; /* sent and received by the actor so far */
    uint64_t cost;     /* of these, by this action; without what was only told */
    char text[TEXT_SIZE];
};

struct simple_demo {
    struct demo_stage stage;
    pid_t pids[ACTORS];
    int sockets[ACTORS];
    uint64_t messages[ACTORS + 1]; /* of each, and of the parent, so far */
};

/* How many there were so far, sent and received. @told: also operations that the server was told of
 * and does not answer; that may be some time after they were done. */
static uint64_t messages_of(hf_client *client, bool told)
{
    hf_client_stats stats;
    hf_client_get_stats(client, &stats);
    return stats.acquires_sent + stats.releases_sent + stats.cancels_sent + stats.grants_received +
           stats.recalls_received + stats.answers_received +
           (told ? stats.operations_sent : stats.answers_received);
}

/* ---- the actors ---- */

static int act_list(hf_fs *fs, struct report *report)
{
    const int fd = hf_open(fs, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return fd;
    }
    int found = 0;
    hf_dirent entry;
    int result;
    while ((result = hf_readdir(fs, fd, &entry)) == 1) {
        const bool special = strcmp(entry.name, ".") == 0 || strcmp(entry.name, "..") == 0;
        report->entries += special ? 0 : 1;
        found += strcmp(entry.name, FILE_NAME) == 0;
    }
    hf_close(fs, fd);
    return result < 0 ? result : found;
}

static int act_look(hf_fs *fs, struct report *report)
{
    struct stat status;
    const int result = hf_stat(fs, FILE_NAME, &status);
    report->size = result < 0 ? 0 : (int)status.st_size;
    return result;
}

static int act_create(hf_fs *fs)
{
    const int fd = hf_open(fs, FILE_NAME, O_WRONLY | O_CREAT | O_EXCL, 0666);
    return fd < 0 ? fd : hf_close(fs, fd);
}

static int act_write(hf_fs *fs, const struct order *order, struct report *report)
{
    const int fd = hf_open(fs, FILE_NAME, O_WRONLY | O_APPEND, 0);
    if (fd < 0) {
        return fd;
    }
    const ssize_t done = hf_write(fs, fd, order->text, strlen(order->text));
    hf_close(fs, fd);
    report->size = done < 0 ? 0 : (int)done;
    return done < 0 ? (int)done : 0;
}

static int act_read(hf_fs *fs, struct report *report)
{
    const int fd = hf_open(fs, FILE_NAME, O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    const ssize_t done = hf_read(fs, fd, report->text, TEXT_SIZE - 1);
    hf_close(fs, fd);
    report->size = done < 0 ? 0 : (int)done;
    return done < 0 ? (int)done : 0;
}

static int act(hf_fs *fs, const struct order *order, struct report *report)
{
    switch (order->action) {
    case LIST:
        return act_list(fs, report);
    case LOOK:
        return act_look(fs, report);
    case CREATE:
        return act_create(fs);
    case WRITE:
        return act_write(fs, order, report);
    case READ:
        return act_read(fs, report);
    case TRUNCATE:
        return hf_truncate(fs, FILE_NAME, order->size);
    case REMOVE:
        return hf_unlink(fs, FILE_NAME);
    case COUNT:
        break;
    }
    return 0;
}

/* What an actor does with its life: obey, until the parent closes the socket. */
_Noreturn static void obey(struct demo_stage *stage, int socket)
{
    struct order order;
    while (recv(socket, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
        struct report report = {.client = hf_client_number(stage->client)};
        const uint64_t before = messages_of(stage->client, false);
        report.result = act(stage->fs, &order, &report);
        report.messages = messages_of(stage->client, true);
        report.cost = messages_of(stage->client, false) - before;
        if (send(socket, &report, sizeof(report), MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    stage_leave(stage);
    _exit(0);
}

/* ---- the parent ---- */

static int start_actor(struct simple_demo *demo, enum actor actor)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        stage_complain(&demo->stage, "%s", strerror(errno));
        return 1;
    }
    const pid_t pid = stage_fork(&demo->stage);
    if (pid == 0) {
        close(pair[0]);
        /* The other's socket must end with the parent. */
        for (int other = 0; other < (int)actor; other++) {
            close(demo->sockets[other]);
        }
        obey(&demo->stage, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        stage_complain(&demo->stage, "cannot start a process: %s", strerror(-pid));
        return 1;
    }
    demo->pids[actor] = pid;
    demo->sockets[actor] = pair[0];
    return 0;
}

/* Let both end in good order if all is well; end them if not. Return: 1 if one ended badly. */
static int end_actors(struct simple_demo *demo, bool well)
{
    int result = 0;
    for (int actor = 0; actor < ACTORS; actor++) {
        if (demo->pids[actor] == 0) {
            continue;
        }
        int status;
        close(demo->sockets[actor]);
        if (!well) {
            kill(demo->pids[actor], SIGKILL);
        }
        if (waitpid(demo->pids[actor], &status, 0) != demo->pids[actor] || status != 0) {
            result = 1;
        }
    }
    if (well && result != 0) {
        stage_complain(&demo->stage, "a process did not end in good order");
    }
    return result;
}

/* Wait until the actor has answered. Return: 0; 1 after saying what is wrong; 128 and the
 * number of the signal that ends the demo. */
static int await_report(struct simple_demo *demo, enum actor actor, struct report *report)
{
    const struct demo_stage *stage = &demo->stage;
    struct pollfd fds[] = {
        {.fd = demo->sockets[actor], .events = POLLIN},
        {.fd = stage->signals, .events = POLLIN},
    };
    const unsigned patience_seconds = stage->options->patience_seconds;
    const int timeout_ms = (int)patience_seconds * 1000;
    for (;;) {
        const int ready = poll(fds, 2, timeout_ms);
        int number;
        if (stage_read_signals(stage, &number) == STAGE_END) {
            return 128 + number;
        }
        if (ready < 0 && errno != EINTR) {
            stage_complain(stage, "poll: %s", strerror(errno));
            return 1;
        }
        if (ready == 0) {
            stage_complain(stage,
                           "%c has not answered for %u s; waiting no longer",
                           "AB"[actor],
                           patience_seconds);
            return 1;
        }
        if (ready > 0 && fds[0].revents != 0) {
            if (recv(demo->sockets[actor], report, sizeof(*report), 0) == sizeof(*report)) {
                return 0;
            }
            stage_complain(stage, "%c has gone away", "AB"[actor]);
            return 1;
        }
    }
}

static int give_order(struct simple_demo *demo, enum actor actor, const struct step *step,
                      struct report *report)
{
    struct order order = {.action = COUNT};
    if (step != NULL) {
        order.action = step->action;
        order.size = step->size;
        if (step->action == WRITE) {
            snprintf(order.text, sizeof(order.text), "%s", step->text);
        }
    }
    if (send(demo->sockets[actor], &order, sizeof(order), MSG_NOSIGNAL) < 0) {
        stage_complain(&demo->stage, "%c has gone away", "AB"[actor]);
        return 1;
    }
    return await_report(demo, actor, report);
}

/* Count the messages of all clients since the last time. */
static int count_messages(struct simple_demo *demo, uint64_t *out)
{
    uint64_t total = 0;
    for (int i = 0; i <= ACTORS; i++) {
        uint64_t now;
        if (i == ACTORS) {
            now = messages_of(demo->stage.client, true);
        } else {
            struct report report;
            const int result = give_order(demo, (enum actor)i, NULL, &report);
            if (result != 0) {
                return result;
            }
            now = report.messages;
        }
        total += now - demo->messages[i];
        demo->messages[i] = now;
    }
    *out = total;
    return 0;
}

static void describe_deed(const struct step *step, char *out, size_t room)
{
    switch (step->action) {
    case LIST:
        snprintf(out, room, "lists the directory");
        break;
    case LOOK:
        snprintf(out, room, "looks for " FILE_NAME);
        break;
    case CREATE:
        snprintf(out, room, "creates " FILE_NAME);
        break;
    case WRITE:
        snprintf(out, room, "appends \"%s\"", step->text);
        break;
    case READ:
        snprintf(out, room, "reads " FILE_NAME);
        break;
    case TRUNCATE:
        snprintf(out, room, "truncates it to %d bytes", step->size);
        break;
    case REMOVE:
        snprintf(out, room, "removes " FILE_NAME);
        break;
    case COUNT:
        break;
    }
}

static void describe_sight(const struct step *step, const struct report *report, char *out,
                           size_t room)
{
    if (report->result < 0) {
        snprintf(out,
                 room,
                 "%s",
                 report->result == -ENOENT ? "it is not there" : strerror(-report->result));
    } else if (step->action == LIST) {
        const int others = report->entries - report->result;
        const char *plural = others == 1 ? "" : "s";
        if (report->result > 0 && others > 0) {
            snprintf(out, room, FILE_NAME ", and %d other%s", others, plural);
        } else if (others > 0) {
            snprintf(out, room, "%d other file%s", others, plural);
        } else {
            snprintf(out, room, "%s", report->result > 0 ? FILE_NAME : "nothing is there");
        }
    } else if (step->action == LOOK) {
        snprintf(
            out, room, "it is there, %d byte%s", report->size, demo_plural((uint64_t)report->size));
    } else if (step->action == READ) {
        demo_quote(report->text, (size_t)report->size, out, room);
    } else {
        snprintf(out, room, "done");
    }
}

/* Is it what must be seen? */
static bool sight_is_right(const struct step *step, const struct report *report)
{
    if (report->result != step->result) {
        return false;
    }
    switch (step->action) {
    case LOOK:
    case WRITE:
        return report->size == step->size;
    case READ:
        return report->size == step->size &&
               memcmp(report->text, step->text, (size_t)step->size) == 0;
    default:
        return true;
    }
}

/* Return: 0; 1 when something was seen that must not be; 128 and a signal's number. */
static int do_step(struct simple_demo *demo, size_t index)
{
    const struct step *step = &steps[index];
    struct demo_stage *stage = &demo->stage;
    struct report report;
    uint64_t messages = 0;
    int result = give_order(demo, step->actor, step, &report);
    if (result == 0) {
        result = count_messages(demo, &messages);
    }
    if (result != 0) {
        return result;
    }
    char deed[96];
    char sight[96];
    describe_deed(step, deed, sizeof(deed));
    describe_sight(step, &report, sight, sizeof(sight));
    printf("%2zu  %c %-33s  %-34s %" PRIu64 " message%s\n",
           index + 1,
           "AB"[step->actor],
           deed,
           sight,
           messages,
           demo_plural(messages));
    if (stage->trace != NULL) {
        if (step->action == CREATE && stage->on_host) { /* nobody else looks at it */
            stage_name_file(stage, FILE_NAME);
        }
        trace_view_print(stage->trace, stdout);
    }
    fflush(stdout);

    if (!sight_is_right(step, &report)) {
        stage_complain(stage,
                       "step %zu is wrong: %s was to come out, %d byte%s",
                       index + 1,
                       step->result < 0 ? strerror(-step->result) : "success",
                       step->size,
                       demo_plural((uint64_t)step->size));
        return 1;
    }
    if (step->free && report.cost != 0) {
        stage_complain(stage,
                       "step %zu cost %c %" PRIu64 " messages for what it knew already",
                       index + 1,
                       "AB"[step->actor],
                       report.cost);
        return 1;
    }
    return 0;
}

/* Which connection is whose, so that the trace has columns. */
static int prepare_trace(struct simple_demo *demo)
{
    struct trace_view *trace = demo->stage.trace;
    if (trace == NULL) {
        return 0;
    }
    stage_name_file(&demo->stage, FILE_NAME);
    for (int actor = 0; actor < ACTORS; actor++) {
        struct report report;
        const int result = give_order(demo, (enum actor)actor, NULL, &report);
        if (result != 0) {
            return result;
        }
        const char title[] = {"AB"[actor], '\0'};
        trace_view_place_client(trace, report.client, trace_view_add_column(trace, title));
    }
    trace_view_place_client(
        trace, hf_client_number(demo->stage.client), trace_view_add_column(trace, "parent"));
    trace_view_print_titles(trace, stdout);
    trace_view_print(trace, stdout);
    return 0;
}

static int run_simple(struct simple_demo *demo)
{
    struct demo_stage *stage = &demo->stage;
    /* Left over from a run that was killed. */
    const int removed = hf_unlink(stage->fs, FILE_NAME);
    if (removed < 0 && removed != -ENOENT) {
        stage_complain(stage, "%s: %s", stage_place(stage, FILE_NAME).text, strerror(-removed));
        return 1;
    }
    int result = 0;
    for (int actor = 0; actor < ACTORS && result == 0; actor++) {
        result = start_actor(demo, (enum actor)actor);
    }
    uint64_t before;
    if (result == 0) {
        printf("simple: two processes, A (%d) and B (%d), the server in a third (%d); in %s\n",
               (int)demo->pids[A],
               (int)demo->pids[B],
               (int)getpid(),
               stage_place(stage, NULL).text);
        result = prepare_trace(demo);
    }
    if (result == 0) {
        result = count_messages(demo, &before);
    }
    for (size_t i = 0; i < STEPS && result == 0; i++) {
        result = do_step(demo, i);
    }
    const int ended = end_actors(demo, result == 0);
    result = result != 0 ? result : ended;
    if (result == 0) {
        printf("simple: checked %zu steps: each process saw at once what the other did, and what "
               "it knew already cost no message\n",
               STEPS);
    }
    return result;
}

int demo_simple(const struct demo_options *options)
{
    struct simple_demo demo = {.pids = {0}};
    if (stage_begin(&demo.stage, "simple", options, TRACE_LIMIT) != 0) {
        return 1;
    }
    const int result = run_simple(&demo);
    stage_end(&demo.stage);
    return result;
}
