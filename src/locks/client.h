/*
 * The client's side of file locks: what this process has, and the tables that it has to itself. No
 * I/O, no clock, no threads: whoever uses it serialises the calls.
 *
 * For each file that it ever locked the client keeps its own locks (its view), except those of open
 * files that other processes share, which only the server knows. With a grant the view is the
 * file's table. Without one every request goes to the server, and the view follows the answers,
 * in their order.
 */
#ifndef HF_LOCKS_CLIENT_H
#define HF_LOCKS_CLIENT_H

#include "base/id_map.h"
#include "base/list.h"
#include "locks/lock.h"
#include "wire/operations.h"

/* Locks that one client has in all its views; more is -ENOLCK. The server cuts off who returns more. */
#define LOCKS_CLIENT_MAX 65536
/* Tables without locks that are kept for the next time. */
#define LOCKS_CLIENT_IDLE_MAX 1024

/* One file. */
struct lock_view {
    struct id_map_node node; /* its id is that of the inode's sync handle */
    struct list idle_link;
    struct lock_table table;
    uint64_t grant;    /* 0: the table is at the server */
    uint32_t in_flight; /* requests that the server has not answered */
};

struct lock_request {
    struct list link;
    uint32_t seq;
    hf_id file;
    struct lock lock;
    bool shared;   /* its owner is an open file that others share: the view does not follow */
    bool is_test;
    int result;          /* once done */
    struct lock conflict; /* of a test with LOCKED.data: type LOCK_NONE: none */
    void (*done)(struct lock_request *request);
};

struct locks_client {
    struct id_map views;
    struct list idle;
    struct list requests;
    size_t lock_count;
    uint32_t idle_count;
    uint32_t last_seq;
    void (*send)(void *context, const struct wire_message *message);
    void *context;
};

#endif
