/*
 * Which operation is next, and what it has to say. Most of them can be done; some fail as they
 * should. Not chosen is what leads to a file by a symbolic link, since that leads nowhere.
 */
#include "cases/fs_storm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

struct choice {
    const struct storm_actor *actor;
    const struct storm_model *model;
    struct storm_random random;
    struct storm_operation *operation;
};

static uint32_t pick(struct choice *choice, uint32_t below)
{
    return storm_pick(&choice->random, below);
}

/* Most files are small, some take more than one message. */
static uint64_t pick_size(struct choice *choice)
{
    const uint32_t kind = pick(choice, 20);
    return kind == 0   ? 65536 + pick(choice, 40000)
           : kind <= 4 ? 1 + pick(choice, 20000)
                       : 1 + pick(choice, 900);
}

static uint8_t pick_type(struct choice *choice, unsigned types)
{
    uint8_t found[STORM_NODES];
    uint32_t count = 0;
    for (uint8_t i = 0; i < STORM_NODES; i++) {
        const uint8_t type = choice->model->nodes[i].type;
        if (type != STORM_NOTHING && (types & 1u << type) != 0) {
            found[count++] = i;
        }
    }
    return count == 0 ? STORM_NONE : found[pick(choice, count)];
}

static uint8_t free_node(const struct storm_model *model)
{
    for (uint8_t i = 1; i < STORM_NODES; i++) {
        if (model->nodes[i].type == STORM_NOTHING) {
            return i;
        }
    }
    return STORM_NONE;
}

static uint64_t data_in_use(const struct storm_model *model)
{
    uint64_t size = 0;
    for (unsigned i = 0; i < STORM_NODES; i++) {
        size += model->nodes[i].type == STORM_FILE ? model->nodes[i].size : 0;
    }
    return size;
}

static uint8_t child_of(const struct storm_model *model, uint8_t directory, uint8_t name)
{
    return model->nodes[directory].names[name];
}

static uint8_t type_of(const struct storm_model *model, uint8_t node)
{
    return node == STORM_NONE ? STORM_NOTHING : model->nodes[node].type;
}

/* Any name; that of something, if @something. Return: what has it, or STORM_NONE. */
static uint8_t pick_name(struct choice *choice, bool something, uint8_t *directory, uint8_t *name)
{
    for (unsigned tries = 0; tries < 12; tries++) {
        *directory = pick_type(choice, 1u << STORM_DIRECTORY);
        *name = (uint8_t)pick(choice, STORM_NAMES);
        if ((child_of(choice->model, *directory, *name) != STORM_NONE) == something) {
            break;
        }
    }
    return child_of(choice->model, *directory, *name);
}

/* An open file. Return: false when none was found. */
static bool pick_open(struct choice *choice, uint8_t *file)
{
    *file = (uint8_t)pick(choice, STORM_FILES);
    return choice->model->files[*file].is_open;
}

/* A file by its name or by descriptor. */
static bool pick_target(struct choice *choice, unsigned types)
{
    struct storm_operation *operation = choice->operation;
    operation->by_name = pick(choice, 2) == 0;
    if (!operation->by_name) {
        if (!pick_open(choice, &operation->file)) {
            return false;
        }
        operation->node = choice->model->files[operation->file].node;
        return true;
    }
    operation->node = pick_type(choice, types);
    return operation->node != STORM_NONE &&
           (operation->node == 0 ||
            storm_find_name(
                choice->model, operation->node, &operation->directory, &operation->name));
}

/* ---- one function for each kind; false: not now ---- */

