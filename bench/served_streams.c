/*
 * The part of the group `served` in which one process writes and reads a large file from end to end.
 *
 * A file is written anew, and over what is there, and with that brought to where it belongs
 * (fsync). It is read by a filesystem that knows nothing yet, and again. The kernel's file is always
 * in memory, so that it is never cold: its first reading is that through a fresh open file.
 */
#include "base/clock.h"
#include "fs.h"
#include "served.h"
#include "side.h"

#include <fcntl.h>
#include <stdlib.h>

#define STREAM_SIZE (UINT64_C(64) << 20)
#define CHUNK ((size_t)128 << 10)
#define PATH "stream"

enum { WRITE_NEW, WRITE_AGAIN, READ_COLD, READ_WARM, STREAMS };

struct streams_arguments {
    const struct bench *bench;
    uint64_t size;
    int socket;
};

struct streams_results {
    struct bench_series series[STREAMS];
    double messages_per_chunk[STREAMS];
};

static bool write_all(hf_fs *fs, int fd, char *chunk, uint64_t size)
{
    for (; size > 0; size -= CHUNK) {
        if (side_write(fs, fd, chunk, CHUNK) != CHUNK) {
            return false;
        }
    }
    return side_fsync(fs, fd) == 0;
}

static bool read_all(hf_fs *fs, int fd, char *chunk, uint64_t size)
{
    for (; size > 0; size -= CHUNK) {
        if (side_read(fs, fd, chunk, CHUNK) != CHUNK) {
            return false;
        }
    }
    return true;
}

/* MB/s; negative when it failed. */
static double time_stream(int stream, hf_fs *fs, char *chunk, uint64_t size)
{
    static const int flags[STREAMS] = {O_WRONLY | O_CREAT | O_EXCL, O_WRONLY, O_RDONLY, O_RDONLY};
    const int fd = side_open(fs, PATH, flags[stream], 0644);
    const uint64_t begin = clock_now_ns();
    const bool done = fd >= 0 && (stream < READ_COLD ? write_all(fs, fd, chunk, size)
                                                     : read_all(fs, fd, chunk, size));
    const uint64_t end = clock_now_ns();
    if (!done || side_close(fs, fd) != 0) {
        bench_fail("a large file could not be %s", stream < READ_COLD ? "written" : "read");
        return -1;
    }
    return (double)size * 1000 / (double)(end - begin);
}

static bool measure_stream(const struct fs_subject *subject,
                           const struct streams_arguments *arguments, int stream, char *chunk,
                           struct streams_results *results)
{
    const double chunks = (double)(arguments->size / CHUNK) * arguments->bench->rounds;
    const uint64_t before = client_messages(subject->client);
    const double ours = time_stream(stream, subject->fs, chunk, arguments->size);
    const uint64_t messages = client_messages(subject->client) - before;
    const double kernels = time_stream(stream, NULL, chunk, arguments->size);
    if (ours < 0 || kernels < 0) {
        return false;
    }
    bench_series_add(&results->series[stream], ours, kernels);
    results->messages_per_chunk[stream] += (double)messages / chunks;
    return true;
}

static bool measure_round(struct fs_subject *subject, const struct streams_arguments *arguments,
                          char *chunk, struct streams_results *results)
{
    for (int stream = WRITE_NEW; stream < STREAMS; stream++) {
        if (stream == READ_COLD) {
            fs_subject_detach(subject);
            if (!fs_subject_attach(subject)) {
                return false;
            }
        }
        if (!measure_stream(subject, arguments, stream, chunk, results)) {
            return false;
        }
    }
    return (side_unlink(subject->fs, PATH) == 0 && side_unlink(NULL, PATH) == 0) ||
           bench_fail("a large file could not be removed");
}

static bool streams_main(int channel, void *context)
{
    const struct streams_arguments *arguments = context;
    struct fs_subject subject;
    struct streams_results results = {0};
    char *chunk = calloc(1, CHUNK);
    bool done = chunk != NULL && fs_subject_connect(&subject, arguments->socket, SERVED_MOUNT) &&
                fs_subject_attach(&subject);
    for (unsigned round = 0; done && round < arguments->bench->rounds; round++) {
        done = measure_round(&subject, arguments, chunk, &results);
    }
    free(chunk);
    if (!done) {
        return false;
    }
    fs_subject_close(&subject);
    return channel_send(channel, &results, sizeof(results));
}

bool bench_served_streams(struct bench *bench)
{
    static const char *const names[STREAMS] = {
        "served: 64 MiB written in 128 KiB, new file",
        "served: 64 MiB written in 128 KiB, again",
        "served: 64 MiB read in 128 KiB, cold",
        "served: 64 MiB read in 128 KiB, warm",
    };
    static const char *const yardsticks[STREAMS] = {"tmpfs", "tmpfs", "never cold", "tmpfs"};
    struct fs_place place;
    struct streams_results results;
    struct streams_arguments arguments = {.bench = bench,
                                          .size = bench_scale(bench, STREAM_SIZE / CHUNK) * CHUNK};
    if (!fs_place_make(bench, &place)) {
        return false;
    }
    const bool done = client_child_run(
        SERVED_MOUNT, streams_main, &arguments, &arguments.socket, &results, sizeof(results));
    if (!fs_place_remove(&place, done)) {
        return false;
    }
    for (int stream = WRITE_NEW; stream < STREAMS; stream++) {
        struct bench_row row = {.name = names[stream],
                                .unit = "MB/s",
                                .yardstick_name = yardsticks[stream],
                                .messages_per_op = results.messages_per_chunk[stream]};
        bench_row_measure(&row, &results.series[stream]);
        bench_row_add(bench, &row);
    }
    return true;
}
