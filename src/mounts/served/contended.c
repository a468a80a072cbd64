/*
 * Contended files. Moving a hold from client to client takes two round trips, and what is known of
 * the file has to be asked for again; an operation that is sent to the server takes one. So a file
 * whose hold was lost after an operation or two, several times in a row, is left at the server, until
 * the server says that nobody else comes between. But clients that do nothing else than change the
 * file are faster with holds, for then each gets a turn of many operations.
 */
#include "base/clock.h"
#include "mounts/served/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

/* So few operations under a hold are few; and so many such holds in a row are contention. */
#define FEW_USES 2
#define SHORT_HOLDS 4

/* So many operations in a row that nobody else came between are the end of it. */
#define ALONE 8

/*
 * Operations that follow each other so fast are a loop, and so many of them make it one. While a client
 * that holds the file does something else between two of them all others wait, which costs more the
 * more they are; an operation that is sent costs a round trip in which the others go on. So with one
 * other holds are the faster up to about this time between two operations, with more up to a part of it.
 */
#define TIGHT_NS 15000
#define TIGHT 4

static _Atomic enum served_sending sending = SERVED_SENDS_CONTENDED;

void served_set_sending(enum served_sending chosen)
{
    atomic_store_explicit(&sending, chosen, memory_order_relaxed);
}

