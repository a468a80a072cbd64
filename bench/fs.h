/*
 * The group `fs`: what the filesystem costs beside the kernel's own, on one directory of the
 * host. One function a part; see fs.c.
 */
#ifndef HF_BENCH_FS_H
#define HF_BENCH_FS_H

#include "harness.h"
#include "process.h"

#include <holdfast/fs.h>

extern const struct bench_group fs_group;

/* fs_calls.c */
bool bench_fs_stat(struct bench *bench);
bool bench_fs_open(struct bench *bench);
bool bench_fs_write(struct bench *bench);
bool bench_fs_read(struct bench *bench);
bool bench_fs_create(struct bench *bench);

/* fs_trees.c */
bool bench_fs_readdir(struct bench *bench);
bool bench_fs_walk(struct bench *bench);

/* fs_appenders.c */
bool bench_fs_appenders(struct bench *bench);

/*
 * A directory of the host for one part, on tmpfs where there is one. It becomes the working
 * directory of this process and of those it forks, so that a relative path means the same to
 * the kernel and to a filesystem attached there.
 */
struct fs_place {
    char path[64];
    int before; /* the working directory until then */
};

/* Make it, and say once in the table where it is. */
bool fs_place_make(struct bench *bench, struct fs_place *place);

/* Remove it with all that is in it. Return: @done, or false when it could not be removed. */
bool fs_place_remove(struct fs_place *place, bool done);

/* A client's filesystem on the working directory. Each complains on failure. */
struct fs_subject {
    hf_client *client;
    hf_fs *fs;
};
bool fs_subject_connect(struct fs_subject *subject, int socket);
bool fs_subject_attach(struct fs_subject *subject);
void fs_subject_detach(struct fs_subject *subject);
void fs_subject_close(struct fs_subject *subject);

/* Make an empty file, by the kernel. */
bool fs_make_file(const char *path);

#endif
