/*
 * Bad input: what is wrong in a call is answered with the error that Linux gives, and nothing is
 * lost by it. Every call is made twice, here and in a directory of the host.
 */
#include "cases/fs_badinput.h"
#include "lib/fs_call.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

long badinput_kernel(long result)
{
    return result < 0 ? -errno : result;
}

void badinput_compare(struct badinput *bad, const char *what, const char *how, long ours,
                      long theirs)
{
    if (ours != theirs) {
        fprintf(stderr, "# %s, %s: %ld here, %ld from the kernel\n", what, how, ours, theirs);
        bad->failures++;
    }
}

/* ---- two trees ---- */

/* Made in the working directory; on a served mount by @fs. */
static void make_tree(hf_fs *fs)
{
    const long length = (long)strlen(BADINPUT_CONTENT);
    const int flags = O_CREAT | O_WRONLY;
    const int fd = (int)CALL(fs, hf_open(fs, "file", flags, 0644), open("file", flags, 0644));
    CHECK_EQUAL(CALL(fs,
                     hf_write(fs, fd, BADINPUT_CONTENT, (size_t)length),
                     write(fd, BADINPUT_CONTENT, (size_t)length)),
                length);
    CHECK_EQUAL(CALL(fs, hf_close(fs, fd), close(fd)), 0);
    CHECK_EQUAL(CALL(fs,
                     hf_setxattr(fs, "file", "user.a", "value", 5, 0),
                     setxattr("file", "user.a", "value", 5, 0)),
                0);
    CHECK_EQUAL(CALL(fs, hf_mknod(fs, "other", 0644, 0), mknod("other", 0644, 0)), 0);
    CHECK_EQUAL(CALL(fs, hf_mkdir(fs, "dir", 0755), mkdir("dir", 0755)), 0);
    CHECK_EQUAL(CALL(fs, hf_mkdir(fs, "dir/sub", 0755), mkdir("dir/sub", 0755)), 0);
    CHECK_EQUAL(CALL(fs, hf_symlink(fs, "file", "link"), symlink("file", "link")), 0);
    CHECK_EQUAL(CALL(fs, hf_mkfifo(fs, "pipe", 0644), mkfifo("pipe", 0644)), 0);
}

#define NAMES_MAX 32

struct names {
    size_t count;
    char names[NAMES_MAX][NAME_MAX + 1];
};

static void add_name(void *context, const char *name, uint64_t ino, unsigned char type)
{
    struct names *names = context;
    CHECK(names->count < NAMES_MAX);
    snprintf(names->names[names->count++], NAME_MAX + 1, "%s", name);
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(one, other);
}

/* The names in a directory, in their order. */
static void list(hf_fs *fs, const char *folder, struct names *names)
{
    const int flags = O_RDONLY | O_DIRECTORY;
    const int fd = (int)CALL(fs, hf_open(fs, folder, flags, 0), open(folder, flags));
    names->count = 0;
    CHECK(fd >= 0);
    CHECK_EQUAL(call_list(fs, fd, add_name, names), 0);
    CHECK_EQUAL(CALL(fs, hf_close(fs, fd), close(fd)), 0);
    qsort(names->names, names->count, sizeof names->names[0], compare_names);
}

static void describe_content(hf_fs *fs, const char *path, off_t length, FILE *out)
{
    char content[64] = "";
    const int fd = (int)CALL(fs, hf_open(fs, path, O_RDONLY, 0), open(path, O_RDONLY));
    const long size = CALL(
        fs, hf_read(fs, fd, content, sizeof content - 1), read(fd, content, sizeof content - 1));
    fprintf(out, " %lld %.*s", (long long)length, (int)size, content);
    (void)CALL(fs, hf_close(fs, fd), close(fd));
}

/* What is in a tree, in words. */
static void describe(hf_fs *fs, const char *folder, FILE *out)
{
    struct names names;
    list(fs, folder, &names);
    for (size_t i = 0; i < names.count; i++) {
        char path[PATH_MAX];
        char xattrs[64];
        struct stat st;
        const char *name = names.names[i];
        if (strcmp(folder, ".") == 0 && strcmp(name, "..") == 0) {
            continue; /* the root's is itself */
        }
        snprintf(path, sizeof path, "%s/%s", folder, name);
        CHECK_EQUAL(CALL(fs, hf_lstat(fs, path, &st), lstat(path, &st)), 0);
        fprintf(out, "%s %o %u", path, st.st_mode, (unsigned)st.st_nlink);
        if (S_ISREG(st.st_mode)) {
            describe_content(fs, path, st.st_size, out);
        }
        fprintf(out,
                " %ld\n",
                CALL(fs,
                     hf_llistxattr(fs, path, xattrs, sizeof xattrs),
                     llistxattr(path, xattrs, sizeof xattrs)));
        if (S_ISDIR(st.st_mode) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            describe(fs, path, out);
        }
    }
}

