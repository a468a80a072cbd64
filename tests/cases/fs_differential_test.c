/*
 * Random sequences of operations by two processes, on the filesystem and on a plain directory
 * of the kernel's side by side: the same results, the same errors, the same data.
 *
 * Both processes know the whole sequence; each step is done by one of them, chosen at random,
 * while the other waits, and that one does it on both sides. Run with a number to replay that
 * seed alone, with every step printed; with a second number for so many seeds from there on.
 */
#include "cases/fs_differential.h"

#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS 30
#define STEPS 1500

/* splitmix64 */
unsigned below(struct player *player, unsigned limit)
{
    uint64_t bits = player->random += UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((bits ^ (bits >> 31)) >> 32) % limit;
}

long kernel(long result)
{
    return result < 0 ? -errno : result;
}

void same(const struct player *player, long ours, long kernels)
{
    if (ours != kernels) {
        fprintf(stderr,
                "# seed %lu, step %d: %s(\"%s\", \"%s\"): %ld here, %ld from the kernel\n",
                (unsigned long)player->seed,
                player->step,
                player->what,
                player->path,
                player->second,
                ours,
                kernels);
        _exit(1);
    }
}

static const char *const links[] = {"link", "up", "dangling", "self", "slash"};
static const char *const names[] = {"a",
                                    "b",
                                    "c",
                                    "d",
                                    "link",
                                    "up",
                                    "dangling",
                                    "self",
                                    "slash",
                                    ".",
                                    "..",
                                    "longer_name",
                                    "a",
                                    "b"};

static void choose_path(struct player *player, char path[PATH_SIZE])
{
    /* `..` and the links that lead up take one level each, the tree has room for eight. */
    const int components = below(player, 2) == 0 ? 1 : 1 + (int)below(player, 4);
    size_t length = 0;
    for (int i = 0; i < components; i++) {
        const char *name = names[below(player, sizeof names / sizeof names[0])];
        const bool slash = i < components - 1 || below(player, 8) == 0;
        const char *gap = !slash ? "" : below(player, 8) == 0 ? "//" : "/";
        length += (size_t)snprintf(path + length, PATH_SIZE - length, "%s%s", name, gap);
    }
}

/* The links are there to be walked through, not to be removed. */
bool ends_in_link(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash == NULL ? path : slash + 1;
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        if (strcmp(last, links[i]) == 0) {
            return true;
        }
    }
    return false;
}

void same_attributes(const struct player *player, const struct stat *ours,
                     const struct stat *kernels)
{
    same(player, ours->st_mode, kernels->st_mode);
    same(player, (long)ours->st_nlink, (long)kernels->st_nlink);
    same(player, ours->st_uid, kernels->st_uid);
    same(player, ours->st_gid, kernels->st_gid);
    same(player, (long)ours->st_rdev, (long)kernels->st_rdev);
    /* Times that were set are the same; others are of two moments. */
    if (ours->st_mtim.tv_sec < TIMES_SET || kernels->st_mtim.tv_sec < TIMES_SET) {
        same(player, ours->st_mtim.tv_sec, kernels->st_mtim.tv_sec);
        same(player, ours->st_mtim.tv_nsec, kernels->st_mtim.tv_nsec);
    }
    if (!S_ISDIR(ours->st_mode)) {
        same(player, ours->st_size, kernels->st_size);
    }
}

/* ---- steps with a path ---- */

static void step_names(struct player *player, unsigned which)
{
    hf_fs *fs = player->fs;
    const char *path = player->path;
    if (which == 0) {
        player->what = "mkdir";
        same(player, hf_mkdir(fs, path, 0755), kernel(mkdir(player->path, 0755)));
    } else if (which == 1 && !ends_in_link(player->path)) {
        player->what = "unlink";
        same(player, hf_unlink(fs, path), kernel(unlink(player->path)));
    } else if (which == 2) {
        player->what = "rmdir";
        same(player, hf_rmdir(fs, path), kernel(rmdir(player->path)));
    }
}

static void step_stat(struct player *player, bool follow)
{
    struct stat ours;
    struct stat kernels;
    player->what = follow ? "stat" : "lstat";
    int result = follow ? hf_stat(player->fs, player->path, &ours)
                        : hf_lstat(player->fs, player->path, &ours);
    same(player,
         result,
         kernel(follow ? stat(player->path, &kernels) : lstat(player->path, &kernels)));
    if (result == 0) {
        same_attributes(player, &ours, &kernels);
    }
}

void keep_pair(struct player *player, struct pair pair)
{
    if (player->file_count < FILES) {
        player->files[player->file_count++] = pair;
        return;
    }
    struct pair *oldest = &player->files[below(player, FILES)];
    same(player, hf_close(player->fs, oldest->ours), kernel(close(oldest->kernels)));
    *oldest = pair;
}

