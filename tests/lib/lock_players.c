#include "lib/lock_players.h"

#include "base/clock.h"
#include "lib/fs_call.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Memory that the test and all players have. */
struct lock_players_shared {
    _Atomic bool is_in_call[LOCK_SEATS];
};

/* ---- a player ---- */

struct actor {
    const struct lock_players *players;
    int seat;
    hf_client *client;
    hf_fs *fs; /* NULL: the kernel's side */
    int fds[LOCK_SLOTS];
};

/* A signal handler has to reach it. */
static hf_cancel *the_token;

static void on_cancel(int signal)
{
    if (the_token != NULL) {
        hf_cancel_fire(the_token);
    }
}

static void name_file(char path[24], unsigned file)
{
    snprintf(path, 24, "f%u", file);
}

static long make_file(struct actor *actor, const struct lock_order *order, ino_t *number)
{
    char path[24];
    struct stat attributes = {0};
    name_file(path, order->file);
    const int flags = O_CREAT | O_EXCL | O_RDWR;
    const int fd =
        (int)CALL(actor->fs, hf_open(actor->fs, path, flags, 0644), open(path, flags, 0644));
    if (fd < 0) {
        return fd;
    }
    const long result =
        CALL(actor->fs, hf_ftruncate(actor->fs, fd, order->value), ftruncate(fd, order->value));
    if (result == 0) {
        CALL(actor->fs, hf_fstat(actor->fs, fd, &attributes), fstat(fd, &attributes));
        *number = attributes.st_ino;
    }
    CALL(actor->fs, hf_close(actor->fs, fd), close(fd));
    return result;
}

static long unlink_file(struct actor *actor, unsigned file)
{
    char path[24];
    name_file(path, file);
    return CALL(actor->fs, hf_unlink(actor->fs, path), unlink(path));
}

static long close_slot(struct actor *actor, int slot)
{
    const int fd = actor->fds[slot];
    actor->fds[slot] = -1;
    return CALL(actor->fs, hf_close(actor->fs, fd), close(fd));
}

static void close_all(struct actor *actor)
{
    for (int slot = 0; slot < LOCK_SLOTS; slot++) {
        if (actor->fds[slot] >= 0) {
            close_slot(actor, slot);
        }
    }
}

static long open_slot(struct actor *actor, const struct lock_order *order)
{
    char path[24];
    const int flags = (int)order->value;
    name_file(path, order->file);
    const int fd = (int)CALL(actor->fs, hf_open(actor->fs, path, flags, 0), open(path, flags, 0));
    actor->fds[order->slot] = fd;
    return fd < 0 ? fd : 0;
}

static long copy_slot(struct actor *actor, int from, int to)
{
    const int fd = actor->fds[from];
    int *other = &actor->fds[to];
    if (*other >= 0) {
        const long result = CALL(actor->fs, hf_dup2(actor->fs, fd, *other), dup2(fd, *other));
        return result < 0 ? result : 0;
    }
    *other = (int)CALL(actor->fs, hf_dup(actor->fs, fd), dup(fd));
    return *other < 0 ? *other : 0;
}

/* A wait that a signal ended is one that a token ended. */
static long after_wait(long result)
{
    if (the_token != NULL && result == -ECANCELED) {
        hf_cancel_reset(the_token);
    }
    return result == -EINTR ? -ECANCELED : result;
}

static hf_wait_opts wait_opts(const struct lock_order *order)
{
    return (hf_wait_opts){
        .deadline_ns = order->patience_ns != 0 ? clock_now_ns() + order->patience_ns : 0,
        .cancel = the_token,
    };
}

static long lock_record(struct actor *actor, const struct lock_order *order, struct flock *lock)
{
    const int fd = actor->fds[order->slot];
    const int command = (int)order->value;
    const bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
    const hf_wait_opts opts = wait_opts(order);
    *lock = order->lock;
    if (actor->fs != NULL && order->other != 0 && !waits) {
        return hf_fcntl(actor->fs, fd, command, lock);
    }
    return after_wait(CALL(actor->fs,
                           hf_lock(actor->fs, fd, command, lock, waits ? &opts : NULL),
                           fcntl(fd, command, lock)));
}

