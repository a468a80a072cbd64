/*
 * The part of the group `fs` in which two processes append to one file, each through an open
 * file of its own.
 */
#include "base/clock.h"
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPENDERS 2
#define ROUND_NS UINT64_C(200000000)
#define LINE_SIZE 64
#define LINES_PER_LOOK 16
#define OUR_LOG "our.log"
#define KERNEL_LOG "kernel.log"

enum side { OURS, KERNELS, SIDES };

struct order {
    enum side side;
    uint64_t end_ns;
};

struct answer {
    uint64_t lines;
    uint64_t messages;
};

struct appender_arguments {
    int socket;
};

struct appender {
    struct fs_subject subject;
    int our_log, kernel_log;
    uint64_t messages; /* when the last round ended */
};

static const char line[LINE_SIZE] =
    "63 bytes and an end of line, as a log has them ...............\n";

/* ---- one process ---- */

static bool append(struct appender *appender, const struct order *order, struct answer *answer)
{
    while (clock_now_ns() < order->end_ns) {
        for (int i = 0; i < LINES_PER_LOOK; i++) {
            const ssize_t done =
                order->side == OURS
                    ? hf_write(appender->subject.fs, appender->our_log, line, LINE_SIZE)
                    : write(appender->kernel_log, line, LINE_SIZE);
            if (done != LINE_SIZE) {
                return bench_fail("an append went wrong: %zd", done);
            }
        }
        answer->lines += LINES_PER_LOOK;
    }
    return true;
}

static bool appender_main(int channel, void *context)
{
    const struct appender_arguments *arguments = context;
    const int flags = O_WRONLY | O_CREAT | O_APPEND;
    struct appender appender;
    struct order order;
    if (!fs_subject_connect(&appender.subject, arguments->socket) ||
        !fs_subject_attach(&appender.subject)) {
        return false;
    }
    appender.our_log = hf_open(appender.subject.fs, OUR_LOG, flags, 0644);
    appender.kernel_log = open(KERNEL_LOG, flags | O_CLOEXEC, 0644);
    if (appender.our_log < 0 || appender.kernel_log < 0) {
        return bench_fail("cannot open the logs");
    }
    appender.messages = client_messages(appender.subject.client);
    while (channel_receive(channel, &order, sizeof(order))) {
        struct answer answer = {0};
        if (!append(&appender, &order, &answer)) {
            return false;
        }
        const uint64_t messages = client_messages(appender.subject.client);
        answer.messages = messages - appender.messages;
        appender.messages = messages;
        if (!channel_send(channel, &answer, sizeof(answer))) {
            return false;
        }
    }
    close(appender.kernel_log);
    fs_subject_close(&appender.subject);
    return true;
}

/* ---- all of them ---- */

/* One round; the sums over the processes. */
static bool let_append(const struct child *children, enum side side, uint64_t round_ns,
                       struct answer *sum)
{
    const struct order order = {.side = side, .end_ns = clock_now_ns() + round_ns};
    for (int i = 0; i < APPENDERS; i++) {
        if (!channel_send(children[i].channel, &order, sizeof(order))) {
            return bench_fail("an appender is gone");
        }
    }
    *sum = (struct answer){0};
    for (int i = 0; i < APPENDERS; i++) {
        struct answer answer;
        if (!channel_receive(children[i].channel, &answer, sizeof(answer))) {
            return bench_fail("an appender is gone");
        }
        sum->lines += answer.lines;
        sum->messages += answer.messages;
    }
    return true;
}

/* Whether no line is lost. */
static bool check_log(const char *path, uint64_t lines)
{
    struct stat attributes;
    return (stat(path, &attributes) == 0 && (uint64_t)attributes.st_size == lines * LINE_SIZE) ||
           bench_fail("%s does not have %llu lines", path, (unsigned long long)lines);
}

static bool measure(const struct bench *bench, const struct child *children,
                    struct bench_series *series, double *messages_per_op)
{
    const uint64_t round_ns = bench_scale(bench, ROUND_NS);
    const double seconds = (double)round_ns / 1e9;
    uint64_t lines[SIDES] = {0};
    uint64_t messages = 0;
    for (unsigned round = 0; round < bench->rounds; round++) {
        struct answer sums[SIDES];
        for (int side = OURS; side < SIDES; side++) {
            if (!let_append(children, side, round_ns, &sums[side])) {
                return false;
            }
            lines[side] += sums[side].lines;
        }
        messages += sums[OURS].messages;
        bench_series_add(
            series, (double)sums[OURS].lines / seconds, (double)sums[KERNELS].lines / seconds);
    }
    *messages_per_op = (double)messages / (double)lines[OURS];
    return check_log(OUR_LOG, lines[OURS]) && check_log(KERNEL_LOG, lines[KERNELS]);
}

static bool run_appenders(const struct bench *bench, struct bench_series *series,
                          double *messages_per_op)
{
    struct server_child server;
    struct child children[APPENDERS] = {0};
    if (!server_child_start(&server, APPENDERS)) {
        return false;
    }
    bool done = true;
    for (int i = 0; done && i < APPENDERS; i++) {
        struct appender_arguments arguments = {.socket = server.sockets[i]};
        done = child_start(&children[i], appender_main, &arguments, &server.sockets[i], 1);
    }
    done = done && measure(bench, children, series, messages_per_op);
    for (int i = 0; i < APPENDERS; i++) {
        done = child_end(&children[i]) && done;
    }
    return server_child_end(&server) && done;
}

bool bench_fs_appenders(struct bench *bench)
{
    struct fs_place place;
    struct bench_series series = {0};
    double messages_per_op = 0;
    if (!fs_place_make(bench, &place) ||
        !fs_place_remove(&place, run_appenders(bench, &series, &messages_per_op))) {
        return false;
    }
    struct bench_row row = {.name = "two processes append 64 bytes to one file",
                            .unit = "ops/s",
                            .yardstick_name = "O_APPEND",
                            .messages_per_op = messages_per_op};
    bench_row_measure(&row, &series);
    bench_row_add(bench, &row);
    return true;
}
