/* Descriptors that there are not, and flags that mean nothing. */
#include "cases/fs_badinput.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- descriptors ---- */

/* x is no descriptor; fd and to are open, ours in the first call and the kernel's in the second. */
/* clang-format off */
#define DESCRIPTOR_CALLS(X)                                                                        \
    X(close, hf_close(fs, x), close(x))                                                            \
    X(dup, hf_dup(fs, x), dup(x))                                                                  \
    X(dup2, hf_dup2(fs, x, 100), dup2(x, 100))                                                     \
    X(dup2_same, hf_dup2(fs, x, x), dup2(x, x))                                                    \
    X(dup3, hf_dup3(fs, x, 100, 0), dup3(x, 100, 0))                                               \
    X(dup3_flags, hf_dup3(fs, x, 100, 1), dup3(x, 100, 1))                                         \
    X(read, hf_read(fs, x, buffer, 5), read(x, buffer, 5))                                         \
    X(read_nothing, hf_read(fs, x, buffer, 0), read(x, buffer, 0))                                 \
    X(write, hf_write(fs, x, buffer, 5), write(x, buffer, 5))                                      \
    X(pread, hf_pread(fs, x, buffer, 5, 0), pread(x, buffer, 5, 0))                                \
    X(pread_offset, hf_pread(fs, x, buffer, 5, -1), pread(x, buffer, 5, -1))                       \
    X(pwrite, hf_pwrite(fs, x, buffer, 5, 0), pwrite(x, buffer, 5, 0))                             \
    X(readv, hf_readv(fs, x, &vector, 1), readv(x, &vector, 1))                                    \
    X(readv_vectors, hf_readv(fs, x, NULL, 1), syscall(SYS_readv, x, NULL, 1))                     \
    X(writev, hf_writev(fs, x, &vector, 1), writev(x, &vector, 1))                                 \
    X(preadv, hf_preadv(fs, x, &vector, 1, 0), preadv(x, &vector, 1, 0))                           \
    X(pwritev, hf_pwritev(fs, x, &vector, 1, 0), pwritev(x, &vector, 1, 0))                        \
    X(lseek, hf_lseek(fs, x, 0, SEEK_SET), lseek(x, 0, SEEK_SET))                                  \
    X(lseek_whence, hf_lseek(fs, x, 0, 99), lseek(x, 0, 99))                                       \
    X(readdir, hf_readdir(fs, x, &entry), syscall(SYS_getdents64, x, buffer, 64))                  \
    X(fstat, hf_fstat(fs, x, &st), fstat(x, &st))                                                  \
    X(ftruncate, hf_ftruncate(fs, x, 0), ftruncate(x, 0))                                          \
    X(ftruncate_size, hf_ftruncate(fs, x, -1), ftruncate(x, -1))                                   \
    X(fallocate, hf_fallocate(fs, x, 0, 0, 1), fallocate(x, 0, 0, 1))                              \
    X(copy_from, hf_copy_file_range(fs, x, NULL, to, NULL, 1, 0),                                  \
      copy_file_range(x, NULL, to, NULL, 1, 0))                                                    \
    X(copy_to, hf_copy_file_range(fs, fd, NULL, x, NULL, 1, 0),                                    \
      copy_file_range(fd, NULL, x, NULL, 1, 0))                                                    \
    X(copy_flags, hf_copy_file_range(fs, fd, NULL, x, NULL, 1, 1),                                 \
      copy_file_range(fd, NULL, x, NULL, 1, 1))                                                    \
    X(fsync, hf_fsync(fs, x), fsync(x))                                                            \
    X(fdatasync, hf_fdatasync(fs, x), fdatasync(x))                                                \
    X(syncfs, hf_syncfs(fs, x), syncfs(x))                                                         \
    X(mmap, hf_mmap(fs, NULL, 4096, PROT_READ, MAP_SHARED, x, 0, &address),                        \
      (long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, x, 0))                                         \
    X(dupfd, hf_fcntl(fs, x, F_DUPFD, 0), fcntl(x, F_DUPFD, 0))                                    \
    X(dupfd_minimum, hf_fcntl(fs, x, F_DUPFD, -1), fcntl(x, F_DUPFD, -1))                          \
    X(getfd, hf_fcntl(fs, x, F_GETFD), fcntl(x, F_GETFD))                                          \
    X(setfd, hf_fcntl(fs, x, F_SETFD, FD_CLOEXEC), fcntl(x, F_SETFD, FD_CLOEXEC))                  \
    X(getfl, hf_fcntl(fs, x, F_GETFL), fcntl(x, F_GETFL))                                          \
    X(setfl, hf_fcntl(fs, x, F_SETFL, O_APPEND), fcntl(x, F_SETFL, O_APPEND))                      \
    X(fcntl_command, hf_fcntl(fs, x, 98765), fcntl(x, 98765))                                      \
    X(fchmod, hf_fchmod(fs, x, 0600), fchmod(x, 0600))                                             \
    X(fchown, hf_fchown(fs, x, 0, 0), fchown(x, 0, 0))                                             \
    X(futimens, hf_futimens(fs, x, NULL), futimens(x, NULL))                                       \
    X(fstatfs, hf_fstatfs(fs, x, &stfs), fstatfs(x, &stfs))                                        \
    X(fchdir, hf_fchdir(fs, x), fchdir(x))                                                         \
    X(fgetxattr, hf_fgetxattr(fs, x, "user.a", buffer, 9), fgetxattr(x, "user.a", buffer, 9))      \
    X(fsetxattr, hf_fsetxattr(fs, x, "user.b", "b", 1, 0), fsetxattr(x, "user.b", "b", 1, 0))      \
    X(flistxattr, hf_flistxattr(fs, x, buffer, 64), flistxattr(x, buffer, 64))                     \
    X(fremovexattr, hf_fremovexattr(fs, x, "user.a"), fremovexattr(x, "user.a"))

