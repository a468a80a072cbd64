/*
 * Mounts: what is seen where.
 *
 * The table of mounts is kept at the server, and all its clients see the same one at any time. What
 * is mounted at "/" comes from the server's configuration or else from hf_fs_attach(); all else comes
 * from the configuration, and comes and goes with the calls here.
 */
#ifndef HOLDFAST_MOUNT_H
#define HOLDFAST_MOUNT_H

#include <holdfast/fs.h>
#include <sys/mount.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * hf_mount() - mount a directory of the host for all clients of the server
 * @source:  the directory; its absolute path, without links, is what all clients will open
 * @target:  a directory, which it covers; not "/"
 * @type:    "direct"
 * @flags:   MS_RDONLY, or 0
 * @options: NULL or "", or "external=check" or "external=never", see hf_external
 *
 * Every path operation that begins after this has returned, in whatever client, sees it, and it
 * stays until it is unmounted or the server ends, whether its client lives or not. The directory
 * may overlap others that are mounted: a file of the host is one file however it is reached, but
 * hf_rename() and hf_link() do not go from mount to mount. @target cannot be removed or renamed
 * meanwhile. A client that cannot open the source gets the error of open(2) when it walks there,
 * -ESTALE when it finds another directory there.
 *
 * Return: 0; -ENOENT, -ENOTDIR, -EACCES and so on (either directory), -EBUSY (@target is "/"),
 * -ENODEV (@type), -EINVAL (@flags or @options; @target is in a detached mount), -ENOSPC (the table
 * of mounts has room for 4,096 bytes).
 */
HF_PUBLIC int hf_mount(hf_fs *fs, const char *source, const char *target, const char *type,
                       unsigned long flags, const char *options);

/**
 * hf_umount2() - take a mount away for all clients, whoever mounted it
 * @target: the mount's root
 * @flags:  UMOUNT_NOFOLLOW: a link at the end of @target is not followed. MNT_DETACH: take it and
 *          all that is mounted below it away at once; files that are open there go on, `..` ends at
 *          the mount's root, and hf_getcwd() there says -ENOENT.
 *
 * What the server brought, in its memory or in a directory of its own, stays there; nobody can mount
 * it again.
 *
 * Return: 0; -EBUSY when without MNT_DETACH it is in use in any client, by an open file, a working
 * directory or a mount in it, and always for "/"; -EINVAL when @target is not the root of a mount,
 * and for other flags; or what a walk says.
 */
HF_PUBLIC int hf_umount2(hf_fs *fs, const char *target, int flags);

/* One mount. */
typedef struct hf_mount_info {
    uint64_t number;     /* no other mount of this server ever has it */
    uint64_t parent;     /* the mount it lies in; 0: it is at "/" */
    const char *path;    /* where it was mounted; directories may have been renamed since */
    const char *source;  /* the host's directory, the server's with "dir"; or "ram" */
    const char *type;    /* "direct"; "ram" or "dir": the server has the data, see server.h */
    unsigned long flags; /* MS_RDONLY, or 0 */
    hf_external external;
} hf_mount_info;

/**
 * hf_mounts() - all mounts as they are now, each after the one it lies in
 * @out: an array, with the texts in the same block; free() it
 *
 * Return: how many there are; -EFAULT, -ENOMEM, -ENOTCONN.
 */
HF_PUBLIC ssize_t hf_mounts(hf_fs *fs, hf_mount_info **out);

#ifdef __cplusplus
}
#endif

#endif
