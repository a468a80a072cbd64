/*
 * What is behind the data: its space, copies of it that the backend makes itself, stable storage,
 * and mappings.
 */
#include "fs/filesystem.h"
#include "fs/io.h"
#include "fs/special.h"

#include <errno.h>
#include <sys/mman.h>

/* ---- space ---- */

static int allocate(struct open_file *file, int mode, off_t offset, off_t length)
{
    struct inode *inode = file->inode;
    int result = inode_acquire(inode, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result =
        inode->backend->ops->allocate(inode->backend, file->backend_file, mode, offset, length);
    /* Also when it failed: some of it may have been done. */
    inode_size_changed(inode);
    return (int)first_error(result, inode_release(inode));
}

int fs_allocate(struct hf_fs *fs, int fd, int mode, off_t offset, off_t length)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    /* The backend's file is open in the same access mode: all that is wrong it finds itself. */
    int result = allocate(file, mode, offset, length);
    open_file_put(fs, fd, file);
    return result;
}

/* ---- copies ---- */

/* One side of a copy. */
struct copy_end {
    struct open_file *file;
    off_t *given; /* the caller's offset; NULL: that of the open file, which is locked */
    off_t offset; /* of the open file */
};

static int check_copy(const struct open_file *from, const struct open_file *to)
{
    if (from->inode->type == S_IFDIR || to->inode->type == S_IFDIR) {
        return -EISDIR;
    }
    if (open_file_is_special(from) || open_file_is_special(to)) {
        return -EINVAL;
    }
    if (!open_file_is_for(from, O_RDONLY) || !open_file_is_for(to, O_WRONLY)) {
        return -EBADF;
    }
    return from->inode->backend != to->inode->backend ? -EXDEV : 0;
}

static ssize_t copy_data(struct copy_end *from, struct copy_end *to, size_t size)
{
    struct inode *source = from->file->inode;
    struct inode *target = to->file->inode;
    struct backend *backend = source->backend;

    int acquired = inode_acquire_two(source, HF_SHARED, target, HF_EXCLUSIVE);
    if (acquired < 0) {
        return acquired;
    }
    /* Where the caller's offsets are, and what is in them, is for the backend to find out. */
    ssize_t done = backend->ops->copy(backend,
                                      from->file->backend_file,
                                      from->given != NULL ? from->given : &from->offset,
                                      to->file->backend_file,
                                      to->given != NULL ? to->given : &to->offset,
                                      size);
    if (done > 0 && to->given == NULL) {
        inode_grew(target, to->offset);
    } else if (done > 0 || done == -EFAULT) {
        inode_size_changed(target);
    }
    return first_error(done, inode_release_two(source, target));
}

/* Lock the open files whose own offsets are used. */
static int lock_ends(const struct copy_end *from, const struct copy_end *to)
{
    if (from->given == NULL && to->given == NULL) {
        return open_file_lock_two(from->file, to->file);
    }
    if (from->given == NULL) {
        return open_file_lock(from->file);
    }
    return to->given == NULL ? open_file_lock(to->file) : 0;
}

static void begin_end(struct copy_end *end)
{
    if (end->given == NULL) {
        end->offset = end->file->offset;
    }
}

/* Put the offset back where it came from. An open file that is both ends is unlocked once. */
static int finish_end(struct copy_end *end, bool unlock)
{
    if (end->given != NULL) {
        return 0;
    }
    const bool moved = end->offset != end->file->offset;
    end->file->offset = end->offset;
    return unlock ? open_file_unlock(end->file, moved) : 0;
}

static ssize_t copy(struct copy_end *from, struct copy_end *to, size_t size)
{
    const bool same = from->file == to->file && from->given == NULL && to->given == NULL;
    int flags;

    int result = check_copy(from->file, to->file);
    if (result == 0) {
        result = open_file_get_flags(to->file, &flags);
    }
    if (result == 0 && (flags & O_APPEND) != 0) {
        result = -EBADF;
    }
    if (result == 0) {
        result = lock_ends(from, to);
    }
    if (result < 0) {
        return result;
    }
    begin_end(from);
    begin_end(to);
    const ssize_t done = copy_data(from, to, size);
    int first = finish_end(from, !same);
    int second = finish_end(to, true);
    return first_error(done, first < 0 ? first : second);
}

ssize_t fs_copy(struct hf_fs *fs, int from, off_t *from_offset, int to, off_t *to_offset,
                size_t size, unsigned flags)
{
    struct copy_end source = {.file = open_file_get_opened(fs, from), .given = from_offset};
    struct copy_end target = {.file = open_file_get_opened(fs, to), .given = to_offset};
    ssize_t result = -EBADF;
    if (source.file != NULL && target.file != NULL) {
        result = flags != 0 ? -EINVAL : copy(&source, &target, size);
    }
    if (source.file != NULL) {
        open_file_put(fs, from, source.file);
    }
    if (target.file != NULL) {
        open_file_put(fs, to, target.file);
    }
    return result;
}

/* ---- stable storage ---- */

/* What completed calls of any client wrote is with the backend, so nobody need be asked. */
int fs_sync(struct hf_fs *fs, int fd, enum fs_sync what)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    struct backend *backend = file->inode->backend;
    int result = what == FS_SYNC_ALL
                     ? backend->ops->sync_all(backend, file->backend_file)
                     : backend->ops->sync(backend, file->backend_file, what == FS_SYNC_DATA);
    open_file_put(fs, fd, file);
    return result;
}

/* ---- mappings ---- */

int fs_map(struct hf_fs *fs, void *address, size_t length, int protection, int flags, int fd,
           off_t offset, void **out)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    struct backend *backend = file->inode->backend;
    int result = backend->ops->map(
        backend, file->backend_file, address, length, protection, flags, offset, out);
    open_file_put(fs, fd, file);
    return result;
}