/* The same for directories where a path starts; AT_FDCWD is good there. */
#define DIRECTORY_CALLS(X)                                                                         \
    X(openat, hf_openat(fs, x, "file", O_RDONLY, 0), openat(x, "file", O_RDONLY, 0))               \
    X(openat_create, hf_openat(fs, x, "new", O_CREAT, 0600), openat(x, "new", O_CREAT, 0600))      \
    X(openat_empty, hf_openat(fs, x, "", O_RDONLY, 0), openat(x, "", O_RDONLY, 0))                 \
    X(fstatat, hf_fstatat(fs, x, "file", &st, 0), fstatat(x, "file", &st, 0))                      \
    X(fstatat_absolute, hf_fstatat(fs, x, "/", &st, 0), fstatat(x, "/", &st, 0))                   \
    X(fstatat_empty, hf_fstatat(fs, x, "", &st, AT_EMPTY_PATH),                                    \
      fstatat(x, "", &st, AT_EMPTY_PATH))                                                          \
    X(statx, hf_statx(fs, x, "file", 0, STATX_SIZE, &stx), statx(x, "file", 0, STATX_SIZE, &stx))  \
    X(faccessat, hf_faccessat(fs, x, "file", 0, 0), faccessat(x, "file", 0, 0))                    \
    X(mkdirat, hf_mkdirat(fs, x, "new", 0700), mkdirat(x, "new", 0700))                            \
    X(mknodat, hf_mknodat(fs, x, "new", 0600, 0), mknodat(x, "new", 0600, 0))                      \
    X(mkfifoat, hf_mkfifoat(fs, x, "new", 0600), mkfifoat(x, "new", 0600))                         \
    X(unlinkat, hf_unlinkat(fs, x, "file", 0), unlinkat(x, "file", 0))                             \
    X(renameat, hf_renameat(fs, x, "file", dir, "new"), renameat(x, "file", dir, "new"))           \
    X(renameat_new, hf_renameat(fs, dir, "file", x, "new"), renameat(dir, "file", x, "new"))       \
    X(linkat, hf_linkat(fs, x, "file", dir, "new", 0), linkat(x, "file", dir, "new", 0))           \
    X(linkat_new, hf_linkat(fs, dir, "file", x, "new", 0), linkat(dir, "file", x, "new", 0))       \
    X(linkat_empty, hf_linkat(fs, x, "", dir, "new", AT_EMPTY_PATH),                               \
      linkat(x, "", dir, "new", AT_EMPTY_PATH))                                                    \
    X(symlinkat, hf_symlinkat(fs, "file", x, "new"), symlinkat("file", x, "new"))                  \
    X(readlinkat, hf_readlinkat(fs, x, "link", buffer, 9), readlinkat(x, "link", buffer, 9))       \
    X(fchmodat, hf_fchmodat(fs, x, "file", 0600, 0), fchmodat(x, "file", 0600, 0))                 \
    X(fchownat, hf_fchownat(fs, x, "file", 0, 0, 0), fchownat(x, "file", 0, 0, 0))                 \
    X(utimensat, hf_utimensat(fs, x, "file", NULL, 0), utimensat(x, "file", NULL, 0))

