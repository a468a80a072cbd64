/* The public functions that change attributes, and what a process has besides descriptors. */
#include "api/fs_gate.h"
#include "fs/walk.h"

#include <errno.h>

/* ---- mode ---- */

int hf_fchmodat(hf_fs *fs, int at, const char *path, mode_t mode, int flags)
{
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_set_mode(fs, at, path, api_walk_flags(flags), mode);
    fs_leave_path(fs);
    return result;
}

int hf_chmod(hf_fs *fs, const char *path, mode_t mode)
{
    return hf_fchmodat(fs, HF_AT_FDCWD, path, mode, 0);
}

int hf_fchmod(hf_fs *fs, int fd, mode_t mode)
{
    gate_enter(&fs->gate);
    int result = fs_set_mode_of_file(fs, fd, mode);
    gate_leave(&fs->gate);
    return result;
}

/* ---- owner ---- */

int hf_fchownat(hf_fs *fs, int at, const char *path, uid_t owner, gid_t group, int flags)
{
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_set_owner(fs, at, path, api_walk_flags(flags), owner, group);
    fs_leave_path(fs);
    return result;
}

int hf_chown(hf_fs *fs, const char *path, uid_t owner, gid_t group)
{
    return hf_fchownat(fs, HF_AT_FDCWD, path, owner, group, 0);
}

int hf_lchown(hf_fs *fs, const char *path, uid_t owner, gid_t group)
{
    return hf_fchownat(fs, HF_AT_FDCWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}

int hf_fchown(hf_fs *fs, int fd, uid_t owner, gid_t group)
{
    gate_enter(&fs->gate);
    int result = fs_set_owner_of_file(fs, fd, owner, group);
    gate_leave(&fs->gate);
    return result;
}

/* ---- times ---- */

/* Nothing is to be set. */
#define NO_TIME 1

/* The kernel itself looks at the times: with nothing to set it looks at nothing else, and of bad
 * memory it says so before it finds that there is no such descriptor. Return: 0, NO_TIME, -EFAULT. */
static int check_times(const struct timespec times[2])
{
    if (times == NULL) {
        return 0;
    }
    if (utimensat(-1, "", times, AT_EMPTY_PATH) == 0) {
        return NO_TIME;
    }
    return errno == EFAULT ? -EFAULT : 0;
}

int hf_utimensat(hf_fs *fs, int at, const char *path, const struct timespec times[2], int flags)
{
    if (path == NULL) {
        return -EINVAL;
    }
    int result = check_times(times);
    if (result != 0) {
        return result == NO_TIME ? 0 : result;
    }
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_set_times(fs, at, path, api_walk_flags(flags), times);
    fs_leave_path(fs);
    return result;
}

int hf_futimens(hf_fs *fs, int fd, const struct timespec times[2])
{
    if (fd < 0) {
        return -EBADF;
    }
    int result = check_times(times);
    if (result != 0) {
        return result == NO_TIME ? 0 : result;
    }
    gate_enter(&fs->gate);
    result = fs_set_times_of_file(fs, fd, times);
    gate_leave(&fs->gate);
    return result;
}

/* ---- working directory and umask ---- */

int hf_chdir(hf_fs *fs, const char *path)
{
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_change_directory(fs, HF_AT_FDCWD, path, WALK_FOLLOW);
    fs_leave_path(fs);
    return result;
}

int hf_fchdir(hf_fs *fs, int fd)
{
    /* The number of HF_AT_FDCWD is no descriptor here. */
    if (fd < 0) {
        return -EBADF;
    }
    int result = fs_enter_path(fs);
    if (result < 0) {
        return result;
    }
    result = fs_change_directory(fs, fd, "", WALK_EMPTY);
    fs_leave_path(fs);
    return result;
}

ssize_t hf_getcwd(hf_fs *fs, char *buffer, size_t size)
{
    if (size == 0) {
        return -EINVAL;
    }
    ssize_t result = fs_enter_path(fs);
    if (result < 0) {
        return result;
    }
    result = fs_get_working_directory(fs, buffer, size);
    fs_leave_path(fs);
    return result;
}

mode_t hf_umask(hf_fs *fs, mode_t mask)
{
    gate_enter(&fs->gate);
    mode_t before = fs_set_umask(fs, mask);
    gate_leave(&fs->gate);
    return before;
}
