/*
 * Dentries hang in a hash table by name. The order for reading is an array of pointers to
 * them, made when somebody reads and patched up lazily:
 *
 *  - a dentry in the order is not freed before the order is made anew or everything is
 *    forgotten; a name that goes away stays as an ABSENT one, to be skipped, and takes its
 *    old place if it comes back, so removing what one reads needs no sorting;
 *  - a new name makes the order invalid, and the next reader sorts once.
 *
 * Invariants:
 *  1. epoch == 0: no dentries, not complete.
 *  2. A dentry holds a reference to an inode exactly when it is PRESENT.
 *  3. There is an order only while complete.
 */
#include "fs/directory.h"

#include "fs/inode.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIRECTORY_BUCKETS_MIN 8

/* Dentries lie in memory as they were made, not in the order: the one that is read so many entries
 * later is fetched meanwhile. */
#define READ_AHEAD 4

/* How many entries more are given ahead for each that was looked up in order. */
#define LOOK_AHEAD_STEP 16

/* FNV-1a with a finish that makes all bits depend on all. The same in every client: positions
 * are made from it. */
static uint64_t name_hash(const char *name, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
    }
    hash ^= hash >> 32;
    hash *= UINT64_C(0xd6e8feb86659fd93);
    hash ^= hash >> 32;
    return hash;
}

static unsigned char type_of_mode(mode_t mode)
{
    return (unsigned char)IFTODT(mode);
}

static size_t dentry_bytes(size_t length)
{
    return budget_bytes(sizeof(struct dentry) + length + 1);
}

static size_t pointers_bytes(size_t count)
{
    return budget_bytes(count * sizeof(struct dentry *));
}

void directory_init(struct directory *directory, struct budget *bytes)
{
    *directory = (struct directory){.bytes = bytes};
}

static void free_buckets(struct directory *directory)
{
    if (directory->bucket_count > 0) {
        budget_give_back(directory->bytes, pointers_bytes(directory->bucket_count));
        free(directory->buckets);
        directory->buckets = NULL;
        directory->bucket_count = 0;
    }
}

void directory_deinit(struct directory *directory)
{
    directory_flush(directory);
}

static void dentry_free(struct directory *directory, struct dentry *dentry)
{
    if (dentry->kind == DENTRY_PRESENT) {
        inode_unref_entry(dentry->inode);
    }
    budget_give_back(directory->bytes, dentry_bytes(dentry->length));
    free(dentry);
}

static void free_index(struct directory *directory)
{
    for (size_t i = 0; i < directory->index_count; i++) {
        directory->index[i]->indexed = false;
    }
    if (directory->index != NULL) {
        budget_give_back(directory->bytes, pointers_bytes(directory->index_count + 1));
        free(directory->index);
    }
    directory->index = NULL;
    directory->index_count = 0;
    directory->index_valid = false;
    directory->look_next = 0;
    directory->look_run = 0;
    directory->look_given = 0;
}

void directory_flush(struct directory *directory)
{
    free_index(directory);
    for (size_t i = 0; i < directory->bucket_count; i++) {
        while (directory->buckets[i] != NULL) {
            struct dentry *dentry = directory->buckets[i];
            directory->buckets[i] = dentry->next;
            dentry_free(directory, dentry);
        }
    }
    free_buckets(directory);
    directory->count = 0;
    directory->absent_count = 0;
    directory->epoch = 0;
    directory->complete = false;
    directory->searchable = false;
    directory->access_known = false;
}

void directory_validate(struct directory *directory, uint64_t epoch)
{
    if (directory->epoch != epoch) {
        directory_flush(directory);
        directory->epoch = epoch;
    }
}

static struct dentry **place_of(const struct directory *directory, const char *name, size_t length,
                                uint64_t hash)
{
    struct dentry **place = &directory->buckets[hash & (directory->bucket_count - 1)];
    while (*place != NULL) {
        const struct dentry *dentry = *place;
        if (dentry->hash == hash && dentry->length == length &&
            memcmp(dentry->name, name, length) == 0) {
            break;
        }
        place = &(*place)->next;
    }
    return place;
}

