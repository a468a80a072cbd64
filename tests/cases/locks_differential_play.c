/*
 * The director: it has both sides do a step, and compares what comes of it.
 */
#include "cases/locks_differential_play.h"

#include "base/clock.h"
#include "lib/test.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LINES_BYTES 65536

enum { OURS, KERNELS, SIDES };

struct stage {
    struct fs_world world;
    struct lock_players sides[SIDES];
    struct model model;
    unsigned first_file;  /* of this sequence: each has files of its own */
    ino_t numbers[FILES]; /* ours */
    struct stage_counts counts;
    size_t used;
    char lines[LINES_BYTES]; /* what was done, for people */
};

struct stage *stage_new(void)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    fs_world_init(&stage->world);
    lock_players_init(&stage->sides[OURS], &stage->world);
    lock_players_init(&stage->sides[KERNELS], NULL);
    return stage;
}

struct stage *stage_free(struct stage *stage)
{
    for (int side = 0; side < SIDES; side++) {
        lock_players_deinit(&stage->sides[side]);
    }
    fs_world_deinit(&stage->world);
    free(stage);
    return NULL;
}

const struct stage_counts *stage_counts(const struct stage *stage)
{
    return &stage->counts;
}

const char *stage_lines(const struct stage *stage)
{
    return stage->lines;
}

static void say(struct stage *stage, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct stage *stage, const char *format, ...)
{
    va_list arguments;
    const size_t room = sizeof stage->lines - stage->used;
    va_start(arguments, format);
    const int length = vsnprintf(stage->lines + stage->used, room, format, arguments);
    va_end(arguments);
    stage->used += (size_t)length < room ? (size_t)length : room - 1;
}

/* ---- both sides ---- */

static struct lock_player *player_of(struct stage *stage, int side, int seat)
{
    return &stage->sides[side].seats[seat];
}

static void tell_both(struct stage *stage, int seat, const struct lock_order *order)
{
    for (int side = 0; side < SIDES; side++) {
        lock_players_forget_news(&stage->sides[side]);
        lock_players_tell(&stage->sides[side], seat, order);
    }
    for (int side = 0; side < SIDES; side++) {
        lock_players_settle(&stage->sides[side], seat);
    }
}

static void end_both(struct stage *stage, int seat, enum lock_verb how)
{
    for (int side = 0; side < SIDES; side++) {
        lock_players_forget_news(&stage->sides[side]);
        lock_players_end(&stage->sides[side], seat, how);
        lock_players_settle(&stage->sides[side], -1);
    }
    model_leave(&stage->model, seat);
}

static void cancel_both(struct stage *stage, int seat)
{
    for (int side = 0; side < SIDES; side++) {
        lock_players_forget_news(&stage->sides[side]);
        lock_players_cancel(&stage->sides[side], seat);
        lock_players_hear(&stage->sides[side], seat);
        lock_players_settle(&stage->sides[side], seat);
    }
}

static int fork_both(struct stage *stage, const struct deed *deed)
{
    int results[SIDES];
    for (int side = 0; side < SIDES; side++) {
        lock_players_forget_news(&stage->sides[side]);
        results[side] =
            lock_players_fork(&stage->sides[side], deed->seat, deed->child, deed->order.other != 0);
        lock_players_settle(&stage->sides[side], deed->seat);
    }
    assert_int_equal(results[KERNELS], 0);
    return results[OURS];
}

/* ---- comparing ---- */

/* Whose process it is, as both sides know it. */
static int64_t seat_of(const struct stage *stage, int side, pid_t pid)
{
    const int seat = lock_players_find(&stage->sides[side], pid);
    return seat >= 0 ? 1000000 + seat : pid;
}

/* Is what a test for a lock told of really in the way? Which one of several, each side may choose. */
static bool is_true_conflict(struct stage *stage, const struct deed *deed, const struct flock *told)
{
    const struct found found = {
        .family = FAMILY_RECORD,
        .file = deed->request.file,
        .seat = lock_players_find(&stage->sides[OURS], told->l_pid),
        .but_not = deed->request.owner,
        .type = told->l_type,
        .begin = told->l_start,
        .end = told->l_len == 0 ? INT64_MAX : told->l_start + told->l_len - 1,
    };
    stage->counts.others_told++;
    return told->l_whence == SEEK_SET && (found.seat >= 0 || told->l_pid == -1) &&
           model_has(&stage->model, &found) &&
           (told->l_type == F_WRLCK || deed->order.lock.l_type == F_WRLCK);
}

