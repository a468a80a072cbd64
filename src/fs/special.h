/*
 * Pipes and devices: open files whose data, offset and status flags are all the backend's. There
 * is nothing to keep coherent, so no handle is held for them.
 *
 * Opening, reading and writing may wait for another process, for as long as that takes. A thread
 * that does so has stepped out of the gate, so that others may fork meanwhile. In the child there
 * is no such thread: what it had in its hands is given back there.
 */
#ifndef HF_FS_SPECIAL_H
#define HF_FS_SPECIAL_H

#include "fs/inode.h"
#include "fs/open_file.h"

/* Of one that was not opened with O_PATH. */
static inline bool open_file_is_special(const struct open_file *file)
{
    return inode_is_special(file->inode);
}

struct special_wait;

/* Opening takes two steps. Inside the gate: @file, without a backend's file, will be what the
 * reserved @fd stands for; takes over the reference on success. Return: 0, -ENOMEM, or what the
 * backend says. */
int special_start_opening(struct open_file *file, int fd, int flags, struct special_wait **out);

/* Outside of it, with nothing held. Return: the descriptor; what open(2) says, -EINTR included. */
int special_finish_opening(struct special_wait *wait);

/* At @offset, or where the backend is if that is negative. @fd is what @file was got by. Inside the
 * gate, but it is left meanwhile. */
ssize_t special_read(struct hf_fs *fs, int fd, struct open_file *file, const struct iovec *vectors,
                     int count, off_t offset);
ssize_t special_write(struct hf_fs *fs, int fd, struct open_file *file, const struct iovec *vectors,
                      int count, off_t offset);

/* For others who wait so: inside the gate, before it is left with an open file in the hands, and when
 * it is entered again. @fd: what @file was got by. Return: NULL without memory. */
struct special_wait *special_wait_begin(struct open_file *file, int fd);
void special_wait_end(struct special_wait *wait);

/* In the child of a fork, with the gate open. */
void special_forget_waits(struct hf_fs *fs);

#endif
