/*
 * Each operation that changes something against each that could see it: one process does the
 * first, and another, which had everything cached, does the second at once. It must see what the
 * kernel shows of the host's directory at that moment; on a served mount, what a client sees that has
 * just come, and of what was opened before one that has not looked since.
 *
 * The observing process has a filesystem object for each observer, so that what one of them looks
 * at fills no cache of another; and each trial begins with another observer, which then meets what
 * the change has left to the last lock. The change is undone afterwards, which is one more change
 * to be seen. Half of the trials go the one way between the two processes, half the other. They
 * have no privileges, so that permissions mean something.
 *
 *   process-fs_matrix [TRIALS [PART PARTS [FOLDER]]]
 *
 * TRIALS of each pair; PART of PARTS, from 1: every so manieth change; FOLDER: where to make the
 * files. A new operation is one line in fs_matrix_changes.c or fs_matrix_observers.c.
 */
#include "cases/fs_matrix.h"

#include "client/client.h"
#include "lib/test.h"
#include "mounts/served/served.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define NOBODY 65534
#define OTHER_GROUP 65533

/* How often it is looked at whether looking again sends nothing. */
#define TRIALS_PER_REPEAT 64

static long trials = 10;
static size_t part = 1;
static size_t parts = 1;
static const char *parent;

/* One process of the two. */
struct matrix {
    struct fs_world *world; /* its client and filesystem object make the changes */
    int number;
    int root;                          /* the kernel's */
    hf_client *clients[OBSERVERS_MAX]; /* of the eyes; one for all, but on a served mount */
    hf_fs *eyes[OBSERVERS_MAX];
    int fds[OBSERVERS_MAX];
    int kernel_fds[OBSERVERS_MAX]; /* or on a served mount the keeper's */
    hf_fs *keeper;
    hf_fs *newcomer;
    uint64_t before[OBSERVERS_MAX];
    bool saw_a_difference[OBSERVERS_MAX];
};

/* ---- observing ---- */

static uint64_t see(struct matrix *matrix, size_t i)
{
    const struct look look = {
        .fs = matrix->eyes[i], .path = observers[i].path, .fd = matrix->fds[i]};
    return observers[i].see(&look);
}

static uint64_t see_as_others(struct matrix *matrix, size_t i)
{
    const bool kept = observers[i].kept != NULL;
    const struct look look = {
        .fs = kept ? matrix->keeper : matrix->newcomer,
        .path = observers[i].path,
        .fd = matrix->kernel_fds[i],
        .root = matrix->root,
        .root_length = strlen(matrix->world->root),
    };
    return observers[i].see(&look);
}

static void check_seen(struct matrix *matrix, const char *change, size_t i, uint64_t seen)
{
    if (seen != see_as_others(matrix, i)) {
        fprintf(stderr,
                "# %s: '%s' sees what was%s\n",
                change,
                observers[i].what,
                seen == matrix->before[i] ? " before" : " never");
        _exit(1);
    }
}

/* All of them look, the @first one first. Return: did the @change, or undoing it, make a
 * difference to any? */
static bool look_at_change(struct matrix *matrix, const char *change, size_t first)
{
    uint64_t seen[OBSERVERS_MAX];
    bool any = false;
    for (size_t k = 0; k < observer_count; k++) {
        const size_t i = (first + k) % observer_count;
        seen[i] = see(matrix, i);
    }
    /* Afterwards: a client that looks has others let go. */
    matrix->newcomer = fs_world_is_served() ? fs_world_visit(matrix->world) : NULL;
    for (size_t i = 0; i < observer_count; i++) {
        check_seen(matrix, change, i, seen[i]);
        if (seen[i] != matrix->before[i]) {
            matrix->saw_a_difference[i] = true;
            any = true;
        }
        matrix->before[i] = seen[i];
    }
    matrix->newcomer = hf_fs_detach(matrix->newcomer);
    return any;
}

/* The first that read has moved a time of access, which the others did not have cached then. */
static void see_all_again(struct matrix *matrix)
{
    for (size_t i = 0; i < observer_count; i++) {
        CHECK_EQUAL(see(matrix, i), matrix->before[i]);
    }
}

