/*
 * The table of descriptors: small numbers for open files, the lowest free one first.
 *
 * Looking a descriptor up takes no lock. Each slot counts the operations in progress on it,
 * and the one that leaves a closed slot last hands back what was in it.
 *
 *          reserve            fill             clear, users > 0
 *   FREE ──────────► RESERVED ─────► OPEN ─────────────────────► CLOSING
 *    ▲                  │             │ clear, nobody uses it       │ the last user
 *    └──────────────────┴─────────────┴─────────────────────────────┘ leaves
 */
#ifndef HF_FS_DESCRIPTORS_H
#define HF_FS_DESCRIPTORS_H

#include <holdfast/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define DESCRIPTORS_CHUNK 256

struct open_file;

struct descriptor_slot {
    _Atomic uint64_t word;  /* the state, and how many use it: see descriptors.c */
    struct open_file *file; /* in OPEN and CLOSING */
};

struct descriptors {
    pthread_mutex_t mutex; /* reserving and freeing slots, adding chunks */
    uint32_t lowest_free;  /* no slot below it is free */
    _Atomic(struct descriptor_slot *) chunks[HF_FS_DESCRIPTORS_MAX / DESCRIPTORS_CHUNK];
};

void descriptors_init(struct descriptors *table);

/* Every slot is free. */
void descriptors_deinit(struct descriptors *table);

/* The lowest free number, for descriptors_fill() or descriptors_cancel().
 * Return: it; -EMFILE, -ENOMEM. */
int descriptors_reserve(struct descriptors *table);
void descriptors_fill(struct descriptors *table, int fd, struct open_file *file);
void descriptors_cancel(struct descriptors *table, int fd);

/* Use the open file of @fd until descriptors_put(). Return: NULL when there is none. */
struct open_file *descriptors_get(struct descriptors *table, int fd);

/* Return: the open file if the descriptor was closed meanwhile and this was its last user:
 * the caller drops the descriptor's reference to it. Else NULL. */
struct open_file *descriptors_put(struct descriptors *table, int fd);

/* Close @fd. Return: 0, -EBADF. *file is the open file whose reference the caller now drops,
 * or NULL when an operation in progress will. */
int descriptors_clear(struct descriptors *table, int fd, struct open_file **file);

#endif
