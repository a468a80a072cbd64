/*
 * Memory of the caller's that may not be there, or may not be written: it is the kernel that
 * looks, and says so, where an access of our own would end the process. Each of these is a system
 * call or two.
 */
#ifndef HF_FS_USER_MEMORY_H
#define HF_FS_USER_MEMORY_H

#include <stddef.h>

/* Does the kernel let this process do that? Return: 0, -ENOSYS. */
int user_memory_test(void);

/* Can @string be read to its end, or as far as @limit bytes? Return: 0, -EFAULT. */
int user_memory_check_string(const char *string, size_t limit);

/* Return: 0, -EFAULT: then a part may have been written. */
int user_memory_write(void *to, const void *from, size_t size);

/* As far as the memory goes; one of the two pointers is the caller's. Return: how many bytes from the
 * beginning on, 0 for none. */
size_t user_memory_read_part(void *to, const void *from, size_t size);
size_t user_memory_write_part(void *to, const void *from, size_t size);

#endif
