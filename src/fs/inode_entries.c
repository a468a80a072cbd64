/*
 * Entries: what is cached of a directory while its handle is held.
 *
 * A dentry that is PRESENT was found at the backend with the directory held; while the epoch is
 * the same its name leads to that inode, and the entry keeps the inode's number. A LISTED one has
 * a number that the listing told, which is not always that of the file: where something is
 * mounted, it is what lies below. So only the stat family uses it, and compares.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

/* The most handles that are asked for ahead, and what part of the budget their inodes may take. */
#define AHEAD_MAX 64
#define AHEAD_BUDGET_PART 8

static void validate(struct inode *directory)
{
    directory_validate(directory->entries, hf_sync_epoch(directory->handle));
}

/* inode_get() for an entry. Below what is checked everything is. */
static int get_child(const struct inode *directory, intptr_t node, const struct stat *attributes,
                     struct inode **child)
{
    int result = inode_get(directory->fs, directory->backend, node, attributes, child);
    if (result == 0 && inode_is_checked(directory)) {
        inode_set_checked(*child);
    }
    return result;
}

/* ---- looking up; all of this with the directory's mutex ---- */

/* Return: 0 with an inode that has a node. */
static int ask_with_node(struct inode *directory, const char *name, struct inode **child)
{
    struct backend *backend = directory->backend;
    struct stat attributes;
    intptr_t node;
    int result = backend->ops->lookup(backend, directory->backend_node, name, &node, &attributes);
    if (result < 0) {
        return result;
    }
    return get_child(directory, node, &attributes, child);
}

/* The same, but only directories have one for sure. */
static int ask(struct inode *directory, const char *name, struct inode **child)
{
    struct backend *backend = directory->backend;
    struct stat attributes;
    int result = backend->ops->stat_entry(
        backend, directory->backend_node, name, BACKEND_NO_NUMBER, &attributes);
    if (result < 0) {
        return result;
    }
    if (S_ISDIR(attributes.st_mode)) {
        return ask_with_node(directory, name, child);
    }
    return get_child(directory, BACKEND_NO_NODE, &attributes, child);
}

/* The backend was asked for @name with this result: remember it. */
static void remember(struct inode *directory, const char *name, size_t length, int result,
                     struct inode *child)
{
    struct directory *entries = directory->entries;
    if (result == 0) {
        /* It has a name, so if it was removed here it has got another one elsewhere. */
        inode_not_removed(child);
        inode_had_name(child, hf_sync_epoch(child->handle));
        entries->searchable = true;
        inode_seen_in(child, directory);
        directory_set_present(entries, name, length, child);
    } else if (result == -ENOENT) {
        entries->searchable = true;
        directory_set_absent(entries, name, length);
    }
}

static bool is_empty(const struct inode *directory)
{
    struct backend *backend = directory->backend;
    return backend->ops->is_empty != NULL &&
           backend->ops->is_empty(backend, directory->backend_node);
}

/* What the caches say of @name. Return: -EAGAIN: too little, and *known is the dentry, or NULL. */
static int look_in_cache(struct inode *directory, const char *name, size_t length, bool with_node,
                         struct inode **child, const struct dentry **known)
{
    struct directory *entries = directory->entries;
    *known = NULL;
    if (inode_is_checked(directory)) {
        return -EAGAIN;
    }
    if (entries->count == 0 && !entries->complete && is_empty(directory)) {
        entries->searchable = true;
        directory_set_complete(entries);
    }
    const struct dentry *dentry = directory_find(entries, name, length);
    if (dentry == NULL ? entries->complete && entries->searchable : dentry->kind == DENTRY_ABSENT) {
        directory_used(entries);
        return -ENOENT;
    }
    *known = dentry;
    if (dentry == NULL || dentry->kind == DENTRY_LISTED) {
        return -EAGAIN;
    }
    struct inode *inode = inode_ref(dentry->inode);
    if (!inode_has_node(inode) && (with_node || inode->type == S_IFDIR)) {
        inode_unref(inode);
        return -EAGAIN;
    }
    *child = inode;
    return 0;
}

