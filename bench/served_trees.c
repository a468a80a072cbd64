/*
 * The part of the group `served` that does what tar does with a source tree: unpack it; and what rm
 * does then.
 */
#include "base/clock.h"
#include "fs.h"
#include "served.h"
#include "side.h"

#include <fcntl.h>
#include <sys/stat.h>

#define TREE "tree"
#define FILES 5000
#define FILES_PER_DIRECTORY 40
#define DIRECTORIES_PER_TOP 8
#define FILE_SIZE_MIN ((size_t)128)
#define FILE_SIZE_DOUBLINGS 7
#define BLOCK 10240 /* what tar writes at once */
#define PATH_SIZE 64

enum { UNPACK, REMOVE, JOBS };

struct untar_arguments {
    const struct bench *bench;
    uint64_t files;
    int socket;
};

struct untar_results {
    struct bench_series series[JOBS];
    double messages_per_file[JOBS];
};

/* ---- the tree ---- */

/* From 128 bytes to 16 KiB: as many from each size to twice that. */
static size_t file_size(uint64_t number)
{
    const size_t at_least = FILE_SIZE_MIN << number % FILE_SIZE_DOUBLINGS;
    return at_least + (size_t)number * 7919 % at_least;
}

static uint64_t directory_count(uint64_t files)
{
    return (files + FILES_PER_DIRECTORY - 1) / FILES_PER_DIRECTORY;
}

static void top_path(char path[PATH_SIZE], uint64_t directory)
{
    snprintf(path, PATH_SIZE, TREE "/%llu", (unsigned long long)(directory / DIRECTORIES_PER_TOP));
}

static void directory_path(char path[PATH_SIZE], uint64_t directory)
{
    snprintf(path,
             PATH_SIZE,
             TREE "/%llu/%llu",
             (unsigned long long)(directory / DIRECTORIES_PER_TOP),
             (unsigned long long)directory);
}

static void file_path(char path[PATH_SIZE], uint64_t number)
{
    const uint64_t directory = number / FILES_PER_DIRECTORY;
    snprintf(path,
             PATH_SIZE,
             TREE "/%llu/%llu/source-%llu.c",
             (unsigned long long)(directory / DIRECTORIES_PER_TOP),
             (unsigned long long)directory,
             (unsigned long long)number);
}

/* ---- unpacking and removing ---- */

static bool write_file(hf_fs *fs, const char *path, size_t size)
{
    static const char block[BLOCK];
    static const struct timespec times[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1600000000}};
    const int fd = side_open(fs, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    bool done = fd >= 0;
    while (done && size > 0) {
        const size_t part = size < BLOCK ? size : BLOCK;
        done = side_write(fs, fd, block, part) == (ssize_t)part;
        size -= part;
    }
    return done && side_futimens(fs, fd, times) == 0 && side_fchmod(fs, fd, 0644) == 0 &&
           side_close(fs, fd) == 0;
}

static bool make_directories(hf_fs *fs, uint64_t directory)
{
    char path[PATH_SIZE];
    if (directory % DIRECTORIES_PER_TOP == 0) {
        top_path(path, directory);
        if (side_mkdir(fs, path, 0755) != 0) {
            return false;
        }
    }
    directory_path(path, directory);
    return side_mkdir(fs, path, 0755) == 0;
}

static bool unpack(hf_fs *fs, uint64_t files)
{
    char path[PATH_SIZE];
    bool done = side_mkdir(fs, TREE, 0755) == 0;
    for (uint64_t i = 0; done && i < files; i++) {
        done = i % FILES_PER_DIRECTORY != 0 || make_directories(fs, i / FILES_PER_DIRECTORY);
        file_path(path, i);
        done = done && write_file(fs, path, file_size(i));
    }
    return done;
}

static bool remove_tree(hf_fs *fs, uint64_t files)
{
    char path[PATH_SIZE];
    bool done = true;
    for (uint64_t i = 0; done && i < files; i++) {
        file_path(path, i);
        done = side_unlink(fs, path) == 0;
    }
    for (uint64_t i = 0; done && i < directory_count(files); i++) {
        directory_path(path, i);
        done = side_rmdir(fs, path) == 0;
    }
    for (uint64_t i = 0; done && i < directory_count(files); i += DIRECTORIES_PER_TOP) {
        top_path(path, i);
        done = side_rmdir(fs, path) == 0;
    }
    return done && side_rmdir(fs, TREE) == 0;
}

/* ---- the process ---- */

static bool (*const jobs[JOBS])(hf_fs *fs, uint64_t files) = {unpack, remove_tree};

/* Nanoseconds per file; negative when it failed. */
static double time_job(int job, hf_fs *fs, uint64_t files)
{
    const uint64_t begin = clock_now_ns();
    if (!jobs[job](fs, files)) {
        bench_fail("the tree could not be %s", job == UNPACK ? "unpacked" : "removed");
        return -1;
    }
    return (double)(clock_now_ns() - begin) / (double)files;
}

static bool measure_round(const struct fs_subject *subject, const struct untar_arguments *arguments,
                          struct untar_results *results)
{
    const uint64_t files = arguments->files;
    for (int job = UNPACK; job < JOBS; job++) {
        const uint64_t before = client_messages(subject->client);
        const double our_ns = time_job(job, subject->fs, files);
        const uint64_t messages = client_messages(subject->client) - before;
        const double kernel_ns = time_job(job, NULL, files);
        if (our_ns < 0 || kernel_ns < 0) {
            return false;
        }
        bench_series_add(&results->series[job], our_ns, kernel_ns);
        results->messages_per_file[job] +=
            (double)messages / (double)files / (double)arguments->bench->rounds;
    }
    return true;
}

static bool untar_main(int channel, void *context)
{
    const struct untar_arguments *arguments = context;
    struct fs_subject subject;
    struct untar_results results = {0};
    bool done = fs_subject_connect(&subject, arguments->socket, SERVED_MOUNT) &&
                fs_subject_attach(&subject);
    for (unsigned round = 0; done && round < arguments->bench->rounds; round++) {
        done = measure_round(&subject, arguments, &results);
    }
    fs_subject_close(&subject);
    return done && channel_send(channel, &results, sizeof(results));
}

bool bench_served_untar(struct bench *bench)
{
    static const char *const names[JOBS] = {
        "served: untar of 5,000 files, per file",
        "served: removal of that tree, per file",
    };
    struct fs_place place;
    struct untar_results results;
    struct untar_arguments arguments = {.bench = bench, .files = bench_scale(bench, FILES)};
    if (!fs_place_make(bench, &place)) {
        return false;
    }
    const bool done = client_child_run(
        SERVED_MOUNT, untar_main, &arguments, &arguments.socket, &results, sizeof(results));
    if (!fs_place_remove(&place, done)) {
        return false;
    }
    for (int job = UNPACK; job < JOBS; job++) {
        struct bench_row row = {.name = names[job],
                                .unit = "ns",
                                .yardstick_name = "kernel",
                                .messages_per_op = results.messages_per_file[job]};
        bench_row_measure(&row, &results.series[job]);
        bench_row_add(bench, &row);
    }
    return true;
}
