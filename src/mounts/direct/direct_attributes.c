/*
 * The direct backend's operations on attributes. A node is an O_PATH descriptor, which few calls
 * take as it is; most take it with AT_EMPTY_PATH.
 */
#include "mounts/direct/direct_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Newer than some C libraries; the number is the same wherever this runs. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static int result_of(long result)
{
    return result < 0 ? -errno : 0;
}

struct direct_path direct_path_of(intptr_t node)
{
    struct direct_path path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", (int)node);
    return path;
}

int direct_get_attributes(struct backend *backend, intptr_t node, struct stat *attributes)
{
    return result_of(fstat((int)node, attributes));
}

int direct_set_mode(struct backend *backend, intptr_t node, mode_t mode)
{
    if (syscall(SYS_fchmodat2, (int)node, "", mode, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    if (errno != ENOSYS) {
        return -errno;
    }
    const struct direct_path path = direct_path_of(node);
    return result_of(chmod(path.text, mode));
}

bool direct_has_default_access(struct backend *backend, intptr_t directory)
{
    const struct direct_path path = direct_path_of(directory);
    return getxattr(path.text, "system.posix_acl_default", NULL, 0) >= 0;
}

void direct_restore_mode(struct backend *backend, intptr_t directory, intptr_t node, mode_t mode)
{
    if (!direct_has_default_access(backend, directory)) {
        direct_set_mode(backend, node, mode);
    }
}

int direct_set_owner(struct backend *backend, intptr_t node, uid_t owner, gid_t group)
{
    return result_of(fchownat((int)node, "", owner, group, AT_EMPTY_PATH));
}

int direct_set_times(struct backend *backend, intptr_t node, const struct timespec times[2])
{
    return result_of(utimensat((int)node, "", times, AT_EMPTY_PATH));
}

int direct_access(struct backend *backend, intptr_t node, int mode, int flags)
{
    return result_of(faccessat((int)node, "", mode, flags | AT_EMPTY_PATH));
}

int direct_statx(struct backend *backend, intptr_t node, int flags, unsigned mask,
                 struct statx *out)
{
    return result_of(statx((int)node, "", flags | AT_EMPTY_PATH, mask, out));
}

int direct_statfs(struct backend *backend, intptr_t node, struct statfs *out)
{
    return result_of(fstatfs((int)node, out));
}
