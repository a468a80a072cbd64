/*
 * Data and descriptors, where comparing with the kernel step by step does not reach: arguments
 * that make no sense, files without a name, what O_PATH is good for, mappings, values too large
 * for the cache, and files that others change without us.
 */
#include "lib/test.h"
#include "lib/fs_world.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

static void play(fs_world_act *act)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act, NULL);
    fs_world_deinit(&world);
}

static int make_digits(hf_fs *fs, const char *path)
{
    int fd = hf_open(fs, path, O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, "0123456789", 10), 10);
    return fd;
}

/* Everything but looking, copying and closing the descriptor itself. */
static void refuse_all(hf_fs *fs, int fd)
{
    char byte = 'x';
    const struct iovec vector = {&byte, 1};
    void *mapping = NULL;
    off_t offset = 0;
    int good = make_digits(fs, "good");

    CHECK_EQUAL(hf_read(fs, fd, &byte, 1), -EBADF);
    CHECK_EQUAL(hf_write(fs, fd, &byte, 1), -EBADF);
    CHECK_EQUAL(hf_pread(fs, fd, &byte, 1, 0), -EBADF);
    CHECK_EQUAL(hf_pwrite(fs, fd, &byte, 1, 0), -EBADF);
    CHECK_EQUAL(hf_readv(fs, fd, &vector, 1), -EBADF);
    CHECK_EQUAL(hf_writev(fs, fd, &vector, 1), -EBADF);
    CHECK_EQUAL(hf_preadv(fs, fd, NULL, -1, 0), -EBADF);
    CHECK_EQUAL(hf_pwritev(fs, fd, NULL, 1, 0), -EBADF);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), -EBADF);
    CHECK_EQUAL(hf_ftruncate(fs, fd, 0) < 0, 1);
    CHECK_EQUAL(hf_fallocate(fs, fd, 0, 0, 1), -EBADF);
    CHECK_EQUAL(hf_copy_file_range(fs, fd, NULL, good, NULL, 1, 7), -EBADF);
    CHECK_EQUAL(hf_copy_file_range(fs, good, &offset, fd, NULL, 1, 0), -EBADF);
    CHECK_EQUAL(hf_fsync(fs, fd), -EBADF);
    CHECK_EQUAL(hf_fdatasync(fs, fd), -EBADF);
    CHECK_EQUAL(hf_syncfs(fs, fd), -EBADF);
    CHECK_EQUAL(hf_mmap(fs, NULL, 1, PROT_READ, MAP_SHARED, fd, 0, &mapping), -EBADF);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, 0), -EBADF);
    CHECK_EQUAL(hf_fcntl(fs, fd, 12345), -EBADF);
    CHECK_EQUAL(hf_fgetxattr(fs, fd, "user.a", NULL, 0), -EBADF);
    CHECK_EQUAL(hf_fsetxattr(fs, fd, "user.a", NULL, 0, 0), -EBADF);
    CHECK_EQUAL(hf_flistxattr(fs, fd, NULL, 0), -EBADF);
    CHECK_EQUAL(hf_fremovexattr(fs, fd, "user.a"), -EBADF);
    CHECK_EQUAL(hf_close(fs, good), 0);
}