/* fd, to and dir are open; what is wrong is a flag, a size, an offset or a name. */
#define FLAG_CALLS(X)                                                                              \
    X(open_accmode, hf_open(fs, "dir", O_WRONLY, 0), open("dir", O_WRONLY, 0))                     \
    X(open_directory, hf_open(fs, "file", O_DIRECTORY, 0), open("file", O_DIRECTORY, 0))           \
    X(open_excl, hf_open(fs, "file", O_CREAT | O_EXCL, 0), open("file", O_CREAT | O_EXCL, 0))      \
    X(open_tmpfile, hf_open(fs, "dir", O_TMPFILE, 0), open("dir", O_TMPFILE, 0))                   \
    X(open_empty, hf_open(fs, "", O_RDONLY, 0), open("", O_RDONLY, 0))                             \
    X(fstatat_flags, hf_fstatat(fs, dir, "file", &st, 1), fstatat(dir, "file", &st, 1))            \
    X(statx_flags, hf_statx(fs, dir, "file", 1, 0, &stx), statx(dir, "file", 1, 0, &stx))          \
    X(statx_sync, hf_statx(fs, dir, "file", AT_STATX_SYNC_TYPE, 0, &stx),                          \
      statx(dir, "file", AT_STATX_SYNC_TYPE, 0, &stx))                                             \
    X(statx_mask, hf_statx(fs, dir, "file", 0, STATX__RESERVED, &stx),                             \
      statx(dir, "file", 0, STATX__RESERVED, &stx))                                                \
    X(access_mode, hf_access(fs, "file", 8), access("file", 8))                                    \
    X(faccessat_flags, hf_faccessat(fs, dir, "file", 0, 1), faccessat(dir, "file", 0, 1))          \
    X(truncate_size, hf_truncate(fs, "file", -1), truncate("file", -1))                            \
    X(truncate_missing, hf_truncate(fs, "missing", -1), truncate("missing", -1))                   \
    X(truncate_directory, hf_truncate(fs, "dir", 0), truncate("dir", 0))                           \
    X(truncate_pipe, hf_truncate(fs, "pipe", 0), truncate("pipe", 0))                              \
    X(ftruncate_size, hf_ftruncate(fs, fd, -1), ftruncate(fd, -1))                                 \
    X(ftruncate_directory, hf_ftruncate(fs, dir, 0), ftruncate(dir, 0))                            \
    X(mknod_type, hf_mknod(fs, "new", 0170644, 0), mknod("new", 0170644, 0))                       \
    X(mknod_directory, hf_mknod(fs, "new", S_IFDIR, 0), mknod("new", S_IFDIR, 0))                  \
    X(mknod_link, hf_mknod(fs, "new", S_IFLNK, 0), mknod("new", S_IFLNK, 0))                       \
    X(unlinkat_flags, hf_unlinkat(fs, dir, "file", 1), unlinkat(dir, "file", 1))                   \
    X(unlink_directory, hf_unlink(fs, "dir"), unlink("dir"))                                       \
    X(rmdir_file, hf_rmdir(fs, "file"), rmdir("file"))                                             \
    X(rename_flags, hf_renameat2(fs, dir, "file", dir, "new", 8),                                  \
      renameat2(dir, "file", dir, "new", 8))                                                       \
    X(rename_both, hf_renameat2(fs, dir, "file", dir, "new", 3),                                   \
      renameat2(dir, "file", dir, "new", 3))                                                       \
    X(rename_whiteout_exchange, hf_renameat2(fs, dir, "file", dir, "other", 6),                    \
      renameat2(dir, "file", dir, "other", 6))                                                     \
    X(linkat_flags, hf_linkat(fs, dir, "file", dir, "new", 1),                                     \
      linkat(dir, "file", dir, "new", 1))                                                          \
    X(link_directory, hf_link(fs, "dir", "new"), link("dir", "new"))                               \
    X(symlink_empty, hf_symlink(fs, "", "new"), symlink("", "new"))                                \
    X(readlink_size, hf_readlink(fs, "link", buffer, 0), readlink("link", buffer, 0))              \
    X(fchmodat_flags, hf_fchmodat(fs, dir, "file", 0, 1), fchmodat(dir, "file", 0, 1))             \
    X(fchownat_flags, hf_fchownat(fs, dir, "file", 0, 0, 1), fchownat(dir, "file", 0, 0, 1))       \
    X(utimensat_flags, hf_utimensat(fs, dir, "file", NULL, 1), utimensat(dir, "file", NULL, 1))    \
    X(utimensat_nsec, hf_utimensat(fs, dir, "file", wrong_times, 0),                               \
      utimensat(dir, "file", wrong_times, 0))                                                      \
    X(futimens_nsec, hf_futimens(fs, fd, wrong_times), futimens(fd, wrong_times))                  \
    X(chdir_file, hf_chdir(fs, "file"), chdir("file"))                                             \
    X(fchdir_file, hf_fchdir(fs, fd), fchdir(fd))                                                  \
    X(read_directory, hf_read(fs, dir, buffer, 5), read(dir, buffer, 5))                           \
    X(write_directory, hf_write(fs, dir, buffer, 5), write(dir, buffer, 5))                        \
    X(pread_offset, hf_pread(fs, fd, buffer, 5, -1), pread(fd, buffer, 5, -1))                     \
    X(pwrite_offset, hf_pwrite(fs, fd, buffer, 5, -1), pwrite(fd, buffer, 5, -1))                  \
    X(pwrite_far, hf_pwrite(fs, fd, buffer, 5, INT64_MAX - 2),                                     \
      pwrite(fd, buffer, 5, INT64_MAX - 2))                                                        \
    X(readv_count, hf_readv(fs, fd, &vector, -1), syscall(SYS_readv, fd, &vector, -1))             \
    X(readv_many, hf_readv(fs, fd, &vector, IOV_MAX + 1),                                          \
      syscall(SYS_readv, fd, &vector, IOV_MAX + 1))                                                \
    X(writev_count, hf_writev(fs, fd, &vector, -1), syscall(SYS_writev, fd, &vector, -1))          \
    X(writev_size, hf_writev(fs, fd, &huge, 1), writev(fd, &huge, 1))                              \
    X(lseek_whence, hf_lseek(fs, fd, 0, 99), lseek(fd, 0, 99))                                     \
    X(lseek_negative, hf_lseek(fs, fd, -1, SEEK_SET), lseek(fd, -1, SEEK_SET))                     \
    X(lseek_far, hf_lseek(fs, fd, INT64_MAX, SEEK_END), lseek(fd, INT64_MAX, SEEK_END))            \
    X(lseek_data, hf_lseek(fs, fd, 1000, SEEK_DATA), lseek(fd, 1000, SEEK_DATA))                   \
    X(readdir_file, hf_readdir(fs, fd, &entry), syscall(SYS_getdents64, fd, buffer, 64))           \
    X(fallocate_mode, hf_fallocate(fs, fd, 1 << 20, 0, 1), fallocate(fd, 1 << 20, 0, 1))           \
    X(fallocate_length, hf_fallocate(fs, fd, 0, 0, 0), fallocate(fd, 0, 0, 0))                     \
    X(fallocate_offset, hf_fallocate(fs, fd, 0, -1, 1), fallocate(fd, 0, -1, 1))                   \
    X(fallocate_directory, hf_fallocate(fs, dir, 0, 0, 1), fallocate(dir, 0, 0, 1))                \
    X(copy_flags, hf_copy_file_range(fs, fd, NULL, to, NULL, 1, 1),                                \
      copy_file_range(fd, NULL, to, NULL, 1, 1))                                                   \
    X(copy_overlap, hf_copy_file_range(fs, fd, NULL, fd, NULL, 4, 0),                              \
      copy_file_range(fd, NULL, fd, NULL, 4, 0))                                                   \
    X(copy_offset, hf_copy_file_range(fs, fd, &negative, to, NULL, 4, 0),                          \
      copy_file_range(fd, &negative, to, NULL, 4, 0))                                              \
    X(copy_directory, hf_copy_file_range(fs, dir, NULL, to, NULL, 1, 0),                           \
      copy_file_range(dir, NULL, to, NULL, 1, 0))                                                  \
    X(mmap_offset, hf_mmap(fs, NULL, 1, PROT_READ, MAP_SHARED, fd, 1, &address),                   \
      (long)mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 1))                                           \
    X(mmap_flags, hf_mmap(fs, NULL, 1, PROT_READ, 0, fd, 0, &address),                             \
      (long)mmap(NULL, 1, PROT_READ, 0, fd, 0))                                                    \
    X(mmap_length, hf_mmap(fs, NULL, 0, PROT_READ, MAP_SHARED, fd, 0, &address),                   \
      (long)mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0))                                           \
    X(munmap, hf_munmap(fs, (char *)1, 1), munmap((char *)1, 1))                                   \
    X(dup2_range, hf_dup2(fs, fd, INT_MAX), dup2(fd, INT_MAX))                                     \
    X(dup2_negative, hf_dup2(fs, fd, -1), dup2(fd, -1))                                            \
    X(dup3_same, hf_dup3(fs, fd, fd, 0), dup3(fd, fd, 0))                                          \
    X(dup3_flags, hf_dup3(fs, fd, 100, O_APPEND), dup3(fd, 100, O_APPEND))                         \
    X(dupfd_minimum, hf_fcntl(fs, fd, F_DUPFD, -1), fcntl(fd, F_DUPFD, -1))                        \
    X(dupfd_far, hf_fcntl(fs, fd, F_DUPFD, INT_MAX), fcntl(fd, F_DUPFD, INT_MAX))                  \
    X(fcntl_command, hf_fcntl(fs, fd, 98765), fcntl(fd, 98765))                                    \
    X(getxattr_name, hf_getxattr(fs, "file", "", buffer, 9), getxattr("file", "", buffer, 9))      \
    X(getxattr_range, hf_getxattr(fs, "file", "user.a", buffer, 1),                                \
      getxattr("file", "user.a", buffer, 1))                                                       \
    X(setxattr_flags, hf_setxattr(fs, "file", "user.b", "b", 1, 9),                                \
      setxattr("file", "user.b", "b", 1, 9))                                                       \
    X(setxattr_there, hf_setxattr(fs, "file", "user.a", "b", 1, XATTR_CREATE),                     \
      setxattr("file", "user.a", "b", 1, XATTR_CREATE))                                            \
    X(setxattr_none, hf_setxattr(fs, "file", "user.b", "b", 1, XATTR_REPLACE),                     \
      setxattr("file", "user.b", "b", 1, XATTR_REPLACE))                                           \
    X(setxattr_size, hf_setxattr(fs, "file", "user.b", buffer, 1 << 20, 0),                        \
      syscall(SYS_setxattr, "file", "user.b", buffer, 1 << 20, 0))                                 \
    X(setxattr_space, hf_setxattr(fs, "file", "nonsense", "b", 1, 0),                              \
      setxattr("file", "nonsense", "b", 1, 0))                                                     \
    X(removexattr_none, hf_removexattr(fs, "file", "user.b"), removexattr("file", "user.b"))       \
    X(getcwd_size, hf_getcwd(fs, buffer, 1), syscall(SYS_getcwd, buffer, 1))