static bool choose_open(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    const bool creates = pick(choice, 2) == 0;
    const uint8_t found = pick_name(choice, !creates, &operation->directory, &operation->name);
    operation->file = (uint8_t)pick(choice, STORM_FILES);
    if (choice->actor->is_child || choice->model->files[operation->file].is_open) {
        return false; /* the parent would not have it */
    }
    operation->flags = O_RDWR | O_NOFOLLOW | (creates ? O_CREAT : 0) |
                       (creates && pick(choice, 3) == 0 ? O_EXCL : 0) |
                       (pick(choice, 4) == 0 ? O_APPEND : 0) | (pick(choice, 5) == 0 ? O_TRUNC : 0);
    operation->value = 0600 | pick(choice, 0200);
    operation->replaced = found;
    operation->node = found != STORM_NONE ? found : free_node(choice->model);
    if (found == STORM_NONE) {
        operation->expected = creates ? 0 : -ENOENT;
    } else if ((operation->flags & O_EXCL) != 0) {
        operation->expected = -EEXIST;
    } else if (type_of(choice->model, found) == STORM_SYMBOLIC_LINK) {
        operation->expected = -ELOOP;
    } else if (type_of(choice->model, found) == STORM_DIRECTORY) {
        operation->expected = -EISDIR;
    }
    operation->may_lack_space = found == STORM_NONE && creates;
    return operation->node != STORM_NONE;
}

static bool choose_open_unnamed(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    operation->directory = pick_type(choice, 1u << STORM_DIRECTORY);
    operation->file = (uint8_t)pick(choice, STORM_FILES);
    operation->node = free_node(choice->model);
    operation->flags = O_RDWR | O_TMPFILE;
    operation->value = 0600 | pick(choice, 0200);
    operation->may_lack_space = true;
    return !choice->actor->is_child && !choice->model->files[operation->file].is_open &&
           operation->node != STORM_NONE;
}

static bool choose_close(struct choice *choice)
{
    return !choice->actor->is_child && pick_open(choice, &choice->operation->file);
}

static bool choose_write(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_open(choice, &operation->file)) {
        return false;
    }
    const struct storm_file *file = &choice->model->files[operation->file];
    const uint64_t size = choice->model->nodes[file->node].size;
    operation->node = file->node;
    operation->size = pick_size(choice);
    if (file->appends) {
        operation->offset = size;
    } else if (operation->kind == STORM_WRITE) {
        operation->offset = file->offset;
    } else {
        operation->offset = pick(choice, (uint32_t)size + 5000);
    }
    if (operation->offset + operation->size > STORM_FILE_MAX ||
        data_in_use(choice->model) + operation->size > STORM_DATA_MAX) {
        return false;
    }
    operation->expected = (int64_t)operation->size;
    operation->may_lack_space = true;
    return true;
}

static bool choose_read(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_open(choice, &operation->file)) {
        return false;
    }
    const struct storm_file *file = &choice->model->files[operation->file];
    const uint64_t size = choice->model->nodes[file->node].size;
    operation->node = file->node;
    operation->offset = file->offset;
    operation->size = pick_size(choice);
    const uint64_t there = size > file->offset ? size - file->offset : 0;
    operation->expected = (int64_t)(there < operation->size ? there : operation->size);
    return true;
}

static bool choose_seek(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_open(choice, &operation->file)) {
        return false;
    }
    const struct storm_file *file = &choice->model->files[operation->file];
    operation->node = file->node;
    operation->offset = pick(choice, (uint32_t)choice->model->nodes[file->node].size + 2000);
    operation->expected = (int64_t)operation->offset;
    return true;
}

static bool choose_truncate(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_target(choice, 1u << STORM_FILE | 1u << STORM_DIRECTORY)) {
        return false;
    }
    const uint64_t size = choice->model->nodes[operation->node].size;
    operation->size = pick(choice, (uint32_t)size + 4000) * (pick(choice, 3) > 0);
    operation->expected = type_of(choice->model, operation->node) == STORM_DIRECTORY ? -EISDIR : 0;
    return operation->size <= STORM_FILE_MAX &&
           data_in_use(choice->model) + operation->size - size <= STORM_DATA_MAX;
}

