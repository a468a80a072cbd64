#include "cli/trace_view.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TITLE_SIZE 12
#define NAME_SIZE 56
#define TIME_WIDTH 11 /* of the column at the left */

/* How the filesystem's handles are told apart in the numbers of an hf_id: see fs/ids.h, which
 * trace_view_test.c compares with. */
#define KIND_SHIFT 56
#define KIND_MASK UINT64_C(0x7f)
#define KIND_INODE 1
#define KIND_OPEN_FILE 2
#define CLIENT_MASK ((UINT64_C(1) << KIND_SHIFT) - 1)

/* What of an hf_trace_event outlives the callback. */
struct message {
    uint64_t time_ns;
    uint64_t client;
    hf_id id;
    size_t value_size;
    uint64_t times; /* the same one after the other: one arrow stands for all */
    hf_mode mode;
    bool to_server;
    char kind[10];
    char remark[31];
};

struct placed_client {
    uint64_t client;
    int column;
};

struct named_inode {
    uint64_t inode;
    char name[NAME_SIZE];
};

struct trace_view {
    pthread_mutex_t mutex; /* for the next four */
    struct message *messages;
    size_t message_count;
    size_t printed;
    uint64_t left_out; /* over the limit */
    size_t limit;
    uint64_t begin_ns; /* of the first message printed */
    bool utf8;
    char (*titles)[TITLE_SIZE];
    int columns;
    int other_column; /* -1: none yet */
    struct placed_client *clients;
    size_t client_count;
    struct named_inode *inodes;
    size_t inode_count;
};

int trace_view_new(size_t limit, bool utf8, struct trace_view **out)
{
    struct trace_view *view = calloc(1, sizeof(*view));
    if (view == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&view->mutex, NULL);
    view->limit = limit;
    view->utf8 = utf8;
    view->other_column = -1;
    *out = view;
    return 0;
}

struct trace_view *trace_view_free(struct trace_view *view)
{
    if (view != NULL) {
        pthread_mutex_destroy(&view->mutex);
        free(view->messages);
        free(view->titles);
        free(view->clients);
        free(view->inodes);
        free(view);
    }
    return NULL;
}

/* Room for one more element. Return: the array, maybe moved; NULL, and the old one stays. */
static void *grow(void *array, size_t count, size_t element_size)
{
    /* At each power of two the room doubles. */
    if ((count & (count - 1)) != 0) {
        return array;
    }
    return realloc(array, (count == 0 ? 1 : count * 2) * element_size);
}

/* Is it the last arrow over again? */
static bool repeats_last(const struct trace_view *view, const hf_trace_event *event)
{
    if (view->message_count == view->printed) {
        return false; /* what is printed is past */
    }
    const struct message *last = &view->messages[view->message_count - 1];
    return last->client == event->client && last->to_server == (event->to_server != 0) &&
           last->id.space == event->id.space && last->id.object == event->id.object &&
           last->mode == event->mode && (last->value_size > 0) == (event->value_size > 0) &&
           strcmp(last->kind, event->message) == 0 && strcmp(last->remark, event->remark) == 0;
}

/* Return: false when there is no room or no memory for it. */
static bool keep_message(struct trace_view *view, const hf_trace_event *event)
{
    if (repeats_last(view, event)) {
        view->messages[view->message_count - 1].times++;
        return true;
    }
    if (view->message_count == view->limit) {
        return false;
    }
    struct message *messages = grow(view->messages, view->message_count, sizeof(*view->messages));
    if (messages == NULL) {
        return false;
    }
    view->messages = messages;
    struct message *message = &messages[view->message_count++];
    *message = (struct message){
        .time_ns = event->time_ns,
        .client = event->client,
        .id = event->id,
        .value_size = event->value_size,
        .times = 1,
        .mode = event->mode,
        .to_server = event->to_server != 0,
    };
    snprintf(message->kind, sizeof(message->kind), "%.9s", event->message);
    snprintf(message->remark, sizeof(message->remark), "%.30s", event->remark);
    return true;
}

