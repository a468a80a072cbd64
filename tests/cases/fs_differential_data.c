/* Steps of the differential test: data, descriptors, extended attributes. */
#include "cases/fs_differential.h"

#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COUNT(array) (unsigned)(sizeof(array) / sizeof(array)[0])

static struct pair *choose_file(struct player *player)
{
    return &player->files[below(player, (unsigned)player->file_count)];
}

/* ---- data ---- */

#define VECTORS 4
#define VECTOR_SIZE 20

struct vectors {
    struct iovec vectors[VECTORS];
    char bytes[VECTORS][VECTOR_SIZE];
};

static void set_vectors(struct vectors *set, const size_t sizes[VECTORS], int letter)
{
    memset(set->bytes, letter, sizeof set->bytes);
    for (int i = 0; i < VECTORS; i++) {
        set->vectors[i] = (struct iovec){.iov_base = set->bytes[i], .iov_len = sizes[i]};
    }
}

static void step_vectors(struct player *player)
{
    const struct pair *pair = choose_file(player);
    const unsigned which = below(player, 4);
    const int letter = 'A' + (int)below(player, 26);
    const int count = below(player, 20) == 0 ? -1 : (int)below(player, VECTORS + 1);
    const off_t offset = (off_t)below(player, 90) - 3;
    size_t sizes[VECTORS];
    struct vectors ours;
    struct vectors kernels;
    hf_fs *fs = player->fs;

    for (int i = 0; i < VECTORS; i++) {
        sizes[i] = below(player, 100) == 0 ? SIZE_MAX : below(player, VECTOR_SIZE);
    }
    set_vectors(&ours, sizes, letter);
    set_vectors(&kernels, sizes, letter);
    if (which == 0) {
        player->what = "readv";
        same(player,
             hf_readv(fs, pair->ours, ours.vectors, count),
             kernel(readv(pair->kernels, kernels.vectors, count)));
    } else if (which == 1) {
        player->what = "writev";
        same(player,
             hf_writev(fs, pair->ours, ours.vectors, count),
             kernel(writev(pair->kernels, kernels.vectors, count)));
    } else if (which == 2) {
        player->what = "preadv";
        same(player,
             hf_preadv(fs, pair->ours, ours.vectors, count, offset),
             kernel(preadv(pair->kernels, kernels.vectors, count, offset)));
    } else {
        player->what = "pwritev";
        same(player,
             hf_pwritev(fs, pair->ours, ours.vectors, count, offset),
             kernel(pwritev(pair->kernels, kernels.vectors, count, offset)));
    }
    same(player, memcmp(ours.bytes, kernels.bytes, sizeof ours.bytes), 0);
}

static void step_holes(struct player *player)
{
    const struct pair *pair = choose_file(player);
    static const off_t offsets[] = {0, 1, 50, 4095, 4096, 9000, 100000, -1, INT64_MAX};
    const off_t offset = offsets[below(player, COUNT(offsets))];
    const int whence = (int)below(player, 6);
    struct stat attributes;

    if (hf_fstat(player->fs, pair->ours, &attributes) == 0 && !S_ISDIR(attributes.st_mode)) {
        player->what = "lseek with any whence";
        same(player,
             hf_lseek(player->fs, pair->ours, offset, whence),
             kernel(lseek(pair->kernels, offset, whence)));
        /* So that what follows stays where it can be compared. */
        same(player,
             hf_lseek(player->fs, pair->ours, 30, SEEK_SET),
             kernel(lseek(pair->kernels, 30, SEEK_SET)));
    }
}

static void step_allocate(struct player *player)
{
    const struct pair *pair = choose_file(player);
    static const int modes[] = {0,
                                FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                                FALLOC_FL_PUNCH_HOLE,
                                FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_COLLAPSE_RANGE,
                                FALLOC_FL_INSERT_RANGE,
                                0x4000};
    static const off_t places[] = {0, 5, 60, 4096, 8192, -1, INT64_MAX};
    static const off_t lengths[] = {1, 10, 4096, 8192, 0, -1, INT64_MAX};
    const int mode = modes[below(player, COUNT(modes))];
    const off_t place = places[below(player, COUNT(places))];
    const off_t length = lengths[below(player, COUNT(lengths))];

    snprintf(player->what_text,
             sizeof player->what_text,
             "fallocate %#x %ld %ld",
             (unsigned)mode,
             (long)place,
             (long)length);
    player->what = player->what_text;
    same(player,
         hf_fallocate(player->fs, pair->ours, mode, place, length),
         kernel(fallocate(pair->kernels, mode, place, length)));
}

