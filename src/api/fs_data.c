/* The public functions on data and descriptors. */
#include "api/fs_gate.h"

#include <errno.h>
#include <holdfast/lock.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- vectors ---- */

ssize_t hf_readv(hf_fs *fs, int fd, const struct iovec *vectors, int count)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_read_vectors(fs, fd, vectors, count);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_writev(hf_fs *fs, int fd, const struct iovec *vectors, int count)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_write_vectors(fs, fd, vectors, count);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_preadv(hf_fs *fs, int fd, const struct iovec *vectors, int count, off_t offset)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_read_vectors_at(fs, fd, vectors, count, offset);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_pwritev(hf_fs *fs, int fd, const struct iovec *vectors, int count, off_t offset)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_write_vectors_at(fs, fd, vectors, count, offset);
    gate_leave(&fs->gate);
    return result;
}

/* ---- space, copies, storage ---- */

int hf_fallocate(hf_fs *fs, int fd, int mode, off_t offset, off_t length)
{
    gate_enter(&fs->gate);
    int result = fs_allocate(fs, fd, mode, offset, length);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_copy_file_range(hf_fs *fs, int from, off_t *from_offset, int to, off_t *to_offset,
                           size_t size, unsigned flags)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_copy(fs, from, from_offset, to, to_offset, size, flags);
    gate_leave(&fs->gate);
    return result;
}

static int sync_as(hf_fs *fs, int fd, enum fs_sync what)
{
    gate_enter(&fs->gate);
    int result = fs_sync(fs, fd, what);
    gate_leave(&fs->gate);
    return result;
}

int hf_fsync(hf_fs *fs, int fd)
{
    return sync_as(fs, fd, FS_SYNC_FILE);
}

int hf_fdatasync(hf_fs *fs, int fd)
{
    return sync_as(fs, fd, FS_SYNC_DATA);
}

int hf_syncfs(hf_fs *fs, int fd)
{
    return sync_as(fs, fd, FS_SYNC_ALL);
}

/* ---- descriptors ---- */

int hf_dup2(hf_fs *fs, int fd, int copy)
{
    gate_enter(&fs->gate);
    int result = fs_duplicate_to(fs, fd, copy, false);
    gate_leave(&fs->gate);
    return result;
}

int hf_dup3(hf_fs *fs, int fd, int copy, int flags)
{
    if ((flags & ~O_CLOEXEC) != 0 || fd == copy) {
        return -EINVAL;
    }
    gate_enter(&fs->gate);
    int result = fs_duplicate_to(fs, fd, copy, flags != 0);
    gate_leave(&fs->gate);
    return result;
}

static int control(hf_fs *fs, int fd, int command, int argument)
{
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return fs_duplicate(fs, fd, argument, command == F_DUPFD_CLOEXEC);
    case F_GETFD: /* 1 is FD_CLOEXEC */
        return descriptors_get_close_on_exec(&fs->descriptors, fd);
    case F_SETFD:
        return descriptors_set_close_on_exec(&fs->descriptors, fd, (argument & FD_CLOEXEC) != 0);
    case F_GETFL:
        return fs_get_status(fs, fd);
    case F_SETFL:
        return fs_set_status(fs, fd, argument);
    default:
        return fs_check_control(fs, fd);
    }
}

static bool is_about_locks(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_GETLK ||
           command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
}

int hf_fcntl(hf_fs *fs, int fd, int command, ...)
{
    int argument = 0;
    if (is_about_locks(command)) {
        va_list arguments;
        va_start(arguments, command);
        struct flock *lock = va_arg(arguments, struct flock *);
        va_end(arguments);
        return hf_lock(fs, fd, command, lock, NULL);
    }
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == F_SETFD ||
        command == F_SETFL) {
        va_list arguments;
        va_start(arguments, command);
        argument = va_arg(arguments, int);
        va_end(arguments);
    }
    gate_enter(&fs->gate);
    int result = control(fs, fd, command, argument);
    gate_leave(&fs->gate);
    return result;
}

