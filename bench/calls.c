#include "calls.h"

#include "base/clock.h"
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lock.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WRITE_SIZE 64
#define WRITE_PLACES 64 /* a page of them */
#define PAGE_SIZE 4096
#define PAGES 16
#define READ_SIZE 65536 /* as the server */

/* What a call works on: a file three deep, open on either side. */
#define DEEP_PATH "one/two/three"
#define MISSING_PATH "one/two/four"
#define NEW_PATH "one/two/new"

struct calls_state {
    struct fs_subject subject;
    int our_file, kernel_file;
    int our_log, kernel_log; /* with O_APPEND */
    struct child reader;     /* of bare bytes */
};

struct calls_arguments {
    const char *mount;
    const struct call *calls;
    size_t call_count;
    const struct bench *bench;
    int socket;
};

struct calls_results {
    struct bench_series series[CALLS_MAX];
    double messages_per_op[CALLS_MAX];
};

/* ---- the calls ---- */

static bool our_stat(struct calls_state *state, uint64_t i)
{
    struct stat attributes;
    return hf_stat(state->subject.fs, DEEP_PATH, &attributes) == 0;
}

static bool kernel_stat(struct calls_state *state, uint64_t i)
{
    struct stat attributes;
    return stat(DEEP_PATH, &attributes) == 0;
}

const struct operation operation_stat = {.ours = our_stat, .kernels = kernel_stat};

static bool our_stat_missing(struct calls_state *state, uint64_t i)
{
    struct stat attributes;
    return hf_stat(state->subject.fs, MISSING_PATH, &attributes) == -ENOENT;
}

static bool kernel_stat_missing(struct calls_state *state, uint64_t i)
{
    struct stat attributes;
    return stat(MISSING_PATH, &attributes) < 0 && errno == ENOENT;
}

const struct operation operation_stat_missing = {.ours = our_stat_missing,
                                                 .kernels = kernel_stat_missing};

static bool our_fstat(struct calls_state *state, uint64_t i)
{
    struct stat attributes;
    return hf_fstat(state->subject.fs, state->our_file, &attributes) == 0;
}

static bool kernel_fstat(struct calls_state *state, uint64_t i)
{
    struct stat attributes;
    return fstat(state->kernel_file, &attributes) == 0;
}

const struct operation operation_fstat = {.ours = our_fstat, .kernels = kernel_fstat};

static bool our_open(struct calls_state *state, uint64_t i)
{
    int fd = hf_open(state->subject.fs, DEEP_PATH, O_RDONLY, 0);
    return fd >= 0 && hf_close(state->subject.fs, fd) == 0;
}

