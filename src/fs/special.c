#include "fs/special.h"

#include "fs/filesystem.h"
#include "fs/open_flags.h"

#include <errno.h>
#include <stdlib.h>

/* What a thread has in its hands while it is out. On the heap: the stacks of threads that do not
 * exist in a child may be used again there. */
struct special_wait {
    struct list link; /* fs->waits; fs->waits_mutex, inside the gate */
    struct open_file *file;
    int fd;            /* what @file was got by, */
    bool is_reserved;  /* or will be: then the reference is ours */
    int opening_flags; /* with that */
};

struct special_wait *special_wait_begin(struct open_file *file, int fd)
{
    struct special_wait *wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        return NULL;
    }
    wait->file = file;
    wait->fd = fd;
    pthread_mutex_lock(&file->fs->waits_mutex);
    list_append(&file->fs->waits, &wait->link);
    pthread_mutex_unlock(&file->fs->waits_mutex);
    return wait;
}

void special_wait_end(struct special_wait *wait)
{
    struct hf_fs *fs = wait->file->fs;
    pthread_mutex_lock(&fs->waits_mutex);
    list_remove(&wait->link);
    pthread_mutex_unlock(&fs->waits_mutex);
    free(wait);
}

void special_forget_waits(struct hf_fs *fs)
{
    struct list *link;
    while ((link = list_first(&fs->waits)) != NULL) {
        struct special_wait *wait = list_entry(link, struct special_wait, link);
        list_remove(&wait->link);
        if (wait->is_reserved) {
            descriptors_cancel(&fs->descriptors, wait->fd);
            open_file_unref(wait->file);
        } else {
            open_file_put(fs, wait->fd, wait->file);
        }
        free(wait);
    }
}

/* The thread is inside again. */
static void come_back(struct special_wait *wait)
{
    gate_enter(&wait->file->fs->gate);
    special_wait_end(wait);
}

/* ---- opening ---- */

static int backend_flags(int flags)
{
    return flags & (OPEN_BACKEND_FLAGS | OPEN_FILE_STATUS);
}

int special_start_opening(struct open_file *file, int fd, int flags, struct special_wait **out)
{
    struct inode *inode = file->inode;
    const struct backend_ops *ops = inode->backend->ops;
    if (ops->start_special != NULL) {
        int result = ops->start_special(
            inode->backend, inode->backend_node, backend_flags(flags), &file->backend_file);
        if (result < 0) {
            return result;
        }
        inode_file_opened(inode);
    }
    struct special_wait *wait = special_wait_begin(file, fd);
    if (wait == NULL) {
        return -ENOMEM;
    }
    wait->is_reserved = true;
    wait->opening_flags = flags;
    *out = wait;
    return 0;
}

int special_finish_opening(struct special_wait *wait)
{
    struct open_file *file = wait->file;
    struct hf_fs *fs = file->fs;
    struct inode *inode = file->inode;
    const int fd = wait->fd;
    const int flags = wait->opening_flags;
    const bool is_started = file->backend_file != BACKEND_NO_FILE;

    int result = inode->backend->ops->open_special(
        inode->backend, inode->backend_node, backend_flags(flags), &file->backend_file);
    if (result == 0 && !is_started) {
        inode_file_opened(inode);
    }
    come_back(wait);
    if (result == 0) {
        open_file_fill(file, fd, (flags & O_CLOEXEC) != 0);
    } else {
        descriptors_cancel(&fs->descriptors, fd);
        open_file_unref(file);
    }
    gate_leave(&fs->gate);
    return result < 0 ? result : fd;
}

/* ---- data ---- */

ssize_t special_read(struct hf_fs *fs, int fd, struct open_file *file, const struct iovec *vectors,
                     int count, off_t offset)
{
    struct backend *backend = file->inode->backend;
    struct special_wait *wait = special_wait_begin(file, fd);
    if (wait == NULL) {
        return -ENOMEM;
    }
    gate_leave(&fs->gate);
    ssize_t done = backend->ops->read_special(backend, file->backend_file, vectors, count, offset);
    come_back(wait);
    return done;
}

ssize_t special_write(struct hf_fs *fs, int fd, struct open_file *file, const struct iovec *vectors,
                      int count, off_t offset)
{
    struct backend *backend = file->inode->backend;
    struct special_wait *wait = special_wait_begin(file, fd);
    if (wait == NULL) {
        return -ENOMEM;
    }
    gate_leave(&fs->gate);
    ssize_t done = backend->ops->write_special(backend, file->backend_file, vectors, count, offset);
    come_back(wait);
    return done;
}
