/*
 * What a whole tree costs. One directory is open at a time, so that its depth is no matter: of those
 * above, the names that are still to be counted are kept.
 */
#include "store/dir/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct level {
    struct level *above;
    uint64_t host; /* the directory's number there */
    char *names;   /* of the directories in it that were not counted yet, each with its NUL */
    size_t used, size;
};

struct counting {
    struct dir_store *dir;
    struct id_map seen; /* inodes of several names, by number */
    struct level *level;
    int fd; /* of the directory that level is about */
    uint64_t pages, inodes;
};

static int enter(struct counting *counting, int fd)
{
    struct statx status;
    struct level *level = calloc(1, sizeof(*level));
    const int result = level == NULL ? -ENOMEM : dir_stat_descriptor(fd, &status);
    if (result < 0) {
        free(level);
        fork_guard_close(&counting->dir->guard, fd);
        return result;
    }
    level->above = counting->level;
    level->host = status.stx_ino;
    counting->level = level;
    if (counting->fd >= 0) {
        fork_guard_close(&counting->dir->guard, counting->fd);
    }
    counting->fd = fd;
    return 0;
}

static void drop_level(struct counting *counting)
{
    struct level *level = counting->level;
    counting->level = level->above;
    free(level->names);
    free(level);
}

/* Up to the directory above, which must be the one that it was. */
static int leave(struct counting *counting)
{
    struct statx status;
    drop_level(counting);
    if (counting->level == NULL) {
        return 0;
    }
    struct fork_guard *const guard = &counting->dir->guard;
    fork_guard_lock();
    const int fd =
        fork_guard_keep(guard, openat(counting->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    fork_guard_unlock();
    if (fd < 0) {
        return fd;
    }
    fork_guard_close(&counting->dir->guard, counting->fd);
    counting->fd = fd;
    const int result = dir_stat_descriptor(fd, &status);
    return result == 0 && status.stx_ino != counting->level->host ? -ESTALE : result;
}

static int remember_directory(struct level *level, const char *name)
{
    const size_t length = strlen(name) + 1;
    if (level->size - level->used < length) {
        const size_t size = level->size * 2 + length;
        char *names = realloc(level->names, size);
        if (names == NULL) {
            return -ENOMEM;
        }
        level->names = names;
        level->size = size;
    }
    memcpy(level->names + level->used, name, length);
    level->used += length;
    return 0;
}

/* The last of the directories that are left; it stays where it is until others are remembered. */
static const char *take_directory(struct level *level)
{
    level->used--;
    while (level->used > 0 && level->names[level->used - 1] != '\0') {
        level->used--;
    }
    return level->names + level->used;
}

/* Is it counted under another name already? Return: 1, 0, -ENOMEM. */
static int is_seen(struct counting *counting, const struct statx *status)
{
    const hf_id id = {0, status->stx_ino};
    if (S_ISDIR(status->stx_mode) || status->stx_nlink == 1) {
        return 0;
    }
    if (id_map_find(&counting->seen, id) != NULL) {
        return 1;
    }
    struct id_map_node *node = malloc(sizeof(*node));
    if (node == NULL) {
        return -ENOMEM;
    }
    node->id = id;
    id_map_insert(&counting->seen, node);
    return 0;
}

static int count_entry(struct counting *counting, const char *name)
{
    struct statx status;
    int result = dir_stat_at(counting->dir, counting->fd, name, &status);
    if (result < 0) {
        return result == -ENOENT || result == -EXDEV ? 0 : result;
    }
    counting->inodes++;
    result = is_seen(counting, &status);
    if (result != 0) {
        return result < 0 ? result : 0;
    }
    uint64_t pages;
    result = dir_pages_at(counting->dir, counting->fd, name, &status, &pages);
    if (result < 0) {
        return result;
    }
    counting->pages += pages;
    return S_ISDIR(status.stx_mode) ? remember_directory(counting->level, name) : 0;
}

/* What this process may not list, nobody gets at through it. */
static bool is_closed(int error)
{
    return error == -EACCES || error == -ENOENT || error == -EXDEV;
}

static int count_entries(struct counting *counting)
{
    const int fd =
        dir_open_at(counting->dir, counting->fd, ".", O_RDONLY | O_DIRECTORY | O_NOATIME);
    if (fd < 0) {
        return is_closed(fd) ? 0 : fd;
    }
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        fork_guard_close(&counting->dir->guard, fd);
        return -ENOMEM;
    }
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = count_entry(counting, entry->d_name);
        }
    }
    dir_close_stream(counting->dir, stream);
    return result;
}

/* A directory that is still to be counted. Return: its descriptor; a negative errno. */
static int open_next(struct counting *counting)
{
    const char *name = take_directory(counting->level);
    const int fd = dir_open_at(counting->dir, counting->fd, name, O_PATH | O_DIRECTORY);
    if (fd >= 0 && faccessat(fd, ".", X_OK, AT_EACCESS) < 0) {
        const int error = -errno;
        close(fd);
        return error; /* there would be no way up from it */
    }
    return fd;
}

/* The directory at hand is counted: on to the next. */
static int go_on(struct counting *counting)
{
    while (counting->level != NULL) {
        int result = 0;
        if (counting->level->used == 0) {
            result = leave(counting);
        } else {
            const int fd = open_next(counting);
            if (fd >= 0) {
                return enter(counting, fd);
            }
            result = is_closed(fd) ? 0 : fd;
        }
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

int dir_count_tree(struct dir_store *dir, uint64_t *pages, uint64_t *inodes)
{
    struct counting counting = {.dir = dir, .fd = -1, .inodes = 1};
    struct statx status;
    int result = id_map_init(&counting.seen);
    if (result < 0) {
        return result;
    }
    const int fd = dir_open_at(dir, dir->root->fd, ".", O_PATH | O_DIRECTORY);
    result = fd < 0 ? fd : dir_stat_descriptor(fd, &status);
    if (result == 0) {
        counting.pages = dir_pages_of(dir, fd, false, &status);
    }
    if (result == 0) {
        result = enter(&counting, fd);
    } else {
        fork_guard_close(&dir->guard, fd);
    }
    while (result == 0 && counting.level != NULL) {
        result = count_entries(&counting);
        if (result == 0) {
            result = go_on(&counting);
        }
    }
    while (counting.level != NULL) {
        drop_level(&counting);
    }
    if (counting.fd >= 0) {
        fork_guard_close(&dir->guard, counting.fd);
    }
    struct id_map_node *node = id_map_next(&counting.seen, NULL);
    while (node != NULL) {
        struct id_map_node *next = id_map_next(&counting.seen, node);
        id_map_remove(&counting.seen, node);
        free(node);
        node = next;
    }
    id_map_deinit(&counting.seen);
    *pages = counting.pages;
    *inodes = counting.inodes;
    return result;
}
