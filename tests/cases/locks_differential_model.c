#include "cases/locks_differential.h"

#include <errno.h>
#include <string.h>

/* ---- cells ---- */

#define NEAR 16 /* bytes at the beginning of a file that are cells */
#define FAR (INT64_C(1) << 40)
#define FEW 4 /* bytes at FAR, and at the end of all files */

int64_t cell_begin(int cell)
{
    if (cell <= NEAR) {
        return cell; /* the cell NEAR is all up to FAR */
    }
    if (cell <= NEAR + 1 + FEW) {
        return FAR + cell - NEAR - 1; /* the last of these is all up to the last few bytes */
    }
    return INT64_MAX - (CELLS - 1 - cell);
}

int64_t cell_end(int cell)
{
    return cell == CELLS - 1 ? INT64_MAX : cell_begin(cell + 1) - 1;
}

static int find_cell(int64_t byte)
{
    int cell = 0;
    while (byte > cell_end(cell)) {
        cell++;
    }
    return cell;
}

int cells_of_flock(const struct flock *lock, int64_t offset, struct cells *cells)
{
    int64_t start =
        lock->l_whence == SEEK_CUR ? offset : (lock->l_whence == SEEK_END ? FILE_BYTES : 0);
    int64_t end = INT64_MAX;
    if (lock->l_whence < SEEK_SET || lock->l_whence > SEEK_END) {
        return -EINVAL;
    }
    if (lock->l_start > INT64_MAX - start) {
        return -EOVERFLOW;
    }
    start += lock->l_start;
    if (start < 0 || (lock->l_len < 0 && start + lock->l_len < 0)) {
        return -EINVAL;
    }
    if (lock->l_len > 0 && lock->l_len - 1 > INT64_MAX - start) {
        return -EOVERFLOW;
    }
    if (lock->l_len > 0) {
        end = start + (lock->l_len - 1);
    } else if (lock->l_len < 0) {
        end = start - 1;
        start += lock->l_len;
    }
    *cells = (struct cells){.first = find_cell(start), .last = find_cell(end)};
    return cell_begin(cells->first) == start && cell_end(cells->last) == end ? 0 : 1;
}

/* ---- locks ---- */

void model_init(struct model *model)
{
    *model = (struct model){0};
    for (int seat = 0; seat < SEATS; seat++) {
        for (int slot = 0; slot < LOCK_SLOTS; slot++) {
            model->slots[seat][slot] = -1;
        }
    }
}

bool request_conflicts(const struct request *one, const struct request *other)
{
    return one->family == other->family && one->file == other->file && one->owner != other->owner &&
           (one->type == F_WRLCK || other->type == F_WRLCK) &&
           one->cells.first <= other->cells.last && other->cells.first <= one->cells.last;
}

bool model_is_in_the_way(const struct model *model, const struct request *request, int owner)
{
    const uint8_t *held = model->held[request->family][request->file][owner];
    if (owner == request->owner || request->type == F_UNLCK) {
        return false;
    }
    for (int cell = request->cells.first; cell <= request->cells.last; cell++) {
        if (held[cell] == F_WRLCK + 1 || (held[cell] != 0 && request->type == F_WRLCK)) {
            return true;
        }
    }
    return false;
}

bool model_is_free(const struct model *model, const struct request *request)
{
    for (int owner = 0; owner < OWNERS; owner++) {
        if (model_is_in_the_way(model, request, owner)) {
            return false;
        }
    }
    return true;
}

/* Does who waits for @request wait for the process @goal? @seen: owners that were looked at. */
static bool leads_to(const struct model *model, const struct request *request, int goal,
                     bool through_open_files, uint64_t *seen)
{
    for (int owner = 0; owner < (through_open_files ? OWNERS : SEATS); owner++) {
        if ((*seen >> owner & 1) != 0 || !model_is_in_the_way(model, request, owner)) {
            continue;
        }
        if (owner == goal) {
            return true;
        }
        *seen |= UINT64_C(1) << owner;
        for (int seat = 0; seat < SEATS; seat++) {
            const struct request *next = &model->waiting[seat];
            if (model->waits[seat] && next->family == FAMILY_RECORD && next->owner == owner &&
                leads_to(model, next, goal, through_open_files, seen)) {
                return true;
            }
        }
    }
    return false;
}

