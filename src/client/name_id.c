#include "client/name_id.h"

/* The constants are those of http://www.isthe.com/chongo/tech/comp/fnv/. */
__extension__ typedef unsigned __int128 u128;

#define FNV_PRIME (((u128)1 << 88) + 0x13b)
#define FNV_BASIS ((u128)UINT64_C(0x6c62272e07bb0142) << 64 | UINT64_C(0x62b821756295c58d))

/* Sets names apart from all other reserved identifiers. */
#define NAME_SPACE (UINT64_C(1) << 62)

hf_id name_id(const char *name)
{
    u128 hash = FNV_BASIS;
    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash ^ (unsigned char)*at) * FNV_PRIME;
    }
    return (hf_id){(uint64_t)(hash >> 64) | HF_SPACE_RESERVED | NAME_SPACE, (uint64_t)hash};
}
