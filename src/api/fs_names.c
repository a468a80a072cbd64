/* The public functions with a path in them, and those on attributes. */
#include "api/fs_gate.h"
#include "fs/open_flags.h"
#include "fs/special.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* Without a backend that could be slow to say, these make no difference. */
#define STAT_FLAGS (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE)

/* ---- open ---- */

int hf_openat(hf_fs *fs, int at, const char *path, int flags, mode_t mode)
{
    flags = open_flags_check(flags);
    if (flags < 0) {
        return flags;
    }
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    struct special_wait *wait = NULL;
    result = fs_open(fs, at, path, flags, mode, &wait);
    fs_leave_path(fs);
    return wait == NULL ? result : special_finish_opening(wait);
}

int hf_open(hf_fs *fs, const char *path, int flags, mode_t mode)
{
    return hf_openat(fs, HF_AT_FDCWD, path, flags, mode);
}

/* ---- looking ---- */

int hf_fstatat(hf_fs *fs, int at, const char *path, struct stat *out, int flags)
{
    if ((flags & ~STAT_FLAGS) != 0) {
        return -EINVAL;
    }
    struct stat found;
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_stat(fs, at, path, api_walk_flags(flags), api_is_good(fs, out) ? out : &found);
    fs_leave_path(fs);
    return api_give(fs, result, out, &found, sizeof found);
}

int hf_stat(hf_fs *fs, const char *path, struct stat *out)
{
    return hf_fstatat(fs, HF_AT_FDCWD, path, out, 0);
}

int hf_lstat(hf_fs *fs, const char *path, struct stat *out)
{
    return hf_fstatat(fs, HF_AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW);
}

int hf_statx(hf_fs *fs, int at, const char *path, int flags, unsigned mask, struct statx *out)
{
    if ((flags & ~STAT_FLAGS) != 0 || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE ||
        (mask & STATX__RESERVED) != 0) {
        return -EINVAL;
    }
    struct statx found;
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_statx(fs,
                      at,
                      path,
                      api_walk_flags(flags),
                      flags & AT_STATX_SYNC_TYPE,
                      mask,
                      api_is_good(fs, out) ? out : &found);
    fs_leave_path(fs);
    return api_give(fs, result, out, &found, sizeof found);
}

