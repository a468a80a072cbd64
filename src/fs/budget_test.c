/* When it is time to trim: over the limit, and not all the time if that does not help. */
#include "fs/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define LIMIT ((size_t)1024 * 1024)

static void test_a_budget_is_kept_without_coming_back_at_once(void **state)
{
    struct budget budget;
    budget_init(&budget, LIMIT);
    budget_take(&budget, LIMIT);
    assert_false(budget_is_over(&budget));
    budget_take(&budget, 1);
    assert_true(budget_is_over(&budget));
    budget_give_back(&budget, budget_used(&budget) - budget_goal(&budget));
    budget_trimmed(&budget);
    budget_take(&budget, LIMIT / 4);
    assert_false(budget_is_over(&budget));
    budget_take(&budget, 1);
    assert_true(budget_is_over(&budget));
}

/* What is in use stays: it is looked at again after a quarter more, or so many operations. */
static void test_an_exceeded_budget_is_looked_at_now_and_then(void **state)
{
    struct budget budget;
    budget_init(&budget, LIMIT);
    budget_take(&budget, 3 * LIMIT);
    assert_true(budget_is_over(&budget));
    budget_trimmed(&budget);
    assert_false(budget_is_over(&budget));
    budget_take(&budget, LIMIT / 4 + 1);
    assert_true(budget_is_over(&budget));
    budget_trimmed(&budget);
    unsigned operations = 1;
    while (!budget_is_over(&budget)) {
        operations++;
    }
    assert_true(operations > BUDGET_PATIENCE / 8 && operations <= BUDGET_PATIENCE / 4 + 1);
}

/* That it was exceeded once lets nobody exceed it afterwards. */
static void test_an_exceeded_budget_leaves_no_traces(void **state)
{
    struct budget budget;
    budget_init(&budget, LIMIT);
    budget_take(&budget, 3 * LIMIT);
    budget_trimmed(&budget);
    budget_give_back(&budget, 2 * LIMIT);
    assert_false(budget_is_over(&budget));
    budget_take(&budget, 1);
    assert_true(budget_is_over(&budget));
}

/* One that has no room at all is no trouble. */
static void test_a_budget_of_nothing(void **state)
{
    struct budget budget;
    budget_init(&budget, 1);
    assert_false(budget_is_over(&budget));
    budget_take(&budget, 1000);
    assert_true(budget_is_over(&budget));
    budget_trimmed(&budget);
    assert_false(budget_is_over(&budget));
    assert_true(budget_is_over(&budget));
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_budget_is_kept_without_coming_back_at_once),
        cmocka_unit_test(test_an_exceeded_budget_is_looked_at_now_and_then),
        cmocka_unit_test(test_an_exceeded_budget_leaves_no_traces),
        cmocka_unit_test(test_a_budget_of_nothing),
    };
    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
