/*
 * Cached data, in pages. A page that is cached is what the server has, for whoever changes one here
 * tells the server before the call returns.
 */
#include "mounts/served/parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Pages in one READ, and how many of these are on their way at once. */
#define READ_PAGES (WIRE_DATA_MAX / SERVED_PAGE)
#define READS_MAX ((size_t)8)

#define PAGE_COST (sizeof(struct sb_page) + 16)

static uint64_t page_of(uint64_t offset)
{
    return offset / SERVED_PAGE;
}

static struct sb_page *find_page(struct sb_node *node, uint64_t index)
{
    void **slot = radix_slot(&node->pages, index);
    return slot == NULL ? NULL : *slot;
}

/* A page of zeros. Return: NULL without memory. */
static struct sb_page *add_page(struct sb_node *node, uint64_t index)
{
    struct sb_page *page = calloc(1, sizeof(*page));
    if (page == NULL || radix_put(&node->pages, index, page) < 0) {
        free(page);
        return NULL;
    }
    node->page_count++;
    atomic_fetch_add_explicit(&node->served->page_bytes, PAGE_COST, memory_order_relaxed);
    return page;
}

static void remove_page(struct sb_node *node, uint64_t index, struct sb_page *page)
{
    radix_remove(&node->pages, index);
    node->page_count--;
    node->pages_there -= page->is_there;
    atomic_fetch_sub_explicit(&node->served->page_bytes, PAGE_COST, memory_order_relaxed);
    free(page);
}

static void drop_from(struct sb_node *node, uint64_t index)
{
    struct sb_page *page;
    while ((page = radix_next(&node->pages, &index)) != NULL) {
        remove_page(node, index, page);
    }
}

void sb_drop_pages(struct sb_node *node)
{
    drop_from(node, 0);
    assert(node->page_count == 0 && node->pages_there == 0);
}

void sb_validate_pages(struct sb_node *node)
{
    const uint64_t epoch = hf_sync_epoch(node->handle);
    if (node->pages_epoch != epoch) {
        sb_drop_pages(node);
        node->pages_epoch = epoch;
    }
}

/* Before pages are added. */
static void note_use(struct sb_node *node)
{
    if (!atomic_load_explicit(&node->recently_used, memory_order_relaxed)) {
        atomic_store_explicit(&node->recently_used, true, memory_order_relaxed);
    }
    if (node->page_count == 0) {
        pthread_mutex_lock(&node->served->nodes_mutex);
        if (list_is_empty(&node->with_pages_link)) {
            list_append(&node->served->with_pages, &node->with_pages_link);
        }
        pthread_mutex_unlock(&node->served->nodes_mutex);
    }
}

/* ---- reading ---- */

/* One READ. */
struct fetch {
    struct client_request request;
    struct sb_node *node;
    uint64_t index; /* of the first page */
    size_t count;
};

/* What is short is behind the end, and zeros. */
static int64_t take_pages(void *context, const uint8_t *data, size_t size)
{
    const struct fetch *fetch = context;
    if (size > fetch->count * SERVED_PAGE) {
        return -EPROTO;
    }
    for (size_t i = 0; i < fetch->count; i++) {
        const size_t at = i * SERVED_PAGE;
        struct sb_page *page = add_page(fetch->node, fetch->index + i);
        if (page == NULL) {
            return -ENOMEM;
        }
        if (at < size) {
            memcpy(page->bytes, data + at, size - at < SERVED_PAGE ? size - at : SERVED_PAGE);
        }
    }
    return 0;
}

/* Get page @index and what follows, up to @count pages and in front of those that are there. */
static int fetch_pages(struct sb_node *node, uint64_t index, uint64_t count)
{
    struct fetch fetches[READS_MAX];
    struct sb *served = node->served;
    size_t started = 0;
    uint64_t next = index;
    if (radix_next(&node->pages, &next) != NULL && next - index < count) {
        count = next - index;
    }
    note_use(node);
    while (count > 0 && started < READS_MAX) {
        const size_t part = count < READ_PAGES ? (size_t)count : READ_PAGES;
        struct fetch *fetch = &fetches[started++];
        fetch->node = node;
        fetch->index = index;
        fetch->count = part;
        const struct wire_operation operation = {
            .code = WIRE_OP_READ,
            .inode = node->number,
            .offset = index * SERVED_PAGE,
            .size = part * SERVED_PAGE,
        };
        client_store_start(&served->store, &operation, 0, take_pages, fetch, &fetch->request);
        index += part;
        count -= part;
    }
    int64_t result = 0;
    for (size_t i = 0; i < started; i++) {
        const int64_t one = client_store_finish(&served->store, &fetches[i].request);
        result = result == 0 ? one : result;
    }
    return (int)result;
}

