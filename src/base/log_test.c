#include "base/log.h"

#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct heard {
    int lines;
    hf_log_level level;
    char line[2048];
};

static void hear(void *context, hf_log_level level, const char *line)
{
    struct heard *heard = context;
    heard->lines++;
    heard->level = level;
    assert_true(strlen(line) < sizeof(heard->line));
    memcpy(heard->line, line, strlen(line) + 1);
    errno = EBADF;
}

/* Lines above the level are dropped. */
static void test_only_lines_of_the_level_or_above_are_written(void **state)
{
    struct heard heard = {0};
    const struct log log = {HF_LOG_WARNING, hear, &heard};
    log_line(&log, HF_LOG_INFO, "not said");
    log_line(&log, HF_LOG_DEBUG, "not said");
    assert_int_equal(heard.lines, 0);
    log_line(&log, HF_LOG_WARNING, "client %d: %s", 7, "cut off");
    assert_int_equal(heard.lines, 1);
    assert_int_equal(heard.level, HF_LOG_WARNING);
    assert_string_equal(heard.line, "client 7: cut off");
    log_line(&log, HF_LOG_ERROR, "said");
    assert_int_equal(heard.lines, 2);
}

/* A peer's name cannot begin a second line, move the cursor or garble the terminal, and plain
 * text of any language stays as it is. */
static void test_control_characters_are_replaced(void **state)
{
    static const char *const cases[][2] = {
        {"a\nb\tc\x1b[2Jd\x7f", "a?b?c?[2Jd?"},
        {"zwölf €10 \xf0\x9f\x94\x92", "zwölf €10 \xf0\x9f\x94\x92"},
        {"\xc2\x9b"
         "31m",
         "??31m"}, /* a control character of two bytes */
        {"\xc2\xa0|\xe0\xa0\x80", "\xc2\xa0|\xe0\xa0\x80"},
        {"\x9b|\xff|\xc0\xaf|\xc3", "?|?|??|?"}, /* no UTF-8, overlong, cut short */
        {"\xe2\x82|\xf0\x9f\x94", "??|???"},
        {"\xe0\x9f\xbf|\xed\xa0\x80", "???|???"}, /* overlong, surrogate */
        {"\xf0\x8f\xbf\xbf|\xf4\x90\x80\x80|\xf5", "????|????|?"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct heard heard = {0};
        const struct log log = {HF_LOG_DEBUG, hear, &heard};
        log_line(&log, HF_LOG_INFO, "%s", cases[i][0]);
        assert_string_equal(heard.line, cases[i][1]);
    }
}

/* A line that is too long is cut, and shows it. */
static void test_long_lines_are_cut(void **state)
{
    struct heard heard = {0};
    const struct log log = {HF_LOG_DEBUG, hear, &heard};
    char text[1500];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_line(&log, HF_LOG_INFO, "%s", text);
    assert_int_equal(strlen(heard.line), 1023);
    assert_string_equal(heard.line + 1018, "xx...");
    text[1023] = '\0';
    log_line(&log, HF_LOG_INFO, "%s", text);
    assert_string_equal(heard.line, text);
}

/* Logging an error does not hide it. */
static void test_errno_survives(void **state)
{
    struct heard heard = {0};
    const struct log log = {HF_LOG_DEBUG, hear, &heard};
    errno = ENOSPC;
    log_line(&log, HF_LOG_INFO, "text");
    assert_int_equal(errno, ENOSPC);
}

/* Run log_line() with a packet socket as stderr, where one write is one packet. Return: the
 * length of the only packet. */
static ssize_t catch_stderr(hf_log_level level, const char *text, char *packet, size_t size)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(dup2(ends[0], STDERR_FILENO), STDERR_FILENO);
    const struct log log = {HF_LOG_DEBUG, NULL, NULL};
    log_line(&log, level, "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[0]);
    ssize_t length = recv(ends[1], packet, size, 0);
    char rest;
    assert_int_equal(recv(ends[1], &rest, 1, 0), 0); /* the end: there was no second write */
    close(ends[1]);
    return length;
}

/* On stderr a line has the time, the level and our name in front, in one write. */
static void test_stderr_gets_time_and_level_in_one_write(void **state)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (int level = HF_LOG_ERROR; level <= HF_LOG_DEBUG; level++) {
        char packet[2048];
        ssize_t length =
            catch_stderr((hf_log_level)level, "two\nlines", packet, sizeof(packet) - 1);
        assert_true(length > 0);
        packet[length] = '\0';
        char pattern[128];
        int needed = snprintf(pattern,
                              sizeof(pattern),
                              "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
                              "\\.[0-9]{3}Z %s holdfast: two\\?lines\n$",
                              names[level]);
        assert_true(needed > 0 && (size_t)needed < sizeof(pattern));
        regex_t regex;
        assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
        assert_int_equal(regexec(&regex, packet, 0, NULL, 0), 0);
        regfree(&regex);
    }
}

/* The longest line there can be still fits into its write. */
static void test_the_longest_line_reaches_stderr(void **state)
{
    char text[1100];
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    char packet[2048];
    ssize_t length = catch_stderr(HF_LOG_WARNING, text, packet, sizeof(packet));
    assert_true(length > 1023);
    assert_memory_equal(packet + length - 6, "yy...\n", 6);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_lines_of_the_level_or_above_are_written),
        cmocka_unit_test(test_control_characters_are_replaced),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_errno_survives),
        cmocka_unit_test(test_stderr_gets_time_and_level_in_one_write),
        cmocka_unit_test(test_the_longest_line_reaches_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
