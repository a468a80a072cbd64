/* What is known of an inode, and whether it is true. */
#include "mounts/served/parts.h"

#include <errno.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool sb_is_held(const struct sb_node *node)
{
    struct sync_hold *hold = &node->handle->hold;
    const uint64_t word = atomic_load_explicit(&hold->word, memory_order_acquire);
    if ((word & (SYNC_READ_OK | SYNC_WRITER)) != 0) {
        return true; /* by others too: it cannot go unseen, since that moves the epoch */
    }
    pthread_mutex_lock(&node->served->client->lock);
    const bool held = hold->mode != HF_INVALID;
    pthread_mutex_unlock(&node->served->client->lock);
    return held;
}

static bool is_known(const struct sb_node *node, uint64_t epoch, bool with_pages)
{
    return node->attributes_epoch == epoch && !(with_pages && node->pages_unsure) &&
           sb_is_held(node);
}

void sb_set_attributes(struct sb_node *node, const struct wire_attributes *attributes)
{
    node->attributes = *attributes;
    node->pages_unsure = false;
    node->attributes_epoch = hf_sync_epoch(node->handle);
}

void sb_grown_up(struct sb_node *node)
{
    if (node->born_in != NULL) {
        sb_put_node(node->born_in);
        node->born_in = NULL;
    }
}

void sb_forget_held(struct sb_node *node)
{
    node->attributes_epoch = 0;
    node->forgotten_epoch = hf_sync_epoch(node->handle);
    sb_grown_up(node);
}

void sb_forget_attributes(struct sb_node *node)
{
    pthread_mutex_lock(&node->mutex);
    sb_forget_held(node);
    pthread_mutex_unlock(&node->mutex);
}

/* It was made here: does nobody else know it so far? */
static bool is_unseen(struct sb_node *node)
{
    if (node->born_in == NULL) {
        return false;
    }
    const struct sync_hold *hold = &node->born_in->handle->hold;
    pthread_mutex_lock(&node->served->client->lock);
    const bool unseen = hold->mode == HF_EXCLUSIVE && hold->grant == node->born_with &&
                        node->born_forks == node->served->forks;
    pthread_mutex_unlock(&node->served->client->lock);
    if (!unseen) {
        sb_grown_up(node);
    }
    return unseen;
}

/* What is known need not be asked for. */
static bool find_attributes(struct sb_node *node, uint64_t epoch, bool with_pages)
{
    if (is_known(node, epoch, with_pages)) {
        return true;
    }
    const bool is_held = sb_is_held(node); /* first: what is unseen then was so before */
    if (node->born_in != NULL && !(with_pages && node->pages_unsure) && is_unseen(node)) {
        if (is_held) {
            node->attributes_epoch = epoch;
            node->pages_epoch = epoch;
            sb_grown_up(node);
        }
        return true;
    }
    /* What was asked ahead may be older than what was done since under the same hold. */
    const bool is_first = node->attributes_epoch != epoch && node->forgotten_epoch != epoch;
    if (is_held && is_first && sb_take_ahead(node, epoch, &node->attributes)) {
        node->pages_unsure = false;
        node->attributes_epoch = epoch;
        return true;
    }
    return false;
}

bool sb_is_known(struct sb_node *node)
{
    return find_attributes(node, hf_sync_epoch(node->handle), false);
}

int sb_refresh(struct sb_node *node, bool with_pages)
{
    const struct wire_operation operation = {.code = WIRE_OP_GET, .inode = node->number};
    const uint64_t epoch = hf_sync_epoch(node->handle);
    if (find_attributes(node, epoch, with_pages)) {
        return 0;
    }
    const bool held = sb_is_held(node);
    const int result = sb_ask_attributes(node->served, &operation, &node->attributes);
    node->pages_unsure = false;
    /* It was true when the server said so. Was the inode held all the time, it still is. */
    const bool still =
        result == 0 && held && sb_is_held(node) && hf_sync_epoch(node->handle) == epoch;
    node->attributes_epoch = still ? epoch : 0;
    return result;
}

static int get_attributes(struct sb_node *node, bool with_pages, struct wire_attributes *out)
{
    pthread_mutex_lock(&node->mutex);
    const int result = sb_refresh(node, with_pages);
    if (result == 0) {
        *out = node->attributes;
    }
    pthread_mutex_unlock(&node->mutex);
    return result;
}

int sb_attributes(struct sb_node *node, struct wire_attributes *out)
{
    return get_attributes(node, true, out);
}

int sb_attributes_to_judge(struct sb_node *node, struct wire_attributes *out)
{
    return get_attributes(node, false, out);
}

void sb_fill_stat(const struct sb *served, const struct wire_attributes *from, struct stat *out)
{
    *out = (struct stat){
        .st_dev = served->device,
        .st_ino = from->number,
        .st_mode = from->mode,
        .st_nlink = from->links,
        .st_uid = from->owner,
        .st_gid = from->group,
        .st_rdev = from->device,
        .st_size = (off_t)from->size,
        .st_blksize = (blksize_t)SERVED_PAGE,
        .st_blocks = (blkcnt_t)(from->pages * (SERVED_PAGE / 512)),
        .st_atim = from->atime,
        .st_mtim = from->mtime,
        .st_ctim = from->ctime,
    };
}

struct timespec sb_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now;
}

void sb_drop_privileges(const struct sb *served, struct wire_attributes *attributes)
{
    if (!permit_keeps_privileges(&served->who)) {
        attributes->mode &= ~(uint32_t)S_ISUID;
        if ((attributes->mode & S_IXGRP) != 0) {
            attributes->mode &= ~(uint32_t)S_ISGID;
        }
    }
}