static long lock_whole(struct actor *actor, const struct lock_order *order)
{
    const int fd = actor->fds[order->slot];
    const int operation = (int)order->value;
    const hf_wait_opts opts = wait_opts(order);
    return after_wait(
        CALL(actor->fs, hf_flock(actor->fs, fd, operation, &opts), flock(fd, operation)));
}

static int take_listed(void *context, const hf_lock_info *info)
{
    struct lock_answer *answer = context;
    if (answer->listed_count < LOCK_LISTED_MAX) {
        struct lock_listed *listed = &answer->listed[answer->listed_count];
        *listed = (struct lock_listed){
            .state = info->state,
            .kind = info->kind,
            .type = info->type,
            .start = info->start,
            .end = info->end,
            .file = info->file,
            .owner = info->owner,
            .pid = info->pid,
            .cycle = info->cycle,
        };
    }
    answer->listed_count++;
    return 0;
}

/* The child has its own connection, and so needs a token of its own. */
static void move_to(struct actor *actor, int seat)
{
    actor->seat = seat;
    if (actor->fs != NULL) {
        the_token = hf_cancel_free(the_token);
        CHECK_EQUAL(hf_cancel_new(actor->client, &the_token), 0);
    }
}

static long fork_player(struct actor *actor, const struct lock_order *order)
{
    const pid_t child = order->other != 0 && actor->fs != NULL ? hf_fork() : fork();
    if (child == 0) {
        move_to(actor, (int)order->value);
    }
    return child < 0 ? (actor->fs != NULL && order->other != 0 ? child : -errno) : 0;
}

static long obey(struct actor *actor, const struct lock_order *order, struct lock_answer *answer)
{
    const uint8_t byte = (uint8_t)actor->seat;
    switch (order->verb) {
    case ORDER_MAKE:
        return make_file(actor, order, &answer->number);
    case ORDER_UNLINK:
        return unlink_file(actor, order->file);
    case ORDER_OPEN:
        return open_slot(actor, order);
    case ORDER_CLOSE:
        return close_slot(actor, order->slot);
    case ORDER_DUP2:
        return copy_slot(actor, order->slot, order->other);
    case ORDER_SEEK:
        return CALL(actor->fs,
                    hf_lseek(actor->fs, actor->fds[order->slot], order->value, SEEK_SET),
                    lseek(actor->fds[order->slot], order->value, SEEK_SET));
    case ORDER_WRITE:
        return CALL(actor->fs,
                    hf_pwrite(actor->fs, actor->fds[order->slot], &byte, 1, order->value),
                    pwrite(actor->fds[order->slot], &byte, 1, order->value));
    case ORDER_RECORD:
        return lock_record(actor, order, &answer->lock);
    case ORDER_WHOLE:
        return lock_whole(actor, order);
    case ORDER_FORK:
        return fork_player(actor, order);
    case ORDER_LIST_ALL:
        return hf_lock_list(actor->client, take_listed, answer);
    case ORDER_RESET:
        close_all(actor);
        return 0;
    case ORDER_LEAVE:
        close_all(actor);
        the_token = hf_cancel_free(the_token);
        actor->fs = hf_fs_detach(actor->fs);
        actor->client = hf_client_unref(actor->client);
        _exit(0);
    case ORDER_EXIT:
    case ORDER_KILL:
        break;
    }
    _exit(0);
}

static void play(struct actor *actor)
{
    struct lock_order order;
    for (;;) {
        struct lock_answer answer = {0};
        alarm(LOCK_PATIENCE_SECONDS);
        const ssize_t got = recv(actor->players->ends[actor->seat][1], &order, sizeof order, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got != (ssize_t)sizeof order) {
            _exit(0);
        }
        actor->players->shared->is_in_call[actor->seat] = true;
        answer.result = (int)obey(actor, &order, &answer);
        actor->players->shared->is_in_call[actor->seat] = false;
        answer.pid = getpid();
        CHECK_EQUAL(
            send(actor->players->ends[actor->seat][1], &answer, sizeof answer, MSG_NOSIGNAL),
            sizeof answer);
    }
}

