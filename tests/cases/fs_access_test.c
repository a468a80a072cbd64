/*
 * Access lists and the umask, and whiteouts: every call is made here and in a directory of the
 * host, and two clients see the same of it. And what takes no permission.
 */
#include "lib/test.h"
#include "lib/fs_world.h"

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ACCESS_LIST "system.posix_acl_access"
#define DEFAULT_LIST "system.posix_acl_default"

#define NOBODY 65534

/* Different on purpose: the process's own makes no difference. */
#define OUR_UMASK 027
#define PROCESS_UMASK 077

static long kernel(long result)
{
    return result < 0 ? -errno : result;
}

#define SAME(ours, theirs)                                                                         \
    do {                                                                                           \
        const long ours_value = (ours);                                                            \
        umask(OUR_UMASK);                                                                          \
        const long theirs_value = kernel(theirs);                                                  \
        umask(PROCESS_UMASK);                                                                      \
        fs_world_check_equal(ours_value, theirs_value, #ours " == " #theirs, __FILE__, __LINE__);  \
    } while (0)

/* The kernel's form of a list: u::7 u:1234:@named g::@group m::7 o::@other. */
struct list {
    uint32_t version;
    struct {
        uint16_t tag;
        uint16_t permissions;
        uint32_t id;
    } entries[5];
};

static struct list list_of(unsigned named, unsigned group, unsigned other)
{
    const unsigned tags[5] = {0x01, 0x02, 0x04, 0x10, 0x20};
    const unsigned permissions[5] = {7, named, group, 7, other};
    struct list list = {.version = htole32(2)};
    for (int i = 0; i < 5; i++) {
        list.entries[i].tag = htole16((uint16_t)tags[i]);
        list.entries[i].permissions = htole16((uint16_t)permissions[i]);
        list.entries[i].id = htole32(i == 1 ? 1234 : UINT32_MAX);
    }
    return list;
}

static long ours_mode(hf_fs *fs, const char *path)
{
    struct stat st;
    int result = hf_lstat(fs, path, &st);
    return result < 0 ? result : (long)st.st_mode;
}

static long theirs_mode(const char *path)
{
    struct stat st;
    return lstat(path, &st) < 0 ? -1 : (long)st.st_mode;
}

static long unnamed_mode(hf_fs *fs, const char *path)
{
    struct stat st = {0};
    if (fs == NULL) {
        int fd = open(path, O_TMPFILE | O_RDWR, 0666);
        CHECK(fd >= 0);
        fstat(fd, &st);
        close(fd);
    } else {
        int fd = hf_open(fs, path, O_TMPFILE | O_RDWR, 0666);
        CHECK(fd >= 0);
        CHECK_EQUAL(hf_fstat(fs, fd, &st), 0);
        CHECK_EQUAL(hf_close(fs, fd), 0);
    }
    return (long)st.st_mode;
}

/* One of each kind, with all permissions and with few. */
static void make_all(hf_fs *fs, const char *directory)
{
    static const mode_t modes[] = {0777, 0666, 0600};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const mode_t mode = modes[i];
        char name[4][64];
        for (int k = 0; k < 4; k++) {
            snprintf(name[k], sizeof name[k], "%s/%d-%zu", directory, k, i);
        }
        int fd = hf_open(fs, name[0], O_CREAT | O_EXCL | O_RDWR, mode);
        CHECK(fd >= 0);
        CHECK_EQUAL(hf_close(fs, fd), 0);
        umask(OUR_UMASK);
        close(open(name[0], O_CREAT | O_EXCL | O_RDWR, mode));
        umask(PROCESS_UMASK);
        SAME(hf_mkdir(fs, name[1], mode), mkdir(name[1], mode));
        SAME(hf_mknod(fs, name[2], mode | S_IFREG, 0), mknod(name[2], mode | S_IFREG, 0));
        SAME(hf_mkfifo(fs, name[3], mode), mkfifo(name[3], mode));
        for (int k = 0; k < 4; k++) {
            SAME(ours_mode(fs, name[k]), theirs_mode(name[k]));
            SAME(hf_getxattr(fs, name[k], ACCESS_LIST, NULL, 0),
                 getxattr(name[k], ACCESS_LIST, NULL, 0));
            SAME(k == 1 ? hf_rmdir(fs, name[k]) : hf_unlink(fs, name[k]),
                 k == 1 ? rmdir(name[k]) : unlink(name[k]));
        }
    }
    SAME(unnamed_mode(fs, directory), unnamed_mode(NULL, directory));
}

