/*
 * What every demo stands on: a directory, a server in a thread of this process, this process's
 * own client and filesystem, and the signals that end it all in good order. The files have their
 * places in the filesystem's working directory.
 */
#ifndef HF_CLI_DEMO_STAGE_H
#define HF_CLI_DEMO_STAGE_H

#include "cli/demo.h"
#include "cli/trace_view.h"

#include <holdfast/fs.h>
#include <holdfast/server.h>
#include <limits.h>
#include <signal.h>
#include <sys/types.h>

struct demo_stage {
    const char *demo; /* its name, in front of what it prints */
    const struct demo_options *options;
    char directory[PATH_MAX]; /* of the host; empty: all is in the server's memory */
    bool temporary;           /* the directory goes at the end */
    bool on_host;             /* the files can be seen in the directory */
    hf_server_mount mount;    /* that the server brings, if options->has_mount */
    char mount_error[1024];
    hf_server *server; /* NULL in a child */
    hf_client *client;
    hf_fs *fs;
    struct trace_view *trace; /* NULL without --trace */
    sigset_t mask_before;
    int signals; /* signalfd: SIGCHLD, and the signals that end a demo */
};

enum stage_signal {
    STAGE_NONE,
    STAGE_CHILD, /* a child ended, or several */
    STAGE_END,   /* stop and clean up; demo_options has nothing to say about it */
};

/* Return: 0; or 1, after the reason was printed and everything is undone. */
int stage_begin(struct demo_stage *stage, const char *demo, const struct demo_options *options,
                size_t trace_limit);

/* No children are left. */
void stage_end(struct demo_stage *stage);

/*
 * Fork a child that is a client of its own. The child dies with the parent, ignores what the
 * terminal sends (the parent acts on it), has no server, and leaves with _exit().
 *
 * Return: as fork(), but a negative errno on failure.
 */
pid_t stage_fork(struct demo_stage *stage);

/* In a child: close its filesystem and its connection in good order. */
void stage_leave(struct demo_stage *stage);

/*
 * Read the signals that have come, without waiting. Return: what to do about them; with
 * STAGE_END, *number is the signal that says so.
 */
enum stage_signal stage_read_signals(const struct demo_stage *stage, int *number);

/* Print "holdfast: DEMO: ..." on stderr. */
void stage_complain(const struct demo_stage *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Name the directory's and the file's inode in the trace, once the file is there. If it cannot be seen
 * on the host, this process looks at it as a client. */
void stage_name_file(struct demo_stage *stage, const char *file);

/* Where the files are, or with @file where that one is, for people. */
struct stage_text {
    char text[PATH_MAX + PATH_MAX];
};
struct stage_text stage_place(const struct demo_stage *stage, const char *file);

/* True: the terminal takes UTF-8. */
bool stage_utf8(void);

#endif