int hf_faccessat(hf_fs *fs, int at, const char *path, int mode, int flags)
{
    if ((mode & ~(R_OK | W_OK | X_OK)) != 0 ||
        (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_access(fs, at, path, api_walk_flags(flags), mode, flags & AT_EACCESS);
    fs_leave_path(fs);
    return result;
}

int hf_access(hf_fs *fs, const char *path, int mode)
{
    return hf_faccessat(fs, HF_AT_FDCWD, path, mode, 0);
}

int hf_statfs(hf_fs *fs, const char *path, struct statfs *out)
{
    struct statfs found;
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_statfs(fs, path, api_is_good(fs, out) ? out : &found);
    fs_leave_path(fs);
    return api_give(fs, result, out, &found, sizeof found);
}

int hf_fstatfs(hf_fs *fs, int fd, struct statfs *out)
{
    struct statfs found;
    gate_enter(&fs->gate);
    int result = fs_statfs_file(fs, fd, api_is_good(fs, out) ? out : &found);
    gate_leave(&fs->gate);
    return api_give(fs, result, out, &found, sizeof found);
}

/* ---- making ---- */

int hf_mkdirat(hf_fs *fs, int at, const char *path, mode_t mode)
{
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_make_directory(fs, at, path, mode);
    fs_leave_path(fs);
    return result;
}

int hf_mkdir(hf_fs *fs, const char *path, mode_t mode)
{
    return hf_mkdirat(fs, HF_AT_FDCWD, path, mode);
}

int hf_mknodat(hf_fs *fs, int at, const char *path, mode_t mode, dev_t device)
{
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_make_node(fs, at, path, mode, device);
    fs_leave_path(fs);
    return result;
}

int hf_mknod(hf_fs *fs, const char *path, mode_t mode, dev_t device)
{
    return hf_mknodat(fs, HF_AT_FDCWD, path, mode, device);
}

int hf_mkfifoat(hf_fs *fs, int at, const char *path, mode_t mode)
{
    return hf_mknodat(fs, at, path, (mode & ~(mode_t)S_IFMT) | S_IFIFO, 0);
}

int hf_mkfifo(hf_fs *fs, const char *path, mode_t mode)
{
    return hf_mkfifoat(fs, HF_AT_FDCWD, path, mode);
}

/* ---- links ---- */

int hf_linkat(hf_fs *fs, int at, const char *path, int new_at, const char *new_path, int flags)
{
    if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    const unsigned walk_flags = ((flags & AT_SYMLINK_FOLLOW) != 0 ? WALK_FOLLOW : 0U) |
                                ((flags & AT_EMPTY_PATH) != 0 ? WALK_EMPTY : 0U);
    int result = api_enter_paths(fs, path, new_path);
    if (result < 0) {
        return result;
    }
    result = fs_link(fs, at, path, walk_flags, new_at, new_path);
    fs_leave_path(fs);
    return result;
}

int hf_link(hf_fs *fs, const char *path, const char *new_path)
{
    return hf_linkat(fs, HF_AT_FDCWD, path, HF_AT_FDCWD, new_path, 0);
}

int hf_symlinkat(hf_fs *fs, const char *target, int at, const char *path)
{
    int result = api_enter_paths(fs, target, path);
    if (result < 0) {
        return result;
    }
    result = fs_make_symlink(fs, target, at, path);
    fs_leave_path(fs);
    return result;
}

int hf_symlink(hf_fs *fs, const char *target, const char *path)
{
    return hf_symlinkat(fs, target, HF_AT_FDCWD, path);
}

ssize_t hf_readlinkat(hf_fs *fs, int at, const char *path, char *buffer, size_t size)
{
    if (size == 0) {
        return -EINVAL;
    }
    ssize_t result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_read_link(fs, at, path, buffer, size);
    fs_leave_path(fs);
    return result;
}

ssize_t hf_readlink(hf_fs *fs, const char *path, char *buffer, size_t size)
{
    return hf_readlinkat(fs, HF_AT_FDCWD, path, buffer, size);
}

/* ---- moving and removing ---- */

int hf_renameat2(hf_fs *fs, int at, const char *path, int new_at, const char *new_path,
                 unsigned flags)
{
    if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0 ||
        ((flags & RENAME_EXCHANGE) != 0 && flags != RENAME_EXCHANGE)) {
        return -EINVAL;
    }
    int result = api_enter_paths(fs, path, new_path);
    if (result < 0) {
        return result;
    }
    result = fs_rename(fs, at, path, new_at, new_path, flags);
    fs_leave_path(fs);
    return result;
}

int hf_renameat(hf_fs *fs, int at, const char *path, int new_at, const char *new_path)
{
    return hf_renameat2(fs, at, path, new_at, new_path, 0);
}

int hf_rename(hf_fs *fs, const char *path, const char *new_path)
{
    return hf_renameat2(fs, HF_AT_FDCWD, path, HF_AT_FDCWD, new_path, 0);
}

int hf_unlinkat(hf_fs *fs, int at, const char *path, int flags)
{
    if ((flags & ~AT_REMOVEDIR) != 0) {
        return -EINVAL;
    }
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = flags == AT_REMOVEDIR ? fs_remove_directory(fs, at, path) : fs_unlink(fs, at, path);
    fs_leave_path(fs);
    return result;
}

int hf_unlink(hf_fs *fs, const char *path)
{
    return hf_unlinkat(fs, HF_AT_FDCWD, path, 0);
}

int hf_rmdir(hf_fs *fs, const char *path)
{
    return hf_unlinkat(fs, HF_AT_FDCWD, path, AT_REMOVEDIR);
}
