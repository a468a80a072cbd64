/* Changes of data and extended attributes that another process sees at once. */
#include "cases/fs_coherence.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>

/* Do something with `d/file` open, and close it. */
static int open_file(hf_fs *fs)
{
    int fd = hf_open(fs, "d/file", O_RDWR, 0);
    CHECK(fd >= 0);
    return fd;
}

static void close_file(hf_fs *fs, int fd)
{
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

/* ---- changes ---- */

static void write_two(hf_fs *fs, off_t offset)
{
    char bytes[2] = {'X', 'Y'};
    const struct iovec vectors[2] = {{&bytes[0], 1}, {&bytes[1], 1}};
    int fd = open_file(fs);
    CHECK_EQUAL(hf_pwritev(fs, fd, vectors, 2, offset), 2);
    close_file(fs, fd);
}

static void do_overwrite_vectors(hf_fs *fs)
{
    write_two(fs, 4);
}

static void do_extend_vectors(hf_fs *fs)
{
    write_two(fs, 13);
}

static void do_append_vectors(hf_fs *fs)
{
    char bytes[5] = "abcde";
    const struct iovec vectors[2] = {{&bytes[0], 2}, {&bytes[2], 3}};
    int fd = open_file(fs);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, O_APPEND), 0);
    CHECK_EQUAL(hf_writev(fs, fd, vectors, 2), 5);
    close_file(fs, fd);
}

static void allocate(hf_fs *fs, int mode, off_t offset, off_t length)
{
    int fd = open_file(fs);
    CHECK_EQUAL(hf_fallocate(fs, fd, mode, offset, length), 0);
    close_file(fs, fd);
}

static void do_allocate(hf_fs *fs)
{
    allocate(fs, 0, 5, 10);
}

static void do_punch(hf_fs *fs)
{
    allocate(fs, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3, 5);
}

static void copy_to(hf_fs *fs, off_t to, size_t size)
{
    off_t from = 0;
    int fd = open_file(fs);
    CHECK_EQUAL(hf_copy_file_range(fs, fd, &from, fd, &to, size, 0), size);
    close_file(fs, fd);
}

static void do_copy(hf_fs *fs)
{
    copy_to(fs, 4, 1);
}

static void do_copy_to_the_end(hf_fs *fs)
{
    copy_to(fs, 10, 5);
}

static void do_store(hf_fs *fs)
{
    void *mapping;
    int fd = open_file(fs);
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &mapping), 0);
    close_file(fs, fd);
    ((char *)mapping)[4] = 'X';
    CHECK_EQUAL(hf_munmap(fs, mapping, 10), 0);
}

static void do_create_unnamed(hf_fs *fs)
{
    int fd = hf_open(fs, "d", O_TMPFILE | O_RDWR, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, "x", 1), 1);
    /* It is closed when the actor leaves, or with the next of its kind. */
    CHECK(hf_dup2(fs, fd, 50) == 50);
    close_file(fs, fd);
}

static void undo_set_xattr(hf_fs *fs)
{
    make_ten_bytes(fs);
    int result = hf_removexattr(fs, "d/file", "user.a");
    CHECK(result == 0 || result == -ENODATA);
}

static void do_set_xattr(hf_fs *fs)
{
    CHECK_EQUAL(hf_setxattr(fs, "d/file", "user.a", "value", 5, XATTR_CREATE), 0);
}

static void undo_remove_xattr(hf_fs *fs)
{
    make_ten_bytes(fs);
    CHECK_EQUAL(hf_setxattr(fs, "d/file", "user.a", "value", 5, 0), 0);
}

static void do_remove_xattr(hf_fs *fs)
{
    int fd = open_file(fs);
    CHECK_EQUAL(hf_fremovexattr(fs, fd, "user.a"), 0);
    close_file(fs, fd);
}

static void do_replace_xattr(hf_fs *fs)
{
    CHECK_EQUAL(hf_lsetxattr(fs, "d/file", "user.a", "longer value", 12, XATTR_REPLACE), 0);
}

/* ---- what an observer sees ---- */

static long see_end_of_data(hf_fs *fs)
{
    int fd = open_file(fs);
    const off_t end = hf_lseek(fs, fd, 0, SEEK_HOLE);
    close_file(fs, fd);
    return end;
}

static long see_end_of_copy(hf_fs *fs)
{
    off_t from = 5;
    off_t to = 0;
    int fd = open_file(fs);
    int target = hf_open(fs, "d", O_TMPFILE | O_WRONLY, 0644);
    CHECK(target >= 0);
    const ssize_t copied = hf_copy_file_range(fs, fd, &from, target, &to, 100, 0);
    CHECK_EQUAL(from, 5 + copied);
    CHECK_EQUAL(to, copied);
    close_file(fs, target);
    close_file(fs, fd);
    return copied;
}

