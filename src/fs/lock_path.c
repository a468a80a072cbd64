/*
 * Where a file is, as far as the caches say, with nothing held and nobody asked: for people who look
 * at who has locks. It may be out of date.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/locks.h"

#include <string.h>

/* In larger directories an entry is not looked for: that takes longer than the message. */
#define ENTRIES_MAX 1024

/* Filled from its end. */
struct path {
    size_t start;
    char buffer[LOCK_PATH_MAX + 1];
};

/* Return: false when there is no room for more. */
static bool put_in_front(struct path *path, const char *text, size_t length)
{
    const size_t fits = length < path->start ? length : path->start;
    path->start -= fits;
    memcpy(path->buffer + path->start, text + length - fits, fits);
    return path->start > 0;
}

/* Put the name that @inode has in @directory in front; if there is none known, @name. Return: is there
 * room, and a name? */
static bool put_name(struct path *path, struct inode *directory, const struct inode *inode,
                     const char *name)
{
    const struct dentry *dentry = NULL;
    pthread_mutex_lock(&directory->mutex);
    if (directory->entries->count <= ENTRIES_MAX) {
        dentry = directory_find_inode(directory->entries, inode);
    }
    name = dentry != NULL ? dentry->name : name;
    const bool goes_on =
        name[0] != '\0' && put_in_front(path, name, strlen(name)) && put_in_front(path, "/", 1);
    pthread_mutex_unlock(&directory->mutex);
    return goes_on;
}

void lock_path_find(const struct open_file *file, char out[LOCK_PATH_MAX + 1])
{
    const char *prefix = file->mount->path;
    const char *name = file->name;
    struct path path = {.start = LOCK_PATH_MAX};
    struct inode *here = inode_ref(file->inode);
    bool goes_on = true;
    while (goes_on && !hf_id_equal(here->node.id, file->mount->root_id)) {
        struct inode *directory = inode_find_seen_in(here);
        goes_on = directory != NULL && directory != here && put_name(&path, directory, here, name);
        inode_unref(here);
        here = directory;
        name = ""; /* those above go by what the caches say */
    }
    inode_unref(here);
    if (!goes_on && path.start < LOCK_PATH_MAX && path.buffer[path.start] == '/') {
        path.start++; /* it does not begin at the root */
    } else if (goes_on && (here == file->inode || strcmp(prefix, "/") != 0)) {
        (void)put_in_front(&path, prefix, strlen(prefix));
    }
    const size_t length = LOCK_PATH_MAX - path.start;
    memcpy(out, path.buffer + path.start, length);
    out[length] = '\0';
}
