/*
 * What a peer is to stores: its uses, its credentials and those it states for others.
 */
#include "server/park.h"
#include "server/served/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* As many as fit in the answer to ATTACH; who is in more has fewer rights here. */
#define MAX_GROUPS 16384

/* Credentials that the peer stated. */
struct stated {
    struct id_map_node node; /* object: the slot */
    struct credentials who;
    uint32_t groups[];
};

static hf_id key(uint64_t number)
{
    return (hf_id){.object = number};
}

/* ---- credentials ---- */

/* Return: the groups of whoever is at the other end of a local socket, which the kernel noted when it
 * was connected; or a negative errno. */
static int ask_kernel(int fd, struct credentials *own)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return -errno;
    }
    socklen_t room = MAX_GROUPS * sizeof(gid_t);
    gid_t *groups = malloc(room);
    if (groups == NULL) {
        return -ENOMEM;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &room) != 0) {
        room = 0;
    }
    *own = (struct credentials){
        .uid = peer.uid,
        .gid = peer.gid,
        .groups = groups,
        .group_count = room / sizeof(gid_t),
    };
    return 0;
}

/* For a peer that the embedder has brought by a way on which the kernel knows nobody. */
static int take_own(struct credentials *own)
{
    int count = getgroups(0, NULL);
    gid_t *groups = calloc((size_t)count + 1, sizeof(gid_t));
    if (groups == NULL) {
        return -ENOMEM;
    }
    count = getgroups(count, groups);
    *own = (struct credentials){
        .uid = geteuid(),
        .gid = getegid(),
        .groups = groups,
        .group_count = count < 0 ? 0 : (uint32_t)count,
    };
    return 0;
}

static struct stated *stated_find(const struct peer *peer, uint32_t slot)
{
    if (peer->served.stated.buckets == NULL) {
        return NULL;
    }
    struct id_map_node *node = id_map_find(&peer->served.stated, key(slot));
    return node == NULL ? NULL : list_entry(node, struct stated, node);
}

int served_credentials(struct peer *peer, uint32_t slot, struct credentials *out)
{
    if (slot != 0) {
        const struct stated *stated = stated_find(peer, slot);
        if (stated == NULL) {
            return -EINVAL;
        }
        *out = stated->who;
        return 0;
    }
    if (!peer->served.has_own) {
        struct credentials *own = &peer->served.own;
        const int failure = peer->pid != 0 ? ask_kernel(peer->fd, own) : take_own(own);
        if (failure != 0) {
            return failure;
        }
        peer->served.has_own = true;
    }
    *out = peer->served.own;
    return 0;
}

bool served_is_privileged(const struct peer *peer)
{
    const uint32_t uid = peer->served.own.uid;
    return uid == 0 || uid == peer->server->settings.own_uid;
}

int64_t served_state_credentials(struct work *work)
{
    struct served_peer *served = &work->peer->served;
    const struct wire_operation *op = &work->op;
    const uint32_t count = op->data_size / sizeof(uint32_t);
    struct stated *old = stated_find(work->peer, op->slot);
    if (served->stated.buckets == NULL && id_map_init(&served->stated) != 0) {
        return -ENOMEM;
    }
    if (old == NULL && served->stated.count >= work->server->settings.limits.stated_credentials) {
        return -EDQUOT;
    }
    struct stated *stated = malloc(sizeof(*stated) + count * sizeof(uint32_t));
    if (stated == NULL) {
        return -ENOMEM;
    }
    stated->node.id = key(op->slot);
    stated->who = (struct credentials){
        .uid = op->owner, .gid = op->group, .groups = stated->groups, .group_count = count};
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = op->data + i * sizeof(uint32_t);
        stated->groups[i] =
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    }
    if (old != NULL) {
        id_map_remove(&served->stated, &old->node);
        free(old);
    }
    id_map_insert(&served->stated, &stated->node);
    return 0;
}

static void forget_credentials(struct served_peer *served)
{
    struct id_map_node *node =
        served->stated.buckets != NULL ? id_map_next(&served->stated, NULL) : NULL;
    while (node != NULL) {
        struct stated *stated = list_entry(node, struct stated, node);
        node = id_map_next(&served->stated, node);
        free(stated);
    }
    id_map_deinit(&served->stated);
    free((void *)(uintptr_t)served->own.groups);
}

/* ---- uses ---- */