static void step_copy(struct player *player)
{
    const struct pair *from = choose_file(player);
    const struct pair *to = choose_file(player);
    const off_t from_offset = (off_t)below(player, 60) - 2;
    const off_t to_offset = (off_t)below(player, 60) - 2;
    const bool from_given = below(player, 2) == 0;
    const bool to_given = below(player, 2) == 0;
    const size_t size = below(player, 70);
    const unsigned flags = below(player, 20) == 0;
    off_t ours[2] = {from_offset, to_offset};
    off_t kernels[2] = {from_offset, to_offset};

    player->what = "copy_file_range";
    same(player,
         hf_copy_file_range(player->fs,
                            from->ours,
                            from_given ? &ours[0] : NULL,
                            to->ours,
                            to_given ? &ours[1] : NULL,
                            size,
                            flags),
         kernel(copy_file_range(from->kernels,
                                from_given ? &kernels[0] : NULL,
                                to->kernels,
                                to_given ? &kernels[1] : NULL,
                                size,
                                flags)));
    same(player, ours[0], kernels[0]);
    same(player, ours[1], kernels[1]);
}

/* Bringing data to the disk takes long: rarely. */
static void step_sync(struct player *player)
{
    const struct pair *pair = choose_file(player);
    const unsigned which = below(player, 40);
    player->what = "fsync";
    if (which == 0) {
        same(player, hf_fsync(player->fs, pair->ours), kernel(fsync(pair->kernels)));
    } else if (which == 1) {
        same(player, hf_fdatasync(player->fs, pair->ours), kernel(fdatasync(pair->kernels)));
    }
}

static void step_map(struct player *player)
{
    const struct pair *pair = choose_file(player);
    const bool for_writing = below(player, 2) == 0;
    const int protection = for_writing ? PROT_READ | PROT_WRITE : PROT_READ;
    const int flags = below(player, 3) == 0 ? MAP_PRIVATE : MAP_SHARED;
    const size_t length = below(player, 10) == 0 ? 0 : 4096;
    const off_t offset = below(player, 10) == 0 ? 1 : 0;
    struct stat attributes;
    void *ours = NULL;

    player->what = "mmap";
    int result = hf_mmap(player->fs, NULL, length, protection, flags, pair->ours, offset, &ours);
    void *kernels = mmap(NULL, length, protection, flags, pair->kernels, offset);
    same(player, result, kernels == MAP_FAILED ? kernel(-1) : 0);
    if (result < 0) {
        return;
    }
    same(player, hf_fstat(player->fs, pair->ours, &attributes), 0);
    if (attributes.st_size > 0) {
        const size_t size = attributes.st_size < 4096 ? (size_t)attributes.st_size : 4096;
        same(player, memcmp(ours, kernels, size), 0);
        if (for_writing) {
            const size_t at = below(player, (unsigned)size);
            ((char *)ours)[at] = '*';
            ((char *)kernels)[at] = '*';
        }
        /* A store sets times that the cache does not see: set them where it does. */
        if (for_writing && flags == MAP_SHARED) {
            same(player, hf_futimens(player->fs, pair->ours, NULL), 0);
            same(player, kernel(futimens(pair->kernels, NULL)), 0);
        }
    }
    same(player, hf_munmap(player->fs, ours, length), kernel(munmap(kernels, length)));
}

/* ---- descriptors ---- */

static void step_open_specially(struct player *player)
{
    static const int extra[] = {O_PATH,
                                O_PATH | O_NOFOLLOW,
                                O_PATH | O_NOFOLLOW | O_CLOEXEC,
                                O_PATH | O_DIRECTORY,
                                O_PATH | O_NOFOLLOW | O_DIRECTORY,
                                O_PATH | O_CREAT | O_TRUNC,
                                O_NOFOLLOW,
                                O_NOFOLLOW | O_CREAT,
                                O_NOFOLLOW | O_CREAT | O_EXCL,
                                O_NOFOLLOW | O_TRUNC,
                                O_NOFOLLOW | O_DIRECTORY,
                                O_TMPFILE,
                                O_TMPFILE | O_EXCL | O_CLOEXEC,
                                O_TMPFILE | O_NOFOLLOW | O_APPEND,
                                O_TMPFILE | O_CREAT,
                                O_DIRECTORY | O_CREAT,
                                O_CLOEXEC | O_NONBLOCK | O_NOATIME,
                                O_CREAT | O_SYNC,
                                O_DSYNC | O_NOCTTY | O_TRUNC | O_APPEND};
    const int flags = extra[below(player, COUNT(extra))];
    open_both(player, flags | (int)below(player, 4));
}

