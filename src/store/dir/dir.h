/*
 * The store in a directory of the host: what its files share.
 *
 * The host has the truth: what exists, modes, owners, sizes, data, attributes. In memory is what the
 * host has not: numbers, exact times, who holds what, positions in listings.
 *
 *   inode   what has a number: it has a name that was seen here, or it is held
 *   name    an entry of a directory that was seen here; leads to its inode
 *
 * An inode is reached by its descriptor if it has one, else by one of its names from its directory's.
 * What is found there must be the same inode (number and time of birth at the host), or somebody else
 * changed the directory: -ESTALE. What has no name any more keeps its descriptor until its last
 * release; of the others the longest unused lose theirs, over a bound.
 *
 * Paths, "..", symbolic links and mount points of the host are never followed.
 */
#ifndef HF_STORE_DIR_DIR_H
#define HF_STORE_DIR_DIR_H

#include "base/fork_guard.h"
#include "base/id_map.h"
#include "store/parts.h"
#include "base/radix.h"

#include <dirent.h>
#include <sys/stat.h>

/* At most so many descriptors are kept of what has a name; less where RLIMIT_NOFILE is low. */
#define DIR_MAX_OPEN 256

struct dir_store {
    struct store store;
    struct fork_guard guard; /* of all its descriptors */
    struct id_map inodes;    /* space 0, by number */
    struct id_map hosts;     /* space 0, by the host's inode number */
    struct id_map names;     /* space: the directory's number; object: the hash of the name */
    uint64_t hash_key[2];
    struct dir_inode *root;
    uint32_t device[2];  /* of the host: major, minor */
    uint64_t mount;      /* of the host */
    struct list open;    /* inodes with a descriptor and a name, the longest unused first */
    unsigned open_count; /* in that list */
    unsigned max_open;
    struct list changed; /* inodes whose times the host has not been told */
    uint64_t operation;  /* counts them */
    uint64_t synced;     /* all up to this one are on the host's disk */
    bool limits_pages, limits_inodes;
    char xattr_names[STORE_MAX_XATTR_LIST]; /* room for a list of them, so that none is missed */
};

/* What a descriptor is good for. */
enum dir_access {
    DIR_PATH, /* O_PATH; all that directories, links and special files ever have */
    DIR_READ,
    DIR_WRITE, /* and read */
};

struct dir_inode {
    struct id_map_node by_number;
    struct id_map_node by_host;
    struct list open;        /* in dir_store.open; in no list without a name, and the root */
    struct list changed;     /* in dir_store.changed */
    struct dir_name *names;  /* those known; a directory has at most one */
    struct dir_inode *below; /* open.c, on the way down */
    /* A directory that was removed and is held: the one it was in, which is held for that; or NULL. */
    struct dir_inode *was_in;
    uint64_t uses;
    uint64_t used_in;   /* the last operation that used the descriptor: stays open during it */
    uint64_t synced_in; /* a directory: names made up to this operation are on the disk */
    struct timespec atime, mtime, ctime, btime;
    struct timespec birth; /* as the host says: tells it from others with the same number */
    uint32_t mode;         /* as on the host */
    int fd;                /* -1: none */
    enum dir_access access;
    bool is_host;     /* by_host is in the map: the host may still have it */
    bool is_removed;  /* no name is left, which space.c has to know of */
    bool is_linkable; /* no name yet; link() may give it one */
    /* Directories: */
    bool is_counted, is_indexed;
    uint64_t entry_count;   /* if it is counted */
    struct radix entries;   /* if it is indexed: names by position */
    uint64_t next_position; /* never used twice */
};

struct dir_name {
    struct id_map_node node;
    struct dir_inode *inode;
    struct dir_name *next; /* of the inode's */
    uint64_t position;     /* 0: the directory is not indexed */
    uint64_t made_in;      /* the operation that made it; 0: it was found */
    uint8_t length;
    char text[]; /* and a NUL */
};

/* A name that a system call takes. */
struct dir_text {
    char bytes[STORE_MAX_NAME + 1];
};

