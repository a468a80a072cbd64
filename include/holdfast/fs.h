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
 * Paths start at the root of the filesystem, with or without a slash in front: there is no
 * working directory. `..` at the root is the root, a symbolic link with an absolute target
 * starts at the root of the filesystem, and no path leads out of it.
 *
 * After fork() or hf_fork() the child has the same descriptors, and shares their offsets with
 * its parent as POSIX says.
 */
#ifndef HOLDFAST_FS_H
#define HOLDFAST_FS_H

#include <fcntl.h>
#include <holdfast/sync.h>
#include <sys/stat.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A client's view of the filesystem, with its table of descriptors. */
typedef struct hf_fs hf_fs;

/* The most descriptors one hf_fs has open at a time; then -EMFILE. */
#define HF_FS_DESCRIPTORS_MAX 65536

/* Initialise with HF_FS_CONFIG_INIT, then change what you need. */
typedef struct hf_fs_config {
    size_t size;      /* sizeof(hf_fs_config), so that the struct may grow */
    const char *root; /* the directory of the host that is mounted at "/" */
} hf_fs_config;

#define HF_FS_CONFIG_INIT                                                                          \
    {                                                                                              \
        sizeof(hf_fs_config), NULL                                                                 \
    }

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
 * All clients that share files attach to the same server. Their roots may differ: a file
 * of the host is one file however it is reached.
 *
 * Return: 0; -EINVAL (config), -ENOENT, -ENOTDIR, -EACCES (the root), -ENOSYS (the kernel has
 * no openat2()), -ENOMEM, -EMFILE, -ENOTCONN.
 */
HF_PUBLIC int hf_fs_attach(hf_client *client, const hf_fs_config *config, hf_fs **out);

/**
 * hf_fs_detach() - close all descriptors and free the filesystem object
 * @fs: may be NULL. No other thread may use it any more.
 *
 * Return: NULL.
 */
HF_PUBLIC hf_fs *hf_fs_detach(hf_fs *fs);

/**
 * hf_open() - open a file or directory, creating the file if need be
 * @flags: O_RDONLY, O_WRONLY or O_RDWR, with any of O_CREAT, O_EXCL, O_TRUNC, O_APPEND,
 *         O_DIRECTORY and O_CLOEXEC (which has nothing to do: no descriptor survives exec)
 * @mode:  permissions of a new file, less the process's umask; else ignored
 *
 * Opens regular files and directories. The new open file has its offset to itself until it
 * is shared by a fork.
 *
 * Return: the lowest free descriptor of @fs; -EINVAL for any other flag and for O_CREAT with
 * O_DIRECTORY; -EMFILE; -ENXIO for a socket and -EOPNOTSUPP for a pipe or device; or what
 * open(2) says.
 */
HF_PUBLIC int hf_open(hf_fs *fs, const char *path, int flags, mode_t mode);

/**
 * hf_close() - free a descriptor
 *
 * An operation in progress on it in another thread ends as if the descriptor were still
 * open.
 *
 * Return: 0, -EBADF.
 */
HF_PUBLIC int hf_close(hf_fs *fs, int fd);

/**
 * hf_dup() - another descriptor for the same open file
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
 * @whence: SEEK_SET, SEEK_CUR or SEEK_END
 *
 * In a directory only 0 and positions from hf_readdir() make sense; SEEK_END is refused.
 *
 * Return: the new offset; -EBADF, -EINVAL (a negative result, or another @whence),
 * -EOVERFLOW.
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

#ifdef __cplusplus
}
#endif

#endif
