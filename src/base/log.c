#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A longer line is cut, and "..." says so. */
#define LINE_MAX_BYTES 1024

static const char *level_name(hf_log_level level)
{
    switch (level) {
    case HF_LOG_ERROR:
        return "error";
    case HF_LOG_WARNING:
        return "warning";
    case HF_LOG_INFO:
        return "info";
    case HF_LOG_DEBUG:
        return "debug";
    }
    return "?";
}

static bool is_tail_byte(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the well-formed and printable character at @at, 0 if there is none. The zero at the
 * end of the line ends a character that is cut short. */
static size_t printable_length(const unsigned char *at)
{
    if (at[0] < 0x80) {
        return at[0] >= 0x20 && at[0] != 0x7f;
    }
    if (at[0] < 0xc2 || at[0] > 0xf4 || !is_tail_byte(at[1])) {
        return 0;
    }
    if (at[0] < 0xe0) {
        /* U+0080 to U+009F are control characters too: a terminal obeys some of them. */
        return at[0] == 0xc2 && at[1] < 0xa0 ? 0 : 2;
    }
    if (!is_tail_byte(at[2])) {
        return 0;
    }
    if (at[0] < 0xf0) {
        const bool overlong = at[0] == 0xe0 && at[1] < 0xa0;
        const bool surrogate = at[0] == 0xed && at[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    const bool overlong = at[0] == 0xf0 && at[1] < 0x90;
    const bool beyond = at[0] == 0xf4 && at[1] >= 0x90;
    return overlong || beyond || !is_tail_byte(at[3]) ? 0 : 4;
}

/* Parts of a line come from peers: none of it may move the cursor or begin another line. */
static void replace_unprintable(char *line)
{
    for (unsigned char *at = (unsigned char *)line; *at != '\0';) {
        size_t length = printable_length(at);
        if (length == 0) {
            *at = '?';
            length = 1;
        }
        at += length;
    }
}

static void write_to_stderr(hf_log_level level, const char *text)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char stamp[32];
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);

    char line[LINE_MAX_BYTES + 64];
    int length = snprintf(line,
                          sizeof(line),
                          "%s.%03dZ %s holdfast: %s\n",
                          stamp,
                          (int)(now.tv_nsec / 1000000),
                          level_name(level),
                          text);
    if (length <= 0 || (size_t)length >= sizeof(line)) {
        return;
    }
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written; /* there is nowhere to say that a line could not be said */
}

void log_line(const struct log *log, hf_log_level level, const char *format, ...)
{
    if (level > log->level) {
        return;
    }
    const int saved_errno = errno;

    char line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (length < 0) {
        line[0] = '\0';
    } else if ((size_t)length >= sizeof(line)) {
        static const char cut[] = "...";
        memcpy(line + sizeof(line) - sizeof(cut), cut, sizeof(cut));
    }
    replace_unprintable(line);

    if (log->write != NULL) {
        log->write(log->context, level, line);
    } else {
        write_to_stderr(level, line);
    }
    errno = saved_errno;
}
