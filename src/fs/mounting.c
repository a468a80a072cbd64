/*
 * Changing the table of mounts: attaching, mounting, unmounting; and showing it.
 */
#include "fs/filesystem.h"
#include "fs/inode.h"
#include "fs/walk.h"
#include "wire/mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static struct mount *mount_of(struct list *link)
{
    return list_entry(link, struct mount, link);
}

/* The table with one more mount, of @root. The caller holds it EXCLUSIVE. */
static int add(struct hf_fs *fs, struct wire_mount *mount, struct inode *root)
{
    struct wire_mounts table;
    mounts_describe(fs, &table);
    if (table.count == WIRE_MOUNTS_MAX || table.last == UINT64_MAX) {
        return -ENOSPC;
    }
    mount->number = ++table.last;
    mount->type = WIRE_MOUNT_DIRECT;
    mount->root = root->node.id;
    table.mounts[table.count++] = *mount;
    int result = mounts_replace(fs, &table);
    if (result == 0) {
        mount_set_root(mount_of(fs->mounts.all.prev), root);
    }
    return result;
}

/* The directory @source of the host. */
static int open_source(struct hf_fs *fs, const char *source, struct inode **out)
{
    struct backend *direct;
    struct stat attributes;
    intptr_t node;
    int result = fs_get_backend(fs, WIRE_BACKEND_DIRECT, &direct);
    if (result == 0) {
        result = direct->ops->open_root(direct, source, &node, &attributes);
    }
    return result < 0 ? result : inode_get(fs, direct, node, &attributes, out);
}

/* ---- attaching ---- */

static int mount_at_root(struct hf_fs *fs, struct inode *root, const char *source, bool is_checked)
{
    struct wire_mount mount = {
        .flags = is_checked ? WIRE_MOUNT_CHECKED : 0,
        .path = "/",
        .source = source,
    };
    return add(fs, &mount, root);
}

/* The caller holds the table, and there is a mount at "/". @root: what it should be, or NULL. */
static int take_root(struct hf_fs *fs, struct inode *root, bool is_checked)
{
    struct mount *mount = fs->mounts.root;
    if (root != NULL) {
        if (!hf_id_equal(root->node.id, mount->root_id)) {
            return -EBUSY;
        }
        mount_set_root(mount, root);
    }
    int result = mount_get_root(mount, &root);
    if (result == 0 && is_checked && mount->backend == WIRE_BACKEND_DIRECT) {
        inode_set_checked(root);
    }
    return result;
}

static int attach(struct hf_fs *fs, struct inode *root, const char *source, bool is_checked)
{
    int result = mounts_hold(fs, HF_SHARED);
    if (result < 0) {
        return result;
    }
    if (root != NULL && fs->mounts.root == NULL) {
        /* Others may be faster. */
        mounts_release(fs);
        result = mounts_hold(fs, HF_EXCLUSIVE);
        if (result < 0) {
            return result;
        }
        if (fs->mounts.root == NULL) {
            result = mount_at_root(fs, root, source, is_checked);
        }
    }
    if (result == 0) {
        result = fs->mounts.root == NULL ? -ENODEV : take_root(fs, root, is_checked);
    }
    int released = mounts_release(fs);
    return result < 0 ? result : released;
}

int fs_attach(struct hf_fs *fs, const char *source, bool is_checked)
{
    struct inode *root = NULL;
    int result = source == NULL ? 0 : open_source(fs, source, &root);
    if (result == 0) {
        result = attach(fs, root, source, is_checked);
    }
    inode_unref(root);
    return result;
}

/* ---- mount ---- */

/* A removed directory may still be where somebody is. */
static int check_target(struct hf_fs *fs, const struct place *target)
{
    struct stat attributes;
    if (target->inode->type != S_IFDIR) {
        return -ENOTDIR;
    }
    if (mounts_is_root(fs, target)) {
        return -EBUSY;
    }
    if (!target->mount->in_table) {
        return -EINVAL;
    }
    int result = inode_acquire(target->inode, HF_SHARED);
    if (result < 0) {
        return result;
    }
    result = inode_get_attributes(target->inode, &attributes);
    int released = inode_release(target->inode);
    if (result == 0 && attributes.st_nlink == 0) {
        result = -ENOENT;
    }
    return result < 0 ? result : released;
}

/* With the table EXCLUSIVE. */
static int mount_on(struct hf_fs *fs, const struct place *target, struct inode *root,
                    const char *source, unsigned flags)
{
    char path[PATH_MAX];
    int result = check_target(fs, target);
    if (result < 0) {
        return result;
    }
    ssize_t length = fs_get_path(target, path, sizeof path);
    if (length < 0) {
        return (int)length;
    }
    struct wire_mount mount = {
        .parent = target->mount->number,
        .point = target->inode->node.id,
        .flags = (uint8_t)flags,
        .path = path,
        .source = source,
    };
    return add(fs, &mount, root);
}

