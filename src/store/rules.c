/* Rules that are the same for all stores: what a name or a new inode may be, what a change takes from
 * a mode, when reading moves the access time. */
#include "store/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define DAY_SECONDS (24 * 60 * 60)

int store_check_name(struct store_name name)
{
    if (name.length == 0) {
        return -ENOENT;
    }
    if (name.length > STORE_MAX_NAME) {
        return -ENAMETOOLONG;
    }
    if (memchr(name.bytes, '/', name.length) != NULL ||
        memchr(name.bytes, '\0', name.length) != NULL) {
        return -EINVAL;
    }
    const bool is_dots =
        name.length <= 2 && name.bytes[0] == '.' && name.bytes[name.length - 1] == '.';
    return is_dots ? -EINVAL : 0;
}

int store_check_new(const struct store_new *what)
{
    switch (what->mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
        break;
    case S_IFLNK:
        if (what->target.length == 0) {
            return -ENOENT;
        }
        if (what->target.length > STORE_MAX_TARGET) {
            return -ENAMETOOLONG;
        }
        if (memchr(what->target.bytes, '\0', what->target.length) != NULL) {
            return -EINVAL;
        }
        break;
    default:
        return -EINVAL;
    }
    return (what->mode & ~(uint32_t)(S_IFMT | 07777)) != 0 ? -EINVAL : 0;
}

static bool is_time(struct timespec time)
{
    return time.tv_nsec >= 0 && time.tv_nsec < 1000000000;
}

int store_check_attributes(uint32_t mode, uint32_t mask, const struct store_attributes *values)
{
    if ((mask & ~(uint32_t)STORE_SET_ALL) != 0 || (mask & STORE_SET_SIZES) == STORE_SET_SIZES ||
        ((mask & STORE_SET_ATIME) != 0 && !is_time(values->atime)) ||
        ((mask & STORE_SET_MTIME) != 0 && !is_time(values->mtime))) {
        return -EINVAL;
    }
    if ((mask & STORE_SET_MODE) != 0 && S_ISLNK(mode)) {
        return -EOPNOTSUPP; /* as Linux has it since 6.6 for all its filesystems */
    }
    if ((mask & STORE_SET_SIZES) != 0) {
        if (S_ISDIR(mode)) {
            return -EISDIR;
        }
        if (!S_ISREG(mode) || values->size > (uint64_t)STORE_MAX_SIZE) {
            return -EINVAL;
        }
    }
    return 0;
}

uint32_t store_without_privileges(uint32_t mode)
{
    return mode & ~(uint32_t)(S_ISUID | ((mode & S_IXGRP) != 0 ? S_ISGID : 0));
}

/* ---- extended attributes ---- */

uint64_t store_xattr_pages(uint64_t bytes)
{
    return bytes <= STORE_FREE_XATTR_BYTES ? 0 : (bytes + STORE_PAGE_SIZE - 1) / STORE_PAGE_SIZE;
}

static bool has_prefix(struct store_name name, const char *prefix)
{
    const size_t length = strlen(prefix);
    return name.length >= length && memcmp(name.bytes, prefix, length) == 0;
}

int store_check_xattr_name(uint32_t mode, struct store_name name, int no_user)
{
    static const char *const prefixes[] = {"user.", "trusted.", "security."};
    if (name.length == 0 || name.length > STORE_MAX_XATTR_NAME) {
        return -ERANGE;
    }
    if (memchr(name.bytes, '\0', name.length) != NULL) {
        return -EINVAL;
    }
    if (has_prefix(name, "user.") && !S_ISREG(mode) && !S_ISDIR(mode)) {
        return no_user;
    }
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (has_prefix(name, prefixes[i])) {
            return name.length == strlen(prefixes[i]) ? -EINVAL : 0;
        }
    }
    return -EOPNOTSUPP;
}

/* ---- times ---- */

static bool is_later(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

bool store_moves_atime(const struct store_call *call, struct timespec atime, struct timespec mtime,
                       struct timespec ctime)
{
    /* The first read after a change is of interest, and that something is still read at all. */
    const bool is_read_already = is_later(atime, mtime) && is_later(atime, ctime);
    int64_t age;
    const bool is_old =
        __builtin_sub_overflow(call->now.tv_sec, atime.tv_sec, &age) || age >= DAY_SECONDS;
    return !call->no_atime && (!is_read_already || is_old);
}

/* ---- SipHash-1-3 (Aumasson and Bernstein) ---- */

static uint64_t rotate(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t store_hash_name(const uint64_t key[2], struct store_name name)
{
    uint64_t v[4] = {
        key[0] ^ UINT64_C(0x736f6d6570736575),
        key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261),
        key[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t done = 0;
    for (; name.length - done >= 8; done += 8) {
        uint64_t word;
        memcpy(&word, name.bytes + done, sizeof(word));
        sip_word(v, word);
    }
    uint64_t last = 0;
    memcpy(&last, name.bytes + done, name.length - done);
    sip_word(v, last | (uint64_t)name.length << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
