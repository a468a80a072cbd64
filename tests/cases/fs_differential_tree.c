/* The differential test: the tree at the beginning, and the one at the end. */
#include "cases/fs_differential.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- the beginning ---- */

struct entry {
    const char *name;
    mode_t mode;         /* with the type */
    const char *content; /* or what a link says; NULL: another name of "a" */
    bool is_root_s;      /* in an unprivileged sequence all else is nobody's */
};

static const struct entry entries[] = {
    {"a", S_IFREG | 0644, "the quick brown fox jumps over the lazy dog", false},
    {"b", S_IFREG | 0600, "", false},
    {"c", S_IFDIR | 0755, "", false},
    {"c/a", S_IFREG | 0640, "0123456789", false},
    {"c/b", S_IFDIR | 0700, "", false},
    {"c/b/c", S_IFREG | 0444, NULL, false},
    {"c/secret", S_IFREG | 0600, "secret", true},
    {"d", S_IFDIR | 0755, "", true},
    {"d/a", S_IFREG | 0666, "of root", true},
    {"d/c", S_IFDIR | 0777, "", true},
    {"link", S_IFLNK, "a", false},
    {"up", S_IFLNK, "..", false},
    {"c/up", S_IFLNK, "../c/..", false},
    {"dangling", S_IFLNK, "nowhere", false},
    {"self", S_IFLNK, "self", false},
    {"slash", S_IFLNK, "c/", false},
    {"absolute", S_IFLNK, "/c/a", false},
    {"far", S_IFLNK, "d/../c/./up/link", false},
    {"here", S_IFLNK, ".", false},
};

static bool make_entry(hf_fs *fs, const struct entry *entry)
{
    const char *name = entry->name;
    const mode_t mode = entry->mode & 07777;
    if (S_ISDIR(entry->mode)) {
        return CALL(fs, hf_mkdir(fs, name, mode), mkdir(name, mode)) == 0;
    }
    if (S_ISLNK(entry->mode)) {
        return CALL(fs, hf_symlink(fs, entry->content, name), symlink(entry->content, name)) == 0;
    }
    if (entry->content == NULL) {
        return CALL(fs, hf_link(fs, "a", name), link("a", name)) == 0;
    }
    const long size = (long)strlen(entry->content);
    const int flags = O_CREAT | O_EXCL | O_WRONLY;
    int fd = (int)CALL(fs, hf_open(fs, name, flags, mode), open(name, flags, mode));
    return fd >= 0 &&
           CALL(fs,
                hf_write(fs, fd, entry->content, (size_t)size),
                write(fd, entry->content, (size_t)size)) == size &&
           CALL(fs, hf_close(fs, fd), close(fd)) == 0;
}

static bool give_to_nobody(hf_fs *fs, const char *name)
{
    return CALL(fs, hf_lchown(fs, name, NOBODY, NOBODY), lchown(name, NOBODY, NOBODY)) == 0;
}

bool tree_make(hf_fs *fs, const struct sequence *sequence)
{
    (void)CALL(fs, hf_umask(fs, 0), umask(0));
    bool made = true;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        made = made && make_entry(fs, &entries[i]);
        if (sequence->unprivileged && !entries[i].is_root_s) {
            made = made && give_to_nobody(fs, entries[i].name);
        }
    }
    return made && (!sequence->unprivileged || give_to_nobody(fs, "."));
}

/* ---- the end ---- */

#define FILES_KNOWN 512
#define NAMES_MAX 4096

/* One look at a whole tree. */
struct description {
    struct player *player;
    struct text *text;
    hf_fs *fs; /* NULL: as the kernel shows it */
    size_t file_count;
    ino_t files[FILES_KNOWN]; /* of files with more than one name, in order of appearance */
};

/* The names in one directory. */
struct names {
    size_t count;
    char *names[NAMES_MAX];
    unsigned char types[NAMES_MAX];
};

static void say(struct description *description, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct description *description, const char *format, ...)
{
    struct text *text = description->text;
    const size_t room = TREE_TEXT - text->length;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text->text + text->length, room, format, arguments);
    va_end(arguments);
    text->length += (size_t)length < room ? (size_t)length : room - 1;
}

