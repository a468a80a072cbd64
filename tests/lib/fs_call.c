#include "lib/fs_call.h"

#include <dirent.h>
#include <unistd.h>

static long list_kernel(int fd, call_entry *entry, void *context)
{
    _Alignas(struct dirent64) char buffer[4096];
    ssize_t size;
    while ((size = getdents64(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t at = 0; at < size;) {
            const struct dirent64 *found = (const struct dirent64 *)(const void *)(buffer + at);
            entry(context, found->d_name, found->d_ino, found->d_type);
            at += found->d_reclen;
        }
    }
    return call_result(size);
}

long call_list(hf_fs *fs, int fd, call_entry *entry, void *context)
{
    hf_dirent found;
    long result = CALL(fs, hf_lseek(fs, fd, 0, SEEK_SET), lseek(fd, 0, SEEK_SET));
    if (result < 0) {
        return result;
    }
    if (fs == NULL) {
        return list_kernel(fd, entry, context);
    }
    while ((result = hf_readdir(fs, fd, &found)) == 1) {
        entry(context, found.name, found.ino, found.type);
    }
    return result;
}