/* Begins each operation. */
static inline struct dir_store *dir_begin(struct store *store)
{
    struct dir_store *dir =
        (struct dir_store *)(void *)((char *)store - offsetof(struct dir_store, store));
    dir->operation++;
    return dir;
}

static inline uint64_t dir_number(const struct dir_inode *inode)
{
    return inode->by_number.id.object;
}

/* ---- inodes and names: table.c ---- */

struct dir_inode *dir_find_inode(const struct dir_store *dir, uint64_t number);
/* Return: 0 with *out; -ESTALE, -ENOTDIR. */
int dir_find_directory(const struct dir_store *dir, uint64_t number, struct dir_inode **out);
/* Return: 0 with *out; -ESTALE, -EISDIR for a directory, -EINVAL for what is no regular file. */
int dir_find_file(const struct dir_store *dir, uint64_t number, struct dir_inode **out);
/* The inode that the host describes; NULL when it has no number yet. */
struct dir_inode *dir_find_host(struct dir_store *dir, const struct statx *status);
/* Is it that inode? */
bool dir_is_host(const struct dir_inode *inode, const struct statx *status);

/* An inode that is in no table; NULL without memory. */
struct dir_inode *dir_new_inode(void);
/* The host's file of this status has this number from now on. */
void dir_insert_inode(struct dir_store *dir, struct dir_inode *inode, uint64_t number,
                      const struct statx *status);
/* Free it, if it has no name and is not held. */
void dir_drop_inode(struct dir_store *dir, struct dir_inode *inode);

/* Its entries have no positions any more. */
void dir_drop_index(struct dir_inode *directory);

struct dir_text dir_text_of(struct store_name name);
struct dir_name *dir_find_name(const struct dir_store *dir, const struct dir_inode *directory,
                               struct store_name name);
/* An entry of @directory, at its newest position, that leads nowhere yet. NULL without memory. */
struct dir_name *dir_add_name(struct dir_store *dir, struct dir_inode *directory,
                              struct store_name name);
/* It leads to @inode from now on, or nowhere. */
void dir_attach_name(struct dir_store *dir, struct dir_name *name, struct dir_inode *inode);
void dir_detach_name(struct dir_store *dir, struct dir_name *name);
/* It leads nowhere; frees it. @directory may be NULL when it is gone. */
void dir_free_name(struct dir_store *dir, struct dir_inode *directory, struct dir_name *name);
/* @name takes the position of @old and @old is freed; both lead nowhere. */
void dir_replace_name(struct dir_store *dir, struct dir_inode *directory, struct dir_name *old,
                      struct dir_name *name);
/* Nobody removed @name here, but the host does not have it: what led there does so no more. */
void dir_lose_name(struct dir_store *dir, struct dir_inode *directory, struct store_name name);
/* The host has this file under @name. It gets a number if it has none. Return: 0 with *out; -ENOMEM. */
int dir_see(struct dir_store *dir, struct dir_inode *directory, struct store_name name,
            const struct statx *status, struct dir_inode **out);

/* ---- the host's descriptors: open.c ---- */

/* A descriptor that is good for @access, kept by the inode, and open until the operation ends.
 * Return: it; -ESTALE, -EACCES, or what else the host says. */
int dir_open(struct dir_store *dir, struct dir_inode *inode, enum dir_access access);
/* So that it can be used without a name: as good a descriptor as may be had. Return: 0, or why there
 * is none. */
int dir_pin(struct dir_store *dir, struct dir_inode *inode);
/* openat2() of one component, which is not followed; others lose their descriptors for it if need be.
 * Return: a descriptor, the caller's; a negative errno. */
int dir_open_at(struct dir_store *dir, int directory, const char *name, uint64_t flags);
/* A descriptor to read or sync what is in a directory; the caller's. */
int dir_open_entries(struct dir_store *dir, struct dir_inode *directory);
/* What was made a stream. */
void dir_close_stream(struct dir_store *dir, DIR *stream);
/* It has this descriptor from now on. */
void dir_keep(struct dir_store *dir, struct dir_inode *inode, int fd, enum dir_access access);
void dir_close(struct dir_store *dir, struct dir_inode *inode);
/* It came to have a name, or to have none. */
void dir_is_named(struct dir_store *dir, struct dir_inode *inode, bool named);

