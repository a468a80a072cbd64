/*
 * rename: the locks it takes, in the order that the kernel's directory-locking proves right.
 *
 *   1. the backend's rename handle, if directories differ: with it no other client gives any
 *      directory another parent, and what is found out about ancestors stays true;
 *   2. both directories, the ancestor first;
 *   3. moved and replaced inodes, directories before others, others by id.
 *
 * Two directories to hold in step 3 are not each other's ancestor, and could be held in the
 * other order by somebody's step 2. So this too needs the rename handle; within one directory
 * it turns out too late, and rename starts again with the handle.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Inside this file: begin again, with the rename handle. */
#define NEEDS_RENAME_HANDLE 1

struct renaming {
    struct walk from;
    struct walk to;
    unsigned flags;
    bool has_rename_handle;
    /* What leads from one directory down to the other, if it is its ancestor: references. */
    struct inode *from_trap; /* in from.directory, above to.directory */
    struct inode *to_trap;   /* in to.directory, above from.directory */
    struct inode *source;    /* references */
    struct inode *target;    /* NULL: there is none */
};

/* ---- ancestors ---- */

/* As find_way_down(), for a @directory that may not be searched, so that `..` is no way up. */
static int ask_for_way_down(struct inode *ancestor, struct inode *directory, struct inode **below)
{
    struct backend *backend = ancestor->backend;
    char name[NAME_MAX + 1];
    int result =
        backend->ops->way_down(backend, ancestor->backend_node, directory->backend_node, name);
    if (result < 0) {
        return result == -ENOENT ? 0 : result;
    }
    result = inode_acquire(ancestor, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_lookup(ancestor, name, strlen(name), below);
    int released = inode_release(ancestor);
    if (result == 0 && released < 0) {
        *below = inode_unref(*below);
    }
    return result < 0 ? result : released;
}

/* If @ancestor is above @directory in the mount with that @root, *below is its entry on the way
 * down, with a reference. */
static int find_way_down(struct inode *root, struct inode *ancestor, struct inode *directory,
                         struct inode **below)
{
    struct inode *parent;
    int result = 0;

    inode_ref(directory);
    while (directory != root) {
        result = inode_parent(directory, root, &parent);
        if (result == -EACCES) {
            result = ask_for_way_down(ancestor, directory, below);
            break;
        }
        if (result < 0) {
            break;
        }
        if (parent == ancestor) {
            *below = directory;
            inode_unref(parent);
            return 0;
        }
        inode_unref(directory);
        directory = parent;
    }
    inode_unref(directory);
    return result;
}

/* With the rename handle. */
static int find_traps(struct renaming *renaming)
{
    struct inode *from = renaming->from.directory;
    struct inode *to = renaming->to.directory;
    struct inode *root;
    int result = mount_get_root(renaming->from.mount, &root);
    if (result == 0) {
        result = find_way_down(root, from, to, &renaming->from_trap);
    }
    if (result == 0 && renaming->from_trap == NULL) {
        result = find_way_down(root, to, from, &renaming->to_trap);
    }
    return result;
}

/* ---- what is there ---- */

/* With both directories held EXCLUSIVE. */
static int look_up_both(struct renaming *renaming)
{
    struct walk *from = &renaming->from;
    struct walk *to = &renaming->to;
    int result = inode_find(from->directory, from->name, from->name_length, &renaming->source);
    if (result < 0) {
        return result;
    }
    result = inode_find(to->directory, to->name, to->name_length, &renaming->target);
    return result == -ENOENT ? 0 : result;
}

static bool is_held_directory(const struct renaming *renaming, const struct inode *inode)
{
    return inode == renaming->from.directory || inode == renaming->to.directory;
}

/* It cannot be done, with @error. In a directory that was removed the kernel does not get that far. */
static int refuse(const struct renaming *renaming, int error)
{
    struct stat attributes;
    int result = inode_get_attributes(renaming->to.directory, &attributes);
    if (result < 0) {
        return result;
    }
    return attributes.st_nlink == 0 ? -ENOENT : error;
}

/* In the order in which the kernel finds them. */
static int check_names(const struct renaming *renaming)
{
    const bool exchange = (renaming->flags & RENAME_EXCHANGE) != 0;
    const bool source_is_directory = renaming->source->type == S_IFDIR;

    if ((renaming->flags & RENAME_NOREPLACE) != 0 && renaming->target != NULL) {
        return -EEXIST;
    }
    if (exchange && renaming->target == NULL) {
        return -ENOENT;
    }
    if (exchange && renaming->target->type != S_IFDIR && renaming->to.must_be_directory) {
        return -ENOTDIR;
    }
    if (!source_is_directory &&
        (renaming->from.must_be_directory || (!exchange && renaming->to.must_be_directory))) {
        return refuse(renaming, -ENOTDIR); /* slashes behind the name */
    }
    if (renaming->source == renaming->from_trap) {
        return refuse(renaming, -EINVAL);
    }
    if (renaming->target != NULL && renaming->target == renaming->to_trap) {
        return exchange ? -EINVAL : -ENOTEMPTY;
    }
    /* Only if others move directories behind our back. Never wait for oneself. */
    if (is_held_directory(renaming, renaming->source) ||
        is_held_directory(renaming, renaming->target)) {
        return -EBUSY;
    }
    return 0;
}

/* Neither may be where something is mounted. That two types do not go together is found first. */
static int check_mounts(const struct renaming *renaming)
{
    const struct hf_fs *fs = renaming->from.fs;
    const struct inode *source = renaming->source;
    const struct inode *target = renaming->target;
    if (!mounts_are_on(fs, source) && (target == NULL || !mounts_are_on(fs, target))) {
        return 0;
    }
    if (target != NULL && (renaming->flags & RENAME_EXCHANGE) == 0 &&
        (source->type == S_IFDIR) != (target->type == S_IFDIR)) {
        return source->type == S_IFDIR ? -ENOTDIR : -EISDIR;
    }
    return -EBUSY;
}

/* ---- doing it ---- */

/* Everything is held EXCLUSIVE and the host has done it. */
static void update_caches(struct renaming *renaming)
{
    struct inode *from = renaming->from.directory;
    struct inode *to = renaming->to.directory;
    struct inode *source = renaming->source;
    struct inode *target = renaming->target;
    const bool exchange = (renaming->flags & RENAME_EXCHANGE) != 0;

    inode_attributes_changed(source);
    if (exchange) {
        inode_entry_set(from, renaming->from.name, target);
    } else if ((renaming->flags & RENAME_WHITEOUT) != 0) {
        inode_entry_unknown(from, renaming->from.name); /* something new */
    } else {
        inode_entry_removed(from, renaming->from.name);
    }
    inode_entry_set(to, renaming->to.name, source);
    if (source->type == S_IFDIR) {
        inode_set_parent(source, to);
    }
    if (target == NULL) {
        return;
    }
    inode_attributes_changed(target);
    if (exchange && target->type == S_IFDIR) {
        inode_set_parent(target, from);
    }
}

/* Does the target lose its last name? */
static int find_out_fate(const struct renaming *renaming, bool *is_removed)
{
    struct inode *target = renaming->target;
    struct stat before;

    *is_removed = false;
    if (target == NULL || (renaming->flags & RENAME_EXCHANGE) != 0) {
        return 0;
    }
    int result =
        inode_get_attributes_at(target, renaming->to.directory, renaming->to.name, &before);
    if (result == 0) {
        *is_removed = target->type == S_IFDIR || before.st_nlink == 1;
    }
    return result;
}

static int rename_held(struct renaming *renaming)
{
    struct inode *from = renaming->from.directory;
    struct inode *to = renaming->to.directory;
    struct inode *target = renaming->target;
    struct backend *backend = from->backend;
    bool target_is_removed;

    int result = find_out_fate(renaming, &target_is_removed);
    if (result < 0) {
        return result;
    }
    if (target_is_removed) {
        inode_removed(target);
    }
    result = backend->ops->rename(backend,
                                  from->backend_node,
                                  renaming->from.name,
                                  renaming->source->number,
                                  to->backend_node,
                                  renaming->to.name,
                                  target == NULL ? BACKEND_NO_NUMBER : target->number,
                                  renaming->flags);
    if (result == 0) {
        update_caches(renaming);
        return 0;
    }
    if (target_is_removed) {
        inode_not_removed(target);
    }
    if ((renaming->flags & RENAME_WHITEOUT) != 0) {
        /* ext4 puts the whiteout there first, and back: that moves times. */
        inode_attributes_changed(from);
        inode_attributes_changed(to);
        inode_attributes_changed(renaming->source);
    }
    return result;
}

/* ---- locks ---- */

/* Hold @first and then, if it is not NULL, @second. Return: 0, or nothing is held. */
static int acquire_both(struct inode *first, struct inode *second)
{
    int result = inode_acquire(first, HF_EXCLUSIVE);
    if (result == 0 && second != NULL) {
        result = inode_acquire(second, HF_EXCLUSIVE);
        if (result < 0) {
            inode_release(first);
        }
    }
    return result;
}

static int release_both(struct inode *first, struct inode *second)
{
    int result = second != NULL ? inode_release(second) : 0;
    int released = inode_release(first);
    return result < 0 ? result : released;
}

/* With both directories held. Return: 0, a negative errno, NEEDS_RENAME_HANDLE. */
static int rename_in_held(struct renaming *renaming)
{
    int result = look_up_both(renaming);
    if (result == 0) {
        result = check_names(renaming);
    }
    struct inode *source = renaming->source;
    struct inode *target = renaming->target;
    if (result < 0 || source == target) {
        return result; /* two names of one file: nothing is to be done */
    }
    result = check_mounts(renaming);
    if (result < 0) {
        return result;
    }
    if (target == NULL) {
        target = source;
    } else if (source->type == S_IFDIR && target->type == S_IFDIR && !renaming->has_rename_handle) {
        return NEEDS_RENAME_HANDLE;
    }
    result = inode_acquire_two(source, HF_EXCLUSIVE, target, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = rename_held(renaming);
    int released = inode_release_two(source, target);
    return result < 0 ? result : released;
}

/* With the rename handle if that was taken. */
static int hold_directories(struct renaming *renaming)
{
    struct inode *first = renaming->from.directory;
    struct inode *second = NULL;
    int result = 0;

    if (renaming->to.directory != first) {
        second = renaming->to.directory;
        result = find_traps(renaming);
        if (renaming->to_trap != NULL) {
            first = renaming->to.directory;
            second = renaming->from.directory;
        }
    }
    if (result == 0) {
        result = acquire_both(first, second);
    }
    if (result == 0) {
        result = rename_in_held(renaming);
        int released = release_both(first, second);
        result = result < 0 || released == 0 ? result : released;
    }
    renaming->from_trap = inode_unref(renaming->from_trap);
    renaming->to_trap = inode_unref(renaming->to_trap);
    renaming->source = inode_unref(renaming->source);
    renaming->target = inode_unref(renaming->target);
    return result;
}

static int rename_last(struct renaming *renaming)
{
    hf_sync *rename_handle = renaming->from.directory->backend->rename_handle;
    int result = NEEDS_RENAME_HANDLE;

    if (renaming->from.directory == renaming->to.directory) {
        result = hold_directories(renaming);
    }
    if (result != NEEDS_RENAME_HANDLE) {
        return result;
    }
    result = hf_sync_acquire(rename_handle, HF_EXCLUSIVE, NULL);
    if (result < 0) {
        return result;
    }
    renaming->has_rename_handle = true;
    result = hold_directories(renaming);
    int released = hf_sync_release(rename_handle);
    return result < 0 ? result : released;
}

/* Whether both directories may be searched comes before what is in them. */
static int begin(struct walk *walk, struct hf_fs *fs, int at, const char *path)
{
    int result = walk_begin(walk, fs, at, path);
    if (result == 0 && walk->last == WALK_LAST_NAME) {
        result = inode_check_search(walk->directory);
    }
    return result;
}

int fs_rename(struct hf_fs *fs, int at, const char *path, int new_at, const char *new_path,
              unsigned flags)
{
    struct renaming renaming = {.flags = flags};

    int result = begin(&renaming.from, fs, at, path);
    if (result == 0) {
        result = begin(&renaming.to, fs, new_at, new_path);
    }
    if (result == 0 && renaming.from.mount != renaming.to.mount) {
        result = -EXDEV;
    }
    if (result == 0 && renaming.from.last != WALK_LAST_NAME) {
        result = -EBUSY;
    }
    if (result == 0 && renaming.to.last != WALK_LAST_NAME) {
        result = (flags & RENAME_NOREPLACE) != 0 ? -EEXIST : -EBUSY;
    }
    if (result == 0) {
        result = mount_check_writable(renaming.from.mount);
    }
    if (result == 0) {
        result = rename_last(&renaming);
    }
    walk_end(&renaming.from);
    walk_end(&renaming.to);
    return result;
}
