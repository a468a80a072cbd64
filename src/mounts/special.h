/*
 * Pipes and devices of the host that are open here: they have their offset and status flags
 * themselves, and whatever shares the open file shares the host's. A signal that interrupts a wait
 * ends it, as in the system calls. Results are 0 or more, or a negative errno.
 */
#ifndef HF_MOUNTS_SPECIAL_H
#define HF_MOUNTS_SPECIAL_H

#include <sys/types.h>
#include <sys/uio.h>

/* Open what @path, opened with O_PATH, is of, as open(2) with @flags. Return: a descriptor;
 * -EOPNOTSUPP without /proc. */
int special_open_host(int path, int flags);

/* At @offset, or where the host is if that is negative. */
ssize_t special_read_host(int fd, const struct iovec *vectors, int count, off_t offset);
ssize_t special_write_host(int fd, const struct iovec *vectors, int count, off_t offset);

int special_get_host_status(int fd);
int special_set_host_status(int fd, int flags);

#endif
