/*
 * holdfast demo: real processes that share a directory, a file, or one open file, and the proof
 * that nothing was lost. This file reads the command line.
 */
#include "cli/demo.h"

#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_DEFAULT 4
#define LINES_DEFAULT 25000
#define LINES_MAX UINT64_C(1000000000)
#define KILLS_MAX 100000
#define TRACE_MAX 10000000
#define PATIENCE_DEFAULT 30
#define PATIENCE_MAX 3600

struct demo {
    const char *name;
    int (*run)(const struct demo_options *options);
    bool has_lines; /* takes --clients, --lines, --input and --kill */
};

static const struct demo demos[] = {
    {"simple", demo_simple, false},
    {"append", demo_append, true},
    {"shared-handle", demo_shared_handle, true},
};

#define DEMOS (sizeof(demos) / sizeof(demos[0]))

static const char usage_line[] =
    "usage: holdfast demo simple|append|shared-handle|all [OPTION]...\n"
    "       holdfast demo --help says more\n";

static void print_help(void)
{
    printf("usage: holdfast demo simple|append|shared-handle|all [OPTION]...\n"
           "\n"
           "Real processes share files through Holdfast, and the result is checked. The parent\n"
           "process is the server, and each child a client of its own.\n"
           "\n"
           "  simple          two processes take turns at one file; each sees at once what the\n"
           "                  other did\n"
           "  append          each process opens one file with O_APPEND and writes its lines\n"
           "  shared-handle   the parent opens a file and forks; all children write their lines\n"
           "                  through the one open file and its one offset\n"
           "  all             these three, one after the other\n"
           "\n"
           "  -d, --dir DIR        do it in DIR, made if need be, and leave the files there;\n"
           "                       DIR/demo-*.txt are overwritten. Default: a temporary\n"
           "                       directory, removed at the end\n"
           "  -m, --mount KIND     where the files are: direct, in the directory, which each\n"
           "                       client opens itself (as without --mount); dir, in the\n"
           "                       directory, which only the server touches; ram, in the\n"
           "                       server's memory. Or a whole MOUNT as for holdfast serve\n"
           "  -t, --trace[=N]      show the messages as a sequence diagram, N arrows of it\n"
           "  -p, --patience SEC   give up when nothing happens for so long (default %d)\n"
           "  -h, --help           this text\n"
           "\n"
           "Not for simple:\n"
           "  -c, --clients N      how many processes write, 1 to %d (default %d)\n"
           "  -l, --lines N        how many lines each of them writes (default %d)\n"
           "  -i, --input FILE     write the lines of FILE instead, dealt out in turn\n"
           "  -k, --kill[=N]       kill processes with SIGKILL at random moments, N times, and\n"
           "                       put new ones in their place. Each line then begins with\n"
           "                       \"CLIENT.NUMBER \", by which the new process finds out whether\n"
           "                       the line at which the old one was killed had been written\n"
           "\n"
           "Exit status: 0 if all was as it must be; 1 if not, above all when a line was lost,\n"
           "torn or doubled; 2 for a wrong command line.\n",
           PATIENCE_DEFAULT,
           DEMO_CLIENTS_MAX,
           CLIENTS_DEFAULT,
           LINES_DEFAULT);
}

enum parse_result {
    PARSE_RUN,
    PARSE_HELP,
    PARSE_WRONG, /* and the error was printed */
};

struct command_line {
    const char *title; /* argv[0], for messages */
    const char *name;  /* of the demo, or "all" */
    struct demo_options options;
    const char *for_lines; /* an option seen that is not for simple; NULL: none */
    bool lines_given;
};

/* Return: false when it is wrong, after saying why. */
static bool take_mount(struct command_line *line)
{
    static const char *const kinds[] = {
        [HF_MOUNT_RAM] = "ram", [HF_MOUNT_DIR] = "dir", [HF_MOUNT_DIRECT] = "direct"};
    hf_server_mount mount = HF_SERVER_MOUNT_INIT;
    char error[1024];
    mount.path = "/";
    for (int kind = HF_MOUNT_RAM; kind <= HF_MOUNT_DIRECT; kind++) {
        if (strcmp(optarg, kinds[kind]) == 0) {
            mount.kind = (hf_mount_kind)kind;
            break;
        }
    }
    if (strcmp(optarg, kinds[mount.kind]) != 0) {
        const int result = hf_server_mount_parse(optarg, &mount, error, sizeof(error));
        if (result < 0) {
            cli_error(line->title, "--mount %s", result == -EINVAL ? error : strerror(-result));
            return false;
        }
    }
    free(line->options.mount.texts);
    line->options.mount = mount;
    line->options.has_mount = true;
    return true;
}

static bool number_option(const struct command_line *line, const char *option, uint64_t most,
                          uint64_t *out)
{
    return cli_number(line->title, option, optarg, 1, most, out);
}

