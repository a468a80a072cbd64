/* The coherence matrix: what changes something. */
#include "cases/fs_matrix.h"

#include <linux/falloc.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CONTENT "0123456789"
#define SPARSE_DATA 4096
#define SPARSE_SIZE (64 * 1024)

const struct fs_world *matrix_world;

/* ---- the tree ---- */

static int put(hf_fs *fs, const char *path, int flags, const void *bytes, size_t size, off_t at)
{
    int fd = hf_open(fs, path, O_WRONLY | flags, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_pwrite(fs, fd, bytes, size, at), size);
    return hf_close(fs, fd);
}

static int make_text(hf_fs *fs, const char *path, const char *text)
{
    return put(fs, path, O_CREAT | O_EXCL, text, strlen(text), 0);
}

static int set_times(hf_fs *fs)
{
    static const struct timespec times[2] = {{.tv_sec = 100}, {.tv_sec = 200}};
    return hf_utimensat(fs, HF_AT_FDCWD, "m/file", times, 0);
}

static int make_file(hf_fs *fs)
{
    CHECK_EQUAL(make_text(fs, "m/file", CONTENT), 0);
    int result = hf_setxattr(fs, "m/file", "user.kept", "kept", 4, 0);
    CHECK(result == 0 || result == -EOPNOTSUPP);
    return set_times(fs);
}

static int put_sparse(hf_fs *fs)
{
    char bytes[SPARSE_DATA];
    memset(bytes, 's', sizeof bytes);
    CHECK_EQUAL(put(fs, "m/sparse", O_CREAT, bytes, sizeof bytes, 0), 0);
    return hf_truncate(fs, "m/sparse", SPARSE_SIZE);
}

void matrix_make_tree(hf_fs *fs)
{
    hf_umask(fs, 022);
    CHECK_EQUAL(hf_mkdir(fs, "m", 0755), 0);
    CHECK_EQUAL(make_file(fs), 0);
    CHECK_EQUAL(make_text(fs, "m/other", "abc"), 0);
    CHECK_EQUAL(put_sparse(fs), 0);
    CHECK_EQUAL(hf_mkdir(fs, "m/dir", 0755), 0);
    CHECK_EQUAL(make_text(fs, "m/dir/inner", "inner"), 0);
    CHECK_EQUAL(hf_mkdir(fs, "m/empty", 0755), 0);
    CHECK_EQUAL(hf_symlink(fs, "file", "m/link"), 0);
}

/* ---- making ---- */

static int create(hf_fs *fs)
{
    return hf_close(fs, hf_open(fs, "m/new", O_CREAT | O_EXCL | O_WRONLY, 0644));
}

static int create_at(hf_fs *fs)
{
    int at = hf_open(fs, "m", O_PATH | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_close(fs, hf_openat(fs, at, "new", O_CREAT | O_RDWR, 0600)), 0);
    return hf_close(fs, at);
}

static int make_unnamed(hf_fs *fs)
{
    int fd = hf_open(fs, "m/dir", O_TMPFILE | O_WRONLY, 0640);
    if (fd < 0) {
        return fd;
    }
    CHECK_EQUAL(hf_write(fs, fd, "unnamed", 7), 7);
    int result = hf_linkat(fs, fd, "", HF_AT_FDCWD, "m/new", AT_EMPTY_PATH);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return result == -ENOENT ? -EOPNOTSUPP : result; /* older kernels ask for a privilege */
}

static int remove_new(hf_fs *fs)
{
    return hf_unlink(fs, "m/new");
}

static int make_directory(hf_fs *fs)
{
    return hf_mkdir(fs, "m/new", 0700);
}

static int remove_new_directory(hf_fs *fs)
{
    return hf_rmdir(fs, "m/new");
}

static int remove_new_directory_at(hf_fs *fs)
{
    int at = hf_open(fs, "m", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_unlinkat(fs, at, "new", AT_REMOVEDIR), 0);
    return hf_close(fs, at);
}

static int make_directory_at(hf_fs *fs)
{
    int at = hf_open(fs, "m", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_mkdirat(fs, at, "new", 0755), 0);
    return hf_close(fs, at);
}

static int make_pipe(hf_fs *fs)
{
    return hf_mkfifo(fs, "m/new", 0600);
}

