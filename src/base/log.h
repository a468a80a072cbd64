/*
 * Log lines: formatted here, written where the embedder says.
 */
#ifndef HF_BASE_LOG_H
#define HF_BASE_LOG_H

#include <holdfast/server.h>

struct log {
    hf_log_level level; /* lines above it are dropped */
    void (*write)(void *context, hf_log_level level, const char *line); /* NULL: stderr */
    void *context;
};

/* One line, without a newline at its end. Control characters in it are replaced. On stderr it
 * gets the time, the level and "holdfast: " in front and goes out in one write. */
void log_line(const struct log *log, hf_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