static void begin(struct lock_players *players, int seat)
{
    struct actor actor = {.players = players, .seat = seat};
    const struct sigaction cancel = {.sa_handler = on_cancel};
    struct lock_answer hello = {0};
    sigaction(SIGUSR1, &cancel, NULL);
    signal(SIGCHLD, SIG_IGN); /* nobody waits for players that were forked by players */
    alarm(LOCK_PATIENCE_SECONDS);
    for (int i = 0; i < LOCK_SEATS; i++) {
        close(players->ends[i][0]);
    }
    for (int slot = 0; slot < LOCK_SLOTS; slot++) {
        actor.fds[slot] = -1;
    }
    if (players->world != NULL) {
        fs_world_join(players->world);
        actor.fs = players->world->fs;
        actor.client = players->world->client;
        CHECK_EQUAL(hf_cancel_new(actor.client, &the_token), 0);
    } else {
        CHECK_EQUAL(chdir(players->folder), 0);
    }
    hello.pid = getpid();
    CHECK_EQUAL(send(players->ends[seat][1], &hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
    play(&actor);
}

/* ---- the test ---- */

/* Does it sleep so that a signal would wake it, and how often has it been switched away from? */
static bool sleeps(pid_t pid, uint64_t *switches)
{
    char path[40];
    char line[160];
    bool is_sleeping = false;
    *switches = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "State:", 6) == 0) {
            is_sleeping = strstr(line, "S (sleeping)") != NULL;
        } else if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0) {
            *switches += strtoull(line + 24, NULL, 10);
        } else if (strncmp(line, "nonvoluntary_ctxt_switches:", 27) == 0) {
            *switches += strtoull(line + 27, NULL, 10);
        }
    }
    fclose(file);
    return is_sleeping;
}

/* The server's thread has nothing to do, so it has none of the locks that a sanitizer's allocator would
 * miss in a child. */
static void wait_for_own_threads(void)
{
    bool all = false;
    while (!all) {
        struct dirent *entry;
        uint64_t switches;
        DIR *tasks = opendir("/proc/self/task");
        assert_non_null(tasks);
        all = true;
        while ((entry = readdir(tasks)) != NULL) {
            const pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
            all = all && (thread <= 0 || thread == getpid() || sleeps(thread, &switches));
        }
        closedir(tasks);
    }
}

void lock_players_init(struct lock_players *players, struct fs_world *world)
{
    *players = (struct lock_players){.world = world};
    players->shared = mmap(
        NULL, sizeof *players->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(players->shared != MAP_FAILED);
    for (int i = 0; i < LOCK_SEATS; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, players->ends[i]),
                         0);
    }
    /* Children of players that have ended are left to this process. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    if (world == NULL) {
        assert_int_equal(folder_make_in(folder_fast_parent(), players->folder), 0);
    } else {
        lock_players_seat(players, LOCK_WATCHER);
    }
}

static void hear_hello(struct lock_players *players, int seat)
{
    struct lock_player *player = &players->seats[seat];
    const pid_t before = player->pid;
    *player = (struct lock_player){.pid = before, .is_busy = true};
    lock_players_hear(players, seat);
    player->pid = player->answer.pid;
    player->has_news = false;
    player->pidfd = (int)syscall(SYS_pidfd_open, player->pid, 0);
    assert_true(player->pidfd >= 0);
}

void lock_players_seat(struct lock_players *players, int seat)
{
    fflush(NULL);
    assert_false(lock_players_is_seated(players, seat));
    wait_for_own_threads();
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        begin(players, seat);
    }
    players->clients++;
    hear_hello(players, seat);
}

void lock_players_tell(struct lock_players *players, int seat, const struct lock_order *order)
{
    struct lock_player *player = &players->seats[seat];
    assert_true(lock_players_is_seated(players, seat) && !player->is_busy);
    assert_int_equal(send(players->ends[seat][0], order, sizeof *order, MSG_NOSIGNAL),
                     sizeof *order);
    player->is_busy = true;
    player->is_watched = false;
}

/* Is there an answer? */
static bool take_answer(struct lock_players *players, int seat, int wait_ms)
{
    struct lock_player *player = &players->seats[seat];
    struct pollfd readable = {.fd = players->ends[seat][0], .events = POLLIN};
    if (!player->is_busy || poll(&readable, 1, wait_ms) != 1) {
        return false;
    }
    assert_int_equal(recv(readable.fd, &player->answer, sizeof player->answer, 0),
                     sizeof player->answer);
    player->is_busy = false;
    player->has_news = true;
    return true;
}

