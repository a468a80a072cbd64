/*
 * holdfast: the command. Each subcommand is a file of its own.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

struct subcommand {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

static const struct subcommand subcommands[] = {
    {"demo", "see processes share files, and check that nothing is lost", cmd_demo},
    {"locks", "show who has and who waits for file locks of a server", cmd_locks},
    {"serve", "run a server in the foreground", cmd_serve},
};

#define SUBCOMMAND_COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

static void print_usage(FILE *out)
{
    fprintf(out, "usage: holdfast SUBCOMMAND [OPTION]...\n\n");
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        fprintf(out, "  %-12s %s\n", subcommands[i].name, subcommands[i].summary);
    }
    fprintf(out,
            "\n"
            "  -h, --help       this text; holdfast SUBCOMMAND --help says more\n"
            "  -V, --version    the version\n");
}

static int run_subcommand(const struct subcommand *subcommand, int argc, char **argv)
{
    char title[64];
    snprintf(title, sizeof(title), "holdfast %s", subcommand->name);
    argv[0] = title;
    return subcommand->run(argc, argv);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    const bool is_help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    const bool is_version = strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0;
    if ((is_help || is_version) && argc > 2) {
        cli_error("holdfast", "%s: what is this?", argv[2]);
        print_usage(stderr);
        return CLI_USAGE;
    }
    if (is_help) {
        print_usage(stdout);
        return CLI_OK;
    }
    if (is_version) {
        printf("holdfast %s\n", HF_VERSION);
        return CLI_OK;
    }
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (strcmp(name, subcommands[i].name) == 0) {
            return run_subcommand(&subcommands[i], argc - 1, argv + 1);
        }
    }
    cli_error("holdfast", "%s: no such %s", name, name[0] == '-' ? "option" : "subcommand");
    print_usage(stderr);
    return CLI_USAGE;
}
