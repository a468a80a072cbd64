/*
 * The differential test: a sequence of steps, done on a mount and on a directory of the kernel's, and
 * all that the two sides tell compared.
 *
 * Each side has processes of its own, the players: ours are clients of a server, those of the
 * kernel have the directory as their root. So both have the same paths, descriptors of their own
 * with the same numbers, and working directories, masks and identities that stay apart. A step is
 * one operation with a seed for its arguments; it knows nothing of the steps before it, so any of
 * them may be left out, which is how a sequence that fails is made short.
 */
#ifndef HF_TESTS_CASES_FS_DIFFERENTIAL_H
#define HF_TESTS_CASES_FS_DIFFERENTIAL_H

#include "lib/fs_call.h"
#include "lib/fs_world.h"
#include "sim/dice.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define PLAYERS_MAX 3
#define CALL_TEXT 200 /* what a step calls */
#define SEEN_TEXT 280 /* what it sees */
#define TREE_TEXT (128 * 1024)
#define PATH_ROOM 4400 /* more than a path may have */
#define NOBODY 65534
#define TIMES_SET 1000 /* times below this many seconds were set by a step */

/* ---- what is to be done; made by the director, in memory that all share ---- */

struct step {
    uint8_t player;
    uint8_t operation; /* in operations[] */
    uint64_t random;   /* its arguments are made of this */
};

struct sequence {
    uint64_t seed;
    int players;
    bool unprivileged; /* as nobody, else as who runs the test */
    bool watched;      /* which times each step moves is compared too */
    bool checked;      /* ours asks the host each time, with external=check */
    bool planted;      /* the kernel's side lies in one operation */
    bool served;       /* ours is a served mount: what that does not have is left out */
    size_t count;
    struct step *steps;
};

/* ---- what came of it; written by the players, in memory that all share ---- */

struct report {
    char call[CALL_TEXT]; /* the same on both sides, and for people only */
    char seen[SEEN_TEXT]; /* is compared */
};

struct text {
    size_t length;
    char text[TREE_TEXT];
};

struct side {
    sem_t begin[PLAYERS_MAX]; /* a worker waits for the next sequence */
    sem_t turn[PLAYERS_MAX];  /* a player waits for its turn */
    sem_t done;               /* the director waits for it */
    size_t act;               /* whose turn it is: see fs_differential_play.c */
    bool gone[PLAYERS_MAX];   /* that player has left, and nobody has taken its part */
    struct report *reports;   /* one for each step */
    struct text tree;         /* what is there at the end */
    struct text own_tree;     /* of ours: the same as the first player has it cached */
    struct text host_tree;    /* of ours: the same as others see it, the host or another client */
    struct text open_files;   /* what is open at the end */
    char error[CALL_TEXT];
};

/* ---- a player ---- */

/* What a step has looked at or changed, for the times it moves. */
struct watched_time {
    long result;
    ino_t number;
    struct timespec mtime;
    struct timespec ctime;
};

#define WATCHED_MAX 6

struct player {
    struct side *side;
    const struct sequence *sequence;
    const char *root;             /* of this side, a path of the host's; NULL on a served mount */
    const struct fs_world *world; /* NULL on the kernel's side, and there these two: */
    hf_client *client;
    hf_fs *fs;
    int number;
    bool forked;   /* in the middle of a sequence: ends with it */
    int base;      /* the kernel's descriptor of the folder that the root is in */
    int host_root; /* of the real root directory */
    int clock;     /* of a file that is there to be changed */
    struct dice dice;
    struct report *report;
    /* The arguments of the step in progress. */
    int path_count;
    char paths[2][PATH_ROOM];
    int ats[2];
    int fd_count;
    int fds[2];
    struct watched_time watched[WATCHED_MAX];
};

/* One line in the list is one more operation. */
struct operation {
    const char *name;
    unsigned weight; /* how often, compared to others */
    void (*play)(struct player *player);
};

extern const struct operation operations[];
extern const size_t operation_count;

/* ---- fs_differential_choose.c: arguments ---- */

static inline unsigned below(struct player *player, unsigned limit)
{
    return dice_below(&player->dice, limit);
}

#define CHOOSE(player, array) ((array)[below((player), sizeof(array) / sizeof(array)[0])])

/* One argument each; at most two paths and two descriptors in one step. */
const char *choose_path(struct player *player);
const char *choose_path_or_empty(struct player *player);
int choose_at(struct player *player); /* before the path that starts there */
int choose_fd(struct player *player);
mode_t choose_mode(struct player *player);
off_t choose_offset(struct player *player);
off_t choose_size(struct player *player);
int choose_open_flags(struct player *player);
uid_t choose_id(struct player *player);
int choose_at_flags(struct player *player);
/* Return: NULL or @times. */
const struct timespec *choose_times(struct player *player, struct timespec times[2]);

