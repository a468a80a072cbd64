/* What is known of a directory's entries, and the order in which they are read. */
#include "fs/directory.h"

#include "fs/inode.h"

#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EPOCH 5

struct fixture {
    struct budget bytes;
    struct directory directory;
    struct inode inode; /* counts references; the test's own one is never dropped */
};

/* Those of dentries. */
static uint64_t references(struct fixture *fixture)
{
    return (atomic_load(&fixture->inode.references) & INODE_REFERENCES) / INODE_ENTRY;
}

static int set_up(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.inode = {.number = 77, .type = S_IFREG}};
    atomic_init(&fixture.inode.references, INODE_USER);
    budget_init(&fixture.bytes, 1000);
    directory_init(&fixture.directory, &fixture.bytes);
    directory_validate(&fixture.directory, EPOCH);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    directory_deinit(&fixture->directory);
    /* Every reference that a dentry took was given back, and every byte. */
    assert_int_equal(references(fixture), 0);
    assert_int_equal(budget_used(&fixture->bytes), 0);
    return 0;
}

static const struct dentry *find(struct fixture *fixture, const char *name)
{
    return directory_find(&fixture->directory, name, strlen(name));
}

static void set_present(struct fixture *fixture, const char *name)
{
    directory_set_present(&fixture->directory, name, strlen(name), &fixture->inode);
}

static void set_absent(struct fixture *fixture, const char *name)
{
    directory_set_absent(&fixture->directory, name, strlen(name));
}

static void list(struct fixture *fixture, int count)
{
    char name[24];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "entry%d", i);
        assert_int_equal(directory_add_listed(&fixture->directory, name, (ino_t)(100 + i), DT_REG),
                         0);
    }
    directory_set_complete(&fixture->directory);
}

/* What is known of a name is the last thing that was said of it. */
static void test_the_last_word_on_a_name_counts(void **state)
{
    struct fixture *fixture = *state;
    assert_null(find(fixture, "a"));
    set_absent(fixture, "a");
    assert_int_equal(find(fixture, "a")->kind, DENTRY_ABSENT);
    set_present(fixture, "a");
    set_present(fixture, "a");
    assert_int_equal(find(fixture, "a")->kind, DENTRY_PRESENT);
    assert_int_equal(find(fixture, "a")->number, 77);
    assert_int_equal(references(fixture), 1);
    assert_null(find(fixture, "A"));
    assert_null(find(fixture, "aa"));
    set_absent(fixture, "a");
    assert_int_equal(find(fixture, "a")->kind, DENTRY_ABSENT);
    directory_forget(&fixture->directory, "a", 1);
    assert_null(find(fixture, "a"));
}

/* Another epoch means that another client may have changed anything. */
static void test_another_epoch_forgets_everything(void **state)
{
    struct fixture *fixture = *state;
    list(fixture, 3);
    set_present(fixture, "entry1");
    directory_validate(&fixture->directory, EPOCH);
    assert_non_null(find(fixture, "entry1"));
    directory_validate(&fixture->directory, EPOCH + 1);
    assert_null(find(fixture, "entry1"));
    assert_false(fixture->directory.complete);
}

/* A listing keeps the inodes that were known, and says of all other names that they are not
 * there. */
static void test_a_listing_completes_what_is_known(void **state)
{
    struct fixture *fixture = *state;
    set_present(fixture, "entry1");
    set_absent(fixture, "gone");
    set_absent(fixture, "entry2"); /* the backend knows better */
    list(fixture, 4);
    assert_int_equal(find(fixture, "entry1")->kind, DENTRY_PRESENT);
    assert_int_equal(find(fixture, "entry2")->kind, DENTRY_LISTED);
    assert_null(find(fixture, "gone"));
    assert_true(fixture->directory.complete);
}

/* Names that do not exist are remembered, but not without end. */
static void test_absent_names_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    char name[24];
    set_present(fixture, "kept");
    for (int i = 0; i < 10 * DIRECTORY_ABSENT_MAX; i++) {
        snprintf(name, sizeof name, "missing%d", i);
        set_absent(fixture, name);
        assert_int_equal(find(fixture, name)->kind, DENTRY_ABSENT);
        assert_true(fixture->directory.count <= DIRECTORY_ABSENT_MAX + 1);
    }
    assert_int_equal(find(fixture, "kept")->kind, DENTRY_PRESENT);
}

/* Read the entry at *position or after it, mark it seen if it is one of list()'s, and move on.
 * Return: false at the end. */