/* Open what is looked at through descriptors, and look: now all is cached. */
static void prepare(struct matrix *matrix)
{
    for (size_t i = 0; i < observer_count; i++) {
        const struct observer *observer = &observers[i];
        if (observer->kept != NULL) {
            matrix->fds[i] = hf_open(matrix->eyes[i], observer->kept, observer->flags, 0);
            matrix->kernel_fds[i] =
                (int)CALL(matrix->keeper,
                          hf_open(matrix->keeper, observer->kept, observer->flags, 0),
                          open(observer->kept, observer->flags));
            CHECK_EQUAL(matrix->fds[i] < 0 ? matrix->fds[i] : 0, 0);
            CHECK_EQUAL(matrix->kernel_fds[i] < 0 ? matrix->kernel_fds[i] : 0, 0);
        }
        matrix->before[i] = see(matrix, i);
    }
    if (fs_world_is_served()) {
        see_all_again(matrix);
    }
}

static void clean_up(struct matrix *matrix)
{
    for (size_t i = 0; i < observer_count; i++) {
        if (observers[i].kept != NULL) {
            CHECK_EQUAL(hf_close(matrix->eyes[i], matrix->fds[i]), 0);
            CHECK_EQUAL(CALL(matrix->keeper,
                             hf_close(matrix->keeper, matrix->kernel_fds[i]),
                             close(matrix->kernel_fds[i])),
                        0);
        }
    }
}

static uint64_t count_messages(const struct matrix *matrix, size_t i)
{
    hf_client_stats stats;
    hf_client_get_stats(matrix->clients[i], &stats);
    /* Where holes are is not cached. */
    const uint64_t operations =
        strstr(observers[i].what, "SEEK_HOLE") == NULL ? stats.operations_sent : 0;
    return stats.acquires_sent + stats.releases_sent + stats.grants_received +
           stats.recalls_received + operations;
}

/* Look once more. Return: was that without a message? */
static bool sees_without_asking(struct matrix *matrix, size_t i)
{
    const uint64_t messages = count_messages(matrix, i);
    CHECK_EQUAL(see(matrix, i), matrix->before[i]);
    return count_messages(matrix, i) == messages;
}

/* What was prepared is there without asking anybody. */
static void check_that_it_is_cached(struct matrix *matrix)
{
    int tries = 1;
    if (fs_world_sends_always()) {
        return; /* that asks each time */
    }
    if (fs_world_is_served()) {
        served_set_sending(SERVED_SENDS_NEVER);
        fs_world_wait_for_the_clock();
        see_all_again(matrix);
        tries = 3; /* the last answers to what the others have done may still be on their way */
    }
    for (size_t i = 0; i < observer_count; i++) {
        int left = tries;
        while (left > 0 && !sees_without_asking(matrix, i)) {
            left--;
        }
        fs_world_check(left > 0, observers[i].what, __FILE__, __LINE__);
    }
    served_set_sending(SERVED_SENDS_CONTENDED);
}

/* ---- trials ---- */

/* What the processes tell each other besides that they are done. */
#define SLOT_SKIPPED 0

static void make_trials(struct matrix *matrix, const struct change *change, long count)
{
    for (long trial = 0; trial < count; trial++) {
        fs_world_meet(matrix->world);
        fs_world_wait_for_the_clock();
        const int result = change->make(matrix->world->fs);
        matrix->world->shared->slots[SLOT_SKIPPED] = result == -EOPNOTSUPP;
        fs_world_meet(matrix->world);
        if (result == -EOPNOTSUPP) {
            return;
        }
        fs_world_check_equal(result, 0, change->what, __FILE__, __LINE__);
        fs_world_meet(matrix->world);
        fs_world_wait_for_the_clock();
        CHECK_EQUAL(change->undo(matrix->world->fs), 0);
        fs_world_meet(matrix->world);
    }
}

static void see_trials(struct matrix *matrix, const struct change *change, long count)
{
    bool made_a_difference = false;
    bool undone_with_a_difference = false;
    for (long trial = 0; trial < count; trial++) {
        const size_t first = (size_t)trial % observer_count;
        prepare(matrix);
        if (trial % TRIALS_PER_REPEAT == 0) {
            check_that_it_is_cached(matrix);
        }
        fs_world_meet(matrix->world);
        fs_world_meet(matrix->world); /* it happened between the two */
        if (matrix->world->shared->slots[SLOT_SKIPPED] != 0) {
            print_message("# not on this host: %s\n", change->what);
            clean_up(matrix);
            return;
        }
        made_a_difference |= look_at_change(matrix, change->what, first);
        fs_world_meet(matrix->world);
        fs_world_meet(matrix->world);
        undone_with_a_difference |= look_at_change(matrix, change->what, first);
        clean_up(matrix);
    }
    /* Else the lists would prove less than they seem to. */
    CHECK(count == 0 || (made_a_difference && undone_with_a_difference));
}

