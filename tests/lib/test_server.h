/*
 * A server inside the test: in a folder of its own, with its log kept. When it ends it is
 * checked that no descriptor and no file is left.
 */
#ifndef HF_TESTS_LIB_TEST_SERVER_H
#define HF_TESTS_LIB_TEST_SERVER_H

#include "lib/folder.h"

#include <holdfast/server.h>
#include <pthread.h>
#include <stdbool.h>

#define TEST_LOG_LINES 256

/* What the server's thread writes. It is not on the stack of a test, which may fail and leave the
 * server running. */
struct test_log {
    pthread_mutex_t mutex;
    char lines[TEST_LOG_LINES][256]; /* the last ones */
    size_t count;
};

struct test_server {
    hf_server_config config; /* change it between init and start */
    hf_server *server;
    char folder[FOLDER_PATH_BYTES];
    char path[80];
    char address[96];
    int descriptors_before;
    struct test_log *log;
};

/* Make the folder and a configuration that listens in it, at log level INFO. */
void test_server_init(struct test_server *test);

/* hf_server_new(), and hf_server_start() in start. */
void test_server_new(struct test_server *test);
void test_server_start(struct test_server *test);

/* Free the server; the test fails if anything of it is left. */
void test_server_deinit(struct test_server *test);

/* The lines that have @part in them. */
void test_server_show_log(struct test_server *test, const char *part);

/* Was a line logged that has @part in it? */
bool test_server_logged(struct test_server *test, const char *part);

/* That, or the test fails and shows the log. */
void test_server_expect_log(struct test_server *test, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

hf_server_stats test_server_stats(struct test_server *test);

/* Wait until that many clients are connected: the server hears of an end some time after it. */
void test_server_await_clients(struct test_server *test, uint64_t clients);

/* Descriptors that this process has open. */
int test_count_descriptors(void);

/* "plain", "asan" or "tsan": some things cannot be measured under the sanitizers. */
bool test_is_plain(void);

#endif
