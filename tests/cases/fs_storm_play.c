/* The calls of the operations that are on a worker's own part of the tree. */
#include "cases/fs_storm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct call {
    struct storm_actor *actor;
    const struct storm_operation *operation;
    char path[STORM_PATH];
    char new_path[STORM_PATH];
    int fd; /* of operation->file */
};

static int64_t play_write(struct call *call)
{
    const struct storm_operation *operation = call->operation;
    uint8_t *buffer = call->actor->buffer;
    storm_pattern(call->actor->index, operation->number, 0, buffer, operation->size);
    return operation->kind == STORM_WRITE
               ? hf_write(call->actor->fs, call->fd, buffer, operation->size)
               : hf_pwrite(
                     call->actor->fs, call->fd, buffer, operation->size, (off_t)operation->offset);
}

static int64_t play_read(struct call *call)
{
    struct storm_actor *actor = call->actor;
    const struct storm_operation *operation = call->operation;
    const int64_t done = hf_read(actor->fs, call->fd, actor->buffer, operation->size);
    if (done == operation->expected &&
        memcmp(actor->buffer,
               actor->worker->data[operation->node] + operation->offset,
               (size_t)done) != 0) {
        storm_fail(actor, "other data than was written");
    }
    return done;
}

static int64_t play_copy(struct call *call)
{
    const struct storm_operation *operation = call->operation;
    off_t from = (off_t)operation->from_offset;
    off_t to = (off_t)operation->offset;
    return hf_copy_file_range(call->actor->fs,
                              call->actor->worker->model.files[operation->from].fd,
                              &from,
                              call->fd,
                              &to,
                              operation->size,
                              0);
}

static int64_t play_symlink(struct call *call)
{
    char target[32];
    snprintf(target, sizeof target, "nowhere-%u", call->operation->value);
    return hf_symlink(call->actor->fs, target, call->path);
}

static int64_t play_xattr(struct call *call)
{
    const struct storm_operation *operation = call->operation;
    hf_fs *fs = call->actor->fs;
    const uint32_t *value = &operation->value;
    const char *path = call->path;
    const char name[] = "user.storm";
    if (operation->kind == STORM_SET_XATTR) {
        return operation->by_name ? hf_setxattr(fs, path, name, value, sizeof *value, 0)
                                  : hf_fsetxattr(fs, call->fd, name, value, sizeof *value, 0);
    }
    return operation->by_name ? hf_removexattr(fs, path, name)
                              : hf_fremovexattr(fs, call->fd, name);
}

static int64_t play_look(struct call *call)
{
    struct storm_actor *actor = call->actor;
    struct storm_tree tree = storm_tree_of(actor->worker);
    char why[400];
    if (!storm_is_like(actor, &tree, 1u << call->operation->node, why, sizeof why)) {
        storm_fail(actor, "%s", why);
    }
    return 0;
}

static int64_t play_data(struct call *call)
{
    const struct storm_operation *operation = call->operation;
    hf_fs *fs = call->actor->fs;
    switch (operation->kind) {
    case STORM_OPEN:
    case STORM_OPEN_UNNAMED:
        return hf_open(fs, call->path, (int)operation->flags, operation->value);
    case STORM_CLOSE:
        return hf_close(fs, call->fd);
    case STORM_WRITE:
    case STORM_PWRITE:
        return play_write(call);
    case STORM_READ:
        return play_read(call);
    case STORM_SEEK:
        return hf_lseek(fs, call->fd, (off_t)operation->offset, SEEK_SET);
    case STORM_TRUNCATE:
        return operation->by_name ? hf_truncate(fs, call->path, (off_t)operation->size)
                                  : hf_ftruncate(fs, call->fd, (off_t)operation->size);
    case STORM_ALLOCATE:
        return hf_fallocate(
            fs, call->fd, (int)operation->flags, (off_t)operation->offset, (off_t)operation->size);
    case STORM_COPY:
        return play_copy(call);
    default:
        return hf_fsync(fs, call->fd);
    }
}

int64_t storm_play(struct storm_actor *actor, const struct storm_operation *operation)
{
    const struct storm_model *model = &actor->worker->model;
    struct call call = {.actor = actor, .operation = operation};
    const bool is_directory =
        operation->kind == STORM_OPEN_UNNAMED || (operation->by_name && operation->node == 0);
    storm_own_path(actor->index,
                   model,
                   operation->directory,
                   is_directory ? STORM_NONE : operation->name,
                   call.path);
    storm_own_path(
        actor->index, model, operation->new_directory, operation->new_name, call.new_path);
    call.fd = model->files[operation->file].fd;
    switch (operation->kind) {
    case STORM_RENAME:
        return hf_renameat2(
            actor->fs, HF_AT_FDCWD, call.path, HF_AT_FDCWD, call.new_path, operation->flags);
    case STORM_LINK:
        return operation->by_name
                   ? hf_link(actor->fs, call.path, call.new_path)
                   : hf_linkat(actor->fs, call.fd, "", HF_AT_FDCWD, call.new_path, AT_EMPTY_PATH);
    case STORM_UNLINK:
        return hf_unlink(actor->fs, call.path);
    case STORM_MKDIR:
        return hf_mkdir(actor->fs, call.path, operation->value);
    case STORM_RMDIR:
        return hf_rmdir(actor->fs, call.path);
    case STORM_SYMLINK:
        return play_symlink(&call);
    case STORM_CHMOD:
        return operation->by_name ? hf_chmod(actor->fs, call.path, operation->value)
                                  : hf_fchmod(actor->fs, call.fd, operation->value);
    case STORM_SET_XATTR:
    case STORM_REMOVE_XATTR:
        return play_xattr(&call);
    case STORM_LOOK:
        return play_look(&call);
    default:
        return play_data(&call);
    }
}
