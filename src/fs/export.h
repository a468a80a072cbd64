/*
 * Open files on their way to another process: what is parked of each at the server (client/park.h)
 * between fs_export() there and fs_import() here.
 *
 * While it is parked the server has a descriptor of the host and the handle of the offset and
 * flags; so it lives on whatever becomes of either process. An importer has its own reference to
 * the handle and everything in place before it drops the ticket, and undoes it all when it cannot:
 * then it is as if it had never tried. Dropping is one step for all that goes under a ticket, so of
 * two importers of the same bytes one fails.
 *
 * What is parked does not use its mount. When that was taken away meanwhile, the importer has its
 * files in one that is detached.
 */
#ifndef HF_FS_EXPORT_H
#define HF_FS_EXPORT_H

#include <stdint.h>

/* The data that is parked with each, little-endian. */
struct export_data {
    uint32_t magic;       /* EXPORT_DATA_MAGIC */
    uint32_t open_flags;  /* as in struct open_file */
    uint64_t mount;       /* its number */
    uint32_t mount_flags; /* WIRE_MOUNT_, should it be gone */
    uint32_t backend;     /* its number: whoever takes the descriptor must know what it is */
};

#define EXPORT_DATA_MAGIC UINT32_C(0x32464648) /* "HFF2" */

#endif