static bool read_one(struct fixture *fixture, off_t *position, bool *seen,
                     const struct dentry **dentry)
{
    if (directory_entry_at(&fixture->directory, *position, dentry) == 0) {
        return false;
    }
    assert_true((*dentry)->position >= *position);
    *position = (*dentry)->position + 1;
    if (seen != NULL && (*dentry)->number >= 100) {
        assert_false(seen[(*dentry)->number - 100]);
        seen[(*dentry)->number - 100] = true;
    }
    return true;
}

static int count_entries(struct fixture *fixture)
{
    const struct dentry *dentry;
    off_t position = DIRECTORY_FIRST_POSITION;
    int count = 0;
    while (read_one(fixture, &position, NULL, &dentry)) {
        count++;
    }
    return count;
}

/* Each entry that is there all the time is read once, though others come and go. */
static void test_reading_is_stable_while_entries_come_and_go(void **state)
{
    struct fixture *fixture = *state;
    bool seen[500] = {false};
    char name[NAME_MAX + 1];
    const struct dentry *dentry;
    off_t position = DIRECTORY_FIRST_POSITION;

    list(fixture, 500);
    for (int i = 0; read_one(fixture, &position, seen, &dentry); i++) {
        if (i % 3 == 0 && i < 300) {
            snprintf(name, sizeof name, "new%d", i);
            set_present(fixture, name);
        } else if (i % 3 == 1) {
            /* What was read goes, as when a tree is removed. */
            snprintf(name, sizeof name, "%s", dentry->name);
            set_absent(fixture, name);
        }
    }
    for (int i = 0; i < 500; i++) {
        assert_true(seen[i]);
    }
}

/* A name that comes back takes its old place, and all clients give it the same one. */
static void test_positions_depend_on_names_alone(void **state)
{
    struct fixture *fixture = *state;
    struct fixture other = {.inode = {.number = 1}};
    const struct dentry *dentry;

    list(fixture, 50);
    assert_int_equal(count_entries(fixture), 50);
    const off_t before = find(fixture, "entry17")->position;
    set_absent(fixture, "entry17");
    assert_int_equal(count_entries(fixture), 49);
    set_present(fixture, "entry17");
    assert_int_equal(find(fixture, "entry17")->position, before);
    assert_int_equal(count_entries(fixture), 50);

    budget_init(&other.bytes, 1000);
    directory_init(&other.directory, &other.bytes);
    directory_validate(&other.directory, 1);
    assert_int_equal(directory_add_listed(&other.directory, "entry17", 117, DT_REG), 0);
    directory_set_complete(&other.directory);
    assert_int_equal(directory_entry_at(&other.directory, 0, &dentry), 1);
    assert_int_equal(dentry->position, before);
    directory_deinit(&other.directory);
}

/* Trimming lets go of inodes that were not looked up since the last time. */
static void test_trimming_spares_what_is_used(void **state)
{
    struct fixture *fixture = *state;
    set_present(fixture, "entry1");
    atomic_store(&fixture->inode.recently_used, true);
    directory_trim(&fixture->directory, false);
    assert_non_null(find(fixture, "entry1"));
    directory_trim(&fixture->directory, false);
    assert_null(find(fixture, "entry1"));
    assert_int_equal(budget_used(&fixture->bytes), 0);
}

/* A listing that was read since the last time stays whole, without the inodes; and so does that
 * of a directory that is open. Then it goes, but for the inodes that are used. */
static void test_trimming_spares_a_listing_that_is_read(void **state)
{
    struct fixture *fixture = *state;
    list(fixture, 3);
    set_present(fixture, "entry1");
    assert_int_equal(count_entries(fixture), 3);
    directory_trim(&fixture->directory, false);
    assert_int_equal(find(fixture, "entry1")->kind, DENTRY_LISTED);
    assert_int_equal(find(fixture, "entry1")->number, 77);
    directory_trim(&fixture->directory, true);
    assert_int_equal(count_entries(fixture), 3);

    directory_trim(&fixture->directory, false);
    set_present(fixture, "entry2");
    atomic_store(&fixture->inode.recently_used, true);
    directory_trim(&fixture->directory, false);
    assert_false(fixture->directory.complete);
    assert_null(find(fixture, "entry1"));
    assert_int_equal(find(fixture, "entry2")->kind, DENTRY_PRESENT);
}

/* Names known to be absent stay while somebody asks for them. */
static void test_trimming_spares_absent_names_that_are_asked_for(void **state)
{
    struct fixture *fixture = *state;
    set_absent(fixture, "missing");
    directory_used(&fixture->directory);
    directory_trim(&fixture->directory, false);
    assert_int_equal(find(fixture, "missing")->kind, DENTRY_ABSENT);
    directory_trim(&fixture->directory, false);
    assert_null(find(fixture, "missing"));
}