static bool kernel_open(struct calls_state *state, uint64_t i)
{
    int fd = open(DEEP_PATH, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && close(fd) == 0;
}

const struct operation operation_open = {.ours = our_open, .kernels = kernel_open};

static const char written[WRITE_SIZE] =
    "63 bytes and an end of line, as a log has them ...............\n";

static bool our_pwrite(struct calls_state *state, uint64_t i)
{
    const off_t place = (off_t)(i % WRITE_PLACES) * WRITE_SIZE;
    return hf_pwrite(state->subject.fs, state->our_file, written, WRITE_SIZE, place) == WRITE_SIZE;
}

static bool kernel_pwrite(struct calls_state *state, uint64_t i)
{
    const off_t place = (off_t)(i % WRITE_PLACES) * WRITE_SIZE;
    return pwrite(state->kernel_file, written, WRITE_SIZE, place) == WRITE_SIZE;
}

const struct operation operation_write_64_at_place = {.ours = our_pwrite, .kernels = kernel_pwrite};

static bool our_write(struct calls_state *state, uint64_t i)
{
    return (i % WRITE_PLACES != 0 ||
            hf_lseek(state->subject.fs, state->our_file, 0, SEEK_SET) == 0) &&
           hf_write(state->subject.fs, state->our_file, written, WRITE_SIZE) == WRITE_SIZE;
}

static bool kernel_write(struct calls_state *state, uint64_t i)
{
    return (i % WRITE_PLACES != 0 || lseek(state->kernel_file, 0, SEEK_SET) == 0) &&
           write(state->kernel_file, written, WRITE_SIZE) == WRITE_SIZE;
}

const struct operation operation_write_64 = {.ours = our_write, .kernels = kernel_write};

static bool our_append(struct calls_state *state, uint64_t i)
{
    return hf_write(state->subject.fs, state->our_log, written, WRITE_SIZE) == WRITE_SIZE;
}

static bool kernel_append(struct calls_state *state, uint64_t i)
{
    return write(state->kernel_log, written, WRITE_SIZE) == WRITE_SIZE;
}

const struct operation operation_append_64 = {.ours = our_append, .kernels = kernel_append};

static bool our_write_page(struct calls_state *state, uint64_t i)
{
    static const char bytes[PAGE_SIZE];
    const off_t place = (off_t)(i % PAGES) * PAGE_SIZE;
    return hf_pwrite(state->subject.fs, state->our_file, bytes, PAGE_SIZE, place) == PAGE_SIZE;
}

static bool kernel_write_page(struct calls_state *state, uint64_t i)
{
    static const char bytes[PAGE_SIZE];
    const off_t place = (off_t)(i % PAGES) * PAGE_SIZE;
    return pwrite(state->kernel_file, bytes, PAGE_SIZE, place) == PAGE_SIZE;
}

const struct operation operation_write_page = {.ours = our_write_page,
                                               .kernels = kernel_write_page};

static bool bare_send_page(struct calls_state *state, uint64_t i)
{
    static const char bytes[PAGE_SIZE];
    return channel_send(state->reader.channel, bytes, PAGE_SIZE);
}

const struct operation operation_send_page = {.ours = bare_send_page, .kernels = kernel_write_page};

static bool our_read_page(struct calls_state *state, uint64_t i)
{
    char bytes[PAGE_SIZE];
    const off_t place = (off_t)(i % PAGES) * PAGE_SIZE;
    return hf_pread(state->subject.fs, state->our_file, bytes, PAGE_SIZE, place) == PAGE_SIZE;
}

static bool kernel_read_page(struct calls_state *state, uint64_t i)
{
    char bytes[PAGE_SIZE];
    const off_t place = (off_t)(i % PAGES) * PAGE_SIZE;
    return pread(state->kernel_file, bytes, PAGE_SIZE, place) == PAGE_SIZE;
}

const struct operation operation_read_page = {.ours = our_read_page, .kernels = kernel_read_page};

static bool our_create(struct calls_state *state, uint64_t i)
{
    int fd = hf_open(state->subject.fs, NEW_PATH, O_WRONLY | O_CREAT | O_EXCL, 0644);
    return fd >= 0 && hf_close(state->subject.fs, fd) == 0 &&
           hf_unlink(state->subject.fs, NEW_PATH) == 0;
}

static bool kernel_create(struct calls_state *state, uint64_t i)
{
    int fd = open(NEW_PATH, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd >= 0 && close(fd) == 0 && unlink(NEW_PATH) == 0;
}

const struct operation operation_create = {.ours = our_create, .kernels = kernel_create};

static bool create_and_write(hf_fs *fs)
{
    const int fd = side_open(fs, NEW_PATH, O_WRONLY | O_CREAT | O_EXCL, 0644);
    return fd >= 0 && side_write(fs, fd, written, WRITE_SIZE) == WRITE_SIZE &&
           side_close(fs, fd) == 0 && side_unlink(fs, NEW_PATH) == 0;
}

static bool our_create_and_write(struct calls_state *state, uint64_t i)
{
    return create_and_write(state->subject.fs);
}

static bool kernel_create_and_write(struct calls_state *state, uint64_t i)
{
    return create_and_write(NULL);
}

const struct operation operation_create_and_write = {.ours = our_create_and_write,
                                                     .kernels = kernel_create_and_write};

static bool lock_byte(hf_fs *fs, int fd, int command)
{
    return side_lock(fs, fd, command, F_WRLCK, 0) == 0 &&
           side_lock(fs, fd, command, F_UNLCK, 0) == 0;
}

static bool our_lock_posix(struct calls_state *state, uint64_t i)
{
    return lock_byte(state->subject.fs, state->our_file, F_SETLK);
}

static bool kernel_lock_posix(struct calls_state *state, uint64_t i)
{
    return lock_byte(NULL, state->kernel_file, F_SETLK);
}

const struct operation operation_lock_posix = {.ours = our_lock_posix,
                                               .kernels = kernel_lock_posix};

static bool our_lock_ofd(struct calls_state *state, uint64_t i)
{
    return lock_byte(state->subject.fs, state->our_file, F_OFD_SETLK);
}

static bool kernel_lock_ofd(struct calls_state *state, uint64_t i)
{
    return lock_byte(NULL, state->kernel_file, F_OFD_SETLK);
}

const struct operation operation_lock_ofd = {.ours = our_lock_ofd, .kernels = kernel_lock_ofd};

static bool our_flock(struct calls_state *state, uint64_t i)
{
    return hf_flock(state->subject.fs, state->our_file, LOCK_EX, NULL) == 0 &&
           hf_flock(state->subject.fs, state->our_file, LOCK_UN, NULL) == 0;
}

static bool kernel_flock(struct calls_state *state, uint64_t i)
{
    return flock(state->kernel_file, LOCK_EX) == 0 && flock(state->kernel_file, LOCK_UN) == 0;
}

const struct operation operation_flock = {.ours = our_flock, .kernels = kernel_flock};

/* ---- the process ---- */

/* The least that somebody does who is sent bytes. */
static bool reader_main(int channel, void *context)
{
    static char bytes[READ_SIZE];
    while (recv(channel, bytes, sizeof(bytes), 0) > 0) {
    }
    return true;
}

static bool make_files(hf_fs *fs)
{
    if (side_mkdir(fs, "one", 0755) != 0 || side_mkdir(fs, "one/two", 0755) != 0) {
        return bench_fail("cannot make directories");
    }
    return side_make_file(fs, DEEP_PATH, PAGES * PAGE_SIZE);
}

static bool open_files(struct calls_state *state)
{
    const int log_flags = O_WRONLY | O_CREAT | O_APPEND;
    state->our_file = hf_open(state->subject.fs, DEEP_PATH, O_RDWR, 0);
    state->our_log = hf_open(state->subject.fs, "one/two/our.log", log_flags, 0644);
    state->kernel_file = open(DEEP_PATH, O_RDWR | O_CLOEXEC);
    state->kernel_log = open("one/two/kernel.log", log_flags | O_CLOEXEC, 0644);
    return (state->our_file >= 0 && state->our_log >= 0 && state->kernel_file >= 0 &&
            state->kernel_log >= 0) ||
           bench_fail("cannot open the files");
}

/* Nanoseconds per call; negative when one failed. */
static double time_calls(struct calls_state *state, const struct call *call, uint64_t count,
                         bool (*make)(struct calls_state *state, uint64_t i))
{
    uint64_t (*const now_ns)(void) = call->takes_messages ? clock_now_ns : bench_thread_ns;
    const uint64_t begin = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (!make(state, i)) {
            bench_fail("%s: operation %llu went wrong", call->name, (unsigned long long)i);
            return -1;
        }
    }
    return (double)(now_ns() - begin) / (double)count;
}

static bool measure_call(struct calls_state *state, const struct calls_arguments *arguments,
                         size_t number, struct calls_results *results)
{
    const struct call *call = &arguments->calls[number];
    const uint64_t count = bench_scale(arguments->bench, call->count);
    /* Once before: from then on everything is held that will be used. */
    if (!call->operation->ours(state, 0) || !call->operation->kernels(state, 0)) {
        return bench_fail("%s: the first operation went wrong", call->name);
    }
    const uint64_t messages = client_messages(state->subject.client);
    for (unsigned round = 0; round < arguments->bench->rounds; round++) {
        const double ours = time_calls(state, call, count, call->operation->ours);
        const double kernels = time_calls(state, call, count, call->operation->kernels);
        if (ours < 0 || kernels < 0) {
            return false;
        }
        bench_series_add(&results->series[number], ours, kernels);
    }
    results->messages_per_op[number] = (double)(client_messages(state->subject.client) - messages) /
                                       ((double)count * arguments->bench->rounds);
    return true;
}

/* The first reading that is later than the last change moves the time of access, and the clock of
 * files goes by ticks. */
static void wait_for_tick(void)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_REALTIME_COARSE, &begin);
    do {
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec == begin.tv_sec && now.tv_nsec == begin.tv_nsec);
}

