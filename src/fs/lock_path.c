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

/* The directory that @inode was last seen in, with a reference; NULL: not known. */
static struct inode *find_directory(struct inode *inode)
{
    struct inode *directory = NULL;
    if (inode->type != S_IFDIR) {
        return inode_find_seen_in(inode);
    }
    pthread_mutex_lock(&inode->fs->inodes_mutex);
    if (inode->parent != NULL) {
        directory = inode_ref(inode->parent);
    }
    pthread_mutex_unlock(&inode->fs->inodes_mutex);
    return directory;
}

/* Put the name that @inode has in @directory in front. Return: is there room, and a name? */
static bool put_name(struct path *path, struct inode *directory, const struct inode *inode)
{
    bool goes_on = false;
    pthread_mutex_lock(&directory->mutex);
    if (directory->entries->count <= ENTRIES_MAX) {
        const struct dentry *dentry = directory_find_inode(directory->entries, inode);
        goes_on = dentry != NULL && put_in_front(path, dentry->name, dentry->length) &&
                  put_in_front(path, "/", 1);
    }
    pthread_mutex_unlock(&directory->mutex);
    return goes_on;
}

void lock_path_find(struct inode *inode, const struct mount *mount, char out[LOCK_PATH_MAX + 1])
{
    struct path path = {.start = LOCK_PATH_MAX};
    struct inode *here = inode_ref(inode);
    bool goes_on = true;
    while (goes_on && !hf_id_equal(here->node.id, mount->root_id)) {
        struct inode *directory = find_directory(here);
        goes_on = directory != NULL && directory != here && put_name(&path, directory, here);
        inode_unref(here);
        here = directory;
    }
    inode_unref(here);
    if (!goes_on && path.start < LOCK_PATH_MAX && path.buffer[path.start] == '/') {
        path.start++; /* it does not begin at the root */
    } else if (goes_on && (here == inode || strcmp(mount->path, "/") != 0)) {
        (void)put_in_front(&path, mount->path, strlen(mount->path));
    }
    const size_t length = LOCK_PATH_MAX - path.start;
    memcpy(out, path.buffer + path.start, length);
    out[length] = '\0';
}
