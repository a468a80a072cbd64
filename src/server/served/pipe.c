/*
 * Pipes. What goes through a FIFO of a store is the kernel's: behind one that clients have open stands
 * a FIFO of the host's, of which they get a descriptor that was opened with O_PATH. They open that
 * themselves, and the kernel does the waiting and wakes who waits.
 *
 *            CLAIM by who uses it              the last use or loan ends
 *   nothing ──────────────────────► host FIFO ─────────────────────────► nothing
 *
 * It has a name for an instant only, and the owner and mode that the store's has: the kernel judges
 * each open too.
 */
#include "server/park.h"
#include "server/served/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct served_pipe {
    struct id_map_node node; /* of->pipes; object: the inode */
    struct served_store *of;
    int fd;         /* the guard's */
    uint32_t users; /* uses, and loans of these */
};

static hf_id key(uint64_t number)
{
    return (hf_id){.object = number};
}

static struct served_pipe *find(const struct served_store *of, uint64_t number)
{
    struct id_map_node *node =
        of->pipes.buckets == NULL ? NULL : id_map_find(&of->pipes, key(number));
    return node == NULL ? NULL : list_entry(node, struct served_pipe, node);
}

struct served_pipe *served_pipe_join(const struct served_store *of, uint64_t number)
{
    return served_pipe_ref(find(of, number));
}

struct served_pipe *served_pipe_ref(struct served_pipe *pipe)
{
    if (pipe != NULL) {
        pipe->users++;
    }
    return pipe;
}

void served_pipe_unref(struct hf_server *server, struct served_pipe *pipe)
{
    if (pipe != NULL && --pipe->users == 0) {
        id_map_remove(&pipe->of->pipes, &pipe->node);
        fork_guard_close(&server->guard, pipe->fd);
        server->served.pipes--;
        free(pipe);
    }
}

/* ---- the host's ---- */

/* Return: a descriptor that is the guard's, or a negative errno. */
static int make_in(struct hf_server *server, const char *directory, uint32_t store, uint64_t inode)
{
    char path[96];
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        return -EIO;
    }
    snprintf(path,
             sizeof(path),
             "%s/" WIRE_PIPE_NAME "%016llx",
             directory,
             store,
             (unsigned long long)inode,
             (unsigned long long)random);
    if (mkfifo(path, 0600) != 0) {
        return -errno;
    }
    fork_guard_lock();
    const int fd = fork_guard_keep(&server->guard, open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    const int failure = fd < 0 ? -errno : fd;
    fork_guard_unlock();
    unlink(path);
    return failure;
}

static int make(struct hf_server *server, uint32_t store, uint64_t inode)
{
    static const char *const directories[] = {"/tmp", "/dev/shm"};
    int fd = -ENOENT;
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]) && fd < 0; i++) {
        fd = make_in(server, directories[i], store, inode);
    }
    return fd;
}

/* Where it cannot be given to its owner all who have the descriptor may open it: who that is was judged
 * when they said what they use the inode for. */
static int give_permissions(int fd, const struct store_attributes *attributes)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const bool is_given =
        fchownat(fd, "", attributes->owner, attributes->group, AT_EMPTY_PATH) == 0;
    return chmod(path, is_given ? attributes->mode & 0777 : 0666) == 0 ? 0 : -errno;
}

/* ---- claiming ---- */

static enum wire_reason reason_of(int error)
{
    switch (error) {
    case -EMFILE:
    case -ENFILE:
        return WIRE_REASON_NO_DESCRIPTOR;
    case -ENOMEM:
        return WIRE_REASON_NO_MEMORY;
    default:
        return WIRE_REASON_UNKNOWN_TICKET; /* the host lets us have none */
    }
}

/* All who use the inode are users of the new pipe. */
static struct served_pipe *insert(struct served_store *of, uint64_t number, int fd)
{
    struct served_pipe *pipe = calloc(1, sizeof(*pipe));
    if (pipe == NULL || (of->pipes.buckets == NULL && id_map_init(&of->pipes) != 0)) {
        free(pipe);
        return NULL;
    }
    pipe->node.id = key(number);
    pipe->of = of;
    pipe->fd = fd;
    id_map_insert(&of->pipes, &pipe->node);
    for (struct list *link = of->clients.next; link != &of->clients; link = link->next) {
        const struct served_client *client = list_entry(link, struct served_client, link);
        struct served_use *use = served_use_find(client, number);
        if (use != NULL) {
            use->pipe = served_pipe_ref(pipe);
        }
    }
    return pipe;
}

static enum wire_reason open_pipe(struct hf_server *server, struct served_store *of,
                                  uint64_t number, struct served_pipe **out)
{
    *out = find(of, number);
    if (*out != NULL) {
        return WIRE_REASON_NONE;
    }
    if (server->park.count + server->served.pipes >= server->park.limit) {
        return WIRE_REASON_PARK_LIMIT;
    }
    const int fd = make(server, of->number, number);
    if (fd < 0) {
        return reason_of(fd);
    }
    *out = insert(of, number, fd);
    if (*out == NULL) {
        fork_guard_close(&server->guard, fd);
        return WIRE_REASON_NO_MEMORY;
    }
    server->served.pipes++;
    return WIRE_REASON_NONE;
}

/* What @peer is to the store of whose inodes @id is the handle of one. */
static struct served_client *find_client(const struct peer *peer, hf_id id)
{
    struct served_client *client = peer->served.clients;
    while (client != NULL && !hf_id_equal(wire_store_id(client->of->number, id.object), id)) {
        client = client->next;
    }
    return client;
}

enum wire_reason served_claim_pipe(struct peer *peer, hf_id id, int *fd)
{
    struct store_attributes attributes;
    struct served_pipe *pipe;
    const struct served_client *client = find_client(peer, id);
    if (client == NULL || served_rights(client, id.object) == 0) {
        return WIRE_REASON_UNKNOWN_TICKET;
    }
    struct store *store = client->of->store;
    if (store->ops->get_attributes(store, id.object, &attributes) != 0 ||
        !S_ISFIFO(attributes.mode)) {
        return WIRE_REASON_UNKNOWN_TICKET;
    }
    const enum wire_reason refused = open_pipe(peer->server, client->of, id.object, &pipe);
    if (refused != WIRE_REASON_NONE) {
        return refused;
    }
    *fd = pipe->fd;
    const int failure = give_permissions(pipe->fd, &attributes);
    return failure == 0 ? WIRE_REASON_NONE : reason_of(failure);
}
