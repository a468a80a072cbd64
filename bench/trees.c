/*
 * The parts of the group `fs` that read directories: a large one, and a whole tree.
 *
 * "First" and "cold" are about what our client knows: it attaches anew before each pass. The
 * kernel has everything in memory all the time.
 */
#include "base/clock.h"
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES 10000
#define READDIR_PATH "many"

/* 10 directories with 100 directories with 100 files each. */
#define TREE_PATH "tree"
#define TREE_TOP 10
#define TREE_TOP_QUICK 1
#define TREE_WIDTH 100
#define WALK_ROUNDS                                                                                \
    1 /* the mean over so many files stands by itself, and more would take too long */
#define WALK_PATH_MAX 128

enum { FIRST, AGAIN, PASSES };

struct tree_arguments {
    const struct bench *bench;
    uint64_t (*now_ns)(void); /* the thread's time, unless most of it passes waiting for answers */
    uint64_t items;           /* entries or files */
    int socket;
};

struct tree_results {
    struct bench_series series[PASSES];
    double messages_per_item[PASSES];
};

/* One pass over everything: how many entries or files there were; 0 when something failed. */
typedef uint64_t pass_function(struct fs_subject *subject);

/* Nanoseconds per item; negative when the pass did not see what is there. */
static double time_pass(pass_function *pass, struct fs_subject *subject,
                        const struct tree_arguments *arguments)
{
    const uint64_t begin = arguments->now_ns();
    const uint64_t seen = pass(subject);
    const uint64_t end = arguments->now_ns();
    if (seen != arguments->items) {
        bench_fail(
            "%llu of %llu seen", (unsigned long long)seen, (unsigned long long)arguments->items);
        return -1;
    }
    return (double)(end - begin) / (double)seen;
}

static bool measure_passes(struct fs_subject *subject, const struct tree_arguments *arguments,
                           unsigned rounds, pass_function *ours, pass_function *kernels,
                           struct tree_results *results)
{
    for (unsigned round = 0; round < rounds; round++) {
        if (!fs_subject_attach(subject)) {
            return false;
        }
        for (int pass = FIRST; pass < PASSES; pass++) {
            const uint64_t before = client_messages(subject->client);
            const double our_ns = time_pass(ours, subject, arguments);
            const uint64_t messages = client_messages(subject->client) - before;
            const double kernel_ns = time_pass(kernels, subject, arguments);
            if (our_ns < 0 || kernel_ns < 0) {
                return false;
            }
            bench_series_add(&results->series[pass], our_ns, kernel_ns);
            results->messages_per_item[pass] +=
                (double)messages / (double)arguments->items / (double)rounds;
        }
        fs_subject_detach(subject);
    }
    return true;
}

static bool measure(struct bench *bench, bool (*main)(int channel, void *context),
                    bool (*make_files)(uint64_t items), struct tree_arguments *arguments,
                    const char *const names[PASSES], const char *yardstick_name)
{
    struct fs_place place;
    struct tree_results results;
    if (!fs_place_make(bench, &place)) {
        return false;
    }
    const bool done =
        make_files(arguments->items) &&
        client_child_run(main, arguments, &arguments->socket, &results, sizeof(results));
    if (!fs_place_remove(&place, done)) {
        return false;
    }
    for (int pass = FIRST; pass < PASSES; pass++) {
        struct bench_row row = {.name = names[pass],
                                .unit = "ns",
                                .yardstick_name = yardstick_name,
                                .messages_per_op = results.messages_per_item[pass]};
        bench_row_measure(&row, &results.series[pass]);
        bench_row_add(bench, &row);
    }
    return true;
}

/* ---- one large directory ---- */

static bool make_entries(uint64_t items)
{
    char path[64];
    if (mkdir(READDIR_PATH, 0755) != 0) {
        return bench_fail("%s: %s", READDIR_PATH, strerror(errno));
    }
    for (uint64_t i = 0; i < items; i++) {
        snprintf(path, sizeof(path), READDIR_PATH "/entry-%llu", (unsigned long long)i);
        if (!fs_make_file(path)) {
            return false;
        }
    }
    return true;
}

/* `.` and `..` are read, but do not count. */
static bool counts(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static uint64_t our_readdir(struct fs_subject *subject)
{
    uint64_t seen = 0;
    hf_dirent entry;
    int fd = hf_open(subject->fs, READDIR_PATH, O_RDONLY | O_DIRECTORY, 0);
    while (fd >= 0 && hf_readdir(subject->fs, fd, &entry) == 1) {
        seen += counts(entry.name);
    }
    return hf_close(subject->fs, fd) == 0 ? seen : 0;
}

static uint64_t kernel_readdir(struct fs_subject *subject)
{
    uint64_t seen = 0;
    DIR *directory = opendir(READDIR_PATH);
    if (directory == NULL) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        seen += counts(entry->d_name);
    }
    closedir(directory);
    return seen;
}