static void act_use_default_lists(struct fs_world *world, void *argument)
{
    const struct list list = list_of(6, 5, 4);
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *fs = world->fs;
    hf_fs *other;

    config.root = world->root;
    other = fs_world_attach(world, &config);
    hf_umask(fs, OUR_UMASK);
    umask(PROCESS_UMASK);
    CHECK_EQUAL(chdir(world->outside), 0);

    SAME(hf_mkdir(fs, "dir", 0755), mkdir("dir", 0755));
    make_all(fs, "dir");
    /* Another client gives the directory a default list, and takes it away again. */
    SAME(hf_setxattr(other, "dir", DEFAULT_LIST, &list, sizeof list, 0),
         setxattr("dir", DEFAULT_LIST, &list, sizeof list, 0));
    make_all(fs, "dir");
    SAME(hf_mkdir(fs, "dir/sub", 0777), mkdir("dir/sub", 0777));
    make_all(fs, "dir/sub");
    SAME(hf_removexattr(other, "dir", DEFAULT_LIST), removexattr("dir", DEFAULT_LIST));
    make_all(fs, "dir");
    make_all(fs, "dir/sub");
    hf_fs_detach(other);
}

static void act_use_access_lists(struct fs_world *world, void *argument)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *fs = world->fs;
    hf_fs *other;
    struct list list;

    config.root = world->root;
    other = fs_world_attach(world, &config);
    umask(PROCESS_UMASK);
    CHECK_EQUAL(chdir(world->outside), 0);
    hf_umask(fs, OUR_UMASK);
    SAME(hf_mknod(fs, "file", 0600, 0), mknod("file", 0600, 0));
    SAME(hf_mkdir(fs, "dir", 0700), mkdir("dir", 0700));
    for (int i = 0; i < 4; i++) {
        const char *const name = i % 2 == 0 ? "file" : "dir";
        hf_fs *const setter = i < 2 ? fs : other;
        list = list_of(6, 4, (unsigned)i);
        SAME(ours_mode(fs, name), theirs_mode(name));
        /* It sets the mode, which was just cached. */
        SAME(hf_setxattr(setter, name, ACCESS_LIST, &list, sizeof list, 0),
             setxattr(name, ACCESS_LIST, &list, sizeof list, 0));
        SAME(ours_mode(fs, name), theirs_mode(name));
        SAME(hf_getxattr(fs, name, ACCESS_LIST, &list, sizeof list),
             getxattr(name, ACCESS_LIST, &list, sizeof list));
        SAME(hf_listxattr(fs, name, NULL, 0), listxattr(name, NULL, 0));
        /* And a mode changes the list. */
        struct list ours = {0}, theirs = {0};
        SAME(hf_chmod(setter, name, 0710), chmod(name, 0710));
        SAME(hf_getxattr(fs, name, ACCESS_LIST, &ours, sizeof ours),
             getxattr(name, ACCESS_LIST, &theirs, sizeof theirs));
        CHECK_EQUAL(memcmp(&ours, &theirs, sizeof ours), 0);
        SAME(hf_removexattr(setter, name, ACCESS_LIST), removexattr(name, ACCESS_LIST));
        SAME(ours_mode(fs, name), theirs_mode(name));
        SAME(hf_listxattr(fs, name, NULL, 0), listxattr(name, NULL, 0));
    }
    hf_fs_detach(other);
}

/* ---- whiteouts ---- */

#define RENAME(name, new_name, flags)                                                              \
    SAME(hf_renameat2(fs, HF_AT_FDCWD, name, HF_AT_FDCWD, new_name, flags),                        \
         renameat2(AT_FDCWD, name, AT_FDCWD, new_name, flags))