static uint32_t get(const _Atomic uint32_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void set(_Atomic uint32_t *count, uint32_t value)
{
    atomic_store_explicit(count, value, memory_order_relaxed);
}

static void begin(struct sb_contention *contention)
{
    set(&contention->alone, 0);
    set(&contention->tight, 0);
    atomic_store_explicit(&contention->last_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&contention->is_contended, true, memory_order_relaxed);
}

static void end(struct sb_contention *contention)
{
    set(&contention->short_holds, 0);
    set(&contention->uses, FEW_USES + 1);
    atomic_store_explicit(&contention->is_contended, false, memory_order_relaxed);
}

void sb_note_use(struct sb_node *node)
{
    struct sb_contention *contention = &node->contention;
    const uint64_t grant = client_grant(node->handle);
    if (atomic_load_explicit(&contention->grant, memory_order_relaxed) == grant) {
        set(&contention->uses, get(&contention->uses) + 1);
        return;
    }
    const uint32_t waiting =
        atomic_load_explicit(&node->handle->hold.waiting, memory_order_relaxed);
    const bool was_short = get(&contention->uses) <= FEW_USES;
    const uint32_t in_a_row = was_short ? get(&contention->short_holds) + 1 : 0;
    set(&contention->short_holds, in_a_row);
    set(&contention->uses, 1);
    if (waiting > get(&contention->others)) {
        set(&contention->others, waiting);
    }
    atomic_store_explicit(&contention->grant, grant, memory_order_relaxed);
    if (in_a_row >= SHORT_HOLDS) {
        begin(contention);
    }
}

bool sb_is_contended(struct backend *backend, intptr_t file, bool writes)
{
    struct sb_node *node = sb_file_of(file)->node;
    const enum served_sending chosen = atomic_load_explicit(&sending, memory_order_relaxed);
    const bool is_contended =
        chosen == SERVED_SENDS_CONTENDED
            ? atomic_load_explicit(&node->contention.is_contended, memory_order_relaxed)
            : chosen == SERVED_SENDS_ALWAYS;
    if (!is_contended ||
        (!writes &&
         (atomic_load_explicit(&sb_file_of(file)->flags, memory_order_relaxed) & O_NOATIME) != 0)) {
        return false; /* the server would move the time of access */
    }
    if (!sb_is_held(node)) {
        return true;
    }
    /* What is held is used; but SHARED would only be in the way of a write. */
    const struct sync_hold *hold = &node->handle->hold;
    pthread_mutex_lock(&node->served->client->lock);
    const bool is_shared = hold->mode == HF_SHARED;
    pthread_mutex_unlock(&node->served->client->lock);
    return writes && is_shared && client_yield(node->handle, HF_INVALID) == 0;
}

/* It was done at the server. */
static void note_answer(struct sb_contention *contention, uint64_t begun_ns, bool alone)
{
    const uint64_t last_ns = atomic_load_explicit(&contention->last_ns, memory_order_relaxed);
    const uint32_t others = get(&contention->others);
    const uint32_t alone_so_far = alone ? get(&contention->alone) + 1 : 0;
    const bool is_tight = (begun_ns - last_ns) * (others > 0 ? others : 1) < TIGHT_NS;
    const uint32_t tight_so_far = is_tight ? get(&contention->tight) + 1 : 0;
    set(&contention->alone, alone_so_far);
    set(&contention->tight, tight_so_far);
    if (alone_so_far >= ALONE) {
        set(&contention->others, 0);
    }
    if (alone_so_far >= ALONE || tight_so_far >= TIGHT) {
        end(contention);
    }
    atomic_store_explicit(&contention->last_ns, clock_now_ns(), memory_order_relaxed);
}

static int64_t ask_there(struct sb_node *node, const struct wire_operation *operation,
                         client_answer_function *answer, void *context)
{
    struct client_store *store = &node->served->store;
    struct client_request request;
    const uint64_t begun_ns = clock_now_ns();
    client_store_start(store, operation, WIRE_SERVED, answer, context, &request);
    const int64_t result = client_store_finish(store, &request);
    note_answer(&node->contention, begun_ns, request.alone);
    return result;
}

ssize_t sb_read_there(struct backend *backend, intptr_t file, void *buffer, size_t size,
                      off_t offset)
{
    struct sb_node *node = sb_file_of(file)->node;
    const struct sb *served = node->served;
    /* Answers are taken where nothing may go wrong. */
    uint8_t *copy = served->check_pointers || buffer == NULL ? malloc(size) : NULL;
    struct sb_bytes bytes = {.bytes = copy != NULL ? copy : buffer, .room = size};
    const struct wire_operation operation = {
        .code = WIRE_OP_READ,
        .inode = node->number,
        .offset = (uint64_t)offset,
        .size = size,
    };
    if (bytes.bytes == NULL || (copy == NULL && served->check_pointers)) {
        return -ENOMEM;
    }
    ssize_t done = (ssize_t)ask_there(node, &operation, sb_take_bytes, &bytes);
    if (done > 0 && copy != NULL) {
        done = (ssize_t)sb_give(served, buffer, copy, (size_t)done);
        done = done > 0 ? done : -EFAULT;
    }
    free(copy);
    return done;
}

/* What APPEND says. */
struct appended {
    size_t most;
    uint64_t end;
};

static int64_t take_appended(void *context, const uint8_t *data, size_t size)
{
    struct appended *appended = context;
    struct wire_appended said;
    if (wire_get_appended(data, size, &said) != size || said.count > appended->most ||
        said.end < said.count || said.end > INT64_MAX) {
        return -EPROTO;
    }
    appended->end = said.end;
    return (int64_t)said.count;
}

static int64_t take_count(void *context, const uint8_t *data, size_t size)
{
    const size_t *most = context;
    struct wire_count said;
    if (wire_get_count(data, size, &said) != size || said.count > *most) {
        return -EPROTO;
    }
    return (int64_t)said.count;
}

ssize_t sb_write_there(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                       bool append, off_t *offset)
{
    struct sb_node *node = sb_file_of(file)->node;
    struct appended appended = {.most = size};
    void *copy;
    const void *data = sb_borrow(node->served, buffer, &size, &copy);
    const struct wire_operation operation = {
        .code = append ? WIRE_OP_APPEND : WIRE_OP_WRITE,
        .inode = node->number,
        .offset = (uint64_t)*offset,
        .now = sb_now(),
        .data = data,
        .data_size = (uint32_t)size,
    };
    int64_t done = -EFAULT;
    if (size > 0 && !append) {
        done = ask_there(node, &operation, take_count, &size);
    } else if (size > 0) {
        done = ask_there(node, &operation, take_appended, &appended);
        *offset = done > 0 ? (off_t)(appended.end - (uint64_t)done) : *offset;
    }
    free(copy);
    sb_forget_attributes(node); /* as of somebody else's change */
    return (ssize_t)done;
}
