/*
 * A puppet: another program, started by exec, with a client and a filesystem object of its own,
 * that does what the test tells it, one command after the other. It shares nothing with the test
 * but the server, the directory, and the socket over which it is told.
 *
 * The program is the test's own: its main() begins with puppet_play().
 */
#ifndef HF_TESTS_LIB_PUPPET_H
#define HF_TESTS_LIB_PUPPET_H

#include <holdfast/export.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PUPPET_TEXT_BYTES 4096

enum puppet_verb {
    PUPPET_OPEN,        /* path, flags and mode */
    PUPPET_CLOSE,       /* fd */
    PUPPET_READ,        /* fd, size; what was read is the answer's text */
    PUPPET_WRITE,       /* fd; the text */
    PUPPET_SEEK,        /* fd, offset, whence */
    PUPPET_CONTROL,     /* fd, command, argument */
    PUPPET_DUP2,        /* fd, copy */
    PUPPET_STAT,        /* fd; the attributes are the answer's text */
    PUPPET_UNLINK,      /* path */
    PUPPET_CHDIR,       /* path */
    PUPPET_GETCWD,      /* the path is the answer's text */
    PUPPET_UMASK,       /* mask */
    PUPPET_READDIR,     /* fd; the name is the answer's text */
    PUPPET_READLINK,    /* fd of a link opened with O_PATH; its target is the answer's text */
    PUPPET_OPEN_AT,     /* fd, path, flags */
    PUPPET_LINK,        /* fd, path: give it a name */
    PUPPET_COPY,        /* from, to, size: copy_file_range at both offsets */
    PUPPET_EXPORT,      /* size (0: as much as it takes); the bytes are the answer's text */
    PUPPET_IMPORT,      /* the bytes */
    PUPPET_EXPORT_FILE, /* fd */
    PUPPET_IMPORT_FILE, /* the bytes; flags */
    PUPPET_DROP,        /* the bytes */
    PUPPET_SEND,        /* fd: over the other socket */
    PUPPET_RECEIVE,     /* from the other socket; flags */
    PUPPET_FORK_WRITE,  /* fd; a child writes the text and exits */
    PUPPET_LIMIT,       /* descriptors of the host that it may have */
    PUPPET_MOUNT,       /* flags; the text is the host's directory, a NUL, and the target */
    PUPPET_UNMOUNT,     /* path, flags */
    PUPPET_CHMOD,       /* fd, mode */
    PUPPET_SENT,        /* messages it has sent so far */
    PUPPET_EXIT,        /* without any good-bye */
};

struct puppet_command {
    enum puppet_verb verb;
    int64_t a, b, c;
    size_t size; /* of the text */
    char text[PUPPET_TEXT_BYTES];
};

struct puppet {
    pid_t pid;
    int fd;
    size_t size;                      /* of the last answer's text */
    char text[PUPPET_TEXT_BYTES + 1]; /* with a NUL behind it */
};

/* In main(): if this process is a puppet, play it and return true with the exit status. */
bool puppet_play(int argc, char **argv, int *status);

/* Start one, which has connected and attached when this returns. @other is the socket for
 * PUPPET_SEND and PUPPET_RECEIVE; -1: none. */
/* NULL as @root: what the server has. */
void puppet_start(struct puppet *puppet, const char *address, const char *root, int other);

/* Tell it, and wait for what it answers: the result of the call. */
int64_t puppet_tell(struct puppet *puppet, enum puppet_verb verb, int64_t a, int64_t b, int64_t c,
                    const void *text, size_t size);

/* The two halves of it. */
void puppet_command(struct puppet *puppet, enum puppet_verb verb, int64_t a, int64_t b, int64_t c,
                    const void *text, size_t size);
int64_t puppet_answer(struct puppet *puppet);

/* Let it detach and end. */
void puppet_end(struct puppet *puppet);

/* It ends with SIGKILL, now or because of somebody else; and with PUPPET_EXIT. */
void puppet_kill(struct puppet *puppet);
void puppet_expect_killed(struct puppet *puppet);
void puppet_exit(struct puppet *puppet);

#endif
