/*
 * Attributes. Times are exact in memory only: the host's clock is not the caller's, and its change
 * times cannot be set. The host is told the others before an inode's descriptor is closed, at its last
 * release, when it is synced, and at the end.
 */
#include "store/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static uint64_t shown_pages(const struct statx *status)
{
    if (S_ISREG(status->stx_mode)) {
        return (status->stx_blocks + 7) / 8;
    }
    return S_ISLNK(status->stx_mode) && status->stx_size >= STORE_SHORT_TARGET ? 1 : 0;
}

void dir_show(struct dir_store *dir, struct dir_inode *inode, const struct statx *status,
              struct store_attributes *out)
{
    *out = (struct store_attributes){
        .number = dir_number(inode),
        .size = status->stx_size,
        .pages = shown_pages(status),
        .device = makedev(status->stx_rdev_major, status->stx_rdev_minor),
        .mode = status->stx_mode,
        .links = status->stx_nlink,
        .owner = status->stx_uid,
        .group = status->stx_gid,
        .atime = inode->atime,
        .mtime = inode->mtime,
        .ctime = inode->ctime,
        .btime = inode->btime,
    };
    if (S_ISDIR(inode->mode)) {
        dir_count_entries(dir, inode);
        out->size = STORE_DIRECTORY_SIZE + inode->entry_count * STORE_ENTRY_SIZE;
        out->links = inode->is_removed ? 0 : out->links;
    }
}

/* ---- times ---- */

void dir_mark_changed(struct dir_store *dir, struct dir_inode *inode)
{
    if (list_is_empty(&inode->changed)) {
        list_append(&dir->changed, &inode->changed);
    }
}

void dir_changed(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode)
{
    inode->mtime = call->now;
    dir_attributes_changed(dir, call, inode);
}

void dir_attributes_changed(struct dir_store *dir, const struct store_call *call,
                            struct dir_inode *inode)
{
    inode->ctime = call->now;
    dir_mark_changed(dir, inode);
}

void dir_touch_inode(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode)
{
    if (store_moves_atime(call, inode->atime, inode->mtime, inode->ctime)) {
        inode->atime = call->now;
        dir_mark_changed(dir, inode);
    }
}

void dir_flush_times(struct dir_store *dir, struct dir_inode *inode)
{
    if (list_is_empty(&inode->changed)) {
        return;
    }
    list_remove(&inode->changed);
    const int fd = inode->fd >= 0 ? inode->fd : dir_open(dir, inode, DIR_PATH);
    const struct timespec times[] = {inode->atime, inode->mtime};
    if (fd >= 0) {
        /* Refused for what belongs to somebody else: then the host's own times have to do. */
        utimensat(fd, "", times, AT_EMPTY_PATH);
    }
}

/* ---- what changes take away ---- */

int dir_set_mode(int fd, uint32_t mode)
{
    if (fchmod(fd, mode & 07777) == 0) {
        return 0;
    }
    if (errno != EBADF) {
        return -errno;
    }
    const struct dir_proc_path path = dir_proc_path(fd);
    return chmod(path.bytes, mode & 07777) < 0 ? -errno : 0;
}

static bool has_privileges(const struct dir_inode *inode)
{
    return (inode->mode & (S_ISUID | S_ISGID)) != 0;
}

/* Ahead, so that nobody finds other data in a file that still has them. */
int dir_begin_change(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode,
                     int fd)
{
    const int result = dir->limits_pages ? dir_drop_capability(dir, fd) : 0;
    if (result == 0 && call->drop_privileges && has_privileges(inode)) {
        return dir_set_mode(fd, store_without_privileges(inode->mode));
    }
    return result;
}

/* The host may have taken them too, going by what this process may do. */
void dir_end_change(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode,
                    int fd, bool happened)
{
    if (has_privileges(inode)) {
        if (happened && call->drop_privileges) {
            inode->mode = store_without_privileges(inode->mode);
        }
        dir_set_mode(fd, inode->mode);
        dir_mark_changed(dir, inode);
    }
}

/* ---- setting ---- */

/* A change of several attributes; what was done of it can be undone, but for the size, which is
 * therefore last but for what the host does to the mode. */
struct setting {
    struct dir_store *dir;
    const struct store_call *call;
    struct dir_inode *inode;
    uint32_t mask;
    const struct store_attributes *values;
    int fd;
    struct statx status; /* before */
    uint32_t mode;       /* in the end */
};

