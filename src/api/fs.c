/*
 * The public functions of the filesystem: they check what can be checked without looking, and
 * pass the gate.
 */
#include "api/fs_gate.h"
#include "fs/ids.h"
#include "mounts/direct/direct.h"
#include "mounts/served/served.h"

#include <errno.h>
#include <sys/resource.h>

/* Of a direct backend a node is a descriptor of the host. */
#define NODES_MIN 16
#define NODES_MAX 4096

#define CACHE_BYTES ((size_t)128 * 1024 * 1024)

/* A quarter of the descriptors this process may have, the rest is for open files and for the
 * process itself. */
static size_t node_limit(void)
{
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0 || descriptors.rlim_cur / 4 > NODES_MAX) {
        return NODES_MAX;
    }
    return descriptors.rlim_cur / 4 < NODES_MIN ? NODES_MIN : descriptors.rlim_cur / 4;
}

int hf_fs_attach(hf_client *client, const hf_fs_config *config, hf_fs **out)
{
    struct fs_config fs_config = {
        .new_served = served_backend_new,
        .nodes = node_limit(),
    };
    char root[PATH_MAX];
    hf_fs *fs;

    if (client == NULL || out == NULL || config == NULL || config->size != sizeof *config ||
        (config->external != HF_EXTERNAL_NEVER && config->external != HF_EXTERNAL_CHECK)) {
        return -EINVAL;
    }
    int result = config->check_pointers != 0 ? user_memory_test() : 0;
    if (result < 0) {
        return result;
    }
    result = config->root == NULL ? 0 : direct_canonical_source(config->root, root);
    if (result == 0) {
        result = direct_backend_new(WIRE_BACKEND_DIRECT, &fs_config.direct);
    }
    if (result == 0) {
        fs_config.bytes = config->cache_bytes == 0 ? CACHE_BYTES : config->cache_bytes;
        fs_config.page_bytes = config->page_bytes == 0 ? CACHE_BYTES : config->page_bytes;
        result = fs_new(client, &fs_config, &fs);
    }
    if (result < 0) {
        return result;
    }
    fs->check_pointers = config->check_pointers != 0;
    result =
        fs_attach(fs, config->root == NULL ? NULL : root, config->external == HF_EXTERNAL_CHECK);
    if (result < 0) {
        fs_free(fs);
        return result;
    }
    *out = fs;
    return 0;
}

void hf_fs_get_stats(hf_fs *fs, hf_fs_stats *out)
{
    fs_get_stats(fs, out);
}

hf_fs *hf_fs_detach(hf_fs *fs)
{
    if (fs != NULL) {
        fs_free(fs);
    }
    return NULL;
}

int hf_close(hf_fs *fs, int fd)
{
    gate_enter(&fs->gate);
    int result = fs_close(fs, fd);
    gate_leave(&fs->gate);
    return result;
}

int hf_dup(hf_fs *fs, int fd)
{
    gate_enter(&fs->gate);
    int result = fs_duplicate(fs, fd, 0, false);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_read(hf_fs *fs, int fd, void *buffer, size_t size)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_read(fs, fd, buffer, size);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_write(hf_fs *fs, int fd, const void *buffer, size_t size)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_write(fs, fd, buffer, size);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_pread(hf_fs *fs, int fd, void *buffer, size_t size, off_t offset)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_read_at(fs, fd, buffer, size, offset);
    gate_leave(&fs->gate);
    return result;
}

ssize_t hf_pwrite(hf_fs *fs, int fd, const void *buffer, size_t size, off_t offset)
{
    gate_enter(&fs->gate);
    ssize_t result = fs_write_at(fs, fd, buffer, size, offset);
    gate_leave(&fs->gate);
    return result;
}

off_t hf_lseek(hf_fs *fs, int fd, off_t offset, int whence)
{
    gate_enter(&fs->gate);
    off_t result = fs_seek(fs, fd, offset, whence);
    gate_leave(&fs->gate);
    return result;
}

int hf_readdir(hf_fs *fs, int fd, hf_dirent *out)
{
    if (out == NULL) {
        return -EFAULT;
    }
    gate_enter(&fs->gate);
    int result = fs_read_directory(fs, fd, out);
    gate_leave(&fs->gate);
    return result;
}

int hf_fstat(hf_fs *fs, int fd, struct stat *out)
{
    struct stat attributes;
    gate_enter(&fs->gate);
    int result = fs_stat_file(fs, fd, api_is_good(fs, out) ? out : &attributes);
    gate_leave(&fs->gate);
    return api_give(fs, result, out, &attributes, sizeof attributes);
}

int hf_truncate(hf_fs *fs, const char *path, off_t size)
{
    int result = api_enter_path(fs, path);
    if (result < 0) {
        return result;
    }
    result = fs_truncate(fs, path, size);
    fs_leave_path(fs);
    return result;
}

int hf_ftruncate(hf_fs *fs, int fd, off_t size)
{
    gate_enter(&fs->gate);
    int result = fs_truncate_file(fs, fd, size);
    gate_leave(&fs->gate);
    return result;
}
