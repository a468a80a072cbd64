/*
 * A sparse array from 64-bit keys to pointers: a radix tree with 64 children a node. It costs what
 * is in it, wherever the keys are; key 0 alone costs no node at all. Neighbours are found in order.
 */
#ifndef HF_BASE_RADIX_H
#define HF_BASE_RADIX_H

#include <stdint.h>

struct radix {
    void *root;      /* the pointer under key 0 if height is 0, else a node */
    unsigned height; /* levels of nodes */
};

/* All zero is an empty tree. Neither pointer that is put may be NULL. */

/* Where the pointer under @key is; NULL when there is none. It may be changed there, but not to
 * NULL, until the tree changes. */
void **radix_slot(struct radix *tree, uint64_t key);

/* There is nothing under @key yet. Return: 0; -ENOMEM and nothing changed. */
int radix_put(struct radix *tree, uint64_t key, void *pointer);

/* There is something under @key. */
void radix_remove(struct radix *tree, uint64_t key);

/* The first pointer under a key that is not smaller, or not larger, than *key, which becomes its
 * key; NULL, and *key is anything, when there is none. */
void *radix_next(const struct radix *tree, uint64_t *key);
void *radix_previous(const struct radix *tree, uint64_t *key);

#endif
