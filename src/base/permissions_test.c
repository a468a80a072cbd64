/*
 * What we permit is what the kernel permits: each rule by hand, and as root a walk through owners,
 * groups and modes, with a process that has become another user asking the kernel.
 */
#include "base/permissions.h"

#include "lib/folder.h"
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The file's, the asker's, and somebody else's. */
#define OWNER 1001
#define GROUP 2001
#define OTHER 1002
#define OTHER_GROUP 2002

static const uint32_t in_group[] = {7, GROUP, 9};

static const struct credentials root = {.uid = 0, .gid = 0};
static const struct credentials owner = {.uid = OWNER, .gid = OTHER_GROUP};
static const struct credentials owner_in_group = {.uid = OWNER, .gid = GROUP};
static const struct credentials member = {.uid = OTHER, .gid = GROUP};
static const struct credentials far_member = {
    .uid = OTHER, .gid = OTHER_GROUP, .groups = in_group, .group_count = 3};
static const struct credentials stranger = {.uid = OTHER, .gid = OTHER_GROUP};

static struct permissions file(uint32_t mode)
{
    return (struct permissions){.mode = mode, .owner = OWNER, .group = GROUP};
}

/* ---- by hand ---- */

/* The first class that fits decides. */
static void test_classes(void **state)
{
    const struct permissions for_owner = file(S_IFREG | 0600);
    assert_int_equal(permit_access(&for_owner, &owner, MAY_READ | MAY_WRITE), 0);
    assert_int_equal(permit_access(&for_owner, &owner, MAY_SEARCH), -EACCES);
    assert_int_equal(permit_access(&for_owner, &member, MAY_READ), -EACCES);
    const struct permissions all_but_owner = file(S_IFREG | 0077);
    assert_int_equal(permit_access(&all_but_owner, &owner, MAY_READ), -EACCES);
    assert_int_equal(permit_access(&all_but_owner, &owner_in_group, MAY_READ), -EACCES);
    assert_int_equal(permit_access(&all_but_owner, &far_member, MAY_READ | MAY_WRITE), 0);
    const struct permissions all_but_group = file(S_IFREG | 0707);
    assert_int_equal(permit_access(&all_but_group, &far_member, MAY_READ), -EACCES);
    assert_int_equal(permit_access(&all_but_group, &stranger, MAY_READ | MAY_SEARCH), 0);
    assert_int_equal(permit_access(&all_but_group, &stranger, 0), 0);
}

/* User 0 may all, but for executing what nobody may. */
static void test_root(void **state)
{
    const struct permissions closed = file(S_IFREG);
    const struct permissions closed_directory = file(S_IFDIR);
    const struct permissions program = file(S_IFREG | 0010);
    assert_int_equal(permit_access(&closed, &root, MAY_READ | MAY_WRITE), 0);
    assert_int_equal(permit_access(&closed, &root, MAY_SEARCH), -EACCES);
    assert_int_equal(permit_access(&closed_directory, &root, MAY_SEARCH | MAY_WRITE), 0);
    assert_int_equal(permit_access(&program, &root, MAY_SEARCH), 0);
    assert_int_equal(permit_chown(&closed, &root, 5, 6), 0);
    assert_int_equal(permit_owner(&closed, &root), 0);
}

/* What is not one's own gets another name only if that lends nothing. */
static void test_links(void **state)
{
    const struct permissions open_file = file(S_IFREG | 0666);
    const struct permissions read_only = file(S_IFREG | 0644);
    const struct permissions with_user = file(S_IFREG | S_ISUID | 0666);
    const struct permissions with_group = file(S_IFREG | S_ISGID | 0676);
    const struct permissions locked = file(S_IFREG | S_ISGID | 0666);
    const struct permissions pipe = file(S_IFIFO | 0666);
    assert_int_equal(permit_link(&open_file, &stranger), 0);
    assert_int_equal(permit_link(&locked, &stranger), 0);
    assert_int_equal(permit_link(&read_only, &stranger), -EPERM);
    assert_int_equal(permit_link(&with_user, &stranger), -EPERM);
    assert_int_equal(permit_link(&with_group, &stranger), -EPERM);
    assert_int_equal(permit_link(&pipe, &stranger), -EPERM);
    assert_int_equal(permit_link(&pipe, &owner), 0);
    assert_int_equal(permit_link(&with_user, &root), 0);
}

