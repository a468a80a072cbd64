/* Migration: a program starts another one, which goes on with its open files although it shares no
 * memory with it and inherits no descriptor. Start `holdfast serve --listen unix:PATH`, then
 * `migrate unix:PATH DIRECTORY`: both append to DIRECTORY/log through one open file. */
#include <holdfast/export.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
enum { LINES = 500 };

static hf_fs *attach(const char *address, const char *directory)
{
    hf_client *client;
    hf_fs *fs;
    hf_fs_config config = HF_FS_CONFIG_INIT;
    config.root = directory;
    if (hf_client_connect(address, NULL, &client) != 0 || hf_fs_attach(client, &config, &fs) != 0) {
        return NULL;
    }
    hf_client_unref(client); /* the filesystem has a reference of its own */
    return fs;
}

static int write_lines(hf_fs *fs, int log, const char *who)
{
    char line[64];
    for (int i = 0; i < LINES; i++) {
        int length = snprintf(line, sizeof(line), "%s %d\n", who, i);
        if (hf_write(fs, log, line, (size_t)length) != length) {
            return 1;
        }
    }
    return 0;
}

/* The other program: its input is the bytes. What was descriptor 0 there is so here. */
static int go_on(hf_fs *fs)
{
    char bytes[4096];
    size_t size = fread(bytes, 1, sizeof(bytes), stdin);
    int error = hf_import(fs, bytes, size);
    if (error != 0) {
        fprintf(stderr, "migrate: %s\n", strerror(-error));
        return 1;
    }
    return write_lines(fs, 0, "other");
}

int main(int argc, char **argv)
{
    hf_fs *fs = argc >= 3 ? attach(argv[1], argv[2]) : NULL;
    if (fs == NULL) {
        fprintf(stderr, "usage: migrate ADDRESS DIRECTORY\n");
        return 2;
    }
    if (argc > 3) {
        return go_on(fs);
    }
    int log = hf_open(fs, "log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int failed = write_lines(fs, log, "first");

    char bytes[4096]; /* from here the server keeps the open file, whoever is killed or closes it */
    ssize_t size = hf_export(fs, bytes, sizeof(bytes));
    int input[2];
    if (failed || size < 0 || pipe(input) != 0 || write(input[1], bytes, (size_t)size) != size) {
        return 1;
    }
    close(input[1]);
    if (fork() == 0) {
        dup2(input[0], STDIN_FILENO);
        execl("/proc/self/exe", "migrate", argv[1], argv[2], "go on", NULL);
        _exit(127);
    }
    int status = 1;
    failed = write_lines(fs, log, "again"); /* at the one offset that both move */
    wait(&status);
    printf("%ld bytes\n", (long)hf_lseek(fs, log, 0, SEEK_CUR));
    hf_fs_detach(fs);
    return failed || status != 0;
}
