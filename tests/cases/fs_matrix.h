/*
 * The two lists of the coherence matrix. A new operation is one line in one of them.
 */
#ifndef HF_TESTS_CASES_FS_MATRIX_H
#define HF_TESTS_CASES_FS_MATRIX_H

#include "lib/fs_call.h"
#include "lib/fs_world.h"

/* What every trial begins with, below "m":
 *
 *   file      "0123456789", with the attribute user.kept, modified at 200 s
 *   other     "abc"
 *   sparse    4 KiB of data, then a hole up to 64 KiB
 *   dir/inner "inner"
 *   empty/
 *   link      -> file
 *
 * and nothing else; "new" is what the changes make. */
void matrix_make_tree(hf_fs *fs);

/* Where the changes are made. */
extern const struct fs_world *matrix_world;

/* make() changes something and undo() makes it as it was, but for times and inode numbers: each is
 * a change to be seen. -EOPNOTSUPP from make(): not on this host, which leaves the line out. */
struct change {
    const char *what;
    int (*make)(hf_fs *fs);
    int (*undo)(hf_fs *fs);
};

extern const struct change changes[];
extern const size_t change_count;

/* Who looks, and where. */
struct look {
    hf_fs *fs; /* NULL: the kernel, with the root of the filesystem as working directory */
    const char *path;
    int fd;             /* of what was opened before the change */
    int root;           /* the kernel's descriptor of the root */
    size_t root_length; /* of the kernel's path of the root */
};

/* see() makes one number of all that it gets to see, by the same calls for both. */
struct observer {
    const char *what;
    uint64_t (*see)(const struct look *look);
    const char *path;
    const char *kept; /* opened before the change with @flags, closed after it was undone */
    int flags;
};

#define OBSERVERS_MAX 80

extern const struct observer observers[];
extern const size_t observer_count;

#endif