static void test_sticky(void **state)
{
    const struct permissions open_directory = {.mode = S_IFDIR | 01777, .owner = 5, .group = 5};
    const struct permissions its_own = {.mode = S_IFDIR | 01777, .owner = OTHER, .group = 5};
    const struct permissions read_only = {.mode = S_IFDIR | 01755, .owner = 5, .group = 5};
    const struct permissions entry = file(S_IFREG | 0666);
    assert_int_equal(permit_remove(&open_directory, &entry, &owner), 0);
    assert_int_equal(permit_remove(&open_directory, &entry, &stranger), -EPERM);
    assert_int_equal(permit_remove(&open_directory, &entry, &root), 0);
    assert_int_equal(permit_remove(&its_own, &entry, &stranger), 0);
    assert_int_equal(permit_remove(&read_only, &entry, &owner), -EACCES);
}

static void test_chmod(void **state)
{
    const struct permissions of = file(S_IFREG | 0666);
    assert_int_equal(permit_owner(&of, &owner), 0);
    assert_int_equal(permit_owner(&of, &stranger), -EPERM);
    assert_int_equal(permit_mode(&owner, 06755, GROUP), 04755);
    assert_int_equal(permit_mode(&owner_in_group, 06755, GROUP), 06755);
    assert_int_equal(permit_mode(&root, 06755, GROUP), 06755);
}

static void test_chown(void **state)
{
    const struct permissions of = file(S_IFREG | 0666);
    assert_int_equal(permit_chown(&of, &stranger, UINT32_MAX, UINT32_MAX), 0);
    assert_int_equal(permit_chown(&of, &owner, OWNER, UINT32_MAX), 0);
    assert_int_equal(permit_chown(&of, &owner, OTHER, UINT32_MAX), -EPERM);
    assert_int_equal(permit_chown(&of, &stranger, OWNER, UINT32_MAX), -EPERM);
    assert_int_equal(permit_chown(&of, &owner, UINT32_MAX, GROUP), 0);
    assert_int_equal(permit_chown(&of, &owner, UINT32_MAX, OTHER_GROUP), 0);
    assert_int_equal(permit_chown(&of, &owner, UINT32_MAX, 5), -EPERM);
    assert_int_equal(permit_chown(&of, &member, UINT32_MAX, GROUP), -EPERM);
}

static void test_times(void **state)
{
    const struct permissions writable = file(S_IFREG | 0666);
    const struct permissions closed = file(S_IFREG | 0644);
    assert_int_equal(permit_times(&closed, &owner, false), 0);
    assert_int_equal(permit_times(&writable, &stranger, true), 0);
    assert_int_equal(permit_times(&writable, &stranger, false), -EPERM);
    assert_int_equal(permit_times(&closed, &stranger, true), -EACCES);
}

static void test_making(void **state)
{
    const struct permissions plain = file(S_IFDIR | 0777);
    const struct permissions set_group = file(S_IFDIR | 02777);
    assert_int_equal(permit_new_mode(&plain, &stranger, S_IFREG | 02755), S_IFREG | 02755);
    assert_int_equal(permit_new_mode(&set_group, &stranger, S_IFREG | 02755), S_IFREG | 0755);
    assert_int_equal(permit_new_mode(&set_group, &stranger, S_IFREG | 02744), S_IFREG | 02744);
    assert_int_equal(permit_new_mode(&set_group, &member, S_IFREG | 02755), S_IFREG | 02755);
    assert_int_equal(permit_new_mode(&set_group, &stranger, S_IFDIR | 02755), S_IFDIR | 02755);
    assert_int_equal(permit_new_type(&stranger, S_IFCHR | 0600, 5), -EPERM);
    assert_int_equal(permit_new_type(&stranger, S_IFCHR | 0600, 0), 0);
    assert_int_equal(permit_new_type(&stranger, S_IFBLK | 0600, 0), -EPERM);
    assert_int_equal(permit_new_type(&stranger, S_IFIFO | 0600, 0), 0);
    assert_int_equal(permit_new_type(&root, S_IFBLK | 0600, 5), 0);
}

