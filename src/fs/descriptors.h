/*
 * The table of descriptors: small numbers for open files, the lowest free one first.
 *
 * Looking a descriptor up takes no lock. One word has the open file's address and how many
 * operations use it through this descriptor, so what is found and that it is used are one step.
 *
 *          reserve            fill             clear
 *   FREE ──────────► RESERVED ─────► OPEN ──────────────► FREE
 *    ▲                  │             │ ▲
 *    └──────────────────┘             └─┘ replace (also from FREE)
 *
 * A slot that is OPEN has DESCRIPTOR_REFERENCES references to the open file, more than it can
 * have users. Clearing or replacing leaves one of them to each operation in progress, which
 * drops it at its end, and hands back the others. So a number is free, or another open file's,
 * at once.
 */
#ifndef HF_FS_DESCRIPTORS_H
#define HF_FS_DESCRIPTORS_H

#include <holdfast/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DESCRIPTORS_CHUNK 256

#define DESCRIPTOR_REFERENCES (UINT64_C(1) << 17)

struct open_file;

struct descriptor_slot {
    _Atomic uint64_t word; /* see descriptors.c */
};

struct descriptors {
    pthread_mutex_t mutex; /* reserving and freeing slots, adding chunks */
    uint32_t lowest_free;  /* no slot below it is free */
    _Atomic(struct descriptor_slot *) chunks[HF_FS_DESCRIPTORS_MAX / DESCRIPTORS_CHUNK];
};

/* References to an open file that the caller is to drop. */
struct descriptor_rest {
    struct open_file *file; /* NULL: none */
    uint64_t references;
};

void descriptors_init(struct descriptors *table);

/* Every slot is free. */
void descriptors_deinit(struct descriptors *table);

/* The lowest free number that is not below @minimum, for descriptors_fill() or
 * descriptors_cancel(). Return: it; -EMFILE, -ENOMEM. */
int descriptors_reserve(struct descriptors *table, int minimum);
void descriptors_cancel(struct descriptors *table, int fd);

/* The slot takes over DESCRIPTOR_REFERENCES references to @file. */
void descriptors_fill(struct descriptors *table, int fd, struct open_file *file,
                      bool close_on_exec);

/* The same whether @fd is free or not, in one step. Return: 0; on failure nothing is taken over:
 * -EBADF (a number that no descriptor has), -EBUSY (it is reserved), -ENOMEM. */
int descriptors_replace(struct descriptors *table, int fd, struct open_file *file,
                        bool close_on_exec, struct descriptor_rest *before);

/* Use the open file of @fd until descriptors_put(). Return: NULL when there is none. */
struct open_file *descriptors_get(struct descriptors *table, int fd);

/* Return: false when the descriptor has left a reference to this user: the caller drops it. */
bool descriptors_put(struct descriptors *table, int fd, struct open_file *file);

/* Return: the lowest open descriptor that is not below @fd; -EBADF when there is none. */
int descriptors_next(struct descriptors *table, int fd);

/* Close @fd. Return: 0, -EBADF. */
int descriptors_clear(struct descriptors *table, int fd, struct descriptor_rest *before);

/* FD_CLOEXEC. Return: whether it is set, and 0 for setting it; -EBADF. */
int descriptors_get_close_on_exec(struct descriptors *table, int fd);
int descriptors_set_close_on_exec(struct descriptors *table, int fd, bool close_on_exec);

#endif
