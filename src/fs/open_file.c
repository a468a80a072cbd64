#include "fs/open_file.h"

#include "fs/filesystem.h"
#include "fs/ids.h"
#include "fs/inode.h"
#include "fs/locks.h"
#include "fs/special.h"

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

/* The flags in it: numbers that mean the same on every machine. */
static const struct {
    uint32_t in_value;
    int status;
} value_flags[] = {
    {1, O_APPEND},
    {2, O_NONBLOCK},
    {4, O_DIRECT},
    {8, O_NOATIME},
};

#define VALUE_FLAGS UINT32_C(15)

int open_file_new(struct hf_fs *fs, const struct place *place, const char *path,
                  intptr_t backend_file, int flags, hf_sync *handle, struct open_file **out)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const size_t name_size = strlen(name) + 1;
    struct inode *inode = place->inode;
    struct open_file *file = calloc(1, sizeof *file + name_size);
    int result = file == NULL ? -ENOMEM : mount_use(place->mount);
    if (result == 0 && (flags & O_PATH) != 0) {
        result = inode_keep(inode);
        if (result < 0) {
            mount_unuse(place->mount);
        }
    }
    if (result < 0) {
        hf_sync_close(handle);
        if (backend_file != BACKEND_NO_FILE) {
            inode_close_file(inode, backend_file);
        }
        inode_unref(inode);
        free(file);
        return result;
    }
    memcpy(file->name, name, name_size);
    file->fs = fs;
    atomic_init(&file->references, 1);
    file->mount = place->mount;
    file->inode = inode;
    file->backend_file = backend_file;
    file->access_mode = flags & O_ACCMODE;
    file->open_flags = flags & ~(O_ACCMODE | OPEN_FILE_STATUS | OPEN_FILE_USED_UP);
    file->flags = flags & OPEN_FILE_STATUS;
    file->handle = handle;
    pthread_mutex_init(&file->mutex, NULL);

    pthread_mutex_lock(&fs->files_mutex);
    list_append(&fs->files, &file->link);
    pthread_mutex_unlock(&fs->files_mutex);
    *out = file;
    return 0;
}

void open_file_unref(struct open_file *file)
{
    open_file_drop(file, 1);
}

void open_file_drop(struct open_file *file, uint64_t references)
{
    if (file == NULL || atomic_fetch_sub_explicit(
                            &file->references, references, memory_order_acq_rel) > references) {
        return;
    }
    pthread_mutex_lock(&file->fs->files_mutex);
    list_remove(&file->link);
    pthread_mutex_unlock(&file->fs->files_mutex);
    locks_file_closed(file);
    hf_sync_close(file->handle);
    if (file->backend_file != BACKEND_NO_FILE) {
        inode_close_file(file->inode, file->backend_file);
    }
    if (open_file_is_path(file)) {
        inode_unkeep(file->inode);
    }
    inode_unref(file->inode);
    mount_unuse(file->mount);
    pthread_mutex_destroy(&file->mutex);
    free(file);
}

void open_file_fill(struct open_file *file, int fd, bool close_on_exec)
{
    atomic_fetch_add_explicit(&file->references, DESCRIPTOR_REFERENCES - 1, memory_order_relaxed);
    descriptors_fill(&file->fs->descriptors, fd, file, close_on_exec);
}

int open_file_give_node(struct open_file *file)
{
    return open_file_is_path(file) ? 0 : inode_give_node_of_file(file->inode, file->backend_file);
}

