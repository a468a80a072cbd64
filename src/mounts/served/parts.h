/*
 * What the files of the served backend share; `sb` is for that.
 *
 *   served ──► nodes, by number ──► pages, by index
 *   file   ──► node
 *
 * A node is what is known of an inode. It stays, with its pages, when nobody refers to it any more,
 * until there are too many. Everything in it goes by the epoch of the inode's sync handle, as the
 * filesystem's own caches do: see fs/inode.h. What it says may be believed, and what the server
 * says may be kept, while this client holds the handle; without it the server is asked each time.
 *
 * Lock order: a node's mutex or nursery_mutex, nodes_mutex, the client's lock. Two nodes' mutexes are not held
 * together. Under EXCLUSIVE nobody else is at a node, but for who wants its pages' memory.
 */
#ifndef HF_MOUNTS_SERVED_PARTS_H
#define HF_MOUNTS_SERVED_PARTS_H

#include "base/id_map.h"
#include "base/permissions.h"
#include "base/radix.h"
#include "client/store.h"
#include "fs/backend.h"
#include "mounts/served/contention.h"
#include "mounts/served/served.h"

#include <errno.h>
#include <holdfast/sync.h>
#include <pthread.h>

#define SERVED_PAGE ((size_t)4096)
/* As store.h says. */
#define SERVED_DIRECTORY_SIZE 40
#define SERVED_ENTRY_SIZE 20
#define SERVED_SHORT_TARGET 128

/* Files that will be made next, which this client holds already. */
#define SB_NURSERY 8

/* Errors of what was told that wait to be reported. */
#define SERVED_ERRORS_MAX 64

struct sb_page {
    bool is_there; /* at the server it is a page and no hole; else that is not known */
    uint8_t bytes[SERVED_PAGE];
};

struct sb_node {
    struct id_map_node link;     /* served->nodes */
    struct list idle_link;       /* served->idle; nodes_mutex */
    struct list with_pages_link; /* served->with_pages; nodes_mutex */
    uint32_t references;         /* nodes_mutex */
    _Atomic bool recently_used;  /* its pages, since they were last considered for dropping */
    struct sb *served;
    uint64_t number;
    hf_sync *handle;
    struct client_use use;
    struct contention contention;

    pthread_mutex_t mutex;     /* what follows, under SHARED */
    uint64_t attributes_epoch; /* 0: not valid */
    uint64_t forgotten_epoch;  /* of the hold under which they last came to be not true */
    /* Their number in the attributes; of a directory the size and the number of links, too, but not
     * that there are some. */
    bool pages_unsure;
    /* It was made here, in that directory while it was held as this: until that hold ends nobody
     * else knows it, and what is known of it is true, held or not. A reference, or NULL. */
    struct sb_node *born_in;
    uint64_t born_with;
    uint64_t born_forks; /* and before what is forked next */
    struct wire_attributes attributes;
    uint64_t pages_epoch; /* that the pages are from */
    struct radix pages;
    uint64_t page_count;  /* cached */
    uint64_t pages_there; /* of them, those that are there */
};

struct sb_file {
    struct sb_node *node;
    int access_mode;
    bool is_directory;
    int pipe;                  /* of a FIFO: the host's descriptor; -1: it is none */
    _Atomic int flags;         /* O_NOATIME */
    _Atomic uint64_t next;     /* where a reader in sequence goes on: a page */
    _Atomic uint32_t in_a_row; /* pages read in sequence so far */
};

/* Attributes that were asked for ahead, see ahead.c. Under the client's lock. */
#define SB_AHEAD 64
struct sb_ahead {
    enum {
        SB_AHEAD_FREE,
        SB_AHEAD_ASKED,   /* nobody waits for it */
        SB_AHEAD_AWAITED, /* a thread does */
        SB_AHEAD_THERE,
    } state;
    struct client_request request;
    struct sb *served;
    uint64_t number;
    uint64_t epoch; /* that they are from */
    struct wire_attributes attributes;
};

/* An error to report once. */
struct sb_error {
    uint64_t inode;
    int error;
};

struct sb {
    struct backend backend;
    hf_client *client;
    struct client_store store;
    dev_t device;
    uint64_t root;
    uint32_t flags;         /* WIRE_STORE_x */
    struct credentials who; /* this client, to the server */
    uint32_t *groups;       /* of @who */
    bool check_pointers;

    struct client_fork_hook fork_hook;
    uint64_t forks; /* so far; changes while no operation is under way */