static bool calls_main(int channel, void *context)
{
    const struct calls_arguments *arguments = context;
    struct calls_state state;
    struct calls_results results = {0};
    if (!child_start(&state.reader, reader_main, NULL, NULL, 0)) {
        return false;
    }
    if (!fs_subject_connect(&state.subject, arguments->socket, arguments->mount) ||
        !fs_subject_attach(&state.subject) || !make_files(NULL) ||
        (arguments->mount != NULL && !make_files(state.subject.fs)) || !open_files(&state)) {
        return false;
    }
    /* What the server has been asked for ahead has come when this has. */
    if (side_fsync(state.subject.fs, state.our_log) != 0) {
        return bench_fail("cannot sync");
    }
    wait_for_tick();
    for (size_t i = 0; i < arguments->call_count; i++) {
        if (!measure_call(&state, arguments, i, &results)) {
            return false;
        }
    }
    fs_subject_close(&state.subject);
    return child_end(&state.reader) && channel_send(channel, &results, sizeof(results));
}

bool calls_measure(struct bench *bench, const char *mount, const struct call *calls,
                   size_t call_count)
{
    struct fs_place place;
    struct calls_results results;
    struct calls_arguments arguments = {
        .mount = mount, .calls = calls, .call_count = call_count, .bench = bench};
    if (!fs_place_make(bench, &place)) {
        return false;
    }
    const bool done = client_child_run(
        mount, calls_main, &arguments, &arguments.socket, &results, sizeof(results));
    if (!fs_place_remove(&place, done)) {
        return false;
    }
    for (size_t i = 0; i < call_count; i++) {
        struct bench_row row = {.name = calls[i].name,
                                .unit = "ns",
                                .yardstick_name = calls[i].yardstick_name,
                                .messages_per_op = results.messages_per_op[i],
                                .goal = calls[i].goal};
        bench_row_measure(&row, &results.series[i]);
        bench_row_add(bench, &row);
    }
    return true;
}
