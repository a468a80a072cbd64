/*
 * Contended files: operations that are done at the server, which takes the hold for each.
 * contention.h says when.
 */
#include "base/clock.h"
#include "mounts/served/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

static _Atomic enum served_sending sending = SERVED_SENDS_CONTENDED;

void served_set_sending(enum served_sending chosen)
{
    atomic_store_explicit(&sending, chosen, memory_order_relaxed);
}

void sb_note_use(struct sb_node *node)
{
    const hf_sync *handle = node->handle;
    contention_held(&node->contention,
                    client_grant(handle),
                    atomic_load_explicit(&handle->hold.waiting, memory_order_relaxed));
}

bool sb_is_contended(struct backend *backend, intptr_t file, bool writes)
{
    struct sb_node *node = sb_file_of(file)->node;
    const enum served_sending chosen = atomic_load_explicit(&sending, memory_order_relaxed);
    const bool is_contended = chosen == SERVED_SENDS_CONTENDED
                                  ? contention_is_sent(&node->contention)
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

static int64_t ask_there(struct sb_node *node, const struct wire_operation *operation,
                         client_answer_function *answer, void *context)
{
    struct client_store *store = &node->served->store;
    struct client_request request;
    const uint64_t begun_ns = clock_now_ns();
    client_store_start(store, operation, WIRE_SERVED, answer, context, &request);
    const int64_t result = client_store_finish(store, &request);
    contention_sent(&node->contention, begun_ns, clock_now_ns(), request.alone);
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
