/*
 * Processes that wait for each other's record locks: exactly one is told, and when it gives up its
 * lock the others get theirs. Who waits for nothing of the kind is never told.
 *
 *   process-locks_deadlock [TRIES]     random tries; 4000
 */
#include "lib/lock_players.h"
#include "lib/test.h"
#include "sim/dice.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>

#define RING_MAX 8

static unsigned tries = 4000;

struct ring {
    struct fs_world world;
    struct lock_players players;
    int size;
};

/* As many processes as files; each process has all files open, file i in slot i % LOCK_SLOTS. */
static void ring_init(struct ring *ring, int size, unsigned files)
{
    fs_world_init(&ring->world);
    lock_players_init(&ring->players, &ring->world);
    ring->size = size;
    for (int seat = 0; seat < size; seat++) {
        lock_players_seat(&ring->players, seat);
    }
    for (unsigned file = 0; file < files; file++) {
        assert_int_equal(lock_players_do(&ring->players, 0, lock_order_make(file, 16))->result, 0);
    }
}

static void ring_deinit(struct ring *ring)
{
    lock_players_deinit(&ring->players);
    fs_world_deinit(&ring->world);
}

static int do_it(struct ring *ring, int seat, struct lock_order order)
{
    return lock_players_do(&ring->players, seat, order)->result;
}

static bool waits(const struct ring *ring, int seat)
{
    return ring->players.seats[seat].is_busy;
}

/* What the server remembers of the last deadlock: who waited in it, and who was refused. */
static void check_report(struct ring *ring, int refused, unsigned file_bytes)
{
    const struct lock_order list = {.verb = ORDER_LIST_ALL};
    const struct lock_answer *answer = lock_players_do(&ring->players, refused, list);
    uint32_t last = 0;
    unsigned waited = 0;
    unsigned told = 0;
    assert_int_equal(answer->result, 0);
    assert_true(answer->listed_count <= LOCK_LISTED_MAX);
    for (unsigned i = 0; i < answer->listed_count; i++) {
        last = answer->listed[i].cycle > last ? answer->listed[i].cycle : last;
    }
    for (unsigned i = 0; i < answer->listed_count; i++) {
        const struct lock_listed *listed = &answer->listed[i];
        if (listed->cycle == last && last != 0) {
            waited += listed->state == HF_LOCK_WAS_WAITING;
            told +=
                listed->state == HF_LOCK_REFUSED && listed->pid == ring->players.seats[refused].pid;
        }
    }
    assert_int_equal(told, 1);
    assert_int_equal(waited, ring->size - 1);
}

/* Process i has file i, and waits for file i + 1. */
static void cycle_over_files(int size)
{
    struct ring ring;
    ring_init(&ring, size, (unsigned)size);
    for (int seat = 0; seat < size; seat++) {
        assert_int_equal(do_it(&ring, seat, lock_order_open(0, (unsigned)seat)), 0);
        assert_int_equal(do_it(&ring, seat, lock_order_open(1, (unsigned)((seat + 1) % size))), 0);
        assert_int_equal(do_it(&ring, seat, lock_order_record(0, F_SETLKW, F_WRLCK, 0, 0)), 0);
    }
    for (int seat = 0; seat < size - 1; seat++) {
        lock_players_start(&ring.players, seat, lock_order_record(1, F_SETLKW, F_WRLCK, seat, 1));
        assert_true(waits(&ring, seat));
    }
    const int last = size - 1;
    const struct lock_order closing = lock_order_record(1, F_SETLKW, F_WRLCK, 0, 0);
    assert_int_equal(do_it(&ring, last, closing), -EDEADLK);
    check_report(&ring, last, 16);
    for (int seat = 0; seat < last; seat++) {
        assert_true(waits(&ring, seat));
    }
    /* Again it is refused, and then it gives way: one after the other gets what it waits for. */
    assert_int_equal(do_it(&ring, last, closing), -EDEADLK);
    lock_players_start(&ring.players, last, lock_order_record(0, F_SETLK, F_UNLCK, 0, 0));
    for (int seat = last - 1; seat >= 0; seat--) {
        assert_int_equal(lock_players_hear(&ring.players, seat)->result, 0);
        lock_players_start(&ring.players, seat, (struct lock_order){.verb = ORDER_RESET});
    }
    assert_int_equal(do_it(&ring, last, closing), 0);
    ring_deinit(&ring);
}