void trace_view_event(void *context, const hf_trace_event *event)
{
    struct trace_view *view = context;
    pthread_mutex_lock(&view->mutex);
    /* Once one is left out, all later ones are: the diagram has no holes. */
    if (view->left_out > 0 || !keep_message(view, event)) {
        view->left_out++;
    }
    pthread_mutex_unlock(&view->mutex);
}

uint64_t trace_view_left_out(struct trace_view *view)
{
    pthread_mutex_lock(&view->mutex);
    const uint64_t left_out = view->left_out;
    pthread_mutex_unlock(&view->mutex);
    return left_out;
}

int trace_view_add_column(struct trace_view *view, const char *title)
{
    void *titles = grow(view->titles, (size_t)view->columns, sizeof(*view->titles));
    if (titles == NULL) {
        return -ENOMEM;
    }
    view->titles = titles;
    snprintf(view->titles[view->columns], TITLE_SIZE, "%s", title);
    return view->columns++;
}

int trace_view_place_client(struct trace_view *view, uint64_t client, int column)
{
    void *clients = grow(view->clients, view->client_count, sizeof(*view->clients));
    if (clients == NULL) {
        return -ENOMEM;
    }
    view->clients = clients;
    view->clients[view->client_count++] = (struct placed_client){client, column};
    return 0;
}

int trace_view_name_inode(struct trace_view *view, uint64_t inode, const char *name)
{
    void *inodes = grow(view->inodes, view->inode_count, sizeof(*view->inodes));
    if (inodes == NULL) {
        return -ENOMEM;
    }
    view->inodes = inodes;
    struct named_inode *named = &view->inodes[view->inode_count++];
    named->inode = inode;
    snprintf(named->name, sizeof(named->name), "%s", name);
    return 0;
}

/* ---- drawing ---- */

/* One cell of the diagram. */
enum glyph { BLANK, LIFE, LINE, CROSSING, FROM_LEFT, FROM_RIGHT, HEAD_LEFT, HEAD_RIGHT };

static const char *const utf8_glyphs[] = {" ", "│", "─", "┼", "├", "┤", "◄", "►"};
static const char *const ascii_glyphs[] = {" ", "|", "-", "+", "|", "|", "<", ">"};

/* Few columns stand apart for the eye, many together for the terminal's width. */
static int column_width(const struct trace_view *view)
{
    return view->columns <= 3 ? 10 : view->columns <= 8 ? 6 : 4;
}

/* Where a client's line is; the server's, for view->columns. */
static int line_of(const struct trace_view *view, int column)
{
    return TIME_WIDTH + 3 + column * column_width(view);
}

static int column_of(const struct trace_view *view, uint64_t client)
{
    /* The last word counts. */
    for (size_t i = view->client_count; i > 0; i--) {
        if (view->clients[i - 1].client == client) {
            return view->clients[i - 1].column;
        }
    }
    return view->other_column;
}

static void print_arrow(const struct trace_view *view, FILE *out, int column, bool to_server)
{
    const char *const *glyphs = view->utf8 ? utf8_glyphs : ascii_glyphs;
    const int begin = line_of(view, column);
    const int server = line_of(view, view->columns);
    const int width = column_width(view);
    for (int x = TIME_WIDTH; x <= server; x++) {
        const bool life = x >= TIME_WIDTH + 3 && (x - TIME_WIDTH - 3) % width == 0;
        enum glyph glyph = life ? LIFE : BLANK;
        if (x == begin && to_server) {
            glyph = FROM_LEFT;
        } else if (x == begin + 1 && !to_server) {
            glyph = HEAD_LEFT;
        } else if (x == server - 1 && to_server) {
            glyph = HEAD_RIGHT;
        } else if (x == server && !to_server) {
            glyph = FROM_RIGHT;
        } else if (x > begin && x < server) {
            glyph = life ? CROSSING : LINE;
        }
        fputs(glyphs[glyph], out);
    }
}

