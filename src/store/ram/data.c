/*
 * The data of regular files: a radix tree of pages. What is in it:
 *
 *   nothing                          a hole
 *   ALLOCATED                        a page that is paid for, and nothing was written to it
 *   a page                           4 KiB of data; behind the file's end they are zeros
 *
 * An operation that needs pages marks those it adds with NEW, so that it can take them out again
 * when it finds no memory for the rest; NEW with ALLOCATED and a page: it was ALLOCATED before.
 * No mark is left when the operation returns.
 */
#include "store/ram/ram.h"

#include <assert.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALLOCATED ((uintptr_t)1)
#define NEW ((uintptr_t)2)

/* The bytes of what is in the tree; NULL when it has none. */
static uint8_t *bytes_of(const void *item)
{
    return (uint8_t *)((uintptr_t)item & ~(ALLOCATED | NEW));
}

static void *with_marks(const void *page, uintptr_t marks)
{
    return (void *)((uintptr_t)page | marks);
}

static uint64_t index_of(uint64_t offset)
{
    return offset / STORE_PAGE_SIZE;
}

static uint8_t *page_at(struct ram_inode *inode, uint64_t index)
{
    void **slot = radix_slot(&inode->data, index);
    return slot == NULL ? NULL : bytes_of(*slot);
}

/* A range of bytes, page by page. */
struct chunk {
    uint64_t index;
    size_t start; /* in the page */
    size_t size;
};

static struct chunk chunk_at(uint64_t offset, uint64_t left)
{
    const size_t start = offset % STORE_PAGE_SIZE;
    const size_t room = STORE_PAGE_SIZE - start;
    return (struct chunk){index_of(offset), start, left < room ? (size_t)left : room};
}

static void zero(struct ram_inode *inode, struct chunk chunk)
{
    uint8_t *page = page_at(inode, chunk.index);
    if (page != NULL) {
        memset(page + chunk.start, 0, chunk.size);
    }
}

/* What is in [first, last] goes, with its space. */
static void free_pages(struct ram_store *ram, struct ram_inode *inode, uint64_t first,
                       uint64_t last)
{
    uint64_t key = first;
    const void *item;
    while ((item = radix_next(&inode->data, &key)) != NULL && key <= last) {
        free(bytes_of(item));
        radix_remove(&inode->data, key);
        inode->pages--;
        store_free_pages(&ram->store, 1);
        key++;
    }
}

void ram_set_size(struct ram_store *ram, struct ram_inode *inode, uint64_t size)
{
    if (size <= inode->size) {
        const struct chunk tail = chunk_at(size, UINT64_MAX);
        if (tail.start > 0) {
            zero(inode, tail);
        }
        free_pages(ram, inode, tail.index + (tail.start > 0), UINT64_MAX);
    }
    inode->size = size;
}

/* ---- adding pages ---- */

/* An operation that adds pages. */
struct adding {
    struct ram_store *ram;
    const struct store_call *call;
    struct ram_inode *inode;
    struct store_charge charge;
};

/* There shall be a page with bytes; @whole: all of which will be written. Return: 0, -ENOSPC,
 * -ENOMEM. */
static int add_page(struct adding *adding, uint64_t index, bool whole)
{
    struct ram_inode *inode = adding->inode;
    void **slot = radix_slot(&inode->data, index);
    if (slot != NULL && bytes_of(*slot) != NULL) {
        return 0;
    }
    struct store *store = &adding->ram->store;
    struct store_charge charge = {0};
    if (slot == NULL && store_charge_pages(store, adding->call, 1, &charge) < 0) {
        return -ENOSPC;
    }
    void *page = whole ? malloc(STORE_PAGE_SIZE) : calloc(1, STORE_PAGE_SIZE);
    if (page != NULL && slot != NULL) {
        *slot = with_marks(page, ALLOCATED | NEW);
        return 0;
    }
    if (page == NULL || radix_put(&inode->data, index, with_marks(page, NEW)) < 0) {
        free(page);
        store_uncharge_pages(store, adding->call, charge);
        return -ENOMEM;
    }
    adding->charge.free += charge.free;
    adding->charge.reserved += charge.reserved;
    inode->pages++;
    return 0;
}

