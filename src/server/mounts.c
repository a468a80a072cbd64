/*
 * Each mount is mounted as hf_mount() would do it, on what is there by then: a walk from "/" goes
 * through the stores themselves, and through directories of the host by descriptors, and crosses
 * into what is mounted already. It follows no symbolic links.
 */
#include "server/mounts.h"

#include "server/mount_text.h"
#include "server/server.h"
#include "store/store.h"
#include "wire/mounts.h"
#include "wire/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The directory at "/" that there is when nothing else is mounted there: as many mount points as the
 * table could ever name. */
#define OWN_ROOT_INODES (HF_VALUE_MAX / 2)

/* A mount that was made. */
struct made {
    hf_mount_kind kind;
    struct store *store; /* NULL: direct */
    uint32_t number;     /* of the store */
    int directory;       /* direct: the source, opened with O_PATH; else -1 */
    char *path;
    char *source;
};

struct mounting {
    struct hf_server *server;
    const hf_server_config *config;
    const char *path; /* of the mount that is being made */
    struct made made[WIRE_MOUNTS_MAX];
    struct wire_mounts table; /* one entry for each that was made */
};

/* Where a walk is. */
struct spot {
    size_t mount;   /* its index */
    uint64_t inode; /* in a store */
    int directory;  /* of the host, opened with O_PATH; in a store -1 */
    hf_id id;
};