static void compare_node(hf_fs *fs, hf_fs *other, const char *name)
{
    struct stat ours = {0}, theirs = {0};
    SAME(hf_lstat(fs, name, &ours), lstat(name, &theirs));
    CHECK_EQUAL(ours.st_mode, theirs.st_mode);
    CHECK_EQUAL(ours.st_rdev, theirs.st_rdev);
    CHECK_EQUAL(ours.st_nlink, theirs.st_nlink);
    SAME(hf_lstat(other, name, &ours), lstat(name, &theirs));
    CHECK_EQUAL(ours.st_mode, theirs.st_mode);
    CHECK_EQUAL(ours.st_rdev, theirs.st_rdev);
}

static void act_leave_whiteouts(struct fs_world *world, void *argument)
{
    static const char *const names[] = {"a", "b", "dir", "dir/a", "dir/b", "dir/c", "x"};
    const size_t name_count = sizeof names / sizeof names[0];
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_fs *fs = world->fs;
    hf_fs *other;

    config.root = world->root;
    other = fs_world_attach(world, &config);
    umask(PROCESS_UMASK);
    CHECK_EQUAL(chdir(world->outside), 0);
    hf_umask(fs, OUR_UMASK);
    SAME(hf_mknod(fs, "a", 0600, 0), mknod("a", 0600, 0));
    SAME(hf_mknod(fs, "b", 0600, 0), mknod("b", 0600, 0));
    SAME(hf_mkdir(fs, "dir", 0700), mkdir("dir", 0700));
    RENAME("missing", "x", RENAME_WHITEOUT);
    RENAME("a", "b", RENAME_WHITEOUT | RENAME_EXCHANGE);
    RENAME("a", "b", RENAME_WHITEOUT | RENAME_NOREPLACE);
    RENAME("a", "dir/a", RENAME_WHITEOUT | RENAME_NOREPLACE);
    for (size_t i = 0; i < name_count; i++) {
        compare_node(fs, other, names[i]);
    }
    RENAME("dir/a", "dir/c", RENAME_WHITEOUT);
    RENAME("b", "a", RENAME_WHITEOUT); /* over a whiteout */
    RENAME("dir", "x", RENAME_WHITEOUT);
    for (size_t i = 0; i < name_count; i++) {
        compare_node(fs, other, names[i]);
    }
    SAME(hf_open(fs, "b", O_RDONLY, 0), open("b", O_RDONLY));
    SAME(hf_unlink(other, "b"), unlink("b"));
    SAME(hf_mkdir(fs, "b", 0755), mkdir("b", 0755));
    compare_node(fs, other, "b");
    hf_fs_detach(other);
}

/* Whoever starts this, from here on it is somebody who may not do everything. */
static void lose_privileges(struct fs_world *world)
{
    if (geteuid() == 0) {
        CHECK_EQUAL(chmod(world->folder, 0755), 0);
        CHECK_EQUAL(hf_chown(world->fs, "/", NOBODY, NOBODY), 0);
        fs_world_become_nobody(world);
    }
}

/* What takes no permission on Linux: to go up takes it where it begins, and not above; and who
 * renames need not be let into what lies between. */
static void act_go_up(struct fs_world *world, void *argument)
{
    struct stat here;
    struct stat found;
    lose_privileges(world);
    hf_fs *fs = world->fs;
    CHECK_EQUAL(hf_mkdir(fs, "c", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "c/b", 0755), 0);
    CHECK_EQUAL(hf_mkdir(fs, "c/b/e", 0755), 0);
    CHECK_EQUAL(hf_mknod(fs, "a", 0644, 0), 0);
    CHECK_EQUAL(hf_chdir(fs, "c/b"), 0);
    CHECK_EQUAL(hf_stat(fs, ".", &here), 0);
    CHECK_EQUAL(hf_chmod(fs, "/c", 0600), 0);
    CHECK_EQUAL(hf_stat(fs, "e/..", &found), 0);
    CHECK_EQUAL(found.st_ino, here.st_ino);
    CHECK_EQUAL(hf_stat(fs, "..", &found), 0);
    CHECK_EQUAL(found.st_mode, S_IFDIR | 0600);
    CHECK_EQUAL(hf_stat(fs, "../..", &found), -EACCES);
    CHECK_EQUAL(hf_stat(fs, "../b", &found), -EACCES);
    CHECK_EQUAL(hf_rename(fs, "/c", "e/c"), -EINVAL);
    CHECK_EQUAL(hf_rename(fs, "/a", "e/a"), 0);
    CHECK_EQUAL(hf_stat(fs, "e/a", &found), 0);
    CHECK_EQUAL(hf_chdir(fs, "e"), 0);
    CHECK_EQUAL(hf_chmod(fs, "..", 0600), 0); /* one more on the way */
    CHECK_EQUAL(hf_stat(fs, "..", &found), 0);
    CHECK_EQUAL(found.st_ino, here.st_ino);
    CHECK_EQUAL(hf_rename(fs, "/c", "c"), -EINVAL);
    CHECK_EQUAL(hf_rename(fs, "a", "/c"), -ENOTEMPTY);
    CHECK_EQUAL(hf_rename(fs, "a", "/a"), 0);
    CHECK_EQUAL(hf_chmod(fs, "/c", 0755), 0);
    CHECK_EQUAL(hf_chmod(fs, "/c/b", 0755), 0);
    /* That nothing can be put into a directory that was removed comes before all that. */
    CHECK_EQUAL(hf_rmdir(fs, "/c/b/e"), 0);
    CHECK_EQUAL(hf_rename(fs, "/c", "c"), -ENOENT);
}

