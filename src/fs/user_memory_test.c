/* Memory that is there, that is not, and that may only be read. */
#include "fs/user_memory.h"

#include "lib/test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)

/* A page that may be written, one that may be read, one that may not be touched. */
static int set_up(void **state)
{
    char *memory = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    memset(memory, 'x', 2 * PAGE);
    assert_int_equal(mprotect(memory + PAGE, PAGE, PROT_READ), 0);
    assert_int_equal(mprotect(memory + 2 * PAGE, PAGE, PROT_NONE), 0);
    *state = memory;
    return 0;
}

static int tear_down(void **state)
{
    return munmap(*state, 3 * PAGE);
}

static void test_strings_are_read_to_their_end(void **state)
{
    char *memory = *state;
    assert_int_equal(user_memory_test(), 0);
    /* It runs over the page's end, and ends there; or runs on into what cannot be read. */
    assert_int_equal(user_memory_check_string(memory, 4 * PAGE), -EFAULT);
    assert_int_equal(user_memory_check_string(memory + 2 * PAGE - 1, 2), -EFAULT);
    assert_int_equal(user_memory_check_string(memory + 2 * PAGE - 1, 1), 0);
    assert_int_equal(mprotect(memory + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
    memory[2 * PAGE - 1] = '\0';
    assert_int_equal(user_memory_check_string(memory, 4 * PAGE), 0);
    assert_int_equal(user_memory_check_string(memory + 2 * PAGE - 1, PAGE), 0);
}

static void test_what_is_not_there_is_no_string(void **state)
{
    char *memory = *state;
    assert_int_equal(user_memory_check_string(memory + 2 * PAGE, PAGE), -EFAULT);
    assert_int_equal(user_memory_check_string(NULL, PAGE), -EFAULT);
    assert_int_equal(user_memory_check_string((const char *)UINTPTR_MAX - 8, PAGE), -EFAULT);
    assert_int_equal(user_memory_check_string((const char *)(UINTPTR_MAX / 2 + 1), 1), -EFAULT);
}

static void test_only_what_may_be_written_is_written(void **state)
{
    char *memory = *state;
    assert_int_equal(user_memory_write(memory + 8, "abc", 3), 0);
    assert_memory_equal(memory + 7, "xabcx", 5);
    assert_int_equal(user_memory_write(memory + PAGE, "abc", 3), -EFAULT);
    assert_int_equal(user_memory_write(memory + PAGE - 1, "abc", 3), -EFAULT);
    assert_int_equal(user_memory_write(memory + 2 * PAGE, "abc", 3), -EFAULT);
    assert_int_equal(user_memory_write((void *)UINTPTR_MAX, "abc", 3), -EFAULT);
    assert_int_equal(user_memory_write(NULL, "abc", 3), -EFAULT);
}

static void test_memory_is_copied_as_far_as_it_goes(void **state)
{
    char *memory = *state;
    char bytes[3] = "";
    assert_int_equal(user_memory_read_part(bytes, memory + 2 * PAGE - 2, 3), 2);
    assert_memory_equal(bytes, "xx", 3);
    assert_int_equal(user_memory_read_part(bytes, memory + 2 * PAGE, 3), 0);
    assert_int_equal(user_memory_write_part(memory + PAGE - 2, "abc", 3), 2);
    assert_memory_equal(memory + PAGE - 3, "xabx", 4);
    assert_int_equal(user_memory_write_part(memory + PAGE, "abc", 3), 0);
    assert_int_equal(user_memory_write_part(NULL, "abc", 3), 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_strings_are_read_to_their_end),
        TEST(test_what_is_not_there_is_no_string),
        TEST(test_only_what_may_be_written_is_written),
        TEST(test_memory_is_copied_as_far_as_it_goes),
    };
    return cmocka_run_group_tests_name("user memory", tests, NULL, NULL);
}
