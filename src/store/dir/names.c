/* Names: lookup, link, unlink and remove_directory. */
#include "store/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int dir_open_parent(struct dir_store *dir, uint64_t directory, struct store_name name,
                    struct dir_inode **out)
{
    int result = dir_find_directory(dir, directory, out);
    if (result == 0) {
        result = store_check_name(name);
    }
    if (result == 0 && (*out)->is_removed) {
        result = -ENOENT;
    }
    return result < 0 ? result : dir_open(dir, *out, DIR_PATH);
}

int dir_refuse(const struct dir_store *dir, int directory, const char *text, int error)
{
    struct statx status;
    const int result = dir_stat_at(dir, directory, text, &status);
    if (result == 0 || result == -EXDEV) {
        return -EEXIST;
    }
    return result == -ENOENT ? error : result;
}

int dir_open_for_new(struct dir_store *dir, uint64_t directory, struct store_name name,
                     struct dir_inode **out)
{
    const int fd = dir_open_parent(dir, directory, name, out);
    if (fd >= 0 && dir_find_name(dir, *out, name) != NULL) {
        const struct dir_text text = dir_text_of(name);
        const int result = dir_refuse(dir, fd, text.bytes, 0);
        if (result < 0) {
            return result;
        }
        dir_lose_name(dir, *out, name);
    }
    return fd;
}

/* An entry that is there. */
struct entry {
    struct dir_inode *parent;
    int directory; /* its descriptor */
    struct dir_text text;
    struct statx status;
};

static int find_entry(struct dir_store *dir, uint64_t directory, struct store_name name,
                      struct entry *out)
{
    out->directory = dir_open_parent(dir, directory, name, &out->parent);
    if (out->directory < 0) {
        return out->directory;
    }
    out->text = dir_text_of(name);
    const int result = dir_stat_at(dir, out->directory, out->text.bytes, &out->status);
    if (result == -ENOENT) {
        dir_lose_name(dir, out->parent, name);
    }
    return result;
}

int dir_lookup(struct store *store, uint64_t directory, struct store_name name,
               struct store_attributes *out)
{
    struct dir_store *dir = dir_begin(store);
    struct entry entry;
    struct dir_inode *inode;
    int result = find_entry(dir, directory, name, &entry);
    if (result == 0) {
        result = dir_see(dir, entry.parent, name, &entry.status, &inode);
    }
    if (result == 0) {
        dir_show(dir, inode, &entry.status, out);
    }
    return result;
}

int dir_link(struct store *store, const struct store_call *call, uint64_t number,
             uint64_t directory, struct store_name name)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *parent;
    if (dir_find_inode(dir, number) == NULL) {
        return -ESTALE;
    }
    const int to = dir_open_for_new(dir, directory, name, &parent);
    if (to < 0) {
        return to;
    }
    /* It may have been found out just now that the host has it no more. */
    struct dir_inode *inode = dir_find_inode(dir, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    const struct dir_text text = dir_text_of(name);
    if (S_ISDIR(inode->mode)) {
        return dir_refuse(dir, to, text.bytes, -EPERM);
    }
    if (inode->is_removed && !inode->is_linkable) {
        return dir_refuse(dir, to, text.bytes, -ENOENT);
    }
    int fd = dir_open(dir, inode, DIR_PATH);
    if (fd < 0) {
        return fd;
    }
    struct store_charge charge = {0};
    if (dir_charge_inodes(dir, call, inode->is_removed ? 0 : 1, &charge) < 0) {
        return dir_refuse(dir, to, text.bytes, -ENOSPC);
    }
    struct dir_name *added = dir_add_name(dir, parent, name);
    const int result = added == NULL ? -ENOMEM : dir_link_descriptor(fd, to, text.bytes);
    if (result < 0) {
        dir_uncharge_inodes(dir, call, charge);
        if (added != NULL) {
            dir_free_name(dir, parent, added);
        }
        return result;
    }
    added->made_in = dir->operation;
    dir_attach_name(dir, added, inode);
    inode->is_removed = false;
    inode->is_linkable = false;
    dir_attributes_changed(dir, call, inode);
    dir_entries_changed(parent, 1);
    dir_changed(dir, call, parent);
    return 0;
}

/* ---- names go ---- */

int dir_prepare_victim(struct dir_store *dir, struct dir_inode *directory, int directory_fd,
                       const char *text, const struct statx *status, struct dir_victim *victim)
{
    struct dir_inode *inode = dir_find_host(dir, status);
    *victim = (struct dir_victim){
        .inode = inode,
        .directory = directory,
        .is_last = S_ISDIR(status->stx_mode) || status->stx_nlink <= 1,
    };
    if (inode != NULL && inode->uses > 0) {
        /* Its other names, if there are any, may be unknown here. */
        return inode->names == NULL || inode->names->next == NULL ? dir_pin(dir, inode) : 0;
    }
    return dir->limits_pages && victim->is_last
               ? dir_pages_at(dir, directory_fd, text, status, &victim->pages)
               : 0;
}

void dir_commit_victim(struct dir_store *dir, const struct store_call *call,
                       const struct dir_victim *victim)
{
    struct dir_inode *inode = victim->inode;
    if (!victim->is_last || inode == NULL || inode->uses == 0) {
        dir_free_inodes(dir, 1);
        dir_free_pages(dir, victim->pages);
    }
    if (inode != NULL) {
        inode->is_removed = victim->is_last;
        if (S_ISDIR(inode->mode) && inode->uses > 0) {
            inode->was_in = victim->directory;
            inode->was_in->uses++;
        }
        dir_attributes_changed(dir, call, inode);
        dir_drop_inode(dir, inode);
    }
}

static int remove_entry(struct dir_store *dir, const struct store_call *call, struct entry *entry,
                        struct store_name name, int flags)
{
    struct dir_victim victim;
    const char *text = entry->text.bytes;
    const int result =
        dir_prepare_victim(dir, entry->parent, entry->directory, text, &entry->status, &victim);
    if (result < 0) {
        return result;
    }
    if (unlinkat(entry->directory, text, flags) < 0) {
        return -errno;
    }
    struct dir_name *known = dir_find_name(dir, entry->parent, name);
    if (known != NULL && known->inode == victim.inode) {
        dir_detach_name(dir, known);
        dir_free_name(dir, entry->parent, known);
    } else {
        dir_lose_name(dir, entry->parent, name);
    }
    dir_entries_changed(entry->parent, -1);
    dir_changed(dir, call, entry->parent);
    dir_commit_victim(dir, call, &victim);
    return 0;
}

int dir_unlink(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name)
{
    struct dir_store *dir = dir_begin(store);
    struct entry entry;
    const int result = find_entry(dir, directory, name, &entry);
    if (result < 0) {
        return result;
    }
    return S_ISDIR(entry.status.stx_mode) ? -EISDIR : remove_entry(dir, call, &entry, name, 0);
}

int dir_remove_directory(struct store *store, const struct store_call *call, uint64_t directory,
                         struct store_name name)
{
    struct dir_store *dir = dir_begin(store);
    struct entry entry;
    const int result = find_entry(dir, directory, name, &entry);
    if (result < 0) {
        return result;
    }
    return S_ISDIR(entry.status.stx_mode) ? remove_entry(dir, call, &entry, name, AT_REMOVEDIR)
                                          : -ENOTDIR;
}
