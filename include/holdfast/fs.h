/*
 * The filesystem: files and directories that all clients of a server see alike.
 *
 * Each process attaches to its own connection and caches what it looks at; the sync handles
 * behind every inode keep these caches right. A change made by one process is seen by every
 * call that another process starts after the changing call has returned. Going on with what
 * no other client has changed costs no message, and a stat of a cached path costs no system
 * call.
 *
 * Names, flags and rules are those of POSIX and Linux; results are int, ssize_t or off_t and
 * errors negative errno values, the same ones that Linux gives. errno itself says nothing.
 * Every function may be called from any thread, none from a signal handler. Any of them may
 * block while another client finishes its operation on the same file or directory, and fails
 * with -ENOTCONN once the connection is gone.
 *
 * A path with a slash in front starts at the root of the filesystem; another one at the working
 * directory of the hf_fs, see hf_chdir(), or at the open directory that the functions with `at`
 * in their names are given. `..` at the root is the root, a symbolic link with an absolute
 * target starts at the root of the filesystem, and no path leads out of it.
 *
 * A NULL pointer is refused with -EFAULT wherever Linux does so. Of other bad pointers the host
 * refuses what its system calls get: buffers, vectors, offsets, times. Paths, names and places for
 * what is cached are used in this process and have to be right, as for strlen(), memcpy() and the
 * calls of the vdso(7). Who passes on others' pointers unseen sets check_pointers in hf_fs_config:
 * all but those that only this interface has, as the @out of hf_mmap(), are checked then.
 *
 * After fork() or hf_fork() the child has the same descriptors, and shares their offsets with
 * its parent as POSIX says. It has the same working directory and umask, of its own from then
 * on. <holdfast/export.h> does the same for any other process.
 */
#ifndef HOLDFAST_FS_H
#define HOLDFAST_FS_H

#include <fcntl.h>
#include <holdfast/sync.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct statfs; /* <sys/vfs.h> */
struct statx;  /* <sys/stat.h>, with _GNU_SOURCE */

/* A client's view of the filesystem, with its table of descriptors. */
typedef struct hf_fs hf_fs;

/* The most descriptors one hf_fs has open at a time; then -EMFILE. */
#define HF_FS_DESCRIPTORS_MAX 65536

/* In place of a descriptor: relative paths start at the working directory. */
#define HF_AT_FDCWD AT_FDCWD

/* What else changes the files of a mount. */
typedef enum hf_external {
    /* Nothing but clients of the server: what is cached is right. */
    HF_EXTERNAL_NEVER = 0,
    /* Other programs may: attributes and entries that are cached are looked at again with each
     * use, which costs system calls, but no messages. A pass over a directory sees what was there
     * at its beginning. */
    HF_EXTERNAL_CHECK = 1,
} hf_external;

/* Initialise with HF_FS_CONFIG_INIT, then change what you need. */
typedef struct hf_fs_config {
    size_t size;      /* sizeof(hf_fs_config), so that the struct may grow */
    const char *root; /* the directory of the host that is mounted at "/"; NULL: what is there */
    /* With HF_EXTERNAL_CHECK this client checks the mount at "/", if that is direct, even if who
     * mounted it did not say so; with HF_EXTERNAL_NEVER it does what that one said. */
    hf_external external;
    /*
     * How many bytes the caches may take: attributes, names, listings, extended attributes, and
     * the sync handles they need; 0: 128 MiB, which is room for some 150,000 files. What was used least lately goes first. What is in use
     * stays, so open files, the listings of directories that are open, and the operations in
     * progress may take more.
     */
    size_t cache_bytes;
    size_t page_bytes;  /* data of files on served mounts, for each of these; 0: 128 MiB */
    int check_pointers; /* not 0: bad pointers are refused with -EFAULT, see above */
} hf_fs_config;

#define HF_FS_CONFIG_INIT                                                                          \
    {                                                                                              \
        sizeof(hf_fs_config), NULL, HF_EXTERNAL_NEVER, 0, 0, 0                                     \
    }

/* What the caches of a filesystem object take now. */
typedef struct hf_fs_stats {
    uint64_t bytes; /* about what they have of the heap */
    uint64_t bytes_limit;
    uint64_t inodes; /* files and directories that something is known of */
    uint64_t nodes;  /* of them, those for which a descriptor of the host is kept */
    uint64_t nodes_limit;
} hf_fs_stats;

