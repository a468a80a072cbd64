/* The coherence matrix: what looks at something. */
#include "cases/fs_matrix.h"

#include <limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- attributes ---- */

/* All but the time of access. */
static uint64_t of_attributes(long result, const struct stat *attributes)
{
    if (result < 0) {
        return (uint64_t)result;
    }
    uint64_t sum = call_mix(attributes->st_ino, attributes->st_mode);
    sum = call_mix(sum, attributes->st_nlink);
    sum = call_mix(sum, attributes->st_uid);
    sum = call_mix(sum, attributes->st_gid);
    sum = call_mix(sum, (uint64_t)attributes->st_size);
    sum = call_mix(sum, (uint64_t)attributes->st_mtim.tv_sec);
    sum = call_mix(sum, (uint64_t)attributes->st_mtim.tv_nsec);
    sum = call_mix(sum, (uint64_t)attributes->st_ctim.tv_sec);
    return call_mix(sum, (uint64_t)attributes->st_ctim.tv_nsec);
}

static uint64_t see_stat(const struct look *look)
{
    struct stat attributes;
    long result =
        CALL(look->fs, hf_stat(look->fs, look->path, &attributes), stat(look->path, &attributes));
    return of_attributes(result, &attributes);
}

static uint64_t see_lstat(const struct look *look)
{
    struct stat attributes;
    long result =
        CALL(look->fs, hf_lstat(look->fs, look->path, &attributes), lstat(look->path, &attributes));
    return of_attributes(result, &attributes);
}

static uint64_t see_fstat(const struct look *look)
{
    struct stat attributes;
    long result =
        CALL(look->fs, hf_fstat(look->fs, look->fd, &attributes), fstat(look->fd, &attributes));
    return of_attributes(result, &attributes);
}

static uint64_t see_fstatat(const struct look *look)
{
    struct stat attributes;
    long result = CALL(look->fs,
                       hf_fstatat(look->fs, look->fd, look->path, &attributes, 0),
                       fstatat(look->fd, look->path, &attributes, 0));
    return of_attributes(result, &attributes);
}

static uint64_t see_statx(const struct look *look)
{
    struct statx attributes;
    const unsigned mask = STATX_BASIC_STATS;
    long result = CALL(look->fs,
                       hf_statx(look->fs, HF_AT_FDCWD, look->path, 0, mask, &attributes),
                       statx(AT_FDCWD, look->path, 0, mask, &attributes));
    if (result < 0) {
        return (uint64_t)result;
    }
    uint64_t sum = call_mix(attributes.stx_ino, attributes.stx_size);
    sum = call_mix(sum, attributes.stx_mode);
    sum = call_mix(sum, attributes.stx_uid);
    return call_mix(sum, attributes.stx_nlink);
}

static uint64_t see_access(const struct look *look)
{
    uint64_t sum = 0;
    for (int mode = F_OK; mode <= R_OK; mode = mode == F_OK ? 1 : mode * 2) {
        sum = call_mix(sum,
                       (uint64_t)CALL(look->fs,
                                      hf_access(look->fs, look->path, mode),
                                      access(look->path, mode)));
    }
    return sum;
}

static uint64_t see_effective_access(const struct look *look)
{
    return (uint64_t)CALL(look->fs,
                          hf_faccessat(look->fs, look->fd, look->path, R_OK, AT_EACCESS),
                          faccessat(look->fd, look->path, R_OK, AT_EACCESS));
}

/* ---- open files ---- */

static int open_it(const struct look *look, int flags)
{
    return (int)CALL(
        look->fs, hf_open(look->fs, look->path, flags, 0644), open(look->path, flags, 0644));
}

static void close_it(const struct look *look, int fd)
{
    CHECK_EQUAL(CALL(look->fs, hf_close(look->fs, fd), close(fd)), 0);
}