static bool is_same_lock(struct stage *stage, const struct deed *deed)
{
    const struct flock *ours = &player_of(stage, OURS, deed->seat)->answer.lock;
    const struct flock *theirs = &player_of(stage, KERNELS, deed->seat)->answer.lock;
    if (deed->kind != DEED_ORDER || deed->order.verb != ORDER_RECORD) {
        return true;
    }
    if (ours->l_type == theirs->l_type && ours->l_whence == theirs->l_whence &&
        ours->l_start == theirs->l_start && ours->l_len == theirs->l_len &&
        seat_of(stage, OURS, ours->l_pid) == seat_of(stage, KERNELS, theirs->l_pid)) {
        return true;
    }
    say(stage,
        "    ours tells of type %d whence %d start %lld len %lld pid %d seat %d, the kernel's of "
        "type %d whence %d start %lld len %lld pid %d seat %d\n",
        ours->l_type,
        ours->l_whence,
        (long long)ours->l_start,
        (long long)ours->l_len,
        ours->l_pid,
        lock_players_find(&stage->sides[OURS], ours->l_pid),
        theirs->l_type,
        theirs->l_whence,
        (long long)theirs->l_start,
        (long long)theirs->l_len,
        theirs->l_pid,
        lock_players_find(&stage->sides[KERNELS], theirs->l_pid));
    return theirs->l_type != F_UNLCK && ours->l_type != F_UNLCK &&
           is_true_conflict(stage, deed, ours);
}

/* One side says that it is a deadlock and the other one waits: the wait is ended by hand, if that is
 * where they are meant to differ. @seat wants @request. */
static void agree_about_deadlock(struct stage *stage, int seat, const struct request *request)
{
    for (int side = 0; side < SIDES; side++) {
        struct lock_player *refused = player_of(stage, side, seat);
        struct lock_player *waiting = player_of(stage, !side, seat);
        if (refused->is_busy || !refused->has_news || refused->answer.result != -EDEADLK ||
            !waiting->is_busy || !model_is_deadlock(&stage->model, request, side == KERNELS)) {
            continue;
        }
        *(side == OURS ? &stage->counts.found_first : &stage->counts.kernels_alone) += 1;
        lock_players_cancel(&stage->sides[!side], seat);
        lock_players_hear(&stage->sides[!side], seat);
        lock_players_settle(&stage->sides[!side], -1);
        if (waiting->answer.result == -ECANCELED) {
            waiting->answer.result = -EDEADLK;
        }
    }
}

static bool is_same_seat(struct stage *stage, int seat)
{
    const struct lock_player *ours = player_of(stage, OURS, seat);
    const struct lock_player *theirs = player_of(stage, KERNELS, seat);
    if (ours->is_busy == theirs->is_busy && ours->has_news == theirs->has_news &&
        (!ours->has_news || ours->answer.result == theirs->answer.result)) {
        return true;
    }
    say(stage,
        "    seat %d: ours %s %d, the kernel's %s %d\n",
        seat,
        ours->is_busy ? "waits" : (ours->has_news ? "has" : "idle"),
        ours->is_busy ? 0 : ours->answer.result,
        theirs->is_busy ? "waits" : (theirs->has_news ? "has" : "idle"),
        theirs->is_busy ? 0 : theirs->answer.result);
    return false;
}

/* Compare what everybody has answered, and believe it. */
static bool compare(struct stage *stage, const struct deed *deed)
{
    struct model *model = &stage->model;
    bool same = true;
    if (deed->is_request && deed->may_wait) {
        agree_about_deadlock(stage, deed->seat, &deed->request);
    }
    for (int seat = 0; seat < SEATS; seat++) {
        if (model->waits[seat]) {
            agree_about_deadlock(stage, seat, &model->waiting[seat]);
        }
        same = is_same_seat(stage, seat) && same;
    }
    if (!same) {
        return false;
    }
    for (int seat = 0; seat < SEATS; seat++) {
        const struct lock_player *ours = player_of(stage, OURS, seat);
        if (!model->waits[seat] || !ours->has_news) {
            continue;
        }
        model->waits[seat] = false;
        say(stage, "    seat %d goes on with %d\n", seat, ours->answer.result);
        if (ours->answer.result == 0) {
            stage->counts.granted_later++;
            model_apply(model, &model->waiting[seat]);
        }
    }
    return true;
}