/* What was added in [first, end) goes again. */
static void undo(struct adding *adding, uint64_t first, uint64_t end)
{
    struct ram_inode *inode = adding->inode;
    uint64_t key = first;
    const void *item;
    while ((item = radix_next(&inode->data, &key)) != NULL && key < end) {
        const uintptr_t marks = (uintptr_t)item & (ALLOCATED | NEW);
        if ((marks & NEW) != 0) {
            free(bytes_of(item));
            if (bytes_of(item) != NULL && (marks & ALLOCATED) != 0) {
                *radix_slot(&inode->data, key) = with_marks(NULL, ALLOCATED);
            } else {
                radix_remove(&inode->data, key);
                inode->pages--;
            }
        }
        key++;
    }
    store_uncharge_pages(&adding->ram->store, adding->call, adding->charge);
}

/* There shall be pages for @size bytes at @offset, or for as many of them as there is space. Return:
 * for how many; -ENOSPC for none, -ENOMEM when there is no memory for one. */
static int64_t add_pages(struct adding *adding, uint64_t offset, uint64_t size)
{
    uint64_t done = 0;
    while (done < size) {
        const struct chunk chunk = chunk_at(offset + done, size - done);
        const int result = add_page(adding, chunk.index, chunk.size == STORE_PAGE_SIZE);
        if (result == -ENOMEM) {
            undo(adding, index_of(offset), chunk.index);
            return -ENOMEM;
        }
        if (result < 0) {
            return done > 0 ? (int64_t)done : -ENOSPC;
        }
        done += chunk.size;
    }
    return (int64_t)done;
}

/* The page that add_pages() saw to, to be filled: it is as good as any other now. */
static uint8_t *take_page(struct ram_inode *inode, uint64_t index)
{
    void **slot = radix_slot(&inode->data, index);
    *slot = bytes_of(*slot);
    return *slot;
}

/* Data was written up to @end. */
static void written(const struct adding *adding, uint64_t end)
{
    struct ram_inode *inode = adding->inode;
    if (end > inode->size) {
        inode->size = end;
    }
    ram_drop_privileges(adding->ram, inode, adding->call);
    ram_changed(inode, adding->call);
}

/* ---- the operations ---- */

int64_t ram_read(struct store *store, const struct store_call *call, uint64_t number,
                 int64_t offset, void *buffer, size_t size)
{
    struct ram_inode *inode;
    const int result = ram_find_file(ram_of(store), number, &inode);
    if (result < 0) {
        return result;
    }
    if (offset < 0) {
        return -EINVAL;
    }
    const uint64_t begin = (uint64_t)offset;
    uint64_t left = begin < inode->size ? inode->size - begin : 0;
    left = left < size ? left : size;
    for (uint64_t done = 0; done < left;) {
        const struct chunk chunk = chunk_at(begin + done, left - done);
        const uint8_t *page = page_at(inode, chunk.index);
        uint8_t *to = (uint8_t *)buffer + done;
        if (page == NULL) {
            memset(to, 0, chunk.size);
        } else {
            memcpy(to, page + chunk.start, chunk.size);
        }
        done += chunk.size;
    }
    ram_touch_inode(inode, call);
    return (int64_t)left;
}