static bool choose_allocate(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!choice->actor->storm->has_allocation || !pick_open(choice, &operation->file)) {
        return false;
    }
    operation->node = choice->model->files[operation->file].node;
    const uint64_t size = choice->model->nodes[operation->node].size;
    if (pick(choice, 2) == 0) {
        operation->flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        operation->offset = pick(choice, (uint32_t)size + 1);
        operation->size = 1 + pick(choice, 20000);
        return operation->offset + operation->size <= STORM_FILE_MAX;
    }
    operation->offset = pick(choice, (uint32_t)size + 4000);
    operation->size = 1 + pick(choice, 20000);
    operation->may_lack_space = true;
    return operation->offset + operation->size <= STORM_FILE_MAX &&
           data_in_use(choice->model) + 24000 <= STORM_DATA_MAX;
}

static bool choose_copy(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_open(choice, &operation->file) || !pick_open(choice, &operation->from)) {
        return false;
    }
    const struct storm_file *to = &choice->model->files[operation->file];
    const struct storm_file *from = &choice->model->files[operation->from];
    const uint64_t size = choice->model->nodes[from->node].size;
    operation->node = to->node;
    operation->from_offset = pick(choice, (uint32_t)size + 1);
    operation->offset = pick(choice, (uint32_t)choice->model->nodes[to->node].size + 4000);
    operation->size = pick_size(choice);
    const uint64_t there = size - operation->from_offset;
    operation->expected = (int64_t)(there < operation->size ? there : operation->size);
    operation->may_lack_space = true;
    return to->node != from->node && !to->appends &&
           operation->offset + operation->size <= STORM_FILE_MAX &&
           data_in_use(choice->model) + operation->size <= STORM_DATA_MAX;
}

static bool choose_fsync(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_open(choice, &operation->file)) {
        return false;
    }
    operation->node = choice->model->files[operation->file].node;
    return true;
}

static int64_t expect_rename(const struct storm_model *model,
                             const struct storm_operation *operation)
{
    const uint8_t node = operation->node;
    const uint8_t there = operation->replaced;
    const bool exchanges = (operation->flags & RENAME_EXCHANGE) != 0;
    if (node == STORM_NONE) {
        return -ENOENT;
    }
    if (there == STORM_NONE ? exchanges : (operation->flags & RENAME_NOREPLACE) != 0) {
        return there == STORM_NONE ? -ENOENT : -EEXIST;
    }
    if (storm_is_above(model, node, operation->new_directory)) {
        return -EINVAL;
    }
    if (there == STORM_NONE) {
        return 0;
    }
    if (storm_is_above(model, there, operation->directory)) {
        return exchanges ? -EINVAL : -ENOTEMPTY;
    }
    if (node == there || exchanges) {
        return 0;
    }
    const bool is_directory = type_of(model, node) == STORM_DIRECTORY;
    if (is_directory != (type_of(model, there) == STORM_DIRECTORY)) {
        return is_directory ? -ENOTDIR : -EISDIR;
    }
    for (uint8_t i = 0; is_directory && i < STORM_NAMES; i++) {
        if (child_of(model, there, i) != STORM_NONE) {
            return -ENOTEMPTY;
        }
    }
    return 0;
}

static bool choose_rename(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    const uint32_t kind = pick(choice, 8);
    operation->node = pick_name(choice, true, &operation->directory, &operation->name);
    operation->replaced =
        pick_name(choice, kind >= 4, &operation->new_directory, &operation->new_name);
    operation->flags = kind == 6 ? RENAME_EXCHANGE : kind == 7 || kind == 0 ? RENAME_NOREPLACE : 0;
    operation->expected = expect_rename(choice->model, operation);
    return true;
}

/* The name that it has, or what is open: that may have none so far. */
static bool pick_source(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    operation->by_name = pick(choice, 3) > 0;
    if (operation->by_name) {
        operation->node = pick_name(choice, true, &operation->directory, &operation->name);
    } else if (pick_open(choice, &operation->file)) {
        operation->node = choice->model->files[operation->file].node;
    } else {
        return false;
    }
    return true;
}

