#include "fs/locks.h"

#include "client/locks.h"
#include "fs/filesystem.h"
#include "fs/ids.h"
#include "fs/inode.h"
#include "fs/special.h"

#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

static hf_id file_of(const struct open_file *file)
{
    return hf_sync_id(file->inode->handle);
}

static hf_id owner_of(struct open_file *file, enum lock_kind kind)
{
    if (kind == LOCK_POSIX) {
        return (hf_id){wire_process_space(hf_client_number(file->fs->client)), 0};
    }
    return open_file_id(file);
}

/* Everything that @file's owner of that kind has. */
static struct lock everything(struct open_file *file, enum lock_kind kind)
{
    return (struct lock){
        .kind = kind,
        .type = LOCK_NONE,
        .end = LOCK_LAST_BYTE,
        .owner = owner_of(file, kind),
        .pid = (uint32_t)file->fs->client->pid,
    };
}

/* ---- the steps of a request ---- */

/* Ask the server. @fd: what @file was got by; the gate is left for a wait. */
static int ask(struct open_file *file, int fd, unsigned flags, const hf_wait_opts *opts,
               struct client_lock_wait *wait)
{
    hf_client *client = file->fs->client;
    char path[LOCK_PATH_MAX + 1];
    struct special_wait *outside = NULL;
    lock_path_find(file, path);
    if ((flags & LOCKS_WAIT) != 0) {
        outside = special_wait_begin(file, fd);
        if (outside == NULL) {
            return -ENOMEM;
        }
    }
    int result = client_lock_start(client, file_of(file), flags, path, opts, wait);
    if (result == LOCKS_ASK && outside != NULL) {
        gate_leave(&file->fs->gate);
        result = client_lock_finish(client, wait);
        gate_enter(&file->fs->gate);
    } else if (result == LOCKS_ASK) {
        result = client_lock_finish(client, wait);
    }
    if (outside != NULL) {
        special_wait_end(outside);
    }
    return result;
}

static unsigned shared_flag(const struct open_file *file, enum lock_kind kind)
{
    return kind != LOCK_POSIX && file->handle != NULL ? LOCKS_SHARED : 0;
}

static int do_lock(struct open_file *file, int fd, const struct lock *lock, bool waits,
                   const hf_wait_opts *opts)
{
    const unsigned flags = shared_flag(file, lock->kind) | (waits ? LOCKS_WAIT : 0);
    int result = client_lock_try(file->fs->client, file_of(file), lock, flags);
    if (result == LOCKS_ASK) {
        struct client_lock_wait wait = {.request.lock = *lock};
        result = ask(file, fd, flags, opts, &wait);
    }
    return result;
}

/* As often as a descriptor is closed: nothing is looked for in directories then. */
static void give_up(struct open_file *file, enum lock_kind kind)
{
    hf_client *client = file->fs->client;
    struct client_lock_wait wait = {.request.lock = everything(file, kind)};
    if (client_lock_start(client, file_of(file), 0, "", NULL, &wait) == LOCKS_ASK) {
        (void)client_lock_finish(client, &wait);
    }
}

static bool waits(bool is_wait, const hf_wait_opts *opts)
{
    return is_wait && (opts == NULL || (opts->flags & HF_NOWAIT) == 0);
}

/* ---- closing and sharing ---- */

void locks_descriptor_closed(struct open_file *file)
{
    /* Who gets one just now looks afterwards whether its descriptor is still there. */
    if (client_has_locks(file->fs->client) && !open_file_is_path(file)) {
        give_up(file, LOCK_POSIX);
    }
}

void locks_file_closed(struct open_file *file)
{
    if (file->handle == NULL && file->number != 0) {
        give_up(file, LOCK_OFD);
        give_up(file, LOCK_FLOCK);
    }
}

int locks_file_shared(struct open_file *file)
{
    return client_lock_share(file->fs->client, file_of(file), open_file_id(file));
}

/* ---- record locks ---- */

static bool is_of_open_file(int command)
{
    return command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
}

static int get_base(struct open_file *file, int whence, off_t *base)
{
    *base = 0;
    switch (whence) {
    case SEEK_SET:
        return 0;
    case SEEK_END:
        return open_file_get_size(file, base);
    case SEEK_CUR:
        break;
    default:
        return -EINVAL;
    }
    if (open_file_is_special(file)) {
        struct backend *backend = file->inode->backend;
        const off_t found = backend->ops->seek(backend, file->backend_file, 0, SEEK_CUR);
        *base = found < 0 ? 0 : found;
        return 0;
    }
    int result = open_file_lock(file);
    if (result < 0) {
        return result;
    }
    *base = file->offset;
    return open_file_unlock(file, false);
}

/* As Linux's flock_to_posix_lock(): the same errors in the same order. */
static int get_range(off_t base, const struct flock *from, struct lock *lock)
{
    if (from->l_start > INT64_MAX - base) {
        return -EOVERFLOW;
    }
    const off_t start = base + from->l_start;
    if (start < 0) {
        return -EINVAL;
    }
    lock->start = (uint64_t)start;
    lock->end = LOCK_LAST_BYTE;
    if (from->l_len > 0) {
        if (from->l_len - 1 > INT64_MAX - start) {
            return -EOVERFLOW;
        }
        lock->end = (uint64_t)(start + (from->l_len - 1));
    } else if (from->l_len < 0) {
        if (start + from->l_len < 0) {
            return -EINVAL;
        }
        lock->start = (uint64_t)(start + from->l_len);
        lock->end = (uint64_t)(start - 1);
    }
    return 0;
}

