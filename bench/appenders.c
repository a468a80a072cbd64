#include "appenders.h"

#include "base/clock.h"
#include "fs.h"
#include "side.h"

#include <fcntl.h>
#include <sys/stat.h>

#define ROUND_NS UINT64_C(200000000)
#define LINE_SIZE 64
#define LINES_PER_LOOK 16
#define KERNELS_WAY APPENDERS_ROWS_MAX /* the last of the ways */
#define WAYS (APPENDERS_ROWS_MAX + 1)

struct order {
    unsigned way;
    enum served_sending sending;
    uint64_t end_ns; /* 0: say how many lines there are */
};

struct answer {
    uint64_t lines;
    uint64_t messages;
};

struct appender_arguments {
    const struct appenders *appenders;
    int socket;
};

struct appender {
    const struct appenders *appenders;
    struct fs_subject subject;
    int logs[WAYS];
};

struct totals {
    struct bench_series series[APPENDERS_ROWS_MAX];
    struct answer sums[WAYS];
};

static const char line[LINE_SIZE] =
    "63 bytes and an end of line, as a log has them ...............\n";

/* ---- one process ---- */

static hf_fs *side_of(const struct appender *appender, unsigned way)
{
    return way == KERNELS_WAY ? NULL : appender->subject.fs;
}

