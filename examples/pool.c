/* A pool of worker processes that exchange files, as Python's multiprocessing does with objects. They
 * share no memory: whatever they know of each other is in a mount that the main process brings.
 *
 *   pool [MOUNT]     MOUNT as for `holdfast serve`; ram:/ unless given
 *
 * Three ways to work together that are right on any POSIX filesystem, and so here:
 *
 *   a task is taken     by renaming it: of all workers that try, one succeeds
 *   one at a time       by a lock file, made with O_EXCL: of all that try, one succeeds
 *   a file is replaced  by writing another one and renaming that over it: whoever reads it finds
 *                       the old content or the new, and never a part of one
 *
 * The tasks are ranges of numbers; the result of each is how many primes are in it. */
#include <errno.h>
#include <holdfast/fs.h>
#include <holdfast/server.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, TASKS = 60, RANGE = 500, TEXT = 64, PATH = 320 };

static _Noreturn void fail(const char *what, long error)
{
    fprintf(stderr, "pool: %s: %s\n", what, strerror((int)-error));
    exit(1);
}

/* ---- files with one line of text ---- */

/* Write a file that appears under its name all at once. */
static void put(hf_fs *fs, const char *path, const char *text)
{
    char temporary[PATH];
    snprintf(temporary, sizeof(temporary), "%s.%d", path, getpid()); /* nobody else's */
    int fd = hf_open(fs, temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0) {
        fail(temporary, fd);
    }
    ssize_t written = hf_write(fs, fd, text, strlen(text));
    hf_close(fs, fd);
    int error = written < 0 ? (int)written : hf_rename(fs, temporary, path);
    if (error < 0) {
        fail(path, error);
    }
}

static void get(hf_fs *fs, const char *path, char text[TEXT])
{
    int fd = hf_open(fs, path, O_RDONLY, 0);
    ssize_t length = fd < 0 ? fd : hf_read(fs, fd, text, TEXT - 1);
    if (length < 0) {
        fail(path, length);
    }
    text[length] = '\0';
    hf_close(fs, fd);
}

/* ---- the work ---- */

static int count_primes(int from, int to)
{
    int count = 0;
    for (int number = from; number < to; number++) {
        int divisor = 2;
        while (divisor * divisor <= number && number % divisor != 0) {
            divisor++;
        }
        count += number > 1 && divisor * divisor > number;
    }
    return count;
}

/* Take any task that is there. Return: 0 when there are none left. */
static int take_task(hf_fs *fs, char task[PATH])
{
    hf_dirent entry;
    char from[PATH];
    int taken = 0;
    int directory = hf_open(fs, "tasks", O_RDONLY | O_DIRECTORY, 0);
    while (!taken && hf_readdir(fs, directory, &entry) == 1) {
        if (entry.name[0] == '.') {
            continue;
        }
        snprintf(from, sizeof(from), "tasks/%s", entry.name);
        snprintf(task, PATH, "taken/%s", entry.name);
        int error = hf_rename(fs, from, task);
        if (error < 0 && error != -ENOENT) { /* -ENOENT: another worker was faster */
            fail(from, error);
        }
        taken = error == 0;
    }
    hf_close(fs, directory);
    return taken;
}

/* Only one process at a time is between these two. The file outlives a worker that is killed; who
 * has to reckon with that holds a sync handle instead, hf_sync_acquire(). */
static void lock(hf_fs *fs)
{
    int fd;
    while ((fd = hf_open(fs, "lock", O_WRONLY | O_CREAT | O_EXCL, 0666)) == -EEXIST) {
        sched_yield();
    }
    if (fd < 0) {
        fail("lock", fd);
    }
    hf_close(fs, fd);
}

static void unlock(hf_fs *fs)
{
    int error = hf_unlink(fs, "lock");
    if (error < 0) {
        fail("unlock", error);
    }
}

/* The sum of all results so far: read, add, replace. */
static void add_to_total(hf_fs *fs, int primes)
{
    char text[TEXT];
    int tasks, sum;
    lock(fs);
    get(fs, "total", text);
    if (sscanf(text, "%d tasks, %d primes\n", &tasks, &sum) != 2) {
        fail("total", -EILSEQ);
    }
    snprintf(text, sizeof(text), "%d tasks, %d primes\n", tasks + 1, sum + primes);
    put(fs, "total", text);
    unlock(fs);
}

static int work(hf_fs *fs)
{
    char task[PATH], result[PATH], text[TEXT];
    int from, to;
    while (take_task(fs, task)) {
        get(fs, task, text);
        if (sscanf(text, "%d to %d\n", &from, &to) != 2) {
            fail(task, -EILSEQ);
        }
        int primes = count_primes(from, to);
        snprintf(text, sizeof(text), "%d\n", primes);
        snprintf(result, sizeof(result), "results/%s", strchr(task, '/') + 1);
        put(fs, result, text);
        add_to_total(fs, primes);
        hf_unlink(fs, task);
    }
    return 0;
}