    pthread_mutex_t nodes_mutex;
    struct id_map nodes;
    struct list idle; /* without references, the longest so first */
    size_t idle_count;
    struct list with_pages;
    pthread_mutex_t nursery_mutex;
    struct sb_node *nursery[SB_NURSERY]; /* by number modulo that; references; see nursery.c */
    uint64_t nursery_forks;
    size_t page_limit;
    _Atomic size_t page_bytes;

    struct sb_ahead ahead[SB_AHEAD];
    size_t next_ahead; /* to be used again */

    _Atomic size_t error_count; /* the rest under the client's lock */
    struct sb_error errors[SERVED_ERRORS_MAX];
};

static inline struct sb *sb_of(struct backend *backend)
{
    return (struct sb *)(void *)backend;
}

static inline struct sb_node *sb_node_of(intptr_t node)
{
    return (struct sb_node *)node;
}

static inline struct sb_file *sb_file_of(intptr_t file)
{
    return (struct sb_file *)file;
}

/* SET.mask, as in store.h */
enum {
    SERVED_SET_MODE = 1,
    SERVED_SET_OWNER = 2,
    SERVED_SET_SIZE = 4,
    SERVED_SET_NAMED_SIZE = 8,
    SERVED_SET_ATIME = 16,
    SERVED_SET_MTIME = 32,
};

/* ---- served.c: nodes ---- */

/* The node of an inode, with a reference; made if it is not known. */
int sb_get_node(struct sb *served, uint64_t number, struct sb_node **out);
void sb_put_node(struct sb_node *node);

/* Ask without looking at what the answer carries. */
int64_t sb_ask(struct sb *served, const struct wire_operation *operation);

/* What is not there any more was removed since it was found. */
static inline int64_t sb_as_missing(int64_t result)
{
    return result == -ESTALE ? -ENOENT : result;
}

/* A client_answer_function for what is bytes alone; returns their number. */
struct sb_bytes {
    uint8_t *bytes;
    size_t room;
};
int64_t sb_take_bytes(void *context, const uint8_t *data, size_t size);

/* Ask for attributes. */
int sb_ask_attributes(struct sb *served, const struct wire_operation *operation,
                      struct wire_attributes *out);

/* The error of what was told of an inode, with 0 of any, once. Return: 0 or a negative errno. */
int sb_take_error(struct sb *served, uint64_t inode);

/* ---- memory.c: the callers' memory, which the kernel looks at first with check_pointers ---- */

/* Copy as far as it goes. Return: how many bytes from the beginning on; 0 where nothing is. */
size_t sb_give(const struct sb *served, void *to, const void *from, size_t size);
size_t sb_get(const struct sb *served, void *to, const void *from, size_t size);

/* Could that be memory of a process at all? NULL passes, since it may not be needed. */
bool sb_is_memory(const void *at, size_t size);

/* All of @size bytes at @from, to be read: these themselves, or with check_pointers a copy, which is
 * *copy to be freed. Return: what can be read of them, NULL with *size 0 when that is nothing, or when
 * there is no memory. */
const void *sb_borrow(const struct sb *served, const void *from, size_t *size, void **copy);

/* ---- node.c: what is known of an inode ---- */

/* Does this client hold it now? */
bool sb_is_held(const struct sb_node *node);

/* Its attributes, as they are now. */
int sb_attributes(struct sb_node *node, struct wire_attributes *out);
/* The same, to find out what may be done: what is unsure after changes to a store that is not exact is
 * not asked for. */
int sb_attributes_to_judge(struct sb_node *node, struct wire_attributes *out);

/* The same, with the mutex. On success node->attributes are these until it is unlocked, and true
 * while the inode is held; the number of pages only if @with_pages. */
int sb_refresh(struct sb_node *node, bool with_pages);

/* With the mutex: are the attributes known, and need not be asked for? */
bool sb_is_known(struct sb_node *node);

/* It has these attributes now; the caller holds it, or nobody else can know it. With the mutex. */
void sb_set_attributes(struct sb_node *node, const struct wire_attributes *attributes);

/* The caller holds it EXCLUSIVE, and something was changed: what is known of it is not true. */
void sb_forget_attributes(struct sb_node *node);
void sb_forget_held(struct sb_node *node); /* with the mutex */

/* With the mutex, or nobody else has @node: it is like any other. */
void sb_grown_up(struct sb_node *node);

void sb_fill_stat(const struct sb *served, const struct wire_attributes *from, struct stat *out);

/* What the time is to files. */
struct timespec sb_now(void);

