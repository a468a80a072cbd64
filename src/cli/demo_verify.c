/*
 * Is every line that was dealt out in the file, whole, once, and in its client's order?
 *
 * The difficulty is lines that are the same: a blank line in the file may be any of the blank
 * lines of any client, and which one it is taken for decides whether the order of a client
 * seems kept. Trying all of them takes for ever, guessing reports failures that are none. So
 * the clients say a little more than the file does: after each line its client notes where the
 * file's offset (or end) stood. That is at or behind the end of this line, and not behind the
 * start of the client's next one. Every line thereby has a window in which it must be; the
 * windows of one client follow each other without overlapping, so lines that are in their
 * windows are in order.
 *
 * What is left is to give each place in the file to one line of the same text whose window
 * it is in. For each text that is a matching of points to intervals, and taking the points
 * from left to right, giving each to the open interval that closes first, finds a complete
 * matching whenever there is one. The check is therefore exact: it passes if and only if the
 * file can be accounted for line by line. A place without a line is a doubled line, a line
 * without a place is lost, and one of each with the same text is a misplaced line.
 *
 * Both sides are sorted by the hash of their text, so it takes n log n time, and 32 bytes of
 * memory for each line.
 */
#include "cli/demo_verify.h"

#include "cli/demo_fragment.h"
#include "cli/demo_text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line that was dealt out, or a place in the file where a line stands. */
struct item {
    uint64_t hash;
    uint64_t what; /* client * most + number, or the offset */
};

/* Where a dealt line may be. */
struct window {
    uint64_t from;
    uint64_t to;
    uint64_t what; /* as in struct item */
};

