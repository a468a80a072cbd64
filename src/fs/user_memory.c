#include "fs/user_memory.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* The smallest that a page is anywhere: memory is there, or not, in multiples of it. */
#define PAGE 4096

size_t user_memory_read_part(void *to, const void *from, size_t size)
{
    const struct iovec local = {.iov_base = to, .iov_len = size};
    const struct iovec remote = {.iov_base = (void *)(uintptr_t)from, .iov_len = size};
    const ssize_t done = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    return done < 0 ? 0 : (size_t)done;
}

size_t user_memory_write_part(void *to, const void *from, size_t size)
{
    const struct iovec local = {.iov_base = (void *)(uintptr_t)from, .iov_len = size};
    const struct iovec remote = {.iov_base = to, .iov_len = size};
    const ssize_t done = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
    return done < 0 ? 0 : (size_t)done;
}

static int read_user(void *to, const void *from, size_t size)
{
    return user_memory_read_part(to, from, size) == size ? 0 : -EFAULT;
}

int user_memory_write(void *to, const void *from, size_t size)
{
    return user_memory_write_part(to, from, size) == size ? 0 : -EFAULT;
}

int user_memory_test(void)
{
    const char from = 1;
    char to = 0;
    return read_user(&to, &from, 1) < 0 || user_memory_write(&to, &from, 1) < 0 ? -ENOSYS : 0;
}

int user_memory_check_string(const char *string, size_t limit)
{
    char copy[PAGE];
    uintptr_t at = (uintptr_t)string;

    while (limit > 0) {
        const size_t in_page = PAGE - at % PAGE;
        const size_t piece = in_page < limit ? in_page : limit;
        /* Whole pages only, so that what is behind the end of the string cannot matter. */
        int result = read_user(copy, (const void *)at, piece);
        if (result < 0) {
            return result;
        }
        if (memchr(copy, '\0', piece) != NULL) {
            return 0;
        }
        at += piece;
        limit -= piece;
    }
    return 0;
}