static inline struct permissions sb_permissions(const struct wire_attributes *attributes)
{
    return (struct permissions){
        .mode = attributes->mode,
        .owner = attributes->owner,
        .group = attributes->group,
    };
}

/* May this client do that: MAY_x? Return: 0, -EACCES. */
static inline int sb_may(const struct sb *served, const struct wire_attributes *attributes,
                         unsigned wanted)
{
    const struct permissions of = sb_permissions(attributes);
    return permit_access(&of, &served->who, wanted);
}

/* The data was changed: what the store takes from the mode. */
void sb_drop_privileges(const struct sb *served, struct wire_attributes *attributes);

/* ---- pages.c; with the node's mutex, the inode held ---- */

/* Drop what is from another epoch. */
void sb_validate_pages(struct sb_node *node);

/* Copy from the cache to the caller's memory; what is not there is asked for, and more if @ahead
 * says how many pages are likely to be read next. The range ends in the file. Return: how much there
 * was memory for, or a negative errno. */
ssize_t sb_read_pages(struct sb_node *node, uint8_t *to, uint64_t offset, size_t size,
                      size_t ahead);

/* The data is at the server now; keep it. The range was in the file before, up to @old_size. */
void sb_write_pages(struct sb_node *node, const uint8_t *from, uint64_t offset, size_t size,
                    uint64_t old_size);

/* How many of the pages of a range may be holes. */
uint64_t sb_count_holes(struct sb_node *node, uint64_t offset, uint64_t size);

/* The file ends at @size now. */
void sb_cut_pages(struct sb_node *node, uint64_t size);

void sb_drop_pages(struct sb_node *node);

/* Without any mutex: get the cached data below its limit. */
void sb_trim_pages(struct sb *served);

/* ---- ahead.c ---- */

/* The holds of these have been asked for: ask for their attributes too. */
void sb_look_ahead(struct backend *backend, const ino_t *numbers, size_t count);

/* What was asked of @node, if it is from @epoch. */
bool sb_take_ahead(struct sb_node *node, uint64_t epoch, struct wire_attributes *out);

/* What was asked ahead is not true any more, for this client has changed it; or may do so without
 * anybody remembering. */
void sb_drop_ahead(struct sb_node *node);

/* No answer is due any more; or will come, in a child of a fork. */
void sb_end_ahead(struct sb *served);
void sb_forget_ahead(struct sb *served);

/* ---- contended.c ---- */

/* An operation on the data, under a hold. */
void sb_note_use(struct sb_node *node);
bool sb_is_contended(struct backend *backend, intptr_t file, bool writes);
ssize_t sb_read_there(struct backend *backend, intptr_t file, void *buffer, size_t size,
                      off_t offset);
ssize_t sb_write_there(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                       bool append, off_t *offset);

/* ---- nursery.c ---- */

/* A file is made with this number: ask for the holds of those that come next. */
void sb_nurse(struct sb *served, uint64_t number);

void sb_empty_nursery(struct sb *served);

/* ---- the operations of the backend ---- */

/* names.c */
bool sb_is_empty(struct backend *backend, intptr_t directory);
int sb_open_root(struct backend *backend, const char *source, intptr_t *node,
                 struct stat *attributes);
int sb_lookup(struct backend *backend, intptr_t directory, const char *name, intptr_t *node,
              struct stat *attributes);
int sb_stat_entry(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                  struct stat *attributes);
ssize_t sb_read_link(struct backend *backend, intptr_t node, char *buffer, size_t size);
int sb_list(struct backend *backend, intptr_t file, backend_entry_function *entry, void *context);
int sb_parent(struct backend *backend, intptr_t directory, intptr_t root, intptr_t *node,
              struct stat *attributes);
int sb_way_down(struct backend *backend, intptr_t ancestor, intptr_t directory,
                char name[NAME_MAX + 1]);

/* change.c */
int sb_create(struct backend *backend, intptr_t directory, const char *name, int flags, mode_t mode,
              intptr_t *file);
int sb_create_unnamed(struct backend *backend, intptr_t directory, int flags, mode_t mode,
                      intptr_t *file);
int sb_make_directory(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                      ino_t *number);
int sb_make_node(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                 dev_t device, ino_t *number);
int sb_make_symlink(struct backend *backend, intptr_t directory, const char *name,
                    const char *target, ino_t *number);
int sb_link(struct backend *backend, intptr_t node, intptr_t directory, const char *name);
int sb_unlink(struct backend *backend, intptr_t directory, const char *name, ino_t number);
int sb_remove_directory(struct backend *backend, intptr_t directory, const char *name,
                        ino_t number);
