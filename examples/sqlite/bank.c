/* Processes that share no memory share an SQLite database, and some of them are killed.
 *
 *   bank [--kill] [--transfers N] [MOUNT]     MOUNT as for `holdfast serve`; ram:/ unless given
 *
 * Four tellers move money between accounts, each transfer a transaction that also notes in a ledger
 * who made it and their how-manyeth it is. They tell the main process of each commit. With --kill it
 * kills a teller at random after a few of these and starts another in its place, which goes
 * on where the ledger says. In the end the database must be sound, no money made or lost, and each
 * transfer that was told of in the ledger. */
#include "vfs.h"

#include <errno.h>
#include <holdfast/server.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TELLERS = 4, ACCOUNTS = 20, MONEY = 1000, PATIENCE_MS = 60000 };

/* What a teller tells when it begins and after a commit; negative: it failed. Shorter than PIPE_BUF, so never mixed with another's. */
struct told {
    int teller;
    int number;
};

static hf_server *server;
static hf_client *client;
static hf_fs *fs;
static char database[1024];
static long transfers = 400;
static bool kills;
static int telling = -1; /* in a teller: where to */
static unsigned long long random_state = 88172645463325252ULL;

static bool tell(int teller, int number)
{
    const struct told told = {teller, number};
    return write(telling, &told, sizeof told) == (ssize_t)sizeof told;
}

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "bank: %s: %s\n", what, why);
    if (telling >= 0) {
        tell(0, -1);
    }
    _exit(1);
}

static unsigned below(unsigned bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % bound;
}

/* ---- SQL ---- */

static sqlite3 *open_database(void)
{
    sqlite3 *db;
    if (sqlite3_open_v2(database, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "holdfast") !=
        SQLITE_OK) {
        fail(database, sqlite3_errmsg(db));
    }
    sqlite3_busy_timeout(db, PATIENCE_MS);
    return db;
}

static void run(sqlite3 *db, const char *format, ...)
{
    va_list arguments;
    char *error = NULL;
    va_start(arguments, format);
    char *sql = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    if (sql == NULL || sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
        fail(sql, error);
    }
    sqlite3_free(sql);
}

/* The first value of the first row. */
static int ask(sqlite3 *db, char *text, size_t size, const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        fail(sql, sqlite3_errmsg(db));
    }
    int number = sqlite3_column_int(statement, 0);
    if (text != NULL) {
        snprintf(text, size, "%s", (const char *)sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    return number;
}

static int ask_number(sqlite3 *db, const char *format, int argument)
{
    char sql[256];
    snprintf(sql, sizeof sql, format, argument);
    return ask(db, NULL, 0, sql);
}

/* ---- a teller ---- */

static int work(int teller)
{
    sqlite3 *db = open_database();
    int number =
        ask_number(db, "SELECT coalesce(max(number), 0) FROM ledger WHERE teller = %d", teller);
    random_state ^= (unsigned long long)getpid() << 20;
    while (tell(teller, number) && number < transfers) {
        int amount = 1 + (int)below(50);
        number++;
        run(db, "BEGIN IMMEDIATE");
        run(db, "UPDATE account SET money = money - %d WHERE number = %d", amount, below(ACCOUNTS));
        run(db, "UPDATE account SET money = money + %d WHERE number = %d", amount, below(ACCOUNTS));
        run(db, "INSERT INTO ledger VALUES (%d, %d)", teller, number);
        run(db, "COMMIT");
    }
    sqlite3_close(db);
    return 0;
}

/* ---- the main process ---- */

static void begin(const char *text)
{
    hf_server_mount mount;
    hf_server_config config;
    hf_client_config client_config = HF_CLIENT_CONFIG_INIT;
    const hf_fs_config fs_config = HF_FS_CONFIG_INIT;
    char mistake[512];
    if (hf_server_mount_parse(text, &mount, mistake, sizeof mistake) != 0) {
        fprintf(stderr, "bank: %s\n", mistake);
        exit(2);
    }
    hf_server_config_init(&config);
    config.mounts = &mount;
    config.mount_count = 1;
    int error = hf_server_new(&config, &server);
    if (error < 0 || (error = hf_server_start(server)) < 0) {
        fail(text, strerror(-error));
    }
    client_config.dial = hf_server_dial;
    client_config.dial_context = server;
    error = hf_client_from_fd(hf_server_connect(server), &client_config, &client);
    if (error < 0 || (error = hf_fs_attach(client, &fs_config, &fs)) < 0) {
        fail(text, strerror(-error));
    }
    snprintf(
        database, sizeof database, "%s/bank.db", strcmp(mount.path, "/") == 0 ? "" : mount.path);
    free(mount.texts);
}

static void end(void)
{
    hf_fs_detach(fs);
    hf_client_unref(client);
    hf_server_free(server);
}

static void make_database(void)
{
    sqlite3 *db = open_database();
    char *error = NULL;
    if (sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, &error) == SQLITE_OK) {
        fail("journal_mode = WAL", "was not refused");
    }
    printf("WAL: %s\n", error);
    sqlite3_free(error);
    run(db, "CREATE TABLE account (number INTEGER PRIMARY KEY, money INTEGER)");
    run(db, "CREATE TABLE ledger (teller INTEGER, number INTEGER, PRIMARY KEY (teller, number))");
    for (int i = 0; i < ACCOUNTS; i++) {
        run(db, "INSERT INTO account VALUES (%d, %d)", i, MONEY);
    }
    sqlite3_close(db);
}

