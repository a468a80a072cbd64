/*
 * What a configuration may say.
 */
#include "server/config.h"

#include "lib/test.h"

#include <errno.h>
#include <unistd.h>

static int try_config(const hf_server_config *config)
{
    struct settings settings;
    const int result = settings_init(&settings, config);
    if (result == 0) {
        settings_deinit(&settings);
    }
    return result;
}

static void test_defaults_are_good(void **state)
{
    hf_server_config config;
    hf_server_config_init(&config);
    assert_int_equal(try_config(&config), 0);
    assert_int_equal(config.limits.clients, 4096);
    assert_int_equal(config.limits.handles, 4000000);
    assert_int_equal(config.limits.unsent_bytes, 64 << 20);
    assert_int_equal(config.limits.handshake_seconds, 10);
    assert_int_equal(config.limits.parked, 4096);
}

static void test_every_limit_has_a_range(void **state)
{
    for (size_t i = 0; i < limit_range_count; i++) {
        const struct limit_range *range = &limit_ranges[i];
        hf_server_config config;
        hf_server_config_init(&config);
        limit_set(&config.limits, range, range->least);
        assert_int_equal(try_config(&config), 0);
        limit_set(&config.limits, range, range->most);
        assert_int_equal(limit_get(&config.limits, range), range->most);
        assert_int_equal(try_config(&config), 0);
        if (range->least > 0) {
            limit_set(&config.limits, range, range->least - 1);
            assert_int_equal(try_config(&config), -EINVAL);
        }
        if (range->most < UINT32_MAX) {
            limit_set(&config.limits, range, range->most + 1);
            assert_int_equal(try_config(&config), -EINVAL);
        }
    }
}

static void test_every_limit_is_found_by_its_name(void **state)
{
    for (size_t i = 0; i < limit_range_count; i++) {
        assert_ptr_equal(limit_find(limit_ranges[i].name), &limit_ranges[i]);
    }
    assert_null(limit_find("handle"));
    assert_null(limit_find(""));
}

static void test_a_structure_of_another_size_is_refused(void **state)
{
    hf_server_config config;
    hf_server_config_init(&config);
    config.size--;
    assert_int_equal(try_config(&config), -EINVAL);
}

static void test_a_log_level_that_does_not_exist_is_refused(void **state)
{
    hf_server_config config;
    hf_server_config_init(&config);
    config.log_level = (hf_log_level)(HF_LOG_DEBUG + 1);
    assert_int_equal(try_config(&config), -EINVAL);
}

static void test_the_own_uid_and_named_ones_are_admitted(void **state)
{
    uid_t named[] = {geteuid() + 7};
    hf_server_config config;
    hf_server_config_init(&config);
    config.allow_uids = named;
    config.allow_uid_count = 1;
    struct settings settings;
    assert_int_equal(settings_init(&settings, &config), 0);
    named[0]++; /* the server has its own copy */
    assert_true(settings_admit(&settings, geteuid()));
    assert_true(settings_admit(&settings, geteuid() + 7));
    assert_false(settings_admit(&settings, geteuid() + 8));
    settings_deinit(&settings);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_good),
        cmocka_unit_test(test_every_limit_has_a_range),
        cmocka_unit_test(test_every_limit_is_found_by_its_name),
        cmocka_unit_test(test_a_structure_of_another_size_is_refused),
        cmocka_unit_test(test_a_log_level_that_does_not_exist_is_refused),
        cmocka_unit_test(test_the_own_uid_and_named_ones_are_admitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
