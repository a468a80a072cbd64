/*
 * What the tests of moving open files share: a server in the test's process, two other programs,
 * and bytes that go from one to the other.
 */
#ifndef HF_TESTS_CASES_FS_EXPORT_H
#define HF_TESTS_CASES_FS_EXPORT_H

#include "lib/fs_world.h"
#include "lib/puppet.h"
#include "lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    size_t size;
    char at[PUPPET_TEXT_BYTES];
};

static inline int64_t tell_open(struct puppet *puppet, const char *path, int flags)
{
    return puppet_tell(puppet, PUPPET_OPEN, flags, 0666, 0, path, strlen(path));
}

static inline int64_t tell_close(struct puppet *puppet, int64_t fd)
{
    return puppet_tell(puppet, PUPPET_CLOSE, fd, 0, 0, NULL, 0);
}

static inline int64_t tell_write(struct puppet *puppet, int64_t fd, const char *text)
{
    return puppet_tell(puppet, PUPPET_WRITE, fd, 0, 0, text, strlen(text));
}

static inline int64_t tell_seek(struct puppet *puppet, int64_t fd, int64_t offset, int whence)
{
    return puppet_tell(puppet, PUPPET_SEEK, fd, offset, whence, NULL, 0);
}

static inline int64_t tell_offset(struct puppet *puppet, int64_t fd)
{
    return tell_seek(puppet, fd, 0, SEEK_CUR);
}

static inline int64_t tell_control(struct puppet *puppet, int64_t fd, int command, int argument)
{
    return puppet_tell(puppet, PUPPET_CONTROL, fd, command, argument, NULL, 0);
}

static inline int64_t tell_path(struct puppet *puppet, enum puppet_verb verb, const char *path)
{
    return puppet_tell(puppet, verb, 0, 0, 0, path, strlen(path));
}

/* Read @size at the offset, and expect @text. */
static inline void expect_read(struct puppet *puppet, int64_t fd, size_t size, const char *text)
{
    assert_int_equal(puppet_tell(puppet, PUPPET_READ, fd, (int64_t)size, 0, NULL, 0), strlen(text));
    assert_string_equal(puppet->text, text);
}

static inline struct stat tell_stat(struct puppet *puppet, int64_t fd)
{
    struct stat attributes;
    assert_int_equal(puppet_tell(puppet, PUPPET_STAT, fd, 0, 0, NULL, 0), 0);
    memcpy(&attributes, puppet->text, sizeof attributes);
    return attributes;
}

static inline struct bytes keep_bytes(const struct puppet *puppet, int64_t result)
{
    struct bytes bytes = {.size = puppet->size};
    assert_true(result > 0);
    assert_int_equal(result, puppet->size);
    memcpy(bytes.at, puppet->text, puppet->size);
    return bytes;
}

static inline struct bytes tell_export(struct puppet *puppet)
{
    return keep_bytes(puppet, puppet_tell(puppet, PUPPET_EXPORT, 0, 0, 0, NULL, 0));
}

static inline struct bytes tell_export_file(struct puppet *puppet, int64_t fd)
{
    return keep_bytes(puppet, puppet_tell(puppet, PUPPET_EXPORT_FILE, fd, 0, 0, NULL, 0));
}

static inline int64_t tell_bytes(struct puppet *puppet, enum puppet_verb verb,
                                 const struct bytes *bytes)
{
    return puppet_tell(puppet, verb, 0, 0, 0, bytes->at, bytes->size);
}

static inline int64_t tell_import(struct puppet *puppet, const struct bytes *bytes)
{
    return tell_bytes(puppet, PUPPET_IMPORT, bytes);
}

/* What is in a file of the host's. */
static inline void expect_file(const struct fs_world *world, const char *name, const char *text)
{
    size_t size;
    char *content = fs_world_read_file(world, name, &size);
    assert_string_equal(content, text);
    free(content);
}

#endif
