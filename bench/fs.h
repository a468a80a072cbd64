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

/* A client's filesystem, on the working directory or on what the server mounts. Each complains on
 * failure. */
struct fs_subject {
    const char *root; /* NULL: the server's */
    hf_client *client;
    hf_fs *fs;
};
/* @mount: what the server brings; NULL: nothing, and it is the working directory. */
bool fs_subject_connect(struct fs_subject *subject, int socket, const char *mount);
bool fs_subject_attach(struct fs_subject *subject);
void fs_subject_detach(struct fs_subject *subject);
void fs_subject_close(struct fs_subject *subject);

#endif
