/*
 * A store: the data of one served mount, as the server keeps it.
 *
 * Operations go by inode number and single names, never by path. Numbers are never used twice in a
 * store's life; 0 is none. The store decides what exists, what a change does to link counts, sizes
 * and times, and what fits. Who may do it is the server's matter: nothing here looks at credentials.
 *
 * All calls come from one thread, none waits, and none trusts its arguments: any number, name,
 * offset, mode or flag is answered with an errno at worst. Every operation is all or nothing, with
 * or without memory. Results are 0 or more, or a negative errno, the one that Linux gives on tmpfs;
 * and besides, from every operation:
 *
 *   -ESTALE  there is no inode with that number (any more)
 *   -ENOMEM  the server has no memory
 *   -ENOSPC  the limits, see below
 *   -EPROTO  the caller broke a rule of this interface: a number that was not granted or is spent,
 *            a release of what is not held
 *
 * SPACE. Data is counted in pages of 4 KiB that exist, not in bytes written. What costs a page:
 * each page of a file that was written or allocated; a symbolic link whose target has 128 bytes or
 * more; extended attributes of an inode beyond STORE_FREE_XATTR_BYTES, as many as their names and
 * values fill. What costs an inode: each inode, and each name beyond the first of one that is no
 * directory, as on tmpfs. Nothing else costs anything; directory entries are paid for with the
 * inodes.
 *
 * A client that works ahead of the server has space reserved. Used and reserved together never
 * exceed the limit. An operation takes what it costs from what is free or, with `from_reserved`, from
 * its holder's reservation, never from both: so a client that counts what it spends knows what it has
 * left. It fails with -ENOSPC exactly when it costs more than is there. What an operation gives back
 * becomes free and does not return to a reservation. Reading, and all that only gives back, never fails for space.
 */
#ifndef HF_STORE_STORE_H
#define HF_STORE_STORE_H

#include "base/list.h"

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define STORE_PAGE_SIZE 4096
/* Sizes and ends of ranges are at most this. */
#define STORE_MAX_SIZE INT64_MAX
#define STORE_ROOT 1
#define STORE_MAX_NAME 255
#define STORE_MAX_TARGET 4095
#define STORE_MAX_XATTR_NAME 255
#define STORE_MAX_XATTR_VALUE 65536
/* All names of one inode's attributes, each with its NUL, so that they can be listed. */
#define STORE_MAX_XATTR_LIST 65536
/* That much of an inode's attributes, names with their NUL and values, costs no page. */
#define STORE_FREE_XATTR_BYTES 1024

/* How many numbers are granted together, and to one holder before it uses any. */
#define STORE_NUMBERS_GRANTED 64
#define STORE_MAX_NUMBERS (1024 * STORE_NUMBERS_GRANTED)

struct store;

/* Bytes from anywhere; not ended by a NUL. As the name of an entry it must have 1 to 255 bytes
 * (-ENOENT, -ENAMETOOLONG), none of them '/' or NUL, and be neither "." nor ".." (-EINVAL). */
struct store_name {
    const char *bytes;
    size_t length;
};

#define STORE_NO_LIMIT UINT64_MAX

struct store_limits {
    uint64_t bytes; /* rounded up to whole pages */
    uint64_t inodes;
};

/* What is set aside for one client. The caller embeds it and owes store_holder_deinit(). */
struct store_holder {
    struct store *store;
    uint64_t pages;
    uint64_t inodes;
    size_t number_blocks;
    struct list numbers; /* blocks of granted numbers that are not all spent */
};

/* Goes with each operation that changes something. */
struct store_call {
    /* The time of the operation: a client may have shown it to its callers already. */
    struct timespec now;
    struct store_holder *holder; /* who does it; NULL: nobody that has numbers or space */
    bool from_reserved;          /* @holder pays for it from what it reserved */
    /* Without CAP_FSETID: changing a file's data takes S_ISUID from it, and S_ISGID if its group may
     * execute it. */
    bool drop_privileges;
    bool no_atime; /* reading does not move the access time */
};

