/*
 * The public functions that move open files to other processes. Each has the filesystem object to
 * itself meanwhile, as a fork does: nobody else is inside the gate.
 */
#include "api/fs_gate.h"
#include "fs/export_format.h"

#include <errno.h>
#include <holdfast/export.h>
#include <poll.h>
#include <sys/socket.h>

_Static_assert(HF_EXPORT_FILE_SIZE == EXPORT_HEAD_SIZE + EXPORT_DESCRIPTOR_SIZE,
               "it is said in the public header");

ssize_t hf_export(hf_fs *fs, void *buffer, size_t size)
{
    if (buffer == NULL && size > 0) {
        return -EFAULT;
    }
    gate_close(&fs->gate);
    ssize_t result = fs_export(fs, buffer, size);
    gate_open(&fs->gate);
    return result;
}

int hf_import(hf_fs *fs, const void *bytes, size_t size)
{
    if (bytes == NULL) {
        return -EFAULT;
    }
    gate_close(&fs->gate);
    inodes_trim(fs);
    int result = fs_import(fs, bytes, size);
    gate_open(&fs->gate);
    return result;
}

ssize_t hf_export_file(hf_fs *fs, int fd, void *buffer, size_t size)
{
    if (buffer == NULL && size > 0) {
        return -EFAULT;
    }
    gate_close(&fs->gate);
    ssize_t result = fs_export_file(fs, fd, buffer, size);
    gate_open(&fs->gate);
    return result;
}

int hf_import_file(hf_fs *fs, const void *bytes, size_t size, int flags)
{
    if (bytes == NULL) {
        return -EFAULT;
    }
    if ((flags & ~O_CLOEXEC) != 0) {
        return -EINVAL;
    }
    gate_close(&fs->gate);
    inodes_trim(fs);
    int result = fs_import_file(fs, bytes, size, (flags & O_CLOEXEC) != 0);
    gate_open(&fs->gate);
    return result;
}

int hf_export_drop(hf_fs *fs, const void *bytes, size_t size)
{
    if (bytes == NULL) {
        return -EFAULT;
    }
    gate_enter(&fs->gate);
    int result = fs_export_drop(fs, bytes, size);
    gate_leave(&fs->gate);
    return result;
}

/* ---- over a socket of the caller's ---- */

/* A message that has begun is brought to its end. */
static int wait_to_go_on(int socket, size_t done, short events)
{
    struct pollfd item = {.fd = socket, .events = events};
    if (done == 0 || (errno != EAGAIN && errno != EINTR)) {
        return -errno;
    }
    return poll(&item, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static int send_all(int socket, const char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t sent = send(socket, bytes + done, size - done, MSG_NOSIGNAL);
        int result = sent < 0 ? wait_to_go_on(socket, done, POLLOUT) : 0;
        if (result < 0) {
            return result;
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

static bool is_stream(int socket)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static int receive_all(int socket, char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t got = recv(socket, bytes + done, size - done, 0);
        int result = got < 0 ? wait_to_go_on(socket, done, POLLIN) : 0;
        if (result < 0) {
            return result;
        }
        if (got == 0) {
            return -ECONNRESET;
        }
        if (got > 0 && (size_t)got < size - done && !is_stream(socket)) {
            return -EINVAL; /* a message, and another one than was waited for */
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int hf_send_file(hf_fs *fs, int socket, int fd)
{
    char bytes[HF_EXPORT_FILE_SIZE];
    const ssize_t size = hf_export_file(fs, fd, bytes, sizeof bytes);
    if (size < 0) {
        return (int)size;
    }
    int result = send_all(socket, bytes, sizeof bytes);
    if (result < 0) {
        (void)hf_export_drop(fs, bytes, sizeof bytes); /* what went wrong before counts */
    }
    return result;
}

int hf_receive_file(hf_fs *fs, int socket, int flags)
{
    char bytes[HF_EXPORT_FILE_SIZE];
    if ((flags & ~O_CLOEXEC) != 0) {
        return -EINVAL;
    }
    int result = receive_all(socket, bytes, sizeof bytes);
    if (result < 0) {
        return result;
    }
    result = hf_import_file(fs, bytes, sizeof bytes, flags);
    if (result < 0) {
        (void)hf_export_drop(fs, bytes, sizeof bytes); /* nobody else has the bytes */
    }
    return result;
}
