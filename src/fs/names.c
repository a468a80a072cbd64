/*
 * Opening, creating and removing files by name: open, unlink, rmdir.
 *
 * The directory is held from the lookup of the name to the end of the operation, SHARED to
 * open what is there and EXCLUSIVE to change an entry; then the inode, if it changes too.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/open_file.h"
#include "fs/open_flags.h"
#include "fs/special.h"
#include "fs/walk.h"

#include <errno.h>

static bool wants_to_write(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

/* ---- open ---- */

/* May an inode of this type, which is there and no link to be followed, be opened so? */
static int check_type(const struct inode *inode, int flags, bool must_be_directory)
{
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        return -EEXIST;
    }
    if (inode->type == S_IFDIR) {
        return (flags & O_CREAT) != 0 || wants_to_write(flags) ? -EISDIR : 0;
    }
    if (must_be_directory || (flags & O_DIRECTORY) != 0) {
        return -ENOTDIR;
    }
    if (inode->type == S_IFREG || (flags & O_PATH) != 0) {
        return 0;
    }
    return inode->type == S_IFLNK ? -ELOOP : 0; /* what is special the host opens or refuses */
}

/* It may be opened so but for its mount. What the permissions forbid is found first, unless the
 * file is to be emptied. */
static int check_mount(const struct place *place, int flags)
{
    struct inode *inode = place->inode;
    int result = mount_check_writable(place->mount);
    if (result == 0 || inode->type != S_IFREG || !wants_to_write(flags) || (flags & O_PATH) != 0) {
        return 0;
    }
    int denied = 0;
    if ((flags & O_TRUNC) == 0) {
        const int access_mode = (flags & O_ACCMODE) == O_WRONLY ? W_OK : R_OK | W_OK;
        denied = inode->backend->ops->access(
            inode->backend, inode->backend_node, access_mode, AT_EACCESS);
    }
    return denied < 0 ? denied : result;
}

static int open_file_of(struct inode *directory, const char *name, struct inode *inode, int flags,
                        intptr_t *backend_file)
{
    struct backend *backend = directory->backend;
    int result = backend->ops->open(
        backend, directory->backend_node, name, inode->number, flags, backend_file);
    if (result == 0) {
        inode_file_opened(inode);
    }
    return result;
}

/* Open @name in @directory, which is @inode. The caller holds @directory. With O_PATH there is
 * nothing to open: the backend let us find it; and what may take a while is opened later. */
static int open_at_backend(struct inode *directory, const char *name, struct inode *inode,
                           int flags, intptr_t *backend_file)
{
    const int backend_flags =
        (flags & OPEN_BACKEND_FLAGS) | (inode->type == S_IFDIR ? O_DIRECTORY : 0);
    if ((flags & O_PATH) != 0 || inode_is_special(inode)) {
        return 0;
    }
    const bool truncates = (flags & O_TRUNC) != 0;
    if (!truncates && !inode->backend->opens_held) {
        return open_file_of(directory, name, inode, backend_flags, backend_file);
    }
    int result = inode_acquire(inode, truncates ? HF_EXCLUSIVE : HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = open_file_of(directory, name, inode, backend_flags, backend_file);
    if (result == 0 && truncates) {
        inode_resized(inode, 0);
    }
    int released = inode_release(inode);
    if (result == 0 && released < 0) {
        inode_close_file(inode, *backend_file);
        result = released;
    }
    return result;
}

/* Create the walk's last name. The caller holds the directory EXCLUSIVE. */
static int create(struct walk *walk, int flags, mode_t mode, struct inode **inode,
                  intptr_t *backend_file)
{
    struct inode *directory = walk->directory;
    struct backend *backend = directory->backend;

    const int backend_flags = flags & OPEN_BACKEND_FLAGS & ~O_TRUNC;
    mode = inode_mode_of_new(directory, mode);
    int result = backend->ops->create(
        backend, directory->backend_node, walk->name, backend_flags, mode, backend_file);
    if (result < 0) {
        /* It may be there nevertheless: opened with flags that it does not take. */
        inode_entry_unknown(directory, walk->name);
        return result;
    }
    result = inode_entry_created(directory, walk->name, mode, *backend_file, inode);
    if (result < 0) {
        /* Nobody can have seen it yet, so an open that fails leaves nothing behind. */
        backend->ops->unlink(backend, directory->backend_node, walk->name, BACKEND_NO_NUMBER);
        backend->ops->close(backend, *backend_file);
    }
    return result;
}

struct opening {
    int flags;
    mode_t mode;           /* that was asked for */
    struct place place;    /* found or made; a reference */
    intptr_t backend_file; /* BACKEND_NO_FILE: nothing is open */
    bool is_link;          /* nothing is open: follow it */
};

/* Is a link as the last component followed? */
static bool follows(int flags, bool must_be_directory)
{
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        return false;
    }
    return (flags & O_NOFOLLOW) == 0 || must_be_directory;
}

