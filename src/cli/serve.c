/*
 * holdfast serve: a server in the foreground, until SIGINT, SIGTERM or SIGHUP.
 */
#include "cli/cli.h"

#include "server/config.h"

#include <errno.h>
#include <getopt.h>
#include <holdfast/server.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Named with --allow-uid. */
#define ALLOW_UIDS_MAX 64

/* With --mount: more than the table of mounts has room for, which the server says better. */
#define MOUNTS_MAX 128

struct serve_options {
    hf_server_config config;
    uid_t allow_uids[ALLOW_UIDS_MAX];
    hf_server_mount mounts[MOUNTS_MAX];
    char mount_error[1024]; /* of hf_server_new() */
};

static const char usage_line[] =
    "usage: holdfast serve --listen unix:PATH [--mount MOUNT]... [OPTION]...\n";

static void print_mount_help(void)
{
    printf("\n"
           "A MOUNT, each found by all clients where its PATH says:\n"
           "\n"
           "  ram:PATH                  in the server's memory: a tmpfs that all share\n"
           "  dir:SOURCE:PATH           in the directory SOURCE, which only the server touches\n"
           "  direct:SOURCE:PATH        in the directory SOURCE, which each client opens itself\n"
           "\n"
           "and behind that, each after a comma:\n"
           "\n"
           "  size=BYTES                at most so much data, with K, M, G or T; for ram also a\n"
           "                            percentage of the memory, of which the default is 50%%\n"
           "  inodes=COUNT              at most so many files\n"
           "  mode=MODE, uid=, gid=     of ram's root directory; 1777, and who runs the server\n"
           "  ro                        nobody can change anything\n"
           "  check                     direct: other programs change the files too\n"
           "\n"
           "In SOURCE and PATH a backslash stands before : and , and \\ that are part of it.\n"
           "The mount at / comes first, the others in their order; mount points are made in ram,\n"
           "elsewhere they must be there. Without one at / there is an empty directory.\n");
}

static void print_help(void)
{
    printf("%s"
           "\n"
           "Run a server in the foreground. It prints one line once it serves, and ends on\n"
           "SIGINT, SIGTERM or SIGHUP, removing the socket and PATH.lock.\n"
           "\n"
           "  -l, --listen unix:PATH    where clients connect\n"
           "  -u, --allow-uid UID       admit this user too, besides the one it runs as;\n"
           "                            may be given up to %d times\n"
           "  -m, --mount MOUNT         what clients find mounted, see below; may be repeated\n"
           "  -L, --limit NAME=VALUE    one of the limits below; may be repeated\n"
           "  -v, --verbose             log connections too; twice: everything\n"
           "  -q, --quiet               log errors only\n"
           "  -h, --help                this text\n",
           usage_line,
           ALLOW_UIDS_MAX);
    print_mount_help();
    printf("\n"
           "Limits, with their defaults. Who goes over one gets an error or is cut off:\n"
           "\n");
    for (size_t i = 0; i < limit_range_count; i++) {
        char assignment[48];
        snprintf(assignment,
                 sizeof(assignment),
                 "%s=%llu",
                 limit_ranges[i].name,
                 (unsigned long long)limit_ranges[i].initial);
        printf("  %-25s %s\n", assignment, limit_ranges[i].meaning);
    }
}

static bool add_uid(const char *command, struct serve_options *options, const char *text)
{
    uint64_t uid = 0;
    /* The highest number is (uid_t)-1, nobody's. */
    if (!cli_number(command, "--allow-uid ", text, 0, UINT32_MAX - 1, &uid)) {
        return false;
    }
    if (options->config.allow_uid_count == ALLOW_UIDS_MAX) {
        cli_error(command, "--allow-uid: more than %d", ALLOW_UIDS_MAX);
        return false;
    }
    options->allow_uids[options->config.allow_uid_count++] = (uid_t)uid;
    return true;
}

static bool set_limit(const char *command, struct serve_options *options, const char *text)
{
    char name[32];
    const size_t length = strcspn(text, "=");
    if (text[length] == '\0') {
        cli_error(command, "--limit %s: must be NAME=VALUE", text);
        return false;
    }
    snprintf(name, sizeof(name), "%.*s", (int)(length < sizeof(name) ? length : 31), text);
    const struct limit_range *range = limit_find(name);
    if (range == NULL) {
        cli_error(command, "--limit %s: no limit of that name; see --help", text);
        return false;
    }
    char option[64];
    uint64_t value = 0;
    snprintf(option, sizeof(option), "--limit %s=", name);
    if (!cli_number(command, option, text + length + 1, range->least, range->most, &value)) {
        return false;
    }
    limit_set(&options->config.limits, range, value);
    return true;
}

