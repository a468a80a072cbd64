/* The offset of open files, and reading directories, where it is the position. */
#include "fs/filesystem.h"
#include "fs/io.h"
#include "fs/special.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

/* Every backend takes offsets up to here; whether it takes larger ones it is asked. */
#define OFFSET_ALWAYS_TAKEN INT32_MAX

/* ---- the offset ---- */

/* Where data or a hole begins, at @offset or behind it. */
static off_t seek_in_data(struct open_file *file, off_t offset, int whence)
{
    struct inode *inode = file->inode;
    int acquired = inode_acquire(inode, HF_SHARED);
    if (acquired < 0) {
        return acquired;
    }
    const off_t found =
        inode->backend->ops->seek(inode->backend, file->backend_file, offset, whence);
    return first_error(found, inode_release(inode));
}

/* With the open file locked: where @whence and @offset lead. */
static off_t seek_target(struct open_file *file, off_t offset, int whence)
{
    struct backend *backend = file->inode->backend;
    off_t base = 0;
    off_t target;

    if (whence == SEEK_DATA || whence == SEEK_HOLE) {
        return seek_in_data(file, offset, whence);
    }
    if (whence == SEEK_CUR) {
        base = file->offset;
    } else if (whence == SEEK_END) {
        int result = open_file_get_size(file, &base);
        if (result < 0) {
            return result;
        }
    }
    if (__builtin_add_overflow(base, offset, &target) || target < 0) {
        return -EINVAL;
    }
    if (target > OFFSET_ALWAYS_TAKEN && file->inode->type == S_IFREG) {
        return backend->ops->seek(backend, file->backend_file, target, SEEK_SET);
    }
    return target;
}

static off_t seek(struct open_file *file, off_t offset, int whence)
{
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    const off_t target = seek_target(file, offset, whence);
    const bool moved = target >= 0 && target != file->offset;
    if (moved) {
        file->offset = target;
    }
    return first_error(target, open_file_unlock(file, moved));
}

off_t fs_seek(struct hf_fs *fs, int fd, off_t offset, int whence)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    const bool is_for_data = whence == SEEK_END || whence == SEEK_DATA || whence == SEEK_HOLE;
    off_t result = -EINVAL;
    if (open_file_is_special(file)) {
        struct backend *backend = file->inode->backend;
        result = backend->ops->seek(backend, file->backend_file, offset, whence);
    } else if (whence == SEEK_SET || whence == SEEK_CUR ||
               (is_for_data && file->inode->type != S_IFDIR)) {
        result = seek(file, offset, whence);
    }
    open_file_put(fs, fd, file);
    return result;
}

/* ---- directories ---- */

static int read_directory(struct open_file *file, hf_dirent *out)
{
    struct inode *directory = file->inode;
    struct inode *root;
    hf_dirent entry;
    hf_dirent *found = file->fs->check_pointers ? &entry : out;

    if (mount_get_root(file->mount, &root) < 0) {
        root = directory; /* only what `..` is called depends on it */
    }
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    result = inode_acquire(directory, HF_SHARED);
    if (result == 0) {
        result = inode_read_entry(directory, root, file->backend_file, file->offset, found);
        result = (int)first_error(result, inode_release(directory));
    }
    if (result > 0 && found != out && fs_give(file->fs, out, found, sizeof *found) < 0) {
        result = -EFAULT; /* and the next call reads it again */
    }
    if (result > 0) {
        file->offset = found->position;
    }
    return (int)first_error(result, open_file_unlock(file, result > 0));
}

int fs_read_directory(struct hf_fs *fs, int fd, hf_dirent *out)
{
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = -ENOTDIR;
    if (file->inode->type == S_IFDIR) {
        result = read_directory(file, out);
    }
    open_file_put(fs, fd, file);
    return result;
}