/* fstat() of what can be opened so. */
static uint64_t of_opened(const struct look *look, int fd)
{
    struct stat attributes;
    if (fd < 0) {
        return (uint64_t)fd;
    }
    long result = CALL(look->fs, hf_fstat(look->fs, fd, &attributes), fstat(fd, &attributes));
    close_it(look, fd);
    return of_attributes(result, &attributes);
}

static uint64_t see_open(const struct look *look)
{
    return of_opened(look, open_it(look, O_RDONLY | O_NONBLOCK));
}

static uint64_t see_open_for_writing(const struct look *look)
{
    return of_opened(look, open_it(look, O_WRONLY | O_APPEND));
}

static uint64_t see_open_path(const struct look *look)
{
    return of_opened(look, open_it(look, O_PATH | O_NOFOLLOW));
}

static uint64_t see_open_directory(const struct look *look)
{
    return of_opened(look, open_it(look, O_RDONLY | O_DIRECTORY));
}

static uint64_t see_open_no_follow(const struct look *look)
{
    return of_opened(look, open_it(look, O_RDONLY | O_NOFOLLOW));
}

static uint64_t see_openat(const struct look *look)
{
    long fd = CALL(look->fs,
                   hf_openat(look->fs, look->fd, look->path, O_RDONLY, 0),
                   openat(look->fd, look->path, O_RDONLY));
    return of_opened(look, (int)fd);
}

/* The beginning and the length of what can be read at @fd. */
static uint64_t of_data(const struct look *look, int fd)
{
    char bytes[300];
    long size = CALL(look->fs,
                     hf_pread(look->fs, fd, bytes, sizeof bytes, 0),
                     pread(fd, bytes, sizeof bytes, 0));
    return call_mix_bytes(call_mix(0, (uint64_t)size), bytes, size < 0 ? 0 : (size_t)size);
}

static uint64_t see_data(const struct look *look)
{
    int fd = open_it(look, O_RDONLY);
    if (fd < 0) {
        return (uint64_t)fd;
    }
    uint64_t sum = of_data(look, fd);
    close_it(look, fd);
    return sum;
}

static uint64_t see_kept_data(const struct look *look)
{
    return of_data(look, look->fd);
}

static uint64_t see_vectors(const struct look *look)
{
    char bytes[2][4] = {"", ""};
    const struct iovec vectors[2] = {{bytes[0], 4}, {bytes[1], 4}};
    CHECK_EQUAL(CALL(look->fs, hf_lseek(look->fs, look->fd, 2, 0), lseek(look->fd, 2, 0)), 2);
    long size =
        CALL(look->fs, hf_readv(look->fs, look->fd, vectors, 2), readv(look->fd, vectors, 2));
    return call_mix_bytes((uint64_t)size, bytes, sizeof bytes);
}

static uint64_t see_end(const struct look *look)
{
    return (uint64_t)CALL(
        look->fs, hf_lseek(look->fs, look->fd, 0, SEEK_END), lseek(look->fd, 0, SEEK_END));
}

static uint64_t see_holes(const struct look *look)
{
    uint64_t sum = 0;
    for (int whence = SEEK_DATA; whence <= SEEK_HOLE; whence++) {
        sum = call_mix(sum,
                       (uint64_t)CALL(look->fs,
                                      hf_lseek(look->fs, look->fd, 0, whence),
                                      lseek(look->fd, 0, whence)));
    }
    return sum;
}

/* ---- directories and links ---- */

static void add_entry(void *context, const char *name, uint64_t ino, unsigned char type)
{
    uint64_t *sum = context;
    *sum += call_mix_bytes(call_mix(ino, type), name, strlen(name)); /* in any order */
}

static uint64_t see_kept_entries(const struct look *look)
{
    uint64_t sum = 0;
    long result = call_list(look->fs, look->fd, add_entry, &sum);
    return result < 0 ? (uint64_t)result : sum;
}

static uint64_t see_entries(const struct look *look)
{
    uint64_t sum = 0;
    int fd = open_it(look, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return (uint64_t)fd;
    }
    long result = call_list(look->fs, fd, add_entry, &sum);
    close_it(look, fd);
    return result < 0 ? (uint64_t)result : sum;
}

