/* The backend as a whole: made, freed, and the table of nodes. */
#include "mounts/served/parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Nodes that nobody refers to. */
#define IDLE_MAX 16384

static struct sb_node *node_of_link(struct id_map_node *link)
{
    return list_entry(link, struct sb_node, link);
}

/* ---- asking ---- */

static int64_t take_attributes(void *context, const uint8_t *data, size_t size)
{
    return wire_get_attributes(data, size, context) == size ? 0 : -EPROTO;
}

int sb_ask_attributes(struct sb *served, const struct wire_operation *operation,
                      struct wire_attributes *out)
{
    return (int)sb_as_missing(client_store_ask(&served->store, operation, 0, take_attributes, out));
}

int64_t sb_ask(struct sb *served, const struct wire_operation *operation)
{
    return sb_as_missing(client_store_ask(&served->store, operation, 0, NULL, NULL));
}

/* ---- errors of what was told ---- */

/* With the client's lock. When there are too many the last one stands for all. */
static void note_error(struct client_store *store, uint64_t inode, int error)
{
    struct sb *served = list_entry(store, struct sb, store);
    const size_t count = atomic_load_explicit(&served->error_count, memory_order_relaxed);
    const size_t at = count < SERVED_ERRORS_MAX ? count : SERVED_ERRORS_MAX - 1;
    served->errors[at] = (struct sb_error){.inode = inode, .error = error};
    atomic_store_explicit(&served->error_count, at + 1, memory_order_relaxed);
}

int sb_take_error(struct sb *served, uint64_t inode)
{
    int error = 0;
    if (atomic_load_explicit(&served->error_count, memory_order_relaxed) == 0) {
        return 0;
    }
    pthread_mutex_lock(&served->client->lock);
    size_t count = atomic_load_explicit(&served->error_count, memory_order_relaxed);
    for (size_t i = 0; i < count;) {
        if (inode != 0 && served->errors[i].inode != inode) {
            i++;
            continue;
        }
        error = served->errors[i].error;
        served->errors[i] = served->errors[--count];
    }
    atomic_store_explicit(&served->error_count, count, memory_order_relaxed);
    pthread_mutex_unlock(&served->client->lock);
    return error;
}

/* ---- nodes ---- */

static void free_node(struct sb_node *node)
{
    sb_drop_ahead(node);
    sb_grown_up(node);
    client_use_deinit(&node->served->store, &node->use);
    sb_drop_pages(node);
    client_close_quietly(node->handle);
    pthread_mutex_destroy(&node->mutex);
    free(node);
}

static int new_node(struct sb *served, uint64_t number, struct sb_node **out)
{
    struct sb_node *node = calloc(1, sizeof(*node));
    if (node == NULL) {
        return -ENOMEM;
    }
    const int result = client_open_reserved(
        served->client, wire_store_id(served->store.number, number), HF_SYNC_LOCK, &node->handle);
    if (result < 0) {
        free(node);
        return result;
    }
    node->link.id = (hf_id){0, number};
    node->served = served;
    node->number = number;
    node->references = 1;
    list_init(&node->idle_link);
    list_init(&node->with_pages_link);
    pthread_mutex_init(&node->mutex, NULL);
    *out = node;
    return 0;
}

/* With nodes_mutex. */
static struct sb_node *find_node(struct sb *served, uint64_t number)
{
    struct id_map_node *link = id_map_find(&served->nodes, (hf_id){0, number});
    if (link == NULL) {
        return NULL;
    }
    struct sb_node *node = node_of_link(link);
    if (node->references++ == 0) {
        list_remove(&node->idle_link);
        served->idle_count--;
    }
    return node;
}

int sb_get_node(struct sb *served, uint64_t number, struct sb_node **out)
{
    struct sb_node *made = NULL;
    pthread_mutex_lock(&served->nodes_mutex);
    *out = find_node(served, number);
    pthread_mutex_unlock(&served->nodes_mutex);
    if (*out != NULL) {
        return 0;
    }
    const int result = new_node(served, number, &made);
    if (result < 0) {
        return result;
    }
    pthread_mutex_lock(&served->nodes_mutex);
    *out = find_node(served, number);
    if (*out == NULL) {
        id_map_insert(&served->nodes, &made->link);
        *out = made;
        made = NULL;
    }
    pthread_mutex_unlock(&served->nodes_mutex);
    if (made != NULL) {
        free_node(made);
    }
    return 0;
}

/* With nodes_mutex: nobody finds it any more. */
static void take_out(struct sb_node *node)
{
    struct sb *served = node->served;
    id_map_remove(&served->nodes, &node->link);
    list_remove(&node->with_pages_link);
    list_remove(&node->idle_link);
    served->idle_count--;
}