static bool choose_link(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_source(choice)) {
        return false;
    }
    operation->replaced =
        pick_name(choice, pick(choice, 8) == 0, &operation->new_directory, &operation->new_name);
    if (operation->node == STORM_NONE) {
        operation->expected = -ENOENT;
    } else if (operation->replaced != STORM_NONE) {
        operation->expected = -EEXIST;
    } else if (type_of(choice->model, operation->node) == STORM_DIRECTORY) {
        operation->expected = -EPERM;
    } else if (storm_links(choice->model, operation->node) == 0 &&
               !choice->model->nodes[operation->node].may_get_name) {
        operation->expected = -ENOENT;
    }
    operation->may_lack_space = true;
    return true;
}

static bool choose_removal(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    operation->node = pick_name(choice, true, &operation->directory, &operation->name);
    const bool is_directory = type_of(choice->model, operation->node) == STORM_DIRECTORY;
    if (operation->node == STORM_NONE) {
        operation->expected = -ENOENT;
    } else if (operation->kind == STORM_UNLINK) {
        operation->expected = is_directory ? -EISDIR : 0;
    } else if (!is_directory) {
        operation->expected = -ENOTDIR;
    }
    for (uint8_t i = 0; operation->kind == STORM_RMDIR && is_directory && i < STORM_NAMES; i++) {
        if (child_of(choice->model, operation->node, i) != STORM_NONE) {
            operation->expected = -ENOTEMPTY;
        }
    }
    return true;
}

static bool choose_making(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    operation->replaced =
        pick_name(choice, pick(choice, 8) == 0, &operation->directory, &operation->name);
    operation->node = free_node(choice->model);
    operation->value = operation->kind == STORM_MKDIR
                           ? 0700 | pick(choice, 0100)
                           : (uint32_t)operation->number * 16 + choice->actor->index;
    operation->expected = operation->replaced != STORM_NONE ? -EEXIST : 0;
    operation->may_lack_space = operation->replaced == STORM_NONE;
    return operation->node != STORM_NONE;
}

static bool choose_attribute(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    if (!pick_target(choice, 1u << STORM_FILE | 1u << STORM_DIRECTORY)) {
        return false;
    }
    if (operation->kind == STORM_CHMOD) {
        operation->value = operation->node == 0 ? 0755 : 0700 | pick(choice, 0100);
        return true;
    }
    operation->value = 1 + pick(choice, 1000000);
    operation->may_lack_space = operation->kind == STORM_SET_XATTR;
    if (operation->kind == STORM_REMOVE_XATTR && choice->model->nodes[operation->node].xattr == 0) {
        operation->expected = -ENODATA;
    }
    return choice->actor->storm->has_xattrs;
}

static bool choose_look(struct choice *choice)
{
    choice->operation->node =
        pick_type(choice, 1u << STORM_FILE | 1u << STORM_DIRECTORY | 1u << STORM_SYMBOLIC_LINK);
    return true;
}

/* ---- with others ---- */

static bool choose_append(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    const struct storm_shared *shared = &choice->actor->worker->shared;
    operation->file = (uint8_t)pick(choice, STORM_LOGS);
    operation->value = shared->appended[operation->file];
    operation->size = storm_record(choice->actor->index, operation->file, operation->value, NULL);
    operation->expected = (int64_t)operation->size;
    operation->from_offset = shared->bytes[operation->file];
    operation->may_lack_space = true;
    return operation->value < STORM_RECORDS && operation->from_offset < STORM_LOG_BYTES;
}

static bool choose_cell(struct choice *choice)
{
    choice->operation->value = choice->actor->worker->shared.cell + 1;
    choice->operation->may_lack_space = true;
    choice->operation->expected = STORM_CELL;
    choice->operation->size = STORM_CELL;
    return true;
}