static int make_socket(hf_fs *fs)
{
    return hf_mknod(fs, "m/new", S_IFSOCK | 0644, 0);
}

static int make_symlink(hf_fs *fs)
{
    return hf_symlink(fs, "dir", "m/new");
}

static int make_link(hf_fs *fs)
{
    return hf_link(fs, "m/file", "m/new");
}

static int make_link_following(hf_fs *fs)
{
    return hf_linkat(fs, HF_AT_FDCWD, "m/link", HF_AT_FDCWD, "m/new", AT_SYMLINK_FOLLOW);
}

static int make_link_elsewhere(hf_fs *fs)
{
    return hf_link(fs, "m/file", "m/dir/new");
}

static int remove_link_elsewhere(hf_fs *fs)
{
    return hf_unlink(fs, "m/dir/new");
}

/* ---- data ---- */

static int append(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_WRONLY | O_APPEND, 0);
    CHECK_EQUAL(hf_write(fs, fd, "append", 6), 6);
    return hf_close(fs, fd);
}

static int shrink_back(hf_fs *fs)
{
    return hf_truncate(fs, "m/file", (off_t)strlen(CONTENT));
}

static int overwrite(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_RDWR, 0);
    CHECK_EQUAL(hf_write(fs, fd, "xyz", 3), 3);
    return hf_close(fs, fd);
}

static int overwrite_vectors(hf_fs *fs)
{
    char bytes[2][3] = {"ab", "cd"};
    const struct iovec vectors[2] = {{bytes[0], 2}, {bytes[1], 2}};
    int fd = hf_open(fs, "m/file", O_WRONLY, 0);
    CHECK_EQUAL(hf_writev(fs, fd, vectors, 2), 4);
    CHECK_EQUAL(hf_pwritev(fs, fd, vectors, 2, 5), 4);
    return hf_close(fs, fd);
}

static int write_back(hf_fs *fs)
{
    return put(fs, "m/file", 0, CONTENT, strlen(CONTENT), 0);
}

static int shrink(hf_fs *fs)
{
    return hf_truncate(fs, "m/file", 4);
}

static int grow(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_WRONLY, 0);
    CHECK_EQUAL(hf_ftruncate(fs, fd, 5000), 0);
    return hf_close(fs, fd);
}

static int open_truncating(hf_fs *fs)
{
    return hf_close(fs, hf_open(fs, "m/file", O_WRONLY | O_TRUNC, 0));
}

static int copy(hf_fs *fs)
{
    off_t at = 2;
    int from = hf_open(fs, "m/other", O_RDONLY, 0);
    int to = hf_open(fs, "m/file", O_WRONLY, 0);
    CHECK_EQUAL(hf_copy_file_range(fs, from, NULL, to, &at, 3, 0), 3);
    CHECK_EQUAL(hf_close(fs, from), 0);
    return hf_close(fs, to);
}

static int allocate_in(hf_fs *fs, const char *path, int mode, off_t at, off_t length)
{
    int fd = hf_open(fs, path, O_WRONLY, 0);
    CHECK(fd >= 0);
    int result = hf_fallocate(fs, fd, mode, at, length);
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return result;
}

static int allocate(hf_fs *fs)
{
    return allocate_in(fs, "m/file", 0, 0, 50);
}

static int allocate_hidden(hf_fs *fs)
{
    return allocate_in(fs, "m/sparse", FALLOC_FL_KEEP_SIZE, 2 * SPARSE_DATA, SPARSE_DATA);
}

static int punch(hf_fs *fs)
{
    return allocate_in(fs, "m/sparse", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SPARSE_DATA);
}

static int zero(hf_fs *fs)
{
    return allocate_in(fs, "m/sparse", FALLOC_FL_ZERO_RANGE, 0, SPARSE_DATA);
}

static int collapse(hf_fs *fs)
{
    return allocate_in(fs, "m/sparse", FALLOC_FL_COLLAPSE_RANGE, 0, SPARSE_DATA);
}

static int insert(hf_fs *fs)
{
    return allocate_in(fs, "m/sparse", FALLOC_FL_INSERT_RANGE, 0, SPARSE_DATA);
}

static int make_sparse_again(hf_fs *fs)
{
    CHECK_EQUAL(hf_truncate(fs, "m/sparse", 0), 0);
    return put_sparse(fs);
}

