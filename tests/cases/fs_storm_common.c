/* What all processes of the storm have in common. */
#include "cases/fs_storm.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kind_names[STORM_KINDS] = {
    [STORM_OPEN] = "open",          [STORM_OPEN_UNNAMED] = "open unnamed",
    [STORM_CLOSE] = "close",        [STORM_WRITE] = "write",
    [STORM_PWRITE] = "pwrite",      [STORM_READ] = "read",
    [STORM_SEEK] = "lseek",         [STORM_TRUNCATE] = "truncate",
    [STORM_ALLOCATE] = "fallocate", [STORM_COPY] = "copy_file_range",
    [STORM_FSYNC] = "fsync",        [STORM_RENAME] = "rename",
    [STORM_LINK] = "link",          [STORM_UNLINK] = "unlink",
    [STORM_MKDIR] = "mkdir",        [STORM_RMDIR] = "rmdir",
    [STORM_SYMLINK] = "symlink",    [STORM_CHMOD] = "chmod",
    [STORM_SET_XATTR] = "setxattr", [STORM_REMOVE_XATTR] = "removexattr",
    [STORM_LOOK] = "look",          [STORM_APPEND] = "append",
    [STORM_CELL_WRITE] = "cell",    [STORM_MOVE_TOKEN] = "token",
    [STORM_PUBLISH] = "publish",    [STORM_READ_PUBLISHED] = "published",
    [STORM_DO_MESS] = "mess",
};

const char *storm_kind_name(uint32_t kind)
{
    return kind < STORM_KINDS ? kind_names[kind] : "nothing";
}

void storm_describe(const struct storm_operation *operation, int64_t result, char *text,
                    size_t size)
{
    snprintf(
        text,
        size,
        "%" PRIu64 " %s: %d/%d %d/%d, node %d there %d, file %d from %d%s, flags %x, value %o, "
        "at %" PRIu64 " from %" PRIu64 " size %" PRIu64 ", expected %" PRId64 ", result %" PRId64,
        operation->number,
        storm_kind_name(operation->kind),
        operation->directory,
        operation->name,
        operation->new_directory,
        operation->new_name,
        operation->node,
        operation->replaced,
        operation->file,
        operation->from,
        operation->by_name ? " by name" : "",
        operation->flags,
        operation->value,
        operation->offset,
        operation->from_offset,
        operation->size,
        operation->expected,
        result);
}

void storm_fail(struct storm_actor *actor, const char *format, ...)
{
    struct storm_worker *worker = actor->worker;
    char what[400];
    va_list arguments;
    if (actor->storm->restarts && !actor->is_checker && hf_client_error(actor->client) < 0) {
        _exit(0); /* the server is gone, as it was to be */
    }
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    storm_describe(&worker->operation, worker->result, worker->failure, 512);
    const size_t length = strlen(worker->failure);
    snprintf(worker->failure + length,
             sizeof worker->failure - length,
             "\n#   worker %u: %s",
             actor->index,
             what);
    _exit(1);
}

void storm_attach(struct storm_actor *actor)
{
    const hf_fs_config config = HF_FS_CONFIG_INIT;
    int result = hf_client_connect(actor->storm->address, NULL, &actor->client);
    if (result == 0) {
        result = hf_fs_attach(actor->client, &config, &actor->fs);
    }
    if (result < 0 && actor->storm->restarts && !actor->is_checker) {
        _exit(0); /* there is no server, as it is to be now and then */
    }
    if (result < 0) {
        storm_fail(actor, "no connection: %s", strerror(-result));
    }
    (void)hf_umask(actor->fs, 0);
    for (unsigned i = 0; i < STORM_LOGS; i++) {
        actor->logs[i] = -1;
    }
}

void storm_detach(struct storm_actor *actor)
{
    actor->fs = hf_fs_detach(actor->fs);
    actor->client = hf_client_unref(actor->client);
}

/* ---- random numbers ---- */

static uint64_t next(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

struct storm_random storm_random_of(uint64_t seed, uint64_t a, uint64_t b)
{
    struct storm_random random = {seed};
    random.state = next(&random.state) ^ a;
    random.state = next(&random.state) ^ b;
    return random;
}

uint32_t storm_pick(struct storm_random *random, uint32_t below)
{
    return (uint32_t)((next(&random->state) >> 32) * below >> 32);
}

void storm_pattern(unsigned worker, uint64_t number, uint64_t at, uint8_t *to, uint64_t size)
{
    const struct storm_random key = storm_random_of(worker, number, 0);
    for (uint64_t i = 0; i < size; i++) {
        const uint64_t place = at + i;
        uint64_t x = (key.state ^ place >> 3) * UINT64_C(0xbf58476d1ce4e5b9);
        x ^= x >> 29;
        to[i] = (x >> 8 * (place & 7)) & 0x7f;
    }
}

/* ---- names ---- */

void storm_own_path(unsigned worker, const struct storm_model *model, uint8_t directory,
                    uint8_t name, char path[STORM_PATH])
{
    char rest[STORM_PATH];
    path[0] = '\0';
    if (name != STORM_NONE) {
        snprintf(path, STORM_PATH, "/%c", 'a' + name);
    }
    while (directory != 0) {
        const uint8_t parent = model->nodes[directory].parent;
        for (uint8_t i = 0; i < STORM_NAMES; i++) {
            if (model->nodes[parent].names[i] == directory) {
                snprintf(rest, sizeof rest, "/%c%.200s", 'a' + i, path);
                memcpy(path, rest, STORM_PATH);
            }
        }
        directory = parent;
    }
    snprintf(rest, sizeof rest, "/own/%u%.200s", worker, path);
    memcpy(path, rest, STORM_PATH);
}

bool storm_find_name(const struct storm_model *model, uint8_t node, uint8_t *directory,
                     uint8_t *name)
{
    for (uint8_t i = 0; i < STORM_NODES; i++) {
        if (model->nodes[i].type != STORM_DIRECTORY) {
            continue;
        }
        for (uint8_t j = 0; j < STORM_NAMES; j++) {
            if (model->nodes[i].names[j] == node) {
                *directory = i;
                *name = j;
                return true;
            }
        }
    }
    return false;
}