static void act_use_bad_descriptors(struct fs_world *world, void *argument)
{
    static const int bad[] = {-1, 12, HF_FS_DESCRIPTORS_MAX, INT_MAX, INT_MIN};
    hf_fs *fs = world->fs;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuse_all(fs, bad[i]);
        CHECK_EQUAL(hf_dup2(fs, bad[i], 3), -EBADF);
        CHECK_EQUAL(hf_dup2(fs, bad[i], bad[i]), -EBADF);
        CHECK_EQUAL(hf_dup3(fs, bad[i], 3, 0), -EBADF);
        CHECK_EQUAL(hf_fcntl(fs, bad[i], F_GETFD), -EBADF);
        CHECK_EQUAL(hf_fcntl(fs, bad[i], F_SETFD, 1), -EBADF);
        CHECK_EQUAL(hf_fcntl(fs, bad[i], F_GETFL), -EBADF);
        CHECK_EQUAL(hf_fcntl(fs, bad[i], F_DUPFD, 0), -EBADF);
    }
    int fd = make_digits(fs, "file");
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFD, FD_CLOEXEC), 0);
    CHECK_EQUAL(hf_dup2(fs, fd, fd), fd);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(hf_dup3(fs, fd, 9, O_CLOEXEC), 9);
    CHECK_EQUAL(hf_fcntl(fs, 9, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(hf_dup2(fs, fd, 9), 9);
    CHECK_EQUAL(hf_fcntl(fs, 9, F_GETFD), 0);
    CHECK_EQUAL(hf_dup3(fs, fd, fd, 0), -EINVAL);
    CHECK_EQUAL(hf_dup3(fs, fd, 9, O_APPEND), -EINVAL);
    CHECK_EQUAL(hf_dup2(fs, fd, -1), -EBADF);
    CHECK_EQUAL(hf_dup2(fs, fd, HF_FS_DESCRIPTORS_MAX), -EBADF);
    CHECK_EQUAL(hf_dup2(fs, fd, HF_FS_DESCRIPTORS_MAX - 1), HF_FS_DESCRIPTORS_MAX - 1);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_DUPFD, HF_FS_DESCRIPTORS_MAX - 1), -EMFILE);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_DUPFD, HF_FS_DESCRIPTORS_MAX), -EINVAL);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_DUPFD, -1), -EINVAL);
    CHECK_EQUAL(hf_fcntl(fs, fd, 12345), -EINVAL);
}

static void test_bad_descriptors(void **state)
{
    play(act_use_bad_descriptors);
}