static uint64_t see_target(const struct look *look)
{
    char target[100];
    long size = CALL(look->fs,
                     hf_readlink(look->fs, look->path, target, sizeof target),
                     readlink(look->path, target, sizeof target));
    return size < 0 ? (uint64_t)size : call_mix_bytes(0, target, (size_t)size);
}

static uint64_t of_cwd(const struct look *look)
{
    char cwd[PATH_MAX];
    if (look->fs != NULL) {
        ssize_t size = hf_getcwd(look->fs, cwd, sizeof cwd);
        return size < 0 ? (uint64_t)size : call_mix_bytes(0, cwd, strlen(cwd));
    }
    if (getcwd(cwd, sizeof cwd) == NULL) {
        return (uint64_t)-errno;
    }
    const char *inside = cwd + look->root_length;
    return call_mix_bytes(0, inside, strlen(inside));
}

static void go_home(const struct look *look)
{
    CHECK_EQUAL(CALL(look->fs, hf_chdir(look->fs, "/"), fchdir(look->root)), 0);
}

static uint64_t see_cwd(const struct look *look)
{
    long result = CALL(look->fs, hf_chdir(look->fs, look->path), chdir(look->path));
    if (result < 0) {
        return (uint64_t)result;
    }
    uint64_t sum = of_cwd(look);
    go_home(look);
    return sum;
}

/* Where the directory that was opened is now, and what is in it. */
static uint64_t see_kept_cwd(const struct look *look)
{
    struct stat attributes;
    long result = CALL(look->fs, hf_fchdir(look->fs, look->fd), fchdir(look->fd));
    if (result < 0) {
        return (uint64_t)result;
    }
    uint64_t sum = of_cwd(look);
    result = CALL(look->fs, hf_stat(look->fs, "..", &attributes), stat("..", &attributes));
    sum = call_mix(sum, of_attributes(result, &attributes));
    result = CALL(look->fs, hf_stat(look->fs, "inner", &attributes), stat("inner", &attributes));
    sum = call_mix(sum, of_attributes(result, &attributes));
    go_home(look);
    return sum;
}

/* ---- extended attributes ---- */

static uint64_t of_value(long size, const char *value)
{
    return size < 0 ? (uint64_t)size : call_mix_bytes((uint64_t)size, value, (size_t)size);
}

static uint64_t see_xattr(const struct look *look)
{
    char value[30];
    long size = CALL(look->fs,
                     hf_getxattr(look->fs, look->path, "user.matrix", value, sizeof value),
                     getxattr(look->path, "user.matrix", value, sizeof value));
    return of_value(size, value);
}

static uint64_t see_kept_xattr(const struct look *look)
{
    char value[30];
    long size = CALL(look->fs,
                     hf_fgetxattr(look->fs, look->fd, "user.kept", value, sizeof value),
                     fgetxattr(look->fd, "user.kept", value, sizeof value));
    return of_value(size, value);
}

static uint64_t see_xattrs(const struct look *look)
{
    char names[100];
    uint64_t sum = 0;
    long size = CALL(look->fs,
                     hf_listxattr(look->fs, look->path, names, sizeof names),
                     listxattr(look->path, names, sizeof names));
    for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        sum += call_mix_bytes(1, name, strlen(name)); /* in any order */
    }
    return size < 0 ? (uint64_t)size : sum;
}

