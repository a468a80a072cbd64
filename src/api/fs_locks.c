/* The public functions on file locks. */
#include "api/fs_gate.h"
#include "client/locks.h"

#include <errno.h>
#include <holdfast/lock.h>

/* Waits that this filesystem object's client can serve. */
static bool are_valid(const hf_fs *fs, const hf_wait_opts *opts)
{
    return opts == NULL || ((opts->flags & ~HF_NOWAIT) == 0 &&
                            (opts->cancel == NULL || opts->cancel->client == fs->client));
}

static bool is_command(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_GETLK ||
           command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
}

int hf_lock(hf_fs *fs, int fd, int command, struct flock *lock, const hf_wait_opts *opts)
{
    if (!is_command(command) || !are_valid(fs, opts)) {
        return -EINVAL;
    }
    gate_enter(&fs->gate);
    int result = fs_lock(fs, fd, command, lock, opts);
    gate_leave(&fs->gate);
    return result;
}

int hf_flock(hf_fs *fs, int fd, int operation, const hf_wait_opts *opts)
{
    if (!are_valid(fs, opts)) {
        return -EINVAL;
    }
    gate_enter(&fs->gate);
    int result = fs_flock(fs, fd, operation, opts);
    gate_leave(&fs->gate);
    return result;
}

/* ---- listing ---- */

static int command_of(uint8_t kind)
{
    switch (kind) {
    case LOCK_POSIX:
        return F_SETLK;
    case LOCK_OFD:
        return F_OFD_SETLK;
    default:
        return 0;
    }
}

static int give(const struct wire_listed *from, int (*take)(void *, const hf_lock_info *),
                void *context)
{
    char path[LOCK_PATH_MAX + 1];
    memcpy(path, from->path.bytes, from->path.length);
    path[from->path.length] = '\0';
    const hf_lock_info info = {
        .state = (hf_lock_state)from->state,
        .kind = command_of(from->kind),
        .type = from->type == LOCK_TYPE_WRITE ? F_WRLCK : F_RDLCK,
        .start = (off_t)from->start,
        .end = (off_t)from->end,
        .file = {from->space, from->object},
        .owner = {from->owner_space, from->owner_object},
        .client = from->client,
        .pid = (pid_t)from->pid,
        .cycle = from->cycle,
        .path = path,
    };
    return take(context, &info);
}

int hf_lock_list(hf_client *client, int (*take)(void *context, const hf_lock_info *info),
                 void *context)
{
    struct buffer records;
    if (client == NULL || take == NULL) {
        return -EINVAL;
    }
    buffer_init(&records, SIZE_MAX / 2);
    int result = client_lock_list(client, &records);
    while (result == 0 && records.length > 0) {
        struct wire_listed listed;
        const size_t size = wire_get_listed(buffer_data(&records), records.length, &listed);
        if (size == 0) {
            result = -EPROTO;
            break;
        }
        result = give(&listed, take, context);
        buffer_consume(&records, size);
    }
    buffer_deinit(&records);
    return result;
}