/* ---- the main process ---- */

/* The server, with one mount, and a connection to it. */
static hf_fs *begin(const char *text)
{
    hf_server *server;
    hf_client *client;
    hf_fs *fs;
    hf_server_mount mount;
    hf_server_config config;
    hf_client_config client_config = HF_CLIENT_CONFIG_INIT;
    const hf_fs_config fs_config = HF_FS_CONFIG_INIT; /* without a root: what the server brings */
    char mistake[512];
    if (hf_server_mount_parse(text, &mount, mistake, sizeof(mistake)) != 0) {
        fprintf(stderr, "pool: %s\n", mistake);
        exit(2);
    }
    hf_server_config_init(&config);
    config.mounts = &mount;
    config.mount_count = 1;
    int error = hf_server_new(&config, &server);
    if (error < 0 || (error = hf_server_start(server)) < 0) {
        fail(text, error);
    }
    client_config.dial = hf_server_dial; /* how a forked worker gets a connection of its own */
    client_config.dial_context = server;
    error = hf_client_from_fd(hf_server_connect(server), &client_config, &client);
    if (error < 0 || (error = hf_fs_attach(client, &fs_config, &fs)) < 0 ||
        (error = hf_chdir(fs, mount.path)) < 0) {
        fail(text, error);
    }
    free(mount.texts);
    return fs;
}

static void make_tasks(hf_fs *fs)
{
    static const char *const directories[] = {"tasks", "taken", "results"};
    char path[PATH], text[TEXT];
    for (int i = 0; i < 3; i++) {
        int error = hf_mkdir(fs, directories[i], 0777);
        if (error < 0) {
            fail(directories[i], error);
        }
    }
    put(fs, "total", "0 tasks, 0 primes\n");
    for (int i = 0; i < TASKS; i++) {
        snprintf(path, sizeof(path), "tasks/%d", i);
        snprintf(text, sizeof(text), "%d to %d\n", i * RANGE, (i + 1) * RANGE);
        put(fs, path, text);
    }
}

/* Wait for the workers, and look at the total meanwhile: it is never half written, and never goes
 * back. */
static int watch(hf_fs *fs)
{
    char text[TEXT];
    int tasks, primes, tasks_before = 0, status, failures = 0;
    for (int workers = WORKERS; workers > 0; sched_yield()) {
        get(fs, "total", text);
        failures += sscanf(text, "%d tasks, %d primes\n", &tasks, &primes) != 2;
        failures += tasks < tasks_before;
        tasks_before = tasks;
        if (waitpid(-1, &status, WNOHANG) > 0) {
            failures += status != 0;
            workers--;
        }
    }
    return failures;
}

static int count_entries(hf_fs *fs, const char *path)
{
    hf_dirent entry;
    int count = 0;
    int directory = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    while (hf_readdir(fs, directory, &entry) == 1) {
        count += strcmp(entry.name, ".") != 0 && strcmp(entry.name, "..") != 0;
    }
    hf_close(fs, directory);
    return count;
}

/* Every task was done once, and nothing else is left. */
static int verify(hf_fs *fs)
{
    char path[PATH], text[TEXT], expected[TEXT];
    int sum = 0, failures = 0;
    for (int i = 0; i < TASKS; i++) {
        int primes = count_primes(i * RANGE, (i + 1) * RANGE);
        snprintf(path, sizeof(path), "results/%d", i);
        snprintf(expected, sizeof(expected), "%d\n", primes);
        get(fs, path, text);
        failures += strcmp(text, expected) != 0;
        sum += primes;
    }
    snprintf(expected, sizeof(expected), "%d tasks, %d primes\n", TASKS, sum);
    get(fs, "total", text);
    failures += strcmp(text, expected) != 0;
    failures += count_entries(fs, "results") != TASKS || count_entries(fs, "tasks") != 0;
    failures += count_entries(fs, "taken") != 0 || count_entries(fs, ".") != 4;
    printf("%s", text);
    return failures;
}

int main(int argc, char **argv)
{
    hf_fs *fs = begin(argc > 1 ? argv[1] : "ram:/");
    make_tasks(fs);
    for (int i = 0; i < WORKERS; i++) {
        if (hf_fork() == 0) {
            return work(fs);
        }
    }
    int failures = watch(fs) + verify(fs);
    hf_fs_detach(fs);
    return failures == 0 ? 0 : 1;
}