int64_t ram_write(struct store *store, const struct store_call *call, uint64_t number,
                  int64_t offset, const void *data, size_t size)
{
    struct adding adding = {.ram = ram_of(store), .call = call};
    const int result = ram_find_file(adding.ram, number, &adding.inode);
    if (result < 0) {
        return result;
    }
    if (offset < 0) {
        return -EINVAL;
    }
    if (size == 0) {
        return 0;
    }
    const uint64_t begin = (uint64_t)offset;
    const uint64_t room = (uint64_t)STORE_MAX_SIZE - begin;
    if (room == 0) {
        return -EFBIG;
    }
    const int64_t fits = add_pages(&adding, begin, size < room ? size : room);
    if (fits < 0) {
        return fits;
    }
    const uint64_t left = (uint64_t)fits;
    for (uint64_t done = 0; done < left;) {
        const struct chunk chunk = chunk_at(begin + done, left - done);
        memcpy(take_page(adding.inode, chunk.index) + chunk.start,
               (const uint8_t *)data + done,
               chunk.size);
        done += chunk.size;
    }
    written(&adding, begin + left);
    return fits;
}

/* How many of [first, last] are in the tree. */
static uint64_t count_pages(const struct ram_inode *inode, uint64_t first, uint64_t last)
{
    uint64_t count = 0;
    uint64_t key = first;
    while (radix_next(&inode->data, &key) != NULL && key <= last) {
        count++;
        key++;
    }
    return count;
}

/* All of [first, last] are paid for, or none more than before. */
static int allocate_pages(struct adding *adding, uint64_t first, uint64_t last)
{
    struct ram_inode *inode = adding->inode;
    const uint64_t missing = last - first + 1 - count_pages(inode, first, last);
    if (store_charge_pages(&adding->ram->store, adding->call, missing, &adding->charge) < 0) {
        return -ENOSPC;
    }
    for (uint64_t index = first; missing > 0 && index <= last; index++) {
        if (radix_slot(&inode->data, index) != NULL) {
            continue;
        }
        if (radix_put(&inode->data, index, with_marks(NULL, ALLOCATED | NEW)) < 0) {
            undo(adding, first, index);
            return -ENOMEM;
        }
        inode->pages++;
    }
    for (uint64_t index = first; missing > 0 && index <= last; index++) {
        void **slot = radix_slot(&inode->data, index);
        *slot = (void *)((uintptr_t)*slot & ~NEW);
    }
    return 0;
}

/* Nothing of it is read again; whole pages become holes, or with @keep stay paid for. */
static void clear(struct ram_store *ram, struct ram_inode *inode, uint64_t begin, uint64_t end,
                  bool keep)
{
    const struct chunk head = chunk_at(begin, end - begin);
    if (head.size < STORE_PAGE_SIZE) {
        zero(inode, head);
        begin += head.size;
    }
    const struct chunk tail = chunk_at(end, 0);
    if (begin < end && tail.start > 0) {
        zero(inode, (struct chunk){tail.index, 0, tail.start});
        end -= tail.start;
    }
    if (begin >= end) {
        return;
    }
    if (!keep) {
        free_pages(ram, inode, index_of(begin), index_of(end) - 1);
        return;
    }
    for (uint64_t index = index_of(begin); index < index_of(end); index++) {
        void **slot = radix_slot(&inode->data, index);
        free(bytes_of(*slot));
        *slot = with_marks(NULL, ALLOCATED);
    }
}

int ram_allocate(struct store *store, const struct store_call *call, uint64_t number, int mode,
                 int64_t offset, int64_t length)
{
    struct adding adding = {.ram = ram_of(store), .call = call};
    int result = ram_find_file(adding.ram, number, &adding.inode);
    if (result < 0) {
        return result;
    }
    if (offset < 0 || length <= 0) {
        return -EINVAL;
    }
    const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
    const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
    if (kind != 0 && kind != FALLOC_FL_ZERO_RANGE && !(kind == FALLOC_FL_PUNCH_HOLE && keep_size)) {
        return -EOPNOTSUPP;
    }
    if (length > STORE_MAX_SIZE - offset) {
        return -EFBIG;
    }
    const uint64_t begin = (uint64_t)offset;
    const uint64_t end = begin + (uint64_t)length;
    if (kind != FALLOC_FL_PUNCH_HOLE) {
        result = allocate_pages(&adding, index_of(begin), index_of(end - 1));
        if (result < 0) {
            return result;
        }
    }
    if (kind != 0) {
        clear(adding.ram, adding.inode, begin, end, kind == FALLOC_FL_ZERO_RANGE);
    }
    written(&adding, keep_size ? 0 : end);
    return 0;
}