/* Of the host's directory @root; on a served mount as another client sees it. */
static char *description(hf_fs *fs, const char *root)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL);
    const int before = open(".", O_PATH | O_DIRECTORY);
    CHECK_EQUAL(chdir(root), 0);
    describe(fs, ".", out);
    CHECK_EQUAL(fchdir(before), 0);
    close(before);
    fclose(out);
    return text;
}

/* Our own view of the directory @path: each entry, once, with a size. */
static int count_entries(hf_fs *fs, const char *path)
{
    hf_dirent entry;
    struct stat st;
    int count = 0;
    int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        CHECK_EQUAL(hf_fstatat(fs, fd, entry.name, &st, AT_SYMLINK_NOFOLLOW), 0);
        count++;
    }
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return count;
}

/* ---- a trial ---- */

static void begin(struct badinput *bad, struct fs_world *world, hf_fs *fs)
{
    CHECK_EQUAL(chdir(world->outside), 0);
    *bad = (struct badinput){
        .fs = fs,
        .ours_fd = hf_open(fs, "file", O_RDWR, 0),
        .theirs_fd = open("file", O_RDWR),
        .ours_to = hf_open(fs, "other", O_RDWR, 0),
        .theirs_to = open("other", O_RDWR),
        .ours_directory = hf_open(fs, ".", O_RDONLY | O_DIRECTORY, 0),
        .theirs_directory = open(".", O_RDONLY | O_DIRECTORY),
    };
    CHECK(bad->ours_fd >= 0 && bad->theirs_fd >= 0);
    CHECK(bad->ours_to >= 0 && bad->theirs_to >= 0);
    CHECK(bad->ours_directory >= 0 && bad->theirs_directory >= 0);
    CHECK_EQUAL(hf_lseek(fs, bad->ours_fd, 3, SEEK_SET), lseek(bad->theirs_fd, 3, SEEK_SET));
}

/* Both trees are alike, our view of ours is right, and the open files are where they were. */
static void compare_trees(struct badinput *bad, struct fs_world *world)
{
    hf_fs *fs = bad->fs;
    char buffer[64] = "", expected[64] = "";
    struct stat st, expected_st;

    struct names entries;
    hf_fs *other = fs_world_is_served() ? fs_world_visit(world) : NULL;
    char *ours = description(other, world->root);
    char *theirs = description(NULL, world->outside);
    hf_fs_detach(other);
    if (strcmp(ours, theirs) != 0) {
        fprintf(stderr, "# here:\n%s# from the kernel:\n%s", ours, theirs);
        bad->failures++;
    }
    free(ours);
    free(theirs);
    list(NULL, world->outside, &entries);
    badinput_compare(bad, "/", "entries", count_entries(fs, "/"), (long)entries.count);
    badinput_compare(bad,
                     "file",
                     "offset",
                     hf_lseek(fs, bad->ours_fd, 0, SEEK_CUR),
                     lseek(bad->theirs_fd, 0, SEEK_CUR));
    badinput_compare(bad,
                     "other",
                     "offset",
                     hf_lseek(fs, bad->ours_to, 0, SEEK_CUR),
                     lseek(bad->theirs_to, 0, SEEK_CUR));
    CHECK_EQUAL(hf_fstat(fs, bad->ours_fd, &st), 0);
    CHECK_EQUAL(fstat(bad->theirs_fd, &expected_st), 0);
    badinput_compare(bad, "file", "size", st.st_size, expected_st.st_size);
    badinput_compare(bad,
                     "file",
                     "data",
                     hf_pread(fs, bad->ours_fd, buffer, sizeof buffer, 0),
                     pread(bad->theirs_fd, expected, sizeof expected, 0));
    CHECK(memcmp(buffer, expected, sizeof buffer) == 0);
}