static void step_duplicate(struct player *player)
{
    const struct pair from = *choose_file(player);
    const struct pair *to = choose_file(player);
    const unsigned which = below(player, 5);
    const int flags = below(player, 8) == 0 ? O_APPEND : below(player, 2) == 0 ? O_CLOEXEC : 0;
    struct pair copy = {-1, -1};

    player->what = "dup";
    if (which == 0) {
        copy = (struct pair){hf_dup(player->fs, from.ours), dup(from.kernels)};
        same(player, copy.ours < 0, copy.kernels < 0);
    } else if (which == 1) {
        const int minimum = below(player, 8) == 0 ? -1 : 40;
        const int command = below(player, 2) == 0 ? F_DUPFD : F_DUPFD_CLOEXEC;
        copy.ours = hf_fcntl(player->fs, from.ours, command, minimum);
        copy.kernels = (int)kernel(fcntl(from.kernels, command, minimum));
        same(player, copy.ours < 0 ? copy.ours : 0, copy.kernels < 0 ? copy.kernels : 0);
    } else if (which == 2) {
        same(player,
             hf_dup2(player->fs, from.ours, to->ours) == to->ours,
             dup2(from.kernels, to->kernels) == to->kernels);
    } else if (which == 3) {
        const int result = hf_dup3(player->fs, from.ours, to->ours, flags);
        const long kernels = kernel(dup3(from.kernels, to->kernels, flags));
        same(player, result < 0 ? result : 0, kernels < 0 ? kernels : 0);
    } else {
        same(player, hf_dup2(player->fs, from.ours, -1), kernel(dup2(from.kernels, -1)));
    }
    if (copy.ours >= 0) {
        keep_pair(player, copy);
    }
}

/* What F_GETFL tells of the kernel's that means nothing here. */
#define KERNEL_LARGE_FILE 0100000

static void step_control(struct player *player)
{
    const struct pair *pair = choose_file(player);
    static const int status[] = {0, O_APPEND, O_APPEND, O_NONBLOCK, O_NOATIME | O_APPEND, O_WRONLY};
    const unsigned which = below(player, 6);
    const int flags = status[below(player, COUNT(status))];
    hf_fs *fs = player->fs;

    player->what = "fcntl";
    if (which < 2) {
        same(player,
             hf_fcntl(fs, pair->ours, F_SETFL, flags),
             kernel(fcntl(pair->kernels, F_SETFL, flags)));
    } else if (which == 2) {
        same(player,
             hf_fcntl(fs, pair->ours, F_SETFD, flags),
             kernel(fcntl(pair->kernels, F_SETFD, flags)));
    } else if (which == 3) {
        same(player, hf_fcntl(fs, pair->ours, 12345), kernel(fcntl(pair->kernels, 12345)));
    }
    same(player, hf_fcntl(fs, pair->ours, F_GETFD), kernel(fcntl(pair->kernels, F_GETFD)));
    const int ours = hf_fcntl(fs, pair->ours, F_GETFL);
    const long kernels = kernel(fcntl(pair->kernels, F_GETFL));
    same(player, ours, kernels < 0 ? kernels : kernels & ~KERNEL_LARGE_FILE);
}

/* ---- extended attributes ---- */

static const char *const xattrs[] = {
    "user.a", "user.b", "user.a", "user.longer_than_the_others", "trusted.a", "user.", "a", ""};

struct xattr_choice {
    const char *name;
    unsigned way; /* 0: by path, 1: not following, 2: by descriptor */
    struct pair pair;
    size_t size;
    int flags;
};

