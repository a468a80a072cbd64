/*
 * A child of fork() has none of a store's descriptors.
 */
#include "lib/stores.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store_name name_of(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    return (struct store_name){.bytes = text, .length = length};
}

static void test_a_child_has_no_descriptors(void **state)
{
    const struct store_limits limits = {.bytes = STORE_NO_LIMIT, .inodes = STORE_NO_LIMIT};
    const struct store_call call = {.now = {.tv_sec = 1000000000}};
    const struct store_new what = {.mode = S_IFREG | 0600};
    struct any_store any;
    struct store_attributes made;
    const int before = test_count_descriptors();
    any_store_make(&any, true, &limits, &call);
    struct store *const store = any.store;
    /* One that is open because it was written, and one that is because it has no name. */
    assert_int_equal(store->ops->make(store, &call, STORE_ROOT, name_of("file"), &what, &made), 0);
    assert_int_equal(store->ops->write(store, &call, made.number, 0, "data", 4), 4);
    assert_int_equal(store->ops->make(store, &call, STORE_ROOT, name_of("gone"), &what, &made), 0);
    assert_int_equal(store->ops->hold(store, made.number), 0);
    assert_int_equal(store->ops->unlink(store, &call, STORE_ROOT, name_of("gone")), 0);
    assert_true(test_count_descriptors() >= before + 2);

    int status;
    const pid_t child = fork();
    if (child == 0) {
        _exit(test_count_descriptors() == before ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    assert_int_equal(store->ops->release(store, made.number), 0);
    any_store_end(&any);
    assert_int_equal(test_count_descriptors(), before);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_child_has_no_descriptors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
