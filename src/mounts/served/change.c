/*
 * Changing names. The directories are held EXCLUSIVE. What makes or removes a file is judged here,
 * by what is cached, and told to the server; the rarer rest the server is asked to do.
 */
#include "mounts/served/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int name_of(const char *name, struct wire_name *out)
{
    const size_t length = strlen(name);
    if (length > NAME_MAX) {
        return -ENAMETOOLONG;
    }
    *out = (struct wire_name){.bytes = name, .length = (uint8_t)length};
    return 0;
}

/* May entries of @directory come and go? Its attributes are known then. */
static int check_directory(struct sb_node *directory, struct wire_attributes *out)
{
    int result = sb_attributes_to_judge(directory, out);
    if (result < 0) {
        return result;
    }
    if ((directory->served->flags & WIRE_STORE_READ_ONLY) != 0) {
        return -EROFS;
    }
    if (out->links == 0) {
        return -ENOENT;
    }
    return sb_may(directory->served, out, MAY_WRITE | MAY_SEARCH);
}

/* An entry came (1) or went (-1) at @now, and that many subdirectories. */
static void directory_changed(struct sb_node *directory, int entries, int subdirectories,
                              struct timespec now)
{
    const bool is_exact = (directory->served->flags & WIRE_STORE_EXACT) != 0;
    pthread_mutex_lock(&directory->mutex);
    if (is_exact) {
        directory->attributes.size += (uint64_t)(int64_t)(entries * SERVED_ENTRY_SIZE);
        directory->attributes.links += (uint32_t)subdirectories;
    }
    directory->pages_unsure |= !is_exact;
    directory->attributes.mtime = now;
    directory->attributes.ctime = now;
    pthread_mutex_unlock(&directory->mutex);
}

/* ---- making ---- */

struct making {
    struct sb_node *directory;
    const char *name; /* NULL: without one */
    mode_t mode;      /* with the type */
    dev_t device;
    const char *target;
    struct wire_attributes made;
    struct wire_operation operation;
};

/* What the new inode is like, and what it costs. */
static uint64_t foresee(struct making *making, const struct wire_attributes *directory)
{
    const struct sb *served = making->directory->served;
    struct wire_attributes *made = &making->made;
    const struct permissions above = sb_permissions(directory);
    uint64_t pages = 0;
    *made = (struct wire_attributes){
        .number = making->operation.number,
        .mode = permit_new_mode(&above, &served->who, making->mode),
        .links = S_ISDIR(making->mode) ? 2 : 1,
        .owner = served->who.uid,
        .group = served->who.gid,
        .atime = making->operation.now,
        .mtime = making->operation.now,
        .ctime = making->operation.now,
        .btime = making->operation.now,
    };
    if ((directory->mode & S_ISGID) != 0) {
        made->group = directory->group;
        made->mode |= S_ISDIR(making->mode) ? S_ISGID : 0;
    }
    if (S_ISDIR(making->mode)) {
        made->size = SERVED_DIRECTORY_SIZE;
    } else if (S_ISLNK(making->mode)) {
        made->size = making->operation.data_size;
        pages = made->size >= SERVED_SHORT_TARGET ? 1 : 0;
        made->pages = pages;
    } else if (S_ISCHR(making->mode) || S_ISBLK(making->mode)) {
        made->device = making->device;
    }
    return pages;
}

/* Nobody knows of it while @directory is held as now. */
static int remember_made(const struct making *making, struct sb_node **out)
{
    struct sb_node *directory = making->directory;
    struct sb_node *node;
    const int result = sb_get_node(directory->served, making->made.number, &node);
    if (result < 0) {
        return result;
    }
    pthread_mutex_lock(&node->mutex);
    node->attributes = making->made;
    node->pages_unsure =
        (node->served->flags & WIRE_STORE_EXACT) == 0 && !S_ISREG(making->made.mode);
    node->attributes_epoch = 0;
    node->pages_epoch = hf_sync_epoch(node->handle);
    sb_grown_up(node);
    if (sb_get_node(directory->served, directory->number, &node->born_in) < 0) {
        node->born_in = NULL;
    }
    node->born_with = client_grant(directory->handle);
    node->born_forks = directory->served->forks;
    pthread_mutex_unlock(&node->mutex);
    *out = node;
    return 0;
}

/* Without space or a number: the server says what is wrong, or does it all the same. */
static int ask_to_make(struct making *making)
{
    making->operation.number = 0;
    const int result =
        sb_ask_attributes(making->directory->served, &making->operation, &making->made);
    sb_forget_attributes(making->directory);
    return result;
}

static int tell_to_make(struct making *making, const struct wire_attributes *directory)
{
    struct client_store *store = &making->directory->served->store;
    const uint64_t pages = S_ISLNK(making->mode) ? 1 : 0;
    int result = client_store_reserve(store, pages, 1, &making->operation.number);
    if (result == 0) {
        const uint64_t cost = foresee(making, directory);
        result = client_store_queue(store, &making->operation, cost, 1);
    }
    if (result == 0) {
        directory_changed(
            making->directory, 1, S_ISDIR(making->mode) ? 1 : 0, making->operation.now);
    }
    return result;
}