static int get_lock(struct open_file *file, int command, const struct flock *from,
                    struct lock *lock)
{
    const enum lock_kind kind = is_of_open_file(command) ? LOCK_OFD : LOCK_POSIX;
    off_t base;
    *lock = everything(file, kind);
    int result = get_base(file, from->l_whence, &base);
    if (result == 0) {
        result = get_range(base, from, lock);
    }
    if (result < 0) {
        return result;
    }
    switch (from->l_type) {
    case F_RDLCK:
        lock->type = LOCK_TYPE_READ;
        return 0;
    case F_WRLCK:
        lock->type = LOCK_TYPE_WRITE;
        return 0;
    case F_UNLCK:
        lock->type = LOCK_NONE;
        return 0;
    default:
        return -EINVAL;
    }
}

static int set(struct open_file *file, int fd, int command, const struct flock *from,
               const hf_wait_opts *opts, struct lock *lock)
{
    const bool is_wait = command == F_SETLKW || command == F_OFD_SETLKW;
    int result = get_lock(file, command, from, lock);
    if (result < 0) {
        return result;
    }
    if ((lock->type == LOCK_TYPE_READ && !open_file_is_for(file, O_RDONLY)) ||
        (lock->type == LOCK_TYPE_WRITE && !open_file_is_for(file, O_WRONLY))) {
        return -EBADF;
    }
    if (lock->kind == LOCK_OFD && from->l_pid != 0) {
        return -EINVAL;
    }
    return do_lock(file, fd, lock, waits(is_wait, opts), opts);
}

/* As fcntl_setlk(): if the descriptor was closed meanwhile, so were the process's locks. */
static int set_and_put(struct open_file *file, int fd, int command, const struct flock *from,
                       const hf_wait_opts *opts)
{
    struct lock lock;
    int result = set(file, fd, command, from, opts, &lock);
    if (descriptors_put(&file->fs->descriptors, fd, file)) {
        return result;
    }
    if (result == 0 && lock.kind == LOCK_POSIX && lock.type != LOCK_NONE) {
        lock.type = LOCK_NONE;
        (void)do_lock(file, fd, &lock, false, NULL);
        result = -EBADF;
    }
    open_file_unref(file);
    return result;
}

static void describe(const struct lock *lock, struct flock *out)
{
    out->l_type = lock->type == LOCK_TYPE_WRITE ? F_WRLCK : F_RDLCK;
    out->l_whence = SEEK_SET;
    out->l_start = (off_t)lock->start;
    out->l_len = lock->end == LOCK_LAST_BYTE ? 0 : (off_t)(lock->end - lock->start + 1);
    out->l_pid = lock->kind == LOCK_POSIX ? (pid_t)lock->pid : -1;
}

static int test(struct open_file *file, int fd, int command, struct flock *lock)
{
    struct client_lock_wait wait = {.request.is_test = true};
    if (lock->l_type != F_RDLCK && lock->l_type != F_WRLCK) {
        return -EINVAL;
    }
    int result = get_lock(file, command, lock, &wait.request.lock);
    if (result == 0 && is_of_open_file(command) && lock->l_pid != 0) {
        result = -EINVAL;
    }
    if (result == 0) {
        result = ask(file, fd, shared_flag(file, wait.request.lock.kind), NULL, &wait);
    }
    if (result == 0 && wait.request.conflict.type != LOCK_NONE) {
        describe(&wait.request.conflict, lock);
    } else if (result == 0) {
        lock->l_type = F_UNLCK;
    }
    return result;
}

int fs_lock(struct hf_fs *fs, int fd, int command, struct flock *user_lock,
            const hf_wait_opts *opts)
{
    struct flock lock;
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = fs_take(fs, &lock, user_lock, sizeof lock);
    if (result == 0 && command != F_GETLK && command != F_OFD_GETLK) {
        return set_and_put(file, fd, command, &lock, opts);
    }
    if (result == 0) {
        result = test(file, fd, command, &lock);
    }
    open_file_put(fs, fd, file);
    return result < 0 ? result : fs_give(fs, user_lock, &lock, sizeof lock);
}

/* ---- flock ---- */

int fs_flock(struct hf_fs *fs, int fd, int operation, const hf_wait_opts *opts)
{
    enum lock_type type;
    switch (operation & ~LOCK_NB) {
    case LOCK_SH:
        type = LOCK_TYPE_READ;
        break;
    case LOCK_EX:
        type = LOCK_TYPE_WRITE;
        break;
    case LOCK_UN:
        type = LOCK_NONE;
        break;
    default:
        return -EINVAL;
    }
    struct open_file *file = open_file_get_opened(fs, fd);
    if (file == NULL) {
        return -EBADF;
    }
    int result = -EBADF;
    if (type == LOCK_NONE || file->access_mode != O_ACCMODE) {
        struct lock lock = everything(file, LOCK_FLOCK);
        lock.type = type;
        result = do_lock(file, fd, &lock, waits((operation & LOCK_NB) == 0, opts), opts);
    }
    open_file_put(fs, fd, file);
    return result;
}