static void test_two_processes(void **state)
{
    cycle_over_files(2);
}

static void test_three_processes(void **state)
{
    cycle_over_files(3);
}

static void test_eight_processes(void **state)
{
    cycle_over_files(8);
}

/* All have a read lock on the same bytes, and want to write them. */
static void upgrade(int size)
{
    struct ring ring;
    ring_init(&ring, size, 1);
    for (int seat = 0; seat < size; seat++) {
        assert_int_equal(do_it(&ring, seat, lock_order_open(0, 0)), 0);
        assert_int_equal(do_it(&ring, seat, lock_order_record(0, F_SETLKW, F_RDLCK, 2, 5)), 0);
    }
    const struct lock_order wanted = lock_order_record(0, F_SETLKW, F_WRLCK, 3, 1);
    lock_players_start(&ring.players, 0, wanted);
    assert_true(waits(&ring, 0));
    for (int seat = 1; seat < size; seat++) {
        assert_int_equal(do_it(&ring, seat, wanted), -EDEADLK);
        assert_true(waits(&ring, 0));
    }
    for (int seat = 1; seat < size; seat++) {
        assert_true(waits(&ring, 0));
        lock_players_start(&ring.players, seat, lock_order_record(0, F_SETLK, F_UNLCK, 0, 0));
    }
    assert_int_equal(lock_players_hear(&ring.players, 0)->result, 0);
    assert_int_equal(do_it(&ring, 1, lock_order_record(0, F_SETLK, F_RDLCK, 3, 1)), -EAGAIN);
    assert_int_equal(do_it(&ring, 1, lock_order_record(0, F_SETLK, F_RDLCK, 2, 1)), 0);
    ring_deinit(&ring);
}

static void test_upgrades(void **state)
{
    upgrade(2);
    upgrade(3);
    upgrade(8);
}

/* One that is killed in the middle of what would have become a cycle is no part of one. */
static void test_the_dead_are_no_part_of_it(void **state)
{
    struct ring ring;
    ring_init(&ring, 3, 3);
    for (int seat = 0; seat < 3; seat++) {
        assert_int_equal(do_it(&ring, seat, lock_order_open(0, (unsigned)seat)), 0);
        assert_int_equal(do_it(&ring, seat, lock_order_open(1, (unsigned)((seat + 1) % 3))), 0);
        assert_int_equal(do_it(&ring, seat, lock_order_record(0, F_SETLKW, F_WRLCK, 0, 1)), 0);
    }
    const struct lock_order next = lock_order_record(1, F_SETLKW, F_WRLCK, 0, 1);
    lock_players_start(&ring.players, 0, next);
    lock_players_start(&ring.players, 1, next);
    lock_players_end(&ring.players, 1, ORDER_KILL);
    assert_int_equal(lock_players_hear(&ring.players, 0)->result, 0);
    lock_players_start(&ring.players, 2, next);
    assert_true(waits(&ring, 2));
    lock_players_start(&ring.players, 0, (struct lock_order){.verb = ORDER_RESET});
    assert_int_equal(lock_players_hear(&ring.players, 2)->result, 0);
    ring_deinit(&ring);
}

/* ---- what nobody is told of ---- */

#define DEADLINE_NS UINT64_C(50000000)

/* Two wait for each other; nobody is told, and the deadline of one ends it. */
static void nobody_is_told(struct lock_order hold[2], struct lock_order want[2])
{
    struct ring ring;
    ring_init(&ring, 2, 2);
    for (int seat = 0; seat < 2; seat++) {
        assert_int_equal(do_it(&ring, seat, lock_order_open(0, (unsigned)seat)), 0);
        assert_int_equal(do_it(&ring, seat, lock_order_open(1, (unsigned)!seat)), 0);
        assert_int_equal(do_it(&ring, seat, hold[seat]), 0);
    }
    lock_players_start(&ring.players, 0, want[0]);
    assert_true(waits(&ring, 0));
    want[1].patience_ns = DEADLINE_NS;
    assert_int_equal(do_it(&ring, 1, want[1]), -ETIMEDOUT);
    lock_players_settle(&ring.players, 1);
    assert_true(waits(&ring, 0));
    lock_players_end(&ring.players, 1, ORDER_KILL);
    assert_int_equal(lock_players_hear(&ring.players, 0)->result, 0);
    ring_deinit(&ring);
}

