/* The gate that fork closes. */
#include "fs/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#define ROUNDS 2000

struct visitors {
    struct gate gate;
    _Atomic int inside;
    _Atomic bool stop;
    _Atomic int visits;
};

static void *come_and_go(void *argument)
{
    struct visitors *visitors = argument;
    while (!atomic_load(&visitors->stop)) {
        gate_enter(&visitors->gate);
        atomic_fetch_add(&visitors->inside, 1);
        atomic_fetch_sub(&visitors->inside, 1);
        gate_leave(&visitors->gate);
        atomic_fetch_add(&visitors->visits, 1);
    }
    return NULL;
}

/* Closing waits for those inside, keeps others out, and lets them in again afterwards. */
static void test_nobody_is_inside_a_closed_gate(void **state)
{
    struct visitors visitors = {.inside = 0};
    pthread_t threads[3];

    gate_init(&visitors.gate);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &visitors), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        gate_close(&visitors.gate);
        assert_int_equal(atomic_load(&visitors.inside), 0);
        gate_open(&visitors.gate);
    }
    atomic_store(&visitors.stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    gate_deinit(&visitors.gate);
}

static void *close_often(void *argument)
{
    struct visitors *visitors = argument;
    for (int i = 0; i < ROUNDS; i++) {
        gate_close(&visitors->gate);
        assert_int_equal(atomic_fetch_add(&visitors->inside, 1), 0);
        atomic_fetch_sub(&visitors->inside, 1);
        gate_open(&visitors->gate);
    }
    return NULL;
}

/* Two threads that fork at one time take turns. */
static void test_one_closes_at_a_time(void **state)
{
    struct visitors visitors = {.inside = 0};
    pthread_t other;

    gate_init(&visitors.gate);
    assert_int_equal(pthread_create(&other, NULL, close_often, &visitors), 0);
    close_often(&visitors);
    pthread_join(other, NULL);
    gate_deinit(&visitors.gate);
}

/* A child finds it open, whoever waited at it in the parent. */
static void test_a_child_finds_it_open(void **state)
{
    struct gate gate;
    gate_init(&gate);
    gate_close(&gate);
    gate_open_in_child(&gate);
    gate_enter(&gate);
    gate_leave(&gate);
    gate_close(&gate);
    gate_open(&gate);
    gate_deinit(&gate);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_inside_a_closed_gate),
        cmocka_unit_test(test_one_closes_at_a_time),
        cmocka_unit_test(test_a_child_finds_it_open),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
