/*
 * A server with one store, and clients without a library.
 */
#ifndef HF_TESTS_LIB_SERVED_STAGE_H
#define HF_TESTS_LIB_SERVED_STAGE_H

#include "lib/folder.h"
#include "lib/raw_store.h"
#include "lib/test_server.h"
#include "store/store.h"

struct served_stage {
    struct test_server test;
    struct store *backing;
    char path[FOLDER_PATH_BYTES]; /* of the store, if it is in a directory */
    uint32_t store;               /* its number */
};

struct served_stage_options {
    uint64_t pages;
    uint64_t inodes;
    uint32_t mode; /* of the root directory, which is of this process's user */
    bool read_only;
    bool is_inexact;
    bool in_directory; /* without limits, and inexact */
    bool no_thread;    /* the test dispatches */
};

/* Between these two the configuration may be changed: stage->test.config. */
void served_stage_init(struct served_stage *stage);
void served_stage_start(struct served_stage *stage, const struct served_stage_options *options);

/* All clients have been closed: nothing of theirs is left. */
void served_stage_deinit(struct served_stage *stage);

/* A client whose process is another user's. */
void served_stage_join_as(struct served_stage *stage, struct raw_client *client, uid_t uid,
                          gid_t gid);

/* Count the store over again; for tests that dispatch, between dispatches. */
void served_stage_check(struct served_stage *stage);

#define OP(...) (&(struct wire_operation){.code = __VA_ARGS__})

/* The present. */
struct timespec served_now(void);

/* Make what @mode says in @directory, which the client holds EXCLUSIVE. Return: its number. */
uint64_t served_make_in(struct served_stage *stage, struct raw_client *client, uint64_t directory,
                        const char *name, uint32_t mode);

/* RESERVE. Return: what is reserved then. */
struct wire_reservation served_reserve_for(struct served_stage *stage, struct raw_client *client,
                                           uint64_t pages, uint64_t inodes, bool numbers);

#endif
