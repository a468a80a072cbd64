/*
 * The five locks of SQLite (https://www.sqlite.org/lockingv3.html) as record locks of the open file:
 *
 *   SHARED      a read lock on the shared bytes
 *   RESERVED    and a write lock on the reserved byte: one that means to write
 *   PENDING     and a write lock on the pending byte: no new readers
 *   EXCLUSIVE   and a write lock on the shared bytes: no readers
 *
 * They stand at 1 GiB, where SQLite never puts data, in the same places as in SQLite's own VFS.
 */
#include "vfs.h"

#include <errno.h>
#include <holdfast/lock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PENDING_BYTE = 0x40000000,
    RESERVED_BYTE = PENDING_BYTE + 1,
    SHARED_FIRST = PENDING_BYTE + 2,
    SHARED_SIZE = 510,
    PATH_MAX_BYTES = 512,
};

struct file {
    sqlite3_file base; /* first: SQLite's part */
    hf_fs *fs;
    int fd;
    int level; /* SQLITE_LOCK_x */
};

static struct file *file_of(sqlite3_file *base)
{
    return (struct file *)base;
}

/* ---- data ---- */

static int file_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    return hf_close(file->fs, file->fd) < 0 ? SQLITE_IOERR_CLOSE : SQLITE_OK;
}

static int file_read(sqlite3_file *base, void *out, int size, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    int done = 0;
    while (done < size) {
        ssize_t got =
            hf_pread(file->fs, file->fd, (char *)out + done, (size_t)(size - done), offset + done);
        if (got < 0) {
            return SQLITE_IOERR_READ;
        }
        if (got == 0) {
            memset((char *)out + done, 0, (size_t)(size - done));
            return SQLITE_IOERR_SHORT_READ;
        }
        done += (int)got;
    }
    return SQLITE_OK;
}

static int file_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    int done = 0;
    while (done < size) {
        ssize_t put = hf_pwrite(
            file->fs, file->fd, (const char *)data + done, (size_t)(size - done), offset + done);
        if (put < 0) {
            return put == -ENOSPC || put == -EDQUOT ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        }
        done += (int)put;
    }
    return SQLITE_OK;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct file *file = file_of(base);
    return hf_ftruncate(file->fs, file->fd, size) < 0 ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

static int file_sync(sqlite3_file *base, int flags)
{
    struct file *file = file_of(base);
    int result = (flags & SQLITE_SYNC_DATAONLY) != 0 ? hf_fdatasync(file->fs, file->fd)
                                                     : hf_fsync(file->fs, file->fd);
    return result < 0 ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *out)
{
    struct file *file = file_of(base);
    struct stat status;
    if (hf_fstat(file->fs, file->fd, &status) < 0) {
        return SQLITE_IOERR_FSTAT;
    }
    *out = status.st_size;
    return SQLITE_OK;
}

/* ---- locks ---- */

/* Return: SQLITE_OK, SQLITE_BUSY when another process is in the way. */
static int lock_bytes(struct file *file, short type, off_t start, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    int result = hf_lock(file->fs, file->fd, F_OFD_SETLK, &lock, NULL);
    return result == 0 ? SQLITE_OK : result == -EAGAIN ? SQLITE_BUSY : SQLITE_IOERR_LOCK;
}

static int lock_shared(struct file *file)
{
    /* Who has the pending byte waits for the readers to go: nobody joins them. */
    int result = lock_bytes(file, F_RDLCK, PENDING_BYTE, 1);
    if (result != SQLITE_OK) {
        return result;
    }
    result = lock_bytes(file, F_RDLCK, SHARED_FIRST, SHARED_SIZE);
    int unlocked = lock_bytes(file, F_UNLCK, PENDING_BYTE, 1);
    return result != SQLITE_OK ? result : unlocked;
}