static void end(struct badinput *bad, struct fs_world *world)
{
    compare_trees(bad, world);
    CHECK_EQUAL(hf_close(bad->fs, bad->ours_directory), 0);
    CHECK_EQUAL(hf_close(bad->fs, bad->ours_to), 0);
    CHECK_EQUAL(hf_close(bad->fs, bad->ours_fd), 0);
    close(bad->theirs_directory);
    close(bad->theirs_to);
    close(bad->theirs_fd);
    CHECK_EQUAL(bad->failures, 0);
}

static void play(fs_world_act *act)
{
    struct fs_world world;
    /* A mount in memory is as tmpfs is. */
    fs_world_init_in(&world, fs_world_kind() == FS_WORLD_RAM ? folder_fast_parent() : "/tmp");
    hf_fs *fs = fs_world_is_served() ? fs_world_visit(&world) : NULL;
    assert_int_equal(chdir(world.root), 0);
    make_tree(fs);
    hf_fs_detach(fs);
    assert_int_equal(chdir(world.outside), 0);
    make_tree(NULL);
    assert_int_equal(chdir("/"), 0);
    fs_world_play(&world, act, NULL);
    fs_world_deinit(&world);
}

/* ---- pointers, descriptors, flags ----
 *
 * All of it is done twice: what the caches keep open is the same after both times. */

static void try_pointers(struct fs_world *world, hf_fs *fs, bool checked)
{
    struct badinput bad;
    begin(&bad, world, fs);
    badinput_try_pointers(&bad, checked);
    const int descriptors = test_count_descriptors();
    badinput_try_pointers(&bad, checked);
    CHECK_EQUAL(test_count_descriptors(), descriptors);
    end(&bad, world);
}

static void act_give_bad_pointers(struct fs_world *world, void *argument)
{
    try_pointers(world, world->fs, false);
}

static void test_bad_pointers_that_the_host_sees(void **state)
{
    FS_WORLD_DIRECT_ONLY("no system call of the host has them");
    play(act_give_bad_pointers);
}

static void act_give_bad_pointers_to_be_checked(struct fs_world *world, void *argument)
{
    hf_fs_config config = fs_world_config(world);
    hf_fs *checking;
    config.check_pointers = 1;
    checking = fs_world_attach(world, &config);
    try_pointers(world, checking, true);
    hf_fs_detach(checking);
}

static void test_all_bad_pointers_when_they_are_checked(void **state)
{
    play(act_give_bad_pointers_to_be_checked);
}

/* As some sandboxes do. */
static bool forbid_call(uint32_t number)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    const struct sock_fprog filter = {4, program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0 &&
           prctl(PR_SET_SECCOMP, (unsigned long)SECCOMP_MODE_FILTER, &filter, 0UL, 0UL) == 0;
}

static void act_check_what_cannot_be_checked(struct fs_world *world, void *argument)
{
    hf_fs_config config = fs_world_config(world);
    hf_fs *fs = NULL;
    config.check_pointers = 1;
    if (!forbid_call(SYS_process_vm_writev)) {
        return; /* no seccomp here */
    }
    world->fs = hf_fs_detach(world->fs);
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &fs), -ENOSYS);
    CHECK(fs == NULL);
    config.check_pointers = 0;
    CHECK_EQUAL(hf_fs_attach(world->client, &config, &world->fs), 0);
}

static void test_checking_is_refused_where_the_kernel_does_not_let_us(void **state)
{
    play(act_check_what_cannot_be_checked);
}

static void act_use_no_descriptors(struct fs_world *world, void *argument)
{
    hf_fs *other = fs_world_visit(world);
    struct badinput bad;
    int foreign = -1;

    begin(&bad, world, world->fs);
    while (foreign <= bad.ours_directory) {
        foreign = hf_open(other, "file", O_RDONLY, 0);
        CHECK(foreign >= 0);
    }
    const int closed = hf_open(world->fs, "file", O_RDWR, 0);
    CHECK_EQUAL(hf_close(world->fs, closed), 0);
    const struct {
        int fd;
        const char *how;
    } none[] = {
        {closed, "closed"},
        {foreign, "of another hf_fs"},
        {bad.theirs_directory, "of the host"},
        {-1, "-1"},
        {INT_MIN, "the lowest number"},
        {INT_MAX, "the highest number"},
        {HF_FS_DESCRIPTORS_MAX - 1, "the highest descriptor"},
        {HF_FS_DESCRIPTORS_MAX, "one more than the highest descriptor"},
        {AT_FDCWD, "AT_FDCWD"},
    };
    int descriptors = 0;
    for (int pass = 0; pass < 2; pass++) {
        descriptors = test_count_descriptors();
        for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
            badinput_try_descriptors(&bad, none[i].fd, none[i].how);
        }
    }
    CHECK_EQUAL(test_count_descriptors(), descriptors);
    CHECK_EQUAL(hf_read(other, foreign, &(char){0}, 1), 1);
    end(&bad, world);
    hf_fs_detach(other);
}

