#include "cli/demo_fragment.h"

#include <string.h>

/* Fragments in a row, each from another kill: more than a few do not happen. */
#define FRAGMENTS_MAX 4

/* Places tried before a torn line is given up, so that a very long one ends too. */
#define TRIES_MAX 20000000

struct search {
    const struct workload *workload;
    const struct line_name *doubts;
    size_t doubt_count;
    uint64_t tries;
    struct fragment_split *out;
};

/* How many bytes @bytes has in common with the beginning of the line, its newline apart. */
static size_t common_beginning(const struct workload *workload, struct line_name name,
                               const char *bytes, size_t size)
{
    char tag[WORKLOAD_TAG_MAX];
    const size_t tag_size = workload_tag(workload, name, tag);
    size_t body_size;
    const char *body = workload_body(workload, name, &body_size);
    size_t common = 0;
    while (common < size && common < tag_size && bytes[common] == tag[common]) {
        common++;
    }
    if (common < tag_size) {
        return common;
    }
    while (common < size && common - tag_size < body_size &&
           bytes[common] == body[common - tag_size]) {
        common++;
    }
    return common;
}

/* Find @depth fragments at @start and then a line or the end. */
static bool search_from(struct search *search, const char *bytes, size_t size, size_t start,
                        unsigned depth)
{
    if (depth == 0) {
        struct fragment_split *out = search->out;
        out->line_start = start;
        out->has_line = start < size;
        return start == size ||
               workload_identify(search->workload, bytes + start, size - start, &out->line);
    }
    for (size_t i = 0; i < search->doubt_count; i++) {
        size_t length =
            common_beginning(search->workload, search->doubts[i], bytes + start, size - start);
        for (; length > 0; length--) {
            if (++search->tries > TRIES_MAX) {
                return false;
            }
            if (search_from(search, bytes, size, start + length, depth - 1)) {
                return true;
            }
        }
    }
    return false;
}

bool fragment_split(const struct workload *workload, const struct line_name *doubts,
                    size_t doubt_count, const char *bytes, size_t size, struct fragment_split *out)
{
    struct search search = {workload, doubts, doubt_count, 0, out};
    for (unsigned depth = 0; depth <= FRAGMENTS_MAX; depth++) {
        *out = (struct fragment_split){.fragments = depth};
        if (search_from(&search, bytes, size, 0, depth)) {
            return true;
        }
    }
    return false;
}