/* ---- removing ---- */

static int remove_file(hf_fs *fs)
{
    return hf_unlink(fs, "m/file");
}

static int remove_inner(hf_fs *fs)
{
    return hf_unlink(fs, "m/dir/inner");
}

static int make_inner(hf_fs *fs)
{
    return make_text(fs, "m/dir/inner", "inner");
}

static int remove_directory(hf_fs *fs)
{
    return hf_rmdir(fs, "m/empty");
}

static int make_empty(hf_fs *fs)
{
    return hf_mkdir(fs, "m/empty", 0755);
}

static int replace_link(hf_fs *fs)
{
    CHECK_EQUAL(hf_unlink(fs, "m/link"), 0);
    return hf_symlink(fs, "dir/inner", "m/link");
}

static int replace_link_back(hf_fs *fs)
{
    CHECK_EQUAL(hf_symlink(fs, "file", "m/new"), 0);
    return hf_rename(fs, "m/new", "m/link");
}

/* ---- moving ---- */

static int rename_file(hf_fs *fs)
{
    return hf_rename(fs, "m/file", "m/new");
}

static int rename_file_back(hf_fs *fs)
{
    return hf_rename(fs, "m/new", "m/file");
}

static int rename_over(hf_fs *fs)
{
    return hf_rename(fs, "m/other", "m/file");
}

static int make_both(hf_fs *fs)
{
    CHECK_EQUAL(hf_rename(fs, "m/file", "m/other"), 0);
    return make_file(fs);
}

static int rename_into(hf_fs *fs)
{
    return hf_rename(fs, "m/file", "m/dir/new");
}

static int rename_into_back(hf_fs *fs)
{
    int from = hf_open(fs, "m/dir", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(hf_renameat(fs, from, "new", HF_AT_FDCWD, "m/file"), 0);
    return hf_close(fs, from);
}

static int rename_out_of(hf_fs *fs)
{
    return hf_rename(fs, "m/dir/inner", "m/file");
}

static int rename_out_of_back(hf_fs *fs)
{
    CHECK_EQUAL(hf_rename(fs, "m/file", "m/dir/inner"), 0);
    return make_file(fs);
}

static int rename_directory(hf_fs *fs)
{
    return hf_rename(fs, "m/dir", "m/new");
}

static int rename_directory_back(hf_fs *fs)
{
    return hf_rename(fs, "m/new", "m/dir");
}

static int rename_directory_over(hf_fs *fs)
{
    return hf_rename(fs, "m/dir", "m/empty");
}

static int rename_directory_over_back(hf_fs *fs)
{
    CHECK_EQUAL(hf_rename(fs, "m/empty", "m/dir"), 0);
    return make_empty(fs);
}

static int rename_directory_into(hf_fs *fs)
{
    return hf_rename(fs, "m/dir", "m/empty/new");
}

static int rename_directory_out(hf_fs *fs)
{
    return hf_rename(fs, "m/empty/new", "m/dir");
}

static int rename_noreplace(hf_fs *fs)
{
    return hf_renameat2(fs, HF_AT_FDCWD, "m/link", HF_AT_FDCWD, "m/new", RENAME_NOREPLACE);
}

static int rename_noreplace_back(hf_fs *fs)
{
    return hf_renameat2(fs, HF_AT_FDCWD, "m/new", HF_AT_FDCWD, "m/link", RENAME_NOREPLACE);
}

static int exchange(hf_fs *fs, const char *one, const char *other)
{
    return hf_renameat2(fs, HF_AT_FDCWD, one, HF_AT_FDCWD, other, RENAME_EXCHANGE);
}

static int exchange_files(hf_fs *fs)
{
    return exchange(fs, "m/file", "m/dir/inner");
}

static int exchange_directories(hf_fs *fs)
{
    return exchange(fs, "m/dir", "m/empty");
}

static int exchange_both(hf_fs *fs)
{
    return exchange(fs, "m/dir", "m/file");
}

static int exchange_with_link(hf_fs *fs)
{
    return exchange(fs, "m/link", "m/file");
}

/* ---- attributes ---- */

static int chmod_through_link(hf_fs *fs)
{
    return hf_chmod(fs, "m/link", 0711);
}

static int chmod_to_nothing(hf_fs *fs)
{
    return hf_fchmodat(fs, HF_AT_FDCWD, "m/file", 0, 0);
}

static int chmod_back(hf_fs *fs)
{
    return hf_chmod(fs, "m/file", 0644);
}

static int fchmod_file(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_RDONLY, 0);
    CHECK_EQUAL(hf_fchmod(fs, fd, 0200), 0);
    return hf_close(fs, fd);
}

