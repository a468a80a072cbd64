/*
 * Listings. The host's own positions do not stay good while entries come and go as the interface
 * wants it, so a directory that is listed gets an index: all its names, with positions. What comes,
 * goes or is renamed from then on is kept in it. It stays until the directory is gone: the numbers of
 * its entries, which are most of it, have to stay anyhow.
 */
#include "store/dir/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Return: 0 with *out; a negative errno. */
static int open_stream(struct dir_store *dir, struct dir_inode *directory, DIR **out)
{
    const int fd = dir_open_entries(dir, directory);
    if (fd < 0) {
        return fd;
    }
    *out = fdopendir(fd);
    if (*out == NULL) {
        fork_guard_close(&dir->guard, fd);
        return -ENOMEM;
    }
    return 0;
}

/* The next entry that is not the directory itself or its parent. Return: NULL and 0 in *error at the
 * end. */
static const char *next_entry(DIR *stream, int *error)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(stream);
        *error = -errno;
    } while (entry != NULL &&
             (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    return entry == NULL ? NULL : entry->d_name;
}

void dir_count_entries(struct dir_store *dir, struct dir_inode *directory)
{
    DIR *stream;
    int error;
    if (directory->is_counted) {
        return;
    }
    directory->entry_count = 0;
    if (directory->is_removed || open_stream(dir, directory, &stream) < 0) {
        return;
    }
    while (next_entry(stream, &error) != NULL) {
        directory->entry_count++;
    }
    dir_close_stream(dir, stream);
    directory->is_counted = error == 0;
}

void dir_entries_changed(struct dir_inode *directory, int difference)
{
    if (directory->is_counted) {
        directory->entry_count += (uint64_t)(int64_t)difference;
    }
}

/* Everything that is in the directory has a name and a number in memory then. */
static int see_entries(struct dir_store *dir, struct dir_inode *directory, DIR *stream)
{
    int result;
    const char *text;
    while ((text = next_entry(stream, &result)) != NULL) {
        struct statx status;
        struct dir_inode *inode;
        result = dir_stat_at(dir, dirfd(stream), text, &status);
        if (result == 0) {
            result =
                dir_see(dir, directory, (struct store_name){text, strlen(text)}, &status, &inode);
        } else if (result == -ENOENT || result == -EXDEV) {
            result = 0; /* not there any more; of another mount, where nobody gets in */
        }
        if (result < 0) {
            return result;
        }
    }
    return result;
}

/* The names of the entries get positions, in the order of the host. */
static int index_entries(struct dir_store *dir, struct dir_inode *directory, DIR *stream)
{
    int result;
    const char *text;
    while ((text = next_entry(stream, &result)) != NULL) {
        struct dir_name *name =
            dir_find_name(dir, directory, (struct store_name){text, strlen(text)});
        if (name == NULL || name->position != 0) {
            continue;
        }
        if (radix_put(&directory->entries, directory->next_position, name) < 0) {
            dir_drop_index(directory);
            return -ENOMEM;
        }
        name->position = directory->next_position++;
    }
    directory->is_indexed = result == 0;
    if (result < 0) {
        dir_drop_index(directory);
    }
    return result;
}

static int make_index(struct dir_store *dir, struct dir_inode *directory)
{
    DIR *stream;
    int result = open_stream(dir, directory, &stream);
    if (result < 0) {
        return result;
    }
    result = see_entries(dir, directory, stream);
    if (result == 0) {
        rewinddir(stream);
        result = index_entries(dir, directory, stream);
    }
    dir_close_stream(dir, stream);
    return result;
}

int dir_list(struct store *store, const struct store_call *call, uint64_t directory,
             uint64_t position, store_entry_function *entry, void *context)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode;
    int result = dir_find_directory(dir, directory, &inode);
    if (result == 0 && inode->is_removed) {
        result = -ENOENT;
    }
    if (result == 0 && !inode->is_indexed) {
        result = make_index(dir, inode);
    }
    if (result < 0) {
        return result;
    }
    dir_touch_inode(dir, call, inode);
    /* Position 0 is nobody's: as an end it is behind everything, as a beginning in front. */
    uint64_t key = position - 1;
    while (result == 0 && key != 0) {
        const struct dir_name *name = radix_previous(&inode->entries, &key);
        if (name == NULL) {
            break;
        }
        result = entry(context,
                       (struct store_name){name->text, name->length},
                       dir_number(name->inode),
                       name->inode->mode & S_IFMT,
                       key);
        key--;
    }
    return result;
}
