/*
 * The list of locks says by file who holds, who waits and what is in the way; then the deadlocks.
 */
#include "cli/locks_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NO_END ((off_t)INT64_MAX)

static hf_lock_info lock(hf_lock_state state, uint64_t file, uint64_t client, short type,
                         off_t start, off_t end)
{
    return (hf_lock_info){
        .state = state,
        .kind = F_SETLK,
        .type = type,
        .start = start,
        .end = end,
        .file = {1, file},
        .owner = {2, client},
        .client = client,
        .pid = (pid_t)(100 + client),
        .path = file == 1 ? "/data/one" : "/data/two",
    };
}

/* What is printed, to be freed. */
static char *print(const hf_lock_info *infos, size_t count)
{
    struct locks_view view = {0};
    char *text = NULL;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(locks_view_add(&view, &infos[i]), 0);
    }
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    locks_view_print(&view, out);
    fclose(out);
    locks_view_deinit(&view);
    return text;
}

static void test_by_file_with_what_is_in_the_way(void **state)
{
    const hf_lock_info infos[] = {
        lock(HF_LOCK_WAITING, 1, 4, F_WRLCK, 10, 29),
        lock(HF_LOCK_HELD, 2, 3, F_WRLCK, 0, NO_END),
        lock(HF_LOCK_HELD, 1, 2, F_RDLCK, 0, 19),
        lock(HF_LOCK_HELD, 1, 3, F_RDLCK, 20, 20),
        lock(HF_LOCK_HELD, 1, 3, F_RDLCK, 30, NO_END),
        lock(HF_LOCK_WAITING, 1, 5, F_RDLCK, 12, 13),
    };
    char *text = print(infos, sizeof infos / sizeof infos[0]);
    assert_string_equal(
        text,
        "/data/one\n"
        "  holds   posix read 0-19               client 2, pid 102\n"
        "  holds   posix read 20-20              client 3, pid 103\n"
        "  holds   posix read 30-                client 3, pid 103\n"
        "  waits   posix write 10-29             client 4, pid 104; in its way: client 2, pid 102; "
        "client 3, pid 103\n"
        "  waits   posix read 12-13              client 5, pid 105; behind others that wait\n"
        "/data/two\n"
        "  holds   posix write 0-                client 3, pid 103\n");
    free(text);
}

static void test_kinds_and_names(void **state)
{
    hf_lock_info infos[] = {
        lock(HF_LOCK_HELD, 1, 2, F_WRLCK, 0, NO_END),
        lock(HF_LOCK_HELD, 2, 3, F_RDLCK, 5, 5),
        lock(HF_LOCK_WAITING, 1, 4, F_WRLCK, 0, NO_END),
    };
    infos[0].kind = 0;
    infos[0].path = "";
    infos[1].kind = F_OFD_SETLK;
    infos[1].client = 0;
    infos[1].path = "/a\033[2Jb";
    char *text = print(infos, sizeof infos / sizeof infos[0]);
    assert_string_equal(
        text,
        "(file 1:1)\n"
        "  holds   flock write                   client 2, pid 102\n"
        "  waits   posix write 0-                client 4, pid 104; behind others that "
        "wait\n"
        "/a?[2Jb\n"
        "  holds   ofd   read 5-5                shared open file, pid 103\n");
    free(text);
}

static void test_deadlocks_come_last(void **state)
{
    hf_lock_info infos[] = {
        lock(HF_LOCK_REFUSED, 1, 2, F_WRLCK, 0, 9),
        lock(HF_LOCK_WAS_WAITING, 2, 3, F_RDLCK, 5, 5),
        lock(HF_LOCK_HELD, 1, 3, F_WRLCK, 0, 0),
    };
    infos[0].cycle = infos[1].cycle = 7;
    char *text = print(infos, sizeof infos / sizeof infos[0]);
    assert_string_equal(text,
                        "/data/one\n"
                        "  holds   posix write 0-0               client 3, pid 103\n"
                        "deadlock 7, each waiting for the next and the last for the first\n"
                        "  refused posix write 0-9               client 2, pid 102, /data/one\n"
                        "  waited  posix read 5-5                client 3, pid 103, /data/two\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_file_with_what_is_in_the_way),
        cmocka_unit_test(test_kinds_and_names),
        cmocka_unit_test(test_deadlocks_come_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
