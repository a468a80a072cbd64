/*
 * Who may do what with a file, as Linux says it: by the owner, group and mode of the inode, and the
 * user and groups of whoever asks. User 0 has all capabilities, everybody else has none.
 *
 * Results are 0 or the negative errno that the system call gives.
 */
#ifndef HF_BASE_PERMISSIONS_H
#define HF_BASE_PERMISSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct credentials {
    uint32_t uid;
    uint32_t gid;
    const uint32_t *groups; /* besides gid */
    uint32_t group_count;
};

/* What of an inode it depends on. */
struct permissions {
    uint32_t mode; /* with the type */
    uint32_t owner;
    uint32_t group;
};

/* As in each class of a mode. */
#define MAY_READ 4u
#define MAY_WRITE 2u
#define MAY_SEARCH 1u /* or execute */

bool permit_in_group(const struct credentials *who, uint32_t group);

/* All of @wanted, MAY_x. Return: 0, -EACCES. */
int permit_access(const struct permissions *of, const struct credentials *who, unsigned wanted);

/* What only the owner may: chmod(2), times of his choice. Return: 0, -EPERM. */
int permit_owner(const struct permissions *of, const struct credentials *who);

/* The mode that chmod(2) sets when asked for @mode; @group: that the inode has then. */
uint32_t permit_mode(const struct credentials *who, uint32_t mode, uint32_t group);

/* The mode of what is made in @directory when asked for @mode. */
uint32_t permit_new_mode(const struct permissions *directory, const struct credentials *who,
                         uint32_t mode);

/* What mknod(2) may make. Return: 0, -EPERM. */
int permit_new_type(const struct credentials *who, uint32_t mode, uint64_t device);

/* chown(2); UINT32_MAX: no change. Return: 0, -EPERM. */
int permit_chown(const struct permissions *of, const struct credentials *who, uint32_t owner,
                 uint32_t group);

/* utimensat(2); @now: both times, to the present. Return: 0, -EACCES, -EPERM. */
int permit_times(const struct permissions *of, const struct credentials *who, bool now);

/* Giving the inode one more name, as where fs.protected_hardlinks is set: what is not one's own must be
 * a regular file without privileges that one may read and write. Return: 0, -EPERM. */
int permit_link(const struct permissions *of, const struct credentials *who);

/* Removing or renaming the entry @of @directory. Return: 0, -EACCES, -EPERM. */
int permit_remove(const struct permissions *directory, const struct permissions *of,
                  const struct credentials *who);

/* By the attribute's name. Return: 0, -EACCES, -EPERM, -ENODATA (as if it were not there). */
int permit_get_xattr(const struct permissions *of, const struct credentials *who, const char *name,
                     size_t length);
/* Setting and removing. Return: 0, -EACCES, -EPERM. */
int permit_set_xattr(const struct permissions *of, const struct credentials *who, const char *name,
                     size_t length);
/* Is the name listed? */
bool permit_list_xattr(const struct credentials *who, const char *name, size_t length);

/* Without CAP_FSETID: changing data takes S_ISUID and S_ISGID from a file. */
static inline bool permit_keeps_privileges(const struct credentials *who)
{
    return who->uid == 0;
}

#endif
