/*
 * Opening and closing handles, and the slow path of using them.
 */
#include "base/clock.h"
#include "client/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static hf_sync *handle_find(const hf_client *client, hf_id id)
{
    struct id_map_node *node = id_map_find(&client->handles, id);
    return node == NULL ? NULL : handle_from_node(node);
}

static hf_sync *handle_new(hf_client *client, hf_id id, bool lock_only)
{
    hf_sync *handle = calloc(1, sizeof(*handle));
    if (handle == NULL) {
        return NULL;
    }
    sync_hold_init(&handle->hold, id, lock_only);
    list_init(&handle->armed_link);
    handle->client = client;
    handle->references = 1;
    id_map_insert(&client->handles, &handle->hold.node);
    client->references++;
    return handle;
}

void client_reap(hf_client *client, hf_sync *handle)
{
    assert(handle->references == 0);
    list_remove(&handle->armed_link);
    id_map_remove(&client->handles, &handle->hold.node);
    sync_hold_deinit(&handle->hold);
    free(handle);
}

/* With the lock held. */
static int open_locked(hf_client *client, hf_id id, bool lock_only, hf_sync **out)
{
    if (client->error != 0) {
        return -ENOTCONN;
    }
    hf_sync *handle = handle_find(client, id);
    if (handle == NULL) {
        handle = handle_new(client, id, lock_only);
        if (handle == NULL) {
            return -ENOMEM;
        }
    } else if (handle->hold.lock_only != lock_only) {
        return -EBUSY;
    } else if (handle->references++ == 0) {
        client->references++;
        sync_hold_reopen(&handle->hold);
    }
    *out = handle;
    return 0;
}

/* Make the server keep the value while the handle is open here: one message pair, unless an
 * earlier open made it. Opens take turns, so that none returns before that. */
static int register_handle(hf_sync *handle)
{
    hf_client *client = handle->client;
    struct wait wait;
    int result = 0;
    pthread_mutex_lock(&client->open_lock);
    pthread_mutex_lock(&client->lock);
    wait_init(&wait, handle, HF_INVALID, NULL);
    if (client->error == 0 && handle->hold.grant == 0) {
        sync_hold_reference(&client->core, &handle->hold, &wait.waiter);
        result = wait_finish(&wait, NULL);
    } else {
        result = client->error != 0 ? -ENOTCONN : 0;
        pthread_mutex_unlock(&client->lock);
    }
    pthread_mutex_unlock(&client->open_lock);
    return result;
}

int client_open_reserved(hf_client *client, hf_id id, unsigned flags, hf_sync **out)
{
    bool lock_only = (flags & HF_SYNC_LOCK) != 0;
    hf_sync *handle = NULL;
    pthread_mutex_lock(&client->lock);
    int error = open_locked(client, id, lock_only, &handle);
    pthread_mutex_unlock(&client->lock);
    if (error == 0 && !lock_only) {
        error = register_handle(handle);
        if (error != 0) {
            client_close(handle);
        }
    }
    if (error == 0) {
        *out = handle;
    }
    return error;
}

static void close_handle(hf_sync *handle, bool flushes)
{
    hf_client *client = handle->client;
    pthread_mutex_lock(&client->lock);
    bool last = --handle->references == 0;
    if (last) {
        sync_hold_close(&client->core, &handle->hold);
        if (sync_hold_is_done(&handle->hold)) {
            client_reap(client, handle);
        }
        if (flushes) {
            client_flush(client);
        }
    }
    pthread_mutex_unlock(&client->lock);
    if (last) {
        client_unref(client);
    }
}

void client_close(hf_sync *handle)
{
    close_handle(handle, true);
}

void client_close_quietly(hf_sync *handle)
{
    close_handle(handle, false);
}

void client_ask_ahead(hf_sync *handle, hf_mode mode)
{
    hf_client *client = handle->client;
    const size_t size = wire_size(&(struct wire_message){.kind = WIRE_ACQUIRE});
    pthread_mutex_lock(&client->lock);
    /* To send without room would end the connection. */
    if (client->error == 0 && !client->write_pending &&
        buffer_reserve(&client->out, size) != NULL) {
        sync_hold_ask(&client->core, &handle->hold, mode);
    }
    pthread_mutex_unlock(&client->lock);
}

