#include "cli/demo_workload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the generated lines are made of. */
static const char filler[] =
    "the quick brown fox jumps over the lazy dog while five dozen jugs of liquor are packed in "
    "a box with my own hands and nobody looks at the clock on the wall of the long hall";
#define FILLER_MAX 140
#define GENERATED_LINE_MAX 224

static size_t generate_line(char *out, unsigned client, uint64_t number)
{
    /* Any fixed mix of the two numbers will do; lines should differ in length. */
    const uint64_t mix = (number * UINT64_C(0x9e3779b97f4a7c15)) ^ (client * UINT64_C(0x85ebca6b));
    const int fill = (int)((mix >> 40) % FILLER_MAX);
    int used = snprintf(out,
                        GENERATED_LINE_MAX,
                        "client %u line %06" PRIu64 " %.*s",
                        client + 1,
                        number + 1,
                        fill,
                        filler);
    uint32_t sum = UINT32_C(2166136261);
    for (int i = 0; i < used; i++) {
        sum = (sum ^ (unsigned char)out[i]) * UINT32_C(16777619);
    }
    used += snprintf(out + used, (size_t)(GENERATED_LINE_MAX - used), " #%08x\n", sum);
    return (size_t)used;
}

/* Find the lines of workload->text. */
static int index_lines(struct workload *workload, size_t size)
{
    const char *const text = workload->text;
    const char *const end = size == 0 ? text : text + size;
    uint64_t total = 0;
    for (const char *at = text; at < end; total++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline == NULL ? end : newline + 1;
    }
    workload->starts = malloc((total + 1) * sizeof(*workload->starts));
    if (workload->starts == NULL) {
        return -ENOMEM;
    }
    uint64_t start = 0;
    for (uint64_t j = 0; j < total; j++) {
        const char *newline = memchr(text + start, '\n', size - start);
        const uint64_t stop = newline == NULL ? size : (uint64_t)(newline - text);
        workload->starts[j] = start;
        if (stop - start > workload->longest) {
            workload->longest = stop - start;
        }
        start = stop + 1;
    }
    /* One past a newline, which the last line may lack. */
    workload->starts[total] = start;
    workload->total = total;
    return workload->longest > WORKLOAD_LINE_MAX ? -EFBIG : 0;
}

int workload_from_text(struct workload *workload, unsigned clients, const char *text, size_t size)
{
    *workload = (struct workload){.clients = clients, .text = text};
    const int result = index_lines(workload, size);
    if (result < 0) {
        workload_deinit(workload);
    }
    return result;
}

/* Take over @memory, which holds the text. */
static int adopt_memory(struct workload *workload, unsigned clients, void *memory,
                        size_t memory_size, size_t text_size)
{
    *workload = (struct workload){
        .clients = clients, .text = memory, .memory = memory, .memory_size = memory_size};
    const int result = index_lines(workload, text_size);
    if (result < 0) {
        workload_deinit(workload);
    }
    return result;
}