const struct lock_answer *lock_players_hear(struct lock_players *players, int seat)
{
    if (players->seats[seat].is_busy && !take_answer(players, seat, LOCK_PATIENCE_SECONDS * 1000)) {
        fail_msg("the player on seat %d does not answer", seat);
    }
    return &players->seats[seat].answer;
}

void lock_players_forget_news(struct lock_players *players)
{
    for (int i = 0; i < LOCK_SEATS; i++) {
        players->seats[i].has_news = false;
    }
}

/* Take all answers that are there. Return: was there one? */
static bool take_answers(struct lock_players *players)
{
    bool any = false;
    for (int i = 0; i < LOCK_SEATS; i++) {
        any = take_answer(players, i, 0) || any;
    }
    return any;
}

/* Fails the test if one of them has ended, who will not answer any more. */
static bool anybody_is_busy(const struct lock_players *players)
{
    bool any = false;
    for (int i = 0; i < LOCK_SEATS; i++) {
        struct pollfd ended = {.fd = players->seats[i].pidfd, .events = POLLIN};
        if (players->seats[i].is_busy) {
            any = true;
            assert_int_equal(poll(&ended, 1, 0), 0);
        }
    }
    return any;
}

/* ---- the kernel's players ---- */

/* Look at each that is busy. Return: do all sleep in their call, and none has run since the last
 * look? Two such looks have a moment between them in which all slept. */
static bool all_sleep(struct lock_players *players)
{
    bool all = true;
    for (int i = 0; i < LOCK_SEATS; i++) {
        struct lock_player *player = &players->seats[i];
        uint64_t switches;
        if (!player->is_busy) {
            continue;
        }
        const bool is_asleep = sleeps(player->pid, &switches) && players->shared->is_in_call[i];
        all = all && is_asleep && player->is_watched && switches == player->switches;
        player->is_watched = is_asleep;
        player->switches = switches;
    }
    return all;
}

static void settle_kernels(struct lock_players *players)
{
    const uint64_t give_up_ns = clock_now_ns() + LOCK_PATIENCE_SECONDS * UINT64_C(1000000000);
    for (int i = 0; i < LOCK_SEATS; i++) {
        players->seats[i].is_watched = false;
    }
    while (anybody_is_busy(players)) {
        const bool any = take_answers(players);
        if (all_sleep(players) && !any) {
            return;
        }
        assert_true(clock_now_ns() < give_up_ns);
        sched_yield();
    }
}

/* ---- our players ---- */

