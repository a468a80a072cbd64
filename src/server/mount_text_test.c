/*
 * Mounts as people write them: what is taken for what, and what is said of the rest.
 */
#include "server/mount_text.h"

#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static hf_server_mount parse(const char *text)
{
    hf_server_mount mount;
    char error[512] = "";
    if (hf_server_mount_parse(text, &mount, error, sizeof(error)) != 0) {
        fail_msg("%s", error);
    }
    assert_null(mount_mistake(&mount));
    return mount;
}

static void test_the_three_kinds(void **state)
{
    hf_server_mount mount = parse("ram:/tmp");
    assert_int_equal(mount.kind, HF_MOUNT_RAM);
    assert_null(mount.source);
    assert_string_equal(mount.path, "/tmp");
    assert_int_equal(mount.size, 0);
    assert_int_equal(mount.inodes, 0);
    assert_int_equal(mount.mode, 01777);
    assert_int_equal(mount.uid, (uid_t)-1);
    assert_int_equal(mount.gid, (gid_t)-1);
    assert_int_equal(mount.read_only, 0);
    free(mount.texts);

    mount = parse("dir:./data:/data");
    assert_int_equal(mount.kind, HF_MOUNT_DIR);
    assert_string_equal(mount.source, "./data");
    assert_string_equal(mount.path, "/data");
    free(mount.texts);

    mount = parse("direct:/srv/src:/,ro,check");
    assert_int_equal(mount.kind, HF_MOUNT_DIRECT);
    assert_string_equal(mount.source, "/srv/src");
    assert_string_equal(mount.path, "/");
    assert_true(mount.read_only);
    assert_true(mount.check);
    free(mount.texts);
}

static void test_all_options(void **state)
{
    hf_server_mount mount = parse("ram:/t,size=3G,inodes=10k,mode=0750,uid=7,gid=0,ro");
    assert_int_equal(mount.size, UINT64_C(3) << 30);
    assert_int_equal(mount.inodes, 10240);
    assert_int_equal(mount.mode, 0750);
    assert_int_equal(mount.uid, 7);
    assert_int_equal(mount.gid, 0);
    assert_true(mount.read_only);
    free(mount.texts);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t size;
    } sizes[] = {
        {"ram:/,size=1", 1},
        {"ram:/,size=4096", 4096},
        {"ram:/,size=1K", 1 << 10},
        {"ram:/,size=2m", 2 << 20},
        {"ram:/,size=7T", UINT64_C(7) << 40},
        {"ram:/,size=9223372036854775807", INT64_MAX},
        {"ram:/,size=8388607T", UINT64_C(8388607) << 40},
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        hf_server_mount mount = parse(sizes[i].text);
        assert_int_equal(mount.size, sizes[i].size);
        free(mount.texts);
    }
    hf_server_mount mount = parse("ram:/,size=50%");
    assert_int_equal(mount.size, mount_memory_bytes() / 100 * 50);
    assert_true(mount.size > 0);
    free(mount.texts);
}

static void test_a_backslash_takes_a_characters_meaning(void **state)
{
    hf_server_mount mount = parse("dir:a\\:b\\,c\\\\d:/e\\,f\\:g,ro");
    assert_string_equal(mount.source, "a:b,c\\d");
    assert_string_equal(mount.path, "/e,f:g");
    assert_true(mount.read_only);
    free(mount.texts);
}

