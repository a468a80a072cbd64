#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lock.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t kernels(ssize_t result)
{
    return result < 0 ? -errno : result;
}

int side_open(hf_fs *fs, const char *path, int flags, mode_t mode)
{
    return fs != NULL ? hf_open(fs, path, flags, mode)
                      : (int)kernels(open(path, flags | O_CLOEXEC, mode));
}

int side_close(hf_fs *fs, int fd)
{
    return fs != NULL ? hf_close(fs, fd) : (int)kernels(close(fd));
}

ssize_t side_read(hf_fs *fs, int fd, void *buffer, size_t size)
{
    return fs != NULL ? hf_read(fs, fd, buffer, size) : kernels(read(fd, buffer, size));
}

ssize_t side_pread(hf_fs *fs, int fd, void *buffer, size_t size, off_t offset)
{
    return fs != NULL ? hf_pread(fs, fd, buffer, size, offset)
                      : kernels(pread(fd, buffer, size, offset));
}

ssize_t side_pwrite(hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset)
{
    return fs != NULL ? hf_pwrite(fs, fd, buffer, size, offset)
                      : kernels(pwrite(fd, buffer, size, offset));
}

ssize_t side_write(hf_fs *fs, int fd, const void *buffer, size_t size)
{
    return fs != NULL ? hf_write(fs, fd, buffer, size) : kernels(write(fd, buffer, size));
}

int side_fsync(hf_fs *fs, int fd)
{
    return fs != NULL ? hf_fsync(fs, fd) : (int)kernels(fsync(fd));
}

int side_fchmod(hf_fs *fs, int fd, mode_t mode)
{
    return fs != NULL ? hf_fchmod(fs, fd, mode) : (int)kernels(fchmod(fd, mode));
}

int side_futimens(hf_fs *fs, int fd, const struct timespec times[2])
{
    return fs != NULL ? hf_futimens(fs, fd, times) : (int)kernels(futimens(fd, times));
}

int side_fstat(hf_fs *fs, int fd, struct stat *attributes)
{
    return fs != NULL ? hf_fstat(fs, fd, attributes) : (int)kernels(fstat(fd, attributes));
}

int side_mkdir(hf_fs *fs, const char *path, mode_t mode)
{
    return fs != NULL ? hf_mkdir(fs, path, mode) : (int)kernels(mkdir(path, mode));
}

int side_rmdir(hf_fs *fs, const char *path)
{
    return fs != NULL ? hf_rmdir(fs, path) : (int)kernels(rmdir(path));
}

int side_unlink(hf_fs *fs, const char *path)
{
    return fs != NULL ? hf_unlink(fs, path) : (int)kernels(unlink(path));
}

int side_lock(hf_fs *fs, int fd, int command, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fs != NULL ? hf_lock(fs, fd, command, &lock, NULL)
                      : (int)kernels(fcntl(fd, command, &lock));
}

bool side_make_file(hf_fs *fs, const char *path, size_t size)
{
    static const char zeros[4096];
    const int fd = side_open(fs, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    ssize_t done = fd;
    while (done >= 0 && size > 0) {
        done = side_write(fs, fd, zeros, size < sizeof(zeros) ? size : sizeof(zeros));
        size -= done > 0 ? (size_t)done : 0;
    }
    if (fd >= 0) {
        side_close(fs, fd);
    }
    return done >= 0 || bench_fail("%s: %s", path, strerror((int)-done));
}
