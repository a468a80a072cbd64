/*
 * The public functions of sync.h: arguments are checked here, and the fast path of a held
 * handle begins and ends here.
 */
#include "client/client.h"
#include "client/name_id.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t word_now(const hf_sync *handle)
{
    return atomic_load_explicit(&handle->hold.word, memory_order_acquire);
}

/* ---- clients ---- */

int hf_client_connect(const char *address, const hf_client_config *config, hf_client **out)
{
    if (address == NULL || out == NULL) {
        return -EINVAL;
    }
    return client_new(-1, config, address, out);
}

int hf_client_from_fd(int fd, const hf_client_config *config, hf_client **out)
{
    return fd < 0 || out == NULL ? -EINVAL : client_new(fd, config, NULL, out);
}

hf_client *hf_client_ref(hf_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->references++;
    pthread_mutex_unlock(&client->lock);
    return client;
}

hf_client *hf_client_unref(hf_client *client)
{
    if (client != NULL) {
        client_unref(client);
    }
    return NULL;
}

void hf_client_disconnect(hf_client *client)
{
    client_disconnect(client);
}

int hf_client_error(hf_client *client)
{
    pthread_mutex_lock(&client->lock);
    int error = client->error;
    pthread_mutex_unlock(&client->lock);
    return error;
}

uint64_t hf_client_number(const hf_client *client)
{
    return client->number;
}

void hf_client_get_stats(hf_client *client, hf_client_stats *out)
{
    pthread_mutex_lock(&client->lock);
    *out = client->stats;
    pthread_mutex_unlock(&client->lock);
}

/* ---- cancel tokens ---- */

int hf_cancel_new(hf_client *client, hf_cancel **out)
{
    hf_cancel *token = calloc(1, sizeof(*token));
    if (token == NULL) {
        return -ENOMEM;
    }
    token->client = hf_client_ref(client);
    *out = token;
    return 0;
}

void hf_cancel_fire(hf_cancel *token)
{
    atomic_store_explicit(&token->fired, 1, memory_order_release);
    client_wake(token->client);
}

void hf_cancel_reset(hf_cancel *token)
{
    atomic_store_explicit(&token->fired, 0, memory_order_release);
}

hf_cancel *hf_cancel_free(hf_cancel *token)
{
    if (token != NULL) {
        client_unref(token->client);
        free(token);
    }
    return NULL;
}

/* ---- handles ---- */

int hf_sync_open(hf_client *client, hf_id id, unsigned flags, hf_sync **out)
{
    if ((flags & ~HF_SYNC_LOCK) != 0 || (id.space & HF_SPACE_RESERVED) != 0 || out == NULL) {
        return -EINVAL;
    }
    return client_open_reserved(client, id, flags, out);
}

int hf_sync_open_name(hf_client *client, const char *name, unsigned flags, hf_sync **out)
{
    if ((flags & ~HF_SYNC_LOCK) != 0 || name == NULL || name[0] == '\0' || out == NULL) {
        return -EINVAL;
    }
    if (strlen(name) > HF_NAME_MAX) {
        return -ENAMETOOLONG;
    }
    return client_open_reserved(client, name_id(name), flags, out);
}

hf_sync *hf_sync_ref(hf_sync *handle)
{
    pthread_mutex_lock(&handle->client->lock);
    handle->references++;
    pthread_mutex_unlock(&handle->client->lock);
    return handle;
}

hf_sync *hf_sync_close(hf_sync *handle)
{
    if (handle != NULL) {
        client_close(handle);
    }
    return NULL;
}

/* Waits that this handle's client can serve. */
static bool are_valid(const hf_sync *handle, const hf_wait_opts *opts)
{
    return opts == NULL || ((opts->flags & ~HF_NOWAIT) == 0 &&
                            (opts->cancel == NULL || opts->cancel->client == handle->client));
}

int hf_sync_acquire(hf_sync *handle, hf_mode mode, const hf_wait_opts *opts)
{
    bool left_attention = false;
    if (!are_valid(handle, opts)) {
        return -EINVAL;
    }
    if (mode == HF_SHARED) {
        if (sync_hold_try_shared(&handle->hold, &left_attention)) {
            return HF_UNCHANGED;
        }
    } else if (mode == HF_EXCLUSIVE) {
        if (sync_hold_try_exclusive(&handle->hold)) {
            return HF_UNCHANGED;
        }
    } else {
        return -EINVAL;
    }
    return client_acquire(handle, mode, opts, left_attention);
}

int hf_sync_upgrade(hf_sync *handle, const hf_wait_opts *opts)
{
    if (!are_valid(handle, opts)) {
        return -EINVAL;
    }
    if ((word_now(handle) & SYNC_READERS) == 0) {
        return -EPERM;
    }
    return client_upgrade(handle, opts);
}

int hf_sync_downgrade(hf_sync *handle)
{
    uint64_t word = word_now(handle);
    if ((word & SYNC_WRITER) == 0) {
        return -EPERM;
    }
    return client_downgrade(handle);
}

int hf_sync_release(hf_sync *handle)
{
    uint64_t word = word_now(handle);
    bool last;
    if ((word & SYNC_WRITER) != 0) {
        if ((word & SYNC_DIRTY) != 0) {
            return client_leave_dirty(handle);
        }
        last = sync_hold_leave_exclusive(&handle->hold);
    } else if ((word & SYNC_READERS) != 0) {
        last = sync_hold_leave_shared(&handle->hold);
    } else {
        return -EPERM;
    }
    if (last) {
        client_left(handle);
    }
    return (word & SYNC_DEAD) != 0 ? -ENOTCONN : 0;
}

int hf_sync_yield(hf_sync *handle, hf_mode mode)
{
    return mode == HF_INVALID || mode == HF_SHARED ? client_yield(handle, mode) : -EINVAL;
}

ssize_t hf_sync_get_value(hf_sync *handle, void *buffer, size_t size)
{
    if (handle->hold.lock_only) {
        return -ENOTSUP;
    }
    if ((word_now(handle) & (SYNC_WRITER | SYNC_READERS)) == 0) {
        return -EPERM;
    }
    size_t value_size = handle->hold.value_size;
    size_t count = size < value_size ? size : value_size;
    if (count > 0) {
        memcpy(buffer, handle->hold.value, count);
    }
    return (ssize_t)value_size;
}

int hf_sync_set_value(hf_sync *handle, const void *data, size_t size)
{
    if (handle->hold.lock_only) {
        return -ENOTSUP;
    }
    if ((word_now(handle) & SYNC_WRITER) == 0) {
        return -EPERM;
    }
    if (size > HF_VALUE_MAX) {
        return -EMSGSIZE;
    }
    return client_set_value(handle, data, (uint16_t)size);
}

int hf_sync_publish(hf_sync *handle)
{
    return (word_now(handle) & SYNC_WRITER) == 0 ? -EPERM : client_publish(handle);
}

uint64_t hf_sync_epoch(const hf_sync *handle)
{
    /* Asked without the handle too: then it may just be moving. */
    return atomic_load_explicit(&handle->hold.epoch, memory_order_relaxed);
}

hf_id hf_sync_id(const hf_sync *handle)
{
    return handle->hold.node.id;
}
