#include "server/server.h"

#include "base/clock.h"
#include "wire/operations.h"

#include <stdio.h>
#include <string.h>

static const char *remark_to_server(const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_ACQUIRE:
        if (message->mode == HF_INVALID) {
            return "opens";
        }
        if ((message->flags & WIRE_AHEAD) != 0) {
            return "ahead";
        }
        return (message->flags & WIRE_NOWAIT) != 0 ? "no wait" : "";
    case WIRE_RELEASE:
        if ((message->flags & WIRE_IN_USE) != 0) {
            return "in use";
        }
        return (message->flags & WIRE_CLOSE) != 0 ? "closes" : "";
    case WIRE_OPERATION:
        return message->data_size > 0
                   ? wire_operation_name((enum wire_operation_code)message->data[0])
                   : "";
    default:
        return "";
    }
}

static const char *remark_to_client(const struct wire_message *message, char *room, size_t size)
{
    if (message->reason != WIRE_REASON_NONE) {
        snprintf(room, size, "DENIED %s", wire_reason_text(message->reason));
        return room;
    }
    if (message->error != 0) {
        snprintf(room, size, "%s", strerrorname_np((int)message->error));
        return room;
    }
    const bool owner_died = message->kind == WIRE_GRANT && (message->flags & WIRE_OWNER_DIED) != 0;
    return owner_died ? "owner died" : "";
}

/* The handle that it is about; of an operation that of its inode. */
static hf_id id_of(const struct wire_message *message)
{
    struct wire_operation operation;
    if (message->kind != WIRE_OPERATION ||
        !wire_operation_decode(message->data, message->data_size, &operation) ||
        operation.inode == 0) {
        return message->id;
    }
    return wire_store_id(message->store, operation.inode);
}

void server_trace(const struct hf_server *server, const struct peer *peer,
                  const struct wire_message *message, enum wire_direction direction)
{
    if (server->settings.trace == NULL || message->kind < WIRE_ACQUIRE) {
        return; /* the handshake is no part of the protocol of handles */
    }
    char room[64];
    const bool has_value = (message->flags & WIRE_VALUE) != 0 &&
                           (message->kind == WIRE_RELEASE || message->kind == WIRE_GRANT);
    const hf_trace_event event = {
        .time_ns = clock_now_ns(),
        .client = peer->number,
        .client_name = peer->name,
        .to_server = direction == TO_SERVER,
        .message = wire_kind_name(message->kind),
        .id = id_of(message),
        .mode = (hf_mode)message->mode,
        .grant = message->grant,
        .value_size = has_value ? message->data_size : 0,
        .remark = direction == TO_SERVER ? remark_to_server(message)
                                         : remark_to_client(message, room, sizeof(room)),
    };
    server->settings.trace(server->settings.trace_context, &event);
}
