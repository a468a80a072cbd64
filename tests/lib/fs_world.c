#include "lib/fs_world.h"

#include "lib/test.h"
#include "mounts/served/served.h"

#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534

enum fs_world_kind fs_world_kind(void)
{
    const char *kind = getenv("HF_TEST_MOUNT");
    if (kind == NULL) {
        return FS_WORLD_DIRECT;
    }
    assert_true(strcmp(kind, "ram") == 0 || strcmp(kind, "dir") == 0);
    return strcmp(kind, "ram") == 0 ? FS_WORLD_RAM : FS_WORLD_DIR;
}

bool fs_world_sends_always(void)
{
    return getenv("HF_TEST_SENDS_ALWAYS") != NULL;
}

void fs_world_init(struct fs_world *world)
{
    fs_world_init_in(world, "/tmp");
}

const char *fs_world_mount(struct test_server *server, const char *directory,
                           hf_server_mount *mount)
{
    const enum fs_world_kind kind = fs_world_kind();
    if (kind == FS_WORLD_DIRECT) {
        return directory;
    }
    *mount = (hf_server_mount)HF_SERVER_MOUNT_INIT;
    mount->kind = kind == FS_WORLD_RAM ? HF_MOUNT_RAM : HF_MOUNT_DIR;
    mount->source = kind == FS_WORLD_RAM ? NULL : directory;
    mount->path = "/";
    mount->mode = 0755;
    server->config.mounts = mount;
    server->config.mount_count = 1;
    return NULL;
}

/* Nobody may ask it too. */
static void start_server(struct fs_world *world, uint64_t size)
{
    static const uid_t nobody = NOBODY;
    hf_server_mount mount;
    if (fs_world_mount(&world->server, world->root, &mount) == NULL) {
        mount.size = size;
    }
    world->server.config.allow_uids = &nobody;
    world->server.config.allow_uid_count = 1;
    assert_int_equal(chmod(world->server.folder, 0711), 0);
    test_server_start(&world->server);
}