/* The caches say too little of @name. */
static int look_at_backend(struct inode *directory, const char *name, size_t length, bool with_node,
                           struct inode **child)
{
    char name_with_end[NAME_MAX + 1];
    memcpy(name_with_end, name, length);
    name_with_end[length] = '\0';

    int result = with_node || inode_is_checked(directory)
                     ? ask_with_node(directory, name_with_end, child)
                     : ask(directory, name_with_end, child);
    remember(directory, name, length, result, result == 0 ? *child : NULL);
    return result;
}

/* A name is too long; but a directory that is gone or may not be searched is refused for that. */
static int refuse_long_name(struct inode *directory)
{
    struct backend *backend = directory->backend;
    char name[NAME_MAX + 2];
    struct stat attributes;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    int result = backend->ops->stat_entry(
        backend, directory->backend_node, name, BACKEND_NO_NUMBER, &attributes);
    return result < 0 ? result : -ENAMETOOLONG;
}

static bool is_known_directory(const struct dentry *dentry)
{
    return dentry != NULL && dentry->type == DT_DIR;
}

static int look_up(struct inode *directory, const char *name, size_t length, bool with_node,
                   struct inode **child)
{
    const struct dentry *known;
    int result = look_in_cache(directory, name, length, with_node, child, &known);
    if (result == -EAGAIN) {
        result =
            look_at_backend(directory, name, length, with_node || is_known_directory(known), child);
    }
    return result;
}

static void note_use(struct inode *inode)
{
    if (!atomic_load_explicit(&inode->recently_used, memory_order_relaxed)) {
        atomic_store_explicit(&inode->recently_used, true, memory_order_relaxed);
    }
}

/* ---- asking ahead ---- */

/* Whose handles will be needed next, it seems: references. */
struct ahead {
    size_t count;
    struct inode *inodes[AHEAD_MAX];
};

/* With the mutex: @dentry is being looked up. */
static void look_ahead(struct inode *directory, const struct dentry *dentry, struct ahead *ahead)
{
    /* In a small budget what comes ahead would push out what is needed now. */
    const size_t room = directory->fs->bytes.limit / AHEAD_BUDGET_PART / sizeof(struct inode);
    struct dentry *const *next;
    if (dentry->kind != DENTRY_LISTED) {
        return;
    }
    const size_t count = directory_look_ahead(
        directory->entries, dentry, room < AHEAD_MAX ? room : AHEAD_MAX, &next);
    for (size_t i = 0; i < count; i++) {
        if (next[i]->kind == DENTRY_LISTED && next[i]->type != DT_UNKNOWN &&
            inode_get_listed(
                directory, next[i]->number, DTTOIF(next[i]->type), &ahead->inodes[ahead->count]) ==
                0) {
            ahead->count++;
        }
    }
}

/* Without the mutex, the directory still held. */
static void ask_ahead(struct inode *directory, const struct ahead *ahead)
{
    struct backend *backend = directory->backend;
    ino_t numbers[AHEAD_MAX];
    for (size_t i = 0; i < ahead->count; i++) {
        client_ask_ahead(ahead->inodes[i]->handle, HF_SHARED);
        numbers[i] = ahead->inodes[i]->number;
        inode_unref(ahead->inodes[i]);
    }
    if (ahead->count > 0) {
        if (backend->ops->look_ahead != NULL) {
            backend->ops->look_ahead(backend, numbers, ahead->count);
        }
        client_send_queued(directory->fs->client);
    }
}

/* ---- looking up, from outside ---- */

int inode_lookup(struct inode *directory, const char *name, size_t length, struct inode **child)
{
    const struct dentry *known;
    struct ahead ahead;

    if (length > NAME_MAX) {
        return refuse_long_name(directory);
    }
    ahead.count = 0;
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    int result = look_in_cache(directory, name, length, true, child, &known);
    if (result == -EAGAIN) {
        if (is_known_directory(known)) {
            look_ahead(directory, known, &ahead);
        }
        result = look_at_backend(directory, name, length, true, child);
    }
    pthread_mutex_unlock(&directory->mutex);
    ask_ahead(directory, &ahead);
    if (result == 0) {
        note_use(*child);
    }
    return result;
}