static long see_fifth_byte_in_vectors(hf_fs *fs)
{
    char bytes[2][10] = {"", ""};
    const struct iovec vectors[2] = {{bytes[0], 4}, {bytes[1], 10}};
    int fd = open_file(fs);
    CHECK(hf_readv(fs, fd, vectors, 2) >= 10);
    close_file(fs, fd);
    return bytes[1][0];
}

static long see_entries(hf_fs *fs)
{
    hf_dirent entry;
    long count = 0;
    int fd = hf_open(fs, "d", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        count++;
    }
    close_file(fs, fd);
    return count;
}

static long see_xattr(hf_fs *fs)
{
    char value[20];
    return hf_getxattr(fs, "d/file", "user.a", value, sizeof value);
}

static long see_xattr_through_a_path_descriptor(hf_fs *fs)
{
    char value[20];
    int path = hf_open(fs, "d/file", O_PATH, 0);
    CHECK(path >= 0);
    CHECK_EQUAL(hf_fgetxattr(fs, path, "user.a", value, sizeof value), -EBADF);
    close_file(fs, path);
    int fd = open_file(fs);
    const ssize_t size = hf_fgetxattr(fs, fd, "user.a", value, sizeof value);
    close_file(fs, fd);
    return size;
}

static long see_xattr_listed(hf_fs *fs)
{
    char names[200];
    const ssize_t size = hf_listxattr(fs, "d/file", names, sizeof names);
    CHECK(size >= 0);
    for (const char *name = names; name < names + size; name += strlen(name) + 1) {
        if (strcmp(name, "user.a") == 0) {
            return 1;
        }
    }
    return 0;
}

const struct pair data_pairs[] = {
    {"pwritev, read", make_ten_bytes, do_overwrite_vectors, see_fifth_byte, '4', 'X'},
    {"pwritev, readv", make_ten_bytes, do_overwrite_vectors, see_fifth_byte_in_vectors, '4', 'X'},
    {"pwritev, stat", make_ten_bytes, do_extend_vectors, see_size, 10, 15},
    {"writev O_APPEND, fstat",
     make_ten_bytes,
     do_append_vectors,
     see_size_through_a_descriptor,
     10,
     15},
    {"writev O_APPEND, SEEK_HOLE", make_ten_bytes, do_append_vectors, see_end_of_data, 10, 15},
    {"writev O_APPEND, copy", make_ten_bytes, do_append_vectors, see_end_of_copy, 5, 10},
    {"fallocate, stat", make_ten_bytes, do_allocate, see_size, 10, 15},
    {"fallocate, fstat", make_ten_bytes, do_allocate, see_size_through_a_descriptor, 10, 15},
    {"punch a hole, read", make_ten_bytes, do_punch, see_fifth_byte, '4', 0},
    {"punch a hole, stat", make_ten_bytes, do_punch, see_size, 10, 10},
    {"copy, read", make_ten_bytes, do_copy, see_fifth_byte, '4', '0'},
    {"copy, stat", make_ten_bytes, do_copy_to_the_end, see_size, 10, 15},
    {"copy, copy", make_ten_bytes, do_copy_to_the_end, see_end_of_copy, 5, 10},
    {"O_TMPFILE, readdir", make_ten_bytes, do_create_unnamed, see_entries, 3, 3},
    {"setxattr, getxattr", undo_set_xattr, do_set_xattr, see_xattr, -ENODATA, 5},
    {"setxattr, fgetxattr",
     undo_set_xattr,
     do_set_xattr,
     see_xattr_through_a_path_descriptor,
     -ENODATA,
     5},
    {"setxattr, listxattr", undo_set_xattr, do_set_xattr, see_xattr_listed, 0, 1},
    {"fremovexattr, getxattr", undo_remove_xattr, do_remove_xattr, see_xattr, 5, -ENODATA},
    {"fremovexattr, listxattr", undo_remove_xattr, do_remove_xattr, see_xattr_listed, 1, 0},
    {"lsetxattr, getxattr", undo_remove_xattr, do_replace_xattr, see_xattr, 5, 12},
};

const struct pair mapping_pair = {
    "store in a mapping, read", make_ten_bytes, do_store, see_fifth_byte, '4', 'X'};

const size_t data_pair_count = sizeof data_pairs / sizeof data_pairs[0];
