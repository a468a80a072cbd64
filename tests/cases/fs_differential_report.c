/* The differential test: what a step tells. */
#include "cases/fs_differential.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- times that a step moves ---- */

static struct watched_time look(struct player *player, int at, const char *path, int flags)
{
    struct stat found;
    struct watched_time time = {.result = 0};
    time.result = CALL(player->fs,
                       hf_fstatat(player->fs, at, path, &found, flags),
                       fstatat(at, path, &found, flags));
    if (time.result == 0) {
        time.number = found.st_ino;
        time.mtime = found.st_mtim;
        time.ctime = found.st_ctim;
    }
    return time;
}

/* What @path is in, by its text alone. */
static void name_parent(const char *path, char parent[PATH_ROOM])
{
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/') {
        length--;
    }
    while (length > 0 && path[length - 1] != '/') {
        length--;
    }
    memcpy(parent, path, length);
    snprintf(parent + length, PATH_ROOM - length, length == 0 ? "." : "");
}

/* Both names and the directories they are in, and both descriptors. */
static void look_at_all(struct player *player, struct watched_time times[WATCHED_MAX])
{
    char parent[PATH_ROOM];
    memset(times, 0, sizeof(struct watched_time[WATCHED_MAX]));
    for (int i = 0; i < player->path_count; i++) {
        name_parent(player->paths[i], parent);
        times[2 * i] = look(player, player->ats[i], player->paths[i], AT_SYMLINK_NOFOLLOW);
        times[2 * i + 1] = look(player, player->ats[i], parent, 0);
    }
    for (int i = 0; i < player->fd_count; i++) {
        times[4 + i] = look(player, player->fds[i], "", AT_EMPTY_PATH);
    }
}

static bool is_same_time(const struct timespec *one, const struct timespec *other)
{
    return one->tv_sec == other->tv_sec && one->tv_nsec == other->tv_nsec;
}

/* From here on every change gets a later time than all before. By itself it would not: times are
 * coarse unless the last one was looked at and is not in the past of the coarse clock, as it is not
 * after the first round; and a directory may get the time of a file that was in it. */
static void let_time_pass(const struct player *player)
{
    struct stat found;
    if (player->sequence->served && player->world != NULL) {
        fs_world_wait_for_the_clock();
        return;
    }
    for (int round = 0; round < 2; round++) {
        play_require(player, fstat(player->clock, &found) == 0, "the clock");
        play_require(player, pwrite(player->clock, "", 1, 0) == 1, "moving the clock");
    }
}

void sees_moved_times(struct player *player)
{
    struct watched_time now[WATCHED_MAX];
    char moved[2 * WATCHED_MAX + 1] = "";
    look_at_all(player, now);
    for (int i = 0; i < WATCHED_MAX; i++) {
        const struct watched_time *before = &player->watched[i];
        const bool both = before->result == 0 && now[i].result == 0;
        const bool same = both && before->number == now[i].number;
        moved[2 * i] = same && !is_same_time(&before->mtime, &now[i].mtime) ? 'm' : '-';
        moved[2 * i + 1] = same && !is_same_time(&before->ctime, &now[i].ctime) ? 'c' : '-';
    }
    sees(player, " moved %s", moved);
}

/* ---- texts ---- */

static __attribute__((format(printf, 3, 0))) void append(char *text, size_t room,
                                                         const char *format, va_list arguments)
{
    const size_t length = strlen(text);
    vsnprintf(text + length, room - length, format, arguments);
}

/* A path may have any bytes: only those that can be shown are. */
static void make_readable(char *text)
{
    for (; *text != '\0'; text++) {
        if (!isprint((unsigned char)*text)) {
            *text = '?';
        }
    }
}

void calls(struct player *player, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    append(player->report->call, CALL_TEXT, format, arguments);
    va_end(arguments);
    make_readable(player->report->call);
    if (player->sequence->watched) {
        look_at_all(player, player->watched);
        let_time_pass(player);
    }
}

void sees(struct player *player, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    append(player->report->seen, SEEN_TEXT, format, arguments);
    va_end(arguments);
}

void sees_result(struct player *player, long result)
{
    const char *name = result < 0 && result > -4096 ? strerrorname_np((int)-result) : NULL;
    if (name != NULL) {
        sees(player, " -%s", name);
    } else {
        sees(player, " %ld", result);
    }
}

void sees_bytes(struct player *player, const void *bytes, size_t size)
{
    sees(player, " data %016lx", (unsigned long)call_mix_bytes(size, bytes, size));
}

struct time_text time_text(const struct timespec *time)
{
    struct time_text out = {"now"};
    if (time->tv_sec < TIMES_SET) {
        snprintf(out.text, sizeof out.text, "%ld.%09ld", (long)time->tv_sec, time->tv_nsec);
    }
    return out;
}

void sees_attributes(struct player *player, long result, const struct stat *attributes)
{
    sees_result(player, result);
    if (result < 0) {
        return;
    }
    sees(player,
         " mode %o links %lu owner %u:%u device %lx size %ld modified %s",
         attributes->st_mode,
         (unsigned long)attributes->st_nlink,
         attributes->st_uid,
         attributes->st_gid,
         (unsigned long)attributes->st_rdev,
         (long)attributes->st_size,
         time_text(&attributes->st_mtim).text);
}
