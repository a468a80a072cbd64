/*
 * The differential test: the director. It makes sequences, has them played on both sides, compares,
 * and makes those that fail short.
 */
#include "cases/fs_differential.h"

#include "lib/test.h"

#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS_LEAST 20
#define STEPS_MOST 60
#define FORK_EVERY 25 /* steps, with several players */
#define PATIENCE_SECONDS 20
#define PATIENCE_SHRINKING_SECONDS 5
#define STEPS_PER_SECOND 500 /* that much longer for long sequences */

enum { OURS, KERNELS };

struct stage {
    struct options options;
    struct fs_world world;
    char roots[2][100];
    int bases[2];
    int host_root;
    bool can_be_nobody;
    bool has_fine_times;
    int patience_seconds;
    size_t steps_max;
    struct sequence *sequence; /* this and what follows in memory that all share */
    struct side *sides[2];
    pid_t workers[2][PLAYERS_MAX]; /* 0: none */
    char trouble[600];             /* why the last sequence failed, if not by what was seen */
};

/* ---- sequences ---- */

static size_t weigh(void)
{
    size_t sum = 0;
    for (size_t i = 0; i < operation_count; i++) {
        sum += operations[i].weight;
    }
    return sum;
}

static uint8_t choose_operation(struct dice *dice)
{
    size_t left = dice_below(dice, (uint32_t)weigh());
    uint8_t i = 0;
    while (left >= operations[i].weight) {
        left -= operations[i++].weight;
    }
    return i;
}

