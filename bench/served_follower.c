/*
 * The part of the group `served` in which one process appends records to a file and another reads
 * them as they come.
 *
 * The writer tells the reader of each record, over a socket, when it has written it. To measure the
 * delay, the time from there until the reader has the record, it waits for the reader each time;
 * to measure how much goes through, it does not, and the reader reads all that it was told of at
 * once. The same two processes do it on the kernel's file.
 */
#include "base/clock.h"
#include "fs.h"
#include "served.h"
#include "side.h"

#include <fcntl.h>
#include <sys/socket.h>

#define RECORD ((size_t)4096)
#define TURNS 400
#define RECORDS 8192
#define AT_ONCE 32 /* records in one read */
#define PATH "followed"

enum { WRITER, READER, ENDS };

struct order {
    enum side side;
    bool takes_turns;
    uint64_t records;
};

struct answer {
    uint64_t delay_ns; /* of all records */
    uint64_t end_ns;
    uint64_t messages;
};

struct end_arguments {
    int end;
    int socket; /* to the server */
    int peer;   /* to the other process */
};

/* Delays, and what goes through. */
enum { DELAY, RATE, MEASURES };

struct follower_results {
    struct bench_series series[MEASURES];
    double messages_per_record[MEASURES];
};

/* ---- the two ---- */

static bool write_records(hf_fs *fs, int fd, int peer, const struct order *order,
                          struct answer *answer)
{
    static const char record[RECORD];
    for (uint64_t i = 0; i < order->records; i++) {
        const ssize_t done = side_write(fs, fd, record, RECORD);
        if (done != RECORD) {
            return bench_fail("of a record %zd bytes were written", done);
        }
        const uint64_t written_ns = clock_now_ns();
        char seen;
        if (!channel_send(peer, &written_ns, sizeof(written_ns)) ||
            (order->takes_turns && !channel_receive(peer, &seen, 1))) {
            return bench_fail("the reader is gone");
        }
    }
    return true;
}

/* When the records were written that we are told of. Return: of how many; 0: the writer is gone. */
static size_t hear(int peer, uint64_t written_ns[AT_ONCE])
{
    const size_t one = sizeof(written_ns[0]);
    const ssize_t got = recv(peer, written_ns, AT_ONCE * one, 0);
    if (got <= 0) {
        return 0;
    }
    const size_t count = ((size_t)got + one - 1) / one;
    return channel_receive(peer, (char *)written_ns + got, count * one - (size_t)got) ? count : 0;
}

static bool read_records(hf_fs *fs, int fd, int peer, const struct order *order,
                         struct answer *answer)
{
    static char records[AT_ONCE * RECORD];
    uint64_t written_ns[AT_ONCE];
    for (uint64_t left = order->records; left > 0;) {
        const size_t count = hear(peer, written_ns);
        if (count == 0 || count > left) {
            return bench_fail("the writer is gone");
        }
        const ssize_t done = side_read(fs, fd, records, count * RECORD);
        if (done != (ssize_t)(count * RECORD)) {
            return bench_fail("%zu records were written, and %zd bytes read", count, done);
        }
        const uint64_t read_ns = clock_now_ns();
        for (size_t i = 0; i < count; i++) {
            answer->delay_ns += read_ns - written_ns[i];
        }
        left -= count;
        if (order->takes_turns && !channel_send(peer, "s", 1)) {
            return bench_fail("the writer is gone");
        }
    }
    return true;
}

/* The file begins anew with each order. What is read was told of, so it comes after that. */
static bool obey(const struct end_arguments *arguments, const struct fs_subject *subject,
                 const struct order *order, struct answer *answer)
{
    static const int flags[ENDS] = {O_WRONLY | O_APPEND | O_TRUNC, O_RDONLY};
    hf_fs *fs = order->side == OURS ? subject->fs : NULL;
    const int fd = side_open(fs, PATH, flags[arguments->end] | O_CREAT, 0644);
    const uint64_t messages = client_messages(subject->client);
    if (fd < 0) {
        return bench_fail("the file could not be opened");
    }
    const bool done = arguments->end == WRITER
                          ? write_records(fs, fd, arguments->peer, order, answer)
                          : read_records(fs, fd, arguments->peer, order, answer);
    answer->end_ns = clock_now_ns();
    answer->messages = client_messages(subject->client) - messages;
    return side_close(fs, fd) == 0 && done;
}

