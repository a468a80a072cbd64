/*
 * The same call of the filesystem or of the kernel, so that one piece of code can look at both
 * and the answers be compared.
 */
#ifndef HF_TESTS_LIB_FS_CALL_H
#define HF_TESTS_LIB_FS_CALL_H

#include <errno.h>
#include <holdfast/fs.h>
#include <stdint.h>

/* The result of @ours, or without a filesystem object of @kernels with errno as ours have it. */
#define CALL(fs, ours, kernels) ((fs) != NULL ? (long)(ours) : call_result((long)(kernels)))

static inline long call_result(long result)
{
    return result < 0 ? -errno : result;
}

/* One number made of many. */
static inline uint64_t call_mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ (sum >> 29);
}

static inline uint64_t call_mix_bytes(uint64_t sum, const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < size; i++) {
        sum = call_mix(sum, byte[i]);
    }
    return sum;
}

typedef void call_entry(void *context, const char *name, uint64_t ino, unsigned char type);

/* All entries of an open directory, from its beginning. Return: 0, or a negative errno. */
long call_list(hf_fs *fs, int fd, call_entry *entry, void *context);

#endif