static void test_descriptors_that_are_not_open(void **state)
{
    play(act_use_no_descriptors);
}

static void act_give_wrong_flags(struct fs_world *world, void *argument)
{
    struct badinput bad;
    begin(&bad, world, world->fs);
    badinput_try_flags(&bad);
    const int descriptors = test_count_descriptors();
    badinput_try_flags(&bad);
    CHECK_EQUAL(test_count_descriptors(), descriptors);
    end(&bad, world);
}

static void test_flags_sizes_and_offsets_that_are_wrong(void **state)
{
    play(act_give_wrong_flags);
}

/* ---- names ---- */

static long create(hf_fs *fs, const char *name)
{
    int fd = fs != NULL ? hf_open(fs, name, O_CREAT | O_EXCL | O_RDWR, 0644)
                        : (int)badinput_kernel(open(name, O_CREAT | O_EXCL | O_RDWR, 0644));
    if (fd >= 0 && fs != NULL) {
        CHECK_EQUAL(hf_close(fs, fd), 0);
    } else if (fd >= 0) {
        close(fd);
    }
    return fd < 0 ? fd : 0;
}

/* How often @name is in a listing of the directory that is open. */
static int listed(hf_fs *fs, const char *name)
{
    hf_dirent entry;
    int found = 0;
    int fd = hf_open(fs, ".", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        found += strcmp(entry.name, name) == 0;
    }
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return found;
}

static int listed_by_host(const char *name)
{
    int found = 0;
    DIR *folder = opendir(".");
    CHECK(folder != NULL);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        found += strcmp(entry->d_name, name) == 0;
    }
    closedir(folder);
    return found;
}

/* Whatever can be done with a name, and is undone at the end. */
static void try_name(struct badinput *bad, const char *name)
{
    hf_fs *fs = bad->fs;
    struct stat st;
    char longer[PATH_MAX + 16];
    char target[16], expected[16];
    snprintf(longer, sizeof longer, "%s!", name);

#define BOTH(what, ours, theirs)                                                                   \
    badinput_compare(bad, what, name, (long)(ours), badinput_kernel((long)(theirs)))
    badinput_compare(bad, "create", name, create(fs, name), create(NULL, name));
    BOTH("stat", hf_stat(fs, name, &st), stat(name, &st));
    BOTH("list", listed(fs, name), listed_by_host(name));
    BOTH("rename", hf_rename(fs, name, longer), rename(name, longer));
    BOTH("stat of the old name", hf_stat(fs, name, &st), stat(name, &st));
    BOTH("link", hf_link(fs, longer, name), link(longer, name));
    BOTH("list again", listed(fs, name), listed_by_host(name));
    BOTH("unlink", hf_unlink(fs, name), unlink(name));
    BOTH("symlink", hf_symlink(fs, "file", name), symlink("file", name));
    BOTH("readlink",
         hf_readlink(fs, name, target, sizeof target),
         readlink(name, expected, sizeof expected));
    BOTH("unlink the link", hf_unlink(fs, name), unlink(name));
    BOTH("mkdir", hf_mkdir(fs, name, 0755), mkdir(name, 0755));
    BOTH("rename over", hf_rename(fs, longer, name), rename(longer, name));
    BOTH("rmdir", hf_rmdir(fs, name), rmdir(name));
    BOTH("unlink the other", hf_unlink(fs, longer), unlink(longer));
    BOTH("list at the end", listed(fs, name), listed_by_host(name));
#undef BOTH
}

static void act_use_odd_names(struct fs_world *world, void *argument)
{
    static const char *const odd[] = {
        "",
        "\xc3\x28",
        "\xf0\x9f\x98\x80",
        "\xed\xa0\x80",
        "\xff\xfe\xfd",
        "a\nb\tc",
        "-rf",
        "~",
        "*?[]{}",
        "a b",
        "...",
        ".. ",
        "\x7f\x1b",
        "%s%n%d",
        "\\",
        "file ",
        "FILE",
        "e\xcc\x81",
        "\xc3\xa9",
        "a/../\xff/../\xff",
    };
    struct badinput bad;
    begin(&bad, world, world->fs);
    for (int byte = 1; byte < 256; byte++) {
        const char alone[2] = {(char)byte, '\0'};
        const char around[4] = {'a', (char)byte, 'b', '\0'};
        if (byte != '/') {
            try_name(&bad, alone);
        }
        try_name(&bad, around);
    }
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        try_name(&bad, odd[i]);
    }
    end(&bad, world);
}

