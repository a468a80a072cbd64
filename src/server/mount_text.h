/*
 * What a mount that the server brings may be, and how people write it.
 */
#ifndef HF_SERVER_MOUNT_TEXT_H
#define HF_SERVER_MOUNT_TEXT_H

#include <holdfast/server.h>

/* What is wrong with it as far as can be said without looking, in words; NULL: nothing. */
const char *mount_mistake(const hf_server_mount *mount);

/* The machine's memory, in bytes. */
uint64_t mount_memory_bytes(void);

#endif
