/* The filesystem object: made, freed, and taken through a fork. */
#include "fs/filesystem.h"

#include "fs/ids.h"
#include "fs/inode.h"
#include "fs/open_file.h"
#include "fs/special.h"
#include "wire/mounts.h"
#include "wire/operations.h"

#include <errno.h>
#include <stdlib.h>

static struct hf_fs *fs_of(struct client_fork_hook *hook)
{
    return list_entry(hook, struct hf_fs, fork_hook);
}

/* Before the client prepares: nobody is inside any more, and open files are shared from here
 * on, so that the client registers their handles for the child. */
static int prepare_fork(struct client_fork_hook *hook)
{
    struct hf_fs *fs = fs_of(hook);
    gate_close(&fs->gate);
    /* On failure too the gate stays closed: a plain fork() goes on without the server. */
    return open_files_share(fs);
}

static void after_fork_in_parent(struct client_fork_hook *hook)
{
    gate_open(&fs_of(hook)->gate);
}

/* No thread was inside, so no mutex was held and nothing was half done. What is cached is not
 * valid here: the child's client holds nothing, and its holds begin with new epochs. */
static void after_fork_in_child(struct client_fork_hook *hook)
{
    mounts_use_in_child(fs_of(hook));
    gate_open_in_child(&fs_of(hook)->gate);
    special_forget_waits(fs_of(hook));
}

/* ---- backends ---- */

/* With the mutex, or alone. Takes over @backend, on failure too. */
static int add_backend(struct hf_fs *fs, struct backend *backend)
{
    int result = client_open_reserved(
        fs->client, fs_id_of_rename(backend->number), HF_SYNC_LOCK, &backend->rename_handle);
    if (result < 0) {
        backend->ops->destroy(backend);
        return result;
    }
    backend->next = fs->backends;
    fs->backends = backend;
    return 0;
}

static void free_backends(struct hf_fs *fs)
{
    struct backend *backend;
    while ((backend = fs->backends) != NULL) {
        fs->backends = backend->next;
        hf_sync_close(backend->rename_handle);
        backend->ops->destroy(backend);
    }
}

static struct backend *find_backend(const struct hf_fs *fs, uint32_t number)
{
    struct backend *backend = fs->backends;
    while (backend != NULL && backend->number != number) {
        backend = backend->next;
    }
    return backend;
}

/* With the mutex. */
static int make_backend(struct hf_fs *fs, uint32_t number)
{
    struct backend *backend;
    if (fs->new_served == NULL || number < WIRE_STORE_FIRST || number > WIRE_STORE_LAST) {
        return -ENODEV;
    }
    int result = fs->new_served(fs->client, number, fs->page_bytes, fs->check_pointers, &backend);
    return result < 0 ? result : add_backend(fs, backend);
}

int fs_get_backend(struct hf_fs *fs, uint32_t number, struct backend **out)
{
    int result = 0;
    pthread_mutex_lock(&fs->backends_mutex);
    *out = find_backend(fs, number);
    if (*out == NULL) {
        result = make_backend(fs, number);
        *out = fs->backends;
    }
    pthread_mutex_unlock(&fs->backends_mutex);
    return result;
}

/* ---- the filesystem object ---- */

int fs_new(hf_client *client, const struct fs_config *config, struct hf_fs **out)
{
    struct backend *direct = config->direct;
    if (!client_claim_holds(client)) {
        direct->ops->destroy(direct);
        return -EBUSY;
    }
    struct hf_fs *fs = calloc(1, sizeof *fs);
    if (fs == NULL || id_map_init(&fs->inodes) < 0) {
        client_unclaim_holds(client);
        free(fs);
        direct->ops->destroy(direct);
        return -ENOMEM;
    }
    fs->client = hf_client_ref(client);
    fs->new_served = config->new_served;
    fs->page_bytes = config->page_bytes;
    pthread_mutex_init(&fs->backends_mutex, NULL);
    budget_init(&fs->bytes, config->bytes);
    budget_init(&fs->nodes, config->nodes);
    atomic_flag_clear(&fs->trimming);
    atomic_init(&fs->cwd, NULL);
    atomic_init(&fs->umask, fs_process_umask());
    pthread_mutex_init(&fs->cwd_mutex, NULL);
    gate_init(&fs->gate);
    pthread_mutex_init(&fs->inodes_mutex, NULL);
    list_init(&fs->directories);
    list_init(&fs->unreferenced);
    list_init(&fs->with_nodes);
    pthread_mutex_init(&fs->files_mutex, NULL);
    list_init(&fs->files);
    pthread_mutex_init(&fs->waits_mutex, NULL);
    list_init(&fs->waits);
    descriptors_init(&fs->descriptors);
    fs->fork_hook.prepare = prepare_fork;
    fs->fork_hook.parent = after_fork_in_parent;
    fs->fork_hook.child = after_fork_in_child;
    client_add_fork_hook(client, &fs->fork_hook);

    int result = mounts_init(fs);
    if (result == 0) {
        result = add_backend(fs, direct);
    } else {
        direct->ops->destroy(direct);
    }
    if (result < 0) {
        fs_free(fs);
        return result;
    }
    *out = fs;
    return 0;
}

void fs_get_stats(struct hf_fs *fs, hf_fs_stats *out)
{
    *out = (hf_fs_stats){
        .bytes = budget_used(&fs->bytes),
        .bytes_limit = fs->bytes.limit,
        .nodes = budget_used(&fs->nodes),
        .nodes_limit = fs->nodes.limit,
    };
    pthread_mutex_lock(&fs->inodes_mutex);
    out->inodes = fs->inodes.count;
    pthread_mutex_unlock(&fs->inodes_mutex);
}

void fs_free(struct hf_fs *fs)
{
    client_remove_fork_hook(fs->client, &fs->fork_hook);
    int fd = 0;
    while ((fd = descriptors_next(&fs->descriptors, fd)) >= 0) {
        fs_close(fs, fd);
    }
    fs_leave_directory(atomic_load(&fs->cwd), fs->cwd_mount);
    mounts_deinit(fs);
    inodes_drop_all(fs);
    free_backends(fs);
    descriptors_deinit(&fs->descriptors);
    id_map_deinit(&fs->inodes);
    pthread_mutex_destroy(&fs->cwd_mutex);
    pthread_mutex_destroy(&fs->backends_mutex);
    pthread_mutex_destroy(&fs->waits_mutex);
    pthread_mutex_destroy(&fs->files_mutex);
    pthread_mutex_destroy(&fs->inodes_mutex);
    gate_deinit(&fs->gate);
    client_unclaim_holds(fs->client);
    hf_client_unref(fs->client);
    free(fs);
}