static void init(struct fs_world *world, const char *parent, uint64_t size,
                 void (*set)(hf_limits *limits))
{
    *world = (struct fs_world){
        .patience_seconds = FS_WORLD_PATIENCE_SECONDS,
        .kind = fs_world_kind(),
        .small_caches = getenv("HF_TEST_SMALL_CACHES") != NULL,
    };
    if (fs_world_sends_always()) {
        served_set_sending(SERVED_SENDS_ALWAYS);
    }
    test_server_init(&world->server);
    assert_int_equal(folder_make_in(parent, world->folder), 0);
    snprintf(world->root, sizeof world->root, "%s/r", world->folder);
    snprintf(world->outside, sizeof world->outside, "%s/o", world->folder);
    assert_int_equal(mkdir(world->root, 0755), 0);
    assert_int_equal(mkdir(world->outside, 0755), 0);
    world->shared = mmap(
        NULL, sizeof *world->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(world->shared != MAP_FAILED);
    fs_world_set_meeting(world, 2);
    if (set != NULL) {
        set(&world->server.config.limits);
    }
    start_server(world, size);
}

void fs_world_init_in(struct fs_world *world, const char *parent)
{
    init(world, parent, 0, NULL);
}

void fs_world_init_limited(struct fs_world *world, uint64_t size)
{
    init(world, "/tmp", size, NULL);
}

void fs_world_init_with(struct fs_world *world, void (*set)(hf_limits *limits))
{
    init(world, "/tmp", 0, set);
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

void fs_world_deinit(struct fs_world *world)
{
    test_server_await_clients(&world->server, 0);
    const hf_server_stats stats = test_server_stats(&world->server);
    if (stats.cut_off != world->cut_off) {
        test_server_show_log(&world->server, "cut off");
    }
    assert_int_equal(stats.cut_off, world->cut_off);
    assert_int_equal(stats.uses, 0);
    assert_int_equal(stats.reserved_pages, 0);
    assert_int_equal(stats.reserved_inodes, 0);
    test_server_deinit(&world->server);
    assert_int_equal(nftw(world->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(nftw(world->outside, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(folder_remove(world->folder), 0);
    munmap(world->shared, sizeof *world->shared);
}

hf_fs_config fs_world_config(const struct fs_world *world)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    config.root = fs_world_root(world);
    return config;
}

int fs_world_attach_client(const struct fs_world *world, hf_client *client,
                           const hf_fs_config *wanted, hf_fs **out)
{
    hf_fs_config config = *wanted;
    config.cache_bytes = world->small_caches ? 1 : world->cache_bytes;
    config.page_bytes = world->small_caches ? 1 : world->page_bytes;
    config.check_pointers = world->bad_pointers && world->kind != FS_WORLD_DIRECT;
    if (!world->small_caches) {
        return hf_fs_attach(client, &config, out);
    }
    /* The fewest nodes: how many there may be depends on the descriptors there may be. */
    struct rlimit before;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &few), 0);
    const int result = hf_fs_attach(client, &config, out);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    return result;
}

void fs_world_join(struct fs_world *world)
{
    const hf_fs_config config = fs_world_config(world);
    CHECK_EQUAL(hf_client_connect(world->server.address, NULL, &world->client), 0);
    CHECK_EQUAL(fs_world_attach_client(world, world->client, &config, &world->fs), 0);
}

hf_fs *fs_world_attach(const struct fs_world *world, const hf_fs_config *config)
{
    hf_client *client;
    hf_fs *fs;
    CHECK_EQUAL(hf_client_connect(world->server.address, NULL, &client), 0);
    CHECK_EQUAL(hf_fs_attach(client, config, &fs), 0);
    hf_client_unref(client);
    return fs;
}

hf_fs *fs_world_visit(const struct fs_world *world)
{
    const hf_fs_config config = fs_world_config(world);
    return fs_world_attach(world, &config);
}

void fs_world_leave(struct fs_world *world)
{
    world->fs = hf_fs_detach(world->fs);
    world->client = hf_client_unref(world->client);
}

void fs_world_become_nobody(struct fs_world *world)
{
    if (geteuid() != 0) {
        return;
    }
    if (world->kind != FS_WORLD_DIRECT) {
        fs_world_leave(world);
    }
    CHECK_EQUAL(setgroups(0, NULL), 0);
    CHECK_EQUAL(setresgid(NOBODY, NOBODY, NOBODY), 0);
    CHECK_EQUAL(setresuid(NOBODY, NOBODY, NOBODY), 0);
    CHECK_EQUAL(prctl(PR_SET_DUMPABLE, 1), 0); /* /proc/self is its own again */
    if (world->kind != FS_WORLD_DIRECT) {
        fs_world_join(world);
    }
}

static pid_t start(struct fs_world *world, fs_world_act *act, void *argument, bool waits_for_others)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(world->patience_seconds);
        if (waits_for_others) {
            fs_world_meet(world);
        }
        fs_world_join(world);
        act(world, argument);
        fs_world_leave(world);
        _exit(0);
    }
    return pid;
}

pid_t fs_world_start(struct fs_world *world, fs_world_act *act, void *argument)
{
    return start(world, act, argument, false);
}

void fs_world_start_all(struct fs_world *world, fs_world_act *act, void *const *arguments,
                        unsigned count, pid_t *pids)
{
    fs_world_set_meeting(world, count);
    for (unsigned i = 0; i < count; i++) {
        pids[i] = start(world, act, arguments[i], true);
    }
}

void fs_world_wait(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void fs_world_wait_for_both(const pid_t pids[2])
{
    siginfo_t ended;
    while (waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT) < 0) {
        assert_int_equal(errno, EINTR);
    }
    const int first = ended.si_pid == pids[0] ? 0 : 1;
    if (ended.si_code != CLD_EXITED || ended.si_status != 0) {
        kill(pids[!first], SIGKILL);
    }
    fs_world_wait(pids[first]);
    fs_world_wait(pids[!first]);
}

void fs_world_play(struct fs_world *world, fs_world_act *act, void *argument)
{
    fs_world_wait(fs_world_start(world, act, argument));
}

void fs_world_wait_for_the_clock(void)
{
    struct timespec before;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &before);
    do {
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

void fs_world_set_meeting(struct fs_world *world, unsigned count)
{
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&world->shared->barrier, &attributes, count);
    pthread_barrierattr_destroy(&attributes);
}

void fs_world_meet(struct fs_world *world)
{
    pthread_barrier_wait(&world->shared->barrier);
}

int fs_world_stat(const struct fs_world *world, const char *name, struct stat *attributes)
{
    char path[160];
    if (world->kind == FS_WORLD_DIRECT) {
        snprintf(path, sizeof path, "%s/%s", world->root, name);
        return stat(path, attributes) < 0 ? -errno : 0;
    }
    hf_fs *fs = fs_world_visit(world);
    const int result = hf_stat(fs, name, attributes);
    hf_fs_detach(fs);
    return result;
}

char *fs_world_read_file(const struct fs_world *world, const char *name, size_t *size)
{
    hf_fs *fs = fs_world_visit(world);
    struct stat attributes;
    const int fd = hf_open(fs, name, O_RDONLY, 0);
    assert_true(fd >= 0);
    assert_int_equal(hf_fstat(fs, fd, &attributes), 0);
    *size = (size_t)attributes.st_size;
    char *content = malloc(*size + 1);
    assert_non_null(content);
    assert_int_equal(hf_read(fs, fd, content, *size), *size);
    content[*size] = '\0';
    hf_fs_detach(fs);
    return content;
}

void fs_world_check(bool condition, const char *text, const char *file, int line)
{
    if (!condition) {
        fprintf(stderr, "# pid %d: %s:%d: not true: %s\n", (int)getpid(), file, line, text);
        _exit(1);
    }
}

void fs_world_check_equal(long long left, long long right, const char *text, const char *file,
                          int line)
{
    if (left != right) {
        fprintf(stderr,
                "# pid %d: %s:%d: %lld is not %lld: %s\n",
                (int)getpid(),
                file,
                line,
                left,
                right,
                text);
        _exit(1);
    }
}