void sb_put_node(struct sb_node *node)
{
    struct sb *served = node->served;
    struct sb_node *old = NULL;
    pthread_mutex_lock(&served->nodes_mutex);
    assert(node->references > 0);
    if (--node->references == 0) {
        list_append(&served->idle, &node->idle_link);
        if (++served->idle_count > IDLE_MAX) {
            old = list_entry(list_first(&served->idle), struct sb_node, idle_link);
            take_out(old);
        }
    }
    pthread_mutex_unlock(&served->nodes_mutex);
    if (old != NULL) {
        free_node(old);
    }
}

static void sb_forget(struct backend *backend, intptr_t node)
{
    sb_put_node(sb_node_of(node));
}

static int sb_keep(struct backend *backend, intptr_t node)
{
    struct sb *served = sb_of(backend);
    struct sb_node *kept = sb_node_of(node);
    const struct wire_operation use = {.code = WIRE_OP_USE, .inode = kept->number};
    struct wire_attributes attributes;
    if (client_store_use_again(&served->store, &kept->use)) {
        return 0;
    }
    int result = sb_attributes_to_judge(kept, &attributes);
    if (result == 0 && attributes.links > 0) {
        /* The server hears of it before it hears of the hold, and so before anybody can remove it. */
        return client_store_use(&served->store, &kept->use, kept->number, 0);
    }
    if (result == 0) {
        result = (int)sb_ask(served, &use); /* it is there for others, who may let it go any time */
    }
    if (result == 0) {
        client_store_used(&served->store, &kept->use, kept->number, 0);
    }
    return result;
}

static void sb_unkeep(struct backend *backend, intptr_t node)
{
    struct sb_node *kept = sb_node_of(node);
    client_store_unuse(&sb_of(backend)->store, &kept->use, sb_has_name(kept));
}

static int sb_node_of_file(struct backend *backend, intptr_t file, intptr_t *node)
{
    struct sb_node *same;
    const int result = sb_get_node(sb_of(backend), sb_file_of(file)->node->number, &same);
    if (result == 0) {
        *node = (intptr_t)same;
    }
    return result;
}

static int sb_get_attributes(struct backend *backend, intptr_t node, struct stat *attributes)
{
    struct wire_attributes known;
    const int result = sb_attributes(sb_node_of(node), &known);
    if (result == 0) {
        sb_fill_stat(sb_of(backend), &known, attributes);
    }
    return result;
}

static int sb_get_attributes_of_file(struct backend *backend, intptr_t file,
                                     struct stat *attributes)
{
    return sb_get_attributes(backend, (intptr_t)sb_file_of(file)->node, attributes);
}

/* ---- forks ---- */

/* The filesystem lets no operation be under way. What the server was told of open files it has to
 * have heard before the child's connection refers to that. */
static int prepare_fork(struct client_fork_hook *hook)
{
    struct sb *served = list_entry(hook, struct sb, fork_hook);
    const struct wire_operation operation = {.code = WIRE_OP_USAGE};
    served->forks++; /* the child knows what was made so far */
    return list_is_empty(&served->store.uses) ? 0 : (int)sb_ask(served, &operation);
}

static void after_fork_in_parent(struct client_fork_hook *hook)
{
}

static void after_fork_in_child(struct client_fork_hook *hook)
{
    sb_forget_ahead(list_entry(hook, struct sb, fork_hook));
}

/* ---- made and freed ---- */

static void sb_destroy(struct backend *backend)
{
    struct sb *served = sb_of(backend);
    struct list *first;
    client_remove_fork_hook(served->client, &served->fork_hook);
    sb_end_ahead(served);
    sb_empty_nursery(served);
    while ((first = list_first(&served->idle)) != NULL) {
        struct sb_node *node = list_entry(first, struct sb_node, idle_link);
        take_out(node);
        free_node(node);
    }
    assert(served->nodes.count == 0);
    client_send_queued(served->client);
    client_store_close(&served->store);
    id_map_deinit(&served->nodes);
    pthread_mutex_destroy(&served->nodes_mutex);
    pthread_mutex_destroy(&served->nursery_mutex);
    hf_client_unref(served->client);
    free(served->groups);
    free(served);
}

static bool sb_has_default_access(struct backend *backend, intptr_t directory)
{
    return false;
}

/* The process's own umask takes nothing away here. */
static void sb_restore_mode(struct backend *backend, intptr_t directory, intptr_t node, mode_t mode)
{
}