static void *map_memory(size_t size)
{
    void *memory = mmap(
        NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int workload_generate(struct workload *workload, unsigned clients, uint64_t lines)
{
    size_t room;
    if (__builtin_mul_overflow(lines, (size_t)clients * GENERATED_LINE_MAX, &room)) {
        return -ENOMEM;
    }
    /* Only what is written to becomes memory. */
    char *text = map_memory(room);
    if (text == NULL) {
        return -ENOMEM;
    }
    size_t used = 0;
    for (uint64_t number = 0; number < lines; number++) {
        for (unsigned client = 0; client < clients; client++) {
            used += generate_line(text + used, client, number);
        }
    }
    return adopt_memory(workload, clients, text, room, used);
}

/* Read up to the end, whatever @file is. */
static int read_all(int file, void **memory, size_t *memory_size, size_t *text_size)
{
    size_t room = (size_t)1 << 20;
    size_t used = 0;
    char *text = map_memory(room);
    while (text != NULL) {
        const ssize_t got = read(file, text + used, room - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            const int error = errno;
            munmap(text, room);
            return -error;
        }
        if (got == 0) {
            *memory = text;
            *memory_size = room;
            *text_size = used;
            return 0;
        }
        used += (size_t)got;
        if (used == room) {
            void *larger = mremap(text, room, room * 2, MREMAP_MAYMOVE);
            if (larger == MAP_FAILED) {
                munmap(text, room);
                return -ENOMEM;
            }
            text = larger;
            room *= 2;
        }
    }
    return -ENOMEM;
}

int workload_load(struct workload *workload, unsigned clients, const char *path)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return -errno;
    }
    void *memory = NULL;
    size_t memory_size = 0;
    size_t text_size = 0;
    int result = 0;
    struct stat status;
    if (fstat(file, &status) < 0) {
        result = -errno;
    } else if (S_ISREG(status.st_mode) && status.st_size > 0) {
        memory_size = text_size = (size_t)status.st_size;
        memory = mmap(NULL, memory_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (memory == MAP_FAILED) {
            result = -errno;
        }
    } else {
        /* A pipe, or one of the files whose size is only known at the end. */
        result = read_all(file, &memory, &memory_size, &text_size);
    }
    close(file);
    return result < 0 ? result : adopt_memory(workload, clients, memory, memory_size, text_size);
}

void workload_deinit(struct workload *workload)
{
    free(workload->starts);
    if (workload->memory != NULL) {
        munmap(workload->memory, workload->memory_size);
    }
    *workload = (struct workload){0};
}

uint64_t workload_count(const struct workload *workload, unsigned client)
{
    return (workload->total + workload->clients - 1 - client) / workload->clients;
}

uint64_t workload_most(const struct workload *workload)
{
    return workload_count(workload, 0);
}

const char *workload_body(const struct workload *workload, struct line_name name, size_t *size)
{
    const uint64_t j = name.number * workload->clients + name.client;
    *size = workload->starts[j + 1] - workload->starts[j] - 1;
    return workload->text + workload->starts[j];
}

size_t workload_tag(const struct workload *workload, struct line_name name,
                    char out[WORKLOAD_TAG_MAX])
{
    if (!workload->tagged) {
        return 0;
    }
    return (size_t)snprintf(
        out, WORKLOAD_TAG_MAX, "%u.%" PRIu64 " ", name.client + 1, name.number + 1);
}

size_t workload_line_size(const struct workload *workload, struct line_name name)
{
    char tag[WORKLOAD_TAG_MAX];
    size_t size;
    workload_body(workload, name, &size);
    return workload_tag(workload, name, tag) + size + 1;
}

size_t workload_room(const struct workload *workload)
{
    return (size_t)workload->longest + WORKLOAD_TAG_MAX + 1;
}

size_t workload_compose(const struct workload *workload, struct line_name name, char *out)
{
    char tag[WORKLOAD_TAG_MAX];
    const size_t tag_size = workload_tag(workload, name, tag);
    size_t size;
    const char *body = workload_body(workload, name, &size);
    memcpy(out, tag, tag_size);
    memcpy(out + tag_size, body, size);
    out[tag_size + size] = '\n';
    return tag_size + size + 1;
}

bool workload_is_line(const struct workload *workload, struct line_name name, const char *bytes,
                      size_t size)
{
    char tag[WORKLOAD_TAG_MAX];
    const size_t tag_size = workload_tag(workload, name, tag);
    size_t body_size;
    const char *body = workload_body(workload, name, &body_size);
    return size == tag_size + body_size + 1 && memcmp(bytes, tag, tag_size) == 0 &&
           memcmp(bytes + tag_size, body, body_size) == 0 && bytes[size - 1] == '\n';
}

/* Read digits up to @stop and step over it. False: no number, one too large, or no @stop. */
static bool take_number(const char **at, const char *end, char stop, uint64_t *out)
{
    uint64_t value = 0;
    const char *const begin = *at;
    while (*at < end && **at >= '0' && **at <= '9') {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(**at - '0'), &value)) {
            return false;
        }
        (*at)++;
    }
    if (*at == begin || *at == end || **at != stop) {
        return false;
    }
    (*at)++;
    *out = value;
    return true;
}

bool workload_identify(const struct workload *workload, const char *bytes, size_t size,
                       struct line_name *out)
{
    const char *at = bytes;
    const char *const end = bytes + size;
    uint64_t client;
    uint64_t number;
    if (!workload->tagged || !take_number(&at, end, '.', &client) ||
        !take_number(&at, end, ' ', &number)) {
        return false;
    }
    if (client == 0 || client > workload->clients || number == 0 ||
        number > workload_count(workload, (unsigned)client - 1)) {
        return false;
    }
    const struct line_name name = {(unsigned)client - 1, number - 1};
    if (!workload_is_line(workload, name, bytes, size)) {
        return false;
    }
    *out = name;
    return true;
}