/* Look the walk's last name up. What is not opened before the directory is let go needs a node, and
 * so does what is to be asked first. */
static int find_last(const struct walk *walk, struct opening *opening)
{
    struct inode *directory = walk->directory;
    struct inode **inode = &opening->place.inode;
    const int flags = opening->flags;
    const bool with_node =
        (flags & O_PATH) != 0 || (walk->mount->read_only && wants_to_write(flags));

    opening->place.mount = walk->mount;
    int result = with_node ? inode_lookup(directory, walk->name, walk->name_length, inode)
                           : inode_find(directory, walk->name, walk->name_length, inode);
    if (result < 0) {
        return result;
    }
    opening->is_link = (*inode)->type == S_IFLNK && follows(flags, walk->must_be_directory);
    if ((opening->is_link || inode_is_special(*inode)) && !with_node) {
        inode_unref(*inode);
        result = inode_lookup(directory, walk->name, walk->name_length, inode);
    }
    return result;
}

/* Open what was found in @directory, which the caller holds, as @name. */
static int open_found(struct opening *opening, struct inode *directory, const char *name,
                      bool must_be_directory)
{
    struct inode *inode = opening->place.inode;
    int result = check_type(inode, opening->flags, must_be_directory);
    if (result == 0) {
        result = check_mount(&opening->place, opening->flags);
    }
    if (result == 0) {
        result = open_at_backend(directory, name, inode, opening->flags, &opening->backend_file);
    }
    if (result < 0) {
        opening->place.inode = inode_unref(inode);
    }
    return result;
}

/* Open or create the walk's last name, whose directory the caller holds SHARED, and lost on an
 * error if *held says so. */
static int open_held(struct walk *walk, struct opening *opening, bool *held)
{
    int result = find_last(walk, opening);
    if (result == -ENOENT && (opening->flags & O_CREAT) != 0) {
        result = mount_check_writable(walk->mount);
        if (result < 0) {
            return result;
        }
        result = inode_upgrade(walk->directory);
        if (result < 0) {
            *held = false;
            return result;
        }
        /* Somebody may have been faster. */
        result = find_last(walk, opening);
        if (result == -ENOENT) {
            return create(
                walk, opening->flags, opening->mode, &opening->place.inode, &opening->backend_file);
        }
    }
    if (result < 0 || opening->is_link) {
        return result;
    }
    result = mounts_cross(walk->fs, &opening->place);
    if (result < 0) {
        return result;
    }
    return opening->place.mount != walk->mount
               ? open_found(opening, opening->place.inode, ".", true)
               : open_found(opening, walk->directory, walk->name, walk->must_be_directory);
}

static void opening_undo(struct opening *opening)
{
    if (opening->backend_file != BACKEND_NO_FILE) {
        inode_close_file(opening->place.inode, opening->backend_file);
    }
    opening->place.inode = inode_unref(opening->place.inode);
}

