/*
 * The differential test of file locks: random steps by several processes, on a filesystem of ours and
 * on one of the kernel's, each with players of its own (lib/lock_players.h).
 *
 * A step is chosen knowing what is open, held and waited for, and that is what the model is for: it
 * believes what both sides answered. A step that makes no sense, because those before it were left
 * out, is passed over. So a sequence that fails can be made short.
 *
 * What is never done, because the two are meant to differ, or because nobody could say what has to
 * happen:
 * - to wait for a lock that conflicts with one that another waits for: ours are served in order of
 *   arrival, the kernel's in any. Unless one gets it at once, or is refused because of a deadlock.
 * - to convert a lock of flock() into one that another waits for the contrary of: ours gives the old one
 *   up first and the other one gets it.
 * - to wait twice in the name of one open file.
 * - F_OFD_GETLK with another type than the two: what becomes of that depends on the kernel.
 * And the kernel follows only one of those who are in the way of a waiting process, so it may find a
 * deadlock late: where ours says -EDEADLK and it is one, its process is made to give up as well. It
 * sees some that lead through open files, too, though not all of those are some: then our process is.
 */
#ifndef HF_TESTS_CASES_LOCKS_DIFFERENTIAL_H
#define HF_TESTS_CASES_LOCKS_DIFFERENTIAL_H

#include "lib/lock_players.h"
#include "sim/dice.h"

#define SEATS 4
#define FILES 3
#define OPENS (SEATS * LOCK_SLOTS)
#define OWNERS (SEATS + OPENS) /* processes, then open files */
#define CELLS 26
#define FILE_BYTES 10

enum family { FAMILY_RECORD, FAMILY_WHOLE, FAMILIES };

/* A range of bytes is one of cells: single bytes where the tests choose them, and what is between. */
struct cells {
    int first;
    int last; /* included */
};

int64_t cell_begin(int cell);
int64_t cell_end(int cell);

/* What fcntl() makes of it. Return: 0; 1: it is a range but none of cells; or a negative errno. */
int cells_of_flock(const struct flock *lock, int64_t offset, struct cells *cells);

/* ---- the model ---- */

struct request {
    enum family family;
    int file;
    int owner;
    short type;
    struct cells cells;
};

struct open_file {
    int file;
    int64_t offset;
};

struct model {
    bool is_seated[SEATS];
    int slots[SEATS][LOCK_SLOTS]; /* the open file, or -1 */
    struct open_file opens[OPENS];
    uint8_t held[FAMILIES][FILES][OWNERS][CELLS]; /* 0, or the type + 1 */
    bool waits[SEATS];
    struct request waiting[SEATS];
};

void model_init(struct model *model);

/* Of those that differ, would one have to wait for the other? */
bool request_conflicts(const struct request *one, const struct request *other);

/* Does @owner hold what is in the way? */
bool model_is_in_the_way(const struct model *model, const struct request *request, int owner);
bool model_is_free(const struct model *model, const struct request *request);

/* Would a process that waits for it wait for itself? @through_open_files: maybe because one waits in
 * the name of an open file. */
bool model_is_deadlock(const struct model *model, const struct request *request,
                       bool through_open_files);

void model_apply(struct model *model, const struct request *request);

/* A new open file in a slot that is empty; the same one in another slot; a slot that becomes empty. */
void model_open(struct model *model, int seat, int slot, int file);
void model_copy(struct model *model, int seat, int from, int to);
void model_close(struct model *model, int seat, int slot);
void model_fork(struct model *model, int seat, int child);
void model_leave(struct model *model, int seat);

/* How many locks there are; and is this one of them? */
unsigned model_count(const struct model *model);
struct found {
    enum family family;
    int file;
    int seat;    /* whose POSIX lock it is; -1: an open file's */
    int but_not; /* an owner; or -1 */
    short type;
    int64_t begin;
    int64_t end;
};
bool model_has(const struct model *model, const struct found *found);

/* ---- the steps ---- */

struct step {
    uint8_t seat;
    uint8_t kind; /* of what is to be done */
    bool left_out;
    uint64_t random; /* its arguments are made of this */
};

#define STEP_OPENS 0 /* a kind that opens a file */

enum verdict { PASSED_OVER, SAME, DIFFERENT };

/* What one step does: an order, or the end of a wait or of a player. */
struct deed {
    int seat;
    enum { DEED_ORDER, DEED_FORK, DEED_END, DEED_CANCEL } kind;
    struct lock_order order;
    int child;              /* of a fork */
    enum lock_verb how;     /* an end */
    bool is_request;        /* the order is one for a lock, and so: */
    bool may_wait;          /* ... */
    struct request request; /* ... if it is valid */
    bool is_valid;
};

/* Choose what the step does, as things are. Return: does it make sense? */
bool deed_choose(const struct model *model, const struct step *step, struct deed *deed);

/* For people. */
void deed_describe(const struct deed *deed, char *text, size_t size);

#endif