int inode_find(struct inode *directory, const char *name, size_t length, struct inode **child)
{
    if (length > NAME_MAX) {
        return refuse_long_name(directory);
    }
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    int result = look_up(directory, name, length, false, child);
    pthread_mutex_unlock(&directory->mutex);
    if (result == 0) {
        note_use(*child);
    }
    return result;
}

int inode_check_search(struct inode *directory)
{
    struct backend *backend = directory->backend;
    int result = inode_acquire(directory, HF_SHARED);
    if (result < 0) {
        return result;
    }
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    if (!directory->entries->searchable || inode_is_checked(directory)) {
        result = backend->ops->access(backend, directory->backend_node, X_OK, AT_EACCESS);
        directory->entries->searchable = result == 0;
    }
    pthread_mutex_unlock(&directory->mutex);
    int released = inode_release(directory);
    return result < 0 ? result : released;
}

/* ---- attributes of an entry ---- */

/* With the mutex: the inode that the listing says @dentry is. Return: -EAGAIN when it does not. */
static int look_in_listing(struct inode *directory, const struct dentry *dentry,
                           struct inode **child)
{
    struct directory *entries = directory->entries;
    if (!entries->searchable || entries->numbers_unsure || dentry->type == DT_UNKNOWN ||
        dentry->type == DT_DIR) {
        return -EAGAIN;
    }
    directory_used(entries);
    return inode_get_listed(directory, dentry->number, DTTOIF(dentry->type), child);
}

/* The attributes of @child, which the listing of @directory says is @name; held. Return:
 * -ESTALE when it is not so. */
static int compare_with_entry(struct inode *child, struct inode *directory, const char *name,
                              struct stat *out)
{
    struct backend *backend = directory->backend;
    int result =
        backend->ops->stat_entry(backend, directory->backend_node, name, child->number, out);
    if (result == 0 && !inode_is(child, out)) {
        result = -ESTALE;
    }
    if (result == 0) {
        inode_told_attributes(child, out);
    }
    return result;
}

/* @child, which is not pinned, is @name; or may be so, if @listed. */
static int stat_held(struct inode *child, struct inode *directory, const char *name, bool listed,
                     struct stat *out)
{
    int result = inode_acquire(child, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = listed ? compare_with_entry(child, directory, name, out)
                    : inode_get_attributes_at(child, directory, name, out);
    int released = inode_release(child);
    return result < 0 ? result : released;
}

int inode_stat_entry(struct inode *directory, const char *name, size_t length, bool follow,
                     struct inode **child, struct stat *out)
{
    struct directory *entries = directory->entries;
    const struct dentry *known;
    struct inode *found;
    struct ahead ahead;
    bool listed = false;