static pid_t start(int teller, const int ends[2])
{
    pid_t pid = hf_fork();
    if (pid == 0) {
        close(ends[0]);
        telling = ends[1];
        _exit(work(teller));
    }
    if (pid < 0) {
        fail("fork", strerror(-pid));
    }
    return pid;
}

static void replace(pid_t tellers[TELLERS], int victim, const int ends[2])
{
    kill(tellers[victim], SIGKILL);
    waitpid(tellers[victim], NULL, 0);
    tellers[victim] = start(victim, ends);
}

static bool all_are_done(const int told_number[TELLERS])
{
    int done = 0;
    for (int i = 0; i < TELLERS; i++) {
        done += told_number[i] == transfers;
    }
    return done == TELLERS;
}

/* Hear of all transfers, and kill now and then. Return: how many kills. */
static int watch(int told_number[TELLERS])
{
    pid_t tellers[TELLERS];
    int ends[2], killed = 0;
    unsigned until = 1 + below(20);
    struct told told;
    if (pipe(ends) < 0) {
        fail("pipe", strerror(errno));
    }
    for (int i = 0; i < TELLERS; i++) {
        tellers[i] = start(i, ends);
    }
    while (!all_are_done(told_number)) {
        if (read(ends[0], &told, sizeof told) != (ssize_t)sizeof told || told.number < 0) {
            fail("teller", "it failed");
        }
        told_number[told.teller] = told.number;
        if (kills && --until == 0) {
            replace(tellers, (int)below(TELLERS), ends);
            until = 1 + below(20);
            killed++;
        }
    }
    for (int i = 0; i < TELLERS; i++) {
        waitpid(tellers[i], NULL, 0);
    }
    return killed;
}

static int verify(const int told_number[TELLERS])
{
    char sound[256];
    int failures = 0;
    sqlite3 *db = open_database();
    ask(db, sound, sizeof sound, "PRAGMA integrity_check");
    failures += strcmp(sound, "ok") != 0;
    failures += ask_number(db, "SELECT sum(money) - %d FROM account", ACCOUNTS * MONEY) != 0;
    for (int i = 0; i < TELLERS; i++) {
        int count = ask_number(db, "SELECT count(*) FROM ledger WHERE teller = %d", i);
        int last = ask_number(db, "SELECT max(number) FROM ledger WHERE teller = %d", i);
        failures += count != last || last < told_number[i];
    }
    printf("%d transfers, integrity check: %s, %d wrong\n",
           ask(db, NULL, 0, "SELECT count(*) FROM ledger"),
           sound,
           failures);
    sqlite3_close(db);
    return failures;
}

int main(int argc, char **argv)
{
    const char *mount = "ram:/";
    int told_number[TELLERS] = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--kill") == 0) {
            kills = true;
        } else if (strcmp(argv[i], "--transfers") == 0 && i + 1 < argc) {
            transfers = strtol(argv[++i], NULL, 10);
        } else {
            mount = argv[i];
        }
    }
    begin(mount);
    if (vfs_register(fs, "holdfast") != SQLITE_OK) {
        fail("SQLite", "no memory");
    }
    make_database();
    int killed = watch(told_number);
    printf("%d tellers killed\n", killed);
    int failures = verify(told_number);
    end();
    return failures == 0 ? 0 : 1;
}
