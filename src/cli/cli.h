/*
 * The subcommands of `holdfast`, and what they share.
 *
 * A subcommand gets argv[0] as "holdfast NAME", for getopt and for its own messages, and returns
 * the exit status: CLI_OK, CLI_FAILED when what was asked for did not succeed, CLI_USAGE when it
 * was asked wrongly (and the usage was shown on stderr). Its --help goes to stdout, CLI_OK.
 */
#ifndef HF_CLI_CLI_H
#define HF_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

enum cli_status {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
};

int cmd_demo(int argc, char **argv);
int cmd_locks(int argc, char **argv);
int cmd_serve(int argc, char **argv);

/* Print "COMMAND: ..." and a newline on stderr. */
void cli_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A decimal number from @least to @most. Otherwise an error is printed in which @option, like
 * "--clients " or "--limit handles=", stands before @text. */
bool cli_number(const char *command, const char *option, const char *text, uint64_t least,
                uint64_t most, uint64_t *out);

#endif
