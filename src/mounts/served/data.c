/*
 * Reading and writing. A read is answered from the cached pages. A write is told to the server and
 * not waited for, out of space that was reserved before; where there is none to reserve, the server
 * is asked to do it, and says exactly what it has room for.
 */
#include "mounts/served/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

/* As the kernel has it. */
#define TRANSFER_MAX ((size_t)0x7ffff000)

#define DAY_SECONDS 86400

/* A reader in sequence has so many pages read ahead, at least and at most. */
#define AHEAD_FIRST 4
#define AHEAD_LAST 112

/* As the kernel checks a buffer, and where it is to be read or written. Return: 0, -EFAULT,
 * -EINVAL. */
static int check_range(const void *buffer, size_t size, off_t offset)
{
    if (!sb_is_memory(buffer, size)) {
        return -EFAULT;
    }
    return size > (size_t)(INT64_MAX - offset) ? -EINVAL : 0;
}

/* ---- times of access ---- */

static bool is_later(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/* As relatime has it: the first read after a change is of interest, and that something is still read
 * at all. */
static bool moves_access_time(const struct wire_attributes *attributes, struct timespec now)
{
    int64_t age;
    if (!is_later(now, attributes->atime) && !is_later(attributes->atime, now)) {
        return false;
    }
    return !is_later(attributes->atime, attributes->mtime) ||
           !is_later(attributes->atime, attributes->ctime) ||
           __builtin_sub_overflow(now.tv_sec, attributes->atime.tv_sec, &age) || age >= DAY_SECONDS;
}

/* Is reading @file seen in its times at all? */
static bool is_timed(const struct sb_file *file)
{
    return (atomic_load_explicit(&file->flags, memory_order_relaxed) & O_NOATIME) == 0 &&
           (file->node->served->flags & WIRE_STORE_READ_ONLY) == 0;
}

bool sb_reading_changes(struct backend *backend, intptr_t file)
{
    struct sb_node *node = sb_file_of(file)->node;
    bool changes = false;
    if (is_timed(sb_file_of(file))) {
        pthread_mutex_lock(&node->mutex);
        changes = sb_refresh(node, false) == 0 && moves_access_time(&node->attributes, sb_now());
        pthread_mutex_unlock(&node->mutex);
    }
    return changes;
}

/* With the mutex. Without the hold in EXCLUSIVE others would not see it. */
static void touch(struct sb_node *node)
{
    const uint64_t word = atomic_load_explicit(&node->handle->hold.word, memory_order_relaxed);
    const struct timespec now = sb_now();
    if ((word & SYNC_WRITER) == 0 || !moves_access_time(&node->attributes, now)) {
        return;
    }
    const struct wire_operation operation = {
        .code = WIRE_OP_TOUCH, .inode = node->number, .now = now};
    if (client_store_queue(&node->served->store, &operation, 0, 0) == 0) {
        node->attributes.atime = now;
    }
}

/* ---- using a link ---- */

bool sb_link_use_changes(struct backend *backend, intptr_t node)
{
    struct sb_node *link = sb_node_of(node);
    bool changes = false;
    if ((link->served->flags & WIRE_STORE_READ_ONLY) == 0) {
        pthread_mutex_lock(&link->mutex);
        changes = sb_refresh(link, false) == 0 && moves_access_time(&link->attributes, sb_now());
        pthread_mutex_unlock(&link->mutex);
    }
    return changes;
}

void sb_link_used(struct backend *backend, intptr_t node)
{
    struct sb_node *link = sb_node_of(node);
    pthread_mutex_lock(&link->mutex);
    if (sb_refresh(link, false) == 0) {
        touch(link);
    }
    pthread_mutex_unlock(&link->mutex);
}

/* ---- reading ---- */

/* How many pages behind a read of @size bytes at @offset are likely to be read next. */
static size_t guess_ahead(struct sb_file *file, uint64_t offset, size_t size)
{
    const uint64_t first = offset / SERVED_PAGE;
    const uint64_t next = (offset + size) / SERVED_PAGE;
    const uint64_t expected = atomic_load_explicit(&file->next, memory_order_relaxed);
    uint32_t in_a_row = 0;
    if (first == expected || first + 1 == expected) {
        in_a_row = atomic_load_explicit(&file->in_a_row, memory_order_relaxed);
        in_a_row += (uint32_t)(next - first);
    }
    atomic_store_explicit(&file->next, next, memory_order_relaxed);
    atomic_store_explicit(&file->in_a_row, in_a_row, memory_order_relaxed);
    if (in_a_row < AHEAD_FIRST) {
        return 0;
    }
    return in_a_row < AHEAD_LAST ? in_a_row : AHEAD_LAST;
}

/* With the mutex. */
static ssize_t read_held(struct sb_file *file, void *buffer, size_t size, uint64_t offset)
{
    struct sb_node *node = file->node;
    sb_note_use(node);
    int result = sb_refresh(node, false);
    if (result < 0 || offset >= node->attributes.size) {
        return result;
    }
    if (size > node->attributes.size - offset) {
        size = (size_t)(node->attributes.size - offset);
    }
    sb_validate_pages(node);
    return sb_read_pages(node, buffer, offset, size, guess_ahead(file, offset, size));
}

static ssize_t read_some(struct sb_file *file, void *buffer, size_t size, uint64_t offset)
{
    struct sb_node *node = file->node;
    pthread_mutex_lock(&node->mutex);
    const ssize_t done = read_held(file, buffer, size < TRANSFER_MAX ? size : TRANSFER_MAX, offset);
    pthread_mutex_unlock(&node->mutex);
    return done;
}

/* A read is over: its time is told. */
static void finish_reading(struct sb_file *file)
{
    struct sb_node *node = file->node;
    const uint64_t word = atomic_load_explicit(&node->handle->hold.word, memory_order_relaxed);
    if ((word & SYNC_WRITER) != 0 && is_timed(file)) {
        pthread_mutex_lock(&node->mutex);
        if (sb_refresh(node, false) == 0) {
            touch(node);
        }
        pthread_mutex_unlock(&node->mutex);
    }
    sb_trim_pages(node->served);
}

ssize_t sb_read(struct backend *backend, intptr_t file, void *buffer, size_t size, off_t offset)
{
    struct sb_file *opened = sb_file_of(file);
    const int refused = check_range(buffer, size, offset);
    if (refused < 0) {
        return refused;
    }
    const ssize_t done = read_some(opened, buffer, size, (uint64_t)offset);
    finish_reading(opened);
    return done;
}

/* ---- writing ---- */

static int64_t take_count(void *context, const uint8_t *data, size_t size)
{
    struct wire_count count;
    const uint32_t *most = context;
    if (wire_get_count(data, size, &count) != size || count.count > *most) {
        return -EPROTO;
    }
    return (int64_t)count.count;
}

/* There is nothing to reserve: the server does what it has room for. */
static int64_t ask_to_write(struct sb_node *node, const struct wire_operation *operation)
{
    uint32_t most = operation->data_size;
    node->pages_unsure = true;
    return client_store_ask(&node->served->store, operation, 0, take_count, &most);
}

/* Return: how much was written; -ENOSPC and so on. */
static int64_t send_write(struct sb_node *node, const struct wire_operation *operation,
                          uint64_t holes)
{
    struct sb *served = node->served;
    int result = client_store_tell(&served->store, operation, holes, 0);
    for (int tries = 0; result == -ENOSPC && tries < 3; tries++) {
        result = client_store_reserve(&served->store, holes, 0, NULL);
        if (result < 0) {
            break;
        }
        result = client_store_tell(&served->store, operation, holes, 0);
    }
    if (result == -ENOSPC || result == -EDQUOT) {
        return ask_to_write(node, operation);
    }
    return result < 0 ? result : (int64_t)operation->data_size;
}

/* With the mutex: @done bytes were written at @offset. */
static void note_write(struct sb_node *node, const uint8_t *from, uint64_t offset, size_t done,
                       uint64_t holes, struct timespec now)
{
    struct wire_attributes *attributes = &node->attributes;
    const bool knew_all = !node->pages_unsure && node->pages_there == attributes->pages;
    sb_write_pages(node, from, offset, done, attributes->size);
    if ((node->served->flags & WIRE_STORE_EXACT) == 0 || (holes > 0 && !knew_all)) {
        node->pages_unsure = true;
    } else {
        attributes->pages += holes;
    }
    if (offset + done > attributes->size) {
        attributes->size = offset + done;
    }
    attributes->mtime = now;
    attributes->ctime = now;
    sb_drop_privileges(node->served, attributes);
}

/* With the mutex. */
static ssize_t write_bytes(struct sb_node *node, const uint8_t *from, size_t size, uint64_t offset)
{
    int result = sb_refresh(node, false);
    if (result < 0) {
        return result;
    }
    sb_validate_pages(node);
    const uint64_t holes = sb_count_holes(node, offset, size);
    const struct wire_operation operation = {
        .code = WIRE_OP_WRITE,
        .inode = node->number,
        .offset = offset,
        .now = sb_now(),
        .data = from,
        .data_size = (uint32_t)size,
    };
    const int64_t done = send_write(node, &operation, holes);
    if (done > 0) {
        note_write(node, from, offset, (size_t)done, holes, operation.now);
    }
    return (ssize_t)done;
}

/* With the mutex: at most as much as one message carries, to the end of a page. */
static ssize_t write_part(struct sb_node *node, const void *from, size_t size, uint64_t offset)
{
    const size_t most = WIRE_DATA_MAX - offset % SERVED_PAGE;
    size_t part = size < most ? size : most;
    void *copy;
    const void *bytes = sb_borrow(node->served, from, &part, &copy);
    const ssize_t done = part == 0 ? -EFAULT : write_bytes(node, bytes, part, offset);
    free(copy);
    return done;
}

static ssize_t write_some(struct sb_file *file, const void *buffer, size_t size, uint64_t offset)
{
    struct sb_node *node = file->node;
    const uint8_t *from = buffer;
    size_t written = 0;
    ssize_t done = 0;
    size = size < TRANSFER_MAX ? size : TRANSFER_MAX;
    pthread_mutex_lock(&node->mutex);
    sb_note_use(node);
    while (written < size) {
        done = write_part(node, from + written, size - written, offset + written);
        if (done <= 0) {
            break;
        }
        written += (size_t)done;
    }
    pthread_mutex_unlock(&node->mutex);
    return written > 0 ? (ssize_t)written : done;
}

ssize_t sb_write(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                 off_t offset)
{
    const int refused = check_range(buffer, size, offset);
    if (refused < 0) {
        return refused;
    }
    const ssize_t done = write_some(sb_file_of(file), buffer, size, (uint64_t)offset);
    sb_trim_pages(sb_of(backend));
    return done;
}

/* ---- vectors ---- */

/* Vectors that readv(2) would take, with memory of their own if *copy is not NULL. Return: 0 and
 * *size; -EINVAL, -EFAULT, -ENOMEM. */
static int check_vectors(const struct sb *served, const struct iovec **vectors, int count,
                         off_t offset, struct iovec **copy, size_t *size)
{
    *copy = NULL;
    *size = 0;
    if (count < 0 || count > IOV_MAX) {
        return -EINVAL;
    }
    if (*vectors == NULL && count > 0) {
        return -EFAULT;
    }
    if (served->check_pointers && count > 0) {
        const size_t bytes = (size_t)count * sizeof(**vectors);
        *copy = malloc(bytes);
        if (*copy == NULL) {
            return -ENOMEM;
        }
        if (sb_get(served, *copy, *vectors, bytes) < bytes) {
            return -EFAULT;
        }
        *vectors = *copy;
    }
    for (int i = 0; i < count; i++) {
        const size_t length = (*vectors)[i].iov_len;
        if (length > SSIZE_MAX) {
            return -EINVAL;
        }
        if (!sb_is_memory((*vectors)[i].iov_base, length)) {
            return -EFAULT;
        }
        *size = length < TRANSFER_MAX - *size ? *size + length : TRANSFER_MAX;
    }
    return *size > (size_t)(INT64_MAX - offset) ? -EINVAL : 0;
}

/* One buffer of @vectors after the other, @size bytes in all. The inode is held, so nobody comes
 * between. */
static ssize_t each_vector(struct sb_file *file, const struct iovec *vectors, size_t size,
                           uint64_t offset, bool writes)
{
    size_t done = 0;
    for (; done < size; vectors++) {
        const size_t left = size - done;
        const size_t part = vectors->iov_len < left ? vectors->iov_len : left;
        if (part == 0) {
            continue;
        }
        const ssize_t one = writes ? write_some(file, vectors->iov_base, part, offset + done)
                                   : read_some(file, vectors->iov_base, part, offset + done);
        if (one < 0 && done == 0) {
            return one;
        }
        done += one < 0 ? 0 : (size_t)one;
        if (one < (ssize_t)part) {
            break;
        }
    }
    return (ssize_t)done;
}

ssize_t sb_read_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                        int count, off_t offset)
{
    struct sb_file *opened = sb_file_of(file);
    struct iovec *copy;
    size_t size;
    ssize_t done = check_vectors(sb_of(backend), &vectors, count, offset, &copy, &size);
    if (done == 0 && size > 0) {
        done = opened->is_directory ? -EISDIR
                                    : each_vector(opened, vectors, size, (uint64_t)offset, false);
        finish_reading(opened);
    }
    free(copy);
    return done;
}

ssize_t sb_write_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                         int count, off_t offset)
{
    struct iovec *copy;
    size_t size;
    ssize_t done = check_vectors(sb_of(backend), &vectors, count, offset, &copy, &size);
    if (done == 0 && size > 0) {
        done = each_vector(sb_file_of(file), vectors, size, (uint64_t)offset, true);
        sb_trim_pages(sb_of(backend));
    }
    free(copy);
    return done;
}