/* An address that nobody may read or write. */
static void *nowhere(void)
{
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

static void act_use_bad_arguments(struct fs_world *world, void *argument)
{
    static struct iovec many[IOV_MAX + 1];
    hf_fs *fs = world->fs;
    char bytes[10];
    char value[10];
    char long_name[300] = "user.";
    const struct iovec huge[2] = {{bytes, SSIZE_MAX}, {bytes, SSIZE_MAX}};
    const struct iovec half[2] = {{bytes, 5}, {nowhere(), 5}};
    off_t negative = -1;
    void *mapping = NULL;
    int fd = make_digits(fs, "file");

    CHECK_EQUAL(hf_preadv(fs, fd, many, IOV_MAX, 0), 0);
    CHECK_EQUAL(hf_preadv(fs, fd, many, IOV_MAX + 1, 0), -EINVAL);
    CHECK_EQUAL(hf_writev(fs, fd, many, IOV_MAX + 1), -EINVAL);
    CHECK_EQUAL(hf_writev(fs, fd, many, -1), -EINVAL);
    CHECK_EQUAL(hf_writev(fs, fd, NULL, 0), 0);
    CHECK_EQUAL(hf_writev(fs, fd, NULL, 1), -EFAULT);
    CHECK_EQUAL(hf_preadv(fs, fd, nowhere(), 2, 0), -EFAULT);
    CHECK_EQUAL(hf_preadv(fs, fd, huge, 2, 0) < 0, 1);
    CHECK_EQUAL(hf_preadv(fs, fd, half, 2, 0), 5);
    CHECK_EQUAL(hf_preadv(fs, fd, half, 1, -1), -EINVAL);
    CHECK_EQUAL(hf_pwritev(fs, fd, half, 1, -1), -EINVAL);
    CHECK_EQUAL(hf_read(fs, fd, nowhere(), 1), 0);
    CHECK_EQUAL(hf_pread(fs, fd, nowhere(), 1, 0), -EFAULT);
    CHECK_EQUAL(hf_pwrite(fs, fd, nowhere(), 1, 0), -EFAULT);
    CHECK_EQUAL(hf_pread(fs, fd, bytes, SIZE_MAX, 0), -EFAULT);
    CHECK_EQUAL(hf_pwrite(fs, fd, bytes, SIZE_MAX, 0), -EFAULT);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), 10);

    CHECK_EQUAL(hf_fallocate(fs, fd, 0, -1, 1), -EINVAL);
    CHECK_EQUAL(hf_fallocate(fs, fd, 0, 0, 0), -EINVAL);
    CHECK_EQUAL(hf_fallocate(fs, fd, 0, INT64_MAX, 1), -EFBIG);
    CHECK_EQUAL(hf_fallocate(fs, fd, 1 << 20, 0, 1), -EOPNOTSUPP);
    CHECK_EQUAL(hf_copy_file_range(fs, fd, &negative, fd, NULL, 1, 0), -EOVERFLOW);
    CHECK_EQUAL(hf_copy_file_range(fs, fd, NULL, fd, NULL, 1, 1), -EINVAL);
    CHECK_EQUAL(hf_mmap(fs, NULL, 1, PROT_READ, MAP_SHARED, fd, 0, NULL), -EFAULT);
    CHECK_EQUAL(hf_mmap(fs, NULL, 0, PROT_READ, MAP_SHARED, fd, 0, &mapping), -EINVAL);
    CHECK_EQUAL(hf_mmap(fs, NULL, 1, PROT_READ, 0, fd, 0, &mapping), -EINVAL);
    CHECK_EQUAL(hf_mmap(fs, NULL, 1, PROT_READ, MAP_SHARED, fd, 1, &mapping), -EINVAL);
    CHECK(mapping == NULL);
    CHECK_EQUAL(hf_munmap(fs, bytes + 1, 1), -EINVAL);

    memset(long_name + 5, 'n', 251);
    CHECK_EQUAL(hf_setxattr(fs, "file", long_name, "", 0, 0), -ERANGE);
    CHECK_EQUAL(hf_getxattr(fs, "file", long_name, value, 10), -ERANGE);
    long_name[255] = '\0';
    CHECK_EQUAL(hf_getxattr(fs, "file", long_name, value, 10), -ENODATA);
    CHECK_EQUAL(hf_getxattr(fs, "file", "", value, 10), -ERANGE);
    CHECK_EQUAL(hf_getxattr(fs, "file", NULL, value, 10), -EFAULT);
    CHECK_EQUAL(hf_getxattr(fs, NULL, "user.a", value, 10), -EFAULT);
    CHECK_EQUAL(hf_getxattr(fs, "missing", "user.a", value, 10), -ENOENT);
    CHECK_EQUAL(hf_setxattr(fs, "file", "user.a", "v", 1, 4), -EINVAL);
    CHECK_EQUAL(hf_setxattr(fs, "file", NULL, "v", 1, 0), -EFAULT);
    CHECK_EQUAL(hf_setxattr(fs, "file", "user.a", NULL, 1, 0), -EFAULT);
    CHECK_EQUAL(hf_setxattr(fs, "file", "user.a", "v", XATTR_SIZE_MAX + 1, 0), -E2BIG);
    CHECK_EQUAL(hf_setxattr(fs, "file", "user.a", "v", 1, XATTR_REPLACE), -ENODATA);
    CHECK_EQUAL(hf_setxattr(fs, "file", "user.a", "v", 1, XATTR_CREATE), 0);
    CHECK_EQUAL(hf_setxattr(fs, "file", "user.a", "v", 1, XATTR_CREATE), -EEXIST);
    CHECK_EQUAL(hf_getxattr(fs, "file", "user.a", NULL, 1), -EFAULT);
    CHECK_EQUAL(hf_getxattr(fs, "file", "user.a", NULL, 0), 1);
    CHECK_EQUAL(hf_listxattr(fs, "file", value, 1), -ERANGE);
    CHECK_EQUAL(hf_listxattr(fs, "file", NULL, 100), -EFAULT);
    CHECK_EQUAL(hf_listxattr(fs, NULL, NULL, 0), -EFAULT);
    CHECK_EQUAL(hf_removexattr(fs, "file", NULL), -EFAULT);
    CHECK_EQUAL(hf_lremovexattr(fs, NULL, "user.a"), -EFAULT);
    CHECK_EQUAL(hf_removexattr(fs, "file", "nothing"), -EOPNOTSUPP);
    CHECK_EQUAL(hf_fremovexattr(fs, fd, "user.b"), -ENODATA);
}

static void test_bad_arguments(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    world.bad_pointers = true;
    fs_world_play(&world, act_use_bad_arguments, NULL);
    fs_world_deinit(&world);
}

/* ---- descriptors ---- */

