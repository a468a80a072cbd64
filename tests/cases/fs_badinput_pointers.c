/* Bad pointers: one line for every function and each of its pointers. */
#include "cases/fs_badinput.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

enum use {
    STRING, /* read up to its NUL */
    INPUT,  /* read */
    OUTPUT, /* written */
};

/*
 * By whom a bad pointer that is not NULL is found.
 *
 * KERNEL: the host's system call has it, and so it is -EFAULT for everybody. CHECKED: it is read or
 * written in this process, where fs.h leaves the outcome undefined, as for strlen() and memcpy();
 * only with check_pointers it is -EFAULT.
 */
enum finder {
    KERNEL,
    CHECKED,
};

/* fs, fd, to and dir are ours in the first call and the kernel's in the second; p is bad. */
/* clang-format off */
#define CALLS(X)                                                                                   \
    X(open_path, STRING, CHECKED, hf_open(fs, p, O_RDONLY, 0), open(p, O_RDONLY, 0))               \
    X(openat_path, STRING, CHECKED, hf_openat(fs, dir, p, O_CREAT, 0), openat(dir, p, O_CREAT, 0)) \
    X(stat_path, STRING, CHECKED, hf_stat(fs, p, &st), stat(p, &st))                               \
    X(stat_out, OUTPUT, CHECKED, hf_stat(fs, "file", p), stat("file", p))                          \
    X(stat_out_missing, OUTPUT, CHECKED, hf_stat(fs, "missing", p), stat("missing", p))            \
    X(lstat_path, STRING, CHECKED, hf_lstat(fs, p, &st), lstat(p, &st))                            \
    X(lstat_out, OUTPUT, CHECKED, hf_lstat(fs, "link", p), lstat("link", p))                       \
    X(fstat_out, OUTPUT, CHECKED, hf_fstat(fs, fd, p), fstat(fd, p))                               \
    X(fstat_out_bad_fd, OUTPUT, CHECKED, hf_fstat(fs, -1, p), fstat(-1, p))                        \
    X(fstatat_path, STRING, CHECKED, hf_fstatat(fs, dir, p, &st, 0), fstatat(dir, p, &st, 0))      \
    X(fstatat_out, OUTPUT, CHECKED, hf_fstatat(fs, dir, "dir", p, 0), fstatat(dir, "dir", p, 0))   \
    X(statx_path, STRING, CHECKED, hf_statx(fs, dir, p, 0, STATX_SIZE, &stx),                      \
      statx(dir, p, 0, STATX_SIZE, &stx))                                                          \
    X(statx_out, OUTPUT, CHECKED, hf_statx(fs, dir, "file", 0, STATX_SIZE, p),                     \
      statx(dir, "file", 0, STATX_SIZE, p))                                                        \
    X(statx_out_asked, OUTPUT, KERNEL, hf_statx(fs, dir, "file", 0, STATX_BTIME, p),               \
      statx(dir, "file", 0, STATX_BTIME, p))                                                       \
    X(access_path, STRING, CHECKED, hf_access(fs, p, R_OK), access(p, R_OK))                       \
    X(faccessat_path, STRING, CHECKED, hf_faccessat(fs, dir, p, 0, 0), faccessat(dir, p, 0, 0))    \
    X(statfs_path, STRING, CHECKED, hf_statfs(fs, p, &stfs), statfs(p, &stfs))                     \
    X(statfs_out, OUTPUT, KERNEL, hf_statfs(fs, "file", p), statfs("file", p))                     \
    X(fstatfs_out, OUTPUT, KERNEL, hf_fstatfs(fs, fd, p), fstatfs(fd, p))                          \
    X(truncate_path, STRING, CHECKED, hf_truncate(fs, p, 0), truncate(p, 0))                       \
    X(mkdir_path, STRING, CHECKED, hf_mkdir(fs, p, 0755), mkdir(p, 0755))                          \
    X(mkdirat_path, STRING, CHECKED, hf_mkdirat(fs, dir, p, 0755), mkdirat(dir, p, 0755))          \
    X(mknod_path, STRING, CHECKED, hf_mknod(fs, p, 0644, 0), mknod(p, 0644, 0))                    \
    X(mknodat_path, STRING, CHECKED, hf_mknodat(fs, dir, p, 0644, 0), mknodat(dir, p, 0644, 0))    \
    X(mkfifo_path, STRING, CHECKED, hf_mkfifo(fs, p, 0644), mkfifo(p, 0644))                       \
    X(mkfifoat_path, STRING, CHECKED, hf_mkfifoat(fs, dir, p, 0644), mkfifoat(dir, p, 0644))       \
    X(rmdir_path, STRING, CHECKED, hf_rmdir(fs, p), rmdir(p))                                      \
    X(unlink_path, STRING, CHECKED, hf_unlink(fs, p), unlink(p))                                   \
    X(unlinkat_path, STRING, CHECKED, hf_unlinkat(fs, dir, p, 0), unlinkat(dir, p, 0))             \
    X(rename_path, STRING, CHECKED, hf_rename(fs, p, "new"), rename(p, "new"))                     \
    X(rename_new_path, STRING, CHECKED, hf_rename(fs, "file", p), rename("file", p))               \
    X(renameat_path, STRING, CHECKED, hf_renameat(fs, dir, p, dir, "new"),                         \
      renameat(dir, p, dir, "new"))                                                                \
    X(renameat_new_path, STRING, CHECKED, hf_renameat(fs, dir, "file", dir, p),                    \
      renameat(dir, "file", dir, p))                                                               \
    X(renameat2_path, STRING, CHECKED, hf_renameat2(fs, dir, p, dir, "new", RENAME_NOREPLACE),     \
      renameat2(dir, p, dir, "new", RENAME_NOREPLACE))                                             \
    X(renameat2_new_path, STRING, CHECKED, hf_renameat2(fs, dir, "file", dir, p, 0),               \
      renameat2(dir, "file", dir, p, 0))                                                           \
    X(link_path, STRING, CHECKED, hf_link(fs, p, "new"), link(p, "new"))                           \
    X(link_new_path, STRING, CHECKED, hf_link(fs, "file", p), link("file", p))                     \
    X(linkat_path, STRING, CHECKED, hf_linkat(fs, dir, p, dir, "new", 0),                          \
      linkat(dir, p, dir, "new", 0))                                                               \
    X(linkat_new_path, STRING, CHECKED, hf_linkat(fs, dir, "file", dir, p, 0),                     \
      linkat(dir, "file", dir, p, 0))                                                              \
    X(symlink_target, STRING, CHECKED, hf_symlink(fs, p, "new"), symlink(p, "new"))                \
    X(symlink_path, STRING, CHECKED, hf_symlink(fs, "file", p), symlink("file", p))                \
    X(symlinkat_target, STRING, CHECKED, hf_symlinkat(fs, p, dir, "new"),                          \
      symlinkat(p, dir, "new"))                                                                    \
    X(symlinkat_path, STRING, CHECKED, hf_symlinkat(fs, "file", dir, p),                           \
      symlinkat("file", dir, p))                                                                   \
    X(readlink_path, STRING, CHECKED, hf_readlink(fs, p, buffer, 9), readlink(p, buffer, 9))       \
    X(readlink_buffer, OUTPUT, CHECKED, hf_readlink(fs, "link", p, 9), readlink("link", p, 9))     \
    X(readlink_buffer_no_link, OUTPUT, CHECKED, hf_readlink(fs, "file", p, 9),                     \
      readlink("file", p, 9))                                                                      \
    X(readlinkat_path, STRING, CHECKED, hf_readlinkat(fs, dir, p, buffer, 9),                      \
      readlinkat(dir, p, buffer, 9))                                                               \
    X(readlinkat_buffer, OUTPUT, CHECKED, hf_readlinkat(fs, dir, "link", p, 9),                    \
      readlinkat(dir, "link", p, 9))                                                               \
    X(chmod_path, STRING, CHECKED, hf_chmod(fs, p, 0600), chmod(p, 0600))                          \
    X(fchmodat_path, STRING, CHECKED, hf_fchmodat(fs, dir, p, 0600, 0), fchmodat(dir, p, 0600, 0)) \
    X(chown_path, STRING, CHECKED, hf_chown(fs, p, 0, 0), chown(p, 0, 0))                          \
    X(lchown_path, STRING, CHECKED, hf_lchown(fs, p, 0, 0), lchown(p, 0, 0))                       \
    X(fchownat_path, STRING, CHECKED, hf_fchownat(fs, dir, p, 0, 0, 0),                            \
      fchownat(dir, p, 0, 0, 0))                                                                   \
    X(utimensat_path, STRING, CHECKED, hf_utimensat(fs, dir, p, NULL, 0),                          \
      utimensat(dir, p, NULL, 0))                                                                  \
    X(utimensat_times, INPUT, KERNEL, hf_utimensat(fs, dir, "file", p, 0),                         \
      utimensat(dir, "file", p, 0))                                                                \
    X(utimensat_times_bad_flags, INPUT, KERNEL, hf_utimensat(fs, dir, "file", p, 1),               \
      utimensat(dir, "file", p, 1))                                                                \
    X(futimens_times, INPUT, KERNEL, hf_futimens(fs, fd, p), futimens(fd, p))                      \
    X(chdir_path, STRING, CHECKED, hf_chdir(fs, p), chdir(p))                                      \
    X(getcwd_buffer, OUTPUT, CHECKED, hf_getcwd(fs, p, 200), syscall(SYS_getcwd, p, 200))          \
    X(getcwd_buffer_small, OUTPUT, CHECKED, hf_getcwd(fs, p, 1), syscall(SYS_getcwd, p, 1))        \
    X(readdir_out, OUTPUT, CHECKED, hf_readdir(fs, dir, p), syscall(SYS_getdents64, dir, p, 280))  \
    X(read_buffer, OUTPUT, KERNEL, hf_read(fs, fd, p, 5), read(fd, p, 5))                          \
    X(write_buffer, INPUT, KERNEL, hf_write(fs, fd, p, 5), write(fd, p, 5))                        \
    X(pread_buffer, OUTPUT, KERNEL, hf_pread(fs, fd, p, 5, 1), pread(fd, p, 5, 1))                 \
    X(pwrite_buffer, INPUT, KERNEL, hf_pwrite(fs, fd, p, 5, 1), pwrite(fd, p, 5, 1))               \
    X(readv_vectors, INPUT, KERNEL, hf_readv(fs, fd, p, 2), readv(fd, p, 2))                       \
    X(writev_vectors, INPUT, KERNEL, hf_writev(fs, fd, p, 2), writev(fd, p, 2))                    \
    X(preadv_vectors, INPUT, KERNEL, hf_preadv(fs, fd, p, 2, 1), preadv(fd, p, 2, 1))              \
    X(pwritev_vectors, INPUT, KERNEL, hf_pwritev(fs, fd, p, 2, 1), pwritev(fd, p, 2, 1))           \
    X(readv_buffer, OUTPUT, KERNEL, hf_readv(fs, fd, vectors, 2), readv(fd, vectors, 2))           \
    X(writev_buffer, INPUT, KERNEL, hf_writev(fs, fd, vectors, 2), writev(fd, vectors, 2))         \
    X(preadv_buffer, OUTPUT, KERNEL, hf_preadv(fs, fd, vectors, 2, 1), preadv(fd, vectors, 2, 1))  \
    X(pwritev_buffer, INPUT, KERNEL, hf_pwritev(fs, fd, vectors, 2, 1),                            \
      pwritev(fd, vectors, 2, 1))                                                                  \
    X(copy_from_offset, OUTPUT, KERNEL, hf_copy_file_range(fs, fd, p, to, &offset, 3, 0),          \
      copy_file_range(fd, p, to, &offset, 3, 0))                                                   \
    X(copy_to_offset, OUTPUT, KERNEL, hf_copy_file_range(fs, fd, &offset, to, p, 3, 0),            \
      copy_file_range(fd, &offset, to, p, 3, 0))                                                   \
    X(getxattr_path, STRING, CHECKED, hf_getxattr(fs, p, "user.a", buffer, 9),                     \
      getxattr(p, "user.a", buffer, 9))                                                            \
    X(getxattr_name, STRING, CHECKED, hf_getxattr(fs, "file", p, buffer, 9),                       \
      getxattr("file", p, buffer, 9))                                                              \
    X(getxattr_value, OUTPUT, CHECKED, hf_getxattr(fs, "file", "user.a", p, 9),                    \
      getxattr("file", "user.a", p, 9))                                                            \
    X(getxattr_value_none, OUTPUT, CHECKED, hf_getxattr(fs, "file", "user.none", p, 9),            \
      getxattr("file", "user.none", p, 9))                                                         \
    X(getxattr_value_size, OUTPUT, CHECKED, hf_getxattr(fs, "file", "user.a", p, 0),               \
      getxattr("file", "user.a", p, 0))                                                            \
    X(lgetxattr_path, STRING, CHECKED, hf_lgetxattr(fs, p, "user.a", buffer, 9),                   \
      lgetxattr(p, "user.a", buffer, 9))                                                           \
    X(lgetxattr_name, STRING, CHECKED, hf_lgetxattr(fs, "file", p, buffer, 9),                     \
      lgetxattr("file", p, buffer, 9))                                                             \
    X(lgetxattr_value, OUTPUT, CHECKED, hf_lgetxattr(fs, "file", "user.a", p, 9),                  \
      lgetxattr("file", "user.a", p, 9))                                                           \
    X(fgetxattr_name, STRING, CHECKED, hf_fgetxattr(fs, fd, p, buffer, 9),                         \
      fgetxattr(fd, p, buffer, 9))                                                                 \
    X(fgetxattr_value, OUTPUT, CHECKED, hf_fgetxattr(fs, fd, "user.a", p, 9),                      \
      fgetxattr(fd, "user.a", p, 9))                                                               \
    X(setxattr_path, STRING, CHECKED, hf_setxattr(fs, p, "user.b", "b", 1, 0),                     \
      setxattr(p, "user.b", "b", 1, 0))                                                            \
    X(setxattr_name, STRING, CHECKED, hf_setxattr(fs, "file", p, "b", 1, 0),                       \
      setxattr("file", p, "b", 1, 0))                                                              \
    X(setxattr_value, INPUT, KERNEL, hf_setxattr(fs, "file", "user.b", p, 5, 0),                   \
      setxattr("file", "user.b", p, 5, 0))                                                         \
    X(lsetxattr_path, STRING, CHECKED, hf_lsetxattr(fs, p, "user.b", "b", 1, 0),                   \
      lsetxattr(p, "user.b", "b", 1, 0))                                                           \
    X(lsetxattr_name, STRING, CHECKED, hf_lsetxattr(fs, "file", p, "b", 1, 0),                     \
      lsetxattr("file", p, "b", 1, 0))                                                             \
    X(lsetxattr_value, INPUT, KERNEL, hf_lsetxattr(fs, "file", "user.b", p, 5, 0),                 \
      lsetxattr("file", "user.b", p, 5, 0))                                                        \
    X(fsetxattr_name, STRING, CHECKED, hf_fsetxattr(fs, fd, p, "b", 1, 0),                         \
      fsetxattr(fd, p, "b", 1, 0))                                                                 \
    X(fsetxattr_value, INPUT, KERNEL, hf_fsetxattr(fs, fd, "user.b", p, 5, 0),                     \
      fsetxattr(fd, "user.b", p, 5, 0))                                                            \
    X(listxattr_path, STRING, CHECKED, hf_listxattr(fs, p, buffer, 64), listxattr(p, buffer, 64))  \
    X(listxattr_names, OUTPUT, CHECKED, hf_listxattr(fs, "file", p, 64), listxattr("file", p, 64)) \
    X(llistxattr_path, STRING, CHECKED, hf_llistxattr(fs, p, buffer, 64),                          \
      llistxattr(p, buffer, 64))                                                                   \
    X(llistxattr_names, OUTPUT, CHECKED, hf_llistxattr(fs, "file", p, 64),                         \
      llistxattr("file", p, 64))                                                                   \
    X(flistxattr_names, OUTPUT, CHECKED, hf_flistxattr(fs, fd, p, 64), flistxattr(fd, p, 64))      \
    X(removexattr_path, STRING, CHECKED, hf_removexattr(fs, p, "user.a"),                          \
      removexattr(p, "user.a"))                                                                    \
    X(removexattr_name, STRING, CHECKED, hf_removexattr(fs, "file", p), removexattr("file", p))    \
    X(lremovexattr_path, STRING, CHECKED, hf_lremovexattr(fs, p, "user.a"),                        \
      lremovexattr(p, "user.a"))                                                                   \
    X(lremovexattr_name, STRING, CHECKED, hf_lremovexattr(fs, "file", p), lremovexattr("file", p)) \
    X(fremovexattr_name, STRING, CHECKED, hf_fremovexattr(fs, fd, p), fremovexattr(fd, p))