static const struct backend_ops sb_ops = {
    .open_root = sb_open_root,
    .lookup = sb_lookup,
    .forget = sb_forget,
    .keep = sb_keep,
    .unkeep = sb_unkeep,
    .stat_entry = sb_stat_entry,
    .node_of_file = sb_node_of_file,
    .get_attributes = sb_get_attributes,
    .get_attributes_of_file = sb_get_attributes_of_file,
    .read_link = sb_read_link,
    .create = sb_create,
    .make_directory = sb_make_directory,
    .unlink = sb_unlink,
    .remove_directory = sb_remove_directory,
    .open = sb_open,
    .close = sb_close,
    .flush = sb_flush,
    .list = sb_list,
    .read = sb_read,
    .write = sb_write,
    .truncate = sb_truncate,
    .read_vectors = sb_read_vectors,
    .write_vectors = sb_write_vectors,
    .create_unnamed = sb_create_unnamed,
    .seek = sb_seek,
    .allocate = sb_allocate,
    .copy = sb_copy,
    .sync = sb_sync,
    .sync_all = sb_sync_all,
    .map = sb_map,
    .set_status = sb_set_status,
    .start_special = sb_start_special,
    .open_special = sb_open_special,
    .read_special = sb_read_special,
    .write_special = sb_write_special,
    .get_special_status = sb_get_special_status,
    .set_special_status = sb_set_special_status,
    .host_descriptor = sb_host_descriptor,
    .get_xattr = sb_get_xattr,
    .set_xattr = sb_set_xattr,
    .list_xattrs = sb_list_xattrs,
    .remove_xattr = sb_remove_xattr,
    .parent = sb_parent,
    .way_down = sb_way_down,
    .make_node = sb_make_node,
    .make_symlink = sb_make_symlink,
    .link = sb_link,
    .rename = sb_rename,
    .set_mode = sb_set_mode,
    .has_default_access = sb_has_default_access,
    .restore_mode = sb_restore_mode,
    .set_owner = sb_set_owner,
    .set_times = sb_set_times,
    .access = sb_access,
    .statx = sb_statx,
    .statfs = sb_statfs,
    .look_ahead = sb_look_ahead,
    .is_empty = sb_is_empty,
    .is_contended = sb_is_contended,
    .read_there = sb_read_there,
    .write_there = sb_write_there,
    .give_file = sb_give_file,
    .give_node = sb_give_node,
    .lend = sb_lend,
    .take = sb_take,
    .destroy = sb_destroy,
};

static int64_t take_identity(void *context, const uint8_t *data, size_t size)
{
    struct sb *served = context;
    struct wire_identity identity;
    if (wire_get_identity(data, size, &identity) == 0 || identity.data_size % 4 != 0) {
        return -EPROTO;
    }
    const size_t count = identity.data_size / 4;
    served->groups = calloc(count + 1, sizeof(*served->groups));
    if (served->groups == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = identity.data + 4 * i;
        served->groups[i] =
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    }
    served->root = identity.root;
    served->flags = identity.flags;
    served->who = (struct credentials){
        .uid = identity.owner,
        .gid = identity.group,
        .groups = served->groups,
        .group_count = (uint32_t)count,
    };
    return 0;
}

int served_backend_new(hf_client *client, uint32_t number, size_t page_bytes, bool check_pointers,
                       struct backend **out)
{
    const struct wire_operation attach = {.code = WIRE_OP_ATTACH};
    struct sb *served = calloc(1, sizeof(*served));
    if (served == NULL || id_map_init(&served->nodes) < 0) {
        free(served);
        return -ENOMEM;
    }
    served->backend = (struct backend){
        .ops = &sb_ops,
        .number = number,
        .opens_held = true,
        .numbers_are_final = true,
        .reading_changes = sb_reading_changes,
        .link_use_changes = sb_link_use_changes,
        .link_used = sb_link_used,
    };
    served->client = hf_client_ref(client);
    served->device = makedev(WIRE_STORE_MAJOR, number);
    served->page_limit = page_bytes;
    served->check_pointers = check_pointers;
    pthread_mutex_init(&served->nodes_mutex, NULL);
    pthread_mutex_init(&served->nursery_mutex, NULL);
    list_init(&served->idle);
    list_init(&served->with_pages);
    client_store_open(client, number, note_error, &served->store);
    served->fork_hook = (struct client_fork_hook){
        .prepare = prepare_fork, .parent = after_fork_in_parent, .child = after_fork_in_child};
    client_add_fork_hook(client, &served->fork_hook);
    const int64_t result = client_store_ask(&served->store, &attach, 0, take_identity, served);
    if (result < 0) {
        sb_destroy(&served->backend);
        return (int)result;
    }
    *out = &served->backend;
    return 0;
}
