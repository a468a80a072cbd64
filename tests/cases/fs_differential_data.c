/* The differential test: operations on data and descriptors. */
#include "cases/fs_differential.h"

#include <limits.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DATA_SIZE 70
#define PAGE 4096

void read_data(struct player *player)
{
    char bytes[DATA_SIZE] = "";
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const size_t size = below(player, DATA_SIZE);
    if (below(player, 2) == 0) {
        calls(player, "read(%d, %zu)", fd, size);
        sees_result(player, CALL(fs, hf_read(fs, fd, bytes, size), read(fd, bytes, size)));
    } else {
        const off_t offset = choose_offset(player);
        calls(player, "pread(%d, %zu, %ld)", fd, size, (long)offset);
        sees_result(
            player,
            CALL(fs, hf_pread(fs, fd, bytes, size, offset), pread(fd, bytes, size, offset)));
    }
    sees_bytes(player, bytes, sizeof bytes);
}

void write_data(struct player *player)
{
    char bytes[DATA_SIZE];
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const size_t size = below(player, DATA_SIZE);
    memset(bytes, 'a' + (int)below(player, 26), sizeof bytes);
    if (below(player, 2) == 0) {
        calls(player, "write(%d, '%c' x %zu)", fd, bytes[0], size);
        sees_result(player, CALL(fs, hf_write(fs, fd, bytes, size), write(fd, bytes, size)));
    } else {
        const off_t offset = choose_offset(player);
        calls(player, "pwrite(%d, '%c' x %zu, %ld)", fd, bytes[0], size, (long)offset);
        sees_result(
            player,
            CALL(fs, hf_pwrite(fs, fd, bytes, size, offset), pwrite(fd, bytes, size, offset)));
    }
}

/* ---- vectors ---- */

#define VECTORS 4
#define VECTOR_SIZE 20

struct vectors {
    struct iovec vectors[IOV_MAX + 1];
    char bytes[VECTORS][VECTOR_SIZE];
};

/* Return: how many. */
static int choose_vectors(struct player *player, struct vectors *set)
{
    static const int odd[] = {-1, INT_MIN, IOV_MAX, IOV_MAX + 1, 0};
    memset(set, 0, sizeof *set);
    memset(set->bytes, 'A' + (int)below(player, 26), sizeof set->bytes);
    for (int i = 0; i < VECTORS; i++) {
        const size_t size = below(player, 100) == 0 ? SIZE_MAX : below(player, VECTOR_SIZE);
        set->vectors[i] = (struct iovec){.iov_base = set->bytes[i], .iov_len = size};
    }
    return below(player, 12) == 0 ? CHOOSE(player, odd) : 1 + (int)below(player, VECTORS);
}

void read_vectors(struct player *player)
{
    struct vectors set;
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const int count = choose_vectors(player, &set);
    if (below(player, 2) == 0) {
        calls(player, "readv(%d, %d vectors)", fd, count);
        sees_result(player,
                    CALL(fs, hf_readv(fs, fd, set.vectors, count), readv(fd, set.vectors, count)));
    } else {
        const off_t offset = choose_offset(player);
        calls(player, "preadv(%d, %d vectors, %ld)", fd, count, (long)offset);
        sees_result(player,
                    CALL(fs,
                         hf_preadv(fs, fd, set.vectors, count, offset),
                         preadv(fd, set.vectors, count, offset)));
    }
    sees_bytes(player, set.bytes, sizeof set.bytes);
}

void write_vectors(struct player *player)
{
    struct vectors set;
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const int count = choose_vectors(player, &set);
    if (below(player, 2) == 0) {
        calls(player, "writev(%d, %d vectors)", fd, count);
        sees_result(
            player,
            CALL(fs, hf_writev(fs, fd, set.vectors, count), writev(fd, set.vectors, count)));
    } else {
        const off_t offset = choose_offset(player);
        calls(player, "pwritev(%d, %d vectors, %ld)", fd, count, (long)offset);
        sees_result(player,
                    CALL(fs,
                         hf_pwritev(fs, fd, set.vectors, count, offset),
                         pwritev(fd, set.vectors, count, offset)));
    }
}

/* ---- offset, size, space ---- */