/* One entry of a directory. */
typedef struct hf_dirent {
    ino_t ino;
    off_t position;     /* of the entry after this one; for hf_lseek() with SEEK_SET */
    unsigned char type; /* DT_REG, DT_DIR ... as in readdir(3) */
    char name[256];     /* ends with a NUL */
} hf_dirent;

/**
 * hf_fs_attach() - make a filesystem object on a connection
 * @client: kept with a reference of its own
 * @config: copied; its root must be a directory that this process may search
 * @out:    free it with hf_fs_detach(); unchanged on failure
 *
 * All clients of a server have the same mounts. If the server brings some (server.h), the clients
 * name no root, or the directory that is mounted at "/" already. If not, the first one that names a
 * root mounts it at "/", where it stays as long as the server runs; the others name the same
 * directory or none. A client
 * has one filesystem object at a time, since its caches go by what the client holds: another one
 * needs a connection of its own.
 *
 * Return: 0; -EINVAL (config), -ENOENT, -ENOTDIR, -EACCES (the root), -EBUSY (something else is
 * mounted at "/", or @client has a filesystem object), -ENODEV (none is named and none is mounted), -ENOSYS (there is no openat2(), or
 * no process_vm_readv() for check_pointers), -ENOMEM, -EMFILE, -ENOTCONN; -EIO (the table of mounts
 * is damaged).
 */
HF_PUBLIC int hf_fs_attach(hf_client *client, const hf_fs_config *config, hf_fs **out);

/**
 * hf_fs_get_stats() - how much is cached
 *
 * The limit of bytes is cache_bytes of the configuration, that of nodes a quarter of
 * RLIMIT_NOFILE at the time of hf_fs_attach(), at most 4,096. Both are kept by each call with a
 * path before it begins; what is in use may be more.
 */
HF_PUBLIC void hf_fs_get_stats(hf_fs *fs, hf_fs_stats *out);

/**
 * hf_fs_detach() - close all descriptors and free the filesystem object
 * @fs: may be NULL. No other thread may use it any more.
 *
 * Return: NULL.
 */
HF_PUBLIC hf_fs *hf_fs_detach(hf_fs *fs);

/**
 * hf_open() - open a file or directory, creating the file if need be
 * @flags: as for open(2). O_CLOEXEC is remembered for hf_fcntl(): no descriptor survives exec.
 *         O_NOCTTY, O_ASYNC and O_LARGEFILE are accepted and have nothing to do.
 * @mode:  permissions of a new file, less the umask of @fs; else ignored
 *
 * With O_PATH it is good for hf_fstat(), hf_close(), hf_dup() and its like, and where a directory
 * is asked for; all else says -EBADF. O_TMPFILE makes a file without a name in the directory @path.
 * The new open file has its offset and flags to itself until it is shared by a fork or exported.
 *
 * Pipes and devices are the host's, pipes on served mounts too. Opening, reading and writing them may
 * wait as the system calls do, holds up no other thread, and ends with -EINTR when a signal is handled.
 * See hf_host_fd(). On a served mount devices cannot be opened, as if it were mounted with nodev.
 *
 * Return: the lowest free descriptor of @fs; -EINVAL for flags that openat2(2) does not know or
 * combine, and for O_CREAT with O_DIRECTORY; -EMFILE; -EOPNOTSUPP for a pipe or device on a host
 * without /proc, and for a pipe on a served mount when the connection to the server is no local socket
 * or the server's host has no place to make one; -EDQUOT for one more pipe there than hf_limits.parked
 * leaves room for; or what open(2) says.
 */
HF_PUBLIC int hf_open(hf_fs *fs, const char *path, int flags, mode_t mode);

/**
 * hf_close() - free a descriptor
 *
 * The number is free at once. An operation in progress on it in another thread ends as if the
 * descriptor were still open. What went wrong on a served mount after a call had returned, as an error
 * of the server's disk, is reported once, here or by hf_fsync(); the descriptor is free all the same.
 *
 * Return: 0, -EBADF, or that error: -EIO, -ENOSPC, -EDQUOT.
 */
HF_PUBLIC int hf_close(hf_fs *fs, int fd);

