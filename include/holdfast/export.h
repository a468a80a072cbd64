/*
 * Moving open files to another process.
 *
 * Exported open files are bytes, which may go to another process by any way there is: a pipe, a
 * file, a checkpoint. That process imports them with a connection to the same server; it may be any
 * process on the host that gets the bytes, another hf_fs of this process, or the same one. Both
 * sides then share the open file as after a fork: its offset and its status flags.
 *
 * From export to import the server keeps what was exported. It loses nothing of it when either
 * process is killed, and a file that has no name any more keeps its data. The exporter may go on
 * with its files or close them. What nobody imports stays there until hf_export_drop() or the end of
 * the server, and counts for hf_limits.parked.
 *
 * The bytes are good for one import: one that fails leaves them good, and so does one that is killed
 * before it has returned, unless it was about to. They are a secret: whoever has them and may
 * connect to the server has the files, whatever the permissions of these say. An importer's root may
 * be another one; `..` of an imported directory that is not below it is -ENOENT.
 *
 * On its way an open file does not keep its mount from being taken away. It is then as if the mount
 * had been detached, see hf_umount2(), but `..` of an imported directory is -ENOENT throughout.
 *
 * All this goes over local sockets only: -EOPNOTSUPP when the client is connected otherwise. It
 * costs two message pairs for each open file, the first time a few more, and waits until no other
 * thread is in the middle of a call on @fs.
 */
#ifndef HOLDFAST_EXPORT_H
#define HOLDFAST_EXPORT_H

#include <holdfast/fs.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The bytes of one open file. */
#define HF_EXPORT_FILE_SIZE 56

/**
 * hf_export() - export all that a child of a fork would get
 * @buffer: where to put the bytes; may be NULL when @size is 0
 * @size:   with 0 only the length is asked, and nothing is exported
 *
 * That is all descriptors, with their numbers, with FD_CLOEXEC, and with what dup() made of them;
 * the working directory, and the umask.
 *
 * Return: the length; -ERANGE when @size is less than that; -EFAULT; -EDQUOT (more than the server
 * keeps), -EMFILE (it, or this process, has no descriptor left), -EOPNOTSUPP, -ENOMEM, -ENOTCONN.
 * On error nothing is exported.
 */
HF_PUBLIC ssize_t hf_export(hf_fs *fs, void *buffer, size_t size);

/**
 * hf_import() - take over what hf_export() made
 * @fs: without open descriptors; its working directory and umask are replaced
 *
 * Return: 0; -EINVAL (these are no such bytes, or damaged ones), -EBUSY (a descriptor is open),
 * -ESTALE (they were imported or dropped, or are another server's), -EFAULT, -EMFILE, -EDQUOT,
 * -EOPNOTSUPP, -ENOMEM, -ENOTCONN. On error @fs is as before, and the bytes are as good as they
 * were; with -ENOTCONN they may have been imported by this.
 */
HF_PUBLIC int hf_import(hf_fs *fs, const void *bytes, size_t size);

/**
 * hf_export_file() - export one open file
 * @buffer, @size: as for hf_export(); HF_EXPORT_FILE_SIZE is enough
 *
 * Return: as hf_export(); -EBADF.
 */
HF_PUBLIC ssize_t hf_export_file(hf_fs *fs, int fd, void *buffer, size_t size);

/**
 * hf_import_file() - open what hf_export_file() made
 * @flags: O_CLOEXEC or 0
 *
 * Return: the lowest free descriptor; or as hf_import().
 */
HF_PUBLIC int hf_import_file(hf_fs *fs, const void *bytes, size_t size, int flags);

/**
 * hf_export_drop() - give up what hf_export() or hf_export_file() made
 *
 * Any client of the server may do it.
 *
 * Return: 0; -ESTALE (it was imported or dropped before), -EINVAL, -EFAULT, -EOPNOTSUPP, -ENOTCONN.
 */
HF_PUBLIC int hf_export_drop(hf_fs *fs, const void *bytes, size_t size);

/**
 * hf_send_file() - export one open file and send the bytes over a socket of the caller's
 * @socket: connected; one message of HF_EXPORT_FILE_SIZE bytes goes over it
 *
 * Return: 0; as hf_export_file(), or what send(2) says. On error nothing is exported.
 */
HF_PUBLIC int hf_send_file(hf_fs *fs, int socket, int fd);

/**
 * hf_receive_file() - receive what hf_send_file() sent, and import it
 * @flags: O_CLOEXEC or 0
 *
 * Blocks until the message is there, unless the socket is non-blocking: then -EAGAIN. A signal ends
 * the wait with -EINTR, and nothing is lost.
 *
 * Return: the lowest free descriptor; as hf_import_file(), what recv(2) says, or -ECONNRESET when
 * the other side has closed it. When importing fails the open file is given up, as recvmsg(2) does
 * with descriptors: to be able to try again use recv() and hf_import_file().
 */
HF_PUBLIC int hf_receive_file(hf_fs *fs, int socket, int flags);

#ifdef __cplusplus
}
#endif

#endif