/* Make it; @ahead: more like it may follow. Return: 0 with *out, a node with a reference. */
static int make(struct making *making, bool ahead, struct sb_node **out)
{
    struct sb *served = making->directory->served;
    struct wire_attributes directory;
    making->operation.code = WIRE_OP_MAKE;
    making->operation.inode = making->directory->number;
    making->operation.mode = making->mode;
    making->operation.device = making->device;
    making->operation.now = sb_now();
    if (making->target != NULL) {
        making->operation.data = (const uint8_t *)making->target;
        making->operation.data_size = (uint32_t)strlen(making->target);
    }
    int result = name_of(making->name, &making->operation.name);
    if (result == 0) {
        result = check_directory(making->directory, &directory);
    }
    if (result == 0) {
        result = permit_new_type(&served->who, making->mode, making->device);
    }
    if (result < 0) {
        return result;
    }
    result = tell_to_make(making, &directory);
    if (result == -ENOSPC || result == -EDQUOT) {
        result = ask_to_make(making);
    }
    if (result == 0) {
        result = remember_made(making, out);
    }
    if (result == 0 && ahead) {
        sb_nurse(served, (*out)->number);
    }
    const int sent = client_store_send(&served->store);
    if (result == 0 && sent < 0) {
        sb_put_node(*out);
    }
    return result < 0 ? result : sent;
}

int sb_create(struct backend *backend, intptr_t directory, const char *name, int flags, mode_t mode,
              intptr_t *file)
{
    struct making making = {
        .directory = sb_node_of(directory),
        .name = name,
        .mode = S_IFREG | (mode & 07777),
    };
    struct sb_node *node;
    int result = make(&making, (flags & O_ACCMODE) != O_RDONLY, &node);
    if (result < 0) {
        return result;
    }
    result = sb_open_made(node, flags, file);
    sb_put_node(node);
    return result;
}

int sb_create_unnamed(struct backend *backend, intptr_t directory, int flags, mode_t mode,
                      intptr_t *file)
{
    struct sb *served = sb_of(backend);
    struct sb_node *node;
    struct wire_attributes made;
    const struct wire_operation operation = {
        .code = WIRE_OP_MAKE_UNNAMED,
        .inode = sb_node_of(directory)->number,
        .mode = S_IFREG | (mode & 07777),
        .count = (flags & O_EXCL) == 0,
        .now = sb_now(),
    };
    int result = sb_ask_attributes(served, &operation, &made);
    if (result == 0) {
        result = sb_get_node(served, made.number, &node);
    }
    if (result < 0) {
        return result;
    }
    client_store_used(&served->store, &node->use, node->number, WIRE_USE_READ | WIRE_USE_WRITE);
    result = sb_open_made(node, flags, file);
    client_store_unuse(&served->store, &node->use, false);
    sb_put_node(node);
    return result;
}

static int make_without_opening(struct making *making, ino_t *number)
{
    struct sb_node *node;
    const int result = make(making, false, &node);
    if (result == 0) {
        *number = node->number;
        sb_put_node(node);
    }
    return result;
}

int sb_make_directory(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                      ino_t *number)
{
    struct making making = {
        .directory = sb_node_of(directory),
        .name = name,
        .mode = S_IFDIR | (mode & 01777),
    };
    return make_without_opening(&making, number);
}

int sb_make_node(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                 dev_t device, ino_t *number)
{
    struct making making = {
        .directory = sb_node_of(directory),
        .name = name,
        .mode = (mode & S_IFMT) == 0 ? S_IFREG | (mode & 07777) : mode & (S_IFMT | 07777),
        .device = device,
    };
    return make_without_opening(&making, number);
}

int sb_make_symlink(struct backend *backend, intptr_t directory, const char *name,
                    const char *target, ino_t *number)
{
    struct making making = {
        .directory = sb_node_of(directory),
        .name = name,
        .mode = S_IFLNK | 0777,
        .target = target,
    };
    return make_without_opening(&making, number);
}

/* ---- removing ---- */

static int check_removal(const struct sb *served, const struct wire_attributes *directory,
                         const struct wire_attributes *child, bool as_directory)
{
    const struct permissions above = sb_permissions(directory);
    const struct permissions of = sb_permissions(child);
    const int result = permit_remove(&above, &of, &served->who);
    if (result < 0 || S_ISDIR(child->mode) == as_directory) {
        return result;
    }
    return as_directory ? -ENOTDIR : -EISDIR;
}

/* May what is @operation's entry of @directory be removed so? It need not be held if it may not.
 * Return: 0 with a reference to it. */
static int find_removable(struct sb_node *directory, const struct wire_operation *operation,
                          struct sb_node **child)
{
    struct sb *served = directory->served;
    struct wire_attributes above;
    struct wire_attributes attributes;
    int result = check_directory(directory, &above);
    if (result == 0) {
        result = sb_get_node(served, operation->number, child);
    }
    if (result < 0) {
        return result;
    }
    result = sb_attributes_to_judge(*child, &attributes);
    if (result == 0) {
        const bool as_directory = operation->code == WIRE_OP_REMOVE_DIRECTORY;
        result = check_removal(served, &above, &attributes, as_directory);
    }
    if (result < 0) {
        sb_put_node(*child);
    }
    return result;
}

