#include "fs/walk.h"

#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/open_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* strspn() takes longer to begin than most components take to walk. */
static const char *skip_slashes(const char *path)
{
    while (*path == '/') {
        path++;
    }
    return path;
}

size_t path_split(const char *path, const char **rest, bool *slashes)
{
    const char *end = strchrnul(path, '/');
    *slashes = *end == '/';
    *rest = skip_slashes(end);
    return (size_t)(end - path);
}

/* Look @name up in a directory that nobody here holds. */
static int step_into(struct inode *directory, const char *name, size_t length, struct inode **child)
{
    int result = inode_acquire(directory, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_lookup(directory, name, length, child);
    int released = inode_release(directory);
    if (released < 0 && result == 0) {
        *child = inode_unref(*child);
        result = released;
    }
    return result;
}

static void go_to(struct walk *walk, const struct place *place)
{
    inode_unref(walk->directory);
    walk->mount = place->mount;
    walk->directory = place->inode;
}

/* Put the target of a link in front of the rest of the path. */
static int push_link(struct walk *walk, struct inode *link)
{
    const char *target;
    if (++walk->links > WALK_LINKS_MAX) {
        return -ELOOP;
    }
    int result = inode_link_target(link, &target);
    if (result < 0) {
        return result;
    }
    const size_t target_length = strlen(target);
    if (target_length == 0) {
        return -ENOENT;
    }
    /* At most 40 targets of a page each and the path itself: this stays small. */
    const size_t rest_length = strlen(walk->rest);
    char *buffer = malloc(target_length + 1 + rest_length + 1);
    if (buffer == NULL) {
        return -ENOMEM;
    }
    memcpy(buffer, target, target_length);
    size_t length = target_length;
    if (walk->must_be_directory) {
        buffer[length++] = '/'; /* the slashes that came before the rest */
    }
    memcpy(buffer + length, walk->rest, rest_length + 1);
    free(walk->buffer);
    walk->buffer = buffer;
    walk->rest = buffer;
    struct place root;
    if (buffer[0] == '/') {
        result = mounts_root(walk->fs, &root);
        if (result == 0) {
            go_to(walk, &root);
        }
    }
    return result;
}

/* Take the next component off the rest. Return: false when there is none. */
static bool take_component(struct walk *walk)
{
    const char *component = walk->rest;
    walk->name_length = path_split(component, &walk->rest, &walk->must_be_directory);
    if (walk->name_length == 0) {
        return false;
    }
    if (walk->name_length <= NAME_MAX) {
        memcpy(walk->name, component, walk->name_length);
        walk->name[walk->name_length] = '\0';
        if (strcmp(walk->name, ".") == 0) {
            walk->last = WALK_LAST_DOT;
        } else if (strcmp(walk->name, "..") == 0) {
            walk->last = WALK_LAST_DOT_DOT;
        } else {
            walk->last = WALK_LAST_NAME;
        }
    } else {
        walk->last = WALK_LAST_NAME;
        walk->name[0] = '\0';
    }
    return true;
}

int walk_last_directory(const struct walk *walk, struct place *out)
{
    const struct place here = {walk->mount, walk->directory};
    if (walk->last == WALK_LAST_DOT_DOT) {
        return mounts_parent(walk->fs, &here, out);
    }
    *out = (struct place){walk->mount, inode_ref(walk->directory)};
    return 0;
}

/* Look the last component up. Return: 0 with a reference. */
static int look_up_last(struct walk *walk, bool covered, struct place *out)
{
    if (walk->last != WALK_LAST_NAME) {
        return walk_last_directory(walk, out);
    }
    out->mount = walk->mount;
    int result = step_into(walk->directory, walk->name, walk->name_length, &out->inode);
    return result < 0 || covered ? result : mounts_cross(walk->fs, out);
}

/* Go through the component that was taken. */
static int step(struct walk *walk)
{
    struct place child;
    int result = look_up_last(walk, false, &child);
    if (result < 0) {
        return result;
    }
    if (child.inode->type == S_IFDIR) {
        go_to(walk, &child);
        return 0;
    }
    result = child.inode->type == S_IFLNK ? push_link(walk, child.inode) : -ENOTDIR;
    inode_unref(child.inode);
    return result;
}

/* `.` and `..` are not looked up at the backend, but take permission to search nevertheless. */
static int check_component(const struct walk *walk)
{
    return walk->last == WALK_LAST_NAME ? 0 : inode_check_search(walk->directory);
}

/* Walk the rest but for its last component. */
static int walk_on(struct walk *walk)
{
    walk->rest = skip_slashes(walk->rest);
    if (walk->rest[0] == '\0') {
        walk->last = WALK_LAST_ROOT;
        walk->must_be_directory = true;
        return 0;
    }
    while (take_component(walk)) {
        int result = check_component(walk);
        if (result < 0 || walk->rest[0] == '\0') {
            return result;
        }
        result = step(walk);
        if (result < 0) {
            return result;
        }
        walk->rest = skip_slashes(walk->rest);
    }
    return 0;
}

/* What an empty path would mean. Return: 0 with a reference in *out, which has a node; -EBADF. */
static int place_at(struct hf_fs *fs, int at, struct place *out)
{
    if (at == HF_AT_FDCWD) {
        return fs_working_directory(fs, out);
    }
    struct open_file *file = open_file_get(fs, at);
    if (file == NULL) {
        return -EBADF;
    }
    int result = open_file_give_node(file);
    if (result == 0) {
        *out = (struct place){file->mount, inode_ref(file->inode)};
    }
    open_file_put(fs, at, file);
    return result;
}

/* Go to where @path begins. */
static int start(struct walk *walk, int at, const char *path)
{
    struct place place;
    int result = path[0] == '/' ? mounts_root(walk->fs, &place) : place_at(walk->fs, at, &place);
    if (result == 0 && place.inode->type != S_IFDIR) {
        inode_unref(place.inode);
        return -ENOTDIR;
    }
    if (result == 0) {
        go_to(walk, &place);
    }
    return result;
}

int walk_begin(struct walk *walk, struct hf_fs *fs, int at, const char *path)
{
    walk->fs = fs;
    walk->directory = NULL;
    walk->rest = path;
    walk->buffer = NULL;
    walk->links = 0;
    if (path[0] == '\0') {
        return -ENOENT;
    }
    if (strnlen(path, PATH_MAX) == PATH_MAX) {
        return -ENAMETOOLONG;
    }
    int result = start(walk, at, path);
    return result < 0 ? result : walk_on(walk);
}

int walk_follow(struct walk *walk, struct inode *link)
{
    int result = push_link(walk, link);
    return result < 0 ? result : walk_on(walk);
}

void walk_end(struct walk *walk)
{
    walk->directory = inode_unref(walk->directory);
    free(walk->buffer);
    walk->buffer = NULL;
}

int walk_to_place(struct hf_fs *fs, int at, const char *path, unsigned flags, struct place *out)
{
    struct walk walk;
    struct place place = {NULL, NULL};

    if (path[0] == '\0' && (flags & WALK_EMPTY) != 0) {
        return place_at(fs, at, out);
    }
    int result = walk_begin(&walk, fs, at, path);
    while (result == 0) {
        result = look_up_last(&walk, (flags & WALK_COVERED) != 0, &place);
        if (result < 0) {
            break;
        }
        const mode_t type = place.inode->type;
        if (type == S_IFLNK && ((flags & WALK_FOLLOW) != 0 || walk.must_be_directory)) {
            result = walk_follow(&walk, place.inode);
            place.inode = inode_unref(place.inode);
            continue;
        }
        if (walk.must_be_directory && type != S_IFDIR) {
            place.inode = inode_unref(place.inode);
            result = -ENOTDIR;
        }
        break;
    }
    walk_end(&walk);
    if (result == 0) {
        *out = place;
    }
    return result;
}

int walk_to_inode(struct hf_fs *fs, int at, const char *path, unsigned flags, struct inode **out)
{
    struct place place;
    int result = walk_to_place(fs, at, path, flags, &place);
    if (result == 0) {
        *out = place.inode;
    }
    return result;
}
