#include "client/locks.h"

#include <errno.h>
#include <unistd.h>

/* A thread that waits for LOCK_LISTEDs. */
struct lock_list {
    struct list link; /* client->lock_lists */
    struct sleeper sleeper;
    uint32_t seq;
    int failed; /* what came could not be kept */
    int result;
    struct buffer *records;
};

static struct client_lock_wait *wait_of(struct lock_request *request)
{
    return list_entry(request, struct client_lock_wait, request);
}

static void on_done(void *context, struct lock_request *request)
{
    sleeper_wake(context, &wait_of(request)->sleeper);
}

int client_locks_init(hf_client *client)
{
    static const struct locks_client_ops ops = {.send = client_queue_message, .done = on_done};
    list_init(&client->lock_lists);
    client->pid = getpid();
    return locks_client_init(&client->locks, &ops, client);
}

/* ---- one lock ---- */

int client_lock_try(hf_client *client, hf_id file, const struct lock *lock, unsigned flags)
{
    pthread_mutex_lock(&client->lock);
    int result = -ENOTCONN;
    if (client->error == 0) {
        result = locks_client_try(&client->locks, file, lock, flags);
        client_flush(client);
    }
    pthread_mutex_unlock(&client->lock);
    return result;
}

static bool is_cancelled(const struct client_lock_wait *wait)
{
    return wait->cancel != NULL && atomic_load_explicit(&wait->cancel->fired, memory_order_acquire);
}

/* The answer ends the wait: it says whether this was in time. */
static void give_up(hf_client *client, struct client_lock_wait *wait, int why)
{
    if (wait->given_up == 0) {
        wait->given_up = why;
        locks_client_cancel(&client->locks, &wait->request);
    }
}

void client_locks_check_cancelled(hf_client *client)
{
    for (struct list *link = client->locks.requests.next; link != &client->locks.requests;
         link = link->next) {
        struct client_lock_wait *wait = wait_of(list_entry(link, struct lock_request, link));
        if (is_cancelled(wait)) {
            give_up(client, wait, -ECANCELED);
        }
    }
}

/* With the lock held: without the server. */
static int without_server(hf_client *client, hf_id file, unsigned flags,
                          struct client_lock_wait *wait)
{
    struct lock_request *request = &wait->request;
    if (client->error != 0) {
        return -ENOTCONN;
    }
    return request->is_test
               ? locks_client_try_test(&client->locks, file, &request->lock, &request->conflict)
               : locks_client_try(&client->locks, file, &request->lock, flags);
}

int client_lock_start(hf_client *client, hf_id file, unsigned flags, const char *path,
                      const hf_wait_opts *opts, struct client_lock_wait *wait)
{
    const bool has_end = (flags & LOCKS_WAIT) != 0 && opts != NULL;
    wait->deadline_ns = has_end ? opts->deadline_ns : 0;
    wait->cancel = has_end ? opts->cancel : NULL;
    wait->given_up = 0;
    sleeper_init(&wait->sleeper);
    pthread_mutex_lock(&client->lock);
    if (client_paused(client)) {
        client_receive(client);
    }
    int result = without_server(client, file, flags, wait);
    if (result == LOCKS_ASK) {
        result = locks_client_ask(&client->locks, file, flags, path, &wait->request);
        result = result == 0 ? LOCKS_ASK : result;
    }
    if (result == LOCKS_ASK && is_cancelled(wait)) {
        give_up(client, wait, -ECANCELED); /* it was fired when there was nobody to wake */
    }
    client_flush(client);
    pthread_mutex_unlock(&client->lock);
    return result;
}

int client_lock_finish(hf_client *client, struct client_lock_wait *wait)
{
    pthread_mutex_lock(&client->lock);
    if (!sleeper_wait(client, &wait->sleeper, wait->deadline_ns)) {
        give_up(client, wait, -ETIMEDOUT);
        client_flush(client);
        (void)sleeper_wait(client, &wait->sleeper, 0);
    }
    pthread_mutex_unlock(&client->lock);
    const int result = wait->request.result;
    return result == -ECANCELED && wait->given_up != 0 ? wait->given_up : result;
}

int client_lock_share(hf_client *client, hf_id file, hf_id owner)
{
    int result = -ENOTCONN;
    pthread_mutex_lock(&client->lock);
    if (client->error == 0) {
        locks_client_share(&client->locks, file, owner);
        result = client_flush_wait(client, CLIENT_WAIT_FOR_EVER);
    }
    pthread_mutex_unlock(&client->lock);
    return result;
}

/* ---- all ---- */

int client_lock_list(hf_client *client, struct buffer *records)
{
    struct lock_list list = {.records = records, .result = -ENOTCONN};
    sleeper_init(&list.sleeper);
    pthread_mutex_lock(&client->lock);
    if (client->error == 0) {
        list.seq = locks_client_next_seq(&client->locks);
        list_append(&client->lock_lists, &list.link);
        client_queue_message(client,
                             &(struct wire_message){.kind = WIRE_LOCK_LIST, .seq = list.seq});
        client_flush(client);
        (void)sleeper_wait(client, &list.sleeper, 0);
    }
    pthread_mutex_unlock(&client->lock);
    return list.result;
}

static void finish_list(hf_client *client, struct lock_list *list, int result)
{
    list->result = result;
    list_remove(&list->link);
    sleeper_wake(client, &list->sleeper);
}

static int on_listed(hf_client *client, const struct wire_message *message)
{
    for (struct list *link = client->lock_lists.next; link != &client->lock_lists;
         link = link->next) {
        struct lock_list *list = list_entry(link, struct lock_list, link);
        if (list->seq != message->seq) {
            continue;
        }
        if (list->failed == 0) {
            list->failed = buffer_append(list->records, message->data, message->data_size);
        }
        if ((message->flags & WIRE_MORE) == 0) {
            finish_list(client, list, list->failed);
        }
        return 0;
    }
    return -EPROTO;
}

/* ---- for the connection ---- */

int client_locks_input(hf_client *client, const struct wire_message *message)
{
    return message->kind == WIRE_LOCK_LISTED ? on_listed(client, message)
                                             : locks_client_input(&client->locks, message);
}

void client_locks_lost(hf_client *client)
{
    struct list *link;
    locks_client_lost(&client->locks, -ENOTCONN);
    while ((link = list_first(&client->lock_lists)) != NULL) {
        finish_list(client, list_entry(link, struct lock_list, link), -ENOTCONN);
    }
}

void client_locks_reset(hf_client *client)
{
    client->pid = getpid();
    list_init(&client->lock_lists);
    locks_client_reset(&client->locks);
}
