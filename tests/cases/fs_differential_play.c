/*
 * The differential test: the players of one side.
 *
 * What they do in a sequence is a row of acts, one after the other:
 *
 *   0 .. players-1   player n joins; the first makes the tree
 *   then             the steps
 *   then             players-1 .. 0 tell what they have open; the first then describes the tree
 *   then             players-1 .. 0 leave; the first then tells the director
 *
 * Whoever has done the last of his acts in a row wakes the next. All memory that this takes is the
 * side's, so it makes no difference that a player may have been forked in the middle by another.
 */
#include "cases/fs_differential.h"

#include <grp.h>
#include <holdfast/export.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's players have the numbers below this to themselves. */
#define OWN_DESCRIPTORS 1000

#define FORKED_PATIENCE_SECONDS 600

void play_require(const struct player *player, bool condition, const char *what)
{
    if (!condition) {
        snprintf(player->side->error,
                 sizeof player->side->error,
                 "player %d: %s: %s",
                 player->number,
                 what,
                 strerrordesc_np(errno));
        _exit(1);
    }
}

static void succeed(const struct player *player, int result, const char *what)
{
    errno = -result;
    play_require(player, result == 0, what);
}

/* ---- identity ---- */

/* A worker dies with the director. That has to be said again whenever the identity changed. Who
 * forked a player may be gone before it: that one dies with its group, or else with time. */
static void die_in_the_end(const struct player *player)
{
    if (player->forked) {
        alarm(FORKED_PATIENCE_SECONDS);
    } else {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
}

static void take_identity(struct player *player)
{
    static const gid_t groups[] = {NOBODY};
    if (player->sequence->unprivileged) {
        play_require(player, setgroups(1, groups) == 0, "setgroups");
        play_require(player, setresgid(NOBODY, NOBODY, 0) == 0, "setresgid");
        play_require(player, setresuid(NOBODY, NOBODY, 0) == 0, "setresuid");
        prctl(PR_SET_DUMPABLE, 1);
        die_in_the_end(player);
    }
}

static void give_identity_back(struct player *player)
{
    if (player->sequence->unprivileged) {
        play_require(player, setresuid(0, 0, 0) == 0, "setresuid back");
        play_require(player, setresgid(0, 0, 0) == 0, "setresgid back");
        play_require(player, setgroups(0, NULL) == 0, "setgroups back");
        die_in_the_end(player);
    }
}

/* ---- joining and leaving ---- */

static bool is_ours(const struct player *player)
{
    return player->world != NULL;
}

static bool is_served(const struct player *player)
{
    return is_ours(player) && player->world->kind != FS_WORLD_DIRECT;
}

/* Of this thread alone, which is all that a child has. The kernel's side has no need of it, and would
 * not be let link any more what was opened before; and on a served mount the connection says who it
 * is for. */
static void set_effective(struct player *player, uid_t user)
{
    if (player->sequence->unprivileged && is_ours(player) && !is_served(player)) {
        play_require(player, syscall(SYS_setresuid, -1, user, -1) == 0, "setresuid in a fork");
    }
}

static void connect_client(struct player *player)
{
    const char *address = player->world->server.address;
    succeed(player, hf_client_connect(address, NULL, &player->client), "connect");
}

static void attach(struct player *player)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    config.root = player->root;
    config.external = player->sequence->checked ? HF_EXTERNAL_CHECK : HF_EXTERNAL_NEVER;
    const int result = fs_world_attach_client(player->world, player->client, &config, &player->fs);
    succeed(player, result, "attach");
}

static void set_the_stage(struct player *player)
{
    hf_fs *fs = is_served(player) ? fs_world_visit(player->world) : NULL;
    const char *root = fs != NULL ? "/" : player->root;
    play_require(player, tree_reset(fs, root), "an empty root");
    play_require(player, CALL(fs, hf_chdir(fs, root), chdir(root)) == 0, "chdir");
    play_require(player, tree_make(fs, player->sequence), "the tree");
    hf_fs_detach(fs);
}

static void join(struct player *player)
{
    umask(022); /* steps may have left another */
    if (player->number == 0) {
        set_the_stage(player);
    }
    umask(022);
    if (is_served(player)) {
        take_identity(player);
        connect_client(player);
        attach(player);
    } else if (is_ours(player)) {
        take_identity(player);
        attach(player);
    } else {
        play_require(player, chdir(player->root) == 0, "chdir to the root");
        play_require(player, chroot(".") == 0, "chroot");
        take_identity(player);
    }
}

