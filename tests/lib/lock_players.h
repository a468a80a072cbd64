/*
 * Players: processes that lock files as they are told, one order after the other, on a filesystem of
 * ours or on the kernel's. An order that has to wait keeps its player busy, and no one else: the test
 * goes on when all players have answered or are known to wait.
 *
 * How that is known: the kernel's players sleep inside the system call and nowhere else does
 * a call of theirs sleep. Ours are in the server's list of those who wait, which is asked for by
 * the player that acted last, so behind all that it has sent, or else by one more player, the
 * watcher.
 *
 * Players sit on seats; a player that forks puts its child on another seat.
 */
#ifndef HF_TESTS_LIB_LOCK_PLAYERS_H
#define HF_TESTS_LIB_LOCK_PLAYERS_H

#include "lib/fs_world.h"

#include <fcntl.h>
#include <holdfast/lock.h>
#include <sys/types.h>

#define LOCK_SEATS 10
#define LOCK_WATCHER (LOCK_SEATS - 1) /* this seat is the watcher's; only our side has one */
#define LOCK_SLOTS 6                  /* a player's descriptors */
#define LOCK_LISTED_MAX 32
#define LOCK_PATIENCE_SECONDS 30

enum lock_verb {
    ORDER_MAKE,     /* the file `file`, with `value` bytes */
    ORDER_UNLINK,   /* it */
    ORDER_OPEN,     /* it in `slot`, with the flags `value` */
    ORDER_CLOSE,    /* `slot` */
    ORDER_DUP2,     /* `slot` to `other`, which may be empty or not */
    ORDER_SEEK,     /* `slot`, to `value` */
    ORDER_WRITE,    /* a byte to `slot`, at `value` */
    ORDER_RECORD,   /* hf_lock(), or with `other` hf_fcntl(): `slot`, the command `value`, `lock` */
    ORDER_WHOLE,    /* hf_flock(): `slot`, the operation `value` */
    ORDER_FORK,     /* to the seat `value`; with `other` by hf_fork() */
    ORDER_LIST_ALL, /* who holds and who waits */
    ORDER_RESET,    /* close everything */
    ORDER_LEAVE,    /* close everything, say good-bye and end */
    ORDER_EXIT,     /* end */
    ORDER_KILL,     /* end by SIGKILL; needs no telling */
};

struct lock_order {
    enum lock_verb verb;
    int slot;
    int other;
    unsigned file;
    int64_t value;
    struct flock lock;
    uint64_t patience_ns; /* of ours: the wait ends by deadline; 0: never */
};

struct lock_listed {
    hf_lock_state state;
    int kind;
    short type;
    int64_t start;
    int64_t end;
    hf_id file;
    hf_id owner;
    pid_t pid;
    uint32_t cycle;
};

struct lock_answer {
    int result; /* as hf_lock() has it; a wait that was ended by lock_players_cancel(): -ECANCELED */
    pid_t pid;  /* the player's */
    ino_t number; /* of a file that was made: the object in its `file` in the list */
    struct flock lock;
    unsigned listed_count; /* more than LOCK_LISTED_MAX are not in the list */
    struct lock_listed listed[LOCK_LISTED_MAX];
};

struct lock_player {
    pid_t pid; /* 0: nobody sits here */
    int pidfd;
    bool is_busy;    /* has not answered yet; after lock_players_settle(): it waits */
    bool has_news;   /* answered since lock_players_forget_news() */
    bool is_watched; /* is in the server's list of those who wait, or sleeps in the call */
    uint64_t switches;
    struct lock_answer answer; /* the last one */
};

struct lock_players_shared;

struct lock_players {
    struct fs_world *world; /* NULL: the kernel's side, and `folder` is where the files are */
    char folder[FOLDER_PATH_BYTES];
    struct lock_players_shared *shared;
    int ends[LOCK_SEATS][2]; /* of the test, and of the player */
    unsigned clients;        /* of ours that the server should have */
    struct lock_player seats[LOCK_SEATS];
};

/* Nobody sits yet, but for the watcher of ours. @world: has a server, and no actors of its own. */
void lock_players_init(struct lock_players *players, struct fs_world *world);

/* All are made to end; fails the test if one does not. */
void lock_players_deinit(struct lock_players *players);

/* A new process on an empty seat. */
void lock_players_seat(struct lock_players *players, int seat);

static inline bool lock_players_is_seated(const struct lock_players *players, int seat)
{
    return players->seats[seat].pid != 0;
}

/* Give an order. Forks and ends go by the functions below. */
void lock_players_tell(struct lock_players *players, int seat, const struct lock_order *order);

/* Wait until this player has answered, if it has not. */
const struct lock_answer *lock_players_hear(struct lock_players *players, int seat);

/* Wait until everybody has answered or waits for a lock. @actor: who did something last, -1: one
 * that is gone. */
void lock_players_settle(struct lock_players *players, int actor);
void lock_players_forget_news(struct lock_players *players);

/* Give an order and hear the answer; or only settle. */
const struct lock_answer *lock_players_do(struct lock_players *players, int seat,
                                          struct lock_order order);
void lock_players_start(struct lock_players *players, int seat, struct lock_order order);

/* Return: 0, or why it could not. */
int lock_players_fork(struct lock_players *players, int seat, int child, bool by_hf_fork);

/* End a player by ORDER_LEAVE, ORDER_EXIT or ORDER_KILL, and wait until the server has heard of it.
 * One that waits for a lock can only be killed. */
void lock_players_end(struct lock_players *players, int seat, enum lock_verb how);

/* End the wait of a player. */
void lock_players_cancel(struct lock_players *players, int seat);

/* The seat of this process; -1: none's. */
int lock_players_find(const struct lock_players *players, pid_t pid);

/* ---- orders ---- */

static inline struct lock_order lock_order_make(unsigned file, int64_t size)
{
    return (struct lock_order){.verb = ORDER_MAKE, .file = file, .value = size};
}

static inline struct lock_order lock_order_open(int slot, unsigned file)
{
    return (struct lock_order){.verb = ORDER_OPEN, .slot = slot, .file = file, .value = O_RDWR};
}

static inline struct lock_order lock_order_record(int slot, int command, short type, int64_t start,
                                                  int64_t length)
{
    return (struct lock_order){
        .verb = ORDER_RECORD,
        .slot = slot,
        .value = command,
        .lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length},
    };
}

static inline struct lock_order lock_order_whole(int slot, int operation)
{
    return (struct lock_order){.verb = ORDER_WHOLE, .slot = slot, .value = operation};
}

#endif