/* clang-format on */

enum call {
#define NUMBER(name, use, finder, ours, theirs) CALL_##name,
    CALLS(NUMBER) CALL_COUNT,
};

static const struct {
    const char *name;
    enum use use;
    enum finder finder;
} calls[] = {
#define DESCRIBE(name, use, finder, ours, theirs) [CALL_##name] = {#name, use, finder},
    CALLS(DESCRIBE)};

/* What the calls above use, some of it only on one side. */
#define ARGUMENTS(file, target, directory)                                                         \
    const int fd = file, to = target, dir = directory;                                             \
    struct stat st;                                                                                \
    struct statx stx;                                                                              \
    struct statfs stfs;                                                                            \
    char buffer[64];                                                                               \
    off_t offset = 0;                                                                              \
    struct iovec vectors[2] = {{.iov_base = buffer, .iov_len = 2}, {.iov_base = p, .iov_len = 5}}

static long call_ours(const struct badinput *bad, enum call call, void *p)
{
    hf_fs *fs = bad->fs;
    ARGUMENTS(bad->ours_fd, bad->ours_to, bad->ours_directory);
    memset(buffer, 'v', sizeof buffer);
    switch (call) {
#define OURS(name, use, finder, ours, theirs)                                                      \
    case CALL_##name:                                                                              \
        return ours;
        CALLS(OURS)
    default:
        abort();
    }
}

