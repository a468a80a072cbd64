#include "fs/descriptors.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* The word: the state in the two lowest bits, above it the number of users. Only an OPEN slot
 * gets users; only OPEN and CLOSING slots have any. */
#define SLOT_FREE UINT64_C(0)
#define SLOT_RESERVED UINT64_C(1)
#define SLOT_OPEN UINT64_C(2)
#define SLOT_CLOSING UINT64_C(3)
#define SLOT_STATE UINT64_C(3)
#define SLOT_USER UINT64_C(4)

void descriptors_init(struct descriptors *table)
{
    pthread_mutex_init(&table->mutex, NULL);
    table->lowest_free = 0;
    for (size_t i = 0; i < HF_FS_DESCRIPTORS_MAX / DESCRIPTORS_CHUNK; i++) {
        atomic_init(&table->chunks[i], NULL);
    }
}

void descriptors_deinit(struct descriptors *table)
{
    for (size_t i = 0; i < HF_FS_DESCRIPTORS_MAX / DESCRIPTORS_CHUNK; i++) {
        free(atomic_load(&table->chunks[i]));
    }
    pthread_mutex_destroy(&table->mutex);
}

/* Return: NULL when there never was such a descriptor. */
static struct descriptor_slot *slot_at(struct descriptors *table, int fd)
{
    if (fd < 0 || fd >= HF_FS_DESCRIPTORS_MAX) {
        return NULL;
    }
    struct descriptor_slot *chunk =
        atomic_load_explicit(&table->chunks[fd / DESCRIPTORS_CHUNK], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk[fd % DESCRIPTORS_CHUNK];
}

static int add_chunk(struct descriptors *table, int fd)
{
    struct descriptor_slot *chunk = calloc(DESCRIPTORS_CHUNK, sizeof *chunk);
    if (chunk == NULL) {
        return -ENOMEM;
    }
    atomic_store_explicit(&table->chunks[fd / DESCRIPTORS_CHUNK], chunk, memory_order_release);
    return 0;
}

static void set_state(struct descriptor_slot *slot, uint64_t from, uint64_t to)
{
    uint64_t before = atomic_exchange_explicit(&slot->word, to, memory_order_acq_rel);
    assert(before == from);
    (void)before;
}

int descriptors_reserve(struct descriptors *table)
{
    int result = -EMFILE;

    pthread_mutex_lock(&table->mutex);
    for (uint32_t fd = table->lowest_free; fd < HF_FS_DESCRIPTORS_MAX; fd++) {
        struct descriptor_slot *slot = slot_at(table, (int)fd);
        if (slot == NULL) {
            int error = add_chunk(table, (int)fd);
            if (error < 0) {
                result = error;
                break;
            }
            slot = slot_at(table, (int)fd);
        }
        if (atomic_load_explicit(&slot->word, memory_order_relaxed) == SLOT_FREE) {
            set_state(slot, SLOT_FREE, SLOT_RESERVED);
            table->lowest_free = fd + 1;
            result = (int)fd;
            break;
        }
    }
    pthread_mutex_unlock(&table->mutex);
    return result;
}

void descriptors_cancel(struct descriptors *table, int fd)
{
    pthread_mutex_lock(&table->mutex);
    set_state(slot_at(table, fd), SLOT_RESERVED, SLOT_FREE);
    if ((uint32_t)fd < table->lowest_free) {
        table->lowest_free = (uint32_t)fd;
    }
    pthread_mutex_unlock(&table->mutex);
}

void descriptors_fill(struct descriptors *table, int fd, struct open_file *file)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    slot->file = file;
    set_state(slot, SLOT_RESERVED, SLOT_OPEN);
}

/* Somebody left the slot or closed it. Exactly one of those who find it CLOSING and empty gets
 * the open file. */
static struct open_file *slot_finish(struct descriptors *table, int fd)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    uint64_t expected = SLOT_CLOSING;
    if (!atomic_compare_exchange_strong_explicit(
            &slot->word, &expected, SLOT_RESERVED, memory_order_acq_rel, memory_order_relaxed)) {
        return NULL;
    }
    struct open_file *file = slot->file;
    descriptors_cancel(table, fd);
    return file;
}

struct open_file *descriptors_get(struct descriptors *table, int fd)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    if (slot == NULL) {
        return NULL;
    }
    uint64_t before = atomic_load_explicit(&slot->word, memory_order_relaxed);
    do {
        if ((before & SLOT_STATE) != SLOT_OPEN) {
            return NULL;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        &slot->word, &before, before + SLOT_USER, memory_order_acquire, memory_order_relaxed));
    return slot->file;
}

struct open_file *descriptors_put(struct descriptors *table, int fd)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    uint64_t before = atomic_fetch_sub_explicit(&slot->word, SLOT_USER, memory_order_acq_rel);
    assert(before >= SLOT_USER);
    return before == (SLOT_CLOSING | SLOT_USER) ? slot_finish(table, fd) : NULL;
}

int descriptors_clear(struct descriptors *table, int fd, struct open_file **file)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    if (slot == NULL) {
        return -EBADF;
    }
    uint64_t before = atomic_load_explicit(&slot->word, memory_order_relaxed);
    do {
        if ((before & SLOT_STATE) != SLOT_OPEN) {
            return -EBADF;
        }
    } while (!atomic_compare_exchange_weak_explicit(&slot->word,
                                                    &before,
                                                    (before & ~SLOT_STATE) | SLOT_CLOSING,
                                                    memory_order_acq_rel,
                                                    memory_order_relaxed));
    *file = slot_finish(table, fd);
    return 0;
}
