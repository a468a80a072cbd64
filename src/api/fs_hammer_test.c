/*
 * Two processes of eight threads each on one tree and one open file, everything at once. In the end
 * every record is there once and whole, every name is accounted for, and both processes see what
 * the kernel does; or on a served mount, what a client sees that has nothing cached.
 *
 * The processes are this program started anew, because TSan does not follow threads through a
 * fork. The test itself has the server, and looks at the end.
 */
#include <holdfast/export.h>

#include "lib/fs_world.h"
#include "lib/process.h"
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROCESSES 2
#define THREADS 8
#define DIRECTORIES 4
#define KEPT 5 /* files that each thread leaves */
#define RECORD 32

/* "log" is written with O_APPEND, through an open file of each thread and through one of each
 * process; "shared" at the offset of an open file that all threads of both processes share. */
enum { LOG, SHARED, FILES };

struct worker {
    hf_fs *fs;
    hf_fs *fresh;     /* on a served mount: another client, which begins at the end */
    const char *root; /* of the host */
    int process;
    int rounds;
    int log;    /* an open file of the process, with O_APPEND */
    int shared; /* the open file of both processes */
    _Atomic int failures;
};

struct thread {
    struct worker *worker;
    int number;
    unsigned random;
    int log; /* an open file of its own, with O_APPEND */
    int written[FILES];
    pthread_t thread;
};

static int rounds_to_do(void)
{
    return test_is_plain() ? 150 : 60;
}

/* ---- in a worker ---- */