static void set_xattr(struct player *player, const struct xattr_choice *choice, const char *value)
{
    hf_fs *fs = player->fs;
    const char *name = choice->name;
    const size_t size = choice->size;
    const int flags = choice->flags;
    player->what = "setxattr";
    if (choice->way == 0) {
        same(player,
             hf_setxattr(fs, player->path, name, value, size, flags),
             kernel(setxattr(player->path, name, value, size, flags)));
    } else if (choice->way == 1) {
        same(player,
             hf_lsetxattr(fs, player->path, name, value, size, flags),
             kernel(lsetxattr(player->path, name, value, size, flags)));
    } else {
        same(player,
             hf_fsetxattr(fs, choice->pair.ours, name, value, size, flags),
             kernel(fsetxattr(choice->pair.kernels, name, value, size, flags)));
    }
}

static void get_xattr(struct player *player, const struct xattr_choice *choice)
{
    hf_fs *fs = player->fs;
    const char *name = choice->name;
    const size_t size = choice->size;
    char ours[80] = "";
    char kernels[80] = "";
    player->what = "getxattr";
    if (choice->way == 0) {
        same(player,
             hf_getxattr(fs, player->path, name, ours, size),
             kernel(getxattr(player->path, name, kernels, size)));
    } else if (choice->way == 1) {
        same(player,
             hf_lgetxattr(fs, player->path, name, ours, size),
             kernel(lgetxattr(player->path, name, kernels, size)));
    } else {
        same(player,
             hf_fgetxattr(fs, choice->pair.ours, name, ours, size),
             kernel(fgetxattr(choice->pair.kernels, name, kernels, size)));
    }
    same(player, memcmp(ours, kernels, sizeof ours), 0);
}

/* The same names; their order is the host's. */
static void list_xattrs(struct player *player, const struct xattr_choice *choice)
{
    hf_fs *fs = player->fs;
    const size_t size = choice->size == 0 ? 0 : choice->size + 40;
    char ours[200] = "";
    char kernels[200] = "";
    long sums[2] = {0, 0};
    player->what = "listxattr";
    if (choice->way == 0) {
        same(player,
             hf_listxattr(fs, player->path, ours, size),
             kernel(listxattr(player->path, kernels, size)));
    } else if (choice->way == 1) {
        same(player,
             hf_llistxattr(fs, player->path, ours, size),
             kernel(llistxattr(player->path, kernels, size)));
    } else {
        same(player,
             hf_flistxattr(fs, choice->pair.ours, ours, size),
             kernel(flistxattr(choice->pair.kernels, kernels, size)));
    }
    for (size_t i = 0; i < sizeof ours; i++) {
        sums[0] += ours[i];
        sums[1] += kernels[i];
    }
    same(player, sums[0], sums[1]);
}

static void remove_xattr(struct player *player, const struct xattr_choice *choice)
{
    hf_fs *fs = player->fs;
    const char *name = choice->name;
    player->what = "removexattr";
    if (choice->way == 0) {
        same(player,
             hf_removexattr(fs, player->path, name),
             kernel(removexattr(player->path, name)));
    } else if (choice->way == 1) {
        same(player,
             hf_lremovexattr(fs, player->path, name),
             kernel(lremovexattr(player->path, name)));
    } else {
        same(player,
             hf_fremovexattr(fs, choice->pair.ours, name),
             kernel(fremovexattr(choice->pair.kernels, name)));
    }
}

static void step_xattr(struct player *player)
{
    char value[60];
    const unsigned which = below(player, 7);
    const struct xattr_choice choice = {
        .name = xattrs[below(player, COUNT(xattrs))],
        .way = below(player, 3),
        .pair = *choose_file(player),
        .size = below(player, 4) == 0 ? 0 : below(player, sizeof value),
        .flags = (int)below(player, 5),
    };
    memset(value, 'a' + (int)below(player, 26), sizeof value);
    if (which < 2) {
        set_xattr(player, &choice, value);
    } else if (which < 5) {
        get_xattr(player, &choice);
    } else if (which == 5) {
        list_xattrs(player, &choice);
    } else {
        remove_xattr(player, &choice);
    }
}

void step_on_data(struct player *player, unsigned which)
{
    static void (*const steps[DATA_STEPS])(struct player * player) = {
        step_vectors,
        step_vectors,
        step_holes,
        step_allocate,
        step_copy,
        step_sync,
        step_map,
        step_open_specially,
        step_duplicate,
        step_control,
        step_xattr,
        step_xattr,
    };
    if (player->file_count > 0 || steps[which] == step_open_specially) {
        steps[which](player);
    }
}