int sb_rename(struct backend *backend, intptr_t directory, const char *name, ino_t number,
              intptr_t new_directory, const char *new_name, ino_t replaced, unsigned flags);

/* attributes.c */
int sb_set_mode(struct backend *backend, intptr_t node, mode_t mode);
int sb_set_owner(struct backend *backend, intptr_t node, uid_t owner, gid_t group);
int sb_set_times(struct backend *backend, intptr_t node, const struct timespec times[2]);
/* The caller holds it EXCLUSIVE. @mask: SERVED_SET_SIZE or _NAMED_SIZE. */
int sb_set_size(struct sb_node *node, uint32_t mask, uint64_t size);
int sb_access(struct backend *backend, intptr_t node, int mode, int flags);
int sb_statx(struct backend *backend, intptr_t node, int flags, unsigned mask, struct statx *out);
int sb_statfs(struct backend *backend, intptr_t node, struct statfs *out);
ssize_t sb_get_xattr(struct backend *backend, intptr_t node, const char *name, void *value,
                     size_t size);
int sb_set_xattr(struct backend *backend, intptr_t node, const char *name, const void *value,
                 size_t size, int flags);
ssize_t sb_list_xattrs(struct backend *backend, intptr_t node, char *names, size_t size);
int sb_remove_xattr(struct backend *backend, intptr_t node, const char *name);

/* files.c */
/* What the permissions say of opening it with @flags. Return: 0, -EACCES. */
int sb_may_open(const struct sb *served, const struct wire_attributes *attributes, int flags);
/* Without asking: has it a name, as far as is known? */
bool sb_has_name(struct sb_node *node);
/* Open it when the server says that it may be used so. @asked: USE or BORROW, without rights. */
int sb_open_asked(struct sb_node *node, struct wire_operation *asked, int flags, intptr_t *file);
/* Whoever made it may open it, whatever its mode. */
int sb_open_made(struct sb_node *node, int flags, intptr_t *file);
int sb_open(struct backend *backend, intptr_t directory, const char *name, ino_t number, int flags,
            intptr_t *file);
void sb_close(struct backend *backend, intptr_t file);
int sb_flush(struct backend *backend, intptr_t file);
int sb_truncate(struct backend *backend, intptr_t file, off_t size, bool as_named);
off_t sb_seek(struct backend *backend, intptr_t file, off_t offset, int whence);
int sb_allocate(struct backend *backend, intptr_t file, int mode, off_t offset, off_t length);
ssize_t sb_copy(struct backend *backend, intptr_t from, off_t *from_offset, intptr_t to,
                off_t *to_offset, size_t size);
int sb_sync(struct backend *backend, intptr_t file, bool data_only);
int sb_sync_all(struct backend *backend, intptr_t file);
int sb_map(struct backend *backend, intptr_t file, void *address, size_t length, int protection,
           int flags, off_t offset, void **out);
int sb_set_status(struct backend *backend, intptr_t file, int flags);
int sb_give_file(struct backend *backend, intptr_t file);
int sb_give_node(struct backend *backend, intptr_t node);
int sb_lend(struct backend *backend, intptr_t given, bool is_path, hf_id ticket);
int sb_take(struct backend *backend, int fd, hf_id ticket, bool is_path, intptr_t *taken,
            int *access_mode, struct stat *attributes);

/* pipes.c */
int sb_start_special(struct backend *backend, intptr_t node, int flags, intptr_t *file);
int sb_open_special(struct backend *backend, intptr_t node, int flags, intptr_t *file);
ssize_t sb_read_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                        int count, off_t offset);
ssize_t sb_write_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                         int count, off_t offset);
int sb_get_special_status(struct backend *backend, intptr_t file);
int sb_set_special_status(struct backend *backend, intptr_t file, int flags);
int sb_host_descriptor(struct backend *backend, intptr_t file);
/* Does @fd say that it is the open pipe of an inode of this store? */
bool sb_is_pipe(const struct sb *served, int fd, uint64_t *number, int *access_mode);

/* data.c */
ssize_t sb_read(struct backend *backend, intptr_t file, void *buffer, size_t size, off_t offset);
ssize_t sb_write(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                 off_t offset);
ssize_t sb_read_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                        int count, off_t offset);
ssize_t sb_write_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                         int count, off_t offset);
bool sb_reading_changes(struct backend *backend, intptr_t file);
bool sb_link_use_changes(struct backend *backend, intptr_t node);
void sb_link_used(struct backend *backend, intptr_t node);

#endif
