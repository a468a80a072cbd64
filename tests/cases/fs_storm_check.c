/* Comparing a worker's part of the tree with what the model says of it. */
#include "cases/fs_storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

struct comparison {
    struct storm_actor *actor;
    const struct storm_tree *tree;
    char path[STORM_PATH];
    char *why;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool differs(struct comparison *comparison,
                                                          const char *format, ...)
{
    if (comparison->why != NULL) {
        const int length =
            snprintf(comparison->why, comparison->size, "%.200s: ", comparison->path);
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(comparison->why + length, comparison->size - (size_t)length, format, arguments);
        va_end(arguments);
    }
    return false;
}

/* ---- directories ---- */

static unsigned char entry_type(uint8_t type)
{
    return type == STORM_FILE ? DT_REG : type == STORM_DIRECTORY ? DT_DIR : DT_LNK;
}

static bool is_entry_like(struct comparison *comparison, const struct storm_node *node,
                          const hf_dirent *entry, unsigned *seen)
{
    const unsigned name = (unsigned)(entry->name[0] - 'a');
    if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) {
        return true;
    }
    if (name >= STORM_NAMES || entry->name[1] != '\0' || node->names[name] == STORM_NONE) {
        return differs(comparison, "there is a %s", entry->name);
    }
    if ((*seen & 1u << name) != 0) {
        return differs(comparison, "there are two of %s", entry->name);
    }
    *seen |= 1u << name;
    if (entry->type != entry_type(comparison->tree->model->nodes[node->names[name]].type)) {
        return differs(comparison, "%s is of type %d", entry->name, entry->type);
    }
    return true;
}

static bool is_listing_like(struct comparison *comparison, const struct storm_node *node)
{
    hf_fs *fs = comparison->actor->fs;
    hf_dirent entry;
    unsigned seen = 0;
    bool same = true;
    int result = 1;
    const int fd = hf_open(fs, comparison->path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return differs(comparison, "cannot be listed: %s", strerror(-fd));
    }
    while (same && result > 0) {
        result = hf_readdir(fs, fd, &entry);
        same = result <= 0 || is_entry_like(comparison, node, &entry, &seen);
    }
    hf_close(fs, fd);
    if (result < 0) {
        return differs(comparison, "readdir: %s", strerror(-result));
    }
    for (unsigned i = 0; same && i < STORM_NAMES; i++) {
        if (node->names[i] != STORM_NONE && (seen & 1u << i) == 0) {
            return differs(comparison, "%c is not listed", 'a' + i);
        }
    }
    return same;
}

/* ---- files ---- */

static bool is_data_like(struct comparison *comparison, uint8_t index, int fd)
{
    uint8_t *buffer = comparison->actor->buffer;
    const uint8_t *wanted = comparison->tree->data[index];
    const uint64_t size = comparison->tree->model->nodes[index].size;
    const ssize_t got = hf_pread(comparison->actor->fs, fd, buffer, STORM_FILE_MAX, 0);
    if (got != (ssize_t)size) {
        return differs(comparison, "reading gives %zd of %" PRIu64, got, size);
    }
    for (uint64_t i = 0; i < size; i++) {
        if (buffer[i] != wanted[i]) {
            return differs(comparison,
                           "at %" PRIu64 " of %" PRIu64 " there is %d and not %d",
                           i,
                           size,
                           buffer[i],
                           wanted[i]);
        }
    }
    return true;
}

/* All its names are of one inode. */
static bool are_names_like(struct comparison *comparison, uint8_t index, ino_t number)
{
    const struct storm_model *model = comparison->tree->model;
    struct stat attributes;
    for (uint8_t i = 0; i < STORM_NODES; i++) {
        for (uint8_t j = 0; model->nodes[i].type == STORM_DIRECTORY && j < STORM_NAMES; j++) {
            if (model->nodes[i].names[j] != index) {
                continue;
            }
            storm_own_path(comparison->actor->index, model, i, j, comparison->path);
            const int result = hf_lstat(comparison->actor->fs, comparison->path, &attributes);
            if (result < 0 || attributes.st_ino != number) {
                return differs(comparison,
                               "stat says %d, inode %" PRIu64 ", not %" PRIu64,
                               result,
                               (uint64_t)attributes.st_ino,
                               (uint64_t)number);
            }
        }
    }
    return true;
}

static bool is_link_like(struct comparison *comparison, const struct storm_node *node)
{
    char wanted[32], target[64];
    const int length = snprintf(wanted, sizeof wanted, "nowhere-%u", node->target);
    const ssize_t got = hf_readlink(comparison->actor->fs, comparison->path, target, sizeof target);
    return (got == length && memcmp(wanted, target, (size_t)length) == 0) ||
           differs(comparison, "readlink says %zd", got);
}

/* ---- what all have ---- */