static bool readdir_main(int channel, void *context)
{
    const struct tree_arguments *arguments = context;
    struct fs_subject subject;
    struct tree_results results = {0};
    if (!fs_subject_connect(&subject, arguments->socket) ||
        !measure_passes(
            &subject, arguments, arguments->bench->rounds, our_readdir, kernel_readdir, &results)) {
        return false;
    }
    fs_subject_close(&subject);
    return channel_send(channel, &results, sizeof(results));
}

bool bench_fs_readdir(struct bench *bench)
{
    static const char *const names[PASSES] = {
        "readdir of 10,000 entries, first, per entry",
        "readdir of 10,000 entries, cached, per entry",
    };
    struct tree_arguments arguments = {.bench = bench, .now_ns = bench_thread_ns, .items = ENTRIES};
    return measure(bench, readdir_main, make_entries, &arguments, names, "readdir");
}

/* ---- a tree ---- */

static bool make_tree(uint64_t items)
{
    char path[WALK_PATH_MAX];
    bool done = mkdir(TREE_PATH, 0755) == 0;
    for (uint64_t i = 0; done && i < items; i++) {
        const unsigned top = (unsigned)(i / (TREE_WIDTH * TREE_WIDTH));
        const unsigned middle = (unsigned)(i / TREE_WIDTH % TREE_WIDTH);
        if (i % (TREE_WIDTH * TREE_WIDTH) == 0) {
            snprintf(path, sizeof(path), TREE_PATH "/%u", top);
            done = mkdir(path, 0755) == 0;
        }
        if (i % TREE_WIDTH == 0) {
            snprintf(path, sizeof(path), TREE_PATH "/%u/%u", top, middle);
            done = done && mkdir(path, 0755) == 0;
        }
        snprintf(
            path, sizeof(path), TREE_PATH "/%u/%u/%u", top, middle, (unsigned)(i % TREE_WIDTH));
        done = done && fs_make_file(path);
    }
    return done || bench_fail("cannot make the tree: %s", strerror(errno));
}

/* Append "/name" to the path, which has room for a tree of ours. Return: the length before. */
static size_t enter(char path[WALK_PATH_MAX], const char *name)
{
    const size_t length = strlen(path);
    snprintf(path + length, WALK_PATH_MAX - length, "/%s", name);
    return length;
}

/* The files below @path, which each is asked for its attributes. */
static uint64_t our_walk_below(hf_fs *fs, char path[WALK_PATH_MAX])
{
    uint64_t seen = 0;
    hf_dirent entry;
    int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    while (fd >= 0 && hf_readdir(fs, fd, &entry) == 1) {
        struct stat attributes;
        if (!counts(entry.name)) {
            continue;
        }
        const size_t length = enter(path, entry.name);
        if (entry.type == DT_DIR) {
            seen += our_walk_below(fs, path);
        } else {
            seen += hf_lstat(fs, path, &attributes) == 0;
        }
        path[length] = '\0';
    }
    return hf_close(fs, fd) == 0 ? seen : 0;
}

static uint64_t our_walk(struct fs_subject *subject)
{
    char path[WALK_PATH_MAX] = TREE_PATH;
    return our_walk_below(subject->fs, path);
}

static uint64_t kernel_walk_below(char path[WALK_PATH_MAX])
{
    uint64_t seen = 0;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat attributes;
        if (!counts(entry->d_name)) {
            continue;
        }
        const size_t length = enter(path, entry->d_name);
        if (entry->d_type == DT_DIR) {
            seen += kernel_walk_below(path);
        } else {
            seen += lstat(path, &attributes) == 0;
        }
        path[length] = '\0';
    }
    closedir(directory);
    return seen;
}

static uint64_t kernel_walk(struct fs_subject *subject)
{
    char path[WALK_PATH_MAX] = TREE_PATH;
    return kernel_walk_below(path);
}

static bool walk_main(int channel, void *context)
{
    const struct tree_arguments *arguments = context;
    struct fs_subject subject;
    struct tree_results results = {0};
    if (!fs_subject_connect(&subject, arguments->socket) ||
        !measure_passes(&subject, arguments, WALK_ROUNDS, our_walk, kernel_walk, &results)) {
        return false;
    }
    fs_subject_close(&subject);
    return channel_send(channel, &results, sizeof(results));
}

bool bench_fs_walk(struct bench *bench)
{
    static const char *const names[PASSES] = {
        "walk of a tree, cold, per file",
        "walk of a tree, warm, per file",
    };
    const uint64_t top = bench->quick ? TREE_TOP_QUICK : TREE_TOP;
    struct tree_arguments arguments = {
        .bench = bench, .now_ns = clock_now_ns, .items = top * TREE_WIDTH * TREE_WIDTH};
    return measure(bench, walk_main, make_tree, &arguments, names, "kernel");
}