struct dentry *directory_find(const struct directory *directory, const char *name, size_t length)
{
    if (directory->count == 0) {
        return NULL;
    }
    return *place_of(directory, name, length, name_hash(name, length));
}

/* Without memory the chains get longer. Return: -ENOMEM only if there is no table at all. */
static int grow(struct directory *directory)
{
    size_t bucket_count =
        directory->bucket_count == 0 ? DIRECTORY_BUCKETS_MIN : directory->bucket_count * 2;
    struct dentry **buckets = calloc(bucket_count, sizeof *buckets);
    if (buckets == NULL) {
        return directory->bucket_count == 0 ? -ENOMEM : 0;
    }
    for (size_t i = 0; i < directory->bucket_count; i++) {
        while (directory->buckets[i] != NULL) {
            struct dentry *dentry = directory->buckets[i];
            directory->buckets[i] = dentry->next;
            struct dentry **bucket = &buckets[dentry->hash & (bucket_count - 1)];
            dentry->next = *bucket;
            *bucket = dentry;
        }
    }
    free_buckets(directory);
    budget_take(directory->bytes, pointers_bytes(bucket_count));
    directory->buckets = buckets;
    directory->bucket_count = bucket_count;
    return 0;
}

/* The dentry of @name, a new one ABSENT. Return: NULL without memory. */
static struct dentry *find_or_add(struct directory *directory, const char *name, size_t length)
{
    assert(length > 0 && length <= UINT8_MAX && directory->epoch != 0);
    struct dentry *dentry = directory_find(directory, name, length);
    if (dentry != NULL) {
        return dentry;
    }
    if (directory->count >= directory->bucket_count && grow(directory) < 0) {
        return NULL;
    }
    dentry = calloc(1, sizeof *dentry + length + 1);
    if (dentry == NULL) {
        return NULL;
    }
    budget_take(directory->bytes, dentry_bytes(length));
    dentry->hash = name_hash(name, length);
    dentry->kind = DENTRY_ABSENT;
    dentry->length = (unsigned char)length;
    memcpy(dentry->name, name, length);
    struct dentry **bucket = &directory->buckets[dentry->hash & (directory->bucket_count - 1)];
    dentry->next = *bucket;
    *bucket = dentry;
    directory->count++;
    directory->absent_count++;
    directory->index_valid = false;
    return dentry;
}

static void set_kind(struct directory *directory, struct dentry *dentry, enum dentry_kind kind)
{
    directory->absent_count -= dentry->kind == DENTRY_ABSENT;
    directory->absent_count += kind == DENTRY_ABSENT;
    if (dentry->kind == DENTRY_PRESENT) {
        inode_unref_entry(dentry->inode);
        dentry->inode = NULL;
    }
    dentry->kind = kind;
}

static void unlink_and_free(struct directory *directory, struct dentry **place)
{
    struct dentry *dentry = *place;
    assert(!dentry->indexed);
    *place = dentry->next;
    directory->count--;
    directory->absent_count -= dentry->kind == DENTRY_ABSENT;
    dentry_free(directory, dentry);
}

/* Free every ABSENT dentry that is not in the order. */
static void drop_absent(struct directory *directory)
{
    for (size_t i = 0; i < directory->bucket_count && directory->absent_count > 0; i++) {
        struct dentry **place = &directory->buckets[i];
        while (*place != NULL) {
            if ((*place)->kind == DENTRY_ABSENT && !(*place)->indexed) {
                unlink_and_free(directory, place);
            } else {
                place = &(*place)->next;
            }
        }
    }
}

void directory_set_present(struct directory *directory, const char *name, size_t length,
                           struct inode *inode)
{
    struct dentry *dentry = find_or_add(directory, name, length);
    if (dentry == NULL) {
        directory_flush(directory);
        return;
    }
    inode_ref_entry(inode);
    set_kind(directory, dentry, DENTRY_PRESENT);
    dentry->inode = inode;
    dentry->number = inode->number;
    dentry->type = type_of_mode(inode->type);
}