/* ---- search permission ---- */

/* Root, who may give files away, but is let into no directory for that. Return: false when this
 * process is not root. */
static bool keep_chown_only(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct kept[2] = {
        {.effective = 1U << CAP_CHOWN, .permitted = 1U << CAP_CHOWN}};
    if (geteuid() != 0) {
        return false;
    }
    CHECK_EQUAL(syscall(SYS_capset, &header, kept), 0);
    return true;
}

/* All of "d" is known: what is there, and what is not. */
static void look_into(hf_fs *fs)
{
    struct stat attributes;
    hf_dirent entry;
    int fd = hf_open(fs, "d", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
    }
    CHECK_EQUAL(hf_close(fs, fd), 0);
    CHECK_EQUAL(hf_stat(fs, "d/f", &attributes), 0);
    CHECK_EQUAL(hf_stat(fs, "d/none", &attributes), -ENOENT);
}

static void expect_no_search(hf_fs *fs)
{
    struct stat attributes;
    CHECK_EQUAL(hf_stat(fs, "d/f", &attributes), -EACCES);
    CHECK_EQUAL(hf_stat(fs, "d/none", &attributes), -EACCES);
    CHECK_EQUAL(hf_open(fs, "d/f", O_RDONLY, 0), -EACCES);
}

/* Both clients know the directory; one of them takes the permission away, by each way there is. */
static void act_take_search_away(struct fs_world *world, void *argument)
{
    struct list own_read_only = list_of(0, 0, 0);
    const bool served = fs_world_is_served();
    if (served) {
        lose_privileges(world); /* it has no others than the user's, and no access lists */
    }
    hf_fs *const fs[2] = {world->fs, fs_world_visit(world)};

    own_read_only.entries[0].permissions = htole16(4);
    const bool may_chown = !served && keep_chown_only();
    for (int who = 0; who < 2; who++) {
        CHECK_EQUAL(hf_mkdir(fs[who], "d", 0700), 0);
        CHECK_EQUAL(hf_mknod(fs[who], "d/f", 0644, 0), 0);
        look_into(fs[!who]);
        look_into(fs[who]);
        CHECK_EQUAL(
            served
                ? hf_chmod(fs[who], "d", 0400)
                : hf_setxattr(fs[who], "d", ACCESS_LIST, &own_read_only, sizeof own_read_only, 0),
            0);
        expect_no_search(fs[who]);
        expect_no_search(fs[!who]);
        CHECK_EQUAL(hf_chmod(fs[who], "d", 0700), 0);
        look_into(fs[!who]);
        look_into(fs[who]);
        if (may_chown) {
            CHECK_EQUAL(hf_chown(fs[who], "d", NOBODY, NOBODY), 0);
            expect_no_search(fs[who]);
            expect_no_search(fs[!who]);
            CHECK_EQUAL(hf_chown(fs[who], "d", 0, 0), 0);
        }
        look_into(fs[who]);
        CHECK_EQUAL(hf_unlink(fs[who], "d/f"), 0);
        CHECK_EQUAL(hf_rmdir(fs[who], "d"), 0);
    }
    hf_fs_detach(fs[1]);
}

