/* The public functions on the table of mounts. */
#include "api/fs_gate.h"
#include "mounts/direct/direct.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

/* What mount(2) calls data. Return: 0, -EINVAL. */
static int parse_options(const char *options, bool *is_checked)
{
    *is_checked = false;
    if (options == NULL || options[0] == '\0' || strcmp(options, "external=never") == 0) {
        return 0;
    }
    *is_checked = strcmp(options, "external=check") == 0;
    return *is_checked ? 0 : -EINVAL;
}

int hf_mount(hf_fs *fs, const char *source, const char *target, const char *type,
             unsigned long flags, const char *options)
{
    char canonical[PATH_MAX];
    bool is_checked;

    int result = api_check_paths(fs, source, target);
    if (result == 0) {
        result = api_check_paths(fs, type, options == NULL ? "" : options);
    }
    if (result < 0) {
        return result;
    }
    if (strcmp(type, "direct") != 0) {
        return -ENODEV;
    }
    result = (flags & ~(unsigned long)MS_RDONLY) != 0 ? -EINVAL : 0;
    if (result == 0) {
        result = parse_options(options, &is_checked);
    }
    if (result == 0) {
        result = direct_canonical_source(source, canonical);
    }
    if (result < 0) {
        return result;
    }
    fs_enter_with_room(fs);
    result = fs_mount(fs, canonical, target, (flags & MS_RDONLY) != 0, is_checked);
    gate_leave(&fs->gate);
    return result;
}

int hf_umount2(hf_fs *fs, const char *target, int flags)
{
    int result = api_check_path(fs, target);
    if (result < 0) {
        return result;
    }
    if ((flags & ~(MNT_DETACH | UMOUNT_NOFOLLOW)) != 0) {
        return -EINVAL;
    }
    const unsigned walk_flags = (flags & UMOUNT_NOFOLLOW) == 0 ? WALK_FOLLOW : 0U;
    fs_enter_with_room(fs);
    result = fs_unmount(fs, target, walk_flags, (flags & MNT_DETACH) != 0);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_mounts(hf_fs *fs, hf_mount_info **out)
{
    if (out == NULL) {
        return -EFAULT;
    }
    ssize_t result = fs_enter_path(fs);
    if (result < 0) {
        return result;
    }
    result = fs_list_mounts(fs, out);
    fs_leave_path(fs);
    return result;
}
