/*
 * The SIGKILL storm: processes that do random operations on a served mount and are killed at any
 * instant, and what is known beforehand of the outcome.
 *
 *   supervisor (test, kill)     starts and kills workers, and watches that nobody hangs
 *   worker (worker, play)       does one operation after the other, each in these steps:
 *
 *        FREE ── choose ──► BEGUN ── the call ──► ENDED ── the model follows ──► FREE
 *
 *   checker (recover, check)    knows from the step what is sure
 *
 * All of that is in memory which the processes share, so that it survives who wrote it. A worker
 * that died in BEGUN leaves an operation in doubt: it is either wholly done or not at all, and the
 * next process in its place finds out which. In ENDED the outcome is known, and the model follows
 * once more, which makes no difference if it had already.
 */
#ifndef HF_TESTS_FS_STORM_H
#define HF_TESTS_FS_STORM_H

#include <holdfast/fs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STORM_WORKERS_MAX 16

/* The model of a worker's own part of the tree. */
#define STORM_NODES 28
#define STORM_NAMES 6 /* in a directory, that something may be called */
#define STORM_FILES 5 /* open at a time */
#define STORM_FILE_MAX ((uint64_t)160 * 1024)
#define STORM_DATA_MAX ((uint64_t)768 * 1024) /* of all its files */
#define STORM_NONE 0xff

/* What all workers use. */
#define STORM_LOGS 3       /* files that all append to */
#define STORM_RECORDS 2048 /* of a worker in a log, in a round */
#define STORM_LOG_BYTES ((uint64_t)200 * 1024)
#define STORM_FOLDERS 3     /* where tokens move about */
#define STORM_TOKENS 10     /* files that are moved, and never lost or doubled */
#define STORM_TOKEN_NAMES 6 /* in a folder */
#define STORM_PUBLISHED 4   /* names that are replaced by whole files */
#define STORM_CELL 48       /* bytes of each worker in the file of cells */
#define STORM_MESS 6        /* names in the folder where everybody does anything */

/* If the server is killed, a worker syncs after so many operations. */
#define STORM_UNSYNCED 16

/* Operations of each worker that are shown when something is wrong. */
#define STORM_HISTORY 32

/* In place of a result: the call has had no effect. */
#define STORM_NOT_DONE INT64_MIN

enum storm_kind {
    STORM_OPEN,
    STORM_OPEN_UNNAMED,
    STORM_CLOSE,
    STORM_WRITE,
    STORM_PWRITE,
    STORM_READ,
    STORM_SEEK,
    STORM_TRUNCATE,
    STORM_ALLOCATE,
    STORM_COPY,
    STORM_FSYNC,
    STORM_RENAME,
    STORM_LINK,
    STORM_UNLINK,
    STORM_MKDIR,
    STORM_RMDIR,
    STORM_SYMLINK,
    STORM_CHMOD,
    STORM_SET_XATTR,
    STORM_REMOVE_XATTR,
    STORM_LOOK,
    /* from here on with others */
    STORM_APPEND,
    STORM_CELL_WRITE,
    STORM_MOVE_TOKEN,
    STORM_PUBLISH,
    STORM_READ_PUBLISHED,
    STORM_DO_MESS,
    STORM_KINDS,
};

struct storm_operation {
    uint64_t number; /* in its worker's sequence, from 1 */
    uint64_t offset, from_offset, size;
    int64_t expected;    /* its result, but for what may_lack_space allows */
    uint32_t kind;       /* storm_kind */
    uint32_t flags;      /* as its call has them */
    uint32_t value;      /* mode, target, value, pattern: what kind it is says which */
    bool may_lack_space; /* -ENOSPC, or less than was to be written */
    bool by_name;        /* of what can be done by name and by descriptor */
    uint8_t directory, name, new_directory, new_name;
    uint8_t node;       /* that is made, changed or moved */
    uint8_t replaced;   /* that is at the new name */
    uint8_t file, from; /* open files */
};

/* ---- the model ---- */

enum storm_type {
    STORM_NOTHING,
    STORM_FILE,
    STORM_DIRECTORY,
    STORM_SYMBOLIC_LINK,
};