int fs_mount(struct hf_fs *fs, const char *source, const char *target, bool read_only,
             bool is_checked)
{
    const unsigned flags =
        (read_only ? WIRE_MOUNT_READ_ONLY : 0U) | (is_checked ? WIRE_MOUNT_CHECKED : 0U);
    struct inode *root;
    struct place place;
    int result = open_source(fs, source, &root);
    if (result < 0) {
        return result;
    }
    result = mounts_hold(fs, HF_EXCLUSIVE);
    if (result == 0) {
        result = walk_to_place(fs, HF_AT_FDCWD, target, WALK_FOLLOW, &place);
        if (result == 0) {
            /* Somebody may have been there before something was mounted on it. */
            result = mounts_cross(fs, &place);
        }
        if (result == 0) {
            result = mount_on(fs, &place, root, source, flags);
            inode_unref(place.inode);
        }
        int released = mounts_release(fs);
        result = result < 0 ? result : released;
    }
    inode_unref(root);
    return result;
}

/* ---- umount ---- */

/* Is @mount the one with @number, or below it? */
static bool is_in(const struct mount *mount, uint64_t number)
{
    while (mount != NULL && mount->number != number) {
        mount = mount->parent;
    }
    return mount != NULL;
}

/* Take @mount and all below it out of the table. The caller holds it EXCLUSIVE. */
static int take_out(struct hf_fs *fs, const struct mount *mount)
{
    struct wire_mounts table = {.last = fs->mounts.last};
    struct wire_mounts all;
    struct list *link = fs->mounts.all.next;
    mounts_describe(fs, &all);
    for (size_t i = 0; i < all.count; link = link->next) {
        if (!mount_of(link)->in_table) {
            continue;
        }
        if (!is_in(mount_of(link), mount->number)) {
            table.mounts[table.count++] = all.mounts[i];
        }
        i++;
    }
    return mounts_replace(fs, &table);
}

static bool has_mounts_in_it(const struct hf_fs *fs, const struct mount *mount)
{
    struct list *link = fs->mounts.all.next;
    while (link != &fs->mounts.all && mount_of(link)->parent != mount) {
        link = link->next;
    }
    return link != &fs->mounts.all;
}

static int take_out_unused(struct hf_fs *fs, struct mount *mount)
{
    const hf_wait_opts now = {.flags = HF_NOWAIT};
    if (has_mounts_in_it(fs, mount)) {
        return -EBUSY;
    }
    /* The mount itself may be gone at the end. */
    hf_sync *use_handle = hf_sync_ref(mount->use_handle);
    int result = hf_sync_acquire(use_handle, HF_EXCLUSIVE, &now);
    if (result >= 0) {
        result = take_out(fs, mount);
        hf_sync_release(use_handle);
    } else if (result == -EAGAIN) {
        result = -EBUSY;
    }
    hf_sync_close(use_handle);
    return result;
}

/* With the table EXCLUSIVE. */
static int unmount(struct hf_fs *fs, const struct place *place, bool detach)
{
    struct mount *mount = mounts_top(fs, place);
    if (mount == NULL || !mount->in_table) {
        return -EINVAL;
    }
    if (mount == fs->mounts.root) {
        return -EBUSY;
    }
    return detach ? take_out(fs, mount) : take_out_unused(fs, mount);
}

int fs_unmount(struct hf_fs *fs, const char *target, unsigned walk_flags, bool detach)
{
    struct place place;
    int result = mounts_hold(fs, HF_EXCLUSIVE);
    if (result < 0) {
        return result;
    }
    /* It need not be possible to go there. */
    result = walk_to_place(fs, HF_AT_FDCWD, target, walk_flags | WALK_COVERED, &place);
    if (result == 0) {
        result = unmount(fs, &place, detach);
        inode_unref(place.inode);
    }
    int released = mounts_release(fs);
    return result < 0 ? result : released;
}

/* ---- the list ---- */

static const char *type_of(const struct wire_mount *mount)
{
    if (mount->type == WIRE_MOUNT_DIRECT) {
        return "direct";
    }
    return strcmp(mount->source, WIRE_MOUNT_RAM) == 0 ? "ram" : "dir";
}

/* Copy @text behind @at. Return: what follows it. */
static char *put_text(char *at, const char *text, const char **out)
{
    const size_t size = strlen(text) + 1;
    memcpy(at, text, size);
    *out = at;
    return at + size;
}

ssize_t fs_list_mounts(struct hf_fs *fs, hf_mount_info **out)
{
    struct wire_mounts table;
    size_t bytes = 0;

    mounts_describe(fs, &table);
    for (size_t i = 0; i < table.count; i++) {
        bytes += sizeof(hf_mount_info) + strlen(table.mounts[i].path) + 1 +
                 strlen(table.mounts[i].source) + 1;
    }
    hf_mount_info *infos = malloc(bytes);
    if (infos == NULL) {
        return -ENOMEM;
    }
    char *texts = (char *)(infos + table.count);
    for (size_t i = 0; i < table.count; i++) {
        const struct wire_mount *mount = &table.mounts[i];
        infos[i] = (hf_mount_info){
            .number = mount->number,
            .parent = mount->parent,
            .type = type_of(mount),
            .flags = (mount->flags & WIRE_MOUNT_READ_ONLY) != 0 ? MS_RDONLY : 0,
            .external =
                (mount->flags & WIRE_MOUNT_CHECKED) != 0 ? HF_EXTERNAL_CHECK : HF_EXTERNAL_NEVER,
        };
        texts = put_text(texts, mount->path, &infos[i].path);
        texts = put_text(texts, mount->source, &infos[i].source);
    }
    *out = infos;
    return (ssize_t)table.count;
}