struct store_attributes {
    uint64_t number;
    uint64_t size; /* directory: 40 and 20 for each entry; link: of its target */
    uint64_t pages;
    uint64_t device; /* of a device file; in the caller's own encoding */
    uint32_t mode;   /* with the type */
    uint32_t links;
    uint32_t owner;
    uint32_t group;
    struct timespec atime, mtime, ctime, btime;
};

/* What set_attributes() shall set; OR them together. The change time moves with all of them. */
enum {
    STORE_SET_MODE = 1,  /* the 07777 of mode */
    STORE_SET_OWNER = 2, /* owner and group, UINT32_MAX for no change; as chown(2) it takes S_ISUID,
                            and S_ISGID from what the group may execute, but not from directories */
    STORE_SET_SIZE = 4,  /* as ftruncate(2): moves the modification time, whatever size it was */
    STORE_SET_NAMED_SIZE = 8, /* as truncate(2): leaves the times of what has that size already */
    STORE_SET_ATIME = 16,
    STORE_SET_MTIME = 32,
    STORE_SET_ALL = 63,
};

/* What make() shall make. In a directory with S_ISGID the group is the directory's, and a new
 * directory has the bit as well. */
struct store_new {
    uint64_t number; /* one that was granted to the holder; 0: the store takes one */
    uint32_t mode;   /* with the type; sockets, pipes and devices too */
    uint32_t owner;
    uint32_t group;
    uint64_t device;
    struct store_name target; /* of a symbolic link: 1 to 4,095 bytes without a NUL */
};

struct store_usage {
    uint64_t pages, free_pages; /* all there may be; neither used nor reserved */
    uint64_t inodes, free_inodes;
};

/* Takes one entry of a listing; @position: where a listing goes on behind it. The store must not be
 * called meanwhile. Any other result than 0 ends the listing in front of this entry. */
typedef int store_entry_function(void *context, struct store_name name, uint64_t number,
                                 uint32_t type, uint64_t position);

struct store_ops {
    /* ---- looking ---- */

    int (*get_attributes)(struct store *store, uint64_t number, struct store_attributes *out);
    /* -ENOENT, -ENOTDIR. */
    int (*lookup)(struct store *store, uint64_t directory, struct store_name name,
                  struct store_attributes *out);
    /* The directory a directory is in; the root is in itself. One that was removed, and is held, is in
     * the directory that it was in last, which lives as long. */
    int (*parent)(struct store *store, uint64_t directory, uint64_t *out);
    /* The entries behind @position, newest first; 0: all. Positions stay good while entries come and
     * go: what was there all the time is listed exactly once, under its old name or its new one if
     * it was renamed in the directory, and what came meanwhile is not. -ENOENT when the directory
     * was removed; else what @entry returned last, 0 without entries. */
    int (*list)(struct store *store, const struct store_call *call, uint64_t directory,
                uint64_t position, store_entry_function *entry, void *context);
    /* Return: the length that @buffer has of the target. -EINVAL when it is no link. */
    int64_t (*read_link)(struct store *store, const struct store_call *call, uint64_t number,
                         char *buffer, size_t size);

    /* ---- using: an inode lives while it has a name or is held ---- */

    int (*hold)(struct store *store, uint64_t number);
    /* Once for each hold(). The last one of an inode without names frees it and its space. */
    int (*release)(struct store *store, uint64_t number);
    /* Somebody read it without asking the store: moves the access time, as relatime says. */
    int (*touch)(struct store *store, const struct store_call *call, uint64_t number);

    /* ---- attributes ---- */

    /* @mask: STORE_SET_x. -EINVAL for a size that is over STORE_MAX_SIZE or for what has none,
     * -EISDIR; -EOPNOTSUPP for the mode of a symbolic link. Never -ENOSPC: a file grows by a hole. */
    int (*set_attributes)(struct store *store, const struct store_call *call, uint64_t number,
                          uint32_t mask, const struct store_attributes *values);

    /* ---- names. @out may be NULL ---- */