static int close_directory(hf_fs *fs)
{
    return hf_chmod(fs, "m/dir", 0600);
}

static int hide_directory(hf_fs *fs)
{
    return hf_chmod(fs, "m/dir", 0100);
}

static int open_directory(hf_fs *fs)
{
    return hf_chmod(fs, "m/dir", 0755);
}

/* The processes have this group besides their own, if they may. */
static int change_group(hf_fs *fs)
{
    gid_t other;
    if (getgroups(1, &other) != 1) {
        other = (gid_t)-1; /* moves the time of change all the same */
    }
    return hf_chown(fs, "m/file", (uid_t)-1, other);
}

static int change_group_back(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_RDONLY, 0);
    CHECK_EQUAL(hf_fchown(fs, fd, (uid_t)-1, getegid()), 0);
    return hf_close(fs, fd);
}

/* Of this thread alone: only its own calls need it. */
static bool become(uid_t effective)
{
    return syscall(SYS_setresuid, -1, effective, -1) == 0;
}

static int chown_privileged(hf_fs *fs, const char *path, uid_t owner)
{
    const uid_t self = geteuid();
    if (!become(0)) {
        return -EOPNOTSUPP; /* not started by root */
    }
    /* On a served mount it is the connection that says who it is. */
    hf_fs *root = fs_world_is_served() ? fs_world_visit(matrix_world) : NULL;
    int result = hf_chown(root != NULL ? root : fs, path, owner, (gid_t)-1);
    hf_fs_detach(root);
    CHECK(become(self));
    return result;
}

static int give_file_away(hf_fs *fs)
{
    CHECK_EQUAL(hf_chmod(fs, "m/file", 0600), 0);
    int result = chown_privileged(fs, "m/file", 0);
    return result < 0 ? hf_chmod(fs, "m/file", 0644), result : 0;
}

static int take_file_back(hf_fs *fs)
{
    CHECK_EQUAL(chown_privileged(fs, "m/file", geteuid()), 0);
    return hf_chmod(fs, "m/file", 0644);
}

static int give_directory_away(hf_fs *fs)
{
    CHECK_EQUAL(hf_chmod(fs, "m/dir", 0700), 0);
    int result = chown_privileged(fs, "m/dir", 0);
    return result < 0 ? hf_chmod(fs, "m/dir", 0755), result : 0;
}

static int take_directory_back(hf_fs *fs)
{
    CHECK_EQUAL(chown_privileged(fs, "m/dir", geteuid()), 0);
    return hf_chmod(fs, "m/dir", 0755);
}

static int change_times(hf_fs *fs)
{
    static const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 300}};
    return hf_utimensat(fs, HF_AT_FDCWD, "m/file", times, 0);
}

static int change_times_of_link(hf_fs *fs)
{
    static const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 6}};
    return hf_utimensat(fs, HF_AT_FDCWD, "m/link", times, AT_SYMLINK_NOFOLLOW);
}

static int touch_file(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_RDONLY, 0);
    CHECK_EQUAL(hf_futimens(fs, fd, NULL), 0);
    return hf_close(fs, fd);
}

static int touch_link(hf_fs *fs)
{
    return hf_utimensat(fs, HF_AT_FDCWD, "m/link", NULL, AT_SYMLINK_NOFOLLOW);
}

/* ---- extended attributes ---- */

static int set_xattr(hf_fs *fs)
{
    return hf_setxattr(fs, "m/file", "user.matrix", "value", 5, XATTR_CREATE);
}

static int remove_xattr(hf_fs *fs)
{
    return hf_removexattr(fs, "m/link", "user.matrix");
}

static int replace_xattr(hf_fs *fs)
{
    return hf_setxattr(fs, "m/file", "user.kept", "longer than before", 18, XATTR_REPLACE);
}