static void act_use_paths(struct fs_world *world, void *argument)
{
    static const char *const what[] = {"file", "directory", "link", "pipe"};
    hf_fs *fs = world->fs;
    struct stat attributes;
    hf_dirent entry;
    CHECK_EQUAL(hf_close(fs, make_digits(fs, "file")), 0);
    CHECK_EQUAL(hf_mkdir(fs, "directory", 0755), 0);
    CHECK_EQUAL(hf_symlink(fs, "file", "link"), 0);
    CHECK_EQUAL(hf_mkfifo(fs, "pipe", 0644), 0);
    for (size_t i = 0; i < sizeof what / sizeof what[0]; i++) {
        int fd = hf_open(fs, what[i], O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
        CHECK(fd >= 0);
        refuse_all(fs, fd);
        CHECK_EQUAL(hf_readdir(fs, fd, &entry), -EBADF);
        CHECK_EQUAL(hf_fstat(fs, fd, &attributes), 0);
        CHECK_EQUAL(hf_fcntl(fs, fd, F_GETFL), O_PATH | O_NOFOLLOW);
        CHECK_EQUAL(hf_fcntl(fs, fd, F_GETFD), FD_CLOEXEC);
        CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFD, 0), 0);
        CHECK_EQUAL(hf_dup2(fs, fd, 40), 40);
        CHECK_EQUAL(hf_close(fs, fd), 0);
        pid_t child = hf_fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK_EQUAL(hf_fstat(fs, 40, &attributes), 0);
            _exit(0);
        }
        fs_world_wait(child);
        CHECK_EQUAL(hf_close(fs, 40), 0);
    }
    CHECK_EQUAL(hf_open(fs, "link", O_NOFOLLOW | O_RDONLY, 0), -ELOOP);
    CHECK_EQUAL(hf_open(fs, "link", O_NOFOLLOW | O_CREAT | O_RDWR, 0), -ELOOP);
    CHECK_EQUAL(hf_open(fs, "link", O_PATH | O_DIRECTORY, 0), -ENOTDIR);
    CHECK_EQUAL(hf_open(fs, "missing", O_PATH | O_CREAT, 0), -ENOENT);
}

static void test_what_o_path_is_good_for(void **state)
{
    play(act_use_paths);
}

/* Without a name a file is there for those who have it open, across a fork too. */
static void act_use_unnamed(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    struct stat attributes;
    char bytes[10];
    int fd = hf_open(fs, "/", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_write(fs, fd, "0123456789", 10), 10);
    pid_t child = hf_fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(hf_pread(fs, fd, bytes, 10, 0), 10);
        CHECK_EQUAL(memcmp(bytes, "0123456789", 10), 0);
        CHECK_EQUAL(hf_write(fs, fd, "abc", 3), 3);
        _exit(0);
    }
    fs_world_wait(child);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), 13);
    CHECK_EQUAL(hf_fstat(fs, fd, &attributes), 0);
    CHECK_EQUAL(attributes.st_nlink, 0);
    CHECK_EQUAL(attributes.st_size, 13);
    CHECK_EQUAL(attributes.st_mode, S_IFREG | 0600);
    int never = hf_open(fs, "/", O_TMPFILE | O_EXCL | O_RDWR, 0600);
    CHECK(never >= 0);
    CHECK_EQUAL(hf_linkat(fs, never, "", HF_AT_FDCWD, "named", AT_EMPTY_PATH), -ENOENT);
    CHECK_EQUAL(hf_open(fs, "missing", O_TMPFILE | O_RDWR, 0600), -ENOENT);
    CHECK_EQUAL(hf_close(fs, make_digits(fs, "file")), 0);
    CHECK_EQUAL(hf_open(fs, "file", O_TMPFILE | O_RDWR, 0600), -ENOTDIR);
}

static void test_files_without_a_name(void **state)
{
    play(act_use_unnamed);
}

#define RACE_ROUNDS 3000

struct race {
    hf_fs *fs;
    int one;
    int other;
};

static void *replace_all_the_time(void *argument)
{
    const struct race *race = argument;
    for (int i = 0; i < RACE_ROUNDS; i++) {
        CHECK_EQUAL(hf_dup2(race->fs, i % 2 == 0 ? race->one : race->other, 20), 20);
    }
    return NULL;
}