    /* -EEXIST; -ENOENT in a directory that was removed; -ENAMETOOLONG, -EINVAL for the target and
     * for what is no type. Costs an inode, and for a long target a page. */
    int (*make)(struct store *store, const struct store_call *call, uint64_t directory,
                struct store_name name, const struct store_new *what, struct store_attributes *out);
    /* A regular file without a name, as with O_TMPFILE; @linkable: link() may give it one. It is
     * held once, which the caller gives back. Costs an inode. */
    int (*make_unnamed)(struct store *store, const struct store_call *call, uint64_t directory,
                        const struct store_new *what, bool linkable, struct store_attributes *out);
    /* -EEXIST, -EPERM for directories, -ENOENT for what lost its last name, -EMLINK. Costs an inode,
     * but for the first name of a file. */
    int (*link)(struct store *store, const struct store_call *call, uint64_t number,
                uint64_t directory, struct store_name name);
    /* -ENOENT, -EISDIR. */
    int (*unlink)(struct store *store, const struct store_call *call, uint64_t directory,
                  struct store_name name);
    /* -ENOENT, -ENOTDIR, -ENOTEMPTY. */
    int (*remove_directory)(struct store *store, const struct store_call *call, uint64_t directory,
                            struct store_name name);
    /* As renameat2(2) with @flags 0, RENAME_NOREPLACE or RENAME_EXCHANGE; others are -EINVAL, and so
     * is a directory that would be below itself. Costs nothing. */
    int (*rename)(struct store *store, const struct store_call *call, uint64_t directory,
                  struct store_name name, uint64_t new_directory, struct store_name new_name,
                  unsigned flags);

    /* ---- data of regular files; -EISDIR for a directory and -EINVAL for others ---- */

    /* Return: how much; less than @size only at the end. Holes are zeros. */
    int64_t (*read)(struct store *store, const struct store_call *call, uint64_t number,
                    int64_t offset, void *buffer, size_t size);
    /* Return: how much; less than @size only when that is all that there was space for (then
     * -ENOSPC when it is nothing) or that fits below STORE_MAX_SIZE (-EFBIG). */
    int64_t (*write)(struct store *store, const struct store_call *call, uint64_t number,
                     int64_t offset, const void *data, size_t size);
    /* As fallocate(2) with @mode: 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE with
     * FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE with or without; others are -EOPNOTSUPP. Costs the
     * pages that were not there: all or -ENOSPC. A page that was only allocated reads as zeros and is
     * a hole to seek(). (tmpfs itself refuses FALLOC_FL_ZERO_RANGE.) */
    int (*allocate)(struct store *store, const struct store_call *call, uint64_t number, int mode,
                    int64_t offset, int64_t length);
    /* SEEK_DATA or SEEK_HOLE from @offset on, in whole pages. -ENXIO, -EINVAL. */
    int64_t (*seek)(struct store *store, uint64_t number, int64_t offset, int whence);
    /* As copy_file_range(2); what is a hole there is data here, as on tmpfs. Return as of write();
     * 0 at the end of @from; -EINVAL when the ranges overlap. */
    int64_t (*copy)(struct store *store, const struct store_call *call, uint64_t from,
                    int64_t from_offset, uint64_t to, int64_t to_offset, size_t size);

    /* ---- extended attributes: user. of files and directories, trusted., security. ---- */

    /* With @size 0 the length alone. -ENODATA, -ERANGE, -EOPNOTSUPP for other names. */
    int64_t (*get_xattr)(struct store *store, uint64_t number, struct store_name name, void *value,
                         size_t size);
    /* As setxattr(2) with its flags. -E2BIG for the value; -ENOSPC too when the list would be too
     * long. */
    int (*set_xattr)(struct store *store, const struct store_call *call, uint64_t number,
                     struct store_name name, const void *value, size_t size, int flags);
    /* All names, each with a NUL; with @size 0 the length alone. -ERANGE. */
    int64_t (*list_xattrs)(struct store *store, uint64_t number, char *names, size_t size);
    int (*remove_xattr)(struct store *store, const struct store_call *call, uint64_t number,
                        struct store_name name);

    /* What was done so far outlives the server as well as it ever will: one inode, or with 0 all. */
    int (*sync)(struct store *store, uint64_t number);

