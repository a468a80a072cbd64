#include "base/radix.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define RADIX_BITS 6
#define RADIX_SLOTS (1U << RADIX_BITS)
#define RADIX_MAX_HEIGHT 11 /* 66 bits */

struct radix_node {
    unsigned count; /* slots that are not NULL; 0 only while it is being made */
    void *slots[RADIX_SLOTS];
};

static bool covers(const struct radix *tree, uint64_t key)
{
    return tree->height >= RADIX_MAX_HEIGHT || key >> (tree->height * RADIX_BITS) == 0;
}

/* The slot of @key in a node that has @level - 1 levels of nodes below it. */
static unsigned slot_index(uint64_t key, unsigned level)
{
    return (unsigned)(key >> ((level - 1) * RADIX_BITS)) & (RADIX_SLOTS - 1);
}

void **radix_slot(struct radix *tree, uint64_t key)
{
    if (!covers(tree, key)) {
        return NULL;
    }
    void **slot = &tree->root;
    for (unsigned level = tree->height; level > 0 && *slot != NULL; level--) {
        slot = &((struct radix_node *)*slot)->slots[slot_index(key, level)];
    }
    return *slot == NULL ? NULL : slot;
}

/* Free the nodes on the way to @key that have nothing in them, and those on top that have only a
 * first child. */
static void prune(struct radix *tree, uint64_t key)
{
    struct radix_node *path[RADIX_MAX_HEIGHT + 1];
    unsigned level = tree->height;
    void *item = tree->root;
    while (level > 0 && item != NULL) {
        path[level] = item;
        item = path[level]->slots[slot_index(key, level)];
        level--;
    }
    if (item == NULL) {
        level++;
    }
    for (; level >= 1 && level <= tree->height && path[level]->count == 0; level++) {
        free(path[level]);
        if (level == tree->height) {
            *tree = (struct radix){0};
            return;
        }
        path[level + 1]->slots[slot_index(key, level + 1)] = NULL;
        path[level + 1]->count--;
    }
    while (tree->height > 0) {
        struct radix_node *root = tree->root;
        if (root->count != 1 || root->slots[0] == NULL) {
            return;
        }
        tree->root = root->slots[0];
        tree->height--;
        free(root);
    }
}

/* Put nodes on top until @key has a place. */
static int grow(struct radix *tree, uint64_t key)
{
    while (!covers(tree, key)) {
        if (tree->root != NULL) {
            struct radix_node *node = calloc(1, sizeof(*node));
            if (node == NULL) {
                return -ENOMEM;
            }
            node->slots[0] = tree->root;
            node->count = 1;
            tree->root = node;
        }
        tree->height++;
    }
    return 0;
}

int radix_put(struct radix *tree, uint64_t key, void *pointer)
{
    assert(pointer != NULL);
    if (grow(tree, key) < 0) {
        prune(tree, 0);
        return -ENOMEM;
    }
    struct radix_node *parent = NULL;
    void **slot = &tree->root;
    for (unsigned level = tree->height; level > 0; level--) {
        if (*slot == NULL) {
            *slot = calloc(1, sizeof(struct radix_node));
            if (*slot == NULL) {
                if (tree->root == NULL) {
                    tree->height = 0;
                } else {
                    prune(tree, key);
                }
                return -ENOMEM;
            }
            if (parent != NULL) {
                parent->count++;
            }
        }
        parent = *slot;
        slot = &parent->slots[slot_index(key, level)];
    }
    assert(*slot == NULL);
    *slot = pointer;
    if (parent != NULL) {
        parent->count++;
    }
    return 0;
}

void radix_remove(struct radix *tree, uint64_t key)
{
    struct radix_node *parent = NULL;
    void **slot = &tree->root;
    for (unsigned level = tree->height; level > 0; level--) {
        parent = *slot;
        slot = &parent->slots[slot_index(key, level)];
    }
    assert(*slot != NULL);
    *slot = NULL;
    if (parent == NULL) {
        return;
    }
    parent->count--;
    if (parent->count <= 1) {
        prune(tree, key);
    }
}

/* Both walk on a *key that moves to the border of each slot that has nothing; a node that has
 * nothing more leaves it at the border of itself, which is the next slot of the one above. */
static void *next_in(void *item, unsigned level, uint64_t *key)
{
    if (level == 0) {
        return item;
    }
    const struct radix_node *node = item;
    const unsigned shift = (level - 1) * RADIX_BITS;
    for (unsigned i = slot_index(*key, level); i < RADIX_SLOTS; i++) {
        if (node->slots[i] == NULL) {
            *key = ((*key >> shift) + 1) << shift;
            continue;
        }
        void *found = next_in(node->slots[i], level - 1, key);
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

static void *previous_in(void *item, unsigned level, uint64_t *key)
{
    if (level == 0) {
        return item;
    }
    const struct radix_node *node = item;
    const unsigned shift = (level - 1) * RADIX_BITS;
    for (unsigned i = slot_index(*key, level) + 1; i-- > 0;) {
        if (node->slots[i] == NULL) {
            *key = ((*key >> shift) << shift) - 1;
            continue;
        }
        void *found = previous_in(node->slots[i], level - 1, key);
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

void *radix_next(const struct radix *tree, uint64_t *key)
{
    return tree->root == NULL || !covers(tree, *key) ? NULL
                                                     : next_in(tree->root, tree->height, key);
}

void *radix_previous(const struct radix *tree, uint64_t *key)
{
    if (tree->root == NULL) {
        return NULL;
    }
    if (!covers(tree, *key)) {
        *key = (UINT64_C(1) << (tree->height * RADIX_BITS)) - 1;
    }
    return previous_in(tree->root, tree->height, key);
}