static void test_locks_of_open_files_are_not_looked_at(void **state)
{
    struct lock_order posix_hold = lock_order_record(0, F_SETLKW, F_WRLCK, 0, 1);
    struct lock_order posix_want = lock_order_record(1, F_SETLKW, F_WRLCK, 0, 1);
    struct lock_order ofd_hold = lock_order_record(0, F_OFD_SETLKW, F_WRLCK, 0, 1);
    struct lock_order ofd_want = lock_order_record(1, F_OFD_SETLKW, F_WRLCK, 0, 1);
    struct lock_order whole_hold = lock_order_whole(0, LOCK_EX);
    struct lock_order whole_want = lock_order_whole(1, LOCK_EX);
    nobody_is_told((struct lock_order[]){ofd_hold, ofd_hold},
                   (struct lock_order[]){ofd_want, ofd_want});
    nobody_is_told((struct lock_order[]){whole_hold, whole_hold},
                   (struct lock_order[]){whole_want, whole_want});
    nobody_is_told((struct lock_order[]){posix_hold, ofd_hold},
                   (struct lock_order[]){posix_want, posix_want});
    /* One waits as a process for what the other has as one; the other for a lock of flock(). */
    nobody_is_told((struct lock_order[]){whole_hold, posix_hold},
                   (struct lock_order[]){posix_want, whole_want});
}

/* ---- no false alarm ---- */

#define TRY_SEATS 4
#define TRY_FILES 3

/* One that takes its locks in the one order that there is never closes a cycle, however many
 * do so at once, and with however many others waiting. Each wants byte 0 of some files, then more. */
static void test_who_keeps_an_order_is_never_refused(void **state)
{
    struct ring ring;
    struct dice dice = {.state = 1};
    unsigned waited = 0;
    int next[TRY_SEATS] = {0}; /* the file and byte it may ask for next, as one number */
    ring_init(&ring, TRY_SEATS, TRY_FILES);
    for (int seat = 0; seat < TRY_SEATS; seat++) {
        for (unsigned file = 0; file < TRY_FILES; file++) {
            assert_int_equal(do_it(&ring, seat, lock_order_open((int)file, file)), 0);
        }
    }
    for (unsigned i = 0; i < tries; i++) {
        const int seat = (int)dice_below(&dice, TRY_SEATS);
        if (waits(&ring, seat)) {
            continue;
        }
        const int place = next[seat] + (int)dice_below(&dice, 3);
        if (place >= 4 * TRY_FILES) {
            for (int file = 0; file < TRY_FILES; file++) {
                lock_players_start(
                    &ring.players, seat, lock_order_record(file, F_SETLK, F_UNLCK, 0, 0));
                assert_int_equal(ring.players.seats[seat].answer.result, 0);
            }
            next[seat] = 0;
        } else {
            const short type = dice_percent(&dice, 30) ? F_RDLCK : F_WRLCK;
            lock_players_start(
                &ring.players, seat, lock_order_record(place / 4, F_SETLKW, type, place % 4, 1));
            next[seat] = place + 1;
        }
        waited += waits(&ring, seat);
        for (int other = 0; other < TRY_SEATS; other++) {
            assert_int_equal(ring.players.seats[other].answer.result, 0);
        }
    }
    print_message("# %u tries, of which %u waited\n", tries, waited);
    assert_true(waited > 0);
    /* Whoever has nobody to wait for goes on; so all do in the end. */
    for (int left = TRY_SEATS; left > 0;) {
        for (int seat = 0; seat < TRY_SEATS; seat++) {
            if (next[seat] >= 0 && !waits(&ring, seat)) {
                assert_int_equal(ring.players.seats[seat].answer.result, 0);
                next[seat] = -1;
                left--;
                lock_players_start(&ring.players, seat, (struct lock_order){.verb = ORDER_RESET});
            }
        }
    }
    ring_deinit(&ring);
}

int main(int argc, char **argv)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (argc > 1) {
        tries = (unsigned)strtoul(argv[1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_three_processes),
        cmocka_unit_test(test_eight_processes),
        cmocka_unit_test(test_upgrades),
        cmocka_unit_test(test_the_dead_are_no_part_of_it),
        cmocka_unit_test(test_locks_of_open_files_are_not_looked_at),
        cmocka_unit_test(test_who_keeps_an_order_is_never_refused),
    };
    return cmocka_run_group_tests_name("locks deadlock", tests, NULL, NULL);
}
