#include "cli/locks_view.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

void locks_view_deinit(struct locks_view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        free((char *)(uintptr_t)view->infos[i].path);
    }
    free(view->infos);
    *view = (struct locks_view){0};
}

int locks_view_add(struct locks_view *view, const hf_lock_info *info)
{
    if (view->count == view->capacity) {
        const size_t capacity = view->capacity > 0 ? 2 * view->capacity : 64;
        hf_lock_info *infos = reallocarray(view->infos, capacity, sizeof(*infos));
        if (infos == NULL) {
            return -ENOMEM;
        }
        view->infos = infos;
        view->capacity = capacity;
    }
    char *path = strdup(info->path);
    if (path == NULL) {
        return -ENOMEM;
    }
    view->infos[view->count] = *info;
    view->infos[view->count].path = path;
    view->count++;
    return 0;
}

/* ---- order ---- */

static int compare_numbers(uint64_t one, uint64_t other)
{
    return (one > other) - (one < other);
}

static bool is_past(const hf_lock_info *info)
{
    return info->state == HF_LOCK_WAS_WAITING || info->state == HF_LOCK_REFUSED;
}

/* What is held and waited for by file, and the server's own order in it; then deadlocks. */
static int compare(const void *left, const void *right)
{
    const hf_lock_info *const one = *(const hf_lock_info *const *)left;
    const hf_lock_info *const other = *(const hf_lock_info *const *)right;
    int result = (is_past(one) ? 1 : 0) - (is_past(other) ? 1 : 0);
    if (result == 0 && is_past(one)) {
        result = compare_numbers(one->cycle, other->cycle);
    } else if (result == 0) {
        result = compare_numbers(one->file.space, other->file.space);
        result = result != 0 ? result : compare_numbers(one->file.object, other->file.object);
        result = result != 0 ? result : (int)one->state - (int)other->state;
    }
    return result != 0 ? result : compare_numbers((uintptr_t)one, (uintptr_t)other);
}

static bool is_same_file(const hf_lock_info *one, const hf_lock_info *other)
{
    return one->file.space == other->file.space && one->file.object == other->file.object;
}

/* Is @held in the way of @waiting? */
static bool is_in_the_way(const hf_lock_info *held, const hf_lock_info *waiting)
{
    return held->state == HF_LOCK_HELD && is_same_file(held, waiting) &&
           (held->kind == 0) == (waiting->kind == 0) &&
           (held->type == F_WRLCK || waiting->type == F_WRLCK) && held->start <= waiting->end &&
           waiting->start <= held->end &&
           (held->owner.space != waiting->owner.space ||
            held->owner.object != waiting->owner.object);
}

/* ---- text ---- */

/* Names are whatever somebody called a file: control characters could change the terminal. */
static void print_path(const hf_lock_info *info, FILE *out)
{
    if (info->path[0] == '\0') {
        fprintf(out, "(file %" PRIx64 ":%" PRIx64 ")", info->file.space, info->file.object);
    }
    for (const char *at = info->path; *at != '\0'; at++) {
        fputc((unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at, out);
    }
}

static const char *kind_name(const hf_lock_info *info)
{
    return info->kind == 0 ? "flock" : info->kind == F_SETLK ? "posix" : "ofd";
}

/* As "read 0-99", "write 5-" when it has no end, "write" for a flock. */
static void print_range(const hf_lock_info *info, FILE *out)
{
    const int64_t start = info->start, end = info->end;
    char range[64] = "";
    if (info->kind != 0 && end == INT64_MAX) {
        snprintf(range, sizeof range, " %" PRId64 "-", start);
    } else if (info->kind != 0) {
        snprintf(range, sizeof range, " %" PRId64 "-%" PRId64, start, end);
    }
    char text[80];
    snprintf(text, sizeof text, "%s%s", info->type == F_WRLCK ? "write" : "read", range);
    fprintf(out, "%-6s%-24s", kind_name(info), text);
}

static void print_who(const hf_lock_info *info, FILE *out)
{
    if (info->client == 0) {
        fprintf(out, "shared open file");
    } else {
        fprintf(out, "client %" PRIu64, info->client);
    }
    if (info->pid > 0) {
        fprintf(out, ", pid %d", (int)info->pid);
    }
}

static void print_blockers(hf_lock_info *const *sorted, size_t count, const hf_lock_info *waiting,
                           FILE *out)
{
    const char *before = "; in its way: ";
    for (size_t i = 0; i < count; i++) {
        if (is_in_the_way(sorted[i], waiting)) {
            fputs(before, out);
            print_who(sorted[i], out);
            before = "; ";
        }
    }
    if (before[2] == 'i') {
        fputs("; behind others that wait", out);
    }
}

static void print_locks(hf_lock_info *const *sorted, size_t count, FILE *out)
{
    for (size_t i = 0; i < count && !is_past(sorted[i]); i++) {
        const hf_lock_info *info = sorted[i];
        if (i == 0 || !is_same_file(info, sorted[i - 1])) {
            print_path(info, out);
            fputc('\n', out);
        }
        fprintf(out, "  %-8s", info->state == HF_LOCK_HELD ? "holds" : "waits");
        print_range(info, out);
        print_who(info, out);
        if (info->state == HF_LOCK_WAITING) {
            print_blockers(sorted, count, info, out);
        }
        fputc('\n', out);
    }
}

static void print_deadlocks(hf_lock_info *const *sorted, size_t count, FILE *out)
{
    uint32_t cycle = 0;
    for (size_t i = 0; i < count; i++) {
        const hf_lock_info *info = sorted[i];
        if (!is_past(info)) {
            continue;
        }
        if (info->cycle != cycle) {
            cycle = info->cycle;
            fprintf(out,
                    "deadlock %" PRIu32 ", each waiting for the next and the last for the first\n",
                    cycle);
        }
        fprintf(out, "  %-8s", info->state == HF_LOCK_REFUSED ? "refused" : "waited");
        print_range(info, out);
        print_who(info, out);
        fputs(", ", out);
        print_path(info, out);
        fputc('\n', out);
    }
}

void locks_view_print(struct locks_view *view, FILE *out)
{
    hf_lock_info **sorted = reallocarray(NULL, view->count + 1, sizeof(hf_lock_info *));
    if (sorted == NULL) {
        fputs("(no memory to sort it)\n", out);
        return;
    }
    for (size_t i = 0; i < view->count; i++) {
        sorted[i] = &view->infos[i];
    }
    qsort(sorted, view->count, sizeof(hf_lock_info *), compare);
    print_locks(sorted, view->count, out);
    print_deadlocks(sorted, view->count, out);
    free(sorted);
}