bool is_special(const char *path)
{
    struct stat attributes;
    return stat(path, &attributes) == 0 && !S_ISREG(attributes.st_mode) &&
           !S_ISDIR(attributes.st_mode);
}

void open_both(struct player *player, int flags)
{
    snprintf(player->what_text, sizeof player->what_text, "open %#o", (unsigned)flags);
    player->what = player->what_text;
    if ((flags & O_PATH) == 0 && is_special(player->path)) {
        return;
    }
    struct pair pair = {
        .ours = hf_open(player->fs, player->path, flags, 0644),
        .kernels = (int)kernel(open(player->path, flags, 0644)),
    };
    same(player, pair.ours < 0 ? pair.ours : 0, pair.kernels < 0 ? pair.kernels : 0);
    if (pair.ours >= 0) {
        keep_pair(player, pair);
    }
}

static void step_open(struct player *player)
{
    static const int extra[] = {O_CREAT,
                                O_CREAT,
                                O_CREAT | O_EXCL,
                                O_CREAT | O_TRUNC,
                                O_TRUNC,
                                O_CREAT | O_APPEND,
                                O_APPEND,
                                O_DIRECTORY,
                                0,
                                0};
    const int flags = extra[below(player, sizeof extra / sizeof extra[0])];
    open_both(player, flags | (int)below(player, 3));
}

static void step_list(struct player *player)
{
    hf_dirent entry;
    struct dirent *theirs;
    long ours_sum = 0;
    long kernels_sum = 0;
    player->what = "readdir";
    int fd = hf_open(player->fs, player->path, O_RDONLY | O_DIRECTORY, 0);
    DIR *directory = opendir(player->path);
    same(player, fd < 0 ? fd : 0, directory == NULL ? -errno : 0);
    if (fd < 0) {
        return;
    }
    int result;
    while ((result = hf_readdir(player->fs, fd, &entry)) == 1) {
        ours_sum += 1000 + entry.type * entry.name[0] + (long)strlen(entry.name);
    }
    same(player, result, 0);
    while ((theirs = readdir(directory)) != NULL) {
        kernels_sum += 1000 + theirs->d_type * theirs->d_name[0] + (long)strlen(theirs->d_name);
    }
    same(player, ours_sum, kernels_sum);
    same(player, hf_close(player->fs, fd), closedir(directory));
}

/* ---- steps with a descriptor ---- */

static void step_data(struct player *player, unsigned which, struct pair pair)
{
    char ours[64] = "";
    char kernels[64] = "";
    const size_t size = below(player, 50);
    const off_t offset = (off_t)below(player, 90) - 3;
    hf_fs *fs = player->fs;
    memset(ours, 'a' + (int)below(player, 26), size);
    memcpy(kernels, ours, sizeof ours);
    switch (which) {
    case 0:
        player->what = "write";
        same(player,
             hf_write(fs, pair.ours, ours, size),
             kernel(write(pair.kernels, kernels, size)));
        break;
    case 1:
        player->what = "pwrite";
        same(player,
             hf_pwrite(fs, pair.ours, ours, size, offset),
             kernel(pwrite(pair.kernels, kernels, size, offset)));
        break;
    case 2:
        player->what = "read";
        same(player, hf_read(fs, pair.ours, ours, size), kernel(read(pair.kernels, kernels, size)));
        break;
    default:
        player->what = "pread";
        same(player,
             hf_pread(fs, pair.ours, ours, size, offset),
             kernel(pread(pair.kernels, kernels, size, offset)));
        break;
    }
    same(player, memcmp(ours, kernels, sizeof ours), 0);
}

static void step_descriptor(struct player *player, unsigned which)
{
    if (player->file_count == 0) {
        return;
    }
    const unsigned chosen = below(player, (unsigned)player->file_count);
    struct pair *pair = &player->files[chosen];
    struct stat ours;
    struct stat kernels;
    const off_t offset = (off_t)below(player, 100) - 20;
    const int whence = (int)below(player, 3);

    same(player, hf_fstat(player->fs, pair->ours, &ours), kernel(fstat(pair->kernels, &kernels)));
    same_attributes(player, &ours, &kernels);
    if (which < 4) {
        step_data(player, which, *pair);
    } else if (which == 4 && S_ISREG(ours.st_mode)) {
        player->what = "lseek";
        same(player,
             hf_lseek(player->fs, pair->ours, offset, whence),
             kernel(lseek(pair->kernels, offset, whence)));
    } else if (which == 5) {
        player->what = "ftruncate";
        same(player,
             hf_ftruncate(player->fs, pair->ours, offset),
             kernel(ftruncate(pair->kernels, offset)));
    } else if (which == 6) {
        player->what = "close";
        same(player, hf_close(player->fs, pair->ours), kernel(close(pair->kernels)));
        *pair = player->files[--player->file_count];
    }
}