static bool add_mount(const char *command, struct serve_options *options, const char *text)
{
    hf_server_config *config = &options->config;
    char error[1024];
    if (config->mount_count == MOUNTS_MAX) {
        cli_error(command, "--mount: more than %d", MOUNTS_MAX);
        return false;
    }
    int result =
        hf_server_mount_parse(text, &options->mounts[config->mount_count], error, sizeof(error));
    if (result < 0) {
        cli_error(command, "--mount %s", result == -EINVAL ? error : strerror(-result));
        return false;
    }
    config->mount_count++;
    return true;
}

static bool set_listen(const char *command, struct serve_options *options, const char *text)
{
    const size_t length = strlen(text);
    if (strncmp(text, "unix:", 5) != 0 || length == 5 || text[length - 1] == '/') {
        cli_error(command, "--listen %s: must be unix:PATH", text);
        return false;
    }
    options->config.listen = text;
    return true;
}

enum parse_result {
    PARSE_SERVE,
    PARSE_HELP,
    PARSE_WRONG, /* and the error was printed */
};

static enum parse_result parse(int argc, char **argv, struct serve_options *options)
{
    static const struct option long_options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"allow-uid", required_argument, NULL, 'u'},
        {"limit", required_argument, NULL, 'L'},
        {"mount", required_argument, NULL, 'm'},
        {"verbose", no_argument, NULL, 'v'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    hf_server_config *config = &options->config;
    int option;
    bool good = true;
    while (good && (option = getopt_long(argc, argv, "l:u:L:m:vqh", long_options, NULL)) != -1) {
        switch (option) {
        case 'l':
            good = set_listen(argv[0], options, optarg);
            break;
        case 'u':
            good = add_uid(argv[0], options, optarg);
            break;
        case 'L':
            good = set_limit(argv[0], options, optarg);
            break;
        case 'm':
            good = add_mount(argv[0], options, optarg);
            break;
        case 'v':
            config->log_level = config->log_level < HF_LOG_INFO ? HF_LOG_INFO : HF_LOG_DEBUG;
            break;
        case 'q':
            config->log_level = HF_LOG_ERROR;
            break;
        case 'h':
            return PARSE_HELP;
        default:
            good = false;
        }
    }
    if (good && optind < argc) {
        cli_error(argv[0], "%s: what is this?", argv[optind]);
        good = false;
    }
    if (good && config->listen == NULL) {
        cli_error(argv[0], "--listen is missing");
        good = false;
    }
    return good ? PARSE_SERVE : PARSE_WRONG;
}

static void explain_failure(const char *command, const hf_server_config *config, int failure)
{
    const char *path = config->listen + strlen("unix:");
    if (config->mount_error[0] != '\0') {
        cli_error(command, "%s", config->mount_error);
        return;
    }
    switch (failure) {
    case -EADDRINUSE:
        cli_error(
            command, "%s: another server is live there; stop it, or listen on another path", path);
        break;
    case -EEXIST:
        cli_error(command,
                  "%s (or %s.lock): not a socket (or lock file) of a server; remove it, or listen "
                  "on another path",
                  path,
                  path);
        break;
    case -ENAMETOOLONG:
        cli_error(command, "%s: too long for a socket; choose a path of at most 107 bytes", path);
        break;
    case -ENOENT:
        cli_error(command, "%s: no such directory; make it first", path);
        break;
    default:
        cli_error(command, "%s: %s", path, strerror(-failure));
    }
}

/* The signals that end it; they are waited for and so must be blocked in all threads. A SIGHUP
 * that is ignored, as nohup does, stays so. */
static void block_ending_signals(sigset_t *set)
{
    struct sigaction hangup;
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
        sigaddset(set, SIGHUP);
    }
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int serve(const char *command, const hf_server_config *config)
{
    sigset_t ending;
    block_ending_signals(&ending);
    hf_server *server = NULL;
    int failure = hf_server_new(config, &server);
    if (failure != 0) {
        explain_failure(command, config, failure);
        return CLI_FAILED;
    }
    failure = hf_server_start(server);
    if (failure != 0) {
        cli_error(command, "cannot start a thread: %s", strerror(-failure));
        hf_server_free(server);
        return CLI_FAILED;
    }
    printf("holdfast: serving %s\n", config->listen);
    fflush(stdout);

    int received = 0;
    sigwait(&ending, &received);
    hf_server_free(server);
    return CLI_OK;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_options options = {.mount_error = ""};
    hf_server_config *config = &options.config;
    int result = CLI_OK;
    hf_server_config_init(config);
    switch (parse(argc, argv, &options)) {
    case PARSE_HELP:
        print_help();
        break;
    case PARSE_WRONG:
        fprintf(stderr, "%s       holdfast serve --help says more\n", usage_line);
        result = CLI_USAGE;
        break;
    case PARSE_SERVE:
        config->allow_uids = options.allow_uids;
        config->mounts = options.mounts;
        config->mount_error = options.mount_error;
        config->mount_error_size = sizeof(options.mount_error);
        result = serve(argv[0], config);
    }
    for (size_t i = 0; i < config->mount_count; i++) {
        free(options.mounts[i].texts);
    }
    return result;
}
