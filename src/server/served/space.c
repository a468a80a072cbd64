/*
 * Space that clients have ahead of their operations.
 */
#include "server/served/parts.h"

#include <errno.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int64_t served_usage(struct work *work)
{
    const struct store *store = work->store;
    /* What is reserved and not used would be given back to whoever needs it. */
    const struct wire_usage record = {
        .pages = store->pages.limit,
        .free_pages = store->pages.limit - store->pages.used,
        .inodes = store->inodes.limit,
        .free_inodes = store->inodes.limit - store->inodes.used,
    };
    work->answer_size = wire_put_usage(&record, work->answer);
    return 0;
}

int64_t served_reserve(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct store_holder *holder = &work->client->holder;
    struct store_usage usage;
    store_get_usage(work->store, &usage);
    const uint64_t pages = smaller(op->pages, usage.free_pages);
    const uint64_t inodes = smaller(op->inodes, usage.free_inodes);
    struct wire_reservation record = {.number = 0};
    if (op->count != 0) {
        const int failure = store_grant_numbers(holder, &record.number);
        if (failure != 0) {
            return failure;
        }
    }
    int result = store_reserve(holder, pages * STORE_PAGE_SIZE, inodes);
    if (result == 0) {
        record.pages = holder->pages;
        record.inodes = holder->inodes;
        work->answer_size = wire_put_reservation(&record, work->answer);
    }
    return result;
}

int64_t served_return(struct work *work)
{
    struct store_holder *holder = &work->client->holder;
    const uint64_t pages = smaller(work->op.pages, holder->pages);
    store_unreserve(holder, pages * STORE_PAGE_SIZE, work->op.inodes);
    return 0;
}
