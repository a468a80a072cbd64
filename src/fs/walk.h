/*
 * Walking a path, one component at a time, as path_resolution(7) says.
 *
 * The table of mounts is held during all of it. A walk stops before the last component, so that
 * the operation decides what to do with it:
 *
 *     result = walk_begin(&walk, fs, path);   // 0: walk.last says what is left
 *     ... look walk.name up in walk.directory; it is a link that should be followed:
 *     result = walk_follow(&walk, link);      // 0: again before the last component
 *     walk_end(&walk);
 */
#ifndef HF_FS_WALK_H
#define HF_FS_WALK_H

#include "fs/mount.h"

#include <limits.h>
#include <stddef.h>

/* As many symbolic links as Linux follows in one walk. */
#define WALK_LINKS_MAX 40

enum walk_last {
    WALK_LAST_NAME, /* walk.name */
    WALK_LAST_ROOT, /* nothing but slashes */
    WALK_LAST_DOT,
    WALK_LAST_DOT_DOT,
};

struct walk {
    struct hf_fs *fs;
    struct mount *mount;     /* where it is now, and */
    struct inode *directory; /* a reference; never held between calls */
    const char *rest;        /* of the path, behind the last component */
    char *buffer;            /* where a followed link's path is; NULL: none */
    unsigned links;          /* followed so far */
    enum walk_last last;
    bool must_be_directory; /* slashes follow the last component */
    size_t name_length;     /* may be over NAME_MAX: the lookup refuses it */
    char name[NAME_MAX + 2];
};

/* Where a path without a slash in front starts: an open directory, or HF_AT_FDCWD. @path is
 * valid until walk_end(), which is to be called in any case. Return: 0; -ENOENT (also for an
 * empty path), -EBADF, -ENOTDIR, -ELOOP, -ENAMETOOLONG, or what a lookup says. */
int walk_begin(struct walk *walk, struct hf_fs *fs, int at, const char *path);
int walk_follow(struct walk *walk, struct inode *link);
void walk_end(struct walk *walk);

/* What a last component that is not a name stands for. Return: 0 with a reference in *out, or
 * what mounts_parent() says. */
int walk_last_directory(const struct walk *walk, struct place *out);

enum walk_flags {
    WALK_FOLLOW = 1,  /* the last link too; links with slashes behind them always are */
    WALK_EMPTY = 2,   /* an empty path is what @at stands for, whatever its type */
    WALK_COVERED = 4, /* not into what is mounted on a name at the end */
};

/* Walk all the way. @flags: enum walk_flags. Return: 0 with a reference in *out. */
int walk_to_place(struct hf_fs *fs, int at, const char *path, unsigned flags, struct place *out);

/* The same for operations to which all mounts are alike. */
int walk_to_inode(struct hf_fs *fs, int at, const char *path, unsigned flags, struct inode **out);

/* Split the first component off @path, which has no slash in front: its length, and what
 * follows behind it and behind any slashes. *slashes: there were some. */
size_t path_split(const char *path, const char **rest, bool *slashes);

#endif