struct storm_node {
    uint8_t type;
    uint8_t parent;             /* of a directory */
    uint8_t names[STORM_NAMES]; /* of a directory: nodes */
    uint16_t mode;
    bool may_get_name; /* a file that never had one */
    uint32_t target;   /* of a link */
    uint32_t xattr;    /* 0: none */
    uint64_t size;     /* of a file */
};

struct storm_file {
    bool is_open, appends;
    uint8_t node;
    int fd; /* in the process that goes on with it */
    uint64_t offset;
};

struct storm_model {
    struct storm_node nodes[STORM_NODES]; /* the first is the directory of the worker */
    struct storm_file files[STORM_FILES];
};

/* A model and its data, which is zero beyond the end of a file. */
struct storm_tree {
    struct storm_model *model;
    uint8_t *data[STORM_NODES];
};

/* What a worker did to what is everybody's, in this round. */
struct storm_shared {
    uint32_t appended[STORM_LOGS];              /* that have begun */
    int64_t lengths[STORM_LOGS][STORM_RECORDS]; /* of each; STORM_NOT_DONE: in doubt */
    uint64_t bytes[STORM_LOGS];
    uint32_t cell; /* what was written last */
};

enum storm_step {
    STORM_FREE,
    STORM_BEGUN,
    STORM_ENDED,
};

/* What the last sync made sure of, and what was done since. */
struct storm_synced {
    uint32_t appended[STORM_LOGS];
    uint32_t cell;
    uint32_t count;
    struct storm_operation operations[STORM_UNSYNCED];
    int64_t results[STORM_UNSYNCED];
    struct storm_model model;
    uint8_t data[STORM_NODES][STORM_FILE_MAX];
};

/* All of a worker, in shared memory. */
struct storm_worker {
    _Atomic int step;
    _Atomic uint64_t progress; /* moves all the time */
    struct storm_operation operation;
    int64_t result;
    struct {
        struct storm_operation operation;
        int64_t result;
        pid_t pid;
    } history[STORM_HISTORY]; /* by number modulo that */
    uint64_t number;          /* of the last operation that is over */
    uint64_t counts[STORM_KINDS];
    uint64_t lacked_space, in_doubt, in_doubt_done;
    uint64_t lost; /* when the server was killed */
    uint64_t forks;
    char failure[1024];
    struct storm_shared shared;
    struct storm_model model;
    uint8_t data[STORM_NODES][STORM_FILE_MAX];
    struct storm_synced synced; /* if the server is killed */
};

struct storm {
    uint64_t seed;
    unsigned workers;
    bool has_xattrs, has_allocation;
    bool restarts;         /* it is the server that is killed */
    _Atomic bool is_tight; /* in this round there may be too little space */
    _Atomic bool is_over;  /* workers end by themselves */
    unsigned round;
    char address[128];
    char host[128];                                    /* the directory that is served; "": none */
    struct storm_worker worker[STORM_WORKERS_MAX + 1]; /* the last one is the checker */
};

/* ---- what one process of it has; common.c ---- */

struct storm_actor {
    struct storm *storm;
    struct storm_worker *worker;
    unsigned index;
    hf_client *client;
    hf_fs *fs;
    bool is_child; /* of a fork */
    bool is_checker;
    int logs[STORM_LOGS];
    uint8_t buffer[STORM_FILE_MAX];
};

