/*
 * What a client must hold for an operation, and what it may do.
 */
#include "server/served/parts.h"

#include <errno.h>
#include <stdlib.h>

/* ---- holds ---- */

static hf_id handle_of(const struct work *work, uint64_t number)
{
    return wire_store_id(work->client->of->number, number);
}

static bool holds(const struct work *work, uint64_t number, hf_mode mode)
{
    const struct sync_server *table = &work->server->table;
    return sync_server_view(table, &work->peer->sync, handle_of(work, number)).mode >= mode;
}

/* What may be known to nobody else need not be held. */
static bool holds_or_alone(const struct work *work, uint64_t number)
{
    return holds(work, number, HF_EXCLUSIVE) || served_is_private(work, number) ||
           sync_server_use_alone(&work->server->table, &work->peer->sync, handle_of(work, number));
}

static bool holds_for(const struct work *work)
{
    const struct wire_operation *op = &work->op;
    switch (op->code) {
    case WIRE_OP_SET:
    case WIRE_OP_MAKE:
    case WIRE_OP_WRITE:
    case WIRE_OP_APPEND:
    case WIRE_OP_ALLOCATE:
    case WIRE_OP_SET_XATTR:
    case WIRE_OP_REMOVE_XATTR:
        return work->is_taken || holds(work, op->inode, HF_EXCLUSIVE);
    case WIRE_OP_LINK:
    case WIRE_OP_UNLINK:
    case WIRE_OP_REMOVE_DIRECTORY:
        return holds(work, op->inode, HF_EXCLUSIVE) && holds_or_alone(work, op->number);
    case WIRE_OP_RENAME:
        return holds(work, op->inode, HF_EXCLUSIVE) && holds(work, op->other, HF_EXCLUSIVE) &&
               holds_or_alone(work, op->number) &&
               (op->replaced == 0 || holds_or_alone(work, op->replaced));
    case WIRE_OP_COPY:
        return holds(work, op->inode, HF_SHARED) && holds(work, op->other, HF_EXCLUSIVE);
    default:
        return true;
    }
}

enum wire_reason served_check_held(const struct work *work)
{
    return holds_for(work) ? WIRE_REASON_NONE : WIRE_REASON_NOT_HELD;
}

/* ---- what it made itself ---- */

void served_note_made(const struct work *work, uint64_t number, uint64_t directory)
{
    struct served_client *client = work->client;
    if (client->made == NULL) {
        client->made = calloc(SERVED_MADE, sizeof(*client->made));
    }
    if (client->made != NULL) {
        client->made[number % SERVED_MADE] = (struct served_made){
            .number = number,
            .directory = directory,
            .grant = sync_server_view(
                         &work->server->table, &work->peer->sync, handle_of(work, directory))
                         .grant,
        };
    }
}

void served_forget_made(const struct work *work, uint64_t number)
{
    struct served_made *made = work->client->made;
    if (made != NULL && made[number % SERVED_MADE].number == number) {
        made[number % SERVED_MADE].number = 0;
    }
}

bool served_is_private(const struct work *work, uint64_t number)
{
    const struct served_made *made = work->client->made;
    if (made == NULL || number == 0 || made[number % SERVED_MADE].number != number) {
        return false;
    }
    made = &made[number % SERVED_MADE];
    const struct sync_peer_view directory =
        sync_server_view(&work->server->table, &work->peer->sync, handle_of(work, made->directory));
    return directory.mode == HF_EXCLUSIVE && directory.grant == made->grant;
}

/* ---- permissions ---- */

int served_attributes(const struct work *work, uint64_t number, struct store_attributes *out)
{
    return work->store->ops->get_attributes(work->store, number, out);
}

struct permissions served_permissions(const struct store_attributes *attributes)
{
    return (struct permissions){
        .mode = attributes->mode, .owner = attributes->owner, .group = attributes->group};
}

uint8_t served_rights(const struct served_client *client, uint64_t number)
{
    const struct served_use *use = served_use_find(client, number);
    return use == NULL ? 0 : use->rights;
}

int served_may_data(const struct work *work, uint64_t number, uint8_t right)
{
    struct store_attributes attributes;
    if ((served_rights(work->client, number) & right) != 0) {
        return 0;
    }
    const int result = served_attributes(work, number, &attributes);
    if (result != 0) {
        return result;
    }
    const struct permissions of = served_permissions(&attributes);
    return permit_access(&of, &work->who, right == WIRE_USE_READ ? MAY_READ : MAY_WRITE);
}

int served_may_in(const struct work *work, uint64_t directory, unsigned wanted,
                  struct permissions *out)
{
    struct store_attributes attributes;
    const int result = served_attributes(work, directory, &attributes);
    if (result != 0) {
        return result;
    }
    *out = served_permissions(&attributes);
    /* What is no directory is for the store to find out. */
    return S_ISDIR(attributes.mode) ? permit_access(out, &work->who, wanted) : 0;
}
