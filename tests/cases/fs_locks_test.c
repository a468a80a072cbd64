/*
 * File locks between clients: what conflicts, when they end, what is refused, and that nothing is
 * sent while one process has a file's locks to itself.
 */
#include "fs_locks.h"

#include "locks/client.h"

#include <limits.h>
#include <string.h>

/* ---- conflicts ---- */

/* Of each kind: a writer keeps all others out, readers share, and what is given up is free. */
static void exclusion(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int i = 0; i < KINDS; i++) {
        const int kind = kinds[i];
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kind, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_WRLCK), -EAGAIN);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_RDLCK), -EAGAIN);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kind, F_RDLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_RDLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kind, F_WRLCK), -EAGAIN);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_UNLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kind, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kind, F_UNLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kind, F_UNLCK), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(exclusion)

/* POSIX and open-file-description locks exclude each other, flock's are for themselves; and of one
 * process two open files exclude each other, but not two descriptors. */
static void families(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    const int second = open_file(pair.a, "file");
    const int copy = hf_dup(pair.a, pair.a_fd);
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_OFD_SETLK, F_WRLCK), 0);
    CHECK_EQUAL(try_lock(pair.a, copy, F_OFD_SETLK, F_WRLCK), 0);
    CHECK_EQUAL(try_lock(pair.a, second, F_OFD_SETLK, F_RDLCK), -EAGAIN);
    CHECK_EQUAL(try_lock(pair.a, second, F_SETLK, F_RDLCK), -EAGAIN);
    CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_RDLCK), -EAGAIN);
    CHECK_EQUAL(try_lock(pair.b, pair.b_fd, 0, F_WRLCK), 0);
    CHECK_EQUAL(try_lock(pair.a, second, 0, F_RDLCK), -EAGAIN);
    CHECK_EQUAL(try_lock(pair.a, copy, F_OFD_SETLK, F_UNLCK), 0);
    CHECK_EQUAL(try_lock(pair.a, second, F_SETLK, F_WRLCK), 0);
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK), 0);
    pair_end(&pair);
}
LOCKS_TEST(families)

/* F_GETLK names what is in the way, by whom and where. */
static void questions(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_WRLCK, 10, 10), 0);
    CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_OFD_SETLK, F_RDLCK, 100, 0), 0);
    for (int round = 0; round < 2; round++) {
        struct flock found = get_range(pair.b, pair.b_fd, F_GETLK, F_RDLCK, 0, 0);
        CHECK_EQUAL(found.l_type, F_WRLCK);
        CHECK_EQUAL(found.l_start, 10);
        CHECK_EQUAL(found.l_len, 10);
        CHECK_EQUAL(found.l_whence, SEEK_SET);
        CHECK_EQUAL(found.l_pid, getpid());
        found = get_range(pair.b, pair.b_fd, F_GETLK, F_WRLCK, 50, 100);
        CHECK_EQUAL(found.l_type, F_RDLCK);
        CHECK_EQUAL(found.l_start, 100);
        CHECK_EQUAL(found.l_len, 0);
        CHECK_EQUAL(found.l_pid, -1);
        found = get_range(pair.b, pair.b_fd, F_OFD_GETLK, F_RDLCK, 50, 100);
        CHECK_EQUAL(found.l_type, F_UNLCK);
        CHECK_EQUAL(found.l_len, 100); /* the rest is left alone */
        /* Of one's own nothing is in the way, of the other owner here it is. */
        found = get_range(pair.a, pair.a_fd, F_GETLK, F_WRLCK, 0, 50);
        CHECK_EQUAL(found.l_type, F_UNLCK);
        found = get_range(pair.a, pair.a_fd, F_OFD_GETLK, F_WRLCK, 0, 50);
        CHECK_EQUAL(found.l_type, F_WRLCK);
    }
    pair_end(&pair);
}
LOCKS_TEST(questions)

/* ---- when they end ---- */

/* A process's locks on a file go when it closes any descriptor of it, in whatever way. */
static void posix_ends(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    const int elsewhere = open_file(pair.a, "other");
    for (int round = 0; round < 5; round++) {
        const int second = round == 1 ? hf_dup(pair.a, pair.a_fd) : open_file(pair.a, "file");
        const int path = hf_open(pair.a, "file", O_PATH, 0);
        CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_WRLCK, 5, 5), 0);
        CHECK_EQUAL(set_range(pair.a, second, F_SETLK, F_WRLCK, 50, 5), 0);
        CHECK_EQUAL(hf_close(pair.a, path), 0); /* that is no open file */
        CHECK_EQUAL(hf_close(pair.a, hf_dup(pair.a, elsewhere)), 0);
        if (round != 2) { /* else the server hears of none of this */
            CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_RDLCK), -EAGAIN);
        }
        if (round == 3) {
            CHECK_EQUAL(hf_dup2(pair.a, elsewhere, second), second);
        } else {
            CHECK_EQUAL(hf_close(pair.a, second), 0);
        }
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_UNLCK), 0);
        if (round == 3) {
            CHECK_EQUAL(hf_close(pair.a, second), 0);
        }
    }
    pair_end(&pair);
}
LOCKS_TEST(posix_ends)