static void leave(struct player *player)
{
    player->fs = hf_fs_detach(player->fs);
    if (is_served(player)) {
        player->client = hf_client_unref(player->client);
    }
    give_identity_back(player);
    if (!is_ours(player)) {
        close_range(0, OWN_DESCRIPTORS - 1, 0);
        play_require(player, fchdir(player->host_root) == 0, "fchdir to the host's root");
        play_require(player, chroot(".") == 0, "chroot back");
    }
    play_require(player, chdir("/") == 0, "chdir to the host's root");
}

/* ---- steps ---- */

static void play_step(struct player *player, size_t number)
{
    const struct step *step = &player->sequence->steps[number];
    const int self = player->number;
    player->dice.state = step->random;
    player->report = &player->side->reports[number];
    player->path_count = 0;
    player->fd_count = 0;
    player->ats[0] = HF_AT_FDCWD;
    player->ats[1] = HF_AT_FDCWD;
    player->report->call[0] = '\0';
    player->report->seen[0] = '\0';
    operations[step->operation].play(player);
    /* Who left cannot, and who was forked in this step has nothing to say of it. */
    if (player->sequence->watched && player->number == self && !player->side->gone[self]) {
        sees_moved_times(player);
    }
}

void play_exit(struct player *player)
{
    calls(player, "exit()");
    sees(player, " gone");
    leave(player);
    player->side->gone[player->number] = true;
}

void play_fork(struct player *player)
{
    const uint64_t random = player->dice.state;
    const int number = 1 + (int)(random % ((unsigned)player->sequence->players - 1));
    const bool by_api = (random & 0x100) != 0;
    calls(player, "fork() as player %d", number);
    if (!player->side->gone[number]) {
        sees(player, " still there");
        return;
    }
    set_effective(player, 0); /* the child has a connection of its own, and the server knows root */
    /* The kernel's side without the handlers of the server that this process was forked from. */
    pid_t pid = (pid_t)CALL(player->fs, by_api ? hf_fork() : fork(), _Fork());
    errno = pid < 0 ? -pid : 0;
    play_require(player, pid >= 0, "fork");
    set_effective(player, NOBODY);
    if (pid == 0) {
        player->number = number;
        player->forked = true;
        die_in_the_end(player);
        return;
    }
    player->side->gone[number] = false;
    sees(player, " forked");
}

void play_move(struct player *player)
{
    const bool to_new_client = below(player, 2) == 0;
    calls(player, "export(), import()%s", to_new_client ? " by a new client" : "");
    sees(player, " moved");
    if (!is_ours(player)) {
        return; /* it makes no difference */
    }
    hf_fs *from = player->fs;
    hf_client *client = hf_client_ref(player->client);
    hf_client *before = player->client;
    set_effective(player, 0); /* as for a fork, and as it may not be let into the root any more */
    const ssize_t size = hf_export(from, NULL, 0);
    char *bytes = malloc(size > 0 ? (size_t)size : 1);
    play_require(player, size > 0 && bytes != NULL, "the size of an export");
    const ssize_t result = hf_export(from, bytes, (size_t)size);
    succeed(player, result == size ? 0 : (int)result, "export");
    if (to_new_client) {
        hf_client_unref(client);
        connect_client(player);
    } else {
        player->client = client;
    }
    if (!to_new_client || player->world->small_caches) {
        from = hf_fs_detach(from); /* a client has but one, and small caches few descriptors */
    }
    hf_client_unref(before);
    attach(player);
    succeed(player, hf_import(player->fs, bytes, (size_t)size), "import");
    free(bytes);
    hf_fs_detach(from);
    set_effective(player, NOBODY);
}

/* ---- the end ---- */

static void go_to_root(const struct player *player, hf_fs *fs)
{
    play_require(player, CALL(fs, hf_chdir(fs, "/"), chdir("/")) == 0, "the root");
}

/* On a served mount a client sees what its user may: so the tree is what root sees, and what the first
 * player sees is compared with another client of the same user. */
static void describe_served(struct player *player)
{
    struct side *side = player->side;
    hf_fs *other = fs_world_visit(player->world);
    give_identity_back(player);
    hf_fs *all = fs_world_visit(player->world);
    tree_describe(player, all, &side->tree); /* first: this moves times of access */
    if (hf_chdir(player->fs, "/") == 0) {    /* else it is let see nothing */
        tree_describe(player, player->fs, &side->own_tree);
        tree_describe(player, other, &side->host_tree);
    }
    hf_fs_detach(all);
    hf_fs_detach(other);
}

