/*
 * What is everybody's:
 *
 *   /shared/logN      records that all append: each that was appended is there once and whole, and
 *                     those of one worker are in order
 *   /shared/cells     of each worker a cell that it overwrites, side by side on one page
 *   /shared/f/N/x     tokens: files that all move and exchange, and nobody makes or removes
 *   /shared/pN        replaced by whole new files: whoever opens one finds it whole
 *   /shared/mess/N/x  everybody does anything; nobody knows what is there, but no call fails in a
 *                     way that it should not
 */
#include "cases/fs_storm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sequences of patterns beside those of operations. */
#define CELL_NUMBERS (UINT64_C(1) << 40)
#define RECORD_NUMBERS (UINT64_C(1) << 41)

static bool is_lack_of_space(const struct storm_actor *actor, int64_t result)
{
    return (result == -ENOSPC || result == -EDQUOT) && atomic_load(&actor->storm->is_tight);
}

/* ---- logs ---- */

uint32_t storm_record(unsigned worker, unsigned log, uint32_t number, uint8_t *to)
{
    struct storm_random random = storm_random_of(RECORD_NUMBERS + log, worker, number);
    const uint32_t kind = storm_pick(&random, 100);
    const uint32_t size = kind == 0   ? 65000 + storm_pick(&random, 30000)
                          : kind <= 6 ? 300 + storm_pick(&random, 9000)
                                      : 16 + storm_pick(&random, 300);
    if (to != NULL) {
        storm_pattern(worker, RECORD_NUMBERS + (uint64_t)log * STORM_RECORDS + number, 0, to, size);
        to[0] = STORM_RECORD_MARK; /* no other byte is like it */
    }
    return size;
}

static int64_t play_append(struct storm_actor *actor, const struct storm_operation *operation)
{
    char path[STORM_PATH];
    int *fd = &actor->logs[operation->file];
    if (*fd >= 0 && operation->value % 16 == 0) {
        hf_close(actor->fs, *fd);
        *fd = -1;
    }
    if (*fd < 0) {
        snprintf(path, sizeof path, "/shared/log%u", operation->file);
        *fd = hf_open(actor->fs, path, O_WRONLY | O_APPEND, 0);
        if (*fd < 0) {
            return *fd;
        }
    }
    storm_record(actor->index, operation->file, operation->value, actor->buffer);
    return hf_write(actor->fs, *fd, actor->buffer, operation->size);
}

void storm_apply_shared(struct storm_shared *shared, const struct storm_operation *operation,
                        int64_t result)
{
    if (operation->kind == STORM_APPEND) {
        shared->lengths[operation->file][operation->value] =
            result < 0 && result != STORM_NOT_DONE ? 0 : result;
        shared->bytes[operation->file] = operation->from_offset + operation->size;
        shared->appended[operation->file] = operation->value + 1;
    } else if (operation->kind == STORM_CELL_WRITE && result > 0) {
        shared->cell = operation->value;
    }
}

/* ---- cells ---- */

void storm_cell(unsigned worker, uint32_t value, uint8_t cell[STORM_CELL])
{
    storm_pattern(worker, CELL_NUMBERS + value, 0, cell, STORM_CELL);
}

static int open_cells(struct storm_actor *actor)
{
    const int fd = hf_open(actor->fs, "/shared/cells", O_RDWR, 0);
    if (fd < 0) {
        storm_fail(actor, "the cells: %s", strerror(-fd));
    }
    return fd;
}

static bool is_in_cell(struct storm_actor *actor, int fd, uint32_t value)
{
    uint8_t wanted[STORM_CELL], found[STORM_CELL];
    storm_cell(actor->index, value, wanted);
    const ssize_t got =
        hf_pread(actor->fs, fd, found, STORM_CELL, (off_t)actor->index * STORM_CELL);
    return got == STORM_CELL && memcmp(wanted, found, STORM_CELL) == 0;
}

static int64_t play_cell(struct storm_actor *actor, const struct storm_operation *operation)
{
    uint8_t cell[STORM_CELL];
    const int fd = open_cells(actor);
    if (!is_in_cell(actor, fd, operation->value - 1)) {
        storm_fail(actor, "not the last value is in the cell");
    }
    storm_cell(actor->index, operation->value, cell);
    const int64_t result =
        hf_pwrite(actor->fs, fd, cell, STORM_CELL, (off_t)actor->index * STORM_CELL);
    hf_close(actor->fs, fd);
    return result;
}

bool storm_is_cell_right(struct storm_actor *actor)
{
    const int fd = open_cells(actor);
    const bool is_right = is_in_cell(actor, fd, actor->worker->shared.cell);
    hf_close(actor->fs, fd);
    return is_right;
}