static bool open_log(struct appender *appender, unsigned way)
{
    char path[16];
    snprintf(path, sizeof(path), "log-%u", way);
    appender->logs[way] =
        side_open(side_of(appender, way), path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    return appender->logs[way] >= 0 || bench_fail("cannot open %s", path);
}

static bool open_logs(struct appender *appender)
{
    bool done = open_log(appender, KERNELS_WAY);
    for (unsigned way = 0; done && way < appender->appenders->row_count; way++) {
        done = open_log(appender, way);
    }
    return done;
}

static void work_for(uint64_t ns)
{
    const uint64_t end_ns = bench_thread_ns() + ns;
    while (bench_thread_ns() < end_ns) {
    }
}

static bool append(const struct appender *appender, const struct order *order, uint64_t *lines)
{
    hf_fs *fs = side_of(appender, order->way);
    const uint64_t pause_ns = appender->appenders->pause_ns;
    const int lines_per_look = pause_ns == 0 ? LINES_PER_LOOK : 1;
    while (clock_now_ns() < order->end_ns) {
        for (int i = 0; i < lines_per_look; i++) {
            const ssize_t done = side_write(fs, appender->logs[order->way], line, LINE_SIZE);
            if (done != LINE_SIZE) {
                return bench_fail("an append went wrong: %zd", done);
            }
        }
        *lines += (uint64_t)lines_per_look;
        if (pause_ns > 0) {
            work_for(pause_ns);
        }
    }
    return true;
}

static bool count_lines(const struct appender *appender, unsigned way, uint64_t *lines)
{
    struct stat attributes;
    const int error = side_fstat(side_of(appender, way), appender->logs[way], &attributes);
    *lines = (uint64_t)attributes.st_size / LINE_SIZE;
    return error == 0 || bench_fail("cannot count the lines");
}

static bool appender_main(int channel, void *context)
{
    const struct appender_arguments *arguments = context;
    struct appender appender = {.appenders = arguments->appenders};
    struct order order;
    if (!fs_subject_connect(&appender.subject, arguments->socket, arguments->appenders->mount) ||
        !fs_subject_attach(&appender.subject) || !open_logs(&appender)) {
        return false;
    }
    while (channel_receive(channel, &order, sizeof(order))) {
        struct answer answer = {0};
        const uint64_t messages = client_messages(appender.subject.client);
        served_set_sending(order.sending);
        const bool done = order.end_ns == 0 ? count_lines(&appender, order.way, &answer.lines)
                                            : append(&appender, &order, &answer.lines);
        answer.messages = client_messages(appender.subject.client) - messages;
        if (!done || !channel_send(channel, &answer, sizeof(answer))) {
            return false;
        }
    }
    fs_subject_close(&appender.subject);
    return true;
}

/* ---- all of them ---- */

/* The sums over the first @count processes. */
static bool give_order(const struct child *children, unsigned count, const struct order *order,
                       struct answer *sum)
{
    for (unsigned i = 0; i < count; i++) {
        if (!channel_send(children[i].channel, order, sizeof(*order))) {
            return bench_fail("an appender is gone");
        }
    }
    *sum = (struct answer){0};
    for (unsigned i = 0; i < count; i++) {
        struct answer answer;
        if (!channel_receive(children[i].channel, &answer, sizeof(answer))) {
            return bench_fail("an appender is gone");
        }
        sum->lines += answer.lines;
        sum->messages += answer.messages;
    }
    return true;
}

/* Lines in a second; negative when that failed. */
static double let_append(const struct bench *bench, const struct appenders *appenders,
                         const struct child *children, unsigned way, struct answer *total)
{
    const uint64_t round_ns = bench_scale(bench, ROUND_NS);
    const struct order order = {
        .way = way,
        .sending = way == KERNELS_WAY ? SERVED_SENDS_CONTENDED : appenders->rows[way].sending,
        .end_ns = clock_now_ns() + round_ns,
    };
    struct answer sum;
    if (!give_order(children, appenders->process_count, &order, &sum)) {
        return -1;
    }
    total->lines += sum.lines;
    total->messages += sum.messages;
    return (double)sum.lines / ((double)round_ns / 1e9);
}

/* Whether no line is lost. */
static bool check_log(const struct child *children, unsigned way, uint64_t lines)
{
    const struct order order = {.way = way};
    struct answer answer;
    return give_order(children, 1, &order, &answer) &&
           (answer.lines == lines || bench_fail("%llu lines were written, and %llu are there",
                                                (unsigned long long)lines,
                                                (unsigned long long)answer.lines));
}

static bool measure(const struct bench *bench, const struct appenders *appenders,
                    const struct child *children, struct totals *totals)
{
    bool done = true;
    for (unsigned round = 0; round < bench->rounds; round++) {
        const double kernels =
            let_append(bench, appenders, children, KERNELS_WAY, &totals->sums[KERNELS_WAY]);
        for (unsigned way = 0; way < appenders->row_count; way++) {
            const double ours = let_append(bench, appenders, children, way, &totals->sums[way]);
            if (ours < 0 || kernels < 0) {
                return false;
            }
            bench_series_add(&totals->series[way], ours, kernels);
        }
    }
    for (unsigned way = 0; done && way < appenders->row_count; way++) {
        done = check_log(children, way, totals->sums[way].lines);
    }
    return done && check_log(children, KERNELS_WAY, totals->sums[KERNELS_WAY].lines);
}

static bool run(const struct bench *bench, const struct appenders *appenders, struct totals *totals)
{
    struct server_child server;
    struct child children[APPENDERS_MAX] = {0};
    if (!server_child_start(&server, appenders->process_count, appenders->mount)) {
        return false;
    }
    bool done = true;
    for (unsigned i = 0; done && i < appenders->process_count; i++) {
        struct appender_arguments arguments = {.appenders = appenders, .socket = server.sockets[i]};
        done = child_start(&children[i], appender_main, &arguments, &server.sockets[i], 1);
    }
    done = done && measure(bench, appenders, children, totals);
    for (unsigned i = 0; i < appenders->process_count; i++) {
        done = child_end(&children[i]) && done;
    }
    return server_child_end(&server) && done;
}

bool appenders_measure(struct bench *bench, const struct appenders *appenders)
{
    struct fs_place place;
    struct totals totals = {0};
    if (!fs_place_make(bench, &place) || !fs_place_remove(&place, run(bench, appenders, &totals))) {
        return false;
    }
    for (unsigned way = 0; way < appenders->row_count; way++) {
        struct bench_row row = {.name = appenders->rows[way].name,
                                .unit = "ops/s",
                                .yardstick_name = "O_APPEND",
                                .messages_per_op = (double)totals.sums[way].messages /
                                                   (double)totals.sums[way].lines};
        bench_row_measure(&row, &totals.series[way]);
        bench_row_add(bench, &row);
    }
    return true;
}
