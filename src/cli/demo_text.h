/*
 * Numbers and pieces of files as the demos print them.
 */
#ifndef HF_CLI_DEMO_TEXT_H
#define HF_CLI_DEMO_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* A number with its thousands set apart: "1,234,567". */
struct demo_number {
    char text[28];
};

struct demo_number demo_number(uint64_t value);

/* "s", or "" after the number one. */
static inline const char *demo_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* Put @size bytes of a file into @out (of @room bytes, at least 16) between double quotes, as
 * one line of ASCII: what does not print is escaped, and what does not fit is cut off, with
 * dots after the quote. */
void demo_quote(const char *bytes, size_t size, char *out, size_t room);

#endif