static void add_name(void *context, const char *name, uint64_t ino, unsigned char type)
{
    struct names *names = context;
    if (names->count < NAMES_MAX && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
        names->types[names->count] = type;
        names->names[names->count++] = strdup(name);
    }
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* Which of the files with several names this is. */
static size_t number_of_file(struct description *description, ino_t ino)
{
    size_t i = 0;
    while (i < description->file_count && description->files[i] != ino) {
        i++;
    }
    if (i == description->file_count && i < FILES_KNOWN) {
        description->files[description->file_count++] = ino;
    }
    return i;
}

/* The beginning and the end of what can be read at @fd. */
static uint64_t content_of(hf_fs *fs, int fd, off_t size)
{
    char bytes[8192];
    uint64_t sum = 0;
    const off_t offsets[2] = {0, size > (off_t)sizeof bytes ? size - (off_t)sizeof bytes : 0};
    for (int i = 0; i < (offsets[1] == 0 ? 1 : 2); i++) {
        long got = CALL(fs,
                        hf_pread(fs, fd, bytes, sizeof bytes, offsets[i]),
                        pread(fd, bytes, sizeof bytes, offsets[i]));
        sum = call_mix_bytes(sum + (uint64_t)got, bytes, got < 0 ? 0 : (size_t)got);
    }
    return sum;
}

static void describe_content(struct description *description, const char *name, off_t size)
{
    hf_fs *fs = description->fs;
    const int flags = O_RDONLY | O_NOFOLLOW | O_NOATIME;
    int fd = (int)CALL(fs, hf_open(fs, name, flags, 0), open(name, flags));
    if (fd < 0) {
        say(description, " unreadable %d", fd);
        return;
    }
    say(description, " content %016lx", (unsigned long)content_of(fs, fd, size));
    (void)CALL(fs, hf_close(fs, fd), close(fd));
}

static void describe_target(struct description *description, const char *name)
{
    char target[PATH_ROOM] = "";
    hf_fs *fs = description->fs;
    (void)CALL(fs,
               hf_readlink(fs, name, target, sizeof target - 1),
               readlink(name, target, sizeof target - 1));
    say(description, " to %.100s", target);
}

static void describe_xattrs(struct description *description, const char *path)
{
    char names[1024];
    char value[6000];
    uint64_t sum = 0;
    hf_fs *fs = description->fs;
    long size = CALL(
        fs, hf_llistxattr(fs, path, names, sizeof names), llistxattr(path, names, sizeof names));
    for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        long length = CALL(fs,
                           hf_lgetxattr(fs, path, name, value, sizeof value),
                           lgetxattr(path, name, value, sizeof value));
        sum += call_mix_bytes(call_mix_bytes((uint64_t)length, name, strlen(name)),
                              value,
                              length < 0 ? 0 : (size_t)length); /* in any order */
    }
    if (size != 0) {
        say(description, " xattrs %ld %016lx", size, (unsigned long)sum);
    }
}

/* All of one file on a line, in three parts: what is the same on both sides; the time of access;
 * and what is the same only for two who look at the same file. */
static void describe_file(struct description *description, const char *path, const char *name,
                          mode_t *mode)
{
    struct stat found;
    hf_fs *fs = description->fs;
    long result = CALL(fs, hf_lstat(fs, name, &found), lstat(name, &found));
    *mode = result == 0 ? found.st_mode : 0;
    say(description, "%s", path);
    if (result < 0) {
        say(description, " error %ld\n", result);
        return;
    }
    say(description,
        " mode %o links %lu owner %u:%u device %lx size %ld modified %s",
        found.st_mode,
        (unsigned long)found.st_nlink,
        found.st_uid,
        found.st_gid,
        (unsigned long)found.st_rdev,
        (long)found.st_size,
        time_text(&found.st_mtim).text);
    if (found.st_nlink > 1 && !S_ISDIR(found.st_mode)) {
        say(description, " file #%zu", number_of_file(description, found.st_ino));
    }
    if (S_ISREG(found.st_mode)) {
        describe_content(description, name, found.st_size);
    } else if (S_ISLNK(found.st_mode)) {
        describe_target(description, name);
    }
    describe_xattrs(description, name);
    say(description, "\taccessed %s", time_text(&found.st_atim).text);
    say(description,
        "\tmodified %ld.%09ld changed %ld.%09ld inode %lu\n",
        (long)found.st_mtim.tv_sec,
        found.st_mtim.tv_nsec,
        (long)found.st_ctim.tv_sec,
        found.st_ctim.tv_nsec,
        (unsigned long)found.st_ino);
}