static bool is_xattr_like(struct comparison *comparison, const struct storm_node *node, int fd)
{
    hf_fs *fs = comparison->actor->fs;
    uint32_t value = 0;
    if (node->type == STORM_SYMBOLIC_LINK || !comparison->actor->storm->has_xattrs) {
        return true;
    }
    const ssize_t got = fd >= 0
                            ? hf_fgetxattr(fs, fd, "user.storm", &value, sizeof value)
                            : hf_getxattr(fs, comparison->path, "user.storm", &value, sizeof value);
    const ssize_t wanted = node->xattr == 0 ? -ENODATA : (ssize_t)sizeof value;
    return (got == wanted && value == node->xattr) ||
           differs(comparison, "the attribute is %u (%zd) and not %u", value, got, node->xattr);
}

/* Of its names, how many lead to it? For people. */
static unsigned count_names(const struct comparison *comparison, uint8_t index, ino_t number)
{
    const struct storm_model *model = comparison->tree->model;
    struct stat attributes;
    char path[STORM_PATH];
    unsigned count = 0;
    for (uint8_t i = 0; i < STORM_NODES; i++) {
        for (uint8_t j = 0; model->nodes[i].type == STORM_DIRECTORY && j < STORM_NAMES; j++) {
            storm_own_path(comparison->actor->index, model, i, j, path);
            count += model->nodes[i].names[j] == index &&
                     hf_lstat(comparison->actor->fs, path, &attributes) == 0 &&
                     attributes.st_ino == number;
        }
    }
    return count;
}

static mode_t wanted_mode(const struct storm_node *node)
{
    const mode_t type = node->type == STORM_FILE        ? S_IFREG
                        : node->type == STORM_DIRECTORY ? S_IFDIR
                                                        : S_IFLNK;
    return type | node->mode;
}

static bool are_attributes_like(struct comparison *comparison, uint8_t index,
                                const struct stat *attributes)
{
    const struct storm_node *node = &comparison->tree->model->nodes[index];
    const uint32_t links = storm_links(comparison->tree->model, index);
    if (attributes->st_mode != wanted_mode(node)) {
        return differs(
            comparison, "the mode is %o and not %o", attributes->st_mode, wanted_mode(node));
    }
    if (attributes->st_nlink != links) {
        return differs(comparison,
                       "%u links and not %u, of type %d with %u names",
                       (unsigned)attributes->st_nlink,
                       links,
                       node->type,
                       count_names(comparison, index, attributes->st_ino));
    }
    if (node->type == STORM_FILE && (uint64_t)attributes->st_size != node->size) {
        return differs(comparison,
                       "the size is %" PRIu64 " and not %" PRIu64,
                       (uint64_t)attributes->st_size,
                       node->size);
    }
    return true;
}

static int fd_of(const struct storm_model *model, uint8_t node)
{
    for (unsigned i = 0; i < STORM_FILES; i++) {
        if (model->files[i].is_open && model->files[i].node == node) {
            return model->files[i].fd;
        }
    }
    return -1;
}

static bool is_file_like(struct comparison *comparison, uint8_t index, int open_fd)
{
    hf_fs *fs = comparison->actor->fs;
    const int fd = open_fd >= 0 ? open_fd : hf_open(fs, comparison->path, O_RDONLY, 0);
    const bool same = fd < 0 ? differs(comparison, "cannot be opened: %s", strerror(-fd))
                             : is_data_like(comparison, index, fd);
    if (fd >= 0 && open_fd < 0) {
        hf_close(fs, fd);
    }
    return same;
}

static bool is_node_like(struct comparison *comparison, uint8_t index)
{
    const struct storm_model *model = comparison->tree->model;
    const struct storm_node *node = &model->nodes[index];
    hf_fs *fs = comparison->actor->fs;
    struct stat attributes;
    uint8_t directory = 0;
    uint8_t name = STORM_NONE;
    int fd = -1;
    if (index != 0 && !storm_find_name(model, index, &directory, &name)) {
        fd = fd_of(model, index);
        snprintf(comparison->path, STORM_PATH, "descriptor %d", fd);
    } else {
        storm_own_path(comparison->actor->index, model, directory, name, comparison->path);
    }
    const int result =
        fd >= 0 ? hf_fstat(fs, fd, &attributes) : hf_lstat(fs, comparison->path, &attributes);
    if (result < 0) {
        return differs(comparison, "stat: %s", strerror(-result));
    }
    if (!are_attributes_like(comparison, index, &attributes) ||
        !is_xattr_like(comparison, node, fd)) {
        return false;
    }
    if (node->type == STORM_DIRECTORY) {
        return is_listing_like(comparison, node);
    }
    if (node->type == STORM_SYMBOLIC_LINK) {
        return is_link_like(comparison, node);
    }
    return is_file_like(comparison, index, fd) &&
           are_names_like(comparison, index, attributes.st_ino);
}

bool storm_is_like(struct storm_actor *actor, const struct storm_tree *tree, uint32_t mask,
                   char *why, size_t size)
{
    struct comparison comparison = {.actor = actor, .tree = tree, .why = why, .size = size};
    for (uint8_t i = 0; i < STORM_NODES; i++) {
        if ((mask & 1u << i) != 0 && tree->model->nodes[i].type != STORM_NOTHING &&
            !is_node_like(&comparison, i)) {
            return false;
        }
    }
    return true;
}
