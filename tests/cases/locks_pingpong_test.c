/*
 * The workload that coherent locks of cluster filesystems are tested with: N processes on N + 1 bytes,
 * each locks the next byte and then unlocks the one before. So they go round in a ring, and nobody can
 * overtake. With a number beside each byte that grows by one under its lock, each finds that it has
 * grown by N since it was here.
 *
 *   process-locks_pingpong [LAPS]     rounds of each process; 60
 */
#include "lib/fs_world.h"
#include "lib/test.h"

#include "base/clock.h"

#include <errno.h>
#include <holdfast/lock.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define PROCESSES_MAX 8
#define SLOT_SOMEBODY_IS_DONE 0
#define SLOT_TURN 1

static unsigned laps = 60;

static int lock_byte(hf_fs *fs, int fd, int command, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return hf_lock(fs, fd, command, &lock, NULL);
}

static int open_file(const struct fs_world *world, int flags)
{
    const int fd = hf_open(world->fs, "ring", flags, 0644);
    CHECK(fd >= 0);
    return fd;
}

/* ---- the ring ---- */

struct ring {
    unsigned processes;
    unsigned number; /* of this one */
    bool with_data;
};

static uint64_t add_one(const struct fs_world *world, int fd, unsigned place)
{
    uint64_t number;
    const off_t offset = (off_t)(place * sizeof number);
    CHECK_EQUAL(hf_pread(world->fs, fd, &number, sizeof number, offset), sizeof number);
    number++;
    CHECK_EQUAL(hf_pwrite(world->fs, fd, &number, sizeof number, offset), sizeof number);
    return number;
}

static void act_go_round(struct fs_world *world, void *argument)
{
    const struct ring *ring = argument;
    const unsigned places = ring->processes + 1;
    _Atomic uint64_t *somebody_is_done = &world->shared->slots[SLOT_SOMEBODY_IS_DONE];
    uint64_t seen[PROCESSES_MAX + 1] = {0};
    unsigned place = ring->number;
    const int fd = open_file(world, O_RDWR);
    CHECK_EQUAL(lock_byte(world->fs, fd, F_SETLKW, F_WRLCK, place), 0);
    fs_world_meet(world);
    for (unsigned step = 0; step < laps * places; step++) {
        const unsigned next = (place + 1) % places;
        CHECK_EQUAL(lock_byte(world->fs, fd, F_SETLKW, F_WRLCK, next), 0);
        if (ring->with_data) {
            const uint64_t number = add_one(world, fd, next);
            if (step >= places && !*somebody_is_done) {
                CHECK_EQUAL(number - seen[next], ring->processes);
            }
            seen[next] = number;
        }
        CHECK_EQUAL(lock_byte(world->fs, fd, F_SETLK, F_UNLCK, place), 0);
        place = next;
    }
    *somebody_is_done = 1;
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

static void act_make(struct fs_world *world, void *argument)
{
    const uint64_t zeros[PROCESSES_MAX + 1] = {0};
    const int fd = open_file(world, O_RDWR | O_CREAT);
    CHECK_EQUAL(hf_pwrite(world->fs, fd, zeros, sizeof zeros, 0), sizeof zeros);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

static void go_round(unsigned processes, bool with_data)
{
    struct fs_world world;
    struct ring rings[PROCESSES_MAX];
    void *arguments[PROCESSES_MAX];
    pid_t pids[PROCESSES_MAX];
    size_t size;
    fs_world_init(&world);
    fs_world_play(&world, act_make, NULL);
    const uint64_t begin_ns = clock_now_ns();
    for (unsigned i = 0; i < processes; i++) {
        rings[i] = (struct ring){.processes = processes, .number = i, .with_data = with_data};
        arguments[i] = &rings[i];
    }
    fs_world_start_all(&world, act_go_round, arguments, processes, pids);
    for (unsigned i = 0; i < processes; i++) {
        fs_world_wait(pids[i]);
    }
    const unsigned moves = processes * laps * (processes + 1);
    print_message("# %u processes%s: %.0f locks a second\n",
                  processes,
                  with_data ? " with data" : "",
                  moves / ((double)(clock_now_ns() - begin_ns) / 1e9));
    char *content = fs_world_read_file(&world, "ring", &size);
    uint64_t sum = 0;
    for (unsigned i = 0; i <= processes; i++) {
        uint64_t number;
        memcpy(&number, content + i * sizeof number, sizeof number);
        sum += number;
    }
    free(content);
    assert_int_equal(sum, with_data ? moves : 0);
    fs_world_deinit(&world);
}

static void test_a_ring_of_locks(void **state)
{
    for (unsigned processes = 2; processes <= PROCESSES_MAX; processes++) {
        go_round(processes, false);
    }
}

static void test_a_ring_of_locks_around_data(void **state)
{
    for (unsigned processes = 2; processes <= PROCESSES_MAX; processes++) {
        go_round(processes, true);
    }
}

/* ---- in words ---- */

#define TURNS 4000

static void wait_for_turn(const struct fs_world *world, uint64_t turn)
{
    while (world->shared->slots[SLOT_TURN] != turn) {
        sched_yield();
    }
}

/* Each locks without waiting when the other has said that it has unlocked. */
static void act_take_turns(struct fs_world *world, void *argument)
{
    const struct ring *ring = argument;
    const int fd = open_file(world, O_RDWR);
    for (uint64_t turn = ring->number; turn < TURNS; turn += ring->processes) {
        wait_for_turn(world, turn);
        CHECK_EQUAL(lock_byte(world->fs, fd, F_SETLK, F_WRLCK, 0), 0);
        CHECK_EQUAL(hf_flock(world->fs, fd, LOCK_EX | LOCK_NB, NULL), 0);
        CHECK_EQUAL(lock_byte(world->fs, fd, F_OFD_SETLK, F_WRLCK, 1), 0);
        CHECK_EQUAL(lock_byte(world->fs, fd, F_OFD_SETLK, F_UNLCK, 1), 0);
        CHECK_EQUAL(hf_flock(world->fs, fd, LOCK_UN, NULL), 0);
        CHECK_EQUAL(lock_byte(world->fs, fd, F_SETLK, F_UNLCK, 0), 0);
        world->shared->slots[SLOT_TURN] = turn + 1;
    }
    wait_for_turn(world, TURNS);
    CHECK_EQUAL(hf_close(world->fs, fd), 0);
}

/* An unlock that has returned is over, for whoever hears of it by whatever way. */
static void test_who_hears_of_an_unlock_can_lock(void **state)
{
    for (unsigned processes = 2; processes <= 4; processes++) {
        struct fs_world world;
        struct ring rings[4];
        void *arguments[4];
        pid_t pids[4];
        fs_world_init(&world);
        fs_world_play(&world, act_make, NULL);
        for (unsigned i = 0; i < processes; i++) {
            rings[i] = (struct ring){.processes = processes, .number = i};
            arguments[i] = &rings[i];
        }
        fs_world_start_all(&world, act_take_turns, arguments, processes, pids);
        for (unsigned i = 0; i < processes; i++) {
            fs_world_wait(pids[i]);
        }
        fs_world_deinit(&world);
    }
}

int main(int argc, char **argv)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (argc > 1) {
        laps = (unsigned)strtoul(argv[1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_ring_of_locks),
        cmocka_unit_test(test_a_ring_of_locks_around_data),
        cmocka_unit_test(test_who_hears_of_an_unlock_can_lock),
    };
    return cmocka_run_group_tests_name("locks pingpong", tests, NULL, NULL);
}
