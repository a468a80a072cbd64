/*
 * Operations that change one inode: its attributes, data and extended attributes.
 */
#include "server/served/parts.h"

#include <errno.h>

int64_t served_touch(struct work *work)
{
    struct store_attributes attributes;
    const uint64_t number = work->op.inode;
    int result = served_attributes(work, number, &attributes);
    if (result == 0 && !S_ISLNK(attributes.mode)) {
        result = served_may_data(work, number, WIRE_USE_READ);
    }
    if (result == 0) {
        result = served_permitted(work)->ops->touch(work->store, &work->call, number);
    }
    /* Whoever has read it need not know what has become of it since. */
    return work->seq == 0 ? 0 : result;
}

int64_t served_sync(struct work *work)
{
    return served_permitted(work)->ops->sync(work->store, work->op.inode);
}

/* ---- attributes ---- */

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Both times at once, and to the time of the operation: what needs no owner. */
static bool sets_present(const struct wire_operation *op)
{
    const uint32_t both = STORE_SET_ATIME | STORE_SET_MTIME;
    return (op->mask & both) == both && is_same_time(op->atime, op->now) &&
           is_same_time(op->mtime, op->now);
}

static int may_set(const struct work *work, const struct permissions *of)
{
    const struct wire_operation *op = &work->op;
    int result = 0;
    if ((op->mask & STORE_SET_MODE) != 0) {
        result = permit_owner(of, &work->who);
    }
    if (result == 0 && (op->mask & STORE_SET_OWNER) != 0) {
        result = permit_chown(of, &work->who, op->owner, op->group);
    }
    if (result == 0 && (op->mask & (STORE_SET_ATIME | STORE_SET_MTIME)) != 0) {
        result = permit_times(of, &work->who, sets_present(op));
    }
    if (result == 0 && (op->mask & (STORE_SET_SIZE | STORE_SET_NAMED_SIZE)) != 0) {
        result = served_may_data(work, op->inode, WIRE_USE_WRITE);
    }
    return result;
}

int64_t served_set(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct store_attributes attributes;
    int result = served_attributes(work, op->inode, &attributes);
    if (result != 0) {
        return result;
    }
    const struct permissions of = served_permissions(&attributes);
    result = may_set(work, &of);
    if (result != 0) {
        return result;
    }
    const bool has_group = (op->mask & STORE_SET_OWNER) != 0 && op->group != UINT32_MAX;
    const bool present = sets_present(op);
    const struct store_attributes values = {
        .size = op->size,
        .mode = permit_mode(&work->who, op->mode, has_group ? op->group : of.group),
        .owner = op->owner,
        .group = op->group,
        .atime = present ? work->call.now : op->atime,
        .mtime = present ? work->call.now : op->mtime,
    };
    return served_permitted(work)->ops->set_attributes(
        work->store, &work->call, op->inode, op->mask, &values);
}

/* ---- data ---- */

/* Is there space for so much data, whatever is there already? If not, and clients have some that they do not
 * need, it waits before it begins: a client that is killed meanwhile leaves no half of it. */
static bool has_room(const struct work *work, uint64_t offset, uint64_t size)
{
    const uint64_t in_first = offset % STORE_PAGE_SIZE;
    struct store_usage usage;
    store_get_usage(work->store, &usage);
    return usage.free_pages >= (in_first + size + STORE_PAGE_SIZE - 1) / STORE_PAGE_SIZE ||
           !served_can_reclaim(work);
}

/* Return: how much was written, which is less than all only at the end of all space. */
static int64_t write_at(struct work *work, uint64_t offset)
{
    const struct wire_operation *op = &work->op;
    return has_room(work, offset, op->data_size)
               ? served_permitted(work)->ops->write(
                     work->store, &work->call, op->inode, (int64_t)offset, op->data, op->data_size)
               : -ENOSPC;
}

int64_t served_write(struct work *work)
{
    const struct wire_operation *op = &work->op;
    int64_t result = served_may_data(work, op->inode, WIRE_USE_WRITE);
    if (result == 0) {
        result = write_at(work, op->offset);
    }
    if (result >= 0) {
        served_answer_count(work, (uint64_t)result);
    }
    return result;
}

int64_t served_append(struct work *work)
{
    struct store_attributes attributes;
    const uint64_t number = work->op.inode;
    int64_t result = served_may_data(work, number, WIRE_USE_WRITE);
    if (result == 0) {
        result = served_attributes(work, number, &attributes);
    }
    if (result != 0) {
        return result;
    }
    result = write_at(work, attributes.size);
    if (result >= 0) {
        const struct wire_appended record = {.count = (uint64_t)result,
                                             .end = attributes.size + (uint64_t)result};
        work->answer_size = wire_put_appended(&record, work->answer);
    }
    return result;
}

int64_t served_allocate(struct work *work)
{
    const struct wire_operation *op = &work->op;
    const int refused = served_may_data(work, op->inode, WIRE_USE_WRITE);
    return refused != 0 ? refused
                        : served_permitted(work)->ops->allocate(work->store,
                                                                &work->call,
                                                                op->inode,
                                                                (int)op->mask,
                                                                (int64_t)op->offset,
                                                                (int64_t)op->size);
}

int64_t served_copy(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct store_attributes from;
    int64_t result = served_may_data(work, op->inode, WIRE_USE_READ);
    if (result == 0) {
        result = served_may_data(work, op->other, WIRE_USE_WRITE);
    }
    if (result == 0) {
        result = served_attributes(work, op->inode, &from);
    }
    if (result == 0 && from.size > op->offset) {
        const uint64_t there = from.size - op->offset;
        const uint64_t size = there < op->size ? there : op->size;
        result = has_room(work, op->other_offset, size) ? 0 : -ENOSPC;
    }
    if (result == 0) {
        result = served_permitted(work)->ops->copy(work->store,
                                                   &work->call,
                                                   op->inode,
                                                   (int64_t)op->offset,
                                                   op->other,
                                                   (int64_t)op->other_offset,
                                                   (size_t)op->size);
    }
    if (result >= 0) {
        served_answer_count(work, (uint64_t)result);
    }
    return result;
}

/* ---- extended attributes ---- */

static int may_set_xattr(const struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct store_attributes attributes;
    const int result = served_attributes(work, op->inode, &attributes);
    if (result != 0) {
        return result;
    }
    const struct permissions of = served_permissions(&attributes);
    return permit_set_xattr(&of, &work->who, op->name.bytes, op->name.length);
}

int64_t served_set_xattr(struct work *work)
{
    const struct wire_operation *op = &work->op;
    const int refused = may_set_xattr(work);
    return refused != 0 ? refused
                        : served_permitted(work)->ops->set_xattr(work->store,
                                                                 &work->call,
                                                                 op->inode,
                                                                 served_name(&op->name),
                                                                 op->data,
                                                                 op->data_size,
                                                                 (int)op->mask);
}

int64_t served_remove_xattr(struct work *work)
{
    const struct wire_operation *op = &work->op;
    const int refused = may_set_xattr(work);
    return refused != 0 ? refused
                        : served_permitted(work)->ops->remove_xattr(
                              work->store, &work->call, op->inode, served_name(&op->name));
}