static int set_owner(const struct setting *setting)
{
    const struct store_attributes *values = setting->values;
    if (setting->dir->limits_pages && !S_ISDIR(setting->inode->mode)) {
        const int result = dir_drop_capability(setting->dir, setting->fd);
        if (result < 0) {
            return result;
        }
    }
    return fchownat(setting->fd, "", values->owner, values->group, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_size(const struct setting *setting)
{
    struct dir_store *dir = setting->dir;
    const uint64_t first = (setting->values->size + STORE_PAGE_SIZE - 1) / STORE_PAGE_SIZE;
    uint64_t freed = 0;
    if (dir->limits_pages) {
        const int result = dir_drop_capability(dir, setting->fd);
        if (result < 0) {
            return result;
        }
        freed = dir_count_pages(setting->fd, first, UINT64_MAX);
    }
    if (ftruncate(setting->fd, (off_t)setting->values->size) < 0) {
        return -errno;
    }
    dir_free_pages(dir, freed);
    return 0;
}

/* The mode that it all comes to, in the order of the store in memory. */
static uint32_t final_mode(const struct setting *setting)
{
    uint32_t mode = setting->status.stx_mode;
    if ((setting->mask & STORE_SET_SIZES) != 0 && setting->call->drop_privileges) {
        mode = store_without_privileges(mode);
    }
    if ((setting->mask & STORE_SET_OWNER) != 0 && !S_ISDIR(mode)) {
        mode = store_without_privileges(mode);
    }
    if ((setting->mask & STORE_SET_MODE) != 0) {
        mode = (mode & S_IFMT) | (setting->values->mode & 07777);
    }
    return mode;
}

static int set_mode(const struct setting *setting, uint32_t mode)
{
    return S_ISLNK(mode) ? 0 : dir_set_mode(setting->fd, mode); /* links have none */
}

static int set_on_host(struct setting *setting)
{
    const bool sets_owner = (setting->mask & STORE_SET_OWNER) != 0;
    const bool sets_size = (setting->mask & STORE_SET_SIZES) != 0;
    const uint32_t old_mode = setting->status.stx_mode;
    const bool sets_mode = (setting->mask & STORE_SET_MODE) != 0 || setting->mode != old_mode ||
                           ((sets_owner || sets_size) && has_privileges(setting->inode));
    int result = sets_owner ? set_owner(setting) : 0;
    if (result == 0 && sets_mode) {
        result = set_mode(setting, setting->mode);
    }
    if (result == 0 && sets_size) {
        result = set_size(setting);
    }
    if (result == 0 && sets_size && sets_mode) {
        set_mode(setting, setting->mode); /* again: the host may have taken something from it */
    }
    if (result < 0) {
        if (sets_owner &&
            fchownat(
                setting->fd, "", setting->status.stx_uid, setting->status.stx_gid, AT_EMPTY_PATH) <
                0) {
            return result; /* it was refused in the first place */
        }
        if ((sets_mode || sets_owner) && !S_ISLNK(old_mode)) {
            dir_set_mode(setting->fd, old_mode);
        }
        return result;
    }
    setting->inode->mode = setting->mode;
    return 0;
}

int dir_set_attributes(struct store *store, const struct store_call *call, uint64_t number,
                       uint32_t mask, const struct store_attributes *values)
{
    struct dir_store *dir = dir_begin(store);
    struct dir_inode *inode = dir_find_inode(dir, number);
    struct setting setting = {
        .dir = dir, .call = call, .inode = inode, .mask = mask, .values = values};
    if (inode == NULL) {
        return -ESTALE;
    }
    int result = store_check_attributes(inode->mode, mask, values);
    if (result < 0 || mask == 0) {
        return result;
    }
    setting.fd = dir_open(dir, inode, (mask & STORE_SET_SIZES) != 0 ? DIR_WRITE : DIR_PATH);
    result = setting.fd < 0 ? setting.fd : dir_stat_descriptor(setting.fd, &setting.status);
    if (result < 0) {
        return result;
    }
    inode->mode = setting.status.stx_mode;
    setting.mode = final_mode(&setting);
    const bool changes_size =
        (mask & STORE_SET_SIZE) != 0 ||
        ((mask & STORE_SET_NAMED_SIZE) != 0 && values->size != setting.status.stx_size);
    result = set_on_host(&setting);
    if (result < 0) {
        return result;
    }
    if (changes_size) {
        inode->mtime = call->now;
    }
    if (changes_size || (mask & ~(uint32_t)STORE_SET_NAMED_SIZE) != 0) {
        inode->ctime = call->now;
    }
    inode->atime = (mask & STORE_SET_ATIME) != 0 ? values->atime : inode->atime;
    inode->mtime = (mask & STORE_SET_MTIME) != 0 ? values->mtime : inode->mtime;
    dir_mark_changed(dir, inode);
    return 0;
}