static long call_kernel(const struct badinput *bad, enum call call, void *p)
{
    ARGUMENTS(bad->theirs_fd, bad->theirs_to, bad->theirs_directory);
    memset(buffer, 'v', sizeof buffer);
    switch (call) {
#define THEIRS(name, use, finder, ours, theirs)                                                    \
    case CALL_##name:                                                                              \
        return badinput_kernel(theirs);
        CALLS(THEIRS)
    default:
        abort();
    }
}

static void try_one(struct badinput *bad, enum call call, const char *how, uintptr_t address)
{
    void *p = (void *)address;
    CHECK_EQUAL(lseek(bad->theirs_directory, 0, SEEK_SET), 0);
    CHECK_EQUAL(hf_lseek(bad->fs, bad->ours_directory, 0, SEEK_SET), 0);
    /* What can be written of it may have been. */
    memset(bad->writable, 'a', PAGE);
    const long ours = call_ours(bad, call, p);
    memset(bad->writable, 'a', PAGE);
    badinput_compare(bad, calls[call].name, how, ours, call_kernel(bad, call, p));
    badinput_compare(bad,
                     calls[call].name,
                     "the offset",
                     hf_lseek(bad->fs, bad->ours_fd, 0, SEEK_CUR),
                     lseek(bad->theirs_fd, 0, SEEK_CUR));
    badinput_compare(bad,
                     calls[call].name,
                     "the position",
                     hf_lseek(bad->fs, bad->ours_directory, 0, SEEK_CUR),
                     0);
}

