#include "cases/locks_differential.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>

#define CHOOSE(dice, array) ((array)[dice_below((dice), sizeof(array) / sizeof(array)[0])])

/* ---- slots ---- */

/* An open one, or -1. */
static int choose_slot(const struct model *model, int seat, struct dice *dice)
{
    const int first = (int)dice_below(dice, LOCK_SLOTS);
    for (int i = 0; i < LOCK_SLOTS; i++) {
        const int slot = (first + i) % LOCK_SLOTS;
        if (model->slots[seat][slot] >= 0) {
            return slot;
        }
    }
    return -1;
}

static bool choose_open(const struct model *model, struct dice *dice, struct deed *deed)
{
    static const int flags[] = {O_RDWR, O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY};
    const int slot = (int)dice_below(dice, LOCK_SLOTS);
    if (model->slots[deed->seat][slot] >= 0) {
        return false;
    }
    deed->order = (struct lock_order){
        .verb = ORDER_OPEN,
        .slot = slot,
        .file = dice_percent(dice, 50) ? 0 : dice_below(dice, FILES),
        .value = CHOOSE(dice, flags),
    };
    return true;
}

static bool choose_close(const struct model *model, struct dice *dice, struct deed *deed)
{
    const int slot = choose_slot(model, deed->seat, dice);
    deed->order = (struct lock_order){.verb = ORDER_CLOSE, .slot = slot};
    return slot >= 0;
}

static bool choose_copy(const struct model *model, struct dice *dice, struct deed *deed)
{
    const int slot = choose_slot(model, deed->seat, dice);
    deed->order = (struct lock_order){
        .verb = ORDER_DUP2, .slot = slot, .other = (int)dice_below(dice, LOCK_SLOTS)};
    return slot >= 0;
}

static bool choose_seek(const struct model *model, struct dice *dice, struct deed *deed)
{
    const int slot = choose_slot(model, deed->seat, dice);
    deed->order = (struct lock_order){
        .verb = ORDER_SEEK, .slot = slot, .value = (int64_t)dice_below(dice, 20)};
    return slot >= 0;
}

/* ---- ranges ---- */

static struct cells choose_cells(struct dice *dice)
{
    struct cells cells;
    const bool is_near = dice_percent(dice, 75);
    cells.first = (int)dice_below(dice, is_near ? 5 : CELLS);
    cells.last = cells.first + (int)dice_below(dice, is_near ? 4 : CELLS);
    if (cells.last >= CELLS || dice_percent(dice, 10)) {
        cells.last = CELLS - 1;
    }
    return cells;
}

/* One of the ways to say it. */
static void say_cells(struct dice *dice, struct cells cells, int64_t offset, struct flock *lock)
{
    static const short whences[] = {SEEK_SET, SEEK_SET, SEEK_SET, SEEK_CUR, SEEK_END};
    const int64_t begin = cell_begin(cells.first);
    const int64_t end = cell_end(cells.last);
    lock->l_whence = CHOOSE(dice, whences);
    const int64_t base =
        lock->l_whence == SEEK_CUR ? offset : (lock->l_whence == SEEK_END ? FILE_BYTES : 0);
    lock->l_start = begin - base;
    lock->l_len = end - begin; /* one is missing, so that it cannot overflow */
    if (end == INT64_MAX && (begin == 0 || dice_percent(dice, 50))) {
        lock->l_len = 0;
    } else if (end < INT64_MAX && dice_percent(dice, 20)) {
        lock->l_start = end + 1 - base;
        lock->l_len = -lock->l_len - 1;
    } else {
        lock->l_len++;
    }
}

/* What may be no range at all. */
static void say_nonsense(struct dice *dice, struct flock *lock)
{
    static const int64_t numbers[] = {
        0, 1, -1, -5, 7, INT64_MAX, INT64_MAX - 1, -INT64_MAX, INT64_MIN, INT64_C(1) << 40};
    static const short whences[] = {SEEK_SET, SEEK_CUR, SEEK_END, 9, -1};
    lock->l_whence = CHOOSE(dice, whences);
    lock->l_start = CHOOSE(dice, numbers);
    lock->l_len = CHOOSE(dice, numbers);
}

/* ---- locks ---- */

/* Does somebody else wait for the contrary of @request, or in its owner's name? @overtaking: those who
 * wait for the owner itself do not count. */
static bool somebody_waits(const struct model *model, const struct request *request,
                           bool overtaking)
{
    for (int seat = 0; seat < SEATS; seat++) {
        const struct request *other = &model->waiting[seat];
        if (!model->waits[seat]) {
            continue;
        }
        if (other->family == request->family && other->file == request->file &&
            other->owner == request->owner) {
            return true;
        }
        if (request_conflicts(other, request) &&
            !(overtaking && model_is_in_the_way(model, other, request->owner))) {
            return true;
        }
    }
    return false;
}

