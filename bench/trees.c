#include "trees.h"

#include "base/clock.h"
#include "fs.h"
#include "side.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#define READDIR_PATH "many"
#define TREE_PATH "tree"
#define TREE_WIDTH 100
#define PATH_SIZE 128

struct tree_arguments {
    const struct trees *trees;
    uint64_t (*now_ns)(void); /* the thread's time, unless most of it passes waiting for answers */
    bool (*make_files)(hf_fs *fs, uint64_t items);
    /* One pass over everything: how many entries or files there were; 0 when something failed. */
    uint64_t (*passes[SIDES])(struct fs_subject *subject);
    int socket;
};

struct tree_results {
    struct bench_series series[PASSES];
    double messages_per_item[PASSES];
};

/* ---- passes ---- */

/* Nanoseconds per item; negative when the pass did not see what is there. */
static double time_pass(enum side side, struct fs_subject *subject,
                        const struct tree_arguments *arguments)
{
    const uint64_t items = arguments->trees->items;
    const uint64_t begin = arguments->now_ns();
    const uint64_t seen = arguments->passes[side](subject);
    const uint64_t end = arguments->now_ns();
    if (seen != items) {
        bench_fail("%llu of %llu seen", (unsigned long long)seen, (unsigned long long)items);
        return -1;
    }
    return (double)(end - begin) / (double)seen;
}

static bool measure_round(struct fs_subject *subject, const struct tree_arguments *arguments,
                          struct tree_results *results)
{
    const struct trees *trees = arguments->trees;
    for (int pass = FIRST; pass < PASSES; pass++) {
        const uint64_t before = client_messages(subject->client);
        const double our_ns = time_pass(OURS, subject, arguments);
        const uint64_t messages = client_messages(subject->client) - before;
        const double kernel_ns = time_pass(KERNELS, subject, arguments);
        if (our_ns < 0 || kernel_ns < 0) {
            return false;
        }
        bench_series_add(&results->series[pass], our_ns, kernel_ns);
        results->messages_per_item[pass] +=
            (double)messages / (double)trees->items / (double)trees->rounds;
    }
    return true;
}

/* What the server mounts is made by a filesystem, which forgets it with that. */
static bool make_all(struct fs_subject *subject, const struct tree_arguments *arguments)
{
    bool done = arguments->make_files(NULL, arguments->trees->items);
    if (arguments->trees->mount != NULL) {
        done = done && fs_subject_attach(subject) &&
               arguments->make_files(subject->fs, arguments->trees->items);
        fs_subject_detach(subject);
    }
    return done;
}

static bool tree_main(int channel, void *context)
{
    const struct tree_arguments *arguments = context;
    struct fs_subject subject;
    struct tree_results results = {0};
    bool done = fs_subject_connect(&subject, arguments->socket, arguments->trees->mount) &&
                make_all(&subject, arguments);
    for (unsigned round = 0; done && round < arguments->trees->rounds; round++) {
        done = fs_subject_attach(&subject) && measure_round(&subject, arguments, &results);
        fs_subject_detach(&subject);
    }
    fs_subject_close(&subject);
    return done && channel_send(channel, &results, sizeof(results));
}

static bool measure(struct bench *bench, struct tree_arguments *arguments,
                    const char *yardstick_name)
{
    const struct trees *trees = arguments->trees;
    struct fs_place place;
    struct tree_results results;
    if (!fs_place_make(bench, &place)) {
        return false;
    }
    const bool done = client_child_run(
        trees->mount, tree_main, arguments, &arguments->socket, &results, sizeof(results));
    if (!fs_place_remove(&place, done)) {
        return false;
    }
    for (int pass = FIRST; pass < PASSES; pass++) {
        struct bench_row row = {.name = trees->names[pass],
                                .unit = "ns",
                                .yardstick_name = yardstick_name,
                                .messages_per_op = results.messages_per_item[pass]};
        bench_row_measure(&row, &results.series[pass]);
        bench_row_add(bench, &row);
    }
    return true;
}

/* ---- one large directory ---- */

static bool make_entries(hf_fs *fs, uint64_t items)
{
    char path[PATH_SIZE];
    bool done = side_mkdir(fs, READDIR_PATH, 0755) == 0;
    for (uint64_t i = 0; done && i < items; i++) {
        snprintf(path, sizeof(path), READDIR_PATH "/entry-%llu", (unsigned long long)i);
        done = side_make_file(fs, path, 0);
    }
    return done || bench_fail("cannot make the directory");
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

bool trees_measure_readdir(struct bench *bench, const struct trees *trees)
{
    struct tree_arguments arguments = {.trees = trees,
                                       .now_ns = bench_thread_ns,
                                       .make_files = make_entries,
                                       .passes = {our_readdir, kernel_readdir}};
    return measure(bench, &arguments, "readdir");
}

/* ---- a tree ---- */

static bool make_tree(hf_fs *fs, uint64_t items)
{
    char path[PATH_SIZE];
    bool done = side_mkdir(fs, TREE_PATH, 0755) == 0;
    for (uint64_t i = 0; done && i < items; i++) {
        const unsigned top = (unsigned)(i / (TREE_WIDTH * TREE_WIDTH));
        const unsigned middle = (unsigned)(i / TREE_WIDTH % TREE_WIDTH);
        if (i % (TREE_WIDTH * TREE_WIDTH) == 0) {
            snprintf(path, sizeof(path), TREE_PATH "/%u", top);
            done = side_mkdir(fs, path, 0755) == 0;
        }
        if (i % TREE_WIDTH == 0) {
            snprintf(path, sizeof(path), TREE_PATH "/%u/%u", top, middle);
            done = done && side_mkdir(fs, path, 0755) == 0;
        }
        snprintf(
            path, sizeof(path), TREE_PATH "/%u/%u/%u", top, middle, (unsigned)(i % TREE_WIDTH));
        done = done && side_make_file(fs, path, 0);
    }
    return done || bench_fail("cannot make the tree");
}

/* Append "/name" to the path, which has room for a tree of ours. Return: the length before. */
static size_t enter(char path[PATH_SIZE], const char *name)
{
    const size_t length = strlen(path);
    snprintf(path + length, PATH_SIZE - length, "/%s", name);
    return length;
}

/* The files below @path, which each is asked for its attributes. */
static uint64_t our_walk_below(hf_fs *fs, char path[PATH_SIZE])
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
    char path[PATH_SIZE] = TREE_PATH;
    return our_walk_below(subject->fs, path);
}

static uint64_t kernel_walk_below(char path[PATH_SIZE])
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
    char path[PATH_SIZE] = TREE_PATH;
    return kernel_walk_below(path);
}

bool trees_measure_walk(struct bench *bench, const struct trees *trees)
{
    struct tree_arguments arguments = {.trees = trees,
                                       .now_ns = clock_now_ns,
                                       .make_files = make_tree,
                                       .passes = {our_walk, kernel_walk}};
    return measure(bench, &arguments, "kernel");
}
