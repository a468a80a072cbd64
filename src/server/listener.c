/*
 * How one of several servers gets a path, and only one:
 *
 *   1. take the lock on PATH.lock, which the holder removes when it ends;
 *   2. holding it, see what is at PATH: nothing, a socket that nobody serves (removed), a live
 *      socket, or something else (both refused);
 *   3. bind and listen.
 *
 * Step 2 asks the socket itself as well, since a lock file is easily lost to a cleaner of
 * temporary files and a socket at PATH need not be one of ours.
 */
#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

/* Each further attempt to take the lock means that another server came and went meanwhile. */
#define LOCK_ATTEMPTS 100

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int parse_address(const char *address, struct sockaddr_un *out)
{
    static const char scheme[] = "unix:";
    if (strncmp(address, scheme, sizeof(scheme) - 1) != 0) {
        return -EINVAL;
    }
    const char *path = address + sizeof(scheme) - 1;
    const size_t length = strlen(path);
    if (length == 0 || path[length - 1] == '/') {
        return -EINVAL;
    }
    if (length >= sizeof(out->sun_path)) {
        return -ENAMETOOLONG;
    }
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, length + 1);
    return 0;
}

static int open_folder(struct listener *listener, struct fork_guard *guard, const char *path)
{
    char folder[sizeof(listener->socket_name)] = ".";
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (slash != NULL) {
        const size_t length = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, length);
        folder[length] = '\0';
    }
    snprintf(listener->socket_name, sizeof(listener->socket_name), "%s", name);
    snprintf(listener->lock_name, sizeof(listener->lock_name), "%s.lock", name);

    fork_guard_lock();
    listener->folder_fd = fork_guard_keep(guard, open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC));
    fork_guard_unlock();
    return listener->folder_fd < 0 ? listener->folder_fd : 0;
}

/* Return: 1 with the lock taken, 0 when the file was removed meanwhile, a negative errno. */
static int try_lock(struct listener *listener, struct fork_guard *guard)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    fork_guard_lock();
    int fd = fork_guard_keep(guard, openat(listener->folder_fd, listener->lock_name, flags, 0600));
    fork_guard_unlock();
    if (fd < 0) {
        return fd == -ELOOP || fd == -EISDIR || fd == -ENXIO ? -EEXIST : fd;
    }

    int result = 0;
    struct stat opened, named;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        result = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
    } else if (fstat(fd, &opened) != 0) {
        result = -errno;
    } else if (!S_ISREG(opened.st_mode) || opened.st_size != 0) {
        result = -EEXIST; /* ours are empty; this one is somebody's data */
    } else if (fstatat(listener->folder_fd, listener->lock_name, &named, AT_SYMLINK_NOFOLLOW) ==
                   0 &&
               is_same_file(&opened, &named)) {
        listener->lock_fd = fd;
        listener->lock_file = opened;
        return 1;
    }
    fork_guard_close(guard, fd);
    return result;
}

static int take_lock(struct listener *listener, struct fork_guard *guard)
{
    for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        const int result = try_lock(listener, guard);
        if (result != 0) {
            return result < 0 ? result : 0;
        }
    }
    return -EADDRINUSE;
}

/* The path is free, or occupied by a socket that nobody serves, which is removed. */
static int remove_stale_socket(struct listener *listener, const struct sockaddr_un *address)
{
    struct stat found;
    if (fstatat(listener->folder_fd, listener->socket_name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(found.st_mode)) {
        return -EEXIST;
    }

    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        return -errno;
    }
    const int connected = connect(probe, (const struct sockaddr *)address, sizeof(*address));
    const int answer = connected == 0 ? 0 : errno;
    close(probe);
    switch (answer) {
    case ENOENT:
        return 0;
    case ECONNREFUSED:
        return unlinkat(listener->folder_fd, listener->socket_name, 0) == 0 ? 0 : -errno;
    case EACCES:
        return -EACCES;
    default: /* accepted, or its queue is full, or it is of another type: somebody is there */
        return -EADDRINUSE;
    }
}

static int bind_and_listen(struct listener *listener, struct fork_guard *guard,
                           const struct sockaddr_un *address, mode_t mode)
{
    fork_guard_lock();
    listener->fd =
        fork_guard_keep(guard, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    fork_guard_unlock();
    if (listener->fd < 0) {
        return listener->fd;
    }
    /* The file gets the socket's own mode less the umask, which other threads may rely on: the
     * mode is never wider than @mode, and made exactly that before anybody can connect. */
    if (fchmod(listener->fd, mode) != 0 ||
        bind(listener->fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        return -errno;
    }
    if (fstatat(listener->folder_fd,
                listener->socket_name,
                &listener->socket_file,
                AT_SYMLINK_NOFOLLOW) != 0) {
        return -errno;
    }
    if (fchmodat(listener->folder_fd, listener->socket_name, mode, 0) != 0 ||
        listen(listener->fd, SOMAXCONN) != 0) {
        return -errno;
    }
    return 0;
}

int listener_open(struct listener *listener, struct fork_guard *guard, const char *address,
                  mode_t mode)
{
    struct sockaddr_un socket_address;
    *listener = (struct listener){.fd = -1, .folder_fd = -1, .lock_fd = -1};
    int result = parse_address(address, &socket_address);
    if (result == 0) {
        result = open_folder(listener, guard, socket_address.sun_path);
    }
    if (result == 0) {
        result = take_lock(listener, guard);
    }
    if (result == 0) {
        result = remove_stale_socket(listener, &socket_address);
    }
    if (result == 0) {
        result = bind_and_listen(listener, guard, &socket_address, mode);
    }
    if (result != 0) {
        listener_close(listener, guard);
    }
    return result;
}

/* Remove a file that is still the one we made. */
static void remove_own(const struct listener *listener, const char *name, const struct stat *own)
{
    struct stat found;
    if (own->st_ino != 0 && fstatat(listener->folder_fd, name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_same_file(&found, own)) {
        unlinkat(listener->folder_fd, name, 0);
    }
}

void listener_close(struct listener *listener, struct fork_guard *guard)
{
    remove_own(listener, listener->socket_name, &listener->socket_file);
    listener->fd = fork_guard_close(guard, listener->fd);
    /* First the name, then the lock: whoever takes the lock afterwards sees that the file is not
     * the one with the name any more, and tries again. */
    remove_own(listener, listener->lock_name, &listener->lock_file);
    listener->lock_fd = fork_guard_close(guard, listener->lock_fd);
    listener->folder_fd = fork_guard_close(guard, listener->folder_fd);
    listener->socket_file = listener->lock_file = (struct stat){0};
}
