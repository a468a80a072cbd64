#include "fs/descriptors.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

/*
 * The word of an OPEN slot, from its lowest bit: the state (2 bits), FD_CLOEXEC (1), the number
 * of users (17), and the address of the open file (44): the 48 bits that addresses have in a
 * process, without the 4 that malloc() keeps 0. Other slots have nothing but the state.
 *
 * Putting back compares the address. If the same open file was put into the slot again
 * meanwhile, a user of the first time may leave the slot in place of one of the second: all
 * that counts is how many references are left in the end.
 */
#define SLOT_FREE UINT64_C(0)
#define SLOT_RESERVED UINT64_C(1)
#define SLOT_OPEN UINT64_C(2)
#define SLOT_STATE UINT64_C(3)
#define SLOT_CLOSE_ON_EXEC UINT64_C(4)
#define SLOT_USER UINT64_C(8)
#define SLOT_USERS ((DESCRIPTOR_REFERENCES - 1) * SLOT_USER)
#define SLOT_FILE_SHIFT 16
#define SLOT_FILE (~(SLOT_STATE | SLOT_CLOSE_ON_EXEC | SLOT_USERS))

static uint64_t word_of(struct open_file *file, bool close_on_exec)
{
    const uint64_t address = (uintptr_t)file;
    assert((address << SLOT_FILE_SHIFT >> SLOT_FILE_SHIFT) == address);
    assert((address << SLOT_FILE_SHIFT & ~SLOT_FILE) == 0);
    return address << SLOT_FILE_SHIFT | (close_on_exec ? SLOT_CLOSE_ON_EXEC : 0) | SLOT_OPEN;
}

static struct open_file *file_of(uint64_t word)
{
    return (struct open_file *)(uintptr_t)((word & SLOT_FILE) >> SLOT_FILE_SHIFT);
}

/* What is left for the one that takes the open file out of the slot. */
static struct descriptor_rest rest_of(uint64_t word)
{
    if ((word & SLOT_STATE) != SLOT_OPEN) {
        return (struct descriptor_rest){.file = NULL};
    }
    return (struct descriptor_rest){
        .file = file_of(word),
        .references = DESCRIPTOR_REFERENCES - (word & SLOT_USERS) / SLOT_USER,
    };
}

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

/* With the mutex: the slot of a number in range, made if need be. Return: NULL without memory. */
static struct descriptor_slot *make_slot(struct descriptors *table, int fd)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    if (slot != NULL) {
        return slot;
    }
    struct descriptor_slot *chunk = calloc(DESCRIPTORS_CHUNK, sizeof *chunk);
    if (chunk == NULL) {
        return NULL;
    }
    atomic_store_explicit(&table->chunks[fd / DESCRIPTORS_CHUNK], chunk, memory_order_release);
    return &chunk[fd % DESCRIPTORS_CHUNK];
}

static void set_word(struct descriptor_slot *slot, uint64_t from, uint64_t to)
{
    uint64_t before = atomic_exchange_explicit(&slot->word, to, memory_order_acq_rel);
    assert(before == from);
    (void)before;
}

int descriptors_reserve(struct descriptors *table, int minimum)
{
    int result = -EMFILE;

    pthread_mutex_lock(&table->mutex);
    const bool from_lowest = (uint32_t)minimum <= table->lowest_free;
    uint32_t fd = from_lowest ? table->lowest_free : (uint32_t)minimum;
    for (; fd < HF_FS_DESCRIPTORS_MAX; fd++) {
        struct descriptor_slot *slot = make_slot(table, (int)fd);
        if (slot == NULL) {
            result = -ENOMEM;
            break;
        }
        uint64_t expected = SLOT_FREE; /* replace() needs no mutex to take it */
        if (atomic_compare_exchange_strong_explicit(&slot->word,
                                                    &expected,
                                                    SLOT_RESERVED,
                                                    memory_order_acq_rel,
                                                    memory_order_relaxed)) {
            table->lowest_free = from_lowest ? fd + 1 : table->lowest_free;
            result = (int)fd;
            break;
        }
    }
    pthread_mutex_unlock(&table->mutex);
    return result;
}

static void note_free(struct descriptors *table, int fd)
{
    pthread_mutex_lock(&table->mutex);
    if ((uint32_t)fd < table->lowest_free) {
        table->lowest_free = (uint32_t)fd;
    }
    pthread_mutex_unlock(&table->mutex);
}

