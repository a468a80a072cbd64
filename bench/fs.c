/*
 * The group `fs`: its parts, and where its files are.
 */
#include "fs.h"

#include "appenders.h"
#include "trees.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

static bool bench_fs_readdir(struct bench *bench);
static bool bench_fs_walk(struct bench *bench);
static bool bench_fs_appenders(struct bench *bench);

static const struct bench_part parts[] = {
    {"stat", "attributes that are cached, and names that are not there", bench_fs_stat},
    {"open", "open and close of an existing file", bench_fs_open},
    {"write", "64 bytes at a place, at the offset, at the end", bench_fs_write},
    {"read", "4 KiB at a place", bench_fs_read},
    {"create", "create and unlink", bench_fs_create},
    {"readdir", "a directory of 10,000 entries, first and again", bench_fs_readdir},
    {"walk", "a tree of 100,000 files, first and again", bench_fs_walk},
    {"appenders", "two processes append to one file", bench_fs_appenders},
};

const struct bench_group fs_group = {
    .name = "fs",
    .parts = parts,
    .part_count = sizeof(parts) / sizeof(parts[0]),
};

/* ---- places ---- */

static bool is_tmpfs(const char *path)
{
    struct statfs host;
    return statfs(path, &host) == 0 && host.f_type == TMPFS_MAGIC && access(path, W_OK) == 0;
}

/* In memory, where the kernel is fastest and no disk's moods are in the figures. */
static const char *best_folder(const char **kind)
{
    static const char *const folders[] = {"/dev/shm", "/tmp"};
    *kind = "tmpfs";
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (is_tmpfs(folders[i])) {
            return folders[i];
        }
    }
    *kind = "a disk";
    return "/tmp";
}

bool fs_place_make(struct bench *bench, struct fs_place *place)
{
    const char *kind;
    const char *folder = best_folder(&kind);
    if (!bench->fs_place_told) {
        printf("# files of the host are in %s, on %s\n", folder, kind);
        bench->fs_place_told = true;
    }
    snprintf(place->path, sizeof(place->path), "%s/hf-bench-XXXXXX", folder);
    place->before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->before < 0) {
        return bench_fail("the working directory: %s", strerror(errno));
    }
    if (mkdtemp(place->path) == NULL) {
        bench_fail("%s: %s", place->path, strerror(errno));
        close(place->before);
        return false;
    }
    if (chdir(place->path) != 0) {
        bench_fail("%s: %s", place->path, strerror(errno));
        return fs_place_remove(place, false);
    }
    return true;
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

bool fs_place_remove(struct fs_place *place, bool done)
{
    if (fchdir(place->before) != 0) {
        done = bench_fail("cannot go back: %s", strerror(errno));
    }
    close(place->before);
    if (nftw(place->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        done = bench_fail("%s cannot be removed: %s", place->path, strerror(errno));
    }
    return done;
}

/* ---- subjects ---- */

bool fs_subject_connect(struct fs_subject *subject, int socket, const char *mount)
{
    *subject = (struct fs_subject){.root = mount == NULL ? "." : NULL};
    int error = hf_client_from_fd(socket, NULL, &subject->client);
    return error == 0 || bench_fail("cannot connect: %s", strerror(-error));
}

bool fs_subject_attach(struct fs_subject *subject)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    config.root = subject->root;
    int error = hf_fs_attach(subject->client, &config, &subject->fs);
    return error == 0 || bench_fail("cannot attach: %s", strerror(-error));
}

void fs_subject_detach(struct fs_subject *subject)
{
    subject->fs = hf_fs_detach(subject->fs);
}

void fs_subject_close(struct fs_subject *subject)
{
    fs_subject_detach(subject);
    subject->client = hf_client_unref(subject->client);
}

/* ---- parts that others have too ---- */

static bool bench_fs_readdir(struct bench *bench)
{
    const struct trees trees = {
        .names = {"readdir of 10,000 entries, first, per entry",
                  "readdir of 10,000 entries, cached, per entry"},
        .items = 10000,
        .rounds = bench->rounds,
    };
    return trees_measure_readdir(bench, &trees);
}

static bool bench_fs_walk(struct bench *bench)
{
    const struct trees trees = {
        .names = {"walk of a tree, cold, per file", "walk of a tree, warm, per file"},
        .items = bench->quick ? 10000 : 100000,
        .rounds = 1, /* the mean over so many stands by itself, and more would take too long */
    };
    return trees_measure_walk(bench, &trees);
}

static bool bench_fs_appenders(struct bench *bench)
{
    static const struct appenders_row row = {.name = "two processes append 64 bytes to one file"};
    const struct appenders appenders = {.process_count = 2, .rows = &row, .row_count = 1};
    return appenders_measure(bench, &appenders);
}
