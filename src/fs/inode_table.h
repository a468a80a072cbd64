/* What the table of inodes and the trimming of it share. */
#ifndef HF_FS_INODE_TABLE_H
#define HF_FS_INODE_TABLE_H

#include "fs/inode.h"

/* Out of the table and of all lists. Under fs->inodes_mutex. */
void inode_leave_table(struct inode *inode);

/* Free one that has left the table and has no references. */
void inode_free(struct inode *inode);

/* Take the node of an inode that has one, unless it has users: then the caller forgets it.
 * Under fs->inodes_mutex. */
bool inode_take_node(struct inode *inode);

/* The last thing that keeps the number of a file, the node or open file @pin, is about to go. What
 * is cached of a file without a name would then be believed of the next one with its number: so if
 * it is not known to have a name, it is looked at. */
void inode_unpinned(struct inode *inode, intptr_t pin, backend_get_attributes *get_attributes);

/* Free what a link points to; @target may be NULL. */
void inode_free_target(struct inode *inode, char *target);

#endif
