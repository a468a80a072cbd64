#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void cli_error(const char *command, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s: %s\n", command, text);
}

bool cli_number(const char *command, const char *option, const char *text, uint64_t least,
                uint64_t most, uint64_t *out)
{
    /* strtoull() also takes a sign and white space. */
    const bool has_digit = text[0] >= '0' && text[0] <= '9';
    char *end = NULL;
    errno = 0;
    const unsigned long long number = has_digit ? strtoull(text, &end, 10) : 0;
    if (!has_digit || *end != '\0') {
        cli_error(command, "%s%s: not a number", option, text);
        return false;
    }
    if (errno == ERANGE || number < least || number > most) {
        cli_error(command,
                  "%s%s: must be %llu to %llu",
                  option,
                  text,
                  (unsigned long long)least,
                  (unsigned long long)most);
        return false;
    }
    *out = number;
    return true;
}
