/*
 * Operations that change names.
 */
#include "server/served/parts.h"

#include <errno.h>
#include <stdio.h>

/* What the name leads to, which must be the inode @number. Return: 0; -ESTALE when it is another one;
 * what lookup() says. */
static int find_entry(const struct work *work, uint64_t directory, const struct wire_name *name,
                      uint64_t number, struct permissions *out)
{
    struct store_attributes found;
    const int result = work->store->ops->lookup(work->store, directory, served_name(name), &found);
    if (result != 0) {
        return result;
    }
    *out = served_permissions(&found);
    return found.number == number ? 0 : -ESTALE;
}

int64_t served_make(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct permissions directory;
    int result = served_may_in(work, op->inode, MAY_WRITE | MAY_SEARCH, &directory);
    if (result == 0) {
        result = permit_new_type(&work->who, op->mode, op->device);
    }
    if (result != 0) {
        return result;
    }
    const struct store_new what = {
        .number = op->number,
        .mode = permit_new_mode(&directory, &work->who, op->mode),
        .owner = work->who.uid,
        .group = work->who.gid,
        .device = op->device,
        .target = {.bytes = (const char *)op->data, .length = op->data_size},
    };
    struct store_attributes made;
    result = served_permitted(work)->ops->make(
        work->store, &work->call, op->inode, served_name(&op->name), &what, &made);
    if (result == 0) {
        served_note_made(work, made.number, op->inode);
        served_answer_attributes(work, &made);
    }
    return result;
}

int64_t served_link(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct permissions directory;
    struct store_attributes attributes;
    int result = served_attributes(work, op->number, &attributes);
    if (result == 0) {
        const struct permissions of = served_permissions(&attributes);
        result = permit_link(&of, &work->who);
    }
    if (result == 0) {
        result = served_may_in(work, op->inode, MAY_WRITE | MAY_SEARCH, &directory);
    }
    if (result == 0) {
        result = served_permitted(work)->ops->link(
            work->store, &work->call, op->number, op->inode, served_name(&op->name));
    }
    if (result == 0) {
        served_forget_made(work, op->number);
    }
    return result;
}

static int may_remove(const struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct permissions directory, entry;
    int result = served_may_in(work, op->inode, MAY_SEARCH, &directory);
    if (result == 0) {
        result = find_entry(work, op->inode, &op->name, op->number, &entry);
    }
    return result != 0 ? result : permit_remove(&directory, &entry, &work->who);
}

int64_t served_unlink(struct work *work)
{
    const struct wire_operation *op = &work->op;
    const int refused = may_remove(work);
    return refused != 0 ? refused
                        : served_permitted(work)->ops->unlink(
                              work->store, &work->call, op->inode, served_name(&op->name));
}

int64_t served_remove_directory(struct work *work)
{
    const struct wire_operation *op = &work->op;
    const int refused = may_remove(work);
    return refused != 0 ? refused
                        : served_permitted(work)->ops->remove_directory(
                              work->store, &work->call, op->inode, served_name(&op->name));
}

/* A directory that comes to be in another one has its `..` changed. */
static int may_move(const struct work *work, const struct permissions *entry)
{
    if (!S_ISDIR(entry->mode) || work->op.inode == work->op.other) {
        return 0;
    }
    return permit_access(entry, &work->who, MAY_WRITE);
}

/* May @replaced, which is in @to, make room for @moved? */
static int may_replace(const struct work *work, const struct permissions *to,
                       const struct permissions *moved, const struct permissions *replaced)
{
    const int result = permit_remove(to, replaced, &work->who);
    if (result != 0 || (work->op.mask & RENAME_EXCHANGE) != 0 ||
        S_ISDIR(moved->mode) == S_ISDIR(replaced->mode)) {
        return result;
    }
    return S_ISDIR(moved->mode) ? -ENOTDIR : -EISDIR;
}

/* In the order in which Linux looks at it. */
static int may_rename(const struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct permissions from, to, moved, replaced;
    int result = served_may_in(work, op->inode, MAY_SEARCH, &from);
    if (result == 0) {
        result = served_may_in(work, op->other, MAY_SEARCH, &to);
    }
    if (result == 0) {
        result = find_entry(work, op->inode, &op->name, op->number, &moved);
    }
    if (result != 0) {
        return result;
    }
    const int there = find_entry(work, op->other, &op->new_name, op->replaced, &replaced);
    if (there != 0 && there != -ENOENT) {
        return there;
    }
    if (there == -ENOENT && op->replaced != 0) {
        return -ESTALE;
    }
    result = permit_remove(&from, &moved, &work->who);
    if (result == 0) {
        result = there == 0 ? may_replace(work, &to, &moved, &replaced)
                            : permit_access(&to, &work->who, MAY_WRITE | MAY_SEARCH);
    }
    if (result == 0) {
        result = may_move(work, &moved);
    }
    if (result == 0 && there == 0 && (op->mask & RENAME_EXCHANGE) != 0) {
        result = may_move(work, &replaced);
    }
    return result;
}

int64_t served_rename(struct work *work)
{
    const struct wire_operation *op = &work->op;
    int result = may_rename(work);
    if (result == 0) {
        result = served_permitted(work)->ops->rename(work->store,
                                                     &work->call,
                                                     op->inode,
                                                     served_name(&op->name),
                                                     op->other,
                                                     served_name(&op->new_name),
                                                     op->mask);
    }
    if (result == 0 && op->inode != op->other) {
        served_forget_made(work, op->number);
        served_forget_made(work, op->replaced);
    }
    return result;
}