void client_send_queued(hf_client *client)
{
    pthread_mutex_lock(&client->lock);
    client_flush(client);
    pthread_mutex_unlock(&client->lock);
}

int client_acquire(hf_sync *handle, hf_mode mode, const hf_wait_opts *opts, bool left_attention)
{
    hf_client *client = handle->client;
    struct wait wait;
    pthread_mutex_lock(&client->lock);
    wait_init(&wait, handle, mode, opts);
    uint64_t now_ns = clock_now_ns();
    if (left_attention) {
        sync_hold_left(&client->core, &handle->hold, now_ns);
    }
    sync_hold_acquire(&client->core, &handle->hold, &wait.waiter, now_ns);
    return wait_finish(&wait, opts);
}

int client_upgrade(hf_sync *handle, const hf_wait_opts *opts)
{
    hf_client *client = handle->client;
    struct wait wait;
    pthread_mutex_lock(&client->lock);
    wait_init(&wait, handle, HF_EXCLUSIVE, opts);
    sync_hold_upgrade(&client->core, &handle->hold, &wait.waiter, clock_now_ns());
    return wait_finish(&wait, opts);
}

void client_left(hf_sync *handle)
{
    hf_client *client = handle->client;
    pthread_mutex_lock(&client->lock);
    sync_hold_left(&client->core, &handle->hold, clock_now_ns());
    client_flush(client);
    pthread_mutex_unlock(&client->lock);
}

/* The connection's end takes the value with it: with the lock held, before leaving. */
static int dead_result(const hf_client *client)
{
    return client->error != 0 ? -ENOTCONN : 0;
}

int client_leave_dirty(hf_sync *handle)
{
    hf_client *client = handle->client;
    pthread_mutex_lock(&client->lock);
    int result = dead_result(client);
    sync_hold_leave_dirty(&client->core, &handle->hold, clock_now_ns());
    int flushed = client_flush_wait(client, CLIENT_WAIT_FOR_EVER);
    pthread_mutex_unlock(&client->lock);
    return result != 0 ? result : flushed;
}

int client_downgrade(hf_sync *handle)
{
    hf_client *client = handle->client;
    pthread_mutex_lock(&client->lock);
    int result = dead_result(client);
    sync_hold_downgrade(&client->core, &handle->hold, clock_now_ns());
    int flushed = client_flush_wait(client, CLIENT_WAIT_FOR_EVER);
    if (result != 0 || flushed != 0) {
        /* Nothing is held any more, so the thread is no reader either. */
        if (sync_hold_leave_shared(&handle->hold)) {
            sync_hold_left(&client->core, &handle->hold, clock_now_ns());
        }
    }
    pthread_mutex_unlock(&client->lock);
    return result != 0 ? result : flushed;
}

/* The writer needs no protection from other users; a fork in another thread does. */
int client_set_value(hf_sync *handle, const void *data, uint16_t size)
{
    pthread_mutex_lock(&handle->client->lock);
    int result = sync_hold_set_value(&handle->hold, data, size);
    pthread_mutex_unlock(&handle->client->lock);
    return result;
}

int client_publish(hf_sync *handle)
{
    hf_client *client = handle->client;
    pthread_mutex_lock(&client->lock);
    int result = dead_result(client);
    sync_hold_publish(&client->core, &handle->hold);
    int flushed = client_flush_wait(client, CLIENT_WAIT_FOR_EVER);
    pthread_mutex_unlock(&client->lock);
    return result != 0 ? result : flushed;
}

int client_yield(hf_sync *handle, hf_mode mode)
{
    hf_client *client = handle->client;
    pthread_mutex_lock(&client->lock);
    int result = dead_result(client);
    if (result == 0) {
        result = sync_hold_yield(&client->core, &handle->hold, mode, clock_now_ns());
    }
    client_flush(client);
    pthread_mutex_unlock(&client->lock);
    return result;
}