/* May it wait, or do the two differ then? */
static bool may_wait(const struct model *model, const struct request *request)
{
    if (request->type == F_UNLCK || model_is_deadlock(model, request, false)) {
        return true;
    }
    return !somebody_waits(model, request, model_is_free(model, request));
}

static void choose_record_request(const struct model *model, struct dice *dice, struct deed *deed,
                                  bool is_ofd)
{
    const int open = model->slots[deed->seat][deed->order.slot];
    struct flock *lock = &deed->order.lock;
    if (dice_percent(dice, 4)) {
        say_nonsense(dice, lock);
    } else {
        say_cells(dice, choose_cells(dice), model->opens[open].offset, lock);
    }
    deed->request = (struct request){
        .family = FAMILY_RECORD,
        .file = model->opens[open].file,
        .owner = is_ofd ? SEATS + open : deed->seat,
        .type = lock->l_type,
    };
}

static bool choose_any_record(const struct model *model, struct dice *dice, struct deed *deed)
{
    static const short types[] = {
        F_RDLCK, F_RDLCK, F_RDLCK, F_WRLCK, F_WRLCK, F_WRLCK, F_UNLCK, F_UNLCK};
    const int slot = choose_slot(model, deed->seat, dice);
    const bool is_ofd = dice_percent(dice, 30);
    const unsigned way = dice_below(dice, 100);
    if (slot < 0) {
        return false;
    }
    deed->is_request = true;
    deed->order =
        (struct lock_order){.verb = ORDER_RECORD, .slot = slot, .other = (int)dice_below(dice, 2)};
    deed->order.lock.l_type = dice_percent(dice, 2) ? 7 : CHOOSE(dice, types);
    if (dice_percent(dice, 2)) {
        deed->order.lock.l_pid = 1;
    }
    choose_record_request(model, dice, deed, is_ofd);
    const int open = model->slots[deed->seat][slot];
    const int result =
        cells_of_flock(&deed->order.lock, model->opens[open].offset, &deed->request.cells);
    deed->is_valid = result == 0 && deed->order.lock.l_type != 7;
    if (way < 18) {
        deed->is_request = false;
        deed->order.value = is_ofd ? F_OFD_GETLK : F_GETLK;
        return !is_ofd || deed->order.lock.l_type == F_RDLCK || deed->order.lock.l_type == F_WRLCK;
    }
    deed->may_wait = way < 70 && (!deed->is_valid || may_wait(model, &deed->request));
    if (deed->may_wait) {
        deed->order.value = is_ofd ? F_OFD_SETLKW : F_SETLKW;
    } else {
        deed->order.value = is_ofd ? F_OFD_SETLK : F_SETLK;
    }
    return result <= 0;
}

/* A deadlock is rare: some look for one. */
static bool choose_record(const struct model *model, struct dice *dice, struct deed *deed)
{
    const struct deed empty = *deed;
    for (int left = dice_percent(dice, 20) ? 20 : 0; left > 0; left--) {
        *deed = empty;
        if (choose_any_record(model, dice, deed) && deed->is_request && deed->is_valid &&
            deed->may_wait && model_is_deadlock(model, &deed->request, false)) {
            return true;
        }
    }
    *deed = empty;
    return choose_any_record(model, dice, deed);
}

static bool choose_whole(const struct model *model, struct dice *dice, struct deed *deed)
{
    static const int operations[] = {LOCK_SH, LOCK_EX, LOCK_EX, LOCK_UN};
    const int slot = choose_slot(model, deed->seat, dice);
    if (slot < 0) {
        return false;
    }
    const int operation = CHOOSE(dice, operations);
    const int open = model->slots[deed->seat][slot];
    deed->is_request = true;
    deed->is_valid = true;
    deed->request = (struct request){
        .family = FAMILY_WHOLE,
        .file = model->opens[open].file,
        .owner = SEATS + open,
        .type = operation == LOCK_SH ? F_RDLCK : (operation == LOCK_EX ? F_WRLCK : F_UNLCK),
        .cells = {.first = 0, .last = CELLS - 1},
    };
    const uint8_t held = model->held[FAMILY_WHOLE][deed->request.file][SEATS + open][0];
    const bool converts = held != 0 && operation != LOCK_UN && held != deed->request.type + 1;
    /* What is there is given up first: then who waits for that comes first. */
    if (somebody_waits(model, &deed->request, operation == LOCK_UN) && converts) {
        return false;
    }
    for (int seat = 0; seat < SEATS; seat++) {
        if (model->waits[seat] && model->waiting[seat].family == FAMILY_WHOLE &&
            model->waiting[seat].owner == SEATS + open) {
            return false;
        }
    }
    deed->may_wait = dice_percent(dice, 50) && may_wait(model, &deed->request);
    deed->order = (struct lock_order){
        .verb = ORDER_WHOLE,
        .slot = slot,
        .value = operation | (deed->may_wait ? 0 : LOCK_NB),
    };
    return true;
}

