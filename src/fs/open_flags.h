/* The flags of open(): which there are, and which go together. */
#ifndef HF_FS_OPEN_FLAGS_H
#define HF_FS_OPEN_FLAGS_H

#include <fcntl.h>

/* The bit of O_TMPFILE that is not O_DIRECTORY. */
#define OPEN_UNNAMED (O_TMPFILE & ~O_DIRECTORY)

/* What openat2() knows; O_NOCTTY, O_ASYNC and O_LARGEFILE have nothing to do here. */
#define OPEN_FLAGS                                                                                 \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |          \
     O_DSYNC | O_ASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |           \
     O_CLOEXEC | O_PATH | O_TMPFILE)

/* With O_PATH no other counts. */
#define OPEN_PATH_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Those that the backend hears of when it opens data. */
#define OPEN_BACKEND_FLAGS (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME)

/* Return: the flags that count; -EINVAL for unknown ones and for some that exclude each other. */
int open_flags_check(int flags);

#endif