    /* NULL, or: set in @usage, which has the limits' numbers, what is not limited but by the host. */
    void (*get_host_usage)(const struct store *store, struct store_usage *usage);

    /* All holders are gone. Frees the store. */
    void (*destroy)(struct store *store);
};

/* So much of something there may be. */
struct store_quota {
    uint64_t limit;
    uint64_t used;
    uint64_t reserved; /* used + reserved <= limit */
};

/* Embedded in what an implementation keeps of itself. */
struct store {
    const struct store_ops *ops;
    struct store_quota pages;
    struct store_quota inodes;
    uint64_t next_number; /* never granted so far */
    uint64_t own_number;  /* the store's own grant: next one, and its end */
    uint64_t own_end;
};

/* A store in the server's memory, which has both limits, with an empty root directory of that mode and owner. At least one
 * inode is needed, for the root. Return: 0; -EINVAL; -ENOMEM. */
int ram_store_new(const struct store_limits *limits, const struct store_call *call, uint32_t mode,
                  uint32_t owner, uint32_t group, struct store **out);

/*
 * A store in a directory of the host that nobody else changes meanwhile. The directory is a mirror:
 * what is in it is in the store, and what is made in the store is there as ordinary files, with the
 * same names, modes, owners and attributes. Nothing else is put there, so there is nothing to repair
 * after a crash.
 *
 * @directory: a descriptor of it, O_PATH will do; the store's on success, closed by destroy()
 * @limits: STORE_NO_LIMIT for what is limited by the host alone; store_get_usage() says then what the
 *     host has. With limits everything is counted at the start, and what was there counts.
 *
 * What is special about it:
 *  - What the host refuses is refused: -EACCES for files that this process may not open, -EPERM for
 *    other owners without CAP_CHOWN, -EROFS, -EDQUOT, -EIO, -ENOSPC although the limits have room,
 *    -EFBIG for its own longest file, its own bounds on attributes, -EMFILE for what would have to
 *    stay open and cannot. store_new.device is a dev_t.
 *  - It stays on one mount: -EXDEV for what is mounted below, which is not listed either.
 *  - What somebody else replaced is -ESTALE for those who have its number, never another file.
 *    What somebody else makes is found by lookup(), and by list() unless it had listed the directory.
 *  - Change times and the birth times of what was made here are exact until the end of the store;
 *    the host has its own. Access and modification times are put on the host at sync(), at the last
 *    release, and now and then; all of them at destroy().
 *  - An inode that was seen once, by lookup() or list(), takes some 400 bytes until it is gone; 256
 *    descriptors at most are kept, or a quarter of RLIMIT_NOFILE, and one for each inode that is held
 *    and has no name.
 *  - With a limit on bytes, FALLOC_FL_KEEP_SIZE sets nothing aside behind the end of a file, and
 *    allocating is -EOPNOTSUPP where the host has no FIEMAP, such as tmpfs.
 *
 * Return: 0; -ENOTDIR; -ENOSPC when more is there than the limits allow; -ENOMEM; what the host says.
 * On error the descriptor stays the caller's.
 */
int dir_store_new(int directory, const struct store_limits *limits, struct store **out);

/* ---- the same for all stores ---- */

void store_holder_init(struct store_holder *holder, struct store *store);
/* All that it had reserved is free again, and its numbers are never used. */
void store_holder_deinit(struct store_holder *holder);

/* Set aside @bytes (rounded up to pages) and @inodes for operations of this holder. Both or neither:
 * -ENOSPC. */
int store_reserve(struct store_holder *holder, uint64_t bytes, uint64_t inodes);
/* Free again what is left, up to @bytes (rounded up to pages) and @inodes. */
void store_unreserve(struct store_holder *holder, uint64_t bytes, uint64_t inodes);

/* The numbers *first to *first + STORE_NUMBERS_GRANTED - 1 are the holder's, to make inodes with, in
 * any order. That there is room for the inodes is not said. -EDQUOT over STORE_MAX_NUMBERS; -ENOMEM. */
int store_grant_numbers(struct store_holder *holder, uint64_t *first);

void store_get_usage(const struct store *store, struct store_usage *out);

#endif
