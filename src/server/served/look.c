/*
 * Operations that look.
 */
#include "server/served/parts.h"

#include <errno.h>
#include <string.h>

void served_answer_attributes(struct work *work, const struct store_attributes *attributes)
{
    const struct wire_attributes record = {
        .number = attributes->number,
        .size = attributes->size,
        .pages = attributes->pages,
        .device = attributes->device,
        .mode = attributes->mode,
        .links = attributes->links,
        .owner = attributes->owner,
        .group = attributes->group,
        .atime = attributes->atime,
        .mtime = attributes->mtime,
        .ctime = attributes->ctime,
        .btime = attributes->btime,
    };
    work->answer_size = wire_put_attributes(&record, work->answer);
}

void served_answer_count(struct work *work, uint64_t count)
{
    const struct wire_count record = {.count = count};
    work->answer_size = wire_put_count(&record, work->answer);
}

int64_t served_attach(struct work *work)
{
    const struct wire_identity record = {
        .root = STORE_ROOT,
        .flags = work->client->of->flags |
                 (served_is_privileged(work->peer) ? WIRE_STORE_PRIVILEGED : 0),
        .owner = work->who.uid,
        .group = work->who.gid,
    };
    uint8_t *at = work->answer + wire_put_identity(&record, work->answer);
    for (uint32_t i = 0; i < work->who.group_count; i++) {
        for (int byte = 0; byte < 4; byte++) {
            *at++ = (uint8_t)(work->who.groups[i] >> (8 * byte));
        }
    }
    work->answer_size = (size_t)(at - work->answer);
    return 0;
}

int64_t served_lookup(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct permissions directory;
    struct store_attributes found;
    int result = served_may_in(work, op->inode, MAY_SEARCH, &directory);
    if (result == 0) {
        result = work->store->ops->lookup(work->store, op->inode, served_name(&op->name), &found);
    }
    if (result == 0) {
        served_answer_attributes(work, &found);
    }
    return result;
}

int64_t served_get(struct work *work)
{
    struct store_attributes attributes;
    const int result = served_attributes(work, work->op.inode, &attributes);
    if (result == 0) {
        served_answer_attributes(work, &attributes);
    }
    return result;
}

int64_t served_parent(struct work *work)
{
    uint64_t parent;
    const int result = work->store->ops->parent(work->store, work->op.inode, &parent);
    if (result != 0) {
        return result;
    }
    work->op.inode = parent;
    return served_get(work);
}

/* ---- directories ---- */

struct listing {
    uint8_t *at;
    size_t left;
};

/* Ends a listing in front of the entry that does not fit. */
#define LISTING_FULL 1

static int add_entry(void *context, struct store_name name, uint64_t number, uint32_t type,
                     uint64_t position)
{
    struct listing *listing = context;
    const struct wire_entry entry = {
        .number = number,
        .mode = type,
        .offset = position,
        .name = {.bytes = name.bytes, .length = (uint8_t)name.length},
    };
    uint8_t record[WIRE_OPERATION_HEAD_MAX];
    const size_t size = wire_put_entry(&entry, record);
    if (size > listing->left) {
        return LISTING_FULL;
    }
    memcpy(listing->at, record, size);
    listing->at += size;
    listing->left -= size;
    return 0;
}

int64_t served_list(struct work *work)
{
    const struct wire_operation *op = &work->op;
    const size_t size = op->size < WIRE_DATA_MAX ? op->size : WIRE_DATA_MAX;
    struct listing listing = {.at = work->answer, .left = size};
    int result = served_may_data(work, op->inode, WIRE_USE_READ);
    if (result != 0) {
        return result;
    }
    result = work->store->ops->list(
        work->store, &work->call, op->inode, op->offset, add_entry, &listing);
    work->answer_size = (size_t)(listing.at - work->answer);
    /* Nothing would say that there is no more. */
    return result == LISTING_FULL && work->answer_size == 0 ? -EINVAL : result;
}

/* ---- data ---- */

/* An answer of as many bytes. */
static int64_t answer_bytes(struct work *work, int64_t result)
{
    work->answer_size = result > 0 ? (size_t)result : 0;
    return result;
}

int64_t served_read_link(struct work *work)
{
    return answer_bytes(
        work,
        work->store->ops->read_link(
            work->store, &work->call, work->op.inode, (char *)work->answer, STORE_MAX_TARGET));
}

int64_t served_read(struct work *work)
{
    const struct wire_operation *op = &work->op;
    if (op->size > WIRE_DATA_MAX) {
        return -EINVAL;
    }
    const int refused = served_may_data(work, op->inode, WIRE_USE_READ);
    if (refused != 0) {
        return refused;
    }
    uint8_t *const room = peer_answer_room(work->peer, (size_t)op->size);
    if (room != NULL) {
        work->answer = room;
        work->is_in_place = true;
    }
    return answer_bytes(work,
                        work->store->ops->read(work->store,
                                               &work->call,
                                               op->inode,
                                               (int64_t)op->offset,
                                               work->answer,
                                               (size_t)op->size));
}

int64_t served_seek(struct work *work)
{
    const struct wire_operation *op = &work->op;
    int64_t result = 0;
    if (served_rights(work->client, op->inode) == 0) {
        result = served_may_data(work, op->inode, WIRE_USE_READ);
    }
    if (result == 0) {
        result =
            work->store->ops->seek(work->store, op->inode, (int64_t)op->offset, (int)op->whence);
    }
    if (result >= 0) {
        served_answer_count(work, (uint64_t)result);
    }
    return result;
}

/* ---- extended attributes ---- */

int64_t served_get_xattr(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct store_attributes attributes;
    int result = served_attributes(work, op->inode, &attributes);
    if (result == 0) {
        const struct permissions of = served_permissions(&attributes);
        result = permit_get_xattr(&of, &work->who, op->name.bytes, op->name.length);
    }
    return result != 0 ? result
                       : answer_bytes(work,
                                      work->store->ops->get_xattr(work->store,
                                                                  op->inode,
                                                                  served_name(&op->name),
                                                                  work->answer,
                                                                  WIRE_DATA_MAX));
}

int64_t served_list_xattrs(struct work *work)
{
    char *const names = (char *)work->answer;
    const int64_t size =
        work->store->ops->list_xattrs(work->store, work->op.inode, names, STORE_MAX_XATTR_LIST);
    if (size < 0) {
        return size;
    }
    /* Without those that this user may not know of. */
    char *out = names;
    for (const char *name = names; name < names + size;) {
        const size_t length = strlen(name);
        const char *const next = name + length + 1;
        if (permit_list_xattr(&work->who, name, length)) {
            memmove(out, name, length + 1);
            out += length + 1;
        }
        name = next;
    }
    return answer_bytes(work, out - names);
}
