/* What the implementations of a store share: limits, numbers, rules. */
#ifndef HF_STORE_PARTS_H
#define HF_STORE_PARTS_H

#include "store/store.h"

void store_init(struct store *store, const struct store_ops *ops,
                const struct store_limits *limits);

/* A shorter target of a link has no page. */
#define STORE_SHORT_TARGET 128

/* What tmpfs shows as the size of a directory and of an entry. */
#define STORE_DIRECTORY_SIZE 40
#define STORE_ENTRY_SIZE 20

#define STORE_SET_SIZES (STORE_SET_SIZE | STORE_SET_NAMED_SIZE)

/* What an operation was charged, to be taken back when it fails after all. */
struct store_charge {
    uint64_t free, reserved; /* taken from what was free, and from the reservation */
};

/* Take @count from the reservation of the call's holder and from what is free, and note it in
 * @charge, which may have some already. Return: 0, -ENOSPC and nothing was taken. */
int store_charge_pages(struct store *store, const struct store_call *call, uint64_t count,
                       struct store_charge *charge);
int store_charge_inodes(struct store *store, const struct store_call *call, uint64_t count,
                        struct store_charge *charge);
void store_uncharge_pages(struct store *store, const struct store_call *call,
                          struct store_charge charge);
void store_uncharge_inodes(struct store *store, const struct store_call *call,
                           struct store_charge charge);

/* How many pages an operation of this call may cost at most. */
uint64_t store_available_pages(const struct store *store, const struct store_call *call);

/* What exists no more. */
void store_free_pages(struct store *store, uint64_t count);
void store_free_inodes(struct store *store, uint64_t count);

/* Which number a new inode gets that shall have @wanted (0: any). It is not spent yet. Return: 0 with
 * *number, -EPROTO. */
int store_choose_number(struct store *store, const struct store_call *call, uint64_t wanted,
                        uint64_t *number);
/* The number that was chosen with the same @wanted is an inode's. */
void store_spend_number(struct store *store, const struct store_call *call, uint64_t wanted,
                        uint64_t number);

/* ---- rules.c ---- */

/* Return: 0, or the errno of store_name's comment. */
int store_check_name(struct store_name name);
/* Return: 0; -EINVAL, -ENOENT, -ENAMETOOLONG for the mode and the target. */
int store_check_new(const struct store_new *what);
/* May @mask be set to what has this mode? Return: 0, -EINVAL, -EISDIR, -EOPNOTSUPP. */
int store_check_attributes(uint32_t mode, uint32_t mask, const struct store_attributes *values);
/* The mode of a file that somebody without privileges changed. */
uint32_t store_without_privileges(uint32_t mode);

/* The pages that so many bytes of attributes cost. */
uint64_t store_xattr_pages(uint64_t bytes);
/* May what has this mode have the attribute? Return: 0; -ERANGE, -EINVAL, -EOPNOTSUPP; @no_user for
 * a user. attribute of what has none. */
int store_check_xattr_name(uint32_t mode, struct store_name name, int no_user);

/* Does reading what has these times move the first: relatime. */
bool store_moves_atime(const struct store_call *call, struct timespec atime, struct timespec mtime,
                       struct timespec ctime);

/* With a key that is secret, so that nobody makes names that collide. */
uint64_t store_hash_name(const uint64_t key[2], struct store_name name);

#endif
