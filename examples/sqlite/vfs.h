/*
 * SQLite on Holdfast: a VFS whose files are those of an hf_fs, and whose locks are those of lock.h.
 * Processes that share no memory can use one database in rollback-journal mode.
 */
#ifndef SQLITE_VFS_H
#define SQLITE_VFS_H

#include <holdfast/fs.h>
#include <sqlite3.h>

/**
 * vfs_register() - make databases on @fs known to SQLite in this process
 * @name: for sqlite3_open_v2(); not copied
 *
 * The VFS stays registered, and @fs must stay attached, until the process ends. In a child of a
 * fork it goes on working with that child's @fs; open databases do not, as SQLite says.
 *
 * Return: SQLITE_OK, SQLITE_NOMEM.
 */
int vfs_register(hf_fs *fs, const char *name);

#endif