static bool choose_token(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    operation->directory = (uint8_t)pick(choice, STORM_FOLDERS);
    operation->new_directory = (uint8_t)pick(choice, STORM_FOLDERS);
    operation->name = (uint8_t)pick(choice, STORM_TOKEN_NAMES);
    operation->new_name = (uint8_t)pick(choice, STORM_TOKEN_NAMES);
    operation->flags = pick(choice, 4) == 0 ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    return true;
}

static bool choose_published(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    operation->new_name = (uint8_t)pick(choice, STORM_PUBLISHED);
    operation->size = 100 + pick_size(choice);
    operation->may_lack_space = operation->kind == STORM_PUBLISH;
    return true;
}

static bool choose_mess(struct choice *choice)
{
    struct storm_operation *operation = choice->operation;
    operation->name = (uint8_t)pick(choice, STORM_MESS);
    operation->new_name = (uint8_t)pick(choice, STORM_MESS);
    operation->directory = (uint8_t)pick(choice, 2);
    operation->new_directory = (uint8_t)pick(choice, 2);
    operation->value = pick(choice, 10);
    operation->size = 1 + pick(choice, 9000);
    operation->may_lack_space = true;
    return true;
}

/* ---- all of them ---- */

static const struct {
    bool (*choose)(struct choice *choice);
    uint32_t weight;
} kinds[STORM_KINDS] = {
    [STORM_OPEN] = {choose_open, 12},          [STORM_OPEN_UNNAMED] = {choose_open_unnamed, 3},
    [STORM_CLOSE] = {choose_close, 6},         [STORM_WRITE] = {choose_write, 14},
    [STORM_PWRITE] = {choose_write, 8},        [STORM_READ] = {choose_read, 8},
    [STORM_SEEK] = {choose_seek, 4},           [STORM_TRUNCATE] = {choose_truncate, 5},
    [STORM_ALLOCATE] = {choose_allocate, 3},   [STORM_COPY] = {choose_copy, 3},
    [STORM_FSYNC] = {choose_fsync, 1},         [STORM_RENAME] = {choose_rename, 8},
    [STORM_LINK] = {choose_link, 3},           [STORM_UNLINK] = {choose_removal, 5},
    [STORM_MKDIR] = {choose_making, 4},        [STORM_RMDIR] = {choose_removal, 3},
    [STORM_SYMLINK] = {choose_making, 2},      [STORM_CHMOD] = {choose_attribute, 3},
    [STORM_SET_XATTR] = {choose_attribute, 2}, [STORM_REMOVE_XATTR] = {choose_attribute, 1},
    [STORM_LOOK] = {choose_look, 6},           [STORM_APPEND] = {choose_append, 10},
    [STORM_CELL_WRITE] = {choose_cell, 5},     [STORM_MOVE_TOKEN] = {choose_token, 8},
    [STORM_PUBLISH] = {choose_published, 2},   [STORM_READ_PUBLISHED] = {choose_published, 3},
    [STORM_DO_MESS] = {choose_mess, 8},
};

static uint32_t pick_kind(struct choice *choice)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < STORM_KINDS; i++) {
        sum += kinds[i].weight;
    }
    uint32_t at = pick(choice, sum);
    uint32_t kind = 0;
    while (at >= kinds[kind].weight) {
        at -= kinds[kind++].weight;
    }
    return kind;
}

void storm_choose(const struct storm_actor *actor, uint64_t number,
                  struct storm_operation *operation)
{
    struct choice choice = {
        .actor = actor,
        .model = &actor->worker->model,
        .random = storm_random_of(actor->storm->seed, actor->index, number),
        .operation = operation,
    };
    do {
        *operation = (struct storm_operation){
            .number = number,
            .kind = pick_kind(&choice),
            .replaced = STORM_NONE,
        };
    } while (!kinds[operation->kind].choose(&choice));
}