/* What the model has to know of an order that was carried out. */
static bool follow(struct stage *stage, const struct deed *deed)
{
    struct model *model = &stage->model;
    const struct lock_order *order = &deed->order;
    const struct lock_player *player = player_of(stage, OURS, deed->seat);
    if (player->is_busy) {
        say(stage, "    waits\n");
        stage->counts.waits++;
        model->waits[deed->seat] = true;
        model->waiting[deed->seat] = deed->request;
        return deed->may_wait && deed->is_request;
    }
    stage->counts.refused += player->answer.result == -EAGAIN;
    stage->counts.deadlocks += player->answer.result == -EDEADLK;
    say(stage, "    %d\n", player->answer.result);
    if (!is_same_lock(stage, deed)) {
        return false;
    }
    const struct request none = {
        .family = FAMILY_WHOLE,
        .file = deed->request.file,
        .owner = deed->request.owner,
        .type = F_UNLCK,
        .cells = {.first = 0, .last = CELLS - 1},
    };
    if (player->answer.result < 0) {
        /* A conversion that failed has given up the old lock. */
        if (order->verb == ORDER_WHOLE) {
            model_apply(model, &none);
        }
    } else if (deed->is_request) {
        model_apply(model, &deed->request);
    } else if (order->verb == ORDER_OPEN) {
        model_open(model, deed->seat, order->slot, (int)order->file);
    } else if (order->verb == ORDER_CLOSE) {
        model_close(model, deed->seat, order->slot);
    } else if (order->verb == ORDER_DUP2) {
        model_copy(model, deed->seat, order->slot, order->other);
    } else if (order->verb == ORDER_SEEK) {
        model->opens[model->slots[deed->seat][order->slot]].offset = order->value;
    }
    return true;
}

/* ---- one step ---- */

/* A lock of flock() that is converted is given up first, also if its owner then waits. */
static void give_up_first(struct stage *stage, const struct deed *deed)
{
    struct request none = deed->request;
    none.type = F_UNLCK;
    if (deed->order.verb == ORDER_WHOLE && player_of(stage, OURS, deed->seat)->is_busy) {
        model_apply(&stage->model, &none);
    }
}

static enum verdict do_step(struct stage *stage, const struct step *step)
{
    struct deed deed;
    char text[200];
    if (step->left_out || !deed_choose(&stage->model, step, &deed)) {
        return PASSED_OVER;
    }
    deed_describe(&deed, text, sizeof text);
    say(stage, "  seat %d: %s\n", deed.seat, text);
    stage->counts.steps++;
    struct lock_order order = deed.order;
    order.file += stage->first_file;
    int forked = 0;
    switch (deed.kind) {
    case DEED_ORDER:
        tell_both(stage, deed.seat, &order);
        break;
    case DEED_FORK:
        forked = fork_both(stage, &deed);
        break;
    case DEED_END:
        end_both(stage, deed.seat, deed.how);
        break;
    case DEED_CANCEL:
        cancel_both(stage, deed.seat);
        break;
    }
    if (deed.kind == DEED_FORK && forked != 0) {
        say(stage, "    ours %d\n", forked);
        return DIFFERENT;
    }
    if (!compare(stage, &deed)) {
        return DIFFERENT;
    }
    if (deed.kind == DEED_FORK) {
        model_fork(&stage->model, deed.seat, deed.child);
    } else if (deed.kind == DEED_ORDER) {
        give_up_first(stage, &deed);
        return follow(stage, &deed) ? SAME : DIFFERENT;
    }
    return SAME;
}

/* ---- what is there at the end ---- */

static bool is_in_model(struct stage *stage, const struct lock_listed *listed)
{
    int file = 0;
    while (file < FILES && stage->numbers[file] != listed->file.object) {
        file++;
    }
    const struct found found = {
        .family = listed->kind == 0 ? FAMILY_WHOLE : FAMILY_RECORD,
        .file = file,
        .seat = listed->kind == F_SETLK ? lock_players_find(&stage->sides[OURS], listed->pid) : -1,
        .but_not = -1,
        .type = listed->type,
        .begin = listed->start,
        .end = listed->end,
    };
    return file < FILES && (listed->kind != F_SETLK || found.seat >= 0) &&
           model_has(&stage->model, &found);
}