static void step(struct player *player)
{
    const unsigned which = below(player, 18 + DATA_STEPS + NAME_STEPS);
    choose_path(player, player->path);
    choose_path(player, player->second);
    go_home_if_lost(player);
    player->what = "?";
    if (which < 3) {
        step_names(player, which);
    } else if (which < 5) {
        step_stat(player, which == 3);
    } else if (which < 8) {
        step_open(player);
    } else if (which == 8) {
        step_list(player);
    } else if (which == 9) {
        const off_t size = (off_t)below(player, 100) - 3;
        player->what = "truncate";
        same(player,
             hf_truncate(player->fs, player->path, size),
             kernel(truncate(player->path, size)));
    } else if (which < 18) {
        step_descriptor(player, which - 10);
    } else if (which < 18 + DATA_STEPS) {
        step_on_data(player, which - 18);
    } else {
        step_on_names(player, which - 18 - DATA_STEPS);
    }
    if (player->verbose) {
        printf("# %d: process %d: %s(\"%s\", \"%s\")\n",
               player->step,
               player->number,
               player->what,
               player->path,
               player->second);
        fflush(stdout);
    }
}

static void act_play(struct fs_world *world, void *argument)
{
    struct player *player = argument;
    player->world = world;
    player->fs = world->fs;
    snprintf(player->start, sizeof player->start, "%s/%s", world->outside, DEEP);
    CHECK_EQUAL(chdir(player->start), 0);
    CHECK_EQUAL(hf_chdir(player->fs, DEEP), 0);
    for (player->step = 0; player->step < STEPS; player->step++) {
        /* Each step has a seed of its own: what the other did with its numbers is not known. */
        player->random = (player->seed << 32) + (uint64_t)player->step;
        if (below(player, 2) == (unsigned)player->number) {
            step(player);
        }
        fs_world_meet(world);
    }
}

static void make_tree(const char *root)
{
    char path[PATH_MAX];
    const char *part = DEEP;
    for (size_t length = 1; length <= strlen(DEEP); length += 2) {
        snprintf(path, sizeof path, "%s/%.*s", root, (int)length, part);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    assert_int_equal(chdir(path), 0);
    assert_int_equal(symlink("a", "link"), 0);
    assert_int_equal(symlink("..", "up"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(symlink("self", "self"), 0);
    assert_int_equal(symlink("b/", "slash"), 0);
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(symlink("../link", "d/link"), 0);
    assert_int_equal(symlink("../up/9", "d/up"), 0);
    assert_int_equal(chdir("/"), 0);
}

static void play_seed(uint64_t seed, bool verbose)
{
    struct fs_world world;
    struct player players[2];
    pid_t pids[2];

    print_message("# seed %lu\n", (unsigned long)seed);
    fs_world_init(&world);
    make_tree(world.root);
    make_tree(world.outside);
    for (int i = 0; i < 2; i++) {
        players[i] = (struct player){.seed = seed, .number = i, .verbose = verbose};
        pids[i] = fs_world_start(&world, act_play, &players[i]);
    }
    /* When one finds a difference the other would wait for it. */
    int status;
    pid_t first = waitpid(-1, &status, 0);
    if (status != 0) {
        kill(pids[0], SIGKILL);
        kill(pids[1], SIGKILL);
    }
    assert_true(first == pids[0] || first == pids[1]);
    fs_world_wait(first == pids[0] ? pids[1] : pids[0]);
    assert_int_equal(status, 0);
    fs_world_deinit(&world);
}

static void test_two_processes_do_what_the_kernel_does(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play_seed(seed, false);
    }
}

static uint64_t chosen_seed;
static uint64_t chosen_count;

static void test_chosen_seeds(void **state)
{
    for (uint64_t i = 0; i < chosen_count; i++) {
        play_seed(chosen_seed + i, chosen_count == 1);
    }
}

int main(int argc, char **argv)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_two_processes_do_what_the_kernel_does),
    };
    const struct CMUnitTest chosen[] = {
        cmocka_unit_test(test_chosen_seeds),
    };
    if (argc > 1) {
        chosen_seed = strtoull(argv[1], NULL, 10);
        chosen_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
        return cmocka_run_group_tests_name("fs differential", chosen, NULL, NULL);
    }
    return cmocka_run_group_tests_name("fs differential", all, NULL, NULL);
}
