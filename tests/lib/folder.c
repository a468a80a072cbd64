#include "lib/folder.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than one exists only after tests that failed. */
#define FOLDERS_MAX 64

static char folders[FOLDERS_MAX][FOLDER_PATH_BYTES]; /* empty text: free */
static pid_t owner;                                  /* not the children that it forks */

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

static void remove_rest(void)
{
    for (size_t i = 0; i < FOLDERS_MAX && owner == getpid(); i++) {
        if (folders[i][0] != '\0') {
            nftw(folders[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        }
    }
}

int folder_make(char path[FOLDER_PATH_BYTES])
{
    return folder_make_in("/tmp", path);
}

/* An assertion of ours ends the test: it goes all the same. */
static void on_abort(int signal)
{
    alarm(10); /* should memory be so broken that this hangs */
    remove_rest();
}

const char *folder_fast_parent(void)
{
    return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

int folder_make_in(const char *parent, char path[FOLDER_PATH_BYTES])
{
    if (owner != getpid()) {
        memset(folders, 0, sizeof(folders));
        owner = getpid();
        atexit(remove_rest);
        signal(SIGABRT, on_abort);
    }
    const int length = snprintf(path, FOLDER_PATH_BYTES, "%s/holdfast-test-XXXXXX", parent);
    if (length >= FOLDER_PATH_BYTES || mkdtemp(path) == NULL) {
        return -1;
    }
    for (size_t i = 0; i < FOLDERS_MAX; i++) {
        if (folders[i][0] == '\0') {
            memcpy(folders[i], path, FOLDER_PATH_BYTES);
            break;
        }
    }
    return 0;
}

int folder_remove(const char *path)
{
    if (rmdir(path) != 0) {
        return -1;
    }
    for (size_t i = 0; i < FOLDERS_MAX; i++) {
        if (strcmp(folders[i], path) == 0) {
            folders[i][0] = '\0';
        }
    }
    return 0;
}