const struct observer observers[] = {
    {"stat", see_stat, "m/file", NULL, 0},
    {"stat of what is replaced or moved", see_stat, "m/other", NULL, 0},
    {"stat of a file in a hole", see_stat, "m/sparse", NULL, 0},
    {"stat of a new name", see_stat, "m/new", NULL, 0},
    {"stat below a new name", see_stat, "m/new/inner", NULL, 0},
    {"stat of the parent", see_stat, "m", NULL, 0},
    {"stat of a directory", see_stat, "m/dir", NULL, 0},
    {"stat of another directory", see_stat, "m/empty", NULL, 0},
    {"stat in a directory", see_stat, "m/dir/inner", NULL, 0},
    {"stat of a new name in a directory", see_stat, "m/dir/new", NULL, 0},
    {"stat of a new name in another directory", see_stat, "m/empty/new", NULL, 0},
    {"stat deep below a new name", see_stat, "m/empty/new/inner", NULL, 0},
    {"stat by way of ..", see_stat, "m/dir/../file", NULL, 0},
    {"stat of ..", see_stat, "m/empty/new/..", NULL, 0},
    {"stat through a link", see_stat, "m/link", NULL, 0},
    {"stat of a file as a directory", see_stat, "m/file/", NULL, 0},
    {"lstat", see_lstat, "m/link", NULL, 0},
    {"lstat of a new name", see_lstat, "m/new", NULL, 0},
    {"statx", see_statx, "m/file", NULL, 0},
    {"fstatat", see_fstatat, "inner", "m/dir", O_PATH | O_DIRECTORY},
    {"fstat", see_fstat, NULL, "m/file", O_RDONLY},
    {"fstat of what replaces", see_fstat, NULL, "m/other", O_RDWR},
    {"fstat of a directory", see_fstat, NULL, "m/dir", O_RDONLY},
    {"fstat of another directory", see_fstat, NULL, "m/empty", O_PATH},
    {"access", see_access, "m/file", NULL, 0},
    {"access in a directory", see_access, "m/dir/inner", NULL, 0},
    {"faccessat AT_EACCESS", see_effective_access, "file", "m", O_RDONLY},
    {"open", see_open, "m/file", NULL, 0},
    {"open for writing", see_open_for_writing, "m/file", NULL, 0},
    {"open in a directory", see_open, "m/dir/inner", NULL, 0},
    {"open O_PATH", see_open_path, "m/new", NULL, 0},
    {"open O_DIRECTORY", see_open_directory, "m/new", NULL, 0},
    {"open O_NOFOLLOW", see_open_no_follow, "m/link", NULL, 0},
    {"openat", see_openat, "file", "m", O_RDONLY | O_DIRECTORY},
    {"read", see_data, "m/file", NULL, 0},
    {"read through a link", see_data, "m/link", NULL, 0},
    {"pread", see_kept_data, NULL, "m/file", O_RDONLY},
    {"pread of what is in a hole", see_kept_data, NULL, "m/sparse", O_RDWR},
    {"readv", see_vectors, NULL, "m/file", O_RDONLY},
    {"lseek SEEK_END", see_end, NULL, "m/file", O_RDONLY},
    {"lseek SEEK_DATA and SEEK_HOLE", see_holes, NULL, "m/sparse", O_RDONLY},
    {"readdir", see_entries, "m", NULL, 0},
    {"readdir of a directory", see_entries, "m/dir", NULL, 0},
    {"readdir of another directory", see_entries, "m/empty", NULL, 0},
    {"readdir of what was moved", see_entries, "m/empty/new", NULL, 0},
    {"readdir of an open directory", see_kept_entries, NULL, "m/dir", O_RDONLY},
    {"readdir of another open directory", see_kept_entries, NULL, "m/empty", O_RDONLY},
    {"readlink", see_target, "m/link", NULL, 0},
    {"readlink of a new name", see_target, "m/new", NULL, 0},
    {"chdir, getcwd", see_cwd, "m/dir/.", NULL, 0},
    {"chdir, getcwd elsewhere", see_cwd, "m/empty/new", NULL, 0},
    {"fchdir, getcwd", see_kept_cwd, NULL, "m/dir", O_RDONLY},
    {"fchdir, getcwd of another directory", see_kept_cwd, NULL, "m/empty", O_RDONLY},
    {"getxattr", see_xattr, "m/file", NULL, 0},
    {"fgetxattr", see_kept_xattr, NULL, "m/file", O_RDONLY},
    {"listxattr", see_xattrs, "m/file", NULL, 0},
};

const size_t observer_count = sizeof observers / sizeof observers[0];