/* clang-format on */

/* One function for each list and side, which makes the call of a number. */
#define NUMBER(name, ours, theirs) CALL_##name,
#define NAME(name, ours, theirs) #name,
#define OURS(name, ours, theirs)                                                                   \
    case CALL_##name:                                                                              \
        return ours;
#define THEIRS(name, ours, theirs)                                                                 \
    case CALL_##name:                                                                              \
        return badinput_kernel(theirs);

#define ARGUMENTS(file, target, directory)                                                         \
    const int fd = file, to = target, dir = directory;                                             \
    struct stat st;                                                                                \
    struct statx stx;                                                                              \
    struct statfs stfs;                                                                            \
    hf_dirent entry;                                                                               \
    char buffer[64] = "";                                                                          \
    off_t negative = -1;                                                                           \
    void *address;                                                                                 \
    const struct timespec wrong_times[2] = {{.tv_nsec = -5}, {.tv_nsec = 0}};                      \
    const struct iovec vector = {.iov_base = buffer, .iov_len = 1};                                \
    const struct iovec huge = {.iov_base = buffer, .iov_len = SIZE_MAX};                           \
    (void)fd, (void)to, (void)dir, (void)st, (void)stx, (void)stfs, (void)entry, (void)buffer;     \
    (void)negative, (void)address, (void)wrong_times, (void)vector, (void)huge

