#include "server/park.h"

#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct parked {
    hf_id id; /* kept by the server; {0, 0}: it has no sync handle */
    int fd;   /* the guard's */
    uint16_t size;
    uint8_t data[];
};

struct ticket {
    struct id_map_node node;
    struct parked **parked;
    uint32_t count;
    uint32_t room;
    struct park_loan *loans;
    uint32_t loan_count;
};

static const hf_id none = {0, 0};

static struct ticket *ticket_of(struct id_map_node *node)
{
    return list_entry(node, struct ticket, node);
}

static struct ticket *ticket_find(const struct hf_server *server, hf_id id)
{
    struct id_map_node *node = id_map_find(&server->park.tickets, id);
    return node == NULL ? NULL : ticket_of(node);
}

/* ---- descriptors ---- */

void park_spoil_linger(int fd)
{
    const struct linger no_linger = {.l_onoff = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof(no_linger));
}

static void discard(struct hf_server *server, int fd)
{
    park_spoil_linger(fd);
    fork_guard_close(&server->guard, fd);
}

/* Is it anything that has a name on the host, but no socket? Asks what the kernel knows, not the
 * filesystem, which may be slow to answer. */
static bool is_open_file(int fd)
{
    struct statx status;
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0) {
        return false;
    }
    if ((flags & O_PATH) != 0) {
        return true;
    }
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0) {
        return false;
    }
    const unsigned type = status.stx_mode & S_IFMT;
    return type == S_IFREG || type == S_IFDIR || type == S_IFIFO || type == S_IFCHR ||
           type == S_IFBLK;
}