/* Say what is wrong, where the supervisor looks, and end the process. */
_Noreturn void storm_fail(struct storm_actor *actor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Connect; a failure ends the process. */
void storm_attach(struct storm_actor *actor);
void storm_detach(struct storm_actor *actor);

/* Numbers that look random, the same for the same three. */
struct storm_random {
    uint64_t state;
};
struct storm_random storm_random_of(uint64_t seed, uint64_t a, uint64_t b);
uint32_t storm_pick(struct storm_random *random, uint32_t below);

/* What operation @number of @worker writes at its place @at; never a byte over 127. */
void storm_pattern(unsigned worker, uint64_t number, uint64_t at, uint8_t *to, uint64_t size);

const char *storm_kind_name(uint32_t kind);
/* An operation and what came of it, for people. */
void storm_describe(const struct storm_operation *operation, int64_t result, char *text,
                    size_t size);

/* Where things are. */
#define STORM_PATH 256
void storm_own_path(unsigned worker, const struct storm_model *model, uint8_t directory,
                    uint8_t name, char path[STORM_PATH]);

/* A name that @node has. Return: false when it has none. */
bool storm_find_name(const struct storm_model *model, uint8_t node, uint8_t *directory,
                     uint8_t *name);

/* ---- model.c ---- */

void storm_model_init(struct storm_model *model);
struct storm_tree storm_tree_of(struct storm_worker *worker);
uint32_t storm_links(const struct storm_model *model, uint8_t node);
/* Is @node @directory, or above it? */
bool storm_is_above(const struct storm_model *model, uint8_t node, uint8_t directory);
/* After @operation with that result; a second time changes nothing. */
void storm_apply(struct storm_tree *tree, unsigned worker, const struct storm_operation *operation,
                 int64_t result);
/* The process ended that had the open files. */
void storm_lose_files(struct storm_model *model);

/* ---- choose.c ---- */

/* The operation with this number, which is sensible now. */
void storm_choose(const struct storm_actor *actor, uint64_t number,
                  struct storm_operation *operation);

/* ---- play.c: the calls ---- */

int64_t storm_play(struct storm_actor *actor, const struct storm_operation *operation);

/* ---- shared.c: what is everybody's ---- */

int64_t storm_play_shared(struct storm_actor *actor, const struct storm_operation *operation);
void storm_apply_shared(struct storm_shared *shared, const struct storm_operation *operation,
                        int64_t result);
/* What became of one in doubt. */
int64_t storm_recover_shared(struct storm_actor *actor, const struct storm_operation *operation);
/* What a worker appends: its size, and in @to, if that is not NULL, the bytes. */
uint32_t storm_record(unsigned worker, unsigned log, uint32_t number, uint8_t *to);
#define STORM_RECORD_MARK 0xf1 /* the first byte of each, and no other */
void storm_cell(unsigned worker, uint32_t value, uint8_t cell[STORM_CELL]);
/* What is published now is whole. */
void storm_check_published(struct storm_actor *actor);
/* Is in the cell of the worker what it wrote last? */
bool storm_is_cell_right(struct storm_actor *actor);

/* ---- check.c ---- */

/* Is the tree as the model says, as far as the nodes in @mask are concerned? If not, and @why is
 * not NULL, what differs is there. */
bool storm_is_like(struct storm_actor *actor, const struct storm_tree *tree, uint32_t mask,
                   char *why, size_t size);
#define STORM_ALL_NODES UINT32_MAX

/* ---- recover.c ---- */

/* Find out about the operation that was in doubt when the worker died, and go on from there.
 * @same_process: it was a child of this process that died, and its open files are here too. */
void storm_recover(struct storm_actor *actor, bool same_process);

/* ---- round.c: in the quiet between two rounds ---- */

/* Once, before all workers. */
void storm_make_all(struct storm_actor *actor);
/* Everything is as it has to be; a failure ends the process. */
void storm_check_all(struct storm_actor *actor);
/* Room for the next round: what is only ever added to begins again. */
void storm_begin_round(struct storm_actor *actor);

/* ---- space.c: the whole tree ---- */

/* Names, links and space are all as they are found. */
void storm_check_space(struct storm_actor *actor);
void storm_free_space(struct storm_actor *actor, uint64_t *pages, uint64_t *inodes);
/* All that is in a directory, if it is there. */
void storm_remove_below(struct storm_actor *actor, const char *path);
/* Nothing is left when everything is removed, and all of it can be had. */
void storm_check_end(struct storm_actor *actor);

/* ---- restart.c: the server is killed ---- */

/* What was done so far is to stay. */
void storm_sync(struct storm_actor *actor);
/* An operation is over. */
void storm_note_operation(struct storm_worker *worker);
/* The server was started again: as storm_check_all(). */
void storm_check_restarted(struct storm_actor *actor);

/* ---- worker.c ---- */

_Noreturn void storm_work(struct storm *storm, unsigned index);
/* The outcome is known: the model follows. */
void storm_follow(struct storm_actor *actor);

#endif