static void try_call(struct badinput *bad, enum call call, const char *pages)
{
    const uintptr_t good = (uintptr_t)pages;
    const uintptr_t read_only = good + PAGE;
    const uintptr_t untouchable = good + 2 * PAGE;
    const uintptr_t unmapped = good + 3 * PAGE;

    try_one(bad, call, "not mapped", unmapped);
    try_one(bad, call, "not accessible", untouchable);
    try_one(bad, call, "of the kernel", (uintptr_t)0xffff888000000000);
    try_one(bad, call, "no address", (uintptr_t)0x8000000000000000);
    try_one(bad, call, "the last", UINTPTR_MAX);
    if (calls[call].use == OUTPUT) {
        try_one(bad, call, "read-only", read_only);
        try_one(bad, call, "runs into what is read-only", read_only - 1);
    } else {
        try_one(bad, call, "runs into what is not accessible", untouchable - 1);
        try_one(bad, call, "runs into it later", untouchable - 40);
    }
}

void badinput_try_pointers(struct badinput *bad, bool checked)
{
    char *pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    memset(pages, 'a', 4 * PAGE);
    CHECK_EQUAL(mprotect(pages + PAGE, PAGE, PROT_READ), 0);
    CHECK_EQUAL(mprotect(pages + 2 * PAGE, PAGE, PROT_NONE), 0);
    CHECK_EQUAL(munmap(pages + 3 * PAGE, PAGE), 0);
    bad->writable = pages;
    for (enum call call = 0; call < CALL_COUNT; call++) {
        try_one(bad, call, "NULL", 0);
        if (checked || calls[call].finder == KERNEL) {
            try_call(bad, call, pages);
        }
    }
    munmap(pages, 3 * PAGE);
}
