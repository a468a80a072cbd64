#include "lib/stores.h"

#include "store/dir/dir.h"
#include "store/ram/ram.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
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

static int remove_below(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return at->level == 0 ? 0 : remove(path);
}

void any_store_empty(const char *path)
{
    assert_int_equal(nftw(path, remove_below, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void any_store_end(struct any_store *any)
{
    any->store->ops->destroy(any->store);
    if (any->in_directory) {
        any_store_empty(any->path);
        assert_int_equal(folder_remove(any->path), 0);
    }
}
