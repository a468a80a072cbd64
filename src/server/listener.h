/*
 * The socket that a server listens on, and the lock file that keeps others from it.
 */
#ifndef HF_SERVER_LISTENER_H
#define HF_SERVER_LISTENER_H

#include "base/fork_guard.h"

#include <sys/stat.h>
#include <sys/un.h>

struct listener {
    int fd;        /* the listening socket; -1: none */
    int folder_fd; /* where both files are, whatever becomes of the working directory */
    int lock_fd;
    struct stat lock_file; /* to know them again before they are removed */
    struct stat socket_file;
    char socket_name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    char lock_name[sizeof(((struct sockaddr_un *)NULL)->sun_path) + sizeof(".lock")];
};

/* Listen at @address, "unix:PATH". The socket file gets exactly @mode.
 * Return: 0, or a negative errno as hf_server_new() documents; then nothing is left behind. */
int listener_open(struct listener *listener, struct fork_guard *guard, const char *address,
                  mode_t mode);

/* Stop listening and remove both files. */
void listener_close(struct listener *listener, struct fork_guard *guard);

#endif