static struct served_use *use_of(struct id_map_node *node)
{
    return list_entry(node, struct served_use, node);
}

struct served_use *served_use_find(const struct served_client *client, uint64_t number)
{
    struct id_map_node *node = id_map_find(&client->uses, key(number));
    return node == NULL ? NULL : use_of(node);
}

/* Does the client that the operation names, which is of the same user, use it so? */
static bool is_used_elsewhere(const struct work *work, uint64_t number, uint8_t rights)
{
    struct list *clients = &work->client->of->clients;
    if (work->op.other == 0) {
        return false;
    }
    for (struct list *link = clients->next; link != clients; link = link->next) {
        const struct served_client *other = list_entry(link, struct served_client, link);
        if (other->peer->number == work->op.other && other->peer->uid == work->peer->uid) {
            return (rights & ~served_rights(other, number)) == 0;
        }
    }
    return false;
}

/* May it be opened so? */
static int may_use(const struct work *work, uint64_t number, uint8_t rights)
{
    struct store_attributes attributes;
    const int result = served_attributes(work, number, &attributes);
    if (result != 0 || rights == 0 || served_is_private(work, number) ||
        is_used_elsewhere(work, number, rights)) {
        return result;
    }
    if (S_ISDIR(attributes.mode) && (rights & WIRE_USE_WRITE) != 0) {
        return -EISDIR;
    }
    const struct permissions of = served_permissions(&attributes);
    const unsigned wanted = ((rights & WIRE_USE_READ) != 0 ? MAY_READ : 0) |
                            ((rights & WIRE_USE_WRITE) != 0 ? MAY_WRITE : 0);
    return permit_access(&of, &work->who, wanted);
}

/* Make a record of a use, within the limit. NULL with *failure set. */
static struct served_use *use_new(const struct work *work, int64_t *failure)
{
    if (work->peer->served.use_count >= work->server->settings.limits.uses) {
        *failure = -EDQUOT;
        return NULL;
    }
    struct served_use *use = calloc(1, sizeof(*use));
    *failure = -ENOMEM;
    return use;
}

static void use_insert(const struct work *work, struct served_use *use, uint64_t number,
                       uint8_t rights)
{
    use->node.id = key(number);
    use->rights = rights;
    use->pipe = served_pipe_join(work->client->of, number);
    id_map_insert(&work->client->uses, &use->node);
    work->peer->served.use_count++;
    work->server->served.uses++;
}

static void use_end(struct served_client *client, struct served_use *use)
{
    struct store *store = client->of->store;
    store->ops->release(store, use->node.id.object);
    served_pipe_unref(client->peer->server, use->pipe);
    id_map_remove(&client->uses, &use->node);
    client->peer->served.use_count--;
    client->peer->server->served.uses--;
    free(use);
}

static bool are_rights(uint8_t rights)
{
    return (rights & ~(WIRE_USE_READ | WIRE_USE_WRITE)) == 0;
}

/* It may: the operation's inode is used for the operation's rights. */
static int64_t add_use(struct work *work)
{
    const uint64_t number = work->op.inode;
    const uint8_t rights = work->op.rights;
    int64_t result;
    struct served_use *use = served_use_find(work->client, number);
    if (use != NULL) {
        use->rights |= rights;
        return 0;
    }
    use = use_new(work, &result);
    if (use == NULL) {
        return result;
    }
    result = served_permitted(work)->ops->hold(work->store, number);
    if (result != 0) {
        free(use);
        return result;
    }
    use_insert(work, use, number, rights);
    return 0;
}

int64_t served_use(struct work *work)
{
    const uint8_t rights = work->op.rights;
    if (!are_rights(rights)) {
        return -EINVAL;
    }
    struct store_attributes attributes;
    int64_t result = may_use(work, work->op.inode, rights);
    if (result == 0 && (work->client->of->flags & WIRE_STORE_READ_ONLY) != 0 &&
        (rights & WIRE_USE_WRITE) != 0) {
        result = served_attributes(work, work->op.inode, &attributes);
        /* What goes through a pipe is not in the store. */
        result = result == 0 && !S_ISFIFO(attributes.mode) ? -EROFS : result;
    }
    return result != 0 ? result : add_use(work);
}

int64_t served_unuse(struct work *work)
{
    struct served_use *use = served_use_find(work->client, work->op.inode);
    if (use == NULL) {
        return -EINVAL;
    }
    use_end(work->client, use);
    return 0;
}