static int __attribute__((format(printf, 3, 4)))
refuse(const struct mounting *mounting, int error, const char *format, ...)
{
    const hf_server_config *config = mounting->config;
    char reason[PATH_MAX + 256];
    char line[2 * PATH_MAX + 256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    snprintf(line, sizeof(line), "mount at \"%s\": %s", mounting->path, reason);
    if (config->mount_error != NULL) {
        snprintf(config->mount_error, config->mount_error_size, "%s", line);
    } else {
        log_line(&mounting->server->settings.log, HF_LOG_ERROR, "%s", line);
    }
    return error;
}

static struct store_call call_now(void)
{
    struct store_call call = {.holder = NULL};
    clock_gettime(CLOCK_REALTIME, &call.now);
    return call;
}

/* ---- walking ---- */

static void leave(struct spot *spot)
{
    if (spot->directory >= 0) {
        close(spot->directory);
        spot->directory = -1;
    }
}

/* To an entry that is in a store. */
static void go_in_store(const struct mounting *mounting, struct spot *spot, uint64_t inode)
{
    spot->inode = inode;
    spot->id = wire_store_id(mounting->made[spot->mount].number, inode);
}

/* To the directory of the host that is open as @directory, which is taken over on success. */
static int go_on_host(struct spot *spot, int directory)
{
    struct stat status;
    if (fstat(directory, &status) < 0) {
        return -errno;
    }
    leave(spot);
    spot->directory = directory;
    spot->id = wire_inode_id(WIRE_BACKEND_DIRECT, status.st_dev, status.st_ino);
    return 0;
}

/* To the root of a mount. */
static int go_to_root(const struct mounting *mounting, struct spot *spot, size_t index)
{
    const struct made *made = &mounting->made[index];
    leave(spot);
    spot->mount = index;
    if (made->store != NULL) {
        go_in_store(mounting, spot, STORE_ROOT);
        return 0;
    }
    const int directory = fcntl(made->directory, F_DUPFD_CLOEXEC, 0);
    return directory < 0 ? -errno : go_on_host(spot, directory);
}

/* Into what is mounted here, if anything. */
static int cross(const struct mounting *mounting, struct spot *spot)
{
    int result = 0;
    /* What is mounted on a mount comes after it in the table. */
    for (size_t i = spot->mount + 1; result == 0 && i < mounting->table.count; i++) {
        const struct wire_mount *mount = &mounting->table.mounts[i];
        if (mount->parent == mounting->table.mounts[spot->mount].number &&
            mount->point.space == spot->id.space && mount->point.object == spot->id.object) {
            result = go_to_root(mounting, spot, i);
        }
    }
    return result;
}

/* Make a mount point. */
static int make_directory(struct store *store, uint64_t directory, struct store_name name,
                          struct store_attributes *out)
{
    const struct store_call call = call_now();
    const struct store_new new_directory = {
        .mode = S_IFDIR | 0755, .owner = geteuid(), .group = getegid()};
    return store->ops->make(store, &call, directory, name, &new_directory, out);
}

static int step_in_store(const struct mounting *mounting, struct spot *spot, struct store_name name)
{
    const struct made *made = &mounting->made[spot->mount];
    struct store *store = made->store;
    struct store_attributes attributes;
    int result = store->ops->lookup(store, spot->inode, name, &attributes);
    if (result == -ENOENT && made->kind == HF_MOUNT_RAM) {
        result = make_directory(store, spot->inode, name, &attributes);
    }
    if (result == 0 && !S_ISDIR(attributes.mode)) {
        result = -ENOTDIR;
    }
    if (result == 0) {
        go_in_store(mounting, spot, attributes.number);
    }
    return result;
}

static int step_on_host(struct spot *spot, struct store_name name)
{
    char text[STORE_MAX_NAME + 1];
    memcpy(text, name.bytes, name.length);
    text[name.length] = '\0';
    const int directory =
        openat(spot->directory, text, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0) {
        return -errno;
    }
    const int result = go_on_host(spot, directory);
    if (result < 0) {
        close(directory);
    }
    return result;
}

/* Walk to the mount point. On failure @spot is to be left as well. */
static int walk(const struct mounting *mounting, struct spot *spot)
{
    const char *at = mounting->path;
    int result = go_to_root(mounting, spot, 0);
    while (result == 0) {
        at += strspn(at, "/");
        const struct store_name name = {at, strcspn(at, "/")};
        if (name.length == 0) {
            break;
        }
        at += name.length;
        result =
            spot->directory >= 0 ? step_on_host(spot, name) : step_in_store(mounting, spot, name);
        if (result == 0) {
            result = cross(mounting, spot);
        }
    }
    if (result < 0) {
        return refuse(
            mounting,
            result,
            "\"%.*s\" cannot be mounted on: %s; it must be a directory of what is mounted "
            "before",
            (int)(at - mounting->path),
            mounting->path,
            strerror(-result));
    }
    return 0;
}

/* ---- what is mounted ---- */

/* The server has it from now on. */
static int add_store(const struct mounting *mounting, const hf_server_mount *mount,
                     struct made *made)
{
    const uint32_t flags = mount->kind == HF_MOUNT_RAM ? WIRE_STORE_EXACT : 0;
    int result =
        served_add(mounting->server, made->store, mount->read_only != 0, flags, &made->number);
    if (result < 0) {
        made->store->ops->destroy(made->store);
    }
    return result;
}

static int make_ram(const struct mounting *mounting, const hf_server_mount *mount,
                    struct made *made)
{
    const uint64_t memory = mount_memory_bytes();
    const struct store_limits limits = {
        .bytes = mount->size != 0 ? mount->size : memory / 2,
        .inodes = mount->inodes != 0 ? mount->inodes : memory / 2 / STORE_PAGE_SIZE,
    };
    const struct store_call call = call_now();
    made->source = strdup(WIRE_MOUNT_RAM);
    int result = made->source == NULL ? -ENOMEM : 0;
    if (result == 0) {
        result = ram_store_new(&limits,
                               &call,
                               mount->mode,
                               mount->uid != (uid_t)-1 ? mount->uid : geteuid(),
                               mount->gid != (gid_t)-1 ? mount->gid : getegid(),
                               &made->store);
    }
    if (result == 0) {
        result = add_store(mounting, mount, made);
    }
    return result < 0 ? refuse(mounting, result, "%s", strerror(-result)) : 0;
}

/* Is the one path the other, or below it? */
static bool is_below(const char *path, const char *other)
{
    const size_t length = strlen(other);
    return strcmp(other, "/") == 0 ||
           (strncmp(path, other, length) == 0 && (path[length] == '\0' || path[length] == '/'));
}

/* A directory that is served must be in nobody else's hands. */
static int check_overlap(const struct mounting *mounting, const struct made *made)
{
    for (size_t i = 0; i < mounting->table.count; i++) {
        const struct made *other = &mounting->made[i];
        if ((made->kind != HF_MOUNT_DIR && other->kind != HF_MOUNT_DIR) ||
            other->kind == HF_MOUNT_RAM) {
            continue;
        }
        if (is_below(made->source, other->source) || is_below(other->source, made->source)) {
            return refuse(mounting,
                          -EBUSY,
                          "SOURCE \"%s\" overlaps that of the mount at \"%s\"; give a dir mount a "
                          "directory of its own",
                          made->source,
                          other->path);
        }
    }
    return 0;
}

static int open_source(const struct mounting *mounting, const hf_server_mount *mount,
                       struct made *made)
{
    made->source = realpath(mount->source, NULL);
    int result = made->source == NULL ? -errno : 0;
    if (result == 0) {
        made->directory = open(made->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
        result = made->directory < 0 ? -errno : 0;
    }
    if (result < 0) {
        return refuse(mounting,
                      result,
                      "SOURCE \"%s\": %s; it must be a directory that is there",
                      mount->source,
                      strerror(-result));
    }
    return check_overlap(mounting, made);
}

/* The source is open. */
static int make_dir(const struct mounting *mounting, const hf_server_mount *mount,
                    struct made *made)
{
    const struct store_limits limits = {
        .bytes = mount->size != 0 ? mount->size : STORE_NO_LIMIT,
        .inodes = mount->inodes != 0 ? mount->inodes : STORE_NO_LIMIT,
    };
    int result = dir_store_new(made->directory, &limits, &made->store);
    if (result == -ENOSPC) {
        return refuse(
            mounting, result, "there is more in \"%s\" than size= and inodes= allow", made->source);
    }
    if (result == 0) {
        made->directory = -1; /* the store's now */
        result = add_store(mounting, mount, made);
    }
    return result < 0 ? refuse(mounting,
                               result,
                               "SOURCE \"%s\" cannot be served: %s",
                               mount->source,
                               strerror(-result))
                      : 0;
}

/* Those that say nothing: double ones, and those at the end. */
static void drop_slashes(char *path)
{
    char *to = path;
    for (const char *at = path; *at != '\0'; at++) {
        const bool says_nothing = at[0] == '/' && (at[1] == '/' || (at[1] == '\0' && to != path));
        if (!says_nothing) {
            *to++ = *at;
        }
    }
    *to = '\0';
}

/* What is mounted, without the place. What there is of @made is freed by free_made(). */
static int make(const struct mounting *mounting, const hf_server_mount *mount, struct made *made)
{
    made->path = strdup(mount->path);
    if (made->path == NULL) {
        return -ENOMEM;
    }
    drop_slashes(made->path);
    if (mount->kind == HF_MOUNT_RAM) {
        return make_ram(mounting, mount, made);
    }
    const int result = open_source(mounting, mount, made);
    return result == 0 && mount->kind == HF_MOUNT_DIR ? make_dir(mounting, mount, made) : result;
}

static void free_made(struct made *made)
{
    if (made->directory >= 0) {
        close(made->directory);
    }
    free(made->path);
    free(made->source);
}

/* ---- the table ---- */

static uint8_t flags_of(const hf_server_mount *mount)
{
    return (uint8_t)((mount->read_only != 0 ? WIRE_MOUNT_READ_ONLY : 0) |
                     (mount->check != 0 ? WIRE_MOUNT_CHECKED : 0));
}

/* The entry of the mount that was made last, on @point, if it is not at "/". */
static int add_entry(struct mounting *mounting, const hf_server_mount *mount,
                     const struct spot *point)
{
    struct wire_mounts *table = &mounting->table;
    const size_t index = table->count;
    const struct made *made = &mounting->made[index];
    struct spot root = {.directory = -1};
    int result = go_to_root(mounting, &root, index);
    leave(&root);
    if (result < 0) {
        return result;
    }
    table->mounts[index] = (struct wire_mount){
        .number = ++table->last,
        .parent = index == 0 ? 0 : table->mounts[point->mount].number,
        .point = index == 0 ? (hf_id){0, 0} : point->id,
        .root = root.id,
        .type = made->store != NULL ? WIRE_MOUNT_SERVED : WIRE_MOUNT_DIRECT,
        .flags = flags_of(mount),
        .path = made->path,
        .source = made->source,
    };
    table->count++;
    return 0;
}

static int add_mount(struct mounting *mounting, const hf_server_mount *mount)
{
    struct spot point = {.directory = -1};
    const size_t index = mounting->table.count;
    struct made *made = &mounting->made[index];

    const char *mistake = mount_mistake(mount);
    mounting->path = mount->path != NULL ? mount->path : "";
    if (mistake != NULL) {
        return refuse(mounting, -EINVAL, "%s", mistake);
    }
    if (index == WIRE_MOUNTS_MAX) {
        return refuse(mounting, -ENOSPC, "there are too many mounts");
    }
    int result = index == 0 ? 0 : walk(mounting, &point);
    if (result == 0) {
        *made = (struct made){.kind = mount->kind, .directory = -1};
        result = make(mounting, mount, made);
        if (result == 0) {
            result = add_entry(mounting, mount, &point);
        }
        if (result < 0) {
            free_made(made);
        }
    }
    leave(&point);
    return result;
}

static bool is_at_root(const hf_server_mount *mount)
{
    return mount->path != NULL && mount->path[0] == '/' &&
           mount->path[strspn(mount->path, "/")] == '\0';
}

/* What is at "/": the first that wants to be there, or a directory for mount points. */
static int add_root(struct mounting *mounting)
{
    const hf_server_config *config = mounting->config;
    hf_server_mount root = HF_SERVER_MOUNT_INIT;
    for (size_t i = 0; i < config->mount_count; i++) {
        if (is_at_root(&config->mounts[i])) {
            root = config->mounts[i];
            root.path = "/";
            return add_mount(mounting, &root);
        }
    }
    root.path = "/";
    root.size = STORE_PAGE_SIZE;
    root.inodes = OWN_ROOT_INODES;
    root.mode = 0755;
    root.read_only = 1;
    return add_mount(mounting, &root);
}

static int add_mounts(struct mounting *mounting)
{
    const hf_server_config *config = mounting->config;
    bool root_seen = false;
    int result = add_root(mounting);
    for (size_t i = 0; result == 0 && i < config->mount_count; i++) {
        const hf_server_mount *mount = &config->mounts[i];
        if (!is_at_root(mount)) {
            result = add_mount(mounting, mount);
        } else if (root_seen) {
            mounting->path = "/";
            result =
                refuse(mounting, -EBUSY, "something is mounted there; \"/\" can be given once");
        }
        root_seen = root_seen || is_at_root(mount);
    }
    return result;
}

static int publish(const struct mounting *mounting)
{
    uint8_t bytes[HF_VALUE_MAX];
    const size_t size = wire_mounts_encode(&mounting->table, bytes);
    if (size == 0) {
        return refuse(mounting,
                      -ENOSPC,
                      "the table of mounts has room for %d bytes; mount less, or at shorter paths",
                      HF_VALUE_MAX);
    }
    return server_set_kept_value(mounting->server, WIRE_MOUNTS_ID, bytes, size);
}

int server_open_mounts(struct hf_server *server, const hf_server_config *config)
{
    if (config->mount_count == 0) {
        return 0;
    }
    struct mounting *mounting = calloc(1, sizeof(*mounting));
    if (mounting == NULL) {
        return -ENOMEM;
    }
    mounting->server = server;
    mounting->config = config;
    int result = add_mounts(mounting);
    if (result == 0) {
        result = publish(mounting);
    }
    for (size_t i = 0; i < mounting->table.count; i++) {
        free_made(&mounting->made[i]);
    }
    free(mounting);
    return result;
}
