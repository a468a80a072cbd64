/* Stores of either kind for a test, the one in memory and the one in a directory of the host. */
#ifndef HF_TESTS_LIB_STORES_H
#define HF_TESTS_LIB_STORES_H

#include "lib/folder.h"
#include "store/store.h"

struct any_store {
    bool in_directory;
    struct store *store;
    char path[FOLDER_PATH_BYTES]; /* of its directory */
};

/* With a root of mode 0755 that is this process's. Fails the test if it cannot be made. */
void any_store_make(struct any_store *any, bool in_directory, const struct store_limits *limits,
                    const struct store_call *call);
/* Make it again from what is in its directory, after it was destroyed. */
void any_store_open(struct any_store *any, const struct store_limits *limits);
/* Count everything again. @holders: all there are, and how many. */
void any_store_check(const struct any_store *any, struct store_holder *const *holders,
                     size_t count);
/* Destroy it; nothing is left of it. */
void any_store_end(struct any_store *any);
/* Remove what is in a directory. */
void any_store_empty(const char *path);

/* A test for both, of a file that has these functions. */
#define IN_BOTH_STORES(test)                                                                       \
    {#test " in memory", test, set_up_in_memory, tear_down, NULL},                                 \
    {                                                                                              \
#test " in a directory", test, set_up_in_directory, tear_down, NULL                        \
    }

#endif