static void *read_all_the_time(void *argument)
{
    const struct race *race = argument;
    char byte;
    for (int i = 0; i < RACE_ROUNDS; i++) {
        CHECK_EQUAL(hf_pread(race->fs, 20, &byte, 1, 0), 1);
        CHECK(byte == '0' || byte == 'x');
    }
    return NULL;
}

/* While dup2() replaces it, a descriptor is always open, as the one or as the other. */
static void act_race_for_a_descriptor(struct fs_world *world, void *argument)
{
    pthread_t threads[4];
    struct race race = {.fs = world->fs};
    race.one = make_digits(world->fs, "one");
    race.other = make_digits(world->fs, "other");
    CHECK_EQUAL(hf_pwrite(world->fs, race.other, "x", 1, 0), 1);
    CHECK_EQUAL(hf_dup2(world->fs, race.one, 20), 20);
    for (int i = 0; i < 4; i++) {
        void *(*act)(void *) = i % 2 == 0 ? replace_all_the_time : read_all_the_time;
        CHECK_EQUAL(pthread_create(&threads[i], NULL, act, &race), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void test_dup2_replaces_in_one_step(void **state)
{
    play(act_race_for_a_descriptor);
}

/* What only the host can do it is told to do. */
static void act_set_status(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    char byte;
    int fd = make_digits(fs, "file");
    CHECK_EQUAL(chdir(world->root), 0);
    const int theirs = open("file", O_RDWR);
    const int told = fcntl(theirs, F_SETFL, O_DIRECT) < 0 ? -errno : 0;
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, O_DIRECT), told);
    CHECK_EQUAL(hf_pread(fs, fd, &byte, 1, 1), pread(theirs, &byte, 1, 1) < 0 ? -errno : 1);
    close(theirs);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, 0), 0);
    CHECK_EQUAL(hf_pread(fs, fd, &byte, 1, 1), 1);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, O_NOATIME), 0);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, 0), 0);
    if (geteuid() == 0) {
        CHECK_EQUAL(setresuid(65534, 65534, 65534), 0);
        CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, O_NOATIME), -EPERM); /* for who owns it only */
        CHECK_EQUAL(hf_fcntl(fs, fd, F_GETFL) & O_NOATIME, 0);
    }
}

static void test_status_flags_reach_the_host(void **state)
{
    FS_WORLD_DIRECT_ONLY("there is nothing on the host that flags could reach");
    play(act_set_status);
}

/* ---- data ---- */

static void act_seek_far(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    int fd = make_digits(fs, "file");
    CHECK_EQUAL(hf_lseek(fs, fd, INT64_C(1) << 33, SEEK_SET), INT64_C(1) << 33);
    CHECK_EQUAL(hf_lseek(fs, fd, INT64_MAX, SEEK_CUR), -EINVAL);
    CHECK_EQUAL(hf_lseek(fs, fd, INT64_MIN, SEEK_CUR), -EINVAL);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), INT64_C(1) << 33);
    CHECK_EQUAL(hf_lseek(fs, fd, 10, SEEK_DATA), -ENXIO);
    CHECK_EQUAL(hf_lseek(fs, fd, -1, SEEK_HOLE), -ENXIO);
    CHECK_EQUAL(hf_lseek(fs, fd, 3, SEEK_DATA), 3);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), 3);
    CHECK_EQUAL(hf_lseek(fs, fd, 3, SEEK_HOLE), 10);
}

static void test_far_offsets_and_holes(void **state)
{
    play(act_seek_far);
}

/* A mapping outlives its descriptor, sees what calls write and the other way round, also in
 * another process. */