static bool is_local_socket(int fd)
{
    int domain = 0;
    socklen_t size = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

/* Return: whether the kernel has taken it. */
static bool send_descriptor(int socket, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    const struct msghdr message = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

/* ---- parking ---- */

static void parked_free(struct hf_server *server, struct parked *parked)
{
    fork_guard_close(&server->guard, parked->fd);
    if (!hf_id_equal(parked->id, none)) {
        server_unkeep(server, parked->id);
    }
    server->park.count--;
    free(parked);
}

static void ticket_free(struct hf_server *server, struct ticket *ticket)
{
    struct park_loan *loan;
    while ((loan = ticket->loans) != NULL) {
        ticket->loans = loan->next;
        served_give_back(server, loan);
        free(loan);
    }
    for (uint32_t i = 0; i < ticket->count; i++) {
        parked_free(server, ticket->parked[i]);
    }
    id_map_remove(&server->park.tickets, &ticket->node);
    free(ticket->parked);
    free(ticket);
}

/* A ticket that nobody has yet, with nothing under it. NULL: no memory. */
static struct ticket *ticket_new(struct hf_server *server)
{
    struct ticket *ticket = calloc(1, sizeof(*ticket));
    if (ticket == NULL) {
        return NULL;
    }
    do {
        ssize_t got = getrandom(&ticket->node.id, sizeof(ticket->node.id), 0);
        assert(got == sizeof(ticket->node.id)); /* so few bytes never come in parts */
        (void)got;
    } while (hf_id_equal(ticket->node.id, none) || ticket_find(server, ticket->node.id) != NULL);
    id_map_insert(&server->park.tickets, &ticket->node);
    return ticket;
}

static bool ticket_make_room(struct ticket *ticket)
{
    if (ticket->count < ticket->room) {
        return true;
    }
    const uint32_t room = ticket->room == 0 ? 4 : 2 * ticket->room;
    struct parked **grown = realloc(ticket->parked, room * sizeof(struct parked *));
    if (grown == NULL) {
        return false;
    }
    ticket->parked = grown;
    ticket->room = room;
    return true;
}

/* Put it under the ticket, which has room. Takes over @fd on success. */
static enum wire_reason ticket_add(struct hf_server *server, struct ticket *ticket, int fd,
                                   const struct wire_message *message)
{
    struct parked *parked = malloc(sizeof(*parked) + message->data_size);
    if (parked == NULL) {
        return WIRE_REASON_NO_MEMORY;
    }
    int failure = hf_id_equal(message->id, none) ? 0 : server_keep(server, message->id);
    if (failure != 0) {
        free(parked);
        return failure == -ENOMEM ? WIRE_REASON_NO_MEMORY : WIRE_REASON_PARK_LIMIT;
    }
    *parked = (struct parked){.id = message->id, .fd = fd, .size = message->data_size};
    if (message->data_size > 0) {
        memcpy(parked->data, message->data, message->data_size);
    }
    ticket->parked[ticket->count++] = parked;
    server->park.count++;
    return WIRE_REASON_NONE;
}

/* Return: WIRE_REASON_NONE with *id set and @fd taken over, or why not. */
static enum wire_reason park(struct hf_server *server, int fd, const struct wire_message *message,
                             hf_id *id)
{
    if (message->data_size > server->settings.limits.parked_bytes ||
        server->park.count + server->served.pipes >= server->park.limit) {
        return WIRE_REASON_PARK_LIMIT;
    }
    const bool is_first = hf_id_equal(message->ticket, none);
    struct ticket *ticket = is_first ? ticket_new(server) : ticket_find(server, message->ticket);
    if (ticket == NULL) {
        return is_first ? WIRE_REASON_NO_MEMORY : WIRE_REASON_UNKNOWN_TICKET;
    }
    const enum wire_reason refused =
        ticket_make_room(ticket) ? ticket_add(server, ticket, fd, message) : WIRE_REASON_NO_MEMORY;
    if (refused == WIRE_REASON_NONE) {
        *id = ticket->node.id;
    } else if (is_first) {
        ticket_free(server, ticket);
    }
    return refused;
}

/* ---- loans ---- */

int park_lend(struct hf_server *server, hf_id id, const struct park_loan *loan)
{
    struct ticket *ticket = ticket_find(server, id);
    if (ticket == NULL) {
        return -ESTALE;
    }
    if (ticket->loan_count >= ticket->count) {
        return -EDQUOT;
    }
    struct park_loan *lent = malloc(sizeof(*lent));
    if (lent == NULL) {
        return -ENOMEM;
    }
    *lent = *loan;
    lent->next = ticket->loans;
    ticket->loans = lent;
    ticket->loan_count++;
    return 0;
}

bool park_is_lent(const struct hf_server *server, hf_id id, const struct park_loan *loan)
{
    const struct ticket *ticket = ticket_find(server, id);
    const struct park_loan *lent = ticket == NULL ? NULL : ticket->loans;
    while (lent != NULL && (lent->store != loan->store || lent->inode != loan->inode ||
                            (loan->rights & ~lent->rights) != 0)) {
        lent = lent->next;
    }
    return lent != NULL;
}

/* ---- messages ---- */

/* The descriptor that came with the message. Return: it; -1 with *refused set when there is none,
 * and none is needed when it was for want of descriptors here. */
static int take_descriptor(struct peer *peer, bool (*is_right)(int fd), enum wire_reason *refused)
{
    const bool lost = peer->attachment_lost;
    int fd = peer->attachment;
    peer->attachment = -1;
    peer->attachment_lost = false;
    if (fd >= 0 && !is_right(fd)) {
        discard(peer->server, fd);
        fd = -1;
    }
    *refused = lost ? WIRE_REASON_NO_DESCRIPTOR : WIRE_REASON_BAD_DESCRIPTOR;
    return fd;
}

static void answer(struct peer *peer, const struct wire_message *message, enum wire_reason reason,
                   hf_id ticket, const struct parked *parked)
{
    const struct wire_message parked_message = {
        .kind = WIRE_PARKED,
        .seq = message->seq,
        .reason = (uint8_t)reason,
        .ticket = ticket,
        .id = parked != NULL ? parked->id : none,
        .data = parked != NULL ? parked->data : NULL,
        .data_size = parked != NULL ? parked->size : 0,
    };
    peer_send(peer, &parked_message);
}

static enum wire_reason on_park(struct hf_server *server, struct peer *peer,
                                const struct wire_message *message)
{
    enum wire_reason reason;
    hf_id ticket = message->ticket;
    const int fd = take_descriptor(peer, is_open_file, &reason);
    if (fd >= 0) {
        reason = park(server, fd, message, &ticket);
        if (reason != WIRE_REASON_NONE) {
            discard(server, fd);
        }
    } else if (reason == WIRE_REASON_BAD_DESCRIPTOR) {
        return reason;
    }
    answer(peer, message, reason, ticket, NULL);
    return WIRE_REASON_NONE;
}

/* What is parked so, or else the pipe of a FIFO that the peer uses. *fd stays the server's. */
static enum wire_reason find_claimed(struct peer *peer, const struct wire_message *message,
                                     const struct parked **parked, int *fd)
{
    const struct ticket *ticket = ticket_find(peer->server, message->ticket);
    if (ticket == NULL && message->index == 0) {
        return served_claim_pipe(peer, message->ticket, fd);
    }
    if (ticket == NULL || message->index >= ticket->count) {
        return WIRE_REASON_UNKNOWN_TICKET;
    }
    *parked = ticket->parked[message->index];
    *fd = (*parked)->fd;
    return WIRE_REASON_NONE;
}

static enum wire_reason on_claim(struct hf_server *server, struct peer *peer,
                                 const struct wire_message *message)
{
    enum wire_reason reason;
    const struct parked *parked = NULL;
    const int socket = take_descriptor(peer, is_local_socket, &reason);
    if (socket >= 0) {
        int fd;
        reason = find_claimed(peer, message, &parked, &fd);
        if (reason == WIRE_REASON_NONE && !send_descriptor(socket, fd)) {
            reason = WIRE_REASON_NO_DESCRIPTOR;
        }
        discard(server, socket);
    } else if (reason == WIRE_REASON_BAD_DESCRIPTOR) {
        return reason;
    }
    answer(peer, message, reason, message->ticket, reason == WIRE_REASON_NONE ? parked : NULL);
    return WIRE_REASON_NONE;
}

static enum wire_reason on_drop(struct hf_server *server, struct peer *peer,
                                const struct wire_message *message)
{
    struct ticket *ticket = ticket_find(server, message->ticket);
    if (ticket != NULL) {
        ticket_free(server, ticket);
    }
    answer(peer,
           message,
           ticket != NULL ? WIRE_REASON_NONE : WIRE_REASON_UNKNOWN_TICKET,
           message->ticket,
           NULL);
    return WIRE_REASON_NONE;
}

enum wire_reason park_input(struct hf_server *server, struct peer *peer,
                            const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_PARK:
        return on_park(server, peer, message);
    case WIRE_CLAIM:
        return on_claim(server, peer, message);
    default:
        assert(message->kind == WIRE_DROP);
        return on_drop(server, peer, message);
    }
}

/* ---- life ---- */

int park_init(struct park *park, uint32_t limit)
{
    struct rlimit descriptors;
    *park = (struct park){.limit = limit};
    /* Clients that come later need some too. */
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0 && descriptors.rlim_cur / 2 < park->limit) {
        park->limit = (uint32_t)(descriptors.rlim_cur / 2);
    }
    return id_map_init(&park->tickets);
}

void park_deinit(struct hf_server *server)
{
    struct id_map_node *node = id_map_next(&server->park.tickets, NULL);
    while (node != NULL) {
        struct ticket *ticket = ticket_of(node);
        node = id_map_next(&server->park.tickets, node);
        ticket_free(server, ticket);
    }
    assert(server->park.count == 0);
    id_map_deinit(&server->park.tickets);
}