/* ---- moving to another client ---- */

static struct park_loan loan_of(const struct work *work)
{
    return (struct park_loan){
        .store = work->client->of->number, .inode = work->op.inode, .rights = work->op.rights};
}

static hf_id ticket_of(const struct work *work)
{
    return (hf_id){.space = work->op.ticket_space, .object = work->op.ticket_object};
}

int64_t served_lend(struct work *work)
{
    const struct wire_operation *op = &work->op;
    const struct served_use *use = served_use_find(work->client, op->inode);
    struct park_loan loan = loan_of(work);
    if (use == NULL || !are_rights(op->rights)) {
        return -EINVAL;
    }
    if ((op->rights & ~use->rights) != 0) {
        return -EACCES;
    }
    const struct store_ops *ops = served_permitted(work)->ops;
    int result = ops->hold(work->store, op->inode);
    if (result == 0) {
        loan.pipe = served_pipe_ref(use->pipe);
        result = park_lend(work->server, ticket_of(work), &loan);
        if (result != 0) {
            served_give_back(work->server, &loan);
        }
    }
    if (result == 0) {
        served_forget_made(work, op->inode);
    }
    return result;
}

int64_t served_borrow(struct work *work)
{
    const struct park_loan loan = loan_of(work);
    if (!are_rights(work->op.rights)) {
        return -EINVAL;
    }
    return park_is_lent(work->server, ticket_of(work), &loan) ? add_use(work) : -ESTALE;
}

void served_give_back(struct hf_server *server, const struct park_loan *loan)
{
    struct store *of = server->served.stores[loan->store - WIRE_STORE_FIRST]->store;
    of->ops->release(of, loan->inode);
    served_pipe_unref(server, loan->pipe);
}

int64_t served_make_unnamed(struct work *work)
{
    const struct wire_operation *op = &work->op;
    struct permissions directory;
    int64_t result = served_may_in(work, op->inode, MAY_WRITE | MAY_SEARCH, &directory);
    if (result != 0) {
        return result;
    }
    struct served_use *use = use_new(work, &result);
    if (use == NULL) {
        return result;
    }
    const struct store_new what = {
        .number = op->number,
        .mode = S_IFREG | permit_new_mode(&directory, &work->who, op->mode & 07777),
        .owner = work->who.uid,
        .group = work->who.gid,
    };
    struct store_attributes made;
    result = served_permitted(work)->ops->make_unnamed(
        work->store, &work->call, op->inode, &what, op->count != 0, &made);
    if (result != 0) {
        free(use);
        return result;
    }
    use_insert(work, use, made.number, WIRE_USE_READ | WIRE_USE_WRITE);
    served_answer_attributes(work, &made);
    return 0;
}

/* ---- clients of a store ---- */

struct served_client *served_client_get(struct peer *peer, struct served_store *of)
{
    for (struct served_client *client = peer->served.clients; client != NULL;
         client = client->next) {
        if (client->of == of) {
            return client;
        }
    }
    struct served_client *client = calloc(1, sizeof(*client));
    if (client == NULL || id_map_init(&client->uses) != 0) {
        free(client);
        return NULL;
    }
    client->peer = peer;
    client->of = of;
    store_holder_init(&client->holder, of->store);
    list_init(&client->link);
    list_append(&of->clients, &client->link);
    client->next = peer->served.clients;
    peer->served.clients = client;
    return client;
}

static void client_free(struct served_client *client)
{
    struct id_map_node *node = id_map_next(&client->uses, NULL);
    while (node != NULL) {
        struct served_use *use = use_of(node);
        node = id_map_next(&client->uses, node);
        use_end(client, use);
    }
    id_map_deinit(&client->uses);
    served_reclaim_answered(client);
    store_holder_deinit(&client->holder);
    list_remove(&client->link);
    free(client->made);
    free(client);
}

void served_peer_init(struct served_peer *served)
{
    *served = (struct served_peer){.clients = NULL};
    list_init(&served->waiting);
}

void served_peer_leave(struct peer *peer)
{
    struct list *first;
    while ((first = list_first(&peer->served.waiting)) != NULL) {
        served_waiting_free(list_entry(first, struct served_waiting, peer_link));
    }
    struct served_client *client;
    while ((client = peer->served.clients) != NULL) {
        peer->served.clients = client->next;
        client_free(client);
    }
    forget_credentials(&peer->served);
}