static void test_every_byte_is_a_name(void **state)
{
    play(act_use_odd_names);
}

/* "./././" and so on before "file", so that the whole is @length bytes long. */
static void make_long_path(char *path, size_t length, const char *filler, const char *name)
{
    const size_t name_length = strlen(name);
    const size_t filler_length = strlen(filler);
    for (size_t i = 0; i < length - name_length; i++) {
        path[i] = filler[i % filler_length];
    }
    memcpy(path + length - name_length, name, name_length + 1);
}

static void try_long_paths(struct badinput *bad)
{
    char path[PATH_MAX + 16];
    struct stat st;
    for (size_t length = PATH_MAX - 3; length <= PATH_MAX + 2; length++) {
        make_long_path(path, length, "./", length % 2 == 0 ? "file" : "/file");
        badinput_compare(
            bad, "stat", "long", hf_stat(bad->fs, path, &st), badinput_kernel(stat(path, &st)));
        make_long_path(path, length, "/", "sub");
        memcpy(path, "dir", 3);
        badinput_compare(
            bad, "stat", "slashes", hf_stat(bad->fs, path, &st), badinput_kernel(stat(path, &st)));
        make_long_path(path, length, "x", "");
        badinput_compare(bad,
                         "symlink",
                         "long target",
                         hf_symlink(bad->fs, path, "new"),
                         badinput_kernel(symlink(path, "new")));
        badinput_compare(bad,
                         "stat",
                         "through a long target",
                         hf_stat(bad->fs, "new", &st),
                         badinput_kernel(stat("new", &st)));
        hf_unlink(bad->fs, "new");
        unlink("new");
    }
}

/* Directories with the longest names in each other, as deep as one path can reach. */
static void try_deep_tree(struct badinput *bad)
{
    char path[2 * PATH_MAX];
    size_t length = 0;
    struct stat st;
    int depth = 0;
    for (; length < PATH_MAX; depth++) {
        length += (size_t)snprintf(
            path + length, sizeof path - length, "%s%0255d", depth > 0 ? "/" : "", depth);
        badinput_compare(bad,
                         "mkdir",
                         "deep",
                         hf_mkdir(bad->fs, path, 0755),
                         badinput_kernel(mkdir(path, 0755)));
        badinput_compare(
            bad, "stat", "deep", hf_stat(bad->fs, path, &st), badinput_kernel(stat(path, &st)));
    }
    CHECK_EQUAL(depth, PATH_MAX / 256 + 1);
    while (depth-- > 0) {
        badinput_compare(
            bad, "rmdir", "deep", hf_rmdir(bad->fs, path), badinput_kernel(rmdir(path)));
        path[depth > 0 ? 256 * (size_t)depth - 1 : 0] = '\0';
    }
}

static void act_use_long_names(struct fs_world *world, void *argument)
{
    char name[NAME_MAX + 16];
    struct badinput bad;
    begin(&bad, world, world->fs);
    for (size_t length = NAME_MAX - 2; length <= NAME_MAX + 2; length++) {
        make_long_path(name, length, "n", "");
        try_name(&bad, name);
        make_long_path(name, length, "\xff", "");
        try_name(&bad, name);
    }
    try_long_paths(&bad);
    try_deep_tree(&bad);
    end(&bad, world);
}

static void test_names_and_paths_at_their_limits(void **state)
{
    play(act_use_long_names);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_pointers_that_the_host_sees),
        cmocka_unit_test(test_all_bad_pointers_when_they_are_checked),
        cmocka_unit_test(test_checking_is_refused_where_the_kernel_does_not_let_us),
        cmocka_unit_test(test_descriptors_that_are_not_open),
        cmocka_unit_test(test_flags_sizes_and_offsets_that_are_wrong),
        cmocka_unit_test(test_every_byte_is_a_name),
        cmocka_unit_test(test_names_and_paths_at_their_limits),
    };
    return cmocka_run_group_tests_name("fs bad input", tests, NULL, NULL);
}
