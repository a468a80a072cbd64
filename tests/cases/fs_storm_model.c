/*
 * The model of a worker's own part of the tree. Whatever is written to it is said outright, and not
 * as a difference: so a worker that is killed on the way leaves it to the next to do the same again.
 */
#include "cases/fs_storm.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void storm_model_init(struct storm_model *model)
{
    memset(model, 0, sizeof *model);
    model->nodes[0] = (struct storm_node){.type = STORM_DIRECTORY, .mode = 0755};
    memset(model->nodes[0].names, STORM_NONE, STORM_NAMES);
}

struct storm_tree storm_tree_of(struct storm_worker *worker)
{
    struct storm_tree tree = {.model = &worker->model};
    for (unsigned i = 0; i < STORM_NODES; i++) {
        tree.data[i] = worker->data[i];
    }
    return tree;
}

uint32_t storm_links(const struct storm_model *model, uint8_t node)
{
    const bool is_directory = model->nodes[node].type == STORM_DIRECTORY;
    uint32_t links = is_directory ? 2 : 0;
    for (uint8_t i = 0; i < STORM_NODES; i++) {
        const struct storm_node *directory = &model->nodes[i];
        if (directory->type != STORM_DIRECTORY || (is_directory && i != node)) {
            continue;
        }
        for (uint8_t j = 0; j < STORM_NAMES; j++) {
            const uint8_t child = directory->names[j];
            links += is_directory
                         ? child != STORM_NONE && model->nodes[child].type == STORM_DIRECTORY
                         : child == node;
        }
    }
    return links;
}

bool storm_is_above(const struct storm_model *model, uint8_t node, uint8_t directory)
{
    while (directory != node && directory != 0) {
        directory = model->nodes[directory].parent;
    }
    return directory == node;
}

static bool is_open(const struct storm_model *model, uint8_t node)
{
    for (unsigned i = 0; i < STORM_FILES; i++) {
        if (model->files[i].is_open && model->files[i].node == node) {
            return true;
        }
    }
    return false;
}

/* What has no name and is not open is no more. */
static void collect(struct storm_model *model)
{
    uint8_t directory, name;
    for (uint8_t i = 1; i < STORM_NODES; i++) {
        if (model->nodes[i].type != STORM_NOTHING && !is_open(model, i) &&
            !storm_find_name(model, i, &directory, &name)) {
            model->nodes[i].type = STORM_NOTHING;
        }
    }
}

void storm_lose_files(struct storm_model *model)
{
    for (unsigned i = 0; i < STORM_FILES; i++) {
        model->files[i].is_open = false;
    }
    collect(model);
}

static void set_size(struct storm_tree *tree, uint8_t node, uint64_t size)
{
    struct storm_node *file = &tree->model->nodes[node];
    if (size < file->size) {
        memset(tree->data[node] + size, 0, file->size - size);
    }
    file->size = size;
}

static void make(struct storm_tree *tree, const struct storm_operation *operation, uint8_t type)
{
    struct storm_node *node = &tree->model->nodes[operation->node];
    memset(tree->data[operation->node], 0, STORM_FILE_MAX);
    *node = (struct storm_node){
        .type = type,
        .parent = operation->directory,
        .mode = type == STORM_SYMBOLIC_LINK ? 0777 : (uint16_t)operation->value,
        .target = operation->value,
    };
    memset(node->names, STORM_NONE, STORM_NAMES);
    if (operation->kind == STORM_OPEN_UNNAMED) {
        node->may_get_name = true;
    } else {
        tree->model->nodes[operation->directory].names[operation->name] = operation->node;
    }
}

static void apply_open(struct storm_tree *tree, const struct storm_operation *operation, int fd)
{
    struct storm_model *model = tree->model;
    if (operation->replaced == STORM_NONE) {
        make(tree, operation, STORM_FILE);
    } else if ((operation->flags & O_TRUNC) != 0) {
        set_size(tree, operation->node, 0);
    }
    model->files[operation->file] = (struct storm_file){
        .is_open = true,
        .appends = (operation->flags & O_APPEND) != 0,
        .node = operation->node,
        .fd = fd,
    };
}