/* ---- players ---- */

static bool choose_fork(const struct model *model, struct dice *dice, struct deed *deed)
{
    deed->kind = DEED_FORK;
    deed->order.other = (int)dice_below(dice, 2);
    for (int seat = 0; seat < SEATS; seat++) {
        if (!model->is_seated[seat]) {
            deed->child = seat;
            return true;
        }
    }
    return false;
}

static bool choose_end(const struct model *model, struct dice *dice, struct deed *deed)
{
    static const enum lock_verb ways[] = {ORDER_KILL, ORDER_EXIT, ORDER_LEAVE};
    int count = 0;
    for (int seat = 0; seat < SEATS; seat++) {
        count += model->is_seated[seat];
    }
    deed->kind = DEED_END;
    deed->how = model->waits[deed->seat] ? ORDER_KILL : CHOOSE(dice, ways);
    return count > 2;
}

bool deed_choose(const struct model *model, const struct step *step, struct deed *deed)
{
    struct dice dice = {.state = step->random};
    *deed = (struct deed){.seat = step->seat};
    if (!model->is_seated[step->seat]) {
        return false;
    }
    if (step->kind >= 97) {
        return choose_end(model, &dice, deed);
    }
    if (model->waits[step->seat]) {
        deed->kind = DEED_CANCEL;
        return step->kind >= 93;
    }
    if (step->kind < STEP_OPENS + 6) {
        return choose_open(model, &dice, deed);
    }
    if (step->kind < 10) {
        return choose_close(model, &dice, deed);
    }
    if (step->kind < 15) {
        return choose_copy(model, &dice, deed);
    }
    if (step->kind < 17) {
        return choose_seek(model, &dice, deed);
    }
    if (step->kind < 32) {
        return choose_whole(model, &dice, deed);
    }
    if (step->kind < 92) {
        return choose_record(model, &dice, deed);
    }
    return choose_fork(model, &dice, deed);
}

/* ---- for people ---- */

static void describe_record(const struct deed *deed, char *text, size_t size)
{
    static const struct {
        int command;
        const char *name;
    } names[] = {{F_SETLK, "SETLK"},
                 {F_SETLKW, "SETLKW"},
                 {F_GETLK, "GETLK"},
                 {F_OFD_SETLK, "OFD_SETLK"},
                 {F_OFD_SETLKW, "OFD_SETLKW"},
                 {F_OFD_GETLK, "OFD_GETLK"}};
    const struct flock *lock = &deed->order.lock;
    const char *name = "?";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].command == deed->order.value) {
            name = names[i].name;
        }
    }
    snprintf(text,
             size,
             "slot %d %s %s whence %d start %" PRId64 " len %" PRId64 " (cells %d-%d of f%d)%s",
             deed->order.slot,
             name,
             lock->l_type == F_RDLCK ? "read" : (lock->l_type == F_WRLCK ? "write" : "none"),
             lock->l_whence,
             (int64_t)lock->l_start,
             (int64_t)lock->l_len,
             deed->request.cells.first,
             deed->request.cells.last,
             deed->request.file,
             lock->l_pid != 0 ? " with a pid" : "");
}

void deed_describe(const struct deed *deed, char *text, size_t size)
{
    const struct lock_order *order = &deed->order;
    if (deed->kind == DEED_FORK) {
        snprintf(text, size, "%s to seat %d", order->other ? "hf_fork" : "fork", deed->child);
    } else if (deed->kind == DEED_END) {
        snprintf(text,
                 size,
                 "%s",
                 deed->how == ORDER_KILL ? "is killed"
                                         : (deed->how == ORDER_EXIT ? "exits" : "leaves"));
    } else if (deed->kind == DEED_CANCEL) {
        snprintf(text, size, "its wait is cancelled");
    } else if (order->verb == ORDER_RECORD) {
        describe_record(deed, text, size);
    } else if (order->verb == ORDER_WHOLE) {
        snprintf(text,
                 size,
                 "slot %d flock %d%s (f%d)",
                 order->slot,
                 (int)(order->value & ~LOCK_NB),
                 order->value & LOCK_NB ? " nb" : "",
                 deed->request.file);
    } else {
        static const char *const names[] = {[ORDER_OPEN] = "open",
                                            [ORDER_CLOSE] = "close",
                                            [ORDER_DUP2] = "dup2",
                                            [ORDER_SEEK] = "seek",
                                            [ORDER_EXIT] = ""};
        snprintf(text,
                 size,
                 "slot %d %s f%u value %" PRId64 " to slot %d",
                 order->slot,
                 names[order->verb],
                 order->file,
                 order->value,
                 order->other);
    }
}
