/*
 * Limits and numbers.
 *
 * Numbers are granted in blocks of 64 which begin at a multiple of 64, so that one word says which
 * of a block are left. A block is gone when all are spent or its holder is gone; what is in no block
 * was spent, or will never be an inode's.
 */
#include "store/parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct number_block {
    struct list node; /* in the holder's list */
    uint64_t first;
    uint64_t left; /* bit i: first + i is not spent */
};

static uint64_t pages_of(uint64_t bytes)
{
    return bytes / STORE_PAGE_SIZE + (bytes % STORE_PAGE_SIZE != 0);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void store_init(struct store *store, const struct store_ops *ops, const struct store_limits *limits)
{
    *store = (struct store){
        .ops = ops,
        .pages.limit = pages_of(limits->bytes),
        .inodes.limit = limits->inodes,
        .next_number = STORE_NUMBERS_GRANTED,
        .own_number = STORE_ROOT,
        .own_end = STORE_NUMBERS_GRANTED,
    };
}

/* ---- limits ---- */

static uint64_t free_in(const struct store_quota *quota)
{
    assert(quota->used <= quota->limit && quota->reserved <= quota->limit - quota->used);
    return quota->limit - quota->used - quota->reserved;
}

/* From the reservation, or without one from what is free. */
static int charge(struct store_quota *quota, uint64_t *reservation, uint64_t count,
                  struct store_charge *out)
{
    if (count > (reservation != NULL ? *reservation : free_in(quota))) {
        return -ENOSPC;
    }
    if (reservation != NULL) {
        *reservation -= count;
        quota->reserved -= count;
        out->reserved += count;
    } else {
        out->free += count;
    }
    quota->used += count;
    return 0;
}

static void uncharge(struct store_quota *quota, uint64_t *reservation, struct store_charge charge)
{
    quota->used -= charge.free + charge.reserved;
    if (charge.reserved > 0) {
        quota->reserved += charge.reserved;
        *reservation += charge.reserved;
    }
}

static uint64_t *pages_reserved(const struct store_call *call)
{
    return call->from_reserved ? &call->holder->pages : NULL;
}

static uint64_t *inodes_reserved(const struct store_call *call)
{
    return call->from_reserved ? &call->holder->inodes : NULL;
}

int store_charge_pages(struct store *store, const struct store_call *call, uint64_t count,
                       struct store_charge *out)
{
    return charge(&store->pages, pages_reserved(call), count, out);
}

int store_charge_inodes(struct store *store, const struct store_call *call, uint64_t count,
                        struct store_charge *out)
{
    return charge(&store->inodes, inodes_reserved(call), count, out);
}

void store_uncharge_pages(struct store *store, const struct store_call *call,
                          struct store_charge charged)
{
    uncharge(&store->pages, pages_reserved(call), charged);
}

void store_uncharge_inodes(struct store *store, const struct store_call *call,
                           struct store_charge charged)
{
    uncharge(&store->inodes, inodes_reserved(call), charged);
}

uint64_t store_available_pages(const struct store *store, const struct store_call *call)
{
    return call->from_reserved ? call->holder->pages : free_in(&store->pages);
}

void store_free_pages(struct store *store, uint64_t count)
{
    assert(store->pages.used >= count);
    store->pages.used -= count;
}

void store_free_inodes(struct store *store, uint64_t count)
{
    assert(store->inodes.used >= count);
    store->inodes.used -= count;
}

void store_get_usage(const struct store *store, struct store_usage *out)
{
    *out = (struct store_usage){
        .pages = store->pages.limit,
        .free_pages = free_in(&store->pages),
        .inodes = store->inodes.limit,
        .free_inodes = free_in(&store->inodes),
    };
    if (store->ops->get_host_usage != NULL) {
        store->ops->get_host_usage(store, out);
    }
}

/* ---- holders ---- */

void store_holder_init(struct store_holder *holder, struct store *store)
{
    *holder = (struct store_holder){.store = store};
    list_init(&holder->numbers);
}

static void free_block(struct store_holder *holder, struct number_block *block)
{
    list_remove(&block->node);
    holder->number_blocks--;
    free(block);
}

void store_holder_deinit(struct store_holder *holder)
{
    store_unreserve(holder, UINT64_MAX, UINT64_MAX);
    for (struct list *node; (node = list_first(&holder->numbers)) != NULL;) {
        free_block(holder, list_entry(node, struct number_block, node));
    }
}

int store_reserve(struct store_holder *holder, uint64_t bytes, uint64_t inodes)
{
    struct store *store = holder->store;
    const uint64_t pages = pages_of(bytes);
    if (pages > free_in(&store->pages) || inodes > free_in(&store->inodes)) {
        return -ENOSPC;
    }
    store->pages.reserved += pages;
    store->inodes.reserved += inodes;
    holder->pages += pages;
    holder->inodes += inodes;
    return 0;
}

void store_unreserve(struct store_holder *holder, uint64_t bytes, uint64_t inodes)
{
    const uint64_t pages = smaller(pages_of(bytes), holder->pages);
    inodes = smaller(inodes, holder->inodes);
    holder->store->pages.reserved -= pages;
    holder->store->inodes.reserved -= inodes;
    holder->pages -= pages;
    holder->inodes -= inodes;
}

/* ---- numbers ---- */

int store_grant_numbers(struct store_holder *holder, uint64_t *first)
{
    if (holder->number_blocks >= STORE_MAX_NUMBERS / STORE_NUMBERS_GRANTED) {
        return -EDQUOT;
    }
    struct number_block *block = malloc(sizeof(*block));
    if (block == NULL) {
        return -ENOMEM;
    }
    *block = (struct number_block){.first = holder->store->next_number, .left = UINT64_MAX};
    holder->store->next_number += STORE_NUMBERS_GRANTED;
    list_init(&block->node);
    list_append(&holder->numbers, &block->node);
    holder->number_blocks++;
    *first = block->first;
    return 0;
}

/* The block in which @number is left, if any. A holder spends its oldest numbers first, unless it
 * wants to make this slow for itself; 1,024 blocks are the most. */
static struct number_block *find_block(const struct store_call *call, uint64_t number)
{
    if (call->holder == NULL) {
        return NULL;
    }
    struct list *head = &call->holder->numbers;
    for (struct list *node = head->next; node != head; node = node->next) {
        struct number_block *block = list_entry(node, struct number_block, node);
        const uint64_t index = number - block->first;
        if (index < STORE_NUMBERS_GRANTED) {
            return (block->left >> index & 1) != 0 ? block : NULL;
        }
    }
    return NULL;
}

int store_choose_number(struct store *store, const struct store_call *call, uint64_t wanted,
                        uint64_t *number)
{
    if (wanted == 0) {
        *number = store->own_number < store->own_end ? store->own_number : store->next_number;
        return 0;
    }
    *number = wanted;
    return find_block(call, wanted) == NULL ? -EPROTO : 0;
}

void store_spend_number(struct store *store, const struct store_call *call, uint64_t wanted,
                        uint64_t number)
{
    if (wanted == 0) {
        if (number == store->next_number) {
            store->next_number += STORE_NUMBERS_GRANTED;
            store->own_end = store->next_number;
        }
        store->own_number = number + 1;
        return;
    }
    struct number_block *block = find_block(call, number);
    assert(block != NULL);
    block->left &= ~(UINT64_C(1) << (number - block->first));
    if (block->left == 0) {
        free_block(call->holder, block);
    }
}