/* @child has lost a name. */
static void lost_name(struct sb_node *child, struct timespec now)
{
    pthread_mutex_lock(&child->mutex);
    child->attributes.links--;
    child->attributes.ctime = now;
    pthread_mutex_unlock(&child->mutex);
}

/* Have the server do it, and believe nothing of what it was done to. */
static int ask_to_remove(struct sb_node *directory, struct wire_operation *operation)
{
    struct sb_node *child;
    const int result = (int)sb_ask(directory->served, operation);
    sb_forget_attributes(directory);
    if (operation->number != 0 && sb_get_node(directory->served, operation->number, &child) == 0) {
        sb_forget_attributes(child);
        sb_put_node(child);
    }
    return result;
}

static int tell_to_unlink(struct sb_node *directory, const struct wire_operation *operation)
{
    struct sb_node *child;
    int result = find_removable(directory, operation, &child);
    if (result < 0) {
        return result;
    }
    result = client_store_tell(&directory->served->store, operation, 0, 0);
    if (result == 0) {
        directory_changed(directory, -1, 0, operation->now);
        lost_name(child, operation->now);
    }
    sb_put_node(child);
    return result;
}

int sb_unlink(struct backend *backend, intptr_t directory, const char *name, ino_t number)
{
    struct sb_node *node = sb_node_of(directory);
    struct wire_operation operation = {
        .code = WIRE_OP_UNLINK, .inode = node->number, .number = number, .now = sb_now()};
    const int result = name_of(name, &operation.name);
    if (result < 0) {
        return result;
    }
    return number == BACKEND_NO_NUMBER ? ask_to_remove(node, &operation)
                                       : tell_to_unlink(node, &operation);
}

int sb_remove_directory(struct backend *backend, intptr_t directory, const char *name, ino_t number)
{
    struct sb_node *child;
    struct wire_operation operation = {
        .code = WIRE_OP_REMOVE_DIRECTORY,
        .inode = sb_node_of(directory)->number,
        .number = number,
        .now = sb_now(),
    };
    int result = name_of(name, &operation.name);
    if (result == 0) {
        result = find_removable(sb_node_of(directory), &operation, &child);
    }
    if (result < 0) {
        return result;
    }
    sb_put_node(child);
    return ask_to_remove(sb_node_of(directory), &operation);
}

/* ---- the server's to judge ---- */

static void forget_number(struct sb *served, uint64_t number)
{
    struct sb_node *node;
    if (number != 0 && sb_get_node(served, number, &node) == 0) {
        sb_forget_attributes(node);
        sb_put_node(node);
    }
}

/* A directory gets no second name, and need not be held for that to be found out. */
static int refuse_to_link(struct sb_node *node, struct sb_node *directory)
{
    struct wire_attributes attributes;
    struct wire_attributes above;
    int result = sb_attributes_to_judge(node, &attributes);
    if (result < 0 || !S_ISDIR(attributes.mode)) {
        return result;
    }
    const struct permissions of = sb_permissions(&attributes);
    result = permit_link(&of, &node->served->who);
    if (result == 0) {
        result = check_directory(directory, &above);
    }
    return result < 0 ? result : -EPERM;
}

int sb_link(struct backend *backend, intptr_t node, intptr_t directory, const char *name)
{
    struct wire_operation operation = {
        .code = WIRE_OP_LINK,
        .inode = sb_node_of(directory)->number,
        .number = sb_node_of(node)->number,
        .now = sb_now(),
    };
    int result = name_of(name, &operation.name);
    if (result == 0) {
        result = refuse_to_link(sb_node_of(node), sb_node_of(directory));
    }
    if (result == 0) {
        result = (int)sb_ask(sb_of(backend), &operation);
        sb_forget_attributes(sb_node_of(directory));
        sb_forget_attributes(sb_node_of(node));
    }
    return result;
}

int sb_rename(struct backend *backend, intptr_t directory, const char *name, ino_t number,
              intptr_t new_directory, const char *new_name, ino_t replaced, unsigned flags)
{
    struct sb *served = sb_of(backend);
    struct wire_operation operation = {
        .code = WIRE_OP_RENAME,
        .inode = sb_node_of(directory)->number,
        .other = sb_node_of(new_directory)->number,
        .number = number,
        .replaced = replaced,
        .mask = flags,
        .now = sb_now(),
    };
    int result = name_of(name, &operation.name);
    if (result == 0) {
        result = name_of(new_name, &operation.new_name);
    }
    if (result < 0) {
        return result;
    }
    result = (int)sb_ask(served, &operation);
    sb_forget_attributes(sb_node_of(directory));
    sb_forget_attributes(sb_node_of(new_directory));
    forget_number(served, number);
    forget_number(served, replaced);
    return result;
}