/**
 * hf_dup() - another descriptor for the same open file, without FD_CLOEXEC
 *
 * Return: the lowest free descriptor; -EBADF, -EMFILE, -ENOMEM.
 */
HF_PUBLIC int hf_dup(hf_fs *fs, int fd);

/**
 * hf_read() - read at the offset, and move it
 *
 * Return: the bytes read, 0 at the end of the file; -EBADF (also when not open for reading),
 * -EISDIR, or what read(2) says.
 */
HF_PUBLIC ssize_t hf_read(hf_fs *fs, int fd, void *buffer, size_t size);

/**
 * hf_write() - write at the offset, or at the end with O_APPEND, and move the offset
 *
 * No other operation of any client on the file happens between the choice of the place and
 * the end of the writing. Once the call has returned, killing this process undoes nothing
 * of it: neither the data nor the offset.
 *
 * Return: the bytes written: @size, or fewer when the disk or a limit is full; -EBADF (also
 * when not open for writing), or what write(2) says. With -ENOTCONN the data may have been
 * written.
 */
HF_PUBLIC ssize_t hf_write(hf_fs *fs, int fd, const void *buffer, size_t size);

/**
 * hf_pread() - read at @offset, and leave the open file's own offset alone
 *
 * Return: as hf_read(); -EINVAL for a negative @offset.
 */
HF_PUBLIC ssize_t hf_pread(hf_fs *fs, int fd, void *buffer, size_t size, off_t offset);

/**
 * hf_pwrite() - write at @offset, and leave the open file's own offset alone
 *
 * With O_APPEND it writes at the end, as on Linux.
 *
 * Return: as hf_write(); -EINVAL for a negative @offset.
 */
HF_PUBLIC ssize_t hf_pwrite(hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset);

/**
 * hf_lseek() - set and tell the offset
 * @whence: SEEK_SET, SEEK_CUR, SEEK_END, or SEEK_DATA and SEEK_HOLE as the host's filesystem
 *          tells them
 *
 * In a directory only 0 and positions from hf_readdir() make sense; all but SEEK_SET and SEEK_CUR
 * are refused.
 *
 * Return: the new offset; -EBADF, -EINVAL (a negative or too large result, or another @whence),
 * -ENXIO (no data or hole from there on).
 */
HF_PUBLIC off_t hf_lseek(hf_fs *fs, int fd, off_t offset, int whence);

/**
 * hf_readdir() - read the directory entry at the offset, and move to the next
 *
 * Entries come in no special order, `.` and `..` first. One that is there all the time is
 * seen exactly once in a pass, whatever comes and goes beside it, in this process or
 * another.
 *
 * Return: 1 and an entry in @out; 0 at the end; -EBADF, -ENOTDIR, -ENOENT (the directory was
 * removed), -EFAULT.
 */
HF_PUBLIC int hf_readdir(hf_fs *fs, int fd, hf_dirent *out);

/**
 * hf_stat() - the attributes of a file
 *
 * Return: 0, or what stat(2) says. The access time may lag behind reads.
 */
HF_PUBLIC int hf_stat(hf_fs *fs, const char *path, struct stat *out);

/**
 * hf_lstat() - as hf_stat(), but of the symbolic link itself if @path ends in one
 */
HF_PUBLIC int hf_lstat(hf_fs *fs, const char *path, struct stat *out);

/**
 * hf_fstat() - the attributes of an open file, also of one that was removed
 */
HF_PUBLIC int hf_fstat(hf_fs *fs, int fd, struct stat *out);

/**
 * hf_truncate() - set the size of a file; what is added reads as zeros
 *
 * Return: 0, or what truncate(2) says.
 */
HF_PUBLIC int hf_truncate(hf_fs *fs, const char *path, off_t size);

/**
 * hf_ftruncate() - set the size of an open file
 *
 * Return: 0, or what ftruncate(2) says: -EINVAL when it is not open for writing.
 */
HF_PUBLIC int hf_ftruncate(hf_fs *fs, int fd, off_t size);

/**
 * hf_mkdir() - make a directory
 *
 * Return: 0, or what mkdir(2) says.
 */
HF_PUBLIC int hf_mkdir(hf_fs *fs, const char *path, mode_t mode);

