/*
 * File locks: flock(2), POSIX record locks, and open-file-description locks, between all clients
 * of a server, on every kind of mount.
 *
 * They have Linux's semantics: fcntl(2), flock(2), fcntl_locking(2). POSIX record locks belong to
 * the hf_fs, so to the process: a child of fork() has none of them, closing any descriptor of the
 * file gives up all those on it, and another process's are told by their pid. The two others
 * belong to the open file: descriptors that are copies, and the processes that inherited or
 * imported it, have them together, and they end with the last of these. Locks are advisory.
 *
 * While no other process locks the same file, locking and unlocking sends nothing. When the
 * process is killed what it alone had is free at once. Who waits is served in order of arrival: a
 * request overtakes none that conflicts with it and waits already, unless that one waits for the
 * caller itself. hf_lock() with F_SETLK and F_OFD_SETLK, and
 * hf_flock() with LOCK_NB, look at what is held only, as in Linux.
 *
 * Locks of programs outside, on the files of a direct mount, are not seen, nor do they see these.
 * An open pipe or device has locks of its own in each process: a child does not inherit them.
 */
#ifndef HOLDFAST_LOCK_H
#define HOLDFAST_LOCK_H

#include <holdfast/fs.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * hf_lock() - set, give up or test a record lock
 * @command: F_SETLK, F_SETLKW, F_GETLK or F_OFD_SETLK, F_OFD_SETLKW, F_OFD_GETLK
 * @lock:    as for fcntl(2): l_whence SEEK_SET, SEEK_CUR or SEEK_END, l_len negative for what is before;
 *           l_pid is 0 for the F_OFD_ ones. F_GETLK says in it what is in the way, with the pid
 *           (-1 for a lock of an open file), or F_UNLCK
 * @opts:    for the W ones: deadline and cancel token; NULL: wait for ever
 *
 * hf_fcntl() does the same with the same commands. F_SETLKW and F_OFD_SETLKW block until the lock
 * can be had; all others at most for an answer of the server.
 *
 * F_SETLKW fails with -EDEADLK when it would wait for a process that waits, maybe through others
 * and on other files, for this one; as in Linux a process waits when one of its threads does, and
 * locks of open files are not looked at for this.
 *
 * Return: 0; -EAGAIN (F_SETLK: somebody has it), -EDEADLK, -EBADF (@fd; or not open for reading, or
 * writing, as the type needs), -EINVAL (@command, @lock), -EOVERFLOW, -EFAULT, -ENOLCK (too many locks),
 * -ENOBUFS (too many that wait), -ETIMEDOUT, -ECANCELED, -ENOTCONN, -ENOMEM. On error nothing is changed.
 */
HF_PUBLIC int hf_lock(hf_fs *fs, int fd, int command, struct flock *lock, const hf_wait_opts *opts);

/**
 * hf_flock() - as flock(2)
 * @operation: LOCK_SH, LOCK_EX or LOCK_UN, maybe with LOCK_NB
 * @opts:      deadline and cancel token; NULL: wait for ever
 *
 * As in Linux a change from one mode to the other gives up the old one first: if it then fails or
 * would block, nothing is held.
 *
 * Return: 0; -EWOULDBLOCK, and as hf_lock().
 */
HF_PUBLIC int hf_flock(hf_fs *fs, int fd, int operation, const hf_wait_opts *opts);

/* What hf_lock_list() tells of. */
typedef enum hf_lock_state {
    HF_LOCK_HELD = 1,
    HF_LOCK_WAITING = 2,
    /* Of the last deadlocks that were found: who waited then, and who was refused. */
    HF_LOCK_WAS_WAITING = 3,
    HF_LOCK_REFUSED = 4,
} hf_lock_state;

typedef struct hf_lock_info {
    hf_lock_state state;
    int kind;    /* F_SETLK: POSIX; F_OFD_SETLK: of an open file; 0: flock */
    short type;  /* F_RDLCK, F_WRLCK */
    off_t start; /* first byte */
    off_t end;   /* last byte; the largest off_t: no end */
    hf_id file;  /* the same for all locks of a file */
    hf_id owner; /* the same for all locks of a process or open file */
    uint64_t
        client; /* hf_client_number() of who asked for it; 0: gone, others share the open file */
    pid_t pid;  /* as the client said */
    uint32_t cycle;   /* numbers deadlocks; 0: of none */
    const char *path; /* where the client found the file; "" if it did not say; valid in the call */
} hf_lock_info;

/**
 * hf_lock_list() - all file locks of all clients of the server, and who waits for which
 * @take: called for one after the other; what it returns other than 0 ends the list and becomes the
 *        result. It must not call the library.
 *
 * Clients that have a file's locks to themselves are asked for them, and go on through the server for a while.
 * Blocks for that long.
 *
 * Return: 0; what @take returned; -ENOTCONN, -ENOMEM.
 */
HF_PUBLIC int hf_lock_list(hf_client *client, int (*take)(void *context, const hf_lock_info *info),
                           void *context);

#ifdef __cplusplus
}
#endif

#endif