/* Return: 0; a negative errno, -EXDEV for what is of another mount. */
int dir_stat_at(const struct dir_store *dir, int directory, const char *name, struct statx *status);
int dir_stat_descriptor(int fd, struct statx *status);
int dir_stat(struct dir_store *dir, struct dir_inode *inode, struct statx *status);

/* What a path-taking call can be given for a descriptor. */
struct dir_proc_path {
    char bytes[32];
};
struct dir_proc_path dir_proc_path(int fd);

/* ---- attributes and times: attributes.c ---- */

void dir_show(struct dir_store *dir, struct dir_inode *inode, const struct statx *status,
              struct store_attributes *out);
int dir_set_attributes(struct store *store, const struct store_call *call, uint64_t number,
                       uint32_t mask, const struct store_attributes *values);
/* Set the 07777 of it, through any descriptor. */
int dir_set_mode(int fd, uint32_t mode);
/* It is about to be changed, and was or was not: the set-id bits, and capabilities if they are paid
 * for. */
int dir_begin_change(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode,
                     int fd);
void dir_end_change(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode,
                    int fd, bool happened);

/* Its data or entries changed; its attributes did; it was read. */
void dir_changed(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode);
void dir_attributes_changed(struct dir_store *dir, const struct store_call *call,
                            struct dir_inode *inode);
void dir_touch_inode(struct dir_store *dir, const struct store_call *call, struct dir_inode *inode);
/* The host's times of it are no longer those in memory. */
void dir_mark_changed(struct dir_store *dir, struct dir_inode *inode);
/* Tell the host its times, if it does not know them. */
void dir_flush_times(struct dir_store *dir, struct dir_inode *inode);

/* ---- space: space.c ---- */

/* How many pages of a file exist in [first, end), up to its size. */
uint64_t dir_count_pages(int fd, uint64_t first, uint64_t end);
/* Go from page @first to *end, or as far as no more than @budget pages are missing, which is the new
 * *end. Return: how many are missing. */
uint64_t dir_missing_pages(int fd, uint64_t first, uint64_t *end, uint64_t budget);
/* Does the host say which pages are only allocated? */
bool dir_knows_allocated(int fd);
/* What an inode costs beside itself; of data that may not be read it is a guess. */
uint64_t dir_pages_of(struct dir_store *dir, int fd, bool is_readable, const struct statx *status);
/* The same for what is under a name. Return: 0 with *pages; a negative errno. */
int dir_pages_at(struct dir_store *dir, int directory, const char *name, const struct statx *status,
                 uint64_t *pages);
/* What everything in the root costs, itself included: count.c. Return: 0; a negative errno. */
int dir_count_tree(struct dir_store *dir, uint64_t *pages, uint64_t *inodes);

/* These do nothing where there is no limit, and believe nothing that somebody else may have changed. */
int dir_charge_inodes(struct dir_store *dir, const struct store_call *call, uint64_t count,
                      struct store_charge *charge);
void dir_uncharge_inodes(struct dir_store *dir, const struct store_call *call,
                         struct store_charge charge);
int dir_charge_pages(struct dir_store *dir, const struct store_call *call, uint64_t count,
                     struct store_charge *charge);
/* Of @charge only @used pages came to be. */
void dir_settle_pages(struct dir_store *dir, const struct store_call *call,
                      struct store_charge charge, uint64_t used);
void dir_free_pages(struct dir_store *dir, uint64_t count);
void dir_free_inodes(struct dir_store *dir, uint64_t count);

/* ---- names.c ---- */

/* What is about to lose a name. */
struct dir_victim {
    struct dir_inode *inode; /* NULL: it has no number */
    struct dir_inode *directory;
    bool is_last;   /* it has no other name */
    uint64_t pages; /* that come back with the name */
};

