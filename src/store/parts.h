/* What the implementations of a store share: limits, numbers, names. */
#ifndef HF_STORE_PARTS_H
#define HF_STORE_PARTS_H

#include "store/store.h"

void store_init(struct store *store, const struct store_ops *ops,
                const struct store_limits *limits);

/* Return: 0, or the errno of store_name's comment. */
int store_check_name(struct store_name name);

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

#endif