static const char *mode_name(hf_mode mode)
{
    switch (mode) {
    case HF_INVALID:
        return "INVALID";
    case HF_SHARED:
        return "SHARED";
    case HF_EXCLUSIVE:
        return "EXCLUSIVE";
    }
    return "?";
}

static void handle_name(const struct trace_view *view, hf_id id, char out[NAME_SIZE])
{
    if (id.space == 0 && id.object == 0) {
        out[0] = '\0';
        return;
    }
    const uint64_t kind =
        (id.space & HF_SPACE_RESERVED) != 0 ? (id.space >> KIND_SHIFT) & KIND_MASK : 0;
    if (kind == KIND_OPEN_FILE) {
        snprintf(
            out, NAME_SIZE, "open file %" PRIu64 ":%" PRIu64, id.space & CLIENT_MASK, id.object);
        return;
    }
    if (kind != KIND_INODE) {
        snprintf(out, NAME_SIZE, "%" PRIx64 ":%" PRIx64, id.space, id.object);
        return;
    }
    for (size_t i = view->inode_count; i > 0; i--) {
        if (view->inodes[i - 1].inode == id.object) {
            snprintf(out, NAME_SIZE, "%s", view->inodes[i - 1].name);
            return;
        }
    }
    snprintf(out, NAME_SIZE, "inode %" PRIu64, id.object);
}

static void print_label(const struct trace_view *view, FILE *out, const struct message *message)
{
    char name[NAME_SIZE];
    handle_name(view, message->id, name);
    fprintf(out, "  %-7s %-15s", message->kind, name);

    const bool down = strcmp(message->kind, "RELEASE") == 0 || strcmp(message->kind, "RECALL") == 0;
    const char *between = " ";
    if (message->mode != HF_INVALID || down) {
        /* A RELEASE to EXCLUSIVE goes on holding; it only publishes. */
        const char *way = !down ? "" : message->mode == HF_EXCLUSIVE ? "stays " : "to ";
        fprintf(out, " %s%s", way, mode_name(message->mode));
        between = ", ";
    }
    const bool grants = strcmp(message->kind, "GRANT") == 0;
    if (grants && message->mode == HF_INVALID && message->remark[0] == '\0') {
        fprintf(out, " opened");
        between = ", ";
    }
    if (message->value_size > 0) {
        fprintf(out, "%svalue", between);
        between = ", ";
    }
    if (message->remark[0] != '\0') {
        fprintf(out, "%s%s", between, message->remark);
    }
    if (message->times > 1) {
        fprintf(out, " (%" PRIu64 " times)", message->times);
    }
    fputc('\n', out);
}

void trace_view_print_titles(struct trace_view *view, FILE *out)
{
    fprintf(out, "%*s", TIME_WIDTH - 2, "time, ms");
    int x = TIME_WIDTH - 2;
    for (int column = 0; column < view->columns; column++) {
        const char *title = view->titles[column];
        const int begin = line_of(view, column) - (int)strlen(title) / 2;
        x += fprintf(out, "%*s%s", begin > x ? begin - x : 0, "", title);
    }
    fprintf(out, "%*s%s\n", line_of(view, view->columns) - x - 2, "", "server");
}

void trace_view_print(struct trace_view *view, FILE *out)
{
    pthread_mutex_lock(&view->mutex);
    for (; view->printed < view->message_count; view->printed++) {
        const struct message *message = &view->messages[view->printed];
        int column = column_of(view, message->client);
        if (column < 0) {
            column = trace_view_add_column(view, "other");
            if (column < 0) {
                break;
            }
            view->other_column = column;
        }
        if (view->begin_ns == 0) {
            view->begin_ns = message->time_ns;
        }
        const uint64_t time_us = (message->time_ns - view->begin_ns) / 1000;
        fprintf(out,
                "%5" PRIu64 ".%03" PRIu64 "%*s",
                time_us / 1000,
                time_us % 1000,
                TIME_WIDTH - 9,
                "");
        print_arrow(view, out, column, message->to_server);
        print_label(view, out, message);
    }
    pthread_mutex_unlock(&view->mutex);
}