/* Everything that may fail about it, ahead. */
int dir_prepare_victim(struct dir_store *dir, struct dir_inode *directory, int directory_fd,
                       const char *text, const struct statx *status, struct dir_victim *victim);
/* The host took the name away, and it leads nowhere any more. */
void dir_commit_victim(struct dir_store *dir, const struct store_call *call,
                       const struct dir_victim *victim);
/* @error, unless the name is there, which is said first: -EEXIST. */
int dir_refuse(const struct dir_store *dir, int directory, const char *text, int error);
/* The directory in which an entry is to be found; or is to be made, which is not there as far as is
 * known. Return: its descriptor; -ESTALE, -ENOTDIR, -ENOENT, -EEXIST, or as store_check_name(). */
int dir_open_parent(struct dir_store *dir, uint64_t directory, struct store_name name,
                    struct dir_inode **out);
int dir_open_for_new(struct dir_store *dir, uint64_t directory, struct store_name name,
                     struct dir_inode **out);

/* linkat() of what has this descriptor: make.c. */
int dir_link_descriptor(int fd, int directory, const char *text);

/* ---- list.c ---- */

/* Count the entries, if it is not known how many there are. */
void dir_count_entries(struct dir_store *dir, struct dir_inode *directory);
/* So many more, or fewer. */
void dir_entries_changed(struct dir_inode *directory, int difference);

/* ---- xattr.c ---- */

/* What the attributes of what has this descriptor cost. */
uint64_t dir_xattr_pages(struct dir_store *dir, int fd);
/* Remove security.capability, if it has it. */
int dir_drop_capability(struct dir_store *dir, int fd);

/* ---- the operations ---- */

int dir_lookup(struct store *store, uint64_t directory, struct store_name name,
               struct store_attributes *out);
int dir_list(struct store *store, const struct store_call *call, uint64_t directory,
             uint64_t position, store_entry_function *entry, void *context);
int dir_make(struct store *store, const struct store_call *call, uint64_t directory,
             struct store_name name, const struct store_new *what, struct store_attributes *out);
int dir_make_unnamed(struct store *store, const struct store_call *call, uint64_t directory,
                     const struct store_new *what, bool linkable, struct store_attributes *out);
int dir_link(struct store *store, const struct store_call *call, uint64_t number,
             uint64_t directory, struct store_name name);
int dir_unlink(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name);
int dir_remove_directory(struct store *store, const struct store_call *call, uint64_t directory,
                         struct store_name name);
int dir_rename(struct store *store, const struct store_call *call, uint64_t directory,
               struct store_name name, uint64_t new_directory, struct store_name new_name,
               unsigned flags);
int64_t dir_read(struct store *store, const struct store_call *call, uint64_t number,
                 int64_t offset, void *buffer, size_t size);
int64_t dir_write(struct store *store, const struct store_call *call, uint64_t number,
                  int64_t offset, const void *data, size_t size);
int dir_allocate(struct store *store, const struct store_call *call, uint64_t number, int mode,
                 int64_t offset, int64_t length);
int64_t dir_seek(struct store *store, uint64_t number, int64_t offset, int whence);
int64_t dir_copy(struct store *store, const struct store_call *call, uint64_t from,
                 int64_t from_offset, uint64_t to, int64_t to_offset, size_t size);
int64_t dir_get_xattr(struct store *store, uint64_t number, struct store_name name, void *value,
                      size_t size);
int dir_set_xattr(struct store *store, const struct store_call *call, uint64_t number,
                  struct store_name name, const void *value, size_t size, int flags);
int64_t dir_list_xattrs(struct store *store, uint64_t number, char *names, size_t size);
int dir_remove_xattr(struct store *store, const struct store_call *call, uint64_t number,
                     struct store_name name);

/* Count everything again, on the host too, and assert that it is as it is kept; for tests. */
void dir_check(struct store *store, struct store_holder *const *holders, size_t count);

#endif