void seek(struct player *player)
{
    struct stat found;
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const int whence = below(player, 30) == 0 ? -1 : (int)below(player, 6);
    off_t offset = below(player, 3) == 0 ? -(off_t)below(player, 60) : choose_offset(player);
    if (CALL(fs, hf_fstat(fs, fd, &found), fstat(fd, &found)) == 0 && S_ISDIR(found.st_mode)) {
        offset = 0; /* others are the host's own */
        if (whence != SEEK_SET) {
            calls(player, "lseek(%d, directory)", fd);
            return;
        }
    }
    calls(player, "lseek(%d, %ld, %d)", fd, (long)offset, whence);
    sees_result(player, CALL(fs, hf_lseek(fs, fd, offset, whence), lseek(fd, offset, whence)));
}

/* Where a difference is planted, to see it found. */
static long truncate_kernels_file(const struct player *player, int fd, off_t size)
{
    const long result = ftruncate(fd, size);
    if (result == 0 && player->sequence->planted) {
        errno = EIO;
        return -1;
    }
    return result;
}

void set_size(struct player *player)
{
    hf_fs *fs = player->fs;
    const off_t size = choose_size(player);
    if (below(player, 2) == 0) {
        const int fd = choose_fd(player);
        calls(player, "ftruncate(%d, %ld)", fd, (long)size);
        sees_result(player,
                    CALL(fs, hf_ftruncate(fs, fd, size), truncate_kernels_file(player, fd, size)));
    } else {
        const char *path = choose_path(player);
        calls(player, "truncate(\"%.60s\", %ld)", path, (long)size);
        sees_result(player, CALL(fs, hf_truncate(fs, path, size), truncate(path, size)));
    }
}

void allocate(struct player *player)
{
    static const int modes[] = {0,
                                FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                                FALLOC_FL_PUNCH_HOLE,
                                FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_COLLAPSE_RANGE,
                                FALLOC_FL_INSERT_RANGE,
                                0x4000};
    static const off_t places[] = {0, 5, 60, PAGE, 2 * PAGE, -1, INT64_MAX};
    static const off_t lengths[] = {1, 10, PAGE, 2 * PAGE, 0, -1, INT64_MAX};
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const int chosen = CHOOSE(player, modes);
    const int mode = player->sequence->served ? chosen & ~FALLOC_FL_ZERO_RANGE : chosen;
    const off_t place = CHOOSE(player, places);
    const off_t length = CHOOSE(player, lengths);
    calls(player, "fallocate(%d, %#x, %ld, %ld)", fd, (unsigned)mode, (long)place, (long)length);
    sees_result(
        player,
        CALL(fs, hf_fallocate(fs, fd, mode, place, length), fallocate(fd, mode, place, length)));
}

void copy_range(struct player *player)
{
    hf_fs *fs = player->fs;
    const int from = choose_fd(player);
    const int to = choose_fd(player);
    off_t offsets[2] = {choose_offset(player), choose_offset(player)};
    off_t *from_at = below(player, 2) == 0 ? &offsets[0] : NULL;
    off_t *to_at = below(player, 2) == 0 ? &offsets[1] : NULL;
    const size_t size = below(player, 12) == 0 ? SIZE_MAX : below(player, DATA_SIZE);
    const unsigned flags = below(player, 20) == 0;
    calls(player,
          "copy_file_range(%d, %ld, %d, %ld, %zu, %u)",
          from,
          from_at != NULL ? (long)*from_at : -99L,
          to,
          to_at != NULL ? (long)*to_at : -99L,
          size,
          flags);
    sees_result(player,
                CALL(fs,
                     hf_copy_file_range(fs, from, from_at, to, to_at, size, flags),
                     copy_file_range(from, from_at, to, to_at, size, flags)));
    sees(player, " offsets %ld %ld", (long)offsets[0], (long)offsets[1]);
}

void sync_it(struct player *player)
{
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const unsigned which = below(player, 3);
    calls(player, "%s(%d)", which == 0 ? "fsync" : which == 1 ? "fdatasync" : "syncfs", fd);
    if (which == 0) {
        sees_result(player, CALL(fs, hf_fsync(fs, fd), fsync(fd)));
    } else if (which == 1) {
        sees_result(player, CALL(fs, hf_fdatasync(fs, fd), fdatasync(fd)));
    } else {
        sees_result(player, CALL(fs, hf_syncfs(fs, fd), syncfs(fd)));
    }
}

/* Look at what is mapped, and store something. A store sets times that the cache does not see, as
 * fs.h says: so they are set where it does. */