static int lock_exclusive(struct file *file)
{
    if (file->level < SQLITE_LOCK_PENDING) {
        int result = lock_bytes(file, F_WRLCK, PENDING_BYTE, 1);
        if (result != SQLITE_OK) {
            return result;
        }
        file->level = SQLITE_LOCK_PENDING;
    }
    return lock_bytes(file, F_WRLCK, SHARED_FIRST, SHARED_SIZE);
}

static int file_lock(sqlite3_file *base, int level)
{
    struct file *file = file_of(base);
    int result = SQLITE_OK;
    if (file->level >= level) {
        return SQLITE_OK;
    }
    if (level == SQLITE_LOCK_SHARED) {
        result = lock_shared(file);
    } else if (level == SQLITE_LOCK_RESERVED) {
        result = lock_bytes(file, F_WRLCK, RESERVED_BYTE, 1);
    } else {
        result = lock_exclusive(file);
    }
    if (result == SQLITE_OK) {
        file->level = level;
    }
    return result;
}

static int file_unlock(sqlite3_file *base, int level)
{
    struct file *file = file_of(base);
    int result = SQLITE_OK;
    if (file->level <= level) {
        return SQLITE_OK;
    }
    if (level == SQLITE_LOCK_NONE) {
        result = lock_bytes(file, F_UNLCK, PENDING_BYTE, 2 + SHARED_SIZE);
    } else {
        if (file->level == SQLITE_LOCK_EXCLUSIVE) {
            result = lock_bytes(file, F_RDLCK, SHARED_FIRST, SHARED_SIZE);
        }
        if (result == SQLITE_OK) {
            result = lock_bytes(file, F_UNLCK, PENDING_BYTE, 2);
        }
    }
    if (result == SQLITE_OK) {
        file->level = level;
    }
    return result == SQLITE_OK ? SQLITE_OK : SQLITE_IOERR_UNLOCK;
}

static int file_is_reserved(sqlite3_file *base, int *out)
{
    struct file *file = file_of(base);
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RESERVED_BYTE, .l_len = 1};
    if (file->level >= SQLITE_LOCK_RESERVED) {
        *out = 1;
        return SQLITE_OK;
    }
    int result = hf_lock(file->fs, file->fd, F_OFD_GETLK, &lock, NULL);
    *out = lock.l_type != F_UNLCK;
    return result < 0 ? SQLITE_IOERR_CHECKRESERVEDLOCK : SQLITE_OK;
}

/* ---- the rest of a file ---- */

/* Write-ahead logs need shared memory, which these processes do not have. */
static int refuse_wal(char **arguments)
{
    const char *name = arguments[1], *value = arguments[2];
    if (sqlite3_stricmp(name, "journal_mode") != 0 || value == NULL ||
        sqlite3_stricmp(value, "wal") != 0) {
        return SQLITE_NOTFOUND;
    }
    arguments[0] = sqlite3_mprintf("journal_mode=WAL needs shared memory, which the processes on "
                                   "this filesystem do not have; use DELETE, TRUNCATE or PERSIST");
    return SQLITE_ERROR;
}

static int file_control(sqlite3_file *base, int operation, void *argument)
{
    return operation == SQLITE_FCNTL_PRAGMA ? refuse_wal(argument) : SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *base)
{
    return 4096;
}

static int file_characteristics(sqlite3_file *base)
{
    return 0;
}

/* Version 1: without the calls for shared memory. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* ---- names ---- */

