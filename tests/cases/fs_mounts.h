/* What the tests of mounts share. */
#ifndef HF_TESTS_CASES_FS_MOUNTS_H
#define HF_TESTS_CASES_FS_MOUNTS_H

#include "lib/fs_world.h"

#include <holdfast/mount.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

static inline void make_file(hf_fs *fs, const char *path)
{
    int fd = hf_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static inline int look(hf_fs *fs, const char *path)
{
    struct stat attributes;
    return hf_stat(fs, path, &attributes);
}

static inline ino_t number_of(hf_fs *fs, const char *path)
{
    struct stat attributes;
    CHECK_EQUAL(hf_stat(fs, path, &attributes), 0);
    return attributes.st_ino;
}

static inline int mount_direct(hf_fs *fs, const char *source, const char *target,
                               unsigned long flags)
{
    return hf_mount(fs, source, target, "direct", flags, NULL);
}

#endif