struct check {
    const struct verify_task *task;
    struct verify_result *out;
    uint64_t most;
    struct item *dealt;
    uint64_t dealt_count;
    struct item *found;
    uint64_t found_count;
    /* For one text at a time. */
    struct window *windows; /* by `from` */
    uint64_t window_count;
    uint64_t window_room;
    uint64_t *places; /* ascending */
    uint64_t place_count;
    uint64_t place_room;
    uint64_t *open; /* indices of windows that are open; at most one for each client */
};

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a, which can be continued from the tag to the body. */
static uint64_t hash_more(uint64_t hash, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static struct line_name name_of(const struct check *check, uint64_t what)
{
    return (struct line_name){(unsigned)(what / check->most), what % check->most};
}

/* What stands at an offset, up to and with the newline if there is one. */
static size_t size_at(const struct verify_task *task, uint64_t offset)
{
    const char *at = task->bytes + offset;
    const char *newline = memchr(at, '\n', task->size - offset);
    return newline == NULL ? task->size - offset : (size_t)(newline - at) + 1;
}

__attribute__((format(printf, 4, 5))) static void give_example(struct check *check,
                                                               const char *bytes, size_t size,
                                                               const char *format, ...)
{
    struct verify_result *out = check->out;
    if (out->example_count == VERIFY_EXAMPLES) {
        return;
    }
    char *text = out->examples[out->example_count++];
    va_list arguments;
    va_start(arguments, format);
    const int used = vsnprintf(text, VERIFY_EXAMPLE_SIZE, format, arguments);
    va_end(arguments);
    assert(used > 0 && used < VERIFY_EXAMPLE_SIZE / 2);
    demo_quote(bytes, size, text + used, (size_t)(VERIFY_EXAMPLE_SIZE - used));
}

static void example_of_line(struct check *check, const char *what, struct line_name name)
{
    size_t size;
    const char *body = workload_body(check->task->workload, name, &size);
    give_example(check,
                 body,
                 size,
                 "%s: line %" PRIu64 " of client %u: ",
                 what,
                 name.number + 1,
                 name.client + 1);
}

static void example_of_place(struct check *check, const char *what, uint64_t offset)
{
    give_example(check,
                 check->task->bytes + offset,
                 size_at(check->task, offset),
                 "%s: at byte %" PRIu64 ": ",
                 what,
                 offset);
}

/* ---- gathering ---- */

/* The offset can only have gone forward from one line of a client to its next. */
static void check_order_of_ends(struct check *check, struct line_name name, uint64_t what)
{
    uint64_t *const ends = check->task->ends;
    if (name.number > 0 && ends[what] < ends[what - 1]) {
        ends[what] = ends[what - 1];
        check->out->misplaced++;
        example_of_line(check, "the offset went back", name);
    }
}

static int gather_dealt(struct check *check)
{
    const struct workload *workload = check->task->workload;
    check->dealt = malloc((workload->total + 1) * sizeof(*check->dealt));
    if (check->dealt == NULL) {
        return -ENOMEM;
    }
    for (unsigned client = 0; client < workload->clients; client++) {
        const uint64_t count = workload_count(workload, client);
        for (uint64_t number = 0; number < count; number++) {
            const struct line_name name = {client, number};
            char tag[WORKLOAD_TAG_MAX];
            const size_t tag_size = workload_tag(workload, name, tag);
            size_t size;
            const char *body = workload_body(workload, name, &size);
            uint64_t hash = hash_more(HASH_START, tag, tag_size);
            hash = hash_more(hash, body, size);
            hash = hash_more(hash, "\n", 1);
            const uint64_t what = client * check->most + number;
            check->dealt[check->dealt_count++] = (struct item){hash, what};
            check_order_of_ends(check, name, what);
        }
    }
    return 0;
}

/* Return: where the line begins behind fragments that may be there, or @offset when it is not
 * made of fragments and a line. */
static uint64_t skip_fragments(struct check *check, uint64_t offset, size_t size)
{
    const struct verify_task *task = check->task;
    struct fragment_split split;
    if (!task->fragments_allowed ||
        !fragment_split(
            task->workload, task->doubts, task->doubt_count, task->bytes + offset, size, &split) ||
        check->out->fragments + split.fragments > task->doubt_count) {
        return offset;
    }
    check->out->fragments += split.fragments;
    return offset + split.line_start;
}

static int gather_found(struct check *check)
{
    const struct verify_task *task = check->task;
    uint64_t count = 0;
    for (uint64_t offset = 0; offset < task->size; offset += size_at(task, offset)) {
        count++;
    }
    check->found = malloc((count + 1) * sizeof(*check->found));
    if (check->found == NULL) {
        return -ENOMEM;
    }
    uint64_t offset = 0;
    while (offset < task->size) {
        const uint64_t next = offset + size_at(task, offset);
        offset = skip_fragments(check, offset, next - offset);
        if (offset < next) {
            const uint64_t hash = hash_more(HASH_START, task->bytes + offset, next - offset);
            check->found[check->found_count++] = (struct item){hash, offset};
        }
        offset = next;
    }
    return 0;
}

static int compare_items(const void *left, const void *right)
{
    const struct item *a = left;
    const struct item *b = right;
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    return a->what < b->what ? -1 : a->what > b->what;
}

/* ---- one text ---- */

static int compare_windows(const void *left, const void *right)
{
    const struct window *a = left;
    const struct window *b = right;
    return a->from < b->from ? -1 : a->from > b->from;
}

static int add_window(struct check *check, uint64_t what)
{
    if (check->window_count == check->window_room) {
        const uint64_t room = check->window_room == 0 ? 64 : check->window_room * 2;
        struct window *larger = realloc(check->windows, room * sizeof(*larger));
        if (larger == NULL) {
            return -ENOMEM;
        }
        check->windows = larger;
        check->window_room = room;
    }
    const struct line_name name = name_of(check, what);
    check->windows[check->window_count++] = (struct window){
        name.number == 0 ? 0 : check->task->ends[what - 1], check->task->ends[what], what};
    return 0;
}

static int add_place(struct check *check, uint64_t offset)
{
    if (check->place_count == check->place_room) {
        const uint64_t room = check->place_room == 0 ? 64 : check->place_room * 2;
        uint64_t *larger = realloc(check->places, room * sizeof(*larger));
        if (larger == NULL) {
            return -ENOMEM;
        }
        check->places = larger;
        check->place_room = room;
    }
    check->places[check->place_count++] = offset;
    return 0;
}

/* Take the open window that closes first and has room for what ends at @end, and drop those
 * that have none. Return: false when no window is left. */
static bool take_window(struct check *check, size_t *open_count, uint64_t end)
{
    size_t kept = 0;
    size_t best = 0;
    for (size_t i = 0; i < *open_count; i++) {
        const uint64_t window = check->open[i];
        if (check->windows[window].to < end) {
            continue;
        }
        check->open[kept] = window;
        if (check->windows[window].to < check->windows[check->open[best]].to) {
            best = kept;
        }
        kept++;
    }
    *open_count = kept;
    if (kept == 0) {
        return false;
    }
    check->windows[check->open[best]].what = UINT64_MAX;
    check->open[best] = check->open[kept - 1];
    *open_count = kept - 1;
    return true;
}

/* Drop windows that are over before @start. One client's windows do not overlap, so no more
 * than one a client is left. */
static size_t close_windows(struct check *check, size_t open_count, uint64_t start)
{
    size_t kept = 0;
    for (size_t i = 0; i < open_count; i++) {
        if (check->windows[check->open[i]].to > start) {
            check->open[kept++] = check->open[i];
        }
    }
    return kept;
}

/* Match check->places with check->windows: all are of one text. */
static void match_text(struct check *check)
{
    struct verify_result *out = check->out;
    if (check->place_count == 0 && check->window_count == 0) {
        return;
    }
    qsort(check->windows, check->window_count, sizeof(*check->windows), compare_windows);
    uint64_t next = 0;
    size_t open_count = 0;
    uint64_t matched = 0;
    uint64_t unmatched = 0; /* moved to the front of places */
    for (uint64_t i = 0; i < check->place_count; i++) {
        const uint64_t start = check->places[i];
        open_count = close_windows(check, open_count, start);
        while (next < check->window_count && check->windows[next].from <= start) {
            if (check->windows[next].to > start) {
                assert(open_count < check->task->workload->clients);
                check->open[open_count++] = next;
            }
            next++;
        }
        if (take_window(check, &open_count, start + size_at(check->task, start))) {
            matched++;
        } else {
            check->places[unmatched++] = start;
        }
    }
    out->lines += matched;

    const uint64_t empty = check->window_count - matched;
    const uint64_t misplaced = empty < unmatched ? empty : unmatched;
    out->misplaced += misplaced;
    out->lost += empty - misplaced;
    out->doubled += unmatched - misplaced;
    uint64_t told = 0;
    for (uint64_t i = 0; i < check->window_count && told < VERIFY_EXAMPLES; i++) {
        if (check->windows[i].what != UINT64_MAX) {
            const char *what = told < misplaced ? "out of order" : "lost";
            example_of_line(check, what, name_of(check, check->windows[i].what));
            told++;
        }
    }
    for (uint64_t i = misplaced; i < unmatched && i < misplaced + VERIFY_EXAMPLES; i++) {
        example_of_place(check, "doubled", check->places[i]);
    }
}

/* ---- one hash ---- */

static bool same_dealt(const struct check *check, uint64_t a, uint64_t b)
{
    const struct workload *workload = check->task->workload;
    if (a == b || workload->tagged) {
        return a == b;
    }
    size_t a_size;
    size_t b_size;
    const char *a_body = workload_body(workload, name_of(check, a), &a_size);
    const char *b_body = workload_body(workload, name_of(check, b), &b_size);
    return a_size == b_size && memcmp(a_body, b_body, a_size) == 0;
}

/* All items here have one hash, which nearly always means one text; if not, the texts come one
 * after the other. */
static int match_hash(struct check *check, struct item *dealt, uint64_t dealt_count,
                      struct item *found, uint64_t found_count)
{
    const struct verify_task *task = check->task;
    while (dealt_count > 0) {
        const uint64_t model = dealt[0].what;
        uint64_t dealt_left = 0;
        uint64_t found_left = 0;
        int result = 0;
        check->window_count = 0;
        check->place_count = 0;
        for (uint64_t i = 0; i < dealt_count && result == 0; i++) {
            if (same_dealt(check, model, dealt[i].what)) {
                result = add_window(check, dealt[i].what);
            } else {
                dealt[dealt_left++] = dealt[i];
            }
        }
        for (uint64_t i = 0; i < found_count && result == 0; i++) {
            const uint64_t offset = found[i].what;
            if (workload_is_line(task->workload,
                                 name_of(check, model),
                                 task->bytes + offset,
                                 size_at(task, offset))) {
                result = add_place(check, offset);
            } else {
                found[found_left++] = found[i];
            }
        }
        if (result < 0) {
            return result;
        }
        match_text(check);
        dealt_count = dealt_left;
        found_count = found_left;
    }
    for (uint64_t i = 0; i < found_count; i++) {
        check->out->torn++;
        example_of_place(check, "torn", found[i].what);
    }
    return 0;
}

/* Return: how many items from the first on have its hash. */
static uint64_t run_length(const struct item *items, uint64_t count)
{
    uint64_t length = 0;
    while (length < count && items[length].hash == items[0].hash) {
        length++;
    }
    return length;
}

static int match_all(struct check *check)
{
    qsort(check->dealt, check->dealt_count, sizeof(struct item), compare_items);
    qsort(check->found, check->found_count, sizeof(struct item), compare_items);
    uint64_t d = 0;
    uint64_t f = 0;
    while (d < check->dealt_count || f < check->found_count) {
        struct item *dealt = check->dealt + d;
        struct item *found = check->found + f;
        uint64_t dealt_run = run_length(dealt, check->dealt_count - d);
        uint64_t found_run = run_length(found, check->found_count - f);
        if (dealt_run > 0 && found_run > 0) {
            if (dealt->hash < found->hash) {
                found_run = 0;
            } else if (found->hash < dealt->hash) {
                dealt_run = 0;
            }
        }
        const int result = match_hash(check, dealt, dealt_run, found, found_run);
        if (result < 0) {
            return result;
        }
        d += dealt_run;
        f += found_run;
    }
    return 0;
}

int verify_file(const struct verify_task *task, struct verify_result *out)
{
    *out = (struct verify_result){0};
    struct check check = {.task = task, .out = out, .most = workload_most(task->workload)};
    check.open = malloc(task->workload->clients * sizeof(*check.open));
    int result = check.open == NULL ? -ENOMEM : gather_dealt(&check);
    if (result == 0) {
        result = gather_found(&check);
    }
    if (result == 0) {
        result = match_all(&check);
    }
    free(check.open);
    free(check.places);
    free(check.windows);
    free(check.found);
    free(check.dealt);
    return result;
}

bool verify_passed(const struct verify_result *result)
{
    return result->lost == 0 && result->torn == 0 && result->doubled == 0 && result->misplaced == 0;
}