/* Without a name: temporary. */
static int open_named(hf_fs *fs, const char *name, int flags)
{
    if (name == NULL) {
        return hf_open(fs, "/", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    }
    int how = (flags & SQLITE_OPEN_READWRITE) != 0 ? O_RDWR : O_RDONLY;
    how |= (flags & SQLITE_OPEN_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & SQLITE_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    return hf_open(fs, name, how, 0644);
}

/* A database that was left in WAL mode would need shared memory, too. SQLite says of it that it is
 * unable to open it; this says why. */
static void explain_wal(hf_fs *fs, int fd, const char *name)
{
    unsigned char versions[2]; /* for writing and for reading: 2 is WAL */
    if (hf_pread(fs, fd, versions, 2, 18) == 2 && versions[1] == 2) {
        sqlite3_log(SQLITE_CANTOPEN,
                    "%s is in WAL mode, which needs shared memory; change it with PRAGMA "
                    "journal_mode=DELETE where there is some",
                    name);
    }
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out)
{
    struct file *file = file_of(base);
    *file = (struct file){.fs = vfs->pAppData, .fd = -1, .level = SQLITE_LOCK_NONE};
    int fd = open_named(file->fs, name, flags);
    if ((fd == -EACCES || fd == -EROFS) && (flags & SQLITE_OPEN_READWRITE) != 0) {
        flags = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
        fd = open_named(file->fs, name, flags);
    }
    if (fd < 0) {
        return SQLITE_CANTOPEN;
    }
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
        explain_wal(file->fs, fd, name);
    }
    if (name != NULL && (flags & SQLITE_OPEN_DELETEONCLOSE) != 0) {
        hf_unlink(file->fs, name);
    }
    file->fd = fd;
    file->base.pMethods = &methods;
    if (out != NULL) {
        *out = flags;
    }
    return SQLITE_OK;
}

static int sync_directory(hf_fs *fs, const char *name)
{
    char directory[PATH_MAX_BYTES];
    snprintf(directory, sizeof directory, "%s", name);
    char *slash = strrchr(directory, '/');
    slash[slash == directory ? 1 : 0] = '\0'; /* names are whole paths, see vfs_full_path() */
    int fd = hf_open(fs, directory, O_RDONLY | O_DIRECTORY, 0);
    int result = fd < 0 ? fd : hf_fsync(fs, fd);
    if (fd >= 0) {
        hf_close(fs, fd);
    }
    return result < 0 ? SQLITE_IOERR_DIR_FSYNC : SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    int result = hf_unlink(vfs->pAppData, name);
    if (result < 0) {
        return result == -ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    }
    return sync ? sync_directory(vfs->pAppData, name) : SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    struct stat status;
    int result;
    if (flags == SQLITE_ACCESS_EXISTS) {
        /* An empty journal counts as none, as in SQLite's own VFS. */
        result = hf_stat(vfs->pAppData, name, &status);
        *out = result == 0 && (!S_ISREG(status.st_mode) || status.st_size > 0);
    } else {
        result = hf_access(vfs->pAppData, name, R_OK | W_OK);
        *out = result == 0;
    }
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    char directory[PATH_MAX_BYTES] = "";
    if (name[0] != '/' && hf_getcwd(vfs->pAppData, directory, sizeof directory) < 0) {
        return SQLITE_CANTOPEN;
    }
    const char *between = name[0] == '/' || strcmp(directory, "/") == 0 ? "" : "/";
    int length = snprintf(out, (size_t)size, "%s%s%s", directory, between, name);
    return length < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

/* ---- what has nothing to do with files is SQLite's own ---- */

static sqlite3_vfs *own;

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    return own->xRandomness(own, size, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return own->xSleep(own, microseconds);
}

static int vfs_now(sqlite3_vfs *vfs, double *out)
{
    return own->xCurrentTime(own, out);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    return 0;
}

int vfs_register(hf_fs *fs, const char *name)
{
    sqlite3_vfs *vfs = calloc(1, sizeof *vfs);
    own = sqlite3_vfs_find(NULL);
    if (vfs == NULL || own == NULL) {
        free(vfs);
        return SQLITE_NOMEM;
    }
    *vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(struct file),
        .mxPathname = PATH_MAX_BYTES,
        .zName = name,
        .pAppData = fs,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_now,
        .xGetLastError = vfs_last_error,
    };
    return sqlite3_vfs_register(vfs, 0);
}