static void act_map(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    char byte;
    void *mapping;
    int fd = make_digits(fs, "file");
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &mapping), 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    char *bytes = mapping;
    CHECK_EQUAL(bytes[5], '5');
    bytes[5] = 'a';
    pid_t child = hf_fork();
    CHECK(child >= 0);
    fd = hf_open(fs, "file", O_RDWR, 0);
    if (child == 0) {
        CHECK_EQUAL(hf_pread(fs, fd, &byte, 1, 5), 1);
        CHECK_EQUAL(byte, 'a');
        CHECK_EQUAL(hf_pwrite(fs, fd, "b", 1, 6), 1);
        bytes[7] = 'c';
        _exit(0);
    }
    fs_world_wait(child);
    CHECK_EQUAL(memcmp(bytes, "01234abc89", 10), 0);
    CHECK_EQUAL(hf_pread(fs, fd, &byte, 1, 7), 1);
    CHECK_EQUAL(byte, 'c');
    CHECK_EQUAL(hf_munmap(fs, mapping, 10), 0);

    int read_only = hf_open(fs, "file", O_RDONLY, 0);
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_WRITE, MAP_SHARED, read_only, 0, &mapping), -EACCES);
    int directory = hf_open(fs, "/", O_RDONLY, 0);
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ, MAP_SHARED, directory, 0, &mapping), -ENODEV);
}

/* What is changed in a private mapping is nobody else's, and what is behind the end is zeros. */
static void act_map_privately(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    char digits[10];
    void *mapping;
    int fd = make_digits(fs, "file");
    CHECK_EQUAL(hf_ftruncate(fs, fd, 5000), 0);
    CHECK_EQUAL(hf_mmap(fs, NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0, &mapping), 0);
    char *bytes = mapping;
    CHECK_EQUAL(memcmp(bytes, "0123456789", 11), 0);
    for (int i = 10; i < 8192; i++) {
        CHECK_EQUAL(bytes[i], 0);
    }
    bytes[5] = 'a';
    CHECK_EQUAL(hf_pread(fs, fd, digits, 10, 0), 10);
    CHECK_EQUAL(memcmp(digits, "0123456789", 10), 0);
    CHECK_EQUAL(hf_munmap(fs, mapping, 8192), 0);
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ, MAP_PRIVATE, fd, 4096, &mapping), 0);
    CHECK_EQUAL(hf_munmap(fs, mapping, 10), 0);
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ, MAP_PRIVATE, fd, 1, &mapping), -EINVAL);
    int write_only = hf_open(fs, "file", O_WRONLY, 0);
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ, MAP_PRIVATE, write_only, 0, &mapping), -EACCES);
    int directory = hf_open(fs, "/", O_RDONLY, 0);
    CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ, MAP_PRIVATE, directory, 0, &mapping), -ENODEV);
    if (fs_world_is_served()) {
        CHECK_EQUAL(hf_mmap(fs, NULL, 10, PROT_READ, MAP_SHARED, fd, 0, &mapping), -ENODEV);
    }
}

static void test_mappings(void **state)
{
    FS_WORLD_DIRECT_ONLY("it has no memory that processes could share");
    play(act_map);
}

static void test_private_mappings(void **state)
{
    play(act_map_privately);
}

/* Values too large for the cache, and more of them than it keeps, are right all the same. */
static void act_set_large_xattrs(struct fs_world *world, void *argument)
{
    static char large[4000];
    static char value[8000];
    char name[24];
    hf_fs *fs = world->fs;
    int fd = make_digits(fs, "file");
    memset(large, 'l', sizeof large);
    /* The host's filesystem may take one block for all of them together. */
    if (hf_fsetxattr(fs, fd, "user.large", large, 3900, 0) == 0) {
        CHECK_EQUAL(hf_fgetxattr(fs, fd, "user.large", value, sizeof value), 3900);
        CHECK_EQUAL(hf_fgetxattr(fs, fd, "user.large", value, 3899), -ERANGE);
        CHECK_EQUAL(hf_fgetxattr(fs, fd, "user.large", NULL, 0), 3900);
        CHECK_EQUAL(memcmp(value, large, 3900), 0);
        CHECK_EQUAL(hf_fremovexattr(fs, fd, "user.large"), 0);
    }
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "user.%d", i);
        CHECK_EQUAL(hf_fsetxattr(fs, fd, name, name, (size_t)(40 + i) % sizeof name, 0), 0);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 400; i++) {
            snprintf(name, sizeof name, "user.%d", i);
            const ssize_t size = hf_getxattr(fs, "file", name, value, sizeof value);
            CHECK_EQUAL(size, i < 40 ? (40 + i) % (int)sizeof name : -ENODATA);
        }
    }
}

