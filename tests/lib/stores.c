#include "lib/stores.h"

#include "store/dir/dir.h"
#include "store/ram/ram.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void any_store_open(struct any_store *any, const struct store_limits *limits)
{
    const int fd = open(any->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(dir_store_new(fd, limits, &any->store), 0);
}

void any_store_make(struct any_store *any, bool in_directory, const struct store_limits *limits,
                    const struct store_call *call)
{
    *any = (struct any_store){.in_directory = in_directory};
    if (in_directory) {
        assert_int_equal(folder_make(any->path), 0);
        assert_int_equal(chmod(any->path, 0755), 0);
        any_store_open(any, limits);
    } else {
        assert_int_equal(ram_store_new(limits, call, 0755, geteuid(), getegid(), &any->store), 0);
    }
}

void any_store_check(const struct any_store *any, struct store_holder *const *holders, size_t count)
{
    if (any->in_directory) {
        dir_check(any->store, holders, count);
    } else {
        ram_check(any->store, holders, count);
    }
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* What is in the directory @name of @root is in @root itself afterwards. */
static void move_up(int root, const char *name, unsigned *count)
{
    DIR *stream = fdopendir(openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        char place[32];
        snprintf(place, sizeof(place), "moved up %u", (*count)++);
        assert_true(is_dots(entry->d_name) ||
                    renameat(dirfd(stream), entry->d_name, root, place) == 0);
    }
    closedir(stream);
}

/* Without going down, for it may be deeper than there are descriptors. */
void any_store_empty(const char *path)
{
    unsigned count = 0;
    unsigned before;
    do {
        before = count;
        DIR *stream = opendir(path);
        assert_non_null(stream);
        for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
            const int root = dirfd(stream);
            if (!is_dots(entry->d_name) && unlinkat(root, entry->d_name, 0) < 0) {
                move_up(root, entry->d_name, &count);
                assert_int_equal(unlinkat(root, entry->d_name, AT_REMOVEDIR), 0);
            }
        }
        closedir(stream);
    } while (count > before);
}

void any_store_end(struct any_store *any)
{
    any->store->ops->destroy(any->store);
    if (any->in_directory) {
        any_store_empty(any->path);
        assert_int_equal(folder_remove(any->path), 0);
    }
}
