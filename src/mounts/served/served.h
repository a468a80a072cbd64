/*
 * The served backend: files whose data is in a store at the server.
 *
 * What is known of a file is cached, and true while the file's sync handle is held; a change is
 * made in the cache and told to the server, which hears of it before it hears of the hold. See
 * docs/architecture.md.
 */
#ifndef HF_MOUNTS_SERVED_SERVED_H
#define HF_MOUNTS_SERVED_SERVED_H

#include "fs/backend.h"

/* The backend of the store of that number. @page_bytes: what cached data may take; @check_pointers:
 * let the kernel look at those of the callers. Return: 0; -ENODEV when the server has no such store,
 * -ENOMEM, -ENOTCONN. */
int served_backend_new(hf_client *client, uint32_t number, size_t page_bytes, bool check_pointers,
                       struct backend **out);

/* When operations are sent to where the data is, by all of this process: for measurements and tests,
 * which compare them. */
enum served_sending { SERVED_SENDS_CONTENDED, SERVED_SENDS_NEVER, SERVED_SENDS_ALWAYS };
void served_set_sending(enum served_sending sending);

#endif