ssize_t sb_read_pages(struct sb_node *node, uint8_t *to, uint64_t offset, size_t size, size_t ahead)
{
    const struct sb *served = node->served;
    const uint64_t end_page = page_of(node->attributes.size - 1) + 1;
    const uint64_t last = page_of(offset + size - 1);
    size_t done = 0;
    while (done < size) {
        const uint64_t index = page_of(offset + done);
        const size_t at = (offset + done) % SERVED_PAGE;
        const size_t part = size - done < SERVED_PAGE - at ? size - done : SERVED_PAGE - at;
        const struct sb_page *page = find_page(node, index);
        if (page == NULL) {
            const uint64_t wanted = last - index + 1 + ahead;
            const uint64_t left = end_page - index;
            const int result = fetch_pages(node, index, wanted < left ? wanted : left);
            if (result < 0) {
                return result;
            }
            continue;
        }
        const size_t given = sb_give(served, to + done, page->bytes + at, part);
        done += given;
        if (given < part) {
            break;
        }
    }
    if (!atomic_load_explicit(&node->recently_used, memory_order_relaxed)) {
        atomic_store_explicit(&node->recently_used, true, memory_order_relaxed);
    }
    return done > 0 ? (ssize_t)done : -EFAULT;
}

/* ---- writing ---- */

/* Is each page of the file that is there cached, so that what is not cached is a hole? */
static bool knows_all(const struct sb_node *node)
{
    return !node->pages_unsure && node->pages_there == node->attributes.pages;
}

uint64_t sb_count_holes(struct sb_node *node, uint64_t offset, uint64_t size)
{
    uint64_t holes = 0;
    for (uint64_t index = page_of(offset); index <= page_of(offset + size - 1); index++) {
        const struct sb_page *page = find_page(node, index);
        holes += page == NULL || !page->is_there;
    }
    return holes;
}

void sb_write_pages(struct sb_node *node, const uint8_t *from, uint64_t offset, size_t size,
                    uint64_t old_size)
{
    const bool knew_all = knows_all(node);
    note_use(node);
    while (size > 0) {
        const uint64_t index = page_of(offset);
        const size_t at = offset % SERVED_PAGE;
        const size_t part = size < SERVED_PAGE - at ? size : SERVED_PAGE - at;
        struct sb_page *page = find_page(node, index);
        if (page == NULL && (part == SERVED_PAGE || index * SERVED_PAGE >= old_size || knew_all)) {
            page = add_page(node, index);
        }
        if (page != NULL) {
            memcpy(page->bytes + at, from, part);
            node->pages_there += !page->is_there;
            page->is_there = true;
        }
        from += part;
        offset += part;
        size -= part;
    }
}

void sb_cut_pages(struct sb_node *node, uint64_t size)
{
    const bool knew_all = knows_all(node);
    drop_from(node, page_of(size) + (size % SERVED_PAGE != 0));
    struct sb_page *last = size % SERVED_PAGE == 0 ? NULL : find_page(node, page_of(size));
    if (last != NULL) {
        memset(last->bytes + size % SERVED_PAGE, 0, SERVED_PAGE - size % SERVED_PAGE);
    }
    if (knew_all) {
        node->attributes.pages = node->pages_there;
    } else {
        node->pages_unsure = true;
    }
}

/* ---- the limit ---- */

/* The node that has not been used for long, with a reference; or NULL. With nodes_mutex. */
static struct sb_node *take_oldest(struct sb *served, size_t *turns)
{
    struct list *link;
    while (*turns > 0 && (link = list_first(&served->with_pages)) != NULL) {
        struct sb_node *node = list_entry(link, struct sb_node, with_pages_link);
        --*turns;
        list_remove(link);
        list_append(&served->with_pages, link);
        if (!atomic_exchange_explicit(&node->recently_used, false, memory_order_relaxed)) {
            if (node->references++ == 0) {
                list_remove(&node->idle_link);
                served->idle_count--;
            }
            return node;
        }
    }
    return NULL;
}

static size_t count_with_pages(const struct sb *served)
{
    size_t count = 0;
    for (const struct list *link = served->with_pages.next; link != &served->with_pages;
         link = link->next) {
        count++;
    }
    return count;
}

void sb_trim_pages(struct sb *served)
{
    struct sb_node *node;
    if (atomic_load_explicit(&served->page_bytes, memory_order_relaxed) <= served->page_limit) {
        return;
    }
    const size_t goal = served->page_limit - served->page_limit / 4;
    pthread_mutex_lock(&served->nodes_mutex);
    /* The first turn may only find what was used since the one before it. */
    size_t turns = 2 * count_with_pages(served);
    while (atomic_load_explicit(&served->page_bytes, memory_order_relaxed) > goal &&
           (node = take_oldest(served, &turns)) != NULL) {
        pthread_mutex_unlock(&served->nodes_mutex);
        pthread_mutex_lock(&node->mutex);
        sb_drop_pages(node);
        pthread_mutex_lock(&served->nodes_mutex);
        list_remove(&node->with_pages_link);
        pthread_mutex_unlock(&served->nodes_mutex);
        pthread_mutex_unlock(&node->mutex);
        sb_put_node(node);
        pthread_mutex_lock(&served->nodes_mutex);
    }
    pthread_mutex_unlock(&served->nodes_mutex);
}