static int restore_xattr(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_RDONLY, 0);
    CHECK_EQUAL(hf_fsetxattr(fs, fd, "user.kept", "kept", 4, 0), 0);
    return hf_close(fs, fd);
}

static int remove_kept_xattr(hf_fs *fs)
{
    int fd = hf_open(fs, "m/file", O_RDONLY, 0);
    int result = hf_fremovexattr(fs, fd, "user.kept");
    CHECK_EQUAL(hf_close(fs, fd), 0);
    return result;
}

const struct change changes[] = {
    {"create, unlink", create, remove_new},
    {"openat O_CREAT, unlink", create_at, remove_new},
    {"O_TMPFILE and linkat, unlink", make_unnamed, remove_new},
    {"mkdir, rmdir", make_directory, remove_new_directory},
    {"mkdirat, unlinkat", make_directory_at, remove_new_directory_at},
    {"mkfifo, unlink", make_pipe, remove_new},
    {"mknod, unlink", make_socket, remove_new},
    {"symlink, unlink", make_symlink, remove_new},
    {"link, unlink", make_link, remove_new},
    {"linkat through a link, unlink", make_link_following, remove_new},
    {"link into another directory, unlink", make_link_elsewhere, remove_link_elsewhere},
    {"append, truncate", append, shrink_back},
    {"write, pwrite", overwrite, write_back},
    {"writev and pwritev, pwrite", overwrite_vectors, write_back},
    {"truncate, pwrite", shrink, write_back},
    {"ftruncate up, truncate", grow, shrink_back},
    {"open O_TRUNC, pwrite", open_truncating, write_back},
    {"copy_file_range, pwrite", copy, write_back},
    {"fallocate, truncate", allocate, shrink_back},
    {"fallocate KEEP_SIZE, truncate", allocate_hidden, make_sparse_again},
    {"fallocate PUNCH_HOLE, pwrite", punch, make_sparse_again},
    {"fallocate ZERO_RANGE, pwrite", zero, make_sparse_again},
    {"fallocate COLLAPSE_RANGE, truncate", collapse, make_sparse_again},
    {"fallocate INSERT_RANGE, truncate", insert, make_sparse_again},
    {"unlink, create", remove_file, make_file},
    {"unlink in a directory, create", remove_inner, make_inner},
    {"rmdir, mkdir", remove_directory, make_empty},
    {"symlink again, rename over", replace_link, replace_link_back},
    {"rename, and back", rename_file, rename_file_back},
    {"rename over, create", rename_over, make_both},
    {"rename into, renameat back", rename_into, rename_into_back},
    {"rename out of and over, create", rename_out_of, rename_out_of_back},
    {"rename directory, and back", rename_directory, rename_directory_back},
    {"rename directory over, mkdir", rename_directory_over, rename_directory_over_back},
    {"rename directory into, out of", rename_directory_into, rename_directory_out},
    {"renameat2 NOREPLACE, and back", rename_noreplace, rename_noreplace_back},
    {"renameat2 EXCHANGE files", exchange_files, exchange_files},
    {"renameat2 EXCHANGE directories", exchange_directories, exchange_directories},
    {"renameat2 EXCHANGE both kinds", exchange_both, exchange_both},
    {"renameat2 EXCHANGE with a link", exchange_with_link, exchange_with_link},
    {"chmod through a link, and back", chmod_through_link, chmod_back},
    {"fchmodat to nothing, and back", chmod_to_nothing, chmod_back},
    {"fchmod, chmod", fchmod_file, chmod_back},
    {"chmod of directory without search", close_directory, open_directory},
    {"chmod of directory without reading", hide_directory, open_directory},
    {"chown group, fchown", change_group, change_group_back},
    {"chown to root, and back", give_file_away, take_file_back},
    {"chown of directory to root, and back", give_directory_away, take_directory_back},
    {"utimensat, futimens", change_times, touch_file},
    {"utimensat of a link, to now", change_times_of_link, touch_link},
    {"setxattr, removexattr through a link", set_xattr, remove_xattr},
    {"setxattr XATTR_REPLACE, fsetxattr", replace_xattr, restore_xattr},
    {"fremovexattr, fsetxattr", remove_kept_xattr, restore_xattr},
};

const size_t change_count = sizeof changes / sizeof changes[0];