static void describe_all(struct player *player)
{
    struct side *side = player->side;
    if (is_served(player)) {
        describe_served(player);
        return;
    }
    give_identity_back(player);
    go_to_root(player, player->fs);
    tree_describe(player, player->fs, &side->tree);
    if (player->fs != NULL) {
        side->own_tree = side->tree;
        play_require(player, chdir(player->root) == 0, "the host's directory");
        tree_describe(player, NULL, &side->host_tree);
    }
}

/* ---- acts ---- */

#define NO_MORE (-1)
#define NOBODYS (-2) /* of a player who is gone */

/* Return: whose act it is, or one of these. */
static int actor(const struct player *player, size_t act)
{
    const struct sequence *sequence = player->sequence;
    const size_t players = (size_t)sequence->players;
    int number;
    if (act < players) {
        return (int)act;
    }
    act -= players;
    if (act < sequence->count) {
        number = sequence->steps[act].player;
    } else {
        act -= sequence->count;
        if (act >= 2 * players) {
            return NO_MORE;
        }
        number = (int)(players - 1 - act % players);
    }
    return player->side->gone[number] ? NOBODYS : number;
}

static void do_act(struct player *player, size_t act)
{
    const size_t players = (size_t)player->sequence->players;
    if (act < players) {
        join(player);
    } else if (act - players < player->sequence->count) {
        play_step(player, act - players);
    } else if (act - players - player->sequence->count >= players) {
        leave(player);
    } else {
        tree_describe_open_files(player);
        if (player->number == 0) {
            describe_all(player);
        }
    }
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0 && errno == EINTR) {
    }
}

/* The act is done: whose is the next? Wake him, if it is another. Return: it is this one's. */
static bool go_on(const struct player *player)
{
    struct side *side = player->side;
    const size_t players = (size_t)player->sequence->players;
    int next;
    while ((next = actor(player, ++side->act)) == NOBODYS) {
        if (side->act < players + player->sequence->count) {
            struct report *report = &side->reports[side->act - players];
            snprintf(report->call, CALL_TEXT, "(gone)");
            report->seen[0] = '\0';
        }
    }
    if (next == NO_MORE) {
        sem_post(&side->done);
    } else if (next != player->number) {
        sem_post(&side->turn[next]);
    }
    return next == player->number;
}

static bool is_leaving(const struct player *player, size_t act)
{
    const size_t players = (size_t)player->sequence->players;
    return act >= 2 * players + player->sequence->count || player->side->gone[player->number];
}

static void play_sequence(struct player *player, bool is_my_turn)
{
    bool is_over = false;
    while (!is_over) {
        if (!is_my_turn) {
            wait_for(&player->side->turn[player->number]);
        }
        const size_t act = player->side->act;
        const int number = player->number;
        do_act(player, act);
        if (player->number != number) {
            is_my_turn = false; /* forked: it is the parent who goes on */
            continue;
        }
        is_over = is_leaving(player, act);
        is_my_turn = go_on(player);
    }
    if (player->forked) {
        player->client = hf_client_unref(player->client);
        _exit(0);
    }
}

/* Out of the way of the descriptors that a sequence has. */
static void move_descriptor(struct player *player, int *fd)
{
    const int copy = fcntl(*fd, F_DUPFD_CLOEXEC, OWN_DESCRIPTORS);
    play_require(player, copy >= 0, "a descriptor of its own");
    close(*fd);
    *fd = copy;
}

void play(struct player *player)
{
    die_in_the_end(player);
    signal(SIGCHLD, SIG_IGN); /* nobody waits for players that were forked */
    signal(SIGPIPE, SIG_IGN);
    if (is_ours(player)) {
        if (!is_served(player)) {
            connect_client(player);
        }
    } else {
        move_descriptor(player, &player->base);
        move_descriptor(player, &player->host_root);
        close_range(0, OWN_DESCRIPTORS - 1, 0);
    }
    player->clock = openat(player->base, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    play_require(player, player->clock >= 0, "the clock");
    move_descriptor(player, &player->clock);
    for (;;) {
        wait_for(&player->side->begin[player->number]);
        play_sequence(player, player->number == 0);
    }
}