static uint8_t operation_called(const char *name)
{
    uint8_t i = 0;
    while (strcmp(operations[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* A player goes, and another forks one in its place. Return: how many steps that is. */
static size_t make_fork(struct dice *dice, const struct sequence *sequence, struct step *steps)
{
    const unsigned others = (unsigned)sequence->players - 1;
    const uint64_t random = dice_next(dice);
    const uint8_t leaving = (uint8_t)(1 + random % others);
    const uint8_t forking = (uint8_t)((leaving + 1 + dice_below(dice, others)) % (others + 1));
    steps[0] = (struct step){.player = leaving, .operation = operation_called("exit")};
    steps[1] =
        (struct step){.player = forking, .operation = operation_called("fork"), .random = random};
    return 2;
}

static void make_sequence(struct stage *stage, uint64_t seed)
{
    struct sequence *sequence = stage->sequence;
    struct dice dice = {seed * UINT64_C(0xd1342543de82ef95)};
    const unsigned more = (unsigned)stage->options.processes - 1;
    sequence->seed = seed;
    sequence->players = more == 0 ? 1 : 2 + (int)dice_below(&dice, more);
    sequence->unprivileged = dice_percent(&dice, 75) && stage->can_be_nobody;
    const bool served = fs_world_is_served();
    /* There the clock has to move for it, which takes milliseconds for each step. */
    sequence->watched = dice_percent(&dice, served ? 2 : 50) && stage->has_fine_times;
    sequence->checked = dice_percent(&dice, 10);
    sequence->planted = stage->options.planted;
    sequence->served = served;
    const size_t wanted = stage->options.steps != 0
                              ? stage->options.steps
                              : STEPS_LEAST + dice_below(&dice, STEPS_MOST - STEPS_LEAST + 1);
    sequence->count = 0;
    while (sequence->count < wanted) {
        struct step *step = &sequence->steps[sequence->count];
        if (sequence->players > 1 && dice_below(&dice, FORK_EVERY) == 0) {
            sequence->count += make_fork(&dice, sequence, step);
            continue;
        }
        step->player = (uint8_t)dice_below(&dice, (uint32_t)sequence->players);
        step->operation = choose_operation(&dice);
        step->random = dice_next(&dice);
        sequence->count++;
    }
}

/* ---- workers ---- */

static void init_semaphores(struct side *side)
{
    sem_init(&side->done, 1, 0);
    for (int i = 0; i < PLAYERS_MAX; i++) {
        sem_init(&side->begin[i], 1, 0);
        sem_init(&side->turn[i], 1, 0);
    }
}

static void start_workers(struct stage *stage)
{
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        init_semaphores(stage->sides[i]);
        for (int number = 0; number < stage->options.processes; number++) {
            pid_t pid = fork();
            assert_true(pid >= 0);
            if (pid == 0) {
                struct player player = {
                    .side = stage->sides[i],
                    .sequence = stage->sequence,
                    .root = i == OURS && fs_world_is_served() ? NULL : stage->roots[i],
                    .world = i == OURS ? &stage->world : NULL,
                    .number = number,
                    .base = stage->bases[i],
                    .host_root = stage->host_root,
                };
                setpgid(0, stage->workers[0][0]);
                play(&player);
            }
            /* One group for all, so that those they fork end with them. */
            stage->workers[i][number] = pid;
            setpgid(pid, stage->workers[0][0]);
        }
    }
}

static void end_workers(struct stage *stage)
{
    if (stage->workers[0][0] != 0) {
        kill(-stage->workers[0][0], SIGKILL);
    }
    for (int i = 0; i < 2; i++) {
        for (int number = 0; number < PLAYERS_MAX; number++) {
            if (stage->workers[i][number] != 0) {
                waitpid(stage->workers[i][number], NULL, 0);
            }
            stage->workers[i][number] = 0;
        }
    }
}

/* Return: has one of them ended, which none should? */
static bool has_lost_worker(struct stage *stage)
{
    siginfo_t ended = {.si_pid = 0};
    if (waitid(P_PGID, (id_t)stage->workers[0][0], &ended, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        ended.si_pid == 0) {
        return false;
    }
    snprintf(stage->trouble,
             sizeof stage->trouble,
             "process %d of %s ended by %s %d%s%s",
             (int)ended.si_pid,
             ended.si_pid >= stage->workers[1][0] ? "the kernel's" : "ours",
             ended.si_code == CLD_EXITED ? "exit" : "signal",
             ended.si_status,
             stage->sides[0]->error,
             stage->sides[1]->error);
    return true;
}

/* ---- playing ---- */

static struct timespec now_plus(long nanoseconds)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += nanoseconds;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

/* Return: false when it does not come to an end. */
static bool wait_until_done(struct stage *stage, int i)
{
    struct timespec end = now_plus(0);
    end.tv_sec += stage->patience_seconds + (time_t)(stage->sequence->count / STEPS_PER_SECOND);
    for (;;) {
        const struct timespec slice = now_plus(100000000);
        if (sem_clockwait(&stage->sides[i]->done, CLOCK_MONOTONIC, &slice) == 0) {
            return true;
        }
        if (has_lost_worker(stage)) {
            return false;
        }
        if (slice.tv_sec > end.tv_sec) {
            snprintf(stage->trouble,
                     sizeof stage->trouble,
                     "%s hang in act %zu, with %d players %s",
                     i == OURS ? "ours" : "the kernel's",
                     stage->sides[i]->act,
                     stage->sequence->players,
                     stage->sides[i]->error); /* of one that was forked */
            return false;
        }
    }
}

static void clear(struct text *text)
{
    text->length = 0;
    text->text[0] = '\0';
}

static bool play_on_both(struct stage *stage)
{
    const struct sequence *sequence = stage->sequence;
    stage->trouble[0] = '\0';
    for (int i = 0; i < 2; i++) {
        struct side *side = stage->sides[i];
        side->act = 0;
        side->error[0] = '\0';
        memset(side->gone, 0, sizeof side->gone);
        memset(side->reports, 0, sequence->count * sizeof *side->reports);
        clear(&side->tree);
        clear(&side->own_tree);
        clear(&side->host_tree);
        clear(&side->open_files);
        for (int number = 0; number < sequence->players; number++) {
            sem_post(&side->begin[number]);
        }
    }
    return wait_until_done(stage, OURS) && wait_until_done(stage, KERNELS);
}

/* ---- comparing ---- */

struct pair {
    const char *what;
    const char *ours;
    const char *theirs;
    bool exactly;
};

/* Which texts are to be the same at the end. */
#define PAIRS 3

static void set_pairs(const struct stage *stage, struct pair pairs[PAIRS])
{
    const struct side *ours = stage->sides[OURS];
    const struct side *kernels = stage->sides[KERNELS];
    pairs[0] = (struct pair){"the tree", ours->tree.text, kernels->tree.text, false};
    pairs[1] = (struct pair){
        "our tree and that of others", ours->own_tree.text, ours->host_tree.text, true};
    pairs[2] = (struct pair){"open files", ours->open_files.text, kernels->open_files.text, false};
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool is_known_difference(const struct operation *operation, const char *ours,
                                const char *theirs)
{
    if (operation->play == get_cwd) {
        /* The kernel knows where a directory is without looking; getcwd() here has to go up from
         * it, and says so in fs.h. */
        return begins_with(ours, " -EACCES");
    }
    /* Positions in a directory are the host's own, and may be so large that there is no room behind
     * them for what is to be read. */
    return (operation->play == read_data || operation->play == read_vectors) &&
           begins_with(ours, " -EISDIR") && begins_with(theirs, " -EINVAL");
}

static bool is_same_step(const struct stage *stage, size_t i)
{
    const char *ours = stage->sides[OURS]->reports[i].seen;
    const char *theirs = stage->sides[KERNELS]->reports[i].seen;
    return strcmp(ours, theirs) == 0 ||
           is_known_difference(&operations[stage->sequence->steps[i].operation], ours, theirs);
}

static bool compare(const struct stage *stage)
{
    struct pair pairs[PAIRS];
    bool same = true;
    set_pairs(stage, pairs);
    for (size_t i = 0; i < stage->sequence->count && same; i++) {
        same = is_same_step(stage, i);
    }
    for (int i = 0; i < PAIRS && same; i++) {
        same = tree_is_same(&pairs[i].ours, &pairs[i].theirs, pairs[i].exactly);
    }
    return same;
}

static void show_line(const char *whose, const char *line)
{
    print_message("#    %-8s%.*s\n", whose, (int)strcspn(line, "\n"), line);
}

/* Up to the first difference. */
static void show_steps(const struct stage *stage)
{
    const struct sequence *sequence = stage->sequence;
    bool same = true;
    for (size_t i = 0; i < sequence->count && same; i++) {
        same = is_same_step(stage, i);
        const struct report *ours = &stage->sides[OURS]->reports[i];
        const struct report *kernels = &stage->sides[KERNELS]->reports[i];
        print_message("# %3zu  player %d: %s\n",
                      i + 1,
                      sequence->steps[i].player,
                      ours->call[0] != '\0' ? ours->call
                                            : operations[sequence->steps[i].operation].name);
        show_line(same ? "both" : "here", ours->seen);
        if (!same) {
            show_line("kernel", kernels->seen);
        }
    }
}

static void show(const struct stage *stage)
{
    const struct sequence *sequence = stage->sequence;
    struct pair pairs[PAIRS];
    print_message("# seed %lu, as %s%s%s, %zu steps:\n",
                  (unsigned long)sequence->seed,
                  sequence->unprivileged ? "nobody" : "who runs this",
                  sequence->watched ? ", with times" : "",
                  sequence->checked ? ", checked" : "",
                  sequence->count);
    show_steps(stage);
    set_pairs(stage, pairs);
    for (int i = 0; i < PAIRS && stage->trouble[0] == '\0'; i++) {
        if (!tree_is_same(&pairs[i].ours, &pairs[i].theirs, pairs[i].exactly)) {
            print_message("# %s:\n", pairs[i].what);
            show_line("here", pairs[i].ours);
            show_line("kernel", pairs[i].theirs);
        }
    }
    if (stage->trouble[0] != '\0') {
        print_message("# %s\n", stage->trouble);
    }
    print_message("# again: process-fs_differential --seed %lu --processes %d --steps %zu "
                  "--folder %s%s\n",
                  (unsigned long)sequence->seed,
                  stage->options.processes,
                  stage->options.steps,
                  stage->options.parent,
                  sequence->planted ? " --plant" : "");
}

bool stage_play(struct stage *stage, uint64_t seed)
{
    make_sequence(stage, seed);
    if (stage->workers[0][0] == 0) {
        start_workers(stage);
    }
    return play_on_both(stage) && compare(stage);
}

/* ---- shrinking ---- */

static bool play_in_new_processes(struct stage *stage)
{
    end_workers(stage);
    start_workers(stage);
    return play_on_both(stage) && compare(stage);
}

/* Try without @length steps from @start on. Return: does it fail all the same? Else they are put
 * back. */
static bool leave_out(struct stage *stage, size_t start, size_t length)
{
    struct sequence *sequence = stage->sequence;
    const size_t behind = sequence->count - start - length;
    struct step *from = &sequence->steps[start];
    struct step *kept = malloc(length * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, from, length * sizeof *kept);
    memmove(from, from + length, behind * sizeof *from);
    sequence->count -= length;
    const bool fails = !play_in_new_processes(stage);
    if (!fails) {
        memmove(from + length, from, behind * sizeof *from);
        memcpy(from, kept, length * sizeof *kept);
        sequence->count += length;
    }
    free(kept);
    return fails;
}

size_t stage_shrink(struct stage *stage)
{
    struct sequence *sequence = stage->sequence;
    bool any = true;
    stage->patience_seconds = PATIENCE_SHRINKING_SECONDS;
    show(stage);
    if (play_in_new_processes(stage)) {
        print_message("# alone it does well: it fails only after others\n");
        return 0;
    }
    for (size_t length = sequence->count; length > 0;
         length = any && length == 1 ? 1 : length / 2) {
        any = false;
        for (size_t start = 0; start + length <= sequence->count;) {
            if (leave_out(stage, start, length)) {
                any = true;
            } else {
                start += length;
            }
        }
    }
    play_in_new_processes(stage);
    print_message("# made short:\n");
    show(stage);
    end_workers(stage);
    stage->patience_seconds = PATIENCE_SECONDS;
    return sequence->count;
}

/* ---- the stage ---- */

/* Does every change get a time of its own, if the one before was looked at? */
static bool has_fine_times(const char *folder)
{
    char path[100];
    struct stat before;
    struct stat after;
    bool fine = true;
    snprintf(path, sizeof path, "%s/probe", folder);
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    for (int i = 0; i < 20 && fine; i++) {
        assert_int_equal(fstat(fd, &before), 0);
        assert_int_equal(fchmod(fd, 0600), 0);
        assert_int_equal(fstat(fd, &after), 0);
        fine = before.st_ctim.tv_nsec != after.st_ctim.tv_nsec;
    }
    close(fd);
    unlink(path);
    return fine;
}

static void *map_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

struct stage *stage_new(const struct options *options)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    stage->options = *options;
    stage->patience_seconds = PATIENCE_SECONDS;
    fs_world_init_in(&stage->world, options->parent);
    assert_int_equal(chmod(stage->world.folder, 0755), 0);
    const bool served = stage->world.kind != FS_WORLD_DIRECT;
    const char *folders[2] = {served ? stage->world.folder : stage->world.root,
                              stage->world.outside};
    stage->host_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(stage->host_root >= 0);
    /* One more than wanted: a fork is two steps. */
    stage->steps_max = (options->steps != 0 ? options->steps : STEPS_MOST) + 1;
    stage->sequence = map_shared(sizeof *stage->sequence);
    stage->sequence->steps = map_shared(stage->steps_max * sizeof *stage->sequence->steps);
    for (int i = 0; i < 2; i++) {
        snprintf(stage->roots[i], sizeof stage->roots[i], "%s/t", folders[i]);
        stage->bases[i] = open(folders[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(stage->bases[i] >= 0);
        assert_true(i == OURS && served ? true : mkdir(stage->roots[i], 0755) == 0);
        stage->sides[i] = map_shared(sizeof *stage->sides[i]);
        stage->sides[i]->reports = map_shared(stage->steps_max * sizeof *stage->sides[i]->reports);
    }
    stage->can_be_nobody = geteuid() == 0 && setgroups(0, NULL) == 0;
    stage->has_fine_times = has_fine_times(stage->world.folder);
    return stage;
}

struct stage *stage_free(struct stage *stage)
{
    end_workers(stage);
    for (int i = 0; i < 2; i++) {
        tree_remove(NULL, stage->bases[i], "t");
        close(stage->bases[i]);
        munmap(stage->sides[i]->reports, stage->steps_max * sizeof *stage->sides[i]->reports);
        munmap(stage->sides[i], sizeof *stage->sides[i]);
    }
    close(stage->host_root);
    munmap(stage->sequence->steps, stage->steps_max * sizeof *stage->sequence->steps);
    munmap(stage->sequence, sizeof *stage->sequence);
    fs_world_deinit(&stage->world);
    free(stage);
    return NULL;
}
