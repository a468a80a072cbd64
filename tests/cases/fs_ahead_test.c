/*
 * Whoever goes through a directory has more asked for than was looked at so far. What is changed
 * then, before it was looked at, is seen changed.
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILES 40
#define CHANGED 6 /* in the order of the listing; soon behind those that are looked at */

static char names[FILES][8];

/* In the order of the listing. */
static void list(hf_fs *fs)
{
    hf_dirent entry;
    size_t count = 0;
    const int fd = hf_open(fs, ".", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    while (hf_readdir(fs, fd, &entry) == 1) {
        if (entry.name[0] != '.') {
            CHECK(count < FILES);
            memcpy(names[count++], entry.name, sizeof names[0]);
        }
    }
    CHECK_EQUAL(count, FILES);
    CHECK_EQUAL(hf_close(fs, fd), 0);
}

static void act_change(struct fs_world *world, void *argument)
{
    struct stat attributes;
    list(world->fs);
    CHECK_EQUAL(hf_lstat(world->fs, names[0], &attributes), 0);
    CHECK_EQUAL(hf_lstat(world->fs, names[1], &attributes), 0);
    CHECK_EQUAL(hf_chown(world->fs, names[CHANGED], 1, 1), 0);
    for (int i = 2; i < FILES; i++) {
        CHECK_EQUAL(hf_lstat(world->fs, names[i], &attributes), 0);
        CHECK_EQUAL(attributes.st_uid, i == CHANGED ? 1 : geteuid());
    }
}

static void test_what_was_asked_ahead_is_not_older_than_a_change(void **state)
{
    struct fs_world world;
    char name[8];
    if (geteuid() != 0) {
        skip(); /* others cannot give their files away */
    }
    fs_world_init(&world);
    hf_fs *fs = fs_world_visit(&world);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "file%d", i);
        const int fd = hf_open(fs, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
        assert_true(fd >= 0);
        assert_int_equal(hf_close(fs, fd), 0);
    }
    hf_fs_detach(fs);
    fs_world_play(&world, act_change, NULL);
    fs_world_deinit(&world);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_asked_ahead_is_not_older_than_a_change),
    };
    return cmocka_run_group_tests_name("fs ahead", tests, NULL, NULL);
}