/* An open file's go with its last descriptor, and not before. */
static void open_file_ends(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    const int elsewhere = open_file(pair.a, "other");
    for (int i = 1; i < KINDS; i++) {
        for (int round = 0; round < 2; round++) {
            const int fd = open_file(pair.a, "file");
            const int copy = hf_dup(pair.a, fd);
            CHECK_EQUAL(try_lock(pair.a, fd, kinds[i], F_WRLCK), 0);
            CHECK_EQUAL(hf_close(pair.a, open_file(pair.a, "file")), 0);
            CHECK_EQUAL(hf_close(pair.a, fd), 0);
            CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_RDLCK), -EAGAIN);
            CHECK_EQUAL(try_lock(pair.a, copy, kinds[i], F_WRLCK), 0);
            if (round == 0) {
                CHECK_EQUAL(hf_close(pair.a, copy), 0);
            } else {
                CHECK_EQUAL(hf_dup2(pair.a, elsewhere, copy), copy);
                CHECK_EQUAL(hf_close(pair.a, copy), 0);
            }
            CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_WRLCK), 0);
            CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_UNLCK), 0);
        }
    }
    pair_end(&pair);
}
LOCKS_TEST(open_file_ends)

/* All of them go with the filesystem object. */
static void detaching_ends(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    for (int i = 0; i < KINDS; i++) {
        CHECK_EQUAL(try_lock(pair.b, pair.b_fd, kinds[i], F_RDLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), -EAGAIN);
    }
    pair.b = hf_fs_detach(pair.b);
    for (int i = 0; i < KINDS; i++) {
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_WRLCK), 0);
        CHECK_EQUAL(try_lock(pair.a, pair.a_fd, kinds[i], F_UNLCK), 0);
    }
    pair_end(&pair);
}
LOCKS_TEST(detaching_ends)

/* ---- messages ---- */

static hf_client_stats stats_of(struct fs_world *world)
{
    hf_client_stats stats;
    hf_client_get_stats(world->client, &stats);
    return stats;
}

static void use_locks(struct fs_world *world, int count)
{
    hf_fs *fs = world->fs;
    for (int i = 0; i < count; i++) {
        const int fd = open_file(fs, "file");
        for (int k = 0; k < KINDS; k++) {
            CHECK_EQUAL(try_lock(fs, fd, kinds[k], F_WRLCK), 0);
            CHECK_EQUAL(try_lock(fs, fd, kinds[k], F_RDLCK), 0);
            CHECK_EQUAL(try_lock(fs, fd, kinds[k], F_UNLCK), 0);
        }
        CHECK_EQUAL(set_range(fs, fd, F_SETLK, F_WRLCK, i, 10), 0);
        CHECK_EQUAL(get_range(fs, fd, F_OFD_GETLK, F_RDLCK, 0, 0).l_type, F_WRLCK);
        CHECK_EQUAL(set_range(fs, fd, F_OFD_SETLK, F_RDLCK, 1 << 20, 1), 0);
        CHECK_EQUAL(try_lock(fs, fd, 0, F_WRLCK), 0);
        CHECK_EQUAL(hf_close(fs, fd), 0);
    }
}

/* One process alone: the first lock asks, and from then on nothing is sent, opening, locking, closing
 * included. Somebody else comes and goes: a few messages later it is so again. */
static void silence(struct fs_world *world, void *argument)
{
    use_locks(world, 2);
    hf_client_stats before = stats_of(world);
    use_locks(world, 200);
    hf_client_stats after = stats_of(world);
    CHECK_EQUAL(memcmp(&before, &after, sizeof before), 0);

    struct pair pair = pair_begin(world);
    CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_WRLCK), 0);
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK), -EAGAIN);
    CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_UNLCK), 0);
    pair_end(&pair);
    use_locks(world, 10);
    before = stats_of(world);
    use_locks(world, 200);
    after = stats_of(world);
    CHECK_EQUAL(before.locks_sent, after.locks_sent);
    CHECK_EQUAL(before.locked_received, after.locked_received);
}
LOCKS_TEST(silence)