static int set(const struct permissions *of, const struct credentials *who, const char *name)
{
    return permit_set_xattr(of, who, name, strlen(name));
}

static int get(const struct permissions *of, const struct credentials *who, const char *name)
{
    return permit_get_xattr(of, who, name, strlen(name));
}

static void test_xattrs(void **state)
{
    const struct permissions of = file(S_IFREG | 0646);
    const struct permissions link = file(S_IFLNK | 0777);
    const struct permissions sticky = file(S_IFDIR | 01777);
    assert_int_equal(set(&of, &stranger, "user.a"), 0);
    assert_int_equal(set(&of, &member, "user.a"), -EACCES);
    assert_int_equal(set(&link, &owner, "user.a"), -EPERM);
    assert_int_equal(set(&sticky, &stranger, "user.a"), -EPERM);
    assert_int_equal(set(&sticky, &owner, "user.a"), 0);
    assert_int_equal(set(&of, &owner, "trusted.a"), -EPERM);
    assert_int_equal(set(&of, &root, "trusted.a"), 0);
    assert_int_equal(set(&of, &owner, "security.a"), -EPERM);
    assert_int_equal(set(&of, &root, "security.a"), 0);
    assert_int_equal(get(&of, &member, "user.a"), 0);
    assert_int_equal(get(&of, &owner, "trusted.a"), -ENODATA);
    assert_int_equal(get(&of, &root, "trusted.a"), 0);
    assert_int_equal(get(&of, &stranger, "security.a"), 0);
    assert_int_equal(get(&link, &owner, "user.a"), -ENODATA);
    assert_false(permit_list_xattr(&owner, "trusted.a", 9));
    assert_true(permit_list_xattr(&root, "trusted.a", 9));
    assert_true(permit_list_xattr(&owner, "user.trusted.a", 14));
}

/* ---- the kernel ---- */

/* Become @who, for good. */
static void become(const struct credentials *who)
{
    gid_t groups[8];
    for (uint32_t i = 0; i < who->group_count; i++) {
        groups[i] = who->groups[i];
    }
    if (setgroups(who->group_count, groups) != 0 || setresgid(who->gid, who->gid, who->gid) != 0 ||
        setresuid(who->uid, who->uid, who->uid) != 0) {
        _exit(99);
    }
}