static bool is_listed(const struct lock_answer *list, pid_t pid)
{
    for (unsigned i = 0; i < list->listed_count && i < LOCK_LISTED_MAX; i++) {
        if (list->listed[i].state == HF_LOCK_WAITING && list->listed[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static struct lock_answer ask_for_list(struct lock_players *players, int seat)
{
    const struct lock_order list = {.verb = ORDER_LIST_ALL};
    struct lock_player *player = &players->seats[seat];
    const struct lock_player before = *player;
    lock_players_tell(players, seat, &list);
    const struct lock_answer answer = *lock_players_hear(players, seat);
    assert_int_equal(answer.result, 0);
    *player = before;
    return answer;
}

/* The list comes behind all that the actor has sent. Whoever was in it when it was made waits, and
 * who was not has got an answer, or will ask. */
static void settle_ours(struct lock_players *players, int actor)
{
    const uint64_t give_up_ns = clock_now_ns() + LOCK_PATIENCE_SECONDS * UINT64_C(1000000000);
    take_answers(players);
    while (anybody_is_busy(players)) {
        const bool can_ask = actor >= 0 && !players->seats[actor].is_busy;
        const struct lock_answer list = ask_for_list(players, can_ask ? actor : LOCK_WATCHER);
        bool all = true;
        for (int i = 0; i < LOCK_SEATS; i++) {
            struct lock_player *player = &players->seats[i];
            if (player->is_busy && !is_listed(&list, player->pid)) {
                all = false;
                take_answer(players, i, 1);
            }
        }
        if (all) {
            return;
        }
        assert_true(clock_now_ns() < give_up_ns);
    }
}

void lock_players_settle(struct lock_players *players, int actor)
{
    /* Nearly always it answers at once. */
    if (actor >= 0) {
        take_answer(players, actor, 1);
    }
    if (players->world == NULL) {
        settle_kernels(players);
    } else {
        settle_ours(players, actor);
    }
}

/* ---- orders ---- */

const struct lock_answer *lock_players_do(struct lock_players *players, int seat,
                                          struct lock_order order)
{
    lock_players_tell(players, seat, &order);
    return lock_players_hear(players, seat);
}

void lock_players_start(struct lock_players *players, int seat, struct lock_order order)
{
    lock_players_tell(players, seat, &order);
    lock_players_settle(players, seat);
}

int lock_players_fork(struct lock_players *players, int seat, int child, bool by_hf_fork)
{
    const struct lock_order order = {.verb = ORDER_FORK, .value = child, .other = by_hf_fork};
    assert_false(lock_players_is_seated(players, child));
    const int result = lock_players_do(players, seat, order)->result;
    if (result == 0) {
        players->clients++;
        hear_hello(players, child);
    }
    return result;
}

/* It is gone, with its descriptors, when its pidfd says so; whose child it was does not matter. */
static void await_end(struct lock_players *players, int seat)
{
    struct lock_player *player = &players->seats[seat];
    struct pollfd ended = {.fd = player->pidfd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, LOCK_PATIENCE_SECONDS * 1000), 1);
    waitpid(player->pid, NULL, 0);
    close(player->pidfd);
    /* What it said at last is not for who comes to sit here. */
    struct lock_answer answer;
    while (recv(players->ends[seat][0], &answer, sizeof answer, MSG_DONTWAIT) > 0) {
    }
    players->shared->is_in_call[seat] = false;
    *player = (struct lock_player){0};
    players->clients--;
    if (players->world != NULL) {
        test_server_await_clients(&players->world->server, players->clients);
    }
}

void lock_players_end(struct lock_players *players, int seat, enum lock_verb how)
{
    struct lock_player *player = &players->seats[seat];
    const struct lock_order order = {.verb = how};
    if (how == ORDER_KILL) {
        kill(player->pid, SIGKILL);
    } else {
        lock_players_tell(players, seat, &order);
    }
    await_end(players, seat);
}

void lock_players_cancel(struct lock_players *players, int seat)
{
    assert_true(players->seats[seat].is_busy);
    assert_int_equal(kill(players->seats[seat].pid, SIGUSR1), 0);
}

int lock_players_find(const struct lock_players *players, pid_t pid)
{
    for (int i = 0; i < LOCK_SEATS; i++) {
        if (pid > 0 && players->seats[i].pid == pid) {
            return i;
        }
    }
    return -1;
}

void lock_players_deinit(struct lock_players *players)
{
    for (int i = 0; i < LOCK_SEATS; i++) {
        if (lock_players_is_seated(players, i)) {
            lock_players_end(players, i, players->seats[i].is_busy ? ORDER_KILL : ORDER_LEAVE);
        }
    }
    for (int i = 0; i < LOCK_SEATS; i++) {
        close(players->ends[i][0]);
        close(players->ends[i][1]);
    }
    if (players->world == NULL) {
        assert_int_equal(folder_remove(players->folder), 0);
    }
    munmap(players->shared, sizeof *players->shared);
}