void directory_set_absent(struct directory *directory, const char *name, size_t length)
{
    struct dentry *dentry = directory_find(directory, name, length);
    if (directory->complete) {
        if (dentry != NULL && dentry->indexed) {
            set_kind(directory, dentry, DENTRY_ABSENT);
        } else if (dentry != NULL) {
            unlink_and_free(directory, place_of(directory, name, length, dentry->hash));
        }
        return;
    }
    if (directory->absent_count >= DIRECTORY_ABSENT_MAX) {
        drop_absent(directory);
    }
    dentry = find_or_add(directory, name, length);
    if (dentry == NULL) {
        directory_flush(directory);
        return;
    }
    set_kind(directory, dentry, DENTRY_ABSENT);
}

int directory_add_listed(struct directory *directory, const char *name, ino_t number,
                         unsigned char type)
{
    struct dentry *dentry = find_or_add(directory, name, strlen(name));
    if (dentry == NULL) {
        return -ENOMEM;
    }
    if (dentry->kind != DENTRY_PRESENT) {
        set_kind(directory, dentry, DENTRY_LISTED);
        dentry->number = number;
        dentry->type = type;
    }
    return 0;
}

void directory_set_complete(struct directory *directory)
{
    drop_absent(directory);
    directory->complete = true;
}

void directory_forget(struct directory *directory, const char *name, size_t length)
{
    if (directory->complete) {
        directory_flush(directory);
        return;
    }
    const struct dentry *dentry = directory_find(directory, name, length);
    if (dentry != NULL) {
        unlink_and_free(directory, place_of(directory, name, length, dentry->hash));
    }
}