/**
 * hf_unlink() - remove a name of a file; open files of it go on
 *
 * Return: 0, or what unlink(2) says: -EISDIR for a directory.
 */
HF_PUBLIC int hf_unlink(hf_fs *fs, const char *path);

/**
 * hf_rmdir() - remove an empty directory
 *
 * Return: 0, or what rmdir(2) says.
 */
HF_PUBLIC int hf_rmdir(hf_fs *fs, const char *path);

/* ---- data ---- */

/**
 * hf_readv(), hf_writev(), hf_preadv(), hf_pwritev() - read and write with several buffers
 *
 * As hf_read() and so on with all buffers in a row as one.
 *
 * Return: as those; also -EINVAL when @count is negative or over IOV_MAX or the sizes add up to
 * more than SSIZE_MAX, -EFAULT.
 */
HF_PUBLIC ssize_t hf_readv(hf_fs *fs, int fd, const struct iovec *vectors, int count);
HF_PUBLIC ssize_t hf_writev(hf_fs *fs, int fd, const struct iovec *vectors, int count);
HF_PUBLIC ssize_t hf_preadv(hf_fs *fs, int fd, const struct iovec *vectors, int count,
                            off_t offset);
HF_PUBLIC ssize_t hf_pwritev(hf_fs *fs, int fd, const struct iovec *vectors, int count,
                             off_t offset);

/**
 * hf_fallocate() - give space to a part of a file, take it away, or move what follows
 * @mode: as for fallocate(2); which modes there are is up to the host's filesystem
 *
 * Return: 0, or what fallocate(2) says: -EOPNOTSUPP for a mode that the host does not have.
 */
HF_PUBLIC int hf_fallocate(hf_fs *fs, int fd, int mode, off_t offset, off_t length);

/**
 * hf_copy_file_range() - copy data from file to file inside the host
 * @from_offset, @to_offset: where, and moved behind what was copied; NULL: at the open file's own
 *                           offset, which moves
 * @flags: 0
 *
 * No other operation of any client on either file happens in the middle of it.
 *
 * Return: the bytes copied, 0 at the end of the file; or what copy_file_range(2) says: -EINVAL for
 * flags and for parts of one file that overlap, -EBADF also when @to has O_APPEND, -EXDEV.
 */
HF_PUBLIC ssize_t hf_copy_file_range(hf_fs *fs, int from, off_t *from_offset, int to,
                                     off_t *to_offset, size_t size, unsigned flags);

/**
 * hf_fsync(), hf_fdatasync() - bring what was written to the disk, whichever client wrote it
 *
 * Return: 0, or what fsync(2) says.
 */
HF_PUBLIC int hf_fsync(hf_fs *fs, int fd);
HF_PUBLIC int hf_fdatasync(hf_fs *fs, int fd);

/**
 * hf_syncfs() - the same for everything on the filesystem that the file is on
 */
HF_PUBLIC int hf_syncfs(hf_fs *fs, int fd);

/**
 * hf_mmap() - map a part of a file into memory
 * @address, @length, @protection, @flags, @offset: as for mmap(2)
 * @out: where it is; unchanged on failure
 *
 * The mapping is the host's: all processes that map or read the file see each store at once, it
 * outlives the descriptor and a fork, and no call here waits for accesses to it. Stores change the
 * file's times behind our back, so that cached ones stay as they are until the file is next
 * changed by a call or used by another client. Where truncation has cut it off, access raises
 * SIGBUS. Unmap it with hf_munmap() or munmap().
 *
 * On a served mount MAP_PRIVATE is a copy of what the file has at this moment, and MAP_SHARED is
 * -ENODEV: the processes share no memory that could be it.
 *
 * Return: 0; -EBADF, or what mmap(2) says.
 */
HF_PUBLIC int hf_mmap(hf_fs *fs, void *address, size_t length, int protection, int flags, int fd,
                      off_t offset, void **out);

/**
 * hf_munmap() - as munmap(2)
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
HF_PUBLIC int hf_munmap(hf_fs *fs, void *address, size_t length);

/* ---- descriptors ---- */

/**
 * hf_dup2() - make @copy another descriptor for the open file of @fd
 *
 * An open @copy is closed in the same step: no other thread finds it free in between. When both
 * are the same nothing happens.
 *
 * Return: @copy; -EBADF (@fd, or a @copy out of range), -EBUSY (another thread is just opening
 * @copy), -ENOMEM.
 */