    if (length > NAME_MAX) {
        return refuse_long_name(directory);
    }
    ahead.count = 0;
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    int result = look_in_cache(directory, name, length, false, &found, &known);
    if (result == -EAGAIN && known != NULL && known->kind == DENTRY_LISTED) {
        look_ahead(directory, known, &ahead);
        result = look_in_listing(directory, known, &found);
        listed = result == 0;
    }
    if (result == -EAGAIN) {
        result = look_at_backend(directory, name, length, is_known_directory(known), &found);
    }
    pthread_mutex_unlock(&directory->mutex);
    ask_ahead(directory, &ahead);
    if (result < 0) {
        return result;
    }
    note_use(found);
    if (follow && found->type == S_IFLNK) {
        inode_unref(found);
        return inode_lookup(directory, name, length, child);
    }
    if (!listed && inode_has_node(found)) {
        *child = found;
        return 0;
    }
    *child = NULL;
    result = stat_held(found, directory, name, listed, out);
    if (result == -ESTALE) {
        /* The listing does not tell what is mounted there; or somebody else has been here. */
        pthread_mutex_lock(&directory->mutex);
        validate(directory);
        entries->numbers_unsure = true;
        result = look_up(directory, name, length, true, child);
        pthread_mutex_unlock(&directory->mutex);
    } else if (listed && result == 0) {
        pthread_mutex_lock(&directory->mutex);
        validate(directory);
        remember(directory, name, length, result, found);
        pthread_mutex_unlock(&directory->mutex);
    }
    inode_unref(found);
    return result;
}

/* ---- entries that change; the caller holds the directory EXCLUSIVE ---- */

mode_t inode_mode_of_new(struct inode *directory, mode_t mode)
{
    struct backend *backend = directory->backend;
    struct directory *entries = directory->entries;
    const mode_t masked = fs_masked(directory->fs, mode);
    if (masked == mode) {
        return mode;
    }
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    if (!entries->access_known || inode_is_checked(directory)) {
        entries->default_access =
            backend->ops->has_default_access(backend, directory->backend_node);
        entries->access_known = true;
    }
    const bool is_masked = !entries->default_access;
    pthread_mutex_unlock(&directory->mutex);
    return is_masked ? masked : mode;
}

/* @inode was just made in @directory, and has the mode @made and a node. */
static void restore_mode(const struct inode *directory, const struct inode *inode, mode_t mode,
                         mode_t made)
{
    struct backend *backend = directory->backend;
    backend->ops->restore_mode(
        backend, directory->backend_node, inode->backend_node, (made | (mode & 0777)) & 07777);
}

static bool lacks_permissions(mode_t mode, mode_t made)
{
    return (mode & ~made & 0777) != 0;
}

void inode_restore_mode(struct inode *directory, struct inode *inode, intptr_t file, mode_t mode,
                        mode_t made)
{
    if (lacks_permissions(mode, made) && inode_give_node_of_file(inode, file) == 0) {
        restore_mode(directory, inode, mode, made);
    }
}

/* The backend made @name; with @result 0 it is @child, with the attributes @made. */
static void add_made(struct inode *directory, const char *name, int result, struct inode *child,
                     const struct stat *made)
{
    const size_t length = strlen(name);
    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    if (result == 0) {
        remember(directory, name, length, 0, child);
        if (!S_ISDIR(made->st_mode) && made->st_nlink == 1 && !inode_is_checked(directory)) {
            atomic_store_explicit(
                &child->born_with, client_grant(directory->handle), memory_order_relaxed);
        }
    } else {
        directory_forget(directory->entries, name, length);
    }
    pthread_mutex_unlock(&directory->mutex);
}

int inode_entry_made(struct inode *directory, const char *name, ino_t number, mode_t mode,
                     struct inode **child)
{
    struct backend *backend = directory->backend;
    struct stat made;
    struct inode *same;

    int result = backend->ops->stat_entry(backend, directory->backend_node, name, number, &made);
    if (result == 0) {
        result = get_child(directory, BACKEND_NO_NODE, &made, child);
    }
    add_made(directory, name, result, result == 0 ? *child : NULL, &made);
    /* Nobody can look at it before the directory is released. */
    if (result == 0 && !S_ISLNK(made.st_mode) && lacks_permissions(mode, made.st_mode) &&
        inode_lookup(directory, name, strlen(name), &same) == 0) {
        restore_mode(directory, same, mode, made.st_mode);
        inode_unref(same);
    }
    return result;
}

int inode_entry_created(struct inode *directory, const char *name, mode_t mode, intptr_t file,
                        struct inode **child)
{
    struct backend *backend = directory->backend;
    struct stat made;

