/*
 * Pipes. The server has a FIFO of the host behind each that somebody has open, and hands out a
 * descriptor of it that was opened with O_PATH. What goes through it is the kernel's from then on.
 */
#include "mounts/served/parts.h"

#include "client/park.h"
#include "mounts/special.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int pipe_of(intptr_t file)
{
    return sb_file_of(file)->pipe;
}

/* ---- opening ---- */

/* Return: a descriptor of the pipe that the server, which knows of our use, has for @node; -EOPNOTSUPP
 * when it has none. */
static int claim(struct sb_node *node)
{
    struct sb *served = node->served;
    struct park_item item;
    const hf_id id = wire_store_id(served->store.number, node->number);
    const int result = park_claim(served->client, id, 0, &item);
    if (result < 0) {
        return result == -ESTALE ? -EOPNOTSUPP : result;
    }
    return item.fd;
}

/* Devices are the host's, and no client is to reach those of a mount that it may write to. */
static int check_type(mode_t mode)
{
    if (S_ISFIFO(mode)) {
        return 0;
    }
    return S_ISSOCK(mode) ? -ENXIO : -EACCES;
}

int sb_start_special(struct backend *backend, intptr_t node, int flags, intptr_t *file)
{
    struct sb_node *opened = sb_node_of(node);
    struct wire_attributes attributes;
    struct wire_operation use = {.code = WIRE_OP_USE, .inode = opened->number};
    int result = sb_attributes_to_judge(opened, &attributes);
    if (result == 0) {
        result = sb_may_open(sb_of(backend), &attributes, flags);
    }
    if (result == 0) {
        result = check_type(attributes.mode);
    }
    if (result == 0) {
        result = sb_open_asked(opened, &use, flags & O_ACCMODE, file);
    }
    if (result < 0) {
        return result;
    }
    result = claim(opened);
    if (result < 0) {
        sb_close(backend, *file);
        return result;
    }
    sb_file_of(*file)->pipe = result;
    return 0;
}

int sb_open_special(struct backend *backend, intptr_t node, int flags, intptr_t *file)
{
    const int path = pipe_of(*file);
    const int fd = special_open_host(path, flags);
    if (fd < 0) {
        return fd;
    }
    sb_file_of(*file)->pipe = fd;
    close(path);
    return 0;
}

/* ---- what is open ---- */

ssize_t sb_read_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                        int count, off_t offset)
{
    return special_read_host(pipe_of(file), vectors, count, offset);
}

ssize_t sb_write_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                         int count, off_t offset)
{
    return special_write_host(pipe_of(file), vectors, count, offset);
}

int sb_get_special_status(struct backend *backend, intptr_t file)
{
    return special_get_host_status(pipe_of(file));
}

int sb_set_special_status(struct backend *backend, intptr_t file, int flags)
{
    return special_set_host_status(pipe_of(file), flags);
}

int sb_host_descriptor(struct backend *backend, intptr_t file)
{
    return pipe_of(file);
}

/* ---- moving to another process ---- */

bool sb_is_pipe(const struct sb *served, int fd, uint64_t *number, int *access_mode)
{
    char link[32];
    char path[160];
    char name[48];
    struct stat attributes;
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &attributes) < 0 || !S_ISFIFO(attributes.st_mode)) {
        return false;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) {
        return false;
    }
    path[length] = '\0';
    const char *const last = strrchr(path, '/');
    /* The inode's number stands behind two hyphens more. */
    const char *digits = last == NULL ? NULL : strrchr(last, '-');
    while (digits != NULL && digits > last && *--digits != '-') {
    }
    if (digits == NULL || digits <= last) {
        return false;
    }
    *number = strtoull(digits + 1, NULL, 10);
    *access_mode = flags & O_ACCMODE;
    snprintf(name, sizeof name, WIRE_PIPE_NAME, served->store.number, (unsigned long long)*number);
    return strncmp(last + 1, name, strlen(name)) == 0;
}
