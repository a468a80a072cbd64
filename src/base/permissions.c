#include "base/permissions.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool is_root(const struct credentials *who)
{
    return who->uid == 0;
}

bool permit_in_group(const struct credentials *who, uint32_t group)
{
    if (who->gid == group) {
        return true;
    }
    for (uint32_t i = 0; i < who->group_count; i++) {
        if (who->groups[i] == group) {
            return true;
        }
    }
    return false;
}

int permit_access(const struct permissions *of, const struct credentials *who, unsigned wanted)
{
    if (is_root(who)) {
        /* What nobody may execute is no program. */
        const bool can_execute = S_ISDIR(of->mode) || (of->mode & 0111) != 0;
        return (wanted & MAY_SEARCH) == 0 || can_execute ? 0 : -EACCES;
    }
    /* The first class that fits decides, also when a later one would allow more. */
    unsigned allowed = of->mode;
    if (who->uid == of->owner) {
        allowed = of->mode >> 6;
    } else if (permit_in_group(who, of->group)) {
        allowed = of->mode >> 3;
    }
    return (wanted & ~allowed) == 0 ? 0 : -EACCES;
}

int permit_owner(const struct permissions *of, const struct credentials *who)
{
    return is_root(who) || who->uid == of->owner ? 0 : -EPERM;
}

uint32_t permit_mode(const struct credentials *who, uint32_t mode, uint32_t group)
{
    return is_root(who) || permit_in_group(who, group) ? mode : mode & ~(uint32_t)S_ISGID;
}

uint32_t permit_new_mode(const struct permissions *directory, const struct credentials *who,
                         uint32_t mode)
{
    const uint32_t runs_as_group = S_ISGID | S_IXGRP;
    if (S_ISDIR(mode) || (directory->mode & S_ISGID) == 0 ||
        (mode & runs_as_group) != runs_as_group) {
        return mode;
    }
    return permit_mode(who, mode, directory->group);
}

int permit_new_type(const struct credentials *who, uint32_t mode, uint64_t device)
{
    /* Number 0 is no device: an overlay's mark for what is not there. */
    const bool is_device = S_ISBLK(mode) || (S_ISCHR(mode) && device != 0);
    return is_device && !is_root(who) ? -EPERM : 0;
}

int permit_chown(const struct permissions *of, const struct credentials *who, uint32_t owner,
                 uint32_t group)
{
    if (is_root(who)) {
        return 0;
    }
    const bool is_owner = who->uid == of->owner;
    if (owner != UINT32_MAX && (!is_owner || owner != of->owner)) {
        return -EPERM;
    }
    if (group != UINT32_MAX &&
        (!is_owner || (group != of->group && !permit_in_group(who, group)))) {
        return -EPERM;
    }
    return 0;
}

int permit_times(const struct permissions *of, const struct credentials *who, bool now)
{
    const int result = permit_owner(of, who);
    return result != 0 && now ? permit_access(of, who, MAY_WRITE) : result;
}

int permit_link(const struct permissions *of, const struct credentials *who)
{
    const bool is_privileged =
        (of->mode & S_ISUID) != 0 || (of->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    if (S_ISREG(of->mode) && !is_privileged && permit_access(of, who, MAY_READ | MAY_WRITE) == 0) {
        return 0;
    }
    return permit_owner(of, who);
}

int permit_remove(const struct permissions *directory, const struct permissions *of,
                  const struct credentials *who)
{
    const int result = permit_access(directory, who, MAY_WRITE | MAY_SEARCH);
    if (result != 0) {
        return result;
    }
    const bool is_sticky = (directory->mode & S_ISVTX) != 0;
    return is_sticky && who->uid != directory->owner ? permit_owner(of, who) : 0;
}

/* ---- extended attributes ---- */

static bool begins_with(const char *name, size_t length, const char *prefix)
{
    const size_t prefix_length = strlen(prefix);
    return length >= prefix_length && memcmp(name, prefix, prefix_length) == 0;
}

static bool has_user_attributes(uint32_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode);
}

int permit_get_xattr(const struct permissions *of, const struct credentials *who, const char *name,
                     size_t length)
{
    if (begins_with(name, length, "security.") || begins_with(name, length, "system.")) {
        return 0;
    }
    if (begins_with(name, length, "trusted.")) {
        return is_root(who) ? 0 : -ENODATA;
    }
    if (begins_with(name, length, "user.") && !has_user_attributes(of->mode)) {
        return -ENODATA;
    }
    return permit_access(of, who, MAY_READ);
}

int permit_set_xattr(const struct permissions *of, const struct credentials *who, const char *name,
                     size_t length)
{
    if (begins_with(name, length, "system.")) {
        return 0;
    }
    if (begins_with(name, length, "security.") || begins_with(name, length, "trusted.")) {
        return is_root(who) ? 0 : -EPERM;
    }
    if (begins_with(name, length, "user.")) {
        const bool is_sticky = S_ISDIR(of->mode) && (of->mode & S_ISVTX) != 0;
        if (!has_user_attributes(of->mode) || (is_sticky && permit_owner(of, who) != 0)) {
            return -EPERM;
        }
    }
    return permit_access(of, who, MAY_WRITE);
}

bool permit_list_xattr(const struct credentials *who, const char *name, size_t length)
{
    return is_root(who) || !begins_with(name, length, "trusted.");
}
