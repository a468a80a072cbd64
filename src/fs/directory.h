/*
 * What is known of a directory's entries: dentries, found by name, and all of them in order
 * once the directory has been listed.
 *
 * Nothing in here locks: the inode's mutex covers it. Positions come from the names alone, so
 * that they mean the same to every client and stay what they are while entries come and go:
 * 0 is `.`, 1 is `..`, and every other entry has a number made from its name.
 */
#ifndef HF_FS_DIRECTORY_H
#define HF_FS_DIRECTORY_H

#include "fs/budget.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct inode;

/* The first position that is not that of `.` or `..`. */
#define DIRECTORY_FIRST_POSITION 2

/* How many names known not to exist a directory remembers. */
#define DIRECTORY_ABSENT_MAX 1024

enum dentry_kind {
    DENTRY_ABSENT,  /* there is no such entry */
    DENTRY_LISTED,  /* there is; number and type are known, the inode is not */
    DENTRY_PRESENT, /* there is, and this is its inode */
};

struct dentry {
    struct dentry *next; /* in the bucket */
    struct inode *inode; /* PRESENT: a reference of an entry */
    uint64_t hash;       /* of the name */
    off_t position;      /* in the order; set while indexed */
    ino_t number;        /* LISTED, PRESENT */
    enum dentry_kind kind;
    unsigned char type; /* LISTED, PRESENT: DT_REG ... */
    unsigned char length;
    bool indexed; /* it is in the order, and must not be freed before it */
    char name[];  /* with a NUL */
};

struct directory {
    struct budget *bytes; /* takes what all of this takes */
    struct dentry **buckets;
    size_t bucket_count; /* 0 or a power of two */
    size_t count;        /* dentries */
    size_t absent_count; /* of them ABSENT */
    uint64_t epoch;      /* that all of this is from; 0: nothing is known */
    bool complete;       /* every entry there is has a dentry */
    ino_t parent_number; /* while complete: what `..` is at the backend */
    bool searchable;     /* the backend has let us search it */
    bool access_known;   /* whether it has a default access list, */
    bool default_access; /* as this says */
    bool numbers_unsure; /* a listing's number was not that of the file */
    bool recently_used;  /* the listing, or what is absent, since the last trim */
    bool index_valid;    /* the order has all dentries but ABSENT ones */
    struct dentry **index;
    size_t index_count;
    size_t index_next; /* a guess: the place after the entry that was read last */
    size_t look_next;  /* a guess: the place of the LISTED one that is looked up next */
    size_t look_run;   /* how many were looked up in order */
    size_t look_given; /* the place after the last one that directory_look_ahead() gave */
};

void directory_init(struct directory *directory, struct budget *bytes);
void directory_deinit(struct directory *directory);

/* Forget everything. */
void directory_flush(struct directory *directory);

/* Forget everything that is not from @epoch. */
void directory_validate(struct directory *directory, uint64_t epoch);

/* What is known of @name. Return: NULL when nothing is. */
struct dentry *directory_find(const struct directory *directory, const char *name, size_t length);

/* Somebody was told what is not there, or what the listing says. */
static inline void directory_used(struct directory *directory)
{
    directory->recently_used = true;
}

/* Remember something of a name, instead of what was known before. Without memory for it
 * everything is forgotten, which is always right. */
void directory_set_present(struct directory *directory, const char *name, size_t length,
                           struct inode *inode); /* takes a reference of its own */
void directory_set_absent(struct directory *directory, const char *name, size_t length);

/* One entry of a listing in progress; what is known of its inode stays. Return: 0, -ENOMEM. */
int directory_add_listed(struct directory *directory, const char *name, ino_t number,
                         unsigned char type);

/* The listing is done: names without a dentry do not exist. */
void directory_set_complete(struct directory *directory);

/* Forget what happened to be known of one name. */
void directory_forget(struct directory *directory, const char *name, size_t length);

/* The first entry at @position, 2 or more, or after it. The directory is complete.
 * Return: 1, 0 at the end, -ENOMEM. */
int directory_entry_at(struct directory *directory, off_t position, const struct dentry **out);

/* @dentry, which is LISTED, is being looked up. If that goes in order, give what follows: the
 * longer it does the more, @most entries ahead at most, and none twice. Return: how many, from
 * *first on. */
size_t directory_look_ahead(struct directory *directory, const struct dentry *dentry, size_t most,
                            struct dentry *const **first);

/* The entry that is @inode, or that by its number may be. Return: NULL when none is known. */
const struct dentry *directory_find_inode(const struct directory *directory,
                                          const struct inode *inode);

/* Let go of what was not used since the last time: inodes; and the listing, unless it @is_open,
 * with the names that are known to be absent. */
void directory_trim(struct directory *directory, bool is_open);

#endif