/* A listing says what is there, and who may not search is not told what is not. */
static void act_list_only(struct fs_world *world, void *argument)
{
    hf_dirent entry;
    lose_privileges(world);
    hf_fs *fs = world->fs;
    CHECK_EQUAL(hf_mkdir(fs, "d", 0700), 0);
    CHECK_EQUAL(hf_mknod(fs, "d/f", 0644, 0), 0);
    CHECK_EQUAL(hf_chmod(fs, "d", 0400), 0);
    int fd = hf_open(fs, "d", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
    }
    expect_no_search(fs);
    CHECK_EQUAL(hf_chmod(fs, "d", 0700), 0);
}

/* That it cannot be opened at all comes after what it may be opened for. */
static void act_open_socket(struct fs_world *world, void *argument)
{
    lose_privileges(world);
    CHECK_EQUAL(hf_mknod(world->fs, "s", S_IFSOCK | 0400, 0), 0);
    CHECK_EQUAL(hf_open(world->fs, "s", O_RDWR, 0), -EACCES);
    CHECK_EQUAL(hf_open(world->fs, "s", O_RDONLY, 0), -ENXIO);
}

static void play(fs_world_act *act)
{
    struct fs_world world;
    fs_world_init(&world);
    fs_world_play(&world, act, NULL);
    fs_world_deinit(&world);
}

/* Some hosts put the whiteout there before they find out, which moves times. */
static void act_fail_to_leave_whiteout(struct fs_world *world, void *argument)
{
    struct stat ours;
    struct stat theirs;
    CHECK_EQUAL(hf_mkdir(world->fs, "a", 0755), 0);
    CHECK_EQUAL(hf_mkdir(world->fs, "b", 0755), 0);
    CHECK_EQUAL(hf_mkdir(world->fs, "b/c", 0755), 0);
    CHECK_EQUAL(hf_stat(world->fs, "/", &ours), 0);
    CHECK_EQUAL(hf_renameat2(world->fs, HF_AT_FDCWD, "a", HF_AT_FDCWD, "b", RENAME_WHITEOUT),
                -ENOTEMPTY);
    CHECK_EQUAL(hf_stat(world->fs, "/", &ours), 0);
    CHECK_EQUAL(stat(world->root, &theirs), 0);
    CHECK_EQUAL(ours.st_mtim.tv_nsec, theirs.st_mtim.tv_nsec);
    CHECK_EQUAL(ours.st_ctim.tv_nsec, theirs.st_ctim.tv_nsec);
}

static void test_a_default_list_takes_the_place_of_the_umask(void **state)
{
    FS_WORLD_DIRECT_ONLY("there are no access lists");
    play(act_use_default_lists);
}

static void test_a_list_sets_the_mode_and_a_mode_the_list(void **state)
{
    FS_WORLD_DIRECT_ONLY("there are no access lists");
    play(act_use_access_lists);
}

static void test_whiteouts(void **state)
{
    FS_WORLD_DIRECT_ONLY("there are no whiteouts");
    play(act_leave_whiteouts);
}

static void test_times_after_a_whiteout_that_failed(void **state)
{
    FS_WORLD_DIRECT_ONLY("there are no whiteouts");
    play(act_fail_to_leave_whiteout);
}

static void test_going_up_takes_no_permission_above(void **state)
{
    play(act_go_up);
}

static void test_who_may_not_search_any_more_finds_nothing(void **state)
{
    play(act_take_search_away);
}

static void test_who_may_only_list_is_not_told_what_is_absent(void **state)
{
    play(act_list_only);
}

static void test_a_socket_that_may_not_be_written(void **state)
{
    play(act_open_socket);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_default_list_takes_the_place_of_the_umask),
        cmocka_unit_test(test_a_list_sets_the_mode_and_a_mode_the_list),
        cmocka_unit_test(test_whiteouts),
        cmocka_unit_test(test_times_after_a_whiteout_that_failed),
        cmocka_unit_test(test_going_up_takes_no_permission_above),
        cmocka_unit_test(test_who_may_not_search_any_more_finds_nothing),
        cmocka_unit_test(test_who_may_only_list_is_not_told_what_is_absent),
        cmocka_unit_test(test_a_socket_that_may_not_be_written),
    };
    return cmocka_run_group_tests_name("fs access", tests, NULL, NULL);
}