/* Whoever never locked this file is not heard of when closing it, wherever its locks are. */
static void closing_is_silent(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    CHECK_EQUAL(try_lock(pair.b, pair.b_fd, F_SETLK, F_WRLCK), 0);
    CHECK_EQUAL(try_lock(pair.a, pair.a_fd, F_SETLK, F_WRLCK), -EAGAIN);
    const int other = open_file(pair.a, "other");
    CHECK_EQUAL(try_lock(pair.a, other, F_SETLK, F_WRLCK), 0);
    const hf_client_stats before = stats_of(world);
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(hf_close(pair.a, open_file(pair.a, "file")), 0);
    }
    const hf_client_stats after = stats_of(world);
    CHECK_EQUAL(before.locks_sent, after.locks_sent);
    pair_end(&pair);
}
LOCKS_TEST(closing_is_silent)

/* ---- what is refused ---- */

/* Ranges and types are judged as by the kernel: the same errors, and the same range where none. */
static void arguments(struct fs_world *world, void *argument)
{
    static const off_t starts[] = {0,
                                   1,
                                   -1,
                                   39,
                                   40,
                                   -40,
                                   -41,
                                   100,
                                   -100,
                                   -101,
                                   INT_MAX,
                                   LLONG_MAX - 40,
                                   LLONG_MAX - 39,
                                   LLONG_MAX - 1,
                                   LLONG_MAX,
                                   LLONG_MIN};
    static const off_t lengths[] = {
        0, 1, -1, 10, -40, -41, -100, -140, -141, LLONG_MAX, LLONG_MAX - 40, LLONG_MIN};
    static const short whences[] = {SEEK_SET, SEEK_CUR, SEEK_END, 3, -1};
    static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK, 7};
    static const int commands[] = {F_SETLK, F_OFD_SETLK, F_GETLK};
    char text[200];
    char path[120];
    snprintf(path, sizeof path, "%s/kernel", world->outside);
    const int kernel = open(path, O_RDWR | O_CREAT, 0666);
    const int kernel_other = open(path, O_RDWR);
    const int fd = open_file(world->fs, "file");
    const int other = open_file(world->fs, "file");
    CHECK_EQUAL(write(kernel, path, 100), 100);
    CHECK_EQUAL(hf_write(world->fs, fd, path, 100), 100);
    CHECK_EQUAL(lseek(kernel, 40, SEEK_SET), 40);
    CHECK_EQUAL(hf_lseek(world->fs, fd, 40, SEEK_SET), 40);
    for (size_t at = 0; at < 16 * 12 * 5 * 4 * 3; at++) {
        const int command = commands[at / (16 * 12 * 5 * 4)];
        const struct flock lock = {
            .l_start = starts[at % 16],
            .l_len = lengths[at / 16 % 12],
            .l_whence = whences[at / (16 * 12) % 5],
            .l_type = types[at / (16 * 12 * 5) % 4],
        };
        struct flock ours = lock;
        struct flock kernels = lock;
        const int result = hf_fcntl(world->fs, fd, command, &ours);
        const int expected = fcntl(kernel, command, &kernels) < 0 ? -errno : 0;
        snprintf(text,
                 sizeof text,
                 "command %d type %d whence %d start %lld length %lld: %d, not %d",
                 command,
                 lock.l_type,
                 lock.l_whence,
                 (long long)lock.l_start,
                 (long long)lock.l_len,
                 result,
                 expected);
        fs_world_check(result == expected, text, __FILE__, __LINE__);
        ours = (struct flock){.l_type = F_WRLCK};
        kernels = ours;
        CHECK_EQUAL(hf_fcntl(world->fs, other, F_OFD_GETLK, &ours), 0);
        CHECK_EQUAL(fcntl(kernel_other, F_OFD_GETLK, &kernels), 0);
        fs_world_check(ours.l_type == kernels.l_type && ours.l_start == kernels.l_start &&
                           ours.l_len == kernels.l_len && ours.l_pid == kernels.l_pid,
                       text,
                       __FILE__,
                       __LINE__);
        ours = (struct flock){.l_type = F_UNLCK};
        kernels = ours;
        if (command != F_GETLK) {
            CHECK_EQUAL(hf_fcntl(world->fs, fd, command, &ours), 0);
            CHECK_EQUAL(fcntl(kernel, command, &kernels), 0);
        }
    }
    CHECK_EQUAL(close(kernel), 0);
    CHECK_EQUAL(close(kernel_other), 0);
}
LOCKS_TEST(arguments)

