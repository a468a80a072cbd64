/*
 * Names of sync handles as identifiers.
 */
#ifndef HF_CLIENT_NAME_ID_H
#define HF_CLIENT_NAME_ID_H

#include <holdfast/sync.h>

/*
 * The identifier of a named handle: FNV-1a over 128 bits, with the two top bits set. Every
 * client computes the same, so a name costs no message and no state at the server. Two of a
 * billion names collide with a probability of about 10^-20. It is no defence against somebody
 * who looks for collisions, nor need it be: whoever is admitted may open any handle.
 */
hf_id name_id(const char *name);

#endif