/* Return: false when @option is wrong, after saying why. */
static bool take_option(struct command_line *line, int option)
{
    struct demo_options *options = &line->options;
    uint64_t number = 0;
    switch (option) {
    case 'c':
        line->for_lines = "--clients";
        if (!number_option(line, "--clients ", DEMO_CLIENTS_MAX, &number)) {
            return false;
        }
        options->clients = (unsigned)number;
        return true;
    case 'l':
        line->for_lines = "--lines";
        line->lines_given = true;
        return number_option(line, "--lines ", LINES_MAX, &options->lines);
    case 'i':
        line->for_lines = "--input";
        options->input = optarg;
        return true;
    case 'k':
        line->for_lines = "--kill";
        options->kill = true;
        return optarg == NULL || number_option(line, "--kill=", KILLS_MAX, &options->kills);
    case 'd':
        options->directory = optarg;
        return true;
    case 'm':
        return take_mount(line);
    case 't':
        options->trace = true;
        if (optarg != NULL && !number_option(line, "--trace=", TRACE_MAX, &number)) {
            return false;
        }
        options->trace_limit = (size_t)number;
        return true;
    case 'p':
        if (!number_option(line, "--patience ", PATIENCE_MAX, &number)) {
            return false;
        }
        options->patience_seconds = (unsigned)number;
        return true;
    default:
        return false; /* getopt has said why */
    }
}

/* What no single option shows. */
static bool check_line(const struct command_line *line)
{
    const char *title = line->title;
    if (line->name == NULL) {
        cli_error(title, "which demo?");
        return false;
    }
    bool known = strcmp(line->name, "all") == 0;
    bool has_lines = known;
    for (size_t i = 0; i < DEMOS; i++) {
        if (strcmp(line->name, demos[i].name) == 0) {
            known = true;
            has_lines = demos[i].has_lines;
        }
    }
    if (!known) {
        cli_error(title, "%s: no such demo", line->name);
        return false;
    }
    if (!has_lines && line->for_lines != NULL) {
        cli_error(title, "%s: not for the demo %s", line->for_lines, line->name);
        return false;
    }
    if (line->options.directory != NULL && line->options.has_mount &&
        (line->options.mount.kind == HF_MOUNT_RAM || line->options.mount.source != NULL)) {
        cli_error(title, "--dir and --mount: the mount has a place already");
        return false;
    }
    if (line->lines_given && line->options.input != NULL) {
        cli_error(title, "--lines and --input: the lines are those of the input");
        return false;
    }
    return true;
}

static enum parse_result parse(int argc, char **argv, struct command_line *line)
{
    static const struct option long_options[] = {
        {"clients", required_argument, NULL, 'c'},
        {"lines", required_argument, NULL, 'l'},
        {"input", required_argument, NULL, 'i'},
        {"kill", optional_argument, NULL, 'k'},
        {"dir", required_argument, NULL, 'd'},
        {"mount", required_argument, NULL, 'm'},
        {"trace", optional_argument, NULL, 't'},
        {"patience", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:l:i:k::d:m:t::p:h", long_options, NULL)) != -1) {
        if (option == 'h') {
            return PARSE_HELP;
        }
        if (!take_option(line, option)) {
            return PARSE_WRONG;
        }
    }
    if (optind < argc) {
        line->name = argv[optind++];
    }
    if (optind < argc) {
        cli_error(line->title, "%s: what is this?", argv[optind]);
        return PARSE_WRONG;
    }
    return check_line(line) ? PARSE_RUN : PARSE_WRONG;
}

/* End as the signal ends a process that does not catch it, so that a shell knows. */
static void end_by_signal(int number)
{
    fflush(NULL);
    signal(number, SIG_DFL);
    raise(number);
}

static int run_demos(const struct command_line *line)
{
    const bool all = strcmp(line->name, "all") == 0;
    int result = CLI_OK;
    bool first = true;
    for (size_t i = 0; i < DEMOS; i++) {
        if (!all && strcmp(line->name, demos[i].name) != 0) {
            continue;
        }
        if (!first) {
            printf("\n");
        }
        first = false;
        const int ended = demos[i].run(&line->options);
        if (ended > 128) {
            end_by_signal(ended - 128);
            return ended;
        }
        if (ended != 0) {
            result = CLI_FAILED;
        }
    }
    if (all) {
        printf("\nall: %s\n", result == CLI_OK ? "all three are right" : "FAILED");
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_error(line->title, "cannot write the output");
        result = CLI_FAILED;
    }
    return result;
}

int cmd_demo(int argc, char **argv)
{
    struct command_line line = {
        .title = argv[0],
        .options = {.clients = CLIENTS_DEFAULT,
                    .lines = LINES_DEFAULT,
                    .patience_seconds = PATIENCE_DEFAULT},
    };
    int result = CLI_OK;
    switch (parse(argc, argv, &line)) {
    case PARSE_HELP:
        print_help();
        break;
    case PARSE_WRONG:
        fputs(usage_line, stderr);
        result = CLI_USAGE;
        break;
    case PARSE_RUN:
        result = run_demos(&line);
    }
    free(line.options.mount.texts);
    return result;
}