int64_t storm_recover_shared(struct storm_actor *actor, const struct storm_operation *operation)
{
    if (operation->kind != STORM_CELL_WRITE) {
        return STORM_NOT_DONE;
    }
    const int fd = open_cells(actor);
    const bool is_done = is_in_cell(actor, fd, operation->value);
    if (!is_done && !is_in_cell(actor, fd, operation->value - 1)) {
        storm_fail(actor, "neither the last value nor the next is in the cell");
    }
    hf_close(actor->fs, fd);
    return is_done ? STORM_CELL : STORM_NOT_DONE;
}

/* ---- tokens ---- */

static int64_t play_token(struct storm_actor *actor, const struct storm_operation *operation)
{
    char path[STORM_PATH], new_path[STORM_PATH];
    snprintf(path, sizeof path, "/shared/f/%u/%c", operation->directory, 'a' + operation->name);
    snprintf(new_path,
             sizeof new_path,
             "/shared/f/%u/%c",
             operation->new_directory,
             'a' + operation->new_name);
    const int64_t result =
        hf_renameat2(actor->fs, HF_AT_FDCWD, path, HF_AT_FDCWD, new_path, operation->flags);
    if (result < 0 && result != -ENOENT && result != -EEXIST) {
        storm_fail(actor, "%s to %s: %s", path, new_path, strerror((int)-result));
    }
    return result;
}

/* ---- files that are replaced ---- */

struct published {
    uint32_t worker;
    uint32_t size;
    uint64_t number;
};

static int64_t play_publish(struct storm_actor *actor, const struct storm_operation *operation)
{
    const struct published head = {
        .worker = actor->index, .size = (uint32_t)operation->size, .number = operation->number};
    char path[STORM_PATH], new_path[STORM_PATH];
    snprintf(path, sizeof path, "/shared/new%u", actor->index);
    snprintf(new_path, sizeof new_path, "/shared/p%u", operation->new_name);
    const int fd = hf_open(actor->fs, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) {
        return fd;
    }
    storm_pattern(actor->index, operation->number, 0, actor->buffer, operation->size);
    memcpy(actor->buffer, &head, sizeof head);
    int64_t result = hf_write(actor->fs, fd, actor->buffer, operation->size);
    hf_close(actor->fs, fd);
    if (result == (int64_t)operation->size) {
        return hf_rename(actor->fs, path, new_path);
    }
    const int removed = hf_unlink(actor->fs, path);
    return removed < 0 ? removed : result < 0 ? result : -ENOSPC;
}

/* Whatever name it has by now, it stays as it was made. */
static void check_published(struct storm_actor *actor, int fd)
{
    static uint8_t wanted[STORM_FILE_MAX];
    struct published head;
    struct stat attributes;
    const ssize_t size = hf_read(actor->fs, fd, actor->buffer, STORM_FILE_MAX);
    const int result = hf_fstat(actor->fs, fd, &attributes);
    if (size < (ssize_t)sizeof head || result < 0 || attributes.st_size != size) {
        storm_fail(actor, "a published file has %zd bytes, fstat says %d", size, result);
    }
    memcpy(&head, actor->buffer, sizeof head);
    if (head.size != size || head.worker >= STORM_WORKERS_MAX) {
        storm_fail(actor, "a published file has %zd bytes of %u", size, head.size);
    }
    storm_pattern(head.worker, head.number, 0, wanted, head.size);
    memcpy(wanted, &head, sizeof head);
    if (memcmp(wanted, actor->buffer, head.size) != 0) {
        storm_fail(actor, "a published file is damaged");
    }
}

static int64_t play_read_published(struct storm_actor *actor,
                                   const struct storm_operation *operation)
{
    char path[STORM_PATH];
    snprintf(path, sizeof path, "/shared/p%u", operation->new_name);
    const int fd = hf_open(actor->fs, path, O_RDONLY, 0);
    if (fd < 0) {
        return fd == -ENOENT ? 0 : fd;
    }
    check_published(actor, fd);
    return hf_close(actor->fs, fd);
}

void storm_check_published(struct storm_actor *actor)
{
    for (uint8_t i = 0; i < STORM_PUBLISHED; i++) {
        const struct storm_operation operation = {.new_name = i};
        const int64_t result = play_read_published(actor, &operation);
        if (result < 0) {
            storm_fail(actor, "a published file: %s", strerror((int)-result));
        }
    }
}

/* ---- anything ---- */