/* The server's list of locks is the model's. */
static bool has_the_same_locks(struct stage *stage, int seat)
{
    const struct lock_order list = {.verb = ORDER_LIST_ALL};
    const struct lock_answer *answer = lock_players_do(&stage->sides[OURS], seat, list);
    unsigned held = 0;
    bool same = answer->result == 0;
    for (unsigned i = 0; i < answer->listed_count && i < LOCK_LISTED_MAX; i++) {
        const struct lock_listed *listed = &answer->listed[i];
        if (listed->state != HF_LOCK_HELD) {
            continue;
        }
        held++;
        if (!is_in_model(stage, listed)) {
            same = false;
            say(stage,
                "  listed but not held: kind %d type %d of inode %llu, %lld to %lld, pid %d seat %d\n",
                listed->kind,
                listed->type,
                (unsigned long long)listed->file.object,
                (long long)listed->start,
                (long long)listed->end,
                listed->pid,
                lock_players_find(&stage->sides[OURS], listed->pid));
        }
    }
    if (answer->listed_count <= LOCK_LISTED_MAX && held != model_count(&stage->model)) {
        say(stage, "  %u listed, %u held\n", held, model_count(&stage->model));
        same = false;
    }
    return same;
}

static bool cancel_all(struct stage *stage)
{
    for (int seat = 0; seat < SEATS; seat++) {
        if (stage->model.waits[seat]) {
            const struct deed deed = {.seat = seat, .kind = DEED_CANCEL};
            say(stage, "  at the end seat %d gives up\n", seat);
            cancel_both(stage, seat);
            if (!compare(stage, &deed)) {
                return false;
            }
        }
    }
    return true;
}

static int anybody(const struct stage *stage)
{
    int seat = 0;
    while (!stage->model.is_seated[seat]) {
        seat++;
    }
    return seat;
}

/* ---- a sequence ---- */

static void begin_sequence(struct stage *stage)
{
    static unsigned next_file = 1;
    model_init(&stage->model);
    stage->used = 0;
    stage->lines[0] = '\0';
    stage->first_file = next_file;
    next_file += FILES;
    for (int seat = 0; seat < SEATS; seat++) {
        stage->model.is_seated[seat] = seat < SEATS - 1;
        for (int side = 0; side < SIDES; side++) {
            const bool is_seated = lock_players_is_seated(&stage->sides[side], seat);
            if (!is_seated && seat < SEATS - 1) {
                lock_players_seat(&stage->sides[side], seat);
            } else if (is_seated && seat == SEATS - 1) {
                lock_players_end(&stage->sides[side], seat, ORDER_LEAVE);
            }
        }
    }
    for (unsigned file = 0; file < FILES; file++) {
        for (int side = 0; side < SIDES; side++) {
            const struct lock_order order = lock_order_make(stage->first_file + file, FILE_BYTES);
            const struct lock_answer *answer = lock_players_do(&stage->sides[side], 0, order);
            assert_int_equal(answer->result, 0);
            if (side == OURS) {
                stage->numbers[file] = answer->number;
            }
        }
    }
}

static void end_sequence(struct stage *stage)
{
    const int seat = anybody(stage);
    const struct lock_order reset = {.verb = ORDER_RESET};
    for (int side = 0; side < SIDES; side++) {
        for (int i = 0; i < SEATS; i++) {
            if (stage->model.is_seated[i]) {
                lock_players_do(&stage->sides[side], i, reset);
            }
        }
        for (unsigned file = 0; file < FILES; file++) {
            const struct lock_order order = {.verb = ORDER_UNLINK,
                                             .file = stage->first_file + file};
            assert_int_equal(lock_players_do(&stage->sides[side], seat, order)->result, 0);
        }
    }
}

bool stage_play(struct stage *stage, const struct step *steps, size_t count)
{
    begin_sequence(stage);
    for (size_t i = 0; i < count; i++) {
        if (do_step(stage, &steps[i]) == DIFFERENT) {
            return false;
        }
    }
    if (!cancel_all(stage) || !has_the_same_locks(stage, anybody(stage))) {
        return false;
    }
    end_sequence(stage);
    return true;
}

void stage_abandon(struct stage *stage)
{
    for (int side = 0; side < SIDES; side++) {
        for (int seat = 0; seat < SEATS; seat++) {
            if (lock_players_is_seated(&stage->sides[side], seat)) {
                lock_players_end(&stage->sides[side], seat, ORDER_KILL);
            }
        }
        lock_players_seat(&stage->sides[side], 0);
        for (unsigned file = 0; file < FILES; file++) {
            const struct lock_order order = {.verb = ORDER_UNLINK,
                                             .file = stage->first_file + file};
            lock_players_do(&stage->sides[side], 0, order);
        }
    }
    stage_free(stage);
}
