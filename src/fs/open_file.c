#include "fs/open_file.h"

#include "fs/filesystem.h"
#include "fs/ids.h"
#include "fs/inode.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The value of a shared open file's handle, little-endian. */
struct open_file_value {
    uint64_t offset;
    uint32_t flags;
    uint32_t zero;
};

#define VALUE_APPEND UINT32_C(1)

int open_file_new(struct hf_fs *fs, struct inode *inode, intptr_t mount_file, int flags,
                  struct open_file **out)
{
    struct open_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        inode->mount->ops->close(inode->mount, mount_file);
        inode_unref(inode);
        return -ENOMEM;
    }
    file->fs = fs;
    atomic_init(&file->references, 1);
    file->inode = inode;
    file->mount_file = mount_file;
    file->access_mode = flags & O_ACCMODE;
    file->flags = flags & O_APPEND;
    pthread_mutex_init(&file->mutex, NULL);

    pthread_mutex_lock(&fs->files_mutex);
    list_append(&fs->files, &file->link);
    pthread_mutex_unlock(&fs->files_mutex);
    *out = file;
    return 0;
}

void open_file_unref(struct open_file *file)
{
    if (file == NULL || atomic_fetch_sub_explicit(&file->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    pthread_mutex_lock(&file->fs->files_mutex);
    list_remove(&file->link);
    pthread_mutex_unlock(&file->fs->files_mutex);
    hf_sync_close(file->handle);
    file->inode->mount->ops->close(file->inode->mount, file->mount_file);
    inode_unref(file->inode);
    pthread_mutex_destroy(&file->mutex);
    free(file);
}

struct open_file *open_file_get(struct hf_fs *fs, int fd)
{
    return descriptors_get(&fs->descriptors, fd);
}

void open_file_put(struct hf_fs *fs, int fd)
{
    open_file_unref(descriptors_put(&fs->descriptors, fd));
}

/* The value is what some client of the server last set: not to be trusted. */
static int read_value(hf_sync *handle, off_t *offset, int *flags)
{
    struct open_file_value value;
    ssize_t size = hf_sync_get_value(handle, &value, sizeof value);
    if (size < 0) {
        return (int)size;
    }
    const uint64_t value_offset = le64toh(value.offset);
    const uint32_t value_flags = le32toh(value.flags);
    if (size != sizeof value || value_offset > INT64_MAX || (value_flags & ~VALUE_APPEND) != 0 ||
        value.zero != 0) {
        return -EIO;
    }
    *offset = (off_t)value_offset;
    *flags = (value_flags & VALUE_APPEND) != 0 ? O_APPEND : 0;
    return 0;
}

static int give_value(struct open_file *file)
{
    const struct open_file_value value = {
        .offset = htole64((uint64_t)file->offset),
        .flags = htole32((file->flags & O_APPEND) != 0 ? VALUE_APPEND : 0),
    };
    return hf_sync_set_value(file->handle, &value, sizeof value);
}

int open_file_lock(struct open_file *file)
{
    if (file->handle == NULL) {
        pthread_mutex_lock(&file->mutex);
        return 0;
    }
    int result = hf_sync_acquire(file->handle, HF_EXCLUSIVE, NULL);
    if (result < 0) {
        return result;
    }
    /* That another client died with it needs no care: what it published is right. */
    const uint64_t epoch = hf_sync_epoch(file->handle);
    if (file->epoch == epoch) {
        return 0;
    }
    result = read_value(file->handle, &file->offset, &file->flags);
    if (result < 0) {
        hf_sync_release(file->handle);
        return result;
    }
    file->epoch = epoch;
    return 0;
}

int open_file_unlock(struct open_file *file, bool moved)
{
    if (file->handle == NULL) {
        pthread_mutex_unlock(&file->mutex);
        return 0;
    }
    int result = 0;
    if (moved) {
        result = give_value(file);
        if (result < 0) {
            file->epoch = 0; /* the value stands, not our offset */
        }
    }
    int released = hf_sync_release(file->handle);
    return result < 0 ? result : released;
}

int open_file_get_flags(struct open_file *file, int *flags)
{
    off_t offset;

    if (file->handle == NULL) {
        pthread_mutex_lock(&file->mutex);
        *flags = file->flags;
        pthread_mutex_unlock(&file->mutex);
        return 0;
    }
    int result = hf_sync_acquire(file->handle, HF_SHARED, NULL);
    if (result < 0) {
        return result;
    }
    /* Other threads may be here too, so what is read stays out of @file. */
    result = read_value(file->handle, &offset, flags);
    int released = hf_sync_release(file->handle);
    return result < 0 ? result : released;
}

/* The gate is closed: nobody uses it. */
static int share(struct open_file *file)
{
    struct hf_fs *fs = file->fs;
    const hf_id id = fs_id_of_open_file(hf_client_number(fs->client), ++fs->file_counter);
    hf_sync *handle;

    int result = client_open_reserved(fs->client, id, 0, &handle);
    if (result < 0) {
        return result;
    }
    result = hf_sync_acquire(handle, HF_EXCLUSIVE, NULL);
    if (result < 0) {
        hf_sync_close(handle);
        return result;
    }
    file->handle = handle;
    file->epoch = hf_sync_epoch(handle);
    result = open_file_unlock(file, true);
    if (result < 0) {
        file->handle = hf_sync_close(handle);
    }
    return result;
}

int open_files_share(struct hf_fs *fs)
{
    int result = 0;
    pthread_mutex_lock(&fs->files_mutex);
    for (struct list *link = fs->files.next; link != &fs->files && result == 0; link = link->next) {
        struct open_file *file = list_entry(link, struct open_file, link);
        if (file->handle == NULL) {
            result = share(file);
        }
    }
    pthread_mutex_unlock(&fs->files_mutex);
    return result;
}

int fs_close(struct hf_fs *fs, int fd)
{
    struct open_file *file;
    int result = descriptors_clear(&fs->descriptors, fd, &file);
    if (result == 0) {
        open_file_unref(file);
    }
    return result;
}

int fs_duplicate(struct hf_fs *fs, int fd)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int copy = descriptors_reserve(&fs->descriptors);
    if (copy >= 0) {
        atomic_fetch_add_explicit(&file->references, 1, memory_order_relaxed);
        descriptors_fill(&fs->descriptors, copy, file);
    }
    open_file_put(fs, fd);
    return copy;
}