/* To nobody, if we are root; a thread may take root's identity back. */
static void drop_privileges(void)
{
    static const gid_t groups[] = {OTHER_GROUP};
    if (geteuid() == 0) {
        CHECK_EQUAL(setgroups(1, groups), 0);
        CHECK_EQUAL(setresgid(NOBODY, NOBODY, NOBODY), 0);
        CHECK_EQUAL(setresuid(NOBODY, NOBODY, 0), 0);
        CHECK_EQUAL(prctl(PR_SET_DUMPABLE, 1), 0);
    }
}

/* How many descriptors this process may have. A filesystem object takes that as a measure for how
 * many files to keep in mind, one descriptor each. */
static void limit_descriptors(unsigned share)
{
    struct rlimit descriptors;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
    descriptors.rlim_cur = descriptors.rlim_max / share;
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
}

static void attach_eyes(struct matrix *matrix)
{
    const hf_fs_config config = fs_world_config(matrix->world);
    CHECK(observer_count <= OBSERVERS_MAX);
    for (size_t i = 0; i < observer_count; i++) {
        hf_client **client = &matrix->clients[i];
        if (i == 0 || fs_world_is_served()) {
            CHECK_EQUAL(hf_client_connect(matrix->world->server.address, NULL, client), 0);
        } else {
            *client = hf_client_ref(matrix->clients[0]);
        }
        CHECK_EQUAL(hf_fs_attach(*client, &config, &matrix->eyes[i]), 0);
        if (!fs_world_is_served()) {
            /* They may share the holds, since none of them changes anything. */
            client_unclaim_holds(*client);
        }
    }
    if (fs_world_is_served()) {
        matrix->keeper = fs_world_visit(matrix->world);
    }
}

static void detach_eyes(struct matrix *matrix)
{
    for (size_t i = 0; i < observer_count; i++) {
        hf_fs_detach(matrix->eyes[i]);
        hf_client_unref(matrix->clients[i]);
    }
    hf_fs_detach(matrix->keeper);
}

static void act(struct fs_world *world, void *argument)
{
    struct matrix matrix = {.world = world, .number = *(const int *)argument};
    matrix_world = world;
    if (fs_world_is_served()) {
        /* The server takes from the connection who they are. */
        fs_world_leave(world);
        drop_privileges();
        fs_world_join(world);
        attach_eyes(&matrix);
    } else {
        limit_descriptors(OBSERVERS_MAX);
        attach_eyes(&matrix);
        limit_descriptors(1);
        matrix.root = open(world->root, O_PATH | O_DIRECTORY);
        CHECK_EQUAL(fchdir(matrix.root), 0);
        drop_privileges();
    }
    if (matrix.number == 0) {
        matrix_make_tree(world->fs);
    }
    fs_world_meet(world);
    for (size_t i = part - 1; i < change_count; i += parts) {
        for (int changer = 0; changer < 2; changer++) {
            const long count = (trials + changer) / 2;
            if (changer == matrix.number) {
                make_trials(&matrix, &changes[i], count);
            } else {
                see_trials(&matrix, &changes[i], count);
            }
            fs_world_meet(world);
        }
    }
    for (size_t i = 0; i < observer_count && parts == 1; i++) {
        CHECK(matrix.saw_a_difference[i] || trials < 2);
    }
    detach_eyes(&matrix);
}

static void act_give_away(struct fs_world *world, void *argument)
{
    CHECK_EQUAL(hf_chown(world->fs, "/", NOBODY, NOBODY), 0);
}

static void test_every_change_is_seen_by_every_observer(void **state)
{
    struct fs_world world;
    pid_t pids[2];
    print_message("# %zu changes x %zu observers, %ld trials each, part %zu of %zu\n",
                  change_count,
                  observer_count,
                  trials,
                  part,
                  parts);
    fs_world_init_in(&world, parent);
    world.patience_seconds = 30 + (unsigned)trials;
    assert_int_equal(chmod(world.folder, 0755), 0);
    if (geteuid() == 0) {
        fs_world_play(&world, act_give_away, NULL);
    }
    for (int i = 0; i < 2; i++) {
        pids[i] = fs_world_start(&world, act, &i);
    }
    fs_world_wait_for_both(pids);
    fs_world_deinit(&world);
}

int main(int argc, char **argv)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_change_is_seen_by_every_observer),
    };
    trials = argc > 1 ? strtol(argv[1], NULL, 10) : trials;
    part = argc > 3 ? strtoul(argv[2], NULL, 10) : 1;
    parts = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    parent = argc > 4 ? argv[4] : folder_fast_parent();
    return cmocka_run_group_tests_name("fs matrix", tests, NULL, NULL);
}
