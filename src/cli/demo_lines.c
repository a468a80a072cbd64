/*
 * The demos `append` and `shared-handle`: many processes write lines to one file, and then
 * the file is checked.
 */
#include "cli/demo.h"
#include "cli/demo_run.h"
#include "cli/demo_text.h"
#include "cli/demo_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Messages of a trace that is not said to be longer. */
#define TRACE_LIMIT 60

struct lines_demo {
    enum demo_kind kind;
    const char *file; /* its name */
    const struct demo_options *options;
    struct workload workload;
    struct demo_stage stage;
    struct run run;
    uint64_t messages_before;
};

static int load_workload(struct lines_demo *demo, const char *name)
{
    const struct demo_options *options = demo->options;
    const int result = options->input != NULL
                           ? workload_load(&demo->workload, options->clients, options->input)
                           : workload_generate(&demo->workload, options->clients, options->lines);
    if (result < 0) {
        fprintf(stderr,
                "holdfast: demo %s: %s: %s\n",
                name,
                options->input != NULL ? options->input : "the lines",
                result == -EFBIG ? "a line is too long for one system call" : strerror(-result));
        return 1;
    }
    demo->workload.tagged = options->kill;
    return 0;
}

static uint64_t count_messages(const struct lines_demo *demo)
{
    hf_server_stats stats;
    hf_server_get_stats(demo->stage.server, &stats);
    return stats.acquires + stats.releases + stats.cancels + stats.grants + stats.denials +
           stats.recalls + stats.operations;
}

static void print_intro(const struct lines_demo *demo)
{
    const struct workload *workload = &demo->workload;
    printf("%s: %u client%s write%s ",
           demo->stage.demo,
           workload->clients,
           demo_plural(workload->clients),
           workload->clients == 1 ? "s" : "");
    if (demo->options->input != NULL) {
        printf("the %s line%s of %s",
               demo_number(workload->total).text,
               demo_plural(workload->total),
               demo->options->input);
    } else {
        printf("%s line%s%s",
               demo_number(demo->options->lines).text,
               demo_plural(demo->options->lines),
               workload->clients == 1 ? "" : " each");
    }
    printf(" to %s, %s\n",
           stage_place(&demo->stage, demo->file).text,
           demo->kind == DEMO_APPEND ? "each client through its own O_APPEND open file"
                                     : "all through one open file with one offset");
}

/* Make the file, empty, and the columns of the trace. Return: 0, or 1 after saying why not. */
static int set_up(struct lines_demo *demo)
{
    struct demo_stage *stage = &demo->stage;
    struct worker_task *task = &demo->run.task;
    *task = (struct worker_task){
        .stage = stage,
        .workload = &demo->workload,
        .kind = demo->kind,
        .path = demo->file,
        .fd = -1,
    };
    demo->run.kills_planned = run_plan_kills(demo->options, &demo->workload);
    task->board = board_new(&demo->workload, demo->run.kills_planned);
    if (task->board == NULL) {
        stage_complain(
            stage, "no memory to note %s lines in", demo_number(demo->workload.total).text);
        return 1;
    }
    const int fd = hf_open(stage->fs, demo->file, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) {
        stage_complain(stage, "%s: %s", stage_place(stage, demo->file).text, strerror(-fd));
        return 1;
    }
    if (demo->kind == DEMO_SHARED_HANDLE) {
        task->fd = fd;
    } else {
        hf_close(stage->fs, fd);
    }
    if (stage->trace != NULL) {
        trace_view_place_client(stage->trace,
                                hf_client_number(stage->client),
                                trace_view_add_column(stage->trace, "parent"));
        for (unsigned client = 0; client < demo->workload.clients; client++) {
            char title[16];
            snprintf(title, sizeof(title), "c%u", client + 1);
            trace_view_add_column(stage->trace, title);
        }
        stage_name_file(stage, demo->file);
    }
    demo->messages_before = count_messages(demo);
    return 0;
}

/* ---- the result ---- */