/* What the working directory has in it, and below. @path is for people. */
static void describe_directory(struct description *description, const char *path, int depth)
{
    hf_fs *fs = description->fs;
    struct names *names = calloc(1, sizeof *names);
    const int flags = O_RDONLY | O_DIRECTORY | O_NOATIME;
    int here = (int)CALL(fs, hf_open(fs, ".", flags, 0), open(".", flags));
    long result = here < 0 ? here : call_list(fs, here, add_name, names);
    if (result < 0) {
        say(description, "%s/ error %ld\n", path, result);
    }
    qsort(names->names, names->count, sizeof names->names[0], compare_names);
    for (size_t i = 0; i < names->count; i++) {
        char *inner = NULL;
        mode_t mode;
        char *name = names->names[i];
        if (asprintf(&inner, "%s/%s", path, name) < 0) {
            break;
        }
        describe_file(description, inner, name, &mode);
        if (S_ISDIR(mode) && depth > 0 && CALL(fs, hf_chdir(fs, name), chdir(name)) == 0) {
            describe_directory(description, inner, depth - 1);
            result = CALL(fs, hf_fchdir(fs, here), fchdir(here));
            play_require(description->player, result == 0, "back from a directory");
        }
        free(inner);
        free(name);
    }
    (void)CALL(fs, hf_close(fs, here), close(here));
    free(names);
}

#define DEPTH_MAX 60

void tree_describe(struct player *player, hf_fs *fs, struct text *text)
{
    struct description description = {.player = player, .text = text, .fs = fs};
    mode_t mode;
    describe_file(&description, "", ".", &mode);
    describe_directory(&description, "", DEPTH_MAX);
}

/* ---- comparing ---- */

/* The end of the part that begins at @text. */
static size_t part_length(const char *text)
{
    return strcspn(text, "\t\n");
}

static bool is_same_part(const char **ours, const char **theirs)
{
    const size_t length = part_length(*ours);
    const bool same = length == part_length(*theirs) && memcmp(*ours, *theirs, length) == 0;
    *ours += length;
    *theirs += part_length(*theirs);
    return same;
}

static bool is_accessed_now(const char *part)
{
    static const char now[] = "\taccessed now";
    return strncmp(part, now, sizeof now - 1) == 0;
}

/* The cache may be late with the time of access: when somebody has read, ours may show the time
 * that was set before. The other way round it may be with a directory: for a name that the kernel
 * knows a cache may have to read it. */
static bool may_differ(const char *ours, const char *theirs, bool is_directory)
{
    return is_accessed_now(theirs) || (is_directory && is_accessed_now(ours));
}

static bool is_same_line(const char *ours, const char *theirs, bool exactly)
{
    static const char directory[] = " mode 4";
    const char *mode = strstr(ours, " mode ");
    const bool is_directory = mode != NULL && strncmp(mode, directory, sizeof directory - 1) == 0;
    if (!is_same_part(&ours, &theirs)) {
        return false;
    }
    if (*ours != '\t' || *theirs != '\t') {
        return *ours == *theirs;
    }
    const bool access_may_differ = may_differ(ours, theirs, is_directory);
    ours++;
    theirs++;
    if (!is_same_part(&ours, &theirs) && !access_may_differ) {
        return false;
    }
    return !exactly || strncmp(ours, theirs, strcspn(ours, "\n") + 1) == 0;
}

bool tree_is_same(const char **ours, const char **theirs, bool exactly)
{
    while (**ours != '\0' && **theirs != '\0' && is_same_line(*ours, *theirs, exactly)) {
        *ours += strcspn(*ours, "\n") + 1;
        *theirs += strcspn(*theirs, "\n") + 1;
    }
    return **ours == '\0' && **theirs == '\0';
}