/* ---- fs_differential_report.c ---- */

/* All arguments are chosen, and the call comes next; for people. */
void calls(struct player *player, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is compared. A negative result is shown as the error that it is. */
void sees(struct player *player, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sees_result(struct player *player, long result);
void sees_bytes(struct player *player, const void *bytes, size_t size);
void sees_attributes(struct player *player, long result, const struct stat *attributes);
void sees_moved_times(struct player *player);

/* "now", or the time itself if a step has set it. */
struct time_text {
    char text[32];
};
struct time_text time_text(const struct timespec *time);

/* ---- fs_differential_tree.c ---- */

/* The tree that a sequence begins with, in the working directory. Return: is it there? */
bool tree_make(hf_fs *fs, const struct sequence *sequence);

/* Write all that is there at the end into @text, as @fs sees it or without one the kernel, from the
 * working directory on; and what @player has open. */
void tree_describe(struct player *player, hf_fs *fs, struct text *text);
void tree_describe_open_files(struct player *player);

/* Compare two such texts line by line; @exactly: of the same tree, so that times and inode numbers
 * are the same too. Return: false with both at the first lines that differ. */
bool tree_is_same(const char **ours, const char **theirs, bool exactly);

/* Make the directory @root as good as new. It is the same for all sequences, since the server knows
 * it as the root. Return: is it? */
bool tree_reset(hf_fs *fs, const char *root);

/* Remove the folder @name and all below it. */
void tree_remove(hf_fs *fs, int at, const char *name);

/* ---- fs_differential_play.c ---- */

/* A worker's whole life: it plays @player in one sequence after the other. */
void play(struct player *player) __attribute__((noreturn));

/* A player is given up; and another forks one that takes its part, which is the one after the first
 * that step.random says. Two steps, so that one does no harm when the other is left out. */
void play_exit(struct player *player);
void play_fork(struct player *player);

/* A player gives all that it has open to another client, whose life it goes on with. */
void play_move(struct player *player);

/* End this process: something is wrong with the test itself. */
void play_require(const struct player *player, bool condition, const char *what);

/* ---- fs_differential_direct.c: the director ---- */

struct stage; /* a server, two directories, and the players */

struct options {
    int processes;      /* players, at most; when more than one, some sequences have fewer */
    size_t steps;       /* in each sequence; 0: 20 to 60 */
    bool planted;       /* see struct sequence */
    const char *parent; /* of the folder that all happens in */
};

struct stage *stage_new(const struct options *options);
struct stage *stage_free(struct stage *stage);

/* Play the sequence of @seed. Return: were both sides the same? */
bool stage_play(struct stage *stage, uint64_t seed);

/* After one that was not: leave out what makes no difference, and show what is left. Return: how
 * many steps that is; 0 when the sequence alone, in new processes, does well. */
size_t stage_shrink(struct stage *stage);

/* ---- operations ---- */

/* Is it a pipe, a device or a socket? These are used so that nobody waits for another. */
bool is_special(struct player *player, int at, const char *path, int flags);

void open_file_at(struct player *player);
void make_directory(struct player *player);
void make_node(struct player *player);
void make_symlink(struct player *player);
void make_link(struct player *player);
void remove_name(struct player *player);
void rename_it(struct player *player);
void read_link(struct player *player);
void list_directory(struct player *player);
void list_in_parts(struct player *player);

void stat_path(struct player *player);
void stat_fd(struct player *player);
void statx_path(struct player *player);
void access_path(struct player *player);
void change_mode(struct player *player);
void change_owner(struct player *player);
void change_times(struct player *player);
void statfs_it(struct player *player);
void change_cwd(struct player *player);
void get_cwd(struct player *player);
void change_umask(struct player *player);
void xattr_get(struct player *player);
void xattr_set(struct player *player);
void xattr_list(struct player *player);
void xattr_remove(struct player *player);

void read_data(struct player *player);
void write_data(struct player *player);
void read_vectors(struct player *player);
void write_vectors(struct player *player);
void seek(struct player *player);
void set_size(struct player *player);
void allocate(struct player *player);
void copy_range(struct player *player);
void sync_it(struct player *player);
void map(struct player *player);
void close_fd(struct player *player);
void duplicate(struct player *player);
void control(struct player *player);

#endif
