/*
 * The mounts that the server brings: it makes their stores and writes the table of mounts, before
 * any client is there to look.
 */
#ifndef HF_SERVER_MOUNTS_H
#define HF_SERVER_MOUNTS_H

#include <holdfast/server.h>

/* The table of mounts is kept and was never written. What is wrong with a mount is said where
 * config->mount_error says, else in the log. Return: 0, or a negative errno. */
int server_open_mounts(struct hf_server *server, const hf_server_config *config);

#endif