static void test_large_xattrs(void **state)
{
    play(act_set_large_xattrs);
}

/* ---- files that others change ---- */

static void change_at_host(const struct fs_world *world, const char *name, const char *content)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", world->root, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, content, strlen(content)), strlen(content));
    CHECK_EQUAL(fsetxattr(fd, "user.a", content, strlen(content), 0), 0);
    CHECK_EQUAL(close(fd), 0);
}

static int count_entries(hf_fs *fs, int fd)
{
    hf_dirent entry;
    int count = 0;
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_SET), 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        count++;
    }
    return count;
}

static off_t size_of(hf_fs *fs, const char *path)
{
    struct stat attributes;
    int result = hf_stat(fs, path, &attributes);
    return result < 0 ? result : attributes.st_size;
}

static void act_check(struct fs_world *world, void *argument)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_client_stats before;
    hf_client_stats after;
    hf_fs *fs = NULL;
    char path[160];
    char value[20];
    config.root = world->root;
    config.external = (hf_external)7;
    world->fs = hf_fs_detach(world->fs);
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), -EINVAL);
    config.external = HF_EXTERNAL_CHECK;
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), 0);

    int root = hf_open(fs, "/", O_RDONLY, 0);
    CHECK_EQUAL(size_of(fs, "file"), -ENOENT);
    CHECK_EQUAL(count_entries(fs, root), 2);
    change_at_host(world, "file", "12345");
    CHECK_EQUAL(size_of(fs, "file"), 5);
    CHECK_EQUAL(count_entries(fs, root), 3);
    CHECK_EQUAL(hf_getxattr(fs, "file", "user.a", value, sizeof value), 5);
    int log = hf_open(fs, "file", O_RDWR | O_APPEND, 0);
    CHECK(log >= 0);
    CHECK_EQUAL(hf_write(fs, log, "ours", 4), 4);

    /* Each look costs system calls, but no messages. */
    hf_client_get_stats(world->client, &before);
    change_at_host(world, "file", "theirs");
    CHECK_EQUAL(size_of(fs, "file"), 15);
    CHECK_EQUAL(hf_getxattr(fs, "file", "user.a", value, sizeof value), 6);
    CHECK_EQUAL(hf_write(fs, log, "ours", 4), 4);
    CHECK_EQUAL(hf_lseek(fs, log, 0, SEEK_END), 19);
    snprintf(path, sizeof path, "%s/file", world->root);
    CHECK_EQUAL(unlink(path), 0);
    CHECK_EQUAL(size_of(fs, "file"), -ENOENT);
    CHECK_EQUAL(hf_lseek(fs, log, 0, SEEK_END), 19);
    CHECK_EQUAL(count_entries(fs, root), 2);
    hf_client_get_stats(world->client, &after);
    CHECK_EQUAL(memcmp(&before, &after, sizeof before), 0);

    /* Another file by that name is another file. */
    change_at_host(world, "file", "new");
    CHECK_EQUAL(size_of(fs, "file"), 3);
    CHECK_EQUAL(hf_lseek(fs, log, 0, SEEK_END), 19);
    world->fs = fs;
}

static void test_files_that_others_change(void **state)
{
    FS_WORLD_DIRECT_ONLY("nobody else can change them");
    play(act_check);
}

/* ---- where an append goes ---- */

static void write_in_the_middle(hf_fs *fs, int fd, int from)
{
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, 0), 0);
    CHECK_EQUAL(hf_pwrite(fs, fd, "x", 1, 2), 1);
    CHECK_EQUAL(hf_fcntl(fs, fd, F_SETFL, O_APPEND), 0);
}

static void make_longer(hf_fs *fs, int fd, int from)
{
    CHECK_EQUAL(hf_ftruncate(fs, fd, 50), 0);
}

static void make_shorter(hf_fs *fs, int fd, int from)
{
    CHECK_EQUAL(hf_truncate(fs, "log", 5), 0);
}

static void empty_it(hf_fs *fs, int fd, int from)
{
    CHECK_EQUAL(hf_close(fs, hf_open(fs, "log", O_WRONLY | O_TRUNC, 0)), 0);
}