static void print_trace(const struct lines_demo *demo)
{
    struct trace_view *trace = demo->stage.trace;
    if (trace == NULL) {
        return;
    }
    const uint64_t left_out = trace_view_left_out(trace);
    printf("\n");
    trace_view_print_titles(trace, stdout);
    trace_view_print(trace, stdout);
    if (left_out > 0) {
        printf("... and %s more messages; --trace=N shows N arrows\n", demo_number(left_out).text);
    }
    printf("\n");
}

static void print_speed(const struct lines_demo *demo)
{
    const struct run *run = &demo->run;
    const uint64_t total = demo->workload.total;
    const double seconds = (double)(run->end_ns - run->begin_ns) / 1e9;
    const uint64_t messages = count_messages(demo) - demo->messages_before;
    printf("%s: %u client%s wrote %s line%s in %.2f s: %s lines/s, %.3f messages per line\n",
           demo->stage.demo,
           demo->workload.clients,
           demo_plural(demo->workload.clients),
           demo_number(total).text,
           demo_plural(total),
           seconds,
           demo_number((uint64_t)((double)total / seconds)).text,
           total == 0 ? 0.0 : (double)messages / (double)total);
}

static void print_kills(const struct lines_demo *demo, const struct verify_result *result)
{
    const struct board *board = demo->run.task.board;
    const uint64_t kills = demo->run.kills_done;
    const uint64_t doubts = atomic_load(&board->doubt_count);
    printf("%s: %s client%s killed and replaced, %s line%s in doubt",
           demo->stage.demo,
           demo_number(kills).text,
           demo_plural(kills),
           demo_number(doubts).text,
           demo_plural(doubts));
    if (doubts > 0) {
        printf(": %s had been written, %s had to be written again",
               demo_number(board_count_doubts(board, DOUBT_WRITTEN)).text,
               demo_number(doubts - board_count_doubts(board, DOUBT_WRITTEN)).text);
    }
    printf("\n");
    if (result->fragments > 0) {
        printf("%s: %s of them left a fragment: the kernel cut the write short, between two "
               "pages\n",
               demo->stage.demo,
               demo_number(result->fragments).text);
    }
}

/* Return: 0 if all is well, else 1 after saying what is not. */
static int print_verdict(const struct lines_demo *demo, const struct verify_result *result)
{
    if (verify_passed(result)) {
        printf("%s: checked %s line%s: every line there once, none torn, none doubled, each "
               "client's order kept\n",
               demo->stage.demo,
               demo_number(result->lines).text,
               demo_plural(result->lines));
        return 0;
    }
    stage_complain(&demo->stage,
                   "the file is wrong: %s lost, %s torn, %s doubled, %s out of order, %s right",
                   demo_number(result->lost).text,
                   demo_number(result->torn).text,
                   demo_number(result->doubled).text,
                   demo_number(result->misplaced).text,
                   demo_number(result->lines).text);
    for (unsigned i = 0; i < result->example_count; i++) {
        fprintf(stderr, "  %s\n", result->examples[i]);
    }
    if (demo->stage.temporary) {
        fprintf(stderr, "  (--dir DIR keeps the file)\n");
    }
    return 1;
}

/* Compare what the filesystem says with the file itself. */
static int check_size(const struct lines_demo *demo, off_t size)
{
    struct stat status;
    const int result = hf_stat(demo->stage.fs, demo->file, &status);
    if (result < 0) {
        stage_complain(&demo->stage, "%s: %s", demo->file, strerror(-result));
        return 1;
    }
    if (status.st_size != size) {
        stage_complain(&demo->stage,
                       "hf_stat() is stale: it says %jd bytes, and there are %jd",
                       (intmax_t)status.st_size,
                       (intmax_t)size);
        return 1;
    }
    return 0;
}