HF_PUBLIC int hf_dup2(hf_fs *fs, int fd, int copy);

/**
 * hf_dup3() - as hf_dup2(), with O_CLOEXEC in @flags or not
 *
 * Return: as hf_dup2(); -EINVAL for other flags and when both are the same.
 */
HF_PUBLIC int hf_dup3(hf_fs *fs, int fd, int copy, int flags);

/**
 * hf_fcntl() - ask or change what belongs to a descriptor or to its open file
 * @command: F_DUPFD, F_DUPFD_CLOEXEC, F_SETFD, F_SETFL with an int; F_GETFD, F_GETFL without; those
 *           of hf_lock() with a struct flock *, see <holdfast/lock.h>
 *
 * F_SETFL changes O_APPEND, O_NONBLOCK, O_DIRECT and O_NOATIME, and ignores the rest. All who
 * share the open file, in whatever process, see the change in their next operation. F_GETFL tells
 * the flags of the open without O_LARGEFILE, which here is always so.
 *
 * Return: as fcntl(2): -EINVAL for another command, -EBADF.
 */
HF_PUBLIC int hf_fcntl(hf_fs *fs, int fd, int command, ...);

/**
 * hf_host_fd() - the host's descriptor behind an open pipe or device, for poll(2) or ioctl(2)
 *
 * Return: it, which is closed with the last of ours; -EBADF; -EINVAL for files and directories.
 */
HF_PUBLIC int hf_host_fd(hf_fs *fs, int fd);

/* ---- extended attributes ---- */

/**
 * hf_getxattr() - the value of an extended attribute
 * @value, @size: where to put it; with a @size of 0 only its length is asked
 *
 * hf_lgetxattr() looks at a symbolic link itself, hf_fgetxattr() at an open file; so also below.
 *
 * Return: its length; or what getxattr(2) says: -ENODATA, -ERANGE, -EOPNOTSUPP (also for all of
 * them on a host without /proc), -EFAULT.
 */
HF_PUBLIC ssize_t hf_getxattr(hf_fs *fs, const char *path, const char *name, void *value,
                              size_t size);
HF_PUBLIC ssize_t hf_lgetxattr(hf_fs *fs, const char *path, const char *name, void *value,
                               size_t size);
HF_PUBLIC ssize_t hf_fgetxattr(hf_fs *fs, int fd, const char *name, void *value, size_t size);

/**
 * hf_setxattr() - set an extended attribute
 * @flags: XATTR_CREATE, XATTR_REPLACE, or 0
 *
 * Return: 0, or what setxattr(2) says.
 */
HF_PUBLIC int hf_setxattr(hf_fs *fs, const char *path, const char *name, const void *value,
                          size_t size, int flags);
HF_PUBLIC int hf_lsetxattr(hf_fs *fs, const char *path, const char *name, const void *value,
                           size_t size, int flags);
HF_PUBLIC int hf_fsetxattr(hf_fs *fs, int fd, const char *name, const void *value, size_t size,
                           int flags);

/**
 * hf_listxattr() - the names of all extended attributes, each with a NUL behind it
 *
 * Return: their length together, or what listxattr(2) says.
 */
HF_PUBLIC ssize_t hf_listxattr(hf_fs *fs, const char *path, char *names, size_t size);
HF_PUBLIC ssize_t hf_llistxattr(hf_fs *fs, const char *path, char *names, size_t size);
HF_PUBLIC ssize_t hf_flistxattr(hf_fs *fs, int fd, char *names, size_t size);

/**
 * hf_removexattr() - remove an extended attribute
 *
 * Return: 0, or what removexattr(2) says.
 */
HF_PUBLIC int hf_removexattr(hf_fs *fs, const char *path, const char *name);
HF_PUBLIC int hf_lremovexattr(hf_fs *fs, const char *path, const char *name);
HF_PUBLIC int hf_fremovexattr(hf_fs *fs, int fd, const char *name);