    int result = backend->ops->get_attributes_of_file(backend, file, &made);
    if (result == 0) {
        result = get_child(directory, BACKEND_NO_NODE, &made, child);
    }
    add_made(directory, name, result, result == 0 ? *child : NULL, &made);
    if (result == 0) {
        inode_file_opened(*child);
        inode_restore_mode(directory, *child, file, mode, made.st_mode);
    }
    return result;
}

void inode_entry_set(struct inode *directory, const char *name, struct inode *child)
{
    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    inode_seen_in(child, directory);
    directory_set_present(directory->entries, name, strlen(name), child);
    pthread_mutex_unlock(&directory->mutex);
    inode_known_elsewhere(child);
}

void inode_entry_removed(struct inode *directory, const char *name)
{
    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    directory_set_absent(directory->entries, name, strlen(name));
    pthread_mutex_unlock(&directory->mutex);
}

void inode_entry_unknown(struct inode *directory, const char *name)
{
    inode_attributes_changed(directory);
    pthread_mutex_lock(&directory->mutex);
    directory_forget(directory->entries, name, strlen(name));
    pthread_mutex_unlock(&directory->mutex);
}

/* ---- listing ---- */

static int add_listed_entry(void *context, const char *name, ino_t number, unsigned char type)
{
    struct directory *entries = context;
    if (strcmp(name, "..") == 0) {
        entries->parent_number = number;
        return 0;
    }
    return directory_add_listed(entries, name, number, type);
}

/* With the mutex: list the directory unless that has been done. */
static int complete_entries(struct inode *directory, intptr_t file)
{
    struct directory *entries = directory->entries;
    validate(directory);
    if (entries->complete) {
        return 0;
    }
    int result = directory->backend->ops->list(directory->backend, file, add_listed_entry, entries);
    if (result == 0) {
        directory_set_complete(entries);
    }
    return result;
}

/* With the mutex: the same, without a file that is open. */
static int complete_entries_by_node(struct inode *directory)
{
    struct backend *backend = directory->backend;
    intptr_t file;
    int result = backend->ops->open(
        backend, directory->backend_node, ".", directory->number, O_RDONLY | O_DIRECTORY, &file);
    if (result == 0) {
        result = complete_entries(directory, file);
        backend->ops->close(backend, file);
    }
    return result;
}

/* With the mutex: which entry is @child? */
static int find_name(struct inode *directory, const struct inode *child, char *name)
{
    struct inode *found;
    if (inode_is_checked(directory)) {
        directory_flush(directory->entries);
        validate(directory);
    }
    const struct dentry *dentry = directory_find_inode(directory->entries, child);
    if (dentry == NULL && !directory->entries->complete) {
        int result = complete_entries_by_node(directory);
        if (result < 0) {
            return result;
        }
        dentry = directory_find_inode(directory->entries, child);
    }
    if (dentry == NULL) {
        return -ENOENT;
    }
    const size_t length = dentry->length;
    memcpy(name, dentry->name, length + 1);
    int result = look_up(directory, name, length, false, &found);
    if (result == 0) {
        result = found == child ? 0 : -ENOENT;
        inode_unref(found);
    }
    return result;
}

int inode_entry_name(struct inode *directory, const struct inode *child, char name[NAME_MAX + 1])
{
    pthread_mutex_lock(&directory->mutex);
    validate(directory);
    int result = find_name(directory, child, name);
    pthread_mutex_unlock(&directory->mutex);
    return result;
}

static void fill_dirent(hf_dirent *out, const char *name, ino_t number, unsigned char type,
                        off_t position)
{
    const size_t length = strlen(name);
    assert(length < sizeof out->name);
    *out = (hf_dirent){.ino = number, .position = position + 1, .type = type};
    memcpy(out->name, name, length + 1);
}

int inode_read_entry(struct inode *directory, struct inode *root, intptr_t file, off_t position,
                     hf_dirent *out)
{
    const struct dentry *dentry;

    pthread_mutex_lock(&directory->mutex);
    if (position == 0 && inode_is_checked(directory)) {
        directory_flush(directory->entries); /* each pass begins with what is there now */
    }
    int result = complete_entries(directory, file);
    if (result == 0 && position >= DIRECTORY_FIRST_POSITION) {
        result = directory_entry_at(directory->entries, position, &dentry);
        if (result > 0) {
            fill_dirent(out, dentry->name, dentry->number, dentry->type, dentry->position);
        }
    }
    const ino_t parent_number = directory->entries->parent_number;
    pthread_mutex_unlock(&directory->mutex);
    if (result < 0 || position >= DIRECTORY_FIRST_POSITION) {
        return result;
    }
    if (position == 0) {
        fill_dirent(out, ".", directory->number, DT_DIR, position);
        return 1;
    }
    struct inode *parent;
    result = inode_parent_held(directory, root, &parent);
    if (result == -EACCES) {
        /* It may be read, but not searched. */
        fill_dirent(out, "..", parent_number, DT_DIR, position);
        return 1;
    }
    if (result < 0) {
        return result;
    }
    fill_dirent(out, "..", parent->number, DT_DIR, position);
    inode_unref(parent);
    return 1;
}