static int compare_dentries(const void *left, const void *right)
{
    const struct dentry *a = *(const struct dentry *const *)left;
    const struct dentry *b = *(const struct dentry *const *)right;
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

static int make_index(struct directory *directory)
{
    free_index(directory);
    drop_absent(directory);

    struct dentry **index = calloc(directory->count + 1, sizeof *index);
    if (index == NULL) {
        return -ENOMEM;
    }
    budget_take(directory->bytes, pointers_bytes(directory->count + 1));
    directory->index = index;
    for (size_t i = 0; i < directory->bucket_count; i++) {
        struct dentry *dentry = directory->buckets[i];
        for (; dentry != NULL; dentry = dentry->next) {
            dentry->indexed = true;
            directory->index[directory->index_count++] = dentry;
        }
    }
    qsort(directory->index, directory->index_count, sizeof(struct dentry *), compare_dentries);

    off_t lowest = DIRECTORY_FIRST_POSITION;
    for (size_t i = 0; i < directory->index_count; i++) {
        /* Names with the same number follow each other by one. */
        off_t natural = DIRECTORY_FIRST_POSITION + (off_t)(directory->index[i]->hash >> 2);
        directory->index[i]->position = natural > lowest ? natural : lowest;
        lowest = directory->index[i]->position + 1;
    }
    directory->index_valid = true;
    return 0;
}

/* Where in the order the first entry at @position or after it is. Readers go from one entry to
 * the next: try where the last one was found. */
static size_t place_in_order(const struct directory *directory, off_t position)
{
    struct dentry *const *index = directory->index;
    size_t low = 0;
    size_t high = directory->index_count;
    const size_t next = directory->index_next;
    if (next < high && index[next]->position >= position &&
        (next == 0 || index[next - 1]->position < position)) {
        return next;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index[middle]->position < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int directory_entry_at(struct directory *directory, off_t position, const struct dentry **out)
{
    assert(directory->complete);
    directory_used(directory);
    if (!directory->index_valid) {
        int result = make_index(directory);
        if (result < 0) {
            return result;
        }
    }
    size_t place = place_in_order(directory, position);
    for (; place < directory->index_count; place++) {
        if (directory->index[place]->kind != DENTRY_ABSENT) {
            directory->index_next = place + 1;
            if (place + READ_AHEAD < directory->index_count) {
                __builtin_prefetch(directory->index[place + READ_AHEAD]);
                __builtin_prefetch(directory->index[place + READ_AHEAD]->name);
            }
            *out = directory->index[place];
            return 1;
        }
    }
    return 0;
}

/* The next place from @place on whose inode is not known yet. */
static size_t next_listed(const struct directory *directory, size_t place)
{
    while (place < directory->index_count && (directory->index[place]->kind != DENTRY_LISTED ||
                                              directory->index[place]->type == DT_DIR)) {
        place++;
    }
    return place;
}

size_t directory_look_ahead(struct directory *directory, const struct dentry *dentry, size_t most,
                            struct dentry *const **first)
{
    if (!directory->index_valid) {
        return 0;
    }
    size_t place = next_listed(directory, directory->look_next);
    if (place < directory->index_count && directory->index[place] == dentry) {
        directory->look_run++; /* so does the first of all: by chance that would be rare */
    } else {
        place = place_in_order(directory, dentry->position);
        directory->look_run = 0;
        directory->look_given = 0;
    }
    directory->look_next = place + 1;
    if (directory->look_given < directory->look_next) {
        directory->look_given = directory->look_next;
    }
    const size_t wanted = directory->look_run * LOOK_AHEAD_STEP;
    const size_t window = wanted < most ? wanted : most;
    size_t end = directory->look_next + window;
    if (directory->look_given + window / 2 > end) {
        return 0; /* better many at a time */
    }
    if (end > directory->index_count) {
        end = directory->index_count;
    }
    const size_t count = end > directory->look_given ? end - directory->look_given : 0;
    *first = &directory->index[directory->look_given];
    directory->look_given += count;
    return count;
}

const struct dentry *directory_find_inode(const struct directory *directory,
                                          const struct inode *inode)
{
    const struct dentry *listed = NULL;
    for (size_t i = 0; i < directory->bucket_count; i++) {
        const struct dentry *dentry = directory->buckets[i];
        for (; dentry != NULL; dentry = dentry->next) {
            if (dentry->kind == DENTRY_PRESENT && dentry->inode == inode) {
                return dentry;
            }
            if (dentry->kind == DENTRY_LISTED && dentry->number == inode->number) {
                listed = dentry;
            }
        }
    }
    return listed;
}

/* What is kept of @dentry; DENTRY_ABSENT: nothing. */
static enum dentry_kind kept(struct directory *directory, const struct dentry *dentry, bool listing)
{
    if (dentry->kind == DENTRY_PRESENT &&
        atomic_exchange_explicit(&dentry->inode->recently_used, false, memory_order_relaxed)) {
        return DENTRY_PRESENT;
    }
    return dentry->kind != DENTRY_ABSENT && listing ? DENTRY_LISTED : DENTRY_ABSENT;
}

void directory_trim(struct directory *directory, bool is_open)
{
    const bool rest = directory->recently_used || (is_open && directory->complete);
    const bool listing = rest && directory->complete;
    directory->recently_used = false;
    if (!listing) {
        free_index(directory);
        directory->complete = false;
    }
    for (size_t i = 0; i < directory->bucket_count; i++) {
        struct dentry **place = &directory->buckets[i];
        while (*place != NULL) {
            struct dentry *dentry = *place;
            const enum dentry_kind kind = kept(directory, dentry, listing);
            if (kind == DENTRY_ABSENT && !(rest && dentry->kind == DENTRY_ABSENT)) {
                unlink_and_free(directory, place);
                continue;
            }
            if (dentry->kind == DENTRY_PRESENT && kind == DENTRY_LISTED) {
                set_kind(directory, dentry, DENTRY_LISTED);
            }
            place = &dentry->next;
        }
    }
    if (directory->count == 0) {
        free_buckets(directory);
    }
}