/* ---- names ----
 *
 * In what follows @at is an open directory, where a relative @path starts, or HF_AT_FDCWD. It
 * makes no difference for an absolute path. Results are 0 or what the manual says of the
 * system call of the same name; the AT_ and RENAME_ flags are those of <fcntl.h> and <stdio.h>.
 * An unknown flag is refused with -EINVAL, a NULL path with -EFAULT.
 */

/**
 * hf_openat() - as hf_open(), relative to a directory
 */
HF_PUBLIC int hf_openat(hf_fs *fs, int at, const char *path, int flags, mode_t mode);

/**
 * hf_mkdirat() - as hf_mkdir(), relative to a directory
 */
HF_PUBLIC int hf_mkdirat(hf_fs *fs, int at, const char *path, mode_t mode);

/**
 * hf_mknod() - make a regular file, a pipe, a socket or a device
 * @mode:   the type, one of S_IFREG (or 0), S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, and
 *          permissions, less the umask of @fs
 * @device: of a device, its number
 *
 * Return: 0; -EPERM for S_IFDIR, -EINVAL for another type, or what mknod(2) says.
 */
HF_PUBLIC int hf_mknod(hf_fs *fs, const char *path, mode_t mode, dev_t device);
HF_PUBLIC int hf_mknodat(hf_fs *fs, int at, const char *path, mode_t mode, dev_t device);

/**
 * hf_mkfifo() - make a pipe
 */
HF_PUBLIC int hf_mkfifo(hf_fs *fs, const char *path, mode_t mode);
HF_PUBLIC int hf_mkfifoat(hf_fs *fs, int at, const char *path, mode_t mode);

/**
 * hf_unlinkat() - remove a name
 * @flags: 0 as hf_unlink(), AT_REMOVEDIR as hf_rmdir()
 */
HF_PUBLIC int hf_unlinkat(hf_fs *fs, int at, const char *path, int flags);

/**
 * hf_rename() - give a file or directory another name, replacing what has it
 *
 * Nobody sees both names or none. What was replaced lives on for those who have it open, and
 * open files of what was renamed go on. Two names of one file are left as they are.
 *
 * Return: 0, or what rename(2) says: -EINVAL for a directory into one below itself, -ENOTEMPTY
 * over a directory that has entries, -EISDIR and -ENOTDIR when only one is a directory.
 */
HF_PUBLIC int hf_rename(hf_fs *fs, const char *path, const char *new_path);
HF_PUBLIC int hf_renameat(hf_fs *fs, int at, const char *path, int new_at, const char *new_path);

/**
 * hf_renameat2() - as hf_renameat()
 * @flags: RENAME_NOREPLACE: -EEXIST when there is something to replace; RENAME_EXCHANGE: both
 *         are there and get each other's name; RENAME_WHITEOUT: leave a whiteout
 */
HF_PUBLIC int hf_renameat2(hf_fs *fs, int at, const char *path, int new_at, const char *new_path,
                           unsigned flags);

/**
 * hf_link() - one more name for a file
 *
 * Return: 0, or what link(2) says: -EPERM for a directory.
 */
HF_PUBLIC int hf_link(hf_fs *fs, const char *path, const char *new_path);

/**
 * hf_linkat() - as hf_link()
 * @flags: AT_SYMLINK_FOLLOW: what a symbolic link at the end of @path leads to, not the link
 *         itself; AT_EMPTY_PATH: an empty @path is the open file @at
 */
HF_PUBLIC int hf_linkat(hf_fs *fs, int at, const char *path, int new_at, const char *new_path,
                        int flags);

/**
 * hf_symlink() - make a symbolic link
 * @target: kept as it is; it need not exist
 */
HF_PUBLIC int hf_symlink(hf_fs *fs, const char *target, const char *path);
HF_PUBLIC int hf_symlinkat(hf_fs *fs, const char *target, int at, const char *path);

/**
 * hf_readlink() - what a symbolic link says
 *
 * Return: the bytes put into @buffer, without a NUL, @size at most; -EINVAL for another type
 * of file and for a @size of 0, or what readlink(2) says.
 */
HF_PUBLIC ssize_t hf_readlink(hf_fs *fs, const char *path, char *buffer, size_t size);
HF_PUBLIC ssize_t hf_readlinkat(hf_fs *fs, int at, const char *path, char *buffer, size_t size);