static int open_last(struct walk *walk, struct opening *opening)
{
    bool held = true;

    opening->is_link = false;
    if (walk->last != WALK_LAST_NAME) {
        int result = walk_last_directory(walk, &opening->place);
        return result < 0 ? result : open_found(opening, opening->place.inode, ".", true);
    }
    if ((opening->flags & O_CREAT) != 0 && walk->must_be_directory) {
        int result = inode_check_search(walk->directory);
        return result < 0 ? result : -EISDIR;
    }
    int result = inode_acquire(walk->directory, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = open_held(walk, opening, &held);
    int released = held ? inode_release(walk->directory) : 0;
    if (result == 0 && released < 0) {
        opening_undo(opening);
        result = released;
    }
    return result;
}

/* A file without a name, made in @directory, of which nothing changes, so that it need not be
 * held. */
static int make_unnamed(struct inode *directory, struct opening *opening)
{
    struct backend *backend = directory->backend;
    struct inode **inode = &opening->place.inode;
    struct stat made;

    if (!backend->ops->has_default_access(backend, directory->backend_node)) {
        opening->mode = fs_masked(directory->fs, opening->mode);
    }
    int result = backend->ops->create_unnamed(backend,
                                              directory->backend_node,
                                              opening->flags & (OPEN_BACKEND_FLAGS | O_EXCL),
                                              opening->mode,
                                              &opening->backend_file);
    if (result < 0) {
        return result;
    }
    result = backend->ops->get_attributes_of_file(backend, opening->backend_file, &made);
    if (result == 0) {
        result = inode_get(directory->fs, backend, BACKEND_NO_NODE, &made, inode);
    }
    if (result < 0) {
        backend->ops->close(backend, opening->backend_file);
        return result;
    }
    inode_file_opened(*inode);
    inode_restore_mode(directory, *inode, opening->backend_file, opening->mode, made.st_mode);
    inode_removed(*inode);
    return 0;
}

static int open_unnamed(struct hf_fs *fs, int at, const char *path, struct opening *opening)
{
    struct place place;

    const unsigned walk_flags = (opening->flags & O_NOFOLLOW) == 0 ? WALK_FOLLOW : 0;
    int result = walk_to_place(fs, at, path, walk_flags, &place);
    if (result < 0) {
        return result;
    }
    opening->place.mount = place.mount;
    result = place.inode->type == S_IFDIR ? mount_check_writable(place.mount) : -ENOTDIR;
    if (result == 0) {
        result = make_unnamed(place.inode, opening);
    }
    inode_unref(place.inode);
    return result;
}

static int open_named(struct hf_fs *fs, int at, const char *path, struct opening *opening)
{
    struct walk walk;

    int result = walk_begin(&walk, fs, at, path);
    while (result == 0) {
        result = open_last(&walk, opening);
        if (result < 0 || !opening->is_link) {
            break;
        }
        result = walk_follow(&walk, opening->place.inode);
        opening->place.inode = inode_unref(opening->place.inode);
    }
    walk_end(&walk);
    return result;
}

int fs_open_file(struct hf_fs *fs, int at, const char *path, int flags, mode_t mode,
                 struct open_file **out)
{
    struct opening opening = {.flags = flags, .mode = mode, .backend_file = BACKEND_NO_FILE};

    int result = (flags & OPEN_UNNAMED) != 0 ? open_unnamed(fs, at, path, &opening)
                                             : open_named(fs, at, path, &opening);
    if (result < 0) {
        return result;
    }
    return open_file_new(fs, &opening.place, path, opening.backend_file, flags, NULL, out);
}

int fs_open(struct hf_fs *fs, int at, const char *path, int flags, mode_t mode,
            struct special_wait **wait)
{
    struct open_file *file;
    int fd = descriptors_reserve(&fs->descriptors, 0);
    if (fd < 0) {
        return fd;
    }
    int result = fs_open_file(fs, at, path, flags, mode, &file);
    if (result == 0 && !open_file_is_path(file) && open_file_is_special(file)) {
        result = special_start_opening(file, fd, flags, wait);
        if (result == 0) {
            return 0;
        }
        open_file_unref(file);
    }
    if (result < 0) {
        descriptors_cancel(&fs->descriptors, fd);
        return result;
    }
    open_file_fill(file, fd, (flags & O_CLOEXEC) != 0);
    return fd;
}

/* ---- unlink and rmdir ---- */

/* @child's name in the walk's directory goes; the directory is held EXCLUSIVE, and so is @child
 * unless it is private. */
static int remove_entry(struct walk *walk, struct inode *child, bool last_name)
{
    struct inode *directory = walk->directory;
    struct backend *backend = directory->backend;
    int result;

    if (last_name) {
        inode_removed(child);
    }
    if (child->type == S_IFDIR) {
        result = backend->ops->remove_directory(
            backend, directory->backend_node, walk->name, child->number);
    } else {
        result = backend->ops->unlink(backend, directory->backend_node, walk->name, child->number);
    }
    if (result < 0) {
        if (last_name) {
            inode_not_removed(child);
        }
        return result;
    }
    inode_attributes_changed(child);
    inode_entry_removed(directory, walk->name);
    return 0;
}

static int remove_child(struct walk *walk, struct inode *child)
{
    struct inode *directory = walk->directory;
    struct stat before;

    if (child->type != S_IFDIR && inode_is_private(child, directory)) {
        return remove_entry(walk, child, true);
    }
    int result = inode_acquire(child, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = inode_get_attributes_at(child, directory, walk->name, &before);
    if (result == 0) {
        result = remove_entry(walk, child, child->type == S_IFDIR || before.st_nlink == 1);
    }
    int released = inode_release(child);
    return result < 0 ? result : released;
}

/* What is there is of the wrong type; the backend may know a better reason to refuse it. */
static int refuse_removal(const struct walk *walk, const struct inode *child, bool directory_wanted)
{
    struct inode *directory = walk->directory;
    struct backend *backend = directory->backend;
    int result =
        directory_wanted
            ? backend->ops->remove_directory(
                  backend, directory->backend_node, walk->name, child->number)
            : backend->ops->unlink(backend, directory->backend_node, walk->name, child->number);
    if (result == 0) {
        /* It was replaced behind our back by what was asked for. */
        inode_entry_unknown(directory, walk->name);
    }
    return result;
}

/* The caller holds the directory EXCLUSIVE. */
static int remove_last_held(struct walk *walk, bool directory_wanted)
{
    struct inode *child;

    int result = inode_find(walk->directory, walk->name, walk->name_length, &child);
    if (result < 0) {
        return result;
    }
    const bool is_directory = child->type == S_IFDIR;
    if (walk->must_be_directory && !directory_wanted) {
        result = is_directory ? -EISDIR : -ENOTDIR;
    } else if (is_directory != directory_wanted) {
        result = refuse_removal(walk, child, directory_wanted);
    } else if (is_directory && mounts_are_on(walk->fs, child)) {
        result = -EBUSY;
    } else {
        result = remove_child(walk, child);
    }
    inode_unref(child);
    return result;
}

static int remove_name(struct hf_fs *fs, int at, const char *path, bool directory_wanted)
{
    struct walk walk;

    int result = walk_begin(&walk, fs, at, path);
    if (result == 0 && walk.last != WALK_LAST_NAME) {
        if (!directory_wanted) {
            result = -EISDIR;
        } else {
            result = walk.last == WALK_LAST_DOT       ? -EINVAL
                     : walk.last == WALK_LAST_DOT_DOT ? -ENOTEMPTY
                                                      : -EBUSY;
        }
    }
    if (result == 0) {
        result = mount_check_writable(walk.mount);
    }
    if (result == 0) {
        result = inode_acquire(walk.directory, HF_EXCLUSIVE);
    }
    if (result == 0) {
        result = remove_last_held(&walk, directory_wanted);
        int released = inode_release(walk.directory);
        result = result < 0 ? result : released;
    }
    walk_end(&walk);
    return result;
}

int fs_unlink(struct hf_fs *fs, int at, const char *path)
{
    return remove_name(fs, at, path, false);
}

int fs_remove_directory(struct hf_fs *fs, int at, const char *path)
{
    return remove_name(fs, at, path, true);
}