static int check_bytes(const struct lines_demo *demo, const char *bytes, size_t size)
{
    const struct board *board = demo->run.task.board;
    struct line_name *doubts;
    const size_t doubt_count = board_possible_fragments(board, demo->workload.clients, &doubts);
    const struct verify_task task = {
        .workload = &demo->workload,
        .bytes = bytes,
        .size = size,
        .ends = board->ends,
        .doubts = doubts,
        .doubt_count = doubt_count,
        .fragments_allowed = demo->kind == DEMO_APPEND && doubt_count > 0,
    };
    struct verify_result result;
    const int error = verify_file(&task, &result);
    free(doubts);
    if (error < 0) {
        stage_complain(&demo->stage, "the file cannot be checked: %s", strerror(-error));
        return 1;
    }
    if (demo->options->kill) {
        print_kills(demo, &result);
    }
    return print_verdict(demo, &result);
}

/* The file as it stands in the host's directory, past the filesystem. */
static int map_host_file(const struct lines_demo *demo, void **bytes, size_t *size)
{
    const int file = open(stage_place(&demo->stage, demo->file).text, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0) {
        return -errno;
    }
    int result = fstat(file, &status) < 0 ? -errno : 0;
    if (result == 0 && status.st_size > 0) {
        *size = (size_t)status.st_size;
        *bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0);
        result = *bytes == MAP_FAILED ? -errno : 0;
    }
    close(file);
    return result;
}

/* All of it that there is, up to @size. */
static int read_all(hf_fs *fs, int fd, char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t count = hf_pread(fs, fd, bytes + done, size - done, (off_t)done);
        if (count <= 0) {
            return count < 0 ? (int)count : -EIO;
        }
        done += (size_t)count;
    }
    return 0;
}

/* The file as this process, which wrote none of it, reads it from the server. */
static int map_served_file(const struct lines_demo *demo, void **bytes, size_t *size)
{
    hf_fs *fs = demo->stage.fs;
    struct stat status;
    const int fd = hf_open(fs, demo->file, O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    int result = hf_fstat(fs, fd, &status);
    if (result == 0 && status.st_size > 0) {
        *size = (size_t)status.st_size;
        *bytes = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        result = *bytes == MAP_FAILED ? -errno : read_all(fs, fd, *bytes, *size);
    }
    hf_close(fs, fd);
    return result;
}

static int check_file(const struct lines_demo *demo)
{
    void *bytes = NULL;
    size_t size = 0;
    int result = demo->stage.on_host ? map_host_file(demo, &bytes, &size)
                                     : map_served_file(demo, &bytes, &size);
    if (result < 0) {
        stage_complain(
            &demo->stage, "%s: %s", stage_place(&demo->stage, demo->file).text, strerror(-result));
        result = 1;
    } else {
        result = check_size(demo, (off_t)size);
        result |= check_bytes(demo, bytes, size);
    }
    if (bytes != NULL && bytes != MAP_FAILED) {
        munmap(bytes, size);
    }
    return result;
}

static int run_demo(struct lines_demo *demo)
{
    int result = set_up(demo);
    if (result == 0) {
        print_intro(demo);
        result = run_workers(&demo->run);
        print_trace(demo);
    }
    if (result == 0) {
        print_speed(demo);
        result = check_file(demo);
    }
    if (demo->run.task.fd >= 0) {
        hf_close(demo->stage.fs, demo->run.task.fd);
    }
    demo->run.task.board = board_free(demo->run.task.board);
    return result;
}

static int demo_lines(struct lines_demo *demo, const char *name)
{
    if (load_workload(demo, name) != 0) {
        return 1;
    }
    int result = stage_begin(&demo->stage, name, demo->options, TRACE_LIMIT);
    if (result == 0) {
        result = run_demo(demo);
        stage_end(&demo->stage);
    }
    workload_deinit(&demo->workload);
    return result;
}

int demo_append(const struct demo_options *options)
{
    struct lines_demo demo = {
        .kind = DEMO_APPEND,
        .file = "demo-append.txt",
        .options = options,
    };
    return demo_lines(&demo, "append");
}

int demo_shared_handle(const struct demo_options *options)
{
    struct lines_demo demo = {
        .kind = DEMO_SHARED_HANDLE,
        .file = "demo-shared.txt",
        .options = options,
    };
    return demo_lines(&demo, "shared-handle");
}
