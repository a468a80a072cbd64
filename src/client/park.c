#include "client/park.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A thread that waits for a PARKED. */
struct park_request {
    struct list link; /* client->park_requests */
    uint32_t seq;
    bool answered;
    uint8_t reason;
    hf_id ticket;
    struct park_item *item; /* where to put what was parked; NULL: not asked for */
};

union descriptor_room {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* ---- sending ---- */

/* Send the beginning of @frame, and with it @fd if that is not negative.
 * Return: the bytes sent, or a negative errno. */
static ssize_t send_some(const hf_client *client, const uint8_t *frame, size_t size, int fd)
{
    union descriptor_room control = {.bytes = {0}};
    struct iovec data = {.iov_base = (void *)(uintptr_t)frame, .iov_len = size};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    }
    ssize_t sent;
    do {
        sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static void wait_for_room(hf_client *client)
{
    struct pollfd item = {.fd = client->fd, .events = POLLOUT};
    pthread_mutex_unlock(&client->lock);
    (void)poll(&item, 1, 1000); /* another thread may take the room */
    pthread_mutex_lock(&client->lock);
}

/* A descriptor goes with the first byte of its frame, so what is queued goes before, and the rest
 * of the frame is queued. With the lock held; waits for room without it. */
static int send_frame(hf_client *client, const uint8_t *frame, size_t size, int fd)
{
    for (;;) {
        if (client_flush_wait(client, CLIENT_WAIT_FOR_EVER) != 0 || client->error != 0) {
            return -ENOTCONN;
        }
        if (client->out.length > 0) {
            continue; /* others were faster */
        }
        ssize_t sent = send_some(client, frame, size, fd);
        if (sent == -EAGAIN) {
            wait_for_room(client);
            continue;
        }
        if (sent == -EPIPE || sent == -ECONNRESET) {
            return 0; /* who reads finds out why, and ends the wait for the answer */
        }
        if (sent < 0) {
            /* So many descriptors on their way count as open ones. */
            return sent == -ETOOMANYREFS ? -EMFILE : (int)sent;
        }
        client->out_total += size;
        client->out_sent += (uint64_t)sent;
        client->stats.parks_sent++;
        int result = buffer_append(&client->out, frame + sent, size - (size_t)sent);
        if (result != 0) {
            client_lost(client, result); /* half a frame: to go on would be to break the protocol */
            return -ENOTCONN;
        }
        client_flush(client);
        return 0;
    }
}

/* ---- asking ---- */

/* Send @message, with @fd if that is not negative, and wait for the answer. */
static int ask(hf_client *client, struct wire_message *message, int fd,
               struct park_request *request)
{
    uint8_t frame[WIRE_LENGTH_BYTES + WIRE_SMALL_FRAME_MAX];
    pthread_mutex_lock(&client->lock);
    request->seq = ++client->park_seq;
    message->seq = request->seq;
    list_append(&client->park_requests, &request->link);
    int result = send_frame(client, frame, wire_encode(message, frame), fd);
    while (result == 0 && !request->answered) {
        if (client->error != 0) {
            result = -ENOTCONN;
        } else {
            pthread_cond_wait(&client->park_changed, &client->lock);
        }
    }
    list_remove(&request->link);
    pthread_mutex_unlock(&client->lock);
    return result != 0 ? result : -wire_reason_errno(request->reason);
}

bool park_answered(hf_client *client, const struct wire_message *answer)
{
    for (struct list *link = client->park_requests.next; link != &client->park_requests;
         link = link->next) {
        struct park_request *request = list_entry(link, struct park_request, link);
        if (request->seq != answer->seq || request->answered) {
            continue;
        }
        const size_t room = request->item != NULL ? sizeof(request->item->data) : 0;
        if (answer->data_size > room) {
            return false;
        }
        request->answered = true;
        request->reason = answer->reason;
        request->ticket = answer->ticket;
        if (request->item != NULL) {
            request->item->id = answer->id;
            request->item->size = answer->data_size;
        }
        if (answer->data_size > 0) {
            memcpy(request->item->data, answer->data, answer->data_size);
        }
        pthread_cond_broadcast(&client->park_changed);
        return true;
    }
    return false;
}

void park_lost(hf_client *client)
{
    pthread_cond_broadcast(&client->park_changed);
}

void park_reset(hf_client *client)
{
    list_init(&client->park_requests);
    pthread_cond_init(&client->park_changed, NULL);
}

/* ---- what is asked for ---- */

static int check_transport(const hf_client *client)
{
    int domain = 0;
    socklen_t size = sizeof(domain);
    const bool is_local =
        getsockopt(client->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
    return is_local ? 0 : -EOPNOTSUPP;
}

int park_put(hf_client *client, hf_id *ticket, const struct park_item *item)
{
    struct park_request request = {.answered = false};
    struct wire_message message = {
        .kind = WIRE_PARK,
        .ticket = *ticket,
        .id = item->id,
        .data = item->data,
        .data_size = item->size,
    };
    int result = check_transport(client);
    if (result == 0) {
        result = ask(client, &message, item->fd, &request);
    }
    if (result == 0) {
        *ticket = request.ticket;
    }
    return result;
}

/* The descriptor that the server has sent before its answer. */
static int receive_descriptor(int socket)
{
    union descriptor_room control;
    char byte;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    int fd = -1;
    const ssize_t size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    }
    if (fd >= 0) {
        return fd;
    }
    return size > 0 && (message.msg_flags & MSG_CTRUNC) != 0 ? -EMFILE : -EPROTO;
}

int park_claim(hf_client *client, hf_id ticket, uint32_t index, struct park_item *item)
{
    int ends[2];
    struct park_request request = {.item = item};
    struct wire_message message = {.kind = WIRE_CLAIM, .ticket = ticket, .index = index};
    int result = check_transport(client);
    if (result != 0) {
        return result;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return -errno;
    }
    result = ask(client, &message, ends[1], &request);
    if (result == 0) {
        item->fd = receive_descriptor(ends[0]);
        result = item->fd < 0 ? item->fd : 0;
    }
    close(ends[0]);
    close(ends[1]);
    return result;
}

int park_drop(hf_client *client, hf_id ticket)
{
    struct park_request request = {.answered = false};
    struct wire_message message = {.kind = WIRE_DROP, .ticket = ticket};
    int result = check_transport(client);
    return result != 0 ? result : ask(client, &message, -1, &request);
}