static void use_mapping(struct player *player, int fd, char *bytes, bool may_write, bool is_shared)
{
    struct stat found;
    hf_fs *fs = player->fs;
    const unsigned at = below(player, PAGE);
    if (CALL(fs, hf_fstat(fs, fd, &found), fstat(fd, &found)) != 0 || found.st_size == 0) {
        return;
    }
    const size_t size = found.st_size < PAGE ? (size_t)found.st_size : PAGE;
    sees_bytes(player, bytes, size);
    if (may_write) {
        bytes[at % size] = '*';
    }
    if (may_write && is_shared) {
        sees_result(player, CALL(fs, hf_futimens(fs, fd, NULL), futimens(fd, NULL)));
    }
}

void map(struct player *player)
{
    static const int kinds[] = {MAP_SHARED, MAP_SHARED, MAP_PRIVATE, 0};
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const bool may_write = below(player, 2) == 0;
    const int protection = may_write ? PROT_READ | PROT_WRITE : PROT_READ;
    const int chosen = CHOOSE(player, kinds);
    const int kind = player->sequence->served && chosen == MAP_SHARED ? MAP_PRIVATE : chosen;
    const size_t length = below(player, 10) == 0 ? 0 : PAGE;
    const off_t offset = below(player, 10) == 0 ? 1 : 0;
    void *mapped = MAP_FAILED;
    long result;
    calls(player, "mmap(%zu, %d, %d, %d, %ld)", length, protection, kind, fd, (long)offset);
    if (fs != NULL) {
        result = hf_mmap(fs, NULL, length, protection, kind, fd, offset, &mapped);
    } else {
        mapped = mmap(NULL, length, protection, kind, fd, offset);
        result = mapped == MAP_FAILED ? -errno : 0;
    }
    sees_result(player, result);
    if (result == 0) {
        use_mapping(player, fd, mapped, may_write, kind == MAP_SHARED);
        sees_result(player, CALL(fs, hf_munmap(fs, mapped, length), munmap(mapped, length)));
    }
}

/* ---- descriptors ---- */

void close_fd(struct player *player)
{
    const int fd = choose_fd(player);
    calls(player, "close(%d)", fd);
    sees_result(player, CALL(player->fs, hf_close(player->fs, fd), close(fd)));
}

void duplicate(struct player *player)
{
    static const int flags[] = {0, O_CLOEXEC, O_CLOEXEC, O_APPEND};
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const int copy = choose_fd(player);
    const int chosen = CHOOSE(player, flags);
    const unsigned which = below(player, 3);
    if (which == 0) {
        calls(player, "dup(%d)", fd);
        sees_result(player, CALL(fs, hf_dup(fs, fd), dup(fd)));
    } else if (which == 1) {
        calls(player, "dup2(%d, %d)", fd, copy);
        sees_result(player, CALL(fs, hf_dup2(fs, fd, copy), dup2(fd, copy)));
    } else {
        calls(player, "dup3(%d, %d, %#x)", fd, copy, (unsigned)chosen);
        sees_result(player, CALL(fs, hf_dup3(fs, fd, copy, chosen), dup3(fd, copy, chosen)));
    }
}

void control(struct player *player)
{
    static const int commands[] = {F_DUPFD,
                                   F_DUPFD_CLOEXEC,
                                   F_GETFD,
                                   F_SETFD,
                                   F_GETFL,
                                   F_GETFL,
                                   F_SETFL,
                                   F_SETFL,
                                   F_SETFL,
                                   12345,
                                   -1};
    static const int minimums[] = {0, 3, 10, -1, INT_MAX, 1 << 20};
    static const int flags[] = {0, O_APPEND, O_APPEND, O_NONBLOCK, O_NOATIME | O_APPEND, O_WRONLY};
    hf_fs *fs = player->fs;
    const int fd = choose_fd(player);
    const int command = CHOOSE(player, commands);
    const int minimum = CHOOSE(player, minimums);
    const int status = CHOOSE(player, flags);
    const bool is_pipe = is_special(player, fd, "", AT_EMPTY_PATH);
    const int argument = command == F_DUPFD || command == F_DUPFD_CLOEXEC ? minimum
                         : command == F_SETFD                             ? (int)below(player, 4)
                         : is_pipe                                        ? status | O_NONBLOCK
                                                                          : status;
    calls(player, "fcntl(%d, %d, %d)", fd, command, argument);
    long result = CALL(fs, hf_fcntl(fs, fd, command, argument), fcntl(fd, command, argument));
    if (command == F_GETFL && result >= 0) {
        result &= ~0100000L; /* O_LARGEFILE, which fs.h leaves out */
    }
    sees_result(player, result);
}
