/*
 * holdfast locks: who has and who waits for which file locks of a server.
 */
#include "cli/cli.h"
#include "cli/locks_view.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char usage_line[] = "usage: holdfast locks unix:PATH\n";

static void print_help(void)
{
    printf(
        "%s"
        "\n"
        "Show all file locks that the clients of the server at unix:PATH hold and wait for: flock,\n"
        "POSIX record locks (posix) and those of open files (ofd), with the range of bytes, the\n"
        "client's number and pid, and what is in the way; and the deadlocks that were found last.\n"
        "\n"
        "  -h, --help                this text\n",
        usage_line);
}

static int take(void *context, const hf_lock_info *info)
{
    return locks_view_add(context, info);
}

static int show(const char *command, const char *address)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    hf_client *client = NULL;
    config.name = "holdfast locks";
    int result = hf_client_connect(address, &config, &client);
    if (result < 0) {
        cli_error(command,
                  "%s: %s; it must be the address that `holdfast serve --listen` was given",
                  address,
                  strerror(-result));
        return CLI_FAILED;
    }
    struct locks_view view = {0};
    result = hf_lock_list(client, take, &view);
    hf_client_unref(client);
    if (result < 0) {
        cli_error(command, "%s: the list did not come: %s", address, strerror(-result));
    } else if (view.count == 0) {
        printf("no file locks\n");
    } else {
        locks_view_print(&view, stdout);
    }
    locks_view_deinit(&view);
    return result < 0 ? CLI_FAILED : CLI_OK;
}

int cmd_locks(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const int option = getopt_long(argc, argv, "h", options, NULL);
    if (option == 'h') {
        print_help();
        return CLI_OK;
    }
    if (option != -1 || optind != argc - 1) {
        if (option == -1) {
            cli_error(
                argv[0], "%s", optind == argc ? "an address is missing" : "one address, please");
        }
        fputs(usage_line, stderr);
        return CLI_USAGE;
    }
    return show(argv[0], argv[optind]);
}
