/*
 * The lines that the demos write: which there are, and which client writes which.
 *
 * Line j of the text goes to client j % clients, as that client's line j / clients. A line is
 * any run of bytes up to a newline, so it may be empty, longer than a page, and have NUL bytes
 * or a carriage return in it. A last line without a newline is written with one.
 *
 * In a tagged workload every line begins with "<client>.<number> " (both from 1), so that no
 * two lines are the same and a client that was started in the place of a killed one can look
 * for one of its lines.
 */
#ifndef HF_CLI_DEMO_WORKLOAD_H
#define HF_CLI_DEMO_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than the longest tag, "4294967295.18446744073709551615 ". */
#define WORKLOAD_TAG_MAX 40

/* A line is written by one system call, and Linux writes no more than this by one. */
#define WORKLOAD_LINE_MAX (UINT64_C(0x7ffff000) - WORKLOAD_TAG_MAX)

struct workload {
    unsigned clients;
    bool tagged;
    uint64_t total;   /* lines */
    uint64_t longest; /* line, without tag and newline */
    const char *text;
    uint64_t *starts; /* total + 1 of them; line j is text[starts[j] .. starts[j + 1] - 1) */
    void *memory;     /* what holds the text; NULL: not ours */
    size_t memory_size;
};

/* A line by who writes it: both numbers from 0. */
struct line_name {
    unsigned client;
    uint64_t number;
};

/* Each client gets @lines lines of varying length, every one with a checksum at its end.
 * Return: 0, -ENOMEM. */
int workload_generate(struct workload *workload, unsigned clients, uint64_t lines);

/* The lines of a file, which must not change until workload_deinit(). Also reads from pipes.
 * Return: 0, -ENOMEM, -EFBIG (a line over WORKLOAD_LINE_MAX), or what open() and read() say. */
int workload_load(struct workload *workload, unsigned clients, const char *path);

/* The lines of a text in memory, which the caller keeps. Return: 0, -ENOMEM, -EFBIG. */
int workload_from_text(struct workload *workload, unsigned clients, const char *text, size_t size);

void workload_deinit(struct workload *workload);

/* How many lines a client writes. */
uint64_t workload_count(const struct workload *workload, unsigned client);

/* The most lines any client writes. */
uint64_t workload_most(const struct workload *workload);

/* A line's bytes in the text, without tag and newline. */
const char *workload_body(const struct workload *workload, struct line_name name, size_t *size);

/* Its tag. Return: the length, 0 in a workload without tags. */
size_t workload_tag(const struct workload *workload, struct line_name name,
                    char out[WORKLOAD_TAG_MAX]);

/* The bytes it takes in the file: tag, body and newline. */
size_t workload_line_size(const struct workload *workload, struct line_name name);

/* Room for any line, as it stands in the file. */
size_t workload_room(const struct workload *workload);

/* Put the line into @out as it is to stand in the file. Return: its size. */
size_t workload_compose(const struct workload *workload, struct line_name name, char *out);

/* True: @bytes is this line, whole, as it is to stand in the file. */
bool workload_is_line(const struct workload *workload, struct line_name name, const char *bytes,
                      size_t size);

/* The line that @bytes is, going by its tag. False: none, or a workload without tags. */
bool workload_identify(const struct workload *workload, const char *bytes, size_t size,
                       struct line_name *out);

#endif