int open_file_get_size(const struct open_file *file, off_t *size)
{
    struct stat attributes;
    int result = inode_acquire(file->inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = open_file_get_attributes(file, &attributes);
    int released = inode_release(file->inode);
    *size = attributes.st_size;
    return result < 0 ? result : released;
}

hf_id open_file_id(struct open_file *file)
{
    uint64_t number = atomic_load_explicit(&file->number, memory_order_relaxed);
    if (file->handle != NULL) {
        return hf_sync_id(file->handle);
    }
    if (number == 0) {
        const uint64_t next = client_next_object(file->fs->client);
        number = atomic_compare_exchange_strong(&file->number, &number, next) ? next : number;
    }
    return fs_id_of_open_file(hf_client_number(file->fs->client), number);
}

int open_file_get_attributes(const struct open_file *file, struct stat *out)
{
    return open_file_is_path(file)
               ? inode_get_attributes(file->inode, out)
               : inode_get_attributes_of_file(file->inode, file->backend_file, out);
}

struct open_file *open_file_get(struct hf_fs *fs, int fd)
{
    return descriptors_get(&fs->descriptors, fd);
}

void open_file_put(struct hf_fs *fs, int fd, struct open_file *file)
{
    if (!descriptors_put(&fs->descriptors, fd, file)) {
        open_file_unref(file);
    }
}

struct open_file *open_file_get_opened(struct hf_fs *fs, int fd)
{
    struct open_file *file = open_file_get(fs, fd);
    if (file != NULL && open_file_is_path(file)) {
        open_file_put(fs, fd, file);
        return NULL;
    }
    return file;
}

static int flags_of_value(uint32_t in_value)
{
    int flags = 0;
    for (size_t i = 0; i < sizeof value_flags / sizeof value_flags[0]; i++) {
        flags |= (in_value & value_flags[i].in_value) != 0 ? value_flags[i].status : 0;
    }
    return flags;
}

static uint32_t value_of_flags(int flags)
{
    uint32_t in_value = 0;
    for (size_t i = 0; i < sizeof value_flags / sizeof value_flags[0]; i++) {
        in_value |= (flags & value_flags[i].status) != 0 ? value_flags[i].in_value : 0;
    }
    return in_value;
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
    const uint32_t flags_in_value = le32toh(value.flags);
    if (size != sizeof value || value_offset > INT64_MAX || (flags_in_value & ~VALUE_FLAGS) != 0 ||
        value.zero != 0) {
        return -EIO;
    }
    *offset = (off_t)value_offset;
    *flags = flags_of_value(flags_in_value);
    return 0;
}

static int give_value(struct open_file *file)
{
    const struct open_file_value value = {
        .offset = htole64((uint64_t)file->offset),
        .flags = htole32(value_of_flags(file->flags)),
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
    int flags;
    result = read_value(file->handle, &file->offset, &flags);
    if (result < 0) {
        hf_sync_release(file->handle);
        return result;
    }
    file->flags = flags;
    return 0;
}

/* The order: private ones, which only this process knows, by address; then shared ones by the
 * identifiers that all processes have for them. */
static bool comes_before(const struct open_file *one, const struct open_file *other)
{
    if (one->handle == NULL || other->handle == NULL) {
        return one->handle == NULL && (other->handle != NULL || one < other);
    }
    const hf_id left = hf_sync_id(one->handle);
    const hf_id right = hf_sync_id(other->handle);
    return left.space != right.space ? left.space < right.space : left.object < right.object;
}

int open_file_lock_two(struct open_file *one, struct open_file *other)
{
    struct open_file *first = comes_before(other, one) ? other : one;
    struct open_file *second = first == one ? other : one;

    int result = open_file_lock(first);
    if (result < 0 || first == second) {
        return result;
    }
    result = open_file_lock(second);
    if (result < 0) {
        open_file_unlock(first, false);
    }
    return result;
}

int open_file_unlock(struct open_file *file, bool moved)
{
    if (file->handle == NULL) {
        pthread_mutex_unlock(&file->mutex);
        return 0;
    }
    int result = moved ? give_value(file) : 0;
    int released = hf_sync_release(file->handle);
    return result < 0 ? result : released;
}

int open_file_get_flags(struct open_file *file, int *flags)
{
    off_t offset;

    if (file->handle == NULL) {
        *flags = atomic_load_explicit(&file->flags, memory_order_relaxed);
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

int open_file_share(struct open_file *file)
{
    struct hf_fs *fs = file->fs;
    if (file->handle != NULL || open_file_is_path(file) || open_file_is_special(file)) {
        return 0;
    }
    const hf_id id = open_file_id(file);
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
    inode_known_elsewhere(file->inode);
    result = open_file_unlock(file, true);
    if (result == 0) {
        result = locks_file_shared(file);
    }
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
        result = open_file_share(file);
    }
    pthread_mutex_unlock(&fs->files_mutex);
    return result;
}

struct open_file *open_files_find(struct hf_fs *fs, hf_id id)
{
    struct open_file *found = NULL;
    pthread_mutex_lock(&fs->files_mutex);
    for (struct list *link = fs->files.next; link != &fs->files; link = link->next) {
        struct open_file *file = list_entry(link, struct open_file, link);
        if (file->handle != NULL && hf_id_equal(hf_sync_id(file->handle), id)) {
            found = file;
        }
    }
    pthread_mutex_unlock(&fs->files_mutex);
    return found;
}