bool model_is_deadlock(const struct model *model, const struct request *request,
                       bool through_open_files)
{
    uint64_t seen = 0;
    return request->family == FAMILY_RECORD && request->owner < SEATS &&
           leads_to(model, request, request->owner, through_open_files, &seen);
}

void model_apply(struct model *model, const struct request *request)
{
    const uint8_t type = request->type == F_UNLCK ? 0 : (uint8_t)(request->type + 1);
    uint8_t *held = model->held[request->family][request->file][request->owner];
    for (int cell = request->cells.first; cell <= request->cells.last; cell++) {
        held[cell] = type;
    }
}

/* ---- open files ---- */

static bool is_open(const struct model *model, int open)
{
    for (int seat = 0; seat < SEATS; seat++) {
        for (int slot = 0; slot < LOCK_SLOTS; slot++) {
            if (model->slots[seat][slot] == open) {
                return true;
            }
        }
    }
    return false;
}

void model_open(struct model *model, int seat, int slot, int file)
{
    int open = 0;
    while (is_open(model, open)) {
        open++;
    }
    model->opens[open] = (struct open_file){.file = file};
    model->slots[seat][slot] = open;
}

void model_copy(struct model *model, int seat, int from, int to)
{
    const int open = model->slots[seat][from];
    if (from != to) {
        model_close(model, seat, to);
        model->slots[seat][to] = open;
    }
}

void model_close(struct model *model, int seat, int slot)
{
    const int open = model->slots[seat][slot];
    if (open < 0) {
        return;
    }
    model->slots[seat][slot] = -1;
    const int file = model->opens[open].file;
    memset(model->held[FAMILY_RECORD][file][seat], 0, CELLS);
    if (!is_open(model, open)) {
        memset(model->held[FAMILY_RECORD][file][SEATS + open], 0, CELLS);
        memset(model->held[FAMILY_WHOLE][file][SEATS + open], 0, CELLS);
    }
}

void model_fork(struct model *model, int seat, int child)
{
    model->is_seated[child] = true;
    memcpy(model->slots[child], model->slots[seat], sizeof model->slots[child]);
}

void model_leave(struct model *model, int seat)
{
    for (int slot = 0; slot < LOCK_SLOTS; slot++) {
        model_close(model, seat, slot);
    }
    model->is_seated[seat] = false;
    model->waits[seat] = false;
}

/* ---- what is held ---- */

unsigned model_count(const struct model *model)
{
    unsigned count = 0;
    for (int family = 0; family < FAMILIES; family++) {
        for (int file = 0; file < FILES; file++) {
            for (int owner = 0; owner < OWNERS; owner++) {
                const uint8_t *held = model->held[family][file][owner];
                for (int cell = 0; cell < CELLS; cell++) {
                    count += held[cell] != 0 && (cell == 0 || held[cell - 1] != held[cell]);
                }
            }
        }
    }
    return count;
}

static bool has_run(const uint8_t *held, const struct found *found)
{
    for (int cell = 0; cell < CELLS; cell++) {
        int last = cell;
        if (held[cell] != found->type + 1 || (cell > 0 && held[cell - 1] == held[cell])) {
            continue;
        }
        while (last + 1 < CELLS && held[last + 1] == held[cell]) {
            last++;
        }
        if (cell_begin(cell) == found->begin && cell_end(last) == found->end) {
            return true;
        }
    }
    return false;
}

bool model_has(const struct model *model, const struct found *found)
{
    const int from = found->seat >= 0 ? found->seat : SEATS;
    const int to = found->seat >= 0 ? found->seat + 1 : OWNERS;
    for (int owner = from; owner < to; owner++) {
        if (owner != found->but_not &&
            has_run(model->held[found->family][found->file][owner], found)) {
            return true;
        }
    }
    return false;
}
