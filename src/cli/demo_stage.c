#include "cli/demo_stage.h"

#include <errno.h>
#include <ftw.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

void stage_complain(const struct demo_stage *stage, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "holdfast: demo %s: %s\n", stage->demo, text);
}

bool stage_utf8(void)
{
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* ---- the directory ---- */

/* One that is there, and not to be made. */
static int take_directory(struct demo_stage *stage, const char *directory)
{
    const int length = snprintf(stage->directory, sizeof(stage->directory), "%s", directory);
    return length >= (int)sizeof(stage->directory) ? -ENAMETOOLONG : 0;
}

static int make_directory(struct demo_stage *stage)
{
    const char *given = stage->options->directory;
    const char *base = getenv("TMPDIR");
    int length;
    if (given != NULL) {
        length = snprintf(stage->directory, sizeof(stage->directory), "%s", given);
    } else {
        length = snprintf(stage->directory,
                          sizeof(stage->directory),
                          "%s/holdfast-demo-XXXXXX",
                          base != NULL && base[0] != '\0' ? base : "/tmp");
    }
    if (length >= (int)sizeof(stage->directory)) {
        return -ENAMETOOLONG;
    }
    if (given == NULL) {
        if (mkdtemp(stage->directory) == NULL) {
            return -errno;
        }
        stage->temporary = true;
        return 0;
    }
    return mkdir(given, 0777) == 0 || errno == EEXIST ? 0 : -errno;
}

/* What the server brings, and the directory that it needs for that. */
static int choose_mount(struct demo_stage *stage)
{
    hf_server_mount *mount = &stage->mount;
    *mount = stage->options->mount;
    stage->on_host = !stage->options->has_mount || mount->kind == HF_MOUNT_DIRECT;
    if (stage->options->has_mount && mount->kind == HF_MOUNT_RAM) {
        return 0;
    }
    if (stage->options->has_mount && mount->source != NULL) {
        return take_directory(stage, mount->source);
    }
    mount->source = stage->directory;
    return make_directory(stage);
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

/* Remove a temporary directory with what is in it. */
static void remove_directory(struct demo_stage *stage)
{
    if (stage->temporary) {
        stage->temporary = false;
        nftw(stage->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

struct stage_text stage_place(const struct demo_stage *stage, const char *file)
{
    struct stage_text place;
    char *text = place.text;
    const size_t room = sizeof(place.text);
    if (stage->on_host) {
        snprintf(text, room, "%s", stage->directory);
    } else if (stage->mount.kind == HF_MOUNT_RAM) {
        snprintf(text, room, "ram:%s", stage->mount.path);
    } else {
        snprintf(text, room, "dir:%s:%s", stage->directory, stage->mount.path);
    }
    const size_t length = strlen(text);
    if (file != NULL) {
        const char *slash = length > 0 && text[length - 1] == '/' ? "" : "/";
        snprintf(text + length, room - length, "%s%s", slash, file);
    }
    return place;
}

/* ---- signals ---- */

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define ENDING_SIGNALS (sizeof(ending_signals) / sizeof(ending_signals[0]))

static int catch_signals(struct demo_stage *stage)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < ENDING_SIGNALS; i++) {
        struct sigaction action;
        /* What whoever started us ignores, as nohup does, stays ignored. */
        if (sigaction(ending_signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            sigaddset(&set, ending_signals[i]);
        }
    }
    /* Inherited as ignored, it would take the children's exit statuses away. */
    signal(SIGCHLD, SIG_DFL);
    /* A reader that went away must not leave the directory behind. */
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, &stage->mask_before);
    stage->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return stage->signals < 0 ? -errno : 0;
}

enum stage_signal stage_read_signals(const struct demo_stage *stage, int *number)
{
    enum stage_signal what = STAGE_NONE;
    struct signalfd_siginfo info;
    while (read(stage->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGCHLD) {
            *number = (int)info.ssi_signo;
            what = STAGE_END;
        } else if (what == STAGE_NONE) {
            what = STAGE_CHILD;
        }
    }
    return what;
}

/* ---- the server, the client and the filesystem ---- */

static int start_server(struct demo_stage *stage)
{
    hf_server_config config;
    hf_server_config_init(&config);
    config.log_level = HF_LOG_WARNING;
    if (stage->trace != NULL) {
        config.trace = trace_view_event;
        config.trace_context = stage->trace;
    }
    if (stage->options->has_mount) {
        config.mounts = &stage->mount;
        config.mount_count = 1;
        config.mount_error = stage->mount_error;
        config.mount_error_size = sizeof(stage->mount_error);
    }
    const int result = hf_server_new(&config, &stage->server);
    return result < 0 ? result : hf_server_start(stage->server);
}

static int connect_client(struct demo_stage *stage)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    config.dial = hf_server_dial;
    config.dial_context = stage->server;
    const int fd = hf_server_connect(stage->server);
    if (fd < 0) {
        return fd;
    }
    const int result = hf_client_from_fd(fd, &config, &stage->client);
    if (result < 0) {
        close(fd);
    }
    return result;
}

static int attach(struct demo_stage *stage)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    const bool has_mount = stage->options->has_mount;
    config.root = has_mount ? NULL : stage->directory;
    const int result = hf_fs_attach(stage->client, &config, &stage->fs);
    return result < 0 || !has_mount ? result : hf_chdir(stage->fs, stage->mount.path);
}

static void complain_of_step(const struct demo_stage *stage, const char *what, int result)
{
    if (stage->mount_error[0] != '\0') {
        stage_complain(stage, "%s", stage->mount_error);
    } else {
        stage_complain(
            stage, "%s (%s): %s", what, stage_place(stage, NULL).text, strerror(-result));
    }
}

int stage_begin(struct demo_stage *stage, const char *demo, const struct demo_options *options,
                size_t trace_limit)
{
    static const struct {
        const char *what;
        int (*step)(struct demo_stage *stage);
    } steps[] = {
        {"signals", catch_signals}, /* first, or one might leave the directory behind */
        {"the directory", choose_mount},
        {"the server", start_server},
        {"the connection to the server", connect_client},
        {"the filesystem on it", attach},
    };
    *stage = (struct demo_stage){.demo = demo, .options = options, .signals = -1};
    sigprocmask(SIG_SETMASK, NULL, &stage->mask_before);
    if (options->trace) {
        const size_t limit = options->trace_limit != 0 ? options->trace_limit : trace_limit;
        if (trace_view_new(limit, stage_utf8(), &stage->trace) < 0) {
            stage_complain(stage, "%s", strerror(ENOMEM));
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        const int result = steps[i].step(stage);
        if (result < 0) {
            complain_of_step(stage, steps[i].what, result);
            stage_end(stage);
            return 1;
        }
    }
    return 0;
}

void stage_end(struct demo_stage *stage)
{
    stage->fs = hf_fs_detach(stage->fs);
    stage->client = hf_client_unref(stage->client);
    stage->server = hf_server_free(stage->server);
    stage->trace = trace_view_free(stage->trace);
    remove_directory(stage);
    if (stage->signals >= 0) {
        close(stage->signals);
        stage->signals = -1;
    }
    pthread_sigmask(SIG_SETMASK, &stage->mask_before, NULL);
}

/* ---- children ---- */

pid_t stage_fork(struct demo_stage *stage)
{
    /* What is in the buffers is printed once, by the parent. */
    fflush(NULL);
    const pid_t parent = getpid();
    const pid_t pid = hf_fork();
    if (pid != 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    /* What the terminal sends to all of us, the parent acts on, and ends its children. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    close(stage->signals);
    stage->signals = -1;
    pthread_sigmask(SIG_SETMASK, &stage->mask_before, NULL);
    stage->server = hf_server_free(stage->server);
    return 0;
}

void stage_leave(struct demo_stage *stage)
{
    stage->fs = hf_fs_detach(stage->fs);
    stage->client = hf_client_unref(stage->client);
}

void stage_name_file(struct demo_stage *stage, const char *file)
{
    if (stage->trace == NULL) {
        return;
    }
    struct stat status;
    if ((stage->on_host ? stat(stage->directory, &status) : hf_stat(stage->fs, ".", &status)) ==
        0) {
        trace_view_name_inode(stage->trace, status.st_ino, "directory /");
    }
    if ((stage->on_host ? stat(stage_place(stage, file).text, &status)
                        : hf_stat(stage->fs, file, &status)) == 0) {
        trace_view_name_inode(stage->trace, status.st_ino, file);
    }
}