/* ---- open files ---- */

#define FDS_LOOKED_AT 120

void tree_describe_open_files(struct player *player)
{
    struct description description = {.player = player, .text = &player->side->open_files};
    hf_fs *fs = player->fs;
    struct stat found;
    for (int fd = 0; fd < FDS_LOOKED_AT; fd++) {
        const long result = CALL(fs, hf_fstat(fs, fd, &found), fstat(fd, &found));
        if (result == -EBADF) {
            continue;
        }
        say(&description,
            "player %d descriptor %d: %ld mode %o links %lu size %ld modified %s flags %lo",
            player->number,
            fd,
            result,
            found.st_mode,
            (unsigned long)found.st_nlink,
            (long)found.st_size,
            time_text(&found.st_mtim).text,
            CALL(fs, hf_fcntl(fs, fd, F_GETFL), fcntl(fd, F_GETFL)) & ~0100000L);
        if (S_ISREG(found.st_mode)) {
            say(&description,
                " offset %ld content %016lx",
                CALL(fs, hf_lseek(fs, fd, 0, SEEK_CUR), lseek(fd, 0, SEEK_CUR)),
                (unsigned long)content_of(fs, fd, found.st_size));
        }
        say(&description, "\n");
    }
}

/* ---- cleaning up ---- */

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i]);
    }
    free(names);
}

/* Closes @directory. */
static void remove_inside(hf_fs *fs, int directory)
{
    struct names *names = calloc(1, sizeof *names);
    if (call_list(fs, directory, add_name, names) == 0) {
        for (size_t i = 0; i < names->count; i++) {
            tree_remove(fs, directory, names->names[i]);
        }
    }
    free_names(names);
    (void)CALL(fs, hf_close(fs, directory), close(directory));
}

static void remove_xattrs(hf_fs *fs, const char *path)
{
    char names[XATTR_LIST_MAX];
    const long size =
        CALL(fs, hf_listxattr(fs, path, names, sizeof names), listxattr(path, names, sizeof names));
    for (long i = 0; i < size; i += (long)strlen(names + i) + 1) {
        (void)CALL(fs, hf_removexattr(fs, path, names + i), removexattr(path, names + i));
    }
}

bool tree_reset(hf_fs *fs, const char *root)
{
    const int flags = O_RDONLY | O_DIRECTORY;
    if (CALL(fs, hf_chmod(fs, root, 0755), chmod(root, 0755)) < 0) {
        return false;
    }
    const int directory = (int)CALL(fs, hf_open(fs, root, flags, 0), open(root, flags));
    if (directory < 0) {
        return false;
    }
    remove_inside(fs, directory);
    remove_xattrs(fs, root);
    return CALL(fs, hf_chown(fs, root, geteuid(), getegid()), chown(root, geteuid(), getegid())) ==
               0 &&
           CALL(fs, hf_chmod(fs, root, 0755), chmod(root, 0755)) == 0 &&
           CALL(fs,
                hf_utimensat(fs, HF_AT_FDCWD, root, NULL, 0),
                utimensat(AT_FDCWD, root, NULL, 0)) == 0;
}

void tree_remove(hf_fs *fs, int at, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    long result = CALL(fs, hf_unlinkat(fs, at, name, 0), unlinkat(at, name, 0));
    if (result == 0 || (result != -EISDIR && result != -EPERM)) {
        return;
    }
    int directory = (int)CALL(fs, hf_openat(fs, at, name, flags, 0), openat(at, name, flags));
    if (directory < 0 &&
        CALL(fs, hf_fchmodat(fs, at, name, 0700, 0), fchmodat(at, name, 0700, 0)) == 0) {
        directory = (int)CALL(fs, hf_openat(fs, at, name, flags, 0), openat(at, name, flags));
    }
    if (directory >= 0) {
        remove_inside(fs, directory);
    }
    (void)CALL(fs, hf_unlinkat(fs, at, name, AT_REMOVEDIR), unlinkat(at, name, AT_REMOVEDIR));
}