/* ---- attributes ----
 *
 * @flags may have AT_SYMLINK_NOFOLLOW: the symbolic link itself if @path ends in one, and
 * AT_EMPTY_PATH: an empty @path is the open file @at, or the working directory.
 */

/**
 * hf_fstatat() - as hf_stat()
 */
HF_PUBLIC int hf_fstatat(hf_fs *fs, int at, const char *path, struct stat *out, int flags);

/**
 * hf_statx() - the attributes in @mask, and maybe others: stx_mask says which
 *
 * STATX_BASIC_STATS come from the cache; for more the mount is asked each time.
 */
HF_PUBLIC int hf_statx(hf_fs *fs, int at, const char *path, int flags, unsigned mask,
                       struct statx *out);

/**
 * hf_access() - may this process read, write or execute it?
 * @mode: F_OK: is it there?; or any of R_OK, W_OK and X_OK
 *
 * As access(2) it asks for the process's real identity.
 */
HF_PUBLIC int hf_access(hf_fs *fs, const char *path, int mode);

/**
 * hf_faccessat() - as hf_access()
 * @flags: also AT_EACCESS: for the effective identity
 */
HF_PUBLIC int hf_faccessat(hf_fs *fs, int at, const char *path, int mode, int flags);

/**
 * hf_chmod() - set the permissions
 *
 * Return: 0, or what chmod(2) says: -EOPNOTSUPP for a symbolic link.
 */
HF_PUBLIC int hf_chmod(hf_fs *fs, const char *path, mode_t mode);
HF_PUBLIC int hf_fchmod(hf_fs *fs, int fd, mode_t mode);
HF_PUBLIC int hf_fchmodat(hf_fs *fs, int at, const char *path, mode_t mode, int flags);

/**
 * hf_chown() - set owner and group; (uid_t)-1 and (gid_t)-1 leave one alone
 */
HF_PUBLIC int hf_chown(hf_fs *fs, const char *path, uid_t owner, gid_t group);
HF_PUBLIC int hf_lchown(hf_fs *fs, const char *path, uid_t owner, gid_t group);
HF_PUBLIC int hf_fchown(hf_fs *fs, int fd, uid_t owner, gid_t group);
HF_PUBLIC int hf_fchownat(hf_fs *fs, int at, const char *path, uid_t owner, gid_t group, int flags);

/**
 * hf_utimensat() - set the times of access and modification
 * @times: in this order; tv_nsec may be UTIME_NOW or UTIME_OMIT; NULL sets both to now
 *
 * Return: 0, or what utimensat(2) says; -EINVAL for a NULL @path.
 */
HF_PUBLIC int hf_utimensat(hf_fs *fs, int at, const char *path, const struct timespec times[2],
                           int flags);
HF_PUBLIC int hf_futimens(hf_fs *fs, int fd, const struct timespec times[2]);

/**
 * hf_statfs() - what the host says of the filesystem that a file is on
 */
HF_PUBLIC int hf_statfs(hf_fs *fs, const char *path, struct statfs *out);
HF_PUBLIC int hf_fstatfs(hf_fs *fs, int fd, struct statfs *out);

/* ---- working directory and umask ---- */

/**
 * hf_chdir() - set the working directory of @fs; at first it is the root
 *
 * It stays the same directory when it is renamed, by this client or another.
 *
 * Return: 0, or what chdir(2) says.
 */
HF_PUBLIC int hf_chdir(hf_fs *fs, const char *path);
HF_PUBLIC int hf_fchdir(hf_fs *fs, int fd);

/**
 * hf_getcwd() - the path of the working directory, from the root of the filesystem
 *
 * Return: its length with the NUL; -ERANGE when @size is less than that, -EINVAL for a @size
 * of 0, -ENAMETOOLONG over PATH_MAX; -ENOENT when the directory was removed; -EACCES when a
 * directory above may not be read.
 */
HF_PUBLIC ssize_t hf_getcwd(hf_fs *fs, char *buffer, size_t size);

/**
 * hf_umask() - set which permissions new files do not get; at first it is the process's umask
 *
 * Calling umask() later makes no difference to @fs. A default access list takes its place.
 *
 * Return: the one before.
 */
HF_PUBLIC mode_t hf_umask(hf_fs *fs, mode_t mask);

#ifdef __cplusplus
}
#endif

#endif
