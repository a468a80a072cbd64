/*
 * The whole tree: what is found in it is what is counted. Nothing is left of files that had no name
 * any more, nor of space that was set aside for the dead: that counts as free, but is not to be had.
 */
#include "cases/fs_storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define INODES_MAX 4096

/* That the server has noticed all deaths may take so long. */
#define PATIENCE_NS UINT64_C(20000000000)

struct survey {
    struct storm_actor *actor;
    uint64_t pages, names;
    size_t count;
    struct {
        ino_t number;
        nlink_t links, found;
    } inodes[INODES_MAX];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Return: is it seen for the first time? */
static bool note_inode(struct survey *survey, const struct stat *attributes)
{
    survey->names++;
    for (size_t i = 0; i < survey->count; i++) {
        if (survey->inodes[i].number == attributes->st_ino) {
            survey->inodes[i].found++;
            return false;
        }
    }
    if (survey->count == INODES_MAX) {
        storm_fail(survey->actor, "too many inodes");
    }
    survey->inodes[survey->count].number = attributes->st_ino;
    survey->inodes[survey->count].links = attributes->st_nlink;
    survey->inodes[survey->count++].found = 1;
    survey->pages += (uint64_t)attributes->st_blocks * 512 / 4096;
    return true;
}

/* ---- the directory of the host behind it ---- */

static bool same_data(struct storm_actor *actor, const char *path, const char *host)
{
    static uint8_t ours[65536], theirs[65536];
    ssize_t size = 1;
    const int fd = hf_open(actor->fs, path, O_RDONLY, 0);
    const int host_fd = open(host, O_RDONLY | O_CLOEXEC);
    bool same = fd >= 0 && host_fd >= 0;
    while (same && size > 0) {
        size = hf_read(actor->fs, fd, ours, sizeof ours);
        same = size >= 0 && read(host_fd, theirs, sizeof theirs) == size &&
               memcmp(ours, theirs, (size_t)size) == 0;
    }
    close(host_fd);
    hf_close(actor->fs, fd);
    return same;
}

static void check_host(struct survey *survey, const char *path, const struct stat *attributes)
{
    struct storm_actor *actor = survey->actor;
    char host[2 * STORM_PATH];
    struct stat there;
    if (actor->storm->host[0] == '\0') {
        return;
    }
    snprintf(host, sizeof host, "%s%s", actor->storm->host, path);
    if (lstat(host, &there) < 0 || there.st_mode != attributes->st_mode ||
        there.st_nlink != attributes->st_nlink) {
        storm_fail(actor, "%s is something else on the host", path);
    }
    if (S_ISREG(there.st_mode) &&
        (there.st_size != attributes->st_size || !same_data(actor, path, host))) {
        storm_fail(actor, "%s has other data on the host", path);
    }
}

static unsigned count_host(const struct storm_actor *actor, const char *path)
{
    char host[2 * STORM_PATH];
    unsigned count = 0;
    snprintf(host, sizeof host, "%s%s", actor->storm->host, path);
    DIR *directory = opendir(host);
    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count;
}

/* ---- walking ---- */

static void survey_directory(struct survey *survey, const char *path, nlink_t links)
{
    struct storm_actor *actor = survey->actor;
    char below[STORM_PATH];
    struct stat attributes;
    hf_dirent entry;
    unsigned entries = 0;
    nlink_t directories = 2;
    int result;
    const int fd = hf_open(actor->fs, path[0] == '\0' ? "/" : path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        storm_fail(actor, "%s cannot be listed: %s", path, strerror(-fd));
    }
    while ((result = hf_readdir(actor->fs, fd, &entry)) > 0) {
        entries++;
        if (strcmp(entry.name, ".") == 0 || strcmp(entry.name, "..") == 0) {
            continue;
        }
        snprintf(below, sizeof below, "%.180s/%.70s", path, entry.name);
        result = hf_lstat(actor->fs, below, &attributes);
        if (result < 0 || attributes.st_ino != entry.ino) {
            storm_fail(actor, "%s is listed, but stat says %d", below, result);
        }
        check_host(survey, below, &attributes);
        const bool is_new = note_inode(survey, &attributes);
        if (S_ISDIR(attributes.st_mode)) {
            directories++;
            if (!is_new) {
                storm_fail(actor, "%s is a directory that has two names", below);
            }
            survey_directory(survey, below, attributes.st_nlink);
        }
    }
    hf_close(actor->fs, fd);
    if (result < 0 || directories != links) {
        storm_fail(actor,
                   "%s: readdir says %d, %u links for %u",
                   path,
                   result,
                   (unsigned)links,
                   (unsigned)directories);
    }
    if (actor->storm->host[0] != '\0' && count_host(actor, path) != entries) {
        storm_fail(actor, "%s has other entries on the host", path);
    }
}

static void get_statfs(struct storm_actor *actor, struct statfs *space)
{
    const int result = hf_statfs(actor->fs, "/", space);
    if (result < 0) {
        storm_fail(actor, "statfs: %s", strerror(-result));
    }
}

void storm_free_space(struct storm_actor *actor, uint64_t *pages, uint64_t *inodes)
{
    struct statfs space;
    get_statfs(actor, &space);
    *pages = space.f_bfree * (uint64_t)space.f_bsize / 4096;
    *inodes = space.f_ffree;
}

/* Wait until so much is in use. */
static void expect_use(struct storm_actor *actor, uint64_t pages, uint64_t inodes)
{
    const uint64_t deadline = now_ns() + PATIENCE_NS;
    struct statfs space;
    for (;;) {
        get_statfs(actor, &space);
        if ((space.f_blocks - space.f_bfree) * (uint64_t)space.f_bsize / 4096 == pages &&
            space.f_files - space.f_ffree == inodes) {
            return;
        }
        if (now_ns() > deadline) {
            storm_fail(actor,
                       "%" PRIu64 " pages and %" PRIu64
                       " inodes are there, and statfs says %" PRIu64 " and %" PRIu64,
                       pages,
                       inodes,
                       (uint64_t)(space.f_blocks - space.f_bfree),
                       (uint64_t)(space.f_files - space.f_ffree));
        }
        (void)poll(NULL, 0, 1);
    }
}

void storm_check_space(struct storm_actor *actor)
{
    static struct survey survey;
    struct stat attributes;
    survey = (struct survey){.actor = actor};
    if (hf_stat(actor->fs, "/", &attributes) < 0) {
        storm_fail(actor, "no root");
    }
    (void)note_inode(&survey, &attributes);
    survey_directory(&survey, "", attributes.st_nlink);
    for (size_t i = 0; i < survey.count; i++) {
        if (survey.inodes[i].found != survey.inodes[i].links && survey.inodes[i].found > 1) {
            storm_fail(actor,
                       "inode %" PRIu64 " has %u names and %u links",
                       (uint64_t)survey.inodes[i].number,
                       (unsigned)survey.inodes[i].found,
                       (unsigned)survey.inodes[i].links);
        }
    }
    /* Each further name of a file costs as much as an inode, as on tmpfs. */
    expect_use(actor, survey.pages, survey.names);
}

/* ---- removing ---- */

void storm_remove_below(struct storm_actor *actor, const char *path)
{
    char below[STORM_PATH];
    hf_dirent entry;
    const int fd = hf_open(actor->fs, path[0] == '\0' ? "/" : path, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOENT) {
        return;
    }
    while (fd >= 0 && hf_readdir(actor->fs, fd, &entry) > 0) {
        if (strcmp(entry.name, ".") == 0 || strcmp(entry.name, "..") == 0) {
            continue;
        }
        snprintf(below, sizeof below, "%.180s/%.70s", path, entry.name);
        int result = hf_unlink(actor->fs, below);
        if (result == -EISDIR) {
            storm_remove_below(actor, below);
            result = hf_rmdir(actor->fs, below);
        }
        if (result < 0) {
            storm_fail(actor, "%s cannot be removed: %s", below, strerror(-result));
        }
    }
    if (fd < 0 || hf_close(actor->fs, fd) < 0) {
        storm_fail(actor, "%s cannot be emptied", path);
    }
}

/* ---- all that is free can be had ---- */

static void check_free_pages(struct storm_actor *actor)
{
    static uint8_t page[4096];
    uint64_t pages, inodes, written = 0;
    storm_free_space(actor, &pages, &inodes);
    const int fd = hf_open(actor->fs, "/all", O_WRONLY | O_CREAT, 0644);
    while (fd >= 0 && hf_write(actor->fs, fd, page, sizeof page) == (ssize_t)sizeof page) {
        written++;
    }
    hf_close(actor->fs, fd);
    if (written != pages) {
        storm_fail(actor, "%" PRIu64 " pages to be had of %" PRIu64, written, pages);
    }
    hf_unlink(actor->fs, "/all");
}

static void check_free_inodes(struct storm_actor *actor)
{
    char path[STORM_PATH];
    uint64_t pages, inodes, made = 0;
    storm_free_space(actor, &pages, &inodes);
    do {
        snprintf(path, sizeof path, "/all%" PRIu64, made++);
    } while (hf_mknod(actor->fs, path, S_IFREG | 0644, 0) == 0);
    if (--made != inodes) {
        storm_fail(actor, "%" PRIu64 " inodes to be had of %" PRIu64, made, inodes);
    }
}

void storm_check_end(struct storm_actor *actor)
{
    storm_remove_below(actor, "");
    storm_check_space(actor);
    check_free_pages(actor);
    check_free_inodes(actor);
    storm_remove_below(actor, "");
    storm_check_space(actor);
}
