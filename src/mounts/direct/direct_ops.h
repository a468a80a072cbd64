/* What the files of the direct backend share, and its operations that are not in direct.c. */
#ifndef HF_MOUNTS_DIRECT_DIRECT_OPS_H
#define HF_MOUNTS_DIRECT_DIRECT_OPS_H

#include "fs/backend.h"

/* openat2() for one component, which is not followed if it is a link. Return: a descriptor, or a
 * negative errno. */
int direct_open_component(int directory, const char *name, int flags, mode_t mode);

/* direct_data.c */
ssize_t direct_read(struct backend *backend, intptr_t file, void *buffer, size_t size,
                    off_t offset);
ssize_t direct_write(struct backend *backend, intptr_t file, const void *buffer, size_t size,
                     off_t offset);
ssize_t direct_append(struct backend *backend, intptr_t file, const struct iovec *vectors,
                      int count, off_t *end);
int direct_truncate(struct backend *backend, intptr_t file, off_t size, bool as_named);
ssize_t direct_read_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset);
ssize_t direct_write_vectors(struct backend *backend, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset);
int direct_create_unnamed(struct backend *backend, intptr_t directory, int flags, mode_t mode,
                          intptr_t *file);
off_t direct_seek(struct backend *backend, intptr_t file, off_t offset, int whence);
int direct_allocate(struct backend *backend, intptr_t file, int mode, off_t offset, off_t length);
ssize_t direct_copy(struct backend *backend, intptr_t from, off_t *from_offset, intptr_t to,
                    off_t *to_offset, size_t size);
int direct_sync(struct backend *backend, intptr_t file, bool data_only);
int direct_sync_all(struct backend *backend, intptr_t file);
int direct_map(struct backend *backend, intptr_t file, void *address, size_t length, int protection,
               int flags, off_t offset, void **out);
int direct_set_status(struct backend *backend, intptr_t file, int flags);

/* direct_special.c */
int direct_open_special(struct backend *backend, intptr_t node, int flags, intptr_t *file);
ssize_t direct_read_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset);
ssize_t direct_write_special(struct backend *backend, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset);
int direct_get_special_status(struct backend *backend, intptr_t file);
int direct_set_special_status(struct backend *backend, intptr_t file, int flags);
int direct_host_descriptor(struct backend *backend, intptr_t file);

/* direct_xattr.c */
ssize_t direct_get_xattr(struct backend *backend, intptr_t node, const char *name, void *value,
                         size_t size);
int direct_set_xattr(struct backend *backend, intptr_t node, const char *name, const void *value,
                     size_t size, int flags);
ssize_t direct_list_xattrs(struct backend *backend, intptr_t node, char *names, size_t size);
int direct_remove_xattr(struct backend *backend, intptr_t node, const char *name);

/* direct_names.c */
int direct_parent(struct backend *backend, intptr_t directory, intptr_t root, intptr_t *node,
                  struct stat *attributes);
int direct_way_down(struct backend *backend, intptr_t ancestor, intptr_t directory,
                    char name[NAME_MAX + 1]);
int direct_make_directory(struct backend *backend, intptr_t directory, const char *name,
                          mode_t mode, ino_t *number);
int direct_make_node(struct backend *backend, intptr_t directory, const char *name, mode_t mode,
                     dev_t device, ino_t *number);
int direct_make_symlink(struct backend *backend, intptr_t directory, const char *name,
                        const char *target, ino_t *number);
int direct_link(struct backend *backend, intptr_t node, intptr_t directory, const char *name);
int direct_rename(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                  intptr_t new_directory, const char *new_name, ino_t replaced, unsigned flags);
int direct_unlink(struct backend *backend, intptr_t directory, const char *name, ino_t number);
int direct_remove_directory(struct backend *backend, intptr_t directory, const char *name,
                            ino_t number);

/* direct_attributes.c */
int direct_get_attributes(struct backend *backend, intptr_t node, struct stat *attributes);
int direct_set_mode(struct backend *backend, intptr_t node, mode_t mode);
bool direct_has_default_access(struct backend *backend, intptr_t directory);
void direct_restore_mode(struct backend *backend, intptr_t directory, intptr_t node, mode_t mode);
int direct_set_owner(struct backend *backend, intptr_t node, uid_t owner, gid_t group);
int direct_set_times(struct backend *backend, intptr_t node, const struct timespec times[2]);
int direct_access(struct backend *backend, intptr_t node, int mode, int flags);
int direct_statx(struct backend *backend, intptr_t node, int flags, unsigned mask,
                 struct statx *out);
int direct_statfs(struct backend *backend, intptr_t node, struct statfs *out);

/* direct_move.c */
int direct_give_file(struct backend *backend, intptr_t file);
int direct_give_node(struct backend *backend, intptr_t node);
int direct_take(struct backend *backend, int fd, hf_id ticket, bool is_path, intptr_t *taken,
                int *access_mode, struct stat *attributes);

/* What a node is called where only a path will do. */
struct direct_path {
    char text[32];
};
struct direct_path direct_path_of(intptr_t node);

#endif
