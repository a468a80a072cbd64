/* The differential test: reading directories. */
#include "cases/fs_differential.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- all of it ---- */

struct listing {
    unsigned count;
    uint64_t sum; /* of names and types, in any order */
};

static void add_entry(void *context, const char *name, uint64_t ino, unsigned char type)
{
    struct listing *listing = context;
    listing->count++;
    listing->sum += call_mix_bytes(type, name, strlen(name));
}

void list_directory(struct player *player)
{
    struct listing listing = {0, 0};
    hf_fs *fs = player->fs;
    long result;
    if (below(player, 3) == 0) {
        const int fd = choose_fd(player);
        struct stat found;
        calls(player, "readdir(%d)", fd);
        result = CALL(fs, hf_fstat(fs, fd, &found), fstat(fd, &found));
        if (result == 0 && !S_ISDIR(found.st_mode)) {
            sees(player, " no directory"); /* its offset would be moved to list it */
            return;
        }
        result = call_list(fs, fd, add_entry, &listing);
    } else {
        const int flags = O_RDONLY | O_DIRECTORY;
        const char *path = choose_path(player);
        calls(player, "readdir(\"%.60s\")", path);
        const int fd = (int)CALL(fs, hf_open(fs, path, flags, 0), open(path, flags));
        result = fd;
        if (fd >= 0) {
            result = call_list(fs, fd, add_entry, &listing);
            sees_result(player, CALL(fs, hf_close(fs, fd), close(fd)));
        }
    }
    sees_result(player, result);
    sees(player, " entries %u sum %016lx", listing.count, (unsigned long)listing.sum);
}

/* ---- in parts, while entries come and go ---- */

#define PASS_MAX 100

struct pass {
    size_t count;
    char names[PASS_MAX][NAME_MAX + 1];
};

static void add_to_pass(void *context, const char *name, uint64_t ino, unsigned char type)
{
    struct pass *pass = context;
    if (pass->count < PASS_MAX) {
        snprintf(pass->names[pass->count++], NAME_MAX + 1, "%s", name);
    }
}

static size_t count_in_pass(const struct pass *pass, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < pass->count; i++) {
        count += strcmp(pass->names[i], name) == 0;
    }
    return count;
}

/* Return: 1, and where the next entry is; 0 at the end; a negative errno. */
static long read_entry(struct player *player, int fd, struct pass *pass, off_t *position)
{
    struct dirent64 kernels;
    hf_dirent ours;
    if (player->fs != NULL) {
        const int result = hf_readdir(player->fs, fd, &ours);
        if (result == 1) {
            add_to_pass(pass, ours.name, ours.ino, ours.type);
            *position = ours.position;
        }
        return result;
    }
    const long size = call_result(getdents64(fd, &kernels, sizeof kernels));
    if (size <= 0) {
        return size;
    }
    add_to_pass(pass, kernels.d_name, kernels.d_ino, kernels.d_type);
    *position = kernels.d_off;
    return call_result(lseek(fd, *position, SEEK_SET)) < 0 ? -EIO : 1; /* it may have read two */
}

/* The entries in question are added to @touched. */
static void change_entries(struct player *player, int fd, struct pass *touched)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "link", "f", "g"};
    hf_fs *fs = player->fs;
    const unsigned count = below(player, 4);
    for (unsigned i = 0; i < count; i++) {
        const char *name = CHOOSE(player, names);
        const char *other = CHOOSE(player, names);
        const unsigned which = below(player, 3);
        add_to_pass(touched, name, 0, 0);
        if (which == 0) {
            sees_result(player, CALL(fs, hf_unlinkat(fs, fd, name, 0), unlinkat(fd, name, 0)));
        } else if (which == 1) {
            sees_result(player, CALL(fs, hf_mkdirat(fs, fd, name, 0755), mkdirat(fd, name, 0755)));
        } else {
            add_to_pass(touched, other, 0, 0);
            sees_result(
                player,
                CALL(fs, hf_renameat(fs, fd, name, fd, other), renameat(fd, name, fd, other)));
        }
    }
}

/* What nobody touched is seen once, and nothing else is. Not all filesystems of the kernel's keep to
 * that. */
static void judge(struct player *player, const struct pass *before, const struct pass *touched,
                  const struct pass *seen)
{
    for (size_t i = 0; i < before->count; i++) {
        const size_t count = count_in_pass(seen, before->names[i]);
        if (count != 1 && count_in_pass(touched, before->names[i]) == 0) {
            sees(player, " %.60s %zu times", before->names[i], count);
        }
    }
    for (size_t i = 0; i < seen->count; i++) {
        if (count_in_pass(before, seen->names[i]) + count_in_pass(touched, seen->names[i]) == 0) {
            sees(player, " stray %.60s", seen->names[i]);
        }
    }
}

void list_in_parts(struct player *player)
{
    struct pass before = {.count = 0};
    struct pass touched = {.count = 0};
    struct pass seen = {.count = 0};
    struct pass again = {.count = 0};
    off_t position = 0;
    off_t other;
    hf_fs *fs = player->fs;
    const int flags = O_RDONLY | O_DIRECTORY;
    const char *path = choose_path(player);
    unsigned first = below(player, 14);
    const bool goes_back = below(player, 2) == 0;
    calls(player, "readdir(\"%.60s\", the first %u, then the others)", path, first);
    const int fd = (int)CALL(fs, hf_open(fs, path, flags, 0), open(path, flags));
    sees_result(player, fd);
    if (fd < 0) {
        return;
    }
    long result = call_list(fs, fd, add_to_pass, &before);
    (void)CALL(fs, hf_lseek(fs, fd, 0, SEEK_SET), lseek(fd, 0, SEEK_SET));
    while (first-- > 0 && result >= 0) {
        result = read_entry(player, fd, &seen, &position);
    }
    change_entries(player, fd, &touched);
    if (goes_back) {
        (void)CALL(fs, hf_lseek(fs, fd, 0, SEEK_SET), lseek(fd, 0, SEEK_SET));
        read_entry(player, fd, &again, &other);
        (void)CALL(fs, hf_lseek(fs, fd, position, SEEK_SET), lseek(fd, position, SEEK_SET));
    }
    do {
        result = read_entry(player, fd, &seen, &position);
    } while (result == 1);
    sees_result(player, result);
    if (fs != NULL) {
        judge(player, &before, &touched, &seen);
    }
    sees_result(player, CALL(fs, hf_close(fs, fd), close(fd)));
}
