/*
 * What sync handles and owners of file locks are called, as far as server and clients must agree:
 * the space says in bits 61..56 what kind of thing it is, see fs/ids.h.
 */
#ifndef HF_WIRE_IDS_H
#define HF_WIRE_IDS_H

#include <holdfast/sync.h>
#include <stdbool.h>

#define WIRE_ID_OPEN_FILE 2
#define WIRE_ID_PROCESS 6

#define WIRE_CLIENT_BITS UINT64_C(0xffffffffffffff)

/* Of the open files that a client opened; they keep it in other processes. */
static inline uint64_t wire_open_file_space(uint64_t client)
{
    return HF_SPACE_RESERVED | (uint64_t)WIRE_ID_OPEN_FILE << 56 | (client & WIRE_CLIENT_BITS);
}

static inline bool wire_id_is_of_open_file(hf_id id)
{
    return id.space >> 56 == (HF_SPACE_RESERVED >> 56 | WIRE_ID_OPEN_FILE);
}

/* Of processes, which own POSIX record locks; a client that acts for several numbers them. */
static inline uint64_t wire_process_space(uint64_t client)
{
    return HF_SPACE_RESERVED | (uint64_t)WIRE_ID_PROCESS << 56 | (client & WIRE_CLIENT_BITS);
}

#endif