/* Descriptors that are none, or not for this; commands and operations that are none. */
static void refusals(struct fs_world *world, void *argument)
{
    hf_fs *fs = world->fs;
    CHECK_EQUAL(hf_close(fs, open_file(fs, "file")), 0);
    const int reader = hf_open(fs, "file", O_RDONLY, 0);
    const int writer = hf_open(fs, "file", O_WRONLY, 0);
    const int path = hf_open(fs, "file", O_PATH, 0);
    const int directory = hf_open(fs, ".", O_RDONLY | O_DIRECTORY, 0);
    struct flock lock = {.l_type = F_RDLCK, .l_pid = 1};
    const hf_wait_opts bad = {.flags = 1U << 30};
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(set_range(fs, reader, kinds[i], F_WRLCK, 0, 0), -EBADF);
        CHECK_EQUAL(set_range(fs, writer, kinds[i], F_RDLCK, 0, 0), -EBADF);
        CHECK_EQUAL(set_range(fs, reader, kinds[i], F_RDLCK, 0, 1), 0);
        CHECK_EQUAL(set_range(fs, writer, kinds[i], F_WRLCK, 1, 1), 0);
        CHECK_EQUAL(set_range(fs, directory, kinds[i], F_RDLCK, 0, 0), 0);
        CHECK_EQUAL(set_range(fs, directory, kinds[i], F_WRLCK, 0, 0), -EBADF);
        CHECK_EQUAL(set_range(fs, reader, kinds[i], F_UNLCK, 0, 0), 0);
        CHECK_EQUAL(set_range(fs, writer, kinds[i], F_UNLCK, 0, 0), 0);
    }
    for (int i = 0; i < KINDS; i++) {
        CHECK_EQUAL(try_lock(fs, path, kinds[i], F_UNLCK), -EBADF);
        CHECK_EQUAL(try_lock(fs, 99, kinds[i], F_RDLCK), -EBADF);
    }
    CHECK_EQUAL(hf_lock(fs, reader, F_OFD_SETLK, &lock, NULL), -EINVAL);
    CHECK_EQUAL(hf_lock(fs, reader, F_OFD_GETLK, &lock, NULL), -EINVAL);
    CHECK_EQUAL(hf_lock(fs, reader, F_SETLK, &lock, NULL), 0);
    CHECK_EQUAL(hf_lock(fs, reader, F_SETFL, &lock, NULL), -EINVAL);
    CHECK_EQUAL(hf_lock(fs, reader, F_SETLKW, &lock, &bad), -EINVAL);
    CHECK_EQUAL(hf_lock(fs, reader, F_SETLK, NULL, NULL), -EFAULT);
    CHECK_EQUAL(hf_fcntl(fs, 99, F_SETLK, NULL), -EBADF);
    CHECK_EQUAL(hf_flock(fs, reader, LOCK_SH | LOCK_EX, NULL), -EINVAL);
    CHECK_EQUAL(hf_flock(fs, reader, 0, NULL), -EINVAL);
    CHECK_EQUAL(hf_flock(fs, reader, LOCK_EX, NULL), 0); /* whatever it was opened for */
    CHECK_EQUAL(hf_flock(fs, directory, LOCK_EX, NULL), 0);
}
LOCKS_TEST(refusals)

/* As many locks as there may be, and one more; with the table here and at the server. */
static void limit(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    int result = 0;
    off_t count = 0;
    while (result == 0 && count <= LOCKS_CLIENT_MAX) {
        result = set_range(pair.a, pair.a_fd, F_SETLK, F_WRLCK, 2 * count, 1);
        count += result == 0;
    }
    CHECK_EQUAL(result, -ENOLCK);
    CHECK_EQUAL(count, LOCKS_CLIENT_MAX);
    CHECK_EQUAL(set_range(pair.b, pair.b_fd, F_SETLK, F_WRLCK, 2 * count - 2, 1), -EAGAIN);
    CHECK_EQUAL(set_range(pair.b, pair.b_fd, F_SETLK, F_WRLCK, 2 * count, 1), 0);
    CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_WRLCK, 2 * count + 2, 1), -ENOLCK);
    CHECK_EQUAL(set_range(pair.a, pair.a_fd, F_SETLK, F_UNLCK, 0, 0), 0);
    CHECK_EQUAL(set_range(pair.b, pair.b_fd, F_SETLK, F_WRLCK, 0, 0), 0);
    pair_end(&pair);
}
LOCKS_TEST(limit)

