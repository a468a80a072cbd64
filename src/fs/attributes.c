/* Attributes and sizes, by path and by descriptor. */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/open_file.h"
#include "fs/walk.h"

#include <errno.h>

static int stat_inode(struct inode *inode, struct stat *out)
{
    int result = inode_acquire(inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_get_attributes(inode, out);
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

int fs_stat(struct hf_fs *fs, const char *path, bool follow, struct stat *out)
{
    struct inode *inode;
    int result = walk_to_inode(fs, path, follow, &inode);
    if (result < 0) {
        return result;
    }
    result = stat_inode(inode, out);
    inode_unref(inode);
    return result;
}

int fs_stat_file(struct hf_fs *fs, int fd, struct stat *out)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = stat_inode(file->inode, out);
    open_file_put(fs, fd, file);
    return result;
}

static int truncate_file(struct open_file *file, off_t size)
{
    struct inode *inode = file->inode;
    int result = inode_acquire(inode, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    result = inode->mount->ops->truncate(inode->mount, file->mount_file, size);
    if (result == 0) {
        inode_resized(inode, size);
    }
    int released = inode_release(inode);
    return result < 0 ? result : released;
}

int fs_truncate(struct hf_fs *fs, const char *path, off_t size)
{
    if (size < 0) {
        return -EINVAL;
    }
    /* Opening it for writing asks the same permissions. */
    struct open_file *file;
    int result = fs_open_file(fs, path, O_WRONLY, 0, &file);
    if (result < 0) {
        return result;
    }
    result = truncate_file(file, size);
    open_file_unref(file);
    return result;
}

int fs_truncate_file(struct hf_fs *fs, int fd, off_t size)
{
    if (size < 0) {
        return -EINVAL;
    }
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = -EINVAL;
    if (file->inode->type == S_IFREG && open_file_is_for(file, O_WRONLY)) {
        result = truncate_file(file, size);
    }
    open_file_put(fs, fd, file);
    return result;
}