static int64_t write_mess(struct storm_actor *actor, const struct storm_operation *operation,
                          const char *path, int flags)
{
    const int fd = hf_open(actor->fs, path, O_WRONLY | O_CREAT | O_NOFOLLOW | flags, 0644);
    if (fd < 0) {
        return fd;
    }
    storm_pattern(actor->index, operation->number, 0, actor->buffer, operation->size);
    const int64_t result = hf_write(actor->fs, fd, actor->buffer, operation->size);
    const int closed = hf_close(actor->fs, fd);
    return result < 0 ? result : closed;
}

/* A file whose name goes while it is open. */
static int64_t use_removed(struct storm_actor *actor, const struct storm_operation *operation,
                           const char *path)
{
    struct stat attributes;
    const int fd = hf_open(actor->fs, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644);
    if (fd < 0) {
        return fd;
    }
    int64_t result = hf_unlink(actor->fs, path);
    storm_pattern(actor->index, operation->number, 0, actor->buffer, operation->size);
    const int64_t written = hf_pwrite(actor->fs, fd, actor->buffer, operation->size, 0);
    const int known = hf_fstat(actor->fs, fd, &attributes);
    const int closed = hf_close(actor->fs, fd);
    result = known < 0 ? known : closed < 0 ? closed : result;
    return written < 0 ? written : result;
}

static int64_t list_mess(struct storm_actor *actor, const struct storm_operation *operation)
{
    char path[STORM_PATH];
    hf_dirent entry;
    unsigned seen = 0;
    int result = 1;
    snprintf(path, sizeof path, "/shared/mess/%u", operation->directory);
    const int fd = hf_open(actor->fs, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return fd;
    }
    while ((result = hf_readdir(actor->fs, fd, &entry)) > 0) {
        const unsigned name = (unsigned)(entry.name[0] - 'a');
        if (entry.name[0] != '.' && (name >= STORM_MESS || entry.name[1] != '\0')) {
            storm_fail(actor, "there is a %s", entry.name);
        }
        if (entry.name[0] != '.' && (seen & 1u << name) != 0) {
            storm_fail(actor, "%s is there twice", entry.name);
        }
        seen |= entry.name[0] == '.' ? 0 : 1u << name;
    }
    hf_close(actor->fs, fd);
    return result;
}

static int64_t do_mess(struct storm_actor *actor, const struct storm_operation *operation)
{
    hf_fs *fs = actor->fs;
    struct stat attributes;
    char path[STORM_PATH], other[STORM_PATH];
    snprintf(path, sizeof path, "/shared/mess/%u/%c", operation->directory, 'a' + operation->name);
    snprintf(other,
             sizeof other,
             "/shared/mess/%u/%c",
             operation->new_directory,
             'a' + operation->new_name);
    switch (operation->value) {
    case 0:
        return write_mess(actor, operation, path, O_TRUNC);
    case 1:
        return hf_stat(fs, path, &attributes) == 0 && attributes.st_size > 60000
                   ? hf_truncate(fs, path, (off_t)operation->size)
                   : write_mess(actor, operation, path, O_APPEND);
    case 2:
        return hf_rename(fs, path, other);
    case 3:
        return hf_link(fs, path, other);
    case 4:
        return hf_unlink(fs, path);
    case 5:
        return hf_mkdir(fs, path, 0755);
    case 6:
        return hf_rmdir(fs, path);
    case 7:
        return hf_symlink(fs, "nowhere", path);
    case 8:
        return use_removed(actor, operation, path);
    default:
        return list_mess(actor, operation);
    }
}

/* What other workers may have been about. */
static bool may_fail_with(int64_t result)
{
    static const int errors[] = {ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EPERM, EINVAL, ELOOP};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (result == -errors[i]) {
            return true;
        }
    }
    return false;
}

int64_t storm_play_shared(struct storm_actor *actor, const struct storm_operation *operation)
{
    int64_t result;
    switch (operation->kind) {
    case STORM_APPEND:
        result = play_append(actor, operation);
        break;
    case STORM_CELL_WRITE:
        result = play_cell(actor, operation);
        break;
    case STORM_MOVE_TOKEN:
        return play_token(actor, operation);
    case STORM_PUBLISH:
        result = play_publish(actor, operation);
        break;
    case STORM_READ_PUBLISHED:
        result = play_read_published(actor, operation);
        break;
    default:
        result = do_mess(actor, operation);
        if (may_fail_with(result)) {
            return result;
        }
    }
    const bool is_short = result != operation->expected && result > 0 &&
                          result < operation->expected && atomic_load(&actor->storm->is_tight);
    if (result != operation->expected && !is_short && !is_lack_of_space(actor, result)) {
        actor->worker->result = result;
        storm_fail(actor, "unexpected");
    }
    return result;
}