static void test_mistakes_are_explained(void **state)
{
    static const struct {
        const char *text;
        const char *reason;
    } mistakes[] = {
        {"", "must begin with ram: or dir: or direct:"},
        {"/tmp", "must begin with ram: or dir: or direct:"},
        {"ram", "must begin with ram: or dir: or direct:"},
        {"rams:/tmp", "must begin with ram: or dir: or direct:"},
        {"ram:tmp", "PATH must begin with a slash"},
        {"ram:", "PATH must begin with a slash"},
        {"ram:,size=1G", "PATH must begin with a slash"},
        {"ram:/a:/b",
         "must be ram:PATH and then options, each after a comma; a : in a name is written \\:"},
        {"dir:/data", "must be dir:SOURCE:PATH and then options, each after a comma"},
        {"dir:/data,ro", "must be dir:SOURCE:PATH and then options, each after a comma"},
        {"direct:a:/b:c",
         "must be direct:SOURCE:PATH and then options, each after a comma; a : in a name is "
         "written \\:"},
        {"dir::/data", "SOURCE is missing"},
        {"dir:/data:", "PATH must begin with a slash"},
        {"dir:/data:data", "PATH must begin with a slash"},
        {"ram:/a/../b", "PATH must not have . or .. in it"},
        {"ram:/.", "PATH must not have . or .. in it"},
        {"ram:/a\\b", "a backslash stands before a : a , or a backslash only"},
        {"ram:/a\\", "a backslash stands before a : a , or a backslash only"},
        {"ram:/t,",
         "a comma without an option: no such option; there are size=, inodes=, mode=, "
         "uid=, gid=, ro, check"},
        {"ram:/t,sizes=1",
         "sizes: no such option; there are size=, inodes=, mode=, uid=, gid=, ro, check"},
        {"ram:/t,size", "size needs a value"},
        {"ram:/t,ro=1", "ro takes no value"},
        {"ram:/t,ro,ro", "ro is there twice"},
        {"ram:/t,check", "check is not for a ram mount"},
        {"dir:a:/t,check", "check is not for a dir mount"},
        {"direct:a:/t,size=1G", "size is not for a direct mount"},
        {"dir:a:/t,mode=755", "mode is not for a dir mount"},
        {"ram:/t,size=",
         "size=: must be a number of bytes, 1 or more, with K, M, G or T if need be, "
         "or for ram 1% to 100% of the memory"},
        {"ram:/t,size=-1", "size=-1: must be"},
        {"ram:/t,size=0", "size=0: must be"},
        {"ram:/t,size=1X", "size=1X: must be"},
        {"ram:/t,size=1KB", "size=1KB: must be"},
        {"ram:/t,size=9223372036854775808", "size=9223372036854775808: must be"},
        {"ram:/t,size=8388608T", "size=8388608T: must be"},
        {"ram:/t,size=99999999999999999999", "size=99999999999999999999: must be"},
        {"ram:/t,size=0%", "size=0%: must be at least 1%"},
        {"ram:/t,size=101%", "size=101%: must be"},
        {"dir:a:/t,size=50%", "size=50%: a percentage of memory is for ram only"},
        {"ram:/t,inodes=0", "inodes=0: must be a number, 1 or more"},
        {"ram:/t,mode=789", "mode=789: must be octal, 0 to 7777"},
        {"ram:/t,mode=10000", "mode=10000: must be octal, 0 to 7777"},
        {"ram:/t,mode=", "mode=: must be octal, 0 to 7777"},
        {"ram:/t,uid=root", "uid=root: must be a number, 0 to 4294967294"},
        {"ram:/t,gid=4294967295", "gid=4294967295: must be a number, 0 to 4294967294"},
    };
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        hf_server_mount mount = {.path = "unchanged"};
        char error[512];
        char expected[512];
        assert_int_equal(hf_server_mount_parse(mistakes[i].text, &mount, error, sizeof(error)),
                         -EINVAL);
        snprintf(expected, sizeof(expected), "\"%s\": %s", mistakes[i].text, mistakes[i].reason);
        if (strncmp(error, expected, strlen(expected)) != 0) {
            fail_msg("expected '%s', got '%s'", expected, error);
        }
        assert_string_equal(mount.path, "unchanged");
        assert_int_equal(hf_server_mount_parse(mistakes[i].text, &mount, NULL, 0), -EINVAL);
    }
}

static void test_names_have_a_longest(void **state)
{
    char text[600];
    hf_server_mount mount;
    char error[1024];
    snprintf(text, sizeof(text), "ram:/%0255d/%0255d/", 0, 0);
    mount = parse(text);
    free(mount.texts);
    snprintf(text, sizeof(text), "ram:/a/%0256d", 0);
    assert_int_equal(hf_server_mount_parse(text, &mount, error, sizeof(error)), -EINVAL);
    assert_non_null(strstr(error, "a name in PATH is longer than 255 bytes"));
}

/* Structs that nobody parsed. */
static void test_mistakes_of_embedders(void **state)
{
    hf_server_mount mount = HF_SERVER_MOUNT_INIT;
    assert_non_null(mount_mistake(&mount));
    mount.path = "/";
    assert_null(mount_mistake(&mount));
    mount.source = "/";
    assert_non_null(mount_mistake(&mount));
    mount.kind = HF_MOUNT_DIR;
    assert_null(mount_mistake(&mount));
    mount.check = 1;
    assert_non_null(mount_mistake(&mount));
    mount.kind = HF_MOUNT_DIRECT;
    assert_null(mount_mistake(&mount));
    mount.size = 1;
    assert_non_null(mount_mistake(&mount));
    mount = (hf_server_mount)HF_SERVER_MOUNT_INIT;
    mount.path = "/";
    mount.mode = 010000;
    assert_non_null(mount_mistake(&mount));
    mount.mode = 0;
    mount.kind = 0;
    assert_non_null(mount_mistake(&mount));
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_three_kinds),
        cmocka_unit_test(test_all_options),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_a_backslash_takes_a_characters_meaning),
        cmocka_unit_test(test_mistakes_are_explained),
        cmocka_unit_test(test_names_have_a_longest),
        cmocka_unit_test(test_mistakes_of_embedders),
    };
    return cmocka_run_group_tests_name("mount text", tests, NULL, NULL);
}
