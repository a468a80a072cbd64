#include "lib/test_server.h"

#include "base/clock.h"
#include "lib/test.h"

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(10000000000)

static void keep_line(void *context, hf_log_level level, const char *line)
{
    struct test_log *log = context;
    pthread_mutex_lock(&log->mutex);
    char *room = log->lines[log->count++ % TEST_LOG_LINES];
    snprintf(room, sizeof(log->lines[0]), "%s", line);
    pthread_mutex_unlock(&log->mutex);
}

int test_count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    int count = 0;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* The first loop of a process leaves a pipe of libuv's open for good. */
static void warm_up(void)
{
    hf_server *server = NULL;
    assert_int_equal(hf_server_new(NULL, &server), 0);
    hf_server_free(server);
}

void test_server_init(struct test_server *test)
{
    memset(test, 0, sizeof(*test));
    test->log = calloc(1, sizeof *test->log);
    assert_non_null(test->log);
    pthread_mutex_init(&test->log->mutex, NULL);
    warm_up();
    test->descriptors_before = test_count_descriptors();
    assert_int_equal(folder_make(test->folder), 0);
    snprintf(test->path, sizeof(test->path), "%s/socket", test->folder);
    snprintf(test->address, sizeof(test->address), "unix:%s", test->path);
    hf_server_config_init(&test->config);
    test->config.listen = test->address;
    test->config.log_level = HF_LOG_INFO;
    test->config.log = keep_line;
    test->config.log_context = test->log;
}

void test_server_new(struct test_server *test)
{
    assert_int_equal(hf_server_new(&test->config, &test->server), 0);
}

void test_server_start(struct test_server *test)
{
    test_server_new(test);
    assert_int_equal(hf_server_start(test->server), 0);
}

void test_server_deinit(struct test_server *test)
{
    test->server = hf_server_free(test->server);
    assert_int_equal(folder_remove(test->folder), 0); /* both files are gone */
    assert_int_equal(test_count_descriptors(), test->descriptors_before);
    pthread_mutex_destroy(&test->log->mutex);
    free(test->log);
}

bool test_server_logged(struct test_server *test, const char *part)
{
    bool found = false;
    pthread_mutex_lock(&test->log->mutex);
    for (size_t i = 0; i < TEST_LOG_LINES && i < test->log->count; i++) {
        found = found || strstr(test->log->lines[i], part) != NULL;
    }
    pthread_mutex_unlock(&test->log->mutex);
    return found;
}

void test_server_show_log(struct test_server *test, const char *part)
{
    pthread_mutex_lock(&test->log->mutex);
    for (size_t i = 0; i < TEST_LOG_LINES && i < test->log->count; i++) {
        if (strstr(test->log->lines[i], part) != NULL) {
            print_message("# log: %s\n", test->log->lines[i]);
        }
    }
    pthread_mutex_unlock(&test->log->mutex);
}

void test_server_expect_log(struct test_server *test, const char *format, ...)
{
    char part[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(part, sizeof(part), format, arguments);
    va_end(arguments);
    if (test_server_logged(test, part)) {
        return;
    }
    test_server_show_log(test, "");
    fail_msg("not logged: %s", part);
}

hf_server_stats test_server_stats(struct test_server *test)
{
    hf_server_stats stats;
    hf_server_get_stats(test->server, &stats);
    return stats;
}

void test_server_await_clients(struct test_server *test, uint64_t clients)
{
    const uint64_t give_up_ns = clock_now_ns() + PATIENCE_NS;
    while (test_server_stats(test).clients != clients && clock_now_ns() < give_up_ns) {
        sched_yield();
    }
    assert_int_equal(test_server_stats(test).clients, clients);
}

bool test_is_plain(void)
{
    const char *variant = getenv("HF_TEST_VARIANT");
    return variant == NULL || strcmp(variant, "plain") == 0;
}