/* The first page from @index on that has data; UINT64_MAX when there is none. */
static uint64_t find_data(const struct ram_inode *inode, uint64_t index)
{
    const void *item;
    while ((item = radix_next(&inode->data, &index)) != NULL) {
        if (bytes_of(item) != NULL) {
            return index;
        }
        index++;
    }
    return UINT64_MAX;
}

int64_t ram_seek(struct store *store, uint64_t number, int64_t offset, int whence)
{
    struct ram_inode *inode;
    const int result = ram_find_file(ram_of(store), number, &inode);
    if (result < 0) {
        return result;
    }
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
        return -EINVAL;
    }
    if (offset < 0 || (uint64_t)offset >= inode->size) {
        return -ENXIO;
    }
    const uint64_t begin = (uint64_t)offset;
    uint64_t index = index_of(begin);
    if (whence == SEEK_DATA) {
        index = find_data(inode, index);
        if (index > index_of(inode->size - 1)) {
            return -ENXIO;
        }
    } else {
        while (index <= index_of(inode->size - 1) && page_at(inode, index) != NULL) {
            index++;
        }
        if (index > index_of(inode->size - 1)) {
            return (int64_t)inode->size;
        }
    }
    return index == index_of(begin) ? offset : (int64_t)(index * STORE_PAGE_SIZE);
}

/* The pages at the destination are there. */
static void copy_bytes(struct ram_inode *from, uint64_t from_offset, struct ram_inode *to,
                       uint64_t to_offset, uint64_t size)
{
    while (size > 0) {
        const struct chunk source = chunk_at(from_offset, size);
        const struct chunk chunk = chunk_at(to_offset, source.size);
        const uint8_t *page = page_at(from, source.index);
        uint8_t *bytes = take_page(to, chunk.index) + chunk.start;
        if (page == NULL) {
            memset(bytes, 0, chunk.size);
        } else {
            memcpy(bytes, page + source.start, chunk.size);
        }
        from_offset += chunk.size;
        to_offset += chunk.size;
        size -= chunk.size;
    }
}

int64_t ram_copy(struct store *store, const struct store_call *call, uint64_t from,
                 int64_t from_offset, uint64_t to, int64_t to_offset, size_t size)
{
    struct adding adding = {.ram = ram_of(store), .call = call};
    struct ram_inode *source;
    int result = ram_find_file(adding.ram, from, &source);
    if (result == 0) {
        result = ram_find_file(adding.ram, to, &adding.inode);
    }
    if (result < 0) {
        return result;
    }
    if (from_offset < 0 || to_offset < 0) {
        return -EINVAL;
    }
    const uint64_t begin = (uint64_t)from_offset;
    const uint64_t to_begin = (uint64_t)to_offset;
    const uint64_t there = begin < source->size ? source->size - begin : 0;
    const uint64_t room = (uint64_t)STORE_MAX_SIZE - to_begin;
    uint64_t left = there < size ? there : size;
    if (left > 0 && room == 0) {
        return -EFBIG;
    }
    left = left < room ? left : room;
    if (source == adding.inode && to_begin < begin + left && begin < to_begin + left) {
        return -EINVAL;
    }
    if (left == 0) {
        return 0;
    }
    const int64_t fits = add_pages(&adding, to_begin, left);
    if (fits > 0) {
        copy_bytes(source, begin, adding.inode, to_begin, (uint64_t)fits);
        written(&adding, to_begin + (uint64_t)fits);
        ram_touch_inode(source, call);
    }
    return fits;
}