#define CALLERS(list, prefix)                                                                      \
    static long prefix##_ours(const struct badinput *bad, int call, int x)                         \
    {                                                                                              \
        enum { list(NUMBER) };                                                                     \
        hf_fs *fs = bad->fs;                                                                       \
        ARGUMENTS(bad->ours_fd, bad->ours_to, bad->ours_directory);                                \
        switch (call) {                                                                            \
            list(OURS) default : abort();                                                          \
        }                                                                                          \
    }                                                                                              \
    static long prefix##_kernel(const struct badinput *bad, int call, int x)                       \
    {                                                                                              \
        enum { list(NUMBER) };                                                                     \
        ARGUMENTS(bad->theirs_fd, bad->theirs_to, bad->theirs_directory);                          \
        switch (call) {                                                                            \
            list(THEIRS) default : abort();                                                        \
        }                                                                                          \
    }                                                                                              \
    static const char *const prefix##_names[] = {list(NAME)};

CALLERS(DESCRIPTOR_CALLS, descriptor)
CALLERS(DIRECTORY_CALLS, directory)
CALLERS(FLAG_CALLS, flag)

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* The kernel has other descriptors than we: it is asked about one that nobody has. Some of its
 * versions take AT_FDCWD for a descriptor in a few calls; that is not asked. */
#define NO_DESCRIPTOR 54321

void badinput_try_descriptors(struct badinput *bad, int fd, const char *how)
{
    const int theirs =
        (fd < 0 && fd != AT_FDCWD) || fd >= HF_FS_DESCRIPTORS_MAX ? fd : NO_DESCRIPTOR;
    for (int call = 0; call < COUNT(descriptor_names); call++) {
        const long ours = descriptor_ours(bad, call, fd);
        badinput_compare(
            bad, descriptor_names[call], how, ours, descriptor_kernel(bad, call, theirs));
    }
    for (int call = 0; call < COUNT(directory_names) && fd != AT_FDCWD; call++) {
        const long ours = directory_ours(bad, call, fd);
        badinput_compare(
            bad, directory_names[call], how, ours, directory_kernel(bad, call, theirs));
    }
}

void badinput_try_flags(struct badinput *bad)
{
    for (int call = 0; call < COUNT(flag_names); call++) {
        const long ours = flag_ours(bad, call, -1);
        badinput_compare(bad, flag_names[call], "wrong", ours, flag_kernel(bad, call, -1));
    }
}
