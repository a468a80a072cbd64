/* The operations of the direct mount that are not in direct.c. */
#ifndef HF_MOUNTS_DIRECT_DIRECT_OPS_H
#define HF_MOUNTS_DIRECT_DIRECT_OPS_H

#include "fs/mount.h"

/* openat2() for one component, which is not followed if it is a link. Return: a descriptor, or a
 * negative errno. */
int direct_open_component(int directory, const char *name, int flags, mode_t mode);

/* direct_data.c */
ssize_t direct_read(struct mount *mount, intptr_t file, void *buffer, size_t size, off_t offset);
ssize_t direct_write(struct mount *mount, intptr_t file, const void *buffer, size_t size,
                     off_t offset);
int direct_truncate(struct mount *mount, intptr_t file, off_t size);
ssize_t direct_read_vectors(struct mount *mount, intptr_t file, const struct iovec *vectors,
                            int count, off_t offset);
ssize_t direct_write_vectors(struct mount *mount, intptr_t file, const struct iovec *vectors,
                             int count, off_t offset);
int direct_create_unnamed(struct mount *mount, intptr_t directory, int flags, mode_t mode,
                          intptr_t *file, intptr_t *node, struct stat *attributes);
off_t direct_seek(struct mount *mount, intptr_t file, off_t offset, int whence);
int direct_allocate(struct mount *mount, intptr_t file, int mode, off_t offset, off_t length);
ssize_t direct_copy(struct mount *mount, intptr_t from, off_t from_offset, intptr_t to,
                    off_t to_offset, size_t size);
int direct_sync(struct mount *mount, intptr_t file, bool data_only);
int direct_sync_all(struct mount *mount, intptr_t file);
int direct_map(struct mount *mount, intptr_t file, void *address, size_t length, int protection,
               int flags, off_t offset, void **out);
int direct_set_status(struct mount *mount, intptr_t file, int flags);

/* direct_xattr.c */
ssize_t direct_get_xattr(struct mount *mount, intptr_t node, const char *name, void *value,
                         size_t size);
int direct_set_xattr(struct mount *mount, intptr_t node, const char *name, const void *value,
                     size_t size, int flags);
ssize_t direct_list_xattrs(struct mount *mount, intptr_t node, char *names, size_t size);
int direct_remove_xattr(struct mount *mount, intptr_t node, const char *name);

#endif