void descriptors_cancel(struct descriptors *table, int fd)
{
    set_word(slot_at(table, fd), SLOT_RESERVED, SLOT_FREE);
    note_free(table, fd);
}

void descriptors_fill(struct descriptors *table, int fd, struct open_file *file, bool close_on_exec)
{
    set_word(slot_at(table, fd), SLOT_RESERVED, word_of(file, close_on_exec));
}

int descriptors_replace(struct descriptors *table, int fd, struct open_file *file,
                        bool close_on_exec, struct descriptor_rest *before)
{
    if (fd < 0 || fd >= HF_FS_DESCRIPTORS_MAX) {
        return -EBADF;
    }
    pthread_mutex_lock(&table->mutex);
    struct descriptor_slot *slot = make_slot(table, fd);
    pthread_mutex_unlock(&table->mutex);
    if (slot == NULL) {
        return -ENOMEM;
    }
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    do {
        if ((word & SLOT_STATE) == SLOT_RESERVED) {
            return -EBUSY;
        }
    } while (!atomic_compare_exchange_weak_explicit(&slot->word,
                                                    &word,
                                                    word_of(file, close_on_exec),
                                                    memory_order_acq_rel,
                                                    memory_order_relaxed));
    *before = rest_of(word);
    return 0;
}

struct open_file *descriptors_get(struct descriptors *table, int fd)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    if (slot == NULL) {
        return NULL;
    }
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    for (;;) {
        if ((word & SLOT_STATE) != SLOT_OPEN) {
            return NULL;
        }
        if ((word & SLOT_USERS) == SLOT_USERS) {
            sched_yield(); /* 131,071 threads are at it; one of them will be done */
            word = atomic_load_explicit(&slot->word, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(&slot->word,
                                                         &word,
                                                         word + SLOT_USER,
                                                         memory_order_acquire,
                                                         memory_order_relaxed)) {
            return file_of(word);
        }
    }
}

bool descriptors_put(struct descriptors *table, int fd, struct open_file *file)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    do {
        if ((word & SLOT_STATE) != SLOT_OPEN || file_of(word) != file || (word & SLOT_USERS) == 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        &slot->word, &word, word - SLOT_USER, memory_order_release, memory_order_relaxed));
    return true;
}

int descriptors_next(struct descriptors *table, int fd)
{
    while (fd < HF_FS_DESCRIPTORS_MAX) {
        struct descriptor_slot *slot = slot_at(table, fd);
        if (slot == NULL) {
            fd += DESCRIPTORS_CHUNK - fd % DESCRIPTORS_CHUNK;
        } else if ((atomic_load_explicit(&slot->word, memory_order_relaxed) & SLOT_STATE) ==
                   SLOT_OPEN) {
            return fd;
        } else {
            fd++;
        }
    }
    return -EBADF;
}

int descriptors_clear(struct descriptors *table, int fd, struct descriptor_rest *before)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    if (slot == NULL) {
        return -EBADF;
    }
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    do {
        if ((word & SLOT_STATE) != SLOT_OPEN) {
            return -EBADF;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        &slot->word, &word, SLOT_FREE, memory_order_acq_rel, memory_order_relaxed));
    *before = rest_of(word);
    note_free(table, fd);
    return 0;
}

int descriptors_get_close_on_exec(struct descriptors *table, int fd)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    if (slot == NULL) {
        return -EBADF;
    }
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    if ((word & SLOT_STATE) != SLOT_OPEN) {
        return -EBADF;
    }
    return (word & SLOT_CLOSE_ON_EXEC) != 0;
}

int descriptors_set_close_on_exec(struct descriptors *table, int fd, bool close_on_exec)
{
    struct descriptor_slot *slot = slot_at(table, fd);
    if (slot == NULL) {
        return -EBADF;
    }
    const uint64_t bit = close_on_exec ? SLOT_CLOSE_ON_EXEC : 0;
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    do {
        if ((word & SLOT_STATE) != SLOT_OPEN) {
            return -EBADF;
        }
    } while (!atomic_compare_exchange_weak_explicit(&slot->word,
                                                    &word,
                                                    (word & ~SLOT_CLOSE_ON_EXEC) | bit,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed));
    return 0;
}