static void allocate_space(hf_fs *fs, int fd, int from)
{
    CHECK_EQUAL(hf_fallocate(fs, fd, 0, 0, 100), 0);
}

static void copy_to_offset(hf_fs *fs, int fd, int from)
{
    off_t from_offset = 0, to_offset = 200;
    int to = hf_open(fs, "log", O_WRONLY, 0);
    CHECK_EQUAL(hf_copy_file_range(fs, from, &from_offset, to, &to_offset, 10, 0), 10);
    CHECK_EQUAL(hf_close(fs, to), 0);
}

/* The copy is made, and then the host cannot say how far it came. */
static void copy_and_fail(hf_fs *fs, int fd, int from)
{
    off_t from_offset = 0;
    off_t *to_offset = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK((void *)to_offset != MAP_FAILED);
    *to_offset = 300;
    CHECK_EQUAL(mprotect(to_offset, 4096, PROT_READ), 0);
    int to = hf_open(fs, "log", O_WRONLY, 0);
    CHECK_EQUAL(hf_copy_file_range(fs, from, &from_offset, to, to_offset, 10, 0), -EFAULT);
    CHECK_EQUAL(hf_close(fs, to), 0);
    CHECK_EQUAL(munmap(to_offset, 4096), 0);
}

/* The size is known after an append; whatever moves the end then, the next one goes there. */
static void act_append(struct fs_world *world, void *argument)
{
    static void (*const moves[])(hf_fs * fs, int fd, int from) = {
        write_in_the_middle,
        make_longer,
        make_shorter,
        empty_it,
        allocate_space,
        copy_to_offset,
        copy_and_fail,
    };
    hf_fs *fs = world->fs;
    struct stat before;
    struct stat after;
    int from = make_digits(fs, "from");
    int fd = hf_open(fs, "log", O_CREAT | O_RDWR | O_APPEND, 0644);
    CHECK(fd >= 0);
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
        CHECK_EQUAL(hf_write(fs, fd, "0123456789", 10), 10);
        moves[i](fs, fd, from);
        CHECK_EQUAL(fs_world_stat(world, "log", &before), 0);
        CHECK_EQUAL(hf_write(fs, fd, "end", 3), 3);
        CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_CUR), before.st_size + 3);
        CHECK_EQUAL(fs_world_stat(world, "log", &after), 0);
        CHECK_EQUAL(after.st_size, before.st_size + 3);
    }
}

static void test_an_append_goes_to_the_end(void **state)
{
    struct fs_world world;
    fs_world_init(&world);
    world.bad_pointers = true;
    fs_world_play(&world, act_append, NULL);
    fs_world_deinit(&world);
}

/* What is written ahead is paid for with space given ahead; what the server is asked for is not. */
static void act_allocate_and_write(struct fs_world *world, void *argument)
{
    static const char chunk[1 << 17];
    const off_t allocated = 8 << 20;
    hf_fs *fs = world->fs;
    int fd = make_digits(fs, "large");
    CHECK_EQUAL(hf_fallocate(fs, fd, 0, 0, allocated), 0);
    for (off_t at = allocated; at < 4 * allocated; at += (off_t)sizeof chunk) {
        CHECK_EQUAL(hf_pwrite(fs, fd, chunk, sizeof chunk, at), sizeof chunk);
    }
    CHECK_EQUAL(hf_fsync(fs, fd), 0);
    CHECK_EQUAL(hf_lseek(fs, fd, 0, SEEK_END), 4 * allocated);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void test_what_is_allocated_and_what_is_written(void **state)
{
    play(act_allocate_and_write);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_descriptors),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_what_o_path_is_good_for),
        cmocka_unit_test(test_files_without_a_name),
        cmocka_unit_test(test_dup2_replaces_in_one_step),
        cmocka_unit_test(test_status_flags_reach_the_host),
        cmocka_unit_test(test_far_offsets_and_holes),
        cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_private_mappings),
        cmocka_unit_test(test_large_xattrs),
        cmocka_unit_test(test_files_that_others_change),
        cmocka_unit_test(test_an_append_goes_to_the_end),
        cmocka_unit_test(test_what_is_allocated_and_what_is_written),
    };
    return cmocka_run_group_tests_name("fs data", tests, NULL, NULL);
}