/* The number of the first check that failed; 0: none. In a process that has become @who. */
static int as(const struct credentials *who, int (*checks)(const struct credentials *who))
{
    int status;
    const pid_t child = fork();
    if (child == 0) {
        become(who);
        _exit(checks(who));
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char folder[FOLDER_PATH_BYTES];
static struct permissions now; /* of the file and the directory in the folder */

static int open_folder(void)
{
    return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int compare_access(const struct credentials *who)
{
    const int at = open_folder();
    int failed = 0;
    for (unsigned wanted = 0; wanted < 8 && failed == 0; wanted++) {
        const int mode = ((wanted & MAY_READ) != 0 ? R_OK : 0) |
                         ((wanted & MAY_WRITE) != 0 ? W_OK : 0) |
                         ((wanted & MAY_SEARCH) != 0 ? X_OK : 0);
        struct permissions directory = now;
        directory.mode = S_IFDIR | (now.mode & 07777);
        const int theirs = faccessat(at, "file", mode, AT_EACCESS) == 0 ? 0 : -errno;
        const int theirs_in = faccessat(at, "directory", mode, AT_EACCESS) == 0 ? 0 : -errno;
        if (theirs != permit_access(&now, who, wanted) ||
            theirs_in != permit_access(&directory, who, wanted)) {
            failed = (int)wanted + 1;
        }
    }
    return failed;
}

/* Changes nothing: what it sets is what is there, or must fail. */
static int compare_owner(const struct credentials *who)
{
    static const uint32_t owners[] = {UINT32_MAX, OWNER};
    static const uint32_t groups[] = {UINT32_MAX, GROUP};
    const int at = open_folder();
    for (int i = 0; i < 4; i++) {
        const int theirs = fchownat(at, "file", owners[i % 2], groups[i / 2], 0) == 0 ? 0 : -errno;
        if (theirs != permit_chown(&now, who, owners[i % 2], groups[i / 2])) {
            return i + 1;
        }
    }
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    const int present = utimensat(at, "file", NULL, 0) == 0 ? 0 : -errno;
    const int past = utimensat(at, "file", times, 0) == 0 ? 0 : -errno;
    return present != permit_times(&now, who, true) ? 5
           : past != permit_times(&now, who, false) ? 6
                                                    : 0;
}

static int compare_chmod(const struct credentials *who)
{
    const int at = open_folder();
    struct stat status;
    const int theirs = fchmodat(at, "file", 02755, 0) == 0 ? 0 : -errno;
    if (theirs != permit_owner(&now, who)) {
        return 1;
    }
    if (theirs == 0 && (fstatat(at, "file", &status, 0) != 0 ||
                        (status.st_mode & 07777) != permit_mode(who, 02755, GROUP))) {
        return 2;
    }
    return 0;
}

static const struct credentials *const all[] = {
    &root, &owner, &owner_in_group, &member, &far_member, &stranger};

static void make_both(const char *path, const char *directory, uint32_t mode)
{
    assert_int_equal(chown(path, OWNER, GROUP), 0);
    assert_int_equal(chown(directory, OWNER, GROUP), 0);
    assert_int_equal(chmod(path, mode), 0);
    assert_int_equal(chmod(directory, mode), 0);
    now = file(S_IFREG | mode);
}

static void test_the_kernel_says_the_same(void **state)
{
    char path[FOLDER_PATH_BYTES + 16], directory[FOLDER_PATH_BYTES + 16];
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(folder_make(folder), 0);
    assert_int_equal(chmod(folder, 0711), 0);
    snprintf(path, sizeof(path), "%s/file", folder);
    snprintf(directory, sizeof(directory), "%s/directory", folder);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    assert_int_equal(mkdir(directory, 0700), 0);
    int failed = 0;
    char what[128] = "";
    /* All modes of one class while the others are closed or open, and some that mix. */
    for (uint32_t step = 0; step < 60 && failed == 0; step++) {
        const uint32_t bits = step % 8;
        const uint32_t mode =
            step < 24   ? bits << (step / 8 * 3)
            : step < 48 ? (0777 & ~(7u << (step / 8 % 3 * 3))) | bits << (step / 8 % 3 * 3)
                        : (step * 0x5bd1 + 1) & 0777;
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && failed == 0; i++) {
            make_both(path, directory, mode);
            failed = as(all[i], compare_access);
            failed = failed == 0 && step % 6 == 0 ? 20 * as(all[i], compare_owner) : failed;
            make_both(path, directory, mode);
            failed = failed == 0 && step % 6 == 0 ? 200 * as(all[i], compare_chmod) : failed;
            snprintf(what, sizeof(what), "mode %o, user %zu: check %d", mode, i, failed);
        }
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(folder_remove(folder), 0);
    if (failed != 0) {
        fail_msg("%s", what);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_sticky),
        cmocka_unit_test(test_chmod),
        cmocka_unit_test(test_chown),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_making),
        cmocka_unit_test(test_xattrs),
        cmocka_unit_test(test_the_kernel_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