static void apply_write(struct storm_tree *tree, unsigned worker,
                        const struct storm_operation *operation, uint64_t size)
{
    struct storm_node *node = &tree->model->nodes[operation->node];
    storm_pattern(
        worker, operation->number, 0, tree->data[operation->node] + operation->offset, size);
    if (size > 0 && operation->offset + size > node->size) {
        node->size = operation->offset + size;
    }
    if (operation->kind == STORM_WRITE) {
        tree->model->files[operation->file].offset = operation->offset + size;
    }
}

static void apply_allocate(struct storm_tree *tree, const struct storm_operation *operation)
{
    struct storm_node *node = &tree->model->nodes[operation->node];
    const uint64_t end = operation->offset + operation->size;
    if ((operation->flags & FALLOC_FL_PUNCH_HOLE) != 0) {
        memset(tree->data[operation->node] + operation->offset, 0, operation->size);
    } else if (end > node->size) {
        node->size = end;
    }
}

static void apply_copy(struct storm_tree *tree, const struct storm_operation *operation,
                       uint64_t size)
{
    const uint8_t from = tree->model->files[operation->from].node;
    struct storm_node *node = &tree->model->nodes[operation->node];
    memcpy(tree->data[operation->node] + operation->offset,
           tree->data[from] + operation->from_offset,
           size);
    if (size > 0 && operation->offset + size > node->size) {
        node->size = operation->offset + size;
    }
}

static void put(struct storm_model *model, uint8_t directory, uint8_t name, uint8_t node)
{
    model->nodes[directory].names[name] = node;
    if (node != STORM_NONE && model->nodes[node].type == STORM_DIRECTORY) {
        model->nodes[node].parent = directory;
    }
}

static void apply_rename(struct storm_model *model, const struct storm_operation *operation)
{
    if (operation->node != operation->replaced) {
        put(model,
            operation->directory,
            operation->name,
            (operation->flags & RENAME_EXCHANGE) != 0 ? operation->replaced : STORM_NONE);
        put(model, operation->new_directory, operation->new_name, operation->node);
    }
}

static void apply_name(struct storm_tree *tree, const struct storm_operation *operation)
{
    struct storm_model *model = tree->model;
    switch (operation->kind) {
    case STORM_RENAME:
        apply_rename(model, operation);
        break;
    case STORM_LINK:
        model->nodes[operation->node].may_get_name = false;
        put(model, operation->new_directory, operation->new_name, operation->node);
        break;
    case STORM_UNLINK:
    case STORM_RMDIR:
        put(model, operation->directory, operation->name, STORM_NONE);
        break;
    case STORM_MKDIR:
        make(tree, operation, STORM_DIRECTORY);
        break;
    case STORM_SYMLINK:
        make(tree, operation, STORM_SYMBOLIC_LINK);
        break;
    default:
        break;
    }
}

static void apply_attribute(struct storm_tree *tree, const struct storm_operation *operation)
{
    struct storm_node *node = &tree->model->nodes[operation->node];
    switch (operation->kind) {
    case STORM_TRUNCATE:
        set_size(tree, operation->node, operation->size);
        break;
    case STORM_ALLOCATE:
        apply_allocate(tree, operation);
        break;
    case STORM_CHMOD:
        node->mode = (uint16_t)operation->value;
        break;
    case STORM_SET_XATTR:
        node->xattr = operation->value;
        break;
    case STORM_REMOVE_XATTR:
        node->xattr = 0;
        break;
    default:
        apply_name(tree, operation);
    }
}

void storm_apply(struct storm_tree *tree, unsigned worker, const struct storm_operation *operation,
                 int64_t result)
{
    struct storm_file *file = &tree->model->files[operation->file % STORM_FILES];
    if (result < 0) {
        return;
    }
    switch (operation->kind) {
    case STORM_OPEN:
    case STORM_OPEN_UNNAMED:
        apply_open(tree, operation, (int)result);
        break;
    case STORM_CLOSE:
        file->is_open = false;
        break;
    case STORM_WRITE:
    case STORM_PWRITE:
        apply_write(tree, worker, operation, (uint64_t)result);
        break;
    case STORM_READ:
        file->offset = operation->offset + (uint64_t)result;
        break;
    case STORM_SEEK:
        file->offset = operation->offset;
        break;
    case STORM_COPY:
        apply_copy(tree, operation, (uint64_t)result);
        break;
    default:
        apply_attribute(tree, operation);
    }
    collect(tree->model);
}