int hf_host_fd(hf_fs *fs, int fd)
{
    gate_enter(&fs->gate);
    int result = fs_host_descriptor(fs, fd);
    gate_leave(&fs->gate);
    return result;
}

/* ---- mappings ---- */

int hf_mmap(hf_fs *fs, void *address, size_t length, int protection, int flags, int fd,
            off_t offset, void **out)
{
    if (out == NULL) {
        return -EFAULT;
    }
    if (offset % sysconf(_SC_PAGESIZE) != 0) {
        return -EINVAL; /* which the kernel says before it looks at @fd */
    }
    gate_enter(&fs->gate);
    int result = fs_map(fs, address, length, protection, flags, fd, offset, out);
    gate_leave(&fs->gate);
    return result;
}

int hf_munmap(hf_fs *fs, void *address, size_t length)
{
    return munmap(address, length) < 0 ? -errno : 0;
}

/* ---- extended attributes ---- */

static ssize_t get_xattr(hf_fs *fs, const char *path, bool follow, const char *name, void *value,
                         size_t size)
{
    ssize_t result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_get_xattr(fs, path, follow, name, value, size);
    fs_leave_path(fs);
    return result;
}

ssize_t hf_getxattr(hf_fs *fs, const char *path, const char *name, void *value, size_t size)
{
    return get_xattr(fs, path, true, name, value, size);
}

ssize_t hf_lgetxattr(hf_fs *fs, const char *path, const char *name, void *value, size_t size)
{
    return get_xattr(fs, path, false, name, value, size);
}

ssize_t hf_fgetxattr(hf_fs *fs, int fd, const char *name, void *value, size_t size)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_get_xattr_of_file(fs, fd, name, value, size);
    gate_leave(&fs->gate);
    return result;
}

static int set_xattr(hf_fs *fs, const char *path, bool follow, const char *name, const void *value,
                     size_t size, int flags)
{
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_set_xattr(fs, path, follow, name, value, size, flags);
    fs_leave_path(fs);
    return result;
}

int hf_setxattr(hf_fs *fs, const char *path, const char *name, const void *value, size_t size,
                int flags)
{
    return set_xattr(fs, path, true, name, value, size, flags);
}

int hf_lsetxattr(hf_fs *fs, const char *path, const char *name, const void *value, size_t size,
                 int flags)
{
    return set_xattr(fs, path, false, name, value, size, flags);
}

int hf_fsetxattr(hf_fs *fs, int fd, const char *name, const void *value, size_t size, int flags)
{
    gate_enter(&fs->gate);
    int result = fs_set_xattr_of_file(fs, fd, name, value, size, flags);
    gate_leave(&fs->gate);
    return result;
}

static ssize_t list_xattrs(hf_fs *fs, const char *path, bool follow, char *names, size_t size)
{
    ssize_t result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_list_xattrs(fs, path, follow, names, size);
    fs_leave_path(fs);
    return result;
}

ssize_t hf_listxattr(hf_fs *fs, const char *path, char *names, size_t size)
{
    return list_xattrs(fs, path, true, names, size);
}

ssize_t hf_llistxattr(hf_fs *fs, const char *path, char *names, size_t size)
{
    return list_xattrs(fs, path, false, names, size);
}

ssize_t hf_flistxattr(hf_fs *fs, int fd, char *names, size_t size)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_list_xattrs_of_file(fs, fd, names, size);
    gate_leave(&fs->gate);
    return result;
}

static int remove_xattr(hf_fs *fs, const char *path, bool follow, const char *name)
{
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_remove_xattr(fs, path, follow, name);
    fs_leave_path(fs);
    return result;
}

int hf_removexattr(hf_fs *fs, const char *path, const char *name)
{
    return remove_xattr(fs, path, true, name);
}

int hf_lremovexattr(hf_fs *fs, const char *path, const char *name)
{
    return remove_xattr(fs, path, false, name);
}

int hf_fremovexattr(hf_fs *fs, int fd, const char *name)
{
    gate_enter(&fs->gate);
    int result = fs_remove_xattr_of_file(fs, fd, name);
    gate_leave(&fs->gate);
    return result;
}
