#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int number;
    struct list link;
};

static int number_of(struct list *node)
{
    return list_entry(node, struct item, link)->number;
}

/* What is appended comes out first come, first served. */
static void test_order_is_that_of_appending(void **state)
{
    struct list head;
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_null(list_first(&head));

    for (int i = 0; i < 3; i++) {
        list_append(&head, &items[i].link);
    }
    for (int i = 1; i <= 3; i++) {
        struct list *first = list_first(&head);
        assert_int_equal(number_of(first), i);
        list_remove(first);
    }
    assert_true(list_is_empty(&head));
}

/* A node may leave from anywhere, and one that is in no list may be removed again. */
static void test_removing_twice_does_no_harm(void **state)
{
    struct list head;
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    list_init(&head);
    for (int i = 0; i < 3; i++) {
        list_append(&head, &items[i].link);
    }
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_true(list_is_empty(&items[1].link));
    assert_int_equal(number_of(head.next), 1);
    assert_int_equal(number_of(head.next->next), 3);
    assert_ptr_equal(head.next->next->next, &head);
    assert_ptr_equal(head.prev, &items[2].link);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_that_of_appending),
        cmocka_unit_test(test_removing_twice_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
