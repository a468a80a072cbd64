/* Before, between and after the rounds, when no worker lives: everything is made, checked against
 * all that is known, and removed. */
#include "cases/fs_storm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_BYTES 65536
#define PAGE_BYTES 4096

static void check(struct storm_actor *actor, int64_t result, const char *what)
{
    if (result < 0) {
        storm_fail(actor, "%s: %s", what, strerror((int)-result));
    }
}

static void make_directory(struct storm_actor *actor, const char *above, unsigned number)
{
    char path[STORM_PATH];
    snprintf(path, sizeof path, "%s/%u", above, number);
    check(actor, hf_mkdir(actor->fs, path, 0755), path);
}

static void make_file(struct storm_actor *actor, const char *path, const void *data, size_t size)
{
    const int fd = hf_open(actor->fs, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    check(actor, fd, path);
    check(actor, hf_write(actor->fs, fd, data, size) == (ssize_t)size ? 0 : -EIO, path);
    check(actor, hf_close(actor->fs, fd), path);
}

static void make_tokens(struct storm_actor *actor)
{
    char path[STORM_PATH], text[32];
    check(actor, hf_mkdir(actor->fs, "/shared/f", 0755), "tokens");
    for (unsigned i = 0; i < STORM_FOLDERS; i++) {
        make_directory(actor, "/shared/f", i);
    }
    for (unsigned i = 0; i < STORM_TOKENS; i++) {
        snprintf(path, sizeof path, "/shared/f/%u/%c", i % STORM_FOLDERS, 'a' + i / STORM_FOLDERS);
        const int length = snprintf(text, sizeof text, "token %u", i);
        make_file(actor, path, text, (size_t)length);
    }
}

/* Not all filesystems of hosts have these. */
static void find_out_abilities(struct storm_actor *actor)
{
    struct storm *storm = actor->storm;
    const int fd = hf_open(actor->fs, "/shared/cells", O_RDWR, 0);
    check(actor, fd, "the cells");
    storm->has_xattrs = hf_fsetxattr(actor->fs, fd, "user.storm", "", 0, 0) == 0;
    storm->has_allocation = hf_fallocate(actor->fs, fd, 0, 0, 1) == 0;
    check(actor, hf_close(actor->fs, fd), "the cells");
}

void storm_make_all(struct storm_actor *actor)
{
    struct storm *storm = actor->storm;
    static uint8_t cells[STORM_WORKERS_MAX * STORM_CELL];
    char path[STORM_PATH];
    check(actor, hf_mkdir(actor->fs, "/own", 0755), "/own");
    for (unsigned i = 0; i < storm->workers; i++) {
        make_directory(actor, "/own", i);
        storm_model_init(&storm->worker[i].model);
        storm_cell(i, 0, cells + (size_t)i * STORM_CELL);
    }
    check(actor, hf_mkdir(actor->fs, "/shared", 0755), "/shared");
    make_file(actor, "/shared/cells", cells, sizeof cells);
    for (unsigned i = 0; i < STORM_LOGS; i++) {
        snprintf(path, sizeof path, "/shared/log%u", i);
        make_file(actor, path, "", 0);
    }
    make_tokens(actor);
    check(actor, hf_mkdir(actor->fs, "/shared/mess", 0755), "mess");
    make_directory(actor, "/shared/mess", 0);
    make_directory(actor, "/shared/mess", 1);
    find_out_abilities(actor);
}

/* ---- logs ---- */

struct log {
    struct storm_actor *actor;
    unsigned index;
    uint8_t *bytes;
    size_t size;
    uint32_t next[STORM_WORKERS_MAX]; /* record of each that may come */
};

static void read_log(struct log *log)
{
    struct storm_actor *actor = log->actor;
    struct stat attributes;
    char path[STORM_PATH];
    snprintf(path, sizeof path, "/shared/log%u", log->index);
    const int fd = hf_open(actor->fs, path, O_RDONLY, 0);
    check(actor, fd, path);
    check(actor, hf_fstat(actor->fs, fd, &attributes), path);
    log->size = (size_t)attributes.st_size;
    log->bytes = malloc(log->size + 1);
    if (log->bytes == NULL ||
        hf_read(actor->fs, fd, log->bytes, log->size + 1) != attributes.st_size) {
        storm_fail(actor, "%s cannot be read", path);
    }
    check(actor, hf_close(actor->fs, fd), path);
}

/* May a record that is in doubt have become so long, beginning at @at? */
static bool may_be_so_long(const struct log *log, size_t at, size_t length, size_t size)
{
    const struct storm *storm = log->actor->storm;
    return length == size ||
           (length < size && (at + length) % PAGE_BYTES == 0 &&
            (size > MESSAGE_BYTES || storm->restarts || atomic_load(&storm->is_tight)));
}

/* Is it the next record of that worker of those that were completed? They are in order. */
static bool is_next_of(struct log *log, unsigned worker, size_t at, size_t length)
{
    const struct storm_shared *shared = &log->actor->storm->worker[worker].shared;
    const int64_t *lengths = shared->lengths[log->index];
    uint8_t *wanted = log->actor->buffer;
    uint32_t next = log->next[worker];
    while (next < shared->appended[log->index] && lengths[next] <= 0) {
        next++;
    }
    log->next[worker] = next;
    if (next == shared->appended[log->index] || (int64_t)length != lengths[next]) {
        return false;
    }
    storm_record(worker, log->index, next, wanted);
    if (memcmp(log->bytes + at, wanted, length) != 0) {
        return false;
    }
    log->next[worker]++;
    return true;
}

/* Is it one of that worker's records that are in doubt, and there for the first time? */
static bool is_in_doubt_of(struct log *log, unsigned worker, size_t at, size_t length)
{
    struct storm_shared *shared = &log->actor->storm->worker[worker].shared;
    int64_t *lengths = shared->lengths[log->index];
    uint8_t *wanted = log->actor->buffer;
    for (uint32_t i = 0; i < shared->appended[log->index]; i++) {
        if (lengths[i] != STORM_NOT_DONE) {
            continue;
        }
        const uint32_t size = storm_record(worker, log->index, i, wanted);
        if (may_be_so_long(log, at, length, size) && memcmp(log->bytes + at, wanted, length) == 0) {
            lengths[i] = 0; /* not a second time */
            return true;
        }
    }
    return false;
}

/* What was completed first: a short piece of what was in doubt may look like it. */
static bool is_record(struct log *log, size_t at, size_t length)
{
    const unsigned workers = log->actor->storm->workers;
    for (unsigned i = 0; i < workers; i++) {
        if (is_next_of(log, i, at, length)) {
            return true;
        }
    }
    for (unsigned i = 0; i < workers; i++) {
        if (is_in_doubt_of(log, i, at, length)) {
            return true;
        }
    }
    return false;
}

/* Whose is it, if anybody's? For people. */
static void describe_record(struct log *log, size_t at, size_t length, char *text, size_t size)
{
    const struct storm *storm = log->actor->storm;
    uint8_t *wanted = log->actor->buffer;
    snprintf(text, size, "nobody's");
    for (unsigned i = 0; i < storm->workers; i++) {
        const struct storm_shared *shared = &storm->worker[i].shared;
        for (uint32_t j = 0; j < shared->appended[log->index]; j++) {
            const uint32_t whole = storm_record(i, log->index, j, wanted);
            const size_t common = length < whole ? length : whole;
            if (memcmp(log->bytes + at, wanted, common) == 0) {
                snprintf(text,
                         size,
                         "worker %u's record %u of %u bytes (result %" PRId64
                         "), record %u is next",
                         i,
                         j,
                         whole,
                         shared->lengths[log->index][j],
                         log->next[i]);
            }
        }
    }
}

static void check_log(struct log *log)
{
    struct storm *storm = log->actor->storm;
    for (size_t at = 0, end; at < log->size; at = end) {
        for (end = at + 1; end < log->size && log->bytes[end] != STORM_RECORD_MARK; end++) {
        }
        if (!is_record(log, at, end - at)) {
            char text[256];
            describe_record(log, at, end - at, text, sizeof text);
            storm_fail(log->actor,
                       "log %u: what is from %zu to %zu of %zu should not be there: %s",
                       log->index,
                       at,
                       end,
                       log->size,
                       text);
        }
    }
    for (unsigned i = 0; i < storm->workers; i++) {
        const struct storm_shared *shared = &storm->worker[i].shared;
        for (uint32_t j = log->next[i]; j < shared->appended[log->index]; j++) {
            if (shared->lengths[log->index][j] > 0) {
                storm_fail(log->actor, "log %u: record %u of worker %u is lost", log->index, j, i);
            }
        }
    }
}

static void check_logs(struct storm_actor *actor)
{
    for (unsigned i = 0; i < STORM_LOGS; i++) {
        struct log log = {.actor = actor, .index = i};
        read_log(&log);
        check_log(&log);
        free(log.bytes);
    }
}

/* ---- tokens ---- */

static void check_tokens(struct storm_actor *actor)
{
    bool found[STORM_TOKENS] = {false};
    char path[STORM_PATH], text[32];
    for (unsigned i = 0; i < STORM_FOLDERS * STORM_TOKEN_NAMES; i++) {
        unsigned token = 0;
        snprintf(path,
                 sizeof path,
                 "/shared/f/%u/%c",
                 i / STORM_TOKEN_NAMES,
                 'a' + i % STORM_TOKEN_NAMES);
        const int fd = hf_open(actor->fs, path, O_RDONLY, 0);
        if (fd == -ENOENT) {
            continue;
        }
        check(actor, fd, path);
        const ssize_t length = hf_read(actor->fs, fd, text, sizeof text - 1);
        text[length < 0 ? 0 : length] = '\0';
        hf_close(actor->fs, fd);
        if (sscanf(text, "token %u", &token) != 1 || token >= STORM_TOKENS || found[token]) {
            storm_fail(actor, "%s has '%s', which it should not", path, text);
        }
        found[token] = true;
    }
    for (unsigned i = 0; i < STORM_TOKENS; i++) {
        if (!found[i]) {
            storm_fail(actor, "token %u is lost", i);
        }
    }
}

/* ---- all of it ---- */

void storm_check_all(struct storm_actor *actor)
{
    struct storm *storm = actor->storm;
    struct storm_worker *const own = actor->worker;
    const unsigned index = actor->index;
    static char why[400];
    for (unsigned i = 0; i < storm->workers; i++) {
        actor->index = i;
        actor->worker = &storm->worker[i];
        storm_recover(actor, false);
        struct storm_tree tree = storm_tree_of(actor->worker);
        if (!storm_is_like(actor, &tree, STORM_ALL_NODES, why, sizeof why)) {
            storm_fail(actor, "at the end of a round, %s", why);
        }
        if (!storm_is_cell_right(actor)) {
            storm_fail(actor, "at the end of a round, the cell is wrong");
        }
    }
    actor->index = index;
    actor->worker = own;
    check_logs(actor);
    check_tokens(actor);
    storm_check_published(actor);
    storm_check_space(actor);
}

/* ---- the next round ---- */

/* Take so much of the free space that it does not suffice. */
static void take_space(struct storm_actor *actor, struct storm_random *random)
{
    static uint8_t page[PAGE_BYTES];
    char path[STORM_PATH];
    uint64_t pages, inodes;
    storm_free_space(actor, &pages, &inodes);
    const uint64_t keep_pages = storm_pick(random, 500);
    const uint64_t keep_inodes = 1 + storm_pick(random, 60);
    check(actor, hf_mkdir(actor->fs, "/shared/ballast", 0755), "ballast");
    for (uint64_t i = keep_inodes + 1; i < inodes; i++) {
        snprintf(path, sizeof path, "/shared/ballast/%" PRIu64, i);
        make_file(actor, path, "", 0);
    }
    const int fd = hf_open(actor->fs, "/shared/ballast/data", O_WRONLY | O_CREAT, 0644);
    check(actor, fd, "ballast");
    for (uint64_t i = keep_pages; i < pages; i++) {
        if (hf_write(actor->fs, fd, page, sizeof page) != (ssize_t)sizeof page) {
            storm_fail(actor, "there should have been %" PRIu64 " pages more", pages - i);
        }
    }
    check(actor, hf_close(actor->fs, fd), "ballast");
}

void storm_begin_round(struct storm_actor *actor)
{
    struct storm *storm = actor->storm;
    char path[STORM_PATH];
    for (unsigned i = 0; i < STORM_LOGS; i++) {
        snprintf(path, sizeof path, "/shared/log%u", i);
        check(actor, hf_truncate(actor->fs, path, 0), path);
    }
    for (unsigned i = 0; i < storm->workers; i++) {
        struct storm_shared *shared = &storm->worker[i].shared;
        memset(shared->appended, 0, sizeof shared->appended);
        memset(shared->bytes, 0, sizeof shared->bytes);
    }
    storm_remove_below(actor, "/shared/ballast");
    (void)hf_rmdir(actor->fs, "/shared/ballast");
    if (atomic_load(&storm->is_tight)) {
        struct storm_random random = storm_random_of(storm->seed, storm->round, 0);
        take_space(actor, &random);
    }
}