static bool end_main(int channel, void *context)
{
    const struct end_arguments *arguments = context;
    struct fs_subject subject;
    struct order order;
    if (!fs_subject_connect(&subject, arguments->socket, SERVED_MOUNT) ||
        !fs_subject_attach(&subject)) {
        return false;
    }
    while (channel_receive(channel, &order, sizeof(order))) {
        struct answer answer = {0};
        if (!obey(arguments, &subject, &order, &answer) ||
            !channel_send(channel, &answer, sizeof(answer))) {
            return false;
        }
    }
    fs_subject_close(&subject);
    return true;
}

/* ---- both ---- */

/* Microseconds of delay, or MB/s; negative when that failed. */
static double let_follow(const struct child children[ENDS], int measure, enum side side,
                         uint64_t records, uint64_t *messages)
{
    const struct order order = {.side = side, .takes_turns = measure == DELAY, .records = records};
    struct answer answers[ENDS];
    const uint64_t begin = clock_now_ns();
    for (int end = WRITER; end < ENDS; end++) {
        if (!channel_send(children[end].channel, &order, sizeof(order))) {
            return -1;
        }
    }
    for (int end = WRITER; end < ENDS; end++) {
        if (!channel_receive(children[end].channel, &answers[end], sizeof(answers[end]))) {
            return -1;
        }
        *messages += answers[end].messages;
    }
    return measure == DELAY
               ? (double)answers[READER].delay_ns / 1000 / (double)records
               : (double)(records * RECORD) * 1000 / (double)(answers[READER].end_ns - begin);
}

static bool measure_all(const struct bench *bench, const struct child children[ENDS],
                        struct follower_results *results)
{
    for (int measure = DELAY; measure < MEASURES; measure++) {
        const uint64_t records = bench_scale(bench, measure == DELAY ? TURNS : RECORDS);
        uint64_t messages[SIDES] = {0};
        for (unsigned round = 0; round < bench->rounds; round++) {
            const double ours = let_follow(children, measure, OURS, records, &messages[OURS]);
            const double kernels =
                ours < 0 ? -1 : let_follow(children, measure, KERNELS, records, &messages[KERNELS]);
            if (kernels < 0) {
                return bench_fail("a process is gone");
            }
            bench_series_add(&results->series[measure], ours, kernels);
        }
        results->messages_per_record[measure] =
            (double)messages[OURS] / (double)(records * bench->rounds);
    }
    return true;
}

static bool start_ends(struct child children[ENDS], const struct server_child *server,
                       const int peers[ENDS])
{
    bool done = true;
    for (int end = WRITER; done && end < ENDS; end++) {
        struct end_arguments arguments = {
            .end = end, .socket = server->sockets[end], .peer = peers[end]};
        const int kept[] = {arguments.socket, arguments.peer};
        done = child_start(&children[end], end_main, &arguments, kept, 2);
    }
    return done;
}

static bool run(const struct bench *bench, struct follower_results *results)
{
    struct server_child server;
    struct child children[ENDS] = {0};
    int peers[ENDS];
    if (!sockets_make(&peers[WRITER], &peers[READER], 1)) {
        return false;
    }
    if (!server_child_start(&server, ENDS, SERVED_MOUNT)) {
        sockets_close(peers, ENDS);
        return false;
    }
    bool done = start_ends(children, &server, peers);
    sockets_close(peers, ENDS);
    done = done && measure_all(bench, children, results);
    for (int end = WRITER; end < ENDS; end++) {
        done = child_end(&children[end]) && done;
    }
    return server_child_end(&server) && done;
}

bool bench_served_follower(struct bench *bench)
{
    static const char *const names[MEASURES] = {
        "served: a reader follows a writer, delay",
        "served: a reader follows a writer, 4 KiB each",
    };
    static const char *const units[MEASURES] = {"us", "MB/s"};
    struct fs_place place;
    struct follower_results results = {0};
    if (!fs_place_make(bench, &place) || !fs_place_remove(&place, run(bench, &results))) {
        return false;
    }
    for (int measure = DELAY; measure < MEASURES; measure++) {
        struct bench_row row = {.name = names[measure],
                                .unit = units[measure],
                                .yardstick_name = "tmpfs",
                                .messages_per_op = results.messages_per_record[measure]};
        bench_row_measure(&row, &results.series[measure]);
        bench_row_add(bench, &row);
    }
    return true;
}
