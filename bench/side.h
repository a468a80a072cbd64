/*
 * The two sides of a comparison: the same calls made to a filesystem of ours, or to the kernel. So
 * that what is compared is done by the same code.
 */
#ifndef HF_BENCH_SIDE_H
#define HF_BENCH_SIDE_H

#include "harness.h"

#include <holdfast/fs.h>

enum side { OURS, KERNELS, SIDES };

/* As the calls of these names, by @fs, or by the kernel when it is NULL. Return: what those of
 * holdfast/fs.h do: a negative errno on failure. */
int side_open(hf_fs *fs, const char *path, int flags, mode_t mode);
int side_close(hf_fs *fs, int fd);
ssize_t side_read(hf_fs *fs, int fd, void *buffer, size_t size);
ssize_t side_pread(hf_fs *fs, int fd, void *buffer, size_t size, off_t offset);
ssize_t side_pwrite(hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset);
ssize_t side_write(hf_fs *fs, int fd, const void *buffer, size_t size);
int side_fsync(hf_fs *fs, int fd);
int side_fchmod(hf_fs *fs, int fd, mode_t mode);
int side_futimens(hf_fs *fs, int fd, const struct timespec times[2]);
int side_fstat(hf_fs *fs, int fd, struct stat *attributes);
int side_mkdir(hf_fs *fs, const char *path, mode_t mode);
int side_rmdir(hf_fs *fs, const char *path);
int side_unlink(hf_fs *fs, const char *path);

/* fcntl(2) with F_SETLK and its like, for one byte. */
int side_lock(hf_fs *fs, int fd, int command, short type, off_t byte);

/* Make a file of so many zeros. Complains on failure. */
bool side_make_file(hf_fs *fs, const char *path, size_t size);

#endif