/* ---- lists ---- */

struct listing {
    hf_lock_info infos[8];
    char paths[8][256];
    int count;
};

static int note(void *context, const hf_lock_info *info)
{
    struct listing *listing = context;
    CHECK(listing->count < 8);
    listing->infos[listing->count] = *info;
    const int length = snprintf(listing->paths[listing->count++], 256, "%s", info->path);
    CHECK(length < 256);
    return 0;
}

static int stop(void *context, const hf_lock_info *info)
{
    return 7;
}

/* The one of this kind that starts there. */
static int find(const struct listing *listing, int kind, off_t start)
{
    int found = -1;
    for (int i = 0; i < listing->count; i++) {
        if (listing->infos[i].kind == kind && listing->infos[i].start == start) {
            CHECK_EQUAL(found, -1);
            found = i;
        }
    }
    CHECK(found >= 0);
    return found;
}

/* A list says what there is, of whom, and where; also what a client had to itself until then. */
static void listing(struct fs_world *world, void *argument)
{
    struct pair pair = pair_begin(world);
    struct listing list = {.count = 0};
    CHECK_EQUAL(hf_mkdir(pair.a, "d", 0777), 0);
    CHECK_EQUAL(hf_mkdir(pair.a, "d/e", 0777), 0);
    const int deep = open_file(pair.a, "d/e/deep");
    const int directory = hf_open(pair.b, "d/e", O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQUAL(set_range(pair.a, deep, F_SETLK, F_RDLCK, 100, 10), 0);
    CHECK_EQUAL(set_range(pair.b, pair.b_fd, F_OFD_SETLK, F_WRLCK, 5, 0), 0);
    CHECK_EQUAL(hf_flock(pair.b, directory, LOCK_SH, NULL), 0);
    for (int round = 0; round < 2; round++) {
        list = (struct listing){.count = 0};
        CHECK_EQUAL(hf_lock_list(world->client, note, &list), 0);
        CHECK_EQUAL(list.count, 3);
        const hf_lock_info *posix = &list.infos[find(&list, F_SETLK, 100)];
        const hf_lock_info *of_file = &list.infos[find(&list, F_OFD_SETLK, 5)];
        const hf_lock_info *flocked = &list.infos[find(&list, 0, 0)];
        CHECK_EQUAL(posix->state, HF_LOCK_HELD);
        CHECK_EQUAL(posix->type, F_RDLCK);
        CHECK_EQUAL(posix->end, 109);
        CHECK_EQUAL(posix->pid, getpid());
        CHECK_EQUAL(posix->client, hf_client_number(world->client));
        CHECK_EQUAL(posix->cycle, 0);
        CHECK_EQUAL(of_file->type, F_WRLCK);
        CHECK_EQUAL(of_file->end, LLONG_MAX);
        CHECK_EQUAL(of_file->client, hf_client_number(pair.b->client));
        CHECK_EQUAL(flocked->type, F_RDLCK);
        CHECK_EQUAL(strcmp(list.paths[posix - list.infos], "/d/e/deep"), 0);
        CHECK_EQUAL(strcmp(list.paths[of_file - list.infos], "/file"), 0);
        CHECK_EQUAL(strcmp(list.paths[flocked - list.infos], "/d/e"), 0);
    }
    CHECK_EQUAL(hf_lock_list(world->client, stop, NULL), 7);
    CHECK_EQUAL(hf_lock_list(world->client, NULL, NULL), -EINVAL);
    /* A renamed one is told by its new name with the next message about it. */
    CHECK_EQUAL(hf_rename(pair.a, "d/e/deep", "d/moved"), 0);
    CHECK_EQUAL(set_range(pair.a, deep, F_SETLK, F_WRLCK, 100, 10), 0);
    list = (struct listing){.count = 0};
    CHECK_EQUAL(hf_lock_list(world->client, note, &list), 0);
    CHECK_EQUAL(strcmp(list.paths[find(&list, F_SETLK, 100)], "/d/moved"), 0);
    CHECK_EQUAL(hf_unlink(pair.a, "d/moved"), 0);
    CHECK_EQUAL(hf_rmdir(pair.a, "d/e"), 0);
    CHECK_EQUAL(hf_rmdir(pair.a, "d"), 0);
    pair_end(&pair);
}
LOCKS_TEST(listing)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclusion),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_posix_ends),
        cmocka_unit_test(test_open_file_ends),
        cmocka_unit_test(test_detaching_ends),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_closing_is_silent),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_listing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