static void expect(struct worker *worker, bool condition, long long value, const char *text,
                   int line)
{
    if (!condition && atomic_fetch_add(&worker->failures, 1) < 10) {
        fprintf(stderr, "# line %d: %lld: %s\n", line, value, text);
    }
}
#define EXPECT(worker, condition, value) expect(worker, condition, value, #condition, __LINE__)
#define EXPECT_EQUAL(worker, left, right)                                                          \
    do {                                                                                           \
        const long long left_value = (left);                                                       \
        expect(worker, left_value == (right), left_value, #left " == " #right, __LINE__);          \
    } while (0)

static unsigned below(struct thread *thread, unsigned limit)
{
    thread->random = thread->random * 1664525 + 1013904223;
    return (thread->random >> 12) % limit;
}

static void make_record(char record[RECORD + 1], int process, int thread, int number)
{
    char text[64];
    snprintf(text, sizeof text, "%02d %02d %08d ................\n", process, thread, number);
    memcpy(record, text, RECORD);
    record[RECORD] = '\0';
}

/* Append a record, through the open file of the thread or the process, and find it there. */
static void append_record(struct thread *thread)
{
    struct worker *worker = thread->worker;
    char record[RECORD + 1], found[RECORD + 1] = "";
    struct stat st;

    make_record(record, worker->process, thread->number, thread->written[LOG]);
    if (below(thread, 2) == 0) {
        EXPECT_EQUAL(worker, hf_write(worker->fs, worker->log, record, RECORD), RECORD);
    } else {
        EXPECT_EQUAL(worker, hf_write(worker->fs, thread->log, record, RECORD), RECORD);
        const off_t end = hf_lseek(worker->fs, thread->log, 0, SEEK_CUR);
        EXPECT(worker, end >= RECORD && end % RECORD == 0, end);
        EXPECT_EQUAL(
            worker, hf_pread(worker->fs, thread->log, found, RECORD, end - RECORD), RECORD);
        EXPECT_EQUAL(worker, memcmp(record, found, RECORD), 0);
    }
    thread->written[LOG]++;
    EXPECT_EQUAL(worker, hf_stat(worker->fs, "/log", &st), 0);
    EXPECT(worker, st.st_size >= (off_t)thread->written[LOG] * RECORD, st.st_size);
}

/* At the offset that all share. */
static void write_record(struct thread *thread)
{
    struct worker *worker = thread->worker;
    char record[RECORD + 1];
    make_record(record, worker->process, thread->number, thread->written[SHARED]);
    struct iovec halves[2] = {{.iov_base = record, .iov_len = 7},
                              {.iov_base = record + 7, .iov_len = RECORD - 7}};
    EXPECT_EQUAL(worker, hf_writev(worker->fs, worker->shared, halves, 2), RECORD);
    thread->written[SHARED]++;
}

static void name_of(char name[64], const struct thread *thread, unsigned directory, int number)
{
    snprintf(name,
             64,
             "/d%u/%d-%d-%d",
             directory % DIRECTORIES,
             thread->worker->process,
             thread->number,
             number);
}

/* A file of the thread's own wanders through directories that are everybody's. */
static void move_own_file(struct thread *thread, int number)
{
    struct worker *worker = thread->worker;
    hf_fs *fs = worker->fs;
    char name[64], other[64];
    struct stat st;
    unsigned at = below(thread, DIRECTORIES);

    name_of(name, thread, at, number);
    int fd = hf_open(fs, name, O_CREAT | O_EXCL | O_RDWR, 0644);
    EXPECT(worker, fd >= 0, fd);
    EXPECT_EQUAL(worker, hf_write(fs, fd, name, strlen(name)), (long long)strlen(name));
    for (int i = 0; i < 3; i++) {
        const unsigned to = below(thread, DIRECTORIES);
        name_of(other, thread, to, number);
        EXPECT_EQUAL(worker, hf_rename(fs, name, other), 0);
        EXPECT_EQUAL(worker, hf_stat(fs, name, &st), to == at ? 0 : -ENOENT);
        EXPECT_EQUAL(worker, hf_stat(fs, other, &st), 0);
        EXPECT_EQUAL(worker, st.st_size, (long long)strlen(name));
        memcpy(name, other, sizeof name);
        at = to;
    }
    name_of(other, thread, at + 1, number);
    EXPECT_EQUAL(worker, hf_link(fs, name, other), 0);
    EXPECT_EQUAL(worker, hf_unlink(fs, name), 0);
    EXPECT_EQUAL(worker, hf_fstat(fs, fd, &st), 0);
    EXPECT_EQUAL(worker, st.st_nlink, 1);
    EXPECT_EQUAL(worker, hf_unlink(fs, other), 0);
    EXPECT_EQUAL(worker, hf_fstat(fs, fd, &st), 0);
    EXPECT_EQUAL(worker, st.st_nlink, 0);
    EXPECT_EQUAL(worker, hf_close(fs, fd), 0);
}

static bool is_in(long result, const int *results)
{
    for (; *results != 1; results++) {
        if (result == *results) {
            return true;
        }
    }
    return false;
}
#define EXPECT_ONE_OF(worker, call, ...)                                                           \
    do {                                                                                           \
        const long result_value = (call);                                                          \
        const int results[] = {__VA_ARGS__, 1};                                                    \
        expect(worker, is_in(result_value, results), result_value, #call, __LINE__);               \
    } while (0)

/* A few names that everybody makes, moves and removes. */
static void fight_for_names(struct thread *thread)
{
    static const char *const names[] = {"/c/a", "/c/b", "/c/a/x", "/c/b/x", "/c/f"};
    struct worker *worker = thread->worker;
    hf_fs *fs = worker->fs;
    const char *name = names[below(thread, 5)];
    const char *other = names[below(thread, 5)];
    hf_dirent entry;
    struct stat st;

    switch (below(thread, 7)) {
    case 0:
        EXPECT_ONE_OF(worker, hf_mkdir(fs, name, 0755), 0, -EEXIST, -ENOENT, -ENOTDIR);
        break;
    case 1:
        EXPECT_ONE_OF(worker, hf_rmdir(fs, name), 0, -ENOENT, -ENOTDIR, -ENOTEMPTY);
        break;
    case 2:
        EXPECT_ONE_OF(worker, hf_mknod(fs, name, 0644, 0), 0, -EEXIST, -ENOENT, -ENOTDIR);
        break;
    case 3:
        EXPECT_ONE_OF(worker, hf_unlink(fs, name), 0, -ENOENT, -EISDIR, -ENOTDIR);
        break;
    case 4:
        EXPECT_ONE_OF(
            worker, hf_rename(fs, name, other), 0, -ENOENT, -ENOTDIR, -EISDIR, -ENOTEMPTY, -EINVAL);
        break;
    case 5:
        EXPECT_ONE_OF(worker, hf_lstat(fs, name, &st), 0, -ENOENT, -ENOTDIR);
        break;
    default: {
        int fd = hf_open(fs, "/c", O_RDONLY | O_DIRECTORY, 0);
        long result;
        EXPECT(worker, fd >= 0, fd);
        while ((result = hf_readdir(fs, fd, &entry)) == 1) {
        }
        EXPECT_EQUAL(worker, result, 0);
        EXPECT_EQUAL(worker, hf_close(fs, fd), 0);
        break;
    }
    }
}

/* A value that many set is always one that somebody set. */
static void use_attribute(struct thread *thread)
{
    struct worker *worker = thread->worker;
    char value[16], other[16];
    memset(value, 'a' + thread->number, sizeof value);
    EXPECT_EQUAL(worker, hf_setxattr(worker->fs, "/log", "user.who", value, sizeof value, 0), 0);
    ssize_t size = hf_getxattr(worker->fs, "/log", "user.who", other, sizeof other);
    EXPECT_EQUAL(worker, size, (long long)sizeof other);
    for (size_t i = 1; i < sizeof other && size > 0; i++) {
        EXPECT_EQUAL(worker, other[i], other[0]);
    }
}

/* What the thread leaves, with a second name for every other file. */
static void leave_files(struct thread *thread)
{
    struct worker *worker = thread->worker;
    char name[64], other[64];
    for (int i = 0; i < KEPT; i++) {
        name_of(name, thread, (unsigned)i, i);
        snprintf(other, sizeof other, "/d0/link%d-%d-%d", worker->process, thread->number, i);
        int fd = hf_open(worker->fs, name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        EXPECT(worker, fd >= 0, fd);
        EXPECT_EQUAL(worker, hf_write(worker->fs, fd, name, (size_t)i), i);
        EXPECT_EQUAL(worker, hf_close(worker->fs, fd), 0);
        if (i % 2 == 0) {
            EXPECT_EQUAL(worker, hf_link(worker->fs, name, other), 0);
        }
    }
}

static void *hammer(void *argument)
{
    struct thread *thread = argument;
    struct worker *worker = thread->worker;
    thread->log = hf_open(worker->fs, "/log", O_RDWR | O_APPEND, 0);
    EXPECT(worker, thread->log >= 0, thread->log);
    for (int i = 0; i < worker->rounds; i++) {
        append_record(thread);
        write_record(thread);
        move_own_file(thread, i);
        fight_for_names(thread);
        fight_for_names(thread);
        use_attribute(thread);
    }
    leave_files(thread);
    EXPECT_EQUAL(worker, hf_close(worker->fs, thread->log), 0);
    return NULL;
}

/* As the host has it, or a client that has nothing cached. */
static int stat_elsewhere(const struct worker *worker, const char *name, struct stat *st)
{
    char path[PATH_MAX];
    if (worker->fresh != NULL) {
        return hf_lstat(worker->fresh, name, st);
    }
    snprintf(path, sizeof path, "%s%s", worker->root, name);
    return lstat(path, st) < 0 ? -errno : 0;
}

static int count_entries(hf_fs *fs, const char *path)
{
    hf_dirent entry;
    int count = 0;
    const int fd = hf_open(fs, path, O_RDONLY | O_DIRECTORY, 0);
    while (fd >= 0 && hf_readdir(fs, fd, &entry) == 1) {
        count++;
    }
    return fd >= 0 && hf_close(fs, fd) == 0 ? count : -1;
}

static int count_elsewhere(const struct worker *worker, const char *path)
{
    char host_path[PATH_MAX];
    int count = 0;
    if (worker->fresh != NULL) {
        return count_entries(worker->fresh, path);
    }
    snprintf(host_path, sizeof host_path, "%s%s", worker->root, path);
    DIR *directory = opendir(host_path);
    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    return directory != NULL && closedir(directory) == 0 ? count : -1;
}

/* Every entry, here and elsewhere, with the same attributes; as many here as there. */
static void compare_directory(struct worker *worker, const char *path)
{
    char name[PATH_MAX];
    struct stat ours, theirs;
    hf_dirent entry;

    const int fd = hf_open(worker->fs, path, O_RDONLY | O_DIRECTORY, 0);
    EXPECT(worker, fd >= 0, fd);
    while (hf_readdir(worker->fs, fd, &entry) == 1) {
        snprintf(name, sizeof name, "%s%s", path, entry.name);
        EXPECT_EQUAL(worker, hf_lstat(worker->fs, name, &ours), 0);
        EXPECT_EQUAL(worker, stat_elsewhere(worker, name, &theirs), 0);
        if (strcmp(name, "/..") != 0) {
            EXPECT_EQUAL(worker, ours.st_ino, (long long)theirs.st_ino);
            EXPECT_EQUAL(worker, ours.st_mode, (long long)theirs.st_mode);
            EXPECT_EQUAL(worker, ours.st_nlink, (long long)theirs.st_nlink);
            EXPECT_EQUAL(worker, ours.st_size, (long long)theirs.st_size);
        }
        if (S_ISDIR(theirs.st_mode) && strcmp(entry.name, ".") != 0 &&
            strcmp(entry.name, "..") != 0) {
            snprintf(name, sizeof name, "%s%s/", path, entry.name);
            compare_directory(worker, name);
        }
    }
    EXPECT_EQUAL(worker, hf_close(worker->fs, fd), 0);
    const int count = count_entries(worker->fs, path);
    EXPECT(worker, count >= 2, count);
    EXPECT_EQUAL(worker, count_elsewhere(worker, path), count);
}

/* Tell the test that a point is reached, and wait for it to open the pipe. */
static void meet(const char *line, const char *pipe)
{
    printf("%s\n", line);
    fflush(stdout);
    int fd = open(pipe, O_RDONLY | O_CLOEXEC);
    close(fd);
}

/* A client of its own, which ends with the filesystem object. NULL: failed. */
static hf_fs *attach(const char *address, const char *root)
{
    hf_fs_config config = HF_FS_CONFIG_INIT;
    hf_client *client;
    hf_fs *fs = NULL;
    config.root = root;
    if (hf_client_connect(address, NULL, &client) == 0) {
        (void)hf_fs_attach(client, &config, &fs);
        hf_client_unref(client);
    }
    return fs;
}

/* The open file that the test has exported. */
static int import_shared(hf_fs *fs, const char *bytes_file)
{
    char bytes[HF_EXPORT_FILE_SIZE];
    int fd = open(bytes_file, O_RDONLY | O_CLOEXEC);
    const ssize_t size = read(fd, bytes, sizeof bytes);
    close(fd);
    return size < 0 ? (int)size : hf_import_file(fs, bytes, (size_t)size, 0);
}

/* Arguments: the server's address, the root, the number of the process, two pipes, and the file
 * with the bytes of the open file. */
static int work(char **arguments)
{
    const bool is_served = fs_world_is_served();
    struct worker worker = {.root = arguments[2], .process = arguments[3][0] - '0'};
    struct thread threads[THREADS];

    alarm(55);
    worker.rounds = rounds_to_do();
    worker.fs = attach(arguments[1], is_served ? NULL : worker.root);
    if (worker.fs == NULL) {
        return 1;
    }
    meet("ready", arguments[4]);
    worker.log = hf_open(worker.fs, "/log", O_WRONLY | O_APPEND, 0);
    worker.shared = import_shared(worker.fs, arguments[6]);
    EXPECT(&worker, worker.log >= 0, worker.log);
    EXPECT(&worker, worker.shared >= 0, worker.shared);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){
            .worker = &worker,
            .number = i,
            .random = (unsigned)(worker.process * THREADS + i) * 7919 + 1,
        };
        EXPECT_EQUAL(&worker, pthread_create(&threads[i].thread, NULL, hammer, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
    }
    meet("done", arguments[5]);
    worker.fresh = is_served ? attach(arguments[1], NULL) : NULL;
    compare_directory(&worker, "/");
    hf_fs_detach(worker.fresh);
    hf_fs_detach(worker.fs);
    return atomic_load(&worker.failures) == 0 ? 0 : 1;
}

/* ---- the test ---- */

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

/* Every record of all threads is in the file, once and whole, in the order of each thread. */
static void check_records(hf_fs *fs, const char *name)
{
    int next[PROCESSES][THREADS] = {{0}};
    char record[RECORD + 1] = "", expected[RECORD + 1];
    struct stat st;
    long count = 0;
    const int fd = hf_open(fs, name, O_RDONLY, 0);
    assert_true(fd >= 0);
    for (; hf_read(fs, fd, record, RECORD) == RECORD; count++) {
        const int process = record[1] - '0';
        const int thread = record[4] - '0';
        assert_in_range(process, 0, PROCESSES - 1);
        assert_in_range(thread, 0, THREADS - 1);
        make_record(expected, process, thread, next[process][thread]);
        assert_string_equal(record, expected);
        next[process][thread]++;
    }
    assert_int_equal(hf_fstat(fs, fd, &st), 0);
    assert_int_equal(st.st_size, count * RECORD);
    assert_int_equal(hf_close(fs, fd), 0);
    assert_int_equal(count, (long)PROCESSES * THREADS * rounds_to_do());
}

/* Each thread's files where it left them, and nothing else but the second names. */
static void check_names(hf_fs *fs)
{
    char path[64];
    struct stat st;
    int names = 0;
    for (int directory = 0; directory < DIRECTORIES; directory++) {
        snprintf(path, sizeof path, "/d%d", directory);
        names += count_entries(fs, path) - 2;
    }
    assert_int_equal(names, PROCESSES * THREADS * (KEPT + (KEPT + 1) / 2));
    for (int i = 0; i < PROCESSES * THREADS * KEPT; i++) {
        const int number = i % KEPT, thread = i / KEPT % THREADS, process = i / KEPT / THREADS;
        snprintf(path, sizeof path, "/d%d/%d-%d-%d", number % DIRECTORIES, process, thread, number);
        assert_int_equal(hf_stat(fs, path, &st), 0);
        assert_int_equal(st.st_size, number);
        assert_int_equal(st.st_nlink, number % 2 == 0 ? 2 : 1);
    }
}

static void make_tree(hf_fs *fs)
{
    static const char *const directories[] = {"/d0", "/d1", "/d2", "/d3", "/c"};
    static const char *const files[] = {"/log", "/shared"};
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        assert_int_equal(hf_mkdir(fs, directories[i], 0755), 0);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(hf_mknod(fs, files[i], 0644, 0), 0);
    }
}

/* Let those pass who wait for the pipe, or will. */
static int open_gate(const char *pipe)
{
    int fd = open(pipe, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Open "/shared" and put its bytes where each process finds them. */
static void export_shared(const struct test_server *server, hf_fs *fs)
{
    int shared = hf_open(fs, "/shared", O_RDWR, 0);
    assert_true(shared >= 0);
    for (int i = 0; i < PROCESSES; i++) {
        char bytes[HF_EXPORT_FILE_SIZE], path[PATH_MAX];
        const ssize_t size = hf_export_file(fs, shared, bytes, sizeof bytes);
        assert_int_equal(size, sizeof bytes);
        snprintf(path, sizeof path, "%s/bytes%d", server->folder, i);
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, bytes, sizeof bytes), size);
        close(fd);
    }
}

static void test_two_processes_of_eight_threads(void **state)
{
    struct test_server server;
    struct program programs[PROCESSES];
    hf_server_mount mount;
    char root[80], start[96], end[96], bytes[PROCESSES][96], self[PATH_MAX];

    test_server_init(&server);
    snprintf(root, sizeof root, "%s/r", server.folder);
    snprintf(start, sizeof start, "%s/start", server.folder);
    snprintf(end, sizeof end, "%s/end", server.folder);
    assert_int_equal(mkdir(root, 0755), 0);
    assert_int_equal(mkfifo(start, 0600), 0);
    assert_int_equal(mkfifo(end, 0600), 0);
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = '\0';
    const char *const mounted = fs_world_mount(&server, root, &mount);
    test_server_start(&server);

    for (int i = 0; i < PROCESSES; i++) {
        const char number[2] = {(char)('0' + i), '\0'};
        snprintf(bytes[i], sizeof bytes[i], "%s/bytes%d", server.folder, i);
        const char *const arguments[] = {
            self, server.address, root, number, start, end, bytes[i], NULL};
        program_start(&programs[i], arguments);
    }
    for (int i = 0; i < PROCESSES; i++) {
        program_expect_line(&programs[i], "ready");
    }
    /* After the forks: TSan does not follow a client through one. */
    hf_fs *fs = attach(server.address, mounted);
    assert_non_null(fs);
    make_tree(fs);
    export_shared(&server, fs);
    hf_fs_detach(fs);
    const int start_fd = open_gate(start);
    for (int i = 0; i < PROCESSES; i++) {
        program_expect_line(&programs[i], "done");
    }
    const int end_fd = open_gate(end);
    for (int i = 0; i < PROCESSES; i++) {
        int status = program_wait(&programs[i]);
        if (status != 0) {
            fail_msg("process %d: status %d\n%s", i, status, programs[i].errors);
        }
    }
    close(start_fd);
    close(end_fd);

    fs = attach(server.address, mounted);
    assert_non_null(fs);
    check_records(fs, "/log");
    check_records(fs, "/shared");
    check_names(fs);
    hf_fs_detach(fs);
    server.server = hf_server_free(server.server);
    assert_int_equal(nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(unlink(start), 0);
    assert_int_equal(unlink(end), 0);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(unlink(bytes[i]), 0);
    }
    test_server_deinit(&server);
}

int main(int argc, char **argv)
{
    if (argc == 7) {
        return work(argv);
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_processes_of_eight_threads),
    };
    return cmocka_run_group_tests_name("fs hammer", tests, NULL, NULL);
}
