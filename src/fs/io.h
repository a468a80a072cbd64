/* What the operations on open files have in common. */
#ifndef HF_FS_IO_H
#define HF_FS_IO_H

#include "fs/inode.h"
#include "fs/open_file.h"

/* An error while letting go counts only if the operation itself went well. */
static inline ssize_t first_error(ssize_t result, int released)
{
    return result < 0 || released == 0 ? result : released;
}

#endif