static off_t position_at(struct fixture *fixture, off_t position)
{
    const struct dentry *dentry;
    assert_int_equal(directory_entry_at(&fixture->directory, position, &dentry), 1);
    return dentry->position;
}

/* From wherever the last entry was read, any position leads to its entry. */
static void test_any_position_may_follow_any_other(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 40 };
    off_t positions[COUNT];
    off_t next = DIRECTORY_FIRST_POSITION;

    list(fixture, COUNT);
    for (int i = 0; i < COUNT; i++) {
        positions[i] = position_at(fixture, next);
        next = positions[i] + 1;
    }
    for (int before = 0; before < COUNT; before++) {
        for (int i = 0; i < COUNT; i++) {
            position_at(fixture, positions[before]);
            assert_int_equal(position_at(fixture, positions[i]), positions[i]);
            assert_int_equal(position_at(fixture, i == 0 ? 2 : positions[i - 1] + 1), positions[i]);
        }
    }
    /* A removed one is skipped, also by who stands right before it. */
    char name[24];
    for (int i = 0; i < COUNT; i += 2) {
        snprintf(name, sizeof name, "entry%d", i);
        set_absent(fixture, name);
    }
    const struct dentry *dentry;
    int seen = 0;
    for (next = DIRECTORY_FIRST_POSITION;
         directory_entry_at(&fixture->directory, next, &dentry) == 1;
         next = dentry->position + 1) {
        assert_int_equal(dentry->kind, DENTRY_LISTED);
        seen++;
    }
    assert_int_equal(seen, COUNT / 2);
}

/* ---- what will be looked up next ---- */

#define AHEAD_MOST 32

/* In the order of reading; what is looked up becomes PRESENT, as in life. Return: how many were
 * given ahead; each is counted in @given. */
static size_t look_up_at(struct fixture *fixture, size_t place, unsigned char *given)
{
    struct directory *directory = &fixture->directory;
    struct dentry *const *first;
    struct dentry *dentry = directory->index[place];
    const size_t count = directory_look_ahead(directory, dentry, AHEAD_MOST, &first);
    for (size_t i = 0; i < count; i++) {
        const size_t next = (size_t)(first - directory->index) + i;
        assert_true(next > place && next <= place + AHEAD_MOST);
        given[next]++;
    }
    set_present(fixture, dentry->name);
    return count;
}

/* Who looks entries up in the order in which they are read is believed to go on: each of the
 * others is given once before its turn, many at a time. */
static void test_lookups_in_order_are_foreseen(void **state)
{
    enum { COUNT = 300 };
    struct fixture *fixture = *state;
    unsigned char given[COUNT] = {0};
    size_t times = 0;
    list(fixture, COUNT);
    assert_int_equal(count_entries(fixture), COUNT);
    for (size_t place = 0; place < COUNT; place++) {
        assert_int_equal(given[place], place == 0 ? 0 : 1);
        times += look_up_at(fixture, place, given) > 0;
    }
    assert_true(times <= 2 * COUNT / AHEAD_MOST + 3);
}

/* In any other order nothing is. */
static void test_other_lookups_are_not_foreseen(void **state)
{
    enum { COUNT = 300 };
    struct fixture *fixture = *state;
    unsigned char given[COUNT] = {0};
    list(fixture, COUNT);
    assert_int_equal(count_entries(fixture), COUNT);
    for (size_t place = COUNT; place-- > 1;) {
        assert_int_equal(look_up_at(fixture, place, given), 0);
    }
    /* Nor before anybody has read the directory. */
    directory_flush(&fixture->directory);
    directory_validate(&fixture->directory, EPOCH);
    list(fixture, 2);
    struct dentry *const *first;
    assert_int_equal(
        directory_look_ahead(&fixture->directory, find(fixture, "entry0"), AHEAD_MOST, &first), 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_last_word_on_a_name_counts),
        TEST(test_another_epoch_forgets_everything),
        TEST(test_a_listing_completes_what_is_known),
        TEST(test_absent_names_are_bounded),
        TEST(test_reading_is_stable_while_entries_come_and_go),
        TEST(test_positions_depend_on_names_alone),
        TEST(test_trimming_spares_what_is_used),
        TEST(test_trimming_spares_a_listing_that_is_read),
        TEST(test_trimming_spares_absent_names_that_are_asked_for),
        TEST(test_any_position_may_follow_any_other),
        TEST(test_lookups_in_order_are_foreseen),
        TEST(test_other_lookups_are_not_foreseen),
    };
    return cmocka_run_group_tests_name("directory", tests, NULL, NULL);
}
